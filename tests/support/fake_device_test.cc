#include "tests/support/fake_device.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace weft::testing {
namespace {

using at::Tensor;
using at::indexing::Slice;
using ::testing::HasSubstr;

const c10::Device kCpu(c10::DeviceType::CPU);
const c10::Device kFirst(c10::DeviceType::PrivateUse1, 0);
const c10::Device kSecond(c10::DeviceType::PrivateUse1, 1);

/// What to do on a device with tensors that were put there.
struct Program {
  std::string name;
  std::function<std::vector<Tensor>(const std::vector<Tensor>&)> run;
};
void PrintTo(const Program& program, std::ostream* out) { *out << program.name; }

/// What programs are given, on `device`.
std::vector<Tensor> Arguments(c10::Device device) {
  at::manual_seed(7);
  std::vector<Tensor> all = {at::randn({3, 4}),         at::randn({3, 4}),
                             at::randn({4, 4}),         at::randn({4}),
                             at::randint(0, 3, {2, 5}), at::randn({2, 2, 5, 8}),
                             at::randn({2, 2, 5, 8}),   at::randn({2, 2, 5, 8}),
                             at::randn({3, 4}) > 0.0,   at::tensor({2, 0}, at::kLong)};
  for (Tensor& tensor : all) tensor = tensor.to(device);
  return all;
}
// Their names.
enum { kX, kY, kSquare, kVector, kTokens, kQuery, kKey, kValue, kMask, kRows };

/// Whether values of one shape differ nowhere by more than so many times the largest finite one.
bool Close(const Tensor& actual, const Tensor& expected, double tolerance_of_scale = 1e-6) {
  if (expected.numel() == 0) return true;
  const Tensor want = expected.detach().to(at::kDouble);
  const double scale = at::where(want.isfinite(), want.abs(), 0.0).max().item<double>();
  return at::allclose(actual.detach().cpu().to(at::kDouble), want, 0.0, tolerance_of_scale * scale,
                      /*equal_nan=*/true);
}

void ExpectSame(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected,
                c10::Device device) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].device(), device) << "result " << i;
    EXPECT_EQ(actual[i].scalar_type(), expected[i].scalar_type()) << "result " << i;
    ASSERT_EQ(actual[i].sizes(), expected[i].sizes()) << "result " << i;
    EXPECT_TRUE(Close(actual[i], expected[i]))
        << "result " << i << " is " << actual[i] << "\ninstead of " << expected[i];
  }
}

