#include "engine/exported/program.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/exported/json_reader.h"

namespace weft::exported {
namespace {

constexpr uint64_t kMostJsonBytes = uint64_t{64} << 20;
constexpr int64_t kSchemaMajor = 8;
constexpr size_t kMostNodes = 100'000;
constexpr size_t kMostValues = 200'000;
constexpr size_t kMostModules = 5000;
constexpr size_t kMostWeights = 100'000;
constexpr size_t kMostArguments = 64;
constexpr size_t kMostItems = 4096;  // of a list that is an argument
constexpr size_t kMostRank = 16;
constexpr size_t kDeepestModule = 32;
constexpr size_t kLongestPath = 512;

/// By the schema's number.
std::optional<graph::DType> DTypeOf(int64_t number) {
  static const auto* const kTypes = new std::map<int64_t, graph::DType>{
      {1, graph::DType::kU8},    {2, graph::DType::kI8},    {3, graph::DType::kI16},
      {4, graph::DType::kI32},   {5, graph::DType::kI64},   {6, graph::DType::kF16},
      {7, graph::DType::kF32},   {8, graph::DType::kF64},   {10, graph::DType::kC64},
      {11, graph::DType::kC128}, {12, graph::DType::kBool}, {13, graph::DType::kBF16},
  };
  const auto found = kTypes->find(number);
  if (found == kTypes->end()) return std::nullopt;
  return found->second;
}

/// The innermost line of a Python stack trace: `net.py:8: x = self.fc1(x)`.
std::string SourceOf(const std::string& trace) {
  constexpr size_t kMost = 200;
  const std::vector<std::string> lines = absl::StrSplit(trace, '\n');
  std::string source;
  for (size_t i = 0; i < lines.size(); ++i) {
    // File "/home/me/net.py", line 8, in forward
    const size_t quote = lines[i].find("File \"");
    const size_t line = lines[i].find("\", line ");
    if (quote == std::string::npos || line == std::string::npos || line < quote + 6) continue;
    const std::string path = lines[i].substr(quote + 6, line - quote - 6);
    const std::string rest = lines[i].substr(line + 8);
    source = absl::StrCat(path.substr(path.rfind('/') + 1), ":", rest.substr(0, rest.find(',')));
    if (i + 1 < lines.size()) {
      absl::StrAppend(&source, ": ", absl::StripAsciiWhitespace(lines[i + 1]));
    }
  }
  return Shown(source.substr(0, kMost));
}

/// What a stack calls a place that belongs to no module.
bool IsRealModule(const std::string& key, const std::string& path) {
  return !absl::StartsWith(key, "_empty_nn_module_stack") &&
         path.find_first_of("[]'\"() \n") == std::string::npos;
}

class ProgramReader {
 public:
  ProgramReader(const Archive& archive, const std::string& entry)
      : json_(absl::StrCat(archive.path(), ": entry `", entry, "`")) {}

  absl::StatusOr<Program> Read(const Json& root) {
    ReadVersions(root);
    const Json& module = json_.Get(root, "graph_module");
    const Json& graph = json_.Get(module, "graph");
    metas_ = &json_.Object(json_.Get(graph, "tensor_values"), kMostValues);
    const Json& objects = json_.Find(graph, "custom_obj_values");
    if (!objects.is_null() && !json_.Object(objects, kMostValues).empty()) {
      json_.Fail("the program holds custom objects, which are pickled Python and are not read");
    }
    ReadInputs(module, graph);
    ReadNodes(graph);
    ReadOutputs(module);
    ReadModules(module);
    ReadRanges(root);
    if (!json_.ok()) return json_.status();
    return std::move(program_);
  }

 private:
  void ReadVersions(const Json& root) {
    const Json& version = json_.Get(root, "schema_version");
    const int64_t major = json_.Integer(json_.Get(version, "major"));
    if (json_.ok() && major != kSchemaMajor) {
      json_.Fail(absl::StrCat("made in version ", major, " of torch's export format; version ",
                              kSchemaMajor, " is read: export it with torch 2.8 to 2.11"),
                 absl::StatusCode::kUnimplemented);
    }
    const Json& torch = json_.Find(root, "torch_version");
    if (torch.is_string()) program_.torch_version = Shown(json_.String(torch));
  }

