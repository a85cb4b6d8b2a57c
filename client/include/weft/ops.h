#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "weft/operators.h"
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

/// A tensor or a blob as a value of the program, where an operand will not do.
Var constant(const Tensor& value, Location where = Location::current());
Var constant(const Blob& value, Location where = Location::current());

/// Structures of values, to be saved or passed to a module as one. Numbers, texts and bools in them
/// stay what they are: `make_dict({{"layer", 3}, {"name", "mlp"}, {"norm", h.norm()}})`.
Var make_list(const std::vector<Arg>& items, Location where = Location::current());
Var make_tuple(const std::vector<Arg>& items, Location where = Location::current());
Var make_dict(const NamedArgs& entries, Location where = Location::current());

/// Bring back values, numbers, texts, bools, and lists of them:
/// `save({h, logits.size(1), "block 3"}, {.name = "all"})`.
Saved<Value> save(const Arg& value, const SaveOptions& options = {},
                  Location where = Location::current());

/// Send a line with the value to the client while the program runs: see RunResult::log and
/// TraceOptions::on_event. (`log` is the logarithm.)
void Log(const Var& value, const std::string& label = "", Location where = Location::current());
/// The same of a text, a number, or a list with values in it: `Log("before the edit")`.
void Log(const Arg& value, const std::string& label = "", Location where = Location::current());

/// End the run when all that is written before is done. Nothing may be written after it.
void Stop(Location where = Location::current());

// As torch.nn.functional has them.

/// Logits `[rows, classes, ...]` against ids of classes, or probabilities.
Var cross_entropy(const Operand& logits, const Operand& target);
/// The value divided by its norm along `dim`.
Var normalize(const Operand& x, double p = 2.0, int64_t dim = 1, double eps = 1e-12);

}  // namespace weft
