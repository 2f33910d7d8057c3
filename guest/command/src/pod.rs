//! `incluster pods NAME`: prints one pod.

use crate::command_error::CommandError;
use crate::document::of_pod;
use crate::observed::{Observed, drive};
use crate::pods::Form;
use crate::table::{Printer, Table};
use incluster_client::request;
use incluster_client::system::now;
use incluster_client::transport::Transport;
use incluster_client::types::{Error, Failure, Status, StatusDetails};
use incluster_client::{Call, Client, Driven, Json};
use incluster_core::Namespace;
use incluster_core::command_line::PodName;
use std::io::Write;

pub fn print<T: Transport>(
    client: &Client<Observed<T>>,
    namespace: &Namespace,
    name: &PodName,
    form: Form,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let (name, namespace) = (name.as_str(), namespace.as_str());
    let pod = request::get_json(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).map_err(CommandError::Argument)?;
    let request = form.of_request()(pod);
    let fail = |failure| {
        let doing = format!("get pod {name:?} in namespace {namespace:?}");
        let role = format!("Role that allows verb \"get\" on \"pods\" in namespace {namespace:?}");
        CommandError::of_request(client, doing, &request, &role, failure)
    };
    let call = Call::<Json>::new(request.clone(), client.settings(), now());
    let json = drive(client, &mut Driven::new(client.clone(), call)).map_err(fail)?;
    let text = match form {
        Form::Table(layout) => Table::from_json(&json).map(|table| Printer::new(layout).page(&table, usize::MAX).text),
        Form::Document(format) => of_pod(format, &json),
    };
    Ok(out.write_all(&text.map_err(|error| fail(error.into()))?)?)
}

/// Makes the failure that a server answers a GET of this pod with if there is no such pod.
pub fn not_found(name: &PodName) -> Failure {
    let name = name.as_str();
    let details = StatusDetails { name: Some(name.into()), kind: Some("pods".into()), ..StatusDetails::default() };
    let message = format!("pods {name:?} not found");
    let (details, reason) = (Some(details), Some("NotFound".into()));
    Error::Api(Status { code: 404, reason, message, details, retry_after_seconds: None }).into()
}
