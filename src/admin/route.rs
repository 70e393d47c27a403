//! A call of the admin API, as the table of all calls describes it.

use super::state::State;
use crate::config::Scope;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

/// A call.
pub(super) struct Route {
    /// The call's name, for generated clients.
    pub(super) id: &'static str,
    /// The method, in lower case.
    pub(super) method: &'static str,
    /// The path, in the notation that axum and OpenAPI share.
    pub(super) path: &'static str,
    /// A summary of what the call does.
    pub(super) summary: &'static str,
    /// The scopes of which the caller's token must have one; empty if no token is needed.
    pub(super) scopes: &'static [Scope],
    /// The query parameters: an object.
    pub(super) query: Option<Type>,
    /// The header fields that have a meaning here.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// The JSON body, and whether it is required.
    pub(super) body: Option<(Type, bool)>,
    /// The successful answers.
    pub(super) answers: Vec<Answer>,
    /// The problems, in addition to those of every call with a token or a body.
    pub(super) problems: &'static [u16],
    pub(super) handler: MethodRouter<Arc<State>>,
}

/// A successful answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) means: &'static str,
    pub(super) media: &'static str,
    pub(super) body: Option<Type>,
}

/// Writes the schema of a type.
pub(super) type Type = fn(&mut SchemaGenerator) -> Schema;

pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    pub(super) fn new(
        id: &'static str,
        method: &'static str,
        path: &'static str,
        scopes: &'static [Scope],
        handler: MethodRouter<Arc<State>>,
        summary: &'static str,
    ) -> Self {
        Self {
            id,
            method,
            path,
            summary,
            scopes,
            query: None,
            headers: &[],
            body: None,
            answers: Vec::new(),
            problems: &[],
            handler,
        }
    }

    pub(super) fn json<T: JsonSchema>(self, status: u16, means: &'static str) -> Self {
        self.answer(status, means, "application/json", Some(schema::<T>))
    }

    pub(super) fn answer(
        mut self,
        status: u16,
        means: &'static str,
        media: &'static str,
        body: Option<Type>,
    ) -> Self {
        self.answers.push(Answer { status, means, media, body });
        self
    }

    pub(super) fn body<T: JsonSchema>(self, required: bool) -> Self {
        Self { body: Some((schema::<T>, required)), ..self }
    }

    pub(super) fn problems(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }
}
