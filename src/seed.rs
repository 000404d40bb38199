//! Every random number of a run has an address: a path in a tree of streams that starts at the run's seed, such as
//! `seed.named("noise").fold(generation).fold(member)`. Nothing is stored and nothing depends on the order in which
//! numbers are drawn, so each rank makes only what it needs and a resumed run draws what an undisturbed one draws.
//! A node of the tree is a SHA-256 of its path, so neighbouring seeds, generations and members share nothing
//! (`seed + iteration`, as peers do it, lets run 42 at generation 1 draw what run 43 draws at generation 0).
//! This is the only file that makes random numbers; libtorch's generator is never used.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A node in the tree of random streams. It serialises as its 32 bytes, so that a checkpoint can keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root of the tree of one run.
    pub fn new(seed: u64) -> Self {
        Self(Sha256::digest(seed.to_le_bytes()).into())
    }

    /// The child at a numbered branch: a generation, a member, a row.
    pub fn fold(self, branch: u64) -> Self {
        self.child(b"#", &branch.to_le_bytes())
    }

    /// The child at a named branch: what the numbers are for.
    pub fn named(self, branch: &str) -> Self {
        self.child(b"/", branch.as_bytes())
    }

    fn child(self, kind: &[u8], branch: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(kind)
            .chain_update(branch);
        Self(hash.finalize().into())
    }

    /// The generator at this node: ChaCha8, whose output is documented and the same on every machine.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.0)
    }

    /// `n` independent draws from N(0, 1).
    pub fn normals(self, n: usize) -> Vec<f64> {
        let mut rng = self.rng();
        (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// One draw from [0, 1).
    pub fn uniform(self) -> f64 {
        self.rng().random()
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        let mut rng = self.rng();
        for last in (1..items.len()).rev() {
            items.swap(last, rng.random_range(0..=last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_its_address_alone() {
        let seed = Seed::new(7).named("noise").fold(3);
        let first = seed.fold(5).normals(4);
        let _ = seed.fold(4).normals(100);
        assert_eq!(first, Seed::new(7).named("noise").fold(3).fold(5).normals(4));
    }

    /// The streams are an interface: a change of a dependency that moved them would change every recorded run.
    #[test]
    fn the_streams_stay_what_they_are() {
        let normals = Seed::new(1).named("noise").normals(3);
        assert_eq!(normals, PINNED_NORMALS, "first normals of seed 1");
    }

    const PINNED_NORMALS: [f64; 3] = [0.22356995308333624, 0.5842808097500848, 1.3713522825870361];

    #[test]
    fn neighbouring_addresses_share_no_value() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..6 {
            for generation in 0..6 {
                for member in 0..6 {
                    for z in Seed::new(seed).fold(generation).fold(member).normals(8) {
                        assert!(
                            seen.insert(z.to_bits()),
                            "seed {seed} generation {generation} member {member}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Seed::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    /// As Python's hashlib and a ChaCha8 written out of its definition make them: the first 53 bits as a fraction.
    #[test]
    fn uniform_numbers_are_the_first_bits_of_chacha() {
        let drawn = [0, 1, 2].map(|branch| Seed::new(1).named("sample").fold(branch).uniform());
        assert_eq!(drawn, [0.4830110140744278, 0.6537091834968248, 0.8316338326278877]);
    }
}
