//! The language model: what it is ([`config`]), its numbers ([`weights`]), its matrix products in the precision of
//! the run ([`linear`]), the arithmetic between them ([`kernels`]), and the whole of it ([`transformer`]).

mod batch;
pub mod config;
pub mod family;
mod fused;
pub mod gguf;
mod json;
pub mod kernels;
mod layer;
mod library;
pub mod linear;
mod map;
mod options;
mod plain;
mod rotary;
pub mod safetensors;
pub mod transformer;
pub mod weights;

pub use batch::{AdapterRows, Batch, SidePaths};
pub use config::{Head, ModelConfig, Module};
pub use family::Family;
pub use kernels::KvKind;
pub use layer::weight_bytes;
pub use linear::Precision;
pub use options::{Device, LoadOptions, Products};
pub use plain::{Plain, SideOf, numbers};
pub use transformer::{Transformer, Workspace};
pub use weights::Weights;
