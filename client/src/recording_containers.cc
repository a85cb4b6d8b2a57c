#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/convert.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

/// The rows of a tensor of token ids; nothing if it is none.
std::optional<Input::Rows> RowsOf(const Tensor& ids) {
  if (ids.dtype() == kBool || ids.dtype() > kInt64 || ids.dim() < 1 || ids.dim() > 2) {
    return std::nullopt;
  }
  if (ids.dim() == 1) return Input::Rows{ids.ToVector<int64_t>()};
  Input::Rows rows;
  for (int64_t i = 0; i < ids.size(0); ++i) rows.push_back(ids[i].ToVector<int64_t>());
  return rows;
}

bool Uneven(const Input::Rows& rows) {
  return std::any_of(rows.begin(), rows.end(), [&rows](const std::vector<int64_t>& row) {
    return row.size() != rows[0].size();
  });
}

/// Chats as the contract has them; nothing if they do not end alike and nobody says how.
std::optional<graph::ChatInput> ChatsOf(const Input::Chats& chats, ChatEnd end) {
  graph::ChatInput to;
  size_t open = 0;
  for (const Chat& chat : chats) {
    std::vector<graph::ChatMessage>& messages = to.chats.emplace_back();
    for (const ChatMessage& said : chat.messages) messages.push_back({said.role, said.content});
    if (!messages.empty() && messages.back().role == "assistant") ++open;
  }
  if (end == ChatEnd::kAuto) {
    if (open > 0 && open < chats.size()) return std::nullopt;
    end = open > 0 ? ChatEnd::kOpen : ChatEnd::kPrompt;
  }
  to.add_generation_prompt = end == ChatEnd::kPrompt;
  to.continue_final_message = end == ChatEnd::kOpen;
  return to;
}

}  // namespace

void Recording::Push(NodeId node, Region region) {
  frames_.emplace_back();
  frames_.back().node = node;
  frames_.back().region = region;
}

void Recording::CloseTo(size_t depth) {
  while (frames_.size() > depth) {
    switch (frames_.back().region) {
      case Region::kSteps:
        EndSteps();
        break;
      case Region::kBranch:
        EndBranch({});
        break;
      case Region::kIf:
        EndIf();
        break;
      default:
        frames_.pop_back();
    }
  }
}

void Recording::BeginTrace(graph::Trace trace, const Module* root, Location where) {
  if (failed_) return;
  if (!frames_.empty()) {
    return Fail("trace", "a trace stands inside another", where,
                "write the traces of a session one after the other");
  }
  trace.tuple_outputs = model_->tuple_outputs;
  trace.adapter = model_->adapter;
  if (root != nullptr) {
    trace.root = root->path();
    const std::string statement = trace.root.empty() ? "trace" : "trace of " + trace.root;
    if (!CheckWhole(root->Ref(), statement, where)) return;
    const absl::Status status = model_->CheckSite(trace.root, "output");
    if (!trace.root.empty() && !status.ok()) {
      return Fail(statement, std::string(status.message()), where);
    }
  }
  if (trace.generate && trace.generate->max_new_tokens == 0) {
    return Fail("generate", "a generation makes at least one token", where,
                "set GenerateOptions::max_new_tokens");
  }
  Push(Add(std::move(trace), where, kNoNode), Region::kTrace);
}

