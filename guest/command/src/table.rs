//! Prints the server's own table, like `kubectl get`.

use crate::pods::Page;
use incluster_client::decode::{Encoding, Event, change_kind, pod_event, unicode};
use incluster_client::types::Error;
use incluster_core::text::is_control;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// `meta.k8s.io/v1.Table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    column_definitions: Vec<Column>,
    #[serde(default, deserialize_with = "nullable")]
    rows: Vec<Row>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
    r#continue: String,
    remaining_item_count: Option<u64>,
}

#[derive(Clone, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
    /// The pod, as far as the server was asked for it.
    #[serde(default, deserialize_with = "nullable")]
    object: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    #[serde(deserialize_with = "nullable")]
    metadata: ObjectMetadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectMetadata {
    namespace: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

/// What to print of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The server's columns.
    pub columns: Columns,
    /// Whether the first line has the names of the columns.
    pub has_header: bool,
    /// Whether the first column is the namespace.
    pub has_namespace: bool,
    /// Whether the last column is the labels.
    pub has_labels: bool,
}

/// Which of the server's columns to print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Only the name, like `kubectl get -o name`.
    Name,
    /// The columns of priority 0.
    Important,
    /// All columns.
    All,
}

/// The most characters by which a cell widens its column: one cell must not make every line of a page long.
const WIDEST: usize = 1024;

/// The layout of kubectl's columns: the spaces between them, and their minimum width including these spaces.
const PADDING: usize = 3;
const MIN_WIDTH: usize = 6;

impl Layout {
    /// What `kubectl get -o name` prints.
    pub const NAMES: Layout = Layout { columns: Columns::Name, has_header: false, has_namespace: false, has_labels: false };

    /// Whether the rows must have the pods' metadata.
    pub fn needs_metadata(&self) -> bool {
        self.has_namespace || self.has_labels
    }
}

impl Table {
    pub fn from_json(json: &[u8]) -> Result<Table, Error> {
        let table: Table = unicode::from_slice(json).map_err(|e| Error::MalformedResponse(format!("the table: {e}")))?;
        table.checked()
    }

    fn checked(self) -> Result<Table, Error> {
        match &*self.kind {
            "Table" => Ok(self),
            kind => Err(Error::MalformedResponse(format!("expected a Table, got kind {kind:?}"))),
        }
    }

