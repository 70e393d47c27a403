//! The codes of our enums in the database, which are the same as in SQLite: numbers if there is a row per item,
//! otherwise words. A code never changes.

use super::db::{Param, get};
use super::error::Error;
use crate::cdn::ItemKind;
use crate::purge::{SendReason, State};
use crate::rewrite::CdnType;
use crate::store::{Lane, PausedBy, Verification};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// An enum that the database stores as a number or a word.
pub(super) trait Coded: Sized + Copy {
    /// The type of the code: `i64` or `&'static str`.
    type Code: ToSql + Sync;
    /// Returns the code.
    fn code(self) -> Self::Code;
    /// Returns the value of the code in this column.
    fn read(row: &Row, column: usize) -> Result<Option<Self>, Error>;
}

/// The code of a value, as a parameter.
#[derive(Debug)]
pub(super) struct Code<C>(C);

/// Returns the code of a value, as a parameter.
pub(super) fn code<T: Coded>(value: T) -> Code<T::Code> {
    Code(value.code())
}

impl Param for Code<i64> {
    fn kind(&self) -> Type {
        Type::INT8
    }
    fn sql(&self) -> &(dyn ToSql + Sync) {
        &self.0
    }
}

impl Param for Code<&'static str> {
    fn kind(&self) -> Type {
        Type::TEXT
    }
    fn sql(&self) -> &(dyn ToSql + Sync) {
        &self.0
    }
}

/// Returns the value of a column that may not be null.
pub(super) fn coded<T: Coded>(row: &Row, column: usize) -> Result<T, Error> {
    T::read(row, column)?
        .ok_or_else(|| Error::Strange(format!("no code in {}", row.columns()[column].name())))
}

macro_rules! numbers {
    ($type:ty, $($variant:path => $code:literal),+ $(,)?) => {
        impl Coded for $type {
            type Code = i64;
            fn code(self) -> i64 {
                match self { $($variant => $code),+ }
            }
            fn read(row: &Row, column: usize) -> Result<Option<Self>, Error> {
                match get::<Option<i16>>(row, column)? {
                    None => Ok(None),
                    $(Some($code) => Ok(Some($variant)),)+
                    Some(other) => Err(Error::Strange(format!("no code for {}: {other}", stringify!($type)))),
                }
            }
        }
    };
}

macro_rules! words {
    ($type:ty, $($variant:path => $code:literal),+ $(,)?) => {
        impl Coded for $type {
            type Code = &'static str;
            fn code(self) -> &'static str {
                match self { $($variant => $code),+ }
            }
            fn read(row: &Row, column: usize) -> Result<Option<Self>, Error> {
                match get::<Option<&str>>(row, column)? {
                    None => Ok(None),
                    $(Some($code) => Ok(Some($variant)),)+
                    Some(other) => Err(Error::Strange(format!("no code for {}: {other}", stringify!($type)))),
                }
            }
        }
    };
}

numbers!(ItemKind,
    ItemKind::Url => 0,
    ItemKind::Tag => 1,
    ItemKind::Prefix => 2,
    ItemKind::Everything => 3,
);

numbers!(Lane,
    Lane::Site => 0,
    Lane::Small => 1,
    Lane::Bulk => 2,
);

numbers!(SendReason,
    SendReason::First => 0,
    SendReason::Retry => 1,
    SendReason::Repeat => 2,
    SendReason::FollowUp => 3,
);

words!(Verification,
    Verification::Fresh => "fresh",
    Verification::Stale => "stale",
    Verification::Unknown => "unknown",
);

// Only the three final states are ever written. The others are derived.
words!(State,
    State::Pending => "pending",
    State::Sending => "sending",
    State::Retrying => "retrying",
    State::Paused => "paused",
    State::Done => "done",
    State::Failed => "failed",
    State::Cancelled => "cancelled",
);

words!(PausedBy,
    PausedBy::Person => "person",
    PausedBy::Credentials => "credentials",
);

impl Coded for CdnType {
    type Code = &'static str;
    fn code(self) -> &'static str {
        self.as_str()
    }
    fn read(row: &Row, column: usize) -> Result<Option<Self>, Error> {
        let Some(name) = get::<Option<&str>>(row, column)? else { return Ok(None) };
        let known = CdnType::ALL.into_iter().find(|cdn| cdn.as_str() == name);
        known.map(Some).ok_or_else(|| Error::Strange(format!("no code for CdnType: {name}")))
    }
}

/// The condition on sends that keep a job under way: all except repeats, which hold up nothing.
pub(super) const HOLDS_UP: &str = "reason <> 2";
