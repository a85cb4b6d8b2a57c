// Operators inside modules and points inside attention: which there are, what they show, what comes
// of writing them, and that nobody else sees any of it.

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/models/blocks.h"
#include "engine/models/hosted_model.h"
#include "engine/run/op_tap.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::ExpectClose;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

constexpr char kParis[] = "[47, 64, 81, 72, 82, 94, 72, 82]";
constexpr char kAbc[] = "[64, 65, 66]";
constexpr char kX42[] = "[87, 28, 19, 17, 26]";

LocalModel& Tiny() { return LocalModel::Tiny(); }

LocalResult RunInvoke(const std::string& body, const std::string& input = kParis) {
  return Tiny().Run(absl::StrCat("invoke ", input, " {\n", body, "\n}"));
}

std::vector<std::string> OperationsOf(const plan::ModelSpec& spec, const std::string& module) {
  std::vector<std::string> names;
  for (const plan::OperationSpec& operation : spec.operations()) {
    if (spec.modules()[operation.module].path == module) names.push_back(operation.name);
  }
  return names;
}

std::string TypeOf(const plan::ModelSpec& spec, const std::string& module, graph::Point point,
                   const std::string& op) {
  const int site = spec.FindSite(spec.FindModule(module), point, 0, op);
  return site < 0 ? "" : graph::ToString(spec.sites()[site].pattern);
}

// --- what there is ------------------------------------------------------------------------------

TEST(OperationsTest, AreListedInTheOrderOfExecutionByTheModuleThatCallsThem) {
  const plan::ModelSpec& spec = Tiny().spec();
  EXPECT_THAT(OperationsOf(spec, "transformer.h.1.attn"),
              ElementsAre("narrow_0", "narrow_1", "narrow_2", "unflatten_0", "transpose_0",
                          "unflatten_1", "transpose_1", "unflatten_2", "transpose_2",
                          "scaled_dot_product_attention_0", "transpose_3", "reshape_0"));
  EXPECT_THAT(OperationsOf(spec, "transformer.h.1"), ElementsAre("add_0", "add_1"));
  EXPECT_THAT(OperationsOf(spec, "transformer.h.1.ln_1"), ElementsAre("layer_norm_0"));
  EXPECT_THAT(OperationsOf(spec, "transformer.h.1.mlp"), IsEmpty());
  EXPECT_THAT(OperationsOf(spec, "transformer.h.1.mlp.act"), ElementsAre("gelu_0"));
  EXPECT_THAT(OperationsOf(spec, "transformer"), ElementsAre("add_0"));
}

TEST(OperationsTest, ShapesAreThoseOfOneInvoke) {
  const plan::ModelSpec& spec = Tiny().spec();
  using graph::Point;
  EXPECT_EQ(TypeOf(spec, "transformer.h.0.attn.c_attn", Point::kOutput, "linear_0"),
            "float32[B, T, 96]");
  EXPECT_EQ(TypeOf(spec, "transformer.h.0.attn.c_attn", Point::kInputs, "linear_0"),
            "((float32[B, T, 32], none, none), {})");
  EXPECT_EQ(TypeOf(spec, "transformer.h.0", Point::kInputs, "add_0"),
            "((float32[B, T, 32], float32[B, T, 32]), {})");
  EXPECT_EQ(TypeOf(spec, "transformer.h.0.attn", Point::kOutput, "scaled_dot_product_attention_0"),
            "float32[B, 4, T, 8]");
  EXPECT_EQ(TypeOf(spec, "transformer.h.0.attn", Point::kProbs, ""), "float32[B, 4, T, T + P]");
  EXPECT_EQ(TypeOf(spec, "transformer.h.0.attn", Point::kK, ""), "float32[B, 4, T, 8]");
}

// --- reading and writing ------------------------------------------------------------------------

