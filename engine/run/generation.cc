#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

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

void Run::BeginStage(const plan::Stage& stage) {
  stage_ = &stage;
  ran_.assign(stage.instructions.size(), false);
}

void Run::PreparePass() {
  const plan::PlannedTrace& planned = trace();
  BeginStage(planned.StageOf(step_));
  // The last step that somebody needs may end early.
  const bool whole = planned.generates && (step_ < planned.last_step || planned.whole);
  const std::string& adapter = std::get<graph::Trace>(program_.at(planned.node).kind).adapter;
  adapter_ = adapter.empty() ? nullptr : host_.FindAdapter(adapter);
  if (!adapter.empty() && adapter_ == nullptr) {
    Fail(absl::NotFoundError(absl::StrCat("there is no adapter `", adapter, "`")));
  }
  segments_.clear();
  ended_.clear();
  together_of_ = -1;
  std::fill(segment_of_invoke_.begin(), segment_of_invoke_.end(), -1);
  for (const int invoke : planned.invokes) {
    if (plan_.invokes[invoke].all_rows) continue;
    Generated& generated = generated_[invoke];
    const InvokeInput& first = InputOf(invoke);
    if (planned.generates && generated.cache == nullptr) {
      BeginGeneration(generated, first);
      generated.rows_of_prompt = RowsOfPrompt();
      const bool once = generated.rows_of_prompt > 1;
      if (once) generated.prompts = first.FirstOfEach(generated.rows_of_prompt);
      generated.cache =
          std::make_unique<KVCache>(first.batch() / generated.rows_of_prompt,
                                    first.tokens() + (once ? 0 : planned.steps), &memory_);
    }
    if (generated.ended) {
      // For `invoke { }` its rows keep their places.
      Segment& segment = ended_.emplace_back();
      segment.run = this;
      segment.invoke = invoke;
      segment.input = &generated.next;
      segment.tokens = 1;
      segment.present = false;
      continue;
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
    segment.adapter = adapter_;
    segment.last_alone = !stage_->last_alone.empty() && stage_->last_alone[invoke];
    segment.end = whole ? kWholePass : stage_->ends[invoke];
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

void Run::AwaitCopies() {
  if (copies_.empty()) return;
  std::vector<c10::IValue*> values;
  values.reserve(saved_.size());
  for (SavedItem& item : saved_) values.push_back(&item.value);
  copies_.Finish(values);
}

absl::Status Run::Advance(Pass& pass, const at::Tensor& result) {
  read_.clear();
  absl::StatusOr<std::vector<at::Tensor>> chosen = std::vector<at::Tensor>();
  const bool chooses = stopped_ == graph::kNoNode && result.defined() && Chooses();
  if (chooses) chosen = ChooseTokens(pass, result);
  if (!chosen.ok()) return chosen.status();
  if (ended()) return absl::OkStatus();
  for (auto& [slot, value] : carries_) frame_[slot] = std::move(value);
  carries_.clear();
  for (const Segment& segment : segments_) ++came_[segment.invoke];
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
  AwaitCopies();
  kept_saves_ = saved_.size();
  kept_logs_ = logs_.size();
  if (finished_) {
    frame_.clear();
    kept_.clear();
    generated_.clear();
    brought_.clear();
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
  BeginStage(planned.stages[plan::PlannedTrace::kAfter]);
  // What is called there looks at the prompts, also of an invoke that had no rows any more.
  segments_.clear();
  ended_.clear();
  together_of_ = -1;
  for (const int invoke : planned.invokes) {
    if (plan_.invokes[invoke].all_rows) continue;
    segment_of_invoke_[invoke] = static_cast<int>(segments_.size());
    Segment& segment = segments_.emplace_back();
    segment.run = this;
    segment.invoke = invoke;
    segment.input = &InputOf(invoke);
    segment.tokens = segment.input->tokens();
  }
  const int count = static_cast<int>(stage_->instructions.size());
  if (absl::Status status = ExecuteRange(0, count, nullptr); !status.ok()) return status;
  operator_seconds_ += std::exchange(pass_operator_seconds_, 0);
  for (const plan::Slot slot : planned.release) frame_[slot] = c10::IValue();
  for (Generated& generated : generated_) generated = Generated();
  for (const int invoke : planned.invokes) brought_[invoke] = InvokeInput();
  chooser_.reset();
  step_ = 0;
  finished_ = stopped_ != graph::kNoNode || trace_ + 1 == static_cast<int>(plan_.traces.size());
  if (!finished_) ++trace_;
  return absl::OkStatus();
}

absl::StatusOr<c10::IValue> Run::Do(const plan::BringInput& what, Visiting*) {
  const plan::PlannedTrace& next = plan_.traces[plan_.invokes[what.invoke].trace];
  // A pass takes no inference tensors, and keeps no graph of the trace before.
  const c10::InferenceMode off(false);
  const auto own = [this](plan::Slot slot) {
    const at::Tensor& value = frame_[slot].toTensor();
    return value.requires_grad() ? value.detach().clone() : value.clone();
  };
  if (next.root == 0 && spec_.input().ids) {
    const at::Tensor mask = what.mask == plan::kNoSlot ? at::Tensor() : own(what.mask);
    absl::StatusOr<InvokeInput> prompts = Prompts(own(what.value), mask, next);
    if (!prompts.ok()) return prompts.status();
    brought_[what.invoke] = *std::move(prompts);
    return c10::IValue();
  }
  const plan::SiteSpec& site = spec_.sites()[next.first_site];
  const at::Tensor values = own(what.value).contiguous();
  const bool flat = spec_.LeadingOf(site) == 1;
  if (!flat && tokens_.max_tokens > 0 && values.size(1) > tokens_.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("the tensor has ", values.size(1),
                                                   " tokens; the model takes at most ",
                                                   tokens_.max_tokens));
  }
  const auto& pattern = std::get<graph::Pattern::Tensor>(site.pattern.value);
  if (absl::Status status = CheckRange(values, pattern.range); !status.ok()) return status;
  brought_[what.invoke] = InvokeInput::MakeValues(values, flat);
  return c10::IValue();
}

absl::StatusOr<InvokeInput> Run::Prompts(const at::Tensor& ids, const at::Tensor& mask,
                                         const plan::PlannedTrace& trace) const {
  const auto rows_of = [](const at::Tensor& tensor) {
    return (tensor.dim() == 1 ? tensor.unsqueeze(0) : tensor).to(at::kLong).cpu().contiguous();
  };
  const at::Tensor given = rows_of(ids);
  if (mask.defined() && rows_of(mask).sizes() != given.sizes()) {
    return absl::InvalidArgumentError(absl::StrCat("`input_ids` has the shape ",
                                                   c10::str(ids.sizes()), " and `attention_mask` ",
                                                   c10::str(mask.sizes())));
  }
  if (absl::Status status = CheckRange(given, tokens_.vocabulary); !status.ok()) return status;
  const at::Tensor real = mask.defined() ? rows_of(mask) : at::ones_like(given);
  std::vector<std::vector<int64_t>> rows(given.size(0));
  int64_t longest = 0;
  for (int64_t r = 0; r < given.size(0); ++r) {
    const int64_t* const row = given.const_data_ptr<int64_t>() + r * given.size(1);
    const int64_t* const keep = real.const_data_ptr<int64_t>() + r * given.size(1);
    for (int64_t i = 0; i < given.size(1); ++i) {
      if (keep[i] != 0) rows[r].push_back(row[i]);
    }
    if (rows[r].empty()) {
      return absl::InvalidArgumentError("a prompt has no tokens: its mask leaves none");
    }
    longest = std::max(longest, static_cast<int64_t>(rows[r].size()));
  }
  if (longest != given.size(1)) {
    // What is planned has as many tokens as there are columns.
    return absl::InvalidArgumentError(
        absl::StrCat("the prompts have ", given.size(1), " columns and at most ", longest,
                     " tokens by their mask: leave the pads out that all of them have"));
  }
  // The last new token is chosen, and not looked at any more.
  const int64_t positions = longest + trace.steps - 1;
  if (tokens_.max_tokens > 0 && positions > tokens_.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this prompt needs ", positions, " positions; the model has ", tokens_.max_tokens));
  }
  return InvokeInput::Make(rows, tokens_.pad_id, tokens_.pad_left);
}

std::vector<SavedItem> Run::TakeSaved() {
  // Of a pass that has failed they are still on their way.
  if (absl::Status came = plan::CatchTorch([this] {
        AwaitCopies();
        return absl::OkStatus();
      });
      !came.ok()) {
    Fail(std::move(came));
    saved_.clear();
  }
  kept_saves_ = 0;
  return std::exchange(saved_, {});
}

std::vector<LogEntry> Run::TakeLogs() {
  kept_logs_ = 0;
  for (const LogEntry& entry : logs_) told_log_bytes_ += entry.text.size() + entry.label.size();
  return std::exchange(logs_, {});
}

int64_t Run::CameTo(int invoke) const {
  const plan::PlannedInvoke& planned = plan_.invokes[invoke];
  if (!planned.all_rows) return came_[invoke];
  int64_t most = 0;
  for (const int other : plan_.traces[planned.trace].invokes) {
    if (plan_.invokes[other].group == planned.group) most = std::max(most, came_[other]);
  }
  return most;
}

std::string Run::MissingFrom(int save) const {
  const plan::PlannedSave& planned = plan_.saves[save];
  const int64_t saved = saved_counts_[save];
  if (planned.steps && planned.steps->bounded()) {
    const int64_t wanted = planned.steps->CountBelow(std::numeric_limits<int64_t>::max());
    if (saved >= wanted) return "";
    return absl::StrCat(saved, " of ", wanted,
                        " selected steps gave one: the generation ended before the others, or "
                        "their branch was not taken");
  }
  // Whether a module of a cache is called may depend on data.
  if (planned.steps && !planned.entry && saved > 0) {
    const int64_t wanted = planned.steps->CountBelow(CameTo(planned.invoke));
    if (saved >= wanted) return "";
    return absl::StrCat(saved, " of ", wanted,
                        " selected steps that came gave one: in the others its branch was not "
                        "taken, or the run was stopped before");
  }
  if (saved > 0) return "";
  if (planned.steps) {
    return "no selected step gave one: the generation ended before, or a branch was not taken";
  }
  return "nothing was saved here: its branch was not taken, or the run was stopped before";
}

}  // namespace weft::run
