// Values whose size depends on what a mask selects: planned at the most that there can be, checked
// again while running.

#include <ATen/ATen.h>
#include <ATen/TensorIndexing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
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

std::string In(const std::string& body) {
  return absl::StrCat("invoke [64, 65, 66, 67] {\n%h = read transformer.h.1.output\n", body,
                      "\n}\n");
}

LocalResult RunBody(const std::string& body) {
  LocalResult result = LocalModel::Tiny().Run(In(body));
  EXPECT_THAT(result.status, IsOk()) << body;
  return result;
}

absl::Status Refusal(const std::string& body) {
  return LocalModel::Tiny().Check(In(body)).status();
}

auto IsRefused(const std::string& first, const std::string& second = "") {
  return StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(first), HasSubstr(second)));
}

at::Tensor Hidden() { return RunBody("save x = %h")["x"]; }

TEST(SelectionTest, StepsAreCountedWhateverTheStride) {
  const Selection sparse{.first = 3, .stride = std::numeric_limits<int64_t>::max()};
  EXPECT_EQ(sparse.CountBelow(3), 0);
  EXPECT_EQ(sparse.CountBelow(10), 1);
  EXPECT_EQ(Selection{.first = 1}.CountBelow(10), 9);
  EXPECT_EQ((Selection{.first = 1, .stride = 3}.CountBelow(8)), 3);
}

