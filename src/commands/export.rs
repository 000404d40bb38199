//! `essa export RUN --out DIR`: a run's mean as a PEFT directory.

use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::Weights;
use crate::record::RunDirectory;
use crate::record::checkpoint::Checkpoint;
use crate::terminal;
use clap::Args;
use std::path::PathBuf;

/// Flags of `essa export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArguments {
    /// A run's directory.
    pub run: PathBuf,
    /// The newest mean instead of the best validated one.
    #[arg(long)]
    pub newest: bool,
    /// Where to write it.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes the mean that validation liked best, or the newest one.
pub fn export(arguments: &ExportArguments) -> Result<()> {
    let directory = RunDirectory::at(&arguments.run);
    let config = directory.config(&[])?;
    let theta = if arguments.newest {
        newest_mean(&directory, &config)?
    } else {
        directory.mean()?.theta
    };
    let weights = Weights::open(&config.model.path)?;
    let space = config.open_space(&weights, &|_| ())?;
    if theta.len() != space.layout().dim() {
        let what = format!(
            "the mean holds {} numbers, and the config's space has {}",
            theta.len(),
            space.layout().dim()
        );
        return Err(Error::file(directory.path(), what));
    }
    let base_model = config.model.path.to_string_lossy();
    space.write(&theta, &arguments.out, weights.config(), &base_model)?;
    terminal::print(arguments.out.display())
}

fn newest_mean(directory: &RunDirectory, config: &RunConfig) -> Result<Vec<f64>> {
    let folder = directory.checkpoints();
    let (bytes, _) = directory.newest_checkpoint()?;
    let bytes = bytes.ok_or_else(|| Error::file(&folder, "holds no checkpoint; export without --newest"))?;
    let saved = Checkpoint::from_bytes(&bytes, &folder)?;
    let strategy = config.strategy.restore(&saved.strategy);
    let strategy = strategy.map_err(|error| Error::file(&folder, error.to_string()))?;
    Ok(strategy.mean().to_vec())
}
