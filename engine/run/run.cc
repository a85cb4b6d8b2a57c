#include "engine/run/run.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <deque>
#include <sstream>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/plan/operands.h"
#include "engine/plan/planner.h"
#include "engine/run/dependence.h"
#include "engine/run/move_together.h"
#include "engine/run/overwrite.h"
#include "engine/run/stopwatch.h"
#include "engine/run/zero_gradient.h"

namespace weft::run {
namespace {

using plan::kNoSlot;
using plan::MapTensors;
using plan::Slot;

/// Copy the tensors of `from` into those of `to`, whose structure it has; a lone tensor goes into
/// the first.
void CopyInto(const c10::IValue& to, const c10::IValue& from) {
  if (from.isTensor() || to.isTensor()) {
    const at::Tensor &place = Visiting::LeafOf(to), &value = Visiting::LeafOf(from);
    // Of what depends on data the plan does not know the size.
    TORCH_CHECK(place.sizes() == value.sizes(), "a value of shape ", value.sizes(),
                " replaces one of shape ", place.sizes());
    Overwrite(place, value);
  } else if (to.isTuple()) {
    const auto& items = to.toTupleRef().elements();
    for (size_t i = 0; i < items.size(); ++i) {
      CopyInto(items[i], from.toTupleRef().elements()[i]);
    }
  } else if (to.isList()) {
    for (size_t i = 0; i < to.toListRef().size(); ++i) {
      CopyInto(to.toListRef()[i], from.toListRef()[i]);
    }
  } else if (to.isGenericDict()) {
    for (const auto& entry : to.toGenericDict()) {
      CopyInto(entry.value(), from.toGenericDict().at(entry.key()));
    }
  }
}

std::string Print(const c10::IValue& value) {
  constexpr int64_t kShown = 8;
  std::ostringstream out;
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    out << graph::ToString(plan::FromScalarType(tensor.scalar_type())) << c10::str(tensor.sizes());
    if (tensor.numel() > 0 && !tensor.is_complex()) {
      // Narrowed before it is flattened, which may copy.
      at::Tensor corner = tensor;
      int64_t count = 1;
      for (int64_t dim = tensor.dim() - 1; dim >= 0; --dim) {
        const int64_t taken = std::min(tensor.size(dim), (kShown + count - 1) / count);
        corner = corner.narrow(dim, 0, taken);
        count *= taken;
      }
      const at::Tensor first = corner.flatten().slice(0, 0, kShown).to(at::kDouble).cpu();
      for (int64_t i = 0; i < first.numel(); ++i)
        out << (i == 0 ? " [" : ", ") << first[i].item<double>();
      out << (tensor.numel() > kShown ? ", ...]" : "]");
    }
  } else if (value.isTuple()) {
    const char* separator = "(";
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      out << std::exchange(separator, ", ") << Print(item);
    }
    out << ")";
  } else if (value.isGenericDict()) {
    const char* separator = "{";
    for (const auto& entry : value.toGenericDict()) {
      out << std::exchange(separator, ", ") << entry.key().toStringRef() << ": "
          << Print(entry.value());
    }
    out << "}";
  } else if (value.isList()) {
    const char* separator = "[";
    for (const c10::IValue& item : value.toListRef()) {
      out << std::exchange(separator, ", ") << Print(item);
    }
    out << "]";
  } else if (value.isNone()) {
    out << "none";
  } else {
    out << value;
  }
  return out.str();
}

}  // namespace

Run::Run(const plan::Plan& plan, const graph::Program& program, const plan::ModelSpec& spec,
         const Host& host, std::vector<InvokeInput> inputs, const RunLimits& limits,
         absl::Time deadline, const TokenOptions& tokens)
    : plan_(plan),
      program_(program),
      spec_(spec),
      host_(host),
      inputs_(std::move(inputs)),
      limits_(limits),
      deadline_(deadline),
      tokens_(tokens),
      memory_(limits.memory_bytes),
      generated_(plan.invokes.size()),
      came_(plan.invokes.size(), 0),
      brought_(plan.invokes.size()),
      segment_of_invoke_(plan.invokes.size(), -1),
      saved_counts_(plan.saves.size(), 0) {
  PreparePass();
}

