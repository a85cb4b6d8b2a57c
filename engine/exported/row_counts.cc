#include "engine/exported/row_counts.h"

#include <utility>

namespace weft::exported {
namespace {

MaybeRowForm Sum(const RowForm& a, const RowForm& b, int64_t sign) {
  RowForm scaled, sum;
  const bool overflow = __builtin_mul_overflow(b.constant, sign, &scaled.constant) ||
                        __builtin_mul_overflow(b.rows, sign, &scaled.rows) ||
                        __builtin_add_overflow(a.constant, scaled.constant, &sum.constant) ||
                        __builtin_add_overflow(a.rows, scaled.rows, &sum.rows);
  return overflow ? MaybeRowForm() : sum;
}

MaybeRowForm Product(RowForm a, RowForm b) {
  if (a.depends()) std::swap(a, b);
  if (a.depends()) return {};
  RowForm product;
  const bool overflow = __builtin_mul_overflow(a.constant, b.constant, &product.constant) ||
                        __builtin_mul_overflow(a.constant, b.rows, &product.rows);
  return overflow ? MaybeRowForm() : product;
}

/// Where it comes out even for any number of rows.
MaybeRowForm Quotient(const RowForm& a, const RowForm& b) {
  if (!b.depends()) {
    if (b.constant <= 0 || a.constant % b.constant != 0 || a.rows % b.constant != 0) return {};
    return RowForm{a.constant / b.constant, a.rows / b.constant};
  }
  // So many times the same.
  if (a.rows % b.rows != 0 || b.rows == -1) return {};
  const int64_t times = a.rows / b.rows;
  const MaybeRowForm product = Product(b, RowForm::Of(times));
  return product && *product == a ? RowForm::Of(times) : MaybeRowForm();
}

}  // namespace

MaybeRowForm Compute(SizeOperator op, const std::vector<MaybeRowForm>& arguments) {
  bool depends = false;
  for (const MaybeRowForm& argument : arguments) {
    if (!argument) return {};
    depends |= argument->depends();
  }
  const size_t needed = op == SizeOperator::kNegate || op == SizeOperator::kNot ? 1 : 2;
  if (arguments.size() < needed) return {};
  if (!depends) {
    if (op == SizeOperator::kSize || op == SizeOperator::kNumel) return {};
    c10::Stack numbers;
    for (const MaybeRowForm& argument : arguments) numbers.emplace_back(argument->constant);
    const absl::StatusOr<c10::IValue> result = ComputeSize(op, numbers);
    if (!result.ok()) return {};
    return RowForm::Of(result->isBool() ? (result->toBool() ? 1 : 0) : result->toInt());
  }
  const RowForm& a = *arguments[0];
  switch (op) {
    case SizeOperator::kAdd:
      return Sum(a, *arguments[1], 1);
    case SizeOperator::kSubtract:
      return Sum(a, *arguments[1], -1);
    case SizeOperator::kNegate:
      return Product(a, RowForm::Of(-1));
    case SizeOperator::kMultiply:
      return Product(a, *arguments[1]);
    case SizeOperator::kFloorDivide:
      return Quotient(a, *arguments[1]);
    default:
      return {};
  }
}

}  // namespace weft::exported
