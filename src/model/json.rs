//! A JSON object of a model's folder and the file that it came from, for errors that name both: numbers, flags and names by
//! their keys. A key that is null counts as one that is not there, as transformers has it.

use crate::error::{Error, Result};
use crate::files::read_config_text;
use serde_json::Value;
use std::path::Path;

/// A JSON object and the file that it came from, for errors that name both.
pub(super) struct Json<'a> {
    path: &'a Path,
    pub value: Value,
}

impl<'a> Json<'a> {
    pub fn open(path: &'a Path) -> Result<Self> {
        let text = read_config_text(path)?;
        let value = serde_json::from_str(&text).map_err(|e| Error::file(path, format!("not valid JSON: {e}")))?;
        Ok(Self { path, value })
    }

    /// An object of this object.
    pub fn object(&self, key: &str) -> Option<Self> {
        match self.value.get(key) {
            Some(value @ Value::Object(_)) => Some(Self {
                path: self.path,
                value: value.clone(),
            }),
            _ => None,
        }
    }

    /// Its keys whose values say something: not those that are null, false, 0 or empty.
    pub fn stated(&self) -> impl Iterator<Item = (&str, &Value)> {
        let says = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) => true,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(values) => !values.is_empty(),
        };
        let all = self.value.as_object().into_iter().flatten();
        all.map(|(key, value)| (key.as_str(), value))
            .filter(move |(_, value)| says(value))
    }

    /// Whether there is such a key, and it is not null.
    pub fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some_and(|value| !value.is_null())
    }

    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::file(self.path, what)
    }

    pub fn str(&self, key: &str) -> Result<&str> {
        let value = self.value.get(key).and_then(Value::as_str);
        value.ok_or_else(|| self.error(format!("key `{key}` is missing or not a string")))
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        let value = self.value.get(key).and_then(Value::as_u64);
        let value = value.ok_or_else(|| self.error(format!("key `{key}` is missing or not a whole number")))?;
        usize::try_from(value).map_err(|_| self.error(format!("key `{key}` is {value}, which is too large")))
    }

    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.size(key),
        }
    }

    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| self.error(format!("key `{key}` is {value}, expected a number"))),
        }
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.error(format!("key `{key}` is {value}, expected true or false"))),
        }
    }

    /// One token, several, or none.
    pub fn tokens(&self, key: &str) -> Result<Vec<u32>> {
        let values = match self.value.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        let tokens: Option<Vec<u32>> = values.iter().map(token).collect();
        tokens.ok_or_else(|| self.error(format!("key `{key}` is {values:?}, expected token numbers")))
    }
}
