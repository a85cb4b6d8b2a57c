// The other part that avx2.cc and avx512.cc share; see products.inc.h. It needs, beside:
//
//   Broadcast(number), Store(pointer, vector), Add(a, b), MultiplyBy(a, b), Round(vector)
//   PowerOfTwo(vector)           of whole numbers
//   KeepFrom(x, least, vector)   the vector where x is not less than least, 0 elsewhere

#include "engine/kernels/instructions.h"
#include "engine/kernels/products.inc.h"

namespace weft::kernels {
namespace {

/// e to the power of numbers of at most 0, within 2 units of the last place: a whole power of two
/// times a polynomial (coefficients of the Cephes library) between -ln(2)/2 and ln(2)/2.
inline Vector Exp(Vector x) {
  const Vector n = Round(MultiplyBy(x, Broadcast(1.44269504088896341f)));
  Vector r = MultiplyAdd(n, Broadcast(-0.693359375f), x);
  r = MultiplyAdd(n, Broadcast(2.12194440e-4f), r);
  Vector p = Broadcast(1.9875691500e-4f);
  p = MultiplyAdd(p, r, Broadcast(1.3981999507e-3f));
  p = MultiplyAdd(p, r, Broadcast(8.3334519073e-3f));
  p = MultiplyAdd(p, r, Broadcast(4.1665795894e-2f));
  p = MultiplyAdd(p, r, Broadcast(1.6666665459e-1f));
  p = MultiplyAdd(p, r, Broadcast(5.0000001201e-1f));
  p = MultiplyAdd(MultiplyBy(r, r), p, Add(r, Broadcast(1)));
  return KeepFrom(x, Broadcast(-87), MultiplyBy(p, PowerOfTwo(n)));
}

/// Scores become their exponentials, less the greatest one's; gives their sum.
inline float Exponentials(float* scores, const Looks& looks) {
  constexpr float kLeast = -__builtin_inff();
  float greatest = kLeast;
  for (int64_t key = 0; key < looks.keys; ++key) {
    float& score = scores[key];
    score = looks.seen != nullptr && !looks.seen[key] ? kLeast : score * looks.scale;
    greatest = score > greatest ? score : greatest;
  }
  Vector sums = Zero();
  int64_t key = 0;
  for (; key + kWidth <= looks.keys; key += kWidth) {
    const Vector e = Exp(Add(Load(scores + key), Broadcast(-greatest)));
    Store(scores + key, e);
    sums = Add(sums, e);
  }
  float sum = Sum(sums);
  if (key == looks.keys) return sum;
  float rest[kWidth];
  for (int64_t i = 0; i < kWidth; ++i) rest[i] = i < looks.keys - key ? scores[key + i] : kLeast;
  Store(rest, Exp(Add(Load(rest), Broadcast(-greatest))));
  for (int64_t i = 0; i < looks.keys - key; ++i) {
    scores[key + i] = rest[i];
    sum += rest[i];
  }
  return sum;
}

/// Numbers `at` and following of the values' sum, each value `weights` times.
template <int kVectors, typename Value>
[[gnu::always_inline]] inline void Weigh(const float* weights, const Value* values, int64_t keys,
                                         int64_t head_dim, float factor, float* z) {
  Vector sums[kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) sums[i] = Zero();
  for (int64_t key = 0; key < keys; ++key) {
    const Vector weight = Broadcast(weights[key]);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = MultiplyAdd(weight, Load(values + key * head_dim + i * kWidth), sums[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) {
    Store(z + i * kWidth, MultiplyBy(sums[i], Broadcast(factor)));
  }
}

template <typename Value>
void Look(const Looks& looks, float* scores) {
  Multiply<Value>({.weight = looks.k,
                   .stored = looks.stored,
                   .x = looks.q,
                   .rows = looks.heads,
                   .in = looks.head_dim,
                   .out = looks.keys,
                   .bias = nullptr,
                   .y = scores},
                  0, looks.keys);
  const auto* values = static_cast<const Value*>(looks.v);
  constexpr int kMany = 8;
  for (int64_t head = 0; head < looks.heads; ++head) {
    float* weights = scores + head * looks.keys;
    float* z = looks.z + head * looks.head_dim;
    const float factor = 1 / Exponentials(weights, looks);
    int64_t at = 0;
    for (; at + kMany * kWidth <= looks.head_dim; at += kMany * kWidth) {
      Weigh<kMany>(weights, values + at, looks.keys, looks.head_dim, factor, z + at);
    }
    for (; at + kWidth <= looks.head_dim; at += kWidth) {
      Weigh<1>(weights, values + at, looks.keys, looks.head_dim, factor, z + at);
    }
    for (; at < looks.head_dim; ++at) {
      float sum = 0;
      for (int64_t key = 0; key < looks.keys; ++key) {
        sum = __builtin_fmaf(weights[key], ToFloat(values[key * looks.head_dim + at]), sum);
      }
      z[at] = sum * factor;
    }
  }
}

void LookStored(const Looks& looks, float* scores) {
  switch (looks.stored) {
    case Stored::kFloat32:
      return Look<float>(looks, scores);
    case Stored::kBFloat16:
      return Look<BFloat16>(looks, scores);
    case Stored::kFloat16:
      return Look<Float16>(looks, scores);
  }
}

}  // namespace
}  // namespace weft::kernels
