#include "client/remote/retry.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft/client.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "engine/graph/error.h"
#include "tests/client/scripted_server.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;

constexpr absl::Duration kSoon = absl::Milliseconds(10);
constexpr char kProgram[] = "invoke \"hi\" {\n%h = read h.output\nsave h = %h\n}\n";

absl::Status Limited(double seconds) {
  graph::Error error;
  error.code = absl::StatusCode::kResourceExhausted;
  error.message = "too many requests";
  error.retry_after_seconds = seconds;
  return graph::ToStatus(error);
}

TEST(BackoffTest, DoublesUpToItsBoundAndEndsWithTheAttempts) {
  const RetryPolicy policy = {
      .attempts = 5, .initial_backoff = absl::Seconds(1), .max_backoff = absl::Seconds(3)};
  remote::Backoff backoff(policy, absl::InfiniteFuture());
  const absl::Status status = absl::UnavailableError("gone");
  for (const double most : {1.0, 2.0, 3.0, 3.0}) {
    const std::optional<absl::Duration> delay = backoff.Next(status, absl::UnixEpoch());
    ASSERT_TRUE(delay.has_value());
    EXPECT_LE(*delay, absl::Seconds(most));
    EXPECT_GE(*delay, absl::Seconds(most / 2));
  }
  EXPECT_EQ(backoff.Next(status, absl::UnixEpoch()), std::nullopt);
}

TEST(BackoffTest, StaysWithinTheDeadline) {
  const RetryPolicy policy = {.attempts = 100, .initial_backoff = absl::Seconds(4)};
  remote::Backoff backoff(policy, absl::UnixEpoch() + absl::Seconds(1));
  EXPECT_EQ(backoff.Next(absl::UnavailableError("gone"), absl::UnixEpoch()), std::nullopt);
}

TEST(BackoffTest, WaitsForLimitsOnlyWhereAsked) {
  const RetryPolicy patient = {.wait_for_limits = true}, impatient;
  remote::Backoff waits(patient, absl::InfiniteFuture()),
      refuses(impatient, absl::InfiniteFuture());
  EXPECT_EQ(refuses.Next(Limited(2), absl::UnixEpoch()), std::nullopt);
  const std::optional<absl::Duration> delay = waits.Next(Limited(2), absl::UnixEpoch());
  ASSERT_TRUE(delay.has_value());
  EXPECT_GE(*delay, absl::Seconds(2));
  // A limit that time does not mend.
  EXPECT_EQ(waits.Next(Limited(0), absl::UnixEpoch()), std::nullopt);
}

TEST(BackoffTest, OtherErrorsStay) {
  const RetryPolicy policy;
  remote::Backoff backoff(policy, absl::InfiniteFuture());
  for (const auto code : {absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kInternal,
                          absl::StatusCode::kUnauthenticated, absl::StatusCode::kCancelled}) {
    EXPECT_EQ(backoff.Next(absl::Status(code, "no"), absl::UnixEpoch()), std::nullopt);
  }
}

/// A status as the server gives it: with the error in its details.
grpc::Status Refusal(grpc::StatusCode code, double retry_after_seconds = 0) {
  v1::Error error;
  error.set_code(code);
  error.set_message("refused");
  error.set_retry_after_seconds(retry_after_seconds);
  return grpc::Status(code, "refused", error.SerializeAsString());
}

class RetryTest : public ::testing::Test {
 protected:
  RetryTest() : target_(server_.Start(&service_)) {
    service_.run = [this](grpc::ServerContext*, const v1::RunRequest& request,
                          grpc::ServerWriter<v1::RunEvents>* writer) {
      deadlines_.push_back(request.options().deadline_seconds());
      if (++calls_ <= refusals_) {
        v1::RunEvents message;
        for (const v1::RunEvent& event : before_refusal_) *message.add_events() = event;
        if (!before_refusal_.empty()) writer->Write(message);
        return refusal_;
      }
      v1::RunEvents message;
      *message.add_events() = CompletedEvent();
      writer->Write(message);
      return grpc::Status::OK;
    };
  }

  absl::Status Run(const RetryPolicy& policy, RunSettings settings = {}) {
    const std::shared_ptr<Backend> backend = MakeRemoteBackend(target_, {.retry = policy});
    return backend->Run("toy", *Program::Parse(kProgram), settings, [&](const RunEvent& event) {
      if (std::holds_alternative<event::Waiting>(event)) ++waits_;
      if (on_event_) on_event_(event);
    });
  }

  ScriptedService service_;
  // What the first `refusals_` runs end with.
  int refusals_ = 0;
  grpc::Status refusal_ = Refusal(grpc::StatusCode::UNAVAILABLE);
  std::vector<v1::RunEvent> before_refusal_;
  int calls_ = 0;
  std::vector<double> deadlines_;
  int waits_ = 0;
  std::function<void(const RunEvent&)> on_event_;
  ScriptedServer server_;
  std::string target_;
};

