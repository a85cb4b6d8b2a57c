#include "tests/plan/operator_recipes.h"

namespace weft::plan {
namespace {

/// Square matrices that are well conditioned, symmetric and positive.
at::Tensor Positive(const Maker& f, std::vector<int64_t> shape) {
  const at::Tensor root = f(shape).to(at::kDouble);
  return at::matmul(root, root.mT()).add(at::eye(shape.back(), root.options())).to(f.dtype());
}

Recipe OnMatrices(std::vector<c10::IValue> rest = {}) {
  return [rest](const Maker& f) -> Samples {
    std::vector<c10::IValue> one = {Positive(f, {3, 3})};
    std::vector<c10::IValue> batch = {Positive(f, {2, 3, 3})};
    one.insert(one.end(), rest.begin(), rest.end());
    batch.insert(batch.end(), rest.begin(), rest.end());
    return {Call(one), Call(batch)};
  };
}

/// Of any shape.
Samples Rectangles(const Maker& f) {
  return {Call({f({2, 3})}), Call({f({4, 3})}), Call({f({2, 4, 3})})};
}

Samples Transforms(const Maker& f) {
  return {Call({f({2, 6})}), Call({f({2, 6}), 4}), Call({f({6, 2}), 8, 0, "ortho"})};
}

Samples TransformsOfTwo(const Maker& f) {
  return {Call({f({2, 4, 6})}), Call({f({4, 6}), Ints({3, 8})})};
}

Samples TransformsOfMany(const Maker& f) {
  return {Call({f({2, 4, 6})}), Call({f({2, 4, 6}), None(), Ints({0, 2})})};
}

Samples AlongLines(const Maker& f, std::vector<c10::IValue> rest) {
  std::vector<c10::IValue> arguments = {f({2, 3, 8})};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return {Call(arguments)};
}

Samples OnPlanes(const Maker& f, std::vector<c10::IValue> rest) {
  std::vector<c10::IValue> arguments = {f({2, 3, 8, 6})};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return {Call(arguments)};
}

}  // namespace

const std::map<std::string, Recipe>& MatrixRecipes() {
  static const auto* const kRecipes = new std::map<std::string, Recipe>{
      {"trace",
       [](const Maker& f) -> Samples {
         return {Call({f({3, 4})}), Call({f({2, 2})})};
       }},
      {"block_diag",
       [](const Maker& f) -> Samples {
         return {Call({Tensors({f({2, 3}), f({4}), f({})})})};
       }},
      {"cov",
       [](const Maker& f) -> Samples {
         return {Call({f({3, 5})}), Call({f({5})})};
       }},
      {"corrcoef",
       [](const Maker& f) -> Samples {
         return {Call({f({3, 5})}), Call({f({5})})};
       }},
      {"linalg_matmul",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({3, 4})})};
       }},
      {"addmv",
       [](const Maker& f) -> Samples {
         return {Call({f({2}), f({2, 3}), f({3})})};
       }},
      {"addr",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({2}), f({3})}), Call({f({3}), f({2}), f({3})})};
       }},
      {"addbmm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4}), f({5, 2, 3}), f({5, 3, 4})})};
       }},
      {"inner",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({4, 3})}), Call({f({3}), f({3})})};
       }},
      {"tensordot",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4}), f({4, 3, 5}), Ints({1, 2}), Ints({1, 0})})};
       }},
      {"vdot",
       [](const Maker& f) -> Samples {
         return {Call({f({3}), f({3})})};
       }},
      {"pdist",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 3})}), Call({f({1, 3}), 1.0})};
       }},
      {"linalg_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3, 4})}), Call({f({2, 3}), 2}), Call({f({3}), 2}),
                 Call({f({2, 3, 4}), 1, Ints({0, 2}), true})};
       }},
      {"linalg_norm.ord_str",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), "fro"}), Call({f({2, 3}), "nuc"})};
       }},
      {"linalg_matrix_norm",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 2}), Call({f({5, 2, 3}), 1})};
       }},
      {"linalg_matrix_norm.str_ord",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({5, 2, 3}), "nuc"})};
       }},
      {"linalg_qr",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({4, 3}), "complete"}), Call({f({4, 3}), "r"})};
       }},
      {"linalg_svd",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 4, 3}), false})};
       }},
      {"linalg_svdvals", Rectangles},
      {"linalg_lu", Rectangles},
      {"linalg_pinv",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1e-5})};
       }},
      {"linalg_pinv.atol_rtol_float", Rectangles},
      {"pinverse", Rectangles},
      {"linalg_matrix_rank",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 1e-5})};
       }},
      {"linalg_matrix_rank.atol_rtol_float", Rectangles},
      {"linalg_cond", OnMatrices()},
      {"linalg_eigh", OnMatrices({"U"})},
      {"linalg_eigvalsh", OnMatrices()},
      {"linalg_eig", OnMatrices()},
      {"linalg_eigvals", OnMatrices()},
      {"linalg_inv", OnMatrices()},
      {"inverse", OnMatrices()},
      {"linalg_inv_ex", OnMatrices()},
      {"linalg_det", OnMatrices()},
      {"det", OnMatrices()},
      {"linalg_slogdet", OnMatrices()},
      {"slogdet", OnMatrices()},
      {"logdet", OnMatrices()},
      {"linalg_cholesky", OnMatrices()},
      {"linalg_cholesky_ex", OnMatrices()},
      {"linalg_matrix_power", OnMatrices({3})},
      {"matrix_power", OnMatrices({-2})},
      {"linalg_solve",
       [](const Maker& f) -> Samples {
         return {Call({Positive(f, {3, 3}), f({3, 2})}), Call({Positive(f, {2, 3, 3}), f({2, 3})}),
                 Call({Positive(f, {3, 3}), f({2, 3})}, {{"left", false}})};
       }},
      {"linalg_solve_triangular",
       [](const Maker& f) -> Samples {
         return {Call({Positive(f, {3, 3}), f({3, 2})}, {{"upper", true}}),
                 Call({Positive(f, {2, 3, 3}), f({4, 3})}, {{"upper", false}, {"left", false}})};
       }},
      {"linalg_lstsq",
       [](const Maker& f) -> Samples {
         const std::pair<std::string, c10::IValue> gels = {"driver", "gels"};
         return {Call({f({4, 3}), f({4, 2})}, {gels}), Call({f({2, 4, 3}), f({2, 4})}, {gels}),
                 Call({f({4, 3}), f({4})}, {gels}), Call({f({2, 3}), f({2, 5})}, {gels})};
       }},

      {"fft_fft", Transforms},
      {"fft_ifft", Transforms},
      {"fft_rfft", Transforms},
      {"fft_irfft", Transforms},
      {"fft_hfft", Transforms},
      {"fft_ihfft", Transforms},
      {"fft_fft2", TransformsOfTwo},
      {"fft_ifft2", TransformsOfTwo},
      {"fft_rfft2", TransformsOfTwo},
      {"fft_irfft2", TransformsOfTwo},
      {"fft_fftn", TransformsOfMany},
      {"fft_ifftn", TransformsOfMany},
      {"fft_rfftn", TransformsOfMany},
      {"fft_irfftn", TransformsOfMany},

      {"conv1d",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8}), f({6, 4, 3})}), Call({f({4, 8}), f({6, 4, 3}), f({6}), 2, 1}),
                 Call({f({2, 4, 8}), f({4, 1, 3}), None(), 1, 2, 2, 4})};
       }},
      {"conv1d.padding",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8}), f({6, 4, 3}), f({6}), 1, "same"})};
       }},
      {"conv2d",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8, 7}), f({6, 4, 3, 2}), f({6}), Ints({2, 1}), 1})};
       }},
      {"conv2d.padding",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8, 7}), f({6, 4, 3, 2}), None(), 1, "valid"})};
       }},
      {"conv_transpose1d",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8}), f({4, 3, 3}), f({3}), 2, 1, 1}),
                 Call({f({2, 4, 8}), f({4, 3, 3}), None(), 1, 0, 0, 2})};
       }},
      {"conv_transpose2d.input",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 4, 8, 7}), f({4, 3, 3, 2})})};
       }},
      {"avg_pool1d",
       [](const Maker& f) -> Samples {
         return AlongLines(f, {3, 2, 1, true});
       }},
      {"max_pool1d",
       [](const Maker& f) -> Samples {
         return AlongLines(f, {3, 2, 1});
       }},
      {"max_pool1d_with_indices",
       [](const Maker& f) -> Samples {
         return AlongLines(f, {3, 2, 1});
       }},
      {"avg_pool2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({3, 2}), Ints({2, 1})});
       }},
      {"max_pool2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({3, 2}), 2, 1});
       }},
      {"max_pool2d_with_indices",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({3, 2})});
       }},
      {"adaptive_avg_pool1d", [](const Maker& f) -> Samples { return AlongLines(f, {5}); }},
      {"adaptive_max_pool1d", [](const Maker& f) -> Samples { return AlongLines(f, {5}); }},
      {"adaptive_avg_pool2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({5, 1})});
       }},
      {"adaptive_max_pool2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({5, 1})});
       }},
      {"upsample_nearest1d", [](const Maker& f) -> Samples { return AlongLines(f, {12}); }},
      {"upsample_linear1d",
       [](const Maker& f) -> Samples {
         return AlongLines(f, {12, true});
       }},
      {"upsample_nearest2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({4, 9})});
       }},
      {"upsample_bilinear2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({4, 9}), false});
       }},
      {"upsample_bicubic2d",
       [](const Maker& f) -> Samples {
         return OnPlanes(f, {Ints({4, 9}), false});
       }},
      {"pad",
       [](const Maker& f) -> Samples {
         Samples samples = {Call({f({2, 3}), Ints({1, 2})}), Call({f({2, 3}), Ints({0, 0})}),
                            Call({f({2, 3}), Ints({0, 1, 1, 0}), "constant", 1.0}),
                            Call({f({2, 3, 4}), Ints({1, 2}), "circular"})};
         if (f.dtype() == at::kBool) return samples;
         samples.push_back(Call({f({2, 3, 4}), Ints({1, 2}), "replicate"}));
         samples.push_back(Call({f({2, 3, 4}), Ints({1, 2}), "reflect"}));
         samples.push_back(Call({f({2, 3, 4, 5}), Ints({1, 2, 0, 3}), "reflect"}));
         return samples;
       }},
  };
  return *kRecipes;
}

