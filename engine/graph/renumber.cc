#include "engine/graph/renumber.h"

#include "engine/graph/uses.h"

namespace weft::graph {
namespace {

/// Calls `visit` with each use of a sweep's parameter.
template <typename Visit>
void ForEachSweepUse(Slice* slice, const Visit& visit) {
  if (slice->start_parameter.has_value()) visit(&*slice->start_parameter);
  if (slice->stop_parameter.has_value()) visit(&*slice->stop_parameter);
}
template <typename Visit>
void ForEachSweepUse(std::vector<IndexTerm>* terms, const Visit& visit) {
  for (IndexTerm& term : *terms) {
    if (auto* use = std::get_if<SweepUse>(&term)) visit(use);
    if (auto* slice = std::get_if<Slice>(&term)) ForEachSweepUse(slice, visit);
  }
}
template <typename Visit>
void ForEachSweepUse(std::vector<Argument>* arguments, const Visit& visit) {
  for (Argument& argument : *arguments) {
    if (auto* use = std::get_if<SweepUse>(&argument.value)) visit(use);
    if (auto* list = std::get_if<Argument::List>(&argument.value)) ForEachSweepUse(list, visit);
  }
}
template <typename Visit>
void ForEachSweepUse(Site* site, const Visit& visit) {
  for (PathParameter& parameter : site->parameters) visit(&parameter.use);
}
template <typename Visit>
void ForEachSweepUse(Node* node, const Visit& visit) {
  if (auto* read = std::get_if<Read>(&node->kind)) {
    ForEachSweepUse(&read->site, visit);
  } else if (auto* write = std::get_if<Write>(&node->kind)) {
    ForEachSweepUse(&write->site, visit);
    ForEachSweepUse(&write->index, visit);
  } else if (auto* op = std::get_if<Operator>(&node->kind)) {
    ForEachSweepUse(&op->arguments, visit);
  } else if (auto* call = std::get_if<Call>(&node->kind)) {
    ForEachSweepUse(&call->arguments, visit);
  } else if (auto* structure = std::get_if<Structure>(&node->kind)) {
    ForEachSweepUse(&structure->items, visit);
  } else if (auto* index = std::get_if<Index>(&node->kind)) {
    ForEachSweepUse(&index->terms, visit);
  } else if (auto* assign = std::get_if<Assign>(&node->kind)) {
    ForEachSweepUse(&assign->index, visit);
  } else if (auto* steps = std::get_if<Steps>(&node->kind)) {
    ForEachSweepUse(&steps->range, visit);
  } else if (auto* invoke = std::get_if<Invoke>(&node->kind)) {
    if (auto* swept = std::get_if<SweptPrompt>(&invoke->input)) visit(&swept->use);
  }
}

}  // namespace

void Renumber(const std::vector<NodeId>& to, Node* node) {
  node->parent = to[node->parent];
  ForEachUse(*node, [&to](NodeId& used) { used = to[used]; });
  ForEachSweepUse(node, [&to](SweepUse* use) { use->sweep = to[use->sweep]; });
  if (auto* result = std::get_if<RegionResult>(&node->kind)) result->region = to[result->region];
}

}  // namespace weft::graph
