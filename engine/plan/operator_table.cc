#include "engine/plan/operator_table.h"

#include "engine/plan/operator_checks.h"

namespace weft::plan {
namespace {

constexpr uint8_t kNumbers = kInts | kFloats;
constexpr uint8_t kAny = kBools | kNumbers | kComplex;

// What an element costs, in additions.
constexpr double kDivision = 4;
constexpr double kFunction = 12;  // exp, log, sin...
constexpr double kSort = 60;
constexpr double kTransform = 60;
constexpr double kFactors = 20;  // of a matrix, for each row or column

}  // namespace

absl::Span<const RowGroup> OperatorRows() {
  static const std::vector<RowGroup>* const kRows = new std::vector<RowGroup>{
      // Arithmetic.
      {"add.Tensor add.Scalar add_.Tensor mul.Tensor mul.Scalar mul_.Tensor multiply.Tensor "
       "multiply.Scalar",
       {.dtypes = kAny}},
      {"sub.Tensor sub.Scalar sub_.Tensor subtract.Tensor subtract.Scalar",
       {.dtypes = kNumbers | kComplex}},
      {"add_.Scalar mul_.Scalar sub_.Scalar rsub.Tensor rsub.Scalar", {.dtypes = kNumbers}},
      {"div.Tensor div.Scalar true_divide.Tensor true_divide.Scalar divide.Tensor divide.Scalar",
       {.dtypes = kAny, .cost = kDivision}},
      {"div_.Tensor div_.Scalar", {.dtypes = kFloats, .cost = kDivision}},
      {"div.Tensor_mode div.Scalar_mode div_.Tensor_mode div_.Scalar_mode",
       {.dtypes = kNumbers, .cost = kDivision, .check_values = CheckQuotient}},
      {"floor_divide floor_divide.Scalar floor_divide_.Tensor=floor_divide floor_divide_.Scalar "
       "remainder.Tensor remainder.Scalar remainder_.Tensor remainder_.Scalar fmod.Tensor "
       "fmod.Scalar fmod_.Tensor fmod_.Scalar",
       {.dtypes = kNumbers, .cost = kDivision}},
      {"pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar pow_.Tensor=pow.Tensor_Tensor "
       "pow_.Scalar=pow.Tensor_Scalar",
       {.dtypes = kNumbers, .cost = 2 * kFunction}},
      {"float_power.Tensor_Tensor float_power.Tensor_Scalar float_power.Scalar",
       {.cost = 2 * kFunction}},
      {"neg negative abs absolute square sgn", {.dtypes = kNumbers | kComplex}},
      {"neg_ abs_ sign sign_ square_ sgn_ signbit", {.dtypes = kNumbers}},
      {"copysign.Tensor copysign.Scalar", {}},
      {"copysign_.Tensor copysign_.Scalar", {.dtypes = kFloats}},
      {"heaviside", {.same_dtype = true}},
      {"frexp.Tensor", {.dtypes = kWideFloats, .cost = kDivision}},
      {"reciprocal sqrt rsqrt", {.dtypes = kAny, .cost = kDivision}},
      {"reciprocal_ sqrt_ rsqrt_", {.dtypes = kFloats, .cost = kDivision}},
      {"exp log sin cos tanh", {.dtypes = kAny, .cost = kFunction}},
      {"exp2 expm1 log1p log2 log10 tan asin acos atan sinh cosh asinh acosh atanh arcsin arccos "
       "arctan erf erfc erfinv sigmoid logit sinc special_expit deg2rad rad2deg",
       {.cost = kFunction}},
      {"exp_ exp2_ expm1_ log_ log1p_ log2_ log10_ sin_ cos_ tan_ asin_ acos_ atan_ sinh_ cosh_ "
       "tanh_ asinh_ acosh_ atanh_ erf_ erfc_ erfinv_ sigmoid_ logit_ sinc_",
       {.dtypes = kFloats, .cost = kFunction}},
      {"lgamma digamma i0 special_i0e special_i1 special_i1e special_entr special_ndtr",
       {.cost = 3 * kFunction}},
      {"special_ndtri special_log_ndtr special_erfcx",
       {.dtypes = kBools | kInts | kWideFloats, .cost = 3 * kFunction}},
      {"lgamma_ digamma_ i0_", {.dtypes = kFloats, .cost = 3 * kFunction}},
      {"atan2 arctan2", {.cost = 2 * kFunction, .takes_numbers = true}},
      {"atan2_", {.dtypes = kFloats, .cost = 2 * kFunction, .takes_numbers = true}},
      {"hypot hypot_ logaddexp logaddexp2",
       {.dtypes = kFloats, .cost = 2 * kFunction, .takes_numbers = true}},
      {"xlogy.Tensor xlogy.Scalar_Other xlogy.Scalar_Self special_xlog1py "
       "special_xlog1py.other_scalar special_xlog1py.self_scalar",
       {.cost = 2 * kFunction}},
      {"floor floor_ ceil ceil_ round round_ trunc trunc_ fix", {.dtypes = kNumbers}},
      {"round.decimals frac frac_", {.dtypes = kFloats, .cost = kDivision}},
      {"clamp clamp.Tensor clamp_ clamp_.Tensor clamp_min clamp_min.Tensor clamp_min_ "
       "clamp_min_.Tensor clamp_max clamp_max.Tensor clamp_max_ clamp_max_.Tensor clip clip.Tensor "
       "clip_ clip_.Tensor",
       {.dtypes = kNumbers}},
      {"maximum minimum fmax fmin", {.takes_numbers = true}},
      {"lerp.Tensor lerp.Scalar lerp_.Tensor lerp_.Scalar", {.dtypes = kFloats, .cost = 3}},
      {"addcmul addcmul_", {.dtypes = kNumbers, .cost = 3}},
      {"addcdiv addcdiv_", {.dtypes = kFloats, .cost = kDivision}},
      {"nan_to_num nan_to_num_", {.cost = 3}},

      // Complex numbers.
      {"complex polar", {.dtypes = kWideFloats, .cost = kFunction, .same_dtype = true}},
      {"angle", {.dtypes = kAny, .cost = kFunction}},
      {"conj_physical", {.dtypes = kComplex}},
      {"real imag view_as_real", {.makes = Makes::kView, .dtypes = kComplex}},

      // Comparisons and logic.
      {"eq.Tensor eq.Scalar ne.Tensor ne.Scalar not_equal.Tensor not_equal.Scalar isnan isinf "
       "isfinite",
       {.dtypes = kAny}},
      {"lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar ge.Tensor ge.Scalar "
       "less.Tensor less.Scalar less_equal.Tensor less_equal.Scalar greater.Tensor greater.Scalar "
       "greater_equal.Tensor greater_equal.Scalar eq_.Tensor eq_.Scalar ne_.Tensor ne_.Scalar "
       "lt_.Tensor lt_.Scalar le_.Tensor le_.Scalar gt_.Tensor gt_.Scalar ge_.Tensor ge_.Scalar "
       "isposinf isneginf logical_and logical_and_ logical_or logical_or_ logical_not "
       "logical_not_ logical_xor logical_xor_",
       {}},
      {"bitwise_and.Tensor bitwise_and.Scalar bitwise_and_.Tensor bitwise_or.Tensor "
       "bitwise_or.Scalar bitwise_or_.Tensor bitwise_xor.Tensor bitwise_xor.Scalar "
       "bitwise_xor_.Tensor bitwise_not bitwise_not_",
       {.dtypes = kBools | kInts, .check = CheckBits}},
      {"bitwise_and_.Scalar bitwise_or_.Scalar bitwise_xor_.Scalar", {.dtypes = kInts}},
      {"bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor "
       "bitwise_right_shift.Tensor_Scalar",
       {.dtypes = kInts, .check = CheckBits}},
      {"where.self where.ScalarSelf where.ScalarOther where.Scalar", {.dtypes = kBools}},
      {"isclose", {.cost = 6, .workspace = 4}},
      {"isin.Tensor_Tensor isin.Tensor_Scalar",
       {.dtypes = kNumbers, .cost = kSort, .workspace = 4}},

      // Reductions.
      {"sum sum.dim_IntList", {.dtypes = kAny, .workspace = 1}},
      {"prod prod.dim_int amax amin aminmax max max.dim max.other min min.dim min.other any "
       "any.dim any.dims all all.dim all.dims nansum count_nonzero count_nonzero.dim_IntList",
       {.workspace = 1}},
      {"mean mean.dim", {.dtypes = kFloats | kComplex, .workspace = 1}},
      {"nanmean", {.dtypes = kFloats, .workspace = 1}},
      {"argmax argmin", {.dtypes = kNumbers}},
      {"std std.dim std.correction var var.dim var.correction var_mean var_mean.dim "
       "var_mean.correction std_mean std_mean.dim std_mean.correction",
       {.dtypes = kFloats, .cost = 4}},
      {"norm.Scalar norm.ScalarOpt_dim linalg_vector_norm renorm",
       {.dtypes = kFloats, .cost = 3, .workspace = 1}},
      {"dist", {.dtypes = kFloats, .cost = 4, .workspace = 1}},
      {"cumsum cumprod cummax cummin", {}},
      {"cumsum_ cumprod_", {.dtypes = kNumbers}},
      {"logsumexp", {.cost = 2 * kFunction, .workspace = 2}},
      {"logcumsumexp", {.dtypes = kFloats, .cost = 2 * kFunction, .workspace = 2}},
      {"trapezoid.dx trapezoid.x cumulative_trapezoid.dx cumulative_trapezoid.x",
       {.dtypes = kNumbers, .cost = 4, .workspace = 4}},
      {"diff", {.makes = Makes::kMaybeView, .cost = 4, .workspace = 2, .check = CheckFewTimes}},
      {"cov",
       {.dtypes = kNumbers,
        .cost = 4,
        .workspace = 4,
        .work = Work::kMatrices,
        .refused = "fweights aweights"}},
      {"corrcoef", {.dtypes = kNumbers, .cost = 4, .workspace = 4, .work = Work::kMatrices}},

      // Order, counting, searching.
      {"sort sort.stable argsort argsort.stable msort mode", {.cost = kSort, .workspace = 2}},
      {"median median.dim nanmedian nanmedian.dim kthvalue topk",
       {.dtypes = kNumbers, .cost = kSort, .workspace = 2}},
      {"quantile quantile.scalar nanquantile nanquantile.scalar",
       {.dtypes = kWideFloats, .cost = kSort, .workspace = 4}},
      {"histc", {.dtypes = kWideFloats, .cost = 8, .workspace = 2}},
      {"bucketize.Tensor bucketize.Scalar", {.dtypes = kNumbers, .cost = kSort, .workspace = 1}},
      {"searchsorted.Tensor searchsorted.Scalar",
       {.dtypes = kNumbers, .cost = kSort, .workspace = 1, .refused = "sorter"}},
      {"nonzero_static", {.cost = 4, .workspace = 8}},

      // Activations.
      {"relu relu_ leaky_relu leaky_relu_ hardtanh hardtanh_ relu6 relu6_ hardswish hardswish_ "
       "hardsigmoid hardsigmoid_ threshold threshold_ prelu hardshrink softshrink",
       {.dtypes = kFloats, .cost = 2}},
      {"gelu gelu_ silu silu_ mish mish_ elu elu_ selu selu_ celu celu_ softplus log_sigmoid glu "
       "softmax.int log_softmax.int",
       {.dtypes = kFloats, .cost = 2 * kFunction}},

      // Products.
      {"matmul linalg_matmul mm bmm mv dot",
       {.dtypes = kNumbers | kComplex,
        .workspace = 1,
        .work = Work::kProduct,
        .product_argument = "self",
        .same_dtype = true}},
      {"addmm addmm_",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "mat1",
        .same_dtype = true,
        .check = CheckAddmm}},
      {"addmv addmv_",
       {.dtypes = kNumbers, .work = Work::kProduct, .product_argument = "mat", .same_dtype = true}},
      {"addr", {.dtypes = kNumbers, .cost = 3, .same_dtype = true, .check = CheckAddr}},
      {"baddbmm baddbmm_",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "batch1",
        .same_dtype = true}},
      {"addbmm",
       {.dtypes = kNumbers,
        .work = Work::kContraction,
        .product_argument = "batch1",
        .same_dtype = true}},
      {"inner tensordot",
       {.dtypes = kNumbers,
        .workspace = 2,
        .work = Work::kContraction,
        .product_argument = "self",
        .same_dtype = true}},
      {"vdot", {.dtypes = kNumbers, .cost = 2, .same_dtype = true}},
      {"linalg_vecdot", {.dtypes = kFloats, .cost = 2, .workspace = 1, .same_dtype = true}},
      {"linear",
       {.dtypes = kNumbers,
        .work = Work::kProduct,
        .product_argument = "input",
        .same_dtype = true}},
      {"outer", {.cost = 1}},
      {"einsum",
       {.makes = Makes::kMaybeView,
        .dtypes = kNumbers | kComplex,
        .workspace = 2,
        .work = Work::kEinsum,
        .same_dtype = true}},
      {"linalg_cross", {.dtypes = kNumbers, .cost = 5, .same_dtype = true}},
      {"cdist",
       {.dtypes = kWideFloats,
        .cost = 3,
        .workspace = 1,
        .work = Work::kPairs,
        .product_argument = "x1",
        .same_dtype = true}},
      {"pdist",
       {.dtypes = kWideFloats,
        .cost = 3,
        .workspace = 1,
        .work = Work::kPairs,
        .product_argument = "self"}},
      {"cosine_similarity pairwise_distance", {.dtypes = kFloats, .cost = 6, .workspace = 3}},
      {"layer_norm group_norm", {.dtypes = kFloats, .cost = 8, .workspace = 1, .same_dtype = true}},
      {"rms_norm", {.dtypes = kFloats, .cost = 8, .workspace = 2}},
      {"scaled_dot_product_attention",
       {.dtypes = kFloats,
        .cost = kFunction,
        .workspace = 2,
        .work = Work::kAttention,
        .refused = "dropout_p"}},

