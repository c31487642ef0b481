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

    /// Its members as Docker prints them: by name.
    fn value(mut self) -> Value {
        self.fields.sort_keys();
        Value::Object(self.fields)
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
    pub fn shows(&self, field: &str) -> bool {
        self.template.mentions(field)
    }

    /// Prints all rows, below their headers where it is a table.
    pub fn print(&self, rows: impl IntoIterator<Item = Row>) -> Result<()> {
        output::text(&self.text(rows)?)
    }

    /// The same, but where a table is too wide for the terminal it goes to, the columns with these headers give way, one
    /// after the other: to so many characters, or with 0 altogether.
    pub fn print_fitted(&self, rows: impl IntoIterator<Item = Row>, yielding: &[(&str, usize)]) -> Result<()> {
        let cells = self.cells(rows)?;
        output::text(&match output::width() {
            Some(width) if self.table => aligned(&fitted(&cells, width, yielding)),
            _ if self.table => aligned(&cells),
            _ => cells,
        })
    }

    /// The same as a text.
    pub fn text(&self, rows: impl IntoIterator<Item = Row>) -> Result<String> {
        let cells = self.cells(rows)?;
        Ok(if self.table { aligned(&cells) } else { cells })
    }

    /// Lines whose cells are parted by tabs.
    fn cells(&self, rows: impl IntoIterator<Item = Row>) -> Result<String> {
        let mut text = String::new();
        if self.table {
            let headers = self.columns.iter().map(|(field, header)| (field.to_string(), Value::from(*header)));
            let label = |key: &str| key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ");
            let headers = Value::Object(headers.collect());
            text = self.line(Data { value: &headers, label: Some(&label), headers: true })?;
        }
        for mut row in rows {
            let labels = std::mem::take(&mut row.labels);
            let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
            text.push_str(&self.line(Data { value: &row.value(), label: Some(&label), headers: false })?);
        }
        Ok(text)
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

/// Makes the table no wider than `width`, as far as that goes: columns without content go first, then each of `yielding` in turn is cut
/// to its shortest, or where that is 0 left out.
fn fitted(text: &str, width: usize, yielding: &[(&str, usize)]) -> String {
    let mut table: Vec<Vec<String>> = text.lines().map(|line| line.split('\t').map(String::from).collect()).collect();
    let columns = table.first().map_or(0, Vec::len);
    let empty = |at: usize| table.len() > 1 && table.iter().skip(1).all(|row| row.get(at).is_none_or(String::is_empty));
    let empty: Vec<usize> = (0..columns).filter(|at| empty(*at)).collect();
    if excess(&table, width) > 0 {
        empty.into_iter().rev().for_each(|at| remove(&mut table, at));
    }
    for (header, shortest) in yielding {
        let excess = excess(&table, width);
        let Some(at) = table.first().and_then(|row| row.iter().position(|cell| cell == header)) else { continue };
        if excess == 0 {
            break;
        }
        if *shortest == 0 {
            remove(&mut table, at);
            continue;
        }
        let wanted = widest(&table, at).saturating_sub(excess).max(*shortest).max(header.len());
        for cell in table.iter_mut().filter_map(|row| row.get_mut(at)).filter(|cell| cell.chars().count() > wanted) {
            *cell = cell.chars().take(wanted - 1).chain(['…']).collect();
        }
    }
    table.iter().map(|row| row.join("\t") + "\n").collect()
}

fn widest(table: &[Vec<String>], at: usize) -> usize {
    table.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
}

/// How many characters the longest line has too many.
fn excess(table: &[Vec<String>], width: usize) -> usize {
    let last = table.first().map_or(0, Vec::len).saturating_sub(1);
    let before: usize = (0..last).map(|at| (widest(table, at) + GAP).max(NARROWEST)).sum();
    (before + widest(table, last)).saturating_sub(width)
}

fn remove(table: &mut [Vec<String>], at: usize) {
    for row in table.iter_mut().filter(|row| at < row.len()) {
        row.remove(at);
    }
}

/// Lines with tabs to columns. The last cell of a line is in none, so that nothing is padded at the end.
pub fn aligned(text: &str) -> String {
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
    fn a_table_gives_way_on_a_narrow_terminal_and_only_there() {
        let row = |id: &str, image: &str, ports: &str, name: &str| format!("{id}\t{image}\t{ports}\t{name}\n");
        let text = row("ID", "IMAGE", "PORTS", "NAMES")
            + &row("3f2a9c3f2a9c", &"registry.example/".repeat(3), "", "a_long_name_of_its_own");
        let lines = |width| aligned(&fitted(&text, width, &[("IMAGE", 12), ("IMAGE", 0), ("NAMES", 8)]));
        assert_eq!(lines(200), aligned(&text));
        let narrow = lines(60);
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        assert!(
            narrow.contains("registry.e") && narrow.contains("a_long_name_of_its_own") && !narrow.contains("PORTS"),
            "{narrow}"
        );
        assert_eq!(lines(40), "ID             NAMES\n3f2a9c3f2a9c   a_long_name_of_its_own\n");
        assert_eq!(lines(5), "ID             NAMES\n3f2a9c3f2a9c   a_long_…\n");
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
