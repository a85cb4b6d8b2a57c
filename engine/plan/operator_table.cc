#include "engine/plan/operator_table.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::plan {
namespace {

constexpr uint8_t kNumbers = kInts | kFloats;

// What an element costs, in additions.
constexpr double kDivision = 4;
constexpr double kFunction = 12;  // exp, log, sin...
constexpr double kSort = 60;

/// More tensors than this in one list are a mistake, or meant to exhaust memory.
constexpr int64_t kMostPieces = 4096;

absl::Status CheckPieces(int64_t pieces) {
  if (pieces <= kMostPieces) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("it makes ", pieces, " tensors; at most ", kMostPieces, " are allowed"));
}

/// The size of a dimension that an argument names; 0 where there is none (the kernel complains).
int64_t SizeAt(const c10::Stack& stack, size_t dimension_argument) {
  const at::Tensor& self = stack[0].toTensor();
  int64_t dimension = stack[dimension_argument].toInt();
  if (dimension < 0) dimension += self.dim();
  return dimension >= 0 && dimension < self.dim() ? self.size(dimension) : 0;
}

absl::Status CheckUnbind(const c10::Stack& stack) { return CheckPieces(SizeAt(stack, 1)); }

absl::Status CheckSplit(const c10::Stack& stack) {
  const int64_t size = stack[1].toInt();
  return size <= 0 ? absl::OkStatus() : CheckPieces(SizeAt(stack, 2) / size);
}

absl::Status CheckSections(const c10::Stack& stack) { return CheckPieces(stack[1].toInt()); }

absl::Status CheckListOfSizes(const c10::Stack& stack) {
  return CheckPieces(static_cast<int64_t>(stack[1].toListRef().size()) + 1);
}

