#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "server/keys/key_store.h"
#include "server/metrics/metrics.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/grpc_calls.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using testing::ContextWith;
using ::testing::ElementsAre;
using testing::FakeEngine;
using testing::FakeJob;
using testing::GrpcIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Not;
using ::testing::SizeIs;
using testing::StatusIs;

constexpr char kProgram[] = R"(invoke [1, 2] { %h = read h.0.output  save h = %h })";
constexpr uint64_t kMiB = uint64_t{1} << 20;

graph::HostTensor Bytes(size_t size, uint8_t seed = 1) {
  std::string data(size, '\0');
  uint32_t state = seed;
  for (char& c : data) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return *graph::HostTensor::Make(graph::DType::kU8, {static_cast<int64_t>(size)}, std::move(data));
}

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    options_.listen = "127.0.0.1:0";
    keys::KeyStore::Options options;
    options.now = [this] { return absl::Now() + absl::Hours(skew_hours_.load()); };
    keys_ = *keys::KeyStore::Open(folder_.path(), options);
    secret_ = Key({.scopes = {"trace"}, .models = {"atlas"}}).secret;
  }

  keys::NewKey Key(const keys::KeyStore::Request& request) { return *keys_->Create(request); }

  void Start() {
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options_, &engine_, with_keys_ ? keys_.get() : nullptr);
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    channel_ = Connect();
    stub_ = v1::Weft::NewStub(channel_);
  }

  std::shared_ptr<grpc::Channel> Connect() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(),
                                     arguments);
  }

  std::unique_ptr<grpc::ClientContext> Context() const { return ContextWith(secret_); }

  static v1::RunRequest Request(const std::string& text = kProgram,
                                const std::string& model = "atlas") {
    v1::RunRequest request;
    request.set_model(model);
    absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
    EXPECT_THAT(program, IsOk());
    if (program.ok()) graph::EncodeProgram(*program, request.mutable_program());
    return request;
  }

  struct Outcome {
    std::vector<v1::RunEvent> events;
    grpc::Status status;
  };
  Outcome Finish(grpc::ClientReader<v1::RunEvents>* reader) {
    Outcome outcome;
    v1::RunEvents message;
    while (reader->Read(&message)) {
      outcome.events.insert(outcome.events.end(), message.events().begin(), message.events().end());
    }
    outcome.status = reader->Finish();
    return outcome;
  }
  Outcome Run(const v1::RunRequest& request, const std::string& secret) {
    const auto context = ContextWith(secret);
    const auto reader = stub_->Run(context.get(), request);
    return Finish(reader.get());
  }
  Outcome Run(const v1::RunRequest& request = Request()) { return Run(request, secret_); }

  // A unary call, or a stream that ends before its first message, with bytes as they are.
  grpc::Status CallRaw(const std::string& method, const std::string& bytes,
                       const std::string& secret, std::string* answer = nullptr,
                       grpc_compression_algorithm compression = GRPC_COMPRESS_NONE) {
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
    const auto context = ContextWith(secret);
    context->set_compression_algorithm(compression);
    const grpc::ByteBuffer request = ToBuffer(bytes);
    grpc::ByteBuffer response;
    grpc::Status status;
    absl::Notification done;
    stub.UnaryCall(context.get(), "/" + method, {}, &request, &response, [&](grpc::Status s) {
      status = std::move(s);
      done.Notify();
    });
    done.WaitForNotification();
    grpc::Slice slice;
    if (answer != nullptr && response.DumpToSingleSlice(&slice).ok()) {
      answer->assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return status;
  }

  void ExpectServing() {
    const auto context = Context();
    v1::WhoAmIResponse answer;
    const grpc::Status status = stub_->WhoAmI(context.get(), {}, &answer);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  testing::TempFolder folder_;
  std::atomic<int> skew_hours_ = 0;
  std::unique_ptr<keys::KeyStore> keys_;
  std::string secret_;
  bool with_keys_ = true;
  FakeEngine engine_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Weft::Stub> stub_;
};

// A submitted job that the test goes on with.
class HeldJob {
 public:
  explicit HeldJob(FakeEngine* engine) {
    engine->on_submit = [this](const std::shared_ptr<FakeJob>& job,
                               const FakeEngine::Submission& submission) {
      job->Accept();
      job_ = job;
      options_ = submission.options;
      submitted_.Notify();
      return absl::OkStatus();
    };
  }
  FakeJob* operator->() {
    submitted_.WaitForNotification();
    return job_.get();
  }
  const RunOptions& options() {
    submitted_.WaitForNotification();
    return options_;
  }

 private:
  absl::Notification submitted_;
  std::shared_ptr<FakeJob> job_;
  RunOptions options_;
};

TEST_F(ServiceTest, StreamsTheEventsOfARunInOrder) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job,
                         const FakeEngine::Submission& submission) {
    EXPECT_EQ(submission.model, "atlas");
    EXPECT_EQ(submission.options.seed, 42u);
    EXPECT_TRUE(submission.options.exclusive);
    EXPECT_FALSE(submission.options.access.weights);
    EXPECT_EQ(submission.options.deadline > absl::Now() + absl::Seconds(1000), false);
    graph::Error warning;
    warning.message = "careful";
    job->Emit(Accepted{.job_id = job->id(), .fingerprint = "f", .warnings = {warning}});
    job->Emit(Queued{.position = 2});
    job->Emit(Running{});
    job->Emit(LogLine{.node = 3, .label = "l", .text = "t"});
    job->Emit(Result{.name = "n", .value = {int64_t{5}}});
    graph::Error reason;
    reason.code = absl::StatusCode::kNotFound;
    reason.message = "never came";
    job->Emit(Missing{.name = "m", .reason = reason});
    job->Emit(Completed{.fingerprint = "f", .cost = {.tokens = 2, .passes = 1}});
    return absl::OkStatus();
  };
  Start();
  v1::RunRequest request = Request();
  request.mutable_options()->set_seed(42);
  request.mutable_options()->set_exclusive(true);
  const Outcome outcome = Run(request);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  ASSERT_THAT(outcome.events, SizeIs(7));
  for (size_t i = 0; i < outcome.events.size(); ++i) {
    EXPECT_EQ(outcome.events[i].sequence(), i + 1);
  }
  EXPECT_EQ(outcome.events[0].accepted().job_id(), "job-1");
  EXPECT_EQ(outcome.events[0].accepted().warnings(0).message(), "careful");
  EXPECT_EQ(outcome.events[1].queued().position(), 2u);
  EXPECT_TRUE(outcome.events[2].has_running());
  EXPECT_EQ(outcome.events[3].log().text(), "t");
  EXPECT_EQ(outcome.events[3].log().node(), 3u);
  EXPECT_EQ(outcome.events[4].result().value().integer(), 5);
  EXPECT_EQ(outcome.events[5].missing().reason().message(), "never came");
  EXPECT_EQ(outcome.events[6].completed().cost().tokens(), 2u);
}

