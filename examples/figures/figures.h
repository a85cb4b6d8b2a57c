#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/figures/colours.h"

// Pictures of numbers as SVG, which browsers show and git compares. Texts may hold anything: they
// are escaped, and what XML cannot hold is replaced.

namespace weft::figures {

/// Numbers in rows and columns, each as the colour of its cell, with a bar that says which colour
/// stands for what.
struct HeatMap {
  std::string title;
  std::string x_label, y_label;
  std::string value_label;  // what the numbers are, beside the bar
  std::vector<std::string> columns, rows;
  std::vector<std::vector<double>> values;      // [rows][columns]
  std::vector<std::vector<std::string>> texts;  // inside the cells; may be empty
  Scale scale = Scale::kSequential;
  /// The numbers at the ends of the colours. What is left out is taken from the values; around zero
  /// the ends are equally far from it.
  std::optional<double> low, high;
  double cell_width = 0, cell_height = 0;  // pixels; 0: to fit the texts
};

/// Several heat maps side by side, `across` in a row, with one bar: they share its ends. Each has
/// a title of its own; the axes and ticks of the first stand for all.
struct Panels {
  std::string title;
  std::vector<HeatMap> maps;
  size_t across = 2;
};

/// One bar for each label, upwards from zero or downwards.
struct BarChart {
  std::string title;
  std::string x_label, y_label;
  std::vector<std::string> labels;
  /// One value for each label, or several series of them, beside each other.
  struct Series {
    std::string name;  // in the legend, which is left out where there is one series
    std::vector<double> values;
  };
  std::vector<Series> series;
  std::optional<double> low, high;  // of the axis
};

/// `number` with so many decimals, for the texts of cells: `0.0` and never `-0.0`.
std::string Decimals(double number, int decimals);

/// Whole SVG documents. Values that are missing, infinite or NaN are drawn as empty.
std::string ToSvg(const HeatMap& map);
std::string ToSvg(const Panels& panels);
std::string ToSvg(const BarChart& chart);

}  // namespace weft::figures
