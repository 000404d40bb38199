//! Preference pairs and labels, in the columns that TRL's trainers read.
//!
//! ```json
//! {"prompt": "What color is the sky?", "chosen": "It is blue.", "rejected": "It is green."}
//! ```
//!
//! Prompt and sides are texts or lists of turns; `task.prompt` makes the prompt of other columns. Nothing is written: the judge is `preference`, whose reward is the DPO
//! objective unless it is told another, and `accuracy` stands among its terms. `train_judge = { preference = "dpo" }` beside
//! `judge = { preference = "accuracy" }` searches by the one and reports the other.

use super::rows::Preset;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "preference",
    prompt: None,
    prompt_after_shots: None,
    shot: None,
    answer: None,
    options: None,
    judge: Some("preference"),
};
