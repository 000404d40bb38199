//! The arithmetic of the forward pass on a CPU. A batch is a set of rows, one token each, of any mix of sequences and
//! candidates; every function here works row by row, and every floating-point reduction runs inside one row in a
//! fixed order, so a row's result does not depend on its neighbours, on the number of rows, or on the number of threads
//! (promise 3). Work is split over rayon's pool, by rows or by outputs.
//!
//! A layer is four products, and each is two passes: [`Input::fill`] makes a row of activations and everything that is
//! read from it (normalised or attended, then quantized, then the side paths' first half), and a product with
//! its [`Finish`] writes what comes out. Between the first product and the second, `attention` turns and stores keys.
//!
//! This is the one room of the crate in which `unsafe` may stand: `view` looks at the memory of a tensor as a slice
//! and lets threads write to disjoint parts of one, `simd` calls the same safe code compiled for wider vectors after asking
//! the processor, and `vnni` and `avx2` are the one kernel that is written in the processor's own instructions.

mod adapter;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod input;
mod output;
mod packed;
mod panel;
mod quantized;
mod rows;
mod simd;
mod tile;
mod view;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use adapter::{Core, Side, SidePath};
pub use attention::{Attention, BLOCK, KvKind, KvLayer, RowAddress, Turn, attend_row, rotate_and_store};
pub use input::{Form, Input};
pub use output::{
    Activation, Finish, float_gated_product, float_product, packed_argmax, packed_gated_product, packed_product,
};
pub use packed::{Int4Group, PackedWeight};
pub use panel::PANEL;
pub use quantized::QuantizedRows;
pub use rows::{
    QkNorm, RopeAngles, Softmax, add_branch, argmax, log_probability, quantize_weights, rms_norm_row, soft_cap,
    softmax_span_sums, softmax_weights, span_maxima,
};
pub use tile::Tile;
pub use view::{Frozen, View, borrowed, empty, slice, slice_mut};

use rayon::prelude::*;

/// Calls `work(scratch, row)` for every row, in parallel; each task makes its own scratch.
///
/// A task gets several rows at once because one row of a small model is too little work to hand to a thread.
fn for_row_numbers<S>(rows: usize, scratch: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    let chunk = rows.div_ceil(4 * rayon::current_num_threads()).max(1);
    (0..rows.div_ceil(chunk)).into_par_iter().for_each(|task| {
        let mut scratch = scratch();
        (task * chunk..rows.min((task + 1) * chunk)).for_each(|row| work(&mut scratch, row));
    });
}
