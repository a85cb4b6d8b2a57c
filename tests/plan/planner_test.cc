// The planner's rules, each from text programs, and what runs by them computes.

#include "engine/plan/planner.h"

#include <ATen/ATen.h>
#include <ATen/TensorIndexing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/graph/error.h"
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

/// One invoke of four tokens around `body`.
std::string In(const std::string& body) {
  return absl::StrCat("invoke [64, 65, 66, 67] {\n", body, "\n}\n");
}

LocalResult RunBody(const std::string& body) {
  LocalResult result = LocalModel::Tiny().Run(In(body));
  EXPECT_THAT(result.status, IsOk()) << body;
  return result;
}

absl::Status Refusal(const std::string& body) {
  return LocalModel::Tiny().Check(In(body)).status();
}

auto IsRefused(const std::string& part) {
  return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(part));
}
template <typename... Part>
auto IsRefused(const std::string& first, const Part&... parts) {
  return StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(first), HasSubstr(parts)...));
}

/// What one site gives without any intervention.
at::Tensor Clean(const std::string& site) {
  return RunBody(absl::StrCat("save x = read ", site))["x"];
}

/// The logits that come of another output of block 1, by modules called out of band.
at::Tensor LogitsAfterBlock1(const at::Tensor& h1) {
  LocalModel& model = LocalModel::Tiny();
  const run::InvokeInput input = run::InvokeInput::Make({{64, 65, 66, 67}}, 0, true);
  run::Segment segment;
  segment.input = &input;
  segment.tokens = input.tokens();
  auto call = [&](const char* path, const at::Tensor& x) {
    const c10::InferenceMode guard;
    return model.hosted()
        .CallModule(model.spec().FindModule(path), x, &segment, nullptr, nullptr)
        .value()
        .toTensor();
  };
  return call("lm_head", call("transformer.ln_f", call("transformer.h.2", h1)));
}

int TimeOf(const std::string& module, graph::Point point = graph::Point::kOutput) {
  const ModelSpec& spec = LocalModel::Tiny().spec();
  return spec.FindSite(spec.FindModule(module), point, 0);
}

// --- sites and their order ----------------------------------------------------------------------

TEST(PlannerTest, RefusesABlobThatNobodyHasFound) {
  const std::string text = absl::StrCat("%c = blob(float32, [2], \"", std::string(64, 'a'),
                                        "\") invoke [1] { save c = %c }");
  EXPECT_THAT(LocalModel::Tiny().Check(text).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("the bytes of this blob")));
}

TEST(PlannerTest, WhatTorchRefusesNamesItsStatement) {
  const absl::Status status = Refusal(R"(
    %x = tensor(float32, [0, 2, 9223372036854775807], [])
    write transformer.h.1.output[1:, :, :] = %x)");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_NE(graph::FromStatus(status).node, graph::kNoNode) << status;
}

TEST(PlannerOrderTest, ReadsMayBeWrittenInAnyOrder) {
  const LocalResult result = RunBody(R"(
    save p = read lm_head.output
    save h2 = read transformer.h.2.output
    save e = read transformer.wte.output
    save h0 = read transformer.h.0.output)");
  ExpectClose(result["p"], Clean("lm_head.output"));
  ExpectClose(result["h2"], Clean("transformer.h.2.output"));
  ExpectClose(result["h0"], Clean("transformer.h.0.output"));
  ExpectClose(result["e"], Clean("transformer.wte.output"));
}

TEST(PlannerOrderTest, RefusesWriteThatNeedsALaterSite) {
  EXPECT_THAT(Refusal("%a = read transformer.h.1.output\n write transformer.h.0.output = %a"),
              IsRefused("transformer.h.0.output is visited before transformer.h.1.output",
                        "%a = read transformer.h.1.output", "write transformer.h.0.output = %a"));
}

TEST(PlannerOrderTest, RefusesALateWriteWhateverLiesBetweenItAndTheRead) {
  EXPECT_THAT(Refusal(R"(
      %p = read lm_head.output
      %n = aten::sum(aten::mul(%p, 2.0))
      %h = read transformer.h.2.output
      write transformer.h.2.output = aten::add(%h, %n))"),
              IsRefused("transformer.h.2.output is visited before lm_head.output",
                        "%p = read lm_head.output"));
}

TEST(PlannerOrderTest, RefusesASliceWriteThatComesTooLate) {
  EXPECT_THAT(Refusal(R"(
      %a = read transformer.h.1.output
      write transformer.h.0.output[:, -1] = %a[:, -1])"),
              IsRefused("transformer.h.0.output is visited before transformer.h.1.output"));
}

TEST(PlannerOrderTest, RefusesASkipWhoseValueComesTooLate) {
  EXPECT_THAT(Refusal("%a = read transformer.h.1.mlp.output\n skip transformer.h.1 = %a"),
              IsRefused("transformer.h.1.input is visited before transformer.h.1.mlp.output"));
}

TEST(PlannerOrderTest, AReadWrittenBeforeAWriteOfAnEarlierSiteSeesIt) {
  const LocalResult result = RunBody(R"(
    %late = read transformer.h.1.input
    write transformer.h.0.output[:] = tensor(float32, [], [0.5])
    save late = %late)");
  EXPECT_TRUE(result["late"].eq(0.5).all().item<bool>());
}

TEST(PlannerOrderTest, TwoReadsWithAWriteBetweenThemGiveTwoValues) {
  const LocalResult result = RunBody(R"(
    %before = read transformer.h.1.output
    write transformer.h.1.output = aten::mul(%before, 2.0)
    %after = read transformer.h.1.output
    save before = %before
    save after = %after)");
  const at::Tensor clean = Clean("transformer.h.1.output");
  ExpectClose(result["before"], clean);
  ExpectClose(result["after"], clean * 2);
}

TEST(PlannerOrderTest, EveryReadOfASiteSeesTheWritesBeforeItAlone) {
  const LocalResult result = RunBody(R"(
    %a = read transformer.h.1.output
    write transformer.h.1.output[:, 0] = tensor(float32, [], [1.0])
    %b = read transformer.h.1.output
    write transformer.h.1.output[:, 1] = tensor(float32, [], [2.0])
    %c = read transformer.h.1.output
    write transformer.h.1.output[:, 0] = tensor(float32, [], [3.0])
    save a = %a
    save b = %b
    save c = %c
    save next = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  ExpectClose(result["a"], expected);
  expected.select(1, 0).fill_(1);
  ExpectClose(result["b"], expected);
  expected.select(1, 1).fill_(2);
  ExpectClose(result["c"], expected);
  expected.select(1, 0).fill_(3);
  ExpectClose(result["next"], expected);
}

TEST(PlannerOrderTest, AWrittenValueIsWhatTheModelGoesOnWith) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::mul(%h, -0.5)
    save p = read result)");
  ExpectClose(result["p"], LogitsAfterBlock1(Clean("transformer.h.1.output") * -0.5));
}

TEST(PlannerOrderTest, TheResidualTakesTheWrittenInputOfABlock) {
  const LocalResult result = RunBody(R"(
    write transformer.h.2.input[:] = tensor(float32, [], [0.0])
    save attn = read transformer.h.2.attn.output
    save mlp = read transformer.h.2.mlp.output
    save out = read transformer.h.2.output)");
  ExpectClose(result["out"], result["attn/0"] + result["mlp"]);
}

// --- where a pass ends --------------------------------------------------------------------------

uint64_t CallsOf(const std::string& body) {
  LocalModel& model = LocalModel::Tiny();
  const uint64_t before = model.hosted().module_calls();
  RunBody(body);
  return model.hosted().module_calls() - before;
}

/// Modules that a pass enters until `module` has been left, the root included.
uint64_t CallsUntil(const std::string& module) {
  uint64_t calls = 0;
  const ModelSpec& spec = LocalModel::Tiny().spec();
  for (int time = 0; time <= TimeOf(module); ++time) {
    calls += spec.sites()[time].site.point == graph::Point::kInput;
  }
  return calls;
}

