//! Who evaluates what. The unit of work is one candidate on one question; what is to be done is split evenly over the
//! ranks, candidate by candidate, so a rank makes only the search vectors of its own share. Numbers cross ranks, and
//! texts go to the root alone; afterwards every rank has the evaluations of all candidates, in order.
//!
//! In int8 on a CPU a text does not depend on what is written beside it (promise 3), so neither the number of ranks nor
//! what was known before the work began can be seen in the result.

use crate::error::{Error, Result};
use crate::farm::racing;
use crate::farm::ranks::Ranks;
use crate::judge::Scope;
use crate::objective::{Item, Objective, Questions, Rollout, evaluation};
use crate::search::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

/// Candidates and what they are asked.
pub struct Work<'a> {
    /// How many candidates.
    pub candidates: usize,
    /// Makes one of them.
    pub theta: &'a dyn Fn(usize) -> Vec<f64>,
    /// What they are asked.
    pub questions: &'a Questions,
    /// A digest of what `theta` hangs on: ranks whose digests differ would evaluate different candidates under one name.
    pub digest: &'a str,
    /// What is known already; only the root is asked.
    pub known: Vec<Rollout>,
    /// Whether candidates that are behind drop out before the last question.
    pub racing: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Evaluated {
    /// One a candidate.
    pub evaluations: Vec<Evaluation>,
    /// By candidate and question, all that were asked; with texts on the root.
    pub rollouts: Vec<Rollout>,
    /// How the ranks shared the work.
    pub farm: Farm,
}

impl Evaluated {
    /// Tokens read and written.
    pub fn tokens(&self) -> usize {
        let tokens = |e: &Evaluation| e.prompt_tokens + e.completion_tokens;
        self.evaluations.iter().map(tokens).sum()
    }
}

/// How the ranks shared the work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Farm {
    /// Seconds that the slowest rank evaluated.
    pub evaluation_s: f64,
    /// Part of its ranks' time, from 0 to 1, that the farm waited for the slowest.
    pub idle: f64,
    /// Bytes of numbers that each rank received.
    pub bytes: usize,
}

/// What a rank tells the others.
#[derive(Serialize, Deserialize)]
struct Share {
    digest: String,
    done: bool,
    busy_s: f64,
    rollouts: Vec<Rollout>,
}

