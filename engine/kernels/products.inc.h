// One of the parts that avx2.cc and avx512.cc share, compiled for each: no header of the standard
// library comes in here, whose inline functions would be compiled for instructions that a processor
// may lack. Before it a file defines, in an unnamed namespace:
//
//   Vector, kWidth            numbers side by side, and how many
//   kTileRows                 rows of x in a tile
//   Zero(), Load(pointer)     Load of float, BFloat16 and Float16; ToFloat of one of them
//   MultiplyAdd(a, b, c)      a * b + c, rounded once
//   Sum(vector)               of all, in one fixed order

#include "engine/kernels/instructions.h"

namespace weft::kernels {
namespace {

constexpr int kTileOutputs = 4;
constexpr int64_t kBlockBytes =
    384 * 1024;  // of x: what stays in a core's cache while weights pass

template <int kOutputs, int kRows, typename Weight>
[[gnu::always_inline]] inline void Tile(const Weight* weight, const float* x, int64_t in,
                                        const float* bias, float* y, int64_t out) {
  Vector sums[kOutputs][kRows];
#pragma GCC unroll 16
  for (int o = 0; o < kOutputs; ++o) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sums[o][r] = Zero();
  }
  int64_t at = 0;
  for (; at + kWidth <= in; at += kWidth) {
    Vector xs[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) xs[r] = Load(x + r * in + at);
#pragma GCC unroll 16
    for (int o = 0; o < kOutputs; ++o) {
      const Vector w = Load(weight + o * in + at);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[o][r] = MultiplyAdd(w, xs[r], sums[o][r]);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int r = 0; r < kRows; ++r) {
      float sum = Sum(sums[o][r]);
      for (int64_t rest = at; rest < in; ++rest) {
        sum = __builtin_fmaf(ToFloat(weight[o * in + rest]), x[r * in + rest], sum);
      }
      y[r * out + o] = bias == nullptr ? sum : sum + bias[o];
    }
  }
}

/// `rows` rows, fewer than kTileRows.
template <int kOutputs, int kRows, typename Weight>
void Rest(const Weight* weight, const float* x, int64_t rows, int64_t in, const float* bias,
          float* y, int64_t out) {
  if (rows == kRows) {
    Tile<kOutputs, kRows>(weight, x, in, bias, y, out);
  } else if constexpr (kRows > 1) {
    Rest<kOutputs, kRows - 1>(weight, x, rows, in, bias, y, out);
  }
}

template <int kOutputs, typename Weight>
void Outputs(const Weight* weight, const float* x, int64_t rows, int64_t in, const float* bias,
             float* y, int64_t out) {
  int64_t row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    Tile<kOutputs, kTileRows>(weight, x + row * in, in, bias, y + row * out, out);
  }
  Rest<kOutputs, kTileRows - 1>(weight, x + row * in, rows - row, in, bias, y + row * out, out);
}

/// Every (row, output) is summed alike in every tile: over vectors from front to back, then over
/// the vector, then over what is left.
template <typename Weight>
void Multiply(const Products& p, int64_t begin, int64_t end) {
  const auto* weight = static_cast<const Weight*>(p.weight);
  const int64_t tiles = kBlockBytes / (static_cast<int64_t>(sizeof(float)) * kTileRows * p.in);
  const int64_t block = (tiles < 1 ? 1 : tiles) * kTileRows;
  for (int64_t row = 0; row < p.rows; row += block) {
    const int64_t rows = p.rows - row < block ? p.rows - row : block;
    const float* x = p.x + row * p.in;
    float* y = p.y + row * p.out;
    int64_t o = begin;
    for (; o + kTileOutputs <= end; o += kTileOutputs) {
      Outputs<kTileOutputs>(weight + o * p.in, x, rows, p.in,
                            p.bias == nullptr ? nullptr : p.bias + o, y + o, p.out);
    }
    for (; o < end; ++o) {
      Outputs<1>(weight + o * p.in, x, rows, p.in, p.bias == nullptr ? nullptr : p.bias + o, y + o,
                 p.out);
    }
  }
}

void MultiplyStored(const Products& products, int64_t begin, int64_t end) {
  switch (products.stored) {
    case Stored::kFloat32:
      return Multiply<float>(products, begin, end);
    case Stored::kBFloat16:
      return Multiply<BFloat16>(products, begin, end);
    case Stored::kFloat16:
      return Multiply<Float16>(products, begin, end);
  }
}

}  // namespace
}  // namespace weft::kernels
