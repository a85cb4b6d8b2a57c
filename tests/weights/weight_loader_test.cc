#include "engine/weights/weight_loader.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/temp_folder.h"

namespace weft::weights {
namespace {

using testing::TempFolder;

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kPythonFile[] = WEFT_SOURCE_DIR "/tests/weights/fixtures/python.safetensors";
constexpr char kTiny[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny";
constexpr char kVariants[] = WEFT_SOURCE_DIR "/tests/parity/gpt2-variants/";

NameRules Gpt2Rules() {
  return {.base_prefix = "transformer.",
          .outside_base = {"lm_head."},
          .ignored_suffixes = {".attn.bias", ".attn.masked_bias"}};
}

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path) {
  absl::StatusOr<HubFolder> folder = HubFolder::Open(path);
  if (!folder.ok()) return folder.status();
  return Checkpoint::Open(*folder, Gpt2Rules());
}

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

/// A folder with a copy of the fixture as its only weights.
class FixtureFolder {
 public:
  FixtureFolder() {
    folder_.Write("config.json", "{}");
    folder_.Write("tokenizer.json", "{}");
    std::filesystem::copy_file(kPythonFile, folder_.File("model.safetensors"));
  }
  Checkpoint Open() {
    return Checkpoint::Open(HubFolder::Open(folder_.path()).value(), NameRules{}).value();
  }
  const TempFolder& folder() const { return folder_; }

 private:
  TempFolder folder_;
};

TEST(LoadTensorsTest, KeepsDtypesShapesAndValues) {
  auto tensors = LoadTensors(kPythonFile);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  at::Tensor ramp = at::arange(6, at::kLong).reshape({2, 3});
  const struct {
    const char* name;
    at::Tensor expected;
  } cases[] = {
      {"f32", ramp.to(at::kFloat) / 4},
      {"f64", ramp.to(at::kDouble) / 4},
      {"f16", ramp.to(at::kHalf) / 4},
      {"bf16", ramp.to(at::kBFloat16) / 4},
      {"i64", ramp - 3},
      {"i32", (ramp - 3).to(at::kInt)},
      {"u8", ramp.to(at::kByte)},
      {"bool", ramp.remainder(2) == 1},
      {"scalar", at::scalar_tensor(2.5)},
      {"empty", at::zeros({0, 4})},
  };
  for (const auto& [name, expected] : cases) {
    ASSERT_EQ(tensors->count(name), 1u) << name;
    const at::Tensor& actual = tensors->at(name);
    EXPECT_EQ(actual.scalar_type(), expected.scalar_type()) << name;
    EXPECT_TRUE(at::equal(actual, expected)) << name;
  }
}

TEST(LoadTensorsTest, RefusesABoolThatIsNeitherTrueNorFalse) {
  TempFolder folder;
  std::string path = folder.File("bool.safetensors");
  ASSERT_TRUE(
      WriteSafetensors(path, {{.name = "b", .dtype = "BOOL", .shape = {1}, .bytes = "\x02"}}).ok());
  absl::Status status = LoadTensors(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr(path), HasSubstr("\"b\"")));
}

TEST(DtypeTest, NamesAndTypesAreInverse) {
  for (const char* dtype : {"F32", "BF16", "F16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL",
                            "U16", "U32", "U64", "C64", "F8_E4M3", "F8_E5M2"}) {
    auto type = ScalarTypeFromDtype(dtype);
    ASSERT_TRUE(type.has_value()) << dtype;
    EXPECT_EQ(DtypeFromScalarType(*type), dtype);
    EXPECT_EQ(static_cast<int64_t>(c10::elementSize(*type)), DtypeBytes(dtype)) << dtype;
  }
  EXPECT_FALSE(ScalarTypeFromDtype("F31").has_value());
  EXPECT_FALSE(DtypeFromScalarType(at::kQInt8).has_value());
}

TEST(CheckpointTest, TakenTensorsOutliveTheFile) {
  FixtureFolder fixture;
  at::Tensor tensor;
  {
    Checkpoint checkpoint = fixture.Open();
    tensor = checkpoint.Take("f32", {2, 3}).value();
  }
  std::filesystem::remove(fixture.folder().File("model.safetensors"));
  EXPECT_EQ(tensor.sum().item<float>(), 3.75f);
}

TEST(CheckpointTest, ConvertsFloatsAndLeavesIntegersAlone) {
  FixtureFolder fixture;
  Checkpoint checkpoint = fixture.Open();
  at::Tensor expected = at::arange(6, at::kFloat).reshape({2, 3}) / 4;
  for (const char* name : {"f16", "bf16", "f64", "f32"}) {
    at::Tensor tensor = checkpoint.Take(name, {2, 3}, at::kFloat).value();
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    EXPECT_TRUE(at::equal(tensor, expected)) << name;
  }
  EXPECT_EQ(checkpoint.Take("f32", {2, 3}, at::kBFloat16)->scalar_type(), at::kBFloat16);
  EXPECT_EQ(checkpoint.Take("i64", {2, 3}, at::kFloat)->scalar_type(), at::kLong);
  EXPECT_EQ(checkpoint.Take("f16", {2, 3})->scalar_type(), at::kHalf);
}

TEST(CheckpointTest, NeverYieldsInferenceTensors) {
  FixtureFolder fixture;
  c10::InferenceMode inference;
  Checkpoint checkpoint = fixture.Open();
  for (std::optional<at::ScalarType> dtype : {std::optional<at::ScalarType>(), {at::kFloat}}) {
    at::Tensor tensor = checkpoint.Take("bf16", {2, 3}, dtype).value();
    EXPECT_FALSE(tensor.is_inference());
    EXPECT_FALSE(tensor.requires_grad());
  }
}

TEST(CheckpointTest, NamesBothShapesWhereTheyDiffer) {
  FixtureFolder fixture;
  Checkpoint checkpoint = fixture.Open();
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 2}, std::vector<int64_t>{6}, std::vector<int64_t>{2, 3, 1}}) {
    absl::Status status = checkpoint.Take("f32", shape).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(status),
                AllOf(HasSubstr("model.safetensors"), HasSubstr("\"f32\""), HasSubstr("[2, 3]"),
                      HasSubstr(absl::StrCat("[", absl::StrJoin(shape, ", "), "]"))));
  }
  EXPECT_THAT(checkpoint.Untaken(), Contains("f32"));
}

