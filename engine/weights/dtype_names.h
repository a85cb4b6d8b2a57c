#pragma once

#include <array>

namespace weft::weights {

/// What the dtype in which a model is hosted may be called. `auto` is what its checkpoint says.
inline constexpr std::array kHostingDtypes = {"auto", "float32", "bfloat16", "float16"};

}  // namespace weft::weights