void Recording::BeginInvoke(const Input* input, Location where) {
  const std::string statement = "invoke";
  if (failed_) return;
  if (Find(Region::kInvoke) != nullptr) {
    return Fail(statement, "an invoke cannot stand inside another", where,
                "end the lambda of the first one before");
  }
  if (frames_.empty()) {
    return Fail(statement, "an invoke stands outside of a trace", where,
                "write it in the lambda of Trace or Generate");
  }
  const NodeId trace = frames_.front().node;
  const std::string root = std::get<graph::Trace>(program_.at(trace).kind).root;
  const bool takes_ids = root.empty() && model_->takes_ids();
  graph::Invoke invoke;
  invoke.input = graph::Invoke::AllRows{};
  bool padded = input == nullptr;
  // What the input is made of stands before it, and before the sweep that it is in.
  const NodeId sweep = frames_.back().region == Region::kSweep ? frames_.back().node : kNoNode;
  const auto constant = [&](const Tensor& tensor) {
    const PlaceScope place(this, trace, sweep);
    return AddConstant(tensor, where);
  };
  if (input != nullptr) {
    std::optional<Input::Rows> rows;
    const auto* tensor = std::get_if<Tensor>(&input->value());
    if (const auto* given = std::get_if<Input::Rows>(&input->value())) rows = *given;
    if (tensor != nullptr && takes_ids) {
      rows = RowsOf(*tensor);
      if (!rows) {
        return Fail(statement,
                    absl::StrCat("a ", tensor->Type(),
                                 " is no input of a language model, which "
                                 "takes token ids: int64[tokens] or int64[batch, tokens]"),
                    where, "name it, if the model takes it: weft::Inputs({{\"name\", tensor}})");
      }
    }
    const bool tensors = tensor != nullptr || std::holds_alternative<Inputs>(input->value());
    if (!takes_ids && !tensors) {
      return Fail(statement,
                  absl::StrCat(root.empty() ? "the model" : absl::StrCat("the module ", root),
                               " takes no prompt"),
                  where, "give it a tensor");
    }
    if (const auto* param = std::get_if<Param>(&input->value())) {
      const std::optional<graph::SweepUse> use = UseParam(*param, statement, where);
      if (!use) return;
      const auto& values = param->state()->parameter.values;
      if (!std::holds_alternative<std::vector<std::string>>(values) &&
          !std::holds_alternative<std::vector<std::vector<int64_t>>>(values)) {
        return Fail(
            statement, "the parameter of this sweep is no prompt", where,
            "sweep over texts, or over rows of token ids: Values(Input::Rows{{1, 2}, {3}})");
      }
      invoke.input = graph::SweptPrompt{*use, !input->special_tokens()};
    } else if (const auto* texts = std::get_if<Input::Texts>(&input->value())) {
      padded = texts->size() > 1;
      invoke.input = graph::Invoke::Prompts{*texts, !input->special_tokens()};
    } else if (rows) {
      padded = Uneven(*rows);
      invoke.input = graph::Invoke::Tokens{*std::move(rows)};
    } else if (const auto* chats = std::get_if<Input::Chats>(&input->value())) {
      padded = chats->size() > 1;
      std::optional<graph::ChatInput> to = ChatsOf(*chats, input->chat_end());
      if (!to) {
        return Fail(statement, "some of the chats end with the assistant, and some do not", where,
                    "say how they end: Input(chats).ending(weft::ChatEnd::kPrompt)");
      }
      invoke.input = *std::move(to);
    } else if (tensor != nullptr) {
      invoke.input = graph::Invoke::Tensors{{{"", constant(*tensor)}}};
    } else {
      graph::Invoke::Tensors to;
      for (const auto& [name, arg] : std::get<Inputs>(input->value()).tensors) {
        NodeId node = kNoNode;
        if (const auto* var = std::get_if<Var>(&arg.value())) {
          node = Use(*var, statement, where);
          if (node == kNoNode) return;
        } else if (const std::optional<Tensor> value = TensorOf(arg)) {
          node = constant(*value);
        } else {
          return Fail(statement, absl::StrCat("the input \"", name, "\" is no tensor"), where);
        }
        padded |= name == "attention_mask";
        to.inputs.push_back({name, node});
      }
      invoke.input = std::move(to);
    }
  }
  Push(Add(std::move(invoke), where), Region::kInvoke);
  frames_.back().padded = padded;
}