  ValueId Define(const std::string& name, bool tensor) {
    const auto id = static_cast<ValueId>(program_.values.size());
    if (!json_.ok()) return id;
    if (name.empty()) json_.Fail("a value without a name");
    if (!ids_.emplace(name, id).second) {
      json_.Fail(absl::StrCat("the value `", Shown(name), "` is made twice"));
    }
    Value value;
    value.name = name;
    value.tensor = tensor;
    if (tensor) {
      const auto found = metas_->find(name);
      if (found != metas_->end()) value.meta = ReadMeta(*found);
    }
    program_.values.push_back(std::move(value));
    if (program_.values.size() > kMostValues) {
      json_.Fail(absl::StrCat("more than ", kMostValues, " values"),
                 absl::StatusCode::kResourceExhausted);
    }
    return id;
  }
  ValueId Use(const std::string& name) {
    const auto found = ids_.find(name);
    if (found != ids_.end()) return found->second;
    json_.Fail(absl::StrCat("`", Shown(name), "` is used, and nothing before it makes it"));
    return kNoValue;
  }

  graph::DType ReadDType(const Json& value) {
    const int64_t number = json_.Integer(value);
    const std::optional<graph::DType> dtype = DTypeOf(number);
    if (json_.ok() && !dtype) {
      json_.Fail(absl::StrCat("dtype ", number, " of the export format is not served"),
                 absl::StatusCode::kUnimplemented);
    }
    return dtype.value_or(graph::DType::kF32);
  }

  Size ReadSize(const Json& value) {
    Size size;
    const Json& number = json_.Find(value, "as_int");
    if (!number.is_null()) {
      size.value = json_.Integer(number);
      return size;
    }
    const Json& expression = json_.Get(value, "as_expr");
    size.dynamic = true;
    const std::string text = json_.String(json_.Get(expression, "expr_str"));
    // Symbol('s77', positive=True, integer=True)
    constexpr absl::string_view kSymbol = "Symbol('";
    if (absl::StartsWith(text, std::string(kSymbol))) {
      size.symbol = text.substr(kSymbol.size(), text.find('\'', kSymbol.size()) - kSymbol.size());
    } else if (!text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") ==
                                    std::string::npos) {
      size.symbol = text;
    }
    const Json& hint = json_.Find(expression, "hint");
    if (hint.is_object()) size.value = json_.Integer(json_.Get(hint, "as_int"));
    return size;
  }

  TensorMeta ReadMeta(const Json& value) {
    TensorMeta meta;
    meta.dtype = ReadDType(json_.Get(value, "dtype"));
    for (const Json& size : json_.List(json_.Get(value, "sizes"), kMostRank)) {
      meta.sizes.push_back(ReadSize(size));
    }
    if (json_.Integer(json_.Get(value, "layout")) != 7) {
      json_.Fail("sparse and other special layouts of tensors are not served",
                 absl::StatusCode::kUnimplemented);
    }
    return meta;
  }

  // --- inputs and outputs -----------------------------------------------------------------------

  /// What `forward` calls its arguments, where that is known.
  std::vector<std::string> NamesOfArguments(const Json& module) {
    std::vector<std::string> names;
    const Json& calls = json_.List(json_.Get(module, "module_call_graph"), kMostModules);
    if (calls.empty()) return names;
    const Json& signature = json_.Find(calls[0], "signature");
    if (!signature.is_object()) return names;
    const Json& given = json_.Find(signature, "forward_arg_names");
    if (!given.is_array()) return names;
    for (const Json& name : json_.List(given, kMostItems)) names.push_back(json_.String(name));
    return names;
  }