/// Sizes may not hang on what a cached plan leaves out of its key.
absl::Status CheckNoFloats(const c10::Stack& stack) {
  for (const c10::IValue& value : stack) {
    if (value.isDouble()) {
      return absl::InvalidArgumentError(
          "the number of elements must follow from integers; use aten::linspace, or aten::mul on "
          "a range of integers");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckClasses(const c10::Stack& stack) {
  if (stack[1].toInt() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "`num_classes` must be given, since the result's size would depend on data");
}

absl::Status CheckConstantMode(const c10::Stack& stack) {
  if (stack[2].toStringRef() == "constant") return absl::OkStatus();
  return absl::InvalidArgumentError("`mode` must be \"constant\"");
}

absl::Status CheckIndexKinds(const c10::Stack& stack) {
  int64_t indices = 0;
  for (const c10::IValue& item : stack[1].toListRef()) {
    if (item.isNone() || !item.toTensor().defined()) continue;
    ++indices;
    const at::ScalarType dtype = item.toTensor().scalar_type();
    if (dtype == at::kBool || dtype == at::kByte) {
      return absl::InvalidArgumentError(
          "a mask as an index gives a result whose size depends on data; use aten::where or "
          "aten::masked_fill");
    }
  }
  if (indices == 0) return absl::InvalidArgumentError("`indices` must hold a tensor");
  return absl::OkStatus();
}

// Where torch's Meta kernels let pass what its real kernels refuse:

absl::Status CheckAddmm(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& mat1 = stack[1].toTensor();
  const at::Tensor& mat2 = stack[2].toTensor();
  if (mat1.dim() != 2 || mat2.dim() != 2) return absl::OkStatus();  // the kernel complains
  if (at::is_expandable_to(self.sizes(), {mat1.size(0), mat2.size(1)})) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`self` of shape [", absl::StrJoin(self.sizes(), ", "),
                   "] does not broadcast to [", mat1.size(0), ", ", mat2.size(1), "]"));
}

absl::Status CheckDimension(const c10::Stack& stack) {
  const int64_t dims = std::max<int64_t>(stack[0].toTensor().dim(), 1);
  const int64_t dim = stack[1].toInt();
  if (dim >= -dims && dim < dims) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`dim` must lie in [", -dims, ", ", dims, "), but is ", dim));
}

absl::Status CheckIndexFill(const c10::Stack& stack) {
  if (absl::Status status = CheckDimension(stack); !status.ok()) return status;
  const at::Tensor& index = stack[2].toTensor();
  if (index.dim() > 1 || index.scalar_type() != at::kLong) {
    return absl::InvalidArgumentError("`index` must be an int64 tensor of at most one dimension");
  }
  if (stack[3].isTensor() && stack[3].toTensor().dim() > 0) {
    return absl::InvalidArgumentError("`value` must be a number or a tensor without dimensions");
  }
  return absl::OkStatus();
}

absl::Status CheckMaskedFill(const c10::Stack& stack) {
  if (stack[1].toTensor().scalar_type() != at::kBool) {
    return absl::InvalidArgumentError("`mask` must be a bool tensor");
  }
  if (stack[2].isTensor() && stack[2].toTensor().dim() > 0) {
    return absl::InvalidArgumentError(
        "`value` must be a number or a tensor without dimensions; use aten::where");
  }
  return absl::OkStatus();
}

absl::Status CheckBits(const c10::Stack& stack) {
  if (stack.size() < 2) return absl::OkStatus();
  const bool integral = stack[1].isTensor() ? c10::isIntegralType(stack[1].toTensor().scalar_type(),
                                                                  /*includeBool=*/true)
                                            : stack[1].isInt() || stack[1].isBool();
  if (integral) return absl::OkStatus();
  return absl::InvalidArgumentError("`other` must be bool or of integers");
}

absl::Status CheckIndexPut(const c10::Stack& stack) {
  if (absl::Status status = CheckIndexKinds(stack); !status.ok()) return status;
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& values = stack[2].toTensor();
  if (self.scalar_type() != values.scalar_type()) {
    return absl::InvalidArgumentError(
        absl::StrCat("`values` must have the dtype of `self`, ", c10::toString(self.scalar_type()),
                     ", not ", c10::toString(values.scalar_type()), "; convert it with aten::to"));
  }
  const at::Tensor place = at::index(self, stack[1].to<c10::List<std::optional<at::Tensor>>>());
  if (at::is_expandable_to(values.sizes(), place.sizes())) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`values` of shape [", absl::StrJoin(values.sizes(), ", "),
                   "] do not broadcast to the indexed [", absl::StrJoin(place.sizes(), ", "), "]"));
}

absl::Status CheckTarget(const c10::Stack& stack) {
  const at::Tensor& target = stack[1].toTensor();
  if (stack[2].isTensor() && stack[2].toTensor().defined() &&
      stack[2].toTensor().scalar_type() != stack[0].toTensor().scalar_type()) {
    return absl::InvalidArgumentError("`weight` must have the dtype of `self`");
  }
  if (target.scalar_type() == at::kLong) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("`target` must be an int64 tensor, not ",
                                                 c10::toString(target.scalar_type()), "[",
                                                 absl::StrJoin(target.sizes(), ", "), "]"));
}

absl::Status CheckTargetOrProbabilities(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& target = stack[1].toTensor();
  if (self.sizes() == target.sizes() && c10::isFloatingType(target.scalar_type())) {
    return absl::OkStatus();
  }
  return CheckTarget(stack);
}

/// Truncating division of integers is one machine instruction, which traps on the one quotient
/// that does not exist.
absl::Status CheckQuotient(const c10::Stack& stack) {
  if (!stack[2].isString() || stack[2].toStringRef() != "trunc") return absl::OkStatus();
  const at::Tensor& self = stack[0].toTensor();
  const c10::IValue& other = stack[1];
  const at::ScalarType dtype = other.isTensor() ? at::result_type(self, other.toTensor())
                                                : at::result_type(self, other.toScalar());
  if (dtype != at::kInt && dtype != at::kLong) return absl::OkStatus();
  const bool by_minus_one =
      other.isTensor() ? other.toTensor().eq(-1).any().item<bool>() : other.toScalar().equal(-1);
  if (!by_minus_one) return absl::OkStatus();
  const int64_t least =
      dtype == at::kInt ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int64_t>::min();
  if (!self.to(at::kLong).eq(least).any().item<bool>()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the quotient of ", least, " and -1 does not fit ", c10::toString(dtype)));
}

}  // namespace

