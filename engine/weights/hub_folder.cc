#include "engine/weights/hub_folder.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace weft::weights {
namespace {

namespace fs = std::filesystem;

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// Return the files that an index lists, without their folder.
absl::StatusOr<std::set<std::string>> ReadIndex(const std::string& path) {
  absl::StatusOr<ModelConfig> index = ModelConfig::Read(path);
  if (!index.ok()) return index.status();
  auto weight_map = index->json().find("weight_map");
  if (weight_map == index->json().end() || !weight_map->is_object() || weight_map->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has no \"weight_map\", which must hold the file of each tensor by its name"));
  }
  std::set<std::string> files;
  for (const auto& [tensor, value] : weight_map->items()) {
    std::string file = value.is_string() ? value.get<std::string>() : "";
    // An index may not reach files outside its folder.
    bool plain = !file.empty() && file != "." && file != ".." &&
                 file.find('/') == std::string::npos && file.find('\0') == std::string::npos;
    if (!plain) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": the file of tensor \"", absl::CHexEscape(tensor),
                       "\" must be the name of a file in the same folder"));
    }
    files.insert(std::move(file));
  }
  return files;
}

/// The files with weights of a folder.
absl::StatusOr<std::vector<std::string>> FindWeights(const std::string& path) {
  auto inside = [&path](const std::string& name) { return (fs::path(path) / name).string(); };
  std::vector<std::string> paths;
  std::string index = inside("model.safetensors.index.json");
  if (std::string single = inside("model.safetensors"); IsFile(single)) {
    paths.push_back(std::move(single));
  } else if (IsFile(index)) {
    absl::StatusOr<std::set<std::string>> files = ReadIndex(index);
    if (!files.ok()) return files.status();
    for (const std::string& file : *files) {
      std::string shard = inside(file);
      if (!IsFile(shard)) {
        return absl::NotFoundError(absl::StrCat(shard, " is missing; ", index, " lists it"));
      }
      paths.push_back(std::move(shard));
    }
  } else {
    for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
      if (!IsFile(inside(name))) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          inside(name),
          " holds its weights as a pickle, which is a program and is not run here; save them as "
          "safetensors: in Python, AutoModelForCausalLM.from_pretrained(FOLDER)"
          ".save_pretrained(NEW_FOLDER), and copy tokenizer.json beside them"));
    }
    return absl::NotFoundError(
        absl::StrCat(single, " is missing, and so is ", index,
                     "; weights in other formats than safetensors are not read"));
  }
  return paths;
}

}  // namespace

absl::StatusOr<HubFolder> HubFolder::Open(const std::string& path, bool weights) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat(
        "there is no folder ", path, "; a model is given as the folder with its config.json"));
  }
  HubFolder folder;
  folder.path_ = path;
  auto inside = [&path](const std::string& name) { return (fs::path(path) / name).string(); };

  std::string config = inside("config.json");
  if (!IsFile(config)) {
    return absl::NotFoundError(absl::StrCat(config, " is missing"));
  }
  absl::StatusOr<ModelConfig> parsed = ModelConfig::Read(config);
  if (!parsed.ok()) return parsed.status();
  folder.config_ = *std::move(parsed);
  if (const std::string generation = inside("generation_config.json"); IsFile(generation)) {
    absl::StatusOr<ModelConfig> read = ModelConfig::Read(generation);
    if (!read.ok()) return read.status();
    folder.generation_config_ = *std::move(read);
  }

  if (weights) {
    absl::StatusOr<std::vector<std::string>> paths = FindWeights(path);
    if (!paths.ok()) return paths.status();
    folder.weight_paths_ = *std::move(paths);
  }
  folder.tokenizer_path_ = inside("tokenizer.json");
  if (!IsFile(folder.tokenizer_path_)) {
    return absl::NotFoundError(absl::StrCat(
        folder.tokenizer_path_, " is missing; a fast tokenizer of transformers saves it"));
  }
  return folder;
}

}  // namespace weft::weights
