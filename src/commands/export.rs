//! `essa export RUN --out DIR`: a run's mean as a PEFT directory.

use super::evaluate::read_mean;
use super::{open_space, run_config};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::model::Weights;
use std::path::Path;

/// Writes the mean that validation liked best, or the newest one, to `out`.
pub fn export(run: &Path, newest: bool, out: &Path) -> Result<()> {
    let config = run_config(run)?;
    let theta = if newest {
        newest_mean(run)?
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
    space.export(&theta).write(out, &config.model.path.to_string_lossy())?;
    println!("{}", out.display());
    Ok(())
}

fn newest_mean(run: &Path) -> Result<Vec<f64>> {
    let path = run.join("state.json");
    let error = |what: String| Error::file(&path, what);
    let state: serde_json::Value =
        serde_json::from_str(&read_text(&path)?).map_err(|e| error(format!("not valid JSON: {e}")))?;
    let mean = state
        .get("state")
        .and_then(|state| state.get("mean"))
        .cloned()
        .unwrap_or_default();
    serde_json::from_value(mean).map_err(|_| error("holds no mean".into()))
}
