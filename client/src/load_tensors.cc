#include "weft/load_tensors.h"

#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/weights/safetensors.h"

namespace weft {
namespace {

/// The format's names, by the numbers of DType.
constexpr const char* kNames[] = {"",    "BOOL", "U8",  "I8",  "I16", "I32", "I64",
                                  "F16", "BF16", "F32", "F64", "C64", "C128"};

}  // namespace

absl::StatusOr<std::map<std::string, Tensor>> LoadTensors(const std::string& path) {
  const auto file = weights::SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  std::map<std::string, Tensor> tensors;
  for (const weights::TensorEntry& entry : file->tensors()) {
    int dtype = 0;
    for (int i = 1; i < static_cast<int>(std::size(kNames)); ++i) {
      if (entry.dtype == kNames[i]) dtype = i;
    }
    if (dtype == 0) {
      return absl::UnimplementedError(absl::StrCat(path, ": the tensor ", entry.name,
                                                   " has the dtype ", entry.dtype,
                                                   ", which programs do not have"));
    }
    // Its own memory: the file may go, and its bytes need not be aligned.
    const auto bytes = file->Bytes(entry);
    auto owner = std::make_shared<std::unique_ptr<char[]>>(new char[bytes.size() + 1]);
    if (!bytes.empty()) std::memcpy(owner->get(), bytes.data(), bytes.size());
    const void* data = owner->get();
    auto tensor = Tensor::Wrap(static_cast<DType>(dtype), Shape(entry.shape), std::move(owner),
                               data, bytes.size());
    if (!tensor.ok()) return tensor.status();
    tensors.emplace(entry.name, *std::move(tensor));
  }
  return tensors;
}

}  // namespace weft
