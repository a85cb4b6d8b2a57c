#include "engine/plan/operators.h"

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/core/enum_tag.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/plan/operator_samples.h"

namespace weft::plan {
namespace {

using ::testing::HasSubstr;

/// A value with its tensors replaced by what `change` makes of them.
template <typename Change>
c10::IValue Map(const c10::IValue& value, Change change) {
  if (value.isTensor()) return value.toTensor().defined() ? change(value.toTensor()) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    return list;
  }
  if (value.isList() && value.toListRef().size() > 0 &&
      std::any_of(value.toListRef().begin(), value.toListRef().end(),
                  [](const c10::IValue& item) { return item.isTensor(); })) {
    c10::List<std::optional<at::Tensor>> list;
    for (const c10::IValue& item : value.toListRef()) {
      list.push_back(item.isTensor() ? std::optional(change(item.toTensor())) : std::nullopt);
    }
    return list;
  }
  return value;
}

template <typename Change>
c10::Stack MapAll(const c10::Stack& stack, Change change) {
  c10::Stack mapped;
  for (const c10::IValue& value : stack) mapped.push_back(Map(value, change));
  return mapped;
}

at::Tensor ToMeta(const at::Tensor& tensor) {
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
  return at::empty_strided(tensor.sizes(), tensor.strides(),
                           at::device(at::kMeta).dtype(tensor.scalar_type()));
}

void Collect(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
  if (value.isTensor() && value.toTensor().defined()) tensors.push_back(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) tensors.push_back(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) Collect(item, tensors);
  } else if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) Collect(item, tensors);
  }
}

std::vector<at::Tensor> TensorsOf(const c10::IValue& value) {
  std::vector<at::Tensor> tensors;
  Collect(value, tensors);
  return tensors;
}

std::vector<at::Tensor> TensorsOf(const c10::Stack& stack) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : stack) Collect(value, tensors);
  return tensors;
}

const void* StorageOf(const at::Tensor& tensor) { return tensor.storage().unsafeGetStorageImpl(); }

std::string Describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.scalar_type() << tensor.sizes();
  return text.str();
}

struct DTypeCase {
  at::ScalarType dtype;
  uint8_t bit;
};
constexpr DTypeCase kDTypes[] = {{at::kBool, kBools},
                                 {at::kLong, kInts},
                                 {at::kFloat, kWideFloats},
                                 {at::kBFloat16, kShortFloats},
                                 {at::kComplexFloat, kComplex}};

bool TakesTensors(const OperatorRow& row) {
  return std::any_of(row.schema().arguments().begin(), row.schema().arguments().end(),
                     [](const c10::Argument& argument) {
                       return absl::StrContains(argument.real_type()->str(), "Tensor");
                     });
}

/// As a run does, with the same seed for everybody.
absl::StatusOr<c10::IValue> RunSeeded(const OperatorRow& row, c10::Stack stack, uint64_t seed = 7) {
  if (row.random) GiveGenerator(row, stack, seed);
  return RunReal(row, std::move(stack));
}

class RowTest : public testing::TestWithParam<const OperatorRow*> {
 protected:
  const OperatorRow& row() const { return *GetParam(); }

  /// Call `check` with every sample, bound; and once for each dtype that must be refused.
  template <typename Check>
  void ForEachCall(Check check) {
    for (const DTypeCase& dtype : kDTypes) {
      for (const bool transposed : {false, true}) {
        const auto samples = SamplesOf(row(), {dtype.dtype, transposed});
        ASSERT_FALSE(samples.empty()) << "no sample for " << row().schema();
        for (const std::vector<CallArgument>& sample : samples) {
          const auto call = ResolveCall(row().qualified(), sample);
          SCOPED_TRACE(absl::StrCat(c10::toString(dtype.dtype), transposed ? " transposed" : "",
                                    " sample ", &sample - samples.data()));
          if (TakesTensors(row()) && (row().dtypes & dtype.bit) == 0) {
            EXPECT_EQ(call.status().code(), absl::StatusCode::kInvalidArgument);
            EXPECT_THAT(std::string(call.status().message()), HasSubstr("tensors, not"));
            continue;
          }
          ASSERT_TRUE(call.ok()) << call.status();
          check(call->stack);
        }
      }
    }
  }
};

