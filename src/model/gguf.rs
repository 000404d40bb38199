//! GGUF files: the metadata, the tensor table, and the weights as `f32`. A file is mapped into memory and checked once
//! when it is opened: every length, type and offset in its header is held against the bytes that are there, so that
//! what comes later can rely on them and nothing is ever allocated because a header said so. Metadata values stay where
//! they lie in the file and are decoded when they are asked for. Shapes are row-major here, `[out, in]`, the reverse of
//! ggml's `ne`. Dequantization repeats the arithmetic of ggml's reference code operation for operation, and the raw
//! blocks are there for an import that keeps them as they are. The format: `docs/gguf.md` in the ggml repository.

use crate::error::{Error, Result};
use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An open GGUF file, version 2 or 3, little endian.
pub struct Gguf {
    path: PathBuf,
    bytes: Bytes,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    position: HashMap<String, usize>,
}

impl Gguf {
    /// Maps the file at `path` and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let map = super::map::open(path)?;
        Self::parse(path, Bytes::Mapped(map))
    }

    /// Gives the file's pages back to the system until they are looked at again.
    pub fn release(&self) {
        if let Bytes::Mapped(map) = &self.bytes {
            super::map::release(map);
        }
    }

    /// The same from bytes in memory; `path` only names them in errors.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(path, Bytes::Owned(bytes))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<Self> {
        let (metadata, tensors) = read_header(&bytes).map_err(|what| Error::file(path, what))?;
        let mut position = HashMap::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            if position.insert(tensor.name.clone(), index).is_some() {
                return Err(Error::file(
                    path,
                    format!("two tensors have the name `{}`", tensor.name),
                ));
            }
        }
        let file = Self {
            path: path.to_path_buf(),
            bytes,
            metadata,
            tensors,
            position,
        };
        match file.find::<u32>("split.count")? {
            Some(parts) if parts > 1 => Err(file.error(format!(
                "this is one of {parts} parts of a model; join them with `llama-gguf-split --merge` first"
            ))),
            _ => Ok(file),
        }
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    /// The value of `key`, or `None` where the file does not have the key. A value of another type is an error.
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        match T::from_value(value, &self.bytes) {
            Some(decoded) => Ok(Some(decoded)),
            None => Err(self.error(format!(
                "metadata key `{key}` holds {}; {} was expected",
                value.describe(&self.bytes),
                T::EXPECTED
            ))),
        }
    }

    /// The value of `key`, which must be there.
    pub fn get<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        match self.find(key)? {
            Some(value) => Ok(value),
            None => Err(self.error(format!("metadata key `{key}` is missing; {} was expected", T::EXPECTED))),
        }
    }

    /// A whole number that fits 32 bits, of whatever integer type.
    pub fn get_u32(&self, key: &str) -> Result<u32> {
        self.get(key)
    }

    /// A floating-point number.
    pub fn get_f32(&self, key: &str) -> Result<f32> {
        self.get(key)
    }

    /// A truth value.
    pub fn get_bool(&self, key: &str) -> Result<bool> {
        self.get(key)
    }

    /// A text.
    pub fn get_str(&self, key: &str) -> Result<&str> {
        self.get(key)
    }

    /// A list of texts.
    pub fn get_strings(&self, key: &str) -> Result<Vec<&str>> {
        self.get(key)
    }

    /// A list of whole numbers.
    pub fn get_i32s(&self, key: &str) -> Result<Vec<i32>> {
        self.get(key)
    }

    /// A list of floating-point numbers.
    pub fn get_f32s(&self, key: &str) -> Result<Vec<f32>> {
        self.get(key)
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The table entry of one tensor, `None` where the file does not have it.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.position.get(name).map(|&index| &self.tensors[index])
    }

    fn required_tensor(&self, name: &str) -> Result<&TensorInfo> {
        self.tensor(name).ok_or_else(|| {
            self.error(format!(
                "tensor `{name}` is missing among the {} tensors of the file",
                self.tensors.len()
            ))
        })
    }

    /// The bytes of one tensor as they lie in the file: rows of [`TensorInfo::row_bytes`] bytes each, every row a
    /// whole number of blocks of its [`BlockType`].
    pub fn raw(&self, name: &str) -> Result<&[u8]> {
        Ok(&self.bytes[self.required_tensor(name)?.bytes.clone()])
    }

    /// One tensor as `f32`, row-major; rows are converted in parallel.
    pub fn dequantize(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.required_tensor(name)?;
        let decode = self.decoder(tensor)?;
        let (columns, row_bytes) = (tensor.columns(), tensor.row_bytes());
        let mut values = vec![0.0; tensor.len()];
        if values.is_empty() {
            return Ok(values);
        }
        // A task has some 16 Ki weights: enough to outweigh its scheduling, little enough to share out a small tensor.
        let rows = (16_384 / columns).max(1);
        values
            .par_chunks_mut(rows * columns)
            .zip(self.bytes[tensor.bytes.clone()].par_chunks(rows * row_bytes))
            .for_each(|(values, bytes)| decode(bytes, values));
        Ok(values)
    }

    /// Some rows of one tensor as `f32` into `values`, which has to hold exactly that many.
    pub fn dequantize_rows(&self, name: &str, rows: Range<usize>, values: &mut [f32]) -> Result<()> {
        let tensor = self.required_tensor(name)?;
        let decode = self.decoder(tensor)?;
        if rows.start > rows.end || rows.end > tensor.rows() {
            return Err(self.error(format!(
                "rows {}..{} of tensor `{name}` were asked for; it has {} rows",
                rows.start,
                rows.end,
                tensor.rows()
            )));
        }
        if values.len() != rows.len() * tensor.columns() {
            return Err(self.error(format!(
                "{} rows of {} columns of tensor `{name}` do not fit a buffer of {} numbers",
                rows.len(),
                tensor.columns(),
                values.len()
            )));
        }
        let row_bytes = tensor.row_bytes();
        let bytes = &self.bytes[tensor.bytes.clone()];
        decode(&bytes[rows.start * row_bytes..rows.end * row_bytes], values);
        Ok(())
    }

    fn decoder(&self, tensor: &TensorInfo) -> Result<Decoder> {
        tensor.block_type.decoder().ok_or_else(|| {
            let supported: Vec<String> = BlockType::DEQUANTIZED.iter().map(BlockType::to_string).collect();
            self.error(format!(
                "tensor `{}` is stored as {}, which cannot be read; take a file of {}",
                tensor.name,
                tensor.block_type,
                supported.join(", ")
            ))
        })
    }

    fn error(&self, what: String) -> Error {
        Error::file(&self.path, what)
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}

