//! A model of a few thousand random weights with a tokenizer of single bytes: it writes nonsense, but in the same code as any
//! other, and a whole run on it takes a second.

use super::gguf_writer::GgufWriter;
use essa::seed::Seed;

const LAYERS: u64 = 2;
const INTERMEDIATE: u64 = 96;
const HEADS: u64 = 4;
const KV_HEADS: u64 = 2;

/// The bytes of a GGUF file.
pub fn tiny_model() -> Vec<u8> {
    made("llama", 64)
}

/// The same as a Qwen2, which has biases.
#[allow(dead_code, reason = "not every test needs biases")]
pub fn tiny_qwen2() -> Vec<u8> {
    made("qwen2", 64)
}

/// The same as a Llama whose attention is `hidden` wide.
#[allow(dead_code, reason = "not every test needs large matrices")]
pub fn wide_model(hidden: u64) -> Vec<u8> {
    made("llama", hidden)
}

fn made(architecture: &str, hidden: u64) -> Vec<u8> {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut tokens: Vec<String> = (0..=255_u8).map(byte_token).collect();
    let bytes = tokens.len();
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from));
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < bytes { 1 } else { 3 }).collect();
    let vocab = tokens.len() as u64;
    let mut file = GgufWriter::default();
    file.string("general.architecture", architecture)
        .u32(&key("block_count"), LAYERS as u32)
        .u32(&key("embedding_length"), hidden as u32)
        .u32(&key("feed_forward_length"), INTERMEDIATE as u32)
        .u32(&key("attention.head_count"), HEADS as u32)
        .u32(&key("attention.head_count_kv"), KV_HEADS as u32)
        .u32(&key("context_length"), 512)
        .raw(&key("attention.layer_norm_rms_epsilon"), 6, &1e-5_f32.to_le_bytes())
        .raw(&key("rope.freq_base"), 6, &10_000_f32.to_le_bytes())
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &tokens)
        .array("tokenizer.ggml.token_type", 5, kinds.len(), &kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect::<Vec<_>>())
        .strings::<&str>("tokenizer.ggml.merges", &[])
        .u32("tokenizer.ggml.bos_token_id", 256)
        .u32("tokenizer.ggml.eos_token_id", 258)
        .string(
            "tokenizer.chat_template",
            "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n",
        );
    let mut weights = Weights {
        seed: Seed::new(11),
        made: 0,
    };
    file.tensor(
        "token_embd.weight",
        &[vocab, hidden],
        0,
        &weights.random(vocab * hidden, 1.0),
    );
    let kv = hidden / HEADS * KV_HEADS;
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        for (part, outputs, inputs) in [
            ("attn_q", hidden, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", INTERMEDIATE, hidden),
            ("ffn_up", INTERMEDIATE, hidden),
            ("ffn_down", hidden, INTERMEDIATE),
        ] {
            let numbers = weights.random(outputs * inputs, 1.5 / (inputs as f64).sqrt());
            file.tensor(&name(part), &[outputs, inputs], 0, &numbers);
        }
        if architecture == "qwen2" {
            for (part, outputs) in [("attn_q", hidden), ("attn_k", kv), ("attn_v", kv)] {
                let numbers = weights.random(outputs, 0.5);
                file.tensor(&format!("blk.{layer}.{part}.bias"), &[outputs], 0, &numbers);
            }
        }
        for part in ["attn_norm", "ffn_norm"] {
            file.tensor(&name(part), &[hidden], 0, &ones(hidden));
        }
    }
    file.tensor("output_norm.weight", &[hidden], 0, &ones(hidden));
    file.tensor(
        "output.weight",
        &[vocab, hidden],
        0,
        &weights.random(vocab * hidden, 0.3),
    );
    file.finish()
}

/// How GPT-2's vocabulary spells a byte: itself where it can be seen, else a letter from beyond 255.
fn byte_token(byte: u8) -> String {
    let is_seen = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let unseen_before = (0..byte).filter(|&byte| !is_seen(byte)).count() as u32;
    let letter = if is_seen(byte) {
        u32::from(byte)
    } else {
        256 + unseen_before
    };
    char::from_u32(letter).expect("a letter").to_string()
}

struct Weights {
    seed: Seed,
    made: u64,
}

impl Weights {
    fn random(&mut self, count: u64, scale: f64) -> Vec<u8> {
        self.made += 1;
        let numbers = self.seed.fold(self.made).normals(count as usize);
        numbers
            .into_iter()
            .flat_map(|z| ((z * scale) as f32).to_le_bytes())
            .collect()
    }
}

fn ones(count: u64) -> Vec<u8> {
    (0..count).flat_map(|_| 1_f32.to_le_bytes()).collect()
}
