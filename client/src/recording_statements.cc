#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/src/convert.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"
#include "engine/graph/changes.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

bool IsIdentifier(const std::string& name) {
  const auto letter = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (name.empty() || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool IsItem(const graph::IndexTerm& term) {
  return std::holds_alternative<int64_t>(term) || std::holds_alternative<std::string>(term) ||
         std::holds_alternative<graph::SweepUse>(term);
}

bool HasTensors(const std::vector<graph::IndexTerm>& terms) {
  return std::any_of(terms.begin(), terms.end(), [](const graph::IndexTerm& term) {
    return std::holds_alternative<graph::NodeRef>(term);
  });
}

/// What a module's path is at `point`; nothing if its parameter is no name and no whole number.
std::optional<std::string> Component(const graph::SweepParameter& parameter, size_t point) {
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(&parameter.values)) {
    return absl::StrCat((*numbers)[point]);
  }
  if (const auto* names = std::get_if<std::vector<std::string>>(&parameter.values)) {
    return (*names)[point];
  }
  return std::nullopt;
}

}  // namespace

bool Recording::ToSite(const ModuleRef& module, graph::Point point, const std::string& statement,
                       Location where, graph::Site* site) {
  site->module = module.path;
  site->point = point;
  site->visit = module.visit.number;
  size_t points = 1;
  for (const auto& [component, parameter] : module.parameters) {
    const std::optional<graph::SweepUse> use = UseParam(parameter, statement, where);
    if (!use) return false;
    if (!Component(parameter.state()->parameter, 0)) {
      Fail(statement, "a component of a module's path is swept over whole numbers or names", where);
      return false;
    }
    site->parameters.push_back({component, *use});
    points = parameter.state()->parameter.size();
  }
  std::vector<std::string> components = absl::StrSplit(module.path, '.');
  for (size_t i = 0; i < points; ++i) {
    for (const auto& [component, parameter] : module.parameters) {
      components[component] = *Component(parameter.state()->parameter, i);
    }
    const std::string path = absl::StrJoin(components, ".");
    // A module has all of its inputs where it has one.
    const graph::Point listed = point == graph::Point::kInputs ? graph::Point::kInput : point;
    const absl::Status status = site->op.empty() ? module.model.CheckSite(path, PointName(listed))
                                                 : module.model.CheckOperation(path, site->op);
    if (status.ok()) continue;
    const std::string at = points == 1 ? "" : absl::StrCat(" (at point ", i, " of the sweep)");
    Fail(statement, absl::StrCat(std::string(status.message()), at), where);
    return false;
  }
  return true;
}

Var Recording::Read(const ModuleRef& module, graph::Point point, Location where,
                    const std::string& op) {
  graph::Site site{module.path, point, module.visit.number, op, {}};
  const std::string statement = "read " + graph::ToString(site);
  if (!CheckVisited(module, statement, where)) return Poison();
  if (!ToSite(module, point, statement, where, &site)) return Poison();
  return AddValue(graph::Read{std::move(site)}, where);
}

Var Recording::ReadInvoke(const ModelState& model, graph::Point point, Location where) {
  const graph::Site site{"", point, 0, "", {}};
  if (!CheckModel(model, "read " + graph::ToString(site), where)) return Poison();
  return AddValue(graph::Read{site}, where);
}

Var Recording::Op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
                  Location where) {
  graph::Operator op{name, {}};
  if (!ToArguments(args, named, name, where, &op.arguments)) return Poison();
  const graph::NodeRef* changed = nullptr;
  if (graph::IsInPlace(name) && !op.arguments.empty()) {
    changed = std::get_if<graph::NodeRef>(&op.arguments[0].value);
  }
  const NodeId first = changed == nullptr ? kNoNode : changed->id;
  if (first != kNoNode && !CheckChange(first, name, where)) return Poison();
  const Var result = AddValue(std::move(op), where);
  if (first != kNoNode) {
    AfterChange(first, result.node_, name, where);
    WriteBack(first, where);
  }
  return result;
}

Var Recording::Constant(const Operand& value) { return Var(serial_, Use(value, "constant")); }

Var Recording::OwnConstant(const Tensor& value, Location where) {
  if (!Open("constant", where)) return Poison();
  return AddValue(graph::Constant{ToGraph(value), ""}, where);
}

