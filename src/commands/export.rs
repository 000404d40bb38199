//! `essa export RUN --out DIR`: a run's mean as a PEFT directory.

use super::evaluate::read_mean;
use super::{open_space, run_config};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::Weights;
use crate::run::checkpoint::{self, Checkpoint};
use crate::terminal;
use std::path::Path;

/// Writes the mean that validation liked best, or the newest one, to `out`.
pub fn export(run: &Path, newest: bool, out: &Path) -> Result<()> {
    let config = run_config(run)?;
    let theta = if newest {
        newest_mean(run, &config)?
    } else {
        read_mean(run)?.theta
    };
    let weights = Weights::open(&config.model.path)?;
    let space = open_space(&config, &weights, &|_| ())?;
    if theta.len() != space.layout().dim() {
        let what = format!(
            "the mean holds {} numbers, and the config's space has {}",
            theta.len(),
            space.layout().dim()
        );
        return Err(Error::file(run, what));
    }
    space.write(&theta, out, &config.model.path.to_string_lossy())?;
    terminal::print(out.display())
}

fn newest_mean(run: &Path, config: &RunConfig) -> Result<Vec<f64>> {
    let folder = run.join("checkpoints");
    let (bytes, _) = checkpoint::newest(&folder)?;
    let bytes = bytes.ok_or_else(|| Error::file(&folder, "holds no checkpoint; export without --newest"))?;
    let saved = Checkpoint::from_bytes(&bytes, &folder)?;
    let strategy = config.strategy.restore(&saved.strategy);
    let strategy = strategy.map_err(|error| Error::file(&folder, error.to_string()))?;
    Ok(strategy.mean().to_vec())
}
