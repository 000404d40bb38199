//! Who has which blocks of the key-value cache. A sequence takes blocks for its prompt and its token budget when it enters a
//! batch, and gives them back when it is finished. Whole blocks of prompts are known by what they hold, so that a prompt
//! which begins like another one of the same candidate shares that one's blocks instead of filling its own.

use crate::model::kernels::BLOCK;
use std::collections::HashMap;

/// The blocks of a cache.
#[derive(Debug)]
pub struct Blocks {
    free: Vec<u32>,
    blocks: Vec<Block>,
    known: HashMap<Prefix, u32>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    users: usize,
    /// Whether its keys and values are there, or will be before anybody attends to them.
    filled: bool,
    /// What it is known by.
    prefix: Option<Prefix>,
}

/// A prompt up to the end of a block: the block before stands for everything before it, since whoever has this one has that
/// one too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Prefix {
    candidate: usize,
    before: Option<u32>,
    tokens: [u32; BLOCK],
}

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub struct Table {
    /// In order.
    pub blocks: Vec<u32>,
    /// How many of them, from the first, another sequence fills.
    pub shared: usize,
}

impl Blocks {
    /// A cache of `count` blocks, all free.
    pub fn new(count: usize) -> Self {
        Self {
            free: (0..count as u32).rev().collect(),
            blocks: vec![Block::default(); count],
            known: HashMap::new(),
        }
    }

    /// Blocks for `tokens` tokens that begin with `prompt`, if there are enough. The prompt's last token is never shared,
    /// because somebody wants to know what comes after it.
    pub fn allot(&mut self, candidate: usize, prompt: &[u32], tokens: usize) -> Option<Table> {
        let (wanted, shareable) = (tokens.div_ceil(BLOCK), prompt.len().saturating_sub(1) / BLOCK);
        let mut table = Table::default();
        let whole = prompt.as_chunks::<BLOCK>().0;
        let prefix = |before: Option<&u32>, tokens: &[u32; BLOCK]| Prefix {
            candidate,
            before: before.copied(),
            tokens: *tokens,
        };
        for tokens in &whole[..shareable] {
            match self.known.get(&prefix(table.blocks.last(), tokens)) {
                Some(&block) => table.blocks.push(block),
                None => break,
            }
        }
        table.shared = table.blocks.len();
        if self.free.len() < wanted - table.shared {
            return None;
        }
        for index in table.shared..wanted {
            let block = self.free.pop().expect("as many as wanted are free");
            let own = &mut self.blocks[block as usize];
            *own = Block::default();
            if let Some(tokens) = whole.get(index) {
                let prefix = prefix(table.blocks.last(), tokens);
                if !self.known.contains_key(&prefix) {
                    self.known.insert(prefix.clone(), block);
                    own.prefix = Some(prefix);
                }
            }
            table.blocks.push(block);
        }
        for &block in &table.blocks {
            self.blocks[block as usize].users += 1;
        }
        Some(table)
    }

    /// Says that every token of a block is written, or will be before anybody attends to it.
    pub fn fill(&mut self, block: u32) {
        self.blocks[block as usize].filled = true;
    }

    /// Whether the blocks that a sequence shares are filled.
    pub fn is_ready(&self, table: &Table) -> bool {
        let mut shared = table.blocks[..table.shared].iter();
        shared.all(|&block| self.blocks[block as usize].filled)
    }

