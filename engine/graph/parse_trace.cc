#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/parser.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

/// What ranges of sweeps come to in one program, so that a short text does not become a long list.
constexpr uint64_t kMaxRangeValues = 1 << 16;

}  // namespace

bool Parser::ParseAll() {
  bool headed = PeekWord() == "trace" || PeekWord() == "generate";
  if (!headed) trace_ = Add(Trace(), line_);
  while (true) {
    Skip();
    if (p_ == end_) return true;
    parent_ = trace_;
    const absl::string_view word = PeekWord();
    if (word == "invoke") {
      if (!ParseInvoke()) return false;
      headed = true;
    } else if (word == "sweep") {
      if (!ParseSweep()) return false;
      headed = true;
    } else if (word == "trace" || word == "generate") {
      if (!headed && program_.nodes.size() > 1) {
        return Fail("a trace's header stands before its constants");
      }
      if (!ParseHeader()) return false;
      headed = true;
    } else if (*p_ == '%') {
      if (!ParseConstantStatement()) return false;
    } else {
      return Expected(
          "`invoke`, `sweep`, a header (`trace`, `generate`), or a constant such as `%c = "
          "tensor(...)`");
    }
  }
}

bool Parser::ParseConstantStatement() {
  const char* start = p_;
  const size_t before = program_.nodes.size();
  if (!ParseValueStatement()) return false;
  const bool constant = program_.nodes.size() == before + 1 &&
                        std::holds_alternative<Constant>(program_.nodes.back().kind);
  return constant || FailAt(start, "this stands outside an invoke; only constants may");
}

bool Parser::ParseHeader() {
  const uint32_t line = line_;
  Trace trace;
  std::shared_ptr<GenerateOptions> options;
  if (TakeWord("generate")) {
    options = std::make_shared<GenerateOptions>();
    trace.generate = options;
  } else if (!TakeWord("trace")) {
    return Expected("`trace` or `generate`");
  }
  if (At('"') && !ParseString(&trace.label)) return false;
  std::vector<std::string> given;
  while (true) {
    // An option only if an equals sign follows.
    const absl::string_view name = PeekWord();
    const char* place = p_;
    const uint32_t place_line = line_;
    p_ += name.size();
    const bool option = !name.empty() && At('=');
    p_ = place;
    line_ = place_line;
    if (!option) break;
    if (std::find(given.begin(), given.end(), name) != given.end()) {
      return FailAt(place, absl::StrCat("the option `", name, "` is given twice"));
    }
    given.emplace_back(name.data(), name.size());
    p_ += name.size();
    const bool known =
        ParseTraceOption(name, &trace) || (options && ParseGenerateOption(name, options.get()));
    if (!status_.ok()) return false;
    if (!known) {
      return FailAt(place, absl::StrCat("a ", options ? "generation" : "trace", " has no option `",
                                        name, "`"));
    }
  }
  parent_ = kNoNode;
  trace_ = Add(std::move(trace), line);
  return true;
}

// These return false without an error where the name is not theirs.
bool Parser::ParseTraceOption(absl::string_view name, Trace* trace) {
  if (name == "root") return Expect('=') && ParsePath(&trace->root, "a module's path");
  if (name == "tuple_outputs") return Expect('=') && ParseBool(&trace->tuple_outputs);
  if (name == "adapter") return Expect('=') && ParseString(&trace->adapter);
  return false;
}

bool Parser::ParseGenerateOption(absl::string_view name, GenerateOptions* options) {
  const std::pair<absl::string_view, uint32_t*> counts[] = {
      {"max_new_tokens", &options->max_new_tokens},
      {"min_new_tokens", &options->min_new_tokens},
      {"top_k", &options->top_k},
      {"num_return_sequences", &options->num_return_sequences},
      {"num_beams", &options->num_beams},
      {"no_repeat_ngram_size", &options->no_repeat_ngram_size}};
  for (const auto& [option, value] : counts) {
    if (name == option) return Expect('=') && ParseUnsigned(value);
  }
  const std::pair<absl::string_view, double*> numbers[] = {
      {"temperature", &options->temperature},
      {"top_p", &options->top_p},
      {"min_p", &options->min_p},
      {"repetition_penalty", &options->repetition_penalty},
      {"presence_penalty", &options->presence_penalty},
      {"frequency_penalty", &options->frequency_penalty}};
  for (const auto& [option, value] : numbers) {
    if (name == option) return Expect('=') && ParseFloat(value);
  }
  if (name == "length_penalty") {
    return Expect('=') && ParseFloat(&options->length_penalty.emplace());
  }
  if (name == "early_stopping") return Expect('=') && ParseEarlyStopping(&options->early_stopping);
  if (name == "do_sample") return Expect('=') && ParseBool(&options->do_sample);
  if (name == "eos_token_ids") return Expect('=') && ParseIntegers(&options->eos_token_ids);
  if (name == "stop_strings") return Expect('=') && ParseStrings(&options->stop_strings);
  return false;
}

