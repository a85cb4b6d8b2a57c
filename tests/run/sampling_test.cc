#include "engine/run/sampling.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft::run {
namespace {

using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/";

/// The options of a generation, given as in its header.
graph::GenerateOptions Options(const std::string& header) {
  const absl::StatusOr<graph::Program> program =
      testing::ParseAndCheck(absl::StrCat(header, "\ninvoke [1] { }"));
  EXPECT_THAT(program, IsOk()) << header;
  return *std::get<graph::Trace>(program->at(1).kind).generate;
}
graph::GenerateOptions Sampled(const std::string& options) {
  return Options(absl::StrCat("generate max_new_tokens=20 do_sample=true ", options));
}

/// Choose for a row whose prompt is token 0.
absl::StatusOr<int64_t> ChooseFrom(const std::vector<float>& logits,
                                   const graph::GenerateOptions& options, double random = 0.5) {
  const std::vector<int64_t> ids = {0};
  return TokenChooser(options, {}).Choose({ids, 1}, logits, random);
}

/// What is drawn from, for logits and what was chosen before them.
std::vector<double> Distribution(std::vector<double> logits, const std::vector<int64_t>& chosen,
                                 const graph::GenerateOptions& options) {
  TokenChooser(options, {}).Process({chosen, 0}, logits);
  return Probabilities(logits);
}

TEST(SamplingTest, DistributionsAreThoseOfTransformers) {
  const std::map<std::string, at::Tensor> golden =
      LoadGolden(absl::StrCat(kFolder, "sampling.safetensors"));
  const nlohmann::json cases =
      nlohmann::json::parse(std::ifstream(absl::StrCat(kFolder, "sampling.json")));
  const at::Tensor logits = golden.at("logits").to(at::kDouble).contiguous();
  const at::Tensor ids = golden.at("ids").contiguous();
  const int64_t rows = logits.size(0), vocabulary = logits.size(1), tokens = ids.size(1);
  ASSERT_GE(cases["distribution"].size(), 20u);
  for (const auto& [name, header] : cases["distribution"].items()) {
    const graph::GenerateOptions options = Options(header.get<std::string>());
    const TokenChooser chooser(options, {});
    at::Tensor actual = at::empty_like(logits);
    for (int64_t row = 0; row < rows; ++row) {
      const auto* from = logits.const_data_ptr<double>() + row * vocabulary;
      std::vector<double> processed(from, from + vocabulary);
      const auto* past = ids.const_data_ptr<int64_t>() + row * tokens;
      chooser.Process({{past, static_cast<size_t>(tokens)}, cases["prompt"].get<size_t>()},
                      processed);
      const std::vector<double> probabilities = Probabilities(processed);
      std::copy(probabilities.begin(), probabilities.end(),
                actual.mutable_data_ptr<double>() + row * vocabulary);
    }
    const at::Tensor expected = golden.at(absl::StrCat("distribution/", name));
    EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-6) << name;
    // What cannot be drawn there cannot be drawn here, and the other way round.
    EXPECT_TRUE(at::equal(actual.eq(0), expected.eq(0))) << name;
  }
}

TEST(SamplingTest, GenerationsThatTakeTheLikeliestAreThoseOfTransformers) {
  const std::map<std::string, at::Tensor> golden =
      LoadGolden(absl::StrCat(kFolder, "sampling.safetensors"));
  const nlohmann::json cases =
      nlohmann::json::parse(std::ifstream(absl::StrCat(kFolder, "sampling.json")));
  for (const auto& [name, header] : cases["generated"].items()) {
    const LocalResult result = LocalModel::Tiny().Run(
        absl::StrCat(header.get<std::string>(),
                     "\ninvoke [39, 72, 94, 86, 68, 69, 83] { save ids = read result }"));
    ASSERT_THAT(result.status, IsOk()) << name;
    EXPECT_TRUE(at::equal(result["ids"], golden.at(absl::StrCat("generated/", name))))
        << name << result["ids"] << golden.at(absl::StrCat("generated/", name));
  }
}

TEST(SamplingTest, PresenceAndFrequencyPenaltiesAreTakenFromWhatWasChosen) {
  const std::vector<double> logits = {1, 2, 3};
  std::vector<double> processed = logits;
  const graph::GenerateOptions options =
      Options("generate max_new_tokens=9 presence_penalty=0.5 frequency_penalty=0.25");
  const std::vector<int64_t> ids = {2, 2, 1, 1, 1, 0};  // the first two are the prompt
  TokenChooser(options, {}).Process({ids, 2}, processed);
  EXPECT_THAT(processed,
              ::testing::Pointwise(::testing::DoubleEq(), std::vector<double>{0.25, 0.75, 3}));
}

