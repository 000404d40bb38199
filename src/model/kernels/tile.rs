//! Where panels of weights meet rows. Within a group the sum of products is an integer and exact; between groups it is f32,
//! in the order of the groups. So a row's result depends on nothing but the row (promise 3), on any processor: this file
//! has the safe twin that says what a tile computes, and the others are the same to the last bit.

use super::quantized::QuantizedRows;
#[cfg(target_arch = "x86_64")]
use super::vnni;
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

/// All rows through neighbouring panels.
pub fn strip(panels: &[Panel], x: &QuantizedRows, sink: &impl Sink) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("fma");
        if wide && has!("avx512vnni") {
            // SAFETY: the processor has just said that it has the features that the tiles are compiled for.
            unsafe {
                match panels.first().map(|panel| panel.scales) {
                    Some(PanelScales::Int8(_)) => vnni::strip::<false>(panels, x, sink),
                    Some(PanelScales::Int4 { .. }) => vnni::strip::<true>(panels, x, sink),
                    None => {}
                }
            }
            return;
        }
    }
    panels.iter().for_each(|panel| portable_panel(panel, x, sink));
}

/// The safe twin of the tiles: one row at a time, the same operations in the same order.
#[inline(always)]
fn portable_rows(panel: &Panel, x: &QuantizedRows, sink: &impl Sink) {
    let (groups, steps, group_steps) = (x.groups(), x.steps(), x.group / 4);
    for row in 0..x.rows() {
        let numbers = &x.numbers[row * steps..][..steps];
        let mut sums = [0.0_f32; PANEL];
        for (group, numbers) in numbers.chunks(group_steps).enumerate() {
            let (first, at) = (group * group_steps, row * groups + group);
            let scale = x.scales[at];
            match panel.scales {
                PanelScales::Int8(_) => {
                    let mut dots = [x.corrections[at]; PANEL];
                    let lines = panel.lines[2 * first..].as_chunks::<2>().0;
                    for (four, [low, high]) in numbers.iter().zip(lines) {
                        add_products(&mut dots[..16], &low.0, four);
                        add_products(&mut dots[16..], &high.0, four);
                    }
                    for (sum, dot) in sums.iter_mut().zip(dots) {
                        *sum = (dot as f32).mul_add(scale, *sum);
                    }
                }
                PanelScales::Int4 { scales, mins } => {
                    let mut dots = [0_i32; PANEL];
                    for (four, line) in numbers.iter().zip(&panel.lines[first..]) {
                        add_products(&mut dots[..16], &line.0.map(|byte| byte & 15), four);
                        add_products(&mut dots[16..], &line.0.map(|byte| byte >> 4), four);
                    }
                    let total = x.totals[at];
                    for (index, sum) in sums.iter_mut().enumerate() {
                        let (step, min) = (scales[group][index].to_f32(), mins[group][index].to_f32());
                        *sum = (dots[index] as f32 * step).mul_add(scale, *sum);
                        *sum = min.mul_add(total, *sum);
                    }
                }
            }
        }
        if let PanelScales::Int8(scales) = panel.scales {
            for (sum, scale) in sums.iter_mut().zip(scales) {
                *sum *= scale;
            }
        }
        panel.give(sink, row, &mut sums);
    }
}

#[inline(always)]
fn add_products(dots: &mut [i32], weights: &[u8; 64], four: &[i8; 4]) {
    let x = four.map(i32::from);
    for (dot, w) in dots.iter_mut().zip(weights.as_chunks::<4>().0) {
        let w = w.map(i32::from);
        *dot += w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
    }
}

fn portable_panel(panel: &Panel, x: &QuantizedRows, sink: &impl Sink) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2(panel: &Panel, x: &QuantizedRows, sink: &impl Sink) {
            portable_rows(panel, x, sink);
        }
        use std::arch::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") && has!("f16c") {
            // SAFETY: the processor has just said that it has every feature that this version is compiled for.
            return unsafe { avx2(panel, x, sink) };
        }
    }
    portable_rows(panel, x, sink);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::{Form, Input, Int4Group, PackedWeight};
    use crate::seed::Seed;
    use std::sync::Mutex;

    /// Keeps the bits of every output.
    struct Bits(Mutex<Vec<(usize, usize, u32)>>);

    impl Sink for Bits {
        fn take(&self, piece: Piece, row: usize, values: &mut [f32]) {
            let bits = values
                .iter()
                .enumerate()
                .map(|(i, value)| (row, piece.first + i, value.to_bits()));
            self.0.lock().expect("nobody panicked").extend(bits);
        }
    }

    /// Whatever this processor has, against the portable loop compiled for any: the same bits, for every size of the last tile,
    /// widths that fill neither a step nor a group, and outputs that do not fill a panel.
    #[test]
    fn the_tiles_are_their_safe_twin() {
        let random =
            |seed: u64, n: usize| -> Vec<f32> { Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect() };
        for (rows, inputs, outputs) in (1..=17).map(|rows| (rows, 134, 45)).chain([(9, 64, 96), (3, 5, 1)]) {
            for int4 in [false, true] {
                let mut weight = match int4 {
                    true => PackedWeight::int4([outputs, inputs], 32),
                    false => PackedWeight::int8([outputs, inputs], 64),
                };
                for output in 0..outputs {
                    let w = random(output as u64, inputs);
                    if int4 {
                        let q: Vec<u8> = w.iter().map(|w| (w * 4.0 + 8.0).clamp(0.0, 15.0) as u8).collect();
                        let group = |g: usize| Int4Group {
                            scale: f16::from_f32(0.1 + g as f32),
                            min: f16::from_f32(w[g]),
                        };
                        let groups: Vec<Int4Group> = (0..inputs.div_ceil(32)).map(group).collect();
                        weight.set_int4_row(output, &q, &groups);
                    } else {
                        let q: Vec<i8> = w.iter().map(|w| (w * 40.0).clamp(-127.0, 127.0) as i8).collect();
                        weight.set_int8_row(output, &q, 0.3 + output as f32);
                    }
                }
                let x = random(99, rows * inputs);
                let mut input = Input::default();
                let group = weight.group();
                input.fill([rows, inputs], Form::Int8 { group }, None, |row, out| {
                    out.copy_from_slice(&x[row * inputs..][..inputs]);
                });
                let (fast, safe) = (Bits(Mutex::default()), Bits(Mutex::default()));
                weight.product(input.quantized(), &fast);
                for panel in 0..outputs.div_ceil(PANEL) {
                    let piece = Piece {
                        worker: 0,
                        matrix: 0,
                        first: panel * PANEL,
                    };
                    portable_rows(&weight.panel(panel, piece), input.quantized(), &safe);
                }
                let sorted = |bits: Bits| {
                    let mut bits = bits.0.into_inner().expect("nobody panicked");
                    bits.sort_unstable();
                    bits
                };
                assert_eq!(
                    sorted(fast),
                    sorted(safe),
                    "{rows} rows, {inputs} -> {outputs}, int4 {int4}"
                );
            }
        }
    }
}
