#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config/config.pb.h"

// What the command line, the file and the checks of a configuration have in common.

namespace weft::server {

/// `--max-runs` for the field max_runs.
std::string FlagOf(const google::protobuf::FieldDescriptor& field);

/// The default as the command line would have it; empty for none, and for bools.
std::string DefaultOf(const google::protobuf::FieldDescriptor& field);

/// Give `field` the value that the command line writes as `text`; add it where there are several.
/// kInvalidArgument saying what is wrong with it.
absl::Status SetField(const google::protobuf::FieldDescriptor& field, const std::string& text,
                      Config* config);

/// The number of `text`, such as 512, 64MiB or 4GiB.
absl::StatusOr<uint64_t> ParseBytes(const std::string& text);

/// Everything that is wrong with a configuration or worth a warning, in the order in which it was
/// found, each with the place where it was written. Not thread-safe.
class Problems {
 public:
  /// From now on `field`, or an item of it, is said to be at `place`: `weftd.textproto:12`.
  void SetPlace(const google::protobuf::FieldDescriptor& field, int index,
                const std::string& place) {
    places_[{&field, index}] = place;
  }

  /// Item `from` of a repeated field has become item `to`.
  void MovePlace(const google::protobuf::FieldDescriptor& field, int from, int to);

  /// Something wrong with a field; with item `index` of a repeated one.
  void Add(const google::protobuf::FieldDescriptor& field, const std::string& what, int index = -1);
  /// The same of the field of that name, which must exist.
  void Add(const std::string& field, const std::string& what, int index = -1);
  void AddLine(std::string line) { lines_.push_back(std::move(line)); }
  /// Worth saying, but no reason to refuse.
  void Warn(const std::string& field, const std::string& what);

  const std::vector<std::string>& lines() const { return lines_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  std::string Placed(const google::protobuf::FieldDescriptor& field, int index,
                     const std::string& what) const;

  std::map<std::pair<const google::protobuf::FieldDescriptor*, int>, std::string> places_;
  std::vector<std::string> lines_;
  std::vector<std::string> warnings_;
};

/// Read `path` into `config`: what can be read of it, and problems with the rest.
void ReadConfigFile(const std::string& path, Config* config, Problems* problems);

/// Look at every value, and at the folders and files that they name.
void CheckConfig(const Config& config, Problems* problems);

}  // namespace weft::server
