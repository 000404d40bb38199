//! Every family against transformers and peft: tiny random models that `tests/golden/make_families.py` makes, of which windows are
//! shorter than the prompts and no setting could be left out unseen. f32 log-probabilities within 1e-4, greedy tokens identical, with a
//! LoRA too; int8 and int4 as far from the plain twin as the kernels' own tests allow; and whatever runs beside a text changes none.

#[path = "support/seeds.rs"]
#[allow(dead_code, reason = "seeds of one kind serve")]
mod seeds;
mod support;

use essa::adapter::peft::PeftAdapter;
use essa::engine::{Engine, Limits, ScoreRequest};
use essa::model::family::FAMILIES;
use essa::model::gguf::Gguf;
use essa::model::{KvKind, LoadOptions, Module, Precision, Products, Transformer, Weights, weight_bytes};
use essa::seed::Seed;
use essa::space::Space;
use essa::space::spectral::{Part, spectral};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::{Item, assert_agrees, bank, engine, fixture, gguf_writer, json};
use tch::Tensor;

/// The folders of all cases, by name.
fn cases() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(fixture("families")).expect("the fixtures").flatten();
    let mut cases: Vec<(String, PathBuf)> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    cases.sort();
    cases
}

fn items(folder: &Path, name: &str) -> Vec<Item> {
    json(&folder.join(name))
}

