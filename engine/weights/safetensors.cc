#include "engine/weights/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::weights {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensor bytes are little-endian and are used as they are");

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 64;
constexpr char kMetadataKey[] = "__metadata__";
constexpr char kDamaged[] = "; the file is damaged or incomplete, fetch it again";

/// Quote a name from a file so that it cannot garble a message, however long or binary it is.
std::string Quoted(absl::string_view name) {
  constexpr size_t kShown = 120;
  std::string shown = absl::CHexEscape(name.substr(0, kShown));
  return absl::StrCat("\"", shown, name.size() > kShown ? "..." : "", "\"");
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

/// Return the bytes of a tensor of `shape`, or nothing if they do not fit an int64.
std::optional<int64_t> TensorBytes(const std::vector<int64_t>& shape, int64_t element_bytes) {
  int64_t bytes = element_bytes;
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return bytes;
}

/// Take a header apart while it is being parsed: no tree is built, so nesting costs nothing, and
/// names that occur twice are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  /// What was wrong, once a callback returned false.
  const std::string& error() const { return error_; }
  SafetensorsHeader TakeHeader() { return std::move(header_); }

  bool start_object(size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kEntry:
        state_ = State::kTensor;
        return true;
      case State::kMetadataEntry:
        state_ = State::kMetadata;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(string_t& name) override {
    switch (state_) {
      case State::kTop:
        if (!names_.insert(name).second) return Fail(absl::StrCat(Quoted(name), " occurs twice"));
        if (name == kMetadataKey) {
          state_ = State::kMetadataEntry;
          return true;
        }
        tensor_ = TensorEntry{.name = name};
        fields_.clear();
        state_ = State::kEntry;
        return true;
      case State::kMetadata:
        metadata_name_ = name;
        return true;
      case State::kTensor:
        if (name == "dtype") {
          state_ = State::kDtype;
        } else if (name == "shape") {
          state_ = State::kShape;
        } else if (name == "data_offsets") {
          state_ = State::kOffsets;
        } else {
          return FailTensor(absl::StrCat("has a field ", Quoted(name),
                                         "; it may have dtype, shape and data_offsets"));
        }
        if (!fields_.insert(name).second) {
          return FailTensor(absl::StrCat("has the field ", name, " twice"));
        }
        return true;
      default:
        return Unexpected("a name");
    }
  }

  bool string(string_t& value) override {
    if (state_ == State::kDtype) {
      tensor_.dtype = value;
      state_ = State::kTensor;
      return true;
    }
    if (state_ == State::kMetadata) {
      if (!header_.metadata.emplace(metadata_name_, value).second) {
        return Fail(absl::StrCat(kMetadataKey, " has ", Quoted(metadata_name_), " twice"));
      }
      return true;
    }
    return Unexpected("a string");
  }

  bool start_array(size_t) override {
    if (state_ == State::kShape) {
      state_ = State::kShapeItems;
    } else if (state_ == State::kOffsets) {
      offsets_.clear();
      state_ = State::kOffsetItems;
    } else {
      return Unexpected("an array");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == State::kShapeItems) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return FailTensor(absl::StrCat("has a dimension of ", value, ", which is too large"));
      }
      if (tensor_.shape.size() == kMaxRank) {
        return FailTensor(absl::StrCat("has more than ", kMaxRank, " dimensions"));
      }
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsetItems) {
      if (offsets_.size() == 2) return FailTensor("has more than two data_offsets");
      offsets_.push_back(value);
      return true;
    }
    return Unexpected("a number");
  }

  bool number_integer(number_integer_t value) override {
    if (state_ == State::kShapeItems) {
      return FailTensor(absl::StrCat("has a negative dimension, ", value));
    }
    if (state_ == State::kOffsetItems) {
      return FailTensor(absl::StrCat("has a negative offset in data_offsets, ", value));
    }
    return Unexpected("a number");
  }

  bool number_float(number_float_t, const string_t& text) override {
    if (state_ == State::kShapeItems || state_ == State::kOffsetItems) {
      return FailTensor(absl::StrCat(text.substr(0, 40), " is not an integer of 64 bits"));
    }
    return Unexpected("a number");
  }

  bool end_array() override {
    if (state_ == State::kOffsetItems) {
      if (offsets_.size() != 2) return FailTensor("needs two data_offsets, begin and end");
      tensor_.begin = offsets_[0];
      tensor_.end = offsets_[1];
    }
    state_ = State::kTensor;
    return true;
  }

  bool end_object() override {
    if (state_ == State::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.count(field)) return FailTensor(absl::StrCat("has no ", field));
      }
      header_.tensors.push_back(std::move(tensor_));
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("it is not valid JSON in UTF-8, at byte ", position));
  }

 private:
  /// Where in the header the next event stands.
  enum class State {
    kStart,
    kTop,
    kMetadataEntry,
    kMetadata,
    kEntry,
    kTensor,
    kDtype,
    kShape,
    kShapeItems,
    kOffsets,
    kOffsetItems,
    kEnd,
  };

  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  bool FailTensor(absl::string_view message) {
    return Fail(absl::StrCat("tensor ", Quoted(tensor_.name), " ", message));
  }

  bool Unexpected(absl::string_view what) {
    switch (state_) {
      case State::kEntry:
        return FailTensor(absl::StrCat("is ", what, ", not an object"));
      case State::kDtype:
        return FailTensor(absl::StrCat("has ", what, " as its dtype, not a string"));
      case State::kShape:
      case State::kShapeItems:
        return FailTensor(absl::StrCat("has ", what, " in its shape, not a list of integers"));
      case State::kOffsets:
      case State::kOffsetItems:
        return FailTensor(absl::StrCat("has ", what, " in its data_offsets, not two integers"));
      case State::kMetadataEntry:
      case State::kMetadata:
        return Fail(absl::StrCat(kMetadataKey, " holds ", what,
                                 "; it may hold strings by name, nothing else"));
      default:
        return Fail(absl::StrCat("it has ", what, " where an object is expected"));
    }
  }

  State state_ = State::kStart;
  std::string error_;
  SafetensorsHeader header_;
  std::set<std::string> names_;
  std::string metadata_name_;
  TensorEntry tensor_;
  std::set<std::string> fields_;
  std::vector<uint64_t> offsets_;
};

