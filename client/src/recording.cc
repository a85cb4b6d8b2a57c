#include "client/src/recording.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/src/convert.h"
#include "client/src/recording_internal.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

// Far beyond what a server takes; a lambda that loops for ever ends here.
constexpr size_t kMaxNodes = size_t{1} << 20;

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

}  // namespace

std::string PlaceOf(const Location& where) {
  return absl::StrCat(FileOf(where), ":", where.line());
}

std::optional<Tensor> TensorOf(const Arg& arg) {
  if (const auto* tensor = std::get_if<Tensor>(&arg.value())) return *tensor;
  if (const auto* boolean = std::get_if<bool>(&arg.value())) return tensor(*boolean);
  if (const auto* integer = std::get_if<int64_t>(&arg.value())) return tensor(*integer);
  if (const auto* floating = std::get_if<double>(&arg.value())) return tensor(*floating);
  return std::nullopt;
}

bool IsView(const std::string& op) {
  static constexpr const char* kViews[] = {
      "aten::view",    "aten::select",  "aten::narrow", "aten::slice",     "aten::transpose",
      "aten::permute", "aten::squeeze", "aten::t",      "aten::unsqueeze", "aten::split",
      "aten::chunk",   "aten::unbind",  "aten::detach", "aten::alias",     "aten::unflatten"};
  const std::string base = op.substr(0, op.find('.'));
  return std::any_of(std::begin(kViews), std::end(kViews),
                     [&base](const char* view) { return base == view; });
}

Recording::Recording(std::shared_ptr<const ModelState> model, Location where)
    : model_(std::move(model)), serial_(NextSerial()), below_(top), where_(where) {
  children_.emplace_back();
  top = this;
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

Var Recording::Refuse(const std::string& statement, const std::string& message, Location where) {
  if (Open(statement, where)) Fail(statement, message, where);
  return Poison();
}

bool Recording::Open(const std::string& statement, Location where) {
  if (failed_) return false;
  if (Find(Region::kInvoke) == nullptr) {
    Fail(statement, "this statement stands outside of an invoke", where,
         "write it in the lambda of Invoke, or of InvokeAll where it concerns all rows");
    return false;
  }
  if (frames_.back().region == Region::kIf) {
    Fail(statement, "this statement stands between an If and its end", where,
         "write `weft::If(...).Else(...);` as one statement, and keep nothing of it");
    return false;
  }
  return true;
}

Recording::Frame* Recording::Find(Region region) {
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    if (frame->region == region) return &*frame;
  }
  return nullptr;
}

NodeId Recording::Append(graph::Node node, Location where, Note note) {
  if (program_.nodes.size() >= kMaxNodes) {
    Fail("trace", absl::StrCat("the program has more than ", kMaxNodes, " statements"), where);
  }
  node.source = SourceOf(where);
  const NodeId parent = node.parent;
  program_.nodes.push_back(std::move(node));
  if (note.attached_call < 0) note.attached_call = open_call_;
  notes_.push_back(note);
  places_.push_back(where);
  children_.emplace_back();
  const auto id = static_cast<NodeId>(program_.nodes.size());
  std::vector<NodeId>& siblings = children_[parent];
  auto place = siblings.end();
  if (place_ && place_->parent == parent) {
    place = std::find(siblings.begin(), siblings.end(), place_->before);
  }
  siblings.insert(place, id);
  return id;
}

bool Recording::InScope(NodeId node, const std::string& statement, Location where) {
  for (NodeId around = program_.at(node).parent; around != kNoNode;
       around = program_.at(around).parent) {
    const auto& kind = program_.at(around).kind;
    const bool steps = std::holds_alternative<graph::Steps>(kind);
    const bool branch = std::holds_alternative<graph::Branch>(kind);
    if (!steps && !branch && !std::holds_alternative<graph::Sweep>(kind)) continue;
    const bool open = std::any_of(frames_.begin(), frames_.end(),
                                  [around](const Frame& frame) { return frame.node == around; });
    if (open) continue;
    if (steps) {
      Fail(statement, "a value of `steps`, which is another in each of them, is used outside",
           where, "save it inside, or keep it in a weft::Carry");
    } else if (branch) {
      Fail(statement, "a value of one side of an If is used outside of it", where,
           "give it as the value of the If, or keep it in a weft::Carry");
    } else {
      Fail(statement, "a value of a sweep, which is another at each of its points, is used outside",
           where, "save it inside");
    }
    return false;
  }
  return true;
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
         "record both in one LanguageModel::Session, or save it there and use the saved tensor "
         "here");
    return kNoNode;
  }
  NodeId node = value.node_;
  if (IsCarry(value)) {
    const uint32_t carry = node - kFirstCarry;
    if (!InScope(carries_[carry].value, statement, where)) return kNoNode;
    node = Resolve(carry, where);
  }
  node = Current(node);
  if (node == kNoNode || !InScope(node, statement, where)) return kNoNode;
  return node;
}

