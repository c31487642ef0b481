//! Listings: one row per object, printed as Docker's: an aligned table, JSON lines, or by a template.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::output;
use super::template::{Data, Template};
use crate::error::Advise;

/// A kind of listing: what its rows have, and how they are shown unless asked otherwise.
pub struct Listing {
    /// Every field that a template may name, and the header over it.
    pub columns: &'static [(&'static str, &'static str)],
    /// The default table, as a template: `{{.ID}}\t{{.Names}}`.
    pub table: &'static str,
    /// The field that `-q` prints.
    pub id: &'static str,
}

/// One object. The fields are the columns' names; what Docker prints as text is a string.
#[derive(Debug, Default)]
pub struct Row {
    pub fields: Map<String, Value>,
    /// For `{{.Label "key"}}`.
    pub labels: BTreeMap<String, String>,
}

impl Row {
    /// A row of these fields without labels.
    pub fn new<const N: usize>(fields: [(&str, Value); N]) -> Row {
        Row { fields: fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect(), labels: BTreeMap::new() }
    }

    /// The same with labels; the field `Labels` lists them as Docker does.
    pub fn labels(mut self, labels: &BTreeMap<String, String>) -> Row {
        let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.fields.insert("Labels".into(), pairs.join(",").into());
        self.labels = labels.clone();
        self
    }
}

/// How a listing was asked for.
#[derive(Debug)]
pub struct Layout {
    columns: &'static [(&'static str, &'static str)],
    template: Template,
    table: bool,
}

impl Listing {
    /// Reads `--format` (`table`, `table TEMPLATE`, `json`, or a template) and `-q`. Where both are given the template wins.
    pub fn layout(&self, format: Option<&str>, quiet: bool) -> Result<Layout> {
        let format = format.map(str::trim).filter(|format| !format.is_empty()).unwrap_or("table");
        let id = format!("{{{{.{}}}}}", self.id);
        let (table, template) = match format.strip_prefix("table").map(str::trim) {
            Some("") if quiet => (false, id.as_str()),
            Some("") => (true, self.table),
            Some(own) if format.starts_with("table ") || own.starts_with("{{") => (true, own),
            _ if format == "json" => (false, "{{json .}}"),
            _ if format == "raw" => bail!("the format \"raw\" is no more: use json"),
            _ => (false, format),
        };
        // As Docker: what a shell's quotes keep as two characters is meant as one.
        let template = Template::parse(&template.replace("\\t", "\t").replace("\\n", "\n"))?;
        Ok(Layout { columns: self.columns, template, table })
    }

    /// Prints rows in the layout asked for.
    pub fn print(&self, format: Option<&str>, quiet: bool, rows: impl IntoIterator<Item = Row>) -> Result<()> {
        self.layout(format, quiet)?.print(rows)
    }
}

impl Layout {
    /// Whether the layout shows this field: what is dear to find out is found out only then.
    #[allow(dead_code)] // for ps --size, next
    pub fn shows(&self, field: &str) -> bool {
        self.template.mentions(field)
    }

    /// Prints all rows, below their headers where it is a table.
    pub fn print(&self, rows: impl IntoIterator<Item = Row>) -> Result<()> {
        output::text(&self.text(rows)?)
    }

    /// The same as a text.
    pub fn text(&self, rows: impl IntoIterator<Item = Row>) -> Result<String> {
        let mut text = String::new();
        if self.table {
            let headers = self.columns.iter().map(|(field, header)| (field.to_string(), Value::from(*header)));
            let label = |key: &str| key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ");
            let headers = Value::Object(headers.collect());
            text = self.line(Data { value: &headers, label: Some(&label), headers: true })?;
        }
        for row in rows {
            let label = |key: &str| row.labels.get(key).cloned().unwrap_or_default();
            text.push_str(&self.line(Data { value: &Value::Object(row.fields), label: Some(&label), headers: false })?);
        }
        Ok(if self.table { aligned(&text) } else { text })
    }

    fn line(&self, data: Data) -> Result<String> {
        let known = || self.columns.iter().map(|(name, _)| format!(".{name}")).collect::<Vec<_>>().join(" ");
        let mut line = self.template.render(data).hint(|| format!("one of {}", known()))?;
        line.push('\n');
        Ok(line)
    }
}

