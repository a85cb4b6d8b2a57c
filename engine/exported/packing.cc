#include "engine/exported/packing.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace weft::exported {
namespace {

/// Where rows lie: dimension `dim` counts `outer` x rows x `inner`. Without a dimension there are
/// none: the value is the same for every prompt.
struct Rows {
  int64_t dim = -1;
  int64_t outer = 1, inner = 1;
  bool any() const { return dim >= 0; }
  bool operator==(const Rows& other) const {
    return dim == other.dim && outer == other.outer && inner == other.inner;
  }
};

/// An operator of one node while its rule is asked.
class Site {
 public:
  Site(const Graph& graph, const BoundNode& node, const Samples& a, const Samples& b,
       const std::vector<Rows>& rows)
      : graph_(graph), node_(node), a_(a), b_(b), rows_(rows) {}

  struct Tensor {
    int argument = 0;
    ValueId value = kNoValue;
    Rows rows;
    std::vector<int64_t> sizes;
    int64_t rank() const { return static_cast<int64_t>(sizes.size()); }
  };

  /// Tensors among the arguments, those of lists one by one, in order.
  const std::vector<Tensor>& tensors() {
    if (!listed_) {
      listed_ = true;
      for (const BoundNode::Fill& fill : node_.fills) AddTensors(fill.argument, fill.from);
      std::stable_sort(tensors_.begin(), tensors_.end(),
                       [](const Tensor& x, const Tensor& y) { return x.argument < y.argument; });
    }
    return tensors_;
  }
  const Tensor* FindTensor(const char* name) {
    const int at = PlaceOf(name);
    for (const Tensor& tensor : tensors()) {
      if (tensor.argument == at) return &tensor;
    }
    return nullptr;
  }

  int PlaceOf(const char* name) const {
    return node_.op.handle->schema().argumentIndexWithName(name).value_or(-1);
  }
  /// A constant argument; none where it is computed or there is none of the name.
  c10::IValue Constant(const char* name) const {
    const int at = PlaceOf(name);
    return at < 0 ? c10::IValue() : node_.stack[at];
  }
  /// Dimensions that an argument names, in a tensor of `rank`; nothing if they are not all known.
  std::optional<std::vector<int64_t>> Dimensions(const char* name, int64_t rank) const {
    const int at = PlaceOf(name);
    for (const BoundNode::Fill& fill : node_.fills) {
      if (fill.argument == at) return std::nullopt;
    }
    const c10::IValue value = Constant(name);
    std::vector<int64_t> dims;
    if (value.isInt()) dims = {value.toInt()};
    if (value.isIntList()) dims = value.toIntVector();
    if (dims.empty()) return std::nullopt;
    for (int64_t& dim : dims) {
      if (dim < 0) dim += rank;
      if (dim < 0 || dim >= rank) return std::nullopt;
    }
    return dims;
  }

  /// Whether a number that depends on how many rows there are is an argument, other than a shape.
  bool CountsRows() const {
    for (const BoundNode::Fill& fill : node_.fills) {
      const std::string& name = node_.op.handle->schema().arguments()[fill.argument].name();
      if (name != "size" && name != "shape" && name != "sizes" && Varies(fill.from)) return true;
    }
    return false;
  }
  bool Varies(const Argument& argument) const {
    if (const auto* use = std::get_if<Argument::Use>(&argument.value)) {
      return !graph_.program.values[use->value].tensor &&
             a_.values[use->value].number != b_.values[use->value].number;
    }
    const auto* list = std::get_if<Argument::List>(&argument.value);
    return list != nullptr && std::any_of(list->items.begin(), list->items.end(),
                                          [this](const Argument& item) { return Varies(item); });
  }

