#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "weft/blob.h"
#include "weft/location.h"
#include "weft/param.h"
#include "weft/saved.h"
#include "weft/tensor.h"

namespace weft {

class Arg;
class Carry;
class Indices;
class Operand;
namespace internal {
class Recording;
/// None, where an argument's type is not complete yet.
const Arg& NoArg();
}  // namespace internal

/// Python's `None`: a new axis in an index, an open end of a slice, an absent argument.
struct NoneType {
  template <typename T>
  constexpr operator std::optional<T>() const {  // NOLINT
    return std::nullopt;
  }
};
inline constexpr NoneType None;

/// Python's `...` in an index.
struct Ellipsis {};

/// Python's `start:stop:step` in an index; `Slice()` is `:`, `Slice(None, -1)` is `:-1`. A sweep's
/// parameter may be a start or a stop.
class Slice {
 public:
  class Bound {
   public:
    Bound(NoneType) {}               // NOLINT: bounds are written
    Bound(std::integral auto value)  // NOLINT: as they are
        : value_(static_cast<int64_t>(value)) {}
    Bound(Param parameter) : parameter_(std::move(parameter)) {}  // NOLINT
    const std::optional<int64_t>& value() const { return value_; }
    const std::optional<Param>& parameter() const { return parameter_; }

   private:
    std::optional<int64_t> value_;
    std::optional<Param> parameter_;
  };

  class Stride {
   public:
    Stride(NoneType) {}                                                        // NOLINT
    Stride(std::integral auto value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
    const std::optional<int64_t>& value() const { return value_; }

   private:
    std::optional<int64_t> value_;
  };

  Slice() = default;
  explicit Slice(Bound start, Bound stop = None, Stride step = None)
      : start_(std::move(start)), stop_(std::move(stop)), step_(step.value()) {}
  const std::optional<int64_t>& start() const { return start_.value(); }
  const std::optional<int64_t>& stop() const { return stop_.value(); }
  const std::optional<int64_t>& step() const { return step_; }
  const std::optional<Param>& start_parameter() const { return start_.parameter(); }
  const std::optional<Param>& stop_parameter() const { return stop_.parameter(); }

 private:
  Bound start_ = None, stop_ = None;
  std::optional<int64_t> step_;
};

/// Tokens of a row: one, a slice, or a list in braces; negative ones count from the end.
class TokenSelection {
 public:
  TokenSelection(std::integral auto token) : value_(static_cast<int64_t>(token)) {}       // NOLINT
  TokenSelection(Param token) : value_(std::move(token)) {}                               // NOLINT
  TokenSelection(Slice tokens) : value_(std::move(tokens)) {}                             // NOLINT
  TokenSelection(std::initializer_list<int64_t> tokens) : value_(std::vector(tokens)) {}  // NOLINT
  TokenSelection(std::vector<int64_t> tokens) : value_(std::move(tokens)) {}              // NOLINT
  const std::variant<int64_t, Param, Slice, std::vector<int64_t>>& value() const { return value_; }

 private:
  std::variant<int64_t, Param, Slice, std::vector<int64_t>> value_;
};

struct SaveOptions {
  /// The value is called this in the program and in RunResult; empty: by its place among the saves.
  std::string name = {};
  /// Convert floating-point tensors to it before they are sent.
  std::optional<DType> dtype = {};
  /// The value stays on the server, as a blob: Var::keep.
  bool keep = false;
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

/// A number that is part of a statement: true, an integer, or a float.
class Number {
 public:
  template <typename T>
  requires std::is_arithmetic_v<T> Number(T value) {  // NOLINT
    if constexpr (std::is_same_v<T, bool>) {
      value_ = value;
    } else if constexpr (std::is_integral_v<T>) {
      value_ = static_cast<int64_t>(value);
    } else {
      value_ = static_cast<double>(value);
    }
  }
  const std::variant<bool, int64_t, double>& value() const { return value_; }
  friend bool operator==(const Number&, const Number&) = default;

 private:
  std::variant<bool, int64_t, double> value_;
};

/// Dimensions or sizes that may be left out.
class OptionalDims {
 public:
  OptionalDims(NoneType) {}                                                      // NOLINT
  OptionalDims(const Dims& dims) : values_(dims.values()) {}                     // NOLINT
  OptionalDims(std::integral auto dimension) : OptionalDims(Dims(dimension)) {}  // NOLINT
  OptionalDims(std::initializer_list<int64_t> values) : values_(values) {}       // NOLINT
  OptionalDims(std::vector<int64_t> values) : values_(std::move(values)) {}      // NOLINT
  bool has_value() const { return values_.has_value(); }
  const std::vector<int64_t>& values() const { return *values_; }

