//! What the start of the search says of given texts, for judges that compare a candidate with it: computed once and kept, in memory and in a
//! file of the cache. An entry is known by a hash of all that it hangs on: weights, bases and factors of the start, how the model is held in
//! memory, and the tokens of prompt and text. The file only saves time. It is appended to, whole entries in one write, so that ranks and runs may
//! share it; each entry has its own checksum, and one that is torn or damaged is computed again.

use crate::digest::hex;
use crate::error::{Error, Result};
use crate::terminal;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Hash of a setup, or of a setup and the tokens of a prompt and a text.
type Key = [u8; 32];

/// Log-probabilities of texts under the start.
#[derive(Debug, Default)]
pub struct References {
    /// What all entries have in common.
    setup: Key,
    known: HashMap<Key, Vec<f32>>,
    /// Entries that the file does not have yet, in an order that hangs on nothing but them.
    fresh: BTreeMap<Key, Vec<f32>>,
    file: Option<(PathBuf, File)>,
}

impl References {
    /// Of another setup from here on; what was known is another model's. Nothing is kept on disk unless [`References::keep_in`] is called.
    pub fn of(setup: Key) -> Self {
        Self {
            setup,
            ..Self::default()
        }
    }

    /// Reads what the folder has of this setup, and keeps there what comes. An error leaves everything in memory alone.
    pub fn keep_in(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(format!("start-{}.txt", &hex(&self.setup)[..24]));
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(Error::io(&path))?;
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        self.known.extend(bytes.split(|&byte| byte == b'\n').filter_map(entry));
        self.file = Some((path, file));
        Ok(())
    }

    /// The natural logarithms of a text's tokens, if they are known.
    pub fn get(&self, prompt_ids: &[u32], completion_ids: &[u32]) -> Option<&[f32]> {
        let found = self.known.get(&self.key(prompt_ids, completion_ids))?;
        (found.len() == completion_ids.len()).then_some(found)
    }

    /// Takes what was computed.
    pub fn learn(&mut self, prompt_ids: &[u32], completion_ids: &[u32], logarithms: Vec<f32>) {
        let key = self.key(prompt_ids, completion_ids);
        self.fresh.insert(key, logarithms.clone());
        self.known.insert(key, logarithms);
    }

    /// Writes what is new, where there is a file. One that cannot be written is said once, and no error.
    pub fn save(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        let Some((path, file)) = &mut self.file else { return };
        if fresh.is_empty() {
            return;
        }
        // A line before the first ends what a writer that was killed may have left.
        let lines: String = fresh.iter().map(|(key, own)| format!("{}\n", line(key, own))).collect();
        if let Err(error) = file.write_all(format!("\n{lines}").as_bytes()) {
            terminal::say(format_args!("essa: {}; {WITHOUT}", Error::io(&*path)(error)));
            self.file = None;
        }
    }

    fn key(&self, prompt_ids: &[u32], completion_ids: &[u32]) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.setup);
        // The length keeps a prompt's last token apart from a text's first.
        hash.update((prompt_ids.len() as u64).to_le_bytes());
        for id in prompt_ids.iter().chain(completion_ids) {
            hash.update(id.to_le_bytes());
        }
        hash.finalize().into()
    }
}

/// What follows the reason why there is no file.
pub const WITHOUT: &str = "going on without the cache, so what the start says of the examples is computed again next time (ESSA_CACHE names another folder)";

/// An entry: key, single-precision numbers as their bits, checksum of both.
fn line(key: &Key, logarithms: &[f32]) -> String {
    let numbers: Vec<u8> = logarithms.iter().flat_map(|own| own.to_le_bytes()).collect();
    let content = format!("{} {}", hex(key), hex(&numbers));
    let sum = hex(&Sha256::digest(&content));
    format!("{content} {sum}")
}

/// Reads an entry; none where it is not whole.
fn entry(line: &[u8]) -> Option<(Key, Vec<f32>)> {
    let line = str::from_utf8(line).ok()?;
    let (content, sum) = line.rsplit_once(' ')?;
    if hex(&Sha256::digest(content)) != sum {
        return None;
    }
    let (key, numbers) = content.split_once(' ')?;
    let numbers = bytes(numbers)?;
    let (numbers, []) = numbers.as_chunks::<4>() else {
        return None;
    };
    let numbers = numbers.iter().map(|&own| f32::from_le_bytes(own)).collect();
    Some((bytes(key)?.try_into().ok()?, numbers))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one process computed the next one finds, bit by bit; another model's, or another prompt's, is not found.
    #[test]
    fn what_was_computed_is_found_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let numbers = vec![-0.1, f32::NEG_INFINITY, -1e-30];
        let mut first = References::of([7; 32]);
        first.keep_in(folder.path()).expect("a folder");
        first.learn(&[1, 2], &[3, 4, 5], numbers.clone());
        first.save();
        let mut second = References::of([7; 32]);
        assert_eq!(second.get(&[1, 2], &[3, 4, 5]), None);
        second.keep_in(folder.path()).expect("a folder");
        assert_eq!(second.get(&[1, 2], &[3, 4, 5]), Some(numbers.as_slice()));
        assert_eq!(second.get(&[1, 2, 3], &[4, 5]), None);
        let mut other = References::of([8; 32]);
        other.keep_in(folder.path()).expect("a folder");
        assert_eq!(other.get(&[1, 2], &[3, 4, 5]), None);
    }

    /// Torn and damaged entries are as if they were not there, and what is written behind them is read.
    #[test]
    fn a_damaged_entry_is_computed_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = || {
            let mut references = References::of([1; 32]);
            references.keep_in(folder.path()).expect("a folder");
            references
        };
        let mut first = open();
        first.learn(&[1], &[2], vec![-2.0]);
        first.learn(&[1], &[3], vec![-3.0]);
        first.save();
        let path = first.file.as_ref().expect("a file").0.clone();
        let text = fs::read_to_string(&path).expect("a text");
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 2);
        for at in [10, 66, 70, lines[1].len() - 1] {
            let mut damaged = lines[1].as_bytes().to_vec();
            damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
            let damaged = [lines[0].as_bytes(), b"\n", &damaged, b"\n\xff\n"].concat();
            fs::write(&path, damaged).expect("a file");
            assert_eq!(open().known.len(), 1, "byte {at}");
        }
        // Torn in the middle of an entry, without a line's end.
        fs::write(&path, &text.as_bytes()[..text.len() - 20]).expect("a file");
        let mut torn = open();
        assert_eq!(torn.known.len(), 1);
        torn.learn(&[1], &[2], vec![-2.0]);
        torn.learn(&[1], &[3], vec![-3.0]);
        torn.save();
        let mended = open();
        assert_eq!(mended.get(&[1], &[2]), Some([-2.0].as_slice()));
        assert_eq!(mended.get(&[1], &[3]), Some([-3.0].as_slice()));
    }
}
