#include "tests/plan/operator_samples.h"

#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "tests/plan/operator_recipes.h"

namespace weft::plan {
namespace {

// Each entry is for a name, or for one overload.
const std::map<std::string, Recipe>& Recipes() {
  static const auto* const kRecipes = new std::map<std::string, Recipe>{
      // Arithmetic whose second operand is not like the first.
      {"div.Tensor_mode",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({3})}, {{"rounding_mode", "floor"}}),
                 Call({f({2, 3}), f({3})}, {{"rounding_mode", "trunc"}})};
       }},
      {"div.Scalar_mode",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 3}, {{"rounding_mode", "floor"}}),
                 Call({f({2, 3}), 2}, {{"rounding_mode", "trunc"}})};
       }},
      {"round.decimals",
       [](const Maker& f) -> Samples { return {Call({f({2, 3})}, {{"decimals", Int(1)}})}; }},
      {"clamp",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 0, 2}), Call({f({2, 3})}, {{"max", 2}})};
       }},
      {"clamp.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({3})}), Call({f({2, 3}), None(), f({2, 1})})};
       }},
      {"clip",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 0, 2}), Call({f({2, 3})}, {{"max", 2}})};
       }},
      {"clip.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({3})}), Call({f({2, 3}), None(), f({2, 1})})};
       }},
      {"where.self",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Float({2, 3}), f.Float({3})}),
                 Call({f({2, 1}), f.Make({3}, at::kLong), f.Float({2, 3})}),
                 Call({f({2, 1}), f.Make({}, at::kDouble), f.Make({2, 3}, at::kFloat)})};
       }},
      {"where.ScalarSelf",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 0.5, f.Float({3})}), Call({f({2}), 1, f.Make({2}, at::kLong)})};
       }},
      {"where.ScalarOther",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Float({3}), 0.5}), Call({f({2}), f.Make({2}, at::kLong), 1.5})};
       }},
      {"where.Scalar", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1.5, 2})}; }},
      {"lerp.Tensor",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({3}), f({2, 1})})}; }},

      // Reductions.
      {"sum",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3})}, {{"dtype", Int(int64_t(at::kDouble))}})};
       }},
      {"mean.dim",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({-1})}), Call({f({2, 3, 4}), Ints({0, 1}), true}),
                 Call({f({2, 3}), None()})};
       }},
      {"sum.dim_IntList",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1}), Call({f({2, 3, 4}), Ints({0, 2}), true}),
                 Call({f({2, 3}), None()})};
       }},
      {"amax", [](const Maker& f) -> Samples { return {Call({f({2, 3}), Ints({0}), true})}; }},
      {"amin", [](const Maker& f) -> Samples { return {Call({f({2, 3}), Ints({0, 1})})}; }},
      {"aminmax",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3})}, {{"dim", Int(1)}, {"keepdim", true}})};
       }},
      {"argmax",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3}), -1}), Call({f({2, 3}), 0, true})};
       }},
      {"argmin",
       [](const Maker& f) -> Samples { return {Call({f({2, 3})}), Call({f({2, 3}), -1, true})}; }},
      {"any.dims",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Ints({0, 2})}), Call({f({2, 3}), None(), true})};
       }},
      {"all.dims",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Ints({0, 2}), true}), Call({f({2, 3}), Ints({1})})};
       }},
      {"nansum", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, true})}; }},
      {"nanmean", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, true})}; }},
      {"count_nonzero",
       [](const Maker& f) -> Samples { return {Call({f({2, 3})}), Call({f({2, 3}), 1})}; }},
      {"count_nonzero.dim_IntList",
       [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), Ints({0, 2})})}; }},
      {"std.dim", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, false, true})}; }},
      {"var.dim", [](const Maker& f) -> Samples { return {Call({f({2, 3}), Ints({0, 1})})}; }},
      {"var_mean.dim", [](const Maker& f) -> Samples { return {Call({f({2, 3}), -1})}; }},
      {"std.correction",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3, 4}), Ints({0, -1})}, {{"correction", 0}}),
                 Call({f({2, 3}), 1}, {{"keepdim", true}})};
       }},
      {"var.correction",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3, 4}), Ints({0, -1})}, {{"correction", 0}})};
       }},
      {"var_mean.correction",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3, 4}), Ints({0})}, {{"keepdim", true}})};
       }},
      {"norm.ScalarOpt_dim",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), 2, Ints({1}), true})}; }},
      {"linalg_vector_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3}), 1.0, Ints({1}), true})};
       }},
      {"logsumexp",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), -1}), Call({f({2, 3, 4}), Ints({0, 1}), true})};
       }},
      {"topk",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), 3}), Call({f({5, 2}), 2, 0, false})};
       }},
      {"kthvalue",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), 3}), Call({f({5, 2}), 2, 0, true})};
       }},
      {"sort.stable",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5})}, {{"stable", true}, {"descending", true}})};
       }},
      {"argsort.stable",
       [](const Maker& f) -> Samples { return {Call({f({2, 5})}, {{"stable", true}})}; }},
      {"quantile",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), f({3})}), Call({f({2, 5}), f({3}), 1, true})};
       }},
      {"quantile.scalar",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), 0.5}), Call({f({2, 5}), 0.25, 1, true})};
       }},
      // Activations.
      {"gelu",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3})}, {{"approximate", "tanh"}})};
       }},
      {"glu", [](const Maker& f) -> Samples { return {Call({f({2, 4})}), Call({f({2, 4}), 0})}; }},
      {"prelu", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({3})})}; }},
      {"softmax.int",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), -1}), Call({f({2, 3}), 0, int64_t(at::kDouble)})};
       }},
      {"log_softmax.int",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1}), Call({f({2, 3}), -2, int64_t(at::kFloat)})};
       }},

      // Linear algebra.
      {"matmul",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({3, 4})}),       Call({f({3}), f({3})}),
                 Call({f({5, 2, 3}), f({3, 4})}),    Call({f({3}), f({5, 3, 4})}),
                 Call({f({5, 1, 2, 3}), f({2, 3, 4})}), Call({f({2, 3}), f({3})})};
       }},
      {"mm", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({3, 4})})}; }},
      {"bmm", [](const Maker& f) -> Samples { return {Call({f({5, 2, 3}), f({5, 3, 4})})}; }},
      {"mv", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({3})})}; }},
      {"dot", [](const Maker& f) -> Samples { return {Call({f({3}), f({3})})}; }},
      {"addmm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4}), f({2, 3}), f({3, 4})}, {{"beta", 2}, {"alpha", 3}})};
       }},
      {"baddbmm",
       [](const Maker& f) -> Samples {
         return {Call({f({5, 2, 4}), f({5, 2, 3}), f({5, 3, 4})})};
       }},
      {"linear",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({4, 3}), f({4})}), Call({f({5, 2, 3}), f({4, 3})}),
                 Call({f({5, 2, 3}), f({4, 3}), f({4})}), Call({f({3}), f({4, 3})})};
       }},
      {"outer", [](const Maker& f) -> Samples { return {Call({f({3}), f({4})})}; }},
      {"einsum",
       [](const Maker& f) -> Samples {
         return {Call({"bij,bjk->bik", Tensors({f({2, 3, 4}), f({2, 4, 5})})}),
                 Call({"...d,hd->...h", Tensors({f({2, 3, 4}), f({5, 4})})}),
                 Call({"ij->ji", Tensors({f({2, 3})})}), Call({"ii->i", Tensors({f({3, 3})})}),
                 Call({"ij,jk,kl->il", Tensors({f({2, 3}), f({3, 4}), f({4, 2})})})};
       }},
      {"tril", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4})}), Call({f({3, 4}), -1})}; }},
      {"triu", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4})}), Call({f({3, 4}), 1})}; }},
      {"diag",
       [](const Maker& f) -> Samples { return {Call({f({3})}), Call({f({3, 4}), 1})}; }},
      {"diag_embed", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1})}; }},
      {"cdist",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), f({2, 5, 4})}), Call({f({3, 4}), f({5, 4}), 1.0})};
       }},
      {"cosine_similarity",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({2, 3})}), Call({f({2, 3, 4}), f({4}), -1})};
       }},
      {"pairwise_distance",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({3})})}; }},
      {"linalg_cross", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({2, 3})})}; }},
      {"layer_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Ints({4})}), Call({f({2, 3, 4}), Ints({4}), f({4}), f({4})}),
                 Call({f({2, 3, 4}), Ints({3, 4}), f({3, 4})})};
       }},
      {"rms_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Ints({4})}), Call({f({2, 3, 4}), Ints({4}), f({4}), 1e-5})};
       }},
      {"group_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 3}), 2}), Call({f({2, 4, 3}), 2, f({4}), f({4})})};
       }},
      {"scaled_dot_product_attention",
       [](const Maker& f) -> Samples {
         const std::vector<int64_t> q = {2, 3, 4, 8}, k = {2, 3, 5, 8};
         return {Call({f(q), f(k), f(k)}),
                 Call({f(k), f(k), f(k)}, {{"is_causal", true}}),
                 Call({f(q), f(k), f(k)}, {{"attn_mask", f.Mask({4, 5})}, {"scale", 0.5}}),
                 Call({f(q), f(k), f(k), f({2, 1, 4, 5})}),
                 Call({f({2, 4, 8}), f({2, 5, 8}), f({2, 5, 8})})};
       }},

      // Views.
      {"view",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}).contiguous(), Ints({3, 2})}),
                 Call({f({2, 3, 4}), Ints({2, 1, 3, 4})})};
       }},
      {"view_as",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}).contiguous(), f({3, 2})})}; }},
      {"t", [](const Maker& f) -> Samples { return {Call({f({2, 3})}), Call({f({3})})}; }},
      {"numpy_T", [](const Maker& f) -> Samples { return {Call({f({2, 3})})}; }},
      {"permute", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), Ints({2, 0, 1})})}; }},
      {"transpose.int",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), 0, -1}), Call({f({2, 3}), 1, 1})};
       }},
      {"select.int", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 1, -1})}; }},
      {"slice.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), 1, 1}), Call({f({2, 3, 4}), -1, 0, 9, 2}), Call({f({2, 3})}),
                 Call({f({2, 3}), 1, 1, std::numeric_limits<int64_t>::max()})};
       }},
      {"narrow", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 1, 1, 2})}; }},
      {"squeeze", [](const Maker& f) -> Samples { return {Call({f({2, 1, 4})}), Call({f({2, 3})})}; }},
      {"squeeze.dim",
       [](const Maker& f) -> Samples { return {Call({f({2, 1, 4}), 1}), Call({f({2, 3}), 1})}; }},
      {"squeeze.dims",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 1, 1}), Ints({1, 2})}), Call({f({2, 3}), Ints({1})})};
       }},
      {"unsqueeze", [](const Maker& f) -> Samples { return {Call({f({2, 3}), -1})}; }},
      {"movedim.int",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), 0, 2}), Call({f({2, 3}), 1, 1})};
       }},
      {"movedim.intlist",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Ints({0, 1}), Ints({2, 0})}),
                 Call({f({2, 3}), Ints({1}), Ints({1})})};
       }},
      {"moveaxis.int", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 0, 2})}; }},
      {"moveaxis.intlist",
       [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), Ints({0, 1}), Ints({2, 0})})}; }},
      {"swapaxes", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 0, 2})}; }},
      {"swapdims", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 0, 2})}; }},
      {"diagonal",
       [](const Maker& f) -> Samples {
         return {Call({f({3, 4})}), Call({f({2, 3, 4}), 1, 1, 2})};
       }},
      {"unflatten.int", [](const Maker& f) -> Samples { return {Call({f({2, 6}), 1, Ints({2, -1})})}; }},
      {"split.Tensor", [](const Maker& f) -> Samples { return {Call({f({5, 3}), 2})}; }},
      {"split.sizes", [](const Maker& f) -> Samples { return {Call({f({3, 5}), Ints({2, 3}), 1})}; }},
      {"split_with_sizes",
       [](const Maker& f) -> Samples { return {Call({f({3, 5}), Ints({2, 3}), 1})}; }},
      {"chunk", [](const Maker& f) -> Samples { return {Call({f({5, 3}), 2}), Call({f({3, 2}), 1})}; }},
      {"tensor_split.sections", [](const Maker& f) -> Samples { return {Call({f({5, 3}), 2})}; }},
      {"tensor_split.indices",
       [](const Maker& f) -> Samples { return {Call({f({5, 3}), Ints({1, 3})})}; }},
      {"unbind.int", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1})}; }},
      {"expand",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 1}), Ints({2, 3})}), Call({f({2, 3}), Ints({4, -1, 3})})};
       }},
      {"expand_as", [](const Maker& f) -> Samples { return {Call({f({2, 1}), f({5, 2, 3})})}; }},
      {"broadcast_to", [](const Maker& f) -> Samples { return {Call({f({2, 1}), Ints({5, 2, 3})})}; }},
      {"unfold", [](const Maker& f) -> Samples { return {Call({f({2, 5}), 1, 3, 1})}; }},
      {"reshape",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({3, 2})}), Call({f({2, 3}), Ints({-1})}),
                 Call({f({2, 3}), Ints({2, 1, 3})})};
       }},
      {"flatten.using_ints",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4})}), Call({f({2, 3, 4}), 0, 1}), Call({f({3})})};
       }},
      {"to.dtype",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), int64_t(at::kFloat)}), Call({f({2, 3}), int64_t(at::kBool)}),
                 Call({f({2, 3}), int64_t(at::kFloat)}, {{"copy", true}})};
       }},
      {"to.other",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({1})}), Call({f({2, 3}), f.Make({1}, at::kDouble)})};
       }},
      {"type_as",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({1})}), Call({f({2, 3}), f.Make({1}, at::kLong)})};
       }},

      // Copies and joins.
      {"copy", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f.Float({3})})}; }},
      {"cat",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({4, 3})})}), Call({Tensors({f({2, 3})}), -1}),
                 Call({Tensors({f({2, 3}), f({2, 1})})}, {{"dim", Int(1)}})};
       }},
      {"concat",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({2, 1})}), 1}), Call({Tensors({f({2, 3})})})};
       }},
      {"stack",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({2, 3})}), -1}), Call({Tensors({f({2, 3})})})};
       }},
      {"hstack",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({2, 1})})}), Call({Tensors({f({3})})})};
       }},
      {"vstack",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({3})})}), Call({Tensors({f({2, 3})})})};
       }},
      {"repeat",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({2, 1})}), Call({f({2, 3}), Ints({1, 1})}),
                 Call({f({3}), Ints({4, 2})})};
       }},
      {"tile",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({2})}), Call({f({2, 3}), Ints({1, 1})})};
       }},
      {"repeat_interleave.self_int",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 2}), Call({f({2, 3}), 3, 1}), Call({f({2, 3}), 1, 0})};
       }},
      {"roll",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1}), Call({f({2, 3}), Ints({1, -1}), Ints({0, 1})}),
                 Call({f({2, 3}), 0, 1})};
       }},
      {"flip", [](const Maker& f) -> Samples { return {Call({f({2, 3}), Ints({0, 1})})}; }},
      {"fliplr", [](const Maker& f) -> Samples { return {Call({f({2, 3})})}; }},
      {"rot90",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3}), 0}), Call({f({2, 3}), 2, Ints({1, 0})})};
       }},
      {"constant_pad_nd",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({1, 2}), 1}), Call({f({2, 3}), Ints({0, 0})}),
                 Call({f({4, 4}), Ints({-1, 1, 0, -1})})};
       }},
      {"cartesian_prod",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2}), f({3})})}), Call({Tensors({f({2})})})};
       }},
      {"meshgrid", [](const Maker& f) -> Samples { return {Call({Tensors({f({2}), f({3})})})}; }},
      {"meshgrid.indexing",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2}), f({3})})}, {{"indexing", "ij"}}),
                 Call({Tensors({f({2}), f({})})}, {{"indexing", "xy"}})};
       }},
      {"sum_to_size",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Ints({2, 1})}), Call({f({2, 3}), Ints({2, 3})})};
       }},
      {"concatenate",
       [](const Maker& f) -> Samples { return {Call({Tensors({f({2, 3}), f({4, 3})})})}; }},
      {"dstack",
       [](const Maker& f) -> Samples { return {Call({Tensors({f({2, 3}), f({2, 3})})})}; }},
      {"row_stack",
       [](const Maker& f) -> Samples { return {Call({Tensors({f({2, 3}), f({3})})})}; }},
      {"column_stack",
       [](const Maker& f) -> Samples { return {Call({Tensors({f({2, 3}), f({2})})})}; }},
      {"hsplit.int", [](const Maker& f) -> Samples { return {Call({f({2, 4}), 2})}; }},
      {"vsplit.int", [](const Maker& f) -> Samples { return {Call({f({4, 2}), 2})}; }},
      {"dsplit.int", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), 2})}; }},
      {"hsplit.array", [](const Maker& f) -> Samples { return {Call({f({2, 4}), Ints({1, 3})})}; }},
      {"vsplit.array", [](const Maker& f) -> Samples { return {Call({f({4, 2}), Ints({1, 3})})}; }},
      {"dsplit.array", [](const Maker& f) -> Samples { return {Call({f({2, 3, 4}), Ints({1})})}; }},
      {"fill.Tensor", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({})})}; }},
      {"select_scatter",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), f({2}), 1, -1})}; }},
      {"slice_scatter",
       [](const Maker& f) -> Samples { return {Call({f({2, 5}), f({2, 2}), 1, 1, 5, 2})}; }},
      {"diagonal_scatter",
       [](const Maker& f) -> Samples { return {Call({f({3, 3}), f({3})})}; }},

      // Indexing.
      {"index_select",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), 1, f.Index({5}, 3)}), Call({f({3}), -1, f.Index({2}, 3)}),
                 Call({f({3, 2}), 0, f.Index({}, 3)}),
                 Call({f({2, 3}), 1, f.Index({0}, 3)})};
       }},
      {"gather",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({2, 5}, 3)}), Call({f({3}), 0, f.Index({2}, 3)})};
       }},
      {"take_along_dim",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Index({2, 1}, 3), 1}), Call({f({2, 3}).contiguous(), f.Index({4}, 6)})};
       }},
      {"take", [](const Maker& f) -> Samples { return {Call({f({2, 3}), f.Index({2, 2}, 6).sub(6)})}; }},
      {"index.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), Indices({f.Index({5}, 2)})}),
                 Call({f({2, 3, 4}), Indices({{}, f.Index({5}, 3).sub(3)})}),
                 Call({f({2, 3, 4}), Indices({f.Index({5, 1}, 2), {}, f.Index({6}, 4)})})};
       }},
      {"index_put",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), Indices({f.Index({1}, 2)}), f({3})}),
                 Call({f({2, 3}), Indices({{}, f.Index({1}, 3)}), f({}), true})};
       }},
      {"index_add",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({4}, 3), f({2, 4})})};
       }},
      {"index_copy",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({1}, 3), f({2, 1})})};
       }},
      {"index_fill.int_Scalar",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, f.Index({2}, 3).sub(3), 1})}; }},
      {"index_fill.int_Tensor",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, f.Index({2}, 3), f({})})}; }},
      {"scatter.src",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({2, 1}, 3), f({2, 1})})};
       }},
      {"scatter.value",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), 1, f.Index({2, 2}, 3), 1})}; }},
      {"scatter_add",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({2, 4}, 3), f({2, 4})})};
       }},
      {"scatter_reduce.two",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({2, 4}, 3), f({2, 4}), "amax"}),
                 Call({f({2, 3}), 1, f.Index({2, 4}, 3), f({2, 4}), "sum"},
                      {{"include_self", false}})};
       }},
      {"index_reduce",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1, f.Index({4}, 3), f({2, 4}), "amax"}),
                 Call({f({2, 3}), 0, f.Index({1}, 2), f({1, 3}), "prod"},
                      {{"include_self", false}})};
       }},
      {"put",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Index({2}, 6).sub(6), f({2})}),
                 Call({f({2, 3}), f.Index({2, 1}, 6), f({2, 1}), true})};
       }},
      {"masked_scatter",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Mask({3}), f({6})}), Call({f({2, 3}), f.Mask({2, 3}), f({7})})};
       }},
      {"masked_fill.Scalar",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), f.Mask({3}), 1})}; }},
      {"masked_fill.Tensor",
       [](const Maker& f) -> Samples { return {Call({f({2, 3}), f.Mask({2, 1}), f({})})}; }},
      {"embedding",
       [](const Maker& f) -> Samples {
         return {Call({f({5, 4}), f.Index({2, 3}, 5)}), Call({f({5, 4}), f.Index({}, 5)})};
       }},
      {"one_hot", [](const Maker& f) -> Samples { return {Call({f({2, 3}), 5})}; }},

      // Factories.
      {"zeros", [](const Maker&) -> Samples { return {Call({Ints({2, 3})}), Call({Ints({})}, {{"dtype", Int(int64_t(at::kBool))}})}; }},
      {"ones", [](const Maker&) -> Samples { return {Call({Ints({2, 3})})}; }},
      {"full",
       [](const Maker&) -> Samples {
         return {Call({Ints({2, 3}), 0.5}), Call({Ints({2}), 3}), Call({Ints({2}), true})};
       }},
      {"eye", [](const Maker&) -> Samples { return {Call({3})}; }},
      {"eye.m", [](const Maker&) -> Samples { return {Call({3, 2})}; }},
      {"linspace", [](const Maker&) -> Samples { return {Call({0, 1.0, 5})}; }},
      {"logspace", [](const Maker&) -> Samples { return {Call({0, 1.0, 5})}; }},
      {"tril_indices",
       [](const Maker&) -> Samples { return {Call({3, 4}), Call({4, 3, 1}), Call({4, 3, -2})}; }},
      {"triu_indices",
       [](const Maker&) -> Samples { return {Call({3, 4}), Call({4, 3, 1}), Call({4, 3, -2})}; }},
      {"new_zeros", [](const Maker& f) -> Samples { return {Call({f({2}), Ints({3, 1})})}; }},
      {"new_ones", [](const Maker& f) -> Samples { return {Call({f({2}), Ints({3, 1})})}; }},
      {"new_full", [](const Maker& f) -> Samples { return {Call({f({2}), Ints({3, 1}), 1})}; }},
      {"arange", [](const Maker&) -> Samples { return {Call({5})}; }},
      {"arange.start", [](const Maker&) -> Samples { return {Call({2, 5})}; }},
      {"arange.start_step", [](const Maker&) -> Samples { return {Call({9, 1, -2})}; }},

      // Losses.
      {"cross_entropy_loss",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f.Index({4}, 5)}), Call({f({5}), f.Index({}, 5)}),
                 Call({f({4, 5, 2}), f.Index({4, 2}, 5), f({5}), 0}),
                 Call({f({4, 5}), f({4, 5})}, {{"label_smoothing", 0.1}}),
                 Call({f({4, 5}), at::full({4}, -100, at::kLong)}, {{"reduction", Int(2)}})};
       }},
      {"nll_loss",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f.Index({4}, 5)}), Call({f({4, 5}), f.Index({4}, 5), f({5}), 0})};
       }},
      {"nll_loss_nd",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f.Index({4}, 5)}), Call({f({4, 5, 2}), f.Index({4, 2}, 5)})};
       }},
      {"binary_cross_entropy_with_logits",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f({4, 5})}), Call({f({4, 5}), f({4, 5}), f({5}), f({5}), 0})};
       }},
  };
  return *kRecipes;
}

