//! Who is scored: the start and the mean of a run, which stand in the run's own space, and the base model and PEFT adapters, which stand in a space
//! of their own in which each adapter has a weight: the base model is θ = 0, and an adapter alone is 1 at its own place. So all adapters answer
//! in one pass over the base weights, as the candidates of a search do, and what they say is what each says alone.

use crate::adapter::peft::PeftAdapter;
use crate::config::{DriftSection, RunConfig};
use crate::error::{Error, Result};
use crate::farm::population::{self, Work};
use crate::farm::ranks::Ranks;
use crate::objective::{Alignment, Objective, Questions, Rollout};
use crate::record::mean::Mean;
use crate::search::start;
use crate::space::mix::{Mix, Per, weighted};
use crate::space::{SpaceConfig, SpaceKind};
use crate::terminal::say;
use crate::threads::Node;
use std::path::PathBuf;

/// Names and files, before anything is opened.
#[derive(Default)]
pub struct Subjects {
    /// In the order in which they are scored: those of a run, the base model, adapters.
    names: Vec<String>,
    mean: Option<Mean>,
    has_base: bool,
    adapters: Vec<PathBuf>,
}

/// The same on an open model.
pub struct Stage {
    subjects: Subjects,
    config: RunConfig,
    objective: Alignment,
    adapters: Vec<PeftAdapter>,
    /// Whether the objective is in the run's space, and not in that of the adapters.
    in_run: bool,
}

impl Subjects {
    /// A run's start and mean, if there is one, the base model and adapters. Errors say who is missing or named twice.
    pub fn new(mean: Option<Mean>, has_base: bool, adapters: &[(String, PathBuf)]) -> Result<Self> {
        let mut names = Vec::new();
        if let Some(mean) = &mean {
            names.extend(["start".to_string(), format!("mean of generation {}", mean.generation)]);
        }
        names.extend(has_base.then(|| "base".to_string()));
        for (name, path) in adapters {
            if !path.exists() {
                return Err(Error::file(path, "is not there, expected a PEFT LoRA directory"));
            }
            names.push(name.clone());
        }
        if names.is_empty() {
            return Err(Error::config(
                "nothing is to be scored: give --base, --adapter NAME=DIR, or a run's directory",
            ));
        }
        let mut later = names.iter().enumerate();
        if let Some((_, name)) = later.find(|(at, name)| names[..*at].contains(name)) {
            return Err(Error::config(format!(
                "two subjects are called `{name}`; give each a name of its own"
            )));
        }
        Ok(Self {
            names,
            mean,
            has_base,
            adapters: adapters.iter().map(|(_, path)| path.clone()).collect(),
        })
    }

    /// What each is called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many are of the run; they come first.
    fn of_run(&self) -> usize {
        if self.mean.is_some() { 2 } else { 0 }
    }

    /// Whether some are of a run and some are not.
    pub fn are_mixed(&self) -> bool {
        self.of_run() > 0 && self.names.len() > self.of_run()
    }

    /// `config` with the adapters in place of what it searches.
    pub fn on_base(&self, config: &RunConfig) -> RunConfig {
        let mut config = config.clone();
        config.space = SpaceConfig {
            kind: SpaceKind::Mix(Mix {
                adapters: self.adapters.clone(),
                per: Per::Adapter,
            }),
            ..SpaceConfig::default()
        };
        // No generation is drawn, nothing else is applied, and no run watches.
        (config.run.prompts, config.run.prompts_max, config.model.adapter) = (1, None, None);
        config.drift = DriftSection::default();
        config
    }

    /// Opens the model of a run's config, or of one whose space is [`Self::on_base`].
    pub fn open(self, config: RunConfig) -> Result<Stage> {
        let objective = Alignment::open(&config, Node::ALONE, &|note| say(format_args!("{note}")))?;
        let n = objective.layout().dim();
        if let Some(mean) = self.mean.as_ref().filter(|mean| mean.theta.len() != n) {
            return Err(Error::config(format!(
                "the run's mean.json holds {} numbers, and its config's space has {n}; expected the config that the run was made with",
                mean.theta.len()
            )));
        }
        let model = objective.opened().weights.config();
        let adapters = self.adapters.iter().map(|path| PeftAdapter::read(path, model));
        let adapters = adapters.collect::<Result<_>>()?;
        let mut stage = Stage {
            in_run: true,
            subjects: self,
            config,
            objective,
            adapters,
        };
        if stage.subjects.of_run() == 0 {
            stage.enter(false)?;
        }
        Ok(stage)
    }
}

impl Stage {
    /// Who they are.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The model and the task.
    pub fn objective(&mut self) -> &mut Alignment {
        &mut self.objective
    }

    /// What these subjects, by index and in rising order, answer: for each its rollouts, whose candidate is the index.
    pub fn texts(&mut self, questions: &Questions, subjects: &[usize]) -> Result<Vec<(usize, Vec<Rollout>)>> {
        let of_run = self.subjects.of_run();
        let (first, rest): (Vec<usize>, Vec<usize>) = subjects.iter().partition(|at| **at < of_run);
        let mut found = Vec::new();
        for (own, in_run) in [(first, true), (rest, false)] {
            if own.is_empty() {
                continue;
            }
            self.enter(in_run)?;
            let thetas: Vec<Vec<f64>> = own.iter().map(|at| self.theta(*at)).collect();
            let work = Work {
                candidates: thetas.len(),
                theta: &|candidate| thetas[candidate].clone(),
                questions,
                digest: "",
                known: Vec::new(),
                racing: false,
            };
            let done = population::evaluate(&Ranks::alone(), &mut self.objective, work, &mut |_| Ok(()), &mut || {
                true
            })?;
            let texts = done.expect("nobody says stop").rollouts;
            for texts in texts.chunk_by(|a, b| a.item.candidate == b.item.candidate) {
                let subject = own[texts[0].item.candidate];
                let mut texts = texts.to_vec();
                texts.iter_mut().for_each(|text| text.item.candidate = subject);
                found.push((subject, texts));
            }
        }
        Ok(found)
    }

    /// Goes to the run's space, or to that of the adapters.
    fn enter(&mut self, in_run: bool) -> Result<()> {
        if self.in_run != in_run {
            let space = if in_run {
                self.config.open_space(&self.objective.opened().weights, &|_| ())?
            } else {
                weighted(&self.adapters, Per::Adapter, 0.0)
            };
            self.objective.search(space)?;
            self.in_run = in_run;
        }
        Ok(())
    }

    /// A subject in its space.
    fn theta(&self, subject: usize) -> Vec<f64> {
        let layout = self.objective.layout();
        let mut theta = start(layout.dim());
        match (&self.subjects.mean, subject) {
            (Some(_), 0) => {}
            (Some(mean), 1) => theta.clone_from(&mean.theta),
            _ => {
                let behind = subject - self.subjects.of_run();
                if let Some(adapter) = behind.checked_sub(usize::from(self.subjects.has_base)) {
                    let prefix = format!("adapter{adapter}.");
                    let slot = layout.slots().iter().find(|slot| slot.name.starts_with(&prefix));
                    theta[slot.expect("each adapter has a weight").start] = 1.0;
                }
            }
        }
        theta
    }
}
