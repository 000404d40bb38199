//! A run's directory: whose it is, which config it belongs to, and its file of judged texts, which grows with the run and is
//! cut back to where the newest checkpoint knew it.

use super::checkpoint::{self, Checkpoint, State};
use super::lock::Lock;
use super::run_digest;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::{remove_leftovers, write_atomically};
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
    let differences = config.differences(&RunConfig::load(&path, &[])?);
    if differences.is_empty() {
        remove_leftovers(directory)?;
        return Ok(Some(lock));
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
