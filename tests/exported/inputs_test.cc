// What exported programs are called with, and whose rows share a pass.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/exported/exported_program.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// --- several inputs, regions --------------------------------------------------------------------

TEST(ExportedInputsTest, TensorsAreGivenByPositionOrByName) {
  Exported& model = Exported::Of("several");
  const at::Tensor expected = model.Run("save r = read result")["r"];
  ExpectClose(expected, model.golden.at("@0.output/y"));
  for (const char* inputs : {"%x, %pair_0, %pair_1, %extras_bias, %scale",
                             "%x, %pair_0, %pair_1, scale=%scale, "
                             "extras_bias=%extras_bias",
                             "scale=%scale, extras_bias=%extras_bias, pair_1=%pair_1, "
                             "pair_0=%pair_0, x=%x"}) {
    const ArchiveEngine::Result result =
        model.engine.Run(absl::StrCat(model.constants, "invoke (", inputs,
                                      ") { save r = read result\nsave all = read .output }"));
    ASSERT_THAT(result.status, IsOk()) << inputs;
    ExpectClose(result["r"], expected, 1e-6, inputs);
    ExpectClose(result["all/sum"], model.golden.at("@0.output/sum"));
  }
}

TEST(ExportedInputsTest, SaysWhichTensorIsMissingOrWrong) {
  Exported& model = Exported::Of("several");
  const auto run = [&](const std::string& inputs) {
    return model.engine
        .Run(absl::StrCat(model.constants, ConstantText("other", at::zeros({2, 4})), "invoke (",
                          inputs, ") { save r = read result }"))
        .status;
  };
  const auto refused = [](const auto&... parts) {
    return StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(parts)...));
  };
  EXPECT_THAT(run("%x, %pair_0"),
              refused("takes 5 tensors (`x`, `pair_0`, `pair_1`", "is not given `pair_1`"));
  EXPECT_THAT(run("%x, nobody=%x"), refused("`nobody` is none"));
  EXPECT_THAT(run("%x, x=%x"), refused("`x` is given twice"));
  EXPECT_THAT(run("%x, %x, %x, %x, %x, %x"), refused("5 tensors", "is given 6"));
  EXPECT_THAT(run("%x, %other, %pair_1, %extras_bias, %scale"),
              refused("`pair_0` is float32[3, 4] beside 3 rows of `x`", "float32[2, 4]"));
  EXPECT_THAT(run("%pair_1, %pair_0, %pair_1, %extras_bias, %scale"),
              refused("`x` is float32[B, 4]", "float32[3, 5]"));
  EXPECT_THAT(Exported::Of("mlp").Run("save r = read result").status, IsOk());
  EXPECT_THAT(
      Exported::Of("mlp")
          .engine.Run(absl::StrCat(model.constants, "invoke (%x, %x) { save r = read result }"))
          .status,
      refused("takes one tensor, and is given 2"));
}

