//! Attention over a ragged cache: each row reads exactly the keys and values of its own sequence up to its own
//! position, so there is no padding and no mask, and prefill and decode are the same code. A group of query heads
//! that share a key head reads it once.

use super::simd::{exp, map_sum, max, simd};
use super::{View, empty, for_rows, slice, slice_mut};
use half::bf16;
use tch::Tensor;

/// Keys and values of one layer, `[tokens, kv_heads · head_dim]` each, in f32 or bf16.
#[derive(Debug)]
pub struct KvLayer {
    /// Keys, already rotated.
    pub keys: Tensor,
    /// Values.
    pub values: Tensor,
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAddress {
    /// Index in the cache of its sequence's first token.
    pub start: usize,
    /// Position in its sequence.
    pub position: usize,
}

/// Writes the keys and values of the rows into the cache. `qkv` `[rows, (heads + 2·kv_heads) · head_dim]`.
pub fn store(qkv: &Tensor, cache: &mut KvLayer, rows: &[RowAddress]) {
    if cache.keys.kind() == bf16::KIND {
        store_as(qkv, cache, rows, bf16::from_f32);
    } else {
        store_as(qkv, cache, rows, |x: f32| x);
    }
}

fn store_as<T: View>(qkv: &Tensor, cache: &mut KvLayer, rows: &[RowAddress], convert: impl Fn(f32) -> T) {
    let (width, kv_width) = (qkv.size()[1] as usize, cache.keys.size()[1] as usize);
    let qkv = slice::<f32>(qkv);
    let (keys, values) = (slice_mut::<T>(&mut cache.keys), slice_mut::<T>(&mut cache.values));
    for (row, address) in qkv.chunks_exact(width).zip(rows) {
        let (key, value) = row[width - 2 * kv_width..].split_at(kv_width);
        let at = (address.start + address.position) * kv_width;
        for i in 0..kv_width {
            keys[at + i] = convert(key[i]);
            values[at + i] = convert(value[i]);
        }
    }
}

/// softmax(q kᵀ / √head_dim) v for every row over its own sequence; returns `[rows, heads · head_dim]`.
pub fn attend(qkv: &Tensor, cache: &KvLayer, rows: &[RowAddress], head_dim: usize) -> Tensor {
    if cache.keys.kind() == bf16::KIND {
        attend_as::<bf16>(qkv, cache, rows, head_dim)
    } else {
        attend_as::<f32>(qkv, cache, rows, head_dim)
    }
}

fn attend_as<T: View + IntoF32>(qkv: &Tensor, cache: &KvLayer, rows: &[RowAddress], head_dim: usize) -> Tensor {
    let (width, kv_width) = (qkv.size()[1] as usize, cache.keys.size()[1] as usize);
    let q_width = width - 2 * kv_width;
    let mut out = empty::<f32>(&[rows.len(), q_width]);
    let (keys, values) = (slice::<T>(&cache.keys), slice::<T>(&cache.values));
    let qkv = slice::<f32>(qkv);
    for_rows(slice_mut(&mut out), q_width, |first, outs| {
        let mut scratch = Vec::new();
        for (index, out) in outs.chunks_exact_mut(q_width).enumerate() {
            let RowAddress { start, position } = rows[first + index];
            let context = start * kv_width..(start + position + 1) * kv_width;
            let query = &qkv[(first + index) * width..][..q_width];
            attend_row(
                query,
                &keys[context.clone()],
                &values[context],
                kv_width,
                head_dim,
                &mut scratch,
                out,
            );
        }
    });
    out
}

simd! {
    /// One row: `query` and `out` `[heads · head_dim]`, `keys` and `values` `[context, kv_width]`.
    fn attend_row<T: IntoF32>(
        query: &[f32], keys: &[T], values: &[T], kv_width: usize, head_dim: usize, scratch: &mut Vec<f32>, out: &mut [f32],
    ) {
        let context = keys.len() / kv_width;
        let group_width = query.len() / (kv_width / head_dim);
        let group = group_width / head_dim;
        let root = 1.0 / (head_dim as f32).sqrt();
        scratch.clear();
        scratch.resize(head_dim + group * context, 0.0);
        let (wide, scores) = scratch.split_at_mut(head_dim);
        for kv_head in 0..kv_width / head_dim {
            let query = &query[kv_head * group_width..][..group_width];
            let out = &mut out[kv_head * group_width..][..group_width];
            for t in 0..context {
                widen(&keys[t * kv_width + kv_head * head_dim..][..head_dim], wide);
                for head in 0..group {
                    scores[head * context + t] = super::simd::dot(&query[head * head_dim..][..head_dim], wide) * root;
                }
            }
            for scores in scores.chunks_exact_mut(context) {
                let largest = max(scores);
                let sum = map_sum(scores, |score| exp(score - largest));
                let inverse = 1.0 / sum;
                for score in scores {
                    *score *= inverse;
                }
            }
            out.fill(0.0);
            for t in 0..context {
                widen(&values[t * kv_width + kv_head * head_dim..][..head_dim], wide);
                for head in 0..group {
                    let weight = scores[head * context + t];
                    for (out, value) in out[head * head_dim..][..head_dim].iter_mut().zip(&*wide) {
                        *out = weight.mul_add(*value, *out);
                    }
                }
            }
        }
    }
}

/// What a cache may hold.
trait IntoF32: Copy {
    fn widen(self) -> f32;
}

impl IntoF32 for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl IntoF32 for bf16 {
    /// bf16 is the upper half of an f32; written out so that a loop over it becomes a shift.
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

#[inline(always)]
fn widen<T: IntoF32>(from: &[T], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.widen();
    }
}
