//! Recorded answers of a real API server.

use crate::answer::Answer;
use serde_json::Value;

/// An exchange from `tests/fixtures/`.
pub struct Recording {
    /// The path and query of the request.
    pub path_and_query: String,
    /// The recorded answer.
    pub answer: Answer,
}

impl Recording {
    /// Reads `tests/fixtures/{name}.json`.
    pub fn read(name: &str) -> Recording {
        let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let exchange: Value = serde_json::from_str(&text).expect("JSON");
        let response = &exchange["response"];
        let body = match response["body-base64"].as_str() {
            Some(base64) => data_encoding::BASE64.decode(base64.as_bytes()).expect("base64"),
            None => response["body"].as_str().expect("a body").as_bytes().to_vec(),
        };
        let mut answer = Answer::new(response["status"].as_u64().expect("a status") as u16, body);
        for header in response["headers"].as_array().expect("headers") {
            let (name, value) = (header[0].as_str().expect("a name"), header[1].as_str().expect("a value"));
            // These headers belong to the connection, not to the answer.
            if !matches!(name, "Content-Length" | "Transfer-Encoding" | "Connection") {
                answer = answer.header(name, value);
            }
        }
        Recording { path_and_query: exchange["request"]["path"].as_str().expect("a path").into(), answer }
    }
}
