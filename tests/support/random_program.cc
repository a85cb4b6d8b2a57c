#include "tests/support/random_program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace weft::graph {
namespace {

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Program Make() {
    const int traces = 1 + Below(3);
    for (int i = 0; i < traces; ++i) AddTrace();
    if (Chance(3)) Add(Stop(), invoke_);
    return std::move(program_);
  }

 private:
  uint64_t Bits() { return random_(); }
  int Below(int limit) { return static_cast<int>(Bits() % static_cast<uint64_t>(limit)); }
  /// True once in `n`.
  bool Chance(int n) { return Below(n) == 0; }
  template <typename T>
  T Pick(std::initializer_list<T> choices) {
    return std::data(choices)[Below(static_cast<int>(choices.size()))];
  }

  std::string Text() {
    static const std::vector<std::string> kParts = {
        "a",    "The Eiffel Tower", "\"", "\\",   "\n", "\t",  "\r", std::string(1, '\0'),
        "\x7f", "\x1b[0m",          "é",  "日本", "😀",  "...", "#",  "%x",
        "{ }",  "\\u{41}",          ""};
    std::string text;
    for (int i = Below(4); i >= 0; --i) text += kParts[Below(static_cast<int>(kParts.size()))];
    return text;
  }
  std::string Name() {
    static const std::vector<std::string> kWords = {"h",    "_",    "none", "true",    "inf",
                                                    "read", "save", "nan",  "float32", "tensor"};
    return absl::StrCat(kWords[Below(static_cast<int>(kWords.size()))], "_", ++names_);
  }
  std::string Path() {
    return Pick<std::string>({"transformer.h.0", "lm_head", "0", "a-b.c_d.-1", "output", "mask",
                              "read.input.output", "inf.nan"});
  }
  int64_t Integer() {
    return Pick<int64_t>({0, -1, 1, 7, INT64_MAX, INT64_MIN, static_cast<int64_t>(Bits())});
  }
  double Double() {
    return Pick<double>({0.0, -0.0, 1.0, 3.0, -2.5, 0.1, 1e22, 1e-7, 5e-324, 1.7976931348623157e308,
                         INFINITY, -INFINITY, NAN, std::bit_cast<double>(Bits())});
  }
  NodeId Value() { return values_[Below(static_cast<int>(values_.size()))]; }

  HostTensor Tensor() {
    const auto dtype = static_cast<DType>(1 + Below(12));
    std::vector<int64_t> shape;
    for (int i = Below(4); i > 0; --i) shape.push_back(Below(4));
    HostTensor sizes;
    sizes.shape = shape;
    std::string bytes(sizes.numel() * SizeOf(dtype), '\0');
    for (char& byte : bytes) byte = static_cast<char>(dtype == DType::kBool ? Below(2) : Bits());
    return HostTensor::Make(dtype, shape, std::move(bytes)).value();
  }

  /// A parameter of the sweep around this whose values are integers: the first.
  bool InSweep(int n) { return sweep_ != kNoNode && Chance(n); }

