//! The words of a run: one TOML file, every knob with its unit, default and range. Unknown keys are refused with the
//! nearest known one. [`KNOBS`] is the reference page: `docs/configuration.md` is made from it, and a test holds it
//! against what the parser accepts. After [`RunConfig::load`] nobody re-checks a knob.

use crate::adapter::decoding::Setting;
use crate::adapter::lora_svd::Offsets;
use crate::adapter::mix::Per;
use crate::adapter::spectral::Part;
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::files::read_config_text;
use crate::model::weights::hex;
use crate::model::{Device, KvKind, LoadOptions, Module, Precision};
use crate::strategy::StrategyConfig;
use crate::task::TaskConfig;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Names the run and its directory.
    #[serde(default = "default_name")]
    pub name: String,
    /// The root of all random numbers.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The base model.
    pub model: ModelSection,
    /// What is searched.
    #[serde(default)]
    pub space: SpaceConfig,
    /// How it is searched.
    #[serde(default)]
    pub strategy: StrategyConfig,
    /// What it is judged by.
    #[serde(default)]
    pub task: TaskConfig,
    /// How texts are written.
    #[serde(default)]
    pub generation: GenerationSection,
    /// How long, and how often it is looked at.
    #[serde(default)]
    pub run: RunSection,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// A `.gguf` file or a Hugging Face folder.
    pub path: PathBuf,
    /// Precision of the base model's products.
    #[serde(default = "default_precision")]
    pub precision: Precision,
    /// Where it runs.
    #[serde(default)]
    pub device: Device,
    /// int4: weights that share a scale.
    #[serde(default = "default_group_size")]
    pub group_size: usize,
    /// What keys and values are kept in; without it f32 beside f32 and bf16 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvKind>,
    /// A PEFT LoRA directory: what `lora-svd` searches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// GiB that the key-value cache may take.
    #[serde(default = "default_cache_gib")]
    pub cache_gib: f64,
    /// Threads of this process; 0 takes what the machine or the launcher gives.
    #[serde(default)]
    pub threads: usize,
}

impl ModelSection {
    /// How the model is to be held in memory.
    pub fn options(&self) -> LoadOptions {
        let usual = LoadOptions::from(self.precision);
        LoadOptions {
            group_size: self.group_size,
            kv_cache: self.kv_cache.unwrap_or(usual.kv_cache),
            device: self.device,
            ..usual
        }
    }
}

/// `[space]`: a space, what is searched beside it, and how much of it all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpaceConfig {
    /// Searches so many random directions of everything instead of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subspace: Option<usize>,
    /// First layer, and the layer after the last; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<[usize; 2]>,
    /// At most so many numbers are searched: those that change the most texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<usize>,
    /// Beginnings of the names of the slots that are searched, up to a dot; without it all. A budget fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// The space. What it does not know is refused, so the keys above are all that there are beside its own.
    #[serde(flatten)]
    pub kind: SpaceSection,
    /// More spaces on the same model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<SpaceSection>,
}

impl SpaceConfig {
    /// All spaces.
    pub fn all(&self) -> impl Iterator<Item = &SpaceSection> {
        std::iter::once(&self.kind).chain(&self.also)
    }

    /// What a leaderboard calls it.
    pub fn label(&self) -> String {
        let one = |space: &SpaceSection| match space {
            SpaceSection::Spectral { part, rank, .. } => format!("spectral {part:?} {rank}").to_lowercase(),
            SpaceSection::Core { rank, .. } => format!("core {rank}"),
            SpaceSection::LoraSvd { alpha, .. } => format!("lora-svd {alpha}"),
            SpaceSection::LoraCore { .. } => "lora-core".into(),
            SpaceSection::Frozen {} => "frozen".into(),
            SpaceSection::Mix { adapters, per } => format!("mix {} by {per:?}", adapters.len()).to_lowercase(),
            SpaceSection::Decoding { .. } => "decoding".into(),
        };
        let mut label = self.all().map(one).collect::<Vec<_>>().join(" + ");
        if let Some([first, end]) = self.layers {
            label += &format!(", layers {first}..{end}");
        }
        if let Some(budget) = self.budget {
            label += &format!(", budget {budget}");
        }
        if let Some(dim) = self.subspace {
            label += &format!(", subspace {dim}");
        }
        label
    }
}

/// One space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SpaceSection {
    /// Singular components of the base weights.
    Spectral {
        /// Which end of the spectrum.
        #[serde(default)]
        part: Part,
        /// Components a matrix.
        #[serde(default = "default_rank")]
        rank: usize,
        /// Which matrices of every layer.
        #[serde(default = "default_modules")]
        modules: Vec<String>,
    },
    /// Singular values of a supervised LoRA's factors.
    LoraSvd {
        /// Share of each factor's singular values that is searched.
        #[serde(default = "default_alpha")]
        alpha: f64,
        /// What one unit of the search vector is.
        #[serde(default)]
        offsets: Offsets,
        /// Which matrices of every layer.
        #[serde(default = "default_modules")]
        modules: Vec<String>,
    },
    /// The whole matrix between principal components of the base weights (LoRA-XS).
    Core {
        /// Components a matrix.
        #[serde(default = "default_rank")]
        rank: usize,
        /// Which matrices of every layer.
        #[serde(default = "default_modules")]
        modules: Vec<String>,
    },
    /// The whole matrix between the singular vectors of a supervised LoRA's factors.
    LoraCore {
        /// Which matrices of every layer.
        #[serde(default = "default_modules")]
        modules: Vec<String>,
    },
    /// A supervised LoRA that stands still while others are searched.
    Frozen {},
    /// The weights of a sum of several LoRAs.
    Mix {
        /// PEFT LoRA directories.
        adapters: Vec<PathBuf>,
        /// What has a weight of its own.
        #[serde(default)]
        per: Per,
    },
    /// How texts are written.
    Decoding {
        /// Which settings of `[generation]`.
        #[serde(default = "default_settings")]
        settings: Vec<Setting>,
    },
}