      // Matrices. What iterates until it converges is given finite values only.
      {"tril tril_ triu triu_ diag diag_embed diagflat block_diag", {}},
      {"trace", {.dtypes = kInts | kWideFloats}},
      {"linalg_norm linalg_norm.ord_str linalg_matrix_norm linalg_matrix_norm.str_ord",
       {.dtypes = kWideFloats,
        .cost = kFactors,
        .workspace = 4,
        .work = Work::kMatrices,
        .check = CheckNorm}},
      {"linalg_qr linalg_inv inverse linalg_inv_ex linalg_det det linalg_slogdet slogdet logdet "
       "linalg_cholesky linalg_cholesky_ex linalg_lu",
       {.dtypes = kWideFloats,
        .cost = kFactors,
        .workspace = 4,
        .work = Work::kMatrices,
        .check = CheckFactors}},
      {"linalg_solve linalg_solve_triangular",
       {.dtypes = kWideFloats,
        .cost = kFactors,
        .workspace = 4,
        .work = Work::kMatrices,
        .same_dtype = true,
        .check = CheckFactors}},
      {"linalg_lstsq",
       {.dtypes = kWideFloats,
        .cost = kFactors,
        .workspace = 4,
        .work = Work::kMatrices,
        .same_dtype = true,
        .check = CheckLeastSquares,
        .check_values = CheckFinite}},
      {"linalg_svd linalg_svdvals linalg_eigh linalg_eigvalsh linalg_eig linalg_eigvals "
       "linalg_pinv linalg_pinv.atol_rtol_float pinverse linalg_matrix_rank "
       "linalg_matrix_rank.atol_rtol_float linalg_cond",
       {.dtypes = kWideFloats,
        .cost = 2 * kFactors,
        .workspace = 8,
        .work = Work::kMatrices,
        .check = CheckFactors,
        .check_values = CheckFinite,
        .refused = "driver"}},
      {"linalg_matrix_power matrix_power",
       {.dtypes = kWideFloats,
        .cost = 12 * kFactors,
        .workspace = 4,
        .work = Work::kMatrices,
        .check = CheckMatrixPower}},

