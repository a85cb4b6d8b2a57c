#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "weft/attached_module.h"

namespace weft::internal {

/// An attached module, or a part of one. Each belongs to one place: composing and attaching copy
/// it, so that its address says which values it had.
struct AttachedPart : std::enable_shared_from_this<AttachedPart> {
  std::string type, detail;
  std::vector<std::pair<std::string, std::shared_ptr<const AttachedPart>>> parts;
  AttachedModule::Body body;

  /// nullptr if there is no part of this name.
  std::shared_ptr<const AttachedPart> Find(const std::string& name) const;
  /// A copy whose parts are copies.
  static std::shared_ptr<const AttachedPart> Copy(const AttachedPart& part);
};

}  // namespace weft::internal