const std::vector<Program>& Programs() {
  using Tensors = std::vector<Tensor>;
  static const auto* const kPrograms = new std::vector<Program>{
      {"Products",
       [](const Tensors& t) -> Tensors {
         return {at::linear(t[kX], t[kSquare], t[kVector]),
                 at::linear(t[kX], t[kSquare]),
                 at::matmul(t[kX], t[kSquare]),
                 at::matmul(t[kQuery], t[kKey].transpose(-2, -1)),
                 at::addmm(t[kVector], t[kX], t[kSquare]),
                 at::bmm(t[kQuery][0], t[kKey][0].transpose(1, 2)),
                 at::einsum("ij,kj->ik", {t[kX], t[kY]}),
                 at::conv1d(t[kX].unsqueeze(0), t[kY].narrow(1, 0, 2).unsqueeze(0)),
                 at::linear(t[kX].to(at::kBFloat16), t[kSquare].to(at::kBFloat16))};
       }},
      {"Norms",
       [](const Tensors& t) -> Tensors {
         const Tensor& x = t[kX];
         return {at::layer_norm(x, {4}, t[kVector], t[kVector], 1e-5),
                 at::layer_norm(x.to(at::kBFloat16), {4}),
                 x * at::rsqrt(x.pow(2).mean(-1, true) + 1e-6) * t[kVector]};
       }},
      {"Activations",
       [](const Tensors& t) -> Tensors {
         const Tensor& x = t[kX];
         return {at::softmax(x, -1),
                 at::log_softmax(x, 0),
                 at::gelu(x),
                 at::gelu(x, "tanh"),
                 at::silu(x),
                 at::tanh(x),
                 at::relu(x),
                 at::sigmoid(x),
                 x.exp(),
                 -x,
                 x.abs().log(),
                 1.0 - x};
       }},
      {"Attention",
       [](const Tensors& t) -> Tensors {
         const Tensor mask = at::ones({5, 5}, t[kX].options().dtype(at::kBool)).tril();
         const Tensor bias = at::zeros({5, 5}, t[kX].options()).masked_fill(~mask, -1e4);
         const auto attend = [&](const std::optional<Tensor>& m, bool causal) {
           return at::scaled_dot_product_attention(t[kQuery], t[kKey], t[kValue], m, 0.0, causal);
         };
         return {attend({}, false), attend(mask, false), attend(bias, false), attend({}, true),
                 at::scaled_dot_product_attention(t[kQuery], t[kKey].narrow(1, 0, 1),
                                                  t[kValue].narrow(1, 0, 1), {}, 0.0, true, {},
                                                  /*enable_gqa=*/true)};
       }},
      {"Lookups",
       [](const Tensors& t) -> Tensors {
         const Tensor& x = t[kX];
         const Tensor columns = t[kTokens].narrow(1, 0, 3).t().contiguous();
         return {at::embedding(t[kSquare], t[kTokens]),
                 x.index({t[kRows]}),
                 x.index({t[kMask]}),
                 x.index({Slice(), t[kRows]}),
                 x.index({t[kRows].cpu()}),
                 x.index({t[kMask].cpu()}),
                 x.index_put({t[kRows]}, t[kY].narrow(0, 0, 2)),
                 x.index_put({t[kRows].cpu()}, at::ones({}), /*accumulate=*/true),
                 x.index_put({t[kMask]}, at::zeros({}, x.options())),
                 x.index_select(0, t[kRows]),
                 x.index_copy(0, t[kRows], t[kY].narrow(0, 0, 2)),
                 x.index_add(0, t[kRows], t[kY].narrow(0, 0, 2)),
                 x.gather(1, columns),
                 x.scatter(1, columns, t[kY].narrow(1, 0, 2)),
                 x.scatter(1, columns, 2.0),
                 t[kMask].nonzero()};
       }},
      {"Choices",
       [](const Tensors& t) -> Tensors {
         const auto [top, at_top] = t[kX].topk(2);
         const auto [sorted, order] = t[kX].sort(-1, /*descending=*/true);
         return {at::where(t[kMask], t[kX], t[kY]),
                 at::where(t[kMask], t[kX], 0.0),
                 t[kX].masked_fill(t[kMask], -INFINITY),
                 t[kX].masked_fill(t[kMask], at::ones({})),
                 t[kX].masked_select(t[kMask]),
                 top,
                 at_top,
                 sorted,
                 order,
                 t[kX].argmax(-1),
                 t[kX].argmax(),
                 std::get<0>(t[kX].max(0)),
                 t[kX].eq(t[kY]),
                 t[kX] > 0.5,
                 t[kMask] & t[kMask].logical_not(),
                 t[kTokens].eq(1).any()};
       }},
      {"Sums",
       [](const Tensors& t) -> Tensors {
         return {t[kX].cumsum(-1),   t[kTokens].cumsum(1), t[kSquare].tril(),
                 t[kSquare].triu(1), t[kX].sum(),          t[kMask].sum(0),
                 t[kX].std(-1),      t[kX].norm(),         t[kX].mean(at::IntArrayRef{0, 1})};
       }},
      {"Factories",
       [](const Tensors& t) -> Tensors {
         const at::TensorOptions on = t[kX].options();
         at::manual_seed(3);
         return {at::arange(5, on.dtype(at::kLong)),
                 at::arange(1, 7, 2, on),
                 at::zeros({2, 3}, on),
                 at::ones({2}, on.dtype(at::kBFloat16)),
                 at::full({2, 2}, 3, on.dtype(at::kLong)),
                 at::empty({0, 3}, on),
                 at::zeros_like(t[kX]),
                 t[kX].new_full({2}, 1.5),
                 at::scalar_tensor(2.0, on),
                 at::eye(3, on),
                 at::linspace(0, 1, 5, on),
                 at::tensor({1.0f, 2.0f}, on),
                 at::rand({2, 3}, on),
                 at::randn({2, 3}, on),
                 at::randint(0, 9, {4}, on.dtype(at::kLong)),
                 at::randperm(5, on.dtype(at::kLong)),
                 at::softmax(t[kX], -1).multinomial(2),
                 at::empty({3}, on).exponential_(),
                 at::dropout(t[kX], 0.5, true)};
       }},
      {"Shapes",
       [](const Tensors& t) -> Tensors {
         const Tensor& x = t[kX];
         std::vector<Tensor> all = x.split(2, 1);
         for (const Tensor& part : x.chunk(3)) all.push_back(part);
         for (const Tensor& part : x.unbind(0)) all.push_back(part);
         for (const Tensor& part : x.split_with_sizes({1, 3}, 1)) all.push_back(part);
         for (const Tensor& more : {at::cat({x, t[kY]}, 1),
                                    at::stack({x, t[kY]}),
                                    x.clone(),
                                    x.t().contiguous(),
                                    x.t().reshape({-1}),
                                    x.view({2, 6}),
                                    x.as_strided({2, 2}, {4, 1}, 1),
                                    x.narrow(1, 1, 2),
                                    x.unflatten(1, {2, 2}),
                                    x.transpose(0, 1),
                                    x.flatten(),
                                    t[kVector].expand({3, 4}),
                                    x.unfold(1, 2, 1),
                                    x.repeat({2, 1}),
                                    x.permute({1, 0}),
                                    t[kVector].repeat_interleave(2),
                                    x.flip(0),
                                    x.roll(1, 1),
                                    at::pad(x, {1, 1}),
                                    x.unsqueeze(0).squeeze(0),
                                    x.select(0, 1),
                                    x.diagonal(),
                                    x.movedim(0, 1),
                                    x.view(at::kInt),
                                    at::_unsafe_view(x, {12}),
                                    at::constant_pad_nd(x, {0, 1}, 2.0)}) {
           all.push_back(more);
         }
         return all;
       }},
      {"InPlace",
       [](const Tensors& t) -> Tensors {
         Tensor x = t[kX].clone();
         x.add_(t[kY]).mul_(2.0).div_(at::full({}, 3.0));
         x.narrow(0, 1, 1).copy_(t[kY].narrow(0, 2, 1));
         x.index({Slice(), 0}).fill_(4.0);
         x.select(1, 3).zero_();
         x.index_put_({t[kRows], t[kRows]}, t[kVector].narrow(0, 0, 2));
         x.masked_fill_(t[kMask], 9.0);
         x.index_fill_(1, t[kRows], 0.25);
         Tensor grown = at::empty({0}, x.options());
         at::add_out(grown, x.detach(), t[kY].detach());
         Tensor resized = at::ones({2}, x.options());
         resized.resize_({2, 3}).fill_(1.0);
         Tensor moved = at::empty({0}, x.options());
         moved.set_(t[kX].detach().narrow(0, 1, 2));
         Tensor placed = at::empty({0}, x.options()).set_(t[kX].storage(), 1, {2}, {1});
         return {x, grown, resized, moved, placed};
       }},
      {"Conversions",
       [](const Tensors& t) -> Tensors {
         return {t[kX].to(at::kBFloat16),
                 t[kX].to(at::kDouble),
                 t[kX].to(at::kLong),
                 t[kX].to(at::kBool),
                 t[kTokens].to(at::kFloat),
                 t[kX].to(at::kHalf) + 1.0,
                 t[kMask].to(at::kInt),
                 t[kX].to(at::kFloat),
                 t[kX] + t[kTokens].sum(),
                 t[kX] * t[kX].sum().item(),
                 at::view_as_real(at::view_as_complex(t[kX].view({3, 2, 2})).conj() *
                                  at::polar(t[kX].abs(), t[kY]).narrow(1, 0, 2))};
       }},
  };
  return *kPrograms;
}

