#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/reference/values.h"

namespace weft::reference {

/// What is at the sites of the model, looked at by forwards in plain code.
class Sites : protected Values {
 protected:
  using Values::Values;

  c10::IValue Read(const graph::Site& site, NodeId n) {
    const NodeId invoke = program_.InvokeOf(n);
    const bool all = IsAllRows(invoke);
    if (site.point == Point::kRows) return Rows(invoke);
    if (graph::OfInvoke(site.point) && site.point != Point::kResult) {
      const auto pick = [&](NodeId of) {
        const Prompts prompts = InputOf(of);
        return site.point == Point::kIds    ? prompts.ids
               : site.point == Point::kMask ? prompts.mask
                                            : prompts.positions;
      };
      return all ? Together(invoke, pick) : pick(invoke);
    }
    if (site.point == Point::kResult && Generates(n)) return Generated(invoke);
    const Place place = PlaceOf(site);
    // Where its gradient is asked for the value is what the model goes on with from here.
    if (all && IsAsked(n, graph::kNoNode)) return Shown(place, Gathered(place.site, n));
    const auto leaf = [&](NodeId of) { return SiteLeaf(place.site, n, of); };
    return Shown(place, all ? Together(invoke, leaf) : leaf(invoke));
  }

  /// What has the gradient of a read of one invoke's rows: all rows together are made of it, and
  /// what the read's name means is made of those.
  c10::IValue PointOf(const graph::Site& site, NodeId n) {
    const Place place = PlaceOf(site);
    const Event* first = nullptr;
    for (const Event& event : Events()) {
      if (event.node == n) first = &event;
    }
    while (const Event* before = first == nullptr ? nullptr : AskedBefore(*first)) first = before;
    return Shown(place, SiteLeaf(place.site, first == nullptr ? n : first->node,
                                 program_.InvokeOf(n), Asking::kOwn));
  }

  /// Whose asking for gradients what is at a site has gone through.
  enum class Asking { kOwn, kAll };

  /// What is at a site for the rows of one invoke, as a statement sees it that is written at `at`.
  at::Tensor SiteLeaf(const std::string& site, NodeId at, NodeId invoke,
                      Asking asking = Asking::kAll) {
    at::Tensor leaf = FindSiteLeaf(site, at, invoke, asking);
    if (!leaf.defined()) throw Refused(at, "the site " + site + " is not visited");
    return leaf;
  }

  /// The tokens that an invoke chose at the end of a step, `[B]`.
  at::Tensor Chosen(NodeId invoke, int64_t step) {
    const InStep in(*this, step);
    const at::Tensor logits = SiteLeaf(".output", Count() + 1, invoke).select(1, -1);
    if (model_.rounded() && !IsBounded(logits)) {
      throw Unsupported("a token that is chosen from numbers beyond all bounds");
    }
    if (logits.isnan().any().item<bool>()) throw Refused(invoke, "there is no likeliest token");
    if (IsClose(logits)) throw Unsupported("two tokens that rounding chooses between");
    return logits.argmax(-1);
  }

  static bool IsOfModel(const graph::Site& site) {
    return !graph::OfInvoke(site.point) || site.point == Point::kResult;
  }

  void CheckIds(const at::Tensor& ids, NodeId n) const {
    if (ids.numel() == 0) return;
    if (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= model_.vocabulary()) {
      throw Refused(n, "a token that there is not");
    }
  }

