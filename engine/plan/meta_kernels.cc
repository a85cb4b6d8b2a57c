#include "engine/plan/meta_kernels.h"

#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtilsMulti.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "engine/plan/meta_registrar.h"

// Where the shape and dtype of a result follow the rules of an operator that has a Meta kernel,
// that operator is called in its place: it promotes, broadcasts, resizes and complains alike.

namespace weft::plan {
namespace {

using at::Tensor;

at::Tensor Scalar(const Tensor& self, std::optional<at::ScalarType> dtype = std::nullopt) {
  return at::empty({}, self.options().dtype(dtype.value_or(self.scalar_type())));
}

at::ScalarType SumType(const Tensor& self, std::optional<at::ScalarType> dtype) {
  if (dtype.has_value()) return *dtype;
  return c10::isIntegralType(self.scalar_type(), /*includeBool=*/true) ? at::kLong
                                                                       : self.scalar_type();
}

void CheckFloating(const Tensor& self, const char* name) {
  TORCH_CHECK(c10::isFloatingType(self.scalar_type()), name, " takes floating-point tensors, not ",
              self.scalar_type());
}

// Elementwise.

Tensor LikeSelf(const Tensor& self) { return at::empty_like(self); }

Tensor Logit(const Tensor& self, std::optional<double> /*eps*/) { return at::sigmoid(self); }

Tensor Hardtanh(const Tensor& self, const at::Scalar& /*min*/, const at::Scalar& /*max*/) {
  TORCH_CHECK(self.scalar_type() != at::kBool, "hardtanh does not take bool tensors");
  return at::empty_like(self);
}

Tensor PreluKernel(const Tensor& self, const Tensor& weight) {
  return at::empty(at::infer_size(self.sizes(), weight.sizes()), self.options());
}

std::tuple<Tensor, Tensor> LogSigmoidForward(const Tensor& self) {
  return {at::empty_like(self), at::empty_like(self)};
}

Tensor IsNan(const Tensor& self) { return at::ne(self, self); }

Tensor& AbsOut(const Tensor& self, Tensor& out) {
  if (!self.is_complex()) return at::sign_out(out, self);
  out.resize_(self.sizes());
  return out;
}

Tensor& NanToNumOut(const Tensor& self, std::optional<double> /*nan*/,
                    std::optional<double> /*posinf*/, std::optional<double> /*neginf*/,
                    Tensor& out) {
  return at::sign_out(out, self);
}

Tensor& LogicalNotOut(const Tensor& self, Tensor& out) { return at::eq_out(out, self, 0); }

Tensor& LogicalBinaryOut(const Tensor& self, const Tensor& other, Tensor& out) {
  return at::eq_out(out, self, other);
}

Tensor FloorDivide(const Tensor& self, const Tensor& other) {
  return at::div(self, other, "floor");
}

Tensor& FloorDivideOut(const Tensor& self, const Tensor& other, Tensor& out) {
  return at::div_out(out, self, other, "floor");
}

Tensor Rsub(const Tensor& self, const Tensor& other, const at::Scalar& alpha) {
  return at::sub(other, self, alpha);
}

at::DimVector WhereShape(const Tensor& condition, const Tensor& self, const Tensor& other) {
  TORCH_CHECK(condition.scalar_type() == at::kBool || condition.scalar_type() == at::kByte,
              "where expected condition to be a boolean tensor, but got a tensor with dtype ",
              condition.scalar_type());
  return at::infer_size_dimvector(at::infer_size_dimvector(condition.sizes(), self.sizes()),
                                  other.sizes());
}

Tensor Where(const Tensor& condition, const Tensor& self, const Tensor& other) {
  return at::empty(WhereShape(condition, self, other),
                   condition.options().dtype(at::result_type(self, other)));
}

Tensor& WhereOut(const Tensor& condition, const Tensor& self, const Tensor& other, Tensor& out) {
  out.resize_(WhereShape(condition, self, other));
  return out;
}

// Reductions.

template <const char* kName>
Tensor Extreme(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0, kName,
              "(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
              "reduction dim with the 'dim' argument.");
  return Scalar(self);
}
constexpr char kMax[] = "max";
constexpr char kMin[] = "min";

Tensor Median(const Tensor& self) { return Scalar(self); }

Tensor Prod(const Tensor& self, std::optional<at::ScalarType> dtype) {
  return Scalar(self, SumType(self, dtype));
}

Tensor Nansum(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim,
              std::optional<at::ScalarType> dtype) {
  return at::sum(self, dim, keepdim, dtype);
}

Tensor CountNonzero(const Tensor& self, at::IntArrayRef dim) {
  return at::sum(self, dim, /*keepdim=*/false, at::kLong);
}

Tensor StdVar(const Tensor& self, at::OptionalIntArrayRef dim,
              const std::optional<at::Scalar>& /*correction*/, bool keepdim) {
  CheckFloating(self, "std and var");
  return at::mean(self, dim, keepdim);
}

std::tuple<Tensor, Tensor> VarMean(const Tensor& self, at::OptionalIntArrayRef dim,
                                   const std::optional<at::Scalar>& correction, bool keepdim) {
  const Tensor var = StdVar(self, dim, correction, keepdim);
  return {var, at::empty_like(var)};
}

Tensor Logcumsumexp(const Tensor& self, int64_t dim) {
  CheckFloating(self, "logcumsumexp");
  at::maybe_wrap_dim(dim, self.dim());
  return at::empty(self.sizes(), self.options());
}

std::tuple<Tensor, Tensor> ValuesAndIndices(const Tensor& self, int64_t dim, bool keepdim) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  at::DimVector shape(self.sizes());
  if (self.dim() > 0) {
    TORCH_CHECK_INDEX(self.size(dim) > 0, "Expected reduction dim ", dim,
                      " to have non-zero size.");
    if (keepdim) {
      shape[dim] = 1;
    } else {
      shape.erase(shape.begin() + dim);
    }
  }
  return {at::empty(shape, self.options()), at::empty(shape, self.options().dtype(at::kLong))};
}

