#pragma once

#include <source_location>

namespace weft {

// A statement's place in the client's source, captured by default arguments. Compilers whose
// library lacks std::source_location (clang before 16) get the same from builtins.
#if defined(__cpp_lib_source_location)
using Location = std::source_location;
#else
class Location {
 public:
  static constexpr Location current(const char* file = __builtin_FILE(),
                                    unsigned line = __builtin_LINE()) {
    Location where;
    where.file_ = file;
    where.line_ = line;
    return where;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }

 private:
  const char* file_ = "";
  unsigned line_ = 0;
};
#endif

}  // namespace weft