TEST_P(RowTest, MetaAgreesWithReal) {
  ForEachCall([&](const c10::Stack& stack) {
    const c10::Stack copy = MapAll(stack, [](const at::Tensor& t) { return t.clone(); });
    const auto meta = RunMeta(row(), MapAll(copy, ToMeta));
    const auto real = RunSeeded(row(), copy);
    ASSERT_TRUE(real.ok()) << "real: " << real.status();
    ASSERT_TRUE(meta.ok()) << "meta: " << meta.status();
    EXPECT_EQ(real->tagKind(), meta->tagKind());
    if (real->isInt() || real->isIntList()) {
      EXPECT_EQ(c10::str(*real), c10::str(*meta));
    }
    const std::vector<at::Tensor> expected = TensorsOf(*real);
    const std::vector<at::Tensor> actual = TensorsOf(*meta);
    ASSERT_EQ(expected.size(), actual.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(Describe(actual[i]), Describe(expected[i]));
      EXPECT_TRUE(actual[i].is_meta());
      // Its memory holds what it shows.
      EXPECT_FALSE(expected[i].is_conj() || expected[i].is_neg());
    }
  });
}

class FreshRowTest : public RowTest {};

TEST_P(FreshRowTest, MakesWhatItDeclares) {
  ForEachCall([&](const c10::Stack& stack) {
    const auto real = RunSeeded(row(), stack);
    if (!real.ok()) return;
    std::set<const void*> inputs;
    for (const at::Tensor& tensor : TensorsOf(stack)) inputs.insert(StorageOf(tensor));
    for (const at::Tensor& result : TensorsOf(*real)) {
      switch (row().makes) {
        case Makes::kFresh:
          EXPECT_EQ(inputs.count(StorageOf(result)), 0u) << "a result shares its input's memory";
          break;
        case Makes::kView:
          EXPECT_EQ(StorageOf(result), StorageOf(stack[0].toTensor()));
          EXPECT_TRUE(result.is_non_overlapping_and_dense() ||
                      at::has_internal_overlap(result) != at::MemOverlap::Yes)
              << result.strides();
          break;
        case Makes::kOverlappingView:
          EXPECT_EQ(StorageOf(result), StorageOf(stack[0].toTensor()));
          break;
        case Makes::kMaybeView:
          break;
      }
    }
  });
}

TEST_P(RowTest, AgreesAndDoesNotShareMemoryOnOddShapes) {
  for (const DTypeCase& dtype : {kDTypes[1], kDTypes[2]}) {
    if ((row().dtypes & dtype.bit) == 0) continue;
    for (const std::vector<CallArgument>& sample : OddSamplesOf(row(), dtype.dtype)) {
      const auto call = ResolveCall(row().qualified(), sample);
      if (!call.ok()) continue;
      const auto meta = RunMeta(row(), MapAll(call->stack, ToMeta));
      const c10::Stack arguments =
          MapAll(call->stack, [](const at::Tensor& t) { return t.clone(); });
      const auto real = RunSeeded(row(), arguments);
      std::string shown;
      for (const c10::IValue& value : arguments) {
        shown += " ";
        if (value.isTensor() && value.toTensor().defined()) {
          shown += Describe(value.toTensor());
        } else {
          shown += (std::ostringstream() << value).str();
        }
      }
      // What depends on values only shows when running.
      if (absl::StrContains(real.status().message(), "must lie in") ||
          absl::StrContains(real.status().message(), "ZeroDivision") ||
          absl::StrContains(real.status().message(), "could not be completed") ||
          absl::StrContains(real.status().message(), "singular")) {
        continue;
      }
      if (row().check_values != nullptr && meta.ok() && !row().check_values(arguments).ok()) {
        continue;
      }
      // Some real kernels do not look at their arguments where there are no elements.
      const std::vector<at::Tensor> inputs = TensorsOf(arguments);
      const bool empty = std::any_of(inputs.begin(), inputs.end(),
                                     [](const at::Tensor& tensor) { return tensor.numel() == 0; });
      if (empty && !meta.ok()) continue;
      // Some accept what the table does not.
      if (!meta.ok() && (absl::StrContains(meta.status().message(), "takes tensors of one dtype") ||
                         (row().check != nullptr &&
                          !CatchTorch([&] { return row().check(call->stack); }).ok()))) {
        continue;
      }
      if (!real.ok() || !meta.ok()) {
        EXPECT_EQ(real.status().ok(), meta.status().ok())
            << "arguments:" << shown << " real: " << real.status() << " meta: " << meta.status();
        continue;
      }
      const std::vector<at::Tensor> expected = TensorsOf(*real);
      const std::vector<at::Tensor> actual = TensorsOf(*meta);
      ASSERT_EQ(expected.size(), actual.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(Describe(actual[i]), Describe(expected[i])) << "arguments:" << shown;
      }
      if (row().makes != Makes::kFresh || row().in_place()) continue;
      for (const at::Tensor& input : inputs) {
        for (const at::Tensor& result : expected) {
          EXPECT_NE(StorageOf(input), StorageOf(result)) << "arguments:" << shown;
        }
      }
    }
  }
}

