//! `rollouts.jsonl`: every judged text, a JSON line each. It grows with the run, and when the run goes on it is cut back to where the
//! newest checkpoint knew it.

use crate::error::{Error, Result};
use crate::objective::Rollout;
use crate::task::Split;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

/// The file, open at its end.
pub struct Rollouts {
    path: PathBuf,
    file: File,
    /// How much of it belongs to the run so far.
    bytes: u64,
}

impl Rollouts {
    /// Opens the file and cuts off what came after the checkpoint.
    pub fn open(path: PathBuf, bytes: u64) -> Result<Self> {
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
