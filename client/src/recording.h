#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/src/attached_part.h"
#include "client/src/model_state.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"
#include "weft/cache.h"
#include "weft/input.h"
#include "weft/location.h"
#include "weft/ops.h"
#include "weft/param.h"
#include "weft/saved.h"
#include "weft/source.h"
#include "weft/steps.h"
#include "weft/sweep.h"
#include "weft/tracer.h"
#include "weft/var.h"

namespace weft::internal {

/// The max_new_tokens of what is recorded for generations that are not known yet: the most that
/// there may be.
inline constexpr uint32_t kUnknownSteps = 1 << 20;

/// A recorded program with the handles of its saves, whose names they hold.
struct Recorded {
  Program program;
  std::vector<std::shared_ptr<SaveState>> saves;
};

/// What a parameter of a sweep knows of it.
struct ParamState {
  uint64_t recording = 0;
  graph::SweepUse use;
  graph::SweepParameter parameter;
};

/// A module as a statement names it.
struct ModuleRef {
  const ModelState& model;
  const std::string& path;
  Visit visit;
  const std::vector<std::pair<uint32_t, Param>>& parameters;  // components of path
};

/// What is known of a recorded node beside the program.
struct Note {
  bool droppable = false;            // left out if nothing uses it
  bool target_is_temporary = false;  // an index on something that no variable names
  /// A copy of part of its target that stands for that part: what is written to it is written back.
  bool writes_back = false;
  int attached_call = -1;   // the innermost call of an attached module around it
  bool superseded = false;  // written again, from a new value of an attached module
};

/// Where the statements of a program are written down while its lambdas run.
///
/// Making one puts it on top of this thread's stack of recordings, and everything that is done to a
/// Var goes to the top. What cannot be recorded makes the recording fail: the first reason is kept
/// for Finish, and later statements on what came of it are quietly dropped. Containers are opened
/// and closed like brackets; those who open one close it. Not thread-safe.
class Recording {
 public:
  Recording(std::shared_ptr<const ModelState> model, Location where);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// The top of this thread's stack; nullptr outside of any trace.
  static Recording* Current();

  // Containers (recording_containers.cc).

  /// How many are open, and close those beyond `depth`.
  size_t depth() const { return frames_.size(); }
  void CloseTo(size_t depth);

  /// `root`: the module that is called alone; null for the model.
  void BeginTrace(graph::Trace trace, const Module* root, Location where);
  /// Statements recorded inside see the input's rows; nullptr: those of all other invokes.
  void BeginInvoke(const Input* input, Location where);
  /// The parameters; as many as there are columns even after a failure.
  std::vector<Param> BeginSweep(absl::Span<const Values> columns);
  void BeginSteps(const StepSelection& selection, Location where);
  /// Statements recorded inside stand in a backward region. `gradient` may be null.
  void BeginBackward(const Var& loss, const Operand* gradient, Location where);
  /// An if, and its sides. EndIf gives the values of EndBranch, chosen.
  void BeginIf(const Operand& condition);
  void BeginBranch(bool otherwise, Location where);
  void EndBranch(const std::vector<Var>& values);
  std::vector<Var> EndIf();

  /// Which steps a selection of this trace means, where that is known: those that the generation
  /// may come to.
  std::vector<int64_t> StepNumbers(const StepSelection& selection, Location where);
  /// The number of the step that is being recorded.
  Var StepNumber(Location where);

  /// A variable of the program that lives from step to step (recording_carries.cc).
  Var AddCarry(const Operand& initial);
  void SetCarry(const Var& carry, const Operand& next);
  /// The value that it has here.
  Var CarryValue(const Var& carry);

  // Statements (recording_statements.cc).

