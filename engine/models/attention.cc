#include "engine/models/attention.h"

#include <initializer_list>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "engine/run/kv_cache.h"
#include "engine/run/op_tap.h"

namespace weft::models {
namespace {

using graph::Point;
using Parts = run::OpTap::Parts;

/// What the rows of one segment look at, `[B, heads, T, head_dim]`, and which of it they may see.
struct Sight {
  at::Tensor k, v;
  std::optional<at::Tensor> mask;  // `[..., T, T + past]`, true where one may look
  bool causal = false;
};

/// `k` and `v` are those of the segment's new tokens.
Sight SightOf(const run::Segment& segment, int layer, at::Tensor k, at::Tensor v) {
  Sight sight{std::move(k), std::move(v), std::nullopt, !segment.input->padded};
  if (segment.input->padded) sight.mask = segment.input->attention_mask;
  if (segment.cache == nullptr) return sight;
  run::KVCache::Past past = segment.cache->Append(layer, sight.k, sight.v);
  // The first tokens see only each other; of a later step one token sees all before it.
  if (segment.cache->length() == 0) return sight;
  sight.causal = false;
  sight.k = std::move(past.k);
  sight.v = std::move(past.v);
  if (past.present.defined()) {
    sight.mask = sight.mask ? at::logical_and(*sight.mask, past.present)
                            : past.present.view({1, 1, 1, past.present.size(0)});
  }
  return sight;
}

at::Tensor Fused(const at::Tensor& q, const Sight& sight, double scale) {
  return at::scaled_dot_product_attention(q, sight.k, sight.v, sight.mask, /*dropout_p=*/0.0,
                                          sight.causal, scale);
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

/// `[B, heads, T, T + past]`. What may not be looked at has the least number there is, as in
/// transformers.
at::Tensor Scores(const at::Tensor& q, const Sight& sight, double scale) {
  at::Tensor scores = at::mul(at::matmul(q, sight.k.transpose(-1, -2)), scale);
  std::optional<at::Tensor> seen = sight.mask;
  if (sight.causal) {
    seen = at::ones({q.size(2), sight.k.size(2)}, at::TensorOptions(q.device()).dtype(at::kBool))
               .tril();
  }
  if (!seen) return scores;
  return at::masked_fill(scores, at::logical_not(*seen), LeastOf(q.scalar_type()));
}

/// Attention one operator after the other, each for all segments, so that whoever listens sees them
/// at once.
class Stepwise {
 public:
  explicit Stepwise(run::Pass& pass) : tap_(*pass.inside()), segments_(pass.present()) {}

  at::Tensor Attend(int layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    int64_t heads, double scale) {
    Parts qs = ByHead(q, heads), ks = ByHead(k, heads), vs = ByHead(v, heads);
    tap_.Point(Point::kQ, &qs);
    tap_.Point(Point::kK, &ks);
    tap_.Point(Point::kV, &vs);
    tap_.Arguments(kAttention, 6, {{&qs, &ks, &vs}});
    std::vector<Sight> sights;
    Parts scores(segments_.size()), probs(segments_.size());
    bool any = false;
    for (size_t i = 0; i < segments_.size(); ++i) {
      const run::Segment& segment = *segments_[i];
      sights.push_back(SightOf(segment, layer, ks[i], vs[i]));
      if (!tap_.Wants(Point::kScores, segment) && !tap_.Wants(Point::kProbs, segment)) continue;
      any = true;
      scores[i] = Scores(qs[i], sights[i], scale);
    }
    if (any) tap_.Point(Point::kScores, &scores);
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (!scores[i].defined()) continue;
      probs[i] = at::softmax(scores[i], -1, at::kFloat).to(qs[i].scalar_type());
    }
    if (any) tap_.Point(Point::kProbs, &probs);
    Parts zs;
    for (size_t i = 0; i < segments_.size(); ++i) {
      zs.push_back(probs[i].defined() ? at::matmul(probs[i], sights[i].v)
                                      : Fused(qs[i], sights[i], scale));
    }
    tap_.Result(kAttention, &zs);
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
    parts = Each("aten::unflatten", 3, std::move(parts), [&](const at::Tensor& part) {
      return part.unflatten(2, {heads, -1});
    });
    return Each("aten::transpose", 3, std::move(parts),
                [](const at::Tensor& part) { return part.transpose(1, 2); });
  }

  run::OpTap& tap_;
  const absl::Span<run::Segment* const> segments_;
  const run::OpTap::Pause pause_;  // operators are told of here
};

}  // namespace

at::Tensor AttendCausally(run::Pass& pass, int layer, const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, int64_t heads, double scale) {
  if (pass.inside() != nullptr && pass.inside()->Watched()) [[unlikely]] {
    return Stepwise(pass).Attend(layer, q, k, v, heads, scale);
  }
  auto attend = [&](const run::Segment& segment) {
    auto by_head = [&](const at::Tensor& packed) {
      return run::Cut(packed, segment).unflatten(2, {heads, -1}).transpose(1, 2);
    };
    return Fused(by_head(q), SightOf(segment, layer, by_head(k), by_head(v)), scale)
        .transpose(1, 2)
        .reshape({1, segment.rows(), -1});
  };
  if (pass.present().size() == 1) return attend(*pass.present()[0]);
  std::vector<at::Tensor> rows;
  rows.reserve(pass.present().size());
  for (const run::Segment* segment : pass.present()) rows.push_back(attend(*segment));
  return at::cat(rows, 1);
}

}  // namespace weft::models