bool Parser::ParseEarlyStopping(EarlyStopping* early_stopping) {
  const std::pair<const char*, EarlyStopping> values[] = {{"false", EarlyStopping::kNoneBetter},
                                                          {"true", EarlyStopping::kAtOnce},
                                                          {"never", EarlyStopping::kNever}};
  for (const auto& [word, value] : values) {
    if (!TakeWord(word)) continue;
    *early_stopping = value;
    return true;
  }
  return Expected("`false`, `true` or `never`");
}

bool Parser::ParseSweep() {
  const uint32_t line = line_;
  if (!TakeWord("sweep")) return Expected("`sweep`");
  Sweep sweep;
  do {
    if (!ParseSweepParameter(&sweep)) return false;
  } while (Take(',') && !At('{'));
  if (!Expect('{')) return false;
  sweep_ = Add(std::move(sweep), line);
  while (!Take('}')) {
    parent_ = sweep_;
    if (PeekWord() != "invoke") return Expected("`invoke` or `}`: a sweep encloses invokes");
    if (!ParseInvoke()) return false;
  }
  sweep_ = kNoNode;
  sweep_names_.clear();
  return true;
}

bool Parser::ParseSweepParameter(Sweep* sweep) {
  Skip();
  const char* start = p_;
  if (!Take('%')) return Expected("a sweep's parameter, such as %l in [0:12]");
  SweepParameter& parameter = sweep->parameters.emplace_back();
  const absl::string_view name = TakeWhile(IsNameChar);
  if (!IsName(name)) return FailAt(start, "expected a name of letters, digits and underscores");
  parameter.name.assign(name.data(), name.size());
  const auto index = static_cast<uint32_t>(sweep->parameters.size() - 1);
  if (values_.contains(name) || !sweep_names_.emplace(parameter.name, index).second) {
    return FailAt(start, absl::StrCat("%", name, " is already defined; give it another name"));
  }
  if (!TakeWord("in")) return Expected("`in`");
  return ParseSweepValues(&parameter);
}

bool Parser::ParseSweepValues(SweepParameter* parameter) {
  Skip();
  const char* start = p_;
  const uint32_t line = line_;
  if (!Expect('[')) return false;
  if (At(']')) return FailAt(start, "a sweep's parameter needs at least one value");
  if (At('"')) {
    p_ = start;
    line_ = line;
    return ParseStrings(&parameter->values.emplace<std::vector<std::string>>());
  }
  if (At('%')) {
    auto& nodes = parameter->values.emplace<std::vector<NodeRef>>();
    while (!Take(']')) {
      if (!ParseReference(&nodes.emplace_back().id)) return false;
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
    return true;
  }
  if (At('[')) {
    auto& rows = parameter->values.emplace<std::vector<std::vector<int64_t>>>();
    while (!Take(']')) {
      if (!ParseIntegers(&rows.emplace_back())) return false;
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
    return true;
  }
  std::vector<int64_t> ints;
  std::vector<double> floats;
  bool all_ints = true;
  if (At(':')) return ParseSweepRange(start, 0, &std::get<0>(parameter->values));
  while (!Take(']')) {
    Argument number;
    if (!ParseNumber(&number)) return false;
    const auto* integer = std::get_if<int64_t>(&number.value);
    if (integer != nullptr) {
      if (At(':') && floats.empty()) {
        return ParseSweepRange(start, *integer, &std::get<0>(parameter->values));
      }
      ints.push_back(*integer);
      floats.push_back(static_cast<double>(*integer));
    } else {
      all_ints = false;
      floats.push_back(std::get<double>(number.value));
    }
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  if (all_ints) {
    parameter->values = std::move(ints);
  } else {
    parameter->values = std::move(floats);
  }
  return true;
}

bool Parser::ParseSweepRange(const char* place, int64_t start, std::vector<int64_t>* out) {
  int64_t stop = 0;
  int64_t step = 1;
  if (!Expect(':') || !ParseInteger(&stop)) return false;
  if (Take(':') && !ParseInteger(&step)) return false;
  Take(',');
  if (!Expect(']')) return false;
  if (step == 0) return FailAt(place, "a range's step is not 0");
  // Unsigned: the distance of two integers may be more than one holds.
  const bool up = step > 0;
  if (up ? start >= stop : start <= stop) return FailAt(place, "this range is empty");
  const uint64_t distance = up ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                               : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = up ? static_cast<uint64_t>(step) : -static_cast<uint64_t>(step);
  const uint64_t count = (distance - 1) / stride + 1;
  if (count > kMaxRangeValues || range_values_ + count > kMaxRangeValues) {
    return FailAt(place, absl::StrCat("the ranges of the program's sweeps have more than ",
                                      kMaxRangeValues, " values"));
  }
  range_values_ += count;
  out->reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    out->push_back(
        static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step)));
  }
  return true;
}

