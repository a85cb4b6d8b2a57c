#include "server/blobs/blob_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

// Linux 5.14; older kernels answer EINVAL.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace weft::blobs {
namespace {

// Clients see these: paths are not for them.
absl::Status Failed(const char* doing, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(
        "the server's disk is full: try again when there is room, or tell who runs it");
  }
  return absl::InternalError(absl::StrCat("cannot ", doing, " a blob's file: ", strerror(error)));
}

/// Mappings of blobs at a time: half of what a process may have by default (vm.max_map_count), so
/// that there is room for threads and memory.
constexpr int64_t kMostMapped = 32 * 1024;
std::atomic<int64_t> mapped_files{0};

/// A file descriptor until the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }
  int release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

}  // namespace

absl::Status MakePrivateFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return Failed("make the folder of", errno);
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || fsync(folder.get()) != 0) return Failed("keep the name of", errno);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Make(const std::string& folder) {
  static std::atomic<uint64_t> next{0};
  while (true) {
    // Of a process that had this number before, a file may be left.
    std::string path = absl::StrCat(folder, "/", getpid(), ".", next.fetch_add(1));
    Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0 && errno == EEXIST) continue;
    if (file.get() < 0) return Failed("make", errno);
    // Between the two calls somebody may have taken it for a leftover.
    struct stat status;
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0 || fstat(file.get(), &status) != 0 ||
        status.st_nlink == 0) {
      continue;
    }
    return std::unique_ptr<NewFile>(new NewFile(file.release(), std::move(path)));
  }
}

NewFile::~NewFile() {
  if (!path_.empty()) unlink(path_.c_str());
  close(file_);
}

absl::Status NewFile::Write(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file_, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("write", errno);
    data += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status NewFile::Sync() {
  return fsync(file_) == 0 ? absl::OkStatus() : Failed("write", errno);
}

absl::Status NewFile::MoveTo(const std::string& path) {
  if (rename(path_.c_str(), path.c_str()) != 0) return Failed("move", errno);
  path_.clear();
  return absl::OkStatus();
}

absl::Status RemoveLeftovers(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> names(opendir(folder.c_str()), closedir);
  if (names == nullptr) return Failed("read the folder of", errno);
  while (const dirent* entry = readdir(names.get())) {
    if (entry->d_name[0] == '.') continue;
    const std::string path = absl::StrCat(folder, "/", entry->d_name);
    const Descriptor file(open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    if (file.get() < 0 || flock(file.get(), LOCK_EX | LOCK_NB) != 0) continue;
    unlink(path.c_str());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Map(const std::string& path,
                                                                  uint64_t bytes) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (file.get() < 0 && errno != ENOENT) return Failed("open", errno);
  if (file.get() < 0 || fstat(file.get(), &status) != 0 ||
      static_cast<uint64_t>(status.st_size) != bytes) {
    return absl::NotFoundError("a blob's file is gone");
  }
  const char* data = "";
  if (bytes > 0) {
    if (mapped_files.fetch_add(1) >= kMostMapped) {
      mapped_files.fetch_sub(1);
      return absl::ResourceExhaustedError(
          absl::StrCat("runs use ", kMostMapped,
                       " blobs at this moment, which is all that the server can have "
                       "open: try again when some of them have ended"));
    }
    void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (mapped == MAP_FAILED) {
      mapped_files.fetch_sub(1);
      return Failed("map", errno);
    }
    data = static_cast<const char*>(mapped);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(data, bytes));
}

MappedFile::~MappedFile() {
  if (bytes_ == 0) return;
  munmap(const_cast<char*>(data_), bytes_);
  mapped_files.fetch_sub(1);
}

absl::Status MappedFile::Load() const {
  if (bytes_ == 0) return absl::OkStatus();
  while (madvise(const_cast<char*>(data_), bytes_, MADV_POPULATE_READ) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EFAULT || errno == EIO) {
      return absl::DataLossError(
          "a blob cannot be read from the server's disk: delete it and upload it again");
    }
    // An old kernel, or too little memory for all of it at once: it comes as it is used.
    madvise(const_cast<char*>(data_), bytes_, MADV_WILLNEED);
    break;
  }
  return absl::OkStatus();
}

}  // namespace weft::blobs