bool Run::Touches(int time, int invoke) const {
  const auto concerns = [&](int other) {
    const bool all = plan_.invokes[other].all_rows;
    return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& segment) {
      const bool meant = all ? plan_.invokes[segment.invoke].group == plan_.invokes[other].group
                             : segment.invoke == other;
      return meant && (segment.trunk != nullptr ? segment.trunk->invoke : segment.invoke) == invoke;
    });
  };
  for (int i = stage_->first[time + 1]; i < stage_->first[time + 2]; ++i) {
    const auto& what = stage_->instructions[i].what;
    const auto* read = std::get_if<plan::ReadSite>(&what);
    const auto* write = std::get_if<plan::WriteSite>(&what);
    if (read != nullptr && concerns(read->invoke)) return true;
    if (write != nullptr && concerns(write->invoke)) return true;
  }
  return false;
}

void Run::Begin(bool shared) {
  shared_ = shared;
  evicted_ = false;
  status_ = absl::OkStatus();
  if (!begun_) memory_.Reset();
  begun_ = true;
  frame_ = kept_;
  frame_.resize(plan_.slots);
  carries_.clear();
  while (saved_.size() > kept_saves_) {
    --saved_counts_[saved_.back().save];
    saved_.pop_back();
  }
  logs_.resize(std::min(logs_.size(), kept_logs_));
  log_bytes_ = told_log_bytes_;
  for (const LogEntry& entry : logs_) log_bytes_ += entry.text.size() + entry.label.size();
  pass_operator_seconds_ = 0;
  stopped_ = graph::kNoNode;
  PreparePass();
  CheckAlive(absl::Now());
  if (ended()) return;
  const MemoryAccount::Charging charging(&memory_);
  absl::Status status = plan::CatchTorch([this] {
    if (gradients()) {
      // What passes under InferenceMode have left cannot enter a graph.
      for (c10::IValue& value : frame_) {
        value = MapTensors(value, [](const at::Tensor& tensor) {
          return tensor.is_inference() ? tensor.clone() : tensor;
        });
      }
    }
    return ExecuteRange(stage_->first[0], stage_->first[1], nullptr);
  });
  if (!status.ok()) Fail(std::move(status));
}

void Run::Visit(Visiting& site) {
  if (ended()) return;
  written_ = false;
  read_.clear();
  const int time = site.time();
  const MemoryAccount::Charging charging(&memory_);
  absl::Status status = plan::CatchTorch([this, time, &site] {
    return ExecuteRange(stage_->first[time + 1], stage_->first[time + 2], &site);
  });
  if (!status.ok()) Fail(std::move(status));
}

void Run::CheckAlive(absl::Time now) {
  if (!status_.ok()) return;
  if (cancelled_.load(std::memory_order_relaxed)) {
    status_ = absl::CancelledError("the run was cancelled");
  } else if (now > deadline_) {
    status_ = absl::DeadlineExceededError("the run's deadline passed while it was running");
  }
}

void Run::Fail(absl::Status status) {
  if (!status_.ok()) return;
  if (memory_.refused_bytes() != 0 && status.code() == absl::StatusCode::kResourceExhausted) {
    status = graph::StatementError(
        status.code(), program_, node_,
        absl::StrCat("here the program would hold ", memory_.refused_bytes(),
                     " bytes at once, its operators' own memory included; at most ",
                     memory_.limit(), " are allowed"),
        "save or use less at a time");
  }
  if (node_ != graph::kNoNode && graph::FromStatus(status).node == graph::kNoNode) {
    const graph::Error error = graph::FromStatus(status);
    status = graph::StatementError(status.code(), program_, node_, error.message, error.hint);
  }
  status_ = std::move(status);
  // Nothing is held for a run that has ended.
  frame_.clear();
  read_.clear();
  kept_.clear();
  carries_.clear();
}

