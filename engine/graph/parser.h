#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/graph/program.h"
#include "engine/graph/syntax.h"

namespace weft::graph {

/// The text form's parser, behind ParseProgram of text.h. By recursive descent, without a separate
/// lexer: what a character means depends on where it stands (a dash inside a path, a dot inside a
/// number). Every function returns false once `status_` is set, and leaves the place after what it
/// took. Used once.
class Parser {
 public:
  Parser(const std::string& text, const std::string& file_name)
      : begin_(text.data()), p_(begin_), end_(begin_ + text.size()), file_name_(file_name) {}

  absl::StatusOr<Program> Parse() {
    if (!ParseAll()) return status_;
    return std::move(program_);
  }

 private:
  /// Counts the nesting of what is parsed while it lives.
  class Nested {
   public:
    explicit Nested(int* depth) : depth_(depth) { ++*depth_; }
    ~Nested() { --*depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    int* const depth_;
  };
  /// A name that is given before the value that it names is parsed.
  struct Definition {
    const char* place;
    std::string name;
  };

  // Places and errors (parse_word.cc).
  bool FailAt(const char* place, const std::string& message);
  bool Fail(const std::string& message) { return FailAt(p_, message); }
  bool Expected(const std::string& what);

  // Characters. Spaces, line ends and comments stand anywhere between words.
  void Skip();
  bool At(char c) {
    Skip();
    return p_ < end_ && *p_ == c;
  }
  bool Take(char c) {
    if (!At(c)) return false;
    ++p_;
    return true;
  }
  bool Expect(char c) { return Take(c) || Expected(absl::StrCat("`", std::string(1, c), "`")); }
  /// The word of name characters at the place, without taking it.
  absl::string_view PeekWord();
  bool TakeWord(absl::string_view word);
  /// Where the next statement may begin: a word is not taken if it is an operator's namespace.
  bool TakeOption(absl::string_view word) { return !AtOperator() && TakeWord(word); }
  absl::string_view TakeWhile(bool (*accept)(char));
  bool AtNumber();
  /// True at a word and `::`, whatever the word means elsewhere.
  bool AtOperator() {
    const absl::string_view word = PeekWord();
    const size_t left = end_ - p_ - word.size();
    return !word.empty() && IsNameStart(word[0]) && left > 1 && word.end()[0] == ':' &&
           word.end()[1] == ':';
  }

  // Words.
  bool ParseString(std::string* out);
  bool ParseEscape(std::string* out);
  bool ParseName(std::string* out, const char* what);
  /// The extent of the number at the place; `floating` if it has a dot, an exponent, or is a word.
  bool TakeNumber(absl::string_view* digits, bool* floating);
  /// Digits with a sign, without the rest of a float.
  bool ParseInteger(int64_t* out);
  bool ParseNumber(Argument* out);
  bool ParseUnsigned(uint32_t* out);
  bool ParseFloat(double* out);
  bool ParseBool(bool* out);
  bool ParseDTypeName(DType* out);
  bool ParseIntegers(std::vector<int64_t>* out);
  bool ParseStrings(std::vector<std::string>* out);

  // Names and places in the model (parse_site.cc).
  bool ParseReference(NodeId* out);
  /// Take `%name` if it is a parameter of the sweep around this.
  bool TakeUse(SweepUse* out);
  bool ParsePath(std::string* out, const char* what);
  /// `parameters` is null where a sweep cannot fill in components.
  bool ParseModuleVisit(absl::string_view text, const char* place, std::string* module,
                        uint32_t* visit, std::vector<PathParameter>* parameters);
  bool ParseSite(Site* out);

  // Values (parse_value.cc).
  NodeId Add(decltype(Node::kind) kind, uint32_t line) {
    Node& node = program_.nodes.emplace_back();
    node.parent = parent_;
    node.source = {file_name_, line};
    node.kind = std::move(kind);
    return static_cast<NodeId>(program_.nodes.size());
  }
  bool ParseExpression(NodeId* out);
  bool ParsePrimary(NodeId* out, bool* indexable);
  bool ParseCall(NodeId* out);
  bool ParseOperator(NodeId* out);
  bool ParseLiteralConstant(NodeId* out);
  bool ParsePlain(absl::string_view type, NodeId* out);
  bool ParseTensor(NodeId* out);
  bool ParseBlob(NodeId* out);
  bool ParseElement(DType dtype, std::string* bytes);
  bool ParseFloatElement(DType dtype, std::string* bytes);
  bool ParseStructure(NodeId* out);
  enum class Context { kCall, kStructure };
  bool ParseArgumentList(char close, Context context, int list_depth, std::vector<Argument>* out);
  bool ParseArgumentValue(Context context, int list_depth, Argument* out);
  bool ParseTerms(std::vector<IndexTerm>* out);
  bool ParseTerm(IndexTerm* out);
  bool ParseChainedTerms(std::vector<IndexTerm>* out);
  bool ParseIndexes(NodeId* value);

  // Traces and their invokes (parse_trace.cc).
  bool ParseAll();
  bool ParseHeader();
  bool ParseTraceOption(absl::string_view name, Trace* trace);
  bool ParseGenerateOption(absl::string_view name, GenerateOptions* options);
  bool ParseEarlyStopping(EarlyStopping* early_stopping);
  bool ParseConstantStatement();
  bool ParseSweep();
  bool ParseSweepParameter(Sweep* sweep);
  bool ParseSweepValues(SweepParameter* parameter);
  bool ParseSweepRange(const char* place, int64_t start, std::vector<int64_t>* out);
  bool ParseInvoke();
  bool ParseInvokeInput(Invoke* invoke);
  bool ParseTensorInputs(std::vector<NamedInput>* inputs);
  bool ParseMessages(std::vector<ChatMessage>* messages);
  bool ParseChats(ChatInput* chats);

  // Statements (parse_statement.cc).
  bool ParseStatement();
  bool ParseValueStatement();
  /// `%name` on the left of an equals sign.
  bool ParseDefinition(Definition* out);
  bool Define(const Definition& definition, NodeId value);
  bool ParseDefinedValue(const Definition& definition, uint32_t line);
  bool ParseRegionResults(const std::vector<Definition>& results, uint32_t line);
  bool ParseWrite();
  bool ParseSkipModule();
  bool ParseSave();
  bool ParseLog();
  bool ParseCache();
  bool ParseBackward();
  bool ParseGradWrite();
  bool AtRegion();
  bool ParseRegion(NodeId* out);
  bool ParseSteps(NodeId* out);
  bool ParseStepsSelection(Steps* steps);
  bool ParseIf(NodeId* out);
  bool ParseYield();
  /// The statements of a container up to its closing brace.
  bool ParseBlock(NodeId container);

  const char* const begin_;
  const char* p_;
  const char* const end_;
  const std::string& file_name_;
  uint32_t line_ = 1;
  int expression_depth_ = 0;
  int block_depth_ = 0;
  NodeId parent_ = kNoNode;
  NodeId trace_ = kNoNode;
  Program program_;
  absl::flat_hash_map<std::string, NodeId> values_;
  /// The sweep around this, and its parameters by name.
  NodeId sweep_ = kNoNode;
  absl::flat_hash_map<std::string, uint32_t> sweep_names_;
  uint64_t range_values_ = 0;  // of all ranges of sweeps
  absl::Status status_;
};

}  // namespace weft::graph
