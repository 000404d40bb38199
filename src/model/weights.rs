//! A model's numbers by name, wherever they come from. Names are those of a Hugging Face checkpoint; GGUF's own names
//! and llama.cpp's order of the rows of q and k are translated here and nowhere else. Loading is strict: every missing,
//! unexpected or mis-shaped tensor is named before the first number is read. Rows are dequantized on demand, so that
//! loading never holds a second copy of the model.

use super::config::{Head, ModelConfig, Module};
use super::family::Family;
use super::gguf::{BlockType, Gguf};
use super::kernels::Int4Group;
use super::safetensors::SafetensorsFiles;
use crate::digest::hex;
use crate::error::{Error, Result};
use half::f16;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// An open model file or folder.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    config: ModelConfig,
    source: Source,
    /// Of the files, computed when first asked for.
    digest: OnceLock<String>,
}

#[derive(Debug)]
enum Source {
    Folder(SafetensorsFiles),
    Gguf(Box<Gguf>),
}

impl Weights {
    /// Opens a `.gguf` file or a Hugging Face folder and checks that every tensor is there in its shape.
    pub fn open(path: &Path) -> Result<Self> {
        let kind = std::fs::metadata(path).map_err(Error::io(path))?;
        let (config, source) = if kind.is_dir() {
            (
                ModelConfig::from_folder(path)?,
                Source::Folder(SafetensorsFiles::open_folder(path)?),
            )
        } else {
            return Self::from_gguf(Gguf::open(path)?);
        };
        Self::new(path, config, source)
    }

    /// The same of an open GGUF file.
    pub fn from_gguf(gguf: Gguf) -> Result<Self> {
        let (path, config) = (gguf.path().to_path_buf(), ModelConfig::from_gguf(&gguf)?);
        Self::new(&path, config, Source::Gguf(Box::new(gguf)))
    }

    fn new(path: &Path, config: ModelConfig, source: Source) -> Result<Self> {
        let weights = Self {
            path: path.to_path_buf(),
            config,
            source,
            digest: OnceLock::new(),
        };
        weights.check()?;
        Ok(weights)
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Refuses a classifier where texts are to be written or their tokens scored.
    pub fn expect_language_head(&self) -> Result<()> {
        match self.config.head {
            Head::Language => Ok(()),
            Head::Score { .. } => Err(Error::file(
                &self.path,
                "is a classifier, which scores conversations and writes no text; give a language model, or use this one as a judge, { reward_model = … }",
            )),
        }
    }

    /// Refuses a language model where a conversation is to be scored.
    pub fn expect_score_head(&self) -> Result<()> {
        match self.config.head {
            Head::Score { .. } => Ok(()),
            Head::Language => Err(Error::file(
                &self.path,
                "is a language model and has no score head; expected a LlamaForSequenceClassification or Qwen2ForSequenceClassification with one label",
            )),
        }
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The GGUF container, which also holds the tokenizer.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::Gguf(gguf) => Some(gguf),
            Source::Folder(_) => None,
        }
    }

    /// SHA-256 of the weight files, in hexadecimal: what caches and manifests know the model by.
    pub fn digest(&self) -> Result<&str> {
        if self.digest.get().is_none() {
            let _ = self.digest.set(self.digest_of_files()?);
        }
        Ok(self.digest.get().expect("it was just set"))
    }

