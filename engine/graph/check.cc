#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/graph/checker.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

constexpr size_t kLongestRole = 256;  // in bytes

/// Whether `$`s stand for whole components, and what is left is a path.
bool IsPathWithGaps(const std::string& path) {
  for (absl::string_view part : absl::StrSplit(path, '.')) {
    if (part != "$" && (part.empty() || !IsPath(part))) return false;
  }
  return true;
}

}  // namespace

absl::Status Checker::Run() {
  if (program_.nodes.empty()) return absl::InvalidArgumentError("the program is empty");
  if (program_.nodes.size() > limits_.nodes) {
    return absl::ResourceExhaustedError(absl::StrCat("the program has ", program_.nodes.size(),
                                                     " nodes; at most ", limits_.nodes,
                                                     " are allowed"));
  }
  scopes_.resize(program_.nodes.size() + 1, kNoNode);
  open_.resize(program_.nodes.size() + 1, false);
  for (id_ = 1; id_ <= program_.nodes.size(); ++id_) {
    node_ = &program_.at(id_);
    if (!CheckPlace() || !CheckName() || !CheckKind() || !CheckInSearch() || !CheckUses()) {
      return status_;
    }
  }
  while (!frames_.empty()) {
    if (!Leave()) return status_;
  }
  return absl::OkStatus();
}

bool Checker::CheckName() {
  if (node_->name.empty()) return true;
  if (!IsName(node_->name)) {
    return Fail(
        "a value's name is letters, digits and underscores, and does not begin with a digit");
  }
  if (!YieldsValue(*node_)) return Fail("this has a name but yields no value");
  if (parameter_names_.contains(node_->name)) {
    return Fail(absl::StrCat("%", node_->name, " is already a parameter of the sweep"),
                "give each value a name of its own");
  }
  const auto [found, added] = values_.emplace(node_->name, id_);
  if (added) return true;
  return Fail(absl::StrCat("%", node_->name, " is already the value of `",
                           PrintStatement(program_, found->second), "`"),
              "give each value a name of its own");
}

bool Checker::CheckSavedName(const std::string& name) {
  if (!IsName(name)) {
    return Fail("a saved name is letters, digits and underscores, and does not begin with a digit");
  }
  absl::InlinedVector<NodeId, 1>& others = saves_[name];
  for (NodeId other : others) {
    if (Exclusive(other, id_)) continue;
    return Fail(absl::StrCat("the name `", name, "` is already saved by `",
                             PrintStatement(program_, other), "`"),
                "give each save a name of its own");
  }
  others.push_back(id_);
  return true;
}

bool Checker::CheckCount(size_t count, const char* what) {
  return count <= limits_.list_items ||
         Fail(absl::StrCat("this has ", count, " ", what, "; at most ", limits_.list_items,
                           " are allowed"),
              "", absl::StatusCode::kResourceExhausted);
}

bool Checker::CheckTrace(const Trace& trace) {
  if (!CheckText(trace.label, "the trace's label") ||
      !CheckText(trace.adapter, "the trace's adapter")) {
    return false;
  }
  if (!trace.root.empty() && !CheckModule(trace.root)) return false;
  return !trace.generate || CheckGenerate(*trace.generate);
}

bool Checker::CheckSweep(const Sweep& sweep) {
  sweep_ = id_;
  if (sweep.parameters.empty()) return Fail("a sweep needs at least one parameter");
  argument_count_ += sweep.parameters.size();
  const size_t points = sweep.parameters[0].size();
  for (const SweepParameter& parameter : sweep.parameters) {
    if (!IsName(parameter.name)) return Fail("the name of a sweep's parameter is not a name");
    if (values_.contains(parameter.name) || !parameter_names_.insert(parameter.name).second) {
      return Fail(absl::StrCat("%", parameter.name, " is already defined"),
                  "give the parameter another name");
    }
    if (parameter.size() == 0) return Fail("a sweep's parameter needs at least one value");
    if (parameter.size() != points) {
      return Fail(absl::StrCat("the parameters of a sweep have one value for each point: %",
                               sweep.parameters[0].name, " has ", points, ", and %", parameter.name,
                               " has ", parameter.size()));
    }
    sweep_values_ += points;
    Swept& may = parameters_.emplace_back();
    if (const auto* ints = std::get_if<std::vector<int64_t>>(&parameter.values)) {
      may.ints = true;
      may.component = std::all_of(ints->begin(), ints->end(), [](int64_t i) { return i >= 0; });
    }
    if (const auto* rows = std::get_if<std::vector<std::vector<int64_t>>>(&parameter.values)) {
      may.rows = true;
      for (const std::vector<int64_t>& row : *rows) {
        if (row.empty()) return Fail("a row of tokens is empty");
      }
    }
    if (const auto* texts = std::get_if<std::vector<std::string>>(&parameter.values)) {
      may.texts = true;
      for (const std::string& text : *texts) {
        if (!CheckText(text, "a value of a sweep")) return false;
      }
      may.component = std::all_of(texts->begin(), texts->end(), [](const std::string& text) {
        return IsPath(text) && text.find('.') == std::string::npos;
      });
    }
  }
  return sweep_values_ <= limits_.list_items ||
         Fail(absl::StrCat("the program's sweeps have ", sweep_values_,
                           " values up to here; at most ", limits_.list_items, " are allowed"),
              "", absl::StatusCode::kResourceExhausted);
}

