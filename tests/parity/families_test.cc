// Llama and its relatives against transformers, on the checkpoints of make_families.py. Prints the
// parity table that docs/models.md shows.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/graph/program.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::TempFolder;
using Tensors = std::map<std::string, at::Tensor>;

constexpr double kTolerance = 1e-5;  // of scale, in float32
constexpr int kNew = 32;
constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/families/";
constexpr char kPrompt[] = "[39, 72, 94, 86, 68, 69, 83, 11, 42, 7, 58, 23]";
constexpr char kBatch[] =
    "[[47, 64, 81, 72, 82, 94, 72, 82, 15], [64, 65, 66], "
    "[87, 28, 19, 17, 26, 3, 71, 9, 12, 50]]";
const std::vector<std::string> kAlone = {"[47, 64, 81, 72, 82, 94, 72, 82, 15]", "[64, 65, 66]",
                                         "[87, 28, 19, 17, 26, 3, 71, 9, 12, 50]"};

/// The largest differences that were seen in one family, of scale.
struct Row {
  double modules = 0, inside = 0, batch = 0, solo = 0, gradients = 0;
  int tokens = 0, near_ties = 0;
};
std::map<std::string, Row>& Table() {
  static auto* const kTable = new std::map<std::string, Row>();
  return *kTable;
}

class PrintTable : public ::testing::Environment {
 public:
  void TearDown() override {
    std::printf(
        "| family | modules | inside attention | batch | batch against solo | gradients "
        "| greedy tokens |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (const auto& [family, row] : Table()) {
      if (row.tokens == 0) continue;  // not all of its tests were run
      std::printf("| %s | %.1e | %.1e | %.1e | %.1e | %.1e | %d equal", family.c_str(), row.modules,
                  row.inside, row.batch, row.solo, row.gradients, row.tokens);
      if (row.near_ties > 0) std::printf(", %d near ties", row.near_ties);
      std::printf(" |\n");
    }
  }
};
[[maybe_unused]] const auto* const kPrintTable =
    ::testing::AddGlobalTestEnvironment(new PrintTable);

/// Expect `actual` close to `expected`, and keep the larger of `largest` and their difference.
void Compare(const at::Tensor& actual, const at::Tensor& expected, const std::string& what,
             double* largest) {
  if (!actual.defined()) return;  // which failed already
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  testing::ExpectClose(actual, expected, kTolerance, what);
  const double scale = expected.abs().max().item<double>();
  const double difference = (actual - expected).abs().max().item<double>();
  *largest = std::max(*largest, scale > 0 ? difference / scale : difference);
}

/// Rows of generated tokens, until the first that was close to another.
void CompareTokens(const at::Tensor& actual, const Tensors& golden, const std::string& name,
                   Row* row) {
  if (!actual.defined()) return;
  const at::Tensor expected = golden.at("generate/" + name);
  const at::Tensor ahead = golden.at("generate/" + name + "/ahead");
  const at::Tensor tokens = actual.narrow(1, actual.size(1) - kNew, kNew);
  for (int64_t prompt = 0; prompt < expected.size(0); ++prompt) {
    for (int64_t step = 0; step < kNew; ++step) {
      if (tokens[prompt][step].item<int64_t>() == expected[prompt][step].item<int64_t>()) {
        ++row->tokens;
        continue;
      }
      EXPECT_LT(ahead[prompt][step].item<double>(), 2 * kTolerance)
          << name << ", prompt " << prompt << ", step " << step << ": " << tokens[prompt]
          << expected[prompt];
      ++row->near_ties;
      break;
    }
  }
}

std::string Generation(const std::string& prompts, const std::string& body = "") {
  return absl::StrCat("generate max_new_tokens=", kNew, "\ninvoke ", prompts, " {\n", body,
                      "\n  save ids = read result\n}\n");
}

class FamilyTest : public ::testing::TestWithParam<const char*> {
 protected:
  static LocalModel& Model() {
    static auto* const kModels = new std::map<std::string, std::unique_ptr<LocalModel>>();
    std::unique_ptr<LocalModel>& model = (*kModels)[GetParam()];
    if (model == nullptr) model = std::make_unique<LocalModel>(Folder());
    return *model;
  }
  static std::string Folder() { return absl::StrCat(kFolder, GetParam()); }

  LocalModel& model_ = Model();
  const Tensors golden_ = LoadGolden(Folder() + "/golden.safetensors");
  Row& row_ = Table()[GetParam()];
};

