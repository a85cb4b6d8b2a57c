#pragma once

#include <cstdint>
#include <string>

namespace weft::figures {

struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
  /// `#1b9e77`.
  std::string ToString() const;
  /// How light it looks, from 0 (black) to 1: the L of OKLab.
  double Lightness() const;
};

/// Which colours stand for numbers. Between its stops a scale is interpolated in OKLab, where equal
/// steps look equally far apart (https://bottosson.github.io/posts/oklab).
enum class Scale : uint8_t {
  kSequential,  // from none to much: near white, teal, dark blue
  kDiverging,   // around zero: blue, near white, red
};

/// The colour at `where`, from 0 to 1; what lies outside, and NaN, is taken to the nearer end (0).
Colour ColourAt(Scale scale, double where);

/// Black or white, whichever is easier to read on `background`.
Colour InkOn(Colour background);

}  // namespace weft::figures
