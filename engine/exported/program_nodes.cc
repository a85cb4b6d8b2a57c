#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/exported/program_reader.h"
#include "engine/graph/syntax.h"

namespace weft::exported {
namespace {

constexpr char kHigherOrder[] = "torch.ops.higher_order.";

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

/// What to write instead of an operator that calls graphs of its own.
std::string WayOut(const std::string& operation) {
  if (operation == "cond" || operation == "while_loop" || operation == "map_impl" ||
      operation == "scan") {
    return "a hosted program has no control flow that depends on data: write "
           "torch.where(condition, a, b) in forward, or export each branch as a model of its own";
  }
  if (operation == "wrap_with_autocast") {
    return "write forward without torch.autocast, and convert with x.to(dtype) where it did";
  }
  return "write forward without it, or try exported_program.run_decompositions() before "
         "torch.export.save";
}

}  // namespace

void ProgramReader::ReadNodes(const Json& graph) {
  for (const Json& value : json_.List(json_.Get(graph, "nodes"), kMostNodes)) {
    if (!json_.ok()) return;
    Node node = ReadNode(value);
    if (!json_.ok()) return;
    if (absl::StartsWith(node.target, kHigherOrder)) {
      const std::string operation = node.target.substr(sizeof(kHigherOrder) - 1);
      if (operation == "wrap_with_set_grad_enabled") {
        ReadGradRegion(value, node);
      } else {
        Unserved(absl::StrCat("`", Shown(operation), "` is not served; ", WayOut(operation)));
      }
      continue;
    }
    for (const Json& input : json_.List(json_.Get(value, "inputs"), kMostArguments)) {
      node.arguments.push_back(
          {json_.String(json_.Get(input, "name")), ReadArgument(json_.Get(input, "arg"))});
    }
    for (const Json& output : json_.List(json_.Get(value, "outputs"), kMostItems)) {
      node.outputs.push_back(ReadOutput(output));
    }
    AddNode(std::move(node));
  }
}

Node ProgramReader::ReadNode(const Json& value) {
  Node node;
  node.target = json_.String(json_.Get(value, "target"));
  const Json& name = json_.Find(value, "name");
  node.name = name.is_string() ? Shown(json_.String(name)) : Shown(node.target);
  const Json& metadata = json_.Object(json_.Get(value, "metadata"), kMostItems);
  if (metadata.contains("stack_trace")) {
    node.source = SourceOf(json_.String(json_.Find(metadata, "stack_trace")));
  }
  json_.At(absl::StrCat("node ", Named(node)));
  if (node.target.size() > kLongestTarget) json_.Fail("the name of its operator is too long");
  if (metadata.contains("nn_module_stack")) {
    ReadStack(json_.String(json_.Find(metadata, "nn_module_stack")), node);
  }
  return node;
}

void ProgramReader::AddNode(Node node) {
  if (program_.nodes.size() >= kMostNodes) {
    json_.Fail(absl::StrCat("more than ", kMostNodes, " nodes"),
               absl::StatusCode::kResourceExhausted);
  }
  if (json_.ok()) program_.nodes.push_back(std::move(node));
}

void ProgramReader::ReadGradRegion(const Json& value, const Node& about) {
  const Json& inputs = json_.List(json_.Get(value, "inputs"), kMostItems);
  if (inputs.size() < 2) json_.Fail("it has no graph");
  if (!json_.ok()) return;
  const bool enabled = json_.Bool(json_.Get(json_.Get(inputs[0], "arg"), "as_bool"));
  const Json& graph = json_.Get(json_.Get(json_.Get(inputs[1], "arg"), "as_graph"), "graph");
  std::vector<ValueId> given;
  for (size_t i = 2; i < inputs.size(); ++i) {
    const Argument argument = ReadArgument(json_.Get(inputs[i], "arg"));
    const auto* use = std::get_if<Argument::Use>(&argument.value);
    if (use == nullptr) json_.Fail("its graph is given what is no value");
    if (!json_.ok()) return;
    given.push_back(use->value);
  }

  Scope outside = std::move(scope_);
  scope_ = Scope();
  OpenScope(graph);
  const Json& names = json_.List(json_.Get(graph, "inputs"), kMostItems);
  if (json_.ok() && names.size() != given.size()) {
    json_.Fail("its graph takes more or fewer values than it is given");
  }
  for (size_t i = 0; json_.ok() && i < given.size(); ++i) {
    const bool tensor = program_.values[given[i]].tensor;
    const Json& name = json_.Get(names[i], tensor ? "as_tensor" : "as_sym_int");
    Name(json_.String(json_.Get(name, tensor ? "name" : "as_name")), given[i]);
  }
  ReadNodes(graph);
  json_.At(absl::StrCat("node ", Named(about)));
  std::vector<ValueId> made;
  for (const Json& output : json_.List(json_.Get(graph, "outputs"), kMostItems)) {
    made.push_back(Leaf(output));
    if (json_.ok() && made.back() == kNoValue) json_.Fail("its graph gives what is no tensor");
  }
  scope_ = std::move(outside);

  const Json& outputs = json_.List(json_.Get(value, "outputs"), kMostItems);
  if (json_.ok() && outputs.size() != made.size()) {
    json_.Fail("its graph gives more or fewer values than are used");
  }
  for (size_t i = 0; json_.ok() && i < made.size(); ++i) {
    const std::string name = json_.String(json_.Get(json_.Get(outputs[i], "as_tensor"), "name"));
    if (enabled) {
      Name(name, made[i]);
      continue;
    }
    // Gradients end here.
    Node detach = about;
    detach.target = "torch.ops.aten.detach.default";
    detach.arguments = {{"self", {Argument::Use{made[i]}}}};
    detach.outputs = {Output{false, {Define(name, true)}}};
    detach.added = true;
    AddNode(std::move(detach));
  }
}

void ProgramReader::ReadStack(const std::string& text, Node& node) {
  for (const auto& piece : absl::StrSplit(text, ';', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(piece, ',');
    // Places that belong to no module stand there too.
    if (parts.size() < 3 || absl::StartsWith(parts[0], "_empty_nn_module_stack") ||
        (!parts[1].empty() && !graph::IsPath(parts[1]))) {
      continue;
    }
    ModuleUse use;
    use.path = parts[1];
    // Every stack begins with the root.
    if (!use.path.empty() && node.stack.empty()) node.stack.emplace_back();
    if (!CheckPath(use.path)) return;
    if (node.stack.size() > kDeepestModule) {
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

// --- arguments and results
// ------------------------------------------------------------------------

Argument ProgramReader::ReadNumber(const Json& value, const char* constant) {
  const Json& name = json_.Find(value, "as_name");
  if (name.is_string()) return {Argument::Use{Use(json_.String(name))}};
  const Json& number = json_.Get(value, constant);
  if (number.is_boolean()) return {json_.Bool(number)};
  if (number.is_number_integer()) return {json_.Integer(number)};
  return {json_.Number(number)};
}

Argument ProgramReader::ReadTensor(const Json& value) {
  return {Argument::Use{Use(json_.String(json_.Get(value, "name")))}};
}

Argument ProgramReader::ReadOptionalTensor(const Json& value) {
  const Json& tensor = json_.Find(value, "as_tensor");
  return tensor.is_object() ? ReadTensor(tensor) : Argument();
}

Argument ProgramReader::ReadArgument(const Json& argument) {
  if (!json_.ok()) return {};
  if (!argument.is_object() || argument.size() != 1) {
    json_.Fail("an argument is of no one kind");
    return {};
  }
  const std::string kind = argument.begin().key();
  const Json& value = argument.begin().value();
  const auto list_of = [&](bool tensors, const auto& item) -> Argument {
    Argument::List list;
    list.tensors = tensors;
    for (const Json& each : json_.List(value, kMostItems)) list.items.push_back(item(each));
    return {std::move(list)};
  };
  if (kind == "as_none") return {};
  if (kind == "as_tensor") return ReadTensor(value);
  if (kind == "as_tensors") return list_of(true, [&](const Json& t) { return ReadTensor(t); });
  if (kind == "as_optional_tensor") return ReadOptionalTensor(value);
  if (kind == "as_optional_tensors") {
    return list_of(true, [&](const Json& t) { return ReadOptionalTensor(t); });
  }
  if (kind == "as_int") return {json_.Integer(value)};
  if (kind == "as_float") return {json_.Number(value)};
  if (kind == "as_bool") return {json_.Bool(value)};
  if (kind == "as_string") return {json_.String(value)};
  if (kind == "as_sym_int") return ReadNumber(value, "as_int");
  if (kind == "as_sym_float") return ReadNumber(value, "as_float");
  if (kind == "as_sym_bool") return ReadNumber(value, "as_bool");
  if (kind == "as_ints") {
    return list_of(false, [&](const Json& i) { return Argument{json_.Integer(i)}; });
  }
  if (kind == "as_floats") {
    return list_of(false, [&](const Json& i) { return Argument{json_.Number(i)}; });
  }
  if (kind == "as_bools") {
    return list_of(false, [&](const Json& i) { return Argument{json_.Bool(i)}; });
  }
  if (kind == "as_sym_ints") {
    return list_of(false, [&](const Json& i) { return ReadNumber(i, "as_int"); });
  }
  if (kind == "as_sym_floats") {
    return list_of(false, [&](const Json& i) { return ReadNumber(i, "as_float"); });
  }
  if (kind == "as_scalar_type") return {ReadDType(value)};
  if (kind == "as_device") {
    const std::string device = json_.String(json_.Get(value, "type"));
    if (json_.ok() && device != "cpu") {
      Unserved(absl::StrCat("made for the device `", Shown(device), "`; export it on the CPU"));
    }
    return {Argument::Ignored()};
  }
  if (kind == "as_layout") {
    if (json_.Integer(value) != 7) Unserved("a special layout of tensors is not served");
    return {Argument::Ignored()};
  }
  if (kind == "as_memory_format") return {Argument::Ignored()};
  Unserved(absl::StrCat("an argument of kind `", Shown(kind), "` is not served"));
  return {};
}

Output ProgramReader::ReadOutput(const Json& output) {
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
    Unserved(absl::StrCat("a result of kind `", Shown(kind), "` is not served"));
  }
  return made;
}

}  // namespace weft::exported
