#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

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
};

absl::Status UnassignedSave();
absl::Status WrongSaveType(const SaveState& state, const char* wanted);
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

}  // namespace internal

/// A value that a trace brings back: empty while it is recorded, filled in when the run ends.
///
/// T is Tensor, Blob (of what is kept), bool, int64_t, double, std::string, or Value for anything,
/// structures included; a Saved converts to a Saved of another T. Copies share the value. Not
/// thread-safe.
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

}  // namespace weft
