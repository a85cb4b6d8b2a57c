#pragma once

#include <memory>
#include <string>
#include <utility>

namespace weft {
namespace internal {
struct ParamState;
}  // namespace internal

/// What a sweep fills in, in the lambda of Tracer::sweep: another value at each of its points.
///
/// May stand for a component of a module's path (`model["transformer.h"][layer]`), an index or a
/// slice's bound, an operand or argument of an operator (`h * strength`), and the prompt of an
/// invoke
/// (`trace.Invoke(prompt, [&] { ... })`). It names no value
/// outside of its sweep. Copies are one parameter. Not thread-safe.
class Param {
 public:
  explicit Param(std::shared_ptr<const internal::ParamState> state) : state_(std::move(state)) {}
  const std::shared_ptr<const internal::ParamState>& state() const { return state_; }

 private:
  std::shared_ptr<const internal::ParamState> state_;
};

}  // namespace weft
