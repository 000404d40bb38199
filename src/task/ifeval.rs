//! IFEval: prompts with verifiable instructions, in the file that its authors publish.
//!
//! ```json
//! {"key": 1000, "prompt": "Write a 300+ word summary of … Do not use any commas and highlight at least 3 sections …",
//!  "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_highlighted_sections"], "kwargs": [{}, {"num_highlights": 3}]}
//! ```
//!
//! The prompt is the row's own. The judge is `ifeval`: the reward is `prompt_strict`, all instructions of a prompt followed as they stand; a search has more
//! to climb on with `reward.weights = { instruction_strict = 1.0 }`.

use super::rows::Preset;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "ifeval",
    prompt: Some("{prompt}"),
    prompt_after_shots: None,
    shot: None,
    answer: None,
    options: None,
    judge: Some("ifeval"),
};
