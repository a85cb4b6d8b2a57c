#include "examples/figures/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "examples/figures/axis.h"
#include "examples/figures/canvas.h"
#include "examples/figures/colours.h"

namespace weft::figures {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// Every tag that is opened is closed, in order; what is outside of tags holds no `<` or bare `&`.
void ExpectWellFormed(const std::string& svg) {
  std::vector<std::string> open;
  for (size_t at = 0; at < svg.size();) {
    if (svg[at] == '&') {
      const size_t end = svg.find(';', at);
      ASSERT_NE(end, std::string::npos);
      EXPECT_THAT(svg.substr(at, end - at + 1),
                  ::testing::AnyOf("&lt;", "&gt;", "&amp;", "&quot;"));
    }
    if (svg[at] != '<') {
      ++at;
      continue;
    }
    const size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ("/" + open.back(), tag);
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    at = end + 1;
  }
  EXPECT_THAT(open, IsEmpty());
}

HeatMap Map() {
  return {.title = "A map",
          .x_label = "token",
          .y_label = "layer",
          .value_label = "probability",
          .columns = {"The", "Tower"},
          .rows = {"0", "1"},
          .values = {{0, 0.25}, {0.75, 1}},
          .texts = {{"a", "b"}, {"c", "d"}}};
}

TEST(ColoursTest, SequentialColoursGrowDarkerInEqualSteps) {
  for (int half = 0; half < 2; ++half) {
    std::vector<double> steps;
    for (int i = 0; i < 8; ++i) {
      const double at = half * 0.5 + i / 16.0;
      steps.push_back(ColourAt(Scale::kSequential, at).Lightness() -
                      ColourAt(Scale::kSequential, at + 1 / 16.0).Lightness());
    }
    for (const double step : steps) EXPECT_NEAR(step, steps[0], 0.006);
    EXPECT_GT(steps[0], 0.02);
  }
}

TEST(ColoursTest, DivergingColoursAreLightestAtZeroAndAsDarkAtBothEnds) {
  EXPECT_GT(ColourAt(Scale::kDiverging, 0.5).Lightness(), 0.95);
  EXPECT_NEAR(ColourAt(Scale::kDiverging, 0).Lightness(),
              ColourAt(Scale::kDiverging, 1).Lightness(), 0.01);
  EXPECT_GT(ColourAt(Scale::kDiverging, 0).blue, ColourAt(Scale::kDiverging, 0).red);
  EXPECT_GT(ColourAt(Scale::kDiverging, 1).red, ColourAt(Scale::kDiverging, 1).blue);
}

TEST(ColoursTest, NumbersOutsideTheScaleGetItsEnds) {
  const auto text = [](double at) { return ColourAt(Scale::kSequential, at).ToString(); };
  EXPECT_EQ(text(-3), text(0));
  EXPECT_EQ(text(7), text(1));
  EXPECT_EQ(text(std::nan("")), text(0));
}

TEST(ColoursTest, InkCanBeReadOnEveryColour) {
  for (const Scale scale : {Scale::kSequential, Scale::kDiverging}) {
    for (int i = 0; i <= 20; ++i) {
      const Colour ground = ColourAt(scale, i / 20.0);
      EXPECT_GT(std::abs(InkOn(ground).Lightness() - ground.Lightness()), 0.3) << i;
    }
  }
}

TEST(AxisTest, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_THAT(Ticks(0, 1, 5), ElementsAre(0, 0.2, 0.4, ::testing::DoubleNear(0.6, 1e-9), 0.8, 1));
  EXPECT_THAT(Ticks(-16.6, 17.6, 4), ElementsAre(-10, 0, 10));
  EXPECT_THAT(Ticks(3, 3, 4), IsEmpty());
  EXPECT_THAT(Ticks(0, std::numeric_limits<double>::infinity(), 4), IsEmpty());
}

TEST(AxisTest, NumbersAreShort) {
  EXPECT_EQ(NumberText(0.25), "0.25");
  EXPECT_EQ(NumberText(-3), "-3");
  EXPECT_EQ(NumberText(-1e-17), "0");
}

TEST(AxisTest, DecimalsHaveNoNegativeZero) {
  EXPECT_EQ(Decimals(-0.04, 1), "0.0");
  EXPECT_EQ(Decimals(-0.06, 1), "-0.1");
  EXPECT_EQ(Decimals(12.345, 2), "12.35");
}

TEST(AxisTest, RangesPassOverWhatIsNotFinite) {
  const double inf = std::numeric_limits<double>::infinity();
  const Range range = FindRange({{1, inf}, {std::nan(""), -2}});
  EXPECT_EQ(range.low, -2);
  EXPECT_EQ(range.high, 1);
  EXPECT_EQ(FindRange({}).high, 1);
  EXPECT_EQ(FindRange({{4, 4}}).high, 5);
}

TEST(CanvasTest, TextsAreEscapedAndWhatXmlCannotHoldIsReplaced) {
  EXPECT_EQ(EscapeXml("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
  EXPECT_EQ(EscapeXml("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(EscapeXml(std::string("a\x01\0z", 4)), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  // A token may be a part of a character.
  EXPECT_EQ(EscapeXml("\xC3"), "\xEF\xBF\xBD");
  EXPECT_EQ(EscapeXml("\xA9!"), "\xEF\xBF\xBD!");
  EXPECT_EQ(EscapeXml("\xC0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // overlong
}

TEST(HeatMapTest, HasACellWithItsTextForEachValue) {
  const std::string svg = ToSvg(Map());
  ExpectWellFormed(svg);
  for (const char* text : {">a<", ">b<", ">c<", ">d<", ">The<", ">Tower<", ">token<", ">layer<",
                           ">probability<", "A map"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  EXPECT_EQ(Count(svg, "</title></rect>"), 4);
  EXPECT_THAT(svg, HasSubstr("<title>1, Tower: 1</title>"));
}

TEST(HeatMapTest, ColoursSpanTheGivenEnds) {
  HeatMap map = Map();
  map.values = {{0.5, 0.5}, {0.5, 0.5}};
  map.low = 0, map.high = 1;
  EXPECT_THAT(ToSvg(map), HasSubstr("fill=\"" + ColourAt(Scale::kSequential, 0.5).ToString() +
                                    "\"><title>0, The: 0.5"));
}

TEST(HeatMapTest, ADivergingScaleIsCentredAtZero) {
  HeatMap map = Map();
  map.scale = Scale::kDiverging;
  map.values = {{-1, 0}, {2, 4}};
  const std::string svg = ToSvg(map);
  EXPECT_THAT(svg, HasSubstr("fill=\"" + ColourAt(Scale::kDiverging, 0.5).ToString() +
                             "\"><title>0, Tower: 0<"));
  EXPECT_THAT(svg, HasSubstr("fill=\"" + ColourAt(Scale::kDiverging, 0.375).ToString() +
                             "\"><title>0, The: -1<"));
}

TEST(HeatMapTest, ValuesThatAreNoNumbersAreLeftEmpty) {
  HeatMap map = Map();
  map.values[0][1] = std::nan("");
  const std::string svg = ToSvg(map);
  ExpectWellFormed(svg);
  EXPECT_EQ(Count(svg, "</title></rect>"), 3);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(HeatMapTest, AnEmptyMapIsADocument) { ExpectWellFormed(ToSvg(HeatMap())); }

TEST(HeatMapTest, LongColumnLabelsAreTurned) {
  HeatMap map = Map();
  EXPECT_THAT(ToSvg(map), Not(HasSubstr("rotate(-45")));
  map.columns[1] = "a label that is too long for its cell";
  EXPECT_THAT(ToSvg(map), HasSubstr("rotate(-45"));
}

TEST(HeatMapTest, SmallCellsOfOneColourAreOnePath) {
  HeatMap map{.low = 0, .high = 1, .cell_width = 4, .cell_height = 4};
  map.values.assign(40, std::vector<double>(40, 0));
  for (int i = 0; i < 40; ++i) map.values[i][i] = 1;
  map.values[3][4] = map.values[3][5] = 1;
  const std::string svg = ToSvg(map);
  ExpectWellFormed(svg);
  EXPECT_EQ(Count(svg, "<path "), 1);
  EXPECT_EQ(Count(svg, "h4v4h-4z"), 39);
  EXPECT_EQ(Count(svg, "h12v4h-12z"), 1);  // three in a row
  map.values[0][1] = std::nan("");         // no ground that would show through
  EXPECT_EQ(Count(ToSvg(map), "<path "), 2);
}

TEST(PanelsTest, ShareOneBarAndTheEndsOfIt) {
  Panels panels{.title = "Two", .maps = {Map(), Map()}};
  panels.maps[0].title = "first", panels.maps[1].title = "second";
  panels.maps[1].values = {{2, 2}, {2, 2}};
  const std::string svg = ToSvg(panels);
  ExpectWellFormed(svg);
  EXPECT_EQ(Count(svg, ">probability<"), 1);
  EXPECT_THAT(svg, HasSubstr(">first<"));
  EXPECT_THAT(svg, HasSubstr(">second<"));
  // The first map's greatest value is in the middle of the common scale.
  EXPECT_THAT(svg, HasSubstr("fill=\"" + ColourAt(Scale::kSequential, 0.5).ToString() +
                             "\"><title>1, Tower: 1<"));
  ExpectWellFormed(ToSvg(Panels()));
}

TEST(BarChartTest, BarsReachFromZeroToTheirValues) {
  const std::string svg = ToSvg(BarChart{.title = "Bars",
                                         .x_label = "x",
                                         .y_label = "y",
                                         .labels = {"up", "down"},
                                         .series = {{"", {1, -1}}},
                                         .low = -1,
                                         .high = 1});
  ExpectWellFormed(svg);
  EXPECT_THAT(svg, HasSubstr("<title>up: 1</title>"));
  EXPECT_THAT(svg, HasSubstr("<title>down: -1</title>"));
  EXPECT_EQ(Count(svg, "height=\"120\""), 2);  // half of the chart each
}

TEST(BarChartTest, SeveralSeriesHaveALegend) {
  BarChart chart{.labels = {"a", "b"}, .series = {{"one", {1, 2}}, {"two", {3}}}};
  const std::string svg = ToSvg(chart);
  ExpectWellFormed(svg);
  EXPECT_THAT(svg, HasSubstr(">one<"));
  EXPECT_THAT(svg, HasSubstr(">two<"));
  EXPECT_EQ(Count(svg, "</title></rect>"), 3);
}

TEST(BarChartTest, AnEmptyChartIsADocument) { ExpectWellFormed(ToSvg(BarChart())); }

}  // namespace
}  // namespace weft::figures