double Elements(const c10::IValue& value) {
  double elements = 0;
  for (const at::Tensor& tensor : TensorsOf(value)) elements += static_cast<double>(tensor.numel());
  return elements;
}

/// Every call that differs from `sample` in one integer.
std::vector<std::vector<CallArgument>> WithHostileIntegers(
    const std::vector<CallArgument>& sample) {
  constexpr int64_t kHostile[] = {-(int64_t{1} << 48), -1, 0, 1, int64_t{1} << 31,
                                  int64_t{1} << 48};
  std::vector<std::vector<CallArgument>> calls;
  for (size_t i = 0; i < sample.size(); ++i) {
    for (const int64_t hostile : kHostile) {
      std::vector<CallArgument> call = sample;
      if (call[i].value.isInt()) {
        call[i].value = hostile;
        calls.push_back(std::move(call));
      } else if (call[i].value.isIntList() && !call[i].value.toIntVector().empty()) {
        std::vector<int64_t> values = call[i].value.toIntVector();
        values.back() = hostile;
        call[i].value = c10::List<int64_t>(values);
        calls.push_back(std::move(call));
      }
    }
  }
  return calls;
}

TEST_P(RowTest, SurvivesHostileIntegers) {
  constexpr double kMostElements = 1e6;
  for (const std::vector<CallArgument>& sample : SamplesOf(row(), {kDTypes[2].dtype})) {
    for (const std::vector<CallArgument>& hostile : WithHostileIntegers(sample)) {
      const auto call = ResolveCall(row().qualified(), hostile);
      if (!call.ok()) continue;
      const c10::Stack meta_stack = MapAll(call->stack, ToMeta);
      const auto meta = RunMeta(row(), meta_stack);
      if (!meta.ok()) {
        EXPECT_EQ(meta.status().code(), absl::StatusCode::kInvalidArgument) << meta.status();
        continue;
      }
      // Limits refuse what is larger.
      if (Elements(*meta) > kMostElements ||
          CostOf(row(), meta_stack, *meta).operations > 100 * kMostElements) {
        continue;
      }
      const auto real =
          RunSeeded(row(), MapAll(call->stack, [](const at::Tensor& t) { return t.clone(); }));
      if (real.ok()) {
        EXPECT_EQ(Elements(*real), Elements(*meta));
      } else {
        EXPECT_EQ(real.status().code(), absl::StatusCode::kInvalidArgument) << real.status();
      }
    }
  }
}

class InPlaceRowTest : public RowTest {};

TEST_P(InPlaceRowTest, EqualsItsTwin) {
  ForEachCall([&](const c10::Stack& stack) {
    const auto fresh = RunSeeded(*row().fresh, stack);
    const auto in_place =
        RunSeeded(row(), MapAll(stack, [](const at::Tensor& t) { return t.clone(); }));
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    if (!in_place.ok()) return;
    const at::Tensor& actual = in_place->toTensor();
    const at::Tensor expected = fresh->toTensor().to(actual.scalar_type());
    EXPECT_EQ(Describe(actual), Describe(stack[0].toTensor()));
    if (row().random) return;  // dealt out in the order in which self lies
    const at::ScalarType wide = actual.is_complex() ? at::kComplexDouble : at::kDouble;
    EXPECT_TRUE(at::allclose(actual.to(wide), expected.to(wide), 1e-6, 1e-6, /*equal_nan=*/true))
        << actual << expected;
  });
}

