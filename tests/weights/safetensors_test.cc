#include "engine/weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace weft::weights {
namespace {

using testing::TempFolder;

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;

constexpr char kPythonFile[] = WEFT_SOURCE_DIR "/tests/weights/fixtures/python.safetensors";

/// Return a file with `header` as it stands and `data_bytes` bytes of tensors.
std::string FileContent(const std::string& header, size_t data_bytes) {
  uint64_t length = header.size();
  std::string content(sizeof(length), '\0');
  std::memcpy(content.data(), &length, sizeof(length));
  return content + header + std::string(data_bytes, '\x01');
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

TEST(SafetensorsTest, ReadsWhatTheReferenceImplementationWrote) {
  auto file = SafetensorsFile::Open(kPythonFile);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), 11u);
  EXPECT_THAT(file->metadata(),
              ElementsAre(Pair("format", "pt"), Pair("note", "by the reference implementation")));

  const TensorEntry* f32 = file->FindTensor("f32");
  ASSERT_NE(f32, nullptr);
  EXPECT_EQ(f32->dtype, "F32");
  EXPECT_THAT(f32->shape, ElementsAre(2, 3));
  EXPECT_EQ(file->Bytes(*f32), BytesOf<float>({0, 0.25, 0.5, 0.75, 1, 1.25}));

  const TensorEntry* i64 = file->FindTensor("i64");
  ASSERT_NE(i64, nullptr);
  EXPECT_EQ(i64->dtype, "I64");
  EXPECT_EQ(file->Bytes(*i64), BytesOf<int64_t>({-3, -2, -1, 0, 1, 2}));

  const TensorEntry* scalar = file->FindTensor("scalar");
  ASSERT_NE(scalar, nullptr);
  EXPECT_THAT(scalar->shape, IsEmpty());
  EXPECT_EQ(file->Bytes(*scalar), BytesOf<float>({2.5}));

  const TensorEntry* empty = file->FindTensor("empty");
  ASSERT_NE(empty, nullptr);
  EXPECT_THAT(empty->shape, ElementsAre(0, 4));
  EXPECT_THAT(file->Bytes(*empty), IsEmpty());

  EXPECT_NE(file->FindTensor("na\xc3\xafve name"), nullptr);
  EXPECT_EQ(file->FindTensor("f3"), nullptr);
}

TEST(SafetensorsTest, ReadsBackWhatItWrote) {
  TempFolder folder;
  std::string path = folder.File("out.safetensors");
  std::string floats = BytesOf<float>({1, 2, 3});
  std::vector<TensorToWrite> tensors = {
      {.name = "flags", .dtype = "BOOL", .shape = {3}, .bytes = absl::string_view("\1\0\1", 3)},
      {.name = "quote \" and \xe2\x82\xac", .dtype = "F32", .shape = {1, 3}, .bytes = floats},
      {.name = "none", .dtype = "F64", .shape = {2, 0}, .bytes = ""},
  };
  ASSERT_EQ(WriteSafetensors(path, tensors, {{"by", "a test"}}), absl::OkStatus());

  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("by", "a test")));
  ASSERT_EQ(file->tensors().size(), tensors.size());
  for (const TensorToWrite& expected : tensors) {
    const TensorEntry* actual = file->FindTensor(expected.name);
    ASSERT_NE(actual, nullptr) << expected.name;
    EXPECT_EQ(actual->dtype, expected.dtype);
    EXPECT_EQ(actual->shape, expected.shape);
    EXPECT_EQ(file->Bytes(*actual), expected.bytes);
    int64_t alignment = DtypeBytes(actual->dtype).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->Bytes(*actual).data()) % alignment, 0u);
  }
}

TEST(SafetensorsTest, WritesAndReadsAFileWithoutTensors) {
  TempFolder folder;
  std::string path = folder.File("none.safetensors");
  ASSERT_EQ(WriteSafetensors(path, {}), absl::OkStatus());
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->tensors(), IsEmpty());
}

