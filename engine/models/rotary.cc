#include "engine/models/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/kernels/row_wise.h"
#include "engine/kernels/turn.h"
#include "engine/run/kv_cache.h"
#include "engine/run/op_tap.h"

namespace weft::models {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

at::Tensor Cos(const at::Tensor& angles) { return at::cos(angles); }
at::Tensor Sin(const at::Tensor& angles) { return at::sin(angles); }

bool DependsOnLength(const std::string& type) { return type == "dynamic" || type == "longrope"; }

double YarnScale(double scale, double factor) {
  return scale <= 1 ? 1 : 0.1 * factor * std::log(scale) + 1;
}

double AttentionFactor(const RopeParameters& rope) {
  if (rope.type != "yarn" && rope.type != "longrope") return 1;
  if (rope.attention_factor) return *rope.attention_factor;
  const double factor =
      rope.factor ? *rope.factor : rope.max_positions / rope.original_max_positions;
  if (rope.type == "longrope") {
    if (factor <= 1) return 1;
    return std::sqrt(1 + std::log(factor) / std::log(rope.original_max_positions));
  }
  if (rope.mscale.value_or(0) != 0 && rope.mscale_all_dim.value_or(0) != 0) {
    return YarnScale(factor, *rope.mscale) / YarnScale(factor, *rope.mscale_all_dim);
  }
  return YarnScale(factor, 1);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Rotary>> Rotary::Make(const std::string& where,
                                                           const RopeParameters& rope,
                                                           int64_t head_dim, Layout layout,
                                                           bool in_float) {
  const auto bad = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", why));
  };
  const auto dim = static_cast<int64_t>(static_cast<double>(head_dim) * rope.partial);
  if (dim < 2 || dim % 2 != 0 || dim > head_dim) {
    return bad(absl::StrCat("rotary embeddings turn ", dim, " of ", head_dim,
                            " dimensions of a head, which must be an even number of them"));
  }
  const bool counts = rope.type == "yarn" || rope.type == "longrope" || rope.type == "llama3";
  if (!(rope.theta > 1) || !(rope.max_positions >= 1) ||
      (counts && !(rope.original_max_positions > 1)) || (rope.factor && !(*rope.factor > 0))) {
    return bad("`rope_theta`, `factor` or `original_max_position_embeddings` is out of range");
  }
  if (rope.type == "dynamic" && dim <= 2) {
    return bad("`rope_type` dynamic needs more than 2 rotated dimensions");
  }
  if (rope.type == "llama3" && !(rope.high_freq_factor > rope.low_freq_factor)) {
    return bad("`high_freq_factor` must be greater than `low_freq_factor`");
  }
  if (rope.type == "longrope") {
    for (const auto* factors : {&rope.short_factor, &rope.long_factor}) {
      if (static_cast<int64_t>(factors->size()) != dim / 2 ||
          !std::all_of(factors->begin(), factors->end(), [](double f) { return f > 0; })) {
        return bad(absl::StrCat("`short_factor` and `long_factor` must have ", dim / 2,
                                " numbers greater than 0"));
      }
    }
  }
  return std::shared_ptr<const Rotary>(new Rotary(rope, dim, layout, in_float));
}

Rotary::Rotary(RopeParameters parameters, int64_t dim, Layout layout, bool in_float)
    : parameters_(std::move(parameters)),
      dim_(dim),
      layout_(layout),
      in_float_(in_float),
      attention_factor_(AttentionFactor(parameters_)) {
  if (!DependsOnLength(parameters_.type)) frequencies_ = Frequencies(1);
}

at::Tensor Rotary::Frequencies(int64_t tokens) const {
  if (frequencies_.defined()) return frequencies_;
  // In float32 step by step, as transformers computes them: the last bits of large positions'
  // angles depend on it.
  const RopeParameters& rope = parameters_;
  const at::Tensor steps = at::div(at::arange(0, dim_, 2, at::kFloat), static_cast<double>(dim_));
  const auto inverse = [&](double theta) {
    return at::reciprocal(at::pow(at::Scalar(theta), steps));
  };
  if (rope.type == "linear") return at::div(inverse(rope.theta), rope.factor.value_or(1));
  if (rope.type == "llama3") return Llama3(inverse(rope.theta));
  if (rope.type == "yarn") return Yarn(steps);
  if (rope.type == "dynamic") {
    const double factor = rope.factor.value_or(1);
    const double length = std::max(static_cast<double>(tokens), rope.max_positions);
    const auto dim = static_cast<double>(dim_);
    return inverse(rope.theta *
                   std::pow(factor * length / rope.max_positions - (factor - 1), dim / (dim - 2)));
  }
  if (rope.type == "longrope") {
    const auto& factors = static_cast<double>(tokens) > rope.original_max_positions
                              ? rope.long_factor
                              : rope.short_factor;
    const at::Tensor scale = at::tensor(factors, at::kFloat);
    return at::reciprocal(at::mul(scale, at::pow(at::Scalar(rope.theta), steps)));
  }
  return inverse(rope.theta);
}

at::Tensor Rotary::Llama3(const at::Tensor& frequencies) const {
  const RopeParameters& rope = parameters_;
  const double factor = rope.factor.value_or(1), length = rope.original_max_positions;
  const double low = rope.low_freq_factor, high = rope.high_freq_factor;
  const at::Tensor waves = at::mul(at::reciprocal(frequencies), kTwoPi);
  const at::Tensor slow = at::gt(waves, length / low), fast = at::lt(waves, length / high);
  const at::Tensor scaled = at::where(slow, at::div(frequencies, factor), frequencies);
  const at::Tensor smooth =
      at::div(at::sub(at::mul(at::reciprocal(waves), length), low), high - low);
  const at::Tensor mixed =
      at::add(at::div(at::mul(at::rsub(smooth, 1), scaled), factor), at::mul(smooth, scaled));
  return at::where(at::logical_not(at::logical_or(slow, fast)), mixed, scaled);
}

at::Tensor Rotary::Yarn(const at::Tensor& steps) const {
  const RopeParameters& rope = parameters_;
  const auto dim = static_cast<double>(dim_);
  const double factor =
      rope.factor ? *rope.factor : rope.max_positions / rope.original_max_positions;
  const auto dimension_of = [&](double rotations) {
    return dim * std::log(rope.original_max_positions / (rotations * kTwoPi)) /
           (2 * std::log(rope.theta));
  };
  const auto or_default = [](std::optional<double> value, double fallback) {
    return value.value_or(0) != 0 ? *value : fallback;
  };
  double low = dimension_of(or_default(rope.beta_fast, 32));
  double high = dimension_of(or_default(rope.beta_slow, 1));
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const at::Tensor powers = at::pow(at::Scalar(rope.theta), steps);
  const at::Tensor as_they_are = at::reciprocal(powers);
  const at::Tensor spread = at::reciprocal(at::mul(powers, factor));
  const at::Tensor ramp =
      at::clamp(at::div(at::sub(at::arange(dim_ / 2, at::kFloat), low), high - low), 0, 1);
  const at::Tensor kept = at::rsub(ramp, 1);
  return at::add(at::mul(spread, at::rsub(kept, 1)), at::mul(as_they_are, kept));
}

/// `[dim / 2]`, or by row `[1, rows, dim / 2]`.
at::Tensor Rotary::FrequenciesOfRows(run::Pass& pass) const {
  if (frequencies_.defined()) return frequencies_;
  std::vector<at::Tensor> rows;
  for (const run::Segment* segment : pass.present()) {
    int64_t tokens = segment->input->positions.max().item<int64_t>() + 1;
    // Keys of a generation stay as they were turned, so that later steps go on as they began.
    if (parameters_.type == "longrope" && segment->cache != nullptr &&
        segment->cache->length() > 0) {
      tokens = segment->cache->first();
    }
    rows.push_back(Frequencies(tokens).expand({1, segment->rows(), dim_ / 2}));
  }
  return rows.size() == 1 ? rows[0] : at::cat(rows, 1);
}

/// Layers that share them may lie on several devices.
struct Rotary::ByDevice {
  std::unordered_map<at::Device, Tables> tables;
};

const Rotary::Tables& Rotary::TablesOf(run::Pass& pass, const at::Tensor& x) const {
  std::shared_ptr<void>& slot = pass.ForRows(this);
  if (slot == nullptr) slot = std::make_shared<ByDevice>();
  auto& made = static_cast<ByDevice*>(slot.get())->tables;
  if (const auto found = made.find(x.device()); found != made.end()) return found->second;
  const at::ScalarType type = in_float_ ? at::kFloat : x.scalar_type();
  const at::Tensor angles =
      at::mul(pass.PositionsOnCpu().to(at::kFloat).unsqueeze(2), FrequenciesOfRows(pass));
  const at::Tensor each = layout_ == Layout::kHalves ? at::cat({angles, angles}, -1)
                                                     : at::repeat_interleave(angles, 2, -1);
  const auto finish = [&](at::Tensor (*function)(const at::Tensor&)) {
    const at::Tensor table = kernels::RowWise(function, each);
    return at::mul(table, attention_factor_).to(x.device(), type).unsqueeze(2);
  };
  return made.emplace(x.device(), Tables{finish(Cos), finish(Sin)}).first->second;
}

/// transformers: rotate_half.
at::Tensor Rotary::Turned(const at::Tensor& x) const {
  if (layout_ == Layout::kHalves) {
    const at::Tensor first = at::slice(x, -1, 0, dim_ / 2);
    const at::Tensor second = at::slice(x, -1, dim_ / 2);
    return at::cat({at::neg(second), first}, -1);
  }
  const at::Tensor even = at::slice(x, -1, 0, std::nullopt, 2);
  const at::Tensor odd = at::slice(x, -1, 1, std::nullopt, 2);
  return at::flatten(at::stack({at::neg(odd), even}, -1), -2);
}

at::Tensor Rotary::Apply(run::Pass& pass, const at::Tensor& x) const {
  const Tables* tables = nullptr;
  {
    // Whether it is made here or by another layer, it is none of the module's operators.
    const run::OpTap::Pause pause;
    tables = &TablesOf(pass, x);
  }
  if (kernels::CanTurn(x, tables->cos, tables->sin)) {
    return kernels::Turn(x, tables->cos, tables->sin, layout_ == Layout::kInterleaved);
  }
  const bool all = dim_ == x.size(-1);
  at::Tensor turning = all ? x : at::slice(x, -1, 0, dim_);
  if (in_float_) turning = turning.to(at::kFloat);
  const at::Tensor along = at::mul(turning, tables->cos);
  const at::Tensor turned = Turned(turning);
  at::Tensor result = at::add(along, at::mul(turned, tables->sin));
  if (in_float_) result = result.to(x.scalar_type());
  if (all) return result;
  const at::Tensor rest = at::slice(x, -1, dim_);
  return at::cat({result, rest}, -1);
}

}  // namespace weft::models