/// `[generation]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationSection {
    /// Token budget of a text.
    pub max_new_tokens: usize,
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Nucleus.
    pub top_p: f64,
    /// Likeliest tokens kept; 0 keeps all.
    pub top_k: usize,
}

/// `[run]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// Generations.
    pub generations: u64,
    /// Prompts a generation, the same for every candidate.
    pub prompts: usize,
    /// Prompts that a generation may come to when the candidates' differences are mostly noise; without it they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_max: Option<usize>,
    /// Generations between two looks at the validation split; 0 looks at the start and the end only.
    pub validate_every: u64,
    /// Whether σ0 is found before the run; `strategy.sigma` is then where the search for it begins.
    pub calibrate_sigma: bool,
    /// Whether candidates that are behind drop out of a generation before its last prompt.
    pub racing: bool,
    /// Whether a run ends when its mean has become clearly worse than the best one at two validations in a row.
    pub stop_on_collapse: bool,
    /// Whether judged texts are kept.
    pub rollouts: bool,
}

impl Default for SpaceSection {
    fn default() -> Self {
        Self::Spectral {
            part: Part::default(),
            rank: default_rank(),
            modules: default_modules(),
        }
    }
}

impl Default for GenerationSection {
    fn default() -> Self {
        let sampling = Sampling::default();
        Self {
            max_new_tokens: 32,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
        }
    }
}

impl Default for RunSection {
    fn default() -> Self {
        Self {
            generations: 20,
            prompts: 24,
            validate_every: 5,
            rollouts: true,
            prompts_max: None,
            calibrate_sigma: false,
            racing: false,
            stop_on_collapse: true,
        }
    }
}

fn default_name() -> String {
    "run".into()
}
fn default_seed() -> u64 {
    1
}
fn default_precision() -> Precision {
    Precision::Int8
}
fn default_group_size() -> usize {
    64
}
fn default_cache_gib() -> f64 {
    2.0
}
fn default_settings() -> Vec<Setting> {
    vec![Setting::Temperature, Setting::TopP]
}
fn default_rank() -> usize {
    8
}
fn default_alpha() -> f64 {
    1.0
}
fn default_modules() -> Vec<String> {
    ["q_proj", "k_proj", "v_proj", "o_proj"].map(String::from).to_vec()
}

/// The config that `essa align quickstart` runs.
pub const QUICKSTART: &str = include_str!("../experiments/quickstart.toml");

