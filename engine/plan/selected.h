#pragma once

#include <cstdint>

namespace weft::plan {

/// How many elements a mask of the meta device is taken to select: as many as it has, which is the
/// most that there can be; one more, to see what could not follow; or none.
enum class Selected : uint8_t { kAll, kOneMore, kNone };

/// While one lives, masks that RunMeta meets on this thread select so many.
class AsIfSelected {
 public:
  explicit AsIfSelected(Selected selected);
  ~AsIfSelected();
  AsIfSelected(const AsIfSelected&) = delete;
  AsIfSelected& operator=(const AsIfSelected&) = delete;

 private:
  const Selected before_;
};

}  // namespace weft::plan
