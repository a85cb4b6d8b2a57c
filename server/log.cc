#include "server/log.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace weft::server {
namespace {

thread_local const LogFields* current_fields = nullptr;

std::string TimeOf(const spdlog::details::log_msg& message) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(message.time),
                          absl::UTCTimeZone());
}

std::string LevelOf(const spdlog::details::log_msg& message) {
  const spdlog::string_view_t name = spdlog::level::to_string_view(message.level);
  return {name.data(), name.size()};
}

template <class Text>
void AppendEscaped(const Text& text, std::string* out) {
  for (const char c : text) {
    if (absl::ascii_isprint(static_cast<unsigned char>(c))) {
      out->push_back(c);
    } else if (c == '\n') {
      *out += "\\n";
    } else {
      absl::StrAppendFormat(out, "\\x%02x", static_cast<unsigned char>(c));
    }
  }
}

bool IsPlain(const std::string& value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '=' && c != '\\';
  });
}

std::string ToJson(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

void Append(const std::string& text, spdlog::memory_buf_t* out) {
  out->append(text.data(), text.data() + text.size());
}

class TextFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    Append(absl::StrCat(TimeOf(message), " "), &out);
    message.color_range_start = out.size();
    Append(LevelOf(message), &out);
    message.color_range_end = out.size();
    std::string line = " ";
    AppendEscaped(message.payload, &line);
    if (current_fields != nullptr) {
      for (const LogField& field : *current_fields) {
        absl::StrAppend(&line, " ", field.name, "=");
        if (const auto* number = std::get_if<double>(&field.value)) {
          absl::StrAppend(&line, *number);
        } else {
          const auto& value = std::get<std::string>(field.value);
          absl::StrAppend(&line, IsPlain(value) ? value : ToJson(value));
        }
      }
    }
    line += "\n";
    Append(line, &out);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }
};

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    nlohmann::ordered_json line;
    line["time"] = TimeOf(message);
    line["level"] = LevelOf(message);
    line["message"] = std::string(message.payload.data(), message.payload.size());
    if (current_fields != nullptr) {
      for (const LogField& field : *current_fields) {
        std::visit([&](const auto& value) { line[field.name] = value; }, field.value);
      }
    }
    Append(ToJson(line) + "\n", &out);
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

void LogOfGrpc(gpr_log_func_args* args) {
  switch (args->severity) {
    case GPR_LOG_SEVERITY_ERROR:
      // What matters to an operator comes as a status; gRPC calls much an error that is none.
      spdlog::debug("gRPC: {}", args->message);
      return;
    case GPR_LOG_SEVERITY_INFO:
    case GPR_LOG_SEVERITY_DEBUG:
      spdlog::trace("gRPC: {}", args->message);
      return;
  }
}

}  // namespace

LogScope::LogScope(LogFields fields)
    : fields_(std::move(fields)), outer_(std::exchange(current_fields, &fields_)) {}

LogScope::~LogScope() { current_fields = outer_; }

std::unique_ptr<spdlog::formatter> MakeLogFormatter(const std::string& format) {
  if (format == "json") return std::make_unique<JsonFormatter>();
  return std::make_unique<TextFormatter>();
}

void SetUpLog(const std::string& level, const std::string& format) {
  auto logger = spdlog::stderr_color_mt("weftd");
  logger->set_formatter(MakeLogFormatter(format));
  logger->set_level(spdlog::level::from_str(level));
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(LogOfGrpc);
}

}  // namespace weft::server