    /// The resource version of the table.
    pub fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Makes a page of this text, which shows this many rows.
    fn to_page(&self, text: Vec<u8>, shown: usize) -> Page {
        Page {
            text,
            shown,
            cut: self.rows.len() - shown,
            continue_token: Some(self.metadata.r#continue.clone()).filter(|token| !token.is_empty()),
            remaining: self.metadata.remaining_item_count,
        }
    }
}

/// Decodes an event of a watch for tables.
pub fn table_event(encoding: Encoding, frame: &[u8]) -> Result<Event<Table>, Error> {
    #[derive(Deserialize)]
    struct TableEvent {
        r#type: String,
        object: Table,
    }
    if encoding == Encoding::Json
        && let Ok(TableEvent { r#type, object }) = unicode::from_slice(frame)
        && object.kind == "Table"
    {
        let resource_version = object.metadata.resource_version.clone();
        return match change_kind(&r#type) {
            Some(kind) => Ok(Event::Object { kind, resource_version, object }),
            None if r#type == "BOOKMARK" => Ok(Event::Bookmark { resource_version, initial_events_end: false }),
            None => Err(Error::MalformedResponse(format!("the watch has an event of type {:?}", r#type))),
        };
    }
    // Some servers put only the pods into tables, and send everything else as it is.
    match pod_event(encoding, frame)? {
        Event::Bookmark { resource_version, initial_events_end } => Ok(Event::Bookmark { resource_version, initial_events_end }),
        Event::Object { .. } | Event::Unreadable { .. } | Event::Cut => {
            Err(Error::MalformedResponse("the watch is not one for tables".into()))
        }
    }
}

/// Prints tables one below the other. Columns never get narrower, like kubectl's.
pub struct Printer {
    layout: Layout,
    /// The definitions of the columns, which a watch sends only once.
    definitions: Vec<Column>,
    widths: Vec<usize>,
}

impl Printer {
    pub fn new(layout: Layout) -> Printer {
        Printer { layout, definitions: Vec::new(), widths: Vec::new() }
    }

    /// Takes a table that is not to be printed. Its columns are those of the next ones.
    pub fn skip(&mut self, table: &Table) -> Page {
        self.learn(table);
        table.to_page(Vec::new(), table.rows.len())
    }

    /// Returns the text of a table's rows, as many as there is room for. The header comes before the first rows.
    pub fn page(&mut self, table: &Table, room: usize) -> Page {
        self.learn(table);
        let shown = table.rows.len().min(room);
        let rows = &table.rows[..shown];
        let is_first = self.widths.is_empty();
        let header = (is_first && self.layout.has_header && !table.rows.is_empty()).then(|| self.header());
        let lines: Vec<_> = header.into_iter().chain(rows.iter().map(|row| self.line(row))).collect();
        table.to_page(self.print(&lines), shown)
    }

    /// Remembers the columns, which a watch sends only once.
    fn learn(&mut self, table: &Table) {
        if self.definitions.is_empty() {
            self.definitions.clone_from(&table.column_definitions);
        }
    }

    fn header(&self) -> Vec<String> {
        let names = self.chosen().into_iter().map(|i| shown(&self.definitions[i].name).to_uppercase());
        let Layout { has_namespace, has_labels, .. } = self.layout;
        let namespace = has_namespace.then(|| "NAMESPACE".into());
        namespace.into_iter().chain(names).chain(has_labels.then(|| "LABELS".into())).collect()
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let cells = self.chosen().into_iter().map(|i| row.cells.get(i).map(text).unwrap_or_default());
        let Layout { has_namespace, has_labels, .. } = self.layout;
        let ObjectMetadata { namespace, labels } = &row.object.metadata;
        let namespace = has_namespace.then(|| shown(namespace));
        namespace.into_iter().chain(cells).chain(has_labels.then(|| shown(&list(labels)))).collect()
    }

    fn chosen(&self) -> Vec<usize> {
        let all = 0..self.definitions.len();
        match self.layout.columns {
            Columns::Name => vec![self.definitions.iter().position(|c| c.format == "name").unwrap_or(0)],
            Columns::Important => all.filter(|&i| self.definitions[i].priority == 0).collect(),
            Columns::All => all.collect(),
        }
    }

    fn print(&mut self, lines: &[Vec<String>]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            self.widths.resize(line.len(), MIN_WIDTH);
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count().min(WIDEST) + PADDING);
            }
        }
        for line in lines {
            for (place, cell) in line.iter().enumerate() {
                if self.layout.columns == Columns::Name {
                    out.extend_from_slice(b"pod/");
                }
                out.extend_from_slice(cell.as_bytes());
                if place + 1 == line.len() {
                    out.push(b'\n');
                } else {
                    let padding = self.widths[place].saturating_sub(cell.chars().count()).max(PADDING);
                    out.extend(std::iter::repeat_n(b' ', padding));
                }
            }
        }
        out
    }
}

/// Returns labels in kubectl's form and order, which is that of the texts `key=value`.
fn list(labels: &BTreeMap<String, String>) -> String {
    let mut pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => shown(text),
        Value::Null => String::new(),
        other => shown(&other.to_string()),
    }
}

/// Returns a cell's text as one line that a terminal does not act on.
fn shown(text: &str) -> String {
    let (line, more) = match text.find(['\n', '\r', '\x0c']) {
        Some(end) => (&text[..end], "..."),
        None => (text, ""),
    };
    line.chars().map(|c| if is_control(c) { '\u{fffd}' } else { c }).chain(more.chars()).collect()
}

fn nullable<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
