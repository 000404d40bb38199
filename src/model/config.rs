//! What a model is, apart from its numbers: sizes, rotary positions, end tokens. Read from a `config.json` as
//! transformers 4 and as transformers 5 writes it (the latter moved the rotary settings into `rope_parameters` and
//! renamed `torch_dtype`), or from the metadata of a GGUF file. Whatever would change the arithmetic and is not
//! supported is refused here, so that a model either runs as its authors meant or not at all.

use super::gguf::Gguf;
use crate::error::{Error, Result};
use crate::files::read_config_text;
use serde_json::Value;
use std::path::Path;

/// The architecture family: both are pre-norm decoders with rotary positions, grouped-query attention and SwiGLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 1 to 3 and what shares its form (SmolLM2, TinyLlama).
    Llama,
    /// Qwen2 and Qwen2.5: Llama's form with biases on q, k and v.
    Qwen2,
}

/// What stands behind the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `[vocab, hidden]`: the next token's logits.
    Language,
    /// `[1, hidden]`: one number for a whole sequence, after its last token.
    Score {
        /// The token that transformers takes for padding, wherever it came from: the sequence ends before those at its end.
        pad: Option<u32>,
    },
}

/// Sizes and constants of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub intermediate: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    /// ε of RMSNorm.
    pub rms_eps: f32,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// What it gives.
    pub head: Head,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// A bias on o.
    pub o_bias: bool,
    /// Biases in the feed-forward block.
    pub mlp_bias: bool,
    /// Inverse frequencies of the rotary positions, `[head_dim / 2]`, scaling applied.
    pub inverse_frequencies: Vec<f32>,
    /// Tokens that end a completion.
    pub eos: Vec<u32>,
}

