#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "weft/attached_module.h"
#include "weft/backend.h"
#include "weft/model.h"
#include "weft/ops.h"
#include "weft/saved.h"
#include "weft/tensor.h"
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

  const std::shared_ptr<Backend>& backend() const { return backend_; }

 private:
  std::shared_ptr<Backend> backend_;
};

}  // namespace weft
