//! Several processes over MPI.

use crate::error::{Error, Result};
use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives};

/// The world that a launcher made, or a world of one in which MPI was never initialised.
pub struct World {
    universe: Option<Universe>,
}

impl World {
    pub fn start(launched: usize) -> Result<Self> {
        if launched <= 1 {
            return Ok(Self { universe: None });
        }
        // Only the main thread speaks MPI.
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled)
            .ok_or_else(|| Error::config("MPI was already initialised in this process"))?;
        Ok(Self {
            universe: Some(universe),
        })
    }

    pub fn rank(&self) -> usize {
        self.universe
            .as_ref()
            .map_or(0, |universe| universe.world().rank() as usize)
    }

    pub fn size(&self) -> usize {
        self.universe
            .as_ref()
            .map_or(1, |universe| universe.world().size() as usize)
    }

    pub fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(universe) = &self.universe else {
            return vec![bytes.to_vec()];
        };
        let world = universe.world();
        let mut counts = vec![0 as Count; self.size()];
        world.all_gather_into(&(bytes.len() as Count), &mut counts[..]);
        // MPI takes an empty slice's pointer for a wrong argument; every rank knows the counts, so all leave here together.
        if counts.iter().all(|&count| count == 0) {
            return vec![Vec::new(); counts.len()];
        }
        let starts: Vec<Count> = counts
            .iter()
            .scan(0, |start, count| {
                let this = *start;
                *start += count;
                Some(this)
            })
            .collect();
        let mut all = vec![0_u8; counts.iter().sum::<Count>() as usize];
        world.all_gather_varcount_into(bytes, &mut PartitionMut::new(&mut all[..], &counts[..], &starts[..]));
        let piece = |(&start, &count): (&Count, &Count)| all[start as usize..(start + count) as usize].to_vec();
        starts.iter().zip(&counts).map(piece).collect()
    }
}
