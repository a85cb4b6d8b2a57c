#include "server/service/messages.h"

#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"

namespace weft::server {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

absl::Status TooDeep() {
  return absl::ResourceExhaustedError(
      absl::StrCat("a result nests lists, tuples and dicts more than ", kMaxValueDepth,
                   " deep; save its parts under names of their own"));
}

class ValueEncoder {
 public:
  ValueEncoder(uint32_t first_tensor, std::vector<graph::HostTensor>* tensors)
      : next_(first_tensor), tensors_(tensors) {}

  absl::Status Encode(const graph::HostValue& value, int depth, v1::Value* message) {
    if (depth > kMaxValueDepth) return TooDeep();
    return std::visit(Overloaded{
                          [&](std::monostate) {
                            message->mutable_none();
                            return absl::OkStatus();
                          },
                          [&](const graph::HostTensor& tensor) {
                            v1::TensorRef* ref = message->mutable_tensor();
                            ref->set_dtype(static_cast<v1::DType>(tensor.dtype));
                            ref->mutable_shape()->Assign(tensor.shape.begin(), tensor.shape.end());
                            ref->set_tensor(next_++);
                            ref->set_bytes(tensor.bytes);
                            tensors_->push_back(tensor);
                            return absl::OkStatus();
                          },
                          [&](bool boolean) {
                            message->set_boolean(boolean);
                            return absl::OkStatus();
                          },
                          [&](int64_t integer) {
                            message->set_integer(integer);
                            return absl::OkStatus();
                          },
                          [&](double floating) {
                            message->set_floating(floating);
                            return absl::OkStatus();
                          },
                          [&](const std::string& text) {
                            message->set_string(text);
                            return absl::OkStatus();
                          },
                          [&](const graph::HostValue::List& list) {
                            return EncodeItems(list.items, depth, message->mutable_list());
                          },
                          [&](const graph::HostValue::Tuple& tuple) {
                            return EncodeItems(tuple.items, depth, message->mutable_tuple());
                          },
                          [&](const graph::HostValue::Dict& dict) {
                            v1::ValueDict* entries = message->mutable_dict();
                            for (const auto& [key, item] : dict.entries) {
                              v1::ValueEntry* entry = entries->add_entries();
                              entry->set_key(key);
                              absl::Status encoded =
                                  Encode(item, depth + 1, entry->mutable_value());
                              if (!encoded.ok()) return encoded;
                            }
                            return absl::OkStatus();
                          },
                      },
                      value.value);
  }

 private:
  absl::Status EncodeItems(const graph::HostValue::Items& items, int depth,
                           v1::ValueList* message) {
    for (const graph::HostValue& item : items) {
      absl::Status encoded = Encode(item, depth + 1, message->add_items());
      if (!encoded.ok()) return encoded;
    }
    return absl::OkStatus();
  }