TEST(OperationsTest, ShowWhatTheModulesAroundThemShow) {
  const LocalResult result = RunInvoke(R"(
    save linear = read transformer.h.1.attn.c_attn.op(linear_0).output
    save c_attn = read transformer.h.1.attn.c_attn.output
    save gelu = read transformer.h.1.mlp.act.op(gelu_0).input
    save c_fc = read transformer.h.1.mlp.c_fc.output
    %add = read transformer.h.1.op(add_0).inputs
    save a = %add[0][0]
    save b = %add[0][1]
    %attn = read transformer.h.1.attn.output
    save attn = %attn[0]
    save input = read transformer.h.1.input
    save added = read transformer.h.1.op(add_0).output
    save q = read transformer.h.1.attn.q
    save transposed = read transformer.h.1.attn.op(transpose_0).output
    save narrow = read transformer.h.1.attn.op(narrow_0).output)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["linear"], result["c_attn"]));
  EXPECT_TRUE(at::equal(result["gelu"], result["c_fc"]));
  EXPECT_TRUE(at::equal(result["a"], result["attn"]));
  EXPECT_TRUE(at::equal(result["b"], result["input"]));
  EXPECT_TRUE(at::equal(result["added"], result["attn"] + result["input"]));
  EXPECT_TRUE(at::equal(result["q"], result["transposed"]));
  EXPECT_TRUE(at::equal(result["narrow"], result["c_attn"].narrow(2, 0, 32)));
}

TEST(OperationsTest, WeightsAreNotAmongTheirInputs) {
  const LocalResult result = RunInvoke("save x = read lm_head.op(linear_0).inputs");
  ASSERT_THAT(result.status, IsOk());
  ASSERT_EQ(result.saved.size(), 1u);
  EXPECT_EQ(result["x/0/0"].sizes(), at::IntArrayRef({1, 8, 32}));
}

TEST(OperationsTest, WritingAnOutputIsWritingTheModules) {
  const std::string change = "[:, -1] = tensor(float32, [], [0.5])\n save p = read result";
  const LocalResult inside =
      RunInvoke(absl::StrCat("write transformer.h.1.mlp.c_fc.op(linear_0).output", change));
  const LocalResult outside =
      RunInvoke(absl::StrCat("write transformer.h.1.mlp.c_fc.output", change));
  ASSERT_THAT(inside.status, IsOk());
  EXPECT_TRUE(at::equal(inside["p"], outside["p"]));
  EXPECT_FALSE(at::equal(inside["p"], RunInvoke("save p = read result")["p"]));
}

TEST(OperationsTest, WritingAnInputIsSeenByTheOperationAlone) {
  const LocalResult result = RunInvoke(R"(
    %x = read transformer.h.1.op(add_0).input
    write transformer.h.1.op(add_0).input = aten::mul(%x, 2.0)
    save x = %x
    save seen = read transformer.h.1.op(add_0).input
    save sum = read transformer.h.1.op(add_0).output
    save other = read transformer.h.1.input)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["seen"], result["x"] * 2));
  EXPECT_TRUE(at::equal(result["sum"], result["x"] * 2 + result["other"]));
}

TEST(OperationsTest, InputsAreReplacedAsAWhole) {
  const LocalResult result = RunInvoke(R"(
    %in = read transformer.h.1.op(add_0).inputs
    %args = (%in[0][1], %in[0][0])
    write transformer.h.1.op(add_0).inputs = (%args, %in[1])
    save a = %in[0][0]
    %after = read transformer.h.1.op(add_0).inputs
    save b = %after[0][1])");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["a"], result["b"]));
}

TEST(OperationsTest, AWriteInPlaceOfAnInputIsOne) {
  const LocalResult result = RunInvoke(R"(
    %x = read transformer.h.1.mlp.act.op(gelu_0).input
    aten::zero_(%x)
    save y = read transformer.h.1.mlp.act.output)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_EQ(result["y"].abs().max().item<float>(), 0);
}

TEST(ModuleInputsTest, AreAStructureAroundTheInput) {
  const LocalResult result = RunInvoke(R"(
    %in = read transformer.h.1.inputs
    save in = %in
    save input = read transformer.h.1.input
    write transformer.h.1.inputs[0][0][:, -1] = tensor(float32, [], [0.5])
    %zero = aten::zeros_like(%in[0][0])
    %two = aten::add(%zero, 2.0)
    %args = (%two,)
    %named = {}
    write transformer.h.2.inputs = (%args, %named)
    save one = read transformer.h.1.input
    save two = read transformer.h.2.ln_1.input)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["in/0/0"], result["input"]));
  EXPECT_TRUE(result["one"].select(1, -1).eq(0.5).all().item<bool>());
  EXPECT_TRUE(result["two"].eq(2).all().item<bool>());
}

TEST(ModuleInputsTest, ChangingAnItemInPlaceWritesTheInput) {
  const LocalResult result = RunInvoke(R"(
    %in = read transformer.h.1.inputs
    %x = %in[0][0]
    %x[:, 0] = tensor(float32, [], [3.0])
    save seen = read transformer.h.1.ln_1.input)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result["seen"].select(1, 0).eq(3).all().item<bool>());
}

