#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace weft::testing {

/// The entries of an archive, to be changed and put together again. Names are without the folder.
class EditedArchive {
 public:
  using Json = nlohmann::json;

  /// Read archives/NAME.pt2.
  explicit EditedArchive(const std::string& name);

  std::map<std::string, std::string>& entries() { return entries_; }
  /// Change the program's JSON.
  EditedArchive& Model(const std::function<void(Json& model)>& change);
  /// Change that of the weights.
  EditedArchive& Weights(const std::function<void(Json& config)>& change);
  EditedArchive& Constants(const std::function<void(Json& config)>& change);

  /// The archive; `deflated`: its entries are packed.
  std::string Bytes(bool deflated = false) const;

 private:
  EditedArchive& Change(const std::string& entry, const std::function<void(Json&)>& change);

  std::map<std::string, std::string> entries_;
};

/// A file as it is.
std::string FileBytes(const std::string& path);

/// A zip archive of entries by their whole names.
std::string ZipOf(const std::map<std::string, std::string>& entries, bool deflated);

}  // namespace weft::testing
