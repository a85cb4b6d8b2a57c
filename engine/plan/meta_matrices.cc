#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>

#include <optional>
#include <string_view>
#include <tuple>

#include "engine/plan/meta_registrar.h"

namespace weft::plan {
namespace {

using at::Tensor;

void CheckSquare(const Tensor& self, const char* name) {
  TORCH_CHECK(self.dim() >= 2, name, ": The input tensor must have at least 2 dimensions.");
  TORCH_CHECK(self.size(-1) == self.size(-2), name,
              ": A must be batches of square matrices, but they are ", self.size(-2), " by ",
              self.size(-1), " matrices");
}

at::IntArrayRef Batch(const Tensor& self, int64_t of_each = 2) {
  return self.sizes().slice(0, self.dim() - of_each);
}

Tensor Trace(const Tensor& self) {
  TORCH_CHECK(self.dim() == 2, "trace: expected a matrix, but got tensor with dim ", self.dim());
  const bool integral = c10::isIntegralType(self.scalar_type(), /*includeBool=*/true);
  return at::empty({}, self.options().dtype(integral ? at::kLong : self.scalar_type()));
}

Tensor Addbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2,
              const at::Scalar& /*beta*/, const at::Scalar& /*alpha*/) {
  TORCH_CHECK(batch1.dim() == 3 && batch2.dim() == 3, "batch1 and batch2 must be 3D tensors");
  TORCH_CHECK(batch1.size(0) == batch2.size(0) && batch1.size(2) == batch2.size(1),
              "the shapes of batch1 ", batch1.sizes(), " and batch2 ", batch2.sizes(),
              " do not go together");
  const at::DimVector shape = {batch1.size(1), batch2.size(2)};
  TORCH_CHECK(at::is_expandable_to(self.sizes(), shape), "self of shape ", self.sizes(),
              " does not broadcast to ", at::IntArrayRef(shape));
  return at::empty(shape, self.options());
}

std::tuple<Tensor, Tensor> Eig(const Tensor& self) {
  CheckSquare(self, "linalg.eig");
  const auto options = self.options().dtype(c10::toComplexType(self.scalar_type()));
  return {at::empty(self.sizes().slice(0, self.dim() - 1), options),
          at::empty(self.sizes(), options)};
}

Tensor Eigvals(const Tensor& self) { return std::get<0>(Eig(self)); }

Tensor SolveTriangular(const Tensor& self, const Tensor& other, bool /*upper*/, bool left,
                       bool /*unitriangular*/) {
  CheckSquare(self, "linalg.solve_triangular");
  TORCH_CHECK(other.dim() >= 2, "linalg.solve_triangular: B must have at least 2 dimensions");
  TORCH_CHECK(self.size(-1) == other.size(left ? -2 : -1),
              "linalg.solve_triangular: Incompatible shapes of A and B for the equation ",
              left ? "AX = B" : "XA = B", " (", self.size(-2), "x", self.size(-1), " and ",
              other.size(-2), "x", other.size(-1), ")");
  at::DimVector shape = at::infer_size_dimvector(Batch(self), Batch(other));
  shape.push_back(other.size(-2));
  shape.push_back(other.size(-1));
  return at::empty(shape, other.options());
}

// As with the driver "gels", which computes neither ranks nor singular values.
std::tuple<Tensor, Tensor, Tensor, Tensor> LeastSquares(
    const Tensor& self, const Tensor& other, std::optional<double> /*rcond*/,
    std::optional<std::string_view> /*driver*/) {
  TORCH_CHECK(self.dim() >= 2, "torch.linalg.lstsq: input must have at least 2 dimensions.");
  TORCH_CHECK(other.dim() >= 1, "torch.linalg.lstsq: other must have at least 1 dimension.");
  const int64_t fewer = self.dim() - other.dim();
  TORCH_CHECK(fewer == 0 || fewer == 1,
              "torch.linalg.lstsq: input.dim() must be greater or equal to other.dim() and "
              "(input.dim() - other.dim()) <= 1");
  const int64_t rows = self.size(-2);
  const int64_t columns = self.size(-1);
  const bool vectors = fewer == 1;
  TORCH_CHECK(rows == other.size(vectors ? -1 : -2),
              "torch.linalg.lstsq: input.size(-2) should match other.size(", vectors ? -1 : -2,
              ")");
  at::DimVector solution =
      at::infer_size_dimvector(Batch(self), Batch(other, /*of_each=*/vectors ? 1 : 2));
  at::DimVector residuals = solution;
  solution.push_back(columns);
  if (!vectors) solution.push_back(other.size(-1));
  residuals.push_back(vectors ? 1 : other.size(-1));
  if (rows <= columns) residuals = {0};
  return {at::empty(solution, self.options()), at::empty(residuals, self.options()),
          at::empty({0}, self.options().dtype(at::kLong)), at::empty({0}, self.options())};
}

Tensor Pdist(const Tensor& self, double /*p*/) {
  const int64_t n = self.size(0);
  return at::empty({n <= 1 ? 0 : n * (n - 1) / 2}, self.options());
}

// Transforms. What calls these has checked dimensions and dtypes.

Tensor RealToComplex(const Tensor& self, at::IntArrayRef dim, int64_t /*normalization*/,
                     bool onesided) {
  at::DimVector shape(self.sizes());
  if (onesided) shape[dim.back()] = shape[dim.back()] / 2 + 1;
  return at::empty(shape, self.options().dtype(c10::toComplexType(self.scalar_type())));
}

Tensor ComplexToComplex(const Tensor& self, at::IntArrayRef /*dim*/, int64_t /*normalization*/,
                        bool /*forward*/) {
  return at::empty(self.sizes(), self.options());
}

Tensor ComplexToReal(const Tensor& self, at::IntArrayRef dim, int64_t /*normalization*/,
                     int64_t last_dim_size) {
  at::DimVector shape(self.sizes());
  shape[dim.back()] = last_dim_size;
  return at::empty(shape, self.options().dtype(c10::toRealValueType(self.scalar_type())));
}

Tensor Angle(const Tensor& self) {
  if (!self.is_complex()) return at::sin(self);
  return at::empty_like(self, self.options().dtype(c10::toRealValueType(self.scalar_type())));
}

Tensor& ConjOut(const Tensor& self, Tensor& out) { return at::neg_out(out, self); }

Tensor& TwoPartsOut(const Tensor& first, const Tensor& second, Tensor& out) {
  out.resize_(at::infer_size_dimvector(first.sizes(), second.sizes()));
  return out;
}

/// What calls it has checked the arguments, as for every device that torch has no kernels for.
Tensor Convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& /*bias*/,
                   at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                   bool transposed, at::IntArrayRef output_padding, int64_t groups) {
  at::DimVector shape = {input.size(0), transposed ? weight.size(1) * groups : weight.size(0)};
  for (size_t i = 0; i < stride.size(); ++i) {
    const auto dim = static_cast<int64_t>(i) + 2;
    const int64_t kernel = dilation[i] * (weight.size(dim) - 1) + 1;
    shape.push_back(transposed ? (input.size(dim) - 1) * stride[i] - 2 * padding[i] + kernel +
                                     output_padding[i]
                               : (input.size(dim) + 2 * padding[i] - kernel) / stride[i] + 1);
  }
  return at::empty(shape, input.options());
}

