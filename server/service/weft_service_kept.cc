// What keys keep on the server: blobs and edits.
#include <utility>

#include "engine/graph/content_hash.h"
#include "engine/graph/edit_name.h"
#include "server/service/program_blobs.h"
#include "server/service/status.h"
#include "server/service/upload_stream.h"
#include "server/service/weft_service.h"

namespace weft::server {
namespace {

constexpr char kUploadMethod[] = "weft.v1.Weft/Upload";

using ReadRefusal = Refusal<grpc::ServerReadReactor<grpc::ByteBuffer>>;

absl::Status NoBlobs() {
  return absl::UnimplementedError("this server keeps no blobs: send constants with the program");
}

/// Write down which edit a call is about, where that is a name that one may have.
void SetEdit(const std::string& name, uint64_t version, Call* call) {
  if (graph::CheckEditName(name).ok()) call->subject = graph::EditName{name, version}.ToString();
}

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* WeftService::Upload(grpc::CallbackServerContext* context,
                                                               grpc::ByteBuffer* response) {
  Call call;
  std::shared_ptr<UploadStream> stream;
  const absl::Status admitted = CatchAll(kUploadMethod, [&] {
    call = gate_->Begin(kUploadMethod, context);
    absl::Status allowed = gate_->Admit(*context, keys::kTraceScope, &call);
    if (!allowed.ok()) return allowed;
    if (keeper_.store == nullptr) return NoBlobs();
    absl::StatusOr<limits::UploadSlot> slot = gate_->limiter().StartUpload(call.key);
    if (!slot.ok()) return slot.status();
    absl::StatusOr<std::shared_ptr<UploadStream>> opened = UploadStream::Open(
        registry_, gate_, call, *std::move(slot), keeper_.store, keeper_.pool, response);
    if (!opened.ok()) return opened.status();
    stream = *std::move(opened);
    return absl::OkStatus();
  });
  if (admitted.ok()) return stream.get();
  auto* const refusal = new ReadRefusal();
  gate_->Refuse(call, admitted, [refusal](const grpc::Status& end) { refusal->Finish(end); });
  return refusal;
}

grpc::ServerUnaryReactor* WeftService::ListBlobs(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  return unary_.Answer<v1::ListBlobsRequest, v1::ListBlobsResponse>(
      "weft.v1.Weft/ListBlobs", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::ListBlobsRequest&,
             v1::ListBlobsResponse* answer) -> absl::Status {
        if (keeper_.store == nullptr) return NoBlobs();
        absl::StatusOr<std::vector<blobs::Blob>> blobs = keeper_.store->List(call->key);
        if (!blobs.ok()) return blobs.status();
        for (const blobs::Blob& blob : *blobs) EncodeBlob(blob, answer->add_blobs());
        answer->set_quota_bytes(keeper_.store->QuotaOf(call->key));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* WeftService::DeleteBlob(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return unary_.Answer<v1::DeleteBlobRequest, v1::DeleteBlobResponse>(
      "weft.v1.Weft/DeleteBlob", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::DeleteBlobRequest& message,
             v1::DeleteBlobResponse*) -> absl::Status {
        if (keeper_.store == nullptr) return NoBlobs();
        if (message.sha256().size() == graph::ContentHash::kBytes) {
          call->subject = graph::ContentHash::ToText(message.sha256());
        }
        return keeper_.store->Delete(call->key, message.sha256());
      });
}

grpc::ServerUnaryReactor* WeftService::StoreEdit(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  return unary_.Answer<v1::StoreEditRequest, v1::StoreEditResponse>(
      "weft.v1.Weft/StoreEdit", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::StoreEditRequest& message, v1::StoreEditResponse* answer) {
        call->SetModel(message.model());
        const absl::Status stored = edits_.Store(call->key, message, answer);
        SetEdit(message.name(), answer->edit().version(), call);
        return stored;
      });
}

grpc::ServerUnaryReactor* WeftService::ListEdits(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  return unary_.Answer<v1::ListEditsRequest, v1::ListEditsResponse>(
      "weft.v1.Weft/ListEdits", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::ListEditsRequest& message, v1::ListEditsResponse* answer) {
        call->SetModel(message.model());
        return edits_.List(call->key, message, answer);
      });
}

grpc::ServerUnaryReactor* WeftService::GetEdit(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return unary_.Answer<v1::GetEditRequest, v1::GetEditResponse>(
      "weft.v1.Weft/GetEdit", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::GetEditRequest& message, v1::GetEditResponse* answer) {
        call->SetModel(message.model());
        SetEdit(message.name(), message.version(), call);
        return edits_.Get(call->key, message, answer);
      });
}

grpc::ServerUnaryReactor* WeftService::DeleteEdit(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return unary_.Answer<v1::DeleteEditRequest, v1::DeleteEditResponse>(
      "weft.v1.Weft/DeleteEdit", keys::kTraceScope, context, request, response,
      [this](Call* call, const v1::DeleteEditRequest& message, v1::DeleteEditResponse* answer) {
        call->SetModel(message.model());
        SetEdit(message.name(), message.version(), call);
        return edits_.Delete(call->key, message, answer);
      });
}

}  // namespace weft::server
