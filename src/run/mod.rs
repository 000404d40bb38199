//! One run, from the first candidate to the leaderboard row. [`Run::align`] is the loop, `Run::generation` one turn
//! of it: questions, evaluations, tell, row, save. Every rank does the same; only the root writes, but for each rank's
//! journal. The exported mean is the one that the validation split liked best; the test split is looked at once, at the end.
//!
//! A run is a pure function of its config: where it was interrupted, and on how many ranks it went on, can only be seen on
//! its clocks.

pub mod diagnosis;
pub mod interrupt;
pub mod progress;
mod region;
mod watch;

use crate::config::RunConfig;
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::farm::population::{self, Evaluated, Work};
use crate::farm::ranks::Ranks;
use crate::judge::{Selection, reward_model};
use crate::objective::alignment::check_examples;
use crate::objective::{Asks, Objective, Questions, Rollout};
use crate::plan::Plan;
use crate::record::checkpoint::{self, Checkpoint, Point, State};
use crate::record::journal::Journal;
use crate::record::metrics::{self, Metrics};
use crate::record::rollouts::Rollouts;
use crate::record::{Ending, Mean, Outcome, Row, RunDirectory};
use crate::report::leaderboard;
use crate::search::{Evaluation, Fitness};
use crate::seed::Seed;
use crate::statistics::{Estimate, paired_gain};
use crate::strategy::{Strategy, selection};
use crate::task::Split;
use crate::terminal::{now, say};
use progress::Progress;
use std::time::{Duration, Instant};
use watch::Columns;

/// The most points of a front that are kept.
const LARGEST_FRONT: usize = 32;

/// A run under way.
pub struct Run<'a> {
    plan: &'a Plan,
    directory: &'a RunDirectory,
    ranks: &'a Ranks,
    objective: &'a mut dyn Objective,
    strategy: Box<dyn Strategy>,
    seed: Seed,
    /// What decides the run.
    digest: String,
    journal: Journal,
    metrics: Metrics,
    rollouts: Option<Rollouts>,
    progress: Progress,
    state: State,
    /// The generation of the newest checkpoint.
    saved: Option<u64>,
    /// Since when the next row's clock runs.
    since: Instant,
}

impl<'a> Run<'a> {
    /// Begins the run in its directory, which this job has claimed, or goes on with the run that is in it.
    pub fn open(
        plan: &'a Plan,
        directory: &'a RunDirectory,
        ranks: &'a Ranks,
        objective: &'a mut dyn Objective,
    ) -> Result<Self> {
        let config = &plan.config;
        check_examples(config, &|split| objective.examples(split))?;
        let n = objective.layout().dim();
        let seed = Seed::new(config.seed);
        let strategy = config.strategy.build(n, &plan.start, seed.named("strategy"))?;
        let digest = digest(config, objective)?;
        ranks.root_says(|| {
            // A directory counts as begun as soon as it has a config.
            directory.write_plan(&plan.decided)?;
            directory.begin(config)
        })?;
        // The root reads before the others write.
        let journal = directory.journal(&digest, ranks.rank());
        ranks.agree(Ok(()))?;
        let mut run = Self {
            plan,
            directory,
            ranks,
            objective,
            strategy,
            seed,
            digest,
            journal,
            metrics: directory.metrics(),
            rollouts: None,
            progress: Progress::new(config.run.generations, !ranks.is_root()),
            state: State {
                stop: None,
                best: Mean {
                    generation: 0,
                    theta: plan.start.clone(),
                    validation: Fitness::FAILED,
                    rewards: Vec::new(),
                },
                start_validation: Fitness::FAILED,
                worse: 0,
                prompts: config.run.prompts,
                position: 0,
                num_tokens: plan.decided.spent.num_tokens,
                rollouts: plan.decided.spent.rollouts,
                front: Vec::new(),
            },
            saved: None,
            since: Instant::now(),
        };
        run.resume()?;
        Ok(run)
    }

    /// The search in a few words.
    pub fn describe(&self) -> String {
        format!(
            "{} on {} numbers, {} candidates × {} prompts",
            self.strategy.name(),
            self.plan.start.len(),
            self.strategy.population(),
            self.plan.config.run.prompts
        )
    }

