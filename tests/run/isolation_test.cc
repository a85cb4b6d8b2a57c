// What programs may not do, and what the rows beside them do not notice.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"
#include "weft/v1/program.pb.h"

namespace weft::run {
namespace {

using ::testing::AllOf;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::StatusIs;

struct Refused {
  const char* statement;
  const char* name;
};

class RefusedOperatorTest : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedOperatorTest, IsRefusedByName) {
  const std::string text = absl::StrCat(
      "invoke [1, 2] {\n  %h = read transformer.h.0.output\n  %x = ", GetParam().statement,
      "\n  save x = %x\n}");
  EXPECT_THAT(LocalModel::Tiny().Check(text),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr(absl::StrCat(GetParam().name, " is not for programs")),
                             HasSubstr("at program:3: %x = "))));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedOperatorTest,
    ::testing::Values(Refused{"aten::empty([8, 8])", "aten::empty"},
                      Refused{"aten::empty_like(%h)", "aten::empty_like"},
                      Refused{"aten::new_empty(%h, [8])", "aten::new_empty"},
                      Refused{"aten::empty_strided([8], [1])", "aten::empty_strided"},
                      Refused{"aten::as_strided(%h, [100000], [1])", "aten::as_strided"},
                      Refused{"aten::as_strided_(%h, [100000], [1])", "aten::as_strided_"},
                      Refused{"aten::set_(%h, %h)", "aten::set_"},
                      Refused{"aten::resize_(%h, [100000])", "aten::resize_"},
                      Refused{"aten::resize_as_(%h, %h)", "aten::resize_as_"},
                      Refused{"aten::add.out(%h, %h, out=%h)", "aten::add.out"},
                      Refused{"aten::mul.out(%h, %h, out=%h)", "aten::mul.out"},
                      Refused{"aten::_softmax(%h, -1, false)", "aten::_softmax"},
                      Refused{"aten::_reshape_alias(%h, [64], [1])", "aten::_reshape_alias"},
                      Refused{"aten::squeeze_(%h)", "aten::squeeze_"},
                      Refused{"aten::t_(%h)", "aten::t_"},
                      Refused{"aten::transpose_(%h, 0, 1)", "aten::transpose_"},
                      Refused{"aten::unsqueeze_(%h, 0)", "aten::unsqueeze_"},
                      Refused{"aten::nonzero(%h)", "aten::nonzero"},
                      Refused{"aten::masked_select(%h, %h)", "aten::masked_select"},
                      Refused{"aten::item(%h)", "aten::item"},
                      Refused{"aten::dropout(%h, 0.5, true)", "aten::dropout"},
                      Refused{"aten::native_dropout(%h, 0.5, true)", "aten::native_dropout"},
                      Refused{"aten::poisson(%h)", "aten::poisson"},
                      Refused{"aten::rrelu(%h)", "aten::rrelu"},
                      Refused{"aten::from_file(\"/etc/passwd\")", "aten::from_file"}),
    [](const auto& info) {
      std::string name = std::string(info.param.name).substr(6);
      for (char& c : name) {
        if (c == '.') c = '_';
      }
      return name.back() == '_' ? name + "in_place" : name;
    });

TEST(IsolationTest, OperatorsOutsideOfAtenAreRefused) {
  for (const char* name : {"prim::Print", "quantized::add", "profiler::_record_function_enter"}) {
    EXPECT_THAT(LocalModel::Tiny().Check(absl::StrCat("invoke [1] { save x = ", name,
                                                      "(read transformer.h.0.output) }")),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr(name)));
  }
}

TEST(IsolationTest, AnArgumentThatChoosesADeviceIsRefused) {
  EXPECT_THAT(
      LocalModel::Tiny().Check("invoke [1] { save x = aten::zeros([2], device=\"cuda\") }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not for programs to choose")));
}

// --- size and depth ------------------------------------------------------------------------------

