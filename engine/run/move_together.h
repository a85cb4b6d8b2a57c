#pragma once

#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

namespace weft::run {

/// Bring the tensors among a call's arguments to one device: that of the first one that is not on
/// the CPU, so that values of blocks on several devices can meet.
void MoveTogether(c10::Stack& stack);

}  // namespace weft::run
