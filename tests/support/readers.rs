//! Each reader of files, given any bytes, and everything that can be asked of what it read. `tests/hostile.rs` and the fuzz
//! targets hold the same promise with it: no bytes make a reader panic, and a refusal is one line that names the file.
//! What is several files is one text of bytes, cut at lines of three dashes.

use essa::adapter::peft::PeftAdapter;
use essa::config::RunConfig;
use essa::error::{Error, Result};
use essa::model::Family;
use essa::model::config::{Caps, LayerAttention, Scales};
use essa::model::gguf::Gguf;
use essa::model::kernels::Activation;
use essa::model::kernels::Int4Group;
use essa::model::safetensors::SafetensorsFiles;
use essa::model::{Head, ModelConfig, Module, Weights};
use essa::record::checkpoint::{Checkpoint, sealed};
use essa::record::journal::count_lines;
use essa::seed::Seed;
use essa::space::Space;
use essa::strategy::StrategyConfig;
use essa::task::{Split, verdict};
use essa::text::Message;
use essa::text::chat_template::ChatTemplate;
use essa::text::tokenizer::Tokenizer;
use std::path::{Path, PathBuf};

/// A reader: what it says of the bytes, `None` where it took them.
pub type Reader = fn(&[u8]) -> Option<String>;

/// All of them, by the names of the fuzz targets.
pub const READERS: [(&str, Reader); 12] = [
    ("gguf", gguf),
    ("weights", weights),
    ("gguf_tokenizer", gguf_tokenizer),
    ("safetensors", safetensors),
    ("folder", folder),
    ("peft", peft),
    ("run_config", run_config),
    ("jsonl", jsonl),
    ("tokenizer", tokenizer),
    ("chat_template", chat_template),
    ("checkpoint", checkpoint),
    ("journal", journal),
];

/// A GGUF file: every key as every type, every tensor.
pub fn gguf(bytes: &[u8]) -> Option<String> {
    let file = match Gguf::from_bytes(Path::new("x.gguf"), bytes.to_vec()) {
        Ok(file) => file,
        Err(error) => return refused(&error, "x.gguf"),
    };
    for key in file.keys() {
        let _ = file.find::<u32>(key);
        let _ = file.find::<f32>(key);
        let _ = file.find::<bool>(key);
        let _ = file.find::<&str>(key);
        let _ = file.find::<Vec<&str>>(key);
        let _ = file.find::<Vec<i32>>(key);
        if let Err(error) = file.find::<Vec<f32>>(key) {
            refused(&error, "x.gguf");
        }
    }
    for tensor in file.tensors() {
        let _ = file.raw(&tensor.name);
        // Half a byte becomes a float, and no byte becomes two of them.
        if let Ok(values) = file.dequantize(&tensor.name) {
            assert_eq!(values.len(), tensor.len());
            assert!(values.len() <= 2 * bytes.len());
        }
        let _ = file.dequantize_rows(&tensor.name, 0..1, &mut vec![0.0; tensor.columns().min(1 << 16)]);
    }
    None
}

/// A model in a GGUF file: its sizes, and every row of it.
pub fn weights(bytes: &[u8]) -> Option<String> {
    let opened = Gguf::from_bytes(Path::new("x.gguf"), bytes.to_vec()).and_then(Weights::from_gguf);
    match opened {
        Ok(weights) => refused_or_none(read_all(&weights), "x.gguf"),
        Err(error) => refused(&error, "x.gguf"),
    }
}

/// The tokenizer and the chat template in a GGUF file.
pub fn gguf_tokenizer(bytes: &[u8]) -> Option<String> {
    let file = match Gguf::from_bytes(Path::new("x.gguf"), bytes.to_vec()) {
        Ok(file) => file,
        Err(error) => return refused(&error, "x.gguf"),
    };
    if let Ok(Some(template)) = ChatTemplate::from_gguf(&file) {
        render(&template);
    }
    match Tokenizer::from_gguf(&file) {
        Ok(tokenizer) => round_trip(&tokenizer, "x.gguf"),
        Err(error) => refused(&error, "x.gguf"),
    }
}

/// A safetensors file: every tensor.
pub fn safetensors(bytes: &[u8]) -> Option<String> {
    let path = write("x.safetensors", bytes);
    let files = match SafetensorsFiles::open(&[path]) {
        Ok(files) => files,
        Err(error) => return refused(&error, "x.safetensors"),
    };
    for name in files.tensors().keys() {
        match files.read(name) {
            Ok(values) => assert!(values.len() <= bytes.len()),
            Err(error) => _ = refused(&error, "x.safetensors"),
        }
    }
    None
}