    /// Takes up the newest checkpoint, if there is one.
    fn resume(&mut self) -> Result<()> {
        let folder = self.directory.checkpoints();
        let found = if self.ranks.is_root() {
            self.directory.newest_checkpoint()
        } else {
            Ok(Default::default())
        };
        let (bytes, notes) = self.ranks.agree(found)?;
        notes.iter().for_each(|note| self.progress.line(note));
        // The root's, so that all go on from the same.
        let bytes = self.ranks.from_root(&bytes.unwrap_or_default());
        let mut rollouts_bytes = 0;
        if !bytes.is_empty() {
            let saved = Checkpoint::from_bytes(&bytes, &folder)?;
            if saved.digest != self.digest {
                return Err(Error::file(
                    self.directory.path(),
                    "holds a run of the same config on another model, adapter or data, whose files have changed since; choose another --out",
                ));
            }
            let restored = self.plan.config.strategy.restore(&saved.strategy);
            self.strategy = restored.map_err(|error| Error::file(&folder, error.to_string()))?;
            self.state = saved.state;
            self.metrics.resume(saved.metrics);
            self.saved = Some(saved.generation);
            rollouts_bytes = saved.rollouts_bytes;
        }
        if self.ranks.is_root() {
            if self.plan.config.run.rollouts {
                self.rollouts = Some(self.directory.rollouts(rollouts_bytes)?);
            }
            if self.saved.is_some() {
                self.keep_best()?;
            }
            let at = self.strategy.generation();
            let known = self.journal.known(at);
            if self.saved.is_some() || known > 0 {
                self.progress.line(&format!(
                    "going on after generation {at}, with {known} rollouts of the next one known"
                ));
            }
        }
        self.progress.resume(self.strategy.generation());
        Ok(())
    }

    /// Runs to the end and returns the leaderboard row.
    pub fn align(mut self) -> Result<(Row, Outcome)> {
        let done = self.run();
        done.map_err(|source| Error::Run {
            source: Box::new(source),
            saved: match self.saved {
                Some(generation) => format!(
                    "the run is saved up to generation {generation} in {}, and the same command goes on from there",
                    self.directory.checkpoints().display()
                ),
                None => "nothing of the run is saved yet".into(),
            },
        })
    }

    fn run(&mut self) -> Result<(Row, Outcome)> {
        if self.saved.is_none() {
            self.start()?;
        }
        while self.state.stop.is_none() {
            self.generation()?;
        }
        self.finish()
    }

    /// Generation 0: how good is the start?
    fn start(&mut self) -> Result<()> {
        let Some((evaluation, watched)) = self.validate()? else {
            return Ok(());
        };
        self.state.start_validation = evaluation.fitness;
        self.progress.line(&format!(
            "start  validation {} (95 %){}",
            evaluation.estimate(),
            watch::said(&watched)
        ));
        let row = metrics::Row {
            num_tokens: self.state.num_tokens,
            terms: evaluation.terms.clone(),
            drift: watched,
            ..Default::default()
        };
        self.save(row.validated(&evaluation))
    }