std::vector<Param> Recording::BeginSweep(absl::Span<const Values> columns) {
  const std::string statement = "sweep";
  graph::Sweep sweep;
  const auto params = [&](NodeId id) {
    std::vector<Param> made;
    for (size_t i = 0; i < columns.size(); ++i) {
      auto state = std::make_shared<ParamState>();
      state->recording = serial_;
      state->use = {id, static_cast<uint32_t>(i)};
      if (id != kNoNode) state->parameter = sweep.parameters[i];
      made.emplace_back(std::move(state));
    }
    return made;
  };
  const Location where = columns[0].where();
  if (failed_) return params(kNoNode);
  if (frames_.size() != 1 || frames_.back().region != Region::kTrace) {
    Fail(statement, "a sweep stands in its trace, outside of invokes and of other sweeps", where,
         "sweep over every combination with weft::Grid, and write the invokes inside");
    return params(kNoNode);
  }
  for (const Values& column : columns) {
    if (column.size() == 0) {
      Fail(statement, "a parameter of the sweep has no values", column.where());
    } else if (column.size() != columns[0].size()) {
      Fail(statement,
           absl::StrCat("the parameters of the sweep have ", columns[0].size(), " and ",
                        column.size(), " values"),
           column.where(),
           "give each one value a point; weft::Grid makes the points of every combination");
    }
    graph::SweepParameter& parameter = sweep.parameters.emplace_back();
    parameter.name = absl::StrCat("p", sweep_parameters_++);
    if (const auto* integers = std::get_if<std::vector<int64_t>>(&column.value())) {
      parameter.values = *integers;
    } else if (const auto* numbers = std::get_if<std::vector<double>>(&column.value())) {
      parameter.values = *numbers;
    } else if (const auto* names = std::get_if<std::vector<std::string>>(&column.value())) {
      parameter.values = *names;
    } else if (const auto* rows = std::get_if<Input::Rows>(&column.value())) {
      parameter.values = *rows;
    } else {
      std::vector<graph::NodeRef> nodes;
      for (const Arg& arg : std::get<std::vector<Arg>>(column.value())) {
        NodeId node = kNoNode;
        if (const auto* var = std::get_if<Var>(&arg.value())) {
          node = Use(*var, statement, column.where());
        } else if (const std::optional<Tensor> value = TensorOf(arg)) {
          node = AddConstant(*value, column.where());
        } else {
          Fail(statement, "what a sweep runs over is numbers, names, tensors or values",
               column.where());
        }
        nodes.push_back({node});
      }
      parameter.values = std::move(nodes);
    }
  }
  if (failed_) return params(kNoNode);
  const NodeId id = Add(sweep, where);
  Push(id, Region::kSweep);
  size_t points = 1;
  for (const Values& column : columns) points *= column.grid_size();
  if (points == columns[0].size()) {
    for (const Values& column : columns) frames_.back().grid.push_back(column.grid_size());
  }
  return params(id);
}

void Recording::BeginSteps(const StepSelection& selection, Location where) {
  const std::string statement = "steps";
  if (!Open(statement, where)) return;
  if (Find(Region::kSteps) != nullptr) {
    return Fail(statement, "`steps` stand inside other `steps`", where,
                "write them one after the other; both see the steps that they select");
  }
  if (frames_.back().region != Region::kInvoke) {
    return Fail(statement, "`steps` stand in an invoke, not inside of an If or of `backward`",
                where, "write the If inside the steps");
  }
  const auto& trace = std::get<graph::Trace>(program_.at(frames_.front().node).kind);
  if (!trace.generate) {
    return Fail(statement, "`steps` stand in a generation: this trace runs the model once", where,
                "record it with Generate");
  }
  graph::Steps steps;
  if (const auto* list = std::get_if<std::vector<int64_t>>(&selection.value())) {
    steps.list = *list;
    std::sort(steps.list.begin(), steps.list.end());
    steps.list.erase(std::unique(steps.list.begin(), steps.list.end()), steps.list.end());
    if (steps.list.empty()) return Fail(statement, "no step is selected", where);
    if (steps.list[0] < 0) {
      return Fail(statement, absl::StrCat("there is no step ", steps.list[0]), where,
                  "steps are counted from the first, which is 0");
    }
  } else {
    if (!ToSlice(std::get<Slice>(selection.value()), statement, where, &steps.range)) return;
    if (steps.range.start.value_or(0) < 0 || steps.range.stop.value_or(0) < 0 ||
        steps.range.step.value_or(1) < 1) {
      return Fail(statement, "steps are counted from the first, which is 0", where,
                  "the number of steps is known when the last one has come");
    }
  }
  Push(Add(std::move(steps), where), Region::kSteps);
  frames_.back().one_step = selection.one();
}

void Recording::BeginBackward(const Var& loss, const Operand* gradient, Location where) {
  const std::string statement = "backward";
  if (!failed_ && Find(Region::kBackward) != nullptr) {
    return Fail(statement, "a backward stands inside another", where,
                "write them one after the other");
  }
  if (!failed_ && Find(Region::kSteps) != nullptr) {
    return Fail(statement, "a generation keeps nothing to go backwards through", where,
                "go backwards in a trace of its own, over the tokens that were generated");
  }
  if (!failed_ && Find(Region::kBranch) != nullptr) {
    return Fail(statement, "a backward stands inside of an If", where,
                "write it after the If, from a loss that is the value of the If");
  }
  graph::Backward backward;
  backward.loss = Use(loss, statement, where);
  if (backward.loss == kNoNode || !Open(statement, where)) return;
  if (gradient != nullptr) {
    backward.gradient = Use(*gradient, statement);
    if (backward.gradient == kNoNode) return;
  }
  Push(Add(backward, where), Region::kBackward);
}

