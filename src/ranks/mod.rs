//! The processes of a run. Started by a launcher (`mpirun`, `srun`), several ranks share the work over MPI; without
//! one, or without the `mpi` feature, one process is all there is. Both twins have the same functions, so nobody else
//! asks which it is. MPI is only initialised under a launcher.

#[cfg(not(feature = "mpi"))]
mod alone;
#[cfg(feature = "mpi")]
mod over_mpi;

use crate::error::{Error, Result};
#[cfg(not(feature = "mpi"))]
use alone::World;
#[cfg(feature = "mpi")]
use over_mpi::World;

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

    /// Goes on only if every rank can: an error of one becomes an error of all, so that nobody waits for a rank that
    /// has left.
    pub fn agree<T>(&self, result: Result<T>) -> Result<T> {
        if self.size() == 1 {
            return result;
        }
        let own = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let failures = self.all_gather(own.as_bytes());
        let first = failures.iter().position(|failure| !failure.is_empty());
        match (first, result) {
            (Some(rank), Ok(_)) => Err(Error::mismatch(format!(
                "rank {rank} failed: {}",
                String::from_utf8_lossy(&failures[rank])
            ))),
            (_, result) => result,
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
