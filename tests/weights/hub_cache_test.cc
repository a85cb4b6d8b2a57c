#include "engine/weights/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/environment.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::weights {
namespace {

using ::testing::AllOf;
using testing::Environment;
using ::testing::HasSubstr;
using testing::StatusIs;
using testing::TempFolder;

namespace fs = std::filesystem;

constexpr char kOld[] = "0000000000000000000000000000000000000001";
constexpr char kNew[] = "0000000000000000000000000000000000000002";

/// A cache with org/net in two snapshots, whose files are links into blobs, and with `gpt2`.
class HubCacheTest : public ::testing::Test {
 protected:
  HubCacheTest() {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) {
      environment_.Set(name, std::nullopt);
    }
    environment_.Set("HF_HUB_CACHE", folder_.path());
    const fs::path model = fs::path(folder_.path()) / "models--org--net";
    fs::create_directories(model / "refs" / "refs" / "pr");
    fs::create_directories(model / "blobs");
    folder_.Write("models--org--net/blobs/abc", "{}");
    for (const char* commit : {kOld, kNew}) {
      fs::create_directories(model / "snapshots" / commit);
      fs::create_symlink("../../blobs/abc", model / "snapshots" / commit / "config.json");
    }
    folder_.Write("models--org--net/refs/main", kNew);
    folder_.Write("models--org--net/refs/v1.0", std::string(kOld) + "\n");
    folder_.Write("models--org--net/refs/refs/pr/3", kOld);
    folder_.Write("models--org--net/refs/gone", "0000000000000000000000000000000000000003");
    folder_.Write("models--org--net/refs/out", "../../../..");
    fs::create_directories(fs::path(folder_.path()) / "models--gpt2" / "snapshots");
  }

  std::string Snapshot(const std::string& commit) const {
    return folder_.File("models--org--net/snapshots/" + commit);
  }

  TempFolder folder_;
  Environment environment_;
};

TEST_F(HubCacheTest, AnIdIsTheSnapshotOfItsMainBranch) {
  EXPECT_EQ(FindModelFolder("org/net").value(), Snapshot(kNew));
  EXPECT_TRUE(fs::is_regular_file(FindModelFolder("org/net").value() + "/config.json"));
}

TEST_F(HubCacheTest, ARevisionIsATagACommitOrAPullRequest) {
  EXPECT_EQ(FindModelFolder("org/net@v1.0").value(), Snapshot(kOld));
  EXPECT_EQ(FindModelFolder(std::string("org/net@") + kOld).value(), Snapshot(kOld));
  EXPECT_EQ(FindModelFolder("org/net@refs/pr/3").value(), Snapshot(kOld));
}

TEST_F(HubCacheTest, AFolderIsItself) {
  EXPECT_EQ(FindModelFolder(folder_.path()).value(), folder_.path());
}

TEST_F(HubCacheTest, AnIdThatWasNotDownloadedIsToldWithThoseThatWere) {
  EXPECT_THAT(FindModelFolder("org/other"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("'org/other'"), HasSubstr("gpt2, org/net"),
                             HasSubstr("hf download org/other"))));
}

TEST_F(HubCacheTest, ARevisionThatIsNotThereIsToldWithThoseThatAre) {
  EXPECT_THAT(FindModelFolder("org/net@v2"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("`v2`"), HasSubstr("main"), HasSubstr("v1.0"),
                             HasSubstr(kOld), HasSubstr("--revision v2"))));
  EXPECT_THAT(FindModelFolder("org/net@gone"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("gone")));
  EXPECT_THAT(FindModelFolder("gpt2"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing")));
}

TEST_F(HubCacheTest, NothingOutsideTheCacheIsReached) {
  for (const char* given : {"org/net@out", "org/net@../../..", "org/net@refs/../../..", "../net",
                            "org/../net", "/etc/none", "org/net@", "", "a/b/c", "org/ne t"}) {
    EXPECT_THAT(FindModelFolder(given), StatusIs(absl::StatusCode::kNotFound, HasSubstr("")))
        << given;
  }
}

TEST_F(HubCacheTest, TheCacheIsWhereHuggingFaceHubHasIt) {
  environment_.Set("HOME", "/home/me");
  environment_.Set("HF_HUB_CACHE", std::nullopt);
  EXPECT_EQ(HubCacheFolder(), "/home/me/.cache/huggingface/hub");
  environment_.Set("XDG_CACHE_HOME", "/cache");
  EXPECT_EQ(HubCacheFolder(), "/cache/huggingface/hub");
  environment_.Set("HF_HOME", "/hf");
  EXPECT_EQ(HubCacheFolder(), "/hf/hub");
  environment_.Set("HF_HUB_CACHE", "/hub");
  EXPECT_EQ(HubCacheFolder(), "/hub");
}

}  // namespace
}  // namespace weft::weights
