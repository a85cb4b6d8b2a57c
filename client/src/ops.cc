#include "weft/ops.h"

#include <memory>
#include <utility>

#include "client/src/operator_call.h"
#include "client/src/recording.h"

namespace weft {
namespace {

using internal::AsVar;
using internal::Recording;

Var Make(graph::Structure::Kind kind, const std::vector<Arg>& items, const NamedArgs& entries,
         Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->Structure(kind, items, entries, where);
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

Var constant(const Tensor& value, Location where) {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->OwnConstant(value, where);
}
Var constant(const Blob& value, Location where) { return AsVar(Operand(value, where)); }

Var make_list(const std::vector<Arg>& items, Location where) {
  return Make(graph::Structure::Kind::kList, items, {}, where);
}

Var make_tuple(const std::vector<Arg>& items, Location where) {
  return Make(graph::Structure::Kind::kTuple, items, {}, where);
}

Var make_dict(const NamedArgs& entries, Location where) {
  return Make(graph::Structure::Kind::kDict, {}, entries, where);
}

Saved<Value> save(const Arg& value, const SaveOptions& options, Location where) {
  if (const auto* list = std::get_if<Arg::List>(&value.value())) {
    return make_list(*list, where).save(options, where);
  }
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var().save(options, where);
  return recording->ArgValue(value, where).save(options, where);
}

void Log(const Var& value, const std::string& label, Location where) {
  if (Recording* recording = Recording::Current()) recording->Log(value, label, where);
}

void Log(const Arg& value, const std::string& label, Location where) {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const auto* list = std::get_if<Arg::List>(&value.value());
  recording->Log(list != nullptr ? make_list(*list, where) : recording->ArgValue(value, where),
                 label, where);
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
