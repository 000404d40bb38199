//! Any rows: a prompt template over the columns or a conversation, a gold answer or none, a judge. The first line of SST-2's test set,
//!
//! ```json
//! {"text": "no movement , no yuks , not much of anything .", "label": 0}
//! ```
//!
//! under the prompt `Is this movie review positive or negative? Answer in one word.\n{text}` with the answer map
//! `0 = negative, 1 = positive` becomes the user's turn
//!
//! ```text
//! Is this movie review positive or negative? Answer in one word.
//! no movement , no yuks , not much of anything .
//! ```
//!
//! and the reference `{"answer": "negative"}`; the judge `first_word` gives `Negative.` the reward 1. Classification by the labels' probabilities is
//! the same rows under `judge = "likeliest"`.

use super::rows::Preset;

/// What the kind takes where its config says nothing: nothing.
pub const PRESET: Preset = Preset {
    name: "jsonl",
    prompt: None,
    prompt_after_shots: None,
    shot: None,
    answer: None,
    options: None,
    judge: None,
};
