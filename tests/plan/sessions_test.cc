// What one trace of a program gives to the next: as its input, and prompts that a sweep fills in.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft::plan {
namespace {

using ::testing::AllOf;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

LocalResult RunText(const std::string& text) {
  LocalResult result = LocalModel::Tiny().Run(text);
  EXPECT_THAT(result.status, IsOk()) << text;
  return result;
}

auto IsRefused(const std::string& first, const std::string& second = "") {
  return StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(first), HasSubstr(second)));
}

TEST(SessionsTest, AValueOfOneTraceIsWhatTheNextBeginsWith) {
  const LocalResult result = RunText(R"(
    trace
    invoke [64, 65, 66, 67] {
      %h = read transformer.h.0.output
      save out = read transformer.h.1.output
      %twice = aten::mul(%h, 2.0)
    }
    trace root=transformer.h.1
    invoke (%h) { save same = read transformer.h.1.output }
    invoke (%twice) {
      save in = read transformer.h.1.input
      save other = read transformer.h.1.output
    }
    invoke { save rows = read transformer.h.1.input })");
  ExpectClose(result["same"], result["out"]);
  EXPECT_EQ(result["in"].sizes(), result["out"].sizes());
  EXPECT_FALSE(at::allclose(result["other"], result["out"]));
  EXPECT_EQ(result["rows"].sizes(), at::IntArrayRef({2, 4, 32}));
}

TEST(SessionsTest, TokensThatWereGeneratedAreAPrompt) {
  const LocalResult result = RunText(R"(
    generate max_new_tokens=4
    invoke [64, 65, 66] { %ids = read result  save ids = %ids }
    trace
    invoke (input_ids=%ids) {
      save seen = read ids
      save logits = read result
    })");
  EXPECT_TRUE(result["seen"].equal(result["ids"]));
  EXPECT_EQ(result["logits"].size(1), 7);
  std::string ids;
  for (int64_t i = 0; i < 7; ++i) {
    absl::StrAppend(&ids, i > 0 ? ", " : "", result["ids"][0][i].item<int64_t>());
  }
  ExpectClose(RunText(absl::StrCat("invoke [", ids, "] { save l = read result }"))["l"],
              result["logits"]);
}

TEST(SessionsTest, AMaskLeavesPadsOut) {
  const LocalResult result = RunText(R"(
    trace
    invoke [[64, 65, 66], [67]] { %ids = read ids  %mask = read mask }
    trace
    invoke (input_ids=%ids, attention_mask=%mask) {
      save mask = read mask
      save last = read result
    }
    trace
    invoke [[64, 65, 66], [67]] { save same = read result })");
  ExpectClose(result["last"], result["same"]);
}

TEST(SessionsTest, PadsThatAllPromptsHaveAreRefused) {
  const LocalResult result = LocalModel::Tiny().Run(R"(
    trace
    %mask = tensor(int64, [2, 3], [0, 1, 1, 0, 0, 1])
    invoke [[64, 65, 66], [67, 68, 69]] { %ids = read ids  %m = aten::mul(%mask, 1) }
    trace
    invoke (input_ids=%ids, attention_mask=%m) { save last = read result })");
  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("3 columns and at most 2 tokens")));
}

TEST(SessionsTest, GradientsAreOfTheTraceThatGoesBackwards) {
  const LocalResult result = RunText(R"(
    trace
    invoke [64, 65, 66] { %h = read transformer.h.0.output  save h = %h }
    trace root=transformer.h.1
    invoke (%h) {
      %in = read transformer.h.1.input
      %out = read transformer.h.1.output
      backward aten::sum(%out) { save g = grad %in }
    })");
  EXPECT_EQ(result["g"].sizes(), result["h"].sizes());
  EXPECT_GT(result["g"].abs().max().item<float>(), 0);
}

