#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct zip;

namespace weft::exported {

/// A name or text out of a stranger's file, cut and escaped so that it cannot garble a message.
std::string Shown(const std::string& text);

/// A `.pt2` file: a zip archive whose entries lie in one folder. What its directory says is checked
/// when it is opened: number, names and sizes of entries, how far they unpack; it is never unpacked
/// as a whole. Errors name the file and the entry. Not thread-safe.
class Archive {
 public:
  static constexpr uint64_t kMostEntries = 100'000;
  /// Bytes that one byte of a compressed entry may unpack to: deflate reaches a thousand.
  static constexpr uint64_t kMostRatio = 200;
  /// What all entries may unpack to: so many times the file, and some more for a small one.
  /// torch.export.save packs nothing.
  static constexpr uint64_t kMostUnpacked = 16;
  static constexpr uint64_t kUnpackedBeside = uint64_t{64} << 20;

  static absl::StatusOr<Archive> Open(const std::string& path);
  /// Of a file that is in memory; `path` is what errors call it.
  static absl::StatusOr<Archive> FromBytes(const std::string& path, std::string bytes);

  const std::string& path() const { return path_; }
  /// The entries' names within their folder, in order.
  std::vector<std::string> Names() const;
  bool Has(const std::string& name) const { return entries_.count(name) > 0; }
  /// Bytes of an entry, unpacked. kInvalidArgument if there is none.
  absl::StatusOr<uint64_t> SizeOf(const std::string& name) const;
  /// A whole entry of at most `limit` bytes.
  absl::StatusOr<std::string> Read(const std::string& name, uint64_t limit) const;
  /// An entry of exactly `bytes` bytes; its checksum is checked.
  absl::Status ReadInto(const std::string& name, void* to, uint64_t bytes) const;

  /// kInvalidArgument with the file's name.
  absl::Status Refuse(const std::string& message) const;

 private:
  struct Close {
    void operator()(zip* archive) const;
  };
  struct Entry {
    uint64_t index = 0;
    uint64_t bytes = 0;
  };

  explicit Archive(std::string path) : path_(std::move(path)) {}
  /// Of a file of `file_bytes`.
  absl::Status ReadDirectory(uint64_t file_bytes);

  std::string path_;
  std::unique_ptr<const std::string> bytes_;  // outlives archive_, which reads from it
  std::unique_ptr<zip, Close> archive_;
  std::map<std::string, Entry> entries_;
};

}  // namespace weft::exported