TEST(IsolationTest, AProgramOfAMillionNodesIsRefused) {
  std::string text = "invoke [1] { %h = read transformer.h.0.output\n";
  text.reserve(14 << 20);
  for (int i = 0; i < 1000000; ++i) text += "log %h\n";
  text += "}";
  const auto parsed = graph::ParseProgram(text);
  if (parsed.ok()) {
    EXPECT_THAT(graph::Check(*parsed), StatusIs(absl::StatusCode::kResourceExhausted,
                                                HasSubstr("1000003 nodes; at most 16384")));
  } else {
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST(IsolationTest, AMessageOfAMillionNodesIsRefusedBeforeItIsParsed) {
  v1::Program message;
  for (int i = 0; i < 1000000; ++i) message.add_nodes()->set_parent(1);
  const std::string bytes = message.SerializeAsString();
  ASSERT_LT(bytes.size(), size_t{4} << 20);
  EXPECT_THAT(graph::CheckWire(bytes.data(), bytes.size(), *v1::Program::descriptor()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("")));
}

TEST(IsolationTest, TextThatNestsAThousandDeepIsRefused) {
  auto nested = [](const std::string& open, const std::string& inner, const std::string& close) {
    std::string text = "invoke [1] { %h = read transformer.h.0.output  save x = ";
    for (int i = 0; i < 1000; ++i) text += open;
    text += inner;
    for (int i = 0; i < 1000; ++i) text += close;
    return text + " }";
  };
  for (const std::string& text :
       {nested("aten::neg(", "%h", ")"), nested("[", "%h", "]"), nested("(", "%h", ",)"),
        nested("aten::cat([", "%h", "])"), nested("call transformer.ln_f(", "%h", ")")}) {
    EXPECT_THAT(graph::ParseProgram(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nest deeper than")));
  }
}

TEST(IsolationTest, AMessageThatNestsAThousandDeepIsRefused) {
  v1::Argument deepest;
  deepest.set_integer(1);
  for (int i = 0; i < 1000; ++i) {
    v1::Argument around;
    *around.mutable_list()->add_items() = std::move(deepest);
    deepest = std::move(around);
  }
  v1::Program message;
  message.add_nodes()->mutable_trace();
  *message.add_nodes()->mutable_op()->add_arguments() = std::move(deepest);
  const std::string bytes = message.SerializeAsString();
  EXPECT_FALSE(graph::CheckWire(bytes.data(), bytes.size(), *v1::Program::descriptor()).ok());
}

TEST(IsolationTest, AChainOfAsManyOperatorsAsThereMayBeRuns) {
  std::string text = "invoke [1] { %v0 = read transformer.h.0.output\n";
  constexpr int kCount = 10000;
  for (int i = 0; i < kCount; ++i) absl::StrAppend(&text, "%v", i + 1, " = aten::neg(%v", i, ")\n");
  const LocalResult result =
      LocalModel::Tiny().Run(absl::StrCat(text, "save a = %v0 save b = %v", kCount, " }"));
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["a"], result["b"]));
}

TEST(IsolationTest, ManyInvokesThatWriteIntoEachOtherArePlannedInTime) {
  // Each write is observed only because of the one in the next invoke.
  std::string text;
  constexpr int kCount = 2000;
  for (int i = 0; i < kCount; ++i) {
    absl::StrAppend(&text, "invoke [1] {\n %h", i, " = read transformer.h.0.output\n");
    if (i > 0) absl::StrAppend(&text, " write transformer.h.0.output = %h", i - 1, "\n");
    absl::StrAppend(&text, "}\n");
  }
  absl::StrAppend(&text, "invoke [1] { save x = %h", kCount - 1, " }");
  const absl::Time start = absl::Now();
  EXPECT_THAT(LocalModel::Tiny().Check(text), IsOk());
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
}

// --- a neighbour in the same pass ----------------------------------------------------------------

class NeighbourTest : public ::testing::Test {
 protected:
  /// Run `text` in one pass with a neighbour before it and one behind it, both of which must give
  /// what they give alone.
  LocalResult RunBetweenNeighbours(const std::string& text) {
    const std::string before =
        "invoke [64, 65, 66] { save h = read transformer.h.1.output  save p = read result }";
    const std::string behind =
        "invoke [[87, 28, 19], [4, 5]] { aten::mul_(read transformer.h.0.output, 1.5)  save p = "
        "read result }";
    LocalModel& model = LocalModel::Tiny();
    const LocalResult alone_before = model.Run(before), alone_behind = model.Run(behind);
    const uint64_t passes = model.hosted().passes();
    const auto shared = model.RunTogether({before, text, behind});
    EXPECT_EQ(model.hosted().passes(), passes + 1);
    ExpectSame(shared[0], alone_before);
    ExpectSame(shared[2], alone_behind);
    return shared[1];
  }

 private:
  static void ExpectSame(const LocalResult& shared, const LocalResult& alone) {
    ASSERT_THAT(shared.status, IsOk());
    for (const auto& [name, value] : alone.saved) {
      EXPECT_TRUE(shared[name].isfinite().all().item<bool>()) << name;
      ExpectClose(shared[name], value, 1e-5, name);
    }
  }
};

TEST_F(NeighbourTest, AnIdOutOfRangeEndsOnlyItsOwnRun) {
  for (const char* id : {"97", "-1", "9223372036854775807"}) {
    for (const char* site : {"transformer.wte.input", "transformer.input", ".input"}) {
      const LocalResult result = RunBetweenNeighbours(
          absl::StrCat("invoke [1, 2] {\n  write ", site, "[:, 1] = tensor(int64, [], [", id,
                       "])\n  save p = read result\n}"));
      EXPECT_THAT(result.status,
                  StatusIs(absl::StatusCode::kOutOfRange,
                           AllOf(HasSubstr("is out of range: this site takes 0 to 96"),
                                 HasSubstr(absl::StrCat("write ", site)))));
      EXPECT_TRUE(result.saved.empty());
    }
  }
}

TEST_F(NeighbourTest, APositionOutOfRangeEndsOnlyItsOwnRun) {
  const LocalResult result = RunBetweenNeighbours(R"(invoke [1, 2] {
    %p = read transformer.wpe.input
    write transformer.wpe.input = aten::add(%p, 63)
    save p = read result
  })");
  EXPECT_THAT(result.status, StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("0 to 63")));
}

