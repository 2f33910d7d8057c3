//! Prints the server's own table, as `kubectl get` does.

use crate::pods::Page;
use incluster_client::decode::{Encoding, Event, change_kind, pod_event, unicode};
use incluster_client::types::Error;
use incluster_core::text::is_control;
use serde::Deserialize;
use serde_json::Value;

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
}

/// Which columns to print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// The name alone, as `kubectl get -o name` does.
    Name,
    /// Those of priority 0.
    Important,
    /// All.
    All,
}

/// kubectl's columns: so many spaces apart, and no narrower than this with them.
const PADDING: usize = 3;
const MIN_WIDTH: usize = 6;

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

    /// The state that the table shows.
    pub fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

/// An event of a watch for tables.
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
    // Some servers put only the pods into tables, and send the rest as it is.
    match pod_event(encoding, frame)? {
        Event::Bookmark { resource_version, initial_events_end } => Ok(Event::Bookmark { resource_version, initial_events_end }),
        Event::Object { .. } | Event::Unreadable { .. } | Event::Cut => {
            Err(Error::MalformedResponse("the watch is not one for tables".into()))
        }
    }
}

/// Prints tables one below the other. Columns never get narrower, as kubectl's do not.
pub struct Printer {
    columns: Columns,
    /// A watch defines its columns once.
    definitions: Vec<Column>,
    widths: Vec<usize>,
}

impl Printer {
    pub fn new(columns: Columns) -> Printer {
        Printer { columns, definitions: Vec::new(), widths: Vec::new() }
    }

