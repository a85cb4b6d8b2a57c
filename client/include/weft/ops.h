#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "weft/var.h"

// torch's functions over recorded values. Like the members of Var they only record; numbers and
// tensors among their arguments become constants of the program.

namespace weft {

/// Arguments by name.
using NamedArgs = std::vector<std::pair<std::string, Arg>>;

/// Any operator of the server's table (`weft operators` lists it), such as
/// `op("aten::gelu", {h}, {{"approximate", "tanh"}})`. The server resolves the overload as PyTorch
/// does.
Var op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named = {},
       Location where = Location::current());

/// A tensor as a value of the program, where an operand will not do.
Var constant(const Tensor& value, Location where = Location::current());

/// Structures of values, to be saved or passed to a module as one.
Var make_list(const std::vector<Arg>& items, Location where = Location::current());
Var make_tuple(const std::vector<Arg>& items, Location where = Location::current());
Var make_dict(const NamedArgs& entries, Location where = Location::current());

/// Bring back values, numbers, and lists of them: `save({h, logits.size(1)}, {.name = "both"})`.
Saved<Value> save(const Arg& value, const SaveOptions& options = {},
                  Location where = Location::current());

/// Send a line with the value to the client while the program runs: see RunResult::log and
/// TraceOptions::on_event. (`log` is the logarithm.)
void Log(const Var& value, const std::string& label = "", Location where = Location::current());

/// End the run when all that is written before is done. Nothing may be written after it.
void Stop(Location where = Location::current());
// Element by element.
Var abs(const Operand& x);
Var neg(const Operand& x);
Var exp(const Operand& x);
Var expm1(const Operand& x);
Var log(const Operand& x);
Var log1p(const Operand& x);
Var sqrt(const Operand& x);
Var rsqrt(const Operand& x);
Var reciprocal(const Operand& x);
Var square(const Operand& x);
Var sin(const Operand& x);
Var cos(const Operand& x);
Var tan(const Operand& x);
Var tanh(const Operand& x);
Var erf(const Operand& x);
Var sigmoid(const Operand& x);
Var relu(const Operand& x);
Var silu(const Operand& x);
Var sign(const Operand& x);
Var round(const Operand& x);
Var floor(const Operand& x);
Var ceil(const Operand& x);
Var trunc(const Operand& x);
Var isnan(const Operand& x);
Var isinf(const Operand& x);
Var isfinite(const Operand& x);
Var logical_not(const Operand& x);
Var bitwise_not(const Operand& x);
Var gelu(const Operand& x, const std::string& approximate = "none");
Var pow(const Operand& a, const Operand& b);
Var maximum(const Operand& a, const Operand& b);
Var minimum(const Operand& a, const Operand& b);
Var logical_and(const Operand& a, const Operand& b);
Var logical_or(const Operand& a, const Operand& b);
Var logical_xor(const Operand& a, const Operand& b);
Var where(const Operand& condition, const Operand& a, const Operand& b);

// In place: a new version of this value, and of the site it was read from.

// Products.
Var matmul(const Operand& a, const Operand& b);
Var bmm(const Operand& a, const Operand& b);
Var dot(const Operand& a, const Operand& b);
Var outer(const Operand& a, const Operand& b);
Var einsum(const std::string& equation, const std::vector<Var>& operands,
           Location where = Location::current());
Var linear(const Operand& x, const Operand& weight, const Arg& bias = None);
Var embedding(const Operand& weight, const Operand& ids);

// Reductions. Without dimensions they are over all elements.
Var sum(const Operand& x);
Var sum(const Operand& x, const Dims& dims, bool keepdim = false);
Var mean(const Operand& x);
Var mean(const Operand& x, const Dims& dims, bool keepdim = false);
Var amax(const Operand& x);
Var amax(const Operand& x, const Dims& dims, bool keepdim = false);
Var amin(const Operand& x);
Var amin(const Operand& x, const Dims& dims, bool keepdim = false);
Var softmax(const Operand& x, int64_t dim);
Var log_softmax(const Operand& x, int64_t dim);
Var argmax(const Operand& x, int64_t dim, bool keepdim = false);
Var argmin(const Operand& x, int64_t dim, bool keepdim = false);

// Shapes.
Var cat(const std::vector<Var>& tensors, int64_t dim = 0, Location where = Location::current());
Var stack(const std::vector<Var>& tensors, int64_t dim = 0, Location where = Location::current());

// By index.
Var one_hot(const Operand& ids, int64_t classes);

// New values.
Var zeros_like(const Operand& x);
Var ones_like(const Operand& x);
Var full_like(const Operand& x, const Arg& value);
Var zeros(const Dims& sizes, DType dtype = kFloat32, Location where = Location::current());
Var ones(const Dims& sizes, DType dtype = kFloat32, Location where = Location::current());
Var full(const Dims& sizes, const Arg& value, DType dtype = kFloat32,
         Location where = Location::current());
Var arange(int64_t end, Location where = Location::current());
Var arange(int64_t start, int64_t end, int64_t step = 1, Location where = Location::current());

// Of language models.
Var layer_norm(const Operand& x, const Dims& shape, const Arg& weight = None,
               const Arg& bias = None, double eps = 1e-5);
Var cosine_similarity(const Operand& a, const Operand& b, int64_t dim = 1, double eps = 1e-8);
Var cross_entropy(const Operand& logits, const Operand& ids);

}  // namespace weft
