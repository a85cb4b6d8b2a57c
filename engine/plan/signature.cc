#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "engine/plan/planner.h"

namespace weft::plan {
namespace {

/// Appends what a plan depends on to a key. Every part is fixed-size or preceded by its length, so
/// two programs share a key only if they share the parts.
class Appender {
 public:
  explicit Appender(std::string* out) : out_(*out) {}

  void Add(const graph::Node& node) {
    Byte(static_cast<uint8_t>(node.kind.index()));
    Number(node.parent);
    std::visit([this](const auto& kind) { Kind(kind); }, node.kind);
  }

 private:
  void Byte(uint8_t byte) { out_.push_back(static_cast<char>(byte)); }
  void Number(uint64_t number) {
    char bytes[sizeof(number)];
    std::memcpy(bytes, &number, sizeof(number));
    out_.append(bytes, sizeof(number));
  }
  void Text(const std::string& text) {
    Number(text.size());
    out_.append(text);
  }
  void Site(const graph::Site& site) {
    Text(site.module);
    Byte(static_cast<uint8_t>(site.point));
    Number(site.visit);
    Text(site.op);
    Number(site.parameters.size());
    for (const graph::PathParameter& parameter : site.parameters) {
      Number(parameter.component);
      Use(parameter.use);
    }
  }
  void Use(const graph::SweepUse& use) {
    Number(use.sweep);
    Number(use.parameter);
  }
  void Float(double number) {
    uint64_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    Number(bits);
  }
  void Integers(const std::vector<int64_t>& numbers) {
    Number(numbers.size());
    for (int64_t number : numbers) Number(static_cast<uint64_t>(number));
  }
  void Texts(const std::vector<std::string>& texts) {
    Number(texts.size());
    for (const std::string& text : texts) Text(text);
  }
  void Nodes(const std::vector<graph::NodeId>& nodes) {
    Number(nodes.size());
    for (graph::NodeId node : nodes) Number(node);
  }
  void MaybeDType(const std::optional<graph::DType>& dtype) {
    Byte(dtype ? static_cast<uint8_t>(*dtype) : 0);
  }

  void Value(const graph::Argument& argument, bool top) {
    Text(argument.name);
    Byte(static_cast<uint8_t>(argument.value.index()));
    if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) Number(ref->id);
    if (const auto* flag = std::get_if<bool>(&argument.value)) Byte(*flag ? 1 : 0);
    if (const auto* number = std::get_if<int64_t>(&argument.value)) {
      Number(static_cast<uint64_t>(*number));
    }
    // The value of a float of its own is not part of the key: the plan reads it from the program.
    if (const auto* number = std::get_if<double>(&argument.value); number != nullptr && !top) {
      Float(*number);
    }
    if (const auto* text = std::get_if<std::string>(&argument.value)) Text(*text);
    if (const auto* dtype = std::get_if<graph::DType>(&argument.value)) {
      Byte(static_cast<uint8_t>(*dtype));
    }
    if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
      Values(*list, false);
    }
    if (const auto* use = std::get_if<graph::SweepUse>(&argument.value)) Use(*use);
  }
  void Values(const std::vector<graph::Argument>& values, bool top) {
    Number(values.size());
    for (const graph::Argument& value : values) Value(value, top);
  }

  void Bound(const std::optional<int64_t>& bound) {
    Byte(bound.has_value() ? 1 : 0);
    if (bound) Number(static_cast<uint64_t>(*bound));
  }
  void Slice(const graph::Slice& slice) {
    Bound(slice.start);
    Bound(slice.stop);
    Bound(slice.step);
    for (const auto& use : {slice.start_parameter, slice.stop_parameter}) {
      Byte(use ? 1 : 0);
      if (use) Use(*use);
    }
  }
  void Terms(const std::vector<graph::IndexTerm>& terms) {
    Number(terms.size());
    for (const graph::IndexTerm& term : terms) {
      Byte(static_cast<uint8_t>(term.index()));
      if (const auto* index = std::get_if<int64_t>(&term)) Number(static_cast<uint64_t>(*index));
      if (const auto* slice = std::get_if<graph::Slice>(&term)) Slice(*slice);
      if (const auto* use = std::get_if<graph::SweepUse>(&term)) Use(*use);
      if (const auto* ref = std::get_if<graph::NodeRef>(&term)) Number(ref->id);
      if (const auto* key = std::get_if<std::string>(&term)) Text(*key);
    }
  }

