#include "server/config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/fake_engine.h"
#include "tests/support/status_matchers.h"

namespace weft::server {
namespace {

using ::testing::ElementsAre;
using testing::FakeEngine;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

Config WithModels(const std::vector<std::string>& names) {
  Config config;
  config.set_listen("127.0.0.1:0");
  config.set_canary_seconds(0);
  for (const std::string& name : names) {
    Model* model = config.add_model();
    model->set_name(name);
    model->set_folder("/models/" + name);
  }
  return config;
}

class ReloadTest : public ::testing::Test {
 protected:
  ReloadTest() {
    engine_.on_load = [this](const std::string& name, const std::string& folder,
                             const LoadOptions& options) {
      if (folder == "/models/broken") return absl::InternalError("broken");
      loaded_.push_back(name + " from " + folder +
                        (options.dtype == "auto" ? "" : " in " + options.dtype));
      for (const auto& [adapter, adapter_folder] : options.adapters) {
        loaded_.back() += " with " + adapter + " from " + adapter_folder;
      }
      return absl::OkStatus();
    };
  }

  void SetUp() override {
    running_ = WithModels({"atlas"});
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(MakeServerOptions(running_), &engine_, nullptr);
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
  }

  void ReloadTo(const Config& wanted) { Reload(wanted, &running_, &engine_, server_.get()); }

  std::vector<std::string> Hosted() const {
    std::vector<std::string> names;
    for (const ModelSummary& model : engine_.ListModels()) names.push_back(model.name);
    return names;
  }

  FakeEngine engine_;  // hosts atlas
  std::vector<std::string> loaded_;
  Config running_;
  std::unique_ptr<Server> server_;
};

TEST_F(ReloadTest, LoadsNoFurtherOnceItIsTimeToStop) {
  bool stopping = false;
  absl::Status told;
  engine_.on_load = [&](const std::string& name, const std::string&, const LoadOptions& options) {
    loaded_.push_back(name);
    EXPECT_THAT(options.progress(1, 3), IsOk());
    stopping = true;
    told = options.progress(2, 3);
    return told;
  };
  Reload(WithModels({"atlas", "one", "two"}), &running_, &engine_, server_.get(),
         [&] { return stopping; });
  EXPECT_THAT(told, StatusIs(absl::StatusCode::kCancelled, HasSubstr("shuts down")));
  EXPECT_THAT(loaded_, ElementsAre("one"));
  EXPECT_THAT(Hosted(), ElementsAre("atlas"));
}

TEST_F(ReloadTest, NothingChangesWhereNothingDiffers) {
  // A value that is written out is the same as its default.
  Config same = WithModels({"atlas"});
  same.set_max_runs(same.max_runs());
  const Changes changes = Compare(running_, same);
  EXPECT_THAT(changes.load, IsEmpty());
  EXPECT_THAT(changes.replace, IsEmpty());
  EXPECT_THAT(changes.unload, IsEmpty());
  EXPECT_THAT(changes.now, IsEmpty());
  EXPECT_THAT(changes.restart, IsEmpty());
  ReloadTo(same);
  EXPECT_THAT(Hosted(), ElementsAre("atlas"));
  EXPECT_THAT(loaded_, IsEmpty());
}

TEST_F(ReloadTest, ModelsComeGoAndMove) {
  ReloadTo(WithModels({"atlas", "two"}));
  EXPECT_THAT(Hosted(), ElementsAre("atlas", "two"));
  Config moved = WithModels({"two"});
  moved.mutable_model(0)->set_folder("/models/other");
  ReloadTo(moved);
  EXPECT_THAT(Hosted(), ElementsAre("two"));
  EXPECT_THAT(loaded_, ElementsAre("two from /models/two", "two from /models/other"));
}

TEST_F(ReloadTest, AnotherDtypeReplacesAModel) {
  // What is written out as the default is no change.
  Config same = WithModels({"atlas"});
  same.mutable_model(0)->set_dtype("auto");
  ReloadTo(same);
  EXPECT_THAT(loaded_, IsEmpty());
  Config half = WithModels({"atlas"});
  half.mutable_model(0)->set_dtype("bfloat16");
  ReloadTo(half);
  ReloadTo(half);
  EXPECT_THAT(loaded_, ElementsAre("atlas from /models/atlas in bfloat16"));
}

TEST_F(ReloadTest, OtherAdaptersReplaceAModel) {
  Config adapted = WithModels({"atlas"});
  Adapter* adapter = adapted.mutable_model(0)->add_adapter();
  adapter->set_name("a");
  adapter->set_folder("/adapters/a");
  ReloadTo(adapted);
  ReloadTo(adapted);
  adapter->set_folder("/adapters/b");
  ReloadTo(adapted);
  ReloadTo(WithModels({"atlas"}));
  EXPECT_THAT(loaded_, ElementsAre("atlas from /models/atlas with a from /adapters/a",
                                   "atlas from /models/atlas with a from /adapters/b",
                                   "atlas from /models/atlas"));
}

TEST_F(ReloadTest, AModelThatCannotBeLoadedIsTriedAgainNextTime) {
  Config broken = WithModels({"atlas", "new"});
  broken.mutable_model(0)->set_folder("/models/broken");
  broken.mutable_model(1)->set_folder("/models/broken");
  ReloadTo(broken);
  EXPECT_THAT(Hosted(), ElementsAre("atlas"));
  const Changes left = Compare(running_, broken);
  ASSERT_EQ(left.replace.size(), 1u);
  EXPECT_EQ(left.replace[0].name(), "atlas");
  ASSERT_EQ(left.load.size(), 1u);
  EXPECT_EQ(left.load[0].name(), "new");
}

TEST_F(ReloadTest, LimitsTakeEffectAndTheRestIsNamed) {
  Config wanted = WithModels({"atlas"});
  wanted.set_max_nodes(7);
  wanted.set_max_runs(8);
  wanted.set_listen("127.0.0.1:9");
  wanted.set_threads(3);
  const Changes changes = Compare(running_, wanted);
  EXPECT_THAT(changes.now, ElementsAre("max_nodes", "max_runs"));
  EXPECT_THAT(changes.restart, ElementsAre("listen", "threads"));
  ReloadTo(wanted);
  EXPECT_EQ(engine_.limits().nodes, 7u);
  // What needs a restart is said again at every reload.
  const Changes after = Compare(running_, wanted);
  EXPECT_THAT(after.now, IsEmpty());
  EXPECT_THAT(after.restart, ElementsAre("listen", "threads"));
}

}  // namespace
}  // namespace weft::server