Tensor AdaptiveAvgPool2d(const Tensor& self, at::IntArrayRef output_size) {
  TORCH_CHECK(output_size.size() == 2, "adaptive_avg_pool2d: output_size must be 2");
  TORCH_CHECK(output_size[0] >= 0 && output_size[1] >= 0,
              "adaptive_avg_pool2d: elements of output_size must be greater than or equal to 0");
  TORCH_CHECK(self.dim() == 3 || self.dim() == 4,
              "adaptive_avg_pool2d(): Expected 3D or 4D tensor, but got ", self.sizes());
  for (const int64_t dim : {-2, -1}) {
    TORCH_CHECK(self.size(dim) > 0,
                "adaptive_avg_pool2d(): Expected input to have non-zero size for non-batch "
                "dimensions, but input has sizes ",
                self.sizes());
  }
  at::DimVector shape(Batch(self));
  shape.append(output_size.begin(), output_size.end());
  return at::empty(shape, self.options());
}

Tensor ReflectionPad2d(const Tensor& self, at::IntArrayRef padding) {
  // The same along one dimension, twice: rows as a batch of lines.
  TORCH_CHECK(self.dim() == 3 || self.dim() == 4, "expected a tensor of 3 or 4 dimensions, not of ",
              self.dim());
  for (int64_t dim = 1; dim < self.dim(); ++dim) {
    TORCH_CHECK(self.size(dim) > 0, "Expected non-zero sizes, but got ", self.sizes());
  }
  at::DimVector shape(self.sizes());
  for (int i = 0; i < 2; ++i) {
    int64_t& size = shape[self.dim() - 1 - i];
    TORCH_CHECK(padding[2 * i] < size && padding[2 * i + 1] < size,
                "Padding size should be less than the corresponding input dimension, but got ",
                padding, " for ", self.sizes());
    size += padding[2 * i] + padding[2 * i + 1];
    TORCH_CHECK(size >= 1, "input ", self.sizes(), " is too small for padding ", padding);
  }
  return at::empty(shape, self.options());
}

}  // namespace

void RegisterMatrixKernels(Registrar& registrar) {
  registrar.Add("trace", "", &Trace);
  registrar.Add("addbmm", "", &Addbmm);
  registrar.Add("linalg_eig", "", &Eig);
  registrar.Add("_linalg_eigvals", "", &Eigvals);
  registrar.Add("linalg_solve_triangular", "", &SolveTriangular);
  registrar.Add("linalg_lstsq", "", &LeastSquares);
  registrar.Add("_pdist_forward", "", &Pdist);
  registrar.Add("_fft_r2c", "", &RealToComplex);
  registrar.Add("_fft_c2c", "", &ComplexToComplex);
  registrar.Add("_fft_c2r", "", &ComplexToReal);
  registrar.Add("angle", "", &Angle);
  registrar.Add("conj_physical", "out", &ConjOut);
  registrar.Add("complex", "out", &TwoPartsOut);
  registrar.Add("polar", "out", &TwoPartsOut);
  registrar.Add("convolution_overrideable", "", &Convolution);
  registrar.Add("_adaptive_avg_pool2d", "", &AdaptiveAvgPool2d);
  registrar.Add("reflection_pad2d", "", &ReflectionPad2d);
}

}  // namespace weft::plan
