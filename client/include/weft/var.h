#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "weft/location.h"
#include "weft/saved.h"
#include "weft/tensor.h"

namespace weft {

class Arg;
class Indices;
class Operand;
namespace internal {
class Recording;
}  // namespace internal

/// Python's `None`: a new axis in an index, an open end of a slice, an absent argument.
struct NoneType {};
inline constexpr NoneType None;

/// Python's `...` in an index.
struct Ellipsis {};

/// Python's `start:stop:step` in an index; `Slice()` is `:`, `Slice(None, -1)` is `:-1`.
class Slice {
 public:
  class Bound {
   public:
    Bound(NoneType) {}                       // NOLINT: bounds are written as they are
    Bound(int64_t value) : value_(value) {}  // NOLINT
    const std::optional<int64_t>& value() const { return value_; }

   private:
    std::optional<int64_t> value_;
  };

  Slice() = default;
  explicit Slice(Bound start, Bound stop = None, Bound step = None)
      : start_(start.value()), stop_(stop.value()), step_(step.value()) {}
  const std::optional<int64_t>& start() const { return start_; }
  const std::optional<int64_t>& stop() const { return stop_; }
  const std::optional<int64_t>& step() const { return step_; }

 private:
  std::optional<int64_t> start_, stop_, step_;
};

/// Dimensions or sizes: one, or a list in braces.
class Dims {
 public:
  Dims(std::integral auto dimension) : values_{static_cast<int64_t>(dimension)} {}  // NOLINT
  Dims(std::initializer_list<int64_t> values) : values_(values) {}                  // NOLINT
  Dims(std::vector<int64_t> values) : values_(std::move(values)) {}                 // NOLINT
  const std::vector<int64_t>& values() const { return values_; }

 private:
  std::vector<int64_t> values_;
};

/// A value inside the model, which exists only while the server runs the program. Inside a trace,
/// everything done to it is recorded as a statement; nothing is computed on the client.
///
/// Members and free functions (weft/ops.h) are torch's, and mean what they mean in torch. A
/// variable can be given another value (`h = h * 2` records a product and changes nothing in the
/// model); what changes the model is writing to a site or a slice, and operators in place:
///
///   model["lm_head"].output() = x;     h[{Slice(), -1}] = x;
///   h[{Slice(), -1}] *= 3.0;           h += x;  h.zero_();
///
/// A Var that is used outside of its trace makes that trace fail with the statement's place, and
/// does nothing where there is no trace. Copies name the same value. Not thread-safe.
class Var {
 public:
  /// Names no value yet.
  Var() = default;
  Var(const Var&) = default;
  Var& operator=(const Var&) & = default;

  /// Write to what this temporary names: a site (`module.output() = x`), or a part of a value.
  /// Converts and broadcasts as torch's copy_, but for a whole site, which takes a value of its own
  /// shape (or a number, to fill it).
  void operator=(const Operand& value) &&;

  /// An item of a structure, or tensor indexing as in Python: `h[0]`, `h[{Slice(), -1}]`,
  /// `h[mask]`, `h["logits"]`.
  Var operator[](const Indices& indices) const&;
  Var operator[](const Indices& indices) &&;
  /// Row `index` of the first dimension, where a lone integer might mean an item of a tuple.
  Var row(int64_t index, Location where = Location::current()) const;

  /// Go backwards from this value, a scalar. `body` reads and writes gradients, with `grad()`, of
  /// values that were made before; it runs at once, and what it records runs as each gradient
  /// comes. Several go backwards one after the other.
  void backward(absl::FunctionRef<void()> body, Location where = Location::current()) const;
  /// The same from a value of any shape, whose gradient is `gradient`.
  void backward(const Operand& gradient, absl::FunctionRef<void()> body) const;
  /// The gradient of the value, as it is in this trace; only inside of `backward`. Assigning to it
  /// (`h.grad() = x`, `h.grad() *= 2`) changes what flows on from here.
  Var grad(Location where = Location::current()) const;

  /// Bring the value back under `name`, or under its place among the trace's saves (`save0`).
  Saved<Tensor> save(Location where = Location::current()) const;
  Saved<Tensor> save(const std::string& name, Location where = Location::current()) const;

  // Operators in place on a variable make a new version of it and of the site it was read from;
  // on a temporary they write it back.
  Var& operator+=(const Operand& other) &;
  Var& operator-=(const Operand& other) &;
  Var& operator*=(const Operand& other) &;
  Var& operator/=(const Operand& other) &;
  void operator+=(const Operand& other) &&;
  void operator-=(const Operand& other) &&;
  void operator*=(const Operand& other) &&;
  void operator/=(const Operand& other) &&;