std::tuple<Tensor, Tensor> Kthvalue(const Tensor& self, int64_t k, int64_t dim, bool keepdim) {
  const int64_t wrapped = at::maybe_wrap_dim(dim, self.dim());
  const int64_t size = self.dim() > 0 ? self.size(wrapped) : 1;
  TORCH_CHECK(k >= 1 && k <= size, "kthvalue(): selected number k out of range for dimension ",
              wrapped);
  return ValuesAndIndices(self, dim, keepdim);
}

std::tuple<Tensor, Tensor> CumulativeExtreme(const Tensor& self, int64_t dim) {
  at::maybe_wrap_dim(dim, self.dim());
  return {at::empty(self.sizes(), self.options()),
          at::empty(self.sizes(), self.options().dtype(at::kLong))};
}

// Products, norms and losses.

Tensor Dot(const Tensor& self, const Tensor& other) {
  TORCH_CHECK(self.dim() == 1 && other.dim() == 1, "1D tensors expected, but got ", self.dim(),
              "D and ", other.dim(), "D tensors");
  TORCH_CHECK(self.scalar_type() == other.scalar_type(),
              "dot : expected both vectors to have same dtype, but found ", self.scalar_type(),
              " and ", other.scalar_type());
  TORCH_CHECK(self.numel() == other.numel(), "inconsistent tensor size, expected tensor [",
              self.numel(), "] and src [", other.numel(), "] to have the same number of elements");
  return Scalar(self);
}

Tensor Cdist(const Tensor& x1, const Tensor& x2, double p, std::optional<int64_t> /*mode*/) {
  TORCH_CHECK(x1.dim() >= 2 && x2.dim() >= 2, "cdist takes tensors of at least 2 dimensions");
  TORCH_CHECK(x1.size(-1) == x2.size(-1),
              "X1 and X2 must have the same number of columns. X1: ", x1.size(-1),
              " X2: ", x2.size(-1));
  TORCH_CHECK(p >= 0, "cdist only supports non-negative p values");
  CheckFloating(x1, "cdist");
  CheckFloating(x2, "cdist");
  at::DimVector shape = at::infer_size_dimvector(x1.sizes().slice(0, x1.dim() - 2),
                                                 x2.sizes().slice(0, x2.dim() - 2));
  shape.push_back(x1.size(-2));
  shape.push_back(x2.size(-2));
  return at::empty(shape, x1.options());
}

