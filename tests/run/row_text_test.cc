#include "engine/run/row_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace weft::run {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOk;

/// Each id is a piece of text; bytes that make no character are decoded as U+FFFD.
class RowTextTest : public ::testing::Test {
 protected:
  const std::vector<std::string> pieces_ = {"a",  "b",    " the", "cat", "\xF0\x9F", "\x98\x80",
                                            "\n", "\n\n", "ab",   "",    "\xFF",     "b.\xF0\x9F"};
  const Decode decode_ = [this](absl::Span<const int64_t> ids) -> absl::StatusOr<std::string> {
    std::string bytes, text;
    for (const int64_t id : ids) bytes += pieces_[id];
    for (size_t i = 0; i < bytes.size();) {
      const auto lead = static_cast<unsigned char>(bytes[i]);
      const size_t size = lead < 0x80 ? 1 : lead >= 0xF8 ? 0 : lead >= 0xF0 ? 4 : 0;
      if (size == 0 || i + size > bytes.size()) {
        text += "\xEF\xBF\xBD";
        i += size == 0 ? 1 : bytes.size() - i;
        continue;
      }
      text += bytes.substr(i, size);
      i += size;
    }
    return text;
  };

  /// What is shown after each of the ids, and at the end.
  std::vector<std::string> Show(const std::vector<int64_t>& ids, std::vector<std::string> stops,
                                bool* stopped = nullptr, std::vector<int64_t> prompt = {2, 3}) {
    stops_ = std::move(stops);
    RowText text(decode_, prompt, stops_);
    std::vector<std::string> shown;
    for (size_t i = 0; i < ids.size() && !text.stopped(); ++i) {
      absl::StatusOr<std::string> more = text.Add(ids[i]);
      EXPECT_THAT(more, IsOk());
      shown.push_back(more.ok() ? *more : "");
    }
    if (stopped != nullptr) *stopped = text.stopped();
    shown.push_back(*text.Finish());
    return shown;
  }

  std::vector<std::string> stops_;
};

TEST_F(RowTextTest, EachTokenShowsItsText) {
  EXPECT_THAT(Show({2, 3, 9, 0}, {}), ElementsAre(" the", "cat", "", "a", ""));
}

TEST_F(RowTextTest, ACharacterOfSeveralTokensIsShownOnceItIsWhole) {
  EXPECT_THAT(Show({0, 4, 5, 1}, {}), ElementsAre("a", "", "😀", "b", ""));
}

TEST_F(RowTextTest, BytesThatMakeNoCharacterAreShownInTheEnd) {
  EXPECT_THAT(Show({0, 4}, {}), ElementsAre("a", "", "\xEF\xBF\xBD"));
  // And do not wait for ever: each costs what all that wait cost.
  const std::vector<std::string> shown = Show(std::vector<int64_t>(100, 10), {});
  EXPECT_EQ(shown[6], "");
  EXPECT_NE(shown[7], "");
}

TEST_F(RowTextTest, AStopStringEndsItAndIsNotShown) {
  bool stopped = false;
  EXPECT_THAT(Show({0, 8, 3, 1, 0}, {"abc"}, &stopped), ElementsAre("", "a", "", ""));
  EXPECT_TRUE(stopped);
}

TEST_F(RowTextTest, AStopStringOfSeveralTokensIsFound) {
  bool stopped = false;
  EXPECT_THAT(Show({1, 6, 6, 0}, {"\n\n"}, &stopped), ElementsAre("b", "", "", ""));
  EXPECT_TRUE(stopped);
  EXPECT_THAT(Show({1, 7, 0}, {"\n\n"}, &stopped), ElementsAre("b", "", ""));
  EXPECT_TRUE(stopped);
}

TEST_F(RowTextTest, WhatOnlyBeganLikeAStopStringIsShownWhenItGoesOnOtherwise) {
  bool stopped = true;
  EXPECT_THAT(Show({6, 0, 6}, {"\n\n"}, &stopped), ElementsAre("", "\na", "", "\n"));
  EXPECT_FALSE(stopped);
}

TEST_F(RowTextTest, TheFirstOfSeveralStopStringsCounts) {
  EXPECT_THAT(Show({3, 2}, {"the", "at"}), ElementsAre("c", ""));
}

TEST_F(RowTextTest, AStopStringMayBeginInThePrompt) {
  bool stopped = false;
  // The prompt is " thecat".
  EXPECT_THAT(Show({0, 1}, {"cata"}, &stopped), ElementsAre("", ""));
  EXPECT_TRUE(stopped);
  EXPECT_THAT(Show({0, 1, 2}, {"tab t"}, &stopped), ElementsAre("", "", "", ""));
  EXPECT_TRUE(stopped);
  EXPECT_THAT(Show({0, 2}, {"tab"}, &stopped), ElementsAre("", "a the", ""));
  EXPECT_FALSE(stopped);
}

TEST_F(RowTextTest, AStopStringOfThePromptAloneEndsNothing) {
  bool stopped = true;
  EXPECT_THAT(Show({0, 6}, {"cat", "the"}, &stopped), ElementsAre("a", "\n", ""));
  EXPECT_FALSE(stopped);
  // Nor does a long one that many tokens of it make.
  EXPECT_THAT(Show({1}, {std::string(200, 'a')}, &stopped, std::vector<int64_t>(300, 0)),
              ElementsAre("b", ""));
  EXPECT_FALSE(stopped);
  EXPECT_THAT(Show({0}, {std::string(200, 'a') + "a"}, &stopped, std::vector<int64_t>(200, 0)),
              ElementsAre("", ""));
  EXPECT_TRUE(stopped);
}

TEST_F(RowTextTest, AStopStringIsFoundBesideHalfACharacter) {
  // As in one token of a tokenizer of bytes: a full stop and the beginning of another character.
  bool stopped = false;
  EXPECT_THAT(Show({0, 11, 5}, {"."}, &stopped), ElementsAre("a", "b", ""));
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace weft::run
