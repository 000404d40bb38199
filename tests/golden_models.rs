//! The forward pass against PyTorch: random tiny models of every supported form, made and computed by
//! `tests/golden/make.py` with transformers and peft. f32 log-probabilities within 1e-4, greedy tokens identical.

mod support;

use essa::adapter::peft::PeftAdapter;
use essa::engine::{Engine, Limits, Request, Sampling};
use essa::language_model::LanguageModel;
use essa::model::{Module, Precision, Transformer, Weights, weight_bytes};
use essa::seed::Seed;
use essa::space::Space;
use essa::space::lora_svd::{Offsets, lora_svd};
use essa::space::spectral::{Part, spectral};
use essa::text::Message;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use support::{Item, assert_agrees, bank, engine, fixture, json, real_model};

const ATTENTION: [Module; 4] = [Module::Q, Module::K, Module::V, Module::O];

#[derive(Deserialize)]
struct Shifted {
    offsets: BTreeMap<String, Shift>,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Shift {
    a: Vec<f64>,
    b: Vec<f64>,
}

#[derive(Deserialize)]
struct Spectral {
    k: usize,
    offsets: BTreeMap<String, Vec<f64>>,
    items: Vec<Item>,
}

/// What `essa align --dry-run` says of the weights is what they take, to the byte.
#[test]
fn what_weights_take_is_known_before_they_are_loaded() {
    let models = [
        "llama-tied-gqa1",
        "llama-untied-gqa3",
        "qwen2-tied-gqa3",
        "qwen2-untied-gqa4",
    ]
    .map(fixture);
    for path in models.into_iter().chain(real_model()) {
        let weights = Weights::open(&path).expect("a model");
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let loaded = Transformer::load(&weights, precision.into()).expect("a model");
            let told = weight_bytes(&weights, precision.into());
            assert_eq!(told, loaded.weight_bytes(), "{} in {precision:?}", path.display());
        }
    }
}

#[test]
fn every_form_of_model_agrees_with_transformers() {
    for case in [
        "llama-tied-gqa1",
        "llama-untied-gqa3",
        "llama-rope3-gqa4",
        "llama-sharded",
        "qwen2-tied-gqa3",
        "qwen2-untied-gqa4",
    ] {
        let (_, mut engine) = engine(&fixture(case), Precision::F32);
        let items: Vec<Item> = json(&fixture(case).join("reference.json"));
        assert!(items.len() >= 4);
        assert_agrees(case, &mut engine, None, 0, &items);
    }
}

/// The heads of Qwen2.5, which kernels that take four at once have to take in two goes, and positions as in real prompts.
#[test]
fn seven_query_heads_a_key_head_and_450_tokens_agree_with_transformers() {
    let case = "qwen2-tied-gqa7";
    let (weights, mut engine) = engine(&fixture(case), Precision::F32);
    assert_eq!(weights.config().heads, 7 * weights.config().kv_heads);
    let items: Vec<Item> = json(&fixture(case).join("reference.json"));
    let longest = |of: fn(&Item) -> usize| items.iter().map(of).max().expect("items");
    assert!(
        longest(|item| item.completion_ids.len()) > 440,
        "scored at every position"
    );
    assert!(
        longest(|item| item.prompt_ids.len() + item.greedy_ids.len()) > 450,
        "and written"
    );
    assert_agrees(case, &mut engine, None, 0, &items);
}

#[test]
fn the_same_models_as_gguf_agree() {
    for case in ["llama-untied-gqa3", "qwen2-tied-gqa3"] {
        let (_, mut engine) = engine(&fixture(case).join("model.gguf"), Precision::F32);
        let items: Vec<Item> = json(&fixture(case).join("reference.json"));
        assert_agrees(case, &mut engine, None, 0, &items);
    }
}

#[derive(Deserialize)]
struct Conversations {
    bos: String,
    eos: String,
    chats: Vec<Conversation>,
    texts: Vec<RawText>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    answer: String,
    text: String,
    #[serde(flatten)]
    item: Item,
}

#[derive(Deserialize)]
struct RawText {
    text: String,
    ids: Vec<u32>,
}

