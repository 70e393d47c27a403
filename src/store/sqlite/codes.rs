//! The codes of our enums in the database: numbers if there is a row per item, otherwise words. A code never
//! changes.

use crate::cdn::ItemKind;
use crate::purge::{SendReason, State};
use crate::rewrite::CdnType;
use crate::store::{Lane, PausedBy, Verification};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// An enum that the database stores as its code.
#[derive(Clone, Copy)]
pub(super) struct Code<T>(pub(super) T);

macro_rules! codes {
    ($type:ty, $read:ident, $($variant:path => $code:literal),+ $(,)?) => {
        impl ToSql for Code<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(match self.0 { $($variant => $code.into()),+ })
            }
        }
        impl FromSql for Code<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.$read()? {
                    $($code => Ok(Self($variant)),)+
                    other => Err(FromSqlError::Other(format!("no code for {}: {other}", stringify!($type)).into())),
                }
            }
        }
    };
}

codes!(ItemKind, as_i64,
    ItemKind::Url => 0,
    ItemKind::Tag => 1,
    ItemKind::Prefix => 2,
    ItemKind::Everything => 3,
);

codes!(Lane, as_i64,
    Lane::Site => 0,
    Lane::Small => 1,
    Lane::Bulk => 2,
);

codes!(SendReason, as_i64,
    SendReason::First => 0,
    SendReason::Retry => 1,
    SendReason::Repeat => 2,
    SendReason::FollowUp => 3,
);

codes!(Verification, as_str,
    Verification::Fresh => "fresh",
    Verification::Stale => "stale",
    Verification::Unknown => "unknown",
);

// Only the three final states are ever written. The others are derived.
codes!(State, as_str,
    State::Pending => "pending",
    State::Sending => "sending",
    State::Retrying => "retrying",
    State::Paused => "paused",
    State::Done => "done",
    State::Failed => "failed",
    State::Cancelled => "cancelled",
);

impl ToSql for Code<CdnType> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

impl FromSql for Code<CdnType> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let known = CdnType::ALL.into_iter().find(|cdn| cdn.as_str() == name);
        known.map(Self).ok_or_else(|| FromSqlError::Other(format!("no code for CdnType: {name}").into()))
    }
}

codes!(PausedBy, as_str,
    PausedBy::Person => "person",
    PausedBy::Credentials => "credentials",
);

/// The reasons whose sends keep a job under way: all except repeats, which hold up nothing.
pub(super) const HOLD_UP: [SendReason; 3] = [SendReason::First, SendReason::Retry, SendReason::FollowUp];