    fn digest_of_files(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for path in self.files() {
            let mut file = File::open(&path).map_err(Error::io(&path))?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                let read = std::io::Read::read(&mut file, &mut buffer).map_err(Error::io(&path))?;
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// Gives the files' pages back to the system until they are looked at again.
    pub fn release(&self) {
        match &self.source {
            Source::Folder(files) => files.release(),
            Source::Gguf(gguf) => gguf.release(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Folder(files) => files.paths().map(Path::to_path_buf).collect(),
            Source::Gguf(_) => vec![self.path.clone()],
        }
    }

    /// Rows of the matrix `name` in f32, into `out` `[rows, width]`.
    pub fn rows(&self, name: &str, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (place, first) = self.place(name);
        let rows = first + rows.start..first + rows.end;
        match &self.source {
            Source::Folder(files) => files.rows(&place, rows, out),
            Source::Gguf(gguf) => {
                let own = self.gguf_name(&place);
                if !self.is_permuted(name) {
                    return gguf.dequantize_rows(&own, rows, out);
                }
                let width = out.len() / rows.len().max(1);
                for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
                    let stored = self.stored_row(name, row);
                    gguf.dequantize_rows(&own, stored..stored + 1, out)?;
                }
                Ok(())
            }
        }
    }

    /// The tensor in which a module's rows lie, and the first of them: some families have q, k and v, or gate and up, in one.
    fn place(&self, name: &str) -> (String, usize) {
        let config = &self.config;
        for (whole, modules) in config.matrices().filter(|(_, modules)| modules.len() > 1) {
            let mut first = 0;
            for module in modules {
                let own = format!(".{}.", module.name());
                if name.contains(&own) {
                    let leaf = whole.rsplit('.').next().unwrap_or(whole);
                    return (name.replace(&own, &format!(".{leaf}.")), first);
                }
                first += config.module_shape(*module)[0];
            }
        }
        (name.to_string(), 0)
    }

    /// Where a row lies: llama.cpp stores the two halves of each head's rows of q and k interleaved.
    fn stored_row(&self, name: &str, row: usize) -> usize {
        let half = self.config.head_dim / 2;
        let (head, inside) = (row / (2 * half), row % (2 * half));
        if self.is_permuted(name) {
            head * 2 * half + 2 * (inside % half) + inside / half
        } else {
            row
        }
    }

    /// The size of the groups of a matrix whose 4-bit blocks [`Weights::int4_row`] can give as they are.
    pub fn int4_group(&self, name: &str) -> Option<usize> {
        let tensor = self.gguf()?.tensor(&self.gguf_name(&self.place(name).0))?;
        matches!(tensor.block_type, BlockType::Q4_0 | BlockType::Q4_1).then_some(tensor.block_type.layout().weights)
    }

    /// A row of such a matrix: `q` `[width]` in 0..=15, and scale and minimum of each group. Nothing is lost: Q4_0's
    /// d · (q − 8) is d · q − 8d, and 8d is exact in half precision.
    pub fn int4_row(&self, name: &str, row: usize, q: &mut [u8], groups: &mut [Int4Group]) -> Result<()> {
        let gguf = self.gguf().expect("asked of a file with 4-bit blocks");
        let (place, first) = self.place(name);
        let own = self.gguf_name(&place);
        let tensor = gguf.tensor(&own).expect("a tensor with 4-bit blocks");
        let (layout, bytes) = (tensor.block_type.layout(), tensor.row_bytes());
        let start = self.stored_row(name, first + row) * bytes;
        let blocks = gguf.raw(&own)?[start..start + bytes].chunks_exact(layout.bytes);
        for ((block, q), group) in blocks.zip(q.chunks_exact_mut(layout.weights)).zip(groups) {
            let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
            let scale = half(0);
            let min = match tensor.block_type {
                BlockType::Q4_1 => half(2),
                _ => f16::from_f32(-8.0 * scale.to_f32()),
            };
            *group = Int4Group { scale, min };
            let nibbles = &block[layout.bytes - layout.weights / 2..];
            let (low, high) = q.split_at_mut(layout.weights / 2);
            for ((low, high), byte) in low.iter_mut().zip(high).zip(nibbles) {
                (*low, *high) = (byte & 15, byte >> 4);
            }
        }
        Ok(())
    }

    /// A norm's weight, as it multiplies.
    pub fn norm(&self, name: &str) -> Result<Vec<f32>> {
        let mut weight = self.read(&format!("{name}.weight"))?;
        // llama.cpp's converter has added it already.
        let offset = match self.source {
            Source::Folder(_) => self.config.family.norm_offset,
            Source::Gguf(_) => 0.0,
        };
        if offset != 0.0 {
            weight.iter_mut().for_each(|w| *w += offset);
        }
        Ok(weight)
    }

    /// A whole tensor in f32, or a module's part of one.
    ///
    /// # Panics
    /// When there is no such tensor: a bug of the caller.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let shape = self.found().get(name).cloned().unwrap_or_else(|| {
            // A part of a tensor that holds several modules.
            let mut modules = Module::ALL.into_iter();
            let module = modules.find(|module| name.contains(&format!(".{}.", module.name())));
            self.config
                .module_shape(module.expect("a tensor of the model"))
                .to_vec()
        });
        let mut out = vec![0.0; shape.iter().product()];
        match &self.source {
            // A vector is one row to GGUF, and one row a number here; only a permuted one needs care.
            Source::Gguf(gguf) if shape.len() == 1 => {
                let stored = gguf.dequantize(&self.gguf_name(name))?;
                for (row, out) in out.iter_mut().enumerate() {
                    *out = stored[self.stored_row(name, row)];
                }
            }
            _ => self.rows(name, 0..shape[0], &mut out)?,
        }
        Ok(out)
    }

    fn is_permuted(&self, name: &str) -> bool {
        let form = self.config.family.gguf.as_ref();
        form.is_some_and(|form| form.is_permuted) && (name.contains(".q_proj.") || name.contains(".k_proj."))
    }

    /// Every tensor that the model has by Hugging Face's name, with its shape.
    fn found(&self) -> BTreeMap<String, Vec<usize>> {
        match &self.source {
            Source::Folder(files) => files.tensors(),
            Source::Gguf(gguf) => {
                let named = gguf
                    .tensors()
                    .map(|info| (hugging_face_name(self.config.family, &info.name), info.shape.clone()));
                named.collect()
            }
        }
    }

    fn check(&self) -> Result<()> {
        let found = self.found();
        // Before anything of that length is made: what is expected is a list of names for each layer.
        if self.config.layers > found.len() {
            let what = format!(
                "the model's configuration has {} layers, and there are {} tensors",
                self.config.layers,
                found.len()
            );
            return Err(Error::file(&self.path, what));
        }
        let expected = self.expected();
        let mut problems = self.foreign_names();
        for (name, shape) in &expected {
            match found.get(name) {
                None => problems.push(format!("`{name}` {shape:?} is missing")),
                Some(other) if other != shape => {
                    problems.push(format!("`{name}` has shape {other:?}, expected {shape:?}"))
                }
                Some(_) => {}
            }
        }
        for name in found.keys().filter(|name| !expected.contains_key(*name)) {
            // Buffers that old checkpoints carry, a copy of a tied head, and GGUF's rotary divisors, read elsewhere.
            let harmless = name.ends_with("rotary_emb.inv_freq")
                || name == "rope_freqs.weight"
                || (self.config.tied && name == "lm_head.weight");
            if !harmless {
                problems.push(format!("`{name}` is unexpected"));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let (shown, hidden) = (problems.len().min(12), problems.len().saturating_sub(12));
        let more = if hidden > 0 {
            format!("; and {hidden} more")
        } else {
            String::new()
        };
        let what = format!(
            "the weights do not fit the model's configuration: {}{more}",
            problems[..shown].join("; ")
        );
        Err(Error::file(&self.path, what))
    }

    /// Tensors of a GGUF file whose names mean something to us and are not the names that we would look for: one that is
    /// called as Hugging Face calls it would be checked in place of the one that is read.
    fn foreign_names(&self) -> Vec<String> {
        let names = self.gguf().into_iter().flat_map(Gguf::tensors).map(|info| &info.name);
        names
            .filter(|name| self.gguf_name(&hugging_face_name(self.config.family, name)) != **name)
            .map(|name| format!("`{name}` is no name in GGUF"))
            .collect()
    }

    fn expected(&self) -> BTreeMap<String, Vec<usize>> {
        let c = &self.config;
        let mut expected = BTreeMap::from([
            ("model.embed_tokens.weight".to_string(), vec![c.vocab, c.hidden]),
            ("model.norm.weight".to_string(), vec![c.hidden]),
        ]);
        expected.insert(c.head_name().into(), c.head_shape().to_vec());
        for layer in 0..c.layers {
            let mut insert = |name: String, shape: Vec<usize>| expected.insert(name, shape);
            for (_, norm) in c.family.norms.named() {
                insert(format!("model.layers.{layer}.{norm}.weight"), vec![c.hidden]);
            }
            for (norm, width) in QK_NORMS.iter().zip(c.qk_norm_widths().into_iter().flatten()) {
                insert(format!("model.layers.{layer}.{norm}.weight"), vec![width]);
            }
            for module in Module::ALL {
                let shape = c.module_shape(module);
                if self.has_bias(module) {
                    insert(format!("{}.bias", module.path(layer)), vec![shape[0]]);
                }
                // The modules of one tensor come in its order, so the last of them says how high it is.
                let (name, first) = self.place(&format!("{}.weight", module.path(layer)));
                insert(name, vec![first + shape[0], shape[1]]);
            }
        }
        expected
    }

    /// GGUF's name of a tensor.
    fn gguf_name(&self, name: &str) -> String {
        gguf_name(self.config.family, name)
    }

    /// Whether this module carries a bias.
    pub fn has_bias(&self, module: Module) -> bool {
        match module {
            Module::Q | Module::K | Module::V => self.config.qkv_bias,
            Module::O => self.config.o_bias,
            Module::Gate | Module::Up | Module::Down => self.config.mlp_bias,
        }
    }
}

/// The norms of queries and of keys, by their names in a Hugging Face folder.
pub(super) const QK_NORMS: [&str; 2] = ["self_attn.q_norm", "self_attn.k_norm"];

fn gguf_name(family: &Family, name: &str) -> String {
    let (prefix, rest) = match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => (format!("blk.{layer}."), rest),
        None => (String::new(), name),
    };
    let (stem, kind) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let mut names = family.tensor_names();
    let stem = names.find(|(_, theirs)| *theirs == stem).map_or(stem, |(own, _)| own);
    format!("{prefix}{stem}.{kind}")
}

fn hugging_face_name(family: &Family, name: &str) -> String {
    let (prefix, rest) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => (format!("model.layers.{layer}."), rest),
        None => (String::new(), name),
    };
    let (stem, kind) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let mut names = family.tensor_names();
    let stem = names.find(|(own, _)| *own == stem).map_or(stem, |(_, theirs)| theirs);
    format!("{prefix}{stem}.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_translate_both_ways() {
        for (gguf, ours) in [
            ("blk.3.attn_q.weight", "model.layers.3.self_attn.q_proj.weight"),
            (
                "blk.11.ffn_norm.weight",
                "model.layers.11.post_attention_layernorm.weight",
            ),
            ("blk.0.attn_output.bias", "model.layers.0.self_attn.o_proj.bias"),
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("output.weight", "lm_head.weight"),
            ("rope_freqs.weight", "rope_freqs.weight"),
        ] {
            let family = Family::of_model_type("llama").expect("a family");
            assert_eq!(hugging_face_name(family, gguf), ours);
            assert_eq!(gguf_name(family, ours), gguf);
        }
    }
}