std::tuple<Tensor, Tensor, Tensor> LayerNorm(const Tensor& input, at::IntArrayRef normalized_shape,
                                             const std::optional<Tensor>& weight,
                                             const std::optional<Tensor>& bias, double /*eps*/) {
  const int64_t normalized = static_cast<int64_t>(normalized_shape.size());
  TORCH_CHECK(normalized >= 1, "Expected normalized_shape to be at least 1-dimensional");
  TORCH_CHECK(input.dim() >= normalized &&
                  input.sizes().slice(input.dim() - normalized) == normalized_shape,
              "Given normalized_shape=", normalized_shape,
              ", expected input whose last dimensions are these, but got input of size ",
              input.sizes());
  for (const std::optional<Tensor>* scale : {&weight, &bias}) {
    TORCH_CHECK(
        !scale->has_value() || !(*scale)->defined() || (*scale)->sizes() == normalized_shape,
        "Expected weight and bias to be of the same shape as normalized_shape, but got ",
        (*scale)->sizes(), " and normalized_shape = ", normalized_shape);
  }
  at::DimVector statistics(input.sizes());
  for (int64_t i = input.dim() - normalized; i < input.dim(); ++i) statistics[i] = 1;
  const at::ScalarType dtype =
      weight.has_value() && weight->defined() ? weight->scalar_type() : input.scalar_type();
  return {at::empty(input.sizes(), input.options()),
          at::empty(statistics, input.options().dtype(dtype)),
          at::empty(statistics, input.options().dtype(dtype))};
}

std::tuple<Tensor, Tensor, Tensor> GroupNorm(const Tensor& input,
                                             const std::optional<Tensor>& weight,
                                             const std::optional<Tensor>& bias, int64_t batch,
                                             int64_t channels, int64_t /*rest*/, int64_t groups,
                                             double /*eps*/) {
  TORCH_CHECK(groups > 0 && channels % groups == 0,
              "Expected number of channels in input to be divisible by num_groups, but got ",
              channels, " channels and num_groups=", groups);
  for (const std::optional<Tensor>* scale : {&weight, &bias}) {
    TORCH_CHECK(!scale->has_value() || !(*scale)->defined() ||
                    ((*scale)->dim() == 1 && (*scale)->numel() == channels),
                "Expected weight and bias to be vectors of size ", channels, ", but got ",
                (*scale)->sizes());
  }
  return {at::empty(input.sizes(), input.options()), at::empty({batch, groups}, input.options()),
          at::empty({batch, groups}, input.options())};
}

Tensor HuberLoss(const Tensor& self, const Tensor& target, int64_t reduction, double delta) {
  TORCH_CHECK(delta > 0, "huber_loss does not support non-positive values for delta.");
  return at::empty(at::mse_loss(self, target, reduction).sizes(), self.options());
}

std::tuple<Tensor, Tensor> NllLoss2dForward(const Tensor& self, const Tensor& target,
                                            const std::optional<Tensor>& weight, int64_t reduction,
                                            int64_t /*ignore_index*/) {
  TORCH_CHECK(self.dim() == 4 && target.dim() == 3,
              "the input must have a dimension of classes beside those of the target, but got ",
              self.sizes(), " and ", target.sizes());
  TORCH_CHECK(self.size(0) == target.size(0) && self.size(2) == target.size(1) &&
                  self.size(3) == target.size(2),
              "size mismatch (got input: ", self.sizes(), " , target: ", target.sizes(), ")");
  TORCH_CHECK(target.scalar_type() == at::kLong, "expected scalar type Long but found ",
              target.scalar_type());
  TORCH_CHECK(!weight.has_value() || !weight->defined() || weight->numel() == self.size(1),
              "weight tensor should be defined either for all or no classes");
  const Tensor output =
      reduction == at::Reduction::None ? at::empty(target.sizes(), self.options()) : Scalar(self);
  return {output, Scalar(self)};
}

// Moves and indexing.

Tensor Flip(const Tensor& self, at::IntArrayRef dims) {
  at::dim_list_to_bitset(dims, self.dim());
  return at::empty_like(self);
}

Tensor Roll(const Tensor& self, at::IntArrayRef shifts, at::IntArrayRef dims) {
  TORCH_CHECK(!shifts.empty(), "`shifts` required");
  TORCH_CHECK(shifts.size() == dims.size() || (dims.empty() && shifts.size() == 1),
              "shifts and dimensions must align. shifts: ", shifts.size(), ", dims:", dims.size());
  for (const int64_t dim : dims) at::maybe_wrap_dim(dim, self.dim(), /*wrap_scalar=*/false);
  return at::empty(self.sizes(), self.options());
}

Tensor Take(const Tensor& self, const Tensor& index) {
  TORCH_CHECK(index.scalar_type() == at::kLong,
              "take(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK_INDEX(self.numel() > 0 || index.numel() == 0,
                    "take(): tried to take from an empty tensor");
  return at::empty(index.sizes(), self.options());
}

