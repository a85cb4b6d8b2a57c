#include <gtest/gtest.h>
#include <weft/client.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/client/scripted_server.h"

namespace weft::client_test {
namespace {

// Each run gives back the number that its program holds, so that a mix-up shows.
grpc::Status GiveBack(grpc::ServerContext*, const v1::RunRequest& request,
                      grpc::ServerWriter<v1::RunEvents>* writer) {
  v1::RunEvents message;
  v1::Result* result = message.add_events()->mutable_result();
  for (const v1::Node& node : request.program().nodes()) {
    if (node.has_invoke()) {
      result->mutable_value()->set_integer(node.invoke().tokens().rows(0).ids(0));
    }
    if (node.has_save()) result->set_name(node.save().name());
  }
  *message.add_events() = CompletedEvent();
  writer->Write(message);
  return grpc::Status::OK;
}

TEST(ThreadsTest, OneClientAndOneModelServeManyThreads) {
  constexpr int kThreads = 8, kRuns = 20;
  ScriptedService service;
  service.run = GiveBack;
  ScriptedServer server;
  const Client client = Client::Connect(server.Start(&service)).value();
  const LanguageModel model = client.OpenLanguageModel("toy").value();

  std::vector<std::string> errors(kThreads);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int run = 0; run < kRuns && errors[thread].empty(); ++run) {
        const int64_t number = kRuns * thread + run;
        Saved<int64_t> got;
        const absl::Status traced =
            model.Trace(std::vector<int64_t>{number}, [&] { got = model["h"].output().save(); })
                .status();
        const absl::StatusOr<Identity> identity = client.WhoAmI();
        if (!traced.ok()) {
          errors[thread] = traced.ToString();
        } else if (!identity.ok() || identity->key_id != "k1") {
          errors[thread] = "whoami: " + identity.status().ToString();
        } else if (!got.has_value() || *got != number) {
          errors[thread] = "the value of another run";
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "");
}

}  // namespace
}  // namespace weft::client_test
