//! A config file as a TOML table, before it is checked: overrides of its keys, its paths made absolute, the kinds that it leaves to the
//! default, and the nearest known word to one that nobody knows.

use super::QUICKSTART;
use super::page::{KNOBS, Knob};
use crate::error::{Error, Result};
use crate::files::read_config_text;
use crate::space::SpaceKind;
use std::path::{Path, PathBuf};

/// Reads a config file as a table and applies `key=value` overrides.
pub fn read_table(path: &Path, overrides: &[String]) -> Result<toml::Table> {
    let (text, folder) = if path == Path::new("quickstart") && !path.exists() {
        (QUICKSTART.to_string(), PathBuf::from("."))
    } else {
        (
            read_config_text(path)?,
            path.parent().unwrap_or(Path::new(".")).to_path_buf(),
        )
    };
    let mut table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::file(path, format!("not valid TOML: {}", one_line(&e.to_string()))))?;
    resolve_paths(&mut table, &folder);
    for assignment in overrides {
        set(&mut table, assignment)?;
    }
    Ok(table)
}

/// Makes relative paths absolute: in a file they are relative to its folder, and the resolved copy lies elsewhere.
pub fn resolve_paths(table: &mut toml::Table, folder: &Path) {
    for (section, keys) in [
        ("model", &["path", "adapter"][..]),
        ("task", &["train", "validation", "test"]),
        ("data", &["train", "validation"]),
        ("space", SpaceKind::PATHS),
    ] {
        in_each(table, section, &mut |section| {
            for key in keys {
                match section.get_mut(*key) {
                    Some(toml::Value::Array(paths)) => paths.iter_mut().for_each(|path| resolve_path(path, folder)),
                    // An adapter that is made first: the config that it is made by.
                    Some(toml::Value::Table(table)) => {
                        table.iter_mut().for_each(|(_, path)| resolve_path(path, folder))
                    }
                    Some(path) => resolve_path(path, folder),
                    None => {}
                }
            }
        });
    }
    for task in off_tasks(table) {
        for key in ["train", "validation", "test"] {
            task.get_mut(key)
                .into_iter()
                .for_each(|path| resolve_path(path, folder));
        }
    }
    if let Some(toml::Value::Table(drift)) = table.get_mut("drift")
        && let Some(toml::Value::Array(adapters)) = drift.get_mut("reference")
    {
        adapters.iter_mut().for_each(|path| resolve_path(path, folder));
    }
    resolve_judges(table, folder);
}

/// The tables of tasks that are only watched.
fn off_tasks(table: &mut toml::Table) -> impl Iterator<Item = &mut toml::Table> {
    let drift = table.get_mut("drift").and_then(toml::Value::as_table_mut);
    let tasks = drift.and_then(|drift| drift.get_mut("tasks")?.as_table_mut());
    tasks
        .into_iter()
        .flat_map(|tasks| tasks.iter_mut().filter_map(|(_, task)| task.as_table_mut()))
}

/// The same in what `[task]` and `[reward]` name deeper down: the sample of a subset, and files of judges.
fn resolve_judges(table: &mut toml::Table, folder: &Path) {
    let inner = |value: Option<&mut toml::Value>, visit: &mut dyn FnMut(&mut toml::Table)| {
        if let Some(toml::Value::Table(table)) = value {
            visit(table);
        }
    };
    let judge = |judge: &mut toml::Table| {
        for key in ["json_schema", "reward_model"] {
            if let Some(path) = judge.get_mut(key) {
                resolve_path(path, folder);
            }
        }
        // A program's arguments may be anything; one that names a file beside the config is that file.
        if let Some(toml::Value::Array(arguments)) = judge.get_mut("command") {
            for argument in arguments {
                let name = argument.as_str().unwrap_or_default();
                let file = name.split(':').next().unwrap_or_default();
                if !file.is_empty() && folder.join(file).is_file() {
                    resolve_path(argument, folder);
                }
            }
        }
    };
    let of_task = |task: &mut toml::Table| {
        inner(task.get_mut("judge"), &mut |own| judge(own));
        inner(task.get_mut("train_judge"), &mut |own| judge(own));
        inner(task.get_mut("subset"), &mut |subset| {
            if let Some(path) = subset.get_mut("near") {
                resolve_path(path, folder);
            }
        });
    };
    inner(table.get_mut("task"), &mut |task| of_task(task));
    off_tasks(table).for_each(of_task);
    inner(table.get_mut("reward"), &mut |reward| {
        inner(reward.get_mut("terms"), &mut |terms| {
            terms
                .iter_mut()
                .for_each(|(_, term)| inner(Some(term), &mut |own| judge(own)));
        });
    });
}

