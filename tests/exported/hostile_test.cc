// Archives are data from strangers: whatever is wrong with one is refused by name, and nothing
// crashes, reads beyond it, or takes more than it may.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/exported/exported_model.h"
#include "engine/models/hosted_model.h"
#include "tests/exported/edited_archive.h"
#include "tests/exported/mutations.h"
#include "tests/support/status_matchers.h"

namespace weft::testing {
namespace {

using Json = EditedArchive::Json;

constexpr uint64_t kMemory = uint64_t{256} << 20;

/// Read it, and try it out as hosting does.
absl::Status Host(const std::string& bytes) {
  const auto archive = exported::Archive::FromBytes("strange.pt2", bytes);
  if (!archive.ok()) return archive.status();
  auto network = exported::MakeNetwork(*archive, {.memory_bytes = kMemory});
  if (!network.ok()) return network.status();
  return models::HostedModel::Host(*std::move(network), true).status();
}

/// Refused by name, and by nobody's fault but the archive's.
MATCHER_P(Refused, what, "") {
  *result_listener << "whose status is " << arg.ToString();
  const bool fault = arg.code() == absl::StatusCode::kInvalidArgument ||
                     arg.code() == absl::StatusCode::kUnimplemented ||
                     arg.code() == absl::StatusCode::kResourceExhausted ||
                     arg.code() == absl::StatusCode::kNotFound;
  const std::string message(arg.message());
  return fault && absl::StrContains(message, "strange.pt2") && absl::StrContains(message, what);
}

// --- the archive --------------------------------------------------------------------------------

TEST(HostileArchiveTest, StoredAndDeflatedEntriesAreRead) {
  EXPECT_THAT(Host(EditedArchive("mlp").Bytes()), IsOk());
  EXPECT_THAT(Host(EditedArchive("mlp").Bytes(/*deflated=*/true)), IsOk());
}

TEST(HostileArchiveTest, APartOfAnArchiveIsNone) {
  const std::string whole = EditedArchive("mlp").Bytes();
  for (const double part : {0.0, 0.01, 0.3, 0.9, 0.999}) {
    const auto bytes = static_cast<size_t>(part * static_cast<double>(whole.size()));
    EXPECT_THAT(Host(whole.substr(0, bytes)),
                Refused(bytes == 0 ? "without entries" : "zip archive"))
        << part;
  }
  EXPECT_THAT(Host("not a zip archive at all"), Refused("torch.export.save"));
}

TEST(HostileArchiveTest, AChangedByteOfAWeightIsNoticed) {
  std::string bytes = EditedArchive("mlp").Bytes();
  const EditedArchive edited("mlp");
  const std::string weight =
      const_cast<EditedArchive&>(edited).entries().at("data/weights/weight_0");
  const size_t at = bytes.find(weight);
  ASSERT_NE(at, std::string::npos);
  bytes[at + 5] ^= 1;
  EXPECT_THAT(Host(bytes), Refused("weight_0"));
}

TEST(HostileArchiveTest, ABombIsRefusedByItsDirectory) {
  EditedArchive bomb("mlp");
  bomb.entries()["data/weights/weight_0"] = std::string(size_t{64} << 20, '\0');
  EXPECT_THAT(Host(bomb.Bytes(/*deflated=*/true)), Refused("unpack"));
}

TEST(HostileArchiveTest, EntriesLieInOneFolderOnce) {
  std::map<std::string, std::string> entries;
  EditedArchive whole("mlp");
  for (const auto& [name, bytes] : whole.entries()) {
    entries[absl::StrCat("m/", name)] = bytes;
  }
  entries["other/models/model.json"] = "{}";
  EXPECT_THAT(Host(ZipOf(entries, false)), Refused("one folder"));
  EXPECT_THAT(Host(ZipOf({{"plain", "x"}}, false)), Refused("one folder"));
}

TEST(HostileArchiveTest, EntriesUnpackToNoMoreThanTheirFileIsWorth) {
  // Each on its own is packed no tighter than an entry may be.
  EditedArchive bomb("mlp");
  std::mt19937_64 random(1);
  std::string block(size_t{1} << 20, 'x');
  for (size_t i = 0; i < block.size(); i += 512) {
    for (size_t j = i; j < i + 4; ++j) block[j] = static_cast<char>(random());
  }
  for (int i = 0; i < 90; ++i) bomb.entries()[absl::StrCat("data/", i)] = block;
  EXPECT_THAT(Host(bomb.Bytes(/*deflated=*/true)), Refused("the entries up to here unpack to"));
}

/// Places of the records of a zip archive's directory.
std::vector<size_t> DirectoryOf(const std::string& bytes) {
  std::vector<size_t> places;
  for (size_t at = bytes.find("PK\1\2"); at != std::string::npos;
       at = bytes.find("PK\1\2", at + 4)) {
    places.push_back(at);
  }
  return places;
}

TEST(HostileArchiveTest, ADirectoryThatLiesIsNoticed) {
  constexpr size_t kUnpacked = 24, kOffset = 42;
  const std::string whole = EditedArchive("mlp").Bytes();
  const std::vector<size_t> records = DirectoryOf(whole);
  ASSERT_GT(records.size(), 4);
  // All entries in the bytes of the first: their checksums are others.
  std::string bytes = whole;
  for (const size_t at : records) bytes.replace(at + kOffset, 4, whole, records[0] + kOffset, 4);
  EXPECT_THAT(Host(bytes), Refused("entry `"));
  // Beyond the end of the file.
  bytes = whole;
  for (const size_t at : records) bytes.replace(at + kOffset, 4, "\xff\xff\xff\x7f");
  EXPECT_THAT(Host(bytes), Refused(""));
  // More than there is.
  bytes = whole;
  for (const size_t at : records) bytes.replace(at + kUnpacked, 4, "\xf0\xff\xff\x7f");
  EXPECT_THAT(Host(bytes), Refused("unpack to"));
}

TEST(HostileArchiveTest, ManyEntriesAreRefused) {
  std::map<std::string, std::string> entries;
  for (int i = 0; i <= static_cast<int>(exported::Archive::kMostEntries); ++i) {
    entries[absl::StrCat("m/", i)] = "";
  }
  EXPECT_THAT(Host(ZipOf(entries, false)), Refused("entries"));
}

// --- what the archive says ----------------------------------------------------------------------

TEST(HostileProgramTest, EveryNamedMutationIsRefusedByName) {
  const std::vector<Mutation> mutations = Mutations();
  EXPECT_GE(mutations.size(), 80);
  for (const Mutation& mutation : mutations) {
    EditedArchive archive(mutation.archive);
    mutation.change(archive);
    EXPECT_THAT(Host(archive.Bytes()), Refused(mutation.says)) << mutation.name;
  }
}

// --- rows ---------------------------------------------------------------------------------------

/// Whether rows of several people would share a pass of it.
bool Packs(const EditedArchive& archive) {
  const auto read = exported::Archive::FromBytes("strange.pt2", archive.Bytes());
  EXPECT_THAT(read.status(), IsOk());
  auto network = exported::MakeNetwork(*read, {.memory_bytes = kMemory});
  EXPECT_THAT(network.status(), IsOk());
  if (!network.ok()) return true;
  const auto model = models::HostedModel::Host(*std::move(network), true);
  EXPECT_THAT(model.status(), IsOk());
  return !model.ok() || !(*model)->spec().input().one_invoke;
}

/// `NAME = OP(...)` on sizes, before everything else but the first node.
void Count(Json& model, const std::string& name, const std::string& op,
           const std::vector<Json>& arguments) {
  Json node, output;
  output["as_sym_int"]["as_name"] = name;
  node["name"] = name;
  node["target"] = op;
  node["inputs"] = Json::array();
  node["outputs"] = Json::array();
  node["outputs"].push_back(output);
  node["metadata"] = Json::object();
  for (const Json& argument : arguments) {
    node["inputs"].push_back({{"name", ""}, {"arg", argument}, {"kind", 1}});
  }
  Json& nodes = Graph(model)["nodes"];
  nodes.insert(nodes.end() - 2, node);
}
Json Number(const std::string& name) { return {{"as_sym_int", {{"as_name", name}}}}; }
Json Constant(int64_t number) { return {{"as_int", number}}; }
Json Sizes(const Json& first, const Json& second) {
  return {{"as_sym_ints", {first["as_sym_int"], second}}};
}

/// `mlp`, whose rows lie apart, with another operator in the place of `relu` that makes the same
/// of the few rows with which a program is tried.
EditedArchive WithSizes(const std::function<void(Json&)>& change) {
  EditedArchive archive("mlp");
  archive.Model([&](Json& model) {
    Count(model, "rows", "torch.ops.aten.sym_size.int", {Tensor("linear"), Constant(0)});
    Count(model, "wide", "torch.ops.aten.sym_size.int", {Tensor("linear"), Constant(1)});
    change(model);
  });
  return archive;
}

TEST(HostileRowsTest, RowsLieApartForEveryNumberOfThemOrAreNotPacked) {
  constexpr int kRelu = 3;  // behind two sizes
  EXPECT_TRUE(Packs(EditedArchive("mlp")));
  EXPECT_TRUE(Packs(WithSizes([](Json& m) {
    Call(m, kRelu, "view",
         {{"self", Tensor("linear")}, {"size", Sizes(Number("rows"), Constant(-1))}});
  })));
  // Of 64 rows and more, two in one.
  EXPECT_FALSE(Packs(WithSizes([](Json& m) {
    Count(m, "least", "torch.sym_min", {Number("rows"), Constant(64)});
    Call(m, kRelu + 1, "view",
         {{"self", Tensor("linear")}, {"size", Sizes(Number("least"), Constant(-1))}});
  })));
  // The first eight.
  EXPECT_FALSE(Packs(WithSizes([](Json& m) {
    Call(m, kRelu, "slice.Tensor",
         {{"self", Tensor("linear")}, {"dim", Constant(0)}, {"end", Number("wide")}});
  })));
  // How many there are, beyond what was tried.
  EXPECT_FALSE(Packs(WithSizes([](Json& m) {
    Count(m, "most", "torch.sym_max", {Number("rows"), Constant(64)});
    Call(m, kRelu + 1, "add.Scalar", {{"self", Tensor("linear")}, {"other", Number("most")}});
  })));
}

TEST(HostileRowsTest, AnInputThatIsTheSameForAllIsOneInvokes) {
  EXPECT_TRUE(Packs(EditedArchive("several")));
  EditedArchive archive("several");
  archive.Model([](Json& m) {
    Graph(m)["tensor_values"]["extras_bias"]["sizes"] = {Constant(1), Constant(4)};
  });
  EXPECT_FALSE(Packs(archive));
}

TEST(HostileRowsTest, WhatNobodyUsesIsRunAndForgotten) {
  EditedArchive archive("mlp");
  archive.Model([](Json& m) {
    Json& nodes = Graph(m)["nodes"];
    nodes.push_back(nodes[1]);
    Call(m, 3, "zeros", {{"size", {{"as_ints", {4}}}}});
    NodeAt(m, 3)["outputs"] = Json::array();
  });
  EXPECT_TRUE(Packs(archive));
}

// --- whatever else ------------------------------------------------------------------------------

/// A place in a JSON tree, at random.
Json& Pick(Json& root, std::mt19937_64& random) {
  Json* at = &root;
  for (int depth = 0; depth < 12; ++depth) {
    if (!at->is_structured() || at->empty() || (depth > 2 && random() % 6 == 0)) break;
    auto item = at->begin();
    std::advance(item, random() % at->size());
    at = &*item;
  }
  return *at;
}

void Mutate(Json& root, std::mt19937_64& random) {
  Json& place = Pick(root, random);
  switch (random() % 9) {
    case 0:
      place = static_cast<int64_t>(random());
      break;
    case 1:
      place = static_cast<int64_t>(random() % 7) - 3;
      break;
    case 2:
      place = nullptr;
      break;
    case 3:
      place = "x";
      break;
    case 4:
      place = Json::array();
      break;
    case 5:
      place = random() % 2 == 0;
      break;
    case 6:
      if (place.is_array() && !place.empty()) place.erase(random() % place.size());
      break;
    case 7:
      if (place.is_array() && !place.empty()) place.push_back(place[random() % place.size()]);
      break;
    default:
      place = Pick(root, random);
      break;
  }
}

TEST(HostileProgramTest, RandomMutationsAreRefusedOrRun) {
  int hosted = 0, refused = 0;
  for (const char* name :
       {"mlp", "vision", "twice", "structures", "transformer", "assign", "several", "regions"}) {
    const EditedArchive original(name);
    for (uint64_t seed = 0; seed < 60; ++seed) {
      std::mt19937_64 random(seed);
      EditedArchive archive = original;
      for (uint64_t i = 0; i <= seed % 3; ++i) {
        if (random() % 4 == 0) {
          archive.Weights([&](Json& config) { Mutate(config, random); });
        } else {
          archive.Model([&](Json& model) { Mutate(model, random); });
        }
      }
      const absl::Status status = Host(archive.Bytes());
      (status.ok() ? hosted : refused) += 1;
      EXPECT_NE(status.code(), absl::StatusCode::kInternal) << name << " " << seed << status;
    }
  }
  EXPECT_GT(hosted, 0);
  EXPECT_GT(refused, 100);
}

TEST(HostileArchiveTest, RandomBytesOfAnArchiveMayChange) {
  const std::string whole = EditedArchive("mlp").Bytes(/*deflated=*/true);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    std::string bytes = whole;
    for (uint64_t i = 0; i <= seed % 4; ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (seed % 5 == 0) bytes.erase(random() % bytes.size(), random() % 64);
    const absl::Status status = Host(bytes);
    EXPECT_NE(status.code(), absl::StatusCode::kInternal) << seed << status;
  }
}

}  // namespace
}  // namespace weft::testing
