//! PEFT LoRA directories: `adapter_config.json` beside `adapter_model.safetensors`, with keys
//! `base_model.model.<module path>.lora_A.weight` `[r, in]` and `.lora_B.weight` `[out, r]`, scale lora_alpha / r. We write the plainest
//! form, with one r and one lora_alpha for all modules, because loaders for serving (vLLM's `PEFTHelper`, mistral.rs) know no
//! rank_pattern and no alpha_pattern, and refuse to read what we could not apply exactly.

use crate::error::{Error, Result};
use crate::files::{read_config_text, write_atomically};
use crate::model::safetensors::SafetensorsFiles;
use crate::model::{ModelConfig, Module};
use regex::{Regex, RegexBuilder};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A LoRA adapter by layer and module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeftAdapter {
    /// The pairs of factors.
    pub modules: BTreeMap<(usize, Module), Lora>,
}

/// One pair of factors: ΔW = scale · B A.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// r.
    pub rank: usize,
    /// lora_alpha / r.
    pub scale: f32,
    /// A, `[r, in]`.
    pub a: Vec<f32>,
    /// B, `[out, r]`.
    pub b: Vec<f32>,
}

impl Lora {
    /// Both adapters as one of the summed rank and scale 1.
    pub fn stack(&self, other: &Self) -> Self {
        let outputs = self.b.len() / self.rank;
        let row = |lora: &Self, row: usize| -> Vec<f32> {
            lora.b[row * lora.rank..(row + 1) * lora.rank]
                .iter()
                .map(|b| b * lora.scale)
                .collect()
        };
        Self {
            rank: self.rank + other.rank,
            scale: 1.0,
            a: [self.a.as_slice(), &other.a].concat(),
            b: (0..outputs)
                .flat_map(|index| [row(self, index), row(other, index)].concat())
                .collect(),
        }
    }

    /// Adapters of modules that lie above each other in one matrix, so high each, as one adapter of it; none where no module has one.
    fn beside(parts: &[Option<&Self>], heights: &[usize]) -> Option<Self> {
        let mut present = parts.iter().flatten();
        let first = *present.next()?;
        let is_common = present
            .clone()
            .all(|lora| (&lora.a, lora.scale) == (&first.a, first.scale));
        if is_common {
            let rows = |(part, height): (&Option<&Self>, &usize)| match part {
                Some(lora) => lora.b.clone(),
                None => vec![0.0; height * first.rank],
            };
            return Some(Self {
                b: parts.iter().zip(heights).flat_map(rows).collect(),
                ..first.clone()
            });
        }
        let rank = parts.iter().flatten().map(|lora| lora.rank).sum();
        let (mut a, mut b, mut column) = (Vec::new(), Vec::new(), 0);
        for (part, height) in parts.iter().zip(heights) {
            let start = b.len();
            b.resize(start + height * rank, 0.0);
            let Some(lora) = part else { continue };
            a.extend_from_slice(&lora.a);
            for (row, own) in b[start..].chunks_exact_mut(rank).zip(lora.b.chunks_exact(lora.rank)) {
                let row = &mut row[column..column + lora.rank];
                row.iter_mut().zip(own).for_each(|(b, own)| *b = own * lora.scale);
            }
            column += lora.rank;
        }
        Some(Self { rank, scale: 1.0, a, b })
    }

    /// The same ΔW at another rank, by zeros, and another scale, which B takes up. `rank` is not below its own.
    fn at(&self, rank: usize, scale: f32) -> Self {
        let factor = self.scale / scale;
        let padded = |row: &[f32]| -> Vec<f32> {
            let own = row.iter().map(|b| b * factor);
            own.chain(std::iter::repeat_n(0.0, rank - self.rank)).collect()
        };
        let mut a = self.a.clone();
        a.resize(a.len() / self.rank * rank, 0.0);
        Self {
            rank,
            scale,
            a,
            b: self.b.chunks_exact(self.rank).flat_map(padded).collect(),
        }
    }

