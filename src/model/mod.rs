//! The language model: what it is ([`config`]), its numbers ([`weights`]), its matrix products in the precision of
//! the run ([`linear`]), the arithmetic between them ([`kernels`]), and the whole of it ([`transformer`]).

pub mod config;
pub mod gguf;
pub mod kernels;
pub mod linear;
mod map;
pub mod safetensors;
pub mod transformer;
pub mod weights;

pub use config::{ModelConfig, Module};
pub use linear::Precision;
pub use transformer::{AdapterRows, Batch, LoadOptions, SidePaths, Transformer, Workspace};
pub use weights::Weights;