  /// The results' values.
  std::vector<ValueId> results() const {
    std::vector<ValueId> values;
    for (const Output& output : graph_.program.nodes[node_.node].outputs) {
      for (const ValueId value : output.values) {
        if (value != kNoValue) values.push_back(value);
      }
    }
    return values;
  }
  const std::vector<int64_t>& SizesOf(ValueId value) const { return a_.values[value].sizes; }
  /// The one dimension that grows with the rows; -1 if none does, -2 if it is not one.
  int64_t Growing(ValueId value) const {
    const std::vector<int64_t>&x = a_.values[value].sizes, &y = b_.values[value].sizes;
    if (x.size() != y.size()) return -2;
    int64_t found = -1;
    for (size_t d = 0; d < x.size(); ++d) {
      if (x[d] == y[d]) continue;
      if (found >= 0) return -2;
      found = static_cast<int64_t>(d);
    }
    return found;
  }
  bool IsEmpty(ValueId value) const {
    const std::vector<int64_t>& sizes = SizesOf(value);
    return Growing(value) == -1 && std::count(sizes.begin(), sizes.end(), 0) > 0;
  }
  int64_t batch() const { return a_.batch; }
  const std::string& name() const { return node_.op.name; }

 private:
  void AddTensors(int argument, const Argument& from) {
    if (const auto* use = std::get_if<Argument::Use>(&from.value)) {
      if (!graph_.program.values[use->value].tensor) return;
      // What the model was exported with is not among the samples.
      const c10::IValue& given = graph_.given[use->value];
      tensors_.push_back(
          {argument, use->value, rows_[use->value],
           given.isTensor() ? given.toTensor().sizes().vec() : a_.values[use->value].sizes});
    }
    if (const auto* list = std::get_if<Argument::List>(&from.value)) {
      for (const Argument& item : list->items) AddTensors(argument, item);
    }
  }

  const Graph& graph_;
  const BoundNode& node_;
  const Samples &a_, &b_;
  const std::vector<Rows>& rows_;
  bool listed_ = false;
  std::vector<Tensor> tensors_;
};

/// The rows of all results; nothing where rows meet, or may.
using Rule = std::optional<Rows> (*)(Site& site);

/// Broadcasting: every element of the result comes of the elements at its place.
std::optional<Rows> Elementwise(Site& site) {
  const std::vector<ValueId> results = site.results();
  if (results.empty()) return std::nullopt;
  const auto rank = static_cast<int64_t>(site.SizesOf(results[0]).size());
  std::optional<Rows> rows;
  for (const Site::Tensor& tensor : site.tensors()) {
    if (!tensor.rows.any()) continue;
    Rows own = tensor.rows;
    own.dim += rank - tensor.rank();
    if (rows && !(*rows == own)) return std::nullopt;
    rows = own;
  }
  if (!rows) return Rows();
  // What has no rows is the same for all of them, and so has no size there.
  for (const Site::Tensor& tensor : site.tensors()) {
    const int64_t dim = rows->dim - (rank - tensor.rank());
    if (!tensor.rows.any() && dim >= 0 && tensor.sizes[dim] != 1) return std::nullopt;
  }
  return rows;
}

/// The same elements in the same order in another shape.
std::optional<Rows> Reshaped(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  const std::vector<ValueId> results = site.results();
  if (results.size() != 1) return std::nullopt;
  const int64_t dim = site.Growing(results[0]);
  if (!self.rows.any()) return dim == -1 ? std::optional<Rows>(Rows()) : std::nullopt;
  if (dim < 0) return std::nullopt;
  const auto product = [](const std::vector<int64_t>& sizes, int64_t from, int64_t to) {
    int64_t all = 1;
    for (int64_t d = from; d < to; ++d) all *= sizes[d];
    return all;
  };
  const std::vector<int64_t>& to = site.SizesOf(results[0]);
  const int64_t before = product(self.sizes, 0, self.rows.dim) * self.rows.outer;
  const int64_t after = product(self.sizes, self.rows.dim + 1, self.rank()) * self.rows.inner;
  const int64_t new_before = product(to, 0, dim);
  const int64_t new_after = product(to, dim + 1, static_cast<int64_t>(to.size()));
  if (new_before == 0 || new_after == 0 || before % new_before != 0 || after % new_after != 0) {
    return std::nullopt;
  }
  const Rows rows{dim, before / new_before, after / new_after};
  if (rows.outer * site.batch() * rows.inner != to[dim]) return std::nullopt;
  return rows;
}

/// Along the dimensions that `dim` names, or `dims`, which are not the rows'; `removed`: they are
/// gone afterwards unless `keepdim`.
std::optional<Rows> Along(Site& site, const char* argument, bool removed) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  const Site::Tensor& self = tensors[0];
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].rows.any()) return std::nullopt;
  }
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions(argument, self.rank());
  if (!dims || std::count(dims->begin(), dims->end(), self.rows.dim) > 0) return std::nullopt;
  Rows rows = self.rows;
  const c10::IValue keep = site.Constant("keepdim");
  if (removed && !(keep.isBool() && keep.toBool())) {
    for (const int64_t dim : *dims) rows.dim -= dim < self.rows.dim ? 1 : 0;
  }
  return rows;
}
std::optional<Rows> AlongDim(Site& site) { return Along(site, "dim", false); }
std::optional<Rows> AlongDims(Site& site) { return Along(site, "dims", false); }
std::optional<Rows> Reduced(Site& site) { return Along(site, "dim", true); }

