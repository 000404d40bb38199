//! The candidates of a batch: one line of factors each, a few kilobytes, in one flat array that every row of the
//! batch can point into. Nothing is loaded, swapped or merged to go from one candidate to the next.

use super::Space;
use crate::model::{SidePaths, Transformer};

/// The factors of several candidates over one space's bases.
#[derive(Debug)]
pub struct AdapterBank {
    paths: SidePaths,
    line: usize,
    lines: Vec<f32>,
}

impl AdapterBank {
    /// A bank over the space's bases on this model, with no candidates yet.
    pub fn new(space: &Space, model: &Transformer) -> Self {
        Self {
            paths: space.side_paths(model.config().layers),
            line: space.line,
            lines: Vec::new(),
        }
    }

    /// Replaces the candidates by these, numbered in order.
    pub fn set(&mut self, space: &Space, thetas: &[Vec<f64>]) {
        self.lines = thetas.iter().flat_map(|theta| space.line(theta)).collect();
    }

    /// How many candidates.
    pub fn candidates(&self) -> usize {
        self.lines.len().checked_div(self.line).unwrap_or(0)
    }

    /// The bases.
    pub fn paths(&self) -> &SidePaths {
        &self.paths
    }

    /// All candidates' factors, `[candidates, line]`.
    pub fn lines(&self) -> &[f32] {
        &self.lines
    }

    /// Numbers a candidate.
    pub fn line(&self) -> usize {
        self.line
    }
}
