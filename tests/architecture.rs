//! The arrows between the rooms of the house, read from the `use crate::` lines of its source: each points down, and none closes a
//! circle. ARCHITECTURE.md says which room stands on which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the top down; those of one line do not know each other. What a room uses stands below it.
const FLOORS: [&[&str]; 23] = [
    &["commands"],
    &["run"],
    &["report"],
    &["plan"],
    &["warm_start"],
    &["record"],
    &["farm"],
    &["objective"],
    &["config"],
    &["strategy", "space"],
    &["task"],
    &["judge"],
    &["language_model"],
    &["engine"],
    &["adapter", "reward"],
    &["text"],
    &["model"],
    &["search", "linalg"],
    &["statistics", "seed", "threads"],
    &["rows"],
    &["files", "digest"],
    &["terminal"],
    &["error"],
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What a file is part of, by its path from `src`, such as `["model", "kernels", "tile"]`.
fn place(path: &Path, src: &Path) -> Vec<String> {
    let inside = path.strip_prefix(src).expect("a source file").with_extension("");
    let parts = inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.filter(|part| part != "mod").collect()
}

/// Paths that a file uses, from `crate`: of its code, not of its tests.
fn used(text: &str, own: &[String]) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    let statements = code.match_indices("use ").filter_map(|(at, _)| {
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        let is_statement = line.is_empty() || line == "pub";
        is_statement.then(|| code[at + 4..].split(';').next().unwrap_or_default())
    });
    for path in statements {
        let (before, inside) = path.split_once('{').unwrap_or((path, ""));
        let names = inside.trim_end_matches('}').split(',').map(str::trim);
        for name in names {
            let whole = format!("{before}{name}");
            let parts: Vec<String> = whole.trim_end_matches("::").split("::").map(String::from).collect();
            match parts[0].as_str() {
                "crate" => found.push(parts[1..].to_vec()),
                "super" => {
                    let ups = parts.iter().take_while(|part| *part == "super").count();
                    let above = &own[..own.len().saturating_sub(ups)];
                    found.push([above, &parts[ups..]].concat());
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_arrow_points_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floor: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut upward = BTreeSet::new();
    let mut rooms = BTreeSet::new();
    for path in sources(&src) {
        let own = place(&path, &src);
        let Some(room) = own.first().filter(|room| *room != "main" && *room != "lib") else {
            continue;
        };
        rooms.insert(room.clone());
        let at = *floor
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} has no place in the house"));
        for target in used(&fs::read_to_string(&path).expect("a source file"), &own) {
            let Some(other) = target.first().filter(|other| *other != room) else {
                continue;
            };
            match floor.get(other.as_str()) {
                Some(&below) if below > at => {}
                Some(_) => _ = upward.insert(format!("{room} → {other} ({})", path.display())),
                None => panic!("{}: {other} has no place in the house", path.display()),
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
    let known: BTreeSet<String> = floor.keys().map(ToString::to_string).collect();
    assert_eq!(rooms, known, "rooms of the source and of this test");
}

/// Within a room: no two files use each other, by whatever way around.
#[test]
fn no_files_of_a_room_stand_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: BTreeMap<Vec<String>, String> = sources(&src)
        .into_iter()
        .map(|path| (place(&path, &src), fs::read_to_string(&path).expect("a source file")))
        .collect();
    let mut arrows: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = BTreeMap::new();
    for (own, text) in &files {
        for target in used(text, own) {
            // The file that a path leads to: its longest beginning that is one.
            let file = (1..=target.len())
                .rev()
                .find_map(|end| files.get_key_value(&target[..end]));
            // A room's front page names its files, and is what they have in common.
            if let Some((file, _)) =
                file.filter(|(file, _)| *file != own && !own.starts_with(file) && !file.starts_with(own))
            {
                arrows.entry(own).or_default().insert(file);
            }
        }
    }
    let mut circles = BTreeSet::new();
    for start in arrows.keys() {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(file) = next.pop() {
            for &target in arrows.get(file).into_iter().flatten() {
                if target == *start {
                    circles.insert(start.join("/"));
                } else if seen.insert(target) {
                    next.push(target);
                }
            }
        }
    }
    assert!(circles.is_empty(), "files in circles: {circles:?}");
}
