//! What stands around a run and is not the run: the files that a user named, the reader of a log, a cache, a leaderboard. None
//! of them may be harmed by it, and none of them may end it. Each test has the name of a kind of fault that was once seen.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A folder with a tiny model, prompts, and a run of three generations.
struct Desk(tempfile::TempDir);

const RUN: &str = "
name = 'r'
[model]
path = 'tiny.gguf'
[space]
rank = 1
[strategy]
population = 2
[task]
kinds = ['one_word']
train_size = 8
validation_size = 2
test_size = 2
[generation]
max_new_tokens = 4
[run]
generations = 3
prompts = 2
validate_every = 1
";

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("tiny.gguf"), support::tiny_model::tiny_model()).expect("a model");
        fs::write(folder.path().join("run.toml"), RUN).expect("a config");
        fs::write(folder.path().join("p.jsonl"), "{\"prompt\": \"hello\"}\n").expect("prompts");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The binary, in this folder, with a cache of its own.
    fn essa(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_essa"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("ESSA_CACHE", self.path("cache"));
        command
    }

    /// `essa generate` with this `--output`.
    fn generate(&self, output: &str) -> Command {
        self.essa(&[
            "generate",
            "--model",
            "tiny.gguf",
            "--prompts",
            "p.jsonl",
            "--max-new-tokens",
            "2",
            "--output",
            output,
        ])
    }

    fn align(&self, out: &str) -> Command {
        self.essa(&["align", "run.toml", "--out", out])
    }

    fn is_finished(&self, run: &str) -> bool {
        let row = fs::read_to_string(self.path(run).join("result.json")).unwrap_or_default();
        row.contains("\"status\":\"finished\"") && row.contains("\"generations\":3")
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_row(text: &str) -> bool {
    text.lines().count() == 1 && text.contains("\"finish_reason\"")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shell(desk: &Desk, script: &str) -> Output {
    Command::new("bash")
        .args(["-c", script])
        .current_dir(desk.0.path())
        .env("ESSA", env!("CARGO_BIN_EXE_essa"))
        .env("ESSA_CACHE", desk.path("cache"))
        .output()
        .expect("bash runs")
}

/// Case 22. A path that a user named is written into where it is no file, and stays what it was.
#[test]
fn an_output_that_is_no_file_is_written_into() {
    let desk = Desk::new();
    // A named pipe.
    let fifo = desk.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo runs")
            .success()
    );
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || read(&fifo)
    });
    done(&mut desk.generate("fifo"));
    assert!(fs::symlink_metadata(&fifo).expect("still there").file_type().is_fifo());
    assert!(is_row(&reader.join().expect("a reader")));

    // Descriptors by name: a pipe, a file that others append to, a file that is written anew.
    let printed = done(&mut desk.generate("/dev/stdout"));
    assert!(is_row(&String::from_utf8_lossy(&printed.stdout)));
    let generate = "\"$ESSA\" generate --model tiny.gguf --prompts p.jsonl --max-new-tokens 2 --output";
    let script = format!(
        "{generate} >(cat >substituted; touch read) || exit 1; until [ -e read ]; do sleep 0.01; done
         echo first >log; {generate} /dev/stdout >>log || exit 2
         {generate} /dev/fd/3 3>three || exit 3
         {generate} >(true) || exit 4"
    );
    let output = shell(&desk, &script);
    assert!(output.status.success(), "{}: {}", output.status, said(&output));
    assert!(is_row(&read(&desk.path("substituted"))) && is_row(&read(&desk.path("three"))));
    let log = read(&desk.path("log"));
    assert!(log.starts_with("first\n") && is_row(&log["first\n".len()..]), "{log}");

    // A device. Made here, so that the system's own is not at stake; that needs a right that not every sandbox gives.
    let made = Command::new("mknod")
        .arg(desk.path("null"))
        .args(["c", "1", "3"])
        .output();
    let target = if made.is_ok_and(|made| made.status.success()) {
        desk.path("null")
    } else {
        "/dev/null".into()
    };
    done(&mut desk.generate(&target.to_string_lossy()));
    assert!(fs::metadata(&target).expect("still there").file_type().is_char_device());
    let full = desk.generate("/dev/full").output().expect("the binary runs");
    assert!(
        !full.status.success() && said(&full).contains("/dev/full: No space left"),
        "{}",
        said(&full)
    );
}

