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

/// The weight of a draw; see [`Noise::weights`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DrawWeight {
    /// w, and of a pair the difference w − w′.
    pub odd: f64,
    /// w, and of a pair the sum w + w′.
    pub even: f64,
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

    /// What each draw counts by the weights of its members: with their signs for what is odd in z, such as the step of
    /// the mean, and without for what is even, such as z zᵀ.
    pub fn weights(&self, members: &[f64]) -> Vec<DrawWeight> {
        let mut draws = vec![DrawWeight::default(); self.draws(members.len())];
        for (member, weight) in members.iter().enumerate() {
            let (draw, sign) = self.draw_of(member);
            draws[draw].odd += sign * weight;
            draws[draw].even += weight;
        }
        draws
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
        let alone = Noise::new(Seed::new(5), 0, false);
        assert_eq!((alone.draw_of(3), alone.draws(5)), ((3, 1.0), 5));
        let pairs = [(0.25, 0.75), (-0.5, 0.5)].map(|(odd, even)| DrawWeight { odd, even });
        assert_eq!(noise.weights(&[0.5, 0.25, 0.0, 0.5]), pairs);
        let single = [0.5, 0.25].map(|w| DrawWeight { odd: w, even: w });
        assert_eq!(alone.weights(&[0.5, 0.25]), single);
    }
}
