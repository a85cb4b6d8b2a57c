#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/text.h"
#include "server/keys/key_store.h"
#include "server/log.h"
#include "server/metrics/metrics.h"
#include "server/server.h"
#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/v1/weft.grpc.pb.h"

namespace weft::server {
namespace {

using ::testing::AllOf;
using testing::FakeEngine;
using testing::FakeJob;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;

constexpr char kPrompt[] = "the-prompt-that-nobody-else-sees";
constexpr char kTraceId[] = "0af7651916cd43dd8448eb211c80319c";

/// A server that counts and logs, over a fake engine.
class CallTest : public ::testing::Test {
 protected:
  CallTest() {
    auto logger = std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
    logger->set_formatter(MakeLogFormatter("json"));
    logger->set_level(spdlog::level::trace);
    spdlog::set_default_logger(std::move(logger));

    keys_ = *keys::KeyStore::Open(folder_.path());
    key_ = *keys_->Create({.label = "the-label"});
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.metrics = metrics_;
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(options, &engine_, keys_.get(), nullptr);
    EXPECT_THAT(server, IsOk());
    server_ = *std::move(server);
    stub_ = v1::Weft::NewStub(
        grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  }
  ~CallTest() override {
    server_ = nullptr;
    spdlog::set_default_logger(spdlog::create<spdlog::sinks::ostream_sink_mt>("none", log_));
    spdlog::drop("none");
  }

  struct Answer {
    grpc::Status status;
    std::string trace_id;
  };
  template <class Method>
  Answer Call(Method method, const std::string& secret,
              const std::vector<std::string>& traceparents = {}) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    if (!secret.empty()) context.AddMetadata("authorization", "Bearer " + secret);
    for (const std::string& traceparent : traceparents) {
      context.AddMetadata("traceparent", traceparent);
    }
    Answer answer{method(&context), ""};
    const auto found = context.GetServerTrailingMetadata().find("weft-trace-id");
    if (found != context.GetServerTrailingMetadata().end()) {
      answer.trace_id.assign(found->second.data(), found->second.size());
    }
    return answer;
  }
  Answer WhoAmI(const std::string& secret, const std::vector<std::string>& traceparents = {}) {
    return Call(
        [&](grpc::ClientContext* context) {
          v1::WhoAmIResponse response;
          return stub_->WhoAmI(context, {}, &response);
        },
        secret, traceparents);
  }
  Answer Run(const std::string& secret, const std::string& model = "atlas",
             const std::vector<std::string>& traceparents = {}) {
    v1::RunRequest request;
    request.set_model(model);
    graph::EncodeProgram(*graph::ParseProgram(absl::StrCat(
                             "invoke \"", kPrompt, "\" { %h = read h.0.output save h = %h }")),
                         request.mutable_program());
    return Call(
        [&](grpc::ClientContext* context) {
          const auto reader = stub_->Run(context, request);
          v1::RunEvents events;
          while (reader->Read(&events)) {
          }
          return reader->Finish();
        },
        secret, traceparents);
  }

  std::string Scrape() { return prometheus::TextSerializer().Serialize(metrics_->Collect()); }

  /// The logged line that has `message`, once the server has gone.
  nlohmann::json Line(const std::string& message) {
    server_ = nullptr;
    std::istringstream lines(log_.str());
    for (std::string line; std::getline(lines, line);) {
      const auto parsed = nlohmann::json::parse(line);
      if (parsed["message"] == message) return parsed;
    }
    ADD_FAILURE() << "no line '" << message << "' in\n" << log_.str();
    return nlohmann::json::object();
  }

