#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"

namespace weft::plan {

graph::DType FromScalarType(c10::ScalarType type) {
  switch (type) {
    case c10::ScalarType::Bool:
      return graph::DType::kBool;
    case c10::ScalarType::Byte:
      return graph::DType::kU8;
    case c10::ScalarType::Char:
      return graph::DType::kI8;
    case c10::ScalarType::Short:
      return graph::DType::kI16;
    case c10::ScalarType::Int:
      return graph::DType::kI32;
    case c10::ScalarType::Long:
      return graph::DType::kI64;
    case c10::ScalarType::Half:
      return graph::DType::kF16;
    case c10::ScalarType::BFloat16:
      return graph::DType::kBF16;
    case c10::ScalarType::Double:
      return graph::DType::kF64;
    case c10::ScalarType::ComplexFloat:
      return graph::DType::kC64;
    case c10::ScalarType::ComplexDouble:
      return graph::DType::kC128;
    default:
      return graph::DType::kF32;
  }
}

c10::ScalarType ToScalarType(graph::DType dtype) {
  switch (dtype) {
    case graph::DType::kBool:
      return c10::ScalarType::Bool;
    case graph::DType::kU8:
      return c10::ScalarType::Byte;
    case graph::DType::kI8:
      return c10::ScalarType::Char;
    case graph::DType::kI16:
      return c10::ScalarType::Short;
    case graph::DType::kI32:
      return c10::ScalarType::Int;
    case graph::DType::kI64:
      return c10::ScalarType::Long;
    case graph::DType::kF16:
      return c10::ScalarType::Half;
    case graph::DType::kBF16:
      return c10::ScalarType::BFloat16;
    case graph::DType::kF32:
      return c10::ScalarType::Float;
    case graph::DType::kF64:
      return c10::ScalarType::Double;
    case graph::DType::kC64:
      return c10::ScalarType::ComplexFloat;
    case graph::DType::kC128:
      return c10::ScalarType::ComplexDouble;
  }
  return c10::ScalarType::Float;
}

namespace {

struct ToMeta {
  RowCount rows;
  int64_t past;

  c10::IValue operator()(std::monostate) const { return {}; }
  c10::IValue operator()(const std::string&) const { return c10::IValue(int64_t{0}); }
  c10::IValue operator()(const graph::Pattern::Tensor& tensor) const {
    std::vector<int64_t> shape;
    shape.reserve(tensor.shape.size());
    for (const graph::Dimension& dim : tensor.shape) {
      shape.push_back(dim.At(rows.batch, rows.tokens, past));
    }
    return at::empty(shape, at::device(at::kMeta).dtype(ToScalarType(tensor.dtype)));
  }
  c10::IValue operator()(const graph::Pattern::List& list) const {
    c10::impl::GenericList out(c10::AnyType::get());
    for (const graph::Pattern& item : list.items) out.push_back(MetaOf(item, rows, past));
    return out;
  }
  c10::IValue operator()(const graph::Pattern::Tuple& tuple) const {
    std::vector<c10::IValue> out;
    for (const graph::Pattern& item : tuple.items) out.push_back(MetaOf(item, rows, past));
    return c10::ivalue::Tuple::create(std::move(out));
  }
  c10::IValue operator()(const graph::Pattern::Dict& dict) const {
    c10::impl::GenericDict out(c10::StringType::get(), c10::AnyType::get());
    for (const auto& [key, value] : dict.entries) out.insert(key, MetaOf(value, rows, past));
    return out;
  }
};

}  // namespace

c10::IValue MetaOf(const graph::Pattern& pattern, RowCount rows, int64_t past) {
  return std::visit(ToMeta{rows, past}, pattern.value);
}

c10::IValue MapTensors(const c10::IValue& value,
                       absl::FunctionRef<at::Tensor(const at::Tensor&)> change) {
  if (value.isTensor()) return change(value.toTensor());
  if (value.isTuple()) {
    std::vector<c10::IValue> items;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      items.push_back(MapTensors(item, change));
    }
    return c10::ivalue::Tuple::create(std::move(items));
  }
  if (value.isGenericDict()) {
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    for (const auto& entry : value.toGenericDict()) {
      dict.insert(entry.key(), MapTensors(entry.value(), change));
    }
    return dict;
  }
  if (value.isTensorList() ||
      (value.isList() && !value.isIntList() && !value.isDoubleList() && !value.isBoolList())) {
    c10::impl::GenericList list(c10::AnyType::get());
    for (const c10::IValue& item : value.toListRef()) list.push_back(MapTensors(item, change));
    return list;
  }
  return value;
}

