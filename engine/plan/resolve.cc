#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/plan/operators.h"

namespace weft::plan {
namespace {

/// What values a schema argument takes.
enum class Kind : uint8_t {
  kTensor,
  kTensors,
  kOptionalTensors,
  kScalar,
  kInt,
  kFloat,
  kBool,
  kString,
  kDType,
  kInts,
  kFloats,
  kBools,
  kOther,  // a device, a layout...: only the default
};

struct Parameter {
  Kind kind = Kind::kOther;
  bool optional = false;
  int count = 0;  // of a list that one value may stand for: int[k]
};

Parameter ParameterOf(const c10::Argument& argument) {
  Parameter parameter;
  c10::TypePtr type = argument.real_type();
  if (const auto optional = type->cast<c10::OptionalType>()) {
    parameter.optional = true;
    type = optional->getElementType();
  }
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      parameter.kind = Kind::kTensor;
      break;
    case c10::TypeKind::NumberType:
      parameter.kind = Kind::kScalar;
      break;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      parameter.kind = Kind::kInt;
      break;
    case c10::TypeKind::FloatType:
      parameter.kind = Kind::kFloat;
      break;
    case c10::TypeKind::BoolType:
      parameter.kind = Kind::kBool;
      break;
    case c10::TypeKind::StringType:
      parameter.kind = Kind::kString;
      break;
    case c10::TypeKind::ScalarTypeType:
      parameter.kind = Kind::kDType;
      break;
    case c10::TypeKind::ListType: {
      parameter.count = argument.N().value_or(0);
      const c10::TypePtr element = type->containedType(0);
      switch (element->kind()) {
        case c10::TypeKind::TensorType:
          parameter.kind = Kind::kTensors;
          break;
        case c10::TypeKind::OptionalType:
          if (element->containedType(0)->kind() == c10::TypeKind::TensorType) {
            parameter.kind = Kind::kOptionalTensors;
          }
          break;
        case c10::TypeKind::IntType:
        case c10::TypeKind::SymIntType:
          parameter.kind = Kind::kInts;
          break;
        case c10::TypeKind::FloatType:
          parameter.kind = Kind::kFloats;
          break;
        case c10::TypeKind::BoolType:
          parameter.kind = Kind::kBools;
          break;
        default:
          break;
      }
      break;
    }
    default:
      break;
  }
  return parameter;
}

const char* WhatIs(Kind kind) {
  switch (kind) {
    case Kind::kTensor:
      return "a tensor";
    case Kind::kTensors:
      return "a list of tensors";
    case Kind::kOptionalTensors:
      return "a list of tensors (or none)";
    case Kind::kScalar:
      return "a number";
    case Kind::kInt:
      return "an integer";
    case Kind::kFloat:
      return "a float";
    case Kind::kBool:
      return "a bool";
    case Kind::kString:
      return "a string";
    case Kind::kDType:
      return "a dtype";
    case Kind::kInts:
      return "a list of integers";
    case Kind::kFloats:
      return "a list of floats";
    case Kind::kBools:
      return "a list of bools";
    case Kind::kOther:
      return "left out";
  }
  return "";
}

std::string WhatIs(const c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    return absl::StrCat(c10::toString(tensor.scalar_type()), "[",
                        absl::StrJoin(tensor.sizes(), ", "), "]");
  }
  if (value.isNone()) return "none";
  if (value.isBool()) return value.toBool() ? "true" : "false";
  if (value.isInt()) return absl::StrCat(value.toInt());
  if (value.isDouble()) return absl::StrCat(value.toDouble());
  if (value.isString()) {
    constexpr size_t kLongest = 40;
    const std::string& text = value.toStringRef();
    return absl::StrCat("\"", text.substr(0, kLongest), text.size() > kLongest ? "..." : "", "\"");
  }
  if (value.isList()) {
    constexpr size_t kMost = 8;
    std::vector<std::string> items;
    for (const c10::IValue& item : value.toListRef()) {
      if (items.size() == kMost) {
        items.push_back("...");
        break;
      }
      items.push_back(WhatIs(item));
    }
    return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
  }
  return value.tagKind();
}