TEST(SessionsTest, WhatCannotBeginATraceIsRefused) {
  const auto refusal = [](const std::string& text) {
    return LocalModel::Tiny().Check(text).status();
  };
  const std::string first = "trace invoke [64, 65] { %h = read transformer.h.0.output }\n";
  EXPECT_THAT(refusal(first + "trace root=transformer.h.1 invoke (%h[:, :, :3]) { }"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(refusal(first + "trace invoke (%h) { save x = read result }"),
              IsRefused("`input_ids` is float32[1, 2, 32]", "int64[batch, tokens]"));
  EXPECT_THAT(
      refusal("trace invoke [64, 65] { %h = read transformer.h.0.output[0, 0] }\n"
              "trace root=transformer.h.1 invoke (%h) { save x = read transformer.h.1.output }"),
      IsRefused("takes float32[B, T, 32]"));
  EXPECT_THAT(
      refusal(
          first +
          "trace root=transformer.h.1 invoke (scale=%h) { save x = read transformer.h.1.output }"),
      IsRefused("takes no `scale`"));
  const LocalResult beyond = LocalModel::Tiny().Run(
      "trace invoke [64, 65] { %x = aten::mul(read ids, 1000) }\n"
      "trace invoke (input_ids=%x) { save y = read result }");
  EXPECT_THAT(beyond.status, StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("invoke (")));
}

TEST(SweptPromptsTest, EachPointHasItsOwnPrompt) {
  const LocalResult result = RunText(R"(
    sweep %p in [[64, 65, 66], [67], [68, 69]], %scale in [1.0, 2.0, 3.0] {
      invoke %p {
        %h = read transformer.h.1.output
        write transformer.h.1.output = aten::mul(%h, %scale)
        save ids = read ids
        save logits = read result
      }
    })");
  const std::string prompts[] = {"64, 65, 66", "67", "68, 69"};
  for (int point = 0; point < 3; ++point) {
    const LocalResult solo = RunText(absl::StrCat("invoke [", prompts[point], R"(] {
      %h = read transformer.h.1.output
      write transformer.h.1.output = aten::mul(%h, )",
                                                  point + 1, R"(.0)
      save ids = read ids
      save logits = read result
    })"));
    EXPECT_TRUE(result[absl::StrCat("ids/", point)].equal(solo["ids"]));
    ExpectClose(result[absl::StrCat("logits/", point)], solo["logits"]);
  }
}

TEST(SweptPromptsTest, APatchBetweenTwoPromptsOfAPoint) {
  const LocalResult result = RunText(R"(
    sweep %clean in [[64, 65, 66], [67, 68]], %dirty in [[70, 71, 72], [73, 74]] {
      invoke %clean { %h = read transformer.h.0.output }
      invoke %dirty {
        write transformer.h.0.output = %h
        save logits = read result
      }
      invoke { save mask = read mask }
    })");
  ExpectClose(result["logits/1"],
              RunText("invoke [67, 68] { save logits = read result }")["logits"]);
  EXPECT_EQ(result["mask/0"].sizes(), at::IntArrayRef({2, 3}));
  EXPECT_EQ(result["mask/1"].sizes(), at::IntArrayRef({2, 2}));
}

TEST(SweptPromptsTest, AGenerationOfEach) {
  const LocalResult result = RunText(R"(
    generate max_new_tokens=3
    sweep %p in [[64, 65, 66], [67]] { invoke %p { save ids = read result } })");
  EXPECT_TRUE(result["ids/1"].equal(
      RunText("generate max_new_tokens=3 invoke [67] { save ids = read result }")["ids"]));
}

TEST(PlainValuesTest, AreSavedAsTheyAre) {
  const LocalResult result = RunText(R"(invoke [64, 65] {
    %h = read transformer.h.1.output
    %rows = int(2)
    save twice = aten::mul(%h, %rows)
    save h = %h
    save both = {"layer": 1, "x": %h, "list": [1, 2.5, true, none, "mlp"]}
    save name = "mlp"
    save flag = bool(true)
    log "" "a text"
    log "label" "and a text"
    log {"layer": 1, "scale": 0.5}
  })");
  ExpectClose(result["twice"], result["h"] * 2);
  ExpectClose(result["both/x"], result["h"]);
  ASSERT_EQ(result.logs.size(), 3);
  EXPECT_EQ(result.logs[0].text, "a text");
  EXPECT_EQ(result.logs[1].label, "label");
  EXPECT_EQ(result.logs[2].text, "{layer: 1, scale: 0.5}");
}

}  // namespace
}  // namespace weft::plan
