//! A run's directory. [`RunDirectory`] knows the name of everything in it, and whoever writes there has claimed it:
//!
//! ```text
//! lock               held by the job at work
//! config.toml        the resolved config, with what was decided before the first generation
//! plan.json          what was decided, why, and what that cost
//! sensitivity.csv, calibration.csv    what was measured to decide it
//! checkpoints/       all that the run needs to go on, after every generation
//! journal/           rollouts since the newest checkpoint, a file a rank
//! rollouts.jsonl     every judged text
//! metrics.csv        a row a generation
//! mean.json, adapter/    the mean that validation liked best, as numbers and as a PEFT directory
//! result.json        the row of the leaderboard, when the run has ended
//! ```

pub mod checkpoint;
pub mod journal;
pub mod lock;
pub mod mean;
pub mod metrics;
pub mod outcome;
pub mod rollouts;

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::{read_text, remove_leftovers, write_atomically};
use checkpoint::{Checkpoint, Point, State};
use journal::Journal;
use lock::{Asked, Lock};
pub use mean::Mean;
use metrics::Metrics;
pub use outcome::{Ending, Outcome, Row};
use rollouts::Rollouts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A directory that holds a run, or will.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// Of the job that has claimed it, on its root.
    lock: Option<Lock>,
    /// Folders that the claim had to make, this one first.
    made: Vec<PathBuf>,
}

/// What a directory holds, seen from a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No run.
    New,
    /// A run of this config, which was started under this resolved copy of it.
    Begun(Box<RunConfig>),
    /// A run of this config that has come to its end, and its row.
    Finished(Box<Row>),
    /// A run that another job is at work on, and which job that is.
    InUse(String),
}