absl::Status Run::ExecuteRange(int first, int last, Visiting* site) {
  for (int i = first; i < last; ++i) {
    const plan::Instruction& instruction = stage_->instructions[i];
    at_ = i;
    const bool watched = std::holds_alternative<plan::CallWatched>(instruction.what);
    if (watched) watching_.end = i + 1;
    // What was written after the statement that ended the run is not done.
    if (stopped_ != graph::kNoNode && instruction.node > stopped_) continue;
    if (absl::Status status = Execute(instruction, site); !status.ok()) return status;
    if (evicted_) return absl::OkStatus();
    // What waits for its gradients has run when it has.
    if (const auto* run = std::get_if<plan::RunBackward>(&instruction.what)) {
      i = plan_.backwards[run->backward].first.back() - 1;
    }
    if (watched) i = watching_.end - 1;
  }
  node_ = graph::kNoNode;
  return absl::OkStatus();
}

bool Run::IsTrue(Slot condition) const {
  const c10::IValue& value = frame_[condition];
  return value.isBool() ? value.toBool() : value.toTensor().item<bool>();
}

bool Run::Holds(int guard) const {
  if (guard < 0) return true;
  // The outer one first: where that does not hold nobody has computed the inner condition.
  const plan::Guard& own = plan_.guards[guard];
  return Holds(own.parent) && IsTrue(own.condition) == own.wanted;
}

absl::Status Run::Execute(const plan::Instruction& instruction, Visiting* site) {
  node_ = instruction.node;
  asks_for_gradient_ = instruction.gradient;
  // Others of the trace go on where the generation of its invoke has ended.
  const bool absent = instruction.invoke >= 0 && !ended_.empty() && !HasRows(instruction.invoke);
  if (!absent && Holds(instruction.guard)) {
    ran_[at_] = true;
    absl::StatusOr<c10::IValue> result =
        std::visit([&](const auto& what) { return Do(what, site); }, instruction.what);
    if (!result.ok()) return result.status();
    if (evicted_) return absl::OkStatus();
    if (instruction.gradient) {
      // An operator may return its very argument, whose gradient is another one. What is read at a
      // site, or lies in a structure, is the very tensor that the model and others use.
      const bool shared = std::holds_alternative<plan::ReadSite>(instruction.what) ||
                          std::holds_alternative<plan::ReadInside>(instruction.what) ||
                          std::holds_alternative<plan::TakeItem>(instruction.what) ||
                          std::holds_alternative<plan::MakeStructure>(instruction.what);
      result = MapTensors(*result, [shared](const at::Tensor& tensor) {
        return tensor.requires_grad() && !shared ? tensor.view_as(tensor) : WithGradient(tensor);
      });
    }
    if (instruction.result != kNoSlot) frame_[instruction.result] = *std::move(result);
  }
  for (Slot slot : instruction.release) frame_[slot] = c10::IValue();
  return CheckBudget();
}

absl::Status Run::CheckBudget() {
  if (shared_ && limits_.shared_operator_seconds > 0 &&
      pass_operator_seconds_ > limits_.shared_operator_seconds) {
    evicted_ = true;
    frame_.clear();
    return absl::OkStatus();
  }
  if (limits_.operator_seconds > 0 && operator_seconds() > limits_.operator_seconds) {
    return absl::ResourceExhaustedError(absl::StrCat("the program's own operators took more than ",
                                                     limits_.operator_seconds,
                                                     " seconds, which is the limit"));
  }
  if (cancelled_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("the run was cancelled");
  }
  if (deadline_ != absl::InfiniteFuture() && absl::Now() > deadline_) {
    return absl::DeadlineExceededError("the run's deadline passed while it was running");
  }
  return absl::OkStatus();
}

absl::Span<Segment* const> Run::SegmentsOf(int invoke) {
  if (together_of_ == invoke) return together_;
  together_.clear();
  together_of_ = invoke;
  const plan::PlannedInvoke& planned = plan_.invokes[invoke];
  if (!planned.all_rows) {
    const int own = segment_of_invoke_[invoke];
    if (own >= 0) together_.push_back(&segments_[own]);
    return together_;
  }
  for (std::vector<Segment>* segments : {&segments_, &ended_}) {
    for (Segment& segment : *segments) {
      if (plan_.invokes[segment.invoke].group == planned.group) together_.push_back(&segment);
    }
  }
  std::sort(together_.begin(), together_.end(),
            [](const Segment* a, const Segment* b) { return a->invoke < b->invoke; });
  return together_;
}