  // Declared here, and not among the operators of weft/ops.h, so that they are found only where a
  // Var takes part. `&`, `|`, `^` and `~` are torch's bitwise operators.
  friend Var operator+(const Operand& a, const Operand& b);
  friend Var operator-(const Operand& a, const Operand& b);
  friend Var operator*(const Operand& a, const Operand& b);
  friend Var operator/(const Operand& a, const Operand& b);
  friend Var operator%(const Operand& a, const Operand& b);
  friend Var operator==(const Operand& a, const Operand& b);
  friend Var operator!=(const Operand& a, const Operand& b);
  friend Var operator<(const Operand& a, const Operand& b);
  friend Var operator<=(const Operand& a, const Operand& b);
  friend Var operator>(const Operand& a, const Operand& b);
  friend Var operator>=(const Operand& a, const Operand& b);
  friend Var operator&(const Operand& a, const Operand& b);
  friend Var operator|(const Operand& a, const Operand& b);
  friend Var operator^(const Operand& a, const Operand& b);
  friend Var operator-(const Operand& a);
  friend Var operator~(const Operand& a);

  /// A recorded value is not known on the client: choose with where().
  explicit operator bool() const = delete;

  // Element by element.
  Var abs(Location where = Location::current()) const;
  Var neg(Location where = Location::current()) const;
  Var exp(Location where = Location::current()) const;
  Var expm1(Location where = Location::current()) const;
  Var log(Location where = Location::current()) const;
  Var log1p(Location where = Location::current()) const;
  Var sqrt(Location where = Location::current()) const;
  Var rsqrt(Location where = Location::current()) const;
  Var reciprocal(Location where = Location::current()) const;
  Var square(Location where = Location::current()) const;
  Var sin(Location where = Location::current()) const;
  Var cos(Location where = Location::current()) const;
  Var tan(Location where = Location::current()) const;
  Var tanh(Location where = Location::current()) const;
  Var erf(Location where = Location::current()) const;
  Var sigmoid(Location where = Location::current()) const;
  Var relu(Location where = Location::current()) const;
  Var silu(Location where = Location::current()) const;
  Var sign(Location where = Location::current()) const;
  Var round(Location where = Location::current()) const;
  Var floor(Location where = Location::current()) const;
  Var ceil(Location where = Location::current()) const;
  Var trunc(Location where = Location::current()) const;
  Var isnan(Location where = Location::current()) const;
  Var isinf(Location where = Location::current()) const;
  Var isfinite(Location where = Location::current()) const;
  Var logical_not(Location where = Location::current()) const;
  Var bitwise_not(Location where = Location::current()) const;
  Var gelu(const std::string& approximate = "none", Location where = Location::current()) const;
  Var add(const Operand& other) const;
  Var sub(const Operand& other) const;
  Var mul(const Operand& other) const;
  Var div(const Operand& other) const;
  Var pow(const Operand& other) const;
  Var remainder(const Operand& other) const;
  Var floor_divide(const Operand& other) const;
  Var eq(const Operand& other) const;
  Var ne(const Operand& other) const;
  Var lt(const Operand& other) const;
  Var le(const Operand& other) const;
  Var gt(const Operand& other) const;
  Var ge(const Operand& other) const;
  Var maximum(const Operand& other) const;
  Var minimum(const Operand& other) const;
  Var logical_and(const Operand& other) const;
  Var logical_or(const Operand& other) const;
  Var logical_xor(const Operand& other) const;
  Var bitwise_and(const Operand& other) const;
  Var bitwise_or(const Operand& other) const;
  Var bitwise_xor(const Operand& other) const;
  Var clamp(const Arg& min, Location where = Location::current()) const;
  Var clamp(const Arg& min, const Arg& max, Location where = Location::current()) const;
  Var masked_fill(const Operand& mask, const Operand& value) const;
  Var to(DType dtype, Location where = Location::current()) const;
  Var clone(Location where = Location::current()) const;

  // In place: a new version of this value, and of the site it was read from.
  Var zero_(Location where = Location::current()) const;
  Var abs_(Location where = Location::current()) const;
  Var neg_(Location where = Location::current()) const;
  Var exp_(Location where = Location::current()) const;
  Var sqrt_(Location where = Location::current()) const;
  Var tanh_(Location where = Location::current()) const;
  Var sigmoid_(Location where = Location::current()) const;
  Var relu_(Location where = Location::current()) const;
  Var add_(const Operand& other) const;
  Var sub_(const Operand& other) const;
  Var mul_(const Operand& other) const;
  Var div_(const Operand& other) const;
  Var pow_(const Operand& other) const;
  Var fill_(const Operand& other) const;
  Var copy_(const Operand& other) const;
  Var clamp_(const Arg& min, Location where = Location::current()) const;
  Var clamp_(const Arg& min, const Arg& max, Location where = Location::current()) const;
  Var masked_fill_(const Operand& mask, const Operand& value) const;

