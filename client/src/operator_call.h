#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "client/src/recording.h"
#include "weft/ops.h"
#include "weft/var.h"

// What the definitions in operators.cc are made of.

namespace weft::internal {

/// An argument by name, which a statement holds only where it is not the default.
struct ByName {
  const char* name;
  Arg value;
  bool given;
};

/// An operand as a value, for operators that take no number in its place.
inline Var AsVar(const Operand& operand) {
  if (const auto* var = std::get_if<Var>(&operand.arg().value())) return *var;
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Constant(operand);
}

template <typename T>
Arg ToArg(const std::optional<T>& value) {
  return value.has_value() ? Arg(*value) : Arg(None);
}
inline Arg ToArg(const OptionalDims& dims) {
  return dims.has_value() ? Arg(dims.values()) : Arg(None);
}

/// An argument whose default is None.
inline ByName Maybe(const char* name, const Arg& value) {
  return {name, value, !std::holds_alternative<NoneType>(value.value())};
}
template <typename T>
ByName Maybe(const char* name, const std::optional<T>& value) {
  return {name, ToArg(value), value.has_value()};
}
inline ByName Maybe(const char* name, const OptionalDims& dims) {
  return {name, ToArg(dims), dims.has_value()};
}

/// An argument with another default.
inline ByName Unless(const char* name, const Dims& dims, const std::vector<int64_t>& defaults) {
  return {name, dims.values(), dims.values() != defaults};
}
inline ByName Unless(const char* name, const Number& value, const Number& defaults) {
  return {name, value, value != defaults};
}
template <typename T>
requires std::same_as<T, bool> || std::same_as<T, int64_t> || std::same_as<T, double> ||
    std::same_as<T, DType> || std::same_as<T, std::string>
        ByName Unless(const char* name, const T& value, const std::type_identity_t<T>& defaults) {
  return {name, value, value != defaults};
}

inline Var Call(const char* name, const std::vector<Arg>& arguments,
                std::initializer_list<ByName> by_name, Location where) {
  NamedArgs named;
  for (const ByName& each : by_name) {
    if (each.given) named.emplace_back(each.name, each.value);
  }
  return op(name, arguments, named, where);
}

/// The results of an operator that has several.
template <size_t kCount>
auto Items(const Var& tuple, Location where) {
  Recording* recording = Recording::Current();
  const auto item = [&](int64_t index) {
    return recording == nullptr ? Var() : recording->Item(tuple, index, where);
  };
  if constexpr (kCount == 2) {
    Var first = item(0);
    return std::pair(std::move(first), item(1));
  } else if constexpr (kCount == 3) {
    Var first = item(0), second = item(1);
    return std::tuple(std::move(first), std::move(second), item(2));
  } else {
    static_assert(kCount == 4);
    Var first = item(0), second = item(1), third = item(2);
    return std::tuple(std::move(first), std::move(second), std::move(third), item(3));
  }
}

}  // namespace weft::internal
