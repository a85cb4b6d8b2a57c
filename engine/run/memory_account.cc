#include "engine/run/memory_account.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

namespace weft::run {
namespace {

thread_local const MemoryAccount* charged = nullptr;

}  // namespace

struct MemoryAccount::Book {
  explicit Book(uint64_t limit) : limit(limit) {}

  const uint64_t limit;
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> peak{0};
  std::atomic<uint64_t> refused{0};
};

/// What stands before the bytes of each allocation, charged to somebody or not: LibTorch's kernels
/// also take bare pointers, from which alone they are given back.
struct alignas(64) MemoryAccount::Held {
  std::shared_ptr<Book> book;  // null: nobody's
  uint64_t bytes = 0;

  void Charge() {
    const uint64_t held = book->bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (book->limit != 0 && held > book->limit) {
      Credit();
      book->refused.store(held, std::memory_order_relaxed);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "a run of at most ", book->limit,
                       " bytes would hold ", held);
    }
    if (held > book->peak.load(std::memory_order_relaxed)) {
      book->peak.store(held, std::memory_order_relaxed);
    }
  }
  void Credit() { book->bytes.fetch_sub(bytes, std::memory_order_relaxed); }
};

class AccountingAllocator final : public c10::Allocator {
 public:
  explicit AccountingAllocator(c10::Allocator* base) { base_ = base; }

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &Delete, c10::Device(c10::kCPU)};
    Held held;
    if (charged != nullptr) {
      held = {charged->book_, bytes};
      held.Charge();
    }
    void* block;
    try {
      block = base_->raw_allocate(sizeof(Held) + bytes);
    } catch (...) {
      if (held.book != nullptr) held.Credit();
      throw;
    }
    new (block) Held(std::move(held));
    void* const data = static_cast<char*>(block) + sizeof(Held);
    return {data, data, &Delete, c10::Device(c10::kCPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    base_->copy_data(to, from, bytes);
  }

 private:
  using Held = MemoryAccount::Held;

  static void Delete(void* data) {
    if (data == nullptr) return;
    auto* held = reinterpret_cast<Held*>(static_cast<char*>(data) - sizeof(Held));
    if (held->book != nullptr) held->Credit();
    held->~Held();
    base_->raw_deallocate(held);
  }

  static inline c10::Allocator* base_ = nullptr;  // there is one allocator for the CPU
};

MemoryAccount::MemoryAccount(uint64_t limit) : book_(std::make_shared<Book>(limit)) {}

uint64_t MemoryAccount::limit() const { return book_->limit; }
uint64_t MemoryAccount::bytes() const { return book_->bytes.load(std::memory_order_relaxed); }
uint64_t MemoryAccount::peak_bytes() const { return book_->peak.load(std::memory_order_relaxed); }
uint64_t MemoryAccount::refused_bytes() const {
  return book_->refused.load(std::memory_order_relaxed);
}

void MemoryAccount::Reset() {
  book_->peak.store(bytes(), std::memory_order_relaxed);
  book_->refused.store(0, std::memory_order_relaxed);
}

MemoryAccount::Charging::Charging(const MemoryAccount* account)
    : before_(std::exchange(charged, account)) {}

MemoryAccount::Charging::~Charging() { charged = before_; }

void InstallMemoryAccounts() {
  // LibTorch keeps the pointer for the life of the process.
  static AccountingAllocator* const kAllocator = [] {
    auto* allocator = new AccountingAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(allocator, /*priority=*/1);
    return allocator;
  }();
  (void)kAllocator;
}

}  // namespace weft::run