TEST_F(NeighbourTest, AnIdWithinRangeIsTaken) {
  const LocalResult result = RunBetweenNeighbours(R"(invoke [1, 2] {
    write transformer.wte.input[:, 1] = tensor(int64, [], [96])
    save p = read result
  })");
  ASSERT_THAT(result.status, IsOk());
  ExpectClose(result["p"], LocalModel::Tiny().Run("invoke [1, 96] { save p = read result }")["p"]);
}

TEST_F(NeighbourTest, NaNsStayInTheirRowsAndAreShown) {
  const LocalResult result = RunBetweenNeighbours(R"(invoke [1, 2] {
    write transformer.h.0.output[:] = tensor(float32, [], [nan])
    save h = read transformer.h.1.output
    save p = read result
  })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result["h"].isnan().all().item<bool>());
  EXPECT_TRUE(result["p"].isnan().all().item<bool>());
}

TEST_F(NeighbourTest, InfinitiesStayInTheirRows) {
  const LocalResult result = RunBetweenNeighbours(R"(invoke [[1, 2], [3, 4]] {
    write transformer.h.1.attn.output[0][0, 1] = tensor(float32, [], [inf])
    save h = read transformer.h.1.ln_2.input
    save p = read result
  })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(result["h"][0][1].isinf().all().item<bool>());
  EXPECT_TRUE(result["h"][0][0].isfinite().all().item<bool>());
  EXPECT_TRUE(result["p"][0][1].isnan().all().item<bool>());
  EXPECT_TRUE(result["p"][1].isfinite().all().item<bool>());
}

