//! Tokens to nodes (text/template/parse/parse.go is the grammar followed).

use std::ops::Range;

use serde_json::Value;

use super::lexer::{Kind, Token};
use super::{Mistake, functions};

/// Deeper nesting is refused, so that no input can use up the stack.
const DEEPEST: usize = 100;

/// A piece of a template.
#[derive(Debug)]
pub enum Node {
    Text(String),
    /// Prints the pipeline's value, unless it declares.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// What `if`, `with` and `range` have.
#[derive(Debug)]
pub struct Branch {
    pub pipeline: Pipeline,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$a, $b := command | command`.
#[derive(Debug)]
pub struct Pipeline {
    pub declared: Vec<String>,
    /// `=` rather than `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// An operand and, where it is a function, its arguments.
#[derive(Debug)]
pub struct Command {
    pub words: Vec<Operand>,
    pub span: Range<usize>,
}

/// A value in a command, with the fields asked of it.
#[derive(Debug)]
pub struct Operand {
    pub base: Base,
    pub fields: Vec<String>,
    pub span: Range<usize>,
}

/// Where an operand's value comes from.
#[derive(Debug)]
pub enum Base {
    Dot,
    Variable(String),
    Constant(Value),
    /// A function; alone it is called without arguments.
    Function(String),
    Parentheses(Box<Pipeline>),
}

/// Reads all of it. Fails on functions and variables that nobody has defined, as Go does.
pub fn parse(source: &str, tokens: Vec<Token>) -> Result<Vec<Node>, Mistake> {
    let end = source.len();
    let mut parser = Parser { tokens, at: 0, end, variables: vec!["$".into()], depth: 0, loops: 0 };
    let (nodes, stop) = parser.list()?;
    match stop {
        None => Ok(nodes),
        Some(word) => Err(Mistake::new(parser.place(), format!("unexpected {{{{{word}}}}}"))),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |token| token.at)
    }

    fn next(&mut self) -> Option<Kind> {
        let kind = self.peek().cloned();
        self.at += 1;
        kind
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.at += 1;
        }
    }

    /// The word right after the space here, if it is one.
    fn word(&mut self) -> Option<String> {
        self.skip_space();
        match self.peek() {
            Some(Kind::Word(word)) => Some(word.clone()),
            _ => None,
        }
    }

    fn unexpected(&self, context: &str) -> Mistake {
        let what = match self.peek() {
            None => "EOF".into(),
            Some(Kind::Close) => "\"}}\"".into(),
            Some(Kind::Right) => "\")\"".into(),
            Some(Kind::Pipe) => "\"|\"".into(),
            Some(Kind::Space) => "space".into(),
            Some(Kind::Word(word)) => format!("<{word}>"),
            Some(kind) => format!("{kind:?}"),
        };
        Mistake::new(self.place(), format!("unexpected {what} in {context}"))
    }

    fn close(&mut self, context: &str) -> Result<(), Mistake> {
        self.skip_space();
        match self.peek() {
            Some(Kind::Close) => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected(context)),
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Mistake>) -> Result<T, Mistake> {
        if self.depth == DEEPEST {
            return Err(Mistake::new(self.place(), "nested too deeply"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Nodes up to the end or to `end` and `else`, which is returned and stands right before the parser.
    fn list(&mut self) -> Result<(Vec<Node>, Option<String>), Mistake> {
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, None)),
                Some(Kind::Text(text)) => nodes.push(Node::Text(text)),
                Some(Kind::Open) => match self.word() {
                    Some(word) if word == "end" || word == "else" => {
                        self.at += 1;
                        return Ok((nodes, Some(word)));
                    }
                    word => nodes.push(self.action(word)?),
                },
                Some(_) => return Err(self.unexpected("template")),
            }
        }
    }

