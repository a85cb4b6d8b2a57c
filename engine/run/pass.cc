#include "engine/run/pass.h"

#include <algorithm>
#include <utility>

#include "engine/run/memory_account.h"
#include "engine/run/op_tap.h"
#include "engine/run/op_visiting.h"
#include "engine/run/overwrite.h"
#include "engine/run/run.h"

namespace weft::run {
namespace {

constexpr int kRootOutput = 1;  // a tap

const OutputForm& TensorForm() {
  static const OutputForm kForm;
  return kForm;
}

}  // namespace

InvokeInput InvokeInput::Make(const std::vector<std::vector<int64_t>>& rows, int64_t pad,
                              bool pad_left) {
  InvokeInput input;
  size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const auto batch = static_cast<int64_t>(rows.size());
  const auto tokens = static_cast<int64_t>(longest);
  const auto make = [&](at::Tensor* tensor, int64_t value) {
    *tensor = at::empty({batch, tokens}, at::kLong);
    auto* data = tensor->mutable_data_ptr<int64_t>();
    std::fill_n(data, batch * tokens, value);
    return data;
  };
  int64_t* const ids = make(&input.ids, pad);
  int64_t* const mask = make(&input.mask, 0);
  int64_t* const positions = make(&input.positions, 0);
  for (size_t r = 0; r < rows.size(); ++r) {
    const size_t pads = longest - rows[r].size();
    input.padded = input.padded || pads > 0;
    const size_t first = r * longest + (pad_left ? pads : 0);
    for (size_t t = 0; t < rows[r].size(); ++t) {
      ids[first + t] = rows[r][t];
      mask[first + t] = 1;
      positions[first + t] = static_cast<int64_t>(t);
    }
    // As transformers' cumulative sum over the mask: pads after the text keep the last position.
    for (size_t t = rows[r].size(); !pad_left && t < longest; ++t) {
      positions[first + t] = static_cast<int64_t>(rows[r].size()) - 1;
    }
  }
  if (input.padded) {
    // A pad looks at itself, so that its row stays finite; nobody looks at a pad.
    const at::Tensor causal = at::ones({tokens, tokens}, at::kBool).tril();
    const at::Tensor real = input.mask.to(at::kBool).view({batch, 1, 1, tokens});
    input.attention_mask =
        at::logical_or(at::logical_and(causal, real), at::eye(tokens, at::kBool)).contiguous();
  }
  return input;
}

InvokeInput InvokeInput::MakeAbsent(int64_t rows, int64_t pad) {
  InvokeInput input;
  input.ids = at::full({rows, 1}, pad, at::kLong);
  input.mask = at::zeros({rows, 1}, at::kLong);
  input.positions = at::zeros({rows, 1}, at::kLong);
  return input;
}

InvokeInput InvokeInput::MakeNext(const at::Tensor& ids, const at::Tensor& mask) {
  InvokeInput input;
  const int64_t batch = ids.size(0), past = ids.size(1) - 1;
  input.ids = ids.narrow(1, past, 1).contiguous();
  input.mask = at::ones({batch, 1}, at::kLong);
  // As transformers': counted over real tokens, whatever side the pads are on.
  input.positions = mask.sum(1, /*keepdim=*/true).sub_(1);
  input.padded = mask.numel() > 0 && mask.min().item<int64_t>() == 0;
  if (input.padded) input.attention_mask = mask.to(at::kBool).view({batch, 1, 1, past + 1});
  return input;
}

InvokeInput InvokeInput::FirstOfEach(int64_t count) const {
  InvokeInput input = *this;
  for (at::Tensor* tensor : {&input.ids, &input.mask, &input.positions, &input.attention_mask}) {
    if (tensor->defined()) *tensor = tensor->slice(0, 0, batch(), count).contiguous();
  }
  return input;
}

InvokeInput InvokeInput::MakeValues(at::Tensor values, bool flat) {
  InvokeInput input;
  const int64_t tokens = flat ? 1 : values.size(1);
  input.mask = at::ones({values.size(0), tokens}, at::kLong);
  input.positions = at::arange(tokens, at::kLong).expand({values.size(0), tokens}).contiguous();
  input.values = std::move(values);
  input.flat = flat;
  return input;
}

TapTable::TapTable(const plan::ModelSpec& model, std::vector<OutputForm> forms_by_module,
                   at::Device root_device, bool elsewhere)
    : device(root_device),
      placed(elsewhere),
      times(model.modules().size() * 2),
      forms(std::move(forms_by_module)),
      inside(model.modules().size()),
      spec(model) {
  auto inside_of = [this](int module, uint32_t visit) -> Inside& {
    auto& visits = inside[module];
    if (visits.size() <= visit) visits.resize(visit + 1);
    return visits[visit];
  };
  for (const plan::OperationSpec& operation : spec.operations()) {
    inside_of(operation.module, operation.visit).operations.push_back(&operation);
  }
  for (size_t time = 0; time < spec.sites().size(); ++time) {
    const plan::SiteSpec& site = spec.sites()[time];
    if (graph::OfNextToken(site.site.point)) continue;
    if (!site.OfModule()) {
      if (site.site.op.empty()) {
        const size_t point =
            static_cast<size_t>(site.site.point) - static_cast<size_t>(graph::Point::kQ);
        inside_of(site.module, site.site.visit).points[point] = static_cast<int>(time);
      }
      continue;
    }
    const int tap = site.module * 2 + (site.site.point == graph::Point::kOutput ? 1 : 0);
    auto& visits = times[tap];
    if (visits.size() <= site.site.visit) visits.resize(site.site.visit + 1, -1);
    visits[site.site.visit] = static_cast<int>(time);
  }
  result_site = spec.ResultSite();
}

at::Tensor Cut(const at::Tensor& packed, const Segment& segment) {
  if (packed.requires_grad()) {  // going backwards through a strided view is slow
    const at::Tensor rows = packed.narrow(1, segment.start, segment.rows()).squeeze(0);
    if (segment.leading() == 1) return rows;
    return rows.unflatten(0, {segment.input->batch(), segment.tokens});
  }
  const auto sizes = packed.sizes();
  const auto strides = packed.strides();
  c10::SmallVector<int64_t, 6> cut_sizes = {segment.input->batch()};
  c10::SmallVector<int64_t, 6> cut_strides = {strides[1] * segment.tokens};
  if (segment.leading() == 2) {
    cut_sizes.push_back(segment.tokens);
    cut_strides.push_back(strides[1]);
  }
  for (size_t d = 2; d < sizes.size(); ++d) {
    cut_sizes.push_back(sizes[d]);
    cut_strides.push_back(strides[d]);
  }
  return packed.as_strided(cut_sizes, cut_strides,
                           packed.storage_offset() + segment.start * strides[1]);
}

at::Tensor Packed(const at::Tensor& rows, const Segment& segment) {
  c10::SmallVector<int64_t, 6> sizes = {1, segment.rows()};
  for (int64_t d = segment.leading(); d < rows.dim(); ++d) sizes.push_back(rows.size(d));
  return rows.reshape(sizes);
}

at::Tensor Within(const at::Tensor& all, int64_t row, const Segment& segment, bool pad_left) {
  const at::Tensor rows = all.narrow(0, row, segment.input->batch());
  if (segment.leading() == 1) return rows;
  return rows.narrow(1, pad_left ? all.size(1) - segment.tokens : 0, segment.tokens);
}

// --- Visiting -----------------------------------------------------------------------------------

c10::IValue InForm(const OutputForm& form, at::Tensor tensor,
                   absl::Span<const at::Tensor> further) {
  switch (form.kind) {
    case OutputForm::Kind::kTensor:
      break;
    case OutputForm::Kind::kTuple: {
      std::vector<c10::IValue> items(1 + further.size() + form.nones);
      items[0] = std::move(tensor);
      std::copy(further.begin(), further.end(), items.begin() + 1);
      return c10::ivalue::Tuple::create(std::move(items));
    }
    case OutputForm::Kind::kDict: {
      c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
      dict.insert(form.field, std::move(tensor));
      for (size_t i = 0; i < further.size(); ++i) dict.insert(form.more_fields[i], further[i]);
      return dict;
    }
  }
  return tensor;
}

at::Tensor Visiting::LeafOf(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  at::Tensor leaf;
  if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      if (leaf = LeafOf(item); leaf.defined()) break;
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      if (leaf = LeafOf(entry.value()); leaf.defined()) break;
    }
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) {
      if (leaf = LeafOf(item); leaf.defined()) break;
    }
  }
  return leaf;
}

