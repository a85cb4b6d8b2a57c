#include "weft/operators.h"

#include "client/src/operator_call.h"

// Made by client/make_operators.py from the server's table (docs/operators.md). Do not edit.
// clang-format off

namespace weft {

using namespace internal;

Var Var::abs(Location where) const {
  return Call("aten::abs", {*this}, {}, where);
}

Var abs(const Operand& self) {
  return Call("aten::abs", {AsVar(self)}, {}, self.where());
}

Var Var::abs_(Location where) const {
  return Call("aten::abs_", {*this}, {}, where);
}

Var Var::absolute(Location where) const {
  return Call("aten::absolute", {*this}, {}, where);
}

Var absolute(const Operand& self) {
  return Call("aten::absolute", {AsVar(self)}, {}, self.where());
}

Var Var::acos(Location where) const {
  return Call("aten::acos", {*this}, {}, where);
}

Var acos(const Operand& self) {
  return Call("aten::acos", {AsVar(self)}, {}, self.where());
}

Var Var::acos_(Location where) const {
  return Call("aten::acos_", {*this}, {}, where);
}

Var Var::acosh(Location where) const {
  return Call("aten::acosh", {*this}, {}, where);
}

Var acosh(const Operand& self) {
  return Call("aten::acosh", {AsVar(self)}, {}, self.where());
}

Var Var::acosh_(Location where) const {
  return Call("aten::acosh_", {*this}, {}, where);
}

Var adaptive_avg_pool1d(const Operand& self, const Dims& output_size) {
  return Call("aten::adaptive_avg_pool1d", {AsVar(self), output_size.values()}, {}, self.where());
}

Var adaptive_avg_pool2d(const Operand& self, const Dims& output_size) {
  return Call("aten::adaptive_avg_pool2d", {AsVar(self), output_size.values()}, {}, self.where());
}

std::pair<Var, Var> adaptive_max_pool1d(const Operand& self, const Dims& output_size) {
  return Items<2>(Call("aten::adaptive_max_pool1d", {AsVar(self), output_size.values()}, {}, self.where()), self.where());
}

std::pair<Var, Var> adaptive_max_pool2d(const Operand& self, const Dims& output_size) {
  return Items<2>(Call("aten::adaptive_max_pool2d", {AsVar(self), output_size.values()}, {}, self.where()), self.where());
}

Var Var::add(const Operand& other, Number alpha) const {
  return Call("aten::add", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var add(const Operand& self, const Operand& other, Number alpha) {
  return Call("aten::add", {AsVar(self), other.arg()}, {Unless("alpha", alpha, 1)}, self.where());
}

Var Var::add_(const Operand& other, Number alpha) const {
  return Call("aten::add_", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var Var::addbmm(const Operand& batch1, const Operand& batch2, Number beta, Number alpha) const {
  return Call("aten::addbmm", {*this, AsVar(batch1), AsVar(batch2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, batch1.where());
}

Var addbmm(const Operand& self, const Operand& batch1, const Operand& batch2, Number beta, Number alpha) {
  return Call("aten::addbmm", {AsVar(self), AsVar(batch1), AsVar(batch2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, self.where());
}

Var Var::addcdiv(const Operand& tensor1, const Operand& tensor2, Number value) const {
  return Call("aten::addcdiv", {*this, AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, tensor1.where());
}

Var addcdiv(const Operand& self, const Operand& tensor1, const Operand& tensor2, Number value) {
  return Call("aten::addcdiv", {AsVar(self), AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, self.where());
}

Var Var::addcdiv_(const Operand& tensor1, const Operand& tensor2, Number value) const {
  return Call("aten::addcdiv_", {*this, AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, tensor1.where());
}

Var Var::addcmul(const Operand& tensor1, const Operand& tensor2, Number value) const {
  return Call("aten::addcmul", {*this, AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, tensor1.where());
}

Var addcmul(const Operand& self, const Operand& tensor1, const Operand& tensor2, Number value) {
  return Call("aten::addcmul", {AsVar(self), AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, self.where());
}

Var Var::addcmul_(const Operand& tensor1, const Operand& tensor2, Number value) const {
  return Call("aten::addcmul_", {*this, AsVar(tensor1), AsVar(tensor2)}, {Unless("value", value, 1)}, tensor1.where());
}

Var Var::addmm(const Operand& mat1, const Operand& mat2, Number beta, Number alpha) const {
  return Call("aten::addmm", {*this, AsVar(mat1), AsVar(mat2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, mat1.where());
}

Var addmm(const Operand& self, const Operand& mat1, const Operand& mat2, Number beta, Number alpha) {
  return Call("aten::addmm", {AsVar(self), AsVar(mat1), AsVar(mat2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, self.where());
}

Var Var::addmm_(const Operand& mat1, const Operand& mat2, Number beta, Number alpha) const {
  return Call("aten::addmm_", {*this, AsVar(mat1), AsVar(mat2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, mat1.where());
}

Var Var::addmv(const Operand& mat, const Operand& vec, Number beta, Number alpha) const {
  return Call("aten::addmv", {*this, AsVar(mat), AsVar(vec)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, mat.where());
}

Var addmv(const Operand& self, const Operand& mat, const Operand& vec, Number beta, Number alpha) {
  return Call("aten::addmv", {AsVar(self), AsVar(mat), AsVar(vec)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, self.where());
}

Var Var::addmv_(const Operand& mat, const Operand& vec, Number beta, Number alpha) const {
  return Call("aten::addmv_", {*this, AsVar(mat), AsVar(vec)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, mat.where());
}

Var Var::addr(const Operand& vec1, const Operand& vec2, Number beta, Number alpha) const {
  return Call("aten::addr", {*this, AsVar(vec1), AsVar(vec2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, vec1.where());
}

Var addr(const Operand& self, const Operand& vec1, const Operand& vec2, Number beta, Number alpha) {
  return Call("aten::addr", {AsVar(self), AsVar(vec1), AsVar(vec2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, self.where());
}

Var Var::alias(Location where) const {
  return Call("aten::alias", {*this}, {}, where);
}

Var alias(const Operand& self) {
  return Call("aten::alias", {AsVar(self)}, {}, self.where());
}

Var Var::all(Location where) const {
  return Call("aten::all", {*this}, {}, where);
}

Var all(const Operand& self) {
  return Call("aten::all", {AsVar(self)}, {}, self.where());
}

Var Var::all(int64_t dim, bool keepdim, Location where) const {
  return Call("aten::all", {*this, dim}, {Unless("keepdim", keepdim, false)}, where);
}

Var all(const Operand& self, int64_t dim, bool keepdim) {
  return Call("aten::all", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::all(const OptionalDims& dim, bool keepdim, Location where) const {
  return Call("aten::all", {*this, ToArg(dim)}, {Unless("keepdim", keepdim, false)}, where);
}

Var all(const Operand& self, const OptionalDims& dim, bool keepdim) {
  return Call("aten::all", {AsVar(self), ToArg(dim)}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::amax(const Dims& dim, bool keepdim, Location where) const {
  return Call("aten::amax", {*this}, {Unless("dim", dim, std::vector<int64_t>{}), Unless("keepdim", keepdim, false)}, where);
}

Var amax(const Operand& self, const Dims& dim, bool keepdim) {
  return Call("aten::amax", {AsVar(self)}, {Unless("dim", dim, std::vector<int64_t>{}), Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::amin(const Dims& dim, bool keepdim, Location where) const {
  return Call("aten::amin", {*this}, {Unless("dim", dim, std::vector<int64_t>{}), Unless("keepdim", keepdim, false)}, where);
}

Var amin(const Operand& self, const Dims& dim, bool keepdim) {
  return Call("aten::amin", {AsVar(self)}, {Unless("dim", dim, std::vector<int64_t>{}), Unless("keepdim", keepdim, false)}, self.where());
}

std::pair<Var, Var> Var::aminmax(std::optional<int64_t> dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::aminmax", {*this}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> aminmax(const Operand& self, std::optional<int64_t> dim, bool keepdim) {
  return Items<2>(Call("aten::aminmax", {AsVar(self)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::angle(Location where) const {
  return Call("aten::angle", {*this}, {}, where);
}

Var angle(const Operand& self) {
  return Call("aten::angle", {AsVar(self)}, {}, self.where());
}

Var Var::any(Location where) const {
  return Call("aten::any", {*this}, {}, where);
}

Var any(const Operand& self) {
  return Call("aten::any", {AsVar(self)}, {}, self.where());
}

Var Var::any(int64_t dim, bool keepdim, Location where) const {
  return Call("aten::any", {*this, dim}, {Unless("keepdim", keepdim, false)}, where);
}

Var any(const Operand& self, int64_t dim, bool keepdim) {
  return Call("aten::any", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::any(const OptionalDims& dim, bool keepdim, Location where) const {
  return Call("aten::any", {*this, ToArg(dim)}, {Unless("keepdim", keepdim, false)}, where);
}

Var any(const Operand& self, const OptionalDims& dim, bool keepdim) {
  return Call("aten::any", {AsVar(self), ToArg(dim)}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var arange(const Operand& end, std::optional<DType> dtype) {
  return Call("aten::arange", {end.arg()}, {Maybe("dtype", dtype)}, end.where());
}

Var arange(const Operand& start, const Operand& end, std::optional<DType> dtype) {
  return Call("aten::arange", {start.arg(), end.arg()}, {Maybe("dtype", dtype)}, start.where());
}

Var arange(const Operand& start, const Operand& end, Number step, std::optional<DType> dtype) {
  return Call("aten::arange", {start.arg(), end.arg()}, {Unless("step", step, 1), Maybe("dtype", dtype)}, start.where());
}

Var Var::arccos(Location where) const {
  return Call("aten::arccos", {*this}, {}, where);
}

Var arccos(const Operand& self) {
  return Call("aten::arccos", {AsVar(self)}, {}, self.where());
}

Var Var::arcsin(Location where) const {
  return Call("aten::arcsin", {*this}, {}, where);
}

Var arcsin(const Operand& self) {
  return Call("aten::arcsin", {AsVar(self)}, {}, self.where());
}

Var Var::arctan(Location where) const {
  return Call("aten::arctan", {*this}, {}, where);
}

Var arctan(const Operand& self) {
  return Call("aten::arctan", {AsVar(self)}, {}, self.where());
}

Var Var::arctan2(const Operand& other) const {
  return Call("aten::arctan2", {*this, AsVar(other)}, {}, other.where());
}

Var arctan2(const Operand& self, const Operand& other) {
  return Call("aten::arctan2", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::argmax(std::optional<int64_t> dim, bool keepdim, Location where) const {
  return Call("aten::argmax", {*this}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, where);
}

Var argmax(const Operand& self, std::optional<int64_t> dim, bool keepdim) {
  return Call("aten::argmax", {AsVar(self)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::argmin(std::optional<int64_t> dim, bool keepdim, Location where) const {
  return Call("aten::argmin", {*this}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, where);
}

Var argmin(const Operand& self, std::optional<int64_t> dim, bool keepdim) {
  return Call("aten::argmin", {AsVar(self)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::argsort(int64_t dim, bool descending, Location where) const {
  return Call("aten::argsort", {*this}, {Unless("dim", dim, -1), Unless("descending", descending, false)}, where);
}

Var argsort(const Operand& self, int64_t dim, bool descending) {
  return Call("aten::argsort", {AsVar(self)}, {Unless("dim", dim, -1), Unless("descending", descending, false)}, self.where());
}

Var Var::asin(Location where) const {
  return Call("aten::asin", {*this}, {}, where);
}

Var asin(const Operand& self) {
  return Call("aten::asin", {AsVar(self)}, {}, self.where());
}

Var Var::asin_(Location where) const {
  return Call("aten::asin_", {*this}, {}, where);
}

Var Var::asinh(Location where) const {
  return Call("aten::asinh", {*this}, {}, where);
}

Var asinh(const Operand& self) {
  return Call("aten::asinh", {AsVar(self)}, {}, self.where());
}

Var Var::asinh_(Location where) const {
  return Call("aten::asinh_", {*this}, {}, where);
}

Var Var::atan(Location where) const {
  return Call("aten::atan", {*this}, {}, where);
}

Var atan(const Operand& self) {
  return Call("aten::atan", {AsVar(self)}, {}, self.where());
}

Var Var::atan2(const Operand& other) const {
  return Call("aten::atan2", {*this, AsVar(other)}, {}, other.where());
}

Var atan2(const Operand& self, const Operand& other) {
  return Call("aten::atan2", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::atan2_(const Operand& other) const {
  return Call("aten::atan2_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::atan_(Location where) const {
  return Call("aten::atan_", {*this}, {}, where);
}

Var Var::atanh(Location where) const {
  return Call("aten::atanh", {*this}, {}, where);
}

Var atanh(const Operand& self) {
  return Call("aten::atanh", {AsVar(self)}, {}, self.where());
}

Var Var::atanh_(Location where) const {
  return Call("aten::atanh_", {*this}, {}, where);
}

Var Var::atleast_1d(Location where) const {
  return Call("aten::atleast_1d", {*this}, {}, where);
}

Var atleast_1d(const Operand& self) {
  return Call("aten::atleast_1d", {AsVar(self)}, {}, self.where());
}

Var Var::atleast_2d(Location where) const {
  return Call("aten::atleast_2d", {*this}, {}, where);
}

Var atleast_2d(const Operand& self) {
  return Call("aten::atleast_2d", {AsVar(self)}, {}, self.where());
}

Var Var::atleast_3d(Location where) const {
  return Call("aten::atleast_3d", {*this}, {}, where);
}

Var atleast_3d(const Operand& self) {
  return Call("aten::atleast_3d", {AsVar(self)}, {}, self.where());
}

Var avg_pool1d(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, bool ceil_mode, bool count_include_pad) {
  return Call("aten::avg_pool1d", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("ceil_mode", ceil_mode, false), Unless("count_include_pad", count_include_pad, true)}, self.where());
}

Var avg_pool2d(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
  return Call("aten::avg_pool2d", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("ceil_mode", ceil_mode, false), Unless("count_include_pad", count_include_pad, true), Maybe("divisor_override", divisor_override)}, self.where());
}

Var Var::baddbmm(const Operand& batch1, const Operand& batch2, Number beta, Number alpha) const {
  return Call("aten::baddbmm", {*this, AsVar(batch1), AsVar(batch2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, batch1.where());
}

Var baddbmm(const Operand& self, const Operand& batch1, const Operand& batch2, Number beta, Number alpha) {
  return Call("aten::baddbmm", {AsVar(self), AsVar(batch1), AsVar(batch2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, self.where());
}

Var Var::baddbmm_(const Operand& batch1, const Operand& batch2, Number beta, Number alpha) const {
  return Call("aten::baddbmm_", {*this, AsVar(batch1), AsVar(batch2)}, {Unless("beta", beta, 1), Unless("alpha", alpha, 1)}, batch1.where());
}

Var Var::bernoulli(Location where) const {
  return Call("aten::bernoulli", {*this}, {}, where);
}

Var bernoulli(const Operand& self) {
  return Call("aten::bernoulli", {AsVar(self)}, {}, self.where());
}

Var Var::bernoulli(double p, Location where) const {
  return Call("aten::bernoulli", {*this, p}, {}, where);
}

Var bernoulli(const Operand& self, double p) {
  return Call("aten::bernoulli", {AsVar(self), p}, {}, self.where());
}

Var Var::bernoulli(const Operand& p) const {
  return Call("aten::bernoulli", {*this, AsVar(p)}, {}, p.where());
}

Var bernoulli(const Operand& self, const Operand& p) {
  return Call("aten::bernoulli", {AsVar(self), AsVar(p)}, {}, self.where());
}

Var Var::bernoulli_(double p, Location where) const {
  return Call("aten::bernoulli_", {*this}, {Unless("p", p, 0.5)}, where);
}

Var Var::bernoulli_(const Operand& p) const {
  return Call("aten::bernoulli_", {*this, AsVar(p)}, {}, p.where());
}

Var binary_cross_entropy(const Operand& self, const Operand& target, const Arg& weight, int64_t reduction) {
  return Call("aten::binary_cross_entropy", {AsVar(self), AsVar(target)}, {Maybe("weight", weight), Unless("reduction", reduction, 1)}, self.where());
}

Var Var::binary_cross_entropy_with_logits(const Operand& target, const Arg& weight, const Arg& pos_weight, int64_t reduction) const {
  return Call("aten::binary_cross_entropy_with_logits", {*this, AsVar(target)}, {Maybe("weight", weight), Maybe("pos_weight", pos_weight), Unless("reduction", reduction, 1)}, target.where());
}

Var binary_cross_entropy_with_logits(const Operand& self, const Operand& target, const Arg& weight, const Arg& pos_weight, int64_t reduction) {
  return Call("aten::binary_cross_entropy_with_logits", {AsVar(self), AsVar(target)}, {Maybe("weight", weight), Maybe("pos_weight", pos_weight), Unless("reduction", reduction, 1)}, self.where());
}

Var Var::bitwise_and(const Operand& other) const {
  return Call("aten::bitwise_and", {*this, other.arg()}, {}, other.where());
}

Var bitwise_and(const Operand& self, const Operand& other) {
  return Call("aten::bitwise_and", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::bitwise_and_(const Operand& other) const {
  return Call("aten::bitwise_and_", {*this, other.arg()}, {}, other.where());
}

Var Var::bitwise_left_shift(const Operand& other) const {
  return Call("aten::bitwise_left_shift", {*this, other.arg()}, {}, other.where());
}

Var bitwise_left_shift(const Operand& self, const Operand& other) {
  return Call("aten::bitwise_left_shift", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::bitwise_not(Location where) const {
  return Call("aten::bitwise_not", {*this}, {}, where);
}

Var bitwise_not(const Operand& self) {
  return Call("aten::bitwise_not", {AsVar(self)}, {}, self.where());
}

Var Var::bitwise_not_(Location where) const {
  return Call("aten::bitwise_not_", {*this}, {}, where);
}

Var Var::bitwise_or(const Operand& other) const {
  return Call("aten::bitwise_or", {*this, other.arg()}, {}, other.where());
}

Var bitwise_or(const Operand& self, const Operand& other) {
  return Call("aten::bitwise_or", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::bitwise_or_(const Operand& other) const {
  return Call("aten::bitwise_or_", {*this, other.arg()}, {}, other.where());
}

Var Var::bitwise_right_shift(const Operand& other) const {
  return Call("aten::bitwise_right_shift", {*this, other.arg()}, {}, other.where());
}

Var bitwise_right_shift(const Operand& self, const Operand& other) {
  return Call("aten::bitwise_right_shift", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::bitwise_xor(const Operand& other) const {
  return Call("aten::bitwise_xor", {*this, other.arg()}, {}, other.where());
}

Var bitwise_xor(const Operand& self, const Operand& other) {
  return Call("aten::bitwise_xor", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::bitwise_xor_(const Operand& other) const {
  return Call("aten::bitwise_xor_", {*this, other.arg()}, {}, other.where());
}

Var block_diag(const std::vector<Var>& tensors, Location where) {
  return Call("aten::block_diag", {tensors}, {}, where);
}

Var Var::bmm(const Operand& mat2) const {
  return Call("aten::bmm", {*this, AsVar(mat2)}, {}, mat2.where());
}

Var bmm(const Operand& self, const Operand& mat2) {
  return Call("aten::bmm", {AsVar(self), AsVar(mat2)}, {}, self.where());
}

Var Var::broadcast_to(const Dims& size, Location where) const {
  return Call("aten::broadcast_to", {*this, size.values()}, {}, where);
}

Var broadcast_to(const Operand& self, const Dims& size) {
  return Call("aten::broadcast_to", {AsVar(self), size.values()}, {}, self.where());
}

Var bucketize(const Operand& self, const Operand& boundaries, bool out_int32, bool right) {
  return Call("aten::bucketize", {self.arg(), AsVar(boundaries)}, {Unless("out_int32", out_int32, false), Unless("right", right, false)}, self.where());
}

Var cartesian_prod(const std::vector<Var>& tensors, Location where) {
  return Call("aten::cartesian_prod", {tensors}, {}, where);
}

Var cat(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return Call("aten::cat", {tensors}, {Unless("dim", dim, 0)}, where);
}

Var cdist(const Operand& x1, const Operand& x2, double p, std::optional<int64_t> compute_mode) {
  return Call("aten::cdist", {AsVar(x1), AsVar(x2)}, {Unless("p", p, 2.0), Maybe("compute_mode", compute_mode)}, x1.where());
}

Var Var::ceil(Location where) const {
  return Call("aten::ceil", {*this}, {}, where);
}

Var ceil(const Operand& self) {
  return Call("aten::ceil", {AsVar(self)}, {}, self.where());
}

Var Var::ceil_(Location where) const {
  return Call("aten::ceil_", {*this}, {}, where);
}

Var Var::celu(Number alpha, Location where) const {
  return Call("aten::celu", {*this}, {Unless("alpha", alpha, 1)}, where);
}

Var celu(const Operand& self, Number alpha) {
  return Call("aten::celu", {AsVar(self)}, {Unless("alpha", alpha, 1)}, self.where());
}

Var Var::celu_(Number alpha, Location where) const {
  return Call("aten::celu_", {*this}, {Unless("alpha", alpha, 1)}, where);
}

Var Var::chunk(int64_t chunks, int64_t dim, Location where) const {
  return Call("aten::chunk", {*this, chunks}, {Unless("dim", dim, 0)}, where);
}

Var chunk(const Operand& self, int64_t chunks, int64_t dim) {
  return Call("aten::chunk", {AsVar(self), chunks}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::clamp(const Arg& min, const Arg& max, Location where) const {
  return Call("aten::clamp", {*this}, {Maybe("min", min), Maybe("max", max)}, where);
}

Var clamp(const Operand& self, const Arg& min, const Arg& max) {
  return Call("aten::clamp", {AsVar(self)}, {Maybe("min", min), Maybe("max", max)}, self.where());
}

Var Var::clamp_(const Arg& min, const Arg& max, Location where) const {
  return Call("aten::clamp_", {*this}, {Maybe("min", min), Maybe("max", max)}, where);
}

Var Var::clamp_max(const Operand& max) const {
  return Call("aten::clamp_max", {*this, max.arg()}, {}, max.where());
}

Var clamp_max(const Operand& self, const Operand& max) {
  return Call("aten::clamp_max", {AsVar(self), max.arg()}, {}, self.where());
}

Var Var::clamp_max_(const Operand& max) const {
  return Call("aten::clamp_max_", {*this, max.arg()}, {}, max.where());
}

Var Var::clamp_min(const Operand& min) const {
  return Call("aten::clamp_min", {*this, min.arg()}, {}, min.where());
}

Var clamp_min(const Operand& self, const Operand& min) {
  return Call("aten::clamp_min", {AsVar(self), min.arg()}, {}, self.where());
}

Var Var::clamp_min_(const Operand& min) const {
  return Call("aten::clamp_min_", {*this, min.arg()}, {}, min.where());
}

Var Var::clip(const Arg& min, const Arg& max, Location where) const {
  return Call("aten::clip", {*this}, {Maybe("min", min), Maybe("max", max)}, where);
}

Var clip(const Operand& self, const Arg& min, const Arg& max) {
  return Call("aten::clip", {AsVar(self)}, {Maybe("min", min), Maybe("max", max)}, self.where());
}

Var Var::clip_(const Arg& min, const Arg& max, Location where) const {
  return Call("aten::clip_", {*this}, {Maybe("min", min), Maybe("max", max)}, where);
}

Var Var::clone(Location where) const {
  return Call("aten::clone", {*this}, {}, where);
}

Var clone(const Operand& self) {
  return Call("aten::clone", {AsVar(self)}, {}, self.where());
}

Var column_stack(const std::vector<Var>& tensors, Location where) {
  return Call("aten::column_stack", {tensors}, {}, where);
}

Var complex(const Operand& real, const Operand& imag) {
  return Call("aten::complex", {AsVar(real), AsVar(imag)}, {}, real.where());
}

Var concat(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return Call("aten::concat", {tensors}, {Unless("dim", dim, 0)}, where);
}

Var concatenate(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return Call("aten::concatenate", {tensors}, {Unless("dim", dim, 0)}, where);
}

Var Var::conj_physical(Location where) const {
  return Call("aten::conj_physical", {*this}, {}, where);
}

Var conj_physical(const Operand& self) {
  return Call("aten::conj_physical", {AsVar(self)}, {}, self.where());
}

Var Var::constant_pad_nd(const Dims& pad, Number value, Location where) const {
  return Call("aten::constant_pad_nd", {*this, pad.values()}, {Unless("value", value, 0)}, where);
}

Var constant_pad_nd(const Operand& self, const Dims& pad, Number value) {
  return Call("aten::constant_pad_nd", {AsVar(self), pad.values()}, {Unless("value", value, 0)}, self.where());
}

Var Var::contiguous(Location where) const {
  return Call("aten::contiguous", {*this}, {}, where);
}

Var contiguous(const Operand& self) {
  return Call("aten::contiguous", {AsVar(self)}, {}, self.where());
}

Var conv1d(const Operand& input, const Operand& weight, const Arg& bias, const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups) {
  return Call("aten::conv1d", {AsVar(input), AsVar(weight)}, {Maybe("bias", bias), Unless("stride", stride, std::vector<int64_t>{1}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("dilation", dilation, std::vector<int64_t>{1}), Unless("groups", groups, 1)}, input.where());
}

Var conv2d(const Operand& input, const Operand& weight, const Arg& bias, const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups) {
  return Call("aten::conv2d", {AsVar(input), AsVar(weight)}, {Maybe("bias", bias), Unless("stride", stride, std::vector<int64_t>{1, 1}), Unless("padding", padding, std::vector<int64_t>{0, 0}), Unless("dilation", dilation, std::vector<int64_t>{1, 1}), Unless("groups", groups, 1)}, input.where());
}

Var conv_transpose1d(const Operand& input, const Operand& weight, const Arg& bias, const Dims& stride, const Dims& padding, const Dims& output_padding, int64_t groups, const Dims& dilation) {
  return Call("aten::conv_transpose1d", {AsVar(input), AsVar(weight)}, {Maybe("bias", bias), Unless("stride", stride, std::vector<int64_t>{1}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("output_padding", output_padding, std::vector<int64_t>{0}), Unless("groups", groups, 1), Unless("dilation", dilation, std::vector<int64_t>{1})}, input.where());
}

Var conv_transpose2d(const Operand& input, const Operand& weight, const Arg& bias, const Dims& stride, const Dims& padding, const Dims& output_padding, int64_t groups, const Dims& dilation) {
  return Call("aten::conv_transpose2d", {AsVar(input), AsVar(weight)}, {Maybe("bias", bias), Unless("stride", stride, std::vector<int64_t>{1, 1}), Unless("padding", padding, std::vector<int64_t>{0, 0}), Unless("output_padding", output_padding, std::vector<int64_t>{0, 0}), Unless("groups", groups, 1), Unless("dilation", dilation, std::vector<int64_t>{1, 1})}, input.where());
}

Var Var::copy(const Operand& src) const {
  return Call("aten::copy", {*this, AsVar(src)}, {}, src.where());
}

Var copy(const Operand& self, const Operand& src) {
  return Call("aten::copy", {AsVar(self), AsVar(src)}, {}, self.where());
}

Var Var::copy_(const Operand& src) const {
  return Call("aten::copy_", {*this, AsVar(src)}, {}, src.where());
}

Var Var::copysign(const Operand& other) const {
  return Call("aten::copysign", {*this, other.arg()}, {}, other.where());
}

Var copysign(const Operand& self, const Operand& other) {
  return Call("aten::copysign", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::copysign_(const Operand& other) const {
  return Call("aten::copysign_", {*this, other.arg()}, {}, other.where());
}

Var Var::corrcoef(Location where) const {
  return Call("aten::corrcoef", {*this}, {}, where);
}

Var corrcoef(const Operand& self) {
  return Call("aten::corrcoef", {AsVar(self)}, {}, self.where());
}

Var Var::cos(Location where) const {
  return Call("aten::cos", {*this}, {}, where);
}

Var cos(const Operand& self) {
  return Call("aten::cos", {AsVar(self)}, {}, self.where());
}

Var Var::cos_(Location where) const {
  return Call("aten::cos_", {*this}, {}, where);
}

Var Var::cosh(Location where) const {
  return Call("aten::cosh", {*this}, {}, where);
}

Var cosh(const Operand& self) {
  return Call("aten::cosh", {AsVar(self)}, {}, self.where());
}

Var Var::cosh_(Location where) const {
  return Call("aten::cosh_", {*this}, {}, where);
}

Var cosine_embedding_loss(const Operand& input1, const Operand& input2, const Operand& target, double margin, int64_t reduction) {
  return Call("aten::cosine_embedding_loss", {AsVar(input1), AsVar(input2), AsVar(target)}, {Unless("margin", margin, 0.0), Unless("reduction", reduction, 1)}, input1.where());
}

Var cosine_similarity(const Operand& x1, const Operand& x2, int64_t dim, double eps) {
  return Call("aten::cosine_similarity", {AsVar(x1), AsVar(x2)}, {Unless("dim", dim, 1), Unless("eps", eps, 1e-08)}, x1.where());
}

Var Var::count_nonzero(const OptionalDims& dim, Location where) const {
  return Call("aten::count_nonzero", {*this}, {Maybe("dim", dim)}, where);
}

Var count_nonzero(const Operand& self, const OptionalDims& dim) {
  return Call("aten::count_nonzero", {AsVar(self)}, {Maybe("dim", dim)}, self.where());
}

Var Var::cov(int64_t correction, Location where) const {
  return Call("aten::cov", {*this}, {Unless("correction", correction, 1)}, where);
}

Var cov(const Operand& self, int64_t correction) {
  return Call("aten::cov", {AsVar(self)}, {Unless("correction", correction, 1)}, self.where());
}

Var cross_entropy_loss(const Operand& self, const Operand& target, const Arg& weight, int64_t reduction, int64_t ignore_index, double label_smoothing) {
  return Call("aten::cross_entropy_loss", {AsVar(self), AsVar(target)}, {Maybe("weight", weight), Unless("reduction", reduction, 1), Unless("ignore_index", ignore_index, -100), Unless("label_smoothing", label_smoothing, 0.0)}, self.where());
}

std::pair<Var, Var> Var::cummax(int64_t dim, Location where) const {
  return Items<2>(Call("aten::cummax", {*this, dim}, {}, where), where);
}

std::pair<Var, Var> cummax(const Operand& self, int64_t dim) {
  return Items<2>(Call("aten::cummax", {AsVar(self), dim}, {}, self.where()), self.where());
}

std::pair<Var, Var> Var::cummin(int64_t dim, Location where) const {
  return Items<2>(Call("aten::cummin", {*this, dim}, {}, where), where);
}

std::pair<Var, Var> cummin(const Operand& self, int64_t dim) {
  return Items<2>(Call("aten::cummin", {AsVar(self), dim}, {}, self.where()), self.where());
}

Var Var::cumprod(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::cumprod", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var cumprod(const Operand& self, int64_t dim, std::optional<DType> dtype) {
  return Call("aten::cumprod", {AsVar(self), dim}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::cumprod_(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::cumprod_", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var Var::cumsum(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::cumsum", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var cumsum(const Operand& self, int64_t dim, std::optional<DType> dtype) {
  return Call("aten::cumsum", {AsVar(self), dim}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::cumsum_(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::cumsum_", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var cumulative_trapezoid(const Operand& y, Number dx, int64_t dim) {
  return Call("aten::cumulative_trapezoid", {AsVar(y)}, {Unless("dx", dx, 1), Unless("dim", dim, -1)}, y.where());
}

Var cumulative_trapezoid(const Operand& y, const Operand& x, int64_t dim) {
  return Call("aten::cumulative_trapezoid", {AsVar(y), x.arg()}, {Unless("dim", dim, -1)}, y.where());
}

Var Var::deg2rad(Location where) const {
  return Call("aten::deg2rad", {*this}, {}, where);
}

Var deg2rad(const Operand& self) {
  return Call("aten::deg2rad", {AsVar(self)}, {}, self.where());
}

Var Var::det(Location where) const {
  return Call("aten::det", {*this}, {}, where);
}

Var det(const Operand& self) {
  return Call("aten::det", {AsVar(self)}, {}, self.where());
}

Var Var::detach(Location where) const {
  return Call("aten::detach", {*this}, {}, where);
}

Var detach(const Operand& self) {
  return Call("aten::detach", {AsVar(self)}, {}, self.where());
}

Var Var::diag(int64_t diagonal, Location where) const {
  return Call("aten::diag", {*this}, {Unless("diagonal", diagonal, 0)}, where);
}

Var diag(const Operand& self, int64_t diagonal) {
  return Call("aten::diag", {AsVar(self)}, {Unless("diagonal", diagonal, 0)}, self.where());
}

Var Var::diag_embed(int64_t offset, int64_t dim1, int64_t dim2, Location where) const {
  return Call("aten::diag_embed", {*this}, {Unless("offset", offset, 0), Unless("dim1", dim1, -2), Unless("dim2", dim2, -1)}, where);
}

Var diag_embed(const Operand& self, int64_t offset, int64_t dim1, int64_t dim2) {
  return Call("aten::diag_embed", {AsVar(self)}, {Unless("offset", offset, 0), Unless("dim1", dim1, -2), Unless("dim2", dim2, -1)}, self.where());
}

Var Var::diagflat(int64_t offset, Location where) const {
  return Call("aten::diagflat", {*this}, {Unless("offset", offset, 0)}, where);
}

Var diagflat(const Operand& self, int64_t offset) {
  return Call("aten::diagflat", {AsVar(self)}, {Unless("offset", offset, 0)}, self.where());
}

Var Var::diagonal(int64_t offset, int64_t dim1, int64_t dim2, Location where) const {
  return Call("aten::diagonal", {*this}, {Unless("offset", offset, 0), Unless("dim1", dim1, 0), Unless("dim2", dim2, 1)}, where);
}

Var diagonal(const Operand& self, int64_t offset, int64_t dim1, int64_t dim2) {
  return Call("aten::diagonal", {AsVar(self)}, {Unless("offset", offset, 0), Unless("dim1", dim1, 0), Unless("dim2", dim2, 1)}, self.where());
}

Var Var::diagonal_scatter(const Operand& src, int64_t offset, int64_t dim1, int64_t dim2) const {
  return Call("aten::diagonal_scatter", {*this, AsVar(src)}, {Unless("offset", offset, 0), Unless("dim1", dim1, 0), Unless("dim2", dim2, 1)}, src.where());
}

Var diagonal_scatter(const Operand& self, const Operand& src, int64_t offset, int64_t dim1, int64_t dim2) {
  return Call("aten::diagonal_scatter", {AsVar(self), AsVar(src)}, {Unless("offset", offset, 0), Unless("dim1", dim1, 0), Unless("dim2", dim2, 1)}, self.where());
}

Var Var::diff(int64_t n, int64_t dim, const Arg& prepend, const Arg& append, Location where) const {
  return Call("aten::diff", {*this}, {Unless("n", n, 1), Unless("dim", dim, -1), Maybe("prepend", prepend), Maybe("append", append)}, where);
}

Var diff(const Operand& self, int64_t n, int64_t dim, const Arg& prepend, const Arg& append) {
  return Call("aten::diff", {AsVar(self)}, {Unless("n", n, 1), Unless("dim", dim, -1), Maybe("prepend", prepend), Maybe("append", append)}, self.where());
}

Var Var::digamma(Location where) const {
  return Call("aten::digamma", {*this}, {}, where);
}

Var digamma(const Operand& self) {
  return Call("aten::digamma", {AsVar(self)}, {}, self.where());
}

Var Var::digamma_(Location where) const {
  return Call("aten::digamma_", {*this}, {}, where);
}

Var Var::dim(Location where) const {
  return Call("aten::dim", {*this}, {}, where);
}

Var dim(const Operand& self) {
  return Call("aten::dim", {AsVar(self)}, {}, self.where());
}

Var Var::dist(const Operand& other, Number p) const {
  return Call("aten::dist", {*this, AsVar(other)}, {Unless("p", p, 2)}, other.where());
}

Var dist(const Operand& self, const Operand& other, Number p) {
  return Call("aten::dist", {AsVar(self), AsVar(other)}, {Unless("p", p, 2)}, self.where());
}

Var Var::div(const Operand& other) const {
  return Call("aten::div", {*this, other.arg()}, {}, other.where());
}

Var div(const Operand& self, const Operand& other) {
  return Call("aten::div", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::div(const Operand& other, const std::optional<std::string>& rounding_mode) const {
  return Call("aten::div", {*this, other.arg()}, {{"rounding_mode", ToArg(rounding_mode), true}}, other.where());
}

Var div(const Operand& self, const Operand& other, const std::optional<std::string>& rounding_mode) {
  return Call("aten::div", {AsVar(self), other.arg()}, {{"rounding_mode", ToArg(rounding_mode), true}}, self.where());
}

Var Var::div_(const Operand& other) const {
  return Call("aten::div_", {*this, other.arg()}, {}, other.where());
}

Var Var::div_(const Operand& other, const std::optional<std::string>& rounding_mode) const {
  return Call("aten::div_", {*this, other.arg()}, {{"rounding_mode", ToArg(rounding_mode), true}}, other.where());
}

Var Var::divide(const Operand& other) const {
  return Call("aten::divide", {*this, other.arg()}, {}, other.where());
}

Var divide(const Operand& self, const Operand& other) {
  return Call("aten::divide", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::dot(const Operand& tensor) const {
  return Call("aten::dot", {*this, AsVar(tensor)}, {}, tensor.where());
}

Var dot(const Operand& self, const Operand& tensor) {
  return Call("aten::dot", {AsVar(self), AsVar(tensor)}, {}, self.where());
}

Var Var::dsplit(int64_t sections, Location where) const {
  return Call("aten::dsplit", {*this, sections}, {}, where);
}

Var dsplit(const Operand& self, int64_t sections) {
  return Call("aten::dsplit", {AsVar(self), sections}, {}, self.where());
}

Var Var::dsplit(const Dims& indices, Location where) const {
  return Call("aten::dsplit", {*this, indices.values()}, {}, where);
}

Var dsplit(const Operand& self, const Dims& indices) {
  return Call("aten::dsplit", {AsVar(self), indices.values()}, {}, self.where());
}

Var dstack(const std::vector<Var>& tensors, Location where) {
  return Call("aten::dstack", {tensors}, {}, where);
}

Var einsum(const std::string& equation, const std::vector<Var>& tensors, const OptionalDims& path, Location where) {
  return Call("aten::einsum", {equation, tensors}, {Maybe("path", path)}, where);
}

Var Var::elu(Number alpha, Number scale, Number input_scale, Location where) const {
  return Call("aten::elu", {*this}, {Unless("alpha", alpha, 1), Unless("scale", scale, 1), Unless("input_scale", input_scale, 1)}, where);
}

Var elu(const Operand& self, Number alpha, Number scale, Number input_scale) {
  return Call("aten::elu", {AsVar(self)}, {Unless("alpha", alpha, 1), Unless("scale", scale, 1), Unless("input_scale", input_scale, 1)}, self.where());
}

Var Var::elu_(Number alpha, Number scale, Number input_scale, Location where) const {
  return Call("aten::elu_", {*this}, {Unless("alpha", alpha, 1), Unless("scale", scale, 1), Unless("input_scale", input_scale, 1)}, where);
}

Var embedding(const Operand& weight, const Operand& indices, int64_t padding_idx, bool scale_grad_by_freq, bool sparse) {
  return Call("aten::embedding", {AsVar(weight), AsVar(indices)}, {Unless("padding_idx", padding_idx, -1), Unless("scale_grad_by_freq", scale_grad_by_freq, false), Unless("sparse", sparse, false)}, weight.where());
}

Var Var::eq(const Operand& other) const {
  return Call("aten::eq", {*this, other.arg()}, {}, other.where());
}

Var eq(const Operand& self, const Operand& other) {
  return Call("aten::eq", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::eq_(const Operand& other) const {
  return Call("aten::eq_", {*this, other.arg()}, {}, other.where());
}

Var Var::erf(Location where) const {
  return Call("aten::erf", {*this}, {}, where);
}

Var erf(const Operand& self) {
  return Call("aten::erf", {AsVar(self)}, {}, self.where());
}

Var Var::erf_(Location where) const {
  return Call("aten::erf_", {*this}, {}, where);
}

Var Var::erfc(Location where) const {
  return Call("aten::erfc", {*this}, {}, where);
}

Var erfc(const Operand& self) {
  return Call("aten::erfc", {AsVar(self)}, {}, self.where());
}

Var Var::erfc_(Location where) const {
  return Call("aten::erfc_", {*this}, {}, where);
}

Var Var::erfinv(Location where) const {
  return Call("aten::erfinv", {*this}, {}, where);
}

Var erfinv(const Operand& self) {
  return Call("aten::erfinv", {AsVar(self)}, {}, self.where());
}

Var Var::erfinv_(Location where) const {
  return Call("aten::erfinv_", {*this}, {}, where);
}

Var Var::exp(Location where) const {
  return Call("aten::exp", {*this}, {}, where);
}

Var exp(const Operand& self) {
  return Call("aten::exp", {AsVar(self)}, {}, self.where());
}

Var Var::exp2(Location where) const {
  return Call("aten::exp2", {*this}, {}, where);
}

Var exp2(const Operand& self) {
  return Call("aten::exp2", {AsVar(self)}, {}, self.where());
}

Var Var::exp2_(Location where) const {
  return Call("aten::exp2_", {*this}, {}, where);
}

Var Var::exp_(Location where) const {
  return Call("aten::exp_", {*this}, {}, where);
}

Var Var::expand(const Dims& size, Location where) const {
  return Call("aten::expand", {*this, size.values()}, {}, where);
}

Var expand(const Operand& self, const Dims& size) {
  return Call("aten::expand", {AsVar(self), size.values()}, {}, self.where());
}

Var Var::expand_as(const Operand& other) const {
  return Call("aten::expand_as", {*this, AsVar(other)}, {}, other.where());
}

Var expand_as(const Operand& self, const Operand& other) {
  return Call("aten::expand_as", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::expm1(Location where) const {
  return Call("aten::expm1", {*this}, {}, where);
}

Var expm1(const Operand& self) {
  return Call("aten::expm1", {AsVar(self)}, {}, self.where());
}

Var Var::expm1_(Location where) const {
  return Call("aten::expm1_", {*this}, {}, where);
}

Var Var::exponential(double lambd, Location where) const {
  return Call("aten::exponential", {*this}, {Unless("lambd", lambd, 1.0)}, where);
}

Var exponential(const Operand& self, double lambd) {
  return Call("aten::exponential", {AsVar(self)}, {Unless("lambd", lambd, 1.0)}, self.where());
}

Var Var::exponential_(double lambd, Location where) const {
  return Call("aten::exponential_", {*this}, {Unless("lambd", lambd, 1.0)}, where);
}

Var eye(int64_t n, std::optional<DType> dtype, Location where) {
  return Call("aten::eye", {n}, {Maybe("dtype", dtype)}, where);
}

Var eye(int64_t n, int64_t m, std::optional<DType> dtype, Location where) {
  return Call("aten::eye", {n, m}, {Maybe("dtype", dtype)}, where);
}

Var fft_fft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_fft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_fft2(const Operand& self, const OptionalDims& s, const Dims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_fft2", {AsVar(self)}, {Maybe("s", s), Unless("dim", dim, std::vector<int64_t>{-2, -1}), Maybe("norm", norm)}, self.where());
}

Var fft_fftfreq(int64_t n, double d, std::optional<DType> dtype, Location where) {
  return Call("aten::fft_fftfreq", {n}, {Unless("d", d, 1.0), Maybe("dtype", dtype)}, where);
}

Var fft_fftn(const Operand& self, const OptionalDims& s, const OptionalDims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_fftn", {AsVar(self)}, {Maybe("s", s), Maybe("dim", dim), Maybe("norm", norm)}, self.where());
}

Var fft_fftshift(const Operand& self, const OptionalDims& dim) {
  return Call("aten::fft_fftshift", {AsVar(self)}, {Maybe("dim", dim)}, self.where());
}

Var fft_hfft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_hfft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_ifft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_ifft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_ifft2(const Operand& self, const OptionalDims& s, const Dims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_ifft2", {AsVar(self)}, {Maybe("s", s), Unless("dim", dim, std::vector<int64_t>{-2, -1}), Maybe("norm", norm)}, self.where());
}

Var fft_ifftn(const Operand& self, const OptionalDims& s, const OptionalDims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_ifftn", {AsVar(self)}, {Maybe("s", s), Maybe("dim", dim), Maybe("norm", norm)}, self.where());
}

Var fft_ifftshift(const Operand& self, const OptionalDims& dim) {
  return Call("aten::fft_ifftshift", {AsVar(self)}, {Maybe("dim", dim)}, self.where());
}

Var fft_ihfft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_ihfft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_irfft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_irfft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_irfft2(const Operand& self, const OptionalDims& s, const Dims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_irfft2", {AsVar(self)}, {Maybe("s", s), Unless("dim", dim, std::vector<int64_t>{-2, -1}), Maybe("norm", norm)}, self.where());
}

Var fft_irfftn(const Operand& self, const OptionalDims& s, const OptionalDims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_irfftn", {AsVar(self)}, {Maybe("s", s), Maybe("dim", dim), Maybe("norm", norm)}, self.where());
}

Var fft_rfft(const Operand& self, std::optional<int64_t> n, int64_t dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_rfft", {AsVar(self)}, {Maybe("n", n), Unless("dim", dim, -1), Maybe("norm", norm)}, self.where());
}

Var fft_rfft2(const Operand& self, const OptionalDims& s, const Dims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_rfft2", {AsVar(self)}, {Maybe("s", s), Unless("dim", dim, std::vector<int64_t>{-2, -1}), Maybe("norm", norm)}, self.where());
}

Var fft_rfftfreq(int64_t n, double d, std::optional<DType> dtype, Location where) {
  return Call("aten::fft_rfftfreq", {n}, {Unless("d", d, 1.0), Maybe("dtype", dtype)}, where);
}

Var fft_rfftn(const Operand& self, const OptionalDims& s, const OptionalDims& dim, const std::optional<std::string>& norm) {
  return Call("aten::fft_rfftn", {AsVar(self)}, {Maybe("s", s), Maybe("dim", dim), Maybe("norm", norm)}, self.where());
}

Var Var::fill(const Operand& value) const {
  return Call("aten::fill", {*this, value.arg()}, {}, value.where());
}

Var fill(const Operand& self, const Operand& value) {
  return Call("aten::fill", {AsVar(self), value.arg()}, {}, self.where());
}

Var Var::fill_(const Operand& value) const {
  return Call("aten::fill_", {*this, value.arg()}, {}, value.where());
}

Var Var::fix(Location where) const {
  return Call("aten::fix", {*this}, {}, where);
}

Var fix(const Operand& self) {
  return Call("aten::fix", {AsVar(self)}, {}, self.where());
}

Var Var::flatten(int64_t start_dim, int64_t end_dim, Location where) const {
  return Call("aten::flatten", {*this}, {Unless("start_dim", start_dim, 0), Unless("end_dim", end_dim, -1)}, where);
}

Var flatten(const Operand& self, int64_t start_dim, int64_t end_dim) {
  return Call("aten::flatten", {AsVar(self)}, {Unless("start_dim", start_dim, 0), Unless("end_dim", end_dim, -1)}, self.where());
}

Var Var::flip(const Dims& dims, Location where) const {
  return Call("aten::flip", {*this, dims.values()}, {}, where);
}

Var flip(const Operand& self, const Dims& dims) {
  return Call("aten::flip", {AsVar(self), dims.values()}, {}, self.where());
}

Var Var::fliplr(Location where) const {
  return Call("aten::fliplr", {*this}, {}, where);
}

Var fliplr(const Operand& self) {
  return Call("aten::fliplr", {AsVar(self)}, {}, self.where());
}

Var Var::flipud(Location where) const {
  return Call("aten::flipud", {*this}, {}, where);
}

Var flipud(const Operand& self) {
  return Call("aten::flipud", {AsVar(self)}, {}, self.where());
}

Var Var::float_power(const Operand& exponent) const {
  return Call("aten::float_power", {*this, exponent.arg()}, {}, exponent.where());
}

Var float_power(const Operand& self, const Operand& exponent) {
  return Call("aten::float_power", {self.arg(), exponent.arg()}, {}, self.where());
}

Var Var::floor(Location where) const {
  return Call("aten::floor", {*this}, {}, where);
}

Var floor(const Operand& self) {
  return Call("aten::floor", {AsVar(self)}, {}, self.where());
}

Var Var::floor_(Location where) const {
  return Call("aten::floor_", {*this}, {}, where);
}

Var Var::floor_divide(const Operand& other) const {
  return Call("aten::floor_divide", {*this, other.arg()}, {}, other.where());
}

Var floor_divide(const Operand& self, const Operand& other) {
  return Call("aten::floor_divide", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::floor_divide_(const Operand& other) const {
  return Call("aten::floor_divide_", {*this, other.arg()}, {}, other.where());
}

Var Var::fmax(const Operand& other) const {
  return Call("aten::fmax", {*this, AsVar(other)}, {}, other.where());
}

Var fmax(const Operand& self, const Operand& other) {
  return Call("aten::fmax", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::fmin(const Operand& other) const {
  return Call("aten::fmin", {*this, AsVar(other)}, {}, other.where());
}

Var fmin(const Operand& self, const Operand& other) {
  return Call("aten::fmin", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::fmod(const Operand& other) const {
  return Call("aten::fmod", {*this, other.arg()}, {}, other.where());
}

Var fmod(const Operand& self, const Operand& other) {
  return Call("aten::fmod", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::fmod_(const Operand& other) const {
  return Call("aten::fmod_", {*this, other.arg()}, {}, other.where());
}

Var Var::frac(Location where) const {
  return Call("aten::frac", {*this}, {}, where);
}

Var frac(const Operand& self) {
  return Call("aten::frac", {AsVar(self)}, {}, self.where());
}

Var Var::frac_(Location where) const {
  return Call("aten::frac_", {*this}, {}, where);
}

std::pair<Var, Var> Var::frexp(Location where) const {
  return Items<2>(Call("aten::frexp", {*this}, {}, where), where);
}

std::pair<Var, Var> frexp(const Operand& self) {
  return Items<2>(Call("aten::frexp", {AsVar(self)}, {}, self.where()), self.where());
}

Var full(const Dims& size, const Operand& fill_value, std::optional<DType> dtype) {
  return Call("aten::full", {size.values(), fill_value.arg()}, {Maybe("dtype", dtype)}, fill_value.where());
}

Var Var::full_like(const Operand& fill_value, std::optional<DType> dtype) const {
  return Call("aten::full_like", {*this, fill_value.arg()}, {Maybe("dtype", dtype)}, fill_value.where());
}

Var full_like(const Operand& self, const Operand& fill_value, std::optional<DType> dtype) {
  return Call("aten::full_like", {AsVar(self), fill_value.arg()}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::gather(int64_t dim, const Operand& index, bool sparse_grad) const {
  return Call("aten::gather", {*this, dim, AsVar(index)}, {Unless("sparse_grad", sparse_grad, false)}, index.where());
}

Var gather(const Operand& self, int64_t dim, const Operand& index, bool sparse_grad) {
  return Call("aten::gather", {AsVar(self), dim, AsVar(index)}, {Unless("sparse_grad", sparse_grad, false)}, self.where());
}

Var Var::ge(const Operand& other) const {
  return Call("aten::ge", {*this, other.arg()}, {}, other.where());
}

Var ge(const Operand& self, const Operand& other) {
  return Call("aten::ge", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::ge_(const Operand& other) const {
  return Call("aten::ge_", {*this, other.arg()}, {}, other.where());
}

Var Var::gelu(const std::string& approximate, Location where) const {
  return Call("aten::gelu", {*this}, {Unless("approximate", approximate, "none")}, where);
}

Var gelu(const Operand& self, const std::string& approximate) {
  return Call("aten::gelu", {AsVar(self)}, {Unless("approximate", approximate, "none")}, self.where());
}

Var Var::glu(int64_t dim, Location where) const {
  return Call("aten::glu", {*this}, {Unless("dim", dim, -1)}, where);
}

Var glu(const Operand& self, int64_t dim) {
  return Call("aten::glu", {AsVar(self)}, {Unless("dim", dim, -1)}, self.where());
}

Var Var::greater(const Operand& other) const {
  return Call("aten::greater", {*this, other.arg()}, {}, other.where());
}

Var greater(const Operand& self, const Operand& other) {
  return Call("aten::greater", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::greater_equal(const Operand& other) const {
  return Call("aten::greater_equal", {*this, other.arg()}, {}, other.where());
}

Var greater_equal(const Operand& self, const Operand& other) {
  return Call("aten::greater_equal", {AsVar(self), other.arg()}, {}, self.where());
}

Var group_norm(const Operand& input, int64_t num_groups, const Arg& weight, const Arg& bias, double eps) {
  return Call("aten::group_norm", {AsVar(input), num_groups}, {Maybe("weight", weight), Maybe("bias", bias), Unless("eps", eps, 1e-05)}, input.where());
}

Var Var::gt(const Operand& other) const {
  return Call("aten::gt", {*this, other.arg()}, {}, other.where());
}

Var gt(const Operand& self, const Operand& other) {
  return Call("aten::gt", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::gt_(const Operand& other) const {
  return Call("aten::gt_", {*this, other.arg()}, {}, other.where());
}

Var Var::hardshrink(Number lambd, Location where) const {
  return Call("aten::hardshrink", {*this}, {Unless("lambd", lambd, 0.5)}, where);
}

Var hardshrink(const Operand& self, Number lambd) {
  return Call("aten::hardshrink", {AsVar(self)}, {Unless("lambd", lambd, 0.5)}, self.where());
}

Var Var::hardsigmoid(Location where) const {
  return Call("aten::hardsigmoid", {*this}, {}, where);
}

Var hardsigmoid(const Operand& self) {
  return Call("aten::hardsigmoid", {AsVar(self)}, {}, self.where());
}

Var Var::hardsigmoid_(Location where) const {
  return Call("aten::hardsigmoid_", {*this}, {}, where);
}

Var Var::hardswish(Location where) const {
  return Call("aten::hardswish", {*this}, {}, where);
}

Var hardswish(const Operand& self) {
  return Call("aten::hardswish", {AsVar(self)}, {}, self.where());
}

Var Var::hardswish_(Location where) const {
  return Call("aten::hardswish_", {*this}, {}, where);
}

Var Var::hardtanh(Number min_val, Number max_val, Location where) const {
  return Call("aten::hardtanh", {*this}, {Unless("min_val", min_val, -1), Unless("max_val", max_val, 1)}, where);
}

Var hardtanh(const Operand& self, Number min_val, Number max_val) {
  return Call("aten::hardtanh", {AsVar(self)}, {Unless("min_val", min_val, -1), Unless("max_val", max_val, 1)}, self.where());
}

Var Var::hardtanh_(Number min_val, Number max_val, Location where) const {
  return Call("aten::hardtanh_", {*this}, {Unless("min_val", min_val, -1), Unless("max_val", max_val, 1)}, where);
}

Var Var::heaviside(const Operand& values) const {
  return Call("aten::heaviside", {*this, AsVar(values)}, {}, values.where());
}

Var heaviside(const Operand& self, const Operand& values) {
  return Call("aten::heaviside", {AsVar(self), AsVar(values)}, {}, self.where());
}

Var hinge_embedding_loss(const Operand& self, const Operand& target, double margin, int64_t reduction) {
  return Call("aten::hinge_embedding_loss", {AsVar(self), AsVar(target)}, {Unless("margin", margin, 1.0), Unless("reduction", reduction, 1)}, self.where());
}

Var Var::histc(int64_t bins, Number min, Number max, Location where) const {
  return Call("aten::histc", {*this}, {Unless("bins", bins, 100), Unless("min", min, 0), Unless("max", max, 0)}, where);
}

Var histc(const Operand& self, int64_t bins, Number min, Number max) {
  return Call("aten::histc", {AsVar(self)}, {Unless("bins", bins, 100), Unless("min", min, 0), Unless("max", max, 0)}, self.where());
}

Var Var::hsplit(int64_t sections, Location where) const {
  return Call("aten::hsplit", {*this, sections}, {}, where);
}

Var hsplit(const Operand& self, int64_t sections) {
  return Call("aten::hsplit", {AsVar(self), sections}, {}, self.where());
}

Var Var::hsplit(const Dims& indices, Location where) const {
  return Call("aten::hsplit", {*this, indices.values()}, {}, where);
}

Var hsplit(const Operand& self, const Dims& indices) {
  return Call("aten::hsplit", {AsVar(self), indices.values()}, {}, self.where());
}

Var hstack(const std::vector<Var>& tensors, Location where) {
  return Call("aten::hstack", {tensors}, {}, where);
}

Var huber_loss(const Operand& self, const Operand& target, int64_t reduction, double delta) {
  return Call("aten::huber_loss", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1), Unless("delta", delta, 1.0)}, self.where());
}

Var Var::hypot(const Operand& other) const {
  return Call("aten::hypot", {*this, AsVar(other)}, {}, other.where());
}

Var hypot(const Operand& self, const Operand& other) {
  return Call("aten::hypot", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::hypot_(const Operand& other) const {
  return Call("aten::hypot_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::i0(Location where) const {
  return Call("aten::i0", {*this}, {}, where);
}

Var i0(const Operand& self) {
  return Call("aten::i0", {AsVar(self)}, {}, self.where());
}

Var Var::i0_(Location where) const {
  return Call("aten::i0_", {*this}, {}, where);
}

Var Var::imag(Location where) const {
  return Call("aten::imag", {*this}, {}, where);
}

Var imag(const Operand& self) {
  return Call("aten::imag", {AsVar(self)}, {}, self.where());
}

Var Var::index(const std::vector<Arg>& indices, Location where) const {
  return Call("aten::index", {*this, indices}, {}, where);
}

Var index(const Operand& self, const std::vector<Arg>& indices) {
  return Call("aten::index", {AsVar(self), indices}, {}, self.where());
}

Var Var::index_add(int64_t dim, const Operand& index, const Operand& source, Number alpha) const {
  return Call("aten::index_add", {*this, dim, AsVar(index), AsVar(source)}, {Unless("alpha", alpha, 1)}, index.where());
}

Var index_add(const Operand& self, int64_t dim, const Operand& index, const Operand& source, Number alpha) {
  return Call("aten::index_add", {AsVar(self), dim, AsVar(index), AsVar(source)}, {Unless("alpha", alpha, 1)}, self.where());
}

Var Var::index_add_(int64_t dim, const Operand& index, const Operand& source, Number alpha) const {
  return Call("aten::index_add_", {*this, dim, AsVar(index), AsVar(source)}, {Unless("alpha", alpha, 1)}, index.where());
}

Var Var::index_copy(int64_t dim, const Operand& index, const Operand& source) const {
  return Call("aten::index_copy", {*this, dim, AsVar(index), AsVar(source)}, {}, index.where());
}

Var index_copy(const Operand& self, int64_t dim, const Operand& index, const Operand& source) {
  return Call("aten::index_copy", {AsVar(self), dim, AsVar(index), AsVar(source)}, {}, self.where());
}

Var Var::index_copy_(int64_t dim, const Operand& index, const Operand& source) const {
  return Call("aten::index_copy_", {*this, dim, AsVar(index), AsVar(source)}, {}, index.where());
}

Var Var::index_fill(int64_t dim, const Operand& index, const Operand& value) const {
  return Call("aten::index_fill", {*this, dim, AsVar(index), value.arg()}, {}, index.where());
}

Var index_fill(const Operand& self, int64_t dim, const Operand& index, const Operand& value) {
  return Call("aten::index_fill", {AsVar(self), dim, AsVar(index), value.arg()}, {}, self.where());
}

Var Var::index_fill_(int64_t dim, const Operand& index, const Operand& value) const {
  return Call("aten::index_fill_", {*this, dim, AsVar(index), value.arg()}, {}, index.where());
}

Var Var::index_put(const std::vector<Arg>& indices, const Operand& values, bool accumulate) const {
  return Call("aten::index_put", {*this, indices, AsVar(values)}, {Unless("accumulate", accumulate, false)}, values.where());
}

Var index_put(const Operand& self, const std::vector<Arg>& indices, const Operand& values, bool accumulate) {
  return Call("aten::index_put", {AsVar(self), indices, AsVar(values)}, {Unless("accumulate", accumulate, false)}, self.where());
}

Var Var::index_put_(const std::vector<Arg>& indices, const Operand& values, bool accumulate) const {
  return Call("aten::index_put_", {*this, indices, AsVar(values)}, {Unless("accumulate", accumulate, false)}, values.where());
}

Var Var::index_reduce(int64_t dim, const Operand& index, const Operand& source, const std::string& reduce, bool include_self) const {
  return Call("aten::index_reduce", {*this, dim, AsVar(index), AsVar(source), reduce}, {Unless("include_self", include_self, true)}, index.where());
}

Var index_reduce(const Operand& self, int64_t dim, const Operand& index, const Operand& source, const std::string& reduce, bool include_self) {
  return Call("aten::index_reduce", {AsVar(self), dim, AsVar(index), AsVar(source), reduce}, {Unless("include_self", include_self, true)}, self.where());
}

Var Var::index_reduce_(int64_t dim, const Operand& index, const Operand& source, const std::string& reduce, bool include_self) const {
  return Call("aten::index_reduce_", {*this, dim, AsVar(index), AsVar(source), reduce}, {Unless("include_self", include_self, true)}, index.where());
}

Var Var::index_select(int64_t dim, const Operand& index) const {
  return Call("aten::index_select", {*this, dim, AsVar(index)}, {}, index.where());
}

Var index_select(const Operand& self, int64_t dim, const Operand& index) {
  return Call("aten::index_select", {AsVar(self), dim, AsVar(index)}, {}, self.where());
}

Var Var::inner(const Operand& other) const {
  return Call("aten::inner", {*this, AsVar(other)}, {}, other.where());
}

Var inner(const Operand& self, const Operand& other) {
  return Call("aten::inner", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::inverse(Location where) const {
  return Call("aten::inverse", {*this}, {}, where);
}

Var inverse(const Operand& self) {
  return Call("aten::inverse", {AsVar(self)}, {}, self.where());
}

Var Var::isclose(const Operand& other, double rtol, double atol, bool equal_nan) const {
  return Call("aten::isclose", {*this, AsVar(other)}, {Unless("rtol", rtol, 1e-05), Unless("atol", atol, 1e-08), Unless("equal_nan", equal_nan, false)}, other.where());
}

Var isclose(const Operand& self, const Operand& other, double rtol, double atol, bool equal_nan) {
  return Call("aten::isclose", {AsVar(self), AsVar(other)}, {Unless("rtol", rtol, 1e-05), Unless("atol", atol, 1e-08), Unless("equal_nan", equal_nan, false)}, self.where());
}

Var Var::isfinite(Location where) const {
  return Call("aten::isfinite", {*this}, {}, where);
}

Var isfinite(const Operand& self) {
  return Call("aten::isfinite", {AsVar(self)}, {}, self.where());
}

Var isin(const Operand& elements, const Operand& test_elements, bool assume_unique, bool invert) {
  return Call("aten::isin", {AsVar(elements), test_elements.arg()}, {Unless("assume_unique", assume_unique, false), Unless("invert", invert, false)}, elements.where());
}

Var Var::isinf(Location where) const {
  return Call("aten::isinf", {*this}, {}, where);
}

Var isinf(const Operand& self) {
  return Call("aten::isinf", {AsVar(self)}, {}, self.where());
}

Var Var::isnan(Location where) const {
  return Call("aten::isnan", {*this}, {}, where);
}

Var isnan(const Operand& self) {
  return Call("aten::isnan", {AsVar(self)}, {}, self.where());
}

Var Var::isneginf(Location where) const {
  return Call("aten::isneginf", {*this}, {}, where);
}

Var isneginf(const Operand& self) {
  return Call("aten::isneginf", {AsVar(self)}, {}, self.where());
}

Var Var::isposinf(Location where) const {
  return Call("aten::isposinf", {*this}, {}, where);
}

Var isposinf(const Operand& self) {
  return Call("aten::isposinf", {AsVar(self)}, {}, self.where());
}

Var kl_div(const Operand& self, const Operand& target, int64_t reduction, bool log_target) {
  return Call("aten::kl_div", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1), Unless("log_target", log_target, false)}, self.where());
}

std::pair<Var, Var> Var::kthvalue(int64_t k, int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::kthvalue", {*this, k}, {Unless("dim", dim, -1), Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> kthvalue(const Operand& self, int64_t k, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::kthvalue", {AsVar(self), k}, {Unless("dim", dim, -1), Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var l1_loss(const Operand& self, const Operand& target, int64_t reduction) {
  return Call("aten::l1_loss", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1)}, self.where());
}

Var layer_norm(const Operand& input, const Dims& normalized_shape, const Arg& weight, const Arg& bias, double eps) {
  return Call("aten::layer_norm", {AsVar(input), normalized_shape.values()}, {Maybe("weight", weight), Maybe("bias", bias), Unless("eps", eps, 1e-05)}, input.where());
}

Var Var::le(const Operand& other) const {
  return Call("aten::le", {*this, other.arg()}, {}, other.where());
}

Var le(const Operand& self, const Operand& other) {
  return Call("aten::le", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::le_(const Operand& other) const {
  return Call("aten::le_", {*this, other.arg()}, {}, other.where());
}

Var Var::leaky_relu(Number negative_slope, Location where) const {
  return Call("aten::leaky_relu", {*this}, {Unless("negative_slope", negative_slope, 0.01)}, where);
}

Var leaky_relu(const Operand& self, Number negative_slope) {
  return Call("aten::leaky_relu", {AsVar(self)}, {Unless("negative_slope", negative_slope, 0.01)}, self.where());
}

Var Var::leaky_relu_(Number negative_slope, Location where) const {
  return Call("aten::leaky_relu_", {*this}, {Unless("negative_slope", negative_slope, 0.01)}, where);
}

Var Var::lerp(const Operand& end, const Operand& weight) const {
  return Call("aten::lerp", {*this, AsVar(end), weight.arg()}, {}, end.where());
}

Var lerp(const Operand& self, const Operand& end, const Operand& weight) {
  return Call("aten::lerp", {AsVar(self), AsVar(end), weight.arg()}, {}, self.where());
}

Var Var::lerp_(const Operand& end, const Operand& weight) const {
  return Call("aten::lerp_", {*this, AsVar(end), weight.arg()}, {}, end.where());
}

Var Var::less(const Operand& other) const {
  return Call("aten::less", {*this, other.arg()}, {}, other.where());
}

Var less(const Operand& self, const Operand& other) {
  return Call("aten::less", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::less_equal(const Operand& other) const {
  return Call("aten::less_equal", {*this, other.arg()}, {}, other.where());
}

Var less_equal(const Operand& self, const Operand& other) {
  return Call("aten::less_equal", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::lgamma(Location where) const {
  return Call("aten::lgamma", {*this}, {}, where);
}

Var lgamma(const Operand& self) {
  return Call("aten::lgamma", {AsVar(self)}, {}, self.where());
}

Var Var::lgamma_(Location where) const {
  return Call("aten::lgamma_", {*this}, {}, where);
}

Var linalg_cholesky(const Operand& self, bool upper) {
  return Call("aten::linalg_cholesky", {AsVar(self)}, {Unless("upper", upper, false)}, self.where());
}

std::pair<Var, Var> linalg_cholesky_ex(const Operand& self, bool upper, bool check_errors) {
  return Items<2>(Call("aten::linalg_cholesky_ex", {AsVar(self)}, {Unless("upper", upper, false), Unless("check_errors", check_errors, false)}, self.where()), self.where());
}

Var linalg_cond(const Operand& self, std::optional<Number> p) {
  return Call("aten::linalg_cond", {AsVar(self)}, {Maybe("p", p)}, self.where());
}

Var linalg_cross(const Operand& self, const Operand& other, int64_t dim) {
  return Call("aten::linalg_cross", {AsVar(self), AsVar(other)}, {Unless("dim", dim, -1)}, self.where());
}

Var linalg_det(const Operand& A) {
  return Call("aten::linalg_det", {AsVar(A)}, {}, A.where());
}

Var linalg_diagonal(const Operand& A, int64_t offset, int64_t dim1, int64_t dim2) {
  return Call("aten::linalg_diagonal", {AsVar(A)}, {Unless("offset", offset, 0), Unless("dim1", dim1, -2), Unless("dim2", dim2, -1)}, A.where());
}

std::pair<Var, Var> linalg_eig(const Operand& self) {
  return Items<2>(Call("aten::linalg_eig", {AsVar(self)}, {}, self.where()), self.where());
}

std::pair<Var, Var> linalg_eigh(const Operand& self, const std::string& UPLO) {
  return Items<2>(Call("aten::linalg_eigh", {AsVar(self)}, {Unless("UPLO", UPLO, "L")}, self.where()), self.where());
}

Var linalg_eigvals(const Operand& self) {
  return Call("aten::linalg_eigvals", {AsVar(self)}, {}, self.where());
}

Var linalg_eigvalsh(const Operand& self, const std::string& UPLO) {
  return Call("aten::linalg_eigvalsh", {AsVar(self)}, {Unless("UPLO", UPLO, "L")}, self.where());
}

Var linalg_inv(const Operand& A) {
  return Call("aten::linalg_inv", {AsVar(A)}, {}, A.where());
}

std::pair<Var, Var> linalg_inv_ex(const Operand& A, bool check_errors) {
  return Items<2>(Call("aten::linalg_inv_ex", {AsVar(A)}, {Unless("check_errors", check_errors, false)}, A.where()), A.where());
}

std::tuple<Var, Var, Var, Var> linalg_lstsq(const Operand& self, const Operand& b, std::optional<double> rcond, const std::optional<std::string>& driver) {
  return Items<4>(Call("aten::linalg_lstsq", {AsVar(self), AsVar(b)}, {Maybe("rcond", rcond), Maybe("driver", driver)}, self.where()), self.where());
}

std::tuple<Var, Var, Var> linalg_lu(const Operand& A, bool pivot) {
  return Items<3>(Call("aten::linalg_lu", {AsVar(A)}, {Unless("pivot", pivot, true)}, A.where()), A.where());
}

Var linalg_matmul(const Operand& self, const Operand& other) {
  return Call("aten::linalg_matmul", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var linalg_matrix_norm(const Operand& self, const Operand& ord, const Dims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::linalg_matrix_norm", {AsVar(self), ord.arg()}, {Unless("dim", dim, std::vector<int64_t>{-2, -1}), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var linalg_matrix_norm(const Operand& self, const std::string& ord, const Dims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::linalg_matrix_norm", {AsVar(self)}, {Unless("ord", ord, "fro"), Unless("dim", dim, std::vector<int64_t>{-2, -1}), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var linalg_matrix_power(const Operand& self, int64_t n) {
  return Call("aten::linalg_matrix_power", {AsVar(self), n}, {}, self.where());
}

Var linalg_matrix_rank(const Operand& self, double tol, bool hermitian) {
  return Call("aten::linalg_matrix_rank", {AsVar(self), tol}, {Unless("hermitian", hermitian, false)}, self.where());
}

Var linalg_matrix_rank(const Operand& self, std::optional<double> atol, std::optional<double> rtol, bool hermitian) {
  return Call("aten::linalg_matrix_rank", {AsVar(self)}, {Maybe("atol", atol), Maybe("rtol", rtol), Unless("hermitian", hermitian, false)}, self.where());
}

Var linalg_norm(const Operand& self, std::optional<Number> ord, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::linalg_norm", {AsVar(self)}, {Maybe("ord", ord), Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var linalg_norm(const Operand& self, const std::string& ord, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::linalg_norm", {AsVar(self), ord}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var linalg_pinv(const Operand& self, double rcond, bool hermitian) {
  return Call("aten::linalg_pinv", {AsVar(self), rcond}, {Unless("hermitian", hermitian, false)}, self.where());
}

Var linalg_pinv(const Operand& self, std::optional<double> atol, std::optional<double> rtol, bool hermitian) {
  return Call("aten::linalg_pinv", {AsVar(self)}, {Maybe("atol", atol), Maybe("rtol", rtol), Unless("hermitian", hermitian, false)}, self.where());
}

std::pair<Var, Var> linalg_qr(const Operand& A, const std::string& mode) {
  return Items<2>(Call("aten::linalg_qr", {AsVar(A)}, {Unless("mode", mode, "reduced")}, A.where()), A.where());
}

std::pair<Var, Var> linalg_slogdet(const Operand& A) {
  return Items<2>(Call("aten::linalg_slogdet", {AsVar(A)}, {}, A.where()), A.where());
}

Var linalg_solve(const Operand& A, const Operand& B, bool left) {
  return Call("aten::linalg_solve", {AsVar(A), AsVar(B)}, {Unless("left", left, true)}, A.where());
}

Var linalg_solve_triangular(const Operand& self, const Operand& B, bool upper, bool left, bool unitriangular) {
  return Call("aten::linalg_solve_triangular", {AsVar(self), AsVar(B)}, {{"upper", upper, true}, Unless("left", left, true), Unless("unitriangular", unitriangular, false)}, self.where());
}

std::tuple<Var, Var, Var> linalg_svd(const Operand& A, bool full_matrices) {
  return Items<3>(Call("aten::linalg_svd", {AsVar(A)}, {Unless("full_matrices", full_matrices, true)}, A.where()), A.where());
}

Var linalg_svdvals(const Operand& A) {
  return Call("aten::linalg_svdvals", {AsVar(A)}, {}, A.where());
}

Var linalg_vecdot(const Operand& x, const Operand& y, int64_t dim) {
  return Call("aten::linalg_vecdot", {AsVar(x), AsVar(y)}, {Unless("dim", dim, -1)}, x.where());
}

Var linalg_vector_norm(const Operand& self, Number ord, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::linalg_vector_norm", {AsVar(self)}, {Unless("ord", ord, 2), Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var linear(const Operand& input, const Operand& weight, const Arg& bias) {
  return Call("aten::linear", {AsVar(input), AsVar(weight)}, {Maybe("bias", bias)}, input.where());
}

Var linspace(const Operand& start, const Operand& end, int64_t steps, std::optional<DType> dtype) {
  return Call("aten::linspace", {start.arg(), end.arg(), steps}, {Maybe("dtype", dtype)}, start.where());
}

Var Var::log(Location where) const {
  return Call("aten::log", {*this}, {}, where);
}

Var log(const Operand& self) {
  return Call("aten::log", {AsVar(self)}, {}, self.where());
}

Var Var::log10(Location where) const {
  return Call("aten::log10", {*this}, {}, where);
}

Var log10(const Operand& self) {
  return Call("aten::log10", {AsVar(self)}, {}, self.where());
}

Var Var::log10_(Location where) const {
  return Call("aten::log10_", {*this}, {}, where);
}

Var Var::log1p(Location where) const {
  return Call("aten::log1p", {*this}, {}, where);
}

Var log1p(const Operand& self) {
  return Call("aten::log1p", {AsVar(self)}, {}, self.where());
}

Var Var::log1p_(Location where) const {
  return Call("aten::log1p_", {*this}, {}, where);
}

Var Var::log2(Location where) const {
  return Call("aten::log2", {*this}, {}, where);
}

Var log2(const Operand& self) {
  return Call("aten::log2", {AsVar(self)}, {}, self.where());
}

Var Var::log2_(Location where) const {
  return Call("aten::log2_", {*this}, {}, where);
}

Var Var::log_(Location where) const {
  return Call("aten::log_", {*this}, {}, where);
}

Var Var::log_sigmoid(Location where) const {
  return Call("aten::log_sigmoid", {*this}, {}, where);
}

Var log_sigmoid(const Operand& self) {
  return Call("aten::log_sigmoid", {AsVar(self)}, {}, self.where());
}

Var Var::log_softmax(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::log_softmax", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var log_softmax(const Operand& self, int64_t dim, std::optional<DType> dtype) {
  return Call("aten::log_softmax", {AsVar(self), dim}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::logaddexp(const Operand& other) const {
  return Call("aten::logaddexp", {*this, AsVar(other)}, {}, other.where());
}

Var logaddexp(const Operand& self, const Operand& other) {
  return Call("aten::logaddexp", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::logaddexp2(const Operand& other) const {
  return Call("aten::logaddexp2", {*this, AsVar(other)}, {}, other.where());
}

Var logaddexp2(const Operand& self, const Operand& other) {
  return Call("aten::logaddexp2", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::logcumsumexp(int64_t dim, Location where) const {
  return Call("aten::logcumsumexp", {*this, dim}, {}, where);
}

Var logcumsumexp(const Operand& self, int64_t dim) {
  return Call("aten::logcumsumexp", {AsVar(self), dim}, {}, self.where());
}

Var Var::logdet(Location where) const {
  return Call("aten::logdet", {*this}, {}, where);
}

Var logdet(const Operand& self) {
  return Call("aten::logdet", {AsVar(self)}, {}, self.where());
}

Var Var::logical_and(const Operand& other) const {
  return Call("aten::logical_and", {*this, AsVar(other)}, {}, other.where());
}

Var logical_and(const Operand& self, const Operand& other) {
  return Call("aten::logical_and", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::logical_and_(const Operand& other) const {
  return Call("aten::logical_and_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logical_not(Location where) const {
  return Call("aten::logical_not", {*this}, {}, where);
}

Var logical_not(const Operand& self) {
  return Call("aten::logical_not", {AsVar(self)}, {}, self.where());
}

Var Var::logical_not_(Location where) const {
  return Call("aten::logical_not_", {*this}, {}, where);
}

Var Var::logical_or(const Operand& other) const {
  return Call("aten::logical_or", {*this, AsVar(other)}, {}, other.where());
}

Var logical_or(const Operand& self, const Operand& other) {
  return Call("aten::logical_or", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::logical_or_(const Operand& other) const {
  return Call("aten::logical_or_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logical_xor(const Operand& other) const {
  return Call("aten::logical_xor", {*this, AsVar(other)}, {}, other.where());
}

Var logical_xor(const Operand& self, const Operand& other) {
  return Call("aten::logical_xor", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::logical_xor_(const Operand& other) const {
  return Call("aten::logical_xor_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logit(std::optional<double> eps, Location where) const {
  return Call("aten::logit", {*this}, {Maybe("eps", eps)}, where);
}

Var logit(const Operand& self, std::optional<double> eps) {
  return Call("aten::logit", {AsVar(self)}, {Maybe("eps", eps)}, self.where());
}

Var Var::logit_(std::optional<double> eps, Location where) const {
  return Call("aten::logit_", {*this}, {Maybe("eps", eps)}, where);
}

Var logspace(const Operand& start, const Operand& end, int64_t steps, double base, std::optional<DType> dtype) {
  return Call("aten::logspace", {start.arg(), end.arg(), steps}, {Unless("base", base, 10.0), Maybe("dtype", dtype)}, start.where());
}

Var Var::logsumexp(const Dims& dim, bool keepdim, Location where) const {
  return Call("aten::logsumexp", {*this, dim.values()}, {Unless("keepdim", keepdim, false)}, where);
}

Var logsumexp(const Operand& self, const Dims& dim, bool keepdim) {
  return Call("aten::logsumexp", {AsVar(self), dim.values()}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var Var::lt(const Operand& other) const {
  return Call("aten::lt", {*this, other.arg()}, {}, other.where());
}

Var lt(const Operand& self, const Operand& other) {
  return Call("aten::lt", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::lt_(const Operand& other) const {
  return Call("aten::lt_", {*this, other.arg()}, {}, other.where());
}

Var Var::mT(Location where) const {
  return Call("aten::mT", {*this}, {}, where);
}

Var mT(const Operand& self) {
  return Call("aten::mT", {AsVar(self)}, {}, self.where());
}

Var margin_ranking_loss(const Operand& input1, const Operand& input2, const Operand& target, double margin, int64_t reduction) {
  return Call("aten::margin_ranking_loss", {AsVar(input1), AsVar(input2), AsVar(target)}, {Unless("margin", margin, 0.0), Unless("reduction", reduction, 1)}, input1.where());
}

Var Var::masked_fill(const Operand& mask, const Operand& value) const {
  return Call("aten::masked_fill", {*this, AsVar(mask), value.arg()}, {}, mask.where());
}

Var masked_fill(const Operand& self, const Operand& mask, const Operand& value) {
  return Call("aten::masked_fill", {AsVar(self), AsVar(mask), value.arg()}, {}, self.where());
}

Var Var::masked_fill_(const Operand& mask, const Operand& value) const {
  return Call("aten::masked_fill_", {*this, AsVar(mask), value.arg()}, {}, mask.where());
}

Var Var::masked_scatter(const Operand& mask, const Operand& source) const {
  return Call("aten::masked_scatter", {*this, AsVar(mask), AsVar(source)}, {}, mask.where());
}

Var masked_scatter(const Operand& self, const Operand& mask, const Operand& source) {
  return Call("aten::masked_scatter", {AsVar(self), AsVar(mask), AsVar(source)}, {}, self.where());
}

Var Var::masked_scatter_(const Operand& mask, const Operand& source) const {
  return Call("aten::masked_scatter_", {*this, AsVar(mask), AsVar(source)}, {}, mask.where());
}

Var Var::matmul(const Operand& other) const {
  return Call("aten::matmul", {*this, AsVar(other)}, {}, other.where());
}

Var matmul(const Operand& self, const Operand& other) {
  return Call("aten::matmul", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::matrix_power(int64_t n, Location where) const {
  return Call("aten::matrix_power", {*this, n}, {}, where);
}

Var matrix_power(const Operand& self, int64_t n) {
  return Call("aten::matrix_power", {AsVar(self), n}, {}, self.where());
}

Var Var::max(Location where) const {
  return Call("aten::max", {*this}, {}, where);
}

Var max(const Operand& self) {
  return Call("aten::max", {AsVar(self)}, {}, self.where());
}

std::pair<Var, Var> Var::max(int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::max", {*this, dim}, {Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> max(const Operand& self, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::max", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::max(const Operand& other) const {
  return Call("aten::max", {*this, AsVar(other)}, {}, other.where());
}

Var max(const Operand& self, const Operand& other) {
  return Call("aten::max", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var max_pool1d(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, const Dims& dilation, bool ceil_mode) {
  return Call("aten::max_pool1d", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("dilation", dilation, std::vector<int64_t>{1}), Unless("ceil_mode", ceil_mode, false)}, self.where());
}

std::pair<Var, Var> max_pool1d_with_indices(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, const Dims& dilation, bool ceil_mode) {
  return Items<2>(Call("aten::max_pool1d_with_indices", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("dilation", dilation, std::vector<int64_t>{1}), Unless("ceil_mode", ceil_mode, false)}, self.where()), self.where());
}

Var max_pool2d(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, const Dims& dilation, bool ceil_mode) {
  return Call("aten::max_pool2d", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("dilation", dilation, std::vector<int64_t>{1}), Unless("ceil_mode", ceil_mode, false)}, self.where());
}

std::pair<Var, Var> max_pool2d_with_indices(const Operand& self, const Dims& kernel_size, const Dims& stride, const Dims& padding, const Dims& dilation, bool ceil_mode) {
  return Items<2>(Call("aten::max_pool2d_with_indices", {AsVar(self), kernel_size.values()}, {Unless("stride", stride, std::vector<int64_t>{}), Unless("padding", padding, std::vector<int64_t>{0}), Unless("dilation", dilation, std::vector<int64_t>{1}), Unless("ceil_mode", ceil_mode, false)}, self.where()), self.where());
}

Var Var::maximum(const Operand& other) const {
  return Call("aten::maximum", {*this, AsVar(other)}, {}, other.where());
}

Var maximum(const Operand& self, const Operand& other) {
  return Call("aten::maximum", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::mean(std::optional<DType> dtype, Location where) const {
  return Call("aten::mean", {*this}, {Maybe("dtype", dtype)}, where);
}

Var mean(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::mean", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::mean(const OptionalDims& dim, bool keepdim, std::optional<DType> dtype, Location where) const {
  return Call("aten::mean", {*this, ToArg(dim)}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, where);
}

Var mean(const Operand& self, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::mean", {AsVar(self), ToArg(dim)}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var Var::median(Location where) const {
  return Call("aten::median", {*this}, {}, where);
}

Var median(const Operand& self) {
  return Call("aten::median", {AsVar(self)}, {}, self.where());
}

std::pair<Var, Var> Var::median(int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::median", {*this, dim}, {Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> median(const Operand& self, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::median", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var meshgrid(const std::vector<Var>& tensors, Location where) {
  return Call("aten::meshgrid", {tensors}, {}, where);
}

Var meshgrid(const std::vector<Var>& tensors, const std::string& indexing, Location where) {
  return Call("aten::meshgrid", {tensors}, {{"indexing", indexing, true}}, where);
}

Var Var::min(Location where) const {
  return Call("aten::min", {*this}, {}, where);
}

Var min(const Operand& self) {
  return Call("aten::min", {AsVar(self)}, {}, self.where());
}

std::pair<Var, Var> Var::min(int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::min", {*this, dim}, {Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> min(const Operand& self, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::min", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::min(const Operand& other) const {
  return Call("aten::min", {*this, AsVar(other)}, {}, other.where());
}

Var min(const Operand& self, const Operand& other) {
  return Call("aten::min", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::minimum(const Operand& other) const {
  return Call("aten::minimum", {*this, AsVar(other)}, {}, other.where());
}

Var minimum(const Operand& self, const Operand& other) {
  return Call("aten::minimum", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::mish(Location where) const {
  return Call("aten::mish", {*this}, {}, where);
}

Var mish(const Operand& self) {
  return Call("aten::mish", {AsVar(self)}, {}, self.where());
}

Var Var::mish_(Location where) const {
  return Call("aten::mish_", {*this}, {}, where);
}

Var Var::mm(const Operand& mat2) const {
  return Call("aten::mm", {*this, AsVar(mat2)}, {}, mat2.where());
}

Var mm(const Operand& self, const Operand& mat2) {
  return Call("aten::mm", {AsVar(self), AsVar(mat2)}, {}, self.where());
}

std::pair<Var, Var> Var::mode(int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::mode", {*this}, {Unless("dim", dim, -1), Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> mode(const Operand& self, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::mode", {AsVar(self)}, {Unless("dim", dim, -1), Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::moveaxis(int64_t source, int64_t destination, Location where) const {
  return Call("aten::moveaxis", {*this, source, destination}, {}, where);
}

Var moveaxis(const Operand& self, int64_t source, int64_t destination) {
  return Call("aten::moveaxis", {AsVar(self), source, destination}, {}, self.where());
}

Var Var::moveaxis(const Dims& source, const Dims& destination, Location where) const {
  return Call("aten::moveaxis", {*this, source.values(), destination.values()}, {}, where);
}

Var moveaxis(const Operand& self, const Dims& source, const Dims& destination) {
  return Call("aten::moveaxis", {AsVar(self), source.values(), destination.values()}, {}, self.where());
}

Var Var::movedim(int64_t source, int64_t destination, Location where) const {
  return Call("aten::movedim", {*this, source, destination}, {}, where);
}

Var movedim(const Operand& self, int64_t source, int64_t destination) {
  return Call("aten::movedim", {AsVar(self), source, destination}, {}, self.where());
}

Var Var::movedim(const Dims& source, const Dims& destination, Location where) const {
  return Call("aten::movedim", {*this, source.values(), destination.values()}, {}, where);
}

Var movedim(const Operand& self, const Dims& source, const Dims& destination) {
  return Call("aten::movedim", {AsVar(self), source.values(), destination.values()}, {}, self.where());
}

Var mse_loss(const Operand& self, const Operand& target, int64_t reduction) {
  return Call("aten::mse_loss", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1)}, self.where());
}

Var Var::msort(Location where) const {
  return Call("aten::msort", {*this}, {}, where);
}

Var msort(const Operand& self) {
  return Call("aten::msort", {AsVar(self)}, {}, self.where());
}

Var Var::mul(const Operand& other) const {
  return Call("aten::mul", {*this, other.arg()}, {}, other.where());
}

Var mul(const Operand& self, const Operand& other) {
  return Call("aten::mul", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::mul_(const Operand& other) const {
  return Call("aten::mul_", {*this, other.arg()}, {}, other.where());
}

Var Var::multinomial(int64_t num_samples, bool replacement, Location where) const {
  return Call("aten::multinomial", {*this, num_samples}, {Unless("replacement", replacement, false)}, where);
}

Var multinomial(const Operand& self, int64_t num_samples, bool replacement) {
  return Call("aten::multinomial", {AsVar(self), num_samples}, {Unless("replacement", replacement, false)}, self.where());
}

Var Var::multiply(const Operand& other) const {
  return Call("aten::multiply", {*this, other.arg()}, {}, other.where());
}

Var multiply(const Operand& self, const Operand& other) {
  return Call("aten::multiply", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::mv(const Operand& vec) const {
  return Call("aten::mv", {*this, AsVar(vec)}, {}, vec.where());
}

Var mv(const Operand& self, const Operand& vec) {
  return Call("aten::mv", {AsVar(self), AsVar(vec)}, {}, self.where());
}

Var Var::nan_to_num(std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf, Location where) const {
  return Call("aten::nan_to_num", {*this}, {Maybe("nan", nan), Maybe("posinf", posinf), Maybe("neginf", neginf)}, where);
}

Var nan_to_num(const Operand& self, std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) {
  return Call("aten::nan_to_num", {AsVar(self)}, {Maybe("nan", nan), Maybe("posinf", posinf), Maybe("neginf", neginf)}, self.where());
}

Var Var::nan_to_num_(std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf, Location where) const {
  return Call("aten::nan_to_num_", {*this}, {Maybe("nan", nan), Maybe("posinf", posinf), Maybe("neginf", neginf)}, where);
}

Var Var::nanmean(const OptionalDims& dim, bool keepdim, std::optional<DType> dtype, Location where) const {
  return Call("aten::nanmean", {*this}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, where);
}

Var nanmean(const Operand& self, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::nanmean", {AsVar(self)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var Var::nanmedian(Location where) const {
  return Call("aten::nanmedian", {*this}, {}, where);
}

Var nanmedian(const Operand& self) {
  return Call("aten::nanmedian", {AsVar(self)}, {}, self.where());
}

std::pair<Var, Var> Var::nanmedian(int64_t dim, bool keepdim, Location where) const {
  return Items<2>(Call("aten::nanmedian", {*this, dim}, {Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> nanmedian(const Operand& self, int64_t dim, bool keepdim) {
  return Items<2>(Call("aten::nanmedian", {AsVar(self), dim}, {Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::nanquantile(const Operand& q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) const {
  return Call("aten::nanquantile", {*this, AsVar(q)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, q.where());
}

Var nanquantile(const Operand& self, const Operand& q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) {
  return Call("aten::nanquantile", {AsVar(self), AsVar(q)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, self.where());
}

Var Var::nanquantile(double q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation, Location where) const {
  return Call("aten::nanquantile", {*this, q}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, where);
}

Var nanquantile(const Operand& self, double q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) {
  return Call("aten::nanquantile", {AsVar(self), q}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, self.where());
}

Var Var::nansum(const OptionalDims& dim, bool keepdim, std::optional<DType> dtype, Location where) const {
  return Call("aten::nansum", {*this}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, where);
}

Var nansum(const Operand& self, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::nansum", {AsVar(self)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var Var::narrow(int64_t dim, int64_t start, int64_t length, Location where) const {
  return Call("aten::narrow", {*this, dim, start, length}, {}, where);
}

Var narrow(const Operand& self, int64_t dim, int64_t start, int64_t length) {
  return Call("aten::narrow", {AsVar(self), dim, start, length}, {}, self.where());
}

Var Var::ne(const Operand& other) const {
  return Call("aten::ne", {*this, other.arg()}, {}, other.where());
}

Var ne(const Operand& self, const Operand& other) {
  return Call("aten::ne", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::ne_(const Operand& other) const {
  return Call("aten::ne_", {*this, other.arg()}, {}, other.where());
}

Var Var::neg(Location where) const {
  return Call("aten::neg", {*this}, {}, where);
}

Var neg(const Operand& self) {
  return Call("aten::neg", {AsVar(self)}, {}, self.where());
}

Var Var::neg_(Location where) const {
  return Call("aten::neg_", {*this}, {}, where);
}

Var Var::negative(Location where) const {
  return Call("aten::negative", {*this}, {}, where);
}

Var negative(const Operand& self) {
  return Call("aten::negative", {AsVar(self)}, {}, self.where());
}

Var Var::new_full(const Dims& size, const Operand& fill_value, std::optional<DType> dtype) const {
  return Call("aten::new_full", {*this, size.values(), fill_value.arg()}, {Maybe("dtype", dtype)}, fill_value.where());
}

Var new_full(const Operand& self, const Dims& size, const Operand& fill_value, std::optional<DType> dtype) {
  return Call("aten::new_full", {AsVar(self), size.values(), fill_value.arg()}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::new_ones(const Dims& size, std::optional<DType> dtype, Location where) const {
  return Call("aten::new_ones", {*this, size.values()}, {Maybe("dtype", dtype)}, where);
}

Var new_ones(const Operand& self, const Dims& size, std::optional<DType> dtype) {
  return Call("aten::new_ones", {AsVar(self), size.values()}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::new_zeros(const Dims& size, std::optional<DType> dtype, Location where) const {
  return Call("aten::new_zeros", {*this, size.values()}, {Maybe("dtype", dtype)}, where);
}

Var new_zeros(const Operand& self, const Dims& size, std::optional<DType> dtype) {
  return Call("aten::new_zeros", {AsVar(self), size.values()}, {Maybe("dtype", dtype)}, self.where());
}

Var nll_loss(const Operand& self, const Operand& target, const Arg& weight, int64_t reduction, int64_t ignore_index) {
  return Call("aten::nll_loss", {AsVar(self), AsVar(target)}, {Maybe("weight", weight), Unless("reduction", reduction, 1), Unless("ignore_index", ignore_index, -100)}, self.where());
}

Var Var::nll_loss_nd(const Operand& target, const Arg& weight, int64_t reduction, int64_t ignore_index) const {
  return Call("aten::nll_loss_nd", {*this, AsVar(target)}, {Maybe("weight", weight), Unless("reduction", reduction, 1), Unless("ignore_index", ignore_index, -100)}, target.where());
}

Var nll_loss_nd(const Operand& self, const Operand& target, const Arg& weight, int64_t reduction, int64_t ignore_index) {
  return Call("aten::nll_loss_nd", {AsVar(self), AsVar(target)}, {Maybe("weight", weight), Unless("reduction", reduction, 1), Unless("ignore_index", ignore_index, -100)}, self.where());
}

Var Var::nonzero_static(int64_t size, int64_t fill_value, Location where) const {
  return Call("aten::nonzero_static", {*this}, {{"size", size, true}, Unless("fill_value", fill_value, -1)}, where);
}

Var nonzero_static(const Operand& self, int64_t size, int64_t fill_value) {
  return Call("aten::nonzero_static", {AsVar(self)}, {{"size", size, true}, Unless("fill_value", fill_value, -1)}, self.where());
}

Var Var::norm(Number p, Location where) const {
  return Call("aten::norm", {*this}, {Unless("p", p, 2)}, where);
}

Var norm(const Operand& self, Number p) {
  return Call("aten::norm", {AsVar(self)}, {Unless("p", p, 2)}, self.where());
}

Var Var::norm(std::optional<Number> p, const Dims& dim, bool keepdim, Location where) const {
  return Call("aten::norm", {*this, ToArg(p), dim.values()}, {Unless("keepdim", keepdim, false)}, where);
}

Var norm(const Operand& self, std::optional<Number> p, const Dims& dim, bool keepdim) {
  return Call("aten::norm", {AsVar(self), ToArg(p), dim.values()}, {Unless("keepdim", keepdim, false)}, self.where());
}

Var normal(const Operand& mean, const Operand& std) {
  return Call("aten::normal", {AsVar(mean), AsVar(std)}, {}, mean.where());
}

Var normal(const Operand& mean, double std) {
  return Call("aten::normal", {AsVar(mean)}, {Unless("std", std, 1.0)}, mean.where());
}

Var normal(double mean, const Operand& std) {
  return Call("aten::normal", {mean, AsVar(std)}, {}, std.where());
}

Var normal(double mean, double std, const Dims& size, std::optional<DType> dtype, Location where) {
  return Call("aten::normal", {mean, std, size.values()}, {Maybe("dtype", dtype)}, where);
}

Var Var::normal_(double mean, double std, Location where) const {
  return Call("aten::normal_", {*this}, {Unless("mean", mean, 0.0), Unless("std", std, 1.0)}, where);
}

Var Var::normal_functional(double mean, double std, Location where) const {
  return Call("aten::normal_functional", {*this}, {Unless("mean", mean, 0.0), Unless("std", std, 1.0)}, where);
}

Var normal_functional(const Operand& self, double mean, double std) {
  return Call("aten::normal_functional", {AsVar(self)}, {Unless("mean", mean, 0.0), Unless("std", std, 1.0)}, self.where());
}

Var Var::not_equal(const Operand& other) const {
  return Call("aten::not_equal", {*this, other.arg()}, {}, other.where());
}

Var not_equal(const Operand& self, const Operand& other) {
  return Call("aten::not_equal", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::numel(Location where) const {
  return Call("aten::numel", {*this}, {}, where);
}

Var numel(const Operand& self) {
  return Call("aten::numel", {AsVar(self)}, {}, self.where());
}

Var Var::numpy_T(Location where) const {
  return Call("aten::numpy_T", {*this}, {}, where);
}

Var numpy_T(const Operand& self) {
  return Call("aten::numpy_T", {AsVar(self)}, {}, self.where());
}

Var Var::one_hot(int64_t num_classes, Location where) const {
  return Call("aten::one_hot", {*this}, {Unless("num_classes", num_classes, -1)}, where);
}

Var one_hot(const Operand& self, int64_t num_classes) {
  return Call("aten::one_hot", {AsVar(self)}, {Unless("num_classes", num_classes, -1)}, self.where());
}

Var ones(const Dims& size, std::optional<DType> dtype, Location where) {
  return Call("aten::ones", {size.values()}, {Maybe("dtype", dtype)}, where);
}

Var Var::ones_like(std::optional<DType> dtype, Location where) const {
  return Call("aten::ones_like", {*this}, {Maybe("dtype", dtype)}, where);
}

Var ones_like(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::ones_like", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::outer(const Operand& vec2) const {
  return Call("aten::outer", {*this, AsVar(vec2)}, {}, vec2.where());
}

Var outer(const Operand& self, const Operand& vec2) {
  return Call("aten::outer", {AsVar(self), AsVar(vec2)}, {}, self.where());
}

Var pad(const Operand& self, const Dims& pad, const std::string& mode, std::optional<double> value) {
  return Call("aten::pad", {AsVar(self), pad.values()}, {Unless("mode", mode, "constant"), Maybe("value", value)}, self.where());
}

Var pairwise_distance(const Operand& x1, const Operand& x2, double p, double eps, bool keepdim) {
  return Call("aten::pairwise_distance", {AsVar(x1), AsVar(x2)}, {Unless("p", p, 2.0), Unless("eps", eps, 1e-06), Unless("keepdim", keepdim, false)}, x1.where());
}

Var pdist(const Operand& self, double p) {
  return Call("aten::pdist", {AsVar(self)}, {Unless("p", p, 2.0)}, self.where());
}

Var Var::permute(const Dims& dims, Location where) const {
  return Call("aten::permute", {*this, dims.values()}, {}, where);
}

Var permute(const Operand& self, const Dims& dims) {
  return Call("aten::permute", {AsVar(self), dims.values()}, {}, self.where());
}

Var Var::pinverse(double rcond, Location where) const {
  return Call("aten::pinverse", {*this}, {Unless("rcond", rcond, 1e-15)}, where);
}

Var pinverse(const Operand& self, double rcond) {
  return Call("aten::pinverse", {AsVar(self)}, {Unless("rcond", rcond, 1e-15)}, self.where());
}

Var poisson_nll_loss(const Operand& input, const Operand& target, bool log_input, bool full, double eps, int64_t reduction) {
  return Call("aten::poisson_nll_loss", {AsVar(input), AsVar(target), log_input, full, eps, reduction}, {}, input.where());
}

Var polar(const Operand& abs, const Operand& angle) {
  return Call("aten::polar", {AsVar(abs), AsVar(angle)}, {}, abs.where());
}

Var Var::pow(const Operand& exponent) const {
  return Call("aten::pow", {*this, exponent.arg()}, {}, exponent.where());
}

Var pow(const Operand& self, const Operand& exponent) {
  return Call("aten::pow", {self.arg(), exponent.arg()}, {}, self.where());
}

Var Var::pow_(const Operand& exponent) const {
  return Call("aten::pow_", {*this, exponent.arg()}, {}, exponent.where());
}

Var Var::prelu(const Operand& weight) const {
  return Call("aten::prelu", {*this, AsVar(weight)}, {}, weight.where());
}

Var prelu(const Operand& self, const Operand& weight) {
  return Call("aten::prelu", {AsVar(self), AsVar(weight)}, {}, self.where());
}

Var Var::prod(std::optional<DType> dtype, Location where) const {
  return Call("aten::prod", {*this}, {Maybe("dtype", dtype)}, where);
}

Var prod(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::prod", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::prod(int64_t dim, bool keepdim, std::optional<DType> dtype, Location where) const {
  return Call("aten::prod", {*this, dim}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, where);
}

Var prod(const Operand& self, int64_t dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::prod", {AsVar(self), dim}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var Var::put(const Operand& index, const Operand& source, bool accumulate) const {
  return Call("aten::put", {*this, AsVar(index), AsVar(source)}, {Unless("accumulate", accumulate, false)}, index.where());
}

Var put(const Operand& self, const Operand& index, const Operand& source, bool accumulate) {
  return Call("aten::put", {AsVar(self), AsVar(index), AsVar(source)}, {Unless("accumulate", accumulate, false)}, self.where());
}

Var Var::put_(const Operand& index, const Operand& source, bool accumulate) const {
  return Call("aten::put_", {*this, AsVar(index), AsVar(source)}, {Unless("accumulate", accumulate, false)}, index.where());
}

Var Var::quantile(const Operand& q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) const {
  return Call("aten::quantile", {*this, AsVar(q)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, q.where());
}

Var quantile(const Operand& self, const Operand& q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) {
  return Call("aten::quantile", {AsVar(self), AsVar(q)}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, self.where());
}

Var Var::quantile(double q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation, Location where) const {
  return Call("aten::quantile", {*this, q}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, where);
}

Var quantile(const Operand& self, double q, std::optional<int64_t> dim, bool keepdim, const std::string& interpolation) {
  return Call("aten::quantile", {AsVar(self), q}, {Maybe("dim", dim), Unless("keepdim", keepdim, false), Unless("interpolation", interpolation, "linear")}, self.where());
}

Var Var::rad2deg(Location where) const {
  return Call("aten::rad2deg", {*this}, {}, where);
}

Var rad2deg(const Operand& self) {
  return Call("aten::rad2deg", {AsVar(self)}, {}, self.where());
}

Var rand(const Dims& size, std::optional<DType> dtype, Location where) {
  return Call("aten::rand", {size.values()}, {Maybe("dtype", dtype)}, where);
}

Var Var::rand_like(std::optional<DType> dtype, Location where) const {
  return Call("aten::rand_like", {*this}, {Maybe("dtype", dtype)}, where);
}

Var rand_like(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::rand_like", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var randint(int64_t high, const Dims& size, DType dtype, Location where) {
  return Call("aten::randint", {high, size.values()}, {Unless("dtype", dtype, kInt64)}, where);
}

Var randint(int64_t low, int64_t high, const Dims& size, DType dtype, Location where) {
  return Call("aten::randint", {low, high, size.values()}, {Unless("dtype", dtype, kInt64)}, where);
}

Var Var::randint_like(int64_t high, std::optional<DType> dtype, Location where) const {
  return Call("aten::randint_like", {*this, high}, {Maybe("dtype", dtype)}, where);
}

Var randint_like(const Operand& self, int64_t high, std::optional<DType> dtype) {
  return Call("aten::randint_like", {AsVar(self), high}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::randint_like(int64_t low, int64_t high, std::optional<DType> dtype, Location where) const {
  return Call("aten::randint_like", {*this, low, high}, {Maybe("dtype", dtype)}, where);
}

Var randint_like(const Operand& self, int64_t low, int64_t high, std::optional<DType> dtype) {
  return Call("aten::randint_like", {AsVar(self), low, high}, {Maybe("dtype", dtype)}, self.where());
}

Var randn(const Dims& size, std::optional<DType> dtype, Location where) {
  return Call("aten::randn", {size.values()}, {Maybe("dtype", dtype)}, where);
}

Var Var::randn_like(std::optional<DType> dtype, Location where) const {
  return Call("aten::randn_like", {*this}, {Maybe("dtype", dtype)}, where);
}

Var randn_like(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::randn_like", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var randperm(int64_t n, DType dtype, Location where) {
  return Call("aten::randperm", {n}, {Unless("dtype", dtype, kInt64)}, where);
}

Var Var::ravel(Location where) const {
  return Call("aten::ravel", {*this}, {}, where);
}

Var ravel(const Operand& self) {
  return Call("aten::ravel", {AsVar(self)}, {}, self.where());
}

Var Var::real(Location where) const {
  return Call("aten::real", {*this}, {}, where);
}

Var real(const Operand& self) {
  return Call("aten::real", {AsVar(self)}, {}, self.where());
}

Var Var::reciprocal(Location where) const {
  return Call("aten::reciprocal", {*this}, {}, where);
}

Var reciprocal(const Operand& self) {
  return Call("aten::reciprocal", {AsVar(self)}, {}, self.where());
}

Var Var::reciprocal_(Location where) const {
  return Call("aten::reciprocal_", {*this}, {}, where);
}

Var Var::relu(Location where) const {
  return Call("aten::relu", {*this}, {}, where);
}

Var relu(const Operand& self) {
  return Call("aten::relu", {AsVar(self)}, {}, self.where());
}

Var Var::relu6(Location where) const {
  return Call("aten::relu6", {*this}, {}, where);
}

Var relu6(const Operand& self) {
  return Call("aten::relu6", {AsVar(self)}, {}, self.where());
}

Var Var::relu6_(Location where) const {
  return Call("aten::relu6_", {*this}, {}, where);
}

Var Var::relu_(Location where) const {
  return Call("aten::relu_", {*this}, {}, where);
}

Var Var::remainder(const Operand& other) const {
  return Call("aten::remainder", {*this, other.arg()}, {}, other.where());
}

Var remainder(const Operand& self, const Operand& other) {
  return Call("aten::remainder", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::remainder_(const Operand& other) const {
  return Call("aten::remainder_", {*this, other.arg()}, {}, other.where());
}

Var Var::renorm(const Operand& p, int64_t dim, const Operand& maxnorm) const {
  return Call("aten::renorm", {*this, p.arg(), dim, maxnorm.arg()}, {}, p.where());
}

Var renorm(const Operand& self, const Operand& p, int64_t dim, const Operand& maxnorm) {
  return Call("aten::renorm", {AsVar(self), p.arg(), dim, maxnorm.arg()}, {}, self.where());
}

Var Var::repeat(const Dims& repeats, Location where) const {
  return Call("aten::repeat", {*this, repeats.values()}, {}, where);
}

Var repeat(const Operand& self, const Dims& repeats) {
  return Call("aten::repeat", {AsVar(self), repeats.values()}, {}, self.where());
}

Var Var::repeat_interleave(int64_t repeats, std::optional<int64_t> dim, std::optional<int64_t> output_size, Location where) const {
  return Call("aten::repeat_interleave", {*this, repeats}, {Maybe("dim", dim), Maybe("output_size", output_size)}, where);
}

Var repeat_interleave(const Operand& self, int64_t repeats, std::optional<int64_t> dim, std::optional<int64_t> output_size) {
  return Call("aten::repeat_interleave", {AsVar(self), repeats}, {Maybe("dim", dim), Maybe("output_size", output_size)}, self.where());
}

Var Var::reshape(const Dims& shape, Location where) const {
  return Call("aten::reshape", {*this, shape.values()}, {}, where);
}

Var reshape(const Operand& self, const Dims& shape) {
  return Call("aten::reshape", {AsVar(self), shape.values()}, {}, self.where());
}

Var rms_norm(const Operand& input, const Dims& normalized_shape, const Arg& weight, std::optional<double> eps) {
  return Call("aten::rms_norm", {AsVar(input), normalized_shape.values()}, {Maybe("weight", weight), Maybe("eps", eps)}, input.where());
}

Var Var::roll(const Dims& shifts, const Dims& dims, Location where) const {
  return Call("aten::roll", {*this, shifts.values()}, {Unless("dims", dims, std::vector<int64_t>{})}, where);
}

Var roll(const Operand& self, const Dims& shifts, const Dims& dims) {
  return Call("aten::roll", {AsVar(self), shifts.values()}, {Unless("dims", dims, std::vector<int64_t>{})}, self.where());
}

Var Var::rot90(int64_t k, const Dims& dims, Location where) const {
  return Call("aten::rot90", {*this}, {Unless("k", k, 1), Unless("dims", dims, std::vector<int64_t>{0, 1})}, where);
}

Var rot90(const Operand& self, int64_t k, const Dims& dims) {
  return Call("aten::rot90", {AsVar(self)}, {Unless("k", k, 1), Unless("dims", dims, std::vector<int64_t>{0, 1})}, self.where());
}

Var Var::round(Location where) const {
  return Call("aten::round", {*this}, {}, where);
}

Var round(const Operand& self) {
  return Call("aten::round", {AsVar(self)}, {}, self.where());
}

Var Var::round(int64_t decimals, Location where) const {
  return Call("aten::round", {*this}, {{"decimals", decimals, true}}, where);
}

Var round(const Operand& self, int64_t decimals) {
  return Call("aten::round", {AsVar(self)}, {{"decimals", decimals, true}}, self.where());
}

Var Var::round_(Location where) const {
  return Call("aten::round_", {*this}, {}, where);
}

Var row_stack(const std::vector<Var>& tensors, Location where) {
  return Call("aten::row_stack", {tensors}, {}, where);
}

Var Var::rsqrt(Location where) const {
  return Call("aten::rsqrt", {*this}, {}, where);
}

Var rsqrt(const Operand& self) {
  return Call("aten::rsqrt", {AsVar(self)}, {}, self.where());
}

Var Var::rsqrt_(Location where) const {
  return Call("aten::rsqrt_", {*this}, {}, where);
}

Var Var::rsub(const Operand& other, Number alpha) const {
  return Call("aten::rsub", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var rsub(const Operand& self, const Operand& other, Number alpha) {
  return Call("aten::rsub", {AsVar(self), other.arg()}, {Unless("alpha", alpha, 1)}, self.where());
}

Var scalar_tensor(const Operand& s, std::optional<DType> dtype) {
  return Call("aten::scalar_tensor", {s.arg()}, {Maybe("dtype", dtype)}, s.where());
}

Var scaled_dot_product_attention(const Operand& query, const Operand& key, const Operand& value, const Arg& attn_mask, bool is_causal, std::optional<double> scale, bool enable_gqa) {
  return Call("aten::scaled_dot_product_attention", {AsVar(query), AsVar(key), AsVar(value)}, {Maybe("attn_mask", attn_mask), Unless("is_causal", is_causal, false), Maybe("scale", scale), Unless("enable_gqa", enable_gqa, false)}, query.where());
}

Var Var::scatter(int64_t dim, const Operand& index, const Operand& src) const {
  return Call("aten::scatter", {*this, dim, AsVar(index), src.arg()}, {}, index.where());
}

Var scatter(const Operand& self, int64_t dim, const Operand& index, const Operand& src) {
  return Call("aten::scatter", {AsVar(self), dim, AsVar(index), src.arg()}, {}, self.where());
}

Var Var::scatter_(int64_t dim, const Operand& index, const Operand& src) const {
  return Call("aten::scatter_", {*this, dim, AsVar(index), src.arg()}, {}, index.where());
}

Var Var::scatter_add(int64_t dim, const Operand& index, const Operand& src) const {
  return Call("aten::scatter_add", {*this, dim, AsVar(index), AsVar(src)}, {}, index.where());
}

Var scatter_add(const Operand& self, int64_t dim, const Operand& index, const Operand& src) {
  return Call("aten::scatter_add", {AsVar(self), dim, AsVar(index), AsVar(src)}, {}, self.where());
}

Var Var::scatter_add_(int64_t dim, const Operand& index, const Operand& src) const {
  return Call("aten::scatter_add_", {*this, dim, AsVar(index), AsVar(src)}, {}, index.where());
}

Var Var::scatter_reduce(int64_t dim, const Operand& index, const Operand& src, const std::string& reduce, bool include_self) const {
  return Call("aten::scatter_reduce", {*this, dim, AsVar(index), AsVar(src), reduce}, {Unless("include_self", include_self, true)}, index.where());
}

Var scatter_reduce(const Operand& self, int64_t dim, const Operand& index, const Operand& src, const std::string& reduce, bool include_self) {
  return Call("aten::scatter_reduce", {AsVar(self), dim, AsVar(index), AsVar(src), reduce}, {Unless("include_self", include_self, true)}, self.where());
}

Var Var::scatter_reduce_(int64_t dim, const Operand& index, const Operand& src, const std::string& reduce, bool include_self) const {
  return Call("aten::scatter_reduce_", {*this, dim, AsVar(index), AsVar(src), reduce}, {Unless("include_self", include_self, true)}, index.where());
}

Var searchsorted(const Operand& sorted_sequence, const Operand& self, bool out_int32, bool right, const std::optional<std::string>& side) {
  return Call("aten::searchsorted", {AsVar(sorted_sequence), self.arg()}, {Unless("out_int32", out_int32, false), Unless("right", right, false), Maybe("side", side)}, sorted_sequence.where());
}

Var Var::select(int64_t dim, int64_t index, Location where) const {
  return Call("aten::select", {*this, dim, index}, {}, where);
}

Var select(const Operand& self, int64_t dim, int64_t index) {
  return Call("aten::select", {AsVar(self), dim, index}, {}, self.where());
}

Var Var::select_scatter(const Operand& src, int64_t dim, int64_t index) const {
  return Call("aten::select_scatter", {*this, AsVar(src), dim, index}, {}, src.where());
}

Var select_scatter(const Operand& self, const Operand& src, int64_t dim, int64_t index) {
  return Call("aten::select_scatter", {AsVar(self), AsVar(src), dim, index}, {}, self.where());
}

Var Var::selu(Location where) const {
  return Call("aten::selu", {*this}, {}, where);
}

Var selu(const Operand& self) {
  return Call("aten::selu", {AsVar(self)}, {}, self.where());
}

Var Var::selu_(Location where) const {
  return Call("aten::selu_", {*this}, {}, where);
}

Var Var::sgn(Location where) const {
  return Call("aten::sgn", {*this}, {}, where);
}

Var sgn(const Operand& self) {
  return Call("aten::sgn", {AsVar(self)}, {}, self.where());
}

Var Var::sgn_(Location where) const {
  return Call("aten::sgn_", {*this}, {}, where);
}

Var Var::sigmoid(Location where) const {
  return Call("aten::sigmoid", {*this}, {}, where);
}

Var sigmoid(const Operand& self) {
  return Call("aten::sigmoid", {AsVar(self)}, {}, self.where());
}

Var Var::sigmoid_(Location where) const {
  return Call("aten::sigmoid_", {*this}, {}, where);
}

Var Var::sign(Location where) const {
  return Call("aten::sign", {*this}, {}, where);
}

Var sign(const Operand& self) {
  return Call("aten::sign", {AsVar(self)}, {}, self.where());
}

Var Var::sign_(Location where) const {
  return Call("aten::sign_", {*this}, {}, where);
}

Var Var::signbit(Location where) const {
  return Call("aten::signbit", {*this}, {}, where);
}

Var signbit(const Operand& self) {
  return Call("aten::signbit", {AsVar(self)}, {}, self.where());
}

Var Var::silu(Location where) const {
  return Call("aten::silu", {*this}, {}, where);
}

Var silu(const Operand& self) {
  return Call("aten::silu", {AsVar(self)}, {}, self.where());
}

Var Var::silu_(Location where) const {
  return Call("aten::silu_", {*this}, {}, where);
}

Var Var::sin(Location where) const {
  return Call("aten::sin", {*this}, {}, where);
}

Var sin(const Operand& self) {
  return Call("aten::sin", {AsVar(self)}, {}, self.where());
}

Var Var::sin_(Location where) const {
  return Call("aten::sin_", {*this}, {}, where);
}

Var Var::sinc(Location where) const {
  return Call("aten::sinc", {*this}, {}, where);
}

Var sinc(const Operand& self) {
  return Call("aten::sinc", {AsVar(self)}, {}, self.where());
}

Var Var::sinc_(Location where) const {
  return Call("aten::sinc_", {*this}, {}, where);
}

Var Var::sinh(Location where) const {
  return Call("aten::sinh", {*this}, {}, where);
}

Var sinh(const Operand& self) {
  return Call("aten::sinh", {AsVar(self)}, {}, self.where());
}

Var Var::sinh_(Location where) const {
  return Call("aten::sinh_", {*this}, {}, where);
}

Var Var::slice(int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step, Location where) const {
  return Call("aten::slice", {*this}, {Unless("dim", dim, 0), Maybe("start", start), Maybe("end", end), Unless("step", step, 1)}, where);
}

Var slice(const Operand& self, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step) {
  return Call("aten::slice", {AsVar(self)}, {Unless("dim", dim, 0), Maybe("start", start), Maybe("end", end), Unless("step", step, 1)}, self.where());
}

Var Var::slice_scatter(const Operand& src, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step) const {
  return Call("aten::slice_scatter", {*this, AsVar(src)}, {Unless("dim", dim, 0), Maybe("start", start), Maybe("end", end), Unless("step", step, 1)}, src.where());
}

Var slice_scatter(const Operand& self, const Operand& src, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end, int64_t step) {
  return Call("aten::slice_scatter", {AsVar(self), AsVar(src)}, {Unless("dim", dim, 0), Maybe("start", start), Maybe("end", end), Unless("step", step, 1)}, self.where());
}

std::pair<Var, Var> Var::slogdet(Location where) const {
  return Items<2>(Call("aten::slogdet", {*this}, {}, where), where);
}

std::pair<Var, Var> slogdet(const Operand& self) {
  return Items<2>(Call("aten::slogdet", {AsVar(self)}, {}, self.where()), self.where());
}

Var smooth_l1_loss(const Operand& self, const Operand& target, int64_t reduction, double beta) {
  return Call("aten::smooth_l1_loss", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1), Unless("beta", beta, 1.0)}, self.where());
}

Var soft_margin_loss(const Operand& self, const Operand& target, int64_t reduction) {
  return Call("aten::soft_margin_loss", {AsVar(self), AsVar(target)}, {Unless("reduction", reduction, 1)}, self.where());
}

Var Var::softmax(int64_t dim, std::optional<DType> dtype, Location where) const {
  return Call("aten::softmax", {*this, dim}, {Maybe("dtype", dtype)}, where);
}

Var softmax(const Operand& self, int64_t dim, std::optional<DType> dtype) {
  return Call("aten::softmax", {AsVar(self), dim}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::softplus(Number beta, Number threshold, Location where) const {
  return Call("aten::softplus", {*this}, {Unless("beta", beta, 1), Unless("threshold", threshold, 20)}, where);
}

Var softplus(const Operand& self, Number beta, Number threshold) {
  return Call("aten::softplus", {AsVar(self)}, {Unless("beta", beta, 1), Unless("threshold", threshold, 20)}, self.where());
}

Var Var::softshrink(Number lambd, Location where) const {
  return Call("aten::softshrink", {*this}, {Unless("lambd", lambd, 0.5)}, where);
}

Var softshrink(const Operand& self, Number lambd) {
  return Call("aten::softshrink", {AsVar(self)}, {Unless("lambd", lambd, 0.5)}, self.where());
}

std::pair<Var, Var> Var::sort(int64_t dim, bool descending, Location where) const {
  return Items<2>(Call("aten::sort", {*this}, {Unless("dim", dim, -1), Unless("descending", descending, false)}, where), where);
}

std::pair<Var, Var> sort(const Operand& self, int64_t dim, bool descending) {
  return Items<2>(Call("aten::sort", {AsVar(self)}, {Unless("dim", dim, -1), Unless("descending", descending, false)}, self.where()), self.where());
}

Var special_entr(const Operand& self) {
  return Call("aten::special_entr", {AsVar(self)}, {}, self.where());
}

Var special_erfcx(const Operand& self) {
  return Call("aten::special_erfcx", {AsVar(self)}, {}, self.where());
}

Var special_expit(const Operand& self) {
  return Call("aten::special_expit", {AsVar(self)}, {}, self.where());
}

Var special_i0e(const Operand& self) {
  return Call("aten::special_i0e", {AsVar(self)}, {}, self.where());
}

Var special_i1(const Operand& self) {
  return Call("aten::special_i1", {AsVar(self)}, {}, self.where());
}

Var special_i1e(const Operand& self) {
  return Call("aten::special_i1e", {AsVar(self)}, {}, self.where());
}

Var special_log_ndtr(const Operand& self) {
  return Call("aten::special_log_ndtr", {AsVar(self)}, {}, self.where());
}

Var special_ndtr(const Operand& self) {
  return Call("aten::special_ndtr", {AsVar(self)}, {}, self.where());
}

Var special_ndtri(const Operand& self) {
  return Call("aten::special_ndtri", {AsVar(self)}, {}, self.where());
}

Var special_xlog1py(const Operand& self, const Operand& other) {
  return Call("aten::special_xlog1py", {self.arg(), other.arg()}, {}, self.where());
}

Var Var::split(int64_t split_size, int64_t dim, Location where) const {
  return Call("aten::split", {*this, split_size}, {Unless("dim", dim, 0)}, where);
}

Var split(const Operand& self, int64_t split_size, int64_t dim) {
  return Call("aten::split", {AsVar(self), split_size}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::split(const Dims& split_size, int64_t dim, Location where) const {
  return Call("aten::split", {*this, split_size.values()}, {Unless("dim", dim, 0)}, where);
}

Var split(const Operand& self, const Dims& split_size, int64_t dim) {
  return Call("aten::split", {AsVar(self), split_size.values()}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::split_with_sizes(const Dims& split_sizes, int64_t dim, Location where) const {
  return Call("aten::split_with_sizes", {*this, split_sizes.values()}, {Unless("dim", dim, 0)}, where);
}

Var split_with_sizes(const Operand& self, const Dims& split_sizes, int64_t dim) {
  return Call("aten::split_with_sizes", {AsVar(self), split_sizes.values()}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::sqrt(Location where) const {
  return Call("aten::sqrt", {*this}, {}, where);
}

Var sqrt(const Operand& self) {
  return Call("aten::sqrt", {AsVar(self)}, {}, self.where());
}

Var Var::sqrt_(Location where) const {
  return Call("aten::sqrt_", {*this}, {}, where);
}

Var Var::square(Location where) const {
  return Call("aten::square", {*this}, {}, where);
}

Var square(const Operand& self) {
  return Call("aten::square", {AsVar(self)}, {}, self.where());
}

Var Var::square_(Location where) const {
  return Call("aten::square_", {*this}, {}, where);
}

Var Var::squeeze(Location where) const {
  return Call("aten::squeeze", {*this}, {}, where);
}

Var squeeze(const Operand& self) {
  return Call("aten::squeeze", {AsVar(self)}, {}, self.where());
}

Var Var::squeeze(int64_t dim, Location where) const {
  return Call("aten::squeeze", {*this, dim}, {}, where);
}

Var squeeze(const Operand& self, int64_t dim) {
  return Call("aten::squeeze", {AsVar(self), dim}, {}, self.where());
}

Var Var::squeeze(const Dims& dim, Location where) const {
  return Call("aten::squeeze", {*this, dim.values()}, {}, where);
}

Var squeeze(const Operand& self, const Dims& dim) {
  return Call("aten::squeeze", {AsVar(self), dim.values()}, {}, self.where());
}

Var stack(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return Call("aten::stack", {tensors}, {Unless("dim", dim, 0)}, where);
}

Var Var::std(const OptionalDims& dim, bool unbiased, bool keepdim, Location where) const {
  return Call("aten::std", {*this}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, where);
}

std::pair<Var, Var> Var::std_mean(const OptionalDims& dim, bool unbiased, bool keepdim, Location where) const {
  return Items<2>(Call("aten::std_mean", {*this}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> std_mean(const Operand& self, const OptionalDims& dim, bool unbiased, bool keepdim) {
  return Items<2>(Call("aten::std_mean", {AsVar(self)}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::sub(const Operand& other, Number alpha) const {
  return Call("aten::sub", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var sub(const Operand& self, const Operand& other, Number alpha) {
  return Call("aten::sub", {AsVar(self), other.arg()}, {Unless("alpha", alpha, 1)}, self.where());
}

Var Var::sub_(const Operand& other, Number alpha) const {
  return Call("aten::sub_", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var Var::subtract(const Operand& other, Number alpha) const {
  return Call("aten::subtract", {*this, other.arg()}, {Unless("alpha", alpha, 1)}, other.where());
}

Var subtract(const Operand& self, const Operand& other, Number alpha) {
  return Call("aten::subtract", {AsVar(self), other.arg()}, {Unless("alpha", alpha, 1)}, self.where());
}

Var Var::sum(std::optional<DType> dtype, Location where) const {
  return Call("aten::sum", {*this}, {Maybe("dtype", dtype)}, where);
}

Var sum(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::sum", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

Var Var::sum(const OptionalDims& dim, bool keepdim, std::optional<DType> dtype, Location where) const {
  return Call("aten::sum", {*this, ToArg(dim)}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, where);
}

Var sum(const Operand& self, const OptionalDims& dim, bool keepdim, std::optional<DType> dtype) {
  return Call("aten::sum", {AsVar(self), ToArg(dim)}, {Unless("keepdim", keepdim, false), Maybe("dtype", dtype)}, self.where());
}

Var Var::sum_to_size(const Dims& size, Location where) const {
  return Call("aten::sum_to_size", {*this, size.values()}, {}, where);
}

Var sum_to_size(const Operand& self, const Dims& size) {
  return Call("aten::sum_to_size", {AsVar(self), size.values()}, {}, self.where());
}

Var Var::swapaxes(int64_t axis0, int64_t axis1, Location where) const {
  return Call("aten::swapaxes", {*this, axis0, axis1}, {}, where);
}

Var swapaxes(const Operand& self, int64_t axis0, int64_t axis1) {
  return Call("aten::swapaxes", {AsVar(self), axis0, axis1}, {}, self.where());
}

Var Var::swapdims(int64_t dim0, int64_t dim1, Location where) const {
  return Call("aten::swapdims", {*this, dim0, dim1}, {}, where);
}

Var swapdims(const Operand& self, int64_t dim0, int64_t dim1) {
  return Call("aten::swapdims", {AsVar(self), dim0, dim1}, {}, self.where());
}

Var Var::t(Location where) const {
  return Call("aten::t", {*this}, {}, where);
}

Var t(const Operand& self) {
  return Call("aten::t", {AsVar(self)}, {}, self.where());
}

Var Var::take(const Operand& index) const {
  return Call("aten::take", {*this, AsVar(index)}, {}, index.where());
}

Var take(const Operand& self, const Operand& index) {
  return Call("aten::take", {AsVar(self), AsVar(index)}, {}, self.where());
}

Var Var::take_along_dim(const Operand& indices, std::optional<int64_t> dim) const {
  return Call("aten::take_along_dim", {*this, AsVar(indices)}, {Maybe("dim", dim)}, indices.where());
}

Var take_along_dim(const Operand& self, const Operand& indices, std::optional<int64_t> dim) {
  return Call("aten::take_along_dim", {AsVar(self), AsVar(indices)}, {Maybe("dim", dim)}, self.where());
}

Var Var::tan(Location where) const {
  return Call("aten::tan", {*this}, {}, where);
}

Var tan(const Operand& self) {
  return Call("aten::tan", {AsVar(self)}, {}, self.where());
}

Var Var::tan_(Location where) const {
  return Call("aten::tan_", {*this}, {}, where);
}

Var Var::tanh(Location where) const {
  return Call("aten::tanh", {*this}, {}, where);
}

Var tanh(const Operand& self) {
  return Call("aten::tanh", {AsVar(self)}, {}, self.where());
}

Var Var::tanh_(Location where) const {
  return Call("aten::tanh_", {*this}, {}, where);
}

Var Var::tensor_split(int64_t sections, int64_t dim, Location where) const {
  return Call("aten::tensor_split", {*this, sections}, {Unless("dim", dim, 0)}, where);
}

Var tensor_split(const Operand& self, int64_t sections, int64_t dim) {
  return Call("aten::tensor_split", {AsVar(self), sections}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::tensor_split(const Dims& indices, int64_t dim, Location where) const {
  return Call("aten::tensor_split", {*this, indices.values()}, {Unless("dim", dim, 0)}, where);
}

Var tensor_split(const Operand& self, const Dims& indices, int64_t dim) {
  return Call("aten::tensor_split", {AsVar(self), indices.values()}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::tensordot(const Operand& other, const Dims& dims_self, const Dims& dims_other) const {
  return Call("aten::tensordot", {*this, AsVar(other), dims_self.values(), dims_other.values()}, {}, other.where());
}

Var tensordot(const Operand& self, const Operand& other, const Dims& dims_self, const Dims& dims_other) {
  return Call("aten::tensordot", {AsVar(self), AsVar(other), dims_self.values(), dims_other.values()}, {}, self.where());
}

Var Var::threshold(const Operand& threshold, const Operand& value) const {
  return Call("aten::threshold", {*this, threshold.arg(), value.arg()}, {}, threshold.where());
}

Var threshold(const Operand& self, const Operand& threshold, const Operand& value) {
  return Call("aten::threshold", {AsVar(self), threshold.arg(), value.arg()}, {}, self.where());
}

Var Var::threshold_(const Operand& threshold, const Operand& value) const {
  return Call("aten::threshold_", {*this, threshold.arg(), value.arg()}, {}, threshold.where());
}

Var Var::tile(const Dims& dims, Location where) const {
  return Call("aten::tile", {*this, dims.values()}, {}, where);
}

Var tile(const Operand& self, const Dims& dims) {
  return Call("aten::tile", {AsVar(self), dims.values()}, {}, self.where());
}

Var Var::to(DType dtype, bool copy, Location where) const {
  return Call("aten::to", {*this, dtype}, {Unless("copy", copy, false)}, where);
}

Var to(const Operand& self, DType dtype, bool copy) {
  return Call("aten::to", {AsVar(self), dtype}, {Unless("copy", copy, false)}, self.where());
}

Var Var::to(const Operand& other, bool copy) const {
  return Call("aten::to", {*this, AsVar(other)}, {Unless("copy", copy, false)}, other.where());
}

Var to(const Operand& self, const Operand& other, bool copy) {
  return Call("aten::to", {AsVar(self), AsVar(other)}, {Unless("copy", copy, false)}, self.where());
}

std::pair<Var, Var> Var::topk(int64_t k, int64_t dim, bool largest, bool sorted, Location where) const {
  return Items<2>(Call("aten::topk", {*this, k}, {Unless("dim", dim, -1), Unless("largest", largest, true), Unless("sorted", sorted, true)}, where), where);
}

std::pair<Var, Var> topk(const Operand& self, int64_t k, int64_t dim, bool largest, bool sorted) {
  return Items<2>(Call("aten::topk", {AsVar(self), k}, {Unless("dim", dim, -1), Unless("largest", largest, true), Unless("sorted", sorted, true)}, self.where()), self.where());
}

Var Var::trace(Location where) const {
  return Call("aten::trace", {*this}, {}, where);
}

Var trace(const Operand& self) {
  return Call("aten::trace", {AsVar(self)}, {}, self.where());
}

Var Var::transpose(int64_t dim0, int64_t dim1, Location where) const {
  return Call("aten::transpose", {*this, dim0, dim1}, {}, where);
}

Var transpose(const Operand& self, int64_t dim0, int64_t dim1) {
  return Call("aten::transpose", {AsVar(self), dim0, dim1}, {}, self.where());
}

Var trapezoid(const Operand& y, Number dx, int64_t dim) {
  return Call("aten::trapezoid", {AsVar(y)}, {Unless("dx", dx, 1), Unless("dim", dim, -1)}, y.where());
}

Var trapezoid(const Operand& y, const Operand& x, int64_t dim) {
  return Call("aten::trapezoid", {AsVar(y), x.arg()}, {Unless("dim", dim, -1)}, y.where());
}

Var Var::tril(int64_t diagonal, Location where) const {
  return Call("aten::tril", {*this}, {Unless("diagonal", diagonal, 0)}, where);
}

Var tril(const Operand& self, int64_t diagonal) {
  return Call("aten::tril", {AsVar(self)}, {Unless("diagonal", diagonal, 0)}, self.where());
}

Var Var::tril_(int64_t diagonal, Location where) const {
  return Call("aten::tril_", {*this}, {Unless("diagonal", diagonal, 0)}, where);
}

Var tril_indices(int64_t row, int64_t col, int64_t offset, DType dtype, Location where) {
  return Call("aten::tril_indices", {row, col}, {Unless("offset", offset, 0), Unless("dtype", dtype, kInt64)}, where);
}

Var triplet_margin_loss(const Operand& anchor, const Operand& positive, const Operand& negative, double margin, double p, double eps, bool swap, int64_t reduction) {
  return Call("aten::triplet_margin_loss", {AsVar(anchor), AsVar(positive), AsVar(negative)}, {Unless("margin", margin, 1.0), Unless("p", p, 2.0), Unless("eps", eps, 1e-06), Unless("swap", swap, false), Unless("reduction", reduction, 1)}, anchor.where());
}

Var Var::triu(int64_t diagonal, Location where) const {
  return Call("aten::triu", {*this}, {Unless("diagonal", diagonal, 0)}, where);
}

Var triu(const Operand& self, int64_t diagonal) {
  return Call("aten::triu", {AsVar(self)}, {Unless("diagonal", diagonal, 0)}, self.where());
}

Var Var::triu_(int64_t diagonal, Location where) const {
  return Call("aten::triu_", {*this}, {Unless("diagonal", diagonal, 0)}, where);
}

Var triu_indices(int64_t row, int64_t col, int64_t offset, DType dtype, Location where) {
  return Call("aten::triu_indices", {row, col}, {Unless("offset", offset, 0), Unless("dtype", dtype, kInt64)}, where);
}

Var Var::true_divide(const Operand& other) const {
  return Call("aten::true_divide", {*this, other.arg()}, {}, other.where());
}

Var true_divide(const Operand& self, const Operand& other) {
  return Call("aten::true_divide", {AsVar(self), other.arg()}, {}, self.where());
}

Var Var::trunc(Location where) const {
  return Call("aten::trunc", {*this}, {}, where);
}

Var trunc(const Operand& self) {
  return Call("aten::trunc", {AsVar(self)}, {}, self.where());
}

Var Var::trunc_(Location where) const {
  return Call("aten::trunc_", {*this}, {}, where);
}

Var Var::type_as(const Operand& other) const {
  return Call("aten::type_as", {*this, AsVar(other)}, {}, other.where());
}

Var type_as(const Operand& self, const Operand& other) {
  return Call("aten::type_as", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::unbind(int64_t dim, Location where) const {
  return Call("aten::unbind", {*this}, {Unless("dim", dim, 0)}, where);
}

Var unbind(const Operand& self, int64_t dim) {
  return Call("aten::unbind", {AsVar(self)}, {Unless("dim", dim, 0)}, self.where());
}

Var Var::unflatten(int64_t dim, const Dims& sizes, Location where) const {
  return Call("aten::unflatten", {*this, dim, sizes.values()}, {}, where);
}

Var unflatten(const Operand& self, int64_t dim, const Dims& sizes) {
  return Call("aten::unflatten", {AsVar(self), dim, sizes.values()}, {}, self.where());
}

Var Var::unfold(int64_t dimension, int64_t size, int64_t step, Location where) const {
  return Call("aten::unfold", {*this, dimension, size, step}, {}, where);
}

Var unfold(const Operand& self, int64_t dimension, int64_t size, int64_t step) {
  return Call("aten::unfold", {AsVar(self), dimension, size, step}, {}, self.where());
}

Var Var::uniform(double from, double to, Location where) const {
  return Call("aten::uniform", {*this}, {Unless("from", from, 0.0), Unless("to", to, 1.0)}, where);
}

Var uniform(const Operand& self, double from, double to) {
  return Call("aten::uniform", {AsVar(self)}, {Unless("from", from, 0.0), Unless("to", to, 1.0)}, self.where());
}

Var Var::uniform_(double from, double to, Location where) const {
  return Call("aten::uniform_", {*this}, {Unless("from", from, 0.0), Unless("to", to, 1.0)}, where);
}

Var Var::unsqueeze(int64_t dim, Location where) const {
  return Call("aten::unsqueeze", {*this, dim}, {}, where);
}

Var unsqueeze(const Operand& self, int64_t dim) {
  return Call("aten::unsqueeze", {AsVar(self), dim}, {}, self.where());
}

Var upsample_bicubic2d(const Operand& self, const Dims& output_size, bool align_corners) {
  return Call("aten::upsample_bicubic2d", {AsVar(self), output_size.values(), align_corners}, {}, self.where());
}

Var upsample_bilinear2d(const Operand& self, const Dims& output_size, bool align_corners) {
  return Call("aten::upsample_bilinear2d", {AsVar(self), output_size.values(), align_corners}, {}, self.where());
}

Var upsample_linear1d(const Operand& self, const Dims& output_size, bool align_corners) {
  return Call("aten::upsample_linear1d", {AsVar(self), output_size.values(), align_corners}, {}, self.where());
}

Var upsample_nearest1d(const Operand& self, const Dims& output_size) {
  return Call("aten::upsample_nearest1d", {AsVar(self), output_size.values()}, {}, self.where());
}

Var upsample_nearest2d(const Operand& self, const Dims& output_size) {
  return Call("aten::upsample_nearest2d", {AsVar(self), output_size.values()}, {}, self.where());
}

Var Var::var(const OptionalDims& dim, bool unbiased, bool keepdim, Location where) const {
  return Call("aten::var", {*this}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, where);
}

Var var(const Operand& self, const OptionalDims& dim, bool unbiased, bool keepdim) {
  return Call("aten::var", {AsVar(self)}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, self.where());
}

std::pair<Var, Var> Var::var_mean(const OptionalDims& dim, bool unbiased, bool keepdim, Location where) const {
  return Items<2>(Call("aten::var_mean", {*this}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, where), where);
}

std::pair<Var, Var> var_mean(const Operand& self, const OptionalDims& dim, bool unbiased, bool keepdim) {
  return Items<2>(Call("aten::var_mean", {AsVar(self)}, {Maybe("dim", dim), Unless("unbiased", unbiased, true), Unless("keepdim", keepdim, false)}, self.where()), self.where());
}

Var Var::vdot(const Operand& other) const {
  return Call("aten::vdot", {*this, AsVar(other)}, {}, other.where());
}

Var vdot(const Operand& self, const Operand& other) {
  return Call("aten::vdot", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::view(const Dims& size, Location where) const {
  return Call("aten::view", {*this, size.values()}, {}, where);
}

Var view(const Operand& self, const Dims& size) {
  return Call("aten::view", {AsVar(self), size.values()}, {}, self.where());
}

Var Var::view_as(const Operand& other) const {
  return Call("aten::view_as", {*this, AsVar(other)}, {}, other.where());
}

Var view_as(const Operand& self, const Operand& other) {
  return Call("aten::view_as", {AsVar(self), AsVar(other)}, {}, self.where());
}

Var Var::view_as_real(Location where) const {
  return Call("aten::view_as_real", {*this}, {}, where);
}

Var view_as_real(const Operand& self) {
  return Call("aten::view_as_real", {AsVar(self)}, {}, self.where());
}

Var Var::vsplit(int64_t sections, Location where) const {
  return Call("aten::vsplit", {*this, sections}, {}, where);
}

Var vsplit(const Operand& self, int64_t sections) {
  return Call("aten::vsplit", {AsVar(self), sections}, {}, self.where());
}

Var Var::vsplit(const Dims& indices, Location where) const {
  return Call("aten::vsplit", {*this, indices.values()}, {}, where);
}

Var vsplit(const Operand& self, const Dims& indices) {
  return Call("aten::vsplit", {AsVar(self), indices.values()}, {}, self.where());
}

Var vstack(const std::vector<Var>& tensors, Location where) {
  return Call("aten::vstack", {tensors}, {}, where);
}

Var where(const Operand& condition, const Operand& self, const Operand& other) {
  return Call("aten::where", {AsVar(condition), self.arg(), other.arg()}, {}, condition.where());
}

Var Var::xlogy(const Operand& other) const {
  return Call("aten::xlogy", {*this, other.arg()}, {}, other.where());
}

Var xlogy(const Operand& self, const Operand& other) {
  return Call("aten::xlogy", {self.arg(), other.arg()}, {}, self.where());
}

Var Var::zero(Location where) const {
  return Call("aten::zero", {*this}, {}, where);
}

Var zero(const Operand& self) {
  return Call("aten::zero", {AsVar(self)}, {}, self.where());
}

Var Var::zero_(Location where) const {
  return Call("aten::zero_", {*this}, {}, where);
}

Var zeros(const Dims& size, std::optional<DType> dtype, Location where) {
  return Call("aten::zeros", {size.values()}, {Maybe("dtype", dtype)}, where);
}

Var Var::zeros_like(std::optional<DType> dtype, Location where) const {
  return Call("aten::zeros_like", {*this}, {Maybe("dtype", dtype)}, where);
}

Var zeros_like(const Operand& self, std::optional<DType> dtype) {
  return Call("aten::zeros_like", {AsVar(self)}, {Maybe("dtype", dtype)}, self.where());
}

}  // namespace weft
// clang-format on
