#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "weft/tensor.h"

namespace weft {
namespace {

// torch's defaults.
constexpr int64_t kSummarizeAbove = 1000;
constexpr int64_t kEdgeItems = 3;
constexpr int kLineWidth = 80;

std::string Format(const char* format, double number) {
  char text[400];  // %.4f of the largest double has 314 characters
  std::snprintf(text, sizeof(text), format, number);
  return text;
}

/// Prints one tensor: its elements in one format and width, as torch does.
class Printer {
 public:
  explicit Printer(const Tensor& tensor)
      : tensor_(tensor), summarize_(tensor.numel() > kSummarizeAbove) {
    Visit(0, 0, [this](int64_t offset) { Measure(offset); });
    if (!integral_ && lowest_ > 0 &&
        (highest_ / lowest_ > 1000 || highest_ > 1e8 || lowest_ < 1e-4)) {
      format_ = "%.4e";
    } else if (integral_) {
      format_ = highest_ > 1e8 ? "%.4e" : "%.0f.";
    }
    Visit(0, 0, [this](int64_t offset) {
      width_ = std::max(width_, static_cast<int>(Element(offset).size()));
    });
  }

  std::string Print() const {
    std::string text = "tensor(";
    if (tensor_.numel() == 0) {
      text += "[]";
    } else {
      Append(0, 0, static_cast<int>(text.size()), &text);
    }
    const DType dtype = tensor_.dtype();
    if (dtype != kFloat32 && dtype != kInt64 && dtype != kBool) {
      absl::StrAppend(&text, ", dtype=", ToString(dtype));
    }
    if (summarize_ || tensor_.numel() == 0) {
      absl::StrAppend(&text, ", size=[", absl::StrJoin(tensor_.shape(), ", "), "]");
    }
    return text + ")";
  }

 private:
  bool IsFloating() const { return tensor_.dtype() >= kFloat16; }

  /// Indices of `dimension` that are shown; -1 stands for those left out.
  std::vector<int64_t> Shown(int64_t dimension) const {
    const int64_t size = tensor_.shape()[dimension];
    std::vector<int64_t> shown;
    for (int64_t i = 0; i < size; ++i) {
      if (summarize_ && size > 2 * kEdgeItems && i == kEdgeItems) {
        shown.push_back(-1);
        i = size - kEdgeItems;
      }
      shown.push_back(i);
    }
    return shown;
  }

  template <typename F>
  void Visit(int64_t dimension, int64_t offset, F visit) const {
    if (tensor_.numel() == 0) return;
    if (dimension == tensor_.dim()) return visit(offset);
    for (int64_t i : Shown(dimension)) {
      if (i >= 0) Visit(dimension + 1, offset * tensor_.shape()[dimension] + i, visit);
    }
  }

  void Measure(int64_t offset) {
    if (!IsFloating()) return;
    const double number = std::fabs(tensor_.NumberAt(offset));
    if (!std::isfinite(number)) return;
    if (number != std::nearbyint(number)) integral_ = false;
    if (number == 0) return;
    highest_ = std::max(highest_, number);
    lowest_ = lowest_ == 0 ? number : std::min(lowest_, number);
  }

  std::string Number(double number) const {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    return Format(format_, number);
  }

  std::string Element(int64_t offset) const {
    switch (tensor_.dtype()) {
      case DType::kBool:
        return tensor_.NumberAt(offset) != 0 ? "True" : "False";
      case DType::kInt64:
        return absl::StrCat(tensor_.span<int64_t>()[offset]);
      case DType::kComplex64:
      case DType::kComplex128: {
        const Tensor wide = tensor_.to(kComplex128);
        const std::complex<double> number = wide.span<std::complex<double>>()[offset];
        return absl::StrCat(Number(number.real()), number.imag() < 0 ? "-" : "+",
                            Number(std::fabs(number.imag())), "j");
      }
      default:
        return IsFloating() ? Number(tensor_.NumberAt(offset))
                            : absl::StrCat(static_cast<int64_t>(tensor_.NumberAt(offset)));
    }
  }

  std::string Padded(int64_t offset) const {
    const std::string element = Element(offset);
    return std::string(std::max<int>(0, width_ - static_cast<int>(element.size())), ' ') + element;
  }

  void Append(int64_t dimension, int64_t offset, int indent, std::string* text) const {
    if (dimension == tensor_.dim()) {
      *text += Element(offset);
      return;
    }
    const bool last = dimension + 1 == tensor_.dim();
    const int per_line = std::max(1, (kLineWidth - indent) / (width_ + 2));
    const std::string line = "\n" + std::string(indent + 1, ' ');
    const std::string between =
        last ? ", " : "," + std::string(tensor_.dim() - dimension - 2, '\n') + line;
    *text += "[";
    int column = 0;
    for (int64_t i : Shown(dimension)) {
      if (column > 0) *text += last && column % per_line == 0 ? "," + line : between;
      ++column;
      if (i < 0) {
        *text += "...";
      } else if (last) {
        *text += Padded(offset * tensor_.shape()[dimension] + i);
      } else {
        Append(dimension + 1, offset * tensor_.shape()[dimension] + i, indent + 1, text);
      }
    }
    *text += "]";
  }

  const Tensor& tensor_;
  const bool summarize_;
  bool integral_ = true;
  double lowest_ = 0, highest_ = 0;
  const char* format_ = "%.4f";
  int width_ = 0;
};

}  // namespace

std::string Tensor::ToString() const { return Printer(*this).Print(); }

}  // namespace weft