fn adapter(folder: &Path, weights: &Weights) -> PeftAdapter {
    PeftAdapter::read(&folder.join("adapter"), weights.config()).expect("an adapter")
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// A row without a model that was compared is a promise that nobody has looked at.
#[test]
fn every_row_has_a_model_that_is_compared() {
    let compared: BTreeSet<&str> = cases()
        .iter()
        .map(|(_, folder)| Weights::open(folder).expect("a model").config().family.name)
        .chain(["llama", "qwen2"])
        .collect();
    let rows: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(compared, rows);
}

#[test]
fn every_family_agrees_with_transformers() {
    for (case, folder) in cases() {
        let (_, mut engine) = engine(&folder, Precision::F32);
        assert_agrees(&case, &mut engine, None, 0, &items(&folder, "reference.json"));
    }
}

#[test]
fn a_lora_on_every_matrix_agrees_with_peft() {
    for (case, folder) in cases() {
        let (weights, mut engine) = engine(&folder, Precision::F32);
        let lora = adapter(&folder, &weights);
        assert_eq!(lora.modules.len(), 7 * weights.config().layers, "{case}");
        let expected = items(&folder, "adapter_reference.json");
        let bank_of = |lora: &PeftAdapter, engine: &Engine| bank(&Space::frozen(lora), engine, &[vec![]]);
        let own = bank_of(&lora, &engine);
        assert_agrees(&case, &mut engine, Some(own), 0, &expected);
        // Written and read again: of a matrix that holds several modules they had one A in common, and have it still.
        let written = tempfile::tempdir().expect("a temporary folder");
        lora.write_for(weights.config(), written.path(), &case)
            .expect("a directory");
        let again = PeftAdapter::read(written.path(), weights.config()).expect("the same adapter");
        assert_eq!(
            again.modules.keys().collect::<Vec<_>>(),
            lora.modules.keys().collect::<Vec<_>>()
        );
        assert!(again.modules.values().all(|lora| lora.rank == 2), "{case}");
        let again = bank_of(&again, &engine);
        assert_agrees(&case, &mut engine, Some(again), 0, &expected);
    }
}

/// Files as llama.cpp's converter writes them, of every architecture in the table; Llama's and Qwen2's are compared elsewhere.
#[test]
fn the_same_models_as_gguf_agree() {
    let mut compared = BTreeSet::from(["llama", "qwen2"]);
    for (case, folder) in cases() {
        let path = folder.join("model.gguf");
        if !path.exists() {
            continue;
        }
        let (weights, mut engine) = engine(&path, Precision::F32);
        let own = Weights::open(&folder).expect("a model");
        let [of_file, of_folder] = [&weights, &own].map(Weights::config);
        assert_eq!(of_file.family.name, of_folder.family.name);
        assert_eq!(of_file.attention, of_folder.attention, "{case}");
        assert_agrees(&case, &mut engine, None, 0, &items(&folder, "reference.json"));
        let lora = adapter(&folder, &weights);
        let with_lora = bank(&Space::frozen(&lora), &engine, &[vec![]]);
        let expected = items(&folder, "adapter_reference.json");
        assert_agrees(&case, &mut engine, Some(with_lora), 0, &expected);
        compared.insert(of_file.family.name);
    }
    let read = FAMILIES.iter().filter(|family| family.gguf.is_some());
    assert_eq!(compared, read.map(|family| family.name).collect());
}

/// Factors that fused modules do not have in common leave as one LoRA on what they are fused in, which peft can load: its names are those
/// of the adapter that peft wrote.
#[test]
fn what_is_searched_leaves_under_the_names_that_peft_gives_it() {
    for (case, folder) in cases() {
        let (weights, mut engine) = engine(&folder, Precision::F32);
        let cache = tempfile::tempdir().expect("a temporary folder");
        let space = spectral(&weights, Part::Principal, 2, &Module::ALL, cache.path(), &|_| ()).expect("a space");
        let theta: Vec<f64> = Seed::new(3)
            .normals(space.layout().dim())
            .iter()
            .map(|z| 0.3 * z)
            .collect();
        let written = cache.path().join("written");
        space
            .write(&theta, &written, weights.config(), &case)
            .expect("a directory");
        let names = |folder: &Path| -> BTreeSet<String> {
            let bytes = std::fs::read(folder.join("adapter_model.safetensors")).expect("the factors");
            let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
            tensors.names().into_iter().map(str::to_owned).collect()
        };
        assert_eq!(names(&written), names(&folder.join("adapter")), "{case}");
        let targets = |folder: &Path| -> BTreeSet<String> {
            let config: Value = json(&folder.join("adapter_config.json"));
            serde_json::from_value(config["target_modules"].clone()).expect("names")
        };
        assert_eq!(targets(&written), targets(&folder.join("adapter")), "{case}");

        let requests: Vec<ScoreRequest> = items(&folder, "reference.json")
            .iter()
            .map(|item| item.score_request(0))
            .collect();
        let searched = bank(&space, &engine, &[theta]);
        let expected = engine.score(&requests, Some(&searched)).expect("scores");
        let lora = PeftAdapter::read(&written, weights.config()).expect("the adapter");
        let read = bank(&Space::frozen(&lora), &engine, &[vec![]]);
        let found = engine.score(&requests, Some(&read)).expect("scores");
        let base = engine.score(&requests, None).expect("scores");
        assert!(largest_difference(&found, &expected) < 1e-4, "{case}");
        assert!(
            largest_difference(&base, &expected) > 1e-2,
            "{case}: nothing was changed"
        );
    }
}

/// transformers 4 and 5 write the same model's config.json differently.
#[test]
fn both_forms_of_config_mean_the_same() {
    let mut compared = 0;
    for (case, folder) in cases() {
        if !folder.join("config.v4.json").exists() {
            continue;
        }
        let old = tempfile::tempdir().expect("a temporary folder");
        for name in ["model.safetensors", "generation_config.json"] {
            std::fs::copy(folder.join(name), old.path().join(name)).expect("a copy");
        }
        std::fs::copy(folder.join("config.v4.json"), old.path().join("config.json")).expect("a copy");
        let [old, new] = [old.path(), &folder].map(|path| Weights::open(path).expect("a model").config().clone());
        assert_eq!(old, new, "{case}");
        compared += 1;
    }
    assert!(compared >= 6);
}

#[test]
fn what_weights_take_is_known_before_they_are_loaded() {
    for (case, folder) in cases() {
        let weights = Weights::open(&folder).expect("a model");
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let loaded = Transformer::load(&weights, precision.into()).expect("a model");
            let told = weight_bytes(&weights, precision.into());
            assert_eq!(told, loaded.weight_bytes(), "{case} in {precision:?}");
        }
    }
}

