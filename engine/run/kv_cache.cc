#include "engine/run/kv_cache.h"

#include <algorithm>

namespace weft::run {

KVCache::Past KVCache::Append(int layer, const at::Tensor& k, const at::Tensor& v) {
  if (layers_.size() <= static_cast<size_t>(layer)) layers_.resize(layer + 1);
  Layer& own = layers_[layer];
  if (!own.slab.defined()) {
    const MemoryAccount::Charging charging(account_);
    // Zeros, so that what a skipped layer leaves out is nobody's old memory.
    own.slab = at::zeros({2, batch_, k.size(1), capacity_, k.size(3)}, k.options());
    own.written.assign(static_cast<size_t>(capacity_), 0);
  }
  const int64_t tokens = k.size(2), all = length_ + tokens;
  TORCH_CHECK(all <= capacity_, "the KV cache is full");
  own.slab.select(0, 0).narrow(2, length_, tokens).copy_(k);
  own.slab.select(0, 1).narrow(2, length_, tokens).copy_(v);
  std::fill_n(own.written.begin() + length_, tokens, uint8_t{1});
  Past past{own.slab.select(0, 0).narrow(2, 0, all), own.slab.select(0, 1).narrow(2, 0, all), {}};
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