absl::Status CheckTensor(const TensorEntry& tensor, uint64_t data_bytes) {
  std::string what = absl::StrCat("tensor ", Quoted(tensor.name));
  std::optional<int64_t> element_bytes = DtypeBytes(tensor.dtype);
  if (!element_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has the unknown dtype ", Quoted(tensor.dtype)));
  }
  std::optional<int64_t> bytes = TensorBytes(tensor.shape, *element_bytes);
  if (!bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has the shape ", ShapeText(tensor.shape), ", which is too large"));
  }
  std::string offsets = absl::StrCat("data_offsets [", tensor.begin, ", ", tensor.end, "]");
  if (tensor.begin > tensor.end) {
    return absl::InvalidArgumentError(absl::StrCat(what, " ends before it begins: ", offsets));
  }
  if (tensor.end - tensor.begin != static_cast<uint64_t>(*bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " of ", tensor.dtype, " ",
                                                   ShapeText(tensor.shape), " takes ", *bytes,
                                                   " bytes, but has ", offsets));
  }
  if (tensor.end > data_bytes) {
    return absl::DataLossError(absl::StrCat(what, " has ", offsets, ", but only ", data_bytes,
                                            " bytes follow the header", kDamaged));
  }
  return absl::OkStatus();
}

absl::Status CheckCoverage(const std::vector<TensorEntry>& tensors, uint64_t data_bytes) {
  uint64_t covered = 0;
  const TensorEntry* previous = nullptr;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.begin < covered) {
      return absl::InvalidArgumentError(absl::StrCat("tensors ", Quoted(previous->name), " and ",
                                                     Quoted(tensor.name), " overlap at byte ",
                                                     tensor.begin, " of the data"));
    }
    if (tensor.begin > covered) {
      return absl::InvalidArgumentError(absl::StrCat("bytes [", covered, ", ", tensor.begin,
                                                     "] before tensor ", Quoted(tensor.name),
                                                     " belong to no tensor"));
    }
    covered = tensor.end;
    previous = &tensor;
  }
  if (covered != data_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("bytes [", covered, ", ", data_bytes, "] at the end belong to no tensor"));
  }
  return absl::OkStatus();
}

absl::Status FileError(int error, const std::string& what) {
  return absl::ErrnoToStatus(error, what);
}

/// Close a file descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  /// Return whether closing reported no error; some file systems report a full disk only here.
  bool Close() {
    int fd = std::exchange(fd_, -1);
    return fd < 0 || close(fd) == 0;
  }

 private:
  int fd_;
};

