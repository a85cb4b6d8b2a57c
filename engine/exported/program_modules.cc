#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/exported/program_reader.h"
#include "engine/graph/syntax.h"

namespace weft::exported {

bool ProgramReader::CheckPath(const std::string& path) {
  if (!path.empty() && !graph::IsPath(path)) {
    Unserved(absl::StrCat("the module `", Shown(path),
                          "` has a name that no path can hold; give it one of letters, digits, "
                          "`_` and `-`"));
  } else if (path.size() > kLongestPath || std::count(path.begin(), path.end(), '.') >=
                                               static_cast<std::ptrdiff_t>(kDeepestModule)) {
    json_.Fail(absl::StrCat("modules nest deeper than ", kDeepestModule));
  }
  return json_.ok();
}

Structure ProgramReader::ReadStructure(const Json& value) {
  Structure made;
  const Json& type = json_.Find(value, "type");
  if (type.is_null()) return made;
  const std::string name = json_.String(type);
  const Json& context = json_.Find(value, "context");
  if (name == "builtins.tuple") {
    made.kind = Structure::Kind::kTuple;
  } else if (name == "builtins.list") {
    made.kind = Structure::Kind::kList;
  } else if (name == "builtins.dict" || name == "collections.OrderedDict") {
    made.kind = Structure::Kind::kDict;
    absl::StatusOr<Json> keys = ParseJson("keys", json_.String(context));
    if (!keys.ok() || !keys->is_array()) {
      json_.Fail("the keys of a dict are no list");
      return made;
    }
    for (const Json& key : *keys) {
      if (!key.is_string()) {
        made.kind = Structure::Kind::kOther;
        made.type = "a dict whose keys are no strings";
        return made;
      }
      made.keys.push_back(Shown(json_.String(key)));
    }
    std::vector<std::string> sorted = made.keys;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
      json_.Fail("a dict has a key twice");
    }
  } else {
    made.kind = Structure::Kind::kOther;
    made.type = Shown(name);
  }
  for (const Json& child : json_.List(json_.Get(value, "children_spec"), kMostItems)) {
    made.items.push_back(ReadStructure(child));
  }
  if (made.kind == Structure::Kind::kDict && json_.ok() && made.keys.size() != made.items.size()) {
    json_.Fail("a dict has more or fewer keys than values");
  }
  return made;
}

Structure ProgramReader::ReadSpec(const Json& text) {
  absl::StatusOr<Json> spec = ParseJson("structure", json_.String(text));
  if (json_.ok() && (!spec.ok() || !spec->is_array() || spec->size() != 2)) {
    json_.Fail("the structure of its values cannot be read");
  }
  return json_.ok() ? ReadStructure((*spec)[1]) : Structure();
}

Signature ProgramReader::ReadSignature(const Json& given, bool root) {
  Signature signature;
  signature.input = ReadSpec(json_.Get(given, "in_spec"));
  signature.output = ReadSpec(json_.Get(given, "out_spec"));
  if (root) {
    for (const Input& input : program_.inputs) {
      if (input.kind == Input::Kind::kUser) signature.inputs.push_back(input.value);
    }
    signature.outputs = program_.outputs;
    return signature;
  }
  for (const Json& leaf : json_.List(json_.Get(given, "inputs"), kMostItems)) {
    signature.inputs.push_back(Leaf(leaf));
  }
  for (const Json& leaf : json_.List(json_.Get(given, "outputs"), kMostItems)) {
    signature.outputs.push_back(Leaf(leaf));
  }
  return signature;
}

void ProgramReader::ReadModules(const Json& module) {
  for (const Json& entry : json_.List(json_.Get(module, "module_call_graph"), kMostModules)) {
    if (!json_.ok()) return;
    ModuleEntry made;
    made.path = json_.String(json_.Get(entry, "fqn"));
    // A later call of a module stands here once more, as `enc@1`.
    if (made.path.find('@') != std::string::npos) continue;
    json_.At(absl::StrCat("module `", Shown(made.path), "`"));
    if (!CheckPath(made.path)) return;
    const Json& given = json_.Find(entry, "signature");
    if (given.is_object()) made.signature = ReadSignature(given, made.path.empty());
    program_.modules.push_back(std::move(made));
  }
  json_.At("");
  if (json_.ok() && (program_.modules.empty() || !program_.modules[0].path.empty() ||
                     !program_.modules[0].signature)) {
    json_.Fail("the root is not the first of its modules");
  }
}

}  // namespace weft::exported
