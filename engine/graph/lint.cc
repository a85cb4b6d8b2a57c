#include "engine/graph/lint.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/syntax.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

/// Calls `use` with every value that `node` uses.
template <typename Use>
void ForEachUse(const std::vector<Argument>& arguments, const Use& use) {
  for (const Argument& argument : arguments) {
    if (const auto* ref = std::get_if<NodeRef>(&argument.value)) use(ref->id);
    if (const auto* list = std::get_if<Argument::List>(&argument.value)) ForEachUse(*list, use);
  }
}
template <typename Use>
void ForEachUse(const std::vector<IndexTerm>& terms, const Use& use) {
  for (const IndexTerm& term : terms) {
    if (const auto* ref = std::get_if<NodeRef>(&term)) use(ref->id);
  }
}
template <typename Use>
void ForEachUse(const Node& node, const Use& use) {
  if (const auto* op = std::get_if<Operator>(&node.kind)) ForEachUse(op->arguments, use);
  if (const auto* call = std::get_if<Call>(&node.kind)) ForEachUse(call->arguments, use);
  if (const auto* made = std::get_if<Structure>(&node.kind)) ForEachUse(made->items, use);
  if (const auto* skip = std::get_if<Skip>(&node.kind)) use(skip->value);
  if (const auto* save = std::get_if<Save>(&node.kind)) use(save->value);
  if (const auto* log = std::get_if<Log>(&node.kind)) use(log->value);
  if (const auto* backward = std::get_if<Backward>(&node.kind)) {
    use(backward->loss);
    if (backward->gradient != kNoNode) use(backward->gradient);
  }
  if (const auto* read = std::get_if<GradRead>(&node.kind)) use(read->value);
  if (const auto* write = std::get_if<GradWrite>(&node.kind)) {
    use(write->value);
    use(write->gradient);
  }
  if (const auto* index = std::get_if<Index>(&node.kind)) {
    use(index->target);
    ForEachUse(index->terms, use);
  }
  if (const auto* write = std::get_if<Write>(&node.kind)) {
    ForEachUse(write->index, use);
    use(write->value);
  }
  if (const auto* assign = std::get_if<Assign>(&node.kind)) {
    use(assign->target);
    ForEachUse(assign->index, use);
    use(assign->value);
  }
}

/// One check of one program. Every function returns false once `status_` is set.
class Checker {
 public:
  Checker(const Program& program, const ProgramLimits& limits)
      : program_(program), limits_(limits) {}

  absl::Status Run();

 private:
  bool Fail(const std::string& message, const std::string& hint = "",
            absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    status_ = StatementError(code, program_, id_, message, hint);
    return false;
  }

  bool CheckPlace();
  bool CheckInBackward();
  bool CheckName();
  bool CheckUses();
  bool CheckInvoke(const Invoke& invoke);
  bool CheckConstant(const Constant& constant);
  bool CheckSite(const Site& site);
  bool CheckModule(const std::string& module);
  bool CheckTerms(const std::vector<IndexTerm>& terms);
  bool CheckArguments(const std::vector<Argument>& arguments, bool named);
  bool CheckArgumentValues(const std::vector<Argument>& arguments, int list_depth);
  bool CheckStructure(const Structure& structure);
  bool CheckKind();
  bool CheckText(const std::string& text, const char* what) {
    return IsUtf8(text) || Fail(absl::StrCat(what, " is not valid UTF-8"));
  }

  const Program& program_;
  const ProgramLimits& limits_;
  absl::Status status_;
  NodeId id_ = kNoNode;
  const Node* node_ = nullptr;

  NodeId open_invoke_ = kNoNode;
  NodeId open_backward_ = kNoNode;
  NodeId all_rows_ = kNoNode;
  NodeId stop_ = kNoNode;
  bool has_rows_ = false;  // an invoke with an input of its own
  uint64_t constant_bytes_ = 0;
  uint64_t argument_count_ = 0;
  absl::flat_hash_map<std::string, NodeId> values_;
  absl::flat_hash_map<std::string, NodeId> saves_;
};