bool Checker::CheckInvoke(const Invoke& invoke) {
  if (std::holds_alternative<Invoke::AllRows>(invoke.input)) return true;
  if (const auto* prompts = std::get_if<Invoke::Prompts>(&invoke.input)) {
    if (prompts->texts.empty()) return Fail("an invoke needs at least one prompt");
    for (const std::string& text : prompts->texts) {
      if (!CheckText(text, "a prompt")) return false;
    }
    return true;
  }
  if (const auto* tensors = std::get_if<Invoke::Tensors>(&invoke.input)) {
    if (tensors->inputs.empty()) return Fail("an invoke needs at least one tensor");
    argument_count_ += tensors->inputs.size();
    absl::flat_hash_set<std::string> names;
    for (const NamedInput& input : tensors->inputs) {
      if (input.name.empty()) {
        if (!names.empty()) return Fail("an input by position follows one by name");
        continue;
      }
      if (!IsName(input.name)) return Fail("an input's name is not a name");
      if (!names.insert(input.name).second) {
        return Fail(absl::StrCat("the input `", input.name, "` is given twice"));
      }
    }
    return true;
  }
  if (const auto* chats = std::get_if<Invoke::Chats>(&invoke.input)) return CheckChats(*chats);
  if (const auto* swept = std::get_if<SweptPrompt>(&invoke.input)) {
    return CheckUse(swept->use, UseOf::kPrompt);
  }
  const auto& rows = std::get<Invoke::Tokens>(invoke.input).rows;
  if (rows.empty()) return Fail("an invoke needs at least one row of tokens");
  for (const std::vector<int64_t>& row : rows) {
    if (row.empty()) return Fail("a row of tokens is empty");
  }
  return true;
}

bool Checker::CheckChats(const ChatInput& chats) {
  if (chats.chats.empty()) return Fail("an invoke needs at least one chat");
  size_t messages = 0;
  for (const std::vector<ChatMessage>& chat : chats.chats) {
    if (chat.empty()) return Fail("a chat needs at least one message");
    messages += chat.size();
    if (!CheckCount(messages, "messages")) return false;
    for (const ChatMessage& said : chat) {
      if (said.role.empty()) return Fail("a message of a chat needs a role, such as \"user\"");
      if (said.role.size() > kLongestRole) {
        return Fail(absl::StrCat("a role has ", said.role.size(), " bytes; at most ", kLongestRole,
                                 " are allowed"));
      }
      if (!CheckText(said.role, "a role") || !CheckText(said.content, "a message")) return false;
    }
  }
  if (!chats.add_generation_prompt || !chats.continue_final_message) return true;
  return Fail("a chat ends either with the generation prompt or with a message to go on with");
}

