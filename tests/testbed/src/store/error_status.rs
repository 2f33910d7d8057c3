//! Failures in the form of Kubernetes's `Status`.

use super::encoding::go_json;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;

/// A `Status` that says that a request failed.
#[derive(Debug)]
pub(super) struct ErrorStatus {
    pub(super) code: u16,
    reason: &'static str,
    message: String,
    /// A token to continue an expired list with.
    token: Option<String>,
    /// A forbidden query parameter, and why it is forbidden.
    forbidden: Option<(&'static str, String)>,
    /// How long the client must wait before it retries.
    retry_after_seconds: Option<u32>,
}

impl ErrorStatus {
    pub(super) fn unauthorized() -> ErrorStatus {
        ErrorStatus::new(401, "Unauthorized", "Unauthorized".into())
    }

    pub(super) fn bad_request(message: impl Into<String>) -> ErrorStatus {
        ErrorStatus::new(400, "BadRequest", message.into())
    }

    pub(super) fn expired(message: impl Into<String>) -> ErrorStatus {
        ErrorStatus::new(410, "Expired", message.into())
    }

    /// A 410 with a token to continue with.
    pub(super) fn expired_at(message: impl Into<String>, token: String) -> ErrorStatus {
        ErrorStatus { token: Some(token), ..ErrorStatus::expired(message) }
    }

    /// A 500 like that for an object that cannot be decrypted.
    pub(super) fn internal(retry_after_seconds: Option<u32>) -> ErrorStatus {
        let message = "Internal error occurred: unable to transform key \"/registry/pods/shop/web\"";
        ErrorStatus { retry_after_seconds, ..ErrorStatus::new(500, "InternalError", message.into()) }
    }

    pub(super) fn forbidden_option(option: &'static str, why: &str) -> ErrorStatus {
        let why = format!("Forbidden: {why}");
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {option}: {why}");
        ErrorStatus { forbidden: Some((option, why)), ..ErrorStatus::new(422, "Invalid", message) }
    }

    fn new(code: u16, reason: &'static str, message: String) -> ErrorStatus {
        ErrorStatus { code, reason, message, token: None, forbidden: None, retry_after_seconds: None }
    }

    /// Encodes the members in the server's order.
    pub(super) fn json(&self) -> String {
        let token = self.token.as_ref().map_or(String::new(), |token| format!(r#""continue":{}"#, go_json(&**token)));
        let details = match (&self.forbidden, self.retry_after_seconds) {
            (Some((option, why)), _) => {
                let cause = format!(r#"{{"reason":"FieldValueForbidden","message":{},"field":"{option}"}}"#, go_json(&**why));
                format!(r#","details":{{"group":"meta.k8s.io","kind":"ListOptions","causes":[{cause}]}}"#)
            }
            (None, Some(seconds)) => format!(r#","details":{{"retryAfterSeconds":{seconds}}}"#),
            (None, None) => String::new(),
        };
        format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{{token}}},"status":"Failure","message":{},"reason":"{}"{details},"code":{}}}"#,
            go_json(&*self.message),
            self.reason,
            self.code
        )
    }

    pub(super) fn protobuf(&self) -> meta::Status {
        let text = |text: &str| Some(text.to_string());
        let forbidden = self.forbidden.as_ref().map(|(option, why)| meta::StatusDetails {
            name: text(""),
            group: text("meta.k8s.io"),
            kind: text("ListOptions"),
            uid: text(""),
            causes: vec![meta::StatusCause { reason: text("FieldValueForbidden"), message: text(why), field: text(option) }],
            retry_after_seconds: Some(0),
        });
        let wait = self.retry_after_seconds.and_then(|seconds| i32::try_from(seconds).ok());
        let details = forbidden.or_else(|| {
            wait.map(|seconds| meta::StatusDetails { retry_after_seconds: Some(seconds), ..meta::StatusDetails::default() })
        });
        meta::Status {
            metadata: Some(meta::ListMeta {
                self_link: text(""),
                resource_version: text(""),
                r#continue: text(self.token.as_deref().unwrap_or_default()),
                remaining_item_count: None,
            }),
            status: text("Failure"),
            message: text(&self.message),
            reason: text(self.reason),
            details,
            code: Some(self.code.into()),
        }
    }
}
