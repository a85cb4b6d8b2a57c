#include "engine/plan/plan_cache.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/golden.h"
#include "tests/support/local_run.h"
#include "tests/support/status_matchers.h"

namespace weft::plan {
namespace {

using testing::CountRows;
using testing::ExpectClose;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::LocalModel;
using testing::LocalResult;
using testing::ParseAndCheck;
using testing::StatusIs;

class PlanCacheTest : public ::testing::Test {
 protected:
  absl::StatusOr<Planned> Get(const std::string& text) {
    const auto program = ParseAndCheck(text);
    if (!program.ok()) return program.status();
    return cache_.Get(*program, CountRows(*program));
  }
  /// Run by a plan of the cache, and expect what a plan of its own gives.
  void ExpectRunsAsIfPlannedAlone(const std::string& text) {
    const auto program = ParseAndCheck(text);
    ASSERT_THAT(program, IsOk());
    const absl::StatusOr<Planned> planned = cache_.Get(*program, CountRows(*program));
    ASSERT_THAT(planned, IsOk());
    const LocalResult cached = model_.RunPlanned(*planned->plan, *program);
    const LocalResult own = model_.Run(text);
    ASSERT_THAT(cached.status, IsOk());
    ASSERT_THAT(own.status, IsOk());
    ASSERT_EQ(cached.saved.size(), own.saved.size());
    for (const auto& [name, value] : own.saved) ExpectClose(cached[name], value, 1e-6, name);
  }

  LocalModel& model_ = LocalModel::Tiny();
  PlanCache cache_{model_.spec(), {.value_elements = 1 << 20}};
};

std::string Scaled(const std::string& ids, const std::string& factor, const std::string& constant) {
  return absl::StrCat("%c = tensor(float32, [2], ", constant, ")\ninvoke ", ids, R"( {
    %h = read transformer.h.1.output
    %s = aten::mul(%h[:, -1], )",
                      factor, R"()
    %s[:, 0:2] = %c
    write transformer.h.1.output[:, -1] = %s
    save big = aten::maximum(%h, )",
                      factor, R"()
    save p = read result
  })");
}

TEST_F(PlanCacheTest, OneKindOfProgramIsPlannedOnceAndGivesTheNumbersOfEach) {
  ExpectRunsAsIfPlannedAlone(Scaled("[1, 2, 3]", "2.0", "[1, 2]"));
  EXPECT_EQ(cache_.hits(), 0u);
  ExpectRunsAsIfPlannedAlone(Scaled("[4, 5, 6]", "-0.25", "[1, 2]"));
  ExpectRunsAsIfPlannedAlone(Scaled("[4, 5, 6]", "-0.25", "[8, 9]"));
  EXPECT_EQ(cache_.hits(), 2u);
  EXPECT_EQ(Get(Scaled("[1, 2, 3]", "2.0", "[1, 2]"))->plan,
            Get(Scaled("[9, 9, 9]", "0.5", "[0, 0]"))->plan);
}

TEST_F(PlanCacheTest, HowManyDimensionsAValueHasMayDependOnTheCounts) {
  const auto squeezed = [](const std::string& ids) {
    return absl::StrCat(
        "invoke ", ids,
        " { %s = aten::squeeze(read transformer.h.0.output)  save y = %s[..., 0] }");
  };
  ExpectRunsAsIfPlannedAlone(squeezed("[1, 2, 3]"));
  ExpectRunsAsIfPlannedAlone(squeezed("[[1, 2, 3], [4, 5, 6]]"));
  const auto split = [](const std::string& ids) {
    return absl::StrCat("invoke ", ids, R"( {
      %h = read transformer.h.0.output
      save both = (aten::split(%h, 1, 1), %h[aten::gt(%h, 0.0)])
    })");
  };
  ExpectRunsAsIfPlannedAlone(split("[1, 2]"));
  ExpectRunsAsIfPlannedAlone(split("[1, 2, 3, 4, 5, 6, 7, 8, 9]"));
}