impl ModelConfig {
    /// Reads `config.json` (and `generation_config.json` where there is one) of a Hugging Face folder.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let json = Json::open(&path)?;
        let generation = folder.join("generation_config.json");
        let generation = if generation.exists() {
            Some(Json::open(&generation)?)
        } else {
            None
        };
        Self::from_json(&json, generation.as_ref())
    }

    fn from_json(json: &Json, generation: Option<&Json>) -> Result<Self> {
        let architecture = match json.str("model_type")? {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            other => {
                return Err(json.error(format!("model_type is `{other}`; supported are `llama` and `qwen2`")));
            }
        };
        if let Some(activation) = json.value.get("hidden_act").and_then(Value::as_str)
            && activation != "silu"
        {
            return Err(json.error(format!("hidden_act is `{activation}`; supported is `silu`")));
        }
        if json.flag("use_sliding_window", false)? {
            return Err(json.error("use_sliding_window is true; sliding-window attention is not supported"));
        }
        let head = json.head()?;
        let hidden = json.size("hidden_size")?;
        let heads = json.size("num_attention_heads")?;
        let head_dim = match json.value.get("head_dim") {
            None | Some(Value::Null) => hidden.checked_div(heads).unwrap_or(0),
            Some(_) => json.size("head_dim")?,
        };
        let llama_bias = architecture == Architecture::Llama && json.flag("attention_bias", false)?;
        let mut config = Self {
            architecture,
            hidden,
            layers: json.size("num_hidden_layers")?,
            heads,
            kv_heads: json.size_or("num_key_value_heads", heads)?,
            head_dim,
            intermediate: json.size("intermediate_size")?,
            vocab: json.size("vocab_size")?,
            rms_eps: json.number_or("rms_norm_eps", 1e-6)? as f32,
            context: json.size_or("max_position_embeddings", 2048)?,
            head,
            tied: json.flag("tie_word_embeddings", false)? && head == Head::Language,
            qkv_bias: architecture == Architecture::Qwen2 || llama_bias,
            o_bias: llama_bias,
            mlp_bias: json.flag("mlp_bias", false)?,
            inverse_frequencies: Vec::new(),
            eos: match generation.map(|json| json.tokens("eos_token_id")).transpose()? {
                Some(tokens) if !tokens.is_empty() => tokens,
                _ => json.tokens("eos_token_id")?,
            },
        };
        // The frequencies are the first thing that is as long as a file says, so the sizes come before them.
        config.check_sizes().map_err(|what| json.error(what))?;
        config.inverse_frequencies = json.inverse_frequencies(config.head_dim)?;
        config.check_constants().map_err(|what| json.error(what))?;
        Ok(config)
    }

    /// Reads the metadata of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let name = gguf.get_str("general.architecture")?;
        let architecture = match name {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            other => {
                let what = format!("general.architecture is `{other}`; supported are `llama` and `qwen2`");
                return Err(Error::file(gguf.path(), what));
            }
        };
        let size = |key: &str| gguf.get_u32(&format!("{name}.{key}")).map(|value| value as usize);
        let size_or = |key: &str, default: usize| -> Result<usize> {
            Ok(gguf
                .find::<u32>(&format!("{name}.{key}"))?
                .map_or(default, |value| value as usize))
        };
        let hidden = size("embedding_length")?;
        let heads = size("attention.head_count")?;
        let head_dim = size_or("attention.key_length", hidden.checked_div(heads).unwrap_or(0))?;
        let embedding = gguf.tensor("token_embd.weight").map(|info| info.shape.clone());
        let vocab = embedding.and_then(|shape| shape.first().copied());
        let has = |name: &str| gguf.tensor(name).is_some();
        let eos = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
        let mut eos = eos
            .iter()
            .filter_map(|key| gguf.find(key).transpose())
            .collect::<Result<Vec<u32>>>()?;
        eos.dedup();
        let mut config = Self {
            architecture,
            hidden,
            layers: size("block_count")?,
            heads,
            kv_heads: size_or("attention.head_count_kv", heads)?,
            head_dim,
            intermediate: size("feed_forward_length")?,
            vocab: vocab.ok_or_else(|| Error::file(gguf.path(), "tensor token_embd.weight is missing"))?,
            rms_eps: gguf.get_f32(&format!("{name}.attention.layer_norm_rms_epsilon"))?,
            context: size("context_length")?,
            head: Head::Language,
            tied: !has("output.weight"),
            qkv_bias: has("blk.0.attn_q.bias"),
            o_bias: has("blk.0.attn_output.bias"),
            mlp_bias: has("blk.0.ffn_gate.bias"),
            inverse_frequencies: Vec::new(),
            eos,
        };
        config.check_sizes().map_err(|what| Error::file(gguf.path(), what))?;
        config.inverse_frequencies = gguf_frequencies(gguf, name, config.head_dim)?;
        config
            .check_constants()
            .map_err(|what| Error::file(gguf.path(), what))?;
        Ok(config)
    }

    /// The sizes must fit each other, and none may be so large that its product with another overflows. Those that no
    /// weight is held against before something of that size is made have limits far above any model.
    fn check_sizes(&self) -> std::result::Result<(), String> {
        let sizes = [
            ("hidden size", self.hidden, 28),
            ("number of layers", self.layers, 16),
            ("number of attention heads", self.heads, 28),
            ("number of key-value heads", self.kv_heads, 28),
            ("head dimension", self.head_dim, 16),
            ("intermediate size", self.intermediate, 28),
            ("vocabulary size", self.vocab, 28),
            ("context length", self.context, 28),
        ];
        for (what, size, bits) in sizes {
            if size == 0 || size > 1 << bits {
                return Err(format!("{what} is {size}, expected between 1 and 2^{bits}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "{} attention heads cannot share {} key-value heads evenly",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("head dimension is {}, expected an even number", self.head_dim));
        }
        Ok(())
    }

    /// No position and no norm may turn a number into none.
    fn check_constants(&self) -> std::result::Result<(), String> {
        if !(self.rms_eps >= 0.0 && self.rms_eps.is_finite()) {
            return Err(format!("the norm's epsilon is {}, expected 0 or more", self.rms_eps));
        }
        match self.inverse_frequencies.iter().find(|f| !(**f >= 0.0 && f.is_finite())) {
            Some(f) => Err(format!(
                "the rotary positions have the frequency {f}, expected 0 or more; their base or scaling is wrong"
            )),
            None => Ok(()),
        }
    }

    /// Width of the concatenated query heads.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// The tensor that the head multiplies with.
    pub fn head_name(&self) -> &'static str {
        match self.head {
            Head::Language if self.tied => "model.embed_tokens.weight",
            Head::Language => "lm_head.weight",
            Head::Score { .. } => "score.weight",
        }
    }

    /// `[out, in]` of that tensor.
    pub fn head_shape(&self) -> [usize; 2] {
        match self.head {
            Head::Language => [self.vocab, self.hidden],
            Head::Score { .. } => [1, self.hidden],
        }
    }

    /// Width of the concatenated key heads, and of the value heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// `[out, in]` of a module of every layer.
    pub fn module_shape(&self, module: Module) -> [usize; 2] {
        match module {
            Module::Q => [self.q_width(), self.hidden],
            Module::K | Module::V => [self.kv_width(), self.hidden],
            Module::O => [self.hidden, self.q_width()],
            Module::Gate | Module::Up => [self.intermediate, self.hidden],
            Module::Down => [self.hidden, self.intermediate],
        }
    }
}

/// The weight matrices of a layer: what an adapter can sit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Attention's output.
    O,
    /// The gate of the feed-forward block.
    Gate,
    /// Its other input half.
    Up,
    /// Its output.
    Down,
}

