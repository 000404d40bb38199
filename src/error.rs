//! The errors that a user, a file or a machine can cause. Each message is one sentence that says where, what was
//! found, what was expected and, where there is one, what to do. Our own bugs panic through `expect("reason")`
//! instead; a failed judgement is no error at all but data (see [`crate::search::Fitness`]).

use std::path::{Path, PathBuf};

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: no such file, no permission, disk full.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder in question.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file is there, and its content is not what it should be.
    #[error("{}: {what}", path.display())]
    File {
        /// The file in question.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// A configuration key, a flag, or a combination of them cannot be used.
    #[error("{0}")]
    Config(String),
    /// Parts that are each valid do not fit together: an adapter and a model, a prompt and a context.
    #[error("{0}")]
    Mismatch(String),
    /// Another job has the run directory.
    #[error("{}: is in use by {owner}; wait for it, or choose another --out", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        owner: String,
    },
    /// Every rank of the job knows of this error, so nobody waits for one that has left.
    #[error(transparent)]
    Agreed(Box<Self>),
    /// Another rank of the job failed; it says why itself.
    #[error("rank {rank} failed: {what}")]
    Elsewhere {
        /// Which one.
        rank: usize,
        /// Its own words.
        what: String,
    },
    /// A run could not go on.
    #[error("{source}; {saved}")]
    Run {
        /// Why.
        source: Box<Self>,
        /// What is saved of it, and how to go on.
        saved: String,
    },
    /// libtorch refused an operation; always a bug or a machine out of memory.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// An [`Error::Io`] for `path`, made to be used with `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::File {
            path: path.as_ref().to_path_buf(),
            what: sentence(what.into()),
        }
    }

    /// An [`Error::Config`].
    pub fn config(what: impl Into<String>) -> Self {
        Self::Config(sentence(what.into()))
    }

    /// An [`Error::Mismatch`].
    pub fn mismatch(what: impl Into<String>) -> Self {
        Self::Mismatch(sentence(what.into()))
    }
}

/// `what` on one line, without control characters, and no longer than anybody reads. Errors quote files of strangers, and
/// they end in terminals and logs, where a line break forges an entry and an escape sequence is a command.
fn sentence(what: String) -> String {
    const LONGEST: usize = 2000;
    // The marks that turn the direction of writing around or end a line are no controls to Unicode.
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if what.len() <= LONGEST && what.chars().all(is_plain) {
        return what;
    }
    let start = &what[..what.floor_char_boundary(LONGEST)];
    let lines: Vec<&str> = start.lines().map(str::trim).collect();
    let mut line = String::new();
    for c in lines.join(" ").chars() {
        // What is spelled out is longer than it was.
        if line.len() >= LONGEST {
            break;
        } else if is_plain(c) {
            line.push(c);
        } else {
            line.extend(c.escape_default());
        }
    }
    if start.len() < what.len() || line.len() >= LONGEST {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_cannot_leave_its_line() {
        let text = |what: &str| Error::file("x", what).to_string();
        assert_eq!(text("key `a b` is missing"), "x: key `a b` is missing");
        assert_eq!(
            text("not a regex:\n    a(\n     ^\nerror"),
            "x: not a regex: a( ^ error"
        );
        assert_eq!(text("`\x1b[2J\u{202e}\t`"), "x: `\\u{1b}[2J\\u{202e}\\t`");
        for (c, spelled) in [("ä", "ä"), ("\x1b", "\\u{1b}")] {
            let long = text(&c.repeat(1 << 20));
            assert!(
                long.len() < 2100 && long.ends_with(&format!("{spelled}…")),
                "{} bytes",
                long.len()
            );
        }
    }
}
