#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/parser.h"

namespace weft::graph {

bool Parser::ParseBlock(NodeId container) {
  Nested nested(&block_depth_);
  if (block_depth_ > kMaxDepth) return Fail(absl::StrCat("regions nest deeper than ", kMaxDepth));
  const NodeId outside = parent_;
  parent_ = container;
  while (!Take('}')) {
    if (p_ == end_) return Expected("a statement or `}`");
    if (!ParseStatement()) return false;
  }
  parent_ = outside;
  return true;
}

bool Parser::ParseStatement() {
  Skip();
  const char* start = p_;
  const uint32_t line = line_;
  NodeId unused = kNoNode;
  if (*p_ == '%') return ParseValueStatement();
  const absl::string_view word = PeekWord();
  if (AtOperator() || word == "call" || word == "read") return ParseExpression(&unused);
  if (AtRegion()) return ParseRegion(&unused);
  if (word == "write") return ParseWrite();
  if (word == "skip") return ParseSkipModule();
  if (word == "save") return ParseSave();
  if (word == "log") return ParseLog();
  if (word == "cache") return ParseCache();
  if (word == "backward") return ParseBackward();
  if (word == "grad") return ParseGradWrite();
  if (word == "yield") return ParseYield();
  if (TakeWord("stop")) {
    Add(Stop(), line);
    return true;
  }
  for (const char* outside : {"invoke", "trace", "generate", "sweep"}) {
    if (word == outside) {
      return FailAt(start, absl::StrCat("`", word, "` cannot stand inside an invoke"));
    }
  }
  if (word == "tensor" || word == "blob" || word == "param") {
    return FailAt(start, "this value needs a name: %x = ...");
  }
  return Expected(
      "a statement: %x = ..., write, save, skip, log, cache, steps, if, yield, backward, stop, or "
      "an operator such as aten::add_(%h, 1)");
}

bool Parser::ParseDefinition(Definition* out) {
  if (!At('%')) return Expected("a name such as %x");
  out->place = p_++;
  const absl::string_view name = TakeWhile(IsNameChar);
  const bool number = !name.empty() && std::all_of(name.begin(), name.end(), IsDigit);
  if (!number && !IsName(name)) {
    return FailAt(out->place, "expected a value's name: letters, digits and underscores after `%`");
  }
  out->name.assign(name.data(), name.size());
  return true;
}

bool Parser::Define(const Definition& definition, NodeId value) {
  if (sweep_names_.contains(definition.name) || !values_.emplace(definition.name, value).second) {
    return FailAt(definition.place,
                  absl::StrCat("%", definition.name,
                               " is already defined; give each value a name of its own"));
  }
  if (!IsDigit(definition.name[0])) program_.nodes[value - 1].name = definition.name;
  return true;
}

bool Parser::ParseValueStatement() {
  const uint32_t line = line_;
  Definition first;
  if (!ParseDefinition(&first)) return false;
  if (Take('=')) {
    return AtRegion() ? ParseRegionResults({first}, line) : ParseDefinedValue(first, line);
  }
  if (At(',')) {
    std::vector<Definition> results = {first};
    while (Take(',')) {
      if (!ParseDefinition(&results.emplace_back())) return false;
    }
    if (!Expect('=')) return false;
    if (!AtRegion()) return Expected("`steps` or `if`, which alone yield more than one value");
    return ParseRegionResults(results, line);
  }
  p_ = first.place;
  line_ = line;
  NodeId target = kNoNode;
  if (!ParseReference(&target)) return false;
  if (!At('[')) return Expected("`=` or `[`");

  // Assignment or a use that only indexes: known after the brackets.
  const char* brackets = p_;
  const uint32_t brackets_line = line_;
  const size_t nodes = program_.nodes.size();
  std::vector<IndexTerm> skipped;
  while (At('[')) {
    skipped.clear();
    if (!ParseTerms(&skipped)) return false;
  }
  const bool assignment = At('=');
  p_ = brackets;
  line_ = brackets_line;
  program_.nodes.resize(nodes);  // they are read once more
  if (!assignment) return ParseIndexes(&target);
  Assign assign;
  assign.target = target;
  if (!ParseChainedTerms(&assign.index) || !Expect('=') || !ParseExpression(&assign.value)) {
    return false;
  }
  Add(std::move(assign), line);
  return true;
}

bool Parser::ParseDefinedValue(const Definition& definition, uint32_t line) {
  const size_t before = program_.nodes.size();
  Skip();
  const char* value_place = p_;
  NodeId value = kNoNode;
  if (!ParseExpression(&value)) return false;
  if (program_.nodes.size() == before) {
    return FailAt(value_place, "this value has a name already; use that one");
  }
  program_.nodes[value - 1].source.line = line;
  return Define(definition, value);
}

bool Parser::ParseRegionResults(const std::vector<Definition>& results, uint32_t line) {
  NodeId region = kNoNode;
  if (!ParseRegion(&region)) return false;
  for (uint32_t i = 0; i < results.size(); ++i) {
    if (!Define(results[i], Add(RegionResult{region, i}, line))) return false;
  }
  return true;
}

bool Parser::ParseWrite() {
  const uint32_t line = line_;
  Write write;
  if (!TakeWord("write") || !ParseSite(&write.site) || !ParseChainedTerms(&write.index) ||
      !Expect('=') || !ParseExpression(&write.value)) {
    return false;
  }
  Add(std::move(write), line);
  return true;
}

bool Parser::ParseSkipModule() {
  const uint32_t line = line_;
  if (!TakeWord("skip")) return false;
  Skip();
  const char* start = p_;
  const absl::string_view text =
      TakeWhile([](char c) { return IsPathChar(c) || c == '.' || c == '@' || c == '$'; });
  ::weft::graph::Skip skip;
  if (!ParseModuleVisit(text, start, &skip.module, &skip.visit, nullptr)) return false;
  if (skip.module.empty()) return FailAt(start, "expected a module's path");
  if (!Expect('=') || !ParseExpression(&skip.value)) return false;
  Add(std::move(skip), line);
  return true;
}

bool Parser::ParseSave() {
  const uint32_t line = line_;
  Save save;
  if (!TakeWord("save") || !ParseName(&save.name, "a name for the saved value") || !Expect('=') ||
      !ParseExpression(&save.value)) {
    return false;
  }
  if (TakeOption("as") && !ParseDTypeName(&save.dtype.emplace())) return false;
  save.keep = TakeOption("keep");
  Add(std::move(save), line);
  return true;
}

bool Parser::ParseCache() {
  const uint32_t line = line_;
  Cache cache;
  if (!TakeWord("cache")) return false;
  Skip();
  const char* start = p_;
  if (Take('[')) {
    while (!Take(']')) {
      if (!ParsePath(&cache.modules.emplace_back(), "a module's path, such as transformer.h.5")) {
        return false;
      }
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
    if (cache.modules.empty()) return FailAt(start, "all modules are cached by `cache as NAME`");
  }
  if (!TakeWord("as")) return Expected("`as` and a name for what is cached");
  if (!ParseName(&cache.name, "a name for what is cached")) return false;
  if (TakeOption("dtype") && (!Expect('=') || !ParseDTypeName(&cache.dtype.emplace()))) {
    return false;
  }
  cache.include_inputs = TakeOption("inputs");
  Add(std::move(cache), line);
  return true;
}

bool Parser::AtRegion() {
  const absl::string_view word = PeekWord();
  return (word == "steps" || word == "if") && !AtOperator();
}

bool Parser::ParseRegion(NodeId* out) {
  return PeekWord() == "if" ? ParseIf(out) : ParseSteps(out);
}

bool Parser::ParseSteps(NodeId* out) {
  const uint32_t line = line_;
  Steps steps;
  std::vector<Definition> carries;
  if (!TakeWord("steps") || !ParseStepsSelection(&steps)) return false;
  if (TakeWord("carry")) {
    do {
      if (!ParseDefinition(&carries.emplace_back()) || !Expect('=') ||
          !ParseExpression(&steps.initial.emplace_back())) {
        return false;
      }
    } while (Take(',') && !At('{'));
  }
  if (!Expect('{')) return false;
  *out = Add(std::move(steps), line);
  const NodeId outside = parent_;
  parent_ = *out;
  for (uint32_t i = 0; i < carries.size(); ++i) {
    if (!Define(carries[i], Add(Carry{i}, line))) return false;
  }
  parent_ = outside;
  return ParseBlock(*out);
}

bool Parser::ParseStepsSelection(Steps* steps) {
  Skip();
  const char* start = p_;
  std::vector<IndexTerm> terms;
  if (!ParseTerms(&terms)) return false;
  if (const auto* range = std::get_if<Slice>(&terms[0]); range != nullptr && terms.size() == 1) {
    steps->range = *range;
    return true;
  }
  for (const IndexTerm& term : terms) {
    const auto* step = std::get_if<int64_t>(&term);
    if (step == nullptr) return FailAt(start, "steps are chosen by a range a:b or by numbers");
    steps->list.push_back(*step);
  }
  return true;
}

bool Parser::ParseIf(NodeId* out) {
  const uint32_t line = line_;
  If choice;
  if (!TakeWord("if") || !ParseExpression(&choice.condition) || !Expect('{')) return false;
  *out = Add(choice, line);
  const NodeId outside = parent_;
  parent_ = *out;
  if (!ParseBlock(Add(Branch{.otherwise = false}, line))) return false;
  if (TakeOption("else")) {
    const uint32_t else_line = line_;
    if (!Expect('{') || !ParseBlock(Add(Branch{.otherwise = true}, else_line))) return false;
  }
  parent_ = outside;
  return true;
}

bool Parser::ParseYield() {
  const uint32_t line = line_;
  Yield yield;
  if (!TakeWord("yield")) return false;
  do {
    if (!ParseExpression(&yield.values.emplace_back())) return false;
  } while (Take(','));
  Add(std::move(yield), line);
  return true;
}

bool Parser::ParseBackward() {
  const char* start = p_;
  const uint32_t line = line_;
  Backward backward;
  if (!TakeWord("backward")) return false;
  if (std::holds_alternative<Backward>(program_.at(parent_).kind)) {
    return FailAt(start, "a `backward` cannot stand inside another");
  }
  if (!ParseExpression(&backward.loss)) return false;
  if (TakeWord("from") && !ParseExpression(&backward.gradient)) return false;
  return Expect('{') && ParseBlock(Add(std::move(backward), line));
}

bool Parser::ParseGradWrite() {
  const uint32_t line = line_;
  GradWrite write;
  if (!TakeWord("grad")) return false;
  Skip();
  if (!At('%')) return Expected("the value whose gradient is written, as in grad %h = %g");
  if (!ParseReference(&write.value) || !Expect('=') || !ParseExpression(&write.gradient)) {
    return false;
  }
  Add(std::move(write), line);
  return true;
}

bool Parser::ParseLog() {
  const uint32_t line = line_;
  Log log;
  if (!TakeWord("log") || (At('"') && !ParseString(&log.label)) || !ParseExpression(&log.value)) {
    return false;
  }
  Add(std::move(log), line);
  return true;
}

}  // namespace weft::graph
