//! Compiles all mutants of some files into one program and lets an environment variable say which of them is alive, so that
//! a mutant costs a run of the tests and no build. What a mutant is, cargo-mutants says (`cargo mutants --list --json`);
//! this only writes down each of them beside what it replaces.
//!
//! `mutants switch LIST ROOT CRATE UNVIABLE` rewrites CRATE's files under ROOT, but for the mutants that the file UNVIABLE
//! names. `mutants blame LIST ROOT CRATE UNVIABLE` reads the compiler's messages (`--message-format=json`), and adds to UNVIABLE
//! what they complain about. `mutants run LIST CRATE UNVIABLE OUTCOMES SECONDS PROGRAM..` runs the programs once for every
//! mutant that OUTCOMES does not call caught.

use proc_macro2::{LineColumn, Span};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

#[derive(Clone, Debug)]
struct Mutant {
    id: usize,
    file: String,
    name: String,
    genre: String,
    replacement: String,
    start: (usize, usize),
}

/// A part of what stands in an edit's place.
enum Part {
    Text(String),
    /// Source with the edits inside of it.
    Source(Range<usize>),
    /// Source as it was.
    Raw(Range<usize>),
}

struct Edit {
    range: Range<usize>,
    ids: Vec<usize>,
    parts: Vec<Part>,
}

struct Editor<'a> {
    source: &'a str,
    mutants: BTreeMap<(usize, usize), Vec<&'a Mutant>>,
    edits: Vec<Edit>,
}

fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

fn place(at: LineColumn) -> (usize, usize) {
    (at.line, at.column + 1)
}

impl<'a> Editor<'a> {
    fn at(&self, span: Span, genre: &str) -> Vec<&'a Mutant> {
        let all = self.mutants.get(&place(span.start()));
        all.map_or(Vec::new(), |all| all.iter().filter(|mutant| mutant.genre == genre).copied().collect())
    }

    fn edit(&mut self, range: Range<usize>, mutants: &[&Mutant], parts: Vec<Part>) {
        let ids = mutants.iter().map(|mutant| mutant.id).collect();
        self.edits.push(Edit { range, ids, parts });
    }

    fn function(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let start = first.span().byte_range().start;
        for mutant in self.at(first.span(), "FnValue") {
            let parts = vec![text(format!("if crate::alive({}) {{ return {}; }}", mutant.id, mutant.replacement))];
            self.edit(start..start, &[mutant], parts);
        }
    }

    fn render(&self, range: Range<usize>, within: Option<usize>, out: &mut String) {
        let mut at = range.start;
        // Outermost edits inside of the range, in order; insertions before what they stand in front of.
        let mut inside: Vec<usize> = (0..self.edits.len())
            .filter(|&index| {
                let edit = &self.edits[index].range;
                Some(index) != within && range.start <= edit.start && edit.end <= range.end
            })
            .filter(|&index| {
                within.is_none_or(|outer| {
                    let (outer, inner) = (&self.edits[outer].range, &self.edits[index].range);
                    // What is put in front of a function's first expression is not inside of that.
                    // A guard's edit and that of the expression which it is have the same range.
                    !inner.is_empty() && (inner.len() < outer.len() || (inner == outer && Some(index) > within))
                })
            })
            .collect();
        inside.sort_by_key(|&index| {
            let edit = &self.edits[index].range;
            (edit.start, usize::from(!edit.is_empty()), usize::MAX - edit.end, index)
        });
        for index in inside {
            let edit = &self.edits[index];
            if edit.range.start < at {
                continue;
            }
            out.push_str(&self.source[at..edit.range.start]);
            out.push_str(&format!("\n/*<{}*/", edit.ids[0]));
            for part in &edit.parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Source(range) => self.render(range.clone(), Some(index), out),
                    Part::Raw(range) => out.push_str(&self.source[range.clone()]),
                }
            }
            out.push_str(&format!("/*{}>*/\n", edit.ids[0]));
            at = edit.range.end;
        }
        out.push_str(&self.source[at..range.end]);
    }
}

