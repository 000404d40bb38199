//! Blocks: how ggml stores numbers. Each type has so many weights in so many bytes; the types that models are shipped in are
//! turned into `f32` by the arithmetic of ggml's reference code, operation for operation, and of all others only the layout is
//! known, so that a file that holds them can be checked and the type named.

use half::f16;
use std::fmt;

/// How the numbers of a tensor are stored: the types that can be dequantized by name, all others by their layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum BlockType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
    /// 32 weights: f16 scale, 4-bit values around 8.
    Q4_0,
    /// 32 weights: f16 scale and minimum, 4-bit values.
    Q4_1,
    /// 32 weights: f16 scale, 5-bit values around 16.
    Q5_0,
    /// 32 weights: f16 scale and minimum, 5-bit values.
    Q5_1,
    /// 32 weights: f16 scale, 8-bit signed values.
    Q8_0,
    /// 256 weights: f16 scale and minimum of eight 6-bit scales and minima, 4-bit values.
    Q4_K,
    /// 256 weights: the same with 5-bit values.
    Q5_K,
    /// 256 weights: f16 scale of sixteen 8-bit scales, 6-bit values around 32.
    Q6_K,
    /// A type that ggml knows and this reader cannot dequantize.
    Other(Layout),
}

/// The shape of one block: its name in ggml, how many weights it has and how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The name in ggml.
    pub name: &'static str,
    /// How many weights one block has.
    pub weights: usize,
    /// How many bytes one block takes.
    pub bytes: usize,
}

/// What turns whole blocks into numbers; both slices have equally many of them.
pub(super) type Decoder = fn(&[u8], &mut [f32]);

impl BlockType {
    /// The types that can be read as `f32`.
    pub const DEQUANTIZED: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// The type with this number in a file.
    pub fn from_id(id: u32) -> Option<Self> {
        let other = |name, weights, bytes| Self::Other(Layout { name, weights, bytes });
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            9 => other("Q8_1", 32, 36),
            10 => other("Q2_K", 256, 84),
            11 => other("Q3_K", 256, 110),
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            15 => other("Q8_K", 256, 292),
            16 => other("IQ2_XXS", 256, 66),
            17 => other("IQ2_XS", 256, 74),
            18 => other("IQ3_XXS", 256, 98),
            19 => other("IQ1_S", 256, 50),
            20 => other("IQ4_NL", 32, 18),
            21 => other("IQ3_S", 256, 110),
            22 => other("IQ2_S", 256, 82),
            23 => other("IQ4_XS", 256, 136),
            24 => other("I8", 1, 1),
            25 => other("I16", 1, 2),
            26 => other("I32", 1, 4),
            27 => other("I64", 1, 8),
            28 => other("F64", 1, 8),
            29 => other("IQ1_M", 256, 56),
            30 => Self::BF16,
            34 => other("TQ1_0", 256, 54),
            35 => other("TQ2_0", 256, 66),
            39 => other("MXFP4", 32, 17),
            40 => other("NVFP4", 64, 36),
            41 => other("Q1_0", 128, 18),
            _ => return None,
        })
    }

    /// The block's name and sizes.
    pub fn layout(self) -> Layout {
        let (name, weights, bytes) = match self {
            Self::F32 => ("F32", 1, 4),
            Self::F16 => ("F16", 1, 2),
            Self::BF16 => ("BF16", 1, 2),
            Self::Q4_0 => ("Q4_0", 32, 18),
            Self::Q4_1 => ("Q4_1", 32, 20),
            Self::Q5_0 => ("Q5_0", 32, 22),
            Self::Q5_1 => ("Q5_1", 32, 24),
            Self::Q8_0 => ("Q8_0", 32, 34),
            Self::Q4_K => ("Q4_K", 256, 144),
            Self::Q5_K => ("Q5_K", 256, 176),
            Self::Q6_K => ("Q6_K", 256, 210),
            Self::Other(layout) => return layout,
        };
        Layout { name, weights, bytes }
    }

    /// What turns whole blocks into numbers.
    pub(super) fn decoder(self) -> Option<Decoder> {
        Some(match self {
            Self::F32 => |bytes, values| {
                each_block(bytes, values, |b: &[u8; 4], v: &mut [f32; 1]| {
                    v[0] = f32::from_le_bytes(*b)
                })
            },
            Self::F16 => |bytes, values| each_block(bytes, values, |b: &[u8; 2], v: &mut [f32; 1]| v[0] = f16_at(b, 0)),
            Self::BF16 => |bytes, values| each_block(bytes, values, bf16),
            Self::Q4_0 => |bytes, values| each_block(bytes, values, q4_0),
            Self::Q4_1 => |bytes, values| each_block(bytes, values, q4_1),
            Self::Q5_0 => |bytes, values| each_block(bytes, values, q5_0),
            Self::Q5_1 => |bytes, values| each_block(bytes, values, q5_1),
            Self::Q8_0 => |bytes, values| each_block(bytes, values, q8_0),
            Self::Q4_K => |bytes, values| each_block(bytes, values, q4_k),
            Self::Q5_K => |bytes, values| each_block(bytes, values, q5_k),
            Self::Q6_K => |bytes, values| each_block(bytes, values, q6_k),
            Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layout().name)
    }
}

