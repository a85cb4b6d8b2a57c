#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"
#include "weft/backend.h"

namespace weft::server {
namespace {

using testing::FakeEngine;
using testing::FakeJob;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

/// A server over a fake engine whose canaries come back as `kernel_works_` says.
class HealthTest : public ::testing::Test {
 protected:
  HealthTest() {
    engine_.AddSite("atlas", "lm_head", graph::DType::kF32);
    engine_.on_submit = [this](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
      job->Accept();
      if (kernel_works_) {
        job->Complete();
      } else {
        job->Fail(absl::StatusCode::kInternal, "a kernel broke");
      }
      return absl::OkStatus();
    };
    options_.listen = "127.0.0.1:0";
  }

  void Start() {
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options_, &engine_, nullptr, nullptr);
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
  }

  absl::Status Health(const std::string& model = "") {
    return CheckHealth(server_->address(), {.timeout = absl::Seconds(5)}, model);
  }

  /// Ask until the answer is `wanted`, at most for ten seconds.
  absl::Status AwaitHealth(absl::StatusCode wanted, const std::string& model = "") {
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    absl::Status status = Health(model);
    while (status.code() != wanted && absl::Now() < give_up) {
      absl::SleepFor(absl::Milliseconds(5));
      status = Health(model);
    }
    return status;
  }

  FakeEngine engine_;
  std::atomic<bool> kernel_works_ = true;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(HealthTest, ServerAndItsModelsServe) {
  Start();
  EXPECT_THAT(Health(), IsOk());
  EXPECT_THAT(Health("atlas"), IsOk());
  EXPECT_THAT(Health("gpt5"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("gpt5")));
}

TEST_F(HealthTest, FailingCanaryEndsServingAndSuccessBringsItBack) {
  options_.canary.period = absl::Milliseconds(5);
  Start();
  kernel_works_ = false;
  EXPECT_THAT(AwaitHealth(absl::StatusCode::kUnavailable),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("not serving")));
  EXPECT_THAT(AwaitHealth(absl::StatusCode::kUnavailable, "atlas"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("'atlas'")));
  kernel_works_ = true;
  EXPECT_THAT(AwaitHealth(absl::StatusCode::kOk), IsOk());
  EXPECT_THAT(AwaitHealth(absl::StatusCode::kOk, "atlas"), IsOk());
}

TEST_F(HealthTest, DrainingEndsServing) {
  std::shared_ptr<FakeJob> held;
  engine_.on_submit = [&](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    held = job;
    return absl::OkStatus();
  };
  Start();
  const std::shared_ptr<Backend> backend = MakeRemoteBackend(server_->address());
  const Program program = *Program::Parse("invoke [1] { %h = read lm_head.output save h = %h }");
  absl::Notification accepted;
  std::thread run([&] {
    EXPECT_THAT(backend->Run("atlas", program, {},
                             [&](const RunEvent&) {
                               if (!accepted.HasBeenNotified()) accepted.Notify();
                             }),
                IsOk());
  });
  accepted.WaitForNotification();
  std::thread shutdown([&] { server_->Shutdown(absl::Now() + absl::Seconds(30)); });
  EXPECT_THAT(AwaitHealth(absl::StatusCode::kUnavailable),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("not serving")));
  EXPECT_THAT(Health("atlas"), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("not serving")));
  held->Complete();
  run.join();
  shutdown.join();
}

TEST_F(HealthTest, NobodyThereIsNotServing) {
  Start();
  const std::string address = server_->address();
  server_ = nullptr;
  EXPECT_THAT(CheckHealth(address, {.timeout = absl::Seconds(5)}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(address)));
}

TEST_F(HealthTest, ReflectionListsTheServices) {
  Start();
  grpc::GenericStub stub(
      grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  const auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(next());
  const grpc::Slice list_services(std::string("\x3a\x01*", 3));
  call->WriteLast(grpc::ByteBuffer(&list_services, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(next());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  ASSERT_TRUE(next());
  grpc::Slice bytes;
  ASSERT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
  const std::string text(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
  for (const char* service : {"weft.v1.Weft", "weft.v1.Admin", "grpc.health.v1.Health"}) {
    EXPECT_THAT(text, HasSubstr(service));
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace weft::server
