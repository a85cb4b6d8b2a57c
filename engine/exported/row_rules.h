#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/exported/packing.h"
#include "engine/exported/row_counts.h"

namespace weft::exported {

/// Where rows lie: dimension `dim` counts `outer` x rows x `inner`. Without a dimension there are
/// none: the value is the same for every prompt.
struct Rows {
  int64_t dim = -1;
  int64_t outer = 1, inner = 1;
  bool any() const { return dim >= 0; }
  friend bool operator==(const Rows&, const Rows&) = default;
};

/// What is known of a graph's values so far: of tensors their rows, of numbers their forms.
struct RowFacts {
  std::vector<Rows> rows;
  std::vector<MaybeRowForm> forms;
};

/// An operator of one node while its rule is asked. Sizes are those of the first trial; that they
/// are so for other numbers of rows, but for the dimension of the rows, is what the rules keep.
class RuleSite {
 public:
  RuleSite(const Graph& graph, const BoundNode& node, const Samples& a, const Samples& b,
           const RowFacts& facts);

  struct Tensor {
    int argument = 0;
    ValueId value = kNoValue;
    Rows rows;
    std::vector<int64_t> sizes;
    int64_t rank() const { return static_cast<int64_t>(sizes.size()); }
  };

  /// Tensors among the arguments, those of lists one by one, in order.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  /// The first argument, of rules that are about it: FindRows makes sure that it is a tensor.
  const Tensor& self() const { return tensors_[0]; }
  const Tensor* FindTensor(const char* name) const;
  bool AnyRows() const;
  /// Whether any tensor but the first has rows.
  bool OthersHaveRows() const;

  /// An argument that is known before running: a constant, or its default, which may be none.
  /// Nothing where it is computed, or there is none of the name.
  std::optional<c10::IValue> Constant(const char* name) const;
  /// Dimensions that an argument names, in a tensor of `rank`; nothing if they are not all known.
  std::optional<std::vector<int64_t>> Dimensions(const char* name, int64_t rank) const;

  /// Whether a number that depends on how many rows there are is an argument, other than as one
  /// size of a shape that grows with them.
  bool CountsRows(bool takes_shape) const;

  /// The results' values.
  const std::vector<ValueId>& results() const { return results_; }
  const std::vector<int64_t>& SizesOf(ValueId value) const { return a_.values[value].sizes; }
  /// The one dimension that grows with the rows; -1 if none does, -2 if it is not one.
  int64_t Growing(ValueId value) const;
  bool IsEmpty(ValueId value) const;
  int64_t batch() const { return a_.batch; }
  const std::string& name() const { return node_.op.name; }

 private:
  int PlaceOf(const char* name) const;
  void AddTensors(int argument, const Argument& from);
  /// The form of a number that is an argument.
  MaybeRowForm FormOf(const Argument& argument) const;

  const Graph& graph_;
  const BoundNode& node_;
  const Samples &a_, &b_;
  const RowFacts& facts_;
  std::vector<Tensor> tensors_;
  std::vector<ValueId> results_;
};

/// How an operator treats rows: those of all of its results; nothing where rows meet, or may.
struct RowRule {
  using Find = std::optional<Rows> (*)(const RuleSite& site);
  Find find = nullptr;
  bool self = true;          // about its first argument, which must be a tensor
  bool takes_shape = false;  // a size of its shape may grow with the rows
};

/// The rule of `aten::linear`; nullptr where there is none.
const RowRule* FindRowRule(const std::string& name);

// Rules of view_rules.cc, for the table.

std::optional<Rows> Reshaped(const RuleSite& site);
std::optional<Rows> Selected(const RuleSite& site);
std::optional<Rows> Sliced(const RuleSite& site);
std::optional<Rows> Transposed(const RuleSite& site);
std::optional<Rows> SwappedTwo(const RuleSite& site);
std::optional<Rows> Permuted(const RuleSite& site);
std::optional<Rows> Unsqueezed(const RuleSite& site);
std::optional<Rows> Squeezed(const RuleSite& site);
std::optional<Rows> Expanded(const RuleSite& site);
std::optional<Rows> Joined(const RuleSite& site);
std::optional<Rows> Padded(const RuleSite& site);
std::optional<Rows> Scattered(const RuleSite& site);
std::optional<Rows> Triangular(const RuleSite& site);

}  // namespace weft::exported
