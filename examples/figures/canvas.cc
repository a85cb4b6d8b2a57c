#include "examples/figures/canvas.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weft::figures {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

/// The length of the UTF-8 sequence at `at`, and its code point; 0 where there is none.
size_t Decode(const std::string& text, size_t at, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  const size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : 4;
  if (length == 4 && first >> 3 != 30) return 0;
  if (at + length > text.size()) return 0;
  *point = length == 1 ? first : first & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if (byte(at + i) >> 6 != 2) return 0;
    *point = *point << 6 | (byte(at + i) & 0x3F);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  return *point < kLeast[length] ? 0 : length;
}

bool IsXml(uint32_t point) {
  if (point < 0x20) return point == '\t' || point == '\n' || point == '\r';
  return point <= 0xD7FF || (point >= 0xE000 && point <= 0xFFFD) ||
         (point >= 0x10000 && point <= 0x10FFFF);
}

const char* Name(Canvas::Anchor anchor) {
  switch (anchor) {
    case Canvas::Anchor::kStart:
      return "start";
    case Canvas::Anchor::kMiddle:
      return "middle";
    case Canvas::Anchor::kEnd:
      return "end";
  }
  return "start";
}

/// Pixels to a tenth, without a needless `.0`.
std::string Px(double x) {
  std::string text = absl::StrFormat("%.1f", x);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

}  // namespace

std::string EscapeXml(const std::string& text) {
  std::string escaped;
  for (size_t at = 0; at < text.size();) {
    uint32_t point = 0;
    const size_t length = Decode(text, at, &point);
    if (length == 0 || !IsXml(point)) {
      escaped += kReplacement;
    } else if (point == '<') {
      escaped += "&lt;";
    } else if (point == '>') {
      escaped += "&gt;";
    } else if (point == '&') {
      escaped += "&amp;";
    } else if (point == '"') {
      escaped += "&quot;";
    } else {
      escaped.append(text, at, length);
    }
    at += std::max<size_t>(length, 1);
  }
  return escaped;
}

double TextWidth(const std::string& text, double size) {
  double width = 0;
  for (const char c : text) {
    if ((static_cast<uint8_t>(c) & 0xC0) == 0x80) continue;  // goes on a character
    width += std::string("iljtfr.,:;'|![]() ").find(c) != std::string::npos ? 0.34
             : c == 'm' || c == 'w' || (c >= 'A' && c <= 'Z')               ? 0.72
                                                                            : 0.57;
  }
  return width * size;
}

void Canvas::Rectangle(double x, double y, double width, double height, Colour fill,
                       const std::string& hint) {
  absl::StrAppend(&body_, "<rect x=\"", Px(x), "\" y=\"", Px(y), "\" width=\"", Px(width),
                  "\" height=\"", Px(height), "\" fill=\"", fill.ToString(), "\"");
  if (hint.empty()) {
    body_ += "/>\n";
  } else {
    absl::StrAppend(&body_, "><title>", EscapeXml(hint), "</title></rect>\n");
  }
}

void Canvas::Path(const Boxes& boxes, Colour fill) {
  if (boxes.empty()) return;
  body_ += "<path d=\"";
  for (const Box& box : boxes) {
    absl::StrAppend(&body_, "M", Px(box.x), " ", Px(box.y), "h", Px(box.width), "v", Px(box.height),
                    "h-", Px(box.width), "z");
  }
  absl::StrAppend(&body_, "\" fill=\"", fill.ToString(), "\"/>\n");
}

void Canvas::Line(double x1, double y1, double x2, double y2, Colour colour) {
  absl::StrAppend(&body_, "<line x1=\"", Px(x1), "\" y1=\"", Px(y1), "\" x2=\"", Px(x2), "\" y2=\"",
                  Px(y2), "\" stroke=\"", colour.ToString(), "\"/>\n");
}

void Canvas::Text(double x, double y, const std::string& text, const TextStyle& style) {
  // Not dominant-baseline, which some viewers pass over: about a third of its height below.
  const double down = style.turned == 0 ? style.size * 0.35 : 0;
  absl::StrAppend(&body_, "<text x=\"", Px(x), "\" y=\"", Px(y + down), "\" font-size=\"",
                  Px(style.size), "\" fill=\"", style.colour.ToString(), "\"");
  if (style.anchor != Anchor::kStart) {
    absl::StrAppend(&body_, " text-anchor=\"", Name(style.anchor), "\"");
  }
  if (style.bold) body_ += " font-weight=\"bold\"";
  if (style.turned != 0) {
    absl::StrAppend(&body_, " transform=\"rotate(", Px(style.turned), " ", Px(x), " ", Px(y),
                    ")\" dy=\"0.35em\"");
  }
  absl::StrAppend(&body_, ">", EscapeXml(text), "</text>\n");
}

std::string Canvas::Document(double width, double height, const std::string& title) const {
  return absl::StrCat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", Px(width), "\" height=\"", Px(height),
      "\" viewBox=\"0 0 ", Px(width), " ", Px(height),
      "\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" role=\"img\">\n", "<title>",
      EscapeXml(title), "</title>\n", "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      body_, "</svg>\n");
}

}  // namespace weft::figures
