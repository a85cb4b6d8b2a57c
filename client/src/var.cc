#include "weft/var.h"

#include "absl/strings/str_cat.h"
#include "client/src/recording.h"
#include "weft/ops.h"

namespace weft {
namespace {

using internal::Recording;

Var Apply(const char* name, const Operand& a, const Operand& b) {
  return op(name, {a.arg(), b.arg()}, {}, b.where());
}

bool IsNumber(const Operand& operand) {
  const Arg::Variant& value = operand.arg().value();
  return !std::holds_alternative<Var>(value) && !std::holds_alternative<Tensor>(value) &&
         !std::holds_alternative<Blob>(value);
}

/// torch's operators take a number on their right only.
Var Commute(const char* name, const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply(name, b, a) : Apply(name, a, b);
}

/// Open while it lives, however its lambda is left.
class BackwardRegion {
 public:
  BackwardRegion(Recording* recording, const Var& loss, const Operand* gradient, Location where)
      : recording_(recording) {
    recording_->BeginBackward(loss, gradient, where);
  }
  ~BackwardRegion() { recording_->EndBackward(); }
  BackwardRegion(const BackwardRegion&) = delete;
  BackwardRegion& operator=(const BackwardRegion&) = delete;

 private:
  Recording* const recording_;
};

}  // namespace

namespace internal {

absl::Status UnassignedSave() {
  return absl::FailedPreconditionError(
      "this Saved was never assigned: no save() of a trace gave it its value");
}

absl::Status WrongSaveType(const SaveState& state, const char* wanted) {
  return absl::FailedPreconditionError(
      absl::StrCat("save ", state.name, " is a ", state.value.Kind(), " (", state.value.Type(),
                   "), not a ", wanted, "; Saved<Value> takes any"));
}

}  // namespace internal

void Var::operator=(const Operand& value) && {
  if (Recording* recording = Recording::Current()) recording->Assign(*this, value);
}

Var Var::operator[](const Indices& indices) const& {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Index(*this, indices, false);
}

Var Var::operator[](const Indices& indices) && {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Index(*this, indices, true);
}

Var Var::row(int64_t index, Location where) const { return select(0, index, where); }

void Var::backward(absl::FunctionRef<void()> body, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const BackwardRegion region(recording, *this, nullptr, where);
  body();
}

void Var::backward(const Operand& gradient, absl::FunctionRef<void()> body) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const BackwardRegion region(recording, *this, &gradient, gradient.where());
  body();
}

Var Var::grad(Location where) const {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Gradient(*this, where);
}

namespace {

std::shared_ptr<internal::SaveState> SaveValue(const Var& value, const std::string& name, bool keep,
                                               Location where) {
  if (Recording* recording = Recording::Current()) {
    return recording->Save(value, name, where, keep);
  }
  auto state = std::make_shared<internal::SaveState>();
  state->name = name;
  state->status = absl::FailedPreconditionError(absl::StrCat(
      keep ? "keep" : "save", "() at line ", where.line(), " was called outside of a trace"));
  return state;
}

}  // namespace

Saved<Tensor> Var::save(Location where) const { return save("", where); }
Saved<Tensor> Var::save(const std::string& name, Location where) const {
  return Saved<Tensor>(SaveValue(*this, name, /*keep=*/false, where));
}

Saved<Blob> Var::keep(Location where) const { return keep("", where); }
Saved<Blob> Var::keep(const std::string& name, Location where) const {
  return Saved<Blob>(SaveValue(*this, name, /*keep=*/true, where));
}

Var& Var::operator+=(const Operand& other) & {
  add_(other);
  return *this;
}
Var& Var::operator-=(const Operand& other) & {
  sub_(other);
  return *this;
}
Var& Var::operator*=(const Operand& other) & {
  mul_(other);
  return *this;
}
Var& Var::operator/=(const Operand& other) & {
  div_(other);
  return *this;
}

// The fresh operator and a write, which holds for copies (`h[mask] *= 2`) as well as for views.
void Var::operator+=(const Operand& other) && {
  std::move(*this) = Operand(add(other), other.where());
}
void Var::operator-=(const Operand& other) && {
  std::move(*this) = Operand(sub(other), other.where());
}
void Var::operator*=(const Operand& other) && {
  std::move(*this) = Operand(mul(other), other.where());
}
void Var::operator/=(const Operand& other) && {
  std::move(*this) = Operand(div(other), other.where());
}

Var operator+(const Operand& a, const Operand& b) { return Commute("aten::add", a, b); }
Var operator*(const Operand& a, const Operand& b) { return Commute("aten::mul", a, b); }
Var operator&(const Operand& a, const Operand& b) { return Commute("aten::bitwise_and", a, b); }
Var operator|(const Operand& a, const Operand& b) { return Commute("aten::bitwise_or", a, b); }
Var operator^(const Operand& a, const Operand& b) { return Commute("aten::bitwise_xor", a, b); }
Var operator==(const Operand& a, const Operand& b) { return Commute("aten::eq", a, b); }
Var operator!=(const Operand& a, const Operand& b) { return Commute("aten::ne", a, b); }

Var operator-(const Operand& a, const Operand& b) {
  if (!IsNumber(a)) return Apply("aten::sub", a, b);
  return Apply("aten::add", Operand(op("aten::neg", {b.arg()}, {}, b.where()), b.where()), a);
}
Var operator/(const Operand& a, const Operand& b) {
  if (!IsNumber(a)) return Apply("aten::div", a, b);
  return Apply("aten::mul", Operand(op("aten::reciprocal", {b.arg()}, {}, b.where()), b.where()),
               a);
}
Var operator%(const Operand& a, const Operand& b) {
  Recording* recording = Recording::Current();
  if (recording == nullptr || !IsNumber(a)) return Apply("aten::remainder", a, b);
  return Apply("aten::remainder", Operand(recording->Constant(a), a.where()), b);
}
Var operator<(const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply("aten::gt", b, a) : Apply("aten::lt", a, b);
}
Var operator<=(const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply("aten::ge", b, a) : Apply("aten::le", a, b);
}
Var operator>(const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply("aten::lt", b, a) : Apply("aten::gt", a, b);
}
Var operator>=(const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply("aten::le", b, a) : Apply("aten::ge", a, b);
}

Var operator-(const Operand& a) { return op("aten::neg", {a.arg()}, {}, a.where()); }
Var operator~(const Operand& a) { return op("aten::bitwise_not", {a.arg()}, {}, a.where()); }

}  // namespace weft
