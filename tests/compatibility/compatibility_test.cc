#include <gmock/gmock.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/results.h"
#include "client/remote/messages.h"
#include "client/remote/run_call.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "engine/graph/version.h"
#include "tests/e2e/service_fixture.h"
#include "tests/support/program_equality.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kTolerance = 1e-5;

std::string Folder() { return std::string(WEFT_SOURCE_DIR) + "/tests/compatibility/goldens/"; }

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> Names() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    if (entry.path().extension() == ".weft") names.insert(entry.path().stem().string());
  }
  return {names.begin(), names.end()};
}

/// Where two results differ first; empty if they are the same within the tolerance.
std::string Difference(const json& actual, const json& expected, const std::string& at = "") {
  if (expected.is_array() && !expected.empty() && expected[0].is_number_float()) {
    if (!actual.is_array() || actual.size() != expected.size()) return at + ": another size";
    double scale = 1e-30;
    for (const json& number : expected) {
      if (number.is_number()) scale = std::max(scale, std::abs(number.get<double>()));
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      const bool numbers = actual[i].is_number() && expected[i].is_number();
      const bool same = numbers ? std::abs(actual[i].get<double>() - expected[i].get<double>()) <=
                                      kTolerance * scale
                                : actual[i] == expected[i];
      if (!same) return at + "/" + std::to_string(i);
    }
    return "";
  }
  if (!expected.is_structured() || actual.type() != expected.type() ||
      actual.size() != expected.size()) {
    return actual == expected ? "" : at;
  }
  for (const auto& [key, item] : expected.items()) {
    const json::json_pointer child("/" + key);
    if (!actual.contains(child)) return at + "/" + key;
    const std::string found = Difference(actual[child], item, at + "/" + key);
    if (!found.empty()) return found;
  }
  return "";
}

class CompatibilityTest : public ServiceTest {
 protected:
  void SetUp() override {
    ServiceTest::SetUp();
    key_ = NewKey({"trace", "weights"});
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    static bool regenerate = std::getenv("WEFT_REGENERATE_GOLDENS") != nullptr;
    if (std::exchange(regenerate, false)) Regenerate();
  }

  std::unique_ptr<grpc::ClientContext> Context() const {
    auto context = std::make_unique<grpc::ClientContext>();
    context->AddMetadata("authorization", "Bearer " + key_);
    return context;
  }

  static v1::RunRequest Request(const std::string& bytes) {
    v1::RunRequest request;
    EXPECT_TRUE(request.ParseFromString(bytes));
    return request;
  }

  /// `name`, `name[POINT][STEP]` of an item of a list, `name.SITE` of an entry of a cache.
  static std::string KeyOf(const event::Result& result) {
    std::string key = result.name;
    if (result.point) absl::StrAppend(&key, "[", *result.point, "]");
    if (result.step) absl::StrAppend(&key, "[", *result.step, "]");
    if (result.entry) {
      absl::StrAppend(&key, ".", result.entry->module, "@", result.entry->visit, ".",
                      result.entry->point);
    }
    return key;
  }

  absl::Status Run(const v1::RunRequest& request, json* given) {
    *given = {{"saves", json::object()}, {"missing", json::object()}, {"log", json::array()}};
    const auto context = Context();
    const auto take = [&](const RunEvent& event) {
      if (const auto* result = std::get_if<event::Result>(&event)) {
        (*given)["saves"][KeyOf(*result)] = cli::ToJson(result->value, /*with_data=*/true);
      } else if (const auto* missing = std::get_if<event::Missing>(&event)) {
        (*given)["missing"][missing->name] = cli::ToJson(missing->reason)["code"];
      } else if (const auto* log = std::get_if<event::Log>(&event)) {
        (*given)["log"].push_back({log->label, log->text});
      }
    };
    remote::RunCall call(channel_, context.get(), uint64_t{1} << 20, take);
    const remote::RunCall::End end = call.Run(request);
    return end.transport.ok() ? end.status : remote::FromGrpc(end.transport);
  }

  /// What a request gives, as it is kept.
  json Give(const v1::RunRequest& request) {
    json given;
    const absl::Status status = Run(request, &given);
    if (status.ok()) return given;
    const json error = cli::ToJson(status);
    return {{"error", {{"code", error["code"]}, {"node", error.value("node", 0)}}}};
  }

  void Regenerate() {
    for (const std::string& name : Names()) {
      const absl::StatusOr<graph::Program> program =
          graph::ParseProgram(ReadAll(Folder() + name + ".weft"), name + ".weft");
      ASSERT_THAT(program, IsOk()) << name;
      v1::RunRequest request;
      request.set_model("tiny");
      graph::EncodeProgram(*program, request.mutable_program());
      request.mutable_options()->set_seed(7);
      request.set_client_version(kVersion);
      std::ofstream(Folder() + name + ".bin", std::ios::binary) << request.SerializeAsString();
      std::ofstream(Folder() + name + ".json") << Give(request).dump(1) << "\n";
    }
  }

