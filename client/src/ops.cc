#include "weft/ops.h"

#include <memory>
#include <utility>

#include "client/src/recording.h"

namespace weft {
namespace {

using internal::Recording;

/// An operand as a value, for operators that take no number in its place.
Var AsVar(const Operand& operand) {
  const Arg::Variant& value = operand.arg().value();
  if (const auto* var = std::get_if<Var>(&value)) return *var;
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Constant(operand);
}

/// The two results of an operator.
std::pair<Var, Var> Both(const Var& tuple, Location where) {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return {};
  return {recording->Item(tuple, 0, where), recording->Item(tuple, 1, where)};
}

Var Make(graph::Structure::Kind kind, const std::vector<std::pair<std::string, Var>>& items,
         Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Structure(kind, items, where);
}

std::vector<std::pair<std::string, Var>> Unnamed(const std::vector<Var>& items) {
  std::vector<std::pair<std::string, Var>> unnamed;
  for (const Var& item : items) unnamed.emplace_back("", item);
  return unnamed;
}

}  // namespace

Var op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
       Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Op(name, args, named, where);
}

Var constant(const Tensor& value, Location where) { return AsVar(Operand(value, where)); }

Var make_list(const std::vector<Var>& items, Location where) {
  return Make(graph::Structure::Kind::kList, Unnamed(items), where);
}

Var make_tuple(const std::vector<Var>& items, Location where) {
  return Make(graph::Structure::Kind::kTuple, Unnamed(items), where);
}

Var make_dict(const std::vector<std::pair<std::string, Var>>& entries, Location where) {
  return Make(graph::Structure::Kind::kDict, entries, where);
}

void Log(const Var& value, const std::string& label, Location where) {
  if (Recording* recording = Recording::Current()) recording->Log(value, label, where);
}

void Stop(Location where) {
  if (Recording* recording = Recording::Current()) recording->Stop(where);
}

// Element by element.

Var Var::abs(Location where) const { return op("aten::abs", {*this}, {}, where); }

Var abs(const Operand& x) { return AsVar(x).abs(x.where()); }

Var Var::neg(Location where) const { return op("aten::neg", {*this}, {}, where); }

Var neg(const Operand& x) { return AsVar(x).neg(x.where()); }

Var Var::exp(Location where) const { return op("aten::exp", {*this}, {}, where); }

Var exp(const Operand& x) { return AsVar(x).exp(x.where()); }

Var Var::expm1(Location where) const { return op("aten::expm1", {*this}, {}, where); }

Var expm1(const Operand& x) { return AsVar(x).expm1(x.where()); }

Var Var::log(Location where) const { return op("aten::log", {*this}, {}, where); }

Var log(const Operand& x) { return AsVar(x).log(x.where()); }

Var Var::log1p(Location where) const { return op("aten::log1p", {*this}, {}, where); }

Var log1p(const Operand& x) { return AsVar(x).log1p(x.where()); }

Var Var::sqrt(Location where) const { return op("aten::sqrt", {*this}, {}, where); }

Var sqrt(const Operand& x) { return AsVar(x).sqrt(x.where()); }

Var Var::rsqrt(Location where) const { return op("aten::rsqrt", {*this}, {}, where); }

Var rsqrt(const Operand& x) { return AsVar(x).rsqrt(x.where()); }

Var Var::reciprocal(Location where) const { return op("aten::reciprocal", {*this}, {}, where); }

Var reciprocal(const Operand& x) { return AsVar(x).reciprocal(x.where()); }

Var Var::square(Location where) const { return op("aten::square", {*this}, {}, where); }

Var square(const Operand& x) { return AsVar(x).square(x.where()); }

Var Var::sin(Location where) const { return op("aten::sin", {*this}, {}, where); }

Var sin(const Operand& x) { return AsVar(x).sin(x.where()); }

Var Var::cos(Location where) const { return op("aten::cos", {*this}, {}, where); }

Var cos(const Operand& x) { return AsVar(x).cos(x.where()); }

Var Var::tan(Location where) const { return op("aten::tan", {*this}, {}, where); }

Var tan(const Operand& x) { return AsVar(x).tan(x.where()); }

Var Var::tanh(Location where) const { return op("aten::tanh", {*this}, {}, where); }

Var tanh(const Operand& x) { return AsVar(x).tanh(x.where()); }

Var Var::erf(Location where) const { return op("aten::erf", {*this}, {}, where); }

