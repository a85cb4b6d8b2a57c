#include "tests/support/hostile_clients.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace weft::testing {
namespace {

constexpr char kNobodysKey[] = "Bearer weft_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
// A connection has at most 256 streams.
constexpr int kCallsPerConnection = 100;
// So that a server that answers slowly is not taken for one that takes it all.
constexpr uint64_t kMostUnanswered = 1000;

std::shared_ptr<grpc::Channel> Connect(const std::string& address, int number) {
  grpc::ChannelArguments arguments;
  // Channels of equal arguments share a connection.
  arguments.SetInt("weft.number", number);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

// --- Flood

namespace {

struct UnaryCall {
  grpc::ClientContext context;
  grpc::ByteBuffer answer;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

}  // namespace

Flood::Flood(const std::string& address, int per_second)
    : stub_(Connect(address, -1)),
      sender_([this, per_second] { Send(per_second); }),
      receiver_([this] { Receive(); }) {}

Flood::~Flood() {
  stop_ = true;
  sender_.join();
  queue_.Shutdown();
  receiver_.join();
}

void Flood::Send(int per_second) {
  const absl::Duration pause = absl::Seconds(1) / per_second;
  const grpc::Slice nothing("");
  const grpc::ByteBuffer request(&nothing, 1);
  for (absl::Time next = absl::Now(); !stop_; next += pause) {
    absl::SleepFor(next - absl::Now());
    if (sent_ - refused_ - others_ >= kMostUnanswered) continue;
    ++sent_;
    auto* call = new UnaryCall();
    call->context.AddMetadata("authorization", kNobodysKey);
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    call->reader = stub_.PrepareUnaryCall(&call->context, "/weft.v1.Weft/WhoAmI", request, &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->answer, &call->status, call);
  }
}

void Flood::Receive() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    const std::unique_ptr<UnaryCall> call(static_cast<UnaryCall*>(tag));
    const grpc::StatusCode code = call->status.error_code();
    const bool refused =
        code == grpc::StatusCode::UNAUTHENTICATED || code == grpc::StatusCode::RESOURCE_EXHAUSTED;
    ++(refused ? refused_ : others_);
  }
}

// --- IdleConnections

absl::StatusOr<IdleConnections> IdleConnections::Open(const std::string& address, int count) {
  const size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' is not IPV4:PORT"));
  }
  to.sin_port = htons(static_cast<uint16_t>(port));
  // The connection preface, and an empty frame of settings.
  const std::string hello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  IdleConnections connections;
  for (int i = 0; i < count; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
    connections.sockets_.push_back(fd);
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0 ||
        send(fd, hello.data(), hello.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(hello.size())) {
      return absl::UnavailableError(absl::StrCat("connection ", i, ": ", strerror(errno)));
    }
  }
  return connections;
}

IdleConnections::~IdleConnections() {
  for (const int fd : sockets_) close(fd);
}

int IdleConnections::alive() const {
  int alive = 0;
  for (const int fd : sockets_) {
    char byte;
    const ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    alive += got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) ? 1 : 0;
  }
  return alive;
}

// --- SlowReaders

struct SlowReaders::Call {
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
};

SlowReaders::SlowReaders(const std::string& address, const std::string& secret,
                         const std::string& request, int count) {
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  std::shared_ptr<grpc::Channel> channel;
  for (int i = 0; i < count; ++i) {
    if (i % kCallsPerConnection == 0) channel = Connect(address, i / kCallsPerConnection);
    auto call = std::make_unique<Call>();
    call->channel = channel;
    call->context.AddMetadata("authorization", absl::StrCat("Bearer ", secret));
    grpc::GenericStub stub(channel);
    call->stream = stub.PrepareCall(&call->context, "/weft.v1.Weft/Run", &call->queue);
    void* tag = nullptr;
    bool ok = false;
    call->stream->StartCall(nullptr);
    call->queue.Next(&tag, &ok);
    call->stream->WriteLast(bytes, grpc::WriteOptions(), nullptr);
    call->queue.Next(&tag, &ok);
    calls_.push_back(std::move(call));
  }
}

SlowReaders::~SlowReaders() {
  for (const std::unique_ptr<Call>& call : calls_) {
    call->context.TryCancel();
    grpc::Status status;
    call->stream->Finish(&status, nullptr);
    call->queue.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (call->queue.Next(&tag, &ok)) {
    }
  }
}

}  // namespace weft::testing
