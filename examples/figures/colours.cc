#include "examples/figures/colours.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/strings/str_format.h"

namespace weft::figures {
namespace {

struct OkLab {
  double l = 0, a = 0, b = 0;
};

double ToLinear(uint8_t channel) {
  const double x = channel / 255.0;
  return x <= 0.04045 ? x / 12.92 : std::pow((x + 0.055) / 1.055, 2.4);
}

uint8_t FromLinear(double x) {
  x = std::clamp(x, 0.0, 1.0);
  const double channel = x <= 0.0031308 ? x * 12.92 : 1.055 * std::pow(x, 1 / 2.4) - 0.055;
  return static_cast<uint8_t>(std::lround(channel * 255));
}

OkLab ToOkLab(Colour colour) {
  const double r = ToLinear(colour.red), g = ToLinear(colour.green), b = ToLinear(colour.blue);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
          1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

Colour FromOkLab(OkLab lab) {
  const double l = std::pow(lab.l + 0.3963377774 * lab.a + 0.2158037573 * lab.b, 3);
  const double m = std::pow(lab.l - 0.1055613458 * lab.a - 0.0638541728 * lab.b, 3);
  const double s = std::pow(lab.l - 0.0894841775 * lab.a - 1.2914855480 * lab.b, 3);
  return {FromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
          FromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
          FromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

/// Stops at equal distances from 0 to 1.
const std::vector<OkLab>& Stops(Scale scale) {
  static const auto* const sequential = new std::vector<OkLab>{
      {0.985, -0.010, 0.012}, {0.645, -0.085, -0.045}, {0.305, 0.000, -0.110}};
  static const auto* const diverging =
      new std::vector<OkLab>{{0.460, -0.030, -0.130}, {0.975, 0.000, 0.000}, {0.460, 0.160, 0.070}};
  return scale == Scale::kSequential ? *sequential : *diverging;
}

}  // namespace

std::string Colour::ToString() const { return absl::StrFormat("#%02x%02x%02x", red, green, blue); }

double Colour::Lightness() const { return ToOkLab(*this).l; }

Colour ColourAt(Scale scale, double where) {
  const std::vector<OkLab>& stops = Stops(scale);
  where = std::isnan(where) ? 0 : std::clamp(where, 0.0, 1.0);
  const double at = where * static_cast<double>(stops.size() - 1);
  const size_t from = std::min(static_cast<size_t>(at), stops.size() - 2);
  const double part = at - static_cast<double>(from);
  const OkLab &a = stops[from], &b = stops[from + 1];
  return FromOkLab({a.l + part * (b.l - a.l), a.a + part * (b.a - a.a), a.b + part * (b.b - a.b)});
}

Colour InkOn(Colour background) {
  return background.Lightness() > 0.66 ? Colour{0, 0, 0} : Colour{255, 255, 255};
}

}  // namespace weft::figures
