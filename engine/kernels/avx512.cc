#include "engine/kernels/instructions.h"

#if defined(__AVX512F__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#include "engine/kernels/numbers.inc"

namespace weft::kernels {
namespace {

using Vector = __m512;
constexpr int kWidth = 16;
constexpr int kTileRows = 6;  // 24 sums, 6 rows and a weight: of 32 registers
constexpr int kEvenRows = 24;

inline Vector Zero() { return _mm512_setzero_ps(); }
inline Vector Load(const float* from) { return _mm512_loadu_ps(from); }
inline __m256i Load16(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline Vector Load(const BFloat16* from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(Load16(from)), 16));
}
inline Vector Load(const Float16* from) { return _mm512_cvtph_ps(Load16(from)); }
inline Vector MultiplyAdd(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline void Store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
inline __m128 Fold(Vector v) {
  const __m256d high = _mm512_extractf64x4_pd(_mm512_castps_pd(v), 1);
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm256_castpd_ps(high));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

inline Vector Broadcast(float value) { return _mm512_set1_ps(value); }
inline Vector Add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector Subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
inline Vector MultiplyBy(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector Round(Vector v) {
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// 2 to the power of whole numbers between -127 and 127.
inline Vector PowerOfTwo(Vector v) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}
/// `v` where `x` is not less than `least`, 0 elsewhere.
inline Vector KeepFrom(Vector x, Vector least, Vector v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), v);
}

inline Vector SwapNeighbours(Vector v) { return _mm512_permute_ps(v, 0xb1); }
inline Vector NegateEven(Vector v) {
  const __m512i signs = _mm512_set1_epi64(0x80000000);
  return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(v), signs));
}
/// Each in the upper half of its bits, and something in the lower one.
inline __m512i RoundToBFloat16(Vector v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                               _mm512_set1_epi32(0x7fc00000));
}
inline void Store(BFloat16* to, Vector v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(RoundToBFloat16(v), 16)));
}
inline Vector RoundedTo(BFloat16, Vector v) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
  return _mm512_castsi512_ps(_mm512_and_si512(RoundToBFloat16(v), upper));
}
inline __m256i RoundToFloat16(Vector v) {
  return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline void Store(Float16* to, Vector v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), RoundToFloat16(v));
}
inline Vector RoundedTo(Float16, Vector v) { return _mm512_cvtph_ps(RoundToFloat16(v)); }

}  // namespace
}  // namespace weft::kernels

#include "engine/kernels/looks.inc"
#include "engine/kernels/rows.inc"

namespace weft::kernels {

const Instructions kAvx512 = {.multiply = MultiplyStored,
                              .space_for = SpaceFor,
                              .look = LookStored,
                              .norm = NormStored,
                              .turn = TurnStored,
                              .most_rows = 64,
                              .most_half_rows = 16};

}  // namespace weft::kernels
#endif
