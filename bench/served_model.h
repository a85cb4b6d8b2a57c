#pragma once

#include <weft/client.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/keys/key_store.h"
#include "server/server.h"

namespace weft::bench {

/// A model behind a server in this process, on a free port of loopback, with keys in a temporary
/// folder: all that a user's trace passes, but for the network and a process of its own.
class ServedModel {
 public:
  static absl::StatusOr<std::unique_ptr<ServedModel>> Start(const std::string& model_folder);
  ~ServedModel();

  const LanguageModel& model() const { return *model_; }
  const std::string& address() const { return server_->address(); }
  const std::string& key() const { return key_; }
  /// Of another user.
  const std::string& other_key() const { return other_key_; }

  static constexpr char kName[] = "model";

 private:
  ServedModel() = default;

  std::string data_folder_;
  std::string key_, other_key_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<LanguageModel> model_;
};

}  // namespace weft::bench
