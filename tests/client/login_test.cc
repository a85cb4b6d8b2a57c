#include "client/cli/login.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/config.h>

#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli/command_line.h"
#include "client/cli/commands.h"
#include "tests/client/scripted_server.h"
#include "tests/support/environment.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::cli {
namespace {

using client_test::ScriptedServer;
using client_test::ScriptedService;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

class LoginTest : public ::testing::Test {
 protected:
  LoginTest() { testing::ForgetConfiguration(&environment_, folder_.path()); }

  /// The exit code of `weft ARGUMENTS` with `input` as its standard input; output_ is what it said.
  int Weft(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "weft");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    std::istringstream in(input);
    std::ostringstream out;
    std::streambuf* const before_in = std::cin.rdbuf(in.rdbuf());
    std::streambuf* const before_out = std::cout.rdbuf(out.rdbuf());
    const int code = Main(static_cast<int>(argv.size()), argv.data(), nullptr);
    std::cin.rdbuf(before_in);
    std::cout.rdbuf(before_out);
    output_ = out.str();
    return code;
  }

  testing::TempFolder folder_;
  testing::Environment environment_;
  ScriptedService service_;
  ScriptedServer server_;
  const std::string target_ = server_.Start(&service_);
  std::string output_;
};

TEST_F(LoginTest, KeepsAKeyThatTheServerTakes) {
  ASSERT_EQ(Weft({"login", "--target", target_, "--profile", "lab"}, "weft_id_secret\n"), kOk);
  EXPECT_EQ(service_.authorization(), "Bearer weft_id_secret");
  const absl::StatusOr<Configuration> configuration = LoadConfiguration({}, "lab");
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, target_);
  EXPECT_EQ(configuration->options.api_key, "weft_id_secret");
  // And later commands use it.
  EXPECT_EQ(Weft({"--profile", "lab", "whoami"}), kOk);
  EXPECT_THAT(output_, HasSubstr("k1"));
}

TEST_F(LoginTest, DoesNotKeepABadKey) {
  service_.who_am_i = [] { return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "who?"); };
  EXPECT_EQ(Weft({"login", "--target", target_}, "weft_id_secret\n"), kPermission);
  EXPECT_EQ(LoadConfiguration()->options.api_key, "");
  EXPECT_EQ(Weft({"login", "--target", target_, "--no-check"}, "weft_id_secret\n"), kOk);
  EXPECT_EQ(LoadConfiguration()->options.api_key, "weft_id_secret");
  EXPECT_EQ(Weft({"login", "--target", target_}, "\n"), kUsage);
}

TEST_F(LoginTest, ConfigShowsWhereSettingsComeFromWithoutTheSecret) {
  ASSERT_EQ(Weft({"login", "--target", "box:1", "--no-check"}, "weft_id_secret\n"), kOk);
  environment_.Set("WEFT_TLS", "true");
  ASSERT_EQ(Weft({"config"}), kOk);
  EXPECT_THAT(output_,
              AllOf(HasSubstr("box:1"), HasSubstr("weft_id_****"), HasSubstr("WEFT_TLS"),
                    HasSubstr(folder_.path() + "/weft/config:"), Not(HasSubstr("secret"))));
}

TEST_F(LoginTest, ABrokenFileIsWrongUsage) {
  ASSERT_EQ(Weft({"login", "--no-check"}, "weft_id_secret\n"), kOk);
  folder_.Write("weft/config", "nonsense\n");
  EXPECT_EQ(Weft({"models"}), kUsage);
  EXPECT_EQ(Weft({"login", "--no-check"}, "weft_id_secret\n"), kUsage);
}

TEST_F(LoginTest, AFileThatCannotBeReadIsWrongUsageAndNotReplaced) {
  std::filesystem::create_directories(folder_.File("weft/config"));
  EXPECT_EQ(Weft({"models", "--target", target_}), kUsage);
  EXPECT_EQ(Weft({"config"}), kUsage);
  EXPECT_EQ(Weft({"login", "--target", target_}, "weft_id_secret\n"), kUsage);
  EXPECT_EQ(service_.authorization(), "");
  EXPECT_TRUE(std::filesystem::is_directory(folder_.File("weft/config")));
}

TEST_F(LoginTest, OfAnotherServerNothingStays) {
  const std::string ca = folder_.Write("ca.pem", "");
  ASSERT_EQ(Weft({"login", "--target", "box:1", "--tls", "--ca", ca, "--no-check"}, "weft_a_b\n"),
            kOk);
  ASSERT_EQ(LoadConfiguration()->options.ca_file, ca);
  // The same one keeps what it had.
  ASSERT_EQ(Weft({"login", "--no-check"}, "weft_c_d\n"), kOk);
  EXPECT_EQ(LoadConfiguration()->options.ca_file, ca);
  ASSERT_EQ(Weft({"login", "--target", target_}, "weft_e_f\n"), kOk);
  const absl::StatusOr<Configuration> configuration = LoadConfiguration();
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, target_);
  EXPECT_EQ(configuration->options.api_key, "weft_e_f");
  EXPECT_EQ(configuration->options.ca_file, "");
  EXPECT_FALSE(configuration->options.tls);
}

TEST_F(LoginTest, KeepsWhatTheEnvironmentSaidWhenTheKeyWasTried) {
  const std::string ca = folder_.Write("ca.pem", "");
  environment_.Set("WEFT_TARGET", "box:1");
  environment_.Set("WEFT_TLS", "true");
  environment_.Set("WEFT_CA_FILE", std::filesystem::relative(ca).string());
  ASSERT_EQ(Weft({"login", "--no-check"}, "weft_a_b\n"), kOk);
  for (const char* name : {"WEFT_TARGET", "WEFT_TLS", "WEFT_CA_FILE"}) {
    environment_.Set(name, std::nullopt);
  }
  const absl::StatusOr<Configuration> configuration = LoadConfiguration();
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, "box:1");
  EXPECT_TRUE(configuration->options.tls);
  EXPECT_TRUE(std::filesystem::equivalent(configuration->options.ca_file, ca));
}

}  // namespace
}  // namespace weft::cli
