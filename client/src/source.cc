#include "weft/source.h"

#include <ostream>

#include "client/src/model_state.h"
#include "client/src/recording.h"
#include "weft/model.h"

namespace weft {

using internal::Recording;

Var Operation::Read(uint8_t point, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->Read({*model_, path_, visit_, parameters_}, static_cast<graph::Point>(point),
                         where, name_);
}

Var Operation::output(Location where) const {
  return Read(static_cast<uint8_t>(graph::Point::kOutput), where);
}
Var Operation::input(Location where) const {
  return Read(static_cast<uint8_t>(graph::Point::kInput), where);
}
Var Operation::inputs(Location where) const {
  return Read(static_cast<uint8_t>(graph::Point::kInputs), where);
}

Operation Source::operator[](const std::string& name) const {
  return Operation(model_, path_, visit_, parameters_, name);
}

std::vector<std::string> Source::names() const {
  std::vector<std::string> names;
  for (const SiteDescription& site : model_->description.operations) {
    if (site.module != path_ || site.visit != visit_.number) continue;
    if (names.empty() || names.back() != site.op) names.push_back(site.op);
  }
  return names;
}

std::string Source::text() const { return internal::PrintOperations(model_->description, path_); }

std::ostream& operator<<(std::ostream& out, const Source& source) { return out << source.text(); }

Source Module::source() const { return Source(model_, path_, visit_, parameters_); }

Var Module::Point(uint8_t point, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->Read(Ref(), static_cast<graph::Point>(point), where);
}

Var Module::inputs(Location where) const {
  return Point(static_cast<uint8_t>(graph::Point::kInputs), where);
}
Var Module::q(Location where) const { return Point(static_cast<uint8_t>(graph::Point::kQ), where); }
Var Module::k(Location where) const { return Point(static_cast<uint8_t>(graph::Point::kK), where); }
Var Module::v(Location where) const { return Point(static_cast<uint8_t>(graph::Point::kV), where); }
Var Module::scores(Location where) const {
  return Point(static_cast<uint8_t>(graph::Point::kScores), where);
}
Var Module::probs(Location where) const {
  return Point(static_cast<uint8_t>(graph::Point::kProbs), where);
}
Var Module::z(Location where) const { return Point(static_cast<uint8_t>(graph::Point::kZ), where); }

}  // namespace weft