  void ReadInputs(const Json& module, const Json& graph) {
    json_.At("the inputs");
    const Json& signature = json_.Get(module, "signature");
    const Json& specs = json_.List(json_.Get(signature, "input_specs"), kMostValues);
    const size_t arguments = json_.List(json_.Get(graph, "inputs"), kMostValues).size();
    if (json_.ok() && arguments != specs.size()) json_.Fail("more or fewer than their signature");
    const std::vector<std::string> names = NamesOfArguments(module);
    size_t user = 0;
    for (const Json& spec : specs) {
      if (!json_.ok()) return;
      if (!spec.is_object() || spec.size() != 1) {
        json_.Fail("an input is of no one kind");
        return;
      }
      const std::string kind = spec.begin().key();
      const Json& about = spec.begin().value();
      Input input;
      if (kind == "user_input" || kind == "constant_input") {
        input.kind = Input::Kind::kUser;
        const Json& argument = kind == "user_input" ? json_.Get(about, "arg") : about;
        const Json& tensor = json_.Find(argument, "as_tensor");
        if (kind == "user_input" && tensor.is_object()) {
          const std::string name = json_.String(json_.Get(tensor, "name"));
          input.value = Define(name, true);
          input.target = name;
        } else if (kind == "user_input" && !json_.Find(argument, "as_none").is_boolean()) {
          const Json& number = json_.Find(argument, "as_sym_int");
          if (!number.is_null()) {
            json_.Fail("the program takes a number that it computes with; export it as a constant",
                       absl::StatusCode::kUnimplemented);
          }
        }
        if (user < names.size()) input.target = Shown(names[user]);
        ++user;
      } else if (kind == "parameter" || kind == "buffer" || kind == "tensor_constant") {
        input.kind = kind == "parameter" ? Input::Kind::kParameter
                     : kind == "buffer"  ? Input::Kind::kBuffer
                                         : Input::Kind::kConstant;
        input.value = Define(json_.String(json_.Get(json_.Get(about, "arg"), "name")), true);
        const std::string field = absl::StrCat(kind, "_name");
        input.target = json_.String(json_.Get(about, field.c_str()));
        if (json_.ok() && input.target.size() > kLongestPath) json_.Fail("a name is too long");
      } else if (kind == "custom_obj") {
        json_.Fail("the program holds a custom object, which is pickled Python and is not read");
      } else {
        json_.Fail(absl::StrCat("an input of kind `", Shown(kind), "` is not served"),
                   absl::StatusCode::kUnimplemented);
      }
      program_.inputs.push_back(std::move(input));
    }
  }

  void ReadOutputs(const Json& module) {
    json_.At("the outputs");
    const Json& signature = json_.Get(module, "signature");
    for (const Json& spec : json_.List(json_.Get(signature, "output_specs"), kMostItems)) {
      if (!json_.ok()) return;
      if (!spec.is_object() || spec.size() != 1) {
        json_.Fail("an output is of no one kind");
        return;
      }
      const std::string kind = spec.begin().key();
      if (kind == "buffer_mutation" || kind == "user_input_mutation" ||
          kind == "parameter_mutation") {
        const Json& about = spec.begin().value();
        const std::string field =
            absl::StrCat(kind.substr(0, kind.size() - std::string("_mutation").size()), "_name");
        json_.Fail(absl::StrCat("the program changes `",
                                Shown(json_.String(json_.Get(about, field.c_str()))),
                                "` at every call; a hosted model stays as it is: export it after "
                                "model.eval(), and without such state"),
                   absl::StatusCode::kUnimplemented);
        return;
      }
      if (kind != "user_output") {
        json_.Fail(absl::StrCat("an output of kind `", Shown(kind),
                                "` is not served; export a "
                                "program for inference"),
                   absl::StatusCode::kUnimplemented);
        return;
      }
      program_.outputs.push_back(Leaf(json_.Get(spec.begin().value(), "arg")));
    }
  }

  /// A tensor's id; kNoValue for what is none.
  ValueId Leaf(const Json& argument) {
    const Json& tensor = json_.Find(argument, "as_tensor");
    if (!tensor.is_object()) return kNoValue;
    return Use(json_.String(json_.Get(tensor, "name")));
  }