Tensor IndexSelect(const Tensor& self, int64_t dim, const Tensor& index) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  TORCH_CHECK_INDEX(index.dim() <= 1, "index_select(): Index is supposed to be a vector, but got ",
                    index.dim(), " dimensions");
  TORCH_CHECK(index.scalar_type() == at::kLong || index.scalar_type() == at::kInt,
              "index_select(): Expected dtype int32 or int64 for index, but got ",
              index.scalar_type());
  at::DimVector shape(self.sizes());
  if (self.dim() > 0) {
    shape[dim] = index.numel();
  } else {
    TORCH_CHECK(index.numel() == 1,
                "index_select(): a tensor without dimensions has one element, "
                "but the index has ",
                index.numel());
  }
  return at::empty(shape, self.options());
}

// What the values of a program may ask of one another.

c10::List<int64_t> Sizes(const Tensor& self) { return c10::List<int64_t>(self.sizes()); }
int64_t Numel(const Tensor& self) { return self.numel(); }
int64_t Dim(const Tensor& self) { return self.dim(); }

}  // namespace

void RegisterMetaKernels() {
  // Never destroyed: torch outlives it or is gone with the process. Marked as used so that the
  // pointer, which nobody reads, stays and leak checkers find what it points to.
  [[gnu::used]] static const Registrar* const kRegistrar = [] {
    auto* const registrar = new Registrar();
    registrar->Add("relu", "", &LikeSelf);
    registrar->Add("hardswish", "", &LikeSelf);
    registrar->Add("logit", "", &Logit);
    registrar->Add("hardtanh", "", &Hardtanh);
    registrar->Add("_prelu_kernel", "", &PreluKernel);
    registrar->Add("log_sigmoid_forward", "", &LogSigmoidForward);
    registrar->Add("isnan", "", &IsNan);
    registrar->Add("abs", "out", &AbsOut);
    registrar->Add("nan_to_num", "out", &NanToNumOut);
    registrar->Add("logical_not", "out", &LogicalNotOut);
    registrar->Add("logical_and", "out", &LogicalBinaryOut);
    registrar->Add("logical_or", "out", &LogicalBinaryOut);
    registrar->Add("logical_xor", "out", &LogicalBinaryOut);
    registrar->Add("floor_divide", "", &FloorDivide);
    registrar->Add("floor_divide", "out", &FloorDivideOut);
    registrar->Add("rsub", "Tensor", &Rsub);
    registrar->Add("where", "self", &Where);
    registrar->Add("where", "self_out", &WhereOut);
    registrar->Add("max", "", &Extreme<kMax>);
    registrar->Add("min", "", &Extreme<kMin>);
    registrar->Add("median", "", &Median);
    registrar->Add("nanmedian", "", &Median);
    registrar->Add("prod", "", &Prod);
    registrar->Add("nansum", "", &Nansum);
    registrar->Add("count_nonzero", "dim_IntList", &CountNonzero);
    registrar->Add("std", "correction", &StdVar);
    registrar->Add("var", "correction", &StdVar);
    registrar->Add("var_mean", "correction", &VarMean);
    registrar->Add("std_mean", "correction", &VarMean);
    registrar->Add("median", "dim", &ValuesAndIndices);
    registrar->Add("nanmedian", "dim", &ValuesAndIndices);
    registrar->Add("mode", "", &ValuesAndIndices);
    registrar->Add("kthvalue", "", &Kthvalue);
    registrar->Add("cummax", "", &CumulativeExtreme);
    registrar->Add("cummin", "", &CumulativeExtreme);
    registrar->Add("_logcumsumexp", "", &Logcumsumexp);
    registrar->Add("dot", "", &Dot);
    registrar->Add("vdot", "", &Dot);
    registrar->Add("_cdist_forward", "", &Cdist);
    registrar->Add("native_layer_norm", "", &LayerNorm);
    registrar->Add("native_group_norm", "", &GroupNorm);
    registrar->Add("huber_loss", "", &HuberLoss);
    registrar->Add("nll_loss2d_forward", "", &NllLoss2dForward);
    registrar->Add("flip", "", &Flip);
    registrar->Add("roll", "", &Roll);
    registrar->Add("take", "", &Take);
    registrar->Add("index_select", "", &IndexSelect);
    registrar->Define("size(Tensor self) -> int[]", &Sizes);
    registrar->Define("numel(Tensor self) -> int", &Numel);
    registrar->Define("dim(Tensor self) -> int", &Dim);
    RegisterMatrixKernels(*registrar);
    RegisterCountingKernels(*registrar);
    return registrar;
  }();
}

}  // namespace weft::plan
