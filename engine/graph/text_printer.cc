#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/graph/element_text.h"
#include "engine/graph/syntax.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

/// Of a statement in an error.
constexpr size_t kMaxStatement = 240;
constexpr size_t kMaxQuoted = 60;
constexpr int64_t kMaxElements = 8;
constexpr size_t kMaxTokens = 16;
/// How deep unnamed operands are written in place, as a person would have.
constexpr int kMaxInline = 2;

/// Prints nodes of one program. Reads nothing outside the program even where Check would refuse it,
/// since refusals are printed with it.
class Printer {
 public:
  struct Options {
    int64_t max_elements = -1;
    size_t max_quoted = std::numeric_limits<size_t>::max();
    size_t max_tokens = std::numeric_limits<size_t>::max();
    int max_inline = 0;
  };
  Printer(const Program& program, const Options& options) : program_(program), options_(options) {}

  std::string TakeText() { return std::move(out_); }

  void PrintAll();
  /// One statement; `numbered` says whether an unnamed value gets its number.
  void PrintNode(NodeId id, bool numbered);

 private:
  /// Of a container that is being printed.
  struct Open {
    NodeId id;
    bool empty = true;  // nothing inside yet
  };
  void Append(absl::string_view text) { out_.append(text.data(), text.size()); }
  void Quoted(absl::string_view text) { AppendQuoted(text, options_.max_quoted, &out_); }
  void Path(const std::string& path) { IsPath(path) ? Append(path) : Quoted(path); }
  void ModuleVisit(const std::string& module, uint32_t visit) {
    if (!module.empty()) Path(module);
    if (visit != 0) absl::StrAppend(&out_, "@", visit);
  }
  void SiteText(const Site& site);
  /// `l` of a sweep's %l; something of its kind where there is no such parameter.
  std::string UseName(const SweepUse& use) const;
  void SliceText(const Slice& slice);
  void Reference(NodeId id, int inlined);
  /// `begin` and `end` around `list`'s items, of which `print` prints one. Long ones are cut where
  /// statements are.
  template <typename Items, typename Print>
  void List(const Items& list, const char* begin, const char* end, const Print& print);
  /// Values one after the other, without brackets.
  void References(const std::vector<NodeId>& list) {
    List(list, "", "", [this](NodeId id) { Reference(id, options_.max_inline); });
  }
  void Strings(const std::vector<std::string>& list) {
    List(list, "[", "]", [this](const std::string& text) { Quoted(text); });
  }
  void Terms(const std::vector<IndexTerm>& terms);
  void ArgumentValue(const Argument& argument, int inlined);
  void Arguments(const std::vector<Argument>& arguments, int inlined);
  void StructureText(const Structure& structure, int inlined);
  void TensorText(const HostTensor& tensor);
  void BlobText(const Constant& constant);
  void PlainText(const Constant& constant);
  /// `0.5` for what the parser makes a constant of by itself; false for other tensors.
  bool LiteralText(const HostTensor& tensor);
  void TraceText(const Trace& trace);
  void SweepText(const Sweep& sweep);
  void InvokeText(const Invoke& invoke);
  void CacheText(const Cache& cache);
  void StepsText(NodeId id, const Steps& steps);
  void Row(const std::vector<int64_t>& row) {
    List(row, "[", "]", [this](int64_t number) { absl::StrAppend(&out_, number); });
  }
  void Name(const std::string& name) { IsName(name) ? Append(name) : Quoted(name); }
  /// `%x = ` before what node `id` is.
  void NameOf(NodeId id, bool numbered);
  /// `%a, %b = ` before a region whose results those are.
  void ResultsOf(NodeId id);
  /// What stands right of the `=`, or a whole statement that yields nothing.
  void Body(NodeId id, int inlined);
  void Indent();
  void Enter(NodeId id);
  void Leave();

  const Program& program_;
  const Options options_;
  std::string out_;
  std::vector<Open> open_;
  absl::flat_hash_map<NodeId, std::vector<NodeId>> results_;  // of regions
};

