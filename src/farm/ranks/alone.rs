//! One process: the twin without MPI.

use crate::error::{Error, Result};

/// A world of one.
pub struct World;

impl World {
    pub fn start(launched: usize) -> Result<Self> {
        if launched > 1 {
            return Err(Error::config(format!(
                "a launcher started {launched} processes, but this essa was built without MPI; build it with --features mpi"
            )));
        }
        Ok(Self)
    }

    pub fn split(&self, _group: usize) -> Self {
        Self
    }

    pub fn rank(&self) -> usize {
        0
    }

    pub fn size(&self) -> usize {
        1
    }

    pub fn to_root(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        Some(vec![bytes.to_vec()])
    }

    pub fn abort(&self, code: i32) -> ! {
        std::process::exit(code)
    }

    pub fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
    }
}
