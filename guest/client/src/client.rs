//! The client: what the parts do together, and how often.

use crate::claims::Claims;
use crate::config::{self, HOST_VARIABLE, PORT_VARIABLE, Server};
use crate::credentials::Credentials;
use crate::decode::{Encoding, PodListDecoder};
use crate::redact::redact;
use crate::request::{self, Request};
use crate::response::{self, MAX_FAILURE_BYTES};
use crate::token::Token;
use crate::transport::{Body, Times, Transport};
use crate::types::{ConfigError, Error, ListOptions, PodList, RetryPolicy};
use crate::{SERVICE_ACCOUNT_DIR, files, retry};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// No answer to `get_json` is larger: 128 MiB, half of what the host's sandbox has by default.
const MAX_JSON_BYTES: usize = 128 << 20;

/// A client for the API server of the pod that it runs in. Clones are the same client.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    transport: Transport,
    namespace: Option<String>,
    credentials: Credentials,
    retry_policy: Cell<RetryPolicy>,
}

/// A successful answer: the body is still to be read.
pub struct Answer {
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The body.
    pub body: Body,
    token: Arc<Token>,
}

impl Answer {
    /// The error without the token, which a server may have sent back.
    pub fn redact(&self, error: Error) -> Error {
        redact(&self.token, error)
    }
}

impl Client {
    /// Finds everything where Kubernetes puts it, in the order in which a person would look for it.
    pub fn load_incluster_config() -> Result<Client, ConfigError> {
        let variable = |name: &str| std::env::var(name).ok();
        let server = Server::from_environment(variable(HOST_VARIABLE).as_deref(), variable(PORT_VARIABLE).as_deref())?;
        let credentials = Credentials::new(format!("{SERVICE_ACCOUNT_DIR}/token"));
        credentials.token()?;
        let namespace_path = format!("{SERVICE_ACCOUNT_DIR}/namespace");
        let namespace = match files::read_optional(&namespace_path)? {
            Some(content) => Some(config::namespace(&namespace_path, &content)?),
            None => None,
        };
        let (transport, retry_policy) = (Transport::new(server), Cell::new(RetryPolicy::DEFAULT));
        Ok(Client(Rc::new(Inner { transport, namespace, credentials, retry_policy })))
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        self.0.transport.server()
    }

    /// The pod's own namespace, when the service account's volume has it.
    pub fn namespace(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }

    /// What the service account's token says of itself, as it was read last, if it is a JWT.
    pub fn claims(&self) -> Option<Claims> {
        self.0.credentials.last().and_then(|token| Claims::of(&token))
    }

    /// How often, and for how long, calls are tried.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.0.retry_policy.get()
    }

    /// Changes that for the calls to come.
    pub fn set_retry_policy(&self, policy: RetryPolicy) {
        self.0.retry_policy.set(policy);
    }

    /// The pods of a namespace, in one answer.
    pub fn list_namespaced_pods(&self, namespace: &str, options: &ListOptions) -> Result<PodList, Error> {
        let request = request::list_namespaced_pods(namespace, options, request::PROTOBUF_OR_JSON)?;
        self.retrying(|tries| {
            let mut answer = tries.send(&request, Some(tries.deadline()))?;
            let mut decoder = PodListDecoder::new(answer.encoding);
            while let Some(chunk) = answer.body.chunk()? {
                decoder.push(&chunk)?;
            }
            decoder.finish()
        })
    }

    /// What the API server has at a path, as JSON.
    pub fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Error> {
        self.get_whole(&request::get_json(path_and_query)?)
    }

    /// The whole JSON body of the answer to a request.
    pub fn get_whole(&self, request: &Request) -> Result<Vec<u8>, Error> {
        self.retrying(|tries| {
            let answer = tries.send(request, Some(tries.deadline()))?;
            only_json(&answer)?;
            match answer.body.up_to(MAX_JSON_BYTES)? {
                (json, true) => Ok(json),
                (_, false) => {
                    Err(Error::LimitExceeded(format!("the answer has more than {MAX_JSON_BYTES} bytes; ask for less with limit")))
                }
            }
        })
    }

    /// The answer to a request for a watch, which may go on until `end`.
    pub fn watch(&self, request: &Request, end: Option<Instant>) -> Result<Answer, Error> {
        self.retrying(|tries| tries.send(request, end))
    }

    /// The error without the token, which a server may have sent back.
    pub fn redact(&self, error: Error) -> Error {
        match self.0.credentials.last() {
            Some(token) => redact(&token, error),
            None => error,
        }
    }

    /// One call: as many attempts as the policy allows.
    fn retrying<T>(&self, attempt: impl Fn(&Tries<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut tries = Tries::begin(self)?;
        loop {
            match attempt(&tries) {
                Ok(value) => return Ok(value),
                Err(error) => tries.again(error)?,
            }
        }
    }
}

/// The attempts of one call.
struct Tries<'a> {
    client: &'a Client,
    policy: RetryPolicy,
    begun: Instant,
    token: Arc<Token>,
    attempts: u32,
    reloaded: bool,
}

impl<'a> Tries<'a> {
    fn begin(client: &'a Client) -> Result<Tries<'a>, Error> {
        let token = client.0.credentials.token().map_err(Error::Config)?;
        let policy = client.retry_policy();
        Ok(Tries { client, policy, begun: Instant::now(), token, attempts: 1, reloaded: false })
    }

    fn time_allowed(&self) -> Duration {
        Duration::from_millis(self.policy.deadline_milliseconds.max(1).into())
    }

    fn deadline(&self) -> Instant {
        self.begun + self.time_allowed()
    }

    /// Sends the request, and reads the answer if it is a failure.
    fn send(&self, request: &Request, end: Option<Instant>) -> Result<Answer, Error> {
        let times = Times { head: self.deadline(), body: end };
        let (head, body) = self.client.0.transport.get(&self.token, request, &times)?;
        match response::success(&head)? {
            Some(encoding) => Ok(Answer { encoding, body, token: self.token.clone() }),
            None => {
                let (body, _) = body.up_to(MAX_FAILURE_BYTES)?;
                Err(Error::Api(response::failure(&head, &body, SystemTime::now())))
            }
        }
    }

    /// Waits for the next attempt, unless this error was the last.
    fn again(&mut self, error: Error) -> Result<(), Error> {
        let error = redact(&self.token, error);
        let credentials = &self.client.0.credentials;
        if matches!(&error, Error::Api(status) if status.code == 401) && !self.reloaded {
            self.reloaded = true;
            self.token = credentials.reload().map_err(Error::Config)?;
            return Ok(());
        }
        let elapsed = self.begun.elapsed();
        let wait = match retry::worth_it(&error) {
            Some(asked) if self.attempts < self.policy.attempts => {
                asked + retry::backoff(self.attempts, wasip2::random::random::get_random_u64())
            }
            _ => return Err(retry::gave_up(error, self.attempts, elapsed)),
        };
        if elapsed + wait >= self.time_allowed() {
            return Err(retry::gave_up(error, self.attempts, elapsed));
        }
        std::thread::sleep(wait);
        self.attempts += 1;
        // Meanwhile the token may have been renewed once more.
        self.reloaded = false;
        self.token = credentials.token().map_err(Error::Config)?;
        Ok(())
    }
}

fn only_json(answer: &Answer) -> Result<(), Error> {
    match answer.encoding {
        Encoding::Json => Ok(()),
        Encoding::Protobuf => Err(Error::MalformedResponse("the answer is protobuf, where JSON was asked for".into())),
    }
}
