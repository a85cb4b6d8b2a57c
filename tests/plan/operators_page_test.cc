#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/plan/operators.h"

namespace weft::plan {
namespace {

constexpr char kPage[] = "docs/operators.md";

std::string Remarks(const OperatorRow& row) {
  std::vector<std::string> remarks;
  if (row.in_place()) remarks.push_back("in place");
  if (row.random) remarks.push_back("random");
  if (row.makes == Makes::kView || row.makes == Makes::kOverlappingView) remarks.push_back("view");
  if (row.makes == Makes::kMaybeView) remarks.push_back("view or copy");
  return remarks.empty() ? "" : absl::StrCat("  # ", absl::StrJoin(remarks, ", "));
}

std::string ExpectedPage() {
  const OperatorTable& table = OperatorTable::Get();
  std::string page = absl::StrCat(
      R"(# Operators

The )",
      table.size(), R"( operators that programs may use, with their overloads, as torch names and
defines them. The server picks the overload by the arguments, as PyTorch does. In C++ they are members
and functions of the same names (`weft/var.h`, `weft/ops.h`); `weft::op("aten::NAME", ...)` calls any
of them, and `weft operators` lists those of a server. This page is the server's table, and a test
keeps it so.

Devices, layouts and generators are not for programs to give, so they are left out here. An operator
in place makes a new version of its first argument, and is a write where that was read. A view shares
what it is cut from: changing either in place changes both. Random operators draw from the run's seed.

```text
)");
  for (const OperatorRow* row : table.rows()) {
    absl::StrAppend(&page, ProgramSchema(*row), Remarks(*row), "\n");
  }
  return page + "```\n";
}

TEST(OperatorsPageTest, ShowsTheTable) {
  const std::string expected = ExpectedPage();
  if (std::getenv("WEFT_REGENERATE_GOLDENS") != nullptr) std::ofstream(kPage) << expected;
  std::ostringstream page;
  page << std::ifstream(kPage).rdbuf();
  EXPECT_TRUE(page.str() == expected)
      << kPage << " is not what the table says; run this test with WEFT_REGENERATE_GOLDENS=1, then "
      << "client/make_operators.py";
}

}  // namespace
}  // namespace weft::plan
