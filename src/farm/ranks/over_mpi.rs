//! Several processes over MPI.

use crate::error::{Error, Result};
use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use std::rc::Rc;
use std::time::Duration;

/// The world that a launcher made or a part of it, or a world of one in which MPI was never initialised.
pub struct World {
    mpi: Option<Mpi>,
}

struct Mpi {
    ranks: SimpleCommunicator,
    /// MPI ends when the last world does.
    universe: Rc<Universe>,
}

impl World {
    pub fn start(launched: usize) -> Result<Self> {
        if launched <= 1 {
            return Ok(Self { mpi: None });
        }
        // Only the main thread speaks MPI.
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled)
            .ok_or_else(|| Error::config("MPI was already initialised in this process"))?;
        let mpi = Mpi {
            ranks: universe.world(),
            universe: Rc::new(universe),
        };
        Ok(Self { mpi: Some(mpi) })
    }

    pub fn split(&self, group: usize) -> Self {
        let part = |mpi: &Mpi| {
            let color = Color::with_value(group as i32);
            let ranks = mpi.ranks.split_by_color(color).expect("a color was given");
            Mpi {
                ranks,
                universe: Rc::clone(&mpi.universe),
            }
        };
        Self {
            mpi: self.mpi.as_ref().map(part),
        }
    }

    pub fn rank(&self) -> usize {
        self.mpi.as_ref().map_or(0, |mpi| mpi.ranks.rank() as usize)
    }

    pub fn size(&self) -> usize {
        self.mpi.as_ref().map_or(1, |mpi| mpi.ranks.size() as usize)
    }

    pub fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(Mpi { ranks, .. }) = &self.mpi else {
            return vec![bytes.to_vec()];
        };
        wait(ranks);
        let pieces = Pieces::of(ranks, bytes);
        // MPI takes an empty slice's pointer for a wrong argument; every rank knows the counts, so all leave here together.
        let mut all = vec![0_u8; pieces.total()];
        if !all.is_empty() {
            ranks.all_gather_varcount_into(bytes, &mut pieces.partition(&mut all));
        }
        pieces.cut(&all)
    }

    pub fn to_root(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let Some(Mpi { ranks, .. }) = &self.mpi else {
            return Some(vec![bytes.to_vec()]);
        };
        let root = ranks.process_at_rank(0);
        let pieces = Pieces::of(ranks, bytes);
        if self.rank() > 0 {
            if pieces.total() > 0 {
                root.gather_varcount_into(bytes);
            }
            return None;
        }
        let mut all = vec![0_u8; pieces.total()];
        if !all.is_empty() {
            root.gather_varcount_into_root(bytes, &mut pieces.partition(&mut all));
        }
        Some(pieces.cut(&all))
    }

    /// Ends every process of the job.
    pub fn abort(&self, code: i32) -> ! {
        match &self.mpi {
            Some(mpi) => mpi.universe.world().abort(code),
            None => std::process::exit(code),
        }
    }
}

/// Waits for the other ranks asleep: MPI's own waits spin, on a core that a slower rank may need.
fn wait(ranks: &SimpleCommunicator) {
    let mut barrier = ranks.immediate_barrier();
    while let Err(pending) = barrier.test() {
        barrier = pending;
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Where every rank's bytes lie among all.
struct Pieces {
    counts: Vec<Count>,
    starts: Vec<Count>,
}

impl Pieces {
    fn of(world: &SimpleCommunicator, bytes: &[u8]) -> Self {
        let mut counts = vec![0 as Count; world.size() as usize];
        let count = Count::try_from(bytes.len()).expect("less than 2 GiB a rank and step");
        world.all_gather_into(&count, &mut counts[..]);
        let mut end: Count = 0;
        let starts = counts.iter().map(|count| {
            let start = end;
            end = end.checked_add(*count).expect("less than 2 GiB a step");
            start
        });
        let starts = starts.collect();
        Self { counts, starts }
    }

    fn total(&self) -> usize {
        self.counts.iter().map(|&count| count as usize).sum()
    }

    fn partition<'a>(&'a self, all: &'a mut [u8]) -> PartitionMut<'a, [u8], &'a [Count], &'a [Count]> {
        PartitionMut::new(all, &self.counts[..], &self.starts[..])
    }

    fn cut(&self, all: &[u8]) -> Vec<Vec<u8>> {
        let piece = |(&start, &count): (&Count, &Count)| all[start as usize..][..count as usize].to_vec();
        self.starts.iter().zip(&self.counts).map(piece).collect()
    }
}