TEST_F(ServiceTest, ResultsSayWhichItemOfAListTheyAre) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "plain", .value = {true}});
    job->Emit(Result{.name = "list", .value = {true}, .step = 0, .point = 2});
    job->Emit(Result{
        .name = "cache", .value = {true}, .entry = CacheEntry{"h.0", graph::Point::kInputs, 3}});
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  const Outcome outcome = Run();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  ASSERT_THAT(outcome.events, SizeIs(5));
  const v1::Result& plain = outcome.events[1].result();
  EXPECT_FALSE(plain.has_step() || plain.has_point() || plain.has_entry());
  const v1::Result& list = outcome.events[2].result();
  EXPECT_TRUE(list.has_step());
  EXPECT_EQ(list.step(), 0u);
  EXPECT_EQ(list.point(), 2u);
  const v1::CacheEntry& entry = outcome.events[3].result().entry();
  EXPECT_EQ(entry.module(), "h.0");
  EXPECT_EQ(entry.point(), v1::Site::POINT_INPUTS);
  EXPECT_EQ(entry.visit(), 3u);
}

TEST_F(ServiceTest, ChunksGiveBackTheBytesOfEveryTensor) {
  std::vector<graph::HostTensor> tensors;
  tensors.push_back(Bytes(3 * kMiB + kMiB / 2, 1));
  tensors.push_back(*graph::HostTensor::Make(graph::DType::kF32, {0, 7}, ""));
  tensors.push_back(*graph::HostTensor::Make(graph::DType::kI64, {}, "12345678"));
  tensors.push_back(Bytes(2 * kMiB, 2));
  tensors.push_back(Bytes(5000, 3));
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "big", .value = {tensors[0]}});
    graph::HostValue::Dict dict;
    dict.entries.push_back({"empty", {tensors[1]}});
    dict.entries.push_back({"inner", {graph::HostValue::List{{{tensors[2]}, {tensors[3]}}}}});
    job->Emit(Result{.name = "nested", .value = {dict}});
    job->Emit(Result{.name = "last", .value = {tensors[4]}});
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  const Outcome outcome = Run();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();

  std::map<uint32_t, std::string> bytes;
  std::map<std::string, v1::Value> values;
  uint64_t sequence = 0;
  for (const v1::RunEvent& event : outcome.events) {
    EXPECT_EQ(event.sequence(), ++sequence);
    if (event.has_result()) values[event.result().name()] = event.result().value();
    if (event.has_chunk()) {
      EXPECT_LE(event.chunk().data().size(), kMiB);
      EXPECT_EQ(event.chunk().offset(), bytes[event.chunk().tensor()].size());
      bytes[event.chunk().tensor()] += event.chunk().data();
    }
  }
  const v1::ValueDict& nested = values["nested"].dict();
  const std::vector<v1::TensorRef> refs = {
      values["big"].tensor(), nested.entries(0).value().tensor(),
      nested.entries(1).value().list().items(0).tensor(),
      nested.entries(1).value().list().items(1).tensor(), values["last"].tensor()};
  for (size_t i = 0; i < refs.size(); ++i) {
    EXPECT_EQ(refs[i].bytes(), tensors[i].bytes) << i;
    EXPECT_EQ(refs[i].dtype(), static_cast<v1::DType>(tensors[i].dtype)) << i;
    EXPECT_EQ(std::vector<int64_t>(refs[i].shape().begin(), refs[i].shape().end()),
              tensors[i].shape);
    EXPECT_TRUE(bytes[refs[i].tensor()] == std::string(tensors[i].data, tensors[i].bytes)) << i;
  }
}

// The first write carries the call's initial metadata: held back as a hint to gRPC that more
// follows, it would never be done.
TEST_F(ServiceTest, RunWhoseEventsComeAllAtOnceEnds) {
  const graph::HostTensor tensor = Bytes(100);
  std::vector<std::thread> emitters;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    const auto emit = [job, &tensor] {
      job->Emit(Accepted{.job_id = job->id()});
      job->Emit(Result{.name = "r", .value = {tensor}, .more_follows = true});
      job->Complete();
    };
    if (submission.options.seed == 0) {
      emit();
    } else {
      emitters.emplace_back(emit);
    }
    return absl::OkStatus();
  };
  Start();
  for (int i = 0; i < 40; ++i) {
    if (i % 10 == 0) stub_ = v1::Weft::NewStub(Connect());
    v1::RunRequest request = Request();
    request.mutable_options()->set_seed(i % 2);
    const auto context = Context();
    context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
    const auto reader = stub_->Run(context.get(), request);
    const Outcome outcome = Finish(reader.get());
    ASSERT_TRUE(outcome.status.ok()) << i << ": " << outcome.status.error_message();
    EXPECT_THAT(outcome.events, SizeIs(4));
  }
  for (std::thread& emitter : emitters) emitter.join();
}