  std::string key_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(CompatibilityTest, OldRequestsGiveWhatTheyGave) {
  ASSERT_THAT(Names(), Not(IsEmpty()));
  for (const std::string& name : Names()) {
    const json expected = json::parse(ReadAll(Folder() + name + ".json"));
    const json actual = Give(Request(ReadAll(Folder() + name + ".bin")));
    EXPECT_EQ(Difference(actual, expected), "") << name << " gave " << actual.dump(1);
  }
}

TEST_F(CompatibilityTest, ValidateSaysTheSame) {
  const auto stub = v1::Weft::NewStub(channel_);
  for (const std::string& name : Names()) {
    const json expected = json::parse(ReadAll(Folder() + name + ".json"));
    const auto context = Context();
    v1::ValidateResponse response;
    const absl::Status status = remote::FromGrpc(
        stub->Validate(context.get(), Request(ReadAll(Folder() + name + ".bin")), &response));
    if (expected.contains("error")) {
      EXPECT_EQ(cli::ToJson(status)["code"], expected["error"]["code"]) << name << status;
    } else {
      ASSERT_THAT(status, IsOk()) << name;
      // Of a list its items' type is told once, of a cache that of each site.
      std::set<std::string> saves;
      for (const auto& [save, value] : expected["saves"].items()) {
        std::string without_item = save.substr(0, save.find('['));
        const size_t visit = without_item.find('@');
        if (visit != std::string::npos) {
          without_item.erase(visit, without_item.find('.', visit) - visit);
        }
        saves.insert(without_item);
      }
      std::set<std::string> told;
      for (const v1::SavedShape& save : response.saves()) told.insert(save.name());
      EXPECT_EQ(told, saves) << name;
    }
  }
}

TEST_F(CompatibilityTest, TextAndBytesMeanTheSame) {
  for (const std::string& name : Names()) {
    const auto text = graph::ParseProgram(ReadAll(Folder() + name + ".weft"));
    const auto bytes = graph::DecodeProgram(Request(ReadAll(Folder() + name + ".bin")).program());
    ASSERT_THAT(text, IsOk()) << name;
    ASSERT_THAT(bytes, IsOk()) << name;
    EXPECT_EQ(graph::FirstDifference(*text, *bytes), "") << name;
  }
}

TEST_F(CompatibilityTest, EveryExecutedKindIsKept) {
  std::set<size_t> kinds;
  for (const std::string& name : Names()) {
    if (json::parse(ReadAll(Folder() + name + ".json")).contains("error")) continue;
    const auto program = graph::DecodeProgram(Request(ReadAll(Folder() + name + ".bin")).program());
    ASSERT_THAT(program, IsOk()) << name;
    for (const graph::Node& node : program->nodes) kinds.insert(node.kind.index());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<decltype(graph::Node::kind)>);
}

/// A request as a later version may write it: with a field, or a kind, that there is none of yet.
v1::RunRequest LaterRequest(const std::string& client_version,
                            const std::string& extra = "\x9a\x06\x01x") {
  v1::RunRequest request;
  request.set_model("tiny");
  graph::EncodeProgram(*graph::ParseProgram("invoke [1] {\n}\n"), request.mutable_program());
  request.set_client_version(client_version);
  EXPECT_TRUE(request.MergeFromString(extra));
  return request;
}

TEST_F(CompatibilityTest, ANewerClientIsToldBothVersions) {
  v1::RunRequest later_option = LaterRequest("99.0.0", "");
  later_option.mutable_options()->set_idempotency_key("mine");
  for (const v1::RunRequest& request : {LaterRequest("99.0.0"), later_option}) {
    const auto both =
        AllOf(HasSubstr("99.0.0"), HasSubstr(kVersion), HasSubstr("upgrade the server"));
    json given;
    EXPECT_THAT(std::string(Run(request, &given).message()), both);
    const auto context = Context();
    v1::ValidateResponse response;
    EXPECT_THAT(
        v1::Weft::NewStub(channel_)->Validate(context.get(), request, &response).error_message(),
        both);
  }
}

TEST_F(CompatibilityTest, AClientThatIsNotNewerIsToldTheField) {
  for (const std::string version : {"", "0.0.1", kVersion, "newest", "99", "99.0.0.0"}) {
    json given;
    EXPECT_THAT(Run(LaterRequest(version), &given),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("field 99"), Not(HasSubstr("upgrade")))))
        << version;
  }
}

TEST_F(CompatibilityTest, AMalformedVersionIsHarmless) {
  for (const std::string version : {"", "v", "9999999999.0.0", "0.1.0\n", "{}; %s"}) {
    v1::RunRequest request = LaterRequest(version, "");
    json given;
    EXPECT_THAT(Run(request, &given), IsOk()) << version;
  }
}

}  // namespace
}  // namespace weft::testing