bool IsNumber(const c10::IValue& value) {
  return value.isInt() || value.isDouble() || value.isBool();
}

bool IsDType(const c10::IValue& value) {
  if (!value.isInt()) return false;
  switch (static_cast<c10::ScalarType>(value.toInt())) {
    case c10::ScalarType::Bool:
    case c10::ScalarType::Byte:
    case c10::ScalarType::Char:
    case c10::ScalarType::Short:
    case c10::ScalarType::Int:
    case c10::ScalarType::Long:
    case c10::ScalarType::Half:
    case c10::ScalarType::BFloat16:
    case c10::ScalarType::Float:
    case c10::ScalarType::Double:
      return true;
    default:
      return false;
  }
}

template <typename Predicate>
bool AllItems(const c10::IValue& value, Predicate predicate) {
  if (!value.isList()) return false;
  for (const c10::IValue& item : value.toListRef()) {
    if (!predicate(item)) return false;
  }
  return true;
}

/// Whether a value can be given for a parameter. A number for a tensor is `numbers`' to allow.
bool Fits(const Parameter& parameter, const c10::IValue& value, bool numbers) {
  if (value.isNone()) return parameter.optional;
  switch (parameter.kind) {
    case Kind::kTensor:
      return value.isTensor() || (numbers && IsNumber(value));
    case Kind::kTensors:
      return value.isTensorList() ||
             AllItems(value, [](const c10::IValue& item) { return item.isTensor(); });
    case Kind::kOptionalTensors:
      return value.isTensorList() || AllItems(value, [](const c10::IValue& item) {
               return item.isTensor() || item.isNone();
             });
    case Kind::kScalar:
      return IsNumber(value);
    case Kind::kInt:
      return value.isInt();
    case Kind::kFloat:
      return value.isDouble() || value.isInt();
    case Kind::kBool:
      return value.isBool();
    case Kind::kString:
      return value.isString();
    case Kind::kDType:
      return IsDType(value);
    case Kind::kInts:
      return (value.isInt() && parameter.count > 0) || value.isIntList() ||
             AllItems(value, [](const c10::IValue& item) { return item.isInt(); });
    case Kind::kFloats:
      return ((value.isDouble() || value.isInt()) && parameter.count > 0) || value.isDoubleList() ||
             AllItems(value,
                      [](const c10::IValue& item) { return item.isDouble() || item.isInt(); });
    case Kind::kBools:
      return value.isBoolList() ||
             AllItems(value, [](const c10::IValue& item) { return item.isBool(); });
    case Kind::kOther:
      return false;
  }
  return false;
}

double ToDouble(const c10::IValue& value) {
  return value.isInt() ? static_cast<double>(value.toInt()) : value.toDouble();
}

c10::IValue Convert(const Parameter& parameter, const c10::IValue& value) {
  if (value.isNone()) return value;
  switch (parameter.kind) {
    case Kind::kTensor: {
      if (value.isTensor()) return value;
      // As PyTorch passes a number where a tensor is expected: it has no say in the result's dtype
      // beyond its kind, and stays on the CPU, which kernels of every device accept.
      at::Tensor number = at::scalar_tensor(value.toScalar(), value.isDouble() ? at::kDouble
                                                              : value.isBool() ? at::kBool
                                                                               : at::kLong);
      number.unsafeGetTensorImpl()->set_wrapped_number(true);
      return number;
    }
    case Kind::kTensors: {
      if (value.isTensorList()) return value;
      c10::List<at::Tensor> list;
      for (const c10::IValue& item : value.toListRef()) list.push_back(item.toTensor());
      return list;
    }
    case Kind::kOptionalTensors: {
      c10::List<std::optional<at::Tensor>> list;
      for (const c10::IValue& item : value.toListRef()) {
        list.push_back(item.isNone() ? std::nullopt : std::optional(item.toTensor()));
      }
      return list;
    }
    case Kind::kFloat:
      return ToDouble(value);
    case Kind::kInts: {
      if (value.isIntList()) return value;
      if (value.isInt()) {
        return c10::List<int64_t>(std::vector<int64_t>(parameter.count, value.toInt()));
      }
      c10::List<int64_t> list;
      for (const c10::IValue& item : value.toListRef()) list.push_back(item.toInt());
      return list;
    }
    case Kind::kFloats: {
      if (value.isDoubleList()) return value;
      if (!value.isList()) {
        return c10::List<double>(std::vector<double>(parameter.count, ToDouble(value)));
      }
      c10::List<double> list;
      for (const c10::IValue& item : value.toListRef()) list.push_back(ToDouble(item));
      return list;
    }
    case Kind::kBools: {
      if (value.isBoolList()) return value;
      c10::List<bool> list;
      for (const c10::IValue& item : value.toListRef()) list.push_back(item.toBool());
      return list;
    }
    default:
      return value;
  }
}

