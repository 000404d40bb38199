//! How many threads, and how they wait. Two pools take turns on the same cores: libtorch's (OpenMP) for the matrix
//! products, rayon's for everything between them. OpenMP's threads, left alone, spin for milliseconds after each
//! product, on the core that rayon's next task needs; told to wait passively, a decode step was measured to be 20 times
//! faster on a busy machine of two cores. The policy is read from the environment when the library is loaded, which is
//! before `main`.

use crate::terminal;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variable that tells OpenMP's threads how to wait.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// Starts this program again, in this process, with threads that wait passively, unless the user has chosen. To be called
/// in `main` before any work. Where that cannot be done (no `/proc`, a binary that was replaced) the work is slower, and goes on.
pub fn wait_passively() {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return;
    }
    let start_again = |program| {
        let mut command = Command::new(program);
        // Comes back only if it failed.
        command
            .args(std::env::args_os().skip(1))
            .env(WAIT_POLICY, "passive")
            .exec()
    };
    let error = std::env::current_exe().map_or_else(|error| error, start_again);
    terminal::say(format_args!(
        "essa: cannot start itself again ({error}); set {WAIT_POLICY}=passive, without which it may run slower"
    ));
}

/// Sets the number of threads of both pools: `threads`, or if that is 0, what a launcher gives, or this process' part of the
/// cores that it may run on.
pub fn set(threads: usize, node: Node) {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()?
            .parse::<usize>()
            .ok()
            .filter(|&threads| threads > 0)
    };
    let given = Some(threads).filter(|&threads| threads > 0);
    let threads = given
        .or_else(|| variable("SLURM_CPUS_PER_TASK"))
        .or_else(|| variable("OMP_NUM_THREADS"))
        .or_else(|| Some(usize::from(std::thread::available_parallelism().ok()?) / node.sharing))
        .unwrap_or(1)
        .max(1);
    tch::set_num_threads(threads as i32);
    // A second command in one process (a test) finds the pool made, which is all that matters.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}

/// A process among those on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number there, from 0.
    pub rank: usize,
    /// How many processes, itself included, may run on the same cores as it.
    pub sharing: usize,
}

impl Node {
    /// The only one.
    pub const ALONE: Self = Self { rank: 0, sharing: 1 };
}
