#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exported/operators.h"
#include "engine/exported/program.h"
#include "engine/run/pass.h"

namespace weft::exported {

/// A tensor among an operator's arguments or results, and which of the graph's values it is.
struct SiteLeaf {
  int place = 0;
  int item = -1;  // of a list of tensors
  ValueId value = kNoValue;
};

/// A node with its operator and the arguments that are known before running.
struct BoundNode {
  /// An argument that the graph's values fill in: one, or a list of them, tensors or numbers.
  struct Fill {
    int argument = 0;
    Argument from;
  };
  int node = 0;  // among Program::nodes
  GraphOperator op;
  c10::Stack stack;
  std::vector<Fill> fills;

  /// Its sites, times; -1 for none. Set when sites are recorded.
  int inputs_time = -1, output_time = -1;
  std::vector<SiteLeaf> arguments, results;  // what the sites show
};

/// Tensors that a module takes or gives, in the structure that Python has them in.
struct Boundary {
  Structure structure;          // one leaf for a lone tensor
  std::vector<ValueId> leaves;  // in its order; kNoValue for none
  std::string why;              // there is no site: why not. Empty where there is one
  int time = -1;                // of its site; set when sites are recorded
};

/// One call of one module.
struct ModuleCall {
  int module = 0;  // among Graph::modules
  uint32_t visit = 0;
  int parent = -1;             // among Graph::calls
  int enter = 0, leave = 0;    // among Graph::steps
  Boundary input, output;      // of the input, one leaf
  bool self_contained = true;  // needs nothing but its input and the model's weights
};

struct ModuleInfo {
  std::string name, path, type;
  std::vector<int> children;  // in order
  std::string why;            // it has no sites: why not
  int first_call = -1;        // among Graph::calls
};

/// What to do next: enter a call, compute a node, leave a call.
struct Step {
  enum class Kind : uint8_t { kEnter, kNode, kLeave };
  Kind kind = Kind::kNode;
  int index = 0;                 // among calls or nodes
  std::vector<ValueId> release;  // values that nobody needs after it
};

/// A program made ready to run: operators found, arguments bound, nodes put into the calls of the
/// modules that they belong to. Const once its sites are recorded.
struct Graph {
  Program program;
  std::vector<BoundNode> nodes;
  std::vector<ModuleInfo> modules;  // in tree order; the root is the first
  std::vector<ModuleCall> calls;    // in the order in which they begin; the root's is the first
  std::vector<Step> steps;
  std::vector<c10::IValue> given;    // by value: weights and constants; none for others
  std::vector<bool> weight;          // by value
  std::vector<ValueId> user_inputs;  // tensors that the program is called with
  /// By value, how the rows of a pass lie in it. Empty where the rows of several prompts cannot be
  /// told apart, and a pass has those of one.
  std::vector<run::RowLayout> layouts;
  at::Device device = at::kCPU;  // where it computes

  run::RowLayout LayoutOf(ValueId value) const {
    return layouts.empty() ? run::RowLayout() : layouts[value];
  }
};

/// `program` after Functionalise. Errors name the node.
absl::StatusOr<Graph> MakeGraph(Program program);

}  // namespace weft::exported
