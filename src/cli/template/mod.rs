//! Go's text/template as Docker's `--format` has it, over JSON values (pkg.go.dev/text/template; docs.docker.com, "Format command and log
//! output").
//!
//! ```text
//! lexer.rs      source → tokens, with the trim markers applied
//! parse.rs      tokens → nodes; unknown functions and variables are found here
//! eval.rs       nodes + value → text
//! functions.rs  Go's functions and Docker's: json join split lower upper title pad truncate
//! printf.rs     fmt's verbs, and how values print
//! ```
//!
//! Left out, and refused by name: define, template, block, complex numbers, call, js.

mod eval;
mod functions;
mod lexer;
mod parse;
mod printf;
#[cfg(test)]
mod tests;

use anyhow::{Result, anyhow};
use serde_json::Value;

/// What a template is applied to.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub value: &'a Value,
    /// `{{.Label "key"}}`, the one method with an argument that Docker's listings have.
    pub label: Option<&'a dyn Fn(&str) -> String>,
    /// These are the headers over the values: json, join, upper and their like leave them alone.
    pub headers: bool,
}

impl<'a> From<&'a Value> for Data<'a> {
    fn from(value: &'a Value) -> Data<'a> {
        Data { value, label: None, headers: false }
    }
}

/// A template that was understood.
#[derive(Debug)]
pub struct Template {
    source: String,
    nodes: Vec<parse::Node>,
}

/// What is wrong with a template, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    at: usize,
    what: String,
}

impl Mistake {
    fn new(at: usize, what: impl Into<String>) -> Mistake {
        Mistake { at, what: what.into() }
    }
}

impl Template {
    /// Reads a template; the error is in Docker's words.
    pub fn parse(source: &str) -> Result<Template> {
        let nodes = lexer::tokens(source).and_then(|tokens| parse::parse(source, tokens));
        let nodes = nodes.map_err(|mistake| {
            let (line, _) = place(source, mistake.at);
            anyhow!("template parsing error: template: :{line}: {}", mistake.what)
        })?;
        Ok(Template { source: source.into(), nodes })
    }

    /// The template's text for one value.
    pub fn render<'a>(&self, data: impl Into<Data<'a>>) -> Result<String> {
        eval::render(&self.nodes, data.into()).map_err(|failed| {
            let (line, column) = place(&self.source, failed.span.start);
            let node: String = self.source.get(failed.span).unwrap_or_default().trim().into();
            let node = match node.char_indices().nth(20) {
                Some((cut, _)) => format!("{}...", &node[..cut]),
                None => node,
            };
            anyhow!("failed to execute template: template: :{line}:{column}: executing \"\" at <{node}>: {}", failed.what)
        })
    }

    /// Whether it may read this field of the value: what is dear to find out is found out only then.
    #[allow(dead_code)] // for ps --size, next
    pub fn mentions(&self, field: &str) -> bool {
        parse::mentions(&self.nodes, field)
    }
}

/// Line from 1 and byte in it from 0, as Go counts.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source.as_bytes()[..at.min(source.len())];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    (line, before.iter().rev().take_while(|&&b| b != b'\n').count())
}