TEST_P(FamilyTest, EveryModulesOutputEqualsTransformers) {
  const plan::ModelSpec& spec = model_.spec();
  std::string text = absl::StrCat("invoke ", kPrompt, " {\n");
  for (size_t i = 0; i < spec.sites().size(); ++i) {
    const plan::SiteSpec& site = spec.sites()[i];
    if (!site.OfModule() || site.site.point != graph::Point::kOutput) continue;
    absl::StrAppend(&text, "  save s", i, " = read ", graph::ToString(site.site), "\n");
  }
  const LocalResult result = model_.Run(text + "}\n");
  ASSERT_THAT(result.status, IsOk());
  std::set<std::string> compared;
  for (const auto& [name, value] : result.saved) {
    // `s5/logits` is the leaf `logits` of site 5.
    const size_t site = std::stoul(name.substr(1, name.find('/') - 1));
    const std::string path = absl::StrCat("single/", spec.sites()[site].site.module);
    ASSERT_TRUE(golden_.contains(path)) << path << " is not called in transformers";
    at::Tensor expected = golden_.at(path);
    // Norms of heads that transformers calls with the heads in front see tokens in front here.
    if (expected.sizes() != value.sizes() && expected.dim() == 4) {
      expected = expected.transpose(1, 2);
    }
    Compare(value, expected, path, &row_.modules);
    compared.insert(path);
  }
  for (const auto& [path, unused] : golden_) {
    const bool point = absl::EndsWith(path, "/q") || absl::EndsWith(path, "/k") ||
                       absl::EndsWith(path, "/v") || absl::EndsWith(path, "/probs") ||
                       absl::EndsWith(path, "/z");
    if (!absl::StartsWith(path, "single/") || point) continue;
    EXPECT_TRUE(compared.contains(path)) << path << " has no site";
  }
}

TEST_P(FamilyTest, TheInsideOfAttentionIsThatOfEagerAttention) {
  const std::vector<std::string> points = {"q", "k", "v", "probs", "z"};
  std::string text = absl::StrCat("invoke ", kPrompt, " {\n");
  for (const std::string& point : points) {
    absl::StrAppend(&text, "  save ", point, " = read model.layers.2.self_attn.", point, "\n");
  }
  const LocalResult result = model_.Run(text + "}\n");
  ASSERT_THAT(result.status, IsOk());
  for (const std::string& point : points) {
    Compare(result[point], golden_.at("single/model.layers.2.self_attn/" + point), point,
            &row_.inside);
  }
}

TEST_P(FamilyTest, ALeftPaddedBatchEqualsTransformersAndItsPromptsAlone) {
  const std::string body = " { save p = read result  save h = read model.layers.2.output }\n";
  const LocalResult batch = model_.Run(absl::StrCat("invoke ", kBatch, body));
  ASSERT_THAT(batch.status, IsOk());
  const at::Tensor expected = golden_.at("batch/logits");
  const int64_t tokens = expected.size(1);
  for (size_t i = 0; i < kAlone.size(); ++i) {
    const LocalResult alone = model_.Run(absl::StrCat("invoke ", kAlone[i], body));
    ASSERT_THAT(alone.status, IsOk());
    const int64_t own = alone["p"].size(1);
    const auto real = [&](const at::Tensor& rows) {
      return rows.narrow(0, static_cast<int64_t>(i), 1).narrow(1, tokens - own, own);
    };
    Compare(real(batch["p"]), real(expected), absl::StrCat("prompt ", i), &row_.batch);
    Compare(real(batch["p"]), alone["p"], absl::StrCat("prompt ", i, " alone"), &row_.solo);
    Compare(real(batch["h"]), alone["h"], absl::StrCat("prompt ", i, " alone, h"), &row_.solo);
  }
}

TEST_P(FamilyTest, GreedyTokensEqualTransformersGenerate) {
  const LocalResult one = model_.Run(Generation(kPrompt));
  ASSERT_THAT(one.status, IsOk());
  CompareTokens(one["ids"], golden_, "single", &row_);
  const LocalResult batch = model_.Run(Generation(kBatch));
  ASSERT_THAT(batch.status, IsOk());
  CompareTokens(batch["ids"], golden_, "batch", &row_);
}

