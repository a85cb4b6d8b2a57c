// Text of a stranger: it parses or is refused, and what is accepted is printed back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/graph/lint.h"
#include "engine/graph/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::graph;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Program> program = ParseProgram(text);
  if (!program.ok()) return 0;
  if (!Check(*program).ok()) return 0;
  (void)Lint(*program);
  const std::string printed = PrintProgram(*program);
  const absl::StatusOr<Program> again = ParseProgram(printed);
  if (!again.ok() || PrintProgram(*again) != printed) std::abort();
  return 0;
}
