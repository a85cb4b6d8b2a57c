#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/tensor.h>
#include <weft/value.h>

#include <cmath>
#include <limits>
#include <sstream>

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Printed(const Tensor& tensor) {
  std::ostringstream out;
  out << tensor;
  return out.str();
}

TEST(TensorTest, IsMadeFromValues) {
  const Tensor tensor = Tensor::From(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(tensor.dtype(), kFloat32);
  EXPECT_EQ(tensor.numel(), 6);
  EXPECT_EQ(tensor.size(-1), 3);
  EXPECT_EQ(tensor.at<float>({1, -1}), 6.0f);
  EXPECT_THAT(tensor[1].span<float>(), ElementsAre(4, 5, 6));
  EXPECT_THAT(tensor.reshape({3, -1}).shape(), ElementsAre(3, 2));
  EXPECT_EQ(tensor[0].owner(), tensor.owner());
  EXPECT_EQ(tensor.Type(), "float32[2, 3]");
}

TEST(TensorTest, LiteralsHaveTorchsTypes) {
  EXPECT_EQ(tensor(1).dtype(), kInt64);
  EXPECT_EQ(tensor(1.5).dtype(), kFloat32);
  EXPECT_EQ(tensor(true).dtype(), kBool);
  EXPECT_EQ(tensor({1, 2}).dtype(), kInt64);
  EXPECT_EQ(tensor({0.1}, kFloat64).at<double>(0), 0.1);
  EXPECT_THAT(tensor({{1, 2}, {3, 4}}).shape(), ElementsAre(2, 2));
  EXPECT_EQ(tensor(2.5).item(), 2.5);
  EXPECT_EQ(Tensor::From<int64_t>({(int64_t{1} << 53) + 1}).item<int64_t>(),
            (int64_t{1} << 53) + 1);
  const std::complex<float> z(1, 2);
  EXPECT_EQ(Tensor::From<std::complex<float>>({z}).item<std::complex<float>>(), z);
}

TEST(TensorTest, WrapChecksSizesAndAlignment) {
  alignas(8) static const char kBytes[32] = {};
  EXPECT_TRUE(Tensor::Wrap(kFloat32, {2, 4}, nullptr, kBytes, 32).ok());
  EXPECT_FALSE(Tensor::Wrap(kFloat32, {2, 4}, nullptr, kBytes, 31).ok());
  EXPECT_FALSE(Tensor::Wrap(kFloat32, {-2, -4}, nullptr, kBytes, 32).ok());
  EXPECT_FALSE(Tensor::Wrap(kFloat32, {int64_t{1} << 62, 8}, nullptr, kBytes, 32).ok());
  EXPECT_FALSE(Tensor::Wrap(kFloat32, {1}, nullptr, kBytes + 1, 4).ok());
  EXPECT_FALSE(Tensor::Wrap(static_cast<DType>(77), {1}, nullptr, kBytes, 4).ok());
  EXPECT_TRUE(Tensor::Wrap(kFloat32, {0, int64_t{1} << 62, 8}, nullptr, kBytes, 0).ok());
  EXPECT_TRUE(Tensor::Wrap(kFloat32, std::vector<int64_t>(64, 1), nullptr, kBytes, 4).ok());
  EXPECT_FALSE(Tensor::Wrap(kFloat32, std::vector<int64_t>(65, 1), nullptr, kBytes, 4).ok());
}

TEST(TensorTest, MisuseEndsWithItsReason) {
  const Tensor floats = tensor({1.0, 2.0});
  EXPECT_DEATH(floats.span<int64_t>(), "float32\\[2\\] read as int64");
  EXPECT_DEATH(floats.at<float>(2), "index 2 is outside of dimension 0");
  EXPECT_DEATH(floats.item(), "not one element");
  EXPECT_DEATH(Tensor::From(std::vector<float>{1, 2}, {3}), "does not have 8 bytes");
  EXPECT_DEATH(floats.reshape({3}), "does not fit");
  EXPECT_DEATH(tensor({{1, 2}, {3}, {4, 5, 6}}), "a row of 1 elements where the first has 2");
}

TEST(TensorTest, ConvertsAsTorchDoes) {
  EXPECT_THAT(tensor({1.9, -1.9}).ToVector<int64_t>(), ElementsAre(1, -1));
  EXPECT_THAT(tensor({0.0, 0.5}).to(kBool).span<bool>(), ElementsAre(false, true));
  // 2^53 + 1 does not fit a double.
  const int64_t large = (int64_t{1} << 53) + 1;
  EXPECT_EQ(tensor({large}).to(kInt64).at<int64_t>(0), large);
  EXPECT_EQ(tensor({300}).to(kUInt8).at<uint8_t>(0), 44);
}

TEST(TensorTest, HalvesKeepTheirValues) {
  const Tensor exact = tensor({0.0, 1.0, -2.5, 65504.0, 6.103515625e-05, 5.9604644775390625e-08});
  for (DType dtype : {kFloat16, kBFloat16}) {
    const Tensor back = exact.to(dtype).to(kFloat32);
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(back.at<float>(i), exact.at<float>(i));
  }
  EXPECT_TRUE(Identical(exact.to(kFloat16).to(kFloat32), exact));
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor special = tensor({inf, -inf, std::nanf(""), 1e6f});
  for (DType dtype : {kFloat16, kBFloat16}) {
    const Tensor back = special.to(dtype).to(kFloat32);
    EXPECT_EQ(back.at<float>(0), inf);
    EXPECT_EQ(back.at<float>(1), -inf);
    EXPECT_TRUE(std::isnan(back.at<float>(2)));
  }
  EXPECT_EQ(special.to(kFloat16).to(kFloat32).at<float>(3), inf);
  // Ties go to the even neighbour: 1 + 2^-11 lies between 1 and 1 + 2^-10.
  EXPECT_EQ(tensor({1.0 + 0x1p-11}).to(kFloat16).NumberAt(0), 1.0);
  EXPECT_EQ(tensor({1.0 + 3 * 0x1p-11}).to(kFloat16).NumberAt(0), 1.0 + 0x1p-9);
  EXPECT_EQ(tensor({1.0 + 0x1p-8}).to(kBFloat16).NumberAt(0), 1.0);
}

TEST(TensorTest, PrintsAsTorchDoes) {
  EXPECT_EQ(Printed(tensor({{0.1, 2.0}, {-3.0, 4.0}})),
            "tensor([[ 0.1000,  2.0000],\n"
            "        [-3.0000,  4.0000]])");
  EXPECT_EQ(Printed(tensor({1.0, 2.0})), "tensor([1., 2.])");
  EXPECT_EQ(Printed(tensor({1, 20})), "tensor([ 1, 20])");
  EXPECT_EQ(Printed(tensor({true, false})), "tensor([ True, False])");
  EXPECT_EQ(Printed(tensor(1.5)), "tensor(1.5000)");
  EXPECT_EQ(Printed(tensor({1.0}).to(kFloat16)), "tensor([1.], dtype=float16)");
  EXPECT_EQ(Printed(Tensor()), "tensor([], size=[0])");
  EXPECT_EQ(Printed(tensor({1e-6, 1.0})), "tensor([1.0000e-06, 1.0000e+00])");
  const Tensor cube = Tensor::From(std::vector<int64_t>{1, 2, 3, 4}, {2, 1, 2});
  EXPECT_EQ(Printed(cube), "tensor([[[1, 2]],\n\n        [[3, 4]]])");
  const Tensor large = Tensor::From(std::vector<float>(2000, 1.5f), {2, 1000});
  EXPECT_EQ(Printed(large),
            "tensor([[1.5000, 1.5000, 1.5000, ..., 1.5000, 1.5000, 1.5000],\n"
            "        [1.5000, 1.5000, 1.5000, ..., 1.5000, 1.5000, 1.5000]], size=[2, 1000])");
}

TEST(ValueTest, NamesItsStructure) {
  const Value value(
      Value::Dict{{{"logits", Value(tensor({1.0}))},
                   {"rest", Value(Value::Tuple{{Value(), Value(Value::Variant(int64_t{3}))}})}}});
  EXPECT_EQ(value.Type(), "{logits: float32[1], rest: (none, int)}");
  EXPECT_EQ(value.ToString(), "{logits: tensor([1.]), rest: (None, 3)}");
  EXPECT_EQ(value["rest"][1].FindAs<int64_t>()[0], 3);
  EXPECT_EQ(value["logits"].FindAs<std::string>(), nullptr);
  EXPECT_DEATH(value["other"], "key 'other' of");
}

}  // namespace
}  // namespace weft
