#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/run/run.h"

// How a run goes on with a beam search from one pass to the next: which row has which text.

namespace weft::run {
namespace {

/// The tokens of one row, without pads.
std::vector<int64_t> PromptOf(const InvokeInput& prompts, int64_t row) {
  const int64_t first = row * prompts.tokens();
  const int64_t* const ids = prompts.ids.const_data_ptr<int64_t>() + first;
  const int64_t* const real = prompts.mask.const_data_ptr<int64_t>() + first;
  std::vector<int64_t> prompt;
  for (int64_t t = 0; t < prompts.tokens(); ++t) {
    if (real[t] != 0) prompt.push_back(ids[t]);
  }
  return prompt;
}

}  // namespace

void Run::BeginSearch(Generated& generated, const InvokeInput& prompts) {
  const Decode* decode = tokens_.decode ? &tokens_.decode : nullptr;
  for (int64_t row = 0; row < prompts.batch(); row += trace().beams) {
    generated.searches.emplace_back(*chooser_, decode, PromptOf(prompts, row));
  }
}

absl::StatusOr<bool> Run::SearchOn(Pass& pass, absl::Span<const at::Tensor> logits) {
  const absl::Span<Segment* const> present = pass.present();
  bool alive = false;
  for (size_t i = 0; i < present.size(); ++i) {
    if (!logits[i].defined()) continue;
    const Segment& segment = *present[i];
    Generated& generated = generated_[segment.invoke];
    CommitTokens(segment, generated);
    node_ = plan_.invokes[segment.invoke].node;
    if (absl::Status status = GoOn(generated, logits[i]); !status.ok()) return status;
    if (generated.ended) {
      EndSearch(segment.invoke, generated);
      if (absl::Status told = TellFound(segment.invoke, generated); !told.ok()) return told;
    }
    node_ = graph::kNoNode;
    alive = alive || !generated.ended;
  }
  return alive;
}

absl::Status Run::GoOn(Generated& generated, const at::Tensor& logits) {
  const at::Tensor values = logits.to(at::kCPU, at::kFloat).contiguous();
  const auto prompts = static_cast<int64_t>(generated.searches.size());
  const int64_t each = values.size(0) / prompts;  // rows of a prompt, in this pass
  const int64_t beams = trace().beams, vocabulary = values.size(1);
  const int64_t prompt_tokens = generated.ids.size(1) - step_;
  // Rows that no text is in go on with a pad.
  at::Tensor next = at::full({prompts * beams}, tokens_.pad_id, at::kLong);
  at::Tensor from = at::arange(prompts * beams, at::kLong);
  auto* next_ids = next.mutable_data_ptr<int64_t>();
  auto* from_rows = from.mutable_data_ptr<int64_t>();
  std::vector<KVCache::Move> moves;
  generated.ended = true;
  for (int64_t p = 0; p < prompts; ++p) {
    BeamSearch& search = generated.searches[p];
    if (search.done()) continue;
    const float* const own = values.const_data_ptr<float>() + p * each * vocabulary;
    absl::Status status =
        search.Step({own, static_cast<size_t>(each * vocabulary)}, static_cast<size_t>(vocabulary));
    if (!status.ok()) return status;
    if (search.done()) continue;
    generated.ended = false;
    for (const BeamSearch::Beam& beam : search.beams()) {
      const int64_t to = p * beams + static_cast<int64_t>(beam.row);
      const int64_t past = p * beams + static_cast<int64_t>(beam.from);
      next_ids[to] = beam.ids.back();
      from_rows[to] = past;
      if (to == past) continue;
      moves.push_back({past, to, prompt_tokens + static_cast<int64_t>(beam.common)});
    }
  }
  if (generated.ended) {
    generated.next = InvokeInput::MakeAbsent(prompts * beams, tokens_.pad_id);
    return absl::OkStatus();
  }
  generated.cache->MoveRows(moves);
  generated.ids = at::cat({generated.ids.index_select(0, from), next.unsqueeze(1)}, 1);
  generated.mask = at::cat({generated.mask, at::ones_like(next).unsqueeze(1)}, 1);
  generated.next = InvokeInput::MakeNext(generated.ids, generated.mask);
  return absl::OkStatus();
}

void Run::EndSearch(int invoke, Generated& generated) {
  const InvokeInput& prompts = InputOf(invoke);
  const int64_t beams = trace().beams, returned = trace().returned, tokens = prompts.tokens();
  const auto count = static_cast<int64_t>(generated.searches.size()) * returned;
  size_t longest = 0;
  for (const BeamSearch& search : generated.searches) {
    for (int64_t r = 0; r < returned; ++r) {
      longest = std::max(longest, search.found()[r].ids.size());
    }
  }
  at::Tensor ids =
      at::full({count, tokens + static_cast<int64_t>(longest)}, tokens_.pad_id, at::kLong);
  at::Tensor scores = at::empty({count}, at::kFloat);
  for (int64_t row = 0; row < count; ++row) {
    const int64_t prompt = row / returned;
    const BeamSearch::Found& found = generated.searches[prompt].found()[row % returned];
    ids[row].narrow(0, 0, tokens).copy_(prompts.ids[prompt * beams]);
    std::copy(found.ids.begin(), found.ids.end(),
              ids.mutable_data_ptr<int64_t>() + row * ids.size(1) + tokens);
    scores.mutable_data_ptr<float>()[row] = static_cast<float>(found.score);
  }
  generated.ids = std::move(ids);
  generated.scores = std::move(scores);
  generated.cache = std::make_unique<KVCache>(0, 0, &memory_);
}

absl::Status Run::TellFound(int invoke, const Generated& generated) {
  if (!stream_tokens_) return absl::OkStatus();
  const auto returned = static_cast<size_t>(trace().returned);
  struct Row {
    const BeamSearch::Found& found;
    std::optional<RowText> text;
  };
  std::vector<Row> rows;
  size_t longest = 0;
  for (size_t p = 0; p < generated.searches.size(); ++p) {
    const std::vector<int64_t> prompt =
        PromptOf(InputOf(invoke), static_cast<int64_t>(p) * trace().beams);
    for (size_t r = 0; r < returned; ++r) {
      Row& told = rows.emplace_back(Row{generated.searches[p].found()[r], std::nullopt});
      longest = std::max(longest, told.found.ids.size());
      if (tokens_.decode) told.text.emplace(tokens_.decode, prompt, options().stop_strings);
    }
  }
  // As if each had been chosen token by token.
  for (size_t step = 0; step < longest; ++step) {
    NewTokens told{invoke, static_cast<int64_t>(step)};
    for (Row& row : rows) {
      const std::vector<int64_t>& ids = row.found.ids;
      const bool over = step >= ids.size();
      told.ids.push_back(over ? -1 : ids[step]);
      if (!tokens_.decode) continue;
      std::string& shown = told.texts.emplace_back();
      if (over) continue;
      absl::StatusOr<std::string> text = std::string();
      if (!chooser_->IsEnd(ids[step])) text = row.text->Add(ids[step]);
      if (!text.ok()) return text.status();
      shown = *std::move(text);
      if (step + 1 < ids.size()) continue;
      absl::StatusOr<std::string> rest = row.text->Finish();
      if (!rest.ok()) return rest.status();
      shown += *rest;
    }
    new_tokens_.push_back(std::move(told));
  }
  return absl::OkStatus();
}

}  // namespace weft::run
