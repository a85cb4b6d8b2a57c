#include "engine/models/attention.h"

#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/kernels/attention.h"
#include "engine/kernels/gpu.h"
#include "engine/run/kv_cache.h"
#include "engine/run/op_tap.h"

namespace weft::models {
namespace {

using graph::Point;
using Parts = run::OpTap::Parts;

/// Which keys the rows of one segment may look at.
struct Mask {
  std::optional<at::Tensor> seen;  // bool, `[B or 1, 1, T or 1, keys]`: true where one may look
  bool causal = false;             // instead: those before
};

/// What the rows of one segment look at, `[B, kv_heads, T + past, head_dim]`.
struct Sight {
  at::Tensor k, v;
  Mask mask;
  at::Tensor new_k, new_v;  // defined: what is still to be put at the end of k and v
};

/// `[B, keys]` bool of a padded segment: which keys are real tokens.
at::Tensor RealKeys(const run::Segment& segment, int64_t keys) {
  const run::InvokeInput& input = *segment.input;
  if (input.tokens() == keys) return input.mask.to(at::kBool);
  return input.attention_mask.view({input.batch(), keys});
}

/// `[B or 1, keys]` int64, counted over real tokens; 0 at pads.
at::Tensor KeyPositions(const run::Segment& segment, int64_t keys) {
  if (!segment.input->padded) return at::arange(keys, at::kLong).unsqueeze(0);
  const at::Tensor real = RealKeys(segment, keys);
  return at::mul(at::sub(real.cumsum(1), 1), real);
}

at::Tensor Before(int64_t tokens) { return at::ones({tokens, tokens}, at::kBool).tril(); }

/// For rows that look at `keys` keys: all of the segment's, those before its new tokens first.
Mask MakeMask(const run::Segment& segment, int64_t keys, const AttentionOptions& options) {
  const run::InvokeInput& input = *segment.input;
  Mask mask;
  if (!options.causal) {
    if (input.padded) mask.seen = RealKeys(segment, keys).view({input.batch(), 1, 1, keys});
    return mask;
  }
  // Of a later step one token sees all before it. Without them, as in a call out of band, it sees
  // itself: there is nothing to hide.
  if (input.padded && input.attention_mask.size(3) == keys) {
    mask.seen = input.attention_mask;
  } else {
    mask.causal = input.tokens() == keys;  // the first tokens see only each other
  }
  if (options.window == 0 || keys <= options.window) return mask;
  // By position: pads between two tokens put no distance between them.
  const at::Tensor from = at::sub(input.positions, options.window).unsqueeze(1).unsqueeze(3);
  const at::Tensor near = at::gt(KeyPositions(segment, keys).unsqueeze(1).unsqueeze(2), from);
  if (mask.seen) {
    mask.seen = at::logical_and(*mask.seen, near);
  } else {
    mask.seen = mask.causal ? at::logical_and(near[0], Before(keys)).unsqueeze(0) : near;
    mask.causal = false;
  }
  return mask;
}

/// Masks that layers share.
struct SharedMasks {
  struct Entry {
    const run::Segment* segment;
    int64_t keys, window;
    bool causal;
    at::Device device;
    Mask mask;
  };
  std::vector<Entry> entries;
};

Mask MaskOf(run::Pass& pass, const run::Segment& segment, int64_t keys,
            const AttentionOptions& options, at::Device device) {
  const bool made_already = options.causal && (options.window == 0 || keys <= options.window);
  if (made_already && (device.is_cpu() || !segment.input->padded))
    return MakeMask(segment, keys, options);
  static constexpr char kKey = 0;
  std::shared_ptr<void>& slot = pass.ForRows(&kKey);
  if (slot == nullptr) slot = std::make_shared<SharedMasks>();
  auto& entries = static_cast<SharedMasks*>(slot.get())->entries;
  for (const SharedMasks::Entry& entry : entries) {
    if (entry.segment == &segment && entry.keys == keys && entry.window == options.window &&
        entry.causal == options.causal && entry.device == device) {
      return entry.mask;
    }
  }
  Mask mask = MakeMask(segment, keys, options);
  if (mask.seen) mask.seen = mask.seen->to(device);
  entries.push_back({&segment, keys, options.window, options.causal, device, std::move(mask)});
  return entries.back().mask;
}

/// Of one new token for each prompt, which the kernel for that takes if the model's attention is
/// plain.
bool AreNewTokens(const at::Tensor& q, const AttentionOptions& options) {
  return q.size(2) == 1 && options.softcap == 0 && !options.slopes.defined();
}

/// Whether a kernel is to put the keys and values of new tokens into the cache where it looks at
/// them: on a GPU the two copies would take as long as all the rest.
bool PutByKernel(const run::Segment& segment, const AttentionOptions& options, const at::Tensor& q,
                 const at::Tensor& k, const at::Tensor& v) {
  if (!k.is_cuda() || segment.cache == nullptr || segment.cache->length() == 0) return false;
  return AreNewTokens(q, options) && kernels::gpu::CanPut(q, k, v, segment.cache->length() + 1);
}

/// `k` and `v` are those of the segment's new tokens. `all`: also what lies outside of the window
/// is wanted, masked. `later`: see PutByKernel.
Sight SightOf(run::Pass& pass, const AttentionOptions& options, const run::Segment& segment,
              at::Tensor k, at::Tensor v, bool all, bool later) {
  Sight sight{std::move(k), std::move(v), {}, {}, {}};
  at::Tensor present;
  if (segment.cache != nullptr) {
    run::KVCache::Past past = segment.cache->Append(options.layer, sight.k, sight.v, !later);
    if (segment.cache->length() > 0) {
      if (later) {
        sight.new_k = sight.k;
        sight.new_v = sight.v;
      }
      sight.k = std::move(past.k);
      sight.v = std::move(past.v);
      present = std::move(past.present);
    }
  }
  const int64_t keys = sight.k.size(2);
  const bool one = segment.input->tokens() == 1 && !segment.input->padded;
  if (one && !all && options.window > 0 && keys > options.window) {
    const auto last = [&](const at::Tensor& tensor, int64_t dimension) {
      return tensor.narrow(dimension, keys - options.window, options.window);
    };
    sight.k = last(sight.k, 2);
    sight.v = last(sight.v, 2);
    if (present.defined()) present = last(present, 0);
  } else {
    sight.mask = MaskOf(pass, segment, keys, options, sight.k.device());
  }
  if (present.defined()) {
    present = present.view({1, 1, 1, present.size(0)}).to(sight.k.device());
    sight.mask.seen = sight.mask.seen ? at::logical_and(*sight.mask.seen, present) : present;
  }
  return sight;
}

double LeastOf(c10::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return std::numeric_limits<at::Half>::lowest();
    case at::kBFloat16:
      return std::numeric_limits<at::BFloat16>::lowest();
    default:
      return std::numeric_limits<float>::lowest();
  }
}

/// `[B, kv_heads, keys, head_dim]` for all heads of q.
at::Tensor ForEachHead(const at::Tensor& x, int64_t heads) {
  const int64_t kv_heads = x.size(1);
  if (kv_heads == heads) return x;
  return x.unsqueeze(2)
      .expand({x.size(0), kv_heads, heads / kv_heads, x.size(2), x.size(3)})
      .reshape({x.size(0), heads, x.size(2), x.size(3)});
}

/// What ALiBi adds to scores, like `q`: `[B or 1, heads, 1, keys]`.
at::Tensor Bias(const run::Segment& segment, const AttentionOptions& options, int64_t keys,
                const at::Tensor& q) {
  const at::Tensor positions = KeyPositions(segment, keys).unsqueeze(1).unsqueeze(2);
  const at::Tensor bias = at::mul(options.slopes.view({1, options.heads, 1, 1}), positions);
  return at::mul(bias.to(q.options()), options.slope_scale);
}

/// The mask with what causality alone hides.
std::optional<at::Tensor> SeenBy(const Sight& sight, int64_t tokens) {
  if (!sight.mask.causal) return sight.mask.seen;
  return Before(tokens).view({1, 1, tokens, tokens}).to(sight.k.device());
}

/// `[B, heads, T, T + past]`. What may not be looked at has the least number there is, as in
/// transformers.
at::Tensor Scores(const run::Segment& segment, const AttentionOptions& options, const at::Tensor& q,
                  const Sight& sight) {
  const at::Tensor k = ForEachHead(sight.k, options.heads);
  at::Tensor scores = at::mul(at::matmul(q, k.transpose(-1, -2)), options.scale);
  if (options.softcap > 0) {
    scores = at::mul(at::tanh(at::div(scores, options.softcap)), options.softcap);
  }
  if (options.slopes.defined()) {
    scores = at::add(scores, Bias(segment, options, k.size(2), scores));
  }
  const std::optional<at::Tensor> seen = SeenBy(sight, q.size(2));
  if (!seen) return scores;
  return at::masked_fill(scores, at::logical_not(*seen), LeastOf(q.scalar_type()));
}

at::Tensor Probs(const at::Tensor& scores) {
  return at::softmax(scores, -1, at::kFloat).to(scores.scalar_type());
}

at::Tensor Weighted(const at::Tensor& probs, const Sight& sight) {
  return at::matmul(probs, ForEachHead(sight.v, probs.size(1)));
}

at::Tensor Fused(const run::Segment& segment, const AttentionOptions& options, const at::Tensor& q,
                 const Sight& sight) {
  const int64_t tokens = q.size(2), kv_heads = sight.k.size(1);
  std::optional<at::Tensor> mask = sight.mask.seen;
  bool causal = sight.mask.causal;
  if (options.slopes.defined()) {
    const at::Tensor bias = Bias(segment, options, sight.k.size(2), q);
    const std::optional<at::Tensor> seen = SeenBy(sight, tokens);
    mask = seen
               ? at::where(*seen, bias, at::scalar_tensor(LeastOf(q.scalar_type()), bias.options()))
               : bias;
    causal = false;
  } else if (tokens == 1 && kv_heads != options.heads) {
    // The heads that share a key and a value are as good as tokens that look at the same ones.
    const at::Tensor grouped = q.reshape({q.size(0), kv_heads, -1, q.size(3)});
    return at::scaled_dot_product_attention(grouped, sight.k, sight.v, mask, /*dropout_p=*/0.0,
                                            /*is_causal=*/false, options.scale)
        .reshape(q.sizes());
  }
  return at::scaled_dot_product_attention(q, ForEachHead(sight.k, options.heads),
                                          ForEachHead(sight.v, options.heads), mask,
                                          /*dropout_p=*/0.0, causal, options.scale);
}

/// Of one new token for each prompt, where the kernel for that can take it.
std::optional<kernels::NewToken> AsNewToken(const AttentionOptions& options, const at::Tensor& q,
                                            const Sight& sight) {
  if (!AreNewTokens(q, options)) return std::nullopt;
  kernels::NewToken token{q, sight.k, sight.v, {}, sight.new_k, sight.new_v};
  if (sight.mask.seen) token.seen = sight.mask.seen->reshape({-1, sight.k.size(2)}).contiguous();
  if (!kernels::CanAttend(token)) return std::nullopt;
  return token;
}

bool HasHeads(const at::Tensor& packed) { return packed.dim() == 4; }

/// `[B, heads, T, head_dim]` of a segment, without a copy.
at::Tensor HeadsOf(const at::Tensor& packed, const run::Segment& segment, int64_t heads) {
  if (packed.requires_grad()) {  // going backwards through a strided view is slow
    const at::Tensor cut = run::Cut(packed, segment);
    return (HasHeads(packed) ? cut : cut.unflatten(2, {heads, -1})).transpose(1, 2);
  }
  const int64_t token = packed.stride(1), number = packed.strides().back();
  const int64_t head_dim = HasHeads(packed) ? packed.size(3) : packed.size(2) / heads;
  const int64_t head = HasHeads(packed) ? packed.stride(2) : head_dim * number;
  return packed.as_strided({segment.input->batch(), heads, segment.tokens, head_dim},
                           {token * segment.tokens, head, token, number},
                           packed.storage_offset() + segment.start * token);
}

/// Attention one operator after the other, each for all segments, so that whoever listens sees them
/// at once.
class Stepwise {
 public:
  explicit Stepwise(run::Pass& pass)
      : pass_(pass), tap_(*pass.inside()), segments_(pass.present()) {}