impl RunDirectory {
    /// The directory at this path, untouched.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            lock: None,
            made: Vec::new(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the directory without touching it. A run of another config in it is an error that names the differences.
    pub fn look(&self, config: &RunConfig) -> Result<Standing> {
        let path = self.config_file();
        if !path.exists() {
            return Ok(Standing::New);
        }
        let begun = RunConfig::load(&path, &[])?;
        let mut asked = config.clone();
        asked.take_decisions_of(&begun);
        // What the strategy leaves to its defaults hangs on n, which is known as soon as the start was judged.
        let n = self.mean().ok().map(|mean| mean.theta.len());
        if let Some(n) = n {
            asked.strategy = asked.strategy.resolve(n)?;
        }
        let mut differences = asked.differences(&begun);
        differences.retain(|line| n.is_some() || !line.starts_with("strategy."));
        self.refuse_another(&differences)?;
        Ok(match self.row()?.filter(|row| row.status.is_over()) {
            Some(row) => Standing::Finished(Box::new(row)),
            None => Standing::Begun(Box::new(begun)),
        })
    }

    /// Takes the directory for this job, making it if need be, and looks at it again: what it says then holds until the job is through. A
    /// directory that was taken and never written to is removed again.
    pub fn claim(&mut self, config: &RunConfig) -> Result<Standing> {
        // What is finished can be said of a directory that this user may not write to.
        if let finished @ Standing::Finished(_) = self.look(config)? {
            return Ok(finished);
        }
        let missing = self
            .path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        self.made = missing.map(Path::to_path_buf).collect();
        match Lock::take(&self.lock_file())? {
            Asked::Taken(lock) => self.lock = Some(lock),
            Asked::InUse(owner) => return Ok(Standing::InUse(owner)),
        }
        self.look(config)
    }

    /// Claims the first of `<directory>-2`, `<directory>-3`, … that nobody uses.
    pub fn claim_beside(&self) -> Result<Self> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        for number in 2_u32.. {
            let path = self.path.with_file_name(format!("{name}-{number}"));
            // Made in one step, so that of two jobs that fork at once each has its own.
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(Error::io(&path)(e)),
            }
            let mut made = Self::at(&path);
            made.made = vec![path];
            if let Asked::Taken(lock) = Lock::take(&made.lock_file())? {
                made.lock = Some(lock);
                return Ok(made);
            }
        }
        unreachable!("one of four billion names is free")
    }

    /// Writes the resolved config into a new directory; in one that was begun before it has to agree with what is there.
    pub fn begin(&self, config: &RunConfig) -> Result<()> {
        let path = self.config_file();
        if !path.exists() {
            return write_atomically(&path, config.to_toml().as_bytes());
        }
        self.refuse_another(&config.differences(&RunConfig::load(&path, &[])?))?;
        remove_leftovers(&self.path);
        checkpoint::prune(&self.checkpoints())
    }

    fn refuse_another(&self, differences: &[String]) -> Result<()> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::file(
            &self.path,
            format!(
                "holds a run of another config ({}, now and then); choose another --out, or go on from its newest checkpoint in a new directory with --fork",
                differences.join("; ")
            ),
        ))
    }

    /// Says so if somebody has deleted the directory: writing would make it anew.
    pub fn still_there(&self) -> Result<()> {
        if self.lock_file().exists() {
            return Ok(());
        }
        let what = "was removed while the run was under way; start it again";
        Err(Error::file(&self.path, what))
    }

    // ---------------------------------------------------------------------------------------------- what lies in it

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// `config.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The resolved config, with some keys overridden.
    pub fn config(&self, overrides: &[String]) -> Result<RunConfig> {
        let path = self.config_file();
        if !path.exists() {
            let what = "is not a run directory: it holds no config.toml";
            return Err(Error::file(&self.path, what));
        }
        RunConfig::load(&path, overrides)
    }

    /// What was decided before the first generation; none where nothing was written yet.
    pub fn plan<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let path = self.path.join("plan.json");
        if path.exists() {
            read_json(&path, "a plan").map(Some)
        } else {
            Ok(None)
        }
    }

    /// Keeps what was decided.
    pub fn write_plan(&self, plan: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec_pretty(plan).expect("JSON of text and numbers");
        write_atomically(&self.path.join("plan.json"), &json)
    }

    /// Keeps `<name>.csv`, a table that something was decided by.
    pub fn write_table(&self, name: &str, rows: &[impl Serialize]) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        rows.iter()
            .for_each(|row| writer.serialize(row).expect("a flat row in memory"));
        let bytes = writer.into_inner().expect("a writer to memory");
        write_atomically(&self.path.join(format!("{name}.csv")), &bytes)
    }

    /// The newest checkpoint that is whole, as its bytes, and what is to be said about newer ones that are not.
    pub fn newest_checkpoint(&self) -> Result<(Option<Vec<u8>>, Vec<String>)> {
        checkpoint::newest(&self.checkpoints())
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The journal of the run with this digest, of one rank.
    pub fn journal(&self, digest: &str, rank: usize) -> Journal {
        Journal::open(self.path.join("journal"), digest, rank)
    }

    /// The rows of `metrics.csv`.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self.path.join("metrics.csv"))
    }

    /// `rollouts.jsonl`, cut back to so many bytes.
    pub fn rollouts(&self, bytes: u64) -> Result<Rollouts> {
        Rollouts::open(self.path.join("rollouts.jsonl"), bytes)
    }

    /// `adapter/`.
    pub fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    /// `front/`: an adapter for each point of the front.
    pub fn front(&self) -> PathBuf {
        self.path.join("front")
    }

    /// Keeps `front.csv`: the points of the front, with their terms by name.
    pub fn write_front(&self, names: &[String], front: &[Point]) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let head = ["point", "generation"].map(String::from);
        writer.write_record(head.iter().chain(names)).expect("a row in memory");
        for (at, point) in front.iter().enumerate() {
            let numbers = point.terms.iter().map(f64::to_string);
            let row = [at.to_string(), point.generation.to_string()]
                .into_iter()
                .chain(numbers);
            writer.write_record(row).expect("a row in memory");
        }
        let bytes = writer.into_inner().expect("a writer to memory");
        write_atomically(&self.path.join("front.csv"), &bytes)
    }

    /// The mean that the run keeps.
    pub fn mean(&self) -> Result<Mean> {
        read_json(&self.path.join("mean.json"), "a mean")
    }

    /// Keeps a mean.
    pub fn write_mean(&self, mean: &Mean) -> Result<()> {
        let json = serde_json::to_vec(mean).expect("JSON of numbers");
        write_atomically(&self.path.join("mean.json"), &json)
    }

    /// Whether there is a row, of whatever.
    pub fn has_row(&self) -> bool {
        self.row_file().exists()
    }

    fn row_file(&self) -> PathBuf {
        self.path.join("result.json")
    }

    /// The run's row; none where the run has not ended.
    pub fn row(&self) -> Result<Option<Row>> {
        let path = self.row_file();
        if !path.exists() {
            return Ok(None);
        }
        let mut json: Value = read_json(&path, "the result of a run")?;
        // Until 2026-11-27 the reason stood behind the status.
        if let Some((status, reason)) = json["status"].as_str().and_then(|text| text.split_once(": ")) {
            let (status, reason) = (Value::from(status), Value::from(reason));
            json["status"] = status;
            json["reason"] = reason;
        }
        let row: Row =
            serde_json::from_value(json).map_err(|e| Error::file(&path, format!("not the result of a run: {e}")))?;
        // Where it lies now, wherever it was made.
        Ok(Some(Row {
            directory: self.path.display().to_string(),
            ..row
        }))
    }

    /// Keeps the run's row.
    pub fn write_row(&self, row: &Row) -> Result<()> {
        let json = serde_json::to_vec(row).expect("JSON of text and numbers");
        write_atomically(&self.row_file(), &json)
    }

    /// Starts a run with the newest checkpoint of another, under a config that may differ from that one's in everything but what the
    /// checkpoint's numbers hang on: the space, whose dimension is `n`, and the strategy. `digest` is of the new run.
    pub fn fork_from(&self, from: &Self, config: &RunConfig, n: usize, digest: String) -> Result<()> {
        let (bytes, _) = from.newest_checkpoint()?;
        let bytes =
            bytes.ok_or_else(|| Error::file(&from.path, "holds no checkpoint to fork from; start a run instead"))?;
        let saved = Checkpoint::from_bytes(&bytes, &from.path)?;
        let saved_n = saved.state.best.theta.len();
        if n != saved_n {
            let what = format!(
                "was a search of {saved_n} numbers, and the config's space has {n}; a fork goes on in the same space"
            );
            return Err(Error::file(&from.path, what));
        }
        config.strategy.restore(&saved.strategy)?;
        let stop = saved.state.stop.filter(|_| saved.generation >= config.run.generations);
        let forked = Checkpoint {
            digest,
            rollouts_bytes: 0,
            state: State { stop, ..saved.state },
            ..saved
        };
        forked.write(&self.checkpoints())?;
        Ok(())
    }
}