  void Kind(const graph::Trace& trace) {
    Text(trace.root);
    Byte(trace.tuple_outputs ? 1 : 0);
    Byte(trace.generate ? 1 : 0);
    if (!trace.generate) return;
    // How tokens are chosen is no part of a plan: the run reads it from the program. What a beam
    // search returns is the shape of its result.
    Number(trace.generate->max_new_tokens);
    Byte(trace.generate->Searches() ? 1 : 0);
    if (!trace.generate->Searches()) return;
    Number(trace.generate->num_beams);
    Number(trace.generate->Returned());
  }
  void Kind(const graph::Sweep& sweep) {
    Number(sweep.parameters.size());
    for (const graph::SweepParameter& parameter : sweep.parameters) {
      Byte(static_cast<uint8_t>(parameter.values.index()));
      std::visit([this](const auto& values) { Swept(values); }, parameter.values);
    }
  }
  void Swept(const std::vector<int64_t>& values) { Integers(values); }
  void Swept(const std::vector<double>& values) {
    Number(values.size());
    for (double value : values) Float(value);
  }
  void Swept(const std::vector<std::string>& values) { Texts(values); }
  /// Prompts alone, which are not part of a plan.
  void Swept(const std::vector<std::vector<int64_t>>& rows) { Number(rows.size()); }
  void Swept(const std::vector<graph::NodeRef>& values) {
    Number(values.size());
    for (graph::NodeRef value : values) Number(value.id);
  }
  void Kind(const graph::Stop&) {}
  /// What is read there is not part of a plan: prompts, tokens and chats are the same.
  void Kind(const graph::Invoke& invoke) {
    if (const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input)) {
      Byte(2);
      Number(tensors->inputs.size());
      for (const graph::NamedInput& input : tensors->inputs) {
        Text(input.name);
        Number(input.node);
      }
      return;
    }
    if (const auto* swept = std::get_if<graph::SweptPrompt>(&invoke.input)) {
      Byte(3);
      Use(swept->use);
      return;
    }
    Byte(std::holds_alternative<graph::Invoke::AllRows>(invoke.input) ? 1 : 0);
  }
  void Kind(const graph::Constant& constant) {
    Byte(static_cast<uint8_t>(constant.plain.index()));
    if (const auto* flag = std::get_if<bool>(&constant.plain)) Byte(*flag ? 1 : 0);
    if (const auto* number = std::get_if<int64_t>(&constant.plain)) {
      Number(static_cast<uint64_t>(*number));
    }
    if (const auto* number = std::get_if<double>(&constant.plain)) Float(*number);
    if (const auto* text = std::get_if<std::string>(&constant.plain)) Text(*text);
    Byte(static_cast<uint8_t>(constant.tensor.dtype));
    Integers(constant.tensor.shape);
    Byte(constant.blob.empty() ? 0 : 1);
  }
  void Kind(const graph::Read& read) { Site(read.site); }
  void Kind(const graph::Operator& op) {
    Text(op.name);
    // No operator of the table makes a shape from a float (arange refuses them).
    Values(op.arguments, true);
  }
  void Kind(const graph::Index& index) {
    Number(index.target);
    Terms(index.terms);
  }
  void Kind(const graph::Structure& structure) {
    Byte(static_cast<uint8_t>(structure.kind));
    Values(structure.items, false);
  }
  void Kind(const graph::Call& call) {
    Text(call.module);
    Values(call.arguments, false);
    Byte(call.watched ? 1 : 0);
  }
  void Kind(const graph::Parameter& parameter) { Text(parameter.path); }
  void Kind(const graph::Write& write) {
    Site(write.site);
    Terms(write.index);
    Number(write.value);
  }
  void Kind(const graph::Assign& assign) {
    Number(assign.target);
    Terms(assign.index);
    Number(assign.value);
  }
  void Kind(const graph::Skip& skip) {
    Text(skip.module);
    Number(skip.visit);
    Number(skip.value);
  }
  void Kind(const graph::Save& save) {
    Text(save.name);
    Number(save.value);
    MaybeDType(save.dtype);
    Byte(save.keep ? 1 : 0);
  }
  void Kind(const graph::Log& log) {
    Text(log.label);
    Number(log.value);
  }
  void Kind(const graph::Backward& backward) {
    Number(backward.loss);
    Number(backward.gradient);
  }
  void Kind(const graph::GradRead& read) { Number(read.value); }
  void Kind(const graph::GradWrite& write) {
    Number(write.value);
    Number(write.gradient);
  }
  void Kind(const graph::Cache& cache) {
    Text(cache.name);
    Texts(cache.modules);
    MaybeDType(cache.dtype);
    Byte(cache.include_inputs ? 1 : 0);
  }
  void Kind(const graph::Steps& steps) {
    Slice(steps.range);
    Integers(steps.list);
    Nodes(steps.initial);
  }
  void Kind(const graph::If& choice) { Number(choice.condition); }
  void Kind(const graph::Branch& branch) { Byte(branch.otherwise ? 1 : 0); }
  void Kind(const graph::Carry& carry) { Number(carry.index); }
  void Kind(const graph::Yield& yield) { Nodes(yield.values); }
  void Kind(const graph::RegionResult& result) {
    Number(result.region);
    Number(result.index);
  }

  std::string& out_;
};

}  // namespace

std::string SignatureOf(const graph::Program& program) {
  std::string key;
  key.reserve(program.nodes.size() * 48);
  Appender appender(&key);
  for (const graph::Node& node : program.nodes) appender.Add(node);
  return key;
}

}  // namespace weft::plan
