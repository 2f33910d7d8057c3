//! Tables beside kubectl's.

use super::*;

fn recorded() -> Table {
    let exchange: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/list-table.json")).unwrap();
    Table::from_json(exchange["response"]["body"].as_str().unwrap().as_bytes()).unwrap()
}

/// The output of kubectl for the same pods, except for their age.
fn kubectl(command: &str) -> String {
    let all = include_str!("../../../../tests/fixtures/_kubectl-get-pods.txt");
    all.split("$ ").find_map(|part| part.strip_prefix(command)).unwrap().into()
}

const fn plain(columns: Columns) -> Layout {
    Layout { columns, has_header: true, has_namespace: false, has_labels: false }
}

fn printed(columns: Columns) -> String {
    all_of(&recorded(), plain(columns))
}

fn all_of(table: &Table, layout: Layout) -> String {
    String::from_utf8(Printer::new(layout).page(table, usize::MAX).text).unwrap()
}

/// A table whose rows have the pods' metadata.
fn with_metadata(rows: &[(&str, &str, &str)]) -> Table {
    let row = |(namespace, name, labels): &(&str, &str, &str)| {
        format!(r#"{{"cells":["{name}","1/1",7],"object":{{"metadata":{{"namespace":"{namespace}","labels":{labels}}}}}}}"#)
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let columns = r#"{"name":"Name","format":"name"},{"name":"Ready"},{"name":"IP","priority":1}"#;
    let json = format!(r#"{{"kind":"Table","columnDefinitions":[{columns}],"rows":[{}]}}"#, rows.join(","));
    Table::from_json(json.as_bytes()).unwrap()
}

const SHOP: (&str, &str, &str) = ("shop", "web-0", r#"{"tier":"edge","app-x":"1","app":"2"}"#);

#[test]
fn tables_are_those_of_kubectl() {
    let age = |text: String| text.replace("2m27s", "AGE").replace("89s", "AGE").replace("86s", "AGE");
    let squeeze = |text: String| text.split('\n').map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
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
    assert_eq!(all_of(&recorded(), Layout::NAMES), kubectl("kubectl get pods -n shop -o name\n"));
}

/// kubectl's output for the same pods, except for the column with their ages.
#[test]
fn labels_are_those_of_kubectl() {
    let without_age = |text: &str| {
        let columns = text.lines().map(|line| {
            let mut words: Vec<_> = line.split_whitespace().collect();
            words.remove(words.len() - 2);
            words.join(" ")
        });
        columns.collect::<Vec<_>>()
    };
    let ours = all_of(&recorded(), Layout { has_labels: true, ..plain(Columns::Important) });
    let theirs = kubectl("kubectl get pods -n shop --show-labels\n");
    assert_eq!(without_age(&ours), without_age(&theirs));
}

#[test]
fn every_layout() {
    let table = with_metadata(&[SHOP, ("kube-system", "a", "null")]);
    let layout = |columns, has_header, has_namespace, has_labels| Layout { columns, has_header, has_namespace, has_labels };
    for (layout, expected) in [
        (layout(Columns::Important, true, false, false), "NAME    READY\nweb-0   1/1\na       1/1\n"),
        (layout(Columns::Important, false, false, false), "web-0   1/1\na       1/1\n"),
        (layout(Columns::All, true, false, false), "NAME    READY   IP\nweb-0   1/1     7\na       1/1     7\n"),
        (
            layout(Columns::Important, true, true, false),
            "NAMESPACE     NAME    READY\nshop          web-0   1/1\nkube-system   a       1/1\n",
        ),
        // The order is that of the texts `key=value`: `-` comes before `=`.
        (
            layout(Columns::Important, true, false, true),
            "NAME    READY   LABELS\nweb-0   1/1     app-x=1,app=2,tier=edge\na       1/1     <none>\n",
        ),
        (
            layout(Columns::All, false, true, true),
            "shop          web-0   1/1   7     app-x=1,app=2,tier=edge\nkube-system   a       1/1   7     <none>\n",
        ),
        (Layout::NAMES, "pod/web-0\npod/a\n"),
    ] {
        assert_eq!(all_of(&table, layout), expected);
    }
}

/// Without rows there is no header; it comes with the first rows, in columns that are as wide as these need.
#[test]
fn a_table_that_is_skipped_leaves_its_columns() {
    let layout = Layout { has_namespace: true, ..plain(Columns::Important) };
    let mut printer = Printer::new(layout);
    let skipped = printer.skip(&with_metadata(&[("a-long-namespace", "a-long-name", "{}")]));
    assert_eq!((skipped.text, skipped.shown, skipped.cut), (Vec::new(), 1, 0));
    let event = Table { column_definitions: Vec::new(), ..with_metadata(&[SHOP]) };
    let text = |page: Page| String::from_utf8(page.text).unwrap();
    assert_eq!(text(printer.page(&event, usize::MAX)), "NAMESPACE   NAME    READY\nshop        web-0   1/1\n");
    assert_eq!(text(printer.page(&event, usize::MAX)), "shop        web-0   1/1\n");
    let none = Table { rows: Vec::new(), ..with_metadata(&[]) };
    assert_eq!(all_of(&none, layout), "");
}

/// Rows may come without metadata, and labels as `null`.
#[test]
fn what_a_row_lacks_is_empty() {
    let json = br#"{"kind":"Table","columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["a"]},{"cells":[],"object":null},{"cells":["b"],"object":{"metadata":null}}]}"#;
    let layout = Layout { has_namespace: true, has_labels: true, ..plain(Columns::Important) };
    let expected = "NAMESPACE   NAME   LABELS\n            a      <none>\n                   <none>\n            b      <none>\n";
    assert_eq!(all_of(&Table::from_json(json).unwrap(), layout), expected);
}

#[test]
fn a_second_page_has_no_header_and_no_narrower_columns() {
    let mut printer = Printer::new(plain(Columns::Important));
    let first = String::from_utf8(printer.page(&recorded(), 2).text).unwrap();
    assert_eq!(first.lines().count(), 3);
    let second = printer.page(&recorded(), usize::MAX);
    assert_eq!((second.shown, second.cut), (7, 0));
    let second = String::from_utf8(second.text).unwrap();
    assert_eq!(second.lines().next(), first.lines().nth(1));
    assert_eq!(Printer::new(plain(Columns::All)).page(&recorded(), 3).cut, 4);
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
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410}}"#;
    assert!(matches!(event(gone), Err(Error::Expired(_))));
    assert!(event("{").is_err());
}

#[test]
fn a_cell_stays_in_its_line() {
    assert_eq!(text(&"a\nb".into()), "a...");
    assert_eq!(text(&"\x1b[31mred".into()), "\u{fffd}[31mred");
    assert_eq!(text(&Value::Null), "");
    assert_eq!(text(&3.into()), "3");
    assert_eq!(shown("a\u{202e}b\rc"), "a\u{fffd}b...");
}

#[test]
fn a_cell_of_any_length_is_printed_and_widens_its_column_so_far_and_no_more() {
    let name = "x".repeat(70_000);
    let table = with_metadata(&[("shop", &name, "{}"), ("shop", "b", "{}")]);
    let text = all_of(&table, Layout { has_namespace: true, ..plain(Columns::Important) });
    assert!(text.contains(&format!("shop        {name}   1/1")), "{}", text.len());
    assert!(text.len() < name.len() + 3 * 1100, "{}", text.len());
    let escapes = r#"{"kind":"Table","columnDefinitions":[{"name":"Sta\u001b[31mtus"}],"rows":[]}"#;
    let mut printer = Printer::new(plain(Columns::Important));
    printer.learn(&Table::from_json(escapes.as_bytes()).unwrap());
    assert_eq!(printer.header(), ["STA\u{fffd}[31MTUS"]);
}

#[test]
fn what_is_not_a_table_is_refused() {
    for json in ["", "[]", r#"{"kind":"PodList"}"#, r#"{"kind":"Table","rows":7}"#] {
        assert!(matches!(Table::from_json(json.as_bytes()), Err(Error::MalformedResponse(_))), "{json}");
    }
    assert!(Table::from_json(b"{\"kind\":\"Table\",\"rows\":[{\"cells\":[\"\xff\\ud800\"]}]}").is_ok());
    assert!(Table::from_json(br#"{"kind":"Table","rows":null}"#).unwrap().rows.is_empty());
}
