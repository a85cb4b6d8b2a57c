#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "weft/backend.h"
#include "weft/tensor.h"
#include "weft/v1/weft.pb.h"
#include "weft/value.h"

namespace weft::remote {

/// Puts a result's tensors together from chunks, each byte copied once, from the message into the
/// tensor's own buffer.
///
/// Trusts nothing: sizes must agree with shapes and stay within `max_bytes`, and chunks must come
/// whole and in order. Not thread-safe.
class ResultAssembler {
 public:
  explicit ResultAssembler(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  /// Begin a result. The one before must be done().
  absl::Status Begin(const v1::Result& result);
  /// A chunk's bytes, in the pieces in which they came: `Append` for each, after `BeginChunk`.
  absl::Status BeginChunk(uint32_t tensor, uint64_t offset, uint64_t bytes);
  absl::Status Append(absl::string_view piece);

  /// True if no bytes of a begun result are outstanding.
  bool done() const { return part_ == parts_.size(); }
  /// True if a result is complete and was not taken.
  bool ready() const { return begun_ && done(); }
  const std::string& name() const { return place_.name; }
  /// Of the result that was begun last: how many bytes it has, and how many of them came.
  uint64_t bytes() const { return bytes_; }
  uint64_t received() const { return received_; }
  uint64_t outstanding() const { return bytes_ - received_; }
  /// The result. Needs ready().
  absl::StatusOr<event::Result> Take();

 private:
  struct Part {
    uint32_t number = 0;
    DType dtype = DType::kFloat32;
    Shape shape;
    std::shared_ptr<char> buffer;
    uint64_t bytes = 0;
    uint64_t received = 0;
  };
  absl::Status AddParts(const v1::Value& value, int depth);
  absl::StatusOr<Value> Build(const v1::Value& value, size_t* part) const;
  void SkipFull();

  const uint64_t max_bytes_;
  uint64_t total_bytes_ = 0;  // of all results of the run
  bool begun_ = false;
  event::Result place_;  // without its value
  v1::Value value_;
  uint64_t bytes_ = 0, received_ = 0;
  std::vector<Part> parts_;  // in the order of their chunks
  size_t part_ = 0;          // that is being received
  uint64_t chunk_left_ = 0;
};

}  // namespace weft::remote