impl RunConfig {
    /// Reads `path` (or the embedded config of the name `quickstart`), applies `key=value` overrides, and checks every
    /// value. Relative paths in the file are relative to its folder.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::from_table(read_table(path, overrides)?, path)
    }

    /// The config that a table holds; `path` is the file that it came from.
    pub fn from_table(mut table: toml::Table, path: &Path) -> Result<Self> {
        // What is left relative came from the command line, and is relative to where that was typed.
        resolve_paths(&mut table, Path::new("."));
        name_default_kinds(&mut table);
        let config: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::file(path, with_nearest(&one_line(&e.to_string()))))?;
        config.check()?;
        Ok(config)
    }

    /// The config as TOML, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config is a TOML table")
    }

    /// Keys that decide the run and differ from `other`'s, a line each. Keys that only say what a machine may spend on it
    /// are not counted.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let [own, others] = [self.deciding_keys(), other.deciding_keys()];
        let keys: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
        let say = |value: Option<&String>| value.map_or("not set".into(), Clone::clone);
        keys.into_iter()
            .filter(|key| own.get(*key) != others.get(*key))
            .map(|key| format!("{key}: {} and {}", say(own.get(key)), say(others.get(key))))
            .collect()
    }

    /// Takes over what was decided for a run before its first generation, where this config leaves it to be decided: the slots
    /// of a budget, and σ0. Returns whether σ0 was among it.
    pub fn take_decisions_of(&mut self, begun: &Self) -> bool {
        if self.space.budget.is_some() && self.space.only.is_none() {
            self.space.only.clone_from(&begun.space.only);
        }
        match begun.strategy.sigma.filter(|_| self.run.calibrate_sigma) {
            Some(sigma) => {
                self.strategy.sigma = Some(sigma);
                true
            }
            None => false,
        }
    }

    /// Every PEFT directory that the config names.
    pub fn adapters(&self) -> impl Iterator<Item = &Path> {
        let mixed = self.space.all().flat_map(|space| match space {
            SpaceSection::Mix { adapters, .. } => adapters.as_slice(),
            _ => &[],
        });
        self.model.adapter.iter().chain(mixed).map(PathBuf::as_path)
    }

    /// SHA-256 of the keys that decide the run.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(format!("{:?}", self.deciding_keys())))
    }

    /// One key's value, as TOML spells it.
    pub fn value(&self, key: &str) -> Option<String> {
        let mut keys = BTreeMap::new();
        flatten(
            "",
            &toml::Value::try_from(self).expect("a config is a TOML table"),
            &mut keys,
        );
        keys.remove(key)
    }

    fn deciding_keys(&self) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        let table = toml::Value::try_from(self).expect("a config is a TOML table");
        flatten("", &table, &mut keys);
        MACHINE_KEYS.iter().for_each(|key| drop(keys.remove(*key)));
        keys
    }

    /// The sampling of generated texts.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.generation.temperature,
            top_p: self.generation.top_p,
            top_k: self.generation.top_k,
        }
    }

    fn check(&self) -> Result<()> {
        let positive = |key: &str, value: u64| match value {
            0 => Err(Error::config(format!("{key} is 0, expected 1 or more"))),
            _ => Ok(()),
        };
        positive("run.generations", self.run.generations)?;
        positive("run.prompts", self.run.prompts as u64)?;
        // What does not hang on n, before anything is loaded.
        self.strategy.resolve(self.space.subspace.unwrap_or(1).max(1))?;
        if self.run.racing && self.strategy.weighs_the_worse_half() {
            return Err(Error::config(
                "run.racing is true, and the strategy weighs candidates of the worse half too, whose scores a race leaves biased: \
                 take cma-es without active, a natural evolution strategy, open-es with shaping = \"utilities\", or cem with an \
                 elite up to 0.5, or race none",
            ));
        }
        if let Some(most) = self.run.prompts_max.filter(|most| *most < self.run.prompts) {
            return Err(Error::config(format!(
                "run.prompts_max is {most}, expected run.prompts = {} or more",
                self.run.prompts
            )));
        }
        positive("generation.max_new_tokens", self.generation.max_new_tokens as u64)?;
        self.sampling().check("generation")?;
        if self.model.threads > 1 << 12 {
            return Err(Error::config(format!(
                "model.threads is {}, expected at most 4096; 0 takes what the machine has",
                self.model.threads
            )));
        }
        if !(self.model.cache_gib > 0.0 && self.model.cache_gib.is_finite()) {
            return Err(Error::config(format!(
                "model.cache_gib is {}, expected above 0",
                self.model.cache_gib
            )));
        }
        if ![32, 64, 128].contains(&self.model.group_size) {
            return Err(Error::config(format!(
                "model.group_size is {}, expected 32, 64 or 128",
                self.model.group_size
            )));
        }
        let forbidden = |c: char| c.is_control() || c == '/' || c == '\\';
        if self.name.is_empty() || self.name.starts_with('.') || self.name.contains(forbidden) {
            return Err(Error::config(format!(
                "name is `{}`; it names a folder, so it may not be empty, begin with a dot, or hold a slash or a line break",
                self.name
            )));
        }
        self.check_space()
    }

    fn is_graded(&self) -> bool {
        matches!(&self.task, TaskConfig::Jsonl(task) if task.graded.is_some())
    }

    fn check_decoding(&self, settings: &[Setting]) -> Result<()> {
        for setting in settings {
            let value = self.generation_value(*setting);
            if !setting.can_move_from(value) {
                return Err(Error::config(format!(
                    "space.settings: generation.{0} is {value}, from where it cannot be searched; expected above 0, and top_p \
                     below 1: set generation.{0}, such as to {1}",
                    setting.name(),
                    if *setting == Setting::TopP { 0.95 } else { 1.0 }
                )));
            }
        }
        Ok(())
    }

    /// What `[generation]` says of a setting.
    pub fn generation_value(&self, setting: Setting) -> f64 {
        match setting {
            Setting::Temperature => self.generation.temperature,
            Setting::TopP => self.generation.top_p,
        }
    }

    fn check_space(&self) -> Result<()> {
        let mut needs_adapter = false;
        for space in self.space.all() {
            match space {
                SpaceSection::Spectral { modules, .. } | SpaceSection::Core { modules, .. } => {
                    parse_modules(modules)?;
                }
                SpaceSection::LoraSvd { alpha, modules, .. } => {
                    parse_modules(modules)?;
                    needs_adapter = true;
                    if !(*alpha > 0.0 && *alpha <= 1.0) {
                        return Err(Error::config(format!(
                            "space.alpha is {alpha}, expected above 0 and at most 1"
                        )));
                    }
                }
                SpaceSection::LoraCore { modules } => {
                    parse_modules(modules)?;
                    needs_adapter = true;
                }
                SpaceSection::Frozen {} => needs_adapter = true,
                SpaceSection::Mix { adapters, .. } => {
                    if adapters.is_empty() {
                        return Err(Error::config("space.adapters is empty, expected PEFT LoRA directories"));
                    }
                }
                SpaceSection::Decoding { .. } if self.is_graded() => {
                    return Err(Error::config(
                        "task.graded is set, and the space has decoding; a probability does not hang on how tokens are chosen: \
                         take one of them",
                    ));
                }
                SpaceSection::Decoding { settings } => self.check_decoding(settings)?,
            }
        }
        if self.space.budget.is_some() && self.space.subspace.is_some() {
            return Err(Error::config(
                "space.budget and space.subspace are both set; a subspace has no parts to choose from: take one of them",
            ));
        }
        let label = self.space.label();
        match &self.model.adapter {
            None if needs_adapter => Err(Error::config(format!(
                "the space is {label}, which needs a supervised LoRA: set model.adapter to its PEFT directory"
            ))),
            Some(adapter) if !needs_adapter => Err(Error::config(format!(
                "model.adapter is {}, but the space {label} starts from the base model: use lora-svd, keep the adapter with space.also = [{{ kind = \"frozen\" }}], or leave it out",
                adapter.display()
            ))),
            _ => Ok(()),
        }?;
        match (self.space.subspace, self.space.layers) {
            (Some(0), _) => Err(Error::config("space.subspace is 0, expected 1 or more")),
            (_, Some([first, end])) if first >= end => Err(Error::config(format!(
                "space.layers is [{first}, {end}], expected the first layer and the layer after the last"
            ))),
            _ => Ok(()),
        }
    }
}

