#include "engine/models/moe.h"

#include <utility>
#include <vector>

#include "engine/kernels/linear.h"
#include "engine/run/op_tap.h"
#include "engine/run/pass.h"

namespace weft::models {
namespace {

/// Which experts rows go to, and their shares: `[rows, experts_per_token]`.
struct Routes {
  at::Tensor experts, shares;
};

/// Routes by segment, from the router to the experts.
struct AllRoutes {
  std::vector<std::pair<const run::Segment*, Routes>> of;
  Routes without;  // of a call out of band, where there are no segments
};

/// transformers: MixtralTopKRouter.
class TopKRouterImpl : public Module {
 public:
  TopKRouterImpl(LlamaMaker& make, const std::string& name)
      : type_(absl::StrCat(make.config().prefix, "TopKRouter")),
        weight_(make.Weight(absl::StrCat(name, ".weight"),
                            {make.config().experts, make.config().hidden_size})) {}
  at::Tensor forward(run::Pass&, at::Tensor x) override { return kernels::Linear(x, weight_, {}); }
  std::string type() const override { return type_; }
  run::OutputForm form() const override {
    return {.kind = run::OutputForm::Kind::kTuple, .nones = 2};
  }
  bool rowwise() const override { return true; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override {
    return {{"weight", weight_}};
  }

 private:
  const std::string type_;
  const at::Tensor weight_;
};

/// transformers: MixtralExperts.
class ExpertsImpl : public Module {
 public:
  ExpertsImpl(LlamaMaker& make, const std::string& name)
      : type_(absl::StrCat(make.config().prefix, "Experts")) {
    const LlamaConfig& config = make.config();
    const int64_t inner = config.expert_size, outer = config.hidden_size;
    gate_up_ = make.Weight(absl::StrCat(name, ".gate_up_proj"), {config.experts, 2 * inner, outer});
    down_ = make.Weight(absl::StrCat(name, ".down_proj"), {config.experts, outer, inner});
    act_ = Own("act_fn", make.Activation());
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    // Which operators there are depends on the tokens, so none of them is a site.
    const run::OpTap::Pause pause;
    const Routes routes = Find(pass);
    const at::Tensor rows = x.reshape({-1, x.size(-1)});
    at::Tensor sum = at::zeros_like(rows);
    for (const Group& group : GroupsOf(routes.experts)) {
      const at::Tensor at_rows = Indices(group.rows, rows), at_places = Indices(group.places, rows);
      const std::vector<at::Tensor> parts = at::chunk(
          kernels::Linear(rows.index_select(0, at_rows), gate_up_[group.expert], {}), 2, -1);
      at::Tensor out = at::mul(act_->forward(pass, parts[0]), parts[1]);
      out = kernels::Linear(out, down_[group.expert], {});
      out = at::mul(out, routes.shares.index({at_rows, at_places}).unsqueeze(1));
      sum.index_add_(0, at_rows, out.to(sum.scalar_type()));
    }
    return sum.view(x.sizes());
  }
  std::string type() const override { return type_; }
  std::vector<std::pair<std::string, at::Tensor>> parameters() const override {
    return {{"gate_up_proj", gate_up_}, {"down_proj", down_}};
  }

 private:
  /// The rows of one expert, each with its place among the row's choices.
  struct Group {
    int64_t expert;
    std::vector<int64_t> rows, places;
  };

  Routes Find(run::Pass& pass) const {
    const auto* all = static_cast<const AllRoutes*>(pass.LeftFor(this).get());
    TORCH_CHECK(all != nullptr,
                "experts are called with what a router chose; call the block around them");
    if (pass.present().empty()) return all->without;
    std::vector<at::Tensor> experts, shares;
    for (const run::Segment* segment : pass.present()) {
      for (const auto& [own, routes] : all->of) {
        if (own != segment) continue;
        experts.push_back(routes.experts);
        shares.push_back(routes.shares);
      }
    }
    return {at::cat(experts, 0), at::cat(shares, 0)};
  }

  std::vector<Group> GroupsOf(const at::Tensor& experts) const {
    std::vector<Group> all(static_cast<size_t>(gate_up_.size(0)));
    const at::Tensor on_cpu = experts.cpu().contiguous();
    const int64_t* chosen = on_cpu.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < on_cpu.size(0); ++row) {
      for (int64_t place = 0; place < on_cpu.size(1); ++place) {
        Group& group = all[static_cast<size_t>(*chosen++)];
        group.rows.push_back(row);
        group.places.push_back(place);
      }
    }
    std::vector<Group> groups;
    for (size_t expert = 0; expert < all.size(); ++expert) {
      if (all[expert].rows.empty()) continue;
      all[expert].expert = static_cast<int64_t>(expert);
      groups.push_back(std::move(all[expert]));
    }
    return groups;
  }

  static at::Tensor Indices(const std::vector<int64_t>& values, const at::Tensor& like) {
    return at::tensor(values, at::kLong).to(like.device());
  }

  const std::string type_;
  at::Tensor gate_up_, down_;
  ActivationImpl* act_ = nullptr;
};

class SparseMoeBlockImpl : public Module {
 public:
  SparseMoeBlockImpl(LlamaMaker& make, const std::string& name)
      : type_(absl::StrCat(make.config().prefix, "SparseMoeBlock")),
        per_token_(make.config().experts_per_token),
        normed_(make.config().normed_probs),
        in_float_(make.config().probs_in_float) {
    auto gate = std::make_unique<TopKRouterImpl>(make, absl::StrCat(name, ".gate"));
    auto experts = std::make_unique<ExpertsImpl>(make, absl::StrCat(name, ".experts"));
    if (make.config().gate_first) gate_ = Own("gate", std::move(gate));
    experts_ = Own("experts", std::move(experts));
    if (gate_ == nullptr) gate_ = Own("gate", std::move(gate));
  }

  at::Tensor forward(run::Pass& pass, at::Tensor x) override {
    const at::Tensor logits = Call(pass, *gate_, x);
    const at::Tensor probs = at::softmax(logits, -1, at::kFloat);
    auto [shares, experts] = at::topk(probs, per_token_, -1);
    if (normed_) shares = at::div(shares, at::sum(shares, {-1}, /*keepdim=*/true));
    if (!in_float_) shares = shares.to(logits.scalar_type());
    Leave(pass, experts, shares);
    return Call(pass, *experts_, std::move(x));
  }
  std::string type() const override { return type_; }
  bool rowwise() const override { return true; }

 private:
  void Leave(run::Pass& pass, const at::Tensor& experts, const at::Tensor& shares) const {
    const run::OpTap::Pause pause;
    auto all = std::make_shared<AllRoutes>();
    const auto rows = [&](const at::Tensor& packed) { return packed.flatten(0, -2); };
    if (pass.present().empty()) all->without = {rows(experts), rows(shares)};
    for (const run::Segment* segment : pass.present()) {
      const auto own = [&](const at::Tensor& packed) {
        return rows(packed.narrow(1, segment->start, segment->rows()));
      };
      all->of.emplace_back(segment, Routes{own(experts), own(shares)});
    }
    pass.LeftFor(experts_) = std::move(all);
  }

  const std::string type_;
  const int64_t per_token_;
  const bool normed_, in_float_;
  TopKRouterImpl* gate_ = nullptr;
  ExpertsImpl* experts_ = nullptr;
};

}  // namespace

std::unique_ptr<Module> MakeSparseMoe(LlamaMaker& make, const std::string& name) {
  return std::make_unique<SparseMoeBlockImpl>(make, name);
}

}  // namespace weft::models
