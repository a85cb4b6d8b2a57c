// Tensors that a checkpoint holds in other pieces than a family's modules.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/weights/hosting_dtype.h"
#include "engine/weights/weight_loader.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace weft::weights {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;
using testing::TempFolder;

/// A Hub folder with the tensors that are added to it.
class Written {
 public:
  Written& Add(const std::string& name, const at::Tensor& tensor) {
    const at::Tensor& kept = tensors_.emplace_back(tensor.contiguous());
    to_write_.push_back({name,
                         DtypeFromScalarType(kept.scalar_type()).value(),
                         kept.sizes().vec(),
                         {static_cast<const char*>(kept.const_data_ptr()), kept.nbytes()}});
    return *this;
  }
  absl::StatusOr<Checkpoint> Open(const NameRules& rules) {
    folder_.Write("config.json", "{}");
    folder_.Write("tokenizer.json", "{}");
    absl::Status status = WriteSafetensors(folder_.File("model.safetensors"), to_write_);
    if (!status.ok()) return status;
    absl::StatusOr<HubFolder> folder = HubFolder::Open(folder_.path());
    if (!folder.ok()) return folder.status();
    return Checkpoint::Open(*folder, rules);
  }

 private:
  TempFolder folder_;
  std::deque<at::Tensor> tensors_;
  std::vector<TensorToWrite> to_write_;
};

at::Tensor Ramp(int64_t from, at::IntArrayRef shape) {
  return at::arange(from, from + c10::multiply_integers(shape), at::kFloat).reshape(shape);
}

/// Mixtral's, as transformers maps them.
NameRules Experts() {
  return {.renames = {{".block_sparse_moe.", ".mlp."}},
          .fused = {{.sources = {".experts.*.w1.weight", ".experts.*.w3.weight"},
                     .target = ".experts.gate_up_proj",
                     .dim = 1},
                    {.sources = {".experts.*.w2.weight"}, .target = ".experts.down_proj"}}};
}

TEST(FusedTensorTest, ExpertsAreStackedAndGateAndUpJoined) {
  Written written;
  std::vector<at::Tensor> gate_up, down;
  constexpr int kExperts = 11;  // so that 10 comes after 9
  for (int expert = 0; expert < kExperts; ++expert) {
    const at::Tensor w1 = Ramp(100 * expert, {2, 3}), w3 = Ramp(100 * expert + 50, {2, 3});
    const at::Tensor w2 = Ramp(100 * expert + 70, {3, 2});
    const std::string name = absl::StrCat("layers.4.block_sparse_moe.experts.", expert);
    written.Add(name + ".w1.weight", w1).Add(name + ".w2.weight", w2).Add(name + ".w3.weight", w3);
    gate_up.push_back(at::cat({w1, w3}));
    down.push_back(w2);
  }
  auto checkpoint = written.Open(Experts());
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_THAT(checkpoint->Untaken(),
              ElementsAre("layers.4.mlp.experts.down_proj", "layers.4.mlp.experts.gate_up_proj"));
  auto taken = checkpoint->Take("layers.4.mlp.experts.gate_up_proj", {kExperts, 4, 3});
  ASSERT_THAT(taken, IsOk());
  EXPECT_TRUE(at::equal(*taken, at::stack(gate_up)));
  taken = checkpoint->Take("layers.4.mlp.experts.down_proj", {kExperts, 3, 2}, at::kBFloat16);
  ASSERT_THAT(taken, IsOk());
  EXPECT_TRUE(at::equal(*taken, at::stack(down).to(at::kBFloat16)));
  EXPECT_THAT(checkpoint->CheckAllTaken(), IsOk());
}

TEST(FusedTensorTest, AnExpertThatIsMissingIsNamed) {
  Written written;
  for (const int expert : {0, 2}) {
    written.Add(absl::StrCat("l.experts.", expert, ".w2.weight"), Ramp(0, {3, 2}));
  }
  EXPECT_THAT(written.Open(Experts()),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("\"l.experts.1.w2.weight\""),
                                                          HasSubstr("`l.experts.down_proj`"))));
  Written half;
  half.Add("l.experts.0.w1.weight", Ramp(0, {2, 3}));
  EXPECT_THAT(half.Open(Experts()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"l.experts.0.w3.weight\"")));
}

TEST(FusedTensorTest, PiecesThatDoNotFitAreNamedWithTheirShapes) {
  Written written;
  written.Add("l.experts.0.w2.weight", Ramp(0, {3, 2}));
  written.Add("l.experts.1.w2.weight", Ramp(0, {2, 3}));
  EXPECT_THAT(written.Open(Experts()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("[3, 2]"), HasSubstr("[2, 3]"), HasSubstr("down_proj"))));
}

TEST(FusedTensorTest, PiecesOfOtherSizesAreJoinedAlongADimension) {
  const NameRules rules = {
      .fused = {{.sources = {".q.weight", ".k.weight", ".v.weight"}, .target = ".qkv.weight"}}};
  const at::Tensor q = Ramp(0, {4, 3}), k = Ramp(20, {2, 3}), v = Ramp(40, {2, 3});
  Written written;
  written.Add("attn.v.weight", v).Add("attn.q.weight", q).Add("attn.k.weight", k);
  auto checkpoint = written.Open(rules);
  ASSERT_THAT(checkpoint, IsOk());
  auto taken = checkpoint->Take("attn.qkv.weight", {8, 3});
  ASSERT_THAT(taken, IsOk());
  EXPECT_TRUE(at::equal(*taken, at::cat({q, k, v})));
}

