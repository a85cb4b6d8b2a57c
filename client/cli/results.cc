#include "client/cli/results.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/weights/safetensors.h"

namespace weft::cli {
namespace {

using nlohmann::json;

constexpr int64_t kFirstValues = 8;

/// Call `visit` with the name and value of each leaf: what is no structure.
void ForEachLeaf(const std::string& name, const Value& value,
                 const std::function<void(const std::string&, const Value&)>& visit) {
  const auto items = [&](const std::vector<Value>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      ForEachLeaf(absl::StrCat(name, ".", i), items[i], visit);
    }
  };
  if (const auto* list = value.FindAs<Value::List>()) return items(list->items);
  if (const auto* tuple = value.FindAs<Value::Tuple>()) return items(tuple->items);
  if (const auto* dict = value.FindAs<Value::Dict>()) {
    for (const auto& [key, entry] : dict->entries) {
      ForEachLeaf(absl::StrCat(name, ".", key), entry, visit);
    }
    return;
  }
  visit(name, value);
}

json Number(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return number;
}

/// The shortest number that is this float: 0.1, not 0.10000000149011612.
json Number(float number) {
  if (!std::isfinite(number)) return Number(static_cast<double>(number));
  char text[32];
  const char* end = std::to_chars(text, text + sizeof(text), number).ptr;
  double shortest = number;
  std::from_chars(text, end, shortest);
  return shortest;
}

json Elements(const Tensor& tensor) {
  json data = json::array();
  switch (tensor.dtype()) {
    case DType::kBool:
      for (bool element : tensor.span<bool>()) data.push_back(element);
      break;
    case DType::kFloat64:
      for (double element : tensor.span<double>()) data.push_back(Number(element));
      break;
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kFloat32:
      for (float element : tensor.ToVector<float>()) data.push_back(Number(element));
      break;
    case DType::kComplex64:
    case DType::kComplex128:
      for (const std::complex<double>& element : tensor.ToVector<std::complex<double>>()) {
        data.push_back({Number(element.real()), Number(element.imag())});
      }
      break;
    default:
      for (int64_t element : tensor.ToVector<int64_t>()) data.push_back(element);
  }
  return data;
}

/// The format's names, by the numbers of DType.
constexpr const char* kSafetensorsDTypes[] = {"",    "BOOL", "U8",  "I8",  "I16", "I32", "I64",
                                              "F16", "BF16", "F32", "F64", "C64", "C128"};
const char* SafetensorsDType(DType dtype) { return kSafetensorsDTypes[static_cast<int>(dtype)]; }

bool IsInteger(DType dtype) {
  return dtype == kUInt8 || dtype == kInt8 || dtype == kInt16 || dtype == kInt32 || dtype == kInt64;
}

std::string CodeName(absl::StatusCode code) { return absl::StatusCodeToString(code); }

}  // namespace

std::string Describe(const std::string& name, const Value& value) {
  std::string text;
  ForEachLeaf(name, value, [&text](const std::string& leaf, const Value& item) {
    const Tensor* tensor = item.FindAs<Tensor>();
    if (tensor == nullptr) {
      absl::StrAppend(&text, leaf, "  ", item.Type(), "  ", item.ToString(), "\n");
      return;
    }
    std::vector<std::string> first;
    for (int64_t i = 0; i < tensor->numel() && i < kFirstValues; ++i) {
      if (tensor->dtype() == kBool) {
        first.push_back(tensor->NumberAt(i) != 0 ? "True" : "False");
      } else if (tensor->dtype() == kInt64) {
        first.push_back(absl::StrCat(tensor->span<int64_t>()[i]));
      } else if (IsInteger(tensor->dtype())) {
        first.push_back(absl::StrCat(static_cast<int64_t>(tensor->NumberAt(i))));
      } else {
        first.push_back(absl::StrCat(tensor->NumberAt(i)));
      }
    }
    if (tensor->numel() > kFirstValues) first.push_back("...");
    absl::StrAppend(
        &text, leaf, "  ", item.Type(), "  ",
        tensor->dim() == 0 ? first[0] : absl::StrCat("[", absl::StrJoin(first, ", "), "]"), "\n");
  });
  return text;
}

absl::StatusOr<DType> DTypeOf(const std::string& safetensors_name) {
  for (size_t i = 1; i < std::size(kSafetensorsDTypes); ++i) {
    if (safetensors_name == kSafetensorsDTypes[i]) return static_cast<DType>(i);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("tensors of the dtype ", safetensors_name, " cannot be used in programs"));
}

