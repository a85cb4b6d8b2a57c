#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "weft/v1/program.pb.h"

namespace weft::graph {
namespace {

SweepUse DecodeUse(const v1::SweepUse& message) { return {message.sweep(), message.parameter()}; }

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
  bool Invalid(const std::string& what) {
    Error error;
    error.code = absl::StatusCode::kInvalidArgument;
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
  /// `field` says which, in an error.
  bool DecodeDType(v1::DType message, const std::string& field, DType* dtype) {
    if (message == v1::DTYPE_UNSPECIFIED || !v1::DType_IsValid(message)) {
      return Invalid(absl::StrCat(field, " has an unknown dtype"));
    }
    *dtype = static_cast<DType>(message);
    return true;
  }
  /// Of a field that may be left out.
  bool DecodeDType(v1::DType message, const std::string& field, std::optional<DType>* dtype) {
    return message == v1::DTYPE_UNSPECIFIED || DecodeDType(message, field, &dtype->emplace());
  }

  bool DecodeKind(Node* node);
  bool DecodeTrace(const v1::Trace& message, Trace* trace);
  bool DecodeSweep(const v1::Sweep& message, Sweep* sweep);
  bool DecodeInvoke(const v1::Invoke& message, Invoke* invoke);
  bool DecodeConstant(const v1::Constant& message, Constant* constant);
  bool DecodeStructure(const v1::Structure& message, Structure* structure);
  bool DecodeSave(const v1::Save& message, Save* save);
  bool DecodeCache(const v1::Cache& message, Cache* cache);
  bool DecodeSteps(const v1::Steps& message, Steps* steps);
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
      auto& call = node->kind.emplace<Call>();
      call.watched = message.call().watched();
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
      return DecodeSweep(message.sweep(), &node->kind.emplace<Sweep>());
    case v1::Node::kCache:
      return DecodeCache(message.cache(), &node->kind.emplace<Cache>());
    case v1::Node::kSteps:
      return DecodeSteps(message.steps(), &node->kind.emplace<Steps>());
    case v1::Node::kIf:
      node->kind = If{message.if_().condition()};
      return true;
    case v1::Node::kBranch:
      node->kind = Branch{message.branch().otherwise()};
      return true;
    case v1::Node::kCarry:
      node->kind = Carry{message.carry().index()};
      return true;
    case v1::Node::kYield: {
      const auto& values = message.yield().values();
      node->kind.emplace<Yield>().values.assign(values.begin(), values.end());
      return true;
    }
    case v1::Node::kRegionResult:
      node->kind = RegionResult{message.region_result().region(), message.region_result().index()};
      return true;
    case v1::Node::KIND_NOT_SET:
      break;
  }
  return Invalid("a node needs a kind");
}

bool Decoder::DecodeTrace(const v1::Trace& message, Trace* trace) {
  trace->label = message.label();
  trace->root = message.root();
  trace->tuple_outputs = message.tuple_outputs();
  trace->adapter = message.adapter();
  switch (message.mode()) {
    case v1::Trace::MODE_FORWARD:
      if (message.has_generate()) return Invalid("`generate` goes with MODE_GENERATE alone");
      return true;
    case v1::Trace::MODE_GENERATE:
      break;
    default:
      return Invalid("a trace needs a mode");
  }
  const v1::GenerateOptions& from = message.generate();
  GenerateOptions to;
  to.max_new_tokens = from.max_new_tokens();
  to.min_new_tokens = from.min_new_tokens();
  to.do_sample = from.do_sample();
  to.temperature = from.temperature();
  to.top_p = from.top_p();
  to.top_k = from.top_k();
  to.min_p = from.min_p();
  to.repetition_penalty = from.repetition_penalty();
  to.presence_penalty = from.presence_penalty();
  to.frequency_penalty = from.frequency_penalty();
  to.num_return_sequences = from.num_return_sequences();
  to.num_beams = from.num_beams();
  if (from.has_length_penalty()) to.length_penalty = from.length_penalty();
  to.early_stopping = static_cast<EarlyStopping>(from.early_stopping());
  to.no_repeat_ngram_size = from.no_repeat_ngram_size();
  to.eos_token_ids.assign(from.eos_token_ids().begin(), from.eos_token_ids().end());
  to.stop_strings.assign(from.stop_strings().begin(), from.stop_strings().end());
  trace->generate = std::make_shared<const GenerateOptions>(std::move(to));
  return true;
}

bool Decoder::DecodeSweep(const v1::Sweep& message, Sweep* sweep) {
  sweep->parameters.reserve(message.parameters_size());
  for (const v1::SweepParameter& from : message.parameters()) {
    const int kinds = (from.ints_size() > 0) + (from.floats_size() > 0) +
                      (from.strings_size() > 0) + (from.nodes_size() > 0) + (from.rows_size() > 0);
    if (kinds != 1) {
      return Invalid(
          "a sweep's parameter needs values, all of them ints, floats, strings, nodes or rows");
    }
    SweepParameter& to = sweep->parameters.emplace_back();
    to.name = from.name();
    if (from.ints_size() > 0) {
      to.values.emplace<std::vector<int64_t>>(from.ints().begin(), from.ints().end());
    } else if (from.floats_size() > 0) {
      to.values.emplace<std::vector<double>>(from.floats().begin(), from.floats().end());
    } else if (from.strings_size() > 0) {
      to.values.emplace<std::vector<std::string>>(from.strings().begin(), from.strings().end());
    } else if (from.nodes_size() > 0) {
      auto& nodes = to.values.emplace<std::vector<NodeRef>>();
      for (NodeId node : from.nodes()) nodes.push_back({node});
    } else {
      auto& rows = to.values.emplace<std::vector<std::vector<int64_t>>>();
      rows.reserve(from.rows_size());
      for (const v1::TokenRow& row : from.rows()) {
        rows.emplace_back(row.ids().begin(), row.ids().end());
      }
    }
  }
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
    case v1::Invoke::kTensors: {
      auto& tensors = invoke->input.emplace<Invoke::Tensors>();
      tensors.inputs.reserve(message.tensors().inputs_size());
      for (const v1::NamedNode& input : message.tensors().inputs()) {
        tensors.inputs.push_back({input.name(), input.node()});
      }
      return true;
    }
    case v1::Invoke::kChats: {
      auto& chats = invoke->input.emplace<Invoke::Chats>();
      chats.chats.reserve(message.chats().chats_size());
      for (const v1::Chat& chat : message.chats().chats()) {
        std::vector<ChatMessage>& messages = chats.chats.emplace_back();
        messages.reserve(chat.messages_size());
        for (const v1::ChatMessage& said : chat.messages()) {
          messages.push_back({said.role(), said.content()});
        }
      }
      chats.add_generation_prompt = message.chats().add_generation_prompt();
      chats.continue_final_message = message.chats().continue_final_message();
      return true;
    }
    case v1::Invoke::kSwept:
      invoke->input =
          SweptPrompt{DecodeUse(message.swept().use()), message.swept().no_special_tokens()};
      return true;
    case v1::Invoke::INPUT_NOT_SET:
      break;
  }
  return Invalid("an invoke needs an input: prompts, tokens, all, tensors, chats or swept");
}

