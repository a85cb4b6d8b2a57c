//! What templates expect of Python: its white space, its lines, its `json.dumps`, its methods of
//! strings.

use minijinja::value::{from_args, Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Nested structures deeper than this are not written as JSON.
const MAX_JSON_DEPTH: usize = 64;

/// `str.isspace`, which knows four separators that Unicode's White_Space does not.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

enum Side {
    Left,
    Right,
    Both,
}

fn strip<'a>(text: &'a str, side: Side, chars: Option<&str>) -> &'a str {
    let unwanted = |c: char| chars.map_or(is_space(c), |chars| chars.contains(c));
    match side {
        Side::Left => text.trim_start_matches(unwanted),
        Side::Right => text.trim_end_matches(unwanted),
        Side::Both => text.trim_matches(unwanted),
    }
}

fn split_lines(text: &str, keep_ends: bool) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_line_end) {
        let end = if rest[at..].starts_with("\r\n") {
            at + 2
        } else {
            at + rest[at..].chars().next().map_or(0, char::len_utf8)
        };
        lines.push(Value::from(&rest[..if keep_ends { end } else { at }]));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    lines
}

/// `str.split` without a separator.
fn split_space(text: &str, most: Option<i64>, from_right: bool) -> Vec<Value> {
    let most = most
        .filter(|&most| most >= 0)
        .map_or(usize::MAX, |most| most as usize);
    let mut words = Vec::new();
    let mut rest = strip(text, Side::Both, None);
    while !rest.is_empty() {
        let cut = if words.len() >= most {
            None
        } else if from_right {
            rest.rfind(is_space)
        } else {
            rest.find(is_space)
        };
        let (word, left) = match cut {
            None => (rest, ""),
            Some(at) if from_right => {
                let after = at + rest[at..].chars().next().map_or(0, char::len_utf8);
                (&rest[after..], strip(&rest[..at], Side::Right, None))
            }
            Some(at) => (&rest[..at], strip(&rest[at..], Side::Left, None)),
        };
        words.push(Value::from(word));
        rest = left;
    }
    if from_right {
        words.reverse();
    }
    words
}

fn split(
    text: &str,
    separator: Option<&str>,
    most: Option<i64>,
    from_right: bool,
) -> Result<Value, Error> {
    let Some(separator) = separator else {
        return Ok(Value::from(split_space(text, most, from_right)));
    };
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let pieces: Vec<Value> = match most.filter(|&most| most >= 0) {
        None => text.split(separator).map(Value::from).collect(),
        Some(most) if from_right => {
            let mut pieces: Vec<Value> = text
                .rsplitn(most as usize + 1, separator)
                .map(Value::from)
                .collect();
            pieces.reverse();
            pieces
        }
        Some(most) => text
            .splitn(most as usize + 1, separator)
            .map(Value::from)
            .collect(),
    };
    Ok(Value::from(pieces))
}

fn split_arguments(args: &[Value]) -> Result<(Option<String>, Option<i64>), Error> {
    let (separator, most, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        Some(value) => Some(value),
        None => named.get::<Option<Value>>("sep")?,
    };
    let most = match most {
        Some(most) => Some(most),
        None => named.get::<Option<i64>>("maxsplit")?,
    };
    named.assert_all_used()?;
    let separator = match separator.filter(|value| !value.is_none()) {
        None => None,
        Some(value) => Some(value.as_str().map(str::to_string).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, "the separator is no string")
        })?),
    };
    Ok((separator, most))
}

