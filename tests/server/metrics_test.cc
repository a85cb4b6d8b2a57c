#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <string>

#include "server/metrics/endpoint.h"
#include "tests/support/fake_engine.h"
#include "tests/support/http.h"
#include "tests/support/status_matchers.h"

namespace weft::metrics {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::HttpGet;
using ::testing::Not;
using testing::StatusIs;

std::string Text(const Metrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.Collect());
}

TEST(MetricsTest, CallsAreCountedByMethodAndCode) {
  Metrics metrics;
  metrics.CountCall("Run", absl::StatusCode::kOk, 0.02);
  metrics.CountCall("Run", absl::StatusCode::kInvalidArgument, 0.001);
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr(R"(weft_requests_total{code="OK",method="Run"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_requests_total{code="INVALID_ARGUMENT",method="Run"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_request_duration_seconds_count{method="Run"} 2)"));
}

TEST(MetricsTest, RefusalsHaveAReasonFromAClosedSet) {
  Metrics metrics;
  EXPECT_THAT(Text(metrics), HasSubstr(R"(weft_refusals_total{reason="invalid"} 0)"));
  metrics.CountRefusal(absl::StatusCode::kOutOfRange);
  metrics.CountRefusal(absl::StatusCode::kResourceExhausted, "requests_per_minute");
  metrics.CountRefusal(absl::StatusCode::kInternal);  // refuses nothing: it is our fault
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr(R"(weft_refusals_total{reason="invalid"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_refusals_total{reason="requests_per_minute"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_refusals_total{reason="exhausted"} 0)"));
}

TEST(MetricsTest, PassesAreCountedByModel) {
  Metrics metrics;
  const std::string model = "atlas";
  metrics.CountPass({.model = model, .runs = 3, .segments = 5, .rows = 40, .seconds = 0.003});
  metrics.CountPass({.model = model, .runs = 1, .segments = 1, .rows = 8, .ok = false});
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr(R"(weft_passes_total{model="atlas",result="ok"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_passes_total{model="atlas",result="broken"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_pass_rows_sum{model="atlas"} 48)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_pass_segments_sum{model="atlas"} 6)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_pass_runs_bucket{model="atlas",le="2"} 1)"));
}

TEST(MetricsTest, ReadsTheEngineWhileThereIsOne) {
  testing::FakeEngine engine;
  engine.stats = {.queued = 7, .plan_hits = 5, .plan_misses = 2};
  Metrics metrics;
  EXPECT_THAT(Text(metrics), Not(HasSubstr("weft_queue_length")));
  metrics.Observe({.engine = &engine,
                   .dropped_audit_entries = [] { return uint64_t{3}; },
                   .blobs = [] { return Sources::Kept{.bytes = 100, .count = 2}; },
                   .edits = [] { return Sources::Kept{.bytes = 50, .count = 3}; }});
  const std::string text = Text(metrics);
  EXPECT_THAT(text, HasSubstr(R"(weft_queue_length{model="atlas"} 7)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_plan_cache_requests_total{model="atlas",result="hit"} 5)"));
  EXPECT_THAT(text, HasSubstr(R"(weft_tokens_total{model="atlas"} 0)"));
  EXPECT_THAT(text, HasSubstr("weft_audit_entries_dropped_total 3"));
  EXPECT_THAT(text, HasSubstr("weft_blob_bytes 100"));
  EXPECT_THAT(text, HasSubstr("weft_blobs 2"));
  EXPECT_THAT(text, HasSubstr("weft_edit_bytes 50"));
  EXPECT_THAT(text, HasSubstr("weft_edits 3"));
  metrics.Observe({});
  EXPECT_THAT(Text(metrics), Not(HasSubstr("weft_queue_length")));
}

TEST(MetricsTest, TellsOfTheProcess) {
  const std::string text = Text(Metrics());
  for (const char* name :
       {"process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds_total",
        "process_open_fds", "weft_memory_limit_bytes"}) {
    const size_t at = text.find(std::string("\n") + name + " ");
    ASSERT_NE(at, std::string::npos) << name;
    EXPECT_GT(std::stod(text.substr(at + std::string(name).size() + 2)), 0) << name;
  }
}

TEST(EndpointTest, ServesTheMetricsAndNothingElse) {
  auto metrics = std::make_shared<Metrics>();
  const auto endpoint = Endpoint::Start("127.0.0.1:0", metrics);
  ASSERT_THAT(endpoint, testing::IsOk());
  const std::string answer = HttpGet((*endpoint)->address(), "/metrics");
  EXPECT_THAT(answer, AllOf(HasSubstr("HTTP/1.1 200"), HasSubstr("weft_build_info{version=")));
  EXPECT_THAT(HttpGet((*endpoint)->address(), "/"), HasSubstr("HTTP/1.1 404"));
  EXPECT_THAT(HttpGet((*endpoint)->address(), "/../../etc/passwd"), Not(HasSubstr("root:")));
}

TEST(EndpointTest, AddressThatCannotBeListenedOnIsAClearError) {
  auto metrics = std::make_shared<Metrics>();
  const auto endpoint = Endpoint::Start("127.0.0.1:0", metrics);
  ASSERT_THAT(endpoint, testing::IsOk());
  EXPECT_THAT(Endpoint::Start((*endpoint)->address(), metrics),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr((*endpoint)->address())));
  for (const char* listen : {"", "9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000",
                             "127.0.0.1:1,127.0.0.1:2", "example.org:1"}) {
    EXPECT_THAT(Endpoint::Start(listen, metrics),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--metrics")))
        << listen;
  }
}

}  // namespace
}  // namespace weft::metrics
