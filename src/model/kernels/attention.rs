//! Attention over a cache of blocks. A block holds sixteen tokens of one sequence; a sequence's table names its blocks
//! in order, and sequences that begin alike may name the same ones. Each row reads exactly the keys and values of its own
//! sequence up to its own position, so there is no padding and no mask, and prefill and decode are the same code.
//!
//! In a block the sixteen tokens' keys lie side by side for each dimension, so a row's scores are sixteen lanes of a sum
//! that runs over the dimensions, and the query heads that share a key head read it once.

use super::for_row_numbers;
use super::rows::{QkNorm, RopeAngles};
use super::simd::{exp, map_sum, max, simd, tanh};
use super::view::Shared;
use half::bf16;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Tokens of a block.
pub const BLOCK: usize = 16;

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvKind {
    /// f32.
    F32,
    /// bf16.
    Bf16,
    /// int8 with one scale for each token's key and value of each head.
    Int8,
}

impl KvKind {
    /// Bytes that a key or a value of one head takes.
    pub fn bytes(self, head_dim: usize) -> usize {
        match self {
            Self::F32 => 4 * head_dim,
            Self::Bf16 => 2 * head_dim,
            Self::Int8 => head_dim + 4,
        }
    }
}

/// Keys and values of one layer, by block and key head: `[head_dim, 16]` keys, then `[16, head_dim]` values.
#[derive(Debug)]
pub struct KvLayer {
    kv_heads: usize,
    head_dim: usize,
    numbers: Numbers,
    /// In int8, by block and key head: 16 scales of keys, then 16 of values.
    scales: Vec<f32>,
}

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Int8(Vec<i8>),
}

impl KvLayer {
    /// A cache of `blocks` blocks.
    pub fn new(kind: KvKind, blocks: usize, kv_heads: usize, head_dim: usize) -> Self {
        let (heads, len) = (blocks * kv_heads, blocks * kv_heads * 2 * BLOCK * head_dim);
        let (numbers, scales) = match kind {
            KvKind::F32 => (Numbers::F32(vec![0.0; len]), 0),
            KvKind::Bf16 => (Numbers::Bf16(vec![bf16::ZERO; len]), 0),
            KvKind::Int8 => (Numbers::Int8(vec![0; len]), heads * 2 * BLOCK),
        };
        Self {
            kv_heads,
            head_dim,
            numbers,
            scales: vec![0.0; scales],
        }
    }
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowAddress<'a> {
    /// The blocks of its sequence, in order.
    pub blocks: &'a [u32],
    /// Position in its sequence.
    pub position: usize,
}

/// What makes weights of the products of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// They are multiplied by this.
    pub scale: f32,
    /// And held within ±cap, by cap · tanh(x / cap).
    pub cap: Option<f32>,
    /// A row reads so many positions, the last of them its own; all before it where there is no window.
    pub window: Option<usize>,
}

/// What happens to queries and keys before they meet.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// Their norm.
    pub norm: Option<QkNorm<'a>>,
    /// Their rotary angles; none in a layer without positions.
    pub angles: Option<&'a RopeAngles>,
}

/// Normalises queries and keys and turns them by their rotary angles (arXiv 2104.09864), in place, and writes keys and values of
/// all rows to the cache. `qkv` `[rows, (heads + 2·kv_heads) · head_dim]`.
pub fn rotate_and_store(qkv: &mut [f32], cache: &mut KvLayer, rows: &[RowAddress], turn: Turn) {
    let (kv_heads, head_dim) = (cache.kv_heads, cache.head_dim);
    match &mut cache.numbers {
        Numbers::F32(numbers) => store(
            qkv,
            Target::new(numbers, None, kv_heads, head_dim),
            rows,
            turn,
            |x, _| x,
        ),
        Numbers::Bf16(numbers) => {
            let target = Target::new(numbers, None, kv_heads, head_dim);
            store(qkv, target, rows, turn, |x, _| bf16::from_f32(x));
        }
        Numbers::Int8(numbers) => {
            let target = Target::new(numbers, Some(&mut cache.scales), kv_heads, head_dim);
            store(qkv, target, rows, turn, |x, inverse| {
                (x * inverse).round_ties_even() as i8
            });
        }
    }
}

/// Where keys and values are written.
struct Target<'a, T> {
    numbers: Shared<'a, T>,
    scales: Option<Shared<'a, f32>>,
    kv_heads: usize,
    head_dim: usize,
}

impl<'a, T: Copy> Target<'a, T> {
    fn new(numbers: &'a mut [T], scales: Option<&'a mut Vec<f32>>, kv_heads: usize, head_dim: usize) -> Self {
        Self {
            numbers: Shared::new(numbers),
            scales: scales.map(|scales| Shared::new(scales.as_mut_slice())),
            kv_heads,
            head_dim,
        }
    }
}