  uint32_t next_;
  std::vector<graph::HostTensor>* tensors_;
};

/// Sets the hashes of the tensors in `message`, from `next` on. No deeper than what was encoded.
void SetBlobsFrom(const std::vector<std::string>& hashes, size_t* next, v1::Value* message) {
  if (message->has_tensor()) {
    message->mutable_tensor()->clear_tensor();
    message->mutable_tensor()->set_blob(hashes[(*next)++]);
  }
  v1::ValueList* const items = message->has_list()    ? message->mutable_list()
                               : message->has_tuple() ? message->mutable_tuple()
                                                      : nullptr;
  if (items != nullptr) {
    for (v1::Value& item : *items->mutable_items()) SetBlobsFrom(hashes, next, &item);
  }
  if (!message->has_dict()) return;
  for (v1::ValueEntry& entry : *message->mutable_dict()->mutable_entries()) {
    SetBlobsFrom(hashes, next, entry.mutable_value());
  }
}

absl::Status EncodeShapeAt(const graph::Pattern& pattern, int depth, v1::Value* message);

absl::Status EncodeShapes(const std::vector<graph::Pattern>& items, int depth,
                          v1::ValueList* message) {
  for (const graph::Pattern& item : items) {
    absl::Status encoded = EncodeShapeAt(item, depth + 1, message->add_items());
    if (!encoded.ok()) return encoded;
  }
  return absl::OkStatus();
}

absl::Status EncodeShapeAt(const graph::Pattern& pattern, int depth, v1::Value* message) {
  if (depth > kMaxValueDepth) return TooDeep();
  return std::visit(Overloaded{
                        [&](std::monostate) {
                          message->mutable_none();
                          return absl::OkStatus();
                        },
                        [&](const graph::Pattern::Tensor& tensor) {
                          v1::TensorRef* ref = message->mutable_tensor();
                          ref->set_dtype(static_cast<v1::DType>(tensor.dtype));
                          uint64_t bytes = static_cast<uint64_t>(graph::SizeOf(tensor.dtype));
                          for (const graph::Dimension& dimension : tensor.shape) {
                            if (dimension.at_most) {
                              ref->add_at_most(static_cast<uint32_t>(ref->shape_size()));
                            }
                            ref->add_shape(dimension.constant);
                            bytes *= static_cast<uint64_t>(dimension.constant);
                          }
                          ref->set_bytes(bytes);
                          return absl::OkStatus();
                        },
                        [&](const std::string& scalar) {
                          if (scalar == "bool") {
                            message->set_boolean(false);
                          } else if (scalar == "int") {
                            message->set_integer(0);
                          } else if (scalar == "float") {
                            message->set_floating(0);
                          } else {
                            message->set_string("");
                          }
                          return absl::OkStatus();
                        },
                        [&](const graph::Pattern::List& list) {
                          return EncodeShapes(list.items, depth, message->mutable_list());
                        },
                        [&](const graph::Pattern::Tuple& tuple) {
                          return EncodeShapes(tuple.items, depth, message->mutable_tuple());
                        },
                        [&](const graph::Pattern::Dict& dict) {
                          v1::ValueDict* entries = message->mutable_dict();
                          for (const auto& [key, item] : dict.entries) {
                            v1::ValueEntry* entry = entries->add_entries();
                            entry->set_key(key);
                            absl::Status encoded =
                                EncodeShapeAt(item, depth + 1, entry->mutable_value());
                            if (!encoded.ok()) return encoded;
                          }
                          return absl::OkStatus();
                        },
                    },
                    pattern.value);
}

}  // namespace

absl::Status EncodeValue(const graph::HostValue& value, uint32_t first_tensor, v1::Value* message,
                         std::vector<graph::HostTensor>* tensors) {
  return ValueEncoder(first_tensor, tensors).Encode(value, 0, message);
}

void EncodeTokens(const NewTokens& tokens, v1::NewTokens* message) {
  message->set_invoke(tokens.invoke);
  if (tokens.point) message->set_point(*tokens.point);
  message->set_step(tokens.step);
  message->mutable_ids()->Assign(tokens.ids.begin(), tokens.ids.end());
  for (const std::string& text : tokens.texts) message->add_texts(text);
}

void SetBlobs(const std::vector<std::string>& hashes, v1::Value* message) {
  size_t next = 0;
  SetBlobsFrom(hashes, &next, message);
}

void EncodeResultPlace(const Result& result, v1::Result* message) {
  message->set_name(result.name);
  if (result.step) message->set_step(*result.step);
  if (result.point) message->set_point(*result.point);
  if (result.entry) {
    v1::CacheEntry* entry = message->mutable_entry();
    entry->set_module(result.entry->module);
    entry->set_point(static_cast<v1::Site::Point>(result.entry->point));
    entry->set_visit(result.entry->visit);
  }
}

absl::Status EncodeShape(const graph::Pattern& pattern, v1::Value* message) {
  return EncodeShapeAt(pattern, 0, message);
}

