//! Quantized weights as the product wants them, and the product: y = W x for int8 activations with one scale for each
//! group of a row's numbers. Within a group the sum of products is an integer and exact; between groups it is f32, in
//! the order of the groups. So a row's result depends on nothing but the row (promise 3), on any processor.
//!
//! Weights lie in panels of 32 outputs, four inputs of one output side by side, because that is what one VNNI instruction
//! eats: 16 outputs × 4 unsigned bytes times 4 signed bytes of a row. Weights are therefore stored unsigned (int8
//! plus 128, int4 as it is), and what the shift adds is a multiple of the row's sum, which is known.

use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Outputs of one panel.
pub const PANEL: usize = 32;

/// Rows that one tile works on. Six would keep every accumulator in a register; eight spill a few at the end of a group,
/// are as fast, and leave no odd rows of the usual batches.
const TILE_ROWS: usize = 8;

/// One cache line of weights: 16 outputs × 4 inputs in int8, 32 outputs × 4 inputs in int4 (the low halves are the
/// first 16 outputs).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A weight matrix `[out, in]` in int8 or int4.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    outputs: usize,
    inputs: usize,
    /// Inputs that share a scale of the activations, and in int4 of the weights too; a multiple of 4.
    group: usize,
    /// `[panels, ⌈in / 4⌉, lines a step]`.
    lines: Vec<Line>,
    scales: Scales,
}

#[derive(Clone, Debug)]
enum Scales {
    /// w = scale · q, one scale an output, `[panels · 32]`.
    Int8(Vec<f32>),
    /// w = scale · q + min, `[panels, groups, 32]` of each.
    Int4 { scales: Vec<f16>, mins: Vec<f16> },
}

/// Weights of one output and one group in int4: w = scale · q + min, q in 0..=15.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Int4Group {
    /// The step.
    pub scale: f16,
    /// What q = 0 stands for.
    pub min: f16,
}

/// Rows of activations in int8, with one scale a group: x ≈ scale · q.
#[derive(Clone, Debug, Default)]
pub struct QuantizedRows {
    /// Numbers of a row.
    pub width: usize,
    /// Numbers that share a scale.
    pub group: usize,
    /// `[rows, ⌈width / 4⌉]`, four numbers each, the rest zero.
    pub numbers: Vec<[i8; 4]>,
    /// `[rows, groups]`.
    pub scales: Vec<f32>,
    /// −128 · Σ q of each group, `[rows, groups]`: takes back what unsigned int8 weights add.
    pub corrections: Vec<i32>,
    /// scale · Σ q of each group, `[rows, groups]`: what the weights' minima are multiplied by.
    pub totals: Vec<f32>,
}

impl QuantizedRows {
    /// Makes room for `rows` rows of `width` numbers in groups of `group`.
    pub fn resize(&mut self, rows: usize, width: usize, group: usize) {
        (self.width, self.group) = (width, group);
        self.numbers.resize(rows * self.steps(), [0; 4]);
        for floats in [&mut self.scales, &mut self.totals] {
            floats.resize(rows * width.div_ceil(group), 0.0);
        }
        self.corrections.resize(rows * width.div_ceil(group), 0);
    }

    /// Groups of a row.
    pub fn groups(&self) -> usize {
        self.width.div_ceil(self.group)
    }

    /// Fours of a row.
    pub fn steps(&self) -> usize {
        self.width.div_ceil(4)
    }

    fn rows(&self) -> usize {
        self.scales.len() / self.groups().max(1)
    }
}

impl PackedWeight {
    /// An int8 matrix of `shape` `[out, in]` without numbers yet; activations are to come in groups of `group`.
    pub fn int8(shape: [usize; 2], group: usize) -> Self {
        let panels = shape[0].div_ceil(PANEL);
        Self::empty(shape, group, 2, Scales::Int8(vec![0.0; panels * PANEL]))
    }

    /// An int4 matrix of `shape` `[out, in]` without numbers yet, in groups of `group` inputs.
    pub fn int4(shape: [usize; 2], group: usize) -> Self {
        let numbers = shape[0].div_ceil(PANEL) * shape[1].div_ceil(group) * PANEL;
        let zeros = vec![f16::ZERO; numbers];
        let (scales, mins) = (zeros.clone(), zeros);
        Self::empty(shape, group, 1, Scales::Int4 { scales, mins })
    }

