// What nnsight gives, Weft gives: every scenario of nnsight/scenarios.weft, in this process and
// through a server, against nnsight/golden.safetensors.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/e2e/service_fixture.h"
#include "tests/support/golden.h"
#include "tests/support/status_matchers.h"
#include "weft/local.h"

namespace weft::testing {
namespace {

using ::testing::HasSubstr;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kFolder[] = WEFT_SOURCE_DIR "/tests/parity/nnsight/";

/// One section of scenarios.weft.
struct Scenario {
  std::string name;
  std::string program;
  double tolerance = 2e-5;  // of scale: attention is sharp
  /// Where nnsight raises: what Weft's refusal says.
  std::string refused;
  /// Saves that lack their value, or steps of it, and what the reason says.
  std::map<std::string, std::string> missing;
  /// What is wrong with the section.
  std::string malformed;
};

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

/// Take a line such as `#! tolerance 1e-4`; false if it is none that there is.
bool ReadDirective(absl::string_view line, Scenario& scenario) {
  if (absl::ConsumePrefix(&line, "#! tolerance ")) {
    return absl::SimpleAtod(line, &scenario.tolerance);
  }
  if (absl::ConsumePrefix(&line, "#! refused ")) {
    scenario.refused = std::string(line);
    return true;
  }
  if (absl::ConsumePrefix(&line, "#! missing ")) {
    const size_t space = line.find(' ');
    if (space == absl::string_view::npos) return false;
    scenario.missing[std::string(line.substr(0, space))] = std::string(line.substr(space + 1));
    return true;
  }
  return false;
}

std::vector<Scenario> ReadScenarios() {
  std::vector<Scenario> scenarios;
  std::ifstream file(absl::StrCat(kFolder, "scenarios.weft"));
  for (std::string line; std::getline(file, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "#! scenario ")) {
      scenarios.emplace_back().name = std::string(rest);
    } else if (scenarios.empty()) {
      continue;  // what the file says of itself
    } else if (absl::StartsWith(line, "#!")) {
      if (!ReadDirective(line, scenarios.back())) scenarios.back().malformed = line;
    } else {
      absl::StrAppend(&scenarios.back().program, line, "\n");
    }
  }
  return scenarios;
}

at::ScalarType ToScalarType(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kInt64:
      return at::kLong;
    case DType::kInt32:
      return at::kInt;
    case DType::kFloat16:
      return at::kHalf;
    case DType::kBFloat16:
      return at::kBFloat16;
    case DType::kFloat64:
      return at::kDouble;
    default:
      EXPECT_EQ(dtype, DType::kFloat32) << "no scenario saves this dtype";
      return at::kFloat;
  }
}

/// Add the tensors of a value as `name`, `name/0`, `name/logits`; none adds nothing.
void Flatten(const std::string& name, const Value& value, Tensors& out) {
  if (const auto* tensor = value.FindAs<Tensor>()) {
    // The bytes are the tensor's, so they are copied.
    out[name] = at::from_blob(const_cast<void*>(tensor->data()), tensor->shape(),
                              at::TensorOptions(ToScalarType(tensor->dtype())))
                    .clone();
  } else if (const auto* number = value.FindAs<int64_t>()) {
    out[name] = at::scalar_tensor(*number, at::kLong);
  } else if (const auto* real = value.FindAs<double>()) {
    out[name] = at::scalar_tensor(*real, at::kFloat);
  } else if (const auto* flag = value.FindAs<bool>()) {
    out[name] = at::scalar_tensor(*flag, at::kBool);
  } else if (const auto* dict = value.FindAs<Value::Dict>()) {
    for (const auto& [key, item] : dict->entries) Flatten(absl::StrCat(name, "/", key), item, out);
  } else {
    for (size_t i = 0; i < value.size(); ++i) Flatten(absl::StrCat(name, "/", i), value[i], out);
  }
}

/// `save`, and where it is one of many `save/POINT`, `save/STEP`, `save/h.0.output`.
std::string NameOf(const event::Result& result) {
  std::string name = result.name;
  if (result.point) absl::StrAppend(&name, "/", *result.point);
  if (result.step) absl::StrAppend(&name, "/", *result.step);
  if (result.entry) absl::StrAppend(&name, "/", result.entry->ToString());
  return name;
}

