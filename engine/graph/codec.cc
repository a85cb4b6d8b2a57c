#include "engine/graph/codec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/syntax.h"
#include "weft/v1/program.pb.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {
namespace {

/// Text of ours that may hold a stranger's bytes, as a proto3 string must be.
std::string ToUtf8(const std::string& text) {
  if (IsUtf8(text)) return text;
  std::string quoted;
  AppendQuoted(text, text.size(), &quoted);
  return quoted.substr(1, quoted.size() - 2);
}

/// Fills one Program from one message. Every function returns false once `status_` is set.
class Decoder {
 public:
  absl::StatusOr<Program> Decode(const v1::Program& message) {
    Program program;
    program.nodes.resize(message.nodes_size());
    for (int i = 0; i < message.nodes_size(); ++i) {
      id_ = static_cast<NodeId>(i) + 1;
      node_ = &message.nodes(i);
      Node& node = program.nodes[i];
      node.parent = node_->parent();
      node.name = node_->name();
      if (node_->has_source()) {
        node.source.file = node_->source().file();
        node.source.line = node_->source().line();
      }
      if (!DecodeKind(&node)) return status_;
    }
    return program;
  }

 private:
  bool Fail(absl::StatusCode code, const std::string& what) {
    Error error;
    error.code = code;
    error.node = id_;
    error.source = {node_->source().file(), node_->source().line()};
    error.message = absl::StrCat("node ", id_);
    if (error.source.line != 0) {
      absl::StrAppend(&error.message, " (", error.source.file, ":", error.source.line, ")");
    }
    absl::StrAppend(&error.message, ": ", what);
    status_ = ToStatus(error);
    return false;
  }
  bool Invalid(const std::string& what) { return Fail(absl::StatusCode::kInvalidArgument, what); }
  bool NotExecuted(const std::string& name) {
    return Fail(absl::StatusCode::kUnimplemented,
                absl::StrCat("`", name, "` is in the contract but not executed by this version"));
  }

  bool DecodeKind(Node* node);
  bool DecodeTrace(const v1::Trace& message, Trace* trace);
  bool DecodeInvoke(const v1::Invoke& message, Invoke* invoke);
  bool DecodeConstant(const v1::Constant& message, Constant* constant);
  bool DecodeStructure(const v1::Structure& message, Structure* structure);
  bool DecodeSave(const v1::Save& message, Save* save);
  bool DecodeSite(const v1::Site& message, Site* site);
  bool DecodeTerms(const google::protobuf::RepeatedPtrField<v1::IndexTerm>& messages,
                   std::vector<IndexTerm>* terms);
  bool DecodeSlice(const v1::Slice& message, Slice* slice);
  bool DecodeArguments(const google::protobuf::RepeatedPtrField<v1::Argument>& messages,
                       int list_depth, std::vector<Argument>* arguments);