class FakeDeviceProgramTest : public ::testing::TestWithParam<Program> {
 protected:
  FakeDeviceProgramTest() { RegisterFakeDevices(2); }
};

TEST_P(FakeDeviceProgramTest, GivesWhatTheCpuGives) {
  const std::vector<Tensor> expected = GetParam().run(Arguments(kCpu));
  for (const c10::Device device : {kFirst, kSecond}) {
    ExpectSame(GetParam().run(Arguments(device)), expected, device);
  }
}

TEST_P(FakeDeviceProgramTest, GivesWhatTheCpuGivesInInferenceMode) {
  const c10::InferenceMode inference;
  ExpectSame(GetParam().run(Arguments(kSecond)), GetParam().run(Arguments(kCpu)), kSecond);
}

TEST_P(FakeDeviceProgramTest, GivesTheGradientsThatTheCpuGives) {
  const auto gradients = [](c10::Device device) {
    std::vector<Tensor> arguments = Arguments(device);
    std::vector<Tensor> wanted;
    for (Tensor& tensor : arguments) {
      if (tensor.is_floating_point()) wanted.push_back(tensor.requires_grad_());
    }
    Tensor loss = at::zeros({}, at::TensorOptions(device));
    for (const Tensor& result : GetParam().run(arguments)) {
      if (result.requires_grad()) {
        loss = loss + result.to(at::kFloat).nan_to_num(0, 0, 0).square().sum();
      }
    }
    std::vector<Tensor> found;
    if (!loss.requires_grad()) return found;
    for (const Tensor& g :
         torch::autograd::grad({loss}, wanted, {}, {}, /*create_graph=*/false, true)) {
      found.push_back(g.defined() ? g : at::zeros({}, at::TensorOptions(device)));
    }
    return found;
  };
  ExpectSame(gradients(kSecond), gradients(kCpu), kSecond);
}

