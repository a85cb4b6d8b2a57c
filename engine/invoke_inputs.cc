#include "engine/invoke_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/graph/error.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft {
namespace {

/// Bytes of the longest token that there may be: a prompt beyond that many for each token is
/// refused before it is tokenised.
constexpr size_t kLongestToken = 256;
/// Inputs of one program: a prompt of a sweep is one at each point.
constexpr size_t kMostInputs = 1 << 14;

/// The constant of an invoke's input, sharing its bytes; undefined where it is something else.
at::Tensor ConstantOf(const graph::Program& program, graph::NodeId id) {
  const auto* constant = std::get_if<graph::Constant>(&program.at(id).kind);
  if (constant == nullptr || constant->tensor.data == nullptr) return {};
  const graph::HostTensor& tensor = constant->tensor;
  // Nobody writes into what a pass is given.
  return at::from_blob(
      const_cast<char*>(tensor.data), tensor.shape, [owner = tensor.owner](void*) {},
      at::TensorOptions().dtype(plan::ToScalarType(tensor.dtype)));
}

/// An invoke with the prompt that it has at this point of its sweep.
graph::Invoke AtPoint(const graph::Program& program, const graph::SweptPrompt& swept,
                      size_t point) {
  const auto& sweep = std::get<graph::Sweep>(program.at(swept.use.sweep).kind);
  const auto& values = sweep.parameters[swept.use.parameter].values;
  if (const auto* texts = std::get_if<std::vector<std::string>>(&values)) {
    return {graph::Invoke::Prompts{{(*texts)[point]}, swept.no_special_tokens}};
  }
  const auto& rows = std::get<std::vector<std::vector<int64_t>>>(values);
  return {graph::Invoke::Tokens{{rows[point]}}};
}

/// Whether an invoke begins with values of an earlier trace.
bool IsComputed(const graph::Program& program, const graph::Invoke& invoke) {
  const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input);
  return tensors != nullptr &&
         std::any_of(tensors->inputs.begin(), tensors->inputs.end(),
                     [&](const graph::NamedInput& input) {
                       return !std::holds_alternative<graph::Constant>(program.at(input.node).kind);
                     });
}

std::string TypeOf(const at::Tensor& tensor) {
  return absl::StrCat(graph::ToString(plan::FromScalarType(tensor.scalar_type())), "[",
                      absl::StrJoin(tensor.sizes(), ", "), "]");
}

absl::Status Refuse(const graph::Program& program, graph::NodeId id, const std::string& message,
                    const std::string& hint = "",
                    absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  return graph::StatementError(code, program, id, message, hint);
}

absl::Status TooManyRows(const graph::Program& program, graph::NodeId id, uint64_t rows,
                         uint64_t pass_tokens) {
  return Refuse(program, id,
                absl::StrCat("the invoke has ", rows, " rows, pads included; a pass holds at most ",
                             pass_tokens),
                "split it", absl::StatusCode::kResourceExhausted);
}

}  // namespace

absl::StatusOr<InvokeInputs> InputMaker::Make(const graph::Program& program,
                                              const std::string& owner,
                                              uint64_t pass_tokens) const {
  InvokeInputs made;
  const graph::Trace* trace = nullptr;
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    if (const auto* found = std::get_if<graph::Trace>(&program.at(id).kind)) trace = found;
    const auto* invoke = std::get_if<graph::Invoke>(&program.at(id).kind);
    if (invoke == nullptr) continue;
    if (std::holds_alternative<graph::Invoke::AllRows>(invoke->input)) {
      made.inputs.emplace_back();
      made.counts.push_back({});
      continue;
    }
    const size_t points = program.InputsOf(id);
    if (made.inputs.size() + points > kMostInputs) {
      return Refuse(program, id,
                    absl::StrCat("up to here the program has more than ", kMostInputs, " inputs"),
                    "split it", absl::StatusCode::kResourceExhausted);
    }
    const auto* swept = std::get_if<graph::SweptPrompt>(&invoke->input);
    for (size_t point = 0; point < points; ++point) {
      const graph::Invoke filled =
          swept == nullptr ? graph::Invoke() : AtPoint(program, *swept, point);
      absl::StatusOr<run::InvokeInput> input =
          MakeOne(program, owner, id, swept == nullptr ? *invoke : filled, *trace, pass_tokens);
      if (!input.ok()) return input.status();
      plan::RowCount count;
      if (input->mask.defined()) count = {input->batch(), input->tokens()};
      const auto rows = static_cast<uint64_t>(count.batch * count.tokens);
      if (rows > pass_tokens) return TooManyRows(program, id, rows, pass_tokens);
      made.inputs.push_back(*std::move(input));
      made.counts.push_back(count);
    }
  }
  return made;
}

