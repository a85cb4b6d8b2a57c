// Every operator of the recorder, in a real engine: resolved, planned, run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/local.h>

#include <functional>
#include <string>
#include <vector>

namespace weft::client_test {
namespace {

struct OperatorCase {
  const char* name;
  /// From h, float32[1, 3, 32], m, float32[3, 32], and ids, int64[1, 3].
  std::function<Var(Var h, Var m, Var ids)> record;
  const char* type;
};

LanguageModel OpenModel() {
  static const LanguageModel* const kModel = [] {
    absl::StatusOr<Client> client = MakeLocalClient(
        {.models = {{"tiny", WEFT_SOURCE_DIR "/tests/parity/gpt2-tiny"}}, .threads = 1});
    if (!client.ok()) internal::Fail(client.status().ToString());
    return new LanguageModel(client->OpenLanguageModel("tiny").value());
  }();
  return *kModel;
}

#define RECORD [](Var h, Var m, Var ids) -> Var
#define UNUSED (void)h, (void)m, (void)ids
#define CASE(expression, type) \
  OperatorCase {               \
#expression, RECORD {      \
      UNUSED;                  \
      return expression;       \
    }                          \
    , type                     \
  }

const std::vector<OperatorCase>& Cases() {
  static const std::vector<OperatorCase>* const kCases = new std::vector<OperatorCase>{
      CASE(h.abs(), "float32[1, 3, 32]"),
      CASE(neg(h), "float32[1, 3, 32]"),
      CASE(exp(h), "float32[1, 3, 32]"),
      CASE(h.expm1(), "float32[1, 3, 32]"),
      CASE(log(h.abs()), "float32[1, 3, 32]"),
      CASE(h.abs().log1p(), "float32[1, 3, 32]"),
      CASE(h.abs().sqrt(), "float32[1, 3, 32]"),
      CASE(h.square().rsqrt(), "float32[1, 3, 32]"),
      CASE(h.reciprocal(), "float32[1, 3, 32]"),
      CASE(h.sin() + h.cos() + h.tan(), "float32[1, 3, 32]"),
      CASE(h.tanh() + h.erf() + h.sigmoid(), "float32[1, 3, 32]"),
      CASE(relu(h) + silu(h) + gelu(h) + h.gelu("tanh"), "float32[1, 3, 32]"),
      CASE(h.sign() + h.round() + h.floor() + h.ceil() + h.trunc(), "float32[1, 3, 32]"),
      CASE(isnan(h) | h.isinf() | h.isfinite(), "bool[1, 3, 32]"),
      CASE((h > 0).logical_not(), "bool[1, 3, 32]"),
      CASE(~ids, "int64[1, 3]"),
      CASE(h + 1, "float32[1, 3, 32]"),
      CASE(1 + h, "float32[1, 3, 32]"),
      CASE(1.5 - h, "float32[1, 3, 32]"),
      CASE(h - m, "float32[1, 3, 32]"),
      CASE(2 * h * h, "float32[1, 3, 32]"),
      CASE(h / 2, "float32[1, 3, 32]"),
      CASE(2.0 / h, "float32[1, 3, 32]"),
      CASE(ids % 2, "int64[1, 3]"),
      CASE(7 % (ids + 1), "int64[1, 3]"),
      CASE(ids.floor_divide(2), "int64[1, 3]"),
      CASE(h.pow(2), "float32[1, 3, 32]"),
      CASE(pow(2.0, h), "float32[1, 3, 32]"),
      CASE(h == m, "bool[1, 3, 32]"),
      CASE(h != 0, "bool[1, 3, 32]"),
      CASE((0 < h) & (h <= 1.0) & (h >= m), "bool[1, 3, 32]"),
      CASE((h > 0) | (h < 1) | (1 >= h), "bool[1, 3, 32]"),
      CASE((h > 0) ^ (h > 1), "bool[1, 3, 32]"),
      CASE((ids & 3) | (ids ^ 1), "int64[1, 3]"),
      CASE(maximum(h, 0.0), "float32[1, 3, 32]"),
      CASE(minimum(h, m), "float32[1, 3, 32]"),
      CASE(logical_and(h, m), "bool[1, 3, 32]"),
      CASE(logical_or(h, m), "bool[1, 3, 32]"),
      CASE(logical_xor(h, m), "bool[1, 3, 32]"),
      CASE(h.clamp(-1, 1), "float32[1, 3, 32]"),
      CASE(h.clamp(0.0), "float32[1, 3, 32]"),
      CASE(h.clamp(None, 0.5), "float32[1, 3, 32]"),
      CASE(h.masked_fill(h > 0, 0.0), "float32[1, 3, 32]"),
      CASE(where(h > 0, h, 0.0), "float32[1, 3, 32]"),
      CASE(h.to(kFloat64), "float64[1, 3, 32]"),
      CASE(h.to(kBFloat16), "bfloat16[1, 3, 32]"),
      CASE(h.clone(), "float32[1, 3, 32]"),

      CASE(h.clone().zero_(), "float32[1, 3, 32]"),
      CASE(h.clone().abs_().sqrt_().exp_(), "float32[1, 3, 32]"),
      CASE(h.clone().neg_().tanh_().sigmoid_().relu_(), "float32[1, 3, 32]"),
      CASE(h.clone().add_(1).sub_(m).mul_(2).div_(3), "float32[1, 3, 32]"),
      CASE(h.clone().pow_(2), "float32[1, 3, 32]"),
      CASE(h.clone().fill_(2), "float32[1, 3, 32]"),
      CASE(h.clone().copy_(m), "float32[1, 3, 32]"),
      CASE(h.clone().clamp_(0), "float32[1, 3, 32]"),
      CASE(h.clone().clamp_(0, 1), "float32[1, 3, 32]"),
      CASE(h.clone().masked_fill_(h > 0, 1.0), "float32[1, 3, 32]"),

      CASE(matmul(h, m.t()), "float32[1, 3, 3]"),
      CASE(h.matmul(tensor({{1.0}}).reshape({1, 1}).to(kFloat32) * zeros({32, 1})),
           "float32[1, 3, 1]"),
      CASE(m.mm(m.t()), "float32[3, 3]"),
      CASE(bmm(h, h.transpose(1, 2)), "float32[1, 3, 3]"),
      CASE(m.mv(m[0]), "float32[3]"),
      CASE(dot(m[0], m[1]), "float32[]"),
      CASE(outer(m[0], m[1]), "float32[32, 32]"),
      CASE(einsum("bth,sh->bts", {h, m}), "float32[1, 3, 3]"),
      CASE(linear(h, m), "float32[1, 3, 3]"),
      CASE(linear(h, m, m[{Slice(), 0}]), "float32[1, 3, 3]"),
      CASE(embedding(m, ids % 3), "float32[1, 3, 32]"),

      CASE(sum(h), "float32[]"),
      CASE(sum(h, -1), "float32[1, 3]"),
      CASE(h.sum({0, 1}, true), "float32[1, 1, 32]"),
      CASE(mean(h) + h.mean(-1, true), "float32[1, 3, 1]"),
      CASE(h.amax() + h.amax({1, 2}), "float32[1]"),
      CASE(h.amin() + h.amin(0), "float32[3, 32]"),
      CASE((h > 0).all(), "bool[]"),
      CASE((h > 0).all(1), "bool[1, 32]"),
      CASE((h > 0).any(), "bool[]"),
      CASE((h > 0).any(1, true), "bool[1, 1, 32]"),
      CASE(h.var(-1), "float32[1, 3]"),
      CASE(h.std({1, 2}, false), "float32[1]"),
      CASE(h.norm(), "float32[]"),
      CASE(h.norm(1.0, -1), "float32[1, 3]"),
      CASE(h.logsumexp(-1), "float32[1, 3]"),
      CASE(h.cumsum(1), "float32[1, 3, 32]"),
      CASE(softmax(h, -1), "float32[1, 3, 32]"),
      CASE(log_softmax(h, -1), "float32[1, 3, 32]"),
      CASE(h.argmax(), "int64[]"),
      CASE(argmax(h, -1), "int64[1, 3]"),
      CASE(h.argmin() + argmin(h, 1, true), "int64[1, 1, 32]"),
      CASE(h.max() - h.min(), "float32[]"),
      CASE(h.max(-1).first, "float32[1, 3]"),
      CASE(h.min(1).second, "int64[1, 32]"),
      CASE(h.topk(5).second, "int64[1, 3, 5]"),
      CASE(h.sort(-1, true).first, "float32[1, 3, 32]"),

      CASE(h.view({3, 4, 8}), "float32[3, 4, 8]"),
      CASE(h.reshape(-1), "float32[96]"),
      CASE(h.expand({2, -1, -1}), "float32[2, 3, 32]"),
      CASE(h.repeat({2, 1, 1}), "float32[2, 3, 32]"),
      CASE(h.permute({2, 0, 1}), "float32[32, 1, 3]"),
      CASE(h.flip(1), "float32[1, 3, 32]"),
      CASE(h.transpose(1, 2).contiguous(), "float32[1, 32, 3]"),
      CASE(h.unsqueeze(0).squeeze(1), "float32[1, 3, 32]"),
      CASE(h.flatten(), "float32[96]"),
      CASE(h.flatten(1), "float32[1, 96]"),
      CASE(h.select(1, -1), "float32[1, 32]"),
      CASE(h.narrow(2, 4, 8), "float32[1, 3, 8]"),
      CASE(m.tril() + m.triu(1), "float32[3, 32]"),
      CASE(h.split(8, -1)[3], "float32[1, 3, 8]"),
      CASE(h.chunk(2, -1)[0], "float32[1, 3, 16]"),
      CASE(h.unbind(1)[2], "float32[1, 32]"),
      CASE(cat({h, h}, 1), "float32[1, 6, 32]"),
      CASE(stack({m, m}), "float32[2, 3, 32]"),
      CASE(h.row(0), "float32[3, 32]"),
      CASE((h[{Slice(), -1}]), "float32[1, 32]"),
      CASE((h[{None, Ellipsis{}, Slice(0, None, 2)}]), "float32[1, 1, 3, 16]"),
      CASE((h[{Slice(), tensor({0, 2})}]), "float32[1, 2, 32]"),

      CASE(h.gather(1, zeros({1, 1, 32}, kInt64)), "float32[1, 1, 32]"),
      CASE(h.index_select(1, tensor({0, 2})), "float32[1, 2, 32]"),
      CASE(m.scatter(0, zeros({1, 32}, kInt64), m), "float32[3, 32]"),
      CASE(m.index_copy(0, tensor({1}), m[{Slice(0, 1)}]), "float32[3, 32]"),
      CASE(m.index_add(0, tensor({1}), m[{Slice(0, 1)}]), "float32[3, 32]"),
      CASE(one_hot(ids, 97), "int64[1, 3, 97]"),

      CASE(zeros_like(h) + ones_like(h) + full_like(h, 2.0), "float32[1, 3, 32]"),
      CASE(zeros({2, 2}) + ones({2, 2}) + full({2, 2}, 3.0), "float32[2, 2]"),
      CASE(arange(4) + arange(0, 8, 2), "int64[4]"),

      CASE(linalg_svdvals(m), "float32[3]"),
      CASE(std::get<0>(linalg_svd(m, false)), "float32[3, 3]"),
      CASE(linalg_pinv(m) + pinverse(m), "float32[32, 3]"),
      CASE(linalg_norm(m) + linalg_norm(m, "nuc") + linalg_norm(m, 2), "float32[]"),
      CASE(linalg_solve(matmul(m, m.t()) + eye(3), m), "float32[3, 32]"),
      CASE(fft_irfft(fft_rfft(h)), "float32[1, 3, 32]"),
      CASE(fft_fft(m).abs() + fft_fft(m).real(), "float32[3, 32]"),
      CASE(conv1d(h, ones({4, 3, 5})), "float32[1, 4, 28]"),
      CASE(avg_pool1d(h, 2), "float32[1, 3, 16]"),
      CASE(tensordot(h, m, {1, 2}, {0, 1}), "float32[1]"),
      CASE(bucketize(h, tensor({0.0, 1.0})), "int64[1, 3, 32]"),
      CASE(searchsorted(m[0].sort().first, 0.5), "int64[]"),
      CASE(nonzero_static(h > 0, 7), "int64[7, 3]"),
      CASE(histc(h, 8, -4, 4), "float32[8]"),
      CASE(quantile(h, 0.5) + h.quantile(tensor({0.25, 0.75}).to(kFloat32)), "float32[2]"),
      CASE(h.kthvalue(2).first, "float32[1, 3]"),
      CASE(h.std() + h.var(), "float32[]"),
      CASE(h.any({0, 1}) & h.all(OptionalDims({0, 1})), "bool[32]"),
      CASE(h.max(m) + h.clamp_min(0.5), "float32[1, 3, 32]"),
      CASE(h.count_nonzero() + h.count_nonzero(-1), "int64[1, 3]"),
      CASE(pad(h, {1, 1}, "reflect"), "float32[1, 3, 34]"),
      CASE(h.index_put({None, tensor({0})}, zeros({32})), "float32[1, 3, 32]"),
      CASE(meshgrid({m[0], m[1]}, "ij")[1], "float32[32, 32]"),
      CASE(rand({2, 3}) + randn({3}) + rand_like(m[{Slice(0, 1), Slice(0, 3)}]), "float32[2, 3]"),
      CASE(randint(3, {5}) + randperm(5), "int64[5]"),
      CASE(h.bernoulli(0.5) + bernoulli(h.sigmoid()), "float32[1, 3, 32]"),
      CASE(normal(h, 1.0) + normal(0.0, 1.0, {32}), "float32[1, 3, 32]"),
      CASE(multinomial(m.softmax(-1), 4, true), "int64[3, 4]"),
      CASE(h.clone().normal_().uniform_(0.0, 1.0), "float32[1, 3, 32]"),
      CASE(normalize(m), "float32[3, 32]"),
      CASE(kl_div(m.log_softmax(-1), m.softmax(-1)), "float32[]"),
      CASE(addmm(m, matmul(m, m.t()), m, 0.5, 2.0), "float32[3, 32]"),

      CASE(layer_norm(h, 32), "float32[1, 3, 32]"),
      CASE(layer_norm(h, {32}, m[0], m[1]), "float32[1, 3, 32]"),
      CASE(cosine_similarity(h, m, -1), "float32[1, 3]"),
      CASE(cross_entropy(m, ids[0] % 32), "float32[]"),
  };
  return *kCases;
}

class OperatorTest : public ::testing::TestWithParam<OperatorCase> {};

TEST_P(OperatorTest, RunsInTheEngine) {
  const LanguageModel model = OpenModel();
  Saved<Tensor> result;
  absl::StatusOr<RunResult> run = model.Trace({1, 2, 3}, [&] {
    const Var h = model["transformer.h"][0].output();
    result = GetParam().record(h, h.row(0), model.ids()).save("result");
  });
  ASSERT_TRUE(run.ok()) << GetParam().name << ": " << run.status();
  ASSERT_TRUE(result.has_value()) << result.status();
  EXPECT_EQ(result->Type(), GetParam().type) << GetParam().name;
}

INSTANTIATE_TEST_SUITE_P(All, OperatorTest, ::testing::ValuesIn(Cases()),
                         [](const ::testing::TestParamInfo<OperatorCase>& info) {
                           return std::to_string(info.index);
                         });

// What C++ writes and what torch computes.

TEST(RecordedSemanticsTest, RandomNumbersAreTheSeeds) {
  const LanguageModel model = OpenModel();
  const auto draw = [&](uint64_t seed) {
    Saved<Tensor> values;
    EXPECT_TRUE(model
                    .Trace(
                        {1, 2}, [&] { values = rand({3}).save(); }, TraceOptions{.seed = seed})
                    .ok());
    const auto span = values->span<float>();
    return std::vector<float>(span.begin(), span.end());
  };
  EXPECT_EQ(draw(5), draw(5));
  EXPECT_NE(draw(5), draw(6));
}

TEST(RecordedSemanticsTest, NumbersOnTheLeftAreWhatTheySeem) {
  const LanguageModel model = OpenModel();
  Saved<Tensor> values;
  ASSERT_TRUE(model
                  .Trace({1, 2, 3},
                         [&] {
                           const Var x = constant(tensor({2.0, 4.0}));
                           values = stack({10 - x, 8.0 / x, 5 % x, where(3 < x, x, -1.0)}).save();
                         })
                  .ok());
  EXPECT_THAT(values->span<float>(), ::testing::ElementsAre(8, 6, 4, 2, 1, 1, -1, 4));
}

TEST(RecordedSemanticsTest, ConstantsOfTheSameBytesChangeApart) {
  const LanguageModel model = OpenModel();
  const Tensor zero = tensor({0.0, 0.0});
  Saved<Tensor> values;
  ASSERT_TRUE(model
                  .Trace({1, 2, 3},
                         [&] {
                           Var a = constant(zero), b = constant(zero);
                           a += 1.0;
                           b += 2.0;
                           // An operand, changed in place, and used again.
                           const Var c = op("aten::add_", {zero, 4.0});
                           values = stack({a, b, c, a + zero}).save();
                         })
                  .ok());
  EXPECT_THAT(values->span<float>(), ::testing::ElementsAre(1, 1, 2, 2, 4, 4, 1, 1));
}

TEST(RecordedSemanticsTest, WritesReachTheModelAndSavesKeepTheirVersion) {
  const LanguageModel model = OpenModel();
  Saved<Tensor> before, after, next, logits;
  absl::StatusOr<RunResult> run = model.Trace({5, 6, 7}, [&] {
    Var h = model["transformer.h"][0].output();
    before = h.save("before");
    h[{Slice(), -1}] *= 3.0;
    h[{Slice(), 0}] = tensor(0.0);
    h[{0, 1}] += 1;
    after = h.save("after");
    next = model["transformer.h"][1].input().save("next");
    model["lm_head"].output() = 7.0;
    logits = model.result().save("logits");
  });
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(Identical(*after, *next));
  EXPECT_THAT(logits->span<float>(), ::testing::Each(7.0f));
  for (int64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(after->at<float>({0, 0, i}), 0);
    EXPECT_EQ(after->at<float>({0, 1, i}), before->at<float>({0, 1, i}) + 1);
    EXPECT_EQ(after->at<float>({0, 2, i}), 3 * before->at<float>({0, 2, i}));
  }
}

TEST(RecordedSemanticsTest, ErrorsOfTheEngineNameTheClientsLine) {
  const LanguageModel model = OpenModel();
  int line = 0;
  const auto body = [&] {
    const Var h = model["transformer.h"][0].output();
    line = __LINE__ + 1;
    const Var bad = matmul(h, h);
    bad.save();
  };
  const absl::Status status = model.Trace({5, 6, 7}, body).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(GetError(status)->file, "operators_test.cc");
  EXPECT_EQ(GetError(status)->line, line);
}

TEST(RecordedSemanticsTest, CallsModulesOutOfBand) {
  const LanguageModel model = OpenModel();
  Saved<Tensor> lens, logits;
  absl::StatusOr<RunResult> run = model.Trace({5, 6, 7}, [&] {
    const Var h = model["transformer.h"][-1].output();
    lens = model["lm_head"](model["transformer.ln_f"](h)).save();
    logits = model["lm_head"].output().save();
  });
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(lens->shape(), logits->shape());
  for (int64_t i = 0; i < lens->numel(); ++i) {
    EXPECT_NEAR(lens->NumberAt(i), logits->NumberAt(i), 1e-4);
  }
}

}  // namespace
}  // namespace weft::client_test
