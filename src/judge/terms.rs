//! Terms of a response's text alone, which need no gold answer: [`matches()`], [`length`], [`repetition`], [`json_schema`].
//!
//! ```toml
//! [reward.terms]
//! brief = { length = 200 }
//! ```

use super::answer::rule;
use super::kind::{Asked, Context, Kind, Opened, settings};
use super::{Judge, Verdict, score};
use crate::error::Result;
use crate::files::read_config_text;
use crate::reward::length::{Length, Unit};
use crate::reward::repetition::Repetition;
use crate::reward::schema::Schema;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// A function of a text.
struct Term {
    name: &'static str,
    of: Arc<dyn Fn(&str) -> f64 + Send + Sync>,
}

fn term(name: &'static str, of: impl Fn(&str) -> f64 + Send + Sync + 'static) -> Opened {
    Ok(Box::new(Term { name, of: Arc::new(of) }))
}

impl Kind for Term {
    fn reference(&self, asked: &Asked) -> std::result::Result<Value, String> {
        // A gold answer that there is may serve another judge.
        Ok(asked.gold.map_or(json!({}), |gold| json!({ "answer": gold })))
    }

    fn begin(&self, threads: usize) -> Result<Box<dyn Judge>> {
        let (name, of) = (self.name, self.of.clone());
        Ok(rule(threads, move |_, response| {
            let value = of(response);
            Verdict::new(value, [(name, value)])
        }))
    }
}

/// Whether a pattern matches.
pub fn matches(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        matches: String,
    }
    let Settings { matches } = settings(table)?;
    let pattern = Regex::new(&matches).map_err(|error| format!("matches = '{matches}' is not valid: {error}"))?;
    term("matches", move |text| score(pattern.is_match(text)))
}

/// How near the length is to what is wanted.
pub fn length(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        length: usize,
        #[serde(default)]
        least: usize,
        #[serde(default)]
        unit: Unit,
    }
    let Settings { length, least, unit } = settings(table)?;
    let length = Length {
        unit,
        least,
        most: length,
    };
    length.check()?;
    term("length", move |text| length.term(text))
}

/// How much of a text is no repetition.
pub fn repetition(table: &toml::Table, _: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        repetition: usize,
    }
    let Settings { repetition: n } = settings(table)?;
    if n == 0 {
        return Err("repetition is 0, expected the number of words of an n-gram, 1 or more".into());
    }
    let repetition = Repetition { n };
    term("distinct", move |text| repetition.term(text))
}

/// Whether a text is valid under a schema.
pub fn json_schema(table: &toml::Table, context: &Context) -> Opened {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        json_schema: PathBuf,
    }
    let Settings { json_schema: path } = settings(table)?;
    if !context.reads_files {
        return term("valid", |_| 0.0);
    }
    let text = read_config_text(&path).map_err(|error| error.to_string())?;
    let schema: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: not valid JSON: {error}", path.display()))?;
    let schema = Schema::new(&schema).map_err(|what| format!("{}: {what}", path.display()))?;
    term("valid", move |text| schema.term(text))
}
