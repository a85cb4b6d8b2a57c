// What a trace would give, and a call of the model without one.
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/graph/value.h"
#include "weft/model.h"

namespace weft {
namespace {

/// Fill in dtype and shape from `float32[1, 9, 48]`; leave them where the type is another one.
void ParseTensorType(const std::string& type, ScanResult::Save* save) {
  const size_t open = type.find('[');
  if (open == std::string::npos || open == 0 || type.back() != ']') return;
  const absl::StatusOr<graph::DType> dtype = graph::ParseDType(type.substr(0, open));
  if (!dtype.ok()) return;
  Shape shape;
  const std::string sizes = type.substr(open + 1, type.size() - open - 2);
  int64_t elements = 1;
  for (absl::string_view size : absl::StrSplit(sizes, ',', absl::SkipWhitespace())) {
    int64_t value = 0;
    size = absl::StripLeadingAsciiWhitespace(size);
    absl::ConsumePrefix(&size, "at most ");
    if (!absl::SimpleAtoi(size, &value) || value < 0) return;
    shape.push_back(value);
    elements *= value;
  }
  save->dtype = static_cast<DType>(*dtype);
  save->shape = std::move(shape);
  save->bytes = static_cast<uint64_t>(elements * graph::SizeOf(*dtype));
}

absl::StatusOr<ScanResult> ToScan(absl::StatusOr<ValidationReport> report) {
  if (!report.ok()) return report.status();
  ScanResult scan;
  for (ValidationReport::SavedType& saved : report->saves) {
    ScanResult::Save save{.name = std::move(saved.name), .type = std::move(saved.type)};
    ParseTensorType(save.type, &save);
    scan.saves.push_back(std::move(save));
  }
  scan.warnings = std::move(report->warnings);
  scan.cost = report->estimate;
  return scan;
}

}  // namespace

absl::StatusOr<ScanResult::Save> ScanResult::Get(const std::string& name) const {
  for (const Save& save : saves) {
    if (save.name == name) return save;
  }
  return absl::NotFoundError(absl::StrCat("the trace saves nothing under the name ", name));
}

absl::StatusOr<ScanResult> LanguageModel::Scan(const Input& input, absl::FunctionRef<void()> body,
                                               const TraceOptions& options, Location where) const {
  return ToScan(Validate(input, body, options, where));
}

absl::StatusOr<ScanResult> LanguageModel::Scan(absl::FunctionRef<void(Tracer&)> body,
                                               const TraceOptions& options, Location where) const {
  return ToScan(Validate(body, options, where));
}

absl::StatusOr<ScanResult> LanguageModel::Scan(absl::FunctionRef<void(weft::Session&)> body,
                                               const TraceOptions& options, Location where) const {
  return ToScan(Validate(body, options, where));
}

absl::StatusOr<Tensor> LanguageModel::operator()(const Input& input, const TraceOptions& options,
                                                 Location where) const {
  Saved<Tensor> logits;
  const absl::StatusOr<RunResult> run = Trace(
      input, [&] { logits = result(where).save("_result", where); }, options, where);
  if (!run.ok()) return run.status();
  return logits.value();
}

}  // namespace weft
