//! A run's config: one TOML file, every key with its unit, default and range. [`RunConfig`] is what it holds; [`table`] reads the
//! file, overrides its keys and makes its paths absolute; [`page`] is the reference page, which a test holds against what the parser
//! accepts. After [`RunConfig::load`] nobody checks a key again.

mod drift;
mod model;
pub mod page;
pub mod shape;
pub mod table;
mod warm_start;

pub use drift::{DriftSection, ReferenceConfig};
pub use model::{AdapterConfig, ModelSection};
pub use warm_start::{TrainingSection, WarmStartBefore, WarmStartConfig};

use crate::digest::sha256;
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::files::cache_folder;
use crate::judge::{RewardConfig, Selection};
use crate::model::Weights;
use crate::seed::Seed;
use crate::space::config::Units;
use crate::space::{Materials, Space, SpaceConfig};
use crate::strategy::StrategyConfig;
use crate::task::TaskConfig;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use table::{name_default_kinds, one_line, read_table, resolve_paths, with_nearest};

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
    /// What terms and several texts come to.
    #[serde(default)]
    pub reward: RewardConfig,
    /// How texts are written.
    #[serde(default)]
    pub generation: GenerationSection,
    /// How long, and how often it is looked at.
    #[serde(default)]
    pub run: RunSection,
    /// What is watched beside the task.
    #[serde(default)]
    pub drift: DriftSection,
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
    /// Texts that the candidates may write; they choose candidates, prompts and generations ([`shape`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts_total: Option<u64>,
    /// Generations.
    pub generations: u64,
    /// Prompts a generation, the same for every candidate.
    pub prompts: usize,
    /// Texts to each prompt.
    pub samples: usize,
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
            rollouts_total: None,
            generations: 20,
            prompts: 24,
            samples: 1,
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
/// The config that `essa align quickstart` runs.
pub const QUICKSTART: &str = include_str!("../../experiments/quickstart.toml");

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
        shape::fill(&mut table)?;
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
    /// of a budget, σ0, and what `auto` is.
    pub fn take_decisions_of(&mut self, begun: &Self) {
        if self.space.budget.is_some() && self.space.only.is_none() {
            self.space.only.clone_from(&begun.space.only);
        }
        if self.space.units == Units::Kl && self.space.gains.is_none() {
            self.space.gains.clone_from(&begun.space.gains);
        }
        if self.space.units == Units::Kl && self.strategy.sigma.is_none() {
            self.strategy.sigma = begun.strategy.sigma;
        }
        if self.run.calibrate_sigma && begun.strategy.sigma.is_some() {
            self.strategy.sigma = begun.strategy.sigma;
        }
        self.strategy.kind = self.strategy.kind.as_begun(&begun.strategy.kind);
    }

    /// Puts the directory in which the adapter will lie in place of the warm start that makes it, and returns that warm start; none where the config
    /// asks for none. The directory is `warm-starts/<digest of what decides it>` in `folder`, so runs and sweeps that ask for the same warm start share one.
    pub fn take_warm_start(&mut self, folder: &Path) -> Result<Option<WarmStartBefore>> {
        let Some(AdapterConfig::WarmStart(path)) = &self.model.adapter else {
            return Ok(None);
        };
        let config = WarmStartConfig::load_for(path, &self.model.path, &self.task)?;
        let directory = folder.join("warm-starts").join(&config.digest()[..12]);
        let directory = std::path::absolute(&directory).map_err(Error::io(&directory))?;
        self.model.adapter = Some(AdapterConfig::Path(directory.join(WarmStartConfig::ADAPTER)));
        Ok(Some(WarmStartBefore { config, directory }))
    }

    /// Every PEFT directory that the config names.
    pub fn adapters(&self) -> impl Iterator<Item = &Path> {
        let own = self.model.adapter_path();
        let others = self.space.adapters().chain(self.drift.adapters());
        own.into_iter().chain(others.map(PathBuf::as_path))
    }

    /// Every reward model that the config names as a judge, once.
    pub fn reward_models(&self) -> BTreeSet<PathBuf> {
        let of_task = self.task.judges().map(|(judge, train)| [Some(judge), train]);
        let of_task = of_task.into_iter().flatten().flatten();
        let judges = of_task.chain(self.reward.terms.values().cloned());
        judges
            .filter_map(|judge| judge.reward_model().map(PathBuf::from))
            .collect()
    }

    /// SHA-256 of the keys that decide the run.
    pub fn digest(&self) -> String {
        sha256(format!("{:?}", self.deciding_keys()))
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
        keys.retain(|key, _| !MACHINE_KEYS.contains(&key.as_str()) && !key.ends_with(MEMORY_OF_A_JUDGE));
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

    /// The config's space on a model. `say` hears what takes long.
    pub fn open_space(&self, weights: &Weights, say: &(dyn Fn(&str) + Sync)) -> Result<Space> {
        self.space_of(weights, false, say)
    }

    /// The same with bases of zeros where they would take long: what n is, and the names of its parts.
    pub fn shape_space(&self, weights: &Weights) -> Result<Space> {
        self.space_of(weights, true, &|_| ())
    }

    fn space_of(&self, weights: &Weights, only_shapes: bool, say: &(dyn Fn(&str) + Sync)) -> Result<Space> {
        let materials = Materials {
            weights,
            adapter: self.model.adapter_path(),
            sampling: self.sampling(),
            only_shapes,
            cache: &cache_folder().join("bases"),
            say,
        };
        self.space.open(&materials, Seed::new(self.seed))
    }

    fn check(&self) -> Result<()> {
        let positive = |key: &str, value: u64| match value {
            0 => Err(Error::config(format!("{key} is 0, expected 1 or more"))),
            _ => Ok(()),
        };
        positive("run.generations", self.run.generations)?;
        positive("run.prompts", self.run.prompts as u64)?;
        positive("run.samples", self.run.samples as u64)?;
        self.check_reward()?;
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
        self.drift.check()?;
        if self.drift.penalty > 0.0 && (self.run.racing || self.reward.selection != Selection::Weighted) {
            return Err(Error::config(
                "drift.penalty changes what a candidate earns, which run.racing and reward.selection compare prompt by prompt or term by term; leave one of them out",
            ));
        }
        if ![32, 64, 128].contains(&self.model.group_size) {
            return Err(Error::config(format!(
                "model.group_size is {}, expected 32, 64 or 128",
                self.model.group_size
            )));
        }
        if self.space.units == Units::Kl && self.run.calibrate_sigma {
            return Err(Error::config(
                "run.calibrate_sigma looks for the step of one nat a response, which in space.units = \"kl\" is 1; leave one of them out",
            ));
        }
        let forbidden = |c: char| c.is_control() || c == '/' || c == '\\';
        if self.name.is_empty() || self.name.starts_with('.') || self.name.contains(forbidden) {
            return Err(Error::config(format!(
                "name is `{}`; it names a folder, so it may not be empty, begin with a dot, or hold a slash or a line break",
                self.name
            )));
        }
        self.space
            .check(self.model.adapter_path(), self.sampling(), self.task.asks_likelihood())
    }

    /// Texts of a candidate to each prompt: one where it is judged by probabilities, which another text would not change.
    pub fn samples_of_candidates(&self) -> usize {
        if self.task.asks_likelihood() {
            1
        } else {
            self.run.samples
        }
    }

    /// Texts of the mean to each prompt when it is looked at.
    pub fn samples_of_mean(&self) -> usize {
        let writes = self.task.judges().is_none_or(|(judge, _)| !judge.asks_likelihood());
        if writes { self.run.samples } else { 1 }
    }

    fn check_reward(&self) -> Result<()> {
        self.reward.check(self.run.samples)?;
        self.reward.check_names(self.task.terms())?;
        if self.run.samples > 1 && self.generation.temperature == 0.0 {
            return Err(Error::config(format!(
                "run.samples is {}, and generation.temperature is 0, at which all texts to a prompt are the same; raise generation.temperature",
                self.run.samples
            )));
        }
        if let Some((judge, train_judge)) = self.task.judges() {
            let reads_no_text = judge.asks_likelihood();
            if reads_no_text && !self.reward.terms.is_empty() {
                return Err(Error::config(format!(
                    "reward.terms are terms of a text, and for the judge {} nothing is written; leave them out",
                    judge.name()
                )));
            }
            if train_judge.is_some() && self.reward.selection != Selection::Weighted {
                return Err(Error::config(
                    "reward.selection compares terms of task.judge, and candidates are judged by task.train_judge; leave one of them out",
                ));
            }
        }
        if self.reward.selection != Selection::Weighted && self.run.racing {
            return Err(Error::config(
                "run.racing compares single rewards; leave it out beside reward.selection",
            ));
        }
        Ok(())
    }
}