  // --- nodes ------------------------------------------------------------------------------------

  void ReadNodes(const Json& graph) {
    for (const Json& value : json_.List(json_.Get(graph, "nodes"), kMostNodes)) {
      if (!json_.ok()) return;
      Node node;
      node.target = json_.String(json_.Get(value, "target"));
      const Json& name = json_.Find(value, "name");
      node.name = name.is_string() ? Shown(json_.String(name)) : Shown(node.target);
      const Json& metadata = json_.Object(json_.Get(value, "metadata"), kMostItems);
      if (metadata.contains("stack_trace")) {
        node.source = SourceOf(json_.String(json_.Find(metadata, "stack_trace")));
      }
      json_.At(absl::StrCat("node ", Named(node)));
      if (metadata.contains("nn_module_stack")) {
        ReadStack(json_.String(json_.Find(metadata, "nn_module_stack")), node);
      }
      for (const Json& input : json_.List(json_.Get(value, "inputs"), kMostArguments)) {
        node.arguments.push_back(
            {json_.String(json_.Get(input, "name")), ReadArgument(json_.Get(input, "arg"))});
      }
      for (const Json& output : json_.List(json_.Get(value, "outputs"), kMostItems)) {
        node.outputs.push_back(ReadOutput(output));
      }
      program_.nodes.push_back(std::move(node));
    }
    json_.At("");
  }

  void ReadStack(const std::string& text, Node& node) {
    for (const auto& piece : absl::StrSplit(text, ';', absl::SkipEmpty())) {
      const std::vector<std::string> parts = absl::StrSplit(piece, ',');
      if (parts.size() < 3 || !IsRealModule(parts[0], parts[1])) continue;
      ModuleUse use;
      use.path = parts[1];
      // Every stack begins with the root.
      if (!use.path.empty() && node.stack.empty()) node.stack.emplace_back();
      const std::vector<std::string> names = absl::StrSplit(use.path, '.');
      if (use.path.size() > kLongestPath || names.size() > kDeepestModule ||
          node.stack.size() > kDeepestModule) {
        json_.Fail(absl::StrCat("modules nest deeper than ", kDeepestModule));
        return;
      }
      const size_t at = parts[0].rfind('@');
      uint32_t call = 0;
      if (at != std::string::npos && absl::SimpleAtoi(parts[0].substr(at + 1), &call)) {
        use.call = call;
      }
      use.type = Shown(parts[2].substr(parts[2].rfind('.') + 1));
      node.stack.push_back(std::move(use));
    }
  }

  Argument Number(const Json& value, const char* constant) {
    const Json& name = json_.Find(value, "as_name");
    if (name.is_string()) return {Argument::Use{Use(json_.String(name))}};
    const Json& number = json_.Get(value, constant);
    if (number.is_boolean()) return {json_.Bool(number)};
    if (number.is_number_integer()) return {json_.Integer(number)};
    return {json_.Number(number)};
  }

  Argument Tensor(const Json& value) {
    return {Argument::Use{Use(json_.String(json_.Get(value, "name")))}};
  }

  template <typename Item>
  Argument ListOf(const Json& value, bool tensors, const Item& item) {
    Argument::List list;
    list.tensors = tensors;
    for (const Json& each : json_.List(value, kMostItems)) list.items.push_back(item(each));
    return {std::move(list)};
  }