/// A Llama-3 as one GGUF file, and what transformers makes of its conversations without having seen that file.
fn llama_3() -> (LanguageModel, Conversations) {
    let folder = fixture("llama3-chat");
    let opened = LanguageModel::open(&folder.join("model.gguf"), Precision::F32.into(), Limits::default());
    (opened.expect("a model"), json(&folder.join("reference.json")))
}

/// The template names bos and eos, and some words are tokens that no merges make.
#[test]
fn conversations_of_a_llama_3_as_gguf_become_transformers_ids() {
    let (opened, reference) = llama_3();
    let text = opened.text().expect("a tokenizer");
    for chat in &reference.chats {
        assert!(chat.text.starts_with(&reference.bos) && chat.text.contains(&reference.eos));
        assert_eq!(text.chat_text(&chat.messages).expect("a text"), chat.text);
        assert_eq!(text.chat_ids(&chat.messages).expect("ids"), chat.item.prompt_ids);
        let answer = text.answer_ids(&chat.messages, &chat.answer, true).expect("ids");
        assert_eq!(answer, chat.item.completion_ids);
        let end = chat.item.completion_ids.last().expect("an end of turn");
        assert!(text.stop().contains(end), "{end} ends a turn");
    }
}

/// The file does not say `add_bos_token`, as the files of Llama-3 do not: its rule for words means it.
#[test]
fn texts_of_a_llama_3_as_gguf_begin_with_bos() {
    let (opened, reference) = llama_3();
    let text = opened.text().expect("a tokenizer");
    for raw in &reference.texts {
        assert_eq!(text.raw_ids(&raw.text).expect("ids"), raw.ids, "{:?}", raw.text);
    }
}

/// Its positions are scaled by `rope_freqs.weight`, as llama.cpp's converter writes the scaling that transformers computes.
#[test]
fn a_llama_3_as_gguf_agrees_with_transformers() {
    let (mut opened, reference) = llama_3();
    let items: Vec<Item> = reference.chats.into_iter().map(|chat| chat.item).collect();
    assert!(items.iter().any(|item| item.prompt_ids.len() > 400));
    assert_agrees("llama3-chat", &mut opened.engine, None, 0, &items);
}

/// transformers 4 and 5 write the same model's config.json differently.
#[test]
fn both_forms_of_config_mean_the_same() {
    for entry in std::fs::read_dir(fixture("")).expect("the fixtures") {
        let folder = entry.expect("an entry").path();
        if !folder.join("config.v4.json").exists() {
            continue;
        }
        let new = Weights::open(&folder).expect("a model").config().clone();
        let old = tempfile::tempdir().expect("a temporary folder");
        for file in std::fs::read_dir(&folder)
            .expect("a folder")
            .flatten()
            .filter(|file| file.path().is_file())
        {
            let name = file.file_name();
            std::fs::copy(file.path(), old.path().join(name)).expect("a copy");
        }
        std::fs::copy(folder.join("config.v4.json"), old.path().join("config.json")).expect("a copy");
        assert_eq!(
            *Weights::open(old.path()).expect("a model").config(),
            new,
            "{}",
            folder.display()
        );
    }
}

#[test]
fn lora_adapters_agree_with_peft() {
    for case in ["llama-untied-gqa3", "qwen2-tied-gqa3"] {
        for adapter in ["adapter", "adapter-rank-pattern"] {
            let (weights, mut engine) = engine(&fixture(case), Precision::F32);
            let folder = fixture(case).join(adapter);
            let lora = PeftAdapter::read(&folder, weights.config()).expect("an adapter");
            let items: Vec<Item> = json(&fixture(case).join(format!("{adapter}_reference.json")));
            let frozen = Space::frozen(&lora);
            let at_once = bank(&frozen, &engine, &[vec![]]);
            assert_agrees(adapter, &mut engine, Some(at_once), 0, &items);
            // The same adapter through its decomposition, at θ = 0.
            let space = lora_svd(&lora, 1.0, &ATTENTION, Offsets::Absolute).expect("a space");
            let start = vec![0.0; space.layout().dim()];
            let decomposed = bank(&space, &engine, &[start]);
            assert_agrees(adapter, &mut engine, Some(decomposed), 0, &items);
        }
    }
}