TEST(AttentionPointsTest, ProbabilitiesTimesValuesAreTheHeadsResults) {
  const LocalResult result = RunInvoke(R"(
    save probs = read transformer.h.1.attn.probs
    save v = read transformer.h.1.attn.v
    save z = read transformer.h.1.attn.z
    save joined = read transformer.h.1.attn.c_proj.input
    save sum = aten::sum(read transformer.h.1.attn.probs, [-1]))");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["z"], at::matmul(result["probs"], result["v"]));
  EXPECT_TRUE(at::equal(result["joined"], result["z"].transpose(1, 2).flatten(2)));
  ExpectClose(result["sum"], at::ones_like(result["sum"]));
}

TEST(AttentionPointsTest, OfAllRowsArePaddedWithZeros) {
  const LocalResult result = Tiny().Run(
      absl::StrCat("invoke ", kParis, " { save a = read transformer.h.1.attn.probs }\ninvoke ",
                   kAbc, " { save b = read transformer.h.1.attn.probs  save p = read result }\n",
                   "invoke { %all = read transformer.h.1.attn.probs  save all = %all  "
                   "write transformer.h.1.attn.z[:, 1] = tensor(float32, [], [0]) }"));
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor all = result["all"];
  ASSERT_EQ(all.sizes(), at::IntArrayRef({2, 4, 8, 8}));
  EXPECT_TRUE(at::equal(all.narrow(0, 0, 1), result["a"]));
  EXPECT_TRUE(at::equal(all.narrow(0, 1, 1).narrow(2, 5, 3).narrow(3, 5, 3), result["b"]));
  EXPECT_EQ(all.narrow(0, 1, 1).narrow(2, 0, 5).abs().max().item<float>(), 0);
  const LocalResult alone = RunInvoke(
      "write transformer.h.1.attn.z[:, 1] = tensor(float32, [], [0])  save p = read result", kAbc);
  ExpectClose(result["p"], alone["p"]);
}

TEST(AttentionPointsTest, AreWrittenWithThoseOfAnotherInvoke) {
  const char* const kOther = "[10, 20, 30]";
  const LocalResult result = Tiny().Run(absl::StrCat(
      "invoke ", kAbc,
      " { %probs = read transformer.h.1.attn.probs  save probs = %probs }\ninvoke ", kOther,
      " { write transformer.h.1.attn.probs = %probs  save z = read transformer.h.1.attn.z  "
      "save v = read transformer.h.1.attn.v }"));
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["z"], at::matmul(result["probs"], result["v"]));
}

/// How many tokens a step looks back at is known: what fits there is taken, and nothing else.
TEST(AttentionPointsTest, OfOneStepAreWrittenAsWideAsTheyAreThere) {
  const auto run = [](const std::string& steps, const std::string& shape) {
    return Tiny().Run(absl::StrCat(
        "generate max_new_tokens=5 eos_token_ids=[96]\ninvoke ", kAbc, " {\n steps [", steps,
        "] { write transformer.h.1.attn.probs = aten::full(", shape,
        ", 0.25)  save probs = read transformer.h.1.attn.probs  save z = read "
        "transformer.h.1.attn.z }\n steps [:] { save v = read transformer.h.1.attn.v } }"));
  };
  for (const char* steps : {"1", "1:2"}) {
    const LocalResult result = run(steps, "[1, 4, 1, 4]");
    ASSERT_THAT(result.status, IsOk());
    EXPECT_EQ(result["probs/1"].sizes(), at::IntArrayRef({1, 4, 1, 4}));
    const at::Tensor v = at::cat({result["v/0"], result["v/1"]}, 2);
    ExpectClose(result["z/1"], v.mean(2, /*keepdim=*/true));
  }
  ASSERT_THAT(run("3", "[1, 4, 1, 6]").status, IsOk());
  EXPECT_THAT(run("3", "[1, 4, 1, 4]").status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("program:3")));
  EXPECT_THAT(run("1:3", "[1, 4, 1, 4]").status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("program:3")));
}