TEST(SafetensorsTest, PadsTheHeaderSoThatTheDataIsAligned) {
  TempFolder folder;
  for (const char* name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    std::string path = folder.File("padded.safetensors");
    ASSERT_EQ(WriteSafetensors(path, {{.name = name, .dtype = "U8", .shape = {1}, .bytes = "x"}}),
              absl::OkStatus());
    uint64_t length = 0;
    std::memcpy(&length, ReadAll(path).data(), sizeof(length));
    EXPECT_EQ(length % 8, 0u) << name;
  }
}

TEST(SafetensorsTest, StaysReadableAfterBeingMoved) {
  auto opened = SafetensorsFile::Open(kPythonFile);
  ASSERT_TRUE(opened.ok()) << opened.status();
  SafetensorsFile moved = *std::move(opened);
  auto other = SafetensorsFile::Open(kPythonFile);
  ASSERT_TRUE(other.ok()) << other.status();
  moved = *std::move(other);
  EXPECT_EQ(moved.Bytes(*moved.FindTensor("scalar")), BytesOf<float>({2.5}));
}

TEST(SafetensorsTest, ReplacesAFileAndLeavesNothingBeside) {
  TempFolder folder;
  std::string path = folder.Write("out.safetensors", "what was there before");
  ASSERT_EQ(WriteSafetensors(path, {{.name = "a", .dtype = "U8", .shape = {1}, .bytes = "x"}}),
            absl::OkStatus());
  EXPECT_TRUE(SafetensorsFile::Open(path).ok());
  auto files = std::filesystem::directory_iterator(folder.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(SafetensorsTest, WritesThroughALinkAndKeepsIt) {
  TempFolder folder;
  std::string target = folder.Write("target.safetensors", "");
  std::string link = folder.File("link.safetensors");
  std::filesystem::create_symlink(target, link);
  ASSERT_EQ(WriteSafetensors(link, {}), absl::OkStatus());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(SafetensorsFile::Open(target).ok());
}

TEST(SafetensorsTest, RefusesToReplaceWhatIsNotAFile) {
  TempFolder folder;
  std::string fifo = folder.File("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, folder.path()}) {
    absl::Status status = WriteSafetensors(path, {});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("not a regular file"));
  }
  EXPECT_TRUE(std::filesystem::is_fifo(fifo));
  EXPECT_EQ(SafetensorsFile::Open(fifo).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SafetensorsTest, NamesThePathThatCannotBeWritten) {
  TempFolder folder;
  std::string path = folder.File("no/such/folder/out.safetensors");
  absl::Status status = WriteSafetensors(path, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

TEST(SafetensorsTest, RefusesTensorsThatAFileCannotHold) {
  struct Case {
    std::vector<TensorToWrite> tensors;
    const char* message;
  };
  std::vector<Case> cases = {
      {{{.name = "a", .dtype = "F32", .shape = {2}, .bytes = "1234"}}, "do not fit F32 [2]"},
      {{{.name = "a", .dtype = "U8", .shape = {-1}, .bytes = ""}}, "do not fit"},
      {{{.name = "a", .dtype = "F31", .shape = {1}, .bytes = "1234"}}, "dtype \"F31\""},
      {{{.name = "a", .dtype = "U8", .shape = {1}, .bytes = "1"},
        {.name = "a", .dtype = "U8", .shape = {1}, .bytes = "2"}},
       "given twice"},
      {{{.name = "__metadata__", .dtype = "U8", .shape = {1}, .bytes = "1"}}, "keeps for itself"},
      {{{.name = "\xff", .dtype = "U8", .shape = {1}, .bytes = "1"}}, "not valid UTF-8"},
  };
  TempFolder folder;
  for (const Case& refused : cases) {
    std::string path = folder.File("out.safetensors");
    absl::Status status = WriteSafetensors(path, refused.tensors);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), StartsWith(path));
    EXPECT_THAT(std::string(status.message()), HasSubstr(refused.message));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
}

TEST(SafetensorsTest, NamesAMissingFile) {
  absl::Status status = SafetensorsFile::Open("no/such.safetensors").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no/such.safetensors"));
}

TEST(SafetensorsTest, EveryTruncationIsAnError) {
  TempFolder folder;
  std::string whole = ReadAll(kPythonFile);
  ASSERT_GT(whole.size(), 500u);
  for (size_t size = 0; size < whole.size(); ++size) {
    std::string path = folder.Write("cut.safetensors", whole.substr(0, size));
    absl::Status status = SafetensorsFile::Open(path).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << size << ": " << status;
    ASSERT_THAT(std::string(status.message()), EndsWith("fetch it again"));
  }
}

TEST(SafetensorsTest, RefusesAHeaderLongerThanTheFile) {
  TempFolder folder;
  std::string content = FileContent("{}", 0);
  content[0] = 3;
  absl::Status status = SafetensorsFile::Open(folder.Write("f", content)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("declares a header of 3 bytes, but has 2"));
}

TEST(SafetensorsTest, RefusesAnAbsurdHeaderLengthWithoutAllocatingIt) {
  TempFolder folder;
  std::string content = std::string(8, '\xff') + "{}";
  absl::Status status = SafetensorsFile::Open(folder.Write("f", content)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("18446744073709551615 bytes"));
}

struct BadHeader {
  const char* name;
  std::string header;
  size_t data_bytes;
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class SafetensorsBadHeaderTest : public ::testing::TestWithParam<BadHeader> {};

TEST_P(SafetensorsBadHeaderTest, IsRefusedNamingFileAndFault) {
  TempFolder folder;
  std::string path =
      folder.Write("bad.safetensors", FileContent(GetParam().header, GetParam().data_bytes));
  absl::Status status = SafetensorsFile::Open(path).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(path));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().message));
}

/// A header with the tensor "a" of the given fields.
std::string One(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }

std::vector<BadHeader> BadHeaders() {
  const std::string deep(1'000'000, '[');
  return {
      {"Empty", "", 0, "does not start with '{'"},
      {"NotJson", "pickle", 0, "does not start with '{'"},
      {"AnArray", "[]", 0, "does not start with '{'"},
      {"LeadingSpace", " {}", 0, "does not start with '{'"},
      {"Unfinished", "{\"a\":", 0, "not valid JSON in UTF-8, at byte"},
      {"Trailing", "{} x", 0, "not valid JSON in UTF-8, at byte"},
      {"NotUtf8", "{\"\xff\":{}}", 0, "not valid JSON in UTF-8, at byte"},
      {"NulByte", std::string("{\0}", 3), 0, "not valid JSON in UTF-8, at byte"},
      {"DeepArrays", "{\"a\":" + deep, 0, "tensor \"a\" is an array, not an object"},
      {"DeepMetadata", "{\"__metadata__\":{\"a\":" + deep, 0, "__metadata__ holds an array"},
      {"DeepShape", "{\"a\":{\"shape\":" + deep, 0, "tensor \"a\" has an array in its shape"},
      {"TensorIsNull", "{\"a\":null}", 0, "tensor \"a\" is null, not an object"},
      {"MetadataNotStrings", R"({"__metadata__":{"a":1}})", 0, "__metadata__ holds a number"},
      {"MetadataTwice", R"({"__metadata__":{"a":"1","a":"2"}})", 0, "has \"a\" twice"},
      {"NameTwice",
       R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "\"a\" occurs twice"},
      {"FieldTwice", One(R"("dtype":"U8","dtype":"F32")"), 0, "has the field dtype twice"},
      {"UnknownField", One(R"("stride":[1])"), 0, "has a field \"stride\""},
      {"NoDtype", One(R"("shape":[1],"data_offsets":[0,1])"), 1, "has no dtype"},
      {"NoShape", One(R"("dtype":"U8","data_offsets":[0,1])"), 1, "has no shape"},
      {"NoOffsets", One(R"("dtype":"U8","shape":[1])"), 1, "has no data_offsets"},
      {"DtypeNotString", One(R"("dtype":4)"), 0, "has a number as its dtype"},
      {"UnknownDtype", One(R"("dtype":"F31","shape":[1],"data_offsets":[0,1])"), 1,
       "unknown dtype \"F31\""},
      {"PackedDtype", One(R"("dtype":"F4","shape":[2],"data_offsets":[0,1])"), 1,
       "unknown dtype \"F4\""},
      {"NegativeDimension", One(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), 1,
       "negative dimension, -1"},
      {"FractionalDimension", One(R"("dtype":"U8","shape":[1.5],"data_offsets":[0,1])"), 1,
       "1.5 is not an integer"},
      {"HugeDimension", One(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1])"),
       1, "dimension of 9223372036854775808"},
      {"DimensionBeyond64Bits",
       One(R"("dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1])"), 1,
       "is not an integer of 64 bits"},
      {"ShapeOverflows",
       One(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"), 0,
       "shape [4294967296, 4294967296], which is too large"},
      {"BytesOverflow", One(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])"),
       0, "shape [2305843009213693952], which is too large"},
      {"TooManyDimensions",
       One("\"dtype\":\"U8\",\"shape\":[1" +
           [] {
             std::string ones;
             for (int i = 0; i < 64; ++i) ones += ",1";
             return ones;
           }() +
           "],\"data_offsets\":[0,1]"),
       1, "more than 64 dimensions"},
      {"NegativeOffset", One(R"("dtype":"U8","shape":[1],"data_offsets":[-1,0])"), 1,
       "negative offset in data_offsets, -1"},
      {"OneOffset", One(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), 1,
       "needs two data_offsets"},
      {"ThreeOffsets", One(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), 1,
       "more than two data_offsets"},
      {"OffsetsReversed", One(R"("dtype":"U8","shape":[1],"data_offsets":[1,0])"), 1,
       "ends before it begins"},
      {"OffsetsDoNotFitShape", One(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4,
       "of F32 [2] takes 8 bytes, but has data_offsets [0, 4]"},
      {"BeyondTheEnd", One(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 4,
       "only 4 bytes follow the header", absl::StatusCode::kDataLoss},
      {"FarBeyondTheEnd",
       One(R"("dtype":"U8","shape":[1],)"
           R"("data_offsets":[18446744073709551614,18446744073709551615])"),
       1, "only 1 bytes follow the header", absl::StatusCode::kDataLoss},
      {"Overlap",
       R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
       R"("b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
       4, "tensors \"a\" and \"b\" overlap at byte 2"},
      {"SameBytesTwice",
       R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "tensors \"a\" and \"b\" overlap at byte 0"},
      {"HoleAtTheStart", One(R"("dtype":"U8","shape":[2],"data_offsets":[2,4])"), 4,
       "bytes [0, 2] before tensor \"a\" belong to no tensor"},
      {"HoleBetween",
       R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]},)"
       R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       4, "bytes [2, 3] before tensor \"b\" belong to no tensor"},
      {"HoleAtTheEnd", One(R"("dtype":"U8","shape":[2],"data_offsets":[0,2])"), 4,
       "bytes [2, 4] at the end belong to no tensor"},
  };
}

INSTANTIATE_TEST_SUITE_P(All, SafetensorsBadHeaderTest, ::testing::ValuesIn(BadHeaders()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SafetensorsTest, TakesTensorsInAnyOrderOfTheHeader) {
  auto header =
      ParseSafetensorsHeader(R"({"b":{"data_offsets":[2,4],"shape":[2],"dtype":"U8"},)"
                             R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                             R"("empty":{"dtype":"F32","shape":[3,0],"data_offsets":[2,2]}}   )",
                             4);
  ASSERT_TRUE(header.ok()) << header.status();
  std::vector<std::string> names;
  for (const TensorEntry& tensor : header->tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("a", "empty", "b"));
}

TEST(SafetensorsTest, AMessageIsReadableWhateverTheName) {
  std::string name = "\\u0007\\n" + std::string(10'000, 'x');
  absl::Status status = ParseSafetensorsHeader("{\"" + name + "\":{}}", 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_LT(status.message().size(), 300u);
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

}  // namespace
}  // namespace weft::weights
