#pragma once

#include <optional>
#include <string>

namespace weft {

/// The version of everything here: server, client, package. CMake reads it from this line.
inline constexpr char kVersion[] = "0.1.0";

namespace graph {

/// Negative if version `a` is older than `b`, 0 if they are the same, positive if it is newer.
/// Nothing where one is not of the form `1.2.3`, as a stranger's need not be.
std::optional<int> CompareVersions(const std::string& a, const std::string& b);

}  // namespace graph
}  // namespace weft
