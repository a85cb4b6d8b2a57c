#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "gmock/gmock.h"
#include "tests/e2e/service_fixture.h"

namespace weft::testing {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFine[] = "invoke [1, 2, 3] { %p = read lm_head.output  save p = %p }";

class RefusalsTest : public ServiceTest {
 protected:
  /// The program is refused so, and the server answers the next one.
  void ExpectRefused(const std::string& program, StatusCode code, const std::string& message,
                     const std::string& model = "tiny") {
    auto backend = NewBackend(NewKey());
    EXPECT_THAT(RunOn(*backend, program, {}, model).status, StatusIs(code, HasSubstr(message)))
        << program;
    EXPECT_THAT(RunOn(*backend, kFine).status, IsOk());
  }
};

TEST_F(RefusalsTest, Keys) {
  auto run = [&](const std::string& key) { return RunOn(*NewBackend(key), kFine).status; };
  EXPECT_THAT(run(""), StatusIs(StatusCode::kUnauthenticated));
  EXPECT_THAT(run("weft_nobody_nothing"), StatusIs(StatusCode::kUnauthenticated));
  std::string wrong = NewKey();
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  EXPECT_THAT(run(wrong), StatusIs(StatusCode::kUnauthenticated));
  EXPECT_THAT(run(NewKey({"admin"})), StatusIs(StatusCode::kPermissionDenied, HasSubstr("trace")));
  EXPECT_THAT(run(NewKey({"trace"}, {"other-*"})),
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("tiny")));

  auto revoked = keys_->Create({.label = "revoked"});
  ASSERT_THAT(revoked, IsOk());
  EXPECT_THAT(run(revoked->secret), IsOk());
  ASSERT_THAT(keys_->Revoke(revoked->key.id), IsOk());
  EXPECT_THAT(run(revoked->secret), StatusIs(StatusCode::kUnauthenticated, HasSubstr("revoked")));
  EXPECT_THAT(run(NewKey()), IsOk());
}

TEST_F(RefusalsTest, ParametersNeedTheirScope) {
  constexpr char kParam[] = "invoke [1] { %w = param transformer.wte.weight  save w = %w[0] }";
  EXPECT_THAT(RunOn(*NewBackend(NewKey()), kParam).status,
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("weights")));
  EXPECT_THAT(RunOn(*NewBackend(NewKey({"trace", "weights"})), kParam).status, IsOk());
  // The plan is cached now; the permission is not.
  EXPECT_THAT(RunOn(*NewBackend(NewKey()), kParam).status,
              StatusIs(StatusCode::kPermissionDenied, HasSubstr("weights")));
}

TEST_F(RefusalsTest, UnknownNames) {
  ExpectRefused(kFine, StatusCode::kNotFound, "there is no model `huge`; there is: `tiny`", "huge");
  ExpectRefused("invoke [1] { %h = read transformer.h.99.output  save h = %h }",
                StatusCode::kNotFound, "no module `transformer.h.99`");
  ExpectRefused("invoke [1] { %h = read transformer.h.1.mpl.output  save h = %h }",
                StatusCode::kNotFound, "`transformer.h.1.mlp`");
  ExpectRefused("invoke [1] { %h = read transformer.h.0.attn.attn_dropout.output  save h = %h }",
                StatusCode::kNotFound, "never calls this module");
  ExpectRefused("invoke [1] { %h = read transformer.h.0@1.output  save h = %h }",
                StatusCode::kNotFound, "fewer times");
  ExpectRefused("invoke [1] { %h = read lm_head.output  save h = aten::sofmax(%h, -1) }",
                StatusCode::kNotFound, "aten::softmax");
  ExpectRefused("invoke [1] { %w = param transformer.nothing  save w = %w }", StatusCode::kNotFound,
                "no parameter `transformer.nothing`");
}

TEST_F(RefusalsTest, ShapesAndDTypesThatCannotFit) {
  ExpectRefused(R"(invoke [1, 2, 3] {
      %x = aten::zeros([1, 3, 5])
      write transformer.h.0.output = %x
      %p = read lm_head.output  save p = %p })",
                StatusCode::kInvalidArgument, "replaces one of shape");
  ExpectRefused(R"(invoke [1, 2, 3] {
      %x = aten::zeros([7])
      write transformer.h.0.output[:, -1] = %x
      %p = read lm_head.output  save p = %p })",
                StatusCode::kInvalidArgument, "does not fit into a part of shape");
  ExpectRefused(R"(invoke [1, 2, 3] {
      %x = aten::zeros([1, 3], dtype=float32)
      write transformer.wte.input = %x
      %p = read lm_head.output  save p = %p })",
                StatusCode::kInvalidArgument, "int64");
  ExpectRefused(R"(invoke [1, 2, 3] {
      %h = read transformer.h.0.output
      save x = aten::matmul(%h, %h) })",
                StatusCode::kInvalidArgument, "aten::matmul(%h, %h)");
}