fn partition(text: &str, separator: &str, at: Option<usize>, from_right: bool) -> Value {
    let parts = match at {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Value::from(
        parts
            .iter()
            .map(|&part| Value::from(part))
            .collect::<Vec<_>>(),
    )
}

/// Methods of strings that differ from Rust's, or that `minijinja-contrib` lacks; it has the rest.
pub fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args);
    };
    match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let side = match method {
                "lstrip" => Side::Left,
                "rstrip" => Side::Right,
                _ => Side::Both,
            };
            Ok(Value::from(strip(text, side, chars)))
        }
        "split" | "rsplit" => {
            let (separator, most) = split_arguments(args)?;
            split(text, separator.as_deref(), most, method == "rsplit")
        }
        "splitlines" => {
            let (keep_ends, named): (Option<bool>, Kwargs) = from_args(args)?;
            let keep_ends = match keep_ends {
                Some(keep_ends) => keep_ends,
                None => named.get::<Option<bool>>("keepends")?.unwrap_or(false),
            };
            named.assert_all_used()?;
            Ok(Value::from(split_lines(text, keep_ends)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
            }
            let from_right = method == "rpartition";
            let at = if from_right {
                text.rfind(separator)
            } else {
                text.find(separator)
            };
            Ok(partition(text, separator, at, from_right))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "isspace" => {
            let () = from_args(args)?;
            Ok(Value::from(!text.is_empty() && text.chars().all(is_space)))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

/// The filter `trim`, which is `str.strip`.
pub fn trim(value: &Value, chars: Option<&str>) -> String {
    match value.as_str() {
        Some(text) => strip(text, Side::Both, chars).to_string(),
        None => strip(&value.to_string(), Side::Both, chars).to_string(),
    }
}

/// `rstrip`.
pub fn trim_end(text: &str) -> &str {
    strip(text, Side::Right, None)
}

/// `strip`.
pub fn trim_both(text: &str) -> &str {
    strip(text, Side::Both, None)
}

struct JsonWriter<'a> {
    state: &'a State<'a, 'a>,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    ensure_ascii: bool,
    sort_keys: bool,
    out: String,
    paid: usize,
}

impl JsonWriter<'_> {
    /// Pay for what was written, as the template pays for the strings that it makes.
    fn pay(&mut self) -> Result<(), Error> {
        let bytes = self.out.len() - self.paid;
        if bytes >= 64 {
            self.paid = self.out.len();
            self.state.consume_fuel((bytes / 64) as u64)?;
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !c.is_ascii()) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.as_str() {
            Some(text) => self.string(text),
            None if key.is_none() => self.out.push_str("\"null\""),
            None => match key.kind() {
                ValueKind::Bool | ValueKind::Number => {
                    let text = key.to_string();
                    let text = if key.kind() == ValueKind::Bool {
                        text.to_lowercase()
                    } else {
                        text
                    };
                    self.string(&text);
                }
                kind => {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        format!("a key of JSON is no {kind}"),
                    ))
                }
            },
        }
        Ok(())
    }

    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_JSON_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "too deep for JSON"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut count = 0;
                for item in value.try_iter()?.checked() {
                    if count > 0 {
                        let separator = self.item_separator.clone();
                        self.out.push_str(&separator);
                    }
                    self.line(depth + 1);
                    self.write(&item?, depth + 1)?;
                    count += 1;
                }
                if count > 0 {
                    self.line(depth);
                }
                self.out.push(']');
            }
            ValueKind::Map => {
                let mut keys = Vec::new();
                for key in value.try_iter()?.checked() {
                    keys.push(key?);
                }
                if self.sort_keys {
                    keys.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
                }
                self.out.push('{');
                for (i, key) in keys.iter().enumerate() {
                    if i > 0 {
                        let separator = self.item_separator.clone();
                        self.out.push_str(&separator);
                    }
                    self.line(depth + 1);
                    self.key(key)?;
                    let separator = self.key_separator.clone();
                    self.out.push_str(&separator);
                    self.write(&value.get_item(key)?, depth + 1)?;
                }
                if !keys.is_empty() {
                    self.line(depth);
                }
                self.out.push('}');
            }
            kind => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("{kind} cannot be written as JSON"),
                ))
            }
        }
        self.pay()
    }
}

/// The filter `tojson` as transformers defines it, which is `json.dumps`.
pub fn to_json(state: &State, value: &Value, named: Kwargs) -> Result<String, Error> {
    let indent = match named
        .get::<Option<Value>>("indent")?
        .filter(|value| !value.is_none())
    {
        None => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(usize::try_from(value).unwrap_or(0).min(64)),
        }),
    };
    let separators = named
        .get::<Option<Value>>("separators")?
        .filter(|value| !value.is_none());
    let (item_separator, key_separator) = match separators {
        None => (
            if indent.is_some() { "," } else { ", " }.to_string(),
            ": ".to_string(),
        ),
        Some(pair) => (
            pair.get_item_by_index(0)?.to_string(),
            pair.get_item_by_index(1)?.to_string(),
        ),
    };
    let mut writer = JsonWriter {
        state,
        indent,
        item_separator,
        key_separator,
        ensure_ascii: named.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: named.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        out: String::new(),
        paid: 0,
    };
    named.assert_all_used()?;
    writer.write(value, 0)?;
    Ok(writer.out)
}
