#include "tests/reference/call.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <set>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/reference/interpreter.h"

namespace weft::reference {
namespace {

c10::OperatorHandle Find(const std::string& qualified) {
  const size_t dot = qualified.find('.');
  const std::string name = qualified.substr(0, dot);
  const std::string overload = dot == std::string::npos ? "" : qualified.substr(dot + 1);
  auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!found) throw Unsupported("an operator without its overload: " + qualified);
  return *found;
}

c10::IValue ToType(const c10::IValue& value, c10::TypePtr type, std::optional<int32_t> count) {
  if (const auto optional = type->cast<c10::OptionalType>()) {
    if (value.isNone()) return value;
    type = optional->getElementType();
  }
  switch (type->kind()) {
    case c10::TypeKind::FloatType:
      if (value.isInt()) return static_cast<double>(value.toInt());
      return value;
    case c10::TypeKind::TensorType:
      if (value.isScalar()) return at::scalar_to_tensor(value.toScalar());
      return value;
    case c10::TypeKind::ListType: {
      const c10::TypePtr item = type->cast<c10::ListType>()->getElementType();
      if (item->kind() == c10::TypeKind::IntType) {
        if (value.isInt()) {
          return c10::List<int64_t>(std::vector<int64_t>(count.value_or(1), value.toInt()));
        }
        if (value.isList() && value.toListRef().empty()) return c10::List<int64_t>();
        return value;
      }
      if (item->kind() == c10::TypeKind::FloatType && value.isList()) {
        c10::List<double> list;
        for (const c10::IValue& each : value.toListRef())
          list.push_back(each.toScalar().toDouble());
        return list;
      }
      if (item->kind() == c10::TypeKind::TensorType && value.isList()) {
        c10::List<at::Tensor> list;
        for (const c10::IValue& each : value.toListRef()) list.push_back(each.toTensor());
        return list;
      }
      if (item->kind() == c10::TypeKind::OptionalType && value.isList()) {
        c10::List<std::optional<at::Tensor>> list;
        for (const c10::IValue& each : value.toListRef()) {
          list.push_back(each.isTensor() ? std::optional(each.toTensor()) : std::nullopt);
        }
        return list;
      }
      return value;
    }
    default:
      return value;
  }
}

c10::IValue Filled(const graph::Argument& argument,
                   const std::function<c10::IValue(graph::NodeId)>& value) {
  if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) return value(ref->id);
  if (const auto* flag = std::get_if<bool>(&argument.value)) return *flag;
  if (const auto* number = std::get_if<int64_t>(&argument.value)) return *number;
  if (const auto* number = std::get_if<double>(&argument.value)) return *number;
  if (const auto* text = std::get_if<std::string>(&argument.value)) return *text;
  if (const auto* dtype = std::get_if<graph::DType>(&argument.value)) {
    return static_cast<int64_t>(ScalarTypeOf(*dtype));
  }
  if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
    bool ints = !list->empty(), bools = ints;
    for (const graph::Argument& item : *list) {
      ints &= std::holds_alternative<int64_t>(item.value);
      bools &= std::holds_alternative<bool>(item.value);
    }
    if (ints) {
      c10::List<int64_t> filled;
      for (const graph::Argument& item : *list) filled.push_back(std::get<int64_t>(item.value));
      return filled;
    }
    if (bools) {
      c10::List<bool> filled;
      for (const graph::Argument& item : *list) filled.push_back(std::get<bool>(item.value));
      return filled;
    }
    c10::impl::GenericList filled(c10::AnyType::get());
    for (const graph::Argument& item : *list) filled.push_back(Filled(item, value));
    return filled;
  }
  return {};
}

}  // namespace

std::vector<GivenArgument> FillArguments(const std::vector<graph::Argument>& arguments,
                                         const std::function<c10::IValue(graph::NodeId)>& value) {
  std::vector<GivenArgument> filled;
  for (const graph::Argument& argument : arguments) {
    filled.push_back({argument.name, Filled(argument, value)});
  }
  return filled;
}

