// Rules of operators that compute, and the table of all of them.

#include "engine/exported/row_rules.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace weft::exported {
namespace {

using Tensor = RuleSite::Tensor;
using MaybeRows = std::optional<Rows>;

/// Broadcasting: every element of the result comes of the elements at its place.
MaybeRows Elementwise(const RuleSite& site) {
  const auto rank = static_cast<int64_t>(site.SizesOf(site.results()[0]).size());
  MaybeRows rows;
  for (const Tensor& tensor : site.tensors()) {
    if (!tensor.rows.any()) continue;
    Rows own = tensor.rows;
    own.dim += rank - tensor.rank();
    if (!own.any() || (rows && !(*rows == own))) return std::nullopt;
    rows = own;
  }
  if (!rows) return Rows();
  // What has no rows is the same for all of them, and so has no size there.
  for (const Tensor& tensor : site.tensors()) {
    const int64_t dim = rows->dim - (rank - tensor.rank());
    if (!tensor.rows.any() && dim >= 0 && dim < tensor.rank() && tensor.sizes[dim] != 1) {
      return std::nullopt;
    }
  }
  return rows;
}

/// Along the dimensions that an argument names, which are not the rows'; `removed`: they are gone
/// afterwards unless `keepdim`.
MaybeRows Along(const RuleSite& site, const char* argument, bool removed) {
  const Tensor& self = site.self();
  if (site.OthersHaveRows()) return std::nullopt;
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions(argument, self.rank());
  if (!dims || std::count(dims->begin(), dims->end(), self.rows.dim) > 0) return std::nullopt;
  Rows rows = self.rows;
  if (!removed) return rows;
  const auto keep = site.Constant("keepdim");
  if (!keep || !keep->isBool()) return std::nullopt;
  if (keep->toBool()) return rows;
  for (const int64_t dim : *dims) rows.dim -= dim < self.rows.dim ? 1 : 0;
  return rows;
}
MaybeRows AlongDim(const RuleSite& site) { return Along(site, "dim", false); }
MaybeRows AlongDims(const RuleSite& site) { return Along(site, "dims", false); }
MaybeRows Reduced(const RuleSite& site) { return Along(site, "dim", true); }

/// The same number everywhere, in a shape that may grow with the rows.
MaybeRows Uniform(const RuleSite& site) {
  const ValueId result = site.results()[0];
  const int64_t dim = site.Growing(result);
  if (dim == -2) return std::nullopt;
  if (dim < 0) return Rows();
  const int64_t size = site.SizesOf(result)[dim];
  if (size % site.batch() != 0) return std::nullopt;
  return Rows{dim, 1, size / site.batch()};
}

/// Numbers that depend on nothing.
MaybeRows Constant(const RuleSite& site) {
  if (site.AnyRows()) return std::nullopt;
  for (const ValueId value : site.results()) {
    if (site.Growing(value) != -1) return std::nullopt;
  }
  return Rows();
}

/// All but the first argument have no rows, and the last dimension is what is computed with.
MaybeRows OnLastDimension(const RuleSite& site) {
  const Tensor& self = site.self();
  if (site.OthersHaveRows()) return std::nullopt;
  if (!self.rows.any()) return Rows();
  return self.rows.dim < self.rank() - 1 ? MaybeRows(self.rows) : std::nullopt;
}

MaybeRows Normalised(const RuleSite& site) {
  const Tensor& self = site.self();
  if (site.OthersHaveRows()) return std::nullopt;
  if (!self.rows.any()) return Rows();
  const auto shape = site.Constant("normalized_shape");
  if (!shape || !shape->isIntList()) return std::nullopt;
  const auto own = static_cast<int64_t>(shape->toIntVector().size());
  return self.rows.dim < self.rank() - own ? MaybeRows(self.rows) : std::nullopt;
}

/// Images, sequences or volumes behind each other: rows are the first dimension.
MaybeRows OverFirst(const RuleSite& site) {
  const Tensor& self = site.self();
  if (site.OthersHaveRows()) return std::nullopt;
  if (!self.rows.any()) return Rows();
  return self.rows.dim == 0 ? MaybeRows(self.rows) : std::nullopt;
}
/// The same, of what may also come without that dimension.
MaybeRows Convolved(const RuleSite& site) {
  const Tensor* weight = site.FindTensor("weight");
  if (weight == nullptr || weight->rank() != site.self().rank()) return std::nullopt;
  return OverFirst(site);
}
MaybeRows Pooled(const RuleSite& site) {
  int64_t own = 0;
  for (const char c : site.name()) {
    if (c >= '1' && c <= '3') own = c - '0';
  }
  return site.self().rank() == own + 2 ? OverFirst(site) : std::nullopt;
}
MaybeRows Shuffled(const RuleSite& site) {
  return site.self().rank() >= 4 ? OverFirst(site) : std::nullopt;
}

MaybeRows Multiplied(const RuleSite& site) {
  if (site.tensors().size() != 2) return std::nullopt;
  const Tensor &x = site.self(), &y = site.tensors()[1];
  if (!x.rows.any() && !y.rows.any()) return Rows();
  const auto leading = [](const Tensor& tensor) { return tensor.rows.dim < tensor.rank() - 2; };
  const int64_t rank = std::max(x.rank(), y.rank());
  if (x.rows.any() && !y.rows.any()) {
    if (x.rank() < 2 || y.rank() < 1 || x.rows.dim == x.rank() - 1) return std::nullopt;
    if (y.rank() <= 2) return x.rows;
    // Batches against batches: what has no rows has one for all.
    const int64_t at = x.rows.dim + y.rank() - x.rank();
    if (!leading(x) || x.rank() < y.rank() || (at >= 0 && y.sizes[at] != 1)) return std::nullopt;
    return x.rows;
  }
  if (y.rank() < 3 || x.rank() < 3 || !leading(y)) return std::nullopt;
  Rows rows = y.rows;
  rows.dim += rank - y.rank();
  if (x.rows.any()) {
    Rows own = x.rows;
    own.dim += rank - x.rank();
    return leading(x) && own == rows ? MaybeRows(rows) : std::nullopt;
  }
  const int64_t at = rows.dim - (rank - x.rank());
  if (at >= 0 && x.sizes[at] != 1) return std::nullopt;
  return rows;
}

/// `addmm`: a bias, and a product of rows with weights.
MaybeRows AddedProduct(const RuleSite& site) {
  const std::vector<Tensor>& tensors = site.tensors();
  if (tensors.size() != 3 || tensors[2].rows.any()) return std::nullopt;
  const Tensor& bias = tensors[0];
  const Rows rows = tensors[1].rows;
  if (!rows.any()) return bias.rows.any() ? std::nullopt : MaybeRows(Rows());
  if (rows.dim != 0) return std::nullopt;
  const bool fits = bias.rows.any() ? bias.rank() == 2 && bias.rows == rows
                                    : bias.rank() < 2 || bias.sizes[0] == 1;
  return fits ? MaybeRows(rows) : std::nullopt;
}

MaybeRows Attended(const RuleSite& site) {
  const Tensor& query = site.self();
  const Tensor* mask = site.FindTensor("attn_mask");
  if (!query.rows.any() || query.rows.dim >= query.rank() - 2) return std::nullopt;
  for (const char* name : {"key", "value"}) {
    const Tensor* other = site.FindTensor(name);
    if (other == nullptr || other->rank() != query.rank() || !(other->rows == query.rows)) {
      return std::nullopt;
    }
  }
  if (mask == nullptr) return query.rows;
  Rows own = mask->rows;
  const int64_t shift = query.rank() - mask->rank();
  if (own.any()) {
    own.dim += shift;
    return own == query.rows ? MaybeRows(query.rows) : std::nullopt;
  }
  const bool apart = query.rows.dim >= shift && mask->sizes[query.rows.dim - shift] != 1;
  return apart ? std::nullopt : MaybeRows(query.rows);
}

MaybeRows Embedded(const RuleSite& site) {
  const Tensor* indices = site.FindTensor("indices");
  if (indices == nullptr || site.self().rows.any()) return std::nullopt;
  return indices->rows;
}

struct Group {
  const char* names;
  RowRule rule;
};

const std::vector<Group>& Groups() {
  static const auto* const kGroups = new std::vector<Group>{
      {"add sub mul div true_divide rsub pow neg abs square sqrt rsqrt reciprocal exp exp2 expm1 "
       "log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh erf erfc sigmoid sign "
       "floor ceil round trunc frac clamp clamp_min clamp_max maximum minimum lerp addcmul "
       "addcdiv nan_to_num remainder fmod floor_divide atan2 relu relu6 leaky_relu hardtanh "
       "hardswish hardsigmoid gelu silu mish elu selu celu softplus log_sigmoid threshold "
       "hardshrink softshrink eq ne lt le gt ge isnan isinf isfinite logical_and logical_or "
       "logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor where masked_fill "
       "to _to_copy type_as clone copy contiguous dropout feature_dropout alpha_dropout "
       "lift_fresh_copy detach detach_ alias zeros_like ones_like full_like fill zero",
       {.find = Elementwise, .self = false}},
      {"view reshape _unsafe_view flatten unflatten ravel",
       {.find = Reshaped, .takes_shape = true}},
      {"softmax log_softmax _softmax _log_softmax cumsum cumprod logcumsumexp sort argsort topk "
       "index_select split split_with_sizes chunk narrow glu",
       {.find = AlongDim}},
      {"flip roll", {.find = AlongDims}},
      {"sum mean amax amin any all max min argmax argmin std var logsumexp prod nansum "
       "var_mean std_mean linalg_vector_norm",
       {.find = Reduced}},
      {"select unbind", {.find = Selected}},
      {"slice", {.find = Sliced}},
      {"transpose swapaxes", {.find = Transposed}},
      {"t numpy_T", {.find = SwappedTwo}},
      {"permute", {.find = Permuted}},
      {"unsqueeze", {.find = Unsqueezed}},
      {"squeeze", {.find = Squeezed}},
      {"expand", {.find = Expanded, .takes_shape = true}},
      {"zeros ones full new_zeros new_ones new_full",
       {.find = Uniform, .self = false, .takes_shape = true}},
      {"arange eye linspace scalar_tensor tril_indices triu_indices",
       {.find = Constant, .self = false}},
      {"cat stack", {.find = Joined}},
      {"linear", {.find = OnLastDimension}},
      {"layer_norm native_layer_norm rms_norm", {.find = Normalised}},
      {"batch_norm _native_batch_norm_legit_no_training group_norm native_group_norm "
       "instance_norm",
       {.find = OverFirst}},
      {"pixel_shuffle pixel_unshuffle channel_shuffle", {.find = Shuffled}},
      {"conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
       {.find = Convolved}},
      {"max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
       "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
       "max_pool1d_with_indices max_pool2d_with_indices _adaptive_avg_pool2d "
       "_adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_bilinear2d "
       "upsample_bicubic2d",
       {.find = Pooled}},
      {"matmul mm bmm", {.find = Multiplied}},
      {"addmm", {.find = AddedProduct}},
      {"scaled_dot_product_attention", {.find = Attended}},
      {"embedding", {.find = Embedded}},
      {"constant_pad_nd", {.find = Padded}},
      {"select_scatter slice_scatter", {.find = Scattered}},
      {"tril triu", {.find = Triangular}},
  };
  return *kGroups;
}

}  // namespace

const RowRule* FindRowRule(const std::string& name) {
  static const auto* const kRules = [] {
    auto* rules = new absl::flat_hash_map<std::string, RowRule>();
    for (const Group& group : Groups()) {
      for (const auto& one : absl::StrSplit(group.names, ' ', absl::SkipEmpty())) {
        rules->emplace(absl::StrCat("aten::", one), group.rule);
      }
    }
    return rules;
  }();
  const auto found = kRules->find(name);
  return found == kRules->end() ? nullptr : &found->second;
}

}  // namespace weft::exported
