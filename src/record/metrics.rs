//! `metrics.csv`: one row a generation, the columns below, then those of what is watched beside the task (`kl`, `off_task/<name>`, …), and one
//! column `terms/<name>` for each term of the task. The
//! file is replaced whole each time, so it never ends in half a row.

use crate::error::Result;
use crate::files::write_atomically;
use crate::search::Evaluation;
use crate::statistics::{mean, standard_deviation};
use crate::strategy::Step;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The rows of one run.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    rows: Vec<Row>,
}

/// One generation. Generation 0 is the start, which is only validated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Generations told.
    pub generation: u64,
    /// Mean reward over the population.
    pub reward: Option<f64>,
    /// Spread of the candidates' rewards.
    pub reward_std: Option<f64>,
    /// The best candidate's reward.
    pub reward_max: Option<f64>,
    /// Root mean square of the candidates' standard errors: what part of the spread is noise.
    pub reward_se: Option<f64>,
    /// Signal-to-noise: variance of the candidates' true rewards over that of the noise in their means, both estimated.
    pub snr: Option<f64>,
    /// Share of candidates whose reward is another's too.
    pub tie_ratio: Option<f64>,
    /// Prompts that a candidate was judged on; under racing one that did not drop out.
    pub prompts: Option<usize>,
    /// Rollouts of the population.
    #[serde(default)]
    pub rollouts: Option<usize>,
    /// σ after the step.
    pub sigma: Option<f64>,
    /// Length of the mean's move.
    pub step_norm: Option<f64>,
    /// Length of the mean.
    pub mean_norm: Option<f64>,
    /// Longest axis of the search distribution over its shortest.
    pub axis_ratio: Option<f64>,
    /// Along how many axes the search distribution reaches.
    pub effective_rank: Option<f64>,
    /// The mean's reward on the validation split, where it was looked at.
    pub validation: Option<f64>,
    /// Its standard error.
    pub validation_se: Option<f64>,
    /// Tokens a completion, on average.
    pub mean_length: Option<f64>,
    /// Share of completions that ran into their budget.
    pub clipped_ratio: Option<f64>,
    /// Judgements that failed.
    pub failed: usize,
    /// Tokens read and written since the start.
    pub num_tokens: usize,
    /// Mean of each term over the population (over the validation split in generation 0).
    pub terms: BTreeMap<String, f64>,
    /// What was watched beside the task when the mean was looked at, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, f64>,
    /// What no checkpoint keeps.
    #[serde(skip)]
    pub clocks: Clocks,
}

/// What differs between two runs that did the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Clocks {
    /// Seconds of the generation.
    pub step_s: f64,
    /// Seconds of them that the slowest rank evaluated.
    pub evaluation_s: f64,
    /// Part of its ranks' time that the farm waited for the slowest, from 0 to 1.
    pub idle: f64,
}