TEST_F(ServiceTest, SmallResultsOfARunThatGoesOnAreSent) {
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  for (int step = 0; step < 3; ++step) {
    job->Emit(Result{
        .name = "r", .value = {int64_t{step}}, .more_follows = true, .step = uint32_t(step)});
    // As a step of a generation takes longer than its result's way.
    ASSERT_TRUE(reader->Read(&message)) << step;
    ASSERT_EQ(message.events_size(), 1);
    EXPECT_EQ(message.events(0).result().value().integer(), step);
  }
  job->Complete();
  EXPECT_TRUE(Finish(reader.get()).status.ok());
}

TEST_F(ServiceTest, LargeRequestsThatNobodyWaitsForDoNotRun) {
  options_.metrics = std::make_shared<metrics::Metrics>();
  absl::Notification go_on;
  std::atomic<int> submitted = 0;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    ++submitted;
    go_on.WaitForNotification();
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  v1::RunRequest large = Request();
  large.mutable_program()->mutable_nodes(0)->mutable_source()->set_file(
      std::string(32 * 1024, 'f'));
  // As many as the pool has threads, and one that waits for them.
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::RunEvents>>> readers;
  for (int i = 0; i < 3; ++i) {
    contexts.push_back(Context());
    readers.push_back(stub_->Run(contexts.back().get(), large));
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    while (submitted < std::min(i + 1, 2) && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  ASSERT_EQ(submitted, 2);
  contexts[2]->TryCancel();
  EXPECT_EQ(Finish(readers[2].get()).status.error_code(), grpc::StatusCode::CANCELLED);
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while (options_.metrics->active_runs.Value() > 2 && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  go_on.Notify();
  EXPECT_TRUE(Finish(readers[0].get()).status.ok());
  EXPECT_TRUE(Finish(readers[1].get()).status.ok());
  server_ = nullptr;  // has done by then what waited
  EXPECT_EQ(submitted, 2);
}

TEST_F(ServiceTest, ARunThatIsRefusedAfterItsPlanCostsNoTokens) {
  engine_.estimate.tokens = 60;
  const std::string secret = Key({.limits = {.tokens_per_minute = 100}}).secret;
  int calls = 0;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    if (++calls == 1) return absl::UnavailableError("the model is being replaced");
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  EXPECT_THAT(Run(Request(), secret).status,
              GrpcIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("replaced")));
  EXPECT_TRUE(Run(Request(), secret).status.ok());
  EXPECT_THAT(Run(Request(), secret).status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("tokens_per_minute")));
}

TEST_F(ServiceTest, RefusesCallsWithoutAValidKey) {
  Start();
  const auto status = [&](const std::string& secret) { return Run(Request(), secret).status; };
  EXPECT_THAT(status(""), GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("no API key")));
  EXPECT_THAT(status("nonsense"),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("malformed")));
  std::string wrong = secret_;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  EXPECT_THAT(status(wrong), GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("unknown")));

  auto context = ContextWith("");
  context->AddMetadata("authorization", "Basic " + secret_);
  v1::WhoAmIResponse answer;
  EXPECT_THAT(stub_->WhoAmI(context.get(), {}, &answer),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("Bearer")));
  context = Context();
  context->AddMetadata("authorization", "Bearer " + secret_);
  EXPECT_THAT(stub_->WhoAmI(context.get(), {}, &answer),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("several")));
  EXPECT_EQ(*engine_.CountPasses("atlas"), 0u);
  ExpectServing();
}

TEST_F(ServiceTest, EveryMethodNeedsAKey) {
  Start();
  for (const char* method :
       {"Run",           "Validate",   "Submit",     "Watch",         "Fetch",
        "Cancel",        "Upload",     "ListBlobs",  "DeleteBlob",    "StoreEdit",
        "ListEdits",     "GetEdit",    "DeleteEdit", "GetServerInfo", "WhoAmI",
        "ListOperators", "ListModels", "GetModel",   "Tokenize",      "Detokenize"}) {
    EXPECT_THAT(CallRaw(absl::StrCat("weft.v1.Weft/", method), "", ""),
                GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("no API key")))
        << method;
  }
}

TEST_F(ServiceTest, AuthenticatesBeforeItParses) {
  Start();
  const std::string garbage(1000, '\xff');
  EXPECT_THAT(CallRaw("weft.v1.Weft/Run", garbage, ""),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("no API key")));
  EXPECT_THAT(CallRaw("weft.v1.Weft/Run", garbage, secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, Not(IsEmpty())));
}

TEST_F(ServiceTest, RevokedAndExpiredKeysEndAtOnce) {
  Start();
  const keys::NewKey revoked = Key({});
  const keys::NewKey expiring = Key({.expires = absl::Now() + absl::Hours(1)});
  EXPECT_TRUE(Run(Request(), revoked.secret).status.ok());
  EXPECT_TRUE(Run(Request(), expiring.secret).status.ok());
  ASSERT_THAT((*keys::KeyStore::Open(folder_.path()))->Revoke(revoked.key.id), IsOk());
  skew_hours_ = 2;
  EXPECT_THAT(Run(Request(), revoked.secret).status,
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("was revoked at")));
  EXPECT_THAT(Run(Request(), expiring.secret).status,
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("expired at")));
}

