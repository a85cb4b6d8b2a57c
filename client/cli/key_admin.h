#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "server/audit/audit_store.h"
#include "server/keys/key_store.h"

namespace weft::cli {

/// Where API keys are managed: in a server's data folder, or over the network.
class KeyAdmin {
 public:
  virtual ~KeyAdmin() = default;

  virtual absl::StatusOr<keys::NewKey> Create(const keys::KeyStore::Request& request) = 0;
  virtual absl::StatusOr<std::vector<keys::Key>> List() = 0;
  virtual absl::StatusOr<keys::Key> Update(const std::string& id,
                                           const keys::KeyStore::Request& request) = 0;
  virtual absl::StatusOr<keys::NewKey> Rotate(const std::string& id,
                                              absl::Duration old_secret_for) = 0;
  virtual absl::Status Revoke(const std::string& id) = 0;
  /// Newest first.
  virtual absl::StatusOr<std::vector<audit::Entry>> ListAudit(const audit::Query& query) = 0;
};

/// Those of the data folder `data` (made if `create`), or of the server that `global` names if
/// `data` is empty.
absl::StatusOr<std::unique_ptr<KeyAdmin>> OpenKeyAdmin(const GlobalOptions& global,
                                                       const std::string& data, bool create);

}  // namespace weft::cli