  Site RandomSite() {
    if (Chance(4)) {
      return {.point = Pick({Point::kResult, Point::kIds, Point::kMask, Point::kPositions,
                             Point::kRows, Point::kLogits, Point::kSamples})};
    }
    Site site{.module = Chance(5) ? "" : Path(),
              .point = Pick({Point::kOutput, Point::kInput, Point::kInputs, Point::kQ, Point::kK,
                             Point::kV, Point::kScores, Point::kProbs, Point::kZ}),
              .visit = Chance(4) ? static_cast<uint32_t>(Bits()) : 0};
    if (site.point < Point::kQ && Chance(4)) site.op = Name();
    if (InSweep(2)) {
      site.module = Pick<std::string>({"$", "h.$", "h.$.mlp.$", "$.$"});
      uint32_t component = 0;
      for (absl::string_view part : absl::StrSplit(site.module, '.')) {
        if (part == "$") {
          site.parameters.push_back({component, {sweep_, Chance(2) ? 0u : 1u}});
        }
        ++component;
      }
    }
    return site;
  }
  Slice RandomSlice() {
    Slice slice;
    if (InSweep(2)) {
      slice.start_parameter = SweepUse{sweep_, 0};
    } else if (Chance(2)) {
      slice.start = Integer();
    }
    if (InSweep(2)) {
      slice.stop_parameter = SweepUse{sweep_, 0};
    } else if (Chance(2)) {
      slice.stop = Integer();
    }
    if (Chance(2)) slice.step = Integer();
    return slice;
  }
  std::vector<IndexTerm> Terms(int at_least) {
    std::vector<IndexTerm> terms;
    bool ellipsis = false;
    for (int i = at_least + Below(4); i > 0; --i) {
      const int kind = Below(7);
      if (kind == 0) {
        terms.emplace_back(RandomSlice());
      } else if (InSweep(4)) {
        terms.emplace_back(SweepUse{sweep_, 0});
      } else if (kind == 1 && !ellipsis) {
        ellipsis = true;
        terms.emplace_back(Ellipsis());
      } else if (kind == 2) {
        terms.emplace_back(NewAxis());
      } else if (kind == 3) {
        terms.emplace_back(NodeRef{Value()});
      } else if (kind == 4) {
        terms.emplace_back(Text());
      } else {
        terms.emplace_back(Integer());
      }
    }
    return terms;
  }

  Argument RandomArgument(int list_depth) {
    Argument argument;
    if (InSweep(4)) {
      argument.value = SweepUse{sweep_, static_cast<uint32_t>(Below(sweep_parameters_))};
      return argument;
    }
    switch (Below(list_depth < 2 ? 8 : 7)) {
      case 0:
        break;
      case 1:
        argument.value = NodeRef{Value()};
        break;
      case 2:
        argument.value = Chance(2);
        break;
      case 3:
        argument.value = Integer();
        break;
      case 4:
        argument.value = Double();
        break;
      case 5:
        argument.value = Text();
        break;
      case 6:
        argument.value = static_cast<DType>(1 + Below(12));
        break;
      default: {
        auto& list = argument.value.emplace<Argument::List>();
        for (int i = Below(4); i > 0; --i) list.push_back(RandomArgument(list_depth + 1));
      }
    }
    return argument;
  }
  std::vector<Argument> Arguments() {
    std::vector<Argument> arguments;
    for (int i = Below(4); i > 0; --i) arguments.push_back(RandomArgument(0));
    for (int i = Below(3); i > 0; --i) {
      arguments.push_back(RandomArgument(0));
      arguments.back().name = Chance(4) ? absl::StrCat("float", i) : Name();
    }
    return arguments;
  }
  Structure RandomStructure() {
    Structure structure;
    structure.kind =
        Pick({Structure::Kind::kList, Structure::Kind::kTuple, Structure::Kind::kDict});
    for (int i = Below(4); i > 0; --i) {
      structure.items.push_back(RandomArgument(0));
      if (structure.kind == Structure::Kind::kDict) {
        structure.items.back().name = absl::StrCat(Text(), i);
      }
    }
    return structure;
  }

  Invoke RowsInput() {
    if (Chance(5)) {
      Invoke::Chats chats;
      for (int i = Below(3); i >= 0; --i) {
        std::vector<ChatMessage>& messages = chats.chats.emplace_back();
        for (int j = Below(3); j >= 0; --j) messages.push_back({Text() + "r", Text()});
      }
      chats.add_generation_prompt = Chance(2);
      chats.continue_final_message = !chats.add_generation_prompt && Chance(2);
      return {chats};
    }
    if (!values_.empty() && Chance(5)) {
      Invoke::Tensors tensors;
      for (int i = Below(3); i >= 0; --i) tensors.inputs.push_back({"", Value()});
      for (int i = Below(3); i > 0; --i) tensors.inputs.push_back({Name(), Value()});
      return {tensors};
    }
    if (Chance(2)) {
      Invoke::Prompts prompts;
      for (int i = Below(3); i >= 0; --i) prompts.texts.push_back(Text());
      prompts.no_special_tokens = Chance(3);
      return {prompts};
    }
    Invoke::Tokens tokens;
    for (int i = Below(3); i >= 0; --i) {
      std::vector<int64_t>& row = tokens.rows.emplace_back();
      for (int j = Below(5); j >= 0; --j) row.push_back(Integer());
    }
    return {tokens};
  }