TEST_F(PlanCacheTest, WhatATraceBeginsWithIsCheckedForEachCount) {
  const auto next = [](const std::string& ids, const std::string& shaped) {
    return absl::StrCat("invoke ", ids, R"( {
      %i = read ids
      %b = aten::unsqueeze(%i[:, 3:], 1)
      %c = aten::expand(%b, [2, 5, -1])
      %d = )",
                        shaped, R"(
    }
    trace invoke (%d) { save l = read lm_head.output })");
  };
  for (const std::string shaped : {"aten::squeeze(%c, 2)", "aten::flatten(%c, 1)"}) {
    EXPECT_THAT(Get(next("[1, 2, 3, 4]", shaped)), IsOk());
    EXPECT_THAT(Get(next("[1, 2, 3]", shaped)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`input_ids` is int64[2")));
  }
  EXPECT_THAT(Get(next("[1, 2, 3, 4, 5]", "aten::squeeze(%c, 2)")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`input_ids` is int64[2")));
}

TEST_F(PlanCacheTest, APlanServesOtherTokenCountsAndIsCheckedForEach) {
  const absl::StatusOr<Planned> three = Get(Scaled("[1, 2, 3]", "2.0", "[1, 2]"));
  const absl::StatusOr<Planned> batch = Get(Scaled("[[1, 2], [3, 4, 5, 6]]", "2.0", "[1, 2]"));
  ASSERT_THAT(three, IsOk());
  ASSERT_THAT(batch, IsOk());
  EXPECT_EQ(three->plan, batch->plan);
  EXPECT_EQ(graph::ToString(three->check->saves[1]), "float32[1, 3, 97]");
  EXPECT_EQ(graph::ToString(batch->check->saves[1]), "float32[2, 4, 97]");
  ExpectRunsAsIfPlannedAlone(Scaled("[[1, 2], [3, 4, 5, 6]]", "3.0", "[5, 6]"));
}

TEST_F(PlanCacheTest, ErrorsNameTheProgramThatIsAskedAboutAndAreNotCached) {
  auto program = [](const std::string& ids, const std::string& name) {
    return absl::StrCat("invoke ", ids, " { %", name, " = read transformer.h.0.output  save x = %",
                        name, "[:, 2] }");
  };
  ASSERT_THAT(Get(program("[1, 2, 3]", "first")), IsOk());
  EXPECT_THAT(Get(program("[1, 2]", "second")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("%second[:, 2]")));
  EXPECT_THAT(Get(program("[1, 2, 3, 4]", "third")), IsOk());
}

TEST_F(PlanCacheTest, LimitsHoldForEveryCount) {
  const std::string body =
      " { save x = aten::expand(read transformer.h.0.output, [2000, -1, -1]) }";
  EXPECT_THAT(Get("invoke [1, 2]" + body), IsOk());
  EXPECT_THAT(Get("invoke [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]" + body),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("aten::expand")));
}

std::string Signature(const std::string& text) {
  const auto program = ParseAndCheck(text);
  EXPECT_THAT(program, IsOk()) << text;
  return program.ok() ? SignatureOf(*program) : "";
}

TEST(SignatureTest, PayloadsAndNamesOfValuesAreOutside) {
  const std::pair<const char*, const char*> same[] = {
      {"invoke [1] { save x = read ids }", "invoke [2, 3] { save x = read ids }"},
      {"invoke [1] { save x = read ids }", "invoke \"text\" { save x = read ids }"},
      {"invoke [1] { %a = read ids  save x = %a }", "invoke [1] { %b = read ids  save x = %b }"},
      {"invoke [1] { save x = aten::mul(read lm_head.output, 1.0) }",
       "invoke [1] { save x = aten::mul(read lm_head.output, 2.0) }"},
      {"%c = tensor(float32, [1], [1.0])  invoke [1] { save x = %c }",
       "%c = tensor(float32, [1], [2.0])  invoke [1] { save x = %c }"},
      {"generate max_new_tokens=8 invoke [1] { }",
       "generate max_new_tokens=8 min_new_tokens=1 temperature=0.5 top_p=0.9 top_k=3 min_p=0.1 "
       "repetition_penalty=1.5 presence_penalty=1 num_return_sequences=2 eos_token_ids=[1] "
       "stop_strings=[\"a\"] no_repeat_ngram_size=2 invoke [1] { }"},
      {"generate max_new_tokens=8 num_beams=2 invoke [1] { }",
       "generate max_new_tokens=8 num_beams=2 length_penalty=2 early_stopping=never "
       "num_return_sequences=1 invoke [1] { }"},
      {"invoke \"text\" { }", "invoke chat [\"user\": \"text\"] { }"},
      {"sweep %l in [1] { invoke [1] { read h.$l.output } }",
       "sweep %m in [1] { invoke [1] { read h.$m.output } }"},
  };
  for (const auto& [a, b] : same) EXPECT_EQ(Signature(a), Signature(b)) << a << "\n" << b;
}

TEST(SignatureTest, EverythingElseIsInside) {
  // Each differs from the first in one thing.
  const std::vector<std::vector<const char*>> kinds = {
      {"generate max_new_tokens=8 invoke [1] { }", "trace invoke [1] { }",
       "generate max_new_tokens=9 invoke [1] { }",
       "generate max_new_tokens=8 root=a invoke [1] { }",
       "generate max_new_tokens=8 tuple_outputs=true invoke [1] { }",
       "generate max_new_tokens=8 num_beams=2 invoke [1] { }",
       "generate max_new_tokens=8 num_beams=3 invoke [1] { }",
       "generate max_new_tokens=8 num_beams=3 num_return_sequences=2 invoke [1] { }",
       "generate max_new_tokens=8 invoke [1] { } trace invoke [1] { }"},
      {"%c = 1 invoke (%c) { }", "%c = 1 invoke [1] { }", "%c = 1 invoke (a=%c) { }",
       "%c = 1 invoke (%c, %c) { }"},
      {"sweep %l in [1, 2], %m in [1, 2] { invoke [1] { read h.$l.output } }",
       "sweep %l in [1, 3], %m in [1, 2] { invoke [1] { read h.$l.output } }",
       "sweep %l in [1, 2], %m in [1, 2] { invoke [1] { read h.$m.output } }",
       "sweep %l in [1, 2], %m in [1, 2] { invoke [1] { read $l.h.output } }",
       "sweep %l in [1, 2], %m in [1, 2] { invoke [1] { read h.1.output } }",
       "sweep %l in [1, 2] { invoke [1] { read h.$l.output } }",
       "sweep %l in [1, 2], %m in [1.0, 2.0] { invoke [1] { read h.$l.output } }",
       "sweep %l in [1, 2], %m in [1.0, 3.0] { invoke [1] { read h.$l.output } }",
       "sweep %l in [1, 2], %m in [\"1\", \"2\"] { invoke [1] { read h.$l.output } }",
       "sweep %l in [\"1\", \"2\"], %m in [1, 2] { invoke [1] { read h.$l.output } }"},
      {"sweep %l in [1], %m in [1] { invoke [1] { %h = read ids %h[%l] } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids %h[%m] } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids %h[%l:] } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids %h[:%l] } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids %h[:%m] } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids aten::f(%h, %l) } }",
       "sweep %l in [1], %m in [1] { invoke [1] { %h = read ids aten::f(%h, %m) } }"},
      {"invoke [1] { save x = read a.q }", "invoke [1] { save x = read a.k }",
       "invoke [1] { save x = read a.op(b).output }", "invoke [1] { save x = read a.op(c).output }",
       "invoke [1] { save x = read a.q as float16 }", "invoke [1] { save x = read a.q as float32 }",
       "invoke [1] { save x = read a.q keep }", "invoke [1] { cache as x }",
       "invoke [1] { cache as x inputs }", "invoke [1] { cache as x dtype=float16 }",
       "invoke [1] { cache [a] as x }", "invoke [1] { cache [b] as x }",
       "invoke [1] { cache as y }"},
      {"invoke [1] { call a(1) }", "invoke [1] { call watched a(1) }"},
      {"generate max_new_tokens=8 invoke [1] { %h = read ids steps [0:5] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids steps [1:5] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids steps [0:6] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids steps [0:5:2] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids steps [0, 5] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids steps [0, 6] { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids if %h { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids if %h { } else { } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids "
       "steps [0:5] carry %a = %h { yield %a } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids "
       "steps [0:5] carry %a = %h { yield %h } }",
       "generate max_new_tokens=8 invoke [1] { %h = read ids "
       "%r = steps [0:5] carry %a = %h { yield %a } }"},
      {"invoke [1] { save x = read ids }", "invoke [1] { save y = read ids }",
       "invoke [1] { save x = read mask }", "invoke [1] { save x = read .output }",
       "invoke [1] { save x = read transformer.output }",
       "invoke [1] { save x = read transformer.input }",
       "invoke [1] { save x = read transformer@1.output }",
       "invoke [1] { save x = read ids } invoke [1] { }",
       "invoke [1] { save x = read ids } invoke { }", "invoke [1] { log read ids }",
       "invoke [1] { save x = read ids stop }"},
      {"invoke [1] { save x = aten::mul(read lm_head.output, 1.0) }",
       "invoke [1] { save x = aten::mul(read lm_head.output, 1) }",
       "invoke [1] { save x = aten::mul(read lm_head.output, 2) }",
       "invoke [1] { save x = aten::mul(read lm_head.output, true) }",
       "invoke [1] { save x = aten::mul(read lm_head.output, other=1.0) }",
       "invoke [1] { save x = aten::add(read lm_head.output, 1.0) }"},
      {"invoke [1] { %h = read lm_head.output  save x = aten::mul(%h, %h) }",
       "invoke [1] { %h = read lm_head.output  %g = read lm_head.output  save x = aten::mul(%h, "
       "%g) }"},
      {"invoke [1] { save x = aten::sum(read lm_head.output, [0]) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, [1]) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, [0, 1]) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, [0], true) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, [0], dtype=float64) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, [0], dtype=float32) }",
       "invoke [1] { save x = aten::sum(read lm_head.output, none) }"},
      {"invoke [1] { save x = aten::quantile(read lm_head.output, 0.5, interpolation=\"lower\") }",
       "invoke [1] { save x = aten::quantile(read lm_head.output, 0.5, interpolation=\"higher\") "
       "}"},
      {"%c = tensor(float32, [2], [1, 2])  invoke [1] { save x = %c }",
       "%c = tensor(float32, [2, 1], [1, 2])  invoke [1] { save x = %c }",
       "%c = tensor(float64, [2], [1, 2])  invoke [1] { save x = %c }",
       "%c = tensor(float32, [1], [1])  invoke [1] { save x = %c }",
       "invoke [1] { %c = tensor(float32, [2], [1, 2])  save x = %c }"},
      {"invoke [1] { save x = read lm_head.output[0] }",
       "invoke [1] { save x = read lm_head.output[1] }",
       "invoke [1] { save x = read lm_head.output[-1] }",
       "invoke [1] { save x = read lm_head.output[0:] }",
       "invoke [1] { save x = read lm_head.output[:0] }",
       "invoke [1] { save x = read lm_head.output[0:0] }",
       "invoke [1] { save x = read lm_head.output[::2] }",
       "invoke [1] { save x = read lm_head.output[none] }",
       "invoke [1] { save x = read lm_head.output[...] }",
       "invoke [1] { save x = read lm_head.output[..., 0] }",
       "invoke [1] { save x = read lm_head.output[\"0\"] }",
       "invoke [1] { save x = read lm_head.output[0, 0] }"},
      {"invoke [1] { %h = read transformer.h.0.output  write transformer.h.0.output = %h }",
       "invoke [1] { %h = read transformer.h.0.output  write transformer.h.1.output = %h }",
       "invoke [1] { %h = read transformer.h.0.output  write transformer.h.0.output[0] = %h }",
       "invoke [1] { %h = read transformer.h.0.output  skip transformer.h.0 = %h }",
       "invoke [1] { %h = read transformer.h.0.output  %h[0] = %h }"},
      {"invoke [1] { %h = read ids  save x = [%h] }",
       "invoke [1] { %h = read ids  save x = (%h,) }",
       "invoke [1] { %h = read ids  save x = {\"a\": %h} }",
       "invoke [1] { %h = read ids  save x = {\"b\": %h} }",
       "invoke [1] { %h = read ids  save x = [%h, %h] }"},
      {"invoke [1] { save x = param transformer.wte.weight }",
       "invoke [1] { save x = param transformer.wpe.weight }"},
      {"invoke [1] { %h = read ids  log \"a\" %h }", "invoke [1] { %h = read ids  log \"b\" %h }",
       "invoke [1] { %h = read ids  log %h }"},
      {"invoke [1] { save x = call lm_head(read lm_head.input) }",
       "invoke [1] { save x = call transformer.ln_f(read lm_head.input) }"},
      // Which invoke a statement is in.
      {"invoke [1] { save x = read ids } invoke [1] { save y = read ids }",
       "invoke [1] { save x = read ids  save y = read ids } invoke [1] { }",
       "invoke [1] { } invoke [1] { save x = read ids  save y = read ids }"},
  };
  for (const auto& kind : kinds) {
    for (size_t i = 0; i < kind.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        EXPECT_NE(Signature(kind[i]), Signature(kind[j])) << kind[i] << "\n" << kind[j];
      }
    }
  }
}

}  // namespace
}  // namespace weft::plan
