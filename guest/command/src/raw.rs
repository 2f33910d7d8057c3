//! `incluster get --raw`: prints the answer to a GET as it is.

use crate::command_error::CommandError;
use crate::observed::{drive, load};
use incluster_client::machine::{Do, Event, Machine};
use incluster_client::request::Request;
use incluster_client::system::now;
use incluster_client::transport::Transport;
use incluster_client::types::{Error, Failure};
use incluster_client::{Call, Driven, Json};
use incluster_core::command_line::Raw;
use incluster_core::credentials::Now;
use incluster_core::request_info::{RequestInfo, Target};
use incluster_core::secrets::Secrets;
use std::io::Write;

/// What kubectl accepts: JSON where the server has it, and anything else where it does not.
const ANYTHING: &str = "application/json, */*";

pub fn run<T: Transport>(raw: &Raw, out: &mut dyn Write) -> Result<(), CommandError> {
    let client = load::<T>(&raw.retries)?;
    let path = raw.path.as_str();
    let request = Request { path_and_query: path.into(), accept: ANYTHING, is_watch: false };
    // The whole body is read before any of it is printed: where the connection breaks, the request is repeated.
    let call = OfAnyType(Call::new(request.clone(), client.settings(), now()));
    let failed = |failure| CommandError::of_request(&client, format!("get {path}"), &request, &role(path), failure);
    let body = drive(&client, &mut Driven::new(client.clone(), call)).map_err(failed)?;
    withhold_token(&client.settings().secrets, &body).map_err(|error| failed(error.into()))?;
    Ok(out.write_all(&body)?)
}

/// Fails if the answer contains the token that was sent: a server may print what it was asked.
fn withhold_token(secrets: &Secrets, body: &[u8]) -> Result<(), Error> {
    match secrets.is_in(body) {
        true => Err(Error::MalformedResponse("it has the service account's token in it, and was withheld".into())),
        false => Ok(()),
    }
}

/// Names the role that permits this request.
fn role(path: &str) -> String {
    match RequestInfo::parse(path) {
        Ok(info) => {
            let is_namespaced = matches!(info.target, Target::Resource { namespace: Some(_), .. });
            format!("{} that allows {info}", if is_namespaced { "Role" } else { "ClusterRole" })
        }
        Err(_) => format!("role that allows `get {path}`"),
    }
}

/// A call whose answer may be of any content type: the log of a pod, for example, is plain text.
struct OfAnyType(Call<Json>);

impl<B> Machine<B> for OfAnyType {
    type Output = Result<Vec<u8>, Failure>;

    fn step(&mut self, now: Now, random: u64, mut event: Event<'_, B>) -> Do<B, Self::Output> {
        // The type of a failure's body stays, because that body is read.
        if let Event::Head(head, _) = &mut event
            && matches!(head.status, 200 | 204)
        {
            // 204 is an empty body.
            head.status = 200;
            head.content_type = Some("application/json".into());
        }
        self.0.step(now, random, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use incluster_client::Settings;
    use incluster_client::machine::Todo;
    use incluster_client::response::Head;
    use incluster_client::types::RetryPolicy;
    use incluster_core::Token;
    use incluster_core::limits::RequestLimits;
    use std::sync::Arc;
    use std::time::{Instant, SystemTime};

    /// Returns what the call hands out when the server answers with this status, content type and body.
    fn answered(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let now = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let request = Request { path_and_query: "/readyz".into(), accept: ANYTHING, is_watch: false };
        let settings = Settings::new(RetryPolicy::NEVER, RequestLimits::DEFAULT);
        let mut call = OfAnyType(Call::new(request, &settings, now));
        let token = Arc::new(Token::parse("/token", b"token").unwrap());
        let head = Head { status, content_type: content_type.map(Into::into), ..Head::default() };
        let mut read = false;
        let mut next = call.step(now, 0, Event::Go);
        loop {
            next = match next {
                Do::HandOut(output) => return output,
                Do::Next(Todo::Token { .. }) => call.step(now, 0, Event::Token(Ok(token.clone()))),
                Do::Next(Todo::Send(_)) => call.step(now, 0, Event::Head(head.clone(), ())),
                Do::Next(Todo::Read((), _)) if !std::mem::replace(&mut read, true) => call.step(now, 0, Event::Chunk((), body)),
                Do::Next(Todo::Read((), _)) => call.step(now, 0, Event::End),
                Do::Next(Todo::Wait(_)) => panic!("the call waits"),
            }
        }
    }

    #[test]
    fn a_body_of_any_type_is_printed_as_it_is() {
        for content_type in
            [None, Some("text/plain; version=0.0.4"), Some("application/json"), Some("application/vnd.kubernetes.protobuf")]
        {
            assert_eq!(answered(200, content_type, b"ok\n\xff").unwrap(), b"ok\n\xff", "{content_type:?}");
        }
    }

    #[test]
    fn a_failure_is_not() {
        let status = br#"{"kind":"Status","status":"Failure","message":"no","reason":"NotFound","code":404}"#;
        let failure = answered(404, Some("application/json"), status).unwrap_err();
        assert!(matches!(&failure.error, Error::Api(it) if it.message == "no" && it.code == 404), "{failure:?}");
        let failure = answered(500, Some("text/plain"), b"[+]ping ok\n[-]etcd failed").unwrap_err();
        assert!(matches!(&failure.error, Error::Api(it) if it.message == "[+]ping ok [-]etcd failed"), "{failure:?}");
        assert_eq!(answered(204, None, b"").unwrap(), b"");
    }

    #[test]
    fn an_answer_with_the_token_is_withheld() {
        let secrets = Secrets::default();
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbi10aGF0LWlzLWxvbmc";
        secrets.add(token.as_bytes(), SystemTime::UNIX_EPOCH);
        assert!(withhold_token(&secrets, format!("you sent Authorization: Bearer {token}").as_bytes()).is_err());
        assert!(withhold_token(&secrets, b"ok").is_ok());
    }

    #[test]
    fn a_role_is_named_as_rbac_names_it() {
        for (path, expected) in [
            ("/api/v1/namespaces/shop/pods/web-0/log", "Role that allows `get pods/log` in namespace `shop`"),
            ("/apis/apps/v1/deployments?limit=1", "ClusterRole that allows `list deployments.apps` in all namespaces"),
            ("/metrics", "ClusterRole that allows `get /metrics`"),
        ] {
            assert_eq!(role(path), expected);
        }
    }
}
