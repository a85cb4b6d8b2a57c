#include "server/config/reload.h"

#include <google/protobuf/text_format.h>
#include <spdlog/spdlog.h>

#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace weft::server {
namespace {

using google::protobuf::FieldDescriptor;

std::string ValueOf(const Config& config, const FieldDescriptor& field) {
  using google::protobuf::TextFormat;
  std::string text;
  if (!field.is_repeated()) {
    TextFormat::PrintFieldValueToString(config, &field, -1, &text);
    return text;
  }
  std::string all;
  for (int i = 0; i < config.GetReflection()->FieldSize(config, &field); ++i) {
    TextFormat::PrintFieldValueToString(config, &field, i, &text);
    absl::StrAppend(&all, text, "\n");
  }
  return all;
}

std::map<std::string, std::string> Placements(const Model& model) {
  std::map<std::string, std::string> devices;
  for (const Placement& placement : model.placement()) {
    devices[placement.module()] = placement.device();
  }
  return devices;
}

// Whether both are hosted alike.
bool SameModel(const Model& a, const Model& b) {
  const auto adapters = [](const Model& model) {
    std::map<std::string, std::string> folders;
    for (const Adapter& adapter : model.adapter()) folders[adapter.name()] = adapter.folder();
    return folders;
  };
  return a.folder() == b.folder() && a.dtype() == b.dtype() && adapters(a) == adapters(b) &&
         a.device() == b.device() && Placements(a) == Placements(b);
}

// Load by `load`, logging how far it is, and what there is then.
absl::Status LoadAndTell(const Model& model, Engine* engine, const std::function<bool()>& stopping,
                         const std::function<absl::Status(const LoadOptions&)>& load) {
  spdlog::info("loading {} from {}", model.name(), model.folder());
  const absl::Time start = absl::Now();
  absl::Time told = start;
  LoadOptions options;
  options.dtype = model.dtype();
  options.device = model.device();
  options.device_map = Placements(model);
  for (const Adapter& adapter : model.adapter())
    options.adapters[adapter.name()] = adapter.folder();
  options.progress = [&](uint64_t bytes, uint64_t total_bytes) {
    if (stopping()) return absl::CancelledError("the server shuts down");
    const absl::Time now = absl::Now();
    if (now - told < absl::Seconds(1)) return absl::OkStatus();
    told = now;
    spdlog::info("loading {}: {} of {} MiB read", model.name(), bytes >> 20, total_bytes >> 20);
    return absl::OkStatus();
  };
  if (absl::Status loaded = load(options); !loaded.ok()) {
    return absl::Status(loaded.code(),
                        absl::StrCat("cannot load the model '", model.name(), "' from '",
                                     model.folder(), "': ", loaded.message()));
  }
  absl::StatusOr<std::shared_ptr<const ModelInfo>> info = engine->GetModel(model.name());
  if (!info.ok()) return info.status();
  const ModelSummary& summary = (*info)->summary;
  spdlog::info("loaded {}: {}, {:.1f} million parameters, {} on {}, {:.2f} s", model.name(),
               summary.family, static_cast<double>(summary.parameters) / 1e6, summary.dtype,
               summary.device, absl::ToDoubleSeconds(absl::Now() - start));
  return absl::OkStatus();
}

}  // namespace

Changes Compare(const Config& running, const Config& wanted) {
  Changes changes;
  std::map<std::string, Model> hosted;
  for (const Model& model : running.model()) hosted[model.name()] = model;
  for (const Model& model : wanted.model()) {
    const auto found = hosted.extract(model.name());
    if (found.empty()) {
      changes.load.push_back(model);
    } else if (!SameModel(found.mapped(), model)) {
      changes.replace.push_back(model);
    }
  }
  for (const auto& [name, model] : hosted) changes.unload.push_back(name);
  for (int i = 0; i < Config::descriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *Config::descriptor()->field(i);
    if (field.number() == Config::kModelFieldNumber) continue;
    if (ValueOf(running, field) == ValueOf(wanted, field)) continue;
    (field.options().GetExtension(about).reloads() ? changes.now : changes.restart)
        .push_back(field.name());
  }
  return changes;
}

absl::Status HostModel(const Model& model, Engine* engine, const std::function<bool()>& stopping) {
  return LoadAndTell(model, engine, stopping, [&](const LoadOptions& options) {
    return engine->LoadModel(model.name(), model.folder(), options);
  });
}

void Reload(const Config& wanted, Config* running, Engine* engine, Server* server,
            const std::function<bool()>& stopping) {
  const Changes changes = Compare(*running, wanted);

  for (const std::string& name : changes.now) {
    const FieldDescriptor& field = *Config::descriptor()->FindFieldByName(name);
    Config copy = wanted;
    running->GetReflection()->SwapFields(running, &copy, {&field});
  }
  engine->SetLimits(MakeEngineOptions(*running).limits);
  server->SetLimits(MakeServerOptions(*running));
  spdlog::set_level(spdlog::level::from_str(running->log_level()));
  if (!changes.now.empty()) spdlog::info("reloaded: {}", absl::StrJoin(changes.now, ", "));
  if (!changes.restart.empty()) {
    spdlog::warn("not changed, which needs a restart: {}", absl::StrJoin(changes.restart, ", "));
  }

  // What is unloaded makes room for what comes.
  for (const std::string& name : changes.unload) {
    if (absl::Status unloaded = engine->UnloadModel(name); !unloaded.ok()) {
      spdlog::error("cannot unload the model '{}': {}", name, std::string(unloaded.message()));
    } else {
      spdlog::info("unloaded {}; runs that were accepted finish", name);
    }
  }
  std::map<std::string, Model> hosted;
  for (const Model& model : running->model()) hosted[model.name()] = model;
  for (const std::string& name : changes.unload) hosted.erase(name);
  const auto host = [&](const Model& model, const absl::Status& status) {
    if (status.ok()) {
      hosted[model.name()] = model;
    } else {
      spdlog::error("{}", std::string(status.message()));
    }
  };
  for (const Model& model : changes.load) {
    if (stopping()) return;
    host(model, HostModel(model, engine, stopping));
  }
  for (const Model& model : changes.replace) {
    if (stopping()) return;
    host(model, LoadAndTell(model, engine, stopping, [&](const LoadOptions& options) {
           return engine->ReplaceModel(model.name(), model.folder(), options);
         }));
  }
  running->clear_model();
  for (const auto& [name, model] : hosted) *running->add_model() = model;
  spdlog::info("the configuration was read again: {} model{}", hosted.size(),
               hosted.size() == 1 ? "" : "s");
}

}  // namespace weft::server
