//! An objective that remembers what it was asked, and that dies or is told to stop on the way; a toy to be asked where no
//! model is needed; and the jobs that a run of either is made of.

use essa::config::RunConfig;
use essa::engine::Finish;
use essa::error::{Error, Result};
use essa::farm::ranks::Ranks;
use essa::objective::{Item, Objective, Questions, Rollout};
use essa::plan::Plan;
use essa::record::{Outcome, Row, RunDirectory};
use essa::run::Run;
use essa::search::Layout;
use essa::seed::Seed;
use essa::task::{Split, Verdict};
use std::cell::RefCell;
use std::path::Path;

/// One call of [`Objective::evaluate`].
#[derive(Clone, Debug)]
pub struct Call {
    pub questions: Questions,
    /// What came of it: the search vector, the example, and the reward.
    pub rollouts: Vec<(Vec<f64>, usize, f64)>,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Never,
    /// With an error, as soon as so many rollouts were taken and another is ready.
    Dies(usize),
    /// It is told to stop after so many rollouts, and does before the next one that it can stop before.
    Stops(usize),
}

impl End {
    pub fn count(self) -> usize {
        match self {
            Self::Never => usize::MAX,
            Self::Dies(count) | Self::Stops(count) => count,
        }
    }
}

/// An objective that is looked at.
pub struct Watched<O> {
    pub inner: O,
    pub calls: Vec<Call>,
    end: End,
}

impl<O> Watched<O> {
    pub fn new(inner: O, end: End) -> Self {
        Self {
            inner,
            calls: Vec::new(),
            end,
        }
    }
}

impl<O: Objective> Objective for Watched<O> {
    fn layout(&self) -> &Layout {
        self.inner.layout()
    }

    fn examples(&self, split: Split) -> usize {
        self.inner.examples(split)
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let before: usize = self.calls.iter().map(|call| call.rollouts.len()).sum();
        let left = self.end.count().saturating_sub(before);
        let (dies, taken) = (matches!(self.end, End::Dies(_)), RefCell::new(Vec::new()));
        let seen = |rollout: &Rollout| {
            let Item {
                candidate, question, ..
            } = rollout.item;
            (
                thetas[candidate].clone(),
                questions.indices[question],
                rollout.verdict.reward,
            )
        };
        let mut take = |mut some: Vec<Rollout>| {
            let room = left - taken.borrow().len().min(left);
            let killed = dies && some.len() > room;
            if killed {
                some.truncate(room);
            }
            taken.borrow_mut().extend(some.iter().map(&seen));
            take(some)?;
            if killed {
                return Err(Error::mismatch("killed"));
            }
            Ok(())
        };
        let mut go_on = || go_on() && (dies || taken.borrow().len() < left);
        let done = self.inner.evaluate(thetas, questions, items, &mut take, &mut go_on);
        let (questions, rollouts) = (questions.clone(), taken.into_inner());
        self.calls.push(Call { questions, rollouts });
        done
    }

    fn digest(&self) -> Result<String> {
        self.inner.digest()
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        self.inner.export(theta, directory)
    }
}

/// Each example wants to be somewhere: its reward falls with the distance from there. On the test split it is worth so
/// much, which no run may depend on.
pub struct Toy {
    layout: Layout,
    worth: f64,
    /// Of train, validation and test.
    pub examples: [usize; 3],
}

impl Toy {
    pub const DIM: usize = 3;

    pub fn new(worth: f64) -> Self {
        let layout = Layout::new([("x".to_string(), Self::DIM)]);
        Self {
            layout,
            worth,
            examples: [12, 5, 6],
        }
    }

    /// With so many examples to train on.
    pub fn with_train(mut self, examples: usize) -> Self {
        self.examples[0] = examples;
        self
    }

    fn rollout(&self, theta: &[f64], split: Split, example: usize, item: Item) -> Rollout {
        let place = Seed::new(7).named(&format!("{split:?}")).fold(example as u64);
        // All of them around one place, which a search finds.
        let squares = theta.iter().zip(place.normals(theta.len()));
        let squares = squares.map(|(x, z)| (x - 0.8 - 0.3 * z).powi(2));
        let close = 1.0 / (1.0 + squares.sum::<f64>());
        let reward = if split == Split::Test {
            self.worth * close
        } else {
            close
        };
        Rollout {
            item,
            prompt_id: format!("{split:?}-{example}"),
            prompt: format!("Where is {example}?"),
            completion: "here".into(),
            verdict: Verdict::new(reward, [("close", close)]),
            prompt_tokens: 3 + example,
            tokens: 2 + example % 3,
            finish_reason: Finish::Stop,
        }
    }
}

impl Objective for Toy {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn examples(&self, split: Split) -> usize {
        self.examples[split as usize]
    }

    fn evaluate(
        &mut self,
        thetas: &[Vec<f64>],
        questions: &Questions,
        items: &[Item],
        take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        for item in items {
            if !go_on() {
                return Ok(false);
            }
            let example = questions.indices[item.question];
            take(vec![self.rollout(
                &thetas[item.candidate],
                questions.split,
                example,
                *item,
            )])?;
        }
        Ok(true)
    }

    fn digest(&self) -> Result<String> {
        Ok("toy".into())
    }

    fn export(&self, theta: &[f64], directory: &Path) -> Result<()> {
        let json = serde_json::to_string(theta).expect("JSON of numbers");
        essa::files::write_atomically(&directory.join("theta.json"), json.as_bytes())
    }
}

/// One job on a run: its start, or what is left of it.
pub fn job<O: Objective>(config: &RunConfig, run: &Path, objective: &mut Watched<O>) -> Result<(Row, Outcome)> {
    let plan = Plan::of(config.clone(), objective.layout().dim())?;
    let (ranks, mut directory) = (Ranks::alone(), RunDirectory::at(run));
    directory.claim(&plan.config)?;
    Run::open(&plan, &directory, &ranks, objective)?.align()
}

/// The last job on a run; its row, and what it asked.
pub fn finish<O: Objective>(config: &RunConfig, run: &Path, objective: O) -> (Row, Vec<Call>) {
    let mut objective = Watched::new(objective, End::Never);
    let (row, stop) = job(config, run, &mut objective).expect("a run");
    assert_eq!(stop, Outcome::Finished);
    (row, objective.calls)
}
