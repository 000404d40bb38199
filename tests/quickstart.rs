//! The longer proof (`make test-long`): the quick start's task is learned with three seeds. Twelve runs are in `experiments/LOG.md`
//! (2026-11-28).

mod support;

use std::process::Command;
use support::{json, real_model};

#[test]
#[ignore = "takes a quarter of an hour"]
fn the_quickstart_gains_with_three_seeds() {
    let Some(model) = real_model() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (seed, least_gain) in [(1, 0.75), (2, 0.75), (3, 0.75)] {
        let run = folder.path().join(format!("runs/{seed}"));
        let status = Command::new(env!("CARGO_BIN_EXE_essa"))
            .args([
                "align",
                "quickstart",
                "--set",
                &format!("model.path={}", model.display()),
            ])
            .args(["--set", &format!("seed={seed}"), "--out", &run.to_string_lossy()])
            .status()
            .expect("the binary runs");
        assert!(status.success(), "seed {seed}");
        let result: serde_json::Value = json(&run.join("result.json"));
        let gain = result["gain"].as_f64().expect("a gain");
        println!(
            "seed {seed}: start {}, end {}, gain {gain}",
            result["start_test"], result["test"]
        );
        assert!(gain >= least_gain, "seed {seed}: gain {gain}");
    }
}