  /// `op`: of an operation inside the module.
  Var Read(const ModuleRef& module, graph::Point point, Location where, const std::string& op = "");
  Var ReadInvoke(const ModelState& model, graph::Point point, Location where);
  Var Op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
         Location where);
  /// A number, a tensor, or a sweep's parameter.
  Var Constant(const Operand& value);
  /// One that no other name means, as it may be changed in place.
  Var OwnConstant(const Tensor& value, Location where);
  /// Any argument as a value.
  Var ArgValue(const Arg& value, Location where);
  Var Index(const Var& target, const Indices& indices, bool target_is_temporary);
  Var Token(const Var& target, const TokenSelection& tokens, Location where,
            bool target_is_temporary);
  /// Item `item` of a tuple that an operator made; left out of the program if nothing uses it.
  Var Item(const Var& tuple, int64_t item, Location where);
  Var Structure(graph::Structure::Kind kind, const std::vector<Arg>& values,
                const NamedArgs& entries, Location where);
  Var Call(const ModuleRef& module, const std::vector<Arg>& args, const NamedArgs& named,
           bool watched, Location where);
  Var Parameter(const ModuleRef& parameter, Location where);

  /// Write `value` to what the temporary `target` names: a site or a part of a value.
  void Assign(const Var& target, const Operand& value);
  void Skip(const ModuleRef& module, const Operand& value);
  std::shared_ptr<SaveState> Save(const Var& value, const SaveOptions& options, Location where);
  std::shared_ptr<SaveState> Cache(const std::vector<ModuleName>& modules,
                                   const CacheOptions& options, Location where);
  void Log(const Var& value, const std::string& label, Location where);
  Var Gradient(const Var& value, Location where);
  void Stop(Location where);

  /// Make the recording fail.
  Var Refuse(const std::string& statement, const std::string& message, Location where);

  // Attached modules (recording_attached.cc). `part` is null where there is no such part.
  Var CallAttached(const AttachedPart* part, const Operand& x);
  /// What it returned, or took, in its last call in this invoke.
  Var AttachedOutput(const AttachedPart* part, Location where);
  Var AttachedInput(const AttachedPart* part, Location where);

  /// End recording: the program, or the first error. Takes it off the stack.
  absl::StatusOr<Recorded> Finish();

  const std::shared_ptr<const ModelState>& model() const { return model_; }

 private:
  enum class Region : uint8_t { kTrace, kSweep, kInvoke, kBackward, kSteps, kIf, kBranch };

  /// How the real tokens of an invoke's rows are found; all kNoNode before they were asked for.
  struct Tokens {
    graph::NodeId start = graph::kNoNode, count = graph::kNoNode, row = graph::kNoNode;
  };
  struct Side {
    graph::NodeId branch = graph::kNoNode;
    std::vector<graph::NodeId> values;
    std::map<uint32_t, graph::NodeId> carries;
  };
  /// An open container.
  struct Frame {
    graph::NodeId node = graph::kNoNode;
    Region region = Region::kTrace;
    absl::flat_hash_map<const void*, graph::NodeId> constants;  // made here, by bytes
    /// Of steps and branches: what carries are here, by their place among carries_.
    std::map<uint32_t, graph::NodeId> carries;
    std::vector<uint32_t> carried;   // of steps: in order of their index
    bool padded = false;             // of an invoke: its rows may hold pads
    bool one_step = false;           // of steps: named by its number
    std::vector<size_t> grid;        // of a sweep over a Grid: the sizes of its columns
    std::optional<uint32_t> number;  // of steps: the carry that counts them
    Tokens tokens;                   // of invokes and steps
    std::vector<Side> sides;         // of an if
  };
  struct Variable {
    graph::NodeId value = graph::kNoNode;   // outside of all steps and branches
    graph::NodeId before = graph::kNoNode;  // containers from this node on are newer
  };
  /// Statements are put before this child of `parent`, whatever is open.
  struct Place {
    graph::NodeId parent = graph::kNoNode;
    graph::NodeId before = graph::kNoNode;
  };
  class PlaceScope;