absl::StatusOr<run::InvokeInput> InputMaker::MakeOne(const graph::Program& program,
                                                     const std::string& owner, graph::NodeId id,
                                                     const graph::Invoke& invoke,
                                                     const graph::Trace& trace,
                                                     uint64_t pass_tokens) const {
  if (IsComputed(program, invoke)) {
    if (trace.generate && trace.generate->Sequences() > 1) {
      const bool searches = trace.generate->Searches();
      return Refuse(program, id,
                    absl::StrCat(searches ? "a beam search" : "several sequences",
                                 " of a prompt that the program computes"),
                    searches ? "save it, and give it as a prompt to a program of its own"
                             : "repeat its rows, as with aten::repeat_interleave");
    }
    return run::InvokeInput();  // the planner knows its rows, the run its values
  }
  if (!trace.root.empty() || !spec_.input().ids) return Activations(program, id, trace);

  absl::StatusOr<Rows> rows = Rows();
  if (const auto* tokens = std::get_if<graph::Invoke::Tokens>(&invoke.input)) rows = tokens->rows;
  if (const auto* prompts = std::get_if<graph::Invoke::Prompts>(&invoke.input)) {
    rows = Tokenized(program, owner, id, *prompts);
  }
  if (const auto* chats = std::get_if<graph::Invoke::Chats>(&invoke.input)) {
    rows = Templated(program, owner, id, *chats);
  }
  if (const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input)) {
    rows = Unpadded(program, id, *tensors);
  }
  if (!rows.ok()) return rows.status();
  if (absl::Status status = CheckIds(program, id, *rows); !status.ok()) return status;
  if (trace.generate) {
    absl::Status status = Expand(program, id, *trace.generate, pass_tokens, &*rows);
    if (!status.ok()) return status;
  }
  return run::InvokeInput::Make(*rows, tokens_.pad_id, tokens_.pad_left);
}

absl::StatusOr<std::vector<int64_t>> InputMaker::Encode(const graph::Program& program,
                                                        const std::string& owner, graph::NodeId id,
                                                        const std::string& text,
                                                        bool special_tokens) const {
  if (text.size() > static_cast<size_t>(max_tokens_) * kLongestToken) {
    return Refuse(program, id,
                  absl::StrCat("the prompt has ", text.size(), " bytes; the model takes at most ",
                               max_tokens_, " tokens"),
                  "shorten it");
  }
  absl::StatusOr<std::vector<int64_t>> ids = ids_.Encode(owner, text, special_tokens);
  if (ids.ok()) return ids;
  return Refuse(program, id, std::string(ids.status().message()), "", ids.status().code());
}

absl::Status InputMaker::Expand(const graph::Program& program, graph::NodeId id,
                                const graph::GenerateOptions& generate, uint64_t pass_tokens,
                                Rows* rows) const {
  size_t longest = 0;
  for (const auto& row : *rows) longest = std::max(longest, row.size());
  // The last new token is chosen, and not looked at any more.
  const int64_t positions =
      static_cast<int64_t>(longest) + std::max<int64_t>(0, int64_t{generate.max_new_tokens} - 1);
  if (positions > max_tokens_) {
    return Refuse(program, id,
                  absl::StrCat("the prompt's ", longest, " tokens and ", generate.max_new_tokens,
                               " new ones need more positions than the model's ", max_tokens_),
                  "shorten the prompt, or generate fewer tokens");
  }
  if (!generate.stop_strings.empty() && tokenizer_ == nullptr) {
    return Refuse(program, id,
                  "this model has no tokenizer, so there is no text to look for stop_strings in",
                  "name tokens in eos_token_ids");
  }
  const size_t sequences = generate.Sequences();
  if (sequences == 1) return absl::OkStatus();
  // Before they are made.
  const uint64_t count = static_cast<uint64_t>(rows->size()) * longest * sequences;
  if (count > pass_tokens) return TooManyRows(program, id, count, pass_tokens);
  Rows expanded;
  expanded.reserve(rows->size() * sequences);
  for (const auto& row : *rows) expanded.insert(expanded.end(), sequences, row);
  *rows = std::move(expanded);
  return absl::OkStatus();
}

absl::StatusOr<InputMaker::Rows> InputMaker::Tokenized(
    const graph::Program& program, const std::string& owner, graph::NodeId id,
    const graph::Invoke::Prompts& prompts) const {
  if (tokenizer_ == nullptr) {
    return Refuse(program, id, "this model has no tokenizer", "give token ids");
  }
  Rows rows;
  for (const std::string& text : prompts.texts) {
    absl::StatusOr<std::vector<int64_t>> ids =
        Encode(program, owner, id, text, !prompts.no_special_tokens);
    if (!ids.ok()) return ids.status();
    rows.push_back(*std::move(ids));
  }
  return rows;
}