/// What a machine may spend on a run: no result hangs on them.
const MACHINE_KEYS: [&str; 2] = ["model.threads", "model.cache_gib"];

/// The same of a reward model, wherever a config names one.
const MEMORY_OF_A_JUDGE: &str = ".memory_gib";

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

#[cfg(test)]
mod tests {
    use super::page::{KNOBS, reference_page};
    use super::*;
    use crate::files::read_config_text;
    use crate::strategy::KINDS;

    fn parse(text: &str) -> Result<RunConfig> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).expect("a config");
        RunConfig::load(&path, &[])
    }

    const FULL: [&str; 7] = [
        "[model]\npath = 'm'\n[space]\nkind = 'mix'\nbudget = 99\nadapters = ['a', 'b']\nunits = 'kl'\ngains = { 'adapter0.weight' = 2 }",
        "[model]\npath = 'm'\n[generation]\ntemperature = 1.0\ntop_p = 0.9\n[space]\nkind = 'decoding'",
        "[model]\npath = 'm'\nkv_cache = 'int8'\n[run]\nrollouts_total = 800\nprompts_max = 99\n[strategy]\nkind = 'open-es'",
        "[model]\npath = 'm'\nadapter = 'a'\n[space]\nkind = 'lora-svd'\nsubspace = 9\nonly = ['model.layers.0']\nlayers = [0, 4]\nalso = [{ kind = 'spectral' }]\n[strategy]\nkind = 'cma-es'",
        "[model]\npath = 'm'\n[task]\nkind = 'jsonl'\ntrain = 'x'\nvalidation = 'x'\ntest = 'x'\nprompt = '{a}'\nsystem = 's'\nshot = 's'\noptions = 'o'\n\
         validation_size = 1\ntest_size = 0.5\nanswer = 'a'\njudge = 'exact'\ntrain_judge = 'likelihood'\nsubset = { size = 9 }\n[task.answer_map]\na = 'b'\n[strategy]\nkind = 'cem'\nmax_step = 0.5\nmax_kl = 2\nrestarts = 2",
        "[model]\npath = 'm'\n[task]\nkind = 'jsonl'\ntrain = 'x'\nmessages = 'm'\njudge = 'number'\n[reward]\nselection = 'pareto'\norder = ['correct', 'brief']\n\
         weights = { correct = 1 }\n[reward.terms]\nbrief = { length = 9 }",
        "[model]\npath = 'm'\n[task]\nkind = 'countdown'\n[drift]\ntexts = 8\nreference = ['a', 'b']\nmax_kl = 1\nmax_length = 2\nmax_fall = 0.1\n[drift.tasks.other]",
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

    /// Every default that the page gives as a value is what a config has that says nothing, of whatever kinds.
    #[test]
    fn the_reference_page_tells_the_defaults() {
        let adapter = "[model]\npath = 'm'\nadapter = 'a'\n";
        let mut texts: Vec<String> = ["spectral", "core"]
            .map(|kind| format!("[model]\npath = 'm'\n[space]\nkind = '{kind}'"))
            .into();
        texts.extend(["lora-svd", "lora-core"].map(|kind| format!("{adapter}[space]\nkind = '{kind}'")));
        texts.extend(KINDS.map(|kind| format!("[model]\npath = 'm'\n[strategy]\nkind = '{kind}'")));
        texts.push("[model]\npath = 'm'\n[space]\nkind = 'mix'\nadapters = ['a']".into());
        texts.push(
            "[model]\npath = 'm'\n[task]\nkind = 'jsonl'\ntrain = 't'\nprompt = 'p'\nanswer = 'a'\njudge = 'exact'"
                .into(),
        );
        let mut compared = BTreeSet::new();
        for text in texts {
            let said: toml::Table = text.parse().expect("TOML");
            let config = parse(&text).expect("a config");
            // What hangs on n has its value when that is known.
            let mut resolved = config.clone();
            resolved.strategy = config.strategy.resolve(100).expect("a strategy");
            for knob in KNOBS {
                let Ok(default) = format!("x = {}", knob.default).parse::<toml::Table>() else {
                    continue;
                };
                let given = knob
                    .key
                    .split_once('.')
                    .and_then(|(section, key)| said.get(section)?.get(key));
                let found = config.value(knob.key).or_else(|| resolved.value(knob.key));
                if let (None, Some(found)) = (given, found) {
                    assert_eq!(found, default["x"].to_string(), "{} in {text}", knob.key);
                    compared.insert(knob.key);
                }
            }
        }
        assert!(compared.len() > 30, "{compared:?}");
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
                 train = 't'\nprompt = 'p'\nanswer = 'a'\njudge = 'exact'\ntrain_judge = 'likelihood'",
                "(task.train_judge), and the space has decoding",
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
        let adapters = config.space.also[0].kind().adapters();
        assert_eq!(adapters, [folder.path().join("a"), PathBuf::from("/b")]);
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
