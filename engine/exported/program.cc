#include "engine/exported/program.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/exported/program_reader.h"

namespace weft::exported {
namespace {

constexpr uint64_t kMostJsonBytes = uint64_t{64} << 20;
constexpr size_t kMostWeights = 100'000;

/// `data/weights/model_weights_config.json`, or that of constants.
absl::StatusOr<std::vector<std::pair<std::string, Payload>>> ReadPayloads(
    const Archive& archive, const std::string& folder, const std::string& entry) {
  std::vector<std::pair<std::string, Payload>> payloads;
  if (!archive.Has(entry)) return payloads;
  absl::StatusOr<std::string> text = archive.Read(entry, kMostJsonBytes);
  if (!text.ok()) return text.status();
  const std::string where = absl::StrCat(archive.path(), ": entry `", Shown(entry), "`");
  absl::StatusOr<Json> root = ParseJson(where, *text);
  if (!root.ok()) return root.status();
  JsonReader json(where);
  const Json& config = json.Object(json.Get(*root, "config"), kMostWeights);
  for (auto it = config.begin(); json.ok() && it != config.end(); ++it) {
    json.At(absl::StrCat("`", Shown(it.key()), "`"));
    const Json& about = it.value();
    if (json.Bool(json.Get(about, "use_pickle")) || json.Find(about, "tensor_meta").is_null()) {
      json.Fail(
          "it is pickled Python, which is not read; export a program whose weights are plain "
          "tensors");
      break;
    }
    Payload payload;
    payload.entry = absl::StrCat(folder, json.String(json.Get(about, "path_name")));
    const Json& meta = json.Get(about, "tensor_meta");
    const int64_t number = json.Integer(json.Get(meta, "dtype"));
    const std::optional<graph::DType> dtype = DTypeOf(number);
    if (json.ok() && !dtype) json.Fail(absl::StrCat("dtype ", number, " is not served"));
    payload.dtype = dtype.value_or(graph::DType::kF32);
    const auto integer = [&](const Json& size) { return json.Integer(json.Get(size, "as_int")); };
    for (const Json& size : json.List(json.Get(meta, "sizes"), kMostRank)) {
      payload.sizes.push_back(integer(size));
    }
    for (const Json& stride : json.List(json.Get(meta, "strides"), kMostRank)) {
      payload.strides.push_back(integer(stride));
    }
    payload.offset = integer(json.Get(meta, "storage_offset"));
    if (json.ok() && json.Integer(json.Get(meta, "layout")) != 7) {
      json.Fail("a special layout, which is not served");
    }
    payloads.emplace_back(it.key(), std::move(payload));
  }
  if (!json.ok()) return json.status();
  return payloads;
}

}  // namespace

std::string Named(const Node& node) {
  return absl::StrCat("`", node.name, "`",
                      node.source.empty() ? "" : absl::StrCat(" (", node.source, ")"));
}

const Payload* Program::FindPayload(const Input& input) const {
  for (const auto* list : {&weights, &constants}) {
    const auto found = std::lower_bound(
        list->begin(), list->end(), input.target,
        [](const auto& entry, const std::string& name) { return entry.first < name; });
    if (found != list->end() && found->first == input.target) return &found->second;
  }
  return nullptr;
}

const Range* Program::FindRange(const std::string& symbol) const {
  for (const auto& [name, range] : ranges) {
    if (name == symbol) return &range;
  }
  return nullptr;
}

absl::StatusOr<Program> ReadProgram(const Archive& archive) {
  if (archive.Has("serialized_exported_program.json")) {
    return absl::UnimplementedError(absl::StrCat(
        archive.path(), ": made by a torch before 2.8; export it again with 2.8 or later"));
  }
  std::vector<std::string> models;
  for (const std::string& name : archive.Names()) {
    if (absl::StartsWith(name, "models/") && absl::EndsWith(name, ".json")) models.push_back(name);
  }
  if (models.size() != 1) {
    return archive.Refuse(absl::StrCat(models.empty() ? "no program" : "several programs",
                                       " in `models/`; make it with torch.export.save"));
  }
  if (archive.Has("byteorder")) {
    absl::StatusOr<std::string> order = archive.Read("byteorder", 64);
    if (!order.ok()) return order.status();
    if (absl::StripAsciiWhitespace(*order) != "little") {
      return archive.Refuse("its numbers are not little-endian");
    }
  }
  absl::StatusOr<std::string> text = archive.Read(models[0], kMostJsonBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> root =
      ParseJson(absl::StrCat(archive.path(), ": entry `", Shown(models[0]), "`"), *text);
  if (!root.ok()) return root.status();
  absl::StatusOr<Program> program =
      ProgramReader(absl::StrCat(archive.path(), ": entry `", Shown(models[0]), "`")).Read(*root);
  if (!program.ok()) return program;
  const std::string name = models[0].substr(7, models[0].size() - 12);
  auto weights = ReadPayloads(archive, "data/weights/",
                              absl::StrCat("data/weights/", name, "_weights_config.json"));
  if (!weights.ok()) return weights.status();
  auto constants = ReadPayloads(archive, "data/constants/",
                                absl::StrCat("data/constants/", name, "_constants_config.json"));
  if (!constants.ok()) return constants.status();
  program->weights = *std::move(weights);
  program->constants = *std::move(constants);
  program->graph_json = *std::move(text);
  return program;
}

}  // namespace weft::exported
