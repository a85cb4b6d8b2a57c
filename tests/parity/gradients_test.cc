// Gradients against PyTorch's autograd on transformers' GPT-2.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr double kTolerance = 1e-5;
constexpr char kSingle[] = "[39, 72, 94, 86, 68, 69, 83]";
constexpr char kBatch[] = "[[47, 64, 81, 72, 82, 94, 72, 82], [64, 65, 66], [87, 28, 19, 17, 26]]";

const std::map<std::string, at::Tensor>& Golden() {
  static const auto* const kGolden = new std::map<std::string, at::Tensor>(
      testing::LoadGolden(WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny/gradients.safetensors"));
  return *kGolden;
}

/// Everything that was saved is what the golden file has for `name`'s case.
void ExpectGolden(const LocalResult& result, const std::string& name) {
  ASSERT_THAT(result.status, IsOk());
  size_t compared = 0;
  for (const auto& [saved, value] : result.saved) {
    const std::string golden = absl::StrCat(name, ".", saved);
    ASSERT_TRUE(Golden().contains(golden)) << golden;
    testing::ExpectClose(value, Golden().at(golden), kTolerance, golden);
    EXPECT_FALSE(value.requires_grad()) << golden;
    ++compared;
  }
  for (const auto& [golden, value] : Golden()) {
    if (absl::StartsWith(golden, name + ".")) --compared;
  }
  EXPECT_EQ(compared, 0u) << "not everything was saved, or more than there is";
}

std::string ManySites(const std::string& input) {
  return absl::StrCat("invoke ", input, R"( {
  %wte = read transformer.wte.output
  %h0 = read transformer.h.0.output
  %attn = read transformer.h.1.attn.output
  %attn1 = %attn[0]
  %mlp1 = read transformer.h.1.mlp.output
  %ln2 = read transformer.h.2.ln_2.output
  %ln_f = read transformer.ln_f.output
  %logits = read result
  %loss = aten::sum(%logits[:, -1, 5])
  save loss = %loss
  backward %loss {
    save wte = grad %wte
    save ln_f = grad %ln_f
    save h0 = grad %h0
    save attn1 = grad %attn1
    save mlp1 = grad %mlp1
    save ln2 = grad %ln2
    save logits = grad %logits
  }
})");
}

TEST(GradientsTest, OfManySitesInAnyOrder) {
  ExpectGolden(LocalModel::Tiny().Run(ManySites(kSingle)), "single");
}

TEST(GradientsTest, OfAPaddedBatch) {
  ExpectGolden(LocalModel::Tiny().Run(ManySites(kBatch)), "batch");
}

TEST(GradientsTest, BatchedInvokesEqualSolo) {
  std::string text =
      absl::StrCat("invoke [64, 65, 66] { save other = read result }\n", ManySites(kSingle));
  LocalResult result = LocalModel::Tiny().Run(text);
  result.saved.erase("other");
  ExpectGolden(result, "single");
}

TEST(GradientsTest, SeveralBackwardsAndAGradientToStartFrom) {
  ExpectGolden(LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h0 = read transformer.h.0.output
  %logits = read result
  %probs = aten::softmax(%logits, dim=-1)
  backward aten::sum(%logits[:, -1, 5]) {
    save first = grad %h0
  }
  backward %probs from %probs {
    save probs = grad %probs
    save second = grad %h0
  }
})")),
               "twice");
}

TEST(GradientsTest, AnEditedGradientFlowsOn) {
  ExpectGolden(LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  %last = %h1[:, -1]
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save h0 = grad %h0
    %g = grad %last
    grad %last = aten::mul(%g, 3.0)
  }
})")),
               "edit");
}

TEST(GradientsTest, OfAVersionThatWasWrittenInPlace) {
  ExpectGolden(LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %wte = read transformer.wte.output
  %h0 = read transformer.h.0.output
  aten::mul_(%h0[:, -1], 3.0)
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save h0 = grad %h0
    save wte = grad %wte
  }
})")),
               "write");
}

TEST(GradientsTest, FlowThroughAValueOfAnotherInvoke) {
  ExpectGolden(LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h0 = read transformer.h.0.output
  %last = %h0[:, -1]
}
invoke [87, 28, 19, 17, 26] {
  write transformer.h.0.output[:, -1] = %last
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save h0 = grad %h0
  }
})")),
               "patch");
}

TEST(GradientsTest, OfAConstantThatSteers) {
  ExpectGolden(LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %half = 0.5
  %vector = aten::expand(%half, [32])
  %steer = aten::clone(%vector)
  %h0 = read transformer.h.0.output
  write transformer.h.0.output = aten::add(%h0, %steer)
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save vector = grad %steer
  }
})")),
               "vector");
}

TEST(GradientsTest, ThroughAllRowsAreThoseOfEachInvoke) {
  const LocalResult all = LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %logits = read result
  %loss = aten::sum(%logits[:, -1, 5])
}
invoke { %h0 = read transformer.h.0.output
  backward %loss {
    save h0 = grad %h0
  }
})"));
  ASSERT_THAT(all.status, IsOk());
  testing::ExpectClose(all["h0"], Golden().at("single.h0"), kTolerance);
}

// No golden file has these: they are whole numbers.
TEST(GradientsTest, AreOfAllThatComesOfTheRowsWhoeverReadThem) {
  const std::string by_all = R"(
invoke { %all = read transformer.h.0.output
  %three = aten::sum(aten::mul(%all, 3.0))
})";
  const std::string by_one = R"(
invoke [64, 65, 66] { %own = read transformer.h.0.output
  %two = aten::sum(aten::mul(%own, 2.0))
})";
  const std::string other = "invoke [68, 69, 83] { save shape = read transformer.h.0.output }\n";
  const std::string backward = R"(