absl::StatusOr<InputMaker::Rows> InputMaker::Templated(const graph::Program& program,
                                                       const std::string& owner, graph::NodeId id,
                                                       const graph::Invoke::Chats& chats) const {
  if (tokenizer_ == nullptr) {
    return Refuse(program, id, "this model has no tokenizer", "give token ids");
  }
  if (!chat_template_.ok()) {
    return Refuse(program, id, std::string(chat_template_.status().message()),
                  "give the prompt as text, or put a `chat_template.jinja` into the model's folder",
                  absl::StatusCode::kFailedPrecondition);
  }
  text::ChatOptions options;
  options.add_generation_prompt = chats.add_generation_prompt;
  options.continue_final_message = chats.continue_final_message;
  options.max_bytes = std::min(options.max_bytes, static_cast<size_t>(max_tokens_) * kLongestToken);
  Rows rows;
  for (const std::vector<graph::ChatMessage>& chat : chats.chats) {
    std::vector<text::ChatMessage> messages;
    messages.reserve(chat.size());
    for (const graph::ChatMessage& said : chat) messages.push_back({said.role, said.content});
    absl::StatusOr<std::string> text = (*chat_template_)->Render(messages, options);
    if (!text.ok()) {
      return Refuse(program, id, std::string(text.status().message()), "", text.status().code());
    }
    // The template has put in the special tokens that there are.
    absl::StatusOr<std::vector<int64_t>> ids =
        Encode(program, owner, id, *text, /*special_tokens=*/false);
    if (!ids.ok()) return ids.status();
    rows.push_back(*std::move(ids));
  }
  return rows;
}

/// `input_ids`, and `attention_mask` where there are pads, as a tokenizer in Python gives them.
absl::StatusOr<InputMaker::Rows> InputMaker::Unpadded(const graph::Program& program,
                                                      graph::NodeId id,
                                                      const graph::Invoke::Tensors& tensors) const {
  at::Tensor ids, mask;
  for (const graph::NamedInput& input : tensors.inputs) {
    const bool is_ids = input.name.empty() ? !ids.defined() : input.name == "input_ids";
    if (!is_ids && input.name != "attention_mask") {
      return Refuse(program, id,
                    input.name.empty()
                        ? std::string("a second tensor by position")
                        : absl::StrCat("a language model takes no tensor `", input.name, "`"),
                    "give `input_ids` and, where there are pads, `attention_mask`");
    }
    at::Tensor& place = is_ids ? ids : mask;
    if (place.defined()) return Refuse(program, id, "the token ids are given twice");
    place = ConstantOf(program, input.node);
    if (!place.defined()) {
      return Refuse(program, id, absl::StrCat("the bytes of `", input.name, "` are not here"));
    }
    const bool integers = place.scalar_type() == at::kLong || place.scalar_type() == at::kInt ||
                          (!is_ids && place.scalar_type() == at::kBool);
    if (!integers || place.dim() < 1 || place.dim() > 2) {
      return Refuse(
          program, id,
          absl::StrCat("`", is_ids ? "input_ids" : "attention_mask", "` is ", TypeOf(place)),
          "it is int64[tokens] or int64[batch, tokens]");
    }
    if (place.dim() == 1) place = place.unsqueeze(0);
    place = place.to(at::kLong).contiguous();
  }
  if (!ids.defined()) return Refuse(program, id, "there is a mask, and there are no token ids");
  if (mask.defined() && mask.sizes() != ids.sizes()) {
    return Refuse(
        program, id,
        absl::StrCat("`input_ids` is ", TypeOf(ids), " and `attention_mask` ", TypeOf(mask)));
  }
  // Before anything is made for each row: a tensor without elements may have any number of them.
  if (ids.numel() == 0) {
    return Refuse(program, id, "a prompt has no tokens", "give at least one token");
  }
  Rows rows(ids.size(0));
  const int64_t tokens = ids.size(1);
  int64_t longest = 0;
  for (int64_t r = 0; r < ids.size(0); ++r) {
    const int64_t* const row = ids.const_data_ptr<int64_t>() + r * tokens;
    if (!mask.defined()) {
      rows[r].assign(row, row + tokens);
      longest = tokens;
      continue;
    }
    const int64_t* const real = mask.const_data_ptr<int64_t>() + r * tokens;
    for (int64_t t = 0; t < tokens; ++t) {
      if (real[t] != 0 && real[t] != 1) {
        return Refuse(program, id, "`attention_mask` holds more than zeros and ones");
      }
      // All real tokens lie together, at the end that is not padded.
      const int64_t next = t + (tokens_.pad_left ? 1 : -1);
      if (real[t] == 1 && next >= 0 && next < tokens && real[next] == 0) {
        return Refuse(
            program, id,
            absl::StrCat("row ", r, " has pads that are not all on the ",
                         tokens_.pad_left ? "left" : "right"),
            "this model pads on that side; or give the rows without pads, of any lengths");
      }
      if (real[t] == 1) rows[r].push_back(row[t]);
    }
    longest = std::max(longest, static_cast<int64_t>(rows[r].size()));
  }
  if (longest < tokens) {
    return Refuse(program, id,
                  absl::StrCat("the longest row has ", longest, " tokens, and all have ",
                               tokens - longest, " pads more"),
                  "leave out columns that are pads alone");
  }
  return rows;
}