at::Tensor WithGradient(const at::Tensor& tensor) {
  if (tensor.requires_grad() || !(tensor.is_floating_point() || tensor.is_complex())) {
    return tensor;
  }
  const at::Tensor leaf = tensor.detach().requires_grad_();
  // Not the leaf itself, whose gradient would not come in the order in which values were made.
  return leaf.view_as(leaf);
}

at::Tensor& PackedVisiting::PartOf(const Segment& segment) {
  for (Part& part : parts_) {
    if (part.segment == &segment) return part.rows;
  }
  return parts_.emplace_back(Part{&segment, Cut(current_, segment)}).rows;
}

void PackedVisiting::Finish() {
  if (!changed_) return;
  std::vector<at::Tensor> rows;
  for (const Segment* segment : pass_.present()) {
    const auto part = std::find_if(parts_.begin(), parts_.end(),
                                   [&](const Part& p) { return p.segment == segment; });
    rows.push_back(part == parts_.end() ? current_.narrow(1, segment->start, segment->rows())
                                        : Packed(part->rows, *segment));
  }
  current_ = at::cat(rows, 1);
}

c10::IValue PackedVisiting::ReadForGradient(const Segment& segment) {
  at::Tensor& rows = PartOf(segment);
  rows = WithGradient(rows);
  changed_ = true;
  return InForm(form_, rows);
}

