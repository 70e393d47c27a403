//! Any form of AEM's file, read into keys and values: JSON by its schema (`cdn.prod` alone or within its
//! context), the JSON of a sheet, or the rows themselves.

use super::entry::Entry;
use super::error::Problem;
use super::rows;
use serde_json::{Map, Value};

/// Returns every value of the file except tables, by its full key.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Problem> {
    // Excel and similar programs put a byte order mark before their exports.
    let text = text.trim_start_matches('\u{feff}');
    let entries = if text.trim_start().starts_with(['{', '[']) {
        let value = serde_json::from_str(text).map_err(|error| {
            Problem::new(Some(error.line()), "", format!("is not JSON: {}", syntax(&error)))
        })?;
        json(value)?
    } else {
        rows::read(text)?
    };
    if !entries.iter().any(is_of_a_cdn) {
        return Err(Problem::new(
            None,
            "cdn.prod",
            "is missing: a production CDN, as JSON (`{\"host\": …, \"type\": …}`, alone or within `cdn.prod`) or as rows \
             (`cdn.prod.host`, `cdn.prod.type`, …)",
        ));
    }
    Ok(entries)
}

fn is_of_a_cdn(entry: &Entry) -> bool {
    matches!(&*entry.key, [cdn, prod, _, ..] if cdn == "cdn" && prod == "prod")
}

/// Returns the message without the position, which the problem names, and without a value.
fn syntax(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

fn json(value: Value) -> Result<Vec<Entry>, Problem> {
    let mut entries = Vec::new();
    match value {
        Value::Array(rows) => sheet(&rows, &mut entries)?,
        Value::Object(table) if is_sheet(&table) => sheet_of(&table, &mut entries)?,
        Value::Object(table) => {
            let sheets: Vec<_> =
                table.values().filter_map(Value::as_object).filter(|t| is_sheet(t)).collect();
            if table.contains_key(":names") {
                sheets.into_iter().try_for_each(|sheet| sheet_of(sheet, &mut entries))?;
            } else {
                flatten(&mut root(&table), table, &mut entries);
            }
        }
        _ => return Err(Problem::new(None, "", "must be a JSON object or a list of rows")),
    }
    Ok(entries)
}

/// Returns the object's path within a site's configuration.
fn root(table: &Map<String, Value>) -> Vec<String> {
    let is_cdn = ["host", "type"].iter().any(|name| table.contains_key(*name));
    let root: &[&str] = if table.contains_key("prod") {
        &["cdn"]
    } else if is_cdn && !table.contains_key("cdn") {
        &["cdn", "prod"]
    } else {
        &[]
    };
    root.iter().map(|part| (*part).to_owned()).collect()
}

/// Collects each value with its path. A list of values is one value.
fn flatten(path: &mut Vec<String>, table: Map<String, Value>, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        path.push(name);
        match value {
            Value::Object(table) => flatten(path, table, entries),
            value => entries.push(Entry { key: path.clone(), value, line: None }),
        }
        path.pop();
    }
}

fn is_sheet(table: &Map<String, Value>) -> bool {
    table.get("data").is_some_and(Value::is_array)
}

fn sheet_of(table: &Map<String, Value>, entries: &mut Vec<Entry>) -> Result<(), Problem> {
    table.get("data").and_then(Value::as_array).map_or(Ok(()), |rows| sheet(rows, entries))
}

/// Reads rows of `{"key": …, "value": …}`; the names of the columns may start with a capital.
fn sheet(rows: &[Value], entries: &mut Vec<Entry>) -> Result<(), Problem> {
    for (index, row) in rows.iter().enumerate() {
        let cell = |name: &str| {
            let cells = row.as_object().into_iter().flatten();
            cells.into_iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, cell)| cell)
        };
        let (Some(Value::String(key)), Some(value)) = (cell("key"), cell("value")) else {
            let place = format!("data[{index}]");
            return Err(Problem::new(None, place, "must be a row with `key` and `value`"));
        };
        if !key.trim().is_empty() {
            rows::push(key, value.clone(), None, entries)?;
        }
    }
    Ok(())
}