std::optional<Rows> Selected(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims || (*dims)[0] == self.rows.dim) return std::nullopt;
  Rows rows = self.rows;
  rows.dim -= (*dims)[0] < rows.dim ? 1 : 0;
  return rows;
}

std::optional<Rows> Sliced(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims) return std::nullopt;
  if ((*dims)[0] != self.rows.dim) return self.rows;
  // All of them: `x[:, 0]` begins so.
  const c10::IValue start = site.Constant("start"), end = site.Constant("end"),
                    step = site.Constant("step");
  const bool all =
      (start.isNone() || (start.isInt() && start.toInt() == 0)) &&
      (end.isNone() || (end.isInt() && end.toInt() >= std::numeric_limits<int32_t>::max())) &&
      step.isInt() && step.toInt() == 1;
  return all ? std::optional<Rows>(self.rows) : std::nullopt;
}

std::optional<Rows> Transposed(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
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

std::optional<Rows> SwappedTwo(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  if (!self.rows.any()) return Rows();
  Rows rows = self.rows;
  if (self.rank() == 2) rows.dim = 1 - rows.dim;
  return rows;
}

std::optional<Rows> Permuted(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dims", self.rank());
  if (!dims) return std::nullopt;
  const auto at = std::find(dims->begin(), dims->end(), self.rows.dim);
  if (at == dims->end()) return std::nullopt;
  Rows rows = self.rows;
  rows.dim = at - dims->begin();
  return rows;
}

std::optional<Rows> Unsqueezed(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  if (!self.rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", self.rank() + 1);
  if (!dims) return std::nullopt;
  Rows rows = self.rows;
  rows.dim += (*dims)[0] <= rows.dim ? 1 : 0;
  return rows;
}

std::optional<Rows> Squeezed(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
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
std::optional<Rows> Expanded(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  const std::vector<ValueId> results = site.results();
  const int64_t dim = site.Growing(results[0]);
  if (dim == -2) return std::nullopt;
  const auto rank = static_cast<int64_t>(site.SizesOf(results[0]).size());
  if (!self.rows.any()) {
    if (dim < 0) return Rows();
    return Rows{dim, 1, site.SizesOf(results[0])[dim] / site.batch()};
  }
  Rows rows = self.rows;
  rows.dim += rank - self.rank();
  return rows.dim == dim ? std::optional<Rows>(rows) : std::nullopt;
}

/// The same number everywhere, in a shape that may grow with the rows.
std::optional<Rows> Uniform(Site& site) {
  const std::vector<ValueId> results = site.results();
  const int64_t dim = site.Growing(results[0]);
  if (dim == -2) return std::nullopt;
  if (dim < 0) return Rows();
  const int64_t size = site.SizesOf(results[0])[dim];
  if (size % site.batch() != 0) return std::nullopt;
  return Rows{dim, 1, size / site.batch()};
}

/// Numbers that depend on nothing.
std::optional<Rows> Constant(Site& site) {
  for (const Site::Tensor& tensor : site.tensors()) {
    if (tensor.rows.any()) return std::nullopt;
  }
  for (const ValueId value : site.results()) {
    if (site.Growing(value) != -1) return std::nullopt;
  }
  return Rows();
}

std::optional<Rows> Joined(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  if (tensors.empty()) return std::nullopt;
  const bool stack = site.name() == "aten::stack";
  for (const Site::Tensor& tensor : tensors) {
    if (!(tensor.rows == tensors[0].rows)) return std::nullopt;
  }
  if (!tensors[0].rows.any()) return Rows();
  const auto dims = site.Dimensions("dim", tensors[0].rank() + (stack ? 1 : 0));
  if (!dims) return std::nullopt;
  Rows rows = tensors[0].rows;
  if (stack) {
    rows.dim += (*dims)[0] <= rows.dim ? 1 : 0;
    return rows;
  }
  return (*dims)[0] == rows.dim ? std::nullopt : std::optional<Rows>(rows);
}

/// All but the first argument have no rows, and the last dimension is what is computed with.
std::optional<Rows> OnLastDimension(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].rows.any()) return std::nullopt;
  }
  const Site::Tensor& self = tensors[0];
  if (!self.rows.any()) return Rows();
  return self.rows.dim < self.rank() - 1 ? std::optional<Rows>(self.rows) : std::nullopt;
}

