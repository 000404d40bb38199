//! essa
#![allow(missing_docs)]
pub mod adapter;
pub mod engine;
pub mod error;
pub mod files;
pub mod model;
pub mod seed;
pub mod search;
pub mod task;