    /// One turn: questions, evaluations, tell, row, save.
    fn generation(&mut self) -> Result<()> {
        let before = self.strategy.generation();
        // The root has saved the generation before, or this rank would not be here.
        if let Some(overtaken) = before.checked_sub(2) {
            self.journal.forget(overtaken);
        }
        let questions = self.questions();
        let Some(mut evaluated) = self.evaluate(None, &questions)? else {
            return Ok(());
        };
        let Some(penalties) = self.penalties(&questions)? else {
            return Ok(());
        };
        for (evaluation, penalty) in evaluated.evaluations.iter_mut().zip(&penalties) {
            evaluation.terms.extend(penalty.map(|kl| ("kl".to_string(), kl)));
        }
        let evaluations = &evaluated.evaluations;
        let mut fitness = self.compare(evaluations);
        let weight = self.plan.config.drift.penalty;
        for (fitness, penalty) in fitness.iter_mut().zip(penalties) {
            *fitness = penalty.map_or(Fitness::FAILED, |kl| Fitness::new(fitness.value() - weight * kl));
        }
        let mean = self.strategy.mean().to_vec();
        let mut step = self.strategy.tell(&fitness);
        let Some(from_start) = self.hold_mean(&mean, &mut step)? else {
            // The journal knows the generation; it is told again when the run goes on.
            return Ok(());
        };
        let done = self.strategy.generation();
        self.state.rollouts += evaluated.rollouts.len();
        self.state.position += questions.indices.len();
        self.write_rollouts(Split::Train, &evaluated.rollouts)?;
        if done >= self.plan.config.run.generations {
            self.state.stop = Some(Outcome::Finished.into());
        }
        if let Some(reason) = &step.stop {
            self.state.stop = Some(Ending::new(Outcome::Stopped, reason));
        }

        let mut row = metrics::Row::new(done, evaluations, &step);
        row.clocks.evaluation_s = evaluated.farm.evaluation_s;
        row.clocks.idle = evaluated.farm.idle;
        let mut text = format!(
            "reward {:.3} (best {:.3}, spread {:.3})  σ {:.4}",
            row.reward.unwrap_or(f64::NAN),
            row.reward_max.unwrap_or(f64::NAN),
            row.reward_std.unwrap_or(0.0),
            step.sigma
        );
        let held: Columns = from_start
            .map(|kl| (watch::FROM_START.to_string(), kl))
            .into_iter()
            .collect();
        text += &watch::said(&held);
        let every = self.plan.config.run.validate_every;
        if self.state.stop.is_some() || (every > 0 && done.is_multiple_of(every)) {
            let Some((evaluation, watched)) = self.validate()? else {
                // The journal knows the generation; it is told again when the run goes on.
                return Ok(());
            };
            text += &format!("  validation {} (95 %){}", evaluation.estimate(), watch::said(&watched));
            row = row.validated(&evaluation);
            row.drift = watched;
            if self.state.worse >= diagnosis::COLLAPSED
                && self.plan.config.run.stop_on_collapse
                && self.state.stop.is_none()
            {
                let reason = "the mean collapsed; the best one is kept";
                self.state.stop = Some(Ending::new(Outcome::Stopped, reason));
            }
        }
        row.drift.extend(held);
        if self.plan.config.run.racing {
            let all = evaluations.len() * questions.indices.len();
            text += &format!(
                "  saved {:.0} %",
                100.0 * (1.0 - evaluated.rollouts.len() as f64 / all as f64)
            );
        }
        if self.ranks.size() > 1 {
            let farm = evaluated.farm;
            text += &format!("  ranks idle {:.1} %, {} bytes", 100.0 * farm.idle, farm.bytes);
        }
        row.num_tokens = self.state.num_tokens;
        self.progress.generation(done, &text);
        self.save(row)
    }

    /// What the strategy is told of the candidates: their rewards, or ranks by several terms where the selection asks for it. The front of a Pareto
    /// selection takes in who belongs to it.
    fn compare(&mut self, evaluations: &[Evaluation]) -> Vec<Fitness> {
        let reward = &self.plan.config.reward;
        let terms = |evaluation: &Evaluation| -> Vec<f64> {
            let term = |name: &String| match evaluation.terms.get(name) {
                Some(value) => *value,
                None if name == "reward" => evaluation.fitness.value(),
                None => f64::NAN,
            };
            let failed = evaluation.fitness.is_failed();
            reward
                .order
                .iter()
                .map(|name| if failed { f64::NAN } else { term(name) })
                .collect()
        };
        let vectors = || evaluations.iter().map(terms).collect::<Vec<_>>();
        let ranks = match reward.selection {
            Selection::Weighted => return evaluations.iter().map(|evaluation| evaluation.fitness).collect(),
            Selection::Lexicographic => selection::lexicographic(&vectors(), &[]),
            Selection::Pareto => {
                // Terms of other prompts are no yardstick: easy ones would look like good candidates.
                let same_prompts = self.state.prompts.is_multiple_of(self.objective.examples(Split::Train));
                let earlier = if same_prompts { self.state.front.as_slice() } else { &[] };
                let earlier: Vec<Vec<f64>> = earlier.iter().map(|point| point.terms.clone()).collect();
                let vectors = vectors();
                let ranks = selection::pareto_beside(&vectors, &earlier);
                self.take_into_front(&vectors);
                ranks
            }
        };
        ranks
            .into_iter()
            .map(|rank| {
                if rank.is_finite() {
                    Fitness::new(rank)
                } else {
                    Fitness::FAILED
                }
            })
            .collect()
    }

