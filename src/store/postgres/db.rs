//! Statements on one connection. Each is sent unprepared and with the types of its parameters, in one round trip. So
//! none depends on what the connection did before, which a pooler in transaction mode would forget.

use super::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// A parameter of a statement.
pub(super) trait Param: Sync {
    /// Returns the parameter's type in the database.
    fn kind(&self) -> Type;
    /// Returns the parameter itself.
    fn sql(&self) -> &(dyn ToSql + Sync);
}

macro_rules! params {
    ($($rust:ty => $sql:ident),+ $(,)?) => {
        $(impl Param for $rust {
            fn kind(&self) -> Type {
                Type::$sql
            }
            fn sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        })+
    };
}

params! {
    i64 => INT8,
    Option<i64> => INT8,
    bool => BOOL,
    Option<bool> => BOOL,
    &str => TEXT,
    Option<&str> => TEXT,
    String => TEXT,
    Option<String> => TEXT,
    Uuid => UUID,
    Option<Uuid> => UUID,
    Vec<i64> => INT8_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    Vec<bool> => BOOL_ARRAY,
    Vec<Option<bool>> => BOOL_ARRAY,
    Vec<&str> => TEXT_ARRAY,
    Vec<Option<&str>> => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<Uuid> => UUID_ARRAY,
    Vec<u8> => BYTEA,
}

/// The warnings that the server sent with its answers. They are noted before the answer is delivered.
pub(super) type Warnings = Arc<Mutex<Vec<String>>>;

/// A connection.
pub(super) struct Db {
    client: Client,
    warnings: Warnings,
}

impl Db {
    pub(super) fn new(client: Client, warnings: Warnings) -> Self {
        Self { client, warnings }
    }

    /// Returns all rows.
    pub(super) async fn query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, Error> {
        let params: Vec<_> = params.iter().map(|param| (param.sql(), param.kind())).collect();
        Ok(self.client.query_typed(sql, &params).await?)
    }

    /// Returns the only row, if there is one.
    pub(super) async fn find(&self, sql: &str, params: &[&dyn Param]) -> Result<Option<Row>, Error> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Returns the only row, which exists.
    pub(super) async fn one(&self, sql: &str, params: &[&dyn Param]) -> Result<Row, Error> {
        self.find(sql, params)
            .await?
            .ok_or_else(|| Error::Strange("no row where there must be one".to_owned()))
    }

    /// Returns whether there is a row.
    pub(super) async fn exists(&self, sql: &str, params: &[&dyn Param]) -> Result<bool, Error> {
        Ok(!self.query(sql, params).await?.is_empty())
    }

    /// Returns the number of rows that the statement concerned.
    pub(super) async fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<u64, Error> {
        let params: Vec<_> = params.iter().map(|param| (param.sql(), param.kind())).collect();
        Ok(self.client.execute_typed(sql, &params).await?)
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Returns whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns the warnings since the last call.
    pub(super) fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the value of a column.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Error> {
    Ok(row.try_get(column)?)
}

/// Converts a count for the database, whose limit no count of ours approaches.
pub(super) fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// Converts a count that the database keeps.
pub(super) fn counted(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(u64::try_from(get::<i64>(row, column)?).unwrap_or_default())
}
