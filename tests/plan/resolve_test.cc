#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "engine/plan/operators.h"

namespace weft::plan {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

at::Tensor Meta(std::vector<int64_t> shape, at::ScalarType dtype = at::kFloat) {
  return at::empty(shape, at::device(at::kMeta).dtype(dtype));
}

c10::IValue Ints(std::vector<int64_t> values) { return c10::List<int64_t>(values); }
c10::IValue Tensors(std::vector<at::Tensor> tensors) { return c10::List<at::Tensor>(tensors); }
int64_t DType(at::ScalarType dtype) { return static_cast<int64_t>(dtype); }

using Call = std::vector<CallArgument>;

/// The overload that a call resolves to and what it gives: `mul.Scalar Float[2, 3]`.
std::string Outcome(const std::string& name, const Call& arguments) {
  const auto call = ResolveCall(name, arguments);
  if (!call.ok()) return std::string(call.status().message());
  const auto result = RunMeta(*call->row, call->stack);
  if (!result.ok()) return std::string(result.status().message());
  std::ostringstream text;
  text << call->row->qualified().substr(6);
  const auto show = [&](const at::Tensor& tensor) {
    text << " " << tensor.scalar_type() << tensor.sizes();
  };
  if (result->isTensor()) show(result->toTensor());
  if (result->isTensorList()) {
    for (const at::Tensor& tensor : result->toTensorVector()) show(tensor);
  }
  if (result->isTuple()) {
    for (const c10::IValue& item : result->toTupleRef().elements()) show(item.toTensor());
  }
  return text.str();
}

TEST(ResolveTest, PromotesAsPyTorchDoes) {
  const at::Tensor ints = Meta({2, 3}, at::kLong);
  const at::Tensor halves = Meta({2, 3}, at::kBFloat16);
  EXPECT_EQ(Outcome("aten::mul", {{"", ints}, {"", 3}}), "mul.Scalar Long[2, 3]");
  EXPECT_EQ(Outcome("aten::mul", {{"", ints}, {"", 3.0}}), "mul.Scalar Float[2, 3]");
  EXPECT_EQ(Outcome("aten::mul", {{"", ints}, {"", true}}), "mul.Scalar Long[2, 3]");
  EXPECT_EQ(Outcome("aten::mul", {{"", halves}, {"", 3.0}}), "mul.Scalar BFloat16[2, 3]");
  EXPECT_EQ(Outcome("aten::mul", {{"", halves}, {"", Meta({3})}}), "mul.Tensor Float[2, 3]");
  EXPECT_EQ(Outcome("aten::mul", {{"", halves}, {"", Meta({})}}), "mul.Tensor BFloat16[2, 3]");
  EXPECT_EQ(Outcome("aten::div", {{"", ints}, {"", ints}}), "div.Tensor Float[2, 3]");
  EXPECT_EQ(Outcome("aten::div", {{"", ints}, {"", 2}, {"rounding_mode", "floor"}}),
            "div.Scalar_mode Long[2, 3]");
  EXPECT_EQ(Outcome("aten::pow", {{"", 2}, {"", halves}}), "pow.Scalar BFloat16[2, 3]");
}

TEST(ResolveTest, TakesANumberForATensorWhereItHasNoDTypeOfItsOwn) {
  const at::Tensor halves = Meta({2, 3}, at::kBFloat16);
  EXPECT_EQ(Outcome("aten::maximum", {{"", halves}, {"", 0.5}}), "maximum BFloat16[2, 3]");
  EXPECT_EQ(Outcome("aten::maximum", {{"", Meta({2}, at::kLong)}, {"", 0.5}}), "maximum Float[2]");
  EXPECT_EQ(Outcome("aten::atan2", {{"", halves}, {"", 1}}), "atan2 BFloat16[2, 3]");
  EXPECT_THAT(Outcome("aten::matmul", {{"", halves}, {"", 2}}),
              HasSubstr("`other` must be a tensor, not 2"));

  const auto call = ResolveCall("aten::maximum", {{"", at::full({2}, 0.25)}, {"", 0.5}});
  ASSERT_TRUE(call.ok()) << call.status();
  const auto real = RunReal(*call->row, call->stack);
  ASSERT_TRUE(real.ok()) << real.status();
  EXPECT_TRUE(at::equal(real->toTensor(), at::full({2}, 0.5)));
}

TEST(ResolveTest, ChoosesTheOverloadByWhatIsGiven) {
  const at::Tensor t = Meta({2, 3});
  EXPECT_EQ(Outcome("aten::sum", {{"", t}}), "sum Float[]");
  EXPECT_EQ(Outcome("aten::sum", {{"", t}, {"dim", -1}}), "sum.dim_IntList Float[2]");
  EXPECT_EQ(Outcome("aten::sum", {{"", t}, {"", 0}}), "sum.dim_IntList Float[3]");
  EXPECT_EQ(Outcome("aten::sum", {{"", t}, {"", Ints({0, 1})}, {"keepdim", true}}),
            "sum.dim_IntList Float[1, 1]");
  EXPECT_EQ(Outcome("aten::sum", {{"", t}, {"dtype", DType(at::kDouble)}}), "sum Double[]");
  EXPECT_EQ(Outcome("aten::mean", {{"", t}, {"", -1}, {"", true}}), "mean.dim Float[2, 1]");
  EXPECT_EQ(Outcome("aten::argmax", {{"", t}, {"dim", -1}}), "argmax Long[2]");
  EXPECT_EQ(Outcome("aten::max", {{"", t}}), "max Float[]");
  EXPECT_EQ(Outcome("aten::max", {{"", t}, {"", 1}}), "max.dim Float[2] Long[2]");
  EXPECT_EQ(Outcome("aten::max", {{"", t}, {"", t}}), "max.other Float[2, 3]");
  EXPECT_EQ(Outcome("aten::std", {{"", t}, {"", -1}}), "std.dim Float[2]");
  EXPECT_EQ(Outcome("aten::std", {{"", t}, {"dim", 0}, {"correction", 0}}),
            "std.correction Float[3]");
  EXPECT_EQ(Outcome("aten::clamp", {{"", t}, {"min", 0}}), "clamp Float[2, 3]");
  EXPECT_EQ(Outcome("aten::clamp", {{"", t}, {"max", Meta({3})}}), "clamp.Tensor Float[2, 3]");
  EXPECT_EQ(Outcome("aten::split", {{"", t}, {"", 2}, {"dim", 1}}),
            "split.Tensor Float[2, 2] Float[2, 1]");
  EXPECT_EQ(Outcome("aten::split", {{"", t}, {"", Ints({1, 2})}, {"", 1}}),
            "split.sizes Float[2, 1] Float[2, 2]");
  EXPECT_EQ(Outcome("aten::where", {{"", Meta({2, 1}, at::kBool)}, {"", t}, {"", 0.0}}),
            "where.ScalarOther Float[2, 3]");
  EXPECT_EQ(Outcome("aten::where", {{"", Meta({2}, at::kBool)}, {"", 1}, {"", 0}}),
            "where.Scalar Long[2]");
}

TEST(ResolveTest, BindsByPositionAndByName) {
  const at::Tensor t = Meta({2, 3});
  EXPECT_EQ(Outcome("aten::softmax", {{"", t}, {"", -1}}), "softmax.int Float[2, 3]");
  EXPECT_EQ(Outcome("aten::softmax", {{"", t}, {"dim", 0}, {"dtype", DType(at::kDouble)}}),
            "softmax.int Double[2, 3]");
  EXPECT_EQ(Outcome("aten::transpose", {{"", t}, {"", 0}, {"", 1}}), "transpose.int Float[3, 2]");
  EXPECT_EQ(Outcome("aten::expand", {{"", Meta({1})}, {"", Ints({2, -1})}}), "expand Float[2, 1]");
  EXPECT_EQ(Outcome("aten::cat", {{"", Tensors({t, t})}, {"dim", 1}}), "cat Float[2, 6]");
  EXPECT_EQ(Outcome("aten::gelu", {{"", t}, {"approximate", "tanh"}}), "gelu Float[2, 3]");
  EXPECT_EQ(Outcome("aten::to", {{"", t}, {"", DType(at::kBFloat16)}}), "to.dtype BFloat16[2, 3]");
  EXPECT_EQ(Outcome("aten::to", {{"", t}, {"dtype", DType(at::kLong)}}), "to.dtype Long[2, 3]");
  EXPECT_EQ(Outcome("aten::to", {{"", t}, {"", Meta({1}, at::kLong)}}), "to.other Long[2, 3]");
  EXPECT_EQ(Outcome("aten::layer_norm", {{"", t}, {"", Ints({3})}, {"eps", 1}}),
            "layer_norm Float[2, 3]");
  EXPECT_EQ(Outcome("aten::linear", {{"", t}, {"", Meta({5, 3})}, {"", {}}}), "linear Float[2, 5]");
  EXPECT_EQ(Outcome("aten::roll", {{"", t}, {"", 1}, {"", 0}}), "roll Float[2, 3]");
  EXPECT_EQ(Outcome("aten::mul.Tensor", {{"", t}, {"", t}}), "mul.Tensor Float[2, 3]");
  EXPECT_EQ(Outcome("aten::slice",
                    {{"", t}, {"", 1}, {"", 1}, {"", std::numeric_limits<int64_t>::max()}}),
            "slice.Tensor Float[2, 2]");
  c10::impl::GenericList indices(c10::AnyType::get());
  indices.push_back(c10::IValue());
  indices.push_back(Meta({4}, at::kLong));
  EXPECT_EQ(Outcome("aten::index", {{"", t}, {"", indices}}), "index.Tensor Float[2, 4]");
}

TEST(ResolveTest, SaysWhereEachArgumentCameFrom) {
  const auto call =
      ResolveCall("aten::add", {{"", Meta({2})}, {"alpha", 2.0}, {"other", Meta({2})}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_THAT(call->source, ElementsAre(0, 2, 1));
  const auto defaults = ResolveCall("aten::sum", {{"", Meta({2})}});
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_THAT(defaults->source, ElementsAre(0, -1));
}

TEST(ResolveTest, ConvertsALiteralAsTheCallDid) {
  const OperatorRow* layer_norm = OperatorTable::Get().FindOverload("aten::layer_norm");
  ASSERT_NE(layer_norm, nullptr);
  EXPECT_TRUE(ConvertTo(1, layer_norm->schema().arguments()[4]).isDouble());
  const OperatorRow* maximum = OperatorTable::Get().FindOverload("aten::maximum");
  const c10::IValue number = ConvertTo(0.5, maximum->schema().arguments()[1]);
  ASSERT_TRUE(number.isTensor());
  EXPECT_TRUE(number.toTensor().unsafeGetTensorImpl()->is_wrapped_number());
}

TEST(ResolveTest, SaysWhatDoesNotFit) {
  const at::Tensor t = Meta({2, 3});
  EXPECT_THAT(Outcome("aten::mul", {{"", t}, {"", "x"}}),
              AllOf(HasSubstr("aten::mul(Float[2, 3], \"x\") fits no signature:\n"),
                    HasSubstr("aten::mul.Tensor(Tensor self, Tensor other) -> Tensor: `other` must "
                              "be a tensor, not \"x\""),
                    HasSubstr("mul.Scalar(Tensor self, Scalar other) -> Tensor: `other` must be a "
                              "number, not \"x\"")));
  EXPECT_THAT(Outcome("aten::mul", {{"", t}}), HasSubstr("`other` is missing"));
  EXPECT_THAT(Outcome("aten::relu", {{"", t}, {"", t}}), HasSubstr("takes 1 positional argument"));
  EXPECT_THAT(Outcome("aten::relu", {{"", t}, {"self", t}}), HasSubstr("`self` is given twice"));
  EXPECT_THAT(Outcome("aten::relu", {{"", t}, {"inplace", true}}), HasSubstr("has no `inplace`"));
  EXPECT_THAT(Outcome("aten::sum", {{"", t}, {"", true}}),
              HasSubstr("`dim` must be a list of integers or none, not true"));
  EXPECT_THAT(Outcome("aten::softmax", {{"", t}, {"", 1.0}}),
              HasSubstr("`dim` must be an integer, not 1"));
  EXPECT_THAT(Outcome("aten::clamp", {{"", t}, {"min", "a"}}), HasSubstr("or none, not \"a\""));
  EXPECT_THAT(Outcome("aten::to", {{"", t}, {"", 99}}), HasSubstr("`dtype` must be a dtype"));
  EXPECT_THAT(Outcome("aten::full", {{"", Ints({int64_t{1} << 60})}, {"", 0}}),
              HasSubstr("`size` is out of range"));
}

TEST(ResolveTest, RefusesArgumentsThatAreNotForPrograms) {
  const at::Tensor t = Meta({2, 3});
  EXPECT_THAT(Outcome("aten::zeros", {{"", Ints({2})}, {"pin_memory", true}}),
              HasSubstr("`pin_memory` is not for programs to choose"));
  EXPECT_THAT(Outcome("aten::clone", {{"", t}, {"memory_format", 1}}),
              HasSubstr("`memory_format` is not for programs to choose"));
  EXPECT_THAT(Outcome("aten::scaled_dot_product_attention",
                      {{"", t}, {"", t}, {"", t}, {"dropout_p", 0.5}}),
              HasSubstr("`dropout_p` is not for programs to choose"));
}

TEST(ResolveTest, RefusesDTypesOutsideARowsClasses) {
  EXPECT_EQ(Outcome("aten::sub", {{"", Meta({2}, at::kBool)}, {"", 1}}),
            "aten::sub takes integer or floating-point or complex tensors, not Bool");
  EXPECT_EQ(Outcome("aten::relu", {{"", Meta({2}, at::kComplexFloat)}}),
            "aten::relu takes floating-point tensors, not ComplexFloat");
  EXPECT_THAT(
      Outcome("aten::block_diag", {{"", Tensors({Meta({2}), Meta({2}, at::kComplexFloat)})}}),
      HasSubstr("not ComplexFloat"));
  EXPECT_EQ(Outcome("aten::maximum", {{"", Meta({2})}, {"", Meta({2}, at::kComplexFloat)}}),
            "aten::maximum takes no complex tensors");
}

TEST(ResolveTest, RefusesSizesThatWouldDependOnData) {
  const at::Tensor t = Meta({2, 3});
  EXPECT_THAT(
      Outcome("aten::index",
              {{"", t}, {"", c10::List<std::optional<at::Tensor>>({Meta({2}, at::kByte)})}}),
      HasSubstr("uint8 is neither an index nor a mask"));
  EXPECT_THAT(Outcome("aten::one_hot", {{"", Meta({2}, at::kLong)}}),
              HasSubstr("`num_classes` must be given"));
  EXPECT_THAT(Outcome("aten::arange", {{"", 3.5}}), HasSubstr("must follow from integers"));
}

TEST(ResolveTest, RefusesWhatCannotFitWithoutABacktrace) {
  EXPECT_EQ(Outcome("aten::matmul", {{"", Meta({2, 3})}, {"", Meta({4, 5})}}),
            "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
  EXPECT_THAT(Outcome("aten::add_", {{"", Meta({3})}, {"", Meta({2, 3})}}),
              HasSubstr("does not fit into [3]"));
  EXPECT_THAT(Outcome("aten::add_", {{"", Meta({3}, at::kLong)}, {"", 0.5}}),
              HasSubstr("cannot be put into a tensor of Long; use aten::add"));
  EXPECT_THAT(Outcome("aten::zeros", {{"", Ints({int64_t{1} << 40, int64_t{1} << 40})}}),
              HasSubstr("overflow"));
  EXPECT_THAT(Outcome("aten::unbind", {{"", Meta({100000})}}), HasSubstr("at most 4096"));
  EXPECT_THAT(Outcome("aten::view", {{"", Meta({1})}, {"", Ints(std::vector<int64_t>(100, 1))}}),
              HasSubstr("100 dimensions"));
}

TEST(ResolveTest, SaysWhyAnOperatorCannotBeCalled) {
  const auto refused = ResolveCall("aten::empty", {{"", Ints({2})}});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
  const auto unknown = ResolveCall("aten::mull", {{"", Meta({2})}});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
}

// --- Values ---

absl::Status RunOn(const std::string& name, const Call& arguments) {
  const auto call = ResolveCall(name, arguments);
  if (!call.ok()) return call.status();
  return RunReal(*call->row, call->stack).status();
}

at::Tensor Longs(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

TEST(RunRealTest, RefusesIndicesOutOfRangeBeforeTheKernel) {
  const at::Tensor t = at::ones({4, 3});
  const struct {
    std::string name;
    Call arguments;
    std::string message;
  } cases[] = {
      {"aten::index_select",
       {{"", t}, {"", 0}, {"", Longs({0, 4})}},
       "holds 4, but it must lie in [0, 4)"},
      {"aten::index_select",
       {{"", t}, {"", -1}, {"", Longs({-1})}},
       "holds -1, but it must lie in [0, 3)"},
      {"aten::gather",
       {{"", t}, {"", 1}, {"", Longs({3}).view({1, 1})}},
       "holds 3, but it must lie in [0, 3)"},
      {"aten::embedding",
       {{"", t}, {"", Longs({5})}},
       "`indices` holds 5, but it must lie in [0, 4)"},
      {"aten::take", {{"", t}, {"", Longs({-13})}}, "[-12, 12)"},
      {"aten::index",
       {{"", t}, {"", c10::List<std::optional<at::Tensor>>({std::nullopt, Longs({3})})}},
       "holds 3, but it must lie in [-3, 3)"},
      {"aten::scatter", {{"", t}, {"", 0}, {"", Longs({4}).view({1, 1})}, {"", 1}}, "[0, 4)"},
      {"aten::index_add", {{"", t}, {"", 1}, {"", Longs({3})}, {"", at::ones({4, 1})}}, "[0, 3)"},
      {"aten::index_fill", {{"", t}, {"", 1}, {"", Longs({-4})}, {"", 1}}, "[-3, 3)"},
      {"aten::one_hot", {{"", Longs({5})}, {"", 5}}, "[0, 5)"},
      {"aten::cross_entropy_loss", {{"", t}, {"", Longs({0, 1, 2, 3})}}, "[0, 3)"},
      {"aten::nll_loss", {{"", t}, {"", Longs({0, -1, 2, 1})}}, "holds -1"},
  };
  for (const auto& each : cases) {
    const absl::Status status = RunOn(each.name, each.arguments);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << each.name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.message)) << each.name;
  }
  EXPECT_TRUE(RunOn("aten::cross_entropy_loss", {{"", t}, {"", Longs({0, -100, 2, 1})}}).ok());
  EXPECT_TRUE(RunOn("aten::index_select", {{"", t}, {"", 0}, {"", Longs({})}}).ok());
  EXPECT_TRUE(RunOn("aten::embedding", {{"", t}, {"", at::tensor({3, 0}, at::kInt)}}).ok());
}

TEST(RunRealTest, RefusesValuesThatKernelsDoNotSurvive) {
  const at::Tensor square = at::eye(3);
  const at::Tensor nan = at::full({3, 3}, std::numeric_limits<double>::quiet_NaN(), at::kFloat);
  const struct {
    std::string name;
    Call arguments;
    std::string message;
  } cases[] = {
      {"aten::linalg_svd", {{"", nan}}, "values that are not finite"},
      {"aten::linalg_eigh", {{"", nan}}, "values that are not finite"},
      {"aten::linalg_lstsq", {{"", square}, {"", nan}, {"driver", "gels"}}, "not finite"},
      {"aten::bernoulli", {{"", at::full({2}, 1.5)}}, "probabilities, from 0 to 1"},
      {"aten::bernoulli", {{"", square}, {"", nan[0]}}, "probabilities, from 0 to 1"},
      {"aten::multinomial", {{"", at::tensor({0.5f, -0.5f})}, {"", 1}}, "not negative"},
      {"aten::multinomial", {{"", at::zeros({2, 2})}, {"", 1}}, "not all zero"},
      {"aten::masked_scatter",
       {{"", square}, {"", square.eq(0)}, {"", at::ones({5})}},
       "the mask selects 6 elements, and `source` has 5"},
      {"aten::binary_cross_entropy", {{"", square.mul(2)}, {"", square}}, "from 0 to 1"},
      {"aten::put", {{"", square}, {"", Longs({9})}, {"", at::ones({1})}}, "[-9, 9)"},
      {"aten::fill", {{"", square.to(at::kInt)}, {"", 1e30}}, "cannot be converted"},
  };
  for (const auto& each : cases) {
    auto call = ResolveCall(each.name, each.arguments);
    ASSERT_TRUE(call.ok()) << call.status();
    if (call->row->random) GiveGenerator(*call->row, call->stack, 1);
    const absl::Status status = RunReal(*call->row, call->stack).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << each.name << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.message)) << each.name;
  }
}

TEST(RunRealTest, FactorisationsThatTakeTooLongAreRefusedBeforeTheyRun) {
  const at::Tensor wide = Meta({4096, 4096});
  EXPECT_THAT(Outcome("aten::linalg_svd", {{"", wide}}), HasSubstr("too large to be factorised"));
  EXPECT_THAT(Outcome("aten::linalg_norm", {{"", wide}, {"", 2}}), HasSubstr("too large"));
  EXPECT_EQ(Outcome("aten::linalg_norm", {{"", wide}}), "linalg_norm Float[]");
  EXPECT_EQ(Outcome("aten::linalg_svdvals", {{"", Meta({512, 8192})}}),
            "linalg_svdvals Float[512]");
}

TEST(RunRealTest, TransformsLeaveNoMarks) {
  const auto call = ResolveCall("aten::fft_ihfft", {{"", at::rand({8})}});
  ASSERT_TRUE(call.ok()) << call.status();
  const auto result = RunReal(*call->row, call->stack);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->toTensor().is_conj());
}