NodeId Recording::AddConstant(const Tensor& tensor, Location where) {
  // The node keeps the bytes alive, so an address names them for as long as this records.
  const bool shareable = tensor.numel() > 0 && !place_ && Find(Region::kInvoke) != nullptr;
  if (shareable) {
    for (auto frame = frames_.rbegin(); frame->region != Region::kTrace; ++frame) {
      const auto found = frame->constants.find(tensor.data());
      if (found == frame->constants.end()) continue;
      const graph::HostTensor& made =
          std::get<graph::Constant>(program_.at(found->second).kind).tensor;
      if (made.dtype == ToGraph(tensor.dtype()) && made.shape == tensor.shape()) {
        return found->second;
      }
    }
  }
  const NodeId id = Add(graph::Constant{ToGraph(tensor), ""}, where);
  if (shareable) frames_.back().constants[tensor.data()] = id;
  return id;
}

NodeId Recording::AddConstant(const Blob& blob, const std::string& statement, Location where) {
  absl::StatusOr<graph::Constant> constant = ToGraph(blob);
  if (constant.ok()) return Add(*std::move(constant), where);
  Fail(statement, std::string(constant.status().message()), where,
       "use a blob that Client::Upload or a run's keep() gave");
  return kNoNode;
}

NodeId Recording::Use(const Operand& value, const std::string& statement) {
  const Arg::Variant& operand = value.arg().value();
  if (const auto* var = std::get_if<Var>(&operand)) return Use(*var, statement, value.where());
  if (!Open(statement, value.where())) return kNoNode;
  if (const auto* parameter = std::get_if<Param>(&operand)) {
    return UseAsValue(*parameter, statement, value.where());
  }
  if (const auto* blob = std::get_if<Blob>(&operand)) {
    return AddConstant(*blob, statement, value.where());
  }
  return AddConstant(*TensorOf(value.arg()), value.where());
}

std::optional<graph::SweepUse> Recording::UseParam(const Param& parameter,
                                                   const std::string& statement, Location where) {
  if (failed_) return std::nullopt;
  const ParamState& state = *parameter.state();
  const Frame* sweep = Find(Region::kSweep);
  if (state.recording == serial_ && sweep != nullptr && sweep->node == state.use.sweep) {
    return state.use;
  }
  // After a failure to record the sweep there is another reason already.
  Fail(statement, "a sweep's parameter is used outside of its sweep", where);
  return std::nullopt;
}

NodeId Recording::UseAsValue(const Param& parameter, const std::string& statement, Location where) {
  const std::optional<graph::SweepUse> use = UseParam(parameter, statement, where);
  if (!use) return kNoNode;
  const auto& values = parameter.state()->parameter.values;
  if (std::holds_alternative<std::vector<std::string>>(values) ||
      std::holds_alternative<std::vector<std::vector<int64_t>>>(values)) {
    Fail(statement, "a sweep over names or prompts has no values to compute with", where,
         "use its parameter as a module's name, or as the prompt of an invoke");
    return kNoNode;
  }
  graph::Operator op;
  if (std::holds_alternative<std::vector<graph::NodeRef>>(values)) {
    op = {"aten::clone", {{"", *use}}};
  } else {
    op = {"aten::full", {{"", graph::Argument::List()}, {"", *use}}};
  }
  return Add(std::move(op), where);
}

