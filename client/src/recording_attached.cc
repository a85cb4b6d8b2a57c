// Calls of attached modules. Their operators are ordinary statements; what is added here is that a
// value of one can be replaced after the call. Statements are only ever appended: what follows from
// the replaced value is recorded a second time, and names mean the second one from there on.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"
#include "engine/graph/changes.h"
#include "engine/graph/uses.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

/// True for what keeps the value that it was given.
bool Keeps(const graph::Node& node) {
  return std::holds_alternative<graph::Save>(node.kind) ||
         std::holds_alternative<graph::Log>(node.kind) ||
         std::holds_alternative<graph::GradRead>(node.kind);
}

/// True for what can be recorded anew when a value that it uses is replaced.
bool IsReplayed(const graph::Node& node) {
  return std::holds_alternative<graph::Operator>(node.kind) ||
         std::holds_alternative<graph::Index>(node.kind) ||
         std::holds_alternative<graph::Structure>(node.kind) ||
         std::holds_alternative<graph::Call>(node.kind) ||
         std::holds_alternative<graph::Write>(node.kind) ||
         std::holds_alternative<graph::Assign>(node.kind) ||
         std::holds_alternative<graph::Skip>(node.kind);
}

/// What `node` is a view of; kNoNode if it is none.
NodeId ViewedBy(const graph::Node& node) {
  if (const auto* index = std::get_if<graph::Index>(&node.kind)) {
    // Indexing with tensors copies.
    const bool copies = std::any_of(
        index->terms.begin(), index->terms.end(),
        [](const graph::IndexTerm& term) { return std::holds_alternative<graph::NodeRef>(term); });
    return copies ? kNoNode : index->target;
  }
  const auto* op = std::get_if<graph::Operator>(&node.kind);
  if (op == nullptr || op->arguments.empty() || !IsView(op->name)) return kNoNode;
  const auto* base = std::get_if<graph::NodeRef>(&op->arguments[0].value);
  return base == nullptr ? kNoNode : base->id;
}

/// What `node` changes in place; kNoNode if nothing.
NodeId MutatedBy(const graph::Node& node) {
  if (const auto* assign = std::get_if<graph::Assign>(&node.kind)) return assign->target;
  const auto* op = std::get_if<graph::Operator>(&node.kind);
  if (op == nullptr || op->arguments.empty() || !graph::IsInPlace(op->name)) return kNoNode;
  const auto* target = std::get_if<graph::NodeRef>(&op->arguments[0].value);
  return target == nullptr ? kNoNode : target->id;
}

}  // namespace

Var Recording::CallAttached(const AttachedPart* part, const Operand& x) {
  if (part == nullptr) {
    return Refuse("call", "the attached module has no such part", x.where());
  }
  const std::string statement = "call " + part->type;
  const NodeId input = Use(x, statement);
  if (input == kNoNode) return Poison();
  const int call = static_cast<int>(attached_calls_.size());
  attached_calls_.push_back({part->shared_from_this(), open_call_, OpenInvoke(), input, kNoNode});
  open_call_ = call;
  const Var made = part->body(AttachedModule(part->shared_from_this()), Var(serial_, input));
  NodeId output = Use(made, statement, x.where());
  // A value of its own, so that replacing it replaces nothing else.
  if (output != kNoNode && !IsWithin(notes_[output - 1].attached_call, call)) {
    output = Clone(output, x.where());
  }
  open_call_ = attached_calls_[call].outer;
  attached_calls_[call].output = output;
  return Var(serial_, output);
}

NodeId Recording::Clone(NodeId value, Location where) {
  graph::Operator clone{"aten::clone", {}};
  clone.arguments.emplace_back();
  clone.arguments.back().value = graph::NodeRef{value};
  return Add(std::move(clone), where);
}

NodeId Recording::OpenInvoke() {
  const Frame* invoke = Find(Region::kInvoke);
  return invoke == nullptr ? kNoNode : invoke->node;
}

