#include "client/local/local_edits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "engine/graph/edit_name.h"

namespace weft {

EditVersion LocalEdits::Store(const std::string& model, const std::string& name,
                              const Program& edit) {
  const std::string text = edit.text();
  absl::MutexLock lock(&mutex_);
  Versions& versions = edits_[{model, name}];
  if (!versions.empty() && versions.rbegin()->second.program.text() == text) {
    return versions.rbegin()->second.version;
  }
  const uint64_t before = std::max(versions.empty() ? 0 : versions.rbegin()->first, floor_);
  const EditVersion stored = {model, name, before + 1, text.size(), absl::Now()};
  versions.emplace(stored.version, StoredEdit{stored, edit});
  return stored;
}

EditList LocalEdits::List(const std::string& model) const {
  EditList list;
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, versions] : edits_) {
    if (!model.empty() && key.first != model) continue;
    for (const auto& [number, edit] : versions) list.edits.push_back(edit.version);
  }
  return list;
}

absl::Status LocalEdits::NotThere(const std::string& model, const std::string& name,
                                  uint64_t version) const {
  if (const auto found = edits_.find({model, name}); found != edits_.end()) {
    std::vector<uint64_t> versions;
    for (const auto& [number, edit] : found->second) versions.push_back(number);
    return absl::NotFoundError(absl::StrCat("the edit `", name, "` for the model '", model,
                                            "' has no version ", version, "; it has ",
                                            absl::StrJoin(versions, ", ")));
  }
  std::vector<std::string> names;
  for (const auto& [key, versions] : edits_) {
    if (key.first == model) names.push_back(key.second);
  }
  return absl::NotFoundError(
      absl::StrCat("there is no edit `", name, "` for the model '", model, "'; there ",
                   names.empty() ? "is none" : absl::StrCat("are ", absl::StrJoin(names, ", "))));
}

absl::StatusOr<StoredEdit> LocalEdits::Get(const std::string& model, const std::string& name,
                                           uint64_t version) const {
  absl::MutexLock lock(&mutex_);
  const auto found = edits_.find({model, name});
  if (found == edits_.end()) return NotThere(model, name, version);
  if (version == 0) return found->second.rbegin()->second;
  const auto edit = found->second.find(version);
  if (edit == found->second.end()) return NotThere(model, name, version);
  return edit->second;
}

absl::StatusOr<uint64_t> LocalEdits::Delete(const std::string& model, const std::string& name,
                                            uint64_t version) {
  absl::MutexLock lock(&mutex_);
  const auto found = edits_.find({model, name});
  if (found == edits_.end()) return NotThere(model, name, version);
  Versions& versions = found->second;
  uint64_t deleted = 1;
  if (version == 0) {
    deleted = versions.size();
    floor_ = std::max(floor_, versions.rbegin()->first);
    versions.clear();
  } else if (versions.erase(version) == 0) {
    return NotThere(model, name, version);
  } else {
    floor_ = std::max(floor_, version);
  }
  if (versions.empty()) edits_.erase(found);
  return deleted;
}

absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> LocalEdits::Apply(
    const std::string& model, const std::vector<std::string>& names, const graph::Program& program,
    const graph::ProgramLimits& limits) const {
  std::vector<graph::EditedProgram::NamedProgram> applied;
  for (const std::string& text : names) {
    absl::StatusOr<graph::EditName> name = graph::ParseEditName(text);
    if (!name.ok()) return name.status();
    absl::StatusOr<StoredEdit> edit = Get(model, name->name, name->version);
    if (!edit.ok()) return edit.status();
    applied.push_back({edit->version.ToString(), edit->program.graph()});
  }
  return graph::EditedProgram::Make(program, std::move(applied), limits);
}

}  // namespace weft
