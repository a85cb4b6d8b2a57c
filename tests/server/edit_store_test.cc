#include "server/edits/edit_store.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::edits {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using weft::testing::IsOk;
using weft::testing::StatusIs;

keys::Key KeyOf(const std::string& id) {
  keys::Key key;
  key.id = id;
  return key;
}

class EditStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { Reopen({}); }

  void Reopen(EditStore::Limits limits) {
    store_.reset();
    auto opened =
        EditStore::Open(folder_.path(), {.limits = limits, .now = [this] { return now_; }});
    ASSERT_THAT(opened, IsOk());
    store_ = *std::move(opened);
  }

  uint64_t Store(const std::string& name, const std::string& program,
                 const std::string& model = "gpt2") {
    const auto stored = store_->Store(ana_, model, name, program);
    EXPECT_THAT(stored, IsOk());
    return stored.ok() ? stored->info.version : 0;
  }
  std::string ProgramOf(const std::string& name, uint64_t version = 0) {
    const auto edit = store_->Get(ana_, "gpt2", name, version);
    return edit.ok() ? edit->program : std::string(edit.status().message());
  }
  std::vector<std::string> Listed(const keys::Key& key, const std::string& model = "") {
    std::vector<std::string> names;
    const auto edits = store_->List(key, model);
    EXPECT_THAT(edits, IsOk());
    for (const EditInfo& edit : *edits) {
      names.push_back(absl::StrCat(edit.model, " ", edit.name, "@", edit.version));
    }
    return names;
  }

  testing::TempFolder folder_;
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  const keys::Key ana_ = KeyOf("ana"), ben_ = KeyOf("ben");
  std::unique_ptr<EditStore> store_;
};

TEST_F(EditStoreTest, ANameThatIsTakenGetsTheNextVersion) {
  EXPECT_EQ(Store("steer", "one"), 1);
  EXPECT_EQ(Store("steer", "two"), 2);
  EXPECT_EQ(ProgramOf("steer"), "two");
  EXPECT_EQ(ProgramOf("steer", 1), "one");
  const auto edit = store_->Get(ana_, "gpt2", "steer", 2);
  ASSERT_THAT(edit, IsOk());
  EXPECT_EQ(edit->info.bytes, 3);
  EXPECT_EQ(edit->info.created, now_);
}

TEST_F(EditStoreTest, WhatIsTheLatestAlreadyIsNoVersionMore) {
  EXPECT_EQ(Store("steer", "one"), 1);
  const auto again = store_->Store(ana_, "gpt2", "steer", "one");
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(again->info.version, 1);
  EXPECT_EQ(Store("steer", "two"), 2);
  EXPECT_EQ(Store("steer", "one"), 3) << "an earlier one comes back as the latest";
}

TEST_F(EditStoreTest, IsForOneModel) {
  Store("steer", "one");
  Store("steer", "other", "llama");
  Store("clamp", "c", "llama");
  EXPECT_THAT(Listed(ana_), ElementsAre("gpt2 steer@1", "llama clamp@1", "llama steer@1"));
  EXPECT_THAT(Listed(ana_, "llama"), ElementsAre("llama clamp@1", "llama steer@1"));
  EXPECT_THAT(Listed(ana_, "falcon"), IsEmpty());
}

TEST_F(EditStoreTest, AVersionThatIsGoneIsNeverGivenAgain) {
  Store("steer", "one");
  Store("steer", "two");
  EXPECT_EQ(store_->Delete(ana_, "gpt2", "steer", 2).value_or(0), 1);
  EXPECT_EQ(ProgramOf("steer"), "one");
  EXPECT_EQ(Store("steer", "three"), 3);
  EXPECT_EQ(store_->Delete(ana_, "gpt2", "steer", 0).value_or(0), 2);
  EXPECT_EQ(Store("steer", "four"), 4);
  Reopen({});
  EXPECT_EQ(store_->Delete(ana_, "gpt2", "steer", 0).value_or(0), 1);
  Reopen({});
  EXPECT_EQ(Store("steer", "five"), 5);
}

TEST_F(EditStoreTest, WhatIsMissingIsToldWithWhatThereIs) {
  EXPECT_THAT(ProgramOf("steer"), HasSubstr("no edit `steer` for the model 'gpt2'; it has none"));
  Store("clamp", "c", "llama");
  EXPECT_THAT(ProgramOf("steer"), HasSubstr("; it has edits for llama"));
  Store("quiet", "q");
  EXPECT_THAT(ProgramOf("steer"), HasSubstr("; for that model it has quiet"));
  Store("steer", "one");
  Store("steer", "two");
  EXPECT_THAT(ProgramOf("steer", 7), HasSubstr("has no version 7; it has 1, 2"));
  for (const uint64_t version : {0, 3}) {
    EXPECT_THAT(store_->Delete(ana_, "gpt2", version == 0 ? "other" : "steer", version),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("it has")));
  }
  for (int i = 0; i < 20; ++i) Store(absl::StrCat("e", i), "x");
  EXPECT_THAT(ProgramOf("other"), AllOf(HasSubstr("e1, "), HasSubstr("...")));
}

