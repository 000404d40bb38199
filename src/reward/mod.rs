//! What rewards are made of: plain functions from text to a verdict. They know neither tasks nor examples, keep no
//! state, take any text (empty, endless, not a word of any language) and never panic. [`answer`] says whether a
//! response gives the right answer, [`mod@format`] whether it has the form that was asked for, and [`number`] reads
//! numbers out of prose without ever rounding them. [`gsm8k`], [`math`] and [`ifeval`] judge as these benchmarks do.

pub mod answer;
pub mod format;
pub mod gsm8k;
pub mod ifeval;
pub mod math;
pub mod number;
