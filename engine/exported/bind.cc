#include "engine/exported/bind.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"

namespace weft::exported {
namespace {

bool UsesValues(const Argument& argument) {
  if (std::holds_alternative<Argument::Use>(argument.value)) return true;
  const auto* list = std::get_if<Argument::List>(&argument.value);
  if (list == nullptr) return false;
  if (list->tensors) return true;
  for (const Argument& item : list->items) {
    if (UsesValues(item)) return true;
  }
  return false;
}

/// The type itself, of an optional what it may be.
const c10::Type& Within(const c10::Type& type) {
  return type.kind() == c10::TypeKind::OptionalType
             ? *type.castRaw<c10::OptionalType>()->getElementType()
             : type;
}

bool IsListOf(const c10::Type& type, c10::TypeKind kind) {
  return type.kind() == c10::TypeKind::ListType &&
         type.castRaw<c10::ListType>()->getElementType()->kind() == kind;
}

/// A number, truth value or word.
c10::IValue ScalarOf(const Argument& argument) {
  if (const auto* number = std::get_if<int64_t>(&argument.value)) return *number;
  if (const auto* number = std::get_if<double>(&argument.value)) return *number;
  if (const auto* truth = std::get_if<bool>(&argument.value)) return *truth;
  if (const auto* text = std::get_if<std::string>(&argument.value)) return *text;
  if (const auto* dtype = std::get_if<graph::DType>(&argument.value)) {
    return static_cast<int64_t>(plan::ToScalarType(*dtype));
  }
  return {};
}

int64_t AsInteger(const c10::IValue& value) {
  if (value.isBool()) return value.toBool() ? 1 : 0;
  TORCH_CHECK(value.isInt(), "an integer was expected");
  return value.toInt();
}
double AsDouble(const c10::IValue& value) {
  return value.isDouble() ? value.toDouble() : static_cast<double>(AsInteger(value));
}

/// `value` as `schema` wants it.
c10::IValue Converted(const c10::Argument* schema, c10::IValue value) {
  if (schema == nullptr || value.isNone()) return value;
  const c10::Type& type = Within(*schema->type());
  const auto one = [&](const auto& convert) {
    // One number may stand for a list: `stride=1`.
    const int32_t count = schema->N().value_or(1);
    TORCH_CHECK(count > 0 && count <= 16, "a list is expected");
    return std::vector<std::decay_t<decltype(convert(value))>>(count, convert(value));
  };
  switch (type.kind()) {
    case c10::TypeKind::TensorType: {
      if (!value.isInt() && !value.isDouble() && !value.isBool()) return value;
      // A number beside a tensor takes its type, as in Python.
      at::Tensor number =
          at::scalar_tensor(value.toScalar(), at::TensorOptions().dtype(value.toScalar().type()));
      number.unsafeGetTensorImpl()->set_wrapped_number(true);
      return number;
    }
    case c10::TypeKind::FloatType:
      return AsDouble(value);
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      return AsInteger(value);
    default:
      break;
  }
  if (IsListOf(type, c10::TypeKind::IntType) || IsListOf(type, c10::TypeKind::SymIntType)) {
    if (value.isInt()) return c10::IValue(one(AsInteger));
    TORCH_CHECK(value.isIntList(), "`", schema->name(), "` is a list of integers");
    const int32_t count = schema->N().value_or(0);
    const size_t given = value.toIntList().size();
    if (count > 1 && given == 1) {
      return c10::IValue(std::vector<int64_t>(count, value.toIntList().get(0)));
    }
    TORCH_CHECK(count <= 1 || given == 0 || given == static_cast<size_t>(count), "`",
                schema->name(), "` is a list of ", count, " integers, and has ", given);
  }
  return value;
}

bool IsNone(const Argument& argument) {
  return std::holds_alternative<Argument::None>(argument.value);
}

/// A number that stands for a dtype, a layout or a device is not one that a kernel looks at before
/// it believes it.
absl::Status CheckKind(const c10::Argument& schema, const Argument& given) {
  const c10::TypePtr type = schema.real_type();
  const auto told = [&](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("`", schema.name(), "` is ", what));
  };
  if (IsNone(given)) return absl::OkStatus();
  switch (Within(*type).kind()) {
    case c10::TypeKind::ScalarTypeType:
      return std::holds_alternative<graph::DType>(given.value) ? absl::OkStatus() : told("a dtype");
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
    case c10::TypeKind::DeviceObjType:
    case c10::TypeKind::GeneratorType:
    case c10::TypeKind::StreamObjType:
      return told("not for a program to say");
    default:
      return absl::OkStatus();
  }
}

/// What the operator table lets no program say, and an export may.
bool IsHarmless(const std::string& name) {
  // Checked when all arguments are known: dropout_p and scales.
  static constexpr const char* kNames[] = {"dropout_p", "scales",     "scales_h",    "scales_w",
                                           "implicit",  "pin_memory", "non_blocking"};
  return absl::StartsWith(name, "cudnn_enable") ||
         std::any_of(std::begin(kNames), std::end(kNames),
                     [&](const char* harmless) { return name == harmless; });
}

}  // namespace