      // Transforms, convolutions, windows.
      {"fft_fft fft_ifft fft_fft2 fft_ifft2 fft_fftn fft_ifftn fft_irfft fft_irfft2 fft_irfftn "
       "fft_hfft",
       {.dtypes = kBools | kInts | kWideFloats | kComplex, .cost = kTransform, .workspace = 4}},
      {"fft_rfft fft_rfft2 fft_rfftn fft_ihfft",
       {.dtypes = kBools | kInts | kWideFloats, .cost = kTransform, .workspace = 4}},
      {"fft_fftshift fft_ifftshift", {.dtypes = kAny}},
      {"conv1d conv1d.padding conv2d conv2d.padding conv_transpose1d conv_transpose2d.input",
       {.dtypes = kFloats,
        .work = Work::kConvolution,
        .product_argument = "weight",
        .same_dtype = true,
        .check = CheckWindows}},
      {"avg_pool1d avg_pool2d max_pool1d max_pool1d_with_indices max_pool2d "
       "max_pool2d_with_indices",
       {.dtypes = kFloats,
        .workspace = 2,
        .work = Work::kWindows,
        .product_argument = "kernel_size",
        .check = CheckWindows}},
      {"adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d",
       {.dtypes = kFloats, .cost = 4, .workspace = 2, .check = CheckWindows}},
      {"upsample_nearest1d upsample_nearest2d upsample_linear1d upsample_bilinear2d "
       "upsample_bicubic2d",
       {.dtypes = kFloats,
        .cost = 20,
        .workspace = 1,
        .check = CheckWindows,
        .refused = "scales scales_h scales_w"}},