fn store<T: Copy + Send>(
    qkv: &mut [f32],
    target: Target<T>,
    rows: &[RowAddress],
    turn: Turn,
    convert: impl Fn(f32, f32) -> T + Sync,
) {
    let (kv_heads, head_dim) = (target.kv_heads, target.head_dim);
    let width = qkv.len() / rows.len().max(1);
    let heads = width / head_dim - 2 * kv_heads;
    let qkv = Shared::new(qkv);
    for_row_numbers(rows.len(), Vec::new, |scratch: &mut Vec<f32>, row| {
        // SAFETY: every row is given to one task.
        let numbers = unsafe { qkv.part(row * width..(row + 1) * width) };
        if let Some(norm) = turn.norm {
            let (queries, keys) = numbers[..(heads + kv_heads) * head_dim].split_at_mut(heads * head_dim);
            norm.apply(queries, keys, scratch);
        }
        if let Some(angles) = turn.angles {
            angles.rotate(row, &mut numbers[..(heads + kv_heads) * head_dim], head_dim);
        }
        let RowAddress { blocks, position } = rows[row];
        let (block, token) = (blocks[position / BLOCK] as usize, position % BLOCK);
        for kv_head in 0..kv_heads {
            let place = block * kv_heads + kv_head;
            let start = place * 2 * BLOCK * head_dim;
            let key = &numbers[(heads + kv_head) * head_dim..][..head_dim];
            let value = &numbers[(heads + kv_heads + kv_head) * head_dim..][..head_dim];
            let mut inverses = [1.0; 2];
            if let Some(scales) = &target.scales {
                for (which, vector) in [key, value].into_iter().enumerate() {
                    let largest = vector.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                    let at = (place * 2 + which) * BLOCK + token;
                    // SAFETY: one token's scale; a token of a block is written by one row of a batch.
                    unsafe { scales.set(at, largest / 127.0) };
                    inverses[which] = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                }
            }
            for (dim, key) in key.iter().enumerate() {
                let at = start + dim * BLOCK + token;
                // SAFETY: one number of this token.
                unsafe { target.numbers.set(at, convert(*key, inverses[0])) };
            }
            let at = start + (BLOCK + token) * head_dim;
            // SAFETY: this token's value.
            let to = unsafe { target.numbers.part(at..at + head_dim) };
            for (to, value) in to.iter_mut().zip(value) {
                *to = convert(*value, inverses[1]);
            }
        }
    });
}