  Argument ReadArgument(const Json& argument) {
    if (!json_.ok()) return {};
    if (!argument.is_object() || argument.size() != 1) {
      json_.Fail("an argument is of no one kind");
      return {};
    }
    const std::string kind = argument.begin().key();
    const Json& value = argument.begin().value();
    if (kind == "as_none") return {};
    if (kind == "as_tensor") return Tensor(value);
    if (kind == "as_tensors") {
      return ListOf(value, true, [this](const Json& item) { return Tensor(item); });
    }
    if (kind == "as_optional_tensor") {
      const Json& tensor = json_.Find(value, "as_tensor");
      return tensor.is_object() ? Tensor(tensor) : Argument();
    }
    if (kind == "as_optional_tensors") {
      return ListOf(value, true, [this](const Json& item) {
        const Json& tensor = json_.Find(item, "as_tensor");
        return tensor.is_object() ? Tensor(tensor) : Argument();
      });
    }
    if (kind == "as_int") return {json_.Integer(value)};
    if (kind == "as_float") return {json_.Number(value)};
    if (kind == "as_bool") return {json_.Bool(value)};
    if (kind == "as_string") return {json_.String(value)};
    if (kind == "as_sym_int") return Number(value, "as_int");
    if (kind == "as_sym_float") return Number(value, "as_float");
    if (kind == "as_sym_bool") return Number(value, "as_bool");
    if (kind == "as_ints") {
      return ListOf(value, false, [this](const Json& i) { return Argument{json_.Integer(i)}; });
    }
    if (kind == "as_floats") {
      return ListOf(value, false, [this](const Json& i) { return Argument{json_.Number(i)}; });
    }
    if (kind == "as_bools") {
      return ListOf(value, false, [this](const Json& i) { return Argument{json_.Bool(i)}; });
    }
    if (kind == "as_sym_ints") {
      return ListOf(value, false, [this](const Json& i) { return Number(i, "as_int"); });
    }
    if (kind == "as_sym_floats") {
      return ListOf(value, false, [this](const Json& i) { return Number(i, "as_float"); });
    }
    if (kind == "as_scalar_type") return {ReadDType(value)};
    if (kind == "as_device") {
      const std::string device = json_.String(json_.Get(value, "type"));
      if (json_.ok() && device != "cpu") {
        json_.Fail(absl::StrCat("made for the device `", Shown(device), "`; export it on the CPU"),
                   absl::StatusCode::kUnimplemented);
      }
      return {Argument::Ignored()};
    }
    if (kind == "as_layout" || kind == "as_memory_format") return {Argument::Ignored()};
    json_.Fail(absl::StrCat("an argument of kind `", Shown(kind), "` is not served",
                            kind == "as_graph" ? "; write forward without torch.no_grad(), "
                                                 "autocast and torch.cond"
                                               : ""),
               absl::StatusCode::kUnimplemented);
    return {};
  }

  Output ReadOutput(const Json& output) {
    Output made;
    if (!json_.ok()) return made;
    if (!output.is_object() || output.size() != 1) {
      json_.Fail("a result is of no one kind");
      return made;
    }
    const std::string kind = output.begin().key();
    const Json& value = output.begin().value();
    if (kind == "as_tensor") {
      made.values = {Define(json_.String(json_.Get(value, "name")), true)};
    } else if (kind == "as_tensors") {
      made.list = true;
      for (const Json& item : json_.List(value, kMostItems)) {
        made.values.push_back(Define(json_.String(json_.Get(item, "name")), true));
      }
    } else if (kind == "as_sym_int" || kind == "as_sym_bool" || kind == "as_sym_float") {
      made.values = {Define(json_.String(json_.Get(value, "as_name")), false)};
    } else if (kind == "as_none") {
      made.values = {kNoValue};
    } else {
      json_.Fail(absl::StrCat("a result of kind `", Shown(kind), "` is not served"),
                 absl::StatusCode::kUnimplemented);
    }
    return made;
  }

  // --- modules ----------------------------------------------------------------------------------

  Structure ReadStructure(const Json& value) {
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
    } else {
      made.kind = Structure::Kind::kOther;
      made.type = Shown(name);
    }
    for (const Json& child : json_.List(json_.Get(value, "children_spec"), kMostItems)) {
      made.items.push_back(ReadStructure(child));
    }
    if (made.kind == Structure::Kind::kDict && json_.ok() &&
        made.keys.size() != made.items.size()) {
      json_.Fail("a dict has more or fewer keys than values");
    }
    return made;
  }