/// A model's folder: `config.json`, `generation_config.json`, the index if there is one, and the weights.
pub fn folder(bytes: &[u8]) -> Option<String> {
    let [config, generation, index, weights] = parts(bytes);
    let path = write("config.json", config);
    write("generation_config.json", generation);
    write_or_remove("model.safetensors.index.json", index);
    // Where there is a whole file, the index is not asked.
    write_or_remove("model.safetensors", if index.is_empty() { weights } else { b"" });
    write("one.safetensors", weights);
    let folder = path.parent().expect("a folder");
    match Weights::open(folder) {
        Ok(weights) => refused_or_none(read_all(&weights), ""),
        Err(error) => refused(&error, &folder.to_string_lossy()),
    }
}

/// A PEFT directory: its config and its factors.
pub fn peft(bytes: &[u8]) -> Option<String> {
    let [config, factors] = parts(bytes);
    let path = write("adapter_config.json", config);
    write("adapter_model.safetensors", factors);
    let model = small_model();
    match PeftAdapter::read(path.parent().expect("a folder"), &model) {
        Ok(adapter) => {
            let space = Space::frozen(&adapter);
            space.side_paths(model.layers);
            let exported = space.export(&[]);
            assert_eq!(exported.modules.len(), adapter.modules.len());
            None
        }
        Err(error) => refused(&error, "adapter_"),
    }
}

/// A run's configuration.
pub fn run_config(bytes: &[u8]) -> Option<String> {
    match RunConfig::load(&write("run.toml", bytes), &[]) {
        Ok(config) => {
            config.to_toml();
            None
        }
        Err(error) => refused(&error, ""),
    }
}

/// A task's lines, as each kind of task reads them.
pub fn jsonl(bytes: &[u8]) -> Option<String> {
    let path = write("x.jsonl", bytes);
    let one = "validation_size = 1\ntest_size = 1\n";
    let mut told = Vec::new();
    for task in [
        "kind = 'jsonl'\nprompt = '{q}?'\nanswer = 'a'\njudge = 'exact'",
        "kind = 'jsonl'\nprompt = '{q}?'\nanswer = { column = 'a', regex = '#### (.+)' }\njudge = 'number'\ndeduplicate = true",
        "kind = 'jsonl'\nmessages = 'messages'\njudge = 'contains'\ntest_size = 0.5",
        "kind = 'gsm8k'\nshots = 1",
        "kind = 'math'",
        "kind = 'ifeval'",
        "kind = 'choice'",
        "kind = 'countdown'",
    ] {
        let sizes = if task.contains("test_size") {
            "validation_size = 1\n"
        } else {
            one
        };
        let text = format!(
            "[model]\npath = 'm'\n[task]\n{sizes}{task}\ntrain = {:?}",
            path.display().to_string()
        );
        let config = RunConfig::load(&write("run.toml", text.as_bytes()), &[])
            .expect("a config")
            .task;
        told.push(match config.load(Seed::new(0), Path::new(".")) {
            Ok(task) => {
                for example in task.examples(Split::Train) {
                    verdict(
                        &*task,
                        example,
                        "The answer is 1e999, or -3/4. #### 7 \\boxed{1} <answer>1+1</answer> B",
                    )
                    .expect("a judge");
                }
                None
            }
            // A split that comes out empty is the configuration's fault, and is said of it.
            Err(error @ Error::Config(_)) => refused(&error, "task"),
            Err(error) => refused(&error, "x.jsonl"),
        });
    }
    // Of the first, which takes any text.
    told.swap_remove(0)
}

/// A `tokenizer.json` and its `tokenizer_config.json`, with the chat template in it.
pub fn tokenizer(bytes: &[u8]) -> Option<String> {
    let [tokenizer, config] = parts(bytes);
    let path = write("tokenizer.json", tokenizer);
    write_or_remove("tokenizer_config.json", config);
    match ChatTemplate::from_folder(path.parent().expect("a folder")) {
        Ok(Some(template)) => _ = render(&template),
        Ok(None) => {}
        Err(error) => _ = refused(&error, "tokenizer_config.json"),
    }
    match Tokenizer::from_file(&path) {
        Ok(tokenizer) => round_trip(&tokenizer, "tokenizer.json"),
        Err(error) => refused(&error, "tokenizer"),
    }
}

/// A chat template.
pub fn chat_template(bytes: &[u8]) -> Option<String> {
    match ChatTemplate::new(&String::from_utf8_lossy(bytes), Some("<s>"), None) {
        Ok(template) => render(&template),
        Err(error) => refused(&error, "the chat template"),
    }
}