/// An entry of the tensor table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// The sizes, slowest first: `[out, in]` for a matrix. Empty for a scalar.
    pub shape: Vec<usize>,
    /// How the numbers are stored.
    pub block_type: BlockType,
    /// Where its bytes lie in the file.
    pub bytes: Range<usize>,
}

impl TensorInfo {
    /// The number of numbers. Cannot overflow: the file was checked to hold them all.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The size of the fastest dimension, 1 for a scalar.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The product of all other dimensions, 1 for a vector.
    pub fn rows(&self) -> usize {
        match self.shape.split_last() {
            Some((_, slower)) => slower.iter().product(),
            None => 1,
        }
    }

    /// The bytes that one row takes.
    pub fn row_bytes(&self) -> usize {
        let layout = self.block_type.layout();
        self.columns() / layout.weights * layout.bytes
    }
}

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

type Decoder = fn(&[u8], &mut [f32]);

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
    fn decoder(self) -> Option<Decoder> {
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

/// What a metadata value can be read as.
pub trait FromValue<'a>: Sized {
    /// What the value should have been, for errors.
    const EXPECTED: &'static str;

    /// The value, `None` if it is of another type or does not fit.
    #[doc(hidden)]
    fn from_value(value: &Value, file: &'a [u8]) -> Option<Self>;
}

impl FromValue<'_> for u32 {
    const EXPECTED: &'static str = "a whole number of 32 bits";
    fn from_value(value: &Value, file: &[u8]) -> Option<Self> {
        value.integer(file)?.try_into().ok()
    }
}

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "a floating-point number";
    fn from_value(value: &Value, file: &[u8]) -> Option<Self> {
        value.float(file)
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "a truth value";
    fn from_value(value: &Value, file: &[u8]) -> Option<Self> {
        (value.kind == Kind::Bool).then(|| file[value.bytes.start] != 0)
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "a text in UTF-8";
    fn from_value(value: &Value, file: &'a [u8]) -> Option<Self> {
        if value.kind != Kind::String {
            return None;
        }
        std::str::from_utf8(&file[value.bytes.clone()]).ok()
    }
}

impl<'a> FromValue<'a> for Vec<&'a str> {
    const EXPECTED: &'static str = "a list of texts in UTF-8";
    fn from_value(value: &Value, file: &'a [u8]) -> Option<Self> {
        value
            .elements(file)?
            .map(|element| <&str>::from_value(&element, file))
            .collect()
    }
}

