//! The client: what the parts do together.

use crate::config::{self, HOST_VARIABLE, PORT_VARIABLE, Server};
use crate::decode::{Encoding, PodListDecoder};
use crate::redact::redact;
use crate::request::{self, Request};
use crate::response::{self, MAX_FAILURE_BYTES};
use crate::token::Token;
use crate::transport::{self, Body};
use crate::types::{ConfigError, Error, ListOptions, PodList};
use crate::{SERVICE_ACCOUNT_DIR, files};

/// No answer to `get_json` is larger: 128 MiB, half of what the host's sandbox has by default.
const MAX_JSON_BYTES: usize = 128 << 20;

/// A client for the API server of the pod that it runs in. Its `Debug` shows no credentials.
#[derive(Clone, Debug)]
pub struct Client {
    server: Server,
    namespace: Option<String>,
    token: Token,
}

/// A successful answer: the body is still to be read.
pub struct Answer {
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The body.
    pub body: Body,
}

impl Client {
    /// Finds everything where Kubernetes puts it, in the order in which a person would look for it.
    pub fn load_incluster_config() -> Result<Client, ConfigError> {
        let variable = |name: &str| std::env::var(name).ok();
        let server = Server::from_environment(variable(HOST_VARIABLE).as_deref(), variable(PORT_VARIABLE).as_deref())?;
        let token_path = path("token");
        let token = Token::parse(&token_path, &files::read(&token_path)?)?;
        let ca_path = path("ca.crt");
        config::check_ca(&ca_path, &files::read(&ca_path)?)?;
        let namespace_path = path("namespace");
        let namespace = match files::read_optional(&namespace_path)? {
            Some(content) => Some(config::namespace(&namespace_path, &content)?),
            None => None,
        };
        Ok(Client { server, namespace, token })
    }

    /// The API server's address.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The pod's own namespace, when the service account's volume has it.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The service account's token, which cannot be shown.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The pods of a namespace, in one request.
    pub fn list_namespaced_pods(&self, namespace: &str, options: &ListOptions) -> Result<PodList, Error> {
        let mut answer = self.get(&request::list_namespaced_pods(namespace, options, request::PROTOBUF_OR_JSON)?)?;
        let mut decoder = PodListDecoder::new(answer.encoding);
        let decoded = loop {
            match answer.body.chunk() {
                Ok(Some(chunk)) => match decoder.push(&chunk) {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                Ok(None) => break decoder.finish(),
                Err(error) => break Err(error),
            }
        };
        decoded.map_err(|error| self.redact(error))
    }

    /// What the API server has at a path, as JSON.
    pub fn get_json(&self, path_and_query: &str) -> Result<Vec<u8>, Error> {
        self.get_whole(&request::get_json(path_and_query)?)
    }

    /// The whole JSON body of the answer to a request.
    pub fn get_whole(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let answer = self.get(request)?;
        if answer.encoding != Encoding::Json {
            return Err(Error::MalformedResponse("the answer is protobuf, where JSON was asked for".into()));
        }
        match answer.body.up_to(MAX_JSON_BYTES).map_err(|error| self.redact(error))? {
            (json, true) => Ok(json),
            (_, false) => {
                Err(Error::LimitExceeded(format!("the answer has more than {MAX_JSON_BYTES} bytes; ask for less with limit")))
            }
        }
    }

    /// Sends a request, and reads the answer if it is a failure.
    pub fn get(&self, request: &Request) -> Result<Answer, Error> {
        self.send(request).map_err(|error| self.redact(error))
    }

    /// The error without the token, which a server may have sent back.
    pub fn redact(&self, error: Error) -> Error {
        redact(&self.token, error)
    }

    fn send(&self, request: &Request) -> Result<Answer, Error> {
        let (head, body) = transport::get(&self.server, &self.token, request)?;
        match response::success(&head)? {
            Some(encoding) => Ok(Answer { encoding, body }),
            None => {
                let (body, _) = body.up_to(MAX_FAILURE_BYTES)?;
                Err(Error::Api(response::failure(&head, &body)))
            }
        }
    }
}

fn path(file: &str) -> String {
    format!("{SERVICE_ACCOUNT_DIR}/{file}")
}
