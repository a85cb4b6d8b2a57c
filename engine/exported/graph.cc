#include "engine/exported/graph.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/exported/bind.h"

namespace weft::exported {
namespace {

using Key = std::pair<std::string, uint32_t>;  // a module's path and call

template <typename F>
void ForEachUse(const Argument& argument, const F& visit) {
  if (const auto* use = std::get_if<Argument::Use>(&argument.value)) visit(use->value);
  if (const auto* list = std::get_if<Argument::List>(&argument.value)) {
    for (const Argument& item : list->items) ForEachUse(item, visit);
  }
}

class GraphMaker {
 public:
  explicit GraphMaker(Program program) { graph_.program = std::move(program); }

  absl::StatusOr<Graph> Make() {
    const Program& program = graph_.program;
    graph_.given.resize(program.values.size());
    graph_.weight.assign(program.values.size(), false);
    for (const Input& input : program.inputs) {
      if (input.value == kNoValue) continue;
      if (input.kind == Input::Kind::kUser) {
        graph_.user_inputs.push_back(input.value);
      } else {
        graph_.weight[input.value] = true;
      }
    }
    for (size_t i = 0; i < program.nodes.size(); ++i) {
      absl::StatusOr<BoundNode> bound = Bind(program, static_cast<int>(i));
      if (!bound.ok()) {
        return absl::Status(bound.status().code(), absl::StrCat("node ", Named(program.nodes[i]),
                                                                ": ", bound.status().message()));
      }
      graph_.nodes.push_back(*std::move(bound));
    }
    if (absl::Status status = MakeTree(); !status.ok()) return status;
    FindScattered();
    MakeSteps();
    FindBoundaries();
    FindReleases();
    return std::move(graph_);
  }

 private:
  // --- the tree of modules ----------------------------------------------------------------------

  struct Entry {
    std::string type;
    std::vector<std::string> children;  // paths, in order
    bool called = false;
  };

  void Insert(const std::string& path, const std::string& type) {
    Entry& entry = entries_[path];
    if (!type.empty()) {
      entry.type = type;
      entry.called = true;
    }
    if (path.empty() || !known_.insert(path).second) return;
    const size_t dot = path.rfind('.');
    const std::string parent = dot == std::string::npos ? "" : path.substr(0, dot);
    Insert(parent, "");
    entries_[parent].children.push_back(path);
  }

  int AddModule(const std::string& path) {
    const Entry& entry = entries_[path];
    const auto index = static_cast<int>(graph_.modules.size());
    index_[path] = index;
    ModuleInfo info;
    info.path = path;
    info.name = path.substr(path.rfind('.') + 1);
    info.type = entry.type;
    if (info.type.empty()) {
      // Never called, so nobody says what it is; lists of modules are told by their names.
      const bool list =
          !entry.children.empty() &&
          std::all_of(entry.children.begin(), entry.children.end(), [](const std::string& child) {
            int number;
            return absl::SimpleAtoi(child.substr(child.rfind('.') + 1), &number);
          });
      info.type = list ? "ModuleList" : "Module";
    }
    if (!entry.called && !path.empty()) info.why = "the exported program has no operation of it";
    graph_.modules.push_back(std::move(info));
    for (const std::string& child : entry.children) {
      const int added = AddModule(child);
      graph_.modules[index].children.push_back(added);
    }
    return index;
  }

  absl::Status MakeTree() {
    // With all that they stand in.
    constexpr size_t kMostModules = 20'000;
    Insert("", "");
    for (const ModuleEntry& module : graph_.program.modules) Insert(module.path, "");
    for (const Node& node : graph_.program.nodes) {
      for (const ModuleUse& use : node.stack) {
        if (!use.type.empty()) Insert(use.path, use.type);
      }
      if (entries_.size() > kMostModules) break;
    }
    if (entries_.size() > kMostModules) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the program has more than ", kMostModules, " modules"));
    }
    entries_[""].called = true;
    AddModule("");
    if (entries_[""].type.empty()) graph_.modules[0].type = "Module";
    return absl::OkStatus();
  }