  void Pop();
  /// Keep the first reason why this cannot become a program. `statement` is what was tried.
  void Fail(const std::string& statement, const std::string& message, Location where,
            const std::string& hint = "");
  /// The node that `value` names; kNoNode (after Fail, where it is new) if that is none of ours.
  graph::NodeId Use(const Var& value, const std::string& statement, Location where);
  /// The node of an operand, constants made for numbers and tensors.
  graph::NodeId Use(const Operand& value, const std::string& statement);
  /// The node that a parameter's values are in at each point.
  graph::NodeId UseAsValue(const Param& parameter, const std::string& statement, Location where);
  std::optional<graph::SweepUse> UseParam(const Param& parameter, const std::string& statement,
                                          Location where);
  /// False, after Fail, if a value of `node` is not to be had here.
  bool InScope(graph::NodeId node, const std::string& statement, Location where);
  bool ToArgument(const Arg& from, const std::string& statement, Location where, int depth,
                  graph::Argument* to);
  bool ToArguments(const std::vector<Arg>& args, const NamedArgs& named,
                   const std::string& statement, Location where,
                   std::vector<graph::Argument>* arguments);
  bool ToTerms(const Indices& indices, const std::string& statement,
               std::vector<graph::IndexTerm>* terms);
  bool ToSlice(const Slice& from, const std::string& statement, Location where, graph::Slice* to);
  /// False, after Fail, if `model` is not the one whose statements are recorded.
  bool IsOurs(const ModelState& model, const std::string& statement, Location where);
  /// The same, and Open.
  bool CheckModel(const ModelState& model, const std::string& statement, Location where);
  /// The same of a module in one of its visits, which none of a module around it names.
  bool CheckVisited(const ModuleRef& module, const std::string& statement, Location where);
  /// IsOurs of a module that is meant in all of its visits.
  bool CheckWhole(const ModuleRef& module, const std::string& statement, Location where);
  /// The site of `module`, checked at each point of the sweeps that it depends on. False after
  /// Fail.
  bool ToSite(const ModuleRef& module, graph::Point point, const std::string& statement,
              Location where, graph::Site* site);
  /// False, after Fail, if `statement` stands outside of an invoke or after an error.
  bool Open(const std::string& statement, Location where);
  Frame* Find(Region region);
  void Push(graph::NodeId node, Region region);

  template <typename Kind>
  graph::NodeId Add(Kind kind, Location where, graph::NodeId parent, Note note = {});
  /// Add to the open container.
  template <typename Kind>
  graph::NodeId Add(Kind kind, Location where, Note note = {}) {
    return Add(std::move(kind), where, place_ ? place_->parent : frames_.back().node, note);
  }
  template <typename Kind>
  Var AddValue(Kind kind, Location where, Note note = {}) {
    return Var(serial_, Add(std::move(kind), where, note));
  }
  graph::NodeId AddConstant(const Tensor& tensor, Location where);
  graph::NodeId Append(graph::Node node, Location where, Note note);
  /// kNoNode, after Fail, for a blob that names nothing.
  graph::NodeId AddConstant(const Blob& blob, const std::string& statement, Location where);
  Var Poison() const { return Var(serial_, graph::kNoNode); }

  /// The steps, branch or sweep around a node, or itself.
  graph::NodeId ScopeOf(graph::NodeId node) const;
  /// False, after Fail, if a value of `node` cannot get a new version here.
  bool CheckChange(graph::NodeId node, const std::string& statement, Location where);
  /// What is written to a copy of a part goes to that part too.
  void WriteBack(graph::NodeId changed, Location where);
  /// No later use of the same bytes is to mean this constant, which has changed.
  void Unshare(graph::NodeId constant);
  void AssignTo(graph::NodeId target, graph::NodeId value, bool number, Location where);
  /// The nodes that say where the real tokens are, of the invoke or steps that are open.
  Tokens FindTokens(Location where);
  /// Whether `node` stands on the side of an open If that is not open.
  bool OnOtherSide(graph::NodeId node) const;
  std::shared_ptr<SaveState> AddSave(const std::string& name, const std::string& statement,
                                     Location where, bool* good);

