#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
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

template <typename T>
T LoadElement(const char* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Bits of a NaN that `nan` does not stand for are written as such.
template <typename Bits>
void AppendBits(Bits bits, std::string* out) {
  absl::StrAppend(out, "0x", absl::Hex(bits));
}

void AppendElement(const HostTensor& tensor, int64_t i, std::string* out) {
  const auto append_f32 = [out](uint32_t bits) {
    const auto value = std::bit_cast<float>(bits);
    std::isnan(value) && bits != 0x7FC00000 ? AppendBits(bits, out) : AppendFloat(value, out);
  };
  const auto append_f64 = [out](uint64_t bits) {
    const auto value = std::bit_cast<double>(bits);
    std::isnan(value) && bits != 0x7FF8000000000000 ? AppendBits(bits, out)
                                                    : AppendDouble(value, out);
  };
  const char* data = tensor.data;
  switch (tensor.dtype) {
    case DType::kBool:
      out->append(data[i] != 0 ? "true" : "false");
      break;
    case DType::kU8:
      absl::StrAppend(out, static_cast<int>(LoadElement<uint8_t>(data, i)));
      break;
    case DType::kI8:
      absl::StrAppend(out, static_cast<int>(LoadElement<int8_t>(data, i)));
      break;
    case DType::kI16:
      absl::StrAppend(out, LoadElement<int16_t>(data, i));
      break;
    case DType::kI32:
      absl::StrAppend(out, LoadElement<int32_t>(data, i));
      break;
    case DType::kI64:
      absl::StrAppend(out, LoadElement<int64_t>(data, i));
      break;
    case DType::kF16: {
      const auto bits = LoadElement<uint16_t>(data, i);
      const float value = HalfToFloat(bits);
      std::isnan(value) && bits != 0x7E00 ? AppendBits(bits, out) : AppendFloat(value, out);
      break;
    }
    case DType::kBF16: {
      const auto bits = LoadElement<uint16_t>(data, i);
      const float value = BFloat16ToFloat(bits);
      std::isnan(value) && bits != 0x7FC0 ? AppendBits(bits, out) : AppendFloat(value, out);
      break;
    }
    case DType::kF32:
      append_f32(LoadElement<uint32_t>(data, i));
      break;
    case DType::kF64:
      append_f64(LoadElement<uint64_t>(data, i));
      break;
    case DType::kC64:
      out->push_back('(');
      append_f32(LoadElement<uint32_t>(data, 2 * i));
      out->append(", ");
      append_f32(LoadElement<uint32_t>(data, 2 * i + 1));
      out->push_back(')');
      break;
    case DType::kC128:
      out->push_back('(');
      append_f64(LoadElement<uint64_t>(data, 2 * i));
      out->append(", ");
      append_f64(LoadElement<uint64_t>(data, 2 * i + 1));
      out->push_back(')');
      break;
  }
}

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
  void Append(absl::string_view text) { out_.append(text.data(), text.size()); }
  void Quoted(absl::string_view text) { AppendQuoted(text, options_.max_quoted, &out_); }
  void Path(const std::string& path) { IsPath(path) ? Append(path) : Quoted(path); }
  void ModuleVisit(const std::string& module, uint32_t visit) {
    if (!module.empty()) Path(module);
    if (visit != 0) absl::StrAppend(&out_, "@", visit);
  }
  void SiteText(const Site& site) {
    if (!OfInvoke(site.point)) ModuleVisit(site.module, site.visit);
    Site rest = site;
    rest.module.clear();
    rest.visit = 0;
    Append(ToString(rest));
  }
  void Reference(NodeId id, int inlined);
  void Terms(const std::vector<IndexTerm>& terms);
  void ArgumentValue(const Argument& argument, int inlined);
  void Arguments(const std::vector<Argument>& arguments, int inlined);
  void StructureText(const Structure& structure, int inlined);
  void TensorText(const HostTensor& tensor);
  /// `0.5` for what the parser makes a constant of by itself; false for other tensors.
  bool LiteralText(const HostTensor& tensor);
  void InvokeText(const Invoke& invoke);
  void Row(const std::vector<int64_t>& row);
  /// What stands right of the `=`, or a whole statement that yields nothing.
  void Body(NodeId id, int inlined);

  const Program& program_;
  const Options options_;
  std::string out_;
};

void Printer::Reference(NodeId id, int inlined) {
  if (id == kNoNode || id > program_.nodes.size()) {
    absl::StrAppend(&out_, "%", id);
    return;
  }
  const Node& node = program_.at(id);
  if (IsName(node.name)) {
    absl::StrAppend(&out_, "%", node.name);
  } else if (inlined < options_.max_inline && YieldsValue(node) && out_.size() < kMaxStatement) {
    Body(id, inlined + 1);
  } else {
    absl::StrAppend(&out_, "%", id);
  }
}

