#include "server/metrics/endpoint.h"

#include <prometheus/exposer.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace weft::metrics {
namespace {

// An address for the HTTP server, which knows numbers alone.
absl::StatusOr<std::string> ToBindAddress(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics '", listen, "' is not HOST:PORT, such as 127.0.0.1:9464"));
  }
  const std::string host = listen.substr(0, colon);
  // What follows a comma would be another address, with options of its own.
  if (host.find_first_not_of("0123456789abcdefABCDEF.:[]") != std::string::npos &&
      host != "localhost") {
    return absl::InvalidArgumentError(absl::StrCat("--metrics '", listen,
                                                   "' needs a host in numbers, such as 127.0.0.1, ",
                                                   "0.0.0.0 or [::1], or localhost"));
  }
  return absl::StrCat(host == "localhost" ? "127.0.0.1" : host, ":", port);
}

}  // namespace

Endpoint::Endpoint() = default;
Endpoint::~Endpoint() = default;

absl::StatusOr<std::unique_ptr<Endpoint>> Endpoint::Start(
    const std::string& listen, std::shared_ptr<prometheus::Collectable> source) {
  absl::StatusOr<std::string> address = ToBindAddress(listen);
  if (!address.ok()) return address.status();
  auto endpoint = std::unique_ptr<Endpoint>(new Endpoint());
  endpoint->source_ = std::move(source);
  try {
    // A client that says nothing holds one of two threads for five seconds at most.
    endpoint->exposer_ = std::make_unique<prometheus::Exposer>(
        std::vector<std::string>{"listening_ports", *address, "num_threads", "2",
                                 "request_timeout_ms", "5000", "enable_keep_alive", "no"});
    endpoint->exposer_->RegisterCollectable(endpoint->source_);
    const std::vector<int> ports = endpoint->exposer_->GetListeningPorts();
    if (ports.empty()) throw std::exception();
    endpoint->address_ = absl::StrCat(listen.substr(0, listen.rfind(':') + 1), ports.front());
  } catch (const std::exception&) {
    // The HTTP server says no more than that.
    return absl::UnavailableError(absl::StrCat("cannot listen on ", listen,
                                               " for --metrics: the address is taken or is not ",
                                               "this machine's"));
  }
  return endpoint;
}

}  // namespace weft::metrics