Var Recording::ArgValue(const Arg& value, Location where) {
  const Arg::Variant& variant = value.value();
  if (const auto* var = std::get_if<Var>(&variant)) return *var;
  if (const auto* parameter = std::get_if<Param>(&variant)) {
    return Constant(Operand(*parameter, where));
  }
  if (!Open("constant", where)) return Poison();
  graph::Constant plain;
  if (const auto* flag = std::get_if<bool>(&variant)) plain.plain = *flag;
  if (const auto* number = std::get_if<int64_t>(&variant)) plain.plain = *number;
  if (const auto* number = std::get_if<double>(&variant)) plain.plain = *number;
  if (const auto* text = std::get_if<std::string>(&variant)) plain.plain = *text;
  if (plain.is_plain()) return AddValue(std::move(plain), where);
  if (const std::optional<Tensor> tensor = TensorOf(value)) {
    return Constant(Operand(*tensor, where));
  }
  Fail("constant", "what is saved here is no value of the program", where,
       "values, numbers, texts, bools, tensors and lists of them can be saved");
  return Poison();
}

Var Recording::Index(const Var& target, const Indices& indices, bool target_is_temporary) {
  const std::string statement = "index";
  graph::Index index;
  index.target = Use(target, statement, indices.where());
  if (index.target == kNoNode || !Open(statement, indices.where())) return Poison();
  if (!ToTerms(indices, statement, &index.terms)) return Poison();
  return AddValue(std::move(index), indices.where(), {.target_is_temporary = target_is_temporary});
}

Var Recording::Item(const Var& tuple, int64_t item, Location where) {
  const NodeId target = Use(tuple, "index", where);
  if (target == kNoNode) return Poison();
  return AddValue(graph::Index{target, {item}}, where, {.droppable = true});
}

Var Recording::Structure(graph::Structure::Kind kind, const std::vector<Arg>& values,
                         const NamedArgs& entries, Location where) {
  graph::Structure structure{kind, {}};
  // Numbers, texts and bools among them stay as they are.
  if (!ToArguments(values, entries, "structure", where, &structure.items)) return Poison();
  return AddValue(std::move(structure), where);
}

Var Recording::Call(const ModuleRef& module, const std::vector<Arg>& args, const NamedArgs& named,
                    bool watched, Location where) {
  const std::string statement = absl::StrCat(watched ? "call watched " : "call ", module.path);
  graph::Call call{module.path, {}, watched};
  if (!CheckModel(module.model, statement, where)) return Poison();
  if (!module.parameters.empty()) {
    Fail(statement, "a sweep cannot choose the module that is called", where,
         "call each, and choose the result by an index with the parameter");
    return Poison();
  }
  if (absl::Status status = module.model.CheckModule(module.path); !status.ok()) {
    Fail(statement, std::string(status.message()), where);
    return Poison();
  }
  if (!ToArguments(args, named, statement, where, &call.arguments)) return Poison();
  return AddValue(std::move(call), where);
}

Var Recording::Parameter(const ModuleRef& parameter, Location where) {
  const std::string statement = "param " + parameter.path;
  if (!CheckModel(parameter.model, statement, where)) return Poison();
  if (!parameter.parameters.empty()) {
    Fail(statement, "a sweep cannot choose a parameter of the model", where,
         "read each, and choose one by an index with the sweep's parameter");
    return Poison();
  }
  if (absl::Status status = parameter.model.CheckParameter(parameter.path); !status.ok()) {
    Fail(statement, std::string(status.message()), where);
    return Poison();
  }
  return AddValue(graph::Parameter{parameter.path}, where);
}

void Recording::Assign(const Var& target, const Operand& value) {
  const Location where = value.where();
  const std::string statement = "assignment";
  const NodeId to = Use(target, statement, where);
  if (to == kNoNode || !Open(statement, where)) return;
  if (AssignAttached(to, value, statement)) return;
  const auto& kind = program_.at(to).kind;
  if (!std::holds_alternative<graph::Index>(kind) && !std::holds_alternative<graph::Read>(kind) &&
      !std::holds_alternative<graph::GradRead>(kind)) {
    return Fail(statement,
                "what is assigned to here is neither a site nor a part of a value, so assigning to "
                "it would change nothing",
                where, "give it a name first (`auto x = ...;`), or write to a site or a slice");
  }
  const NodeId from = Use(value, statement);
  if (from != kNoNode) AssignTo(to, from, IsNumber(value), where);
}

