//! MATH, PRM800K and MATH-500: competition problems, in the files that their authors publish.
//!
//! ```json
//! {"problem": "How many vertical asymptotes does the graph of $y=\\frac{2}{x^2+x-6}$ have?",
//!  "solution": "The denominator factors into $(x-2)(x+3)$ … $\\boxed{2}$ vertical asymptotes.", "answer": "2", "level": "Level 3", "type": "Algebra"}
//! ```
//!
//! The prompt is that of Qwen2.5-Math, which asks for a box. The judge is `math`, the grader of PRM800K; the right answer is column `answer`, or
//! what the last box of `solution` holds.

use super::rows::Preset;

/// What the kind takes where its config says nothing.
pub const PRESET: Preset = Preset {
    name: "math",
    prompt: Some("{problem}\nPlease reason step by step, and put your final answer within \\boxed{{}}."),
    prompt_after_shots: None,
    shot: Some("{solution}"),
    answer: None,
    options: None,
    judge: Some("math"),
};
