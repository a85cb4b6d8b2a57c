#include "engine/graph/error.h"

#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace weft::graph {
namespace {

TEST(ErrorTest, StatusesReadWellByThemselves) {
  const Program program =
      ParseProgram("invoke [1] {\n  %h = read a.output\n  %s = aten::mul(%h[:, -1], 3.0)\n}")
          .value();
  const absl::Status status = StatementError(absl::StatusCode::kInvalidArgument, program, 5,
                                             "shape mismatch", "use the same shape");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "shape mismatch\n"
            "  at program:3: %s = aten::mul(%h[:, -1], 3.0)\n"
            "  hint: use the same shape");
}

TEST(ErrorTest, AnErrorComesBackWhole) {
  Error error;
  error.code = absl::StatusCode::kResourceExhausted;
  error.message = "too much";
  error.node = 7;
  error.statement = "%x = aten::f()";
  error.source = {"steer.cc", 12};
  error.hint = "less";
  error.site = "h.0.output";
  error.retry_after_seconds = 12.5;
  const Error back = FromStatus(ToStatus(error));
  EXPECT_EQ(back.code, error.code);
  EXPECT_EQ(back.message, error.message);
  EXPECT_EQ(back.node, error.node);
  EXPECT_EQ(back.statement, error.statement);
  EXPECT_EQ(back.source.file, error.source.file);
  EXPECT_EQ(back.source.line, error.source.line);
  EXPECT_EQ(back.hint, error.hint);
  EXPECT_EQ(back.site, error.site);
  EXPECT_EQ(back.retry_after_seconds, error.retry_after_seconds);
  EXPECT_EQ(ToStatus(back), ToStatus(error));
}

TEST(ErrorTest, AStatusWithoutAnErrorGivesItsCodeAndMessage) {
  const Error error = FromStatus(absl::NotFoundError("no such model"));
  EXPECT_EQ(error.code, absl::StatusCode::kNotFound);
  EXPECT_EQ(error.message, "no such model");
  EXPECT_EQ(error.node, kNoNode);
}

TEST(ErrorTest, NamesTheSiteOfReadsAndWrites) {
  const Program program =
      ParseProgram("invoke [1] { %h = read a.b@1.input write c.output = %h }").value();
  const auto site_of = [&](NodeId node) {
    return FromStatus(StatementError(absl::StatusCode::kNotFound, program, node, "x")).site;
  };
  EXPECT_EQ(site_of(3), "a.b@1.input");
  EXPECT_EQ(site_of(4), "c.output");
}

TEST(ErrorTest, StrangeBytesSurviveAsText) {
  Error error;
  error.code = absl::StatusCode::kInvalidArgument;
  error.message = "bad \xff";
  EXPECT_EQ(FromStatus(ToStatus(error)).message, "bad \xEF\xBF\xBD");
}

}  // namespace
}  // namespace weft::graph
