#include <algorithm>
#include <utility>

#include "client/src/convert.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"

// Real tokens of rows that may hold pads. An invoke of one row, or of rows of one length, holds
// none: there a token is an index. Elsewhere the mask says where each row's real tokens are: they
// stand together, from the first 1 on.

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

// No tensor has so many tokens: an index with it is refused while the program runs.
constexpr int64_t kNoToken = int64_t{1} << 40;

graph::Argument Ref(NodeId id) { return {"", graph::NodeRef{id}}; }
graph::Argument Number(int64_t number) { return {"", number}; }

/// The tokens that a slice means in a row of any length, if their number is the same in all.
std::optional<std::vector<int64_t>> TokensOf(const Slice& slice) {
  if (slice.start_parameter() || slice.stop_parameter()) return std::nullopt;
  const int64_t step = slice.step().value_or(1);
  const bool from_end = slice.start().value_or(0) < 0;
  if (step <= 0 || (from_end ? slice.stop().value_or(-1) >= 0 : slice.stop().value_or(-1) < 0)) {
    return std::nullopt;
  }
  std::vector<int64_t> tokens;
  const int64_t stop = slice.stop().value_or(0);
  // A slice is never longer than the largest constant.
  constexpr size_t kMost = size_t{1} << 20;
  for (int64_t token = slice.start().value_or(0); token < stop && tokens.size() < kMost;
       token += step) {
    tokens.push_back(token);
  }
  return tokens;
}

}  // namespace

Recording::Tokens Recording::FindTokens(Location where) {
  // Of the step that is being recorded, whichever If or backward stands inside it.
  size_t depth = frames_.size() - 1;
  while (frames_[depth].region != Region::kSteps && frames_[depth].region != Region::kInvoke) {
    --depth;
  }
  if (frames_[depth].tokens.row != kNoNode) return frames_[depth].tokens;
  const NodeId around = frames_[depth].node;
  const NodeId before = depth + 1 < frames_.size() ? frames_[depth + 1].node : kNoNode;
  const PlaceScope place(this, around, before);
  const Note helper = {.droppable = true};
  const auto op = [&](const char* name, std::vector<graph::Argument> arguments) {
    return Add(graph::Operator{name, std::move(arguments)}, where, helper);
  };
  Tokens tokens;
  const NodeId mask = Add(graph::Read{{"", graph::Point::kMask, 0, "", {}}}, where, helper);
  tokens.start = op("aten::argmax", {Ref(mask), Number(1)});
  tokens.count = op("aten::sum", {Ref(mask), {"", graph::Argument::List{Number(1)}}});
  const NodeId ones = op("aten::ones_like", {Ref(tokens.start)});
  const NodeId sums = op("aten::cumsum", {Ref(ones), Number(0)});
  tokens.row = op("aten::sub", {Ref(sums), Number(1)});
  frames_[depth].tokens = tokens;
  return tokens;
}

Var Recording::Token(const Var& target, const TokenSelection& selection, Location where,
                     bool target_is_temporary) {
  const std::string statement = "token";
  const NodeId base = Use(target, statement, where);
  if (base == kNoNode || !Open(statement, where)) return Poison();
  const Frame& invoke = *Find(Region::kInvoke);
  if (program_.InvokeOf(base) != invoke.node) {
    Fail(statement,
         "token() counts the tokens of the invoke that it stands in, and this value is "
         "not one of it",
         where, "take its token in its own invoke, and use that here");
    return Poison();
  }
  const auto* one = std::get_if<int64_t>(&selection.value());
  const auto* parameter = std::get_if<Param>(&selection.value());
  const auto* slice = std::get_if<Slice>(&selection.value());
  std::optional<std::vector<int64_t>> several;
  if (const auto* list = std::get_if<std::vector<int64_t>>(&selection.value())) several = *list;
  if (slice != nullptr) several = TokensOf(*slice);
  std::optional<graph::SweepUse> use;
  if (parameter != nullptr) {
    use = UseParam(*parameter, statement, where);
    if (!use) return Poison();
  }

  graph::Index index{base, {}};
  if (!invoke.padded) {
    index.terms.emplace_back(graph::Slice());
    if (several) {
      index.terms.emplace_back(graph::NodeRef{AddConstant(Tensor::From(*several), where)});
    } else if (one != nullptr) {
      index.terms.emplace_back(*one);
    } else if (use) {
      index.terms.emplace_back(*use);
    } else {
      graph::Slice term;
      if (!ToSlice(*slice, statement, where, &term)) return Poison();
      index.terms.emplace_back(term);
    }
    return AddValue(
        std::move(index), where,
        {.target_is_temporary = target_is_temporary, .writes_back = several.has_value()});
  }

  if (slice != nullptr && !several) {
    Fail(statement, "in rows of different lengths this slice has different numbers of tokens",
         where, "count both of its ends from the same side, or use the mask");
    return Poison();
  }
  const auto op = [&](const char* name, std::vector<graph::Argument> arguments) {
    return Add(graph::Operator{name, std::move(arguments)}, where, {.droppable = true});
  };
  Tokens tokens = FindTokens(where);
  const auto column = [&](NodeId value) { return op("aten::unsqueeze", {Ref(value), Number(1)}); };
  NodeId place = kNoNode;  // of the token among the row's real ones
  NodeId known = kNoNode;  // whether it is there
  if (several) {
    tokens = {column(tokens.start), column(tokens.count), column(tokens.row)};
    std::vector<int64_t> from_end;
    for (int64_t token : *several) from_end.push_back(token < 0 ? 1 : 0);
    place = AddConstant(Tensor::From(*several), where);
    if (std::find(from_end.begin(), from_end.end(), 1) != from_end.end()) {
      const NodeId ends = AddConstant(Tensor::From(from_end), where);
      place = op("aten::add", {Ref(op("aten::mul", {Ref(tokens.count), Ref(ends)})), Ref(place)});
    }
    known = op("aten::logical_and", {Ref(op("aten::ge", {Ref(place), Number(0)})),
                                     Ref(op("aten::gt", {Ref(tokens.count), Ref(place)}))});
  } else {
    int64_t least = 0, most = 0;
    graph::Argument token;
    if (one != nullptr) {
      least = most = *one;
      token.value = *one;
    } else {
      const auto* points = std::get_if<std::vector<int64_t>>(&parameter->state()->parameter.values);
      if (points == nullptr || points->empty()) {
        Fail(statement, "a token is chosen by whole numbers", where);
        return Poison();
      }
      least = *std::min_element(points->begin(), points->end());
      most = *std::max_element(points->begin(), points->end());
      token.value = *use;
    }
    if (least < 0 && most >= 0) {
      Fail(statement, "a sweep over tokens of rows of different lengths counts from one side",
           where, "sweep over those from the end in a sweep of its own");
      return Poison();
    }
    if (most < 0) {
      place = op("aten::add", {Ref(tokens.count), token});
      known = op("aten::ge", {Ref(place), Number(0)});
      place = op("aten::add", {Ref(tokens.start), Ref(place)});
    } else {
      known = op("aten::gt", {Ref(tokens.count), token});
      place = op("aten::add", {Ref(tokens.start), token});
    }
  }
  if (several) place = op("aten::add", {Ref(tokens.start), Ref(place)});
  place = op("aten::where", {Ref(known), Ref(place), Number(kNoToken)});
  index.terms = {graph::NodeRef{tokens.row}, graph::NodeRef{place}};
  return AddValue(std::move(index), where,
                  {.target_is_temporary = target_is_temporary, .writes_back = true});
}

}  // namespace weft::internal
