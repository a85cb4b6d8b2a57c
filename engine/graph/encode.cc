#include <string>
#include <vector>

#include "engine/graph/codec.h"
#include "engine/graph/syntax.h"
#include "weft/v1/program.pb.h"

namespace weft::graph {
namespace {

void EncodeUse(const SweepUse& use, v1::SweepUse* message) {
  message->set_sweep(use.sweep);
  message->set_parameter(use.parameter);
}

void EncodeSite(const Site& site, v1::Site* message) {
  message->set_module(site.module);
  message->set_point(static_cast<v1::Site::Point>(site.point));
  message->set_visit(site.visit);
  message->set_op(site.op);
  for (const PathParameter& parameter : site.parameters) {
    v1::SitePathParameter* out = message->add_parameters();
    out->set_component(parameter.component);
    EncodeUse(parameter.use, out->mutable_use());
  }
}

void EncodeSlice(const Slice& slice, v1::Slice* message) {
  if (slice.start) message->set_start(*slice.start);
  if (slice.stop) message->set_stop(*slice.stop);
  if (slice.step) message->set_step(*slice.step);
  if (slice.start_parameter) EncodeUse(*slice.start_parameter, message->mutable_start_parameter());
  if (slice.stop_parameter) EncodeUse(*slice.stop_parameter, message->mutable_stop_parameter());
}

void EncodeTerms(const std::vector<IndexTerm>& terms,
                 google::protobuf::RepeatedPtrField<v1::IndexTerm>* messages) {
  struct Encoder {
    v1::IndexTerm* message;
    void operator()(int64_t integer) const { message->set_integer(integer); }
    void operator()(const Slice& slice) const { EncodeSlice(slice, message->mutable_slice()); }
    void operator()(Ellipsis) const { message->set_ellipsis(true); }
    void operator()(NewAxis) const { message->set_new_axis(true); }
    void operator()(NodeRef ref) const { message->set_node(ref.id); }
    void operator()(const std::string& key) const { message->set_key(key); }
    void operator()(SweepUse use) const { EncodeUse(use, message->mutable_parameter()); }
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
    void operator()(SweepUse use) const { EncodeUse(use, message->mutable_parameter()); }
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
    v1::Trace* out = message->mutable_trace();
    out->set_mode(trace.generate ? v1::Trace::MODE_GENERATE : v1::Trace::MODE_FORWARD);
    out->set_root(trace.root);
    out->set_label(trace.label);
    out->set_tuple_outputs(trace.tuple_outputs);
    out->set_adapter(trace.adapter);
    if (!trace.generate) return;
    const GenerateOptions& from = *trace.generate;
    v1::GenerateOptions* to = out->mutable_generate();
    to->set_max_new_tokens(from.max_new_tokens);
    to->set_min_new_tokens(from.min_new_tokens);
    to->set_do_sample(from.do_sample);
    to->set_temperature(from.temperature);
    to->set_top_p(from.top_p);
    to->set_top_k(from.top_k);
    to->set_min_p(from.min_p);
    to->set_repetition_penalty(from.repetition_penalty);
    to->set_presence_penalty(from.presence_penalty);
    to->set_frequency_penalty(from.frequency_penalty);
    to->set_num_return_sequences(from.num_return_sequences);
    to->set_num_beams(from.num_beams);
    if (from.length_penalty) to->set_length_penalty(*from.length_penalty);
    to->set_early_stopping(static_cast<v1::GenerateOptions::EarlyStopping>(from.early_stopping));
    to->set_no_repeat_ngram_size(from.no_repeat_ngram_size);
    to->mutable_eos_token_ids()->Add(from.eos_token_ids.begin(), from.eos_token_ids.end());
    for (const std::string& text : from.stop_strings) to->add_stop_strings(text);
  }
  void operator()(const Sweep& sweep) const {
    for (const SweepParameter& from : sweep.parameters) {
      v1::SweepParameter* to = message->mutable_sweep()->add_parameters();
      to->set_name(from.name);
      if (const auto* ints = std::get_if<std::vector<int64_t>>(&from.values)) {
        to->mutable_ints()->Add(ints->begin(), ints->end());
      } else if (const auto* floats = std::get_if<std::vector<double>>(&from.values)) {
        to->mutable_floats()->Add(floats->begin(), floats->end());
      } else if (const auto* strings = std::get_if<std::vector<std::string>>(&from.values)) {
        for (const std::string& text : *strings) to->add_strings(text);
      } else if (const auto* nodes = std::get_if<std::vector<NodeRef>>(&from.values)) {
        for (NodeRef ref : *nodes) to->add_nodes(ref.id);
      } else {
        for (const auto& row : std::get<std::vector<std::vector<int64_t>>>(from.values)) {
          to->add_rows()->mutable_ids()->Add(row.begin(), row.end());
        }
      }
    }
    message->mutable_sweep();
  }
  void operator()(const Invoke& invoke) const {
    struct Encoder {
      v1::Invoke* out;
      void operator()(const Invoke::Prompts& prompts) const {
        for (const std::string& text : prompts.texts) out->mutable_prompts()->add_texts(text);
        out->mutable_prompts()->set_no_special_tokens(prompts.no_special_tokens);
      }
      void operator()(const Invoke::Tokens& tokens) const {
        out->mutable_tokens();
        for (const std::vector<int64_t>& row : tokens.rows) {
          out->mutable_tokens()->add_rows()->mutable_ids()->Add(row.begin(), row.end());
        }
      }
      void operator()(Invoke::AllRows) const { out->mutable_all(); }
      void operator()(const Invoke::Tensors& tensors) const {
        out->mutable_tensors();
        for (const NamedInput& input : tensors.inputs) {
          v1::NamedNode* node = out->mutable_tensors()->add_inputs();
          node->set_name(input.name);
          node->set_node(input.node);
        }
      }
      void operator()(const Invoke::Chats& chats) const {
        for (const std::vector<ChatMessage>& messages : chats.chats) {
          v1::Chat* chat = out->mutable_chats()->add_chats();
          for (const ChatMessage& said : messages) {
            v1::ChatMessage* to = chat->add_messages();
            to->set_role(said.role);
            to->set_content(said.content);
          }
        }
        out->mutable_chats()->set_add_generation_prompt(chats.add_generation_prompt);
        out->mutable_chats()->set_continue_final_message(chats.continue_final_message);
      }
      void operator()(const SweptPrompt& swept) const {
        EncodeUse(swept.use, out->mutable_swept()->mutable_use());
        out->mutable_swept()->set_no_special_tokens(swept.no_special_tokens);
      }
    };
    std::visit(Encoder{message->mutable_invoke()}, invoke.input);
  }
  void operator()(const Constant& constant) const {
    if (constant.is_plain()) {
      v1::Constant* out = message->mutable_constant();
      if (const auto* text = std::get_if<std::string>(&constant.plain)) out->set_text(*text);
      if (const auto* number = std::get_if<int64_t>(&constant.plain)) out->set_integer(*number);
      if (const auto* number = std::get_if<double>(&constant.plain)) out->set_floating(*number);
      if (const auto* flag = std::get_if<bool>(&constant.plain)) out->set_boolean(*flag);
      return;
    }
    if (constant.blob.empty()) {
      EncodeTensor(constant.tensor, message->mutable_constant()->mutable_tensor());
      return;
    }
    v1::BlobTensor* blob = message->mutable_constant()->mutable_blob();
    blob->set_sha256(constant.blob);
    blob->set_dtype(static_cast<v1::DType>(constant.tensor.dtype));
    blob->mutable_shape()->Add(constant.tensor.shape.begin(), constant.tensor.shape.end());
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
    message->mutable_call()->set_watched(call.watched);
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
    if (save.dtype) message->mutable_save()->set_dtype(static_cast<v1::DType>(*save.dtype));
    if (save.keep) message->mutable_save()->set_placement(v1::PLACEMENT_KEEP);
  }
  void operator()(const Log& log) const {
    message->mutable_log()->set_value(log.value);
    message->mutable_log()->set_label(log.label);
  }
  void operator()(const Stop&) const { message->mutable_stop(); }
  void operator()(const Cache& cache) const {
    v1::Cache* out = message->mutable_cache();
    out->set_name(cache.name);
    for (const std::string& module : cache.modules) out->add_modules(module);
    if (cache.dtype) out->set_dtype(static_cast<v1::DType>(*cache.dtype));
    out->set_include_inputs(cache.include_inputs);
  }
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
  void operator()(const Steps& steps) const {
    v1::Steps* out = message->mutable_steps();
    if (steps.list.empty()) EncodeSlice(steps.range, out->mutable_range());
    out->mutable_list()->Add(steps.list.begin(), steps.list.end());
    out->mutable_initial()->Add(steps.initial.begin(), steps.initial.end());
  }
  void operator()(const If& choice) const {
    message->mutable_if_()->set_condition(choice.condition);
  }
  void operator()(const Branch& branch) const {
    message->mutable_branch()->set_otherwise(branch.otherwise);
  }
  void operator()(const Carry& carry) const { message->mutable_carry()->set_index(carry.index); }
  void operator()(const Yield& yield) const {
    message->mutable_yield()->mutable_values()->Add(yield.values.begin(), yield.values.end());
  }
  void operator()(const RegionResult& result) const {
    message->mutable_region_result()->set_region(result.region);
    message->mutable_region_result()->set_index(result.index);
  }
};

}  // namespace

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

}  // namespace weft::graph