/// Narrowest column and the space between two, as Docker's.
const NARROWEST: usize = 10;
const GAP: usize = 3;

/// Lines with tabs to columns. The last cell of a line is in none, so that nothing is padded at the end.
fn aligned(text: &str) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in text.lines() {
        let mut cells: Vec<&str> = line.split('\t').collect();
        cells.pop();
        for (at, cell) in cells.into_iter().enumerate() {
            let width = (cell.chars().count() + GAP).max(NARROWEST);
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut table = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        let mut cells = line.split('\t').enumerate().peekable();
        while let Some((at, cell)) = cells.next() {
            table.push_str(cell);
            if cells.peek().is_some() {
                table.extend(std::iter::repeat_n(' ', widths[at] - cell.chars().count()));
            }
        }
        table.truncate(table.trim_end_matches(' ').len());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Listing = Listing {
        columns: &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Labels", "LABELS")],
        table: "{{.ID}}\t{{.Names}}",
        id: "ID",
    };

    fn rows() -> [Row; 2] {
        let labels = BTreeMap::from([("com.example.tier".to_string(), "db".to_string()), ("x".into(), "".into())]);
        let row = |id: &str, name: &str| Row::new([("ID", id.into()), ("Names", name.into())]);
        [row("3f2a9c", "web").labels(&labels), row("77", "ünïcode and long").labels(&BTreeMap::new())]
    }

    #[track_caller]
    fn shown(format: Option<&str>, quiet: bool) -> String {
        LISTING.layout(format, quiet).unwrap().text(rows()).unwrap()
    }

    #[test]
    fn the_default_is_a_table_with_headers() {
        let table = "CONTAINER ID   NAMES\n3f2a9c         web\n77             ünïcode and long\n";
        assert_eq!(shown(None, false), table);
        assert_eq!(shown(Some("table"), false), table);
        assert_eq!(LISTING.layout(None, false).unwrap().text([]).unwrap(), "CONTAINER ID   NAMES\n");
    }

    #[test]
    fn a_table_of_ones_own_has_the_headers_of_what_it_names() {
        assert_eq!(
            shown(Some("table {{.Names | upper}}\\t{{json .ID}}"), true),
            "NAMES              CONTAINER ID\nWEB                \"3f2a9c\"\nÜNÏCODE AND LONG   \"77\"\n"
        );
        assert_eq!(
            shown(Some(r#"table {{.ID}}\t{{.Label "com.example.tier"}}"#), false),
            "CONTAINER ID   tier\n3f2a9c         db\n77\n"
        );
    }

    #[test]
    fn columns_are_at_least_ten_wide() {
        assert_eq!(aligned("A\tB\n1\t2\n"), "A         B\n1         2\n");
    }

    #[test]
    fn quiet_is_the_id_alone_and_json_is_a_line_for_each() {
        assert_eq!(shown(None, true), "3f2a9c\n77\n");
        let lines = shown(Some("json"), false);
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first, serde_json::json!({"ID": "3f2a9c", "Names": "web", "Labels": "com.example.tier=db,x="}));
        assert_eq!(lines.lines().count(), 2);
        assert_eq!(shown(Some("{{json .}}"), false), lines);
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_what_is() {
        let layout = LISTING.layout(Some("{{.Nope}}"), false).unwrap();
        let failure = crate::error::Failure::from(&layout.text(rows()).unwrap_err());
        assert!(failure.message.contains("can't evaluate field Nope"), "{failure}");
        assert_eq!(failure.hint.unwrap(), "one of .ID .Names .Labels");
        assert!(LISTING.layout(Some("{{.ID"), false).unwrap_err().to_string().starts_with("template parsing error: "));
        assert!(LISTING.layout(Some("raw"), false).is_err());
    }

    #[test]
    fn a_layout_knows_what_it_shows() {
        let shows = |format| LISTING.layout(Some(format), false).unwrap().shows("Size");
        assert!(shows("{{.Size}}") && shows("json") && shows("{{with .Size}}x{{end}}") && shows("{{printf \"%s\" (.Size)}}"));
        assert!(!shows("{{.ID}}") && !shows("table"));
    }
}