  // --- calls ------------------------------------------------------------------------------------

  /// Nodes that only compute sizes, and those that were added, are where the others are.
  bool Follows(const Node& node) const {
    if (node.added || node.stack.empty()) return true;
    return std::none_of(node.outputs.begin(), node.outputs.end(), [&](const Output& output) {
      return std::any_of(output.values.begin(), output.values.end(), [&](ValueId value) {
        return value != kNoValue && graph_.program.values[value].tensor;
      });
    });
  }

  std::vector<Key> KeysOf(const Node& node) const {
    std::vector<Key> keys;
    for (const ModuleUse& use : node.stack) {
      if (use.path.empty()) continue;
      Key key{use.path, use.call};
      if (scattered_.count(key) == 0) keys.push_back(std::move(key));
    }
    return keys;
  }

  /// Calls whose nodes do not lie together, or not within one other call: they are no boundary.
  void FindScattered() {
    constexpr int kMostRounds = 8;
    bool found = true;
    for (int round = 0; found && round < kMostRounds; ++round) {
      found = false;
      std::set<Key> closed;
      std::map<Key, Key> parents;
      std::vector<Key> open;
      for (const Node& node : graph_.program.nodes) {
        if (Follows(node)) continue;
        const std::vector<Key> keys = KeysOf(node);
        size_t same = 0;
        while (same < open.size() && same < keys.size() && open[same] == keys[same]) ++same;
        for (size_t i = same; i < open.size(); ++i) closed.insert(open[i]);
        for (size_t i = same; i < keys.size(); ++i) {
          const Key parent = i == 0 ? Key() : keys[i - 1];
          const bool elsewhere = !parents.emplace(keys[i], parent).second;
          if (closed.count(keys[i]) > 0 || elsewhere ||
              std::count(keys.begin(), keys.end(), keys[i]) > 1) {
            found |= scattered_.insert(keys[i]).second;
          }
        }
        open = keys;
      }
    }
    // What is still not clear after that is a forward without boundaries inside.
    if (found) {
      for (const Node& node : graph_.program.nodes) {
        for (const ModuleUse& use : node.stack) scattered_.insert({use.path, use.call});
      }
    }
    for (const Key& key : scattered_) {
      const auto module = index_.find(key.first);
      if (module != index_.end()) {
        graph_.modules[module->second].why =
            "its operations do not lie together in the exported program";
      }
    }
  }

  void Enter(const std::string& path) {
    ModuleCall call;
    call.module = index_[path];
    call.visit = visits_[call.module]++;
    call.parent = stack_.empty() ? -1 : stack_.back();
    call.enter = static_cast<int>(graph_.steps.size());
    const auto index = static_cast<int>(graph_.calls.size());
    if (call.visit == 0) graph_.modules[call.module].first_call = index;
    graph_.calls.push_back(std::move(call));
    graph_.steps.push_back({Step::Kind::kEnter, index, {}});
    stack_.push_back(index);
  }
  void Leave() {
    const int index = stack_.back();
    stack_.pop_back();
    graph_.calls[index].leave = static_cast<int>(graph_.steps.size());
    graph_.steps.push_back({Step::Kind::kLeave, index, {}});
  }

  void MakeSteps() {
    Enter("");
    std::vector<Key> open;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.program.nodes[i];
      if (!Follows(node)) {
        const std::vector<Key> keys = KeysOf(node);
        size_t same = 0;
        while (same < open.size() && same < keys.size() && open[same] == keys[same]) ++same;
        while (open.size() > same) {
          open.pop_back();
          Leave();
        }
        for (; same < keys.size(); ++same) {
          open.push_back(keys[same]);
          Enter(keys[same].first);
        }
      }
      call_of_.push_back(stack_.back());
      graph_.steps.push_back({Step::Kind::kNode, static_cast<int>(i), {}});
    }
    while (!stack_.empty()) Leave();
  }