TEST_F(RefusalsTest, Prompts) {
  ExpectRefused("invoke [1, 97] { %p = read lm_head.output  save p = %p }", StatusCode::kOutOfRange,
                "token id 97 is out of range");
  ExpectRefused("invoke [-1] { %p = read lm_head.output  save p = %p }", StatusCode::kOutOfRange,
                "token id -1 is out of range");
  std::string long_prompt = "invoke [1";
  for (int i = 0; i < 64; ++i) long_prompt += ", 1";
  ExpectRefused(long_prompt + "] { %p = read lm_head.output  save p = %p }",
                StatusCode::kInvalidArgument, "the model takes at most 64");
}

TEST_F(RefusalsTest, OperatorsThatReachBeyondTheirOwnMemory) {
  auto operator_call = [](const std::string& call) {
    return "invoke [1, 2] { %h = read transformer.h.0.output  %x = " + call + "  save x = %x }";
  };
  for (const char* call :
       {"aten::empty([4])", "aten::empty_like(%h)", "aten::new_empty(%h, [4])",
        "aten::as_strided(%h, [4], [1])", "aten::resize_(%h, [9])", "aten::_softmax(%h, -1, false)",
        "aten::squeeze_(%h)", "aten::t_(%h)", "aten::set_(%h, %h)", "aten::storage_offset(%h)",
        "aten::add(%h, %h, out=%h)", "aten::nonzero(%h)", "prim::device(%h)"}) {
    auto backend = NewBackend(NewKey());
    const absl::Status status = RunOn(*backend, operator_call(call)).status;
    EXPECT_FALSE(status.ok()) << call;
    EXPECT_NE(status.code(), StatusCode::kInternal) << status;
    EXPECT_NE(status.code(), StatusCode::kUnavailable) << status;
    EXPECT_THAT(RunOn(*backend, kFine).status, IsOk()) << call;
  }
}

TEST_F(RefusalsTest, WhatIsTooLarge) {
  Limits limits;
  limits.nodes = 64;
  limits.constant_bytes = 1024;
  limits.value_elements = 1 << 20;
  limits.result_bytes = 64 << 10;
  limits.pass_tokens = 32;
  StartService(limits);
  ExpectRefused(
      "invoke [1] { %h = read transformer.h.0.output  "
      "save x = aten::expand(%h, [1000000000, 1, 32]) }",
      StatusCode::kResourceExhausted, "elements");
  ExpectRefused("invoke [1] { save x = aten::zeros([100, 1000]) }", StatusCode::kResourceExhausted,
                "bytes");
  std::string many = "invoke [1] { %h = read transformer.h.0.output";
  for (int i = 0; i < 70; ++i) many += " %x" + std::to_string(i) + " = aten::neg(%h)";
  ExpectRefused(many + " save h = %h }", StatusCode::kResourceExhausted, "64");
  std::string constant = "invoke [1] { %c = tensor(float32, [400], [0.0";
  for (int i = 1; i < 400; ++i) constant += ", 0.0";
  ExpectRefused(constant + "])  save c = %c }", StatusCode::kResourceExhausted, "1024");
  ExpectRefused(
      "invoke [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [1], [2]] "
      "{ %p = read lm_head.output  save p = %p }",
      StatusCode::kResourceExhausted, "at most 32");
}

TEST_F(RefusalsTest, AnOperatorThatNeverEndsIsEndedByItsTime) {
  Limits limits;
  limits.operator_seconds = 0.2;
  StartService(limits);
  std::string slow = "invoke [1] { %a0 = aten::zeros([700, 700])";
  for (int i = 0; i < 400; ++i) {
    const std::string a = "%a" + std::to_string(i);
    slow += " %a" + std::to_string(i + 1) + " = aten::matmul(" + a + ", " + a + ")";
  }
  ExpectRefused(slow + " save x = %a400[0] }", StatusCode::kResourceExhausted, "operators");
}

TEST_F(RefusalsTest, ADeadlineEndsARunThatWaits) {
  auto backend = NewBackend(NewKey());
  gate_.Close();
  auto held = std::async(std::launch::async, [&] { return RunOn(*backend, kFine); });
  ASSERT_TRUE(gate_.AwaitHeld());
  RunSettings settings;
  settings.deadline = absl::Milliseconds(300);
  EXPECT_THAT(RunOn(*NewBackend(NewKey()), kFine, settings).status,
              StatusIs(StatusCode::kDeadlineExceeded));
  gate_.Open();
  EXPECT_THAT(held.get().status, IsOk());
}

