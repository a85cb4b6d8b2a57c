#include "server/service/admin_service.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "server/audit/audit_log.h"
#include "server/keys/key_store.h"
#include "server/limits/peer_throttle.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/grpc_calls.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/v1/admin.grpc.pb.h"
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
using testing::IsOk;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kProgram[] = R"(invoke [1, 2] { %h = read h.0.output  save h = %h })";

double RetryAfter(const grpc::Status& status) {
  v1::Error details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details.retry_after_seconds();
}

/// A server with a fake engine, keys and an audit log; calls are made as the admin where nothing
/// else is said.
class AdminServiceTest : public ::testing::Test {
 protected:
  AdminServiceTest() {
    options_.listen = "127.0.0.1:0";
    options_.slow_reader_timeout = absl::Milliseconds(200);  // runs are looked at every 50 ms
    keys_ = *keys::KeyStore::Open(folder_.path());
    audit_ = *audit::AuditLog::Open(folder_.path());
    admin_ = *keys_->Create({.label = "operator", .scopes = {"admin"}});
    Start(keys_.get(), audit_.get());
  }

  void Start(keys::KeyStore* keys, audit::AuditLog* audit) {
    server_ = nullptr;
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options_, &engine_, keys, audit);
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::Admin::NewStub(channel_);
    weft_ = v1::Weft::NewStub(channel_);
  }

  std::unique_ptr<grpc::ClientContext> Context() const { return ContextWith(admin_.secret); }

  keys::NewKey Key(const keys::KeyLimits& limits,
                   const std::vector<std::string>& scopes = {"trace"}) {
    return *keys_->Create({.scopes = scopes, .limits = limits});
  }

  static v1::RunRequest Request() {
    v1::RunRequest request;
    request.set_model("atlas");
    graph::EncodeProgram(*graph::ParseProgram(kProgram), request.mutable_program());
    return request;
  }
  grpc::Status Run(const std::string& secret, const v1::RunRequest& request = Request()) {
    const auto context = ContextWith(secret);
    const auto reader = weft_->Run(context.get(), request);
    v1::RunEvents message;
    while (reader->Read(&message)) {
    }
    return reader->Finish();
  }
  grpc::Status WhoAmI(const std::string& secret, v1::WhoAmIResponse* answer) {
    return weft_->WhoAmI(ContextWith(secret).get(), {}, answer);
  }
  grpc::Status WhoAmI(const std::string& secret) {
    v1::WhoAmIResponse answer;
    return WhoAmI(secret, &answer);
  }

  grpc::Status CallRaw(const std::string& method, const std::string& bytes,
                       const std::string& secret) {
    grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(channel_);
    const auto context = ContextWith(secret);
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    absl::Notification done;
    stub.UnaryCall(context.get(), "/" + method, {}, &request, &response, [&](grpc::Status s) {
      status = std::move(s);
      done.Notify();
    });
    done.WaitForNotification();
    return status;
  }

  std::vector<audit::Entry> Audit(const std::string& key_id = "") {
    return *audit_->List({.key_id = key_id, .limit = 1000});
  }

  // Runs stay until they are cancelled.
  void HoldRuns(bool running = true) {
    engine_.on_submit = [running](const std::shared_ptr<FakeJob>& job,
                                  const FakeEngine::Submission&) {
      job->Accept();
      if (running) job->Emit(Running{});
      return absl::OkStatus();
    };
  }

  testing::TempFolder folder_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<audit::AuditLog> audit_;
  keys::NewKey admin_;
  FakeEngine engine_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Admin::Stub> stub_;
  std::unique_ptr<v1::Weft::Stub> weft_;
};

const std::vector<std::string>& Methods() {
  static const auto* const methods = new std::vector<std::string>{
      "CreateKey", "ListKeys", "UpdateKey", "RotateKey", "RevokeKey", "ListAudit"};
  return *methods;
}

