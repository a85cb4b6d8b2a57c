#include "engine/plan/operators.h"

#include <ATen/ATen.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/core/enum_tag.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/plan/operator_samples.h"

namespace weft::plan {
namespace {

using ::testing::HasSubstr;

/// A value with its tensors replaced by what `change` makes of them.
template <typename Change>
c10::IValue Map(const c10::IValue& value, Change change) {
  if (value.isTensor()) return value.toTensor().defined() ? change(value.toTensor()) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    return list;
  }
  if (value.isList() && value.toListRef().size() > 0 &&
      std::any_of(value.toListRef().begin(), value.toListRef().end(),
                  [](const c10::IValue& item) { return item.isTensor(); })) {
    c10::List<std::optional<at::Tensor>> list;
    for (const c10::IValue& item : value.toListRef()) {
      list.push_back(item.isTensor() ? std::optional(change(item.toTensor())) : std::nullopt);
    }
    return list;
  }
  return value;
}

template <typename Change>
c10::Stack MapAll(const c10::Stack& stack, Change change) {
  c10::Stack mapped;
  for (const c10::IValue& value : stack) mapped.push_back(Map(value, change));
  return mapped;
}

at::Tensor ToMeta(const at::Tensor& tensor) {
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
  return at::empty_strided(tensor.sizes(), tensor.strides(),
                           at::device(at::kMeta).dtype(tensor.scalar_type()));
}

void Collect(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
  if (value.isTensor() && value.toTensor().defined()) tensors.push_back(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) tensors.push_back(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) Collect(item, tensors);
  } else if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) Collect(item, tensors);
  }
}

std::vector<at::Tensor> TensorsOf(const c10::IValue& value) {
  std::vector<at::Tensor> tensors;
  Collect(value, tensors);
  return tensors;
}

std::vector<at::Tensor> TensorsOf(const c10::Stack& stack) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : stack) Collect(value, tensors);
  return tensors;
}

const void* StorageOf(const at::Tensor& tensor) { return tensor.storage().unsafeGetStorageImpl(); }

std::string Describe(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.scalar_type() << tensor.sizes();
  return text.str();
}

struct DTypeCase {
  at::ScalarType dtype;
  uint8_t bit;
};
constexpr DTypeCase kDTypes[] = {{at::kBool, kBools},
                                 {at::kLong, kInts},
                                 {at::kFloat, kWideFloats},
                                 {at::kBFloat16, kShortFloats}};

bool TakesTensors(const OperatorRow& row) {
  return std::any_of(row.schema().arguments().begin(), row.schema().arguments().end(),
                     [](const c10::Argument& argument) {
                       return absl::StrContains(argument.real_type()->str(), "Tensor");
                     });
}

class RowTest : public testing::TestWithParam<const OperatorRow*> {
 protected:
  const OperatorRow& row() const { return *GetParam(); }

  /// Call `check` with every sample, bound; and once for each dtype that must be refused.
  template <typename Check>
  void ForEachCall(Check check) {
    for (const DTypeCase& dtype : kDTypes) {
      for (const bool transposed : {false, true}) {
        const auto samples = SamplesOf(row(), {dtype.dtype, transposed});
        ASSERT_FALSE(samples.empty()) << "no sample for " << row().schema();
        for (const std::vector<CallArgument>& sample : samples) {
          const auto call = ResolveCall(row().qualified(), sample);
          SCOPED_TRACE(absl::StrCat(c10::toString(dtype.dtype), transposed ? " transposed" : "",
                                    " sample ", &sample - samples.data()));
          if (TakesTensors(row()) && (row().dtypes & dtype.bit) == 0) {
            EXPECT_EQ(call.status().code(), absl::StatusCode::kInvalidArgument);
            EXPECT_THAT(std::string(call.status().message()), HasSubstr("tensors, not"));
            continue;
          }
          ASSERT_TRUE(call.ok()) << call.status();
          check(call->stack);
        }
      }
    }
  }
};

TEST_P(RowTest, MetaAgreesWithReal) {
  ForEachCall([&](const c10::Stack& stack) {
    const c10::Stack copy = MapAll(stack, [](const at::Tensor& t) { return t.clone(); });
    const auto meta = RunMeta(row(), MapAll(copy, ToMeta));
    const auto real = RunReal(row(), copy);
    ASSERT_TRUE(real.ok()) << "real: " << real.status();
    ASSERT_TRUE(meta.ok()) << "meta: " << meta.status();
    EXPECT_EQ(real->tagKind(), meta->tagKind());
    const std::vector<at::Tensor> expected = TensorsOf(*real);
    const std::vector<at::Tensor> actual = TensorsOf(*meta);
    ASSERT_EQ(expected.size(), actual.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(Describe(actual[i]), Describe(expected[i]));
      EXPECT_TRUE(actual[i].is_meta());
    }
  });
}

TEST_P(RowTest, MakesWhatItDeclares) {
  if (row().in_place()) GTEST_SKIP();
  ForEachCall([&](const c10::Stack& stack) {
    const auto real = RunReal(row(), stack);
    if (!real.ok()) return;
    std::set<const void*> inputs;
    for (const at::Tensor& tensor : TensorsOf(stack)) inputs.insert(StorageOf(tensor));
    for (const at::Tensor& result : TensorsOf(*real)) {
      switch (row().makes) {
        case Makes::kFresh:
          EXPECT_EQ(inputs.count(StorageOf(result)), 0u) << "a result shares its input's memory";
          break;
        case Makes::kView:
          EXPECT_EQ(StorageOf(result), StorageOf(stack[0].toTensor()));
          EXPECT_TRUE(result.is_non_overlapping_and_dense() ||
                      at::has_internal_overlap(result) != at::MemOverlap::Yes)
              << result.strides();
          break;
        case Makes::kOverlappingView:
          EXPECT_EQ(StorageOf(result), StorageOf(stack[0].toTensor()));
          break;
        case Makes::kMaybeView:
          break;
      }
    }
  });
}

TEST_P(RowTest, InPlaceEqualsItsTwin) {
  if (!row().in_place()) GTEST_SKIP();
  ForEachCall([&](const c10::Stack& stack) {
    const auto fresh = RunReal(*row().fresh, stack);
    const auto in_place =
        RunReal(row(), MapAll(stack, [](const at::Tensor& t) { return t.clone(); }));
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    if (!in_place.ok()) return;
    const at::Tensor& actual = in_place->toTensor();
    const at::Tensor expected = fresh->toTensor().to(actual.scalar_type());
    EXPECT_EQ(Describe(actual), Describe(stack[0].toTensor()));
    EXPECT_TRUE(at::allclose(actual.to(at::kDouble), expected.to(at::kDouble), 1e-6, 1e-6,
                             /*equal_nan=*/true))
        << actual << expected;
  });
}

std::string NameOf(const testing::TestParamInfo<const OperatorRow*>& info) {
  std::string name = info.param->qualified().substr(std::string("aten::").size());
  // A test's name may not hold a dot, and none may end up twice.
  std::replace(name.begin(), name.end(), '.', '0');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Table, RowTest,
                         testing::ValuesIn(OperatorTable::Get().rows().begin(),
                                           OperatorTable::Get().rows().end()),
                         NameOf);

}  // namespace
}  // namespace weft::plan
