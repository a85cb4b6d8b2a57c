#include "client/remote/read_ahead.h"

#include <utility>

namespace weft::remote {

ReadAhead::ReadAhead(std::function<bool(grpc::ByteBuffer*)> read)
    : read_(std::move(read)), thread_([this] { ReadAll(); }) {}

ReadAhead::~ReadAhead() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  thread_.join();
}

bool ReadAhead::Next(grpc::ByteBuffer* message) {
  const auto there = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return taken_count_ < read_count_ || ended_;
  };
  absl::MutexLock lock(&mutex_, absl::Condition(&there));
  if (taken_count_ == read_count_) return false;
  message->Clear();
  message->Swap(&messages_[taken_count_++ % kMessages]);
  return true;
}

void ReadAhead::ReadAll() {
  const auto free = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return read_count_ - taken_count_ < kMessages || stopped_;
  };
  for (size_t number = 0;; ++number) {
    {
      absl::MutexLock lock(&mutex_, absl::Condition(&free));
      if (stopped_) return;
    }
    const bool read = read_(&messages_[number % kMessages]);
    absl::MutexLock lock(&mutex_);
    if (!read) {
      ended_ = true;
      return;
    }
    ++read_count_;
  }
}

}  // namespace weft::remote