absl::Status Checker::Run() {
  if (program_.nodes.empty()) return absl::InvalidArgumentError("the program is empty");
  if (program_.nodes.size() > limits_.nodes) {
    return absl::ResourceExhaustedError(absl::StrCat("the program has ", program_.nodes.size(),
                                                     " nodes; at most ", limits_.nodes,
                                                     " are allowed"));
  }
  for (id_ = 1; id_ <= program_.nodes.size(); ++id_) {
    node_ = &program_.at(id_);
    if (!CheckPlace() || !CheckName() || !CheckKind() || !CheckUses()) return status_;
  }
  if (!has_rows_) {
    if (all_rows_ == kNoNode) return absl::InvalidArgumentError("the program has no invoke");
    id_ = all_rows_;
    Fail("`invoke { }` sees the rows of the trace's other invokes, and there are none",
         "add an invoke with an input");
    return status_;
  }
  return absl::OkStatus();
}

bool Checker::CheckPlace() {
  if (stop_ != kNoNode) {
    return Fail("this is written after `stop` and would never run",
                "move it before `stop`, or remove it");
  }
  if (std::holds_alternative<Trace>(node_->kind)) {
    if (id_ == 1 && node_->parent == kNoNode) return true;
    if (node_->parent != kNoNode) return Fail("a trace stands inside another node");
    return Fail("more than one trace is in the contract but not executed by this version", "",
                absl::StatusCode::kUnimplemented);
  }
  if (id_ == 1) return Fail("a program begins with its trace");
  if (node_->parent == kNoNode || node_->parent >= id_) {
    return Fail(absl::StrCat("node ", id_, " has the parent ", node_->parent,
                             ", which is not a container before it"));
  }
  const Node& parent = program_.at(node_->parent);
  if (std::holds_alternative<Invoke>(node_->kind)) {
    if (!std::holds_alternative<Trace>(parent.kind)) return Fail("an invoke stands in its trace");
    open_invoke_ = id_;
    open_backward_ = kNoNode;
    return true;
  }
  if (std::holds_alternative<Trace>(parent.kind)) {
    open_invoke_ = open_backward_ = kNoNode;
    if (std::holds_alternative<Constant>(node_->kind)) return true;
    return Fail("this stands outside an invoke; only constants may");
  }
  if (std::holds_alternative<Backward>(parent.kind)) {
    if (node_->parent != open_backward_) {
      return Fail(absl::StrCat("the statements of one `backward` must stand together, and that of ",
                               "node ", node_->parent, " has ended"));
    }
    return CheckInBackward();
  }
  open_backward_ = kNoNode;
  if (std::holds_alternative<GradRead>(node_->kind) ||
      std::holds_alternative<GradWrite>(node_->kind)) {
    return Fail("a gradient is read and written inside `backward %loss { ... }`");
  }
  if (!std::holds_alternative<Invoke>(parent.kind)) {
    return Fail(absl::StrCat("node ", id_, " stands inside node ", node_->parent,
                             ", which is not a container"));
  }
  if (node_->parent != open_invoke_) {
    return Fail(
        absl::StrCat("the statements of one invoke must stand together, and the invoke of "
                     "node ",
                     node_->parent, " has ended"));
  }
  if (std::holds_alternative<Backward>(node_->kind)) open_backward_ = id_;
  return true;
}

bool Checker::CheckInBackward() {
  const char* refused = nullptr;
  if (std::holds_alternative<Read>(node_->kind)) {
    refused = "a site is read before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Write>(node_->kind)) {
    refused = "a site is written before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Skip>(node_->kind)) {
    refused = "a module is skipped before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Stop>(node_->kind)) {
    refused = "`stop` stands after `backward`";
  } else if (std::holds_alternative<Backward>(node_->kind)) {
    refused = "a `backward` stands inside another; write them one after the other";
  }
  return refused == nullptr || Fail(refused);
}

