//! A run's directory: whose it is, which config it belongs to, and its file of judged texts, which grows with the run and is
//! cut back to where the newest checkpoint knew it.

use super::checkpoint::{self, Checkpoint, State};
use super::leaderboard::Row;
use super::lock::Lock;
use super::{Mean, run_digest};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::{read_text, remove_leftovers, write_atomically};
use crate::objective::{Objective, Rollout};
use crate::ranks::Ranks;
use crate::task::Split;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Makes the directory and locks it, and writes the config into a new one. The root's work.
pub(super) fn prepare(config: &RunConfig, directory: &Path, ranks: &Ranks) -> Result<Option<Lock>> {
    if !ranks.is_root() {
        return Ok(None);
    }
    let lock = Lock::take(directory)?;
    let path = directory.join("config.toml");
    if !path.exists() {
        write_atomically(&path, config.to_toml().as_bytes())?;
        return Ok(Some(lock));
    }
    another_config(directory, &config.differences(&RunConfig::load(&path, &[])?))?;
    remove_leftovers(directory);
    Ok(Some(lock))
}

/// What a directory holds, seen from a config.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// No run.
    New,
    /// A run of this config, which was started under this resolved copy of it.
    Begun(Box<RunConfig>),
    /// A run of this config that has come to its end, and its row.
    Finished(Box<Row>),
}

/// Looks at a directory without touching it, and before a model is loaded. A run of another config in it is an error that
/// names the differences.
pub fn standing(directory: &Path, config: &RunConfig) -> Result<Standing> {
    let path = directory.join("config.toml");
    if !path.exists() {
        return Ok(Standing::New);
    }
    let begun = RunConfig::load(&path, &[])?;
    let mut asked = config.clone();
    asked.take_decisions_of(&begun);
    // What the strategy leaves to its defaults hangs on n.
    let n = dimension(directory);
    if let Some(n) = n {
        asked.strategy = asked.strategy.resolve(n)?;
    }
    let mut differences = asked.differences(&begun);
    differences.retain(|line| n.is_some() || !line.starts_with("strategy."));
    another_config(directory, &differences)?;
    let row = directory.join("result.json").exists().then(|| Row::read(directory));
    Ok(match row.transpose()?.filter(Row::is_finished) {
        Some(row) => Standing::Finished(Box::new(row)),
        None => Standing::Begun(Box::new(begun)),
    })
}

/// n of the run in a directory, as soon as its start was judged.
fn dimension(directory: &Path) -> Option<usize> {
    let text = read_text(&directory.join("mean.json")).ok()?;
    let mean: Mean = serde_json::from_str(&text).ok()?;
    Some(mean.theta.len())
}

fn another_config(directory: &Path, differences: &[String]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::file(
        directory,
        format!(
            "holds a run of another config ({}, now and then); choose another --out, or go on from its newest checkpoint in a new directory with --fork",
            differences.join("; ")
        ),
    ))
}

/// Starts a run with the newest checkpoint of another, under a config that may differ from its own in everything but what the
/// checkpoint's numbers hang on: the space, and the strategy.
pub fn fork(from: &Path, to: &Path, config: &RunConfig, objective: &dyn Objective) -> Result<()> {
    let (bytes, _) = checkpoint::newest(&from.join("checkpoints"))?;
    let bytes = bytes.ok_or_else(|| Error::file(from, "holds no checkpoint to fork from; start a run instead"))?;
    let saved = Checkpoint::from_bytes(&bytes, from)?;
    let (n, saved_n) = (objective.layout().dim(), saved.state.best.theta.len());
    if n != saved_n {
        return Err(Error::file(
            from,
            format!(
                "was a search of {saved_n} numbers, and the config's space has {n}; a fork goes on in the same space"
            ),
        ));
    }
    config.strategy.restore(&saved.strategy)?;
    let stop = saved.state.stop.filter(|_| saved.generation >= config.run.generations);
    let forked = Checkpoint {
        digest: run_digest(config, objective)?,
        rollouts_bytes: 0,
        state: State { stop, ..saved.state },
        ..saved
    };
    forked.write(&to.join("checkpoints"))?;
    Ok(())
}

/// Says so if somebody has deleted the directory: writing would make it anew.
pub(super) fn still_there(directory: &Path) -> Result<()> {
    if directory.join("lock").exists() {
        return Ok(());
    }
    Err(Error::file(
        directory,
        "was removed while the run was under way; start it again",
    ))
}

/// `rollouts.jsonl`.
pub(super) struct Texts {
    path: PathBuf,
    file: File,
    /// How much of it belongs to the run so far.
    bytes: u64,
}

impl Texts {
    /// Opens the file and cuts off what came after the checkpoint.
    pub fn open(directory: &Path, bytes: u64) -> Result<Self> {
        let path = directory.join("rollouts.jsonl");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let cut = opened.and_then(|mut file| {
            let bytes = bytes.min(file.metadata()?.len());
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, bytes))
        });
        let (file, bytes) = cut.map_err(Error::io(&path))?;
        Ok(Self { path, file, bytes })
    }

    /// Adds a line for each rollout.
    pub fn write(&mut self, generation: u64, split: Split, rollouts: &[Rollout]) -> Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            generation: u64,
            split: Split,
            #[serde(flatten)]
            rollout: &'a Rollout,
        }
        let mut lines = Vec::new();
        for rollout in rollouts {
            let line = Line {
                generation,
                split,
                rollout,
            };
            serde_json::to_writer(&mut lines, &line).expect("JSON of text and numbers");
            lines.push(b'\n');
        }
        self.bytes += lines.len() as u64;
        self.file.write_all(&lines).map_err(Error::io(&self.path))
    }

    /// Waits until it is on the disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }

    /// How much of it belongs to the run so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