/// A server on a real engine, started once for all scenarios.
class SharedService final : public ServiceTest {
 public:
  SharedService() {
    SetUp();
    remote = NewBackend(NewKey({"trace", "weights"}));
  }
  void TestBody() override {}

  std::shared_ptr<Backend> remote;
};

class NnsightParityTest : public ::testing::TestWithParam<Scenario> {
 protected:
  static void SetUpTestSuite() {
    service_ = std::make_unique<SharedService>();
    local_ = MakeLocalBackend({.models = {{"tiny", TinyFolder()}}, .threads = 1}).value();
    golden_ = LoadGolden(absl::StrCat(kFolder, "golden.safetensors"));
  }
  static void TearDownTestSuite() {
    service_.reset();
    local_.reset();
    golden_.clear();
  }

  /// What nnsight gave for this scenario, by save.
  static Tensors Expected() {
    Tensors expected;
    const std::string prefix = GetParam().name + "/";
    for (const auto& [name, tensor] : golden_) {
      if (absl::StartsWith(name, prefix)) expected[name.substr(prefix.size())] = tensor;
    }
    return expected;
  }

  void ExpectNnsightsNumbers(Backend& backend) {
    const Scenario& scenario = GetParam();
    ASSERT_EQ(scenario.malformed, "");
    const absl::StatusOr<Program> program = Program::Parse(scenario.program);
    ASSERT_THAT(program, IsOk());
    Tensors actual;
    std::map<std::string, std::string> missing;
    const absl::Status status = backend.Run("tiny", *program, {}, [&](RunEvent event) {
      if (auto* result = std::get_if<event::Result>(&event)) {
        Flatten(NameOf(*result), result->value, actual);
      } else if (auto* gone = std::get_if<event::Missing>(&event)) {
        missing[gone->name] = gone->reason.ToString();
      }
    });
    if (!scenario.refused.empty()) {
      EXPECT_THAT(status.ToString(), HasSubstr(scenario.refused));
      EXPECT_FALSE(status.ok());
      return;
    }
    ASSERT_THAT(status, IsOk());
    const Tensors expected = Expected();
    EXPECT_FALSE(expected.empty() && scenario.missing.empty()) << "nothing is expected";
    for (const auto& [name, tensor] : expected) {
      ASSERT_TRUE(actual.contains(name)) << "no save gave " << name;
      ExpectClose(actual.at(name), tensor, scenario.tolerance, name);
    }
    for (const auto& [name, unused] : actual) {
      EXPECT_TRUE(expected.contains(name)) << "nothing is known of " << name;
    }
    for (const auto& [name, reason] : missing) {
      ASSERT_TRUE(scenario.missing.contains(name)) << name << " has no value: " << reason;
      EXPECT_THAT(reason, HasSubstr(scenario.missing.at(name)));
    }
    EXPECT_EQ(missing.size(), scenario.missing.size()) << "a value came that should lack";
  }

  static std::unique_ptr<SharedService> service_;
  static std::shared_ptr<Backend> local_;
  static Tensors golden_;
};

std::unique_ptr<SharedService> NnsightParityTest::service_;
std::shared_ptr<Backend> NnsightParityTest::local_;
Tensors NnsightParityTest::golden_;

TEST_P(NnsightParityTest, InProcess) { ExpectNnsightsNumbers(*local_); }

TEST_P(NnsightParityTest, Remote) { ExpectNnsightsNumbers(*service_->remote); }

INSTANTIATE_TEST_SUITE_P(, NnsightParityTest, ::testing::ValuesIn(ReadScenarios()),
                         [](const ::testing::TestParamInfo<Scenario>& info) {
                           return info.param.name;
                         });

TEST(NnsightScenariosTest, EveryExpectationBelongsToAScenario) {
  std::set<std::string> names;
  for (const Scenario& scenario : ReadScenarios()) names.insert(scenario.name);
  EXPECT_GE(names.size(), 100u);
  for (const auto& [name, unused] : LoadGolden(absl::StrCat(kFolder, "golden.safetensors"))) {
    EXPECT_TRUE(names.contains(name.substr(0, name.find('/')))) << name;
  }
}

}  // namespace
}  // namespace weft::testing
