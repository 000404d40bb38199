//! What one forward pass works on.

use super::config::Module;
use super::kernels::{RowAddress, Side, SidePath};

/// What one forward pass works on.
pub struct Batch<'a> {
    /// The token of each row.
    pub tokens: &'a [u32],
    /// Where each row stands in the cache.
    pub rows: &'a [RowAddress<'a>],
    /// The candidates' adapters, if any.
    pub adapter: Option<AdapterRows<'a>>,
}

/// The adapters of a batch's rows.
#[derive(Clone, Copy)]
pub struct AdapterRows<'a> {
    /// The frozen bases, by layer and module.
    pub paths: &'a SidePaths,
    /// The candidates' scales, `[candidates, line]`.
    pub bank: &'a [f32],
    /// Numbers a candidate.
    pub line: usize,
    /// The candidate of each row.
    pub candidates: &'a [usize],
}

/// The side paths on each module of each layer.
pub type SidePaths = Vec<[Vec<SidePath>; 7]>;

impl<'a> AdapterRows<'a> {
    /// The side paths of a layer's modules that share one product, each with the column at which it begins.
    pub(super) fn side(self, layer: usize, modules: &[(Module, usize)]) -> Option<Side<'a>> {
        let of_layer = &self.paths[layer];
        let of_module =
            |&(module, column): &(Module, usize)| of_layer[module.index()].iter().map(move |path| (path, column));
        let paths: Vec<_> = modules.iter().flat_map(of_module).collect();
        (!paths.is_empty()).then_some(Side {
            paths,
            bank: self.bank,
            line: self.line,
            candidates: self.candidates,
        })
    }
}
