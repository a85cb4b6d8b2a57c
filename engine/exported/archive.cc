#include "engine/exported/archive.h"

#include <zip.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace weft::exported {
namespace {

constexpr size_t kLongestName = 1024;

std::string ErrorText(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

std::string Shown(const std::string& text) {
  constexpr size_t kMost = 160;
  return absl::StrCat(absl::CHexEscape(text.substr(0, kMost)), text.size() > kMost ? "..." : "");
}

void Archive::Close::operator()(zip* archive) const { zip_discard(archive); }

absl::Status Archive::Refuse(const std::string& message) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", message));
}

absl::StatusOr<Archive> Archive::Open(const std::string& path) {
  Archive made(path);
  int code = 0;
  made.archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (made.archive_ == nullptr) {
    if (code == ZIP_ER_NOENT || code == ZIP_ER_OPEN) {
      return absl::NotFoundError(absl::StrCat(path, ": ", ErrorText(code)));
    }
    return made.Refuse(absl::StrCat("not a whole zip archive (", ErrorText(code),
                                    "); make it with torch.export.save"));
  }
  std::error_code error;
  const uint64_t file_bytes = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
  if (absl::Status status = made.ReadDirectory(file_bytes); !status.ok()) return status;
  return made;
}

absl::StatusOr<Archive> Archive::FromBytes(const std::string& path, std::string bytes) {
  Archive made(path);
  made.bytes_ = std::make_unique<const std::string>(std::move(bytes));
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source =
      zip_source_buffer_create(made.bytes_->data(), made.bytes_->size(), 0, &error);
  if (source != nullptr) {
    made.archive_.reset(zip_open_from_source(source, ZIP_RDONLY, &error));
    if (made.archive_ == nullptr) zip_source_free(source);
  }
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  if (made.archive_ == nullptr) {
    return made.Refuse(
        absl::StrCat("not a whole zip archive (", text, "); make it with torch.export.save"));
  }
  if (absl::Status status = made.ReadDirectory(made.bytes_->size()); !status.ok()) return status;
  return made;
}

absl::Status Archive::ReadDirectory(uint64_t file_bytes) {
  const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
  if (count <= 0) return Refuse("an archive without entries");
  if (static_cast<uint64_t>(count) > kMostEntries) {
    return Refuse(absl::StrCat(count, " entries; at most ", kMostEntries, " are read"));
  }
  std::string folder;
  uint64_t all = 0, unpacked = 0;
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t about;
    zip_stat_init(&about);
    if (zip_stat_index(archive_.get(), i, 0, &about) != 0) {
      return Refuse(absl::StrCat("entry ", i, ": ", zip_strerror(archive_.get())));
    }
    constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                     ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((about.valid & kNeeded) != kNeeded) {
      return Refuse(absl::StrCat("entry ", i, " has no name or no size"));
    }
    const std::string name = about.name;
    const std::string shown = absl::StrCat("entry `", Shown(name), "`");
    if (name.size() > kLongestName) return Refuse(absl::StrCat(shown, ": its name is too long"));
    if (about.encryption_method != ZIP_EM_NONE) {
      return Refuse(absl::StrCat(shown, " is encrypted"));
    }
    if (about.comp_method != ZIP_CM_STORE && about.comp_method != ZIP_CM_DEFLATE) {
      return Refuse(absl::StrCat(shown, " is packed by method ", about.comp_method,
                                 "; stored and deflated entries are read"));
    }
    const bool stored = about.comp_method == ZIP_CM_STORE;
    if (stored ? about.size != about.comp_size : about.size / kMostRatio > about.comp_size) {
      return Refuse(absl::StrCat(shown, " says that its ", about.comp_size, " bytes unpack to ",
                                 about.size, "; at most ", kMostRatio, " times as many are read"));
    }
    // Entries that lie in each other's bytes could be more than there is.
    if (about.comp_size > file_bytes - all) {
      return Refuse(absl::StrCat(shown, ": the entries up to here have more bytes than the file"));
    }
    all += about.comp_size;
    // Below 2^63: an entry is at most kMostRatio times its bytes, of which there are fewer than
    // the file has.
    unpacked += about.size;
    if (unpacked > kMostUnpacked * file_bytes + kUnpackedBeside) {
      return Refuse(absl::StrCat(shown, ": the entries up to here unpack to ", unpacked,
                                 " bytes, and the file has ", file_bytes));
    }
    const size_t slash = name.find('/');
    if (slash == std::string::npos || (i > 0 && name.substr(0, slash) != folder)) {
      return Refuse(absl::StrCat(shown, " is not in the archive's one folder; make the file with ",
                                 "torch.export.save"));
    }
    folder = name.substr(0, slash);
    const Entry entry{static_cast<uint64_t>(i), about.size};
    if (!entries_.emplace(name.substr(slash + 1), entry).second) {
      return Refuse(absl::StrCat(shown, " is there twice"));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> Archive::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

absl::StatusOr<uint64_t> Archive::SizeOf(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return Refuse(absl::StrCat("no entry `", Shown(name), "`"));
  return found->second.bytes;
}

absl::StatusOr<std::string> Archive::Read(const std::string& name, uint64_t limit) const {
  absl::StatusOr<uint64_t> bytes = SizeOf(name);
  if (!bytes.ok()) return bytes.status();
  if (*bytes > limit) {
    return Refuse(absl::StrCat("entry `", Shown(name), "` has ", *bytes, " bytes; at most ", limit,
                               " are read"));
  }
  std::string text(*bytes, '\0');
  if (absl::Status status = ReadInto(name, text.data(), *bytes); !status.ok()) return status;
  return text;
}

absl::Status Archive::ReadInto(const std::string& name, void* to, uint64_t bytes) const {
  absl::StatusOr<uint64_t> size = SizeOf(name);
  if (!size.ok()) return size.status();
  const std::string shown = absl::StrCat("entry `", Shown(name), "`");
  if (*size != bytes) {
    return Refuse(absl::StrCat(shown, " has ", *size, " bytes where ", bytes, " are needed"));
  }
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
      zip_fopen_index(archive_.get(), entries_.at(name).index, 0), zip_fclose);
  if (file == nullptr) return Refuse(absl::StrCat(shown, ": ", zip_strerror(archive_.get())));
  char* next = static_cast<char*>(to);
  for (uint64_t left = bytes; left > 0;) {
    const zip_int64_t got = zip_fread(file.get(), next, left);
    if (got <= 0) {
      return Refuse(
          absl::StrCat(shown, " ends early or is damaged: ", zip_file_strerror(file.get())));
    }
    next += got;
    left -= static_cast<uint64_t>(got);
  }
  // Its end is where the checksum is compared.
  char beyond = 0;
  if (zip_fread(file.get(), &beyond, 1) != 0) {
    return Refuse(absl::StrCat(
        shown, " is damaged, or longer than it says: ", zip_file_strerror(file.get())));
  }
  return absl::OkStatus();
}

}  // namespace weft::exported
