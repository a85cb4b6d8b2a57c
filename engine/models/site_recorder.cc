#include "engine/models/site_recorder.h"

#include <utility>

namespace weft::models {

using graph::Point;

bool Seen::IsLike(const Seen& other) const {
  if (module != other.module || visit != other.visit || point != other.point ||
      boundary != other.boundary || op != other.op || in_place != other.in_place ||
      count != other.count || leaves.size() != other.leaves.size()) {
    return false;
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!(leaves[i].at == other.leaves[i].at) || leaves[i].dtype != other.leaves[i].dtype ||
        leaves[i].own != other.leaves[i].own) {
      return false;
    }
  }
  return true;
}

SiteRecorder::SiteRecorder(absl::Span<const run::Segment> segments, size_t segment, size_t modules,
                           bool keep_values)
    : segments_(segments), segment_(segment), keep_values_(keep_values), calls_(modules, 0) {}

const std::vector<size_t>& SiteRecorder::Inside(int module, uint32_t visit) const {
  static const auto* const kNone = new std::vector<size_t>();
  const auto found = inside_.find({module, visit});
  return found == inside_.end() ? *kNone : found->second;
}

void SiteRecorder::AddLeaf(const at::Tensor& tensor, plan::OperationSpec::Leaf at,
                           Seen& seen) const {
  if (!tensor.defined()) return;
  Seen::Leaf leaf;
  leaf.at = at;
  leaf.dtype = tensor.scalar_type();
  int64_t rows = 0;
  for (const run::Segment& each : segments_) rows += each.rows();
  leaf.rows = tensor.dim() >= 2 && tensor.size(0) == 1 && tensor.size(1) == rows;
  if (leaf.rows) {
    const at::Tensor cut = run::Cut(tensor, segments_[segment_]);
    leaf.shape = cut.sizes().vec();
    if (keep_values_ && !seen.boundary) leaf.value = cut.clone();
  }
  seen.leaves.push_back(std::move(leaf));
}

void SiteRecorder::AddInside(Seen seen) {
  seen.visit = calls_[seen.module] - 1;
  inside_[{seen.module, seen.visit}].push_back(seen_.size());
  seen_.push_back(std::move(seen));
}

void SiteRecorder::Record(int tap, const at::Tensor& value) {
  Seen seen;
  seen.last_token = last_token_;
  seen.pooled = pooled_;
  seen.module = tap / 2;
  seen.boundary = true;
  seen.point = tap % 2 == 1 ? Point::kOutput : Point::kInput;
  if (seen.point == Point::kInput) ++calls_[seen.module];
  seen.visit = calls_[seen.module] - 1;
  AddLeaf(value, {}, seen);
  boundaries_.push_back(seen_.size());
  seen_.push_back(std::move(seen));
}

void SiteRecorder::RecordBeside(const at::Tensor& value) { AddLeaf(value, {}, seen_.back()); }

void SiteRecorder::Record(const Operator& op) {
  Seen seen;
  seen.last_token = last_token_;
  seen.pooled = pooled_;
  seen.module = op.module;
  seen.point = op.point;
  seen.op = op.name;
  seen.in_place = op.in_place;
  seen.count = op.count;
  for (int i = 0; i < static_cast<int>(op.parts.size()); ++i) {
    const at::Tensor& part = (*op.parts[i])[segment_];
    seen.leaves.push_back({{i, -1}, part.scalar_type(), false, true, part.sizes().vec(), {}});
  }
  for (int i = 0; i < op.count && i < static_cast<int>(op.values.size()); ++i) {
    const c10::IValue& value = op.values[i];
    if (value.isTensor()) AddLeaf(value.toTensor(), {i, -1}, seen);
    if (!value.isTensorList()) continue;
    int item = 0;
    for (const c10::IValue& tensor : value.toListRef()) {
      AddLeaf(tensor.toTensor(), {i, item++}, seen);
    }
  }
  AddInside(std::move(seen));
}

void SiteRecorder::Record(int module, Point point, const Parts& parts) {
  Seen seen;
  seen.last_token = last_token_;
  seen.pooled = pooled_;
  seen.module = module;
  seen.point = point;
  seen.count = 1;
  const at::Tensor& part = parts[segment_];
  seen.leaves.push_back({{}, part.scalar_type(), false, true, part.sizes().vec(), {}});
  AddInside(std::move(seen));
}

}  // namespace weft::models