#[test]
fn an_output_that_is_a_link_stays_one() {
    let desk = Desk::new();
    fs::create_dir(desk.path("scratch")).expect("a folder");
    fs::write(desk.path("scratch/real"), "old").expect("a file");
    symlink("scratch/real", desk.path("link")).expect("a link");
    symlink("scratch/to come", desk.path("dangling")).expect("a link");
    symlink("link", desk.path("second")).expect("a link");
    for (name, target) in [
        ("link", "scratch/real"),
        ("dangling", "scratch/to come"),
        ("second", "scratch/real"),
    ] {
        done(&mut desk.generate(name));
        assert!(
            fs::symlink_metadata(desk.path(name)).expect("still there").is_symlink(),
            "{name}"
        );
        assert!(is_row(&read(&desk.path(target))), "{name}");
        fs::write(desk.path("scratch/real"), "old").expect("a file");
    }
    symlink("round", desk.path("round")).expect("a link");
    let round = desk.generate("round").output().expect("the binary runs");
    assert!(
        !round.status.success() && said(&round).contains("symbolic links"),
        "{}",
        said(&round)
    );
}

#[test]
fn an_output_keeps_its_mode_and_owner() {
    let desk = Desk::new();
    for mode in [0o600, 0o640, 0o664] {
        fs::write(desk.path("private"), "old").expect("a file");
        fs::set_permissions(desk.path("private"), fs::Permissions::from_mode(mode)).expect("a mode");
        done(&mut desk.generate("private"));
        let found = fs::metadata(desk.path("private")).expect("still there");
        assert_eq!(found.permissions().mode() & 0o777, mode);
        assert!(is_row(&read(&desk.path("private"))));
    }
    // Root writes for somebody else.
    if std::os::unix::fs::chown(desk.path("private"), Some(1234), Some(1234)).is_ok() {
        done(&mut desk.generate("private"));
        let found = fs::metadata(desk.path("private")).expect("still there");
        assert_eq!((found.uid(), found.gid()), (1234, 1234));
    }
    // A name as long as a name can be.
    let long = "x".repeat(255);
    done(&mut desk.generate(&long));
    assert!(is_row(&read(&desk.path(&long))));
}

/// What cannot be written is said before the work, not after it.
#[test]
fn an_output_that_cannot_be_is_refused_at_once() {
    let desk = Desk::new();
    fs::create_dir(desk.path("folder")).expect("a folder");
    fs::write(desk.path("file"), "mine").expect("a file");
    for (output, words) in [
        ("folder", "folder: is a folder"),
        ("file/x", "Not a directory"),
        ("/proc/none/x", "/proc/none"),
    ] {
        // There is no such model either: whoever asks for it first has looked at the output too late.
        let arguments = [
            "generate",
            "--model",
            "none.gguf",
            "--prompts",
            "p.jsonl",
            "--max-new-tokens",
            "2",
            "--output",
        ];
        let refused = desk.essa(&arguments).arg(output).output().expect("the binary runs");
        assert!(
            !refused.status.success() && said(&refused).contains(words),
            "{output}: {}",
            said(&refused)
        );
    }
    assert_eq!(read(&desk.path("file")), "mine");
}

/// A reader that takes some lines of a stream and goes away.
fn cut_off(command: &mut Command, lines: usize) -> Child {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut reader = BufReader::new(child.stderr.take().expect("a pipe"));
    for _ in 0..lines {
        reader.read_line(&mut String::new()).expect("a line");
    }
    child
}

/// Case 23. The reader of a log goes away, and the run goes on.
#[test]
fn a_run_outlives_the_reader_of_its_log() {
    let desk = Desk::new();
    for lines in [0, 2] {
        let run = format!("runs-{lines}/a");
        let status = cut_off(&mut desk.align(&run), lines).wait().expect("an end");
        assert!(status.success() && desk.is_finished(&run), "{lines} lines: {status}");
    }
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full device")
    };
    for (run, log, table) in [("full/a", true, false), ("full/b", false, true), ("full/c", true, true)] {
        let mut command = desk.align(run);
        if log {
            command.stderr(full());
        }
        if table {
            command.stdout(full());
        }
        let status = command.status().expect("the binary runs");
        assert!(status.success() && desk.is_finished(run), "{run}: {status}");
    }
    let output = shell(&desk, "\"$ESSA\" align run.toml --out closed/a 2>&- >&-");
    assert!(
        output.status.success() && desk.is_finished("closed/a"),
        "{}",
        output.status
    );
}