  absl::Status status_;
  NodeId id_ = kNoNode;
  const v1::Node* node_ = nullptr;
};

bool Decoder::DecodeKind(Node* node) {
  const v1::Node& message = *node_;
  switch (message.kind_case()) {
    case v1::Node::kTrace:
      return DecodeTrace(message.trace(), &node->kind.emplace<Trace>());
    case v1::Node::kInvoke:
      return DecodeInvoke(message.invoke(), &node->kind.emplace<Invoke>());
    case v1::Node::kConstant:
      return DecodeConstant(message.constant(), &node->kind.emplace<Constant>());
    case v1::Node::kRead:
      return DecodeSite(message.read().site(), &node->kind.emplace<Read>().site);
    case v1::Node::kOp: {
      auto& op = node->kind.emplace<Operator>();
      op.name = message.op().name();
      return DecodeArguments(message.op().arguments(), 0, &op.arguments);
    }
    case v1::Node::kIndex: {
      auto& index = node->kind.emplace<Index>();
      index.target = message.index().target();
      return DecodeTerms(message.index().terms(), &index.terms);
    }
    case v1::Node::kStructure:
      return DecodeStructure(message.structure(), &node->kind.emplace<Structure>());
    case v1::Node::kCall: {
      if (message.call().watched()) return NotExecuted("call.watched");
      auto& call = node->kind.emplace<Call>();
      call.module = message.call().module();
      return DecodeArguments(message.call().arguments(), 0, &call.arguments);
    }
    case v1::Node::kParameter:
      node->kind.emplace<Parameter>().path = message.parameter().path();
      return true;
    case v1::Node::kWrite: {
      auto& write = node->kind.emplace<Write>();
      write.value = message.write().value();
      return DecodeSite(message.write().site(), &write.site) &&
             DecodeTerms(message.write().index(), &write.index);
    }
    case v1::Node::kAssign: {
      auto& assign = node->kind.emplace<Assign>();
      assign.target = message.assign().target();
      assign.value = message.assign().value();
      return DecodeTerms(message.assign().index(), &assign.index);
    }
    case v1::Node::kSkip: {
      auto& skip = node->kind.emplace<Skip>();
      skip.module = message.skip().module();
      skip.visit = message.skip().visit();
      skip.value = message.skip().value();
      return true;
    }
    case v1::Node::kSave:
      return DecodeSave(message.save(), &node->kind.emplace<Save>());
    case v1::Node::kLog: {
      auto& log = node->kind.emplace<Log>();
      log.value = message.log().value();
      log.label = message.log().label();
      return true;
    }
    case v1::Node::kStop:
      node->kind.emplace<Stop>();
      return true;
    case v1::Node::kBackward:
      node->kind = Backward{message.backward().loss(), message.backward().gradient()};
      return true;
    case v1::Node::kGradRead:
      node->kind = GradRead{message.grad_read().value()};
      return true;
    case v1::Node::kGradWrite:
      node->kind = GradWrite{message.grad_write().value(), message.grad_write().gradient()};
      return true;
    case v1::Node::kSweep:
      return NotExecuted("sweep");
    case v1::Node::kCache:
      return NotExecuted("cache");
    case v1::Node::kSteps:
      return NotExecuted("steps");
    case v1::Node::kIf:
      return NotExecuted("if");
    case v1::Node::kBranch:
      return NotExecuted("branch");
    case v1::Node::kCarry:
      return NotExecuted("carry");
    case v1::Node::kYield:
      return NotExecuted("yield");
    case v1::Node::kRegionResult:
      return NotExecuted("region_result");
    case v1::Node::KIND_NOT_SET:
      break;
  }
  return Invalid("a node needs a kind");
}

bool Decoder::DecodeTrace(const v1::Trace& message, Trace* trace) {
  switch (message.mode()) {
    case v1::Trace::MODE_FORWARD:
      break;
    case v1::Trace::MODE_GENERATE:
      return NotExecuted("trace.mode MODE_GENERATE");
    default:
      return Invalid("a trace needs a mode");
  }
  if (!message.root().empty()) return NotExecuted("trace.root");
  if (message.has_generate()) return NotExecuted("trace.generate");
  if (message.tuple_outputs()) return NotExecuted("trace.tuple_outputs");
  trace->label = message.label();
  return true;
}

bool Decoder::DecodeInvoke(const v1::Invoke& message, Invoke* invoke) {
  switch (message.input_case()) {
    case v1::Invoke::kPrompts: {
      auto& prompts = invoke->input.emplace<Invoke::Prompts>();
      prompts.texts.assign(message.prompts().texts().begin(), message.prompts().texts().end());
      prompts.no_special_tokens = message.prompts().no_special_tokens();
      return true;
    }
    case v1::Invoke::kTokens: {
      auto& tokens = invoke->input.emplace<Invoke::Tokens>();
      tokens.rows.reserve(message.tokens().rows_size());
      for (const v1::TokenRow& row : message.tokens().rows()) {
        tokens.rows.emplace_back(row.ids().begin(), row.ids().end());
      }
      return true;
    }
    case v1::Invoke::kAll:
      invoke->input.emplace<Invoke::AllRows>();
      return true;
    case v1::Invoke::kTensors:
      return NotExecuted("invoke.tensors");
    case v1::Invoke::kChat:
      return NotExecuted("invoke.chat");
    case v1::Invoke::INPUT_NOT_SET:
      break;
  }
  return Invalid("an invoke needs an input: prompts, tokens or all");
}

bool Decoder::DecodeConstant(const v1::Constant& message, Constant* constant) {
  if (message.has_blob()) return NotExecuted("constant.blob");
  if (!message.has_tensor()) return Invalid("a constant needs a tensor");
  absl::StatusOr<HostTensor> tensor = DecodeTensor(message.tensor());
  if (!tensor.ok()) return Invalid(std::string(tensor.status().message()));
  constant->tensor = *std::move(tensor);
  return true;
}

bool Decoder::DecodeStructure(const v1::Structure& message, Structure* structure) {
  switch (message.kind()) {
    case v1::Structure::KIND_LIST:
      structure->kind = Structure::Kind::kList;
      break;
    case v1::Structure::KIND_TUPLE:
      structure->kind = Structure::Kind::kTuple;
      break;
    case v1::Structure::KIND_DICT:
      structure->kind = Structure::Kind::kDict;
      break;
    default:
      return Invalid("a structure needs a kind");
  }
  return DecodeArguments(message.items(), 0, &structure->items);
}

bool Decoder::DecodeSave(const v1::Save& message, Save* save) {
  if (message.dtype() != v1::DTYPE_UNSPECIFIED) return NotExecuted("save.dtype");
  if (message.placement() == v1::PLACEMENT_KEEP) {
    return NotExecuted("save.placement PLACEMENT_KEEP");
  }
  save->name = message.name();
  save->value = message.value();
  return true;
}

bool Decoder::DecodeSite(const v1::Site& message, Site* site) {
  if (!message.op().empty()) return NotExecuted("site.op");
  if (message.parameters_size() > 0) return NotExecuted("site.parameters");
  switch (message.point()) {
    case v1::Site::POINT_OUTPUT:
    case v1::Site::POINT_INPUT:
    case v1::Site::POINT_RESULT:
    case v1::Site::POINT_IDS:
    case v1::Site::POINT_MASK:
    case v1::Site::POINT_POSITIONS:
    case v1::Site::POINT_ROWS:
      break;
    case v1::Site::POINT_INPUTS:
    case v1::Site::POINT_Q:
    case v1::Site::POINT_K:
    case v1::Site::POINT_V:
    case v1::Site::POINT_SCORES:
    case v1::Site::POINT_PROBS:
    case v1::Site::POINT_Z:
      return NotExecuted(absl::StrCat("site.point ", v1::Site::Point_Name(message.point())));
    default:
      return Invalid("a site needs a point");
  }
  site->module = message.module();
  site->point = static_cast<Point>(message.point());
  site->visit = message.visit();
  return true;
}

bool Decoder::DecodeTerms(const google::protobuf::RepeatedPtrField<v1::IndexTerm>& messages,
                          std::vector<IndexTerm>* terms) {
  terms->reserve(messages.size());
  for (const v1::IndexTerm& message : messages) {
    switch (message.term_case()) {
      case v1::IndexTerm::kInteger:
        terms->emplace_back(std::in_place_type<int64_t>, message.integer());
        break;
      case v1::IndexTerm::kSlice:
        if (!DecodeSlice(message.slice(), &std::get<Slice>(terms->emplace_back(Slice())))) {
          return false;
        }
        break;
      case v1::IndexTerm::kEllipsis:
        if (!message.ellipsis()) return Invalid("an index term's `ellipsis` is true or absent");
        terms->emplace_back(Ellipsis());
        break;
      case v1::IndexTerm::kNewAxis:
        if (!message.new_axis()) return Invalid("an index term's `new_axis` is true or absent");
        terms->emplace_back(NewAxis());
        break;
      case v1::IndexTerm::kNode:
        terms->emplace_back(NodeRef{message.node()});
        break;
      case v1::IndexTerm::kKey:
        terms->emplace_back(message.key());
        break;
      case v1::IndexTerm::kParameter:
        return NotExecuted("index_term.parameter");
      case v1::IndexTerm::TERM_NOT_SET:
        return Invalid("an index term is empty");
    }
  }
  return true;
}

bool Decoder::DecodeSlice(const v1::Slice& message, Slice* slice) {
  if (message.has_start_parameter()) return NotExecuted("slice.start_parameter");
  if (message.has_stop_parameter()) return NotExecuted("slice.stop_parameter");
  if (message.has_start()) slice->start = message.start();
  if (message.has_stop()) slice->stop = message.stop();
  if (message.has_step()) slice->step = message.step();
  return true;
}

bool Decoder::DecodeArguments(const google::protobuf::RepeatedPtrField<v1::Argument>& messages,
                              int list_depth, std::vector<Argument>* arguments) {
  arguments->resize(messages.size());
  for (int i = 0; i < messages.size(); ++i) {
    const v1::Argument& message = messages[i];
    Argument& argument = (*arguments)[i];
    argument.name = message.name();
    switch (message.value_case()) {
      case v1::Argument::kNode:
        argument.value = NodeRef{message.node()};
        break;
      case v1::Argument::kBoolean:
        argument.value = message.boolean();
        break;
      case v1::Argument::kInteger:
        argument.value.emplace<int64_t>(message.integer());
        break;
      case v1::Argument::kFloating:
        argument.value = message.floating();
        break;
      case v1::Argument::kString:
        argument.value = message.string();
        break;
      case v1::Argument::kDtype:
        if (message.dtype() == v1::DTYPE_UNSPECIFIED || !v1::DType_IsValid(message.dtype())) {
          return Invalid(absl::StrCat("argument ", i, " has an unknown dtype"));
        }
        argument.value = static_cast<DType>(message.dtype());
        break;
      case v1::Argument::kNone:
        break;
      case v1::Argument::kList:
        if (list_depth >= kMaxListDepth) {
          return Invalid(absl::StrCat("lists nest deeper than ", kMaxListDepth));
        }
        if (!DecodeArguments(message.list().items(), list_depth + 1,
                             &argument.value.emplace<Argument::List>())) {
          return false;
        }
        break;
      case v1::Argument::kParameter:
        return NotExecuted("argument.parameter");
      case v1::Argument::VALUE_NOT_SET:
        return Invalid(absl::StrCat("argument ", i, " has no value"));
    }
  }
  return true;
}

void EncodeSite(const Site& site, v1::Site* message) {
  message->set_module(site.module);
  message->set_point(static_cast<v1::Site::Point>(site.point));
  message->set_visit(site.visit);
}

void EncodeTerms(const std::vector<IndexTerm>& terms,
                 google::protobuf::RepeatedPtrField<v1::IndexTerm>* messages) {
  struct Encoder {
    v1::IndexTerm* message;
    void operator()(int64_t integer) const { message->set_integer(integer); }
    void operator()(const Slice& slice) const {
      v1::Slice* out = message->mutable_slice();
      if (slice.start) out->set_start(*slice.start);
      if (slice.stop) out->set_stop(*slice.stop);
      if (slice.step) out->set_step(*slice.step);
    }
    void operator()(Ellipsis) const { message->set_ellipsis(true); }
    void operator()(NewAxis) const { message->set_new_axis(true); }
    void operator()(NodeRef ref) const { message->set_node(ref.id); }
    void operator()(const std::string& key) const { message->set_key(key); }
  };
  for (const IndexTerm& term : terms) std::visit(Encoder{messages->Add()}, term);
}

void EncodeArguments(const std::vector<Argument>& arguments,
                     google::protobuf::RepeatedPtrField<v1::Argument>* messages) {
  struct Encoder {
    v1::Argument* message;
    void operator()(std::monostate) const { message->mutable_none(); }
    void operator()(NodeRef ref) const { message->set_node(ref.id); }
    void operator()(bool boolean) const { message->set_boolean(boolean); }
    void operator()(int64_t integer) const { message->set_integer(integer); }
    void operator()(double floating) const { message->set_floating(floating); }
    void operator()(const std::string& string) const { message->set_string(string); }
    void operator()(DType dtype) const { message->set_dtype(static_cast<v1::DType>(dtype)); }
    void operator()(const Argument::List& list) const {
      EncodeArguments(list, message->mutable_list()->mutable_items());
    }
  };
  for (const Argument& argument : arguments) {
    v1::Argument* message = messages->Add();
    if (!argument.name.empty()) message->set_name(argument.name);
    std::visit(Encoder{message}, argument.value);
  }
}

/// Fills the kind of one node's message.
struct KindEncoder {
  v1::Node* message;