TEST_F(AdminServiceTest, EveryMethodNeedsTheScopeBeforeItLooksAtTheRequest) {
  const std::string user = Key({}, {"trace", "weights"}).secret;
  const std::string garbage(1000, '\xff');
  for (const std::string& name : Methods()) {
    const std::string method = "weft.v1.Admin/" + name;
    EXPECT_THAT(CallRaw(method, garbage, ""),
                GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("no API key")))
        << name;
    EXPECT_THAT(CallRaw(method, garbage, user),
                GrpcIs(grpc::StatusCode::PERMISSION_DENIED, HasSubstr("'admin'")))
        << name;
    EXPECT_THAT(CallRaw(method, garbage, admin_.secret),
                GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, Not(HasSubstr("'admin'"))))
        << name;
    // Field 999.
    EXPECT_THAT(CallRaw(method, std::string("\xba\x3e\x01x", 4), admin_.secret),
                GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("999")))
        << name;
  }
}

TEST_F(AdminServiceTest, AKeyIsMadeChangedRotatedAndRevoked) {
  v1::CreateKeyRequest create;
  create.mutable_key()->set_label("me");
  create.mutable_key()->add_scopes("trace");
  create.mutable_key()->add_models("a*");
  create.mutable_key()->set_expires_unix_seconds(4'000'000'000);
  create.mutable_key()->mutable_limits()->set_concurrent_runs(3);
  v1::CreateKeyResponse made;
  ASSERT_TRUE(stub_->CreateKey(Context().get(), create, &made).ok());
  const std::string id = made.key().id();
  v1::WhoAmIResponse me;
  ASSERT_TRUE(WhoAmI(made.secret(), &me).ok());
  EXPECT_EQ(me.key_id(), id);
  EXPECT_EQ(me.label(), "me");
  EXPECT_EQ(me.expires_unix_seconds(), 4'000'000'000);
  EXPECT_EQ(me.limits().concurrent_runs(), 3u);

  v1::UpdateKeyRequest update;
  *update.mutable_key() = made.key();
  update.mutable_key()->set_label("other");
  update.mutable_key()->set_expires_unix_seconds(0);
  update.mutable_key()->mutable_limits()->set_run_seconds(1.5);
  v1::UpdateKeyResponse updated;
  ASSERT_TRUE(stub_->UpdateKey(Context().get(), update, &updated).ok());
  EXPECT_EQ(updated.key().label(), "other");
  ASSERT_TRUE(WhoAmI(made.secret(), &me).ok());
  EXPECT_EQ(me.expires_unix_seconds(), 0);
  EXPECT_EQ(me.limits().run_seconds(), 1.5);
  EXPECT_EQ(me.limits().concurrent_runs(), 3u);

  v1::RotateKeyRequest rotate;
  rotate.set_id(id);
  v1::RotateKeyResponse rotated;
  ASSERT_TRUE(stub_->RotateKey(Context().get(), rotate, &rotated).ok());
  EXPECT_THAT(WhoAmI(made.secret()), GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("")));
  EXPECT_TRUE(WhoAmI(rotated.secret()).ok());
  rotate.set_old_secret_seconds(3600);
  v1::RotateKeyResponse again;
  ASSERT_TRUE(stub_->RotateKey(Context().get(), rotate, &again).ok());
  EXPECT_TRUE(WhoAmI(rotated.secret()).ok());
  EXPECT_TRUE(WhoAmI(again.secret()).ok());

  v1::RevokeKeyRequest revoke;
  revoke.set_id(id);
  v1::RevokeKeyResponse revoked;
  ASSERT_TRUE(stub_->RevokeKey(Context().get(), revoke, &revoked).ok());
  EXPECT_THAT(WhoAmI(again.secret()),
              GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("revoked")));

  v1::ListKeysResponse list;
  ASSERT_TRUE(stub_->ListKeys(Context().get(), {}, &list).ok());
  ASSERT_EQ(list.keys_size(), 2);
  EXPECT_EQ(list.keys(0).id(), admin_.key.id);
  EXPECT_EQ(list.keys(1).id(), id);
  EXPECT_EQ(list.keys(1).label(), "other");
  EXPECT_GT(list.keys(1).revoked_unix_seconds(), 0);
  EXPECT_THAT(list.keys(1).models(), ElementsAre("a*"));
}

