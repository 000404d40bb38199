//! What a model is, apart from its numbers: its family and what the family leaves to a config, sizes, what each layer's attention
//! sees, end tokens. Read from a `config.json` as transformers 4 and as transformers 5 writes it (the latter moved the rotary
//! settings into `rope_parameters` and renamed `torch_dtype`), or from the metadata of a GGUF file. Whatever might change the
//! arithmetic and is not read is refused here, so that a model either runs as its authors meant or not at all.

use super::family::{Bias, Cap, Family, GGUF_KEYS, OTHER_KINDS, QkNorm, Scale, Window};
use super::gguf::Gguf;
use super::json::Json;
use super::kernels::{Activation, Attention};
use super::rotary::{self, Positions};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

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
    pub family: &'static Family,
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
    /// What the gate goes through.
    pub activation: Activation,
    /// What numbers are multiplied by on their way.
    pub scales: Scales,
    /// What numbers are bent to.
    pub caps: Caps,
    /// The rotary positions that layers may have.
    pub rotary: Vec<Positions>,
    /// What attention sees, of each layer.
    pub attention: Vec<LayerAttention>,
    /// Tokens that end a completion.
    pub eos: Vec<u32>,
}

/// What numbers are multiplied by on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// The embedding.
    pub embedding: f32,
    /// q kᵀ.
    pub attention: f32,
    /// Each branch, before it joins the residual stream.
    pub residual: f32,
    /// Logits.
    pub logits: f32,
}

impl Scales {
    /// Those of a family; `number` gives a key of the config, or its default.
    fn of(family: &Family, [hidden, head_dim]: [usize; 2], number: &dyn Fn(&str, f64) -> Result<f64>) -> Result<Self> {
        let factor = |scale: Scale| -> Result<f32> {
            Ok(match scale {
                Scale::One => 1.0,
                Scale::RootOfHidden => (hidden as f64).sqrt() as f32,
                Scale::HeadDim => 1.0 / (head_dim as f32).sqrt(),
                Scale::Key(key, default) => number(key, default)? as f32,
                Scale::Inverse(key, default) => (1.0 / number(key, default)?) as f32,
                Scale::InverseRoot(key, default) => (1.0 / number(key, default)?.sqrt()) as f32,
            })
        };
        Ok(Self {
            embedding: factor(family.embedding_scale)?,
            attention: factor(family.attention_scale)?,
            residual: factor(family.residual_scale)?,
            logits: factor(family.logit_scale)?,
        })
    }
}

/// What numbers are bent to, by cap · tanh(x / cap).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Caps {
    /// Attention's scores.
    pub attention: Option<f32>,
    /// Logits.
    pub logits: Option<f32>,
}

/// What attention sees in a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerAttention {
    /// How many positions a row reads, its own among them; all before it where there is no window.
    pub window: Option<usize>,
    /// Which of the model's rotary positions the layer has, if any.
    pub rotary: Option<usize>,
}