int Recording::FindCall(const AttachedPart* part, const std::string& statement, Location where) {
  if (!Open(statement, where)) return -1;
  if (part == nullptr) {
    Fail(statement, "the attached module has no such part", where);
    return -1;
  }
  for (int call = static_cast<int>(attached_calls_.size()) - 1; call >= 0; --call) {
    const AttachedCall& made = attached_calls_[call];
    if (made.part.get() == part && made.invoke == OpenInvoke() && made.output != kNoNode)
      return call;
  }
  Fail(statement, absl::StrCat("this ", part->type, " was not called in this invoke"), where,
       "call it before, in the same lambda; its values are there from then on");
  return -1;
}

Var Recording::AttachedOutput(const AttachedPart* part, Location where) {
  const int call = FindCall(part, "output of an attached module", where);
  return call < 0 ? Poison() : Var(serial_, attached_calls_[call].output);
}

Var Recording::AttachedInput(const AttachedPart* part, Location where) {
  const std::string statement = "input of an attached module";
  const int call = FindCall(part, statement, where);
  if (call < 0) return Poison();
  // A copy, so that changing it changes what the module gets and nothing else.
  const NodeId copy = Clone(attached_calls_[call].input, where);
  notes_[copy - 1].droppable = true;
  input_copies_[copy] = call;
  return Var(serial_, copy);
}

bool Recording::IsWithin(int inner, int call) const {
  while (inner >= 0 && inner != call) inner = attached_calls_[inner].outer;
  return inner == call;
}

NodeId Recording::Current(NodeId id) const {
  for (auto found = replaced_.find(id); found != replaced_.end(); found = replaced_.find(id)) {
    id = found->second;
  }
  return id;
}

int Recording::CallOf(NodeId output) const {
  // A module's output may be its last part's: the outer call comes first.
  for (size_t call = 0; call < attached_calls_.size(); ++call) {
    if (attached_calls_[call].output == output) return static_cast<int>(call);
  }
  return -1;
}

bool Recording::AssignAttached(NodeId target, const Operand& value, const std::string& statement) {
  const auto copy = input_copies_.find(target);
  const bool is_input = copy != input_copies_.end();
  const int call = is_input ? copy->second : CallOf(target);
  if (call < 0) return false;
  const auto end = static_cast<NodeId>(program_.nodes.size() + 1);
  NodeId to = Use(value, statement);
  if (to == kNoNode) return true;
  const Arg::Variant& operand = value.arg().value();
  if (!IsNumber(value) || std::holds_alternative<Param>(operand)) {
    // A value of its own, so that replacing it again replaces nothing else.
    to = Clone(to, value.where());
  } else {
    // A number fills it.
    graph::Operator fill{"aten::full_like", {}};
    fill.arguments.resize(2);
    fill.arguments[0].value = graph::NodeRef{target};
    if (const auto* integer = std::get_if<int64_t>(&operand)) fill.arguments[1].value = *integer;
    if (const auto* floating = std::get_if<double>(&operand)) fill.arguments[1].value = *floating;
    if (const auto* boolean = std::get_if<bool>(&operand)) fill.arguments[1].value = *boolean;
    notes_[to - 1].droppable = true;
    to = Add(std::move(fill), value.where());
  }
  Replay({.call = call,
          .input = is_input,
          .from = is_input ? attached_calls_[call].input : target,
          .to = to,
          .end = end},
         statement, value.where());
  return true;
}

void Recording::AfterChange(NodeId changed, NodeId end, const std::string& statement,
                            Location where) {
  if (attached_calls_.empty()) return;
  while (changed != kNoNode) {
    const auto copy = input_copies_.find(changed);
    if (copy != input_copies_.end()) {
      const NodeId from = attached_calls_[copy->second].input;
      return Replay({.call = copy->second, .input = true, .from = from, .to = changed, .end = end},
                    statement, where);
    }
    if (const int call = CallOf(changed); call >= 0) {
      return Replay({.call = call, .from = changed, .to = changed, .end = end}, statement, where);
    }
    changed = ViewedBy(program_.at(changed));
  }
}

bool Recording::SeesChange(const Change& change, int user_call) const {
  if (change.input) return IsWithin(user_call, change.call);
  const int outer = attached_calls_[change.call].outer;
  return (outer < 0 || IsWithin(user_call, outer)) && !IsWithin(user_call, change.call);
}