      // Views.
      {"view view_as transpose.int t permute select.int slice.Tensor narrow squeeze squeeze.dim "
       "squeeze.dims unsqueeze movedim.int movedim.intlist moveaxis.int moveaxis.intlist swapaxes "
       "swapdims diagonal linalg_diagonal unflatten.int alias detach numpy_T mT",
       {.makes = Makes::kView, .dtypes = kAny}},
      {"split.Tensor", {.makes = Makes::kView, .dtypes = kAny, .check = CheckSplit}},
      {"chunk tensor_split.sections hsplit.int vsplit.int dsplit.int",
       {.makes = Makes::kView, .dtypes = kAny, .check = CheckSections}},
      {"split.sizes split_with_sizes tensor_split.indices hsplit.array vsplit.array dsplit.array",
       {.makes = Makes::kView, .dtypes = kAny, .check = CheckListOfSizes}},
      {"unbind.int", {.makes = Makes::kView, .dtypes = kAny, .check = CheckUnbind}},
      {"expand expand_as broadcast_to unfold", {.makes = Makes::kOverlappingView, .dtypes = kAny}},
      {"reshape flatten.using_ints ravel contiguous atleast_1d atleast_2d atleast_3d sum_to_size "
       "meshgrid meshgrid.indexing",
       {.makes = Makes::kMaybeView, .dtypes = kAny}},
      {"to.dtype to.other type_as", {.makes = Makes::kMaybeView}},

