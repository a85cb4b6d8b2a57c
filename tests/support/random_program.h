#pragma once

#include <cstdint>

#include "engine/graph/program.h"

namespace weft::graph {

/// A program that Check accepts, made from `seed` alone: every kind of node and argument, odd
/// names, texts, numbers and tensors among them. It means nothing and fits no model.
Program RandomProgram(uint64_t seed);

}  // namespace weft::graph