bool Checker::CheckConstant(const Constant& constant) {
  if (const auto* text = std::get_if<std::string>(&constant.plain)) {
    return CheckText(*text, "a text");
  }
  if (constant.is_plain()) return true;
  const HostTensor& tensor = constant.tensor;
  // Of a blob the bytes are elsewhere, and are counted there.
  const bool elsewhere = !constant.blob.empty() && tensor.data == nullptr;
  const absl::Status status =
      elsewhere ? CheckShape(tensor.dtype, tensor.shape) : CheckTensor(tensor);
  if (!status.ok()) return Fail(std::string(status.message()));
  if (!constant.blob.empty()) {
    return constant.blob.size() == kBlobHashSize ||
           Fail(absl::StrCat("a blob is named by the ", kBlobHashSize, " bytes of its SHA-256"));
  }
  constant_bytes_ += tensor.bytes;
  if (constant_bytes_ <= limits_.constant_bytes) return true;
  return Fail(absl::StrCat("the program's constants take ", constant_bytes_,
                           " bytes up to here; at most ", limits_.constant_bytes, " are allowed"),
              "upload what is larger as a blob", absl::StatusCode::kResourceExhausted);
}

bool Checker::CheckModule(const std::string& module) {
  return IsPath(module) ||
         Fail("a module's path is names joined by dots, such as transformer.h.5.mlp");
}

bool Checker::CheckSite(const Site& site) {
  if (OfInvoke(site.point)) {
    if (site.point > Point::kBeamScores) {
      return Fail(absl::StrCat("the site's point ", static_cast<int>(site.point), " is unknown"));
    }
    if (!site.module.empty() || site.visit != 0 || !site.op.empty() || !site.parameters.empty()) {
      return Fail(absl::StrCat("`", ToString(site), "` belongs to the invoke, not to a module"));
    }
    return true;
  }
  const bool known = site.point == Point::kOutput || site.point == Point::kInput ||
                     site.point == Point::kInputs || OfAttention(site.point);
  if (!known) {
    return Fail(absl::StrCat("the site's point ", static_cast<int>(site.point), " is unknown"));
  }
  if (!site.op.empty()) {
    if (!IsName(site.op)) return Fail("an operation is named such as linear_0");
    if (OfAttention(site.point)) {
      return Fail("an operation has `input`, `inputs` and `output`, not attention's points");
    }
  }
  return CheckSitePath(site);
}

bool Checker::CheckSitePath(const Site& site) {
  if (site.parameters.empty()) return site.module.empty() || CheckModule(site.module);
  if (!IsPathWithGaps(site.module)) return CheckModule(site.module);
  uint32_t component = 0;
  auto parameter = site.parameters.begin();
  for (absl::string_view part : absl::StrSplit(site.module, '.')) {
    const bool filled = parameter != site.parameters.end() && parameter->component == component;
    if (filled != (part == "$")) break;
    if (filled && !CheckUse((parameter++)->use, UseOf::kPath)) return false;
    ++component;
  }
  return parameter == site.parameters.end() &&
                 component == 1 + std::count(site.module.begin(), site.module.end(), '.')
             ? true
             : Fail("each `$` in a site's path is a component that a sweep fills in, in order");
}

bool Checker::CheckUse(const SweepUse& use, UseOf as) {
  if (use.sweep == kNoNode || use.sweep != sweep_) {
    return Fail(absl::StrCat("this uses a parameter of node ", use.sweep,
                             ", which is not a sweep around it"));
  }
  if (use.parameter >= parameters_.size()) {
    return Fail(absl::StrCat("this uses parameter ", use.parameter, " of a sweep that has ",
                             parameters_.size()));
  }
  const Swept& may = parameters_[use.parameter];
  const std::string& name =
      std::get<Sweep>(program_.at(sweep_).kind).parameters[use.parameter].name;
  if (as == UseOf::kIndex && !may.ints) {
    return Fail(
        absl::StrCat("%", name, " is an index or a bound here: its values must be integers"));
  }
  if (as == UseOf::kPrompt && !may.texts && !may.rows) {
    return Fail(absl::StrCat("%", name,
                             " is a prompt here: its values must be texts, or rows of "
                             "token ids"));
  }
  if (as == UseOf::kArgument && may.rows) {
    return Fail(absl::StrCat("%", name, " is a row of token ids, which can be a prompt alone"),
                "read `ids` in the invoke");
  }
  if (as == UseOf::kPath && !may.component) {
    return Fail(absl::StrCat("$", name,
                             " is a part of a path here: its values must be integers "
                             "from 0, or names without dots"));
  }
  return true;
}

bool Checker::CheckSlice(const Slice& slice) {
  if ((slice.start && slice.start_parameter) || (slice.stop && slice.stop_parameter)) {
    return Fail("a slice's bound is a number or a sweep's parameter, not both");
  }
  return (!slice.start_parameter || CheckUse(*slice.start_parameter, UseOf::kIndex)) &&
         (!slice.stop_parameter || CheckUse(*slice.stop_parameter, UseOf::kIndex));
}

