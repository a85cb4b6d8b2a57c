#include "engine/weights/weight_loader.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace weft::weights {
namespace {

bool IsOutsideBase(const std::string& name, const NameRules& rules) {
  return std::any_of(rules.outside_base.begin(), rules.outside_base.end(),
                     [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

/// The number that the `*` of a pattern stands for; 0 where there is no `*`.
std::optional<int64_t> NumberOf(const PatternMatch& match) {
  int64_t number = 0;
  if (match.stars.empty()) return number;
  if (!absl::SimpleAtoi(match.stars[0], &number) || number < 0) return std::nullopt;
  return number;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const HubFolder& folder, const NameRules& rules) {
  Checkpoint checkpoint;
  checkpoint.path_ = folder.path();
  for (const std::string& path : folder.weight_paths()) {
    absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(path);
    if (!file.ok()) return file.status();
    checkpoint.files_.push_back(*std::move(file));
  }
  absl::StatusOr<Names> names = checkpoint.NameTensors(rules);
  if (!names.ok()) return names.status();
  for (const FusedTensor& rule : rules.fused) {
    if (absl::Status status = checkpoint.Fuse(rule, *names); !status.ok()) return status;
  }
  for (const SplitTensor& rule : rules.split) {
    if (absl::Status status = checkpoint.Split(rule, *names); !status.ok()) return status;
  }
  for (auto& [name, part] : *names) {
    std::vector<int64_t> shape = part.shape;
    absl::Status status = checkpoint.Add(name, {std::move(shape), {std::move(part)}});
    if (!status.ok()) return status;
  }
  return checkpoint;
}

absl::StatusOr<Checkpoint::Names> Checkpoint::NameTensors(const NameRules& rules) const {
  bool has_prefix = rules.base_prefix.empty();
  std::vector<std::pair<std::string, Part>> renamed;
  for (size_t i = 0; i < files_.size(); ++i) {
    for (const TensorEntry& entry : files_[i].tensors()) {
      std::string name = Renamed(entry.name, rules.renames);
      has_prefix |= absl::StartsWith(name, rules.base_prefix);
      renamed.emplace_back(std::move(name), Part{.file = i, .entry = &entry, .shape = entry.shape});
    }
  }
  Names names;
  for (auto& [name, part] : renamed) {
    if (!has_prefix && !IsOutsideBase(name, rules)) name = absl::StrCat(rules.base_prefix, name);
    if (IsIgnored(name, rules)) continue;
    const auto [place, added] = names.emplace(name, part);
    if (!added) return BothAre(part, place->second, name);
  }
  return names;
}

absl::Status Checkpoint::BothAre(const Part& part, const Part& other,
                                 const std::string& name) const {
  return absl::InvalidArgumentError(
      other.entry->name == part.entry->name
          ? absl::StrCat(What(part), " is also in ", files_[other.file].path())
          : absl::StrCat(What(part), " and ", What(other), " are both `", absl::CHexEscape(name),
                         "`"));
}

absl::Status Checkpoint::Add(const std::string& name, Place place) {
  for (const Part& part : place.parts) {
    uint64_t bytes = part.entry->end - part.entry->begin;
    // Of a split an equal part.
    if (part.cut_dim >= 0 && bytes > 0) {
      bytes = bytes / part.entry->shape[part.cut_dim] * part.shape[part.cut_dim];
    }
    total_bytes_ += bytes;
  }
  if (const auto other = places_.find(name); other != places_.end()) {
    return BothAre(place.parts[0], other->second.parts[0], name);
  }
  places_.emplace(name, std::move(place));
  return absl::OkStatus();
}

absl::Status Checkpoint::Fuse(const FusedTensor& rule, Names& names) {
  // By target: of each source the names by their numbers.
  std::map<std::string, std::vector<std::map<int64_t, std::string>>> groups;
  for (const auto& [name, part] : names) {
    for (size_t i = 0; i < rule.sources.size(); ++i) {
      const auto match = FindPattern(absl::StrCat(rule.sources[i], "$"), name);
      const std::optional<int64_t> number = match ? NumberOf(*match) : std::nullopt;
      if (!number) continue;
      auto& group = groups[absl::StrCat(name.substr(0, match->begin), rule.target)];
      group.resize(rule.sources.size());
      group[i].emplace(*number, name);
      break;
    }
  }
  for (const auto& [target, group] : groups) {
    std::vector<std::vector<Part>> sources;
    size_t count = 1;
    for (const auto& source : group) count = std::max(count, source.size());
    for (size_t i = 0; i < group.size(); ++i) {
      std::vector<Part>& parts = sources.emplace_back();
      for (size_t number = 0; number < count; ++number) {
        const auto found = group[i].find(static_cast<int64_t>(number));
        if (found == group[i].end()) {
          const std::string source =
              absl::StrReplaceAll(rule.sources[i], {{"*", absl::StrCat(number)}});
          return absl::NotFoundError(
              absl::StrCat("the checkpoint in ", path_, " has no tensor \"",
                           absl::CHexEscape(target.substr(0, target.size() - rule.target.size())),
                           source, "\", which is a part of `", absl::CHexEscape(target), "`"));
        }
        parts.push_back(std::move(names.at(found->second)));
        names.erase(found->second);
      }
    }
    absl::StatusOr<Place> place =
        Join(std::move(sources), absl::StrContains(rule.sources[0], "*"), rule.dim, target);
    if (!place.ok()) return place.status();
    if (absl::Status status = Add(target, *std::move(place)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint::Place> Checkpoint::Join(std::vector<std::vector<Part>> sources,
                                                   bool stacked, int64_t dim,
                                                   const std::string& target) const {
  Place place;
  for (std::vector<Part>& source : sources) {
    std::vector<int64_t> shape = source[0].shape;
    if (stacked) shape.insert(shape.begin(), static_cast<int64_t>(source.size()));
    const Part& first = place.parts.empty() ? source[0] : place.parts[0];
    const bool begins = place.parts.empty();
    bool fits =
        static_cast<size_t>(dim) < shape.size() && (begins || place.shape.size() == shape.size());
    const int64_t begin = fits && !begins ? place.shape[dim] : 0;
    // Along `dim` alone they may differ.
    if (fits && !begins) {
      place.shape[dim] = shape[dim];
      fits = place.shape == shape;
    }
    const Part* odd = fits ? nullptr : &source[0];
    for (const Part& part : source) {
      if (part.shape != source[0].shape) odd = &part;
    }
    if (odd != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(What(*odd), " has the shape ", ShapeText(odd->shape), ", and ", What(first),
                       " the shape ", ShapeText(first.shape), ": they make no `",
                       absl::CHexEscape(target), "`"));
    }
    place.shape = shape;
    place.shape[dim] += begin;
    for (size_t i = 0; i < source.size(); ++i) {
      source[i].stacked = stacked ? static_cast<int64_t>(i) : -1;
      source[i].dim = dim;
      source[i].begin = begin;
    }
    std::move(source.begin(), source.end(), std::back_inserter(place.parts));
  }
  return place;
}

absl::Status Checkpoint::Split(const SplitTensor& rule, Names& names) {
  const auto count = static_cast<int64_t>(rule.targets.size());
  std::vector<std::string> matched;
  for (const auto& [name, part] : names) {
    if (FindPattern(absl::StrCat(rule.source, "$"), name)) matched.push_back(name);
  }
  for (const std::string& name : matched) {
    const Part whole = std::move(names.at(name));
    names.erase(name);
    if (static_cast<size_t>(rule.dim) >= whole.shape.size() || whole.shape[rule.dim] % count != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(What(whole), " has the shape ", ShapeText(whole.shape), ", which is not ",
                       count, " equal parts along dimension ", rule.dim));
    }
    const std::string begin =
        name.substr(0, FindPattern(absl::StrCat(rule.source, "$"), name)->begin);
    for (int64_t i = 0; i < count; ++i) {
      Part part = whole;
      part.shape[rule.dim] /= count;
      part.cut_dim = rule.dim;
      part.cut_begin = i * part.shape[rule.dim];
      std::vector<int64_t> shape = part.shape;
      absl::Status status = Add(absl::StrCat(begin, rule.targets[i]), {std::move(shape), {part}});
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

std::string Checkpoint::What(const Part& part) const {
  return DescribeEntry(files_[part.file], *part.entry);
}

std::optional<at::ScalarType> Checkpoint::FloatType() const {
  for (const SafetensorsFile& file : files_) {
    for (const TensorEntry& entry : file.tensors()) {
      const std::optional<at::ScalarType> type = ScalarTypeFromDtype(entry.dtype);
      if (type && at::isFloatingType(*type)) return type;
    }
  }
  return std::nullopt;
}

bool Checkpoint::Has(const std::string& name) const { return places_.contains(name); }

absl::StatusOr<at::Tensor> Checkpoint::Take(const std::string& name, at::IntArrayRef shape,
                                            std::optional<at::ScalarType> dtype,
                                            at::Device device) {
  auto found = places_.find(name);
  if (found == places_.end()) {
    return absl::NotFoundError(absl::StrCat("the checkpoint in ", path_, " has no tensor \"", name,
                                            "\", which its config.json asks for"));
  }
  Place& place = found->second;
  const Part& first = place.parts[0];
  if (at::IntArrayRef(place.shape) != shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        What(first), place.parts.size() > 1 ? " and what is joined with it" : "", " has the shape ",
        ShapeText(place.shape), ", but by config.json it should be ", ShapeText(shape)));
  }
  absl::StatusOr<at::ScalarType> type = TypeOfEntry(files_[first.file], *first.entry);
  if (!type.ok()) return type.status();
  if (dtype && at::isFloatingType(*type)) type = *dtype;
  absl::StatusOr<at::Tensor> tensor = MakeEmpty(place.shape, *type, device);
  if (!tensor.ok()) {
    return absl::Status(tensor.status().code(),
                        absl::StrCat(What(first), ": ", tensor.status().message()));
  }
  for (const Part& part : place.parts) {
    if (absl::Status status = CopyPart(part, *tensor); !status.ok()) return status;
  }
  place.taken = true;
  return tensor;
}

absl::Status Checkpoint::CopyPart(const Part& part, const at::Tensor& whole) {
  const SafetensorsFile& file = files_[part.file];
  absl::StatusOr<at::ScalarType> type = TypeOfEntry(file, *part.entry);
  if (!type.ok()) return type.status();
  if (*type != whole.scalar_type() &&
      !(at::isFloatingType(*type) && at::isFloatingType(whole.scalar_type()))) {
    return absl::InvalidArgumentError(absl::StrCat(What(part), " is of ", part.entry->dtype,
                                                   ", and what it is joined with of another kind"));
  }
  // Outside of InferenceMode, as is what is written into.
  const c10::InferenceMode not_inference(false);
  at::Tensor to = whole;
  if (part.stacked >= 0) {
    if (part.dim > 0) {
      to = to.narrow(part.dim, part.begin, part.shape[part.dim - 1]).select(0, part.stacked);
    } else {
      to = to.select(0, part.begin + part.stacked);
    }
  } else if (part.shape != whole.sizes()) {
    to = to.narrow(part.dim, part.begin, part.shape[part.dim]);
  }
  return CopyTensor(file, *part.entry, {part.cut_dim, part.cut_begin}, to, [this](uint64_t bytes) {
    read_bytes_ += bytes;
    return progress_ ? progress_(read_bytes_, total_bytes_) : absl::OkStatus();
  });
}

std::map<std::string, uint64_t> Checkpoint::Elements() const {
  std::map<std::string, uint64_t> elements;
  for (const auto& [name, place] : places_) {
    elements[name] = static_cast<uint64_t>(c10::multiply_integers(place.shape));
  }
  return elements;
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
    absl::StatusOr<at::ScalarType> type = TypeOfEntry(*file, entry);
    if (!type.ok()) return type.status();
    absl::StatusOr<at::Tensor> tensor = MakeEmpty(entry.shape, *type);
    if (!tensor.ok()) return tensor.status();
    absl::Status status =
        CopyTensor(*file, entry, {}, *tensor, [](uint64_t) { return absl::OkStatus(); });
    if (!status.ok()) return status;
    tensors.emplace(entry.name, *std::move(tensor));
  }
  return tensors;
}

}  // namespace weft::weights
