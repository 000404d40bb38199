//! A prompt with places for columns: `{column}` stands for the row's value of that column, `{{` and `}}` for braces.

use crate::error::{Error, Result};
use crate::rows::Row;

/// The text between the places, and their columns.
#[derive(Debug, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Reads a template; `key` names it in errors.
    pub fn parse(key: &str, prompt: &str) -> Result<Self> {
        let wrong = |what: &str| Error::config(format!("task: {key} = \"{}\": {what}", prompt.escape_debug()));
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = prompt;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, here) = rest.split_at(at);
            text.push_str(before);
            if let Some(after) = here.strip_prefix("{{") {
                text.push('{');
                rest = after;
            } else if let Some(after) = here.strip_prefix("}}") {
                text.push('}');
                rest = after;
            } else if let Some((name, after)) = here.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                if name.trim().is_empty() || name.contains('{') {
                    return Err(wrong(
                        "expected the name of a column between { and }; a brace itself is {{ or }}",
                    ));
                }
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Column(name.trim().to_owned()));
                rest = after;
            } else {
                return Err(wrong("a brace has no partner; a brace itself is {{ or }}"));
            }
        }
        if parts.is_empty() {
            return Err(wrong(
                "names no column, so all prompts would be the same; expected {column} somewhere",
            ));
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    /// The text of a row. `{options}` stands for the options, a line each behind its letter, where they are known.
    pub fn render(&self, row: &Row, options: &[String]) -> std::result::Result<String, String> {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Column(column) if column == "options" && !options.is_empty() => Ok(listed(options)),
            // A list of numbers or texts stands there as the file spells it.
            Part::Column(column) => match row.raw(column) {
                Ok(raw) if raw.starts_with('[') => Ok(raw.to_owned()),
                _ => row.text(column),
            },
        });
        parts.collect()
    }
}

/// `A. …`, a line each.
fn listed(options: &[String]) -> String {
    let lines: Vec<String> = options
        .iter()
        .zip('A'..='Z')
        .map(|(option, letter)| format!("{letter}. {option}"))
        .collect();
    lines.join("\n")
}