TEST_F(ServiceTest, KeyReachesOnlyItsScopesAndModels) {
  engine_.AddModel("gpt2");
  Start();
  const std::string admin = Key({.scopes = {"admin"}}).secret;
  EXPECT_THAT(Run(Request(), admin).status,
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'trace'")));
  EXPECT_THAT(
      Run(Request(kProgram, "gpt2")).status,
      GrpcIs(grpc::StatusCode::PERMISSION_DENIED, AllOf(HasSubstr("'gpt2'"), HasSubstr("atlas"))));
  v1::GetModelRequest get;
  get.set_name("gpt2");
  v1::Model model;
  EXPECT_THAT(stub_->GetModel(Context().get(), get, &model),
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'gpt2'")));
  v1::TokenizeRequest tokenize;
  tokenize.set_model("gpt2");
  v1::TokenizeResponse tokens;
  EXPECT_THAT(stub_->Tokenize(Context().get(), tokenize, &tokens),
              GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'gpt2'")));

  v1::ListModelsResponse models;
  ASSERT_TRUE(stub_->ListModels(Context().get(), {}, &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "atlas");
  ASSERT_TRUE(stub_->ListModels(ContextWith(admin).get(), {}, &models).ok());
  EXPECT_EQ(models.models_size(), 2);
}

TEST_F(ServiceTest, WeightsScopeReachesTheEngine) {
  std::vector<bool> access;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    access.push_back(submission.options.access.weights);
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  EXPECT_TRUE(Run().status.ok());
  EXPECT_TRUE(Run(Request(), Key({.scopes = {"trace", "weights"}}).secret).status.ok());
  EXPECT_THAT(access, ElementsAre(false, true));
}

TEST_F(ServiceTest, TheEngineKnowsWhoseARunIs) {
  std::vector<std::string> owners;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    owners.push_back(submission.options.owner);
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  const keys::NewKey one = Key({.scopes = {"trace"}}), other = Key({.scopes = {"trace"}});
  EXPECT_TRUE(Run(Request(), one.secret).status.ok());
  EXPECT_TRUE(Run(Request(), other.secret).status.ok());
  EXPECT_THAT(owners, ElementsAre(one.key.id, other.key.id));
}

TEST_F(ServiceTest, WithoutKeysEveryoneMayDoEverything) {
  with_keys_ = false;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job,
                          const FakeEngine::Submission& submission) {
    EXPECT_TRUE(submission.options.access.weights);
    job->Accept();
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  EXPECT_TRUE(Run(Request(), "").status.ok());
}

TEST_F(ServiceTest, UnknownModelIsNamed) {
  Start();
  const std::string secret = Key({}).secret;
  const Outcome outcome = Run(Request(kProgram, "nope"), secret);
  EXPECT_THAT(outcome.status, GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("'nope'")));
  EXPECT_THAT(outcome.events, IsEmpty());
  v1::Error details;
  ASSERT_TRUE(details.ParseFromString(outcome.status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(grpc::StatusCode::NOT_FOUND));
  EXPECT_THAT(details.message(), HasSubstr("'nope'"));
}

TEST_F(ServiceTest, RefusesMessagesThatItDoesNotFullyUnderstand) {
  Start();
  const std::string good = Request().SerializeAsString();
  const auto status = [&](const std::string& bytes) {
    return CallRaw("weft.v1.Weft/Run", bytes, secret_);
  };
  EXPECT_THAT(status(good.substr(0, good.size() - 3)),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, Not(IsEmpty())));
  // Field 999 in the request, and inside a node of the program.
  const std::string unknown("\xba\x3e\x01x", 4);
  EXPECT_THAT(status(good + unknown), GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("999")));
  v1::RunRequest nested = Request();
  v1::Node* node = nested.mutable_program()->mutable_nodes(1);
  node->GetReflection()->MutableUnknownFields(node)->AddVarint(999, 1);
  EXPECT_THAT(status(nested.SerializeAsString()),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("999")));
  // Invalid UTF-8 in the model's name.
  EXPECT_THAT(status(std::string("\x0a\x02\xff\xfe", 4)),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("UTF-8")));
  EXPECT_THAT(CallRaw("weft.v1.Weft/Tokenize", unknown, secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("999")));
  EXPECT_THAT(CallRaw("weft.v1.Weft/WhoAmI", unknown, secret_),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("999")));
  EXPECT_EQ(*engine_.CountPasses("atlas"), 0u);
  ExpectServing();
}

TEST_F(ServiceTest, RefusesTooLargeRequests) {
  Start();
  for (const uint64_t size : {4 * kMiB + 1, 16 * kMiB}) {
    EXPECT_THAT(CallRaw("weft.v1.Weft/Run", std::string(size, 'x'), secret_),
                GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, Not(IsEmpty())))
        << size;
    EXPECT_THAT(CallRaw("weft.v1.Weft/Tokenize", std::string(size, 'x'), secret_),
                GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, Not(IsEmpty())))
        << size;
    ExpectServing();
  }
}

TEST_F(ServiceTest, RefusesCompressedRequests) {
  Start();
  EXPECT_THAT(CallRaw("weft.v1.Weft/Run",
                      Request(absl::StrCat("invoke \"", std::string(9999, 'a'),
                                           "\" { %h = read h.0.output  ", "save h = %h }"))
                          .SerializeAsString(),
                      secret_, nullptr, GRPC_COMPRESS_GZIP),
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("gzip")));
  EXPECT_EQ(*engine_.CountPasses("atlas"), 0u);
  ExpectServing();
}

TEST_F(ServiceTest, LargeRequestRuns) {
  Start();
  const Outcome outcome = Run(Request(absl::StrCat("invoke \"", std::string(kMiB, 'a'),
                                                   "\" { %h = read h.0.output  save h = %h }")));
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_THAT(outcome.events, SizeIs(2));
}

TEST_F(ServiceTest, RefusesOptionsThatItDoesNotHave) {
  Start();
  const auto status = [&](auto set) {
    v1::RunRequest request = Request();
    set(request.mutable_options());
    return Run(request).status;
  };
  using Options = v1::RunOptions*;
  EXPECT_THAT(status([](Options o) { o->set_priority(1); }),
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("options.priority")));
  EXPECT_THAT(status([](Options o) { o->set_idempotency_key("k"); }),
              GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr("options.idempotency_key")));
  EXPECT_THAT(status([](Options o) { o->set_deadline_seconds(-1); }),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("deadline_seconds")));
  EXPECT_THAT(status([](Options o) { o->set_deadline_seconds(NAN); }),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("deadline_seconds")));
}