TEST(RunRealTest, RefusesTheQuotientThatTraps) {
  const at::Tensor least = at::full({2}, std::numeric_limits<int64_t>::min(), at::kLong);
  const at::Tensor minus_one = at::full({2}, -1, at::kLong);
  for (const Call& call : {Call{{"", least}, {"", minus_one}, {"rounding_mode", "trunc"}},
                           Call{{"", least}, {"", -1}, {"rounding_mode", "trunc"}}}) {
    EXPECT_THAT(std::string(RunOn("aten::div", call).message()), HasSubstr("does not fit Long"));
  }
  EXPECT_TRUE(RunOn("aten::div", {{"", minus_one}, {"", -1}, {"rounding_mode", "trunc"}}).ok());
  EXPECT_THAT(std::string(RunOn("aten::floor_divide", {{"", least}, {"", 0}}).message()),
              HasSubstr("ZeroDivisionError"));
}

TEST(RunRealTest, ReturnsSeveralResultsAsATuple) {
  const auto call = ResolveCall("aten::topk", {{"", at::arange(5).to(at::kFloat)}, {"", 2}});
  ASSERT_TRUE(call.ok()) << call.status();
  const auto result = RunReal(*call->row, call->stack);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(result->isTuple());
  EXPECT_TRUE(at::equal(result->toTupleRef().elements()[1].toTensor(), Longs({4, 3})));
  // The stack may be used again.
  EXPECT_TRUE(RunReal(*call->row, call->stack).ok());
}