TEST(AttentionPointsTest, OfAGenerationHaveThePastBehindThem) {
  const LocalResult result = Tiny().Run(absl::StrCat(
      "generate max_new_tokens=3 eos_token_ids=[96]\ninvoke ", kAbc,
      " {\n steps [:] { save probs = read transformer.h.1.attn.probs  save k = read "
      "transformer.h.1.attn.k  save op = read transformer.h.1.attn.op(transpose_1).output }\n",
      " save ids = read result }"));
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor ids = result["ids"];
  ASSERT_EQ(ids.sizes(), at::IntArrayRef({1, 6}));
  std::string prompt;
  for (int i = 0; i < 5; ++i) {
    absl::StrAppend(&prompt, prompt.empty() ? "[" : ", ", ids[0][i].item<int64_t>());
  }
  const LocalResult whole = RunInvoke("save probs = read transformer.h.1.attn.probs", prompt + "]");
  ASSERT_THAT(whole.status, IsOk());
  for (int step = 1; step < 3; ++step) {
    const at::Tensor row = result[absl::StrCat("probs/", step)];
    ASSERT_EQ(row.sizes(), at::IntArrayRef({1, 4, 1, 3 + step}));
    ExpectClose(row, whole["probs"].narrow(2, 2 + step, 1).narrow(3, 0, 3 + step), 2e-5);
    EXPECT_TRUE(at::equal(result[absl::StrCat("k/", step)], result[absl::StrCat("op/", step)]));
    EXPECT_EQ(result[absl::StrCat("k/", step)].size(2), 1);
  }
}

// --- others in the pass -------------------------------------------------------------------------

TEST(InsideTest, ANeighbourIsAsIfNobodyListened) {
  const std::string neighbour = absl::StrCat("invoke ", kX42, " { save p = read result }");
  const std::string plain = absl::StrCat("invoke ", kParis, " { save p = read result }");
  const std::string inside = absl::StrCat("invoke ", kParis, R"( {
    write transformer.h.1.attn.probs[:, 3] = tensor(float32, [], [0])
    write transformer.h.0.op(add_1).output[:, -1] = tensor(float32, [], [100])
    write transformer.h.2.attn.op(narrow_2).output[:, 0] = tensor(float32, [], [-100])
    save z = read transformer.h.1.attn.op(scaled_dot_product_attention_0).output
    save p = read result })");
  const LocalResult alone = Tiny().Run(inside);
  const auto before = Tiny().RunTogether({plain, neighbour});
  for (const bool first : {true, false}) {
    const auto shared =
        first ? Tiny().RunTogether({inside, neighbour}) : Tiny().RunTogether({neighbour, inside});
    const LocalResult& own = shared[first ? 0 : 1];
    ASSERT_THAT(own.status, IsOk());
    ExpectClose(own["p"], alone["p"]);
    ExpectClose(own["z"], alone["z"]);
    ExpectClose(shared[first ? 1 : 0]["p"], Tiny().Run(neighbour)["p"]);
    if (first) {
      EXPECT_TRUE(at::equal(shared[1]["p"], before[1]["p"])) << "not to the bit";
    }
  }
}

TEST(InsideTest, OnlyTheInvokeThatAsksIsComputedStepByStep) {
  const std::string second = absl::StrCat("invoke ", kAbc, " { save p = read result }");
  const LocalResult asks = Tiny().Run(
      absl::StrCat("invoke ", kParis, " { save x = read transformer.h.1.attn.probs }\n", second));
  const LocalResult plain = Tiny().Run(
      absl::StrCat("invoke ", kParis, " { save x = read transformer.h.1.attn.z }\n", second));
  ASSERT_THAT(asks.status, IsOk());
  EXPECT_TRUE(at::equal(asks["p"], plain["p"]));
}

TEST(InsideTest, ARunThatListensInsideLeavesEarly) {
  const uint64_t before = Tiny().hosted().module_calls();
  ASSERT_THAT(RunInvoke("save x = read transformer.h.0.attn.probs").status, IsOk());
  const uint64_t inside = Tiny().hosted().module_calls() - before;
  ASSERT_THAT(RunInvoke("save x = read result").status, IsOk());
  EXPECT_LT(2 * inside, Tiny().hosted().module_calls() - before - inside);
}

// --- refusals -----------------------------------------------------------------------------------

absl::Status PlanStatus(const std::string& body) {
  return Tiny().Plan(absl::StrCat("invoke [1, 2, 3] { ", body, " }")).status();
}

