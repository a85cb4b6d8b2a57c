#include "absl/time/time.h"
#include "server/config/config.h"
#include "server/config/sources.h"

namespace weft::server {

TlsFiles MakeTlsFiles(const Config& config) {
  return {config.tls_cert(), config.tls_key(), config.tls_client_ca()};
}

EngineOptions MakeEngineOptions(const Config& config) {
  EngineOptions options;
  options.threads = static_cast<int>(config.threads());
  Limits& limits = options.limits;
  limits.nodes = config.max_nodes();
  limits.constant_bytes = *ParseBytes(config.max_constant_bytes());
  limits.value_elements = config.max_value_elements();
  limits.result_bytes = *ParseBytes(config.max_result_bytes());
  limits.peak_bytes = *ParseBytes(config.max_peak_bytes());
  limits.operator_seconds = config.max_operator_seconds();
  limits.pass_tokens = config.max_pass_tokens();
  return options;
}

ServerOptions MakeServerOptions(const Config& config) {
  ServerOptions options;
  options.listen = config.listen();
  options.tls = MakeTlsFiles(config);
  options.insecure = config.insecure();
  options.reflection = config.reflection();
  options.request_bytes = *ParseBytes(config.max_request_bytes());
  options.max_runs = config.max_runs();
  options.max_pending_bytes = *ParseBytes(config.max_pending_bytes());
  options.slow_reader_timeout = absl::Seconds(config.slow_reader_timeout());
  options.blobs.total_bytes = *ParseBytes(config.max_blob_bytes());
  options.blobs.key_bytes = *ParseBytes(config.max_key_blob_bytes());
  options.blobs.time_to_live = absl::Hours(24) * config.blob_days();
  options.edits.total_bytes = *ParseBytes(config.max_edit_bytes());
  options.edits.key_bytes = *ParseBytes(config.max_key_edit_bytes());
  options.edits.key_edits = config.max_key_edits();
  options.canary.period = absl::Seconds(config.canary_seconds());
  options.canary.timeout = absl::Seconds(config.canary_timeout_seconds());
  return options;
}

}  // namespace weft::server
