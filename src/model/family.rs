//! Families of models, a row each: what a family computes otherwise than Llama, and by which names its numbers and settings go.
//! Whoever reads a model's config, its files or its adapters, and whoever runs it, looks here; nobody else asks which family
//! a model is of. What a config may say is a list as well: a key that is neither here nor known to change nothing is refused.

use super::kernels::Activation;

/// A family.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// `model_type` of its config.json.
    pub name: &'static str,
    /// As people call it.
    pub title: &'static str,
    /// What its class names begin with, such as `Llama` of `LlamaForCausalLM`.
    pub class: &'static str,
    /// Whether its reward models run (`…ForSequenceClassification` with one label).
    pub classifiers: bool,
    /// How its GGUF files are written; none where they are not read.
    pub gguf: Option<GgufForm>,
    /// The norms of a layer.
    pub norms: Norms,
    /// What is added to a stored norm weight, in a Hugging Face folder.
    pub norm_offset: f32,
    /// ε of the norms, where a config says nothing.
    pub rms_eps: f64,
    /// The norm of queries and keys.
    pub qk_norm: QkNorm,
    /// Biases on q, k and v.
    pub qkv_bias: Bias,
    /// A bias on o.
    pub o_bias: Bias,
    /// Biases in the feed-forward block.
    pub mlp_bias: Bias,
    /// Where a config names the activation, and which it is where it says nothing.
    pub activation: (&'static str, Activation),
    /// Width of a head where a config does not say; the hidden size's share where this is none.
    pub head_dim: Option<usize>,
    /// Whether a config must say how many key-value heads there are; where it need not, there are as many as heads.
    pub kv_heads_stated: bool,
    /// Whether the head is the embedding, where a config says nothing.
    pub tied: bool,
    /// What the embedding is multiplied by.
    pub embedding_scale: Scale,
    /// What q kᵀ is multiplied by.
    pub attention_scale: Scale,
    /// What each branch is multiplied by before it joins the residual stream.
    pub residual_scale: Scale,
    /// What logits are multiplied by.
    pub logit_scale: Scale,
    /// The cap on attention's scores.
    pub attention_cap: Cap,
    /// The cap on logits.
    pub logit_cap: Cap,
    /// Which layers see only the positions just before.
    pub window: Window,
    /// The rotary positions.
    pub rotary: Rotary,
    /// Whether q, k and v lie in one tensor, `qkv_proj`.
    pub fused_qkv: bool,
    /// Whether gate and up lie in one tensor, `gate_up_proj`.
    pub fused_gate_up: bool,
    /// Keys of config.json beyond those that every family has.
    pub keys: &'static [&'static str],
}

/// How a family's GGUF files are written.
#[derive(Debug, PartialEq)]
pub struct GgufForm {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// Whether the two halves of each head's rows of q and k are stored interleaved.
    pub is_permuted: bool,
    /// Keys of its metadata beyond [`GGUF_KEYS`], without the architecture before them.
    pub keys: &'static [&'static str],
}

/// Names of a layer's norms in a Hugging Face folder, by their places; none where there is no norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// On what attention reads.
    pub before_attention: Option<&'static str>,
    /// On what attention gives.
    pub after_attention: Option<&'static str>,
    /// On what the feed-forward block reads.
    pub before_mlp: Option<&'static str>,
    /// On what it gives.
    pub after_mlp: Option<&'static str>,
}

impl Norms {
    /// Those that there are, in the order in which they are applied, each with its name in GGUF.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = [
            ("attn_norm", self.before_attention),
            ("post_attention_norm", self.after_attention),
            ("ffn_norm", self.before_mlp),
            ("post_ffw_norm", self.after_mlp),
        ];
        all.into_iter().filter_map(|(own, theirs)| Some((own, theirs?)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.named().count()
    }
}

/// The norm of queries and keys, before they are turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QkNorm {
    /// There is none.
    None,
    /// Each head by itself.
    Head,
    /// All heads as one vector.
    Width,
}

/// Whether products have biases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bias {
    /// Never.
    Never,
    /// Always.
    Always,
    /// As a key of the config says, and whether they are there where it says nothing.
    Key(&'static str, bool),
}