TEST(CheckpointTest, NamesATensorThatIsMissing) {
  FixtureFolder fixture;
  Checkpoint checkpoint = fixture.Open();
  EXPECT_FALSE(checkpoint.Has("h.0.ln_1.weight"));
  absl::Status status = checkpoint.Take("h.0.ln_1.weight", {1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(status),
              AllOf(HasSubstr(fixture.folder().path()), HasSubstr("\"h.0.ln_1.weight\"")));
}

TEST(CheckpointTest, ListsWhatNobodyTook) {
  FixtureFolder fixture;
  Checkpoint checkpoint = fixture.Open();
  EXPECT_EQ(checkpoint.Untaken().size(), 11u);
  for (const std::string& name : checkpoint.Untaken()) {
    if (name != "u8" && name != "f16") {
      std::vector<int64_t> shape = {2, 3};
      if (name == "scalar") shape = {};
      if (name == "empty") shape = {0, 4};
      if (name == "na\xc3\xafve name") shape = {1};
      ASSERT_TRUE(checkpoint.Take(name, shape).ok()) << name;
    }
  }
  EXPECT_THAT(checkpoint.Untaken(), ElementsAre("f16", "u8"));
  absl::Status status = checkpoint.CheckAllTaken();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), HasSubstr("does not use: f16, u8"));
  ASSERT_TRUE(checkpoint.Take("f16", {2, 3}).ok());
  ASSERT_TRUE(checkpoint.Take("u8", {2, 3}).ok());
  EXPECT_EQ(checkpoint.CheckAllTaken(), absl::OkStatus());
}

TEST(CheckpointTest, KeepsNamesThatHaveThePrefix) {
  auto checkpoint = OpenCheckpoint(kTiny);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->Untaken(), Each(StartsWith("transformer.")));
  EXPECT_THAT(checkpoint->Untaken(), Each(Not(StartsWith("transformer.transformer."))));
  EXPECT_TRUE(checkpoint->Take("transformer.wte.weight", {97, 32}).ok());
}

TEST(CheckpointTest, AddsThePrefixToOldNamesAndIgnoresBuffers) {
  auto old = OpenCheckpoint(std::string(kVariants) + "openai-names");
  ASSERT_TRUE(old.ok()) << old.status();
  auto plain = OpenCheckpoint(std::string(kVariants) + "inner");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(old->Untaken(), plain->Untaken());
  EXPECT_FALSE(old->Has("transformer.h.0.attn.bias"));
  EXPECT_TRUE(old->Has("transformer.h.0.attn.c_attn.bias"));
}

TEST(CheckpointTest, LeavesNamesOutsideTheBaseWithoutPrefix) {
  auto checkpoint = OpenCheckpoint(std::string(kVariants) + "untied");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->Has("lm_head.weight"));

  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("tokenizer.json", "{}");
  ASSERT_TRUE(
      WriteSafetensors(folder.File("model.safetensors"),
                       {{.name = "wte.weight", .dtype = "U8", .shape = {1}, .bytes = "a"},
                        {.name = "lm_head.weight", .dtype = "U8", .shape = {1}, .bytes = "b"}})
          .ok());
  auto headed = OpenCheckpoint(folder.path());
  ASSERT_TRUE(headed.ok()) << headed.status();
  EXPECT_THAT(headed->Untaken(), ElementsAre("lm_head.weight", "transformer.wte.weight"));
}

TEST(CheckpointTest, ReadsAllShards) {
  auto sharded = OpenCheckpoint(std::string(kVariants) + "sharded");
  ASSERT_TRUE(sharded.ok()) << sharded.status();
  auto whole = OpenCheckpoint(std::string(kVariants) + "inner");
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(sharded->Untaken(), Not(IsEmpty()));
  EXPECT_EQ(sharded->Untaken(), whole->Untaken());
  EXPECT_TRUE(sharded->Take("transformer.wte.weight", {97, 12}).ok());
  EXPECT_TRUE(sharded->Take("transformer.wpe.weight", {12, 12}).ok());
}

TEST(CheckpointTest, RefusesATensorThatIsInTwoShards) {
  TempFolder folder;
  folder.Write("config.json", "{}");
  folder.Write("tokenizer.json", "{}");
  folder.Write("model.safetensors.index.json",
               R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  std::vector<TensorToWrite> tensors = {{.name = "a", .dtype = "U8", .shape = {1}, .bytes = "x"}};
  ASSERT_TRUE(WriteSafetensors(folder.File("one.safetensors"), tensors).ok());
  ASSERT_TRUE(WriteSafetensors(folder.File("two.safetensors"), tensors).ok());
  absl::Status status = OpenCheckpoint(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr("one.safetensors"), HasSubstr("two.safetensors"),
                                       HasSubstr("\"a\"")));
}

TEST(CheckpointTest, NamesAFileThatIsDamaged) {
  FixtureFolder fixture;
  std::string path = fixture.folder().File("model.safetensors");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  absl::Status status = OpenCheckpoint(fixture.folder().path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(status), StartsWith(path));
}

}  // namespace
}  // namespace weft::weights