TEST_F(AdminServiceTest, RefusesWhatMakesNoSense) {
  v1::CreateKeyRequest create;
  create.mutable_key()->add_scopes("root");
  create.mutable_key()->add_models("*");
  v1::CreateKeyResponse made;
  EXPECT_THAT(stub_->CreateKey(Context().get(), create, &made),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("'root'")));
  create.mutable_key()->set_scopes(0, "trace");
  create.mutable_key()->set_expires_unix_seconds(-1);
  EXPECT_THAT(stub_->CreateKey(Context().get(), create, &made),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("expires_unix_seconds")));
  v1::RotateKeyRequest rotate;
  rotate.set_id("abcdefgh");
  v1::RotateKeyResponse rotated;
  EXPECT_THAT(stub_->RotateKey(Context().get(), rotate, &rotated),
              GrpcIs(grpc::StatusCode::NOT_FOUND, HasSubstr("abcdefgh")));
  for (const double bad :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    rotate.set_id(admin_.key.id);
    rotate.set_old_secret_seconds(bad);
    EXPECT_THAT(stub_->RotateKey(Context().get(), rotate, &rotated),
                GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("old")));
  }
  v1::ListAuditRequest audit;
  audit.set_limit(10001);
  v1::ListAuditResponse entries;
  EXPECT_THAT(stub_->ListAudit(Context().get(), audit, &entries),
              GrpcIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("10000")));
}

TEST_F(AdminServiceTest, WithoutKeysThereAreNoneToManage) {
  Start(nullptr, nullptr);
  v1::ListKeysResponse list;
  EXPECT_THAT(stub_->ListKeys(ContextWith("").get(), {}, &list),
              GrpcIs(grpc::StatusCode::FAILED_PRECONDITION, HasSubstr("--no-keys")));
  v1::ListAuditResponse entries;
  EXPECT_THAT(stub_->ListAudit(ContextWith("").get(), {}, &entries),
              GrpcIs(grpc::StatusCode::FAILED_PRECONDITION, HasSubstr("audit")));
}