std::string Printer::UseName(const SweepUse& use) const {
  if (use.sweep != kNoNode && use.sweep <= program_.nodes.size()) {
    const auto* sweep = std::get_if<Sweep>(&program_.at(use.sweep).kind);
    if (sweep != nullptr && use.parameter < sweep->parameters.size() &&
        IsName(sweep->parameters[use.parameter].name)) {
      return sweep->parameters[use.parameter].name;
    }
  }
  return absl::StrCat("parameter_", use.parameter, "_of_", use.sweep);
}

void Printer::SiteText(const Site& site) {
  Site rest = site;
  rest.module.clear();
  rest.visit = 0;
  rest.parameters.clear();
  if (OfInvoke(site.point)) {
    Append(ToString(rest));
    return;
  }
  if (site.parameters.empty()) {
    ModuleVisit(site.module, site.visit);
  } else {
    uint32_t component = 0;
    auto parameter = site.parameters.begin();
    for (absl::string_view part : absl::StrSplit(site.module, '.')) {
      if (component > 0) Append(".");
      if (parameter != site.parameters.end() && parameter->component == component) {
        absl::StrAppend(&out_, "$", UseName(parameter->use));
        ++parameter;
      } else {
        IsPath(part) ? Append(part) : Quoted(part);
      }
      ++component;
    }
    ModuleVisit("", site.visit);
  }
  if (!IsName(rest.op) && !rest.op.empty()) {
    Append(".op(");
    Quoted(rest.op);
    Append(")");
    rest.op.clear();
  }
  Append(ToString(rest));
}

void Printer::SliceText(const Slice& slice) {
  if (slice.start) absl::StrAppend(&out_, *slice.start);
  if (slice.start_parameter) absl::StrAppend(&out_, "%", UseName(*slice.start_parameter));
  Append(":");
  if (slice.stop) absl::StrAppend(&out_, *slice.stop);
  if (slice.stop_parameter) absl::StrAppend(&out_, "%", UseName(*slice.stop_parameter));
  if (slice.step) absl::StrAppend(&out_, ":", *slice.step);
}

template <typename Items, typename Print>
void Printer::List(const Items& list, const char* begin, const char* end, const Print& print) {
  Append(begin);
  size_t printed = 0;
  for (const auto& item : list) {
    if (printed > 0) Append(", ");
    if (printed++ >= options_.max_tokens) {
      Append("...");
      break;
    }
    print(item);
  }
  Append(end);
}

void Printer::Reference(NodeId id, int inlined) {
  if (id == kNoNode || id > program_.nodes.size()) {
    absl::StrAppend(&out_, "%", id);
    return;
  }
  const Node& node = program_.at(id);
  const bool in_place = YieldsValue(node) && !std::holds_alternative<Carry>(node.kind) &&
                        !std::holds_alternative<RegionResult>(node.kind);
  if (IsName(node.name)) {
    absl::StrAppend(&out_, "%", node.name);
  } else if (inlined < options_.max_inline && in_place && out_.size() < kMaxStatement) {
    Body(id, inlined + 1);
  } else {
    absl::StrAppend(&out_, "%", id);
  }
}

void Printer::Terms(const std::vector<IndexTerm>& terms) {
  struct TermPrinter {
    Printer* printer;
    void operator()(int64_t integer) const { absl::StrAppend(&printer->out_, integer); }
    void operator()(const Slice& slice) const { printer->SliceText(slice); }
    void operator()(Ellipsis) const { printer->Append("..."); }
    void operator()(NewAxis) const { printer->Append("none"); }
    void operator()(NodeRef ref) const { printer->Reference(ref.id, printer->options_.max_inline); }
    void operator()(const std::string& key) const { printer->Quoted(key); }
    void operator()(SweepUse use) const {
      absl::StrAppend(&printer->out_, "%", printer->UseName(use));
    }
  };
  Append("[");
  bool first = true;
  for (const IndexTerm& term : terms) {
    if (!first) Append(", ");
    first = false;
    std::visit(TermPrinter{this}, term);
  }
  Append("]");
}

