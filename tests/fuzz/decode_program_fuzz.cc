// Bytes of a stranger: what CheckWire accepts, protobuf parses; what is then decoded and checked
// survives both of its other forms.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/graph/codec.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "weft/v1/program.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::graph;
  const char* bytes = reinterpret_cast<const char*>(data);
  if (!CheckWire(bytes, size, *weft::v1::Program::descriptor()).ok()) return 0;
  weft::v1::Program message;
  if (!message.ParseFromArray(bytes, static_cast<int>(size))) std::abort();
  const absl::StatusOr<Program> program = DecodeProgram(message);
  if (!program.ok()) return 0;
  for (NodeId id = 1; id <= program->nodes.size(); ++id) (void)PrintStatement(*program, id);
  if (!Check(*program).ok()) return 0;
  const std::string printed = PrintProgram(*program);
  const absl::StatusOr<Program> again = ParseProgram(printed);
  if (!again.ok() || PrintProgram(*again) != printed) std::abort();
  weft::v1::Program encoded;
  EncodeProgram(*again, &encoded);
  const absl::StatusOr<Program> decoded = DecodeProgram(encoded);
  if (!decoded.ok() || PrintProgram(*decoded) != printed) std::abort();
  return 0;
}