TEST_F(AdminServiceTest, RevokingEndsTheRunsOfTheKeyAlone) {
  HoldRuns();
  const keys::NewKey revoked = Key({});
  const keys::NewKey other = Key({});
  const auto other_context = ContextWith(other.secret);
  const auto other_reader = weft_->Run(other_context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(other_reader->Read(&message));
  const auto context = ContextWith(revoked.secret);
  const auto reader = weft_->Run(context.get(), Request());
  ASSERT_TRUE(reader->Read(&message));

  v1::RevokeKeyRequest revoke;
  revoke.set_id(revoked.key.id);
  v1::RevokeKeyResponse answer;
  ASSERT_TRUE(stub_->RevokeKey(Context().get(), revoke, &answer).ok());
  while (reader->Read(&message)) {
  }
  EXPECT_THAT(reader->Finish(), GrpcIs(grpc::StatusCode::UNAUTHENTICATED,
                                       AllOf(HasSubstr(revoked.key.id), HasSubstr("revoked"))));
  other_context->TryCancel();
  while (other_reader->Read(&message)) {
  }
  EXPECT_EQ(other_reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(AdminServiceTest, AKeyRevokedByAnotherProcessLosesItsRuns) {
  HoldRuns();
  const keys::NewKey key = Key({});
  const auto context = ContextWith(key.secret);
  const auto reader = weft_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_THAT((*keys::KeyStore::Open(folder_.path()))->Revoke(key.key.id), IsOk());
  while (reader->Read(&message)) {
  }
  EXPECT_THAT(reader->Finish(), GrpcIs(grpc::StatusCode::UNAUTHENTICATED, HasSubstr("revoked")));
}

TEST_F(AdminServiceTest, RequestsAMinuteAreBoundedBeforeTheyAreParsed) {
  const std::string secret = Key({.requests_per_minute = 3}).secret;
  EXPECT_TRUE(Run(secret).ok());
  EXPECT_TRUE(WhoAmI(secret).ok());
  EXPECT_TRUE(WhoAmI(secret).ok());
  const grpc::Status refused = CallRaw("weft.v1.Weft/Run", std::string(1000, '\xff'), secret);
  EXPECT_THAT(refused, GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                              AllOf(HasSubstr("requests_per_minute"), HasSubstr("try again in"))));
  EXPECT_GT(RetryAfter(refused), 0);
  EXPECT_LE(RetryAfter(refused), 20);
}

TEST_F(AdminServiceTest, TokensAMinuteAreThoseOfThePlan) {
  const std::string secret = Key({.tokens_per_minute = 10}).secret;
  engine_.estimate.tokens = 8;
  EXPECT_TRUE(Run(secret).ok());
  const grpc::Status refused = Run(secret);
  EXPECT_THAT(refused, GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                              AllOf(HasSubstr("tokens_per_minute"), HasSubstr("try again in"))));
  EXPECT_GT(RetryAfter(refused), 0);
  EXPECT_EQ(*engine_.CountPasses("atlas"), 1u);
  EXPECT_TRUE(Run(Key({}).secret).ok());
}

TEST_F(AdminServiceTest, RunsAtOnceAreBounded) {
  HoldRuns();
  const std::string secret = Key({.concurrent_runs = 1}).secret;
  const auto context = ContextWith(secret);
  const auto reader = weft_->Run(context.get(), Request());
  v1::RunEvents message;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_THAT(CallRaw("weft.v1.Weft/Run", std::string(1000, '\xff'), secret),
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("concurrent_runs")));
  // Another key is not concerned.
  engine_.on_submit = FakeEngine().on_submit;
  EXPECT_TRUE(Run(Key({.concurrent_runs = 1}).secret).ok());
  context->TryCancel();
  while (reader->Read(&message)) {
  }
  reader->Finish();
  // The server hears of the cancel in its own time.
  const absl::Time give_up = absl::Now() + absl::Seconds(10);
  grpc::Status again = Run(secret);
  while (!again.ok() && absl::Now() < give_up) {
    EXPECT_EQ(again.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    std::this_thread::yield();
    again = Run(secret);
  }
  // One after the other they never meet.
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Run(secret).ok());
}

TEST_F(AdminServiceTest, ResultBytesAreBoundedByThePlanAndByWhatComes) {
  const std::string secret = Key({.result_bytes = 100}).secret;
  engine_.estimate.result_bytes = 101;
  EXPECT_THAT(Run(secret), GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("result_bytes")));
  EXPECT_EQ(*engine_.CountPasses("atlas"), 0u);
  // A plan that knew too little.
  engine_.estimate.result_bytes = 10;
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    for (int i = 0; i < 3; ++i) {
      job->Emit(Result{
          .name = absl::StrCat(i),
          .value = {*graph::HostTensor::Make(graph::DType::kU8, {40}, std::string(40, 'x'))}});
    }
    return absl::OkStatus();
  };
  EXPECT_THAT(Run(secret), GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                  AllOf(HasSubstr("result_bytes"), HasSubstr("120"))));
}

TEST_F(AdminServiceTest, GeneratedTokensAreBounded) {
  const std::string secret = Key({.generated_tokens = 10}).secret;
  v1::RunRequest request = Request();
  v1::Trace* trace = request.mutable_program()->mutable_nodes(0)->mutable_trace();
  trace->set_mode(v1::Trace::MODE_GENERATE);
  trace->mutable_generate()->set_max_new_tokens(11);
  EXPECT_THAT(Run(secret, request), GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                           AllOf(HasSubstr("generated_tokens"), HasSubstr("11"))));
  v1::ValidateResponse report;
  EXPECT_THAT(weft_->Validate(ContextWith(secret).get(), request, &report),
              GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr("generated_tokens")));
  trace->mutable_generate()->set_max_new_tokens(10);
  EXPECT_THAT(Run(secret, request),
              Not(GrpcIs(grpc::StatusCode::RESOURCE_EXHAUSTED, HasSubstr(""))));
}