/// One column: its name, and what a row has in it.
type Column = (&'static str, fn(&Row) -> String);

/// The fixed columns, in their order. Column names are an interface.
const COLUMNS: [Column; 23] = [
    ("generation", |row| row.generation.to_string()),
    ("reward", |row| cell(row.reward)),
    ("reward_std", |row| cell(row.reward_std)),
    ("reward_max", |row| cell(row.reward_max)),
    ("reward_se", |row| cell(row.reward_se)),
    ("snr", |row| cell(row.snr)),
    ("tie_ratio", |row| cell(row.tie_ratio)),
    ("prompts", |row| cell(row.prompts)),
    ("rollouts", |row| cell(row.rollouts)),
    ("sigma", |row| cell(row.sigma)),
    ("step_norm", |row| cell(row.step_norm)),
    ("mean_norm", |row| cell(row.mean_norm)),
    ("axis_ratio", |row| cell(row.axis_ratio)),
    ("effective_rank", |row| cell(row.effective_rank)),
    ("validation", |row| cell(row.validation)),
    ("validation_se", |row| cell(row.validation_se)),
    ("completions/mean_length", |row| cell(row.mean_length)),
    ("completions/clipped_ratio", |row| cell(row.clipped_ratio)),
    ("failed", |row| row.failed.to_string()),
    ("num_tokens", |row| row.num_tokens.to_string()),
    ("step_time", |row| format!("{:.3}", row.clocks.step_s)),
    ("evaluation_time", |row| format!("{:.3}", row.clocks.evaluation_s)),
    ("idle_ratio", |row| format!("{:.4}", row.clocks.idle)),
];

/// A number, or nothing where there is none.
fn cell(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// Those of them that are clocks: all others are the same however often a run was interrupted and on however many ranks
/// it was.
pub const CLOCKS: [&str; 3] = ["step_time", "evaluation_time", "idle_ratio"];

impl Row {
    /// A generation from its evaluations and what the strategy made of them.
    pub fn new(generation: u64, evaluations: &[Evaluation], step: &Step) -> Self {
        let rewards: Vec<f64> = evaluations
            .iter()
            .filter(|e| !e.fitness.is_failed())
            .map(|e| e.fitness.value())
            .collect();
        let squared: Vec<f64> = evaluations.iter().map(|e| e.standard_error().powi(2)).collect();
        let rollouts: usize = evaluations.iter().map(|e| e.rewards.len()).sum();
        let share = |count: usize| count as f64 / rollouts.max(1) as f64;
        let mut terms: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in evaluations.iter().flat_map(|e| &e.terms) {
            terms.entry(name.clone()).or_default().push(*value);
        }
        Self {
            generation,
            reward: (!rewards.is_empty()).then(|| mean(&rewards)),
            reward_std: Some(standard_deviation(&rewards)),
            reward_max: rewards.iter().copied().max_by(f64::total_cmp),
            reward_se: Some(mean(&squared).sqrt()),
            snr: signal_to_noise(evaluations),
            tie_ratio: Some(tie_ratio(evaluations)),
            prompts: evaluations.iter().map(|e| e.rewards.len()).max(),
            rollouts: Some(rollouts),
            sigma: Some(step.sigma),
            step_norm: Some(step.step_norm),
            mean_norm: Some(step.mean_norm),
            axis_ratio: step.spread.map(|spread| spread.axis_ratio()),
            effective_rank: step.spread.map(|spread| spread.effective_rank),
            mean_length: Some(share(evaluations.iter().map(|e| e.completion_tokens).sum())),
            clipped_ratio: Some(share(evaluations.iter().map(|e| e.truncated).sum())),
            failed: evaluations.iter().map(|e| e.failed).sum(),
            terms: terms.into_iter().map(|(name, values)| (name, mean(&values))).collect(),
            ..Self::default()
        }
    }

    /// Adds the validation of the mean.
    pub fn validated(mut self, evaluation: &Evaluation) -> Self {
        self.validation = evaluation.fitness.into();
        self.validation_se = Some(evaluation.standard_error());
        self
    }
}

/// Analysis of variance of rewards by candidate and question. All candidates answer the same questions, so what a question
/// is worth to all of them cancels, and what is left beside a candidate's mean and a question's is noise. None where there is none,
/// or nothing to compare. 1 says that half of what sets candidates apart is real. Under
/// racing both variances are estimated on the prompts that all candidates were asked, and the noise is that of a mean over
/// all prompts, as it is without: what is compared are those who finished.
fn signal_to_noise(evaluations: &[Evaluation]) -> Option<f64> {
    let judged = || evaluations.iter().filter(|e| !e.fitness.is_failed());
    let common = judged().map(|e| e.rewards.len()).min()?;
    let rows: Vec<&[f64]> = judged().map(|e| &e.rewards[..common]).collect();
    let (candidates, questions) = (rows.len(), common);
    if candidates < 2 || questions < 2 {
        return None;
    }
    let means: Vec<f64> = rows.iter().map(|row| mean(row)).collect();
    let question = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>() / candidates as f64;
    let questions_means: Vec<f64> = (0..questions).map(question).collect();
    let all = mean(&means);
    let residuals = rows.iter().zip(&means).flat_map(|(row, mean)| {
        row.iter()
            .zip(&questions_means)
            .map(move |(reward, question)| (reward - mean - question + all).powi(2))
    });
    let residual = residuals.sum::<f64>() / ((candidates - 1) * (questions - 1)) as f64;
    let signal = standard_deviation(&means).powi(2) - residual / questions as f64;
    let noise = residual / judged().map(|e| e.rewards.len()).max()? as f64;
    (noise > 0.0).then(|| signal.max(0.0) / noise)
}

fn tie_ratio(evaluations: &[Evaluation]) -> f64 {
    let values: Vec<f64> = evaluations.iter().map(|e| e.fitness.value()).collect();
    let is_tied = |value: &&f64| values.iter().filter(|other| other == value).count() > 1;
    values.iter().filter(is_tied).count() as f64 / values.len().max(1) as f64
}

impl Metrics {
    /// No rows yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, rows: Vec::new() }
    }

    /// Goes on after these rows; their clocks, where the file still has them, are taken from there.
    pub fn resume(&mut self, rows: Vec<Row>) {
        self.rows = rows;
        let Ok(mut file) = csv::Reader::from_path(&self.path) else {
            return;
        };
        let Ok(header) = file.headers().cloned() else { return };
        for (row, record) in self.rows.iter_mut().zip(file.records().flatten()) {
            let number = |name: &str| -> Option<f64> {
                let column = header.iter().position(|column| column == name)?;
                record.get(column)?.parse().ok().filter(|x: &f64| x.is_finite())
            };
            if number("generation") == Some(row.generation as f64) {
                let [step_s, evaluation_s, idle] = CLOCKS.map(|name| number(name).unwrap_or(0.0));
                row.clocks = Clocks {
                    step_s,
                    evaluation_s,
                    idle,
                };
            }
        }
    }

    /// Seconds of all rows.
    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.clocks.step_s).sum()
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes the file.
    pub fn write(&self) -> Result<()> {
        write_atomically(&self.path, &self.to_csv())
    }

    /// The rows so far.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn to_csv(&self) -> Vec<u8> {
        let terms: BTreeSet<&String> = self.rows.iter().flat_map(|row| row.terms.keys()).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let watched: BTreeSet<&String> = self.rows.iter().flat_map(|row| row.drift.keys()).collect();
        let of_terms = terms.iter().map(|term| format!("terms/{term}"));
        let header = COLUMNS.iter().map(|(name, _)| name.to_string());
        let header = header
            .chain(watched.iter().map(|name| name.to_string()))
            .chain(of_terms);
        writer.write_record(header).expect("a row in memory");
        for row in &self.rows {
            let fixed = COLUMNS.iter().map(|(_, cell)| cell(row));
            let of_terms = terms.iter().map(|term| cell(row.terms.get(*term)));
            let of_drift = watched.iter().map(|name| cell(row.drift.get(*name)));
            writer
                .write_record(fixed.chain(of_drift).chain(of_terms))
                .expect("a row in memory");
        }
        writer.into_inner().expect("a writer to memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Fitness;
    use crate::seed::Seed;
    use crate::strategy::spread::Spread;

    fn evaluation(rewards: Vec<f64>) -> Evaluation {
        Evaluation {
            fitness: Fitness::new(mean(&rewards)),
            terms: BTreeMap::new(),
            rewards,
            failed: 0,
            truncated: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
        }
    }

    /// Rewards made of a candidate's worth (deviation 1), a question's (deviation 3, which must not count) and noise
    /// (deviation 2) on 16 questions: a signal of 1 over a noise of 4/16. 400 candidates leave a standard error of about 0.3.
    #[test]
    fn signal_to_noise_is_that_of_what_made_the_rewards() {
        let normals = |name: &str, n: usize| Seed::new(3).named(name).normals(n);
        let (candidates, questions, noise) = (normals("c", 400), normals("q", 16), normals("n", 400 * 16));
        let made = |worth: f64| -> Vec<Evaluation> {
            let reward = |c: usize, q: usize| worth * candidates[c] + 3.0 * questions[q] + 2.0 * noise[c * 16 + q];
            (0..400)
                .map(|c| evaluation((0..16).map(|q| reward(c, q)).collect()))
                .collect()
        };
        let snr = |worth: f64| signal_to_noise(&made(worth)).expect("noise");
        assert!((snr(1.0) - 4.0).abs() < 1.0, "{}", snr(1.0));
        assert!(snr(0.0) < 0.25, "{}", snr(0.0));
        assert_eq!(
            signal_to_noise(&[evaluation(vec![1.0, 0.0]), evaluation(vec![1.0, 0.0])]),
            None
        );
        // Racing: half of them drop out after a quarter of the prompts, which changes the estimate's error and not what it is of.
        let mut raced = made(1.0);
        raced.iter_mut().step_by(2).for_each(|e| e.rewards.truncate(4));
        let raced = signal_to_noise(&raced).expect("noise");
        assert!((raced - 4.0).abs() < 1.5, "{raced}");
    }

    #[test]
    fn ties_are_counted() {
        let of = |rewards: &[f64]| {
            tie_ratio(
                &rewards
                    .iter()
                    .map(|reward| evaluation(vec![*reward; 2]))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            (of(&[0.0, 1.0, 0.0, 2.0]), of(&[1.0, 2.0]), of(&[1.0; 3])),
            (0.5, 0.0, 1.0)
        );
    }

    /// The analysis of variance by hand. Three candidates with means 1.5, 2.5 and 8, two questions with mean 4: residuals ±½ of the
    /// first two, so 1 over 2 · 1 degrees of freedom, and ¼ of a mean of two. The means' variance is 12.25, of which 12 are real.
    #[test]
    fn signal_to_noise_is_that_of_the_table() {
        let of = |rewards: &[&[f64]]| {
            signal_to_noise(
                &rewards
                    .iter()
                    .map(|rewards| evaluation(rewards.to_vec()))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[&[1.0, 2.0], &[3.0, 2.0], &[8.0, 8.0]]), Some(48.0));
        // Two and three: 1 over 1 · 2, a third of which is 1/6; the means 1 and 4 vary by 4.5.
        let two = of(&[&[1.0, 0.0, 2.0], &[3.0, 4.0, 5.0]]).expect("noise");
        assert!((two - 26.0).abs() < 1e-12, "{two}");
        // What varies less than the noise alone would make it.
        assert_eq!(of(&[&[1.0, 0.0], &[0.0, 1.0]]), Some(0.0));
        assert_eq!(
            (of(&[&[1.0, 0.0, 2.0]]), of(&[&[1.0], &[2.0]]), of(&[])),
            (None, None, None)
        );
        let mut failed = vec![
            evaluation(vec![1.0, 0.0, 2.0]),
            evaluation(vec![3.0, 4.0, 5.0]),
            evaluation(vec![0.0]),
        ];
        failed[2].fitness = Fitness::FAILED;
        assert_eq!(
            signal_to_noise(&failed),
            Some(two),
            "who could not be judged says nothing"
        );
    }

    #[test]
    fn a_generation_is_summed_up() {
        let judged =
            |rewards: &[f64], terms: &[(&str, f64)], failed: usize, truncated: usize, tokens: usize| Evaluation {
                terms: terms.iter().map(|(name, value)| (name.to_string(), *value)).collect(),
                failed,
                truncated,
                prompt_tokens: 1000,
                completion_tokens: tokens,
                ..evaluation(rewards.to_vec())
            };
        let mut evaluations = [
            judged(&[1.0, 0.0], &[("long", 1.0), ("right", 0.5)], 0, 1, 10),
            judged(&[2.0, 2.0, 2.0, 2.0], &[("right", 0.25)], 1, 2, 30),
            judged(&[0.5, 0.5], &[], 2, 0, 8),
        ];
        evaluations[2].fitness = Fitness::FAILED;
        let step = Step {
            sigma: 0.25,
            step_norm: 3.0,
            mean_norm: 4.0,
            spread: Some(Spread {
                longest: 6.0,
                shortest: 1.5,
                effective_rank: 2.5,
            }),
            failed: 1,
            flat: false,
            stop: None,
        };
        let row = Row::new(7, &evaluations, &step);
        let terms = [("long".to_string(), 1.0), ("right".to_string(), 0.375)];
        // The standard errors are √½ / √2 = ½, 0 and 0; so their mean square is 1/12.
        let reward_se = row.reward_se.expect("a standard error");
        assert!((reward_se - (1.0 / 12.0_f64).sqrt()).abs() < 1e-15, "{reward_se}");
        let expected = Row {
            generation: 7,
            reward: Some(1.25),
            reward_std: Some(1.125_f64.sqrt()),
            reward_max: Some(2.0),
            reward_se: Some(reward_se),
            snr: signal_to_noise(&evaluations),
            tie_ratio: Some(0.0),
            prompts: Some(4),
            rollouts: Some(8),
            sigma: Some(0.25),
            step_norm: Some(3.0),
            mean_norm: Some(4.0),
            axis_ratio: Some(4.0),
            effective_rank: Some(2.5),
            mean_length: Some(6.0),
            clipped_ratio: Some(0.375),
            failed: 3,
            terms: terms.into(),
            ..Row::default()
        };
        assert_eq!(row, expected);
        let validated = row.validated(&evaluations[0]);
        assert_eq!((validated.validation, validated.validation_se), (Some(0.5), Some(0.5)));
        assert_eq!(
            (validated.reward, validated.failed),
            (Some(1.25), 3),
            "and the rest stays"
        );
        let none = Row::new(1, &[], &step);
        assert_eq!(
            (none.reward, none.rollouts, none.mean_length),
            (None, Some(0), Some(0.0))
        );
    }

    /// Each value of a row is another, so a column that held its neighbour's would show.
    #[test]
    fn a_row_stands_under_its_columns() {
        let row = Row {
            generation: 1,
            reward: Some(2.5),
            reward_std: Some(3.5),
            reward_max: Some(4.5),
            reward_se: Some(5.5),
            snr: Some(6.5),
            tie_ratio: Some(7.5),
            prompts: Some(8),
            rollouts: Some(9),
            sigma: Some(10.5),
            step_norm: Some(11.5),
            mean_norm: Some(12.5),
            axis_ratio: Some(13.5),
            effective_rank: Some(14.5),
            validation: Some(15.5),
            validation_se: Some(16.5),
            mean_length: Some(17.5),
            clipped_ratio: Some(18.5),
            failed: 19,
            num_tokens: 20,
            terms: BTreeMap::from([("b".to_string(), 24.5)]),
            drift: BTreeMap::from([("kl".to_string(), 26.5)]),
            clocks: Clocks {
                step_s: 21.5,
                evaluation_s: 22.5,
                idle: 0.23456,
            },
        };
        let start = Row {
            terms: BTreeMap::from([("a".to_string(), 25.5)]),
            ..Row::default()
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.csv");
        let mut metrics = Metrics::new(path.clone());
        metrics.push(start.clone());
        metrics.push(row.clone());
        metrics.write().expect("a file");
        let text = std::fs::read_to_string(&path).expect("the file");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "generation,reward,reward_std,reward_max,reward_se,snr,tie_ratio,prompts,rollouts,sigma,step_norm,mean_norm,\
             axis_ratio,effective_rank,validation,validation_se,completions/mean_length,completions/clipped_ratio,failed,\
             num_tokens,step_time,evaluation_time,idle_ratio,kl,terms/a,terms/b"
        );
        assert_eq!(lines[1], "0,,,,,,,,,,,,,,,,,,0,0,0.000,0.000,0.0000,,25.5,");
        assert_eq!(
            lines[2],
            "1,2.5,3.5,4.5,5.5,6.5,7.5,8,9,10.5,11.5,12.5,13.5,14.5,15.5,16.5,17.5,18.5,19,20,21.500,22.500,0.2346,26.5,,24.5"
        );
        assert_eq!((lines.len(), metrics.seconds()), (3, 21.5));

        // A checkpoint keeps no clocks. The file has them, for generations that stand where they stood.
        let forgotten = |row: &Row, generation: u64| Row {
            generation,
            clocks: Clocks::default(),
            ..row.clone()
        };
        let mut resumed = Metrics::new(path.clone());
        resumed.resume(vec![forgotten(&start, 0), forgotten(&row, 1), forgotten(&row, 2)]);
        let clocks: Vec<f64> = resumed.rows().iter().map(|row| row.clocks.step_s).collect();
        assert_eq!(clocks, [0.0, 21.5, 0.0]);
        let found = resumed.rows()[1].clocks;
        assert_eq!((found.evaluation_s, found.idle), (22.5, 0.2346));
        resumed.resume(vec![forgotten(&start, 0), forgotten(&row, 3)]);
        assert_eq!((resumed.rows().len(), resumed.seconds()), (2, 0.0));
        let mut elsewhere = Metrics::new(folder.path().join("none.csv"));
        elsewhere.resume(vec![row]);
        assert_eq!(elsewhere.rows().len(), 1, "rows are there without a file, too");
    }
}
