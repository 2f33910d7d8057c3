//! The metrics that this crate reports through the crate `metrics`; `docs/telemetry.md` specifies them.

use metrics::{Gauge, Unit, describe_counter, describe_gauge, describe_histogram};

/// The target of all spans and events.
pub(crate) const TARGET: &str = "incluster";

pub(crate) const REQUESTS: &str = "incluster_requests_total";
pub(crate) const RETRIES: &str = "incluster_retries_total";
pub(crate) const DENIED: &str = "incluster_denied_total";
pub(crate) const RESPONSE_BYTES: &str = "incluster_response_bytes_total";
pub(crate) const FIRST_BYTE: &str = "incluster_first_byte_seconds";
pub(crate) const REQUEST: &str = "incluster_request_seconds";
pub(crate) const TOKEN_CHANGES: &str = "incluster_token_changes_total";
pub(crate) const TOKEN_RENEWALS: &str = "incluster_token_renewals_total";
pub(crate) const CA_RELOADS: &str = "incluster_ca_reloads_total";
pub(crate) const CALLS: &str = "incluster_calls_total";
pub(crate) const CALL: &str = "incluster_call_seconds";
pub(crate) const LIMITS_EXCEEDED: &str = "incluster_limits_exceeded_total";
pub(crate) const PLACES: &str = "incluster_places";
pub(crate) const PLACES_IN_USE: &str = "incluster_places_in_use";
pub(crate) const SANDBOXES: &str = "incluster_sandboxes";
pub(crate) const WARM: &str = "incluster_warm_sandboxes";
pub(crate) const EVICTED: &str = "incluster_warm_sandboxes_evicted_total";
pub(crate) const STREAMS: &str = "incluster_open_streams";
pub(crate) const WATCHES: &str = "incluster_open_watches";
pub(crate) const STORES: &str = "incluster_stores";
pub(crate) const STALE_STORES: &str = "incluster_stale_stores";
pub(crate) const COMPILING: &str = "incluster_compiling_children";

const COUNTERS: [(&str, Unit, &str); 10] = [
    (REQUESTS, Unit::Count, "Requests of sandboxes, by outcome"),
    (RETRIES, Unit::Count, "Requests that a call sent again"),
    (DENIED, Unit::Count, "Requests that did not leave, by reason"),
    (RESPONSE_BYTES, Unit::Bytes, "Bytes of response bodies"),
    (TOKEN_CHANGES, Unit::Count, "Tokens that replaced another one"),
    (TOKEN_RENEWALS, Unit::Count, "Tokens requested for identities that are not a folder"),
    (CA_RELOADS, Unit::Count, "Times that a ca.crt was found changed, or unusable, so that its last good content stays in use"),
    (CALLS, Unit::Count, "Calls of components, by outcome"),
    (EVICTED, Unit::Count, "Warm sandboxes that ended because a call needed their room"),
    (LIMITS_EXCEEDED, Unit::Count, "Calls and requests that exceeded a limit, by limit"),
];

const HISTOGRAMS: [(&str, Unit, &str); 3] = [
    (FIRST_BYTE, Unit::Seconds, "From a request to the head of its answer, or to its failure"),
    (REQUEST, Unit::Seconds, "From a request to the end of its answer's body"),
    (CALL, Unit::Seconds, "How long calls took, including the wait for a place"),
];

const GAUGES: [(&str, Unit, &str); 9] = [
    (PLACES, Unit::Count, "Sandboxes that the runtime has room for"),
    (PLACES_IN_USE, Unit::Count, "Places that are taken by sandboxes, or reserved for stores"),
    (SANDBOXES, Unit::Count, "Sandboxes that exist, including warm ones"),
    (WARM, Unit::Count, "Sandboxes that wait for their next call"),
    (STREAMS, Unit::Count, "Answers that are being waited for or read, including watches"),
    (WATCHES, Unit::Count, "Watches among the open streams"),
    (STORES, Unit::Count, "Collections that a watch keeps up to date"),
    (STALE_STORES, Unit::Count, "Stores that may be out of date: their watch fails, or their objects have not arrived yet"),
    (COMPILING, Unit::Count, "Processes that compile an extension"),
];

/// Gives the recorder of the crate `metrics` the unit and help text of each metric. [`RuntimeBuilder::build`](crate::RuntimeBuilder::build)
/// does this; call it if you install a recorder later.
pub fn describe_metrics() {
    for (name, unit, help) in COUNTERS {
        describe_counter!(name, unit, help);
    }
    for (name, unit, help) in HISTOGRAMS {
        describe_histogram!(name, unit, help);
    }
    for (name, unit, help) in GAUGES {
        describe_gauge!(name, unit, help);
    }
}

/// A part of a gauge's value, for as long as this exists.
pub(crate) struct Counted(Gauge, f64);

impl Counted {
    pub(crate) fn of(gauge: Gauge, many: f64) -> Counted {
        gauge.increment(many);
        Counted(gauge, many)
    }

    pub(crate) fn one(gauge: Gauge) -> Counted {
        Counted::of(gauge, 1.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(self.1);
    }
}
