//! The recorded answers of a real API server for the namespace `shop` and its seven pods.

use crate::answer::Answer;
use crate::recording::Recording;
use crate::request::Request;

/// The token that [`PodApi`] accepts: a JWT like a real one, with a made-up signature.
pub const TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InRlc3RiZWQifQ.",
    // {"aud":["https://kubernetes.default.svc"],"exp":4102444800,"sub":"system:serviceaccount:shop:lister"}
    "eyJhdWQiOlsiaHR0cHM6Ly9rdWJlcm5ldGVzLmRlZmF1bHQuc3ZjIl0sImV4cCI6NDEwMjQ0NDgwMCwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OnNob3A6bGlzdGVyIn0.",
    "dGVzdGJlZC1zZWNyZXQtc2lnbmF0dXJl"
);

/// An API that answers with recordings.
pub struct PodApi;

impl PodApi {
    /// Answers as the recorded API server did, by token, namespace and encoding.
    pub fn answer(request: &Request) -> Answer {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Recording::read("list-unauthorized").answer;
        }
        PodApi::recorded(request)
    }

    /// Answers without checking the token.
    pub(crate) fn recorded(request: &Request) -> Answer {
        let accept = request.header("accept").unwrap_or_default();
        let protobuf = accept.starts_with("application/vnd.kubernetes.protobuf");
        let name = match request.path() {
            "/api/v1/namespaces/shop/pods" if accept.contains("as=Table") => "list-table",
            "/api/v1/namespaces/shop/pods" if protobuf => "list-protobuf",
            "/api/v1/namespaces/shop/pods" => "list-json",
            "/api/v1/namespaces/empty/pods" => "list-empty-namespace",
            "/api/v1/namespaces/other/pods" if request.is_watch() => "watch-forbidden",
            "/api/v1/namespaces/other/pods" if protobuf => "list-forbidden-protobuf",
            "/api/v1/namespaces/other/pods" => "list-forbidden",
            _ => "path-not-found",
        };
        Recording::read(name).answer
    }
}
