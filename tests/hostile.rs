//! Files of strangers. No bytes make a reader panic, what it refuses it refuses in one line that names the file, and
//! nothing is as large as a file claims before the claim was held against the file. The fuzz targets (`fuzz/README.md`) hold
//! the first two over millions of inputs; what they found is told apart here.

#[path = "support/readers.rs"]
mod readers;
#[path = "support/seeds.rs"]
mod seeds;
mod support;

use essa::adapter::peft::PeftAdapter;
use essa::config::RunConfig;
use essa::engine::{Engine, Limits, Request, Sampling};
use essa::model::gguf::Gguf;
use essa::model::{Module, Precision, Transformer, Weights};
use essa::seed::Seed;
use essa::space::lora_svd::{Offsets, lora_svd};
use essa::space::spectral::{Part, spectral};
use essa::text::Message;
use essa::text::chat_template::ChatTemplate;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use readers::READERS;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::gguf_writer::{self, GgufWriter};

/// The seeds are good files, and every input that the fuzz targets keep is harmless. `ESSA_BLESS=1` writes the seeds anew.
#[test]
fn seeds_are_read_and_what_was_found_is_harmless() {
    for (name, read) in READERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        for (seed, bytes) in seeds::of(name) {
            assert_eq!(read(&bytes), None, "{name}: the seed {seed}");
            if std::env::var_os("ESSA_BLESS").is_some() {
                essa::files::write_atomically(&folder.join(seed), &bytes).expect("a seed");
            }
        }
        for entry in std::fs::read_dir(&folder).expect("the seeds of the fuzz target") {
            read(&std::fs::read(entry.expect("an entry").path()).expect("a seed"));
        }
    }
}

