#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/src/attached_part.h"
#include "client/src/model_state.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"
#include "weft/location.h"
#include "weft/model.h"
#include "weft/ops.h"
#include "weft/saved.h"
#include "weft/var.h"

namespace weft::internal {

/// A recorded program with the handles of its saves, whose names they hold.
struct Recorded {
  Program program;
  std::vector<std::shared_ptr<SaveState>> saves;
};

/// What is known of a recorded node beside the program.
struct Note {
  bool droppable = false;            // left out if nothing uses it
  bool target_is_temporary = false;  // an index on something that no variable names
  int attached_call = -1;            // the innermost call of an attached module around it
  bool superseded = false;           // written again, from a new value of an attached module
};

/// Where the statements of a trace are written down while its lambda runs.
///
/// Making one puts it on top of this thread's stack of recordings, and everything that is done to a
/// Var goes to the top. What cannot be recorded makes the recording fail: the first reason is kept
/// for Finish, and later statements on what came of it are quietly dropped. Not thread-safe.
class Recording {
 public:
  Recording(std::shared_ptr<const ModelState> model, Location where);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// The top of this thread's stack; nullptr outside of any trace.
  static Recording* Current();

  /// Statements recorded between these see the input's rows; nullptr: those of all other invokes.
  void BeginInvoke(const Input* input, Location where);
  void EndInvoke();

  Var Read(const ModelState& model, const std::string& module, graph::Point point, uint32_t visit,
           Location where);
  Var Op(const std::string& name, const std::vector<Arg>& args, const NamedArgs& named,
         Location where);
  /// A number or a tensor.
  Var Constant(const Operand& value);
  Var Index(const Var& target, const Indices& indices, bool target_is_temporary);
  /// Item `item` of a tuple that an operator made; left out of the program if nothing uses it.
  Var Item(const Var& tuple, int64_t item, Location where);
  Var Structure(graph::Structure::Kind kind, const std::vector<std::pair<std::string, Var>>& items,
                Location where);
  Var Call(const ModelState& model, const std::string& module, const std::vector<Arg>& args,
           const NamedArgs& named, Location where);
  Var Parameter(const ModelState& model, const std::string& path, Location where);

  /// Write `value` to what the temporary `target` names: a site or a part of a value.
  void Assign(const Var& target, const Operand& value);
  void Skip(const ModelState& model, const std::string& module, uint32_t visit,
            const Operand& value);
  std::shared_ptr<SaveState> Save(const Var& value, const std::string& name, Location where);
  void Log(const Var& value, const std::string& label, Location where);
  /// Statements recorded between these stand in a backward region. `gradient` may be null.
  void BeginBackward(const Var& loss, const Operand* gradient, Location where);
  void EndBackward();
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

 private:
  void Pop();
  /// Keep the first reason why this cannot become a program. `statement` is what was tried.
  void Fail(const std::string& statement, const std::string& message, Location where,
            const std::string& hint = "");
  /// The node that `value` names; kNoNode (after Fail, where it is new) if that is none of ours.
  graph::NodeId Use(const Var& value, const std::string& statement, Location where);
  /// The node of an operand, constants made for numbers and tensors.
  graph::NodeId Use(const Operand& value, const std::string& statement);
  bool ToArgument(const Arg& from, const std::string& statement, Location where, int depth,
                  graph::Argument* to);
  bool ToArguments(const std::vector<Arg>& args, const NamedArgs& named,
                   const std::string& statement, Location where,
                   std::vector<graph::Argument>* arguments);
  bool CheckModel(const ModelState& model, const std::string& statement, Location where);
  /// False, after Fail, if `statement` stands outside of an invoke or after an error.
  bool Open(const std::string& statement, Location where);
  template <typename Kind>
  graph::NodeId Add(Kind kind, Location where, graph::NodeId parent, Note note = {});
  /// Add to the open invoke.
  template <typename Kind>
  Var AddValue(Kind kind, Location where, Note note = {});
  graph::NodeId AddConstant(const Tensor& tensor, Location where);
  Var Poison() const { return Var(serial_, graph::kNoNode); }

  /// One call of an attached module or a part of one.
  struct AttachedCall {
    std::shared_ptr<const AttachedPart> part;
    int outer = -1;  // the call that it stands in
    graph::NodeId invoke = graph::kNoNode;
    graph::NodeId input = graph::kNoNode, output = graph::kNoNode;
  };
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
  /// The input or output of a call, which was `from`, is `to`.
  struct Change {
    int call = -1;
    bool input = false;
    graph::NodeId from = graph::kNoNode, to = graph::kNoNode;
    graph::NodeId end = graph::kNoNode;  // of the statements that came before
  };
  /// Record anew what the module made from its changed input, or what was made from its changed
  /// output: the statements before the change.
  void Replay(const Change& change, const std::string& statement, Location where);
  /// True if what stands in call `user_call` gets the changed value.
  bool SeesChange(const Change& change, int user_call) const;
  /// Mark a statement as recorded anew. False for a write of a site that was written again since.
  bool Supersede(graph::NodeId id);
  void NameSaves();
  /// Leave out droppable nodes that nothing uses, and number the rest anew.
  void Compact();

  const std::shared_ptr<const ModelState> model_;
  const uint64_t serial_;
  Recording* const below_;
  bool on_stack_ = true;

  graph::Program program_;
  std::vector<Note> notes_;  // a node's, by place
  graph::NodeId invoke_ = graph::kNoNode;
  graph::NodeId parent_ = graph::kNoNode;                      // the open region, or invoke_
  absl::flat_hash_map<const void*, graph::NodeId> constants_;  // of the open invoke, by bytes
  std::vector<AttachedCall> attached_calls_;
  int open_call_ = -1;
  absl::flat_hash_map<graph::NodeId, int> input_copies_;  // of attached calls' inputs
  absl::flat_hash_map<graph::NodeId, graph::NodeId> replaced_;
  std::vector<std::shared_ptr<SaveState>> saves_;
  std::vector<graph::NodeId> save_nodes_;
  absl::flat_hash_map<std::string, Location> save_names_;
  bool failed_ = false;
  graph::Error error_;
};

}  // namespace weft::internal