/// A checkpoint with the sum that it should have, or no one's numbers would ever be looked at, and the strategy in it.
pub fn checkpoint(bytes: &[u8]) -> Option<String> {
    let place = Path::new("x.json");
    let _ = Checkpoint::from_bytes(bytes, place).map_err(|error| refused(&error, "x.json"));
    let saved = match Checkpoint::from_bytes(&sealed(bytes.to_vec()), place) {
        Ok(saved) => saved,
        Err(error) => return refused(&error, "x.json"),
    };
    let config: StrategyConfig = serde_json::from_value(saved.strategy["config"].clone()).unwrap_or_default();
    match config.restore(&saved.strategy) {
        Ok(strategy) => {
            let member = strategy.ask(strategy.population() - 1);
            assert_eq!(member.len(), strategy.mean().len());
            None
        }
        Err(error) => refused(&error, "strategy"),
    }
}

/// A rank's journal: no lines are taken from what is not one.
pub fn journal(bytes: &[u8]) -> Option<String> {
    assert_eq!(count_lines(bytes, "another run"), 0);
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert!(count_lines(bytes, "d") < lines.max(1));
    None
}

/// What a reader may say: one line, not too long, that names the file.
pub fn refused(error: &Error, name: &str) -> Option<String> {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 4096, "{} bytes of error", text.len());
    assert!(!text.contains(char::is_control), "{text:?} is more than a line");
    assert!(text.contains(name), "{text:?} does not name {name:?}");
    Some(text)
}

fn refused_or_none(result: Result<()>, name: &str) -> Option<String> {
    result.err().and_then(|error| refused(&error, name))
}

/// All numbers of a model, as loading reads them.
fn read_all(weights: &Weights) -> Result<()> {
    let config = weights.config().clone();
    let matrices = (0..config.layers).flat_map(|layer| {
        let matrix = |module: Module| (format!("{}.weight", module.path(layer)), config.module_shape(module));
        Module::ALL.map(matrix)
    });
    let head = [(config.head_name().to_string(), [config.vocab, config.hidden])];
    for (name, [outputs, inputs]) in matrices.chain(head) {
        weights.rows(&name, 0..outputs, &mut vec![0.0; outputs * inputs])?;
        if let Some(group) = weights.int4_group(&name) {
            for row in 0..outputs {
                let mut groups = vec![Int4Group::default(); inputs / group];
                weights.int4_row(&name, row, &mut vec![0; inputs], &mut groups)?;
            }
        }
    }
    for layer in 0..config.layers {
        weights.read(&format!("model.layers.{layer}.input_layernorm.weight"))?;
        for module in Module::ALL.into_iter().filter(|module| weights.has_bias(*module)) {
            weights.read(&format!("{}.bias", module.path(layer)))?;
        }
    }
    Ok(())
}

fn round_trip(tokenizer: &Tokenizer, name: &str) -> Option<String> {
    for text in ["", "Hello, wörld! <s> 12\n\n  x\u{0}", "aaaa bbbb"] {
        for parse_special in [false, true] {
            match tokenizer.encode(text, parse_special) {
                Ok(ids) => _ = tokenizer.decode(&ids, parse_special),
                Err(error) => return refused(&error, name),
            }
        }
    }
    tokenizer.decode(&[0, 1, 2, 3, 4, 5, u32::MAX], false);
    None
}

fn render(template: &ChatTemplate) -> Option<String> {
    match template.render(&[Message::system("Be brief."), Message::user("Hi")], true) {
        Ok(text) => {
            assert!(text.len() <= 128 << 20, "{} bytes", text.len());
            None
        }
        Err(error) => refused(&error, "the chat template"),
    }
}

/// The model that the adapters are for: two layers, hidden size 4.
fn small_model() -> ModelConfig {
    ModelConfig {
        family: Family::of_model_type("llama").expect("a family"),
        hidden: 4,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 2,
        intermediate: 6,
        vocab: 3,
        rms_eps: 1e-5,
        context: 8,
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
        eos: Vec::new(),
    }
}

/// The files in one text of bytes; those that are missing are empty, and the last takes the rest.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    const DASHES: &[u8] = b"\n---\n";
    let mut rest = bytes;
    let mut index = 0;
    [(); N].map(|()| {
        index += 1;
        let cut = rest.windows(DASHES.len()).position(|window| window == DASHES);
        match cut.filter(|_| index < N) {
            Some(at) => {
                let part = &rest[..at];
                rest = &rest[at + DASHES.len()..];
                part
            }
            None => std::mem::take(&mut rest),
        }
    })
}

fn write(name: &str, bytes: &[u8]) -> PathBuf {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder"));
    let path = FOLDER.with(|folder| folder.path().join(name));
    // Some file systems wait for the disk where a file is cut and written anew.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).expect("a file");
    path
}

fn write_or_remove(name: &str, bytes: &[u8]) {
    let path = write(name, bytes);
    if bytes.is_empty() {
        std::fs::remove_file(path).expect("the file that was just written");
    }
}