/// What a machine may spend on a run: no result hangs on them.
const MACHINE_KEYS: [&str; 2] = ["model.threads", "model.cache_gib"];

/// `section.key = value` for everything in a table.
fn flatten(place: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    let toml::Value::Table(table) = value else {
        keys.insert(place.into(), value.to_string());
        return;
    };
    for (key, value) in table {
        let place = if place.is_empty() {
            key.clone()
        } else {
            format!("{place}.{key}")
        };
        flatten(&place, value, keys);
    }
}

/// Reads a config file as a table and applies `key=value` overrides.
pub fn read_table(path: &Path, overrides: &[String]) -> Result<toml::Table> {
    let (text, folder) = if path == Path::new("quickstart") && !path.exists() {
        (QUICKSTART.to_string(), PathBuf::from("."))
    } else {
        (
            read_config_text(path)?,
            path.parent().unwrap_or(Path::new(".")).to_path_buf(),
        )
    };
    let mut table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::file(path, format!("not valid TOML: {}", one_line(&e.to_string()))))?;
    resolve_paths(&mut table, &folder);
    for assignment in overrides {
        set(&mut table, assignment)?;
    }
    Ok(table)
}

/// Modules by their names in `target_modules`.
pub fn parse_modules(names: &[String]) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for name in names {
        let known = Module::ALL.map(Module::name);
        let module = Module::parse(name).ok_or_else(|| {
            Error::config(format!(
                "space.modules holds `{name}`; expected some of {}",
                known.join(", ")
            ))
        })?;
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    if modules.is_empty() {
        return Err(Error::config(
            "space.modules is empty; expected one module or more, such as q_proj",
        ));
    }
    modules.sort();
    Ok(modules)
}

/// Makes relative paths absolute: in a file they are relative to its folder, and the resolved copy lies elsewhere.
fn resolve_paths(table: &mut toml::Table, folder: &Path) {
    for (section, keys) in [
        ("model", &["path", "adapter"][..]),
        ("task", &["train", "validation", "test"]),
        ("space", &["adapters"]),
    ] {
        in_each(table, section, &mut |section| {
            for key in keys {
                match section.get_mut(*key) {
                    Some(toml::Value::Array(paths)) => paths.iter_mut().for_each(|path| resolve_path(path, folder)),
                    Some(path) => resolve_path(path, folder),
                    None => {}
                }
            }
        });
    }
}

fn resolve_path(value: &mut toml::Value, folder: &Path) {
    if let toml::Value::String(path) = value {
        let joined = folder.join(path.as_str());
        let absolute = std::path::absolute(&joined).unwrap_or(joined);
        *path = absolute.to_string_lossy().into_owned();
    }
}

/// A table that names no kind is of the default one.
fn name_default_kinds(table: &mut toml::Table) {
    for (section, kind) in [("space", "spectral"), ("strategy", "auto"), ("task", "instructions")] {
        in_each(table, section, &mut |section| {
            section
                .entry("kind")
                .or_insert_with(|| toml::Value::String(kind.into()));
        });
    }
}

/// Visits a section, and the tables of its `also`.
fn in_each(table: &mut toml::Table, section: &str, visit: &mut dyn FnMut(&mut toml::Table)) {
    let Some(toml::Value::Table(section)) = table.get_mut(section) else {
        return;
    };
    visit(section);
    if let Some(toml::Value::Array(also)) = section.get_mut("also") {
        also.iter_mut().filter_map(toml::Value::as_table_mut).for_each(visit);
    }
}

/// Applies `a.b=value`; the value is TOML where it parses as such, and otherwise a string.
fn set(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let (key, value) = assignment.split_once('=').ok_or_else(|| {
        Error::config(format!(
            "--set {assignment}: expected key=value, such as run.generations=5"
        ))
    })?;
    let parsed: Option<toml::Table> = format!("value = {value}").parse().ok();
    let value = parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.into()));
    put(table, key, value).map_err(|what| Error::config(format!("--set {assignment}: {what}")))
}

/// Puts a value at `section.key`.
pub fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> std::result::Result<(), String> {
    let mut place = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().expect("split gives one part at least");
    for part in parts {
        let next = place
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| format!("`{part}` is not a table"))?;
    }
    place.insert(last.into(), value);
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds the nearest expected word to serde's message about an unknown one.
fn with_nearest(message: &str) -> String {
    let Some(rest) = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|start| message.split_once(start))
    else {
        return message.into();
    };
    let mut words = rest.1.split('`').step_by(2);
    let unknown = words.next().unwrap_or_default();
    let expected: Vec<&str> = rest.1.split('`').skip(2).step_by(2).collect();
    let nearest = expected
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
    if let Some((knob, kinds)) = kinds_with(unknown)
        && let Some((section, _)) = knob.key.split_once('.')
        && message.contains(&format!("in `{section}"))
    {
        return format!("{message}; {} is a key of {section}.kind = {kinds}", knob.key);
    }
    match nearest {
        Some(nearest) if strsim::jaro_winkler(unknown, nearest) > 0.7 => {
            format!("{message}; did you mean `{nearest}`?")
        }
        _ => message.into(),
    }
}

