//! The functions: Go's (text/template/funcs.go) and Docker's (docs.docker.com, "Format command and log output").

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::printf::{self, printed};

type Arguments<'a, 'b> = &'b [Cow<'a, Value>];

const NAMES: [&str; 26] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge", "html",
    "urlquery", "json", "join", "split", "lower", "upper", "title", "pad", "truncate", "trim",
];

/// Whether a template may call it.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a value counts as true: not empty, not zero, not nothing.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Whether a header stays as it is where a value is changed.
pub fn only_values(name: &str) -> bool {
    matches!(name, "json" | "join" | "split" | "lower" | "upper" | "title" | "truncate")
}

/// Calls any but `and` and `or`, which do not look at all of their arguments.
pub fn call(name: &str, given: Arguments) -> Result<Value, String> {
    let (least, most) = match name {
        "not" | "len" | "json" | "lower" | "upper" | "title" | "trim" => (1, 1),
        "join" | "split" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => (2, 2),
        "pad" => (3, 3),
        "eq" => (2, usize::MAX),
        "index" | "printf" => (1, usize::MAX),
        "slice" => (1, 3),
        "and" | "or" => (1, usize::MAX),
        _ => (0, usize::MAX),
    };
    if !(least..=most).contains(&given.len()) {
        let at_least = if most > least { "at least " } else { "" };
        return Err(format!("wrong number of args for {name}: want {at_least}{least} got {}", given.len()));
    }
    Ok(match name {
        "not" => (!truth(&given[0])).into(),
        "len" => length(&given[0])?.into(),
        "index" => index(given)?,
        "slice" => slice(given)?,
        "print" => printf::print(given).into(),
        "println" => printf::println(given).into(),
        "printf" => printf::format(text(&given[0])?, &given[1..]).into(),
        "eq" => equal(given)?.into(),
        "ne" => (!equal(given)?).into(),
        "lt" => (order(given)? == Ordering::Less).into(),
        "le" => (order(given)? != Ordering::Greater).into(),
        "gt" => (order(given)? == Ordering::Greater).into(),
        "ge" => (order(given)? != Ordering::Less).into(),
        "html" => escape_html(&printf::print(given)).into(),
        "urlquery" => escape_query(&printf::print(given)).into(),
        "json" => given[0].to_string().into(),
        "join" => join(&given[0], text(&given[1])?)?.into(),
        "split" => split(text(&given[0])?, text(&given[1])?),
        "lower" => text(&given[0])?.to_lowercase().into(),
        "upper" => text(&given[0])?.to_uppercase().into(),
        "title" => title(text(&given[0])?).into(),
        "trim" => text(&given[0])?.trim().into(),
        "pad" => pad(text(&given[0])?, number(&given[1])?, number(&given[2])?)?.into(),
        "truncate" => text(&given[0])?.chars().take(count(&given[1])?).collect::<String>().into(),
        name => return Err(format!("{name} cannot be called here")),
    })
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("wrong type for value; expected string; got {}", printf::type_name(value)))
}

fn number(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("wrong type for value; expected int; got {}", printf::type_name(value)))
}

fn count(value: &Value) -> Result<usize, String> {
    usize::try_from(number(value)?).map_err(|_| "a negative length".into())
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        other => Err(format!("len of type {}", printf::type_name(other))),
    }
}

/// `index x 1 "a"` is `x[1]["a"]`. What a map does not have is its values' zero: "" among strings, else nothing.
fn index(given: Arguments) -> Result<Value, String> {
    let mut value: &Value = &given[0];
    let zero = Value::from("");
    for key in &given[1..] {
        value = match value {
            Value::Array(list) => {
                let at = number(key)?;
                usize::try_from(at).ok().and_then(|at| list.get(at)).ok_or_else(|| format!("index out of range: {at}"))?
            }
            Value::Object(map) => match map.get(text(key)?) {
                Some(found) => found,
                None if map.values().all(Value::is_string) => &zero,
                None => &Value::Null,
            },
            Value::String(text) => {
                let at = number(key)?;
                let byte = usize::try_from(at).ok().and_then(|at| text.as_bytes().get(at));
                return byte.map(|byte| (*byte).into()).ok_or_else(|| format!("index out of range: {at}"));
            }
            Value::Null => return Err("index of untyped nil".into()),
            other => return Err(format!("can't index item of type {}", printf::type_name(other))),
        }
    }
    Ok(value.clone())
}

fn slice(given: Arguments) -> Result<Value, String> {
    let whole = length(&given[0])?;
    let from = given.get(1).map_or(Ok(0), |at| count(at))?;
    let to = given.get(2).map_or(Ok(whole), |at| count(at))?;
    if from > to || to > whole {
        return Err(format!("index out of range: {from}:{to} of {whole}"));
    }
    match &*given[0] {
        Value::String(text) => Ok(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into()),
        Value::Array(list) => Ok(list[from..to].to_vec().into()),
        other => Err(format!("can't slice item of type {}", printf::type_name(other))),
    }
}

/// Whether the first equals one of the others.
fn equal(given: Arguments) -> Result<bool, String> {
    let first = &*given[0];
    for other in &given[1..] {
        let same = match (first, &**other) {
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Value::Null, b) => b.is_null(),
            (_, Value::Null) => false,
            (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
                return Err("invalid type for comparison".into());
            }
            (a, b) if std::mem::discriminant(a) != std::mem::discriminant(b) => {
                return Err("incompatible types for comparison".into());
            }
            (a, b) => a == b,
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn order(given: Arguments) -> Result<Ordering, String> {
    match (&*given[0], &*given[1]) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => {
                let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
                Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal))
            }
        },
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            Err("incompatible types for comparison".into())
        }
        _ => Err("invalid type for comparison".into()),
    }
}

fn join(list: &Value, separator: &str) -> Result<String, String> {
    let parts = match list {
        Value::Array(list) => list.iter().map(|part| printed(part).into_owned()).collect::<Vec<_>>(),
        Value::Null => Vec::new(),
        other => return Err(format!("wrong type for value; expected []string; got {}", printf::type_name(other))),
    };
    Ok(parts.join(separator))
}

fn split(text: &str, separator: &str) -> Value {
    match separator {
        "" => text.chars().map(|c| Value::from(c.to_string())).collect(),
        separator => text.split(separator).map(Value::from).collect(),
    }
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    let raise = |c: char| {
        let starts = !(before.is_alphanumeric() || matches!(before, '_' | '\''));
        before = c;
        if starts { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(raise).collect()
}

/// Spaces before and after, unless it is empty.
fn pad(text: &str, before: i64, after: i64) -> Result<String, String> {
    let spaces = |n: i64| match usize::try_from(n) {
        Ok(n) if n <= printf::WIDEST => Ok(" ".repeat(n)),
        _ => Err(format!("cannot pad with {n} spaces")),
    };
    if text.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("{}{text}{}", spaces(before)?, spaces(after)?))
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_query(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b' ' => "+".into(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