    /// Adds to the front the candidates that belong to it, and of too many points leaves out those with the least room around them.
    fn take_into_front(&mut self, vectors: &[Vec<f64>]) {
        let generation = self.strategy.generation() + 1;
        let asked = |(member, terms): (usize, &Vec<f64>)| Point {
            generation,
            theta: self.strategy.ask(member),
            terms: terms.clone(),
        };
        let first = selection::front(vectors);
        let new: Vec<Point> = first
            .into_iter()
            .map(|member| asked((member, &vectors[member])))
            .collect();
        let front = &mut self.state.front;
        front.extend(new);
        let terms = |front: &[Point]| front.iter().map(|point| point.terms.clone()).collect::<Vec<_>>();
        let kept = selection::front(&terms(front));
        *front = kept.into_iter().map(|at| front[at].clone()).collect();
        while front.len() > LARGEST_FRONT {
            let room = selection::crowding(&terms(front));
            let least = (0..room.len())
                .min_by(|&a, &b| room[a].total_cmp(&room[b]))
                .expect("points");
            front.remove(least);
        }
    }

    /// Keeps the front, its best in the first term first.
    fn write_front(&mut self) -> Result<()> {
        if self.state.front.is_empty() || !self.ranks.is_root() {
            return Ok(());
        }
        let mut front = self.state.front.clone();
        front.sort_by(|a, b| b.terms[0].total_cmp(&a.terms[0]));
        for (at, point) in front.iter().enumerate() {
            self.objective
                .export(&point.theta, &self.directory.front().join(at.to_string()))?;
        }
        self.directory.write_front(&self.plan.config.reward.order, &front)
    }

    /// Looks at the rows so far: asks for more prompts while candidates cannot be told apart, or says what to change.
    fn diagnose(&mut self) {
        let most = self.plan.config.run.prompts_max.unwrap_or(self.plan.config.run.prompts);
        let can_grow = self.state.prompts < most;
        if let Some(advice) = diagnosis::advice(self.metrics.rows(), can_grow) {
            self.progress.line(&format!("advice: {advice}"));
        }
        if can_grow && diagnosis::is_noisy(self.metrics.rows()) {
            self.state.prompts = (2 * self.state.prompts).min(most);
            self.progress
                .line(&format!("mostly noise: {} prompts from here on", self.state.prompts));
        }
    }

    /// The prompts of the coming generation: the training split in a new order each time around, the same for every
    /// candidate.
    fn questions(&self) -> Questions {
        let seed = self.seed.named("prompts");
        let (train, prompts, first) = (
            self.objective.examples(Split::Train),
            self.state.prompts,
            self.state.position,
        );
        let mut indices = Vec::with_capacity(prompts);
        for epoch in first / train..=(first + prompts - 1) / train {
            let mut order: Vec<usize> = (0..train).collect();
            seed.fold(epoch as u64).shuffle(&mut order);
            let inside = |at: usize| at.clamp(epoch * train, (epoch + 1) * train) - epoch * train;
            indices.extend(&order[inside(first)..inside(first + prompts)]);
        }
        let config = &self.plan.config;
        Questions {
            samples: config.samples_of_candidates(),
            of_samples: config.reward.of_samples,
            asks: Asks::Candidates,
            ..Questions::new(
                Split::Train,
                indices,
                self.seed.named("texts").fold(self.strategy.generation()),
            )
        }
    }

    /// Judges the mean on the validation split, looks at what is watched beside it, and keeps and exports it if it is the best so far and not too
    /// far from the start. One that is ends the run.
    fn validate(&mut self) -> Result<Option<(Evaluation, Columns)>> {
        let theta = self.strategy.mean().to_vec();
        let Some(evaluations) = self.judge(vec![theta.clone()], Split::Validation)? else {
            return Ok(None);
        };
        let Some(watched) = self.watch(std::slice::from_ref(&theta), Split::Validation, &evaluations)? else {
            return Ok(None);
        };
        let watched = watched.into_iter().next().expect("one for one");
        let evaluation = evaluations.into_iter().next().expect("one for one");
        let is_start = self.strategy.generation() == 0;
        let of_start = self.metrics.rows().first().map_or(&watched, |row| &row.drift);
        let too_far = watch::too_far(&self.plan.config.drift, &watched, of_start);
        if let Some(why) = &too_far {
            if is_start {
                return Err(Error::config(format!(
                    "before the first generation {why}; raise the limit, or take another reference"
                )));
            }
            if self
                .state
                .stop
                .as_ref()
                .is_none_or(|stop| stop.outcome == Outcome::Finished)
            {
                self.state.stop = Some(Ending::new(
                    Outcome::Stopped,
                    format!("{why}; the best mean within it is kept"),
                ));
            }
        }
        if diagnosis::is_clearly_worse(&evaluation, &self.state.best.rewards) {
            self.state.worse += 1;
        } else {
            self.state.worse = 0;
        }
        // Of equals the later one, since the search has moved on from there. But what is no better than the start has learned
        // nothing that the split can see, and the start is the safer of the two.
        let (found, best) = (evaluation.fitness.value(), self.state.best.validation.value());
        let is_better = found > best || (found == best && self.state.best.generation > 0);
        if is_start || (is_better && too_far.is_none()) {
            self.state.best = Mean {
                generation: self.strategy.generation(),
                theta,
                validation: evaluation.fitness,
                rewards: evaluation.rewards.clone(),
            };
            if self.ranks.is_root() {
                self.directory.still_there()?;
                self.keep_best()?;
            }
        }
        Ok(Some((evaluation, watched)))
    }

