//! GGUF files: the metadata, the tensor table, and the weights as `f32`. A file is mapped into memory and checked once
//! when it is opened: every length, type and offset in its header is held against the bytes that are there, so that
//! what comes later can rely on them and nothing is ever allocated because a header said so. Metadata values stay where
//! they lie in the file and are decoded when they are asked for. Shapes are row-major here, `[out, in]`, the reverse of
//! ggml's `ne`. The raw blocks are there for an import that keeps them as they are; what is in them is the business of
//! `blocks`. The format: `docs/gguf.md` in the ggml repository.

mod blocks;

pub use blocks::{BlockType, Layout};

use crate::error::{Error, Result};
use blocks::Decoder;
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
    check_apart(&tensors)?;
    Ok((metadata, tensors))
}

/// No two tensors share bytes. Otherwise a small file could claim a model of any size, every tensor being the same few
/// megabytes.
fn check_apart(tensors: &[TensorInfo]) -> Checked<()> {
    let mut placed: Vec<&TensorInfo> = tensors.iter().filter(|tensor| !tensor.bytes.is_empty()).collect();
    placed.sort_unstable_by_key(|tensor| tensor.bytes.start);
    match placed.windows(2).find(|pair| pair[0].bytes.end > pair[1].bytes.start) {
        Some(pair) => Err(format!(
            "tensors `{}` and `{}` share bytes from {} on; each was expected to have its own",
            pair[0].name, pair[1].name, pair[1].bytes.start
        )),
        None => Ok(()),
    }
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
    // An empty tensor may have rows of any size, and a row's bytes are computed all the same.
    if (tensor.columns() / layout.weights).checked_mul(layout.bytes).is_none() {
        return Err(format!(
            "its rows have {} columns, more than memory can hold",
            tensor.columns()
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
