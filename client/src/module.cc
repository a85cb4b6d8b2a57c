#include "weft/module.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/src/attached_part.h"
#include "client/src/convert.h"
#include "client/src/model_state.h"
#include "client/src/recording.h"

namespace weft {
namespace {

using internal::AttachedPart;
using internal::Recording;

/// The point that a site's name ends with; nothing if it is none.
std::optional<graph::Point> PointOf(const std::string& name) {
  using graph::Point;
  for (const Point point :
       {Point::kOutput, Point::kInput, Point::kInputs, Point::kQ, Point::kK, Point::kV,
        Point::kScores, Point::kProbs, Point::kZ, Point::kResult, Point::kIds, Point::kMask,
        Point::kPositions, Point::kRows, Point::kLogits, Point::kSamples, Point::kBeamScores}) {
    if (internal::PointName(point) == name) return point;
  }
  return std::nullopt;
}

bool IsWithin(const std::string& path, const std::string& base) {
  return base.empty() || path == base || absl::StartsWith(path, base + ".");
}

/// True if `key` names the module: its type, or the end of its path, in which `*` is any one
/// component.
bool MatchesKey(const internal::ModelState& model, const std::string& key,
                const internal::ModuleTree::Node& node) {
  if (node.type == key) return true;
  std::string pattern = key, path = node.path;
  while (!pattern.empty() && !path.empty()) {
    const std::string wanted = internal::LastComponent(pattern);
    const std::string parent = internal::ParentPath(path);
    const bool matches = wanted == "*" || wanted == internal::LastComponent(path) ||
                         model.Resolve(parent, wanted) == path;
    if (!matches) return false;
    pattern = internal::ParentPath(pattern);
    path = parent;
  }
  return pattern.empty() && !key.empty();
}

}  // namespace

Module Module::Child(const std::string& name) const {
  Module child(model_, model_->Resolve(path_, name));
  child.visit_ = visit_.OfChild();
  child.parameters_ = parameters_;
  return child;
}

Module Module::operator[](const Param& parameter) const {
  Module child = Child("$");
  const auto component = std::count(child.path_.begin(), child.path_.end(), '.');
  child.parameters_.emplace_back(static_cast<uint32_t>(component), parameter);
  return child;
}

internal::ModuleRef Module::Ref() const { return {*model_, path_, visit_, parameters_}; }

Module Module::operator[](const std::string& name) const { return Child(name); }
Module Module::operator[](const char* name) const { return Child(name); }

Module Module::Item(int64_t index) const {
  return Child(std::to_string(index < 0 ? index + size() : index));
}

std::vector<Module> Module::operator[](const Slice& slice) const {
  const std::vector<Module> all = children();
  const auto count = static_cast<int64_t>(all.size());
  const int64_t step = slice.step().value_or(1);
  std::vector<Module> chosen;
  if (step == 0) return chosen;
  // As Python does it: bounds count from the end where negative, and are cut to what there is.
  const auto bound = [&](const std::optional<int64_t>& value, int64_t otherwise) {
    if (!value.has_value()) return otherwise;
    const int64_t at = *value < 0 ? *value + count : *value;
    return step > 0 ? std::clamp<int64_t>(at, 0, count) : std::clamp<int64_t>(at, -1, count - 1);
  };
  const int64_t start = bound(slice.start(), step > 0 ? 0 : count - 1);
  const int64_t stop = bound(slice.stop(), step > 0 ? count : -1);
  for (int64_t at = start; step > 0 ? at < stop : at > stop; at += step) {
    chosen.push_back(all[static_cast<size_t>(at)]);
  }
  return chosen;
}

Module Module::visit(uint32_t visit) const {
  Module module = *this;
  module.visit_ = {visit};
  return module;
}

Var Module::output(Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  if (const AttachedPart* part = model_->FindAttached(path_)) {
    return recording->AttachedOutput(part, where);
  }
  return recording->Read(Ref(), graph::Point::kOutput, where);
}

Var Module::input(Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  if (const AttachedPart* part = model_->FindAttached(path_)) {
    return recording->AttachedInput(part, where);
  }
  return recording->Read(Ref(), graph::Point::kInput, where);
}

Var Module::site(const std::string& name, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  const std::optional<graph::Point> point = PointOf(internal::LastComponent(name));
  if (!point.has_value()) {
    return recording->Refuse(
        "read " + name, "a site's name ends with what is read there, such as `.output`", where);
  }
  const std::string inside = internal::ParentPath(name);
  const Module module = inside.empty() ? *this : Child(inside);
  if (*point == graph::Point::kOutput) return module.output(where);
  if (*point == graph::Point::kInput) return module.input(where);
  if (!graph::OfInvoke(*point)) return recording->Read(module.Ref(), *point, where);
  if (name != internal::LastComponent(name) || !path_.empty()) {
    return recording->Refuse("read " + name, "this belongs to the invoke, not to a module", where);
  }
  return recording->ReadInvoke(*model_, *point, where);
}

void Module::skip(const Operand& value) const {
  if (Recording* recording = Recording::Current()) {
    recording->Skip(Ref(), value);
  }
}

Var Module::operator()(const Operand& argument) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  if (const AttachedPart* part = model_->FindAttached(path_)) {
    return recording->CallAttached(part, argument);
  }
  return call({argument.arg()}, {}, argument.where());
}

