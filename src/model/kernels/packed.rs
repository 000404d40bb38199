//! Quantized weights as the product wants them, and the product: y = W x for int8 activations with one scale for each
//! group of a row's numbers. Panels of weights meet rows in [`super::tile`].
//!
//! Weights lie in panels of 32 outputs, four inputs of one output side by side, because that is what one VNNI instruction
//! eats: 16 outputs × 4 unsigned bytes times 4 signed bytes of a row. Weights are therefore stored unsigned (int8
//! plus 128, int4 as it is), and what the shift adds is a multiple of the row's sum, which is known.

use super::panel::{Line, PANEL, Panel, PanelScales, Piece, Sink};
use super::quantized::QuantizedRows;
use super::tile::Tile;
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

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
    tile: Tile,
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
            tile: Tile::fastest(),
        }
    }

    /// The same matrix with its products computed by another tile than this processor's fastest, to compare them.
    pub fn by(mut self, tile: Tile) -> Self {
        self.tile = tile;
        self
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

    /// What a matrix of `shape` `[out, in]` will take, in int4 in groups of `int4_group` inputs, or in int8.
    pub fn bytes_of([outputs, inputs]: [usize; 2], int4_group: Option<usize>) -> usize {
        let (panels, steps) = (outputs.div_ceil(PANEL), inputs.div_ceil(4));
        match int4_group {
            Some(group) => panels * (64 * steps + 2 * 2 * PANEL * inputs.div_ceil(group)),
            None => panels * (2 * 64 * steps + 4 * PANEL),
        }
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

    /// The panel of that number, whose outputs a sink will know as `piece`.
    pub(super) fn panel(&self, panel: usize, piece: Piece) -> Panel<'_> {
        let groups = self.inputs.div_ceil(self.group);
        let scales = match &self.scales {
            Scales::Int8(scales) => PanelScales::Int8(&scales.as_chunks().0[panel]),
            Scales::Int4 { scales, mins } => PanelScales::Int4 {
                scales: &scales.as_chunks().0[panel * groups..][..groups],
                mins: &mins.as_chunks().0[panel * groups..][..groups],
            },
        };
        Panel {
            piece,
            valid: PANEL.min(self.outputs - panel * PANEL),
            lines: &self.lines[self.panel_lines(panel)],
            scales,
        }
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
                weight.panel(
                    panel,
                    Piece {
                        worker,
                        matrix,
                        first: panel * PANEL,
                    },
                )
            })
            .collect();
        first.tile.strip(&panels, x, sink);
    });
}