impl Default for LayerAttention {
    /// Everything, by the first rotary positions.
    fn default() -> Self {
        Self {
            window: None,
            rotary: Some(0),
        }
    }
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
        let family = family(json)?;
        check_keys(json, family)?;
        let head = head(json, family)?;
        let hidden = json.size("hidden_size")?;
        let heads = json.size("num_attention_heads")?;
        let head_dim = json.size_or(
            "head_dim",
            family.head_dim.unwrap_or(hidden.checked_div(heads).unwrap_or(0)),
        )?;
        let kv_heads = match family.kv_heads_stated && json.value.get("num_key_value_heads").is_none() {
            true => json.size("num_key_value_heads")?,
            false => json.size_or("num_key_value_heads", heads)?,
        };
        let bias = |bias: Bias| match bias {
            Bias::Never => Ok(false),
            Bias::Always => Ok(true),
            Bias::Key(key, default) => json.flag(key, default),
        };
        let mut config = Self {
            family,
            hidden,
            layers: json.size("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            intermediate: json.size("intermediate_size")?,
            vocab: json.size("vocab_size")?,
            rms_eps: json.number_or("rms_norm_eps", family.rms_eps)? as f32,
            context: rotary::context(json)?,
            head,
            tied: json.flag("tie_word_embeddings", family.tied)? && head == Head::Language,
            qkv_bias: bias(family.qkv_bias)?,
            o_bias: bias(family.o_bias)?,
            mlp_bias: bias(family.mlp_bias)?,
            activation: activation(json, family)?,
            scales: Scales::of(family, [hidden, head_dim], &|key, default| json.number_or(key, default))?,
            caps: Caps {
                attention: cap(json, family.attention_cap)?,
                logits: cap(json, family.logit_cap)?,
            },
            rotary: Vec::new(),
            attention: Vec::new(),
            eos: match generation.map(|json| json.tokens("eos_token_id")).transpose()? {
                Some(tokens) if !tokens.is_empty() => tokens,
                _ => json.tokens("eos_token_id")?,
            },
        };
        // The frequencies are the first thing that is as long as a file says, so the sizes come before them.
        config.check_sizes().map_err(|what| json.error(what))?;
        let sizes = rotary::Sizes {
            head_dim,
            context: config.context,
        };
        config.rotary = Positions::from_json(json, &family.rotary, sizes)?;
        config.attention = layers_attention(json, family, config.layers)?;
        config.check_constants().map_err(|what| json.error(what))?;
        Ok(config)
    }

