#include "weft/client.h"

#include "client/src/model_state.h"
#include "engine/graph/edit_name.h"
#include "weft/config.h"

namespace weft {

absl::StatusOr<Client> Client::Connect(const std::string& target, const ClientOptions& options) {
  std::shared_ptr<Backend> backend = MakeRemoteBackend(target, options);
  // Says at once that nobody answers, or that the key is bad.
  absl::StatusOr<Identity> identity = backend->WhoAmI();
  if (!identity.ok()) return identity.status();
  return Client(std::move(backend));
}

absl::StatusOr<Client> Client::Connect() {
  absl::StatusOr<Configuration> configuration = LoadConfiguration();
  if (!configuration.ok()) return configuration.status();
  return Connect(configuration->target, configuration->options);
}

absl::StatusOr<StoredEdit> Client::GetEdit(const std::string& model,
                                           const std::string& name) const {
  absl::StatusOr<graph::EditName> parsed = graph::ParseEditName(name);
  if (!parsed.ok()) return parsed.status();
  return backend_->GetEdit(model, parsed->name, parsed->version);
}

absl::StatusOr<uint64_t> Client::DeleteEdit(const std::string& model,
                                            const std::string& name) const {
  absl::StatusOr<graph::EditName> parsed = graph::ParseEditName(name);
  if (!parsed.ok()) return parsed.status();
  return backend_->DeleteEdit(model, parsed->name, parsed->version);
}

absl::StatusOr<LanguageModel> Client::OpenLanguageModel(const std::string& name,
                                                        const ModelOptions& options) const {
  absl::StatusOr<ModelDescription> description = backend_->GetModel(name);
  if (!description.ok()) return description.status();
  auto state = internal::ModelState::Make(backend_, *std::move(description), options);
  if (!state.ok()) return state.status();
  return LanguageModel(*std::move(state));
}

}  // namespace weft
