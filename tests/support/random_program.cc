#include "tests/support/random_program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft::graph {
namespace {

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Program Make() {
    Add(Trace{Chance(3) ? Text() : ""}, kNoNode);
    const int invokes = 1 + Below(3);
    const bool all_rows = Chance(3);
    for (int i = 0; i < invokes; ++i) {
      while (Chance(3)) AddValue(Constant{Tensor()}, 1);
      AddInvoke(RowsInput());
    }
    if (all_rows) AddInvoke({Invoke::AllRows()});
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

  Site RandomSite() {
    if (Chance(4)) {
      return {.point = Pick(
                  {Point::kResult, Point::kIds, Point::kMask, Point::kPositions, Point::kRows})};
    }
    return {.module = Chance(5) ? "" : Path(),
            .point = Pick({Point::kOutput, Point::kInput}),
            .visit = Chance(4) ? static_cast<uint32_t>(Bits()) : 0};
  }
  std::vector<IndexTerm> Terms(int at_least) {
    std::vector<IndexTerm> terms;
    bool ellipsis = false;
    for (int i = at_least + Below(4); i > 0; --i) {
      const int kind = Below(7);
      if (kind == 0) {
        Slice slice;
        if (Chance(2)) slice.start = Integer();
        if (Chance(2)) slice.stop = Integer();
        if (Chance(2)) slice.step = Integer();
        terms.emplace_back(slice);
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
  void AddInvoke(Invoke invoke) {
    invoke_ = Add(std::move(invoke), 1);
    parent_ = invoke_;
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
          Add(Assign{Value(), Terms(1), Value()}, parent_);
          break;
        default:
          Add(Save{Name(), Value()}, parent_);
      }
    }
    parent_ = invoke_;
    if (Chance(2)) AddStatement();
  }
  void AddStatement() {
    // What uses values needs one.
    switch (values_.empty() ? Below(3) : Below(13)) {
      case 0:
        return AddValue(Read{RandomSite()}, invoke_);
      case 1:
        return AddValue(Constant{Tensor()}, invoke_);
      case 2:
        return AddValue(Parameter{Path()}, invoke_);
      case 3:
      case 4:
        return AddValue(
            Operator{Pick<std::string>({"aten::mul", "aten::add_", "aten::sum.dim", "prims::_x9",
                                        "call::inf", "float32::none", "write::stop"}),
                     Arguments()},
            invoke_);
      case 5:
        return AddValue(Index{Value(), Terms(1)}, invoke_);
      case 6:
        return AddValue(RandomStructure(), invoke_);
      case 7:
        return AddValue(Call{Path(), Arguments()}, invoke_);
      case 8:
        Add(Write{RandomSite(), Terms(0), Value()}, invoke_);
        return;
      case 9:
        Add(Assign{Value(), Terms(1), Value()}, invoke_);
        return;
      case 10:
        Add(weft::graph::Skip{Path(), static_cast<uint32_t>(Below(3)), Value()}, invoke_);
        return;
      case 11:
        Add(Save{Name(), Value()}, invoke_);
        return;
      default:
        Add(Log{Value(), Chance(2) ? Text() : ""}, invoke_);
    }
  }

  std::mt19937_64 random_;
  Program program_;
  std::vector<NodeId> values_;
  NodeId invoke_ = kNoNode;
  NodeId parent_ = kNoNode;
  int names_ = 0;
};

}  // namespace

Program RandomProgram(uint64_t seed) { return Generator(seed).Make(); }

}  // namespace weft::graph