fn has_let(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Editor<'_> {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.function(&node.block);
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.function(&node.block);
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.function(block);
        }
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        use syn::BinOp::*;
        let mutants = self.at(node.op.span(), "BinaryOperator");
        let (left, right) = (node.left.span().byte_range(), node.right.span().byte_range());
        let operator = self.source[node.op.span().byte_range()].to_string();
        let choice = |form: &dyn Fn(&str) -> String| {
            let mut arms: String = mutants
                .iter()
                .map(|mutant| format!("{} => {}, ", mutant.id, form(&mutant.replacement)))
                .collect();
            arms.push_str(&format!("_ => {}", form(&operator)));
            format!("match crate::who() {{ {arms} }}")
        };
        if let Some(first) = mutants.first() {
            let id = first.id;
            let parts = match node.op {
                And(_) | Or(_) if has_let(&node.left) || has_let(&node.right) => Vec::new(),
                And(_) | Or(_) => {
                    let other = |mutant: &Mutant| matches!(mutant.replacement.as_str(), "&&" | "||");
                    // `==` and `!=` of booleans are mutants of these as well.
                    let plain: Vec<String> = mutants
                        .iter()
                        .filter(|mutant| !other(mutant))
                        .map(|mutant| mutant.replacement.clone())
                        .collect();
                    let flip = mutants.iter().find(|mutant| other(mutant));
                    let flipped = flip.map_or("false".into(), |mutant| format!("crate::alive({})", mutant.id));
                    let not = if matches!(node.op, And(_)) { "" } else { "!" };
                    let mut parts = vec![text("(")];
                    for mutant in mutants.iter().filter(|mutant| plain.contains(&mutant.replacement)) {
                        parts.push(text(format!("if crate::alive({}) {{ (", mutant.id)));
                        parts.push(Part::Raw(left.clone()));
                        parts.push(text(format!(") {} (", mutant.replacement)));
                        parts.push(Part::Raw(right.clone()));
                        parts.push(text(") } else "));
                    }
                    parts.push(text("{ if ("));
                    parts.push(Part::Source(left.clone()));
                    parts.push(text(format!(") == ({not}{flipped}) {{ {not}{flipped} }} else {{ ")));
                    parts.push(Part::Source(right.clone()));
                    parts.push(text(" } })"));
                    parts
                }
                Eq(_) | Ne(_) | Lt(_) | Le(_) | Gt(_) | Ge(_) => vec![
                    text("(match (&("),
                    Part::Source(left.clone()),
                    text("), &("),
                    Part::Source(right.clone()),
                    text(format!(
                        ")) {{ (l{id}, r{id}) => {} }})",
                        choice(&|operator| format!("*l{id} {operator} *r{id}"))
                    )),
                ],
                AddAssign(_) | SubAssign(_) | MulAssign(_) | DivAssign(_) | RemAssign(_) | BitXorAssign(_)
                | BitAndAssign(_) | BitOrAssign(_) | ShlAssign(_) | ShrAssign(_) => {
                    let mut parts = vec![
                        text(format!("{{ let r{id} = ")),
                        Part::Source(right.clone()),
                        text("; match crate::who() { "),
                    ];
                    for mutant in &mutants {
                        parts.push(text(format!("{} => {{ ", mutant.id)));
                        parts.push(Part::Raw(left.clone()));
                        parts.push(text(format!(" {} r{id}; }}, ", mutant.replacement)));
                    }
                    parts.push(text("_ => { "));
                    parts.push(Part::Source(left.clone()));
                    parts.push(text(format!(" {operator} r{id}; }} }} }}")));
                    parts
                }
                _ => vec![
                    text(format!("({{ let l{id} = ")),
                    Part::Source(left.clone()),
                    text(format!("; let r{id} = ")),
                    Part::Source(right.clone()),
                    text(format!("; {} }})", choice(&|operator| format!("l{id} {operator} r{id}")))),
                ],
            };
            if !parts.is_empty() {
                self.edit(node.span().byte_range(), &mutants, parts);
            }
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        if let [mutant] = self.at(node.span(), "UnaryOperator")[..] {
            let inner = node.expr.span().byte_range();
            let operator = &self.source[node.op.span().byte_range()];
            let parts = vec![
                text(format!("(if crate::alive({}) {{ ", mutant.id)),
                Part::Raw(inner.clone()),
                text(format!(" }} else {{ {operator} ")),
                Part::Source(inner),
                text(" })"),
            ];
            self.edit(node.span().byte_range(), &[mutant], parts);
        }
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let gone = self.at(node.span(), "MatchArm");
        let pattern = node.pat.span().byte_range();
        match &node.guard {
            None => {
                if let [mutant] = gone[..] {
                    let parts = vec![Part::Raw(pattern.clone()), text(format!(" if !crate::alive({})", mutant.id))];
                    self.edit(pattern, &[mutant], parts);
                }
            }
            Some((_, guard)) if !has_let(guard) => {
                let mut all = gone.clone();
                let mut condition = "(".to_string();
                let mut end = String::new();
                for mutant in &gone {
                    condition = format!("!crate::alive({}) && (", mutant.id);
                }
                for mutant in self.at(guard.span(), "MatchArmGuard") {
                    all.push(mutant);
                    match mutant.replacement.as_str() {
                        "true" => condition.push_str(&format!("crate::alive({}) || ", mutant.id)),
                        _ => condition.push_str(&format!("!crate::alive({}) && ", mutant.id)),
                    }
                    condition.push('(');
                    end.push(')');
                }
                if !all.is_empty() {
                    let range = guard.span().byte_range();
                    let parts = vec![text(condition), Part::Source(range.clone()), text(format!("{end})"))];
                    self.edit(range, &all, parts);
                }
            }
            Some(_) => {}
        }
        visit::visit_arm(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        if let Some(rest) = &node.rest {
            let rest = &self.source[rest.span().byte_range()];
            let rest = if rest.contains("Default::default()") || rest.contains("Self::default()") {
                format!("<{}>::default()", &self.source[node.path.span().byte_range()])
            } else {
                rest.to_string()
            };
            for field in &node.fields {
                if let [mutant] = self.at(field.span(), "StructField")[..] {
                    let name = &self.source[field.member.span().byte_range()];
                    let parts = vec![
                        text(format!("{name}: if crate::alive({}) {{ ({rest}).{name} }} else {{ ", mutant.id)),
                        Part::Source(field.expr.span().byte_range()),
                        text(" }"),
                    ];
                    self.edit(field.span().byte_range(), &[mutant], parts);
                }
            }
        }
        visit::visit_expr_struct(self, node);
    }
}