/// Most texts to the last bits. A number that falls on the edge between two steps of int8 may fall on either side, and where it does, all that
/// comes after it in its text differs: by less than what rounding to such steps does at most, which is the distance from f32. So the
/// texts are short, but longer than the shortest windows. In bf16 the library's products differ with their shapes.
#[test]
fn the_kernels_compute_what_their_plain_twin_does() {
    for (case, folder) in cases() {
        let mut exact: Vec<f32> = Vec::new();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            let options = LoadOptions {
                kv_cache: KvKind::F32,
                ..precision.into()
            };
            let weights = Weights::open(&folder).expect("a model");
            let fused = Transformer::load(&weights, options).expect("a model");
            let plain = Transformer::load_plain(&weights, options, Products::Reference).expect("a model");
            let [mut fused, mut plain] = [fused, plain].map(|model| Engine::new(model, Limits::default()));
            let space = Space::frozen(&adapter(&folder, &weights));
            let tokens: Vec<u32> = items(&folder, "reference.json")
                .into_iter()
                .flat_map(|item| [item.prompt_ids, item.completion_ids].concat())
                .collect();
            let requests: Vec<ScoreRequest> = tokens
                .chunks_exact(10)
                .map(|ids| ScoreRequest {
                    prompt_ids: ids[..1].to_vec(),
                    completion_ids: ids[1..].to_vec(),
                    candidate: 0,
                })
                .collect();
            let [of_fused, of_plain] = [&fused, &plain].map(|engine| bank(&space, engine, &[vec![]]));
            let found = fused.score(&requests, Some(&of_fused)).expect("scores").concat();
            let expected = plain.score(&requests, Some(&of_plain)).expect("scores").concat();
            let mut differences: Vec<f32> = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect();
            differences.sort_by(f32::total_cmp);
            let (median, largest) = (differences[differences.len() / 2], differences[differences.len() - 1]);
            if precision == Precision::F32 {
                assert!(largest < 1e-4, "{case}: {largest}");
                exact = found;
                continue;
            }
            let rounding = found
                .iter()
                .zip(&exact)
                .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            println!(
                "{case} {precision:?}: |Δ log-probability| median {median:.1e}, largest {largest:.1e}; from f32 {rounding:.1e}"
            );
            let most = if precision == Precision::Bf16 {
                0.03
            } else {
                0.5 * rounding
            };
            assert!(
                median < 1e-5 && largest < most,
                "{case} {precision:?}: {median} {largest} {rounding}"
            );
        }
    }
}

/// A batch of texts of all lengths, each with the adapter and without, in a cache of each kind: to the bit what each is alone.
#[test]
fn a_mixed_batch_is_each_text_alone() {
    for (case, folder) in cases() {
        for (precision, kv_cache) in [(Precision::Int8, KvKind::Int8), (Precision::Int4, KvKind::Bf16)] {
            let options = LoadOptions {
                kv_cache,
                ..precision.into()
            };
            let weights = Weights::open(&folder).expect("a model");
            let mut engine = Engine::new(
                Transformer::load(&weights, options).expect("a model"),
                Limits::default(),
            );
            let space = spectral(
                &weights,
                Part::Principal,
                2,
                &Module::ALL,
                tempfile::tempdir().expect("a folder").path(),
                &|_| (),
            )
            .expect("a space");
            let thetas: Vec<Vec<f64>> = (0..2)
                .map(|seed| {
                    let normals = Seed::new(seed).normals(space.layout().dim());
                    normals.iter().map(|z| 0.3 * z).collect()
                })
                .collect();
            let bank = bank(&space, &engine, &thetas);
            let requests: Vec<ScoreRequest> = items(&folder, "reference.json")
                .iter()
                .flat_map(|item| [0, 1].map(|candidate| item.score_request(candidate)))
                .collect();
            let together = engine.score(&requests, Some(&bank)).expect("scores");
            for (request, expected) in requests.iter().zip(&together) {
                let alone = engine
                    .score(std::slice::from_ref(request), Some(&bank))
                    .expect("scores");
                assert_eq!(&alone[0], expected, "{case} in {precision:?}");
            }
        }
    }
}

