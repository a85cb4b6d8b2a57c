#include "client/src/recording.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/src/convert.h"
#include "engine/graph/changes.h"
#include "engine/graph/hoist.h"
#include "engine/graph/uses.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

// Far beyond what a server takes; a lambda that loops for ever ends here.
constexpr size_t kMaxNodes = size_t{1} << 20;
constexpr int kMaxListDepth = 2;

thread_local Recording* top = nullptr;

uint64_t NextSerial() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

/// The file's name without its folders, which are nobody else's business.
std::string FileOf(const Location& where) {
  const char* file = where.file_name();
  const char* slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

graph::SourceLocation SourceOf(const Location& where) {
  return {FileOf(where), static_cast<uint32_t>(where.line())};
}

std::string PlaceOf(const Location& where) {
  return absl::StrCat(FileOf(where), ":", where.line());
}

bool IsIdentifier(const std::string& name) {
  const auto letter = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (name.empty() || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool IsItem(const graph::IndexTerm& term) {
  return std::holds_alternative<int64_t>(term) || std::holds_alternative<std::string>(term);
}

/// A number as torch.tensor makes one.
std::optional<Tensor> TensorOf(const Arg& arg) {
  if (const auto* tensor = std::get_if<Tensor>(&arg.value())) return *tensor;
  if (const auto* boolean = std::get_if<bool>(&arg.value())) return tensor(*boolean);
  if (const auto* integer = std::get_if<int64_t>(&arg.value())) return tensor(*integer);
  if (const auto* floating = std::get_if<double>(&arg.value())) return tensor(*floating);
  return std::nullopt;
}

}  // namespace

Recording::Recording(std::shared_ptr<const ModelState> model, Location where)
    : model_(std::move(model)), serial_(NextSerial()), below_(top) {
  top = this;
  Add(graph::Trace{}, where, kNoNode);
}

Recording::~Recording() {
  if (!on_stack_) return;
  Pop();
  for (const auto& save : saves_) {
    save->status = absl::CancelledError("the trace was left by an exception and did not run");
  }
}

void Recording::Pop() {
  top = below_;
  on_stack_ = false;
}

Recording* Recording::Current() { return top; }

void Recording::Fail(const std::string& statement, const std::string& message, Location where,
                     const std::string& hint) {
  if (failed_) return;
  failed_ = true;
  error_.code = absl::StatusCode::kInvalidArgument;
  error_.message = message;
  error_.statement = statement;
  error_.source = SourceOf(where);
  error_.hint = hint;
}

bool Recording::Open(const std::string& statement, Location where) {
  if (failed_) return false;
  if (invoke_ == kNoNode) {
    Fail(statement, "this statement stands outside of an invoke", where,
         "write it in the lambda of Invoke, or of InvokeAll where it concerns all rows");
    return false;
  }
  if (program_.nodes.size() >= kMaxNodes) {
    Fail(statement, absl::StrCat("the program has more than ", kMaxNodes, " statements"), where);
    return false;
  }
  return true;
}

template <typename Kind>
NodeId Recording::Add(Kind kind, Location where, NodeId parent, Note note) {
  graph::Node node;
  node.parent = parent;
  node.source = SourceOf(where);
  node.kind = std::move(kind);
  program_.nodes.push_back(std::move(node));
  note.attached_call = open_call_;
  notes_.push_back(note);
  return static_cast<NodeId>(program_.nodes.size());
}

template <typename Kind>
Var Recording::AddValue(Kind kind, Location where, Note note) {
  return Var(serial_, Add(std::move(kind), where, parent_, note));
}

NodeId Recording::Use(const Var& value, const std::string& statement, Location where) {
  if (failed_) return kNoNode;
  if (value.recording_ == 0) {
    Fail(statement, "a Var that names no value is used", where,
         "give it a value inside this trace first");
    return kNoNode;
  }
  if (value.recording_ != serial_) {
    Fail(statement, "a value of another trace is used", where,
         "save it there, and use the saved tensor here");
    return kNoNode;
  }
  return Current(value.node_);
}

NodeId Recording::AddConstant(const Tensor& tensor, Location where) {
  // The node keeps the bytes alive, so an address names them for as long as this records.
  const bool shareable = tensor.numel() > 0;
  if (shareable) {
    const auto found = constants_.find(tensor.data());
    if (found != constants_.end()) {
      const graph::HostTensor& made =
          std::get<graph::Constant>(program_.at(found->second).kind).tensor;
      if (made.dtype == ToGraph(tensor.dtype()) && made.shape == tensor.shape()) {
        return found->second;
      }
    }
  }
  const NodeId id = Add(graph::Constant{ToGraph(tensor)}, where, parent_);
  if (shareable) constants_[tensor.data()] = id;
  return id;
}

NodeId Recording::Use(const Operand& value, const std::string& statement) {
  if (const auto* var = std::get_if<Var>(&value.arg().value())) {
    return Use(*var, statement, value.where());
  }
  if (!Open(statement, value.where())) return kNoNode;
  return AddConstant(*TensorOf(value.arg()), value.where());
}

bool Recording::ToArgument(const Arg& from, const std::string& statement, Location where, int depth,
                           graph::Argument* to) {
  const Arg::Variant& value = from.value();
  if (const auto* var = std::get_if<Var>(&value)) {
    const NodeId id = Use(*var, statement, where);
    to->value = graph::NodeRef{id};
    return id != kNoNode;
  }
  if (const auto* tensor = std::get_if<Tensor>(&value)) {
    to->value = graph::NodeRef{AddConstant(*tensor, where)};
  } else if (const auto* boolean = std::get_if<bool>(&value)) {
    to->value = *boolean;
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    to->value = *integer;
  } else if (const auto* floating = std::get_if<double>(&value)) {
    to->value = *floating;
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    to->value = *text;
  } else if (const auto* dtype = std::get_if<DType>(&value)) {
    to->value = ToGraph(*dtype);
  } else if (const auto* list = std::get_if<Arg::List>(&value)) {
    if (depth >= kMaxListDepth) {
      Fail(statement, absl::StrCat("lists of arguments nest at most ", kMaxListDepth, " deep"),
           where);
      return false;
    }
    graph::Argument::List items(list->size());
    for (size_t i = 0; i < list->size(); ++i) {
      if (!ToArgument((*list)[i], statement, where, depth + 1, &items[i])) return false;
    }
    to->value = std::move(items);
  }
  return true;
}

bool Recording::ToArguments(const std::vector<Arg>& args, const NamedArgs& named,
                            const std::string& statement, Location where,
                            std::vector<graph::Argument>* arguments) {
  if (!Open(statement, where)) return false;
  arguments->reserve(args.size() + named.size());
  for (const Arg& arg : args) {
    arguments->emplace_back();
    if (!ToArgument(arg, statement, where, 0, &arguments->back())) return false;
  }
  for (const auto& [name, arg] : named) {
    arguments->emplace_back();
    arguments->back().name = name;
    if (!ToArgument(arg, statement, where, 0, &arguments->back())) return false;
  }
  return true;
}

bool Recording::CheckModel(const ModelState& model, const std::string& statement, Location where) {
  if (!Open(statement, where)) return false;
  if (&model == model_.get() ||
      (model.backend == model_->backend &&
       model.description.summary.name == model_->description.summary.name)) {
    return true;
  }
  Fail(statement,
       absl::StrCat("a module of model \"", model.description.summary.name,
                    "\" is used in a trace of model \"", model_->description.summary.name, "\""),
       where);
  return false;
}

void Recording::BeginInvoke(const Input* input, Location where) {
  if (failed_) return;
  if (invoke_ != kNoNode) {
    return Fail("invoke", "an invoke cannot stand inside another", where,
                "end the lambda of the first one before");
  }
  graph::Invoke invoke;
  invoke.input = graph::Invoke::AllRows{};
  if (input != nullptr) {
    if (const auto* texts = std::get_if<Input::Texts>(&input->value())) {
      invoke.input = graph::Invoke::Prompts{*texts};
    } else {
      invoke.input = graph::Invoke::Tokens{std::get<Input::Rows>(input->value())};
    }
  }
  invoke_ = parent_ = Add(std::move(invoke), where, 1);
  constants_.clear();
}

void Recording::EndInvoke() { invoke_ = parent_ = kNoNode; }

Var Recording::Read(const ModelState& model, const std::string& module, graph::Point point,
                    uint32_t visit, Location where) {
  const graph::Site site{module, point, visit};
  const std::string statement = "read " + graph::ToString(site);
  if (!CheckModel(model, statement, where)) return Poison();
  if (!graph::OfInvoke(point)) {
    const std::string name = point == graph::Point::kInput ? "input" : "output";
    if (absl::Status status = model.CheckSite(module, name); !status.ok()) {
      Fail(statement, std::string(status.message()), where);
      return Poison();
    }
  }
  return AddValue(graph::Read{site}, where);
}

Var Recording::Op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
                  Location where) {
  graph::Operator op{name, {}};
  if (!ToArguments(args, named, name, where, &op.arguments)) return Poison();
  const auto* changed = graph::IsInPlace(name) && !op.arguments.empty()
                            ? std::get_if<graph::NodeRef>(&op.arguments[0].value)
                            : nullptr;
  const NodeId target = changed == nullptr ? kNoNode : changed->id;
  const Var made = AddValue(std::move(op), where);
  if (target != kNoNode) AfterChange(target, made.node_, name, where);
  return made;
}

Var Recording::Constant(const Operand& value) { return Var(serial_, Use(value, "constant")); }

Var Recording::Index(const Var& target, const Indices& indices, bool target_is_temporary) {
  const std::string statement = "index";
  graph::Index index;
  index.target = Use(target, statement, indices.where());
  if (index.target == kNoNode || !Open(statement, indices.where())) return Poison();
  for (const IndexTerm& from : indices.terms()) {
    const IndexTerm::Variant& term = from.value();
    if (const auto* integer = std::get_if<int64_t>(&term)) {
      index.terms.push_back(*integer);
    } else if (const auto* slice = std::get_if<Slice>(&term)) {
      index.terms.push_back(graph::Slice{slice->start(), slice->stop(), slice->step()});
    } else if (std::holds_alternative<Ellipsis>(term)) {
      index.terms.push_back(graph::Ellipsis{});
    } else if (std::holds_alternative<NoneType>(term)) {
      index.terms.push_back(graph::NewAxis{});
    } else if (const auto* key = std::get_if<std::string>(&term)) {
      index.terms.push_back(*key);
    } else if (const auto* tensor = std::get_if<Tensor>(&term)) {
      index.terms.push_back(graph::NodeRef{AddConstant(*tensor, indices.where())});
    } else {
      const NodeId id = Use(std::get<Var>(term), statement, indices.where());
      if (id == kNoNode) return Poison();
      index.terms.push_back(graph::NodeRef{id});
    }
  }
  if (index.terms.empty()) {
    Fail(statement, "an index without terms", indices.where());
    return Poison();
  }
  return AddValue(std::move(index), indices.where(), {.target_is_temporary = target_is_temporary});
}

Var Recording::Refuse(const std::string& statement, const std::string& message, Location where) {
  if (Open(statement, where)) Fail(statement, message, where);
  return Poison();
}

Var Recording::Item(const Var& tuple, int64_t item, Location where) {
  const NodeId target = Use(tuple, "index", where);
  if (target == kNoNode) return Poison();
  return AddValue(graph::Index{target, {item}}, where, {.droppable = true});
}

Var Recording::Structure(graph::Structure::Kind kind,
                         const std::vector<std::pair<std::string, Var>>& items, Location where) {
  graph::Structure structure{kind, {}};
  std::vector<Arg> values;
  NamedArgs entries;
  for (const auto& [name, item] : items) {
    if (kind == graph::Structure::Kind::kDict) {
      entries.emplace_back(name, item);
    } else {
      values.push_back(item);
    }
  }
  if (!ToArguments(values, entries, "structure", where, &structure.items)) return Poison();
  return AddValue(std::move(structure), where);
}

Var Recording::Call(const ModelState& model, const std::string& module,
                    const std::vector<Arg>& args, const NamedArgs& named, Location where) {
  const std::string statement = "call " + module;
  graph::Call call{module, {}};
  if (!CheckModel(model, statement, where)) return Poison();
  if (absl::Status status = model.CheckModule(module); !status.ok()) {
    Fail(statement, std::string(status.message()), where);
    return Poison();
  }
  if (!ToArguments(args, named, statement, where, &call.arguments)) return Poison();
  return AddValue(std::move(call), where);
}

Var Recording::Parameter(const ModelState& model, const std::string& path, Location where) {
  const std::string statement = "param " + path;
  if (!CheckModel(model, statement, where)) return Poison();
  if (absl::Status status = model.CheckParameter(path); !status.ok()) {
    Fail(statement, std::string(status.message()), where);
    return Poison();
  }
  return AddValue(graph::Parameter{path}, where);
}

void Recording::Assign(const Var& target, const Operand& value) {
  const Location where = value.where();
  const std::string statement = "assignment";
  NodeId base = Use(target, statement, where);
  if (base == kNoNode || !Open(statement, where)) return;
  if (AssignAttached(base, value, statement)) return;

  std::vector<graph::IndexTerm> terms;
  bool base_is_temporary = true;
  if (std::holds_alternative<graph::Index>(program_.at(base).kind)) {
    // `h[0][{Slice(), -1}] = x` goes into the structure, then into the tensor, in one write.
    do {
      const auto& index = std::get<graph::Index>(program_.at(base).kind);
      terms.insert(terms.begin(), index.terms.begin(), index.terms.end());
      notes_[base - 1].droppable = true;
      base_is_temporary = notes_[base - 1].target_is_temporary;
      base = index.target;
      const auto* next = std::get_if<graph::Index>(&program_.at(base).kind);
      if (next == nullptr || !std::all_of(next->terms.begin(), next->terms.end(), IsItem)) break;
    } while (base_is_temporary);
  } else if (!std::holds_alternative<graph::Read>(program_.at(base).kind) &&
             !std::holds_alternative<graph::GradRead>(program_.at(base).kind)) {
    return Fail(statement,
                "what is assigned to here is neither a site nor a part of a value, so assigning to "
                "it would change nothing",
                where, "give it a name first (`auto x = ...;`), or write to a site or a slice");
  }

  const NodeId from = Use(value, statement);
  if (from == kNoNode) return;
  if (const auto* gradient = std::get_if<graph::GradRead>(&program_.at(base).kind);
      gradient != nullptr && base_is_temporary) {
    const NodeId changed = gradient->value;
    if (terms.empty()) {
      notes_[base - 1].droppable = true;
      Add(graph::GradWrite{changed, from}, where, parent_);
      return;
    }
    // A part of it: what was read becomes a new version, which is written back.
    Add(graph::Assign{base, std::move(terms), from}, where, parent_);
    Add(graph::GradWrite{changed, base}, where, parent_);
    return;
  }
  const auto* read = std::get_if<graph::Read>(&program_.at(base).kind);
  if (read == nullptr || !base_is_temporary) {
    const NodeId assigned = Add(graph::Assign{base, std::move(terms), from}, where, parent_);
    AfterChange(base, assigned, statement, where);
    return;
  }
  notes_[base - 1].droppable = true;
  // A whole site takes a value of its own shape; a number fills it.
  const Arg::Variant& operand = value.arg().value();
  if (terms.empty() && !std::holds_alternative<Var>(operand) &&
      !std::holds_alternative<Tensor>(operand)) {
    terms.push_back(graph::Ellipsis{});
  }
  const graph::Site site = read->site;
  Add(graph::Write{site, std::move(terms), from}, where, parent_);
}

void Recording::Skip(const ModelState& model, const std::string& module, uint32_t visit,
                     const Operand& value) {
  const std::string statement = "skip " + module;
  if (!CheckModel(model, statement, value.where())) return;
  if (absl::Status status = model.CheckSite(module, "output"); !status.ok()) {
    return Fail(statement, std::string(status.message()), value.where());
  }
  const NodeId id = Use(value, statement);
  if (id == kNoNode) return;
  Add(graph::Skip{module, visit, id}, value.where(), parent_);
}

std::shared_ptr<SaveState> Recording::Save(const Var& value, const std::string& name,
                                           Location where) {
  auto state = std::make_shared<SaveState>();
  state->name = name;
  state->status = absl::FailedPreconditionError(
      absl::StrCat("the save at ", PlaceOf(where), " has no value: its trace has not run"));
  saves_.push_back(state);
  save_nodes_.push_back(kNoNode);
  const std::string statement = name.empty() ? "save" : "save " + name;
  if (!name.empty()) {
    if (!IsIdentifier(name)) {
      Fail(statement, "a save's name is made of letters, digits and _, and begins with no digit",
           where);
      return state;
    }
    const auto [other, inserted] = save_names_.emplace(name, where);
    if (!inserted) {
      Fail(statement,
           absl::StrCat("the name ", name, " was saved before, at ", PlaceOf(other->second)), where,
           "give each save a name of its own");
      return state;
    }
  }
  const NodeId id = Use(value, statement, where);
  if (id == kNoNode || !Open(statement, where)) return state;
  save_nodes_.back() = Add(graph::Save{name, id}, where, parent_);
  return state;
}

void Recording::Log(const Var& value, const std::string& label, Location where) {
  const NodeId id = Use(value, "log", where);
  if (id == kNoNode || !Open("log", where)) return;
  Add(graph::Log{id, label}, where, parent_);
}

void Recording::BeginBackward(const Var& loss, const Operand* gradient, Location where) {
  const std::string statement = "backward";
  if (parent_ != invoke_) {
    return Fail(statement, "a backward stands inside another", where,
                "write them one after the other");
  }
  graph::Backward backward;
  backward.loss = Use(loss, statement, where);
  if (backward.loss == kNoNode || !Open(statement, where)) return;
  if (gradient != nullptr) {
    backward.gradient = Use(*gradient, statement);
    if (backward.gradient == kNoNode) return;
  }
  parent_ = Add(backward, where, invoke_);
}

void Recording::EndBackward() { parent_ = invoke_; }

Var Recording::Gradient(const Var& value, Location where) {
  const std::string statement = "grad";
  const NodeId id = Use(value, statement, where);
  if (id == kNoNode || !Open(statement, where)) return Poison();
  if (parent_ == invoke_) {
    Fail(statement, "a gradient is there only inside of `backward`", where,
         "write loss.backward([&] { ... }) around it");
    return Poison();
  }
  return AddValue(graph::GradRead{id}, where);
}

void Recording::Stop(Location where) {
  if (Open("stop", where)) Add(graph::Stop{}, where, parent_);
}

void Recording::NameSaves() {
  for (size_t i = 0; i < saves_.size(); ++i) {
    if (!saves_[i]->name.empty()) continue;
    std::string name = absl::StrCat("save", i);
    while (save_names_.contains(name)) name += "_";
    save_names_.emplace(name, Location());
    std::get<graph::Save>(program_.nodes[save_nodes_[i] - 1].kind).name = name;
    saves_[i]->name = std::move(name);
  }
}

void Recording::Compact() {
  std::vector<graph::Node>& nodes = program_.nodes;
  std::vector<uint32_t> uses(nodes.size() + 1, 0);
  for (graph::Node& node : nodes) {
    graph::ForEachUse(node, [&](NodeId id) { ++uses[id]; });
  }
  std::vector<bool> dropped(nodes.size() + 1, false);
  for (NodeId id = static_cast<NodeId>(nodes.size()); id > 0; --id) {
    if (!notes_[id - 1].droppable || uses[id] > 0) continue;
    dropped[id] = true;
    graph::ForEachUse(nodes[id - 1], [&](NodeId used) { --uses[used]; });
  }
  std::vector<NodeId> renumbered(nodes.size() + 1, kNoNode);
  std::vector<graph::Node> kept;
  kept.reserve(nodes.size());
  for (NodeId id = 1; id <= nodes.size(); ++id) {
    if (dropped[id]) continue;
    graph::Node node = std::move(nodes[id - 1]);
    node.parent = renumbered[node.parent];
    graph::ForEachUse(node, [&](NodeId& used) { used = renumbered[used]; });
    kept.push_back(std::move(node));
    renumbered[id] = static_cast<NodeId>(kept.size());
  }
  nodes = std::move(kept);
}

absl::StatusOr<Recorded> Recording::Finish() {
  Pop();
  if (!failed_ && program_.nodes.size() == 1) {
    failed_ = true;
    error_.code = absl::StatusCode::kInvalidArgument;
    error_.message = "the trace has no invoke";
    error_.statement = "trace";
    error_.source = program_.nodes[0].source;
    error_.hint = "call Invoke on the Tracer that the lambda is given";
  }
  if (failed_) {
    const absl::Status status = graph::ToStatus(error_);
    for (const auto& save : saves_) save->status = status;
    return status;
  }
  NameSaves();
  Compact();
  graph::HoistConstants(&program_);
  return Recorded{Program(std::move(program_)), std::move(saves_)};
}

}  // namespace weft::internal
