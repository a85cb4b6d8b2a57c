#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>

#include "engine/graph/version.h"
#include "tests/client/scripted_server.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CompareVersionsTest, ComparesNumbers) {
  EXPECT_LT(*graph::CompareVersions("0.1.0", "0.2.0"), 0);
  EXPECT_LT(*graph::CompareVersions("0.9.9", "0.10.0"), 0);
  EXPECT_EQ(graph::CompareVersions("1.2.3", "1.2.3"), 0);
  EXPECT_GT(*graph::CompareVersions("2.0.0", "1.99.99"), 0);
}

TEST(CompareVersionsTest, WhatIsNoVersionIsNotCompared) {
  for (const char* text : {"", "1", "1.2", "1.2.3.4", "1.2.3-rc1", "a.b.c", "1..3", "-1.2.3",
                           "1.2.99999999999999999999", " 1.2.3", "1.2.3\n"}) {
    EXPECT_EQ(graph::CompareVersions(text, "1.2.3"), std::nullopt) << text;
    EXPECT_EQ(graph::CompareVersions("1.2.3", text), std::nullopt) << text;
  }
}

class VersionsTest : public ::testing::Test {
 protected:
  absl::Status Run(const std::vector<v1::RunEvent>& events) {
    service_.run = [&](grpc::ServerContext*, const v1::RunRequest& request,
                       grpc::ServerWriter<v1::RunEvents>* writer) {
      EXPECT_EQ(request.client_version(), kVersion);
      v1::RunEvents message;
      for (const v1::RunEvent& event : events) *message.add_events() = event;
      writer->Write(message);
      return grpc::Status::OK;
    };
    ScriptedServer server;
    return MakeRemoteBackend(server.Start(&service_))
        ->Run("toy", *Program::Parse("invoke \"hi\" {\n}\n"), {}, [](const RunEvent&) {});
  }
  /// Of a kind that came after this client.
  static v1::RunEvent StrangeResult() {
    v1::RunEvent event;
    event.mutable_result()->set_name("h");
    event.mutable_result()->mutable_value();
    return event;
  }

  ScriptedService service_;
};

TEST_F(VersionsTest, AValueOfANewerServerNamesBothVersions) {
  service_.version = "99.1.0";
  const absl::Status status = Run({StrangeResult(), CompletedEvent()});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("99.1.0"), HasSubstr(kVersion), HasSubstr("upgrade the client")));
}

TEST_F(VersionsTest, OfTheSameVersionItIsAnError) {
  for (const char* version : {kVersion, "0.0.1", "not a version", ""}) {
    service_.version = version;
    EXPECT_EQ(Run({StrangeResult(), CompletedEvent()}).code(), absl::StatusCode::kDataLoss)
        << version;
  }
}

TEST_F(VersionsTest, EventsThatThisClientDoesNotKnowArePassedOver) {
  v1::RunEvent strange;
  // Field 99, of length 1.
  ASSERT_TRUE(strange.ParseFromString("\x9a\x06\x01x"));
  EXPECT_TRUE(Run({strange, CompletedEvent()}).ok());
}

}  // namespace
}  // namespace weft::client_test
