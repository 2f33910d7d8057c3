//! Interprets answers by their status line and headers, and reads failures.

use crate::decode::transcode::from_json;
use crate::decode::{Encoding, decode, schema};
use crate::retry;
use crate::types::{Error, Expired, Status, StatusDetails, TransportError};
use incluster_core::text::one_line;
use std::time::SystemTime;

/// An answer without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status code.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The header `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The header `Location`.
    pub location: Option<String>,
    /// The header `Date`: the server's clock.
    pub date: Option<String>,
    /// The headers `Warning`, if somebody asked for them.
    pub warnings: Vec<String>,
}

/// How much of a failure's body is read: 64 KiB. A `Status` is far smaller.
pub const MAX_FAILURE_BYTES: usize = 64 << 10;

/// How much of a body that is not a `Status` is quoted: 512 bytes.
const MAX_QUOTED_BYTES: usize = 512;

/// Returns the encoding of the body that follows, if it is the answer that was asked for; `None` for a failure, whose body is still to be
/// read for [`failure`].
pub fn success(head: &Head) -> Result<Option<Encoding>, Error> {
    match head.status {
        200 => {}
        300..=399 => {
            let to = head.location.as_deref().unwrap_or("nowhere");
            return Err(Error::Transport(TransportError::Redirected(format!("{} to {to:?}", head.status))));
        }
        400..=599 => return Ok(None),
        other => return Err(Error::MalformedResponse(format!("HTTP status {other} does not answer a GET"))),
    }
    if let Some(coding) = head.content_encoding.as_deref().filter(|c| !c.eq_ignore_ascii_case("identity")) {
        return Err(Error::MalformedResponse(format!("content-encoding {coding:?} was not asked for")));
    }
    match encoding(head) {
        Some(encoding) => Ok(Some(encoding)),
        None => {
            let given = head.content_type.as_deref().unwrap_or_default();
            Err(Error::MalformedResponse(format!("content-type {given:?} is neither protobuf nor JSON")))
        }
    }
}

fn encoding(head: &Head) -> Option<Encoding> {
    let essence = head.content_type.as_deref()?.split(';').next()?.trim_ascii();
    [("application/json", Encoding::Json), ("application/vnd.kubernetes.protobuf", Encoding::Protobuf)]
        .into_iter()
        .find_map(|(name, encoding)| essence.eq_ignore_ascii_case(name).then_some(encoding))
}

/// Makes an error from a failure's head and the beginning of its body: a `Status` in either encoding, or whatever a proxy sent.
pub fn failure(head: &Head, body: &[u8], now: SystemTime) -> Error {
    let decoded = match encoding(head) {
        Some(Encoding::Protobuf) => protobuf_status(body),
        Some(Encoding::Json) => from_json(body).ok(),
        None => None,
    };
    let mut error = match decoded.filter(|s: &schema::Status| s.status.is_some() || s.message.is_some()) {
        Some(status) => of_status(status, head.status),
        None => of_status(schema::Status { message: Some(quote(body)), ..Default::default() }, head.status),
    };
    if let Error::Api(status) = &mut error {
        status.retry_after_seconds = retry_after(head, now).or(status.retry_after_seconds);
    }
    error
}

/// The number of seconds that the header `Retry-After` means (RFC 9110, section 10.2.3). A date is compared with the server's own clock if
/// the server sends it, because ours may differ.
fn retry_after(head: &Head, now: SystemTime) -> Option<u32> {
    let value = head.retry_after.as_deref()?.trim_ascii();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = head.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    let wait = date.duration_since(now).unwrap_or_default();
    u32::try_from(retry::whole_seconds(wait)).ok()
}

fn protobuf_status(body: &[u8]) -> Option<schema::Status> {
    let unknown = schema::Unknown::decode(body.strip_prefix(schema::MAGIC)?).ok()?;
    decode(unknown.raw).ok()
}

/// The failure that a watch's event reports, after the answer began well.
pub(crate) fn event_failure(status: schema::Status) -> Error {
    let code = status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    of_status(status, code)
}

