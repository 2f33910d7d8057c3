//! What other readers make of the YAML, and what they would make of it with fewer quotes.

use super::*;
use crate::document::{Document, Format};
use regex::Regex;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// The plain texts that are not strings, by <https://yaml.org/type/> (YAML 1.1) and the core schema of YAML 1.2.
const OTHER_TYPES: [&str; 12] = [
    // bool, null
    "y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "~|null|Null|NULL|",
    // int
    "[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+",
    // float
    r"[-+]?([0-9][0-9_]*)?\.[0-9._]*([eE][-+][0-9]+)?",
    r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*",
    r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    // timestamp
    "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]",
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?",
    // merge, value
    "<<",
    "=",
    // YAML 1.2: int, float
    "0o[0-7]+|0x[0-9a-fA-F]+|[-+]?[0-9]+",
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
];

/// Strings that look like each type, and strings with a meaning in YAML.
const LOOKS: &str = "y|N|yEs|on|Off|nO|TRUE|falsE|null|nUll|~|010|0o10|0x1F|0b11|1_000|1:20|1:20.5|190:20:30|-1|+1|.5|5.|1.5|1e3|\
    1E-3|1.0e+30|.inf|-.Inf|.NAN|2026-01-02|2026-01-02T03:04:05Z|2026-1-2 3:04:05.1 +1|=|<<|\
    -|?|:|- a|? a|a: b|a:|a: |: a|:a|a #b|#a|a#b| a|a |---|--- a|...|... a|[a]|{a}|&a|*a|!a|!!str a|%a|@a|`a|>a|\"a|'a|a'b|\
    a\"b|a\\b|a, b|,a|/var/run|a-b|a.b|10.0.0.1|nginx:1.25|größe|🦀|\
    \t|a\tb|\r|a\rb|\r\n|a\r\nb|\u{0}|\u{7}|\u{1b}[2J|\u{7f}|a\u{85}b|a\u{a0}b|a\u{2028}b|a\u{2029}b|\u{feff}a|a\u{feff}|\
    \u{fffe}|\u{ffff}|\u{e0041}|\n|\n\n|a\n|a\nb|a\n\nb\n|a\n\n|\na|  a\nb|a\n  b|a\n  |a \nb|a\n\tb|\ta\nb|---\na\n...\n|#a\n#b|\
    a: b\nc: d\n|a\n\u{2028}b|\u{3000}a\nb";

/// All of `LOOKS`, all texts of up to two of many characters, and random longer ones of the same characters.
fn strings() -> BTreeSet<String> {
    let alphabet: Vec<char> =
        " -?:,[]{}#&*!|>'\"%@`\\/=<~.+_019eExboyYnNtTZ\n\t\r\u{85}\u{a0}\u{2028}\u{2029}\u{feff}é🦀".chars().collect();
    let mut strings: BTreeSet<String> = LOOKS.split('|').map(String::from).collect();
    strings.extend(["", "|", "|a", "a|b"].map(String::from));
    strings.extend(alphabet.iter().map(char::to_string));
    strings.extend(alphabet.iter().flat_map(|a| alphabet.iter().map(move |b| format!("{a}{b}"))));
    let mut state = 1_u32;
    let mut random = |below: usize| {
        // Numerical Recipes' generator, whose upper bits are good enough.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..4000 {
        strings.insert((0..3 + random(8)).map(|_| alphabet[random(alphabet.len())]).collect());
    }
    strings
}

/// Each string as a value, as a key, and in a list.
fn documents() -> Vec<Value> {
    let strings: Vec<String> = strings().into_iter().collect();
    let document = |strings: &[String]| {
        let map: serde_json::Map<_, _> = strings.iter().map(|text| (text.clone(), Value::from(text.clone()))).collect();
        json!({"list": strings, "map": map})
    };
    strings.chunks(500).map(document).chain([field_case(), nested()]).collect()
}

/// The annotations of a real pod.
fn field_case() -> Value {
    json!({
        "annotations": {"a": "on", "b": "yes", "c": "n", "d": "Off", "e": "1_000", "f": "1:20", "yes": "x", "y": "z"},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "env": [{"name": "A", "value": "on"}],
    })
}

