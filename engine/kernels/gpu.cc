#include "engine/kernels/gpu.h"

#include <algorithm>
#include <array>
#include <limits>

#include "engine/kernels/gpu_compiler.h"
#include "engine/kernels/stored.h"

namespace weft::kernels::gpu {
namespace {

constexpr int64_t kMostHeadDim = 256;
constexpr int64_t kMostKeys = 8192;  // of more, ATen shares a head's out among blocks
constexpr int64_t kMostRows = 65535;
constexpr int64_t kLookThreads = 512;
constexpr int64_t kTurnThreads = 256;
constexpr size_t kTokens = 32;

/// As gpu_kernels.cu has it.
struct Token {
  const void* q;
  void *k, *v;
  const void* seen;
  const void *new_k, *new_v;
  uint32_t q_row, q_head, k_row, k_head, v_row, v_head, new_k_row, new_k_head, new_v_row,
      new_v_head;
  uint32_t seen_row, keys, rows;
};
struct Tokens {
  std::array<Token, kTokens> of;
};

int PerThread(int64_t head_dim) { return head_dim <= 64 ? 2 : head_dim <= 128 ? 4 : 8; }

const Functions* FunctionsFor(const at::Tensor& x, int per = 2) {
  return FindFunctions(x.device(), x.scalar_type(), per);
}

bool Fits(int64_t number) { return number >= 0 && number <= std::numeric_limits<uint32_t>::max(); }

/// By row and head, numbers one behind the other.
bool HasHeads(const at::Tensor& x) {
  return x.dim() == 4 && x.stride(3) == 1 && Fits(x.stride(0)) && Fits(x.stride(1));
}
/// And keys one behind the other.
bool HasKeys(const at::Tensor& x) {
  return HasHeads(x) && (x.size(2) == 1 || x.stride(2) == x.size(3));
}

/// Of one token of each row, of a size that there is a kernel for.
bool AreHeads(const at::Tensor& x) {
  return Takes(x) && HasHeads(x) && x.size(2) == 1 && x.size(3) <= kMostHeadDim &&
         x.size(0) <= kMostRows && FunctionsFor(x, PerThread(x.size(3))) != nullptr;
}

bool Alike(const at::Tensor& x, const at::Tensor& y) {
  return x.device() == y.device() && x.scalar_type() == y.scalar_type();
}

Token AsToken(const NewToken& token) {
  const auto row = [](const at::Tensor& x) { return static_cast<uint32_t>(x.stride(0)); };
  const auto head = [](const at::Tensor& x) { return static_cast<uint32_t>(x.stride(1)); };
  Token given{};
  given.q = token.q.const_data_ptr();
  // Which are written where there is a new one.
  given.k = const_cast<void*>(token.k.const_data_ptr());
  given.v = const_cast<void*>(token.v.const_data_ptr());
  given.q_row = row(token.q);
  given.q_head = head(token.q);
  given.k_row = row(token.k);
  given.k_head = head(token.k);
  given.v_row = row(token.v);
  given.v_head = head(token.v);
  if (token.new_k.defined()) {
    given.new_k = token.new_k.const_data_ptr();
    given.new_v = token.new_v.const_data_ptr();
    given.new_k_row = row(token.new_k);
    given.new_k_head = head(token.new_k);
    given.new_v_row = row(token.new_v);
    given.new_v_head = head(token.new_v);
  }
  if (token.seen.defined()) {
    given.seen = token.seen.const_data_ptr();
    given.seen_row = token.seen.size(0) == 1 ? 0 : static_cast<uint32_t>(token.seen.stride(0));
  }
  given.keys = static_cast<uint32_t>(token.k.size(2));
  given.rows = static_cast<uint32_t>(token.q.size(0));
  return given;
}

}  // namespace

bool Takes(const at::Tensor& x) {
  return x.is_cuda() && !OperatorsAreWanted() && StoredAs(x) && x.dim() > 0 && x.stride(-1) == 1 &&
         x.numel() > 0 && x.numel() < std::numeric_limits<int32_t>::max() &&
         FunctionsFor(x) != nullptr;
}

bool CanPut(const at::Tensor& q, const at::Tensor& new_k, const at::Tensor& new_v, int64_t keys) {
  return AreHeads(q) && AreHeads(new_k) && AreHeads(new_v) && Alike(q, new_k) && Alike(q, new_v) &&
         keys <= kMostKeys;
}

bool CanAttend(const NewToken& token) {
  const at::Tensor &q = token.q, &k = token.k, &v = token.v;
  if (!AreHeads(q)) return false;
  const auto fits = [&](const at::Tensor& x) {
    return Alike(x, q) && HasKeys(x) && x.size(0) == q.size(0) && x.size(1) > 0 &&
           q.size(1) % x.size(1) == 0 && x.size(3) == q.size(3);
  };
  if (!fits(k) || !fits(v) || k.sizes() != v.sizes() || k.size(2) > kMostKeys) return false;
  if (token.new_k.defined() && !(fits(token.new_k) && fits(token.new_v))) return false;
  const at::Tensor& seen = token.seen;
  return !seen.defined() || (seen.device() == q.device() && seen.scalar_type() == at::kBool &&
                             seen.dim() == 2 && seen.size(1) == k.size(2) && seen.stride(1) == 1);
}

at::Tensor Attend(absl::Span<const NewToken> tokens, double scale) {
  const at::Tensor& first = tokens[0].q;
  const int64_t heads = first.size(1), head_dim = first.size(3);
  int64_t rows = 0;
  for (const NewToken& token : tokens) rows += token.q.size(0);
  const at::Tensor z = at::empty({1, rows, heads * head_dim}, first.options());
  void* const function = FunctionsFor(first, PerThread(head_dim))->look;
  auto width = static_cast<uint32_t>(head_dim);
  auto by = static_cast<float>(scale);
  auto* out = static_cast<char*>(z.mutable_data_ptr());
  for (size_t begin = 0; begin < tokens.size();) {
    Tokens given{};
    int64_t count = 0;
    size_t end = begin;
    // Rows that share keys are as many everywhere: of one model.
    for (;
         end < tokens.size() && end - begin < kTokens && count + tokens[end].q.size(0) <= kMostRows;
         ++end) {
      given.of[end - begin] = AsToken(tokens[end]);
      count += tokens[end].q.size(0);
    }
    auto shared = static_cast<uint32_t>(heads / tokens[begin].k.size(1));
    std::array<void*, 5> arguments = {&given, &shared, &width, &by, &out};
    Launch(function, first.device(), {heads, count}, kLookThreads, arguments.data());
    out += count * heads * head_dim * first.element_size();
    begin = end;
  }
  return z;
}

at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, double eps, NormKind kind,
                bool centred) {
  const at::Tensor from = x.contiguous(), by = weight.to(x.options()).contiguous();
  const at::Tensor y = at::empty_like(from, at::MemoryFormat::Contiguous);
  const int64_t width = x.size(-1);
  auto weight_rows = static_cast<uint32_t>(by.numel() / width),
       numbers = static_cast<uint32_t>(width);
  auto least = static_cast<float>(eps);
  auto which = static_cast<int32_t>(kind);
  const void *of = from.const_data_ptr(), *times = by.const_data_ptr();
  void* out = y.mutable_data_ptr();
  std::array<void*, 8> arguments = {&of,    &times, &weight_rows, &numbers,
                                    &least, &which, &centred,     &out};
  const int64_t threads = std::clamp<int64_t>((width + 127) / 128 * 32, 32, 1024);
  Launch(FunctionsFor(x)->norm, x.device(), {x.numel() / width, 1}, threads, arguments.data());
  return y;
}

