#pragma once

#include <cstdint>

#include "engine/graph/program.h"
#include "engine/plan/model_spec.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {

/// A random program for a model, most of the time one that has a meaning: shapes and dtypes
/// are tried on random values as it grows. Equal seeds give equal programs. Operators come from the
/// whole table; what a random one draws is saved under the name that Interpret looks for.
graph::Program MakeProgram(uint64_t seed, const PlainModel& model, const plan::ModelSpec& spec);

}  // namespace weft::reference