/// softmax(scale · q kᵀ) v for one row over its own sequence. `query` and `out` `[heads · head_dim]`.
pub fn attend_row(query: &[f32], cache: &KvLayer, row: RowAddress, attention: Attention, out: &mut [f32]) {
    thread_local! {
        /// The scores of one group of heads, `[4, context]`.
        static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCORES.with_borrow_mut(|scores| {
        scores.resize(HEADS_AT_ONCE * row.blocks.len() * BLOCK, 0.0);
        match &cache.numbers {
            Numbers::F32(numbers) => attend(query, numbers, cache, row, attention, scores, out),
            Numbers::Bf16(numbers) => attend(query, numbers, cache, row, attention, scores, out),
            Numbers::Int8(numbers) => attend(query, numbers, cache, row, attention, scores, out),
        }
    });
}

/// Query heads that read a key head together: as many as the registers hold.
const HEADS_AT_ONCE: usize = 4;

simd! {
    fn attend<T: IntoF32>(
        query: &[f32], numbers: &[T], cache: &KvLayer, row: RowAddress, attention: Attention, scores: &mut [f32], out: &mut [f32],
    ) {
        let group = query.len() / (cache.kv_heads * cache.head_dim);
        let width = group * cache.head_dim;
        for kv_head in 0..cache.kv_heads {
            let (query, out) = (&query[kv_head * width..][..width], &mut out[kv_head * width..][..width]);
            // Each head's own arithmetic is the same however many run together.
            let mut head = 0;
            while head < group {
                let heads = (group - head).min(HEADS_AT_ONCE);
                let part = head * cache.head_dim..(head + heads) * cache.head_dim;
                let (query, out) = (&query[part.clone()], &mut out[part]);
                match heads {
                    1 => attend_heads::<T, 1>(query, numbers, cache, kv_head, row, attention, scores, out),
                    2 => attend_heads::<T, 2>(query, numbers, cache, kv_head, row, attention, scores, out),
                    3 => attend_heads::<T, 3>(query, numbers, cache, kv_head, row, attention, scores, out),
                    _ => attend_heads::<T, 4>(query, numbers, cache, kv_head, row, attention, scores, out),
                }
                head += heads;
            }
        }
    }
}

/// `HEADS` query heads on one key head. `query` and `out` `[HEADS · head_dim]`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn attend_heads<T: IntoF32, const HEADS: usize>(
    query: &[f32],
    numbers: &[T],
    cache: &KvLayer,
    kv_head: usize,
    row: RowAddress,
    attention: Attention,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let head_dim = cache.head_dim;
    let end = row.position + 1;
    // Blocks before the window are not looked at, and of its first block not the tokens before it.
    let start = attention.window.map_or(0, |window| end.saturating_sub(window));
    let (blocks, skipped) = (&row.blocks[start / BLOCK..end.div_ceil(BLOCK)], start % BLOCK);
    let context = end - start / BLOCK * BLOCK;
    let stride = blocks.len() * BLOCK;
    let root = attention.scale;
    let place = |block: u32| block as usize * cache.kv_heads + kv_head;
    let queries: [&[f32]; HEADS] = std::array::from_fn(|head| &query[head * head_dim..][..head_dim]);
    for (index, &block) in blocks.iter().enumerate() {
        let keys = numbers[place(block) * 2 * BLOCK * head_dim..][..BLOCK * head_dim]
            .as_chunks::<BLOCK>()
            .0;
        let mut sums = [[0.0_f32; BLOCK]; HEADS];
        for (dim, keys) in keys.iter().enumerate() {
            let keys = keys.map(T::widen);
            for head in 0..HEADS {
                let query = queries[head][dim];
                for lane in 0..BLOCK {
                    sums[head][lane] = query.mul_add(keys[lane], sums[head][lane]);
                }
            }
        }
        let scales = cache
            .scales
            .get(place(block) * 2 * BLOCK..)
            .and_then(|scales| scales.first_chunk::<BLOCK>());
        for head in 0..HEADS {
            let scores = &mut scores[head * stride + index * BLOCK..][..BLOCK];
            for lane in 0..BLOCK {
                scores[lane] = sums[head][lane] * root * scales.map_or(1.0, |scales| scales[lane]);
            }
        }
    }
    for head in 0..HEADS {
        let scores = &mut scores[head * stride..][skipped..context];
        if let Some(cap) = attention.cap {
            for score in scores.iter_mut() {
                *score = cap * tanh(*score / cap);
            }
        }
        let largest = max(scores);
        let sum = map_sum(scores, |score| exp(score - largest));
        let inverse = 1.0 / sum;
        for score in scores {
            *score *= inverse;
        }
    }
    out.fill(0.0);
    for (index, &block) in blocks.iter().enumerate() {
        let first = if index == 0 { skipped } else { 0 };
        let tokens = BLOCK.min(context - index * BLOCK);
        let values = &numbers[(place(block) * 2 + 1) * BLOCK * head_dim..][..tokens * head_dim];
        let mut weights = [[0.0_f32; BLOCK]; HEADS];
        let scales = cache
            .scales
            .get((place(block) * 2 + 1) * BLOCK..)
            .and_then(|scales| scales.first_chunk::<BLOCK>());
        for head in 0..HEADS {
            let scores = &scores[head * stride + index * BLOCK..][..BLOCK];
            for token in 0..BLOCK {
                weights[head][token] = scores[token] * scales.map_or(1.0, |scales| scales[token]);
            }
        }
        let whole = head_dim - head_dim % BLOCK;
        for dim in (0..whole).step_by(BLOCK) {
            let mut sums: [[f32; BLOCK]; HEADS] = std::array::from_fn(|head| {
                *out[head * head_dim + dim..]
                    .first_chunk()
                    .expect("a block of dimensions")
            });
            for token in first..tokens {
                let values: &[T; BLOCK] = values[token * head_dim + dim..]
                    .first_chunk()
                    .expect("a block of dimensions");
                let values = values.map(T::widen);
                for head in 0..HEADS {
                    for lane in 0..BLOCK {
                        sums[head][lane] = weights[head][token].mul_add(values[lane], sums[head][lane]);
                    }
                }
            }
            for head in 0..HEADS {
                out[head * head_dim + dim..][..BLOCK].copy_from_slice(&sums[head]);
            }
        }
        for dim in whole..head_dim {
            for token in first..tokens {
                let value = values[token * head_dim + dim].widen();
                for head in 0..HEADS {
                    let out = &mut out[head * head_dim + dim];
                    *out = weights[head][token].mul_add(value, *out);
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

impl IntoF32 for i8 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }
}

impl IntoF32 for bf16 {
    /// bf16 is the upper half of an f32; written out so that a loop over it becomes a shift.
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}
