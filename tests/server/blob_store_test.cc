#include "server/blobs/blob_store.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/limits/limiter.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::blobs {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using weft::testing::IsOk;
using weft::testing::StatusIs;

constexpr absl::Duration kTimeToLive = absl::Hours(24 * 7);

keys::Key KeyOf(const std::string& id, uint64_t blob_bytes = 0) {
  keys::Key key;
  key.id = id;
  key.limits.blob_bytes = blob_bytes;
  return key;
}

std::string HashOf(const std::string& bytes) {
  return graph::ContentHash::Of(bytes.data(), bytes.size()).value();
}

std::string BytesOf(const UsedBlob& used) { return {used.file->data(), used.file->bytes()}; }

/// Bytes that differ by `seed`.
std::string Bytes(size_t size, char seed = 'a') { return std::string(size, seed); }

double RetryAfter(const absl::Status& status) {
  return graph::FromStatus(status).retry_after_seconds;
}

class BlobStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen(); }

  void Reopen(BlobStore::Limits limits = {}) {
    store_.reset();
    auto opened = Open(limits);
    ASSERT_THAT(opened, IsOk());
    store_ = *std::move(opened);
  }
  absl::StatusOr<std::unique_ptr<BlobStore>> Open(BlobStore::Limits limits = {}) {
    return BlobStore::Open(folder_.path(), {.limits = limits, .now = [this] { return now_; }});
  }

  absl::StatusOr<Blob> Upload(const keys::Key& key, const std::string& bytes) {
    auto upload = store_->Begin(key, HashOf(bytes), bytes.size());
    if (!upload.ok()) return upload.status();
    if (absl::Status added = (*upload)->Append(bytes.data(), bytes.size()); !added.ok()) {
      return added;
    }
    return (*upload)->Finish();
  }

  absl::StatusOr<std::vector<Blob>> Keep(const keys::Key& key,
                                         const std::vector<std::string>& contents) {
    std::vector<BlobStore::Bytes> bytes;
    for (const std::string& content : contents) bytes.push_back({content.data(), content.size()});
    return store_->Keep(key, bytes);
  }

  std::string PathOf(const std::string& owner, const std::string& bytes) const {
    return folder_.File(
        absl::StrCat("blobs/", owner, "/", graph::ContentHash::ToText(HashOf(bytes))));
  }
  bool FileOf(const std::string& owner, const std::string& bytes) const {
    return std::filesystem::exists(PathOf(owner, bytes));
  }
  std::vector<std::string> Incoming() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.File("blobs/.incoming"))) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  testing::TempFolder folder_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  std::unique_ptr<BlobStore> store_;
  const keys::Key ana_ = KeyOf("ana");
  const keys::Key bob_ = KeyOf("bob");
};

TEST_F(BlobStoreTest, GivesBackWhatCameInPieces) {
  const std::string bytes = "the bytes of a tensor";
  auto upload = store_->Begin(ana_, HashOf(bytes), bytes.size());
  ASSERT_THAT(upload, IsOk());
  for (char c : bytes) ASSERT_THAT((*upload)->Append(&c, 1), IsOk());
  EXPECT_THAT(
      store_->Renew(ana_, HashOf(bytes)),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr(graph::ContentHash::ToText(HashOf(bytes)))));
  auto blob = (*upload)->Finish();
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(blob->sha256, HashOf(bytes));
  EXPECT_EQ(blob->bytes, bytes.size());
  EXPECT_EQ(blob->expires, now_ + kTimeToLive);
  upload->reset();

  Reopen();
  auto used = store_->Use(ana_, HashOf(bytes));
  ASSERT_THAT(used, IsOk());
  EXPECT_THAT((*used)->file->Load(), IsOk());
  EXPECT_EQ(BytesOf(**used), bytes);
  auto listed = store_->List(ana_);
  ASSERT_THAT(listed, IsOk());
  ASSERT_EQ(listed->size(), 1);
  EXPECT_EQ((*listed)[0].sha256, HashOf(bytes));
}

