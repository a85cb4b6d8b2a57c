#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/run/op_tap.h"
#include "engine/run/pass.h"

namespace weft::models {

/// The sizes of a linear module, `y = x W^T`.
struct LinearShape {
  int64_t in = 0, out = 0;
};

/// A module of a hosted network, named as in transformers' tree. It computes one tensor from one
/// tensor of packed rows, `[1, rows, ...]`; what else transformers returns beside it (such as the
/// `None` in attention's tuple) is told by `form`. One of several tensors says so there, ends with
/// `return pass.Return(first, {others...})`, and is called by CallSeveral.
///
/// Nothing in a forward may write into a tensor that was offered at a site (its input, its output,
/// a child's input or output), and children are called through Call alone. A block that adds its
/// input to its output gets the tapped input: Call taps before it calls forward.
class Module {
 public:
  virtual ~Module() = default;

  virtual at::Tensor forward(run::Pass& pass, at::Tensor x) = 0;
  /// The class's name in transformers or torch: `GPT2Block`.
  virtual std::string type() const = 0;
  /// As torch's extra_repr: `in_features=32, out_features=96`.
  virtual std::string detail() const { return ""; }
  virtual run::OutputForm form() const { return {}; }
  /// Every row by itself: can be called out of band on any leading dimensions.
  virtual bool rowwise() const { return false; }
  /// It returns with rows pooled (run::Pass::Pool).
  virtual bool pools() const { return false; }
  /// It returned a tuple, whose first item is its tensor, in older versions of transformers.
  virtual bool former_tuple() const { return false; }
  /// Of a module whose input is integers: they lie in [0, input_range). 0 for others.
  virtual int64_t input_range() const { return 0; }

  /// Of a linear module, whose output adapters may change (run::Adapt).
  virtual std::optional<LinearShape> linear_shape() const { return std::nullopt; }

  /// Whether it computes packed rows in `forward`. One that does not is met through CallAsRoot, and
  /// offers its sites, and those of its children, itself.
  virtual bool packs() const { return true; }
  /// Of one that does not pack: run it as a pass's root.
  virtual void CallAsRoot(run::Pass& /*pass*/) {}
  /// Why it cannot be called by itself, out of band or as the root of a trace; empty where it can.
  virtual std::string why_not_alone() const { return ""; }
  /// Why its input or output is no site, where its forward runs all the same.
  virtual std::string why_no_site(bool /*input*/) const { return ""; }

  /// Weights that programs may read, beside those of Network::parameters.
  virtual std::vector<std::pair<std::string, at::Tensor>> parameters() const { return {}; }

  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  /// Where it computes, and its weights lie.
  at::Device device() const { return device_; }
  /// What it returns goes on where it is: a block of a model whose blocks lie on several devices,
  /// or what holds them. What others return goes back to where their input came from.
  bool hands_on() const { return hands_on_; }
  void Place(at::Device device, bool hands_on) {
    device_ = device;
    hands_on_ = hands_on;
  }

  int input_tap() const { return tap_; }
  int output_tap() const { return tap_ + 1; }
  void SetTap(int tap) { tap_ = tap; }

 protected:
  /// Add a child; the order is the tree's.
  template <typename T>
  T* Own(std::string name, std::unique_ptr<T> child) {
    T* raw = child.get();
    children_.emplace_back(std::move(name), raw);
    owned_.push_back(std::move(child));
    return raw;
  }

 private:
  int tap_ = 0;
  at::Device device_ = at::kCPU;
  bool hands_on_ = false;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::unique_ptr<Module>> owned_;
};

/// Run a child's forward, with whoever listens inside it.
template <typename Child, typename... Tensors>
at::Tensor Forward(run::Pass& pass, Child& child, Tensors&&... tensors) {
  pass.CountCall();
  if (pass.inside() != nullptr) [[unlikely]] {
    const run::OpTap::Scope scope(*pass.inside(), child.input_tap() / 2);
    return child.forward(pass, std::forward<Tensors>(tensors)...);
  }
  return child.forward(pass, std::forward<Tensors>(tensors)...);
}

/// While a child is called whose device may be another than its caller's.
class Visit {
 public:
  Visit(const run::Pass& pass, const Module& child, at::Tensor& x) : child_(child) {
    if (pass.placed() && x.device() != child.device()) [[unlikely]] {
      const run::OpTap::Pause pause;
      from_ = x.device();
      moves_ = true;
      x = x.to(child.device());
    }
  }
  /// What the child returned, where its caller goes on with it.
  at::Tensor Return(at::Tensor x) const {
    if (!moves_ || child_.hands_on()) [[likely]] {
      return x;
    }
    const run::OpTap::Pause pause;
    return x.to(from_);
  }

 private:
  const Module& child_;
  at::Device from_ = at::kCPU;
  bool moves_ = false;
};

/// As Call, but that what the child returned behind its first tensor is left in the pass.
inline at::Tensor CallOnly(run::Pass& pass, Module& child, at::Tensor x) {
  const Visit visit(pass, child, x);
  pass.Tap(child.input_tap(), x);
  if (pass.HasSkips()) [[unlikely]] {
    x = pass.CallPartly(child.output_tap(), std::move(x), child.pools(),
                        [&](at::Tensor rest) { return Forward(pass, child, std::move(rest)); });
  } else {
    x = Forward(pass, child, std::move(x));
  }
  if (!pass.done()) [[likely]] {
    pass.Tap(child.output_tap(), x);
  }
  return visit.Return(std::move(x));
}

/// Call a child: where its input and output can be read, replaced, or the call be skipped. Costs a
/// bit test at each side where nobody listens.
inline at::Tensor Call(run::Pass& pass, Module& child, at::Tensor x) {
  x = CallOnly(pass, child, std::move(x));
  if (pass.HasFurther()) [[unlikely]] {
    pass.TakeFurther();
  }
  return x;
}

/// Call a child that returns several tensors: all of them, as they are after whoever changed them.
inline std::vector<at::Tensor> CallSeveral(run::Pass& pass, Module& child, at::Tensor x) {
  pass.TakeFurther();
  std::vector<at::Tensor> all = {CallOnly(pass, child, std::move(x))};
  for (at::Tensor& tensor : pass.TakeFurther()) all.push_back(std::move(tensor));
  return all;
}

/// Call a child that takes two tensors: `x`, its input, and what else it adds to that.
template <typename Child>
at::Tensor CallWith(run::Pass& pass, Child& child, at::Tensor x, at::Tensor other) {
  const Visit visit(pass, child, x);
  const Visit visit_too(pass, child, other);
  pass.Tap(child.input_tap(), x);
  if (pass.HasSkips()) [[unlikely]] {
    std::vector<std::pair<const run::Segment*, int64_t>> starts;
    for (const run::Segment* segment : pass.present()) {
      starts.emplace_back(segment, segment->start);
    }
    x = pass.CallPartly(child.output_tap(), std::move(x), child.pools(), [&](at::Tensor rest) {
      std::vector<at::Tensor> rows;
      for (const auto& [segment, start] : starts) {
        if (segment->present) rows.push_back(other.narrow(1, start, segment->rows()));
      }
      return Forward(pass, child, std::move(rest), at::cat(rows, 1));
    });
  } else {
    x = Forward(pass, child, std::move(x), other);
  }
  if (!pass.done()) [[likely]] {
    pass.Tap(child.output_tap(), x);
  }
  return visit.Return(std::move(x));
}

}  // namespace weft::models
