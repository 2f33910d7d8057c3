//! Tokens of other service accounts, by the TokenRequest API: the pod's own account requests them.

use super::connections::Connections;
use super::issuing::{IssuedToken, TokenSource, TokenSourceError};
use super::pool::Patience;
use super::wasi_error;
use crate::figures::TARGET;
use crate::now;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use incluster_core::credentials::Credentials;
use incluster_core::secrets::Secrets;
use incluster_core::{ConfigError, Namespace, Server, Token, text};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The largest answer that is read, in bytes: a token has a few KB.
const MOST_BYTES: usize = 1 << 20;

/// How long an answer's head may take: a little less than a token source may, so that the next request uses another connection.
const HEAD: Duration = Duration::from_secs(25);

/// The longest word of an answer's message that is logged. Tokens are longer, and names are not.
const LONGEST_WORD: usize = 253;

/// The `TokenRequestSpec` of authentication.k8s.io/v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) audiences: Vec<String>,
    pub(crate) expiration_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bound_object_ref: Option<BoundObject>,
}

/// `BoundObjectReference` of authentication.k8s.io/v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BoundObject {
    pub(crate) kind: &'static str,
    pub(crate) api_version: &'static str,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
}

/// The source of one service account's tokens.
pub(crate) struct TokenRequests {
    pub(crate) namespace: Namespace,
    pub(crate) service_account: String,
    pub(crate) spec: Spec,
    pub(crate) server: Server,
    /// The credentials of the account that asks.
    pub(crate) own: Arc<Credentials>,
    pub(crate) connections: Connections,
    /// The tokens that were sent or issued, and may be sent back.
    pub(crate) secrets: Arc<Secrets>,
    /// Reads ca.crt.
    pub(crate) ca: Box<dyn Fn() -> Result<Vec<u8>, TokenSourceError> + Send + Sync>,
}

/// The parts of an answer that are read. The answer is a TokenRequest or a Status.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    token: String,
    expiration_timestamp: String,
}

impl TokenRequests {
    async fn ask(&self) -> Result<IssuedToken, TokenSourceError> {
        let own = self.own.token(now()).map_err(|e| self.unreadable(&e))?;
        let answer = self.send(&own).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            // The token may have been renewed a moment ago.
            let renewed = self.own.reload(now()).map_err(|e| self.unreadable(&e))?;
            return self.read(self.send(&renewed).await?);
        }
        self.read(answer)
    }

    async fn send(&self, own: &Token) -> Result<(StatusCode, Bytes), TokenSourceError> {
        self.secrets.add(own.as_bytes(), now().wall);
        let (namespace, name) = (&self.namespace, &self.service_account);
        let mut authorization = header::HeaderValue::try_from(own.authorization()).map_err(|e| self.failed(false, &e))?;
        authorization.set_sensitive(true);
        let body = serde_json::json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": self.spec});
        let request = Request::post(format!("{}/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", self.server))
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))
            .map_err(|e| self.failed(false, &e))?;
        let answer =
            self.connections.request(request, Patience { until: Instant::now() + HEAD, first_byte: HEAD, own: HEAD }).await;
        let answer = answer.map_err(|e| self.failed(true, &wasi_error::text(&wasi_error::of_request(&e, &self.server))))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        Ok((status, body.map_err(|e| self.failed(true, &e))?.to_bytes()))
    }

    fn read(&self, (status, body): (StatusCode, Bytes)) -> Result<IssuedToken, TokenSourceError> {
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        if status != StatusCode::CREATED {
            let message = answer.ok().and_then(|answer| answer.message).unwrap_or_default();
            // The message is about this process's own account: it is for the log, and not for the sandbox's owner.
            // Long words are left out: one may be a token that was issued, which `secrets` does not know yet.
            let words =
                message.split_ascii_whitespace().map(|word| if word.len() > LONGEST_WORD { "(a long word)" } else { word });
            let message = self.secrets.text(&words.collect::<Vec<_>>().join(" "));
            tracing::warn!(target: TARGET, status = status.as_u16(), message, "a TokenRequest was refused");
            let is_retryable = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            return Err(self.failed(is_retryable, &format!("HTTP {}", status.as_u16())));
        }
        let status =
            answer.ok().and_then(|answer| answer.status).ok_or_else(|| self.failed(false, &"the answer has no status"))?;
        let issued: Issued = serde_json::from_value(status).map_err(|_| self.failed(false, &"the answer has no token"))?;
        let expires = humantime::parse_rfc3339(&issued.expiration_timestamp);
        let expires = expires.map_err(|_| self.failed(false, &"the answer does not say when the token expires"))?;
        let token = IssuedToken::new(&issued.token, Some(expires))?;
        self.secrets.add(token.0.token.as_bytes(), now().wall);
        Ok(token)
    }

    /// The error for an unreadable token of this process's own.
    fn unreadable(&self, error: &ConfigError) -> TokenSourceError {
        tracing::warn!(target: TARGET, %error, "this process's own token cannot be used, so no other token can be requested");
        self.failed(false, &"this process has no good token of its own")
    }

    fn failed(&self, is_retryable: bool, why: &dyn std::fmt::Display) -> TokenSourceError {
        let account = format!("{}/{}", self.namespace, text::name(&self.service_account));
        let what = self.secrets.text(&format_args!(
            "no token for service account `{account}`: {why}; check that it exists, and that this process's own account may `create` its `serviceaccounts/token`"
        ));
        if is_retryable { TokenSourceError::retryable(what) } else { TokenSourceError::permanent(what) }
    }
}

impl TokenSource for TokenRequests {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, TokenSourceError>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn ca_bundle(&self) -> Result<Vec<u8>, TokenSourceError> {
        (self.ca)()
    }

    fn namespace(&self) -> Option<String> {
        Some(self.namespace.to_string())
    }
}

/// The default life of a token: the same as kubelet requests.
pub(crate) const LIFE: Duration = Duration::from_secs(3600);