    fn keep_best(&self) -> Result<()> {
        self.objective
            .export(&self.state.best.theta, &self.directory.adapter())?;
        self.directory.write_mean(&self.state.best)
    }

    /// Judges search vectors on a whole split.
    fn judge(&mut self, thetas: Vec<Vec<f64>>, split: Split) -> Result<Option<Vec<Evaluation>>> {
        let questions = Questions::whole(&self.plan.config, split, self.objective.examples(split));
        let Some(evaluated) = self.evaluate(Some(thetas), &questions)? else {
            return Ok(None);
        };
        self.write_rollouts(split, &evaluated.rollouts)?;
        Ok(Some(evaluated.evaluations))
    }

    /// Evaluates search vectors, or the members of the coming generation, on all ranks, through the journal. When the run
    /// was asked to end there is no result, and it stops.
    fn evaluate(&mut self, thetas: Option<Vec<Vec<f64>>>, questions: &Questions) -> Result<Option<Evaluated>> {
        let (generation, split) = (self.strategy.generation(), questions.split);
        // What only watches is asked again by a run that goes on; the journal knows its rollouts by split alone.
        let of_task = matches!(questions.asks, Asks::Candidates | Asks::Mean);
        let strategy = self.strategy.as_ref();
        // One rank cannot drift from itself.
        let digest = if self.ranks.size() > 1 {
            sha256(serde_json::to_vec(&strategy.state()).expect("JSON of numbers"))
        } else {
            String::new()
        };
        let work = Work {
            candidates: thetas.as_ref().map_or(strategy.population(), Vec::len),
            theta: &|candidate| match &thetas {
                Some(thetas) => thetas[candidate].clone(),
                None => strategy.ask(candidate),
            },
            questions,
            digest: &digest,
            known: if of_task {
                self.journal.take(generation, split)
            } else {
                Vec::new()
            },
            racing: self.plan.config.run.racing && thetas.is_none() && of_task,
        };
        let journal = &mut self.journal;
        let mut record = |rollouts: &[Rollout]| {
            if of_task {
                journal.record(generation, split, rollouts);
            }
            Ok(())
        };
        let mut go_on = || !interrupt::requested();
        let evaluated = population::evaluate(self.ranks, self.objective, work, &mut record, &mut go_on)?;
        match &evaluated {
            Some(evaluated) => self.state.num_tokens += evaluated.tokens(),
            None => self.state.stop = Some(Outcome::Interrupted.into()),
        }
        Ok(evaluated)
    }

    /// Writes what a later look at the run needs, each file whole, and last the checkpoint that makes it count. The time that
    /// takes is the next row's.
    fn save(&mut self, mut row: metrics::Row) -> Result<()> {
        row.clocks.step_s = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.metrics.push(row);
        self.diagnose();
        if !self.ranks.is_root() {
            self.saved = Some(self.strategy.generation());
            return Ok(());
        }
        self.directory.still_there()?;
        self.metrics.write()?;
        if let Some(texts) = &self.rollouts {
            texts.sync()?;
        }
        let saved = Checkpoint {
            format: checkpoint::FORMAT,
            digest: self.digest.clone(),
            generation: self.strategy.generation(),
            rollouts_bytes: self.rollouts.as_ref().map_or(0, Rollouts::bytes),
            state: self.state.clone(),
            metrics: self.metrics.rows().to_vec(),
            strategy: self.strategy.state(),
        };
        saved.write(&self.directory.checkpoints())?;
        self.saved = Some(saved.generation);
        Ok(())
    }