/// What the arguments of a call made from a schema are.
struct Fill {
  std::vector<int64_t> shape;
  std::vector<int64_t> other_shape;  // of tensors but the first
  int64_t integer = 1;
  std::vector<int64_t> integers;
  std::optional<at::ScalarType> other_dtype;  // as the first tensor's, if nothing
};

/// Values for the arguments that have no default; nothing where there is a type that a schema does
/// not explain.
std::optional<Arguments> FromSchema(const OperatorRow& row, const Maker& f, const Fill& fill) {
  Arguments arguments;
  bool tensors = false;
  for (const c10::Argument& argument : row.schema().arguments()) {
    if (argument.default_value().has_value()) continue;
    const std::string type = argument.real_type()->str();
    if (type.find("Generator") != std::string::npos) continue;
    CallArgument call{argument.kwarg_only() ? argument.name() : "", {}};
    if (type == "Tensor" && (argument.name() == "index" || argument.name() == "indices")) {
      call.value = at::zeros(fill.other_shape, at::kLong);
    } else if (type == "Tensor" && argument.name() == "mask") {
      call.value = f.Mask(fill.other_shape);
    } else if (type == "Tensor") {
      call.value = tensors && fill.other_dtype.has_value()
                       ? f.Make(fill.other_shape, *fill.other_dtype)
                       : f(tensors ? fill.other_shape : fill.shape);
      tensors = true;
    } else if (type == "Tensor[]") {
      call.value = Tensors({f(fill.shape), f(fill.other_shape)});
    } else if (type == "Tensor?[]") {
      call.value = Indices({at::zeros(fill.other_shape, at::kLong)});
    } else if (type == "Scalar" || type == "number") {
      call.value = 2;
    } else if (type == "int" || type == "SymInt") {
      call.value = fill.integer;
    } else if (type == "int[]" || type == "SymInt[]" || type == "int[]?") {
      call.value = Ints(fill.integers);
    } else if (type == "float") {
      call.value = 0.5;
    } else if (type == "bool") {
      call.value = true;
    } else {
      return std::nullopt;
    }
    arguments.push_back(std::move(call));
  }
  return arguments;
}

}  // namespace