/// Sizes, positions and counts beyond this overflow inside kernels that add a few of them.
constexpr int64_t kLargestInteger = int64_t{1} << 48;

bool IsTooLarge(const c10::IValue& value) {
  return value.isInt() && (value.toInt() > kLargestInteger || value.toInt() < -kLargestInteger);
}

/// Bind `arguments` to the schema of `row`. Returns what does not fit, or nothing.
std::string Bind(const OperatorRow& row, absl::Span<const CallArgument> arguments, bool numbers,
                 ResolvedCall& call) {
  const std::vector<c10::Argument>& parameters = row.schema().arguments();
  call.row = &row;
  call.stack.assign(parameters.size(), c10::IValue());
  call.source.assign(parameters.size(), -1);
  size_t next = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const CallArgument& argument = arguments[i];
    size_t position = parameters.size();
    if (argument.name.empty()) {
      if (next >= parameters.size() || parameters[next].kwarg_only()) {
        return absl::StrCat("takes ", next, " positional argument", next == 1 ? "" : "s");
      }
      position = next++;
    } else {
      for (size_t p = 0; p < parameters.size(); ++p) {
        if (parameters[p].name() == argument.name) position = p;
      }
      if (position == parameters.size()) return absl::StrCat("has no `", argument.name, "`");
    }
    const std::string& name = parameters[position].name();
    if (call.source[position] >= 0) return absl::StrCat("`", name, "` is given twice");
    const Parameter parameter = ParameterOf(parameters[position]);
    if ((row.refused_arguments >> position & 1) != 0) {
      return absl::StrCat("`", name, "` is not for programs to choose");
    }
    if (!Fits(parameter, argument.value, numbers && row.takes_numbers && position > 0)) {
      return absl::StrCat("`", name, "` must be ", WhatIs(parameter.kind),
                          parameter.optional ? " or none" : "", ", not ", WhatIs(argument.value));
    }
    c10::IValue& bound = call.stack[position];
    bound = Convert(parameter, argument.value);
    if (parameter.kind == Kind::kInt && IsTooLarge(bound)) {
      // "To the end" is written as the largest integer.
      if (name != "start" && name != "end") return absl::StrCat("`", name, "` is out of range");
      bound = bound.toInt() > 0 ? kLargestInteger : -kLargestInteger;
    }
    if (parameter.kind == Kind::kInts && !bound.isNone() &&
        !AllItems(bound, [](const c10::IValue& item) { return !IsTooLarge(item); })) {
      return absl::StrCat("`", name, "` is out of range");
    }
    call.source[position] = static_cast<int>(i);
  }
  for (size_t p = 0; p < parameters.size(); ++p) {
    if (call.source[p] >= 0) continue;
    if (static_cast<int>(p) == row.generator_argument) continue;
    if (!parameters[p].default_value().has_value()) {
      return absl::StrCat("`", parameters[p].name(), "` is missing");
    }
    call.stack[p] = Convert(ParameterOf(parameters[p]), *parameters[p].default_value());
  }
  return "";
}