INSTANTIATE_TEST_SUITE_P(All, FakeDeviceProgramTest, ::testing::ValuesIn(Programs()),
                         [](const auto& info) { return info.param.name; });

class FakeDeviceTest : public ::testing::Test {
 protected:
  FakeDeviceTest() { RegisterFakeDevices(2); }
};

/// The message of the c10::Error of `action`.
std::string Refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "no error";
}

TEST_F(FakeDeviceTest, IsTheAccelerator) {
  RegisterFakeDevices(2);
  EXPECT_THAT(Refusal([] { RegisterFakeDevices(3); }), HasSubstr("has 2 fake devices"));
  EXPECT_EQ(c10::Device("fake:1"), kSecond);
  EXPECT_EQ(kSecond.str(), "fake:1");
  EXPECT_EQ(at::accelerator::deviceCount(), 2);
  EXPECT_EQ(at::getAccelerator(), c10::DeviceType::PrivateUse1);
  EXPECT_EQ(at::ones({1}, at::TensorOptions(c10::Device("fake"))).device(), kFirst);
  {
    const c10::DeviceGuard guard(kSecond);
    EXPECT_EQ(at::ones({1}, at::TensorOptions(c10::Device("fake"))).device(), kSecond);
    at::accelerator::synchronizeDevice(1);
  }
  EXPECT_EQ(at::accelerator::getDeviceIndex(), 0);
  EXPECT_THAT(Refusal([] { at::ones({1}, at::TensorOptions(c10::Device("fake:2"))); }),
              HasSubstr("there is no device fake:2"));
  c10::Event event(c10::DeviceType::PrivateUse1);
  event.record(c10::Stream(c10::Stream::DEFAULT, kFirst));
  event.synchronize();
}

TEST_F(FakeDeviceTest, CopiesBetweenAllDevices) {
  const Tensor original = at::randn({3, 4}) * 10;
  for (const c10::Device from : {kCpu, kFirst, kSecond}) {
    for (const c10::Device to : {kCpu, kFirst, kSecond}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kLong, at::kBool}) {
        const Tensor source = original.to(from);
        EXPECT_EQ(source.device(), from);
        const Tensor moved = source.to(to, dtype, /*non_blocking=*/true);
        EXPECT_EQ(moved.device(), to);
        EXPECT_TRUE(at::equal(moved.cpu(), original.to(dtype)));
        Tensor target = at::zeros({4, 3}, at::TensorOptions(to).dtype(dtype)).t();
        target.copy_(source, /*non_blocking=*/true);
        EXPECT_TRUE(at::equal(target.cpu(), original.to(dtype)));
        target.copy_(source[0]);
        EXPECT_TRUE(at::equal(target.cpu(), original[0].to(dtype).expand({3, 4})));
      }
    }
  }
}

TEST_F(FakeDeviceTest, CopiesFromAndToPinnedMemory) {
  const Tensor pinned = at::randn({5}).pin_memory();
  EXPECT_TRUE(pinned.is_pinned());
  EXPECT_TRUE(pinned.narrow(0, 1, 2).is_pinned());
  EXPECT_FALSE(at::ones({5}).is_pinned());
  const Tensor moved = pinned.to(kSecond, at::kFloat, /*non_blocking=*/true);
  EXPECT_FALSE(moved.is_pinned());
  Tensor back = at::empty({5}, at::TensorOptions().pinned_memory(true));
  EXPECT_TRUE(back.is_pinned());
  back.copy_(moved, /*non_blocking=*/true);
  EXPECT_TRUE(at::equal(back, pinned));
}

