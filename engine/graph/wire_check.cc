#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/graph/codec.h"
#include "engine/graph/syntax.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace weft::graph {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

/// What a field's bytes must look like.
enum class Form : uint8_t {
  kUnknown,
  kVarint64,
  kInt32,
  kUint32,
  kEnum,
  kFixed32,
  kFixed64,
  kString,
  kBytes,
  kMessage,
};

WireType WireTypeOf(Form form) {
  switch (form) {
    case Form::kFixed32:
      return kFixed32;
    case Form::kFixed64:
      return kFixed64;
    case Form::kString:
    case Form::kBytes:
    case Form::kMessage:
      return kLengthDelimited;
    default:
      return kVarint;
  }
}

struct Table;

struct Field {
  Form form = Form::kUnknown;
  bool repeated = false;
  const Table* message = nullptr;
  const EnumDescriptor* enumeration = nullptr;
  uint64_t enum_values = 0;  // a bit for each value below 64
};

/// What CheckWire needs of a descriptor, so that it looks nothing up for each field.
struct Table {
  const Descriptor* type = nullptr;
  std::vector<Field> fields;  // by number; the contract's are small
};

/// The tables of every message type that was asked for, made once and kept. Thread-safe.
class Tables {
 public:
  static Tables& Get() {
    static Tables* tables = new Tables;
    return *tables;
  }

  const Table* Find(const Descriptor* type) {
    {
      absl::ReaderMutexLock lock(&mutex_);
      if (auto found = tables_.find(type); found != tables_.end()) return found->second.get();
    }
    absl::MutexLock lock(&mutex_);
    return Build(type);
  }

 private:
  const Table* Build(const Descriptor* root) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<Table*> unfilled;
    const auto table_of = [&](const Descriptor* type) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      std::unique_ptr<Table>& table = tables_[type];
      if (table == nullptr) {
        table = std::make_unique<Table>();
        table->type = type;
        unfilled.push_back(table.get());
      }
      return table.get();
    };
    const Table* result = table_of(root);
    while (!unfilled.empty()) {
      Table* table = unfilled.back();
      unfilled.pop_back();
      for (int i = 0; i < table->type->field_count(); ++i) {
        const FieldDescriptor* descriptor = table->type->field(i);
        Field field = MakeField(*descriptor);
        if (descriptor->message_type() != nullptr) {
          field.message = table_of(descriptor->message_type());
        }
        const size_t number = descriptor->number();
        if (number >= table->fields.size()) table->fields.resize(number + 1);
        table->fields[number] = field;
      }
    }
    return result;
  }

  static Field MakeField(const FieldDescriptor& descriptor) {
    Field field;
    field.repeated = descriptor.is_repeated();
    switch (descriptor.type()) {
      case FieldDescriptor::TYPE_INT32:
        field.form = Form::kInt32;
        break;
      case FieldDescriptor::TYPE_UINT32:
      case FieldDescriptor::TYPE_SINT32:
        field.form = Form::kUint32;
        break;
      case FieldDescriptor::TYPE_INT64:
      case FieldDescriptor::TYPE_UINT64:
      case FieldDescriptor::TYPE_SINT64:
      case FieldDescriptor::TYPE_BOOL:
        field.form = Form::kVarint64;
        break;
      case FieldDescriptor::TYPE_ENUM:
        field.form = Form::kEnum;
        field.enumeration = descriptor.enum_type();
        for (int i = 0; i < descriptor.enum_type()->value_count(); ++i) {
          const int value = descriptor.enum_type()->value(i)->number();
          if (value >= 0 && value < 64) field.enum_values |= uint64_t{1} << value;
        }
        break;
      case FieldDescriptor::TYPE_FLOAT:
      case FieldDescriptor::TYPE_FIXED32:
      case FieldDescriptor::TYPE_SFIXED32:
        field.form = Form::kFixed32;
        break;
      case FieldDescriptor::TYPE_DOUBLE:
      case FieldDescriptor::TYPE_FIXED64:
      case FieldDescriptor::TYPE_SFIXED64:
        field.form = Form::kFixed64;
        break;
      case FieldDescriptor::TYPE_STRING:
        field.form = Form::kString;
        break;
      case FieldDescriptor::TYPE_BYTES:
        field.form = Form::kBytes;
        break;
      case FieldDescriptor::TYPE_MESSAGE:
        field.form = Form::kMessage;
        break;
      case FieldDescriptor::TYPE_GROUP:
        break;  // never in proto3: stays unknown
    }
    return field;
  }

  absl::Mutex mutex_;
  absl::flat_hash_map<const Descriptor*, std::unique_ptr<Table>> tables_ ABSL_GUARDED_BY(mutex_);
};