/// A factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// 1.
    One,
    /// √hidden size.
    RootOfHidden,
    /// 1 / √width of a head.
    HeadDim,
    /// A key of the config, and what it is where the config says nothing.
    Key(&'static str, f64),
    /// 1 / the key.
    Inverse(&'static str, f64),
    /// 1 / √the key.
    InverseRoot(&'static str, f64),
}

/// A bound that numbers are bent to by a tanh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cap {
    /// There is none.
    Never,
    /// A key of the config, and what it is where the config says nothing; null is no cap.
    Key(&'static str, Option<f64>),
}

/// Which layers see only `sliding_window` positions, where no `layer_types` says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Window {
    /// None.
    Never,
    /// All, if `sliding_window` is a number; its default.
    Everywhere(Option<usize>),
    /// If `use_sliding_window` is true, those from `max_window_layers` on; defaults of `sliding_window` and of that.
    From(usize, usize),
    /// All but each n-th, n being the key's or the default; the default of `sliding_window`.
    AllBut(Option<&'static str>, usize, usize),
    /// If `use_sliding_window` is true, those without rotary positions.
    WithoutRotary,
}

/// The rotary positions of a family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// The base where a config says nothing.
    pub base: f64,
    /// Layers with a window have a base of their own, its default here, and no scaling.
    pub local_base: Option<f64>,
    /// What part of a head is turned where a config says nothing; none where it is always all of it.
    pub part: Option<f64>,
    /// Whether dimension 2i pairs with 2i + 1, and not i with i + half.
    pub interleaved: bool,
    /// Whether `no_rope_layers` or `no_rope_layer_interval` name layers without positions.
    pub has_layers_without: bool,
}

const LLAMA: Family = Family {
    name: "llama",
    title: "Llama 1 to 3, SmolLM2, TinyLlama",
    class: "Llama",
    classifiers: true,
    gguf: Some(GgufForm {
        architecture: "llama",
        is_permuted: true,
        keys: &[],
    }),
    norms: Norms {
        before_attention: Some("input_layernorm"),
        after_attention: None,
        before_mlp: Some("post_attention_layernorm"),
        after_mlp: None,
    },
    norm_offset: 0.0,
    rms_eps: 1e-6,
    qk_norm: QkNorm::None,
    qkv_bias: Bias::Key("attention_bias", false),
    o_bias: Bias::Key("attention_bias", false),
    mlp_bias: Bias::Key("mlp_bias", false),
    activation: ("hidden_act", Activation::Silu),
    head_dim: None,
    kv_heads_stated: false,
    tied: false,
    embedding_scale: Scale::One,
    attention_scale: Scale::HeadDim,
    residual_scale: Scale::One,
    logit_scale: Scale::One,
    attention_cap: Cap::Never,
    logit_cap: Cap::Never,
    window: Window::Never,
    rotary: Rotary {
        base: 10_000.0,
        local_base: None,
        part: None,
        interleaved: false,
        has_layers_without: false,
    },
    fused_qkv: false,
    fused_gate_up: false,
    keys: &["attention_bias", "mlp_bias"],
};

const GEMMA_2: Family = Family {
    name: "gemma2",
    title: "Gemma 2",
    class: "Gemma2",
    classifiers: false,
    gguf: None,
    norms: Norms {
        before_attention: Some("input_layernorm"),
        after_attention: Some("post_attention_layernorm"),
        before_mlp: Some("pre_feedforward_layernorm"),
        after_mlp: Some("post_feedforward_layernorm"),
    },
    norm_offset: 1.0,
    mlp_bias: Bias::Never,
    activation: ("hidden_activation", Activation::GeluTanh),
    head_dim: Some(256),
    kv_heads_stated: true,
    tied: true,
    embedding_scale: Scale::RootOfHidden,
    attention_scale: Scale::InverseRoot("query_pre_attn_scalar", 256.0),
    attention_cap: Cap::Key("attn_logit_softcapping", Some(50.0)),
    logit_cap: Cap::Key("final_logit_softcapping", Some(30.0)),
    window: Window::AllBut(None, 2, 4096),
    keys: &[
        "attention_bias",
        "hidden_activation",
        "query_pre_attn_scalar",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "sliding_window",
        "sliding_window_size", // of the first files, beside the former, and never read
    ],
    ..LLAMA
};

/// Every family that runs.
pub static FAMILIES: [Family; 11] = [
    LLAMA,
    Family {
        name: "mistral",
        title: "Mistral 7B, Mistral Nemo, Mistral Small (text)",
        class: "Mistral",
        classifiers: false,
        gguf: None,
        qkv_bias: Bias::Never,
        o_bias: Bias::Never,
        mlp_bias: Bias::Never,
        kv_heads_stated: true,
        window: Window::Everywhere(Some(4096)),
        keys: &["sliding_window"],
        ..LLAMA
    },
    Family {
        name: "qwen2",
        title: "Qwen2, Qwen2.5",
        class: "Qwen2",
        gguf: Some(GgufForm {
            architecture: "qwen2",
            is_permuted: false,
            keys: &[],
        }),
        qkv_bias: Bias::Always,
        o_bias: Bias::Never,
        mlp_bias: Bias::Never,
        window: Window::From(4096, 28),
        keys: &["use_sliding_window", "sliding_window", "max_window_layers"],
        ..LLAMA
    },
    Family {
        name: "qwen3",
        title: "Qwen3 (dense)",
        class: "Qwen3",
        classifiers: false,
        gguf: Some(GgufForm {
            architecture: "qwen3",
            is_permuted: false,
            keys: &[],
        }),
        qk_norm: QkNorm::Head,
        mlp_bias: Bias::Never,
        head_dim: Some(128),
        kv_heads_stated: true,
        window: Window::From(4096, 28),
        keys: &[
            "attention_bias",
            "use_sliding_window",
            "sliding_window",
            "max_window_layers",
        ],
        ..LLAMA
    },
    GEMMA_2,
    Family {
        name: "gemma3_text",
        title: "Gemma 3 (text)",
        class: "Gemma3",
        qk_norm: QkNorm::Head,
        attention_cap: Cap::Never,
        logit_cap: Cap::Key("final_logit_softcapping", None),
        window: Window::AllBut(Some("sliding_window_pattern"), 6, 4096),
        rotary: Rotary {
            base: 1_000_000.0,
            local_base: Some(10_000.0),
            ..LLAMA.rotary
        },
        keys: &[
            "attention_bias",
            "hidden_activation",
            "query_pre_attn_scalar",
            "final_logit_softcapping",
            "sliding_window",
            "sliding_window_pattern",
            "_sliding_window_pattern", // the same, as transformers keeps it
            "rope_local_base_freq",
        ],
        ..GEMMA_2
    },
    Family {
        name: "phi3",
        title: "Phi-3, Phi-4 (text)",
        class: "Phi3",
        classifiers: false,
        gguf: Some(GgufForm {
            architecture: "phi3",
            is_permuted: false,
            keys: &["attention.sliding_window"],
        }),
        rms_eps: 1e-5,
        qkv_bias: Bias::Never,
        o_bias: Bias::Never,
        mlp_bias: Bias::Never,
        window: Window::Everywhere(None),
        rotary: Rotary {
            part: Some(1.0),
            ..LLAMA.rotary
        },
        fused_qkv: true,
        fused_gate_up: true,
        keys: &[
            "sliding_window",
            "original_max_position_embeddings",
            "partial_rotary_factor",
            "resid_pdrop",
            "embd_pdrop",
            "full_attn_mod", // this and the next: written and never read
            "interpolate_factor",
        ],
        ..LLAMA
    },
    Family {
        name: "smollm3",
        title: "SmolLM3",
        class: "SmolLM3",
        classifiers: false,
        gguf: None,
        kv_heads_stated: true,
        tied: true,
        window: Window::WithoutRotary,
        rotary: Rotary {
            base: 2_000_000.0,
            has_layers_without: true,
            ..LLAMA.rotary
        },
        keys: &[
            "attention_bias",
            "mlp_bias",
            "use_sliding_window",
            "sliding_window",
            "max_window_layers", // written and never read
            "no_rope_layers",
            "no_rope_layer_interval",
        ],
        ..LLAMA
    },
    Family {
        name: "olmo2",
        title: "OLMo 2",
        class: "Olmo2",
        classifiers: false,
        gguf: Some(GgufForm {
            architecture: "olmo2",
            is_permuted: false,
            keys: &[],
        }),
        norms: Norms {
            before_attention: None,
            after_attention: Some("post_attention_layernorm"),
            before_mlp: None,
            after_mlp: Some("post_feedforward_layernorm"),
        },
        rms_eps: 1e-5,
        qk_norm: QkNorm::Width,
        mlp_bias: Bias::Never,
        keys: &["attention_bias"],
        ..LLAMA
    },
    Family {
        name: "granite",
        title: "Granite 3 (dense)",
        class: "Granite",
        classifiers: false,
        gguf: Some(GgufForm {
            architecture: "granite",
            is_permuted: true,
            keys: &["attention.scale", "embedding_scale", "residual_scale", "logit_scale"],
        }),
        embedding_scale: Scale::Key("embedding_multiplier", 1.0),
        attention_scale: Scale::Key("attention_multiplier", 1.0),
        residual_scale: Scale::Key("residual_multiplier", 1.0),
        logit_scale: Scale::Inverse("logits_scaling", 1.0),
        keys: &[
            "attention_bias",
            "mlp_bias",
            "embedding_multiplier",
            "attention_multiplier",
            "residual_multiplier",
            "logits_scaling",
        ],
        ..LLAMA
    },
    Family {
        name: "glm4",
        title: "GLM-4 (0414)",
        class: "Glm4",
        classifiers: false,
        gguf: Some(GgufForm {
            architecture: "glm4",
            is_permuted: false,
            keys: &[],
        }),
        norms: Norms {
            before_attention: Some("input_layernorm"),
            after_attention: Some("post_self_attn_layernorm"),
            before_mlp: Some("post_attention_layernorm"),
            after_mlp: Some("post_mlp_layernorm"),
        },
        rms_eps: 1.5625e-7,
        qkv_bias: Bias::Key("attention_bias", true),
        o_bias: Bias::Never,
        mlp_bias: Bias::Never,
        head_dim: Some(128),
        kv_heads_stated: true,
        rotary: Rotary {
            part: Some(0.5),
            interleaved: true,
            ..LLAMA.rotary
        },
        fused_gate_up: true,
        keys: &["attention_bias", "partial_rotary_factor"],
        ..LLAMA
    },
];

/// Keys of config.json that are read in every family.
const READ: [&str; 21] = [
    "architectures",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "id2label",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_labels",
    "pad_token_id",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

/// Keys that change nothing of what a model computes: the training's, a tokenizer's, a program's own.
const HARMLESS: [&str; 42] = [
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "attention_dropout",
    "attn_implementation",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cls_token_id",
    "decoder_start_token_id",
    "dtype",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "mask_token_id",
    "max_length",
    "model_max_length",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// Settings of a sampler, which older versions of transformers write into every config. A run has its own.
const GENERATION: [&str; 28] = [
    "bad_words_ids",
    "begin_suppress_tokens",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_new_tokens",
    "min_length",
    "min_p",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "tf_legacy_loss",
    "top_k",
    "top_p",
    "typical_p",
];

/// Keys that the metadata of every GGUF file may have under its architecture, read or known to change nothing.
pub const GGUF_KEYS: [&str; 18] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
];

/// Why models of other kinds do not run: a key of a config that they have, and what it means.
pub const OTHER_KINDS: [(&str, &str); 13] = [
    (
        "vision_config",
        "a vision tower, of which nothing is read; its text model in a folder of its own can run",
    ),
    (
        "audio_config",
        "an audio encoder, of which nothing is read; its text model in a folder of its own can run",
    ),
    (
        "num_experts",
        "a mixture of experts, which needs routers and grouped products",
    ),
    (
        "num_local_experts",
        "a mixture of experts, which needs routers and grouped products",
    ),
    (
        "n_routed_experts",
        "a mixture of experts, which needs routers and grouped products",
    ),
    (
        "linear_num_key_heads",
        "layers of linear attention, which need a recurrent state",
    ),
    (
        "linear_conv_kernel_dim",
        "layers of linear attention, which need a recurrent state",
    ),
    ("mamba_d_state", "layers of state spaces, which need a recurrent state"),
    ("mamba_n_heads", "layers of state spaces, which need a recurrent state"),
    ("ssm_cfg", "layers of state spaces, which need a recurrent state"),
    ("kv_lora_rank", "latent attention, which needs a cache of another form"),
    (
        "is_encoder_decoder",
        "an encoder and a decoder, of which only the latter could run",
    ),
    (
        "quantization_config",
        "quantized tensors, which are read from GGUF files only",
    ),
];

impl Family {
    /// The family of a `model_type`.
    pub fn of_model_type(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == name)
    }

    /// The family of a `general.architecture`.
    pub fn of_gguf(architecture: &str) -> Option<&'static Self> {
        let is = |family: &&Self| {
            family
                .gguf
                .as_ref()
                .is_some_and(|form| form.architecture == architecture)
        };
        FAMILIES.iter().find(is)
    }

    /// Their names, for an error.
    pub fn names() -> String {
        listed(FAMILIES.iter().map(|family| family.name))
    }

    /// Those of GGUF.
    pub fn gguf_names() -> String {
        listed(
            FAMILIES
                .iter()
                .filter_map(|family| Some(family.gguf.as_ref()?.architecture)),
        )
    }

    /// Whether a config of this family may have this key.
    pub fn knows(&self, key: &str) -> bool {
        [&READ[..], &HARMLESS, &GENERATION, self.keys]
            .iter()
            .any(|keys| keys.contains(&key))
    }

    /// GGUF's and Hugging Face's words for the same thing.
    pub fn tensor_names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        const COMMON: [(&str, &str); 12] = [
            ("token_embd", "model.embed_tokens"),
            ("output_norm", "model.norm"),
            ("output", "lm_head"),
            ("attn_q", "self_attn.q_proj"),
            ("attn_k", "self_attn.k_proj"),
            ("attn_v", "self_attn.v_proj"),
            ("attn_output", "self_attn.o_proj"),
            ("attn_q_norm", "self_attn.q_norm"),
            ("attn_k_norm", "self_attn.k_norm"),
            ("attn_qkv", "self_attn.qkv_proj"),
            ("ffn_gate", "mlp.gate_proj"),
            ("ffn_down", "mlp.down_proj"),
        ];
        // Gate and up in one tensor have up's name in GGUF.
        let up = if self.fused_gate_up {
            "mlp.gate_up_proj"
        } else {
            "mlp.up_proj"
        };
        COMMON.into_iter().chain([("ffn_up", up)]).chain(self.norms.named())
    }
}