  /// `[1, {...}]`, as text.
  Structure ReadSpec(const Json& text) {
    absl::StatusOr<Json> spec = ParseJson("structure", json_.String(text));
    if (json_.ok() && (!spec.ok() || !spec->is_array() || spec->size() != 2)) {
      json_.Fail("the structure of its values cannot be read");
    }
    return json_.ok() ? ReadStructure((*spec)[1]) : Structure();
  }

  void ReadModules(const Json& module) {
    for (const Json& entry : json_.List(json_.Get(module, "module_call_graph"), kMostModules)) {
      if (!json_.ok()) return;
      ModuleEntry made;
      made.path = json_.String(json_.Get(entry, "fqn"));
      // A later call of a module stands here once more, as `enc@1`.
      if (made.path.find('@') != std::string::npos) continue;
      json_.At(absl::StrCat("module `", Shown(made.path), "`"));
      const std::vector<std::string> names = absl::StrSplit(made.path, '.');
      if (made.path.size() > kLongestPath || names.size() > kDeepestModule) {
        json_.Fail(absl::StrCat("modules nest deeper than ", kDeepestModule));
      }
      const Json& given = json_.Find(entry, "signature");
      if (given.is_object()) {
        Signature signature;
        signature.input = ReadSpec(json_.Get(given, "in_spec"));
        signature.output = ReadSpec(json_.Get(given, "out_spec"));
        if (made.path.empty()) {
          for (const Input& input : program_.inputs) {
            if (input.kind == Input::Kind::kUser) signature.inputs.push_back(input.value);
          }
          signature.outputs = program_.outputs;
        } else {
          for (const Json& leaf : json_.List(json_.Get(given, "inputs"), kMostItems)) {
            signature.inputs.push_back(Leaf(leaf));
          }
          for (const Json& leaf : json_.List(json_.Get(given, "outputs"), kMostItems)) {
            signature.outputs.push_back(Leaf(leaf));
          }
        }
        made.signature = std::move(signature);
      }
      program_.modules.push_back(std::move(made));
    }
    json_.At("");
    if (json_.ok() && (program_.modules.empty() || !program_.modules[0].path.empty() ||
                       !program_.modules[0].signature)) {
      json_.Fail("the root is not the first of its modules");
    }
  }

  void ReadRanges(const Json& root) {
    json_.At("the ranges of dynamic sizes");
    const Json& ranges = json_.Object(json_.Get(root, "range_constraints"), kMostValues);
    for (auto it = ranges.begin(); json_.ok() && it != ranges.end(); ++it) {
      Range range{0, std::numeric_limits<int64_t>::max()};
      const Json &least = json_.Find(it.value(), "min_val"),
                 &most = json_.Find(it.value(), "max_val");
      if (least.is_number_integer()) range.least = json_.Integer(least);
      if (most.is_number_integer()) range.most = json_.Integer(most);
      program_.ranges.emplace_back(it.key(), range);
    }
  }