/// Read a varint of at most ten bytes; false if it is truncated or longer than 64 bits.
inline bool ReadVarint(const char** p, const char* end, uint64_t* value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(*p);
  const auto* limit = reinterpret_cast<const unsigned char*>(end);
  uint64_t result = 0;
  for (int shift = 0; bytes < limit; shift += 7) {
    const uint64_t byte = *bytes++;
    if (shift == 63 && byte > 1) return false;
    result |= (byte & 0x7F) << shift;
    if (byte < 0x80) {
      *p = reinterpret_cast<const char*>(bytes);
      *value = result;
      return true;
    }
    if (shift == 63) return false;
  }
  return false;
}

/// One walk over one message. Not thread-safe.
class Walk {
 public:
  Walk(const char* data, size_t size, const Table* root, const WireBudget& budget)
      : end_(data + size), budget_(budget) {
    frames_[0] = {data, end_, root, 0};
  }

  absl::Status Run();

 private:
  struct Frame {
    const char* begin;
    const char* end;
    const Table* table;
    uint32_t number;  // of the parent's field that this message is
  };
  static constexpr int kMaxFrames = 64;

  /// Null if the scalar at `p` fits its field; else what is wrong.
  const char* TakeScalar(const Field& field, const char** p, const char* end);
  bool OverBudget() { return ++elements_ > budget_.elements; }

  /// A refusal about field `number` of the innermost message (0 for the message itself).
  absl::Status Refuse(uint32_t number, const std::string& what,
                      absl::StatusCode code = absl::StatusCode::kInvalidArgument) const;
  absl::Status RefuseBudget(uint32_t number) const;
  /// How many fields `number` of `frame` come before the one around `place`, which is after its
  /// tag.
  static size_t CountBefore(const Frame& frame, uint32_t number, const char* place);

  const char* const end_;
  const WireBudget& budget_;
  uint64_t elements_ = 0;
  uint64_t unknown_enum_value_ = 0;
  const char* field_begin_ = nullptr;  // of the field at hand, after its tag
  int depth_ = 0;                      // of the innermost frame
  Frame frames_[kMaxFrames];
};

const char* Walk::TakeScalar(const Field& field, const char** p, const char* end) {
  if (field.form == Form::kFixed32 || field.form == Form::kFixed64) {
    const int size = field.form == Form::kFixed32 ? 4 : 8;
    if (end - *p < size) return "is cut short";
    *p += size;
    return nullptr;
  }
  uint64_t value = 0;
  if (!ReadVarint(p, end, &value)) return "is cut short or longer than 64 bits";
  switch (field.form) {
    case Form::kUint32:
      return value <= std::numeric_limits<uint32_t>::max() ? nullptr : "does not fit 32 bits";
    case Form::kInt32: {
      const auto number = static_cast<int64_t>(value);
      const bool fits = number >= std::numeric_limits<int32_t>::min() &&
                        number <= std::numeric_limits<int32_t>::max();
      return fits ? nullptr : "does not fit 32 bits";
    }
    case Form::kEnum:
      if (value < 64 && (field.enum_values >> value & 1) != 0) return nullptr;
      if (value >= 64 && value <= std::numeric_limits<int32_t>::max() &&
          field.enumeration->FindValueByNumber(static_cast<int>(value)) != nullptr) {
        return nullptr;
      }
      unknown_enum_value_ = value;
      return "has the unknown enum value ";
    default:
      return nullptr;
  }
}

