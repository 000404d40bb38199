//! A sweep: one config file with a `[sweep]` table, whose keys are keys of the config. Lists are combined with each other; lists in a
//! `[[sweep.zip]]` move together; what stands in a `[[sweep.when]]` is varied only where its conditions hold; and from ranges
//! `draws` values are drawn. Every point is a run of its own, named after what it varies. Nothing is remembered but the runs' own
//! directories: what is finished there is skipped, what is broken goes on, what another job has in hand is left to it.

use super::range::Range;
use crate::config::RunConfig;
use crate::config::table::{put, read_table, resolve_paths};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::Value;

/// A value, or what is wrong with the sweep, without the file's name.
type Checked<T> = std::result::Result<T, String>;

/// A config file and what it varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Names the folder of the runs.
    pub name: String,
    /// The runs, keys in alphabetical order, then what is zipped, what hangs on conditions, and draws; the last changing fastest.
    pub runs: Vec<RunConfig>,
}

impl Sweep {
    /// Reads a sweep and checks every run of it. Without a `[sweep]` table it is one run.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut table = read_table(path, overrides)?;
        let axes = match table.remove("sweep") {
            None => toml::Table::new(),
            Some(Value::Table(axes)) => axes,
            Some(other) => {
                return Err(Error::file(
                    path,
                    format!("sweep is {other}, expected a table of lists"),
                ));
            }
        };
        let name = match table.get("name") {
            Some(Value::String(name)) => name.clone(),
            _ => "sweep".into(),
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let points = points(axes, table, folder).map_err(|what| Error::file(path, what))?;
        let mut runs: Vec<RunConfig> = Vec::with_capacity(points.len());
        for Point { labels, mut table, .. } in points {
            if !labels.is_empty() {
                table.insert("name".into(), Value::String(labels.join(",")));
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

/// A run on its way: what was varied so far, and what is left to be drawn.
#[derive(Clone, Debug, Default, PartialEq)]
struct Point {
    /// Of the file: paths are relative to it.
    folder: PathBuf,
    /// `rank=8` and so on.
    labels: Vec<String>,
    table: toml::Table,
    ranges: Vec<(String, Range)>,
}

impl Point {
    fn with(&self, key: &str, value: &Value) -> Checked<Self> {
        let mut next = self.clone();
        put(&mut next.table, key, resolved(key, value, &self.folder)).map_err(|what| format!("sweep.{key}: {what}"))?;
        next.labels.push(label(key, value));
        Ok(next)
    }

    /// Whether each of these keys has this value.
    fn meets(&self, conditions: &[(String, Value)]) -> bool {
        let place = |key: &str| {
            let mut parts = key.split('.');
            let first = self.table.get(parts.next()?)?;
            parts.try_fold(first, |table, part| table.get(part))
        };
        conditions.iter().all(|(key, value)| place(key) == Some(value))
    }
}

/// All runs of a `[sweep]` table over a config.
fn points(mut axes: toml::Table, table: toml::Table, folder: &Path) -> Checked<Vec<Point>> {
    let zips = tables(&mut axes, "zip")?;
    let whens = tables(&mut axes, "when")?;
    let draws = match axes.remove("draws") {
        None => None,
        Some(Value::Integer(draws)) if (1..=1 << 20).contains(&draws) => Some(draws as usize),
        Some(other) => return Err(format!("sweep.draws is {other}, expected a number of draws, 1 or more")),
    };
    let start = Point {
        folder: folder.to_path_buf(),
        table,
        ..Point::default()
    };
    let mut points = vec![start];
    for axis in flat(&axes) {
        points = vary(points, axis, &[])?;
    }
    for zip in &zips {
        points = vary_together(points, zip)?;
    }
    for when in &whens {
        let is_axis = |value: &Value| matches!(value, Value::Array(_) | Value::Table(_));
        let (axes, conditions): (Vec<_>, Vec<_>) = flat(when).into_iter().partition(|(_, value)| is_axis(value));
        if axes.is_empty() || conditions.is_empty() {
            return Err(format!(
                "sweep.when has {} conditions and {} lists, expected both: `'strategy.kind' = \"open-es\"` says where, and \
                 lists or ranges what is varied there",
                conditions.len(),
                axes.len()
            ));
        }
        if !points.iter().any(|point| point.meets(&conditions)) {
            let (key, value) = &conditions[0];
            return Err(format!(
                "sweep.when: no run of the sweep has all of its conditions ({key} = {value}, …); see that each is the value of a key of the config or of a list"
            ));
        }
        for axis in axes {
            points = vary(points, axis, &conditions)?;
        }
    }
    let drawn = points.iter().any(|point| !point.ranges.is_empty());
    match draws {
        Some(_) if !drawn => {
            Err("sweep.draws is given and nothing is a range, such as { min = 0.01, max = 1.0, log = true }".into())
        }
        None if drawn => Err(
            "sweep has a range and no `draws`; expected the number of values to be drawn, such as draws = 16".into(),
        ),
        draws => draw(points, draws.unwrap_or(1)),
    }
}

/// Takes `[[sweep.zip]]` or the like out of the table.
fn tables(axes: &mut toml::Table, key: &str) -> Checked<Vec<toml::Table>> {
    let form = |found: &Value| format!("sweep.{key} is {found}, expected tables: [[sweep.{key}]]");
    match axes.remove(key) {
        None => Ok(Vec::new()),
        Some(Value::Table(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => many
            .into_iter()
            .map(|one| match one {
                Value::Table(one) => Ok(one),
                other => Err(form(&other)),
            })
            .collect(),
        Some(other) => Err(form(&other)),
    }
}

/// One axis: every value of a list beside every point that meets the conditions; a range is kept for later.
fn vary(points: Vec<Point>, (key, values): (String, Value), conditions: &[(String, Value)]) -> Checked<Vec<Point>> {
    let range = match &values {
        Value::Table(table) => Range::read(table)
            .transpose()
            .map_err(|what| format!("sweep.{key} {what}"))?,
        _ => None,
    };
    let values = match values {
        Value::Array(values) if !values.is_empty() => values,
        _ if range.is_some() => Vec::new(),
        other => {
            return Err(format!(
                "sweep.{key} is {other}, expected a list of values, such as [1, 2, 3], or a range, such as {{ min = 1, max = 3 }}"
            ));
        }
    };
    let mut next = Vec::with_capacity(points.len() * values.len().max(1));
    for mut point in points {
        if !point.meets(conditions) {
            next.push(point);
        } else if let Some(range) = &range {
            point.ranges.push((key.clone(), range.clone()));
            next.push(point);
        } else {
            for value in &values {
                next.push(point.with(&key, value)?);
            }
        }
    }
    Ok(next)
}

/// Lists that move together: the first values of all, then the second ones, and so on.
fn vary_together(points: Vec<Point>, zip: &toml::Table) -> Checked<Vec<Point>> {
    let axes = flat(zip);
    let mut lists = Vec::with_capacity(axes.len());
    for (key, values) in &axes {
        match values {
            Value::Array(values) if !values.is_empty() => lists.push((key, values)),
            other => {
                return Err(format!(
                    "sweep.zip: {key} is {other}, expected a list of values, such as [1, 2, 3]"
                ));
            }
        }
    }
    let lengths: BTreeSet<usize> = lists.iter().map(|(_, values)| values.len()).collect();
    if lengths.len() != 1 {
        let each: Vec<String> = lists
            .iter()
            .map(|(key, values)| format!("{key} {}", values.len()))
            .collect();
        return Err(format!(
            "sweep.zip: its lists move together and have different lengths ({}); expected as many values in each",
            each.join(", ")
        ));
    }
    let length = lengths.first().copied().unwrap_or(0);
    let mut next = Vec::with_capacity(points.len() * length);
    for point in points {
        for at in 0..length {
            let step = |point: Point, (key, values): &(&String, &Vec<Value>)| point.with(key, &values[at]);
            next.push(lists.iter().try_fold(point.clone(), step)?);
        }
    }
    Ok(next)
}

/// Each point with ranges as many times as is drawn. Values that were drawn before make no run of their own.
fn draw(points: Vec<Point>, draws: usize) -> Checked<Vec<Point>> {
    let mut next = Vec::new();
    for point in points {
        let ranges = point.ranges.clone();
        let mut seen = BTreeSet::new();
        for draw in 0..if ranges.is_empty() { 1 } else { draws } {
            let step = |point: Point, (key, range): &(String, Range)| point.with(key, &range.draw(key, draw));
            let drawn = ranges.iter().try_fold(point.clone(), step)?;
            if seen.insert(drawn.labels.clone()) {
                next.push(drawn);
            }
        }
    }
    Ok(next)
}

/// The value of a key in a file of this folder: paths are relative to it, as they are outside of `[sweep]`.
fn resolved(key: &str, value: &Value, folder: &Path) -> Value {
    let mut alone = toml::Table::new();
    if put(&mut alone, key, value.clone()).is_err() {
        return value.clone();
    }
    resolve_paths(&mut alone, folder);
    let mut found = Value::Table(alone);
    for part in key.split('.') {
        found = match found {
            Value::Table(mut table) => table.remove(part).expect("it was put there"),
            _ => unreachable!("a path of tables leads to it"),
        };
    }
    found
}

/// `a.b = [..]` and `[a] b = [..]` are the same key. A table that is a range is a value.
fn flat(table: &toml::Table) -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if Range::read(inner).is_none() => {
                let inner = flat(inner).into_iter();
                keys.extend(inner.map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => keys.push((key.clone(), value.clone())),
        }
    }
    keys
}

/// `rank=8` for `space.rank`; of a whole section its values, `strategy=cma-es` and so on. What a file name cannot hold
/// becomes a dash.
fn label(key: &str, value: &Value) -> String {
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

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("+"),
        Value::Table(table) => {
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

    fn names(sweep: &str) -> Vec<String> {
        let sweep = load(sweep).expect("a sweep");
        sweep.runs.into_iter().map(|run| run.name).collect()
    }

    #[test]
    fn zipped_lists_move_together_beside_every_combination_of_the_others() {
        let text = "[sweep]\nseed = [1, 2]\n[[sweep.zip]]\n'run.prompts' = [20, 5]\nstrategy.population = [20, 40]\n\
                    [[sweep.zip]]\n'space.rank' = [2, 4]\n'generation.max_new_tokens' = [8, 16]\n";
        let runs = load(text).expect("a sweep").runs;
        let found: Vec<_> = runs
            .iter()
            .map(|run| {
                (
                    run.seed,
                    run.run.prompts,
                    run.strategy.population,
                    run.generation.max_new_tokens,
                )
            })
            .collect();
        let mut expected = Vec::new();
        for seed in [1, 2] {
            for (prompts, population) in [(20, Some(20)), (5, Some(40))] {
                for tokens in [8, 16] {
                    expected.push((seed, prompts, population, tokens));
                }
            }
        }
        assert_eq!(found, expected);
        assert_eq!(runs[0].name, "seed=1,prompts=20,population=20,max_new_tokens=8,rank=2");
        // Whoever has one may leave a pair of brackets out.
        assert_eq!(
            names("[sweep.zip]\nseed = [1, 2]\n'run.prompts' = [3, 4]\n"),
            ["prompts=3,seed=1", "prompts=4,seed=2"]
        );
    }

    #[test]
    fn what_hangs_on_a_condition_is_varied_only_there() {
        let text = "[sweep]\nstrategy.kind = ['cma-es', 'open-es']\n[[sweep.when]]\nstrategy.kind = 'open-es'\n\
                    strategy.optimizer = ['adam', 'momentum']\n[[sweep.when]]\nstrategy.optimizer = 'momentum'\n\
                    strategy.momentum = [0.0, 0.9]\n";
        assert_eq!(
            names(text),
            [
                "kind=cma-es",
                "kind=open-es,optimizer=adam",
                "kind=open-es,optimizer=momentum,momentum=0.0",
                "kind=open-es,optimizer=momentum,momentum=0.9",
            ]
        );
        // A key of the file counts as well as one of a list, here the run.prompts of the command line.
        assert_eq!(
            names("[sweep.when]\n'run.prompts' = 3\nseed = [1, 2]\n"),
            ["seed=1", "seed=2"]
        );
    }

    #[test]
    fn ranges_are_drawn_from_and_each_draw_meets_every_seed() {
        let text = |draws: usize| {
            format!(
                "[sweep]\ndraws = {draws}\nseed = [1, 2]\nstrategy.sigma = {{ min = 0.01, max = 1.0, log = true }}\n\
                 [sweep.strategy.population]\nmin = 10\nmax = 80\nstep = 2\n"
            )
        };
        let drawn = |draws: usize| -> Vec<(u64, f64, usize)> {
            let runs = load(&text(draws)).expect("a sweep").runs.into_iter();
            runs.map(|run| {
                (
                    run.seed,
                    run.strategy.sigma.expect("drawn"),
                    run.strategy.population.expect("drawn"),
                )
            })
            .collect()
        };
        let (four, eight) = (drawn(4), drawn(8));
        assert_eq!((four.len(), eight.len()), (8, 16));
        assert_eq!(
            (&four[..4], &four[4..]),
            (&eight[..4], &eight[8..12]),
            "more draws are more runs"
        );
        let of_seed = |seed: u64| eight.iter().filter(move |run| run.0 == seed).map(|run| (run.1, run.2));
        assert!(of_seed(1).eq(of_seed(2)));
        // Each run's config says what was drawn.
        let runs = load(&text(4)).expect("a sweep").runs;
        for run in &runs {
            let sigma = run.value("strategy.sigma").expect("a key of the run");
            assert!(run.name.contains(&format!("sigma={sigma}")), "{}", run.name);
        }
        // Two values there are, however often one draws, and only where the condition holds.
        let few = "[sweep]\ndraws = 30\nstrategy.kind = ['cem', 'snes']\n[[sweep.when]]\nstrategy.kind = 'snes'\n\
                   strategy.population = { min = 4, max = 6, step = 2 }\n";
        let found: BTreeSet<String> = names(few).into_iter().collect();
        let expected = ["kind=cem", "kind=snes,population=4", "kind=snes,population=6"];
        assert_eq!(found, expected.map(String::from).into());
    }

    /// The page's own examples: 3 seeds · 3 zipped points · (1 + 2), and 2 seeds · 16 draws.
    #[test]
    fn the_sweeps_of_the_page_have_the_runs_that_it_says() {
        let page = include_str!("../../docs/sweeps.md");
        let blocks = page.split("```toml\n").skip(1);
        let blocks = blocks.map(|rest| rest.split("```").next().expect("a block"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runs = blocks.map(|block| {
            let model = if block.contains("[model]") {
                ""
            } else {
                "model.path = 'm'\n"
            };
            let path = folder.path().join("s.toml");
            std::fs::write(&path, format!("{model}{block}")).expect("a file");
            Sweep::load(&path, &[]).expect("a sweep").runs.len()
        });
        assert_eq!(runs.collect::<Vec<_>>(), [27, 32]);
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
        assert_eq!(
            (runs[0].name.as_str(), runs[2].name.as_str()),
            ("adapter=a", "adapter=warm_start-c.toml")
        );
    }

    #[test]
    fn what_cannot_be_a_sweep_is_refused() {
        for (sweep, words) in [
            ("[sweep]\nseed = 3", "sweep.seed is 3, expected a list"),
            ("[sweep]\nseed = []", "sweep.seed is []"),
            ("[sweep]\nseed = [1, 1]", "two runs of the sweep are the same"),
            ("[sweep]\nseed = { min = 1 }", "sweep.seed.min is 1, expected a list"),
            ("[sweep]\nseed = { min = 2, max = 1 }", "sweep.seed goes from 2 to 1"),
            ("[sweep]\nseed = { min = 1, max = 2 }", "has a range and no `draws`"),
            (
                "[sweep]\ndraws = 3\nseed = [1]",
                "sweep.draws is given and nothing is a range",
            ),
            ("[sweep]\ndraws = 0\nseed = { min = 1, max = 2 }", "sweep.draws is 0"),
            (
                "[[sweep.zip]]\nseed = [1, 2]\n'run.prompts' = [1]",
                "different lengths (run.prompts 1, seed 2)",
            ),
            ("[sweep]\nzip = [1]", "sweep.zip is 1, expected tables: [[sweep.zip]]"),
            ("[[sweep.zip]]\nseed = 1", "sweep.zip: seed is 1, expected a list"),
            ("[[sweep.when]]\nseed = [1]", "sweep.when has 0 conditions and 1 lists"),
            (
                "[[sweep.when]]\nstrategy.kind = 'opn-es'\nseed = [1]",
                "no run of the sweep has all of its conditions (strategy.kind = \"opn-es\", …)",
            ),
            ("[sweep]\n'run.promts' = [1]", "did you mean `prompts`"),
            ("[sweep]\n'model.path.x' = [1]", "`path` is not a table"),
        ] {
            let error = load(sweep).expect_err(sweep).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
