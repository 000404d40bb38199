//! What a person sees while a run goes on: a bar with the time left on a terminal, dated plain lines elsewhere (a batch
//! job's log). Both say the same, and both go to standard error.

use crate::terminal::say_dated;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The progress of one run.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    /// Generations that an earlier job did.
    before: u64,
    total: u64,
    quiet: bool,
}

impl Progress {
    /// For `total` generations; silent on ranks that are not the root.
    pub fn new(total: u64, quiet: bool) -> Self {
        let bar = (std::io::stderr().is_terminal() && !quiet).then(|| {
            let bar = ProgressBar::new(total);
            let style = "{bar:24} {pos}/{len} generations, {elapsed} gone, {eta} left  {msg}";
            bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        Self {
            bar,
            started: Instant::now(),
            before: 0,
            total,
            quiet,
        }
    }

    /// An earlier job did the first `before` generations.
    pub fn resume(&mut self, before: u64) {
        self.before = before;
        if let Some(bar) = &self.bar {
            bar.set_position(before);
        }
    }

    /// Says something that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.quiet => {}
            None => say_dated(text),
        }
    }

    /// Generation `done` is over, and this is how it went.
    pub fn generation(&self, done: u64, text: &str) {
        let elapsed = self.started.elapsed();
        let left = elapsed.mul_f64(self.total.saturating_sub(done) as f64 / (done - self.before).max(1) as f64);
        self.line(&match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                format!("generation {done:>3}  {text}")
            }
            None => format!("generation {done}/{}  {text}  {} left", self.total, duration(left)),
        });
    }

    /// The run is over.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `1h02m03s`, `2m03s`, `3s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, s) => format!("{h}h{m:02}m{s:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let said = [3, 123, 3723].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(said, ["3s", "2m03s", "1h02m03s"]);
    }
}
