#include "server/service/run_stream.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/codec.h"
#include "server/service/messages.h"
#include "server/service/status.h"
#include "server/service/wire.h"
#include "server/steady_time.h"

namespace weft::server {
namespace {

// The name and label of a log line, roughly.
constexpr uint64_t kLogOverhead = 64;
// Of a name, in an error.
constexpr size_t kShownName = 100;
// Of the event about a value that is kept, beside its name: once, and for each tensor.
constexpr uint64_t kKeptOverhead = 256, kKeptTensorOverhead = 64;
// A message that has as much takes no further event.
constexpr uint64_t kFullMessageBytes = 64 * 1024;

}  // namespace

absl::StatusOr<std::shared_ptr<RunStream>> RunStream::Open(grpc::CallbackServerContext* context,
                                                           std::shared_ptr<RunRegistry> registry,
                                                           Gate* gate, Call call,
                                                           limits::RunSlot slot, Keeper keeper) {
  std::shared_ptr<RunStream> stream(
      new RunStream(context, registry, gate, std::move(call), std::move(slot), keeper));
  if (absl::Status added = registry->Add(stream); !added.ok()) return added;
  return stream;
}

RunStream::RunStream(grpc::CallbackServerContext* context, std::shared_ptr<RunRegistry> registry,
                     Gate* gate, Call call, limits::RunSlot slot, Keeper keeper)
    : registry_(std::move(registry)),
      gate_(gate),
      key_(call.key),
      keeper_(keeper),
      call_(std::move(call)),
      slot_(std::move(slot)),
      progress_(registry_->metrics()),
      context_(context) {}

EventSink RunStream::Sink() {
  return [stream = shared_from_this()](Event event) { stream->Take(std::move(event)); };
}

void RunStream::SetModel(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  call_.SetModel(model);
}

void RunStream::SetEdits(std::vector<std::string> edits) {
  absl::MutexLock lock(&mutex_);
  edits_ = std::move(edits);
}

bool RunStream::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void RunStream::SetTokens(uint64_t tokens) {
  absl::MutexLock lock(&mutex_);
  call_.tokens = tokens;
}

void RunStream::HoldBlobs(UsedBlobs blobs) {
  absl::MutexLock lock(&mutex_);
  if (!finished_) blobs_ = std::move(blobs);
}

void RunStream::SetJob(std::shared_ptr<Job> job) {
  {
    absl::MutexLock lock(&mutex_);
    if (!ended_) {
      job_ = std::move(job);
      return;
    }
    if (!cancel_job_) return;
  }
  job->Cancel();
}

void RunStream::Take(Event event) {
  const auto* result = std::get_if<Result>(&event);
  const bool more_follows = result != nullptr && result->more_follows;
  // The run's way to its pass does not wait for these to be written.
  const bool on_its_way = std::holds_alternative<Accepted>(event) ||
                          std::holds_alternative<Queued>(event) ||
                          std::holds_alternative<Running>(event);
  const absl::Status taken = CatchAll("taking an event of a run", [&] {
    absl::MutexLock lock(&mutex_);
    if (ended_) return absl::OkStatus();
    progress_.Note(call_.model, event);
    return Enqueue(event);
  });
  std::shared_ptr<Job> job;
  bool wait;
  bool flush_soon = false;
  {
    absl::MutexLock lock(&mutex_);
    if (!taken.ok() && !ended_) {
      EndWith(taken);
      cancel_job_ = true;
    }
    if (ended_) job = TakeJob();
    // What is small travels with the next event, or by itself where that takes its time; of a large
    // tensor the first chunks leave now.
    const bool small = queue_.empty() || queue_.back().charge < kChunkBytes;
    wait = !ended_ && (on_its_way || (more_follows && small));
    if (wait) flush_soon = !std::exchange(flushing_soon_, true);
  }
  // The engine is calling, perhaps with locks of its own.
  if (!taken.ok() && job != nullptr) registry_->CancelSoon(std::move(job));
  if (flush_soon) registry_->FlushSoon(shared_from_this());
  if (!wait) Advance();
}

void RunStream::Flush() {
  {
    absl::MutexLock lock(&mutex_);
    flushing_soon_ = false;
  }
  Advance();
}

absl::Status RunStream::Enqueue(const Event& event) {
  if (const auto* line = std::get_if<LogLine>(&event)) {
    EnqueueLog(*line);
    return absl::OkStatus();
  }
  if (const auto* result = std::get_if<Result>(&event)) {
    return result->keep ? EnqueueKept(*result) : EnqueueResult(*result);
  }
  if (const auto* tokens = std::get_if<NewTokens>(&event)) return EnqueueTokens(*tokens);
  if (const auto* failed = std::get_if<Failed>(&event)) {
    EndWith(graph::ToStatus(failed->error));
    return absl::OkStatus();
  }
  v1::RunEvent message;
  if (const auto* accepted = std::get_if<Accepted>(&event)) {
    call_.job_id = accepted->job_id;
    v1::Accepted* out = message.mutable_accepted();
    out->set_job_id(accepted->job_id);
    out->set_model_fingerprint(accepted->fingerprint);
    for (const graph::Error& warning : accepted->warnings) {
      graph::EncodeError(warning, out->add_warnings());
    }
    for (const std::string& edit : edits_) out->add_edits(edit);
  } else if (const auto* queued = std::get_if<Queued>(&event)) {
    message.mutable_queued()->set_position(queued->position);
    // A place that nobody has been told yet is told no more.
    if (!queue_.empty() && queue_.back().is_place) {
      message.set_sequence(queue_.back().sequence);
      queue_.back().event = SerializeEvent(message);
      return absl::OkStatus();
    }
    EnqueueEvent(&message).is_place = true;
    return absl::OkStatus();
  } else if (std::holds_alternative<Running>(event)) {
    message.mutable_running();
    if (key_.limits.run_seconds > 0) {
      run_deadline_ = SteadyNow() + absl::Seconds(key_.limits.run_seconds);
    }
  } else if (const auto* missing = std::get_if<Missing>(&event)) {
    message.mutable_missing()->set_name(missing->name);
    graph::EncodeError(missing->reason, message.mutable_missing()->mutable_reason());
    const auto bytes = static_cast<uint64_t>(message.ByteSizeLong());
    absl::Status taken = TakePendingBytes("what is missing of the results has ", bytes);
    if (taken.ok()) EnqueueEvent(&message).charge = bytes;
    return taken;
  } else if (const auto* completed = std::get_if<Completed>(&event)) {
    ReportDroppedLogs();
    call_.tokens = completed->cost.tokens;
    message.mutable_completed()->set_model_fingerprint(completed->fingerprint);
    EncodeCost(completed->cost, message.mutable_completed()->mutable_cost());
    ended_ = true;
    status_ = grpc::Status::OK;
  }
  EnqueueEvent(&message);
  return absl::OkStatus();
}

absl::Status RunStream::EnqueueResult(const Result& result) {
  v1::RunEvent message;
  EncodeResultPlace(result, message.mutable_result());
  std::vector<graph::HostTensor> tensors;
  absl::Status encoded =
      EncodeValue(result.value, tensors_, message.mutable_result()->mutable_value(), &tensors);
  if (!encoded.ok()) return encoded;
  uint64_t bytes = 0;
  for (const graph::HostTensor& tensor : tensors) bytes += tensor.bytes;
  // A name may be as long as a request, and come once for each step.
  const auto around = static_cast<uint64_t>(message.ByteSizeLong());
  absl::Status taken = TakeResultBytes(result.name, bytes, around);
  if (!taken.ok()) return taken;
  EnqueueEvent(&message).charge = around;
  for (graph::HostTensor& tensor : tensors) {
    const uint32_t id = tensors_++;
    if (tensor.bytes == 0) continue;  // there is nothing to send
    Outgoing out;
    out.sequence = sequence_ + 1;
    sequence_ += (tensor.bytes + kChunkBytes - 1) / kChunkBytes;
    out.tensor_id = id;
    out.charge = tensor.bytes;
    out.tensor = std::move(tensor);
    queue_.push_back(std::move(out));
  }
  return absl::OkStatus();
}

absl::Status RunStream::TakeResultBytes(const std::string& name, uint64_t bytes, uint64_t others) {
  // The plan's estimate was checked before; this is what it came to.
  if (absl::Status allowed = limits::CheckResultBytes(key_, call_.result_bytes + bytes);
      !allowed.ok()) {
    return allowed;
  }
  absl::Status taken = TakePendingBytes(
      absl::StrCat("the result '", CutText(name, kShownName), "' has "), bytes + others);
  if (taken.ok()) call_.result_bytes += bytes;
  return taken;
}

absl::Status RunStream::TakePendingBytes(const std::string& what, uint64_t bytes) {
  if (registry_->TryTakeBytes(key_.id, bytes)) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      what, bytes, " bytes, and with what waits for readers already (", registry_->pending_bytes(),
      " bytes) that is over the server's bound of ", registry_->options().max_pending_bytes,
      " (--max-pending-bytes): save less, or try when other runs have been read"));
}