absl::Span<const RowGroup> OperatorRows() {
  static const std::vector<RowGroup>* const kRows = new std::vector<RowGroup>{
      // Arithmetic.
      {"add.Tensor add.Scalar add_.Tensor mul.Tensor mul.Scalar mul_.Tensor", {}},
      {"add_.Scalar mul_.Scalar sub.Tensor sub.Scalar sub_.Tensor sub_.Scalar rsub.Tensor "
       "rsub.Scalar",
       {.dtypes = kNumbers}},
      {"div.Tensor div.Scalar true_divide.Tensor true_divide.Scalar", {.cost = kDivision}},
      {"div_.Tensor div_.Scalar", {.dtypes = kFloats, .cost = kDivision}},
      {"div.Tensor_mode div.Scalar_mode div_.Tensor_mode div_.Scalar_mode",
       {.dtypes = kNumbers, .cost = kDivision, .check_values = CheckQuotient}},
      {"floor_divide floor_divide.Scalar floor_divide_.Tensor=floor_divide floor_divide_.Scalar "
       "remainder.Tensor remainder.Scalar remainder_.Tensor remainder_.Scalar fmod.Tensor "
       "fmod.Scalar fmod_.Tensor fmod_.Scalar",
       {.dtypes = kNumbers, .cost = kDivision}},
      {"pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar pow_.Tensor=pow.Tensor_Tensor "
       "pow_.Scalar=pow.Tensor_Scalar",
       {.dtypes = kNumbers, .cost = 2 * kFunction}},
      {"neg neg_ abs abs_ sign sign_ square square_", {.dtypes = kNumbers}},
      {"reciprocal sqrt rsqrt", {.cost = kDivision}},
      {"reciprocal_ sqrt_ rsqrt_", {.dtypes = kFloats, .cost = kDivision}},
      {"exp exp2 expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh erf erfc "
       "sigmoid logit",
       {.cost = kFunction}},
      {"exp_ expm1_ log_ log1p_ log2_ log10_ sin_ cos_ tanh_ erf_ sigmoid_",
       {.dtypes = kFloats, .cost = kFunction}},
      {"atan2", {.cost = 2 * kFunction, .takes_numbers = true}},
      {"hypot logaddexp", {.dtypes = kFloats, .cost = 2 * kFunction, .takes_numbers = true}},
      {"floor floor_ ceil ceil_ round round_ trunc trunc_", {.dtypes = kNumbers}},
      {"round.decimals frac", {.dtypes = kFloats, .cost = kDivision}},
      {"clamp clamp.Tensor clamp_ clamp_.Tensor clamp_min clamp_min.Tensor clamp_min_ "
       "clamp_min_.Tensor clamp_max clamp_max.Tensor clamp_max_ clamp_max_.Tensor",
       {.dtypes = kNumbers}},
      {"maximum minimum fmax fmin", {.takes_numbers = true}},
      {"lerp.Tensor lerp.Scalar lerp_.Tensor lerp_.Scalar", {.dtypes = kFloats, .cost = 3}},
      {"addcmul addcmul_", {.dtypes = kNumbers, .cost = 3}},
      {"addcdiv addcdiv_", {.dtypes = kFloats, .cost = kDivision}},
      {"nan_to_num nan_to_num_", {.cost = 3}},

      // Comparisons and logic.
      {"eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor "
       "gt.Scalar ge.Tensor ge.Scalar isnan isinf isfinite logical_and logical_and_ logical_or "
       "logical_or_ logical_not logical_not_ logical_xor logical_xor_",
       {}},
      {"bitwise_and.Tensor bitwise_and.Scalar bitwise_and_.Tensor bitwise_or.Tensor "
       "bitwise_or.Scalar bitwise_or_.Tensor bitwise_xor.Tensor bitwise_xor.Scalar "
       "bitwise_xor_.Tensor bitwise_not bitwise_not_",
       {.dtypes = kBools | kInts, .check = CheckBits}},
      {"bitwise_and_.Scalar bitwise_or_.Scalar bitwise_xor_.Scalar", {.dtypes = kInts}},
      {"where.self where.ScalarSelf where.ScalarOther where.Scalar", {.dtypes = kBools}},
      {"isclose", {.cost = 6, .workspace = 4}},
      {"isin.Tensor_Tensor isin.Tensor_Scalar",
       {.dtypes = kNumbers, .cost = kSort, .workspace = 4}},

      // Reductions.
      {"sum sum.dim_IntList prod prod.dim_int amax amin aminmax max max.dim max.other min min.dim "
       "min.other any any.dim any.dims all all.dim all.dims nansum count_nonzero "
       "count_nonzero.dim_IntList",
       {.workspace = 1}},
      {"mean mean.dim nanmean", {.dtypes = kFloats, .workspace = 1}},
      {"argmax argmin", {.dtypes = kNumbers}},
      {"std std.dim std.correction var var.dim var.correction var_mean var_mean.dim "
       "var_mean.correction",
       {.dtypes = kFloats, .cost = 4}},
      {"norm.Scalar norm.ScalarOpt_dim linalg_vector_norm",
       {.dtypes = kFloats, .cost = 3, .workspace = 1}},
      {"cumsum cumprod cummax cummin", {}},
      {"cumsum_ cumprod_", {.dtypes = kNumbers}},
      {"logsumexp", {.cost = 2 * kFunction, .workspace = 2}},
      {"logcumsumexp", {.dtypes = kFloats, .cost = 2 * kFunction, .workspace = 2}},
      {"sort sort.stable argsort argsort.stable mode", {.cost = kSort, .workspace = 2}},
      {"median median.dim nanmedian kthvalue topk",
       {.dtypes = kNumbers, .cost = kSort, .workspace = 2}},
      {"quantile quantile.scalar", {.dtypes = kWideFloats, .cost = kSort, .workspace = 4}},

      // Activations.
      {"relu relu_ leaky_relu leaky_relu_ hardtanh hardtanh_ relu6 relu6_ hardswish hardswish_ "
       "hardsigmoid hardsigmoid_ threshold threshold_ prelu",
       {.dtypes = kFloats, .cost = 2}},
      {"gelu gelu_ silu silu_ mish mish_ elu elu_ selu selu_ celu celu_ softplus log_sigmoid glu "
       "softmax.int log_softmax.int",
       {.dtypes = kFloats, .cost = 2 * kFunction}},

      // Linear algebra.
      {"matmul mm bmm mv dot",
       {.dtypes = kNumbers,
        .workspace = 1,
        .work = Work::kProduct,
        .product_argument = "self",
        .same_dtype = true}},
      {"addmm addmm_",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "mat1",
        .same_dtype = true,
        .check = CheckAddmm}},
      {"baddbmm baddbmm_",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "batch1",
        .same_dtype = true}},
      {"linear",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "input",
        .same_dtype = true}},
      {"outer", {.cost = 1}},
      {"einsum",
       {.makes = Makes::kMaybeView,
        .dtypes = kNumbers,
        .workspace = 2,
        .work = Work::kEinsum,
        .same_dtype = true}},
      {"tril tril_ triu triu_ diag diag_embed", {}},
      {"cdist",
       {.dtypes = kWideFloats,
        .cost = 3,
        .workspace = 1,
        .work = Work::kPairs,
        .product_argument = "x1",
        .same_dtype = true}},
      {"cosine_similarity pairwise_distance", {.dtypes = kFloats, .cost = 6, .workspace = 3}},
      {"linalg_cross", {.dtypes = kNumbers, .cost = 5, .same_dtype = true}},
      {"layer_norm group_norm", {.dtypes = kFloats, .cost = 8, .workspace = 1, .same_dtype = true}},
      {"rms_norm", {.dtypes = kFloats, .cost = 8, .workspace = 2}},
      {"scaled_dot_product_attention",
       {.dtypes = kFloats,
        .cost = kFunction,
        .workspace = 2,
        .work = Work::kAttention,
        .refused = "dropout_p"}},

      // Views.
      {"view view_as transpose.int t permute select.int slice.Tensor narrow squeeze squeeze.dim "
       "squeeze.dims unsqueeze movedim.int movedim.intlist moveaxis.int moveaxis.intlist swapaxes "
       "swapdims diagonal unflatten.int alias detach numpy_T mT",
       {.makes = Makes::kView}},
      {"split.Tensor", {.makes = Makes::kView, .check = CheckSplit}},
      {"chunk tensor_split.sections", {.makes = Makes::kView, .check = CheckSections}},
      {"split.sizes split_with_sizes tensor_split.indices",
       {.makes = Makes::kView, .check = CheckListOfSizes}},
      {"unbind.int", {.makes = Makes::kView, .check = CheckUnbind}},
      {"expand expand_as broadcast_to unfold", {.makes = Makes::kOverlappingView}},
      {"reshape flatten.using_ints ravel contiguous to.dtype to.other type_as",
       {.makes = Makes::kMaybeView}},

      // Copies and joins.
      {"clone copy copy_ cat concat stack hstack vstack repeat tile repeat_interleave.self_int "
       "roll flip fliplr flipud rot90 constant_pad_nd fill.Scalar fill.Tensor fill_.Scalar "
       "fill_.Tensor zero zero_ select_scatter slice_scatter diagonal_scatter",
       {}},
      {"pad", {.check = CheckConstantMode}},

      // Indexing.
      {"index_select", {.indices = {{.index = "index", .dimension = "dim"}}}},
      {"gather", {.indices = {{.index = "index", .dimension = "dim"}}}},
      {"take_along_dim", {.indices = {{.index = "indices", .dimension = "dim"}}}},
      {"take",
       {.indices = {{.index = "index", .constant = IndexRange::kFlattened, .negative = true}}}},
      {"index.Tensor",
       {.check = CheckIndexKinds,
        .indices = {{.index = "indices", .constant = IndexRange::kByPlace, .negative = true}}}},
      {"index_put index_put_",
       {.check = CheckIndexPut,
        .indices = {{.index = "indices", .constant = IndexRange::kByPlace, .negative = true}}}},
      {"index_add index_add_ index_copy index_copy_ scatter.src scatter.value scatter_.src "
       "scatter_.value scatter_add scatter_add_",
       {.indices = {{.index = "index", .dimension = "dim"}}}},
      {"scatter_reduce.two scatter_reduce_.two",
       {.dtypes = kNumbers, .indices = {{.index = "index", .dimension = "dim"}}}},
      {"index_fill.int_Scalar index_fill.int_Tensor index_fill_.int_Scalar index_fill_.int_Tensor",
       {.check = CheckIndexFill,
        .indices = {{.index = "index", .dimension = "dim", .negative = true}}}},
      {"masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor",
       {.check = CheckMaskedFill}},
      {"embedding", {.indices = {{.index = "indices", .source = "weight", .constant = 0}}}},
      {"one_hot",
       {.dtypes = kInts,
        .check = CheckClasses,
        .indices = {{.index = "self", .source = "num_classes"}}}},

      // Factories.
      {"zeros ones full eye eye.m linspace zeros_like ones_like full_like new_zeros new_ones "
       "new_full",
       {}},
      {"arange arange.start arange.start_step", {.check = CheckNoFloats}},

      // Losses.
      {"mse_loss l1_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy_with_logits",
       {.dtypes = kFloats, .cost = 4, .workspace = 2}},
      {"cross_entropy_loss",
       {.dtypes = kFloats,
        .cost = 2 * kFunction,
        .workspace = 2,
        .check = CheckTargetOrProbabilities,
        .indices = {{.index = "target", .constant = 1, .ignore = "ignore_index"}}}},
      {"nll_loss nll_loss_nd",
       {.dtypes = kFloats,
        .check = CheckTarget,
        .indices = {{.index = "target", .constant = 1, .ignore = "ignore_index"}}}},
  };
  return *kRows;
}

}  // namespace weft::plan
