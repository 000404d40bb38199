//! Checkpoints: everything that a run needs to go on, after every generation, in `checkpoints/<generation>.json`. A
//! checkpoint is written last and whole, so whatever else was written before it belongs to it or is done again. Its last
//! line is the SHA-256 of the rest; one that is damaged is passed over for the one before. The newest three are kept.
//!
//! It holds no clock: of two runs that did the same, one killed and resumed on other ranks, the checkpoints are equal byte
//! for byte.

use super::metrics;
use super::{Ending, Mean};
use crate::digest::sha256;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::search::Fitness;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The format that this version writes and reads.
pub const FORMAT: u32 = 2;

/// Checkpoints that are kept.
const KEPT: usize = 3;

/// A run between two generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// [`FORMAT`].
    pub format: u32,
    /// What decides the run: its config, model, bases and examples.
    pub digest: String,
    /// Generations told.
    pub generation: u64,
    /// Bytes of `rollouts.jsonl` that belong to it.
    pub rollouts_bytes: u64,
    /// What the run has come to, apart from its strategy.
    pub state: State,
    /// Rows of `metrics.csv`, without their clocks.
    pub metrics: Vec<metrics::Row>,
    /// The strategy's whole state.
    pub strategy: Value,
}

/// What a run has come to, apart from its strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Why it ends here, if it does.
    pub stop: Option<Ending>,
    /// The mean that the validation split liked best.
    pub best: Mean,
    /// The start's score on the validation split.
    pub start_validation: Fitness,
    /// Validations in a row that were clearly worse than the best.
    pub worse: u32,
    /// Prompts of the coming generation.
    pub prompts: usize,
    /// Training examples that were asked so far.
    pub position: usize,
    /// Tokens read and written, evaluations of the mean included.
    pub num_tokens: usize,
    /// Rollouts that judged candidates.
    pub rollouts: usize,
    /// Candidates that no other one beat in all terms of `reward.order`, where the selection is by Pareto rank.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<Point>,
}

/// A candidate of the front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// When it was judged.
    pub generation: u64,
    /// Its search vector, `[n]`.
    pub theta: Vec<f64>,
    /// Its terms, in the order of `reward.order`, on the prompts of its generation.
    pub terms: Vec<f64>,
}

impl Checkpoint {
    /// Writes it under `folder` and removes what is too old to be kept, as far as that can be done.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let bytes = sealed(serde_json::to_vec(self).expect("JSON of text and finite numbers"));
        let path = folder.join(format!("{:06}.json", self.generation));
        write_atomically(&path, &bytes)?;
        prune(folder)?;
        Ok(path)
    }

    /// Reads what [`Checkpoint::write`] wrote; `place` names it in errors.
    pub fn from_bytes(bytes: &[u8], place: &Path) -> Result<Self> {
        let wrong = |what: &str| Error::file(place, format!("is not a whole checkpoint: {what}"));
        let sum_start = bytes.len().checked_sub(66).ok_or_else(|| wrong("it is too short"))?;
        let (body, sum) = bytes.split_at(sum_start);
        if sum != format!("\n{}\n", sha256(body)).as_bytes() {
            return Err(wrong("its last line is not the SHA-256 of the rest"));
        }
        let value: Value = serde_json::from_slice(body).map_err(|e| wrong(&e.to_string()))?;
        if value["format"] != FORMAT {
            return Err(Error::file(
                place,
                format!(
                    "is a checkpoint of format {}, and this essa reads format {FORMAT}; go on with the essa that wrote it",
                    value["format"]
                ),
            ));
        }
        serde_json::from_value(value).map_err(|e| wrong(&e.to_string()))
    }
}

/// The bytes of a file whose last line is the sum of the rest.
pub fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let sum = sha256(&body);
    body.extend(format!("\n{sum}\n").bytes());
    body
}

/// The newest checkpoint in a folder that is whole, as it lies there, and what is to be said about newer ones that are not.
pub fn newest(folder: &Path) -> Result<(Option<Vec<u8>>, Vec<String>)> {
    let mut notes = Vec::new();
    for (_, path) in list(folder)?.into_iter().rev() {
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        match Checkpoint::from_bytes(&bytes, &path) {
            Ok(_) => return Ok((Some(bytes), notes)),
            Err(error) => notes.push(format!("{error}; falling back to the one before")),
        }
    }
    Ok((None, notes))
}

/// Removes what is too old to be kept, as far as that can be done. A job that is killed after it has written a checkpoint may leave that to the
/// next one.
pub fn prune(folder: &Path) -> Result<()> {
    for (_, old) in list(folder)?.into_iter().rev().skip(KEPT) {
        let _ = fs::remove_file(&old);
    }
    Ok(())
}

/// Checkpoints in a folder, oldest first.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(folder))?,
    };
    let number = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok();
    let mut all: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((number(&entry.path())?, entry.path())))
        .collect();
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Fitness;

    fn checkpoint(generation: u64) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            digest: "d".into(),
            generation,
            state: State {
                stop: (generation == 4).then(|| Ending::new(crate::record::Outcome::Stopped, "flat")),
                best: Mean {
                    generation,
                    theta: vec![0.1, -1.0 / 3.0],
                    validation: Fitness::new(0.5),
                    rewards: vec![1.0, 0.0],
                },
                start_validation: Fitness::new(0.25),
                worse: 1,
                prompts: 4,
                position: 8,
                num_tokens: 7,
                rollouts: 3,
                front: Vec::new(),
            },
            rollouts_bytes: 11,
            metrics: vec![metrics::Row::default()],
            strategy: serde_json::json!({"mean": [1.5]}),
        }
    }

    #[test]
    fn the_newest_whole_one_is_found_and_three_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for generation in 0..5 {
            checkpoint(generation).write(folder.path()).expect("a checkpoint");
        }
        let numbers: Vec<u64> = list(folder.path()).expect("a list").iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [2, 3, 4]);
        // Killed between writing a checkpoint and removing the oldest.
        fs::copy(folder.path().join("000004.json"), folder.path().join("000001.json")).expect("a copy");
        prune(folder.path()).expect("a folder");
        assert!(!folder.path().join("000001.json").exists());
        let read = |notes: usize| {
            let (bytes, said) = newest(folder.path()).expect("a folder");
            assert_eq!(said.len(), notes, "{said:?}");
            bytes.map(|bytes| Checkpoint::from_bytes(&bytes, folder.path()).expect("it is whole"))
        };
        assert_eq!(read(0), Some(checkpoint(4)));
        let damage = |generation: u64, damage: &dyn Fn(&mut Vec<u8>)| {
            let path = folder.path().join(format!("{generation:06}.json"));
            let mut bytes = fs::read(&path).expect("a file");
            damage(&mut bytes);
            fs::write(&path, bytes).expect("a file");
        };
        damage(4, &|bytes| bytes.truncate(bytes.len() / 2));
        assert_eq!(read(1), Some(checkpoint(3)));
        damage(3, &|bytes| bytes[10] ^= 1);
        assert_eq!(read(2), Some(checkpoint(2)));
        damage(2, &|bytes| bytes.clear());
        assert_eq!(read(3), None);
    }
}
