//! Nodes and a value to text (text/template/exec.go is the behaviour followed).

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use super::parse::{Base, Branch, Command, Node, Operand, Pipeline};
use super::{Data, functions, printf};

/// A value of the data, or one that was computed.
type Item<'a> = Cow<'a, Value>;

/// Why there is no text, and at which piece of the source.
pub struct Failed {
    pub span: Range<usize>,
    pub what: String,
}

/// The text of all nodes.
pub fn render(nodes: &[Node], data: Data) -> Result<String, Failed> {
    let dot = Cow::Borrowed(data.value);
    let mut state = State { data, variables: vec![("$".into(), dot.clone())], text: String::new() };
    state.walk(nodes, &dot)?;
    Ok(state.text)
}

struct State<'a> {
    data: Data<'a>,
    variables: Vec<(String, Item<'a>)>,
    text: String,
}

/// How a list of nodes was left.
#[derive(PartialEq, Eq)]
enum Left {
    AtEnd,
    Break,
    Continue,
}

impl<'a> State<'a> {
    fn walk(&mut self, nodes: &[Node], dot: &Item<'a>) -> Result<Left, Failed> {
        for node in nodes {
            let left = match node {
                Node::Text(text) => {
                    self.text.push_str(text);
                    Left::AtEnd
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.declared.is_empty() {
                        self.text.push_str(&printf::printed(&value));
                    }
                    Left::AtEnd
                }
                Node::If(branch) => self.choose(branch, dot, false)?,
                Node::With(branch) => self.choose(branch, dot, true)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Break => Left::Break,
                Node::Continue => Left::Continue,
            };
            if left != Left::AtEnd {
                return Ok(left);
            }
        }
        Ok(Left::AtEnd)
    }

    fn choose(&mut self, branch: &Branch, dot: &Item<'a>, with: bool) -> Result<Left, Failed> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let left = match functions::truth(&value) {
            true if with => self.walk(&branch.body, &value)?,
            true => self.walk(&branch.body, dot)?,
            false => self.walk(&branch.otherwise, dot)?,
        };
        self.variables.truncate(scope);
        Ok(left)
    }

    fn range(&mut self, branch: &Branch, dot: &Item<'a>) -> Result<Left, Failed> {
        let scope = self.variables.len();
        let over = self.commands(&branch.pipeline, dot)?;
        let span = branch.pipeline.commands[0].span.clone();
        let items = items(over).map_err(|what| Failed { span, what })?;
        if items.is_empty() {
            let left = self.walk(&branch.otherwise, dot)?;
            self.variables.truncate(scope);
            return Ok(left);
        }
        for (key, item) in items {
            match branch.pipeline.declared.as_slice() {
                [only] => self.set(only, item.clone(), branch.pipeline.assigns),
                [first, second] => {
                    self.set(first, Cow::Owned(key), branch.pipeline.assigns);
                    self.set(second, item.clone(), branch.pipeline.assigns);
                }
                _ => {}
            }
            let left = self.walk(&branch.body, &item)?;
            self.variables.truncate(scope);
            if left == Left::Break {
                break;
            }
        }
        Ok(Left::AtEnd)
    }

    fn set(&mut self, name: &str, value: Item<'a>, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name) {
            Some((_, place)) => *place = value,
            None => self.variables.push((name.into(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Item<'a>) -> Result<Item<'a>, Failed> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.declared {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Item<'a>) -> Result<Item<'a>, Failed> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Cow::Owned(Value::Null)))
    }

    fn command(&mut self, command: &Command, dot: &Item<'a>, piped: Option<Item<'a>>) -> Result<Item<'a>, Failed> {
        let (first, arguments) = command.words.split_first().expect("the parser makes no empty command");
        if let (Base::Function(name), true) = (&first.base, first.fields.is_empty()) {
            return self.call(name, command, arguments, dot, piped);
        }
        if arguments.is_empty() && piped.is_none() {
            return self.operand(first, dot);
        }
        // `.Label "key"` is the one method that takes an argument.
        let last = first.fields.last().map_or("", String::as_str);
        if let ("Label", Some(label)) = (last, self.data.label) {
            let mut given = arguments.iter().map(|word| self.operand(word, dot)).collect::<Result<Vec<_>, _>>()?;
            given.extend(piped);
            return match given.as_slice() {
                [key] if key.is_string() => Ok(Cow::Owned(label(key.as_str().unwrap_or_default()).into())),
                _ => Err(failed(command.span.clone(), "wrong number of args for Label: want 1")),
            };
        }
        let what = match first.fields.last() {
            Some(field) => format!("{field} has arguments but cannot be invoked as function"),
            None => "can't give argument to non-function".into(),
        };
        Err(Failed { span: first.span.clone(), what })
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        arguments: &[Operand],
        dot: &Item<'a>,
        piped: Option<Item<'a>>,
    ) -> Result<Item<'a>, Failed> {
        if matches!(name, "and" | "or") {
            return self.decide(name == "and", command, arguments, dot, piped);
        }
        let mut given = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            given.push(self.operand(argument, dot)?);
        }
        given.extend(piped);
        if self.data.headers && functions::only_values(name) && !given.is_empty() {
            return Ok(given.swap_remove(0));
        }
        let result = functions::call(name, &given);
        result
            .map(Cow::Owned)
            .map_err(|what| Failed { span: command.span.clone(), what: format!("error calling {name}: {what}") })
    }

    /// `and` and `or` look at no more than they need, and return what decided.
    fn decide(
        &mut self,
        and: bool,
        command: &Command,
        arguments: &[Operand],
        dot: &Item<'a>,
        piped: Option<Item<'a>>,
    ) -> Result<Item<'a>, Failed> {
        let mut last = None;
        for argument in arguments {
            let value = self.operand(argument, dot)?;
            if functions::truth(&value) != and {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| failed(command.span.clone(), "wrong number of args: want at least 1 got 0"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Item<'a>) -> Result<Item<'a>, Failed> {
        let mut value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Constant(constant) => Cow::Owned(constant.clone()),
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Cow::Owned(Value::Null), |(_, value)| value.clone())
            }
            Base::Function(name) => {
                let called = functions::call(name, &[]);
                Cow::Owned(called.map_err(|what| Failed { span: operand.span.clone(), what })?)
            }
            Base::Parentheses(pipeline) => self.pipeline(pipeline, dot)?,
        };
        for name in &operand.fields {
            value = field(value, name).map_err(|what| Failed { span: operand.span.clone(), what })?;
        }
        Ok(value)
    }
}

