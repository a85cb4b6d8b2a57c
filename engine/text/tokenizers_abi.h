#pragma once

#include <cstddef>
#include <cstdint>

// The C ABI of rust/src/lib.rs. Functions that can fail return whether they succeeded and fill one
// WeftBytes with their result or with a message; it has to be freed in both cases.

extern "C" {

struct WeftTokenizer;
struct WeftChatTemplate;

struct WeftBytes {
  uint8_t* data;
  size_t size;
  size_t capacity;
};

bool weft_tokenizer_new(const uint8_t* json, size_t size, const uint8_t* options,
                        size_t options_size, WeftTokenizer** tokenizer, WeftBytes* error);
void weft_tokenizer_free(WeftTokenizer* tokenizer);
void weft_bytes_free(WeftBytes bytes);

bool weft_tokenizer_encode(const WeftTokenizer* tokenizer, const uint8_t* text, size_t size,
                           bool add_special_tokens, WeftBytes* out);
bool weft_tokenizer_decode(const WeftTokenizer* tokenizer, const uint32_t* ids, size_t count,
                           bool skip_special_tokens, WeftBytes* out);
bool weft_tokenizer_token_to_id(const WeftTokenizer* tokenizer, const uint8_t* token, size_t size,
                                WeftBytes* out);
bool weft_tokenizer_id_to_token(const WeftTokenizer* tokenizer, uint32_t id, WeftBytes* out);
bool weft_tokenizer_vocab_size(const WeftTokenizer* tokenizer, WeftBytes* out);

bool weft_chat_template_new(const uint8_t* source, size_t size, WeftChatTemplate** chat_template,
                            WeftBytes* error);
void weft_chat_template_free(WeftChatTemplate* chat_template);
bool weft_chat_template_render(const WeftChatTemplate* chat_template, const uint8_t* request,
                               size_t size, WeftBytes* out);

}  // extern "C"