  void operator()(const Trace& trace) const {
    message->mutable_trace()->set_mode(v1::Trace::MODE_FORWARD);
    message->mutable_trace()->set_label(trace.label);
  }
  void operator()(const Invoke& invoke) const {
    v1::Invoke* out = message->mutable_invoke();
    if (const auto* prompts = std::get_if<Invoke::Prompts>(&invoke.input)) {
      for (const std::string& text : prompts->texts) out->mutable_prompts()->add_texts(text);
      out->mutable_prompts()->set_no_special_tokens(prompts->no_special_tokens);
    } else if (const auto* tokens = std::get_if<Invoke::Tokens>(&invoke.input)) {
      out->mutable_tokens();
      for (const std::vector<int64_t>& row : tokens->rows) {
        out->mutable_tokens()->add_rows()->mutable_ids()->Add(row.begin(), row.end());
      }
    } else {
      out->mutable_all();
    }
  }
  void operator()(const Constant& constant) const {
    EncodeTensor(constant.tensor, message->mutable_constant()->mutable_tensor());
  }
  void operator()(const Read& read) const {
    EncodeSite(read.site, message->mutable_read()->mutable_site());
  }
  void operator()(const Operator& op) const {
    message->mutable_op()->set_name(op.name);
    EncodeArguments(op.arguments, message->mutable_op()->mutable_arguments());
  }
  void operator()(const Index& index) const {
    message->mutable_index()->set_target(index.target);
    EncodeTerms(index.terms, message->mutable_index()->mutable_terms());
  }
  void operator()(const Structure& structure) const {
    message->mutable_structure()->set_kind(static_cast<v1::Structure::Kind>(structure.kind));
    EncodeArguments(structure.items, message->mutable_structure()->mutable_items());
  }
  void operator()(const Call& call) const {
    message->mutable_call()->set_module(call.module);
    EncodeArguments(call.arguments, message->mutable_call()->mutable_arguments());
  }
  void operator()(const Parameter& parameter) const {
    message->mutable_parameter()->set_path(parameter.path);
  }
  void operator()(const Write& write) const {
    EncodeSite(write.site, message->mutable_write()->mutable_site());
    EncodeTerms(write.index, message->mutable_write()->mutable_index());
    message->mutable_write()->set_value(write.value);
  }
  void operator()(const Assign& assign) const {
    message->mutable_assign()->set_target(assign.target);
    EncodeTerms(assign.index, message->mutable_assign()->mutable_index());
    message->mutable_assign()->set_value(assign.value);
  }
  void operator()(const Skip& skip) const {
    message->mutable_skip()->set_module(skip.module);
    message->mutable_skip()->set_visit(skip.visit);
    message->mutable_skip()->set_value(skip.value);
  }
  void operator()(const Save& save) const {
    message->mutable_save()->set_name(save.name);
    message->mutable_save()->set_value(save.value);
  }
  void operator()(const Log& log) const {
    message->mutable_log()->set_value(log.value);
    message->mutable_log()->set_label(log.label);
  }
  void operator()(const Stop&) const { message->mutable_stop(); }
  void operator()(const Backward& backward) const {
    message->mutable_backward()->set_loss(backward.loss);
    message->mutable_backward()->set_gradient(backward.gradient);
  }
  void operator()(const GradRead& read) const {
    message->mutable_grad_read()->set_value(read.value);
  }
  void operator()(const GradWrite& write) const {
    message->mutable_grad_write()->set_value(write.value);
    message->mutable_grad_write()->set_gradient(write.gradient);
  }
};

}  // namespace

