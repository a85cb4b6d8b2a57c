#pragma once

namespace weft {

/// The version of everything here: server, client, package. CMake reads it from this line.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace weft
