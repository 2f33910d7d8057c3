//! The process's counters for the status page, read from the text that Prometheus reads, so that both say the same.

use std::collections::BTreeMap;

/// A line of the text: a metric's name, its labels, its value.
#[derive(Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: u64,
}

/// The counters in Prometheus's text.
pub(crate) fn parse(text: &str) -> Vec<Figure> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(figure).collect()
}

fn figure(line: &str) -> Option<Figure> {
    let (metric, value) = line.rsplit_once(' ')?;
    let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
    // No label's value here has a quote or a backslash in it: they are names and hosts.
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_string(), value.trim_end_matches('"').to_string()))
    });
    Some(Figure { name: name.into(), labels: labels.collect(), value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_they_are_written() {
        let text = "# TYPE a counter\na{tenant=\"shop\",reason=\"policy\"} 3\nb 4\nc{le=\"0.5\"} 0.25\n\n";
        let labels = BTreeMap::from([("tenant".into(), "shop".into()), ("reason".into(), "policy".into())]);
        let figure = |name: &str, labels, value| Figure { name: name.into(), labels, value };
        assert_eq!(parse(text), [figure("a", labels, 3), figure("b", BTreeMap::new(), 4)]);
    }
}