/// The paper's space: shifted singular values of both factors, two candidates in one bank; and their export as PEFT.
#[test]
fn shifted_singular_values_agree_with_peft() {
    for case in ["llama-untied-gqa3", "qwen2-tied-gqa3"] {
        let (weights, mut engine) = engine(&fixture(case), Precision::F32);
        let lora = PeftAdapter::read(&fixture(case).join("adapter"), weights.config()).expect("an adapter");
        let space = lora_svd(&lora, 1.0, &ATTENTION, Offsets::Absolute).expect("a space");
        let shifted: Vec<Shifted> = [1, 2]
            .map(|i| json(&fixture(case).join(format!("shifted-{i}.json"))))
            .into();
        let thetas: Vec<Vec<f64>> = shifted
            .iter()
            .map(|shifted| {
                let mut theta = vec![0.0; space.layout().dim()];
                for slot in space.layout().slots() {
                    let (path, factor) = slot.name.rsplit_once('.').expect("a module's path and a factor");
                    let shift = &shifted.offsets[path];
                    let values = if factor == "a" { &shift.a } else { &shift.b };
                    theta[slot.start..slot.start + slot.len].copy_from_slice(values);
                }
                theta
            })
            .collect();
        for (candidate, shifted) in shifted.iter().enumerate() {
            let both = bank(&space, &engine, &thetas);
            assert_agrees(case, &mut engine, Some(both), candidate, &shifted.items);
            let folder = tempfile::tempdir().expect("a temporary folder");
            space
                .export(&thetas[candidate])
                .write(folder.path(), case)
                .expect("an export");
            let exported = PeftAdapter::read(folder.path(), weights.config()).expect("the export");
            let exported = bank(&Space::frozen(&exported), &engine, &[vec![]]);
            assert_agrees("the export", &mut engine, Some(exported), 0, &shifted.items);
        }
    }
}

#[test]
fn spectral_offsets_agree_with_changed_weights() {
    let case = "qwen2-tied-gqa3";
    let (weights, mut engine) = engine(&fixture(case), Precision::F32);
    let reference: BTreeMap<String, Spectral> = json(&fixture(case).join("spectral.json"));
    for (part, name) in [(Part::Principal, "principal"), (Part::Minor, "minor")] {
        let reference = &reference[name];
        let cache = tempfile::tempdir().expect("a temporary folder");
        // Twice: computed, and read back from the cache.
        for _ in 0..2 {
            let space = spectral(&weights, part, reference.k, &ATTENTION, cache.path(), &|_| ()).expect("a space");
            let mut theta = vec![0.0; space.layout().dim()];
            for slot in space.layout().slots() {
                let path = slot.name.rsplit_once('.').expect("a module's path and a factor").0;
                theta[slot.start..slot.start + slot.len].copy_from_slice(&reference.offsets[path]);
            }
            let searched = bank(&space, &engine, &[theta.clone()]);
            assert_agrees(name, &mut engine, Some(searched), 0, &reference.items);
            let folder = cache.path().join("export");
            space.export(&theta).write(&folder, case).expect("an export");
            let exported = PeftAdapter::read(&folder, weights.config()).expect("the export");
            let exported = bank(&Space::frozen(&exported), &engine, &[vec![]]);
            assert_agrees(name, &mut engine, Some(exported), 0, &reference.items);
        }
    }
}

#[derive(Deserialize)]
struct PeftExports {
    peft_version: String,
    model: String,
    /// `adapter_config.json` of a LoRA of which nothing was said: what a config leaves out.
    defaults: Map<String, Value>,
    cases: BTreeMap<String, PeftExport>,
}

#[derive(Deserialize)]
struct PeftExport {
    rank: usize,
    modules: Vec<String>,
    layers: Option<Vec<usize>>,
    config: Map<String, Value>,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, (String, Vec<usize>)>,
}