  at::Tensor Attend(const AttentionOptions& options, const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v) {
    Parts qs = ByHead(q, options.heads);
    Parts ks = ByHead(k, options.kv_heads), vs = ByHead(v, options.kv_heads);
    tap_.Point(Point::kQ, &qs);
    tap_.Point(Point::kK, &ks);
    tap_.Point(Point::kV, &vs);
    const bool fused = options.softcap == 0;
    if (fused) tap_.Arguments(kAttention, 6, {{&qs, &ks, &vs}});
    std::vector<Sight> sights;
    Parts scores(segments_.size()), probs(segments_.size());
    bool any = false;
    for (size_t i = 0; i < segments_.size(); ++i) {
      const run::Segment& segment = *segments_[i];
      const bool eager =
          !fused || tap_.Wants(Point::kScores, segment) || tap_.Wants(Point::kProbs, segment);
      sights.push_back(
          SightOf(pass_, options, segment, ks[i], vs[i], /*all=*/eager, /*later=*/false));
      if (!eager) continue;
      any = true;
      scores[i] = Scores(segment, options, qs[i], sights[i]);
    }
    if (any) tap_.Point(Point::kScores, &scores);
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (scores[i].defined()) probs[i] = Probs(scores[i]);
    }
    if (any) tap_.Point(Point::kProbs, &probs);
    Parts zs;
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (probs[i].defined()) {
        zs.push_back(Weighted(probs[i], sights[i]));
      } else if (const auto token = AsNewToken(options, qs[i], sights[i])) {
        zs.push_back(kernels::Attend({&*token, 1}, options.scale).view(qs[i].sizes()));
      } else {
        zs.push_back(Fused(*segments_[i], options, qs[i], sights[i]));
      }
    }
    if (fused) tap_.Result(kAttention, &zs);
    tap_.Point(Point::kZ, &zs);
    zs = Each("aten::transpose", 3, zs, [](const at::Tensor& z) { return z.transpose(1, 2); });
    zs = Each("aten::reshape", 2, zs, [](const at::Tensor& z) {
      return z.reshape({z.size(0), z.size(1), -1});
    });
    for (at::Tensor& z : zs) z = z.flatten(0, 1).unsqueeze(0);
    return zs.size() == 1 ? zs[0] : at::cat(zs, 1);
  }

 private:
  static constexpr char kAttention[] = "aten::scaled_dot_product_attention";

  template <typename Operator>
  Parts Each(const char* name, int arguments, Parts from, const Operator& call) {
    tap_.Arguments(name, arguments, {{&from}});
    Parts result;
    result.reserve(from.size());
    for (const at::Tensor& part : from) result.push_back(call(part));
    tap_.Result(name, &result);
    return result;
  }

  Parts ByHead(const at::Tensor& packed, int64_t heads) {
    Parts parts;
    for (const run::Segment* segment : segments_) parts.push_back(run::Cut(packed, *segment));
    if (!HasHeads(packed)) {
      parts = Each("aten::unflatten", 3, std::move(parts), [&](const at::Tensor& part) {
        return part.unflatten(2, {heads, -1});
      });
    }
    return Each("aten::transpose", 3, std::move(parts),
                [](const at::Tensor& part) { return part.transpose(1, 2); });
  }

  run::Pass& pass_;
  run::OpTap& tap_;
  const absl::Span<run::Segment* const> segments_;
  const run::OpTap::Pause pause_;  // operators are told of here
};

}  // namespace

