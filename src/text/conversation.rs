//! Conversations in the columns of data sets: lists of turns, `[{"role": …, "content": …}, …]`, where a content may also be a list of parts with a `text` each.

use super::Message;
use crate::rows::Row;
use serde_json::Value;

/// What stands in a column of a conversation.
pub enum Content {
    /// A text.
    Text(String),
    /// Turns.
    Turns(Vec<Message>),
}

/// The turns in a column. An error is a part of a sentence.
pub fn turns(row: &Row, column: &str) -> Result<Vec<Message>, String> {
    let turns: Vec<Value> = row.get(column, "a list of turns, each with `role` and `content`")?;
    let read: Option<Vec<Message>> = turns.iter().map(message).collect();
    read.ok_or_else(|| {
        format!(
            "column `{column}` has a turn without a role (system, user or assistant) or without a text as its content"
        )
    })
}

/// The turns in a column, or the text in it.
pub fn content(row: &Row, column: &str) -> Result<Content, String> {
    match row.raw(column)?.starts_with('[') {
        true => turns(row, column).map(Content::Turns),
        false => row
            .get(column, "a text, or a list of turns, each with `role` and `content`")
            .map(Content::Text),
    }
}

fn message(turn: &Value) -> Option<Message> {
    let content = match &turn["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| part["text"].as_str());
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.concat())
        }
        _ => None,
    };
    let role = turn["role"]
        .as_str()
        .filter(|role| ["system", "user", "assistant"].contains(role));
    role.zip(content).map(|(role, content)| Message {
        role: role.into(),
        content,
    })
}
