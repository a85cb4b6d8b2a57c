#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "engine/weights/dtype_names.h"
#include "engine/weights/hub_cache.h"
#include "server/config/config.h"
#include "server/config/sources.h"

namespace weft::server {
namespace {

using google::protobuf::FieldDescriptor;

// What `about` says of every field's value.
void CheckRanges(const Config& config, Problems* problems) {
  const google::protobuf::Reflection& reflection = *config.GetReflection();
  for (int i = 0; i < Config::descriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *Config::descriptor()->field(i);
    const About& about = field.options().GetExtension(server::about);
    if (field.is_repeated()) continue;
    double number = 0;
    std::string text;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        text = reflection.GetString(config, &field);
        if (about.bytes()) {
          absl::StatusOr<uint64_t> bytes = ParseBytes(text);
          if (!bytes.ok()) {
            problems->Add(field, std::string(bytes.status().message()));
            continue;
          }
          number = static_cast<double>(*bytes);
        }
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        number = reflection.GetDouble(config, &field);
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        number = reflection.GetUInt32(config, &field);
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        number = static_cast<double>(reflection.GetUInt64(config, &field));
        break;
      default:
        continue;
    }
    // Written so that a NaN is out of every range.
    if ((about.has_min() && !(number >= about.min())) ||
        (about.has_max() && !(number <= about.max()))) {
      problems->Add(field, absl::StrCat(text.empty() ? absl::StrCat(number) : text,
                                        " is out of range: write ", about.min(), " to ",
                                        static_cast<uint64_t>(about.max())));
    }
    if (about.choices_size() > 0 &&
        std::find(about.choices().begin(), about.choices().end(), text) == about.choices().end()) {
      problems->Add(field,
                    absl::StrCat("'", text, "' is none of ", absl::StrJoin(about.choices(), ", ")));
    }
  }
}

// Empty, or what is wrong with a model's folder, or with the file of an exported one.
std::string CheckFolder(const std::string& folder_or_id) {
  std::error_code error;
  if (absl::EndsWith(folder_or_id, ".pt2")) {
    if (std::filesystem::is_regular_file(folder_or_id, error) && std::ifstream(folder_or_id)) {
      return "";
    }
    return absl::StrCat("there is no file '", folder_or_id, "' that can be read",
                        error ? absl::StrCat(" (", error.message(), ")") : std::string());
  }
  const absl::StatusOr<std::string> folder = weights::FindModelFolder(folder_or_id);
  if (!folder.ok()) return std::string(folder.status().message());
  if (!std::ifstream(std::filesystem::path(*folder) / "config.json")) {
    return absl::StrCat("the folder '", *folder, "' has no config.json that can be read: give one ",
                        "as the Hugging Face Hub lays it out");
  }
  return "";
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string("./_-").find(c) != std::string::npos;
  });
}

// Empty, or what is wrong with a model's adapters.
std::string CheckAdapters(const Model& model) {
  if (model.adapter_size() > 0 && absl::EndsWith(model.folder(), ".pt2")) {
    return "an exported program is hosted without adapters: merge one into the module and export "
           "that";
  }
  std::set<std::string> names;
  for (const Adapter& adapter : model.adapter()) {
    if (!IsName(adapter.name())) {
      return absl::StrCat("the adapter's name '", adapter.name(),
                          "' is not made of 1 to 128 letters, digits and ./_-");
    }
    if (!names.insert(adapter.name()).second) {
      return absl::StrCat("the adapter '", adapter.name(), "' is given twice");
    }
    const absl::StatusOr<std::string> folder = weights::FindModelFolder(adapter.folder());
    if (!folder.ok()) {
      return absl::StrCat("the adapter '", adapter.name(), "': ", folder.status().message());
    }
    if (!std::ifstream(std::filesystem::path(*folder) / "adapter_config.json")) {
      return absl::StrCat("the adapter '", adapter.name(), "': the folder '", *folder,
                          "' has no adapter_config.json that can be read: give one that peft's "
                          "save_pretrained has made");
    }
  }
  return "";
}