TEST_F(FakeDeviceTest, ViewsShareMemory) {
  Tensor base = at::zeros({4, 4}, at::TensorOptions(kSecond));
  for (const Tensor& view :
       {base.view({16}), base.t(), base.narrow(0, 1, 2), base.as_strided({4}, {5}),
        base.unflatten(1, {2, 2}), base.split(2)[1], base.unfold(0, 2, 2), base.detach(),
        base.alias(), base.expand({2, 4, 4})}) {
    EXPECT_TRUE(view.is_alias_of(base));
    EXPECT_EQ(view.storage().unsafeGetStorageImpl(), base.storage().unsafeGetStorageImpl());
  }
  base.view({16}).narrow(0, 5, 1).fill_(2.0);
  base.t()[3].add_(1.0);
  EXPECT_EQ(base[1][1].item<float>(), 2.0);
  EXPECT_EQ(base.sum().item<float>(), 6.0);
  EXPECT_TRUE(base.add_(1.0).is_same(base));
  EXPECT_TRUE(base.contiguous().is_same(base));
  EXPECT_FALSE(base.clone().is_alias_of(base));
}

TEST_F(FakeDeviceTest, TensorsFromOutsideServeInInferenceMode) {
  const at::TensorOptions on(kSecond);
  const Tensor weight = at::ones({4, 4}, on).requires_grad_();
  const c10::InferenceMode inference;
  const Tensor view = weight.t().narrow(0, 1, 2);
  EXPECT_FALSE(view.is_inference());
  EXPECT_TRUE(view.is_alias_of(weight));
  const Tensor y = at::linear(at::ones({2, 4}, on), weight);
  EXPECT_TRUE(y.is_inference());
  EXPECT_TRUE(y.view({8}).is_inference());
  EXPECT_EQ(y.sum().item<float>(), 32.0);
}

TEST_F(FakeDeviceTest, ParametersMoveInPlace) {
  for (const bool inference : {false, true}) {
    const c10::InferenceMode mode(inference);
    Tensor parameter = at::ones({2, 3}).requires_grad_(!inference);
    for (const c10::Device device : {kFirst, kSecond, kCpu}) {
      parameter.set_data(parameter.detach().to(device, at::kDouble));
      EXPECT_EQ(parameter.device(), device);
      EXPECT_EQ((parameter + at::ones({3}, at::TensorOptions(device))).sum().item<double>(), 12.0);
    }
  }
}

