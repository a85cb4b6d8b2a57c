#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "weft/value.h"

namespace weft {
namespace internal {

/// What a save and its recording share.
struct SaveState {
  std::string name;
  absl::Status status;  // why there is no value; OK once there is
  Value value;
  absl::Status incomplete;  // why a list lacks items
  /// Of a save in a single step, named by its number: the list that comes has one item, and that is
  /// the value.
  bool one_step = false;
  /// Of a save in a sweep over a Grid: the sizes of its columns.
  std::vector<size_t> grid;
  /// Of a cache: a module's own path by any of its names.
  std::function<std::string(const std::string&)> resolve;
};

absl::Status UnassignedSave();
absl::Status WrongSaveType(const SaveState& state, const char* wanted);
absl::Status NoList(const SaveState& state, const Value& value);
absl::Status WrongItem(const SaveState& state, size_t index, const Value& item, const char* wanted);
/// The place in a grid's list of the point at these places of its columns. Ends the program with
/// the reason if there is none.
size_t PlaceInGrid(const SaveState& state, std::initializer_list<size_t> point);
/// The items of a list or tuple; nullptr for anything else.
const std::vector<Value>* FindItems(const Value& value);
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
constexpr const char* SaveTypeName() {
  if constexpr (std::is_same_v<T, Tensor>) return "Tensor";
  if constexpr (std::is_same_v<T, Blob>) return "Blob";
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (std::is_same_v<T, int64_t>) return "int64_t";
  if constexpr (std::is_same_v<T, double>) return "double";
  if constexpr (std::is_same_v<T, std::string>) return "std::string";
  return "Value";
}

/// `value`, a list or tuple, as a vector of T: kFailedPrecondition naming the item that is no T.
template <typename T>
absl::Status ListInto(const SaveState& state, const Value& value, std::vector<T>* items) {
  const std::vector<Value>* list = FindItems(value);
  if (list == nullptr) return NoList(state, value);
  items->reserve(list->size());
  for (const Value& item : *list) {
    if constexpr (std::is_same_v<T, Value>) {
      items->push_back(item);
    } else if constexpr (IsVector<T>::value) {
      absl::Status status = ListInto(state, item, &items->emplace_back());
      if (!status.ok()) return status;
    } else {
      const T* found = item.FindAs<T>();
      if (found == nullptr) return WrongItem(state, items->size(), item, SaveTypeName<T>());
      items->push_back(*found);
    }
  }
  return absl::OkStatus();
}

}  // namespace internal

/// A value that a trace brings back: empty while it is recorded, filled in when the run ends.
///
/// T is Tensor, Blob (of what is kept), bool, int64_t, double, std::string, or Value for anything,
/// structures included; a Saved converts to a Saved of another T. A save inside `steps` or a sweep
/// gives a list: see Saved<std::vector<T>>. Copies share the value. Not thread-safe.
template <typename T = Tensor>
class Saved {
 public:
  Saved() = default;
  explicit Saved(std::shared_ptr<internal::SaveState> state) : state_(std::move(state)) {}
  template <typename U>
  Saved(const Saved<U>& other) : state_(other.state()) {}  // NOLINT: copies share the value

  /// The value, or the reason why there is none: the run failed, the statement did not run, or the
  /// value is not a T.
  absl::StatusOr<T> value() const {
    absl::Status status = this->status();
    if (!status.ok()) return status;
    return *Find();
  }
  /// OK if there is a value.
  absl::Status status() const {
    if (state_ == nullptr) return internal::UnassignedSave();
    if (!state_->status.ok()) return state_->status;
    if (Find() == nullptr) {
      return internal::WrongSaveType(*state_, internal::SaveTypeName<T>());
    }
    return absl::OkStatus();
  }
  bool has_value() const { return status().ok(); }

  /// The value. Ends the program with the reason if there is none.
  const T& operator*() const { return *Get(); }
  const T* operator->() const { return Get(); }

  /// The save's name in the program and in RunResult; empty for one that was never assigned.
  std::string name() const { return state_ == nullptr ? std::string() : state_->name; }

  const std::shared_ptr<internal::SaveState>& state() const { return state_; }

 private:
  const T* Find() const {
    if constexpr (std::is_same_v<T, Value>) {
      return &state_->value;
    } else {
      return state_->value.FindAs<T>();
    }
  }
  const T* Get() const {
    absl::Status status = this->status();
    if (!status.ok()) internal::Fail(status.ToString());
    return Find();
  }

  std::shared_ptr<internal::SaveState> state_;
};

/// A list that a trace brings back: what a save inside `steps` gave in each step, one inside a
/// sweep at each point (`std::vector<std::vector<Tensor>>` for both: points, then steps), or a list
/// that was saved as one. What `save()` returns converts to it.
///
/// Items are in the order of the steps that were selected, or of the points; `none` (only of a
/// Saved<std::vector<Value>>) stands where a step or point gave nothing, behind an If say. A list
/// that lacks its last steps has those that came, and `incomplete` says why.
template <typename T>
class Saved<std::vector<T>> {
 public:
  Saved() = default;
  explicit Saved(std::shared_ptr<internal::SaveState> state) : state_(std::move(state)) {}
  template <typename U>
  Saved(const Saved<U>& other) : state_(other.state()) {}  // NOLINT: copies share the value

  /// The items, or the reason why there are none: the run failed, or an item is not a T.
  absl::StatusOr<std::vector<T>> value() const {
    absl::Status status = this->status();
    if (!status.ok()) return status;
    return *items_;
  }
  /// OK if there is a list.
  absl::Status status() const {
    if (state_ == nullptr) return internal::UnassignedSave();
    if (!state_->status.ok()) return state_->status;
    if (items_ != nullptr) return absl::OkStatus();
    auto items = std::make_shared<std::vector<T>>();
    absl::Status status = internal::ListInto(*state_, state_->value, items.get());
    if (status.ok()) items_ = std::move(items);
    return status;
  }
  bool has_value() const { return status().ok(); }
  /// OK, or why the list has fewer items than were asked for.
  absl::Status incomplete() const {
    return state_ == nullptr ? internal::UnassignedSave() : state_->incomplete;
  }

  /// The items. These end the program with the reason if there are none.
  const std::vector<T>& operator*() const { return *Get(); }
  const std::vector<T>* operator->() const { return Get(); }
  const T& operator[](size_t index) const { return Get()->at(index); }
  /// Of a sweep over a Grid, the item of a point: `effects.at({layer, token})`, counted from 0 in
  /// each column.
  const T& at(std::initializer_list<size_t> point) const {
    const std::vector<T>* items = Get();
    return items->at(internal::PlaceInGrid(*state_, point));
  }
  size_t size() const { return Get()->size(); }
  auto begin() const { return Get()->begin(); }
  auto end() const { return Get()->end(); }

  std::string name() const { return state_ == nullptr ? std::string() : state_->name; }
  const std::shared_ptr<internal::SaveState>& state() const { return state_; }

 private:
  const std::vector<T>* Get() const {
    absl::Status status = this->status();
    if (!status.ok()) internal::Fail(status.ToString());
    return items_.get();
  }

  std::shared_ptr<internal::SaveState> state_;
  mutable std::shared_ptr<const std::vector<T>> items_;  // made when they are first asked for
};

template <typename T = Tensor>
using SavedList = Saved<std::vector<T>>;

}  // namespace weft