bool Parser::ParseInvoke() {
  const uint32_t line = line_;
  if (!TakeWord("invoke")) return Expected("`invoke`");
  Invoke invoke;
  if (!ParseInvokeInput(&invoke) || !Expect('{')) return false;
  return ParseBlock(Add(std::move(invoke), line));
}

bool Parser::ParseInvokeInput(Invoke* invoke) {
  if (At('{')) {
    invoke->input.emplace<Invoke::AllRows>();
    return true;
  }
  if (At('"')) {
    auto& prompts = invoke->input.emplace<Invoke::Prompts>();
    if (!ParseString(&prompts.texts.emplace_back())) return false;
    prompts.no_special_tokens = TakeWord("no_special_tokens");
    return true;
  }
  if (At('%')) {
    SweptPrompt swept;
    if (!TakeUse(&swept.use)) return Expected("a parameter of the sweep around this invoke");
    swept.no_special_tokens = TakeWord("no_special_tokens");
    invoke->input = swept;
    return true;
  }
  if (At('(')) return ParseTensorInputs(&invoke->input.emplace<Invoke::Tensors>().inputs);
  if (TakeWord("chat")) return ParseChats(&invoke->input.emplace<Invoke::Chats>());
  if (!At('[')) {
    return Expected("a prompt, a list of prompts, token ids, `chat`, tensors in `(`, or `{`");
  }
  const char* start = p_;
  const uint32_t line = line_;
  Take('[');
  const bool prompts = At('"');
  const bool rows = At('[');
  if (At(']')) return FailAt(start, "an invoke needs at least one prompt or token");
  p_ = start;
  line_ = line;
  if (prompts) {
    auto& input = invoke->input.emplace<Invoke::Prompts>();
    if (!ParseStrings(&input.texts)) return false;
    input.no_special_tokens = TakeWord("no_special_tokens");
    return true;
  }
  auto& tokens = invoke->input.emplace<Invoke::Tokens>();
  if (!rows) return ParseIntegers(&tokens.rows.emplace_back());
  Take('[');
  while (!Take(']')) {
    if (!ParseIntegers(&tokens.rows.emplace_back())) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return true;
}

bool Parser::ParseTensorInputs(std::vector<NamedInput>* inputs) {
  if (!Expect('(')) return false;
  while (!Take(')')) {
    NamedInput& input = inputs->emplace_back();
    if (!At('%') && (!ParseName(&input.name, "a value such as %x, or NAME=%x") || !Expect('='))) {
      return false;
    }
    if (!ParseReference(&input.node)) return false;
    if (!Take(',') && !At(')')) return Expected("`,` or `)`");
  }
  return true;
}

bool Parser::ParseMessages(std::vector<ChatMessage>* messages) {
  while (!Take(']')) {
    ChatMessage& said = messages->emplace_back();
    if (!ParseString(&said.role) || !Expect(':') || !ParseString(&said.content)) return false;
    if (!Take(',') && !At(']')) return Expected("`,` or `]`");
  }
  return true;
}

bool Parser::ParseChats(ChatInput* chats) {
  if (!Expect('[')) return false;
  if (!At('[')) {
    if (!ParseMessages(&chats->chats.emplace_back())) return false;
  } else {
    while (!Take(']')) {
      if (!Expect('[') || !ParseMessages(&chats->chats.emplace_back())) return false;
      if (!Take(',') && !At(']')) return Expected("`,` or `]`");
    }
  }
  chats->add_generation_prompt = TakeWord("generation_prompt");
  chats->continue_final_message = TakeWord("continue_final_message");
  return true;
}

absl::StatusOr<Program> ParseProgram(const std::string& text, const std::string& file_name) {
  return Parser(text, file_name).Parse();
}

}  // namespace weft::graph
