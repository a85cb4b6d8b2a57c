#include "server/service/stored_edits.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "engine/graph/edit_name.h"
#include "engine/graph/text.h"
#include "server/service/program_blobs.h"

namespace weft::server {
namespace {

// Constants of more elements are elided in texts.
constexpr int64_t kShownElements = 64;

absl::Status NoEdits() {
  return absl::UnimplementedError(
      "this server keeps no edits: have their statements in the program");
}

graph::ProgramLimits LimitsOf(const Engine& engine) {
  const Limits limits = engine.limits();
  graph::ProgramLimits program;
  program.nodes = limits.nodes != 0 ? limits.nodes : std::numeric_limits<uint32_t>::max();
  program.constant_bytes =
      limits.constant_bytes != 0 ? limits.constant_bytes : std::numeric_limits<uint64_t>::max();
  return program;
}

void Encode(const edits::EditInfo& info, v1::Edit* message) {
  message->set_model(info.model);
  message->set_name(info.name);
  message->set_version(info.version);
  message->set_bytes(info.bytes);
  message->set_created_unix_seconds(absl::ToUnixSeconds(info.created));
}

/// A program as it was stored. A newer server may have written what this one does not know.
absl::Status Parse(const edits::EditStore::Edit& edit, v1::Program* message) {
  graph::WireBudget budget;
  budget.bytes = std::numeric_limits<uint64_t>::max();
  const absl::Status parsed =
      graph::ParseChecked(edit.program.data(), edit.program.size(), message, budget);
  if (parsed.ok()) return parsed;
  return absl::FailedPreconditionError(absl::StrCat(
      "the stored edit `", edit.info.name, "@", edit.info.version,
      "` cannot be read by this server: ", std::string(parsed.message()), "; store it again"));
}

}  // namespace

absl::Status EditCalls::Store(const keys::Key& key, const v1::StoreEditRequest& request,
                              v1::StoreEditResponse* answer) const {
  if (store == nullptr) return NoEdits();
  const std::string& name = request.name();
  if (absl::Status good = graph::CheckEditName(name); !good.ok()) return good;
  if (absl::Status allowed = keys::RequireModel(key, request.model()); !allowed.ok()) {
    return allowed;
  }
  absl::StatusOr<std::shared_ptr<const ModelInfo>> model = engine->GetModel(request.model());
  if (!model.ok()) return model.status();
  absl::StatusOr<graph::Program> program = graph::DecodeProgram(request.program());
  if (!program.ok()) return program.status();
  absl::StatusOr<UsedBlobs> used = FindBlobs(key, blobs, &*program);
  if (!used.ok()) return used.status();
  RunOptions options;
  options.access.weights = keys::HasScope(key, keys::kWeightsScope);
  const uint64_t most_tokens = std::min((*model)->summary.max_tokens, engine->limits().pass_tokens);
  const absl::Status fits =
      graph::CheckEditFits(name, *program, request.tokens(), most_tokens, LimitsOf(*engine),
                           [&](const graph::Program& probe) {
                             return engine->Validate(request.model(), probe, options).status();
                           });
  if (!fits.ok()) return fits;
  std::vector<std::string> hashes;
  for (const graph::Node& node : program->nodes) {
    const auto* constant = std::get_if<graph::Constant>(&node.kind);
    if (constant != nullptr && !constant->blob.empty()) hashes.push_back(constant->blob);
  }
  absl::StatusOr<edits::EditStore::Stored> stored =
      store->Store(key, request.model(), name, request.program().SerializeAsString(), hashes);
  if (!stored.ok()) return stored.status();
  Encode(stored->info, answer->mutable_edit());
  answer->set_existed(stored->existed);
  return absl::OkStatus();
}

absl::Status EditCalls::List(const keys::Key& key, const v1::ListEditsRequest& request,
                             v1::ListEditsResponse* answer) const {
  if (store == nullptr) return NoEdits();
  absl::StatusOr<std::vector<edits::EditInfo>> infos = store->List(key, request.model());
  if (!infos.ok()) return infos.status();
  for (const edits::EditInfo& info : *infos) Encode(info, answer->add_edits());
  const edits::EditStore::Limits limits = store->limits();
  answer->set_quota_bytes(limits.key_bytes);
  answer->set_quota_edits(limits.key_edits);
  return absl::OkStatus();
}

absl::Status EditCalls::Get(const keys::Key& key, const v1::GetEditRequest& request,
                            v1::GetEditResponse* answer) const {
  if (store == nullptr) return NoEdits();
  absl::StatusOr<edits::EditStore::Edit> edit =
      store->Get(key, request.model(), request.name(), request.version());
  if (!edit.ok()) return edit.status();
  if (absl::Status parsed = Parse(*edit, answer->mutable_program()); !parsed.ok()) return parsed;
  absl::StatusOr<graph::Program> program = graph::DecodeProgram(answer->program());
  if (!program.ok()) return program.status();
  Encode(edit->info, answer->mutable_edit());
  answer->set_text(graph::PrintProgram(*program, kShownElements));
  return absl::OkStatus();
}

absl::Status EditCalls::Delete(const keys::Key& key, const v1::DeleteEditRequest& request,
                               v1::DeleteEditResponse* answer) const {
  if (store == nullptr) return NoEdits();
  absl::StatusOr<uint64_t> deleted =
      store->Delete(key, request.model(), request.name(), request.version());
  if (!deleted.ok()) return deleted.status();
  answer->set_deleted(*deleted);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const graph::EditedProgram>> EditCalls::Apply(
    const keys::Key& key, const std::string& model, const v1::RunOptions& options,
    const graph::Program& program) const {
  if (options.edits().empty()) return nullptr;
  if (store == nullptr) return NoEdits();
  if (static_cast<size_t>(options.edits_size()) > graph::kMaxEditsOfRun) {
    return absl::InvalidArgumentError(absl::StrCat("a run has at most ", graph::kMaxEditsOfRun,
                                                   " edits, not ", options.edits_size()));
  }
  if (absl::Status found = engine->GetModel(model).status(); !found.ok()) return found;
  std::vector<graph::EditedProgram::NamedProgram> applied;
  uint64_t bytes = 0;
  for (const std::string& text : options.edits()) {
    absl::StatusOr<graph::EditName> name = graph::ParseEditName(text);
    if (!name.ok()) return name.status();
    absl::StatusOr<edits::EditStore::Edit> edit = store->Get(key, model, name->name, name->version);
    if (!edit.ok()) return edit.status();
    bytes += edit->program.size();
    if (bytes > request_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the edits of this run have more than ", request_bytes,
                       " bytes together, as many as a request may have (--max-request-bytes)"));
    }
    v1::Program message;
    if (absl::Status parsed = Parse(*edit, &message); !parsed.ok()) return parsed;
    absl::StatusOr<graph::Program> decoded = graph::DecodeProgram(message);
    if (!decoded.ok()) return decoded.status();
    const graph::EditName exact{name->name, edit->info.version};
    applied.push_back({exact.ToString(), *std::move(decoded)});
  }
  return graph::EditedProgram::Make(program, std::move(applied), LimitsOf(*engine));
}

EventSink ExplainingSink(std::shared_ptr<const graph::EditedProgram> edited, EventSink sink) {
  return [edited = std::move(edited), sink = std::move(sink)](Event event) {
    if (auto* accepted = std::get_if<Accepted>(&event)) {
      for (graph::Error& warning : accepted->warnings) warning = edited->Explain(warning);
    } else if (auto* line = std::get_if<LogLine>(&event)) {
      line->node = edited->Before(line->node);
    } else if (auto* missing = std::get_if<Missing>(&event)) {
      missing->reason = edited->Explain(missing->reason);
    } else if (auto* failed = std::get_if<Failed>(&event)) {
      failed->error = edited->Explain(failed->error);
    }
    sink(std::move(event));
  };
}

}  // namespace weft::server
