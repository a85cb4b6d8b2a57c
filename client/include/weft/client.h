#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "weft/attached_module.h"
#include "weft/backend.h"
#include "weft/blob.h"
#include "weft/cache.h"
#include "weft/input.h"
#include "weft/load_tensors.h"
#include "weft/model.h"
#include "weft/ops.h"
#include "weft/run.h"
#include "weft/saved.h"
#include "weft/session.h"
#include "weft/steps.h"
#include "weft/stored_edit.h"
#include "weft/sweep.h"
#include "weft/tensor.h"
#include "weft/tracer.h"
#include "weft/value.h"
#include "weft/var.h"
#include "weft/view.h"

namespace weft {

using ClientOptions = RemoteOptions;

/// A connection to a server, or to an engine in this process (weft/local.h). Copies share it.
/// Thread-safe.
class Client {
 public:
  /// Connect to `target` (`host:port`, `unix:PATH`) and check that the key is good there.
  /// kUnavailable if nobody answers, kUnauthenticated for a bad key.
  static absl::StatusOr<Client> Connect(const std::string& target,
                                        const ClientOptions& options = {});
  /// The same with what this user has configured: weft/config.h.
  static absl::StatusOr<Client> Connect();
  /// A client of a backend of one's own.
  explicit Client(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

  /// kNotFound, naming the models that exist; kPermissionDenied if the key is not for this one.
  /// kInvalidArgument for a name that `options` cannot give.
  absl::StatusOr<LanguageModel> OpenLanguageModel(const std::string& name,
                                                  const ModelOptions& options = {}) const;
  absl::StatusOr<std::vector<HostedModel>> ListModels() const { return backend_->ListModels(); }
  absl::StatusOr<std::vector<OperatorDescription>> ListOperators() const {
    return backend_->ListOperators();
  }
  absl::StatusOr<Identity> WhoAmI() const { return backend_->WhoAmI(); }

  /// Keep a tensor on the server: a Blob stands in traces where the tensor would, and its bytes do
  /// not travel again. Large tensors in traces are uploaded by themselves; this is for those that
  /// many programs use. kResourceExhausted where there is no room.
  absl::StatusOr<Blob> Upload(const Tensor& tensor) const { return backend_->UploadBlob(tensor); }
  absl::StatusOr<BlobList> ListBlobs() const { return backend_->ListBlobs(); }
  /// kNotFound; kFailedPrecondition while a run uses it.
  absl::Status DeleteBlob(const Blob& blob) const { return DeleteBlob(blob.hash()); }
  absl::Status DeleteBlob(const std::string& hash) const { return backend_->DeleteBlob(hash); }

  /// Keep an edit on the server, for this key's runs of one model (LanguageModel::WithEdits). Under
  /// a name that is taken it becomes the next version, unless the latest is the same. `edit` is one
  /// trace with one `invoke { }`; LanguageModel::StoreEdit records one. Errors name the statement
  /// for which it cannot be an edit of that model; kResourceExhausted where there is no room.
  absl::StatusOr<EditVersion> StoreEdit(const std::string& model, const std::string& name,
                                        const Program& edit,
                                        const StoreEditOptions& options = {}) const {
    return backend_->StoreEdit(model, name, edit, options);
  }
  /// Of all models if `model` is empty, also of those that are hosted no more.
  absl::StatusOr<EditList> ListEdits(const std::string& model = "") const {
    return backend_->ListEdits(model);
  }
  /// `name` is `steer`, the latest version, or `steer@2`. kNotFound, naming what there is.
  absl::StatusOr<StoredEdit> GetEdit(const std::string& model, const std::string& name) const;
  /// One version of `steer@2`, all of `steer`: how many there were. kNotFound. Runs that were
  /// accepted go on with what they had.
  absl::StatusOr<uint64_t> DeleteEdit(const std::string& model, const std::string& name) const;

  const std::shared_ptr<Backend>& backend() const { return backend_; }

 private:
  std::shared_ptr<Backend> backend_;
};

}  // namespace weft
