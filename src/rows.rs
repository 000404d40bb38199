//! Rows of JSON lines, or of one JSON array of objects: the one reader of every such file of a user. A row keeps its columns in their order and each value as it is
//! spelt in the file, so numbers that no 64-bit integer or float holds keep their digits, in prompts, in answers, and on their way to
//! a judge or into an output.

use crate::error::{Error, Result};
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::path::Path;

/// The longest line that is read, in bytes: JSON may take thirty times as much memory when it is parsed.
const LONGEST_LINE: usize = 16 << 20;

/// One JSON object, by column.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row(IndexMap<String, Box<RawValue>>);

impl Row {
    /// The row of one line; what is wrong with it, in a part of a sentence.
    pub fn parse(line: &str) -> std::result::Result<Self, String> {
        let line = line.trim();
        let start = match line.chars().next() {
            Some('{') => return serde_json::from_str(line).map_err(|error| invalid(&error)),
            Some('[') if line == "[" => "the start of a JSON array, expected JSON lines",
            Some('[') => "an array, expected a JSON object",
            _ => match serde_json::from_str::<serde_json::Value>(line) {
                Ok(other) => return Err(format!("found {}, expected a JSON object", a_kind_of(&other))),
                Err(error) => return Err(invalid(&error)),
            },
        };
        Err(format!("found {start}, one object a line"))
    }

    /// Names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has this column.
    pub fn has(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    /// The text in a column: strings as they are, numbers and booleans as the file spells them.
    pub fn text(&self, column: &str) -> std::result::Result<String, String> {
        let raw = self.raw(column)?;
        match raw.bytes().next() {
            Some(b'"') => {
                serde_json::from_str(raw).map_err(|error| format!("column `{column}` is {}", invalid(&error)))
            }
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => Ok(raw.to_owned()),
            _ => Err(format!(
                "column `{column}` is {}, expected text, a number or a boolean",
                self.kind(column)
            )),
        }
    }

    /// The value of a column as another type; `expected` names it in the error.
    pub fn get<T: DeserializeOwned>(&self, column: &str, expected: &str) -> std::result::Result<T, String> {
        let raw = self.raw(column)?;
        serde_json::from_str(raw)
            .map_err(|_| format!("column `{column}` is {}, expected {expected}", self.kind(column)))
    }

    /// A column as JSON spells it.
    pub fn raw(&self, column: &str) -> std::result::Result<&str, String> {
        self.0.get(column).map(|raw| raw.get()).ok_or_else(|| {
            let found: Vec<&str> = self.columns().collect();
            format!("column `{column}` is missing; the line has {}", named(&found))
        })
    }

    /// Sets a column, at the end if it is new.
    pub fn set(&mut self, column: &str, value: &impl Serialize) {
        let raw = serde_json::value::to_raw_value(value).expect("numbers, texts and lists of them are JSON");
        self.0.insert(column.into(), raw);
    }

    /// What is in a column, for a sentence: short texts and numbers as they stand.
    fn kind(&self, column: &str) -> String {
        match self.0.get(column).map(|raw| raw.get()) {
            Some(raw) if raw.len() <= 40 && !raw.starts_with(['{', '[']) && raw != "null" => raw.into(),
            Some(raw) => match serde_json::from_str(raw) {
                Ok(value) => a_kind_of(&value).into(),
                Err(_) => "nothing that can be read".into(),
            },
            None => "missing".into(),
        }
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        let columns = |row: &Self| {
            row.0
                .iter()
                .map(|(name, raw)| (name.clone(), raw.get().to_owned()))
                .collect::<Vec<_>>()
        };
        columns(self) == columns(other)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("columns and their JSON"))
    }
}

/// Reads the rows of a file, each with the number of its line. An error names the file and the line.
pub fn read(path: &Path) -> Result<Vec<(usize, Row)>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    if bytes.trim_ascii_start().starts_with(b"[") {
        return array(path, bytes);
    }
    let mut rows = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |what: String| Error::file(path, format!("line {number}: {what}"));
        if line.len() > LONGEST_LINE {
            let (found, most) = (line.len() >> 20, LONGEST_LINE >> 20);
            return Err(wrong(format!("has {found} MiB, expected at most {most}")));
        }
        let line = str::from_utf8(line).map_err(|_| wrong("is not UTF-8, expected a JSON object".into()))?;
        rows.push((number, Row::parse(line).map_err(wrong)?));
    }
    if rows.is_empty() {
        return Err(Error::file(path, "has no row; expected one JSON object a line"));
    }
    Ok(rows)
}

/// The longest file that is one JSON array, in bytes: all of it is in memory at once.
const LONGEST_ARRAY: usize = 1 << 30;

