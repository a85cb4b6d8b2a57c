#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <weft/client.h>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/client/scripted_server.h"

namespace weft::client_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kProgram[] = "invoke \"hi\" {\n%h = read h.output\nsave h = %h\n}\n";

class RemoteBackendTest : public ::testing::Test {
 protected:
  RemoteBackendTest() : target_(server_.Start(&service_)) {
    program_ = Program::Parse(kProgram).value();
  }

  std::shared_ptr<Backend> MakeBackend(RemoteOptions options = {}) {
    return MakeRemoteBackend(target_, options);
  }
  /// Run the program against what `events` says; results by name.
  absl::Status Run(std::vector<v1::RunEvent> events, grpc::Status end = grpc::Status::OK,
                   RemoteOptions options = {}) {
    service_.run = [events, end, one_message = one_message_](
                       grpc::ServerContext*, const v1::RunRequest&,
                       grpc::ServerWriter<v1::RunEvents>* writer) {
      v1::RunEvents message;
      for (const v1::RunEvent& event : events) {
        *message.add_events() = event;
        if (one_message) continue;
        writer->Write(message);
        message.Clear();
      }
      if (one_message) writer->Write(message);
      return end;
    };
    return MakeBackend(options)->Run("toy", *program_, {}, [this](RunEvent event) {
      if (auto* receiving = std::get_if<event::Receiving>(&event)) {
        receiving_.push_back(*receiving);
      } else {
        got_.push_back(event);
      }
    });
  }

  static v1::RunEvent ResultEvent(int64_t elements, uint32_t tensor) {
    v1::RunEvent event;
    event.set_sequence(3);
    event.mutable_result()->set_name("h");
    v1::TensorRef* ref = event.mutable_result()->mutable_value()->mutable_tensor();
    ref->set_dtype(v1::DTYPE_F32);
    ref->add_shape(elements);
    ref->set_tensor(tensor);
    ref->set_bytes(4 * elements);
    return event;
  }
  static v1::RunEvent ChunkEvent(uint32_t tensor, uint64_t offset, std::vector<float> values) {
    v1::RunEvent event;
    event.set_sequence(300);
    event.mutable_chunk()->set_tensor(tensor);
    event.mutable_chunk()->set_offset(offset);
    event.mutable_chunk()->set_data(values.data(), 4 * values.size());
    return event;
  }

  ScriptedService service_;
  ScriptedServer server_;
  const std::string target_;
  std::optional<Program> program_;
  bool one_message_ = false;   // all events, or one for each
  std::vector<RunEvent> got_;  // but these:
  std::vector<event::Receiving> receiving_;
};

TEST_F(RemoteBackendTest, SendsTheKeyAndReadsTheModel) {
  absl::StatusOr<Client> client = Client::Connect(target_, {.api_key = "weft_a_b\n"});
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(service_.authorization(), "Bearer weft_a_b");
  absl::StatusOr<LanguageModel> model = client->OpenLanguageModel("toy");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->description().sites[0].type, "float32[B, 4]");
}

TEST_F(RemoteBackendTest, ErrorsKeepTheirParts) {
  const absl::Status status = MakeBackend()->GetModel("other").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(GetError(status)->message, "no such model");
  EXPECT_EQ(GetError(status)->hint, "there is toy");
}