c10::IValue FillOf(const c10::Argument* schema, const Argument& from,
                   const std::vector<c10::IValue>& values) {
  const auto value_of = [&](const Argument& argument) -> c10::IValue {
    const auto* use = std::get_if<Argument::Use>(&argument.value);
    return use == nullptr ? ScalarOf(argument) : values[use->value];
  };
  const auto* list = std::get_if<Argument::List>(&from.value);
  if (list == nullptr) return Converted(schema, value_of(from));
  const c10::Type* type = schema == nullptr ? nullptr : &Within(*schema->type());
  if (list->tensors) {
    const bool optional = type != nullptr && IsListOf(*type, c10::TypeKind::OptionalType);
    c10::List<std::optional<at::Tensor>> some;
    c10::List<at::Tensor> all;
    for (const Argument& item : list->items) {
      const c10::IValue value = value_of(item);
      TORCH_CHECK(value.isTensor() || (optional && value.isNone()),
                  "a list of tensors is expected");
      if (optional) {
        some.push_back(value.isNone() ? std::nullopt : std::optional<at::Tensor>(value.toTensor()));
      } else {
        all.push_back(value.toTensor());
      }
    }
    return optional ? c10::IValue(std::move(some)) : c10::IValue(std::move(all));
  }
  if (type != nullptr && IsListOf(*type, c10::TypeKind::FloatType)) {
    std::vector<double> numbers;
    for (const Argument& item : list->items) numbers.push_back(AsDouble(value_of(item)));
    return numbers;
  }
  if (type != nullptr && IsListOf(*type, c10::TypeKind::BoolType)) {
    c10::List<bool> truths;
    for (const Argument& item : list->items) truths.push_back(AsInteger(value_of(item)) != 0);
    return truths;
  }
  std::vector<int64_t> numbers;
  for (const Argument& item : list->items) numbers.push_back(AsInteger(value_of(item)));
  return Converted(schema, c10::IValue(std::move(numbers)));
}