      // Copies and joins.
      {"clone copy copy_ cat concat concatenate stack hstack vstack dstack row_stack column_stack "
       "repeat tile repeat_interleave.self_int roll flip fliplr flipud rot90 constant_pad_nd "
       "fill.Scalar fill.Tensor fill_.Scalar fill_.Tensor zero zero_ select_scatter slice_scatter "
       "diagonal_scatter",
       {.dtypes = kAny}},
      {"cartesian_prod", {.makes = Makes::kMaybeView, .workspace = 2}},
      {"pad", {.check = CheckPadMode}},

      // Indexing.
      {"index_select gather",
       {.dtypes = kAny, .indices = {{.index = "index", .dimension = "dim"}}}},
      {"take_along_dim", {.dtypes = kAny, .indices = {{.index = "indices", .dimension = "dim"}}}},
      {"take",
       {.dtypes = kAny,
        .indices = {{.index = "index", .constant = IndexRange::kFlattened, .negative = true}}}},
      {"index.Tensor",
       {.dtypes = kAny,
        .check = CheckIndexKinds,
        .indices = {{.index = "indices", .constant = IndexRange::kByPlace, .negative = true}}}},
      {"index_put index_put_",
       {.dtypes = kAny,
        .check = CheckIndexPut,
        .indices = {{.index = "indices", .constant = IndexRange::kByPlace, .negative = true}}}},
      {"put put_",
       {.check = CheckPut,
        .indices = {{.index = "index", .constant = IndexRange::kFlattened, .negative = true}}}},
      {"index_add index_add_ index_copy index_copy_ scatter.src scatter.value scatter_.src "
       "scatter_.value scatter_add scatter_add_",
       {.indices = {{.index = "index", .dimension = "dim"}}}},
      {"scatter_reduce.two scatter_reduce_.two index_reduce index_reduce_",
       {.dtypes = kNumbers, .indices = {{.index = "index", .dimension = "dim"}}}},
      {"index_fill.int_Scalar index_fill.int_Tensor index_fill_.int_Scalar index_fill_.int_Tensor",
       {.check = CheckIndexFill,
        .indices = {{.index = "index", .dimension = "dim", .negative = true}}}},
      {"masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor",
       {.dtypes = kAny, .check = CheckMaskedFill}},
      {"masked_scatter masked_scatter_",
       {.workspace = 2, .check = CheckMaskedScatter, .check_values = CheckEnoughToScatter}},
      {"embedding", {.indices = {{.index = "indices", .source = "weight", .constant = 0}}}},
      {"one_hot",
       {.dtypes = kInts,
        .check = CheckClasses,
        .indices = {{.index = "self", .source = "num_classes"}}}},