bool Run::HasRows(int invoke) const {
  const plan::PlannedInvoke& planned = plan_.invokes[invoke];
  if (!planned.all_rows) return segment_of_invoke_[invoke] >= 0;
  return std::any_of(segments_.begin(), segments_.end(), [&](const Segment& segment) {
    return plan_.invokes[segment.invoke].group == planned.group;
  });
}

c10::IValue Run::ReadRows(int invoke, Visiting& site) {
  const int segment = segment_of_invoke_[invoke];
  if (asks_for_gradient_) {
    return segment < 0 ? site.ReadAllForGradient(SegmentsOf(invoke))
                       : site.ReadForGradient(segments_[segment]);
  }
  if (segment < 0) return site.ReadAll(SegmentsOf(invoke), written_);
  return site.Read(segments_[segment], written_);
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReadSite& what, Visiting* site) {
  if (asks_for_gradient_) {
    // A write in a branch that was not taken makes no other value of it.
    const auto [read, first] = read_.try_emplace(std::pair(what.invoke, what.point));
    if (first) read->second = MapTensors(ReadRows(what.invoke, *site), WithGradient);
    return read->second;
  }
  if (segment_of_invoke_[what.invoke] < 0) {
    const Stopwatch stopwatch(&pass_operator_seconds_);  // they are put together
    return ReadRows(what.invoke, *site);
  }
  c10::IValue value = ReadRows(what.invoke, *site);
  if (!what.copy || gradients()) return value;
  return MapTensors(value, [](const at::Tensor& tensor) { return tensor.clone(); });
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReadInvoke& what, Visiting*) {
  const bool all = plan_.invokes[what.invoke].all_rows;
  const absl::Span<Segment* const> segments = SegmentsOf(what.invoke);
  // Of the first pass every row, also where each prompt is passed once.
  const auto input_of = [this](const Segment& segment) -> const InvokeInput& {
    return step_ > 0 ? *segment.input : InputOf(segment.invoke);
  };
  int64_t batch = 0, longest = 0;
  for (const Segment* segment : segments) {
    batch += input_of(*segment).batch();
    longest = std::max(longest, segment->input->tokens());
  }
  const bool rows = what.point == graph::Point::kRows;
  at::Tensor out = rows ? at::empty({batch}, at::kLong) : at::zeros({batch, longest}, at::kLong);
  int64_t row = 0;
  for (const Segment* segment : segments) {
    const InvokeInput& input = input_of(*segment);
    at::Tensor part = out.narrow(0, row, input.batch());
    row += input.batch();
    if (rows) {
      // Its place in the trace, or in the sweep's point.
      const int group = plan_.invokes[segment->invoke].group;
      part.fill_(std::count_if(trace().invokes.begin(), trace().invokes.end(), [&](int other) {
        return other < segment->invoke && plan_.invokes[other].group == group;
      }));
      continue;
    }
    const int64_t tokens = input.tokens();
    // Pads between invokes are on the same side as those within one.
    const bool left = !all || tokens_.pad_left;
    part = part.narrow(1, left ? longest - tokens : 0, tokens);
    part.copy_(what.point == graph::Point::kIds    ? input.ids
               : what.point == graph::Point::kMask ? input.mask
                                                   : input.positions);
  }
  return c10::IValue(out.to(host_.device()));
}

absl::StatusOr<c10::IValue> Run::Do(const plan::LoadConstant&, Visiting*) {
  const graph::HostTensor& tensor = std::get<graph::Constant>(program_.at(node_).kind).tensor;
  // The program outlives the run, and nothing writes into a value.
  const at::Tensor value = at::from_blob(
      const_cast<char*>(tensor.data), tensor.shape, [owner = tensor.owner](void*) {},
      at::TensorOptions().dtype(plan::ToScalarType(tensor.dtype)));
  return c10::IValue(value.to(host_.device()));
}

absl::StatusOr<c10::IValue> Run::Do(const plan::LoadPlain& what, Visiting*) { return what.value; }

