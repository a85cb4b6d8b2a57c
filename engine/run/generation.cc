#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"
#include "engine/run/run.h"

// How a run goes from one pass to the next: over the steps of a generation and over traces.

namespace weft::run {
namespace {

constexpr int kWholePass = std::numeric_limits<int>::max();

}  // namespace

void Run::CountRows() {
  int64_t rows = 0;
  for (const Segment& segment : segments_) rows += segment.rows();
  rows_.store(rows, std::memory_order_relaxed);
}

void Run::PreparePass() {
  const plan::PlannedTrace& planned = trace();
  stage_ = &planned.StageOf(step_);
  // The last step that somebody needs may end early.
  const bool whole = planned.generates && (step_ < planned.last_step || planned.whole);
  segments_.clear();
  together_of_ = -1;
  some_ended_ = false;
  std::fill(segment_of_invoke_.begin(), segment_of_invoke_.end(), -1);
  for (const int invoke : planned.invokes) {
    if (plan_.invokes[invoke].all_rows) continue;
    Generated& generated = generated_[invoke];
    const InvokeInput& first = inputs_[plan_.invokes[invoke].input];
    if (planned.generates && generated.cache == nullptr) {
      BeginGeneration(generated, first);
      generated.rows_of_prompt = RowsOfPrompt();
      const bool once = generated.rows_of_prompt > 1;
      if (once) generated.prompts = first.FirstOfEach(generated.rows_of_prompt);
      generated.cache =
          std::make_unique<KVCache>(first.batch() / generated.rows_of_prompt,
                                    first.tokens() + (once ? 0 : planned.steps), &memory_);
    }
    segment_of_invoke_[invoke] = static_cast<int>(segments_.size());
    Segment segment;
    segment.run = this;
    segment.invoke = invoke;
    segment.input = step_ > 0                          ? &generated.next
                    : generated.prompts.mask.defined() ? &generated.prompts
                                                       : &first;
    segment.tokens = segment.input->tokens();
    segment.cache = generated.cache.get();
    segment.end = generated.ended ? plan::kStart : whole ? kWholePass : stage_->ends[invoke];
    if (generated.ended) {
      segment_of_invoke_[invoke] = -1;
      some_ended_ = true;
      continue;
    }
    if (generated.cache != nullptr) generated.cache->Rollback();
    segments_.push_back(segment);
  }
  for (size_t invoke = 0; invoke < stage_->sharing.size(); ++invoke) {
    const plan::Sharing& sharing = stage_->sharing[invoke];
    if (sharing.with < 0) continue;
    Segment& segment = segments_[segment_of_invoke_[invoke]];
    segment.trunk = &segments_[segment_of_invoke_[sharing.with]];
    segment.until = sharing.until;
  }
  tap_ids_.clear();
  watches_.clear();
  for (const int time : stage_->times) {
    const plan::SiteSpec& site = spec_.sites()[time];
    if (graph::OfNextToken(site.site.point)) continue;  // no module is there any more
    if (!site.OfModule()) {
      watches_.push_back({site.module, !site.site.op.empty()});
      continue;
    }
    const int tap = site.module * 2 + (site.site.point == graph::Point::kOutput ? 1 : 0);
    if (tap_ids_.empty() || tap_ids_.back() != tap) tap_ids_.push_back(tap);
  }
  CountRows();
}

const graph::GenerateOptions& Run::options() const {
  return *std::get<graph::Trace>(program_.at(trace().node).kind).generate;
}

int64_t Run::RowsOfPrompt() const {
  const int64_t rows = options().Sequences();
  if (rows == 1) return 1;
  const auto seen = [this](int time) {
    return !graph::OfNextToken(spec_.sites()[time].site.point);
  };
  if (std::any_of(stage_->times.begin(), stage_->times.end(), seen)) return 1;
  for (const int invoke : trace().invokes) {
    if (plan_.invokes[invoke].all_rows) return 1;
  }
  // What is called out of band looks at the rows that its argument has.
  const auto calls = [](const plan::Instruction& instruction) {
    return std::holds_alternative<plan::CallModule>(instruction.what) ||
           std::holds_alternative<plan::CallWatched>(instruction.what);
  };
  const auto& instructions = stage_->instructions;
  return std::any_of(instructions.begin(), instructions.end(), calls) ? 1 : rows;
}

void Run::EndPass(Pass& pass, const at::Tensor& result) {
  if (ended()) return;
  const MemoryAccount::Charging charging(&memory_);
  absl::Status status = plan::CatchTorch([&] { return Advance(pass, result); });
  if (!status.ok()) Fail(std::move(status));
}

absl::Status Run::Advance(Pass& pass, const at::Tensor& result) {
  absl::StatusOr<std::vector<at::Tensor>> chosen = std::vector<at::Tensor>();
  const bool chooses = stopped_ == graph::kNoNode && result.defined() && Chooses();
  if (chooses) chosen = ChooseTokens(pass, result);
  if (!chosen.ok()) return chosen.status();
  if (ended()) return absl::OkStatus();
  for (auto& [slot, value] : carries_) frame_[slot] = std::move(value);
  carries_.clear();
  bool more = false;
  if (stopped_ != graph::kNoNode) {
    finished_ = true;
  } else if (trace().generates && chooses) {
    absl::StatusOr<bool> alive =
        trace().beams > 0 ? SearchOn(pass, *chosen) : TakeTokens(pass, *chosen);
    if (!alive.ok()) return alive.status();
    more = *alive && step_ < trace().last_step;
  }
  operator_seconds_ += std::exchange(pass_operator_seconds_, 0);
  if (more) {
    ++step_;
  } else if (!finished_) {
    if (absl::Status status = EndTrace(); !status.ok()) return status;
  }
  kept_saves_ = saved_.size();
  kept_logs_ = logs_.size();
  if (finished_) {
    frame_.clear();
    kept_.clear();
    generated_.clear();
    chooser_.reset();
    return absl::OkStatus();
  }
  kept_ = std::move(frame_);
  frame_.clear();
  PreparePass();
  return absl::OkStatus();
}

absl::Status Run::EndTrace() {
  const plan::PlannedTrace& planned = trace();
  for (Generated& generated : generated_) generated.cache = nullptr;
  // Outside of any pass, so nobody waits for it there.
  shared_ = false;
  stage_ = &planned.stages[plan::PlannedTrace::kAfter];
  const int count = static_cast<int>(stage_->instructions.size());
  if (absl::Status status = ExecuteRange(0, count, nullptr); !status.ok()) return status;
  operator_seconds_ += std::exchange(pass_operator_seconds_, 0);
  for (const plan::Slot slot : planned.release) frame_[slot] = c10::IValue();
  for (Generated& generated : generated_) generated = Generated();
  absent_.clear();
  chooser_.reset();
  step_ = 0;
  finished_ = stopped_ != graph::kNoNode || trace_ + 1 == static_cast<int>(plan_.traces.size());
  if (!finished_) ++trace_;
  return absl::OkStatus();
}

std::vector<SavedItem> Run::TakeSaved() {
  kept_saves_ = 0;
  return std::exchange(saved_, {});
}

std::vector<LogEntry> Run::TakeLogs() {
  kept_logs_ = 0;
  for (const LogEntry& entry : logs_) told_log_bytes_ += entry.text.size() + entry.label.size();
  return std::exchange(logs_, {});
}

std::string Run::MissingFrom(int save) const {
  const plan::PlannedSave& planned = plan_.saves[save];
  if (planned.steps && planned.steps->bounded()) {
    const int64_t wanted = planned.steps->CountBelow(std::numeric_limits<int64_t>::max());
    if (saved_counts_[save] >= wanted) return "";
    return absl::StrCat(saved_counts_[save], " of ", wanted,
                        " selected steps came: the generation ended before the others");
  }
  if (saved_counts_[save] > 0) return "";
  if (planned.steps) return "no selected step came";
  return "nothing was saved here: its branch was not taken, or the run was stopped before";
}

}  // namespace weft::run