void Recording::AssignTo(NodeId target, NodeId value, bool number, Location where) {
  NodeId base = target;
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
  }
  const bool writes =
      base_is_temporary && std::holds_alternative<graph::Read>(program_.at(base).kind);
  if (!writes && !CheckChange(base, "assignment", where)) return;
  if (const auto* gradient = std::get_if<graph::GradRead>(&program_.at(base).kind);
      gradient != nullptr && base_is_temporary) {
    const NodeId changed = gradient->value;
    if (terms.empty()) {
      notes_[base - 1].droppable = true;
      Add(graph::GradWrite{changed, value}, where);
      return;
    }
    // A part of it: what was read becomes a new version, which is written back.
    Add(graph::Assign{base, std::move(terms), value}, where);
    Add(graph::GradWrite{changed, base}, where);
    return;
  }
  if (!writes) {
    const NodeId assigned = Add(graph::Assign{base, std::move(terms), value}, where);
    AfterChange(base, assigned, "assignment", where);
    WriteBack(base, where);
    return;
  }
  notes_[base - 1].droppable = true;
  // A whole site takes a value of its own shape; a number fills it.
  if (terms.empty() && number) terms.emplace_back(graph::Ellipsis{});
  const graph::Site site = std::get<graph::Read>(program_.at(base).kind).site;
  Add(graph::Write{site, std::move(terms), value}, where);
}

NodeId Recording::ScopeOf(NodeId node) const {
  for (; node != kNoNode; node = program_.at(node).parent) {
    const auto& kind = program_.at(node).kind;
    if (std::holds_alternative<graph::Steps>(kind) || std::holds_alternative<graph::Branch>(kind) ||
        std::holds_alternative<graph::Sweep>(kind)) {
      return node;
    }
  }
  return kNoNode;
}

bool Recording::CheckChange(NodeId node, const std::string& statement, Location where) {
  const NodeId scope = ScopeOf(frames_.back().node);
  if (failed_ || scope == kNoNode || ScopeOf(node) == scope) return !failed_;
  Fail(statement, "a value from outside of `steps`, an If or a sweep is not changed inside of it",
       where,
       "write to its site (`module.output() = x`), use an operator that gives a new value, or keep "
       "it in a weft::Carry");
  return false;
}

void Recording::WriteBack(NodeId changed, Location where) {
  // Up from a view to what it is a view of.
  while (changed != kNoNode && !failed_) {
    const auto& kind = program_.at(changed).kind;
    if (std::holds_alternative<graph::Constant>(kind)) return Unshare(changed);
    if (const auto* index = std::get_if<graph::Index>(&kind)) {
      if (notes_[changed - 1].writes_back) return AssignTo(changed, changed, false, where);
      if (HasTensors(index->terms)) return;
      changed = index->target;
      continue;
    }
    const auto* op = std::get_if<graph::Operator>(&kind);
    if (op == nullptr || op->arguments.empty() || !(IsView(op->name) || graph::IsInPlace(op->name)))
      return;
    const auto* first = std::get_if<graph::NodeRef>(&op->arguments[0].value);
    changed = first == nullptr ? kNoNode : first->id;
  }
}

void Recording::Unshare(NodeId constant) {
  for (Frame& frame : frames_) {
    absl::erase_if(frame.constants,
                   [constant](const auto& entry) { return entry.second == constant; });
  }
}

void Recording::Skip(const ModuleRef& module, const Operand& value) {
  const std::string statement = "skip " + module.path;
  const Location where = value.where();
  if (!CheckVisited(module, statement, where)) return;
  if (!module.parameters.empty()) {
    return Fail(statement, "a sweep cannot choose the module that is skipped", where,
                "write its output instead (`module.output() = value`)");
  }
  if (absl::Status status = module.model.CheckSite(module.path, "output"); !status.ok()) {
    return Fail(statement, std::string(status.message()), where);
  }
  const NodeId id = Use(value, statement);
  if (id == kNoNode) return;
  Add(graph::Skip{module.path, module.visit.number, id}, where);
}

bool Recording::OnOtherSide(NodeId node) const {
  for (; node != kNoNode; node = program_.at(node).parent) {
    if (!std::holds_alternative<graph::Branch>(program_.at(node).kind)) continue;
    const NodeId choice = program_.at(node).parent;
    for (size_t i = 0; i + 1 < frames_.size(); ++i) {
      if (frames_[i].node == choice && frames_[i + 1].node != node) return true;
    }
  }
  return false;
}

