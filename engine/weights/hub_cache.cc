#include "engine/weights/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace weft::weights {
namespace {

namespace fs = std::filesystem;

constexpr char kModels[] = "models--";

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool IsFolder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// A part of an id or of a revision: it names one file, and none outside its folder.
bool IsPlain(absl::string_view part) {
  return !part.empty() && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

bool IsPlainPath(absl::string_view path) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  return std::all_of(parts.begin(), parts.end(), IsPlain);
}

/// The names in a folder, sorted, without those of which there are too many to say.
std::vector<std::string> Names(const fs::path& folder, const std::string& prefix = "") {
  constexpr size_t kMost = 1000;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (absl::StartsWith(name, prefix)) names.push_back(name.substr(prefix.size()));
    if (names.size() == kMost) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string Listed(std::vector<std::string> names) {
  constexpr size_t kShown = 20;
  if (names.empty()) return "nothing";
  std::string rest;
  if (names.size() > kShown) {
    rest = absl::StrCat(" and ", names.size() - kShown, " more");
    names.resize(kShown);
  }
  return absl::StrCat(absl::StrJoin(names, ", "), rest);
}

/// The commit that a file under refs/ holds; empty if there is none.
std::string ReadReference(const fs::path& path) {
  std::ifstream file(path);
  std::string commit(128, '\0');
  file.read(commit.data(), static_cast<std::streamsize>(commit.size()));
  commit.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  absl::StripAsciiWhitespace(&commit);
  return IsPlain(commit) ? commit : "";
}

absl::StatusOr<std::string> FindDownloaded(const std::string& id, const std::string& revision) {
  const fs::path cache = HubCacheFolder();
  const fs::path model = cache / absl::StrCat(kModels, absl::StrReplaceAll(id, {{"/", "--"}}));
  const std::string download = absl::StrCat(
      "`hf download ", id, revision == "main" ? "" : absl::StrCat(" --revision ", revision),
      "` fetches it");
  if (!IsFolder(model)) {
    std::vector<std::string> models = Names(cache, kModels);
    for (std::string& name : models) name = absl::StrReplaceAll(name, {{"--", "/"}});
    return absl::NotFoundError(absl::StrCat("there is no folder '", id, "', and the Hub's cache ",
                                            cache.string(), " has no model of that id: it has ",
                                            Listed(std::move(models)), "; ", download));
  }
  std::string commit = ReadReference(model / "refs" / revision);
  if (commit.empty() && IsPlain(revision)) commit = revision;
  if (!commit.empty() && IsFolder(model / "snapshots" / commit)) {
    return (model / "snapshots" / commit).string();
  }
  return absl::NotFoundError(absl::StrCat(model.string(), " has no snapshot of the revision `",
                                          revision, "`: under refs there is ",
                                          Listed(Names(model / "refs")), ", under snapshots ",
                                          Listed(Names(model / "snapshots")), "; ", download));
}

}  // namespace

std::string HubCacheFolder() {
  if (std::string cache = Variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (std::string home = Variable("HF_HOME"); !home.empty()) return absl::StrCat(home, "/hub");
  if (std::string xdg = Variable("XDG_CACHE_HOME"); !xdg.empty()) {
    return absl::StrCat(xdg, "/huggingface/hub");
  }
  return absl::StrCat(Variable("HOME"), "/.cache/huggingface/hub");
}

absl::StatusOr<std::string> FindModelFolder(const std::string& folder_or_id) {
  if (IsFolder(folder_or_id)) return folder_or_id;
  const size_t at = folder_or_id.find('@');
  const std::string id = folder_or_id.substr(0, at);
  const std::string revision = at == std::string::npos ? "main" : folder_or_id.substr(at + 1);
  if (!IsPlainPath(id) || std::count(id.begin(), id.end(), '/') > 1 || !IsPlainPath(revision)) {
    return absl::NotFoundError(absl::StrCat(
        "there is no folder '", folder_or_id,
        "'; a model is given as the folder with its config.json, *.safetensors and "
        "tokenizer.json, or by the id `org/name` of one in the Hub's cache on this machine"));
  }
  return FindDownloaded(id, revision);
}

}  // namespace weft::weights