fn resolve_path(value: &mut toml::Value, folder: &Path) {
    if let toml::Value::String(path) = value {
        let joined = folder.join(path.as_str());
        let absolute = std::path::absolute(&joined).unwrap_or(joined);
        *path = absolute.to_string_lossy().into_owned();
    }
}

/// A table that names no kind is of the default one.
pub(super) fn name_default_kinds(table: &mut toml::Table) {
    for (section, kind) in [("space", "spectral"), ("strategy", "auto"), ("task", "instructions")] {
        in_each(table, section, &mut |section| {
            section
                .entry("kind")
                .or_insert_with(|| toml::Value::String(kind.into()));
        });
    }
    for task in off_tasks(table) {
        task.entry("kind").or_insert_with(|| "instructions".into());
    }
}

/// Visits a section, and the tables of its `also`.
fn in_each(table: &mut toml::Table, section: &str, visit: &mut dyn FnMut(&mut toml::Table)) {
    let Some(toml::Value::Table(section)) = table.get_mut(section) else {
        return;
    };
    visit(section);
    if let Some(toml::Value::Array(also)) = section.get_mut("also") {
        also.iter_mut().filter_map(toml::Value::as_table_mut).for_each(visit);
    }
}

/// Applies `a.b=value`; the value is TOML where it parses as such, and otherwise a string.
fn set(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let (key, value) = assignment.split_once('=').ok_or_else(|| {
        Error::config(format!(
            "--set {assignment}: expected key=value, such as run.generations=5"
        ))
    })?;
    let parsed: Option<toml::Table> = format!("value = {value}").parse().ok();
    let value = parsed
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.into()));
    put(table, key, value).map_err(|what| Error::config(format!("--set {assignment}: {what}")))
}

/// Puts a value at `section.key`.
pub fn put(table: &mut toml::Table, key: &str, value: toml::Value) -> std::result::Result<(), String> {
    let mut place = table;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().expect("split gives one part at least");
    for part in parts {
        let next = place
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| format!("`{part}` is not a table"))?;
    }
    place.insert(last.into(), value);
    Ok(())
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds the nearest expected word to serde's message about an unknown one.
pub(super) fn with_nearest(message: &str) -> String {
    let Some(rest) = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|start| message.split_once(start))
    else {
        return message.into();
    };
    let mut words = rest.1.split('`').step_by(2);
    let unknown = words.next().unwrap_or_default();
    let expected: Vec<&str> = rest.1.split('`').skip(2).step_by(2).collect();
    let nearest = expected
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
    if let Some((knob, kinds)) = kinds_with(unknown)
        && let Some((section, _)) = knob.key.split_once('.')
        && message.contains(&format!("in `{section}"))
    {
        return format!("{message}; {} is a key of {section}.kind = {kinds}", knob.key);
    }
    match nearest {
        Some(nearest) if strsim::jaro_winkler(unknown, nearest) > 0.7 => {
            format!("{message}; did you mean `{nearest}`?")
        }
        _ => message.into(),
    }
}

/// Kinds of task that read rows from files.
const FROM_ROWS: &str = "jsonl, gsm8k, math, ifeval, choice, preference";

/// The knob of this name that only some kinds have, and which: its meaning begins with them.
fn kinds_with(name: &str) -> Option<(&'static Knob, &'static str)> {
    let knob = KNOBS
        .iter()
        .find(|knob| knob.key.split_once('.').is_some_and(|(_, key)| key == name))?;
    let (kinds, _) = knob.meaning.split_once(": ")?;
    let is_kind = |c: char| c.is_ascii_alphanumeric() || "-, ".contains(c);
    let kinds = if kinds == "rows" { FROM_ROWS } else { kinds };
    (!knob.key.starts_with("model.") && kinds.chars().all(is_kind)).then_some((knob, kinds))
}