TEST(SelectionTest, AnIndexBehindAMaskIsOfTheDimensionBehindAllOfTheMasks) {
  const LocalResult result = RunBody(R"(
    %m = aten::ge(aten::abs(%h[:, :, 0]), 0.0)
    save x = aten::index(%h, [%m, tensor(int64, [1], [20])]))");
  EXPECT_TRUE(result["x"].equal(Hidden().index({0, at::indexing::Slice(), 20})));
  const LocalResult beyond = LocalModel::Tiny().Run(In(R"(
    %m = aten::ge(aten::abs(%h[:, :, 0]), 0.0)
    save x = aten::index(%h, [%m, tensor(int64, [1], [32])]))"));
  EXPECT_THAT(beyond.status, IsRefused("it must lie in [-32, 32)"));
}

TEST(SelectionTest, AMaskSelectsAsInTorch) {
  const LocalResult result = RunBody(R"(
    %m = aten::gt(%h, 0.5)
    %tokens = tensor(bool, [4], [false, true, false, true])
    save all = %h[%m]
    save two = %h[:, %tokens]
    save part = %h[0, %tokens, :3]
    save none = %h[aten::gt(%h, 1000000.0)]
    save by_operator = aten::index(%h, [none, %tokens])
    save head = call lm_head(%h[:, %tokens]))");
  const at::Tensor h = Hidden();
  const at::Tensor tokens = at::tensor({0, 1, 0, 1}).to(at::kBool);
  EXPECT_TRUE(result["all"].equal(h.index({h.gt(0.5)})));
  EXPECT_TRUE(result["two"].equal(h.index({at::indexing::Slice(), tokens})));
  EXPECT_TRUE(result["part"].equal(h[0].index({tokens}).slice(1, 0, 3)));
  EXPECT_EQ(result["none"].numel(), 0);
  EXPECT_TRUE(result["by_operator"].equal(result["two"]));
  EXPECT_EQ(result["head"].size(1), 2);
}

TEST(SelectionTest, WhatIsSelectedIsComputedWithAndReduced) {
  const LocalResult result = RunBody(R"(
    %m = aten::gt(%h, 0.0)
    %x = %h[%m]
    save twice = aten::mul(aten::add(%x, %x), 0.5)
    save mean = aten::mean(%x)
    save count = aten::size(%x, 0)
    save largest = aten::amax(%x)
    save first = %x[0]
    save again = %x[aten::gt(%x, 1.0)])");
  const at::Tensor x = Hidden().index({Hidden().gt(0)});
  ExpectClose(result["twice"], x);
  ExpectClose(result["mean"], x.mean());
  ExpectClose(result["largest"], x.amax());
  ExpectClose(result["first"], x[0]);
  EXPECT_TRUE(result["again"].equal(x.index({x.gt(1)})));
}

TEST(SelectionTest, WhatWasSelectedIsWrittenBack) {
  const LocalResult result = RunBody(R"(
    %m = aten::gt(%h, 0.0)
    %tokens = tensor(bool, [1, 4], [false, true, false, true])
    %h[%m] = aten::mul(%h[%m], 3.0)
    %h[%tokens] = aten::neg(%h[%tokens])
    save h = %h
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Hidden().clone();
  expected = at::where(expected.gt(0), expected * 3, expected);
  for (const int token : {1, 3}) expected.select(1, token).neg_();
  ExpectClose(result["h"], expected);
  ExpectClose(result["seen"], expected);
}

TEST(SelectionTest, WhatIsReducedHasAKnownSizeAgain) {
  const LocalResult result = RunBody(R"(
    %m = aten::gt(%h[0, :, 0], -1000000.0)
    %mean = aten::mean(%h[0, %m], 0)
    write transformer.h.1.output[:, -1] = %mean
    write transformer.h.2.output = aten::add(read transformer.h.2.output, %mean)
    save h = %h
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Hidden().clone();
  expected.select(1, 3).copy_(Hidden()[0].mean(0));
  ExpectClose(result["seen"], expected);
}

TEST(SelectionTest, GradientsFlowThroughWhatIsSelected) {
  const LocalResult result = RunBody(R"(
    %m = aten::gt(%h, 0.0)
    %x = %h[%m]
    %loss = aten::sum(aten::mul(%x, %x))
    backward %loss {
      save of_h = grad %h
      save of_x = grad %x
    })");
  const at::Tensor h = Hidden();
  ExpectClose(result["of_h"], at::where(h.gt(0), 2 * h, at::zeros_like(h)));
  ExpectClose(result["of_x"], 2 * h.index({h.gt(0)}));
}

TEST(SelectionTest, ASizeThatMustBeKnownIsRefusedBeforeTheRun) {
  const std::string x = "%m = aten::gt(%h, 0.0)\n%x = %h[%m]\n";
  EXPECT_THAT(Refusal(x + "save y = aten::view(%x, [128])"),
              IsRefused("how many elements a mask selects depends on data", "aten::where"));
  EXPECT_THAT(Refusal(x + "save y = aten::add(%x, aten::ones([128]))"),
              IsRefused("how many elements a mask selects depends on data"));
  EXPECT_THAT(Refusal(x + "save y = aten::split(%x, 64)"),
              IsRefused("how many tensors this gives"));
  EXPECT_THAT(Refusal(x + "write transformer.h.2.output[0, 0] = %x"), IsRefused("known before"));
  EXPECT_THAT(Refusal(x + "if aten::gt(%x, 0.0) { stop }"), IsRefused("is"));
  EXPECT_THAT(Refusal(x + "skip transformer.h.2 = aten::add(%h, %x[0])"),
              IsRefused("this skip needs a value whose size is known", "skip transformer.h.2"));
  EXPECT_THAT(Refusal(x + "%y = if aten::any(%m) { yield %x } else { yield %x }"),
              IsRefused("a value of both branches"));
}

TEST(SelectionTest, WhatFitsThePlanAndNotTheDataNamesItsStatement) {
  // Two masks of one size select different numbers of elements.
  const LocalResult sizes = LocalModel::Tiny().Run(In(R"(
    %a = %h[aten::gt(%h, 0.0)]
    %b = %h[aten::gt(%h, 1000000.0)]
    save before = aten::sum(%a)
    save y = aten::add(%a, %b))"));
  EXPECT_THAT(sizes.status, IsRefused("aten::add(%a, %b)"));
  const LocalResult place = LocalModel::Tiny().Run(In(R"(
    %b = %h[aten::gt(%h, 1000000.0)]
    save y = %b[0])"));
  EXPECT_THAT(place.status, IsRefused("%b[0]"));
  const LocalResult back = LocalModel::Tiny().Run(In(R"(
    %h[aten::gt(%h, 0.0)] = %h[aten::lt(%h, -1000000.0)]
    save y = %h)"));
  EXPECT_THAT(back.status, IsRefused("%h["));
}

TEST(SelectionTest, AScanTellsTheMostThatThereCanBe) {
  const auto check = LocalModel::Tiny().Check(In(R"(
    save x = %h[aten::gt(%h, 0.0)]
    save rows = (%h[:, aten::gt(%h[0, :, 0], 0.0)], %h)
    save sum = aten::sum(%h[aten::gt(%h, 0.0)]))"));
  ASSERT_THAT(check, IsOk());
  EXPECT_EQ(graph::ToString(check->saves[0]), "float32[at most 128]");
  EXPECT_EQ(graph::ToString(check->saves[1]), "(float32[1, at most 4, 32], float32[1, 4, 32])");
  EXPECT_EQ(graph::ToString(check->saves[2]), "float32[]");
}

TEST(SelectionTest, InStepsEachStepSelectsItsOwn) {
  const LocalResult result = LocalModel::Tiny().Run(R"(
    generate max_new_tokens=3
    invoke [64, 65, 66] {
      steps [:] {
        %h = read transformer.h.1.output
        save all = %h
        save x = %h[aten::gt(%h, 0.0)]
      }
    })");
  ASSERT_THAT(result.status, IsOk());
  for (const char* step : {"0", "1", "2"}) {
    const at::Tensor h = result[absl::StrCat("all/", step)];
    EXPECT_TRUE(result[absl::StrCat("x/", step)].equal(h.index({h.gt(0)})));
  }
}

}  // namespace
}  // namespace weft::plan
