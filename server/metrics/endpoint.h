#pragma once

#include <prometheus/collectable.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace weft::metrics {

/// `/metrics` over HTTP, in Prometheus's text format. No TLS and no keys: what it shows are counts,
/// and the names of the models.
class Endpoint {
 public:
  /// Serve `source` on HOST:PORT; port 0 takes a free one. kInvalidArgument for what is no
  /// HOST:PORT, kUnavailable if it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Endpoint>> Start(
      const std::string& listen, std::shared_ptr<prometheus::Collectable> source);
  ~Endpoint();

  /// HOST:PORT with the port that was taken.
  const std::string& address() const { return address_; }

 private:
  Endpoint();

  std::shared_ptr<prometheus::Collectable> source_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace weft::metrics
