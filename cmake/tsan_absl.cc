// Tells ThreadSanitizer what Abseil's locks do: Debian's Abseil is compiled without it, so that what
// happens before what would be lost. The linker puts these in place of the functions that they call
// (--wrap, cmake/WeftTargets.cmake).

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace {

using absl::Condition;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

/// A condition is looked at by whoever unlocks as well, with the lock held.
struct Looked {
  const Mutex* mutex;
  const Condition* condition;
};

bool Look(Looked* looked) {
  __tsan_acquire(const_cast<Mutex*>(looked->mutex));
  const bool holds = looked->condition->Eval();
  __tsan_release(const_cast<Mutex*>(looked->mutex));
  return holds;
}

template <typename Wait>
auto Waiting(Mutex* mutex, const Condition& condition, const Wait& wait) {
  Looked looked{mutex, &condition};
  __tsan_release(mutex);
  struct Acquire {
    ~Acquire() { __tsan_acquire(mutex); }
    Mutex* mutex;
  } acquire{mutex};
  return wait(Condition(&Look, &looked));
}

}  // namespace

#define WEFT_REAL(name) asm("__real_" name)
#define WEFT_WRAP(name) asm("__wrap_" name)
#define WEFT_MUTEX "_ZN4absl7debian35Mutex"

void RealLock(Mutex*) WEFT_REAL(WEFT_MUTEX "4LockEv");
void WrapLock(Mutex*) WEFT_WRAP(WEFT_MUTEX "4LockEv");
void WrapLock(Mutex* mutex) {
  RealLock(mutex);
  __tsan_acquire(mutex);
}

void RealUnlock(Mutex*) WEFT_REAL(WEFT_MUTEX "6UnlockEv");
void WrapUnlock(Mutex*) WEFT_WRAP(WEFT_MUTEX "6UnlockEv");
void WrapUnlock(Mutex* mutex) {
  __tsan_release(mutex);
  RealUnlock(mutex);
}

void RealReaderLock(Mutex*) WEFT_REAL(WEFT_MUTEX "10ReaderLockEv");
void WrapReaderLock(Mutex*) WEFT_WRAP(WEFT_MUTEX "10ReaderLockEv");
void WrapReaderLock(Mutex* mutex) {
  RealReaderLock(mutex);
  __tsan_acquire(mutex);
}

void RealReaderUnlock(Mutex*) WEFT_REAL(WEFT_MUTEX "12ReaderUnlockEv");
void WrapReaderUnlock(Mutex*) WEFT_WRAP(WEFT_MUTEX "12ReaderUnlockEv");
void WrapReaderUnlock(Mutex* mutex) {
  __tsan_release(mutex);
  RealReaderUnlock(mutex);
}

void RealLockWhen(Mutex*, const Condition&) WEFT_REAL(WEFT_MUTEX "8LockWhenERKNS0_9ConditionE");
void WrapLockWhen(Mutex*, const Condition&) WEFT_WRAP(WEFT_MUTEX "8LockWhenERKNS0_9ConditionE");
void WrapLockWhen(Mutex* mutex, const Condition& condition) {
  Looked looked{mutex, &condition};
  RealLockWhen(mutex, Condition(&Look, &looked));
  __tsan_acquire(mutex);
}

void RealAwait(Mutex*, const Condition&) WEFT_REAL(WEFT_MUTEX "5AwaitERKNS0_9ConditionE");
void WrapAwait(Mutex*, const Condition&) WEFT_WRAP(WEFT_MUTEX "5AwaitERKNS0_9ConditionE");
void WrapAwait(Mutex* mutex, const Condition& condition) {
  Waiting(mutex, condition, [mutex](const Condition& looking) { RealAwait(mutex, looking); });
}

bool RealAwaitFor(Mutex*, const Condition&, Duration)
    WEFT_REAL(WEFT_MUTEX "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
bool WrapAwaitFor(Mutex*, const Condition&, Duration)
    WEFT_WRAP(WEFT_MUTEX "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
bool WrapAwaitFor(Mutex* mutex, const Condition& condition, Duration timeout) {
  return Waiting(mutex, condition, [=](const Condition& looking) {
    return RealAwaitFor(mutex, looking, timeout);
  });
}

bool RealAwaitUntil(Mutex*, const Condition&, Time)
    WEFT_REAL(WEFT_MUTEX "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
bool WrapAwaitUntil(Mutex*, const Condition&, Time)
    WEFT_WRAP(WEFT_MUTEX "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
bool WrapAwaitUntil(Mutex* mutex, const Condition& condition, Time deadline) {
  return Waiting(mutex, condition, [=](const Condition& looking) {
    return RealAwaitUntil(mutex, looking, deadline);
  });
}

void RealNotify(Notification*) WEFT_REAL("_ZN4absl7debian312Notification6NotifyEv");
void WrapNotify(Notification*) WEFT_WRAP("_ZN4absl7debian312Notification6NotifyEv");
void WrapNotify(Notification* notification) {
  __tsan_release(notification);
  RealNotify(notification);
}

void RealWait(const Notification*)
    WEFT_REAL("_ZNK4absl7debian312Notification19WaitForNotificationEv");
void WrapWait(const Notification*)
    WEFT_WRAP("_ZNK4absl7debian312Notification19WaitForNotificationEv");
void WrapWait(const Notification* notification) {
  RealWait(notification);
  __tsan_acquire(const_cast<Notification*>(notification));
}

bool RealWaitFor(const Notification*, Duration) WEFT_REAL(
    "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
bool WrapWaitFor(const Notification*, Duration) WEFT_WRAP(
    "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
bool WrapWaitFor(const Notification* notification, Duration timeout) {
  const bool notified = RealWaitFor(notification, timeout);
  __tsan_acquire(const_cast<Notification*>(notification));
  return notified;
}
