//! What rewards are made of: plain functions from text to a verdict. They know neither tasks nor examples, keep no
//! state, take any text (empty, endless, not a word of any language) and never panic. [`answer`] says whether a
//! response gives the right answer, [`mod@format`] whether it has the form that was asked for, and [`number`] reads
//! numbers out of prose without ever rounding them. [`gsm8k`], [`math`], [`ifeval`] and [`countdown`] judge as these
//! benchmarks do, [`letter`] finds the option that is named; [`length`], [`repetition`] and [`schema`] are terms of a text alone, [`preference`] compares texts by
//! their probabilities.

pub mod answer;
pub mod countdown;
pub mod format;
pub mod gsm8k;
pub mod ifeval;
pub mod length;
pub mod letter;
pub mod math;
pub mod number;
pub mod preference;
pub mod repetition;
pub mod schema;
mod script;
