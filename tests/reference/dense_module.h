#pragma once

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "engine/models/module.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {

/// Dense, as the engine hosts it.
class DenseImpl : public models::Module {
 public:
  DenseImpl(at::Tensor weight, at::Tensor bias)
      : weight_(std::move(weight)), bias_(std::move(bias)) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override { return Dense(x, weight_, bias_); }
  std::string type() const override { return "Dense"; }
  bool rowwise() const override { return true; }

 private:
  const at::Tensor weight_, bias_;
};

/// A table of vectors, by token or by position.
class TableImpl : public models::Module {
 public:
  explicit TableImpl(at::Tensor rows) : rows_(std::move(rows)) {}
  at::Tensor forward(run::Pass&, at::Tensor ids) override { return at::embedding(rows_, ids); }
  std::string type() const override { return "Embedding"; }
  bool rowwise() const override { return true; }
  int64_t input_range() const override { return rows_.size(0); }

 private:
  const at::Tensor rows_;
};

/// The hosted model, or the end of the test program with the reason.
std::unique_ptr<models::HostedModel> HostOrDie(models::Network network);

}  // namespace weft::reference