void EncodeCost(const Cost& cost, v1::Cost* message) {
  message->set_queue_seconds(cost.queue_seconds);
  message->set_run_seconds(cost.run_seconds);
  message->set_operator_seconds(cost.operator_seconds);
  message->set_tokens(cost.tokens);
  message->set_passes(cost.passes);
  message->set_result_bytes(cost.result_bytes);
  message->set_peak_bytes(cost.peak_bytes);
}

void EncodeSummary(const ModelSummary& summary, v1::ModelSummary* message) {
  message->set_name(summary.name);
  message->set_family(summary.family);
  message->set_parameters(summary.parameters);
  message->set_dtype(summary.dtype);
  message->set_device(summary.device);
  message->set_fingerprint(summary.fingerprint);
  message->set_has_tokenizer(summary.has_tokenizer);
  message->set_max_tokens(summary.max_tokens);
  message->set_vocabulary(summary.vocabulary);
  for (const std::string& adapter : summary.adapters) message->add_adapters(adapter);
}

void EncodeModel(const ModelInfo& info, uint64_t passes, v1::Model* message) {
  EncodeSummary(info.summary, message->mutable_summary());
  for (const ModuleInfo& module : info.modules) {
    v1::Module* out = message->add_modules();
    out->set_path(module.path);
    out->set_type(module.type);
    out->set_detail(module.detail);
  }
  const auto encode = [](const SiteInfo& site, v1::SiteInfo* out) {
    out->set_module(site.site.module);
    out->set_point(static_cast<v1::Site::Point>(site.site.point));
    out->set_visit(site.site.visit);
    out->set_op(site.site.op);
    if (!std::holds_alternative<std::monostate>(site.value.value)) {
      graph::EncodePattern(site.value, out->mutable_value());
    }
    out->set_writable(site.writable);
    out->set_source(site.source);
  };
  for (const SiteInfo& site : info.sites) encode(site, message->add_sites());
  for (const SiteInfo& site : info.operations) encode(site, message->add_operations());
  for (const ParameterInfo& parameter : info.parameters) {
    v1::ParameterInfo* out = message->add_parameters();
    out->set_path(parameter.path);
    out->set_dtype(static_cast<v1::DType>(parameter.dtype));
    out->mutable_shape()->Assign(parameter.shape.begin(), parameter.shape.end());
  }
  message->set_passes(passes);
  message->set_config_json(info.config_json);
}

void EncodeOperators(const std::vector<OperatorInfo>& operators,
                     v1::ListOperatorsResponse* message) {
  for (const OperatorInfo& op : operators) {
    v1::OperatorInfo* out = message->add_operators();
    out->set_name(op.name);
    for (const OverloadInfo& overload : op.overloads) {
      v1::OperatorOverload* row = out->add_overloads();
      row->set_schema(overload.schema);
      row->set_makes(overload.makes);
      row->set_in_place(overload.in_place);
      row->set_random(overload.random);
    }
  }
}

absl::Status EncodeValidation(const Validation& validation, v1::ValidateResponse* message) {
  for (const Validation::SavedShape& save : validation.saves) {
    v1::SavedShape* out = message->add_saves();
    out->set_name(save.name);
    absl::Status encoded = EncodeShape(save.value, out->mutable_value());
    if (!encoded.ok()) return encoded;
  }
  for (const graph::Error& warning : validation.warnings) {
    graph::EncodeError(warning, message->add_warnings());
  }
  EncodeCost(validation.estimate, message->mutable_estimate());
  message->set_model_fingerprint(validation.fingerprint);
  return absl::OkStatus();
}

void EncodeLimits(const Limits& limits, uint64_t request_bytes, v1::Limits* message) {
  message->set_request_bytes(request_bytes);
  message->set_nodes(limits.nodes);
  message->set_constant_bytes(limits.constant_bytes);
  message->set_value_elements(limits.value_elements);
  message->set_result_bytes(limits.result_bytes);
  message->set_peak_bytes(limits.peak_bytes);
  message->set_operator_seconds(limits.operator_seconds);
  message->set_pass_tokens(limits.pass_tokens);
}

}  // namespace weft::server