absl::StatusOr<Program> DecodeProgram(const v1::Program& message) {
  return Decoder().Decode(message);
}

void EncodeProgram(const Program& program, v1::Program* message) {
  message->mutable_nodes()->Reserve(static_cast<int>(program.nodes.size()));
  for (const Node& node : program.nodes) {
    v1::Node* out = message->add_nodes();
    out->set_parent(node.parent);
    out->set_name(node.name);
    if (node.source.line != 0 || !node.source.file.empty()) {
      out->mutable_source()->set_file(ToUtf8(node.source.file));
      out->mutable_source()->set_line(node.source.line);
    }
    std::visit(KindEncoder{out}, node.kind);
  }
}

absl::StatusOr<HostTensor> DecodeTensor(const v1::Tensor& message) {
  if (message.dtype() == v1::DTYPE_UNSPECIFIED) {
    return absl::InvalidArgumentError("a tensor needs a dtype");
  }
  return HostTensor::Make(static_cast<DType>(message.dtype()),
                          {message.shape().begin(), message.shape().end()}, message.data());
}

void EncodeTensor(const HostTensor& tensor, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DType>(tensor.dtype));
  message->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  message->set_data(tensor.data, tensor.bytes);
}

void EncodeError(const Error& error, v1::Error* message) {
  message->set_code(static_cast<int>(error.code));
  message->set_message(ToUtf8(error.message));
  message->set_node(error.node);
  message->set_statement(ToUtf8(error.statement));
  if (error.source.line != 0 || !error.source.file.empty()) {
    message->mutable_source()->set_file(ToUtf8(error.source.file));
    message->mutable_source()->set_line(error.source.line);
  }
  message->set_hint(ToUtf8(error.hint));
  message->set_site(ToUtf8(error.site));
  message->set_retry_after_seconds(error.retry_after_seconds);
}

