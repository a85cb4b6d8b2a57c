// Beam searches against transformers' generate().

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::ExpectClose;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/";
constexpr int64_t kPad = 96;  // there; here it is 0

class BeamsTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  static std::string Search(const std::string& options, const nlohmann::json& prompts) {
    return absl::StrCat(options, "\ninvoke ", prompts.dump(),
                        " { save ids = read result  save scores = read beam_scores }");
  }

  LocalModel model_{
      absl::StrCat(kFolder, GetParam().second), /*pad_left=*/true, {.dtype = at::kFloat}};
  const std::map<std::string, at::Tensor> golden_ =
      LoadGolden(absl::StrCat(kFolder, "beams/golden.safetensors"));
  const nlohmann::json cases_ = nlohmann::json::parse(
      std::ifstream(absl::StrCat(kFolder, "beams/cases.json")))[GetParam().first];
};

TEST_P(BeamsTest, TextsAndScoresAreThoseOfTransformers) {
  ASSERT_GE(cases_.size(), 15u);
  for (const auto& [name, given] : cases_.items()) {
    const LocalResult result =
        model_.Run(Search(given["options"].get<std::string>(), given["prompts"]));
    ASSERT_THAT(result.status, IsOk()) << name;
    const at::Tensor& expected = golden_.at(absl::StrCat(GetParam().first, "/", name, "/ids"));
    ASSERT_EQ(result["ids"].sizes(), expected.sizes()) << name << result["ids"] << expected;
    EXPECT_TRUE(at::equal(result["ids"].masked_fill(expected == kPad, kPad), expected))
        << name << result["ids"] << expected;
    ExpectClose(result["scores"], golden_.at(absl::StrCat(GetParam().first, "/", name, "/scores")),
                1e-5, name);
  }
}

TEST_P(BeamsTest, APromptFindsTheSameAloneAndInABatch) {
  for (const char* name : {"batch", "batch_of_ends", "batch_at_once"}) {
    const nlohmann::json& given = cases_[name];
    const std::string options = given["options"].get<std::string>();
    const LocalResult batch = model_.Run(Search(options, given["prompts"]));
    ASSERT_THAT(batch.status, IsOk()) << name;
    const auto prompts = static_cast<int64_t>(given["prompts"].size());
    const int64_t returned = batch["ids"].size(0) / prompts;
    size_t longest = 0;
    for (const auto& each : given["prompts"]) longest = std::max(longest, each.size());
    for (int64_t p = 0; p < prompts; ++p) {
      const nlohmann::json prompt = nlohmann::json::array({given["prompts"][p]});
      const LocalResult alone = model_.Run(Search(options, prompt));
      ASSERT_THAT(alone.status, IsOk()) << name;
      ExpectClose(alone["scores"], batch["scores"].narrow(0, p * returned, returned), 1e-5, name);
      const auto tokens = static_cast<int64_t>(prompt[0].size());
      const int64_t added = alone["ids"].size(1) - tokens;
      const at::Tensor rows = batch["ids"].narrow(0, p * returned, returned);
      EXPECT_TRUE(at::equal(alone["ids"].narrow(1, tokens, added),
                            rows.narrow(1, static_cast<int64_t>(longest), added)))
          << name << p << alone["ids"] << rows;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BeamsTest,
                         ::testing::Values(std::pair("gpt2-tiny", "gpt2-tiny"),
                                           std::pair("llama", "families/llama")),
                         [](const auto& info) {
                           return std::string(info.param.first) == "llama" ? "Llama" : "Gpt2";
                         });

}  // namespace
}  // namespace weft