    /// The same ΔW without the zeros that [`Lora::at`] adds: they would be searched in vain.
    fn trimmed(self) -> Self {
        let inputs = self.a.len() / self.rank;
        let is_used = |&r: &usize| {
            let in_a = self.a[r * inputs..][..inputs].iter().any(|&a| a != 0.0);
            in_a || self.b.iter().skip(r).step_by(self.rank).any(|&b| b != 0.0)
        };
        let rank = (0..self.rank).rev().find(is_used).map_or(1, |last| last + 1);
        if rank == self.rank {
            return self;
        }
        let rows = self.b.chunks_exact(self.rank);
        Self {
            rank,
            scale: self.scale,
            b: rows.flat_map(|row| &row[..rank]).copied().collect(),
            a: self.a[..rank * inputs].to_vec(),
        }
    }
}

const PREFIX: &str = "base_model.model.";

impl PeftAdapter {
    /// Reads a directory and checks that every factor fits the model.
    pub fn read(directory: &Path, model: &ModelConfig) -> Result<Self> {
        if directory.is_file() {
            let what = "is a file, expected a PEFT LoRA directory: the folder with adapter_config.json in it";
            return Err(Error::file(directory, what));
        }
        let config = AdapterConfig::read(&directory.join("adapter_config.json"))?;
        let path = directory.join("adapter_model.safetensors");
        let files = SafetensorsFiles::open(std::slice::from_ref(&path))?;
        let error = |what: String| Error::file(&path, what);
        let mut adapter = Self::default();
        let shapes = files.tensors();
        for (key, a_shape) in &shapes {
            let unknown = || {
                let names = model.matrices().filter_map(|(name, _)| name.rsplit('.').next());
                let names: Vec<&str> = names.map(|name| name.trim_end_matches("_proj")).collect();
                let (last, before) = names.split_last().expect("a layer has matrices");
                error(format!(
                    "tensor `{key}` is none of the LoRA factors of {} and {last}_proj",
                    before.join(", ")
                ))
            };
            let (name, factor) = key
                .strip_prefix(PREFIX)
                .and_then(|name| name.rsplit_once(".lora_"))
                .ok_or_else(unknown)?;
            let (layer, modules) = parse_matrix(name, model).ok_or_else(unknown)?;
            match factor {
                "A.weight" => {}
                "B.weight" if shapes.contains_key(&format!("{PREFIX}{name}.lora_A.weight")) => continue,
                "B.weight" => return Err(error(format!("`{key}` has no lora_A beside it"))),
                _ => return Err(unknown()),
            }
            let b_key = format!("{PREFIX}{name}.lora_B.weight");
            let b_shape = shapes
                .get(&b_key)
                .ok_or_else(|| error(format!("`{b_key}` is missing")))?;
            let heights = modules.iter().map(|&module| model.module_shape(module)[0]);
            let (outputs, inputs) = (heights.clone().sum::<usize>(), model.module_shape(modules[0])[1]);
            let rank = config.rank_of(name);
            if layer >= model.layers {
                return Err(error(format!(
                    "`{key}` is for layer {layer}, and the model has {} layers",
                    model.layers
                )));
            }
            for (key, found, expected) in [(key, a_shape, [rank, inputs]), (&b_key, b_shape, [outputs, rank])] {
                if *found != expected {
                    let what =
                        format!("`{key}` has shape {found:?}; this model and adapter_config.json make it {expected:?}");
                    return Err(error(what));
                }
            }
            let whole = Lora {
                rank,
                scale: config.scale_of(name, rank),
                a: files.read(key)?,
                b: files.read(&b_key)?,
            };
            if !whole.scale.is_finite() {
                return Err(error(format!(
                    "the scale lora_alpha / r of `{name}` is beyond single precision"
                )));
            }
            for (key, values) in [(key, &whole.a), (&b_key, &whole.b)] {
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(error(format!("`{key}` holds {value}, expected finite numbers")));
                }
            }
            // Of a matrix that holds several modules each has its rows of B, and A in common with the others.
            let mut rest = whole.b.as_slice();
            for (&module, height) in modules.iter().zip(heights) {
                let own;
                (own, rest) = rest.split_at(height * rank);
                let lora = Lora {
                    b: own.to_vec(),
                    ..whole.clone()
                };
                adapter.modules.insert((layer, module), lora.trimmed());
            }
        }
        if adapter.modules.is_empty() {
            return Err(error("holds no LoRA factor".into()));
        }
        Ok(adapter)
    }

    /// Writes a directory for a model whose modules are matrices of their own; `base_model` is what its config names as the base.
    pub fn write(&self, directory: &Path, base_model: &str) -> Result<()> {
        let own = self
            .modules
            .iter()
            .map(|(&(layer, module), lora)| (module.path(layer), lora.clone()));
        write(&own.collect(), directory, base_model)
    }

    /// Writes a directory for this model, which may hold several modules in one matrix. Their factors become those of a LoRA on
    /// that: with one A in common, if it is common, or else stacked, each B in its own rows and columns.
    pub fn write_for(&self, model: &ModelConfig, directory: &Path, base_model: &str) -> Result<()> {
        let mut matrices = BTreeMap::new();
        for layer in 0..model.layers {
            for (name, modules) in model.matrices() {
                let parts: Vec<Option<&Lora>> = modules
                    .iter()
                    .map(|&module| self.modules.get(&(layer, module)))
                    .collect();
                let heights: Vec<usize> = modules.iter().map(|&module| model.module_shape(module)[0]).collect();
                if let Some(lora) = Lora::beside(&parts, &heights) {
                    matrices.insert(format!("model.layers.{layer}.{name}"), lora);
                }
            }
        }
        write(&matrices, directory, base_model)
    }
}

