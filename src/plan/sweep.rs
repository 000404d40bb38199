//! A sweep: one config file with a `[sweep]` table, whose keys are keys of the config and whose values are lists. Every
//! combination is a run of its own, named after what it varies. Nothing is remembered but the runs' own directories: what is
//! finished there is skipped, what is broken goes on, what another job has in hand is left to it.

use crate::config::RunConfig;
use crate::config::table::{put, read_table, resolve_paths};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// A config file and what it varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Names the folder of the runs.
    pub name: String,
    /// The runs, keys in alphabetical order, the last changing fastest.
    pub runs: Vec<RunConfig>,
}

impl Sweep {
    /// Reads a sweep and checks every run of it. Without a `[sweep]` table it is one run.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut table = read_table(path, overrides)?;
        let axes = match table.remove("sweep") {
            None => toml::Table::new(),
            Some(toml::Value::Table(axes)) => axes,
            Some(other) => {
                return Err(Error::file(
                    path,
                    format!("sweep is {other}, expected a table of lists"),
                ));
            }
        };
        let name = match table.get("name") {
            Some(toml::Value::String(name)) => name.clone(),
            _ => "sweep".into(),
        };
        let mut points: Vec<(Vec<String>, toml::Table)> = vec![(Vec::new(), table)];
        for (key, values) in flat(&axes) {
            let values = match values {
                toml::Value::Array(values) if !values.is_empty() => values,
                other => {
                    let what = format!("sweep.{key} is {other}, expected a list of values, such as [1, 2, 3]");
                    return Err(Error::file(path, what));
                }
            };
            let mut next = Vec::with_capacity(points.len() * values.len());
            for (labels, table) in &points {
                for value in &values {
                    let value = &resolved(&key, value, path);
                    let mut table = table.clone();
                    put(&mut table, &key, value.clone())
                        .map_err(|what| Error::file(path, format!("sweep.{key}: {what}")))?;
                    let labels = [labels.as_slice(), &[label(&key, value)]].concat();
                    next.push((labels, table));
                }
            }
            points = next;
        }
        let mut runs: Vec<RunConfig> = Vec::with_capacity(points.len());
        for (labels, mut table) in points {
            if !labels.is_empty() {
                table.insert("name".into(), toml::Value::String(labels.join(",")));
            }
            let named = |error: Error| Error::file(path, format!("run `{}`: {error}", labels.join(",")));
            runs.push(RunConfig::from_table(table, path).map_err(named)?);
        }
        let names: BTreeSet<&String> = runs.iter().map(|run| &run.name).collect();
        if names.len() < runs.len() {
            return Err(Error::file(
                path,
                "two runs of the sweep are the same; take the double values out",
            ));
        }
        Ok(Self { name, runs })
    }
}

/// The value of a key in a file at `path`: paths are relative to its folder, as they are outside of `[sweep]`.
fn resolved(key: &str, value: &toml::Value, path: &Path) -> toml::Value {
    let mut alone = toml::Table::new();
    if put(&mut alone, key, value.clone()).is_err() {
        return value.clone();
    }
    resolve_paths(&mut alone, path.parent().unwrap_or(Path::new(".")));
    let mut found = toml::Value::Table(alone);
    for part in key.split('.') {
        found = match found {
            toml::Value::Table(mut table) => table.remove(part).expect("it was put there"),
            _ => unreachable!("a path of tables leads to it"),
        };
    }
    found
}

/// `a.b = [..]` and `[a] b = [..]` are the same key.
fn flat(table: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                keys.extend(
                    flat(inner)
                        .into_iter()
                        .map(|(rest, value)| (format!("{key}.{rest}"), value)),
                );
            }
            value => keys.push((key.clone(), value.clone())),
        }
    }
    keys
}

/// `rank=8` for `space.rank`; of a whole section its values, `strategy=cma-es` and so on. What a file name cannot hold
/// becomes a dash.
fn label(key: &str, value: &toml::Value) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let text = format!("{last}={}", plain(value));
    let allowed = |c: char| {
        if c.is_alphanumeric() || "=.+_-".contains(c) {
            c
        } else {
            '-'
        }
    };
    text.chars().map(allowed).collect()
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("+"),
        toml::Value::Table(table) => {
            // The kind says most; other keys are told by name.
            let kind = table.get("kind").map(plain);
            let rest = table
                .iter()
                .filter(|(key, _)| *key != "kind")
                .map(|(key, value)| format!("{key}-{}", plain(value)));
            kind.into_iter().chain(rest).collect::<Vec<_>>().join("+")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sweep: &str) -> Result<Sweep> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s.toml");
        std::fs::write(&path, format!("name = 'study'\n[model]\npath = 'm'\n{sweep}")).expect("a file");
        Sweep::load(&path, &["run.prompts=3".into()])
    }

    #[test]
    fn every_combination_is_a_run() {
        let sweep = load("[space]\nkind = 'spectral'\n[sweep]\n'space.rank' = [2, 4]\nstrategy = [{ kind = 'cma-es' }, { kind = 'open-es', sigma = 0.2 }]\nseed = [1, 2]\n").expect("a sweep");
        assert_eq!(sweep.name, "study");
        let names: Vec<&str> = sweep.runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert!(names.contains(&"seed=2,rank=4,strategy=open-es+sigma-0.2"), "{names:?}");
        assert!(sweep.runs.iter().all(|run| run.run.prompts == 3));
        let seeds: BTreeSet<u64> = sweep.runs.iter().map(|run| run.seed).collect();
        assert_eq!(seeds, BTreeSet::from([1, 2]));
        // The same keys as tables.
        assert_eq!(
            load("[space]\nkind = 'spectral'\n[sweep.space]\nrank = [2, 4]\n")
                .expect("a sweep")
                .runs
                .len(),
            2
        );
        assert_eq!(load("").expect("one run").runs[0].name, "study");
    }

    /// Paths among the values lie beside the file, as those outside of the table do.
    #[test]
    fn paths_are_relative_to_the_file() {
        let sweep = load(
            "[space]\nkind = 'lora-svd'\n[sweep]\n'model.adapter' = ['a', { warm_start = '/b.toml' }, { warm_start = 'c.toml' }]\n",
        );
        let runs = sweep.expect("a sweep").runs;
        let paths: Vec<&Path> = runs
            .iter()
            .map(|run| run.model.adapter_path().expect("an adapter"))
            .collect();
        assert_eq!(paths[0].parent(), paths[2].parent());
        assert!(paths[0].is_absolute() && paths[0].ends_with("a"), "{paths:?}");
        assert_eq!(paths[1], Path::new("/b.toml"));
        assert!(runs[0].model.path.parent() == paths[0].parent(), "{paths:?}");
    }

    #[test]
    fn what_cannot_be_a_sweep_is_refused() {
        for (sweep, words) in [
            ("[sweep]\nseed = 3", "sweep.seed is 3, expected a list"),
            ("[sweep]\nseed = []", "sweep.seed is []"),
            ("[sweep]\nseed = [1, 1]", "two runs of the sweep are the same"),
            ("[sweep]\n'run.promts' = [1]", "did you mean `prompts`"),
            ("[sweep]\n'model.path.x' = [1]", "`path` is not a table"),
        ] {
            let error = load(sweep).expect_err(sweep).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
