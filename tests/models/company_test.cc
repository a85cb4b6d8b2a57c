// Bits: what a program's rows are does not depend on who else is in the pass.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/kernels/instructions.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;

/// A folder of tests/parity, in a dtype.
struct Case {
  const char* folder;
  at::ScalarType dtype;
};

class CompanyTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (kernels::FindInstructions() == nullptr) {
      GTEST_SKIP() << "on this processor products are ATen's, whose sums depend on other rows";
    }
    model_ = std::make_unique<LocalModel>(
        absl::StrCat(WEFT_SOURCE_DIR, "/tests/parity/", GetParam().folder), /*pad_left=*/true,
        models::NetworkOptions{.dtype = GetParam().dtype});
  }

  static std::string Program(int which) {
    std::vector<int> prompt;
    for (int i = 0; i < 1 + which % 4; ++i) prompt.push_back(3 + (7 * which + 5 * i) % 80);
    return absl::StrCat("generate max_new_tokens=6 min_new_tokens=6\ninvoke [",
                        absl::StrJoin(prompt, ", "),
                        "] { steps [:] { save p = read logits }\n save ids = read result }");
  }

  std::unique_ptr<LocalModel> model_;
};

TEST_P(CompanyTest, SixteenGenerationsHaveTheSameBitsAloneAndTogether) {
  std::vector<std::string> programs;
  for (int which = 0; which < 16; ++which) programs.push_back(Program(which));
  const std::vector<LocalResult> together = model_->RunTogether(programs);
  for (int which = 0; which < 16; ++which) {
    const LocalResult alone = model_->Run(programs[which]);
    ASSERT_THAT(alone.status, IsOk());
    ASSERT_THAT(together[which].status, IsOk());
    ASSERT_EQ(alone.saved.size(), 7);  // six steps and the ids
    for (const auto& [name, value] : alone.saved) {
      EXPECT_TRUE(at::equal(value, together[which][name])) << which << " " << name;
    }
  }
}

TEST_P(CompanyTest, WhoLooksInsideAModuleDoesNotChangeTheOthers) {
  const std::string plain = "invoke [5, 9, 41] { save p = read result }";
  const std::string folder = GetParam().folder;
  const std::string module =
      folder == "gpt2-tiny"
          ? "transformer.h.1.mlp.c_fc"
          : absl::StrCat("model.layers.1.",
                         absl::StrContains(folder, "moe") ? "self_attn.q_proj" : "mlp.up_proj");
  const std::string watching = absl::StrCat("invoke [17, 30] { %x = read ", module,
                                            ".op(linear_0).output  aten::mul_(%x, 2.0) }");
  const std::vector<LocalResult> together = model_->RunTogether({plain, watching});
  ASSERT_THAT(together[1].status, IsOk());
  const LocalResult alone = model_->Run(plain);
  for (const auto& [name, value] : alone.saved) {
    EXPECT_TRUE(at::equal(value, together[0][name])) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CompanyTest,
                         ::testing::Values(Case{"gpt2-tiny", at::kFloat},
                                           Case{"gpt2-tiny", at::kBFloat16},
                                           Case{"families/llama", at::kFloat},
                                           Case{"families/gemma2", at::kFloat},
                                           Case{"families/qwen3_moe", at::kFloat}),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           std::string name = info.param.folder;
                           for (char& c : name) c = isalnum(c) != 0 ? c : '_';
                           return absl::StrCat(name, "_", c10::toString(info.param.dtype));
                         });

}  // namespace
}  // namespace weft