bool Checker::CheckTerms(const std::vector<IndexTerm>& terms) {
  argument_count_ += terms.size();
  int ellipses = 0;
  for (const IndexTerm& term : terms) {
    if (std::holds_alternative<Ellipsis>(term) && ++ellipses > 1) {
      return Fail("an index holds more than one `...`");
    }
    if (const auto* key = std::get_if<std::string>(&term)) {
      if (!CheckText(*key, "a key")) return false;
    }
    if (const auto* slice = std::get_if<Slice>(&term)) {
      if (!CheckSlice(*slice)) return false;
    }
    if (const auto* use = std::get_if<SweepUse>(&term)) {
      if (!CheckUse(*use, UseOf::kIndex)) return false;
    }
  }
  return true;
}

bool Checker::CheckArgumentValues(const std::vector<Argument>& arguments, int list_depth) {
  argument_count_ += arguments.size();
  for (const Argument& argument : arguments) {
    if (const auto* text = std::get_if<std::string>(&argument.value)) {
      if (!CheckText(*text, "an argument")) return false;
    }
    if (const auto* use = std::get_if<SweepUse>(&argument.value)) {
      if (!CheckUse(*use, UseOf::kArgument)) return false;
    }
    const auto* list = std::get_if<Argument::List>(&argument.value);
    if (list == nullptr) continue;
    if (list_depth >= kMaxListDepth) {
      return Fail(absl::StrCat("lists nest deeper than ", kMaxListDepth));
    }
    for (const Argument& item : *list) {
      if (!item.name.empty()) return Fail("an item of a list has a name");
    }
    if (!CheckArgumentValues(*list, list_depth + 1)) return false;
  }
  return true;
}

bool Checker::CheckArguments(const std::vector<Argument>& arguments, bool named) {
  absl::flat_hash_set<std::string> names;
  for (const Argument& argument : arguments) {
    if (argument.name.empty()) {
      if (!names.empty()) return Fail("an argument by position follows one by name");
      continue;
    }
    if (!named) return Fail("an item has a name");
    if (!IsName(argument.name)) return Fail("an argument's name is not a name");
    if (!names.insert(argument.name).second) {
      return Fail(absl::StrCat("the argument `", argument.name, "` is given twice"));
    }
  }
  return CheckArgumentValues(arguments, 0);
}

bool Checker::CheckStructure(const Structure& structure) {
  switch (structure.kind) {
    case Structure::Kind::kList:
    case Structure::Kind::kTuple:
      return CheckArguments(structure.items, /*named=*/false);
    case Structure::Kind::kDict:
      break;
    default:
      return Fail("the structure's kind is unknown");
  }
  absl::flat_hash_set<std::string> keys;
  for (const Argument& item : structure.items) {
    if (!CheckText(item.name, "a key")) return false;
    if (!keys.insert(item.name).second) return Fail("a key of the dict is given twice");
  }
  return CheckArgumentValues(structure.items, 0);
}

bool Checker::CheckAssign(const Assign& assign) {
  if (assign.index.empty()) return Fail("an assignment's index is empty");
  if (!CheckTerms(assign.index)) return false;
  // CheckUses comes later: a target that does not exist is its to name.
  if (assign.target == kNoNode || assign.target >= id_) return true;
  const NodeId scope = scopes_[id_];
  if (scope == kNoNode || scopes_[assign.target] == scope) return true;
  return Fail("a region makes no new version of a name from outside it",
              Is<Sweep>(scope)   ? "use an operator that makes a new value"
              : Is<Steps>(scope) ? "carry the value, or use an operator that makes a new one"
                                 : "yield the new value, or use an operator that makes a new one");
}

bool Checker::CheckFloatDType(const std::optional<DType>& dtype) {
  if (!dtype) return true;
  switch (*dtype) {
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
    case DType::kF64:
      return true;
    default:
      return Fail(
          absl::StrCat("floats are converted to a dtype of floats, not to ", ToString(*dtype)),
          "convert other values with aten::to");
  }
}

bool Checker::CheckSave(const Save& save) {
  return CheckSavedName(save.name) && CheckFloatDType(save.dtype);
}