    fn empty([outputs, inputs]: [usize; 2], group: usize, lines_a_step: usize, scales: Scales) -> Self {
        assert!(
            group > 0 && group.is_multiple_of(4),
            "a group is a multiple of four inputs, not {group}"
        );
        // q = 0: 128 in int8.
        let byte = if lines_a_step == 2 { 128 } else { 0 };
        let lines = vec![Line([byte; 64]); outputs.div_ceil(PANEL) * inputs.div_ceil(4) * lines_a_step];
        Self {
            outputs,
            inputs,
            group,
            lines,
            scales,
        }
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// How many inputs share a scale of the activations.
    pub fn group(&self) -> usize {
        self.group
    }

    /// Whether the weights are int4.
    pub fn is_int4(&self) -> bool {
        matches!(self.scales, Scales::Int4 { .. })
    }

    /// Bytes of weights and scales.
    pub fn bytes(&self) -> usize {
        let scales = match &self.scales {
            Scales::Int8(scales) => 4 * scales.len(),
            Scales::Int4 { scales, mins } => 2 * (scales.len() + mins.len()),
        };
        64 * self.lines.len() + scales
    }

    /// Every byte of weights and scales in a fixed order, for digests.
    pub fn visit_bytes(&self, visit: &mut dyn FnMut(&[u8])) {
        self.lines.iter().for_each(|line| visit(&line.0));
        match &self.scales {
            Scales::Int8(scales) => scales.iter().for_each(|scale| visit(&scale.to_le_bytes())),
            Scales::Int4 { scales, mins } => {
                scales
                    .iter()
                    .chain(mins)
                    .for_each(|number| visit(&number.to_le_bytes()));
            }
        }
    }

    /// Sets a row of an int8 matrix. `q` `[in]`, none of them −128.
    pub fn set_int8_row(&mut self, output: usize, q: &[i8], scale: f32) {
        let Scales::Int8(scales) = &mut self.scales else {
            panic!("an int8 row for an int4 matrix");
        };
        scales[output] = scale;
        let lines = self.panel_lines(output / PANEL);
        for (step, four) in q.chunks(4).enumerate() {
            let (line, at) = (2 * step + output % PANEL / 16, output % 16 * 4);
            for (byte, q) in self.lines[lines.start + line].0[at..].iter_mut().zip(four) {
                *byte = (i16::from(*q) + 128) as u8;
            }
        }
    }

    /// Sets a row of an int4 matrix. `q` `[in]`, each in 0..=15, and one group's numbers for each group.
    pub fn set_int4_row(&mut self, output: usize, q: &[u8], groups: &[Int4Group]) {
        let places = (0..groups.len())
            .map(|group| self.int4_place(output, group))
            .collect::<Vec<_>>();
        let Scales::Int4 { scales, mins } = &mut self.scales else {
            panic!("an int4 row for an int8 matrix");
        };
        for (place, group) in places.into_iter().zip(groups) {
            scales[place] = group.scale;
            mins[place] = group.min;
        }
        let lines = self.panel_lines(output / PANEL);
        let shift = output % PANEL / 16 * 4;
        for (step, four) in q.chunks(4).enumerate() {
            let at = output % 16 * 4;
            for (byte, q) in self.lines[lines.start + step].0[at..].iter_mut().zip(four) {
                *byte = (*byte & !(15 << shift)) | (q << shift);
            }
        }
    }

    /// A row in f32, as the product means it. `out` `[in]`.
    pub fn row(&self, output: usize, out: &mut [f32]) {
        for (input, out) in out.iter_mut().enumerate() {
            let q = f32::from(self.number(output, input));
            *out = match &self.scales {
                Scales::Int8(scales) => q * scales[output],
                Scales::Int4 { scales, mins } => {
                    let place = self.int4_place(output, input / self.group);
                    q * scales[place].to_f32() + mins[place].to_f32()
                }
            };
        }
    }

    /// A row as integers. `q` `[in]`.
    pub fn numbers(&self, output: usize, q: &mut [i16]) {
        q.iter_mut()
            .enumerate()
            .for_each(|(input, q)| *q = self.number(output, input));
    }

    /// The scale of an output's weights in int8; one for each group of them, with what q = 0 stands for, in int4.
    pub fn scales(&self, output: usize) -> Vec<[f32; 2]> {
        match &self.scales {
            Scales::Int8(scales) => vec![[scales[output], 0.0]],
            Scales::Int4 { scales, mins } => (0..self.inputs.div_ceil(self.group))
                .map(|group| self.int4_place(output, group))
                .map(|place| [scales[place].to_f32(), mins[place].to_f32()])
                .collect(),
        }
    }

    /// One weight as an integer: −127..=127 in int8, 0..=15 in int4.
    fn number(&self, output: usize, input: usize) -> i16 {
        let lines = &self.lines[self.panel_lines(output / PANEL)];
        let (half, byte) = (output % PANEL / 16, output % 16 * 4 + input % 4);
        if self.is_int4() {
            i16::from(lines[input / 4].0[byte] >> (4 * half) & 15)
        } else {
            i16::from(lines[2 * (input / 4) + half].0[byte]) - 128
        }
    }

    fn panel_lines(&self, panel: usize) -> Range<usize> {
        let lines = self.inputs.div_ceil(4) * if self.is_int4() { 1 } else { 2 };
        panel * lines..(panel + 1) * lines
    }

    fn int4_place(&self, output: usize, group: usize) -> usize {
        (output / PANEL * self.inputs.div_ceil(self.group) + group) * PANEL + output % PANEL
    }

    /// y = W x for all rows, whose outputs go to the sink.
    pub fn product(&self, x: &QuantizedRows, sink: &impl Sink) {
        products(&[self], x, sink);
    }

    /// Neighbouring panels that one worker takes: as many as stay in its second cache while all rows pass by, and few enough
    /// that every thread gets some.
    fn strip(&self) -> usize {
        const CACHED_BYTES: usize = 160 << 10;
        let panels = self.outputs.div_ceil(PANEL);
        let cached = CACHED_BYTES / (64 * self.panel_lines(0).len()).max(1);
        cached.clamp(1, panels.div_ceil(4 * rayon::current_num_threads()).max(1))
    }

    /// How many strips there are.
    pub fn workers(&self) -> usize {
        self.outputs.div_ceil(PANEL).div_ceil(self.strip())
    }
}

/// The products of several matrices of one shape with the same rows: a row gets a panel of each before the next panel.
pub fn products(weights: &[&PackedWeight], x: &QuantizedRows, sink: &impl Sink) {
    let first = weights[0];
    for weight in weights {
        assert_eq!(weight.shape(), first.shape(), "matrices of one shape");
        assert_eq!(
            (x.width, x.group),
            (weight.inputs, weight.group),
            "activations made for this matrix"
        );
    }
    let (panels, strip) = (first.outputs.div_ceil(PANEL), first.strip());
    (0..first.workers()).into_par_iter().for_each(|worker| {
        let panels = worker * strip..panels.min((worker + 1) * strip);
        let panels: Vec<Panel> = panels
            .flat_map(|panel| {
                weights
                    .iter()
                    .enumerate()
                    .map(move |(matrix, weight)| (panel, matrix, weight))
            })
            .map(|(panel, matrix, weight)| {
                Panel::of(
                    weight,
                    panel,
                    Piece {
                        worker,
                        matrix,
                        first: panel * PANEL,
                    },
                )
            })
            .collect();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("fma");
            if wide && has!("avx512vnni") {
                // SAFETY: the processor has just said that it has the features that the tiles are compiled for.
                unsafe {
                    match first.scales {
                        Scales::Int8(_) => vnni::strip::<false>(&panels, x, sink),
                        Scales::Int4 { .. } => vnni::strip::<true>(&panels, x, sink),
                    }
                }
                return;
            }
        }
        panels.iter().for_each(|panel| portable_panel(panel, x, sink));
    });
}

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
struct Panel<'a> {
    piece: Piece,
    /// How many of its outputs there are.
    valid: usize,
    lines: &'a [Line],
    scales: PanelScales<'a>,
}

