//! The tile in AVX2, for processors without AVX-512 VNNI. They have no instruction that adds up products of bytes exactly:
//! `maddubs` saturates at 2¹⁵. So int8 multiplies pairs of 16-bit numbers, weights and rows widened, and int4, whose products
//! are small enough, adds up to eight steps of `maddubs` in 16 bits before it widens them. The sums are exact in both,
//! and the rest is in the order of the safe twin in [`super::tile`].

use super::panel::{PANEL, Panel, PanelScales, Sink};
use super::quantized::QuantizedRows;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_setzero_si256, _mm256_srli_epi16, _mm256_storeu_ps,
};
use std::ops::Range;

/// Rows that one tile works on: with half a panel, 8 of 16 registers of sums.
const TILE_ROWS: usize = 4;

/// Steps of int4 whose sums fit 16 bits: 8 · 2 · 15 · 127 = 30,480.
const STEPS_IN_16_BITS: usize = 8;

/// All rows through neighbouring panels, a few rows at a time, so that what is written of a row lies side by side.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn strip<const INT4: bool>(panels: &[Panel], x: &QuantizedRows, sink: &impl Sink) {
    let mut pairs = Vec::new();
    for row in (0..x.rows()).step_by(TILE_ROWS) {
        let rows = TILE_ROWS.min(x.rows() - row);
        if !INT4 {
            widen(&x.numbers[row * x.steps()..][..rows * x.steps()], &mut pairs);
        }
        for panel in panels {
            match rows {
                1 => tile::<1, INT4>(panel, x, &pairs, row, sink),
                2 => tile::<2, INT4>(panel, x, &pairs, row, sink),
                3 => tile::<3, INT4>(panel, x, &pairs, row, sink),
                _ => tile::<TILE_ROWS, INT4>(panel, x, &pairs, row, sink),
            }
        }
    }
}

/// The first and third, and the second and fourth, of each four numbers in 16 bits: weights come apart in these pairs by a
/// mask and a shift.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(numbers: &[[i8; 4]], pairs: &mut Vec<[[i16; 2]; 2]>) {
    pairs.resize(numbers.len(), [[0; 2]; 2]);
    // A plain loop, because the closure of an iterator's or an array's `map` is not compiled into this function and took 6 % of
    // a step.
    for (pair, &[a, b, c, d]) in pairs.iter_mut().zip(numbers) {
        *pair = [[i16::from(a), i16::from(c)], [i16::from(b), i16::from(d)]];
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tile<const ROWS: usize, const INT4: bool>(
    panel: &Panel,
    x: &QuantizedRows,
    pairs: &[[[i16; 2]; 2]],
    first_row: usize,
    sink: &impl Sink,
) {
    let (groups, steps, group_steps) = (x.groups(), x.steps(), x.group / 4);
    let lines_a_step = if INT4 { 1 } else { 2 };
    assert!(panel.lines.len() == steps * lines_a_step && x.numbers.len() >= (first_row + ROWS) * steps);
    assert!(INT4 || pairs.len() >= ROWS * steps);
    let last = (first_row + ROWS) * groups;
    assert!(x.scales.len() >= last && x.corrections.len() >= last && x.totals.len() >= last);
    let mut outs = [[0.0_f32; PANEL]; ROWS];
    for half in 0..2 {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        for group in 0..groups {
            let span = group * group_steps..steps.min((group + 1) * group_steps);
            let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
            if INT4 {
                let mut step = span.start;
                while step < span.end {
                    let end = span.end.min(step + STEPS_IN_16_BITS);
                    // SAFETY: `end <= steps`, `half < 2`, and the lines and numbers are as many as asserted above.
                    unsafe { add_int4(panel, x, first_row, half, step..end, &mut dots) };
                    step = end;
                }
            } else {
                for (row, dots) in dots.iter_mut().enumerate() {
                    // SAFETY: `row < ROWS` and `group < groups`, so the index lies before `last`, as asserted above.
                    let correction = unsafe { *x.corrections.get_unchecked((first_row + row) * groups + group) };
                    *dots = [_mm256_set1_epi32(correction); 2];
                }
                // SAFETY: `span.end <= steps`, `half < 2`, and the lines and pairs are as many as asserted above.
                unsafe { add_int8(panel, pairs, steps, half, span, &mut dots) };
            }
            for row in 0..ROWS {
                let at = (first_row + row) * groups + group;
                // SAFETY: as above.
                let (scale, total) = unsafe { (*x.scales.get_unchecked(at), *x.totals.get_unchecked(at)) };
                let (scale, total) = (_mm256_set1_ps(scale), _mm256_set1_ps(total));
                for part in 0..2 {
                    let dot = _mm256_cvtepi32_ps(dots[row][part]);
                    let sum = sums[row][part];
                    sums[row][part] = if let (true, PanelScales::Int4 { scales, mins }) = (INT4, panel.scales) {
                        let dot = _mm256_mul_ps(dot, halves(&scales[group], 2 * half + part));
                        let sum = _mm256_fmadd_ps(dot, scale, sum);
                        _mm256_fmadd_ps(halves(&mins[group], 2 * half + part), total, sum)
                    } else {
                        _mm256_fmadd_ps(dot, scale, sum)
                    };
                }
            }
        }
        for (sums, out) in sums.iter_mut().zip(&mut outs) {
            for (part, sum) in sums.iter_mut().enumerate() {
                let at = 16 * half + 8 * part;
                if let PanelScales::Int8(scales) = panel.scales {
                    // SAFETY: eight of the 32 scales.
                    let scales = unsafe { _mm256_loadu_ps(scales[at..][..8].as_ptr()) };
                    *sum = _mm256_mul_ps(*sum, scales);
                }
                // SAFETY: eight of the 32 outputs.
                unsafe { _mm256_storeu_ps(out[at..][..8].as_mut_ptr(), *sum) };
            }
        }
    }
    for (row, out) in outs.iter_mut().enumerate() {
        panel.give(sink, first_row + row, out);
    }
}

/// Adds the products of some steps with half a panel, int8.
///
/// # Safety
///
/// `half < 2`, `span` ends at `steps` or before, the panel has two lines for each of the `steps`, and `pairs` are `[ROWS, steps]`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn add_int8<const ROWS: usize>(
    panel: &Panel,
    pairs: &[[[i16; 2]; 2]],
    steps: usize,
    half: usize,
    span: Range<usize>,
    dots: &mut [[__m256i; 2]; ROWS],
) {
    let (lines, pairs) = (panel.lines.as_ptr().cast::<__m256i>(), pairs.as_ptr().cast::<i32>());
    let low_bytes = _mm256_set1_epi16(255);
    for step in span {
        // SAFETY: a line is two vectors, and the caller vouches for the lines.
        let weights = unsafe {
            let at = lines.add(4 * step + 2 * half);
            [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))]
        };
        let even = [
            _mm256_and_si256(weights[0], low_bytes),
            _mm256_and_si256(weights[1], low_bytes),
        ];
        let odd = [_mm256_srli_epi16::<8>(weights[0]), _mm256_srli_epi16::<8>(weights[1])];
        for (row, dots) in dots.iter_mut().enumerate() {
            // SAFETY: two pairs a step, and the caller vouches for them; they have the alignment of 16 bits.
            let (x_even, x_odd) = unsafe {
                let at = pairs.add(2 * (row * steps + step));
                (at.read_unaligned(), at.add(1).read_unaligned())
            };
            let (x_even, x_odd) = (_mm256_set1_epi32(x_even), _mm256_set1_epi32(x_odd));
            for part in 0..2 {
                dots[part] = _mm256_add_epi32(dots[part], _mm256_madd_epi16(even[part], x_even));
                dots[part] = _mm256_add_epi32(dots[part], _mm256_madd_epi16(odd[part], x_odd));
            }
        }
    }
}