#[test]
fn no_bytes_make_a_reader_panic() {
    for (name, read) in READERS {
        let mut runner = TestRunner::new(cases(256));
        let bytes = proptest::collection::vec(any::<u8>(), 0..256);
        let outcome = runner.run(&bytes, |bytes| {
            read(&bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Good files, cut, with bits turned, bytes changed, and numbers made as large as they get.
#[test]
fn no_damage_makes_a_reader_panic() {
    for (name, read) in READERS {
        let seeds = seeds::of(name);
        let mut runner = TestRunner::new(cases(1000));
        let plan = (0..seeds.len(), proptest::collection::vec(damage(), 1..4));
        let outcome = runner.run(&plan, |(seed, damages)| {
            let mut bytes = seeds[seed].1.clone();
            damages.iter().for_each(|damage| damage.apply(&mut bytes));
            read(&bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// What happens to a file, at a share of its length.
#[derive(Clone, Debug)]
enum Damage {
    Turn(f64, u8),
    Set(f64, u8),
    Number(f64, u64),
    Digits(f64),
    Cut(f64),
    Remove(f64, usize),
    Repeat(f64, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0.0..1.0_f64;
    let numbers = [
        0,
        1,
        1 << 31,
        u64::from(u32::MAX),
        1 << 40,
        1 << 60,
        i64::MAX as u64,
        u64::MAX,
    ];
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Turn(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), proptest::sample::select(numbers.to_vec())).prop_map(|(at, number)| Damage::Number(at, number)),
        at().prop_map(Damage::Digits),
        at().prop_map(Damage::Cut),
        (at(), 1..40_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), 1..40_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |share: f64| (share * bytes.len() as f64) as usize;
        match *self {
            _ if bytes.is_empty() => {}
            Self::Turn(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Self::Set(at, byte) => {
                let at = place(at);
                bytes[at] = byte;
            }
            Self::Number(at, number) => {
                let at = place(at);
                let count = (bytes.len() - at).min(8);
                bytes[at..at + count].copy_from_slice(&number.to_le_bytes()[..count]);
            }
            // A number in a text, made enormous: digits after the next one.
            Self::Digits(at) => {
                let at = place(at);
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    bytes.splice(at + digit..at + digit, *b"1152921504606846976");
                }
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Repeat(at, count) => {
                let at = place(at);
                let piece = bytes[at..(at + count).min(bytes.len())].repeat(4);
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// Each key of a GGUF model, as no model has it.
#[test]
fn a_model_of_absurd_sizes_is_refused_in_a_sentence() {
    if !alone("a_model_of_absurd_sizes_is_refused_in_a_sentence") {
        return;
    }
    let float = |value: f32| (6, value.to_le_bytes().to_vec());
    let whole = |value: u32| (4, value.to_le_bytes().to_vec());
    let huge = (10, (1_u64 << 40).to_le_bytes().to_vec());
    for (key, value, says) in [
        ("block_count", whole(0), "number of layers is 0"),
        ("block_count", whole(u32::MAX), "number of layers is 4294967295"),
        ("block_count", whole(60_000), "60000 layers"),
        ("block_count", huge.clone(), "block_count"),
        ("attention.head_count", whole(0), "attention heads is 0"),
        ("attention.head_count", whole(3), "q_proj"),
        ("attention.head_count_kv", whole(0), "key-value heads is 0"),
        ("attention.head_count_kv", whole(3), "cannot share"),
        ("attention.key_length", whole(15), "even"),
        ("attention.key_length", whole(u32::MAX), "head dimension is 4294967295"),
        ("attention.key_length", whole(1 << 16), "q_proj"),
        ("embedding_length", whole(1 << 27), "embed_tokens"),
        ("feed_forward_length", whole(u32::MAX), "intermediate size"),
        ("context_length", whole(0), "context length is 0"),
        ("context_length", huge, "context_length"),
        ("rope.freq_base", float(f32::NAN), "NaN"),
        ("rope.freq_base", float(0.0), "freq_base is 0"),
        ("rope.freq_base", float(f32::INFINITY), "inf"),
        ("attention.layer_norm_rms_epsilon", float(f32::NAN), "epsilon is NaN"),
        ("attention.layer_norm_rms_epsilon", float(-1.0), "epsilon is -1"),
    ] {
        let bytes = seeds::changed_model("llama", 0, |name| (name == key).then(|| value.clone()));
        claims(|| readers::weights(&bytes.finish()), says);
    }
    // The same in a folder, whose numbers have no width of their own.
    let (_, bytes) = seeds::of("folder").swap_remove(2);
    let text = bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
    for (from, to, says) in [
        (
            "\"num_hidden_layers\":1",
            "\"num_hidden_layers\":1099511627776",
            "number of layers",
        ),
        ("\"num_hidden_layers\":1", "\"num_hidden_layers\":65536", "65536 layers"),
        (
            "\"hidden_size\":4",
            "\"hidden_size\":18446744073709551615",
            "hidden size",
        ),
        (
            "\"hidden_size\":4",
            "\"hidden_size\":4,\"head_dim\":1099511627776",
            "head dimension",
        ),
        (
            "\"hidden_size\":4",
            "\"hidden_size\":4,\"head_dim\":0",
            "head dimension is 0",
        ),
        ("\"hidden_size\":4", "\"hidden_size\":-4", "hidden_size"),
        (
            "\"num_attention_heads\":2",
            "\"num_attention_heads\":0",
            "attention heads is 0",
        ),
        (
            "\"num_key_value_heads\":1",
            "\"num_key_value_heads\":0",
            "key-value heads is 0",
        ),
        ("\"vocab_size\":3", "\"vocab_size\":4", "embed_tokens"),
        ("\"rope_theta\":10000.0", "\"rope_theta\":-1", "rope_theta is -1"),
        ("\"rope_theta\":10000.0", "\"rope_theta\":1e300", "rope_theta"),
        ("\"factor\":8.0", "\"factor\":0", "factor is 0"),
        (
            "\"low_freq_factor\":1.0",
            "\"low_freq_factor\":4",
            "low_freq_factor is 4",
        ),
        ("\"rms_norm_eps\":0.00001", "\"rms_norm_eps\":1e300", "epsilon is inf"),
        (
            "\"tie_word_embeddings\":true",
            "\"tie_word_embeddings\":1",
            "expected true or false",
        ),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let bytes: Vec<u8> = text.replacen(from, to, 1).chars().map(|c| c as u8).collect();
        claims(|| readers::folder(&bytes), says);
    }
}

/// Whether this process is alone with a test. If it is not, the test was done now, by this program in a process of its own: what
/// is measured of a process there is the test's, whatever runs beside it.
fn alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        START.get_or_init(peak_gib);
        return true;
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test])
        .env(ALONE, "1")
        // Each thread would reserve addresses for what it may allocate one day, and a large machine has many.
        .env("MALLOC_ARENA_MAX", "1")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" 1 passed"), "{said}");
    false
}

const ALONE: &str = "ESSA_TEST_ALONE";

/// What a process that is alone with its test had asked for before.
static START: OnceLock<f64> = OnceLock::new();

/// A claim is refused with these words, at once, and before memory of its size is asked for. For tests that are [`alone`].
fn claims(read: impl FnOnce() -> Option<String>, says: &str) {
    let started = cpu_seconds();
    let message = read().unwrap_or_else(|| panic!("taken, instead of: {says}"));
    assert!(message.contains(says), "{message:?} does not say {says:?}");
    let took = cpu_seconds() - started;
    assert!(took < 5.0, "{says}: {took} seconds");
    assert!(grown_gib() < 0.5, "{says}: {} GiB more", grown_gib());
}

/// What this thread has had of a processor: whatever else runs does not count.
fn cpu_seconds() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = spent.split_whitespace().next().expect("the first of three numbers");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}

/// The most that this process has asked for since its test began.
fn grown_gib() -> f64 {
    peak_gib() - START.get().expect("a process that is alone with its test")
}

/// The most address space that this process ever had, used or not.
fn peak_gib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPeak:"))
        .expect("a peak");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / (1 << 20) as f64
}

#[test]
fn claims_of_containers_are_held_against_the_file() {
    if !alone("claims_of_containers_are_held_against_the_file") {
        return;
    }
    let says = |writer: &mut GgufWriter, what: &str| claims(|| readers::gguf(&writer.finish()), what);
    for kind in [0, 4, 8, 9, 12] {
        says(GgufWriter::default().array("huge", kind, 1 << 60, &[0; 64]), "huge");
    }
    says(
        GgufWriter::default()
            .entry("t", &[1 << 60, 0], 0, 0)
            .entry("u", &[0, 1 << 63], 0, 0),
        "`u`",
    );
    says(
        GgufWriter::default().entry("t", &[1 << 63, 2, 0], 0, 0),
        "beyond the end",
    );
    // Two tensors of the same bytes: a small file that would be a model of any size.
    let shared = &mut GgufWriter::default();
    shared.tensor("a", &[8], 0, &[0; 32]).entry("b", &[8], 0, 0);
    says(shared, "share bytes");
    let file = |header: &str| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    for (bytes, what) in [
        ([0xff; 64].to_vec(), "header"),
        ((1_u64 << 60).to_le_bytes().to_vec(), "header"),
        (
            file(r#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#),
            "",
        ),
        (
            file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#),
            "",
        ),
        (file(r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#), ""),
    ] {
        claims(|| readers::safetensors(&bytes), what);
    }
    let empty = file(r#"{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}"#);
    assert_eq!(readers::safetensors(&empty), None);
}

/// A name as Hugging Face has it in a GGUF file would be checked in place of the tensor that is read.
#[test]
fn a_tensor_cannot_stand_in_for_another() {
    let mut writer = seeds::changed_model("llama", 2, |_| None);
    writer.tensor("blk.0.self_attn.q_proj.weight", &[32, 32], 0, &[0; 4096]);
    let message = readers::weights(&writer.finish()).expect("refused");
    assert!(message.contains("no name in GGUF"), "{message}");
}

/// What an index names lies beside it.
#[test]
fn an_index_does_not_lead_out_of_its_folder() {
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b.safetensors",
        "a/../../b",
        "one\u{0}.safetensors",
        "one\n.safetensors",
        "./../one.safetensors",
    ] {
        let index = serde_json::json!({ "weight_map": { "model.norm.weight": name } }).to_string();
        let (_, good) = seeds::of("folder").swap_remove(0);
        let text = String::from_utf8_lossy(&good).into_owned();
        let config = text.split("\n---\n").next().expect("a config");
        let message = readers::folder(format!("{config}\n---\n{{}}\n---\n{index}\n---\nx").as_bytes());
        let message = message.expect("refused");
        assert!(
            message.contains("expected a file in the same folder"),
            "{name:?}: {message}"
        );
        assert!(message.contains("index.json"), "{message}");
    }
}

#[test]
fn an_adapter_of_absurd_numbers_is_refused_in_a_sentence() {
    if !alone("an_adapter_of_absurd_numbers_is_refused_in_a_sentence") {
        return;
    }
    let (_, bytes) = seeds::of("peft").swap_remove(1);
    let text = bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
    for (from, to, says) in [
        ("\"r\":2", "\"r\":0.5", "`r` is 0.5"),
        ("\"r\":2", "\"r\":0", "`r` is 0"),
        ("\"r\":2", "\"r\":1152921504606846976", "`r` is 1152921504606846976"),
        ("\"r\":2", "\"r\":3", "make it [3, 6]"),
        ("\"lora_alpha\":4", "\"lora_alpha\":-4", "`lora_alpha` is -4"),
        ("\"lora_alpha\":4", "\"lora_alpha\":1e300", "single precision"),
        ("{\".*q_proj\":2}", "{\".*q_proj\":0}", "is 0"),
        ("{\".*q_proj\":2}", "{\".*q_proj\":-1}", "is -1"),
        ("{\".*q_proj\":2}", "{\"\\\\w{1000}\":2}", "too large"),
        ("{\".*q_proj\":2}", "{\"(\":2}", "not a regular expression"),
        ("{\".*q_proj\":2}", "[]", "expected an object"),
        ("\"use_rslora\":false", "\"use_rslora\":\"yes\"", "use_rslora"),
        ("\u{0}\u{0}\u{0}?", "\u{0}\u{0}\u{c0}\u{7f}", "NaN"),
        ("\u{0}\u{0}\u{0}?", "\u{0}\u{0}\u{80}\u{7f}", "inf"),
        (".layers.0.self", ".layers.9.self", "the model has 2 layers"),
    ] {
        assert!(text.contains(from), "{from:?} in {text:?}");
        let changed = if from.contains("layers") {
            text.replace(from, to)
        } else {
            text.replacen(from, to, 1)
        };
        let bytes: Vec<u8> = changed.chars().map(|c| c as u8).collect();
        claims(|| readers::peft(&bytes), says);
    }
    let pattern: serde_json::Map<_, _> = (0..5000).map(|i| (format!("m{i}"), serde_json::json!(1))).collect();
    let many = text.replacen("{\".*q_proj\":2}", &serde_json::Value::from(pattern).to_string(), 1);
    let bytes: Vec<u8> = many.chars().map(|c| c as u8).collect();
    claims(|| readers::peft(&bytes), "5000 modules");
}

/// Rank 3 on a matrix that has no more than two rows: a LoRA like any other, but not one whose singular values the space can
/// name.
#[test]
fn a_rank_above_the_matrix_is_no_search_space() {
    let lora = essa::adapter::peft::Lora {
        rank: 3,
        scale: 1.0,
        a: vec![0.5; 3 * 4],
        b: vec![0.5; 2 * 3],
    };
    let adapter = PeftAdapter {
        modules: [((0, Module::K), lora)].into(),
    };
    let error = lora_svd(&adapter, 1.0, &[Module::K], Offsets::Relative).expect_err("refused");
    assert!(error.to_string().contains("rank 3"), "{error}");
}

#[test]
fn a_run_of_absurd_numbers_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).expect("a config");
        let error = RunConfig::load(&path, &[]).expect_err("refused");
        readers::refused(&error, "").expect("a sentence")
    };
    let deep = |open: &str, close: &str| format!("x = {}{}", open.repeat(100_000), close.repeat(100_000));
    for text in [
        deep("[", "]"),
        deep("{a=", "}"),
        format!("{}x = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert!(load(&text).contains("run.toml"));
    }
    assert!(load("[model]\npath = 'm'\nthreads = 1152921504606846976").contains("model.threads"));
    assert!(load("name = \"a\\nb\"\n[model]\npath = 'm'").contains("line break"));
    assert!(load(&format!("# {}", "x".repeat(17 << 20))).contains("16 MiB"));
    let huge = essa::task::instructions::InstructionsConfig {
        train_size: 1 << 60,
        ..Default::default()
    };
    let error = essa::task::instructions::Instructions::new(&huge, Seed::new(0)).expect_err("refused");
    assert!(error.to_string().contains("train_size"), "{error}");
}

#[test]
fn a_line_without_an_end_is_refused() {
    if !alone("a_line_without_an_end_is_refused") {
        return;
    }
    let line = format!("{{\"q\": \"{}\", \"a\": 1}}", "x".repeat(17 << 20));
    claims(|| readers::jsonl(line.as_bytes()), "line 1: has 17 MiB");
    let deep = format!("{{\"q\": {}", "[".repeat(100_000));
    claims(|| readers::jsonl(deep.as_bytes()), "EOF while parsing a list");
}

/// Templates that ask for memory or time without end. Each is refused on the budget, in seconds.
#[test]
fn templates_pay_for_what_they_make() {
    if !alone("templates_pay_for_what_they_make") {
        return;
    }
    // The most that minijinja repeats: a few bytes until somebody goes through it.
    let list = "([1] * 100000000)";
    for source in [
        "{{ 'x' * 100000000 }}".to_string(),
        format!("{{{{ {list} | tojson }}}}"),
        format!("{{{{ ['{}'] * 1000000 | tojson }}}}", "x".repeat(1000)),
        format!("{{{{ (['{}'] * 1000000) | tojson }}}}", "x".repeat(1000)),
        format!("{{{{ [{{'a': {list}}}] | tojson(indent=64) }}}}"),
        format!("{{{{ {list} | string }}}}"),
        format!("{{{{ {list} | join }}}}"),
        format!("{{{{ {list} | sort }}}}"),
        format!("{{{{ {list} | list }}}}"),
        format!("{{{{ {list} | unique }}}}"),
        format!("{{{{ {list} | sum }}}}"),
        format!("{{{{ {list} | reverse }}}}"),
        format!("{{{{ {list} == {list} }}}}"),
        format!("{{% for x in {list} %}}{{% endfor %}}"),
        format!("{{{{ raise_exception({list}) }}}}"),
        "{{ '%1000000000d' | format(1) }}".into(),
        "{{ '{:>1000000000}'.format(1) }}".into(),
        "{{ 'x' | indent(1000000000) }}".into(),
        "{{ 'x' | center(1000000000) }}".into(),
        "{{ [1] | batch(1000000000, 0) | list }}".into(),
        "{{ [1] | slice(1000000000) | list }}".into(),
        "{{ range(0, 1000000000000) | list }}".into(),
        "{{ strftime_now('%+' * 100000) }}".into(),
        "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}".into(),
        "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s | replace('x', 'xx') %}{% endfor %}{{ n.s }}".into(),
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}".into(),
    ] {
        let started = Instant::now();
        let outcome = ChatTemplate::new(&source, None, None).and_then(|template| template.render(&[Message::user("Hi")], true));
        // What takes too little to be refused has to be small.
        match outcome {
            Ok(text) => assert!(text.len() < 1 << 20, "{source}: {} bytes", text.len()),
            Err(error) => _ = readers::refused(&error, "the chat template"),
        }
        // Twice five seconds of a clock, and then a minute of patience for a busy machine.
        assert!(started.elapsed() < Duration::from_secs(60), "{source}: {:?}", started.elapsed());
        assert!(grown_gib() < 8.0, "{source}: {} GiB", grown_gib());
    }
}

/// Brackets, blocks and operators as deep as a template is long.
#[test]
fn deep_templates_are_compiled_or_refused() {
    for (open, middle, close) in [
        ("{% if 1 %}", "x", "{% endif %}"),
        ("{% for a in b %}", "x", "{% endfor %}"),
        ("{{ ", "1", " }}"),
    ] {
        let count = (120 << 10) / (open.len() + close.len());
        let source = format!("{}{middle}{}", open.repeat(count), close.repeat(count));
        readers::chat_template(source.as_bytes());
    }
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("-", "1", ""),
        ("not ", "1", ""),
        ("a(", "1", ")"),
        ("1 if ", "1", " else 1"),
    ] {
        let count = (120 << 10) / (open.len() + close.len());
        let source = format!("{{{{ {}{middle}{} }}}}", open.repeat(count), close.repeat(count));
        readers::chat_template(source.as_bytes());
    }
}

/// A `tokenizer.json` is a program too: expressions that take exponential time, and decoders that cut off more than is there.
#[test]
fn a_tokenizer_that_gives_up_says_so() {
    let (_, bytes) = seeds::of("tokenizer").swap_remove(0);
    let text = String::from_utf8(bytes).expect("JSON");
    let strip = text.replace("\"stop\":0", "\"stop\":4");
    assert_ne!(strip, text);
    assert_eq!(readers::tokenizer(strip.as_bytes()), None);
    let slow = text.replace(r"\\p{L}+|\\d", r"(a|a|aa)+$");
    assert_ne!(slow, text);
    let tokenizer = tempfile::tempdir().expect("a temporary folder");
    let path = tokenizer.path().join("tokenizer.json");
    std::fs::write(&path, slow.split("\n---\n").next().expect("a tokenizer")).expect("a file");
    let tokenizer = essa::text::tokenizer::Tokenizer::from_file(&path).expect("a tokenizer");
    let error = tokenizer
        .encode(&format!("{}!", "a".repeat(200)), false)
        .expect_err("exponential time");
    assert!(error.to_string().contains("gave up"), "{error}");
}

/// The bases that are kept are a file like any other, and so is the model that they are made of.
#[test]
fn bases_that_do_not_fit_are_made_anew_and_weights_without_value_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.gguf");
    let space = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("a model");
        let weights = Weights::open(&path).expect("a model");
        spectral(&weights, Part::Principal, 1, &[Module::Q], folder.path(), &|_| ())
    };
    let good = crooked(6, 2, 1, 4, 6);
    let expected = space(&good).expect("a space");
    let kept = std::fs::read_dir(folder.path()).expect("the folder");
    let kept = kept
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension() == Some("safetensors".as_ref()));
    let kept = kept.expect("the bases");
    let name = |part: &str| format!("model.layers.0.self_attn.q_proj.{part}");
    let (v, u, s) = (name("v"), name("u"), name("s"));
    let wrong = seeds::safetensors_bytes("F32", &[(&s, &[1]), (&u, &[2, 1]), (&v, &[1, 3])]);
    std::fs::write(&kept, wrong).expect("other bases");
    let found = space(&good).expect("a space");
    assert_eq!(found.bases(), expected.bases());

    let gguf = Gguf::from_bytes(&path, good.clone()).expect("a file");
    let first = gguf.tensor("blk.0.attn_q.weight").expect("q").bytes.start;
    let mut bad = good;
    bad[first..first + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = space(&bad).expect_err("no decomposition");
    assert!(
        readers::refused(&error, "x.gguf")
            .expect("a sentence")
            .contains("holds NaN"),
        "{error}"
    );
}

/// Widths that fit no group, panel or register, in every precision: a small model, however crooked, runs.
#[test]
fn models_of_crooked_sizes_run() {
    for (hidden, heads, kv_heads, head_dim, intermediate) in [
        (1, 1, 1, 2, 1),
        (3, 3, 1, 2, 5),
        (33, 2, 2, 6, 65),
        (70, 5, 5, 14, 31),
        (4, 2, 1, 34, 129),
    ] {
        let gguf = crooked(hidden, heads, kv_heads, head_dim, intermediate);
        let weights =
            Weights::from_gguf(Gguf::from_bytes(Path::new("x.gguf"), gguf).expect("a file")).expect("a model");
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let model = Transformer::load(&weights, precision.into()).expect("a model that loads");
            let mut engine = Engine::new(model, Limits::default());
            let request = Request {
                prompt_ids: vec![0, 1, 2, 1],
                candidate: 0,
                max_new_tokens: 20,
                sampling: Sampling::default(),
                seed: Seed::new(0),
                stop: Vec::new(),
            };
            let texts = engine
                .generate(&[request.clone(), request], None, &mut || true)
                .expect("texts")
                .expect("all of them");
            assert_eq!(texts[0].token_ids.len(), 20, "{hidden} {precision:?}");
        }
    }
}

fn crooked(hidden: usize, heads: usize, kv_heads: usize, head_dim: usize, intermediate: usize) -> Vec<u8> {
    let mut writer = GgufWriter::default();
    writer.string("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 1),
        ("embedding_length", hidden),
        ("feed_forward_length", intermediate),
        ("context_length", 64),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
    ] {
        writer.u32(&format!("llama.{key}"), value as u32);
    }
    writer.raw("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let mut random = Seed::new(1).normals(1 << 16).into_iter().cycle();
    for (name, shape) in [
        ("token_embd", vec![3, hidden]),
        ("output_norm", vec![hidden]),
        ("blk.0.attn_norm", vec![hidden]),
        ("blk.0.ffn_norm", vec![hidden]),
        ("blk.0.attn_q", vec![q, hidden]),
        ("blk.0.attn_k", vec![kv, hidden]),
        ("blk.0.attn_v", vec![kv, hidden]),
        ("blk.0.attn_output", vec![hidden, q]),
        ("blk.0.ffn_gate", vec![intermediate, hidden]),
        ("blk.0.ffn_up", vec![intermediate, hidden]),
        ("blk.0.ffn_down", vec![hidden, intermediate]),
    ] {
        let count = shape.iter().product();
        let bytes: Vec<u8> = random
            .by_ref()
            .take(count)
            .flat_map(|x| (x as f32).to_le_bytes())
            .collect();
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        writer.tensor(&format!("{name}.weight"), &shape, 0, &bytes);
    }
    writer.finish()
}