TEST_F(NeighbourTest, AnOperatorThatFailsWhileRunningEndsOnlyItsOwnRun) {
  const LocalResult result = RunBetweenNeighbours(R"(invoke [1, 2] {
    save before = read transformer.h.0.output
    %h = read transformer.h.1.output
    save never = aten::index_select(%h, 1, tensor(int64, [1], [7]))
  })");
  EXPECT_THAT(result.status,
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("aten::index_select"), HasSubstr("holds 7"))));
  EXPECT_TRUE(result.saved.contains("before"));
  EXPECT_FALSE(result.saved.contains("never"));
}

TEST_F(NeighbourTest, AllRowsAreThoseOfOnesOwnTrace) {
  const LocalResult result = RunBetweenNeighbours(R"(
    invoke [1, 2] { }
    invoke [3] { }
    invoke {
      save ids = read ids
      write transformer.h.1.output[:] = tensor(float32, [], [0.0])
      save p = read result
    })");
  ASSERT_THAT(result.status, IsOk());
  EXPECT_TRUE(at::equal(result["ids"], at::tensor({1, 2, 0, 3}, at::kLong).view({2, 2})));
  EXPECT_EQ(result["p"].size(0), 2);
}

TEST_F(NeighbourTest, AProgramWhoseOperatorsTakeLongLeavesTheSharedPass) {
  LocalModel& model = LocalModel::Tiny();
  const std::string plain = "invoke [64, 65, 66] { save p = read result }";
  const std::string slow = R"(invoke [1, 2] {
    %h = read transformer.h.0.output
    save x = aten::neg(%h)
    save y = read result
  })";
  const testing::LocalOptions options = {.run = {.shared_operator_seconds = 1e-12}};
  const auto shared = model.RunTogether({plain, slow}, options);
  EXPECT_TRUE(shared[1].evicted);
  EXPECT_THAT(shared[1].status, IsOk());
  EXPECT_FALSE(shared[1].saved.contains("y"));
  ExpectClose(shared[0]["p"], model.Run(plain)["p"]);
  // Alone there is nobody to wait.
  const LocalResult alone = model.Run(slow, options);
  EXPECT_FALSE(alone.evicted);
  EXPECT_TRUE(alone.saved.contains("y"));
}

TEST(IsolationTest, SavesOwnNoMoreMemoryThanTheyShow) {
  const LocalResult result = LocalModel::Tiny().Run(R"(
    invoke [1, 2, 3] {
      %p = read result
      save row = %p[:, -1]
      save wide = aten::expand(%p[:, -1], [5, 97])
      save turned = aten::transpose(%p, 1, 2)
    }
    invoke [4, 5] { save p = read result })");
  ASSERT_THAT(result.status, IsOk());
  for (const auto& [name, value] : result.saved) {
    EXPECT_EQ(value.storage().nbytes(), value.nbytes()) << name;
    EXPECT_TRUE(value.is_contiguous()) << name;
  }
}

TEST(IsolationTest, RunningLeavesTheModelAsItWas) {
  LocalModel& model = LocalModel::Tiny();
  const std::string clean = "invoke [64, 65, 66] { save p = read result }";
  const at::Tensor before = model.Run(clean)["p"].clone();
  model.Run(R"(invoke [64, 65, 66] {
    aten::zero_(read transformer.wte.output)
    aten::zero_(param transformer.wte.weight)
    aten::mul_(read .input, 0)
    aten::fill_(read ids, 3)
    aten::neg_(call transformer.drop(read transformer.h.0.input))
    save p = read result
  })");
  EXPECT_TRUE(at::equal(model.Run(clean)["p"], before));
}

}  // namespace
}  // namespace weft::run
