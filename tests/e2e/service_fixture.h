#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"
#include "gtest/gtest.h"
#include "server/blobs/blob_store.h"
#include "server/edits/edit_store.h"
#include "server/keys/key_store.h"
#include "server/server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "weft/client.h"

namespace weft::testing {

/// Holds passes where a test wants them, and breaks them where it wants that.
class PassGate {
 public:
  /// The next pass waits until Open.
  void Close() {
    absl::MutexLock lock(&mutex_);
    open_ = false;
  }
  void Open() {
    absl::MutexLock lock(&mutex_);
    open_ = true;
  }
  /// Wait until a pass stands at the gate.
  bool AwaitHeld() {
    absl::MutexLock lock(&mutex_);
    auto held = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return held_ > 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&held), absl::Seconds(20));
  }
  /// Break passes of more than one run.
  void BreakShared() {
    absl::MutexLock lock(&mutex_);
    break_shared_ = true;
  }
  void BreakEvery() {
    absl::MutexLock lock(&mutex_);
    break_every_ = true;
  }
  std::vector<size_t> sizes() {
    absl::MutexLock lock(&mutex_);
    return sizes_;
  }

  absl::Status Pass(const std::vector<std::string>& jobs) {
    absl::MutexLock lock(&mutex_);
    sizes_.push_back(jobs.size());
    ++held_;
    mutex_.Await(absl::Condition(&open_));
    --held_;
    if (break_every_ || (break_shared_ && jobs.size() > 1)) {
      return absl::InternalError("the test broke this pass");
    }
    return absl::OkStatus();
  }

 private:
  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = true;
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
  bool break_shared_ ABSL_GUARDED_BY(mutex_) = false;
  bool break_every_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<size_t> sizes_ ABSL_GUARDED_BY(mutex_);
};

inline std::string TinyFolder() { return std::string(WEFT_SOURCE_DIR) + "/tests/parity/gpt2-tiny"; }

/// A real server on a real engine with the tiny model as `tiny`, in process, on a free port.
class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { StartService({}); }

  void StartService(const Limits& limits) {
    server_.reset();
    engine_.reset();
    EngineOptions options;
    options.threads = 1;
    options.limits = limits;
    options.before_pass = [this](const std::vector<std::string>& jobs) { return gate_.Pass(jobs); };
    auto engine = Engine::Create(options);
    ASSERT_THAT(engine, IsOk());
    engine_ = *std::move(engine);
    ASSERT_THAT(engine_->LoadModel("tiny", TinyFolder()), IsOk());
    if (keys_ == nullptr) {
      auto keys = keys::KeyStore::Open(data_.path());
      ASSERT_THAT(keys, IsOk());
      keys_ = *std::move(keys);
    }
    if (blobs_ == nullptr) {
      auto blobs = blobs::BlobStore::Open(data_.path());
      ASSERT_THAT(blobs, IsOk());
      blobs_ = *std::move(blobs);
    }
    if (edits_ == nullptr) {
      auto edits = edits::EditStore::Open(data_.path());
      ASSERT_THAT(edits, IsOk());
      edits_ = *std::move(edits);
    }
    server::ServerOptions server_options;
    server_options.listen = "127.0.0.1:0";
    auto server = server::Server::Start(server_options, engine_.get(), keys_.get(),
                                        /*audit=*/nullptr, blobs_.get(), edits_.get());
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
  }

  std::string NewKey(std::vector<std::string> scopes = {"trace"},
                     std::vector<std::string> models = {"*"}) {
    keys::KeyStore::Request request;
    request.label = "test";
    request.scopes = std::move(scopes);
    request.models = std::move(models);
    auto key = keys_->Create(request);
    EXPECT_THAT(key, IsOk());
    return key.ok() ? key->secret : "";
  }

  std::shared_ptr<Backend> NewBackend(const std::string& key) {
    RemoteOptions options;
    options.api_key = key;
    return MakeRemoteBackend(server_->address(), options);
  }

  /// What a run gave: its saves by name, or why it ended. `saves` may hold values all the same.
  struct Outcome {
    absl::Status status;
    std::map<std::string, Value> saves;
    std::vector<std::string> log;
    RunCost cost;

    const Tensor& tensor(const std::string& name) const {
      static const Tensor kNone;
      auto it = saves.find(name);
      const Tensor* found = it == saves.end() ? nullptr : it->second.FindAs<Tensor>();
      EXPECT_NE(found, nullptr) << "no tensor `" << name << "`: " << status.ToString();
      return found == nullptr ? kNone : *found;
    }
  };

  Outcome RunOn(Backend& backend, const std::string& text, const RunSettings& settings = {},
                const std::string& model = "tiny",
                const std::function<void(const RunEvent&)>& on_event = nullptr) {
    Outcome outcome;
    absl::StatusOr<Program> program = Program::Parse(text);
    if (!program.ok()) {
      outcome.status = program.status();
      return outcome;
    }
    outcome.status = backend.Run(model, *program, settings, [&](RunEvent event) {
      if (on_event) on_event(event);
      if (auto* result = std::get_if<event::Result>(&event)) {
        outcome.saves[result->name] = std::move(result->value);
      } else if (auto* log = std::get_if<event::Log>(&event)) {
        outcome.log.push_back(log->text);
      } else if (auto* completed = std::get_if<event::Completed>(&event)) {
        outcome.cost = completed->cost;
      }
    });
    return outcome;
  }

  uint64_t passes() const { return engine_->CountPasses("tiny").value(); }

  PassGate gate_;
  TempFolder data_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<keys::KeyStore> keys_;
  std::unique_ptr<blobs::BlobStore> blobs_;
  std::unique_ptr<edits::EditStore> edits_;
  std::unique_ptr<server::Server> server_;
};

/// Largest absolute difference over the largest absolute value of `expected`.
inline double RelativeDifference(const Tensor& actual, const Tensor& expected) {
  EXPECT_EQ(actual.shape(), expected.shape());
  if (actual.shape() != expected.shape()) return 1e9;
  double scale = 1e-30, worst = 0;
  const auto a = actual.span<float>();
  const auto b = expected.span<float>();
  for (size_t i = 0; i < b.size(); ++i) {
    // A value that is no number in one must be none in the other.
    if (a[i] != a[i] || b[i] != b[i]) return (a[i] != a[i]) == (b[i] != b[i]) ? worst : 1e9;
    scale = std::max<double>(scale, std::abs(b[i]));
    worst = std::max<double>(worst, std::abs(a[i] - b[i]));
  }
  return worst / scale;
}

}  // namespace weft::testing