      // Shapes, as numbers.
      {"size size.int numel dim", {.dtypes = kAny, .cost = 0}},

      // Factories.
      {"zeros ones full eye eye.m linspace logspace scalar_tensor fft_fftfreq fft_rfftfreq "
       "zeros_like ones_like full_like new_zeros new_ones new_full",
       {.dtypes = kAny}},
      {"arange arange.start arange.start_step", {.check = CheckNoFloats}},
      {"tril_indices triu_indices", {.check = CheckWindows}},

      // Random numbers, from the generator that the run gives.
      {"rand.generator randn.generator randperm.generator", {.cost = 4}},
      {"randint.generator randint.low_generator", {.cost = 4, .check = CheckRange}},
      {"rand_like.generator randn_like.generator", {.dtypes = kFloats, .cost = 4}},
      {"randint_like.generator randint_like.low_generator_dtype",
       {.dtypes = kNumbers, .cost = 4, .check = CheckRange}},
      {"bernoulli", {.dtypes = kFloats, .cost = 4, .check_values = CheckProbabilities}},
      {"bernoulli.p bernoulli_.float=bernoulli.p", {.cost = 4}},
      {"bernoulli.Tensor bernoulli_.Tensor",
       {.cost = 4, .check = CheckBernoulli, .check_values = CheckOtherProbabilities}},
      {"normal.Tensor_Tensor normal.Tensor_float normal.float_Tensor normal.float_float "
       "normal_functional normal_=normal_functional uniform uniform_ exponential exponential_",
       {.dtypes = kFloats, .cost = kFunction, .workspace = 1}},
      {"multinomial",
       {.dtypes = kFloats, .cost = kSort, .workspace = 4, .check_values = CheckChances}},

      // Losses.
      {"mse_loss l1_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy_with_logits",
       {.dtypes = kFloats, .cost = 4, .workspace = 2}},
      {"cosine_embedding_loss hinge_embedding_loss margin_ranking_loss triplet_margin_loss "
       "soft_margin_loss poisson_nll_loss",
       {.dtypes = kFloats, .cost = 2 * kFunction, .workspace = 4}},
      {"binary_cross_entropy",
       {.dtypes = kFloats,
        .cost = 2 * kFunction,
        .workspace = 2,
        .same_dtype = true,
        .check = CheckSameShape,
        .check_values = CheckProbabilitiesAndTarget}},
      {"cross_entropy_loss",
       {.dtypes = kFloats,
        .cost = 2 * kFunction,
        .workspace = 2,
        .check = CheckTargetOrProbabilities,
        .indices = {{.index = "target", .constant = 1, .ignore = "ignore_index"}}}},
      {"nll_loss nll_loss_nd",
       {.dtypes = kFloats,
        .check = CheckTarget,
        .indices = {{.index = "target", .constant = 1, .ignore = "ignore_index"}}}},
  };
  return *kRows;
}

}  // namespace weft::plan
