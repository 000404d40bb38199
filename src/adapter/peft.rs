//! PEFT LoRA directories: `adapter_config.json` beside `adapter_model.safetensors`, with keys
//! `base_model.model.<module path>.lora_A.weight` `[r, in]` and `.lora_B.weight` `[out, r]`, scale lora_alpha / r. We write the plainest
//! form, which `peft`, vLLM and mistral.rs load unchanged, and refuse to read what we could not apply exactly.

use crate::error::{Error, Result};
use crate::files::{read_config_text, write_atomically};
use crate::model::safetensors::SafetensorsFiles;
use crate::model::{ModelConfig, Module};
use regex::{Regex, RegexBuilder};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
}

const PREFIX: &str = "base_model.model.";

impl PeftAdapter {
    /// Reads a directory and checks that every factor fits the model.
    pub fn read(directory: &Path, model: &ModelConfig) -> Result<Self> {
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
            adapter.modules.insert((layer, module), lora);
        }
        if adapter.modules.is_empty() {
            return Err(error("holds no LoRA factor".into()));
        }
        Ok(adapter)
    }

    /// Writes a directory; `base_model` is what its config names as the base.
    pub fn write(&self, directory: &Path, base_model: &str) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let mut tensors = BTreeMap::new();
        for (&(layer, module), lora) in &self.modules {
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
        let config = serde_json::to_string_pretty(&self.config(base_model)).expect("JSON of strings and numbers");
        // The config comes last: a directory that has it is whole.
        write_atomically(&directory.join("adapter_config.json"), config.as_bytes())
    }

    /// The plainest config that reproduces every rank and scale.
    fn config(&self, base_model: &str) -> Value {
        let mut counts = BTreeMap::new();
        for lora in self.modules.values() {
            *counts
                .entry((lora.rank, (lora.scale * lora.rank as f32).to_bits()))
                .or_insert(0) += 1;
        }
        let usual = counts
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or((1, 1.0_f32.to_bits()), |(usual, _)| *usual);
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        let mut modules: Vec<&str> = Vec::new();
        for (&(layer, module), lora) in &self.modules {
            modules.push(module.name());
            let alpha = lora.scale * lora.rank as f32;
            if lora.rank != usual.0 {
                ranks.insert(module.path(layer), json!(lora.rank));
            }
            if lora.rank != usual.0 || alpha.to_bits() != usual.1 {
                alphas.insert(module.path(layer), number(alpha));
            }
        }
        modules.sort_unstable();
        modules.dedup();
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model,
            "r": usual.0,
            "lora_alpha": number(f32::from_bits(usual.1)),
            "target_modules": modules,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
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

/// A whole number without its decimal point, as PEFT writes `lora_alpha`.
fn number(value: f32) -> Value {
    if value.fract() == 0.0 {
        json!(value as i64)
    } else {
        json!(value)
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