impl FromValue<'_> for Vec<i32> {
    const EXPECTED: &'static str = "a list of whole numbers of 32 bits";
    fn from_value(value: &Value, file: &[u8]) -> Option<Self> {
        let elements = value.elements(file)?;
        elements.map(|element| element.integer(file)?.try_into().ok()).collect()
    }
}

impl FromValue<'_> for Vec<f32> {
    const EXPECTED: &'static str = "a list of floating-point numbers";
    fn from_value(value: &Value, file: &[u8]) -> Option<Self> {
        value.elements(file)?.map(|element| element.float(file)).collect()
    }
}

/// A checked metadata value: what it is, and where it lies. A string's bytes are its text, an array's its elements.
#[derive(Clone, Debug)]
pub struct Value {
    kind: Kind,
    bytes: Range<usize>,
}

/// The types of metadata values, by their numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    /// `element` is the number of the elements' type. Arrays of arrays are walked over, and nothing here reads them.
    Array {
        element: u32,
        count: usize,
    },
    U64,
    I64,
    F64,
}

impl Kind {
    const ARRAY: u32 = 9;

    /// Every type but the array, which has its element type and length behind it.
    fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// The bytes of a value, `None` where that depends on the value.
    fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array { .. } => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array { .. } => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

impl Value {
    fn integer(&self, file: &[u8]) -> Option<i128> {
        let bytes = &file[self.bytes.clone()];
        Some(match self.kind {
            Kind::U8 => i128::from(bytes[0]),
            Kind::I8 => i128::from(bytes[0] as i8),
            Kind::U16 => i128::from(u16::from_le_bytes(bytes.try_into().ok()?)),
            Kind::I16 => i128::from(i16::from_le_bytes(bytes.try_into().ok()?)),
            Kind::U32 => i128::from(u32::from_le_bytes(bytes.try_into().ok()?)),
            Kind::I32 => i128::from(i32::from_le_bytes(bytes.try_into().ok()?)),
            Kind::U64 => i128::from(u64::from_le_bytes(bytes.try_into().ok()?)),
            Kind::I64 => i128::from(i64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        })
    }

    fn float(&self, file: &[u8]) -> Option<f32> {
        let bytes = &file[self.bytes.clone()];
        match self.kind {
            Kind::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
            Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?) as f32),
            _ => None,
        }
    }

    /// The elements of an array of scalars or strings.
    fn elements<'a>(&self, file: &'a [u8]) -> Option<impl Iterator<Item = Value> + use<'a>> {
        let Kind::Array { element, count } = self.kind else {
            return None;
        };
        let kind = Kind::from_id(element)?;
        let mut cursor = Cursor::new(file, self.bytes.start);
        Some((0..count).map(move |_| {
            let bytes = cursor
                .scalar_or_string(kind)
                .expect("the array was walked when the file was opened");
            Value { kind, bytes }
        }))
    }

    /// The value in words, short, for errors.
    fn describe(&self, file: &[u8]) -> String {
        match self.kind {
            Kind::Array { element, count } => {
                let element = if element == Kind::ARRAY {
                    "array"
                } else {
                    Kind::from_id(element).map_or("?", Kind::name)
                };
                format!("an array of {count} values of type {element}")
            }
            Kind::String => match std::str::from_utf8(&file[self.bytes.clone()]) {
                Ok(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
                Err(_) => "a text that is not UTF-8".into(),
            },
            Kind::Bool => "a truth value".into(),
            kind => match (self.integer(file), self.float(file)) {
                (Some(number), _) => format!("the {} {number}", kind.name()),
                (_, Some(number)) => format!("the {} {number}", kind.name()),
                _ => kind.name().into(),
            },
        }
    }
}

