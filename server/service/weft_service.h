#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/edits/edit_store.h"
#include "server/keys/key.h"
#include "server/service/call.h"
#include "server/service/run_registry.h"
#include "server/service/run_stream.h"
#include "server/service/stored_edits.h"
#include "server/service/worker_pool.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::server {

// Every method raw: requests are authenticated before they are parsed, and parsed with checks that
// protobuf's parser does not make.
using RawWeft = v1::Weft::WithRawCallbackMethod_Run<v1::Weft::WithRawCallbackMethod_Validate<
    v1::Weft::WithRawCallbackMethod_Submit<v1::Weft::WithRawCallbackMethod_Watch<
        v1::Weft::WithRawCallbackMethod_Fetch<v1::Weft::WithRawCallbackMethod_Cancel<
            v1::Weft::WithRawCallbackMethod_Upload<v1::Weft::WithRawCallbackMethod_ListBlobs<
                v1::Weft::WithRawCallbackMethod_DeleteBlob<
                    v1::Weft::WithRawCallbackMethod_StoreEdit<
                        v1::Weft::WithRawCallbackMethod_ListEdits<
                            v1::Weft::WithRawCallbackMethod_GetEdit<
                                v1::Weft::WithRawCallbackMethod_DeleteEdit<
                                    v1::Weft::WithRawCallbackMethod_GetServerInfo<
                                        v1::Weft::WithRawCallbackMethod_WhoAmI<
                                            v1::Weft::WithRawCallbackMethod_ListOperators<
                                                v1::Weft::WithRawCallbackMethod_ListModels<
                                                    v1::Weft::WithRawCallbackMethod_GetModel<
                                                        v1::Weft::WithRawCallbackMethod_Tokenize<
                                                            v1::Weft::
                                                                WithRawCallbackMethod_Detokenize<
                                                                    v1::Weft::
                                                                        Service>>>>>>>>>>>>>>>>>>>>;

/// The service weft.v1.Weft: who calls, what they may do, and bytes in and out. What it does is the
/// engine's. Thread-safe.
class WeftService final : public RawWeft {
 public:
  struct Options {
    uint64_t request_bytes = uint64_t{4} << 20;
    /// Kinds beyond the base contract that this server executes.
    std::vector<std::string> features;
  };
  /// All must outlive the service and its calls. `keeper` has the store of blobs, if there is one;
  /// `edits` may be null.
  WeftService(Engine* engine, Gate* gate, Options options, std::shared_ptr<RunRegistry> registry,
              WorkerPool* pool, RunStream::Keeper keeper, edits::EditStore* edits);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Run(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Validate(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Watch(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Fetch(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Cancel(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Upload(grpc::CallbackServerContext* context,
                                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListBlobs(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteBlob(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* StoreEdit(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListEdits(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetEdit(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteEdit(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* WhoAmI(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListOperators(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  // A call of a stream that this server does not have yet.
  template <class Reactor>
  Reactor* NotAvailable(const char* method, grpc::CallbackServerContext* context);

  // A call of Run that was admitted.
  struct WantedRun {
    keys::Key key;
    LogFields fields;
    grpc::ByteBuffer bytes;  // shared: gRPC's own may be gone when a pool comes to it
    absl::Time deadline;
    std::shared_ptr<RunStream> stream;
  };
  // On the pool for disks, `may_read`, or on a thread that no disk may hold up: there a run that
  // needs one goes on to that pool.
  void StartRun(const std::shared_ptr<const WantedRun>& run, bool may_read);
  absl::Status TryRun(const std::shared_ptr<const WantedRun>& run, bool may_read);
  absl::Status SubmitRun(const keys::Key& key, const std::string& model, graph::Program program,
                         RunOptions options, EventSink sink, RunStream* stream);

  Engine* const engine_;
  Gate* const gate_;
  const Options options_;
  const std::shared_ptr<RunRegistry> registry_;
  WorkerPool* const pool_;
  const RunStream::Keeper keeper_;
  const EditCalls edits_;
  const UnaryCalls unary_;
};

}  // namespace weft::server
