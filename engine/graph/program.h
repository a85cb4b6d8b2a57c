#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "engine/graph/value.h"

namespace weft::graph {

/// A node's place in its program, counted from 1.
using NodeId = uint32_t;
inline constexpr NodeId kNoNode = 0;

/// Containers nest at most this deep.
inline constexpr int kMaxDepth = 16;
/// Lists inside arguments nest at most this deep.
inline constexpr int kMaxListDepth = 2;

enum class Point : uint8_t {
  kOutput = 1,
  kInput = 2,
  kResult = 20,
  kIds = 21,
  kMask = 22,
  kPositions = 23,
  kRows = 24,
};

/// True for the points that belong to the invoke and not to a module.
inline bool OfInvoke(Point point) { return point >= Point::kResult; }

/// A place where a value can be read or replaced.
struct Site {
  std::string module;  // empty for the root
  Point point = Point::kOutput;
  uint32_t visit = 0;
  friend bool operator==(const Site&, const Site&) = default;
};
/// The text form: `transformer.h.0@1.output`, `.output`, `ids`.
std::string ToString(const Site& site);

struct NodeRef {
  NodeId id = kNoNode;
  friend bool operator==(const NodeRef&, const NodeRef&) = default;
};

struct Argument {
  using List = std::vector<Argument>;
  std::string name;  // empty: positional
  /// monostate is `none`.
  std::variant<std::monostate, NodeRef, bool, int64_t, double, std::string, DType, List> value;
};

struct Slice {
  std::optional<int64_t> start, stop, step;
};
struct Ellipsis {};
struct NewAxis {};
using IndexTerm = std::variant<int64_t, Slice, Ellipsis, NewAxis, NodeRef, std::string>;

// The kinds of node, as proto/weft/v1/program.proto describes them. Only those that this engine
// executes exist in memory: the codec refuses the others by name.
struct Trace {
  std::string label;
};
// Outside of Invoke, and PatternTensor outside of Pattern: a nested class with default values
// cannot be made by a variant in the class around it.
struct PromptInput {
  std::vector<std::string> texts;
  bool no_special_tokens = false;
};
struct Invoke {
  using Prompts = PromptInput;
  struct Tokens {
    std::vector<std::vector<int64_t>> rows;
  };
  struct AllRows {};
  std::variant<Prompts, Tokens, AllRows> input;
};
struct Constant {
  HostTensor tensor;
};
struct Read {
  Site site;
};
struct Operator {
  std::string name;  // `aten::mul`
  std::vector<Argument> arguments;
};
struct Index {
  NodeId target = kNoNode;
  std::vector<IndexTerm> terms;
};
struct Structure {
  enum class Kind : uint8_t { kList = 1, kTuple = 2, kDict = 3 };
  Kind kind = Kind::kList;
  std::vector<Argument> items;
};
struct Call {
  std::string module;
  std::vector<Argument> arguments;
};
struct Parameter {
  std::string path;
};
struct Write {
  Site site;
  std::vector<IndexTerm> index;
  NodeId value = kNoNode;
};
struct Assign {
  NodeId target = kNoNode;
  std::vector<IndexTerm> index;
  NodeId value = kNoNode;
};
struct Skip {
  std::string module;
  uint32_t visit = 0;
  NodeId value = kNoNode;
};
struct Save {
  std::string name;
  NodeId value = kNoNode;
};
struct Log {
  NodeId value = kNoNode;
  std::string label;
};
struct Stop {};
/// A region in which gradients of `loss` are read and written.
struct Backward {
  NodeId loss = kNoNode;
  NodeId gradient = kNoNode;  // of the loss; kNoNode: the loss is a scalar, and this is 1
};
/// The gradient of a value, in a backward region.
struct GradRead {
  NodeId value = kNoNode;
};
/// What goes on from `value` backwards is `gradient`.
struct GradWrite {
  NodeId value = kNoNode;
  NodeId gradient = kNoNode;
};

struct SourceLocation {
  std::string file;
  uint32_t line = 0;
};

struct Node {
  NodeId parent = kNoNode;
  std::string name;  // of the value, without '%'; may be empty
  SourceLocation source;
  std::variant<Trace, Invoke, Constant, Read, Operator, Index, Structure, Call, Parameter, Write,
               Assign, Skip, Save, Log, Stop, Backward, GradRead, GradWrite>
      kind;
};

/// A program in memory. Checked by Lint for what concerns the program alone: parents, ids, names,
/// nesting; whether it fits a model is the planner's to say. Const once made.
struct Program {
  std::vector<Node> nodes;

  const Node& at(NodeId id) const { return nodes[id - 1]; }
  /// The id of the invoke around node `id` (or of itself); kNoNode if there is none.
  NodeId InvokeOf(NodeId id) const;
  /// The id of the backward region around node `id`; kNoNode if there is none.
  NodeId BackwardOf(NodeId id) const;
};

/// True if a node of this kind yields a value.
bool YieldsValue(const Node& node);

}  // namespace weft::graph