TEST(InsideRefusalTest, AnUnknownOperationIsNamedWithThoseThereAre) {
  EXPECT_THAT(
      PlanStatus("save x = read transformer.h.0.op(mul_0).output"),
      StatusIs(absl::StatusCode::kNotFound,
               HasSubstr("`transformer.h.0` has no operation `mul_0`; it has add_0, add_1")));
  EXPECT_THAT(PlanStatus("save x = read transformer.h.0.attn.op(transpose_9).input"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("it has transpose_0, transpose_1, transpose_2, transpose_3")));
  EXPECT_THAT(PlanStatus("save x = read transformer.h.0.mlp.op(gelu_0).output"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("it has none")));
}

TEST(InsideRefusalTest, PointsAreInAttentionAlone) {
  EXPECT_THAT(PlanStatus("save x = read transformer.h.1.mlp.probs"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("does no attention itself")));
  EXPECT_THAT(PlanStatus("save x = read transformer.h.1.probs"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("`transformer.h.1.attn`")));
}

TEST(InsideRefusalTest, AWriteThatNeedsALaterSite) {
  EXPECT_THAT(
      PlanStatus("%z = read transformer.h.0.attn.z  write transformer.h.0.attn.q = %z"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("transformer.h.0.attn.q is visited before transformer.h.0.attn.z")));
  EXPECT_THAT(PlanStatus("%s = read transformer.h.0.op(add_1).output  "
                         "write transformer.h.0.op(add_0).input = %s"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is visited before")));
}

TEST(InsideRefusalTest, AShapeThatDoesNotFit) {
  EXPECT_THAT(Tiny()
                  .Check("invoke [1, 2, 3] { %q = read transformer.h.0.attn.q  "
                         "write transformer.h.0.attn.probs = %q }")
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("[1, 4, 3, 8]"), HasSubstr("[1, 4, 3, 3]"))));
}

TEST(InsideRefusalTest, TokenIdsInsideAreReadOnly) {
  EXPECT_THAT(PlanStatus("save x = read transformer.wte.op(embedding_0).input"), IsOk());
  EXPECT_THAT(PlanStatus("%x = read transformer.wte.op(embedding_0).input  "
                         "write transformer.wte.op(embedding_0).input = %x"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("can be read, not written")));
}

TEST(InsideRefusalTest, TheInsideOfASkippedModule) {
  EXPECT_THAT(PlanStatus("%x = read transformer.h.1.input  skip transformer.h.1 = %x  "
                         "save z = read transformer.h.1.attn.z"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not visited")));
}

TEST(InsideRefusalTest, OtherItemsOfAModulesInputs) {
  EXPECT_THAT(PlanStatus("%x = read transformer.h.0.output  "
                         "write transformer.h.1.inputs[0][1] = %x"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("((tensor,), {})")));
}

// --- the mode -----------------------------------------------------------------------------------

struct Watched {
  std::vector<bool> root, child;  // whether operators were met, call by call
};

bool MeetsOperators() { return c10::impl::tls_is_dispatch_key_included(run::OpTap::kKey); }

class Child : public models::Module {
 public:
  explicit Child(Watched* watched) : watched_(*watched) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override {
    watched_.child.push_back(MeetsOperators());
    return at::add(x, 1);
  }
  std::string type() const override { return "Child"; }
  bool rowwise() const override { return true; }

 private:
  Watched& watched_;
};

/// Has operators whose results mix rows, and a child.
class Root : public models::Module {
 public:
  explicit Root(Watched* watched) : watched_(*watched) {
    embedding_ =
        Own("embedding",
            std::make_unique<models::EmbeddingImpl>(at::arange(1, 33, at::kFloat).view({8, 4})));
    child_ = Own("child", std::make_unique<Child>(watched));
  }
  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    watched_.root.push_back(MeetsOperators());
    at::Tensor x = at::mul(models::Call(pass, *embedding_, std::move(ids)), 2);
    const at::Tensor mixed = at::flip(at::cumsum(x, 1), {1});
    const std::vector<at::Tensor> halves = at::split(x, 2, 2);
    x = models::Call(pass, *child_, at::cat({halves[1], halves[0]}, 2));
    watched_.root.push_back(MeetsOperators());
    return at::add(x, at::mul(mixed, 0));
  }
  std::string type() const override { return "Root"; }
  int64_t input_range() const override { return 8; }

 private:
  Watched& watched_;
  models::EmbeddingImpl* embedding_;
  Child* child_;
};

class ModeTest : public ::testing::Test {
 protected:
  ModeTest() {
    models::Network network;
    network.root = std::make_unique<Root>(&watched_);
    network.max_tokens = 16;
    network.vocabulary = 8;
    auto hosted = models::HostedModel::Host(std::move(network), true);
    EXPECT_THAT(hosted.status(), IsOk());
    model_ = std::make_unique<LocalModel>(*std::move(hosted));
    watched_ = {};
  }
  LocalResult Run(const std::string& body) {
    watched_ = {};
    return model_->Run(absl::StrCat("invoke [1, 2, 3] { ", body, " }"));
  }

  Watched watched_;
  std::unique_ptr<LocalModel> model_;
};

TEST_F(ModeTest, OffInAPassWithoutOperations) {
  ASSERT_THAT(Run("save x = read child.output").status, IsOk());
  EXPECT_THAT(watched_.root, ElementsAre(false, false));
  EXPECT_THAT(watched_.child, ElementsAre(false));
}

TEST_F(ModeTest, OnInTheModuleAlone) {
  ASSERT_THAT(Run("save x = read .op(mul_0).output").status, IsOk());
  EXPECT_THAT(watched_.root, ElementsAre(true, true));
  EXPECT_THAT(watched_.child, ElementsAre(false));
  ASSERT_THAT(Run("save x = read child.op(add_0).output").status, IsOk());
  EXPECT_THAT(watched_.root, ElementsAre(false, false));
  EXPECT_THAT(watched_.child, ElementsAre(true));
  EXPECT_FALSE(MeetsOperators());
}

TEST_F(ModeTest, OperatorsOfTheProgramAreNotTheModules) {
  // Were they counted, `add_0` would be one of the program's.
  const LocalResult result = Run(R"(
    %a = read embedding.output
    %b = aten::mul(aten::add(%a, 3.0), 2.0)
    %c = read child.input
    save d = aten::add(%b, %c)
    save add = read .op(add_0).output
    save out = read .output)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["add"], result["out"]));
}