void Printer::Terms(const std::vector<IndexTerm>& terms) {
  struct TermPrinter {
    Printer* printer;
    void operator()(int64_t integer) const { absl::StrAppend(&printer->out_, integer); }
    void operator()(const Slice& slice) const {
      std::string* out = &printer->out_;
      if (slice.start) absl::StrAppend(out, *slice.start);
      out->push_back(':');
      if (slice.stop) absl::StrAppend(out, *slice.stop);
      if (slice.step) absl::StrAppend(out, ":", *slice.step);
    }
    void operator()(Ellipsis) const { printer->Append("..."); }
    void operator()(NewAxis) const { printer->Append("none"); }
    void operator()(NodeRef ref) const { printer->Reference(ref.id, printer->options_.max_inline); }
    void operator()(const std::string& key) const { printer->Quoted(key); }
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

bool Printer::LiteralText(const HostTensor& tensor) {
  const bool literal =
      tensor.shape.empty() &&
      (tensor.dtype == DType::kF32 || tensor.dtype == DType::kI64 || tensor.dtype == DType::kBool);
  if (!literal || !CheckTensor(tensor).ok()) return false;
  AppendElement(tensor, 0, &out_);
  return true;
}

void Printer::Row(const std::vector<int64_t>& row) {
  Append("[");
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) Append(", ");
    if (i >= options_.max_tokens) {
      Append("...");
      break;
    }
    absl::StrAppend(&out_, row[i]);
  }
  Append("]");
}

void Printer::InvokeText(const Invoke& invoke) {
  Append("invoke");
  if (const auto* prompts = std::get_if<Invoke::Prompts>(&invoke.input)) {
    Append(" ");
    if (prompts->texts.size() == 1) {
      Quoted(prompts->texts[0]);
    } else {
      Append("[");
      for (size_t i = 0; i < prompts->texts.size(); ++i) {
        if (i > 0) Append(", ");
        if (i >= options_.max_tokens) {
          Append("...");
          break;
        }
        Quoted(prompts->texts[i]);
      }
      Append("]");
    }
    if (prompts->no_special_tokens) Append(" no_special_tokens");
  } else if (const auto* tokens = std::get_if<Invoke::Tokens>(&invoke.input)) {
    Append(" ");
    if (tokens->rows.size() == 1) {
      Row(tokens->rows[0]);
    } else {
      Append("[");
      for (size_t i = 0; i < tokens->rows.size(); ++i) {
        if (i > 0) Append(", ");
        if (i >= options_.max_tokens) {
          Append("...");
          break;
        }
        Row(tokens->rows[i]);
      }
      Append("]");
    }
  }
}

void Printer::Body(NodeId id, int inlined) {
  struct BodyPrinter {
    Printer* printer;
    int inlined;

    void operator()(const Trace& trace) const {
      printer->Append("trace");
      if (!trace.label.empty()) {
        printer->Append(" ");
        printer->Quoted(trace.label);
      }
    }
    void operator()(const Invoke& invoke) const { printer->InvokeText(invoke); }
    void operator()(const Constant& constant) const {
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
      printer->Append("call ");
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
      IsName(save.name) ? printer->Append(save.name) : printer->Quoted(save.name);
      printer->Append(" = ");
      printer->Reference(save.value, inlined);
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
  };
  std::visit(BodyPrinter{this, inlined}, program_.at(id).kind);
}

void Printer::PrintNode(NodeId id, bool numbered) {
  const Node& node = program_.at(id);
  if (YieldsValue(node)) {
    if (IsName(node.name)) {
      absl::StrAppend(&out_, "%", node.name, " = ");
    } else if (numbered) {
      absl::StrAppend(&out_, "%", id, " = ");
    }
  }
  Body(id, 0);
}

void Printer::PrintAll() {
  bool open = false;    // an invoke's brace
  bool region = false;  // that of a region in it
  bool empty = false;   // nothing inside the innermost yet
  const auto close_region = [&] {
    if (region) Append(empty ? " }\n" : "  }\n");
    region = false;
    empty = false;
  };
  const auto close = [&] {
    if (region) close_region();
    if (open) Append(empty ? " }\n" : "}\n");
    open = false;
  };
  for (NodeId id = 1; id <= program_.nodes.size(); ++id) {
    const Node& node = program_.at(id);
    if (const auto* trace = std::get_if<Trace>(&node.kind)) {
      close();
      if (trace->label.empty()) continue;
      PrintNode(id, true);
      Append("\n");
      continue;
    }
    if (std::holds_alternative<Invoke>(node.kind)) {
      close();
      PrintNode(id, true);
      Append(" {");
      open = empty = true;
      continue;
    }
    const bool inside = program_.InvokeOf(id) != kNoNode;
    if (!inside) close();
    const bool in_region = program_.BackwardOf(id) != kNoNode;
    if (region && !in_region) close_region();
    if (open && empty) Append("\n");
    empty = false;
    if (inside) Append(in_region ? "    " : "  ");
    PrintNode(id, true);
    if (std::holds_alternative<Backward>(node.kind)) {
      Append(" {");
      region = empty = true;
    } else {
      Append("\n");
    }
  }
  close();
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
  const auto& kind = program.at(node).kind;
  if (std::holds_alternative<Invoke>(kind) || std::holds_alternative<Backward>(kind)) {
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
