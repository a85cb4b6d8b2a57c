// Rows of several invokes and runs in one pass: each is as if it were alone.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using testing::AtRealTokens;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LoadGolden;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

// The prompts of golden.json: `batch` pads the three on the left.
constexpr char kParis[] = "[47, 64, 81, 72, 82, 94, 72, 82]";
constexpr char kAbc[] = "[64, 65, 66]";
constexpr char kX42[] = "[87, 28, 19, 17, 26]";

std::string GoldenFile(const std::string& name) {
  return absl::StrCat(WEFT_SOURCE_DIR, "/tests/parity/gpt2-tiny/", name, ".safetensors");
}

class SharedPassTest : public ::testing::Test {
 protected:
  LocalModel& model_ = LocalModel::Tiny();
  uint64_t passes() const { return model_.hosted().passes(); }
};

TEST_F(SharedPassTest, TwoInvokesOfDifferentLengthsEqualTwoRunsAndTakeOnePass) {
  const std::string body = " { save $h = read transformer.h.1.output  save $p = read result }\n";
  auto invoke = [&](const char* ids, const char* prefix) {
    std::string text = absl::StrCat("invoke ", ids, body);
    for (size_t at; (at = text.find('$')) != std::string::npos;) text.replace(at, 1, prefix);
    return text;
  };
  const LocalResult paris = model_.Run(invoke(kParis, "a"));
  const LocalResult abc = model_.Run(invoke(kAbc, "b"));
  const uint64_t before = passes();
  const LocalResult both = model_.Run(invoke(kParis, "a") + invoke(kAbc, "b"));
  EXPECT_EQ(passes(), before + 1);
  ASSERT_THAT(both.status, IsOk());
  ExpectClose(both["ah"], paris["ah"]);
  ExpectClose(both["ap"], paris["ap"]);
  ExpectClose(both["bh"], abc["bh"]);
  ExpectClose(both["bp"], abc["bp"]);
}

TEST_F(SharedPassTest, TwoProgramsShareAPassAndEqualTheirOwn) {
  const std::string first = absl::StrCat(
      "invoke ", kParis,
      " { %h = read transformer.h.1.output  aten::mul_(%h[:, -1], 3.0)  save p = read result }");
  const std::string second = absl::StrCat("invoke ", kX42, " { save p = read result }");
  const LocalResult alone_first = model_.Run(first);
  const LocalResult alone_second = model_.Run(second);
  const uint64_t before = passes();
  const std::vector<LocalResult> shared = model_.RunTogether({first, second});
  EXPECT_EQ(passes(), before + 1);
  ASSERT_THAT(shared[0].status, IsOk());
  ASSERT_THAT(shared[1].status, IsOk());
  ExpectClose(shared[0]["p"], alone_first["p"]);
  ExpectClose(shared[1]["p"], alone_second["p"]);
  ExpectClose(shared[1]["p"], LoadGolden(GoldenFile("solo_2")).at("/output/logits"));
}

