#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "examples/figures/axis.h"
#include "examples/figures/canvas.h"
#include "examples/figures/figures.h"

namespace weft::figures {
namespace {

constexpr double kPad = 16, kTick = 12, kLabel = 13, kTitle = 15, kBar = 14, kBold = 1.2,
                 kSmall = 10;
constexpr Colour kInk = {38, 38, 38}, kFrame = {150, 150, 150};
using Anchor = Canvas::Anchor;

/// The sizes of one map's parts, in pixels.
struct Layout {
  double cell_width = 0, cell_height = 0;
  double left = 0, below = 0;    // of the cells: tick labels and the axis's own
  bool turned = false;           // the columns' labels
  double width = 0, height = 0;  // of the cells together
};

double Widest(const std::vector<std::string>& texts, double size) {
  double widest = 0;
  for (const std::string& text : texts) widest = std::max(widest, TextWidth(text, size));
  return widest;
}

Layout Measure(const HeatMap& map) {
  Layout layout;
  double text = 0;
  for (const std::vector<std::string>& row : map.texts) text = std::max(text, Widest(row, kTick));
  const double columns = Widest(map.columns, kTick);
  layout.cell_width = map.cell_width > 0 ? map.cell_width : std::max(44.0, text + 12);
  layout.cell_height = map.cell_height > 0 ? map.cell_height : 30;
  if (map.cell_width == 0 && columns + 8 <= 96) {
    layout.cell_width = std::max(layout.cell_width, columns + 8);
  }
  layout.turned = columns + 4 > layout.cell_width;
  const double ticks = map.columns.empty() ? 0 : layout.turned ? columns * 0.71 + 14 : 18;
  layout.left = Widest(map.rows, kTick) + 10 + (map.y_label.empty() ? 0 : kLabel + 10);
  layout.below = ticks + (map.x_label.empty() ? 0 : kLabel + 12) + 4;
  const size_t across = map.values.empty() ? 0 : map.values[0].size();
  layout.width = layout.cell_width * static_cast<double>(across);
  layout.height = layout.cell_height * static_cast<double>(map.values.size());
  return layout;
}

Range FindEnds(const HeatMap& map, const std::vector<std::vector<double>>& values) {
  Range range = FindRange(values);
  if (map.scale == Scale::kDiverging) {
    range.high = std::max(std::abs(range.low), std::abs(range.high));
    range.low = -range.high;
  }
  return {map.low.value_or(range.low), map.high.value_or(range.high)};
}

double Part(const Range& ends, double value) {
  return ends.high == ends.low ? 0.5 : (value - ends.low) / (ends.high - ends.low);
}

std::string At(const std::vector<std::string>& texts, size_t index) {
  return index < texts.size() ? texts[index] : "";
}

/// Cells that are too small for a text or a hint: one path for each of 32 colours, of runs along
/// the rows, on a ground of the commonest colour.
void DrawSmallCells(const HeatMap& map, const Layout& layout, const Range& ends, double x0,
                    double y0, Canvas* canvas) {
  constexpr int kLevels = 32;
  const auto level_of = [&](double value) {
    if (!std::isfinite(value)) return -1;
    return static_cast<int>(std::lround(std::clamp(Part(ends, value), 0.0, 1.0) * kLevels));
  };
  std::vector<int64_t> cells(kLevels + 1);
  bool whole = true;
  for (const std::vector<double>& row : map.values) {
    for (const double value : row) {
      const int level = level_of(value);
      if (level < 0) whole = false;
      if (level >= 0) ++cells[level];
    }
  }
  const auto commonest =
      static_cast<int>(std::max_element(cells.begin(), cells.end()) - cells.begin());
  const auto colour = [&](int level) { return ColourAt(map.scale, level * 1.0 / kLevels); };
  if (whole) canvas->Rectangle(x0, y0, layout.width, layout.height, colour(commonest));
  std::vector<Canvas::Boxes> boxes(kLevels + 1);
  for (size_t row = 0; row < map.values.size(); ++row) {
    const std::vector<double>& values = map.values[row];
    for (size_t from = 0, to = 0; from < values.size(); from = to) {
      const int level = level_of(values[from]);
      for (to = from + 1; to < values.size() && level_of(values[to]) == level;) ++to;
      if (level < 0 || (whole && level == commonest)) continue;
      boxes[level].push_back({x0 + layout.cell_width * static_cast<double>(from),
                              y0 + layout.cell_height * static_cast<double>(row),
                              layout.cell_width * static_cast<double>(to - from),
                              layout.cell_height});
    }
  }
  for (int level = 0; level <= kLevels; ++level) canvas->Path(boxes[level], colour(level));
}

void DrawLargeCells(const HeatMap& map, const Layout& layout, const Range& ends, double x0,
                    double y0, Canvas* canvas) {
  for (size_t row = 0; row < map.values.size(); ++row) {
    const double y = y0 + layout.cell_height * static_cast<double>(row);
    for (size_t column = 0; column < map.values[row].size(); ++column) {
      const double value = map.values[row][column];
      if (!std::isfinite(value)) continue;
      const double x = x0 + layout.cell_width * static_cast<double>(column);
      const Colour colour = ColourAt(map.scale, Part(ends, value));
      const std::string text = row < map.texts.size() ? At(map.texts[row], column) : "";
      canvas->Rectangle(
          x, y, layout.cell_width, layout.cell_height, colour,
          absl::StrCat(At(map.rows, row), ", ", At(map.columns, column), ": ", NumberText(value)));
      if (!text.empty()) {
        canvas->Text(x + layout.cell_width / 2, y + layout.cell_height / 2, text,
                     {.size = kTick, .anchor = Anchor::kMiddle, .colour = InkOn(colour)});
      }
    }
  }
}

void DrawCells(const HeatMap& map, const Layout& layout, const Range& ends, double x0, double y0,
               Canvas* canvas) {
  if (layout.cell_width < kSmall) {
    DrawSmallCells(map, layout, ends, x0, y0, canvas);
  } else {
    DrawLargeCells(map, layout, ends, x0, y0, canvas);
  }
  const double right = x0 + layout.width, bottom = y0 + layout.height;
  canvas->Line(x0, y0, right, y0, kFrame);
  canvas->Line(x0, bottom, right, bottom, kFrame);
  canvas->Line(x0, y0, x0, bottom, kFrame);
  canvas->Line(right, y0, right, bottom, kFrame);
}

void DrawAxes(const HeatMap& map, const Layout& layout, double x0, double y0, Canvas* canvas) {
  const double bottom = y0 + layout.height;
  for (size_t i = 0; i < map.rows.size(); ++i) {
    canvas->Text(x0 - 7, y0 + layout.cell_height * (static_cast<double>(i) + 0.5), map.rows[i],
                 {.size = kTick, .anchor = Anchor::kEnd});
  }
  for (size_t i = 0; i < map.columns.size(); ++i) {
    const double x = x0 + layout.cell_width * (static_cast<double>(i) + 0.5);
    canvas->Text(x + (layout.turned ? 3 : 0), bottom + 12, map.columns[i],
                 {.size = kTick,
                  .anchor = layout.turned ? Anchor::kEnd : Anchor::kMiddle,
                  .turned = layout.turned ? -45.0 : 0.0});
  }
  if (!map.x_label.empty()) {
    canvas->Text(x0 + layout.width / 2, bottom + layout.below - kLabel / 2 - 2, map.x_label,
                 {.size = kLabel, .anchor = Anchor::kMiddle});
  }
  if (!map.y_label.empty()) {
    canvas->Text(x0 - layout.left + kLabel / 2, y0 + layout.height / 2, map.y_label,
                 {.size = kLabel, .anchor = Anchor::kMiddle, .turned = -90});
  }
}

/// The bar of colours, with its ticks; returns how wide all of it is.
double DrawBar(Scale scale, const Range& ends, const std::string& label, double x, double y,
               double height, Canvas* canvas) {
  constexpr int kSteps = 64;
  for (int i = 0; i < kSteps; ++i) {
    const double part = height / kSteps;
    // Overlapping a little, so that no line of the ground shows between two steps.
    canvas->Rectangle(x, y + part * i, kBar, std::min(part + 0.5, height - part * i),
                      ColourAt(scale, 1 - (i + 0.5) / kSteps));
  }
  double widest = 0;
  for (const double tick : Ticks(ends.low, ends.high, 4)) {
    const double at = y + height * (1 - Part(ends, tick));
    canvas->Line(x + kBar, at, x + kBar + 4, at, kInk);
    canvas->Text(x + kBar + 7, at, NumberText(tick), {.size = kTick});
    widest = std::max(widest, TextWidth(NumberText(tick), kTick));
  }
  const double width = kBar + 7 + widest;
  if (label.empty()) return width;
  canvas->Text(x + width + 6 + kLabel / 2, y + height / 2, label,
               {.size = kLabel, .anchor = Anchor::kMiddle, .turned = 90});
  return width + kLabel + 10;
}

}  // namespace

std::string ToSvg(const HeatMap& map) {
  Canvas canvas;
  const Layout layout = Measure(map);
  const Range ends = FindEnds(map, map.values);
  const double x0 = kPad + layout.left, y0 = kPad + (map.title.empty() ? 0 : kTitle + 12);
  canvas.Text(kPad, kPad + kTitle / 2, map.title, {.size = kTitle, .bold = true});
  DrawCells(map, layout, ends, x0, y0, &canvas);
  DrawAxes(map, layout, x0, y0, &canvas);
  const double bar = DrawBar(map.scale, ends, map.value_label, x0 + layout.width + 16, y0,
                             std::max(layout.height, TextWidth(map.value_label, kLabel)), &canvas);
  const double width =
      std::max(x0 + layout.width + 16 + bar, kPad + TextWidth(map.title, kTitle) * kBold) + kPad;
  const double below = std::max(layout.height + layout.below, TextWidth(map.value_label, kLabel));
  return canvas.Document(width, y0 + below + kPad / 2, map.title);
}

std::string ToSvg(const Panels& panels) {
  Canvas canvas;
  canvas.Text(kPad, kPad + kTitle / 2, panels.title, {.size = kTitle, .bold = true});
  if (panels.maps.empty()) return canvas.Document(200, 2 * kPad + kTitle, panels.title);
  const HeatMap& first = panels.maps[0];
  std::vector<std::vector<double>> all;
  for (const HeatMap& map : panels.maps) {
    all.insert(all.end(), map.values.begin(), map.values.end());
  }
  const Range ends = FindEnds(first, all);
  const Layout layout = Measure(first);
  const size_t across = std::max<size_t>(1, std::min(panels.across, panels.maps.size()));
  const size_t down = (panels.maps.size() + across - 1) / across;
  const double step_x = layout.width + 18, step_y = layout.height + kLabel + 20;
  const double x0 = kPad + layout.left, y0 = kPad + kTitle + 12 + kLabel + 8;
  for (size_t i = 0; i < panels.maps.size(); ++i) {
    const size_t column = i % across, row = i / across;
    const double x = x0 + step_x * static_cast<double>(column);
    const double y = y0 + step_y * static_cast<double>(row);
    canvas.Text(x + layout.width / 2, y - 10, panels.maps[i].title,
                {.size = kLabel, .anchor = Anchor::kMiddle});
    DrawCells(panels.maps[i], layout, ends, x, y, &canvas);
    HeatMap axes = first;
    if (column > 0) axes.rows.clear(), axes.y_label.clear();
    if (i + across < panels.maps.size()) axes.columns.clear(), axes.x_label.clear();
    DrawAxes(axes, layout, x, y, &canvas);
  }
  const double right = x0 + step_x * static_cast<double>(across);
  const double bar =
      DrawBar(first.scale, ends, first.value_label, right, y0,
              std::max(layout.height, TextWidth(first.value_label, kLabel)), &canvas);
  const double width = std::max(right + bar, kPad + TextWidth(panels.title, kTitle) * kBold) + kPad;
  return canvas.Document(
      width, y0 + step_y * static_cast<double>(down - 1) + layout.height + layout.below + kPad / 2,
      panels.title);
}

}  // namespace weft::figures