bool Checker::CheckName() {
  if (node_->name.empty()) return true;
  if (!IsName(node_->name)) {
    return Fail(
        "a value's name is letters, digits and underscores, and does not begin with a digit");
  }
  if (!YieldsValue(*node_)) return Fail("this has a name but yields no value");
  const auto [found, added] = values_.emplace(node_->name, id_);
  if (added) return true;
  return Fail(absl::StrCat("%", node_->name, " is already the value of `",
                           PrintStatement(program_, found->second), "`"),
              "give each value a name of its own");
}

bool Checker::CheckUses() {
  bool good = true;
  ForEachUse(*node_, [&](NodeId used) {
    if (!good) return;
    if (used == kNoNode || used > program_.nodes.size()) {
      good = Fail(absl::StrCat("this uses node ", used, ", which does not exist"));
    } else if (used >= id_) {
      good = Fail(absl::StrCat("this uses node ", used, " before it exists"));
    } else if (!YieldsValue(program_.at(used))) {
      good = Fail(
          absl::StrCat("this uses `", PrintStatement(program_, used), "`, which yields no value"));
    }
  });
  return good;
}

bool Checker::CheckInvoke(const Invoke& invoke) {
  if (std::holds_alternative<Invoke::AllRows>(invoke.input)) {
    if (all_rows_ == kNoNode) all_rows_ = id_;
    return true;
  }
  has_rows_ = true;
  if (const auto* prompts = std::get_if<Invoke::Prompts>(&invoke.input)) {
    if (prompts->texts.empty()) return Fail("an invoke needs at least one prompt");
    for (const std::string& text : prompts->texts) {
      if (!CheckText(text, "a prompt")) return false;
    }
    return true;
  }
  const auto& rows = std::get<Invoke::Tokens>(invoke.input).rows;
  if (rows.empty()) return Fail("an invoke needs at least one row of tokens");
  for (const std::vector<int64_t>& row : rows) {
    if (row.empty()) return Fail("a row of tokens is empty");
  }
  return true;
}

bool Checker::CheckConstant(const Constant& constant) {
  if (absl::Status status = CheckTensor(constant.tensor); !status.ok()) {
    return Fail(std::string(status.message()));
  }
  constant_bytes_ += constant.tensor.bytes;
  if (constant_bytes_ <= limits_.constant_bytes) return true;
  return Fail(absl::StrCat("the program's constants take ", constant_bytes_,
                           " bytes up to here; at most ", limits_.constant_bytes, " are allowed"),
              "", absl::StatusCode::kResourceExhausted);
}

bool Checker::CheckModule(const std::string& module) {
  return IsPath(module) ||
         Fail("a module's path is names joined by dots, such as transformer.h.5.mlp");
}

bool Checker::CheckSite(const Site& site) {
  switch (site.point) {
    case Point::kOutput:
    case Point::kInput:
      return site.module.empty() || CheckModule(site.module);
    case Point::kResult:
    case Point::kIds:
    case Point::kMask:
    case Point::kPositions:
    case Point::kRows:
      if (!site.module.empty() || site.visit != 0) {
        return Fail(absl::StrCat("`", ToString(site), "` belongs to the invoke, not to a module"));
      }
      return true;
  }
  return Fail(absl::StrCat("the site's point ", static_cast<int>(site.point), " is unknown"));
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
  }
  return true;
}

