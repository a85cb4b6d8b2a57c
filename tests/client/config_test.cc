#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <weft/client.h>
#include <weft/config.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/client/scripted_server.h"
#include "tests/support/environment.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::client_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    testing::ForgetConfiguration(&environment_, folder_.path());
    std::filesystem::create_directory(folder_.File("weft"));
  }

  std::string File() const { return folder_.File("weft/config"); }
  void Write(const std::string& text, mode_t mode = 0600) {
    folder_.Write("weft/config", text);
    chmod(File().c_str(), mode);
  }
  std::string Text() const {
    std::ifstream file(File());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  testing::TempFolder folder_;
  testing::Environment environment_;
};

TEST_F(ConfigTest, WithoutAFileThereAreDefaults) {
  const absl::StatusOr<Configuration> configuration = LoadConfiguration();
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, "localhost:50051");
  EXPECT_EQ(configuration->options.api_key, "");
  EXPECT_FALSE(configuration->options.tls);
  EXPECT_EQ(configuration->file, File());
  EXPECT_THAT(configuration->warnings, IsEmpty());
}

TEST_F(ConfigTest, FlagsComeBeforeTheEnvironmentAndThatBeforeTheFile) {
  Write("# mine\n\ntarget = box:1\napi_key=weft_a_b\n  tls = yes\nca = roots.pem\ncert = /c.pem\n");
  absl::StatusOr<Configuration> configuration = LoadConfiguration();
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, "box:1");
  EXPECT_EQ(configuration->options.api_key, "weft_a_b");
  EXPECT_TRUE(configuration->options.tls);
  // Beside the file, where it is not absolute.
  EXPECT_EQ(configuration->options.ca_file, folder_.File("weft/roots.pem"));
  EXPECT_EQ(configuration->options.cert_file, "/c.pem");
  EXPECT_EQ(configuration->settings[0].source, File() + ":3");
  EXPECT_EQ(configuration->settings[5].source, "default");

  environment_.Set("WEFT_API_KEY", "weft_c_d");
  environment_.Set("WEFT_TLS", "0");
  configuration = LoadConfiguration({{"tls", "true"}});
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->options.api_key, "weft_c_d");
  EXPECT_EQ(configuration->settings[1].source, "WEFT_API_KEY");
  EXPECT_TRUE(configuration->options.tls);
  EXPECT_EQ(configuration->settings[2].source, "--tls");
}

TEST_F(ConfigTest, AProfileIsWhatStandsBelowItsName) {
  Write("target = box:1\napi_key = weft_a_b\n[lab]\ntarget = lab:2\n[home]\napi_key = weft_h_h\n");
  absl::StatusOr<Configuration> lab = LoadConfiguration({}, "lab");
  ASSERT_THAT(lab, IsOk());
  EXPECT_EQ(lab->target, "lab:2");
  EXPECT_EQ(lab->options.api_key, "");
  environment_.Set("WEFT_PROFILE", "home");
  const absl::StatusOr<Configuration> home = LoadConfiguration();
  ASSERT_THAT(home, IsOk());
  EXPECT_EQ(home->options.api_key, "weft_h_h");
  EXPECT_EQ(home->target, "localhost:50051");
  EXPECT_THAT(LoadConfiguration({}, "moon"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("lab, home")));
}

TEST_F(ConfigTest, NoKeyGoesToAServerThatItIsNotFor) {
  Write("target = box:1\napi_key = weft_a_b\ntls = true\n");
  const absl::StatusOr<Configuration> configuration = LoadConfiguration({{"target", "other:1"}});
  ASSERT_THAT(configuration, IsOk());
  EXPECT_EQ(configuration->target, "other:1");
  EXPECT_EQ(configuration->options.api_key, "");
  EXPECT_FALSE(configuration->options.tls);
  EXPECT_THAT(configuration->warnings,
              ElementsAre(AllOf(HasSubstr("box:1"), HasSubstr("other:1"))));
  // The same one said twice.
  EXPECT_EQ(LoadConfiguration({{"target", "box:1"}})->options.api_key, "weft_a_b");
}

TEST_F(ConfigTest, WithoutATargetAProfileIsForTheDefaultOne) {
  Write("api_key = weft_a_b\n[lab]\napi_key = weft_l_l\n");
  for (const std::string profile : {"", "lab"}) {
    const absl::StatusOr<Configuration> other = LoadConfiguration({{"target", "other:1"}}, profile);
    ASSERT_THAT(other, IsOk());
    EXPECT_EQ(other->options.api_key, "");
    EXPECT_THAT(other->warnings,
                ElementsAre(AllOf(HasSubstr("localhost:50051"), HasSubstr("other:1"))));
    EXPECT_NE(LoadConfiguration({{"target", "localhost:50051"}}, profile)->options.api_key, "");
  }
  // Of what there is not, nothing is left out.
  Write("");
  EXPECT_THAT(LoadConfiguration({{"target", "other:1"}})->warnings, IsEmpty());
}