TEST_F(RemoteBackendTest, RefusesAKeyThatCannotBeSent) {
  EXPECT_EQ(Client::Connect(target_, {.api_key = "we\x01ft"}).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST_F(RemoteBackendTest, SaysWhomItCannotReach) {
  absl::StatusOr<Client> client = Client::Connect("127.0.0.1:1", {.timeout = absl::Seconds(5)});
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("127.0.0.1:1"));
}

TEST_F(RemoteBackendTest, AssemblesResultsFromChunks) {
  v1::RunEvent large = ChunkEvent(2, 8, std::vector<float>(200000, 0.5f));
  ASSERT_TRUE(
      Run({ResultEvent(200002, 2), ChunkEvent(2, 0, {1, 2}), large, CompletedEvent()}).ok());
  ASSERT_EQ(got_.size(), 2u);
  const auto* result = std::get_if<event::Result>(&got_[0]);
  ASSERT_NE(result, nullptr);
  const Tensor& tensor = result->value.tensor();
  EXPECT_EQ(tensor.at<float>(1), 2);
  EXPECT_EQ(tensor.at<float>(-1), 0.5f);
  EXPECT_EQ(std::get_if<event::Completed>(&got_[1])->cost.tokens, 7u);
}

TEST_F(RemoteBackendTest, PassesOnWhichItemOfAListAResultIs) {
  v1::RunEvent item = ResultEvent(1, 2);
  item.mutable_result()->set_step(3);
  ASSERT_TRUE(Run({item, ChunkEvent(2, 0, {1}), CompletedEvent()}).ok());
  const auto* result = std::get_if<event::Result>(&got_[0]);
  ASSERT_NE(result, nullptr);
  EXPECT_EQ(result->name, "h");
  EXPECT_EQ(result->step, 3u);
  EXPECT_FALSE(result->point || result->entry);
  EXPECT_EQ(result->value.tensor().numel(), 1);
}

TEST_F(RemoteBackendTest, AssemblesResultsThatTravelTogether) {
  one_message_ = true;
  const v1::RunEvent large = ChunkEvent(2, 8, std::vector<float>(200000, 0.5f));
  ASSERT_TRUE(Run({ResultEvent(200002, 2), ChunkEvent(2, 0, {1, 2}), large, ResultEvent(1, 3),
                   ChunkEvent(3, 0, {9}), CompletedEvent()})
                  .ok());
  ASSERT_EQ(got_.size(), 3u);
  const Tensor& tensor = std::get_if<event::Result>(&got_[0])->value.tensor();
  EXPECT_EQ(tensor.at<float>(1), 2);
  EXPECT_EQ(tensor.at<float>(-1), 0.5f);
  EXPECT_EQ(std::get_if<event::Result>(&got_[1])->value.tensor().item(), 9);
}

TEST_F(RemoteBackendTest, AcceptsTheFirstTensorsNumberLeftOut) {
  ASSERT_TRUE(Run({ResultEvent(1, 0), ChunkEvent(0, 0, {4}), CompletedEvent()}).ok());
  EXPECT_EQ(std::get_if<event::Result>(&got_[0])->value.tensor().item(), 4);
}

TEST_F(RemoteBackendTest, TellsHowMuchOfAResultHasCome) {
  ASSERT_TRUE(Run({ResultEvent(3, 0), ChunkEvent(0, 0, {1}), ChunkEvent(0, 4, {2, 3}),
                   ResultEvent(1, 1), ChunkEvent(1, 0, {4}), CompletedEvent()})
                  .ok());
  EXPECT_EQ(got_.size(), 3u);
  ASSERT_EQ(receiving_.size(), 1u);
  EXPECT_EQ(receiving_[0].name, "h");
  EXPECT_EQ(receiving_[0].bytes, 4u);
  EXPECT_EQ(receiving_[0].of, 12u);
}

TEST_F(RemoteBackendTest, AFailedRunGivesItsErrorWithTheStatement) {
  v1::RunEvent failed;
  failed.mutable_failed()->set_code(3);
  failed.mutable_failed()->set_message("shapes do not fit");
  failed.mutable_failed()->set_statement("%h = read h.output");
  failed.mutable_failed()->mutable_source()->set_file("mine.cc");
  failed.mutable_failed()->mutable_source()->set_line(12);
  const absl::Status status = Run({failed});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("mine.cc:12"));
  EXPECT_EQ(GetError(status)->line, 12u);
}

