#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "examples/server_process.h"

namespace weft::examples {
namespace {

/// Starts weftd with atlas, once for all tests of a suite.
class CookbookTest : public ::testing::Test {
 protected:
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>(TemporaryFolder::Make().value());
    Process make_key = Process::Start({FindProgram("client", "weft"), "keys", "create", "--data",
                                       folder_->path(), "--label", "cookbook"})
                           .value();
    key_ = make_key.ReadLine().value();
    server_ = std::make_unique<Process>(
        Process::Start({FindProgram("server", "weftd"), "--listen", "127.0.0.1:0", "--data",
                        folder_->path(), "--model", "atlas=models/atlas"},
                       folder_->path() + "/weftd.log")
            .value());
    address_ = std::string(absl::StripPrefix(server_->ReadLine().value(), "listening on "));
  }
  static void TearDownTestSuite() {
    server_.reset();
    folder_.reset();
  }

  static std::unique_ptr<TemporaryFolder> folder_;
  static std::unique_ptr<Process> server_;
  static std::string key_, address_;
};

std::unique_ptr<TemporaryFolder> CookbookTest::folder_;
std::unique_ptr<Process> CookbookTest::server_;
std::string CookbookTest::key_, CookbookTest::address_;

class ExamplesTest : public CookbookTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(ExamplesTest, HoldsOnAServer) {
  const std::string log = folder_->path() + "/" + GetParam() + ".log";
  Process example = Process::Start({FindProgram("examples", GetParam()), "--target", address_,
                                    "--api-key", key_, "--pictures", folder_->path()},
                                   log)
                        .value();
  std::string output;
  while (true) {
    const absl::StatusOr<std::string> line = example.ReadLine();
    if (!line.ok()) {
      // Its output has ended: OK if it exited with 0.
      EXPECT_NE(line.status().message().find("exit code 0"), std::string::npos)
          << line.status() << "\n"
          << output << Read(log);
      break;
    }
    output += *line + "\n";
  }
  EXPECT_NE(output.find("[holds]"), std::string::npos) << output;
  EXPECT_NE(Read(folder_->path() + "/" + GetParam() + ".svg"), "");
}

TEST_F(CookbookTest, AnExampleSaysWhyItCannotRun) {
  const std::string log = folder_->path() + "/refused.log";
  Process example = Process::Start({FindProgram("examples", "logit_lens"), "--target", address_,
                                    "--api-key", "weft_none_none"},
                                   log)
                        .value();
  const absl::StatusOr<std::string> line = example.ReadLine();
  ASSERT_FALSE(line.ok());
  EXPECT_NE(line.status().message().find("exit code 1"), std::string::npos) << line.status();
  EXPECT_NE(Read(log).find("UNAUTHENTICATED"), std::string::npos) << Read(log);
}

INSTANTIATE_TEST_SUITE_P(All, ExamplesTest,
                         ::testing::ValuesIn(std::vector<std::string>(absl::StrSplit(WEFT_COOKBOOK,
                                                                                     ','))),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace weft::examples
