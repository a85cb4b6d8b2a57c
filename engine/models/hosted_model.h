#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/models/network.h"
#include "engine/plan/model_spec.h"
#include "engine/run/adapter.h"
#include "engine/run/pass.h"
#include "engine/run/run.h"

namespace weft::models {

/// A network made ready for programs: its sites are recorded, its passes can be run. Immutable but
/// for its counters.
///
/// Run is called from one thread at a time; everything else is thread-safe.
class HostedModel : public run::Host {
 public:
  /// Record the sites by tiny real forwards. `pad_left`: on which side prompts are padded.
  static absl::StatusOr<std::unique_ptr<HostedModel>> Host(Network network, bool pad_left);

  const plan::ModelSpec& spec() const { return *spec_; }
  const Network& network() const { return network_; }
  bool pad_left() const { return pad_left_; }
  /// By plan::ModelSpec's modules.
  absl::Span<Module* const> modules() const { return modules_; }

  /// One forward over the segments of all `runs`. An error is the pass's own (no run's): what the
  /// runs have seen then counts for nothing, and each is to be run again by itself.
  absl::Status Run(absl::Span<run::Run* const> runs);

  /// A forward without a program: what the root returns, packed. Nobody listens, nothing is
  /// counted.
  at::Tensor Forward(const run::InvokeInput& input) const;

  uint64_t passes() const { return passes_.load(std::memory_order_relaxed); }
  uint64_t module_calls() const { return module_calls_.load(std::memory_order_relaxed); }

  absl::StatusOr<at::Tensor> Parameter(const std::string& path) const override;
  absl::StatusOr<c10::IValue> CallModule(int module, const at::Tensor& input,
                                         const run::Segment* segment, run::Watcher* watcher,
                                         const run::Adapter* adapter) const override;
  at::Device device() const override { return network_.devices.root(); }
  bool placed() const override { return !network_.devices.OnlyCpu(); }
  const run::Adapter* FindAdapter(const std::string& name) const override;

  /// Load an adapter (LoadAdapter) for traces to choose by `name`. Before the first run.
  absl::Status AddAdapter(const std::string& name, const std::string& folder);
  /// Their names, sorted.
  std::vector<std::string> adapters() const;

 private:
  HostedModel(Network network, bool pad_left) : network_(std::move(network)), pad_left_(pad_left) {}
  /// Tell each module its device.
  void PlaceModules();
  absl::Status RecordSites();

  Network network_;
  const bool pad_left_;
  std::vector<Module*> modules_;
  std::vector<std::string> paths_;
  std::unique_ptr<plan::ModelSpec> spec_;
  std::unique_ptr<run::TapTable> taps_;
  std::map<std::string, run::Adapter> adapters_;
  std::atomic<uint64_t> passes_{0};
  std::atomic<uint64_t> module_calls_{0};
};

}  // namespace weft::models
