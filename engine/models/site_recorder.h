#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/plan/model_spec.h"
#include "engine/run/pass.h"

namespace weft::models {

/// What one recording pass saw of one segment, in order.
struct Seen {
  struct Leaf {
    plan::OperationSpec::Leaf at;
    c10::ScalarType dtype = c10::ScalarType::Undefined;
    /// It has the pass's packed rows, or is the segment's own; `shape` is then the segment's.
    bool rows = false, own = false;
    std::vector<int64_t> shape;
    at::Tensor value;  // of the segment, where values are kept
  };

  int module = 0;
  uint32_t visit = 0;
  graph::Point point = graph::Point::kOutput;
  bool last_token = false;  // of a generation, the last one alone comes here
  bool pooled = false;      // a row for each prompt
  bool boundary = false;    // the module's input or output, as a tap shows it
  std::string op;           // `aten::linear`, with its inputs or its output; empty for others
  bool in_place = false;
  int count = 0;  // of arguments or results
  std::vector<Leaf> leaves;

  /// Whether it is the same place of the model's code, with the same kinds of values.
  bool IsLike(const Seen& other) const;
};

/// Records one segment of a pass.
class SiteRecorder : public run::Recorder {
 public:
  /// `keep_values`: those of packed rows inside modules.
  SiteRecorder(absl::Span<const run::Segment> segments, size_t segment, size_t modules,
               bool keep_values);

  void Record(int tap, const at::Tensor& value) override;
  void RecordBeside(const at::Tensor& value) override;
  void Pooled(bool pooled) override { pooled_ = pooled; }
  void Record(const Operator& op) override;
  void Record(int module, graph::Point point, const Parts& parts) override;
  void KeepLast() override { last_token_ = true; }
  void Leave(int) override { leaves_.push_back(boundaries_.size()); }

  const std::vector<Seen>& seen() const { return seen_; }
  /// Inside one visit of a module: places in `seen()`, in order.
  const std::vector<size_t>& Inside(int module, uint32_t visit) const;
  /// The places of modules' inputs and outputs in `seen()`.
  const std::vector<size_t>& boundaries() const { return boundaries_; }
  /// How many boundaries came before each place where rows may leave.
  const std::vector<size_t>& leaves() const { return leaves_; }

 private:
  void AddInside(Seen seen);
  void AddLeaf(const at::Tensor& tensor, plan::OperationSpec::Leaf at, Seen& seen) const;

  const absl::Span<const run::Segment> segments_;
  const size_t segment_;
  const bool keep_values_;
  bool last_token_ = false;
  bool pooled_ = false;
  std::vector<uint32_t> calls_;  // by module, so far
  std::vector<Seen> seen_;
  std::vector<size_t> boundaries_, leaves_;
  absl::btree_map<std::pair<int, uint32_t>, std::vector<size_t>> inside_;
};

}  // namespace weft::models