void Printer::ArgumentValue(const Argument& argument, int inlined) {
  struct ValuePrinter {
    Printer* printer;
    int inlined;
    void operator()(std::monostate) const { printer->Append("none"); }
    void operator()(NodeRef ref) const { printer->Reference(ref.id, inlined); }
    void operator()(bool boolean) const { printer->Append(boolean ? "true" : "false"); }
    void operator()(int64_t integer) const { absl::StrAppend(&printer->out_, integer); }
    void operator()(double floating) const { AppendDouble(floating, &printer->out_); }
    void operator()(const std::string& string) const { printer->Quoted(string); }
    void operator()(DType dtype) const { printer->Append(ToString(dtype)); }
    void operator()(const Argument::List& list) const {
      printer->Append("[");
      printer->Arguments(list, inlined);
      printer->Append("]");
    }
    void operator()(SweepUse use) const {
      absl::StrAppend(&printer->out_, "%", printer->UseName(use));
    }
  };
  std::visit(ValuePrinter{this, inlined}, argument.value);
}

void Printer::Arguments(const std::vector<Argument>& arguments, int inlined) {
  bool first = true;
  for (const Argument& argument : arguments) {
    if (!first) Append(", ");
    first = false;
    if (!argument.name.empty()) {
      IsName(argument.name) ? Append(argument.name) : Quoted(argument.name);
      Append("=");
    }
    ArgumentValue(argument, inlined);
  }
}

void Printer::StructureText(const Structure& structure, int inlined) {
  switch (structure.kind) {
    case Structure::Kind::kList:
      Append("[");
      Arguments(structure.items, inlined);
      Append("]");
      break;
    case Structure::Kind::kTuple:
      Append("(");
      Arguments(structure.items, inlined);
      Append(structure.items.size() == 1 ? ",)" : ")");
      break;
    case Structure::Kind::kDict: {
      Append("{");
      bool first = true;
      for (const Argument& item : structure.items) {
        if (!first) Append(", ");
        first = false;
        Quoted(item.name);
        Append(": ");
        ArgumentValue(item, inlined);
      }
      Append("}");
      break;
    }
  }
}

void Printer::TensorText(const HostTensor& tensor) {
  absl::StrAppend(&out_, "tensor(", ToString(tensor.dtype), ", ");
  Row(tensor.shape);
  Append(", [");
  if (!CheckTensor(tensor).ok()) {
    Append("...])");
    return;
  }
  const int64_t count = tensor.numel();
  const int64_t shown = options_.max_elements < 0 ? count : std::min(count, options_.max_elements);
  for (int64_t i = 0; i < shown; ++i) {
    if (i > 0) Append(", ");
    AppendElement(tensor, i, &out_);
  }
  if (shown < count) Append(shown > 0 ? ", ..." : "...");
  Append("])");
}

void Printer::BlobText(const Constant& constant) {
  absl::StrAppend(&out_, "blob(", ToString(constant.tensor.dtype), ", ");
  Row(constant.tensor.shape);
  absl::StrAppend(&out_, ", \"", absl::BytesToHexString(constant.blob.substr(0, kBlobHashSize)),
                  "\")");
}

void Printer::PlainText(const Constant& constant) {
  if (const auto* text = std::get_if<std::string>(&constant.plain)) {
    Quoted(*text);
  } else if (const auto* flag = std::get_if<bool>(&constant.plain)) {
    Append(*flag ? "bool(true)" : "bool(false)");
  } else if (const auto* integer = std::get_if<int64_t>(&constant.plain)) {
    absl::StrAppend(&out_, "int(", *integer, ")");
  } else {
    Append("float(");
    AppendDouble(std::get<double>(constant.plain), &out_);
    Append(")");
  }
}