#[derive(Clone, Copy)]
enum PanelScales<'a> {
    Int8(&'a [f32; PANEL]),
    /// By group.
    Int4 {
        scales: &'a [[f16; PANEL]],
        mins: &'a [[f16; PANEL]],
    },
}

impl<'a> Panel<'a> {
    fn of(weight: &'a PackedWeight, panel: usize, piece: Piece) -> Self {
        let groups = weight.inputs.div_ceil(weight.group);
        let scales = match &weight.scales {
            Scales::Int8(scales) => PanelScales::Int8(&scales.as_chunks().0[panel]),
            Scales::Int4 { scales, mins } => PanelScales::Int4 {
                scales: &scales.as_chunks().0[panel * groups..][..groups],
                mins: &mins.as_chunks().0[panel * groups..][..groups],
            },
        };
        Self {
            piece,
            valid: PANEL.min(weight.outputs - panel * PANEL),
            lines: &weight.lines[weight.panel_lines(panel)],
            scales,
        }
    }

    /// Hands a row's outputs on.
    #[inline(always)]
    fn give(&self, sink: &impl Sink, row: usize, values: &mut [f32; PANEL]) {
        sink.take(self.piece, row, &mut values[..self.valid]);
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

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{PANEL, Panel, PanelScales, QuantizedRows, Sink, TILE_ROWS};
    use std::arch::x86_64::{
        __m256i, __m512, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
    };

    /// All rows through neighbouring panels, a few rows at a time, so that what is written of a row lies side by side.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
    pub fn strip<const INT4: bool>(panels: &[Panel], x: &QuantizedRows, sink: &impl Sink) {
        for row in (0..x.rows()).step_by(TILE_ROWS) {
            for panel in panels {
                match x.rows() - row {
                    1 => tile::<1, INT4>(panel, x, row, sink),
                    2 => tile::<2, INT4>(panel, x, row, sink),
                    3 => tile::<3, INT4>(panel, x, row, sink),
                    4 => tile::<4, INT4>(panel, x, row, sink),
                    5 => tile::<5, INT4>(panel, x, row, sink),
                    6 => tile::<6, INT4>(panel, x, row, sink),
                    7 => tile::<7, INT4>(panel, x, row, sink),
                    _ => tile::<TILE_ROWS, INT4>(panel, x, row, sink),
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma")]
    #[inline]
    fn tile<const ROWS: usize, const INT4: bool>(panel: &Panel, x: &QuantizedRows, first_row: usize, sink: &impl Sink) {
        let (groups, steps, group_steps) = (x.groups(), x.steps(), x.group / 4);
        let lines_a_step = if INT4 { 1 } else { 2 };
        assert!(panel.lines.len() == steps * lines_a_step && x.numbers.len() >= (first_row + ROWS) * steps);
        let last = (first_row + ROWS) * groups;
        assert!(x.scales.len() >= last && x.corrections.len() >= last && x.totals.len() >= last);
        let numbers = x.numbers[first_row * steps..].as_ptr().cast::<i32>();
        let lines = panel.lines.as_ptr().cast::<u8>();
        let low_halves = _mm512_set1_epi8(15);
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for group in 0..groups {
            // SAFETY: `row < ROWS` and `group < groups`, so the index lies before `last`, as asserted above.
            let of_row = |numbers: &[f32], row: usize| unsafe {
                _mm512_set1_ps(*numbers.get_unchecked((first_row + row) * groups + group))
            };
            let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
            if !INT4 {
                for (row, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: as above.
                    let correction = unsafe { *x.corrections.get_unchecked((first_row + row) * groups + group) };
                    *dots = [_mm512_set1_epi32(correction); 2];
                }
            }
            for step in group * group_steps..steps.min((group + 1) * group_steps) {
                // SAFETY: `step < steps`, and the assertion above says that the panel has `steps · lines_a_step`
                // lines of 64 bytes.
                let weights = unsafe {
                    let line = _mm512_loadu_si512(lines.add(64 * lines_a_step * step).cast());
                    if INT4 {
                        let high = _mm512_srli_epi16::<4>(line);
                        [_mm512_and_si512(line, low_halves), _mm512_and_si512(high, low_halves)]
                    } else {
                        [line, _mm512_loadu_si512(lines.add(128 * step + 64).cast())]
                    }
                };
                for (row, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: `row < ROWS` and `step < steps`: within the numbers, as asserted above.
                    let four = _mm512_set1_epi32(unsafe { numbers.add(row * steps + step).read_unaligned() });
                    dots[0] = _mm512_dpbusd_epi32(dots[0], weights[0], four);
                    dots[1] = _mm512_dpbusd_epi32(dots[1], weights[1], four);
                }
            }
            if let (true, PanelScales::Int4 { scales, mins }) = (INT4, panel.scales) {
                let (scales, mins) = (halves(&scales[group]), halves(&mins[group]));
                for row in 0..ROWS {
                    let (scale, total) = (of_row(&x.scales, row), of_row(&x.totals, row));
                    for half in 0..2 {
                        let dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[row][half]), scales[half]);
                        let sum = _mm512_fmadd_ps(dot, scale, sums[row][half]);
                        sums[row][half] = _mm512_fmadd_ps(mins[half], total, sum);
                    }
                }
            } else {
                for row in 0..ROWS {
                    let scale = of_row(&x.scales, row);
                    for half in 0..2 {
                        let dot = _mm512_cvtepi32_ps(dots[row][half]);
                        sums[row][half] = _mm512_fmadd_ps(dot, scale, sums[row][half]);
                    }
                }
            }
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            let mut out = [0.0; PANEL];
            for half in 0..2 {
                if let PanelScales::Int8(scales) = panel.scales {
                    // SAFETY: sixteen of the 32 scales.
                    let scales = unsafe { _mm512_loadu_ps(scales[16 * half..][..16].as_ptr()) };
                    sums[half] = _mm512_mul_ps(sums[half], scales);
                }
                // SAFETY: sixteen of the 32 outputs.
                unsafe { _mm512_storeu_ps(out[16 * half..][..16].as_mut_ptr(), sums[half]) };
            }
            panel.give(sink, first_row + row, &mut out);
        }
    }

    /// 32 half-precision numbers in f32.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn halves(numbers: &[half::f16; PANEL]) -> [__m512; 2] {
        let at = numbers.as_ptr().cast::<__m256i>();
        // SAFETY: 32 numbers of two bytes are two vectors of 32 bytes.
        unsafe {
            [
                _mm512_cvtph_ps(at.read_unaligned()),
                _mm512_cvtph_ps(at.add(1).read_unaligned()),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::{Form, Input};
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
                    portable_rows(&Panel::of(&weight, panel, piece), input.quantized(), &safe);
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
