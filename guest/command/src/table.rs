//! Prints the server's own table, as `kubectl get` does.

use incluster_client::types::Error;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, Write};

/// `meta.k8s.io/v1.Table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default, deserialize_with = "nullable")]
    rows: Vec<Row>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    r#continue: String,
    remaining_item_count: Option<u64>,
}

#[derive(Deserialize)]
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
        let table: Table = serde_json::from_slice(json).map_err(|e| Error::MalformedResponse(format!("the table: {e}")))?;
        match &*table.kind {
            "Table" => Ok(table),
            kind => Err(Error::MalformedResponse(format!("expected a Table, got kind {kind:?}"))),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a limit left out: `Some(None)` when the server does not say how many.
    pub fn left_out(&self) -> Option<Option<u64>> {
        (!self.metadata.r#continue.is_empty()).then_some(self.metadata.remaining_item_count)
    }

    /// The cells of the column that holds the names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let column = self.column_definitions.iter().position(|c| c.format == "name").unwrap_or(0);
        self.rows.iter().filter_map(move |row| row.cells.get(column).map(text))
    }

    pub fn print(&self, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let chosen: Vec<usize> = (0..self.column_definitions.len())
            .filter(|&i| columns == Columns::All || self.column_definitions[i].priority == 0)
            .collect();
        let header: Vec<String> = chosen.iter().map(|&i| self.column_definitions[i].name.to_uppercase()).collect();
        let mut lines = vec![header];
        for row in &self.rows {
            lines.push(chosen.iter().map(|&i| row.cells.get(i).map(text).unwrap_or_default()).collect());
        }
        let width =
            |column: usize| lines.iter().map(|line| line[column].chars().count() + PADDING).max().unwrap_or(0).max(MIN_WIDTH);
        let widths: Vec<usize> = (0..chosen.len()).map(width).collect();
        for line in &lines {
            for (place, cell) in line.iter().enumerate() {
                match line.len() - place {
                    1 => writeln!(out, "{cell}")?,
                    _ => write!(out, "{cell:width$}", width = widths[place])?,
                }
            }
        }
        Ok(())
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
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).chain(more.chars()).collect()
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
        let mut out = Vec::new();
        recorded().print(columns, &mut out).unwrap();
        String::from_utf8(out).unwrap()
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
        let names: String = recorded().names().map(|name| format!("pod/{name}\n")).collect();
        assert_eq!(names, kubectl("kubectl get pods -n shop -o name\n"));
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
        assert!(Table::from_json(br#"{"kind":"Table","rows":null}"#).unwrap().is_empty());
    }
}
