//! The OpenAPI document, made from routes and the types that the handlers read and write.

use super::caller::scope_name;
use super::problem::Document;
use super::route::{Answer, Route};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The OpenAPI version. From 3.1 on, OpenAPI accepts JSON Schema as it is.
const VERSION: &str = "3.1.0";
/// Problems of every call with a token.
const PROBLEMS: &[u16] = &[401, 403, 429];
/// Problems of every call with a body.
const BODY_PROBLEMS: &[u16] = &[400, 408, 413, 422];

/// Returns the document of these routes, as in `config/openapi.json`.
pub(super) fn text(routes: &[Route]) -> String {
    // Writing JSON values cannot fail.
    serde_json::to_string_pretty(&document(routes)).unwrap_or_default() + "\n"
}

fn document(routes: &[Route]) -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    // Input may omit fields that have a default; output never does. So they need different schemas.
    let mut read = settings().for_deserialize().into_generator();
    let mut written = settings().for_serialize().into_generator();
    let problem = written.subschema_for::<Document>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, &mut read, &mut written, problem.as_value());
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    let mut schemas = written.take_definitions(true);
    schemas.extend(read.take_definitions(true));
    json!({
        "openapi": VERSION,
        "info": {
            "title": "Origin Shim admin API",
            "description": "Purges of a site's CDNs, and the state of the shim. Every error is a problem document (RFC 9457).",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "One of `admin.tokens`." },
            },
        },
    })
}

fn operation(
    route: &Route,
    read: &mut SchemaGenerator,
    written: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let mut responses = Map::new();
    for answer in &route.answers {
        responses.insert(answer.status.to_string(), response(answer, written));
    }
    let with_token = if route.scopes.is_empty() { &[] } else { PROBLEMS };
    let with_body = if route.body.is_some() { BODY_PROBLEMS } else { &[] };
    for status in [400, 421].iter().chain(with_token).chain(with_body).chain(route.problems) {
        let content = json!({ "application/problem+json": { "schema": problem } });
        responses.insert(status.to_string(), json!({ "description": means(*status), "content": content }));
    }
    let mut operation = json!({ "summary": route.summary, "operationId": route.id, "responses": responses });
    let parameters = parameters(route, read);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some((body, required)) = route.body {
        let content = json!({ "application/json": { "schema": body(read) } });
        operation["requestBody"] = json!({ "required": required, "content": content });
    }
    if !route.scopes.is_empty() {
        let scopes: Vec<_> = route.scopes.iter().map(|scope| format!("`{}`", scope_name(*scope))).collect();
        operation["description"] = format!("Needs the scope {}.", scopes.join(" or ")).into();
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

fn response(answer: &Answer, written: &mut SchemaGenerator) -> Value {
    let media = match answer.body {
        Some(body) => json!({ "schema": body(written) }),
        None => json!({}),
    };
    let mut content = Map::new();
    content.insert(answer.media.to_owned(), media);
    json!({ "description": answer.means, "content": content })
}

fn parameters(route: &Route, read: &mut SchemaGenerator) -> Vec<Value> {
    let variables = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let text = json!({ "type": "string" });
    let mut parameters: Vec<_> = variables
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }))
        .collect();
    if let Some(query) = route.query {
        for (name, mut schema) in properties(query(read).as_value(), read) {
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            parameters
                .push(json!({ "name": name, "in": "query", "description": description, "schema": schema }));
        }
    }
    for (name, description) in route.headers {
        parameters.push(json!({ "name": name, "in": "header", "description": description, "schema": text }));
    }
    parameters
}

/// Returns the properties of an object that is not a component of its own.
fn properties(reference: &Value, read: &mut SchemaGenerator) -> Map<String, Value> {
    let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let object = name.and_then(|name| read.definitions_mut().remove(name));
    object.and_then(|object| object["properties"].as_object().cloned()).unwrap_or_default()
}

fn means(status: u16) -> &'static str {
    match status {
        400 => "The request is malformed, or ambiguous.",
        401 => "No valid token.",
        403 => "The token does not allow this.",
        404 => "Not found, or not visible to this token.",
        408 => "The body did not arrive in time, or made no progress while others waited.",
        409 => "The purge is not in a state for this, or the `Idempotency-Key` is taken.",
        413 => "Too many bytes or items.",
        421 => "The `Host` is neither an address nor `localhost` nor one of `admin.hosts`.",
        422 => "The request cannot be carried out; `errors` lists what is invalid.",
        429 => {
            "Too many failed logins, listeners, or checks of credentials. `Retry-After` gives the time to wait."
        }
        _ => "The store cannot commit; nothing was accepted. `Retry-After` gives the time to wait.",
    }
}