TEST_F(ServiceTest, MethodsOfLaterAreRefusedByName) {
  Start();
  for (const char* method : {"Submit", "Watch", "Fetch", "Cancel"}) {
    EXPECT_THAT(CallRaw(absl::StrCat("weft.v1.Weft/", method), "", secret_),
                GrpcIs(grpc::StatusCode::UNIMPLEMENTED, HasSubstr(method)))
        << method;
  }
}

TEST_F(ServiceTest, FailedRunSendsFailedAndEndsWithTheSameStatus) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "before", .value = {true}});
    graph::Error error;
    error.code = absl::StatusCode::kOutOfRange;
    error.message = "index 9 is out of range";
    error.node = 3;
    error.statement = "%x = %h[9]";
    error.source = {"program", 7};
    job->Emit(Failed{error});
    return absl::OkStatus();
  };
  Start();
  const Outcome outcome = Run();
  EXPECT_THAT(outcome.status, GrpcIs(grpc::StatusCode::OUT_OF_RANGE, HasSubstr("index 9")));
  v1::Error details;
  ASSERT_TRUE(details.ParseFromString(outcome.status.error_details()));
  EXPECT_EQ(details.statement(), "%x = %h[9]");
  EXPECT_EQ(details.source().line(), 7u);
  ASSERT_THAT(outcome.events, SizeIs(3));
  EXPECT_TRUE(outcome.events[1].result().value().boolean());
  EXPECT_EQ(outcome.events[2].failed().message(), "index 9 is out of range");
  EXPECT_EQ(outcome.events[2].failed().node(), 3u);
}

TEST_F(ServiceTest, LongErrorsReachTheClient) {
  graph::Error error;
  error.code = absl::StatusCode::kInvalidArgument;
  error.message = std::string(100'000, 'm');
  error.statement = std::string(100'000, '\x01');
  for (int i = 0; i < 10'000; ++i) error.hint += "\u20ac";
  error.site = error.hint;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>&, const FakeEngine::Submission&) {
    return graph::ToStatus(error);
  };
  Start();
  const Outcome outcome = Run();
  EXPECT_THAT(outcome.status, GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("mmm...")));
  v1::Error details;
  ASSERT_TRUE(details.ParseFromString(outcome.status.error_details()));
  EXPECT_THAT(details.hint(), HasSubstr("\u20ac..."));
}

TEST_F(ServiceTest, ExceptionsEndTheirCallAlone) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job,
                         const FakeEngine::Submission& submission) -> absl::Status {
    if (submission.options.seed == 1) throw std::runtime_error("from the engine");
    job->Accept();
    if (submission.options.seed == 2) throw std::bad_alloc();
    job->Complete();
    return absl::OkStatus();
  };
  engine_.on_tokenize = [](const std::vector<std::string>&,
                           bool) -> absl::StatusOr<std::vector<TokenPieces>> { throw 7; };
  engine_.on_validate = [](const FakeEngine::Submission&) -> absl::StatusOr<Validation> {
    throw std::logic_error("from the planner");
  };
  Start();
  v1::RunRequest request = Request();
  request.mutable_options()->set_seed(1);
  EXPECT_THAT(Run(request).status,
              GrpcIs(grpc::StatusCode::INTERNAL, Not(HasSubstr("from the engine"))));
  request.mutable_options()->set_seed(2);
  const Outcome outcome = Run(request);
  EXPECT_THAT(outcome.status, GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("memory")));
  ASSERT_THAT(outcome.events, SizeIs(2));
  EXPECT_TRUE(outcome.events[1].has_failed());
  v1::TokenizeRequest tokenize;
  tokenize.set_model("atlas");
  v1::TokenizeResponse tokens;
  EXPECT_THAT(stub_->Tokenize(Context().get(), tokenize, &tokens),
              GrpcIs(grpc::StatusCode::INTERNAL, HasSubstr("Tokenize")));
  v1::ValidateResponse validation;
  EXPECT_THAT(stub_->Validate(Context().get(), Request(), &validation),
              GrpcIs(grpc::StatusCode::INTERNAL, HasSubstr("Validate")));
  request.mutable_options()->set_seed(3);
  EXPECT_TRUE(Run(request).status.ok());
}

TEST_F(ServiceTest, ClientThatVanishesCancelsItsJob) {
  HeldJob job(&engine_);
  Start();
  {
    const auto context = Context();
    const auto reader = stub_->Run(context.get(), Request());
    v1::RunEvents message;
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_FALSE(job->cancelled());
    context->TryCancel();
    EXPECT_TRUE(job->WaitForCancel());
    reader->Finish();
  }
  ExpectServing();
}

TEST_F(ServiceTest, ClosedConnectionCancelsItsJob) {
  HeldJob job(&engine_);
  Start();
  auto context = Context();
  auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  // A call keeps its connection, so it goes first; nothing is told to the server but by the socket.
  reader.reset();
  context.reset();
  stub_.reset();
  channel_.reset();
  EXPECT_TRUE(job->WaitForCancel());
}

TEST_F(ServiceTest, CallDeadlineBoundsTheRun) {
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(300)));
  const auto reader = stub_->Run(context.get(), Request());
  const Outcome outcome = Finish(reader.get());
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_LT(job.options().deadline, absl::Now() + absl::Seconds(1));
  EXPECT_TRUE(job->WaitForCancel());
}

TEST_F(ServiceTest, DeadlineOfTheOptionsReachesTheEngine) {
  HeldJob job(&engine_);
  Start();
  v1::RunRequest request = Request();
  request.mutable_options()->set_deadline_seconds(5);
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), request);
  EXPECT_GT(job.options().deadline, absl::Now() + absl::Seconds(1));
  EXPECT_LE(job.options().deadline, absl::Now() + absl::Seconds(5));
  job->Fail(absl::StatusCode::kDeadlineExceeded, "too late");
  EXPECT_THAT(Finish(reader.get()).status,
              GrpcIs(grpc::StatusCode::DEADLINE_EXCEEDED, HasSubstr("too late")));
}