bool Printer::LiteralText(const HostTensor& tensor) {
  const bool literal =
      tensor.shape.empty() &&
      (tensor.dtype == DType::kF32 || tensor.dtype == DType::kI64 || tensor.dtype == DType::kBool);
  if (!literal || !CheckTensor(tensor).ok()) return false;
  AppendElement(tensor, 0, &out_);
  return true;
}

void Printer::TraceText(const Trace& trace) {
  Append(trace.generate ? "generate" : "trace");
  if (!trace.label.empty()) {
    Append(" ");
    Quoted(trace.label);
  }
  if (!trace.root.empty()) {
    Append(" root=");
    Path(trace.root);
  }
  if (trace.tuple_outputs) Append(" tuple_outputs=true");
  if (!trace.adapter.empty()) {
    Append(" adapter=");
    Quoted(trace.adapter);
  }
  if (!trace.generate) return;
  const GenerateOptions& options = *trace.generate;
  const auto count = [this](const char* name, uint32_t value) {
    if (value != 0) absl::StrAppend(&out_, " ", name, "=", value);
  };
  const auto number = [this](const char* name, double value) {
    if (std::bit_cast<uint64_t>(value) == 0) return;
    absl::StrAppend(&out_, " ", name, "=");
    AppendDouble(value, &out_);
  };
  count("max_new_tokens", options.max_new_tokens);
  count("min_new_tokens", options.min_new_tokens);
  if (options.do_sample) Append(" do_sample=true");
  number("temperature", options.temperature);
  number("top_p", options.top_p);
  count("top_k", options.top_k);
  number("min_p", options.min_p);
  number("repetition_penalty", options.repetition_penalty);
  number("presence_penalty", options.presence_penalty);
  number("frequency_penalty", options.frequency_penalty);
  count("num_return_sequences", options.num_return_sequences);
  count("num_beams", options.num_beams);
  if (options.length_penalty) {
    Append(" length_penalty=");
    AppendDouble(*options.length_penalty, &out_);
  }
  if (options.early_stopping == EarlyStopping::kAtOnce) Append(" early_stopping=true");
  if (options.early_stopping == EarlyStopping::kNever) Append(" early_stopping=never");
  count("no_repeat_ngram_size", options.no_repeat_ngram_size);
  if (!options.eos_token_ids.empty()) {
    Append(" eos_token_ids=");
    Row(options.eos_token_ids);
  }
  if (!options.stop_strings.empty()) {
    Append(" stop_strings=");
    Strings(options.stop_strings);
  }
}

void Printer::SweepText(const Sweep& sweep) {
  struct ValuesPrinter {
    Printer* printer;
    void operator()(const std::vector<int64_t>& ints) const {
      bool range = ints.size() > 1;
      for (size_t i = 1; i < ints.size() && range; ++i) {
        range = ints[i - 1] != std::numeric_limits<int64_t>::max() && ints[i] == ints[i - 1] + 1;
      }
      if (range && ints.back() != std::numeric_limits<int64_t>::max()) {
        absl::StrAppend(&printer->out_, "[", ints[0], ":", ints.back() + 1, "]");
      } else {
        printer->Row(ints);
      }
    }
    void operator()(const std::vector<double>& floats) const {
      printer->List(floats, "[", "]",
                    [this](double number) { AppendDouble(number, &printer->out_); });
    }
    void operator()(const std::vector<std::string>& strings) const { printer->Strings(strings); }
    void operator()(const std::vector<NodeRef>& nodes) const {
      printer->List(nodes, "[", "]", [this](NodeRef ref) {
        printer->Reference(ref.id, printer->options_.max_inline);
      });
    }
    void operator()(const std::vector<std::vector<int64_t>>& rows) const {
      printer->List(rows, "[", "]", [this](const std::vector<int64_t>& row) { printer->Row(row); });
    }
  };
  Append("sweep ");
  List(sweep.parameters, "", "", [this](const SweepParameter& parameter) {
    Append("%");
    Name(parameter.name);
    Append(" in ");
    std::visit(ValuesPrinter{this}, parameter.values);
  });
}