    fn write_rollouts(&mut self, split: Split, rollouts: &[Rollout]) -> Result<()> {
        match &mut self.rollouts {
            Some(texts) => texts.write(self.strategy.generation(), split, rollouts),
            None => Ok(()),
        }
    }

    /// The test split, once: the start and the chosen mean on the same examples.
    fn finish(&mut self) -> Result<(Row, Outcome)> {
        let stop = self.state.stop.clone().expect("the loop ends with a reason");
        let thetas = vec![self.plan.start.clone(), self.state.best.theta.clone()];
        let mut watched = None;
        let tested = if stop.outcome == Outcome::Interrupted {
            None
        } else {
            self.progress.line(&format!(
                "testing the start and the mean of generation {}",
                self.state.best.generation
            ));
            let tested = self.judge(thetas.clone(), Split::Test)?;
            if let Some(evaluations) = &tested {
                watched = self.watch(&thetas, Split::Test, evaluations)?;
            }
            tested.filter(|_| watched.is_some())
        };
        let stop = if tested.is_none() {
            Outcome::Interrupted.into()
        } else {
            stop
        };
        self.write_front()?;
        let labels = self.objective.labels()?;
        let config = &self.plan.config;
        let mut row = Row {
            name: config.name.clone(),
            status: stop.outcome,
            reason: stop.reason,
            start_validation: self.state.start_validation.into(),
            best_validation: self.state.best.validation.into(),
            best_generation: self.state.best.generation,
            generations: self.strategy.generation(),
            model: labels.model,
            model_sha256: labels.model_sha256,
            precision: format!("{:?}", config.model.precision).to_lowercase(),
            task: labels.task,
            space: config.space.label(),
            n: self.state.best.theta.len(),
            strategy: self.strategy.name().into(),
            population: self.strategy.population(),
            prompts: config.run.prompts,
            seed: config.seed,
            rollouts: self.state.rollouts,
            num_tokens: self.state.num_tokens,
            wall_s: ((self.metrics.seconds() + self.since.elapsed().as_secs_f64()) * 10.0).round() / 10.0,
            config_sha256: config.digest(),
            essa: env!("CARGO_PKG_VERSION").into(),
            finished: now(),
            directory: self.directory.path().display().to_string(),
            ..Default::default()
        };
        if let Some([start, mean_of_run]) = tested.as_deref() {
            let (gain, gain_se) = paired_gain(&mean_of_run.rewards, &start.rewards);
            let ends = |estimate: Estimate| (Some(estimate.low), Some(estimate.high));
            row.test = Some(mean_of_run.fitness.value());
            row.test_se = Some(mean_of_run.standard_error());
            (row.test_low, row.test_high) = ends(mean_of_run.estimate());
            row.start_test = Some(start.fitness.value());
            row.start_test_se = Some(start.standard_error());
            (row.start_test_low, row.start_test_high) = ends(start.estimate());
            row.gain = Some(gain);
            row.gain_se = Some(gain_se);
            (row.gain_low, row.gain_high) = ends(Estimate::of_gain(&mean_of_run.rewards, &start.rewards));
            row.test_examples = start.rewards.len();
        }
        if let Some([start, mean_of_run]) = watched.as_deref() {
            row.drift = mean_of_run.clone();
            row.drift
                .extend(start.iter().map(|(name, value)| (format!("start_{name}"), *value)));
        }
        self.progress.finish();
        if self.ranks.is_root() {
            self.directory.still_there()?;
            self.directory.write_row(&row)?;
            if row.status.is_over() {
                self.journal.remove();
            }
            // The table can always be made again, from the runs' own rows; this run's is written.
            if let Some(folder) = self
                .directory
                .path()
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
                && let Err(error) = leaderboard::write(folder)
            {
                say(format_args!("essa: {error}; the leaderboard is left as it was"));
            }
        }
        let outcome = row.status;
        Ok((row, outcome))
    }
}

/// SHA-256 of everything that decides a run.
pub fn digest(config: &RunConfig, objective: &dyn Objective) -> Result<String> {
    let mut whole = config.digest() + &objective.digest()?;
    // What they say decides it as much as the examples do.
    for path in config.reward_models() {
        whole += &reward_model::digest(&path)?;
    }
    Ok(sha256(whole))
}

/// For a person: how long a run took.
pub fn took(row: &Row) -> String {
    progress::duration(Duration::from_secs_f64(row.wall_s))
}