/// Reads and checks everything before the weights. Errors here and below are the sentence alone; [`Gguf::parse`] knows
/// the path.
fn read_header(file: &[u8]) -> Checked<(BTreeMap<String, Value>, Vec<TensorInfo>)> {
    let mut cursor = Cursor::new(file, 0);
    if !file.starts_with(b"GGUF") {
        return Err("this is no GGUF file: it does not begin with `GGUF`".into());
    }
    cursor.take(4, "the magic")?;
    match cursor.u32("the version")? {
        2 | 3 => {}
        version if version & 0xffff == 0 => {
            return Err("this GGUF file is big endian; only little-endian files can be read".into());
        }
        version => {
            return Err(format!("this is GGUF version {version}; versions 2 and 3 can be read"));
        }
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let key_count = cursor.u64("the number of metadata keys")?;

    // The counts only bound the loops; each turn consumes bytes of the file or fails.
    let mut metadata = BTreeMap::new();
    for _ in 0..key_count {
        let key = cursor.name("a metadata key")?;
        let kind = cursor.u32("the type of a metadata value")?;
        let value = cursor
            .value(kind, 0)
            .map_err(|what| format!("metadata key `{key}`: {what}"))?;
        if metadata.contains_key(&key) {
            return Err(format!("metadata key `{key}` is there twice"));
        }
        metadata.insert(key, value);
    }

    let alignment = match metadata.get("general.alignment").map(|value| value.integer(file)) {
        None => 32,
        Some(Some(number)) if number > 0 && number <= 1 << 20 && (number & (number - 1)) == 0 => number as usize,
        Some(_) => {
            return Err("`general.alignment` is not a power of two between 1 and 2^20".into());
        }
    };

    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(cursor.tensor()?);
    }
    // Offsets count from the first aligned byte after the table. A file without weights may end before it.
    let data = cursor.at.next_multiple_of(alignment);
    for tensor in &mut tensors {
        place(tensor, data, alignment, file.len()).map_err(|what| format!("tensor `{}`: {what}", tensor.name))?;
    }
    Ok((metadata, tensors))
}

type Checked<T> = std::result::Result<T, String>;

/// Turns the offset that a table entry came with into its place in the file.
fn place(tensor: &mut TensorInfo, data: usize, alignment: usize, file_len: usize) -> Checked<()> {
    let offset = tensor.bytes.start;
    if !offset.is_multiple_of(alignment) {
        return Err(format!(
            "its offset {offset} is not a multiple of the alignment {alignment}"
        ));
    }
    let layout = tensor.block_type.layout();
    if !tensor.columns().is_multiple_of(layout.weights) {
        return Err(format!(
            "its rows have {} columns, which is not a multiple of the {} of a {} block",
            tensor.columns(),
            layout.weights,
            layout.name
        ));
    }
    let length = tensor
        .shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .and_then(|weights| (weights / layout.weights).checked_mul(layout.bytes));
    let range = length.and_then(|length| {
        let start = data.checked_add(offset)?;
        Some(start..start.checked_add(length)?)
    });
    match range {
        Some(range) if range.end <= file_len => tensor.bytes = range,
        // An empty tensor at the end of a file that was not padded.
        Some(range) if range.is_empty() => tensor.bytes = 0..0,
        _ => {
            return Err(format!(
                "{:?} weights of type {} at offset {offset} go beyond the end of the file, which has {file_len} bytes; \
                 it was cut short or is damaged, fetch it again",
                tensor.shape, layout.name
            ));
        }
    }
    Ok(())
}

/// How deep arrays of arrays may go. No file is known to have any; the format allows them.
const MAX_ARRAY_DEPTH: usize = 4;

