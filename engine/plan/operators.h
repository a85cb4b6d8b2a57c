#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace weft::plan {

/// What an operator's result is to its first tensor argument.
enum class Makes : uint8_t {
  kFresh,            // memory of its own
  kView,             // always a view, in which no two elements share memory; a list of such views
  kOverlappingView,  // a view in which elements may share memory (expand, unfold)
  kMaybeView,        // a view or a copy, depending on strides and dtypes (reshape, contiguous, to)
};

/// Dtypes of an operator's first tensor argument (of every tensor, if it is a list), as a set of
/// bits. What the others may be is the kernel's to say.
enum DTypeClass : uint8_t {
  kBools = 1,
  kInts = 2,         // of 8 to 64 bits
  kWideFloats = 4,   // float32, float64
  kShortFloats = 8,  // float16, bfloat16
  kComplex = 16,
  kFloats = kWideFloats | kShortFloats,
};

/// Values of an index argument must lie in [-size or 0, size), where size is that of a dimension of
/// another argument. Checked before the kernel runs, because a device kernel asserts instead of
/// failing. An index tensor of floats (the probabilities that a loss may take) is not checked.
struct IndexRange {
  /// Indices are into the source as if it had one dimension.
  static constexpr int kFlattened = -1;
  /// Each tensor of a list indexes the dimension of its place in the list.
  static constexpr int kByPlace = -2;

  int index_argument = 0;   // the tensor (or list of optional tensors) of indices
  int source_argument = 0;  // the tensor that is indexed, or an integer: the size itself
  int dimension_argument =
      -1;                    // the schema argument that names the dimension (none: flattened), or
  int dimension = 0;         // the dimension itself (the last, if there are fewer)
  bool negative = false;     // negative indices count from the end
  int ignore_argument = -1;  // the schema argument with a value that is allowed besides
};

/// How an operator's work grows.
enum class Work : uint8_t {
  kElements,   // with the elements of the largest of arguments and results
  kProduct,    // a matrix product: with results times the last dimension of `product_argument`
  kEinsum,     // with the product of all of the equation's dimensions
  kAttention,  // with queries times keys
  kPairs,      // with the pairs of rows of two arguments
  /// A product over some dimensions of `product_argument` and the tensor after it.
  kContraction,
  kMatrices,     // with the elements of the first tensor times the smaller side of its matrices
  kConvolution,  // with results times the weights (`product_argument`) of one of their channels
  kWindows,      // with results times the size of a window (`product_argument`)
};

/// One overload of one operator that programs may use. A row is complete: what is not here cannot
/// be called.
struct OperatorRow {
  std::string name;      // `aten::mul`
  std::string overload;  // `Tensor`, or empty
  Makes makes = Makes::kFresh;
  /// For an in-place operator: the overload (`aten::mul.Tensor`) that computes the same out of
  /// place, from the same arguments. Its result may have another dtype than `self`, which the
  /// in-place operator keeps (by a conversion that torch's own rules allow: RunMeta of the in-place
  /// row has checked it, and that the shapes fit).
  const OperatorRow* fresh = nullptr;
  uint8_t dtypes = kBools | kInts | kFloats;
  /// Whether it draws numbers, and the schema argument that takes the generator to draw from:
  /// RunReal finds it on the stack, put there by GiveGenerator.
  bool random = false;
  int generator_argument = -1;
  std::vector<IndexRange> index_ranges;
  /// What else must hold of the arguments beyond what torch checks: of what is known before
  /// running (RunMeta asks), and of values (RunReal asks). Null if nothing.
  absl::Status (*check)(const c10::Stack& stack) = nullptr;
  absl::Status (*check_values)(const c10::Stack& stack) = nullptr;
  /// Arguments that programs may not give (`device`, `dropout_p`), as a set of bits by position.
  uint64_t refused_arguments = 0;
  /// Whether all tensors must have one dtype (torch's Meta kernels of products do not look).
  bool same_dtype = false;
  /// Whether a number may stand for a tensor other than the first one (as `torch.mul(x, 2)` does).
  bool takes_numbers = false;
  /// Operations per element (see Work).
  double cost_per_element = 1;
  Work work = Work::kElements;
  int product_argument = 0;
  /// Bytes of temporary memory per byte of the largest of arguments and results.
  double workspace = 0;
  /// `view`: the result's shape may not be one that can be cut out of memory as it lies.
  bool reshapes = false;
  /// For a factory (`zeros`): the schema argument that names the device, else -1. It is `none` on a
  /// resolved stack: RunMeta sets it; RunReal runs as it finds it, and none means the CPU.
  int device_argument = -1;

  c10::OperatorHandle handle;
  const c10::FunctionSchema& schema() const { return handle.schema(); }
  bool in_place() const { return fresh != nullptr; }
  /// Whether an argument is a list of indices, in which booleans are a mask.
  bool TakesIndices(int argument) const {
    return schema().arguments()[argument].type()->kind() == c10::TypeKind::ListType &&
           schema().arguments()[argument].name() == "indices";
  }
  /// `aten::mul.Tensor`
  std::string qualified() const;
};