absl::Status Walk::Run() {
  const char* p = frames_[0].begin;
  while (true) {
    const Frame& frame = frames_[depth_];
    if (p == frame.end) {
      if (depth_ == 0) return absl::OkStatus();
      --depth_;
      continue;
    }
    uint64_t tag = 0;
    if (!ReadVarint(&p, frame.end, &tag) || tag > std::numeric_limits<uint32_t>::max()) {
      return Refuse(0, "is cut short inside a field's tag");
    }
    field_begin_ = p;
    const auto number = static_cast<uint32_t>(tag >> 3);
    const auto wire_type = static_cast<uint32_t>(tag & 7);
    if (number == 0) return Refuse(0, "holds a field of number 0");
    if (number >= frame.table->fields.size() ||
        frame.table->fields[number].form == Form::kUnknown) {
      return Refuse(number, "is unknown to this version");
    }
    const Field& field = frame.table->fields[number];
    const WireType expected = WireTypeOf(field.form);
    const bool packed =
        field.repeated && expected != kLengthDelimited && wire_type == kLengthDelimited;
    if (wire_type != expected && !packed) {
      return Refuse(number, absl::StrCat("has wire type ", wire_type, ", not ", expected));
    }

    if (wire_type != kLengthDelimited) {
      if (field.repeated && OverBudget()) return RefuseBudget(number);
      if (const char* wrong = TakeScalar(field, &p, frame.end)) return Refuse(number, wrong);
      continue;
    }
    uint64_t length = 0;
    if (!ReadVarint(&p, frame.end, &length) || length > static_cast<uint64_t>(frame.end - p)) {
      return Refuse(number, "is cut short");
    }
    const char* payload_end = p + length;
    if (packed) {
      while (p < payload_end) {
        if (const char* wrong = TakeScalar(field, &p, payload_end)) return Refuse(number, wrong);
      }
      continue;
    }
    if (OverBudget()) return RefuseBudget(number);
    if (field.form == Form::kMessage) {
      if (depth_ + 1 >= std::min(budget_.depth, kMaxFrames)) {
        return Refuse(number,
                      absl::StrCat("is nested deeper than ", std::min(budget_.depth, kMaxFrames)),
                      absl::StatusCode::kResourceExhausted);
      }
      frames_[++depth_] = {p, payload_end, field.message, number};
      continue;
    }
    if (field.form == Form::kString && !IsUtf8(p, length)) {
      return Refuse(number, "is not valid UTF-8");
    }
    p = payload_end;
  }
}

size_t Walk::CountBefore(const Frame& frame, uint32_t number, const char* place) {
  size_t count = 0;
  const char* p = frame.begin;
  uint64_t tag = 0;
  while (ReadVarint(&p, place, &tag)) {
    uint64_t length = 0;
    switch (tag & 7) {
      case kVarint:
        ReadVarint(&p, place, &length);
        length = 0;
        break;
      case kFixed64:
        length = 8;
        break;
      case kFixed32:
        length = 4;
        break;
      default:
        ReadVarint(&p, place, &length);
    }
    if (p >= place) break;
    if (tag >> 3 == number) ++count;
    p += length;
  }
  return count;
}

absl::Status Walk::Refuse(uint32_t number, const std::string& what, absl::StatusCode code) const {
  std::string path;
  for (int i = 1; i <= depth_; ++i) {
    const Frame& parent = frames_[i - 1];
    const FieldDescriptor* field = parent.table->type->FindFieldByNumber(frames_[i].number);
    absl::StrAppend(&path, i > 1 ? "." : "", field->name());
    if (field->is_repeated()) {
      absl::StrAppend(&path, "[", CountBefore(parent, frames_[i].number, frames_[i].begin), "]");
    }
  }
  const Descriptor* type = frames_[depth_].table->type;
  if (number != 0) {
    if (!path.empty()) path += ".";
    const FieldDescriptor* field = type->FindFieldByNumber(static_cast<int>(number));
    absl::StrAppend(&path, field == nullptr ? absl::StrCat("field ", number) : field->name());
    if (field != nullptr && field->is_repeated()) {
      absl::StrAppend(&path, "[", CountBefore(frames_[depth_], number, field_begin_), "]");
    }
  }
  std::string message = absl::StrCat(path.empty() ? "the message" : path, " ", what);
  if (what.back() == ' ') absl::StrAppend(&message, unknown_enum_value_);
  absl::StrAppend(&message, " (weft.v1.", type->name(), ")");
  return absl::Status(code, message);
}

absl::Status Walk::RefuseBudget(uint32_t number) const {
  return Refuse(number,
                absl::StrCat("is one too many: a message holds at most ", budget_.elements,
                             " submessages, strings and list items"),
                absl::StatusCode::kResourceExhausted);
}

}  // namespace

absl::Status CheckWire(const char* data, size_t size, const Descriptor& type,
                       const WireBudget& budget) {
  if (size > budget.bytes || size > std::numeric_limits<int32_t>::max()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the message has ", size, " bytes; at most ", budget.bytes, " are allowed"));
  }
  return Walk(data, size, Tables::Get().Find(&type), budget).Run();
}

absl::Status ParseChecked(const char* data, size_t size, google::protobuf::Message* message,
                          const WireBudget& budget) {
  if (absl::Status status = CheckWire(data, size, *message->GetDescriptor(), budget);
      !status.ok()) {
    return status;
  }
  if (!message->ParseFromArray(data, static_cast<int>(size))) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bytes are not a ", message->GetDescriptor()->full_name()));
  }
  return absl::OkStatus();
}

}  // namespace weft::graph
