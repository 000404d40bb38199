//! The processes of a run. Started by a launcher (`mpirun`, `srun`), several ranks share the work over MPI; without
//! one, or without the `mpi` feature, one process is all there is. Both twins have the same functions, so nobody else
//! asks which it is. MPI is only initialised under a launcher.

#[cfg(not(feature = "mpi"))]
mod alone;
#[cfg(feature = "mpi")]
mod over_mpi;

use crate::error::{Error, Result};
use crate::terminal;
use crate::threads::Node;
#[cfg(not(feature = "mpi"))]
use alone::World;
#[cfg(feature = "mpi")]
use over_mpi::World;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// This process among the others.
pub struct Ranks {
    world: World,
}

impl Ranks {
    /// Joins the other ranks, if a launcher started any.
    pub fn start() -> Result<Self> {
        Ok(Self {
            world: World::start(launched())?,
        })
    }

    /// This process by itself, whatever a launcher says.
    pub fn alone() -> Self {
        Self {
            world: World::start(1).expect("one process needs nothing"),
        }
    }

    /// The ranks that name the same group, by themselves. All ranks have to call it.
    pub fn split(&self, group: usize) -> Self {
        Self {
            world: self.world.split(group),
        }
    }

    /// This process' number, from 0.
    pub fn rank(&self) -> usize {
        self.world.rank()
    }

    /// How many processes.
    pub fn size(&self) -> usize {
        self.world.size()
    }

    /// Whether this is the process that writes shared files.
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// Every rank's bytes, in order of rank, on every rank.
    pub fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.world.all_gather(bytes)
    }

    /// The root's bytes on every rank.
    pub fn from_root(&self, bytes: &[u8]) -> Vec<u8> {
        let own = if self.is_root() { bytes } else { &[] };
        self.all_gather(own).swap_remove(0)
    }

    /// What the root says, on every rank: it alone looks at what may change meanwhile, such as a run's directory.
    pub fn root_says<T: Serialize + DeserializeOwned>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = if self.is_root() { look().map(Some) } else { Ok(None) };
        let own = self.agree(own)?;
        let sent = own
            .as_ref()
            .map(|said| serde_json::to_vec(said).expect("JSON of what is sent"));
        let bytes = self.from_root(&sent.unwrap_or_default());
        match own {
            Some(said) => Ok(said),
            None => serde_json::from_slice(&bytes).map_err(|e| {
                Error::mismatch(format!(
                    "the root's words cannot be read: {e}; do all ranks run the same essa?"
                ))
            }),
        }
    }

    /// Every rank's bytes, in order of rank, on the root; none elsewhere.
    pub fn to_root(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        self.world.to_root(bytes)
    }

    /// Goes on only if every rank can: an error of one becomes an error of all, so that nobody waits for a rank that
    /// has left. For steps that all ranks come to at about the same time; elsewhere an error may just be returned, and
    /// [`Ranks::supervise`] ends the others.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        if self.size() == 1 {
            return result;
        }
        let own = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let failures = self.all_gather(own.as_bytes());
        match failures.iter().position(|failure| !failure.is_empty()) {
            Some(rank) if rank == self.rank() => result.map_err(|error| Error::Agreed(Box::new(error))),
            Some(rank) => Err(Error::Elsewhere {
                rank,
                what: String::from_utf8_lossy(&failures[rank]).into_owned(),
            }),
            None => result,
        }
    }

    /// Does a job that all ranks share. If it fails or panics on one of several ranks, that rank says why and ends them
    /// all: left alone, the others would wait for it forever.
    pub fn supervise<T>(&self, job: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if self.size() == 1 {
            return job(self);
        }
        let rank = self.rank();
        let words = match catch_unwind(AssertUnwindSafe(|| job(self))) {
            Ok(Ok(done)) => return Ok(done),
            // It has said so itself, or is about to; a moment for its words to come through.
            Ok(Err(Error::Elsewhere { .. })) => {
                std::thread::sleep(Duration::from_secs(3));
                None
            }
            Ok(Err(error)) => Some(format!("essa: rank {rank}: {error}")),
            Err(_) => Some(format!(
                "essa: rank {rank} panicked, which is a bug of essa; its words stand above"
            )),
        };
        words.iter().for_each(terminal::say);
        self.world.abort(1)
    }

    /// This process among those on its machine.
    pub fn node(&self) -> Node {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let cores = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list"))
            .unwrap_or_default();
        let own = [read("/proc/sys/kernel/hostname").as_str(), cores].map(|text| text.trim().to_owned());
        let all = self.all_gather(own.join("\n").as_bytes());
        let all: Vec<String> = all
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect();
        let host = |rank: usize| all[rank].lines().next();
        let rank = self.rank();
        Node {
            rank: (0..rank).filter(|&other| host(other) == host(rank)).count(),
            sharing: all.iter().filter(|other| **other == all[rank]).count(),
        }
    }
}

/// Ranks that a launcher says it started; one when there is none.
fn launched() -> usize {
    let size = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS"]
        .into_iter()
        .find_map(size)
        .unwrap_or_else(|| {
            // `srun --mpi=pmix` names the rank but not the size of the world.
            let pmix = std::env::var_os("PMIX_RANK").is_some();
            if pmix { size("SLURM_NTASKS").unwrap_or(1) } else { 1 }
        })
}