  // --- what crosses the boundaries --------------------------------------------------------------

  bool Inside(int step, const ModuleCall& call) const {
    return step > call.enter && step < call.leave;
  }

  void FindBoundaries() {
    const Program& program = graph_.program;
    constexpr int kGiven = -1;  // before the first step
    std::vector<int> defined(program.values.size(), kGiven), maker(program.values.size(), -1);
    std::vector<std::vector<ValueId>> inputs(graph_.calls.size()), outputs(graph_.calls.size());
    absl::flat_hash_set<std::pair<int, ValueId>> is_input, is_output;
    const int end = static_cast<int>(graph_.steps.size());
    const auto use = [&](ValueId value, int step, int innermost) {
      if (value == kNoValue || graph_.weight[value]) return;
      for (int call = innermost; call >= 0; call = graph_.calls[call].parent) {
        if (defined[value] > graph_.calls[call].enter) break;
        if (!program.values[value].tensor) {
          if (call != 0) graph_.calls[call].self_contained = false;
          continue;
        }
        if (is_input.insert({call, value}).second) inputs[call].push_back(value);
      }
      for (int call = maker[value]; call >= 0; call = graph_.calls[call].parent) {
        if (Inside(step, graph_.calls[call])) break;
        if (program.values[value].tensor && is_output.insert({call, value}).second) {
          outputs[call].push_back(value);
        }
      }
    };
    for (int step = 0; step < end; ++step) {
      if (graph_.steps[step].kind != Step::Kind::kNode) continue;
      const int index = graph_.steps[step].index;
      const int call = call_of_[index];
      for (const NamedArgument& argument : program.nodes[index].arguments) {
        ForEachUse(argument.argument, [&](ValueId value) { use(value, step, call); });
      }
      for (const Output& output : program.nodes[index].outputs) {
        for (const ValueId value : output.values) {
          if (value == kNoValue) continue;
          defined[value] = step;
          maker[value] = call;
        }
      }
    }
    for (const ValueId output : program.outputs) use(output, end, 0);

    absl::flat_hash_map<std::string, const Signature*> signatures;
    for (const ModuleEntry& module : program.modules) {
      if (module.signature) signatures[module.path] = &*module.signature;
    }
    for (size_t i = 0; i < graph_.calls.size(); ++i) {
      ModuleCall& call = graph_.calls[i];
      const auto found = signatures.find(graph_.modules[call.module].path);
      // A signature is that of the first call.
      const Signature* signature =
          found == signatures.end() || call.visit > 0 ? nullptr : found->second;
      call.input = InputOf(signature, inputs[i], static_cast<int>(i), defined);
      call.output = OutputOf(signature, outputs[i], static_cast<int>(i), defined);
      if (call.input.leaves.size() != 1 || inputs[i].size() > 1) call.self_contained = false;
    }
  }

  static Boundary Lone(ValueId value) {
    Boundary boundary;
    boundary.leaves = {value};
    return boundary;
  }
  static Boundary Why(std::string why) {
    Boundary boundary;
    boundary.why = std::move(why);
    return boundary;
  }

  Boundary InputOf(const Signature* signature, const std::vector<ValueId>& used, int call,
                   const std::vector<int>& defined) const {
    if (call == 0) return Lone(graph_.user_inputs.empty() ? kNoValue : graph_.user_inputs[0]);
    if (signature != nullptr) {
      for (const ValueId leaf : signature->inputs) {
        if (leaf != kNoValue && graph_.program.values[leaf].tensor && !graph_.weight[leaf] &&
            defined[leaf] < graph_.calls[call].enter) {
          return Lone(leaf);
        }
      }
    }
    if (used.size() == 1) return Lone(used[0]);
    if (used.empty()) return Why("it is given no tensor");
    return Why(absl::StrCat(
        "it uses ", used.size(),
        " tensors from outside, and the export does not say which is its "
        "first argument; name it in preserve_module_call_signature of torch.export.export"));
  }