absl::StatusOr<c10::IValue> Run::Do(const plan::LoadParameter& what, Visiting*) {
  absl::StatusOr<at::Tensor> tensor = host_.Parameter(what.path);
  if (!tensor.ok()) return tensor.status();
  return c10::IValue(*std::move(tensor));
}

absl::StatusOr<c10::IValue> Run::Do(const plan::CallOperator& what, Visiting*) {
  const Stopwatch stopwatch(&pass_operator_seconds_);
  c10::Stack stack = plan::BindCall(
      what.call, program_, [this](Slot slot) -> const c10::IValue& { return frame_[slot]; });
  if (host_.placed()) MoveTogether(stack);
  if (what.call.check_sizes) {
    if (absl::Status fits = plan::CheckSizes(*what.call.row, stack); !fits.ok()) return fits;
  }
  if (what.call.row->random) {
    plan::GiveGenerator(*what.call.row, stack, Mix(seed_, {static_cast<uint64_t>(step_), node_}));
  }
  absl::StatusOr<c10::IValue> result = plan::RunReal(*what.call.row, std::move(stack));
  if (result.ok() && stops_zero_gradients()) {
    result = RefuseGradientOnly(*result, [this, at = at_] { return DependsOnPoints(at); });
  }
  if (!host_.placed() || !result.ok()) return result;
  // What is made of numbers alone is made on the CPU.
  return MapTensors(*result, [this](const at::Tensor& tensor) {
    return tensor.is_cpu() ? tensor.to(host_.device()) : tensor;
  });
}

absl::StatusOr<c10::IValue> Run::Do(const plan::RunBackward& what, Visiting* site) {
  const Stopwatch stopwatch(&pass_operator_seconds_);
  const plan::PlannedBackward& region = plan_.backwards[what.backward];
  const graph::NodeId node = node_;  // while the way back goes, that of whoever waits for it
  const at::Tensor loss = frame_[what.loss].toTensor();
  if (!loss.requires_grad()) {
    return absl::FailedPreconditionError(
        "the loss depends on none of the values whose gradients are asked for");
  }
  const int points = static_cast<int>(what.points.size());
  gradients_.assign(points, at::Tensor());
  std::vector<at::Tensor> tensors;
  for (const Slot point : what.points) tensors.push_back(frame_[point].toTensor());
  const auto is_written = [&](int point) {
    const auto first = stage_->instructions.begin();
    return std::any_of(first + region.first[point], first + region.first[point + 1],
                       [](const plan::Instruction& instruction) {
                         return std::holds_alternative<plan::WriteGradient>(instruction.what);
                       });
  };
  absl::Status status;
  int next = 0;  // of the points, in the order in which their gradients come
  // Those before `point` that did not come will not.
  auto pass_over = [&](int point) -> absl::Status {
    for (; next < point; ++next) {
      if (region.first[next] == region.first[next + 1]) continue;
      if (stops_zero_gradients() && !is_written(next)) {
        gradients_[next] = at::zeros_like(tensors[next]);
        absl::Status ran = ExecuteRange(region.first[next], region.first[next + 1], site);
        if (!ran.ok()) return ran;
        continue;
      }
      node_ = stage_->instructions[region.first[next]].node;
      return absl::FailedPreconditionError(
          "the loss does not depend on this value, so there is no gradient");
    }
    return absl::OkStatus();
  };
  auto reach = [&](int point, const at::Tensor& gradient) -> absl::Status {
    if (point < next) return absl::InternalError("gradients came in another order than planned");
    if (absl::Status passed = pass_over(point); !passed.ok()) return passed;
    gradients_[point] = gradient;
    next = point + 1;
    return ExecuteRange(region.first[point], region.first[point + 1], site);
  };
  asked_ = {what.points, {what.loss}, {}, {}};
  std::vector<unsigned> hooks;
  std::deque<ZerosForStopped> zeros;
  for (int point = 0; point < points; ++point) {
    if (stops_zero_gradients() && is_written(point)) {
      zeros.emplace_back(tensors[point]);
      asked_.sources.push_back(what.points[point]);
    }
    hooks.push_back(tensors[point].register_hook([&, point](const at::Tensor& gradient) {
      if (!gradient.defined() || !status.ok()) return gradient;
      // What is computed from a gradient and from values of the forward has a gradient, too.
      const at::AutoGradMode enabled(true);
      status = plan::CatchTorch([&] { return reach(point, gradient); });
      // Ends going backwards; what it says is in `status`.
      TORCH_CHECK(status.ok(), "a gradient's statements failed");
      return gradients_[point];
    }));
  }
  std::vector<at::Tensor> start;
  if (what.gradient != kNoSlot) start.push_back(frame_[what.gradient].toTensor());
  const absl::Status ran = plan::CatchTorch([&] {
    if (points == 0) return absl::OkStatus();
    const at::AutoGradMode enabled(true);
    torch::autograd::grad({loss}, tensors, start, /*retain_graph=*/!region.last,
                          /*create_graph=*/false, /*allow_unused=*/true);
    return absl::OkStatus();
  });
  for (int point = 0; point < points; ++point) tensors[point].remove_hook(hooks[point]);
  if (status.ok()) {
    node_ = node;
    status = ran;
  }
  if (status.ok()) status = pass_over(points);
  asked_ = {};
  gradients_.clear();
  if (!status.ok()) return status;
  return c10::IValue();
}

