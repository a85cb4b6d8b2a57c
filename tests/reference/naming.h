#pragma once

#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/reference/call.h"
#include "tests/reference/reading.h"

namespace weft::reference {

/// Which names of a program lie in the same memory, and which statements change it.
class Naming : protected Reading {
 protected:
  using Reading::Reading;

  /// What a name is cut from, and by which index; by none, it is the same value.
  struct Base {
    NodeId id;
    std::vector<graph::IndexTerm> terms;
  };

  /// Integers and keys that lead through structures that the program made.
  Base Walk(NodeId target, std::vector<graph::IndexTerm> terms) {
    while (true) {
      const NodeId made = Same(target);
      const auto* structure = std::get_if<graph::Structure>(&program_.at(made).kind);
      if (structure == nullptr || terms.empty()) return {target, terms};
      const auto* key = std::get_if<std::string>(&terms[0]);
      const auto* index = std::get_if<int64_t>(&terms[0]);
      if (key == nullptr && index == nullptr) return {target, terms};
      const auto count = static_cast<int64_t>(structure->items.size());
      int64_t at = index == nullptr ? 0 : *index < 0 ? *index + count : *index;
      if (key != nullptr) {
        while (at < count && structure->items[at].name != *key) ++at;
      }
      if (at < 0 || at >= count) throw std::invalid_argument("no such item");
      target = std::get<graph::NodeRef>(structure->items[at].value).id;
      terms.erase(terms.begin());
    }
  }
  /// The value that a name is another name of.
  NodeId Same(NodeId n) {
    for (auto base = BaseOf(n); base && base->terms.empty() && !MakesView(n); base = BaseOf(n)) {
      n = base->id;
    }
    return n;
  }
  bool MakesView(NodeId n) const {
    const auto* op = std::get_if<graph::Operator>(&program_.at(n).kind);
    return op != nullptr && !IsInPlace(op->name);
  }

  /// The name whose memory `n` shares, if there is one.
  const std::optional<Base>& BaseOf(NodeId n) {
    const auto found = bases_.find(n);
    if (found != bases_.end()) return found->second;
    std::optional<Base> base = FindBase(n);
    return bases_[n] = std::move(base);
  }
  NodeId RootOf(NodeId n) {
    for (auto base = BaseOf(n); base; base = BaseOf(n)) n = base->id;
    return n;
  }
  /// The names on the way from a name to the root of its memory, both included.
  void AddWay(NodeId name, std::set<NodeId>& names) {
    names.insert(name);
    for (auto base = BaseOf(name); base; base = BaseOf(base->id)) names.insert(base->id);
  }

  /// The value that a statement changes in place, and where in it.
  std::optional<Base> Changed(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* assign = std::get_if<graph::Assign>(&kind)) {
      return Walk(assign->target, Filled(assign->index));
    }
    const auto* op = std::get_if<graph::Operator>(&kind);
    if (op == nullptr || !IsInPlace(op->name)) return std::nullopt;
    return BaseOf(n);
  }

  /// The statements before `at` that change the memory of a root, in order.
  std::vector<NodeId> ChangesOf(NodeId root, NodeId at) {
    if (!changers_) FindChangers();
    std::vector<NodeId> changes;
    for (const auto& [n, changed] : *changers_) {
      if (n >= at) break;
      if (n <= root) continue;
      if (changed == graph::kNoNode) Changed(n);  // throws
      if (changed == root) changes.push_back(n);
    }
    return changes;
  }

 private:
  std::optional<Base> FindBase(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* op = std::get_if<graph::Operator>(&kind)) {
      if (!IsInPlace(op->name) && !IsView(op->name)) return std::nullopt;
      return Base{std::get<graph::NodeRef>(Filled(op->arguments)[0].value).id, {}};
    }
    if (const auto* index = std::get_if<graph::Index>(&kind)) {
      Base base = Walk(index->target, Filled(index->terms));
      if (HasTensors(base.terms)) return std::nullopt;
      return base;
    }
    return std::nullopt;
  }

  void FindChangers() {
    changers_.emplace();
    for (NodeId n = 1; n <= Count(); ++n) {
      if (!IsSeen(n)) continue;
      try {
        if (const auto changed = Changed(n)) changers_->emplace_back(n, RootOf(changed->id));
      } catch (const std::exception&) {
        changers_->emplace_back(n, graph::kNoNode);
      }
    }
  }

  std::map<NodeId, std::optional<Base>> bases_;
  std::optional<std::vector<std::pair<NodeId, NodeId>>> changers_;
};

}  // namespace weft::reference
