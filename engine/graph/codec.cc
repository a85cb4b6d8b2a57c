#include "engine/graph/codec.h"

#include <algorithm>
#include <utility>

#include "engine/graph/syntax.h"
#include "weft/v1/weft.pb.h"

namespace weft::graph {

absl::StatusOr<HostTensor> DecodeTensor(const v1::Tensor& message) {
  if (message.dtype() == v1::DTYPE_UNSPECIFIED) {
    return absl::InvalidArgumentError("a tensor needs a dtype");
  }
  return HostTensor::Make(static_cast<DType>(message.dtype()),
                          {message.shape().begin(), message.shape().end()}, message.data());
}

void EncodeTensor(const HostTensor& tensor, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DType>(tensor.dtype));
  message->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  message->set_data(tensor.data, tensor.bytes);
}

void EncodeError(const Error& error, v1::Error* message) {
  message->set_code(static_cast<int>(error.code));
  message->set_message(ToUtf8(error.message));
  message->set_node(error.node);
  message->set_statement(ToUtf8(error.statement));
  if (error.source.line != 0 || !error.source.file.empty()) {
    message->mutable_source()->set_file(ToUtf8(error.source.file));
    message->mutable_source()->set_line(error.source.line);
  }
  message->set_hint(ToUtf8(error.hint));
  message->set_site(ToUtf8(error.site));
  message->set_retry_after_seconds(error.retry_after_seconds);
}

Error DecodeError(const v1::Error& message) {
  Error error;
  error.code = static_cast<absl::StatusCode>(message.code());
  error.message = message.message();
  error.node = message.node();
  error.statement = message.statement();
  error.source = {message.source().file(), message.source().line()};
  error.hint = message.hint();
  error.site = message.site();
  error.retry_after_seconds = message.retry_after_seconds();
  return error;
}

void EncodePattern(const Pattern& pattern, v1::Pattern* message) {
  struct Encoder {
    v1::Pattern* message;
    void operator()(std::monostate) const { message->mutable_none(); }
    void operator()(const std::string& scalar) const { message->set_scalar(scalar); }
    void operator()(const Pattern::Tensor& tensor) const {
      v1::TensorPattern* out = message->mutable_tensor();
      out->set_dtype(static_cast<v1::DType>(tensor.dtype));
      for (const Dimension& dimension : tensor.shape) {
        v1::Dimension* size = out->add_shape();
        size->set_constant(dimension.constant);
        size->set_batch(dimension.batch);
        size->set_tokens(dimension.tokens);
        size->set_past(dimension.past);
        size->set_at_most(dimension.at_most);
      }
      out->set_range(tensor.range);
    }
    void operator()(const Pattern::List& list) const {
      v1::PatternList* out = message->mutable_list();
      for (const Pattern& item : list.items) EncodePattern(item, out->add_items());
    }
    void operator()(const Pattern::Tuple& tuple) const {
      v1::PatternList* out = message->mutable_tuple();
      for (const Pattern& item : tuple.items) EncodePattern(item, out->add_items());
    }
    void operator()(const Pattern::Dict& dict) const {
      v1::PatternDict* out = message->mutable_dict();
      for (const auto& [key, value] : dict.entries) {
        out->add_keys(key);
        EncodePattern(value, out->add_values());
      }
    }
  };
  std::visit(Encoder{message}, pattern.value);
}

// Recursion is bounded: protobuf does not parse messages nested deeper than 100.
Pattern DecodePattern(const v1::Pattern& message) {
  Pattern pattern;
  switch (message.pattern_case()) {
    case v1::Pattern::kTensor: {
      auto& tensor = pattern.value.emplace<Pattern::Tensor>();
      tensor.dtype = static_cast<DType>(message.tensor().dtype());
      for (const v1::Dimension& size : message.tensor().shape()) {
        tensor.shape.push_back(
            {size.constant(), size.batch(), size.tokens(), size.past(), size.at_most()});
      }
      tensor.range = message.tensor().range();
      break;
    }
    case v1::Pattern::kList: {
      auto& list = pattern.value.emplace<Pattern::List>();
      for (const v1::Pattern& item : message.list().items()) {
        list.items.push_back(DecodePattern(item));
      }
      break;
    }
    case v1::Pattern::kTuple: {
      auto& tuple = pattern.value.emplace<Pattern::Tuple>();
      for (const v1::Pattern& item : message.tuple().items()) {
        tuple.items.push_back(DecodePattern(item));
      }
      break;
    }
    case v1::Pattern::kDict: {
      auto& dict = pattern.value.emplace<Pattern::Dict>();
      const int entries = std::min(message.dict().keys_size(), message.dict().values_size());
      for (int i = 0; i < entries; ++i) {
        dict.entries.emplace_back(message.dict().keys(i), DecodePattern(message.dict().values(i)));
      }
      break;
    }
    case v1::Pattern::kScalar:
      pattern.value = message.scalar();
      break;
    case v1::Pattern::kNone:
    case v1::Pattern::PATTERN_NOT_SET:
      break;
  }
  return pattern;
}

}  // namespace weft::graph
