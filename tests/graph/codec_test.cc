#include "engine/graph/codec.h"

#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/graph/lint.h"
#include "engine/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/program_equality.h"
#include "tests/support/random_program.h"
#include "tests/support/status_matchers.h"
#include "weft/v1/program.pb.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::weft::testing::IsOk;
using ::weft::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(CodecTest, ProgramsSurviveTheWire) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const Program program = RandomProgram(seed);
    v1::Program message;
    EncodeProgram(program, &message);
    const std::string bytes = message.SerializeAsString();
    v1::Program parsed;
    ASSERT_THAT(ParseChecked(bytes.data(), bytes.size(), &parsed), IsOk()) << "seed " << seed;
    const absl::StatusOr<Program> decoded = DecodeProgram(parsed);
    ASSERT_THAT(decoded, IsOk()) << "seed " << seed;
    ASSERT_EQ(FirstDifference(program, *decoded), "") << "seed " << seed;
    ASSERT_EQ(decoded->nodes.back().source.line, program.nodes.back().source.line);
    ASSERT_EQ(decoded->nodes.back().source.file, program.nodes.back().source.file);
  }
}

TEST(CodecTest, ABeamSearchSurvivesTheWire) {
  for (const char* options : {"", "length_penalty=0.0", "length_penalty=-1.5 early_stopping=true",
                              "num_return_sequences=2 early_stopping=never"}) {
    const Program program =
        ParseProgram(absl::StrCat("generate max_new_tokens=3 num_beams=4 ", options,
                                  " invoke [1] { save a = read result save b = read beam_scores }"))
            .value();
    v1::Program message;
    EncodeProgram(program, &message);
    const absl::StatusOr<Program> decoded = DecodeProgram(message);
    ASSERT_THAT(decoded, IsOk()) << options;
    EXPECT_EQ(FirstDifference(program, *decoded), "") << options;
  }
}

TEST(CodecTest, BytesOfAProgramAreThoseOfTheContract) {
  const Program program =
      ParseProgram("invoke [1, 2] { %h = read a.output save x = %h }", "p").value();
  v1::Program message;
  EncodeProgram(program, &message);
  const std::string golden(
      "\x0a\x0b\x1a\x05\x0a\x01p\x10\x01\x52\x02\x08\x01"                                  // trace
      "\x0a\x13\x08\x01\x1a\x05\x0a\x01p\x10\x01\x62\x08\x12\x06\x0a\x04\x0a\x02\x01\x02"  // invoke
      "\x0a\x16\x08\x02\x12\x01h\x1a\x05\x0a\x01p\x10\x01\xaa\x01\x07\x0a\x05\x0a\x01"
      "a\x10\x01"                                                                // read
      "\x0a\x11\x08\x02\x1a\x05\x0a\x01p\x10\x01\x8a\x02\x05\x0a\x01x\x10\x03",  // save
      77);
  EXPECT_EQ(message.SerializeAsString(), golden);
}

/// Node 3 is a read.
v1::Program Sample() {
  v1::Program message;
  EncodeProgram(ParseProgram("invoke [1] { %h = read a.output %i = %h[0, 1:2] "
                             "aten::f(%h, 1) save x = %h }")
                    .value(),
                &message);
  return message;
}

struct Change {
  const char* name;
  std::function<void(v1::Program*)> apply;
  const char* expected;
};
void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

v1::Node* NodeOf(v1::Program* program, int id) { return program->mutable_nodes(id - 1); }

class IncompleteMessageTest : public ::testing::TestWithParam<Change> {};

TEST_P(IncompleteMessageTest, IsRefusedWithTheReason) {
  v1::Program message = Sample();
  GetParam().apply(&message);
  EXPECT_THAT(DecodeProgram(message),
              StatusIs(kInvalid, AllOf(HasSubstr("node "), HasSubstr(GetParam().expected))));
}