bool Run::DependsOnPoints(int instruction) {
  if (asked_.depending.empty()) {
    asked_.depending = DependingOn(asked_.points, {plan_, trace(), *stage_, ran_});
  }
  return asked_.depending[instruction];
}

bool Run::HasGradient(int instruction) {
  if (asked_.needed.empty()) {
    asked_.needed = NeededFor(asked_.sources, {plan_, trace(), *stage_, ran_});
  }
  return asked_.needed[instruction];
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReadGradient& what, Visiting*) {
  return c10::IValue(gradients_[what.point]);
}

absl::StatusOr<c10::IValue> Run::Do(const plan::WriteGradient& what, Visiting*) {
  at::Tensor& gradient = gradients_[what.point];
  const at::Tensor value = frame_[what.value].toTensor().detach();
  if (what.steps.empty()) {
    gradient = value.to(gradient.options());
    return c10::IValue();
  }
  const at::Tensor copy = gradient.clone();
  if (absl::Status status = WritePart(copy, what.steps, value); !status.ok()) return status;
  gradient = copy;
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::TakeItem& what, Visiting*) {
  return plan::TakeItemOf(frame_[what.from], what.item);
}

absl::StatusOr<c10::IValue> Run::Do(const plan::MakeStructure& what, Visiting*) {
  return plan::MakeStructureOf(what, [this](Slot slot) { return frame_[slot]; });
}

absl::Status Run::WritePart(c10::IValue whole, const std::vector<plan::ViewStep>& steps,
                            const at::Tensor& value) {
  // Tensors that a view could not be cut out of, and the copies that were made for it.
  std::vector<std::pair<at::Tensor, at::Tensor>> moved;
  for (const plan::ViewStep& step : steps) {
    absl::StatusOr<c10::IValue> next = [&]() -> absl::StatusOr<c10::IValue> {
      if (const auto* i = std::get_if<int64_t>(&step.item)) return plan::TakeItemOf(whole, *i);
      if (const auto* k = std::get_if<std::string>(&step.item)) return plan::TakeItemOf(whole, *k);
      c10::Stack stack = plan::BindCall(
          step.call, program_, [this](Slot slot) -> const c10::IValue& { return frame_[slot]; });
      stack[0] = whole;
      if (host_.placed()) MoveTogether(stack);
      if (plan::MakeViewable(*step.call.row, stack)) {
        moved.emplace_back(whole.toTensor(), stack[0].toTensor());
      }
      return plan::RunReal(*step.call.row, std::move(stack));
    }();
    if (!next.ok()) return next.status();
    whole = *std::move(next);
  }
  whole.toTensor().copy_(value);
  for (auto it = moved.rbegin(); it != moved.rend(); ++it) it->first.copy_(it->second);
  return absl::OkStatus();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReplacePart& what, Visiting*) {
  const Stopwatch stopwatch(&pass_operator_seconds_);
  c10::IValue copy =
      MapTensors(frame_[what.base], [](const at::Tensor& tensor) { return tensor.clone(); });
  absl::Status status = WritePart(copy, what.steps, frame_[what.value].toTensor());
  if (!status.ok()) return status;
  return copy;
}

