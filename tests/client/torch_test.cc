#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <weft/torch.h>

#include <vector>

namespace weft {
namespace {

using ::testing::ElementsAre;

TEST(TorchTest, SharesBytesBothWays) {
  at::Tensor theirs;
  const void* data = nullptr;
  {
    const Tensor ours = Tensor::From(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
    data = ours.data();
    theirs = ToTorch(ours);
  }
  EXPECT_EQ(theirs.const_data_ptr(), data);
  EXPECT_EQ(theirs.sum().item<float>(), 21);
  EXPECT_THAT(theirs.sizes().vec(), ElementsAre(2, 3));

  absl::StatusOr<Tensor> back = FromTorch(theirs);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->data(), data);
  theirs = at::Tensor();
  EXPECT_EQ(back->at<float>({1, 2}), 6);
}

TEST(TorchTest, CopiesWhatIsNotDense) {
  const at::Tensor transposed = at::arange(6).reshape({2, 3}).t();
  absl::StatusOr<Tensor> tensor = FromTorch(transposed);
  ASSERT_TRUE(tensor.ok());
  EXPECT_THAT(tensor->span<int64_t>(), ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST(TorchTest, ConvertsAsTorchDoes) {
  // Every dtype travels, and the client's own conversions give torch's numbers.
  const at::Tensor floats =
      at::cat({at::linspace(-300, 300, 1001), at::logspace(-30, 30, 500), at::zeros({1})});
  const Tensor ours = FromTorch(floats).value();
  for (DType dtype : {kFloat16, kBFloat16, kFloat64, kComplex64, kComplex128}) {
    const at::Tensor expected = floats.to(ToTorch(dtype));
    EXPECT_TRUE(at::equal(ToTorch(ours.to(dtype)), expected)) << dtype;
    const Tensor back = FromTorch(expected).value();
    EXPECT_EQ(back.dtype(), dtype);
    EXPECT_TRUE(at::equal(ToTorch(back.to(kFloat32)), at::real(expected).to(at::kFloat))) << dtype;
  }
  for (DType dtype : {kInt16, kInt32, kInt64, kBool}) {
    const at::Tensor small = floats.slice(0, 0, 1001);
    EXPECT_TRUE(at::equal(ToTorch(FromTorch(small).value().to(dtype)), small.to(ToTorch(dtype))))
        << dtype;
  }
}

TEST(TorchTest, EmptyTensorsAndScalarsKeepTheirShape) {
  EXPECT_THAT(ToTorch(Tensor()).sizes().vec(), ElementsAre(0));
  EXPECT_EQ(ToTorch(tensor(3)).item<int64_t>(), 3);
  EXPECT_THAT(FromTorch(at::empty({0, 3}))->shape(), ElementsAre(0, 3));
  EXPECT_FALSE(FromTorch(at::empty({1}, at::kFloat8_e4m3fn)).ok());
}

}  // namespace
}  // namespace weft
