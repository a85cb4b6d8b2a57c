#include "engine/kernels/linear.h"

#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/kernels/instructions.h"
#include "engine/kernels/stored.h"

namespace weft::kernels {
namespace {

constexpr int64_t kWorthAThread = int64_t{1} << 17;  // products of two numbers
constexpr int64_t kMostRowsBesideTiles = 8;          // of prompts

/// Whether the processor multiplies tiles of bfloat16 (AMX).
bool HasTiles() {
  static const bool kFound = [] {
    const auto found = at::cpu::get_cpu_capabilities();
    const auto tiles = found.find("amx_bf16");
    return tiles != found.end() && tiles->second.isBool() && tiles->second.toBool();
  }();
  return kFound;
}

/// How many rows of this kind are not better left to at::linear.
int64_t MostRows(const Instructions& instructions, Stored stored, Rows kind) {
  if (stored == Stored::kFloat32) return instructions.most_rows;
  const bool tiles = stored == Stored::kBFloat16 && kind == Rows::kOfPrompts && HasTiles();
  return tiles ? kMostRowsBesideTiles : instructions.most_half_rows;
}

bool Fits(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Rows kind) {
  const Instructions* instructions = FindInstructions();
  if (instructions == nullptr || OperatorsAreWanted() || !StoredAs(weight)) return false;
  if (!IsPlain(x) || !IsPlain(weight) || x.scalar_type() != weight.scalar_type()) return false;
  if (weight.dim() != 2 || !weight.is_contiguous() || x.dim() == 0 ||
      x.size(-1) != weight.size(1) || x.numel() == 0 || weight.numel() == 0) {
    return false;
  }
  if (bias.defined() && (!IsPlain(bias) || bias.scalar_type() != weight.scalar_type() ||
                         bias.dim() != 1 || bias.size(0) != weight.size(0))) {
    return false;
  }
  return x.numel() / weight.size(1) <= MostRows(*instructions, *StoredAs(weight), kind);
}

/// Of a model whose weights were not loaded, where each row is the one before, shifted by one.
bool IsMadeUp(const at::Tensor& weight) {
  return weight.dim() == 2 && weight.size(1) > 1 && weight.stride(0) == 1 && weight.stride(1) == 1;
}

/// A few rows stand for all: what is computed has the right shape and depends on x.
at::Tensor MultiplyWithFew(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  constexpr int64_t kFew = 8;
  const int64_t out = weight.size(0), few = std::min(out, kFew);
  const at::Tensor some = at::linear(x, weight.narrow(0, 0, few));
  std::vector<int64_t> times(x.dim(), 1);
  times.back() = (out + few - 1) / few;
  const at::Tensor y = some.repeat(times).narrow(-1, 0, out).contiguous();
  return bias.defined() ? at::add(y, bias) : y;
}

}  // namespace

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  Rows kind) {
  if (!Fits(x, weight, bias, kind)) {
    if (!OperatorsAreWanted() && IsMadeUp(weight)) return MultiplyWithFew(x, weight, bias);
    return at::linear(x, weight, bias);
  }
  const int64_t in = weight.size(1), out = weight.size(0), rows = x.numel() / in;
  const at::Tensor floats = x.to(at::kFloat).contiguous();
  const at::Tensor added = bias.defined() ? bias.to(at::kFloat).contiguous() : bias;
  auto shape = x.sizes().vec();
  shape.back() = out;
  at::Tensor y = at::empty(shape, floats.options());
  const Products products{.weight = weight.const_data_ptr(),
                          .stored = *StoredAs(weight),
                          .x = floats.const_data_ptr<float>(),
                          .rows = rows,
                          .in = in,
                          .out = out,
                          .bias = added.defined() ? added.const_data_ptr<float>() : nullptr,
                          .y = y.mutable_data_ptr<float>()};
  const int64_t grain = std::max<int64_t>(4, kWorthAThread / (rows * in));
  at::parallel_for(0, out, grain, [&products](int64_t begin, int64_t end) {
    // Not filled: it is written before it is read.
    const int64_t space = FindInstructions()->space_for(products);
    const std::unique_ptr<float[]> numbers(space == 0 ? nullptr : new float[space]);
    FindInstructions()->multiply(products, begin, end, numbers.get());
  });
  return y.to(x.scalar_type());
}

}  // namespace weft::kernels