/// Writes the factors of matrices, by their paths.
fn write(matrices: &BTreeMap<String, Lora>, directory: &Path, base_model: &str) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let (rank, scale) = common(matrices);
    let mut tensors = BTreeMap::new();
    for (path, lora) in matrices {
        let lora = lora.at(rank, scale);
        let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (inputs, outputs) = (lora.a.len() / lora.rank, lora.b.len() / lora.rank);
        tensors.insert(
            format!("{PREFIX}{path}.lora_A.weight"),
            (vec![lora.rank, inputs], bytes(&lora.a)),
        );
        tensors.insert(
            format!("{PREFIX}{path}.lora_B.weight"),
            (vec![outputs, lora.rank], bytes(&lora.b)),
        );
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes made for this shape");
        (name.as_str(), view)
    });
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    let bytes = safetensors::serialize(views, metadata).expect("tensors with distinct names");
    write_atomically(&directory.join("adapter_model.safetensors"), &bytes)?;
    let config = config(matrices, base_model, rank, scale);
    let config = serde_json::to_string_pretty(&config).expect("JSON of strings and numbers");
    // The config comes last: a directory that has it is whole.
    write_atomically(&directory.join("adapter_config.json"), config.as_bytes())
}

/// One rank and one scale at which all matrices can be written: the largest rank, and the scale that all have if that makes
/// `lora_alpha` a whole number, as some loaders want it. Otherwise 1, and B holds the scale.
fn common(matrices: &BTreeMap<String, Lora>) -> (usize, f32) {
    let rank = matrices.values().map(|lora| lora.rank).max().unwrap_or(1);
    let mut scales = matrices.values().map(|lora| lora.scale);
    let first = scales.next().unwrap_or(1.0);
    let alpha = first * rank as f32;
    let is_kept = alpha.fract() == 0.0 && alpha / rank as f32 == first && scales.all(|scale| scale == first);
    (rank, if is_kept { first } else { 1.0 })
}

fn config(matrices: &BTreeMap<String, Lora>, base_model: &str, rank: usize, scale: f32) -> Value {
    let modules: BTreeSet<&str> = matrices.keys().filter_map(|path| path.rsplit('.').next()).collect();
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": (scale * rank as f32) as u64,
        "target_modules": modules,
        "rank_pattern": {},
        "alpha_pattern": {},
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "use_dora": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
    })
}

/// `model.layers.3.self_attn.q_proj` as layer and modules.
fn parse_matrix(path: &str, model: &ModelConfig) -> Option<(usize, &'static [Module])> {
    let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    let (name, modules) = model.matrices().find(|(name, _)| *name == rest)?;
    (format!("model.layers.{layer}.{name}") == path).then_some((layer, modules))
}

/// What `adapter_config.json` says of ranks and scales.
struct AdapterConfig {
    rank: usize,
    alpha: f64,
    rank_stabilized: bool,
    rank_pattern: Vec<(Regex, usize)>,
    alpha_pattern: Vec<(Regex, f64)>,
}

/// The largest rank that is read: as wide as the widest matrices there are.
const LARGEST_RANK: u64 = 1 << 20;

