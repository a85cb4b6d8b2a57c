#include "bench/served_model.h"

#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace weft::bench {

absl::StatusOr<std::unique_ptr<ServedModel>> ServedModel::Start(const std::string& model_folder) {
  auto served = std::unique_ptr<ServedModel>(new ServedModel());
  // A line for each run would bury the report.
  spdlog::set_level(spdlog::level::warn);
  std::error_code error;
  std::string folder = std::filesystem::temp_directory_path(error) / "weft_bench.XXXXXX";
  if (error || mkdtemp(folder.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat(folder, ": cannot be made"));
  }
  served->data_folder_ = folder;

  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Create();
  if (!engine.ok()) return engine.status();
  served->engine_ = *std::move(engine);
  if (absl::Status status = served->engine_->LoadModel(kName, model_folder); !status.ok()) {
    return status;
  }
  absl::StatusOr<std::unique_ptr<keys::KeyStore>> keys = keys::KeyStore::Open(folder);
  if (!keys.ok()) return keys.status();
  served->keys_ = *std::move(keys);
  absl::StatusOr<keys::NewKey> key = served->keys_->Create({.label = "bench"});
  if (!key.ok()) return key.status();
  served->key_ = key->secret;
  absl::StatusOr<keys::NewKey> other_key = served->keys_->Create({.label = "other"});
  if (!other_key.ok()) return other_key.status();
  served->other_key_ = other_key->secret;

  server::ServerOptions options;
  options.listen = "127.0.0.1:0";
  absl::StatusOr<std::unique_ptr<server::Server>> server =
      server::Server::Start(options, served->engine_.get(), served->keys_.get());
  if (!server.ok()) return server.status();
  served->server_ = *std::move(server);

  absl::StatusOr<Client> client =
      Client::Connect(served->server_->address(), {.api_key = served->key_});
  if (!client.ok()) return client.status();
  absl::StatusOr<LanguageModel> model = client->OpenLanguageModel(kName);
  if (!model.ok()) return model.status();
  served->model_ = std::make_unique<LanguageModel>(*std::move(model));
  return served;
}

ServedModel::~ServedModel() {
  model_ = nullptr;
  server_ = nullptr;
  keys_ = nullptr;
  engine_ = nullptr;
  std::error_code error;
  if (!data_folder_.empty()) std::filesystem::remove_all(data_folder_, error);
}

}  // namespace weft::bench
