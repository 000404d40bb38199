//! The tile in AVX-512 VNNI: one instruction multiplies 16 outputs × 4 unsigned bytes of weights with 4 signed bytes of a row
//! and adds them up, exactly. Its safe twin is in [`super::tile`].

use super::panel::{PANEL, Panel, PanelScales, Sink};
use super::quantized::QuantizedRows;
use std::arch::x86_64::{
    __m256i, __m512, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

/// Rows that one tile works on. Six would keep every accumulator in a register; eight spill a few at the end of a group,
/// are as fast, and leave no odd rows of the usual batches.
const TILE_ROWS: usize = 8;

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
