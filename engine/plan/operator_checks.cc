#include "engine/plan/operator_checks.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::plan {
namespace {

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

absl::Status CheckDimension(const c10::Stack& stack) {
  const int64_t dims = std::max<int64_t>(stack[0].toTensor().dim(), 1);
  const int64_t dim = stack[1].toInt();
  if (dim >= -dims && dim < dims) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`dim` must lie in [", -dims, ", ", dims, "), but is ", dim));
}

/// A factorisation of more than this (elements times the smaller side) takes many seconds, in which
/// nothing can stop it.
constexpr double kMostMatrixWork = double{1LL << 33};

/// Windows, strides and dilations beyond this overflow what kernels compute from a few of them.
constexpr int64_t kLargestWindow = int64_t{1} << 20;

const at::Tensor& FirstTensor(const c10::Stack& stack) {
  for (const c10::IValue& value : stack) {
    if (value.isTensor()) return value.toTensor();
  }
  TORCH_CHECK(false, "there is no tensor");
}

absl::Status CheckWork(const at::Tensor& matrices, int64_t smaller_side) {
  const double work = static_cast<double>(matrices.numel()) * static_cast<double>(smaller_side);
  if (work <= kMostMatrixWork) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "matrices of shape [", absl::StrJoin(matrices.sizes(), ", "),
      "] are too large to be factorised inside a run (their elements times their smaller side may "
      "be at most ",
      static_cast<int64_t>(kMostMatrixWork), "); save them, or take a part"));
}

/// Whether all elements lie in [least, most].
bool AllWithin(const at::Tensor& tensor, double least, double most) {
  return tensor.ge(least).logical_and(tensor.le(most)).all().item<bool>();
}

}  // namespace

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

absl::Status CheckIndexKinds(const c10::Stack& stack) {
  int64_t indices = 0;
  for (const c10::IValue& item : stack[1].toListRef()) {
    if (item.isNone() || !item.toTensor().defined()) continue;
    ++indices;
    const at::ScalarType dtype = item.toTensor().scalar_type();
    if (dtype == at::kByte) {
      return absl::InvalidArgumentError(
          "uint8 is neither an index nor a mask; convert it with aten::to(..., dtype=bool)");
    }
    if (dtype == at::kBool && item.toTensor().dim() == 0) {
      return absl::InvalidArgumentError(
          "a mask has a dimension; aten::where chooses by a single condition");
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

absl::Status CheckAddr(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& vec1 = stack[1].toTensor();
  const at::Tensor& vec2 = stack[2].toTensor();
  if (vec1.dim() != 1 || vec2.dim() != 1) return absl::OkStatus();  // the kernel complains
  if (at::is_expandable_to(self.sizes(), {vec1.size(0), vec2.size(0)})) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`self` of shape [", absl::StrJoin(self.sizes(), ", "),
                   "] does not broadcast to [", vec1.size(0), ", ", vec2.size(0), "]"));
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

absl::Status CheckPadMode(const c10::Stack& stack) {
  const std::string& mode = stack[2].toStringRef();
  if (mode != "constant" && mode != "reflect" && mode != "replicate" && mode != "circular") {
    return absl::InvalidArgumentError(
        "`mode` must be \"constant\", \"reflect\", \"replicate\" or \"circular\"");
  }
  if (mode != "constant" && mode != "circular" && stack[0].toTensor().scalar_type() == at::kBool) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", mode, "\" takes no bool tensors; convert it with aten::to"));
  }
  return CheckWindows(stack);
}

