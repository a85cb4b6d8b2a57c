#include "server/service/client_version.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/graph/error.h"
#include "engine/graph/version.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Find(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return FindClientVersion(grpc::ByteBuffer(&slice, 1));
}

TEST(FindClientVersionTest, FindsItBesideWhatDoesNotParse) {
  v1::RunRequest request;
  request.set_model("atlas");
  request.mutable_program()->add_nodes()->set_name("h");
  request.mutable_options()->set_seed(7);
  request.set_client_version("0.3.1");
  const std::string bytes = request.SerializeAsString();
  EXPECT_EQ(Find(bytes), "0.3.1");
  // Behind fields of numbers that nobody knows, of each wire type.
  EXPECT_EQ(Find("\x98\x06\x01" + bytes), "0.3.1");
  EXPECT_EQ(Find(std::string("\x99\x06\0\0\0\0\0\0\0\0", 10) + bytes), "0.3.1");
  EXPECT_EQ(Find(std::string("\x9d\x06\0\0\0\0", 6) + bytes), "0.3.1");
  EXPECT_EQ(Find("\x9a\x06\x01x" + bytes), "0.3.1");
}

TEST(FindClientVersionTest, GivesUpOnAnythingElse) {
  v1::RunRequest request;
  request.set_client_version("0.3.1");
  const std::string bytes = request.SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_EQ(Find(bytes.substr(0, size)), "");
  EXPECT_EQ(Find("\x9b\x06" + bytes), "");                      // a group
  EXPECT_EQ(Find("\x9a\x06\xff\xff\xff\xff\x0f" + bytes), "");  // 4 GiB of a field
  EXPECT_EQ(Find(std::string(100000, '\x08') + bytes), "");     // many fields
  EXPECT_EQ(Find("\x22\x21" + std::string(33, '1')), "");       // too long for a version
  EXPECT_EQ(Find(std::string(16, '\xff')), "");                 // no tag
}

TEST(WithVersionsTest, NamesBothWhereTheClientIsNewer) {
  graph::Error error;
  error.code = absl::StatusCode::kUnimplemented;
  error.message = "node 3 (sweep) is not executed by this server";
  error.hint = "write the points out";
  const absl::Status status = WithVersions(graph::ToStatus(error), "99.0.0");
  EXPECT_EQ(status.code(), error.code);
  const graph::Error explained = graph::FromStatus(status);
  EXPECT_EQ(explained.message, error.message);
  EXPECT_THAT(explained.hint, AllOf(HasSubstr("write the points out; the client is 99.0.0"),
                                    HasSubstr(kVersion), HasSubstr("upgrade the server")));
}

TEST(WithVersionsTest, SaysNothingOtherwise) {
  const absl::Status status = absl::InvalidArgumentError("no");
  for (const char* version : {"", kVersion, "0.0.1", "99", "newest", "99.0.0\n", "99.0.0; rm"}) {
    EXPECT_EQ(WithVersions(status, version), status) << version;
  }
}

}  // namespace
}  // namespace weft::server