    /// Reads the metadata of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let name = gguf.get_str("general.architecture")?;
        let family = Family::of_gguf(name).ok_or_else(|| {
            let what = format!(
                "general.architecture is `{name}`; supported are {}",
                Family::gguf_names()
            );
            Error::file(gguf.path(), what)
        })?;
        check_gguf_keys(gguf, name, family)?;
        let size = |key: &str| gguf.get_u32(&format!("{name}.{key}")).map(|value| value as usize);
        let size_or = |key: &str, default: usize| -> Result<usize> {
            Ok(gguf
                .find::<u32>(&format!("{name}.{key}"))?
                .map_or(default, |value| value as usize))
        };
        let hidden = size("embedding_length")?;
        let heads = size("attention.head_count")?;
        let head_dim = size_or("attention.key_length", hidden.checked_div(heads).unwrap_or(0))?;
        let value_dim = size_or("attention.value_length", head_dim)?;
        if value_dim != head_dim {
            let what = format!("attention.value_length is {value_dim}, expected that of keys, {head_dim}");
            return Err(Error::file(gguf.path(), what));
        }
        let number = |key: &str, default: f64| -> Result<f64> {
            let key = format!("{name}.{}", gguf_key(key));
            Ok(gguf.find::<f32>(&key)?.map_or(default, f64::from))
        };
        let embedding = gguf.tensor("token_embd.weight").map(|info| info.shape.clone());
        let vocab = embedding.and_then(|shape| shape.first().copied());
        let has = |name: &str| gguf.tensor(name).is_some();
        let eos = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
        let mut eos = eos
            .iter()
            .filter_map(|key| gguf.find(key).transpose())
            .collect::<Result<Vec<u32>>>()?;
        eos.dedup();
        let layers = size("block_count")?;
        let mut config = Self {
            family,
            hidden,
            layers,
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
            mlp_bias: has("blk.0.ffn_down.bias"),
            activation: family.activation.1,
            scales: Scales::of(family, [hidden, head_dim], &number)?,
            caps: Caps::default(),
            rotary: Vec::new(),
            attention: Vec::new(),
            eos,
        };
        config.check_sizes().map_err(|what| Error::file(gguf.path(), what))?;
        config.rotary = vec![Positions::from_gguf(gguf, name, &family.rotary, head_dim)?];
        let window = match family.window {
            Window::Everywhere(_) => size_or("attention.sliding_window", 0)?,
            _ => 0,
        };
        let of_layer = LayerAttention {
            window: (window > 0).then_some(window),
            ..LayerAttention::default()
        };
        config.attention = vec![of_layer; layers];
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
        let Scales {
            embedding,
            attention,
            residual,
            logits,
        } = self.scales;
        let caps = [self.caps.attention, self.caps.logits];
        for (what, factor) in [
            ("the embedding's scale", embedding),
            ("attention's scale", attention),
            ("the residual stream's scale", residual),
            ("the logits' scale", logits),
        ]
        .into_iter()
        .chain(caps.into_iter().flatten().map(|cap| ("a soft-cap", cap)))
        {
            if !(factor > 0.0 && factor.is_finite()) {
                return Err(format!("{what} is {factor}, expected a number above 0"));
            }
        }
        let mut amplitudes = self.rotary.iter().map(|positions| positions.amplitude);
        if let Some(amplitude) = amplitudes.find(|amplitude| !(*amplitude > 0.0 && amplitude.is_finite())) {
            return Err(format!(
                "the rotary positions' attention factor is {amplitude}, expected a number above 0"
            ));
        }
        let frequencies = self.rotary.iter().flat_map(|positions| &positions.inverse_frequencies);
        let mut wrong = frequencies.filter(|f| !(**f >= 0.0 && f.is_finite()));
        match wrong.next() {
            Some(f) => Err(format!(
                "the rotary positions have the frequency {f}, expected 0 or more; their base or scaling is wrong"
            )),
            None => Ok(()),
        }
    }

    /// What a layer's scores go through.
    pub fn layer_attention(&self, layer: usize) -> Attention {
        Attention {
            scale: self.scales.attention,
            cap: self.caps.attention,
            window: self.attention[layer].window,
        }
    }

    /// How long the norms of queries and of keys are, if there are any.
    pub fn qk_norm_widths(&self) -> Option<[usize; 2]> {
        match self.family.qk_norm {
            QkNorm::None => None,
            QkNorm::Head => Some([self.head_dim; 2]),
            QkNorm::Width => Some([self.q_width(), self.kv_width()]),
        }
    }

    /// Numbers in a layer's norms.
    pub fn norm_numbers(&self) -> usize {
        let of_qk = self.qk_norm_widths().map_or(0, |widths| widths.iter().sum());
        self.family.norms.count() * self.hidden + of_qk
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

    /// The matrices of a layer as they lie in a folder, each by its name with the modules whose rows it holds, in order.
    pub fn matrices(&self) -> impl Iterator<Item = (&'static str, &'static [Module])> {
        use Module::{Down, Gate, K, O, Q, Up, V};
        let qkv: &[(_, &[_])] = match self.family.fused_qkv {
            false => &[
                ("self_attn.q_proj", &[Q]),
                ("self_attn.k_proj", &[K]),
                ("self_attn.v_proj", &[V]),
            ],
            true => &[("self_attn.qkv_proj", &[Q, K, V])],
        };
        let gate_up: &[(_, &[_])] = match self.family.fused_gate_up {
            false => &[("mlp.gate_proj", &[Gate]), ("mlp.up_proj", &[Up])],
            true => &[("mlp.gate_up_proj", &[Gate, Up])],
        };
        let rest: [&[(_, &[_])]; 2] = [&[("self_attn.o_proj", &[O])], &[("mlp.down_proj", &[Down])]];
        [qkv, rest[0], gate_up, rest[1]].into_iter().flatten().copied()
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

    /// Its path, such as `model.layers.3.self_attn.q_proj`: that of its tensor too, where the family does not have several modules in one
    /// ([`ModelConfig::matrices`]).
    pub fn path(self, layer: usize) -> String {
        let block = if self.index() < 4 { "self_attn" } else { "mlp" };
        format!("model.layers.{layer}.{block}.{}", self.name())
    }
}

/// The family that `model_type` names.
fn family(json: &Json) -> Result<&'static Family> {
    let name = json.str("model_type")?;
    for (key, what) in OTHER_KINDS {
        if json.stated().any(|(stated, _)| stated == key) {
            return Err(json.error(format!("model_type is `{name}`, a model with `{key}`: it has {what}")));
        }
    }
    Family::of_model_type(name)
        .ok_or_else(|| json.error(format!("model_type is `{name}`; supported are {}", Family::names())))
}