absl::Status RunStream::EnqueueTokens(const NewTokens& tokens) {
  v1::RunEvent message;
  EncodeTokens(tokens, message.mutable_new_tokens());
  const auto bytes = static_cast<uint64_t>(message.ByteSizeLong());
  absl::Status taken = TakePendingBytes("the tokens of a step have ", bytes);
  if (taken.ok()) EnqueueEvent(&message).charge = bytes;
  return taken;
}

absl::Status RunStream::EnqueueKept(const Result& result) {
  uint64_t bytes = 0;
  v1::Value unused;
  std::vector<graph::HostTensor> tensors;
  absl::Status encoded = EncodeValue(result.value, 0, &unused, &tensors);
  if (!encoded.ok()) return encoded;
  for (const graph::HostTensor& tensor : tensors) bytes += tensor.bytes;
  const uint64_t around = kKeptOverhead + result.name.size() + kKeptTensorOverhead * tensors.size();
  absl::Status taken = TakeResultBytes(result.name, bytes, around);
  if (!taken.ok()) return taken;
  // The bytes are charged for as long as the task holds them, whoever has gone meanwhile. It looks
  // for its place when this has put it into the queue, as both hold the lock for that.
  const bool posted =
      keeper_.pool->Post([stream = shared_from_this(), sequence = sequence_ + 1, result, bytes] {
        stream->Keep(sequence, result);
        stream->registry_->GiveBytes(stream->key_.id, bytes);
      });
  if (!posted) {
    registry_->GiveBytes(key_.id, bytes + around);
    return Busy();
  }
  Outgoing out;
  out.sequence = ++sequence_;
  out.waits = true;
  out.charge = around;
  queue_.push_back(std::move(out));
  return absl::OkStatus();
}