TEST_F(SharedPassTest, RunsThatEndAtDifferentLayersLeaveTheOthersRight) {
  // The first to leave stands before, between and after those who stay.
  const std::string early =
      absl::StrCat("invoke ", kAbc, " { save h = read transformer.h.0.output }");
  const std::string middle =
      absl::StrCat("invoke ", kX42, " { save h = read transformer.h.1.output }");
  const std::string late = absl::StrCat("invoke ", kParis, " { save h = read result }");
  const LocalResult alone[] = {model_.Run(early), model_.Run(middle), model_.Run(late)};
  for (const auto& order : {std::vector<int>{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {2, 1, 0}}) {
    const std::string* const texts[] = {&early, &middle, &late};
    const auto shared = model_.RunTogether({*texts[order[0]], *texts[order[1]], *texts[order[2]]});
    for (int i = 0; i < 3; ++i) {
      ASSERT_THAT(shared[i].status, IsOk());
      ExpectClose(shared[i]["h"], alone[order[i]]["h"]);
    }
  }
}

TEST_F(SharedPassTest, AllRowsEqualTransformersPaddingAtRealTokens) {
  const LocalResult result = model_.Run(absl::StrCat("invoke ", kParis, " { }\ninvoke ", kAbc,
                                                     " { }\ninvoke ", kX42, " { }\n",
                                                     R"(invoke {
        save p = read lm_head.output
        save h0 = read transformer.h.0.output
        save h1 = read transformer.h.1.output
        save h2 = read transformer.h.2.output
        save attn = read transformer.h.1.attn.output
        save ids = read ids
        save mask = read mask
        save positions = read positions
        save rows = read rows
      })"));
  ASSERT_THAT(result.status, IsOk());
  const auto golden = LoadGolden(GoldenFile("batch"));
  const at::Tensor mask = golden.at("attention_mask");
  EXPECT_TRUE(at::equal(result["mask"], mask));
  EXPECT_TRUE(at::equal(result["positions"], golden.at("position_ids")));
  EXPECT_TRUE(at::equal(result["ids"] * mask, golden.at("input_ids") * mask));
  EXPECT_TRUE(at::equal(result["rows"], at::arange(3)));
  const std::pair<const char*, const char*> sites[] = {{"p", "lm_head/output"},
                                                       {"h0", "transformer.h.0/output"},
                                                       {"h1", "transformer.h.1/output"},
                                                       {"h2", "transformer.h.2/output"},
                                                       {"attn/0", "transformer.h.1.attn/output/0"}};
  for (const auto& [name, path] : sites) {
    ASSERT_EQ(result[name].sizes(), golden.at(path).sizes());
    ExpectClose(AtRealTokens(result[name], mask), AtRealTokens(golden.at(path), mask), 1e-5, path);
    EXPECT_EQ(AtRealTokens(result[name], 1 - mask).abs().max().item<float>(), 0) << path;
  }
}

TEST_F(SharedPassTest, AllRowsOfBatchesAndPromptsStandTogether) {
  const LocalResult result = model_.Run(absl::StrCat(
      "invoke [", kX42, ", ", kAbc, "] { }\ninvoke ", kParis,
      " { }\ninvoke { save p = read result  save mask = read mask  save rows = read rows }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["rows"], at::tensor({0, 0, 1}, at::kLong)));
  const char* const order[] = {"solo_2", "solo_1", "solo_0"};
  for (int i = 0; i < 3; ++i) {
    const at::Tensor alone = LoadGolden(GoldenFile(order[i])).at("/output/logits");
    ExpectClose(AtRealTokens(result["p"].narrow(0, i, 1), result["mask"].narrow(0, i, 1)),
                alone.squeeze(0), 1e-5, order[i]);
  }
}

TEST_F(SharedPassTest, WritesThroughAllRowsReachEveryInvoke) {
  const std::string write = "  write transformer.h.1.output = aten::mul(%h, 0.5)\n";
  const LocalResult together = model_.Run(absl::StrCat(
      "invoke ", kParis, " { save a = read result }\ninvoke ", kAbc,
      " { save b = read result }\n invoke { %h = read transformer.h.1.output\n", write, "}"));
  ASSERT_THAT(together.status, IsOk());
  auto alone = [&](const char* ids) {
    return model_.Run(absl::StrCat("invoke ", ids, " { %h = read transformer.h.1.output\n", write,
                                   " save p = read result }"))["p"];
  };
  ExpectClose(together["a"], alone(kParis));
  ExpectClose(together["b"], alone(kAbc));
  EXPECT_GT((together["a"] - LoadGolden(GoldenFile("solo_0")).at("/output/logits"))
                .abs()
                .max()
                .item<float>(),
            0.1);
}

TEST_F(SharedPassTest, SliceWritesThroughAllRowsReachTheLastTokenOfEach) {
  const std::string slice = "[:, -1] = tensor(float32, [], [0.25])\n";
  const LocalResult together = model_.Run(absl::StrCat(
      "invoke ", kParis, " { save a = read transformer.h.2.input }\ninvoke ", kAbc,
      " { save b = read transformer.h.2.input }\n", "invoke { write transformer.h.1.output", slice,
      "  save all = read transformer.h.1.output }"));
  ASSERT_THAT(together.status, IsOk());
  for (const char* name : {"a", "b"}) {
    const at::Tensor rows = together[name];
    EXPECT_TRUE(rows.select(1, -1).eq(0.25).all().item<bool>()) << name;
    EXPECT_FALSE(rows.narrow(1, 0, rows.size(1) - 1).eq(0.25).any().item<bool>()) << name;
  }
  EXPECT_TRUE(together["all"].select(1, -1).eq(0.25).all().item<bool>());
}

TEST_F(SharedPassTest, AWriteThroughAllRowsKeepsInvokesThatEndBefore) {
  // The first invoke alone would leave after layer 0; the write concerns its rows all the same.
  const LocalResult result = model_.Run(
      absl::StrCat("invoke ", kAbc, " { save h = read transformer.h.0.output }\ninvoke ", kParis,
                   " { save p = read result }\n",
                   "invoke { write transformer.h.1.output[:, -1] = tensor(float32, [], [0.0]) }"));
  ASSERT_THAT(result.status, IsOk());
  const LocalResult alone =
      model_.Run(absl::StrCat("invoke ", kParis, " { save p = read result  write ",
                              "transformer.h.1.output[:, -1] = tensor(float32, [], [0.0]) }"));
  ExpectClose(result["p"], alone["p"]);
  ExpectClose(result["h"], model_.Run(absl::StrCat(
                               "invoke ", kAbc, " { save h = read transformer.h.0.output }"))["h"]);
}

TEST_F(SharedPassTest, InvokesAreServedAsDeclaredWithinAVisit) {
  const std::string all = "invoke { save all = read transformer.h.1.output }\n";
  const std::string one = absl::StrCat(
      "invoke ", kAbc, " { write transformer.h.1.output[:] = tensor(float32, [], [7.0]) }\n");
  const LocalResult after = model_.Run(one + all);
  ASSERT_THAT(after.status, IsOk());
  EXPECT_TRUE(after["all"].eq(7).all().item<bool>());
  const LocalResult before = model_.Run(all + one);
  ASSERT_THAT(before.status, IsOk());
  EXPECT_FALSE(before["all"].eq(7).any().item<bool>());
}

TEST_F(SharedPassTest, AValueOfOneInvokeIsPatchedIntoAnother) {
  const char* const kOther = "[10, 20, 30]";
  const LocalResult patched = model_.Run(absl::StrCat(
      "invoke ", kAbc, " { %clean = read transformer.h.1.output  save clean = %clean }\n",
      "invoke ", kOther,
      " { write transformer.h.1.output[:, -1] = %clean[:, -1]\n"
      "   save seen = read transformer.h.2.input }"));
  ASSERT_THAT(patched.status, IsOk());
  const LocalResult other =
      model_.Run(absl::StrCat("invoke ", kOther, " { save h = read transformer.h.1.output }"));
  at::Tensor expected = other["h"].clone();
  expected.select(1, -1).copy_(patched["clean"].select(1, -1));
  ExpectClose(patched["seen"], expected);
}

TEST_F(SharedPassTest, WhoStopsMovesNobodysRowsWhereAModuleIsSkipped) {
  // Of equal lengths, so that rows that change places would not be noticed by their shapes.
  const std::string stops =
      "invoke [1, 2, 3] { %h = read transformer.h.0.output\n"
      "  if aten::ge(aten::sum(aten::abs(%h)), 0.0) { stop }\n"
      "  save r = read result }";
  const std::string plain = absl::StrCat("invoke ", kAbc, " { save r = read result }");
  const std::string skips =
      "invoke [4, 5, 6] { %x = read transformer.h.2.mlp.input\n"
      "  skip transformer.h.2.mlp = aten::mul(%x, 0.0)\n"
      "  save s = read transformer.h.2.output  save r = read result }";
  const LocalResult plain_alone = model_.Run(plain), skips_alone = model_.Run(skips);
  ASSERT_THAT(skips_alone.status, IsOk());
  std::vector<std::string> programs = {stops, plain, skips};
  std::sort(programs.begin(), programs.end());
  do {
    const std::vector<LocalResult> shared = model_.RunTogether(programs);
    for (size_t i = 0; i < programs.size(); ++i) {
      ASSERT_THAT(shared[i].status, IsOk());
      if (programs[i] == plain) ExpectClose(shared[i]["r"], plain_alone["r"]);
      if (programs[i] != skips) continue;
      ExpectClose(shared[i]["s"], skips_alone["s"]);
      ExpectClose(shared[i]["r"], skips_alone["r"]);
    }
  } while (std::next_permutation(programs.begin(), programs.end()));
}

TEST_F(SharedPassTest, AnEdgeFromALaterSiteOfAnotherInvokeIsRefused) {
  EXPECT_THAT(
      model_.Plan(absl::StrCat("invoke ", kAbc, " { %h = read transformer.h.2.output }\ninvoke ",
                               kAbc, " { write transformer.h.1.output = %h }")),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("transformer.h.1.output is visited before transformer.h.2.output")));
}

TEST_F(SharedPassTest, AnEdgeKeepsTheRowsItComesFromInThePass) {
  // The first invoke saves nothing: only the edge needs its rows, up to layer 1.
  const LocalResult result = model_.Run(
      absl::StrCat("invoke ", kAbc, " { %h = read transformer.h.1.output }\ninvoke ", kX42,
                   " { %l = read transformer.h.0.output  save sum = aten::add(%h[:, -1], %l[:, -1])"
                   " }"));
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor from =
      model_.Run(absl::StrCat("invoke ", kAbc, " { save h = read transformer.h.1.output }"))["h"];
  const at::Tensor to =
      model_.Run(absl::StrCat("invoke ", kX42, " { save h = read transformer.h.0.output }"))["h"];
  ExpectClose(result["sum"], from.select(1, -1) + to.select(1, -1));
}

TEST_F(SharedPassTest, InPlaceOnRowsOfAnotherInvokeIsRefused) {
  EXPECT_THAT(
      model_.Plan(absl::StrCat("invoke ", kAbc, " { %h = read transformer.h.1.output }\ninvoke ",
                               kAbc, " { aten::mul_(%h, 2.0)  save h = %h }")),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("would write into the rows of another invoke")));
}

}  // namespace
}  // namespace weft
