#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::devices {

/// Load LibTorch's library for GPUs, where it lies beside the others and this machine has a driver.
/// Once, before anything asks LibTorch for one: it keeps to what it found first, and seeding a
/// generator is to ask. Thread-safe. What was in the way is told by ParseDevice where somebody asks
/// for a GPU.
void LoadAccelerators();

struct Accelerator {
  c10::Device device;
  uint64_t free_bytes = 0;  // 0: nobody knows
};

/// The GPUs of this machine, in order.
std::vector<Accelerator> ListAccelerators();

/// `cpu`, `cuda` (the first), `cuda:1`. kInvalidArgument for what is none, kFailedPrecondition for
/// one that this machine does not have, with those that it has.
absl::StatusOr<c10::Device> ParseDevice(const std::string& text);

}  // namespace weft::devices
