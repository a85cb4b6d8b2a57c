#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "weft/location.h"
#include "weft/var.h"

namespace weft {

/// Which steps of a generation: one (`3`), a slice (`Slice(0, 8)`, `Slice(None, None, 2)`), or a
/// list in braces. They are walked in ascending order.
class StepSelection {
 public:
  StepSelection(std::integral auto step)  // NOLINT: selections are written as they are
      : value_(std::vector<int64_t>{static_cast<int64_t>(step)}), one_(true) {}
  StepSelection(Slice range) : value_(std::move(range)) {}                             // NOLINT
  StepSelection(std::initializer_list<int64_t> steps) : value_(std::vector(steps)) {}  // NOLINT
  StepSelection(std::vector<int64_t> steps) : value_(std::move(steps)) {}              // NOLINT

  const std::variant<Slice, std::vector<int64_t>>& value() const { return value_; }
  /// A step was named by its number: what is saved there is a value, not a list of one.
  bool one() const { return one_; }

 private:
  std::variant<Slice, std::vector<int64_t>> value_;
  bool one_ = false;
};

/// The step that a lambda of Tracer::steps records: once, for all of them.
class Step {
 public:
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  /// The step's number, a value without dimensions. (Tracer::each_step has it as a number of C++.)
  Var number(Location where = Location::current()) const;

 private:
  friend class Tracer;
  Step() = default;
};

/// A value that lives from step to step, or is changed by one branch of an If: a variable of the
/// program, where a Var is one of C++.
///
///   weft::Carry total(0.0);
///   trace.steps(Slice(), [&] { total = total + h.sum(); });
///   total.save("total");
///
/// Inside `steps` it has the value that the step before gave it, in the first one the value from
/// before; after them that of the last step that came. Its shape and dtype do not change. A copy
/// into a Var is the value that it has there. Made in an invoke and used as a Var is. Not
/// thread-safe.
class Carry : public Var {
 public:
  explicit Carry(const Operand& initial);
  Carry(const Carry&) = delete;
  Carry& operator=(const Carry& other) { return *this = Operand(other); }

  Carry& operator=(const Operand& next);
  Carry& operator+=(const Operand& other) { return *this = Operand(*this + other, other.where()); }
  Carry& operator-=(const Operand& other) { return *this = Operand(*this - other, other.where()); }
  Carry& operator*=(const Operand& other) { return *this = Operand(*this * other, other.where()); }
  Carry& operator/=(const Operand& other) { return *this = Operand(*this / other, other.where()); }
};

/// An If that may get an Else. It ends where this object does, at the end of its statement.
class IfStatement {
 public:
  ~IfStatement();
  IfStatement(const IfStatement&) = delete;
  IfStatement& operator=(const IfStatement&) = delete;

  void Else(absl::FunctionRef<void()> otherwise, Location where = Location::current());

 private:
  friend IfStatement If(const Operand& condition, absl::FunctionRef<void()> then);
  IfStatement(internal::Recording* recording, size_t depth)
      : recording_(recording), depth_(depth) {}

  internal::Recording* recording_;  // nullptr where there is nothing to end
  size_t depth_;                    // of containers around it
};

/// Choose on the server: of the statements of `then`, and of those of the Else after it, one side
/// runs. Both lambdas are recorded here. `condition` is a value of one element.
///
///   weft::If(h.norm() > 10.0, [&] { site.output() = h * 0.5; }).Else([&] { trace.stop(); });
IfStatement If(const Operand& condition, absl::FunctionRef<void()> then);

namespace internal {

std::vector<Var> RecordIf(const Operand& condition, absl::FunctionRef<std::vector<Var>()> then,
                          absl::FunctionRef<std::vector<Var>()> otherwise);

}  // namespace internal

/// The same as a value: `Var r = weft::If(c, [&] { return a; }, [&] { return b * 2; });`. Both
/// sides give values of the same shape and dtype: a Var, a pair of them, or a vector.
template <typename Then, typename Else>
auto If(const Operand& condition, const Then& then, const Else& otherwise) {
  using Result = std::invoke_result_t<const Then&>;
  static_assert(std::is_same_v<Result, std::invoke_result_t<const Else&>>,
                "both sides of an If give the same type");
  if constexpr (std::is_void_v<Result>) {
    If(condition, absl::FunctionRef<void()>(then)).Else(otherwise);
  } else if constexpr (std::is_same_v<Result, Var>) {
    return internal::RecordIf(
        condition, [&] { return std::vector<Var>{then()}; },
        [&] { return std::vector<Var>{otherwise()}; })[0];
  } else if constexpr (std::is_same_v<Result, std::pair<Var, Var>>) {
    const auto both = [](const std::pair<Var, Var>& pair) {
      return std::vector<Var>{pair.first, pair.second};
    };
    std::vector<Var> results = internal::RecordIf(
        condition, [&] { return both(then()); }, [&] { return both(otherwise()); });
    return std::pair<Var, Var>(results[0], results[1]);
  } else {
    return internal::RecordIf(condition, then, otherwise);
  }
}

}  // namespace weft
