R"cuda(
// Compiled at run time for the GPU at hand (gpu.cc), with T defined as Float, BFloat16 or Float16,
// the kind of numbers that tensors have, and PER as how many numbers of a head each of a warp's
// threads holds. Everything is computed in float32 and in an order of its own: what a row gives does
// not depend on other rows.

struct Float {
  float value;
};
struct BFloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

__device__ inline float ToFloat(Float x) { return x.value; }
__device__ inline float ToFloat(BFloat16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}
__device__ inline float ToFloat(Float16 x) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
}
template <typename Kind>
__device__ inline Kind From(float value);
template <>
__device__ inline Float From<Float>(float value) {
  return {value};
}
template <>
__device__ inline BFloat16 From<BFloat16>(float value) {
  const unsigned bits = __float_as_uint(value);
  if (value != value) return {0x7fc0};
  return {static_cast<unsigned short>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
template <>
__device__ inline Float16 From<Float16>(float value) {
  Float16 x;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(x.bits) : "f"(value));
  return x;
}
template <typename Kind>
__device__ inline float Rounded(float value) {
  return ToFloat(From<Kind>(value));
}

constexpr int kWarp = 32;
#define kFarAway (-__int_as_float(0x7f800000))  // minus infinity
constexpr unsigned kAll = 0xffffffff;

__device__ inline float SumOfWarp(float x) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(kAll, x, apart);
  return x;
}

// One new token of each row of a batch; as kernels::NewToken, strides in numbers.
struct Token {
  const T* q;
  T* k;
  T* v;
  const bool* seen;     // or null
  const T* new_k;       // the last key, which is to be put where k has it; or null: it is there
  const T* new_v;
  unsigned q_row, q_head, k_row, k_head, v_row, v_head, new_k_row, new_k_head, new_v_row, new_v_head;
  unsigned seen_row, keys, rows;
};
constexpr int kTokens = 32;
struct Tokens {
  Token of[kTokens];
};

constexpr int kWarps = 16;
constexpr int kAtOnce = 4;

// A block for each head of each row: `[rows, heads, head_dim]`. Each warp looks at every 16th key.
extern "C" __global__ void __launch_bounds__(kWarp * kWarps)
    Look(const __grid_constant__ Tokens tokens, unsigned shared, unsigned head_dim, float scale, T* z) {
  const unsigned head = blockIdx.x, heads = gridDim.x, kv_head = head / shared;
  unsigned row = blockIdx.y, which = 0;
  while (row >= tokens.of[which].rows) row -= tokens.of[which++].rows;
  const Token& token = tokens.of[which];
  const T* const q = token.q + static_cast<size_t>(row) * token.q_row + head * token.q_head;
  T* const k = token.k + static_cast<size_t>(row) * token.k_row +
               static_cast<size_t>(kv_head) * token.k_head;
  T* const v = token.v + static_cast<size_t>(row) * token.v_row +
               static_cast<size_t>(kv_head) * token.v_head;
  const bool* const seen = token.seen == nullptr ? nullptr : token.seen + row * token.seen_row;
  const T* last_k = k + static_cast<size_t>(token.keys - 1) * head_dim;
  const T* last_v = v + static_cast<size_t>(token.keys - 1) * head_dim;
  if (token.new_k != nullptr) {
    last_k = token.new_k + static_cast<size_t>(row) * token.new_k_row + kv_head * token.new_k_head;
    last_v = token.new_v + static_cast<size_t>(row) * token.new_v_row + kv_head * token.new_v_head;
    if (head % shared == 0 && threadIdx.x < head_dim) {
      k[static_cast<size_t>(token.keys - 1) * head_dim + threadIdx.x] = last_k[threadIdx.x];
      v[static_cast<size_t>(token.keys - 1) * head_dim + threadIdx.x] = last_v[threadIdx.x];
    }
  }

  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  float asked[PER], sum[PER];
#pragma unroll
  for (int i = 0; i < PER; ++i) {
    const unsigned d = lane + i * kWarp;
    asked[i] = d < head_dim ? ToFloat(q[d]) * scale : 0;
    sum[i] = 0;
  }
  float most = kFarAway, weight = 0;
  for (unsigned first = warp; first < token.keys; first += kWarps * kAtOnce) {
    float score[kAtOnce];
    bool looks[kAtOnce];
    const T* from_v[kAtOnce];
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const unsigned key = first + u * kWarps;
      looks[u] = key < token.keys && (seen == nullptr || seen[key]);
      score[u] = 0;
      if (!looks[u]) continue;
      const bool last = key + 1 == token.keys;
      const T* const from_k = last ? last_k : k + static_cast<size_t>(key) * head_dim;
      from_v[u] = last ? last_v : v + static_cast<size_t>(key) * head_dim;
#pragma unroll
      for (int i = 0; i < PER; ++i) {
        const unsigned d = lane + i * kWarp;
        if (d < head_dim) score[u] = fmaf(asked[i], ToFloat(from_k[d]), score[u]);
      }
    }
    float now = most;
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      score[u] = SumOfWarp(score[u]);
      if (looks[u]) now = fmaxf(now, score[u]);
    }
    // Only what is infinitely far away so far, or what is no number.
    const float from = now == kFarAway ? 0 : now;
    const float kept = expf(most - from);
    weight *= kept;
