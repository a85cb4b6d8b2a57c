#include "tests/exported/archive_engine.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "engine/graph/text.h"
#include "engine/plan/planner.h"

namespace weft::testing {
namespace {

void AddLeaves(const std::string& name, const graph::HostValue& value,
               std::map<std::string, at::Tensor>& out) {
  if (const auto* tensor = std::get_if<graph::HostTensor>(&value.value)) {
    out[name] = at::from_blob(const_cast<char*>(tensor->data), tensor->shape,
                              at::TensorOptions().dtype(plan::ToScalarType(tensor->dtype)))
                    .clone();
  } else if (const auto* tuple = std::get_if<graph::HostValue::Tuple>(&value.value)) {
    for (size_t i = 0; i < tuple->items.size(); ++i) {
      AddLeaves(absl::StrCat(name, "/", i), tuple->items[i], out);
    }
  } else if (const auto* list = std::get_if<graph::HostValue::List>(&value.value)) {
    for (size_t i = 0; i < list->items.size(); ++i) {
      AddLeaves(absl::StrCat(name, "/", i), list->items[i], out);
    }
  } else if (const auto* dict = std::get_if<graph::HostValue::Dict>(&value.value)) {
    for (const auto& [key, item] : dict->entries) {
      AddLeaves(absl::StrCat(name, "/", key), item, out);
    }
  }
}

}  // namespace

std::string ArchivePath(const std::string& name) {
  return absl::StrCat(WEFT_SOURCE_DIR, "/tests/exported/archives/", name, ".pt2");
}

std::string ConstantText(const std::string& name, const at::Tensor& tensor) {
  const bool integers = !tensor.is_floating_point();
  std::vector<std::string> elements;
  const at::Tensor flat = tensor.flatten().to(integers ? at::kLong : at::kDouble);
  for (int64_t i = 0; i < flat.numel(); ++i) {
    elements.push_back(integers ? absl::StrCat(flat[i].item<int64_t>())
                                : absl::StrFormat("%.9g", flat[i].item<double>()));
  }
  return absl::StrCat("%", name, " = tensor(", integers ? "int64" : "float32", ", [",
                      absl::StrJoin(tensor.sizes(), ", "), "], [", absl::StrJoin(elements, ", "),
                      "])\n");
}

at::Tensor ArchiveEngine::Result::operator[](const std::string& name) const {
  const auto found = saved.find(name);
  if (found != saved.end()) return found->second;
  ADD_FAILURE() << "nothing was saved as " << name << ": " << status;
  return {};
}

ArchiveEngine::ArchiveEngine(const std::string& path) {
  EngineOptions options;
  options.threads = 1;
  engine_ = Engine::Create(options).value();
  if (absl::Status loaded = engine_->LoadModel("exported", path); !loaded.ok()) {
    std::fprintf(stderr, "cannot host %s: %s\n", path.c_str(), loaded.ToString().c_str());
    std::abort();
  }
  info_ = engine_->GetModel("exported").value();
}

ArchiveEngine::Result ArchiveEngine::Run(const std::string& text) {
  Result result;
  absl::StatusOr<graph::Program> program = graph::ParseProgram(text);
  if (!program.ok()) {
    result.status = program.status();
    return result;
  }
  RunOptions options;
  options.access.weights = true;
  absl::Notification ended;
  absl::StatusOr<std::shared_ptr<Job>> job =
      engine_->Submit("exported", *std::move(program), options, [&](Event event) {
        if (auto* saved = std::get_if<weft::Result>(&event)) {
          AddLeaves(saved->name, saved->value, result.saved);
        }
        if (auto* missing = std::get_if<Missing>(&event)) {
          result.status = graph::ToStatus(missing->reason);
        }
        if (auto* failed = std::get_if<Failed>(&event)) {
          result.status = graph::ToStatus(failed->error);
          ended.Notify();
        }
        if (std::holds_alternative<Completed>(event)) ended.Notify();
      });
  if (!job.ok()) {
    result.status = job.status();
    return result;
  }
  ended.WaitForNotification();
  return result;
}

}  // namespace weft::testing