c10::IValue CallOperator(const std::string& qualified,
                         const std::vector<GivenArgument>& arguments) {
  const c10::OperatorHandle op = Find(qualified);
  const auto& schema = op.schema().arguments();
  c10::Stack stack;
  std::vector<bool> given(schema.size(), false);
  for (const c10::Argument& argument : schema) {
    stack.push_back(argument.default_value().value_or(c10::IValue()));
  }
  size_t position = 0;
  for (const GivenArgument& argument : arguments) {
    size_t place = position;
    if (argument.name.empty()) {
      ++position;
    } else {
      for (place = 0; place < schema.size() && schema[place].name() != argument.name;) ++place;
    }
    if (place >= schema.size()) throw std::invalid_argument("too many arguments: " + qualified);
    stack[place] = ToType(argument.value, schema[place].type(), schema[place].N());
    given[place] = true;
  }
  for (size_t i = 0; i < schema.size(); ++i) {
    const bool optional = schema[i].type()->kind() == c10::TypeKind::OptionalType;
    if (!given[i] && !schema[i].default_value() && !optional) {
      throw std::invalid_argument("an argument is missing: " + qualified);
    }
  }
  if (qualified == "aten::copy") {  // for which torch has no derivative
    const at::Tensor& like = stack[0].toTensor();
    return stack[1].toTensor().to(like.scalar_type()).expand(like.sizes()).clone();
  }
  op.callBoxed(&stack);
  for (c10::IValue& result : stack) {
    // A lazy conjugate is torch's affair.
    result = ForTensors(result, [](const at::Tensor& tensor) {
      return tensor.is_conj() || tensor.is_neg() ? tensor.resolve_conj().resolve_neg() : tensor;
    });
  }
  if (stack.size() == 1) return stack.front();
  return c10::ivalue::Tuple::create(std::move(stack));
}

bool IsView(const std::string& qualified) {
  // As the design lists them: what is always a view of its first argument.
  static const std::set<std::string> kViews = {
      "view",      "view_as",   "transpose", "t",
      "permute",   "select",    "slice",     "narrow",
      "squeeze",   "unsqueeze", "movedim",   "moveaxis",
      "swapaxes",  "swapdims",  "diagonal",  "linalg_diagonal",
      "unflatten", "alias",     "detach",    "numpy_T",
      "mT",        "split",     "chunk",     "tensor_split",
      "hsplit",    "vsplit",    "dsplit",    "split_with_sizes",
      "unbind",    "expand",    "expand_as", "broadcast_to",
      "unfold",    "real",      "imag",      "view_as_real"};
  const std::string word = qualified.substr(0, qualified.find('.'));
  return kViews.count(word.substr(word.find("::") + 2)) > 0;
}

bool IsInPlace(const std::string& qualified) {
  const auto& first = Find(qualified).schema().arguments();
  return !first.empty() && first[0].alias_info() != nullptr && first[0].alias_info()->isWrite();
}

bool IsRandom(const std::string& qualified) {
  for (const c10::Argument& argument : Find(qualified).schema().arguments()) {
    if (argument.name() == "generator") return true;
  }
  return false;
}

c10::ScalarType ScalarTypeOf(graph::DType dtype) {
  switch (dtype) {
    case graph::DType::kBool:
      return at::kBool;
    case graph::DType::kU8:
      return at::kByte;
    case graph::DType::kI8:
      return at::kChar;
    case graph::DType::kI16:
      return at::kShort;
    case graph::DType::kI32:
      return at::kInt;
    case graph::DType::kI64:
      return at::kLong;
    case graph::DType::kF16:
      return at::kHalf;
    case graph::DType::kBF16:
      return at::kBFloat16;
    case graph::DType::kF32:
      return at::kFloat;
    case graph::DType::kF64:
      return at::kDouble;
    case graph::DType::kC64:
      return at::kComplexFloat;
    case graph::DType::kC128:
      return at::kComplexDouble;
  }
  throw std::invalid_argument("an unknown dtype");
}

at::Tensor ToTensor(const graph::HostTensor& host) {
  at::Tensor tensor = at::zeros(host.shape, at::device(at::kCPU).dtype(ScalarTypeOf(host.dtype)));
  if (host.bytes > 0) std::memcpy(tensor.mutable_data_ptr(), host.data, host.bytes);
  return tensor;
}

c10::IValue ForTensors(const c10::IValue& value,
                       const std::function<at::Tensor(const at::Tensor&)>& change) {
  if (value.isTensor()) return value.toTensor().defined() ? change(value.toTensor()) : value;
  if (value.isTuple()) {
    std::vector<c10::IValue> items;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      items.push_back(ForTensors(item, change));
    }
    return c10::ivalue::Tuple::create(std::move(items));
  }
  if (value.isGenericDict()) {
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    for (const auto& entry : value.toGenericDict()) {
      dict.insert(entry.key(), ForTensors(entry.value(), change));
    }
    return dict;
  }
  if (value.isTensorList() ||
      (value.isList() && !value.isIntList() && !value.isDoubleList() && !value.isBoolList())) {
    c10::impl::GenericList list(c10::AnyType::get());
    for (const c10::IValue& item : value.toListRef()) list.push_back(ForTensors(item, change));
    return list;
  }
  return value;
}

}  // namespace weft::reference