Var Module::call(const std::vector<Arg>& arguments, const NamedArgs& named, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->Call(Ref(), arguments, named, /*watched=*/false, where);
}

Var Module::watched(const Operand& argument) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  if (const AttachedPart* part = model_->FindAttached(path_)) {
    return recording->CallAttached(part, argument);  // each call of it is
  }
  return recording->Call(Ref(), {argument.arg()}, {}, /*watched=*/true, argument.where());
}

Var Module::param(const std::string& name, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->Parameter(Child(name).Ref(), where);
}

std::string Module::name() const { return internal::LastComponent(path_); }

std::string Module::type() const {
  const internal::ModuleTree::Node* node = model_->tree().Find(path_);
  return node == nullptr ? "" : node->type;
}

std::string Module::detail() const {
  const internal::ModuleTree::Node* node = model_->tree().Find(path_);
  return node == nullptr ? "" : node->detail;
}

int64_t Module::size() const {
  const internal::ModuleTree::Node* node = model_->tree().Find(path_);
  return node == nullptr ? 0 : static_cast<int64_t>(node->children.size());
}

std::vector<Module> Module::children() const {
  std::vector<Module> children;
  if (const internal::ModuleTree::Node* node = model_->tree().Find(path_)) {
    for (const std::string& path : node->children) {
      children.push_back(Module(model_, path));
      children.back().visit_ = visit_.OfChild();
    }
  }
  return children;
}

std::vector<std::string> Module::names() const {
  std::vector<std::string> names;
  for (const Module& child : children()) names.push_back(internal::LastComponent(child.path_));
  return names;
}

std::optional<Module> Module::parent() const {
  if (path_.empty()) return std::nullopt;
  return Module(model_, internal::ParentPath(path_));
}

Module Module::root() const { return Module(model_, ""); }

absl::StatusOr<Module> Module::get(const std::string& path) const {
  Module module = Child(path);
  if (model_->tree().Find(module.path_) != nullptr) return module;
  const absl::Status status = model_->CheckModule(module.path_);
  std::string hint;
  const std::string of = Child(internal::ParentPath(path)).path_;
  if (PointOf(internal::LastComponent(path)).has_value() && model_->tree().Find(of) != nullptr) {
    hint = absl::StrCat("; for the value write `site(\"", path, "\")` in a trace");
  }
  return absl::NotFoundError(absl::StrCat(std::string(status.message()), hint));
}

void Module::Collect(const Filter& filter, std::vector<Module>* found) const {
  for (const Module& child : children()) child.Collect(filter, found);
  if (filter == nullptr || filter(*this)) found->push_back(*this);
}

std::vector<Module> Module::modules(const Filter& filter) const {
  std::vector<Module> found;
  Collect(filter, &found);
  return found;
}

std::vector<std::pair<std::string, Module>> Module::named_modules(const Filter& filter) const {
  std::vector<std::pair<std::string, Module>> named;
  for (const Module& module : modules(filter)) named.emplace_back(module.path(), module);
  return named;
}

std::vector<ParameterDescription> Module::parameters() const {
  std::vector<ParameterDescription> found;
  for (const ParameterDescription& parameter : model_->description.parameters) {
    if (IsWithin(parameter.path, path_)) found.push_back(parameter);
  }
  return found;
}

const std::string& Module::device() const { return model_->description.summary.device; }

DType Module::dtype() const {
  for (const ParameterDescription& parameter : model_->description.parameters) {
    if (IsWithin(parameter.path, path_)) return parameter.dtype;
  }
  const absl::StatusOr<graph::DType> dtype = graph::ParseDType(model_->description.summary.dtype);
  return dtype.ok() ? static_cast<DType>(*dtype) : DType::kFloat32;
}

const std::string& Module::config_json() const { return model_->description.config_json; }

std::string Module::tree() const { return model_->PrintTree(path_); }

std::ostream& operator<<(std::ostream& out, const Module& module) { return out << module.tree(); }

bool Module::IsWrappedBy(std::type_index wrapper) const {
  const internal::ModuleTree::Node* node = model_->tree().Find(path_);
  const auto keys = model_->wrappers.find(wrapper);
  if (node == nullptr || keys == model_->wrappers.end()) return false;
  for (const std::string& key : keys->second) {
    if (MatchesKey(*model_, key, *node)) return true;
  }
  return false;
}

}  // namespace weft
