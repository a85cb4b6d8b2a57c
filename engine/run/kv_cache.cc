#include "engine/run/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace weft::run {
namespace {

/// Write `[B, heads, T, head_dim]` at `token` of a slab's keys or values, `[B, heads, capacity,
/// head_dim]`, which lie one behind the other.
void Write(const at::Tensor& slab, int64_t token, const at::Tensor& rows) {
  const bool plain = rows.size(2) == 1 && rows.is_cpu() && !rows.requires_grad() &&
                     rows.stride(3) == 1 && rows.scalar_type() == slab.scalar_type();
  if (!plain) {
    slab.narrow(2, token, rows.size(2)).copy_(rows);
    return;
  }
  // One token of each row: less work than to say what copy_ is to do.
  const auto item = static_cast<int64_t>(slab.element_size());
  auto* to = static_cast<char*>(slab.mutable_data_ptr()) + token * slab.stride(2) * item;
  const auto* from = static_cast<const char*>(rows.const_data_ptr());
  for (int64_t row = 0; row < rows.size(0); ++row) {
    for (int64_t head = 0; head < rows.size(1); ++head) {
      std::memcpy(to + (row * slab.stride(0) + head * slab.stride(1)) * item,
                  from + (row * rows.stride(0) + head * rows.stride(1)) * item,
                  rows.size(3) * item);
    }
  }
}

}  // namespace

KVCache::Past KVCache::Append(int layer, const at::Tensor& k, const at::Tensor& v, bool write) {
  if (layers_.size() <= static_cast<size_t>(layer)) layers_.resize(layer + 1);
  Layer& own = layers_[layer];
  if (!own.slab.defined()) {
    const MemoryAccount::Charging charging(account_);
    // Zeros, so that what a skipped layer leaves out is nobody's old memory.
    own.slab = at::zeros({2, batch_, k.size(1), capacity_, k.size(3)}, k.options());
    own.k = own.slab.select(0, 0);
    own.v = own.slab.select(0, 1);
    own.written.assign(static_cast<size_t>(capacity_), 0);
  }
  const int64_t tokens = k.size(2), all = length_ + tokens;
  TORCH_CHECK(all <= capacity_, "the KV cache is full");
  if (write) {
    Write(own.k, length_, k);
    Write(own.v, length_, v);
  }
  std::fill_n(own.written.begin() + length_, tokens, uint8_t{1});
  Past past{own.k.narrow(2, 0, all), own.v.narrow(2, 0, all), {}};
  if (std::find(own.written.begin(), own.written.begin() + all, 0) != own.written.begin() + all) {
    past.present = at::empty({all}, at::kBool);
    std::copy_n(own.written.begin(), all, past.present.data_ptr<bool>());
  }
  return past;
}

void KVCache::Rollback() {
  for (Layer& layer : layers_) {
    if (layer.written.empty()) continue;
    std::fill(layer.written.begin() + length_, layer.written.end(), uint8_t{0});
  }
}

void KVCache::Repeat(int64_t times, int64_t capacity) {
  const MemoryAccount::Charging charging(account_);
  batch_ *= times;
  capacity_ = capacity;
  for (Layer& layer : layers_) {
    if (!layer.slab.defined()) continue;
    const at::Tensor before = std::move(layer.slab);
    layer.slab =
        at::zeros({2, batch_, before.size(2), capacity_, before.size(4)}, before.options());
    layer.k = layer.slab.select(0, 0);
    layer.v = layer.slab.select(0, 1);
    layer.slab.unflatten(1, {before.size(1), times})
        .narrow(4, 0, length_)
        .copy_(before.narrow(3, 0, length_).unsqueeze(2));
    layer.written.resize(static_cast<size_t>(capacity_), 0);
  }
}

void KVCache::MoveRows(const std::vector<Move>& moves) {
  for (Layer& layer : layers_) {
    if (!layer.slab.defined()) continue;
    for (const Move& move : moves) {
      if (move.begin >= length_) continue;
      const auto tokens = [&](int64_t row) {
        return layer.slab.select(1, row).narrow(2, move.begin, length_ - move.begin);
      };
      tokens(move.to).copy_(tokens(move.from));
    }
  }
}

}  // namespace weft::run