c10::IValue ConvertFloats(const c10::IValue& value, std::optional<graph::DType> dtype) {
  if (!dtype) return value;
  return MapTensors(value, [type = ToScalarType(*dtype)](const at::Tensor& tensor) {
    return tensor.is_floating_point() ? tensor.to(type) : tensor;
  });
}

graph::Pattern PatternOf(const c10::IValue& value) {
  graph::Pattern pattern;
  if (value.isTensor()) {
    graph::Pattern::Tensor tensor;
    tensor.dtype = FromScalarType(value.toTensor().scalar_type());
    for (int64_t size : value.toTensor().sizes()) tensor.shape.push_back({size, 0, 0});
    pattern.value = std::move(tensor);
  } else if (value.isTuple()) {
    graph::Pattern::Tuple tuple;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      tuple.items.push_back(PatternOf(item));
    }
    pattern.value = std::move(tuple);
  } else if (value.isList()) {
    graph::Pattern::List list;
    for (const c10::IValue& item : value.toListRef()) list.items.push_back(PatternOf(item));
    pattern.value = std::move(list);
  } else if (value.isGenericDict()) {
    graph::Pattern::Dict dict;
    for (const auto& entry : value.toGenericDict()) {
      dict.entries.emplace_back(entry.key().toStringRef(), PatternOf(entry.value()));
    }
    pattern.value = std::move(dict);
  } else if (value.isBool()) {
    pattern.value = std::string("bool");
  } else if (value.isInt()) {
    pattern.value = std::string("int");
  } else if (value.isDouble()) {
    pattern.value = std::string("float");
  } else if (value.isString()) {
    pattern.value = std::string("str");
  }
  return pattern;
}

RowCount BroughtRows(const ModelSpec& model, int first_site, bool ids, at::IntArrayRef shape) {
  if (ids) return shape.size() == 1 ? RowCount{1, shape[0]} : RowCount{shape[0], shape[1]};
  const int64_t leading = model.LeadingOf(model.sites()[first_site]);
  if (static_cast<int64_t>(shape.size()) < leading) return {};
  return {shape[0], leading == 1 ? 1 : shape[1]};
}

absl::Status MaskFits(at::IntArrayRef mask, at::IntArrayRef tensor) {
  if (mask.size() <= tensor.size() && mask == tensor.slice(0, mask.size())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the mask's shape ", c10::str(mask), " does not begin the tensor's ", c10::str(tensor)));
}

absl::StatusOr<c10::IValue> TakeItemOf(const c10::IValue& value,
                                       const std::variant<int64_t, std::string>& item) {
  if (const std::string* key = std::get_if<std::string>(&item)) {
    if (!value.isGenericDict()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", *key, "\" is a key, but the value is no dict"));
    }
    const auto dict = value.toGenericDict();
    const auto it = dict.find(*key);
    if (it == dict.end()) {
      std::string keys;
      for (const auto& entry : dict) {
        absl::StrAppend(&keys, keys.empty() ? "\"" : ", \"", entry.key().toStringRef(), "\"");
      }
      return absl::InvalidArgumentError(
          absl::StrCat("there is no key \"", *key, "\"; there are: ", keys));
    }
    return c10::IValue(it->value());
  }
  int64_t index = std::get<int64_t>(item);
  auto in_range = [&](int64_t size) -> absl::Status {
    if (index < -size || index >= size) {
      return absl::InvalidArgumentError(
          absl::StrCat("item ", index, " of a structure of ", size, " items"));
    }
    if (index < 0) index += size;
    return absl::OkStatus();
  };
  if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    if (absl::Status status = in_range(static_cast<int64_t>(elements.size())); !status.ok()) {
      return status;
    }
    return elements[index];
  }
  if (value.isList()) {
    const auto elements = value.toListRef();
    if (absl::Status status = in_range(static_cast<int64_t>(elements.size())); !status.ok()) {
      return status;
    }
    return elements[index];
  }
  if (value.isGenericDict()) {
    // As transformers' ModelOutput: an integer is the place among the fields.
    const auto dict = value.toGenericDict();
    if (absl::Status status = in_range(static_cast<int64_t>(dict.size())); !status.ok()) {
      return status;
    }
    auto it = dict.begin();
    std::advance(it, index);
    return c10::IValue(it->value());
  }
  return absl::InvalidArgumentError(absl::StrCat("item ", index, " of a value that has none"));
}

}  // namespace weft::plan