fn list(path: &str, of: &str) -> Vec<Mutant> {
    let json: Value = serde_json::from_str(&fs::read_to_string(path).expect("the list")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let number = |value: &Value| value.as_u64().expect("a number") as usize;
    let all = json.as_array().expect("a list").iter().enumerate();
    let all = all.map(|(index, mutant)| Mutant {
        id: index + 1,
        file: text(&mutant["file"]),
        name: text(&mutant["name"]),
        genre: text(&mutant["genre"]),
        replacement: text(&mutant["replacement"]),
        start: (number(&mutant["span"]["start"]["line"]), number(&mutant["span"]["start"]["column"])),
    });
    all.filter(|mutant| mutant.file.starts_with(&format!("{of}/"))).collect()
}

fn names(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(String::from).collect()
}

const SWITCH: &str = "
#[doc(hidden)] pub static WHO: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| std::env::var(\"MUTANT\").ok().and_then(|id| id.parse().ok()).unwrap_or(0));
#[doc(hidden)] #[inline(always)] pub fn who() -> u32 { *WHO }
#[doc(hidden)] #[inline(always)] pub fn alive(id: u32) -> bool { who() == id }
";

fn switch(mutants: &[Mutant], root: &str, of: &str, unviable: &BTreeSet<String>) {
    let files: BTreeSet<&String> = mutants.iter().map(|mutant| &mutant.file).collect();
    let mut done = BTreeSet::new();
    for file in files {
        // The file as it was lies beside it.
        let (path, kept) = (format!("{root}/{file}"), format!("{root}/{file}.was"));
        if !fs::exists(&kept).expect("a look") {
            fs::copy(&path, &kept).expect("a copy");
        }
        let source = fs::read_to_string(&kept).expect("a file");
        let mut editor = Editor { source: &source, mutants: BTreeMap::new(), edits: Vec::new() };
        for mutant in mutants.iter().filter(|mutant| mutant.file == *file && !unviable.contains(&mutant.name)) {
            editor.mutants.entry(mutant.start).or_default().push(mutant);
        }
        let tree = syn::parse_file(&source).expect("Rust");
        editor.visit_file(&tree);
        done.extend(editor.edits.iter().flat_map(|edit| edit.ids.iter().copied()));
        let mut out = String::new();
        editor.render(0..source.len(), None, &mut out);
        if fs::read_to_string(&path).expect("a file") != out {
            fs::write(&path, out).expect("written");
        }
    }
    let library = format!("{root}/{of}/src/lib.rs");
    let text = fs::read_to_string(&library).expect("a library");
    if !text.contains("static WHO") {
        fs::write(&library, text + SWITCH).expect("written");
    }
    for mutant in mutants.iter().filter(|mutant| !done.contains(&mutant.id) && !unviable.contains(&mutant.name)) {
        println!("not switched: {}", mutant.name);
    }
}

/// The edit that a byte of a rewritten file lies in, innermost.
fn innermost(text: &str, at: usize) -> Option<usize> {
    let mut open = Vec::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find("/*").map(|found| rest + found) {
        if found > at {
            break;
        }
        let end = found + text[found..].find("*/").expect("an end");
        let inside = &text[found + 2..end];
        if let Some(id) = inside.strip_prefix('<').and_then(|id| id.parse::<usize>().ok()) {
            open.push(id);
        } else if inside.strip_suffix('>').is_some_and(|id| id.parse::<usize>().is_ok()) {
            open.pop();
        }
        rest = end + 2;
    }
    open.last().copied()
}

fn blame(mutants: &[Mutant], root: &str, unviable: &str) {
    let mut found = names(unviable);
    let (before, mut errors) = (found.len(), 0);
    for line in io::stdin().lines() {
        let line = line.expect("a line");
        let Ok(json) = serde_json::from_str::<Value>(&line) else { continue };
        let message = &json["message"];
        if message["level"] != "error" {
            continue;
        }
        errors += 1;
        let spans = message["spans"].as_array().cloned().unwrap_or_default();
        let mut known = false;
        for span in spans.iter().filter(|span| span["is_primary"] == true) {
            let file = span["file_name"].as_str().expect("a name");
            let Ok(text) = fs::read_to_string(format!("{root}/{file}")) else { continue };
            if let Some(id) = innermost(&text, span["byte_start"].as_u64().expect("a number") as usize) {
                // An operator's mutants share an edit; all of them go, and are looked at one by one.
                let first = mutants.iter().find(|mutant| mutant.id == id).expect("an id");
                let same = |mutant: &&Mutant| {
                    mutant.id == id || (first.genre != "FnValue" && mutant.file == first.file && mutant.start == first.start && mutant.genre == first.genre)
                };
                found.extend(mutants.iter().filter(same).map(|mutant| mutant.name.clone()));
                known = true;
            }
        }
        if !known {
            println!("nobody's: {}", message["rendered"].as_str().unwrap_or_default());
        }
    }
    println!("{errors} errors, {} more not viable", found.len() - before);
    fs::write(unviable, found.into_iter().map(|name| name + "\n").collect::<String>()).expect("written");
}

fn run(mutants: &[Mutant], unviable: &BTreeSet<String>, outcomes: &str, seconds: u64, programs: &[String]) {
    let mut known: BTreeMap<String, String> = fs::read_to_string(outcomes)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('\t').map(|(outcome, name)| (name.into(), outcome.into())))
        .collect();
    for program in programs {
        let mut words = program.split(' ');
        let status = Command::new(words.next().expect("a program")).args(words).stdout(Stdio::null()).status();
        assert!(status.expect("a program").success(), "{program} fails without any mutant");
    }
    for mutant in mutants {
        if unviable.contains(&mutant.name) {
            continue;
        }
        if known.get(&mutant.name).is_some_and(|outcome| outcome != "missed") {
            continue;
        }
        let mut outcome = "missed";
        for program in programs {
            let mut words = program.split(' ');
            let mut child = Command::new(words.next().expect("a program"))
                .args(words)
                .env("MUTANT", mutant.id.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("a program");
            let start = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().expect("a child") {
                    break Some(status);
                }
                if start.elapsed() > Duration::from_secs(seconds) {
                    child.kill().expect("killed");
                    child.wait().expect("gone");
                    break None;
                }
                thread::sleep(Duration::from_millis(10));
            };
            match status {
                None => outcome = "timeout",
                Some(status) if !status.success() => outcome = "caught",
                Some(_) => continue,
            }
            break;
        }
        if outcome != "caught" {
            println!("{outcome}\t{}", mutant.name);
        }
        known.insert(mutant.name.clone(), outcome.into());
        let text: String = known.iter().map(|(name, outcome)| format!("{outcome}\t{name}\n")).collect();
        fs::write(outcomes, text).expect("written");
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match all[..] {
        ["switch", path, root, of, unviable] => switch(&list(path, of), root, of, &names(unviable)),
        ["blame", path, root, of, unviable] => blame(&list(path, of), root, unviable),
        ["run", path, of, unviable, outcomes, seconds, ..] => {
            let seconds = seconds.parse().expect("a number of seconds");
            run(&list(path, of), &names(unviable), outcomes, seconds, &arguments[6..]);
        }
        _ => panic!("see the first lines of main.rs"),
    }
}
