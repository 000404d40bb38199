//! Adapters with frozen bases. Every adapter that this engine applies has the form
//!
//! ```text
//! ΔW x = s · U (b ⊙ M (a ⊙ V x))
//! ```
//!
//! in which V, U and s are the same for every candidate and only the short vectors `a` and `b`, or a small M, differ. [`basis`]
//! holds V, M, U and s of one weight matrix, [`bank`] the short vectors of all candidates of a batch, and [`peft`] reads and writes
//! LoRA as PEFT does, [`Learned`] what a warm start's was trained on. What is searched, and where the bases come from, is [`crate::space`]'s.

pub mod bank;
pub mod basis;
mod learned;
pub mod peft;

pub use bank::AdapterBank;
pub use basis::{Basis, Factors, Tie};
pub use learned::Learned;