std::shared_ptr<SaveState> Recording::AddSave(const std::string& name, const std::string& statement,
                                              Location where, bool* good) {
  auto state = std::make_shared<SaveState>();
  state->name = name;
  state->status = absl::FailedPreconditionError(
      absl::StrCat("the save at ", PlaceOf(where), " has no value: its trace has not run"));
  const Frame* steps = Find(Region::kSteps);
  state->one_step = steps != nullptr && steps->one_step;
  if (const Frame* sweep = Find(Region::kSweep)) state->grid = sweep->grid;
  saves_.push_back(state);
  save_nodes_.push_back(kNoNode);
  *good = !failed_;
  if (name.empty() || failed_) return state;
  *good = false;
  if (!IsIdentifier(name)) {
    Fail(statement, "a save's name is made of letters, digits and _, and begins with no digit",
         where);
    return state;
  }
  std::vector<size_t>& named = save_names_[name];
  for (size_t i : named) {
    // Of the two sides of an If one runs.
    if (OnOtherSide(save_nodes_[i])) continue;
    const graph::SourceLocation& other = program_.at(save_nodes_[i]).source;
    Fail(statement,
         absl::StrCat("the name ", name, " was saved before, at ", other.file, ":", other.line),
         where, "give each save a name of its own");
    return state;
  }
  named.push_back(saves_.size() - 1);
  *good = true;
  return state;
}

std::shared_ptr<SaveState> Recording::Save(const Var& value, const SaveOptions& options,
                                           Location where) {
  const std::string statement = options.name.empty() ? "save" : "save " + options.name;
  bool good = false;
  std::shared_ptr<SaveState> state = AddSave(options.name, statement, where, &good);
  if (!good) return state;
  const NodeId id = Use(value, statement, where);
  if (id == kNoNode || !Open(statement, where)) return state;
  graph::Save save{options.name, id, std::nullopt, options.keep};
  if (options.dtype) save.dtype = ToGraph(*options.dtype);
  save_nodes_.back() = Add(std::move(save), where);
  return state;
}

std::shared_ptr<SaveState> Recording::Cache(const std::vector<ModuleName>& modules,
                                            const CacheOptions& options, Location where) {
  const std::string statement = options.name.empty() ? "cache" : "cache as " + options.name;
  bool good = false;
  std::shared_ptr<SaveState> state = AddSave(options.name, statement, where, &good);
  if (!good || !Open(statement, where)) return state;
  if (Find(Region::kBranch) != nullptr || Find(Region::kBackward) != nullptr) {
    Fail(statement, "a cache stands inside of an If or of `backward`", where,
         "write it before, or save what is needed inside");
    return state;
  }
  // It has an entry for each visit, whatever the steps.
  state->one_step = false;
  graph::Cache cache;
  cache.name = options.name;
  cache.include_inputs = options.include_inputs;
  if (options.dtype) cache.dtype = ToGraph(*options.dtype);
  // Its modules are asked for by any of their names.
  state->resolve = [model = model_](const std::string& path) { return model->Resolve("", path); };
  for (const ModuleName& module : modules) {
    if (module.module() != nullptr && !CheckWhole(module.module()->Ref(), statement, where)) {
      return state;
    }
    const std::string path = model_->Resolve("", module.path());
    if (absl::Status status = model_->CheckSite(path, "output"); !status.ok()) {
      Fail(statement, std::string(status.message()), where);
      return state;
    }
    cache.modules.push_back(path);
  }
  save_nodes_.back() = Add(std::move(cache), where);
  return state;
}

void Recording::Log(const Var& value, const std::string& label, Location where) {
  const NodeId id = Use(value, "log", where);
  if (id == kNoNode || !Open("log", where)) return;
  Add(graph::Log{id, label}, where);
}

Var Recording::Gradient(const Var& value, Location where) {
  const std::string statement = "grad";
  const NodeId id = Use(value, statement, where);
  if (id == kNoNode || !Open(statement, where)) return Poison();
  if (Find(Region::kBackward) == nullptr) {
    Fail(statement, "a gradient is there only inside of `backward`", where,
         "write loss.backward([&] { ... }) around it");
    return Poison();
  }
  return AddValue(graph::GradRead{id}, where);
}

void Recording::Stop(Location where) {
  if (Open("stop", where)) Add(graph::Stop{}, where);
}

}  // namespace weft::internal