absl::StatusOr<at::Tensor> Run::ArgumentOf(int module, Slot input) const {
  const plan::SiteSpec& site = spec_.sites()[spec_.FindSite(module, graph::Point::kInput, 0)];
  const auto& pattern = std::get<graph::Pattern::Tensor>(site.pattern.value);
  const at::Tensor& value = frame_[input].toTensor();
  if (absl::Status status = CheckRange(value, pattern.range); !status.ok()) return status;
  return value;
}

const Segment* Run::SegmentFor(int module, int invoke) const {
  return spec_.modules()[module].rowwise ? nullptr : &segments_[segment_of_invoke_[invoke]];
}

absl::StatusOr<c10::IValue> Run::Do(const plan::CallModule& what, Visiting*) {
  const absl::StatusOr<at::Tensor> value = ArgumentOf(what.module, what.input);
  if (!value.ok()) return value.status();
  const Stopwatch stopwatch(&pass_operator_seconds_);
  return host_.CallModule(what.module, *value, SegmentFor(what.module, what.invoke), nullptr,
                          adapter_);
}

absl::Status Run::CheckRange(const at::Tensor& values, int64_t range) const {
  if (range == 0 || values.numel() == 0) return absl::OkStatus();
  const int64_t least = values.min().item<int64_t>();
  const int64_t most = values.max().item<int64_t>();
  if (least >= 0 && most < range) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("the value ", least < 0 ? least : most,
                                            " is out of range: this site takes 0 to ", range - 1));
}

c10::IValue Run::ForRows(Slot slot) {
  if (!stops_zero_gradients()) return frame_[slot];
  return StopGradientUnless(frame_[slot], [this, at = at_] { return HasGradient(at); });
}

absl::StatusOr<c10::IValue> Run::Do(const plan::WriteSite& what, Visiting* site) {
  const Stopwatch stopwatch(&pass_operator_seconds_);
  const c10::IValue value = ForRows(what.value);
  read_.clear();
  if (what.range > 0) {
    if (absl::Status status = CheckRange(Visiting::LeafOf(value), what.range); !status.ok()) {
      return status;
    }
  }
  const int segment = segment_of_invoke_[what.invoke];
  if (segment >= 0) {
    c10::IValue rows = site->Writable(segments_[segment]);
    written_ = true;
    if (what.steps.empty()) {
      CopyInto(rows, value);
      return c10::IValue();
    }
    absl::Status status = WritePart(std::move(rows), what.steps, value.toTensor());
    if (!status.ok()) return status;
    return c10::IValue();
  }
  // All rows: change the gathered copy, then hand the real rows back.
  const absl::Span<Segment* const> segments = SegmentsOf(what.invoke);
  c10::IValue rows = site->ReadAll(segments, written_);
  if (what.steps.empty()) {
    CopyInto(rows, value);
  } else if (absl::Status status = WritePart(rows, what.steps, value.toTensor()); !status.ok()) {
    return status;
  }
  site->WriteAll(segments, rows);
  written_ = true;
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::SkipModule& what, Visiting* site) {
  const plan::SiteSpec& output =
      spec_.sites()[spec_.FindSite(what.module, graph::Point::kOutput, what.visit)];
  const at::Tensor meta = Visiting::LeafOf(plan::MetaOf(output.pattern, {1, 1}));
  const at::Tensor value = Visiting::LeafOf(ForRows(what.value)).to(meta.scalar_type());
  const int segment = segment_of_invoke_[what.invoke];
  if (segment >= 0) {
    site->pass().RequestSkip(&segments_[segment], value);
    return c10::IValue();
  }
  int64_t row = 0;
  for (Segment* each : SegmentsOf(what.invoke)) {
    if (each->present) {
      // What pools has no tokens where it ends, though it has where it begins.
      site->pass().RequestSkip(each, output.pooled
                                         ? value.narrow(0, row, each->input->batch())
                                         : Within(value, row, *each, site->pass().pad_left()));
    }
    row += each->input->batch();
  }
  return c10::IValue();
}

