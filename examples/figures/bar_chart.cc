#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "examples/figures/axis.h"
#include "examples/figures/canvas.h"
#include "examples/figures/figures.h"

namespace weft::figures {
namespace {

constexpr double kPad = 16, kTick = 12, kLabel = 13, kTitle = 15, kHeight = 240;
constexpr Colour kInk = {38, 38, 38}, kGrid = {225, 225, 225};
/// Okabe and Ito's, which people with any colour vision can tell apart.
constexpr std::array<Colour, 4> kColours = {
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}}};
using Anchor = Canvas::Anchor;

Range FindEnds(const BarChart& chart) {
  std::vector<std::vector<double>> values = {{0}};
  for (const BarChart::Series& series : chart.series) values.push_back(series.values);
  Range range = FindRange(values);
  const double room = (range.high - range.low) * 0.05;
  if (range.high > 0) range.high += room;
  if (range.low < 0) range.low -= room;
  return {chart.low.value_or(range.low), chart.high.value_or(range.high)};
}

double DrawLegend(const BarChart& chart, double x, double y, Canvas* canvas) {
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const std::string& name = chart.series[i].name;
    canvas->Rectangle(x, y - 6, 12, 12, kColours[i % kColours.size()]);
    canvas->Text(x + 18, y, name, {.size = kTick});
    x += 18 + TextWidth(name, kTick) + 20;
  }
  return x;
}

}  // namespace

std::string ToSvg(const BarChart& chart) {
  Canvas canvas;
  const Range ends = FindEnds(chart);
  const auto series = static_cast<double>(std::max<size_t>(1, chart.series.size()));
  const bool legend = chart.series.size() > 1;
  double widest = 0;
  for (const std::string& label : chart.labels) {
    widest = std::max(widest, TextWidth(label, kTick));
  }
  const double slot = std::max({22 * series + 14, std::min(widest + 10, 90.0), 34.0});
  const bool turned = widest + 6 > slot;
  const double bar = std::min(46.0, (slot - 12) / series);
  const double x0 = kPad + kLabel + 10 + 44,
               width = slot * static_cast<double>(chart.labels.size());
  const double y0 = kPad + kTitle + 14 + (legend ? 24 : 0), bottom = y0 + kHeight;
  const auto y_of = [&](double value) {
    const double part = (value - ends.low) / std::max(ends.high - ends.low, 1e-300);
    return bottom - kHeight * std::clamp(part, 0.0, 1.0);
  };

  canvas.Text(kPad, kPad + kTitle / 2, chart.title, {.size = kTitle, .bold = true});
  double right = x0 + width;
  if (legend) right = std::max(right, DrawLegend(chart, x0, y0 - 18, &canvas));
  for (const double tick : Ticks(ends.low, ends.high, 5)) {
    canvas.Line(x0, y_of(tick), x0 + width, y_of(tick), kGrid);
    canvas.Text(x0 - 7, y_of(tick), NumberText(tick), {.size = kTick, .anchor = Anchor::kEnd});
  }
  for (size_t i = 0; i < chart.labels.size(); ++i) {
    const double middle = x0 + slot * (static_cast<double>(i) + 0.5);
    for (size_t s = 0; s < chart.series.size(); ++s) {
      if (i >= chart.series[s].values.size()) continue;
      const double value = chart.series[s].values[i];
      if (!std::isfinite(value)) continue;
      const double top = std::min(y_of(value), y_of(0)), end = std::max(y_of(value), y_of(0));
      canvas.Rectangle(middle + bar * (static_cast<double>(s) - series / 2), top, bar - 1,
                       end - top, kColours[s % kColours.size()],
                       absl::StrCat(chart.labels[i], ": ", NumberText(value)));
    }
    canvas.Text(middle + (turned ? 3 : 0), bottom + 13, chart.labels[i],
                {.size = kTick,
                 .anchor = turned ? Anchor::kEnd : Anchor::kMiddle,
                 .turned = turned ? -45.0 : 0.0});
  }
  canvas.Line(x0, y_of(0), x0 + width, y_of(0), kInk);
  const double below =
      (turned ? widest * 0.71 + 16 : 20) + (chart.x_label.empty() ? 0 : kLabel + 12);
  if (!chart.x_label.empty()) {
    canvas.Text(x0 + width / 2, bottom + below - kLabel / 2, chart.x_label,
                {.size = kLabel, .anchor = Anchor::kMiddle});
  }
  canvas.Text(kPad + kLabel / 2, y0 + kHeight / 2, chart.y_label,
              {.size = kLabel, .anchor = Anchor::kMiddle, .turned = -90});
  right = std::max(right, kPad + TextWidth(chart.title, kTitle) * 1.2);
  return canvas.Document(right + kPad, bottom + below + kPad / 2, chart.title);
}

}  // namespace weft::figures