TEST(ExportedInputsTest, InvokesOfSeveralTensorsShareAPass) {
  Exported& model = Exported::Of("several");
  std::string constants;
  const auto part = [&](const std::string& suffix, int64_t first, int64_t rows) {
    std::string inputs;
    for (const char* name : {"x", "pair_0", "pair_1", "extras_bias", "scale"}) {
      const std::string key = std::string(name) == "x" ? name : absl::StrCat("in/", name);
      const std::string constant = absl::StrCat(name, suffix);
      absl::StrAppend(&constants,
                      ConstantText(constant, model.golden.at(key).narrow(0, first, rows)));
      absl::StrAppend(&inputs, inputs.empty() ? "%" : ", %", constant);
    }
    return inputs;
  };
  const std::string one = part("_one", 0, 1), two = part("_two", 1, 2);
  const uint64_t before = model.engine.engine().CountPasses("exported").value();
  const ArchiveEngine::Result result = model.engine.Run(
      absl::StrCat(constants, "invoke (", one, ") { save one = read result }\ninvoke (", two,
                   ") { save two = read result }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(model.engine.engine().CountPasses("exported").value() - before, 1);
  const at::Tensor whole = model.golden.at("@0.output/y");
  ExpectClose(result["one"], whole.narrow(0, 0, 1));
  ExpectClose(result["two"], whole.narrow(0, 1, 2));
}

TEST(ExportedInputsTest, ControlFlowIsRefusedWithTheWayOut) {
  EngineOptions options;
  options.threads = 1;
  const std::unique_ptr<Engine> engine = Engine::Create(options).value();
  EXPECT_THAT(
      engine->LoadModel("choice", ArchivePath("choice")),
      StatusIs(absl::StatusCode::kUnimplemented,
               AllOf(HasSubstr("node `cond` ("), HasSubstr("torch.where(condition, a, b)"))));
}

// --- rows ---------------------------------------------------------------------------------------

TEST(ExportedRowsTest, InvokesOfAPackableProgramShareAPassAndEqualSolo) {
  for (const char* name : {"mlp", "vision", "decomposed", "twice", "transformer", "assign"}) {
    Exported& model = Exported::Of(name);
    const at::Tensor a = model.x.narrow(0, 0, 1), b = model.x.narrow(0, 1, 2);
    const uint64_t before = model.engine.engine().CountPasses("exported").value();
    const ArchiveEngine::Result result =
        model.engine.Run(absl::StrCat(ConstantText("a", a), ConstantText("b", b),
                                      "invoke (%a) { save one = read result }\n"
                                      "invoke (%b) { save two = read result }\n"
                                      "invoke { save all = read result }"));
    ASSERT_THAT(result.status, IsOk()) << name;
    EXPECT_EQ(model.engine.engine().CountPasses("exported").value() - before, 1) << name;
    const at::Tensor whole = model.Run("save r = read result")["r"];
    ExpectClose(result["one"], whole.narrow(0, 0, 1), 1e-5, name);
    ExpectClose(result["two"], whole.narrow(0, 1, 2), 1e-5, name);
    ExpectClose(result["all"], whole, 1e-5, name);
  }
}

TEST(ExportedRowsTest, AWriteOfOneInvokeIsNotSeenByItsNeighbour) {
  Exported& model = Exported::Of("twice");
  const at::Tensor a = model.x.narrow(0, 0, 1), b = model.x.narrow(0, 1, 2);
  const ArchiveEngine::Result result = model.engine.Run(absl::StrCat(
      ConstantText("a", a), ConstantText("b", b),
      "invoke (%a) { %t = read enc.op(tanh_0).output\n write enc.op(tanh_0).output = "
      "aten::mul(%t, 0.0)\n save one = read result }\n"
      "invoke (%b) { save tanh = read enc.op(tanh_0).output\n save two = read result }"));
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor whole = model.golden.at("@0.output/sum");
  ExpectClose(result["two"], whole.narrow(0, 1, 2));
  EXPECT_FALSE(at::allclose(result["one"], whole.narrow(0, 0, 1)));
  EXPECT_EQ(result["tanh"].size(0), 2);
}

TEST(ExportedRowsTest, WhereRowsMeetATraceHasOneInvoke) {
  for (const char* name : {"mixes", "attend", "fixed"}) {
    Exported& model = Exported::Of(name);
    const ArchiveEngine::Result result = model.engine.Run(absl::StrCat(
        ConstantText("a", model.x),
        "invoke (%a) { save one = read result }\n invoke (%a) { save two = read result }"));
    EXPECT_THAT(result.status,
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("cannot be told apart"), HasSubstr("trace of its own"))))
        << name;
  }
}

TEST(ExportedRowsTest, ASweepOverAnUnpackableProgramHasAPassForEachPoint) {
  Exported& model = Exported::Of("mixes");
  const ArchiveEngine::Result result = model.engine.Run(
      absl::StrCat(ConstantText("x", model.x),
                   "sweep %s in [1.0, 0.5] { invoke (%x) { %h = read fc.input\n write fc.input = "
                   "aten::mul(%h, %s)\n save r = read result } }"));
  EXPECT_THAT(result.status, IsOk());
}

TEST(ExportedRowsTest, AnyBatchThatTheExportAllowsAndNoOther) {
  Exported& fixed = Exported::Of("fixed");
  EXPECT_THAT(fixed.engine
                  .Run(absl::StrCat(ConstantText("x", at::zeros({2, 4})),
                                    "invoke (%x) { save r = read result }"))
                  .status,
              StatusIs(absl::StatusCode::kOutOfRange,
                       AllOf(HasSubstr("made for 3 rows"), HasSubstr("torch.export.Dim"))));
  for (const int64_t batch : {1, 2, 11}) {
    const ArchiveEngine::Result result = Exported::Of("mlp").engine.Run(absl::StrCat(
        ConstantText("x", at::zeros({batch, 4})), "invoke (%x) { save r = read result }"));
    ASSERT_THAT(result.status, IsOk());
    EXPECT_EQ(result["r"].size(0), batch);
  }
  EXPECT_THAT(Exported::Of("attend")
                  .engine
                  .Run(absl::StrCat(ConstantText("x", at::zeros({1, 33, 4})),
                                    "invoke (%x) { save r = read result }"))
                  .status,
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("1 to 32 tokens")));
}

TEST(ExportedRowsTest, AnIndexOutOfATableFailsTheRunAlone) {
  Exported& model = Exported::Of("transformer");
  EXPECT_THAT(model.engine
                  .Run(absl::StrCat(ConstantText("x", at::full({1, 6}, 99, at::kLong)),
                                    "invoke (%x) { save r = read result }"))
                  .status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("99"), HasSubstr("node `embedding`"))));
  EXPECT_THAT(model.Run("save r = read result").status, IsOk());
}

}  // namespace
}  // namespace weft::testing
