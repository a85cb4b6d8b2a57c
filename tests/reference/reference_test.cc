// Random programs, run by the engine and read by a slow interpreter that shares no code with it.
// `reference_test --programs 100000 --seed 1` runs that many and says what was seen how often,
// `reference_test --spoiled 10000 --seed 1` runs programs with something wrong, and
// `reference_test --company 10000 --seed 1` programs alone and together with others.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "tests/reference/campaign.h"
#include "tests/reference/compare.h"
#include "tests/reference/generator.h"
#include "tests/reference/plan_bugs.h"

namespace weft::reference {
namespace {

TEST(ReferenceTest, RandomProgramsGiveWhatTheyMean) {
  const Tally tally = RunCampaign(1, 1500, /*report=*/false);
  EXPECT_EQ(tally.disagree, 0) << tally.failure;
  EXPECT_GT(tally.agree, tally.programs * 8 / 10) << Summary(tally);
  EXPECT_LT(tally.unsupported, tally.programs / 50) << Summary(tally);
}

class PlanBugTest : public ::testing::TestWithParam<NamedBug> {};

TEST_P(PlanBugTest, IsFound) {
  constexpr uint64_t kPrograms = 1500;
  for (uint64_t seed = 1; seed <= kPrograms; ++seed) {
    const Verdict verdict = Compare(ModelOf(seed), ProgramOf(seed), GetParam().plant);
    if (verdict.kind == Verdict::Kind::kDisagree) return;
  }
  FAIL() << "a bug of the planner that " << kPrograms << " programs do not show";
}

INSTANTIATE_TEST_SUITE_P(All, PlanBugTest, ::testing::ValuesIn(PlanBugs()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(InvalidProgramTest, IsRefusedWithItsStatement) {
  const SpoiledTally tally = RunSpoiled(1, 1500);
  EXPECT_EQ(tally.failure, "");
  EXPECT_GT(tally.refused, 700);
}

TEST(CompanyTest, NobodysResultDependsOnWhoElseIsInThePass) {
  const CompanyTally tally = RunInCompany(1, 1500);
  EXPECT_EQ(tally.failure, "");
  EXPECT_GT(tally.programs, 700);
}

}  // namespace

/// The program in a file, for the model of the programs of a seed.
int CompareFile(const std::string& path, uint64_t seed) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  const PlainModel& model = ModelOf(seed);
  for (const auto& [name, value] : Hosted(model).Run(text.str()).saved) {
    std::cout << name << ": " << value << "\n";
  }
  const Verdict verdict = Compare(model, text.str());
  std::cout << (verdict.kind == Verdict::Kind::kDisagree ? "They disagree. " : "They agree. ")
            << verdict.why << "\n";
  return verdict.kind == Verdict::Kind::kDisagree ? 1 : 0;
}

/// What --programs, --spoiled or --company and --seed ask for, or the program of --program; -1 if
/// they do not.
int RunFromCommandLine(int argc, char** argv) {
  int64_t programs = 0, spoiled = 0, company = 0;
  std::string file;
  uint64_t seed = 1;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--programs") == 0) programs = std::atoll(argv[i + 1]);
    if (std::strcmp(argv[i], "--spoiled") == 0) spoiled = std::atoll(argv[i + 1]);
    if (std::strcmp(argv[i], "--company") == 0) company = std::atoll(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--program") == 0) file = argv[i + 1];
  }
  if (!file.empty()) return CompareFile(file, seed);
  if (spoiled > 0) {
    const SpoiledTally tally = RunSpoiled(seed, spoiled);
    std::printf("%ld refused, %ld valid all the same\n%s\n", static_cast<long>(tally.refused),
                static_cast<long>(tally.valid), tally.failure.c_str());
    return tally.failure.empty() ? 0 : 1;
  }
  if (company > 0) {
    const CompanyTally tally = RunInCompany(seed, company);
    std::printf("%ld ran in company\n%s\n", static_cast<long>(tally.programs),
                tally.failure.c_str());
    return tally.failure.empty() ? 0 : 1;
  }
  if (programs <= 0) return -1;
  const Tally tally = RunCampaign(seed, programs, /*report=*/true);
  for (const auto& [reason, count] : tally.reasons) {
    std::printf("%6ld  %s\n", static_cast<long>(count), reason.c_str());
  }
  constexpr int64_t kEnough = 200;
  std::printf("Seen in fewer than %ld statements of programs that agree:\n%s%s\n",
              static_cast<long>(kEnough), Rare(tally, kEnough).c_str(), Summary(tally).c_str());
  return tally.disagree == 0 ? 0 : 1;
}

}  // namespace weft::reference

int main(int argc, char** argv) {
  at::set_num_threads(1);
  if (const int code = weft::reference::RunFromCommandLine(argc, argv); code >= 0) return code;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
