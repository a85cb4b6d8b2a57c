#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exported/archive.h"
#include "engine/graph/value.h"

namespace weft::exported {

// What an archive of torch.export.save says, without its weights: the tables of
// torch/_export/serde/schema.py as far as they are needed. Nothing of it is believed beyond what is
// checked here: every value is made once, before it is used.

/// An index into Program::values.
using ValueId = int;
inline constexpr ValueId kNoValue = -1;

/// A size in a shape: a number, or a symbol for the sizes that the export allows.
struct Size {
  int64_t value = 0;  // of a symbol, that of the example that was exported
  bool dynamic = false;
  std::string symbol;  // `s77`; empty for an expression of symbols
};

struct TensorMeta {
  graph::DType dtype = graph::DType::kF32;
  std::vector<Size> sizes;
};

struct Value {
  std::string name;
  bool tensor = true;  // else a number or truth value that shapes give
  std::optional<TensorMeta> meta;
};

struct Argument;
struct ArgumentUse {
  ValueId value = kNoValue;
};
struct ArgumentList {
  bool tensors = false;
  std::vector<Argument> items;
};
/// An argument of a node. Where a thing lives and how it lies in memory is the host's affair:
/// devices, layouts and memory formats are told apart from `none` and otherwise ignored.
struct Argument {
  struct None {};
  struct Ignored {};
  using Use = ArgumentUse;
  using List = ArgumentList;
  std::variant<None, Use, int64_t, double, bool, std::string, graph::DType, Ignored, List> value;
};

struct NamedArgument {
  std::string name;
  Argument argument;
};

/// One of a node's results: a value, or a list of them. kNoValue for what nobody uses.
struct Output {
  bool list = false;
  std::vector<ValueId> values;
};

/// The call of a module that a node belongs to.
struct ModuleUse {
  std::string path;  // empty for the root
  uint32_t call = 0;
  std::string type;  // `Linear`
};

struct Node {
  std::string name;    // `linear_1`
  std::string target;  // `torch.ops.aten.linear.default`
  std::vector<NamedArgument> arguments;
  std::vector<Output> outputs;
  std::vector<ModuleUse> stack;  // the root's first; empty where the export does not say
  std::string source;            // `net.py:8: x = self.fc1(x)`
  // Of nodes that Functionalise changed or added.
  bool keeps_dtype = false;  // its result has the dtype of its first argument
  bool added = false;        // and is none of the program's own operations
};

/// Where the leaves of a nested Python value lie.
struct Structure {
  enum class Kind : uint8_t { kLeaf, kTuple, kList, kDict, kOther };
  Kind kind = Kind::kLeaf;
  std::string type;               // of kOther
  std::vector<std::string> keys;  // kDict
  std::vector<Structure> items;
};

/// What crosses the boundary of a module, as it was written in Python: of the root, and of modules
/// in `preserve_module_call_signature`.
struct Signature {
  std::vector<ValueId> inputs, outputs;  // leaves in order; kNoValue for what is no tensor
  Structure input, output;
};

struct ModuleEntry {
  std::string path;
  std::optional<Signature> signature;
};

struct Input {
  enum class Kind : uint8_t { kUser, kParameter, kBuffer, kConstant };
  Kind kind = Kind::kUser;
  ValueId value = kNoValue;  // of a user's input that is none or a number, kNoValue
  std::string target;        // `fc1.weight`; of a user's input its name in `forward`
};

/// A weight or constant: where its bytes are, and how the tensor lies in them, in elements.
struct Payload {
  std::string entry;
  graph::DType dtype = graph::DType::kF32;
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
};

struct Range {
  int64_t least = 0;
  int64_t most = 0;
};

struct Program {
  std::vector<Value> values;
  std::vector<Input> inputs;
  std::vector<Node> nodes;
  std::vector<ValueId> outputs;      // leaves in order; kNoValue for none and numbers
  std::vector<ModuleEntry> modules;  // in the order of their definition; the root is the first
  std::vector<std::pair<std::string, Range>> ranges;     // by symbol
  std::vector<std::pair<std::string, Payload>> weights;  // by name: parameters and buffers
  std::vector<std::pair<std::string, Payload>> constants;
  std::string torch_version;
  std::string graph_json;  // what the model is, but for its numbers

  const Payload* FindPayload(const Input& input) const;
  const Range* FindRange(const std::string& symbol) const;
};

/// `linear_1 (net.py:8: x = self.fc1(x))`: how errors name a node.
std::string Named(const Node& node);

/// Read all but the weights. Errors name the file, and the entry or node.
absl::StatusOr<Program> ReadProgram(const Archive& archive);

}  // namespace weft::exported
