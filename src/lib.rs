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
//!                 main.rs ── commands
//!                           run ── report
//!          warm_start · plan ── record ── farm
//!                        objective ── config
//!            ┌───────────────┴──────────────┐
//!            │                       language_model
//!       strategy          space         engine · task
//!            │            adapter       judge · reward · text
//!            │              └──── model ────┘
//!            └──── search ─────┘
//!            statistics · seed · threads · linalg · rows · files · digest · terminal · error
//! ```
//!
//! Start reading at [`commands::align`], which goes from the config to the row: the claim of a directory ([`record::RunDirectory`]), the
//! plan ([`plan::Plan`]), the loop ([`run::Run`]). The model is [`model::transformer`], the algorithm [`strategy::cma_es`].

pub mod adapter;
pub mod commands;
pub mod config;
pub mod digest;
pub mod engine;
pub mod error;
pub mod farm;
pub mod files;
pub mod judge;
pub mod language_model;
pub mod linalg;
pub mod model;
pub mod objective;
pub mod plan;
pub mod record;
pub mod report;
pub mod reward;
pub mod rows;
pub mod run;
pub mod search;
pub mod seed;
pub mod space;
pub mod statistics;
pub mod strategy;
pub mod task;
pub mod terminal;
pub mod text;
pub mod threads;
pub mod warm_start;

#[cfg(test)]
#[path = "../tests/support/skip.rs"]
mod skip;