    /// The text of a table's rows, as many as there is room for; before the first ones, the header.
    pub fn page(&mut self, table: &Table, room: usize) -> Page {
        let mut lines = Vec::new();
        let is_first = self.widths.is_empty();
        if self.definitions.is_empty() {
            self.definitions.clone_from(&table.column_definitions);
        }
        let chosen = self.chosen();
        if is_first && self.columns != Columns::Name && !table.rows.is_empty() {
            lines.push(chosen.iter().map(|&i| self.definitions[i].name.to_uppercase()).collect());
        }
        let shown = table.rows.len().min(room);
        for row in &table.rows[..shown] {
            lines.push(chosen.iter().map(|&i| row.cells.get(i).map(text).unwrap_or_default()).collect());
        }
        Page {
            text: self.print(&lines),
            shown,
            cut: table.rows.len() - shown,
            continue_token: Some(table.metadata.r#continue.clone()).filter(|token| !token.is_empty()),
            remaining: table.metadata.remaining_item_count,
        }
    }

    fn chosen(&self) -> Vec<usize> {
        let all = 0..self.definitions.len();
        match self.columns {
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
                *width = (*width).max(cell.chars().count() + PADDING);
            }
        }
        for line in lines {
            for (place, cell) in line.iter().enumerate() {
                let prefix = if self.columns == Columns::Name { "pod/" } else { "" };
                let text = match line.len() - place {
                    1 => format!("{prefix}{cell}\n"),
                    _ => format!("{cell:width$}", width = self.widths[place]),
                };
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }
}

/// A cell in one line that a terminal does not act on.
fn text(cell: &Value) -> String {
    let text = match cell {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let (line, more) = match text.find(['\n', '\r', '\x0c']) {
        Some(end) => (&text[..end], "..."),
        None => (&*text, ""),
    };
    line.chars().map(|c| if is_control(c) { '\u{fffd}' } else { c }).chain(more.chars()).collect()
}

fn nullable<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Table {
        let exchange: Value = serde_json::from_str(include_str!("../../../tests/fixtures/list-table.json")).unwrap();
        Table::from_json(exchange["response"]["body"].as_str().unwrap().as_bytes()).unwrap()
    }

    /// What kubectl printed for the same pods, but for their age.
    fn kubectl(command: &str) -> String {
        let all = include_str!("../../../tests/fixtures/_kubectl-get-pods.txt");
        all.split("$ ").find_map(|part| part.strip_prefix(command)).unwrap().into()
    }

    fn printed(columns: Columns) -> String {
        String::from_utf8(Printer::new(columns).page(&recorded(), usize::MAX).text).unwrap()
    }

    #[test]
    fn tables_are_those_of_kubectl() {
        let age = |text: String| text.replace("2m27s", "AGE").replace("89s", "AGE").replace("86s", "AGE");
        let squeeze =
            |text: String| text.split('\n').map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        let ages = recorded().rows.iter().map(|row| text(&row.cells[4])).collect::<std::collections::BTreeSet<_>>();
        let mut ours = printed(Columns::Important);
        let mut wide = printed(Columns::All);
        for a in ages {
            ours = ours.replace(&format!(" {a}"), " AGE");
            wide = wide.replace(&format!(" {a} "), " AGE ");
        }
        assert_eq!(squeeze(ours), squeeze(age(kubectl("kubectl get pods -n shop \n"))));
        assert_eq!(squeeze(wide), squeeze(age(kubectl("kubectl get pods -n shop -o wide\n"))));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let header = printed(Columns::Important).lines().next().unwrap().to_string();
        assert_eq!(header, kubectl("kubectl get pods -n shop \n").lines().next().unwrap());
    }

    #[test]
    fn names() {
        assert_eq!(printed(Columns::Name), kubectl("kubectl get pods -n shop -o name\n"));
    }

    #[test]
    fn a_second_page_has_no_header_and_no_narrower_columns() {
        let mut printer = Printer::new(Columns::Important);
        let first = String::from_utf8(printer.page(&recorded(), 2).text).unwrap();
        assert_eq!(first.lines().count(), 3);
        let second = printer.page(&recorded(), usize::MAX);
        assert_eq!((second.shown, second.cut), (7, 0));
        let second = String::from_utf8(second.text).unwrap();
        assert_eq!(second.lines().next(), first.lines().nth(1));
        assert_eq!(Printer::new(Columns::All).page(&recorded(), 3).cut, 4);
    }

    #[test]
    fn events() {
        let row = r#"{"cells":["web-0"]}"#;
        let table = |kind: &str| {
            format!(r#"{{"type":"ADDED","object":{{"kind":"{kind}","metadata":{{"resourceVersion":"7"}},"rows":[{row}]}}}}"#)
        };
        let event = |json: &str| table_event(Encoding::Json, json.as_bytes());
        assert!(matches!(event(&table("Table")), Ok(Event::Object { resource_version, .. }) if resource_version == "7"));
        assert!(matches!(event(&table("PodList")), Err(Error::MalformedResponse(_))));
        let bookmark = table("Table").replace("ADDED", "BOOKMARK");
        assert!(matches!(event(&bookmark), Ok(Event::Bookmark { resource_version, .. }) if resource_version == "7"));
        let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"8"}}}"#;
        assert!(matches!(event(bookmark), Ok(Event::Bookmark { resource_version, .. }) if resource_version == "8"));
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","status":"CommandError","code":410}}"#;
        assert!(matches!(event(gone), Err(Error::Expired(_))));
        assert!(event("{").is_err());
    }

    #[test]
    fn a_cell_stays_in_its_line() {
        assert_eq!(text(&"a\nb".into()), "a...");
        assert_eq!(text(&"\x1b[31mred".into()), "\u{fffd}[31mred");
        assert_eq!(text(&Value::Null), "");
        assert_eq!(text(&3.into()), "3");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for json in ["", "[]", r#"{"kind":"PodList"}"#, r#"{"kind":"Table","rows":7}"#] {
            assert!(matches!(Table::from_json(json.as_bytes()), Err(Error::MalformedResponse(_))), "{json}");
        }
        assert!(Table::from_json(b"{\"kind\":\"Table\",\"rows\":[{\"cells\":[\"\xff\\ud800\"]}]}").is_ok());
        assert!(Table::from_json(br#"{"kind":"Table","rows":null}"#).unwrap().rows.is_empty());
    }
}
