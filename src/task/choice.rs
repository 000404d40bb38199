//! Multiple choice, in the shapes in which MMLU, HellaSwag and ARC publish their rows.
//!
//! ```json
//! {"question": "Which factor will most likely cause a person to develop a fever?",
//!  "choices": {"text": ["a leg muscle relaxing after exercise", "a bacterial population in the bloodstream", "…", "…"], "label": ["A", "B", "C", "D"]}, "answer": "B"}
//! ```
//!
//! `options` names the column with the options (`choices`), `answer` that with the right one, by label, letter, index from 0 or text; in the prompt `{options}` is
//! the list of them behind letters. The judge is `letter`, the letter that the response names; `judge = "likeliest"` asks instead which option
//! is the most probable after the prompt, and writes nothing.

use super::rows::Preset;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "choice",
    prompt: Some("{question}\n{options}\nAnswer with the letter of the right option."),
    prompt_after_shots: None,
    shot: None,
    answer: Some("answer"),
    options: Some("choices"),
    judge: Some("letter"),
};