std::optional<Rows> Normalised(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].rows.any()) return std::nullopt;
  }
  const Site::Tensor& self = tensors[0];
  const c10::IValue shape = site.Constant("normalized_shape");
  if (!self.rows.any()) return Rows();
  if (!shape.isIntList()) return std::nullopt;
  const auto own = static_cast<int64_t>(shape.toIntVector().size());
  return self.rows.dim < self.rank() - own ? std::optional<Rows>(self.rows) : std::nullopt;
}

/// Images, sequences or volumes behind each other: rows are the first dimension.
std::optional<Rows> OverFirst(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].rows.any()) return std::nullopt;
  }
  const Site::Tensor& self = tensors[0];
  if (!self.rows.any()) return Rows();
  return self.rows.dim == 0 ? std::optional<Rows>(self.rows) : std::nullopt;
}
/// The same, of what may also come without that dimension.
std::optional<Rows> Convolved(Site& site) {
  const Site::Tensor* weight = site.FindTensor("weight");
  if (weight == nullptr || weight->rank() != site.tensors()[0].rank()) return std::nullopt;
  return OverFirst(site);
}
std::optional<Rows> Pooled(Site& site) {
  int64_t own = 0;
  for (const char c : site.name()) {
    if (c >= '1' && c <= '3') own = c - '0';
  }
  return site.tensors()[0].rank() == own + 2 ? OverFirst(site) : std::nullopt;
}

std::optional<Rows> Multiplied(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  if (tensors.size() != 2) return std::nullopt;
  const Site::Tensor &x = tensors[0], &y = tensors[1];
  if (!x.rows.any() && !y.rows.any()) return Rows();
  const auto leading = [](const Site::Tensor& tensor) {
    return tensor.rows.dim < tensor.rank() - 2;
  };
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
    return leading(x) && own == rows ? std::optional<Rows>(rows) : std::nullopt;
  }
  const int64_t at = rows.dim - (rank - x.rank());
  if (at >= 0 && x.sizes[at] != 1) return std::nullopt;
  return rows;
}

/// `addmm`: a bias, and a product of rows with weights.
std::optional<Rows> AddedProduct(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  if (tensors.size() != 3 || tensors[2].rows.any()) return std::nullopt;
  const Rows rows = tensors[1].rows;
  if (!rows.any()) return tensors[0].rows.any() ? std::nullopt : std::optional<Rows>(Rows());
  if (rows.dim != 0) return std::nullopt;
  const Site::Tensor& bias = tensors[0];
  const bool fits = bias.rows.any() ? bias.rank() == 2 && bias.rows == rows
                                    : bias.rank() < 2 || bias.sizes[0] == 1;
  return fits ? std::optional<Rows>(rows) : std::nullopt;
}