fn failed(span: Range<usize>, what: &str) -> Failed {
    Failed { span, what: what.into() }
}

/// A field of an object. In Go a struct must have it and a map need not: here an object whose members all begin with a capital is a
/// struct, and labels, networks or ports are maps.
fn field<'a>(value: Item<'a>, name: &str) -> Result<Item<'a>, String> {
    let missing = |map: &Map<String, Value>| match is_struct(map) {
        true => Err(format!("can't evaluate field {name}: there is no such field")),
        false => Ok(Cow::Owned(Value::Null)),
    };
    match value {
        Cow::Borrowed(Value::Object(map)) => map.get(name).map_or_else(|| missing(map), |found| Ok(Cow::Borrowed(found))),
        Cow::Owned(Value::Object(mut map)) => match map.shift_remove(name) {
            Some(found) => Ok(Cow::Owned(found)),
            None => missing(&map),
        },
        other if other.is_null() => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        other => Err(format!("can't evaluate field {name} in type {}", printf::type_name(&other))),
    }
}

fn is_struct(map: &Map<String, Value>) -> bool {
    !map.is_empty() && map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// What `range` visits, with its key. Maps are visited by sorted keys.
fn items(over: Item) -> Result<Vec<(Value, Item)>, String> {
    Ok(match over {
        Cow::Borrowed(Value::Array(list)) => list.iter().enumerate().map(|(at, item)| (at.into(), Cow::Borrowed(item))).collect(),
        Cow::Owned(Value::Array(list)) => list.into_iter().enumerate().map(|(at, item)| (at.into(), Cow::Owned(item))).collect(),
        Cow::Borrowed(Value::Object(map)) => {
            let mut items: Vec<_> = map.iter().map(|(key, item)| (key.as_str().into(), Cow::Borrowed(item))).collect();
            items.sort_by(by_key);
            items
        }
        Cow::Owned(Value::Object(map)) => {
            let mut items: Vec<_> = map.into_iter().map(|(key, item)| (key.into(), Cow::Owned(item))).collect();
            items.sort_by(by_key);
            items
        }
        other => match &*other {
            Value::Null => Vec::new(),
            Value::Number(number) if number.as_u64().is_some_and(|n| n <= 1_000_000) => {
                (0..number.as_u64().unwrap_or(0)).map(|n| (n.into(), Cow::Owned(n.into()))).collect()
            }
            value => return Err(format!("range can't iterate over {}", printf::printed(value))),
        },
    })
}

fn by_key(a: &(Value, Item), b: &(Value, Item)) -> std::cmp::Ordering {
    a.0.as_str().cmp(&b.0.as_str())
}