c10::IValue PackedVisiting::ReadAllForGradient(absl::Span<Segment* const> segments) {
  const at::Tensor all = WithGradient(LeafOf(ReadAll(segments, true)));
  WriteAll(segments, all);
  return InForm(form_, all);
}

c10::IValue PackedVisiting::Read(const Segment& segment, bool written) {
  if (pass_.gradients()) return InForm(form_, PartOf(segment));
  return InForm(form_, Cut(written ? current_ : original_, segment));
}

c10::IValue PackedVisiting::ReadAll(absl::Span<Segment* const> segments, bool written) {
  const at::Tensor& packed = written ? current_ : original_;
  int64_t batch = 0, longest = 0;
  for (const Segment* segment : segments) {
    batch += segment->input->batch();
    longest = std::max(longest, segment->tokens);
  }
  c10::SmallVector<int64_t, 6> sizes = {batch};
  if (!segments.empty() && !segments[0]->input->flat && !pass_.pooled()) sizes.push_back(longest);
  for (int64_t d = 2; d < packed.dim(); ++d) sizes.push_back(packed.size(d));
  at::Tensor all = at::zeros(sizes, packed.options());
  int64_t row = 0;
  for (const Segment* segment : segments) {
    // Rows that have left the pass are read by nobody; a write to all rows passes over them.
    if (segment->present) {
      Within(all, row, *segment, pass_.pad_left())
          .copy_(pass_.gradients() ? PartOf(*segment) : Cut(packed, *segment));
    }
    row += segment->input->batch();
  }
  return InForm(form_, std::move(all));
}

c10::IValue PackedVisiting::Writable(const Segment& segment) {
  TORCH_CHECK(segment.trunk == nullptr, "a write to rows that are not the segment's own");
  if (pass_.gradients()) {
    at::Tensor& rows = PartOf(segment);
    rows = rows.clone();
    changed_ = true;
    return InForm(form_, rows);
  }
  if (!copied_) {
    // The pass's memory, not that of the run that happens to be the first to write.
    const MemoryAccount::Charging nobody(nullptr);
    current_ = current_.clone();
    copied_ = true;
  }
  return InForm(form_, Cut(current_, segment));
}

void PackedVisiting::WriteAll(absl::Span<Segment* const> segments, const c10::IValue& all) {
  const at::Tensor rows = LeafOf(all);
  int64_t row = 0;
  for (const Segment* segment : segments) {
    if (segment->present) {
      Overwrite(LeafOf(Writable(*segment)), Within(rows, row, *segment, pass_.pad_left()));
    }
    row += segment->input->batch();
  }
}

PooledVisiting::PooledVisiting(Pass& pass, int time, at::Tensor& value)
    : Visiting(pass, time), rows_(pass, time, TensorForm(), value) {}

