#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "engine/plan/module_result.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"
#include "engine/run/run.h"
#include "engine/run/stopwatch.h"

// Calls of modules out of band whose sites are visited. What waits for a site inside lies behind
// the call, in the order of the sites, and is executed while the call is there.

namespace weft::run {
namespace {

template <typename Visited>
class WatcherOf final : public Watcher {
 public:
  explicit WatcherOf(const Visited& visited) : visited_(visited) {}
  void Visit(Pass& pass, int site, const OutputForm& form, at::Tensor& packed) override {
    visited_(pass, site, form, packed);
  }

 private:
  const Visited& visited_;
};

}  // namespace

absl::StatusOr<c10::IValue> Run::Do(const plan::CallWatched& what, Visiting*) {
  const absl::StatusOr<at::Tensor> value = ArgumentOf(what.module, what.input);
  if (!value.ok()) return value.status();
  const std::vector<plan::Instruction>& instructions = stage_->instructions;
  const plan::Instruction& call = instructions[at_];
  const graph::NodeId node = node_;
  const int last = call.step + 1 + what.last_site - what.first_site;
  int next = at_ + 1, end = next;
  const auto belongs = [&](int i, int step) {
    return i < static_cast<int>(instructions.size()) && instructions[i].time == call.time &&
           !instructions[i].late && instructions[i].step <= step;
  };
  while (belongs(end, last)) ++end;
  const std::vector<int64_t> leading = plan::LeadingOf(spec_, what.module, value->sizes());
  absl::Status status;
  const auto visited = [&](Pass& pass, int site, const OutputForm& form, at::Tensor& packed) {
    std::vector<int64_t> shape = leading;
    shape.insert(shape.end(), packed.sizes().begin() + 2, packed.sizes().end());
    watching_.pass = &pass;
    watching_.leading = leading.size();
    watching_.form = &form;
    watching_.rows = packed.reshape(shape);
    watching_.changed = false;
    const int first = next;
    while (belongs(next, call.step + 1 + site - what.first_site)) ++next;
    status = ExecuteRange(first, next, nullptr);
    // Ends the call; why is in `status`, or the run is to be run again alone.
    TORCH_CHECK(status.ok() && !evicted_, "what waits for a site of this call failed");
    if (watching_.changed) packed = watching_.rows.reshape(packed.sizes());
  };
  WatcherOf watcher(visited);
  absl::StatusOr<c10::IValue> result = absl::InternalError("not called");
  const absl::Status ran = plan::CatchTorch([&] {
    const Stopwatch stopwatch(&pass_operator_seconds_);
    result = host_.CallModule(what.module, *value, SegmentFor(what.module, what.invoke), &watcher,
                              adapter_);
    return result.status();
  });
  watching_ = Watching();
  watching_.end = end;
  if (evicted_) return c10::IValue();
  if (!status.ok()) return status;
  node_ = node;
  if (!ran.ok()) return ran;
  called_ = *std::move(result);
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReadInside&, Visiting*) {
  if (asks_for_gradient_) {
    watching_.rows = WithGradient(watching_.rows);
    watching_.changed = true;
  }
  return InForm(*watching_.form, watching_.rows);
}

absl::StatusOr<c10::IValue> Run::Do(const plan::WriteInside& what, Visiting*) {
  const at::Tensor value = Visiting::LeafOf(frame_[what.value]);
  if (absl::Status status = CheckRange(value, what.range); !status.ok()) return status;
  watching_.changed = true;
  if (what.steps.empty()) {
    watching_.rows = value.to(watching_.rows.scalar_type());
    return c10::IValue();
  }
  // A copy, as others may have read what was there.
  watching_.rows = watching_.rows.clone();
  absl::Status status = WritePart(InForm(*watching_.form, watching_.rows), what.steps, value);
  if (!status.ok()) return status;
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::SkipInside& what, Visiting*) {
  const plan::SiteSpec& output = spec_.sites()[what.output];
  const at::Tensor meta = Visiting::LeafOf(plan::MetaOf(output.pattern, {1, 1}));
  const at::Tensor value = Visiting::LeafOf(frame_[what.value]).to(meta.scalar_type());
  const auto leading = value.sizes().slice(0, watching_.leading);
  std::vector<int64_t> packed = {1, c10::multiply_integers(leading)};
  packed.insert(packed.end(), value.sizes().begin() + watching_.leading, value.sizes().end());
  watching_.pass->RequestSkip(nullptr, value.reshape(packed));
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::TakeCalled&, Visiting*) {
  return std::exchange(called_, c10::IValue());
}

}  // namespace weft::run
