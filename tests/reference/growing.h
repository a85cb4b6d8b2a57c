#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/program.h"
#include "engine/plan/planner.h"
#include "tests/reference/call.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {

using graph::Argument;
using graph::IndexTerm;
using graph::NodeId;
using graph::NodeRef;

/// Names that share memory, as far as the generator has to know.
struct Family {
  int when = plan::kStart;  // the latest site that its values depend on
  int site = -1;            // where its root was read
  NodeId invoke = graph::kNoNode;
  NodeId region = graph::kNoNode;
  bool maybe = false;  // not to be changed in place
};

/// A value that statements may use, with a random one of its kind.
struct Known {
  NodeId id = graph::kNoNode;
  c10::IValue sample;
  std::vector<int> families;
  bool overlapping = false;
};

/// A program as it grows, and the values that its statements may use so far.
class Growing {
 protected:
  Growing(uint64_t seed, const PlainModel& model, const plan::ModelSpec& spec)
      : seed_(seed), random_(seed), model_(model), spec_(spec) {
    at::manual_seed(seed);
  }

  // --- dice

  int64_t Below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(static_cast<int64_t>(from.size()))];
  }

  // --- nodes and values

  template <typename Kind>
  NodeId Add(Kind kind, bool named = false) {
    graph::Node node;
    node.parent = parent_;
    if (named) node.name = absl::StrCat("v", names_++);
    node.kind = std::move(kind);
    program_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(program_.nodes.size());
  }

  int NewFamily(int when) {
    families_.push_back(
        {.when = std::max(when, guard_when_), .invoke = invoke_, .region = parent_});
    return static_cast<int>(families_.size()) - 1;
  }
  int WhenOf(const Known& known) const {
    int when = plan::kStart;
    for (const int family : known.families) when = std::max(when, families_[family].when);
    return when;
  }
  const Known& Learn(NodeId id, c10::IValue sample, std::vector<int> families,
                     bool overlapping = false) {
    known_.push_back({id, std::move(sample), std::move(families), overlapping});
    return known_.back();
  }

  NodeId AddConstant(const at::Tensor& given) {
    const at::Tensor tensor = given.contiguous();
    const auto* data = static_cast<const char*>(tensor.const_data_ptr());
    auto host =
        graph::HostTensor::Make(plan::FromScalarType(tensor.scalar_type()), tensor.sizes().vec(),
                                std::string(data, data == nullptr ? 0 : tensor.nbytes()));
    graph::Constant constant;
    constant.tensor = *std::move(host);
    return Add(std::move(constant), true);
  }
  Known Constant(const at::Tensor& tensor) {
    const NodeId id = AddConstant(tensor);
    return {id, tensor, {NewFamily(plan::kStart)}};
  }

  static Argument Ref(NodeId id, const std::string& name = "") {
    Argument argument;
    argument.name = name;
    argument.value = NodeRef{id};
    return argument;
  }
  template <typename T>
  static Argument Literal(T value) {
    Argument argument;
    argument.value = std::move(value);
    return argument;
  }

  /// Of a tensor of floats one of any shape: elements of it, at given places.
  Known Adapt(const Known& from, const std::vector<int64_t>& shape, bool bounded) {
    const at::Tensor sample = from.sample.toTensor();
    const Known places = Constant(at::randint(0, sample.numel(), shape, at::kLong));
    graph::Operator take{"aten::take", {Ref(from.id), Ref(places.id)}};
    NodeId id = Add(std::move(take), true);
    at::Tensor made = sample.take(places.sample.toTensor());
    if (bounded) {
      id = Add(graph::Operator{"aten::sigmoid", {Ref(id)}}, true);
      made = made.sigmoid();
    }
    return Learn(id, made, {NewFamily(WhenOf(from))});
  }

  static bool IsFloat(const Known& known) {
    return known.sample.isTensor() && known.sample.toTensor().scalar_type() == at::kFloat;
  }
  template <typename Wanted>
  std::optional<Known> Find(const Wanted& wanted) {
    std::vector<const Known*> found;
    for (const Known& known : known_) {
      if (wanted(known)) found.push_back(&known);
    }
    if (found.empty()) return std::nullopt;
    return *Pick(found);
  }
  std::optional<Known> FindFloats(int latest) {
    return Find([&](const Known& known) {
      return IsFloat(known) && known.sample.toTensor().numel() > 0 && WhenOf(known) <= latest;
    });
  }

  /// A float32 tensor of one shape that is there by the site `latest`.
  Known Floats(const std::vector<int64_t>& shape, int latest) {
    if (Chance(0.4)) {
      const auto same = Find([&](const Known& known) {
        return IsFloat(known) && known.sample.toTensor().sizes() == shape &&
               WhenOf(known) <= latest;
      });
      if (same) return *same;
    }
    if (const auto from = Chance(0.8) ? FindFloats(latest) : std::nullopt) {
      return Adapt(*from, shape, Chance(0.5));
    }
    return Constant(at::rand(shape).mul(2).sub(1));
  }

  /// What is undone where a statement turns out to be none.
  struct Mark {
    size_t nodes, known, families, names;
  };
  Mark Here() const { return {program_.nodes.size(), known_.size(), families_.size(), names_}; }
  void BackTo(const Mark& mark) {
    program_.nodes.resize(mark.nodes);
    known_.resize(mark.known);
    families_.resize(mark.families);
    names_ = mark.names;
  }

  static constexpr int kLast = 1 << 20;

  const uint64_t seed_;
  std::mt19937_64 random_;
  const PlainModel& model_;
  const plan::ModelSpec& spec_;
  graph::Program program_;
  std::vector<Known> known_;
  std::vector<Family> families_;
  size_t names_ = 0;
  int saves_ = 0, turn_ = 0;
  NodeId parent_ = graph::kNoNode, invoke_ = graph::kNoNode, sweep_ = graph::kNoNode;
  plan::RowCount rows_;
  bool all_rows_ = false;
  int guard_when_ = plan::kStart;
};

}  // namespace weft::reference