/// The overload's schema as programs may use it: without the arguments that they may not give.
/// `aten::rand.generator(int[] size, *, ScalarType? dtype=None) -> Tensor`
std::string ProgramSchema(const OperatorRow& row);

/// The positive list, made at first use. Const and thread-safe afterwards.
class OperatorTable {
 public:
  static const OperatorTable& Get();

  /// The overloads of `name` in the order in which they are tried; empty if there are none.
  absl::Span<const OperatorRow* const> Find(const std::string& name) const;
  /// One overload by `aten::mul.Tensor`; nullptr if it is not in the table.
  const OperatorRow* FindOverload(const std::string& qualified) const;
  /// All rows, by name.
  absl::Span<const OperatorRow* const> rows() const;
  /// Number of operators (names) in the table, in-place ones included.
  int size() const;
  /// Why `name` is not in the table, in a sentence that names the way out: kNotFound for what does
  /// not exist (with the closest names), kPermissionDenied for what exists and is refused
  /// (uninitialised memory, strides, out=, random numbers without a generator, private, resizing,
  /// data-dependent sizes).
  absl::Status WhyNot(const std::string& name) const;

 private:
  struct Index;
  explicit OperatorTable(const Index* index) : index_(index) {}
  const Index* index_;
};

/// An argument at a call: by position (`name` empty) or by name. Tensors are meta tensors, lists of
/// tensors are c10::List<at::Tensor>, numbers int64_t/double/bool, dtypes at::ScalarType as int.
struct CallArgument {
  std::string name;
  c10::IValue value;
};

struct ResolvedCall {
  const OperatorRow* row = nullptr;
  /// One per schema argument, converted to the schema's types, defaults filled in: ready to call.
  c10::Stack stack;
  /// For each schema argument, the CallArgument it came from, or -1 for a default.
  std::vector<int> source;
};

/// Choose the overload as PyTorch's argument parser does (the first in order that the arguments
/// fit: a number for a Scalar, an int for a float, one int for int[k], none for an optional, a
/// 0-dim tensor is a tensor) and bind the arguments. `name` may carry an overload
/// (`aten::mul.Tensor`), as torch.ops does. kInvalidArgument listing the signatures and
/// what did not fit; kNotFound or kPermissionDenied via WhyNot. Checks `dtypes` of the row.
absl::StatusOr<ResolvedCall> ResolveCall(const std::string& name,
                                         absl::Span<const CallArgument> arguments);

/// Convert one value that fits to a schema argument's type, as ResolveCall did; used to bind a
/// literal that a cached plan keeps outside of its key. No check of a row depends on the value of
/// a float.
c10::IValue ConvertTo(const c10::IValue& value, const c10::Argument& argument);

/// Shapes and dtypes: run the row's kernel on meta tensors. Torch's complaint comes back as
/// kInvalidArgument without its backtrace. `stack` is consumed.
absl::StatusOr<c10::IValue> RunMeta(const OperatorRow& row, c10::Stack stack);

/// Check index_ranges, then run the row's real kernel, in the caller's mode (InferenceMode or not).
/// An in-place row truly works in place: see OperatorRow::fresh. Torch's complaint comes back as
/// kInvalidArgument (kResourceExhausted where memory ran out) without its backtrace.
/// The result is one IValue: a tensor, list, scalar, or a tuple of several results.
absl::StatusOr<c10::IValue> RunReal(const OperatorRow& row, c10::Stack stack);

/// Check of real arguments what RunMeta checks, where their sizes were not known when it did.
absl::Status CheckSizes(const OperatorRow& row, const c10::Stack& stack);

/// Put a generator on the stack of a random row, on the device where it draws (the CPU's is
/// std::mt19937's engine, a GPU's is torch's own for that device). Equal seeds give equal numbers
/// on equal devices.
void GiveGenerator(const OperatorRow& row, c10::Stack& stack, uint64_t seed);

/// Make the first argument of a view contiguous if its elements lie in another order than the view
/// needs, which is a matter of the host's and never the program's. RunReal does so. True if it did:
/// then what is written into the view is not written into what was given.
bool MakeViewable(const OperatorRow& row, c10::Stack& stack);

/// Floating-point operations and bytes of workspace of one call, from its (meta or real) arguments
/// and result.
struct CallCost {
  double operations = 0;
  double workspace_bytes = 0;
};
CallCost CostOf(const OperatorRow& row, const c10::Stack& arguments, const c10::IValue& result);

/// The one function in which torch's exceptions stop: calls `body` and turns what it throws into a
/// status, without a backtrace. Out of memory is kResourceExhausted, a failed check or an index out
/// of range kInvalidArgument, anything else kInternal.
absl::Status CatchTorch(absl::FunctionRef<absl::Status()> body);

}  // namespace weft::plan