/// The families as a table in Markdown, for docs/models.md: of each what it does otherwise than Llama.
pub fn table() -> String {
    let mut lines = vec![
        "| family | `model_type` | GGUF | norms | attention | block | stream and logits | tensors |".to_string(),
        "| --- | --- | --- | --- | --- | --- | --- | --- |".to_string(),
    ];
    for family in &FAMILIES {
        let gguf = family.gguf.as_ref().map(|form| format!("`{}`", form.architecture));
        let cells = [
            family.title.to_string(),
            format!("`{}`", family.name),
            gguf.unwrap_or_else(|| "–".into()),
            family.norms_in_words(),
            family.attention_in_words(),
            family.block_in_words(),
            family.stream_in_words(),
            family.tensors_in_words(),
        ];
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

impl Family {
    fn norms_in_words(&self) -> String {
        let Norms {
            before_attention,
            after_attention,
            ..
        } = self.norms;
        let place = match (before_attention, after_attention) {
            (Some(_), Some(_)) => "before and after",
            (Some(_), None) => "before",
            (None, _) => "after",
        };
        let qk = match self.qk_norm {
            QkNorm::None => "",
            QkNorm::Head => "; q and k by head",
            QkNorm::Width => "; q and k by width",
        };
        let weight = if self.norm_offset == 0.0 { "" } else { "; 1 + w" };
        format!("{place}{qk}{weight}")
    }

    fn attention_in_words(&self) -> String {
        let mut words = Vec::new();
        match self.qkv_bias {
            Bias::Never => {}
            Bias::Always => words.push("biases on q, k, v".to_string()),
            Bias::Key(key, default) => words.push(format!("biases: `{key}` ({default})")),
        }
        match self.window {
            Window::Never => {}
            Window::Everywhere(_) => words.push("window: `sliding_window`, every layer".into()),
            Window::From(..) => words.push("window: `use_sliding_window`, from `max_window_layers` on".into()),
            Window::AllBut(key, every, _) => {
                let key = key.map_or(String::new(), |key| format!(", `{key}`"));
                words.push(format!("window: all layers but each n-th, n = {every}{key}"));
            }
            Window::WithoutRotary => words.push("window: `use_sliding_window`, layers without positions".into()),
        }
        words.extend(scale_in_words("scale", self.attention_scale));
        words.extend(cap_in_words("cap", self.attention_cap));
        let Rotary {
            local_base,
            part,
            interleaved,
            has_layers_without,
            ..
        } = self.rotary;
        words.extend(local_base.map(|_| "a rotary base of its own in windows".into()));
        words.extend(part.map(|part| format!("`partial_rotary_factor` ({part:?})")));
        words.extend(interleaved.then(|| "pairs (2i, 2i + 1)".into()));
        words.extend(has_layers_without.then(|| "layers without positions: `no_rope_layers`".into()));
        words.join("; ")
    }

    fn block_in_words(&self) -> String {
        let activation = match self.activation.1 {
            Activation::Silu => "silu",
            Activation::GeluTanh => "gelu (tanh)",
        };
        match self.mlp_bias {
            Bias::Key(key, _) => format!("{activation}; `{key}`"),
            Bias::Never | Bias::Always => activation.into(),
        }
    }

    fn stream_in_words(&self) -> String {
        let scales = [
            scale_in_words("embedding", self.embedding_scale),
            scale_in_words("branches", self.residual_scale),
            scale_in_words("logits", self.logit_scale),
            cap_in_words("logits' cap", self.logit_cap),
            self.tied.then(|| "tied".to_string()),
        ];
        scales.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn tensors_in_words(&self) -> String {
        let fused = [(self.fused_qkv, "`qkv_proj`"), (self.fused_gate_up, "`gate_up_proj`")];
        let names: Vec<&str> = fused.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        names.join(", ")
    }
}

fn scale_in_words(what: &str, scale: Scale) -> Option<String> {
    match scale {
        Scale::One | Scale::HeadDim => None,
        Scale::RootOfHidden => Some(format!("{what} × √hidden")),
        Scale::Key(key, _) => Some(format!("{what} × `{key}`")),
        Scale::Inverse(key, _) => Some(format!("{what} / `{key}`")),
        Scale::InverseRoot(key, _) => Some(format!("{what} 1 / √`{key}`")),
    }
}

fn cap_in_words(what: &str, cap: Cap) -> Option<String> {
    match cap {
        Cap::Never => None,
        Cap::Key(key, _) => Some(format!("{what} `{key}`")),
    }
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that a row reads and does not list would be refused before it is read.
    #[test]
    fn a_row_knows_the_keys_that_it_reads() {
        for family in &FAMILIES {
            let biases = [family.qkv_bias, family.o_bias, family.mlp_bias].map(|bias| match bias {
                Bias::Key(key, _) => Some(key),
                Bias::Never | Bias::Always => None,
            });
            let scales = [
                family.embedding_scale,
                family.attention_scale,
                family.residual_scale,
                family.logit_scale,
            ]
            .map(|scale| match scale {
                Scale::Key(key, _) | Scale::Inverse(key, _) | Scale::InverseRoot(key, _) => Some(key),
                Scale::One | Scale::RootOfHidden | Scale::HeadDim => None,
            });
            let caps = [family.attention_cap, family.logit_cap].map(|cap| match cap {
                Cap::Key(key, _) => Some(key),
                Cap::Never => None,
            });
            let windows = match family.window {
                Window::Never => vec![],
                Window::Everywhere(_) => vec!["sliding_window"],
                Window::From(..) => vec!["sliding_window", "use_sliding_window", "max_window_layers"],
                Window::AllBut(key, ..) => ["sliding_window"].into_iter().chain(key).collect(),
                Window::WithoutRotary => vec!["sliding_window", "use_sliding_window"],
            };
            let rotary = [
                family.rotary.part.map(|_| "partial_rotary_factor"),
                family.rotary.local_base.map(|_| "rope_local_base_freq"),
                family.rotary.has_layers_without.then_some("no_rope_layers"),
                family.rotary.has_layers_without.then_some("no_rope_layer_interval"),
            ];
            let read = biases.into_iter().chain(scales).chain(caps).chain(rotary).flatten();
            for key in read.chain(windows).chain([family.activation.0]) {
                assert!(family.knows(key), "{} reads {key}", family.name);
            }
        }
    }

    /// `ESSA_BLESS=1 cargo test` writes the table of docs/models.md anew.
    #[test]
    fn the_table_of_families_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
        let page = std::fs::read_to_string(&path).expect("the page");
        let (before, rest) = page.split_once("<!-- families -->\n").expect("where the table begins");
        let (_, after) = rest.split_once("<!-- end of families -->").expect("where it ends");
        let expected = format!("{before}<!-- families -->\n{}<!-- end of families -->{after}", table());
        if std::env::var_os("ESSA_BLESS").is_some() {
            std::fs::write(&path, &expected).expect("a page that can be written");
        } else {
            assert!(
                page == expected,
                "docs/models.md is not what the code says; run ESSA_BLESS=1 cargo test"
            );
        }
    }

    #[test]
    fn a_list_of_names_is_a_phrase() {
        assert_eq!(listed(["a"].into_iter()), "`a`");
        assert_eq!(listed(["a", "b", "c"].into_iter()), "`a`, `b` and `c`");
    }
}