TEST(FusedTensorTest, ATensorThatIsFusedAlreadyIsTakenAsItIs) {
  Written written;
  const at::Tensor down = Ramp(0, {2, 3, 2});
  written.Add("l.experts.down_proj", down);
  auto checkpoint = written.Open(Experts());
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_TRUE(at::equal(checkpoint->Take("l.experts.down_proj", {2, 3, 2}).value(), down));
}

TEST(SplitTensorTest, ATensorIsCutIntoEqualParts) {
  for (const int64_t dim : {0, 1}) {
    const at::Tensor whole = Ramp(0, {4, 6});
    Written written;
    written.Add("mlp.gate_up.weight", whole);
    auto checkpoint = written.Open({.split = {{.source = ".gate_up.weight",
                                               .targets = {".gate.weight", ".up.weight"},
                                               .dim = dim}}});
    ASSERT_THAT(checkpoint, IsOk());
    const std::vector<at::Tensor> parts = whole.chunk(2, dim);
    auto up = checkpoint->Take("mlp.up.weight", parts[1].sizes());
    auto gate = checkpoint->Take("mlp.gate.weight", parts[0].sizes(), at::kHalf);
    ASSERT_THAT(up, IsOk());
    ASSERT_THAT(gate, IsOk());
    EXPECT_TRUE(at::equal(*up, parts[1]));
    EXPECT_TRUE(at::equal(*gate, parts[0].to(at::kHalf)));
    EXPECT_THAT(checkpoint->CheckAllTaken(), IsOk());
  }
  Written odd;
  odd.Add("mlp.gate_up.weight", Ramp(0, {3, 2}));
  EXPECT_THAT(odd.Open({.split = {{.source = ".gate_up.weight",
                                   .targets = {".gate.weight", ".up.weight"}}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 equal parts")));
}

TEST(RenamesTest, TwoTensorsOfOneNameAreRefusedWithBoth) {
  Written written;
  written.Add("embed_out.weight", Ramp(0, {1})).Add("lm_head.weight", Ramp(0, {1}));
  EXPECT_THAT(written.Open({.renames = {{"^embed_out.", "lm_head."}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("\"embed_out.weight\""), HasSubstr("\"lm_head.weight\""))));
}

TEST(HostingDtypeTest, AutoIsWhatTheConfigurationSaysElseTheFirstFloatingPointTensor) {
  auto dtype_of = [](const std::string& config, at::ScalarType stored) {
    Written written;
    written.Add("ids", at::zeros({2}, at::kLong)).Add("w", at::zeros({2}, stored));
    auto checkpoint = written.Open({});
    return DtypeOfCheckpoint(ModelConfig::Parse("config.json", config).value(), &*checkpoint);
  };
  EXPECT_EQ(dtype_of(R"({"dtype": "bfloat16"})", at::kFloat).value(), at::kBFloat16);
  EXPECT_EQ(dtype_of(R"({"torch_dtype": "float16"})", at::kFloat).value(), at::kHalf);
  EXPECT_EQ(dtype_of(R"({"dtype": "float32", "torch_dtype": "float16"})", at::kHalf).value(),
            at::kFloat);
  EXPECT_EQ(dtype_of("{}", at::kHalf).value(), at::kHalf);
  EXPECT_EQ(dtype_of(R"({"dtype": null})", at::kBFloat16).value(), at::kBFloat16);
  EXPECT_THAT(dtype_of(R"({"dtype": "float64"})", at::kFloat),
              StatusIs(absl::StatusCode::kUnimplemented,
                       AllOf(HasSubstr("config.json"), HasSubstr("`float64`"),
                             HasSubstr("float32, bfloat16, float16"))));
  EXPECT_THAT(dtype_of("{}", at::kDouble),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("Double")));
  EXPECT_THAT(ParseHostingDtype("int8"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("auto, float32")));
}

/// Megabytes of memory that this process had at most since the last call.
int64_t PeakMegabytes() {
  std::ifstream status("/proc/self/status");
  int64_t peak = 0;
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> peak;
  }
  std::ofstream("/proc/self/clear_refs") << "5";
  return peak / 1024;
}

TEST(LoadingTest, AWeightIsNotInMemoryTwice) {
  constexpr int64_t kMegabytes = 64, kElements = kMegabytes << 18;
  Written written;
  // In two tensors, of which one is bigger than what is read at a time.
  {
    written.Add("big", at::ones({1024, kElements / 1024}));
    written.Add("small", at::ones({kElements / 8}));
  }
  auto checkpoint = written.Open({});
  ASSERT_THAT(checkpoint, IsOk());
  uint64_t last = 0, calls = 0, total = 0;
  checkpoint->set_progress([&](uint64_t bytes, uint64_t total_bytes) {
    EXPECT_GT(bytes, last);
    last = bytes;
    total = total_bytes;
    ++calls;
    return absl::OkStatus();
  });
  PeakMegabytes();
  const int64_t before = PeakMegabytes();
  auto big = checkpoint->Take("big", {1024, kElements / 1024}, at::kBFloat16);
  auto small = checkpoint->Take("small", {kElements / 8});
  ASSERT_THAT(big, IsOk());
  ASSERT_THAT(small, IsOk());
  const int64_t grown = PeakMegabytes() - before;
  // Half of `big`, and `small`, and 16 MiB that are being read: not the 72 that the file has.
  EXPECT_LT(grown, kMegabytes / 2 + kMegabytes / 8 + 16 + 8);
  EXPECT_GE(calls, 5u);
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, static_cast<uint64_t>(kElements) * 4 + static_cast<uint64_t>(kElements) / 2);
}

}  // namespace
}  // namespace weft::weights