bool Decoder::DecodeConstant(const v1::Constant& message, Constant* constant) {
  if (message.has_blob()) {
    const v1::BlobTensor& blob = message.blob();
    if (blob.sha256().size() != kBlobHashSize) {
      return Invalid(absl::StrCat("a blob's sha256 has ", kBlobHashSize, " bytes, not ",
                                  blob.sha256().size()));
    }
    constant->blob = blob.sha256();
    constant->tensor.shape.assign(blob.shape().begin(), blob.shape().end());
    return DecodeDType(blob.dtype(), "a blob", &constant->tensor.dtype);
  }
  switch (message.value_case()) {
    case v1::Constant::kText:
      constant->plain = message.text();
      return true;
    case v1::Constant::kInteger:
      constant->plain = message.integer();
      return true;
    case v1::Constant::kFloating:
      constant->plain = message.floating();
      return true;
    case v1::Constant::kBoolean:
      constant->plain = message.boolean();
      return true;
    default:
      break;
  }
  if (!message.has_tensor()) {
    return Invalid("a constant needs a tensor, a blob, a text, a number or a bool");
  }
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
  save->name = message.name();
  save->value = message.value();
  switch (message.placement()) {
    case v1::PLACEMENT_UNSPECIFIED:
    case v1::PLACEMENT_RETURN:
      break;
    case v1::PLACEMENT_KEEP:
      save->keep = true;
      break;
    default:
      return Invalid("a save has an unknown placement");
  }
  return DecodeDType(message.dtype(), "a save", &save->dtype);
}

bool Decoder::DecodeCache(const v1::Cache& message, Cache* cache) {
  cache->name = message.name();
  cache->modules.assign(message.modules().begin(), message.modules().end());
  cache->include_inputs = message.include_inputs();
  return DecodeDType(message.dtype(), "a cache", &cache->dtype);
}

bool Decoder::DecodeSteps(const v1::Steps& message, Steps* steps) {
  if (message.has_range() && message.list_size() > 0) {
    return Invalid("steps are chosen by a range or by a list, not by both");
  }
  steps->list.assign(message.list().begin(), message.list().end());
  steps->initial.assign(message.initial().begin(), message.initial().end());
  return DecodeSlice(message.range(), &steps->range);
}

bool Decoder::DecodeSite(const v1::Site& message, Site* site) {
  if (message.point() == v1::Site::POINT_UNSPECIFIED || !v1::Site::Point_IsValid(message.point())) {
    return Invalid("a site needs a point");
  }
  site->module = message.module();
  site->point = static_cast<Point>(message.point());
  site->visit = message.visit();
  site->op = message.op();
  site->parameters.reserve(message.parameters_size());
  for (const v1::SitePathParameter& parameter : message.parameters()) {
    site->parameters.push_back({parameter.component(), DecodeUse(parameter.use())});
  }
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
        terms->emplace_back(DecodeUse(message.parameter()));
        break;
      case v1::IndexTerm::TERM_NOT_SET:
        return Invalid("an index term is empty");
    }
  }
  return true;
}

bool Decoder::DecodeSlice(const v1::Slice& message, Slice* slice) {
  if (message.has_start_parameter()) {
    slice->start_parameter = DecodeUse(message.start_parameter());
  }
  if (message.has_stop_parameter()) slice->stop_parameter = DecodeUse(message.stop_parameter());
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
        if (!DecodeDType(message.dtype(), absl::StrCat("argument ", i),
                         &argument.value.emplace<DType>())) {
          return false;
        }
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
        argument.value = DecodeUse(message.parameter());
        break;
      case v1::Argument::VALUE_NOT_SET:
        return Invalid(absl::StrCat("argument ", i, " has no value"));
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<Program> DecodeProgram(const v1::Program& message) {
  return Decoder().Decode(message);
}

}  // namespace weft::graph
