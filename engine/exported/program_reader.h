#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/exported/json_reader.h"
#include "engine/exported/program.h"

namespace weft::exported {

/// Bounds on what a stranger's program says.
inline constexpr size_t kMostNodes = 100'000;
inline constexpr size_t kMostValues = 200'000;
inline constexpr size_t kMostModules = 5000;
inline constexpr size_t kMostArguments = 64;
inline constexpr size_t kMostItems = 4096;  // of a list that is an argument
inline constexpr size_t kMostRank = 16;
inline constexpr size_t kDeepestModule = 32;
inline constexpr size_t kLongestPath = 512;
inline constexpr size_t kLongestTarget = 256;

/// By the number in torch's schema.
std::optional<graph::DType> DTypeOf(int64_t number);

/// Reads one `models/NAME.json`. Used once.
class ProgramReader {
 public:
  /// `where`: file and entry, for errors.
  explicit ProgramReader(std::string where) : json_(std::move(where)) {}

  absl::StatusOr<Program> Read(const Json& root);

 private:
  /// The values that a graph can name: its own, and none of the graphs around it.
  struct Scope {
    absl::flat_hash_map<std::string, ValueId> ids;
    const Json* metas = nullptr;
  };

  void ReadVersions(const Json& root);
  void ReadRanges(const Json& root);
  void Unserved(const std::string& message) {
    json_.Fail(message, absl::StatusCode::kUnimplemented);
  }

  // Values.
  void OpenScope(const Json& graph);
  /// Let a name stand for a value.
  void Name(const std::string& name, ValueId id);
  ValueId Define(const std::string& name, bool tensor);
  ValueId Use(const std::string& name);
  graph::DType ReadDType(const Json& value);
  Size ReadSize(const Json& value);
  TensorMeta ReadMeta(const Json& value);

  // What the program takes and gives.
  void ReadInputs(const Json& module, const Json& graph);
  void ReadUserInput(const Json& argument, Input& input);
  void ReadOutputs(const Json& module);
  /// A tensor's id; kNoValue for what is none.
  ValueId Leaf(const Json& argument);

  // Nodes.
  void ReadNodes(const Json& graph);
  Node ReadNode(const Json& value);
  void AddNode(Node node);
  /// A graph within the graph, where `with torch.no_grad()` stood: its nodes become the program's
  /// own, and what it gives is detached.
  void ReadGradRegion(const Json& value, const Node& about);
  void ReadStack(const std::string& text, Node& node);
  Argument ReadArgument(const Json& argument);
  Argument ReadNumber(const Json& value, const char* constant);
  Argument ReadTensor(const Json& value);
  Argument ReadOptionalTensor(const Json& value);
  Output ReadOutput(const Json& output);

  // Modules.
  void ReadModules(const Json& module);
  Signature ReadSignature(const Json& given, bool root);
  /// `[1, {...}]`, as text.
  Structure ReadSpec(const Json& text);
  Structure ReadStructure(const Json& value);
  /// Whether a path can be a module's; a failure otherwise.
  bool CheckPath(const std::string& path);

  JsonReader json_;
  Scope scope_;
  Program program_;
};

}  // namespace weft::exported
