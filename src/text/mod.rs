//! A model's way with text: conversations, its chat template, its tokenizer, and the tokens that end a turn.

pub mod chat_template;
pub mod conversation;
pub mod tokenizer;

use crate::error::{Error, Result};
use crate::model::Weights;
use chat_template::ChatTemplate;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokenizer::Tokenizer;

/// One turn of a conversation, in the words of chat templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }

    /// The model's turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: "assistant".into(),
            content: content.into(),
        }
    }

    /// The system's turn.
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: "system".into(),
            content: content.into(),
        }
    }
}

/// Tokenizer and template of one model.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    stop: Vec<u32>,
    add_bos: bool,
}

impl Text {
    /// The tokenizer in a GGUF file, or `tokenizer.json` in (or beside) it; none when a folder has none.
    pub fn open(weights: &Weights) -> Result<Option<Self>> {
        let path = weights.path();
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(Path::new("."))
        };
        let file = folder.join("tokenizer.json");
        let tokenizer = match weights.gguf() {
            // A GGUF file carries its own; where it has none, or one of a kind that we do not build, a file may stand in.
            Some(gguf) if gguf.find::<&str>("tokenizer.ggml.model")?.is_some() => match Tokenizer::from_gguf(gguf) {
                Err(_) if file.exists() => Tokenizer::from_file(&file)?,
                own => own?,
            },
            _ if file.exists() => Tokenizer::from_file(&file)?,
            _ => return Ok(None),
        };
        let template = match weights.gguf() {
            Some(gguf) => match ChatTemplate::from_gguf(gguf)? {
                Some(own) => Some(own),
                None => ChatTemplate::from_folder(folder)?,
            },
            None => ChatTemplate::from_folder(folder)?,
        };
        let mut stop = [weights.config().eos.as_slice(), tokenizer.stop_ids()].concat();
        stop.sort_unstable();
        stop.dedup();
        let add_bos = tokenizer.add_bos();
        Ok(Some(Self {
            tokenizer,
            template,
            stop,
            add_bos,
        }))
    }

    /// The same, where a tokenizer is needed.
    pub fn of(weights: &Weights) -> Result<Self> {
        Self::open(weights)?.ok_or_else(|| no_tokenizer(weights))
    }

    /// Tokens of a conversation, ready for the model's next turn.
    pub fn chat_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.chat_text(messages)?, true)
    }

    /// The conversation as the chat template spells it.
    pub fn chat_text(&self, messages: &[Message]) -> Result<String> {
        let template = self.template.as_ref().ok_or_else(no_template)?;
        template.render(messages, true)
    }

    /// Tokens of a whole conversation, with no turn to come: what a reward model reads.
    pub fn told_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let template = self.template.as_ref().ok_or_else(no_template)?;
        self.tokenizer.encode(&template.render(messages, false)?, true)
    }

    /// As [`Tokenizer::largest_of_plain_text`].
    pub fn largest_of_plain_text(&self) -> Option<u32> {
        self.tokenizer.largest_of_plain_text()
    }

    /// Tokens of the model's next turn where it says `answer`, and ends where `ends` says so: what the chat template writes between the prompt
    /// and the token that ends the turn, that one included.
    pub fn answer_ids(&self, messages: &[Message], answer: &str, ends: bool) -> Result<Vec<u32>> {
        let prompt = self.chat_text(messages)?;
        if !ends {
            return self.ids_after(&prompt, answer, true, false);
        }
        let template = self.template.as_ref().expect("the prompt was made with it");
        let told = [messages, &[Message::assistant(answer)]].concat();
        let whole = template.render(&told, false)?;
        let turn = whole.strip_prefix(&prompt).ok_or_else(|| {
            Error::mismatch(
                "the chat template writes an answered conversation otherwise than a prompt and its answer, so the probability of \
                 an answer cannot be asked for: take a judge that reads texts",
            )
        })?;
        let mut ids = self.ids_after(&prompt, turn, true, true)?;
        let end = ids.iter().position(|id| self.stop.contains(id)).ok_or_else(|| {
            Error::mismatch(format!(
                "the chat template ends the answer `{answer}` with no token that ends a turn: take a judge that reads texts"
            ))
        })?;
        ids.truncate(end + 1);
        Ok(ids)
    }

    /// Tokens of a text that continues another, as they are in the whole text: tokenizers that mark the beginning of a text would mark the
    /// continuation's, too, if it were read alone. Where a token reaches across the place, what begins there is read alone after all,
    /// because the prompt's tokens stand. `special` and `special_after` say whether special tokens are read as such in the two.
    pub fn ids_after(&self, prompt: &str, continuation: &str, special: bool, special_after: bool) -> Result<Vec<u32>> {
        let before = self.tokenizer.encode(prompt, special)?;
        let alone = self.tokenizer.encode(continuation, special_after)?;
        // A special token that the continuation spells out as text would be read as one in the whole.
        if special == special_after || self.tokenizer.encode(continuation, special)? == alone {
            let whole = self.tokenizer.encode(&format!("{prompt}{continuation}"), special)?;
            if let Some(rest) = whole.strip_prefix(before.as_slice()) {
                return Ok(rest.to_vec());
            }
        }
        Ok(alone)
    }

    /// Tokens of a text as it stands; special tokens in it are plain text.
    pub fn raw_ids(&self, text: &str) -> Result<Vec<u32>> {
        let bos = if self.add_bos { self.tokenizer.bos_id() } else { None };
        Ok(bos.into_iter().chain(self.tokenizer.encode(text, false)?).collect())
    }

    /// Text of tokens, special ones left out.
    pub fn decode(&self, token_ids: &[u32]) -> String {
        self.tokenizer.decode(token_ids, true)
    }

    /// Tokens that end a completion.
    pub fn stop(&self) -> &[u32] {
        &self.stop
    }
}

fn no_template() -> Error {
    Error::mismatch("the model has no chat template; put a chat_template.jinja beside it, or use raw prompts")
}

/// What to say of a model without one.
pub fn no_tokenizer(weights: &Weights) -> Error {
    Error::file(
        weights.path(),
        "has no tokenizer; put its tokenizer.json into the folder, or give token ids",
    )
}