TEST(PlannerEndTest, LayersAfterTheLastSiteThatIsNeededDoNotRun) {
  EXPECT_EQ(CallsOf("save h = read transformer.h.0.output"), CallsUntil("transformer.h.0"));
  EXPECT_EQ(CallsOf("save h = read transformer.h.1.output"), CallsUntil("transformer.h.1"));
  EXPECT_EQ(CallsOf("save h = read transformer.h.1.mlp.output"), CallsUntil("transformer.h.1"));
  EXPECT_EQ(CallsOf("save p = read result"), CallsUntil("lm_head"));
}

TEST(PlannerEndTest, CodeThatNobodyNeedsDoesNotExtendTheEnd) {
  EXPECT_EQ(CallsOf(R"(
      %p = read lm_head.output
      %unused = aten::softmax(%p, -1)
      save h = read transformer.h.0.output)"),
            CallsUntil("transformer.h.0"));
}

TEST(PlannerEndTest, AWriteThatNobodyObservesDoesNotExtendTheEnd) {
  EXPECT_EQ(CallsOf(R"(
      save h = read transformer.h.0.output
      write transformer.h.2.output[:] = tensor(float32, [], [0.0]))"),
            CallsUntil("transformer.h.0"));
}

TEST(PlannerEndTest, ALogIsAnObservation) {
  EXPECT_EQ(CallsOf("%h = read transformer.h.1.output\n log \"h\" %h"),
            CallsUntil("transformer.h.1"));
}

TEST(PlannerEndTest, AProgramThatObservesNothingCallsTheWholeModel) {
  EXPECT_EQ(CallsOf("%h = read transformer.h.1.output"), CallsUntil("lm_head"));
}

TEST(PlannerEndTest, StopEndsTheRunOnceWhatIsWrittenBeforeItIsDone) {
  EXPECT_EQ(CallsOf("save h = read transformer.h.1.output\n stop"), CallsUntil("transformer.h.1"));
  EXPECT_EQ(CallsOf("write transformer.h.0.output[:] = tensor(float32, [], [0.0])\n stop"),
            CallsUntil("transformer.h.0"));
}

TEST(PlannerEndTest, WhatIsWrittenAfterStopIsRefused) {
  EXPECT_THAT(Refusal("save h = read transformer.h.0.output\n stop\n save p = read result"),
              IsRefused("after `stop`"));
}

TEST(PlannerEndTest, EachInvokeEndsWhereItIsNeededLast) {
  const absl::StatusOr<Plan> plan =
      LocalModel::Tiny().Plan(In("save h = read transformer.h.0.output") +
                              In("save p = read transformer.h.1.output") + In(""));
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->traces[0].stages[0].ends[0], TimeOf("transformer.h.0"));
  EXPECT_EQ(plan->traces[0].stages[0].ends[1], TimeOf("transformer.h.1"));
  EXPECT_EQ(plan->traces[0].stages[0].ends[2], kStart);
}

/// Of each invoke, whether the head computes its last tokens alone.
std::vector<bool> LastAlone(const std::string& text) {
  const absl::StatusOr<Plan> plan = LocalModel::Tiny().Plan(text);
  EXPECT_THAT(plan, IsOk()) << text;
  if (!plan.ok()) return {};
  std::vector<bool> last = plan->traces[0].stages[0].last_alone;
  last.resize(plan->invokes.size());
  return last;
}

TEST(PlannerEndTest, TheHeadComputesTheLastTokenAloneWhereNobodyLooksAtAnother) {
  using ::testing::ElementsAre;
  for (const char* body : {
           "save p = read lm_head.output[:, -1]",
           "save p = read lm_head.output[:, -1, 42]",
           "save p = read lm_head.output[:, -1:]",
           "save p = aten::select(read lm_head.output, 1, -1)",
           "save p = read result[:, -1]",
           "%o = read .output\n save p = %o[\"logits\"][:, -1]",
           "%p = read lm_head.output\n save a = %p[:, -1]\n save b = %p[:, -1, :7]",
           "save h = read transformer.h.0.output\n save p = read lm_head.input[:, -1]",
           "save p = read lm_head.output[:, -1]\n save l = call lm_head(read "
           "transformer.ln_f.output)",
       }) {
    EXPECT_THAT(LastAlone(In(body)), ElementsAre(true)) << body;
  }
  for (const char* body : {
           "save p = read lm_head.output",
           "save p = read lm_head.output[:, 3]",
           "save p = read lm_head.output[:, -2:]",
           "save p = read lm_head.output[:, -1:3]",
           "save p = read lm_head.output[-1]",
           "save p = read lm_head.output[..., -1]",
           "save p = read .output",
           "%o = read .output\n save a = %o[\"logits\"][:, -1]\n save b = %o[\"logits\"][0]",
           "%p = read lm_head.output\n save a = %p[:, -1]\n save s = aten::size(%p)",
           "save p = read lm_head.output[:, -1]\n cache [lm_head] as c",
           "write lm_head.output[:, 0] = 0.0\n save p = read lm_head.output[:, -1]",
           "save p = read lm_head.output[:, -1]\n"
           "save l = call lm_head(aten::mul(read lm_head.input, 2.0))",
           "%h = read transformer.h.0.output\n %l = aten::sum(read lm_head.output[:, -1])\n"
           "backward %l { save g = grad %h }",
           "save h = read transformer.h.0.output",
       }) {
    EXPECT_THAT(LastAlone(In(body)), ElementsAre(false)) << body;
  }
  const std::string last = In("save p = read lm_head.output[:, -1]");
  EXPECT_THAT(LastAlone(last + In("save q = read lm_head.output")), ElementsAre(true, false));
  EXPECT_THAT(LastAlone(last + "invoke {\n save q = read lm_head.output[:, -1]\n}\n"),
              ElementsAre(false, false));
}

TEST(PlannerEndTest, TheLastTokenComputedAloneIsTheSame) {
  const std::string both =
      "invoke [[64, 65, 66, 67], [68, 69]] {\n save a = read lm_head.output%s\n}\n"
      "invoke [70, 71] {\n save b = read lm_head.output\n}\n";
  LocalModel& model = LocalModel::Tiny();
  const LocalResult alone = model.Run(absl::StrReplaceAll(both, {{"%s", "[:, -1]"}}));
  const LocalResult all = model.Run(absl::StrReplaceAll(both, {{"%s", ""}}));
  ASSERT_THAT(alone.status, IsOk());
  ASSERT_THAT(all.status, IsOk());
  ExpectClose(alone["a"], all["a"].select(1, -1));
  ExpectClose(alone["b"], all["b"]);
  const std::string points =
      "sweep %l in [0, 1, 2] {\ninvoke [64, 65, 66, 67] {\n"
      "write transformer.h.$l.output[:, 1] = 0.5\n save a = read lm_head.output%s\n}\n}\n";
  const LocalResult swept = model.Run(absl::StrReplaceAll(points, {{"%s", "[:, -1]"}}));
  const LocalResult whole = model.Run(absl::StrReplaceAll(points, {{"%s", ""}}));
  ASSERT_THAT(swept.status, IsOk());
  ASSERT_THAT(whole.status, IsOk());
  for (int point = 0; point < 3; ++point) {
    const std::string name = absl::StrCat("a/", point);
    ExpectClose(swept[name], whole[name].select(1, -1));
  }
}

TEST(PlannerEndTest, ValuesAreReleasedAfterTheirLastUse) {
  const absl::StatusOr<Plan> plan = LocalModel::Tiny().Plan(In(R"(
    %h = read transformer.h.0.output
    %a = aten::mul(%h, 2.0)
    %b = aten::add(%a, %h)
    save b = %b)"));
  ASSERT_THAT(plan, IsOk());
  std::vector<int> released(plan->slots, 0);
  for (const Instruction& instruction : plan->traces[0].stages[0].instructions) {
    for (Slot slot : instruction.release) ++released[slot];
  }
  EXPECT_THAT(released, ::testing::Each(1));
}

// --- versions -----------------------------------------------------------------------------------

TEST(PlannerVersionTest, ASavedValueIsNotChangedByALaterWrite) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    save before = %h
    aten::mul_(%h, 3.0)
    save after = %h
    %h[:, 0] = tensor(float32, [], [9.0])
    save last = %h)");
  const at::Tensor clean = Clean("transformer.h.1.output");
  ExpectClose(result["before"], clean);
  ExpectClose(result["after"], clean * 3);
  at::Tensor last = clean * 3;
  last.select(1, 0).fill_(9);
  ExpectClose(result["last"], last);
}

