//! Which noise a member is made of. Every strategy takes it from the same place in the tree of streams,
//! `seed/noise#generation#draw`, so a member can be made, and after its evaluation made again, by anybody who knows its
//! number; nothing of size λ × n is kept or sent. Without mirroring a draw is a member. In antithetic pairs (mirrored
//! sampling: Brockhoff et al., PPSN 2010; Salimans et al., arXiv 1703.03864, section 2.1) members 2i and 2i + 1 are
//! draw i with the signs + and −.

use crate::seed::Seed;

/// Where the noise of one generation's members comes from.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// The node of the generation.
    stream: Seed,
    /// Whether members come in pairs.
    antithetic: bool,
}

impl Noise {
    /// The noise of generation `generation` of the strategy whose node in the tree is `seed`.
    pub fn new(seed: Seed, generation: u64, antithetic: bool) -> Self {
        Self {
            stream: seed.named("noise").fold(generation),
            antithetic,
        }
    }

    /// The draw of which `member` is made, and with which sign.
    pub fn draw_of(&self, member: usize) -> (usize, f64) {
        match (self.antithetic, member % 2) {
            (false, _) => (member, 1.0),
            (true, 0) => (member / 2, 1.0),
            (true, _) => (member / 2, -1.0),
        }
    }

    /// How many draws make `population` members.
    pub fn draws(&self, population: usize) -> usize {
        if self.antithetic {
            population.div_ceil(2)
        } else {
            population
        }
    }

    /// What each draw counts for when its members have these weights: for a pair the difference of the two.
    pub fn net(&self, weights: &[f64]) -> Vec<f64> {
        let mut net = vec![0.0; self.draws(weights.len())];
        for (member, weight) in weights.iter().enumerate() {
            let (draw, sign) = self.draw_of(member);
            net[draw] += sign * weight;
        }
        net
    }

    /// Draw number `draw`: z ∼ N(0, I), `[n]`.
    pub fn normals(&self, draw: usize, n: usize) -> Vec<f64> {
        self.stream.fold(draw as u64).normals(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_draw_is_fixed() {
        let seed = Seed::new(5);
        let noise = Noise::new(seed, 3, false);
        assert_eq!(noise.normals(7, 4), seed.named("noise").fold(3).fold(7).normals(4));
    }

    #[test]
    fn pairs_share_a_draw_with_opposite_signs() {
        let noise = Noise::new(Seed::new(5), 0, true);
        let members: Vec<_> = (0..5).map(|member| noise.draw_of(member)).collect();
        assert_eq!(members, [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, 1.0)]);
        assert_eq!((noise.draws(4), noise.draws(5)), (2, 3));
        assert_eq!(noise.net(&[1.0, 0.25, 0.0, 0.5]), [0.75, -0.5]);
        let alone = Noise::new(Seed::new(5), 0, false);
        assert_eq!((alone.draw_of(3), alone.draws(5)), ((3, 1.0), 5));
    }
}
