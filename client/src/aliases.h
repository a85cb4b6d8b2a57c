#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/src/module_tree.h"
#include "weft/model_options.h"

namespace weft::internal {

/// Other names of a model's modules: those that a user gave (`rename`), and the standard ones that
/// every family has (`layers`, `attention`...), which stand back where a real or a user's name is
/// taken. Programs are sent with the model's own names. Const once made.
class Aliases {
 public:
  /// kInvalidArgument for a name that is taken, that two modules claim, or that says nothing.
  static absl::StatusOr<Aliases> Make(const ModuleTree& tree,
                                      const absl::flat_hash_set<std::string>& parameters,
                                      const Rename& rename);

  /// The model's own path of `path`, which is written as seen from `base`. What does not resolve is
  /// appended as it is: its use says what there is instead. `$` is a component that a sweep fills
  /// in.
  std::string Resolve(const ModuleTree& tree, const std::string& base,
                      const std::string& path) const;

  /// A user's names for the module `path` on its parent.
  std::vector<std::string> NamesOf(const std::string& path) const;
  /// A user's names on `parent` for modules further below: name and path.
  std::vector<std::pair<std::string, std::string>> MountsOn(const std::string& parent) const;
  /// Every user's name as a whole path.
  std::vector<std::string> Paths() const;

 private:
  /// By parent and name.
  using Table = absl::flat_hash_map<std::pair<std::string, std::string>, std::string>;

  class Maker;
  const std::string* Find(const std::string& parent, const std::string& name) const;

  Table given_, standard_;
  std::vector<std::pair<std::string, std::string>> order_;  // of given_
};

}  // namespace weft::internal