/// What is neither read nor known to change nothing is refused: it may be what makes the model another one.
fn check_keys(json: &Json, family: &Family) -> Result<()> {
    match json.stated().find(|(key, _)| !family.knows(key)) {
        None => Ok(()),
        Some((key, value)) => Err(json.error(format!(
            "key `{key}` is {value}, which nobody reads in a `{}` and which may change what the model computes; remove it if it does not",
            family.name
        ))),
    }
}

/// The head that `architectures` names; a config without it is a language model's.
fn head(json: &Json, family: &Family) -> Result<Head> {
    let named = match &json.value["architectures"] {
        Value::Array(names) => names.first().unwrap_or(&Value::Null),
        other => other,
    };
    match named.as_str() {
        None if named.is_null() => return Ok(Head::Language),
        // However the family before it is spelt, which `model_type` decides.
        Some(name) if name.ends_with("ForCausalLM") => return Ok(Head::Language),
        Some(name) if family.classifiers && name == format!("{}ForSequenceClassification", family.class) => {}
        _ => {
            return Err(json.error(format!(
                "architectures is {named}; supported are {}ForCausalLM, and as reward models LlamaForSequenceClassification and Qwen2ForSequenceClassification",
                family.class
            )));
        }
    }
    // As transformers counts them, for which a classifier that says nothing has two.
    let labels = match &json.value["id2label"] {
        Value::Object(labels) => labels.len(),
        _ => json.size_or("num_labels", 2)?,
    };
    if labels != 1 {
        return Err(json.error(format!(
            "the classifier has {labels} labels, expected the one of a reward model (num_labels, id2label)"
        )));
    }
    let pad = json.tokens("pad_token_id")?.first().copied();
    Ok(Head::Score { pad })
}

/// GGUF's name of a factor.
fn gguf_key(key: &str) -> &str {
    match key {
        "attention_multiplier" => "attention.scale",
        "embedding_multiplier" => "embedding_scale",
        "residual_multiplier" => "residual_scale",
        "logits_scaling" => "logit_scale",
        other => other,
    }
}

/// As [`check_keys`]: of an architecture's own metadata nothing may be passed over.
fn check_gguf_keys(gguf: &Gguf, name: &str, family: &Family) -> Result<()> {
    let own = family.gguf.as_ref().map_or(&[][..], |form| form.keys);
    for key in gguf.keys() {
        let Some(rest) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let is_known = match rest {
            "attention.causal" => gguf.get_bool(key)?,
            _ => GGUF_KEYS.contains(&rest) || own.contains(&rest),
        };
        let says_nothing = || {
            let flag = matches!(gguf.find::<bool>(key), Ok(Some(false))) && rest != "attention.causal";
            flag || matches!(gguf.find::<u32>(key), Ok(Some(0)))
        };
        if !is_known && !says_nothing() {
            let what =
                format!("metadata key `{key}` is one that nobody reads, and that may change what the model computes");
            return Err(Error::file(gguf.path(), what));
        }
    }
    Ok(())
}

fn activation(json: &Json, family: &Family) -> Result<Activation> {
    let (key, usual) = family.activation;
    if !json.has(key) {
        return Ok(usual);
    }
    match json.str(key)? {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        other => Err(json.error(format!(
            "{key} is `{other}`; supported are `silu` and `gelu_pytorch_tanh`"
        ))),
    }
}

fn cap(json: &Json, cap: Cap) -> Result<Option<f32>> {
    match cap {
        Cap::Never => Ok(None),
        Cap::Key(key, default) if json.value.get(key).is_none() => Ok(default.map(|cap| cap as f32)),
        Cap::Key(key, _) if !json.has(key) => Ok(None),
        Cap::Key(key, _) => Ok(Some(json.number_or(key, 0.0)? as f32)),
    }
}

