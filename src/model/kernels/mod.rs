//! The arithmetic of the forward pass between the matrix products. A batch is a set of rows, one token each, of any
//! mix of sequences and candidates; every function here works row by row, and every floating-point reduction runs
//! inside one row in a fixed order, so a row's result does not depend on its neighbours, on the number of rows, or
//! on the number of threads (promise 3). Work is split over rayon's pool by rows.
//!
//! This is the one room of the crate in which `unsafe` may stand: `view` looks at the memory of a tensor as a
//! slice, and `simd` calls the same safe code compiled for wider vectors after asking the processor.

mod adapter;
mod attention;
mod rows;
mod simd;
mod view;

pub use adapter::{SidePath, add_side_path};
pub use attention::{KvLayer, RowAddress, attend, store};
pub use rows::{RopeAngles, dequantize, log_probability, quantize, quantize_row, remainder, rms_norm, rope, silu_mul};
pub use view::{View, empty, slice, slice_mut};

use rayon::prelude::*;

/// Calls `work(first_row, rows)` on neighbouring rows of `width` numbers, in parallel.
///
/// A task gets several rows at once because one row of a small model is too little work to hand to a thread.
fn for_rows<T: Send>(data: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = data.len() / width.max(1);
    let chunk = rows.div_ceil(4 * rayon::current_num_threads()).max(1);
    data.par_chunks_mut(chunk * width)
        .enumerate()
        .for_each(|(index, rows)| work(index * chunk, rows));
}