/// A directory as peft 0.21.2 writes it for the same matrices (`tests/golden/make_peft.py`): every tensor's name, type and shape,
/// and a config that means the same once peft has filled in what it leaves out.
#[test]
fn an_export_is_the_directory_that_peft_itself_writes() {
    let reference: PeftExports = json(&fixture("peft_exports.json"));
    assert_eq!(reference.peft_version, "0.21.2");
    let weights = Weights::open(&fixture(&reference.model)).expect("a model");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, mut expected) in reference.cases {
        let modules: Vec<Module> = expected
            .modules
            .iter()
            .map(|name| Module::parse(name).expect("a module"))
            .collect();
        let mut space = spectral(
            &weights,
            Part::Principal,
            expected.rank,
            &modules,
            folder.path(),
            &|_| (),
        )
        .expect("a space");
        if let Some(layers) = &expected.layers {
            space = space.of_layers(layers[0]..layers[layers.len() - 1] + 1);
            // Ours leaves them out: where a layer has no factors peft fills in zeros.
            assert_ne!(expected.config.insert("layers_to_transform".into(), Value::Null), None);
        }
        let theta = Seed::new(3).normals(space.layout().dim());
        let written = folder.path().join(&name);
        space
            .export(&theta)
            .write(&written, &format!("golden/{}", reference.model))
            .expect("an export");

        let bytes = std::fs::read(written.join("adapter_model.safetensors")).expect("the factors");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("safetensors");
        let metadata = header.metadata().clone().expect("metadata");
        assert_eq!(
            metadata.into_iter().collect::<BTreeMap<_, _>>(),
            expected.metadata,
            "{name}"
        );
        let tensors = SafeTensors::deserialize(&bytes).expect("safetensors").tensors();
        let tensors = tensors
            .into_iter()
            .map(|(key, tensor)| (key, (format!("{:?}", tensor.dtype()), tensor.shape().to_vec())));
        assert_eq!(tensors.collect::<BTreeMap<_, _>>(), expected.tensors, "{name}");

        let own: Map<String, Value> = json(&written.join("adapter_config.json"));
        for key in [
            "peft_type",
            "task_type",
            "r",
            "lora_alpha",
            "target_modules",
            "base_model_name_or_path",
        ] {
            assert!(own.contains_key(key), "{name}: {key} is said and not left to a default");
        }
        let mut found = reference.defaults.clone();
        found.extend(own);
        for config in [&mut found, &mut expected.config] {
            let modules = config["target_modules"].as_array_mut().expect("names");
            modules.sort_by_key(|module| module.to_string());
        }
        assert_eq!(found, expected.config, "{name}");
    }
}