  // Products.
  Var matmul(const Operand& other) const;
  Var mm(const Operand& other) const;
  Var bmm(const Operand& other) const;
  Var mv(const Operand& other) const;
  Var dot(const Operand& other) const;
  Var outer(const Operand& other) const;

  // Reductions. Without dimensions they are over all elements.
  Var sum(Location where = Location::current()) const;
  Var sum(const Dims& dims, bool keepdim = false, Location where = Location::current()) const;
  Var mean(Location where = Location::current()) const;
  Var mean(const Dims& dims, bool keepdim = false, Location where = Location::current()) const;
  Var amax(Location where = Location::current()) const;
  Var amax(const Dims& dims, bool keepdim = false, Location where = Location::current()) const;
  Var amin(Location where = Location::current()) const;
  Var amin(const Dims& dims, bool keepdim = false, Location where = Location::current()) const;
  Var all(Location where = Location::current()) const;
  Var all(int64_t dim, bool keepdim = false, Location where = Location::current()) const;
  Var any(Location where = Location::current()) const;
  Var any(int64_t dim, bool keepdim = false, Location where = Location::current()) const;
  Var var(const Dims& dims, bool unbiased = true, bool keepdim = false,
          Location where = Location::current()) const;
  Var std(const Dims& dims, bool unbiased = true, bool keepdim = false,
          Location where = Location::current()) const;
  Var norm(double p = 2.0, Location where = Location::current()) const;
  Var norm(double p, const Dims& dims, bool keepdim = false,
           Location where = Location::current()) const;
  Var logsumexp(const Dims& dims, bool keepdim = false, Location where = Location::current()) const;
  Var cumsum(int64_t dim, Location where = Location::current()) const;
  Var softmax(int64_t dim, Location where = Location::current()) const;
  Var log_softmax(int64_t dim, Location where = Location::current()) const;
  Var argmax(Location where = Location::current()) const;
  Var argmax(int64_t dim, bool keepdim = false, Location where = Location::current()) const;
  Var argmin(Location where = Location::current()) const;
  Var argmin(int64_t dim, bool keepdim = false, Location where = Location::current()) const;
  Var max(Location where = Location::current()) const;
  Var min(Location where = Location::current()) const;
  /// Values and indices.
  std::pair<Var, Var> max(int64_t dim, bool keepdim = false,
                          Location where = Location::current()) const;
  std::pair<Var, Var> min(int64_t dim, bool keepdim = false,
                          Location where = Location::current()) const;
  std::pair<Var, Var> topk(int64_t k, int64_t dim = -1, bool largest = true,
                           Location where = Location::current()) const;
  std::pair<Var, Var> sort(int64_t dim = -1, bool descending = false,
                           Location where = Location::current()) const;

  // Shapes.
  Var view(const Dims& sizes, Location where = Location::current()) const;
  Var reshape(const Dims& sizes, Location where = Location::current()) const;
  Var expand(const Dims& sizes, Location where = Location::current()) const;
  Var repeat(const Dims& sizes, Location where = Location::current()) const;
  Var permute(const Dims& dims, Location where = Location::current()) const;
  Var flip(const Dims& dims, Location where = Location::current()) const;
  Var transpose(int64_t dim0, int64_t dim1, Location where = Location::current()) const;
  Var t(Location where = Location::current()) const;
  Var unsqueeze(int64_t dim, Location where = Location::current()) const;
  Var squeeze(int64_t dim, Location where = Location::current()) const;
  Var flatten(int64_t start_dim = 0, int64_t end_dim = -1,
              Location where = Location::current()) const;
  /// Dimension `dim` as several: a view. One of `sizes` may be -1.
  Var unflatten(int64_t dim, const Dims& sizes, Location where = Location::current()) const;
  Var contiguous(Location where = Location::current()) const;
  Var select(int64_t dim, int64_t index, Location where = Location::current()) const;
  Var narrow(int64_t dim, int64_t start, int64_t length,
             Location where = Location::current()) const;
  Var tril(int64_t diagonal = 0, Location where = Location::current()) const;
  Var triu(int64_t diagonal = 0, Location where = Location::current()) const;
  /// Lists of parts: `x.split(48, -1)[0]`.
  Var split(int64_t size, int64_t dim = 0, Location where = Location::current()) const;
  Var chunk(int64_t count, int64_t dim = 0, Location where = Location::current()) const;
  Var unbind(int64_t dim = 0, Location where = Location::current()) const;

