#pragma once

#include <cstddef>
#include <optional>

#include "absl/strings/string_view.h"

namespace weft::text {

/// Return the offset of the first byte that is not part of well-formed UTF-8, if there is one.
///
/// Well-formed as in the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing
/// beyond U+10FFFF, no sequence cut short.
std::optional<size_t> FindInvalidUtf8(absl::string_view bytes);

}  // namespace weft::text