impl Drop for RunDirectory {
    /// Of a directory that was claimed and holds no more than its lock, nothing stays that the claim has made.
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let inside = fs::read_dir(&self.path).into_iter().flatten().flatten();
        if inside.into_iter().all(|entry| entry.file_name() == "lock") {
            let _ = fs::remove_file(self.lock_file());
            // A folder that holds anything else stays, as the system sees to.
            self.made.iter().for_each(|folder| _ = fs::remove_dir(folder));
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    serde_json::from_str(&read_text(path)?).map_err(|e| Error::file(path, format!("not {what}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sweep that they are of goes on, and the leaderboard shows them.
    #[test]
    fn a_row_whose_reason_stood_behind_its_status_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = RunDirectory::at(folder.path());
        for (status, outcome, reason) in [
            ("finished", Outcome::Finished, ""),
            ("stopped: it has converged", Outcome::Stopped, "it has converged"),
            ("failed: m: no such file", Outcome::Failed, "m: no such file"),
        ] {
            directory.write_row(&Row::default()).expect("a row");
            let text = read_text(&directory.row_file()).expect("the row");
            let mut json: Value = serde_json::from_str(&text).expect("JSON");
            json.as_object_mut().expect("a row").remove("reason");
            json["status"] = status.into();
            fs::write(directory.row_file(), json.to_string()).expect("a file");
            let row = directory.row().expect("a row").expect("it is there");
            assert_eq!((row.status, row.reason.as_str()), (outcome, reason));
        }
        fs::write(directory.row_file(), "[1]").expect("a file");
        assert!(directory.row().is_err());
    }
}
