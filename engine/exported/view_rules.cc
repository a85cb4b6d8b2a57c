// Rules of operators that give the elements of their arguments in another shape.

#include <algorithm>
#include <limits>

#include "engine/exported/row_rules.h"

namespace weft::exported {
namespace {

int64_t ProductOf(const std::vector<int64_t>& sizes, int64_t from, int64_t to) {
  int64_t product = 1;
  for (int64_t d = from; d < to; ++d) product *= sizes[d];
  return product;
}

}  // namespace

/// The same elements in the same order in another shape.
std::optional<Rows> Reshaped(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (site.results().size() != 1) return std::nullopt;
  const int64_t dim = site.Growing(site.results()[0]);
  if (!self.rows.any()) return dim == -1 ? std::optional<Rows>(Rows()) : std::nullopt;
  if (dim < 0) return std::nullopt;
  const std::vector<int64_t>& to = site.SizesOf(site.results()[0]);
  const int64_t before = ProductOf(self.sizes, 0, self.rows.dim) * self.rows.outer;
  const int64_t after = ProductOf(self.sizes, self.rows.dim + 1, self.rank()) * self.rows.inner;
  const int64_t new_before = ProductOf(to, 0, dim);
  const int64_t new_after = ProductOf(to, dim + 1, static_cast<int64_t>(to.size()));
  if (new_before == 0 || new_after == 0 || before % new_before != 0 || after % new_after != 0) {
    return std::nullopt;
  }
  const Rows rows{dim, before / new_before, after / new_after};
  if (rows.outer * site.batch() * rows.inner != to[dim]) return std::nullopt;
  return rows;
}

std::optional<Rows> Selected(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims || (*dims)[0] == self.rows.dim) return std::nullopt;
  Rows rows = self.rows;
  rows.dim -= (*dims)[0] < rows.dim ? 1 : 0;
  return rows;
}

std::optional<Rows> Sliced(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims) return std::nullopt;
  if ((*dims)[0] != self.rows.dim) return self.rows;
  // All of them: `x[:, 0]` begins so.
  const auto start = site.Constant("start"), end = site.Constant("end"),
             step = site.Constant("step");
  if (!start || !end || !step) return std::nullopt;
  const bool all =
      (start->isNone() || (start->isInt() && start->toInt() == 0)) &&
      (end->isNone() || (end->isInt() && end->toInt() >= std::numeric_limits<int32_t>::max())) &&
      step->isInt() && step->toInt() == 1;
  return all ? std::optional<Rows>(self.rows) : std::nullopt;
}

std::optional<Rows> Transposed(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto one = site.Dimensions("dim0", self.rank()),
             other = site.Dimensions("dim1", self.rank());
  if (!one || !other) return std::nullopt;
  Rows rows = self.rows;
  if (rows.dim == (*one)[0]) {
    rows.dim = (*other)[0];
  } else if (rows.dim == (*other)[0]) {
    rows.dim = (*one)[0];
  }
  return rows;
}

std::optional<Rows> SwappedTwo(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  Rows rows = self.rows;
  if (self.rank() == 2) rows.dim = 1 - rows.dim;
  return self.rank() <= 2 ? std::optional<Rows>(rows) : std::nullopt;
}

std::optional<Rows> Permuted(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dims", self.rank());
  if (!dims) return std::nullopt;
  const auto at = std::find(dims->begin(), dims->end(), self.rows.dim);
  if (at == dims->end()) return std::nullopt;
  Rows rows = self.rows;
  rows.dim = at - dims->begin();
  return rows;
}

std::optional<Rows> Unsqueezed(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank() + 1);
  if (!dims) return std::nullopt;
  Rows rows = self.rows;
  rows.dim += (*dims)[0] <= rows.dim ? 1 : 0;
  return rows;
}

std::optional<Rows> Squeezed(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims) return std::nullopt;
  Rows rows = self.rows;
  for (const int64_t dim : *dims) {
    if (dim == self.rows.dim) return std::nullopt;
    if (self.sizes[dim] == 1 && dim < self.rows.dim) --rows.dim;
  }
  return rows;
}

/// What has no rows may become the same for each.
std::optional<Rows> Expanded(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  const std::vector<int64_t>& sizes = site.SizesOf(site.results()[0]);
  const int64_t dim = site.Growing(site.results()[0]);
  if (dim == -2) return std::nullopt;
  if (!self.rows.any()) {
    if (dim < 0) return Rows();
    return Rows{dim, 1, sizes[dim] / site.batch()};
  }
  Rows rows = self.rows;
  rows.dim += static_cast<int64_t>(sizes.size()) - self.rank();
  return rows.dim == dim ? std::optional<Rows>(rows) : std::nullopt;
}

std::optional<Rows> Joined(const RuleSite& site) {
  const bool stack = site.name() == "aten::stack";
  const RuleSite::Tensor& first = site.self();
  for (const RuleSite::Tensor& tensor : site.tensors()) {
    if (!(tensor.rows == first.rows) || tensor.rank() != first.rank()) return std::nullopt;
  }
  if (!first.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", first.rank() + (stack ? 1 : 0));
  if (!dims) return std::nullopt;
  Rows rows = first.rows;
  if (stack) {
    rows.dim += (*dims)[0] <= rows.dim ? 1 : 0;
    return rows;
  }
  return (*dims)[0] == rows.dim ? std::nullopt : std::optional<Rows>(rows);
}

std::optional<Rows> Padded(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  const auto pad = site.Constant("pad");
  if (!self.rows.any()) return Rows();
  if (!pad || !pad->isIntList()) return std::nullopt;
  const auto touched = static_cast<int64_t>(pad->toIntVector().size() / 2);
  return self.rows.dim < self.rank() - touched ? std::optional<Rows>(self.rows) : std::nullopt;
}

/// `select_scatter`, `slice_scatter`: a part of each row is replaced.
std::optional<Rows> Scattered(const RuleSite& site) {
  if (site.tensors().size() != 2) return std::nullopt;
  const RuleSite::Tensor &self = site.self(), &source = site.tensors()[1];
  if (!self.rows.any() || !source.rows.any()) return std::nullopt;
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims) return std::nullopt;
  Rows expected = self.rows;
  if (site.name() == "aten::select_scatter") {
    if ((*dims)[0] == self.rows.dim) return std::nullopt;
    expected.dim -= (*dims)[0] < self.rows.dim ? 1 : 0;
  } else if ((*dims)[0] == self.rows.dim && !Sliced(site)) {
    return std::nullopt;
  }
  return source.rows == expected ? std::optional<Rows>(self.rows) : std::nullopt;
}

std::optional<Rows> Triangular(const RuleSite& site) {
  const RuleSite::Tensor& self = site.self();
  if (!self.rows.any()) return Rows();
  return self.rows.dim < self.rank() - 2 ? std::optional<Rows>(self.rows) : std::nullopt;
}

}  // namespace weft::exported
