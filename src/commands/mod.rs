//! One function a command: what `main` calls when it has read its arguments, and what a test can call as well.

pub mod align;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod leaderboard;
pub mod score;
pub mod sweep;

use crate::adapter::core::core;
use crate::adapter::lora_svd::{Offsets, lora_svd};
use crate::adapter::mix::mix;
use crate::adapter::peft::PeftAdapter;
use crate::adapter::spectral::{Part, spectral};
use crate::adapter::{AdapterBank, Space};
use crate::config::{RunConfig, SpaceSection, parse_modules};
use crate::engine::text::Opened;
use crate::engine::{Engine, Limits};
use crate::error::{Error, Result};
use crate::files::cache_folder;
use crate::model::{LoadOptions, Module, Weights};
use crate::objective::Alignment;
use crate::ranks::Node;
use crate::run;
use crate::seed::Seed;
use crate::task::Task;
use crate::threads;
use std::path::{Path, PathBuf};

/// The model of a command that works on prompts: `--model`, `--adapter`, `--precision`, …
#[derive(Clone, Debug)]
pub struct ModelArguments {
    /// A `.gguf` file or a Hugging Face folder.
    pub model: PathBuf,
    /// A PEFT LoRA directory.
    pub adapter: Option<PathBuf>,
    /// How the base model is held in memory.
    pub options: LoadOptions,
    /// GiB of the key-value cache.
    pub cache_gib: f64,
    /// Threads; 0 takes what there is.
    pub threads: usize,
}

impl ModelArguments {
    /// Opens the model, and the adapter as a bank of one candidate.
    fn open(&self) -> Result<(Opened, Option<AdapterBank>)> {
        threads::set(self.threads, Node::ALONE);
        let opened = Opened::open(&self.model, self.options, limits(self.cache_gib))?;
        let bank = match &self.adapter {
            Some(directory) => {
                let adapter = PeftAdapter::read(directory, opened.weights.config())?;
                Some(bank_of_one(&Space::frozen(&adapter), &opened.engine))
            }
            None => None,
        };
        Ok((opened, bank))
    }
}

fn bank_of_one(space: &Space, engine: &Engine) -> AdapterBank {
    let mut bank = AdapterBank::new(space, engine.model());
    bank.set(space, &[Vec::new()]);
    bank
}

fn limits(cache_gib: f64) -> Limits {
    Limits {
        cache_bytes: (cache_gib * (1_u64 << 30) as f64) as usize,
        ..Limits::default()
    }
}

/// The task of a config. Its examples hang on the task alone and not on the run's seed, so that runs of different seeds
/// are scored on the same test split.
fn open_task(config: &RunConfig, say: &(dyn Fn(&str) + Sync)) -> Result<Box<dyn Task>> {
    let task = config.task.load(Seed::new(0).named("task"), Path::new("."))?;
    task.notes().iter().for_each(|note| say(note));
    Ok(task)
}

/// The space of a config: its spaces, or the one if there is one, on its layers, or a subspace of that.
fn open_space(config: &RunConfig, weights: &Weights, say: &(dyn Fn(&str) + Sync)) -> Result<Space> {
    let mut spaces = config
        .space
        .all()
        .enumerate()
        .map(|(at, section)| Ok((format!("{at}"), open_one_space(config, section, weights, say)?)))
        .collect::<Result<Vec<(String, Space)>>>()?;
    let mut space = match spaces.len() {
        1 => spaces.swap_remove(0).1,
        _ => Space::compose(
            spaces
                .iter()
                .map(|(name, space)| (name.as_str(), space.clone()))
                .collect(),
        ),
    };
    if let Some([first, end]) = config.space.layers {
        let layers = weights.config().layers;
        if end > layers {
            return Err(Error::config(format!(
                "space.layers is [{first}, {end}], and the model has {layers} layers"
            )));
        }
        space = space.of_layers(first..end);
    }
    if let Some(only) = &config.space.only {
        space = space.only(only);
        if space.layout().dim() == 0 {
            return Err(Error::config(format!(
                "space.only: no slot of the space begins with {}; slots have names such as model.layers.0.self_attn.q_proj.z",
                only.join(" or ")
            )));
        }
    }
    let settings = config.space.all().flat_map(|section| match section {
        SpaceSection::Decoding { settings } => settings.as_slice(),
        _ => &[],
    });
    let decoding = settings.map(|&setting| (setting, config.generation_value(setting)));
    space = space.with_decoding(decoding.collect());
    let n = space.layout().dim();
    match config.space.subspace {
        Some(dim) if dim > n => Err(Error::config(format!(
            "space.subspace is {dim}, and the space has only {n} numbers"
        ))),
        Some(dim) => Ok(space.subspace(dim, Seed::new(config.seed).named("subspace"))),
        None => Ok(space),
    }
}

fn open_one_space(
    config: &RunConfig,
    section: &SpaceSection,
    weights: &Weights,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Space> {
    let spectral = |part: Part, rank: usize, modules: &[Module]| {
        spectral(weights, part, rank, modules, &cache_folder().join("bases"), say)
    };
    let adapter = || {
        let directory = config.model.adapter.as_ref();
        PeftAdapter::read(directory.expect("checked when the config was loaded"), weights.config())
    };
    match section {
        SpaceSection::Spectral { part, rank, modules } => spectral(*part, *rank, &parse_modules(modules)?),
        SpaceSection::Core { rank, modules } => {
            let modules = parse_modules(modules)?;
            Ok(core(spectral(Part::Principal, *rank, &modules)?, &modules))
        }
        SpaceSection::LoraSvd {
            alpha,
            offsets,
            modules,
        } => lora_svd(&adapter()?, *alpha, &parse_modules(modules)?, *offsets),
        SpaceSection::LoraCore { modules } => {
            let modules = parse_modules(modules)?;
            Ok(core(
                lora_svd(&adapter()?, 1.0, &modules, Offsets::default())?,
                &modules,
            ))
        }
        SpaceSection::Frozen {} => Ok(Space::frozen(&adapter()?)),
        SpaceSection::Mix { adapters, per } => {
            let read = |directory: &PathBuf| PeftAdapter::read(directory, weights.config());
            Ok(mix(&adapters.iter().map(read).collect::<Result<Vec<_>>>()?, *per))
        }
        SpaceSection::Decoding { .. } => Ok(Space::new(Vec::new())),
    }
}

/// Model, space and task of a config as one objective.
fn open_alignment(config: &RunConfig, node: Node, say: &(dyn Fn(&str) + Sync)) -> Result<Alignment> {
    threads::set(config.model.threads, node);
    // What is quick to check comes first, and waits for no model.
    if let Some(adapter) = config.adapters().find(|adapter| !adapter.exists()) {
        return Err(Error::file(adapter, "is not there, expected a PEFT LoRA directory"));
    }
    let task = open_task(config, say)?;
    run::check_examples(config, &|split| task.examples(split).len())?;
    let options = LoadOptions {
        device: config.model.device.of_rank(node.rank),
        ..config.model.options()
    };
    let opened = Opened::open(&config.model.path, options, limits(config.model.cache_gib))?;
    let space = open_space(config, &opened.weights, say)?;
    let base_name = config.model.path.to_string_lossy().into_owned();
    Alignment::new(
        opened,
        space,
        task,
        config.sampling(),
        config.generation.max_new_tokens,
        base_name,
    )
}

/// The resolved config of a run directory.
fn run_config(run: &Path) -> Result<RunConfig> {
    let path = run.join("config.toml");
    if !path.exists() {
        return Err(Error::file(run, "is not a run directory: it holds no config.toml"));
    }
    RunConfig::load(&path, &[])
}
