#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/graph/program.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {

/// A program has no meaning here, or stopped having one at a statement.
struct Refused : std::runtime_error {
  Refused(graph::NodeId node, const std::string& why) : std::runtime_error(why), node(node) {}
  graph::NodeId node;
};

/// The reference has no word for this.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a program saved: the tensors of structures as `name/0`, `name/logits`, of a sweep's point
/// and of a step `name/POINT/STEP`, of a cache `name/SITE`.
using Saved = std::map<std::string, at::Tensor>;

/// Give a checked program its meaning on a model, in the slow and plain way.
///
/// A statement is looked at when its value is wanted, and then anew for each place where it is
/// wanted. The value of a site is what one forward in plain code gives when, at each site, all
/// writes are applied that the program has there (at the last site those that are written before).
/// What a name means at a place is found by making it and applying to it, in real memory, the
/// changes written before that place. There are no slots, no schedule, no other runs. Later steps
/// of a generation are looked at in the same way, with what the steps before chose and kept.
///
/// Where a program goes backwards a site has one tensor for each state that statements leave it in,
/// and a name one for each version; torch's autograd goes through the forwards that met there.
///
/// Random numbers are no matter of meaning: `drawn` holds what the run gave; of a random operator
/// %x it is saved as `drawn_x`.
///
/// Throws Refused, Unsupported, or what torch throws.
Saved Interpret(const graph::Program& program, const PlainModel& model, const Saved& drawn);

/// Look at all that the program says, wanted or not.
void InterpretAll(const graph::Program& program, const PlainModel& model, const Saved& drawn);

/// Whether the loss of a `backward` depends on what a statement in it asks for, or, of the
/// `backward` itself, on what any of those do; in a sweep at each point.
bool LossReaches(const graph::Program& program, const PlainModel& model, const Saved& drawn,
                 graph::NodeId node);

/// What is beyond this (a masked score) says nothing of how far other numbers may be, and rounding
/// decides what becomes of it.
inline constexpr double kHuge = 1e30;

/// No number of a tensor is huge, infinite or NaN.
inline bool IsBounded(const at::Tensor& tensor) {
  return tensor.abs().lt(kHuge).all().item<bool>();
}

/// The tensors of a value by name, as Saved has them.
void AddLeaves(const std::string& name, const c10::IValue& value, Saved& out);

}  // namespace weft::reference
