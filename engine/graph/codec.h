#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace weft::v1 {
class Error;
class Pattern;
class Program;
class Tensor;
}  // namespace weft::v1

namespace weft::graph {

/// Bounds on the bytes of a message before it is parsed, so that 4 MB cannot become 160.
struct WireBudget {
  uint64_t bytes = uint64_t{4} << 20;
  uint64_t elements = 400000;  // submessages, strings and unpacked scalars
  int depth = 24;
};

/// Walk a serialised message by its descriptor, without allocating, and refuse by name and path:
/// unknown fields, unknown enum values, wrong wire types, invalid UTF-8, groups, truncation, and
/// what is over budget. kInvalidArgument or kResourceExhausted.
absl::Status CheckWire(const char* data, size_t size, const google::protobuf::Descriptor& type,
                       const WireBudget& budget = {});

/// CheckWire, then parse. `message` must be empty.
absl::Status ParseChecked(const char* data, size_t size, google::protobuf::Message* message,
                          const WireBudget& budget = {});

/// Message to memory. What has no meaning as a message is refused by name (kInvalidArgument, naming
/// the node): nodes without a kind, unknown enum values, blobs without a hash. Does not include
/// Check of lint.h.
absl::StatusOr<Program> DecodeProgram(const v1::Program& message);
void EncodeProgram(const Program& program, v1::Program* message);

/// The bytes are copied into a string that the HostTensor owns.
absl::StatusOr<HostTensor> DecodeTensor(const v1::Tensor& message);
void EncodeTensor(const HostTensor& tensor, v1::Tensor* message);

void EncodeError(const Error& error, v1::Error* message);
Error DecodeError(const v1::Error& message);
void EncodePattern(const Pattern& pattern, v1::Pattern* message);
Pattern DecodePattern(const v1::Pattern& message);

}  // namespace weft::graph