void Printer::InvokeText(const Invoke& invoke) {
  struct InputPrinter {
    Printer* printer;
    void operator()(const Invoke::Prompts& prompts) const {
      printer->Append(" ");
      if (prompts.texts.size() == 1) {
        printer->Quoted(prompts.texts[0]);
      } else {
        printer->Strings(prompts.texts);
      }
      if (prompts.no_special_tokens) printer->Append(" no_special_tokens");
    }
    void operator()(const Invoke::Tokens& tokens) const {
      printer->Append(" ");
      if (tokens.rows.size() == 1) {
        printer->Row(tokens.rows[0]);
        return;
      }
      printer->List(tokens.rows, "[", "]",
                    [this](const std::vector<int64_t>& row) { printer->Row(row); });
    }
    void operator()(Invoke::AllRows) const {}
    void operator()(const SweptPrompt& swept) const {
      absl::StrAppend(&printer->out_, " %", printer->UseName(swept.use));
      if (swept.no_special_tokens) printer->Append(" no_special_tokens");
    }
    void operator()(const Invoke::Tensors& tensors) const {
      printer->List(tensors.inputs, " (", ")", [this](const NamedInput& input) {
        if (!input.name.empty()) {
          printer->Name(input.name);
          printer->Append("=");
        }
        printer->Reference(input.node, printer->options_.max_inline);
      });
    }
    void Messages(const std::vector<ChatMessage>& messages) const {
      printer->List(messages, "[", "]", [this](const ChatMessage& said) {
        printer->Quoted(said.role);
        printer->Append(": ");
        printer->Quoted(said.content);
      });
    }
    void operator()(const Invoke::Chats& chats) const {
      printer->Append(" chat ");
      if (chats.chats.size() == 1) {
        Messages(chats.chats[0]);
      } else {
        printer->List(chats.chats, "[", "]",
                      [this](const std::vector<ChatMessage>& messages) { Messages(messages); });
      }
      if (chats.add_generation_prompt) printer->Append(" generation_prompt");
      if (chats.continue_final_message) printer->Append(" continue_final_message");
    }
  };
  Append("invoke");
  std::visit(InputPrinter{this}, invoke.input);
}

void Printer::CacheText(const Cache& cache) {
  Append("cache ");
  if (!cache.modules.empty()) {
    List(cache.modules, "[", "] ", [this](const std::string& module) { Path(module); });
  }
  Append("as ");
  Name(cache.name);
  if (cache.dtype) absl::StrAppend(&out_, " dtype=", ToString(*cache.dtype));
  if (cache.include_inputs) Append(" inputs");
}

void Printer::StepsText(NodeId id, const Steps& steps) {
  Append("steps ");
  if (steps.list.empty()) {
    Append("[");
    SliceText(steps.range);
    Append("]");
  } else {
    Row(steps.list);
  }
  // The carries are the region's first nodes.
  for (uint32_t i = 0; i < steps.initial.size(); ++i) {
    Append(i == 0 ? " carry " : ", ");
    if (i >= options_.max_tokens) {
      Append("...");
      break;
    }
    const NodeId carry = id + 1 + i;
    const bool found =
        carry <= program_.nodes.size() && std::holds_alternative<Carry>(program_.at(carry).kind);
    found ? Reference(carry, options_.max_inline) : Append("%?");
    Append(" = ");
    Reference(steps.initial[i], options_.max_inline);
  }
}