TEST_P(RowTest, DeclaresWhatItsSchemaSays) {
  const c10::FunctionSchema& schema = row().schema();
  EXPECT_NE(row().name.substr(std::string("aten::").size(), 1), "_");
  EXPECT_FALSE(schema.is_vararg() || schema.is_varret());
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    EXPECT_FALSE(argument.is_out()) << argument.name();
    const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    EXPECT_EQ(written, row().in_place() && i == 0) << argument.name();
    if (argument.real_type()->str().find("Generator") != std::string::npos) {
      EXPECT_TRUE(row().random);
    }
  }
  bool returns_alias = false;
  for (const c10::Argument& result : schema.returns()) {
    returns_alias |= result.alias_info() != nullptr;
  }
  if (row().in_place()) {
    EXPECT_EQ(row().fresh->makes, Makes::kFresh);
    EXPECT_FALSE(row().fresh->in_place());
    EXPECT_EQ(row().fresh->schema().arguments().size(), schema.arguments().size());
    for (size_t i = 0; i < schema.arguments().size(); ++i) {
      EXPECT_EQ(row().fresh->schema().arguments()[i].real_type()->str(),
                schema.arguments()[i].real_type()->str());
    }
  } else if (returns_alias) {
    EXPECT_NE(row().makes, Makes::kFresh);
  }
  for (const at::Tag tag : row().handle.getTags()) {
    EXPECT_NE(tag, at::Tag::inplace_view);
    if (tag == at::Tag::nondeterministic_seeded && !row().random) {
      EXPECT_NE(row().refused_arguments, 0u);
    }
    if (tag == at::Tag::dynamic_output_shape) {
      EXPECT_NE(row().check, nullptr);
    }
  }
}

TEST(OperatorTableTest, HoldsWhatPeopleUse) {
  const OperatorTable& table = OperatorTable::Get();
  EXPECT_GE(table.size(), 540);
  constexpr char kNames[] =
      "add sub mul div pow neg abs sqrt rsqrt exp log sin cos tanh sigmoid erf clamp maximum "
      "minimum lerp round floor remainder floor_divide eq ne lt le gt ge isnan isfinite "
      "logical_and logical_not bitwise_xor where isclose sum mean prod amax amin max min argmax "
      "argmin any all std var norm linalg_vector_norm cumsum logsumexp count_nonzero median "
      "topk sort argsort kthvalue relu gelu silu softmax log_softmax softplus leaky_relu glu "
      "matmul mm bmm addmm baddbmm dot mv outer einsum linear tril triu diagonal diag_embed "
      "cdist cosine_similarity layer_norm rms_norm scaled_dot_product_attention view reshape "
      "flatten transpose t permute select slice narrow squeeze unsqueeze expand expand_as "
      "unfold split chunk unbind movedim swapaxes unflatten view_as clone contiguous to type_as "
      "cat stack hstack index_select gather take_along_dim index index_put index_add index_copy "
      "index_fill scatter scatter_add masked_fill embedding one_hot take roll flip repeat "
      "repeat_interleave tile pad constant_pad_nd zeros ones full arange eye linspace "
      "zeros_like ones_like full_like cross_entropy_loss nll_loss mse_loss kl_div l1_loss add_ "
      "sub_ mul_ div_ neg_ exp_ relu_ clamp_ zero_ fill_ masked_fill_ copy_ index_put_ "
      "index_add_ index_copy_ index_fill_ scatter_ scatter_add_ pow_ sqrt_ tanh_ sigmoid_ "
      "linalg_norm linalg_svd linalg_qr linalg_eigh linalg_inv linalg_solve linalg_pinv "
      "linalg_lstsq tensordot addmv addbmm logcumsumexp index_reduce masked_scatter "
      "nonzero_static binary_cross_entropy triplet_margin_loss group_norm fft_fft fft_rfft "
      "fft_irfft conv1d conv2d avg_pool1d max_pool2d upsample_linear1d pdist histc bucketize "
      "searchsorted nanquantile std_mean block_diag cov corrcoef diff trace meshgrid "
      "cartesian_prod tril_indices rand randn randint randperm rand_like randn_like bernoulli "
      "normal multinomial uniform_ normal_ exponential_ complex polar angle real imag "
      "scatter_reduce linalg_cholesky linalg_slogdet quantile rot90 isin";
  for (const absl::string_view name : absl::StrSplit(kNames, ' ')) {
    EXPECT_FALSE(table.Find(absl::StrCat("aten::", name)).empty()) << name;
  }
  EXPECT_NE(table.FindOverload("aten::mul.Tensor"), nullptr);
  EXPECT_EQ(table.FindOverload("aten::mul.out"), nullptr);
  EXPECT_TRUE(table.Find("aten::empty").empty());
}