INSTANTIATE_TEST_SUITE_P(
    CodecTest, IncompleteMessageTest,
    ::testing::Values(
        Change{"NoKind", [](auto* p) { NodeOf(p, 3)->clear_kind(); }, "a node needs a kind"},
        Change{"NoMode", [](auto* p) { NodeOf(p, 1)->mutable_trace()->clear_mode(); },
               "a trace needs a mode"},
        Change{"NoInput", [](auto* p) { NodeOf(p, 2)->mutable_invoke()->clear_input(); },
               "an invoke needs an input"},
        Change{"NoPoint",
               [](auto* p) { NodeOf(p, 3)->mutable_read()->mutable_site()->clear_point(); },
               "a site needs a point"},
        Change{"NoConstant", [](auto* p) { NodeOf(p, 3)->mutable_constant(); },
               "a constant needs a tensor, a blob, a text, a number or a bool"},
        Change{"UnknownMode",
               [](auto* p) {
                 NodeOf(p, 1)->mutable_trace()->set_mode(static_cast<v1::Trace::Mode>(9));
               },
               "a trace needs a mode"},
        Change{"OptionsOfAForward",
               [](auto* p) { NodeOf(p, 1)->mutable_trace()->mutable_generate(); },
               "`generate` goes with MODE_GENERATE alone"},
        Change{"UnknownPoint",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_read()->mutable_site()->set_point(
                     static_cast<v1::Site::Point>(9));
               },
               "a site needs a point"},
        Change{"SweepWithoutValues",
               [](auto* p) { NodeOf(p, 2)->mutable_sweep()->add_parameters()->set_name("l"); },
               "a sweep's parameter needs values"},
        Change{"SweepOfTwoKinds",
               [](auto* p) {
                 auto* parameter = NodeOf(p, 2)->mutable_sweep()->add_parameters();
                 parameter->add_ints(1);
                 parameter->add_strings("a");
               },
               "all of them ints, floats, strings, nodes or rows"},
        Change{"BlobWithoutHash",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_constant()->mutable_blob()->set_dtype(v1::DTYPE_F32);
               },
               "a blob's sha256 has 32 bytes, not 0"},
        Change{"BlobWithoutDType",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_constant()->mutable_blob()->set_sha256(std::string(32, 'x'));
               },
               "a blob has an unknown dtype"},
        Change{"SaveOfUnknownDType",
               [](auto* p) { NodeOf(p, 6)->mutable_save()->set_dtype(static_cast<v1::DType>(99)); },
               "a save has an unknown dtype"},
        Change{"UnknownPlacement",
               [](auto* p) {
                 NodeOf(p, 6)->mutable_save()->set_placement(static_cast<v1::Placement>(99));
               },
               "a save has an unknown placement"},
        Change{
            "CacheOfUnknownDType",
            [](auto* p) { NodeOf(p, 3)->mutable_cache()->set_dtype(static_cast<v1::DType>(99)); },
            "a cache has an unknown dtype"},
        Change{"StepsOfTwoKinds",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_steps()->mutable_range()->set_start(1);
                 NodeOf(p, 3)->mutable_steps()->add_list(1);
               },
               "by a range or by a list, not by both"},
        Change{"NoDType", [](auto* p) { NodeOf(p, 3)->mutable_constant()->mutable_tensor(); },
               "a tensor needs a dtype"},
        Change{"TensorBytes",
               [](auto* p) {
                 auto* tensor = NodeOf(p, 3)->mutable_constant()->mutable_tensor();
                 tensor->set_dtype(v1::DTYPE_F32);
                 tensor->add_shape(int64_t{1} << 62);
                 tensor->add_shape(4);
               },
               "too large to count"},
        Change{"NoStructureKind", [](auto* p) { NodeOf(p, 3)->mutable_structure(); },
               "a structure needs a kind"},
        Change{"NoTerm", [](auto* p) { NodeOf(p, 4)->mutable_index()->add_terms(); },
               "an index term is empty"},
        Change{"NoEllipsis",
               [](auto* p) { NodeOf(p, 4)->mutable_index()->add_terms()->set_ellipsis(false); },
               "`ellipsis` is true or absent"},
        Change{"NoArgument", [](auto* p) { NodeOf(p, 5)->mutable_op()->add_arguments(); },
               "argument 2 has no value"},
        Change{"NoArgumentDType",
               [](auto* p) {
                 NodeOf(p, 5)->mutable_op()->add_arguments()->set_dtype(v1::DTYPE_UNSPECIFIED);
               },
               "argument 2 has an unknown dtype"},
        Change{"DeepLists",
               [](auto* p) {
                 v1::Argument* argument = NodeOf(p, 5)->mutable_op()->add_arguments();
                 for (int i = 0; i < 1000; ++i) {
                   argument = argument->mutable_list()->add_items();
                 }
                 argument->set_integer(1);
               },
               "lists nest deeper than 2"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(CodecTest, RefusalsNameTheStatementsSource) {
  v1::Program message = Sample();
  NodeOf(&message, 3)->mutable_structure();
  NodeOf(&message, 3)->mutable_source()->set_file("steer.cc");
  NodeOf(&message, 3)->mutable_source()->set_line(12);
  const absl::Status status = DecodeProgram(message).status();
  EXPECT_THAT(status, StatusIs(kInvalid, HasSubstr("node 3 (steer.cc:12): a structure needs")));
  EXPECT_EQ(FromStatus(status).node, 3u);
  EXPECT_EQ(FromStatus(status).source.line, 12u);
}

TEST(CodecTest, StepsWithoutARangeAreAllSteps) {
  v1::Program message = Sample();
  NodeOf(&message, 3)->mutable_steps();
  const absl::StatusOr<Program> program = DecodeProgram(message);
  ASSERT_THAT(program, IsOk());
  const auto& steps = std::get<Steps>(program->at(3).kind);
  EXPECT_TRUE(steps.list.empty() && !steps.range.start && !steps.range.stop && !steps.range.step);
}

TEST(CodecTest, TensorsOutliveTheirMessage) {
  HostTensor tensor;
  {
    v1::Tensor message;
    EncodeTensor(HostTensor::Make(DType::kU8, {3}, "abc").value(), &message);
    tensor = DecodeTensor(message).value();
  }
  EXPECT_EQ(std::string(tensor.data, tensor.bytes), "abc");
}

TEST(CodecTest, PatternsComeBack) {
  Pattern::Dict dict;
  dict.entries.emplace_back("logits", Pattern{Pattern::Tensor{DType::kI64, {{1, 2, 3, 4}}, 97}});
  dict.entries.emplace_back("n", Pattern{std::string("int")});
  const Pattern pattern{Pattern::Tuple{{Pattern{Pattern::List{{Pattern()}}}, Pattern{dict}}}};
  v1::Pattern message;
  EncodePattern(pattern, &message);
  const Pattern back = DecodePattern(message);
  EXPECT_EQ(ToString(back), "([none], {logits: int64[2*B + 3*T + 4*P + 1], n: int})");
  const Pattern& tensor =
      std::get<Pattern::Dict>(std::get<Pattern::Tuple>(back.value).items[1].value).entries[0].value;
  EXPECT_EQ(std::get<Pattern::Tensor>(tensor.value).range, 97);
}

}  // namespace
}  // namespace weft::graph