void Run::Save(int save, const c10::IValue& value, std::optional<graph::DType> dtype) {
  const plan::PlannedSave& planned = plan_.saves[save];
  SavedItem item;
  item.save = save;
  if (planned.steps && !planned.entry) item.step = static_cast<uint32_t>(step_);
  if (planned.entry) {
    const int module = spec_.FindModule(planned.entry->module);
    uint32_t visits = 0;
    while (spec_.FindSite(module, planned.entry->point, visits) >= 0) ++visits;
    item.visit = planned.entry->visit + static_cast<uint32_t>(step_) * visits;
  }
  item.value = copies_.Begin(plan::ConvertFloats(value, dtype));
  ++saved_counts_[save];
  saved_.push_back(std::move(item));
}

absl::StatusOr<c10::IValue> Run::Do(const plan::SaveValue& what, Visiting*) {
  Save(what.save, frame_[what.value], what.dtype);
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::SaveSite& what, Visiting* site) {
  // As the model goes on with it: after the writes of this visit.
  Save(what.save, ReadRows(what.invoke, *site), what.dtype);
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::SetCarry& what, Visiting*) {
  carries_.emplace_back(what.carry, frame_[what.value]);
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::TakeCarry& what, Visiting*) {
  return frame_[what.carry];
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ChooseValue& what, Visiting*) {
  return frame_[IsTrue(what.condition) ? what.then : what.otherwise];
}

absl::StatusOr<c10::IValue> Run::Do(const plan::ReadResult& what, Visiting*) {
  const Generated& generated = generated_[what.invoke];
  return c10::IValue(what.scores ? generated.scores : generated.ids);
}

absl::StatusOr<c10::IValue> Run::Do(const plan::StopRun&, Visiting*) {
  stopped_ = node_;
  // Rows that nothing written before waits for may leave.
  int last = plan::kStart;
  for (const plan::Instruction& instruction : stage_->instructions) {
    if (instruction.node < stopped_) last = std::max(last, instruction.time);
  }
  for (Segment& segment : segments_) segment.end = std::min(segment.end, last);
  return c10::IValue();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::LogValue& what, Visiting*) {
  LogEntry entry{node_, what.label, Print(frame_[what.value])};
  log_bytes_ += entry.text.size() + entry.label.size();
  if (limits_.log_bytes > 0 && log_bytes_ > limits_.log_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the program logs more than ", limits_.log_bytes, " bytes; save instead"));
  }
  logs_.push_back(std::move(entry));
  return c10::IValue();
}

graph::HostValue ToHostValue(const c10::IValue& value) {
  graph::HostValue out;
  if (value.isTensor()) {
    auto tensor = std::make_shared<at::Tensor>(Compact(value.toTensor()));
    graph::HostTensor host;
    host.dtype = plan::FromScalarType(tensor->scalar_type());
    host.shape.assign(tensor->sizes().begin(), tensor->sizes().end());
    host.bytes = tensor->numel() * tensor->element_size();
    host.data = static_cast<const char*>(tensor->const_data_ptr());
    host.owner = std::move(tensor);
    out.value = std::move(host);
  } else if (value.isTuple()) {
    graph::HostValue::Tuple tuple;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      tuple.items.push_back(ToHostValue(item));
    }
    out.value = std::move(tuple);
  } else if (value.isGenericDict()) {
    graph::HostValue::Dict dict;
    for (const auto& entry : value.toGenericDict()) {
      dict.entries.emplace_back(entry.key().toStringRef(), ToHostValue(entry.value()));
    }
    out.value = std::move(dict);
  } else if (value.isList()) {
    graph::HostValue::List list;
    for (const c10::IValue& item : c10::IValue(value.toList()).toListRef()) {
      list.items.push_back(ToHostValue(item));
    }
    out.value = std::move(list);
  } else if (value.isBool()) {
    out.value = value.toBool();
  } else if (value.isInt()) {
    out.value = value.toInt();
  } else if (value.isDouble()) {
    out.value = value.toDouble();
  } else if (value.isString()) {
    out.value = value.toStringRef();
  }
  return out;
}

}  // namespace weft::run
