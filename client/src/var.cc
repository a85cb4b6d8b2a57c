#include "weft/var.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"
#include "weft/ops.h"

namespace weft {
namespace {

using internal::IsNumber;
using internal::Recording;

Var Apply(const char* name, const Operand& a, const Operand& b) {
  return op(name, {a.arg(), b.arg()}, {}, b.where());
}

/// torch's operators take a number on their right only.
Var Commute(const char* name, const Operand& a, const Operand& b) {
  return IsNumber(a) ? Apply(name, b, a) : Apply(name, a, b);
}

}  // namespace

namespace internal {

absl::Status UnassignedSave() {
  return absl::FailedPreconditionError(
      "this Saved was never assigned: no save() of a trace gave it its value");
}

absl::Status WrongSaveType(const SaveState& state, const char* wanted) {
  const char* lists = FindItems(state.value) == nullptr ? "" : ", SavedList<> a list of tensors";
  return absl::FailedPreconditionError(
      absl::StrCat("save ", state.name, " is a ", state.value.Kind(), " (", state.value.Type(),
                   "), not a ", wanted, "; Saved<Value> takes any", lists));
}

absl::Status NoList(const SaveState& state, const Value& value) {
  return absl::FailedPreconditionError(absl::StrCat("save ", state.name, " is a ", value.Kind(),
                                                    " (", value.Type(),
                                                    ") where a list of values "
                                                    "is asked for"));
}

absl::Status WrongItem(const SaveState& state, size_t index, const Value& item,
                       const char* wanted) {
  return absl::FailedPreconditionError(
      absl::StrCat("item ", index, " of save ", state.name, " is a ", item.Kind(), " (",
                   item.Type(), "), not a ", wanted, "; Saved<std::vector<Value>> takes any"));
}

size_t PlaceInGrid(const SaveState& state, std::initializer_list<size_t> point) {
  const auto sizes = [&] { return absl::StrCat("[", absl::StrJoin(state.grid, ", "), "]"); };
  const std::string asked =
      absl::StrCat("save ", state.name, ".at({", absl::StrJoin(point, ", "), "}): ");
  if (state.grid.empty()) Fail(absl::StrCat(asked, "it is not of a sweep over a Grid"));
  if (point.size() != state.grid.size()) Fail(absl::StrCat(asked, "its grid is ", sizes()));
  size_t place = 0;
  auto size = state.grid.begin();
  for (const size_t at : point) {
    if (at >= *size) Fail(absl::StrCat(asked, "its grid is ", sizes()));
    place = place * *size++ + at;
  }
  return place;
}

const std::vector<Value>* FindItems(const Value& value) {
  if (const auto* list = value.FindAs<Value::List>()) return &list->items;
  if (const auto* tuple = value.FindAs<Value::Tuple>()) return &tuple->items;
  return nullptr;
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

Var Var::token(const TokenSelection& tokens, Location where) const& {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Token(*this, tokens, where, false);
}

Var Var::token(const TokenSelection& tokens, Location where) && {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Token(*this, tokens, where, true);
}

Var Var::token(Slice::Bound start, Slice::Bound stop, Location where) const& {
  return token(Slice(std::move(start), std::move(stop)), where);
}

Var Var::token(Slice::Bound start, Slice::Bound stop, Location where) && {
  return std::move(*this).token(Slice(std::move(start), std::move(stop)), where);
}

Var Var::size(int64_t dimension, Location where) const {
  return op("aten::size", {*this, dimension}, {}, where);
}

Var Var::shape(Location where) const { return op("aten::size", {*this}, {}, where); }

void Var::backward(absl::FunctionRef<void()> body, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const internal::ContainerScope region(recording);
  recording->BeginBackward(*this, nullptr, where);
  body();
}

void Var::backward(const Operand& gradient, absl::FunctionRef<void()> body) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const internal::ContainerScope region(recording);
  recording->BeginBackward(*this, &gradient, gradient.where());
  body();
}

Var Var::grad(Location where) const {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Gradient(*this, where);
}

namespace {

std::shared_ptr<internal::SaveState> SaveValue(const Var& value, const SaveOptions& options,
                                               Location where) {
  if (Recording* recording = Recording::Current()) return recording->Save(value, options, where);
  auto state = std::make_shared<internal::SaveState>();
  state->name = options.name;
  state->status =
      absl::FailedPreconditionError(absl::StrCat(options.keep ? "keep" : "save", "() at line ",
                                                 where.line(), " was called outside of a trace"));
  return state;
}

}  // namespace

Saved<Tensor> Var::save(Location where) const { return save(SaveOptions(), where); }

Saved<Tensor> Var::save(const std::string& name, Location where) const {
  return save(SaveOptions{.name = name}, where);
}

Saved<Blob> Var::keep(Location where) const { return keep("", where); }

Saved<Blob> Var::keep(const std::string& name, Location where) const {
  return Saved<Blob>(SaveValue(*this, {.name = name, .keep = true}, where));
}

Saved<Tensor> Var::save(const SaveOptions& options, Location where) const {
  return Saved<Tensor>(SaveValue(*this, options, where));
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