uint8_t ClassOf(c10::ScalarType type) {
  switch (type) {
    case c10::ScalarType::Bool:
      return kBools;
    case c10::ScalarType::Byte:
    case c10::ScalarType::Char:
    case c10::ScalarType::Short:
    case c10::ScalarType::Int:
    case c10::ScalarType::Long:
      return kInts;
    case c10::ScalarType::Half:
    case c10::ScalarType::BFloat16:
      return kShortFloats;
    case c10::ScalarType::Float:
    case c10::ScalarType::Double:
      return kWideFloats;
    case c10::ScalarType::ComplexFloat:
    case c10::ScalarType::ComplexDouble:
      return kComplex;
    default:
      return 0;
  }
}

std::string ClassNames(uint8_t classes) {
  std::vector<const char*> names;
  if ((classes & kBools) != 0) names.push_back("bool");
  if ((classes & kInts) != 0) names.push_back("integer");
  if ((classes & kFloats) == kFloats) {
    names.push_back("floating-point");
  } else if ((classes & kWideFloats) != 0) {
    names.push_back("float32 and float64");
  }
  if ((classes & kComplex) != 0) names.push_back("complex");
  return absl::StrJoin(names, " or ");
}

absl::Status CheckClass(const OperatorRow& row, const at::Tensor& tensor) {
  if ((ClassOf(tensor.scalar_type()) & row.dtypes) != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(row.name, " takes ", ClassNames(row.dtypes),
                                                 " tensors, not ",
                                                 c10::toString(tensor.scalar_type())));
}

absl::Status CheckNoComplex(const OperatorRow& row, const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_complex()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(row.name, " takes no complex tensors"));
}

absl::Status CheckDTypes(const OperatorRow& row, const c10::Stack& stack) {
  bool first = true;
  for (const c10::IValue& value : stack) {
    const bool list = value.isTensorList();
    if (!list && !value.isTensor()) continue;
    if (value.isTensor() && value.toTensor().unsafeGetTensorImpl()->is_wrapped_number()) {
      first = false;
      continue;
    }
    for (const at::Tensor& tensor :
         list ? value.toTensorVector() : std::vector<at::Tensor>{value.toTensor()}) {
      absl::Status status = absl::OkStatus();
      if (first) {
        status = CheckClass(row, tensor);
      } else if ((row.dtypes & kComplex) == 0) {
        status = CheckNoComplex(row, tensor);
      }
      if (!status.ok()) return status;
    }
    first = false;
  }
  return absl::OkStatus();
}

std::string DescribeCall(absl::Span<const CallArgument> arguments) {
  return absl::StrCat("(",
                      absl::StrJoin(arguments, ", ",
                                    [](std::string* out, const CallArgument& argument) {
                                      absl::StrAppend(out, argument.name,
                                                      argument.name.empty() ? "" : "=",
                                                      WhatIs(argument.value));
                                    }),
                      ")");
}

}  // namespace

c10::IValue ConvertTo(const c10::IValue& value, const c10::Argument& argument) {
  return Convert(ParameterOf(argument), value);
}

absl::StatusOr<ResolvedCall> ResolveCall(const std::string& name,
                                         absl::Span<const CallArgument> arguments) {
  const OperatorTable& table = OperatorTable::Get();
  absl::Span<const OperatorRow* const> rows = table.Find(name);
  const OperatorRow* qualified = nullptr;
  if (rows.empty()) {
    qualified = table.FindOverload(name);
    if (qualified == nullptr) return table.WhyNot(name);
    rows = absl::MakeConstSpan(&qualified, 1);
  }
  for (const bool numbers : {false, true}) {
    for (const OperatorRow* row : rows) {
      ResolvedCall call;
      if (!Bind(*row, arguments, numbers, call).empty()) continue;
      if (absl::Status status = CheckDTypes(*row, call.stack); !status.ok()) return status;
      return call;
    }
  }
  std::string message = absl::StrCat(name, DescribeCall(arguments), " fits no signature:");
  for (const OperatorRow* row : rows) {
    ResolvedCall call;
    absl::StrAppend(&message, "\n  ", c10::toString(row->schema()), ": ",
                    Bind(*row, arguments, /*numbers=*/true, call));
  }
  return absl::InvalidArgumentError(message);
}

}  // namespace weft::plan
