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

}  // namespace
}  // namespace weft::kernels

#include "engine/kernels/looks.inc"

namespace weft::kernels {
namespace {

constexpr int64_t kAnyRows = INT64_MAX;

}  // namespace

const Instructions kAvx2 = {MultiplyStored, SpaceFor, LookStored, kAnyRows, kAnyRows};

}  // namespace weft::kernels
#endif