TEST_F(RemoteBackendTest, RefusesAStreamThatIsNotWhole) {
  EXPECT_EQ(Run({}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Run({ResultEvent(2, 0), CompletedEvent()}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Run({ChunkEvent(0, 0, {1})}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Run({ResultEvent(2, 0), ChunkEvent(0, 4, {1})}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Run({}, grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full")),
            absl::ResourceExhaustedError("full"));
}

TEST_F(RemoteBackendTest, RefusesResultsOverItsLimit) {
  EXPECT_EQ(Run({ResultEvent(100, 0)}, grpc::Status::OK, {.max_result_bytes = 399}).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(RemoteBackendTest, SendsSettings) {
  v1::RunRequest seen;
  service_.run = [&seen](grpc::ServerContext*, const v1::RunRequest& request,
                         grpc::ServerWriter<v1::RunEvents>* writer) {
    seen = request;
    v1::RunEvents message;
    *message.add_events() = CompletedEvent();
    writer->Write(message);
    return grpc::Status::OK;
  };
  RunSettings settings;
  settings.deadline = absl::Seconds(30);
  settings.exclusive = true;
  settings.seed = 9;
  ASSERT_TRUE(MakeBackend()->Run("toy", *program_, settings, [](RunEvent) {}).ok());
  EXPECT_EQ(seen.model(), "toy");
  EXPECT_EQ(seen.program().nodes_size(), 4);
  EXPECT_EQ(seen.options().deadline_seconds(), 30);
  EXPECT_TRUE(seen.options().exclusive());
  EXPECT_EQ(seen.options().seed(), 9u);
}

TEST_F(RemoteBackendTest, AnEditsConstantThatIsGoneFromTheServerIsUploadedOnceMore) {
  int uploads = 0;
  bool there = false;
  service_.uploaded = [&] {
    ++uploads;
    there = true;
  };
  service_.store_edit = [&](const v1::StoreEditRequest& request) {
    EXPECT_EQ(request.name(), "large");
    for (int i = 0; i < request.program().nodes_size(); ++i) {
      if (!request.program().nodes(i).constant().has_blob()) continue;
      if (there) return grpc::Status::OK;
      v1::Error error;
      error.set_message("this key has no such blob");
      error.set_node(static_cast<uint32_t>(i) + 1);
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no blob", error.SerializeAsString());
    }
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the constant is no blob");
  };
  const LanguageModel model = Client(MakeBackend()).OpenLanguageModel("toy").value();
  const Tensor large = Tensor::From(std::vector<float>(1 << 20));
  const auto store = [&] {
    return model.StoreEdit("large", [&] { model["h"].output() = large; }).status();
  };
  EXPECT_EQ(store(), absl::OkStatus());
  EXPECT_EQ(store(), absl::OkStatus());
  EXPECT_EQ(uploads, 1);
  there = false;
  EXPECT_EQ(store(), absl::OkStatus());
  EXPECT_EQ(uploads, 2);
  // Once: it may be gone for a reason that lasts.
  service_.uploaded = [&] { ++uploads; };
  there = false;
  EXPECT_EQ(store().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(uploads, 3);
}

/// Stays in the call until the client has left it.
grpc::Status WaitUntilLeft(grpc::ServerContext* context, const v1::RunRequest&,
                           grpc::ServerWriter<v1::RunEvents>* writer) {
  v1::RunEvents running;
  running.add_events()->mutable_running();
  writer->Write(running);
  while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
  return grpc::Status::CANCELLED;
}

TEST_F(RemoteBackendTest, ADeadlineEndsARunOfADeafServer) {
  service_.run = WaitUntilLeft;
  RunSettings settings;
  settings.deadline = absl::Milliseconds(50);
  EXPECT_EQ(MakeBackend()->Run("toy", *program_, settings, [](RunEvent) {}).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(RemoteBackendTest, CancelsFromAnEvent) {
  service_.run = WaitUntilLeft;
  RunSettings settings;
  const absl::Status status = MakeBackend()->Run("toy", *program_, settings,
                                                 [&](RunEvent) { settings.cancellation.Cancel(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  // And a run that begins afterwards ends at once.
  EXPECT_EQ(MakeBackend()->Run("toy", *program_, settings, [](RunEvent) {}).code(),
            absl::StatusCode::kCancelled);
}

TEST_F(RemoteBackendTest, AnExceptionOfTheListenerCancelsTheCall) {
  service_.run = WaitUntilLeft;
  const auto listener = [](RunEvent) { throw std::runtime_error("mine"); };
  EXPECT_THROW(static_cast<void>(MakeBackend()->Run("toy", *program_, {}, listener)),
               std::runtime_error);
}

/// Of results that are received on a thread of their own while they are copied.
class LargeResultTest : public RemoteBackendTest {
 protected:
  static constexpr int kChunks = 24;
  static constexpr int64_t kChunk = 1 << 18;  // elements

  /// A result of kChunks chunks, each full of its number, of which `sent` come.
  static std::vector<v1::RunEvent> Events(int sent = kChunks) {
    std::vector<v1::RunEvent> events = {ResultEvent(kChunks * kChunk, 2)};
    for (int chunk = 0; chunk < sent; ++chunk) {
      events.push_back(
          ChunkEvent(2, 4 * kChunk * chunk, std::vector<float>(kChunk, static_cast<float>(chunk))));
    }
    return events;
  }
};

TEST_F(LargeResultTest, IsAssembledAndWhatFollowsItToo) {
  std::vector<v1::RunEvent> events = Events();
  events.push_back(ResultEvent(1, 3));
  events.push_back(ChunkEvent(3, 0, {7}));
  events.push_back(CompletedEvent());
  ASSERT_TRUE(Run(events).ok());
  ASSERT_EQ(got_.size(), 3u);
  const Tensor& large = std::get_if<event::Result>(&got_[0])->value.tensor();
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    EXPECT_EQ(large.at<float>(chunk * kChunk), chunk);
    EXPECT_EQ(large.at<float>((chunk + 1) * kChunk - 1), chunk);
  }
  EXPECT_EQ(std::get_if<event::Result>(&got_[1])->value.tensor().at<float>(0), 7);
  EXPECT_EQ(receiving_.size(), static_cast<size_t>(kChunks) - 1);
}

TEST_F(LargeResultTest, ThatBreaksOffIsDataLoss) {
  EXPECT_EQ(Run(Events(9)).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LargeResultTest, ThatTheServerEndsHasTheServersReason) {
  const absl::Status status =
      Run(Events(9), grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "no more"));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(LargeResultTest, OutOfOrderIsDataLoss) {
  std::vector<v1::RunEvent> events = Events();
  std::swap(events[12], events[13]);
  EXPECT_EQ(Run(events).code(), absl::StatusCode::kDataLoss);
}

TEST_F(LargeResultTest, IsLeftByAnExceptionOfTheListener) {
  service_.run = [](grpc::ServerContext* context, const v1::RunRequest&,
                    grpc::ServerWriter<v1::RunEvents>* writer) {
    for (const v1::RunEvent& event : Events()) {
      v1::RunEvents message;
      *message.add_events() = event;
      if (!writer->Write(message)) break;
    }
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return grpc::Status::CANCELLED;
  };
  int pieces = 0;
  const auto listener = [&pieces](const RunEvent& event) {
    if (std::holds_alternative<event::Receiving>(event) && ++pieces == 8) {
      throw std::runtime_error("mine");
    }
  };
  EXPECT_THROW(static_cast<void>(MakeBackend()->Run("toy", *program_, {}, listener)),
               std::runtime_error);
}

}  // namespace
}  // namespace weft::client_test