/// Runs `decode` over all blocks. `bytes` and `values` are whole blocks, and equally many of them.
fn each_block<const B: usize, const W: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; B], &mut [f32; W]),
) {
    let (blocks, _) = bytes.as_chunks::<B>();
    let (weights, _) = values.as_chunks_mut::<W>();
    for (block, weights) in blocks.iter().zip(weights) {
        decode(block, weights);
    }
}

fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn bf16(block: &[u8; 2], values: &mut [f32; 1]) {
    values[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}

/// The 4-bit values of a 32-weight block lie in 16 bytes, the first half of the block in the low nibbles.
fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    for (i, &byte) in block[2..].iter().enumerate() {
        values[i] = scale * (f32::from(byte & 15) - 8.0);
        values[i + 16] = scale * (f32::from(byte >> 4) - 8.0);
    }
}

fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for (i, &byte) in block[4..].iter().enumerate() {
        values[i] = scale * f32::from(byte & 15) + minimum;
        values[i + 16] = scale * f32::from(byte >> 4) + minimum;
    }
}

/// The fifth bits of a 32-weight block are the bits of one 32-bit word, in the order of the weights.
fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for (i, &byte) in block[6..].iter().enumerate() {
        values[i] = scale * (five_bits(byte & 15, fifth >> i) - 16.0);
        values[i + 16] = scale * (five_bits(byte >> 4, fifth >> (i + 16)) - 16.0);
    }
}

fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    let fifth = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (i, &byte) in block[8..].iter().enumerate() {
        values[i] = scale * five_bits(byte & 15, fifth >> i) + minimum;
        values[i + 16] = scale * five_bits(byte >> 4, fifth >> (i + 16)) + minimum;
    }
}

fn five_bits(low: u8, fifth: u32) -> f32 {
    f32::from(low | ((fifth & 1) as u8) << 4)
}

fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    for (value, &byte) in values.iter_mut().zip(&block[2..]) {
        *value = f32::from(byte as i8) * scale;
    }
}

/// Eight groups of 32 weights. Two groups share 32 bytes, the even one in the low nibbles.
fn q4_k(block: &[u8; 144], values: &mut [f32; 256]) {
    let (scales, minima) = group_scales(block);
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = &block[16 + group / 2 * 32..][..32];
        for (value, &byte) in values.iter_mut().zip(low) {
            *value = scales[group] * f32::from(byte >> (group % 2 * 4) & 15) - minima[group];
        }
    }
}

