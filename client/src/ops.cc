#include "weft/ops.h"

#include <memory>
#include <utility>

#include "client/src/operator_call.h"
#include "client/src/recording.h"

namespace weft {
namespace {

using internal::AsVar;
using internal::Recording;

Var Make(graph::Structure::Kind kind, const std::vector<std::pair<std::string, Var>>& items,
         Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Structure(kind, items, where);
}

std::vector<std::pair<std::string, Var>> Unnamed(const std::vector<Var>& items) {
  std::vector<std::pair<std::string, Var>> unnamed;
  for (const Var& item : items) unnamed.emplace_back("", item);
  return unnamed;
}

}  // namespace

namespace internal {

const Arg& NoArg() {
  static const Arg* const kNone = new Arg(None);
  return *kNone;
}

}  // namespace internal

Var op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
       Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Op(name, args, named, where);
}

Var constant(const Tensor& value, Location where) { return AsVar(Operand(value, where)); }

Var make_list(const std::vector<Var>& items, Location where) {
  return Make(graph::Structure::Kind::kList, Unnamed(items), where);
}

Var make_tuple(const std::vector<Var>& items, Location where) {
  return Make(graph::Structure::Kind::kTuple, Unnamed(items), where);
}

Var make_dict(const std::vector<std::pair<std::string, Var>>& entries, Location where) {
  return Make(graph::Structure::Kind::kDict, entries, where);
}

void Log(const Var& value, const std::string& label, Location where) {
  if (Recording* recording = Recording::Current()) recording->Log(value, label, where);
}

void Stop(Location where) {
  if (Recording* recording = Recording::Current()) recording->Stop(where);
}

Var cross_entropy(const Operand& logits, const Operand& target) {
  return cross_entropy_loss(logits, target);
}

Var normalize(const Operand& x, double p, int64_t dim, double eps) {
  const Location where = x.where();
  const Var value = AsVar(x);
  return op("aten::div",
            {value, value.norm(p, dim, /*keepdim=*/true, where).clamp_min(Operand(eps, where))}, {},
            where);
}

}  // namespace weft