std::vector<std::vector<CallArgument>> SamplesOf(const OperatorRow& row,
                                                 const SampleOptions& options) {
  const Maker maker(options);
  const OperatorRow& recipe_row = row.in_place() ? *row.fresh : row;
  const std::string word = recipe_row.qualified().substr(std::string("aten::").size());
  for (const auto* recipes : {&Recipes(), &MatrixRecipes(), &RandomRecipes()}) {
    const auto recipe = recipes->find(word);
    if (recipe != recipes->end()) return recipe->second(maker);
  }
  Samples samples;
  // Alike, and with broadcasting.
  for (const std::vector<int64_t>& other : {std::vector<int64_t>{2, 3, 4}, {4}}) {
    if (auto sample = FromSchema(row, maker, {.shape = {2, 3, 4}, .other_shape = other})) {
      samples.push_back(*std::move(sample));
    }
  }
  return samples;
}

std::vector<std::vector<CallArgument>> OddSamplesOf(const OperatorRow& row, at::ScalarType dtype) {
  const Maker maker({.dtype = dtype});
  const std::vector<std::vector<int64_t>> shapes = {{}, {1}, {0}, {1, 1}, {2, 0}, {3, 3}};
  // Only what the row's arguments can tell apart.
  int tensors = 0;
  bool has_integer = false;
  bool has_list = false;
  for (const c10::Argument& argument : row.schema().arguments()) {
    if (argument.default_value().has_value()) continue;
    const std::string type = argument.real_type()->str();
    if (type.find("Tensor") != std::string::npos) tensors += type == "Tensor" ? 1 : 2;
    has_integer |= type == "int" || type == "SymInt";
    has_list |= type.find("nt[") != std::string::npos;
  }
  const auto others = tensors > 1 ? shapes : std::vector<std::vector<int64_t>>{{}};
  const auto integers = has_integer ? std::vector<int64_t>{0, -1, 1} : std::vector<int64_t>{0};
  const auto lists = has_list ? std::vector<std::vector<int64_t>>{{}, {0}, {-1}, {1, 1}}
                              : std::vector<std::vector<int64_t>>{{}};
  Samples samples;
  for (const std::vector<int64_t>& shape : shapes) {
    for (const std::vector<int64_t>& other : others) {
      for (const int64_t integer : integers) {
        for (const std::vector<int64_t>& list : lists) {
          if (auto sample = FromSchema(row, maker, {shape, other, integer, list})) {
            samples.push_back(*std::move(sample));
          }
        }
      }
    }
  }
  if (tensors < 2) return samples;
  for (const at::ScalarType other :
       {at::kDouble, at::kBFloat16, at::kInt, at::kBool, at::kComplexFloat}) {
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{3, 3}, {3}, {}}) {
      if (auto sample = FromSchema(row, maker, {{3, 3}, shape, 1, {1}, other})) {
        samples.push_back(*std::move(sample));
      }
    }
  }
  return samples;
}

}  // namespace weft::plan