TEST(PlannerVersionTest, InPlaceOnAReadIsAWriteAtItsSite) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    aten::mul_(%h, -0.5)
    save again = read transformer.h.1.output
    save p = read result)");
  const at::Tensor changed = Clean("transformer.h.1.output") * -0.5;
  ExpectClose(result["again"], changed);
  ExpectClose(result["p"], LogitsAfterBlock1(changed));
}

TEST(PlannerVersionTest, InPlaceThroughViewsChangesTheBaseItsViewsAndTheSite) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %last = %h[:, -1]
    %first = %h[:, 0]
    %part = %last[:, 0:4]
    aten::mul_(%part, 3.0)
    save h = %h
    save last = %last
    save first = %first
    save part = %part
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected.select(1, -1).narrow(1, 0, 4).mul_(3);
  ExpectClose(result["h"], expected);
  ExpectClose(result["last"], expected.select(1, -1));
  ExpectClose(result["first"], expected.select(1, 0));
  ExpectClose(result["part"], expected.select(1, -1).narrow(1, 0, 4));
  ExpectClose(result["seen"], expected);
}

TEST(PlannerVersionTest, InPlaceOnTheBaseChangesItsViews) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %heads = aten::view(%h, [1, 4, 4, 8])
    %t = aten::transpose(%heads, 1, 2)
    aten::add_(%h, 1.0)
    save t = %t)");
  ExpectClose(result["t"],
              (Clean("transformer.h.1.output") + 1).view({1, 4, 4, 8}).transpose(1, 2));
}

TEST(PlannerVersionTest, InPlaceThroughATransposedViewOfHeads) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %heads = aten::transpose(aten::view(%h, [1, 4, 4, 8]), 1, 2)
    aten::zero_(%heads[:, 2])
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected.view({1, 4, 4, 8}).select(2, 2).zero_();
  ExpectClose(result["seen"], expected);
}

TEST(PlannerVersionTest, TheResultOfAnInPlaceOperatorIsItsOperand) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %y = aten::mul_(%h, 2.0)
    %z = aten::add_(%y, 1.0)
    save h = %h
    save y = %y
    save z = %z)");
  const at::Tensor expected = Clean("transformer.h.1.output") * 2 + 1;
  for (const char* name : {"h", "y", "z"}) ExpectClose(result[name], expected, 1e-5, name);
}

TEST(PlannerVersionTest, AValueComputedBeforeAChangeKeepsWhatItWas) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %fresh = aten::mul(%h, 2.0)
    %copy = aten::reshape(%h, [4, 32])
    aten::zero_(%h)
    save fresh = %fresh
    save copy = %copy)");
  const at::Tensor clean = Clean("transformer.h.1.output");
  ExpectClose(result["fresh"], clean * 2);
  ExpectClose(result["copy"], clean.view({4, 32}));
}

TEST(PlannerVersionTest, InPlaceOnWhatMayOrMayNotBeAViewIsRefused) {
  for (const std::string maybe :
       {"aten::reshape(%h, [4, 32])", "aten::contiguous(%h)", "aten::to(%h, float32)",
        "aten::flatten(%h)", "aten::type_as(%h, %h)", "aten::einsum(\"bth->tbh\", [%h])",
        "aten::ravel(%h)"}) {
    EXPECT_THAT(
        Refusal(absl::StrCat("%h = read transformer.h.1.output\n %m = ", maybe,
                             "\n aten::mul_(%m, 2.0)\n save m = %m")),
        IsRefused("aten::mul_ changes %m in place", "gives a view or a copy", "aten::clone"))
        << maybe;
  }
}

TEST(PlannerVersionTest, AViewOfAMaybeViewIsRefusedToo) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      %m = aten::reshape(%h, [4, 32])
      %m[0] = tensor(float32, [], [0.0])
      save m = %m)"),
              IsRefused("aten::reshape", "which made %m"));
}

TEST(PlannerVersionTest, ReshapeOfATransposeIsRefusedAlikeAtEveryBatch) {
  // At batch 1 torch would give a view, at batch 2 a copy.
  const std::string body = R"( {
    %h = read transformer.h.1.output
    %r = aten::reshape(aten::transpose(%h, 0, 1), [-1, 32])
    aten::mul_(%r, 2.0)
    save r = %r
  })";
  const absl::Status one = LocalModel::Tiny().Check("invoke [[1, 2]]" + body).status();
  const absl::Status two = LocalModel::Tiny().Check("invoke [[1, 2], [3, 4]]" + body).status();
  EXPECT_THAT(one, IsRefused("gives a view or a copy"));
  EXPECT_EQ(one.message(), two.message());
}

TEST(PlannerVersionTest, InPlaceOnAViewWhoseElementsShareMemoryIsRefused) {
  for (const std::string overlapping :
       {"aten::expand(%h, [3, 4, 32])", "aten::unfold(%h, 1, 2, 1)",
        "aten::broadcast_to(%h, [3, 4, 32])", "aten::expand_as(%h[:, 0:1], %h)"}) {
    EXPECT_THAT(Refusal(absl::StrCat("%h = read transformer.h.1.output\n %e = ", overlapping,
                                     "\n aten::mul_(%e, 2.0)\n save e = %e")),
                IsRefused("its elements may share memory", "aten::clone"))
        << overlapping;
  }
}

TEST(PlannerVersionTest, InPlaceOnTheBaseOfAnOverlappingViewIsReplayedInIt) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %e = aten::expand(%h, [3, 4, 32])
    aten::mul_(%h, 2.0)
    save e = %e)");
  ExpectClose(result["e"], (Clean("transformer.h.1.output") * 2).expand({3, 4, 32}));
}

TEST(PlannerVersionTest, InPlaceOnAReadThatIsTooLateToBeAWriteIsRefused) {
  EXPECT_THAT(Refusal(R"(
      %early = read transformer.h.0.output
      %late = read transformer.h.1.output
      aten::add_(%early, %late))"),
              IsRefused("transformer.h.0.output is visited before transformer.h.1.output",
                        "use the operator that makes a new value"));
}

TEST(PlannerVersionTest, InPlaceOnAParameterOrConstantMakesANewVersionOnly) {
  LocalModel& model = LocalModel::Tiny();
  const std::string program = absl::StrCat("%c = tensor(float32, [2], [1.0, 2.0])\n", In(R"(
        %w = param transformer.ln_f.weight
        save before = %w
        aten::zero_(%w)
        save after = %w
        aten::mul_(%c, 10.0)
        save scaled = %c
        save p = read result)"),
                                           In("save constant = %c"));
  for (int time = 0; time < 2; ++time) {
    const LocalResult result = model.Run(program);
    ASSERT_THAT(result.status, IsOk());
    EXPECT_TRUE(at::equal(result["before"], *model.hosted().Parameter("transformer.ln_f.weight")));
    EXPECT_NE(result["before"].abs().sum().item<float>(), 0);
    EXPECT_EQ(result["after"].abs().sum().item<float>(), 0);
    ExpectClose(result["scaled"], at::tensor({10.0F, 20.0F}));
    ExpectClose(result["p"], Clean("result"));
  }
}

TEST(PlannerVersionTest, ItemsOfSplitsAreViews) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %chunks = aten::chunk(%h, 4, dim=-1)
    aten::mul_(%chunks[1], 0.0)
    %parts = aten::split(%h, 16, dim=-1)
    aten::add_(%parts[1], 5.0)
    save h = %h
    save chunks = %chunks
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected.narrow(2, 8, 8).zero_();
  expected.narrow(2, 16, 16).add_(5);
  ExpectClose(result["h"], expected);
  ExpectClose(result["seen"], expected);
  for (int i = 0; i < 4; ++i) {
    ExpectClose(result[absl::StrCat("chunks/", i)], expected.narrow(2, 8 * i, 8));
  }
}

