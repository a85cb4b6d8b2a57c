#include "engine/kernels/instructions.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#include "engine/kernels/numbers.inc"

namespace weft::kernels {
namespace {

using Vector = __m256;
constexpr int kWidth = 8;
constexpr int kTileRows = 3;  // 12 sums, 3 rows and a weight: all 16 registers
constexpr int kEvenRows = 8;

inline Vector Zero() { return _mm256_setzero_ps(); }
inline Vector Load(const float* from) { return _mm256_loadu_ps(from); }
inline __m128i Load16(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
inline Vector Load(const BFloat16* from) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load16(from)), 16));
}
inline Vector Load(const Float16* from) { return _mm256_cvtph_ps(Load16(from)); }
inline Vector MultiplyAdd(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline void Store(float* to, Vector v) { _mm256_storeu_ps(to, v); }
inline __m128 Fold(Vector v) {
  return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

inline Vector Broadcast(float value) { return _mm256_set1_ps(value); }
inline Vector Add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector Subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
inline Vector MultiplyBy(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
inline Vector Round(Vector v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2 to the power of whole numbers between -127 and 127.
inline Vector PowerOfTwo(Vector v) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
/// `v` where `x` is not less than `least`, 0 elsewhere.
inline Vector KeepFrom(Vector x, Vector least, Vector v) {
  return _mm256_and_ps(_mm256_cmp_ps(x, least, _CMP_NLT_UQ), v);
}

inline Vector SwapNeighbours(Vector v) { return _mm256_permute_ps(v, 0xb1); }
inline Vector NegateEven(Vector v) {
  return _mm256_xor_ps(v, _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000)));
}
/// Each in the upper half of its bits, and something in the lower one.
inline __m256i RoundToBFloat16(Vector v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const Vector nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
  return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), _mm256_castps_si256(nan));
}
inline void Store(BFloat16* to, Vector v) {
  const __m256i halves = _mm256_srli_epi32(RoundToBFloat16(v), 16);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(to),
      _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}
inline Vector RoundedTo(BFloat16, Vector v) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000));
  return _mm256_castsi256_ps(_mm256_and_si256(RoundToBFloat16(v), upper));
}
inline __m128i RoundToFloat16(Vector v) {
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline void Store(Float16* to, Vector v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), RoundToFloat16(v));
}
inline Vector RoundedTo(Float16, Vector v) { return _mm256_cvtph_ps(RoundToFloat16(v)); }

}  // namespace
}  // namespace weft::kernels

#include "engine/kernels/looks.inc"
#include "engine/kernels/rows.inc"

namespace weft::kernels {
namespace {

constexpr int64_t kAnyRows = INT64_MAX;

}  // namespace

const Instructions kAvx2 = {.multiply = MultiplyStored,
                            .space_for = SpaceFor,
                            .look = LookStored,
                            .norm = NormStored,
                            .turn = TurnStored,
                            .most_rows = kAnyRows,
                            .most_half_rows = kAnyRows};

}  // namespace weft::kernels
#endif
