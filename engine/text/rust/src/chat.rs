//! Chat templates: Jinja as transformers runs it, within bounds.

use std::ffi::CString;
use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::Deserialize;

use crate::python;

const NAME: &str = "chat template";
/// What one rendering may take: an instruction costs one, and so do 64 bytes that it makes.
const FUEL: u64 = 4_000_000;
const RECURSION: usize = 100;
const MAX_SOURCE: usize = 1 << 20;
/// What transformers puts behind the message to go on with, to find its end.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// What a template is rendered with.
#[derive(Deserialize)]
pub struct Request {
    messages: Vec<Message>,
    add_generation_prompt: bool,
    continue_final_message: bool,
    /// Special tokens by their names, `bos_token`.
    variables: Vec<(String, String)>,
    /// Seconds since 1970, for `strftime_now`.
    now: i64,
    max_bytes: usize,
}

pub struct ChatTemplate {
    environment: Environment<'static>,
    uses_content: bool,
}

/// `{% generation %}` only marks what an assistant said, and has a scope of its own.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let sign = usize::from(tag.starts_with(['-', '+']));
        let word = tag[sign..].trim_start();
        let replaced = [("generation", "with"), ("endgeneration", "endwith")]
            .into_iter()
            .find_map(|(name, other)| {
                let after = word.strip_prefix(name)?;
                let end = after.trim_start();
                let end = end.strip_prefix(['-', '+']).unwrap_or(end);
                end.starts_with("%}").then_some((after, other))
            });
        match replaced {
            None => rest = tag,
            Some((after, other)) => {
                out.push_str(&tag[..sign]);
                out.push(' ');
                out.push_str(other);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The local time in C's format, which is Python's.
fn format_time(now: i64, format: &str) -> Result<String, Error> {
    let refuse = |what: &str| Error::new(ErrorKind::InvalidOperation, what.to_string());
    // Without a time zone of its own, as Python's `datetime.now()`.
    let format = format.replace("%z", "").replace("%Z", "");
    if format.is_empty() {
        return Ok(String::new());
    }
    // strftime gives no bytes both for an empty result and for one that does not fit.
    let format = CString::new(format + " ").map_err(|_| refuse("a time's format holds a null"))?;
    let seconds = now as libc::time_t;
    let mut buffer = [0u8; 1024];
    // SAFETY: `fields` is filled before it is read, and strftime writes within the buffer.
    let size = unsafe {
        let mut fields: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut fields).is_null() {
            return Err(refuse("the time cannot be told"));
        }
        libc::strftime(
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            format.as_ptr(),
            &fields,
        )
    };
    if size == 0 {
        return Err(refuse("a time's format is too long"));
    }
    Ok(String::from_utf8_lossy(&buffer[..size - 1]).into_owned())
}

impl ChatTemplate {
    pub fn parse(source: &str) -> Result<Self, Failure> {
        if source.len() > MAX_SOURCE {
            return Err(format!("it has more than {MAX_SOURCE} bytes").into());
        }
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.set_unknown_method_callback(python::call_method);
        environment.add_filter("trim", python::trim);
        environment.add_filter("tojson", python::to_json);
        environment.add_function(
            "raise_exception",
            |message: Value| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message.to_string()))
            },
        );
        environment.add_template_owned(NAME, without_generation_tags(source))?;
        Ok(ChatTemplate {
            environment,
            uses_content: source.contains("content"),
        })
    }

    pub fn render(&self, request: Request) -> Result<String, Failure> {
        let Some(last) = request.messages.last() else {
            return Err("a chat without messages".into());
        };
        let last = last.content.clone();
        if request.continue_final_message {
            if request.add_generation_prompt {
                return Err(
                    "a generation prompt begins a message, and so cannot follow one to go on with"
                        .into(),
                );
            }
            if !self.uses_content {
                return Err("the template does not read what messages say".into());
            }
        }
        let count = request.messages.len();
        let messages: Vec<Value> = request
            .messages
            .into_iter()
            .enumerate()
            .map(|(i, message)| {
                let mut content = message.content;
                if request.continue_final_message && i + 1 == count {
                    content.push_str(TAG);
                }
                Value::from_pairs([("role", message.role), ("content", content)])
            })
            .collect();
        let mut variables: Vec<(String, Value)> = request
            .variables
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect();
        let now = request.now;
        variables.push(("messages".into(), Value::from(messages)));
        variables.push(("tools".into(), Value::from(())));
        variables.push(("documents".into(), Value::from(())));
        variables.push((
            "add_generation_prompt".into(),
            request.add_generation_prompt.into(),
        ));
        variables.push((
            "strftime_now".into(),
            Value::from_function(move |format: &str| format_time(now, format)),
        ));

        let mut out = Bounded {
            text: Vec::new(),
            left: request.max_bytes,
            full: false,
        };
        let template = self.environment.get_template(NAME)?;
        let rendered = template.render_captured_to(Value::from_pairs(variables), &mut out);
        if out.full {
            return Err(format!("what it makes has more than {} bytes", request.max_bytes).into());
        }
        rendered?;
        let mut text = String::from_utf8(out.text)?;
        if request.continue_final_message {
            cut_after(&mut text, &last)?;
        }
        Ok(text)
    }
}

/// Cut what the template puts behind the final message, as transformers does.
fn cut_after(text: &mut String, last: &str) -> Result<(), Failure> {
    let tag = python::trim_both(TAG);
    let (true, Some(at)) = (text.contains(python::trim_both(last)), text.rfind(tag)) else {
        return Err("the message to go on with is not in what the template makes".into());
    };
    let spaced = text[at..].starts_with(TAG);
    text.truncate(at);
    if !spaced {
        let end = python::trim_end(text).len();
        text.truncate(end);
    }
    Ok(())
}

struct Bounded {
    text: Vec<u8>,
    left: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.left {
            self.full = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.left -= bytes.len();
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