bool Checker::CheckCache(const Cache& cache) {
  if (!CheckSavedName(cache.name) || !CheckFloatDType(cache.dtype) ||
      !CheckCount(cache.modules.size(), "modules")) {
    return false;
  }
  absl::flat_hash_set<std::string> seen;
  for (const std::string& module : cache.modules) {
    if (!CheckModule(module)) return false;
    if (!seen.insert(module).second) {
      return Fail(absl::StrCat("the module ", module, " is cached twice"));
    }
  }
  return true;
}

bool Checker::CheckSteps(const Steps& steps) {
  argument_count_ += steps.initial.size();
  if (!CheckCount(steps.list.size(), "steps") || !CheckSlice(steps.range)) return false;
  int64_t before = -1;
  for (int64_t step : steps.list) {
    if (step <= before) {
      return Fail("steps are listed in ascending order, each once, counted from 0");
    }
    before = step;
  }
  const Slice& range = steps.range;
  if (range.start.value_or(0) < 0 || range.stop.value_or(0) < 0) {
    return Fail("steps are counted from 0: how many come is not known before");
  }
  if (range.step.value_or(1) < 1) return Fail("the step of a range of steps is at least 1");
  if (range.stop && !range.start_parameter && *range.stop <= range.start.value_or(0)) {
    return Fail("this range selects no step");
  }
  return true;
}

bool Checker::CheckKind() {
  struct KindChecker {
    Checker* checker;
    bool operator()(const Trace& trace) const { return checker->CheckTrace(trace); }
    bool operator()(const Sweep& sweep) const { return checker->CheckSweep(sweep); }
    bool operator()(const Invoke& invoke) const { return checker->CheckInvoke(invoke); }
    bool operator()(const Constant& constant) const { return checker->CheckConstant(constant); }
    bool operator()(const Read& read) const { return checker->CheckSite(read.site); }
    bool operator()(const Operator& op) const {
      if (!IsOperatorName(op.name)) {
        return checker->Fail("an operator's name has a namespace, such as aten::mul");
      }
      return checker->CheckArguments(op.arguments, /*named=*/true);
    }
    bool operator()(const Index& index) const {
      if (index.terms.empty()) return checker->Fail("an index is empty");
      return checker->CheckTerms(index.terms);
    }
    bool operator()(const Structure& structure) const { return checker->CheckStructure(structure); }
    bool operator()(const Call& call) const {
      return checker->CheckModule(call.module) &&
             checker->CheckArguments(call.arguments, /*named=*/true);
    }
    bool operator()(const Parameter& parameter) const {
      return IsPath(parameter.path) || checker->Fail("a parameter's path is names joined by dots");
    }
    bool operator()(const Write& write) const {
      return checker->CheckSite(write.site) && checker->CheckTerms(write.index);
    }
    bool operator()(const Assign& assign) const { return checker->CheckAssign(assign); }
    bool operator()(const Skip& skip) const { return checker->CheckModule(skip.module); }
    bool operator()(const Save& save) const { return checker->CheckSave(save); }
    bool operator()(const Log& log) const { return checker->CheckText(log.label, "a log's label"); }
    bool operator()(const Cache& cache) const { return checker->CheckCache(cache); }
    bool operator()(const Steps& steps) const { return checker->CheckSteps(steps); }
    bool operator()(const Yield& yield) const {
      checker->argument_count_ += yield.values.size();
      return true;
    }
    // Their places and uses are all there is to them.
    bool operator()(const Stop&) const { return true; }
    bool operator()(const Backward&) const { return true; }
    bool operator()(const GradRead&) const { return true; }
    bool operator()(const GradWrite&) const { return true; }
    bool operator()(const If&) const { return true; }
    bool operator()(const Branch&) const { return true; }
    bool operator()(const Carry&) const { return true; }
    bool operator()(const RegionResult&) const { return true; }
  };
  argument_count_ = 0;
  if (!std::visit(KindChecker{this}, node_->kind)) return false;
  if (argument_count_ <= limits_.arguments) return true;
  return Fail(absl::StrCat("this has ", argument_count_, " arguments; at most ", limits_.arguments,
                           " are allowed"),
              "", absl::StatusCode::kResourceExhausted);
}

absl::Status Check(const Program& program, const ProgramLimits& limits) {
  return Checker(program, limits).Run();
}

}  // namespace weft::graph