bool Recording::ToArgument(const Arg& from, const std::string& statement, Location where, int depth,
                           graph::Argument* to) {
  const Arg::Variant& value = from.value();
  if (const auto* var = std::get_if<Var>(&value)) {
    const NodeId id = Use(*var, statement, where);
    to->value = graph::NodeRef{id};
    return id != kNoNode;
  }
  if (const auto* parameter = std::get_if<Param>(&value)) {
    const std::optional<graph::SweepUse> use = UseParam(*parameter, statement, where);
    if (use) to->value = *use;
    return use.has_value();
  }
  if (const auto* tensor = std::get_if<Tensor>(&value)) {
    to->value = graph::NodeRef{AddConstant(*tensor, where)};
  } else if (const auto* blob = std::get_if<Blob>(&value)) {
    const NodeId id = AddConstant(*blob, statement, where);
    to->value = graph::NodeRef{id};
    return id != kNoNode;
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
    if (depth >= graph::kMaxListDepth) {
      Fail(statement,
           absl::StrCat("lists of arguments nest at most ", graph::kMaxListDepth, " deep"), where);
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

bool Recording::ToSlice(const Slice& from, const std::string& statement, Location where,
                        graph::Slice* to) {
  *to = {from.start(), from.stop(), from.step(), std::nullopt, std::nullopt};
  if (from.start_parameter()) {
    to->start_parameter = UseParam(*from.start_parameter(), statement, where);
    if (!to->start_parameter) return false;
  }
  if (from.stop_parameter()) {
    to->stop_parameter = UseParam(*from.stop_parameter(), statement, where);
    if (!to->stop_parameter) return false;
  }
  return true;
}

bool Recording::ToTerms(const Indices& indices, const std::string& statement,
                        std::vector<graph::IndexTerm>* terms) {
  for (const IndexTerm& from : indices.terms()) {
    const IndexTerm::Variant& term = from.value();
    if (const auto* integer = std::get_if<int64_t>(&term)) {
      terms->emplace_back(*integer);
    } else if (const auto* slice = std::get_if<Slice>(&term)) {
      graph::Slice to;
      if (!ToSlice(*slice, statement, indices.where(), &to)) return false;
      terms->emplace_back(std::move(to));
    } else if (std::holds_alternative<Ellipsis>(term)) {
      terms->emplace_back(graph::Ellipsis{});
    } else if (std::holds_alternative<NoneType>(term)) {
      terms->emplace_back(graph::NewAxis{});
    } else if (const auto* key = std::get_if<std::string>(&term)) {
      terms->emplace_back(*key);
    } else if (const auto* parameter = std::get_if<Param>(&term)) {
      const std::optional<graph::SweepUse> use = UseParam(*parameter, statement, indices.where());
      if (!use) return false;
      terms->emplace_back(*use);
    } else if (const auto* tensor = std::get_if<Tensor>(&term)) {
      terms->emplace_back(graph::NodeRef{AddConstant(*tensor, indices.where())});
    } else {
      const NodeId id = Use(std::get<Var>(term), statement, indices.where());
      if (id == kNoNode) return false;
      terms->emplace_back(graph::NodeRef{id});
    }
  }
  if (!terms->empty()) return true;
  Fail(statement, "an index without terms", indices.where());
  return false;
}

bool Recording::CheckModel(const ModelState& model, const std::string& statement, Location where) {
  return Open(statement, where) && IsOurs(model, statement, where);
}

bool Recording::CheckVisited(const ModuleRef& module, const std::string& statement,
                             Location where) {
  if (!CheckModel(module.model, statement, where)) return false;
  if (module.visit.around == 0) return true;
  Fail(statement,
       absl::StrCat("visit ", module.visit.around, " was given to a module around \"", module.path,
                    "\", which counts its own visits"),
       where,
       absl::StrCat("give it to the module itself: `model[\"", module.path, "\"].visit(",
                    module.visit.around, ")`"));
  return false;
}

bool Recording::CheckWhole(const ModuleRef& module, const std::string& statement, Location where) {
  if (!IsOurs(module.model, statement, where)) return false;
  const uint32_t visit = std::max(module.visit.number, module.visit.around);
  if (visit == 0) return true;
  Fail(statement,
       absl::StrCat("one visit of \"", module.path, "\" is named where the module is meant as a ",
                    "whole"),
       where, absl::StrCat("leave out `.visit(", visit, ")`"));
  return false;
}

bool Recording::IsOurs(const ModelState& model, const std::string& statement, Location where) {
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

}  // namespace weft::internal
