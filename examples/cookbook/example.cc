#include "examples/cookbook/example.h"

#include <weft/config.h>
#include <weft/local.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "engine/weights/safetensors.h"

namespace weft::examples {
namespace {

using Flags = std::map<std::string, std::string>;

absl::StatusOr<Flags> ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string name(absl::StripPrefix(argv[i], "--"));
    if (name == "tls") {
      flags[name] = "true";
    } else if (i + 1 < argc &&
               (name == "local" || name == "target" || name == "api-key" || name == "ca" ||
                name == "profile" || name == "model" || name == "pictures")) {
      flags[name] = argv[++i];
    } else {
      return absl::InvalidArgumentError(
          "usage: [--local FOLDER | --target HOST:PORT] [--api-key KEY] [--ca FILE] [--tls] "
          "[--profile NAME] [--model NAME] [--pictures FOLDER]");
    }
  }
  return flags;
}

absl::StatusOr<Client> Connect(const Flags& flags, const std::string& model) {
  if (const auto local = flags.find("local"); local != flags.end()) {
    if (!std::filesystem::exists(local->second + "/config.json")) {
      return absl::NotFoundError(absl::StrCat("there is no model in ", local->second));
    }
    return MakeLocalClient({.models = {{model, local->second}}});
  }
  std::map<std::string, std::string> settings;
  for (const auto& [flag, setting] : std::map<std::string, std::string>{
           {"target", "target"}, {"api-key", "api_key"}, {"ca", "ca"}, {"tls", "tls"}}) {
    if (const auto given = flags.find(flag); given != flags.end())
      settings[setting] = given->second;
  }
  const auto profile = flags.find("profile");
  absl::StatusOr<Configuration> configuration =
      LoadConfiguration(settings, profile == flags.end() ? "" : profile->second);
  if (!configuration.ok()) return configuration.status();
  return Client::Connect(configuration->target, configuration->options);
}

/// Without the bytes of weft::GetError, which say the same again.
std::string Text(const absl::Status& status) {
  return status.ToString(absl::StatusToStringMode::kWithNoExtraData);
}

template <typename T>
T OrThrow(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(Text(value.status()));
  return *std::move(value);
}

}  // namespace

int Example::Main(int argc, char** argv, void (*body)(Example&)) {
  try {
    const Flags flags = OrThrow(ParseFlags(argc, argv));
    const auto name = flags.find("model"), pictures = flags.find("pictures");
    const std::string model = name == flags.end() ? "atlas" : name->second;
    const Client client = OrThrow(Connect(flags, model));
    Example example(OrThrow(client.OpenLanguageModel(model)),
                    pictures == flags.end() ? "." : pictures->second);
    body(example);
    return example.all_hold_ ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const absl::BadStatusOrAccess& error) {  // by `.value()` of a StatusOr without one
    std::cerr << Text(error.status()) << "\n";
    return EXIT_FAILURE;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return EXIT_FAILURE;
  }
}

void Example::Check(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(Text(status));
}

void Example::Claim(bool holds, const std::string& text) {
  std::cout << (holds ? "[holds] " : "[DOES NOT HOLD] ") << text << "\n";
  all_hold_ = all_hold_ && holds;
}

void Example::Draw(const std::string& name, const std::string& svg) {
  std::filesystem::create_directories(pictures_);
  const std::filesystem::path path = std::filesystem::path(pictures_) / (name + ".svg");
  std::ofstream file(path, std::ios::binary);
  file << svg;
  file.close();
  if (!file) throw std::runtime_error(absl::StrCat("cannot write ", path.string()));
  std::cout << "picture: " << path.string() << "\n";
}

std::vector<std::string> Example::Tokens(const std::string& prompt) const {
  return Texts(Tensor::From(OrThrow(model_.Encode(prompt))));
}

std::vector<std::string> Example::Texts(const Tensor& ids) const {
  std::vector<std::string> texts = OrThrow(model_.DecodeRows(ids.reshape({-1})));
  for (std::string& text : texts) text = std::string(absl::StripPrefix(text, " "));
  return texts;
}

std::map<std::string, Tensor> Example::Load(const std::string& path) const {
  const auto file = OrThrow(weights::SafetensorsFile::Open(path));
  std::map<std::string, Tensor> tensors;
  for (const weights::TensorEntry& entry : file.tensors()) {
    if (entry.dtype != "F32") throw std::runtime_error(absl::StrCat(entry.name, " is not F32"));
    const absl::string_view bytes = file.Bytes(entry);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    tensors.emplace(entry.name, Tensor::From(std::move(values), Shape(entry.shape)));
  }
  return tensors;
}

int64_t Example::Token(const std::string& text) const { return OrThrow(model_.Encode(text)).at(0); }

}  // namespace weft::examples