std::optional<Rows> Attended(Site& site) {
  const Site::Tensor* query = site.FindTensor("query");
  const Site::Tensor* mask = site.FindTensor("attn_mask");
  if (query == nullptr || !query->rows.any() || query->rows.dim >= query->rank() - 2) {
    return std::nullopt;
  }
  for (const char* name : {"key", "value"}) {
    const Site::Tensor* other = site.FindTensor(name);
    if (other == nullptr || other->rank() != query->rank() || !(other->rows == query->rows)) {
      return std::nullopt;
    }
  }
  if (mask != nullptr) {
    Rows own = mask->rows;
    const int64_t shift = query->rank() - mask->rank();
    if (own.any()) {
      own.dim += shift;
      if (!(own == query->rows)) return std::nullopt;
    } else if (query->rows.dim >= shift && mask->sizes[query->rows.dim - shift] != 1) {
      return std::nullopt;
    }
  }
  return query->rows;
}

std::optional<Rows> Embedded(Site& site) {
  const Site::Tensor *weight = site.FindTensor("weight"), *indices = site.FindTensor("indices");
  if (weight == nullptr || indices == nullptr || weight->rows.any()) return std::nullopt;
  return indices->rows;
}

std::optional<Rows> Padded(Site& site) {
  const Site::Tensor& self = site.tensors()[0];
  const c10::IValue pad = site.Constant("pad");
  if (!self.rows.any()) return Rows();
  if (!pad.isIntList()) return std::nullopt;
  const auto touched = static_cast<int64_t>(pad.toIntVector().size() / 2);
  return self.rows.dim < self.rank() - touched ? std::optional<Rows>(self.rows) : std::nullopt;
}

/// `select_scatter`, `slice_scatter`: a part of each row is replaced.
std::optional<Rows> Scattered(Site& site) {
  const std::vector<Site::Tensor>& tensors = site.tensors();
  if (tensors.size() != 2) return std::nullopt;
  const Site::Tensor &self = tensors[0], &source = tensors[1];
  if (!self.rows.any()) return std::nullopt;
  const auto dims = site.Dimensions("dim", self.rank());
  if (!dims || !source.rows.any()) return std::nullopt;
  Rows expected = self.rows;
  if (site.name() == "aten::select_scatter") {
    if ((*dims)[0] == self.rows.dim) return std::nullopt;
    expected.dim -= (*dims)[0] < self.rows.dim ? 1 : 0;
  } else if ((*dims)[0] == self.rows.dim && !Sliced(site)) {
    return std::nullopt;
  }
  return source.rows == expected ? std::optional<Rows>(self.rows) : std::nullopt;
}

