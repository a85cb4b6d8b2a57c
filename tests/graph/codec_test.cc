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
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

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

/// A program with one node of each executed kind; node 3 is a read.
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

class LaterMessageTest : public ::testing::TestWithParam<Change> {};

TEST_P(LaterMessageTest, IsRefusedByNodeAndName) {
  v1::Program message = Sample();
  GetParam().apply(&message);
  EXPECT_THAT(DecodeProgram(message),
              StatusIs(kUnimplemented,
                       AllOf(HasSubstr("node "),
                             HasSubstr(absl::StrCat("`", GetParam().expected,
                                                    "` is in the contract but not executed")))));
}

INSTANTIATE_TEST_SUITE_P(
    CodecTest, LaterMessageTest,
    ::testing::Values(
        Change{"Sweep", [](auto* p) { NodeOf(p, 2)->mutable_sweep(); }, "sweep"},
        Change{"Cache", [](auto* p) { NodeOf(p, 3)->mutable_cache(); }, "cache"},
        Change{"Steps", [](auto* p) { NodeOf(p, 3)->mutable_steps(); }, "steps"},
        Change{"If", [](auto* p) { NodeOf(p, 3)->mutable_if_(); }, "if"},
        Change{"Branch", [](auto* p) { NodeOf(p, 3)->mutable_branch(); }, "branch"},
        Change{"Carry", [](auto* p) { NodeOf(p, 3)->mutable_carry(); }, "carry"},
        Change{"Yield", [](auto* p) { NodeOf(p, 3)->mutable_yield(); }, "yield"},
        Change{"RegionResult", [](auto* p) { NodeOf(p, 3)->mutable_region_result(); },
               "region_result"},
        Change{"Generate",
               [](auto* p) { NodeOf(p, 1)->mutable_trace()->set_mode(v1::Trace::MODE_GENERATE); },
               "trace.mode MODE_GENERATE"},
        Change{"Root", [](auto* p) { NodeOf(p, 1)->mutable_trace()->set_root("a"); }, "trace.root"},
        Change{"GenerateOptions",
               [](auto* p) { NodeOf(p, 1)->mutable_trace()->mutable_generate(); },
               "trace.generate"},
        Change{"TupleOutputs",
               [](auto* p) { NodeOf(p, 1)->mutable_trace()->set_tuple_outputs(true); },
               "trace.tuple_outputs"},
        Change{"TensorInputs", [](auto* p) { NodeOf(p, 2)->mutable_invoke()->mutable_tensors(); },
               "invoke.tensors"},
        Change{"Chat", [](auto* p) { NodeOf(p, 2)->mutable_invoke()->mutable_chat(); },
               "invoke.chat"},
        Change{"Blob", [](auto* p) { NodeOf(p, 3)->mutable_constant()->mutable_blob(); },
               "constant.blob"},
        Change{"SiteOp", [](auto* p) { NodeOf(p, 3)->mutable_read()->mutable_site()->set_op("x"); },
               "site.op"},
        Change{"SiteParameters",
               [](auto* p) { NodeOf(p, 3)->mutable_read()->mutable_site()->add_parameters(); },
               "site.parameters"},
        Change{"Inputs",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_read()->mutable_site()->set_point(v1::Site::POINT_INPUTS);
               },
               "site.point POINT_INPUTS"},
        Change{"Probabilities",
               [](auto* p) {
                 NodeOf(p, 3)->mutable_read()->mutable_site()->set_point(v1::Site::POINT_PROBS);
               },
               "site.point POINT_PROBS"},
        Change{"IndexParameter",
               [](auto* p) { NodeOf(p, 4)->mutable_index()->add_terms()->mutable_parameter(); },
               "index_term.parameter"},
        Change{"SliceStart",
               [](auto* p) {
                 NodeOf(p, 4)
                     ->mutable_index()
                     ->mutable_terms(1)
                     ->mutable_slice()
                     ->mutable_start_parameter();
               },
               "slice.start_parameter"},
        Change{"SliceStop",
               [](auto* p) {
                 NodeOf(p, 4)
                     ->mutable_index()
                     ->mutable_terms(1)
                     ->mutable_slice()
                     ->mutable_stop_parameter();
               },
               "slice.stop_parameter"},
        Change{"ArgumentParameter",
               [](auto* p) { NodeOf(p, 5)->mutable_op()->add_arguments()->mutable_parameter(); },
               "argument.parameter"},
        Change{"Watched", [](auto* p) { NodeOf(p, 5)->mutable_call()->set_watched(true); },
               "call.watched"},
        Change{"SaveDType", [](auto* p) { NodeOf(p, 6)->mutable_save()->set_dtype(v1::DTYPE_F16); },
               "save.dtype"},
        Change{"SaveKeep",
               [](auto* p) { NodeOf(p, 6)->mutable_save()->set_placement(v1::PLACEMENT_KEEP); },
               "save.placement PLACEMENT_KEEP"}),
    [](const auto& info) { return std::string(info.param.name); });

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
               "a constant needs a tensor"},
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
  NodeOf(&message, 3)->mutable_steps();
  NodeOf(&message, 3)->mutable_source()->set_file("steer.cc");
  NodeOf(&message, 3)->mutable_source()->set_line(12);
  const absl::Status status = DecodeProgram(message).status();
  EXPECT_THAT(status, StatusIs(kUnimplemented, HasSubstr("node 3 (steer.cc:12): `steps`")));
  EXPECT_EQ(FromStatus(status).node, 3u);
  EXPECT_EQ(FromStatus(status).source.line, 12u);
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
  dict.entries.emplace_back("logits", Pattern{Pattern::Tensor{DType::kI64, {{1, 2, 3}}, 97}});
  dict.entries.emplace_back("n", Pattern{std::string("int")});
  const Pattern pattern{Pattern::Tuple{{Pattern{Pattern::List{{Pattern()}}}, Pattern{dict}}}};
  v1::Pattern message;
  EncodePattern(pattern, &message);
  const Pattern back = DecodePattern(message);
  EXPECT_EQ(ToString(back), "([none], {logits: int64[2*B + 3*T + 1], n: int})");
  const Pattern& tensor =
      std::get<Pattern::Dict>(std::get<Pattern::Tuple>(back.value).items[1].value).entries[0].value;
  EXPECT_EQ(std::get<Pattern::Tensor>(tensor.value).range, 97);
}

}  // namespace
}  // namespace weft::graph
