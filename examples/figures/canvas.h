#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/figures/colours.h"

namespace weft::figures {

/// Characters that XML cannot hold replaced, the special ones escaped.
std::string EscapeXml(const std::string& text);

/// About how wide `text` is in the canvas's font, in pixels.
double TextWidth(const std::string& text, double size);

/// The parts of an SVG document as they are drawn, on white. Pixels, from the upper left corner.
/// Not thread-safe.
class Canvas {
 public:
  enum class Anchor : uint8_t { kStart, kMiddle, kEnd };
  struct TextStyle {
    double size = 12;
    Anchor anchor = Anchor::kStart;
    bool bold = false;
    double turned = 0;  // degrees, clockwise, around its place
    Colour colour = {38, 38, 38};
  };

  /// A rectangle; `hint` is what a browser shows when the mouse is on it.
  void Rectangle(double x, double y, double width, double height, Colour fill,
                 const std::string& hint = "");
  struct Box {
    double x, y, width, height;
  };
  using Boxes = std::vector<Box>;
  /// Rectangles of one colour, in few bytes each.
  void Path(const Boxes& boxes, Colour fill);
  void Line(double x1, double y1, double x2, double y2, Colour colour);
  /// `y` is the middle of the line of text.
  void Text(double x, double y, const std::string& text, const TextStyle& style);

  /// The document, `width` by `height`; `title` is for those who have it read to them.
  std::string Document(double width, double height, const std::string& title) const;

 private:
  std::string body_;
};

}  // namespace weft::figures
