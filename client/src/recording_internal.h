#pragma once

#include <optional>
#include <string>
#include <utility>

#include "client/src/recording.h"

// What the files of Recording share.

namespace weft::internal {

/// Vars with this node and later ones name carries.
inline constexpr graph::NodeId kFirstCarry = graph::NodeId{1} << 31;

/// `experiment.cc:12`.
std::string PlaceOf(const Location& where);

/// A number as torch.tensor makes one, or the tensor; nothing for any other argument.
std::optional<Tensor> TensorOf(const Arg& arg);

inline bool IsNumber(const Operand& operand) {
  const Arg::Variant& value = operand.arg().value();
  return !std::holds_alternative<Var>(value) && !std::holds_alternative<Tensor>(value) &&
         !std::holds_alternative<Blob>(value);
}

/// Operators that give a part of their first argument, which shares its elements.
bool IsView(const std::string& op);

template <typename Kind>
graph::NodeId Recording::Add(Kind kind, Location where, graph::NodeId parent, Note note) {
  graph::Node node;
  node.parent = parent;
  node.kind = std::move(kind);
  return Append(std::move(node), where, note);
}

/// While it lives, statements are put before the child `before` of the container `parent`.
class Recording::PlaceScope {
 public:
  PlaceScope(Recording* recording, graph::NodeId parent, graph::NodeId before)
      : recording_(recording), place_(recording->place_) {
    recording->place_ = {parent, before};
  }
  ~PlaceScope() { recording_->place_ = place_; }
  PlaceScope(const PlaceScope&) = delete;
  PlaceScope& operator=(const PlaceScope&) = delete;

 private:
  Recording* const recording_;
  const std::optional<Place> place_;
};

}  // namespace weft::internal
