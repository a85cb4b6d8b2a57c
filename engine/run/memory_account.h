#pragma once

#include <cstdint>
#include <memory>

namespace weft::run {

/// What one run's tensors hold at a time on the host, and a hard stop for it.
///
/// Memory that LibTorch's CPU allocator hands out while a thread charges an account belongs to that
/// account until it is freed, by whatever thread, also after the account is gone. An allocation
/// that would go beyond the limit throws c10::OutOfMemoryError, which leaves everything as it was.
/// bytes() and peak_bytes() are thread-safe; one thread at a time charges.
class MemoryAccount {
 public:
  /// `limit` in bytes; 0 means none.
  explicit MemoryAccount(uint64_t limit);

  uint64_t limit() const;
  /// Held now, and at most so far.
  uint64_t bytes() const;
  uint64_t peak_bytes() const;
  /// What would have been held, had the last allocation beyond the limit been made; 0 if there was
  /// none since Reset.
  uint64_t refused_bytes() const;
  /// Forget the peak and what was refused.
  void Reset();

  class Charging;

 private:
  friend class AccountingAllocator;
  struct Book;
  struct Held;
  std::shared_ptr<Book> book_;
};

/// While it lives, what its thread allocates is charged to `account`, or to nobody if that is
/// nullptr. They nest.
class MemoryAccount::Charging {
 public:
  explicit Charging(const MemoryAccount* account);
  ~Charging();
  Charging(const Charging&) = delete;
  Charging& operator=(const Charging&) = delete;

 private:
  const MemoryAccount* const before_;
};

/// Put the allocator that charges accounts before LibTorch's own, once for a process. Before that
/// nothing is charged. No other thread may use LibTorch during the first call.
void InstallMemoryAccounts();

}  // namespace weft::run