TEST_F(ServiceTest, SlowReaderLosesItsRunAndLearnsWhy) {
  options_.slow_reader_timeout = absl::Milliseconds(400);
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  std::weak_ptr<const void> memory;
  {
    graph::HostTensor tensor = Bytes(64 * kMiB);
    memory = tensor.owner;
    job->Emit(Result{.name = "big", .value = {std::move(tensor)}});
  }
  ASSERT_TRUE(job->WaitForCancel());
  const Outcome outcome = Finish(reader.get());
  EXPECT_THAT(outcome.status,
              GrpcIs(grpc::StatusCode::DEADLINE_EXCEEDED, HasSubstr("--slow-reader-timeout")));
  EXPECT_LT(outcome.events.size(), 32u);
  ExpectServing();
  server_ = nullptr;
  EXPECT_TRUE(memory.expired());
}

TEST_F(ServiceTest, ReaderThatNeverWakesUpIsCutOff) {
  options_.slow_reader_timeout = absl::Milliseconds(100);
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  std::weak_ptr<const void> memory;
  {
    graph::HostTensor tensor = Bytes(64 * kMiB);
    memory = tensor.owner;
    job->Emit(Result{.name = "big", .value = {std::move(tensor)}});
  }
  ASSERT_TRUE(job->WaitForCancel());
  // The run keeps nothing once it is cut, though its reader still has not read.
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  while (!memory.expired() && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(memory.expired());
  EXPECT_FALSE(Finish(reader.get()).status.ok());
  ExpectServing();
}

TEST_F(ServiceTest, ReaderThatTakesItsTimeBetweenMessagesKeepsItsRun) {
  options_.slow_reader_timeout = absl::Seconds(1);
  const graph::HostTensor tensor = Bytes(40 * kMiB);
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Result{.name = "big", .value = {tensor}});
    job->Complete();
    return absl::OkStatus();
  };
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  std::string bytes;
  while (reader->Read(&message)) {
    for (const v1::RunEvent& event : message.events()) bytes += event.chunk().data();
    absl::SleepFor(absl::Milliseconds(40));  // 40 of them are more than the timeout
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(bytes == std::string(tensor.data, tensor.bytes));
}

TEST_F(ServiceTest, ResultsOverThePendingBoundFailTheirRunAlone) {
  options_.max_pending_bytes = 10 * kMiB;
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  job->Emit(Result{.name = "first", .value = {Bytes(6 * kMiB)}});
  job->Emit(Result{.name = "second", .value = {Bytes(6 * kMiB)}});
  EXPECT_TRUE(job->WaitForCancel());
  const Outcome outcome = Finish(reader.get());
  EXPECT_THAT(outcome.status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                     AllOf(HasSubstr("--max-pending-bytes"), HasSubstr("'second'"))));
  // What was saved before arrived in full.
  uint64_t bytes = 0;
  for (const v1::RunEvent& event : outcome.events) bytes += event.chunk().data().size();
  EXPECT_EQ(bytes, 6 * kMiB);
  EXPECT_TRUE(outcome.events.back().has_failed());

  // And its bytes were given back.
  for (int i = 0; i < 3; ++i) {
    engine_.on_submit = [](const std::shared_ptr<FakeJob>& next, const FakeEngine::Submission&) {
      next->Accept();
      next->Emit(Result{.name = "r", .value = {Bytes(8 * kMiB)}});
      next->Complete();
      return absl::OkStatus();
    };
    EXPECT_TRUE(Run().status.ok());
  }
}

TEST_F(ServiceTest, NamesOfResultsCountAsPending) {
  options_.max_pending_bytes = 10 * kMiB;
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  // The same long name at every step, of numbers that have no bytes of a tensor; one that has no
  // value is told by name, too.
  const std::string name(kMiB, 'n');
  for (int i = 0; i < 20; ++i) {
    job->Emit(Result{.name = name, .value = {int64_t{i}}});
    job->Emit(Missing{.name = name});
  }
  EXPECT_TRUE(job->WaitForCancel());
  EXPECT_THAT(Finish(reader.get()).status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("--max-pending-bytes")));
}

TEST_F(ServiceTest, LogLinesThatDoNotFitAreCounted) {
  options_.max_log_bytes = 64 * 1024;
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  // Nobody reads: the connection's window fills, then the stream's bound.
  constexpr int kLines = 20'000;
  for (int i = 0; i < kLines; ++i) job->Emit(LogLine{.text = std::string(1000, 'l')});
  job->Complete();
  const Outcome outcome = Finish(reader.get());
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  int lines = 0;
  int missing = 0;
  for (const v1::RunEvent& event : outcome.events) {
    if (!event.has_log()) continue;
    if (event.log().label() == "weft") {
      missing += std::stoi(event.log().text());
    } else {
      ++lines;
    }
  }
  EXPECT_GT(missing, 0);
  EXPECT_EQ(lines + missing, kLines);
  EXPECT_TRUE(outcome.events.back().has_completed());
}

TEST_F(ServiceTest, RefusesMoreRunsThanItsBound) {
  options_.max_runs = 1;
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_THAT(Run().status, GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("--max-runs")));
  // A bound may be moved while there are runs.
  options_.max_runs = 2;
  server_->SetLimits(options_);
  HeldJob second(&engine_);
  const auto second_context = Context();
  const auto second_reader = stub_->Run(second_context.get(), Request());
  ASSERT_TRUE(second_reader->Read(&message));
  second->Complete();
  EXPECT_TRUE(Finish(second_reader.get()).status.ok());
  job->Complete();
  EXPECT_TRUE(Finish(reader.get()).status.ok());
}