Error DecodeError(const v1::Error& message) {
  Error error;
  error.code = static_cast<absl::StatusCode>(message.code());
  error.message = message.message();
  error.node = message.node();
  error.statement = message.statement();
  error.source = {message.source().file(), message.source().line()};
  error.hint = message.hint();
  error.site = message.site();
  error.retry_after_seconds = message.retry_after_seconds();
  return error;
}

void EncodePattern(const Pattern& pattern, v1::Pattern* message) {
  struct Encoder {
    v1::Pattern* message;
    void operator()(std::monostate) const { message->mutable_none(); }
    void operator()(const std::string& scalar) const { message->set_scalar(scalar); }
    void operator()(const Pattern::Tensor& tensor) const {
      v1::TensorPattern* out = message->mutable_tensor();
      out->set_dtype(static_cast<v1::DType>(tensor.dtype));
      for (const Dimension& dimension : tensor.shape) {
        v1::Dimension* size = out->add_shape();
        size->set_constant(dimension.constant);
        size->set_batch(dimension.batch);
        size->set_tokens(dimension.tokens);
      }
      out->set_range(tensor.range);
    }
    void operator()(const Pattern::List& list) const {
      v1::PatternList* out = message->mutable_list();
      for (const Pattern& item : list.items) EncodePattern(item, out->add_items());
    }
    void operator()(const Pattern::Tuple& tuple) const {
      v1::PatternList* out = message->mutable_tuple();
      for (const Pattern& item : tuple.items) EncodePattern(item, out->add_items());
    }
    void operator()(const Pattern::Dict& dict) const {
      v1::PatternDict* out = message->mutable_dict();
      for (const auto& [key, value] : dict.entries) {
        out->add_keys(key);
        EncodePattern(value, out->add_values());
      }
    }
  };
  std::visit(Encoder{message}, pattern.value);
}

