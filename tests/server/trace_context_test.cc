#include "server/service/trace_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weft::server {
namespace {

using ::testing::MatchesRegex;
using ::testing::Optional;

constexpr char kId[] = "0af7651916cd43dd8448eb211c80319c";
constexpr char kHeader[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceContextTest, TakesTheIdOfAWellFormedHeader) {
  EXPECT_THAT(ParseTraceparent(kHeader), Optional(std::string(kId)));
  // A later version may say more.
  EXPECT_THAT(ParseTraceparent(std::string("cc") + (kHeader + 2) + "-more"),
              Optional(std::string(kId)));
}

TEST(TraceContextTest, IgnoresMalformedHeaders) {
  const std::string header = kHeader;
  const auto with = [&](size_t at, const std::string& text) {
    return std::string(header).replace(at, text.size(), text);
  };
  for (const std::string& bad :
       {std::string(), header.substr(1), header.substr(0, 54), header + "-more", header + " ",
        with(0, "ff"), with(0, "0g"), with(2, "_"), with(35, "_"), with(52, "_"), with(53, "0x"),
        with(3, std::string(32, '0')), with(36, std::string(16, '0')), with(3, "A"), with(40, "\n"),
        std::string("cc") + (kHeader + 2) + "more", std::string(10'000, '0')}) {
    EXPECT_EQ(ParseTraceparent(bad), std::nullopt) << bad;
  }
}

TEST(TraceContextTest, NewIdsDiffer) {
  const std::string id = NewTraceId();
  EXPECT_THAT(id, MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(id.size(), 32u);
  EXPECT_NE(id, NewTraceId());
}

}  // namespace
}  // namespace weft::server
