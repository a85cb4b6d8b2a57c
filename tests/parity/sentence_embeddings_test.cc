// A real sentence encoder, all-MiniLM-L6-v2, against transformers. Its weights are not in the
// repository: make_sentence_embeddings.py downloads them, and WEFT_SENTENCE_ENCODER names their
// folder.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/text/tokenizer.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/sentence-embeddings/";

/// The mean over a prompt's tokens, of length 1: what docs/models.md shows.
std::string Embedding(const std::string& prompts) {
  return absl::StrCat("invoke ", prompts, R"( {
  %h = read result
  %mask = aten::unsqueeze(aten::to(read mask, float32), -1)
  %sum = aten::sum(aten::mul(%h, %mask), [1])
  %mean = aten::div(%sum, aten::sum(%mask, [1]))
  save embedding = aten::div(%mean, aten::linalg_vector_norm(%mean, 2, [1], true))
  save pooled = read pooler.output
})");
}

double Difference(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

TEST(SentenceEmbeddingsTest, EqualThoseOfTransformers) {
  const char* const folder = std::getenv("WEFT_SENTENCE_ENCODER");
  if (folder == nullptr) {
    GTEST_SKIP() << "WEFT_SENTENCE_ENCODER does not name the folder of all-MiniLM-L6-v2; "
                    "tests/parity/make_sentence_embeddings.py downloads it";
  }
  const auto facts = nlohmann::json::parse(std::ifstream(absl::StrCat(kFolder, "sentences.json")));
  const auto golden = testing::LoadGolden(absl::StrCat(kFolder, "golden.safetensors"));
  const auto tokenizer = text::Tokenizer::LoadTokenizer(absl::StrCat(folder, "/tokenizer.json"));
  ASSERT_THAT(tokenizer, IsOk());
  for (size_t i = 0; i < facts["sentences"].size(); ++i) {
    const auto ids = (*tokenizer)->Encode(facts["sentences"][i].get<std::string>());
    ASSERT_THAT(ids, IsOk());
    EXPECT_EQ(*ids, facts["ids"][i].get<std::vector<int64_t>>());
  }

  LocalModel model(folder, /*pad_left=*/false);
  const LocalResult batch = model.Run(Embedding(facts["ids"].dump()));
  ASSERT_THAT(batch.status, IsOk());
  testing::ExpectClose(batch["embedding"], golden.at("embeddings"));
  testing::ExpectClose(batch["pooled"], golden.at("pooler_output"));
  double solo = 0;
  for (size_t i = 0; i < facts["ids"].size(); ++i) {
    const LocalResult alone = model.Run(Embedding(facts["ids"][i].dump()));
    ASSERT_THAT(alone.status, IsOk());
    solo = std::max(
        solo, Difference(alone["embedding"][0], golden.at("embeddings")[static_cast<int64_t>(i)]));
  }
  EXPECT_LT(solo, 1e-5);
  std::printf(
      "all-MiniLM-L6-v2, %zu sentences: embeddings differ by %.1e of scale in a batch, "
      "%.1e alone, the pooler's output by %.1e\n",
      facts["ids"].size(), Difference(batch["embedding"], golden.at("embeddings")), solo,
      Difference(batch["pooled"], golden.at("pooler_output")));
}

}  // namespace
}  // namespace weft