  GenerateOptions RandomOptions() {
    GenerateOptions options;
    options.max_new_tokens = static_cast<uint32_t>(1 + Below(1 << 20));
    if (Chance(3)) options.min_new_tokens = options.max_new_tokens;
    options.do_sample = Chance(2);
    if (Chance(2)) options.temperature = Pick({0.7, -0.0, 1e22, 5e-324});
    if (Chance(2)) options.presence_penalty = Pick({-2.0, 0.5});
    if (Chance(2)) options.frequency_penalty = Pick({-0.0, 2.0});
    if (Chance(2)) options.top_p = Pick({0.9, 1.0});
    if (Chance(2)) options.top_k = static_cast<uint32_t>(Bits());
    if (Chance(2)) options.min_p = 0.05;
    if (Chance(2)) options.repetition_penalty = 1.1;
    if (options.do_sample && Chance(2)) options.num_return_sequences = 1 + Below(1024);
    for (int i = Below(3); i > 0; --i) options.eos_token_ids.push_back(Below(1000));
    for (int i = Below(3); i > 0; --i) options.stop_strings.push_back(Text() + "s");
    return options;
  }

  NodeId Add(decltype(Node::kind) kind, NodeId parent) {
    Node& node = program_.nodes.emplace_back();
    node.parent = parent;
    node.source = {"random", static_cast<uint32_t>(program_.nodes.size())};
    node.kind = std::move(kind);
    return static_cast<NodeId>(program_.nodes.size());
  }
  void AddValue(decltype(Node::kind) kind, NodeId parent) {
    values_.push_back(Add(std::move(kind), parent));
    if (!Chance(3)) program_.nodes.back().name = Name();
  }