TEST_F(EditStoreTest, WhatAnotherKeyHasIsAsAbsentAsWhatNobodyHas) {
  Store("steer", "one");
  const auto get = [&](const std::string& name) {
    return store_->Get(ben_, "gpt2", name, 0).status();
  };
  EXPECT_THAT(get("steer"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("no edit `steer` for the model 'gpt2'; it has none")));
  EXPECT_THAT(get("other"),
              StatusIs(absl::StatusCode::kNotFound,
                       HasSubstr("no edit `other` for the model 'gpt2'; it has none")));
  EXPECT_THAT(store_->Delete(ben_, "gpt2", "steer", 0), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Listed(ben_), IsEmpty());
  EXPECT_EQ(store_->Store(ben_, "gpt2", "steer", "his")->info.version, 1);
  EXPECT_EQ(ProgramOf("steer"), "one");
}

TEST_F(EditStoreTest, IsThereAfterARestart) {
  const std::string program(100'000, '\0');
  Store("steer", program);
  Reopen({});
  EXPECT_EQ(ProgramOf("steer"), program);
  const auto usage = store_->usage();
  ASSERT_THAT(usage, IsOk());
  EXPECT_EQ(usage->bytes, 100'000);
  EXPECT_EQ(usage->edits, 1);
}

TEST_F(EditStoreTest, TheNumberOfAKeysEditsIsBounded) {
  Reopen({.key_edits = 2});
  Store("steer", "one");
  Store("steer", "two");
  EXPECT_THAT(store_->Store(ana_, "gpt2", "clamp", "c"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("2 edits"), HasSubstr("--max-key-edits"))));
  EXPECT_EQ(Store("steer", "two"), 2) << "no version more";
  EXPECT_THAT(store_->Store(ben_, "gpt2", "clamp", "c"), IsOk());
  ASSERT_THAT(store_->Delete(ana_, "gpt2", "steer", 1), IsOk());
  EXPECT_GT(Store("clamp", "c"), 0);
}

TEST_F(EditStoreTest, TheBytesOfAKeysEditsAreBounded) {
  Reopen({.key_bytes = 10});
  Store("steer", "12345");
  EXPECT_THAT(store_->Store(ana_, "gpt2", "steer", "123456"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("5 of 10 bytes"), HasSubstr("--max-key-edit-bytes"))));
  EXPECT_THAT(Listed(ana_), ElementsAre("gpt2 steer@1"));
  Store("steer", "54321");
  ASSERT_THAT(store_->Delete(ana_, "gpt2", "steer", 0), IsOk());
  Store("steer", "1234567890");
}

TEST_F(EditStoreTest, TheBytesOfAllEditsAreBounded) {
  Reopen({.total_bytes = 10});
  Store("steer", "12345");
  EXPECT_THAT(store_->Store(ben_, "gpt2", "steer", "123456"),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("10 bytes"), HasSubstr("--max-edit-bytes"))));
  store_->SetLimits({.total_bytes = 11});
  EXPECT_THAT(store_->Store(ben_, "gpt2", "steer", "123456"), IsOk());
  EXPECT_EQ(store_->usage()->bytes, 11);
}

TEST_F(EditStoreTest, HoldsTheBlobsOfItsEdits) {
  const std::string one(32, '1'), two(32, '2');
  ASSERT_THAT(store_->Store(ana_, "gpt2", "a", "one", {one, one}), IsOk());
  ASSERT_THAT(store_->Store(ana_, "gpt2", "a", "two", {one, two}), IsOk());
  EXPECT_TRUE(store_->HoldsBlob("ana", one));
  EXPECT_TRUE(store_->HoldsBlob("ana", two));
  EXPECT_FALSE(store_->HoldsBlob("ben", one));
  ASSERT_THAT(store_->Delete(ana_, "gpt2", "a", 2), IsOk());
  EXPECT_TRUE(store_->HoldsBlob("ana", one));
  EXPECT_FALSE(store_->HoldsBlob("ana", two));
  ASSERT_THAT(store_->Delete(ana_, "gpt2", "a", 0), IsOk());
  EXPECT_FALSE(store_->HoldsBlob("ana", one));
}

TEST_F(EditStoreTest, ForgetsAKey) {
  const std::string hash(32, '1');
  ASSERT_THAT(store_->Store(ana_, "gpt2", "a", "one", {hash}), IsOk());
  ASSERT_THAT(store_->Store(ben_, "gpt2", "a", "two"), IsOk());
  ASSERT_THAT(store_->Forget(ana_), IsOk());
  EXPECT_THAT(Listed(ana_), IsEmpty());
  EXPECT_FALSE(store_->HoldsBlob("ana", hash));
  EXPECT_THAT(Listed(ben_), ElementsAre("gpt2 a@1"));
  EXPECT_EQ(store_->usage()->bytes, 3);
}

TEST_F(EditStoreTest, SeveralProcessesMayUseAFolder) {
  const auto other = EditStore::Open(folder_.path(), {.limits = {.total_bytes = 10}});
  ASSERT_THAT(other, IsOk());
  Store("steer", "12345");
  EXPECT_EQ((*other)->Store(ana_, "gpt2", "steer", "two")->info.version, 2);
  EXPECT_THAT((*other)->Store(ben_, "gpt2", "steer", "123"),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("--max-edit-bytes")));
  EXPECT_EQ(ProgramOf("steer"), "two");
}

TEST_F(EditStoreTest, KeepsItsFileToItsOwner) {
  struct stat status;
  ASSERT_EQ(stat(folder_.File("edits.db").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600);
}

}  // namespace
}  // namespace weft::edits