  // By index.
  Var gather(int64_t dim, const Operand& index) const;
  Var index_select(int64_t dim, const Operand& index) const;
  Var scatter(int64_t dim, const Operand& index, const Operand& source) const;
  Var index_copy(int64_t dim, const Operand& index, const Operand& source) const;
  Var index_add(int64_t dim, const Operand& index, const Operand& source) const;

  // New values.

  // Of language models.

 private:
  friend class internal::Recording;
  Var(uint64_t recording, uint32_t node) : recording_(recording), node_(node) {}

  uint64_t recording_ = 0;  // which; 0 for none
  uint32_t node_ = 0;       // 0 in a recording: a statement that could not be recorded
};

/// An argument of an operator or module: a value, a number, a tensor of constants, a string, a
/// dtype, none, or a list of arguments.
class Arg {
 public:
  using List = std::vector<Arg>;
  using Variant =
      std::variant<NoneType, Var, bool, int64_t, double, std::string, DType, Tensor, List>;

  // All implicit: arguments are written as they are.
  Arg(NoneType none) : value_(none) {}      // NOLINT
  Arg(const Var& value) : value_(value) {}  // NOLINT
  template <typename T>
  requires std::is_arithmetic_v<T> Arg(T value) {  // NOLINT
    if constexpr (std::is_same_v<T, bool>) {
      value_ = value;
    } else if constexpr (std::is_integral_v<T>) {
      value_ = static_cast<int64_t>(value);
    } else {
      value_ = static_cast<double>(value);
    }
  }
  Arg(const char* value) : value_(std::string(value)) {}          // NOLINT
  Arg(std::string value) : value_(std::move(value)) {}            // NOLINT
  Arg(DType value) : value_(value) {}                             // NOLINT
  Arg(Tensor value) : value_(std::move(value)) {}                 // NOLINT
  Arg(std::initializer_list<Arg> items) : value_(List(items)) {}  // NOLINT
  template <typename T>
  Arg(const std::vector<T>& items) : value_(List(items.begin(), items.end())) {}  // NOLINT

  const Variant& value() const { return value_; }

 private:
  Variant value_;
};

/// One side of an operator: a value, a number, or a tensor of constants, with the line on which it
/// was written.
class Operand {
 public:
  Operand(const Var& value, Location where = Location::current())  // NOLINT
      : arg_(value), where_(where) {}
  Operand(const Tensor& value, Location where = Location::current())  // NOLINT
      : arg_(value), where_(where) {}
  template <typename T>
  requires std::is_arithmetic_v<T> Operand(T value, Location where = Location::current())
      : arg_(value), where_(where) {}  // NOLINT

  const Arg& arg() const { return arg_; }
  const Location& where() const { return where_; }

 private:
  Arg arg_;
  Location where_;
};

/// One term of an index.
class IndexTerm {
 public:
  using Variant = std::variant<int64_t, Slice, Ellipsis, NoneType, Var, Tensor, std::string>;

  IndexTerm(std::integral auto value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
  IndexTerm(Slice value) : value_(std::move(value)) {}                          // NOLINT
  IndexTerm(Ellipsis value) : value_(value) {}                                  // NOLINT
  IndexTerm(NoneType value) : value_(value) {}                                  // NOLINT
  IndexTerm(const Var& value) : value_(value) {}                                // NOLINT
  IndexTerm(Tensor value) : value_(std::move(value)) {}                         // NOLINT
  IndexTerm(const char* key) : value_(std::string(key)) {}                      // NOLINT
  IndexTerm(std::string key) : value_(std::move(key)) {}                        // NOLINT

  const Variant& value() const { return value_; }

 private:
  Variant value_;
};

/// What stands between the brackets of `h[...]`: a term, or several in braces.
class Indices {
 public:
  template <typename T>
  requires std::convertible_to<const T&, IndexTerm> Indices(
      const T& term, Location where = Location::current())  // NOLINT
      : terms_{IndexTerm(term)}, where_(where) {}
  Indices(std::initializer_list<IndexTerm> terms, Location where = Location::current())  // NOLINT
      : terms_(terms), where_(where) {}
  Indices(std::vector<IndexTerm> terms, Location where = Location::current())  // NOLINT
      : terms_(std::move(terms)), where_(where) {}

  const std::vector<IndexTerm>& terms() const { return terms_; }
  const Location& where() const { return where_; }

 private:
  std::vector<IndexTerm> terms_;
  Location where_;
};

}  // namespace weft