/// What peft makes of a directory, done by hand: of the matrices that `target_modules` names, W becomes W + α / r · B A. The model with
/// these weights and no adapter is the candidate that was exported, whatever of ranks and scales its space mixes.
#[test]
fn an_export_added_to_the_weights_as_peft_does_is_the_candidate() {
    let case = "qwen2-tied-gqa3";
    let (weights, mut engine) = engine(&fixture(case), Precision::F32);
    let items: Vec<Item> = json(&fixture(case).join("reference.json"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let adapter = |name: &str| PeftAdapter::read(&fixture(case).join(name), weights.config()).expect("an adapter");
    let svd = |name: &str| lora_svd(&adapter(name), 1.0, &ATTENTION, Offsets::Relative).expect("a space");
    let spectral =
        |modules: &[Module]| spectral(&weights, Part::Principal, 3, modules, folder.path(), &|_| ()).expect("a space");
    for (name, space) in [
        ("every matrix", spectral(&Module::ALL)),
        ("one layer", spectral(&[Module::V, Module::Up]).of_layers(1..2)),
        ("one scale", svd("adapter")),
        ("ranks and scales of a pattern", svd("adapter-rank-pattern")),
        (
            "two spaces",
            Space::compose(vec![
                ("a", spectral(&[Module::Q, Module::Down])),
                ("b", svd("adapter-rank-pattern")),
            ]),
        ),
    ] {
        let theta: Vec<f64> = Seed::new(8)
            .normals(space.layout().dim())
            .iter()
            .map(|z| 0.2 * z)
            .collect();
        let written = folder.path().join("export");
        space.export(&theta).write(&written, case).expect("an export");
        let merged = folder.path().join("merged");
        add_to_weights(&fixture(case), &written, &merged);

        let requests: Vec<_> = items.iter().map(|item| item.score_request(0)).collect();
        let candidate = bank(&space, &engine, &[theta]);
        let expected = engine.score(&requests, Some(&candidate)).expect("scores").concat();
        let base = engine.score(&requests, None).expect("scores").concat();
        let (_, mut merged) = support::engine(&merged, Precision::F32);
        let found = merged.score(&requests, None).expect("scores").concat();
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart(&found, &expected) < 1e-4, "{name}: {}", apart(&found, &expected));
        assert!(apart(&base, &expected) > 0.1, "{name}: nothing was changed");
    }
}

/// Writes the model of `base` with the adapter's matrices added, to the folder `merged`.
fn add_to_weights(base: &Path, adapter: &Path, merged: &Path) {
    let numbers = |view: &TensorView| -> Vec<f32> {
        assert_eq!(view.dtype(), Dtype::F32);
        let bytes = view.data().as_chunks::<4>().0;
        bytes.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let config: Value = json(&adapter.join("adapter_config.json"));
    let of_module = |pattern: &str, usual: &str, module: &str| -> f64 {
        let own = config[pattern].get(module).unwrap_or(&config[usual]);
        own.as_f64().expect("a number")
    };
    let bytes = std::fs::read(adapter.join("adapter_model.safetensors")).expect("the factors");
    let factors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let bytes = std::fs::read(base.join("model.safetensors")).expect("the weights");
    let mut tensors = Vec::new();
    for (key, view) in SafeTensors::deserialize(&bytes).expect("safetensors").tensors() {
        let mut weight = numbers(&view);
        let module = key.trim_end_matches(".weight").to_owned();
        let factor = |which: &str| factors.tensor(&format!("base_model.model.{module}.{which}.weight"));
        let name = module.rsplit('.').next().expect("a name");
        let is_target = config["target_modules"]
            .as_array()
            .expect("names")
            .iter()
            .any(|target| target == name);
        if let (true, Ok(a), Ok(b)) = (is_target, factor("lora_A"), factor("lora_B")) {
            let (rank, columns) = (a.shape()[0], a.shape()[1]);
            assert_eq!(rank as f64, of_module("rank_pattern", "r", &module), "{module}");
            let scale = of_module("alpha_pattern", "lora_alpha", &module) / rank as f64;
            let (a, b) = (numbers(&a), numbers(&b));
            for (index, weight) in weight.iter_mut().enumerate() {
                let (row, column) = (index / columns, index % columns);
                let products = (0..rank).map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * columns + column]));
                *weight += (scale * products.sum::<f64>()) as f32;
            }
        }
        let bytes: Vec<u8> = weight.iter().flat_map(|x| x.to_le_bytes()).collect();
        tensors.push((key, view.shape().to_vec(), bytes));
    }
    let views = tensors.iter().map(|(key, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes made for this shape");
        (key.as_str(), view)
    });
    std::fs::create_dir_all(merged).expect("a folder");
    let bytes = safetensors::serialize(views, None).expect("safetensors");
    std::fs::write(merged.join("model.safetensors"), bytes).expect("a file");
    std::fs::copy(base.join("config.json"), merged.join("config.json")).expect("a copy");
}

#[derive(Deserialize)]
struct Sampled {
    prompt_ids: Vec<u32>,
    cases: Vec<Sampler>,
}

#[derive(Deserialize)]
struct Sampler {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    /// What is written so far, the tokens that may be next, and their probabilities.
    rows: Vec<(Vec<u32>, Vec<u32>, Vec<f64>)>,
}