/// Commands whose result nobody waits for end quietly; one whose result cannot be written says so.
#[test]
fn a_command_ends_quietly_without_a_reader() {
    let desk = Desk::new();
    done(&mut desk.align("runs/a"));
    let commands: [&[&str]; 4] = [
        &["leaderboard", "runs"],
        &["leaderboard", "runs", "--csv"],
        &["eval", "runs/a"],
        &["export", "runs/a", "--out", "exported"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = desk.essa(arguments).stdout(writer).output().expect("the binary runs");
        assert!(
            output.status.success() && said(&output).is_empty(),
            "{arguments:?}: {}",
            said(&output)
        );
        let full = fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full device");
        let output = desk.essa(arguments).stdout(full).output().expect("the binary runs");
        assert_eq!(
            (output.status.code(), said(&output).as_str()),
            (
                Some(1),
                "essa: standard output: No space left on device (os error 28)\n"
            ),
            "{arguments:?}"
        );
    }
    // An error that nobody hears is still an exit status.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = desk
        .essa(&["leaderboard", "nowhere"])
        .stderr(writer)
        .status()
        .expect("the binary runs");
    assert_eq!(status.code(), Some(1));
}

/// Case 28. A cache saves time. Where there can be none, a run says so once, and computes the same.
#[test]
fn a_run_goes_on_without_a_cache() {
    let desk = Desk::new();
    done(&mut desk.align("with/a"));
    fs::write(desk.path("file"), "").expect("a file");
    let adapter = |run: &str| fs::read(desk.path(run).join("adapter/adapter_model.safetensors")).expect("an adapter");
    let mut homeless = desk.align("homeless/a");
    homeless
        .env_remove("ESSA_CACHE")
        .env_remove("XDG_CACHE_HOME")
        .env("HOME", "/proc");
    let mut below_a_file = desk.align("below/a");
    below_a_file.env("ESSA_CACHE", desk.path("file/cache"));
    let mut device = desk.align("device/a");
    device.env("ESSA_CACHE", "/dev/full");
    for (run, mut command) in [
        ("homeless/a", homeless),
        ("below/a", below_a_file),
        ("device/a", device),
    ] {
        let output = done(&mut command);
        let said = said(&output);
        assert_eq!(said.matches("without the cache").count(), 1, "{run}: {said}");
        assert!(desk.is_finished(run));
        assert_eq!(
            adapter(run),
            adapter("with/a"),
            "{run}: whether bases are read or computed cannot be seen"
        );
    }
}

/// A file of the leaderboard's name may be somebody's, and a `result.json` beside a run another program's.
#[test]
fn a_strangers_files_beside_a_run_stay() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("runs/other")).expect("a folder");
    fs::write(desk.path("runs/leaderboard.csv"), "model,score\nmine,1\n").expect("a file");
    fs::write(desk.path("runs/other/result.json"), "[1]").expect("a file");
    let output = done(&mut desk.align("runs/a"));
    assert!(desk.is_finished("runs/a"));
    assert!(said(&output).contains("was not written by essa"), "{}", said(&output));
    assert_eq!(read(&desk.path("runs/leaderboard.csv")), "model,score\nmine,1\n");
    // Ours is replaced, with what can be read.
    fs::remove_file(desk.path("runs/leaderboard.csv")).expect("a file");
    done(&mut desk.align("runs/b"));
    fs::remove_file(desk.path("runs/b/result.json")).expect("a file");
    let output = done(&mut desk.align("runs/b"));
    assert!(
        said(&output).contains("other/result.json: not the result of a run"),
        "{}",
        said(&output)
    );
    assert_eq!(read(&desk.path("runs/leaderboard.csv")).lines().count(), 3);
}

/// The journal saves what was judged since the newest checkpoint, no more: a run can do without.
#[test]
fn a_run_goes_on_without_its_journal() {
    let desk = Desk::new();
    done(&mut desk.align("with/a"));
    fs::create_dir_all(desk.path("without/a")).expect("a folder");
    // Where the journal's folder should be there is a file.
    fs::write(desk.path("without/a/journal"), "").expect("a file");
    let output = done(&mut desk.align("without/a"));
    assert_eq!(
        said(&output).matches("without this rank's journal").count(),
        1,
        "{}",
        said(&output)
    );
    let file = |run: &str, name: &str| fs::read(desk.path(run).join(name)).expect("a file");
    for name in ["rollouts.jsonl", "adapter/adapter_model.safetensors"] {
        assert_eq!(file("with/a", name), file("without/a", name), "{name}");
    }
}

/// A program that cannot start itself again runs slower, and runs.
#[test]
fn a_binary_that_was_deleted_can_still_run() {
    let desk = Desk::new();
    let copy = desk.path("essa");
    fs::copy(env!("CARGO_BIN_EXE_essa"), &copy).expect("a copy");
    // The shell opens the binary, deletes it, and runs what it has open: there is no file to start again.
    let script = "exec 5<./essa && rm ./essa && /proc/self/fd/5 --version";
    let output = shell(&desk, script);
    let mut version = String::new();
    output.stdout.as_slice().read_to_string(&mut version).expect("text");
    assert!(
        output.status.success() && version.starts_with("essa "),
        "{}: {}",
        output.status,
        said(&output)
    );
}