TEST(CatchTorchTest, SaysWhoseFaultItIs) {
  EXPECT_TRUE(CatchTorch([] { return absl::OkStatus(); }).ok());
  const absl::Status shapes = CatchTorch([] {
    at::ones({2}).add(at::ones({3}));
    return absl::OkStatus();
  });
  EXPECT_EQ(shapes.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(shapes.message()),
              AllOf(HasSubstr("must match"), testing::Not(HasSubstr("frame #"))));
  const absl::Status memory = CatchTorch([] {
    at::empty({int64_t{1} << 55});
    return absl::OkStatus();
  });
  EXPECT_EQ(memory.code(), absl::StatusCode::kResourceExhausted) << memory;
  EXPECT_EQ(CatchTorch([]() -> absl::Status { throw std::runtime_error("x"); }).code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(CatchTorch([] { return absl::NotFoundError("as it is"); }).code(),
            absl::StatusCode::kNotFound);
}

// --- Cost ---

CallCost Cost(const std::string& name, const Call& arguments) {
  const auto call = ResolveCall(name, arguments);
  EXPECT_TRUE(call.ok()) << call.status();
  const auto result = RunMeta(*call->row, call->stack);
  EXPECT_TRUE(result.ok()) << result.status();
  return CostOf(*call->row, call->stack, *result);
}

TEST(CostTest, CountsTheWorkOfProducts) {
  EXPECT_NEAR(Cost("aten::matmul", {{"", Meta({8, 100, 64})}, {"", Meta({64, 32})}}).operations,
              2.0 * 8 * 100 * 64 * 32, 1e5);
  EXPECT_NEAR(Cost("aten::linear", {{"", Meta({100, 64})}, {"", Meta({32, 64})}}).operations,
              2.0 * 100 * 64 * 32, 1e4);
  EXPECT_NEAR(Cost("aten::einsum",
                   {{"", "bqd, bkd -> bqk"}, {"", Tensors({Meta({2, 50, 64}), Meta({2, 70, 64})})}})
                  .operations,
              2.0 * 2 * 50 * 70 * 64, 3e4);
  EXPECT_NEAR(Cost("aten::einsum",
                   {{"", "...d,hd->...h"}, {"", Tensors({Meta({4, 50, 64}), Meta({32, 64})})}})
                  .operations,
              2.0 * 4 * 50 * 64 * 32, 3e4);
  const at::Tensor q = Meta({1, 4, 100, 16});
  EXPECT_GE(Cost("aten::scaled_dot_product_attention", {{"", q}, {"", q}, {"", q}}).operations,
            4.0 * 4 * 100 * 100 * 16);
}

TEST(CostTest, CountsElementsAndNothingForViews) {
  const at::Tensor t = Meta({100, 10});
  EXPECT_EQ(Cost("aten::add", {{"", t}, {"", t}}).operations, 1000);
  EXPECT_GT(Cost("aten::exp", {{"", t}}).operations, 1000);
  EXPECT_EQ(Cost("aten::transpose", {{"", t}, {"", 0}, {"", 1}}).operations, 0);
  EXPECT_EQ(Cost("aten::expand", {{"", Meta({1})}, {"", Ints({1 << 20})}}).operations, 0);
  EXPECT_EQ(Cost("aten::sum", {{"", t}}).operations, 1000);
  EXPECT_GT(Cost("aten::sort", {{"", t}}).workspace_bytes, 0);
}

}  // namespace
}  // namespace weft::plan