TEST(PlannerVersionTest, AStructureHoldsWhatItsItemsMean) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %t = (%h, %h[:, 0])
    %d = {"t": %t}
    save before = %t
    aten::mul_(%h, 2.0)
    save after = %t
    save item = %t[0]
    save inside = %d
    %d["t"][0][:, 1] = tensor(float32, [], [4.0])
    save last = %d
    save h = %h)");
  const at::Tensor clean = Clean("transformer.h.1.output");
  ExpectClose(result["before/0"], clean);
  ExpectClose(result["after/0"], clean * 2);
  ExpectClose(result["after/1"], clean.select(1, 0) * 2);
  ExpectClose(result["item"], clean * 2);
  ExpectClose(result["inside/t/1"], clean.select(1, 0) * 2);
  at::Tensor last = clean * 2;
  last.select(1, 1).fill_(4);
  ExpectClose(result["last/t/0"], last);
  ExpectClose(result["h"], last);
}

TEST(PlannerVersionTest, ListsInStructuresAreStructures) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %a = %h[:, 0]
    %s = (%a, [%h, [%a]], {"k": [[[(%h,)]]]})
    aten::mul_(%h, 2.0)
    save s = %s
    save item = %s[1][1][0]
    save none = (%a, []))");
  const at::Tensor clean = Clean("transformer.h.1.output");
  ExpectClose(result["s/0"], clean.select(1, 0) * 2);
  ExpectClose(result["s/1/0"], clean * 2);
  ExpectClose(result["s/1/1/0"], clean.select(1, 0) * 2);
  ExpectClose(result["s/2/k/0/0/0/0"], clean * 2);
  ExpectClose(result["item"], clean.select(1, 0) * 2);
  ExpectClose(result["none/0"], clean.select(1, 0) * 2);
}

TEST(PlannerVersionTest, ADTypeIsNoItemOfAStructure) {
  EXPECT_THAT(Refusal("%h = read transformer.h.1.output\n save s = (%h, [float32])"),
              IsRefused("a dtype is no value"));
}

TEST(PlannerVersionTest, AViewMeansTheSameHoweverItsBaseLiesInMemory) {
  // The weight is kept transposed, so no view of it by rows can be cut out of its memory.
  const std::string path = "transformer.h.0.attn.c_attn.weight";
  const at::Tensor weight = RunBody(absl::StrCat("save w = param ", path))["w"];
  const LocalResult result = RunBody(absl::StrCat(R"(
    %w = param )",
                                                  path, R"(
    save flat = aten::view(%w, [-1])
    save like = aten::view_as(%w, aten::zeros([96, 32]))
    %c = aten::view(%w, [4, 768])
    %c[1, 0:2] = tensor(float32, [2], [1.0, 2.0])
    save changed = %w
    save view = %c)"));
  ExpectClose(result["flat"], weight.reshape({-1}));
  ExpectClose(result["like"], weight.reshape({96, 32}));
  at::Tensor changed = weight.clone(at::MemoryFormat::Contiguous);
  changed.view({4, 768})[1][0] = 1;
  changed.view({4, 768})[1][1] = 2;
  ExpectClose(result["changed"], changed);
  ExpectClose(result["view"], changed.view({4, 768}));
}

TEST(PlannerVersionTest, InPlaceThatWouldChangeTheShapeIsRefused) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      %sum = aten::sum(%h, [1], keepdim=true)
      aten::add_(%sum, %h)
      save sum = %sum)"),
              IsRefused("aten::add_ would change the shape of %sum from [1, 1, 32] to [1, 4, 32]"));
}

TEST(PlannerVersionTest, InPlaceKeepsTheDType) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    aten::mul_(%h, tensor(float64, [1], [2.0]))
    save h = %h)");
  ExpectClose(result["h"], Clean("transformer.h.1.output") * 2);
  EXPECT_THAT(Refusal("%i = read ids\n aten::mul_(%i, 0.5)\n save i = %i"),
              IsRefused("aten::mul_ gives float32, which int64 cannot hold"));
}

TEST(PlannerVersionTest, ADeepChainOfViewsIsRefused) {
  std::string body = "%v0 = read transformer.h.1.output\n";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&body, "%v", i + 1, " = %v", i, "[:, 0:4]\n");
  EXPECT_THAT(Refusal(body + "save v = %v40"), IsRefused("more than 32 deep"));
}

// --- indexing and assignment --------------------------------------------------------------------

TEST(PlannerIndexTest, IndexingIsPythons) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %i = tensor(int64, [2], [3, -4])
    save a = %h[-1]
    save b = %h[..., 5]
    save c = %h[:, 1:3, ::2]
    save d = %h[:, none, -1]
    save e = %h[:, %i]
    save f = %h[0, %i, 3:5]
    save g = %h[:, %i, %i]
    save k = %h[..., %i])");
  const at::Tensor h = Clean("transformer.h.1.output");
  const at::Tensor i = at::tensor({3, -4}, at::kLong);
  ExpectClose(result["a"], h.select(0, 0));
  ExpectClose(result["b"], h.select(-1, 5));
  ExpectClose(result["c"], h.slice(1, 1, 3).slice(2, 0, 32, 2));
  ExpectClose(result["d"], h.select(1, -1).unsqueeze(1));
  ExpectClose(result["e"], at::stack({h.select(1, 3), h.select(1, 0)}, 1));
  ExpectClose(result["f"], at::stack({h[0][3], h[0][0]}).slice(1, 3, 5));
  ExpectClose(result["g"],
              at::stack({h.select(1, 3).select(1, 3), h.select(1, 0).select(1, 28)}, 1));
  ExpectClose(result["k"], at::stack({h.select(2, 3), h.select(2, 28)}, 2));
}

TEST(PlannerIndexTest, AnAssignmentBroadcastsAndConverts) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %h[:, -1] = tensor(float64, [1], [0.25])
    %h[0, 0, 0:2] = tensor(int64, [2], [7, 8])
    save h = %h
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected.select(1, -1).fill_(0.25);
  expected[0][0][0] = 7;
  expected[0][0][1] = 8;
  ExpectClose(result["h"], expected);
  ExpectClose(result["seen"], expected);
}

TEST(PlannerIndexTest, AnAssignmentByAMask) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %mask = aten::gt(%h, 0.5)
    %h[%mask] = tensor(float32, [], [0.5])
    %rows = tensor(bool, [1, 4], [false, true, false, false])
    %h[%rows] = tensor(float32, [], [-1.0])
    save h = %h
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clamp_max(0.5);
  expected.select(1, 1).fill_(-1);
  ExpectClose(result["h"], expected);
  ExpectClose(result["seen"], expected);
}

TEST(PlannerIndexTest, AMaskBesidesIntegersAndSlices) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %columns = aten::ge(aten::arange(32), 30)
    %h[0, 1, %columns] = tensor(float32, [], [5.0])
    %both = aten::gt(%h[0, 2:], 0.5)
    %rest = %h[0, 2:]
    %rest[%both] = tensor(float32, [], [0.25])
    %tokens = tensor(bool, [4], [true, false, false, false])
    %h[:, %tokens, :2] = tensor(float32, [2], [6.0, 7.0])
    save h = %h)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected[0][1].slice(0, 30).fill_(5);
  const at::Tensor rest = expected[0].slice(0, 2);
  rest.masked_fill_(rest.gt(0.5), 0.25);
  expected[0][0].slice(0, 0, 2).copy_(at::tensor({6.0f, 7.0f}));
  ExpectClose(result["h"], expected);
}

