#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace weft::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

/// What is logged in `format`.
class Log {
 public:
  explicit Log(const std::string& format)
      : logger_("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)) {
    logger_.set_formatter(MakeLogFormatter(format));
  }
  spdlog::logger* operator->() { return &logger_; }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
  spdlog::logger logger_;
};

TEST(LogTest, LineOfTextHasItsFields) {
  Log log("text");
  const LogScope scope({{"method", "Run"}, {"ms", 12.5}});
  log->info("run ended");
  EXPECT_THAT(log.text(),
              MatchesRegex("20..-..-..T..:..:......Z info run ended method=Run ms=12.5\n"));
}

TEST(LogTest, LineOfJsonHasItsFields) {
  Log log("json");
  const LogScope scope({{"method", "Run"}, {"ms", 12.5}});
  log->warn("run ended");
  const auto line = nlohmann::json::parse(log.text());
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "run ended");
  EXPECT_EQ(line["method"], "Run");
  EXPECT_EQ(line["ms"], 12.5);
  EXPECT_THAT(line["time"], EndsWith("Z"));
}

TEST(LogTest, WhatOthersWroteCannotLookLikeALineOfOurs) {
  const std::string forged = "atlas\n2026-01-01T00:00:00.000Z info forged=\x1b[31m\xff\u2028 key=k";
  for (const char* format : {"text", "json"}) {
    Log log(format);
    const LogScope scope({{"model", forged}});
    log->info("said: {}", forged);
    const std::string text = log.text();
    EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
    for (const char c : text.substr(0, text.size() - 1)) {
      EXPECT_TRUE(c >= ' ' && c <= '~') << format << ": " << static_cast<int>(c);
    }
  }
  Log log("text");
  const LogScope scope(LogFields{{"model", "a key=admin"}});
  log->info("call ended");
  EXPECT_THAT(log.text(), HasSubstr("model=\"a key=admin\""));
}

TEST(LogTest, ScopesNestAndEnd) {
  Log log("text");
  {
    const LogScope outer(LogFields{{"job", "1"}});
    {
      const LogScope inner(LogFields{{"job", "2"}});
      log->info("a");
    }
    log->info("b");
  }
  log->info("c");
  EXPECT_THAT(log.text(), HasSubstr("a job=2\n"));
  EXPECT_THAT(log.text(), HasSubstr("b job=1\n"));
  EXPECT_THAT(log.text(), EndsWith("c\n"));
}

}  // namespace
}  // namespace weft::server