TEST_F(ModeTest, WhatMixesRowsCannotBeRead) {
  EXPECT_THAT(OperationsOf(model_->spec(), ""),
              ElementsAre("mul_0", "cumsum_0", "flip_0", "split_0", "cat_0", "mul_1", "add_0"));
  const auto status = [&](const std::string& site) {
    return model_->Plan(absl::StrCat("invoke [1, 2, 3] { save x = read ", site, " }")).status();
  };
  for (const char* site : {".op(cumsum_0).output", ".op(flip_0).output", ".op(flip_0).input"}) {
    EXPECT_THAT(status(site), StatusIs(absl::StatusCode::kNotFound, HasSubstr("cannot be read")))
        << site;
  }
  EXPECT_THAT(status(".op(cumsum_0).input"), IsOk());
  // Of the two that are added, the second is what mixes.
  EXPECT_EQ(TypeOf(model_->spec(), "", graph::Point::kInputs, "mul_1"), "");
}

TEST_F(ModeTest, ListsOfTensorsAreReadAndWritten) {
  EXPECT_EQ(TypeOf(model_->spec(), "", graph::Point::kOutput, "split_0"),
            "[float32[B, T, 2], float32[B, T, 2]]");
  const LocalResult result = Run(R"(
    %halves = read .op(split_0).output
    save first = %halves[0]
    %cat = read .op(cat_0).inputs
    save same = %cat[0][0][1]
    write .op(split_0).output[1][:, 0] = tensor(float32, [], [-1.0])
    save seen = read child.input)");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["first"], result["same"]));
  EXPECT_TRUE(result["seen"].select(1, 0).narrow(1, 0, 2).eq(-1).all().item<bool>());
  EXPECT_FALSE(result["seen"].select(1, 1).narrow(1, 0, 2).eq(-1).any().item<bool>());
}

TEST_F(ModeTest, GradientsGoThroughOperations) {
  const LocalResult result = Run(R"(
    %x = read .op(mul_0).output
    %c = read .op(cat_0).inputs
    %half = %c[0][0][0]
    %y = read .output
    %loss = aten::sum(aten::mul(%y, %y))
    backward %loss { save x = grad %x  save half = grad %half  save y = grad %y })");
  ASSERT_THAT(result.status, IsOk());
  const at::Tensor y = result["y"];
  ExpectClose(result["x"], at::cat({y.narrow(2, 2, 2), y.narrow(2, 0, 2)}, 2));
  ExpectClose(result["half"], y.narrow(2, 0, 2));
}

}  // namespace
}  // namespace weft
