//! The journal: what has been judged since the newest checkpoint, so that a killed job loses at most the texts that were
//! being written. Every rank appends its rollouts as they end, a JSON line each, to a file of its own under `journal/`; the
//! first line says whose they are. When a run goes on, with however many ranks, the root reads what all of them left.
//! A last line that was cut short is not counted.
//!
//! It only saves time: where it cannot be written or read, the run says so once and goes on without.

use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::objective::{Item, Rollout};
use crate::task::Split;
use crate::terminal::say;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One rank's end of the journal.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    header: Header,
    rank: usize,
    /// The file of the generation at hand.
    file: Option<(u64, File)>,
    /// What was read when the run went on; on the root only.
    known: BTreeMap<(u64, Split), BTreeMap<Item, Rollout>>,
    synced: Instant,
    /// Given up.
    off: bool,
}

/// A file's first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// The format.
    journal: u32,
    /// Of the run.
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    generation: u64,
    split: Split,
    #[serde(flatten)]
    rollout: R,
}

/// How long a line may be only in the machine's memory. A killed process loses nothing of that, a machine without power
/// does.
const SYNC_EVERY: Duration = Duration::from_secs(2);

impl Journal {
    /// The journal of the run with this digest. The root reads what there is; the others are to come after it.
    pub fn open(folder: PathBuf, digest: &str, rank: usize) -> Self {
        let mut journal = Self {
            folder,
            header: Header {
                journal: 1,
                digest: digest.into(),
            },
            rank,
            file: None,
            known: BTreeMap::new(),
            synced: Instant::now(),
            off: false,
        };
        if rank == 0
            && let Err(error) = journal.gather()
        {
            journal.give_up(&error);
        }
        journal
    }

    fn give_up(&mut self, error: &Error) {
        say(format_args!(
            "essa: rank {}: {error}; going on without this rank's journal: a job that is killed then loses what was judged since the run was last saved",
            self.rank
        ));
        self.off = true;
    }

    /// Reads all ranks' files and puts one in their place.
    fn gather(&mut self) -> Result<()> {
        let files = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            files => files.map_err(Error::io(&self.folder))?,
        };
        let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
        let files: Vec<PathBuf> = files.flatten().filter(is_file).map(|entry| entry.path()).collect();
        let mut kept = vec![line(&self.header)];
        for path in &files {
            let bytes = fs::read(path).map_err(Error::io(path))?;
            for (generation, split, rollout) in read(&bytes, &self.header) {
                let known = self.known.entry((generation, split)).or_default();
                if let Entry::Vacant(entry) = known.entry(rollout.item) {
                    kept.push(line(&Line {
                        generation,
                        split,
                        rollout: &rollout,
                    }));
                    entry.insert(rollout);
                }
            }
        }
        let merged = self.folder.join("known.jsonl");
        write_atomically(&merged, &kept.concat())?;
        for path in files.iter().filter(|path| **path != merged) {
            fs::remove_file(path).map_err(Error::io(path))?;
        }
        Ok(())
    }

    /// How many rollouts an earlier job left behind of the evaluations at this generation: of its candidates, and of its mean.
    pub fn known(&self, generation: u64) -> usize {
        let of_generation = self.known.iter().filter(|((own, _), _)| *own == generation);
        of_generation.map(|(_, rollouts)| rollouts.len()).sum()
    }

    /// What is known of a generation's evaluation; on the root only.
    pub fn take(&mut self, generation: u64, split: Split) -> Vec<Rollout> {
        let known = self.known.remove(&(generation, split)).unwrap_or_default();
        known.into_values().collect()
    }

    /// Keeps rollouts.
    pub fn record(&mut self, generation: u64, split: Split, rollouts: &[Rollout]) {
        if !self.off
            && let Err(error) = self.append(generation, split, rollouts)
        {
            self.give_up(&error);
        }
    }

    fn append(&mut self, generation: u64, split: Split, rollouts: &[Rollout]) -> Result<()> {
        let path = self.path(generation);
        let failed = || Error::io(&path);
        if self.file.as_ref().is_none_or(|(of, _)| *of != generation) {
            // Not with what it lies in: a run directory that is gone was deleted.
            match fs::create_dir(&self.folder) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io(&self.folder)(e)),
                _ => {}
            }
            let mut file = File::create(&path).map_err(failed())?;
            file.write_all(&line(&self.header)).map_err(failed())?;
            self.file = Some((generation, file));
        }
        let (_, file) = self.file.as_mut().expect("it was just opened");
        let lines = rollouts.iter().map(|rollout| {
            line(&Line {
                generation,
                split,
                rollout,
            })
        });
        file.write_all(&lines.collect::<Vec<_>>().concat()).map_err(failed())?;
        if self.synced.elapsed() > SYNC_EVERY {
            file.sync_data().map_err(failed())?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Throws away this rank's lines of a generation that a checkpoint has overtaken. What cannot be removed is in nobody's way:
    /// lines are only taken up for their own generation.
    pub fn forget(&self, generation: u64) {
        let _ = fs::remove_file(self.path(generation));
    }

    /// The run is over: throws away everything that any rank has left, as far as that can be done.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("{generation}.{}.jsonl", self.rank))
    }
}