TEST(PlannerIndexTest, TensorsOfIntegersMixWithEverythingAsInTorch) {
  using at::indexing::None;
  using at::indexing::Slice;
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %i = tensor(int64, [2, 1], [0, -1])
    %j = tensor(int64, [3], [3, -4, 5])
    save a = %h[:, %i, %j]
    %zero = aten::mul(%i, 0)
    save b = %h[%zero, :, %j]
    save c = %h[none, 0, %i, ..., 1:9:3]
    save d = %h[..., %j]
    %k = tensor(int64, [2], [0, -2])
    save e = %h[0, %k]
    save f = %h[-1, none, ::2, -3:])");
  const at::Tensor h = Clean("transformer.h.1.output");
  const at::Tensor i = at::tensor({0, -1}, at::kLong).view({2, 1});
  const at::Tensor j = at::tensor({3, -4, 5}, at::kLong);
  EXPECT_TRUE(result["a"].equal(h.index({Slice(), i, j})));
  EXPECT_TRUE(result["b"].equal(h.index({i - i, Slice(), j})));
  EXPECT_TRUE(result["c"].equal(h.index({None, 0, i, at::indexing::Ellipsis, Slice(1, 9, 3)})));
  EXPECT_TRUE(result["d"].equal(h.index({at::indexing::Ellipsis, j})));
  EXPECT_TRUE(result["e"].equal(h.index({0, at::tensor({0, -2}, at::kLong)})));
  EXPECT_TRUE(result["f"].equal(h.index({-1, None, Slice(None, None, 2), Slice(-3)})));
}

TEST(PlannerIndexTest, MasksThatCannotBeMeantAreRefused) {
  const std::string h = R"(%h = read transformer.h.1.output
      %m = aten::gt(%h[-1], 0.0)
      %i = tensor(int64, [1], [0])
      %v = aten::ones([3])
      )";
  EXPECT_THAT(Refusal(h + "%h[%i, %m] = %v"), IsRefused("a mask stands beside no other tensor"));
  EXPECT_THAT(Refusal(h + "%h[0, %m] = aten::ones([32])"),
              IsRefused("is assigned to what a mask of 2 dimensions selects"));
  EXPECT_THAT(Refusal(h + "save x = %h[::-1]"), IsRefused("step of a slice", "aten::flip"));
}

TEST(PlannerIndexTest, ShapesAreNumbersForOtherStatements) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %n = aten::size(%h, 1)
    %last = aten::narrow(%h, 1, 0, %n)
    %sizes = aten::size(%h)
    %mean = aten::div(aten::sum(%h, 1), %n)
    save last = %last
    save mean = %mean
    save flat = aten::reshape(%h, [-1])
    save zeros = aten::zeros(%sizes))");
  const at::Tensor h = Clean("transformer.h.1.output");
  EXPECT_TRUE(result["last"].equal(h));
  ExpectClose(result["mean"], h.mean(1));
  EXPECT_EQ(result["zeros"].sizes(), h.sizes());
}

TEST(PlannerIndexTest, AnAssignmentByATensorOfIntegers) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %i = tensor(int64, [2], [0, -1])
    %h[:, %i] = tensor(float32, [2, 1], [1.0, 2.0])
    %h[0, 1, %i] = tensor(float32, [], [3.0])
    write transformer.h.1.output[:, 2, %i] = tensor(float64, [2], [4.0, 5.0])
    save h = %h
    save seen = read transformer.h.2.input)");
  at::Tensor expected = Clean("transformer.h.1.output").clone();
  expected.select(1, 0).fill_(1);
  expected.select(1, -1).fill_(2);
  expected[0][1][0] = 3;
  expected[0][1][-1] = 3;
  ExpectClose(result["h"], expected);
  expected[0][2][0] = 4;
  expected[0][2][-1] = 5;
  ExpectClose(result["seen"], expected);
}

TEST(PlannerIndexTest, IndicesThatCannotBeAreRefused) {
  const std::string h = "%h = read transformer.h.1.output\n";
  EXPECT_THAT(Refusal(h + "save x = %h[0, 0, 0, 0]"), IsRefused("too many indices: 4", "3"));
  EXPECT_THAT(Refusal(h + "save x = %h[0, 4]"), IsRefused("out of range"));
  EXPECT_THAT(Refusal(h + "save x = %h[::-1]"), IsRefused("step of a slice must be positive"));
  EXPECT_THAT(Refusal(h + "save x = %h[%h]"), IsRefused("%h is neither"));
  EXPECT_THAT(Refusal(h + "save x = %h[\"logits\"]"), IsRefused("not indexed by a key"));
  EXPECT_THAT(Refusal("%o = read .output\n save x = %o[\"hidden\"]"),
              IsRefused("no key \"hidden\"", "\"logits\""));
  EXPECT_THAT(Refusal("%o = read transformer.h.0.attn.output\n save x = %o[2]"),
              IsRefused("item 2 of a structure of 2"));
}

TEST(PlannerIndexTest, AnIndexTensorOutOfRangeEndsTheRunNamingTheStatement) {
  const LocalResult result = LocalModel::Tiny().Run(In(R"(
    %h = read transformer.h.1.output
    %i = tensor(int64, [1], [4])
    save x = %h[:, %i])"));
  EXPECT_THAT(result.status, IsRefused("must lie in [-4, 4)", "%h[:, %i]"));
}

TEST(PlannerIndexTest, WhatDoesNotFitIntoASliceIsRefused) {
  EXPECT_THAT(Refusal("write transformer.h.1.output[:, -1] = tensor(float32, [3], [1, 2, 3])"),
              IsRefused("a value of shape [3] does not fit into a part of shape [1, 32]"));
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      %h[:] = read lm_head.output)"),
              IsRefused("does not fit into", "%h[:] = read lm_head.output"));
}

// --- writes -------------------------------------------------------------------------------------

TEST(PlannerWriteTest, AWriteIntoATuplesTensor) {
  const LocalResult result = RunBody(R"(
    write transformer.h.1.attn.output[0][:, -1] = tensor(float32, [], [0.0])
    save attn = read transformer.h.1.attn.output
    save sum = read transformer.h.1.ln_2.input
    save in = read transformer.h.1.input)");
  at::Tensor attn = RunBody("save x = read transformer.h.1.attn.output")["x/0"].clone();
  attn.select(1, -1).zero_();
  ExpectClose(result["attn/0"], attn);
  ExpectClose(result["sum"], attn + result["in"]);
}

TEST(PlannerWriteTest, InPlaceOnATuplesTensorIsAWrite) {
  const LocalResult result = RunBody(R"(
    %o = read transformer.h.1.attn.output
    aten::mul_(%o[0], 0.0)
    save sum = read transformer.h.1.ln_2.input
    save in = read transformer.h.1.input)");
  ExpectClose(result["sum"], result["in"]);
}

TEST(PlannerWriteTest, ALoneTensorForATupleIsItsFirst) {
  const LocalResult result = RunBody(R"(
    %in = read transformer.h.1.input
    write transformer.h.1.attn.output = aten::neg(%in)
    save attn = read transformer.h.1.attn.output
    save sum = read transformer.h.1.ln_2.input
    save in = %in)");
  ExpectClose(result["attn/0"], -result["in"]);
  EXPECT_EQ(result["sum"].abs().max().item<float>(), 0);
}

TEST(PlannerWriteTest, TheResultIsWrittenAndReadAsTheLogits) {
  const LocalResult result = RunBody(R"(
    save clean = read result
    write result[..., 3] = tensor(float32, [], [50.0])
    save top = aten::argmax(read result, -1)
    %out = read .output
    save root = %out["logits"])");
  ExpectClose(result["clean"], Clean("lm_head.output"));
  EXPECT_TRUE(result["top"].eq(3).all().item<bool>());
  EXPECT_TRUE(result["root"].select(-1, 3).eq(50).all().item<bool>());
  const LocalResult whole = RunBody(R"(
    write result = aten::neg(read lm_head.output)
    save p = read result)");
  ExpectClose(whole["p"], -Clean("lm_head.output"));
  EXPECT_THAT(Refusal("write result = tensor(float32, [], [0.0])"),
              IsRefused("a value of shape [] replaces one of shape [1, 4, 97]"));
}

TEST(PlannerWriteTest, FloatsAreConvertedToTheSitesDType) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    write transformer.h.1.output = aten::to(%h, float64)
    save p = read result)");
  ExpectClose(result["p"], Clean("result"));
}

TEST(PlannerWriteTest, AReplacementOfAnotherShapeIsRefused) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      write transformer.h.1.output = %h[:, -1])"),
              IsRefused("a value of shape [1, 32] replaces one of shape [1, 4, 32]",
                        "a replacement has the same shape"));
}

