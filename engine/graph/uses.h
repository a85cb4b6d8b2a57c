#pragma once

#include <vector>

#include "engine/graph/program.h"

namespace weft::graph {

template <typename Arguments, typename Use>
void ForEachUseInArguments(Arguments& arguments, const Use& use) {
  for (auto& argument : arguments) {
    if (auto* ref = std::get_if<NodeRef>(&argument.value)) use(ref->id);
    if (auto* list = std::get_if<Argument::List>(&argument.value)) {
      ForEachUseInArguments(*list, use);
    }
  }
}

template <typename Terms, typename Use>
void ForEachUseInTerms(Terms& terms, const Use& use) {
  for (auto& term : terms) {
    if (auto* ref = std::get_if<NodeRef>(&term)) use(ref->id);
  }
}

/// Call `use` with the id of every value that `node` uses: by reference, so that ids can be changed
/// where `node` can. Not among them are a node's parent, the region of a RegionResult, and the
/// sweeps of SweepUses, which are no values.
template <typename AnyNode, typename Use>
void ForEachUse(AnyNode& node, const Use& use) {
  auto& kind = node.kind;
  if (auto* sweep = std::get_if<Sweep>(&kind)) {
    for (auto& parameter : sweep->parameters) {
      auto* nodes = std::get_if<std::vector<NodeRef>>(&parameter.values);
      if (nodes == nullptr) continue;
      for (auto& ref : *nodes) use(ref.id);
    }
  } else if (auto* invoke = std::get_if<Invoke>(&kind)) {
    if (auto* tensors = std::get_if<Invoke::Tensors>(&invoke->input)) {
      for (auto& input : tensors->inputs) use(input.node);
    }
  } else if (auto* op = std::get_if<Operator>(&kind)) {
    ForEachUseInArguments(op->arguments, use);
  } else if (auto* index = std::get_if<Index>(&kind)) {
    use(index->target);
    ForEachUseInTerms(index->terms, use);
  } else if (auto* structure = std::get_if<Structure>(&kind)) {
    ForEachUseInArguments(structure->items, use);
  } else if (auto* call = std::get_if<Call>(&kind)) {
    ForEachUseInArguments(call->arguments, use);
  } else if (auto* write = std::get_if<Write>(&kind)) {
    ForEachUseInTerms(write->index, use);
    use(write->value);
  } else if (auto* assign = std::get_if<Assign>(&kind)) {
    use(assign->target);
    ForEachUseInTerms(assign->index, use);
    use(assign->value);
  } else if (auto* skip = std::get_if<Skip>(&kind)) {
    use(skip->value);
  } else if (auto* save = std::get_if<Save>(&kind)) {
    use(save->value);
  } else if (auto* log = std::get_if<Log>(&kind)) {
    use(log->value);
  } else if (auto* backward = std::get_if<Backward>(&kind)) {
    use(backward->loss);
    if (backward->gradient != kNoNode) use(backward->gradient);
  } else if (auto* read = std::get_if<GradRead>(&kind)) {
    use(read->value);
  } else if (auto* grad = std::get_if<GradWrite>(&kind)) {
    use(grad->value);
    use(grad->gradient);
  } else if (auto* steps = std::get_if<Steps>(&kind)) {
    for (auto& initial : steps->initial) use(initial);
  } else if (auto* choice = std::get_if<If>(&kind)) {
    use(choice->condition);
  } else if (auto* yield = std::get_if<Yield>(&kind)) {
    for (auto& value : yield->values) use(value);
  }
}

}  // namespace weft::graph