absl::Status CheckWindows(const c10::Stack& stack) {
  const auto fits = [](const c10::IValue& value) {
    return !value.isInt() || std::llabs(value.toInt()) <= kLargestWindow;
  };
  for (const c10::IValue& value : stack) {
    bool small = fits(value);
    if (value.isIntList()) {
      for (const c10::IValue& item : value.toListRef()) small = small && fits(item);
    }
    if (!small) {
      return absl::InvalidArgumentError(
          absl::StrCat("sizes and steps may be at most ", kLargestWindow));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFewTimes(const c10::Stack& stack) {
  constexpr int64_t kMost = 64;
  if (std::llabs(stack[1].toInt()) <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("`n` may be at most ", kMost));
}

absl::Status CheckFactors(const c10::Stack& stack) {
  const at::Tensor& matrices = FirstTensor(stack);
  if (matrices.dim() < 2) return absl::OkStatus();  // the kernel complains
  return CheckWork(matrices, std::min(matrices.size(-1), matrices.size(-2)));
}

absl::Status CheckMatrixPower(const c10::Stack& stack) {
  if (absl::Status status = CheckFewTimes(stack); !status.ok()) return status;
  return CheckFactors(stack);
}

absl::Status CheckNorm(const c10::Stack& stack) {
  // A number as `ord` may be 2, which takes the singular values of matrices.
  if (stack[1].isNone() || (stack[1].isString() && stack[1].toStringRef() == "fro")) {
    return absl::OkStatus();
  }
  const at::Tensor& self = stack[0].toTensor();
  const bool matrices =
      stack[2].isNone() ? self.dim() == 2 : stack[2].isList() && stack[2].toListRef().size() == 2;
  if (!matrices) return absl::OkStatus();
  int64_t smaller = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < 2; ++i) {
    int64_t dim = stack[2].isNone() ? i : stack[2].toListRef()[i].toInt();
    if (dim < 0) dim += self.dim();
    if (dim < 0 || dim >= self.dim()) return absl::OkStatus();  // the kernel complains
    smaller = std::min(smaller, self.size(dim));
  }
  return CheckWork(self, smaller);
}

absl::Status CheckLeastSquares(const c10::Stack& stack) {
  if (!stack[3].isString() || stack[3].toStringRef() != "gels") {
    return absl::InvalidArgumentError(
        "`driver` must be \"gels\", the one that every device has; it takes matrices of full rank "
        "(for others: aten::linalg_pinv)");
  }
  if (!stack[2].isNone()) return absl::InvalidArgumentError("\"gels\" takes no `rcond`");
  return CheckFactors(stack);
}

absl::Status CheckFinite(const c10::Stack& stack) {
  for (const c10::IValue& value : stack) {
    if (!value.isTensor() || at::isfinite(value.toTensor()).all().item<bool>()) continue;
    return absl::InvalidArgumentError("the matrices hold values that are not finite");
  }
  return absl::OkStatus();
}

absl::Status CheckProbabilities(const c10::Stack& stack) {
  if (AllWithin(stack[0].toTensor(), 0, 1)) return absl::OkStatus();
  return absl::InvalidArgumentError("`self` must hold probabilities, from 0 to 1");
}

absl::Status CheckProbabilitiesAndTarget(const c10::Stack& stack) {
  if (absl::Status status = CheckProbabilities(stack); !status.ok()) return status;
  if (AllWithin(stack[1].toTensor(), 0, 1)) return absl::OkStatus();
  return absl::InvalidArgumentError("`target` must lie between 0 and 1");
}

absl::Status CheckOtherProbabilities(const c10::Stack& stack) {
  if (AllWithin(stack[1].toTensor(), 0, 1)) return absl::OkStatus();
  return absl::InvalidArgumentError("`p` must hold probabilities, from 0 to 1");
}

absl::Status CheckChances(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  if (self.numel() == 0) return absl::OkStatus();
  if (AllWithin(self, 0, std::numeric_limits<float>::max()) &&
      self.to(at::kDouble).sum(-1).gt(0).all().item<bool>()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "`self` must hold probabilities or weights: finite, not negative, and not all zero");
}

absl::Status CheckEnoughToScatter(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const int64_t wanted = stack[1].toTensor().expand_as(self).sum().item<int64_t>();
  const int64_t given = stack[2].toTensor().numel();
  if (wanted <= given) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the mask selects ", wanted, " elements, and `source` has ", given));
}

absl::Status CheckMaskedScatter(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& mask = stack[1].toTensor();
  if (mask.scalar_type() != at::kBool) {
    return absl::InvalidArgumentError("`mask` must be a bool tensor");
  }
  if (stack[2].toTensor().scalar_type() != self.scalar_type()) {
    return absl::InvalidArgumentError("`source` must have the dtype of `self`");
  }
  if (at::is_expandable_to(mask.sizes(), self.sizes())) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("`mask` of shape [", absl::StrJoin(mask.sizes(), ", "),
                   "] does not broadcast to [", absl::StrJoin(self.sizes(), ", "), "]"));
}

absl::Status CheckRange(const c10::Stack& stack) {
  // `high`, or `low, high`, before the sizes; for the likes of a tensor, behind it.
  const size_t first = stack[0].isTensor() ? 1 : 0;
  const bool both = stack[first + 1].isInt();
  const int64_t low = both ? stack[first].toInt() : 0;
  const int64_t high = stack[both ? first + 1 : first].toInt();
  if (low < high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("there are no integers from ", low, " to below ", high));
}

absl::Status CheckBernoulli(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& p = stack[1].toTensor();
  if (!c10::isFloatingType(p.scalar_type())) {
    return absl::InvalidArgumentError("`p` must be a floating-point tensor");
  }
  if (at::is_expandable_to(p.sizes(), self.sizes())) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("`p` of shape [", absl::StrJoin(p.sizes(), ", "),
                                                 "] does not broadcast to [",
                                                 absl::StrJoin(self.sizes(), ", "), "]"));
}

absl::Status CheckSameShape(const c10::Stack& stack) {
  const at::Tensor& self = stack[0].toTensor();
  const at::Tensor& target = stack[1].toTensor();
  if (self.sizes() == target.sizes()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "`self` of shape [", absl::StrJoin(self.sizes(), ", "), "] and `target` of shape [",
      absl::StrJoin(target.sizes(), ", "), "] must have the same shape"));
}

absl::Status CheckPut(const c10::Stack& stack) {
  if (stack[1].toTensor().scalar_type() != at::kLong) {
    return absl::InvalidArgumentError("`index` must be an int64 tensor");
  }
  if (stack[2].toTensor().scalar_type() != stack[0].toTensor().scalar_type()) {
    return absl::InvalidArgumentError("`source` must have the dtype of `self`");
  }
  if (stack[1].toTensor().numel() != stack[2].toTensor().numel()) {
    return absl::InvalidArgumentError("`index` and `source` must have as many elements");
  }
  if (stack[0].toTensor().numel() > 0 || stack[1].toTensor().numel() == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("`self` has no elements to put anything into");
}

}  // namespace weft::plan