Var erf(const Operand& x) { return AsVar(x).erf(x.where()); }

Var Var::sigmoid(Location where) const { return op("aten::sigmoid", {*this}, {}, where); }

Var sigmoid(const Operand& x) { return AsVar(x).sigmoid(x.where()); }

Var Var::relu(Location where) const { return op("aten::relu", {*this}, {}, where); }

Var relu(const Operand& x) { return AsVar(x).relu(x.where()); }

Var Var::silu(Location where) const { return op("aten::silu", {*this}, {}, where); }

Var silu(const Operand& x) { return AsVar(x).silu(x.where()); }

Var Var::sign(Location where) const { return op("aten::sign", {*this}, {}, where); }

Var sign(const Operand& x) { return AsVar(x).sign(x.where()); }

Var Var::round(Location where) const { return op("aten::round", {*this}, {}, where); }

Var round(const Operand& x) { return AsVar(x).round(x.where()); }

Var Var::floor(Location where) const { return op("aten::floor", {*this}, {}, where); }

Var floor(const Operand& x) { return AsVar(x).floor(x.where()); }

Var Var::ceil(Location where) const { return op("aten::ceil", {*this}, {}, where); }

Var ceil(const Operand& x) { return AsVar(x).ceil(x.where()); }

Var Var::trunc(Location where) const { return op("aten::trunc", {*this}, {}, where); }

Var trunc(const Operand& x) { return AsVar(x).trunc(x.where()); }

Var Var::isnan(Location where) const { return op("aten::isnan", {*this}, {}, where); }

Var isnan(const Operand& x) { return AsVar(x).isnan(x.where()); }

Var Var::isinf(Location where) const { return op("aten::isinf", {*this}, {}, where); }

Var isinf(const Operand& x) { return AsVar(x).isinf(x.where()); }

Var Var::isfinite(Location where) const { return op("aten::isfinite", {*this}, {}, where); }

Var isfinite(const Operand& x) { return AsVar(x).isfinite(x.where()); }

Var Var::logical_not(Location where) const { return op("aten::logical_not", {*this}, {}, where); }

Var logical_not(const Operand& x) { return AsVar(x).logical_not(x.where()); }

Var Var::bitwise_not(Location where) const { return op("aten::bitwise_not", {*this}, {}, where); }

Var bitwise_not(const Operand& x) { return AsVar(x).bitwise_not(x.where()); }

Var Var::gelu(const std::string& approximate, Location where) const {
  return op("aten::gelu", {*this}, {{"approximate", approximate}}, where);
}

Var gelu(const Operand& x, const std::string& approximate) {
  return AsVar(x).gelu(approximate, x.where());
}

Var Var::add(const Operand& other) const {
  return op("aten::add", {*this, other.arg()}, {}, other.where());
}

Var Var::sub(const Operand& other) const {
  return op("aten::sub", {*this, other.arg()}, {}, other.where());
}

Var Var::mul(const Operand& other) const {
  return op("aten::mul", {*this, other.arg()}, {}, other.where());
}

Var Var::div(const Operand& other) const {
  return op("aten::div", {*this, other.arg()}, {}, other.where());
}

Var Var::pow(const Operand& other) const {
  return op("aten::pow", {*this, other.arg()}, {}, other.where());
}

Var Var::remainder(const Operand& other) const {
  return op("aten::remainder", {*this, other.arg()}, {}, other.where());
}

Var Var::floor_divide(const Operand& other) const {
  return op("aten::floor_divide", {*this, other.arg()}, {}, other.where());
}

Var Var::eq(const Operand& other) const {
  return op("aten::eq", {*this, other.arg()}, {}, other.where());
}

Var Var::ne(const Operand& other) const {
  return op("aten::ne", {*this, other.arg()}, {}, other.where());
}

Var Var::lt(const Operand& other) const {
  return op("aten::lt", {*this, other.arg()}, {}, other.where());
}

Var Var::le(const Operand& other) const {
  return op("aten::le", {*this, other.arg()}, {}, other.where());
}

Var Var::gt(const Operand& other) const {
  return op("aten::gt", {*this, other.arg()}, {}, other.where());
}

Var Var::ge(const Operand& other) const {
  return op("aten::ge", {*this, other.arg()}, {}, other.where());
}

Var Var::maximum(const Operand& other) const {
  return op("aten::maximum", {*this, AsVar(other)}, {}, other.where());
}

