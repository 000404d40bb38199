//! Small good files of every kind: what the properties of `tests/hostile.rs` damage, and where the fuzz targets begin.

use super::gguf_writer::GgufWriter;
use essa::record::Mean;
use essa::record::checkpoint::{Checkpoint, FORMAT, State};
use essa::record::metrics::Row;
use essa::search::Fitness;
use essa::seed::Seed;
use essa::strategy::{KINDS, StrategyConfig};
use serde_json::json;

/// The seeds of a reader, with names.
pub fn of(reader: &str) -> Vec<(&'static str, Vec<u8>)> {
    match reader {
        "gguf" => vec![("keys", keys()), ("q4_0", model("llama", 2)), ("vocabulary", vocabulary("smollm"))],
        "weights" => vec![
            ("llama-f32", model("llama", 0)),
            ("llama-q4_0", model("llama", 2)),
            ("llama-q4_1", model("llama", 3)),
            ("qwen2-q8_0", model("qwen2", 8)),
        ],
        "gguf_tokenizer" => vec![("smollm", vocabulary("smollm")), ("qwen2", vocabulary("qwen2"))],
        "safetensors" => vec![("f32", weights("F32")), ("bf16", weights("BF16"))],
        "folder" => vec![
            ("whole", folder("{}", "")),
            ("index", folder("{}", &index())),
            ("llama3", folder(LLAMA_3, "")),
        ],
        "peft" => vec![("plain", adapter("{}")), ("pattern", adapter(r#"{".*q_proj": 2}"#))],
        "run_config" => vec![
            ("quickstart", essa::config::QUICKSTART.into()),
            ("lora-svd", b"name = 'x'\nseed = 3\n[model]\npath = 'm'\nadapter = 'a'\n[space]\nkind = 'lora-svd'\nalpha = 0.5\n[strategy]\nkind = 'open-es'\npopulation = 8\n".to_vec()),
            ("jsonl", b"[model]\npath = 'm'\n[task]\nkind = 'jsonl'\ntrain = 't'\nprompt = '{a}'\nanswer = 'b'\njudge = { regex = '(a|b)+' }\n[task.answer_map]\n0 = 'no'\n".to_vec()),
        ],
        "jsonl" => vec![(
            "lines",
            (0..6).map(|i| format!("{{\"q\": \"What is {i}?\", \"a\": {i}}}\n")).collect::<String>().into(),
        )],
        "tokenizer" => vec![("bpe", tokenizer("BPE")), ("unigram", tokenizer("Unigram"))],
        "chat_template" => vec![("chatml", CHATML.into()), ("functions", FUNCTIONS.into())],
        "checkpoint" => KINDS.map(|kind| (kind, checkpoint(kind))).into(),
        "journal" => vec![("two", journal())],
        other => panic!("there is no reader {other}"),
    }
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim }}<|im_end|>\n{% endfor %}\
                      {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const FUNCTIONS: &str = "{%- set ns = namespace(n=0, x=[]) -%}{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{% for m in messages[::-1] %}\
                         {% set ns.n = ns.n + loop.index %}{{ f(m | tojson(indent=2)) }}{{ m.content.split(' ') | join('-') | upper }}\
                         {% if m.role not in ['user'] %}{{ strftime_now('%d %b %Y') }}{% else %}{{ '%s' | format(ns.n) }}{% endif %}\
                         {% endfor %}{{ bos_token * 3 }}{% if ns.n > 99 %}{{ raise_exception('no') }}{% endif %}";

const LLAMA_3: &str = r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;

/// The body of a checkpoint of a search of two numbers, after two generations.
fn checkpoint(strategy: &str) -> Vec<u8> {
    let config: StrategyConfig = serde_json::from_value(json!({"kind": strategy, "population": 4})).expect("a config");
    let mut strategy = config.build(2, &[0.5, -1.0], Seed::new(1)).expect("a strategy");
    for _ in 0..2 {
        let fitness: Vec<Fitness> = (0..4).map(|member| Fitness::new(strategy.ask(member)[0])).collect();
        strategy.tell(&fitness);
    }
    let saved = Checkpoint {
        format: FORMAT,
        digest: "d".into(),
        generation: 2,
        state: State {
            stop: None,
            best: Mean {
                generation: 0,
                theta: vec![0.5, -1.0],
                validation: Fitness::new(0.25),
                rewards: vec![0.0, 0.5],
            },
            start_validation: Fitness::new(0.25),
            worse: 0,
            prompts: 4,
            position: 8,
            num_tokens: 10,
            rollouts: 8,
            front: Vec::new(),
        },
        rollouts_bytes: 100,
        metrics: vec![Row::default()],
        strategy: strategy.state(),
    };
    serde_json::to_vec(&saved).expect("JSON")
}

fn journal() -> Vec<u8> {
    let line = |question: usize| {
        let rollout = json!({"generation": 1, "split": "train", "candidate": 0, "question": question, "prompt_id": "a", "completion": "b", "reward": 0.5,
            "terms": {"p": 1.0}, "failed": false, "prompt_tokens": 3, "tokens": 2, "finish_reason": "stop"});
        format!("{rollout}\n")
    };
    format!("{}\n{}{}", json!({"journal": 1, "digest": "d"}), line(0), line(1)).into()
}

/// Keys of every type.
pub fn keys() -> Vec<u8> {
    let mut writer = GgufWriter::default();
    writer
        .string("general.architecture", "llama")
        .u32("general.alignment", 32)
        .bool("b", true);
    writer
        .raw("u8", 0, &[7])
        .raw("i8", 1, &[255])
        .raw("u16", 2, &[1, 2])
        .raw("i16", 3, &[1, 255]);
    writer
        .raw("f32", 6, &1e-5_f32.to_le_bytes())
        .raw("f64", 12, &0.5_f64.to_le_bytes());
    writer.raw("u64", 10, &[255; 8]).raw("i64", 11, &[255; 8]);
    writer
        .strings("words", &["a", "", "ü"])
        .i32s("types", &[1, -3])
        .array("floats", 6, 1, &[0; 4]);
    let inner = [&4_u32.to_le_bytes()[..], &2_u64.to_le_bytes(), &[0; 8]].concat();
    writer.array("arrays", 9, 1, &inner);
    writer
        .tensor("matrix", &[2, 32], 8, &[7; 68])
        .tensor("vector", &[256], 14, &[9; 210])
        .tensor("empty", &[4, 0], 0, &[]);
    writer.finish()
}

/// A model of one layer and hidden size 32, its matrices of the ggml type `kind`.
pub fn model(architecture: &str, kind: u32) -> Vec<u8> {
    changed_model(architecture, kind, |_| None).finish()
}

/// The same with other values for some of the keys, as type number and bytes.
pub fn changed_model(architecture: &str, kind: u32, change: impl Fn(&str) -> Option<(u32, Vec<u8>)>) -> GgufWriter {
    let mut writer = GgufWriter::default();
    writer.string("general.architecture", architecture);
    for (key, value) in [
        ("block_count", 1_u32),
        ("embedding_length", 32),
        ("feed_forward_length", 32),
        ("context_length", 64),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 16),
    ] {
        let (kind, value) = change(key).unwrap_or((4, value.to_le_bytes().to_vec()));
        writer.raw(&format!("{architecture}.{key}"), kind, &value);
    }
    for (key, value) in [("attention.layer_norm_rms_epsilon", 1e-5_f32), ("rope.freq_base", 1e4)] {
        let (kind, value) = change(key).unwrap_or((6, value.to_le_bytes().to_vec()));
        writer.raw(&format!("{architecture}.{key}"), kind, &value);
    }
    let block = essa::model::gguf::BlockType::from_id(kind)
        .expect("a type of ggml")
        .layout();
    let matrix = |writer: &mut GgufWriter, name: &str, rows: u64| {
        // Scales of 0.5 and small numbers: f16 0x3800 and nibbles.
        let one: Vec<u8> = (0..block.bytes)
            .map(|i| if i == 1 { 0x38 } else { (i % 7) as u8 })
            .collect();
        let bytes = one.repeat(rows as usize * 32 / block.weights);
        writer.tensor(name, &[rows, 32], kind, &bytes);
    };
    let ones = 1_f32.to_le_bytes().repeat(32);
    matrix(&mut writer, "token_embd.weight", 4);
    writer.tensor("output_norm.weight", &[32], 0, &ones);
    for (name, rows) in [
        ("attn_q", 32),
        ("attn_k", 16),
        ("attn_v", 16),
        ("attn_output", 32),
        ("ffn_gate", 32),
        ("ffn_up", 32),
        ("ffn_down", 32),
    ] {
        matrix(&mut writer, &format!("blk.0.{name}.weight"), rows);
        if architecture == "qwen2" && ["attn_q", "attn_k", "attn_v"].contains(&name) {
            writer.tensor(&format!("blk.0.{name}.bias"), &[rows], 0, &ones[..4 * rows as usize]);
        }
    }
    for name in ["attn_norm", "ffn_norm"] {
        writer.tensor(&format!("blk.0.{name}.weight"), &[32], 0, &ones);
    }
    writer
}

/// A GGUF file with a tokenizer and a chat template alone.
fn vocabulary(pre: &str) -> Vec<u8> {
    let tokens = ["<s>", "</s>", "H", "e", "l", "o", "Ġ", "w", "He", "ll", "Hell", "x"];
    let mut writer = GgufWriter::default();
    writer
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", pre);
    writer.strings("tokenizer.ggml.tokens", &tokens);
    writer.i32s("tokenizer.ggml.token_type", &[3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4]);
    writer.strings("tokenizer.ggml.merges", &["H e", "l l", "He ll"]);
    writer
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 1);
    writer.string("tokenizer.chat_template", "{{ bos_token }}{{ messages[1].content }}");
    writer.finish()
}

/// A safetensors file of small numbers.
pub fn safetensors_bytes(dtype: &str, tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let number: &[u8] = if dtype == "F32" { &[0, 0, 0, 0x3f] } else { &[0, 0x3f] };
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        data.extend(number.repeat(shape.iter().product()));
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] });
        header.insert((*name).to_string(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn weights(dtype: &str) -> Vec<u8> {
    safetensors_bytes(dtype, &[("a", &[2, 3]), ("b", &[4]), ("c", &[0, 2])])
}

fn index() -> String {
    let names = folder_shapes().map(|(name, _)| (name.to_string(), json!("one.safetensors")));
    json!({ "weight_map": serde_json::Map::from_iter(names) }).to_string()
}

/// A Llama of one layer, hidden size 4, in f32.
fn folder(rope: &str, index: &str) -> Vec<u8> {
    let config = json!({
        "model_type": "llama", "hidden_act": "silu", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 6, "vocab_size": 3, "rms_norm_eps": 1e-5, "rope_theta": 1e4,
        "max_position_embeddings": 64, "tie_word_embeddings": true, "attention_bias": false, "eos_token_id": [1, 2],
        "rope_parameters": serde_json::from_str::<serde_json::Value>(rope).expect("JSON"),
    });
    let shapes = folder_shapes();
    let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    let head = format!("{config}\n---\n{}\n---\n{index}\n---\n", json!({ "eos_token_id": 2 }));
    [head.into_bytes(), safetensors_bytes("F32", &shapes)].concat()
}

fn folder_shapes() -> [(&'static str, Vec<usize>); 11] {
    [
        ("model.embed_tokens.weight", vec![3, 4]),
        ("model.norm.weight", vec![4]),
        ("model.layers.0.input_layernorm.weight", vec![4]),
        ("model.layers.0.post_attention_layernorm.weight", vec![4]),
        ("model.layers.0.self_attn.q_proj.weight", vec![4, 4]),
        ("model.layers.0.self_attn.k_proj.weight", vec![2, 4]),
        ("model.layers.0.self_attn.v_proj.weight", vec![2, 4]),
        ("model.layers.0.self_attn.o_proj.weight", vec![4, 4]),
        ("model.layers.0.mlp.gate_proj.weight", vec![6, 4]),
        ("model.layers.0.mlp.up_proj.weight", vec![6, 4]),
        ("model.layers.0.mlp.down_proj.weight", vec![4, 6]),
    ]
}

/// Rank 2 on q of layer 0 and on down of layer 1.
fn adapter(rank_pattern: &str) -> Vec<u8> {
    let config = json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_rslora": false,
        "rank_pattern": serde_json::from_str::<serde_json::Value>(rank_pattern).expect("JSON"),
        "alpha_pattern": { "layers.1.mlp.down_proj": 8 },
    });
    let factors = safetensors_bytes(
        "F32",
        &[
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                &[2, 4],
            ),
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
                &[4, 2],
            ),
            ("base_model.model.model.layers.1.mlp.down_proj.lora_A.weight", &[2, 6]),
            ("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight", &[4, 2]),
        ],
    );
    [format!("{config}\n---\n").into_bytes(), factors].concat()
}

fn tokenizer(kind: &str) -> Vec<u8> {
    let model = match kind {
        "BPE" => {
            json!({ "type": "BPE", "vocab": { "H": 0, "i": 1, "Hi": 2, "<s>": 3 }, "merges": [["H", "i"]], "unk_token": null })
        }
        _ => {
            json!({ "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["H", -1.0], ["i", -2.0], ["Hi", -1.5]] })
        }
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{ "id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true }],
        "normalizer": { "type": "Replace", "pattern": { "Regex": " +" }, "content": "▁" },
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "\\p{L}+|\\d" }, "behavior": "Isolated", "invert": false },
        "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [{ "type": "Fuse" }, { "type": "Strip", "content": "▁", "start": 1, "stop": 0 }] },
        "model": model,
    });
    let config = json!({ "bos_token": "<s>", "eos_token": { "content": "<s>" }, "chat_template": CHATML });
    format!("{tokenizer}\n---\n{config}").into_bytes()
}