TEST_F(ConfigTest, AFileThatCannotBeReadIsNotTakenForEmpty) {
  std::filesystem::create_directory(File());
  const auto names_it = StatusIs(absl::StatusCode::kFailedPrecondition,
                                 AllOf(HasSubstr("cannot read"), HasSubstr(File())));
  EXPECT_THAT(LoadConfiguration(), names_it);
  EXPECT_THAT(LoadNewConfiguration({}, "lab"), names_it);
  EXPECT_THAT(SaveProfile(File(), "", {{"target", "box:1"}}), names_it);
  EXPECT_THAT(Client::Connect(), names_it);
  // A chain of links without end can neither be opened nor be said not to be there.
  std::filesystem::remove(File());
  std::filesystem::create_symlink(File(), File());
  EXPECT_THAT(LoadConfiguration(), names_it);
}

TEST_F(ConfigTest, BelowAFileThereIsNoFile) {
  folder_.Write("null", "");
  environment_.Set("XDG_CONFIG_HOME", folder_.File("null"));
  EXPECT_THAT(LoadConfiguration(), IsOk());
}

TEST_F(ConfigTest, ErrorsNameTheLine) {
  for (const auto& [text, line] : {std::pair("target\n", ":1"),
                                   {"\n[lab\n", ":2"},
                                   {"target = x\n\nport = 3\n", ":3"},
                                   {"\n\n\n[]\n", ":4"},
                                   {"tls = perhaps\n", ":1"}}) {
    Write(text);
    EXPECT_THAT(LoadConfiguration(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(File() + line)));
  }
}

TEST_F(ConfigTest, WarnsOfAKeyThatOthersMayRead) {
  Write("api_key = weft_a_b\n", 0644);
  const absl::StatusOr<Configuration> configuration = LoadConfiguration();
  ASSERT_THAT(configuration, IsOk());
  EXPECT_THAT(configuration->warnings, ElementsAre(HasSubstr("chmod 600")));
  Write("target = box:1\n", 0644);
  EXPECT_THAT(LoadConfiguration()->warnings, IsEmpty());
}

TEST_F(ConfigTest, SavingKeepsTheRestOfTheFile) {
  Write("# mine\ntarget = box:1\n[lab]\n# theirs\ntarget = lab:2\n", 0644);
  ASSERT_THAT(SaveProfile(File(), "", {{"api_key", "weft_a_b"}, {"target", "box:9"}}), IsOk());
  ASSERT_THAT(SaveProfile(File(), "lab", {{"api_key", "weft_l_l"}}), IsOk());
  ASSERT_THAT(SaveProfile(File(), "new", {{"target", "new:1"}}), IsOk());
  EXPECT_EQ(Text(),
            "api_key = weft_a_b\n# mine\ntarget = box:9\n[lab]\napi_key = weft_l_l\n# theirs\n"
            "target = lab:2\n[new]\ntarget = new:1\n");
  struct stat info = {};
  ASSERT_EQ(stat(File().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ConfigTest, SavingNothingForgetsASetting) {
  Write("target = box:1\ntls = true\nca = a.pem\ntls = false\n[lab]\ntls = true\n");
  ASSERT_THAT(SaveProfile(File(), "", {{"tls", ""}, {"cert", ""}, {"target", "box:2"}}), IsOk());
  EXPECT_EQ(Text(), "target = box:2\nca = a.pem\n[lab]\ntls = true\n");
}

TEST_F(ConfigTest, WhatIsSavedIsWhatIsReadThoughItStoodThereTwice) {
  Write("api_key = weft_a_b\n# again\napi_key = weft_c_d\n");
  ASSERT_THAT(SaveProfile(File(), "", {{"api_key", "weft_e_f"}}), IsOk());
  EXPECT_EQ(Text(), "api_key = weft_e_f\n# again\n");
}

TEST_F(ConfigTest, SavingMakesTheFolderForItsOwner) {
  const std::string file = folder_.File("a/weft/config");
  ASSERT_THAT(SaveProfile(file, "", {{"target", "box:1"}}), IsOk());
  struct stat info = {};
  ASSERT_EQ(stat(folder_.File("a/weft").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  // A line end would begin a setting of its own.
  EXPECT_THAT(SaveProfile(file, "", {{"api_key", "a\ntls = false"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("several lines")));
}

TEST_F(ConfigTest, AClientConnectsByIt) {
  ScriptedService service;
  ScriptedServer server;
  Write("target = " + server.Start(&service) + "\napi_key = weft_a_b\n");
  ASSERT_THAT(Client::Connect(), IsOk());
  EXPECT_EQ(service.authorization(), "Bearer weft_a_b");
}

}  // namespace
}  // namespace weft::client_test