/// The knob of this name that only some kinds have, and which: its meaning begins with them.
fn kinds_with(name: &str) -> Option<(&'static Knob, &'static str)> {
    let knob = KNOBS
        .iter()
        .find(|knob| knob.key.split_once('.').is_some_and(|(_, key)| key == name))?;
    let (kinds, _) = knob.meaning.split_once(": ")?;
    let is_kind = |c: char| c.is_ascii_lowercase() || "-, ".contains(c);
    (!knob.key.starts_with("model.") && kinds.chars().all(is_kind)).then_some((knob, kinds))
}

/// One knob of the reference page.
pub struct Knob {
    /// The key, with its table.
    pub key: &'static str,
    /// Type and unit.
    pub kind: &'static str,
    /// Default, as TOML; a dash where it must be given or is computed.
    pub default: &'static str,
    /// What is accepted.
    pub range: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

macro_rules! knobs {
    ($($key:literal, $kind:literal, $default:literal, $range:literal, $meaning:literal;)*) => {
        &[$(Knob { key: $key, kind: $kind, default: $default, range: $range, meaning: $meaning }),*]
    };
}

/// Every knob, in the order of the reference page.
pub const KNOBS: &[Knob] = knobs! {
    "name", "string", "\"run\"", "a folder's name", "Names the run, and its directory under `runs/` unless `--out` is given.";
    "seed", "integer", "1", "≥ 0", "The root of all random numbers of the run.";
    "model.path", "path", "–", "a `.gguf` file or a Hugging Face folder", "The base model. Llama and Qwen2/2.5.";
    "model.precision", "string", "\"int8\"", "`f32`, `bf16`, `int8`, `int4`", "What the base model's matrix products are computed in. In int8 and int4 a text does not depend on its neighbours in the batch. int4 takes a GGUF's 4-bit blocks as they are, and keeps the head in int8.";
    "model.device", "string", "\"cpu\"", "`cpu`, `cuda:N`, `cuda`", "Where the model runs; `cuda` is one GPU a rank. On a GPU int8 and int4 are libtorch's products, and the cache cannot be int8.";
    "model.group_size", "integer", "64", "32, 64, 128", "int4: how many weights share a scale, where the file has not decided that already.";
    "model.kv_cache", "string", "as the precision", "`f32`, `bf16`, `int8`", "What keys and values are kept in: without it f32 beside f32, and bf16 otherwise. int8 has a scale for each token and head.";
    "model.adapter", "path", "–", "a PEFT LoRA directory", "The supervised adapter that `lora-svd` searches.";
    "model.cache_gib", "GiB", "2.0", "> 0", "What the key-value cache may take; batches are as large as it allows.";
    "model.threads", "integer", "0", "0 … 4096", "Threads of a process; 0 takes SLURM_CPUS_PER_TASK, OMP_NUM_THREADS, or the cores that it may run on divided by the ranks that share them.";
    "space.kind", "string", "\"spectral\"", "`spectral`, `core`, `lora-svd`, `lora-core`, `frozen`, `mix`, `decoding`", "`spectral` moves singular values of the base weights and needs no supervised start, `core` the whole matrix between its singular vectors (LoRA-XS); `lora-svd` is the paper's space, the singular values of a supervised LoRA's factors (arXiv 2507.04453), `lora-core` the matrix between them; `frozen` keeps the adapter as it is, beside others; `mix` searches the weights of a sum of adapters, which begins at their average; `decoding` searches temperature and top_p, and leaves them as `generation_config.json` beside the adapter.";
    "space.also", "list of tables", "[]", "each like `[space]`", "More spaces on the same model, searched together; the adapter that leaves is one of the summed rank.";
    "space.layers", "two integers", "all", "[first, end)", "Which layers are searched.";
    "space.budget", "integer", "–", "≥ 1", "At most so many numbers are searched: each slot of the search vector is moved by itself before the run, and those that change the most texts are chosen. `sensitivity.csv` keeps what was found, `space.only` what was chosen.";
    "space.only", "list", "all", "beginnings of names, up to a dot, such as `model.layers.3.self_attn`", "Which slots of the search vector are searched; what an adapter does in the others stays. With `space.also` the names of the first space begin with `0.`, of the second with `1.` and so on, and those of a mix with `adapter0.`; a name without that means all of them.";
    "space.subspace", "integer", "–", "≥ 1", "Searches θ = P z, z of so many numbers, with a random P of the run's seed, instead of all of θ.";
    "space.part", "string", "\"principal\"", "`principal`, `minor`", "spectral: the largest or the smallest components.";
    "space.rank", "integer", "8", "1 … smaller side of a matrix", "spectral, core: components a matrix; n = layers × modules × rank, or × rank².";
    "space.alpha", "share", "1.0", "0 < α ≤ 1", "lora-svd: the top ⌊α·r⌋ singular values of both factors are searched.";
    "space.offsets", "string", "\"relative\"", "`relative`, `absolute`", "lora-svd: σ (1 + θ), or σ + θ as in the paper.";
    "space.adapters", "list of paths", "–", "PEFT LoRA directories", "mix: the adapters, relative to the file as all paths are.";
    "space.per", "string", "\"module\"", "`module`, `adapter`", "mix: a weight for each matrix of each adapter, or one for each adapter.";
    "space.settings", "list", "both", "`temperature`, `top_p`", "decoding: which settings of `[generation]` are searched; they begin at their values there.";
    "space.modules", "list", "q, k, v, o", "`q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`", "Which matrices of every layer are searched.";
    "strategy.kind", "string", "\"auto\"", "`auto`, `cma-es`, `sep-cma-es`, `lm-ma-es`, `open-es`, `xnes`, `snes`, `cem`, `random-search`", "`auto` is `cma-es` up to n = 2048 and `sep-cma-es` above. Full CMA-ES with step-size control (n ≤ 8192); the same with a diagonal covariance, linear in n; LM-MA-ES, a few learnt directions, for n in the tens of thousands; OpenAI-ES; the natural evolution strategies, xNES with a full covariance (n ≤ 4096; slow from n ≈ 100 on) and SNES with a σ for each number; and as baselines the cross-entropy method and random search.";
    "strategy.population", "integer", "4 + ⌊3 ln n⌋", "2 … 1048576, even when antithetic", "λ, candidates a generation.";
    "strategy.sigma", "number", "0.1", "> 0", "σ0, the standard deviation of each number of the first candidates.";
    "strategy.max_step", "number", "–", "> 0", "A trust region: the mean moves no further in a generation, as `step_norm` measures it.";
    "strategy.restarts", "integer", "0", "as often as the population can double up to 1048576", "How often a strategy that asks to stop begins again from the start, with twice the population (IPOP).";
    "strategy.antithetic", "boolean", "true", "", "Candidates come in pairs, mirrored at the mean (not in random-search).";
    "strategy.active", "boolean", "false", "", "cma-es, sep-cma-es: the worse half pushes the covariance away (negative weights).";
    "strategy.sigma_decay", "factor", "1.0", "0 < d ≤ 1", "open-es: what σ is multiplied by each generation.";
    "strategy.learning_rate", "number", "from σ", "> 0", "open-es: length of a step.";
    "strategy.optimizer", "string", "\"adam\"", "`adam`, `momentum`", "open-es: what turns gradient estimates into steps.";
    "strategy.momentum", "share", "0.9", "0 ≤ β < 1", "open-es: how much of the running mean of gradients is kept.";
    "strategy.beta2", "share", "0.999", "0 ≤ β < 1", "open-es: the same for squared gradients (Adam).";
    "strategy.shaping", "string", "\"centred-ranks\"", "`centred-ranks`, `z-score`, `utilities`", "open-es: how fitness becomes weights; `utilities` are those of natural evolution strategies.";
    "strategy.weight_decay", "share", "0.0", "0 ≤ w < 1", "open-es: the part of the mean that a generation takes away.";
    "strategy.elite", "share", "0.5", "0 < ρ < 1", "cem: the share of the candidates to which the Gaussian is fitted.";
    "strategy.smoothing", "share", "0.1", "0 < α ≤ 1", "cem: how much of σ a generation replaces.";
    "strategy.extra_noise", "number", "0.05 σ0", "≥ 0", "cem: the standard deviation that each generation adds to every σ, as variances add.";
    "task.kind", "string", "\"instructions\"", "`instructions`, `jsonl`", "The built-in task, or rows of JSON-lines files.";
    "task.kinds", "list", "all twelve", "see `src/task/instructions.rs`", "instructions: the kinds of instruction, which take turns.";
    "task.topics", "list", "anything", "see `src/task/instructions/questions.rs`", "instructions: what the questions are about.";
    "task.train_size", "examples", "512", "1 … 1048576", "instructions: examples that judge candidates.";
    "task.validation_size", "examples", "128; jsonl 256", "≥ 1", "Examples that judge the mean; jsonl: carved off train where there is no file.";
    "task.test_size", "examples", "256", "≥ 1", "Examples that judge the result; jsonl: carved off train where there is no file.";
    "task.content_weight", "share", "0.5", "0 … 1", "instructions: the part of the reward that right content earns.";
    "task.partial_credit", "share", "0.0", "0 … 1", "instructions: what coming near an instruction earns.";
    "task.train", "path", "–", "JSON lines", "jsonl: rows that judge candidates.";
    "task.validation", "path", "–", "JSON lines", "jsonl: rows that judge the mean.";
    "task.test", "path", "–", "JSON lines", "jsonl: rows that judge the result.";
    "task.prompt", "template", "–", "`{column}`, `{{` and `}}` for braces", "jsonl: the user's turn.";
    "task.system", "string", "the chat template's", "", "The system's turn.";
    "task.answer", "column", "–", "", "jsonl: the column with the gold answer.";
    "task.answer_map", "table", "–", "", "jsonl: what each value of the answer column means, such as `{ 1 = \"positive\" }`.";
    "task.judge", "string", "–", "`exact`, `first_word`, `contains`, `number`, `{ regex = \"…(group)…\" }`", "jsonl: when a response gives the answer.";
    "task.case_sensitive", "boolean", "false", "", "jsonl: whether letters of other case are other letters.";
    "task.graded", "string", "–", "`probability`, `log_probability`", "jsonl: has candidates judged by the probability that the model says the gold answer, as the data spell it, and ends its turn there, or by its logarithm, instead of by a text. `log_probability` makes certainty of a wrong answer cost the most, though no token more than one of probability 0.001. Differences show that no text shows, and nothing is written. Validation and test are judged by texts in any case.";
    "generation.max_new_tokens", "tokens", "32", "≥ 1", "Token budget of a text.";
    "generation.temperature", "number", "0.0", "≥ 0", "0 takes the likeliest token.";
    "generation.top_p", "share", "1.0", "0 < p ≤ 1", "Keeps the likeliest tokens that hold this probability.";
    "generation.top_k", "tokens", "0", "≥ 0", "Keeps this many likeliest tokens; 0 keeps all.";
    "run.generations", "integer", "20", "≥ 1", "Generations.";
    "run.prompts", "examples", "24", "1 … training examples", "Prompts a generation, the same for every candidate.";
    "run.validate_every", "generations", "5", "≥ 0", "How often the mean is scored on the validation split; 0 at the start and the end only.";
    "run.prompts_max", "examples", "run.prompts", "run.prompts … training examples", "What run.prompts may grow to, doubling while the signal-to-noise of three generations is below ½.";
    "run.calibrate_sigma", "boolean", "false", "", "Whether σ0 is found before the run: the step at which three quarters of the candidates' texts differ from the start's, from strategy.sigma as a first guess. The curve is kept in calibration.csv.";
    "run.racing", "boolean", "false", "", "Whether candidates that are behind after a quarter and after half of the prompts drop out; those that stay are scored on all prompts. Only with strategies to which the worse half is all alike: not open-es but with `utilities`, nor `active`, nor an `elite` above 0.5. `rollouts` in metrics.csv says what was saved.";
    "run.stop_on_collapse", "boolean", "true", "", "Whether a run ends when its mean is clearly worse than the best one (beyond three standard errors of the paired difference) at two validations in a row. The best mean is kept in any case.";
    "run.rollouts", "boolean", "true", "", "Whether judged texts are kept in rollouts.jsonl.";
};

/// The reference page, from [`KNOBS`].
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\nMade from `src/config.rs`; a test holds it against the code. A run is one TOML file; `essa align CONFIG --set key=value`\n\
         overrides a key. Relative paths are relative to the file. Unknown keys are refused. `config.toml` in a run's directory\n\
         is the resolved copy, every default written out.\n\n| key | type | default | accepted | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for knob in KNOBS {
        page += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            knob.key, knob.kind, knob.default, knob.range, knob.meaning
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn parse(text: &str) -> Result<RunConfig> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).expect("a config");
        RunConfig::load(&path, &[])
    }

    const FULL: [&str; 5] = [
        "[model]\npath = 'm'\n[space]\nkind = 'mix'\nbudget = 99\nadapters = ['a', 'b']",
        "[model]\npath = 'm'\n[generation]\ntemperature = 1.0\ntop_p = 0.9\n[space]\nkind = 'decoding'",
        "[model]\npath = 'm'\nkv_cache = 'int8'\n[run]\nprompts_max = 99\n[strategy]\nkind = 'open-es'",
        "[model]\npath = 'm'\nadapter = 'a'\n[space]\nkind = 'lora-svd'\nsubspace = 9\nonly = ['model.layers.0']\nlayers = [0, 4]\nalso = [{ kind = 'spectral' }]\n[strategy]\nkind = 'cma-es'",
        "[model]\npath = 'm'\n[task]\nkind = 'jsonl'\ntrain = 'x'\nvalidation = 'x'\ntest = 'x'\nprompt = '{a}'\nsystem = 's'\n\
         answer = 'a'\njudge = 'exact'\ngraded = 'probability'\n[task.answer_map]\na = 'b'\n[strategy]\nkind = 'cem'\nmax_step = 0.5\nrestarts = 2",
    ];

    /// Every key that the parser writes out is on the page, and every key on the page is one that it accepts.
    #[test]
    fn the_reference_page_names_the_keys_that_there_are() {
        let mut found = BTreeSet::new();
        for text in FULL {
            let config = parse(text).expect("a config");
            let config = RunConfig {
                strategy: config.strategy.resolve(100).expect("a strategy"),
                ..config
            };
            let table: toml::Table = config.to_toml().parse().expect("TOML");
            for (section, value) in &table {
                match value.as_table() {
                    Some(inner) => found.extend(inner.keys().map(|key| format!("{section}.{key}"))),
                    None => _ = found.insert(section.clone()),
                }
            }
        }
        let page: BTreeSet<String> = KNOBS.iter().map(|knob| knob.key.to_string()).collect();
        assert_eq!(
            found.difference(&page).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "keys that the page lacks"
        );
        // Only what has no default may be missing from what was written out.
        assert_eq!(
            page.difference(&found).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "keys that nobody reads"
        );
    }

    #[test]
    fn a_leaderboard_tells_spaces_apart() {
        let label = |space: &str| {
            let text = format!("[model]\npath = 'm'\n[space]\n{space}");
            parse(&text).expect("valid").space.label()
        };
        assert_eq!(
            label("kind = 'spectral'\nrank = 4\nlayers = [15, 30]\nsubspace = 64"),
            "spectral principal 4, layers 15..30, subspace 64"
        );
        assert_eq!(
            label("kind = 'core'\nrank = 2\nalso = [{kind = 'spectral', part = 'minor', rank = 4}]"),
            "core 2 + spectral minor 4"
        );
    }

    /// `ESSA_BLESS=1 cargo test` writes the page anew.
    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        if std::env::var_os("ESSA_BLESS").is_some() {
            crate::files::write_atomically(&path, reference_page().as_bytes()).expect("the page");
        }
        assert_eq!(
            read_config_text(&path).expect("the page"),
            reference_page(),
            "run ESSA_BLESS=1 cargo test"
        );
    }

    #[test]
    fn unknown_words_are_refused_with_the_nearest_known_one() {
        for (text, unknown, nearest) in [
            (
                "[model]\npath = 'm'\n[run]\ngeneration = 3",
                "generation",
                "generations",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nkind = 'cma-es'\npopulaton = 3",
                "populaton",
                "population",
            ),
            ("[model]\npath = 'm'\nprecison = 'f32'", "precison", "precision"),
            ("[model]\npath = 'm'\nprecision = 'int88'", "int88", "int8"),
            ("[model]\npath = 'm'\n[space]\nkind = 'spectal'", "spectal", "spectral"),
            ("[modle]\npath = 'm'", "modle", "model"),
        ] {
            let message = parse(text).expect_err("a word that nobody knows").to_string();
            assert!(
                message.contains(unknown) && message.contains(&format!("did you mean `{nearest}`?")),
                "{message}"
            );
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (text, key) in [
            ("[model]\npath = 'm'\n[run]\nprompts = 0", "run.prompts"),
            ("[model]\npath = 'm'\ncache_gib = -1.0", "model.cache_gib"),
            ("[model]\npath = 'm'\ngroup_size = 33", "model.group_size"),
            ("[model]\npath = 'm'\ndevice = 'gpu'", "cuda:N"),
            (
                "[model]\npath = 'm'\n[space]\nkind = 'mix'\nadapters = []",
                "space.adapters",
            ),
            (
                "[model]\npath = 'm'\n[space]\nkind = 'decoding'",
                "set generation.temperature",
            ),
            (
                "[model]\npath = 'm'\n[generation]\ntemperature = 1.0\n[space]\nkind = 'decoding'\n[task]\nkind = 'jsonl'\n\
                 train = 't'\nprompt = 'p'\nanswer = 'a'\njudge = 'exact'\ngraded = 'probability'",
                "task.graded is set, and the space has decoding",
            ),
            ("[model]\npath = 'm'\n[generation]\ntop_p = 1.5", "generation.top_p"),
            (
                "[model]\npath = 'm'\n[space]\nkind = 'spectral'\nmodules = ['x_proj']",
                "x_proj",
            ),
            ("[model]\npath = 'm'\n[space]\nkind = 'lora-svd'", "model.adapter"),
            ("name = 'a/b'\n[model]\npath = 'm'", "name"),
            // What hangs on no model is refused before one is opened.
            ("[model]\npath = 'm'\n[strategy]\nsigma = -1", "strategy.sigma: is -1"),
            (
                "[model]\npath = 'm'\n[strategy]\npopulation = 7",
                "strategy.population: is 7",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nkind = 'cem'\nelite = 2",
                "strategy.elite: is 2",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nmax_step = 0",
                "strategy.max_step: is 0",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nactive = true\n[run]\nracing = true",
                "run.racing",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nkind = 'open-es'\n[run]\nracing = true",
                "run.racing",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nkind = 'cem'\nelite = 0.6\n[run]\nracing = true",
                "run.racing",
            ),
            // A key of another kind says which.
            (
                "[model]\npath = 'm'\n[task]\ntrain = 't'",
                "task.train is a key of task.kind = jsonl",
            ),
            (
                "[model]\npath = 'm'\n[strategy]\nelite = 0.5",
                "strategy.elite is a key of strategy.kind = cem",
            ),
        ] {
            let message = parse(text).expect_err("a value out of range").to_string();
            assert!(message.contains(key), "{message}");
        }
    }

    /// The page says which kind is meant where none is named.
    #[test]
    fn a_table_without_a_kind_is_of_the_default_one() {
        let config = parse(
            "[model]\npath = 'm'\n[space]\nrank = 2\nalso = [{ part = 'minor' }]\n[strategy]\nsigma = 0.2\n[task]\ntest_size = 9\n[run]\nracing = true",
        );
        let config = config.expect("a config");
        assert_eq!(config.space.label(), "spectral principal 2 + spectral minor 8");
        assert_eq!(config.strategy.sigma, Some(0.2));
        let table: toml::Table = config.to_toml().parse().expect("TOML");
        for (section, knob) in [
            ("space", "space.kind"),
            ("strategy", "strategy.kind"),
            ("task", "task.kind"),
        ] {
            let default = KNOBS.iter().find(|own| own.key == knob).expect("on the page").default;
            assert_eq!(table[section]["kind"].to_string(), default, "{knob}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file_in_every_space() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        let text = "[model]\npath = 'm'\n[space]\nalso = [{ kind = 'mix', adapters = ['a', '/b'] }]";
        std::fs::write(&path, text).expect("a config");
        let config = RunConfig::load(&path, &[]).expect("a config");
        let SpaceSection::Mix { adapters, .. } = &config.space.also[0] else {
            panic!("a mix")
        };
        assert_eq!(*adapters, [folder.path().join("a"), PathBuf::from("/b")]);
        assert_eq!(config.model.path, folder.path().join("m"));
    }

    #[test]
    fn overrides_reach_any_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "[model]\npath = 'm'").expect("a config");
        let overrides = [
            "seed=7",
            "run.generations=3",
            "strategy.kind=open-es",
            "model.path=/x/y.gguf",
        ]
        .map(String::from);
        let config = RunConfig::load(&path, &overrides).expect("a config");
        assert_eq!((config.seed, config.run.generations), (7, 3));
        assert_eq!(config.model.path, Path::new("/x/y.gguf"));
        assert!(RunConfig::load(&path, &["seed".into()]).is_err());
    }

    /// The resolved copy means the same as what it was resolved from, wherever it is read.
    #[test]
    fn the_resolved_copy_is_the_config() {
        for text in FULL {
            let config = parse(text).expect("a config");
            let again = parse(&config.to_toml()).expect("the copy");
            assert_eq!(again.space, config.space);
            assert_eq!(again.strategy, config.strategy);
        }
        let quickstart: toml::Table = QUICKSTART.parse().expect("TOML");
        assert!(quickstart.contains_key("task"));
    }
}
