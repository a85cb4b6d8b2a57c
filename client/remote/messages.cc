#include "client/remote/messages.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/src/convert.h"
#include "engine/graph/codec.h"
#include "engine/graph/error.h"

namespace weft::remote {
namespace {

std::string PointName(v1::Site::Point point) {
  return internal::PointName(static_cast<graph::Point>(point));
}

/// A value's type, from its tensors' dtypes and shapes.
std::string TypeOf(const v1::Value& value) {
  const auto items = [](const v1::ValueList& list) {
    return absl::StrJoin(list.items(), ", ",
                         [](std::string* out, const v1::Value& item) { *out += TypeOf(item); });
  };
  switch (value.value_case()) {
    case v1::Value::kTensor: {
      const auto& most = value.tensor().at_most();
      std::vector<std::string> sizes;
      for (int i = 0; i < value.tensor().shape_size(); ++i) {
        const bool at_most =
            std::find(most.begin(), most.end(), static_cast<uint32_t>(i)) != most.end();
        sizes.push_back(absl::StrCat(at_most ? "at most " : "", value.tensor().shape(i)));
      }
      return absl::StrCat(ToString(static_cast<DType>(value.tensor().dtype())), "[",
                          absl::StrJoin(sizes, ", "), "]");
    }
    case v1::Value::kBoolean:
      return "bool";
    case v1::Value::kInteger:
      return "int";
    case v1::Value::kFloating:
      return "float";
    case v1::Value::kString:
      return "string";
    case v1::Value::kList:
      return absl::StrCat("[", items(value.list()), "]");
    case v1::Value::kTuple:
      return absl::StrCat("(", items(value.tuple()), value.tuple().items_size() == 1 ? ",)" : ")");
    case v1::Value::kDict:
      return absl::StrCat("{",
                          absl::StrJoin(value.dict().entries(), ", ",
                                        [](std::string* out, const v1::ValueEntry& entry) {
                                          absl::StrAppend(out, entry.key(), ": ",
                                                          TypeOf(entry.value()));
                                        }),
                          "}");
    default:
      return "none";
  }
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  v1::Error details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details()) &&
      !details.message().empty()) {
    graph::Error error = graph::DecodeError(details);
    error.code = code;
    return graph::ToStatus(error);
  }
  return absl::Status(code, status.error_message());
}

ErrorDetails FromMessage(const v1::Error& message) {
  return internal::FromGraph(graph::DecodeError(message));
}

Identity FromMessage(const v1::WhoAmIResponse& message) {
  Identity identity;
  identity.key_id = message.key_id();
  identity.label = message.label();
  identity.scopes.assign(message.scopes().begin(), message.scopes().end());
  identity.models.assign(message.models().begin(), message.models().end());
  if (message.expires_unix_seconds() != 0) {
    identity.expires = absl::FromUnixSeconds(message.expires_unix_seconds());
  }
  identity.limits.requests_per_minute = message.limits().requests_per_minute();
  identity.limits.tokens_per_minute = message.limits().tokens_per_minute();
  identity.limits.concurrent_runs = message.limits().concurrent_runs();
  identity.limits.result_bytes = message.limits().result_bytes();
  identity.limits.run_seconds = message.limits().run_seconds();
  identity.limits.generated_tokens = message.limits().generated_tokens();
  identity.limits.blob_bytes = message.limits().blob_bytes();
  return identity;
}

HostedModel FromMessage(const v1::ModelSummary& message) {
  HostedModel model;
  model.name = message.name();
  model.family = message.family();
  model.dtype = message.dtype();
  model.device = message.device();
  model.fingerprint = message.fingerprint();
  model.parameters = message.parameters();
  model.has_tokenizer = message.has_tokenizer();
  model.max_tokens = message.max_tokens();
  model.vocabulary = message.vocabulary();
  model.adapters.assign(message.adapters().begin(), message.adapters().end());
  return model;
}

ModelDescription FromMessage(const v1::Model& message) {
  ModelDescription model;
  model.summary = FromMessage(message.summary());
  for (const v1::Module& module : message.modules()) {
    model.modules.push_back({module.path(), module.type(), module.detail()});
  }
  const auto describe = [](const v1::SiteInfo& site) -> SiteDescription {
    return {site.module(),
            PointName(site.point()),
            site.visit(),
            site.has_value() ? graph::ToString(graph::DecodePattern(site.value())) : "",
            site.writable(),
            site.op(),
            site.source()};
  };
  for (const v1::SiteInfo& site : message.sites()) model.sites.push_back(describe(site));
  for (const v1::SiteInfo& site : message.operations()) model.operations.push_back(describe(site));
  for (const v1::ParameterInfo& parameter : message.parameters()) {
    model.parameters.push_back({parameter.path(), static_cast<DType>(parameter.dtype()),
                                Shape(parameter.shape().begin(), parameter.shape().end())});
  }
  model.passes = message.passes();
  model.config_json = message.config_json();
  return model;
}

OperatorDescription FromMessage(const v1::OperatorInfo& message) {
  OperatorDescription description;
  description.name = message.name();
  for (const v1::OperatorOverload& overload : message.overloads()) {
    description.overloads.push_back(
        {overload.schema(), overload.makes(), overload.in_place(), overload.random()});
  }
  return description;
}

ValidationReport FromMessage(const v1::ValidateResponse& message) {
  ValidationReport report;
  for (const v1::SavedShape& save : message.saves()) {
    report.saves.push_back({save.name(), TypeOf(save.value())});
  }
  for (const v1::Error& warning : message.warnings()) {
    report.warnings.push_back(FromMessage(warning));
  }
  report.estimate = FromMessage(message.estimate());
  report.fingerprint = message.model_fingerprint();
  report.edits.assign(message.edits().begin(), message.edits().end());
  return report;
}

RunCost FromMessage(const v1::Cost& message) {
  RunCost cost;
  cost.queue_seconds = message.queue_seconds();
  cost.run_seconds = message.run_seconds();
  cost.operator_seconds = message.operator_seconds();
  cost.tokens = message.tokens();
  cost.passes = message.passes();
  cost.result_bytes = message.result_bytes();
  cost.peak_bytes = message.peak_bytes();
  return cost;
}

event::Result PlaceOf(const v1::Result& message) {
  event::Result place;
  place.name = message.name();
  if (message.has_step()) place.step = message.step();
  if (message.has_point()) place.point = message.point();
  if (message.has_entry()) {
    const v1::CacheEntry& entry = message.entry();
    place.entry = {entry.module(), PointName(entry.point()), entry.visit()};
  }
  return place;
}

EditVersion FromMessage(const v1::Edit& message) {
  return {message.model(), message.name(), message.version(), message.bytes(),
          absl::FromUnixSeconds(message.created_unix_seconds())};
}

event::Accepted FromMessage(const v1::Accepted& message) {
  event::Accepted accepted{message.job_id(), message.model_fingerprint(), {}};
  accepted.edits.assign(message.edits().begin(), message.edits().end());
  for (const v1::Error& warning : message.warnings()) {
    accepted.warnings.push_back(FromMessage(warning));
  }
  return accepted;
}

event::NewTokens FromMessage(const v1::NewTokens& message) {
  event::NewTokens tokens;
  tokens.invoke = message.invoke();
  if (message.has_point()) tokens.point = message.point();
  tokens.step = message.step();
  tokens.ids.assign(message.ids().begin(), message.ids().end());
  tokens.texts.assign(message.texts().begin(), message.texts().end());
  return tokens;
}

event::Completed FromMessage(const v1::Completed& message) {
  return {message.model_fingerprint(), FromMessage(message.cost())};
}

}  // namespace weft::remote
