#include "tests/exported/edited_archive.h"

#include <zip.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/exported/archive.h"
#include "tests/support/temp_folder.h"

namespace weft::testing {

std::string FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string ZipOf(const std::map<std::string, std::string>& entries, bool deflated) {
  const TempFolder folder;
  const std::string path = absl::StrCat(folder.path(), "/made.pt2");
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  if (archive == nullptr) std::abort();
  for (const auto& [name, bytes] : entries) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t index = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) std::abort();
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index),
                             deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 9);
  }
  if (zip_close(archive) != 0) std::abort();
  return FileBytes(path);
}

EditedArchive::EditedArchive(const std::string& name) {
  const auto archive = exported::Archive::Open(
      absl::StrCat(WEFT_SOURCE_DIR, "/tests/exported/archives/", name, ".pt2"));
  if (!archive.ok()) std::abort();
  for (const std::string& entry : archive->Names()) {
    entries_[entry] = archive->Read(entry, uint64_t{1} << 30).value();
  }
}

EditedArchive& EditedArchive::Change(const std::string& entry,
                                     const std::function<void(Json&)>& change) {
  Json json = Json::parse(entries_.at(entry));
  change(json);
  entries_[entry] = json.dump();
  return *this;
}

EditedArchive& EditedArchive::Model(const std::function<void(Json&)>& change) {
  return Change("models/model.json", change);
}
EditedArchive& EditedArchive::Weights(const std::function<void(Json&)>& change) {
  return Change("data/weights/model_weights_config.json", change);
}
EditedArchive& EditedArchive::Constants(const std::function<void(Json&)>& change) {
  return Change("data/constants/model_constants_config.json", change);
}

std::string EditedArchive::Bytes(bool deflated) const {
  std::map<std::string, std::string> named;
  for (const auto& [name, bytes] : entries_) named[absl::StrCat("m/", name)] = bytes;
  return ZipOf(named, deflated);
}

}  // namespace weft::testing