TEST_P(FamilyTest, GenerationsThatArePassedTogetherAndLookedIntoAreTheSame) {
  Row row;
  const std::vector<LocalResult> results = model_.RunTogether(
      {Generation(kBatch),
       Generation(kPrompt, "  steps [:] { save probs = read model.layers.1.self_attn.probs }")});
  ASSERT_THAT(results[0].status, IsOk());
  ASSERT_THAT(results[1].status, IsOk());
  CompareTokens(results[0]["ids"], golden_, "batch", &row);
  CompareTokens(results[1]["ids"], golden_, "single", &row);
  const at::Tensor last = results[1][absl::StrCat("probs/", kNew - 1)];
  EXPECT_EQ(last.size(-1), 12 + kNew - 1);
  EXPECT_NEAR(last.sum(-1).min().item<double>(), 1, 1e-4);
}

TEST_P(FamilyTest, ARightPaddedBatchGeneratesWhatALeftPaddedOneDoes) {
  LocalModel right(Folder(), /*pad_left=*/false);
  const LocalResult result = right.Run(Generation(kBatch));
  ASSERT_THAT(result.status, IsOk());
  Row row;
  CompareTokens(result["ids"], golden_, "batch", &row);
}

TEST_P(FamilyTest, GradientsAtThreeModulesEqualAutograds) {
  const LocalResult result = model_.Run(absl::StrCat("invoke ", kPrompt, R"( {
  %embed = read model.embed_tokens.output
  %attention = read model.layers.1.self_attn.output
  %attended = %attention[0]
  %mlp = read model.layers.2.mlp.output
  %logits = read result
  %loss = aten::sum(%logits[:, -1, 5])
  backward %loss {
    save embed = grad %embed
    save attended = grad %attended
    save mlp = grad %mlp
  }
})"));
  ASSERT_THAT(result.status, IsOk());
  const std::map<std::string, std::string> paths = {{"embed", "model.embed_tokens"},
                                                    {"attended", "model.layers.1.self_attn"},
                                                    {"mlp", "model.layers.2.mlp"}};
  for (const auto& [name, path] : paths) {
    Compare(result[name], golden_.at("gradients/" + path), path, &row_.gradients);
  }
}

TEST_P(FamilyTest, RotaryEmbeddingsStandInTheTreeWithoutSites) {
  const int module = model_.spec().FindModule("model.rotary_emb");
  ASSERT_GE(module, 0);
  EXPECT_LT(model_.spec().FindSite(module, graph::Point::kOutput, 0), 0);
}

std::string NameOf(const ::testing::TestParamInfo<const char*>& info) {
  return absl::StrReplaceAll(info.param, {{"-", "_"}});
}

INSTANTIATE_TEST_SUITE_P(All, FamilyTest,
                         ::testing::Values("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2",
                                           "gemma3_text", "phi3", "olmo2", "stablelm",
                                           "stablelm-parallel", "cohere"),
                         NameOf);

/// A configuration of a checkpoint that is there already.
class FamilyVariantTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FamilyVariantTest, LogitsAndGreedyTokensEqualTransformers) {
  const std::string folder = absl::StrCat(kFolder, "variants/", GetParam());
  std::string of;
  std::getline(std::ifstream(folder + "/of"), of);
  const TempFolder staged;
  std::filesystem::copy(folder + "/config.json", staged.File("config.json"));
  for (const char* name : {"model.safetensors", "tokenizer.json"}) {
    std::filesystem::copy(absl::StrCat(kFolder, of, "/", name), staged.File(name));
  }
  LocalModel model(staged.path());
  const Tensors golden = LoadGolden(folder + "/golden.safetensors");
  const LocalResult trace =
      model.Run(absl::StrCat("invoke ", kPrompt, " { save p = read result }"));
  ASSERT_THAT(trace.status, IsOk());
  double largest = 0;
  Compare(trace["p"], golden.at("logits"), GetParam(), &largest);
  const LocalResult result = model.Run(Generation(kPrompt));
  ASSERT_THAT(result.status, IsOk());
  Row row;
  CompareTokens(result["ids"], golden, "single", &row);
}

INSTANTIATE_TEST_SUITE_P(All, FamilyVariantTest,
                         ::testing::Values("no-softcaps", "no-window", "relu", "rope-dynamic",
                                           "rope-linear", "rope-llama3", "rope-llama3-old",
                                           "rope-longrope-long", "rope-longrope-short", "rope-yarn",
                                           "rope-yarn-fields"),
                         NameOf);

}  // namespace
}  // namespace weft