void RunStream::Keep(uint64_t sequence, const Result& result) {
  const auto find = [this, sequence]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::find_if(queue_.begin(), queue_.end(), [sequence](const Outgoing& out) {
      return out.waits && out.sequence == sequence;
    });
  };
  {
    absl::MutexLock lock(&mutex_);
    if (find() == queue_.end()) return;  // nobody is there any more: it is kept for nobody
  }
  grpc::Slice event;
  const absl::Status told = CatchAll("telling of a value that was kept", [&] {
    event = SerializeEvent(KeptEvent(sequence, result));
    return absl::OkStatus();
  });
  uint64_t charge = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = find();
    if (found == queue_.end()) return;
    if (told.ok()) {
      found->event = std::move(event);
      found->waits = false;
    } else {
      charge = found->charge;
      queue_.erase(found);  // what follows must not wait for it
    }
  }
  if (told.ok()) return Advance();
  registry_->GiveBytes(key_.id, charge);
  End(told);
}

v1::RunEvent RunStream::KeptEvent(uint64_t sequence, const Result& result) {
  v1::RunEvent message;
  message.set_sequence(sequence);
  const absl::Status kept = CatchAll("keeping a value", [&] {
    absl::StatusOr<v1::Value> value = KeepValue(key_, keeper_.store, result.value);
    if (!value.ok()) return value.status();
    EncodeResultPlace(result, message.mutable_result());
    *message.mutable_result()->mutable_value() = *std::move(value);
    return absl::OkStatus();
  });
  if (kept.ok() && registry_->metrics() != nullptr) registry_->metrics()->blobs_kept.Increment();
  if (!kept.ok()) {
    message.mutable_missing()->set_name(result.name);
    graph::EncodeError(graph::FromStatus(kept), message.mutable_missing()->mutable_reason());
  }
  return message;
}