  void AddTrace() {
    Trace trace;
    if (Chance(3)) trace.label = Text();
    if (Chance(4)) trace.root = Path();
    trace.tuple_outputs = Chance(4);
    generates_ = Chance(2);
    if (generates_) trace.generate = std::make_shared<const GenerateOptions>(RandomOptions());
    trace_ = Add(std::move(trace), kNoNode);
    const int invokes = 1 + Below(3);
    bool rows = false;
    for (int i = 0; i < invokes; ++i) {
      while (Chance(3)) AddValue(Constant{Tensor()}, trace_);
      if (Chance(5)) AddValue(RandomBlob(), trace_);
      if (Chance(4)) {
        AddSweep();
      } else {
        AddInvoke(RowsInput(), trace_);
        rows = true;
      }
    }
    if (rows && Chance(3)) AddInvoke({Invoke::AllRows()}, trace_);
  }
  Constant RandomBlob() {
    Constant constant;
    constant.tensor.dtype = static_cast<DType>(1 + Below(12));
    for (int i = Below(4); i > 0; --i) constant.tensor.shape.push_back(Below(1 << 16));
    for (size_t i = 0; i < kBlobHashSize; ++i) constant.blob += static_cast<char>(Bits());
    return constant;
  }
  /// Parameters: integers from 0, names, and others.
  void AddSweep() {
    Sweep sweep;
    const int points = 1 + Below(4);
    std::vector<int64_t> ints;
    std::vector<std::string> components;
    std::vector<double> floats;
    std::vector<NodeRef> nodes;
    const int64_t first = Pick<int64_t>({0, 5, INT64_MAX - 5});
    for (int i = 0; i < points; ++i) {
      ints.push_back(Chance(3) ? Below(9) : first + i);
      components.push_back(Pick<std::string>({"a-b", "0", "mlp"}));
      floats.push_back(Double());
      if (!values_.empty()) nodes.push_back({Value()});
    }
    sweep.parameters.push_back({Name(), ints});
    sweep.parameters.push_back({Name(), components});
    if (Chance(2)) sweep.parameters.push_back({Name(), floats});
    if (Chance(2) && !values_.empty()) sweep.parameters.push_back({Name(), nodes});
    sweep_parameters_ = static_cast<int>(sweep.parameters.size());
    sweep_ = Add(std::move(sweep), trace_);
    const size_t visible = values_.size();
    for (int i = 1 + Below(2); i > 0; --i) AddInvoke(RowsInput(), sweep_);
    sweep_ = kNoNode;
    values_.resize(visible);
    own_ = values_.size();
  }
  void AddInvoke(Invoke invoke, NodeId parent) {
    invoke_ = Add(std::move(invoke), parent);
    parent_ = invoke_;
    // What is seen from before a sweep is not assigned to in it.
    own_ = sweep_ == kNoNode ? 0 : values_.size();
    for (int i = Below(12); i > 0; --i) AddStatement();
    if (!values_.empty() && Chance(2)) AddBackward();
  }
  void AddBackward() {
    parent_ = Add(Backward{Value(), Chance(2) ? Value() : kNoNode}, invoke_);
    for (int i = Below(5); i > 0; --i) {
      switch (Below(5)) {
        case 0:
          AddValue(GradRead{Value()}, parent_);
          break;
        case 1:
          Add(GradWrite{Value(), Value()}, parent_);
          break;
        case 2:
          AddValue(Index{Value(), Terms(1)}, parent_);
          break;
        case 3:
          AddAssign();
          break;
        default:
          Add(Save{Name(), Value()}, parent_);
      }
    }
    parent_ = invoke_;
    if (Chance(2)) AddStatement();
  }

  /// The statements of a region, without its end. `depth` is that of regions.
  void AddRegionBody(NodeId region, int depth) {
    parent_ = region;
    own_ = values_.size();
    for (int i = Below(5); i > 0; --i) AddStatement(depth);
    parent_ = region;
    if (values_.empty()) AddValue(Constant{Tensor()}, parent_);
  }
  Yield RandomYield(int values) {
    Yield yield;
    for (int i = 0; i < values; ++i) yield.values.push_back(Value());
    return yield;
  }
  void AddResults(NodeId region, int values) {
    for (int i = 0, named = Below(values + 1); i < named; ++i) {
      AddValue(RegionResult{region, static_cast<uint32_t>(i)}, parent_);
    }
  }
  void AddSteps() {
    const NodeId outside = parent_;
    const size_t visible = values_.size();
    const size_t own = own_;
    Steps steps;
    if (Chance(2)) {
      for (int i = 0; i < 5; ++i) {
        if (Chance(2)) steps.list.push_back(2 * i);
      }
    } else if (Chance(2)) {
      steps.range.start = Below(5);
      if (Chance(2)) steps.range.stop = 5 + Below(5);
      if (Chance(2)) steps.range.step = 1 + Below(3);
    } else if (sweep_ != kNoNode) {
      steps.range = {.start_parameter = SweepUse{sweep_, 0}, .stop_parameter = SweepUse{sweep_, 0}};
    }
    const int carries = values_.empty() ? 0 : Below(4);
    for (int i = 0; i < carries; ++i) steps.initial.push_back(Value());
    const NodeId region = Add(std::move(steps), parent_);
    for (int i = 0; i < carries; ++i) AddValue(Carry{static_cast<uint32_t>(i)}, region);
    AddRegionBody(region, 1);
    if (carries > 0) Add(RandomYield(carries), region);
    values_.resize(visible);
    own_ = own;
    parent_ = outside;
    AddResults(region, carries);
  }
  void AddIf(int depth) {
    const NodeId outside = parent_;
    const size_t visible = values_.size();
    const size_t own = own_;
    const int yielded = Below(3);
    const bool has_else = yielded > 0 || Chance(2);
    const std::string both = Chance(3) ? Name() : "";
    const NodeId choice = Add(If{Value()}, parent_);
    for (bool otherwise : {false, true}) {
      if (otherwise && !has_else) break;
      const NodeId branch = Add(Branch{otherwise}, choice);
      AddRegionBody(branch, depth + 1);
      if (!both.empty()) Add(Save{both, Value()}, branch);
      if (yielded > 0) {
        Add(RandomYield(yielded), branch);
      } else if (Chance(4)) {
        Add(Stop(), branch);
      }
      values_.resize(visible);
    }
    own_ = own;
    parent_ = outside;
    AddResults(choice, yielded);
  }
  /// To a value of the innermost region.
  void AddAssign() {
    if (own_ >= values_.size()) return;
    const NodeId target = values_[own_ + Below(static_cast<int>(values_.size() - own_))];
    Add(Assign{target, Terms(1), Value()}, parent_);
  }
  std::optional<DType> FloatDType() {
    if (Chance(2)) return std::nullopt;
    return Pick({DType::kF16, DType::kBF16, DType::kF32, DType::kF64});
  }