/// As Q4_K, and the fifth bits of group g are bits g of 32 more bytes.
fn q5_k(block: &[u8; 176], values: &mut [f32; 256]) {
    let (scales, minima) = group_scales(block);
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = &block[48 + group / 2 * 32..][..32];
        for ((value, &byte), &fifth) in values.iter_mut().zip(low).zip(&block[16..48]) {
            let quant = five_bits(byte >> (group % 2 * 4) & 15, u32::from(fifth >> group));
            *value = scales[group] * quant - minima[group];
        }
    }
}

/// The scales and minima of the eight groups of a Q4_K or Q5_K block, in its first 16 bytes: two f16 factors, then
/// twelve bytes with sixteen 6-bit numbers. The first four pairs lie in the low six bits of bytes 0..4 and 4..8; of the
/// other four pairs the low nibbles share bytes 8..12 and the upper two bits fill the tops of bytes 0..8.
fn group_scales(block: &[u8]) -> ([f32; 8], [f32; 8]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    let packed = &block[4..16];
    let (mut scales, mut minima) = ([0.0; 8], [0.0; 8]);
    for i in 0..4 {
        scales[i] = scale * f32::from(packed[i] & 63);
        minima[i] = minimum * f32::from(packed[i + 4] & 63);
        scales[i + 4] = scale * f32::from(packed[i + 8] & 15 | packed[i] >> 6 << 4);
        minima[i + 4] = minimum * f32::from(packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4);
    }
    (scales, minima)
}

