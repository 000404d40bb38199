//! GSM8K: grade-school word problems, in the file that its authors publish.
//!
//! ```json
//! {"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did Natalia sell altogether in April and May?",
//!  "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.\n#### 72"}
//! ```
//!
//! With answered examples (`shots`) the prompt is that of lm-evaluation-harness, `Question: …\nAnswer:`, and the examples show what `####` is
//! for. Without, the form is asked for in a sentence, in verl's words. The judge is `gsm8k`: the reward is `strict`, the answer behind
//! `####`; `reward.weights = { flexible = 1.0 }` takes the last number instead.

use super::rows::Preset;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "gsm8k",
    prompt: Some("{question} Let's think step by step and output the final answer after \"####\"."),
    prompt_after_shots: Some("Question: {question}\nAnswer:"),
    shot: Some("{answer}"),
    answer: None,
    options: None,
    judge: Some("gsm8k"),
};