TEST(OperatorTableTest, SaysWhyAnOperatorIsNotThere) {
  const struct {
    std::string name, reason;
    absl::StatusCode code = absl::StatusCode::kPermissionDenied;
  } cases[] = {
      {"aten::empty", "memory as others left it; use aten::zeros"},
      {"aten::empty_like", "memory as others left it"},
      {"aten::empty_strided", "memory as others left it"},
      {"aten::new_empty", "memory as others left it"},
      {"aten::as_strided", "strides can reach other programs' memory"},
      {"aten::as_strided_scatter", "strides can reach other programs' memory"},
      {"aten::add.out", "out= overload writes into a tensor that it is given; use the result of"},
      {"aten::resize_", "changes a tensor's storage"},
      {"aten::resize_as_", "changes a tensor's storage"},
      {"aten::set_", "changes a tensor's storage"},
      {"aten::_softmax", "begin with an underscore"},
      {"aten::_to_copy", "begin with an underscore"},
      {"aten::squeeze_", "changes the shape of a tensor in place; use aten::squeeze"},
      {"aten::t_", "changes the shape of a tensor in place; use aten::t"},
      {"aten::transpose_", "changes the shape of a tensor in place; use aten::transpose"},
      {"aten::nonzero", "size depends on data"},
      {"aten::masked_select", "size depends on data"},
      {"aten::unique_dim", "size depends on data"},
      {"aten::native_dropout", "draws random numbers from no generator of the run's"},
      {"aten::dropout", "multiply by aten::bernoulli"},
      {"aten::item", "only known while running"},
      {"aten::equal", "only known while running"},
      {"aten::storage_offset", "strides and storage"},
      {"aten::cumprod_x", "there is no operator", absl::StatusCode::kNotFound},
      {"aten::sofmax", "did you mean aten::softmax", absl::StatusCode::kNotFound},
      {"mul", "write aten::mul", absl::StatusCode::kNotFound},
      {"prims::mul", "operators are written aten::NAME", absl::StatusCode::kNotFound},
      {"", "operators are written aten::NAME", absl::StatusCode::kNotFound},
      {"aten::", "", absl::StatusCode::kPermissionDenied},
      {"aten::mul.Nonsense", "call aten::mul without an overload", absl::StatusCode::kNotFound},
      {"aten::view.dtype", "this overload is not in the operator table; call aten::view"},
      {"aten::lu_unpack", "none of the operators of this server"},
      {std::string("aten::") + std::string(100000, 'x'), "", absl::StatusCode::kNotFound},
  };
  for (const auto& each : cases) {
    const absl::Status status = OperatorTable::Get().WhyNot(each.name);
    EXPECT_EQ(status.code(), each.code) << each.name.substr(0, 40) << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(each.reason));
  }
}

std::string NameOf(const testing::TestParamInfo<const OperatorRow*>& info) {
  std::string name = info.param->qualified().substr(std::string("aten::").size());
  // A test's name may not hold a dot, and none may end up twice.
  std::replace(name.begin(), name.end(), '.', '0');
  return name;
}

std::vector<const OperatorRow*> RowsThatAre(bool in_place) {
  std::vector<const OperatorRow*> rows;
  for (const OperatorRow* row : OperatorTable::Get().rows()) {
    if (row->in_place() == in_place) rows.push_back(row);
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Table, RowTest,
                         testing::ValuesIn(OperatorTable::Get().rows().begin(),
                                           OperatorTable::Get().rows().end()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Table, FreshRowTest, testing::ValuesIn(RowsThatAre(false)), NameOf);
INSTANTIATE_TEST_SUITE_P(Table, InPlaceRowTest, testing::ValuesIn(RowsThatAre(true)), NameOf);

}  // namespace
}  // namespace weft::plan