/// Values other than strings, at every place.
fn nested() -> Value {
    let values = json!([null, true, false, 0, -1, 8080, u64::MAX, i64::MIN, 1.5, -0.5, 1e300, -2.5e-9, {}, [], [[]], [{}]]);
    let long = "k".repeat(2000);
    let lists = json!([[1, [2, 3]], {"a": {"b": "c\nd"}, "e": ["f\n\ng\n"]}]);
    json!({"values": values, "lists": lists, (&long): {"x": [1]}, (long + "l"): [1]})
}

#[test]
fn what_is_plain_is_a_string_for_everybody() {
    let other = Regex::new(&format!("^({})$", OTHER_TYPES.map(|it| format!("({it})")).join("|"))).unwrap();
    let mut plain = 0;
    for string in strings() {
        let written = text(&string.clone().into(), 2);
        let written = written.strip_suffix('\n').unwrap();
        if !written.starts_with(['"', '|']) {
            assert_eq!(written, string);
            assert!(!other.is_match(&string), "{string}");
            plain += 1;
        }
    }
    assert!(plain > 100, "{plain}");
    for string in ["on", "1_000", "1:20", "0o10", "2026-01-02T03:04:05Z", "2026-01-02", ".5", "5.", ".inf", "~", "", "=", "<<"] {
        assert!(other.is_match(string), "{string}");
    }
}

#[test]
fn libyaml_reads_what_was_written() {
    for document in documents() {
        assert_eq!(yaml_serde::from_str::<Value>(&text(&document, 0)).unwrap(), document);
    }
}

/// PyYAML reads YAML 1.1. The test is ignored if it is not installed.
#[test]
fn pyyaml_reads_what_was_written() {
    const PROGRAM: &str = "import json, sys, yaml
for written, expected in json.load(sys.stdin.buffer):
    # Unlike `==`, this tells 1 and True and 1.0 apart.
    read, expected = repr(yaml.safe_load(written)), repr(expected)
    if read != expected:
        sys.exit(written + '\\nis\\n' + read + '\\nand not\\n' + expected)";
    let python = |program: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    if !python("import yaml").output().is_ok_and(|output| output.status.success()) {
        // Written directly: the test harness would hold back the text of a macro.
        writeln!(std::io::stderr(), "ignored: pyyaml_reads_what_was_written: python3 has no module yaml").unwrap();
        return;
    }
    let written: Vec<(String, Value)> = documents().into_iter().map(|document| (text(&document, 0), document)).collect();
    let mut reader = python(PROGRAM).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(json!(written).to_string().as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn no_line_ends_with_space() {
    for document in documents() {
        assert!(text(&document, 0).lines().all(|line| !line.ends_with(char::is_whitespace)));
    }
}

#[test]
fn no_text_acts_on_a_terminal() {
    for document in documents() {
        assert!(!text(&document, 0).contains(|c: char| is_control(c) && c != '\n'));
    }
}

#[test]
fn a_list_of_pods_is_readable() {
    let command = "set -e\n\nif true; then\n  run\nfi\n";
    let item = json!({
        "metadata": {"name": "web-0", "annotations": field_case()["annotations"], "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {
            "containers": [
                {"image": "nginx:1.25", "ports": [{"containerPort": 80}], "command": ["sh", "-c", command], "tty": true},
            ],
            "volumes": [],
        },
        "status": {"message": "0/3 nodes: Insufficient cpu", "qosClass": "Burstable", "podIP": "10.0.0.1", "conditions": null},
    });
    let list = json!({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [item]});
    let mut document = Document::new(Format::Yaml);
    let mut written = document.page(list.to_string().as_bytes(), usize::MAX).unwrap().text;
    written.extend(document.end().unwrap());
    let expected = r#"apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      a: "on"
      b: "yes"
      c: "n"
      d: "Off"
      e: "1_000"
      f: "1:20"
      "y": z
      "yes": x
    creationTimestamp: "2026-01-02T03:04:05Z"
    name: web-0
  spec:
    containers:
    - command:
      - sh
      - "-c"
      - |
        set -e

        if true; then
          run
        fi
      image: nginx:1.25
      ports:
      - containerPort: 80
      tty: true
    volumes: []
  status:
    conditions: null
    message: "0/3 nodes: Insufficient cpu"
    podIP: "10.0.0.1"
    qosClass: Burstable
kind: List
metadata:
  resourceVersion: "7"
"#;
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}