TEST_F(ServiceTest, TheLastRunsAreForKeysThatHaveFew) {
  options_.max_runs = 16;
  absl::Mutex mutex;
  std::vector<std::shared_ptr<FakeJob>> jobs;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    absl::MutexLock lock(&mutex);
    jobs.push_back(job);
    return absl::OkStatus();
  };
  Start();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::RunEvents>>> readers;
  const auto begin = [&](const std::string& secret) {
    contexts.push_back(ContextWith(secret));
    readers.push_back(stub_->Run(contexts.back().get(), Request()));
    v1::RunEvents message;
    return readers.back()->Read(&message);
  };
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(begin(secret_)) << i;
  EXPECT_THAT(Run().status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                     AllOf(HasSubstr("14 of them this key's"), HasSubstr("--max-runs"))));
  EXPECT_TRUE(begin(Key({}).secret));
  EXPECT_TRUE(begin(Key({}).secret));
  EXPECT_THAT(Run(Request(), Key({}).secret).status,
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("16 runs already")));
  for (const auto& job : jobs) job->Complete();
  for (const auto& reader : readers) EXPECT_TRUE(Finish(reader.get()).status.ok());
  // What has ended counts no more.
  EXPECT_TRUE(begin(secret_));
  jobs.back()->Complete();
  EXPECT_TRUE(Finish(readers.back().get()).status.ok());
}

TEST_F(ServiceTest, DrainFinishesAcceptedRunsAndRefusesNewOnes) {
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  engine_.on_submit = FakeEngine().on_submit;
  absl::Notification down;
  std::thread shutdown([&] {
    server_->Shutdown(absl::Now() + absl::Seconds(30));
    down.Notify();
  });
  Outcome refused;
  do {  // runs complete until Shutdown has begun
    refused = Run();
  } while (refused.status.ok());
  EXPECT_THAT(refused.status, GrpcIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("shutting down")));
  EXPECT_FALSE(down.HasBeenNotified());
  job->Emit(Result{.name = "r", .value = {int64_t{1}}});
  job->Complete();
  const Outcome outcome = Finish(reader.get());
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  EXPECT_THAT(outcome.events, SizeIs(2));
  EXPECT_TRUE(down.WaitForNotificationWithTimeout(absl::Seconds(10)));
  shutdown.join();
  EXPECT_FALSE(job->cancelled());
}

TEST_F(ServiceTest, DrainEndsWhatIsLeftAtItsDeadline) {
  HeldJob job(&engine_);
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  std::thread shutdown([&] { server_->Shutdown(absl::Now() + absl::Milliseconds(50)); });
  const Outcome outcome = Finish(reader.get());
  EXPECT_THAT(outcome.status, GrpcIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("shut down")));
  EXPECT_TRUE(job->cancelled());
  shutdown.join();
}

TEST_F(ServiceTest, ServerGoesWhileAJobOfTheEngineStays) {
  HeldJob job(&engine_);
  // A job that does not hear its cancel.
  std::shared_ptr<FakeJob> kept;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& next, const FakeEngine::Submission&) {
    next->Accept();
    kept = next;
    return absl::OkStatus();
  };
  Start();
  const auto context = Context();
  const auto reader = stub_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  server_ = nullptr;
  kept->Emit(Result{.name = "late", .value = {Bytes(kMiB)}});
  kept->Complete();
  EXPECT_FALSE(Finish(reader.get()).status.ok());
}

TEST_F(ServiceTest, PortInUseIsAClearError) {
  Start();
  ServerOptions second = options_;
  second.listen = server_->address();
  EXPECT_THAT(Server::Start(second, &engine_, keys_.get()),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr(server_->address()), HasSubstr("another program"))));
  ExpectServing();
}

TEST_F(ServiceTest, AddressOffLoopbackNeedsInsecure) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    ServerOptions off = options_;
    off.listen = listen;
    EXPECT_THAT(Server::Start(off, &engine_, keys_.get()),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--insecure")))
        << listen;
  }
  for (const char* listen : {"127.0.0.1:0", "localhost:0", "127.1.2.3:0"}) {
    EXPECT_THAT(CheckListen(listen, false), IsOk()) << listen;
  }
  ServerOptions insecure = options_;
  insecure.listen = "0.0.0.0:0";
  insecure.insecure = true;
  EXPECT_THAT(Server::Start(insecure, &engine_, keys_.get()), IsOk());
}