/// What attention sees in each layer: `layer_types` say it, and where they do not, the family's rule.
fn layers_attention(json: &Json, family: &Family, layers: usize) -> Result<Vec<LayerAttention>> {
    // A key that is not there has the family's default, and null is no window.
    let stated = |default: Option<usize>| match json.value.get("sliding_window") {
        None => Ok(default),
        Some(_) if !json.has("sliding_window") => Ok(None),
        Some(_) => json.size("sliding_window").map(Some),
    };
    let switched = |default: Option<usize>| match json.flag("use_sliding_window", false)? {
        true => stated(default),
        false => Ok(None),
    };
    let without_rotary = layers_without_rotary(json, family, layers)?;
    let (window, is_windowed): (Option<usize>, Vec<bool>) = match family.window {
        Window::Never => (None, vec![false; layers]),
        Window::Everywhere(default) => (stated(default)?, vec![true; layers]),
        Window::From(default, first) => {
            let first = json.size_or("max_window_layers", first)?;
            (
                switched(Some(default))?,
                (0..layers).map(|layer| layer >= first).collect(),
            )
        }
        Window::AllBut(key, default, window) => {
            let every = match key {
                Some(key) => json.size_or(key, default)?,
                None => default,
            };
            if every == 0 {
                return Err(json.error("sliding_window_pattern is 0, expected 1 or more"));
            }
            let is_windowed = (1..=layers).map(|layer| !layer.is_multiple_of(every)).collect();
            (stated(Some(window))?, is_windowed)
        }
        Window::WithoutRotary => (switched(None)?, without_rotary.clone()),
    };
    if window == Some(0) {
        return Err(json.error("sliding_window is 0, expected 1 or more"));
    }
    let named = layer_types(json, layers)?;
    let by_rule = is_windowed
        .into_iter()
        .map(|is_windowed| is_windowed && window.is_some());
    let is_windowed: Vec<bool> = match (named, family.window) {
        (None, _) => by_rule.collect(),
        // These read no layer types; such as say something else are another model's.
        (Some(named), Window::Never | Window::Everywhere(_)) if by_rule.clone().ne(named.iter().copied()) => {
            return Err(json.error(format!("layer_types are not those of a `{}`", family.name)));
        }
        (Some(named), _) if window.is_none() && named.contains(&true) => {
            return Err(json.error("layer_types has `sliding_attention`, and sliding_window is not set"));
        }
        (Some(named), _) => named,
    };
    let of_layer = |(is_windowed, without_rotary): (bool, bool)| LayerAttention {
        window: window.filter(|_| is_windowed),
        rotary: (!without_rotary).then_some(usize::from(is_windowed && family.rotary.local_base.is_some())),
    };
    Ok(is_windowed.into_iter().zip(without_rotary).map(of_layer).collect())
}

/// Whether `layer_types` give each layer a window.
fn layer_types(json: &Json, layers: usize) -> Result<Option<Vec<bool>>> {
    let Some(types) = json.value["layer_types"].as_array() else {
        return match json.has("layer_types") {
            false => Ok(None),
            true => Err(json.error("layer_types is not a list")),
        };
    };
    let is_windowed = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(json.error(format!(
            "layer_types has {kind}; supported are `full_attention` and `sliding_attention`"
        ))),
    };
    if types.len() != layers {
        let what = format!(
            "layer_types names {} layers, and num_hidden_layers is {layers}",
            types.len()
        );
        return Err(json.error(what));
    }
    types.iter().map(is_windowed).collect::<Result<_>>().map(Some)
}

/// Which layers have no rotary positions.
fn layers_without_rotary(json: &Json, family: &Family, layers: usize) -> Result<Vec<bool>> {
    if !family.rotary.has_layers_without {
        return Ok(vec![false; layers]);
    }
    if !json.has("no_rope_layers") {
        let every = json.size_or("no_rope_layer_interval", 4)?;
        if every == 0 {
            return Err(json.error("no_rope_layer_interval is 0, expected 1 or more"));
        }
        return Ok((1..=layers).map(|layer| layer.is_multiple_of(every)).collect());
    }
    // 1 where a layer has positions.
    let stated = json.value["no_rope_layers"].as_array().into_iter().flatten();
    let without: Option<Vec<bool>> = stated
        .map(|has| match has.as_u64() {
            Some(0) => Some(true),
            Some(1) => Some(false),
            _ => None,
        })
        .collect();
    match without {
        Some(without) if without.len() >= layers => Ok(without[..layers].to_vec()),
        _ => Err(json.error(format!("no_rope_layers is not a list of {layers} zeros and ones"))),
    }
}