const absl::flat_hash_map<std::string, Rule>& Rules() {
  static const auto* const kRules = [] {
    struct Group {
      const char* names;
      Rule rule;
    };
    const Group groups[] = {
        {"add sub mul div true_divide rsub pow neg abs square sqrt rsqrt reciprocal exp exp2 expm1 "
         "log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh erf erfc sigmoid sign "
         "floor ceil round trunc frac clamp clamp_min clamp_max maximum minimum lerp addcmul "
         "addcdiv nan_to_num remainder fmod floor_divide atan2 relu relu6 leaky_relu hardtanh "
         "hardswish hardsigmoid gelu silu mish elu selu celu softplus log_sigmoid threshold "
         "hardshrink softshrink eq ne lt le gt ge isnan isinf isfinite logical_and logical_or "
         "logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor where masked_fill "
         "to _to_copy type_as clone copy contiguous dropout feature_dropout alpha_dropout "
         "lift_fresh_copy detach detach_ alias zeros_like ones_like full_like fill zero",
         Elementwise},
        {"view reshape _unsafe_view flatten unflatten ravel", Reshaped},
        {"softmax log_softmax _softmax _log_softmax cumsum cumprod logcumsumexp sort argsort topk "
         "index_select split split_with_sizes chunk narrow glu",
         AlongDim},
        {"flip roll", AlongDims},
        {"sum mean amax amin any all max min argmax argmin std var logsumexp prod nansum "
         "var_mean std_mean linalg_vector_norm",
         Reduced},
        {"select unbind", Selected},
        {"slice", Sliced},
        {"transpose swapaxes", Transposed},
        {"t numpy_T", SwappedTwo},
        {"permute", Permuted},
        {"unsqueeze", Unsqueezed},
        {"squeeze", Squeezed},
        {"expand", Expanded},
        {"zeros ones full new_zeros new_ones new_full", Uniform},
        {"arange eye linspace scalar_tensor tril_indices triu_indices", Constant},
        {"cat stack", Joined},
        {"linear", OnLastDimension},
        {"layer_norm native_layer_norm rms_norm", Normalised},
        {"batch_norm _native_batch_norm_legit_no_training group_norm native_group_norm "
         "instance_norm pixel_shuffle pixel_unshuffle channel_shuffle",
         OverFirst},
        {"conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d",
         Convolved},
        {"max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
         "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
         "max_pool1d_with_indices max_pool2d_with_indices _adaptive_avg_pool2d "
         "_adaptive_avg_pool3d upsample_nearest1d upsample_nearest2d upsample_bilinear2d "
         "upsample_bicubic2d",
         Pooled},
        {"matmul mm bmm", Multiplied},
        {"addmm", AddedProduct},
        {"scaled_dot_product_attention", Attended},
        {"embedding", Embedded},
        {"constant_pad_nd", Padded},
        {"select_scatter slice_scatter", Scattered},
        {"tril triu",
         [](Site& site) -> std::optional<Rows> {
           const Site::Tensor& self = site.tensors()[0];
           return self.rows.dim < self.rank() - 2 ? std::optional<Rows>(self.rows) : std::nullopt;
         }},
    };
    auto* rules = new absl::flat_hash_map<std::string, Rule>();
    for (const Group& group : groups) {
      for (const auto& name : absl::StrSplit(group.names, ' ', absl::SkipEmpty())) {
        rules->emplace(absl::StrCat("aten::", name), group.rule);
      }
    }
    return rules;
  }();
  return *kRules;
}

/// A result must grow with the rows where the rule says that they lie, and nowhere else.
bool Fits(const Site& site, ValueId value, const Rows& rows) {
  const int64_t growing = site.Growing(value);
  if (!rows.any()) return growing == -1;
  const std::vector<int64_t>& sizes = site.SizesOf(value);
  return growing == rows.dim && sizes[rows.dim] == rows.outer * site.batch() * rows.inner;
}

}  // namespace

std::string FindLayouts(Graph& graph, const Samples& a, const Samples& b) {
  std::vector<Rows> rows(graph.program.values.size());
  for (const ValueId input : graph.user_inputs) rows[input].dim = 0;
  for (const BoundNode& node : graph.nodes) {
    if (node.op.size || node.op.nothing) continue;
    Site site(graph, node, a, b, rows);
    const auto refuse = [&](const char* why) {
      return absl::StrCat("node ", Named(graph.program.nodes[node.node]), ", `", node.op.name,
                          "`: ", why);
    };
    const auto rule = Rules().find(node.op.name);
    const bool none = std::none_of(site.tensors().begin(), site.tensors().end(),
                                   [](const Site::Tensor& tensor) { return tensor.rows.any(); });
    if (site.CountsRows()) return refuse("it computes with the number of rows");
    std::optional<Rows> made;
    if (rule != Rules().end() && (!site.tensors().empty() || rule->second == Uniform)) {
      made = rule->second(site);
    } else if (none) {
      made = Constant(site);
    } else {
      return refuse("nobody knows whether rows meet in it");
    }
    if (!made) return refuse("rows meet in it, or it cannot be told that they do not");
    for (const ValueId value : site.results()) {
      // What an operator makes for going backwards, and does not fill here.
      if (made->any() && site.IsEmpty(value)) continue;
      if (!Fits(site, value, *made)) return refuse("its results do not lie as its arguments do");
      rows[value] = *made;
    }
  }
  graph.layouts.resize(rows.size());
  for (size_t value = 0; value < rows.size(); ++value) {
    const bool cut = rows[value].any() && rows[value].outer == 1;
    graph.layouts[value] = {cut ? rows[value].dim : -1, rows[value].inner};
  }
  return "";
}

}  // namespace weft::exported