invoke { %loss = aten::add(%two, %three)
  backward %loss {
    save all = grad %all
    save own = grad %own
  }
})";
  for (const bool one_first : {true, false}) {
    // Rows that have a gradient already, and rows that have none.
    for (const bool from_before : {true, false}) {
      std::string text =
          absl::StrCat(other, one_first ? by_one : by_all, one_first ? by_all : by_one, backward);
      if (from_before) {
        text = absl::StrReplaceAll(
            text, {{"invoke [64, 65, 66] {",
                    "invoke [64, 65, 66] { %wte = read transformer.wte.output\n "},
                   {"backward %loss {", "backward %loss {\n    save wte = grad %wte"}});
      }
      const LocalResult result = LocalModel::Tiny().Run(text);
      ASSERT_THAT(result.status, IsOk()) << text;
      const at::Tensor own = result["own"], all = result["all"];
      testing::ExpectClose(own, at::full_like(own, 5.0), 0, text);
      testing::ExpectClose(all[0], at::full_like(all[0], 3.0), 0, text);
      testing::ExpectClose(all[1], at::full_like(all[1], 5.0), 0, text);
    }
  }
}

TEST(GradientsTest, OfASliceAreASliceOfTheGradient) {
  const LocalResult result = LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h0 = read transformer.h.0.output
  %part = %h0[:, 2:5]
  %logits = read result
  backward aten::sum(%logits[:, -1, 5]) {
    save part = grad %part
  }
})"));
  ASSERT_THAT(result.status, IsOk());
  testing::ExpectClose(result["part"], Golden().at("single.h0").slice(1, 2, 5), kTolerance);
}

TEST(GradientsTest, AWriteAtALaterSiteMayUseAGradient) {
  // The norm's gradient is one number a row: what it is matters less than that it arrives.
  const LocalResult result = LocalModel::Tiny().Run(absl::StrCat("invoke ", kSingle, R"( {
  %h0 = read transformer.h.0.output
  %h1 = read transformer.h.1.output
  backward aten::sum(%h1) {
    %g = grad %h0
  }
  write transformer.h.2.output = %g
  save h2 = read transformer.ln_f.input
  save g = %g
})"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["h2"], result["g"]));
}

TEST(GradientsTest, LeaveOtherRunsOfTheModelAsTheyWere) {
  LocalModel& model = LocalModel::Tiny();
  const std::string plain = absl::StrCat("invoke ", kSingle, " { save l = read result }");
  const at::Tensor before = model.Run(plain)["l"];
  ASSERT_THAT(model.Run(ManySites(kSingle)).status, IsOk());
  EXPECT_TRUE(at::equal(model.Run(plain)["l"], before));
}

/// A program, and what it is refused with.
struct Refusal {
  const char* name;
  const char* statements;
  const char* message;
};

class RefusedGradientTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedGradientTest, SaysWhy) {
  const LocalResult result = LocalModel::Tiny().Run(
      absl::StrCat("invoke ", kSingle, " {\n", GetParam().statements, "\n}"));
  EXPECT_THAT(std::string(result.status.message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedGradientTest,
    ::testing::Values(
        Refusal{"Loss", "%l = read result\nbackward %l { save g = grad %l }", "one number"},
        Refusal{"Start", "%l = read result\nbackward %l from 1.0 { save g = grad %l }",
                "same shape"},
        Refusal{"Integers",
                "%i = read transformer.wte.input\n%l = read result\n"
                "backward aten::sum(%l) { save g = grad %i }",
                "floating-point"},
        Refusal{"Structure",
                "%a = read transformer.h.0.attn.output\n%l = read result\n"
                "backward aten::sum(%l) { save g = grad %a }",
                "grad %h[0]"},
        Refusal{"Parameter",
                "%w = param transformer.wte.weight\n%l = read result\n"
                "%x = aten::sum(aten::mul(%w, 2.0))\n"
                "backward %x { save g = grad %w }",
                "frozen"},
        Refusal{"Independent",
                "%h = read transformer.h.2.output\n%x = read transformer.h.0.output\n"
                "%y = aten::mul(%h, 2.0)\nbackward aten::sum(%x) { save g = grad %y\n"
                "save f = grad %x }",
                "does not depend"},
        Refusal{"Order",
                "%h0 = read transformer.h.0.output\n%h1 = read transformer.h.1.output\n"
                "%l = read result\nbackward aten::sum(%l) { %g = grad %h0\n"
                "grad %h1 = %g\nsave f = grad %h0 }",
                "reverse order"},
        Refusal{"Inside", "%l = read result\nbackward aten::sum(%l) { %x = read result }",
                "before `backward`"},
        Refusal{"Nested",
                "%l = read result\nbackward aten::sum(%l) {\n"
                "backward aten::sum(%l) { } }",
                "inside another"},
        Refusal{"Outside", "%l = read result\nsave g = grad %l", "inside `backward"},
        Refusal{"Made",
                "%l = read result\nbackward aten::sum(%l) { %g = grad %l\n"
                "%x = aten::mul(%g, 2.0)\nsave y = grad %x }",
                "made inside"},
        Refusal{"InPlace",
                "%h = read transformer.h.0.output\n%l = read result\n"
                "backward aten::sum(%l) { save g = grad %h\naten::mul_(%h, 2.0) }",
                "outside"},
        Refusal{"TooEarly",
                "%h = read transformer.h.0.output\n%l = read result\n"
                "backward aten::sum(%l) { %g = grad %h }\nwrite transformer.h.1.output = %g",
                "too late"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace weft
