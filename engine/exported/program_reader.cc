#include "engine/exported/program_reader.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace weft::exported {
namespace {

constexpr int64_t kSchemaMajor = 8;
constexpr int64_t kStrided = 7;  // of torch's layouts

}  // namespace

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

absl::StatusOr<Program> ProgramReader::Read(const Json& root) {
  ReadVersions(root);
  const Json& module = json_.Get(root, "graph_module");
  const Json& graph = json_.Get(module, "graph");
  OpenScope(graph);
  ReadInputs(module, graph);
  ReadNodes(graph);
  json_.At("");
  ReadOutputs(module);
  ReadModules(module);
  ReadRanges(root);
  if (!json_.ok()) return json_.status();
  return std::move(program_);
}

void ProgramReader::ReadVersions(const Json& root) {
  const Json& version = json_.Get(root, "schema_version");
  const int64_t major = json_.Integer(json_.Get(version, "major"));
  if (json_.ok() && major != kSchemaMajor) {
    Unserved(absl::StrCat("made in version ", major, " of torch's export format; version ",
                          kSchemaMajor, " is read: export it with torch 2.8 to 2.11"));
  }
  const Json& torch = json_.Find(root, "torch_version");
  if (torch.is_string()) program_.torch_version = Shown(json_.String(torch));
}

void ProgramReader::ReadRanges(const Json& root) {
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

// --- values
// ---------------------------------------------------------------------------------------

void ProgramReader::OpenScope(const Json& graph) {
  scope_.ids.clear();
  scope_.metas = &json_.Object(json_.Get(graph, "tensor_values"), kMostValues);
  const Json& objects = json_.Find(graph, "custom_obj_values");
  if (!objects.is_null() && !json_.Object(objects, kMostValues).empty()) {
    json_.Fail("the program holds custom objects, which are pickled Python and are not read");
  }
}

void ProgramReader::Name(const std::string& name, ValueId id) {
  if (!json_.ok()) return;
  if (name.empty()) json_.Fail("a value without a name");
  if (!scope_.ids.emplace(name, id).second) {
    json_.Fail(absl::StrCat("the value `", Shown(name), "` is made twice"));
  }
}

ValueId ProgramReader::Define(const std::string& name, bool tensor) {
  const auto id = static_cast<ValueId>(program_.values.size());
  Name(name, id);
  if (!json_.ok()) return id;
  Value value;
  value.name = name;
  value.tensor = tensor;
  if (tensor) {
    const auto found = scope_.metas->find(name);
    if (found != scope_.metas->end()) value.meta = ReadMeta(*found);
  }
  program_.values.push_back(std::move(value));
  if (program_.values.size() > kMostValues) {
    json_.Fail(absl::StrCat("more than ", kMostValues, " values"),
               absl::StatusCode::kResourceExhausted);
  }
  return id;
}

ValueId ProgramReader::Use(const std::string& name) {
  const auto found = scope_.ids.find(name);
  if (found != scope_.ids.end()) return found->second;
  json_.Fail(absl::StrCat("`", Shown(name), "` is used, and nothing before it makes it"));
  return kNoValue;
}

graph::DType ProgramReader::ReadDType(const Json& value) {
  const int64_t number = json_.Integer(value);
  const std::optional<graph::DType> dtype = DTypeOf(number);
  if (json_.ok() && !dtype) {
    Unserved(absl::StrCat("dtype ", number, " of the export format is not served"));
  }
  return dtype.value_or(graph::DType::kF32);
}

Size ProgramReader::ReadSize(const Json& value) {
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
  } else if (!text.empty() &&
             text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos) {
    size.symbol = text;
  }
  const Json& hint = json_.Find(expression, "hint");
  if (hint.is_object()) size.value = json_.Integer(json_.Get(hint, "as_int"));
  return size;
}

TensorMeta ProgramReader::ReadMeta(const Json& value) {
  TensorMeta meta;
  meta.dtype = ReadDType(json_.Get(value, "dtype"));
  for (const Json& size : json_.List(json_.Get(value, "sizes"), kMostRank)) {
    meta.sizes.push_back(ReadSize(size));
  }
  if (json_.Integer(json_.Get(value, "layout")) != kStrided) {
    Unserved("sparse and other special layouts of tensors are not served");
  }
  return meta;
}

// --- inputs and outputs
// ---------------------------------------------------------------------------

void ProgramReader::ReadInputs(const Json& module, const Json& graph) {
  json_.At("the inputs");
  const Json& signature = json_.Get(module, "signature");
  const Json& specs = json_.List(json_.Get(signature, "input_specs"), kMostValues);
  const size_t arguments = json_.List(json_.Get(graph, "inputs"), kMostValues).size();
  if (json_.ok() && arguments != specs.size()) json_.Fail("more or fewer than their signature");
  for (const Json& spec : specs) {
    if (!json_.ok()) return;
    if (!spec.is_object() || spec.size() != 1) {
      json_.Fail("an input is of no one kind");
      return;
    }
    const std::string kind = spec.begin().key();
    const Json& about = spec.begin().value();
    Input input;
    if (kind == "user_input") {
      ReadUserInput(json_.Get(about, "arg"), input);
    } else if (kind == "constant_input") {
      // What it was exported with is in the graph.
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
      Unserved(absl::StrCat("an input of kind `", Shown(kind), "` is not served"));
    }
    program_.inputs.push_back(std::move(input));
  }
}

void ProgramReader::ReadUserInput(const Json& argument, Input& input) {
  input.kind = Input::Kind::kUser;
  const Json& tensor = json_.Find(argument, "as_tensor");
  if (tensor.is_object()) {
    // Of `forward(x, pair)` the tensors are `x`, `pair_0` and `pair_1`.
    input.target = json_.String(json_.Get(tensor, "name"));
    input.value = Define(input.target, true);
    return;
  }
  for (const char* number : {"as_sym_int", "as_sym_float", "as_sym_bool"}) {
    if (json_.Find(argument, number).is_null()) continue;
    Unserved("the program takes a number that it computes with; export it as a constant");
  }
}

void ProgramReader::ReadOutputs(const Json& module) {
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
      Unserved(absl::StrCat("the program changes `",
                            Shown(json_.String(json_.Get(about, field.c_str()))),
                            "` at every call; a hosted model stays as it is: export it after "
                            "model.eval(), and without such state"));
      return;
    }
    if (kind != "user_output") {
      Unserved(absl::StrCat("an output of kind `", Shown(kind),
                            "` is not served; export a program for inference"));
      return;
    }
    program_.outputs.push_back(Leaf(json_.Get(spec.begin().value(), "arg")));
  }
}

ValueId ProgramReader::Leaf(const Json& argument) {
  const Json& tensor = json_.Find(argument, "as_tensor");
  if (!tensor.is_object()) return kNoValue;
  return Use(json_.String(json_.Get(tensor, "name")));
}

}  // namespace weft::exported