bool Checker::CheckArgumentValues(const std::vector<Argument>& arguments, int list_depth) {
  argument_count_ += arguments.size();
  for (const Argument& argument : arguments) {
    if (const auto* text = std::get_if<std::string>(&argument.value)) {
      if (!CheckText(*text, "an argument")) return false;
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

bool Checker::CheckKind() {
  struct KindChecker {
    Checker* checker;
    bool operator()(const Trace& trace) const {
      return checker->CheckText(trace.label, "the trace's label");
    }
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
    bool operator()(const Assign& assign) const {
      if (assign.index.empty()) return checker->Fail("an assignment's index is empty");
      return checker->CheckTerms(assign.index);
    }
    bool operator()(const Skip& skip) const { return checker->CheckModule(skip.module); }
    bool operator()(const Save& save) const {
      if (!IsName(save.name)) {
        return checker->Fail(
            "a saved name is letters, digits and underscores, and does not begin with a digit");
      }
      const auto [found, added] = checker->saves_.emplace(save.name, checker->id_);
      if (added) return true;
      return checker->Fail(absl::StrCat("the name `", save.name, "` is already saved by `",
                                        PrintStatement(checker->program_, found->second), "`"),
                           "give each save a name of its own");
    }
    bool operator()(const Log& log) const { return checker->CheckText(log.label, "a log's label"); }
    bool operator()(const Stop&) const {
      checker->stop_ = checker->id_;
      return true;
    }
    // Their uses are all there is to them.
    bool operator()(const Backward&) const { return true; }
    bool operator()(const GradRead&) const { return true; }
    bool operator()(const GradWrite&) const { return true; }
  };
  argument_count_ = 0;
  if (!std::visit(KindChecker{this}, node_->kind)) return false;
  if (argument_count_ <= limits_.arguments) return true;
  return Fail(absl::StrCat("this has ", argument_count_, " arguments; at most ", limits_.arguments,
                           " are allowed"),
              "", absl::StatusCode::kResourceExhausted);
}

/// True for what may be meant for its effect alone: `add_`, but not `__and__`.
bool MayMutate(const Operator& op) {
  const size_t dot = op.name.find('.');
  const std::string base = op.name.substr(0, dot);
  return !base.empty() && base.back() == '_';
}

}  // namespace

absl::Status Check(const Program& program, const ProgramLimits& limits) {
  return Checker(program, limits).Run();
}

std::vector<Error> Lint(const Program& program) {
  std::vector<Error> warnings;
  const auto warn = [&](NodeId node, const std::string& message, const std::string& hint) {
    Error warning =
        FromStatus(StatementError(absl::StatusCode::kUnknown, program, node, message, hint));
    warning.code = absl::StatusCode::kOk;
    warnings.push_back(std::move(warning));
  };

  std::vector<bool> used(program.nodes.size() + 1, false);
  absl::flat_hash_map<std::pair<NodeId, std::string>, std::vector<NodeId>> reads;
  std::vector<std::pair<NodeId, NodeId>> overtaken;  // a read, and the write after it
  bool saves = false;
  for (NodeId id = 1; id <= program.nodes.size(); ++id) {
    const Node& node = program.at(id);
    ForEachUse(node, [&](NodeId value) {
      if (value < used.size()) used[value] = true;
    });
    saves |= std::holds_alternative<Save>(node.kind);
    if (const auto* read = std::get_if<Read>(&node.kind)) {
      reads[{program.InvokeOf(id), ToString(read->site)}].push_back(id);
    }
    if (const auto* write = std::get_if<Write>(&node.kind)) {
      const auto found = reads.find({program.InvokeOf(id), ToString(write->site)});
      if (found == reads.end()) continue;
      // What was used up to here is what the write is made from, or was plainly meant as it was.
      for (NodeId read : found->second) {
        if (!used[read]) overtaken.emplace_back(read, id);
      }
      reads.erase(found);
    }
  }
  for (const auto& [read, write] : overtaken) {
    if (!used[read]) continue;
    warn(read,
         absl::StrCat("this is written before `", PrintStatement(program, write),
                      "` and does not see it, though it is used only after it"),
         "read the site after the write if the new value is meant");
  }
  for (NodeId id = 1; id <= program.nodes.size(); ++id) {
    const Node& node = program.at(id);
    if (used[id] || !YieldsValue(node)) continue;
    const auto* op = std::get_if<Operator>(&node.kind);
    if (op != nullptr && MayMutate(*op)) continue;
    warn(id, "nothing uses this value", "");
  }
  if (!saves && !program.nodes.empty()) {
    Error warning;
    warning.code = absl::StatusCode::kOk;
    warning.message = "the program saves nothing";
    warning.hint = "name what should come back with `save NAME = %value`";
    warnings.push_back(std::move(warning));
  }
  return warnings;
}

}  // namespace weft::graph