  void EndSteps();
  /// Where the statement of a node was written.
  Location WhereOf(graph::NodeId node) const { return places_[node - 1]; }
  /// Whether carries look at `frame`: steps and branches that are newer than the variable.
  static bool Holds(const Frame& frame, const Variable& variable);
  graph::NodeId Resolve(uint32_t carry, Location where);
  void Set(uint32_t carry, graph::NodeId value, Location where);
  bool IsCarry(const Var& value) const;

  /// One call of an attached module or a part of one.
  struct AttachedCall {
    std::shared_ptr<const AttachedPart> part;
    int outer = -1;  // the call that it stands in
    graph::NodeId invoke = graph::kNoNode;
    graph::NodeId input = graph::kNoNode, output = graph::kNoNode;
  };
  /// The input or output of a call, which was `from`, is `to`.
  struct Change {
    int call = -1;
    bool input = false;
    graph::NodeId from = graph::kNoNode, to = graph::kNoNode;
    graph::NodeId end = graph::kNoNode;  // of the statements that came before
  };
  /// The open invoke; kNoNode outside of any.
  graph::NodeId OpenInvoke();
  /// The last call of `part` in the open invoke; -1 after Fail.
  int FindCall(const AttachedPart* part, const std::string& statement, Location where);
  /// True for a call within `call`, or itself.
  bool IsWithin(int inner, int call) const;
  /// What `id` means now: values of attached modules may have been replaced.
  graph::NodeId Current(graph::NodeId id) const;
  graph::NodeId Clone(graph::NodeId value, Location where);
  /// The call that returned `output`; -1 if none did.
  int CallOf(graph::NodeId output) const;
  /// True if `target` is a value of an attached module, which now is `value`.
  bool AssignAttached(graph::NodeId target, const Operand& value, const std::string& statement);
  /// After `changed` was changed in place by the nodes from `end` on: if it is a value of an
  /// attached module, record anew what follows from it.
  void AfterChange(graph::NodeId changed, graph::NodeId end, const std::string& statement,
                   Location where);
  /// Record anew what the module made from its changed input, or what was made from its changed
  /// output: the statements before the change.
  void Replay(const Change& change, const std::string& statement, Location where);
  /// True if what stands in call `user_call` gets the changed value.
  bool SeesChange(const Change& change, int user_call) const;
  /// Mark a statement as recorded anew. False for a write of a site that was written again since.
  bool Supersede(graph::NodeId id);

  void NameSaves();
  /// Put children behind their parents, leave out droppable nodes that nothing uses, and number the
  /// rest anew.
  void Arrange();

  const std::shared_ptr<const ModelState> model_;
  const uint64_t serial_;
  Recording* const below_;
  const Location where_;
  bool on_stack_ = true;

  graph::Program program_;
  std::vector<Note> notes_;                           // a node's, by place
  std::vector<Location> places_;                      // the same
  std::vector<std::vector<graph::NodeId>> children_;  // a node's, by id; those of 0 are the traces
  std::vector<Frame> frames_;
  std::optional<Place> place_;
  std::vector<Variable> carries_;
  std::vector<AttachedCall> attached_calls_;
  int open_call_ = -1;
  absl::flat_hash_map<graph::NodeId, int> input_copies_;  // of attached calls' inputs
  absl::flat_hash_map<graph::NodeId, graph::NodeId> replaced_;
  std::vector<std::shared_ptr<SaveState>> saves_;
  std::vector<graph::NodeId> save_nodes_;
  absl::flat_hash_map<std::string, std::vector<size_t>> save_names_;  // places in saves_
  uint32_t sweep_parameters_ = 0;
  bool failed_ = false;
  graph::Error error_;
};

/// Closes the containers that are opened while it lives, whichever way their lambdas are left.
class ContainerScope {
 public:
  explicit ContainerScope(Recording* recording)
      : recording_(recording), depth_(recording->depth()) {}
  ~ContainerScope() { recording_->CloseTo(depth_); }
  ContainerScope(const ContainerScope&) = delete;
  ContainerScope& operator=(const ContainerScope&) = delete;

 private:
  Recording* const recording_;
  const size_t depth_;
};

}  // namespace weft::internal