TEST(PlannerWriteTest, AReplacementOfAnotherKindOfDTypeIsRefused) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      write transformer.h.1.output = aten::to(%h, int64))"),
              IsRefused("a value of dtype int64 is written where there is float32", "aten::to"));
  EXPECT_THAT(Refusal(R"(
      %i = read transformer.wte.input
      write transformer.wte.input = aten::to(%i, float32))"),
              IsRefused("a value of dtype float32 is written where there is int64"));
}

TEST(PlannerWriteTest, AReplacementOfAnotherStructureIsRefused) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.input
      write transformer.h.1.attn.output = (%h, %h))"),
              IsRefused("a value is given where there is none"));
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.input
      write transformer.h.1.attn.output = (%h, %h, %h))"),
              IsRefused("(float32[1, 4, 32], float32[1, 4, 32], float32[1, 4, 32])",
                        "replaces (float32[1, 4, 32], none)"));
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.0.attn.output
      write transformer.h.1.mlp.output = %h)"),
              IsRefused("the value is (float32[1, 4, 32], none)"));
  EXPECT_THAT(Refusal(R"(
      %p = read lm_head.output
      write .output = {"hidden": %p})"),
              IsRefused("the value is {hidden: float32[1, 4, 97]}"));
}

TEST(PlannerWriteTest, WhatBelongsToTheInvokeCannotBeWritten) {
  for (const char* site : {"ids", "mask", "positions", "rows"}) {
    EXPECT_THAT(Refusal(absl::StrCat("%v = read ", site, "\n write ", site, " = %v")),
                IsRefused("can be read, not written"));
  }
}

// --- skip ---------------------------------------------------------------------------------------

TEST(PlannerSkipTest, ASkippedModuleDoesNotRunAndGivesTheValue) {
  LocalModel& model = LocalModel::Tiny();
  const uint64_t before = model.hosted().module_calls();
  const LocalResult result = RunBody(R"(
    %in = read transformer.h.1.input
    skip transformer.h.1 = %in
    save in = %in
    save out = read transformer.h.1.output
    save p = read result)");
  const uint64_t block = CallsUntil("transformer.h.1") - CallsUntil("transformer.h.0");
  EXPECT_EQ(model.hosted().module_calls() - before, CallsUntil("lm_head") - block);
  ExpectClose(result["out"], result["in"]);
  ExpectClose(result["p"], LogitsAfterBlock1(Clean("transformer.h.0.output")));
}

TEST(PlannerSkipTest, OtherRowsOfThePassStillRunTheModule) {
  LocalModel& model = LocalModel::Tiny();
  const std::string skipping = In(R"(
    skip transformer.h.1.mlp = aten::mul(read transformer.h.1.ln_2.output, 0.0)
    save p = read result)");
  const std::string reading =
      "invoke [1, 2, 3, 4, 5, 6] { save act = read transformer.h.1.mlp.act.output  "
      "save p = read result }";
  const LocalResult alone[] = {model.Run(skipping), model.Run(reading)};
  for (const bool first : {true, false}) {
    const auto both =
        first ? model.RunTogether({skipping, reading}) : model.RunTogether({reading, skipping});
    const LocalResult& skipped = both[first ? 0 : 1];
    const LocalResult& read = both[first ? 1 : 0];
    ASSERT_THAT(skipped.status, IsOk());
    ASSERT_THAT(read.status, IsOk());
    ExpectClose(skipped["p"], alone[0]["p"]);
    ExpectClose(read["p"], alone[1]["p"]);
    ExpectClose(read["act"], alone[1]["act"]);
  }
}

TEST(PlannerSkipTest, OneInvokeSkipsAndAnotherDoesNot) {
  const LocalResult result = LocalModel::Tiny().Run(
      In("skip transformer.h.0 = read transformer.h.0.input\n save a = read result") +
      In("save b = read result"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["b"], Clean("result"));
  ExpectClose(result["a"], RunBody(R"(
    skip transformer.h.0 = read transformer.h.0.input
    save a = read result)")["a"]);
}

TEST(PlannerSkipTest, ASkipOfAllRowsSkipsEveryInvoke) {
  LocalModel& model = LocalModel::Tiny();
  const std::string all = "invoke { skip transformer.h.1 = read transformer.h.1.input }\n";
  const LocalResult result =
      model.Run(In("save a = read result") + "invoke [5, 6] { save b = read result }\n" + all);
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["a"], LogitsAfterBlock1(Clean("transformer.h.0.output")));
  ExpectClose(result["b"], model.Run("invoke [5, 6] { skip transformer.h.1 = read "
                                     "transformer.h.1.input  save b = read result }")["b"]);
}

TEST(PlannerSkipTest, SkippingTheWholeBodyBesideARunThatEndsInsideIt) {
  LocalModel& model = LocalModel::Tiny();
  const std::string skipping = In(R"(
    %e = param transformer.wte.weight
    %ids = read ids
    skip transformer = aten::embedding(%e, %ids)
    save p = read result)");
  const std::string ending = "invoke [1, 2] { save h = read transformer.h.0.output }";
  const auto both = model.RunTogether({skipping, ending});
  ASSERT_THAT(both[0].status, IsOk());
  ASSERT_THAT(both[1].status, IsOk());
  ExpectClose(both[0]["p"], model.Run(skipping)["p"]);
  ExpectClose(both[1]["h"], model.Run(ending)["h"]);
  const at::Tensor weight = *model.hosted().Parameter("transformer.wte.weight");
  ExpectClose(both[0]["p"], at::matmul(weight.narrow(0, 64, 4), weight.t()).unsqueeze(0));
}

TEST(PlannerSkipTest, TheInsideOfASkippedModuleIsRefused) {
  EXPECT_THAT(Refusal(R"(
      save act = read transformer.h.1.mlp.act.output
      skip transformer.h.1 = read transformer.h.1.input)"),
              IsRefused("`transformer.h.1.mlp.act.output` is not visited, because it is inside a "
                        "module that is skipped by",
                        "skip transformer.h.1 ="));
}

TEST(PlannerSkipTest, SkipsThatOverlapAreRefused) {
  EXPECT_THAT(Refusal(R"(
      skip transformer.h.1 = read transformer.h.1.input
      skip transformer.h.1.mlp = read transformer.h.1.input)"),
              IsRefused("this skip overlaps with"));
  EXPECT_THAT(Refusal(R"(
      skip transformer.h.1 = read transformer.h.1.input
      skip transformer.h.1 = read transformer.h.1.input)"),
              IsRefused("this skip overlaps with"));
}

TEST(PlannerSkipTest, ALoneTensorForATuple) {
  const LocalResult result = RunBody(R"(
    %in = read transformer.h.1.attn.input
    skip transformer.h.1.attn = aten::zeros_like(%in)
    save sum = read transformer.h.1.ln_2.input
    save in = read transformer.h.1.input)");
  ExpectClose(result["sum"], result["in"]);
}

TEST(PlannerSkipTest, AValueThatDoesNotFitIsRefused) {
  EXPECT_THAT(Refusal("skip transformer.h.1 = tensor(float32, [], [0.0])"),
              IsRefused("a value of shape [] replaces one of shape [1, 4, 32]"));
  EXPECT_THAT(Refusal("skip lm_head = read lm_head.input"), IsRefused("[1, 4, 97]"));
}

// --- calls out of band, parameters, what belongs to the invoke ----------------------------------

TEST(PlannerCallTest, TheLogitLens) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.0.output
    %lens = call lm_head(call transformer.ln_f(%h))
    save lens = %lens
    save last = call lm_head(call transformer.ln_f(%h[:, -1]))
    save one = call lm_head(call transformer.ln_f(%h[0, -1]))
    save p = read result)");
  LocalModel& model = LocalModel::Tiny();
  auto weight = [&](const char* name) { return *model.hosted().Parameter(name); };
  const at::Tensor normed =
      at::layer_norm(Clean("transformer.h.0.output"), {32}, weight("transformer.ln_f.weight"),
                     weight("transformer.ln_f.bias"), 1e-5);
  const at::Tensor expected = at::matmul(normed, weight("lm_head.weight").t());
  ExpectClose(result["lens"], expected);
  ExpectClose(result["last"], expected.select(1, -1));
  ExpectClose(result["one"], expected[0][-1]);
  ExpectClose(result["p"], Clean("result"));
}