absl::Status InputMaker::CheckIds(const graph::Program& program, graph::NodeId id,
                                  const Rows& rows) const {
  size_t longest = 0;
  for (const std::vector<int64_t>& row : rows) {
    if (row.empty()) {
      return Refuse(program, id, "a prompt has no tokens", "give at least one token");
    }
    longest = std::max(longest, row.size());
    for (int64_t token : row) {
      if (token < 0 || token >= vocabulary_) {
        return Refuse(program, id,
                      absl::StrCat("token id ", token, " is out of range: the model has ids 0 to ",
                                   vocabulary_ - 1),
                      "", absl::StatusCode::kOutOfRange);
      }
    }
  }
  if (static_cast<int64_t>(longest) > max_tokens_) {
    return Refuse(
        program, id,
        absl::StrCat("the prompt has ", longest, " tokens; the model takes at most ", max_tokens_),
        "shorten it");
  }
  if (rows.empty()) return Refuse(program, id, "an invoke without prompts");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<graph::NodeId>> InputMaker::InOrder(
    const graph::Program& program, graph::NodeId id, const graph::Invoke::Tensors& tensors) const {
  std::vector<std::string> names = {input_->name};
  for (const models::OtherInput& other : input_->others) names.push_back(other.name);
  std::vector<std::string> shown;
  for (const std::string& name : names) shown.push_back(absl::StrCat("`", name, "`"));
  const std::string takes = names.size() == 1
                                ? "the model takes one tensor"
                                : absl::StrCat("the model takes ", names.size(), " tensors (",
                                               absl::StrJoin(shown, ", "), ")");
  std::vector<graph::NodeId> nodes(names.size(), graph::kNoNode);
  size_t next = 0;
  for (const graph::NamedInput& input : tensors.inputs) {
    size_t place = next++;
    if (!input.name.empty()) {
      place = std::find(names.begin(), names.end(), input.name) - names.begin();
    }
    if (place >= names.size() || nodes[place] != graph::kNoNode) {
      return Refuse(program, id,
                    input.name.empty()
                        ? absl::StrCat(takes, ", and is given ", tensors.inputs.size())
                        : absl::StrCat(takes, ", and `", input.name,
                                       place < names.size() ? "` is given twice" : "` is none"));
    }
    nodes[place] = input.node;
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i] == graph::kNoNode) {
      return Refuse(program, id, absl::StrCat(takes, ", and is not given ", shown[i]),
                    "give them by position, or by name: `invoke (%x, mask=%m)`");
    }
  }
  return nodes;
}

absl::StatusOr<std::vector<at::Tensor>> InputMaker::Others(const graph::Program& program,
                                                           graph::NodeId id,
                                                           const std::vector<graph::NodeId>& nodes,
                                                           const at::Tensor& values) const {
  std::vector<at::Tensor> made;
  // Only a model that says what it takes has others.
  for (size_t i = 1; i < nodes.size(); ++i) {
    const int64_t tokens = input_->tokens ? values.size(1) : 1;
    const models::OtherInput& other = input_->others[i - 1];
    const at::Tensor tensor = ConstantOf(program, nodes[i]);
    if (!tensor.defined()) return std::vector<at::Tensor>();  // a blob that nobody has found
    std::vector<int64_t> expected;
    for (const graph::Dimension& size : other.pattern.shape) {
      expected.push_back(size.At(values.size(0), tokens));
    }
    if (tensor.sizes() != at::IntArrayRef(expected) ||
        tensor.scalar_type() != plan::ToScalarType(other.pattern.dtype)) {
      return Refuse(program, id,
                    absl::StrCat("`", other.name, "` is ", graph::ToString(other.pattern.dtype),
                                 "[", absl::StrJoin(expected, ", "), "] beside ", values.size(0),
                                 " rows of `", input_->name, "`, and is given ", TypeOf(tensor)));
    }
    made.push_back(tensor);
  }
  return made;
}