// `auto`, `cpu`, `cuda`, `cuda:1`; whether this machine has it is seen when a model is loaded.
bool IsDevice(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  return !parts.first.empty() &&
         std::all_of(parts.first.begin(), parts.first.end(),
                     [](unsigned char c) { return absl::ascii_islower(c); }) &&
         std::all_of(parts.second.begin(), parts.second.end(), absl::ascii_isdigit) &&
         !absl::EndsWith(text, ":");
}

// Empty, or what is wrong with where a model is to lie.
std::string CheckDevices(const Model& model) {
  const auto no_device = [](const std::string& text) {
    return absl::StrCat("'", text, "' is no device, such as auto, cpu, cuda or cuda:1");
  };
  if (!IsDevice(model.device())) return no_device(model.device());
  std::set<std::string> modules;
  for (const Placement& placement : model.placement()) {
    if (placement.module().empty()) return "a placement names no module";
    if (!modules.insert(placement.module()).second) {
      return absl::StrCat("the module '", placement.module(), "' is placed twice");
    }
    if (!IsDevice(placement.device()) || placement.device() == "auto") {
      return absl::StrCat("the module '", placement.module(), "': ", no_device(placement.device()));
    }
  }
  return "";
}

void CheckModels(const Config& config, Problems* problems) {
  if (config.model().empty()) {
    problems->Add("model",
                  "there is none to host: add --model NAME=FOLDER, or in the file "
                  "model { name: \"atlas\" folder: \"models/atlas\" }");
  }
  std::set<std::string> names;
  for (int i = 0; i < config.model_size(); ++i) {
    const Model& model = config.model(i);
    if (!IsName(model.name())) {
      problems->Add("model",
                    absl::StrCat("the name '", model.name(),
                                 "' is not made of 1 to 128 letters, digits and ./_-"),
                    i);
    } else if (!names.insert(model.name()).second) {
      problems->Add("model",
                    absl::StrCat("the name '", model.name(),
                                 "' is given twice: give each model a name of its own"),
                    i);
    }
    if (const std::string wrong = CheckFolder(model.folder()); !wrong.empty()) {
      problems->Add("model", absl::StrCat("'", model.name(), "': ", wrong), i);
    }
    if (const std::string wrong = CheckAdapters(model); !wrong.empty()) {
      problems->Add("model", absl::StrCat("'", model.name(), "': ", wrong), i);
    }
    if (const std::string wrong = CheckDevices(model); !wrong.empty()) {
      problems->Add("model", absl::StrCat("'", model.name(), "': ", wrong), i);
    }
    const auto& dtypes = weights::kHostingDtypes;
    if (std::find(dtypes.begin(), dtypes.end(), model.dtype()) == dtypes.end()) {
      problems->Add("model",
                    absl::StrCat("'", model.name(), "': the dtype '", model.dtype(),
                                 "' is none of ", absl::StrJoin(dtypes, ", ")),
                    i);
    }
  }
}

}  // namespace

void CheckConfig(const Config& config, Problems* problems) {
  CheckRanges(config, problems);
  const TlsFiles tls = MakeTlsFiles(config);
  if (absl::Status checked = CheckAddress(config.listen(), config.insecure() || tls.on());
      !checked.ok()) {
    problems->Add("listen", std::string(checked.message()));
  }
  if (!config.metrics().empty()) {
    if (absl::Status checked = CheckAddress(config.metrics(), /*open=*/true); !checked.ok()) {
      problems->Add("metrics", std::string(checked.message()));
    }
  }
  const TlsFindings found = CheckTls(tls, absl::Now());
  for (const TlsFindings::Finding& error : found.errors) problems->Add(error.field, error.text);
  for (const TlsFindings::Finding& warning : found.warnings) {
    problems->Warn(warning.field, warning.text);
  }
  if (config.keys() && config.data().empty()) {
    problems->Add("data",
                  "a folder is needed, for the API keys ('weft keys create --data DIR' makes one). "
                  "For trying things out on this machine alone there is --no-keys");
  }
  CheckModels(config, problems);
}

}  // namespace weft::server