/// The most modules that a pattern may name, which are more than the largest models have, and how large the expression of
/// one may become when it is compiled. `\w{1000}` is a short text and a large program.
const LONGEST_PATTERN: usize = 4096;
const EXPRESSION_BYTES: usize = 1 << 16;

impl AdapterConfig {
    fn read(path: &Path) -> Result<Self> {
        let text = read_config_text(path)?;
        let json: Value = serde_json::from_str(&text).map_err(|e| Error::file(path, format!("not valid JSON: {e}")))?;
        let error = |what: String| Error::file(path, what);
        let kind = json.get("peft_type").and_then(Value::as_str).unwrap_or("nothing");
        if kind != "LORA" {
            return Err(error(format!("peft_type is {kind}, expected LORA")));
        }
        for (key, harmless) in [
            ("use_dora", json!(false)),
            ("fan_in_fan_out", json!(false)),
            ("lora_bias", json!(false)),
            ("bias", json!("none")),
            ("modules_to_save", json!(null)),
        ] {
            let found = json.get(key).unwrap_or(&harmless);
            if *found != harmless && !found.is_null() {
                return Err(error(format!(
                    "{key} is {found}; only plain LoRA can be applied ({key} = {harmless})"
                )));
            }
        }
        let rank = |what: &str, value: Option<&Value>| match value.and_then(Value::as_u64) {
            Some(rank) if (1..=LARGEST_RANK).contains(&rank) => Ok(rank as usize),
            _ => {
                let found = value.map_or("missing".into(), Value::to_string);
                Err(error(format!(
                    "{what} is {found}, expected a whole number from 1 to {LARGEST_RANK}"
                )))
            }
        };
        let alpha = |what: &str, value: Option<&Value>| match value.and_then(Value::as_f64) {
            Some(alpha) if alpha > 0.0 && alpha.is_finite() => Ok(alpha),
            _ => {
                let found = value.map_or("missing".into(), Value::to_string);
                Err(error(format!("{what} is {found}, expected a number above 0")))
            }
        };
        let rank_stabilized = match json.get("use_rslora") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => return Err(error(format!("use_rslora is {other}, expected true or false"))),
        };
        Ok(Self {
            rank: rank("`r`", json.get("r"))?,
            alpha: alpha("`lora_alpha`", json.get("lora_alpha"))?,
            rank_stabilized,
            rank_pattern: pattern(path, &json, "rank_pattern", rank)?,
            alpha_pattern: pattern(path, &json, "alpha_pattern", alpha)?,
        })
    }

    fn rank_of(&self, name: &str) -> usize {
        find(&self.rank_pattern, name).unwrap_or(self.rank)
    }

    fn scale_of(&self, name: &str, rank: usize) -> f32 {
        let alpha = find(&self.alpha_pattern, name).unwrap_or(self.alpha);
        let rank = if self.rank_stabilized {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        (alpha / rank) as f32
    }
}

/// The modules that `key` names as expressions, and their values.
fn pattern<T>(
    path: &Path,
    json: &Value,
    key: &str,
    read: impl Fn(&str, Option<&Value>) -> Result<T>,
) -> Result<Vec<(Regex, T)>> {
    let map = match json.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) if map.len() <= LONGEST_PATTERN => map,
        Some(Value::Object(map)) => {
            let what = format!("{key} names {} modules, expected at most {LONGEST_PATTERN}", map.len());
            return Err(Error::file(path, what));
        }
        Some(other) => return Err(Error::file(path, format!("{key} is {other}, expected an object"))),
    };
    let one = |(name, value): (&String, &Value)| {
        let value = read(&format!("{key} of `{name}`"), Some(value))?;
        // PEFT matches a key of the pattern against the end of the module's path.
        let regex = RegexBuilder::new(&format!(r"^(.*\.)?({})$", name.trim_start_matches('^')))
            .size_limit(EXPRESSION_BYTES)
            .build();
        let what = || format!("{key} holds `{name}`, which is not a regular expression, or one too large");
        Ok((regex.map_err(|_| Error::file(path, what()))?, value))
    };
    map.iter().map(one).collect()
}

