#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/run/op_visiting.h"
#include "engine/run/run.h"

// How a run comes from what the model returned to the next token of each row: the sites `logits`
// and `samples`, the choice, and what ends a row.

namespace weft::run {
namespace {

/// Of `[B, T, V]` what belongs to each row's last real token, `[B, V]`.
at::Tensor LastRows(const Segment& segment, const at::Tensor& rows, bool pad_left) {
  const InvokeInput& input = *segment.input;
  if (segment.tokens > 1 && input.padded && !pad_left) {
    return rows.index({at::arange(rows.size(0)), input.mask.sum(1).sub_(1)});
  }
  return rows.select(1, -1);
}

/// The likeliest token of each row, and its logit, `[.., 1]`.
struct Likeliest {
  at::Tensor ids, values;
};

Likeliest LikeliestOf(const at::Tensor& logits) {
  if (logits.is_cpu()) {
    const at::Tensor ids = logits.argmax(-1, /*keepdim=*/true);
    return {ids, logits.gather(-1, ids).to(at::kFloat)};
  }
  const auto [values, ids] = logits.max(-1, /*keepdim=*/true);
  return {ids.to(at::kCPU), values.to(at::kCPU, at::kFloat)};
}

/// Of all rows of a pass: a device takes a while to answer, so one question is asked for all runs.
const Likeliest& LikeliestOfPass(Pass& pass, const at::Tensor& result) {
  static constexpr char kKey = 0;
  std::shared_ptr<void>& slot = pass.ForRows(&kKey);
  if (slot == nullptr) slot = std::make_shared<Likeliest>(LikeliestOf(result));
  return *static_cast<const Likeliest*>(slot.get());
}

}  // namespace

bool Run::TakesLikeliest() const { return !trace().generates || chooser_->TakesLikeliest(); }

void Run::BeginGeneration(Generated& generated, const InvokeInput& prompts) {
  if (!chooser_) chooser_.emplace(options(), tokens_.eos_ids);
  generated.ids = prompts.ids;
  generated.mask = prompts.mask;
  if (trace().beams > 0) return BeginSearch(generated, prompts);
  generated.rows = std::vector<GeneratedRow>(static_cast<size_t>(prompts.batch()));
  absl::flat_hash_map<uint64_t, uint64_t> occurrences;
  const auto* id = prompts.ids.const_data_ptr<int64_t>();
  const auto* real = prompts.mask.const_data_ptr<int64_t>();
  for (GeneratedRow& row : generated.rows) {
    for (int64_t t = 0; t < prompts.tokens(); ++t, ++id, ++real) {
      if (*real != 0) row.ids.push_back(*id);
    }
    row.prompt = row.ids.size();
    row.key = RowKey(row.ids, occurrences[RowKey(row.ids, 0)]++);
  }
}

bool Run::Chooses() const {
  if (trace().generates && (step_ < trace().last_step || trace().whole)) return true;
  return !stage_->times.empty() &&
         graph::OfNextToken(spec_.sites()[stage_->times.back()].site.point);
}

bool Run::Listens(int time) const {
  return time >= 0 && stage_->first[time + 1] != stage_->first[time + 2];
}

void Run::VisitNext(Pass& pass, int time, std::vector<at::Tensor>& parts) {
  if (!Listens(time)) return;
  // Rows that are not there show a pad, as those of them do that are over.
  PartsVisiting visiting(pass, time, parts, time == spec_.SamplesSite() ? tokens_.pad_id : 0);
  Visit(visiting);
}

absl::StatusOr<std::vector<at::Tensor>> Run::ChooseTokens(Pass& pass, const at::Tensor& result) {
  const absl::Span<Segment* const> present = pass.present();
  std::vector<at::Tensor> logits(present.size()), chosen(present.size());
  // By their place: those of a run that has ended this pass already are no more.
  const auto is_own = [this](const Segment* segment) {
    return !std::less<>()(segment, segments_.data()) &&
           std::less<>()(segment, segments_.data() + segments_.size());
  };
  for (size_t i = 0; i < present.size(); ++i) {
    if (!is_own(present[i])) continue;
    const Segment& segment = *present[i];
    if (segment.end <= trace().result_site) continue;
    logits[i] = LastRows(segment, Cut(result, segment), pass.pad_left());
    const int64_t rows = generated_[segment.invoke].rows_of_prompt;
    // Whoever looks at them sees every row.
    if (step_ == 0 && rows > 1 && Listens(spec_.LogitsSite())) {
      logits[i] = logits[i].repeat_interleave(rows, 0);
    }
  }
  if (trace().beams > 0) return logits;
  VisitNext(pass, spec_.LogitsSite(), logits);
  const bool together =
      !result.is_cpu() && TakesLikeliest() && !Listens(spec_.LogitsSite()) && !ended();
  for (size_t i = 0; i < present.size() && !ended(); ++i) {
    if (!logits[i].defined()) continue;
    const Segment& segment = *present[i];
    Likeliest likeliest;
    if (together) {
      const Likeliest& all = LikeliestOfPass(pass, result);
      likeliest = {LastRows(segment, Cut(all.ids, segment), pass.pad_left()),
                   LastRows(segment, Cut(all.values, segment), pass.pad_left())};
    } else if (TakesLikeliest()) {
      likeliest = LikeliestOf(logits[i]);
    }
    absl::StatusOr<at::Tensor> ids = at::Tensor();
    if (likeliest.ids.defined()) ids = Accept(segment, likeliest.ids, likeliest.values);
    if (ids.ok() && !ids->defined()) ids = Draw(segment, logits[i]);
    if (!ids.ok()) {
      node_ = plan_.invokes[present[i]->invoke].node;
      return ids.status();
    }
    chosen[i] = *std::move(ids);
  }
  if (!ended()) VisitNext(pass, spec_.SamplesSite(), chosen);
  return chosen;
}

absl::StatusOr<at::Tensor> Run::Accept(const Segment& segment, const at::Tensor& best,
                                       const at::Tensor& logits) const {
  const std::vector<GeneratedRow>& rows = generated_[segment.invoke].rows;
  at::Tensor ids = best.squeeze(-1).clone(at::MemoryFormat::Contiguous);
  const at::Tensor values = logits.contiguous();
  auto* id = ids.mutable_data_ptr<int64_t>();
  const auto* value = values.const_data_ptr<float>();
  for (int64_t r = 0; r < ids.numel(); ++r) {
    if (!rows.empty() && rows[r].over) {
      id[r] = tokens_.pad_id;
    } else if (std::isnan(value[r])) {  // which max takes for the largest
      return NaNLogits();
    } else if (!rows.empty() && !chooser_->MayCome(id[r], static_cast<size_t>(step_))) {
      return at::Tensor();
    } else if (!rows.empty() && value[r] == -std::numeric_limits<float>::infinity()) {
      return NothingToChoose();
    }
  }
  return ids;
}

absl::StatusOr<at::Tensor> Run::Draw(const Segment& segment, const at::Tensor& logits) const {
  const std::vector<GeneratedRow>& rows = generated_[segment.invoke].rows;
  // Rows that have passed one prompt together have its logits, and draw from them.
  const auto count = static_cast<int64_t>(rows.size());
  const int64_t same = count / logits.size(0);
  const at::Tensor values = logits.to(at::kCPU, at::kFloat).contiguous();
  at::Tensor ids = at::empty({count}, at::kLong);
  auto* id = ids.mutable_data_ptr<int64_t>();
  for (int64_t r = 0; r < count; ++r) {
    if (rows[r].over) {
      id[r] = tokens_.pad_id;
      continue;
    }
    const float* value = values.const_data_ptr<float>() + r / same * values.size(1);
    absl::StatusOr<int64_t> chosen = chooser_->Choose(
        {rows[r].ids, rows[r].prompt}, {value, static_cast<size_t>(values.size(1))},
        UniformOf(seed_, rows[r].key, static_cast<uint64_t>(step_)));
    if (!chosen.ok()) return chosen.status();
    id[r] = *chosen;
  }
  return ids;
}

absl::StatusOr<bool> Run::TakeTokens(Pass& pass, absl::Span<const at::Tensor> chosen) {
  const absl::Span<Segment* const> present = pass.present();
  bool alive = false;
  for (size_t i = 0; i < present.size(); ++i) {
    if (!chosen[i].defined()) continue;
    const Segment& segment = *present[i];
    Generated& generated = generated_[segment.invoke];
    // A copy: what was chosen may be saved as it is.
    at::Tensor next = chosen[i].to(at::kCPU, at::kLong).clone(at::MemoryFormat::Contiguous);
    auto* ids = next.mutable_data_ptr<int64_t>();
    NewTokens told{segment.invoke, step_};
    bool all_over = true;
    for (size_t r = 0; r < generated.rows.size(); ++r) {
      GeneratedRow& row = generated.rows[r];
      std::string text;
      const bool was_over = row.over;
      if (was_over) {
        ids[r] = tokens_.pad_id;
      } else if (absl::Status taken = TakeToken(row, ids[r], &text); !taken.ok()) {
        node_ = plan_.invokes[segment.invoke].node;
        return taken;
      }
      all_over = all_over && row.over;
      told.ids.push_back(was_over ? -1 : ids[r]);
      if (tokens_.decode) told.texts.push_back(std::move(text));
    }
    if (stream_tokens_) new_tokens_.push_back(std::move(told));
    generated.ids = at::cat({generated.ids, next.unsqueeze(1)}, 1);
    generated.mask = at::cat({generated.mask, at::ones_like(next).unsqueeze(1)}, 1);
    generated.ended = all_over;
    if (all_over) {
      generated.next = InvokeInput::MakeAbsent(next.size(0), tokens_.pad_id);
      generated.cache = std::make_unique<KVCache>(0, 0, &memory_);
      continue;
    }
    CommitTokens(segment, generated);
    generated.next = InvokeInput::MakeNext(generated.ids, generated.mask);
    alive = true;
  }
  return alive;
}

void Run::CommitTokens(const Segment& segment, Generated& generated) {
  generated.cache->Commit(segment.input->tokens());
  const bool goes_on = step_ < trace().last_step;
  if (step_ > 0 || generated.rows_of_prompt == 1 || !goes_on) return;
  generated.cache->Repeat(generated.rows_of_prompt, segment.input->tokens() + trace().steps);
  generated.prompts = InvokeInput();
}

absl::Status Run::TakeToken(GeneratedRow& row, int64_t id, std::string* text) const {
  row.ids.push_back(id);
  const bool end = chooser_->IsEnd(id);
  row.over = end;
  const std::vector<std::string>& stops = chooser_->options().stop_strings;
  if (stops.empty() && (!stream_tokens_ || !tokens_.decode)) return absl::OkStatus();
  if (!tokens_.decode) {
    return absl::FailedPreconditionError(
        "this model has no tokenizer, so there is no text to look for stop_strings in; name tokens "
        "in eos_token_ids");
  }
  if (!row.text) {
    row.text.emplace(tokens_.decode, absl::MakeConstSpan(row.ids).subspan(0, row.prompt), stops);
  }
  if (!end) {
    absl::StatusOr<std::string> more = row.text->Add(id);
    if (!more.ok()) return more.status();
    *text = *std::move(more);
    row.over = row.text->stopped();
  }
  if (end || step_ + 1 >= trace().steps) {
    absl::StatusOr<std::string> rest = row.text->Finish();
    if (!rest.ok()) return rest.status();
    *text += *rest;
  }
  return absl::OkStatus();
}

}  // namespace weft::run