/// Whether an error says that the server has no state as new as the requested one: it lags behind, or was restored from an older backup.
/// (Servers up to 1.18 say so only in the message.)
pub(crate) fn too_large_version(error: &Error) -> Option<Expired> {
    let Error::Api(status) = error else { return None };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let is_too_large = causes.into_iter().any(|cause| cause.reason.as_deref() == Some("ResourceVersionTooLarge"))
        || status.message.contains("Too large resource version");
    (status.code == 504 && is_too_large).then(|| Expired { message: status.message.clone(), continue_token: None })
}

/// Makes an error from a `Status`. The HTTP status code takes precedence, because it is what a proxy sees, too.
fn of_status(status: schema::Status, code: u16) -> Error {
    let schema::Details { details, retry_after_seconds } = status.details;
    if code == 410 {
        let message = status.message.unwrap_or_default();
        return Error::Expired(Expired { message, continue_token: status.metadata.continue_token });
    }
    Error::Api(Status {
        code,
        reason: status.reason,
        message: status.message.unwrap_or_default(),
        details: Some(details).filter(|details| *details != StatusDetails::default()),
        retry_after_seconds: retry_after_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
    })
}

/// Quotes the beginning of a body that is not a `Status`, in one line of printable text.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_QUOTED_BYTES)]);
    one_line(&text).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::fixtures::Exchange;
    use std::time::Duration;

    /// The status of a failure that is not `expired`.
    fn status(head: &Head, body: &[u8], now: SystemTime) -> Status {
        match failure(head, body, now) {
            Error::Api(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn recorded(name: &str) -> Status {
        let exchange = Exchange::read(name);
        assert_eq!(success(&exchange.head), Ok(None));
        status(&exchange.head, &exchange.body, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn status_code_410_is_expired_whatever_the_body_says() {
        let head = |content_type: &str| Head { status: 410, content_type: Some(content_type.into()), ..Head::default() };
        let body = br#"{"status":"Failure","message":"too old","metadata":{"continue":"abc"},"code":410}"#;
        let expired = |message: &str, token: Option<&str>| {
            Error::Expired(Expired { message: message.into(), continue_token: token.map(Into::into) })
        };
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(failure(&head("application/json"), body, now), expired("too old", Some("abc")));
        assert_eq!(failure(&head("text/plain"), b"gone", now), expired("gone", None));
    }

    /// Current servers say so by a cause, and servers up to 1.18 only by the message.
    #[test]
    fn a_version_that_is_too_large_is_recognized_by_its_cause_or_its_message() {
        let says = |code: u16, message: &str, reason: &str| {
            let body = format!(
                r#"{{"kind":"Status","code":{code},"message":"{message}","details":{{"causes":[{{"reason":"{reason}"}}]}}}}"#
            );
            let head = Head { status: code, content_type: Some("application/json".into()), ..Head::default() };
            too_large_version(&failure(&head, body.as_bytes(), SystemTime::UNIX_EPOCH)).is_some()
        };
        assert!(says(504, "try later", "ResourceVersionTooLarge") && says(504, "Too large resource version: 2, current: 1", "x"));
        assert!(
            !says(504, "try later", "x") && !says(500, "Too large resource version: 2, current: 1", "ResourceVersionTooLarge")
        );
    }

    fn plain(code: u16, content_type: &str, body: &str) -> Status {
        status(
            &Head { status: code, content_type: Some(content_type.into()), ..Head::default() },
            body.as_bytes(),
            SystemTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn both_encodings_say_the_same() {
        let json = recorded("list-forbidden");
        assert_eq!((json.code, json.reason.as_deref()), (403, Some("Forbidden")));
        assert!(json.message.starts_with("pods is forbidden: User \"system:serviceaccount:shop:lister\" cannot list"));
        assert_eq!(json.details.as_ref().unwrap().kind.as_deref(), Some("pods"));
        assert_eq!(json, recorded("list-forbidden-protobuf"));
    }

    #[test]
    fn causes_are_kept() {
        let gone = recorded("list-rv-exact-0");
        let cause = &gone.details.unwrap().causes[0];
        assert_eq!((gone.code, gone.reason.as_deref()), (422, Some("Invalid")));
        assert_eq!(cause.reason.as_deref(), Some("FieldValueForbidden"));
        assert_eq!(cause.field.as_deref(), Some("resourceVersionMatch"));
    }

    #[test]
    fn seconds_to_wait_come_from_header_or_body() {
        let mut head = Head { status: 504, content_type: Some("application/json".into()), ..Head::default() };
        let body = br#"{"status":"Failure","details":{"retryAfterSeconds":3}}"#;
        let seconds = |head: &Head, body: &[u8]| status(head, body, SystemTime::UNIX_EPOCH).retry_after_seconds;
        assert_eq!(seconds(&head, body), Some(3));
        head.retry_after = Some("7".into());
        assert_eq!(seconds(&head, body), Some(7));
        for nonsense in ["soon", "-7", "", "7.5", "99999999999", "Mon, 23 Nov 2026"] {
            head.retry_after = Some(nonsense.into());
            assert_eq!(seconds(&head, body), Some(3), "{nonsense}");
        }
        head.retry_after = None;
        assert_eq!(seconds(&head, br#"{"status":"Failure","details":{"retryAfterSeconds":-3}}"#), None);
    }

    #[test]
    fn a_date_to_wait_for_is_compared_with_the_servers_own_clock() {
        let wait = |retry_after: &str, date: Option<&str>, now: u64| {
            let (retry_after, date) = (Some(retry_after.into()), date.map(Into::into));
            let head = Head { status: 503, retry_after, date, ..Head::default() };
            status(&head, b"", SystemTime::UNIX_EPOCH + Duration::from_secs(now)).retry_after_seconds
        };
        let until = "Mon, 23 Nov 2026 19:04:12 GMT";
        let until_seconds = 1_795_460_652;
        assert_eq!(wait(until, Some("Mon, 23 Nov 2026 19:04:05 GMT"), 0), Some(7));
        assert_eq!(wait(until, None, until_seconds - 9), Some(9));
        assert_eq!(wait(until, Some("yesterday"), until_seconds - 9), Some(9));
        assert_eq!(wait(until, None, until_seconds + 9), Some(0));
        assert_eq!(wait("Monday, 23-Nov-26 19:04:12 GMT", None, until_seconds - 1), Some(1));
    }

    #[test]
    fn what_is_not_a_status_is_quoted() {
        let text = plain(429, "text/plain", "Too many requests,\n\tplease try again later.\x1b[31m\n");
        assert_eq!(text.message, "Too many requests, please try again later. [31m");
        assert_eq!((text.code, text.reason), (429, None));
        assert_eq!(plain(403, "text/html", "<html>Forbidden</html>").message, "<html>Forbidden</html>");
        assert_eq!(plain(502, "application/json", "<html>").message, "<html>");
        assert_eq!(plain(502, "application/json", "{}").message, "{}");
        assert_eq!(plain(503, "application/vnd.kubernetes.protobuf", "k8s?").message, "k8s?");
        assert_eq!(plain(500, "text/plain", "").message, "");
        assert!(plain(500, "text/plain", &"ä".repeat(9999)).message.len() < 2 * MAX_QUOTED_BYTES);
    }

    #[test]
    fn only_what_was_asked_for_is_accepted() {
        let head = |status, content_type: &str| Head {
            status,
            content_type: (!content_type.is_empty()).then(|| content_type.into()),
            ..Head::default()
        };
        assert_eq!(success(&head(200, "application/json")), Ok(Some(Encoding::Json)));
        assert_eq!(success(&head(200, "Application/JSON; charset=utf-8")), Ok(Some(Encoding::Json)));
        assert_eq!(success(&head(200, "application/vnd.kubernetes.protobuf")), Ok(Some(Encoding::Protobuf)));
        for bad in [head(200, "text/html"), head(200, ""), head(200, "application/jsonp"), head(204, ""), head(101, "")] {
            assert!(matches!(success(&bad), Err(Error::MalformedResponse(_))), "{bad:?}");
        }
        let gzip = Head { content_encoding: Some("gzip".into()), ..head(200, "application/json") };
        assert!(matches!(success(&gzip), Err(Error::MalformedResponse(_))));
        let moved = Head { location: Some("https://evil/".into()), ..head(302, "") };
        assert!(matches!(success(&moved), Err(Error::Transport(TransportError::Redirected(to))) if to.contains("evil")));
    }
}