void Printer::Body(NodeId id, int inlined) {
  struct BodyPrinter {
    Printer* printer;
    NodeId id;
    int inlined;

    void operator()(const Trace& trace) const { printer->TraceText(trace); }
    void operator()(const Sweep& sweep) const { printer->SweepText(sweep); }
    void operator()(const Invoke& invoke) const { printer->InvokeText(invoke); }
    void operator()(const Constant& constant) const {
      if (constant.is_plain()) return printer->PlainText(constant);
      if (!constant.blob.empty()) return printer->BlobText(constant);
      if (inlined > 0 && printer->LiteralText(constant.tensor)) return;
      printer->TensorText(constant.tensor);
    }
    void operator()(const Read& read) const {
      printer->Append("read ");
      printer->SiteText(read.site);
    }
    void operator()(const Operator& op) const {
      IsOperatorName(op.name) ? printer->Append(op.name) : printer->Quoted(op.name);
      printer->Append("(");
      printer->Arguments(op.arguments, inlined);
      printer->Append(")");
    }
    void operator()(const Index& index) const {
      printer->Reference(index.target, inlined);
      printer->Terms(index.terms);
    }
    void operator()(const Structure& structure) const {
      printer->StructureText(structure, inlined);
    }
    void operator()(const Call& call) const {
      printer->Append(call.watched ? "call watched " : "call ");
      printer->Path(call.module);
      printer->Append("(");
      printer->Arguments(call.arguments, inlined);
      printer->Append(")");
    }
    void operator()(const Parameter& parameter) const {
      printer->Append("param ");
      printer->Path(parameter.path);
    }
    void operator()(const Write& write) const {
      printer->Append("write ");
      printer->SiteText(write.site);
      if (!write.index.empty()) printer->Terms(write.index);
      printer->Append(" = ");
      printer->Reference(write.value, inlined);
    }
    void operator()(const Assign& assign) const {
      printer->Reference(assign.target, inlined);
      printer->Terms(assign.index);
      printer->Append(" = ");
      printer->Reference(assign.value, inlined);
    }
    void operator()(const Skip& skip) const {
      printer->Append("skip ");
      printer->ModuleVisit(skip.module, skip.visit);
      printer->Append(" = ");
      printer->Reference(skip.value, inlined);
    }
    void operator()(const Save& save) const {
      printer->Append("save ");
      printer->Name(save.name);
      printer->Append(" = ");
      printer->Reference(save.value, inlined);
      if (save.dtype) absl::StrAppend(&printer->out_, " as ", ToString(*save.dtype));
      if (save.keep) printer->Append(" keep");
    }
    void operator()(const Log& log) const {
      printer->Append("log ");
      if (!log.label.empty()) {
        printer->Quoted(log.label);
        printer->Append(" ");
      }
      printer->Reference(log.value, inlined);
    }
    void operator()(const Stop&) const { printer->Append("stop"); }
    void operator()(const Cache& cache) const { printer->CacheText(cache); }
    void operator()(const Backward& backward) const {
      printer->Append("backward ");
      printer->Reference(backward.loss, inlined);
      if (backward.gradient == kNoNode) return;
      printer->Append(" from ");
      printer->Reference(backward.gradient, inlined);
    }
    void operator()(const GradRead& read) const {
      printer->Append("grad ");
      printer->Reference(read.value, inlined);
    }
    void operator()(const GradWrite& write) const {
      printer->Append("grad ");
      printer->Reference(write.value, inlined);
      printer->Append(" = ");
      printer->Reference(write.gradient, inlined);
    }
    void operator()(const Steps& steps) const { printer->StepsText(id, steps); }
    void operator()(const If& choice) const {
      printer->Append("if ");
      printer->Reference(choice.condition, inlined);
    }
    void operator()(const Branch& branch) const {
      printer->Append(branch.otherwise ? "else" : "then");
    }
    void operator()(const Carry& carry) const {
      absl::StrAppend(&printer->out_, "carry ", carry.index);
    }
    void operator()(const Yield& yield) const {
      printer->Append("yield ");
      printer->References(yield.values);
    }
    void operator()(const RegionResult& result) const {
      absl::StrAppend(&printer->out_, "result ", result.index, " of ");
      const bool known = result.region != kNoNode && result.region < id;
      const auto* kind = known ? &printer->program_.at(result.region).kind : nullptr;
      if (kind != nullptr &&
          (std::holds_alternative<Steps>(*kind) || std::holds_alternative<If>(*kind))) {
        printer->Body(result.region, printer->options_.max_inline);
      } else {
        absl::StrAppend(&printer->out_, "node ", result.region);
      }
    }
  };
  std::visit(BodyPrinter{this, id, inlined}, program_.at(id).kind);
}

