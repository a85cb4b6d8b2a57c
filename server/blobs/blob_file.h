#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace weft::blobs {

/// Make a folder for its owner alone, where there is none.
absl::Status MakePrivateFolder(const std::string& path);
/// Have the disk confirm the names in a folder.
absl::Status SyncFolder(const std::string& path);

/// A file that is being written. It is locked as long as this lives, and removed at the end unless
/// it was moved to its place, so that a file that nobody locks is one that a crash left. Not
/// thread-safe.
class NewFile {
 public:
  /// Of mode 0600, in `folder`, under a name that no other has.
  static absl::StatusOr<std::unique_ptr<NewFile>> Make(const std::string& folder);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// kResourceExhausted where the disk is full.
  absl::Status Write(const char* data, size_t size);
  /// Have the disk confirm what was written.
  absl::Status Sync();
  /// Take the place of whatever is at `path`.
  absl::Status MoveTo(const std::string& path);

 private:
  NewFile(int file, std::string path) : file_(file), path_(std::move(path)) {}
  const int file_;
  std::string path_;  // empty once it was moved
};

/// Remove the files in `folder` that nobody is writing.
absl::Status RemoveLeftovers(const std::string& folder);

/// The bytes of a file in memory, as long as this lives and whatever becomes of the file's name.
/// Thread-safe.
class MappedFile {
 public:
  /// kNotFound if there is no such file, or one of another size.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Map(const std::string& path,
                                                               uint64_t bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// Have all of it read from the disk, here and not where it is used first. kDataLoss if that
  /// fails.
  absl::Status Load() const;

 private:
  MappedFile(const char* data, size_t bytes) : data_(data), bytes_(bytes) {}
  const char* const data_;
  const size_t bytes_;
};

}  // namespace weft::blobs
