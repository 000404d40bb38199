//! Weights as a tile reads them, and where it puts what comes of them.

use half::f16;

/// Outputs of one panel.
pub const PANEL: usize = 32;

/// One cache line of weights: 16 outputs × 4 inputs in int8, 32 outputs × 4 inputs in int4 (the low halves are the
/// first 16 outputs).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Which outputs a sink gets.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The strip, for sinks that keep something for each.
    pub worker: usize,
    /// Which of several matrices.
    pub matrix: usize,
    /// The first output.
    pub first: usize,
}

/// Where a product's outputs go: pieces of rows, each of at most a panel. A worker has a strip of panels; it gets the
/// pieces of a row in order, and no other worker gets them. Implementations are `#[inline(always)]`, so that they are
/// compiled with the instructions of the kernel that calls them.
pub trait Sink: Sync {
    /// `values` are the row's outputs that begin at `piece.first`.
    fn take(&self, piece: Piece, row: usize, values: &mut [f32]);
}

/// The weights of one panel.
pub struct Panel<'a> {
    /// Which it is.
    pub piece: Piece,
    /// How many of its outputs there are.
    pub valid: usize,
    /// `[⌈in / 4⌉, lines a step]`.
    pub lines: &'a [Line],
    /// What its numbers stand for.
    pub scales: PanelScales<'a>,
}

/// The scales of one panel.
#[derive(Clone, Copy)]
pub enum PanelScales<'a> {
    /// w = scale · q.
    Int8(&'a [f32; PANEL]),
    /// w = scale · q + min, by group.
    Int4 {
        /// Of each group.
        scales: &'a [[f16; PANEL]],
        /// Of each group.
        mins: &'a [[f16; PANEL]],
    },
}

impl Panel<'_> {
    /// Hands a row's outputs on.
    #[inline(always)]
    pub fn give(&self, sink: &impl Sink, row: usize, values: &mut [f32; PANEL]) {
        sink.take(self.piece, row, &mut values[..self.valid]);
    }
}