Var Var::minimum(const Operand& other) const {
  return op("aten::minimum", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logical_and(const Operand& other) const {
  return op("aten::logical_and", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logical_or(const Operand& other) const {
  return op("aten::logical_or", {*this, AsVar(other)}, {}, other.where());
}

Var Var::logical_xor(const Operand& other) const {
  return op("aten::logical_xor", {*this, AsVar(other)}, {}, other.where());
}

Var Var::bitwise_and(const Operand& other) const {
  return op("aten::bitwise_and", {*this, AsVar(other)}, {}, other.where());
}

Var Var::bitwise_or(const Operand& other) const {
  return op("aten::bitwise_or", {*this, AsVar(other)}, {}, other.where());
}

Var Var::bitwise_xor(const Operand& other) const {
  return op("aten::bitwise_xor", {*this, AsVar(other)}, {}, other.where());
}

Var pow(const Operand& a, const Operand& b) {
  return op("aten::pow", {a.arg(), b.arg()}, {}, b.where());
}

Var maximum(const Operand& a, const Operand& b) { return AsVar(a).maximum(b); }

Var minimum(const Operand& a, const Operand& b) { return AsVar(a).minimum(b); }

Var logical_and(const Operand& a, const Operand& b) { return AsVar(a).logical_and(b); }

Var logical_or(const Operand& a, const Operand& b) { return AsVar(a).logical_or(b); }

Var logical_xor(const Operand& a, const Operand& b) { return AsVar(a).logical_xor(b); }

Var Var::clamp(const Arg& min, Location where) const { return clamp(min, None, where); }

Var Var::clamp(const Arg& min, const Arg& max, Location where) const {
  return op("aten::clamp", {*this, min, max}, {}, where);
}

Var Var::masked_fill(const Operand& mask, const Operand& value) const {
  return op("aten::masked_fill", {*this, AsVar(mask), value.arg()}, {}, mask.where());
}

Var where(const Operand& condition, const Operand& a, const Operand& b) {
  return op("aten::where", {AsVar(condition), AsVar(a), AsVar(b)}, {}, condition.where());
}

Var Var::to(DType dtype, Location where) const { return op("aten::to", {*this, dtype}, {}, where); }

Var Var::clone(Location where) const { return op("aten::clone", {*this}, {}, where); }

// In place: a new version of this value, and of the site it was read from.

Var Var::zero_(Location where) const { return op("aten::zero_", {*this}, {}, where); }

Var Var::abs_(Location where) const { return op("aten::abs_", {*this}, {}, where); }

Var Var::neg_(Location where) const { return op("aten::neg_", {*this}, {}, where); }

Var Var::exp_(Location where) const { return op("aten::exp_", {*this}, {}, where); }

Var Var::sqrt_(Location where) const { return op("aten::sqrt_", {*this}, {}, where); }

Var Var::tanh_(Location where) const { return op("aten::tanh_", {*this}, {}, where); }

Var Var::sigmoid_(Location where) const { return op("aten::sigmoid_", {*this}, {}, where); }

Var Var::relu_(Location where) const { return op("aten::relu_", {*this}, {}, where); }

Var Var::add_(const Operand& other) const {
  return op("aten::add_", {*this, other.arg()}, {}, other.where());
}

Var Var::sub_(const Operand& other) const {
  return op("aten::sub_", {*this, other.arg()}, {}, other.where());
}

Var Var::mul_(const Operand& other) const {
  return op("aten::mul_", {*this, other.arg()}, {}, other.where());
}

Var Var::div_(const Operand& other) const {
  return op("aten::div_", {*this, other.arg()}, {}, other.where());
}

Var Var::pow_(const Operand& other) const {
  return op("aten::pow_", {*this, other.arg()}, {}, other.where());
}

Var Var::fill_(const Operand& other) const {
  return op("aten::fill_", {*this, other.arg()}, {}, other.where());
}

Var Var::copy_(const Operand& other) const {
  return op("aten::copy_", {*this, AsVar(other)}, {}, other.where());
}

Var Var::clamp_(const Arg& min, Location where) const { return clamp_(min, None, where); }

Var Var::clamp_(const Arg& min, const Arg& max, Location where) const {
  return op("aten::clamp_", {*this, min, max}, {}, where);
}

Var Var::masked_fill_(const Operand& mask, const Operand& value) const {
  return op("aten::masked_fill_", {*this, AsVar(mask), value.arg()}, {}, mask.where());
}

// Products.

Var Var::matmul(const Operand& other) const {
  return op("aten::matmul", {*this, AsVar(other)}, {}, other.where());
}

Var Var::mm(const Operand& other) const {
  return op("aten::mm", {*this, AsVar(other)}, {}, other.where());
}

Var Var::bmm(const Operand& other) const {
  return op("aten::bmm", {*this, AsVar(other)}, {}, other.where());
}

Var Var::mv(const Operand& other) const {
  return op("aten::mv", {*this, AsVar(other)}, {}, other.where());
}

Var Var::dot(const Operand& other) const {
  return op("aten::dot", {*this, AsVar(other)}, {}, other.where());
}

Var Var::outer(const Operand& other) const {
  return op("aten::outer", {*this, AsVar(other)}, {}, other.where());
}

Var matmul(const Operand& a, const Operand& b) { return AsVar(a).matmul(b); }

Var bmm(const Operand& a, const Operand& b) { return AsVar(a).bmm(b); }

Var dot(const Operand& a, const Operand& b) { return AsVar(a).dot(b); }

Var outer(const Operand& a, const Operand& b) { return AsVar(a).outer(b); }

Var einsum(const std::string& equation, const std::vector<Var>& operands, Location where) {
  return op("aten::einsum", {equation, operands}, {}, where);
}

Var linear(const Operand& x, const Operand& weight, const Arg& bias) {
  return op("aten::linear", {AsVar(x), AsVar(weight), bias}, {}, x.where());
}

Var embedding(const Operand& weight, const Operand& ids) {
  return op("aten::embedding", {AsVar(weight), AsVar(ids)}, {}, weight.where());
}

// Reductions. Without dimensions they are over all elements.

Var Var::sum(Location where) const { return op("aten::sum", {*this}, {}, where); }

Var Var::sum(const Dims& dims, bool keepdim, Location where) const {
  return op("aten::sum", {*this, dims.values(), keepdim}, {}, where);
}

Var sum(const Operand& x) { return AsVar(x).sum(x.where()); }

Var sum(const Operand& x, const Dims& dims, bool keepdim) {
  return AsVar(x).sum(dims, keepdim, x.where());
}

Var Var::mean(Location where) const { return op("aten::mean", {*this}, {}, where); }

Var Var::mean(const Dims& dims, bool keepdim, Location where) const {
  return op("aten::mean", {*this, dims.values(), keepdim}, {}, where);
}

Var mean(const Operand& x) { return AsVar(x).mean(x.where()); }

Var mean(const Operand& x, const Dims& dims, bool keepdim) {
  return AsVar(x).mean(dims, keepdim, x.where());
}

Var Var::amax(Location where) const { return op("aten::amax", {*this}, {}, where); }

Var Var::amax(const Dims& dims, bool keepdim, Location where) const {
  return op("aten::amax", {*this, dims.values(), keepdim}, {}, where);
}

Var amax(const Operand& x) { return AsVar(x).amax(x.where()); }

Var amax(const Operand& x, const Dims& dims, bool keepdim) {
  return AsVar(x).amax(dims, keepdim, x.where());
}

Var Var::amin(Location where) const { return op("aten::amin", {*this}, {}, where); }

Var Var::amin(const Dims& dims, bool keepdim, Location where) const {
  return op("aten::amin", {*this, dims.values(), keepdim}, {}, where);
}

Var amin(const Operand& x) { return AsVar(x).amin(x.where()); }

Var amin(const Operand& x, const Dims& dims, bool keepdim) {
  return AsVar(x).amin(dims, keepdim, x.where());
}

Var Var::all(Location where) const { return op("aten::all", {*this}, {}, where); }

Var Var::all(int64_t dim, bool keepdim, Location where) const {
  return op("aten::all", {*this, dim, keepdim}, {}, where);
}

Var Var::any(Location where) const { return op("aten::any", {*this}, {}, where); }

Var Var::any(int64_t dim, bool keepdim, Location where) const {
  return op("aten::any", {*this, dim, keepdim}, {}, where);
}

Var Var::var(const Dims& dims, bool unbiased, bool keepdim, Location where) const {
  return op("aten::var", {*this, dims.values(), unbiased, keepdim}, {}, where);
}

Var Var::std(const Dims& dims, bool unbiased, bool keepdim, Location where) const {
  return op("aten::std", {*this, dims.values(), unbiased, keepdim}, {}, where);
}

Var Var::norm(double p, Location where) const {
  return op("aten::linalg_vector_norm", {*this, p}, {}, where);
}

Var Var::norm(double p, const Dims& dims, bool keepdim, Location where) const {
  return op("aten::linalg_vector_norm", {*this, p, dims.values(), keepdim}, {}, where);
}

Var Var::logsumexp(const Dims& dims, bool keepdim, Location where) const {
  return op("aten::logsumexp", {*this, dims.values(), keepdim}, {}, where);
}

Var Var::cumsum(int64_t dim, Location where) const {
  return op("aten::cumsum", {*this, dim}, {}, where);
}

Var Var::softmax(int64_t dim, Location where) const {
  return op("aten::softmax", {*this, dim}, {}, where);
}

Var softmax(const Operand& x, int64_t dim) { return AsVar(x).softmax(dim, x.where()); }

Var Var::log_softmax(int64_t dim, Location where) const {
  return op("aten::log_softmax", {*this, dim}, {}, where);
}

Var log_softmax(const Operand& x, int64_t dim) { return AsVar(x).log_softmax(dim, x.where()); }

Var Var::argmax(Location where) const { return op("aten::argmax", {*this}, {}, where); }

Var Var::argmax(int64_t dim, bool keepdim, Location where) const {
  return op("aten::argmax", {*this}, {{"dim", dim}, {"keepdim", keepdim}}, where);
}

Var argmax(const Operand& x, int64_t dim, bool keepdim) {
  return AsVar(x).argmax(dim, keepdim, x.where());
}

Var Var::argmin(Location where) const { return op("aten::argmin", {*this}, {}, where); }

Var Var::argmin(int64_t dim, bool keepdim, Location where) const {
  return op("aten::argmin", {*this}, {{"dim", dim}, {"keepdim", keepdim}}, where);
}

Var argmin(const Operand& x, int64_t dim, bool keepdim) {
  return AsVar(x).argmin(dim, keepdim, x.where());
}

Var Var::max(Location where) const { return op("aten::max", {*this}, {}, where); }

Var Var::min(Location where) const { return op("aten::min", {*this}, {}, where); }

std::pair<Var, Var> Var::max(int64_t dim, bool keepdim, Location where) const {
  return Both(op("aten::max", {*this, dim, keepdim}, {}, where), where);
}

std::pair<Var, Var> Var::min(int64_t dim, bool keepdim, Location where) const {
  return Both(op("aten::min", {*this, dim, keepdim}, {}, where), where);
}

std::pair<Var, Var> Var::topk(int64_t k, int64_t dim, bool largest, Location where) const {
  return Both(op("aten::topk", {*this, k, dim, largest}, {}, where), where);
}

std::pair<Var, Var> Var::sort(int64_t dim, bool descending, Location where) const {
  return Both(op("aten::sort", {*this, dim, descending}, {}, where), where);
}

// Shapes.

Var Var::view(const Dims& sizes, Location where) const {
  return op("aten::view", {*this, sizes.values()}, {}, where);
}

Var Var::reshape(const Dims& sizes, Location where) const {
  return op("aten::reshape", {*this, sizes.values()}, {}, where);
}

Var Var::expand(const Dims& sizes, Location where) const {
  return op("aten::expand", {*this, sizes.values()}, {}, where);
}

Var Var::repeat(const Dims& sizes, Location where) const {
  return op("aten::repeat", {*this, sizes.values()}, {}, where);
}

Var Var::permute(const Dims& dims, Location where) const {
  return op("aten::permute", {*this, dims.values()}, {}, where);
}

Var Var::flip(const Dims& dims, Location where) const {
  return op("aten::flip", {*this, dims.values()}, {}, where);
}

Var Var::transpose(int64_t dim0, int64_t dim1, Location where) const {
  return op("aten::transpose", {*this, dim0, dim1}, {}, where);
}

Var Var::t(Location where) const { return op("aten::t", {*this}, {}, where); }

Var Var::unsqueeze(int64_t dim, Location where) const {
  return op("aten::unsqueeze", {*this, dim}, {}, where);
}

Var Var::squeeze(int64_t dim, Location where) const {
  return op("aten::squeeze", {*this, dim}, {}, where);
}

Var Var::flatten(int64_t start_dim, int64_t end_dim, Location where) const {
  return op("aten::flatten", {*this, start_dim, end_dim}, {}, where);
}

Var Var::unflatten(int64_t dim, const Dims& sizes, Location where) const {
  return op("aten::unflatten", {*this, dim, sizes.values()}, {}, where);
}

Var Var::contiguous(Location where) const { return op("aten::contiguous", {*this}, {}, where); }

Var Var::select(int64_t dim, int64_t index, Location where) const {
  return op("aten::select", {*this, dim, index}, {}, where);
}

Var Var::narrow(int64_t dim, int64_t start, int64_t length, Location where) const {
  return op("aten::narrow", {*this, dim, start, length}, {}, where);
}

Var Var::tril(int64_t diagonal, Location where) const {
  return op("aten::tril", {*this, diagonal}, {}, where);
}

Var Var::triu(int64_t diagonal, Location where) const {
  return op("aten::triu", {*this, diagonal}, {}, where);
}

Var Var::split(int64_t size, int64_t dim, Location where) const {
  return op("aten::split", {*this, size, dim}, {}, where);
}

Var Var::chunk(int64_t count, int64_t dim, Location where) const {
  return op("aten::chunk", {*this, count, dim}, {}, where);
}

Var Var::unbind(int64_t dim, Location where) const {
  return op("aten::unbind", {*this, dim}, {}, where);
}

Var cat(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return op("aten::cat", {tensors, dim}, {}, where);
}

Var stack(const std::vector<Var>& tensors, int64_t dim, Location where) {
  return op("aten::stack", {tensors, dim}, {}, where);
}

// By index.

Var Var::gather(int64_t dim, const Operand& index) const {
  return op("aten::gather", {*this, dim, AsVar(index)}, {}, index.where());
}

Var Var::index_select(int64_t dim, const Operand& index) const {
  return op("aten::index_select", {*this, dim, AsVar(index)}, {}, index.where());
}

Var Var::scatter(int64_t dim, const Operand& index, const Operand& source) const {
  return op("aten::scatter", {*this, dim, AsVar(index), AsVar(source)}, {}, index.where());
}

Var Var::index_copy(int64_t dim, const Operand& index, const Operand& source) const {
  return op("aten::index_copy", {*this, dim, AsVar(index), AsVar(source)}, {}, index.where());
}

Var Var::index_add(int64_t dim, const Operand& index, const Operand& source) const {
  return op("aten::index_add", {*this, dim, AsVar(index), AsVar(source)}, {}, index.where());
}

Var one_hot(const Operand& ids, int64_t classes) {
  return op("aten::one_hot", {AsVar(ids), classes}, {}, ids.where());
}

// New values.

Var zeros_like(const Operand& x) { return op("aten::zeros_like", {AsVar(x)}, {}, x.where()); }

Var ones_like(const Operand& x) { return op("aten::ones_like", {AsVar(x)}, {}, x.where()); }

Var full_like(const Operand& x, const Arg& value) {
  return op("aten::full_like", {AsVar(x), value}, {}, x.where());
}

Var zeros(const Dims& sizes, DType dtype, Location where) {
  return op("aten::zeros", {sizes.values()}, {{"dtype", dtype}}, where);
}

Var ones(const Dims& sizes, DType dtype, Location where) {
  return op("aten::ones", {sizes.values()}, {{"dtype", dtype}}, where);
}

Var full(const Dims& sizes, const Arg& value, DType dtype, Location where) {
  return op("aten::full", {sizes.values(), value}, {{"dtype", dtype}}, where);
}

Var arange(int64_t end, Location where) { return op("aten::arange", {end}, {}, where); }

Var arange(int64_t start, int64_t end, int64_t step, Location where) {
  return op("aten::arange", {start, end, step}, {}, where);
}

// Of language models.

Var layer_norm(const Operand& x, const Dims& shape, const Arg& weight, const Arg& bias,
               double eps) {
  return op("aten::layer_norm", {AsVar(x), shape.values(), weight, bias, eps}, {}, x.where());
}

Var cosine_similarity(const Operand& a, const Operand& b, int64_t dim, double eps) {
  return op("aten::cosine_similarity", {AsVar(a), AsVar(b), dim, eps}, {}, a.where());
}

Var cross_entropy(const Operand& logits, const Operand& ids) {
  return op("aten::cross_entropy_loss", {AsVar(logits), AsVar(ids)}, {}, logits.where());
}

}  // namespace weft
