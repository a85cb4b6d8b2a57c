#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/graph/value.h"
#include "engine/run/pass.h"

namespace weft::run {

/// A site with a tensor `[B, ...]` for each segment that is present, as attention has them. The
/// tensors of segments that take no part are undefined; of all rows, theirs hold `absent`.
class PartsVisiting final : public Visiting {
 public:
  PartsVisiting(Pass& pass, int time, std::vector<at::Tensor>& parts, int64_t absent = 0);

  c10::IValue Read(const Segment& segment, bool written) override;
  c10::IValue ReadForGradient(const Segment& segment) override;
  c10::IValue ReadAllForGradient(absl::Span<Segment* const> segments) override;
  /// Every dimension behind the batch is as long as the longest segment's.
  c10::IValue ReadAll(absl::Span<Segment* const> segments, bool written) override;
  c10::IValue Writable(const Segment& segment) override;
  void WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) override;
  void Finish() override {}

 private:
  size_t PlaceOf(const Segment& segment) const;
  at::Tensor& PartOf(const Segment& segment);
  /// Where a segment's part lies among all rows.
  at::Tensor Within(const at::Tensor& all, int64_t row, const at::Tensor& part) const;

  std::vector<at::Tensor>& parts_;
  const std::vector<at::Tensor> original_;
  const int64_t absent_;
  std::vector<bool> own_;  // by part: copied, or with gradients a node of its own
};

/// A site of several tensors: `pattern` with a visiting for each, in its order.
class StructureVisiting final : public Visiting {
 public:
  StructureVisiting(Pass& pass, int time, const graph::Pattern& pattern,
                    std::vector<std::unique_ptr<Visiting>> leaves)
      : Visiting(pass, time), pattern_(pattern), leaves_(std::move(leaves)) {}

  c10::IValue Read(const Segment& segment, bool written) override;
  c10::IValue ReadForGradient(const Segment& segment) override;
  c10::IValue ReadAllForGradient(absl::Span<Segment* const> segments) override;
  c10::IValue ReadAll(absl::Span<Segment* const> segments, bool written) override;
  c10::IValue Writable(const Segment& segment) override;
  void WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) override;
  void Finish() override;

 private:
  c10::IValue Build(const std::function<c10::IValue(Visiting&)>& leaf);

  const graph::Pattern& pattern_;
  const std::vector<std::unique_ptr<Visiting>> leaves_;
};

}  // namespace weft::run
