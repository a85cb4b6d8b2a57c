#include "engine/run/run.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft::run {
namespace {

using ::testing::AllOf;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

TEST(InvokeInputTest, PadsOnTheLeftWithPositionsFromTheMask) {
  const InvokeInput input = InvokeInput::Make({{7, 8, 9}, {5}}, 96, /*pad_left=*/true);
  EXPECT_TRUE(input.padded);
  EXPECT_TRUE(at::equal(input.ids, at::tensor({7, 8, 9, 96, 96, 5}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(input.mask, at::tensor({1, 1, 1, 0, 0, 1}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(input.positions, at::tensor({0, 1, 2, 0, 0, 0}, at::kLong).view({2, 3})));
  // Nobody looks at a pad but the pad itself.
  EXPECT_TRUE(
      at::equal(input.attention_mask[1][0],
                at::tensor({1, 0, 0, 0, 1, 0, 0, 0, 1}, at::kLong).view({3, 3}).to(at::kBool)));
}

TEST(InvokeInputTest, PadsOnTheRightKeepTheLastPosition) {
  const InvokeInput input = InvokeInput::Make({{7, 8, 9}, {5, 6}}, 0, /*pad_left=*/false);
  EXPECT_TRUE(at::equal(input.mask, at::tensor({1, 1, 1, 1, 1, 0}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(input.positions, at::tensor({0, 1, 2, 0, 1, 1}, at::kLong).view({2, 3})));
}

TEST(InvokeInputTest, PromptsOfOneLengthNeedNoMask) {
  const InvokeInput input = InvokeInput::Make({{7, 8}, {5, 6}}, 0, true);
  EXPECT_FALSE(input.padded);
  EXPECT_FALSE(input.attention_mask.defined());
}

/// One run of one program, stepped by the test.
class RunTest : public ::testing::Test {
 protected:
  void Make(const std::string& body, const RunLimits& limits = {},
            absl::Time deadline = absl::InfiniteFuture()) {
    auto program = testing::ParseAndCheck(absl::StrCat("invoke [64, 65, 66] {\n", body, "\n}"));
    ASSERT_THAT(program, IsOk());
    program_ = *std::move(program);
    auto plan = plan::MakePlan(program_, model_.spec(), testing::CountRows(program_));
    ASSERT_THAT(plan, IsOk());
    plan_ = *std::move(plan);
    run_ = std::make_unique<run::Run>(plan_, program_, model_.spec(), model_.hosted(),
                                      std::vector{InvokeInput::Make({{64, 65, 66}}, 0, true)},
                                      limits, deadline, TokenOptions());
  }
  absl::Status Pass() {
    run::Run* const runs[] = {run_.get()};
    return model_.hosted().Run(runs);
  }

  LocalModel& model_ = LocalModel::Tiny();
  graph::Program program_;
  plan::Plan plan_;
  std::unique_ptr<run::Run> run_;
};

TEST_F(RunTest, WhatABrokenPassDidDoesNotCount) {
  Make("%i = read ids\n log \"i\" %i\n save i = %i\n save h = read transformer.h.0.output");
  run_->Begin(/*shared=*/true);  // and nobody ends it
  EXPECT_EQ(run_->saved().size(), 1u);
  ASSERT_THAT(Pass(), IsOk());
  ASSERT_EQ(run_->saved().size(), 2u);
  EXPECT_EQ(run_->saved()[0].save, 0);
  EXPECT_EQ(run_->saved()[1].save, 1);
  EXPECT_EQ(run_->logs().size(), 1u);
  EXPECT_TRUE(run_->finished());
}

TEST_F(RunTest, ACancelledRunTakesNoPartInAPass) {
  Make("save h = read transformer.h.0.output");
  run_->Cancel();
  const uint64_t passes = model_.hosted().passes();
  ASSERT_THAT(Pass(), IsOk());
  EXPECT_EQ(run_->status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(model_.hosted().passes(), passes);
  EXPECT_TRUE(run_->saved().empty());
}

TEST_F(RunTest, ALateRunEndsWithItsDeadline) {
  Make("save h = read transformer.h.0.output", {}, absl::Now() - absl::Seconds(1));
  ASSERT_THAT(Pass(), IsOk());
  EXPECT_THAT(run_->status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("deadline passed")));
}

TEST_F(RunTest, OperatorsOfOnesOwnHaveALimit) {
  Make("%h = read transformer.h.0.output\n save x = aten::matmul(%h, aten::transpose(%h, 1, 2))",
       {.operator_seconds = 1e-12});
  ASSERT_THAT(Pass(), IsOk());
  EXPECT_THAT(run_->status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                       AllOf(HasSubstr("the program's own operators took more"),
                                             HasSubstr("aten::"))));
}

TEST_F(RunTest, ModulesThatOneCallsAreOnesOwnOperators) {
  Make("%h = read transformer.h.0.output\n save x = call transformer.h.2(%h)",
       {.operator_seconds = 1e-12});
  ASSERT_THAT(Pass(), IsOk());
  EXPECT_THAT(run_->status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                       HasSubstr("call transformer.h.2(%h)")));
}

TEST_F(RunTest, LogsHaveALimit) {
  Make("%h = read transformer.h.0.output\n log %h\n log %h", {.log_bytes = 150});
  ASSERT_THAT(Pass(), IsOk());
  EXPECT_THAT(run_->status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                       HasSubstr("logs more than 150 bytes")));
  EXPECT_EQ(run_->logs().size(), 1u);
}

TEST_F(RunTest, AnErrorCarriesTheStatementAndTheSource) {
  Make("%h = read transformer.h.0.output\n%i = tensor(int64, [1], [9])\nsave x = %h[:, %i]");
  ASSERT_THAT(Pass(), IsOk());
  const graph::Error error = graph::FromStatus(run_->status());
  EXPECT_EQ(error.code, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error.source.line, 4u);
  EXPECT_THAT(error.statement, HasSubstr("%h[:, %i]"));
}

TEST(LogTest, AValueIsShownInShort) {
  const LocalResult result = LocalModel::Tiny().Run(R"(invoke [64, 65] {
    log "the ids" read ids
    %c = tensor(float32, [2], [1.5, -2.0])
    log "wide" aten::expand(%c, [100000, 100000, 2])
    %list = [%c]
    log (%c, %list)
    log {"key": read transformer.h.0.attn.output}
    log read result
  })");
  ASSERT_THAT(result.status, IsOk());
  ASSERT_EQ(result.logs.size(), 5u);
  std::map<std::string, std::string> by_label;
  std::string all;
  for (const LogEntry& entry : result.logs) {
    by_label[entry.label] = entry.text;
    absl::StrAppend(&all, entry.text, "\n");
  }
  EXPECT_THAT(by_label["the ids"], AllOf(HasSubstr("64"), HasSubstr("65")));
  EXPECT_THAT(by_label["wide"], HasSubstr("[1.5, -2, 1.5, -2, 1.5, -2, 1.5, -2, ...]"));
  EXPECT_THAT(all, HasSubstr("(float32[2] [1.5, -2], [float32[2] [1.5, -2]])"));
  EXPECT_THAT(all, HasSubstr("key: ("));
  EXPECT_THAT(all, HasSubstr("none"));
  EXPECT_LT(all.size(), 4000u);
}

TEST(ToHostValueTest, TensorsAreSharedWhereTheyAreDense) {
  const at::Tensor tensor = at::arange(6, at::kFloat).view({2, 3});
  const graph::HostValue value = ToHostValue(tensor);
  const auto& host = std::get<graph::HostTensor>(value.value);
  EXPECT_EQ(host.data, static_cast<const char*>(tensor.const_data_ptr()));
  EXPECT_EQ(host.dtype, graph::DType::kF32);
  EXPECT_EQ(host.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(host.bytes, 24u);
  const graph::HostValue turned = ToHostValue(tensor.t());
  const auto* data = reinterpret_cast<const float*>(std::get<graph::HostTensor>(turned.value).data);
  EXPECT_EQ(std::vector<float>(data, data + 6), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST(ToHostValueTest, StructuresKeepTheirShape) {
  c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
  dict.insert("b", c10::IValue(at::ones({1})));
  dict.insert("a", c10::ivalue::Tuple::create({c10::IValue(at::ones({2})), c10::IValue()}));
  const graph::HostValue value = ToHostValue(dict);
  const auto& entries = std::get<graph::HostValue::Dict>(value.value).entries;
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].key, "b");
  const auto& tuple = std::get<graph::HostValue::Tuple>(entries[1].value.value);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(tuple.items[1].value));
}

}  // namespace
}  // namespace weft::run