/// Remove a file at the end of a scope, unless it was given another name before.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

/// Return the header's JSON, padded with spaces so that the data after it is aligned.
absl::StatusOr<std::string> MakeHeader(const std::vector<const TensorToWrite*>& tensors,
                                       const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  uint64_t offset = 0;
  for (const TensorToWrite* tensor : tensors) {
    std::string what = absl::StrCat("tensor ", Quoted(tensor->name));
    std::optional<int64_t> element_bytes = DtypeBytes(tensor->dtype);
    if (!element_bytes) {
      return absl::InvalidArgumentError(absl::StrCat(what, " has the dtype ", Quoted(tensor->dtype),
                                                     ", which a safetensors file cannot hold"));
    }
    std::optional<int64_t> bytes = TensorBytes(tensor->shape, *element_bytes);
    if (!bytes || *bytes < 0 || static_cast<uint64_t>(*bytes) != tensor->bytes.size()) {
      return absl::InvalidArgumentError(absl::StrCat(what, " has ", tensor->bytes.size(),
                                                     " bytes, which do not fit ", tensor->dtype,
                                                     " ", ShapeText(tensor->shape)));
    }
    if (tensor->name == kMetadataKey) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " has a name that the format keeps for itself, choose another"));
    }
    if (header.contains(tensor->name)) {
      return absl::InvalidArgumentError(absl::StrCat(what, " is given twice"));
    }
    uint64_t end = offset + tensor->bytes.size();
    header[tensor->name] = {
        {"dtype", tensor->dtype}, {"shape", tensor->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string json;
  try {
    json = header.dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("a name or the metadata is not valid UTF-8");
  }
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header would take ", json.size(), " bytes, more than ", kMaxHeaderBytes));
  }
  return json;
}

/// Create a file beside `path` that no one else has. The mode follows the umask.
absl::StatusOr<std::pair<int, std::string>> CreateBeside(const std::string& path) {
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string name = absl::StrCat(path, ".", absl::Hex(random(), absl::kZeroPad8), ".tmp");
    int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return std::make_pair(fd, name);
    if (errno != EEXIST) return FileError(errno, absl::StrCat("cannot create ", name));
  }
  return absl::UnavailableError(absl::StrCat("cannot create a file beside ", path));
}

absl::Status WithPrefix(const absl::Status& status, absl::string_view prefix) {
  return absl::Status(status.code(), absl::StrCat(prefix, ": ", status.message()));
}

}  // namespace

std::optional<int64_t> DtypeBytes(absl::string_view dtype) {
  static constexpr struct {
    const char* name;
    int64_t bytes;
  } kDtypes[] = {
      {"F32", 4},     {"BF16", 2},    {"F16", 2},         {"F64", 8},         {"I64", 8},
      {"I32", 4},     {"I16", 2},     {"I8", 1},          {"U8", 1},          {"BOOL", 1},
      {"U16", 2},     {"U32", 4},     {"U64", 8},         {"C64", 8},         {"F8_E4M3", 1},
      {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1},
  };
  for (const auto& known : kDtypes) {
    if (dtype == known.name) return known.bytes;
  }
  return std::nullopt;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes) {
  // The format asks for it, so that a file is recognised without being parsed.
  if (json.empty() || json.front() != '{') {
    return absl::InvalidArgumentError("the header does not start with '{'");
  }
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &handler)) {
    return absl::InvalidArgumentError(absl::StrCat("the header is wrong: ", handler.error()));
  }
  SafetensorsHeader header = handler.TakeHeader();
  for (const TensorEntry& tensor : header.tensors) {
    if (absl::Status status = CheckTensor(tensor, data_bytes); !status.ok()) return status;
  }
  // Tensors without elements share their begin with the tensor after them.
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  if (absl::Status status = CheckCoverage(header.tensors, data_bytes); !status.ok()) return status;
  return header;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return FileError(errno, absl::StrCat("cannot open ", path));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return FileError(errno, absl::StrCat("cannot read ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  }
  uint64_t file_bytes = static_cast<uint64_t>(info.st_size);
  if (file_bytes < kLengthBytes) {
    return absl::DataLossError(absl::StrCat(path, " has ", file_bytes,
                                            " bytes, too few for a safetensors file", kDamaged));
  }
  void* map = mmap(nullptr, file_bytes, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (map == MAP_FAILED) return FileError(errno, absl::StrCat("cannot map ", path));

  SafetensorsFile file;
  file.path_ = path;
  file.map_ = static_cast<const char*>(map);
  file.map_bytes_ = file_bytes;
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.map_, kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, " declares a header of ", header_bytes,
                                                   " bytes, more than ", kMaxHeaderBytes,
                                                   "; it is probably not a safetensors file"));
  }
  if (header_bytes > file_bytes - kLengthBytes) {
    return absl::DataLossError(absl::StrCat(path, " declares a header of ", header_bytes,
                                            " bytes, but has ", file_bytes - kLengthBytes,
                                            " bytes after the length", kDamaged));
  }
  file.data_begin_ = kLengthBytes + header_bytes;
  absl::StatusOr<SafetensorsHeader> header = ParseSafetensorsHeader(
      absl::string_view(file.map_ + kLengthBytes, header_bytes), file_bytes - file.data_begin_);
  if (!header.ok()) return WithPrefix(header.status(), path);
  file.header_ = *std::move(header);
  return file;
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept { *this = std::move(other); }

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  if (this == &other) return *this;
  Unmap();
  path_ = std::move(other.path_);
  header_ = std::move(other.header_);
  map_ = std::exchange(other.map_, nullptr);
  map_bytes_ = std::exchange(other.map_bytes_, 0);
  data_begin_ = std::exchange(other.data_begin_, 0);
  return *this;
}