    fn action(&mut self, word: Option<String>) -> Result<Node, Mistake> {
        let word = word.unwrap_or_default();
        match word.as_str() {
            "if" | "with" | "range" => {
                self.at += 1;
                let scope = self.variables.len();
                self.loops += usize::from(word == "range");
                let branch = self.deeper(|parser| parser.branch(&word));
                self.loops -= usize::from(word == "range");
                self.variables.truncate(scope);
                let branch = branch?;
                Ok(match word.as_str() {
                    "if" => Node::If(branch),
                    "with" => Node::With(branch),
                    _ => Node::Range(branch),
                })
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(Mistake::new(self.place(), format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                self.at += 1;
                self.close(&word)?;
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "define" | "template" | "block" => Err(Mistake::new(self.place(), format!("{{{{{word}}}}} is not supported here"))),
            _ => {
                let pipeline = self.pipeline("command", 1)?;
                self.close("command")?;
                Ok(Node::Action(pipeline))
            }
        }
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Mistake> {
        let pipeline = self.pipeline(word, if word == "range" { 2 } else { 1 })?;
        self.close(word)?;
        let (body, stop) = self.list()?;
        let mut otherwise = Vec::new();
        match stop.as_deref() {
            Some("end") => self.close("end")?,
            Some(_) => {
                // `else if` and `else with` share the `end` with what they follow.
                let chained = self.word().filter(|next| next == word && word != "range");
                if let Some(next) = chained {
                    otherwise.push(self.action(Some(next))?);
                } else {
                    self.close("else")?;
                    let (nodes, stop) = self.list()?;
                    match stop.as_deref() {
                        Some("end") => self.close("end")?,
                        Some(_) => return Err(Mistake::new(self.place(), "expected end; found {{else}}")),
                        None => return Err(Mistake::new(self.end, "unexpected EOF")),
                    }
                    otherwise = nodes;
                }
            }
            None => return Err(Mistake::new(self.end, "unexpected EOF")),
        }
        Ok(Branch { pipeline, body, otherwise })
    }

    /// `most`: how many variables it may declare.
    fn pipeline(&mut self, context: &str, most: usize) -> Result<Pipeline, Mistake> {
        let (declared, assigns) = self.declaration(most)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let command = self.command(context)?;
            let first = &command.words[0];
            let is_call = matches!(first.base, Base::Function(_) | Base::Parentheses(_)) || !first.fields.is_empty();
            if !commands.is_empty() && !is_call {
                let stage = commands.len() + 1;
                return Err(Mistake::new(command.span.start, format!("non executable command in pipeline stage {stage}")));
            }
            commands.push(command);
            self.skip_space();
            if self.peek() != Some(&Kind::Pipe) {
                break;
            }
            self.at += 1;
        }
        if !assigns {
            self.variables.extend(declared.iter().cloned());
        }
        Ok(Pipeline { declared, assigns, commands })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`, or nothing.
    fn declaration(&mut self, most: usize) -> Result<(Vec<String>, bool), Mistake> {
        let start = self.at;
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let Some(Kind::Variable(name)) = self.peek().cloned() else { break };
            self.at += 1;
            names.push(name);
            self.skip_space();
            match self.peek() {
                Some(Kind::Comma) if names.len() < most => self.at += 1,
                Some(Kind::Comma) => return Err(Mistake::new(self.place(), "too many declarations")),
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    let assigns = *kind == Kind::Assign;
                    if assigns && let Some(name) = names.iter().find(|name| !self.variables.contains(name)) {
                        return Err(Mistake::new(self.place(), format!("undefined variable {name:?}")));
                    }
                    self.at += 1;
                    return Ok((names, assigns));
                }
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Command, Mistake> {
        let start = self.place();
        let mut words: Vec<Operand> = Vec::new();
        loop {
            self.skip_space();
            match self.operand()? {
                Some(operand) => words.push(operand),
                None if words.is_empty() => {
                    let missing = matches!(self.peek(), Some(Kind::Close | Kind::Right | Kind::Pipe));
                    return Err(match missing {
                        true => Mistake::new(self.place(), format!("missing value for {context}")),
                        false => self.unexpected(context),
                    });
                }
                None => break,
            }
            match self.peek() {
                Some(Kind::Space) => {}
                Some(Kind::Close | Kind::Right | Kind::Pipe) => break,
                _ => return Err(self.unexpected("operand")),
            }
        }
        let end = words.last().map_or(start, |word| word.span.end);
        Ok(Command { words, span: start..end })
    }

    fn operand(&mut self) -> Result<Option<Operand>, Mistake> {
        let start = self.place();
        let mut fields = Vec::new();
        let base = match self.peek().cloned() {
            Some(Kind::Dot) => Base::Dot,
            Some(Kind::Field(name)) => {
                fields.push(name);
                Base::Dot
            }
            Some(Kind::Variable(name)) if self.variables.contains(&name) => Base::Variable(name),
            Some(Kind::Variable(name)) => return Err(Mistake::new(start, format!("undefined variable {name:?}"))),
            Some(Kind::Quoted(text)) => Base::Constant(text.into()),
            Some(Kind::Integer(number)) => Base::Constant(number.into()),
            Some(Kind::Float(number)) => Base::Constant(number.into()),
            Some(Kind::Word(word)) => match word.as_str() {
                "true" => Base::Constant(true.into()),
                "false" => Base::Constant(false.into()),
                "nil" => Base::Constant(Value::Null),
                name if functions::exists(name) => Base::Function(word),
                name => return Err(Mistake::new(start, format!("function {name:?} not defined"))),
            },
            Some(Kind::Left) => {
                self.at += 1;
                let pipeline = self.deeper(|parser| parser.pipeline("parenthesized pipeline", 1))?;
                self.skip_space();
                match self.peek() {
                    Some(Kind::Right) => Base::Parentheses(Box::new(pipeline)),
                    _ => return Err(Mistake::new(self.place(), "unclosed left paren")),
                }
            }
            _ => return Ok(None),
        };
        self.at += 1;
        while let Some(Kind::Field(name)) = self.peek().cloned() {
            if matches!(base, Base::Constant(_) | Base::Function(_)) {
                return Err(Mistake::new(self.place(), format!("unexpected <.{name}> after term")));
            }
            self.at += 1;
            fields.push(name);
        }
        let end = self.tokens.get(self.at - 1).map_or(self.end, |token| token.end);
        Ok(Some(Operand { base, fields, span: start..end }))
    }
}

/// Whether a field of this name is asked of anything, or a whole value is printed or handed to a function.
pub fn mentions(nodes: &[Node], field: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipeline) => in_pipeline(pipeline, field),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            in_pipeline(&branch.pipeline, field) || mentions(&branch.body, field) || mentions(&branch.otherwise, field)
        }
    })
}

fn in_pipeline(pipeline: &Pipeline, field: &str) -> bool {
    let named = |operand: &Operand| match &operand.base {
        Base::Dot | Base::Variable(_) if operand.fields.is_empty() => true,
        Base::Parentheses(inner) if in_pipeline(inner, field) => true,
        _ => operand.fields.iter().any(|name| name == field),
    };
    pipeline.commands.iter().any(|command| command.words.iter().any(named))
}
