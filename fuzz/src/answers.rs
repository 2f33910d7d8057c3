//! Fuzz targets for answers that report a failure, and for their headers.

use crate::texts;
use incluster_client::response::{Head, failure, success};
use incluster_client::retry;
use incluster_client::types::Error;
use incluster_core::warning;
use std::time::{Duration, SystemTime};

/// Decodes the input as a failure's body, in each encoding and as plain text.
pub fn status(data: &[u8]) {
    for content_type in ["application/json", "application/vnd.kubernetes.protobuf", "text/html; charset=utf-8"] {
        let head = Head { status: 503, content_type: Some(content_type.into()), ..Head::default() };
        let Error::Api(status) = failure(&head, data, SystemTime::UNIX_EPOCH) else { panic!("a 503 is not an API status") };
        assert_eq!(status.code, 503, "the status code is not that of the HTTP answer");
        assert_ne!(status.retry_after_seconds, Some(0), "a wait of 0 s is reported, which is no wait");
        if content_type.starts_with("text/") {
            assert!(!status.message.contains(char::is_control) && status.message.len() <= 3 * 512, "{:?}", status.message);
        }
    }
}

/// Reads a failure's headers. The input has, in this order: `Retry-After` (also read as `Warning`), `Date`, the time of our own clock, the status code,
/// `Content-Type`, `Content-Encoding`, `Location`.
pub fn retry_after(data: &[u8]) {
    let [retry_after, date, now, code, content_type, content_encoding, location] = texts(data);
    let now = Duration::from_secs(now.parse().unwrap_or_default());
    let now = SystemTime::UNIX_EPOCH.checked_add(now).unwrap_or(SystemTime::UNIX_EPOCH);
    let head = Head {
        status: code.parse().unwrap_or(503),
        content_type: Some(content_type),
        content_encoding: Some(content_encoding),
        retry_after: Some(retry_after.clone()),
        location: Some(location),
        date: Some(date),
        warnings: Vec::new(),
    };
    for text in warning::texts(&retry_after) {
        assert!(!text.is_empty() && text.len() <= retry_after.len());
    }
    if let Ok(Some(_)) = success(&head) {
        assert_eq!(head.status, 200);
    }
    let status = match failure(&head, b"", now) {
        Error::Api(status) => status,
        other => return assert!(head.status == 410 && matches!(other, Error::Expired(_)), "{other:?}"),
    };
    if !retry_after.is_empty() && retry_after.bytes().all(|b| b.is_ascii_digit()) {
        assert_eq!(status.retry_after_seconds, retry_after.parse().ok());
    }
    let seconds = status.retry_after_seconds.unwrap_or_default();
    let wait = retry::worth_it(&Error::Api(status.clone()));
    assert!(wait.is_none_or(|wait| wait == Duration::from_secs(seconds.into())));
    let attempts = seconds.wrapping_add(head.status.into());
    assert!(retry::backoff(attempts, u64::from(seconds) << 20) <= Duration::from_secs(10));
    assert_eq!(retry::gave_up(Error::Api(status), attempts, Duration::MAX).elapsed, u32::MAX);
}