/// Two halves of 128 weights, each four quarters of 32: a half has 64 bytes of low nibbles, shared by quarters 0 and 2
/// and by 1 and 3, and 32 bytes with two upper bits for each quarter. Sixteen weights share a signed 8-bit scale.
fn q6_k(block: &[u8; 210], values: &mut [f32; 256]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = f16_at(block, 208);
    for (eighth, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (half, quarter) = (eighth / 4, eighth % 4);
        let low = &low[half * 64 + quarter % 2 * 32..][..32];
        let high = &high[half * 32..][..32];
        for (i, value) in values.iter_mut().enumerate() {
            let quant = low[i] >> (quarter / 2 * 4) & 15 | (high[i] >> (quarter * 2) & 3) << 4;
            let group_scale = scale * f32::from(scales[eighth * 2 + i / 16] as i8);
            *value = group_scale * (f32::from(quant) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0.5, 2.0 and -1.0 as f16.
    const HALF: [u8; 2] = [0x00, 0x38];
    const TWO: [u8; 2] = [0x00, 0x40];
    const MINUS_ONE: [u8; 2] = [0x00, 0xbc];

    fn decode(block_type: BlockType, block: &[u8]) -> Vec<f32> {
        let layout = block_type.layout();
        assert_eq!(block.len(), layout.bytes);
        let mut values = vec![f32::NAN; layout.weights];
        block_type.decoder().unwrap()(block, &mut values);
        values
    }

    #[test]
    fn plain_numbers() {
        assert_eq!(decode(BlockType::F32, &1.5_f32.to_le_bytes()), [1.5]);
        assert_eq!(decode(BlockType::F16, &HALF), [0.5]);
        assert_eq!(decode(BlockType::BF16, &[0xc0, 0x3f]), [1.5]);
    }

    #[test]
    fn blocks_of_32() {
        // Byte i holds i in its low nibble and 15 - i in its high one.
        let nibbles: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let ramp = |f: &dyn Fn(f32) -> f32| -> Vec<f32> { (0..16).chain((0..16).rev()).map(|i| f(i as f32)).collect() };
        let q4_0 = [&HALF[..], &nibbles].concat();
        assert_eq!(decode(BlockType::Q4_0, &q4_0), ramp(&|q| 0.5 * (q - 8.0)));
        let q4_1 = [&HALF[..], &MINUS_ONE, &nibbles].concat();
        assert_eq!(decode(BlockType::Q4_1, &q4_1), ramp(&|q| 0.5 * q - 1.0));

        // Only weights 0 and 31 have their fifth bit.
        let fifth = [1, 0, 0, 0x80];
        let mut expected = ramp(&|q| 2.0 * (q - 16.0));
        expected[0] += 32.0;
        expected[31] += 32.0;
        let q5_0 = [&TWO[..], &fifth, &nibbles].concat();
        assert_eq!(decode(BlockType::Q5_0, &q5_0), expected);
        let mut expected = ramp(&|q| 2.0 * q - 1.0);
        expected[0] += 32.0;
        expected[31] += 32.0;
        let q5_1 = [&TWO[..], &MINUS_ONE, &fifth, &nibbles].concat();
        assert_eq!(decode(BlockType::Q5_1, &q5_1), expected);

        let signed: Vec<u8> = (0..32).map(|i| (i - 16) as i8 as u8).collect();
        let q8_0 = [&HALF[..], &signed].concat();
        let expected: Vec<f32> = (0..32).map(|i| 0.5 * (i - 16) as f32).collect();
        assert_eq!(decode(BlockType::Q8_0, &q8_0), expected);
    }

    /// Packs eight scales and minima the way the format has them.
    fn pack(scales: [u8; 8], minima: [u8; 8]) -> Vec<u8> {
        let first = (0..4).map(|i| scales[i] | scales[i + 4] >> 4 << 6);
        let second = (0..4).map(|i| minima[i] | minima[i + 4] >> 4 << 6);
        let third = (4..8).map(|i| scales[i] & 15 | minima[i] << 4);
        first.chain(second).chain(third).collect()
    }

    #[test]
    fn blocks_of_256() {
        let scales = [1, 2, 3, 63, 17, 33, 48, 62];
        let minima = [0, 5, 63, 7, 63, 31, 16, 9];
        // Weight i of group g is i / 2 plus the group's parity.
        let value = |group: usize, i: usize| (i / 2).min(14) + group % 2;
        let mut low = vec![0_u8; 128];
        for group in 0..8 {
            for i in 0..32 {
                low[group / 2 * 32 + i] |= (value(group, i) as u8) << (group % 2 * 4);
            }
        }
        let expected = |extra: &dyn Fn(usize, usize) -> usize| -> Vec<f32> {
            (0..256)
                .map(|j| {
                    let (group, i) = (j / 32, j % 32);
                    let quant = value(group, i) + extra(group, i);
                    0.5 * f32::from(scales[group]) * quant as f32 - 2.0 * f32::from(minima[group])
                })
                .collect()
        };
        let q4_k = [&HALF[..], &TWO, &pack(scales, minima), &low].concat();
        assert_eq!(decode(BlockType::Q4_K, &q4_k), expected(&|_, _| 0));
        // Weight i has its fifth bit in the group i % 8 alone.
        let fifth: Vec<u8> = (0..32).map(|i| 1 << (i % 8)).collect();
        let q5_k = [&HALF[..], &TWO, &pack(scales, minima), &fifth, &low].concat();
        assert_eq!(
            decode(BlockType::Q5_K, &q5_k),
            expected(&|group, i| if i % 8 == group { 16 } else { 0 })
        );
    }

    #[test]
    fn blocks_of_six_bits() {
        let quant = |j: usize| (j * 7 + j / 32) % 64;
        let (mut low, mut high) = (vec![0_u8; 128], vec![0_u8; 64]);
        for j in 0..256 {
            let (half, quarter, i) = (j / 128, j / 32 % 4, j % 32);
            low[half * 64 + quarter % 2 * 32 + i] |= ((quant(j) & 15) as u8) << (quarter / 2 * 4);
            high[half * 32 + i] |= ((quant(j) >> 4) as u8) << (quarter * 2);
        }
        let scales: Vec<u8> = (0..16).map(|i| (i * 3 - 20) as i8 as u8).collect();
        let block = [&low[..], &high, &scales, &HALF].concat();
        let expected: Vec<f32> = (0..256)
            .map(|j| 0.5 * (j as f32 / 16.0).floor().mul_add(3.0, -20.0) * (quant(j) as f32 - 32.0))
            .collect();
        assert_eq!(decode(BlockType::Q6_K, &block), expected);
    }
}
