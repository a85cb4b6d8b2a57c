#include "engine/text/utf8.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::text {
namespace {

TEST(Utf8Test, AcceptsEveryLengthAndTheLimitsOfEachRange) {
  const std::vector<std::string> texts = {"",
                                          "plain",
                                          std::string("a\0b", 3),
                                          "\x7F",
                                          "\xC2\x80",
                                          "\xDF\xBF",
                                          "\xE0\xA0\x80",
                                          "\xED\x9F\xBF",
                                          "\xEE\x80\x80",
                                          "\xEF\xBF\xBF",
                                          "\xF0\x90\x80\x80",
                                          "\xF4\x8F\xBF\xBF"};
  for (const std::string& text : texts) {
    EXPECT_EQ(FindInvalidUtf8(text), std::nullopt) << testing::PrintToString(text);
  }
}

TEST(Utf8Test, NamesTheFirstByteOfAMalformedSequence) {
  const std::vector<std::pair<std::string, size_t>> cases = {
      {"\x80", 0},                  // a trail byte alone
      {"ab\xC0\xAF", 2},            // overlong, two bytes
      {"a\xE0\x9F\xBF", 1},         // overlong, three bytes
      {"\xF0\x8F\xBF\xBF", 0},      // overlong, four bytes
      {"ok\xED\xA0\x80", 2},        // a surrogate
      {"\xF4\x90\x80\x80", 0},      // beyond U+10FFFF
      {"\xF5\x80\x80\x80", 0},      // never a lead byte
      {"caf\xC3", 3},               // cut short at the end
      {"\xE2\x82z", 0},             // cut short by another character
      {"\xC3\xA9\xF0\x9F\x98", 2},  // cut short after a good one
      {"\xF0\x9F\x98\xC0", 0},      // a bad last trail byte
  };
  for (const auto& [text, at] : cases) {
    EXPECT_EQ(FindInvalidUtf8(text), at) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace weft::text
