// Models without their weights: what is found out about one does not depend on them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft {
namespace {

using testing::IsOk;
using testing::LocalModel;

std::vector<std::string> Folders() {
  std::vector<std::string> folders = {"tests/parity/gpt2-tiny", "models/atlas"};
  for (const auto& entry : std::filesystem::directory_iterator("tests/parity/families")) {
    if (std::filesystem::exists(entry.path() / "config.json")) folders.push_back(entry.path());
  }
  return folders;
}

/// What a program can name, with all that the planner knows of it.
std::vector<std::string> Describe(const plan::ModelSpec& spec) {
  std::vector<std::string> lines;
  for (const plan::ModuleSpec& module : spec.modules()) {
    lines.push_back(absl::StrCat("module ", module.path, " ", module.rowwise, module.former_tuple,
                                 module.packs, module.not_alone));
  }
  for (const plan::SiteSpec& site : spec.sites()) {
    lines.push_back(absl::StrCat("site ", graph::ToString(site.site), " ",
                                 graph::ToString(site.pattern), " ", site.writable, site.last_token,
                                 site.pooled, site.whole));
  }
  for (const plan::OperationSpec& operation : spec.operations()) {
    lines.push_back(absl::StrCat("operation ", operation.module, " ", operation.visit, " ",
                                 operation.name, " ", operation.op, " ", operation.inputs, " ",
                                 operation.output));
  }
  std::map<std::string, std::string> parameters;
  for (const auto& [name, parameter] : spec.parameters()) {
    parameters[name] = absl::StrCat(graph::ToString(parameter.dtype), "[",
                                    absl::StrJoin(parameter.shape, ", "), "]");
  }
  for (const auto& [name, type] : parameters) {
    lines.push_back(absl::StrCat("parameter ", name, " ", type));
  }
  return lines;
}

TEST(UndispatchedTest, AModelWithoutItsWeightsHasTheSameTreeSitesAndParameters) {
  for (const std::string& folder : Folders()) {
    const LocalModel with(folder), without(folder, true, {.dispatch = false});
    EXPECT_EQ(Describe(without.spec()), Describe(with.spec())) << folder;
  }
}

TEST(UndispatchedTest, NoFileWithWeightsIsNeededAndProgramsArePlanned) {
  testing::TempFolder folder;
  for (const char* file : {"config.json", "tokenizer.json"}) {
    std::filesystem::copy_file(absl::StrCat("models/atlas/", file),
                               absl::StrCat(folder.path(), "/", file));
  }
  const LocalModel model(folder.path(), true, {.dispatch = false});
  const auto check = model.Check(
      "invoke [1, 2, 3] { save h = read transformer.h.1.output\n save l = read result }");
  ASSERT_THAT(check.status(), IsOk());
  EXPECT_EQ(check->rows, 3);
}

}  // namespace
}  // namespace weft