at::Tensor Attend(run::Pass& pass, const AttentionOptions& options, const at::Tensor& q,
                  const at::Tensor& k, const at::Tensor& v) {
  if (pass.inside() != nullptr && pass.inside()->Watched()) [[unlikely]] {
    return Stepwise(pass).Attend(options, q, k, v);
  }
  const absl::Span<run::Segment* const> segments = pass.present();
  std::vector<at::Tensor> rows(segments.size());
  // Those with one new token for each prompt are looked after together, at the end.
  std::vector<kernels::NewToken> tokens;
  for (size_t i = 0; i < segments.size(); ++i) {
    const run::Segment& segment = *segments[i];
    const at::Tensor queries = HeadsOf(q, segment, options.heads);
    at::Tensor keys = HeadsOf(k, segment, options.kv_heads);
    at::Tensor values = HeadsOf(v, segment, options.kv_heads);
    const bool later = PutByKernel(segment, options, queries, keys, values);
    const Sight sight = SightOf(pass, options, segment, std::move(keys), std::move(values),
                                /*all=*/false, later);
    if (auto token = AsNewToken(options, queries, sight)) {
      tokens.push_back(*std::move(token));
      continue;
    }
    TORCH_INTERNAL_ASSERT(!sight.new_k.defined());
    const bool eager = options.softcap > 0;
    const at::Tensor z = eager ? Weighted(Probs(Scores(segment, options, queries, sight)), sight)
                               : Fused(segment, options, queries, sight);
    rows[i] = z.transpose(1, 2).reshape({1, segment.rows(), -1});
  }
  if (!tokens.empty()) {
    const at::Tensor z = kernels::Attend(tokens, options.scale);
    if (tokens.size() == segments.size()) return z;
    int64_t at = 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      if (rows[i].defined()) continue;
      rows[i] = z.narrow(1, at, segments[i]->rows());
      at += segments[i]->rows();
    }
  }
  return rows.size() == 1 ? rows[0] : at::cat(rows, 1);
}

}  // namespace weft::models