/// Adds the products of at most [`STEPS_IN_16_BITS`] steps with half a panel, int4.
///
/// # Safety
///
/// `half < 2`, `span` ends at the row's steps or before, the panel has a line for each step, and there are `ROWS` rows from
/// `first_row`.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn add_int4<const ROWS: usize>(
    panel: &Panel,
    x: &QuantizedRows,
    first_row: usize,
    half: usize,
    span: Range<usize>,
    dots: &mut [[__m256i; 2]; ROWS],
) {
    let steps = x.steps();
    let lines = panel.lines.as_ptr().cast::<__m256i>();
    let low_halves = _mm256_set1_epi8(15);
    let mut small = [[_mm256_setzero_si256(); 2]; ROWS];
    for step in span {
        // SAFETY: a line is two vectors, and the caller vouches for the lines.
        let mut weights = unsafe {
            let at = lines.add(2 * step);
            [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))]
        };
        for weights in &mut weights {
            let chosen = if half == 0 {
                *weights
            } else {
                _mm256_srli_epi16::<4>(*weights)
            };
            *weights = _mm256_and_si256(chosen, low_halves);
        }
        for (row, small) in small.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the rows; four bytes have no alignment of their own.
            let four = unsafe {
                let numbers = x.numbers.as_ptr().add((first_row + row) * steps + step);
                _mm256_set1_epi32(numbers.cast::<i32>().read_unaligned())
            };
            for part in 0..2 {
                small[part] = _mm256_add_epi16(small[part], _mm256_maddubs_epi16(weights[part], four));
            }
        }
    }
    let ones = _mm256_set1_epi16(1);
    for (dots, small) in dots.iter_mut().zip(small) {
        for part in 0..2 {
            dots[part] = _mm256_add_epi32(dots[part], _mm256_madd_epi16(small[part], ones));
        }
    }
}

/// Eight of 32 half-precision numbers in f32, from the `part`-th eight.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halves(numbers: &[half::f16; PANEL], part: usize) -> __m256 {
    let eight = numbers[8 * part..][..8].as_ptr().cast::<__m128i>();
    // SAFETY: eight numbers of two bytes are a vector of 16 bytes.
    _mm256_cvtph_ps(unsafe { eight.read_unaligned() })
}