TEST_F(RefusalsTest, ACancelledRunEndsAndItsPlaceIsFreed) {
  auto backend = NewBackend(NewKey());
  gate_.Close();
  auto held = std::async(std::launch::async, [&] { return RunOn(*backend, kFine); });
  ASSERT_TRUE(gate_.AwaitHeld());
  RunSettings settings;
  auto waiting =
      std::async(std::launch::async, [&] { return RunOn(*NewBackend(NewKey()), kFine, settings); });
  settings.cancellation.Cancel();
  EXPECT_THAT(waiting.get().status, StatusIs(StatusCode::kCancelled));
  gate_.Open();
  EXPECT_THAT(held.get().status, IsOk());
  EXPECT_THAT(RunOn(*backend, kFine).status, IsOk());
}

TEST_F(RefusalsTest, ACancelledRunStopsWithinItsPass) {
  auto backend = NewBackend(NewKey());
  gate_.Close();
  RunSettings settings;
  auto running = std::async(std::launch::async, [&] { return RunOn(*backend, kFine, settings); });
  ASSERT_TRUE(gate_.AwaitHeld());
  const uint64_t calls = engine_->CountModuleCalls("tiny").value();
  settings.cancellation.Cancel();
  EXPECT_THAT(running.get().status, StatusIs(StatusCode::kCancelled));
  // The server hears of it by the stream's end; wait until it has.
  absl::SleepFor(absl::Milliseconds(300));
  gate_.Open();
  EXPECT_THAT(RunOn(*backend, kFine).status, IsOk());
  const uint64_t whole = 60;  // modules of a full pass of the tiny model, roughly
  EXPECT_LT(engine_->CountModuleCalls("tiny").value() - calls, 2 * whole);
}

// --- folders
// --------------------------------------------------------------------------------------

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy(TinyFolder(), folder_.File("model"),
                          std::filesystem::copy_options::recursive);
    engine_ = Engine::Create().value();
  }
  std::string File(const std::string& name) { return folder_.File("model") + "/" + name; }
  absl::Status Load() { return engine_->LoadModel("model", folder_.File("model")); }

  TempFolder folder_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(FolderTest, LacksAFile) {
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    const std::string hidden = folder_.File("hidden");
    std::filesystem::rename(File(name), hidden);
    EXPECT_THAT(Load(), StatusIs(StatusCode::kNotFound, HasSubstr(name)));
    std::filesystem::rename(hidden, File(name));
  }
  EXPECT_THAT(engine_->LoadModel("model", folder_.File("nowhere")),
              StatusIs(StatusCode::kNotFound, HasSubstr("nowhere")));
  EXPECT_THAT(Load(), IsOk());
}

TEST_F(FolderTest, HasAWrongShape) {
  std::ifstream in(File("config.json"));
  std::string config{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t at = config.find("\"n_positions\": 64");
  ASSERT_NE(at, std::string::npos);
  config.replace(at, 17, "\"n_positions\": 32");
  std::ofstream(File("config.json")) << config;
  const absl::Status status = Load();
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument, HasSubstr("transformer.wpe.weight")));
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument, HasSubstr("32, 32")));
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument, HasSubstr("64, 32")));
}

TEST_F(FolderTest, HasATruncatedFileOfWeights) {
  std::filesystem::resize_file(File("model.safetensors"), 5000);
  EXPECT_THAT(Load(), Not(IsOk()));
  std::filesystem::resize_file(File("model.safetensors"), 4);
  EXPECT_THAT(Load(), Not(IsOk()));
}

TEST_F(FolderTest, HasAMaliciousHeader) {
  std::string header =
      R"({"transformer.wte.weight":{"dtype":"F32","shape":[4611686018427387904,4],)"
      R"("data_offsets":[0,16]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  std::ofstream(File("model.safetensors"), std::ios::binary) << bytes << header << bytes << bytes;
  EXPECT_THAT(Load(), Not(IsOk()));
}

TEST_F(FolderTest, IsOfAFamilyThatIsNotServed) {
  std::ofstream(File("config.json")) << R"({"model_type": "alexnet"})";
  EXPECT_THAT(Load(), StatusIs(StatusCode::kUnimplemented, HasSubstr("gpt2")));
}

TEST_F(FolderTest, IsHostedTwiceUnderOneName) {
  EXPECT_THAT(Load(), IsOk());
  EXPECT_THAT(Load(), StatusIs(StatusCode::kAlreadyExists, HasSubstr("model")));
}

}  // namespace
}  // namespace weft::testing