TEST(PlannerCallTest, ACallIsSeenByNobodyElse) {
  LocalModel& model = LocalModel::Tiny();
  const uint64_t passes = model.hosted().passes();
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.0.output
    %y = call transformer.h.2(aten::mul(%h, 2.0))
    save y = %y
    save real = read transformer.h.2.output)");
  EXPECT_EQ(model.hosted().passes(), passes + 1);
  ExpectClose(result["real"], Clean("transformer.h.2.output"));
  EXPECT_GT((result["y"] - result["real"]).abs().max().item<float>(), 0.01);
}

TEST(PlannerCallTest, AModuleThatLooksAtWholePromptsSeesThePadsOfItsInvoke) {
  const LocalResult result = LocalModel::Tiny().Run(R"(invoke [[1, 2, 3], [4]] {
    %in = read transformer.h.1.attn.input
    save called = call transformer.h.1.attn(%in)
    save real = read transformer.h.1.attn.output
  })");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["called/0"], result["real/0"]);
}

TEST(PlannerCallTest, EmbeddingsAreCalledOnTokensWithinRange) {
  const LocalResult result = RunBody(R"(
    save e = call transformer.wte(tensor(int64, [2, 1], [5, 6])))");
  EXPECT_EQ(result["e"].sizes(), at::IntArrayRef({2, 1, 32}));
  EXPECT_THAT(
      LocalModel::Tiny().Run(In("save e = call transformer.wte(tensor(int64, [1], [97]))")).status,
      StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("97 is out of range")));
}

TEST(PlannerCallTest, WhatAModuleCannotTakeIsRefused) {
  const std::string h = "%h = read transformer.h.0.output\n";
  EXPECT_THAT(Refusal(h + "save x = call lm_head(aten::to(%h, float64))"),
              IsRefused("`lm_head` takes float32, and is given float64"));
  EXPECT_THAT(Refusal(h + "save x = call lm_head(%h[..., 0])"),
              IsRefused("`lm_head` takes float32[B, T, 32]"));
  EXPECT_THAT(Refusal(h + "save x = call transformer.h.1.attn(%h[:, -1])"),
              IsRefused("looks at whole prompts"));
  EXPECT_THAT(Refusal(h + "save x = call transformer.h(%h)"), IsRefused("cannot be called"));
  EXPECT_THAT(Refusal(h + "save x = call lm_head(%h, %h)"), IsRefused("called with one value"));
  EXPECT_THAT(Refusal("%o = read transformer.h.1.attn.output\n save x = call lm_head(%o)"),
              IsRefused("called with a tensor"));
}

TEST(PlannerInvokeTest, WhatBelongsToTheInvoke) {
  const LocalResult result = LocalModel::Tiny().Run(
      "invoke [[7, 8, 9], [5]] { save ids = read ids  save mask = read mask\n"
      "  save positions = read positions  save rows = read rows }");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["ids"] * result["mask"],
                        at::tensor({7, 8, 9, 0, 0, 5}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(result["mask"], at::tensor({1, 1, 1, 0, 0, 1}, at::kLong).view({2, 3})));
  EXPECT_TRUE(
      at::equal(result["positions"], at::tensor({0, 1, 2, 0, 0, 0}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(result["rows"], at::tensor({0, 0}, at::kLong)));
}

TEST(PlannerNameTest, WhatDoesNotExistIsNamedWithWhatIsClose) {
  EXPECT_THAT(
      LocalModel::Tiny().Plan(In("save x = read transformer.h.1.mpl.output")),
      StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("no module `transformer.h.1.mpl`"),
                                                  HasSubstr("`transformer.h.1.mlp`"))));
  EXPECT_THAT(LocalModel::Tiny().Plan(In("save x = read h.1.output")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("`transformer.h.1`")));
  EXPECT_THAT(
      LocalModel::Tiny().Plan(In("save x = read transformer.h.1@1.output")),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("the model calls this module fewer times")));
  EXPECT_THAT(LocalModel::Tiny().Plan(In("save x = param transformer.h.9.weight")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no parameter")));
  EXPECT_THAT(LocalModel::Tiny().Plan(In("skip transformer.h.7 = read transformer.h.0.input")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no module `transformer.h.7`")));
  EXPECT_THAT(LocalModel::Tiny().Plan(In("save x = call lm_hed(read transformer.h.0.input)")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("`lm_head`")));
  EXPECT_THAT(LocalModel::Tiny().Plan(In("save x = aten::sofmax(read transformer.h.0.input, -1)")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("aten::softmax")));
}

TEST(PlannerOperatorTest, OutOfPlaceOperatorsEqualTorch) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %p = read lm_head.output
    %w = param transformer.wte.weight
    save a = aten::softmax(%p, -1)
    save b = aten::matmul(%h, aten::t(%w))
    save c = aten::topk(%p[:, -1], 3)
    save d = aten::where(aten::gt(%h, 0.0), %h, aten::mul(%h, 0.1))
    save e = aten::cat([%h, aten::neg(%h)], dim=1)
    save f = aten::sub(%h, aten::mean(%h, [-1], keepdim=true), alpha=2)
    save g = aten::maximum(%h, 0.5)
    save n = aten::linalg_vector_norm(%h, dim=[-1]))");
  const at::Tensor h = Clean("transformer.h.1.output"), p = Clean("lm_head.output");
  const at::Tensor w = *LocalModel::Tiny().hosted().Parameter("transformer.wte.weight");
  ExpectClose(result["a"], at::softmax(p, -1));
  ExpectClose(result["b"], at::matmul(h, w.t()));
  const auto [values, indices] = at::topk(p.select(1, -1), 3);
  ExpectClose(result["c/0"], values);
  ExpectClose(result["c/1"], indices);
  ExpectClose(result["d"], at::leaky_relu(h, 0.1));
  ExpectClose(result["e"], at::cat({h, -h}, 1));
  ExpectClose(result["f"], h - 2 * h.mean({-1}, true));
  ExpectClose(result["g"], h.clamp_min(0.5));
  ExpectClose(result["n"], at::linalg_vector_norm(h, 2, {{-1}}));
}

TEST(PlannerOperatorTest, AListThatIsAValueServesAsAListOfTensors) {
  const LocalResult result = RunBody(R"(
    %h = read transformer.h.1.output
    %list = [%h, aten::neg(%h)]
    %halves = aten::chunk(%h, 2, dim=-1)
    save a = aten::cat(%list, dim=1)
    save b = aten::cat(%halves, dim=-1)
    save c = aten::cat([%halves[1], %halves[0]], dim=-1))");
  const at::Tensor h = Clean("transformer.h.1.output");
  ExpectClose(result["a"], at::cat({h, -h}, 1));
  ExpectClose(result["b"], h);
  ExpectClose(result["c"], h.roll(16, -1));
}

TEST(PlannerOperatorTest, AShapeThatCannotBeNamesTheStatement) {
  EXPECT_THAT(Refusal(R"(
      %h = read transformer.h.1.output
      %p = read lm_head.output
      save x = aten::add(%h, %p))"),
              IsRefused("must match", "aten::add(%h, %p)"));
}

TEST(PlannerOperatorTest, ArgumentsThatFitNoSignatureListTheSignatures) {
  EXPECT_THAT(Refusal("%h = read transformer.h.1.output\n save x = aten::softmax(%h, \"last\")"),
              IsRefused("fits no signature", "softmax.int", "`dim` must be an integer"));
}

// --- what a plan comes to -----------------------------------------------------------------------

TEST(CheckPlanTest, TellsShapesBytesAndCost) {
  const absl::StatusOr<PlanCheck> check = LocalModel::Tiny().Check(In(R"(
    %h = read transformer.h.1.output
    save h = %h
    save attn = read transformer.h.1.attn.output
    save top = aten::argmax(read result, -1))"));
  ASSERT_THAT(check, IsOk());
  EXPECT_EQ(graph::ToString(check->saves[0]), "float32[1, 4, 32]");
  EXPECT_EQ(graph::ToString(check->saves[1]), "(float32[1, 4, 32], none)");
  EXPECT_EQ(graph::ToString(check->saves[2]), "int64[1, 4]");
  EXPECT_EQ(check->result_bytes, 2 * 4 * 32 * 4 + 4 * 8U);
  EXPECT_GE(check->peak_bytes, check->result_bytes);
  EXPECT_GT(check->operations, 4 * 97 - 1);
}

TEST(CheckPlanTest, LimitsNameWhatIsTooMuchAndWhere) {
  LocalModel& model = LocalModel::Tiny();
  EXPECT_THAT(model.Check(In("save x = aten::expand(read transformer.h.1.output, [1000, 4, 32])"),
                          {.value_elements = 100000}),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("a value of 128000 elements; at most 100000"),
                             HasSubstr("aten::expand"))));
  EXPECT_THAT(
      model.Check(In("save x = read transformer.h.1.output"), {.result_bytes = 511}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("the results take 512 bytes; at most 511"), HasSubstr("save x"))));
  EXPECT_THAT(
      model.Check(In("save x = aten::sum(aten::zeros([1000, 1000]))"), {.peak_bytes = 1000000}),
      StatusIs(absl::StatusCode::kResourceExhausted,
               AllOf(HasSubstr("at once; at most 1000000"), HasSubstr("aten::zeros"))));
}