TEST_F(RetryTest, ReadsAreTriedAgain) {
  int calls = 0;
  service_.who_am_i = [&calls] {
    return ++calls < 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "not yet") : grpc::Status::OK;
  };
  int waits = 0;
  RemoteOptions options;
  options.retry.initial_backoff = kSoon;
  options.retry.on_wait = [&waits](const event::Waiting& waiting) {
    EXPECT_EQ(waiting.reason.code(), absl::StatusCode::kUnavailable);
    ++waits;
  };
  EXPECT_TRUE(Client::Connect(target_, options).ok());
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(waits, 2);

  calls = 0;
  options.retry.attempts = 2;
  EXPECT_EQ(Client::Connect(target_, options).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, 2);
}

TEST_F(RetryTest, ARunThatTheServerRefusedIsTriedAgain) {
  refusals_ = 2;
  EXPECT_TRUE(Run({.initial_backoff = kSoon}).ok());
  EXPECT_EQ(calls_, 3);
  EXPECT_EQ(waits_, 2);
}

TEST_F(RetryTest, ARefusalInTheStreamCountsAsWell) {
  refusals_ = 1;
  v1::RunEvent failed;
  failed.mutable_failed()->set_code(grpc::StatusCode::UNAVAILABLE);
  failed.mutable_failed()->set_message("the server is shutting down");
  before_refusal_ = {failed};
  EXPECT_TRUE(Run({.initial_backoff = kSoon}).ok());
  EXPECT_EQ(calls_, 2);
}

TEST_F(RetryTest, ARunThatHadBegunIsNotTriedAgain) {
  refusals_ = 1;
  v1::RunEvent accepted;
  accepted.mutable_accepted()->set_job_id("j1");
  before_refusal_ = {accepted};
  EXPECT_EQ(Run({.initial_backoff = kSoon}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls_, 1);
}

TEST_F(RetryTest, WaitsForALimitWhereAsked) {
  refusals_ = 1;
  refusal_ = Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, 0.01);
  const absl::Status status = Run({});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetError(status)->retry_after_seconds, 0.01);
  calls_ = 0;
  EXPECT_TRUE(Run({.wait_for_limits = true}).ok());
  EXPECT_EQ(calls_, 2);
}

TEST_F(RetryTest, ACancellationEndsTheWait) {
  refusals_ = 1;
  RunSettings settings;
  on_event_ = [&settings](const RunEvent&) { settings.cancellation.Cancel(); };
  EXPECT_EQ(Run({.initial_backoff = absl::Hours(1)}, settings).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(waits_, 1);
}

TEST_F(RetryTest, FurtherAttemptsHaveWhatIsLeftOfTheDeadline) {
  refusals_ = 1;
  RunSettings settings;
  settings.deadline = absl::Seconds(60);
  ASSERT_TRUE(Run({.initial_backoff = kSoon}, settings).ok());
  ASSERT_EQ(deadlines_.size(), 2u);
  EXPECT_EQ(deadlines_[0], 60);
  EXPECT_LT(deadlines_[1], 60);
  EXPECT_GT(deadlines_[1], 0);
}

TEST_F(RetryTest, ARunWhoseRequestDidNotLeaveIsTriedAgain) {
  server_.Stop();
  on_event_ = [this](const RunEvent& event) {
    if (std::holds_alternative<event::Waiting>(event) && waits_ == 1) {
      server_.Start(&service_, server_.port());
    }
  };
  const absl::Status status =
      Run({.attempts = 100, .initial_backoff = kSoon, .max_backoff = absl::Milliseconds(100)});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(calls_, 1);
  EXPECT_GE(waits_, 1);
}

/// Takes requests, and hangs up once it has one whole.
class HangingUpServer {
 public:
  HangingUpServer() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    target_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    thread_ = std::thread([this] { Serve(); });
  }
  ~HangingUpServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  const std::string& target() const { return target_; }
  int requests() const { return requests_; }

 private:
  void Serve() {
    for (int connection; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
      // An empty SETTINGS frame, by which gRPC knows a server.
      const char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
      EXPECT_EQ(write(connection, settings, sizeof(settings)), 9);
      TakeRequest(connection);
      close(connection);
    }
  }
  static bool Read(int connection, void* to, size_t size) {
    return recv(connection, to, size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }
  void TakeRequest(int connection) {
    char preface[24];
    if (!Read(connection, preface, sizeof(preface))) return;
    unsigned char head[9];
    while (Read(connection, head, sizeof(head))) {
      std::string payload(head[0] << 16 | head[1] << 8 | head[2], '\0');
      if (!Read(connection, payload.data(), payload.size())) return;
      const bool is_data = head[3] == 0, is_last = (head[4] & 1) != 0;
      if (is_data && is_last) {
        ++requests_;
        return;
      }
    }
  }

  const int listener_;
  std::string target_;
  std::atomic<int> requests_ = 0;
  std::thread thread_;
};

TEST_F(RetryTest, ARunWhoseConnectionBrokeIsNotTriedAgain) {
  HangingUpServer server;
  target_ = server.target();
  EXPECT_EQ(Run({.initial_backoff = kSoon}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.requests(), 1);
  EXPECT_EQ(waits_, 0);
}

}  // namespace
}  // namespace weft::client_test