  Boundary OutputOf(const Signature* signature, const std::vector<ValueId>& used, int call,
                    const std::vector<int>& defined) const {
    if (signature != nullptr) {
      Boundary boundary;
      boundary.structure = signature->output;
      boundary.leaves = signature->outputs;
      for (ValueId& leaf : boundary.leaves) {
        if (leaf == kNoValue) continue;
        if (!graph_.program.values[leaf].tensor) leaf = kNoValue;
        if (leaf != kNoValue && !graph_.weight[leaf] && defined[leaf] >= graph_.calls[call].leave) {
          return Why("the export says that it returns what is computed after it");
        }
      }
      size_t leaves = 0;
      const std::string other = CountLeaves(boundary.structure, &leaves);
      if (!other.empty()) return Why(absl::StrCat("it returns ", other));
      if (leaves != boundary.leaves.size()) {
        return Why("the export does not say how its results are put together");
      }
      if (std::all_of(boundary.leaves.begin(), boundary.leaves.end(),
                      [](ValueId leaf) { return leaf == kNoValue; })) {
        return Why("it returns no tensor");
      }
      return boundary;
    }
    if (used.size() == 1) return Lone(used[0]);
    if (used.empty()) return Why("nobody uses what it returns");
    return Why(absl::StrCat("it returns ", used.size(),
                            " tensors, and the export does not say in which structure; name it in "
                            "preserve_module_call_signature of torch.export.export"));
  }

  /// Counts leaves; what is no tuple, list or dict is returned by name.
  static std::string CountLeaves(const Structure& structure, size_t* leaves) {
    if (structure.kind == Structure::Kind::kLeaf) ++*leaves;
    if (structure.kind == Structure::Kind::kOther) return structure.type;
    for (const Structure& item : structure.items) {
      if (std::string other = CountLeaves(item, leaves); !other.empty()) return other;
    }
    return "";
  }

  void FindReleases() {
    const Program& program = graph_.program;
    const int end = static_cast<int>(graph_.steps.size()) - 1;
    std::vector<int> last(program.values.size(), -1);
    for (int step = 0; step <= end; ++step) {
      const Step& what = graph_.steps[step];
      if (what.kind != Step::Kind::kNode) {
        const ModuleCall& call = graph_.calls[what.index];
        const Boundary& boundary = what.kind == Step::Kind::kEnter ? call.input : call.output;
        for (const ValueId value : boundary.leaves) {
          if (value != kNoValue) last[value] = step;
        }
        continue;
      }
      const Node& node = program.nodes[what.index];
      for (const NamedArgument& argument : node.arguments) {
        ForEachUse(argument.argument, [&](ValueId value) {
          if (value != kNoValue) last[value] = step;
        });
      }
      for (const Output& output : node.outputs) {
        for (const ValueId value : output.values) {
          if (value != kNoValue) last[value] = step;
        }
      }
    }
    for (const ValueId value : program.outputs) {
      if (value != kNoValue) last[value] = end;
    }
    for (ValueId value = 0; value < static_cast<ValueId>(last.size()); ++value) {
      if (last[value] >= 0 && last[value] < end && !graph_.weight[value]) {
        graph_.steps[last[value]].release.push_back(value);
      }
    }
  }

  Graph graph_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> known_;
  absl::flat_hash_map<std::string, int> index_;  // by path
  std::set<Key> scattered_;
  std::vector<int> call_of_;  // by node
  std::vector<int> stack_;    // calls that are open while steps are made
  absl::flat_hash_map<int, uint32_t> visits_;
};

}  // namespace

absl::StatusOr<Graph> MakeGraph(Program program) { return GraphMaker(std::move(program)).Make(); }

}  // namespace weft::exported