  JsonReader json_;
  const Json* metas_ = nullptr;
  absl::flat_hash_map<std::string, ValueId> ids_;
  Program program_;
};

/// `data/weights/model_weights_config.json`, or that of constants.
absl::StatusOr<std::vector<std::pair<std::string, Payload>>> ReadPayloads(
    const Archive& archive, const std::string& folder, const std::string& entry) {
  std::vector<std::pair<std::string, Payload>> payloads;
  if (!archive.Has(entry)) return payloads;
  absl::StatusOr<std::string> text = archive.Read(entry, kMostJsonBytes);
  if (!text.ok()) return text.status();
  const std::string where = absl::StrCat(archive.path(), ": entry `", entry, "`");
  absl::StatusOr<Json> root = ParseJson(where, *text);
  if (!root.ok()) return root.status();
  JsonReader json(where);
  const Json& config = json.Object(json.Get(*root, "config"), kMostWeights);
  for (auto it = config.begin(); json.ok() && it != config.end(); ++it) {
    json.At(absl::StrCat("`", Shown(it.key()), "`"));
    const Json& about = it.value();
    if (json.Bool(json.Get(about, "use_pickle")) || json.Find(about, "tensor_meta").is_null()) {
      json.Fail(
          "it is pickled Python, which is not read; export a program whose weights are plain "
          "tensors");
      break;
    }
    Payload payload;
    payload.entry = absl::StrCat(folder, json.String(json.Get(about, "path_name")));
    const Json& meta = json.Get(about, "tensor_meta");
    const int64_t number = json.Integer(json.Get(meta, "dtype"));
    const std::optional<graph::DType> dtype = DTypeOf(number);
    if (json.ok() && !dtype) json.Fail(absl::StrCat("dtype ", number, " is not served"));
    payload.dtype = dtype.value_or(graph::DType::kF32);
    const auto integer = [&](const Json& size) { return json.Integer(json.Get(size, "as_int")); };
    for (const Json& size : json.List(json.Get(meta, "sizes"), kMostRank)) {
      payload.sizes.push_back(integer(size));
    }
    for (const Json& stride : json.List(json.Get(meta, "strides"), kMostRank)) {
      payload.strides.push_back(integer(stride));
    }
    payload.offset = integer(json.Get(meta, "storage_offset"));
    if (json.ok() && json.Integer(json.Get(meta, "layout")) != 7) {
      json.Fail("a special layout, which is not served");
    }
    payloads.emplace_back(it.key(), std::move(payload));
  }
  if (!json.ok()) return json.status();
  return payloads;
}

}  // namespace

std::string Named(const Node& node) {
  return absl::StrCat("`", node.name, "`",
                      node.source.empty() ? "" : absl::StrCat(" (", node.source, ")"));
}

const Payload* Program::FindPayload(const Input& input) const {
  for (const auto* list : {&weights, &constants}) {
    const auto found = std::lower_bound(
        list->begin(), list->end(), input.target,
        [](const auto& entry, const std::string& name) { return entry.first < name; });
    if (found != list->end() && found->first == input.target) return &found->second;
  }
  return nullptr;
}

const Range* Program::FindRange(const std::string& symbol) const {
  for (const auto& [name, range] : ranges) {
    if (name == symbol) return &range;
  }
  return nullptr;
}

absl::StatusOr<Program> ReadProgram(const Archive& archive) {
  if (archive.Has("serialized_exported_program.json")) {
    return absl::UnimplementedError(absl::StrCat(
        archive.path(), ": made by a torch before 2.8; export it again with 2.8 or later"));
  }
  std::vector<std::string> models;
  for (const std::string& name : archive.Names()) {
    if (absl::StartsWith(name, "models/") && absl::EndsWith(name, ".json")) models.push_back(name);
  }
  if (models.size() != 1) {
    return archive.Refuse(absl::StrCat(models.empty() ? "no program" : "several programs",
                                       " in `models/`; make it with torch.export.save"));
  }
  if (archive.Has("byteorder")) {
    absl::StatusOr<std::string> order = archive.Read("byteorder", 64);
    if (!order.ok()) return order.status();
    if (absl::StripAsciiWhitespace(*order) != "little") {
      return archive.Refuse("its numbers are not little-endian");
    }
  }
  absl::StatusOr<std::string> text = archive.Read(models[0], kMostJsonBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> root =
      ParseJson(absl::StrCat(archive.path(), ": entry `", models[0], "`"), *text);
  if (!root.ok()) return root.status();
  absl::StatusOr<Program> program = ProgramReader(archive, models[0]).Read(*root);
  if (!program.ok()) return program;
  const std::string name = models[0].substr(7, models[0].size() - 12);
  auto weights = ReadPayloads(archive, "data/weights/",
                              absl::StrCat("data/weights/", name, "_weights_config.json"));
  if (!weights.ok()) return weights.status();
  auto constants = ReadPayloads(archive, "data/constants/",
                                absl::StrCat("data/constants/", name, "_constants_config.json"));
  if (!constants.ok()) return constants.status();
  program->weights = *std::move(weights);
  program->constants = *std::move(constants);
  program->graph_json = *std::move(text);
  return program;
}

}  // namespace weft::exported
