//! The candidates of a batch: one line of factors each, a few kilobytes, in one flat array that every row of the
//! batch can point into. Nothing is loaded, swapped or merged to go from one candidate to the next.

use crate::model::SidePaths;

/// The factors of several candidates over one space's bases.
#[derive(Debug)]
pub struct AdapterBank {
    paths: SidePaths,
    line: usize,
    lines: Vec<f32>,
}

impl AdapterBank {
    /// A bank over these bases, whose factors are `line` numbers a candidate, with no candidates yet.
    pub fn new(paths: SidePaths, line: usize) -> Self {
        Self {
            paths,
            line,
            lines: Vec::new(),
        }
    }

    /// Replaces the candidates by these, `[candidates, line]`, numbered in order.
    pub fn set(&mut self, lines: Vec<f32>) {
        self.lines = lines;
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