TEST_F(ServiceTest, MalformedAddressesAreRefused) {
  for (const char* listen :
       {"", "localhost", ":1", "localhost:", "localhost:x", "localhost:70000", "::1:5"}) {
    ServerOptions bad = options_;
    bad.listen = listen;
    EXPECT_THAT(Server::Start(bad, &engine_, keys_.get()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("HOST:PORT")))
        << listen;
  }
  ServerOptions elsewhere = options_;
  elsewhere.listen = "192.0.2.1:5000";  // nobody's
  elsewhere.insecure = true;
  EXPECT_THAT(Server::Start(elsewhere, &engine_, keys_.get()),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot listen on")));
}

TEST_F(ServiceTest, ValidateGivesShapesAndTheProgramAsUnderstood) {
  engine_.on_validate = [](const FakeEngine::Submission& submission) {
    EXPECT_EQ(submission.model, "atlas");
    Validation validation;
    graph::Pattern::Tensor tensor{.dtype = graph::DType::kF32,
                                  .shape = {{.constant = 1}, {.constant = 2}, {.constant = 32}}};
    validation.saves.push_back({.name = "h", .value = {tensor}});
    validation.saves.push_back({.name = "n", .value = {std::string("int")}});
    validation.estimate.tokens = 2;
    validation.fingerprint = "f";
    return validation;
  };
  Start();
  v1::ValidateResponse answer;
  const grpc::Status status = stub_->Validate(Context().get(), Request(), &answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(answer.saves_size(), 2);
  EXPECT_EQ(answer.saves(0).value().tensor().bytes(), 256u);
  EXPECT_THAT(answer.saves(0).value().tensor().shape(), ElementsAre(1, 2, 32));
  EXPECT_TRUE(answer.saves(1).value().value_case() == v1::Value::kInteger);
  EXPECT_EQ(answer.estimate().tokens(), 2u);
  EXPECT_THAT(answer.text(), HasSubstr("read h.0.output"));
}

TEST_F(ServiceTest, TellsAboutItselfItsModelsAndTheCaller) {
  options_.features = {"a-feature"};
  Start();
  v1::ServerInfo info;
  ASSERT_TRUE(stub_->GetServerInfo(Context().get(), {}, &info).ok());
  EXPECT_EQ(info.version(), kVersion);
  EXPECT_EQ(info.device(), "cpu");
  EXPECT_THAT(info.features(), ElementsAre("a-feature"));
  EXPECT_EQ(info.limits().request_bytes(), 4 * kMiB);
  EXPECT_EQ(info.limits().nodes(), Limits().nodes);

  v1::WhoAmIResponse me;
  const keys::NewKey key =
      Key({.label = "me", .models = {"a*"}, .expires = absl::FromUnixSeconds(4'000'000'000)});
  ASSERT_TRUE(stub_->WhoAmI(ContextWith(key.secret).get(), {}, &me).ok());
  EXPECT_EQ(me.key_id(), key.key.id);
  EXPECT_EQ(me.label(), "me");
  EXPECT_THAT(me.scopes(), ElementsAre("trace"));
  EXPECT_THAT(me.models(), ElementsAre("a*"));
  EXPECT_EQ(me.expires_unix_seconds(), 4'000'000'000);

  EXPECT_TRUE(Run().status.ok());
  v1::GetModelRequest get;
  get.set_name("atlas");
  v1::Model model;
  ASSERT_TRUE(stub_->GetModel(Context().get(), get, &model).ok());
  EXPECT_EQ(model.passes(), 1u);
  EXPECT_EQ(model.modules(0).type(), "Fake");

  v1::ListOperatorsResponse operators;
  ASSERT_TRUE(stub_->ListOperators(Context().get(), {}, &operators).ok());
  EXPECT_EQ(operators.operators(0).name(), "aten::mul");
  EXPECT_EQ(operators.operators(0).overloads(0).makes(), "fresh");

  v1::TokenizeRequest tokenize;
  tokenize.set_model("atlas");
  tokenize.add_texts("abc");
  v1::TokenizeResponse tokens;
  ASSERT_TRUE(stub_->Tokenize(Context().get(), tokenize, &tokens).ok());
  EXPECT_THAT(tokens.rows(0).ids(), ElementsAre(3));
  EXPECT_THAT(tokens.rows(0).pieces(), ElementsAre("abc"));
  v1::DetokenizeRequest detokenize;
  detokenize.set_model("atlas");
  detokenize.add_rows()->add_ids(1);
  v1::DetokenizeResponse texts;
  ASSERT_TRUE(stub_->Detokenize(Context().get(), detokenize, &texts).ok());
  EXPECT_THAT(texts.texts(), ElementsAre("1 tokens"));
}

TEST_F(ServiceTest, HealthAndReflectionAnswer) {
  Start();
  std::string answer;
  EXPECT_TRUE(CallRaw("grpc.health.v1.Health/Check", "", "", &answer).ok());
  EXPECT_EQ(answer, std::string("\x08\x01", 2));  // SERVING
  const std::string service = "weft.v1.Weft";
  EXPECT_TRUE(CallRaw("grpc.health.v1.Health/Check",
                      std::string("\x0a") + static_cast<char>(service.size()) + service, "",
                      &answer)
                  .ok());
  EXPECT_EQ(answer, std::string("\x08\x01", 2));
  // list_services = 7
  EXPECT_TRUE(CallRaw("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                      std::string("\x3a\x01*", 3), "", &answer)
                  .ok());
  EXPECT_THAT(answer, HasSubstr("weft.v1.Weft"));
}

TEST_F(ServiceTest, ManyClientsComeAndGo) {
  const graph::HostTensor tensor = Bytes(300'000);
  absl::Mutex mutex;
  std::vector<std::thread> emitters;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    absl::MutexLock lock(&mutex);
    emitters.emplace_back([job, &tensor] {
      job->Emit(Running{});
      for (int i = 0; i < 4; ++i) job->Emit(Result{.name = absl::StrCat(i), .value = {tensor}});
      job->Complete();
    });
    return absl::OkStatus();
  };
  options_.max_pending_bytes = 1 << 30;
  Start();
  constexpr int kThreads = 8;
  constexpr int kRuns = 40;
  std::atomic<int> completed = 0;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      const auto stub = v1::Weft::NewStub(t % 2 == 0 ? channel_ : Connect());
      for (int i = 0; i < kRuns; ++i) {
        const auto context = Context();
        const auto reader = stub->Run(context.get(), Request());
        const bool leave = (t + i) % 3 == 0;
        v1::RunEvents message;
        uint64_t bytes = 0;
        for (int n = 0; reader->Read(&message); ++n) {
          for (const v1::RunEvent& event : message.events()) bytes += event.chunk().data().size();
          if (leave && n == i % 7) context->TryCancel();
        }
        const grpc::Status status = reader->Finish();
        if (status.ok() && bytes == 4 * tensor.bytes) ++completed;
        if (!leave && !status.ok()) ++wrong;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GE(completed, kThreads * kRuns / 2);
  server_ = nullptr;
  for (std::thread& emitter : emitters) emitter.join();
  emitters.clear();
  // Nothing of any run is left.
  EXPECT_EQ(tensor.owner.use_count(), 1);
}

}  // namespace
}  // namespace weft::server
