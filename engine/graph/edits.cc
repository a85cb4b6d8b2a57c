#include "engine/graph/edits.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/changes.h"
#include "engine/graph/renumber.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

/// Copies of an edit are bounded by its text's length as well as by their number, since a statement
/// may be long.
constexpr size_t kMaxCopiedText = size_t{8} << 20;

template <typename Kind>
bool Is(const Node& node) {
  return std::holds_alternative<Kind>(node.kind);
}

bool HasOwnRows(const Node& node) {
  const auto* invoke = std::get_if<Invoke>(&node.kind);
  return invoke != nullptr && !std::holds_alternative<Invoke::AllRows>(invoke->input);
}

absl::Status EditError(const std::string& name, const Program& program, NodeId node,
                       const std::string& message, const std::string& hint = "") {
  return StatementError(absl::StatusCode::kInvalidArgument, program, node,
                        absl::StrCat("edit `", name, "`: ", message), hint);
}

/// The same where the edit is applied.
absl::Status MergeError(const Edit& edit, NodeId node, const std::string& message,
                        const std::string& hint = "") {
  return ToStatus(
      InEdit(edit.name, FromStatus(EditError(edit.name, *edit.program, node, message, hint))));
}

/// The name under which a node brings something back; nullptr if it does not.
const std::string* SavedName(const Node& node) {
  if (const auto* save = std::get_if<Save>(&node.kind)) return &save->name;
  if (const auto* cache = std::get_if<Cache>(&node.kind)) return &cache->name;
  return nullptr;
}

/// True if these steps hold the first, which is the only one of a trace that is no generation. The
/// check has seen that they are counted from it and that there are any.
bool SelectsFirstStep(const Steps& steps) {
  if (steps.list.empty()) return steps.range.start.value_or(0) == 0;
  return std::find(steps.list.begin(), steps.list.end(), 0) != steps.list.end();
}

absl::Status CheckShape(const std::string& name, const Program& program) {
  NodeId invoke = kNoNode;
  for (NodeId id = 1; id <= program.nodes.size(); ++id) {
    const Node& node = program.at(id);
    if (const auto* trace = std::get_if<Trace>(&node.kind)) {
      if (id != 1) return EditError(name, program, id, "an edit has one trace");
      if (trace->generate != nullptr) {
        return EditError(name, program, id,
                         "an edit is no generation: it acts in those that it is applied to",
                         "leave out the header, and say in which steps it acts with `steps`");
      }
      if (!trace->adapter.empty()) {
        return EditError(name, program, id,
                         "an edit chooses no adapter: it goes with that of the traces that it is "
                         "applied to",
                         "leave `adapter` out of the header");
      }
    } else if (Is<Sweep>(node)) {
      return EditError(name, program, id, "an edit holds no sweep");
    } else if (Is<Stop>(node)) {
      return EditError(name, program, id,
                       "a stop in an edit would end every program that it is applied to");
    } else if (const auto* call = std::get_if<Call>(&node.kind); call && call->watched) {
      return EditError(name, program, id,
                       "a watched call in an edit would number the visits of every program anew",
                       "call the modules inside it, one after the other");
    } else if (HasOwnRows(node)) {
      return EditError(name, program, id,
                       "an edit has no input of its own: it acts on the rows of others",
                       "write its statements in `invoke { }`");
    } else if (Is<Invoke>(node)) {
      if (invoke != kNoNode) return EditError(name, program, id, "an edit has one `invoke { }`");
      invoke = id;
    }
  }
  if (invoke == kNoNode) {
    return absl::InvalidArgumentError(
        absl::StrCat("edit `", name, "`: there is no `invoke { }` with its statements"));
  }
  if (!Is<Trace>(program.at(1))) {
    return EditError(name, program, 1, "an edit begins with a trace, which has one `invoke { }`");
  }
  return absl::OkStatus();
}

/// Writes a program with edits applied.
class Merger {
 public:
  Merger(const Program& program, absl::Span<const Edit> edits, const ProgramLimits& limits)
      : program_(program), edits_(edits), limits_(limits) {}

  absl::StatusOr<Program> Run();
  std::vector<Origin> TakeOrigins() { return std::move(origins_); }

