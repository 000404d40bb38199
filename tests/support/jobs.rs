//! Jobs that run beside a test: what they have come to, signals to them, and their end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a job wrote to its standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Sends a signal by its name; a process that is gone is let be.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Starts a job whose words nobody needs.
pub fn quietly(command: &mut Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs")
}

/// How long anything may take before it counts as hanging. Nothing here takes a tenth of it, but the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks every few milliseconds, and fails after [`PATIENCE`].
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is() {
        assert!(asked.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a checkpoint of this generation or a later one: only the newest three are kept, so any one may come and go unseen.
pub fn wait_for_generation(run: &Path, generation: usize) {
    wait_until(&format!("generation {generation}"), || {
        newest_generation(run) >= Some(generation)
    });
}

/// The generation of the newest checkpoint.
pub fn newest_generation(run: &Path) -> Option<usize> {
    let files = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    files
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
        .max()
}

/// Waits until no process of a job in this folder lives any more: a rank outlives its launcher by a moment, and has the lock.
pub fn wait_for_silence(folder: &Path) {
    let name = folder.as_os_str().as_encoded_bytes();
    let alive = |process: fs::DirEntry| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        words.windows(name.len()).any(|part| part == name)
    };
    wait_until("an end of every rank", || {
        !fs::read_dir("/proc").expect("processes").flatten().any(alive)
    });
}

/// The exit and the words of a job that must come to its end.
pub fn ends(mut child: Child) -> Output {
    let asked = Instant::now();
    while child.try_wait().expect("a status").is_none() {
        if asked.elapsed() > PATIENCE {
            signal(child.id(), "KILL");
            panic!("the job hangs: {}", said(&child.wait_with_output().expect("an end")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("an end")
}