c10::IValue PooledVisiting::Read(const Segment& segment, bool written) {
  const WhilePooled pooled(pass_);
  return rows_.Read(segment, written);
}

c10::IValue PooledVisiting::ReadForGradient(const Segment& segment) {
  const WhilePooled pooled(pass_);
  return rows_.ReadForGradient(segment);
}

c10::IValue PooledVisiting::ReadAllForGradient(absl::Span<Segment* const> segments) {
  const WhilePooled pooled(pass_);
  return rows_.ReadAllForGradient(segments);
}

c10::IValue PooledVisiting::ReadAll(absl::Span<Segment* const> segments, bool written) {
  const WhilePooled pooled(pass_);
  return rows_.ReadAll(segments, written);
}

c10::IValue PooledVisiting::Writable(const Segment& segment) {
  const WhilePooled pooled(pass_);
  return rows_.Writable(segment);
}

void PooledVisiting::WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) {
  const WhilePooled pooled(pass_);
  rows_.WriteAll(segments, rows);
}

void PooledVisiting::Finish() {
  const WhilePooled pooled(pass_);
  rows_.Finish();
}

// --- Pass ---------------------------------------------------------------------------------------

Pass::Pass(const TapTable& taps, absl::Span<Run* const> runs, bool pad_left)
    : taps_(taps),
      listens_(taps.times.size(), 0),
      visits_(taps.times.size(), 0),
      pad_left_(pad_left),
      shared_(runs.size() > 1) {
  for (Run* run : runs) {
    gradients_ |= run->gradients();
    for (Segment& segment : run->segments()) {
      // Rows that no site is needed for (a program of constants alone) never enter.
      segment.present = segment.end > plan::kStart;
      if (segment.present) (segment.trunk == nullptr ? present_ : sharing_).push_back(&segment);
      adapted_ |= segment.adapter != nullptr;
    }
    for (int time : run->times()) listeners_.emplace_back(time, run);
    for (int tap : run->taps()) listens_[tap] = 1;
    for (const Watch& watch : run->watches()) {
      if (inside_ == nullptr) inside_ = std::make_unique<OpTap>(*this, taps);
      inside_->Listen(watch);
    }
  }
  std::stable_sort(present_.begin(), present_.end(),
                   [](const Segment* a, const Segment* b) { return a->end > b->end; });
  if (runs.size() > 1) {
    std::stable_sort(listeners_.begin(), listeners_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  Place();
}

Pass::Pass(const TapTable& taps, std::vector<Segment*> segments, Recorder* recorder)
    : taps_(taps),
      present_(std::move(segments)),
      listens_(taps.times.size(), recorder != nullptr ? 1 : 0),
      visits_(taps.times.size(), 0),
      recorder_(recorder) {
  if (recorder != nullptr) {
    inside_ = std::make_unique<OpTap>(*this, taps);
    for (size_t module = 0; module < taps.inside.size(); ++module) {
      inside_->Listen({static_cast<int>(module), true});
    }
  }
  Place();
}

Pass::~Pass() = default;

void Pass::Place() {
  for_rows_.clear();
  int64_t start = 0;
  for (Segment* segment : present_) {
    segment->start = start;
    start += segment->rows();
  }
  for (Segment* segment : sharing_) segment->start = segment->trunk->start;
}

at::Tensor Pass::Input() const {
  const OpTap::Pause pause;
  const auto packed = [](const Segment& segment) {
    const InvokeInput& input = *segment.input;
    return input.values.defined() ? Packed(input.values, segment) : input.ids.view({1, -1});
  };
  if (present_.size() == 1) return packed(*present_[0]).to(taps_.device);
  std::vector<at::Tensor> rows;
  rows.reserve(present_.size());
  for (const Segment* segment : present_) rows.push_back(packed(*segment));
  // Values that a program has computed may be on a device already, others are not.
  if (placed()) {
    for (at::Tensor& part : rows) part = part.to(taps_.device);
  }
  return at::cat(rows, 1);
}

void Pass::GoOnAt(int time) {
  for (size_t tap = 0; tap < visits_.size(); ++tap) {
    const auto& times = taps_.times[tap];
    visits_[tap] = static_cast<int>(
        std::count_if(times.begin(), times.end(), [time](int at) { return at < time; }));
  }
  if (inside_ != nullptr) inside_->GoOnAt(time);
}

void Pass::LetWatch(Watcher* watcher, int time) {
  watcher_ = watcher;
  std::fill(listens_.begin(), listens_.end(), uint8_t{1});
  GoOnAt(time);
}

at::Tensor Pass::Positions() const {
  const OpTap::Pause pause;
  return PositionsOnCpu().to(taps_.device);
}

at::Tensor Pass::PositionsOnCpu() const {
  const OpTap::Pause pause;
  if (present_.size() == 1) return present_[0]->input->positions.view({1, -1});
  std::vector<at::Tensor> rows;
  rows.reserve(present_.size());
  for (const Segment* segment : present_) rows.push_back(segment->input->positions.view({1, -1}));
  return at::cat(rows, 1);
}

bool Pass::Listens(int time) const {
  const auto it = std::lower_bound(listeners_.begin(), listeners_.end(), time,
                                   [](const auto& entry, int t) { return entry.first < t; });
  return it != listeners_.end() && it->first == time;
}

void Pass::VisitTime(int time, Visiting& visiting) {
  // Binary search, as modules that are left out (skipped, or after an early end) are not visited.
  auto it = std::lower_bound(listeners_.begin(), listeners_.end(), time,
                             [](const auto& entry, int t) { return entry.first < t; });
  for (; it != listeners_.end() && it->first == time; ++it) it->second->Visit(visiting);
  visiting.Finish();
}

void Pass::VisitTap(int tap, at::Tensor& value) {
  const OpTap::Pause pause;
  if (recorder_ != nullptr) {
    recorder_->Record(tap, value);
    if (tap == kRootOutput && beside_.defined()) {
      const WhilePooled pooled(*this);
      recorder_->RecordBeside(beside_);
    }
    if (tap % 2 == 1) {
      for (const at::Tensor& tensor : further_) recorder_->RecordBeside(tensor);
    }
    return;
  }
  const auto& times = taps_.times[tap];
  const int visit = visits_[tap]++;
  if (visit >= static_cast<int>(times.size())) return;
  const int time = times[visit];
  const OutputForm& form = tap % 2 == 1 ? taps_.forms[tap / 2] : TensorForm();
  if (watcher_ != nullptr) {
    watcher_->Visit(*this, time, form, value);
    return;
  }
  if (tap == kRootOutput && beside_.defined()) {
    std::vector<std::unique_ptr<Visiting>> leaves;
    leaves.push_back(std::make_unique<PackedVisiting>(*this, time, TensorForm(), value));
    leaves.push_back(std::make_unique<PooledVisiting>(*this, time, beside_));
    StructureVisiting visiting(*this, time, taps_.spec.sites()[time].pattern, std::move(leaves));
    VisitTime(time, visiting);
    return;
  }
  if (form.further() > 0) {
    TORCH_CHECK(further_.size() == form.further(), "a module returned ", 1 + further_.size(),
                " tensors, and its form says ", 1 + form.further());
    std::vector<std::unique_ptr<Visiting>> leaves;
    leaves.push_back(std::make_unique<PackedVisiting>(*this, time, TensorForm(), value));
    for (at::Tensor& tensor : further_) {
      leaves.push_back(std::make_unique<PackedVisiting>(*this, time, TensorForm(), tensor));
    }
    StructureVisiting visiting(*this, time, taps_.spec.sites()[time].pattern, std::move(leaves));
    VisitTime(time, visiting);
    return;
  }
  PackedVisiting visiting(*this, time, form, value);
  VisitTime(time, visiting);
}

bool Pass::Leave(int tap, at::Tensor& hidden) {
  const OpTap::Pause pause;
  if (recorder_ != nullptr) {
    recorder_->Leave(tap);
    return true;
  }
  const auto& times = taps_.times[tap];
  const int time = times.empty() ? -1 : times.front();
  // First, as those whose rows they are may leave here.
  LetIn(time, hidden);
  bool alive = false;
  const absl::Time now = absl::Now();
  for (Segment* segment : present_) {
    if (segment->run == nullptr) {
      alive = true;  // a call out of band, which nobody leaves
      continue;
    }
    segment->run->CheckAlive(now);
    if (!segment->run->ended() && segment->end > time) alive = true;
  }
  // The module's output is to be joined with the rows that skip it, who wait for it outside.
  if (partly_ > 0) return true;
  const size_t before = present_.size();
  while (!present_.empty() && present_.back()->run != nullptr &&
         (present_.back()->end <= time || present_.back()->run->ended())) {
    present_.back()->present = false;
    present_.pop_back();
  }
  if (!alive) {
    done_ = true;
    return false;
  }
  if (present_.size() != before) {
    for_rows_.clear();
    const Segment* last = present_.back();
    hidden = hidden.narrow(1, 0, last->start + last->rows());
  }
  return true;
}

void Pass::VisitTensors(int time, absl::Span<at::Tensor> tensors,
                        absl::Span<const RowLayout> layouts) {
  const OpTap::Pause pause;
  std::vector<std::vector<at::Tensor>> parts(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (present_.size() == 1) {
      parts[i] = {tensors[i]};
      continue;
    }
    const auto& [dimension, inner] = layouts[i];
    for (const Segment* segment : present_) {
      parts[i].push_back(
          tensors[i].narrow(dimension, segment->start * inner, segment->rows() * inner));
    }
  }
  const std::vector<std::vector<at::Tensor>> before = parts;
  std::vector<std::unique_ptr<Visiting>> leaves;
  for (std::vector<at::Tensor>& part : parts) {
    leaves.push_back(std::make_unique<PartsVisiting>(*this, time, part));
  }
  const graph::Pattern& pattern = taps_.spec.sites()[time].pattern;
  if (std::holds_alternative<graph::Pattern::Tensor>(pattern.value)) {
    VisitTime(time, *leaves[0]);
  } else {
    StructureVisiting visiting(*this, time, pattern, std::move(leaves));
    VisitTime(time, visiting);
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    bool changed = false;
    for (size_t j = 0; j < parts[i].size(); ++j) changed |= !parts[i][j].is_same(before[i][j]);
    if (!changed) continue;
    tensors[i] = parts[i].size() == 1 ? parts[i][0] : at::cat(parts[i], layouts[i].dimension);
  }
}

at::Tensor Pass::JoinSkippedRows(const at::Tensor& computed, absl::Span<const SkipRequest> skips,
                                 const RowLayout& layout) const {
  std::vector<at::Tensor> parts;
  for (const Segment* segment : present_) {
    const auto skip = std::find_if(skips.begin(), skips.end(), [&](const SkipRequest& request) {
      return request.segment == segment;
    });
    parts.push_back(skip != skips.end()
                        ? skip->value.to(taps_.device)
                        : computed.narrow(layout.dimension, segment->start * layout.inner,
                                          segment->rows() * layout.inner));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, layout.dimension);
}

void Pass::LeaveTogether(int time) {
  const absl::Time now = absl::Now();
  bool alive = false;
  for (Segment* segment : present_) {
    if (segment->run == nullptr) {
      alive = true;
      continue;
    }
    segment->run->CheckAlive(now);
    alive |= !segment->run->ended() && segment->end > time;
  }
  if (!alive) done_ = true;
}

void Pass::LetIn(int time, at::Tensor& hidden) {
  const auto stay = std::stable_partition(sharing_.begin(), sharing_.end(), [time](Segment* s) {
    return s->until != time || s->run->ended() || !s->trunk->present;
  });
  if (stay == sharing_.end()) return;
  const size_t before = present_.size();
  present_.insert(present_.end(), stay, sharing_.end());
  sharing_.erase(stay, sharing_.end());
  for (size_t i = before; i < present_.size(); ++i) present_[i]->trunk = nullptr;
  std::stable_sort(present_.begin(), present_.end(),
                   [](const Segment* a, const Segment* b) { return a->end > b->end; });
  std::vector<at::Tensor> rows;
  rows.reserve(present_.size());
  for (const Segment* segment : present_) {
    rows.push_back(hidden.narrow(1, segment->start, segment->rows()));
  }
  hidden = at::cat(rows, 1);
  Place();
}

void Pass::KeepLast(at::Tensor& hidden) {
  const OpTap::Pause pause;
  if (recorder_ != nullptr) recorder_->KeepLast();
  const auto shortens = [](const Segment* segment) {
    return (segment->cache != nullptr || segment->last_alone) && segment->tokens > 1;
  };
  if (std::none_of(present_.begin(), present_.end(), shortens)) return;
  std::vector<at::Tensor> rows;
  for (Segment* segment : present_) {
    if (shortens(segment)) {
      const InvokeInput& input = *segment->input;
      const at::Tensor own = Cut(hidden, *segment);
      at::Tensor last = own.narrow(1, segment->tokens - 1, 1);
      if (input.padded && !pad_left_ && segment->cache != nullptr) {
        const at::Tensor at = input.mask.sum(1).sub_(1);
        last = own.index({at::arange(own.size(0)), at}).unsqueeze(1);
      }
      rows.push_back(last.flatten(0, 1).unsqueeze(0));
      segment->tokens = 1;
    } else {
      rows.push_back(hidden.narrow(1, segment->start, segment->rows()));
    }
  }
  hidden = at::cat(rows, 1);
  for (Segment* segment : sharing_) segment->tokens = segment->trunk->tokens;
  Place();
}

at::Tensor Pass::Pool(const at::Tensor& hidden) {
  const OpTap::Pause pause;
  std::vector<at::Tensor> rows;
  rows.reserve(present_.size());
  for (const Segment* segment : present_) {
    const at::Tensor own = Cut(hidden, *segment);
    // Pads may come first.
    const at::Tensor first =
        segment->input->padded
            ? own.index({at::arange(own.size(0)), segment->input->mask.argmax(1)})
            : own.select(1, 0);
    rows.push_back(first.unsqueeze(0));
  }
  SetPooled(true);
  return rows.size() == 1 ? rows[0] : at::cat(rows, 1);
}

void Pass::SetPooled(bool pooled) {
  pooled_ = pooled;
  if (recorder_ != nullptr) recorder_->Pooled(pooled);
  PoolOrNot(present_);
  PoolOrNot(sharing_);
  Place();
}

void Pass::PoolOrNot(absl::Span<Segment* const> segments) const {
  for (Segment* segment : segments) {
    if (segment->pooled == pooled_) continue;
    segment->pooled = pooled_;
    segment->tokens = pooled_ ? 1 : segment->input->tokens();
  }
}

std::vector<Pass::SkipRequest> Pass::TakeSkips() {
  std::vector<SkipRequest> skips;
  skips.swap(skips_);
  return skips;
}

at::Tensor Pass::WithoutSkipped(const at::Tensor& input, absl::Span<const SkipRequest> skips,
                                std::vector<Segment*>* before) {
  const OpTap::Pause pause;
  ++partly_;
  *before = present_;
  for (const SkipRequest& skip : skips) skip.segment->present = false;
  present_.clear();
  std::vector<at::Tensor> rows;
  for (Segment* segment : *before) {
    if (!segment->present) continue;
    rows.push_back(input.narrow(1, segment->start, segment->rows()));
    present_.push_back(segment);
  }
  Place();
  return rows.empty() ? at::Tensor() : at::cat(rows, 1);
}

at::Tensor Pass::JoinSkipped(const at::Tensor& output, absl::Span<const SkipRequest> skips,
                             std::vector<Segment*> before, at::Device device) {
  const OpTap::Pause pause;
  PoolOrNot(before);
  // The rows stay where they were: whoever called the module may add its input to what comes back,
  // and ends may have moved meanwhile (`stop`). Who was let in comes behind them; then there is no
  // such input, as rows come in only where their tensor is all that goes on.
  for (Segment* segment : present_) {
    if (std::find(before.begin(), before.end(), segment) == before.end()) before.push_back(segment);
  }
  std::vector<at::Tensor> rows;
  for (Segment* segment : before) {
    at::Tensor part;
    for (const SkipRequest& skip : skips) {
      if (skip.segment == segment) part = Packed(skip.value, *segment).to(device);
    }
    if (!part.defined()) part = output.narrow(1, segment->start, segment->rows());
    rows.push_back(std::move(part));
    segment->present = true;
  }
  present_ = std::move(before);
  Place();
  --partly_;
  return at::cat(rows, 1);
}

}  // namespace weft::run