absl::StatusOr<BoundNode> Bind(const Program& program, int index) {
  const Node& node = program.nodes[index];
  absl::StatusOr<GraphOperator> op = FindOperator(node.target);
  if (!op.ok()) return op.status();
  BoundNode bound;
  bound.node = index;
  bound.op = *std::move(op);
  if (bound.op.nothing) return bound;
  if (bound.op.size) {
    if (node.outputs.size() != 1 || node.outputs[0].list || node.outputs[0].values.size() != 1) {
      return absl::InvalidArgumentError("arithmetic on sizes has one result");
    }
    for (size_t i = 0; i < node.arguments.size(); ++i) {
      bound.stack.emplace_back();
      bound.fills.push_back({static_cast<int>(i), node.arguments[i].argument});
    }
    return bound;
  }
  const c10::FunctionSchema& schema = bound.op.handle->schema();
  std::vector<bool> set(schema.arguments().size(), false);
  bound.stack.resize(schema.arguments().size());
  for (const NamedArgument& given : node.arguments) {
    const std::optional<int> place = schema.argumentIndexWithName(given.name);
    if (!place || set[*place]) {
      return absl::InvalidArgumentError(absl::StrCat("`", bound.op.name, "` has no argument `",
                                                     Shown(given.name), "`, or it is given twice"));
    }
    set[*place] = true;
    const c10::Argument& argument = schema.arguments()[*place];
    if (std::holds_alternative<Argument::Ignored>(given.argument.value)) {
      const c10::Type& type = *argument.type();
      if (type.kind() == c10::TypeKind::OptionalType) continue;
      if (argument.default_value()) {
        bound.stack[*place] = *argument.default_value();
      } else if (type.kind() == c10::TypeKind::DeviceObjType) {
        bound.stack[*place] = c10::Device(c10::kCPU);
      } else {
        return absl::UnimplementedError(
            absl::StrCat("`", bound.op.name, "` is given a `", argument.name(), "`"));
      }
      continue;
    }
    if (absl::Status kind = CheckKind(argument, given.argument); !kind.ok()) return kind;
    const plan::OperatorRow* row = bound.op.row;
    if (row != nullptr && (row->refused_arguments >> *place & 1) != 0 && !IsNone(given.argument) &&
        !IsHarmless(argument.name())) {
      return absl::UnimplementedError(absl::StrCat("`", bound.op.name, "` is given a `",
                                                   argument.name(), "`, which is not served"));
    }
    if (UsesValues(given.argument)) {
      bound.fills.push_back({*place, given.argument});
      continue;
    }
    absl::Status status = plan::CatchTorch([&] {
      bound.stack[*place] = FillOf(&argument, given.argument, {});
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < set.size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    const std::string name = argument.name();
    if (!set[i]) {
      if (!argument.default_value() && argument.type()->kind() != c10::TypeKind::OptionalType) {
        return absl::InvalidArgumentError(
            absl::StrCat("`", bound.op.name, "` lacks its argument `", name, "`"));
      }
      if (argument.default_value()) bound.stack[i] = *argument.default_value();
      continue;
    }
    const c10::IValue& value = bound.stack[i];
    if (name == "dropout_p" && !(value.isDouble() && value.toDouble() == 0)) {
      return absl::UnimplementedError(
          "attention with dropout draws random numbers; export the model after model.eval()");
    }
    if ((name == "out" || name == "generator") && !value.isNone()) {
      return absl::UnimplementedError(
          absl::StrCat("`", bound.op.name, "` is given a `", name, "`"));
    }
    if (name == "pin_memory") bound.stack[i] = c10::IValue();
  }
  if (bound.op.must_be_false != nullptr) {
    const std::optional<int> place = schema.argumentIndexWithName(bound.op.must_be_false);
    const bool off = place && bound.stack[*place].isBool() && !bound.stack[*place].toBool();
    for (const BoundNode::Fill& fill : bound.fills) {
      if (place && fill.argument == *place) {
        return absl::UnimplementedError(absl::StrCat("`", bound.op.must_be_false, "` is computed"));
      }
    }
    if (!off) {
      return absl::UnimplementedError(
          absl::StrCat("`", bound.op.name, "` in training mode (`", bound.op.must_be_false,
                       "`) is not served; export the model after model.eval()"));
    }
  }
  if (schema.returns().size() != node.outputs.size() && !node.outputs.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("`", bound.op.name, "` has ",
                                                   schema.returns().size(), " results, and ",
                                                   node.outputs.size(), " are used"));
  }
  return bound;
}

}  // namespace weft::exported