TEST(SamplingTest, NoTokensInARowComeTwice) {
  const std::vector<int64_t> ids = {1, 2, 3, 1, 2, 0, 1, 2};  // 1 2 was followed by 3 and by 0
  const std::vector<std::vector<int64_t>> forbidden = {{}, {0, 1, 2, 3}, {0, 3}, {0, 3}, {}};
  for (size_t size = 0; size < forbidden.size(); ++size) {
    std::vector<double> logits(5, 1.0);
    const graph::GenerateOptions options =
        Options(absl::StrCat("generate max_new_tokens=9 no_repeat_ngram_size=", size));
    TokenChooser(options, {}).Process({ids, 2}, logits);
    for (int64_t id = 0; id < 5; ++id) {
      const bool is =
          std::find(forbidden[size].begin(), forbidden[size].end(), id) != forbidden[size].end();
      EXPECT_EQ(std::isinf(logits[id]), is) << size << " " << id;
    }
  }
  // Of fewer tokens nothing is forbidden.
  std::vector<double> logits(5, 1.0);
  const graph::GenerateOptions options =
      Options("generate max_new_tokens=9 no_repeat_ngram_size=9");
  TokenChooser(options, {}).Process({ids, 2}, logits);
  EXPECT_EQ(logits, std::vector<double>(5, 1.0));
}

TEST(SamplingTest, EqualTokensAtTheEndOfTopPAreKeptInOrder) {
  const std::vector<double> probabilities = Distribution({1, 1, 1, 1}, {}, Sampled("top_p=0.6"));
  EXPECT_THAT(probabilities, ::testing::Pointwise(::testing::DoubleNear(1e-12),
                                                  std::vector<double>{1. / 3, 1. / 3, 1. / 3, 0}));
}

TEST(SamplingTest, TopPOfManyTokensKeepsAsManyAsItTakes) {
  // More than are sorted at once.
  const std::vector<double> probabilities =
      Distribution(std::vector<double>(3000, 0.0), {}, Sampled("top_p=0.4999"));
  EXPECT_EQ(
      std::count_if(probabilities.begin(), probabilities.end(), [](double p) { return p > 0; }),
      1500);
}

TEST(SamplingTest, TheSmallestTemperatureTakesTheLikeliest) {
  EXPECT_EQ(*ChooseFrom({1, 5, 2}, Sampled("temperature=5e-324"), 0.999), 1);
}

TEST(SamplingTest, AnInfiniteLogitLeavesNothingToTheOthers) {
  EXPECT_EQ(*ChooseFrom({1, kInfinity, 2}, Sampled("temperature=2 top_k=2 top_p=0.9"), 0.999), 1);
  EXPECT_EQ(*ChooseFrom({1, kInfinity, 2}, Options("generate max_new_tokens=1")), 1);
}

TEST(SamplingTest, NothingThatCanBeChosenIsAnError) {
  const absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(ChooseFrom({1, NAN}, Sampled("")), StatusIs(code, HasSubstr("the logits are NaN")));
  for (const char* options : {"", "top_p=0.5 top_k=1 min_p=0.5"}) {
    EXPECT_THAT(ChooseFrom({-kInfinity, -kInfinity}, Sampled(options)),
                StatusIs(code, HasSubstr("all logits are minus infinity")));
  }
  const graph::GenerateOptions ends =
      Options("generate max_new_tokens=3 min_new_tokens=1 eos_token_ids=[0, 1]");
  EXPECT_THAT(ChooseFrom({1, 2}, ends),
              StatusIs(code, HasSubstr("what min_new_tokens and no_repeat_ngram_size forbid")));
}

TEST(SamplingTest, DrawsFollowTheDistribution) {
  const graph::GenerateOptions options = Sampled("temperature=1.3 top_k=9");
  const std::vector<float> logits = {0.1F, 2.0F, -1.0F, 0.5F, 1.5F, 0.0F, -0.3F, 1.0F, 0.7F, -3.0F};
  const std::vector<double> expected = Distribution({logits.begin(), logits.end()}, {}, options);
  constexpr int kDraws = 20000;
  // Over steps, over rows, and over seeds.
  for (int along = 0; along < 3; ++along) {
    std::vector<int> counts(logits.size());
    for (uint64_t i = 0; i < kDraws; ++i) {
      const std::vector<int64_t> prompt = {4, 5};
      const double random =
          UniformOf(along == 2 ? i : 11, RowKey(prompt, along == 1 ? i : 0), along == 0 ? i : 0);
      ASSERT_GE(random, 0);
      ASSERT_LT(random, 1);
      ++counts[*ChooseFrom(logits, options, random)];
    }
    double chi_square = 0;
    int free = -1;
    for (size_t id = 0; id < logits.size(); ++id) {
      if (expected[id] == 0) {
        EXPECT_EQ(counts[id], 0) << id;
        continue;
      }
      const double wanted = expected[id] * kDraws;
      chi_square += (counts[id] - wanted) * (counts[id] - wanted) / wanted;
      ++free;
    }
    ASSERT_EQ(free, 8);
    // 26.1 is passed once in a thousand seeds.
    EXPECT_LT(chi_square, 26.1) << along;
  }
}

TEST(SamplingTest, RowsSeedsAndStepsHaveNumbersOfTheirOwn) {
  std::set<double> numbers;
  const std::vector<std::vector<int64_t>> prompts = {{1}, {2}, {1, 2}, {2, 1}};
  for (const std::vector<int64_t>& prompt : prompts) {
    for (uint64_t occurrence = 0; occurrence < 3; ++occurrence) {
      for (uint64_t seed = 0; seed < 3; ++seed) {
        for (uint64_t step = 0; step < 3; ++step) {
          numbers.insert(UniformOf(seed, RowKey(prompt, occurrence), step));
        }
      }
    }
  }
  EXPECT_EQ(numbers.size(), 4u * 3 * 3 * 3);
}

}  // namespace
}  // namespace weft::run
