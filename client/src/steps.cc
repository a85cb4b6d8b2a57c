#include "weft/steps.h"

#include "client/src/recording.h"

namespace weft {

using internal::Recording;

Var Step::number(Location where) const {
  Recording* recording = Recording::Current();
  return recording == nullptr ? Var() : recording->StepNumber(where);
}

Carry::Carry(const Operand& initial) {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return;
  const Var carry = recording->AddCarry(initial);
  recording_ = carry.recording_;
  node_ = carry.node_;
}

Carry& Carry::operator=(const Operand& next) {
  if (Recording* recording = Recording::Current()) recording->SetCarry(*this, next);
  return *this;
}

Var::Var(const Carry& carry) {
  if (Recording* recording = Recording::Current()) *this = recording->CarryValue(carry);
}

IfStatement If(const Operand& condition, absl::FunctionRef<void()> then) {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return IfStatement(nullptr, 0);
  // What an exception of the lambda leaves open is closed here, and else where the statement ends.
  class Scope {
   public:
    explicit Scope(Recording* recording) : recording_(recording), depth_(recording->depth()) {}
    ~Scope() {
      if (!kept_) recording_->CloseTo(depth_);
    }
    size_t Keep() {
      kept_ = true;
      return depth_;
    }

   private:
    Recording* const recording_;
    const size_t depth_;
    bool kept_ = false;
  } scope(recording);
  recording->BeginIf(condition);
  recording->BeginBranch(false, condition.where());
  then();
  recording->EndBranch({});
  return IfStatement(recording, scope.Keep());
}

IfStatement::~IfStatement() {
  if (recording_ != nullptr && recording_ == Recording::Current()) recording_->CloseTo(depth_);
}

void IfStatement::Else(absl::FunctionRef<void()> otherwise, Location where) {
  if (recording_ == nullptr || recording_ != Recording::Current()) return;
  const internal::ContainerScope scope(recording_);
  recording_->BeginBranch(true, where);
  otherwise();
}

namespace internal {

std::vector<Var> RecordIf(const Operand& condition, absl::FunctionRef<std::vector<Var>()> then,
                          absl::FunctionRef<std::vector<Var>()> otherwise) {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return std::vector<Var>(2);
  const ContainerScope scope(recording);
  recording->BeginIf(condition);
  recording->BeginBranch(false, condition.where());
  std::vector<Var> results = then();
  recording->EndBranch(results);
  recording->BeginBranch(true, condition.where());
  recording->EndBranch(otherwise());
  std::vector<Var> chosen = recording->EndIf();
  // After a failure, values that come to nothing.
  chosen.resize(results.size());
  return chosen;
}

}  // namespace internal
}  // namespace weft
