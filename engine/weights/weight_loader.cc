#include "engine/weights/weight_loader.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::weights {
namespace {

constexpr struct {
  const char* dtype;
  at::ScalarType type;
} kTypes[] = {
    {"F32", at::kFloat},
    {"BF16", at::kBFloat16},
    {"F16", at::kHalf},
    {"F64", at::kDouble},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
    {"U16", at::kUInt16},
    {"U32", at::kUInt32},
    {"U64", at::kUInt64},
    {"C64", at::kComplexFloat},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    {"F8_E8M0", at::kFloat8_e8m0fnu},
};

std::string What(const SafetensorsFile& file, const TensorEntry& entry) {
  return absl::StrCat(file.path(), ": tensor \"", absl::CHexEscape(entry.name), "\"");
}

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

/// Copy a tensor out of a file. The one place here where LibTorch may throw.
absl::StatusOr<at::Tensor> CopyOut(const SafetensorsFile& file, const TensorEntry& entry,
                                   std::optional<at::ScalarType> dtype) {
  std::optional<at::ScalarType> type = ScalarTypeFromDtype(entry.dtype);
  if (!type) {
    return absl::UnimplementedError(
        absl::StrCat(What(file, entry), " has the dtype ", entry.dtype,
                     ", which cannot be loaded; convert the checkpoint to F32, BF16 or F16"));
  }
  absl::string_view bytes = file.Bytes(entry);
  if (*type == at::kBool &&
      std::any_of(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; })) {
    return absl::InvalidArgumentError(
        absl::StrCat(What(file, entry), " is of BOOL, but has bytes other than 0 and 1"));
  }
  // The caller may be inside InferenceMode, and runs with gradients could not use the result.
  c10::InferenceMode not_inference(false);
  try {
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(*type));
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    if (dtype && tensor.is_floating_point()) tensor = tensor.to(*dtype);
    return tensor;
  } catch (const c10::Error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat(What(file, entry), " could not be loaded: ", error.what_without_backtrace()));
  }
}

bool IsIgnored(const std::string& name, const NameRules& rules) {
  return std::any_of(rules.ignored_suffixes.begin(), rules.ignored_suffixes.end(),
                     [&](const std::string& suffix) { return absl::EndsWith(name, suffix); });
}

bool IsOutsideBase(const std::string& name, const NameRules& rules) {
  return std::any_of(rules.outside_base.begin(), rules.outside_base.end(),
                     [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

}  // namespace

std::optional<at::ScalarType> ScalarTypeFromDtype(const std::string& dtype) {
  for (const auto& known : kTypes) {
    if (dtype == known.dtype) return known.type;
  }
  return std::nullopt;
}

std::optional<std::string> DtypeFromScalarType(at::ScalarType type) {
  for (const auto& known : kTypes) {
    if (type == known.type) return known.dtype;
  }
  return std::nullopt;
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const HubFolder& folder, const NameRules& rules) {
  Checkpoint checkpoint;
  checkpoint.path_ = folder.path();
  bool has_prefix = rules.base_prefix.empty();
  for (const std::string& path : folder.weight_paths()) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
    if (!file.ok()) return file.status();
    for (const TensorEntry& entry : file->tensors()) {
      has_prefix |= absl::StartsWith(entry.name, rules.base_prefix);
    }
    checkpoint.files_.push_back(*std::move(file));
  }
  for (size_t i = 0; i < checkpoint.files_.size(); ++i) {
    for (const TensorEntry& entry : checkpoint.files_[i].tensors()) {
      std::string name = entry.name;
      if (!has_prefix && !IsOutsideBase(name, rules)) name = absl::StrCat(rules.base_prefix, name);
      if (IsIgnored(name, rules)) continue;
      auto [place, added] = checkpoint.places_.emplace(name, Place{.file = i, .entry = &entry});
      if (!added) {
        return absl::InvalidArgumentError(
            absl::StrCat(What(checkpoint.files_[i], entry), " is also in ",
                         checkpoint.files_[place->second.file].path()));
      }
    }
  }
  return checkpoint;
}

bool Checkpoint::Has(const std::string& name) const { return places_.contains(name); }

absl::StatusOr<at::Tensor> Checkpoint::Take(const std::string& name, at::IntArrayRef shape,
                                            std::optional<at::ScalarType> dtype) {
  auto found = places_.find(name);
  if (found == places_.end()) {
    return absl::NotFoundError(absl::StrCat("the checkpoint in ", path_, " has no tensor \"", name,
                                            "\", which its config.json asks for"));
  }
  Place& place = found->second;
  const SafetensorsFile& file = files_[place.file];
  if (at::IntArrayRef(place.entry->shape) != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(What(file, *place.entry), " has the shape ", ShapeText(place.entry->shape),
                     ", but by config.json it should be ", ShapeText(shape)));
  }
  absl::StatusOr<at::Tensor> tensor = CopyOut(file, *place.entry, dtype);
  if (tensor.ok()) place.taken = true;
  return tensor;
}

std::vector<std::string> Checkpoint::Untaken() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) {
    if (!place.taken) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Checkpoint::CheckAllTaken() const {
  constexpr size_t kShown = 10;
  std::vector<std::string> names = Untaken();
  if (names.empty()) return absl::OkStatus();
  std::string shown = absl::StrJoin(
      names.begin(), names.begin() + std::min(names.size(), kShown), ", ",
      [](std::string* out, const std::string& name) { *out += absl::CHexEscape(name); });
  if (names.size() > kShown) absl::StrAppend(&shown, " and ", names.size() - kShown, " more");
  return absl::InvalidArgumentError(
      absl::StrCat("the checkpoint in ", path_,
                   " has tensors that a model of its config.json does not use: ", shown));
}

absl::StatusOr<std::map<std::string, at::Tensor>> LoadTensors(const std::string& path) {
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  std::map<std::string, at::Tensor> tensors;
  for (const TensorEntry& entry : file->tensors()) {
    absl::StatusOr<at::Tensor> tensor = CopyOut(*file, entry, std::nullopt);
    if (!tensor.ok()) return tensor.status();
    tensors.emplace(entry.name, *std::move(tensor));
  }
  return tensors;
}

}  // namespace weft::weights