/// Gradients of a warm start flow through another form of the same passes.
#[test]
fn what_a_warm_start_sees_is_what_the_engine_computes() {
    for (case, folder) in cases() {
        let weights = Weights::open(&folder).expect("a model");
        let plain = essa::model::Plain::load(&weights, Precision::F32.into(), Products::Library).expect("a model");
        for item in items(&folder, "reference.json") {
            let sequence = [item.prompt_ids.as_slice(), &item.completion_ids].concat();
            let nothing = |_: usize, _: Module, _: &Tensor, y: Tensor| Ok(y);
            let found = plain
                .log_probabilities(&[&sequence], &[item.prompt_ids.len()], &nothing)
                .expect("logarithms");
            let found = essa::model::numbers(&found).expect("numbers");
            let difference = largest_difference(&[found], std::slice::from_ref(&item.logprobs));
            assert!(difference < 1e-4, "{case}: {difference}");
        }
    }
}

/// What a config says beyond what is read, in one sentence that names it.
#[test]
fn what_a_config_states_and_nobody_reads_is_refused_by_name() {
    let refused = |case: &str, change: &dyn Fn(&mut Value)| -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = fixture("families").join(case);
        std::fs::copy(
            source.join("model.safetensors"),
            folder.path().join("model.safetensors"),
        )
        .expect("a copy");
        let mut config: Value = json(&source.join("config.json"));
        change(&mut config);
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
        match Weights::open(folder.path()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    let set = |key: &'static str, value: Value| move |config: &mut Value| config[key] = value.clone();
    use serde_json::json;
    for (case, key, value, says) in [
        ("qwen3", "attention_sinks", json!(4), "attention_sinks"),
        ("mistral", "mlp_bias", json!(true), "mlp_bias"),
        ("mistral", "vision_config", json!({"hidden_size": 8}), "vision tower"),
        ("qwen3", "num_experts", json!(8), "mixture of experts"),
        ("qwen3", "linear_num_key_heads", json!(2), "linear attention"),
        (
            "qwen3",
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "quantized",
        ),
        ("qwen3", "model_type", json!("qwen3_next"), "model_type is `qwen3_next`"),
        ("qwen3", "hidden_act", json!("relu"), "hidden_act is `relu`"),
        (
            "qwen3",
            "layer_types",
            json!(["linear_attention", "full_attention", "full_attention"]),
            "linear_attention",
        ),
        ("qwen3", "layer_types", json!(["full_attention"]), "names 1 layers"),
        (
            "olmo2",
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
            "layer_types",
        ),
        ("smollm3", "no_rope_layers", json!([1, 0]), "no_rope_layers"),
        ("smollm3", "no_rope_layers", json!([1, 0, 2, 1]), "no_rope_layers"),
        ("mistral", "sliding_window", json!(0), "sliding_window is 0"),
        (
            "gemma3",
            "attn_logit_softcapping",
            json!(50.0),
            "attn_logit_softcapping",
        ),
        (
            "gemma3",
            "use_bidirectional_attention",
            json!(true),
            "use_bidirectional_attention",
        ),
        ("gemma2", "final_logit_softcapping", json!(-3.0), "soft-cap is -3"),
        ("granite", "logits_scaling", json!(0.0), "logits' scale is inf"),
        ("granite", "attention_multiplier", json!("x"), "attention_multiplier"),
        (
            "qwen3",
            "rope_parameters",
            json!({"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e6}),
            "rope scaling `dynamic`",
        ),
        (
            "qwen3",
            "rope_parameters",
            json!({"rope_type": "longrope", "short_factor": [1.0], "rope_theta": 1e6}),
            "rope scaling `longrope`",
        ),
        (
            "qwen3",
            "rope_parameters",
            json!({"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 1e6}),
            "mrope_section",
        ),
        (
            "qwen3",
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.5, "rope_theta": 1e6}),
            "partial_rotary_factor",
        ),
        (
            "gemma3",
            "rope_parameters",
            json!({"rope_type": "linear", "factor": 4.0}),
            "expected `full_attention` and `sliding_attention`",
        ),
        (
            "phi4-mini",
            "rope_parameters",
            json!({"rope_type": "longrope", "short_factor": [1.0, 2.0], "rope_theta": 1e4, "partial_rotary_factor": 0.75}),
            "short_factor",
        ),
        (
            "phi4-mini",
            "rope_parameters",
            json!({"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.4}),
            "partial_rotary_factor",
        ),
    ] {
        let error = refused(case, &set(key, value.clone()));
        assert!(error.contains(says), "{case}, {key} = {value}: `{error}`");
        assert!(error.lines().count() == 1 && error.contains("config.json"), "{error}");
    }
    // What says nothing in another spelling is no reason to refuse.
    for (key, value) in [
        ("mlp_bias", json!(false)),
        ("pruned_heads", json!({})),
        ("quantization_config", Value::Null),
        ("is_encoder_decoder", json!(false)),
        ("suppress_tokens", json!([])),
    ] {
        assert_eq!(refused("mistral", &set(key, value)), "", "{key}");
    }
}

/// Longrope's short factors are for texts up to the context that the model was trained for first; longer ones would turn all positions otherwise.
#[test]
fn a_longrope_model_has_the_context_that_its_short_factors_are_for() {
    let weights = Weights::open(&fixture("families/phi4-mini")).expect("a model");
    assert_eq!(weights.config().context, 128);
    assert!(weights.config().rotary[0].amplitude > 1.1);
}

/// Where a file of 2023 states its scaling, and what stands under an architecture that nobody reads (case 12).
#[test]
fn what_a_gguf_states_of_its_positions_is_read_or_refused() {
    type Key<'a> = (&'a str, u32, &'a [u8]);
    let four = 4_f32.to_le_bytes();
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let (linear, none, yarn) = (text("linear"), text("none"), text("yarn"));
    let open = |keys: &[Key]| {
        let mut file = seeds::changed_model("llama", 0, |_| None);
        for (key, kind, value) in keys {
            file.raw(&format!("llama.{key}"), *kind, value);
        }
        let gguf = Gguf::from_bytes(Path::new("model.gguf"), file.finish()).expect("a file");
        Weights::from_gguf(gguf).map(|weights| weights.config().rotary[0].inverse_frequencies.clone())
    };
    let plain = open(&[]).expect("a model");
    let slowed: Vec<f32> = plain.iter().map(|f| f / 4.0).collect();
    let factor: Key = ("rope.scaling.factor", 6, &four);
    let old_factor: Key = ("rope.scale_linear", 6, &four);
    let kinds = [&linear, &none, &yarn].map(|kind| ("rope.scaling.type", 8, kind.as_slice()));
    for (keys, expected) in [
        (&[kinds[0], factor][..], &slowed),
        (&[factor], &slowed),
        (&[old_factor], &slowed),
        (&[kinds[0], old_factor], &slowed),
        (&[kinds[0]], &plain),
        (&[kinds[1], factor], &plain),
        (&[("rope.dimension_count", 4, &16_u32.to_le_bytes())], &plain),
        (&[("expert_count", 4, &0_u32.to_le_bytes())], &plain),
        (&[("attention.causal", 7, &[1])], &plain),
    ] {
        assert_eq!(&open(keys).expect("a model"), expected, "{keys:?}");
    }
    for (keys, says) in [
        (&[kinds[2], factor][..], "yarn"),
        (
            &[("rope.dimension_count", 4, &4_u32.to_le_bytes())],
            "rope.dimension_count is 4",
        ),
        (
            &[("attention.sliding_window", 4, &8_u32.to_le_bytes())],
            "attention.sliding_window",
        ),
        (
            &[("attention.value_length", 4, &8_u32.to_le_bytes())],
            "value_length is 8",
        ),
        (&[("expert_count", 4, &8_u32.to_le_bytes())], "expert_count"),
        (&[("attention.causal", 7, &[0])], "attention.causal"),
        (&[("logit_scale", 6, &four)], "logit_scale"),
    ] {
        let error = open(keys).expect_err("refused").to_string();
        assert!(error.contains(says), "{keys:?}: {error}");
    }
}