impl Module {
    /// All modules, in the order of [`Module::index`].
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Its place in [`Module::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in `target_modules` of a PEFT adapter.
    pub fn name(self) -> &'static str {
        [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ][self.index()]
    }

    /// The module of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.name() == name)
    }

    /// Its path in a checkpoint, such as `model.layers.3.self_attn.q_proj`.
    pub fn path(self, layer: usize) -> String {
        let block = if self.index() < 4 { "self_attn" } else { "mlp" };
        format!("model.layers.{layer}.{block}.{}", self.name())
    }
}

/// The rotary frequencies of a GGUF file of the architecture `name`.
fn gguf_frequencies(gguf: &Gguf, name: &str, head_dim: usize) -> Result<Vec<f32>> {
    let theta = gguf.find(&format!("{name}.rope.freq_base"))?.unwrap_or(10_000.0);
    check_positive("rope.freq_base", f64::from(theta)).map_err(|what| Error::file(gguf.path(), what))?;
    let mut frequencies = inverse_frequencies(theta, head_dim);
    match gguf.find::<&str>(&format!("{name}.rope.scaling.type"))? {
        None | Some("none") => {}
        Some("linear") => {
            let factor = gguf.get_f32(&format!("{name}.rope.scaling.factor"))?;
            check_positive("rope.scaling.factor", f64::from(factor)).map_err(|what| Error::file(gguf.path(), what))?;
            frequencies.iter_mut().for_each(|f| *f /= factor);
        }
        Some(other) => {
            let what = format!("rope scaling `{other}` is not supported; supported are none, linear and llama3");
            return Err(Error::file(gguf.path(), what));
        }
    }
    // llama.cpp's converter writes Llama-3's scaling as one divisor a frequency.
    if let Some(info) = gguf.tensor("rope_freqs.weight") {
        if info.len() != frequencies.len() {
            let what = format!(
                "rope_freqs.weight has shape {:?}, expected [{}]",
                info.shape,
                head_dim / 2
            );
            return Err(Error::file(gguf.path(), what));
        }
        let factors = gguf.dequantize("rope_freqs.weight")?;
        frequencies.iter_mut().zip(factors).for_each(|(f, factor)| *f /= factor);
    }
    Ok(frequencies)
}

/// A base or a factor of the rotary positions, which goes into `f32`.
fn check_positive(key: &str, value: f64) -> std::result::Result<(), String> {
    match value > 0.0 && (value as f32).is_finite() {
        true => Ok(()),
        false => Err(format!("{key} is {value}, expected a number above 0")),
    }
}

/// 1 / θ^(2i / head_dim), in f32 as the reference computes it.
fn inverse_frequencies(theta: f32, head_dim: usize) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|i| 1.0 / theta.powf((2 * i) as f32 / head_dim as f32))
        .collect()
}

/// A JSON object and the file that it came from, for errors that name both.
struct Json<'a> {
    path: &'a Path,
    value: Value,
}

impl<'a> Json<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let text = read_config_text(path)?;
        let value = serde_json::from_str(&text).map_err(|e| Error::file(path, format!("not valid JSON: {e}")))?;
        Ok(Self { path, value })
    }

    fn error(&self, what: impl Into<String>) -> Error {
        Error::file(self.path, what)
    }

    fn str(&self, key: &str) -> Result<&str> {
        let value = self.value.get(key).and_then(Value::as_str);
        value.ok_or_else(|| self.error(format!("key `{key}` is missing or not a string")))
    }

    fn size(&self, key: &str) -> Result<usize> {
        let value = self.value.get(key).and_then(Value::as_u64);
        let value = value.ok_or_else(|| self.error(format!("key `{key}` is missing or not a whole number")))?;
        usize::try_from(value).map_err(|_| self.error(format!("key `{key}` is {value}, which is too large")))
    }

    fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.size(key),
        }
    }

    fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| self.error(format!("key `{key}` is {value}, expected a number"))),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.error(format!("key `{key}` is {value}, expected true or false"))),
        }
    }

    /// One token, several, or none.
    fn tokens(&self, key: &str) -> Result<Vec<u32>> {
        let values = match self.value.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        let tokens: Option<Vec<u32>> = values.iter().map(token).collect();
        tokens.ok_or_else(|| self.error(format!("key `{key}` is {values:?}, expected token numbers")))
    }

    /// The head that `architectures` names; a config without it is a language model's.
    fn head(&self) -> Result<Head> {
        let named = match &self.value["architectures"] {
            Value::Array(names) => names.first().unwrap_or(&Value::Null),
            other => other,
        };
        match named.as_str() {
            None if named.is_null() => return Ok(Head::Language),
            // However the family before it is spelt, which `model_type` decides.
            Some(name) if name.ends_with("ForCausalLM") => return Ok(Head::Language),
            Some("LlamaForSequenceClassification" | "Qwen2ForSequenceClassification") => {}
            _ => {
                return Err(self.error(format!(
                    "architectures is {named}; supported are LlamaForCausalLM and Qwen2ForCausalLM, and as reward models LlamaForSequenceClassification and Qwen2ForSequenceClassification"
                )));
            }
        }
        // As transformers counts them, for which a classifier that says nothing has two.
        let labels = match &self.value["id2label"] {
            Value::Object(labels) => labels.len(),
            _ => self.size_or("num_labels", 2)?,
        };
        if labels != 1 {
            return Err(self.error(format!(
                "the classifier has {labels} labels, expected the one of a reward model (num_labels, id2label)"
            )));
        }
        let pad = self.tokens("pad_token_id")?.first().copied();
        Ok(Head::Score { pad })
    }

    /// Rotary frequencies: transformers 5 keeps everything in `rope_parameters`, transformers 4 has `rope_theta`
    /// beside `rope_scaling`.
    fn inverse_frequencies(&self, head_dim: usize) -> Result<Vec<f32>> {
        let object = |key: &str| match self.value.get(key) {
            Some(value @ Value::Object(_)) => Some(Json {
                path: self.path,
                value: value.clone(),
            }),
            _ => None,
        };
        let parameters = object("rope_parameters").or_else(|| object("rope_scaling"));
        let positive = |key: &str, value: f64| check_positive(key, value).map_err(|what| self.error(what));
        let own_theta = self.number_or("rope_theta", 10_000.0)?;
        positive("rope_theta", own_theta)?;
        let Some(parameters) = parameters else {
            return Ok(inverse_frequencies(own_theta as f32, head_dim));
        };
        let theta = parameters.number_or("rope_theta", own_theta)?;
        positive("rope_theta", theta)?;
        let mut frequencies = inverse_frequencies(theta as f32, head_dim);
        if parameters.number_or("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(self.error("partial_rotary_factor is not 1; partial rotary positions are not supported"));
        }
        let kind = parameters
            .str("rope_type")
            .or_else(|_| parameters.str("type"))
            .unwrap_or("default");
        let number = |key: &str| -> Result<f64> {
            let value = parameters.value.get(key).and_then(Value::as_f64);
            let value = value.ok_or_else(|| self.error(format!("rope key `{key}` is missing or not a number")))?;
            positive(key, value)?;
            Ok(value)
        };
        match kind {
            "default" => {}
            "linear" => {
                let factor = number("factor")? as f32;
                frequencies.iter_mut().for_each(|f| *f /= factor);
            }
            "llama3" => {
                let (factor, original) = (number("factor")?, number("original_max_position_embeddings")?);
                let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
                if low >= high {
                    let what =
                        format!("low_freq_factor is {low}, expected less than high_freq_factor, which is {high}");
                    return Err(self.error(what));
                }
                frequencies
                    .iter_mut()
                    .for_each(|f| *f = llama3_frequency(f64::from(*f), factor, low, high, original) as f32);
            }
            other => {
                let what = format!("rope scaling `{other}` is not supported; supported are default, linear and llama3");
                return Err(self.error(what));
            }
        }
        Ok(frequencies)
    }
}

/// Llama 3.1's scaling: long waves are slowed by `factor`, short ones kept, those between interpolated.
fn llama3_frequency(f: f64, factor: f64, low: f64, high: f64, original_context: f64) -> f64 {
    let wavelength = 2.0 * std::f64::consts::PI / f;
    if wavelength > original_context / low {
        f / factor
    } else if wavelength < original_context / high {
        f
    } else {
        let smooth = (original_context / wavelength - low) / (high - low);
        (1.0 - smooth) * f / factor + smooth * f
    }
}
