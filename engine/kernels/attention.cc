#include "engine/kernels/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "engine/kernels/gpu.h"
#include "engine/kernels/instructions.h"
#include "engine/kernels/stored.h"

namespace weft::kernels {
namespace {

constexpr int64_t kWorthAThread = int64_t{1} << 16;  // products of two numbers

/// Keys one behind the other, by row and head.
bool LiesInOrder(const at::Tensor& x) {
  return x.dim() == 4 && x.stride(3) == 1 && (x.size(2) == 1 || x.stride(2) == x.size(3));
}

const void* RowAt(const at::Tensor& x, int64_t row, int64_t head) {
  return static_cast<const char*>(x.const_data_ptr()) +
         (row * x.stride(0) + head * x.stride(1)) * x.element_size();
}

}  // namespace

bool CanAttend(const NewToken& token) {
  const at::Tensor &q = token.q, &k = token.k, &v = token.v;
  if (q.is_cuda()) return gpu::CanAttend(token);
  return !token.new_k.defined() && FindInstructions() != nullptr && !OperatorsAreWanted() &&
         StoredAs(q) && IsPlain(q) && IsPlain(k) && IsPlain(v) &&
         q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type() && q.dim() == 4 &&
         q.size(2) == 1 && LiesInOrder(k) && LiesInOrder(v) && k.sizes() == v.sizes() &&
         k.size(0) == q.size(0) && k.size(3) == q.size(3) && k.size(1) > 0 &&
         q.size(1) % k.size(1) == 0 &&
         (!token.seen.defined() || (IsPlain(token.seen) && token.seen.scalar_type() == at::kBool &&
                                    token.seen.dim() == 2 && token.seen.size(1) == k.size(2) &&
                                    (token.seen.size(0) == 1 || token.seen.size(0) == q.size(0))));
}

at::Tensor Attend(absl::Span<const NewToken> tokens, double scale) {
  const at::Tensor& first = tokens[0].q;
  if (first.is_cuda()) return gpu::Attend(tokens, scale);
  const int64_t heads = first.size(1), head_dim = first.size(3);
  int64_t rows = 0;
  for (const NewToken& token : tokens) rows += token.q.size(0);
  at::Tensor z = at::empty({1, rows, heads * head_dim}, first.options().dtype(at::kFloat));
  auto* out = z.mutable_data_ptr<float>();

  std::vector<at::Tensor> kept;  // what the pointers point into
  std::vector<Looks> looks;
  int64_t most_scores = 0, products = 0;
  for (const NewToken& token : tokens) {
    at::Tensor q = token.q.to(at::kFloat);
    if (q.stride(3) != 1 || q.stride(1) != head_dim) q = q.contiguous();
    const at::Tensor seen = token.seen.defined() ? token.seen.contiguous() : token.seen;
    const int64_t kv_heads = token.k.size(1), keys = token.k.size(2), shared = heads / kv_heads;
    for (int64_t row = 0; row < q.size(0); ++row) {
      const bool* row_seen =
          seen.defined() ? seen.const_data_ptr<bool>() + (seen.size(0) == 1 ? 0 : row * keys)
                         : nullptr;
      for (int64_t head = 0; head < kv_heads; ++head) {
        const int64_t at = head * shared * head_dim;
        looks.push_back({.q = q.const_data_ptr<float>() + row * q.stride(0) + at,
                         .heads = shared,
                         .head_dim = head_dim,
                         .k = RowAt(token.k, row, head),
                         .v = RowAt(token.v, row, head),
                         .stored = *StoredAs(token.k),
                         .keys = keys,
                         .seen = row_seen,
                         .scale = static_cast<float>(scale),
                         .z = out + row * heads * head_dim + at});
      }
    }
    out += q.numel();
    most_scores = std::max(most_scores, shared * keys);
    products += 2 * q.numel() * keys;
    kept.push_back(q);
    if (seen.defined()) kept.push_back(seen);
  }
  const auto count = static_cast<int64_t>(looks.size());
  const int64_t grain =
      std::max<int64_t>(1, kWorthAThread * count / std::max<int64_t>(1, products));
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(most_scores));
    for (int64_t i = begin; i < end; ++i) FindInstructions()->look(looks[i], scores.data());
  });
  return z.to(first.scalar_type());
}

}  // namespace weft::kernels