 private:
  const Trace& TraceOfEdit(const Edit& edit) const {
    return std::get<Trace>(edit.program->at(1).kind);
  }
  bool Applies(const Edit& edit, const Trace& trace) const {
    return TraceOfEdit(edit).root == trace.root;
  }
  absl::Status CheckSaves();
  absl::Status CheckSize() const;
  absl::Status BeginTrace(const Trace& trace);
  absl::Status CopyEdit(size_t which, NodeId invoke);
  std::string FreshName(const std::string& name);
  NodeId Append(Node node, Origin origin);

  const Program& program_;
  const absl::Span<const Edit> edits_;
  std::vector<std::vector<bool>> changed_;  // of each edit: its values that change in place
  const ProgramLimits limits_;
  Program out_;
  std::vector<Origin> origins_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_map<std::string, int> next_;  // number to try, by name
  // Of the trace being copied.
  const Trace* trace_ = nullptr;
  NodeId trace_id_ = kNoNode;
  NodeId all_rows_ = kNoNode;                   // an `invoke { }` of it, in program_
  std::vector<std::vector<NodeId>> constants_;  // of each edit: where they stand, by the edit's ids
};

NodeId Merger::Append(Node node, Origin origin) {
  out_.nodes.push_back(std::move(node));
  origins_.push_back(origin);
  return static_cast<NodeId>(out_.nodes.size());
}

std::string Merger::FreshName(const std::string& name) {
  if (name.empty()) return name;
  std::string fresh = name;
  int& n = next_.try_emplace(name, 2).first->second;
  for (; !names_.insert(fresh).second; ++n) fresh = absl::StrCat(name, "_", n);
  return fresh;
}