/// The lines of a file of the run that `header` names; none of another's. Ends at the first line that is not whole.
fn read(bytes: &[u8], header: &Header) -> Vec<(u64, Split, Rollout)> {
    let mut lines = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let first = lines
        .next()
        .and_then(|line| serde_json::from_slice::<Header>(line).ok());
    if first.as_ref() != Some(header) {
        return Vec::new();
    }
    lines
        .map_while(|line| serde_json::from_slice::<Line<Rollout>>(line).ok())
        .map(|line| (line.generation, line.split, line.rollout))
        .collect()
}

/// What a journal's bytes hold, whatever they are: how many lines would be taken up. For hostile files.
pub fn count_lines(bytes: &[u8], digest: &str) -> usize {
    let header = Header {
        journal: 1,
        digest: digest.into(),
    };
    read(bytes, &header).len()
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("JSON of text and finite numbers");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;
    use crate::task::Verdict;

    fn rollout(candidate: usize, question: usize) -> Rollout {
        Rollout {
            item: Item {
                candidate,
                question,
                sample: 0,
            },
            prompt_id: format!("{question}"),
            prompt: "a \"quoted\"\nprompt".into(),
            completion: "\u{2028}text".into(),
            verdict: Verdict::new(0.1 + 0.2, [("part", 1.0 / 3.0)]),
            prompt_tokens: 3,
            tokens: 2,
            finish_reason: Finish::Stop,
        }
    }

    #[test]
    fn what_two_ranks_left_is_known_to_the_next_root() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = |rank| Journal::open(folder.path().join("journal"), "digest", rank);
        let (mut zero, mut one) = (open(0), open(1));
        zero.record(3, Split::Train, &[rollout(0, 0), rollout(0, 1)]);
        one.record(3, Split::Train, &[rollout(1, 0)]);
        one.record(4, Split::Validation, &[rollout(0, 5)]);
        // A write that was cut short.
        let path = folder.path().join("journal/3.0.jsonl");
        let whole = fs::read(&path).expect("the file");
        fs::write(&path, &whole[..whole.len() - 4]).expect("a shorter file");
        for _ in 0..2 {
            let mut again = open(0);
            assert_eq!((again.known(3), again.known(4), again.known(5)), (2, 1, 0));
            assert_eq!(again.take(3, Split::Train), [rollout(0, 0), rollout(1, 0)]);
            assert_eq!(again.take(4, Split::Validation), [rollout(0, 5)]);
            assert!(again.take(4, Split::Train).is_empty());
            let left: Vec<_> = fs::read_dir(folder.path().join("journal"))
                .expect("the folder")
                .flatten()
                .collect();
            assert_eq!(left.len(), 1);
        }
        let other = Journal::open(folder.path().join("journal"), "another run", 0);
        assert_eq!(other.known(3), 0);
    }
}
