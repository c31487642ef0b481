//! How values print, and `printf` (pkg.go.dev/fmt, as far as JSON's types go).

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Number, Value};

/// Widest padding; Go's limit too.
pub const WIDEST: usize = 1_000_000;

/// The name that Go's messages give the type.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value where the template prints it: nothing is `<no value>`.
pub fn printed(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.into(),
        other => plain(other).into(),
    }
}

/// `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// The shortest that reads back, with an exponent where Go's `%v` has one.
fn float_text(float: f64) -> String {
    let size = float.abs();
    if size == 0.0 || (1e-4..1e21).contains(&size) { format!("{float}") } else { exponent(format!("{float:e}")) }
}

/// Go writes a sign and at least two digits.
fn exponent(text: String) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `print`: spaces between two that are no strings.
pub fn print(given: &[Cow<Value>]) -> String {
    let mut text = String::new();
    for (at, value) in given.iter().enumerate() {
        if at > 0 && !value.is_string() && !given[at - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&plain(value));
    }
    text
}

/// `println`: spaces between all, and a newline.
pub fn println(given: &[Cow<Value>]) -> String {
    let words: Vec<String> = given.iter().map(|value| plain(value)).collect();
    format!("{}\n", words.join(" "))
}

/// The flags, width and precision of one verb.
#[derive(Debug, Default, Clone, Copy)]
struct Layout {
    left: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// `printf`. A mistake is shown in the text, as Go does: `%!d(string=x)`.
pub fn format(format: &str, given: &[Cow<Value>]) -> String {
    let mut text = String::new();
    let mut given = given.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut number = || given.next().and_then(|value| value.as_i64());
        let layout = layout(&mut rest, &mut number);
        let Some(verb) = rest.chars().next() else {
            text.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        match (given.next(), layout) {
            (_, None) => text.push_str("%!(BADWIDTH)"),
            (None, _) => {
                let _ = write!(text, "%!{verb}(MISSING)");
            }
            (Some(value), Some(layout)) => text.push_str(&padded(formatted(verb, value, layout), value, layout)),
        }
    }
    text.push_str(rest);
    let extra: Vec<String> = given.map(|value| format!("{}={}", type_name(value), plain(value))).collect();
    if !extra.is_empty() && !text.ends_with("%!(NOVERB)") {
        let _ = write!(text, "%!(EXTRA {})", extra.join(", "));
    }
    text
}

/// Reads flags, width and precision; None where they are too wide.
fn layout(rest: &mut &str, number: &mut dyn FnMut() -> Option<i64>) -> Option<Layout> {
    let mut layout = Layout::default();
    while let Some(flag) = rest.chars().next().filter(|c| "-+# 0".contains(*c)) {
        match flag {
            '-' => layout.left = true,
            '+' => layout.plus = true,
            '#' => layout.sharp = true,
            ' ' => layout.space = true,
            _ => layout.zero = true,
        }
        *rest = &rest[1..];
    }
    let mut fits = true;
    if let Some(width) = amount(rest, number) {
        layout.left |= width < 0;
        layout.width = width.unsigned_abs() as usize;
        fits &= layout.width <= WIDEST;
    }
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        let precision = amount(rest, number).unwrap_or(0);
        layout.precision = usize::try_from(precision).ok();
        fits &= layout.precision.is_none_or(|precision| precision <= WIDEST);
    }
    fits.then_some(layout)
}

/// Digits, or `*` for an argument.
fn amount(rest: &mut &str, number: &mut dyn FnMut() -> Option<i64>) -> Option<i64> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return Some(number().unwrap_or(i64::MAX));
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (amount, after) = rest.split_at(digits);
    *rest = after;
    (digits > 0).then(|| amount.parse().unwrap_or(i64::MAX))
}

fn padded(text: String, value: &Value, layout: Layout) -> String {
    let missing = layout.width.saturating_sub(text.chars().count());
    match layout {
        Layout { left: true, .. } => text + &" ".repeat(missing),
        Layout { zero: true, .. } if value.is_number() => {
            let sign = usize::from(text.starts_with(['-', '+']));
            format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
        }
        _ => " ".repeat(missing) + &text,
    }
}

fn formatted(verb: char, value: &Value, layout: Layout) -> String {
    let cut = |text: &str| match layout.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_string(),
    };
    match (verb, value) {
        ('T', value) => type_name(value).into(),
        ('v', Value::Number(number)) if layout.precision.is_none() => signed(number_text(number), layout),
        ('v', Value::String(text)) if layout.sharp => quoted(text),
        ('v', value) => plain(value),
        (_, Value::Array(list)) => {
            let items: Vec<String> = list.iter().map(|item| formatted(verb, item, layout)).collect();
            format!("[{}]", items.join(" "))
        }
        ('s', Value::String(text)) => cut(text),
        ('q', Value::String(text)) => quoted(&cut(text)),
        ('x' | 'X', Value::String(text)) => {
            text.bytes().map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") }).collect()
        }
        ('t', Value::Bool(value)) => value.to_string(),
        (verb, Value::Number(number)) => {
            let text = if number.is_f64() { float(verb, number, layout) } else { integer(verb, number, layout) };
            text.map_or_else(|| bad(verb, value), |text| signed(text, layout))
        }
        (verb, value) => bad(verb, value),
    }
}

fn bad(verb: char, value: &Value) -> String {
    match value {
        Value::Null => format!("%!{verb}(<nil>)"),
        value => format!("%!{verb}({}={})", type_name(value), plain(value)),
    }
}

fn signed(text: String, layout: Layout) -> String {
    match layout {
        _ if text.starts_with('-') => text,
        Layout { plus: true, .. } => format!("+{text}"),
        Layout { space: true, .. } => format!(" {text}"),
        _ => text,
    }
}

fn integer(verb: char, number: &Number, layout: Layout) -> Option<String> {
    let value = number.as_i64().map_or_else(|| i128::from(number.as_u64().unwrap_or(0)), i128::from);
    let size = value.unsigned_abs();
    let sharp = |prefix: &'static str| if layout.sharp { prefix } else { "" };
    let (prefix, digits) = match verb {
        'd' => ("", size.to_string()),
        'x' => (sharp("0x"), format!("{size:x}")),
        'X' => (sharp("0X"), format!("{size:X}")),
        'o' => (sharp("0"), format!("{size:o}")),
        'O' => ("0o", format!("{size:o}")),
        'b' => (sharp("0b"), format!("{size:b}")),
        'c' => return Some(char_of(value).to_string()),
        'q' => return Some(format!("'{}'", char_of(value))),
        'U' => return Some(format!("U+{size:04X}")),
        _ => return None,
    };
    let zeros = layout.precision.unwrap_or(0).saturating_sub(digits.len());
    Some(format!("{}{prefix}{}{digits}", if value < 0 { "-" } else { "" }, "0".repeat(zeros)))
}

fn char_of(value: i128) -> char {
    u32::try_from(value).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn float(verb: char, number: &Number, layout: Layout) -> Option<String> {
    let float = number.as_f64().unwrap_or(0.0);
    // More digits than any float has; and the standard library panics at 65,536.
    let precision = layout.precision.unwrap_or(6).min(1100);
    Some(match verb {
        'f' | 'F' => format!("{float:.precision$}"),
        'e' => exponent(format!("{float:.precision$e}")),
        'E' => exponent(format!("{float:.precision$e}")).to_uppercase(),
        'g' | 'v' => float_text(float),
        _ => return None,
    })
}

/// strconv.Quote.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            c if (c as u32) < 0x80 && c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
