//! A C ABI over Hugging Face's `tokenizers` and `minijinja`; `engine/text/tokenizers_abi.h` is its
//! other side.
//!
//! A function that can fail returns whether it succeeded and fills one `WeftBytes` with its result
//! or with a message. No panic crosses the boundary.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

mod chat;
mod python;
mod tokenizer;

use chat::ChatTemplate;
use tokenizer::Tokenizer;

/// Bytes that belong to the caller until it hands them to `weft_bytes_free`.
#[repr(C)]
pub struct WeftBytes {
    data: *mut u8,
    size: usize,
    capacity: usize,
}

impl WeftBytes {
    fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        WeftBytes {
            data: bytes.as_mut_ptr(),
            size: bytes.len(),
            capacity: bytes.capacity(),
        }
    }
}

/// Shared by threads without a lock.
const _: fn() = || {
    fn assert_shareable<T: Send + Sync>() {}
    assert_shareable::<Tokenizer>();
    assert_shareable::<ChatTemplate>();
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Run `body`, and put its bytes, its error's text or its panic's text into `out`.
///
/// # Safety
/// `out` must be valid for a write.
unsafe fn guard(out: *mut WeftBytes, body: impl FnOnce() -> Result<Vec<u8>, Error>) -> bool {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let (ok, bytes) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(bytes)) => (true, bytes),
        Ok(Err(error)) => (false, error.to_string().into_bytes()),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown");
            (false, format!("it panicked: {text}").into_bytes())
        }
    };
    out.write(WeftBytes::new(bytes));
    ok
}

/// # Safety
/// `data` must be valid for reads of `size` elements; it may be null where `size` is 0.
unsafe fn view<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// `options` is JSON, see `tokenizer::Options`.
///
/// # Safety
/// `json` and `options` must hold so many bytes; `tokenizer` and `error` be valid for writes.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_new(
    json: *const u8,
    size: usize,
    options: *const u8,
    options_size: usize,
    tokenizer: *mut *mut Tokenizer,
    error: *mut WeftBytes,
) -> bool {
    guard(error, || {
        let parsed = Tokenizer::parse(view(json, size), view(options, options_size))?;
        tokenizer.write(Box::into_raw(Box::new(parsed)));
        Ok(Vec::new())
    })
}

/// # Safety
/// `tokenizer` must come from `weft_tokenizer_new` and not be used again.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_free(tokenizer: *mut Tokenizer) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(tokenizer))));
}

/// # Safety
/// `bytes` must have been filled by this library and not be used again.
#[no_mangle]
pub unsafe extern "C" fn weft_bytes_free(bytes: WeftBytes) {
    drop(Vec::from_raw_parts(bytes.data, bytes.size, bytes.capacity));
}

/// The ids, four bytes each in the machine's order.
///
/// # Safety
/// `tokenizer` must be alive, `text` hold `size` bytes, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    size: usize,
    add_special_tokens: bool,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || {
        let text = std::str::from_utf8(view(text, size))?;
        let ids = (*tokenizer).encode(text, add_special_tokens)?;
        Ok(ids.iter().flat_map(|id| id.to_ne_bytes()).collect())
    })
}

/// The text of `ids`. Ids that the vocabulary lacks are left out.
///
/// # Safety
/// `tokenizer` must be alive, `ids` hold `count` ids, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: bool,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || {
        let text = (*tokenizer).decode(view(ids, count), skip_special_tokens)?;
        Ok(text.into_bytes())
    })
}

/// The id of `token`, four bytes in the machine's order, or nothing.
///
/// # Safety
/// `tokenizer` must be alive, `token` hold `size` bytes, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_token_to_id(
    tokenizer: *const Tokenizer,
    token: *const u8,
    size: usize,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || {
        let token = std::str::from_utf8(view(token, size))?;
        let id = (*tokenizer).inner().token_to_id(token);
        Ok(id.map_or(Vec::new(), |id| id.to_ne_bytes().to_vec()))
    })
}

/// The token of `id`; fails where there is none.
///
/// # Safety
/// `tokenizer` must be alive, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_id_to_token(
    tokenizer: *const Tokenizer,
    id: u32,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || match (*tokenizer).inner().id_to_token(id) {
        Some(token) => Ok(token.into_bytes()),
        None => Err("no such id".into()),
    })
}

/// The number of tokens, added ones included, eight bytes in the machine's order.
///
/// # Safety
/// `tokenizer` must be alive, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_tokenizer_vocab_size(
    tokenizer: *const Tokenizer,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || {
        let size = (*tokenizer).inner().get_vocab_size(true) as u64;
        Ok(size.to_ne_bytes().to_vec())
    })
}

/// # Safety
/// `source` must hold `size` bytes; `template` and `error` be valid for writes.
#[no_mangle]
pub unsafe extern "C" fn weft_chat_template_new(
    source: *const u8,
    size: usize,
    template: *mut *mut ChatTemplate,
    error: *mut WeftBytes,
) -> bool {
    guard(error, || {
        let parsed = ChatTemplate::parse(std::str::from_utf8(view(source, size))?)?;
        template.write(Box::into_raw(Box::new(parsed)));
        Ok(Vec::new())
    })
}

/// # Safety
/// `template` must come from `weft_chat_template_new` and not be used again.
#[no_mangle]
pub unsafe extern "C" fn weft_chat_template_free(template: *mut ChatTemplate) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(template))));
}

/// The text of a chat. `request` is JSON, see `chat::Request`.
///
/// # Safety
/// `template` must be alive, `request` hold `size` bytes, `out` be valid for a write.
#[no_mangle]
pub unsafe extern "C" fn weft_chat_template_render(
    template: *const ChatTemplate,
    request: *const u8,
    size: usize,
    out: *mut WeftBytes,
) -> bool {
    guard(out, || {
        let request = serde_json::from_slice(view(request, size))?;
        Ok((*template).render(request)?.into_bytes())
    })
}