TEST_F(AdminServiceTest, RunSecondsEndARunThatBegan) {
  HoldRuns();
  const std::string secret = Key({.run_seconds = 0.1}).secret;
  EXPECT_THAT(Run(secret), GrpcIs(grpc::StatusCode::DEADLINE_EXCEEDED,
                                  AllOf(HasSubstr("run_seconds"), HasSubstr("0.1 s"))));
}

TEST_F(AdminServiceTest, WaitingIsNotRunTime) {
  HoldRuns(/*running=*/false);
  const std::string secret = Key({.run_seconds = 0.05}).secret;
  const auto context = ContextWith(secret);
  // Long after the limit the run is still there, and ends by its caller's deadline.
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(700)));
  const auto reader = weft_->Run(context.get(), Request());
  v1::RunEvents message;
  while (reader->Read(&message)) {
  }
  EXPECT_THAT(reader->Finish(),
              GrpcIs(grpc::StatusCode::DEADLINE_EXCEEDED, Not(HasSubstr("run_seconds"))));
}

TEST_F(AdminServiceTest, EveryCallIsAnEntryWithItsCode) {
  const keys::NewKey key = Key({});
  const auto context = ContextWith(key.secret);
  context->AddMetadata("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(
        Result{.name = "h",
               .value = {*graph::HostTensor::Make(graph::DType::kU8, {40}, std::string(40, 'x'))}});
    job->Emit(Completed{.fingerprint = "fake", .cost = {.tokens = 7}});
    return absl::OkStatus();
  };
  const auto reader = weft_->Run(context.get(), Request());
  v1::RunEvents message;
  while (reader->Read(&message)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  v1::RunRequest elsewhere = Request();
  elsewhere.set_model("nope");
  EXPECT_EQ(Run(key.secret, elsewhere).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(WhoAmI(key.secret).ok());
  EXPECT_EQ(CallRaw("weft.v1.Admin/ListKeys", "", key.secret).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(CallRaw("weft.v1.Weft/Watch", "", key.secret).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);

  const std::vector<audit::Entry> entries = Audit(key.key.id);
  ASSERT_THAT(entries, SizeIs(5));
  std::vector<std::string> ends;
  for (const audit::Entry& entry : entries) {
    ends.push_back(absl::StrCat(entry.method, " ", entry.code));
    EXPECT_THAT(entry.peer, HasSubstr("127.0.0.1"));
    EXPECT_GE(entry.seconds, 0);
    EXPECT_LT(absl::AbsDuration(entry.time - absl::Now()), absl::Minutes(1));
  }
  EXPECT_THAT(ends,
              ElementsAre("weft.v1.Weft/Watch 12", "weft.v1.Admin/ListKeys 7",
                          "weft.v1.Weft/WhoAmI 0", "weft.v1.Weft/Run 5", "weft.v1.Weft/Run 0"));
  EXPECT_EQ(entries[3].model, "nope");
  const audit::Entry& run = entries[4];
  EXPECT_EQ(run.model, "atlas");
  EXPECT_EQ(run.job_id, "job-1");
  EXPECT_EQ(run.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(run.tokens, 7u);
  EXPECT_EQ(run.result_bytes, 40u);

  EXPECT_EQ(WhoAmI("").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  const std::vector<audit::Entry> all = Audit();
  EXPECT_EQ(all.front().key_id, "");
  EXPECT_EQ(all.front().code, grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AdminServiceTest, MalformedTraceIdsAndLongModelNamesStayOutOfTheAudit) {
  const keys::NewKey key = Key({});
  for (const char* bad : {"", "00-", "00-4bf92f3577b34da6a3ce929d0e0e473X-00f067aa0ba902b7-01",
                          "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}) {
    const auto context = ContextWith(key.secret);
    context->AddMetadata("traceparent", bad);
    v1::WhoAmIResponse answer;
    EXPECT_TRUE(weft_->WhoAmI(context.get(), {}, &answer).ok());
  }
  v1::RunRequest request = Request();
  request.set_model(std::string(100'000, 'm'));
  EXPECT_FALSE(Run(key.secret, request).ok());
  for (const audit::Entry& entry : Audit(key.key.id)) {
    // One of the server's own.
    EXPECT_EQ(entry.trace_id.size(), 32u);
    EXPECT_THAT(entry.trace_id, ::testing::Not(HasSubstr("4bf92f3577b34da6")));
    EXPECT_LE(entry.model.size(), 128u);
  }
}

TEST_F(AdminServiceTest, WhatAnAdminDoesIsWrittenDownWithWhomItWasAbout) {
  v1::CreateKeyRequest create;
  create.mutable_key()->add_scopes("admin");
  create.mutable_key()->add_models("*");
  v1::CreateKeyResponse made;
  ASSERT_TRUE(stub_->CreateKey(Context().get(), create, &made).ok());
  v1::RevokeKeyRequest revoke;
  revoke.set_id(admin_.key.id);  // itself
  v1::RevokeKeyResponse revoked;
  ASSERT_TRUE(stub_->RevokeKey(Context().get(), revoke, &revoked).ok());

  v1::ListAuditRequest request;
  request.set_key_id(admin_.key.id);
  v1::ListAuditResponse answer;
  ASSERT_TRUE(stub_->ListAudit(ContextWith(made.secret()).get(), request, &answer).ok());
  ASSERT_EQ(answer.entries_size(), 2);
  EXPECT_EQ(answer.entries(0).method(), "weft.v1.Admin/RevokeKey");
  EXPECT_EQ(answer.entries(0).subject(), admin_.key.id);
  EXPECT_EQ(answer.entries(1).method(), "weft.v1.Admin/CreateKey");
  EXPECT_EQ(answer.entries(1).subject(), made.key().id());
  EXPECT_EQ(answer.entries(1).key_id(), admin_.key.id);
  EXPECT_GT(answer.entries(1).unix_seconds(), 1'700'000'000);
  // And nowhere a secret.
  EXPECT_THAT(answer.SerializeAsString(),
              Not(HasSubstr(made.secret().substr(made.secret().rfind('_') + 1))));
}

TEST_F(AdminServiceTest, GuessersWaitWhileAUserOnTheSameAddressDoesNot) {
  const std::string user = Key({}).secret;
  std::string wrong = user;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  for (int i = 0; i < limits::PeerThrottle::kFree; ++i) {
    EXPECT_EQ(WhoAmI(wrong).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  }
  // Many guesses wait at once; meanwhile the user is served.
  const absl::Time start = absl::Now();
  std::vector<std::thread> guessers;
  for (int i = 0; i < 4; ++i) {
    guessers.emplace_back([&] {
      EXPECT_EQ(WhoAmI(wrong).error_code(), grpc::StatusCode::UNAUTHENTICATED);
      EXPECT_GE(absl::Now() - start, limits::PeerThrottle::kHold);
    });
  }
  absl::Duration slowest;
  while (absl::Now() < start + limits::PeerThrottle::kHold / 2) {
    const absl::Time begin = absl::Now();
    EXPECT_TRUE(WhoAmI(user).ok());
    slowest = std::max(slowest, absl::Now() - begin);
  }
  EXPECT_LT(slowest, limits::PeerThrottle::kHold);
  for (std::thread& guesser : guessers) guesser.join();
}

TEST_F(AdminServiceTest, AGuesserThatIsHeldDoesNotKeepTheServerFromEnding) {
  const std::string wrong = "weft_aaaaaaaa_" + std::string(40, 'a');
  for (int i = 0; i < limits::PeerThrottle::kFree; ++i) WhoAmI(wrong);
  std::thread guesser([&] { EXPECT_FALSE(WhoAmI(wrong).ok()); });
  server_ = nullptr;
  guesser.join();
}

}  // namespace
}  // namespace weft::server
