//! The status page: what an operator wants to know first. It shows no secrets, and cannot change anything.

use crate::figures::{self, Figure};
use crate::routes::{Route, Routes};
use maud::{DOCTYPE, Markup, html};
use std::time::SystemTime;

/// How the last reload ended.
#[derive(Clone)]
pub(crate) struct Reload {
    pub(crate) at: SystemTime,
    /// Why the file was refused. The configuration that was read before still runs.
    pub(crate) error: Option<String>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8dee4;vertical-align:top}\
td.n,th.n{text-align:right}.bad{color:#b42318;font-weight:600}.ok{color:#1a7f37}code{font-size:.9em}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}.bad{color:#ff7b72}.ok{color:#3fb950}}";

/// The page.
pub(crate) fn page(routes: &Routes, reload: &Reload, metrics: &str) -> Markup {
    let figures = figures::parse(metrics);
    let sum = |name: &str, label: &str, value: &str| -> u64 { of(&figures, name, label, value).map(|figure| figure.value).sum() };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta http-equiv="refresh" content="5";
                title { "gateway" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Gateway" }
                p id="configuration" {
                    @match &reload.error {
                        None => span.ok { "Configuration read at " (at(reload.at)) },
                        Some(error) => span.bad { "Not read at " (at(reload.at)) ", what was read before still runs: " (error) },
                    }
                }
                h2 { "Tenants" }
                table id="tenants" {
                    tr { th { "Tenant" } th { "API server" } th.n { "Calls" } th.n { "Denied" } th.n { "Limits exceeded" } }
                    @for (name, tenant) in routes.tenants() {
                        tr {
                            td { (name) }
                            td { code { (tenant.server()) } }
                            td.n { (sum("incluster_calls_total", "tenant", name)) }
                            td.n { (sum("incluster_denied_total", "tenant", name)) }
                            td.n { (sum("incluster_limits_exceeded_total", "tenant", name)) }
                        }
                    }
                }
                h2 { "Routes" }
                table id="routes" {
                    tr { th { "Route" } th { "Tenant" } th { "Pods" } th { "Extension" } th.n { "Ready" } th { "Requests" } }
                    @for route in routes.routes() { (route_row(route, &figures)) }
                }
                h2 { "Pods" }
                table id="pods" {
                    tr { th { "Route" } th { "Pod" } th { "Address" } th { "Node" } }
                    @for route in routes.routes() {
                        @for pod in route.pods.latest().iter().flat_map(|latest| &latest.pods) {
                            tr {
                                td { (route.config) }
                                td { (pod.name) }
                                td { code { (pod.ip) ":" (route.config.port) } }
                                td { (pod.node_name.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
                h2 { "Denials" }
                table id="denials" {
                    tr { th { "Tenant" } th { "Reason" } th.n { "Requests" } }
                    @for figure in figures.iter().filter(|figure| figure.name == "incluster_denied_total") {
                        tr {
                            td { (label(figure, "tenant")) }
                            td { (label(figure, "reason")) }
                            td.n { (figure.value) }
                        }
                    }
                }
                p { a href="/metrics" { "Metrics" } " in Prometheus's format. Version " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

fn route_row(route: &Route, figures: &[Figure]) -> Markup {
    let config = &route.config;
    let name = config.to_string();
    html! {
        tr {
            td { (name) }
            td { (config.tenant) }
            td { (config.namespace) @if let Some(selector) = &config.label_selector { " " code { (selector) } } }
            td { @match &config.extension { Some(path) => code { (path.display()) }, None => "one after the other" } }
            td.n { @match route.pods.latest() { Some(latest) => (latest.pods.len()), None => "not known yet" } }
            td {
                @for figure in of(figures, "gateway_requests_total", "route", &name) {
                    @let outcome = label(figure, "outcome");
                    span class=(if matches!(outcome, "served" | "picked") { "ok" } else { "bad" }) { (outcome) " " (figure.value) " " }
                }
                @if let Some(problem) = route.pods.problem() { div.bad { (problem) } }
                @if let Some(trouble) = route.trouble() { div.bad { (trouble) } }
            }
        }
    }
}

fn of<'a>(figures: &'a [Figure], name: &str, label: &str, value: &str) -> impl Iterator<Item = &'a Figure> {
    let is_it = move |figure: &&Figure| figure.name == name && figure.labels.get(label).is_some_and(|found| found == value);
    figures.iter().filter(is_it).collect::<Vec<_>>().into_iter()
}

fn label<'a>(figure: &'a Figure, name: &str) -> &'a str {
    figure.labels.get(name).map_or("", String::as_str)
}

fn at(time: SystemTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(time)
}