/// What the planner says of a tensor that does not fit is better than what could be said here: only
/// what it, or the rows' count, could not bear is refused.
absl::StatusOr<run::InvokeInput> InputMaker::Activations(const graph::Program& program,
                                                         graph::NodeId id,
                                                         const graph::Trace& trace) const {
  const auto& invoke = std::get<graph::Invoke>(program.at(id).kind);
  const auto* tensors = std::get_if<graph::Invoke::Tensors>(&invoke.input);
  const int module = spec_.FindModule(trace.root);
  const int site = module < 0 ? -1 : spec_.FindSite(module, graph::Point::kInput, 0);
  if (tensors == nullptr || site < 0) return run::InvokeInput();
  std::vector<graph::NodeId> nodes = {tensors->inputs[0].node};
  if (module == 0) {
    absl::StatusOr<std::vector<graph::NodeId>> ordered = InOrder(program, id, *tensors);
    if (!ordered.ok()) return ordered.status();
    nodes = *std::move(ordered);
  }
  const at::Tensor values = ConstantOf(program, nodes[0]);
  const auto& pattern = std::get<graph::Pattern::Tensor>(spec_.sites()[site].pattern.value);
  if (!values.defined()) return run::InvokeInput();  // a blob that nobody has found
  // Without elements there may be any number of rows, and something is made for each.
  if (values.dim() != static_cast<int64_t>(pattern.shape.size()) || values.numel() == 0) {
    return Refuse(
        program, id,
        absl::StrCat("the trace's root takes ", graph::ToString(spec_.sites()[site].pattern),
                     " of at least one row, and is given ", TypeOf(values)));
  }
  const int64_t leading = spec_.LeadingOf(spec_.sites()[site]);
  const auto outside = [](int64_t size, const plan::SizeRange& range) {
    return size < range.least || size > range.most;
  };
  const plan::RootInput& root = spec_.input();
  if (module == 0 && (outside(values.size(0), root.batches) ||
                      (leading > 1 && outside(values.size(1), root.lengths)))) {
    const bool batch = outside(values.size(0), root.batches);
    const plan::SizeRange& range = batch ? root.batches : root.lengths;
    return Refuse(
        program, id,
        absl::StrCat("the model was made for ", range.least,
                     range.least == range.most ? "" : absl::StrCat(" to ", range.most),
                     batch ? " rows" : " tokens", ", and is given ", values.size(batch ? 0 : 1)),
        range.least == range.most ? "export it with that dimension dynamic (torch.export.Dim)" : "",
        absl::StatusCode::kOutOfRange);
  }
  if (leading > 1 && values.size(1) > max_tokens_) {
    return Refuse(program, id,
                  absl::StrCat("the tensor has ", values.size(1),
                               " tokens; the model takes at most ", max_tokens_),
                  "shorten it");
  }
  if (pattern.range > 0 && values.scalar_type() == plan::ToScalarType(pattern.dtype)) {
    const at::Tensor outside = at::logical_or(values.lt(0), values.ge(pattern.range));
    if (outside.any().item<bool>()) {
      return Refuse(
          program, id,
          absl::StrCat("the tensor holds ", values.masked_select(outside)[0].item<int64_t>(),
                       ": the module has rows 0 to ", pattern.range - 1),
          "", absl::StatusCode::kOutOfRange);
    }
  }
  absl::StatusOr<std::vector<at::Tensor>> others = Others(program, id, nodes, values);
  if (!others.ok()) return others.status();
  if (others->size() + 1 < nodes.size()) return run::InvokeInput();
  // The planner looks at a lone tensor.
  bool fits = values.scalar_type() == plan::ToScalarType(pattern.dtype);
  for (int64_t d = 0; d < values.dim(); ++d) {
    fits &= values.size(d) == pattern.shape[d].At(values.size(0), leading > 1 ? values.size(1) : 1);
  }
  if (nodes.size() > 1 && !fits) {
    return Refuse(
        program, id,
        absl::StrCat("`", input_->name, "` is ", graph::ToString(spec_.sites()[site].pattern),
                     ", and is given ", TypeOf(values)));
  }
  run::InvokeInput input = run::InvokeInput::MakeValues(values, leading == 1);
  input.others = *std::move(others);
  return input;
}

}  // namespace weft
