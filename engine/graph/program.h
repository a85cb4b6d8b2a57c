#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "engine/graph/value.h"

namespace weft::graph {

/// A node's place in its program, counted from 1.
using NodeId = uint32_t;
inline constexpr NodeId kNoNode = 0;

/// Containers nest at most this deep.
inline constexpr int kMaxDepth = 16;
/// Lists inside arguments nest at most this deep.
inline constexpr int kMaxListDepth = 2;
/// Bytes of the SHA-256 that names a blob.
inline constexpr size_t kBlobHashSize = 32;

enum class Point : uint8_t {
  kOutput = 1,
  kInput = 2,
  kInputs = 3,  // `((input,), {})`: positional ones, then named ones
  kQ = 10,
  kK = 11,
  kV = 12,
  kScores = 13,
  kProbs = 14,
  kZ = 15,
  kResult = 20,
  kIds = 21,
  kMask = 22,
  kPositions = 23,
  kRows = 24,
  kLogits = 25,   // of each row's next token
  kSamples = 26,  // the token that was chosen
  kBeamScores = 27,
};

/// True for the points that belong to the invoke and not to a module.
inline bool OfInvoke(Point point) { return point >= Point::kResult; }

/// True for the points of the next token, which are visited after the model's last site.
inline bool OfNextToken(Point point) { return point == Point::kLogits || point == Point::kSamples; }

/// True for the points inside attention.
inline bool OfAttention(Point point) { return point >= Point::kQ && point <= Point::kZ; }

/// A use of a parameter of an enclosing sweep.
struct SweepUse {
  NodeId sweep = kNoNode;
  uint32_t parameter = 0;  // its place among that sweep's parameters
  friend bool operator==(const SweepUse&, const SweepUse&) = default;
};

/// A component of a module's path that a sweep fills in.
struct PathParameter {
  uint32_t component = 0;  // which dot-separated component, from 0; it holds `$` in Site::module
  SweepUse use;
  friend bool operator==(const PathParameter&, const PathParameter&) = default;
};

/// A place where a value can be read or replaced.
struct Site {
  std::string module;  // empty for the root
  Point point = Point::kOutput;
  uint32_t visit = 0;
  /// One operation inside the module's forward, `scaled_dot_product_attention_0`; empty: none.
  std::string op;
  std::vector<PathParameter> parameters;
  friend bool operator==(const Site&, const Site&) = default;
};
/// The text form: `transformer.h.0@1.output`, `.output`, `ids`, `h.0.attn.op(linear_0).output`.
/// Components that a sweep fills in are shown as `$`.
std::string ToString(const Site& site);

struct NodeRef {
  NodeId id = kNoNode;
  friend bool operator==(const NodeRef&, const NodeRef&) = default;
};

struct Argument {
  using List = std::vector<Argument>;
  std::string name;  // empty: positional
  /// monostate is `none`.
  std::variant<std::monostate, NodeRef, bool, int64_t, double, std::string, DType, List, SweepUse>
      value;
};

struct Slice {
  std::optional<int64_t> start, stop, step;
  /// Instead of `start` or `stop`: filled in by a sweep.
  std::optional<SweepUse> start_parameter, stop_parameter;
};
struct Ellipsis {};
struct NewAxis {};
using IndexTerm = std::variant<int64_t, Slice, Ellipsis, NewAxis, NodeRef, std::string, SweepUse>;

/// When a beam search ends for a prompt: transformers' False, True and "never".
enum class EarlyStopping : uint8_t { kNoneBetter = 0, kAtOnce = 1, kNever = 2 };

/// How a generation chooses and ends. What is 0 or empty is not given.
struct GenerateOptions {
  uint32_t max_new_tokens = 0;  // as the contract says: at least 1
  uint32_t min_new_tokens = 0;
  bool do_sample = false;
  double temperature = 0;
  double top_p = 0;
  uint32_t top_k = 0;
  double min_p = 0;
  double repetition_penalty = 0;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  uint32_t num_return_sequences = 0;
  std::vector<int64_t> eos_token_ids;  // empty: the model's own
  std::vector<std::string> stop_strings;
  uint32_t num_beams = 0;
  std::optional<double> length_penalty;  // none: 1
  EarlyStopping early_stopping = EarlyStopping::kNoneBetter;
  uint32_t no_repeat_ngram_size = 0;

  /// It draws its tokens; otherwise it takes the likeliest.
  bool Samples() const {
    return do_sample || temperature > 0 || top_k > 0 || top_p > 0 || min_p > 0;
  }
  /// It is a beam search.
  bool Searches() const { return num_beams > 1; }
  /// Rows that the result has for each prompt.
  uint32_t Returned() const { return num_return_sequences > 1 ? num_return_sequences : 1; }
  /// Rows that are computed for each prompt.
  uint32_t Sequences() const { return Searches() ? num_beams : Returned(); }
};

// The kinds of node, as proto/weft/v1/program.proto describes them.
struct Trace {
  std::string label;
  /// Present: a generation. Not inside: rare, large, and every node would have room for it.
  std::shared_ptr<const GenerateOptions> generate;
  std::string root;  // the module that is called; empty for the model itself
  bool tuple_outputs = false;
  std::string adapter;  // that its rows pass through; empty for none
};
/// Run the invokes inside once for each point.
struct SweepParameter {
  std::string name;
  /// One value a point. NodeRefs name values from before the sweep.
  std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string>,
               std::vector<NodeRef>, std::vector<std::vector<int64_t>>>
      values;
  size_t size() const;
};
struct Sweep {
  std::vector<SweepParameter> parameters;
};
// Outside of Invoke, and PatternTensor outside of Pattern: a nested class with default values
// cannot be made by a variant in the class around it.
struct PromptInput {
  std::vector<std::string> texts;
  bool no_special_tokens = false;
};
struct ChatMessage {
  std::string role, content;
};
struct ChatInput {
  std::vector<std::vector<ChatMessage>> chats;  // a row each
  bool add_generation_prompt = false;
  bool continue_final_message = false;
};
struct NamedInput {
  std::string name;  // empty for a positional one
  NodeId node = kNoNode;
};
struct SweptPrompt {
  SweepUse use;  // of texts, or of rows of token ids
  bool no_special_tokens = false;
};
struct Invoke {
  using Prompts = PromptInput;
  struct Tokens {
    std::vector<std::vector<int64_t>> rows;
  };
  struct AllRows {};
  /// What the root takes, where that is not a prompt.
  struct Tensors {
    std::vector<NamedInput> inputs;
  };
  using Chats = ChatInput;
  std::variant<Prompts, Tokens, AllRows, Tensors, Chats, SweptPrompt> input;
};
struct Constant {
  HostTensor tensor;
  /// The SHA-256 (kBlobHashSize bytes) of a blob whose bytes these are; empty where they are here.
  /// Until the blob is found, `tensor` has dtype and shape alone.
  std::string blob;
  /// A value that is no tensor; monostate where it is one.
  std::variant<std::monostate, bool, int64_t, double, std::string> plain;