fn find<T: Copy>(pattern: &[(Regex, T)], name: &str) -> Option<T> {
    pattern
        .iter()
        .find(|(regex, _)| regex.is_match(name))
        .map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;
    use crate::model::config::{Caps, Head, LayerAttention, Scales};
    use crate::model::kernels::Activation;
    use crate::seed::Seed;

    fn lora(seed: u64, rank: usize, scale: f32) -> Lora {
        let random = |part: u64, n: usize| {
            Seed::new(seed)
                .fold(part)
                .normals(n)
                .iter()
                .map(|&z| z as f32)
                .collect()
        };
        Lora {
            rank,
            scale,
            a: random(0, rank * 6),
            b: random(1, 5 * rank),
        }
    }

    /// ΔW, `[5, 6]`, in f64.
    fn delta(rank: usize, scale: f64, a: &[f32], b: &[f32]) -> Vec<f64> {
        let entry = |row: usize, column: usize| {
            let terms = (0..rank).map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * 6 + column]));
            scale * terms.sum::<f64>()
        };
        (0..30).map(|at| entry(at / 6, at % 6)).collect()
    }

    /// Case 06: a loader that knows one `r` and one `lora_alpha`, and looks at no pattern, has the same model.
    #[test]
    fn mixed_ranks_and_scales_are_written_for_loaders_that_know_one_of_each() {
        let model = |modules: &[(Module, Lora)]| PeftAdapter {
            modules: modules
                .iter()
                .map(|(module, lora)| ((0, *module), lora.clone()))
                .collect(),
        };
        let same = [(Module::Q, lora(1, 2, 2.0)), (Module::V, lora(2, 2, 2.0))];
        let ranks = [(Module::Q, lora(1, 5, 1.0)), (Module::V, lora(2, 2, 1.0))];
        let scales = [(Module::Q, lora(1, 2, 1.0)), (Module::V, lora(2, 2, 2.0))];
        let both = [
            (Module::Q, lora(1, 3, 0.3)),
            (Module::O, lora(2, 1, 7.5)),
            (Module::V, lora(3, 2, 1e-3)),
        ];
        // A scale that r turns into no whole number is B's too.
        let fraction = [(Module::Q, lora(1, 2, 0.3)), (Module::V, lora(2, 2, 0.3))];
        for (modules, r, alpha) in [
            (&same[..], 2, 4),
            (&ranks, 5, 5),
            (&scales, 2, 2),
            (&both, 3, 3),
            (&fraction, 2, 2),
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let adapter = model(modules);
            adapter.write(folder.path(), "base").expect("an export");
            let text = read_config_text(&folder.path().join("adapter_config.json")).expect("a config");
            let config: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(r), &json!(alpha)));
            assert_eq!(
                (&config["rank_pattern"], &config["alpha_pattern"]),
                (&json!({}), &json!({}))
            );
            let files = SafetensorsFiles::open(&[folder.path().join("adapter_model.safetensors")]).expect("tensors");
            for (module, lora) in modules {
                let read = |factor: &str| files.read(&format!("{PREFIX}{}.lora_{factor}.weight", module.path(0)));
                let (a, b) = (read("A").expect("A"), read("B").expect("B"));
                assert_eq!((a.len(), b.len()), (r * 6, 5 * r));
                let found = delta(r, f64::from(alpha) / r as f64, &a, &b);
                let expected = delta(lora.rank, f64::from(lora.scale), &lora.a, &lora.b);
                let largest = expected.iter().map(|x| x.abs()).fold(0.0, f64::max);
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() <= 1e-6 * largest,
                        "{module:?}: {found} {expected}"
                    );
                }
            }
        }
    }

    /// What was padded to be written is not searched when it is read again.
    #[test]
    fn padding_is_taken_off_again() {
        let own = lora(4, 3, 0.5);
        let padded = own.at(7, 0.5);
        assert_eq!((padded.rank, padded.a.len(), padded.b.len()), (7, 42, 35));
        assert_eq!(padded.trimmed(), own);
        // A fresh LoRA has B = 0: its directions are used all the same.
        let fresh = Lora {
            b: vec![0.0; 15],
            ..own.clone()
        };
        assert_eq!(fresh.clone().trimmed(), fresh);
        let nothing = Lora {
            a: vec![0.0; 18],
            b: vec![0.0; 15],
            ..own
        };
        assert_eq!(nothing.trimmed().rank, 1);
    }

    /// Widths that all differ where they may, so that no two can be taken for each other.
    fn model() -> ModelConfig {
        ModelConfig {
            family: Family::of_model_type("llama").expect("a family"),
            hidden: 4,
            layers: 2,
            heads: 3,
            kv_heads: 1,
            head_dim: 2,
            intermediate: 5,
            vocab: 10,
            rms_eps: 1e-5,
            context: 16,
            head: Head::Language,
            tied: true,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            activation: Activation::Silu,
            scales: Scales {
                embedding: 1.0,
                attention: 0.5_f32.sqrt(),
                residual: 1.0,
                logits: 1.0,
            },
            caps: Caps::default(),
            rotary: Vec::new(),
            attention: vec![LayerAttention::default(); 2],
            eos: vec![0],
        }
    }

    type Tensors = Vec<(String, [usize; 2], Vec<f32>)>;

    /// Factors of a rank for a module by its path, `a` and `b` being their first numbers.
    fn factors(path: &str, rank: usize, [outputs, inputs]: [usize; 2], a: f32, b: f32) -> Tensors {
        let numbers = |first: f32, count: usize| (0..count).map(|index| first + index as f32).collect();
        vec![
            (
                format!("{PREFIX}{path}.lora_A.weight"),
                [rank, inputs],
                numbers(a, rank * inputs),
            ),
            (
                format!("{PREFIX}{path}.lora_B.weight"),
                [outputs, rank],
                numbers(b, outputs * rank),
            ),
        ]
    }

    fn read(config: &Value, tensors: &Tensors) -> Result<PeftAdapter> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, numbers)| numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (
                name,
                TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("bytes of this shape"),
            )
        });
        let file = safetensors::serialize(views, None).expect("distinct names");
        std::fs::write(folder.path().join("adapter_model.safetensors"), file).expect("a file");
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).expect("a file");
        PeftAdapter::read(folder.path(), &model())
    }

    const Q: &str = "model.layers.0.self_attn.q_proj";
    const DOWN: &str = "model.layers.1.mlp.down_proj";

    fn tensors() -> Tensors {
        [factors(Q, 2, [6, 4], 1.0, 10.0), factors(DOWN, 1, [4, 5], -1.5, 0.5)].concat()
    }

    fn config() -> Value {
        json!({"peft_type": "LORA", "r": 2, "lora_alpha": 3, "rank_pattern": {"down_proj": 1}})
    }

    fn with(key: &str, value: Value) -> Value {
        let mut config = config();
        config[key] = value;
        config
    }

    /// ΔW, `[out, in]`.
    fn dense(lora: &Lora) -> Vec<f32> {
        let (inputs, outputs) = (lora.a.len() / lora.rank, lora.b.len() / lora.rank);
        let at = |o: usize, i: usize| -> f32 {
            (0..lora.rank)
                .map(|r| lora.b[o * lora.rank + r] * lora.a[r * inputs + i])
                .sum()
        };
        (0..outputs)
            .flat_map(|o| (0..inputs).map(move |i| lora.scale * at(o, i)))
            .collect()
    }

    /// lora_alpha / r, or / √r with rsLoRA, where a pattern's key is the end of a module's path: as `peft` does.
    #[test]
    fn factors_are_read_with_their_rank_and_scale() {
        let adapter = read(&config(), &tensors()).expect("an adapter");
        let (q, down) = (&adapter.modules[&(0, Module::Q)], &adapter.modules[&(1, Module::Down)]);
        assert_eq!(adapter.modules.len(), 2);
        assert_eq!((q.rank, q.scale, down.rank, down.scale), (2, 1.5, 1, 3.0));
        assert_eq!(q.a, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(q.b[..3], [10.0, 11.0, 12.0]);
        assert_eq!((down.a[0], down.b.as_slice()), (-1.5, [0.5, 1.5, 2.5, 3.5].as_slice()));
        let scales = |config: Value| {
            let adapter = read(&config, &tensors()).expect("an adapter");
            adapter.modules.values().map(|lora| lora.scale).collect::<Vec<_>>()
        };
        assert_eq!(
            scales(with("use_rslora", json!(true))),
            [(3.0 / std::f64::consts::SQRT_2) as f32, 3.0]
        );
        assert_eq!(scales(with("use_rslora", json!(null))), [1.5, 3.0]);
        for (key, expected) in [
            ("q_proj", [4.0, 3.0]),
            ("self_attn.q_proj", [4.0, 3.0]),
            ("layers.1.mlp.down_proj", [1.5, 8.0]),
            (r".*\.1\..*", [1.5, 8.0]),
            (&format!("^{Q}"), [4.0, 3.0]),
            ("proj", [1.5, 3.0]),
            ("q_pro", [1.5, 3.0]),
        ] {
            assert_eq!(scales(with("alpha_pattern", json!({key: 8}))), expected, "{key}");
        }
    }

    #[test]
    fn what_could_not_be_applied_exactly_is_refused() {
        let refused = |config: &Value, tensors: &Tensors, words: &str| {
            let error = read(config, tensors).expect_err(words).to_string();
            assert!(error.contains(words), "{error}, and not: {words}");
        };
        for (key, value, words) in [
            ("peft_type", json!("IA3"), "peft_type is IA3, expected LORA"),
            ("use_dora", json!(true), "use_dora is true; only plain LoRA"),
            ("fan_in_fan_out", json!(true), "fan_in_fan_out is true"),
            ("lora_bias", json!(true), "lora_bias is true"),
            (
                "bias",
                json!("all"),
                "bias is \"all\"; only plain LoRA can be applied (bias = \"none\")",
            ),
            (
                "modules_to_save",
                json!(["lm_head"]),
                "modules_to_save is [\"lm_head\"]",
            ),
            ("r", json!(0), "`r` is 0, expected a whole number from 1"),
            ("r", json!((1 << 20) + 1), "`r` is 1048577"),
            ("r", json!(1.5), "`r` is 1.5"),
            ("lora_alpha", json!(0), "`lora_alpha` is 0, expected a number above 0"),
            ("lora_alpha", json!(-1), "`lora_alpha` is -1"),
            ("lora_alpha", json!(null), "`lora_alpha` is null"),
            ("lora_alpha", json!(1e300), "beyond single precision"),
            ("use_rslora", json!(1), "use_rslora is 1, expected true or false"),
            ("rank_pattern", json!([]), "rank_pattern is [], expected an object"),
            ("alpha_pattern", json!({"(": 1}), "alpha_pattern holds `(`"),
            ("alpha_pattern", json!({"q_proj": 0}), "alpha_pattern of `q_proj` is 0"),
            // Within the range, so the shape tells.
            (
                "r",
                json!(1 << 20),
                "has shape [2, 4]; this model and adapter_config.json make it [1048576, 4]",
            ),
        ] {
            refused(&with(key, value), &tensors(), words);
        }
        for key in ["use_dora", "bias", "modules_to_save", "rank_pattern"] {
            assert!(
                read(&with(key, json!(null)), &factors(Q, 2, [6, 4], 1.0, 1.0)).is_ok(),
                "{key}"
            );
        }
        let names = |count: usize| -> Value {
            (0..count)
                .map(|n| (format!("m{n}"), json!(1)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let q = factors(Q, 2, [6, 4], 1.0, 1.0);
        refused(
            &with("rank_pattern", names(4097)),
            &q,
            "rank_pattern names 4097 modules, expected at most 4096",
        );
        assert!(read(&with("rank_pattern", names(4096)), &q).is_ok());

        let changed = |change: &dyn Fn(&mut Tensors)| {
            let mut tensors = tensors();
            change(&mut tensors);
            tensors
        };
        for (tensors, words) in [
            (changed(&|t| t.truncate(0)), "holds no LoRA factor"),
            (changed(&|t| t.truncate(3)), "down_proj.lora_B.weight` is missing"),
            (
                changed(&|t| drop(t.remove(0))),
                "q_proj.lora_B.weight` has no lora_A beside it",
            ),
            (changed(&|t| t[0].0.push('x')), "is none of the LoRA factors"),
            (
                factors("model.layers.2.self_attn.q_proj", 2, [6, 4], 1.0, 1.0),
                "is for layer 2, and the model has 2 layers",
            ),
            (
                factors("model.layers.0.mlp.q_proj", 2, [6, 4], 1.0, 1.0),
                "is none of the LoRA factors",
            ),
            (
                factors("model.layers.00.self_attn.q_proj", 2, [6, 4], 1.0, 1.0),
                "is none of the LoRA factors",
            ),
            (
                factors(Q, 2, [7, 4], 1.0, 1.0),
                "lora_B.weight` has shape [7, 2]; this model and adapter_config.json make it [6, 2]",
            ),
            (factors(Q, 2, [6, 3], 1.0, 1.0), "lora_A.weight` has shape [2, 3]"),
            (
                changed(&|t| t[0].2[3] = f32::NAN),
                "lora_A.weight` holds NaN, expected finite numbers",
            ),
            (changed(&|t| t[3].2[0] = f32::INFINITY), "lora_B.weight` holds inf"),
        ] {
            refused(&config(), &tensors, words);
        }
        let embedding = changed(&|t| t.push(("base_model.model.model.embed_tokens.weight".into(), [1, 1], vec![1.0])));
        refused(
            &config(),
            &embedding,
            "is none of the LoRA factors of q, k, v, o, gate, up and down_proj",
        );
    }

    #[test]
    fn what_is_written_changes_the_model_alike() {
        let lora = |rank: usize, scale: f32, [outputs, inputs]: [usize; 2]| Lora {
            rank,
            scale,
            a: (1..=rank * inputs).map(|x| x as f32).collect(),
            b: (1..=outputs * rank).map(|x| x as f32 / 4.0).collect(),
        };
        let written = |modules: Vec<((usize, Module), Lora)>| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let adapter = PeftAdapter {
                modules: modules.into_iter().collect(),
            };
            let at = folder.path().join("made/for/it");
            adapter.write(&at, "some/base").expect("a directory");
            let config = std::fs::read_to_string(at.join("adapter_config.json")).expect("a config");
            let again = PeftAdapter::read(&at, &model()).expect("what was written");
            assert_eq!(
                again.modules.keys().collect::<Vec<_>>(),
                adapter.modules.keys().collect::<Vec<_>>()
            );
            for (module, lora) in &adapter.modules {
                let (found, expected) = (dense(&again.modules[module]), dense(lora));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() <= 1e-6 * expected.abs(),
                        "{module:?}: {found} {expected}"
                    );
                }
            }
            serde_json::from_str::<Value>(&config).expect("JSON")
        };
        let even = written(vec![
            ((1, Module::Down), lora(2, 1.5, [4, 5])),
            ((0, Module::K), lora(2, 1.5, [2, 4])),
            ((1, Module::K), lora(2, 1.5, [2, 4])),
        ]);
        assert_eq!((&even["r"], &even["lora_alpha"]), (&json!(2), &json!(3)));
        assert_eq!(even["target_modules"], json!(["down_proj", "k_proj"]));
        assert_eq!(
            (&even["peft_type"], &even["base_model_name_or_path"]),
            (&json!("LORA"), &json!("some/base"))
        );
        assert_eq!(
            (&even["rank_pattern"], &even["alpha_pattern"]),
            (&json!({}), &json!({}))
        );
        // Of mixed ranks and scales, and of a scale of which no whole lora_alpha comes.
        written(vec![
            ((0, Module::Q), lora(3, 0.5, [6, 4])),
            ((0, Module::V), lora(1, 2.0, [2, 4])),
            ((1, Module::Q), lora(3, 0.25, [6, 4])),
        ]);
        written(vec![((0, Module::O), lora(2, 0.3, [4, 6]))]);
    }

    #[test]
    fn stacked_adapters_add_up() {
        let one = Lora {
            rank: 1,
            scale: 0.5,
            a: vec![1.0, 2.0, 3.0],
            b: vec![4.0, 5.0],
        };
        let two = Lora {
            rank: 2,
            scale: 2.0,
            a: vec![1.0, 0.0, -1.0, 0.5, 0.5, 4.0],
            b: vec![1.0, 2.0, 3.0, -1.0],
        };
        let both = one.stack(&two);
        // B has a row for each output: 4 · 0.5 beside 2 · (1, 2), 5 · 0.5 beside 2 · (3, −1).
        assert_eq!(
            (both.rank, both.scale, both.b.as_slice()),
            (3, 1.0, [2.0, 2.0, 4.0, 2.5, 6.0, -2.0].as_slice())
        );
        assert_eq!(both.a, [1.0, 2.0, 3.0, 1.0, 0.0, -1.0, 0.5, 0.5, 4.0]);
        assert_eq!(two.stack(&one).b, [2.0, 4.0, 2.0, 6.0, -2.0, 2.5]);
        assert_eq!(dense(&two), [4.0, 2.0, 14.0, 5.0, -1.0, -14.0]);
    }
}