TEST_F(FakeDeviceTest, RefusesTensorsOfTwoDevices) {
  const Tensor first = at::ones({2, 2}, at::TensorOptions(kFirst));
  const Tensor second = first.to(kSecond);
  const Tensor host = first.cpu();
  const Tensor tokens = at::zeros({2}, at::kLong);
  const auto two = [](const std::string& a, const std::string& b) {
    return HasSubstr(
        "Expected all tensors to be on the same device, but found at least two devices, " + a +
        " and " + b + "!");
  };
  for (const bool inference : {false, true}) {
    const c10::InferenceMode mode(inference);
    EXPECT_THAT(Refusal([&] { first + host; }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { host + first; }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { host + first.sum(); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { first + second; }), two("fake:0", "fake:1"));
    EXPECT_THAT(Refusal([&] { first + second.sum(); }), two("fake:0", "fake:1"));
    EXPECT_THAT(Refusal([&] { at::linear(second, host); }), two("fake:1", "cpu"));
    EXPECT_THAT(Refusal([&] { at::matmul(first, second); }), two("fake:0", "fake:1"));
    EXPECT_THAT(Refusal([&] { at::cat({first, host}); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { at::embedding(first, tokens); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { first.index({tokens.to(kSecond)}); }), two("fake:0", "fake:1"));
    EXPECT_THAT(Refusal([&] { host.index({tokens.to(kFirst)}); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { first.clone().index_put_({tokens}, host); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { at::where(first > 0, first, host); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { host.clone().add_(first); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { at::ones({}).add_(first.sum()); }), two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] {
                  Tensor out = at::empty({0});
                  at::mm_out(out, first, first);
                }),
                two("fake:0", "cpu"));
    EXPECT_THAT(Refusal([&] { at::native_layer_norm(first, {2}, host[0], {}, 1e-5); }),
                two("fake:0", "cpu"));
    EXPECT_NE(Refusal([&] { at::scaled_dot_product_attention(first, host, host); }), "no error");
  }
}

TEST_F(FakeDeviceTest, TakesNumbersOfTheHostInPointwiseOperatorsOnly) {
  const Tensor x = at::ones({2, 2}, at::TensorOptions(kSecond));
  const Tensor two = at::full({}, 2.0);
  for (const Tensor& result :
       {x * two, two * x, at::where(x > 0, two, x), x.clone().add_(two), x.clone().fill_(two),
        x.clone().copy_(two), at::maximum(x, two), x.pow(two), x.lerp(x, two),
        at::addcmul(x, x, two), x.masked_fill(x > 0, two)}) {
    EXPECT_EQ(result.device(), kSecond);
  }
  EXPECT_TRUE((x < two).all().item<bool>());
  EXPECT_THAT(Refusal([&] { at::addmm(two, x, x); }), HasSubstr("fake:1 and cpu!"));
  EXPECT_THAT(Refusal([&] { at::stack({x.sum(), two}); }), HasSubstr("fake:1 and cpu!"));
}

TEST_F(FakeDeviceTest, DrawsFromGeneratorsOfItsOwnOnly) {
  const at::TensorOptions on(kSecond);
  const auto draw = [](at::Generator generator, c10::Device device) {
    generator.set_current_seed(11);
    const Tensor weights = at::ones({4, 9}, at::TensorOptions(device));
    return at::cat({weights.multinomial(3, true, generator).to(at::kFloat),
                    at::empty({4, 2}, at::TensorOptions(device)).exponential_(1.0, generator),
                    at::rand({4, 2}, generator, at::TensorOptions(device))},
                   1);
  };
  const Tensor expected = draw(at::make_generator<at::CPUGeneratorImpl>(), kCpu);
  const at::Generator own = at::globalContext()
                                .getAcceleratorHooksInterface(kSecond.type())
                                .getNewGenerator(kSecond.index());
  EXPECT_EQ(own.device(), kSecond);
  EXPECT_TRUE(at::equal(draw(own, kSecond).cpu(), expected));
  EXPECT_TRUE(at::equal(draw(own.clone(), kSecond).cpu(), expected));
  at::Generator copy = at::globalContext().defaultGenerator(kSecond).clone();
  copy.set_state(own.get_state());
  EXPECT_TRUE(at::equal(at::rand({3}, copy, on).cpu(), at::rand({3}, own, on).cpu()));
  EXPECT_THAT(Refusal([&] { draw(at::make_generator<at::CPUGeneratorImpl>(), kSecond); }),
              HasSubstr("Expected a 'fake' device type for generator but found 'cpu'"));
}

Tensor OnlyForTheCpu(const Tensor& x) { return x.clone(); }
TORCH_LIBRARY(weft_fake_device_test, library) { library.def("own(Tensor x) -> Tensor"); }
TORCH_LIBRARY_IMPL(weft_fake_device_test, CPU, library) { library.impl("own", &OnlyForTheCpu); }

TEST_F(FakeDeviceTest, HasNoKernelsOfOtherLibraries) {
  const auto own = c10::Dispatcher::singleton()
                       .findSchemaOrThrow("weft_fake_device_test::own", "")
                       .typed<Tensor(const Tensor&)>();
  EXPECT_THAT(Refusal([&] { own.call(at::ones({1}, at::TensorOptions(kFirst))); }),
              HasSubstr("Could not run 'weft_fake_device_test::own'"));
}

TEST_F(FakeDeviceTest, LearnsAcrossDevices) {
  const auto train = [](c10::Device first, c10::Device second) {
    at::manual_seed(5);
    const Tensor x = at::randn({8, 6}).to(first);
    const Tensor in = at::randn({6, 6}).to(first).requires_grad_();
    const Tensor out = at::randn({6, 6}).to(second).requires_grad_();
    Tensor h = at::gelu(at::linear(x, in)).to(second);
    h = at::layer_norm(h, {6}) + h;
    const Tensor heads = at::linear(h, out).view({1, 8, 2, 3}).transpose(1, 2);
    const Tensor y = at::scaled_dot_product_attention(heads, heads, heads, {}, 0.0, true);
    return torch::autograd::grad({y.square().sum()}, {in, out});
  };
  const std::vector<Tensor> expected = train(kCpu, kCpu);
  const std::vector<Tensor> found = train(kFirst, kSecond);
  EXPECT_EQ(found[0].device(), kFirst);
  EXPECT_EQ(found[1].device(), kSecond);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(Close(found[i], expected[i], 1e-5));
}

using FakeDeviceDeathTest = FakeDeviceTest;

TEST_F(FakeDeviceDeathTest, DataIsNotReadOnTheHost) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor x = at::ones({1}, at::TensorOptions(kFirst));
  EXPECT_NE(x.const_data_ptr<float>(), nullptr);
  EXPECT_DEATH(std::printf("%f", *x.const_data_ptr<float>()), "");
}

}  // namespace
}  // namespace weft::testing