bool Recording::Supersede(NodeId id) {
  const graph::Node& node = program_.at(id);
  Note& note = notes_[id - 1];
  note.superseded = true;
  // Left out where nothing asks for the first one any more. What changes a value in place is part
  // of what was saved of it.
  note.droppable = MutatedBy(node) == kNoNode;
  const auto* write = std::get_if<graph::Write>(&node.kind);
  if (write == nullptr) return true;
  for (auto later = id + 1; later <= program_.nodes.size(); ++later) {
    const graph::Node& other = program_.at(later);
    if (const auto* read = std::get_if<graph::Read>(&other.kind);
        read && read->site == write->site) {
      note.droppable = false;
    }
    const auto* overwrite = std::get_if<graph::Write>(&other.kind);
    if (overwrite != nullptr && overwrite->site == write->site) return false;
  }
  return true;
}

void Recording::Replay(const Change& change, const std::string& statement, Location where) {
  if (failed_) return;
  const NodeId invoke = OpenInvoke();
  if (attached_calls_[change.call].invoke != invoke) {
    return Fail(statement, "a value of an attached module of another invoke is changed", where,
                "change it in the lambda in which the module was called");
  }
  const bool in_place = change.to == change.from;
  absl::flat_hash_map<NodeId, NodeId> moved;
  absl::flat_hash_set<NodeId> aliases = {change.from};  // views of it
  for (NodeId id = 1; id < change.end; ++id) {
    if (notes_[id - 1].superseded || Keeps(program_.at(id))) continue;
    const bool direct = SeesChange(change, notes_[id - 1].attached_call);
    const bool own = direct && notes_[id - 1].attached_call >= 0;
    // What changed the value before stays part of it, or is gone with it; but the module's own
    // changes are made to a new value as well.
    const NodeId mutated = MutatedBy(program_.at(id));
    const bool changes_it = aliases.contains(mutated);
    if (changes_it && (in_place || !own)) continue;
    if (aliases.contains(ViewedBy(program_.at(id)))) {
      aliases.insert(id);
      if (in_place) continue;
    }
    bool affected = false;
    graph::ForEachUse(program_.at(id), [&](const NodeId& used) {
      affected |= moved.contains(used) ||
                  (direct && (in_place ? aliases.contains(used) : used == change.from));
    });
    if (!affected || program_.InvokeOf(id) != invoke) continue;
    graph::Node again = program_.at(id);
    const Note renewed = {.target_is_temporary = notes_[id - 1].target_is_temporary,
                          .writes_back = notes_[id - 1].writes_back,
                          .attached_call = notes_[id - 1].attached_call};
    if (!IsReplayed(again) || again.parent != frames_.back().node ||
        (mutated != kNoNode && !changes_it && !moved.contains(mutated)) || !Supersede(id)) {
      return Fail(
          statement,
          absl::StrCat("a value of an attached module is changed too late: what it gave was "
                       "used at line ",
                       again.source.line,
                       " to change another value, for a site that was written again, or for "
                       "another region"),
          where, "change it right after the call");
    }
    graph::ForEachUse(again, [&](NodeId& used) {
      if (const auto found = moved.find(used); found != moved.end()) {
        used = found->second;
      } else if (direct && used == change.from) {
        used = change.to;
      }
    });
    moved[id] = Append(std::move(again), WhereOf(id), renewed);
  }
  if (!in_place && !change.input) moved[change.from] = change.to;
  for (int i = 0; i < static_cast<int>(attached_calls_.size()); ++i) {
    AttachedCall& made = attached_calls_[i];
    if (change.input && made.input == change.from && IsWithin(i, change.call)) {
      made.input = change.to;
    }
    if (const auto found = moved.find(made.input); found != moved.end()) made.input = found->second;
    if (const auto found = moved.find(made.output); found != moved.end()) {
      made.output = found->second;
    }
  }
  replaced_.insert(moved.begin(), moved.end());
}

}  // namespace weft::internal