SafetensorsFile::~SafetensorsFile() { Unmap(); }

void SafetensorsFile::Unmap() {
  if (map_ != nullptr) munmap(const_cast<char*>(map_), map_bytes_);
}

const TensorEntry* SafetensorsFile::FindTensor(absl::string_view name) const {
  for (const TensorEntry& tensor : tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

absl::string_view SafetensorsFile::Bytes(const TensorEntry& tensor) const {
  return absl::string_view(map_ + data_begin_ + tensor.begin, tensor.end - tensor.begin);
}

void SafetensorsFile::Release(absl::string_view bytes) const {
  static const auto kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  // Whole pages alone: the ends may be another tensor's. The mapping begins with one.
  const auto begin = static_cast<size_t>(bytes.data() - map_);
  const size_t first = (begin + kPage - 1) / kPage * kPage;
  const size_t last = (begin + bytes.size()) / kPage * kPage;
  if (first < last) madvise(const_cast<char*>(map_) + first, last - first, MADV_DONTNEED);
}

absl::Status WriteSafetensors(const std::string& path, absl::Span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorToWrite*> ordered;
  for (const TensorToWrite& tensor : tensors) ordered.push_back(&tensor);
  std::sort(ordered.begin(), ordered.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
    int64_t a_bytes = DtypeBytes(a->dtype).value_or(0);
    int64_t b_bytes = DtypeBytes(b->dtype).value_or(0);
    return std::tie(b_bytes, a->name) < std::tie(a_bytes, b->name);
  });
  absl::StatusOr<std::string> header = MakeHeader(ordered, metadata);
  if (!header.ok()) return WithPrefix(header.status(), path);

  // A link is followed, so that it stays one; renaming over a device would replace the device.
  std::error_code error;
  std::string target = std::filesystem::weakly_canonical(path, error).string();
  if (error) return FileError(error.value(), absl::StrCat("cannot write ", path));
  struct stat info;
  if (stat(target.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is there and is not a regular file"));
  }

  auto created = CreateBeside(target);
  if (!created.ok()) return created.status();
  Descriptor fd(created->first);
  TemporaryFile temporary(created->second);
  uint64_t header_bytes = header->size();
  char length[kLengthBytes];
  std::memcpy(length, &header_bytes, kLengthBytes);
  absl::Status status = WriteAll(fd.get(), absl::string_view(length, kLengthBytes));
  if (status.ok()) status = WriteAll(fd.get(), *header);
  for (const TensorToWrite* tensor : ordered) {
    if (status.ok()) status = WriteAll(fd.get(), tensor->bytes);
  }
  // Otherwise a crash of the machine could leave the new name with the bytes missing.
  if (status.ok() && fsync(fd.get()) != 0) status = FileError(errno, "fsync");
  if (!fd.Close() && status.ok()) status = FileError(errno, "close");
  if (status.ok() && rename(temporary.path().c_str(), target.c_str()) != 0) {
    status = FileError(errno, "rename");
  }
  if (!status.ok()) return WithPrefix(status, absl::StrCat("cannot write ", path));
  temporary.Keep();
  return absl::OkStatus();
}

}  // namespace weft::weights
