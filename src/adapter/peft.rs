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
                error(format!(
                    "tensor `{key}` is none of the LoRA factors of q, k, v, o, gate, up and down_proj"
                ))
            };
            let (name, factor) = key
                .strip_prefix(PREFIX)
                .and_then(|name| name.rsplit_once(".lora_"))
                .ok_or_else(unknown)?;
            let (layer, module) = parse_module(name).ok_or_else(unknown)?;
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
            let [outputs, inputs] = model.module_shape(module);
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
            let lora = Lora {
                rank,
                scale: config.scale_of(name, rank),
                a: files.read(key)?,
                b: files.read(&b_key)?,
            };
            if !lora.scale.is_finite() {
                return Err(error(format!(
                    "the scale lora_alpha / r of `{name}` is beyond single precision"
                )));
            }
            for (key, values) in [(key, &lora.a), (&b_key, &lora.b)] {
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Err(error(format!("`{key}` holds {value}, expected finite numbers")));
                }
            }
            adapter.modules.insert((layer, module), lora.trimmed());
        }
        if adapter.modules.is_empty() {
            return Err(error("holds no LoRA factor".into()));
        }
        Ok(adapter)
    }

    /// Writes a directory; `base_model` is what its config names as the base.
    pub fn write(&self, directory: &Path, base_model: &str) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let (rank, scale) = self.common();
        let mut tensors = BTreeMap::new();
        for (&(layer, module), lora) in &self.modules {
            let lora = lora.at(rank, scale);
            let path = module.path(layer);
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
        let config = self.config(base_model, rank, scale);
        let config = serde_json::to_string_pretty(&config).expect("JSON of strings and numbers");
        // The config comes last: a directory that has it is whole.
        write_atomically(&directory.join("adapter_config.json"), config.as_bytes())
    }

    /// One rank and one scale at which all modules can be written: the largest rank, and the scale that all have if that makes
    /// `lora_alpha` a whole number, as some loaders want it. Otherwise 1, and B holds the scale.
    fn common(&self) -> (usize, f32) {
        let rank = self.modules.values().map(|lora| lora.rank).max().unwrap_or(1);
        let mut scales = self.modules.values().map(|lora| lora.scale);
        let first = scales.next().unwrap_or(1.0);
        let alpha = first * rank as f32;
        let is_kept = alpha.fract() == 0.0 && alpha / rank as f32 == first && scales.all(|scale| scale == first);
        (rank, if is_kept { first } else { 1.0 })
    }

    fn config(&self, base_model: &str, rank: usize, scale: f32) -> Value {
        let modules: BTreeSet<&str> = self.modules.keys().map(|(_, module)| module.name()).collect();
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
}

/// `model.layers.3.self_attn.q_proj` as layer and module.
fn parse_module(path: &str) -> Option<(usize, Module)> {
    let rest = path.strip_prefix("model.layers.")?;
    let (layer, rest) = rest.split_once('.')?;
    let layer = layer.parse().ok()?;
    let module = Module::parse(rest.rsplit_once('.')?.1)?;
    (module.path(layer) == path).then_some((layer, module))
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
}