 private:
  /// Whether a row's two largest are so near each other that rounding may swap or part them.
  static bool IsClose(const at::Tensor& logits) {
    constexpr double kNear = 1e-4;
    const at::Tensor best = std::get<0>(logits.topk(2, -1));
    const at::Tensor gap = at::sub(best.select(-1, 0), best.select(-1, 1));
    const at::Tensor near = logits.abs().amax(-1).mul(kNear);
    return gap.le(near).any().item<bool>();
  }
  /// What an invoke brings into this step.
  Prompts InputOf(NodeId invoke) {
    Prompts prompts = PromptsOf(invoke);
    prompts.generates = Generates(invoke);
    if (step_ == 0) return prompts;
    const at::Tensor ones = at::ones({prompts.ids.size(0), step_ - 1}, at::kLong);
    prompts.past = at::cat({prompts.mask, ones}, 1);
    prompts.ids = Chosen(invoke, step_ - 1).unsqueeze(1);
    prompts.mask = at::ones_like(prompts.ids);
    prompts.positions = prompts.past.sum(1, /*keepdim=*/true);
    return prompts;
  }
  /// All ids that a generation comes to.
  at::Tensor Generated(NodeId invoke) {
    std::vector<at::Tensor> ids = {PromptsOf(invoke).ids};
    for (int64_t step = 0; step < StepCount(invoke); ++step) {
      ids.push_back(Chosen(invoke, step).unsqueeze(1));
    }
    return at::cat(ids, 1);
  }

  /// For each row, which of the invokes it belongs to.
  at::Tensor Rows(NodeId invoke) {
    std::vector<at::Tensor> rows;
    for (const NodeId of : IsAllRows(invoke) ? InvokesBeside(invoke) : std::vector{invoke}) {
      rows.push_back(at::full({PromptsOf(of).ids.size(0)}, PlaceAmongInvokes(of), at::kLong));
    }
    return at::cat(rows);
  }

  // --- forwards

  /// Undefined where the site is not visited.
  at::Tensor FindSiteLeaf(const std::string& site, NodeId at, NodeId invoke,
                          Asking asking = Asking::kAll) {
    const auto key = std::tuple(site, at, invoke, asking, step_);
    if (const auto found = sites_.find(key); found != sites_.end()) return found->second;
    if (!looking_.insert(key).second) {
      throw Refused(at, "a value that is needed before it is there");
    }
    Looking looking(*this, site, at, invoke, asking);
    try {
      model_.Forward(InputOf(invoke), looking);
    } catch (const Found&) {
    } catch (...) {
      looking_.erase(key);
      throw;
    }
    looking_.erase(key);
    return sites_[key] = looking.value;
  }

  struct Found {};
  /// A forward as far as one site.
  struct Looking : Onlooker {
    Looking(Sites& of, std::string site, NodeId at, NodeId invoke, Asking asking)
        : of(of), site(std::move(site)), at(at), invoke(invoke), asking(asking) {}
    void Visit(const std::string& here, at::Tensor& there) override {
      const bool last = here == site;
      there = of.AfterWrites(here, there, last ? at : of.Count() + 1, invoke,
                             last ? asking : Asking::kAll);
      if (!last) return;
      value = there;
      throw Found();
    }
    std::optional<at::Tensor> Skip(const std::string& call) override {
      return of.Skipped(call, invoke);
    }
    std::vector<at::Tensor> Before(const std::string& where) override {
      std::vector<at::Tensor> before;
      for (int64_t step = 0; step < of.step_; ++step) {
        const InStep in(of, step);
        before.push_back(of.FindSiteLeaf(where, of.Count() + 1, invoke));
      }
      return before;
    }
    Sites& of;
    const std::string site;
    const NodeId at, invoke;
    const Asking asking;
    at::Tensor value;
  };

  std::optional<at::Tensor> Skipped(const std::string& call, NodeId invoke) {
    for (NodeId n = 1; n <= Count(); ++n) {
      const auto* skip = std::get_if<graph::Skip>(&program_.at(n).kind);
      if (skip == nullptr || !Concerns(n, invoke) || !Happens(n, step_)) continue;
      const std::string skipped =
          skip->visit == 0 ? skip->module : absl::StrCat(skip->module, "@", skip->visit);
      if (skipped != call || !IsActive(n)) continue;
      const at::Tensor value = LeafOf(Value(skip->value, n)).to(at::kFloat);
      const NodeId own = program_.InvokeOf(n);
      if (own == invoke) return value;
      std::vector<int64_t> alike = value.sizes().vec();
      alike[1] = std::min(alike[1], InputOf(invoke).ids.size(1));
      return RowsOf(value, own, invoke, alike);
    }
    return std::nullopt;
  }

