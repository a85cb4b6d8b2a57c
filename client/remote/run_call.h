#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/remote/read_ahead.h"
#include "client/remote/result_assembler.h"
#include "weft/backend.h"
#include "weft/v1/weft.pb.h"

namespace weft::remote {

/// One `Run` on the wire. Messages are read as raw bytes, so that tensors' bytes are copied once,
/// from where gRPC received them to the tensor, and those of a large result are received meanwhile
/// on a thread of its own; `on_event` is called on the calling thread. Leaving early, by an
/// exception of `on_event` too, cancels the call. Not thread-safe.
class RunCall {
 public:
  RunCall(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context,
          uint64_t max_result_bytes, absl::FunctionRef<void(RunEvent)> on_event);
  ~RunCall();
  RunCall(const RunCall&) = delete;
  RunCall& operator=(const RunCall&) = delete;

  struct End {
    grpc::Status transport;
    /// How the run ended, where the transport is OK.
    absl::Status status;
    /// True if the run certainly did not begin: its request did not leave, or the server refused it
    /// itself.
    bool not_begun = false;
  };
  End Run(const v1::RunRequest& request);

 private:
  /// Wait for one operation; false if it failed.
  bool WaitFor(const void* tag);
  /// Wait for the next message and ask for the one behind it; false at the end.
  bool Read(grpc::ByteBuffer* message);
  void StartReadingAhead();
  absl::Status Handle(grpc::ByteBuffer* message);
  absl::Status HandleEvent(const v1::RunEvent& event);
  /// Pass on a result whose bytes are there, or how many of them are.
  absl::Status Deliver();

  grpc::ClientContext* const context_;
  const absl::FunctionRef<void(RunEvent)> on_event_;
  ResultAssembler assembler_;
  grpc::ByteBuffer incoming_;  // gRPC's until its read is done
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  /// Once there is one, the only one to use queue_ and incoming_, until it is gone.
  std::unique_ptr<ReadAhead> ahead_;
  bool unsent_ = false;    // the request, whole
  bool began_ = false;     // by any event but failed
  bool ended_ = false;     // by completed or failed
  bool finished_ = false;  // the call has its status
  absl::Status end_;
};

}  // namespace weft::remote
