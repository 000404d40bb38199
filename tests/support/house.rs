//! A folder with a tiny model and a config, runs of the binary in it on any number of ranks, and what such a run leaves but
//! for its clocks.

use crate::support::{Missing, skip};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A folder with a model and a config, and the runs that are made of them.
pub struct House {
    pub folder: tempfile::TempDir,
    /// `key=value` for every run.
    set: Vec<String>,
}

pub const CONFIG: &str = "
name = 'tiny'
[model]
path = 'tiny.gguf'
[space]
kind = 'spectral'
rank = 2
[strategy]
kind = 'cma-es'
population = 6
sigma = 0.3
[task]
kind = 'instructions'
kinds = ['one_word']
partial_credit = 0.9
validation_size = 6
test_size = 8
[generation]
max_new_tokens = 24
[run]
generations = 6
prompts = 5
validate_every = 2
";

impl House {
    pub fn new(model: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("tiny.gguf"), model).expect("a model");
        fs::write(folder.path().join("run.toml"), CONFIG).expect("a config");
        Self {
            folder,
            set: Vec::new(),
        }
    }

    pub fn with(mut self, set: &[&str]) -> Self {
        self.set.extend(set.iter().map(|set| set.to_string()));
        self
    }

    /// What every run is told beside its file.
    pub fn set(&self) -> &[String] {
        &self.set
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("run.toml")
    }

    pub fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).join("tiny")
    }

    /// A cache of this name that nobody has used yet, so that whoever gets it has everything to compute himself.
    pub fn cache(&self, name: &str) -> PathBuf {
        let cache = self.folder.path().join("caches").join(name);
        assert!(!cache.exists(), "{name} is used twice");
        cache
    }

    /// `essa align`, as so many ranks; 0 is without a launcher. Each run makes its bases anew: the cache lies beside it.
    pub fn align(&self, ranks: usize, run: &Path) -> Command {
        let mut command = launcher(ranks);
        command
            .env("ESSA_CACHE", run.with_file_name("cache"))
            .arg(env!("CARGO_BIN_EXE_essa"))
            .arg("align")
            .arg(self.config())
            .arg("--out")
            .arg(run)
            .args(self.set.iter().flat_map(|set| ["--set", set]));
        command
    }

    /// The same, which is to succeed.
    pub fn finish(&self, ranks: usize, run: &Path) {
        succeeded(&self.align(ranks, run).output().expect("the binary runs"));
    }

    /// The end state of an undisturbed run.
    pub fn undisturbed(&self) -> BTreeMap<String, Vec<u8>> {
        let run = self.run("undisturbed");
        self.finish(0, &run);
        end_state(&run)
    }
}

/// Another command of the binary, which is to succeed; what it printed.
pub fn essa(arguments: &[&str], cache: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_essa"))
        .args(arguments)
        .env("ESSA_CACHE", cache)
        .output()
        .expect("the binary runs");
    succeeded(&output)
}

/// What a command that is to succeed printed.
pub fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// What starts so many ranks; 0 is no launcher.
pub fn launcher(ranks: usize) -> Command {
    let mut command = Command::new("env");
    if ranks > 0 {
        command.args(["mpirun", "-n", &ranks.to_string()]);
    }
    // A launcher that is killed leaves files named after its process number, which a later one may have again: each test program has its own place
    // for them.
    static SESSIONS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let sessions = SESSIONS.get_or_init(|| {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
    });
    // Open MPI's own words for these, for "more ranks than cores", and for "yes, as root".
    command
        .env("OMPI_MCA_orte_tmpdir_base", sessions.path())
        .env("OMPI_MCA_btl_vader_backing_directory", sessions.path())
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command
}

/// Whether ranks can be started; says so where they cannot.
pub fn has_mpi() -> bool {
    let found = cfg!(feature = "mpi") && Command::new("mpirun").arg("--version").output().is_ok();
    if !found {
        skip(Missing::Mpi, "built without the mpi feature, or no mpirun here");
    }
    found
}

/// Every file under a folder, by its path inside.
pub fn files_under(folder: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("a path inside");
                files.insert(name.to_string_lossy().into_owned(), path);
            }
        }
    }
    files
}

/// Every file that a run leaves, without its clocks.
pub fn end_state(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    for (name, path) in files_under(run) {
        let bytes = match name.as_str() {
            "lock" => continue,
            "metrics.csv" => without_clocks(&path),
            "result.json" => {
                let text = fs::read_to_string(&path).expect("a file");
                let mut row: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
                ["wall_s", "finished", "directory"]
                    .iter()
                    .for_each(|clock| drop(row.remove(*clock)));
                serde_json::to_vec(&row).expect("JSON")
            }
            _ => fs::read(&path).expect("a file"),
        };
        state.insert(name, bytes);
    }
    for file in ["metrics.csv", "result.json", "rollouts.jsonl", "mean.json"] {
        assert!(state.contains_key(file), "{}: no {file}", run.display());
    }
    state
}

/// `metrics.csv` without its clocks.
pub fn without_clocks(path: &Path) -> Vec<u8> {
    let mut file = csv::Reader::from_path(path).expect("metrics");
    let header = file.headers().expect("a header").clone();
    let kept: Vec<usize> = (0..header.len())
        .filter(|&column| !essa::record::metrics::CLOCKS.contains(&&header[column]))
        .collect();
    assert_eq!(header.len() - kept.len(), essa::record::metrics::CLOCKS.len());
    let rows = std::iter::once(header.clone()).chain(file.records().map(|row| row.expect("a row")));
    let line = |row: csv::StringRecord| {
        kept.iter()
            .map(|&column| row[column].to_owned() + ",")
            .collect::<String>()
            + "\n"
    };
    rows.map(line).collect::<String>().into_bytes()
}

pub fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    let differ: Vec<&String> = found
        .keys()
        .chain(expected.keys())
        .filter(|name| found.get(*name) != expected.get(*name))
        .collect();
    assert!(differ.is_empty(), "{what}: {differ:?} differ");
}