json ToJson(const Value& value, bool with_data) {
  json object = {{"type", value.Kind()}};
  if (const auto* tensor = value.FindAs<Tensor>()) {
    object["dtype"] = ToString(tensor->dtype());
    object["shape"] = static_cast<const std::vector<int64_t>&>(tensor->shape());
    if (with_data) object["data"] = Elements(*tensor);
  } else if (const auto* blob = value.FindAs<Blob>()) {
    object["dtype"] = ToString(blob->dtype());
    object["shape"] = static_cast<const std::vector<int64_t>&>(blob->shape());
    object["sha256"] = blob->hash();
  } else if (const auto* list = value.FindAs<Value::List>()) {
    object["items"] = json::array();
    for (const Value& item : list->items) object["items"].push_back(ToJson(item, with_data));
  } else if (const auto* tuple = value.FindAs<Value::Tuple>()) {
    object["items"] = json::array();
    for (const Value& item : tuple->items) object["items"].push_back(ToJson(item, with_data));
  } else if (const auto* dict = value.FindAs<Value::Dict>()) {
    object["entries"] = json::object();
    for (const auto& [key, entry] : dict->entries) {
      object["entries"][key] = ToJson(entry, with_data);
    }
  } else if (const auto* boolean = value.FindAs<bool>()) {
    object["value"] = *boolean;
  } else if (const auto* integer = value.FindAs<int64_t>()) {
    object["value"] = *integer;
  } else if (const auto* floating = value.FindAs<double>()) {
    object["value"] = Number(*floating);
  } else if (const auto* text = value.FindAs<std::string>()) {
    object["value"] = *text;
  }
  return object;
}

json ToJson(const ErrorDetails& error) {
  json object = {{"code", CodeName(error.code)}, {"message", error.message}};
  if (error.node != 0) object["node"] = error.node;
  if (!error.statement.empty()) object["statement"] = error.statement;
  if (!error.file.empty()) object["file"] = error.file;
  if (error.line != 0) object["line"] = error.line;
  if (!error.hint.empty()) object["hint"] = error.hint;
  if (!error.site.empty()) object["site"] = error.site;
  if (error.retry_after_seconds > 0) object["retry_after_seconds"] = error.retry_after_seconds;
  return object;
}

json ToJson(const absl::Status& status) {
  return ToJson(GetError(status).value_or(ErrorDetails{absl::StatusCode::kOk}));
}

json ToJson(const RunCost& cost) {
  return {{"queue_seconds", cost.queue_seconds},
          {"run_seconds", cost.run_seconds},
          {"operator_seconds", cost.operator_seconds},
          {"tokens", cost.tokens},
          {"passes", cost.passes},
          {"result_bytes", cost.result_bytes},
          {"peak_bytes", cost.peak_bytes}};
}

json ToJson(const RunResult& result, bool with_data) {
  json object = {{"job_id", result.job_id},    {"fingerprint", result.fingerprint},
                 {"saves", json::object()},    {"missing", json::object()},
                 {"log", json::array()},       {"warnings", json::array()},
                 {"cost", ToJson(result.cost)}};
  for (const auto& [name, value] : result.saves) object["saves"][name] = ToJson(value, with_data);
  for (const auto& [name, reason] : result.missing) object["missing"][name] = ToJson(reason);
  if (!result.edits.empty()) object["edits"] = result.edits;
  for (const auto& entry : result.log) {
    object["log"].push_back({{"label", entry.label}, {"text", entry.text}});
  }
  for (const ErrorDetails& warning : result.warnings) {
    object["warnings"].push_back(ToJson(warning));
  }
  return object;
}

json ToJson(const ValidationReport& report) {
  json object = {{"fingerprint", report.fingerprint},
                 {"saves", json::object()},
                 {"warnings", json::array()},
                 {"estimate",
                  {{"tokens", report.estimate.tokens},
                   {"result_bytes", report.estimate.result_bytes},
                   {"peak_bytes", report.estimate.peak_bytes}}}};
  for (const auto& save : report.saves) object["saves"][save.name] = save.type;
  for (const ErrorDetails& warning : report.warnings) {
    object["warnings"].push_back(ToJson(warning));
  }
  return object;
}

absl::Status CheckWritable(const std::string& path) {
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path, ": ", why));
  };
  std::error_code error;
  std::filesystem::path file = std::filesystem::weakly_canonical(path, error);
  if (!error) file = std::filesystem::absolute(file, error);
  if (error) return refuse(error.message());
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error)) {
    return refuse("it is there and is not a regular file");
  }
  const std::string folder = file.parent_path().string();
  if (!std::filesystem::is_directory(folder, error)) {
    return refuse(absl::StrCat("there is no folder ", folder, "; make it first"));
  }
  // A new file there takes the place of the old one.
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return refuse(absl::StrCat("the folder ", folder, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status WriteResults(const std::string& path, const std::string& model,
                          const RunResult& result) {
  std::vector<weights::TensorToWrite> tensors;
  std::map<std::string, std::string> metadata = {{"weft.model", model},
                                                 {"weft.fingerprint", result.fingerprint}};
  for (const auto& [name, value] : result.saves) {
    ForEachLeaf(name, value, [&](const std::string& leaf, const Value& item) {
      const Tensor* tensor = item.FindAs<Tensor>();
      if (tensor == nullptr) {
        metadata[leaf] = ToJson(item, true).dump();
        return;
      }
      tensors.push_back(
          {leaf, SafetensorsDType(tensor->dtype()), tensor->shape(),
           absl::string_view(static_cast<const char*>(tensor->data()), tensor->bytes())});
    });
  }
  for (const auto& [name, reason] : result.missing) {
    metadata["missing." + name] = ToJson(reason).dump();
  }
  return weights::WriteSafetensors(path, tensors, metadata);
}

}  // namespace weft::cli