/// ggml's `GGML_MAX_DIMS`.
const MAX_DIMENSIONS: usize = 4;

/// Walks over a file and never past its end.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(file: &'a [u8], at: usize) -> Self {
        Self { file, at }
    }

    /// The next `count` bytes; `what` names them in the error.
    fn take(&mut self, count: usize, what: &str) -> Checked<Range<usize>> {
        let left = self.file.len() - self.at;
        if count > left {
            return Err(format!(
                "{what} takes {count} bytes at byte {} and {left} are left; the file was cut short or is damaged",
                self.at
            ));
        }
        let range = self.at..self.at + count;
        self.at = range.end;
        Ok(range)
    }

    fn u32(&mut self, what: &str) -> Checked<u32> {
        let range = self.take(4, what)?;
        Ok(u32::from_le_bytes(
            self.file[range].try_into().expect("four bytes were taken"),
        ))
    }

    fn u64(&mut self, what: &str) -> Checked<u64> {
        let range = self.take(8, what)?;
        Ok(u64::from_le_bytes(
            self.file[range].try_into().expect("eight bytes were taken"),
        ))
    }

    /// A 64-bit length that is compared with what is left before it is used. Too large for `usize` is too large.
    fn length(&mut self, what: &str) -> Checked<usize> {
        Ok(usize::try_from(self.u64(what)?).unwrap_or(usize::MAX))
    }

    fn string(&mut self, what: &str) -> Checked<Range<usize>> {
        let length = self.length(what)?;
        self.take(length, what)
    }

    /// A string that becomes a key of ours, and so has to be UTF-8.
    fn name(&mut self, what: &str) -> Checked<String> {
        let range = self.string(what)?;
        match std::str::from_utf8(&self.file[range.clone()]) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(format!("{what} at byte {} is not UTF-8", range.start)),
        }
    }

    fn scalar_or_string(&mut self, kind: Kind) -> Checked<Range<usize>> {
        match kind.size() {
            Some(size) => self.take(size, kind.name()),
            None => self.string(kind.name()),
        }
    }

    fn value(&mut self, id: u32, depth: usize) -> Checked<Value> {
        if id != Kind::ARRAY {
            let kind = Kind::from_id(id).ok_or_else(|| format!("value type {id} is unknown"))?;
            let bytes = self.scalar_or_string(kind)?;
            return Ok(Value { kind, bytes });
        }
        if depth == MAX_ARRAY_DEPTH {
            return Err(format!("arrays are nested deeper than {MAX_ARRAY_DEPTH}"));
        }
        let element = self.u32("the element type of an array")?;
        let count = self.length("the length of an array")?;
        let start = self.at;
        if let Some(size) = Kind::from_id(element).and_then(Kind::size) {
            self.take(count.saturating_mul(size), "an array")?;
        } else {
            for _ in 0..count {
                self.value(element, depth + 1)?;
            }
        }
        let kind = Kind::Array { element, count };
        Ok(Value {
            kind,
            bytes: start..self.at,
        })
    }

    /// A table entry. Its `bytes` begin at the offset within the data for now; [`place`] moves them.
    fn tensor(&mut self) -> Checked<TensorInfo> {
        let name = self.name("a tensor's name")?;
        let within = |what: String| format!("tensor `{name}`: {what}");
        let dimensions = self.u32("the number of dimensions").map_err(within)? as usize;
        if dimensions > MAX_DIMENSIONS {
            return Err(within(format!(
                "it has {dimensions} dimensions; ggml allows {MAX_DIMENSIONS}"
            )));
        }
        let mut shape = Vec::with_capacity(dimensions);
        for _ in 0..dimensions {
            shape.push(self.length("a dimension").map_err(within)?);
        }
        shape.reverse();
        let id = self.u32("the tensor's type").map_err(within)?;
        let block_type = BlockType::from_id(id).ok_or_else(|| {
            within(format!(
                "its type has number {id}, which ggml did not have when this was written"
            ))
        })?;
        let offset = self.length("the tensor's offset").map_err(within)?;
        Ok(TensorInfo {
            name,
            shape,
            block_type,
            bytes: offset..offset,
        })
    }
}

/// Where the bytes are.
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
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
