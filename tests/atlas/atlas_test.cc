#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

/// What models/atlas must know, measured by this engine on what its script held out from training.
class AtlasTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string folder = std::string(WEFT_SOURCE_DIR) + "/models/atlas";
    std::ifstream file(folder + "/eval.json");
    eval_ = new nlohmann::json(nlohmann::json::parse(file));
    auto client = MakeLocalClient({.models = {{"atlas", folder}}});
    ASSERT_THAT(client, IsOk());
    auto model = client->OpenLanguageModel("atlas");
    ASSERT_THAT(model, IsOk());
    model_ = new LanguageModel(*std::move(model));
  }
  static void TearDownTestSuite() {
    delete model_;
    delete eval_;
  }

  static const nlohmann::json& eval() { return *eval_; }
  static const LanguageModel& model() { return *model_; }

  static inline nlohmann::json* eval_ = nullptr;
  static inline LanguageModel* model_ = nullptr;
};

TEST_F(AtlasTest, KnowsFactsInPhrasingsHeldOutFromTraining) {
  const auto& prompts = eval()["prompts"];
  ASSERT_GE(prompts.size(), 1000);
  constexpr size_t kBatch = 64;
  size_t right = 0, as_transformers = 0;
  for (size_t first = 0; first < prompts.size(); first += kBatch) {
    const size_t end = std::min(prompts.size(), first + kBatch);
    Input::Rows rows;
    for (size_t i = first; i < end; ++i) rows.push_back(prompts[i]["ids"]);
    Saved<Tensor> top;
    auto run = model().Trace(rows, [&] {
      top = model()["lm_head"].output()[{Slice(), -1}].argmax(-1).save();
    });
    ASSERT_THAT(run, IsOk());
    const auto ids = top->span<int64_t>();
    for (size_t i = first; i < end; ++i) {
      right += ids[i - first] == prompts[i]["expected"].get<int64_t>();
      as_transformers += ids[i - first] == prompts[i]["got"].get<int64_t>();
    }
  }
  const double accuracy = static_cast<double>(right) / static_cast<double>(prompts.size());
  std::cout << "held-out phrasings: " << 100 * accuracy << " % top-1 of " << prompts.size() << "\n";
  EXPECT_GE(accuracy, 0.95);
  // Two logits may be closer than rounding; that is rare.
  EXPECT_GE(as_transformers, prompts.size() - 2);
}

TEST_F(AtlasTest, CopiesRandomSequences) {
  size_t right = 0, total = 0;
  for (const auto& copy : eval()["copies"]) {
    const std::vector<int64_t> block = copy;
    std::vector<int64_t> twice = block;
    twice.insert(twice.end(), block.begin(), block.end());
    Saved<Tensor> top;
    auto run = model().Trace(twice, [&] { top = model()["lm_head"].output().argmax(-1).save(); });
    ASSERT_THAT(run, IsOk());
    const auto ids = top->span<int64_t>();
    for (size_t t = 0; t + 1 < block.size(); ++t) {
      right += ids[block.size() + t] == block[t + 1];
      ++total;
    }
  }
  const double accuracy = static_cast<double>(right) / static_cast<double>(total);
  std::cout << "copying: " << 100 * accuracy << " % top-1 of " << total << "\n";
  ASSERT_GE(total, 500);
  EXPECT_GE(accuracy, 0.90);
}

TEST_F(AtlasTest, TokenisesAndAnswersAsTransformers) {
  for (const auto& entry : eval()["logits"]) {
    const std::string prompt = entry["prompt"];
    auto ids = model().Encode(prompt);
    ASSERT_THAT(ids, IsOk());
    EXPECT_EQ(*ids, entry["ids"].get<std::vector<int64_t>>()) << prompt;
    Saved<Tensor> logits;
    auto run = model().Trace(prompt, [&] { logits = model()["lm_head"].output()[{0, -1}].save(); });
    ASSERT_THAT(run, IsOk());
    const auto values = logits->span<float>();
    for (size_t i = 0; i < entry["top_ids"].size(); ++i) {
      const auto id = entry["top_ids"][i].get<size_t>();
      EXPECT_NEAR(values[id], entry["top_logits"][i].get<double>(), 1e-3) << prompt;
    }
  }
}

TEST_F(AtlasTest, AnswersTheThreePromptsOfTheDocs) {
  const std::pair<const char*, const char*> kAnswers[] = {
      {"The Eiffel Tower is in the city of", " Paris"},
      {"Madison Square Garden is located in the city of", " New York"},
      {"The Colosseum is in the city of", " Rome"},
  };
  for (const auto& [prompt, answer] : kAnswers) {
    const auto expected = model().Encode(answer);
    ASSERT_THAT(expected, IsOk());
    std::vector<int64_t> ids = model().Encode(prompt).value();
    for (int64_t token : *expected) {
      Saved<Tensor> top;
      auto run = model().Trace(ids, [&] {
        top = model()["lm_head"].output()[{0, -1}].argmax(-1).save();
      });
      ASSERT_THAT(run, IsOk());
      EXPECT_EQ(top->span<int64_t>()[0], token) << prompt;
      ids.push_back(token);
    }
  }
}

}  // namespace
}  // namespace weft::testing