void RunStream::EnqueueLog(const LogLine& line) {
  const uint64_t bytes = line.text.size() + line.label.size() + kLogOverhead;
  if (waiting_log_bytes_ + bytes > registry_->options().max_log_bytes) {
    ++dropped_logs_;
    if (registry_->metrics() != nullptr) registry_->metrics()->dropped_run_log_lines.Increment();
    return;
  }
  ReportDroppedLogs();
  v1::RunEvent message;
  message.mutable_log()->set_node(line.node);
  message.mutable_log()->set_label(line.label);
  message.mutable_log()->set_text(line.text);
  EnqueueEvent(&message).log_bytes = bytes;
  waiting_log_bytes_ += bytes;
}

void RunStream::ReportDroppedLogs() {
  if (dropped_logs_ == 0) return;
  v1::RunEvent message;
  message.mutable_log()->set_label("weft");
  message.mutable_log()->set_text(
      absl::StrCat(dropped_logs_, " log lines are missing here: more than ",
                   registry_->options().max_log_bytes, " bytes of them waited for the reader"));
  dropped_logs_ = 0;
  EnqueueEvent(&message);
}

RunStream::Outgoing& RunStream::EnqueueEvent(v1::RunEvent* event) {
  event->set_sequence(++sequence_);
  Outgoing out;
  out.sequence = sequence_;
  out.event = SerializeEvent(*event);
  queue_.push_back(std::move(out));
  return queue_.back();
}

void RunStream::EndWith(const absl::Status& status) {
  ended_ = true;
  status_ = ToGrpcStatus(status);
  limit_ = limits::NameOf(status);
  if (sequence_ == 0) return;  // refused: there is no run whose end to tell
  ReportDroppedLogs();
  v1::RunEvent message;
  graph::EncodeError(graph::FromStatus(status), message.mutable_failed());
  EnqueueEvent(&message);
}

void RunStream::End(const absl::Status& status) {
  std::shared_ptr<Job> job;
  {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    EndWith(status);
    cancel_job_ = true;
    job = TakeJob();
  }
  if (job != nullptr) job->Cancel();
  Advance();
}

void RunStream::Abandon(grpc::Status status, Leftovers* leftovers) {
  if (!ended_) {
    ended_ = true;
    cancel_job_ = true;
    leftovers->job = TakeJob();
  }
  status_ = std::move(status);
  leftovers->dropped.swap(queue_);
}

std::shared_ptr<Job> RunStream::TakeJob() {
  // The job holds the sink, which holds this: whoever ends the run cuts the circle.
  return std::exchange(job_, nullptr);
}

void RunStream::GiveBack(const std::deque<Outgoing>& dropped) {
  uint64_t bytes = 0;
  for (const Outgoing& out : dropped) bytes += out.charge;
  registry_->GiveBytes(key_.id, bytes);
}

void RunStream::NextMessage() {
  std::vector<grpc::Slice> message;
  uint64_t bytes = 0;
  while (HasNext() && bytes < kFullMessageBytes) {
    Outgoing& front = queue_.front();
    if (!front.tensor.has_value()) {
      bytes += front.event.size();
      message.push_back(std::move(front.event));
      in_flight_charge_ += front.charge;
      in_flight_log_bytes_ += front.log_bytes;
      queue_.pop_front();
      continue;
    }
    const uint64_t left = front.tensor->bytes - front.offset;
    const uint64_t size = std::min(left, kChunkBytes);
    AppendChunk(front.sequence++, *front.tensor, front.tensor_id, front.offset, size, &message);
    bytes += size;
    front.offset += size;
    if (size < left) continue;
    // The tensor stays in memory until its last chunk is written.
    in_flight_charge_ += front.charge;
    queue_.pop_front();
  }
  in_flight_ = grpc::ByteBuffer(message.data(), message.size());
}

