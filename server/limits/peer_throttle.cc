#include "server/limits/peer_throttle.h"

namespace weft::limits {

absl::Duration PeerThrottle::CountFailure(const std::string& peer) {
  const std::string address = peer.substr(0, peer.rfind(':'));
  const absl::Time now = now_();
  absl::MutexLock lock(&mutex_);
  if (peers_.size() >= kMaxPeers && !peers_.contains(address)) {
    // Whoever has waited long enough need not be remembered.
    absl::erase_if(peers_, [now](auto& entry) {
      return entry.second.Wait(kFree, kFree, now) == absl::ZeroDuration();
    });
  }
  Bucket& bucket =
      peers_.size() < kMaxPeers || peers_.contains(address) ? peers_[address] : others_;
  return bucket.Take(1, kFree, now) == absl::ZeroDuration() ? absl::ZeroDuration() : kHold;
}

}  // namespace weft::limits
