#pragma once

#include <cstdint>

namespace weft::kernels {

// What is written for the instructions of a processor: plain memory in, plain memory out. Sums are
// in float32, each in an order of its own, which no other row, output or thread changes.

/// How weights, keys and values are stored.
enum class Stored : uint8_t { kFloat32, kBFloat16, kFloat16 };

/// `y = x W^T + b`.
struct Products {
  const void* weight;  // [out, in]
  Stored stored;
  const float* x;  // [rows, in]
  int64_t rows, in, out;
  const float* bias;  // [out], or nullptr
  float* y;           // [rows, out]
};

/// `z = softmax(scale * q k^T) v`: what the heads that share keys and values give for one token.
struct Looks {
  const float* q;  // [heads, head_dim]
  int64_t heads, head_dim;
  const void* k;  // [keys, head_dim]
  const void* v;  // [keys, head_dim]
  Stored stored;
  int64_t keys;
  const bool* seen;  // [keys], true where it may look, of one at least; or nullptr
  float scale;
  float* z;  // [heads, head_dim]
};

enum class NormKind : uint8_t { kRoundThenWeigh, kWeigh, kWeighBy1Plus };

/// Rows of `width` numbers over the roots of their mean squares, each times the weights.
struct Norms {
  const void* x;
  const void* weight;  // [weight_rows, width], of rows that repeat
  Stored stored;       // x, weight and y
  int64_t width, weight_rows;
  float eps;
  NormKind kind;
  bool centred;  // without their means
  void* y;
};

/// Heads of rows, `[rows, heads, head_dim]`, turned by the row's angles; see turn.h.
struct Turns {
  const void* x;
  Stored stored;  // x and y
  int64_t row_stride, head_stride, heads, head_dim;
  const void* cos;  // [rows, turned]
  const void* sin;
  Stored table;  // as x, or float32
  int64_t turned;
  bool neighbours;
  void* y;
};

struct Instructions {
  /// The outputs `begin` to `end`. `space` is for as many numbers as `space_for` says, or nullptr:
  /// many rows are then read less quickly.
  void (*multiply)(const Products& products, int64_t begin, int64_t end, float* space);
  int64_t (*space_for)(const Products& products);
  /// `scores` is space for `heads * keys` numbers.
  void (*look)(const Looks& looks, float* scores);
  /// The rows `begin` to `end`.
  void (*norm)(const Norms& norms, int64_t begin, int64_t end);
  void (*turn)(const Turns& turns, int64_t begin, int64_t end);
  /// More rows of a product than these are at::linear's: of float32, and of what has half its
  /// bytes, for which some processors have instructions that nothing here uses.
  int64_t most_rows, most_half_rows;
};

/// Of x86-64, each compiled in a file of its own.
extern const Instructions kAvx2, kAvx512;

/// Those that this processor has; nullptr for none.
const Instructions* FindInstructions();

}  // namespace weft::kernels