absl::Status Merger::CheckSaves() {
  absl::flat_hash_map<std::string, const Edit*> taken;  // by whom; nullptr: the program
  for (const Node& node : program_.nodes) {
    if (const std::string* saved = SavedName(node)) taken.emplace(*saved, nullptr);
  }
  for (const Edit& edit : edits_) {
    size_t invokes = 0;
    const Trace* trace = nullptr;
    for (const Node& node : program_.nodes) {
      if (const auto* next = std::get_if<Trace>(&node.kind)) trace = next;
      if (HasOwnRows(node) && trace != nullptr && Applies(edit, *trace)) ++invokes;
    }
    if (invokes == 0) continue;
    for (NodeId id = 1; id <= edit.program->nodes.size(); ++id) {
      const std::string* saved = SavedName(edit.program->at(id));
      if (saved == nullptr) continue;
      if (invokes > 1) {
        return MergeError(edit, id,
                          absl::StrCat("this would save `", *saved, "` in each of ", invokes,
                                       " invokes, and a name is saved once"),
                          "apply an edit that saves to programs of one invoke");
      }
      // Both branches of an `if` may save it.
      const auto [other, added] = taken.emplace(*saved, &edit);
      if (!added && other->second != &edit) {
        const std::string by = other->second == nullptr
                                   ? "the program"
                                   : absl::StrCat("edit `", other->second->name, "`");
        return MergeError(edit, id,
                          absl::StrCat("the name `", *saved, "` is saved by ", by, " as well"),
                          "give each save a name of its own");
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Merger::CheckSize() const {
  const auto invokes =
      static_cast<size_t>(std::count_if(program_.nodes.begin(), program_.nodes.end(), HasOwnRows));
  const auto traces =
      static_cast<size_t>(std::count_if(program_.nodes.begin(), program_.nodes.end(), Is<Trace>));
  const size_t copies = std::max(invokes, traces);
  size_t nodes = program_.nodes.size();
  size_t text = 0;
  for (const Edit& edit : edits_) {
    nodes += copies * edit.program->nodes.size();
    if (nodes > limits_.nodes) break;
    if (copies > 1) text += copies * PrintProgram(*edit.program, /*max_elements=*/0).size();
  }
  if (nodes <= limits_.nodes && text <= kMaxCopiedText) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("with the statements of ", edits_.size(), " edits in each of ", invokes,
                   " invokes the program has more than ", limits_.nodes,
                   " nodes, or its text more than ", kMaxCopiedText, " bytes"));
}

/// Bring the constants of the edits that apply.
absl::Status Merger::BeginTrace(const Trace& trace) {
  trace_ = &trace;
  trace_id_ = static_cast<NodeId>(out_.nodes.size());
  all_rows_ = kNoNode;
  constants_.assign(edits_.size(), {});
  for (size_t i = 0; i < edits_.size(); ++i) {
    const Edit& edit = edits_[i];
    if (!Applies(edit, trace)) continue;
    if (TraceOfEdit(edit).tuple_outputs != trace.tuple_outputs) {
      return MergeError(edit, 1,
                        "`tuple_outputs` is set in the edit alone, or in the program alone, so "
                        "indices of outputs mean different things there",
                        "open the model with the same option as for the edit");
    }
    constants_[i].assign(edit.program->nodes.size() + 1, kNoNode);
    for (NodeId id = 1; id <= edit.program->nodes.size(); ++id) {
      if (!Is<Constant>(edit.program->at(id)) || changed_[i][id]) continue;
      Node node = edit.program->at(id);
      node.parent = trace_id_;
      node.name = FreshName(node.name);
      node.source.file = absl::StrCat("edit ", edit.name, ", ", node.source.file);
      constants_[i][id] = Append(std::move(node), {static_cast<uint32_t>(i + 1), id});
    }
  }
  return absl::OkStatus();
}

/// Copy the statements of an edit into `invoke`, which has just been opened.
absl::Status Merger::CopyEdit(size_t which, NodeId invoke) {
  const Edit& edit = edits_[which];
  const Program& from = *edit.program;
  const auto number = static_cast<uint32_t>(which + 1);
  const bool plain = trace_->generate == nullptr;
  // Where each of its nodes went; of a region that is written out, where its statements go.
  std::vector<NodeId> to = constants_[which];
  std::vector<bool> left_out(to.size(), false);
  struct Given {
    NodeId value = kNoNode;
    NodeId from = kNoNode;  // in the edit
  };
  absl::flat_hash_map<NodeId, std::vector<Given>> results;  // of regions that are written out
  const auto give = [&](absl::Span<const NodeId> values) {
    std::vector<Given> given;
    for (const NodeId value : values) given.push_back({to[value], value});
    return given;
  };
  // Of what a region is given, or gives: a value of its own where one of both changes in place.
  const auto own = [&](NodeId id, const Given& given) {
    if (!changed_[which][id] && !changed_[which][given.from]) return given.value;
    const Node& node = from.at(id);
    Node copy;
    copy.parent = to[node.parent];
    copy.name = FreshName(node.name);
    copy.source = node.source;
    copy.source.file = absl::StrCat("edit ", edit.name, ", ", node.source.file);
    copy.kind = Operator{"aten::clone", {{"", NodeRef{given.value}}}};
    return Append(std::move(copy), {number, id});
  };
  const auto is_written_out = [&](NodeId region) {
    while (region != kNoNode && !results.contains(region)) region = from.at(region).parent;
    return region != kNoNode;
  };

  for (NodeId id = 1; id <= from.nodes.size(); ++id) {
    const Node& node = from.at(id);
    if (Is<Trace>(node) || Is<Invoke>(node)) {
      to[id] = invoke;
      continue;
    }
    if (to[id] != kNoNode) continue;  // a constant that stands at the head of the trace
    if (left_out[node.parent]) {
      if (const std::string* saved = SavedName(node)) {
        return MergeError(edit, id,
                          absl::StrCat("`", *saved,
                                       "` would be saved in steps of a generation "
                                       "that a plain trace does not have"),
                          "apply the edit to generations, or have it save in `steps [:]`");
      }
      left_out[id] = true;
      continue;
    }
    const auto written_out = results.find(node.parent);
    if (const auto* steps = std::get_if<Steps>(&node.kind); steps != nullptr && plain) {
      results.emplace(id, give(steps->initial));
      to[id] = to[node.parent];
      left_out[id] = !SelectsFirstStep(*steps);
      continue;
    }
    if (written_out != results.end()) {
      if (const auto* carry = std::get_if<Carry>(&node.kind)) {
        to[id] = own(id, written_out->second[carry->index]);
        continue;
      }
      if (const auto* yield = std::get_if<Yield>(&node.kind)) {
        written_out->second = give(yield->values);
        continue;
      }
    }
    if (const auto* result = std::get_if<RegionResult>(&node.kind)) {
      if (const auto region = results.find(result->region); region != results.end()) {
        to[id] = own(id, region->second[result->index]);
        continue;
      }
    }
    Node copy = node;
    copy.name = FreshName(node.name);
    copy.source.file = absl::StrCat("edit ", edit.name, ", ", node.source.file);
    Renumber(to, &copy);
    if (auto* save = std::get_if<Save>(&copy.kind);
        save != nullptr && is_written_out(node.parent)) {
      // What is saved in steps comes back as a list.
      Node list;
      list.parent = copy.parent;
      list.source = copy.source;
      Structure structure;
      structure.items.emplace_back();
      structure.items.back().value = NodeRef{save->value};
      list.kind = std::move(structure);
      save->value = Append(std::move(list), {number, id});
    }
    to[id] = Append(std::move(copy), {number, id});
  }
  return absl::OkStatus();
}

absl::StatusOr<Program> Merger::Run() {
  if (absl::Status status = CheckSize(); !status.ok()) return status;
  if (absl::Status status = CheckSaves(); !status.ok()) return status;
  for (const Node& node : program_.nodes) {
    if (!node.name.empty()) names_.insert(node.name);
    if (const auto* sweep = std::get_if<Sweep>(&node.kind)) {
      for (const SweepParameter& parameter : sweep->parameters) names_.insert(parameter.name);
    }
  }
  for (const Edit& edit : edits_) changed_.push_back(MayBeChanged(*edit.program));
  std::vector<NodeId> to(program_.nodes.size() + 1, kNoNode);
  for (NodeId id = 1; id <= program_.nodes.size(); ++id) {
    Node node = program_.at(id);
    Renumber(to, &node);
    to[id] = Append(std::move(node), {0, id});
    const Node& original = program_.at(id);
    if (const auto* trace = std::get_if<Trace>(&original.kind)) {
      if (absl::Status status = BeginTrace(*trace); !status.ok()) return status;
    } else if (HasOwnRows(original)) {
      for (size_t i = 0; i < edits_.size(); ++i) {
        if (!Applies(edits_[i], *trace_)) continue;
        if (all_rows_ != kNoNode) {
          return StatementError(
              absl::StatusCode::kInvalidArgument, program_, all_rows_,
              absl::StrCat("this stands before an invoke with rows of its own, so it would see "
                           "these before edit `",
                           edits_[i].name, "`, which comes first"),
              "write it after the invokes whose rows it sees");
        }
        if (absl::Status status = CopyEdit(i, to[id]); !status.ok()) return status;
      }
    } else if (Is<Invoke>(original)) {
      all_rows_ = id;
    }
  }
  return std::move(out_);
}

}  // namespace

absl::Status CheckEdit(const std::string& name, const Program& program,
                       const ProgramLimits& limits) {
  if (absl::Status status = CheckShape(name, program); !status.ok()) return status;
  // As a program, with somebody whose rows it sees, and steps if it speaks of them.
  Program applied = program;
  if (std::any_of(program.nodes.begin(), program.nodes.end(), Is<Steps>)) {
    std::get<Trace>(applied.nodes[0].kind).generate =
        std::make_shared<const GenerateOptions>(GenerateOptions{.max_new_tokens = 1});
  }
  Node rows;
  rows.parent = 1;
  rows.kind = Invoke{Invoke::Tokens{{{0}}}};
  applied.nodes.push_back(std::move(rows));
  ProgramLimits with_rows = limits;
  if (with_rows.nodes < std::numeric_limits<uint32_t>::max()) ++with_rows.nodes;
  const absl::Status status = Check(applied, with_rows);
  if (status.ok()) return status;
  Error error = FromStatus(status);
  error.message = absl::StrCat("edit `", name, "`: ", error.message);
  return ToStatus(error);
}

absl::StatusOr<Program> ApplyEdits(const Program& program, absl::Span<const Edit> edits,
                                   const ProgramLimits& limits, std::vector<Origin>* origins) {
  if (absl::Status status = Check(program, limits); !status.ok()) return status;
  for (const Edit& edit : edits) {
    if (absl::Status status = CheckEdit(edit.name, *edit.program, limits); !status.ok()) {
      return ToStatus(InEdit(edit.name, FromStatus(status)));
    }
  }
  Merger merger(program, edits, limits);
  absl::StatusOr<Program> merged = merger.Run();
  if (origins != nullptr) *origins = merger.TakeOrigins();
  return merged;
}

Error InEdit(const std::string& name, Error error) {
  if (error.node == kNoNode) return error;
  error.node = kNoNode;
  error.source.file = absl::StrCat("edit ", name, ", ", error.source.file);
  return error;
}

}  // namespace weft::graph