void Printer::NameOf(NodeId id, bool numbered) {
  const Node& node = program_.at(id);
  if (!YieldsValue(node)) return;
  if (IsName(node.name)) {
    absl::StrAppend(&out_, "%", node.name, " = ");
  } else if (numbered) {
    absl::StrAppend(&out_, "%", id, " = ");
  }
}

void Printer::ResultsOf(NodeId id) {
  const auto found = results_.find(id);
  if (found == results_.end()) return;
  References(found->second);
  Append(" = ");
}

void Printer::PrintNode(NodeId id, bool numbered) {
  NameOf(id, numbered);
  Body(id, 0);
}

void Printer::Indent() {
  size_t depth = 0;
  for (const Open& open : open_) {
    // An `if` has no braces of its own: its branches have.
    if (!std::holds_alternative<If>(program_.at(open.id).kind)) ++depth;
  }
  out_.append(2 * depth, ' ');
}

void Printer::Enter(NodeId id) {
  open_.push_back({id});
  if (!std::holds_alternative<If>(program_.at(id).kind)) Append(" {");
}

void Printer::Leave() {
  const Open closed = open_.back();
  open_.pop_back();
  const auto& kind = program_.at(closed.id).kind;
  if (std::holds_alternative<If>(kind)) {
    Append("\n");
    return;
  }
  if (closed.empty) {
    Append(" }");
  } else {
    Indent();
    Append("}");
  }
  // After a branch an `else` may follow on the same line.
  if (!std::holds_alternative<Branch>(kind)) Append("\n");
}

void Printer::PrintAll() {
  for (NodeId id = 1; id <= program_.nodes.size(); ++id) {
    const auto* result = std::get_if<RegionResult>(&program_.at(id).kind);
    if (result != nullptr) results_[result->region].push_back(id);
  }
  for (NodeId id = 1; id <= program_.nodes.size(); ++id) {
    const Node& node = program_.at(id);
    while (!open_.empty() && open_.back().id != node.parent) Leave();
    if (const auto* trace = std::get_if<Trace>(&node.kind)) {
      const bool plain = trace->label.empty() && trace->root.empty() && !trace->generate &&
                         !trace->tuple_outputs && trace->adapter.empty();
      if (id == 1 && plain) continue;
      Body(id, 0);
      Append("\n");
      continue;
    }
    // These are part of their region's head.
    if (std::holds_alternative<Carry>(node.kind) ||
        std::holds_alternative<RegionResult>(node.kind)) {
      continue;
    }
    if (const auto* branch = std::get_if<Branch>(&node.kind)) {
      if (branch->otherwise) Append(" else");
      Enter(id);
      continue;
    }
    if (!open_.empty() && open_.back().empty) {
      Append("\n");
      open_.back().empty = false;
    }
    Indent();
    ResultsOf(id);
    PrintNode(id, true);
    if (IsContainer(node)) {
      Enter(id);
    } else {
      Append("\n");
    }
  }
  while (!open_.empty()) Leave();
}

}  // namespace

std::string PrintProgram(const Program& program, int64_t max_elements) {
  Printer printer(program, {.max_elements = max_elements});
  printer.PrintAll();
  return printer.TakeText();
}

std::string PrintStatement(const Program& program, NodeId node) {
  if (node == kNoNode || node > program.nodes.size()) return "";
  Printer printer(program, {.max_elements = kMaxElements,
                            .max_quoted = kMaxQuoted,
                            .max_tokens = kMaxTokens,
                            .max_inline = kMaxInline});
  printer.PrintNode(node, /*numbered=*/false);
  std::string text = printer.TakeText();
  if (IsContainer(program.at(node)) && !std::holds_alternative<Trace>(program.at(node).kind)) {
    text += " { }";
  }
  if (text.size() > kMaxStatement) {
    size_t cut = kMaxStatement;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text.resize(cut);
    text += "...";
  }
  return text;
}

}  // namespace weft::graph