  std::ostringstream log_;
  testing::TempFolder folder_;
  FakeEngine engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  keys::NewKey key_;
  std::shared_ptr<metrics::Metrics> metrics_ = std::make_shared<metrics::Metrics>();
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::Weft::Stub> stub_;
};

TEST_F(CallTest, CallsAndRefusalsAreCounted) {
  EXPECT_TRUE(WhoAmI(key_.secret).status.ok());
  EXPECT_FALSE(WhoAmI("").status.ok());
  EXPECT_FALSE(Run(key_.secret, "gpt5").status.ok());
  const std::string text = Scrape();
  EXPECT_THAT(text,
              AllOf(HasSubstr(R"(weft_requests_total{code="OK",method="weft.v1.Weft/WhoAmI"} 1)"),
                    HasSubstr(R"(code="UNAUTHENTICATED",method="weft.v1.Weft/WhoAmI"} 1)"),
                    HasSubstr(R"(code="NOT_FOUND",method="weft.v1.Weft/Run"} 1)"),
                    HasSubstr(R"(weft_refusals_total{reason="unauthenticated"} 1)"),
                    HasSubstr(R"(weft_refusals_total{reason="not_found"} 1)"),
                    HasSubstr("weft_active_calls 0\n")));
  // A model that is not there must not become a label.
  EXPECT_THAT(text, Not(HasSubstr("gpt5")));
}

TEST_F(CallTest, LimitsAreReasonsOfRefusals) {
  const keys::NewKey key = *keys_->Create({.limits = {.requests_per_minute = 1}});
  EXPECT_TRUE(WhoAmI(key.secret).status.ok());
  EXPECT_FALSE(WhoAmI(key.secret).status.ok());
  EXPECT_THAT(Scrape(), HasSubstr(R"(weft_refusals_total{reason="requests_per_minute"} 1)"));
}

TEST_F(CallTest, RunsAreFollowedThroughTheirPhases) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(Running{});
    job->Emit(Completed{
        .cost = {.run_seconds = 2, .operator_seconds = 1, .tokens = 8, .result_bytes = 64}});
    return absl::OkStatus();
  };
  EXPECT_TRUE(Run(key_.secret).status.ok());
  server_ = nullptr;  // and all of its streams
  const std::string text = Scrape();
  for (const char* line :
       {R"(weft_runs_total{code="OK",model="atlas"} 1)",
        R"(weft_run_phase_seconds_count{model="atlas",phase="queue"} 1)",
        R"(weft_run_phase_seconds_sum{model="atlas",phase="pass"} 2)",
        R"(weft_run_phase_seconds_sum{model="atlas",phase="operators"} 1)",
        R"(weft_run_phase_seconds_count{model="atlas",phase="delivery"} 1)",
        R"(weft_tokens_total{model="atlas"} 8)", R"(weft_result_bytes_total{model="atlas"} 64)",
        "weft_active_runs 0\n", "weft_active_calls 0\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST_F(CallTest, LineOfARunSaysWhoRanWhatAndHowItEnded) {
  EXPECT_TRUE(Run(key_.secret, "atlas", {absl::StrCat("00-", kTraceId, "-b7ad6b7169203331-01")})
                  .status.ok());
  const nlohmann::json line = Line("run ended");
  EXPECT_EQ(line["method"], "weft.v1.Weft/Run");
  EXPECT_EQ(line["key"], key_.key.id);
  EXPECT_EQ(line["model"], "atlas");
  EXPECT_EQ(line["code"], "OK");
  EXPECT_EQ(line["trace"], kTraceId);
  EXPECT_GE(line["ms"], 0);
  EXPECT_FALSE(line["job"].get<std::string>().empty());
}

TEST_F(CallTest, LogAndMetricsHaveNoSecretsAndNoContents) {
  engine_.on_submit = [](const std::shared_ptr<FakeJob>& job, const FakeEngine::Submission&) {
    job->Accept();
    job->Emit(LogLine{.text = kPrompt});
    job->Fail(absl::StatusCode::kInternal, absl::StrCat("broke at ", kPrompt));
    return absl::OkStatus();
  };
  EXPECT_FALSE(Run(key_.secret).status.ok());
  EXPECT_FALSE(Run(key_.secret, std::string(1000, 'm') + "\nforged info line").status.ok());
  EXPECT_FALSE(Run(key_.secret + "0").status.ok());
  const std::string metrics = Scrape();
  EXPECT_EQ(Line("run ended")["level"], "warning");
  const std::string log = log_.str();
  const std::string secret = key_.secret.substr(key_.secret.rfind('_') + 1);
  for (const std::string& text : {log, metrics}) {
    EXPECT_THAT(text, Not(HasSubstr(secret)));
    EXPECT_THAT(text, Not(HasSubstr(kPrompt)));
    EXPECT_THAT(text, Not(HasSubstr("the-label")));
    EXPECT_THAT(text, Not(HasSubstr("\nforged")));
  }
  EXPECT_THAT(metrics, Not(HasSubstr(key_.key.id)));
}

TEST_F(CallTest, TraceOfTheCallerComesBack) {
  const std::string good = absl::StrCat("00-", kTraceId, "-b7ad6b7169203331-01");
  EXPECT_EQ(WhoAmI(key_.secret, {good}).trace_id, kTraceId);
  EXPECT_EQ(Run(key_.secret, "atlas", {good}).trace_id, kTraceId);
  EXPECT_EQ(WhoAmI("", {good}).trace_id, kTraceId);
  const std::string made = WhoAmI(key_.secret).trace_id;
  EXPECT_EQ(made.size(), 32u);
  EXPECT_NE(made, WhoAmI(key_.secret).trace_id);
  // Malformed, or more than one: as if there were none.
  EXPECT_NE(WhoAmI(key_.secret, {good + "x"}).trace_id, kTraceId);
  EXPECT_NE(WhoAmI(key_.secret, {good, good}).trace_id, kTraceId);
}

}  // namespace
}  // namespace weft::server
