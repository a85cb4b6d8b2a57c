//! A tokenizer as transformers makes it of `tokenizer.json` and `tokenizer_config.json`.

use serde::Deserialize;
use serde_json::{json, Value};
use tokenizers::{AddedToken, ModelWrapper};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Tokens with their properties, which go before those of the file.
    added_tokens: Vec<AddedToken>,
    /// Special tokens that are added where the file does not have them as such.
    special_tokens: Vec<String>,
    /// What `LlamaTokenizer` puts in place of the file's normalizer and pre-tokenizer: where a space
    /// is put before the text. `first`, `always` or `never`; empty for what the file says.
    metaspace: String,
    /// Take out the spaces before punctuation of decoded text. Not done for BPE.
    clean_up_spaces: bool,
}

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    clean_up_spaces: bool,
}

/// Whether a part of the file has this type, in a sequence too.
fn has_type(part: &Value, name: &str) -> bool {
    match part {
        Value::Object(fields) => {
            fields.get("type").and_then(Value::as_str) == Some(name)
                || fields
                    .values()
                    .any(|value| value.is_array() && has_type(value, name))
        }
        Value::Array(items) => items.iter().any(|item| has_type(item, name)),
        _ => false,
    }
}

/// The backend that transformers builds for the class `LlamaTokenizer`, which takes vocabulary,
/// merges, added tokens and the post-processor from the file alone.
fn as_llama(file: &[u8], prepend: &str) -> Result<Vec<u8>, Error> {
    let mut json: Value = serde_json::from_slice(file)?;
    let byte_level =
        has_type(&json["pre_tokenizer"], "ByteLevel") || has_type(&json["decoder"], "ByteLevel");
    if byte_level || json["model"]["type"] != "BPE" {
        return Ok(file.to_vec());
    }
    json["normalizer"] = Value::Null;
    json["pre_tokenizer"] = json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend, "split": false
    });
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prepend != "never" {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json["decoder"] = json!({"type": "Sequence", "decoders": decoders});
    let model = &mut json["model"];
    for (name, value) in [
        ("dropout", Value::Null),
        ("unk_token", Value::Null),
        ("continuing_subword_prefix", Value::Null),
        ("end_of_word_suffix", Value::Null),
        ("fuse_unk", Value::Bool(true)),
        ("byte_fallback", Value::Bool(true)),
        ("ignore_merges", Value::Bool(false)),
    ] {
        model[name] = value;
    }
    Ok(serde_json::to_vec(&json)?)
}

/// As Python's `clean_up_tokenization`.
fn clean_up(text: String) -> String {
    [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to))
}

impl Tokenizer {
    pub fn parse(file: &[u8], options: &[u8]) -> Result<Self, Error> {
        let options: Options = if options.is_empty() {
            Options::default()
        } else {
            serde_json::from_slice(options)?
        };
        let mut inner = if options.metaspace.is_empty() {
            tokenizers::Tokenizer::from_bytes(file)?
        } else {
            tokenizers::Tokenizer::from_bytes(as_llama(file, &options.metaspace)?)?
        };
        // Callers decide on length and padding, as in transformers, whatever was set when the
        // file was saved.
        inner.with_truncation(None)?;
        inner.with_padding(None);
        inner.add_tokens(&options.added_tokens);
        for token in &options.special_tokens {
            let known = inner
                .get_added_tokens_decoder()
                .values()
                .any(|added| added.content == *token);
            if !known {
                inner.add_tokens(&[AddedToken::from(token.clone(), true)]);
            }
        }
        let bpe = matches!(inner.get_model(), ModelWrapper::BPE(_));
        Ok(Tokenizer {
            inner,
            clean_up_spaces: options.clean_up_spaces && !bpe,
        })
    }

    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Error> {
        Ok(self
            .inner
            .encode_fast(text, add_special_tokens)?
            .get_ids()
            .to_vec())
    }

    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, Error> {
        let text = self.inner.decode(ids, skip_special_tokens)?;
        Ok(if self.clean_up_spaces {
            clean_up(text)
        } else {
            text
        })
    }
}