const std::map<std::string, Recipe>& RandomRecipes() {
  static const auto* const kRecipes = new std::map<std::string, Recipe>{
      {"histc",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({6}), 4, 0, 1})};
       }},
      {"bucketize.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f({4})}),
                 Call({f({}), f.Make({4}, at::kDouble)}, {{"out_int32", true}})};
       }},
      {"bucketize.Scalar",
       [](const Maker& f) -> Samples {
         return {Call({0.5, f({4})}), Call({1, f({4})})};
       }},
      {"searchsorted.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({4}), f({2, 3})}), Call({f({2, 4}), f({2, 3})}, {{"side", "right"}}),
                 Call({f({4}), f({})}, {{"right", true}})};
       }},
      {"searchsorted.Scalar",
       [](const Maker& f) -> Samples {
         return {Call({f({4}), 0.5})};
       }},
      {"nonzero_static",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}, {{"size", 4}}),
                 Call({f({2, 3})}, {{"size", 9}, {"fill_value", 7}})};
       }},
      {"nanquantile",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), f({3})}), Call({f({2, 5}), f({3}), 1, true})};
       }},
      {"nanquantile.scalar",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), 0.25, 1, true})};
       }},
      {"std_mean.dim",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), -1})};
       }},
      {"std_mean.correction",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3})}), Call({f({2, 3, 4}), Ints({0})}, {{"keepdim", true}})};
       }},

      {"rand.generator",
       [](const Maker&) -> Samples {
         return {Call({Ints({2, 3})}), Call({Ints({})}, {{"dtype", Int(int64_t(at::kDouble))}})};
       }},
      {"randn.generator",
       [](const Maker&) -> Samples {
         return {Call({Ints({2, 3})})};
       }},
      {"randint.generator",
       [](const Maker&) -> Samples {
         return {Call({9, Ints({2, 3})})};
       }},
      {"randint.low_generator",
       [](const Maker&) -> Samples {
         return {Call({-9, 9, Ints({2, 3})}, {{"dtype", Int(int64_t(at::kFloat))}})};
       }},
      {"randint_like.generator",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), 5})};
       }},
      {"randint_like.low_generator_dtype",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), -5, 5})};
       }},
      {"randperm.generator",
       [](const Maker&) -> Samples {
         return {Call({9}), Call({0}), Call({5}, {{"dtype", Int(int64_t(at::kFloat))}})};
       }},
      {"bernoulli.Tensor",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 3}), f.Float({3})})};
       }},
      {"normal.float_float",
       [](const Maker&) -> Samples {
         return {Call({0.5, 2.0, Ints({2, 3})})};
       }},
      {"multinomial",
       [](const Maker& f) -> Samples {
         return {Call({f({2, 5}), 3}), Call({f({5}), 9, true})};
       }},

      {"cosine_embedding_loss",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f({4, 5}), f({4})})};
       }},
      {"triplet_margin_loss",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f({4, 5}), f({4, 5})}),
                 Call({f({4, 5}), f({4, 5}), f({4, 5})}, {{"swap", true}, {"reduction", Int(0)}})};
       }},
      {"soft_margin_loss",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f({4, 5})}), Call({f({4, 5}), f({4, 5}), 0})};
       }},
      {"binary_cross_entropy",
       [](const Maker& f) -> Samples {
         return {Call({f({4, 5}), f({4, 5})}), Call({f({4, 5}), f({4, 5}), f({5}), 0}),
                 Call({f({4, 5}), f({4, 5}), None(), 2})};
       }},
  };
  return *kRecipes;
}

}  // namespace weft::plan
