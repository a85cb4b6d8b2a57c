#include "engine/run/memory_account.h"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
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

/// One allocation: the context of the DataPtr that the tensor has.
struct MemoryAccount::Held {
  Held(std::shared_ptr<Book> to, uint64_t size) : book(std::move(to)), bytes(size) {
    const uint64_t held = book->bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (book->limit != 0 && held > book->limit) {
      book->bytes.fetch_sub(bytes, std::memory_order_relaxed);
      book->refused.store(held, std::memory_order_relaxed);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "a run of at most ", book->limit,
                       " bytes would hold ", held);
    }
    if (held > book->peak.load(std::memory_order_relaxed)) {
      book->peak.store(held, std::memory_order_relaxed);
    }
  }
  ~Held() {
    data.clear();
    book->bytes.fetch_sub(bytes, std::memory_order_relaxed);
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  static void Delete(void* held) { delete static_cast<Held*>(held); }

  const std::shared_ptr<Book> book;
  const uint64_t bytes;
  c10::DataPtr data;
};

class AccountingAllocator final : public c10::Allocator {
 public:
  explicit AccountingAllocator(c10::Allocator* base) : base_(base) {}

  c10::DataPtr allocate(size_t bytes) override {
    if (charged == nullptr || bytes == 0) [[likely]] {
      return base_->allocate(bytes);
    }
    auto held = std::make_unique<MemoryAccount::Held>(charged->book_, bytes);
    held->data = base_->allocate(bytes);
    void* const data = held->data.get();
    const c10::Device device = held->data.device();
    return {data, held.release(), &MemoryAccount::Held::Delete, device};
  }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    base_->copy_data(to, from, bytes);
  }

 private:
  c10::Allocator* const base_;
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