TEST_F(BlobStoreTest, KeepsFilesToTheirOwner) {
  ASSERT_THAT(Upload(ana_, "secret"), IsOk());
  struct stat status;
  ASSERT_EQ(stat(PathOf("ana", "secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600);
  for (const char* folder : {"blobs", "blobs/ana", "blobs/.incoming"}) {
    ASSERT_EQ(stat(folder_.File(folder).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700) << folder;
  }
  ASSERT_EQ(stat(folder_.File("blobs.db").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600);
}

TEST_F(BlobStoreTest, AnEmptyBlobIsABlob) {
  ASSERT_THAT(Upload(ana_, ""), IsOk());
  auto used = store_->Use(ana_, HashOf(""));
  ASSERT_THAT(used, IsOk());
  EXPECT_EQ(BytesOf(**used), "");
  EXPECT_THAT((*used)->file->Load(), IsOk());
}

TEST_F(BlobStoreTest, WhatAnotherKeyHasIsAsAbsentAsWhatNobodyHas) {
  ASSERT_THAT(Upload(bob_, "bob's"), IsOk());
  const auto without_hash = [](const absl::Status& status, const std::string& bytes) {
    std::string text(status.message());
    const std::string hash = graph::ContentHash::ToText(HashOf(bytes));
    text.replace(text.find(hash), hash.size(), "HASH");
    return std::make_pair(status.code(), text);
  };
  const auto same = [&](const absl::Status& others, const absl::Status& nobodys) {
    EXPECT_EQ(others.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(without_hash(others, "bob's"), without_hash(nobodys, "nobody's"));
  };
  same(store_->Use(ana_, HashOf("bob's")).status(), store_->Use(ana_, HashOf("nobody's")).status());
  same(store_->Renew(ana_, HashOf("bob's")).status(),
       store_->Renew(ana_, HashOf("nobody's")).status());
  same(store_->Delete(ana_, HashOf("bob's")), store_->Delete(ana_, HashOf("nobody's")));
  EXPECT_THAT(*store_->List(ana_), IsEmpty());
  // Bytes that both have are kept for each.
  ASSERT_THAT(Upload(ana_, "bob's"), IsOk());
  EXPECT_EQ(store_->usage().blobs, 2);
  ASSERT_THAT(store_->Delete(ana_, HashOf("bob's")), IsOk());
  EXPECT_THAT(store_->Use(bob_, HashOf("bob's")), IsOk());
}

TEST_F(BlobStoreTest, RefusesBytesThatAreNotThoseAnnounced) {
  const std::string bytes = "twelve bytes";
  const auto begin = [&](uint64_t size) {
    return store_->Begin(ana_, HashOf(bytes), size).value();
  };
  {
    auto upload = begin(bytes.size());
    ASSERT_THAT(upload->Append("twelve Bytes", 12), IsOk());
    EXPECT_THAT(upload->Finish(), StatusIs(absl::StatusCode::kInvalidArgument,
                                           AllOf(HasSubstr("SHA-256"), HasSubstr("announced"))));
  }
  {
    auto upload = begin(bytes.size() - 1);
    EXPECT_THAT(upload->Append(bytes.data(), bytes.size()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more bytes than the 11")));
  }
  {
    auto upload = begin(bytes.size() + 1);
    ASSERT_THAT(upload->Append(bytes.data(), bytes.size()), IsOk());
    EXPECT_THAT(upload->Finish(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("after 12 of the 13")));
  }
  EXPECT_THAT(store_->Begin(ana_, "short", 12).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("32 bytes")));
  EXPECT_THAT(*store_->List(ana_), IsEmpty());
  EXPECT_THAT(Incoming(), IsEmpty());
  EXPECT_EQ(store_->usage().bytes, 0);
}

TEST_F(BlobStoreTest, AnUploadThatIsGivenUpLeavesNothing) {
  Reopen({.key_bytes = 1 << 20});
  auto upload = store_->Begin(ana_, HashOf(Bytes(1 << 20)), 1 << 20).value();
  ASSERT_THAT(upload->Append(Bytes(1000).data(), 1000), IsOk());
  EXPECT_EQ(Incoming().size(), 1);
  upload.reset();
  EXPECT_THAT(Incoming(), IsEmpty());
  // And its room is free.
  EXPECT_THAT(Upload(ana_, Bytes(1 << 20)), IsOk());
}

TEST_F(BlobStoreTest, TheQuotaCountsUploadsUnderWay) {
  Reopen({.key_bytes = 1 << 20});
  auto upload = store_->Begin(ana_, HashOf("a"), 600 << 10);
  ASSERT_THAT(upload, IsOk());
  const absl::Status refused = store_->Begin(ana_, HashOf("b"), 600 << 10).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("blob_bytes")));
  EXPECT_EQ(RetryAfter(refused), 1);
  EXPECT_THAT(store_->Begin(bob_, HashOf("b"), 600 << 10), IsOk());
  upload->reset();
  EXPECT_THAT(store_->Begin(ana_, HashOf("b"), 600 << 10), IsOk());
}

TEST_F(BlobStoreTest, AFullQuotaNamesTheLimitAndWhenThereIsRoom) {
  Reopen({.key_bytes = 1 << 20});
  ASSERT_THAT(Upload(ana_, Bytes(400 << 10, 'a')), IsOk());
  now_ += absl::Hours(1);
  ASSERT_THAT(Upload(ana_, Bytes(400 << 10, 'b')), IsOk());
  absl::Status refused = Upload(ana_, Bytes(600 << 10, 'c')).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted,
                                AllOf(HasSubstr("limit blob_bytes"), HasSubstr("1048576"))));
  EXPECT_EQ(limits::NameOf(refused), "blob_bytes");
  EXPECT_EQ(RetryAfter(refused), absl::ToDoubleSeconds(kTimeToLive - absl::Hours(1)));
  // What needs both to go has to wait for the second.
  refused = Upload(ana_, Bytes(1 << 20, 'd')).status();
  EXPECT_EQ(RetryAfter(refused), absl::ToDoubleSeconds(kTimeToLive));
  now_ += kTimeToLive;
  EXPECT_THAT(Upload(ana_, Bytes(1 << 20, 'd')), IsOk());
}

TEST_F(BlobStoreTest, WhatIsLargerThanTheQuotaIsRefusedForGood) {
  const absl::Status refused = store_->Begin(KeyOf("eva", 1000000), HashOf("a"), 1000001).status();
  EXPECT_EQ(limits::NameOf(refused), "blob_bytes");
  EXPECT_EQ(RetryAfter(refused), 0);
}

TEST_F(BlobStoreTest, AKeysOwnLimitTakesTheDefaultsPlace) {
  Reopen({.key_bytes = 1 << 20});
  EXPECT_EQ(store_->QuotaOf(ana_), 1 << 20);
  const keys::Key rich = KeyOf("eva", 4 << 20);
  EXPECT_EQ(store_->QuotaOf(rich), 4 << 20);
  EXPECT_THAT(store_->Begin(rich, HashOf("a"), 3 << 20), IsOk());
  store_->SetLimits({.key_bytes = 0});
  EXPECT_EQ(store_->QuotaOf(ana_), 0);
  EXPECT_THAT(store_->Begin(ana_, HashOf("a"), 3 << 20), IsOk());
}

TEST_F(BlobStoreTest, TheServersTotalBoundsAllKeys) {
  Reopen({.total_bytes = 1 << 20});
  ASSERT_THAT(Upload(ana_, Bytes(600 << 10)), IsOk());
  const absl::Status refused = Upload(bob_, Bytes(600 << 10)).status();
  EXPECT_THAT(refused,
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("--max-blob-bytes")));
  EXPECT_EQ(limits::NameOf(refused), "");
  EXPECT_EQ(RetryAfter(refused), absl::ToDoubleSeconds(kTimeToLive));
  ASSERT_THAT(store_->Delete(ana_, HashOf(Bytes(600 << 10))), IsOk());
  EXPECT_THAT(Upload(bob_, Bytes(600 << 10)), IsOk());
}

TEST_F(BlobStoreTest, SmallBlobsCountAsMoreThanTheirBytes) {
  Reopen({.key_bytes = 3 * kLeastCharge});
  for (const char* bytes : {"a", "b", "c"}) ASSERT_THAT(Upload(ana_, bytes), IsOk());
  EXPECT_THAT(Upload(ana_, "d"), StatusIs(absl::StatusCode::kResourceExhausted,
                                          HasSubstr("counts as at least 64 KiB")));
  EXPECT_EQ(store_->usage().bytes, 3 * kLeastCharge);
}

TEST_F(BlobStoreTest, EndsUnlessItIsUsedOrUploadedAgain) {
  ASSERT_THAT(Upload(ana_, "used"), IsOk());
  ASSERT_THAT(Upload(ana_, "renewed"), IsOk());
  ASSERT_THAT(Upload(ana_, "left"), IsOk());
  now_ += kTimeToLive - absl::Hours(1);
  EXPECT_THAT(store_->Use(ana_, HashOf("used")), IsOk());
  auto renewed = store_->Renew(ana_, HashOf("renewed"));
  ASSERT_THAT(renewed, IsOk());
  EXPECT_EQ(renewed->expires, now_ + kTimeToLive);
  now_ += absl::Hours(2);
  EXPECT_THAT(store_->Use(ana_, HashOf("left")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no blob")));
  EXPECT_EQ(store_->List(ana_)->size(), 2);
  EXPECT_TRUE(FileOf("ana", "left"));
  ASSERT_THAT(store_->Collect(), IsOk());
  EXPECT_FALSE(FileOf("ana", "left"));
  EXPECT_TRUE(FileOf("ana", "used"));
  EXPECT_TRUE(FileOf("ana", "renewed"));
  EXPECT_EQ(store_->usage().blobs, 2);
  // What has ended may come again.
  EXPECT_THAT(Upload(ana_, "left"), IsOk());
}

TEST_F(BlobStoreTest, WhatIsHeldIsRenewedInsteadOfRemoved) {
  store_.reset();
  bool held = true;
  const auto hold = [&](const std::string& owner, const std::string& sha256) {
    return held && owner == "ana" && sha256 == HashOf("held");
  };
  store_ = BlobStore::Open(folder_.path(), {.now = [this] { return now_; }, .held = hold}).value();
  ASSERT_THAT(Upload(ana_, "held"), IsOk());
  ASSERT_THAT(Upload(ana_, "left"), IsOk());
  ASSERT_THAT(Upload(bob_, "held"), IsOk());
  now_ += kTimeToLive * 2;
  EXPECT_THAT(store_->Use(ana_, HashOf("held")), IsOk()) << "before anybody has collected";
  now_ += kTimeToLive * 2;
  ASSERT_THAT(store_->Collect(), IsOk());
  EXPECT_TRUE(FileOf("ana", "held"));
  EXPECT_FALSE(FileOf("ana", "left"));
  EXPECT_FALSE(FileOf("bob", "held"));
  ASSERT_EQ(store_->List(ana_)->size(), 1);
  EXPECT_EQ(store_->List(ana_)->front().expires, now_ + kTimeToLive);
  held = false;
  now_ += kTimeToLive * 2;
  ASSERT_THAT(store_->Collect(), IsOk());
  EXPECT_FALSE(FileOf("ana", "held"));
}

TEST_F(BlobStoreTest, WhatIsInUseIsNotRemoved) {
  ASSERT_THAT(Upload(ana_, "in use"), IsOk());
  auto used = store_->Use(ana_, HashOf("in use")).value();
  EXPECT_THAT(store_->Delete(ana_, HashOf("in use")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("a run uses")));
  now_ += kTimeToLive * 2;
  ASSERT_THAT(store_->Collect(), IsOk());
  EXPECT_TRUE(FileOf("ana", "in use"));
  EXPECT_EQ(store_->usage().blobs, 1);
  EXPECT_EQ(BytesOf(*used), "in use");
  used.reset();
  ASSERT_THAT(store_->Collect(), IsOk());
  EXPECT_FALSE(FileOf("ana", "in use"));
  EXPECT_EQ(store_->usage().blobs, 0);
}

TEST_F(BlobStoreTest, BytesOutliveABlobThatIsRemoved) {
  ASSERT_THAT(Upload(ana_, "removed"), IsOk());
  std::shared_ptr<const MappedFile> file = store_->Use(ana_, HashOf("removed")).value()->file;
  ASSERT_THAT(store_->Delete(ana_, HashOf("removed")), IsOk());
  EXPECT_FALSE(FileOf("ana", "removed"));
  store_.reset();
  EXPECT_EQ(std::string(file->data(), file->bytes()), "removed");
}

TEST_F(BlobStoreTest, RunsThatUseOneBlobShareItsMemory) {
  ASSERT_THAT(Upload(ana_, "shared"), IsOk());
  EXPECT_EQ(*store_->Use(ana_, HashOf("shared")), *store_->Use(ana_, HashOf("shared")));
}

TEST_F(BlobStoreTest, RemovesWhatACrashLeft) {
  ASSERT_THAT(Upload(ana_, "whole"), IsOk());
  ASSERT_THAT(Upload(ana_, "lost"), IsOk());
  store_.reset();
  folder_.Write("blobs/.incoming/12.0", "half an upload");
  std::ofstream(PathOf("ana", "no row")) << "no row";
  folder_.Write("blobs/ana/notes.txt", "somebody else's");
  std::filesystem::remove(PathOf("ana", "lost"));

  Reopen();
  EXPECT_THAT(Incoming(), IsEmpty());
  EXPECT_FALSE(FileOf("ana", "no row"));
  EXPECT_TRUE(std::filesystem::exists(folder_.File("blobs/ana/notes.txt")));
  auto listed = store_->List(ana_);
  ASSERT_THAT(listed, IsOk());
  ASSERT_EQ(listed->size(), 1);
  EXPECT_EQ((*listed)[0].sha256, HashOf("whole"));
  EXPECT_EQ(store_->usage().blobs, 1);
}

TEST_F(BlobStoreTest, AnotherProcessLeavesUploadsUnderWayAlone) {
  const std::string bytes = "under way";
  auto upload = store_->Begin(ana_, HashOf(bytes), bytes.size()).value();
  ASSERT_THAT(upload->Append(bytes.data(), bytes.size()), IsOk());
  auto other = Open();
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ(Incoming().size(), 1);
  EXPECT_THAT(upload->Finish(), IsOk());
  EXPECT_THAT((*other)->Use(ana_, HashOf(bytes)), IsOk());
}

TEST_F(BlobStoreTest, AFileThatWasCutIsNotServed) {
  ASSERT_THAT(Upload(ana_, "cut short"), IsOk());
  std::filesystem::resize_file(PathOf("ana", "cut short"), 3);
  EXPECT_THAT(store_->Use(ana_, HashOf("cut short")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no blob")));
  ASSERT_THAT(Upload(ana_, "cut short"), IsOk());
  EXPECT_EQ(BytesOf(**store_->Use(ana_, HashOf("cut short"))), "cut short");
}

TEST_F(BlobStoreTest, TwoUploadsOfOneHashGiveOneBlob) {
  const std::string bytes = "twice";
  auto first = store_->Begin(ana_, HashOf(bytes), bytes.size()).value();
  auto second = store_->Begin(ana_, HashOf(bytes), bytes.size()).value();
  ASSERT_THAT(first->Append(bytes.data(), bytes.size()), IsOk());
  ASSERT_THAT(second->Append(bytes.data(), bytes.size()), IsOk());
  EXPECT_THAT(first->Finish(), IsOk());
  const auto used = store_->Use(ana_, HashOf(bytes)).value();
  EXPECT_THAT(second->Finish(), IsOk());
  EXPECT_EQ(BytesOf(*used), bytes);
  EXPECT_EQ(store_->usage().blobs, 1);
  EXPECT_EQ(store_->List(ana_)->size(), 1);
  first.reset();
  second.reset();
  EXPECT_THAT(Incoming(), IsEmpty());
}

TEST_F(BlobStoreTest, ManyThreadsMayKeepTheSameAndDifferentBytes) {
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  std::vector<absl::Status> ends(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5 && ends[t].ok(); ++i) {
        for (const std::string& bytes : {absl::StrCat("same ", i), absl::StrCat("own ", t, i)}) {
          const auto kept = Keep(ana_, {bytes});
          if (!kept.ok()) ends[t] = kept.status();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& end : ends) EXPECT_THAT(end, IsOk());
  EXPECT_EQ(store_->List(ana_)->size(), 5 + kThreads * 5);
  EXPECT_EQ(store_->usage().blobs, 5 + kThreads * 5);
}

TEST_F(BlobStoreTest, KeepingWhatIsThereRenewsIt) {
  ASSERT_THAT(Keep(ana_, {"kept"}), IsOk());
  now_ += absl::Hours(24);
  const auto kept = Keep(ana_, {"kept", "kept", "more"});
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(kept->size(), 3);
  for (const Blob& blob : *kept) EXPECT_EQ(blob.expires, now_ + kTimeToLive);
  EXPECT_EQ(store_->List(ana_)->size(), 2);
}

TEST_F(BlobStoreTest, OfWhatHasNoRoomTogetherNothingIsKept) {
  Reopen({.key_bytes = 1 << 20});
  const std::string large = Bytes(600 << 10, 'a'), other = Bytes(600 << 10, 'b');
  ASSERT_THAT(Keep(ana_, {"there"}), IsOk());
  EXPECT_THAT(Keep(ana_, {"there", large, other}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("blob_bytes")));
  EXPECT_EQ(store_->List(ana_)->size(), 1);
  EXPECT_THAT(Keep(ana_, {"there", large, large}), IsOk());
}

TEST_F(BlobStoreTest, AnnouncedSizesThatDoNotAddUpIn64BitsAreRefused) {
  store_->SetLimits({.total_bytes = 0, .key_bytes = 0, .time_to_live = kTimeToLive});
  EXPECT_THAT(store_->Begin(ana_, HashOf("x"), uint64_t{1} << 63),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("larger than any")));
  const auto upload = store_->Begin(ana_, HashOf("x"), uint64_t{1} << 48);
  EXPECT_THAT(upload, IsOk());
}

}  // namespace
}  // namespace weft::blobs
