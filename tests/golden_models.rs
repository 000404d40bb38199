//! The forward pass against PyTorch: random tiny models of every supported form, made and computed by
//! `tests/golden/make.py` with transformers and peft. f32 log-probabilities within 1e-4, greedy tokens identical.

mod common;

use common::{Item, assert_agrees, bank, engine, fixture, json};
use essa::adapter::Space;
use essa::adapter::lora_svd::{Offsets, lora_svd};
use essa::adapter::peft::PeftAdapter;
use essa::adapter::spectral::{Part, spectral};
use essa::model::{Module, Precision, Weights};
use serde::Deserialize;
use std::collections::BTreeMap;

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

#[test]
fn the_same_models_as_gguf_agree() {
    for case in ["llama-untied-gqa3", "qwen2-tied-gqa3"] {
        let (_, mut engine) = engine(&fixture(case).join("model.gguf"), Precision::F32);
        let items: Vec<Item> = json(&fixture(case).join("reference.json"));
        assert_agrees(case, &mut engine, None, 0, &items);
    }
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
