#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ParsedConfig Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "weftd");
  return ParseConfig(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ConfigTest, ReadsModelsAddressAndLimits) {
  const ParsedConfig parsed =
      Parse({"--listen", "127.0.0.1:0", "--data", "d", "--model", "a=x/y", "--model", "b=z=1",
             "--threads", "3", "--max-pending-bytes", "2GiB", "--max-nodes", "10",
             "--drain-seconds", "1.5", "--insecure"});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  const Config& config = *parsed.config;
  ASSERT_EQ(config.models.size(), 2u);
  EXPECT_EQ(config.models[0].name, "a");
  EXPECT_EQ(config.models[0].folder, "x/y");
  EXPECT_EQ(config.models[1].folder, "z=1");
  EXPECT_EQ(config.server.listen, "127.0.0.1:0");
  EXPECT_EQ(config.engine.threads, 3);
  EXPECT_EQ(config.engine.limits.nodes, 10u);
  EXPECT_EQ(config.server.max_pending_bytes, uint64_t{2} << 30);
  EXPECT_EQ(config.drain, absl::Milliseconds(1500));
  EXPECT_TRUE(config.server.insecure);
  EXPECT_TRUE(config.keys);
}

TEST(ConfigTest, DefaultsAreSafe) {
  const ParsedConfig parsed = Parse({"--data", "d", "--model", "a=x"});
  ASSERT_TRUE(parsed.config.has_value()) << parsed.text;
  EXPECT_EQ(parsed.config->server.listen, "127.0.0.1:50051");
  EXPECT_FALSE(parsed.config->server.insecure);
  EXPECT_TRUE(parsed.config->keys);
  EXPECT_EQ(parsed.config->engine.limits.nodes, Limits().nodes);
}

TEST(ConfigTest, HelpTeachesWithExamples) {
  const ParsedConfig parsed = Parse({"--help"});
  EXPECT_FALSE(parsed.config.has_value());
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_THAT(parsed.text,
              AllOf(HasSubstr("weft keys create"), HasSubstr("--model atlas=models/atlas"),
                    HasSubstr("--max-pending-bytes"), HasSubstr("SIGTERM")));
}

TEST(ConfigTest, RefusesWrongLinesSayingWhy) {
  struct Case {
    std::vector<const char*> arguments;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{
           {{}, "--model"},
           {{"--model", "a=x"}, "--data DIR is needed"},
           {{"--data", "d", "--model", "atlas"}, "NAME=FOLDER"},
           {{"--data", "d", "--model", "atlas="}, "NAME=FOLDER"},
           {{"--data", "d", "--model", "a b=x"}, "letters, digits"},
           {{"--data", "d", "--model", "a=x", "--model", "a=y"}, "given twice"},
           {{"--data", "d", "--model", "a=x", "--threads", "-1"}, "--threads"},
           {{"--data", "d", "--model", "a=x", "--max-request-bytes", "8GiB"},
            "--max-request-bytes"},
           {{"--data", "d", "--model", "a=x", "--unknown"}, "--unknown"},
       }) {
    const ParsedConfig parsed = Parse(c.arguments);
    EXPECT_FALSE(parsed.config.has_value()) << c.message;
    EXPECT_EQ(parsed.exit_code, 2) << c.message;
    EXPECT_THAT(parsed.text, HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace weft::server
