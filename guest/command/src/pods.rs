//! `incluster pods`.

use crate::args::{Output, Pods};
use crate::document::{Document, Format};
use crate::failure::Failure;
use crate::table::{Columns, Table};
use incluster_client::request::{self, Request};
use incluster_client::types::Error;
use incluster_client::{Client, decode};
use std::io::Write;

pub fn run(pods: &Pods, out: &mut dyn Write) -> Result<(), Failure> {
    let client = Client::load_incluster_config().map_err(Failure::Config)?;
    let namespace = pods.namespace.as_deref().or(client.namespace()).unwrap_or("default");
    let request = match pods.output {
        Output::Json | Output::Yaml => request::list_namespaced_pods(namespace, &pods.options, request::JSON),
        Output::Table | Output::Wide | Output::Name => request::table_of_namespaced_pods(namespace, &pods.options),
    };
    let request = request.map_err(Failure::Argument)?;
    let failure = |error| {
        let permission = format!("verb \"list\" on \"pods\" in namespace {namespace:?}");
        Failure::of_request(&client, format!("list pods in namespace {namespace:?}"), &request, &permission, error)
    };

    let left_out = match pods.output {
        Output::Json => document(&client, &request, Format::Json, out, failure)?,
        Output::Yaml => document(&client, &request, Format::Yaml, out, failure)?,
        Output::Table | Output::Wide | Output::Name => {
            let json = client.get_whole(&request).map_err(failure)?;
            let table = Table::from_json(&json).map_err(failure)?;
            match pods.output {
                Output::Name => table.names().try_for_each(|name| writeln!(out, "pod/{name}"))?,
                _ if table.is_empty() => eprintln!("No resources found in {namespace} namespace."),
                Output::Wide => table.print(Columns::All, out)?,
                _ => table.print(Columns::Important, out)?,
            }
            table.left_out()
        }
    };
    match left_out {
        None => {}
        Some(None) => eprintln!("incluster: there are more pods than --limit let through"),
        Some(Some(n)) => eprintln!("incluster: there are {n} more pods than --limit let through"),
    }
    Ok(())
}

/// Prints the list as it arrives: one pod is held at a time. Returns what `--limit` left out.
fn document(
    client: &Client,
    request: &Request,
    format: Format,
    out: &mut dyn Write,
    failure: impl Fn(Error) -> Failure,
) -> Result<Option<Option<u64>>, Failure> {
    let mut answer = client.get(request).map_err(&failure)?;
    if answer.encoding != decode::Encoding::Json {
        return Err(failure(Error::MalformedResponse("the answer is protobuf, where JSON was asked for".into())));
    }
    let mut document = Document::new(format);
    while let Some(chunk) = answer.body.chunk().map_err(&failure)? {
        document.push(&chunk).map_err(&failure)?;
        out.write_all(&document.take())?;
    }
    let left_out = document.finish().map_err(&failure)?;
    out.write_all(&document.take())?;
    Ok(left_out)
}