// Recursion is bounded: protobuf does not parse messages nested deeper than 100.
Pattern DecodePattern(const v1::Pattern& message) {
  Pattern pattern;
  switch (message.pattern_case()) {
    case v1::Pattern::kTensor: {
      auto& tensor = pattern.value.emplace<Pattern::Tensor>();
      tensor.dtype = static_cast<DType>(message.tensor().dtype());
      for (const v1::Dimension& size : message.tensor().shape()) {
        tensor.shape.push_back({size.constant(), size.batch(), size.tokens()});
      }
      tensor.range = message.tensor().range();
      break;
    }
    case v1::Pattern::kList: {
      auto& list = pattern.value.emplace<Pattern::List>();
      for (const v1::Pattern& item : message.list().items()) {
        list.items.push_back(DecodePattern(item));
      }
      break;
    }
    case v1::Pattern::kTuple: {
      auto& tuple = pattern.value.emplace<Pattern::Tuple>();
      for (const v1::Pattern& item : message.tuple().items()) {
        tuple.items.push_back(DecodePattern(item));
      }
      break;
    }
    case v1::Pattern::kDict: {
      auto& dict = pattern.value.emplace<Pattern::Dict>();
      const int entries = std::min(message.dict().keys_size(), message.dict().values_size());
      for (int i = 0; i < entries; ++i) {
        dict.entries.emplace_back(message.dict().keys(i), DecodePattern(message.dict().values(i)));
      }
      break;
    }
    case v1::Pattern::kScalar:
      pattern.value = message.scalar();
      break;
    case v1::Pattern::kNone:
    case v1::Pattern::PATTERN_NOT_SET:
      break;
  }
  return pattern;
}

}  // namespace weft::graph