TEST(CheckPlanTest, AViewKeepsAllOfWhatItIsAViewOf) {
  LocalModel& model = LocalModel::Tiny();
  const uint64_t million = 4 * 1000 * 1000;  // bytes
  const auto views = model.Check(In(R"(
    %a = aten::zeros([1000, 1000])
    %x = aten::reshape(%a[0], [10, 100])
    %b = aten::zeros([1000, 1000])
    %y = %b[0:10, 0:100]
    save sum = aten::add(%x, %y))"));
  ASSERT_THAT(views, IsOk());
  EXPECT_GT(views->peak_bytes, 2 * million);
  const auto sums = model.Check(In(R"(
    %a = aten::zeros([1000, 1000])
    %x = aten::sum(%a)
    %b = aten::zeros([1000, 1000])
    %y = aten::sum(%b)
    save sum = aten::add(%x, %y))"));
  ASSERT_THAT(sums, IsOk());
  EXPECT_GE(sums->peak_bytes, million);
  EXPECT_LT(sums->peak_bytes, 2 * million + 10000);
}

TEST(CheckPlanTest, AWriteIntoAllRowsGathersThem) {
  const auto check = LocalModel::Tiny().Check(R"(
    invoke [[1, 2, 3, 4], [5, 6, 7, 8]] { save p = read lm_head.output[0, 0, 0] }
    invoke { write transformer.h.0.output[:, 0] = tensor(float32, [], [1.0]) })");
  ASSERT_THAT(check, IsOk());
  EXPECT_GE(check->peak_bytes, 2 * 4 * 32 * sizeof(float));
}

TEST(CheckPlanTest, TheKeysAndValuesOfAGenerationCountWhereNobodyLooks) {
  const std::string text = "generate max_new_tokens=5\ninvoke [1, 2, 3] { }";
  const auto check = LocalModel::Tiny().Check(text);
  ASSERT_THAT(check, IsOk());
  EXPECT_EQ(check->peak_bytes, (3 + 5) * LocalModel::Tiny().spec().cache_bytes());
  EXPECT_THAT(LocalModel::Tiny().Check(text, {.peak_bytes = 100}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 100 are allowed")));
}

TEST(CheckPlanTest, AHugeExpandIsRefused) {
  for (const char* shape : {"[1099511627776, 4, 32]", "[281474976710656, 4, 32]"}) {
    EXPECT_THAT(
        LocalModel::Tiny().Check(
            In(absl::StrCat("save x = aten::expand(read transformer.h.1.output, ", shape, ")")),
            {.value_elements = 1 << 30}),
        StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("aten::expand")));
  }
}

TEST(CheckPlanTest, AStructureThatDoublesIsRefused) {
  std::string body = "%s0 = read transformer.h.1.output\n";
  for (int i = 0; i < 64; ++i) {
    absl::StrAppend(&body, "%s", i + 1, " = (%s", i, ", %s", i, ")\n");
  }
  EXPECT_THAT(Refusal(body + "save s = %s64"), IsRefused("structure"));
}

TEST(CheckPlanTest, AStructureInAStructureManyTimesIsRefused) {
  std::string body = "%s0 = read transformer.h.1.output\n";
  for (int i = 0; i < 10000; ++i) absl::StrAppend(&body, "%s", i + 1, " = (%s", i, ",)\n");
  EXPECT_THAT(Refusal(body + "save s = %s10000"), IsRefused("structure"));
}

TEST(CheckPlanTest, InPlaceIsRefusedAtCountsWhereItWouldChangeTheShape) {
  // Planned at one token, where it fits; checked at three, where it does not.
  const auto program = testing::ParseAndCheck(R"(invoke [5] {
    %x = aten::ones([1, 1, 32])
    aten::add_(%x, read transformer.h.0.output)
    save x = %x
  })");
  ASSERT_THAT(program, IsOk());
  const ModelSpec& spec = LocalModel::Tiny().spec();
  const RowCount one[] = {{1, 1}}, three[] = {{1, 3}};
  const absl::StatusOr<Plan> plan = MakePlan(*program, spec, one);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(CheckPlan(*plan, *program, spec, one, {}), IsOk());
  EXPECT_THAT(CheckPlan(*plan, *program, spec, three, {}), IsRefused("aten::add_", "shape"));
}

TEST(CheckPlanTest, AMaskIsRefusedAtCountsWhereItDoesNotFit) {
  // Planned at one token, where the mask is as long as the prompt; at three it would broadcast.
  const auto program = testing::ParseAndCheck(R"(invoke [5] {
    %h = read transformer.h.0.output
    %m = tensor(bool, [1, 1], [true])
    %h[%m] = tensor(float32, [], [0.0])
    save h = %h
  })");
  ASSERT_THAT(program, IsOk());
  const ModelSpec& spec = LocalModel::Tiny().spec();
  const RowCount one[] = {{1, 1}}, three[] = {{1, 3}};
  const absl::StatusOr<Plan> plan = MakePlan(*program, spec, one);
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(CheckPlan(*plan, *program, spec, one, {}), IsOk());
  const absl::Status at_three = CheckPlan(*plan, *program, spec, three, {}).status();
  EXPECT_THAT(at_three,
              IsRefused("the mask's shape [1, 1] does not begin the tensor's [1, 3, 32]", "%h["));
  EXPECT_EQ(at_three.message(), MakePlan(*program, spec, three).status().message());
}

TEST(CheckPlanTest, TheWorkOfACalledModuleIsCounted) {
  const auto operations = [](const std::string& body) {
    return LocalModel::Tiny().Check(In(body))->operations;
  };
  // 4 rows through a matrix of 32 by 97.
  const double head = operations("save x = call lm_head(read transformer.h.1.output)");
  EXPECT_GE(head, 2 * 4 * 32 * 97);
  EXPECT_LT(head, 3 * 4 * 32 * 97);
  // A block has 12 weights of 32 by 32, and its rows meet.
  const double block = operations("save x = call transformer.h.2(read transformer.h.1.output)");
  EXPECT_GE(block, 2 * 4 * 12 * 32 * 32 + 4 * 4 * 4 * 32);
  EXPECT_LT(block, 3 * 4 * 12 * 32 * 32);
  // An embedding looks rows up.
  EXPECT_LT(operations("save x = call transformer.wte(read ids)"), 1000);
  EXPECT_GT(LocalModel::Tiny()
                .Check(In("save x = aten::sum(call transformer.h.2(read transformer.h.1.output))"))
                ->peak_bytes,
            2 * 4 * 128 * sizeof(float));
}

}  // namespace
}  // namespace weft::plan