 private:
  std::optional<std::vector<int64_t>> values_;
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
  /// The value that the carry has here.
  Var(const Carry& carry);  // NOLINT
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
  /// Real tokens of each row of a `[batch, tokens, ...]` value of this invoke, whatever its padding
  /// and the side that it is on: `h.token(0)` is every row's first, `h.token(-1)` its last,
  /// `h.token({0, 3})` two of them, `h.token(-3, None)` the last three. Can be assigned to. A row
  /// that has no such token is an error of the run.
  Var token(const TokenSelection& tokens, Location where = Location::current()) const&;
  Var token(const TokenSelection& tokens, Location where = Location::current()) &&;
  Var token(Slice::Bound start, Slice::Bound stop, Location where = Location::current()) const&;
  Var token(Slice::Bound start, Slice::Bound stop, Location where = Location::current()) &&;

  /// How many elements a dimension has, and all of those numbers, as values of the program.
  Var size(int64_t dimension, Location where = Location::current()) const;
  Var shape(Location where = Location::current()) const;

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
  Saved<Tensor> save(const SaveOptions& options, Location where = Location::current()) const;
  /// The same, but the value stays on the server: a Blob for later traces (Saved<Value> where it is
  /// a structure, with a Blob for each tensor).
  Saved<Blob> keep(Location where = Location::current()) const;
  Saved<Blob> keep(const std::string& name, Location where = Location::current()) const;

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

  // torch's methods: `h.softmax(-1)`, `h.topk(5).second`, `h.sum({0, 1}, true)`. Those in place
  // (`h.zero_()`) make a new version of this value, and of the site it was read from.
#include "weft/var_operators.inc"

 private:
  friend class Carry;
  friend class internal::Recording;
  Var(uint64_t recording, uint32_t node) : recording_(recording), node_(node) {}

  uint64_t recording_ = 0;  // which; 0 for none
  uint32_t node_ = 0;       // 0 in a recording: a statement that could not be recorded
};

/// An argument of an operator or module: a value, a number, a tensor of constants, a blob, a
/// string, a dtype, none, a sweep's parameter, or a list of arguments.
class Arg {
 public:
  using List = std::vector<Arg>;
  using Variant = std::variant<NoneType, Var, bool, int64_t, double, std::string, DType, Tensor,
                               List, Param, Blob>;

  // All implicit: arguments are written as they are.
  Arg(NoneType none) : value_(none) {}        // NOLINT
  Arg(const Var& value) : value_(value) {}    // NOLINT
  Arg(const Param& value) : value_(value) {}  // NOLINT
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
  Arg(const Number& number) {  // NOLINT
    std::visit([this](auto value) { value_ = value; }, number.value());
  }
  Arg(const char* value) : value_(std::string(value)) {}          // NOLINT
  Arg(std::string value) : value_(std::move(value)) {}            // NOLINT
  Arg(DType value) : value_(value) {}                             // NOLINT
  Arg(Tensor value) : value_(std::move(value)) {}                 // NOLINT
  Arg(Blob value) : value_(std::move(value)) {}                   // NOLINT
  Arg(std::initializer_list<Arg> items) : value_(List(items)) {}  // NOLINT
  template <typename T>
  Arg(const std::vector<T>& items) : value_(List(items.begin(), items.end())) {}  // NOLINT

  const Variant& value() const { return value_; }

 private:
  Variant value_;
};

/// One side of an operator: a value, a number, a tensor of constants, a blob, or a sweep's
/// parameter, with the line on which it was written.
class Operand {
 public:
  Operand(const Var& value, Location where = Location::current())  // NOLINT
      : arg_(value), where_(where) {}
  Operand(const Param& value, Location where = Location::current())  // NOLINT
      : arg_(value), where_(where) {}
  Operand(const Tensor& value, Location where = Location::current())  // NOLINT
      : arg_(value), where_(where) {}
  Operand(const Blob& value, Location where = Location::current())  // NOLINT
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
  using Variant = std::variant<int64_t, Slice, Ellipsis, NoneType, Var, Tensor, std::string, Param>;

  IndexTerm(std::integral auto value) : value_(static_cast<int64_t>(value)) {}  // NOLINT
  IndexTerm(Slice value) : value_(std::move(value)) {}                          // NOLINT
  IndexTerm(Ellipsis value) : value_(value) {}                                  // NOLINT
  IndexTerm(NoneType value) : value_(value) {}                                  // NOLINT
  IndexTerm(const Var& value) : value_(value) {}                                // NOLINT
  IndexTerm(Tensor value) : value_(std::move(value)) {}                         // NOLINT
  IndexTerm(const char* key) : value_(std::string(key)) {}                      // NOLINT
  IndexTerm(std::string key) : value_(std::move(key)) {}                        // NOLINT
  IndexTerm(Param parameter) : value_(std::move(parameter)) {}                  // NOLINT

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
