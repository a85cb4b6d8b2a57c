#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "engine/engine.h"
#include "engine/graph/codec.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/hostile_clients.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/v1/weft.pb.h"

namespace weft::testing {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr char kPrompt[] = "The Eiffel Tower is in the city of";

/// Bytes of memory that this process holds.
uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

/// A real server, a user of it, and clients that mean no good. How much slower they make the user
/// is what `weft_bench --only hostile` measures.
class LoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = Engine::Create({.threads = 1, .limits = {.peak_bytes = 128 * kMiB}}).value();
    ASSERT_THAT(engine_->LoadModel("atlas", std::string(WEFT_SOURCE_DIR) + "/models/atlas"),
                IsOk());
    keys_ = keys::KeyStore::Open(data_.path()).value();
    key_ = keys_->Create({.label = "user"}).value().secret;
    options_.listen = "127.0.0.1:0";
    options_.max_pending_bytes = 64 * kMiB;
    server_ = server::Server::Start(options_, engine_.get(), keys_.get()).value();
    Client client = Client::Connect(server_->address(), {.api_key = key_}).value();
    model_ = std::make_unique<LanguageModel>(client.OpenLanguageModel("atlas").value());
  }

  /// What the model says; empty if it could not be asked.
  std::string Ask() {
    Saved<Tensor> token;
    if (!model_
             ->Trace(kPrompt,
                     [&] {
                       token = (*model_)["lm_head"].output()[{Slice(), -1}].argmax(-1).save();
                     })
             .ok()) {
      return "";
    }
    return model_->Decode(*token).value_or("");
  }

  static std::string Request(const std::string& text) {
    v1::RunRequest request;
    request.set_model("atlas");
    graph::EncodeProgram(Program::Parse(text)->graph(), request.mutable_program());
    return request.SerializeAsString();
  }

  TempFolder data_;
  server::ServerOptions options_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::string key_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<LanguageModel> model_;
};

TEST_F(LoadTest, UserIsServedBesideAFloodOfRefusedCalls) {
  Flood flood(server_->address(), 1000);
  // How fast is measured by bench/hostile.cc; here, that the user comes through at all.
  const absl::Time end = absl::Now() + absl::Seconds(30);
  int asked = 0;
  while (asked < 20 || flood.refused() < 500) {
    ASSERT_EQ(Ask(), " Paris");
    ++asked;
    ASSERT_LT(absl::Now(), end) << asked << " answers, " << flood.refused() << " refused";
  }
  EXPECT_EQ(flood.others(), 0u);
}

TEST_F(LoadTest, UserIsServedBesideIdleConnections) {
  ASSERT_EQ(Ask(), " Paris");
  const uint64_t before = ResidentBytes();
  absl::StatusOr<IdleConnections> idle = IdleConnections::Open(server_->address(), 500);
  ASSERT_THAT(idle, IsOk());
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Ask(), " Paris");
  EXPECT_EQ(idle->alive(), 500);
  EXPECT_LT(ResidentBytes(), before + 100 * kMiB);
}

TEST_F(LoadTest, HeadersAndFramesThatEndedOtherServersDoNotEndThisOne) {
  const std::string command = std::string("/usr/bin/python3 ") + WEFT_SOURCE_DIR +
                              "/tests/security/hostile_headers.py " + server_->address() + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 256> part;
  while (fgets(part.data(), part.size(), pipe) != nullptr) {
    output += part.data();
    // After each of them.
    ASSERT_EQ(Ask(), " Paris") << output;
  }
  EXPECT_EQ(pclose(pipe), 0) << output;
  EXPECT_THAT(output, ::testing::HasSubstr("rapid resets"));
}

TEST_F(LoadTest, SlowReadersHoldNoMoreThanTheBound) {
  ASSERT_EQ(Ask(), " Paris");
  const std::string request = Request("invoke [1] { %z = aten::zeros([1024, 4096])  save z = %z }");
  const uint64_t before = ResidentBytes();
  {
    // Fifty times what may wait. The clients are in this process too, with what their windows let
    // through.
    const std::string other = keys_->Create({.label = "slow"}).value().secret;
    SlowReaders readers(server_->address(), other, request, 200);
    for (int i = 0; i < 20; ++i) ASSERT_EQ(Ask(), " Paris");
    EXPECT_LT(ResidentBytes(), before + options_.max_pending_bytes + 500 * kMiB);
  }
  // What waited for them is free again.
  absl::StatusOr<Program> large =
      Program::Parse("invoke [1] { %z = aten::zeros([1024, 12288])  save z = %z }");
  ASSERT_THAT(large, IsOk());
  const absl::Time end = absl::Now() + absl::Seconds(30);
  absl::Status status;
  do {
    status = model_->Run(*large).status();
  } while (status.code() == absl::StatusCode::kResourceExhausted && absl::Now() < end);
  EXPECT_THAT(status, IsOk());
}

}  // namespace
}  // namespace weft::testing
