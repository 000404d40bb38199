//! `essa` aligns language models **without gradients**: a population of adapters is evolved, each candidate is judged by
//! forward-only, quantized generation, the work is shared by MPI ranks, and the best mean leaves as a PEFT adapter and
//! a leaderboard row. It is an open implementation of ESSA (arXiv 2507.04453): evolution over the singular values of
//! LoRA adapters.
//!
//! # Layout
//!
//! Arrows point down only. The columns of `strategy` and of the language model never import each other; [`search`]
//! holds the words that both speak.
//!
//! ```text
//!                 main.rs ── commands ── sweep ── config
//!                       run ── calibration
//!                  population ── ranks
//!            ┌───────────┴───────────┐
//!       strategy                objective
//!            │                 ┌─────┴─────┐
//!            │              engine       task
//!            │              adapter      reward
//!            │              model
//!            └──── search ─────┘
//!            linalg · seed · files · terminal · error
//! ```
//!
//! Start reading at [`run::Run`], which is the whole of it on one screen; the model is [`model::transformer`], the algorithm
//! [`strategy::cma_es`].

pub mod adapter;
pub mod calibration;
pub mod commands;
pub mod config;
pub mod engine;
pub mod error;
pub mod files;
pub mod linalg;
pub mod model;
pub mod objective;
pub mod population;
pub mod racing;
pub mod ranks;
pub mod reward;
pub mod run;
pub mod search;
pub mod seed;
pub mod sensitivity;
pub mod strategy;
pub mod sweep;
pub mod task;
pub mod terminal;
pub mod threads;

#[cfg(test)]
#[path = "../tests/support/skip.rs"]
mod skip;