    /// Gives a sequence's blocks back.
    pub fn give_back(&mut self, table: &Table) {
        for &block in table.blocks.iter().rev() {
            let own = &mut self.blocks[block as usize];
            own.users -= 1;
            if own.users == 0 {
                if let Some(prefix) = own.prefix.take() {
                    self.known.remove(&prefix);
                }
                self.free.push(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use std::collections::HashSet;

    #[test]
    fn a_prompt_shares_the_whole_blocks_that_it_begins_with() {
        let mut blocks = Blocks::new(20);
        let prompt: Vec<u32> = (0..40).collect();
        let first = blocks.allot(0, &prompt, 50).expect("room");
        assert_eq!((first.blocks.len(), first.shared), (4, 0));
        let second = blocks.allot(0, &prompt, 60).expect("room");
        assert_eq!(second.shared, 2);
        assert_eq!(second.blocks[..2], first.blocks[..2]);
        assert!(!blocks.is_ready(&second) && blocks.is_ready(&first));
        first.blocks[..2].iter().for_each(|&block| blocks.fill(block));
        assert!(blocks.is_ready(&second));
        let other_candidate = blocks.allot(1, &prompt, 40).expect("room");
        assert_eq!(other_candidate.shared, 0);
        // The last token of a prompt is its own, even at the end of a block.
        let short = blocks.allot(0, &prompt[..32], 40).expect("room");
        assert_eq!(short.shared, 1);
        let mut different = prompt.clone();
        different[3] = 99;
        assert_eq!(blocks.allot(0, &different, 40).expect("room").shared, 0);
    }

    /// Keys and values hold all that came before their tokens, so the same tokens after something else are other blocks.
    #[test]
    fn a_block_is_known_by_what_came_before_it() {
        let mut blocks = Blocks::new(40);
        let [x, y, z] = [0, 1, 2].map(|token| [token; BLOCK]);
        let mut shared = |prompt: [[u32; BLOCK]; 3]| blocks.allot(0, prompt.as_flattened(), 48).expect("room").shared;
        assert_eq!(shared([x, y, z]), 0);
        assert_eq!(
            shared([y, y, z]),
            0,
            "the second block of another prompt is not the first of this"
        );
        assert_eq!(shared([y, x, z]), 1);
        assert_eq!(shared([x, x, z]), 1, "x after y is not x after x");
        assert_eq!(shared([x, y, y]), 2);
        assert_eq!(shared([y, x, x]), 2);
    }

    #[test]
    fn shared_blocks_are_free_when_their_last_user_is_gone() {
        let mut blocks = Blocks::new(6);
        let prompt: Vec<u32> = (0..33).collect();
        let first = blocks.allot(0, &prompt, 48).expect("room");
        let second = blocks.allot(0, &prompt, 48).expect("room");
        assert_eq!(blocks.free.len(), 2);
        assert!(blocks.allot(1, &prompt, 48).is_none());
        blocks.give_back(&first);
        assert_eq!(blocks.free.len(), 3);
        let third = blocks.allot(0, &prompt, 48).expect("room");
        assert_eq!(third.shared, 2);
        blocks.give_back(&second);
        blocks.give_back(&third);
        assert_eq!(blocks.free.len(), 6);
        assert!(blocks.known.is_empty());
    }

    /// Random comings and goings: a block has one filler, and nobody's own block is anybody else's own.
    #[test]
    fn no_block_has_two_owners() {
        let seed = Seed::new(4);
        let mut blocks = Blocks::new(64);
        let mut tables: Vec<Table> = Vec::new();
        for turn in 0..500 {
            let seed = seed.fold(turn);
            if seed.fold(0).uniform() < 0.5 && !tables.is_empty() {
                let index = (seed.fold(1).uniform() * tables.len() as f64) as usize;
                blocks.give_back(&tables.swap_remove(index));
            } else {
                let len = 1 + (seed.fold(2).uniform() * 70.0) as usize;
                let prompt = vec![(seed.fold(3).uniform() * 2.0) as u32; len];
                tables.extend(blocks.allot((seed.fold(4).uniform() * 2.0) as usize, &prompt, len + 20));
            }
            let mut owned = HashSet::new();
            for table in &tables {
                assert!(table.blocks[table.shared..].iter().all(|block| owned.insert(*block)));
            }
            assert!(blocks.free.iter().all(|block| !owned.contains(block)));
        }
    }

    #[test]
    fn the_last_block_can_be_taken() {
        let mut blocks = Blocks::new(3);
        let all = blocks.allot(0, &[7; 40], 48).expect("three of three");
        assert!(blocks.allot(0, &[8], 1).is_none(), "none is left");
        // Two of these are shared, so it is the third that is missing.
        assert!(blocks.allot(0, &[7; 40], 48).is_none());
        assert_eq!(blocks.allot(0, &[7; 40], 32).expect("what is there already").shared, 2);
        assert_eq!(all.blocks.len(), 3);
    }
}