#pragma unroll
    for (int i = 0; i < PER; ++i) sum[i] *= kept;
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      if (!looks[u]) continue;
      const float part = expf(score[u] - from);
      weight += part;
#pragma unroll
      for (int i = 0; i < PER; ++i) {
        const unsigned d = lane + i * kWarp;
        if (d < head_dim) sum[i] = fmaf(part, ToFloat(from_v[u][d]), sum[i]);
      }
    }
    most = now;
  }

  __shared__ float all_most[kWarps], all_weight[kWarps], all_sum[kWarps][PER * kWarp];
  if (lane == 0) {
    all_most[warp] = most;
    all_weight[warp] = weight;
  }
#pragma unroll
  for (int i = 0; i < PER; ++i) all_sum[warp][lane + i * kWarp] = sum[i];
  __syncthreads();
  if (threadIdx.x >= head_dim) return;
  float highest = kFarAway;
  for (int w = 0; w < kWarps; ++w) highest = fmaxf(highest, all_most[w]);
  if (highest == kFarAway) highest = 0;
  float total = 0, number = 0;
  for (int w = 0; w < kWarps; ++w) {
    const float part = expf(all_most[w] - highest);
    total = fmaf(part, all_weight[w], total);
    number = fmaf(part, all_sum[w][threadIdx.x], number);
  }
  z[(static_cast<size_t>(blockIdx.y) * heads + head) * head_dim + threadIdx.x] =
      From<T>(number / total);
}

// As models::OwnNormImpl, a block for each row of `width` numbers; `weight` is that of rows that
// repeat. `kind`: 0 round, then times the weight; 1 times the weight; 2 times 1 and the weight.
extern "C" __global__ void Norm(const T* x, const T* weight, unsigned weight_rows, unsigned width,
                                float eps, int kind, bool centred, T* y) {
  __shared__ float parts[kWarp];
  const size_t row = blockIdx.x;
  x += row * width;
  y += row * width;
  weight += row % weight_rows * width;
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const auto sum_of_block = [&](float of) {
    of = SumOfWarp(of);
    __syncthreads();
    if (lane == 0) parts[warp] = of;
    __syncthreads();
    return SumOfWarp(lane < blockDim.x / kWarp ? parts[lane] : 0);
  };
  float mean = 0;
  if (centred) {
    float sum = 0;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) sum += ToFloat(x[i]);
    mean = sum_of_block(sum) / width;
  }
  float squares = 0;
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
    const float number = ToFloat(x[i]) - mean;
    squares = fmaf(number, number, squares);
  }
  const float scale = 1 / sqrtf(sum_of_block(squares) / width + eps);
  for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
    const float normed = (ToFloat(x[i]) - mean) * scale, by = ToFloat(weight[i]);
    y[i] = From<T>(kind == 0 ? by * Rounded<T>(normed) : kind == 1 ? by * normed : normed * (1 + by));
  }
}

// As models::Rotary::Apply: `[rows, heads, head_dim]`, a thread for each number. Table: of cosines
// and sines, `[rows, turned]`; in its numbers each step is rounded.
template <typename Table>
__device__ void TurnBy(const T* x, unsigned row_stride, unsigned head_stride, const Table* cos,
                       const Table* sin, unsigned heads, unsigned head_dim, unsigned turned,
                       bool neighbours, unsigned count, T* y) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const unsigned d = at % head_dim, head = at / head_dim % heads, row = at / head_dim / heads;
  x += static_cast<size_t>(row) * row_stride + head * head_stride;
  if (d >= turned) {
    y[at] = x[d];
    return;
  }
  const bool first = neighbours ? d % 2 == 0 : d < turned / 2;
  const unsigned apart = neighbours ? 1 : turned / 2, with = first ? d + apart : d - apart;
  const float other = first ? -ToFloat(x[with]) : ToFloat(x[with]);
  const size_t angle = static_cast<size_t>(row) * turned + d;
  const float along = Rounded<Table>(__fmul_rn(ToFloat(x[d]), ToFloat(cos[angle])));
  const float across = Rounded<Table>(__fmul_rn(other, ToFloat(sin[angle])));
  y[at] = From<T>(Rounded<Table>(__fadd_rn(along, across)));
}

extern "C" __global__ void Turn(const T* x, unsigned row_stride, unsigned head_stride, const T* cos,
                                const T* sin, unsigned heads, unsigned head_dim, unsigned turned,
                                bool neighbours, unsigned count, T* y) {
  TurnBy(x, row_stride, head_stride, cos, sin, heads, head_dim, turned, neighbours, count, y);
}
extern "C" __global__ void TurnInFloat(const T* x, unsigned row_stride, unsigned head_stride,
                                       const Float* cos, const Float* sin, unsigned heads,
                                       unsigned head_dim, unsigned turned, bool neighbours,
                                       unsigned count, T* y) {
  TurnBy(x, row_stride, head_stride, cos, sin, heads, head_dim, turned, neighbours, count, y);
}
)cuda"