void Recording::BeginIf(const Operand& condition) {
  const std::string statement = "if";
  if (!Open(statement, condition.where())) return;
  if (Find(Region::kBackward) != nullptr) {
    return Fail(statement, "an If stands inside of `backward`", condition.where(),
                "choose between gradients with where()");
  }
  const NodeId id = Use(condition, statement);
  if (id == kNoNode) return;
  Push(Add(graph::If{id}, condition.where()), Region::kIf);
}

void Recording::BeginBranch(bool otherwise, Location where) {
  if (failed_) return;
  if (frames_.empty() || frames_.back().region != Region::kIf) {
    return Fail("else", "an Else does not follow its If", where,
                "write `weft::If(...).Else(...);` as one statement");
  }
  if (frames_.back().sides.size() != (otherwise ? 1 : 0)) {
    return Fail("else", "an If has one Else", where);
  }
  Push(Add(graph::Branch{otherwise}, where), Region::kBranch);
}

void Recording::EndBranch(const std::vector<Var>& values) {
  if (frames_.empty() || frames_.back().region != Region::kBranch) return;
  Side side;
  side.branch = frames_.back().node;
  for (const Var& value : values) {
    side.values.push_back(Use(value, "the value of an If", WhereOf(side.branch)));
  }
  side.carries = std::move(frames_.back().carries);
  frames_.pop_back();
  frames_.back().sides.push_back(std::move(side));
}

std::vector<Var> Recording::EndIf() {
  if (frames_.empty() || frames_.back().region != Region::kIf) return {};
  const NodeId choice = frames_.back().node;
  const Location where = WhereOf(choice);
  std::vector<Side> sides = std::move(frames_.back().sides);
  frames_.pop_back();
  if (failed_) return {};
  std::set<uint32_t> carries;
  for (const Side& side : sides) {
    for (const auto& [carry, value] : side.carries) carries.insert(carry);
  }
  if (sides.size() == 1 && (!carries.empty() || !sides[0].values.empty())) {
    sides.push_back({Add(graph::Branch{true}, where, choice), {}, {}});
  }
  if (sides.empty()) return {};
  const size_t values = sides[0].values.size();
  if (sides.back().values.size() != values) {
    Fail("if",
         absl::StrCat("one side of an If gives ", values, " values and the other ",
                      sides.back().values.size()),
         where);
    return {};
  }
  if (values == 0 && carries.empty()) return {};
  for (const Side& side : sides) {
    graph::Yield yield{side.values};
    for (uint32_t carry : carries) {
      const auto set = side.carries.find(carry);
      yield.values.push_back(set == side.carries.end() ? Resolve(carry, where) : set->second);
    }
    Add(std::move(yield), where, side.branch);
  }
  std::vector<Var> results;
  const auto result = [&](uint32_t index) {
    return Add(graph::RegionResult{choice, index}, where, {.droppable = true});
  };
  for (uint32_t i = 0; i < values; ++i) results.push_back(Var(serial_, result(i)));
  uint32_t index = static_cast<uint32_t>(values);
  for (uint32_t carry : carries) Set(carry, result(index++), where);
  return results;
}

std::vector<int64_t> Recording::StepNumbers(const StepSelection& selection, Location where) {
  const std::string statement = "each_step";
  if (!Open(statement, where)) return {};
  if (const auto* list = std::get_if<std::vector<int64_t>>(&selection.value())) return *list;
  const Slice& slice = std::get<Slice>(selection.value());
  const auto& trace = std::get<graph::Trace>(program_.at(frames_.front().node).kind);
  const int64_t last = trace.generate ? trace.generate->max_new_tokens : 1;
  const int64_t start = slice.start().value_or(0);
  if (last == kUnknownSteps && !slice.stop()) {
    Fail(statement,
         "each_step records a block for each step, and how many there will be is unknown", where,
         "name the steps, `each_step(Slice(0, 8), ...)`, or record once for all of them with "
         "`steps`");
    return {};
  }
  const int64_t stop = std::min(slice.stop().value_or(last), last);
  if (slice.start_parameter() || slice.stop_parameter() || start < 0 ||
      slice.stop().value_or(0) < 0 || slice.step().value_or(1) < 1) {
    Fail(statement, "each_step needs to know its steps here", where,
         "give numbers, counted from the first, which is 0; `steps` takes a sweep's parameter");
    return {};
  }
  std::vector<int64_t> numbers;
  for (int64_t i = start; i < stop; i += slice.step().value_or(1)) numbers.push_back(i);
  return numbers;
}

}  // namespace weft::internal