/// Rows of a file that is one JSON array of objects, numbered from 1.
fn array(path: &Path, bytes: &[u8]) -> Result<Vec<(usize, Row)>> {
    if bytes.len() > LONGEST_ARRAY {
        return Err(Error::file(
            path,
            "is a JSON array of more than 1 GiB, expected JSON lines, one object a line",
        ));
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(bytes)
        .map_err(|error| Error::file(path, format!("begins as a JSON array, and {}", invalid(&error))))?;
    let row = |(index, element): (usize, &&RawValue)| {
        let row =
            Row::parse(element.get()).map_err(|what| Error::file(path, format!("element {}: {what}", index + 1)))?;
        Ok((index + 1, row))
    };
    let rows: Vec<(usize, Row)> = elements.iter().enumerate().map(row).collect::<Result<_>>()?;
    if rows.is_empty() {
        return Err(Error::file(path, "is an empty JSON array; expected objects in it"));
    }
    Ok(rows)
}

/// Names in a sentence.
pub fn named(names: &[&str]) -> String {
    match names {
        [] => "none".into(),
        names => {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            quoted.join(", ")
        }
    }
}

fn invalid(error: &serde_json::Error) -> String {
    let error = error.to_string();
    let what = error.split(" at line").next().unwrap_or(&error);
    format!("not valid JSON ({what}); expected one object a line")
}

fn a_kind_of(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_are_spelt() {
        let line = r#" {"z": 18446744073709551616, "a": 1.10, "b": "é\n", "t": true, "l": [1e400], "z2": -0} "#;
        let mut row = Row::parse(line).expect("an object");
        let texts = ["z", "a", "b", "t", "z2"].map(|column| row.text(column).expect("a text"));
        assert_eq!(texts, ["18446744073709551616", "1.10", "é\n", "true", "-0"]);
        row.set("reward", &0.5);
        assert_eq!(
            row.to_string(),
            r#"{"z":18446744073709551616,"a":1.10,"b":"é\n","t":true,"l":[1e400],"z2":-0,"reward":0.5}"#
        );
        assert!(row.text("l").expect_err("a list").contains("column `l` is"));
        assert_eq!(row.get::<f64>("a", "a number"), Ok(1.1));
        let missing = row.get::<Vec<i64>>("nums", "a list of numbers").expect_err("missing");
        assert!(
            missing.contains("`nums` is missing; the line has `z`, `a`"),
            "{missing}"
        );
        assert!(
            row.get::<Vec<i64>>("t", "a list of numbers")
                .expect_err("a boolean")
                .contains("column `t` is true, expected a list of numbers")
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (line, expected) in [
            ("[", "the start of a JSON array"),
            ("[1]", "an array"),
            ("3", "a number"),
            ("{\"a\"", "not valid JSON"),
            ("nonsense", "not valid JSON"),
            (r#"{"a": "\ud800"}"#, ""),
        ] {
            match Row::parse(line) {
                Err(told) => assert!(told.contains(expected), "{line}: {told}"),
                // Half a surrogate pair is only seen when the text is asked for.
                Ok(row) => assert!(row.text("a").is_err(), "{line}"),
            }
        }
    }

    #[test]
    fn a_file_may_be_one_array() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.json");
        std::fs::write(&path, " [{\"a\": 1.10},\n {\"a\": 2}]\n").expect("a file");
        let rows = read(&path).expect("two rows");
        assert_eq!(
            rows.iter()
                .map(|(at, row)| (*at, row.text("a").expect("a number")))
                .collect::<Vec<_>>(),
            [(1, "1.10".into()), (2, "2".into())]
        );
        for (text, told) in [
            ("[1]", "element 1: found a number"),
            ("[]", "empty JSON array"),
            ("[{}", "begins as a JSON array"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = read(&path).expect_err(text).to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_file_may_have_a_mark_and_blank_lines_and_line_ends_of_windows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, "\u{feff}\r\n{\"a\": 1}\r\n\r\n{\"a\": 2}").expect("a file");
        let rows = read(&path).expect("two rows");
        assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4]);
        std::fs::write(&path, "{}\n{\"a\": \"\u{fffd}\"}\n\n").expect("a file");
        assert!(read(&path).is_ok());
        std::fs::write(&path, b"{}\n\xff").expect("a file");
        assert!(
            read(&path)
                .expect_err("no text")
                .to_string()
                .contains("line 2: is not UTF-8")
        );
        std::fs::write(&path, "\n \n").expect("a file");
        assert!(read(&path).expect_err("no rows").to_string().contains("has no row"));
    }
}