at::Tensor Turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                bool neighbours) {
  const at::Tensor y = at::empty_like(x, at::MemoryFormat::Contiguous);
  const at::Tensor cosines = cos.contiguous(), sines = sin.contiguous();
  auto row = static_cast<uint32_t>(x.stride(1)), head = static_cast<uint32_t>(x.stride(2));
  auto heads = static_cast<uint32_t>(x.size(2)), head_dim = static_cast<uint32_t>(x.size(3));
  auto turned = static_cast<uint32_t>(cos.size(-1)), count = static_cast<uint32_t>(x.numel());
  const void *of = x.const_data_ptr(), *by_cos = cosines.const_data_ptr(),
             *by_sin = sines.const_data_ptr();
  void* out = y.mutable_data_ptr();
  std::array<void*, 11> arguments = {&of,       &row,    &head,       &by_cos, &by_sin, &heads,
                                     &head_dim, &turned, &neighbours, &count,  &out};
  const Functions& functions = *FunctionsFor(x);
  const bool in_float = cos.scalar_type() == at::kFloat;
  Launch(in_float ? functions.turn_in_float : functions.turn, x.device(),
         {(x.numel() + kTurnThreads - 1) / kTurnThreads, 1}, kTurnThreads, arguments.data());
  return y;
}

}  // namespace weft::kernels::gpu
