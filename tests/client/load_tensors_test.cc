#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::weft::testing::StatusIs;

/// A file of the format, as written by hand.
std::string WriteFile(const std::string& name, const std::string& header, const std::string& data) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream file(path, std::ios::binary);
  const uint64_t size = header.size();
  for (int byte = 0; byte < 8; ++byte) file.put(static_cast<char>(size >> (8 * byte) & 0xff));
  file << header << data;
  return path;
}

std::string Bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

TEST(LoadTensorsTest, GivesTheTensorsByName) {
  const std::string path = WriteFile("weights.safetensors",
                                     R"({"flag":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},)"
                                     R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[1,25]}})",
                                     std::string(1, '\1') + Bytes({1, 2, 3, 4, 5, 6}));
  const auto tensors = LoadTensors(path).value();
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_THAT(tensors.at("w").shape(), ElementsAre(2, 3));
  EXPECT_THAT(tensors.at("w").ToVector<float>(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(tensors.at("flag").dtype(), kBool);
}

TEST(LoadTensorsTest, NamesTheFileThatIsNotThereOrNone) {
  EXPECT_THAT(LoadTensors("nowhere.safetensors"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("nowhere.safetensors")));
  const std::string path = WriteFile("broken.safetensors", "{]", "");
  EXPECT_THAT(LoadTensors(path),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("broken.safetensors")));
}

TEST(LoadTensorsTest, RefusesADTypeThatProgramsDoNotHave) {
  const std::string path = WriteFile(
      "short.safetensors", R"({"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", "ab");
  EXPECT_THAT(LoadTensors(path), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("F8_E4M3")));
}

}  // namespace
}  // namespace weft::client_test