void RunStream::Ended() {
  // Before the client can know: its next run is taken, and what it reads then has this one.
  slot_.Release();
  blobs_.clear();
  gate_->End(call_, static_cast<absl::StatusCode>(status_.error_code()), limit_);
}

void RunStream::Advance() {
  bool write = false;
  bool finish = false;
  grpc::Status status;
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || finished_) return;
    if (HasNext()) {
      NextMessage();
      write = writing_ = true;
      write_started_ = SteadyNow();
    }
    if (ended_ && queue_.empty()) {
      finish = finished_ = true;
      status = status_;
      Ended();
    }
  }
  // Without the lock: gRPC may answer on this thread. Nobody else starts anything meanwhile, since
  // writing_ or finished_ is set.
  if (write && finish) {
    StartWriteAndFinish(&in_flight_, grpc::WriteOptions(), std::move(status));
  } else if (write) {
    StartWrite(&in_flight_);
  } else if (finish) {
    Finish(std::move(status));
  }
}

void RunStream::OnWriteDone(bool ok) {
  Leftovers leftovers;
  uint64_t charge;
  // Given up at the end: to unmap a large tensor takes long, and the client waits for the next
  // event.
  grpc::ByteBuffer written;
  written.Swap(&in_flight_);
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    charge = std::exchange(in_flight_charge_, 0);
    waiting_log_bytes_ -= std::exchange(in_flight_log_bytes_, 0);
    if (!ok) Abandon(grpc::Status::CANCELLED, &leftovers);
  }
  registry_->GiveBytes(key_.id, charge);
  GiveBack(leftovers.dropped);
  if (leftovers.job != nullptr) leftovers.job->Cancel();
  Advance();
}

void RunStream::OnCancel() {
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    Abandon(grpc::Status::CANCELLED, &leftovers);
  }
  GiveBack(leftovers.dropped);
  if (leftovers.job != nullptr) leftovers.job->Cancel();
  Advance();
}

void RunStream::Check(absl::Time now) {
  bool too_long;
  {
    absl::MutexLock lock(&mutex_);
    too_long = now >= run_deadline_;
  }
  if (too_long) End(limits::RunTooLong(key_));
  CheckReader(now);
}

void RunStream::CheckReader(absl::Time now) {
  const absl::Duration timeout = registry_->options().slow_reader_timeout;
  Leftovers leftovers;
  bool finish = false;
  bool cut = false;
  grpc::Status status;
  {
    absl::MutexLock lock(&mutex_);
    if (!writing_ || now - write_started_ < timeout) return;
    write_started_ = now;
    if (finished_) {
      cut = true;
    } else {
      if (registry_->metrics() != nullptr) registry_->metrics()->slow_readers.Increment();
      Abandon(ToGrpcStatus(absl::DeadlineExceededError(
                  absl::StrCat("the reader took nothing for ", absl::FormatDuration(timeout),
                               " (--slow-reader-timeout), so the run was ended"))),
              &leftovers);
      finish = finished_ = true;
      status = status_;
      Ended();
    }
  }
  GiveBack(leftovers.dropped);
  if (leftovers.job != nullptr) leftovers.job->Cancel();
  // The status waits behind the message that the reader does not take: one who wakes up learns the
  // reason, one who does not is cut off when as much time again has passed.
  if (finish) Finish(std::move(status));
  if (cut) {
    // OnDone waits for this lock, so the context lives. It is not called by TryCancel itself,
    // because this thread is none of gRPC's.
    absl::MutexLock lock(&context_mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
}

void RunStream::OnDone() {
  {
    absl::MutexLock lock(&context_mutex_);
    context_ = nullptr;
  }
  Leftovers leftovers;
  uint64_t charge;
  {
    absl::MutexLock lock(&mutex_);
    Abandon(status_, &leftovers);
    charge = std::exchange(in_flight_charge_, 0);
    writing_ = false;
    progress_.Delivered();
  }
  in_flight_.Clear();
  registry_->GiveBytes(key_.id, charge);
  GiveBack(leftovers.dropped);
  if (leftovers.job != nullptr) leftovers.job->Cancel();
  const std::shared_ptr<RunRegistry> registry = registry_;
  registry->Remove(this);  // may destroy this
}

}  // namespace weft::server