  void AddStatement(int depth = 0) {
    // What uses values needs one.
    switch (values_.empty() ? Below(3) : Below(16)) {
      case 0:
        return AddValue(Read{RandomSite()}, parent_);
      case 1:
        return AddValue(Constant{Tensor()}, parent_);
      case 2:
        return AddValue(Parameter{Path()}, parent_);
      case 3:
      case 4:
        return AddValue(
            Operator{Pick<std::string>({"aten::mul", "aten::add_", "aten::sum.dim", "prims::_x9",
                                        "call::inf", "float32::none", "write::stop", "as::keep",
                                        "steps::if", "else::yield", "inputs::dtype"}),
                     Arguments()},
            parent_);
      case 5:
        return AddValue(Index{Value(), Terms(1)}, parent_);
      case 6:
        return AddValue(RandomStructure(), parent_);
      case 7:
        return AddValue(Call{Chance(4) ? "watched" : Path(), Arguments(), Chance(3)}, parent_);
      case 8:
        Add(Write{RandomSite(), Terms(0), Value()}, parent_);
        return;
      case 9:
        return AddAssign();
      case 10:
        Add(weft::graph::Skip{Path(), static_cast<uint32_t>(Below(3)), Value()}, parent_);
        return;
      case 11:
        Add(Save{Name(), Value(), FloatDType(), Chance(3)}, parent_);
        return;
      case 12:
        if (depth > 1 || !std::holds_alternative<Invoke>(program_.at(parent_).kind)) return;
        Add(Cache{Name(),
                  Chance(2) ? std::vector<std::string>() : std::vector<std::string>{"a", "b.0"},
                  FloatDType(), Chance(2)},
            parent_);
        return;
      case 13:
        if (generates_ && depth == 0) AddSteps();
        return;
      case 14:
        if (depth < 5) AddIf(depth);
        return;
      default:
        Add(Log{Value(), Chance(2) ? Text() : ""}, parent_);
    }
  }

  std::mt19937_64 random_;
  Program program_;
  std::vector<NodeId> values_;
  size_t own_ = 0;  // the first of `values_` that the innermost region may assign to
  NodeId trace_ = kNoNode;
  bool generates_ = false;
  NodeId sweep_ = kNoNode;
  int sweep_parameters_ = 0;
  NodeId invoke_ = kNoNode;
  NodeId parent_ = kNoNode;
  int names_ = 0;
};

}  // namespace

Program RandomProgram(uint64_t seed) { return Generator(seed).Make(); }

}  // namespace weft::graph