/// 20,000 texts of three tokens for each of some settings, against the probabilities that transformers' filters leave: of
/// each token by itself, and of whole texts, which one number for all tokens of a text or one text's number for another would
/// miss. A sampler that is right fails here for one seed in a thousand.
#[test]
fn sampled_texts_are_as_frequent_as_they_are_probable() {
    const TEXTS: u64 = 20_000;
    let folder = fixture("qwen2-tied-gqa7");
    let sampled: Sampled = json(&folder.join("sampling.json"));
    let weights = Weights::open(&folder).expect("a model");
    let model = Transformer::load(&weights, Precision::F32.into()).expect("a model that loads");
    let limits = Limits {
        cache_bytes: 8 << 20,
        ..Limits::default()
    };
    let mut engine = Engine::new(model, limits);
    let bound = 1e-3 / (4 * sampled.cases.len()) as f64;
    for (number, case) in sampled.cases.iter().enumerate() {
        let sampling = Sampling {
            temperature: case.temperature,
            top_p: case.top_p,
            top_k: case.top_k,
        };
        let request = |text: u64| Request {
            prompt_ids: sampled.prompt_ids.clone(),
            candidate: 0,
            max_new_tokens: 3,
            sampling,
            seed: Seed::new(number as u64).named("sampled texts").fold(text),
            stop: Vec::new(),
        };
        let requests: Vec<Request> = (0..TEXTS).map(request).collect();
        let written = engine.generate(&requests, None, &mut || true);
        let written = written.expect("texts").expect("not stopped");

        // The probability of every beginning of a text, from the empty one on.
        let mut probability = BTreeMap::from([(Vec::new(), 1.0)]);
        for (so_far, next, probabilities) in &case.rows {
            let before = probability[so_far];
            for (&token, p) in next.iter().zip(probabilities) {
                probability.insert([so_far.as_slice(), &[token]].concat(), before * p);
            }
        }
        let of_length = |length: usize| probability.iter().filter(move |(text, _)| text.len() == length);
        for (what, part) in [("first", 0..1), ("second", 1..2), ("third", 2..3), ("text", 0..3)] {
            let mut cells: BTreeMap<&[u32], (f64, f64)> = BTreeMap::new();
            for (text, p) in of_length(3) {
                cells.entry(&text[part.clone()]).or_default().0 += p * TEXTS as f64;
            }
            for completion in &written {
                assert!(
                    probability.contains_key(&completion.token_ids),
                    "{sampling:?}: a text that was filtered out"
                );
                cells
                    .get_mut(&completion.token_ids[part.clone()])
                    .expect("a part of a text")
                    .1 += 1.0;
            }
            let (statistic, degrees) = chi_square(cells.into_values().collect());
            let tail = chi_square_tail(statistic, degrees);
            println!("{sampling:?}, {what}: χ² {statistic:.1} of {degrees} degrees, chance {tail:.3}");
            assert!(
                tail > bound,
                "{sampling:?}, {what}: χ² {statistic:.1} of {degrees} degrees has a chance of {tail:.1e}"
            );
        }
    }
}

/// Pearson's statistic of (expected, observed) counts and its degrees of freedom. Cells of fewer than five expected are one.
fn chi_square(mut cells: Vec<(f64, f64)>) -> (f64, usize) {
    cells.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut pooled: Vec<(f64, f64)> = Vec::new();
    for (expected, observed) in cells {
        match pooled.last_mut().filter(|last| last.0 < 5.0) {
            Some(last) => *last = (last.0 + expected, last.1 + observed),
            None => pooled.push((expected, observed)),
        }
    }
    let statistic = pooled
        .iter()
        .map(|(expected, observed)| (observed - expected).powi(2) / expected)
        .sum();
    (statistic, pooled.len() - 1)
}

/// The chance that χ² is above `statistic`: 1 − P(a, x), a = degrees / 2, x = statistic / 2, by the series
/// P(a, x) = xᵃ e⁻ˣ / Γ(a + 1) · (1 + x / (a + 1) + x² / ((a + 1)(a + 2)) + …).
fn chi_square_tail(statistic: f64, degrees: usize) -> f64 {
    let (a, x) = (degrees as f64 / 2.0, statistic / 2.0);
    // ln Γ(a + 1) from Γ(1) = 1 or Γ(½) = √π up.
    let from = if degrees.is_multiple_of(2) { 1.0 } else { 0.5 };
    let start = if degrees.is_multiple_of(2) {
        0.0
    } else {
        0.5 * std::f64::consts::PI.ln()
    };
    let steps = std::iter::successors(Some(from), |z| Some(z + 1.0)).take_while(|z| *z < a + 1.0);
    let ln_gamma = start + steps.map(f64::ln).sum::<f64>();
    let terms = std::iter::successors(Some((1.0, a + 1.0)), |(term, n)| Some((term * x / n, n + 1.0)));
    let sum: f64 = terms.map(|(term, _)| term).take(1000 + 2 * x as usize).sum();
    1.0 - (a * x.ln() - x - ln_gamma).exp() * sum
}

/// Quantiles that every table of χ² has.
#[test]
fn the_tail_of_chi_square_is_the_tables() {
    for (statistic, degrees, tail) in [
        (3.841, 1, 0.05),
        (16.266, 3, 0.001),
        (18.307, 10, 0.05),
        (79.082, 60, 0.05),
        (149.449, 100, 0.001),
    ] {
        let found = chi_square_tail(statistic, degrees);
        assert!((found / tail - 1.0).abs() < 2e-3, "{degrees} degrees: {found}");
    }
}