/// Evaluates all candidates on all questions, or as many of these as a race asks. `record` receives this rank's rollouts
/// as they end. None when any rank was told by `go_on` to stop.
pub fn evaluate(
    ranks: &Ranks,
    objective: &mut dyn Objective,
    work: Work,
    record: &mut dyn FnMut(&[Rollout]) -> Result<()>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Evaluated>> {
    let questions = work.questions.indices.len();
    let rounds = if work.racing {
        racing::rounds(questions)
    } else {
        std::iter::once(0..questions).collect()
    };
    // In order, so that every rank sees the same.
    let known = from_root(ranks, &work.known)?.into_iter().map(keyed).collect();
    let mut all: BTreeMap<Item, Rollout> = known;
    let mut contenders: Vec<usize> = (0..work.candidates).collect();
    let (mut asked, mut farms) = (Vec::new(), Vec::new());
    for (at, round) in rounds.iter().enumerate() {
        let of_candidate = |&candidate: &usize| work.questions.items(candidate, round.clone());
        let mut items: Vec<Item> = contenders.iter().flat_map(of_candidate).collect();
        let scope = objective.scope(work.questions);
        if scope == Scope::Question {
            // What is judged together stays together, on one rank and when a part of it is known.
            items.sort_by_key(|item| (item.question, item.candidate, item.sample));
            let missing: BTreeSet<usize> = items
                .iter()
                .filter(|item| !all.contains_key(item))
                .map(|item| item.question)
                .collect();
            all.retain(|item, _| !round.contains(&item.question) || !missing.contains(&item.question));
        }
        match evaluate_items(ranks, objective, &work, &items, &mut all, record, go_on)? {
            Some(farm) => farms.push(farm),
            None => return Ok(None),
        }
        asked.extend(items);
        if at + 1 < rounds.len() {
            let rewards = |candidate| {
                let texts: Vec<f64> = work
                    .questions
                    .items(candidate, 0..round.end)
                    .map(|item| all[&item].verdict.reward)
                    .collect();
                let of_question = |texts: &[f64]| work.questions.of_samples.reward(texts);
                texts.chunks(work.questions.samples).map(of_question).collect()
            };
            contenders = racing::survivors(&contenders, work.candidates, &rewards);
        }
    }
    asked.sort_unstable();
    if !asked.iter().eq(all.keys()) {
        return Err(Error::mismatch(
            "the ranks' evaluations do not add up to the generation; do all ranks run the same essa?",
        ));
    }
    let rollouts: Vec<Rollout> = all.into_values().collect();
    let of_samples = work.questions.of_samples;
    let of_candidate = |some: &[Rollout]| evaluation(&some.iter().collect::<Vec<_>>(), of_samples);
    let mut evaluations: Vec<Evaluation> = rollouts
        .chunk_by(|a, b| a.item.candidate == b.item.candidate)
        .map(of_candidate)
        .collect();
    if work.racing {
        racing::settle(&mut evaluations);
    }
    Ok(Some(Evaluated {
        evaluations,
        farm: Farm::sum(&farms),
        rollouts,
    }))
}

/// Adds to `all` what it lacks of `items`. None when any rank was told to stop.
fn evaluate_items(
    ranks: &Ranks,
    objective: &mut dyn Objective,
    work: &Work,
    items: &[Item],
    all: &mut BTreeMap<Item, Rollout>,
    record: &mut dyn FnMut(&[Rollout]) -> Result<()>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Farm>> {
    let todo: Vec<Item> = items.iter().filter(|item| !all.contains_key(item)).copied().collect();
    let own = own_share(&todo, objective.scope(work.questions), ranks.rank(), ranks.size());
    let mut candidates: Vec<usize> = own.iter().map(|item| item.candidate).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let thetas: Vec<Vec<f64>> = candidates.iter().map(|&candidate| (work.theta)(candidate)).collect();
    let local = |item: &Item| Item {
        candidate: candidates
            .binary_search(&item.candidate)
            .expect("every item's candidate is there"),
        ..*item
    };
    let items: Vec<Item> = own.iter().map(local).collect();

    let clock = Instant::now();
    let mut texts: Vec<Rollout> = Vec::with_capacity(items.len());
    let mut report = |mut some: Vec<Rollout>| {
        some.iter_mut()
            .for_each(|rollout| rollout.item.candidate = candidates[rollout.item.candidate]);
        record(&some)?;
        texts.extend(some);
        Ok(())
    };
    let done = objective.evaluate(&thetas, work.questions, &items, &mut report, go_on)?;
    let sent = Share {
        digest: work.digest.into(),
        done,
        busy_s: clock.elapsed().as_secs_f64(),
        rollouts: texts.iter().map(Rollout::without_texts).collect(),
    };

    let received = ranks.all_gather(&to_json(&sent));
    let bytes = received.iter().map(Vec::len).sum();
    let shares: Vec<Share> = received
        .iter()
        .enumerate()
        .map(|(rank, bytes)| from_json(rank, bytes))
        .collect::<Result<_>>()?;
    let strangers: Vec<String> = (0..shares.len())
        .filter(|&rank| shares[rank].digest != shares[0].digest)
        .map(|rank| rank.to_string())
        .collect();
    if !strangers.is_empty() {
        // All ranks see it; one says it.
        let error = Error::mismatch(format!(
            "the strategy's state on rank {} is not that of rank 0, so their candidates are not the same; nothing of this generation was kept: do all ranks run the same essa on the same kind of processor?",
            strangers.join(", ")
        ));
        return ranks.agree(if ranks.is_root() { Err(error) } else { Ok(None) });
    }
    if shares.iter().any(|share| !share.done) {
        return Ok(None);
    }
    let busy: Vec<f64> = shares.iter().map(|share| share.busy_s).collect();
    let slowest = busy.iter().copied().fold(0.0, f64::max);
    all.extend(shares.into_iter().flat_map(|share| share.rollouts).map(keyed));
    if let Some(gathered) = ranks.to_root(&to_json(&texts)) {
        for (rank, bytes) in gathered.iter().enumerate() {
            all.extend(from_json::<Vec<Rollout>>(rank, bytes)?.into_iter().map(keyed));
        }
        // What was known came without its texts; what was judged again is no longer known.
        let again: BTreeSet<&Item> = todo.iter().collect();
        let known = work.known.iter().filter(|rollout| !again.contains(&rollout.item));
        all.extend(known.cloned().map(keyed));
    }
    Ok(Some(Farm {
        evaluation_s: slowest,
        idle: if slowest > 0.0 {
            1.0 - busy.iter().sum::<f64>() / (slowest * busy.len() as f64)
        } else {
            0.0
        },
        bytes,
    }))
}

impl Farm {
    /// One after the other.
    fn sum(farms: &[Self]) -> Self {
        let evaluation_s = farms.iter().map(|farm| farm.evaluation_s).sum();
        let waited: f64 = farms.iter().map(|farm| farm.idle * farm.evaluation_s).sum();
        Self {
            evaluation_s,
            idle: if evaluation_s > 0.0 { waited / evaluation_s } else { 0.0 },
            bytes: farms.iter().map(|farm| farm.bytes).sum(),
        }
    }
}

/// The part of `count` things in a row that falls to one of `of` ranks.
fn share(count: usize, rank: usize, of: usize) -> Range<usize> {
    count * rank / of..count * (rank + 1) / of
}

/// What falls to one of `of` ranks; questions that are judged whole are not cut.
fn own_share(todo: &[Item], scope: Scope, rank: usize, of: usize) -> &[Item] {
    match scope {
        Scope::Response => &todo[share(todo.len(), rank, of)],
        Scope::Question => {
            let questions: Vec<&[Item]> = todo.chunk_by(|a, b| a.question == b.question).collect();
            let own = share(questions.len(), rank, of);
            let start: usize = questions[..own.start].iter().map(|items| items.len()).sum();
            let len: usize = questions[own].iter().map(|items| items.len()).sum();
            &todo[start..start + len]
        }
    }
}

fn keyed(rollout: Rollout) -> (Item, Rollout) {
    (rollout.item, rollout)
}

/// The root's rollouts on every rank, without their texts.
fn from_root(ranks: &Ranks, known: &[Rollout]) -> Result<Vec<Rollout>> {
    let numbers: Vec<Rollout> = known.iter().map(Rollout::without_texts).collect();
    from_json(0, &ranks.from_root(&to_json(&numbers)))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON of text and finite numbers")
}

fn from_json<T: for<'a> Deserialize<'a>>(rank: usize, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::mismatch(format!(
            "rank {rank} sent evaluations that cannot be read: {e}; do all ranks run the same essa?"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;
    use crate::objective::sphere::Sphere;
    use crate::search::Layout;
    use crate::seed::Seed;
    use crate::task::{Split, Verdict};
    use std::path::Path;

    #[test]
    fn shares_are_even_and_complete() {
        for (count, of) in [(0, 3), (2, 4), (7, 3), (400, 3)] {
            let shares: Vec<Range<usize>> = (0..of).map(|rank| share(count, rank, of)).collect();
            assert_eq!((shares[0].start, shares[of - 1].end), (0, count));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            let sizes: Vec<usize> = shares.iter().map(Range::len).collect();
            assert!(sizes.iter().max().expect("some") - sizes.iter().min().expect("some") <= 1);
        }
    }

    /// What was known is not done again, and cannot be seen in the result.
    #[test]
    fn known_rollouts_are_taken_as_they_are() {
        let ranks = Ranks::alone();
        let questions = Questions::new(Split::Train, vec![0, 1, 2], Seed::new(0));
        let run = |known: Vec<Rollout>| {
            let work = Work {
                candidates: 2,
                theta: &|candidate| vec![candidate as f64; 2],
                questions: &questions,
                digest: "",
                known,
                racing: false,
            };
            let mut recorded = Vec::new();
            let mut record = |some: &[Rollout]| {
                recorded.extend(some.to_vec());
                Ok(())
            };
            let done = evaluate(&ranks, &mut Sphere::new(2, 1.0), work, &mut record, &mut || true);
            (done.expect("evaluations").expect("nobody says stop"), recorded)
        };
        let (fresh, recorded) = run(Vec::new());
        assert_eq!(fresh.evaluations[0].rewards, [-2.0; 3]);
        assert_eq!(recorded.len(), 6);
        let (again, rest) = run(vec![recorded[4].clone(), recorded[1].clone()]);
        assert_eq!(again.evaluations, fresh.evaluations);
        assert_eq!(again.rollouts, fresh.rollouts);
        let items: Vec<Item> = rest.iter().map(|rollout| rollout.item).collect();
        assert_eq!(items, [0, 2, 3, 5].map(|at| recorded[at].item));
    }

    /// Gives every response the place that it has among the responses to its question which came with it: what a judge that compares does.
    struct Places(Layout);

    impl Objective for Places {
        fn layout(&self) -> &Layout {
            &self.0
        }

        fn examples(&self, _: Split) -> usize {
            5
        }

        fn scope(&self, _: &Questions) -> Scope {
            Scope::Question
        }

        fn evaluate(
            &mut self,
            thetas: &[Vec<f64>],
            _: &Questions,
            items: &[Item],
            take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
            _: &mut dyn FnMut() -> bool,
        ) -> Result<bool> {
            for item in items {
                let mates = items.iter().filter(|other| other.question == item.question);
                let worse = mates
                    .filter(|other| thetas[other.candidate][0] < thetas[item.candidate][0])
                    .count();
                take(vec![Rollout {
                    item: *item,
                    prompt_id: String::new(),
                    prompt: String::new(),
                    completion: "a text".into(),
                    verdict: Verdict::new(worse as f64, []),
                    prompt_tokens: 1,
                    tokens: 1,
                    finish_reason: Finish::Stop,
                }])?;
            }
            Ok(true)
        }

        fn digest(&self) -> Result<String> {
            Ok("places".into())
        }

        fn export(&self, _: &[f64], _: &Path) -> Result<()> {
            Ok(())
        }
    }

    /// Responses that are compared are all there when they are: a question of which a part is known is asked again as a whole, and no rank gets half
    /// of one.
    #[test]
    fn questions_that_are_judged_whole_stay_whole() {
        let questions = Questions::new(Split::Train, (0..5).collect(), Seed::new(0));
        let run = |known: Vec<Rollout>| {
            let work = Work {
                candidates: 3,
                theta: &|candidate| vec![candidate as f64],
                questions: &questions,
                digest: "",
                known,
                racing: false,
            };
            let mut asked = 0;
            let mut record = |some: &[Rollout]| {
                asked += some.len();
                Ok(())
            };
            let mut places = Places(Layout::new([("x".to_string(), 1)]));
            let done = evaluate(&Ranks::alone(), &mut places, work, &mut record, &mut || true);
            (done.expect("evaluations").expect("nobody says stop"), asked)
        };
        let (fresh, asked) = run(Vec::new());
        let rewards: Vec<&[f64]> = fresh.evaluations.iter().map(|e| e.rewards.as_slice()).collect();
        assert_eq!((rewards, asked), (vec![&[0.0; 5][..], &[1.0; 5], &[2.0; 5]], 15));
        // All of question 0, and one response of question 3 with a verdict from other company.
        let mut known: Vec<Rollout> = fresh
            .rollouts
            .iter()
            .filter(|rollout| rollout.item.question == 0)
            .cloned()
            .collect();
        let mut stray = fresh.rollouts[3].clone();
        stray.verdict.reward = 9.0;
        known.push(stray);
        let (again, asked) = run(known);
        assert_eq!((again.evaluations, asked), (fresh.evaluations, 12));
        assert_eq!(again.rollouts, fresh.rollouts);

        let mut items: Vec<Item> = (0..3).flat_map(|candidate| questions.items(candidate, 0..5)).collect();
        items.sort_by_key(|item| (item.question, item.candidate));
        for of in 1..=7 {
            let shares: Vec<&[Item]> = (0..of)
                .map(|rank| own_share(&items, Scope::Question, rank, of))
                .collect();
            assert_eq!(shares.concat(), items);
            assert!(
                shares
                    .iter()
                    .all(|own| own.len() % 3 == 0 && own.chunks(3).all(|mates| mates[0].question == mates[2].question))
            );
        }
    }

    /// Candidates of fixed worth on questions of different ease: the reward is their sum.
    struct Worth {
        layout: Layout,
        ease: Vec<f64>,
        asked: Vec<Item>,
    }

    impl Objective for Worth {
        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn examples(&self, _: Split) -> usize {
            self.ease.len()
        }

        fn evaluate(
            &mut self,
            thetas: &[Vec<f64>],
            questions: &Questions,
            items: &[Item],
            take: &mut dyn FnMut(Vec<Rollout>) -> Result<()>,
            _: &mut dyn FnMut() -> bool,
        ) -> Result<bool> {
            for &item in items {
                let worth = thetas[item.candidate][0];
                let reward = worth + self.ease[questions.indices[item.question]];
                self.asked.push(Item {
                    candidate: worth as usize,
                    ..item
                });
                take(vec![Rollout {
                    item,
                    prompt_id: String::new(),
                    prompt: String::new(),
                    completion: String::new(),
                    verdict: Verdict::new(reward, []),
                    prompt_tokens: 1,
                    tokens: 1,
                    finish_reason: Finish::Stop,
                }])?;
            }
            Ok(true)
        }

        fn digest(&self) -> Result<String> {
            Ok("worth".into())
        }

        fn export(&self, _: &[f64], _: &Path) -> Result<()> {
            Ok(())
        }
    }

    /// The first questions of a race are the easy ones: who dropped out after them must not stand before those who had the
    /// hard ones to answer too. Where all answer all, a score is its own mean.
    #[test]
    fn who_dropped_out_of_a_race_is_scored_as_if_the_questions_had_been_the_same() {
        let questions = Questions::new(Split::Train, (0..8).collect(), Seed::new(0));
        let scores = |racing: bool| {
            let mut objective = Worth {
                layout: Layout::new([("x".to_string(), 1)]),
                ease: vec![40.0, 40.0, 10.0, 10.0, 0.0, 0.0, 0.0, 0.0],
                asked: Vec::new(),
            };
            let work = Work {
                candidates: 8,
                theta: &|candidate| vec![candidate as f64],
                questions: &questions,
                digest: "",
                known: Vec::new(),
                racing,
            };
            let done = evaluate(&Ranks::alone(), &mut objective, work, &mut |_| Ok(()), &mut || true);
            let done = done.expect("evaluations").expect("nobody says stop");
            let counts: Vec<usize> = done.evaluations.iter().map(|e| e.rewards.len()).collect();
            let asked = (0..8).map(|candidate| {
                objective
                    .asked
                    .iter()
                    .filter(|item| item.candidate == candidate)
                    .count()
            });
            assert_eq!(asked.collect::<Vec<_>>(), counts);
            assert_eq!(done.rollouts.len(), objective.asked.len());
            let scores: Vec<f64> = done.evaluations.iter().map(|e| e.fitness.value()).collect();
            (counts, scores)
        };
        let fair: Vec<f64> = (0..8).map(|worth| f64::from(worth) + 12.5).collect();
        assert_eq!(scores(false), (vec![8; 8], fair.clone()));
        assert_eq!(scores(true), (vec![2, 2, 4, 4, 8, 8, 8, 8], fair));
    }
}