  // --- what statements do at a site

  /// What a statement does at a site: it changes what is there, or asks for its gradient.
  struct Event {
    NodeId node;
    Place place;
    /// In place, of what is shown there; none where it only asks.
    std::function<void(const c10::IValue& whole)> change;
    /// The same as a value of its own, where the program goes backwards.
    std::function<at::Tensor(const at::Tensor& whole)> next;
    /// How many statements of the trace change the site before it.
    int version = 0;

    bool asks() const { return next == nullptr; }
  };

  /// All of them. Of a site in the order in which they happen: who asks comes before whoever
  /// changes the site next, and who asks for one invoke's before who asks for all rows.
  const std::vector<Event>& Events() {
    if (events_) return *events_;
    events_.emplace();
    std::map<std::pair<std::string, NodeId>, int> versions;
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.InvokeOf(n) == graph::kNoNode || !IsSeen(n)) continue;
      auto event = EventOf(n);
      if (!event) continue;
      int& version = versions[{event->place.site, TraceOf(n)}];
      event->version = event->asks() ? version : version++;
      events_->push_back(*std::move(event));
    }
    const auto order = [&](const Event& event) {
      return std::tuple(event.version, !event.asks(), IsAllRows(program_.InvokeOf(event.node)));
    };
    std::stable_sort(events_->begin(), events_->end(),
                     [&](const Event& a, const Event& b) { return order(a) < order(b); });
    return *events_;
  }
  NodeId TraceOf(NodeId n) const { return program_.at(program_.InvokeOf(n)).parent; }

  /// Whether an event is to be seen by what is written at `at` and looks at its site.
  bool IsBefore(const Event& event, NodeId at, Asking asking) {
    if (!event.asks()) return event.node < at;
    if (asking == Asking::kOwn && IsAllRows(program_.InvokeOf(event.node))) return false;
    // Who asks later asks for the same, until somebody changes the site.
    return std::none_of(Events().begin(), Events().end(), [&](const Event& change) {
      return !change.asks() && change.place.site == event.place.site && change.node >= at &&
             change.node < event.node && TraceOf(change.node) == TraceOf(event.node);
    });
  }

  std::optional<Event> EventOf(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* write = std::get_if<graph::Write>(&kind)) return EventOf(n, *write);
    const auto* asks = std::get_if<graph::Read>(&kind);
    if (asks != nullptr && IsOfModel(asks->site) && IsAsked(n, graph::kNoNode)) {
      return Event{n, PlaceOf(asks->site), nullptr, nullptr};
    }
    const auto changed = Changed(n);
    if (!changed) return std::nullopt;
    const NodeId target = changed->id;
    // Of an assignment only its place is written; an operator has none.
    const bool assigns = std::holds_alternative<graph::Assign>(kind);
    const auto terms = assigns ? changed->terms : std::vector<graph::IndexTerm>();
    const NodeId root = RootOf(target);
    const auto* read = std::get_if<graph::Read>(&program_.at(root).kind);
    if (read == nullptr || !IsOfModel(read->site)) return std::nullopt;
    // The ids of a generation are nothing that the model goes on with.
    if (read->site.point == Point::kResult && Generates(root)) return std::nullopt;
    Event event{n, PlaceOf(read->site), nullptr, nullptr};
    event.change = [=, this](const c10::IValue& whole) {
      const c10::IValue part = CutAlike(target, root, whole);
      const at::Tensor from = Index(Value(target, n + 1), terms, n).toTensor();
      Index(part, terms, n).toTensor().copy_(from);
    };
    const Place place = event.place;
    event.next = [=, this](const at::Tensor& whole) {
      const c10::IValue version = VersionAfter(root, n);
      // The very version, unless somebody else has changed the site since it was read.
      if (!IsChangedBetween(place.site, root, n)) return LeafOf(version);
      const c10::IValue part = CutAlike(target, root, Shown(place, LeafOf(PositionsIn(whole))));
      const at::Tensor from = Index(Value(target, n + 1), terms, n).toTensor();
      return Scatter(whole, Index(part, terms, n).toTensor(), from).toTensor();
    };
    return event;
  }

  std::optional<Event> EventOf(NodeId n, const graph::Write& write) {
    Event event{n, PlaceOf(write.site), nullptr, nullptr};
    event.change = [=, this](const c10::IValue& whole) {
      if (write.index.empty()) {
        Replace(whole, Value(write.value, n), n);
      } else {
        Assign(whole, Filled(write.index), write.value, n);
      }
    };
    const Place place = event.place;
    event.next = [=, this](const at::Tensor& whole) {
      const c10::IValue value = Value(write.value, n);
      const at::Tensor copy = whole.detach().clone();
      if (write.index.empty()) {
        Replace(Shown(place, copy), value, n);
        return LeafOf(value).to(whole.scalar_type()).clone();
      }
      const auto terms = Filled(write.index);
      AssignTo(Find(Shown(place, copy), terms, n), value.toTensor().detach());
      const c10::IValue positions = Shown(place, LeafOf(PositionsIn(whole)));
      return Scatter(whole, PositionsAt(positions, terms, n), value.toTensor()).toTensor();
    };
    return event;
  }

  static at::Tensor LeafOf(const c10::IValue& value) {
    const std::vector<at::Tensor> tensors = TensorsOf(value);
    if (tensors.empty()) throw std::invalid_argument("a value without a tensor");
    return tensors[0];
  }

  /// Whether another statement than the changes of `root` writes to these rows in between.
  bool IsChangedBetween(const std::string& site, NodeId root, NodeId n) {
    const NodeId own = program_.InvokeOf(root);
    for (const Event& event : Events()) {
      if (event.node <= root || event.node >= n || event.next == nullptr) continue;
      if (event.place.site != site || !Happens(event.node, step_)) continue;
      const NodeId other = program_.InvokeOf(event.node);
      if (program_.at(other).parent != program_.at(own).parent) continue;
      if (other != own && !IsAllRows(other) && !IsAllRows(own)) continue;
      const auto changed = Changed(event.node);
      if (!changed || RootOf(changed->id) != root) return true;
    }
    return false;
  }

  void Replace(const c10::IValue& whole, const c10::IValue& value, NodeId n) {
    const at::Tensor there = LeafOf(whole), given = LeafOf(value);
    if (there.sizes() != given.sizes()) throw Refused(n, "a replacement of another shape");
    if (there.is_floating_point() != given.is_floating_point() ||
        (!there.is_floating_point() && there.scalar_type() != given.scalar_type())) {
      throw Refused(n, "a replacement of another dtype");
    }
    there.copy_(given.detach());
  }

  /// A site's rows once the statements written before `at` have changed them.
  at::Tensor AfterWrites(const std::string& site, const at::Tensor& before, NodeId at,
                         NodeId invoke, Asking asking) {
    at::Tensor value =
        backwards() ? State(site, graph::kNoNode, invoke, at::alias(before)) : before;
    for (const Event& event : Events()) {
      const NodeId n = event.node;
      if (event.place.site != site || !Concerns(n, invoke) || !Happens(n, step_) ||
          !IsBefore(event, at, asking)) {
        continue;
      }
      // Who only asks may do so though nobody knows yet whether its branch is taken.
      if (event.change != nullptr && !IsActive(n)) continue;
      value = backwards() ? NextState(event, value, invoke) : AfterEvent(event, value, invoke);
      if (!value.is_floating_point()) CheckIds(value, n);
    }
    return value;
  }

  at::Tensor AfterEvent(const Event& event, const at::Tensor& value, NodeId invoke) {
    const NodeId own = program_.InvokeOf(event.node);
    const at::Tensor whole = own == invoke ? value.clone() : TogetherAt(event, value, invoke);
    event.change(Shown(event.place, whole));
    return own == invoke ? whole : RowsOf(whole, own, invoke, value.sizes());
  }

  at::Tensor TogetherAt(const Event& event, const at::Tensor& value, NodeId invoke) {
    const Asking asking = event.asks() ? Asking::kOwn : Asking::kAll;
    return Together(program_.InvokeOf(event.node), [&](NodeId other) {
      return other == invoke ? value : SiteLeaf(event.place.site, event.node, other, asking);
    });
  }

  // --- states, where the program goes backwards: one tensor for each

  /// The state of a site after a statement; the first that is given stays.
  at::Tensor State(const std::string& site, NodeId after, NodeId invoke, const at::Tensor& given) {
    return states_.try_emplace(std::tuple(site, after, invoke, step_), given).first->second;
  }
  at::Tensor NextState(const Event& event, const at::Tensor& value, NodeId invoke) {
    const auto key = std::tuple(event.place.site, event.node, invoke, step_);
    if (const auto found = states_.find(key); found != states_.end()) return found->second;
    const NodeId own = program_.InvokeOf(event.node);
    at::Tensor next;
    if (own == invoke) {
      next = event.asks() ? Leaf(value) : event.next(value);
    } else {
      next = RowsOf(Gathered(event, value, invoke), own, invoke, value.sizes());
    }
    return states_[key] = next;
  }
  /// What all rows together are after a statement of an `invoke { }`.
  at::Tensor Gathered(const Event& event, const at::Tensor& value, NodeId invoke) {
    const auto key = std::tuple(event.place.site, event.node, graph::kNoNode, step_);
    if (const auto found = states_.find(key); found != states_.end()) return found->second;
    if (event.asks()) {
      if (const Event* before = AskedBefore(event)) {
        return states_[key] = Gathered(*before, value, invoke);
      }
    }
    const at::Tensor together = TogetherAt(event, value, invoke);
    return states_[key] = event.asks() ? Leaf(together) : event.next(together);
  }
  /// A statement before `event` that asks, too, of the same invoke, if nobody has changed the site
  /// since; else nullptr.
  const Event* AskedBefore(const Event& event) {
    const NodeId own = program_.InvokeOf(event.node);
    const Event* asked = nullptr;
    for (const Event& before : Events()) {
      if (&before == &event) break;
      const NodeId other = program_.InvokeOf(before.node);
      if (before.place.site != event.place.site || !Happens(before.node, step_) ||
          program_.at(other).parent != program_.at(own).parent) {
        continue;
      }
      if (!before.asks()) {
        if (IsActive(before.node)) asked = nullptr;
      } else if (other == own) {
        asked = &before;
      }
    }
    return asked;
  }
  at::Tensor Gathered(const std::string& site, NodeId n) {
    for (const Event& event : Events()) {
      if (event.node != n) continue;
      const NodeId first = InvokesBeside(program_.InvokeOf(n)).at(0);
      return Gathered(event, SiteLeaf(site, n, first, Asking::kOwn), first);
    }
    throw std::logic_error("a read whose gradient nobody asks for");
  }

  std::optional<std::vector<Event>> events_;
  std::map<std::tuple<std::string, NodeId, NodeId, Asking, int64_t>, at::Tensor> sites_;
  std::set<std::tuple<std::string, NodeId, NodeId, Asking, int64_t>> looking_;
  std::map<std::tuple<std::string, NodeId, NodeId, int64_t>, at::Tensor> states_;
};

}  // namespace weft::reference
