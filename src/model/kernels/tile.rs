//! Where panels of weights meet rows. Within a group the sum of products is an integer and exact; between groups it is f32,
//! in the order of the groups. So a row's result depends on nothing but the row (promise 3), on any processor: this file
//! has the safe twin that says what a tile computes, and the others are the same to the last bit.

use super::panel::{PANEL, Panel, PanelScales, Sink};
use super::quantized::QuantizedRows;
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};

/// What the products of a panel are computed with. Each gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    /// AVX-512 VNNI.
    Vnni,
    /// AVX2.
    Avx2,
    /// The safe twin, compiled for AVX2 where there is AVX2.
    Safe,
}

impl Tile {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Vnni, Self::Avx2, Self::Safe];

    /// The fastest that this processor has.
    pub fn fastest() -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|tile| tile.is_here()).expect("the safe twin is always here")
    }

    /// Whether this processor has the instructions.
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            match self {
                Self::Vnni => {
                    let wide = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
                    wide && has!("avx512vnni") && has!("fma")
                }
                Self::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
                Self::Safe => true,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Safe
        }
    }

    /// All rows through neighbouring panels.
    pub fn strip(self, panels: &[Panel], x: &QuantizedRows, sink: &impl Sink) {
        assert!(self.is_here(), "this processor has no {self:?}");
        #[cfg(target_arch = "x86_64")]
        {
            let int4 = panels
                .iter()
                .any(|panel| matches!(panel.scales, PanelScales::Int4 { .. }));
            // SAFETY: here and below: the processor has just said that it has the features that the tile is compiled for.
            match (self, int4) {
                (Self::Vnni, false) => return unsafe { vnni::strip::<false>(panels, x, sink) },
                (Self::Vnni, true) => return unsafe { vnni::strip::<true>(panels, x, sink) },
                (Self::Avx2, false) => return unsafe { avx2::strip::<false>(panels, x, sink) },
                (Self::Avx2, true) => return unsafe { avx2::strip::<true>(panels, x, sink) },
                (Self::Safe, _) => {}
            }
        }
        panels.iter().for_each(|panel| portable_panel(panel, x, sink));
    }
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
        fn wider(panel: &Panel, x: &QuantizedRows, sink: &impl Sink) {
            portable_rows(panel, x, sink);
        }
        if Tile::Avx2.is_here() {
            // SAFETY: the processor has just said that it has every feature that this version is compiled for.
            return unsafe { wider(panel, x, sink) };
        }
    }
    portable_rows(panel, x, sink);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::panel::Piece;
    use crate::model::kernels::{Form, Input, Int4Group, PackedWeight};
    use crate::seed::Seed;
    use crate::skip::{Missing, skip};
    use half::f16;
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

    fn random(seed: u64, n: usize) -> Vec<f32> {
        Seed::new(seed).normals(n).iter().map(|&z| z as f32).collect()
    }

    /// A matrix of random numbers, or of the largest there are.
    fn weight([outputs, inputs]: [usize; 2], int4: bool, group: usize, largest: bool) -> PackedWeight {
        let mut weight = match int4 {
            true => PackedWeight::int4([outputs, inputs], group),
            false => PackedWeight::int8([outputs, inputs], group),
        };
        for output in 0..outputs {
            let w = if largest {
                vec![if output % 3 == 0 { -1e3 } else { 1e3 }; inputs]
            } else {
                random(output as u64, inputs)
            };
            if int4 {
                let q: Vec<u8> = w.iter().map(|w| (w * 4.0 + 8.0).clamp(0.0, 15.0) as u8).collect();
                let group = |g: usize| Int4Group {
                    scale: f16::from_f32(0.1 + g as f32),
                    min: f16::from_f32(w[g]),
                };
                let groups: Vec<Int4Group> = (0..inputs.div_ceil(weight.group())).map(group).collect();
                weight.set_int4_row(output, &q, &groups);
            } else {
                let q: Vec<i8> = w.iter().map(|w| (w * 40.0).clamp(-127.0, 127.0) as i8).collect();
                weight.set_int8_row(output, &q, 0.3 + output as f32);
            }
        }
        weight
    }

    fn sorted(bits: Bits) -> Vec<(usize, usize, u32)> {
        let mut bits = bits.0.into_inner().expect("nobody panicked");
        bits.sort_unstable();
        bits
    }

    /// Every tile that this processor has, against the portable loop compiled for any: the same bits, for every size of the last
    /// tile, widths that fill neither a step nor a group, groups of few and of many steps, outputs that do not fill a panel, and
    /// numbers so large that 16 bits would not hold a sum too many.
    #[test]
    fn the_tiles_are_their_safe_twin() {
        let (tiles, absent): (Vec<Tile>, Vec<Tile>) = Tile::ALL.into_iter().partition(|tile| tile.is_here());
        if !absent.is_empty() {
            skip(Missing::Processor, &format!("this processor cannot run {absent:?}"));
        }
        let sizes = (1..=17)
            .map(|rows| (rows, 134, 45))
            .chain([(9, 64, 96), (3, 5, 1), (5, 300, 33)]);
        for ((rows, inputs, outputs), int4) in sizes.flat_map(|sizes| [(sizes, false), (sizes, true)]) {
            for (group, largest) in [
                (32, false),
                (64, false),
                (12, false),
                (32, true),
                (64, true),
                (128, true),
            ] {
                let weight = weight([outputs, inputs], int4, group, largest);
                let mut x = random(99, rows * inputs);
                if largest {
                    x.chunks_mut(inputs)
                        .enumerate()
                        .for_each(|(row, x)| x.fill(1.0 - 2.0 * (row % 2) as f32));
                }
                let mut input = Input::default();
                input.fill([rows, inputs], Form::Int8 { group }, None, |row, out| {
                    out.copy_from_slice(&x[row * inputs..][..inputs]);
                });
                let safe = Bits(Mutex::default());
                for panel in 0..outputs.div_ceil(PANEL) {
                    let piece = Piece {
                        worker: 0,
                        matrix: 0,
                        first: panel * PANEL,
                    };
                    portable_rows(&weight.panel(panel, piece), input.quantized(), &safe);
                }
                let safe = sorted(safe);
                for &tile in &tiles {
                    let found = Bits(Mutex::default());
                    weight.clone().by(tile).product(input.quantized(), &found);
                    assert_eq!(
                        sorted(found),
                        safe,
                        "{tile:?}: {rows} rows, {inputs} -> {outputs}, int4 {int4}, groups of {group}"
                    );
                }
            }
        }
    }
}