  bool is_plain() const { return plain.index() != 0; }
};
struct Read {
  Site site;
};
struct Operator {
  std::string name;  // `aten::mul`
  std::vector<Argument> arguments;
};
struct Index {
  NodeId target = kNoNode;
  std::vector<IndexTerm> terms;
};
struct Structure {
  enum class Kind : uint8_t { kList = 1, kTuple = 2, kDict = 3 };
  Kind kind = Kind::kList;
  std::vector<Argument> items;
};
struct Call {
  std::string module;
  std::vector<Argument> arguments;
  bool watched = false;  // its sites are visited
};
struct Parameter {
  std::string path;
};
struct Write {
  Site site;
  std::vector<IndexTerm> index;
  NodeId value = kNoNode;
};
struct Assign {
  NodeId target = kNoNode;
  std::vector<IndexTerm> index;
  NodeId value = kNoNode;
};
struct Skip {
  std::string module;
  uint32_t visit = 0;
  NodeId value = kNoNode;
};
struct Save {
  std::string name;
  NodeId value = kNoNode;
  /// Convert floating-point tensors to it before they are sent.
  std::optional<DType> dtype;
  bool keep = false;  // on the server, as a blob
};
struct Log {
  NodeId value = kNoNode;
  std::string label;
};
struct Stop {};
/// What modules return, after all writes.
struct Cache {
  std::string name;
  std::vector<std::string> modules;  // empty for all
  std::optional<DType> dtype;
  bool include_inputs = false;
};
/// A region in which gradients of `loss` are read and written.
struct Backward {
  NodeId loss = kNoNode;
  NodeId gradient = kNoNode;  // of the loss; kNoNode: the loss is a scalar, and this is 1
};
/// The gradient of a value, in a backward region.
struct GradRead {
  NodeId value = kNoNode;
};
/// What goes on from `value` backwards is `gradient`.
struct GradWrite {
  NodeId value = kNoNode;
  NodeId gradient = kNoNode;
};

/// A region that runs in each selected step: those of `range`, or of `list` where that is not
/// empty.
struct Steps {
  Slice range;
  std::vector<int64_t> list;
  std::vector<NodeId> initial;  // of the carries, in order
};
/// Two regions, `Branch`es, of which one runs. Both yield the same number of values.
struct If {
  NodeId condition = kNoNode;
};
struct Branch {
  bool otherwise = false;  // the else branch
};
/// The value that a carry of the steps around it has.
struct Carry {
  uint32_t index = 0;
};
/// Ends a region: the next values of its carries, or the values of a branch.
struct Yield {
  std::vector<NodeId> values;
};
/// A value that a region yielded.
struct RegionResult {
  NodeId region = kNoNode;
  uint32_t index = 0;
};

struct SourceLocation {
  std::string file;
  uint32_t line = 0;
};

struct Node {
  NodeId parent = kNoNode;
  std::string name;  // of the value, without '%'; may be empty
  SourceLocation source;
  std::variant<Trace, Sweep, Invoke, Constant, Read, Operator, Index, Structure, Call, Parameter,
               Write, Assign, Skip, Save, Log, Stop, Cache, Backward, GradRead, GradWrite, Steps,
               If, Branch, Carry, Yield, RegionResult>
      kind;
};

/// A program in memory. Checked by Lint for what concerns the program alone: parents, ids, names,
/// nesting; whether it fits a model is the planner's to say. Const once made.
struct Program {
  std::vector<Node> nodes;

  const Node& at(NodeId id) const { return nodes[id - 1]; }
  /// The id of the invoke around node `id` (or of itself); kNoNode if there is none.
  NodeId InvokeOf(NodeId id) const;
  /// The id of the backward region around node `id`; kNoNode if there is none.
  NodeId BackwardOf(NodeId id) const;
  /// The id of the trace around node `id` (or of itself).
  NodeId TraceOf(NodeId id) const;
  /// The id of the steps region around node `id` (or of itself); kNoNode if there is none.
  NodeId StepsOf(NodeId id) const;
  /// The id of the sweep around node `id` (or of itself); kNoNode if there is none.
  NodeId SweepOf(NodeId id) const;
  /// How many inputs an invoke has: one for each point of its sweep where those are its prompts.
  size_t InputsOf(NodeId invoke) const;
};

/// True if a node of this kind yields a value.
bool YieldsValue(const Node& node);
/// True if other nodes may stand inside a node of this kind.
bool IsContainer(const Node& node);

}  // namespace weft::graph
