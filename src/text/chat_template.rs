//! A conversation as the text that the model was trained to see. Models carry their format as a Jinja template, and
//! `transformers` fixed how such a template is run: which whitespace is cut, which functions there are, what `tojson`
//! writes. This is the same environment on minijinja, and `tests/golden/make_chat_templates.py` holds it against Jinja
//! itself. A template is a program that came with a download, so it runs on a budget of instructions and sees nothing
//! but the conversation.

use super::tokenizer::{read_config, special_token};
use crate::error::{Error, Result};
use crate::files::read_config_text;
use crate::model::gguf::Gguf;
use crate::text::Message;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, ErrorKind, State, UndefinedBehavior, escape_formatter};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// A compiled chat template with the special tokens that it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    /// Names such as `bos_token` and their texts. A token that the model does not have is not here, and so undefined.
    special_tokens: Vec<(&'static str, String)>,
    /// Where the template came from, for errors.
    path: Option<PathBuf>,
}

impl ChatTemplate {
    /// Compiles `source`. The tokens are what the template calls `bos_token` and `eos_token`.
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let tokens = [("bos_token", bos_token), ("eos_token", eos_token)];
        let tokens = tokens
            .into_iter()
            .filter_map(|(name, token)| Some((name, token?.to_owned())));
        Self::compile(source, tokens.collect(), None)
    }

    /// The template of a Hugging Face folder: `chat_template.jinja`, or else what `tokenizer_config.json` holds. `None`
    /// where neither has one, as with base models.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let config = read_config(folder)?.unwrap_or_default();
        let tokens = SPECIAL_TOKENS.iter();
        let tokens = tokens
            .filter_map(|&name| Some((name, special_token(&config, name)?.to_owned())))
            .collect();

        let path = folder.join("chat_template.jinja");
        match read_config_text(&path) {
            Ok(source) => return Self::compile(&source, tokens, Some(path)).map(Some),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let path = folder.join("tokenizer_config.json");
        match default_template(&config["chat_template"]) {
            Ok(Some(source)) => Self::compile(source, tokens, Some(path)).map(Some),
            Ok(None) => Ok(None),
            Err(what) => Err(Error::file(path, what)),
        }
    }

    /// The template in a GGUF file's metadata, `None` where there is none.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>> {
        let Some(source) = gguf.find::<&str>("tokenizer.chat_template")? else {
            return Ok(None);
        };
        let vocabulary = gguf.find::<Vec<&str>>("tokenizer.ggml.tokens")?.unwrap_or_default();
        let mut tokens = Vec::new();
        for (name, key) in [
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        ] {
            let id = gguf.find::<u32>(&format!("tokenizer.ggml.{key}_token_id"))?;
            if let Some(token) = id.and_then(|id| vocabulary.get(id as usize)) {
                tokens.push((name, (*token).to_owned()));
            }
        }
        Self::compile(source, tokens, Some(gguf.path().to_path_buf())).map(Some)
    }

    /// The text of a conversation. With `add_generation_prompt` it ends where the model's answer begins.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let messages = messages
            .iter()
            .map(|message| Value::from_pairs([("role", message.role.as_str()), ("content", message.content.as_str())]));
        // transformers passes `tools` and `documents` always, as none, and leaves what nobody set undefined.
        let context = [
            ("messages", messages.collect::<Value>()),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let tokens = self
            .special_tokens
            .iter()
            .map(|(name, token)| (*name, Value::from(token.as_str())));
        let context = Value::from_pairs(context.into_iter().chain(tokens));
        let environment = Arc::clone(&self.environment);
        let rendered = apart(move || {
            let template = environment.get_template(NAME);
            template
                .expect("the template was compiled under this name")
                .render(context)
        });
        rendered.map_err(|what| self.error(&what))
    }

    fn compile(source: &str, special_tokens: Vec<(&'static str, String)>, path: Option<PathBuf>) -> Result<Self> {
        let mut template = Self {
            environment: Arc::new(Environment::empty()),
            special_tokens,
            path,
        };
        if source.len() > MAX_SOURCE {
            let what = format!("has {} bytes, and {MAX_SOURCE} are the limit", source.len());
            return Err(template.error(&what));
        }
        let source = without_generation_tags(&source.replace("\r\n", "\n").replace('\r', "\n"));
        let compiled = apart(|| {
            let mut environment = environment();
            environment.add_template_owned(NAME, source)?;
            Ok(Arc::new(environment))
        });
        template.environment = compiled.map_err(|what| template.error(&what))?;
        Ok(template)
    }

    /// A sentence whose subject is the template.
    fn error(&self, what: &str) -> Error {
        let what = format!("the chat template {what}");
        match &self.path {
            Some(path) => Error::file(path, what),
            None => Error::mismatch(what),
        }
    }
}

/// Does `work` on a thread of its own with the stack and the time that it may need. Errors become ours there too: they can hold
/// values of the template, whose nesting they would bring along. The budget does not see all work: constants are computed
/// while compiling, before there is one, and a list that is made a text is paid for when it is one. So there is a limit of
/// time as well, and the thread is left behind when it is over.
fn apart<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, minijinja::Error> + Send + 'static,
) -> std::result::Result<T, String> {
    let (done, outcome) = mpsc::channel();
    let work = move || {
        // Nobody may be waiting any more.
        let _ = done.send(work().map_err(|error| describe(&error)));
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    thread.map_err(|error| format!("cannot have a thread to run on: {error}"))?;
    match outcome.recv_timeout(TIME) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("did not come to an end within {} seconds", TIME.as_secs()))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("made the template engine panic".into()),
    }
}

/// What went wrong, and in which line.
fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" (line {line})"));
    let refusal = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Refusal>());
    match (refusal, error.kind(), error.detail()) {
        (Some(refusal), ..) => format!("refuses this conversation{line}: {refusal}"),
        (None, ErrorKind::OutOfFuel, _) => format!("did not come to an end{line} within {FUEL} instructions"),
        (None, kind, Some(detail)) => format!("cannot be used{line}: {kind}: {detail}"),
        (None, kind, None) => format!("cannot be used{line}: {kind}"),
    }
}

const NAME: &str = "chat";

/// The special tokens that a tokenizer config can name, which are variables of the template.
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// How much one rendering may do: an instruction costs one, and 64 bytes made cost one. A thousand messages take some
/// hundred thousand.
const FUEL: u64 = 1_000_000;

/// How long compiling or one rendering may take; the templates in use take a few milliseconds.
const TIME: Duration = Duration::from_secs(5);

/// The longest template that is compiled; the longest in use have some twenty thousand bytes.
const MAX_SOURCE: usize = 128 << 10;

/// What a template within these two limits can need when it is made to nest as deeply as it can: minijinja walks over
/// chains of operators, and over lists of lists when it drops them, by recursion. The system commits only what is used.
const STACK: usize = 256 << 20;

fn template_error(what: String) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, what)
}

/// `tokenizer_config.json` has one template or a list of named ones.
fn default_template(config: &serde_json::Value) -> std::result::Result<Option<&str>, String> {
    let Some(named) = config.as_array() else {
        return Ok(config.as_str());
    };
    let default = named.iter().find(|template| template["name"] == "default");
    match default.and_then(|template| template["template"].as_str()) {
        Some(source) => Ok(Some(source)),
        None => {
            let names: Vec<&str> = named.iter().filter_map(|template| template["name"].as_str()).collect();
            Err(format!(
                "it has the chat templates {names:?}, and none that is called `default`"
            ))
        }
    }
}

/// Jinja as `transformers` sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(false);
    environment.set_formatter(|out, state, value| {
        // Python's spelling of the constants.
        let python = match value.kind() {
            ValueKind::None => "None",
            ValueKind::Bool if value.is_true() => "True",
            ValueKind::Bool => "False",
            _ => return escape_formatter(out, state, value),
        };
        escape_formatter(out, state, &Value::from(python))
    });
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
    // To Jinja everything with a length and items is a sequence, texts and maps too.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Undefined | ValueKind::Seq | ValueKind::String | ValueKind::Map
        )
    });
    environment
}

/// What a template says with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: &Value) -> std::result::Result<Value, minijinja::Error> {
    // Anything but a text could be a list without an end, and would be written out here at no cost.
    let refusal = match message.as_str() {
        Some(text) => Refusal(text.into()),
        None => Refusal(format!("(a message of type {})", message.kind())),
    };
    Err(template_error("raise_exception".into()).with_source(refusal))
}

fn strftime_now(format: &str) -> std::result::Result<String, minijinja::Error> {
    // Two letters can become forty.
    if format.len() > 1024 {
        return Err(template_error(
            "strftime_now was given a format of more than 1024 bytes".into(),
        ));
    }
    let mut text = String::new();
    match write!(text, "{}", chrono::Local::now().format(format)) {
        Ok(()) => Ok(text),
        Err(_) => {
            let what = format!("strftime_now does not know the format `{format}`");
            Err(template_error(what))
        }
    }
}

/// Marks what of the text the assistant wrote, for training; the text is the same without. The blocks become `with`
/// blocks, which have the same scope and cut the same whitespace.
fn without_generation_tags(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        plain.push_str(before);
        rest = tag;
        let name = tag.trim_start_matches(['-', '+']).trim_start();
        let length = name.bytes().take_while(u8::is_ascii_lowercase).count();
        let (name, after) = name.split_at(length);
        let replacement = match name {
            "generation" => "with",
            "endgeneration" => "endwith",
            _ => continue,
        };
        if after.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
            plain.push_str(&tag[..tag.len() - after.len() - length]);
            plain.push_str(replacement);
            rest = after;
        }
    }
    plain + rest
}

/// Python's `json.dumps` with the defaults that `transformers` gives it.
fn tojson(state: &State, value: &Value, options: Kwargs) -> std::result::Result<String, minijinja::Error> {
    let indent = options.get::<Option<usize>>("indent")?;
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(json_error("its separators are not two texts")),
    };
    let mut json = Json {
        state,
        text: String::new(),
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        indent,
        item,
        key,
    };
    options.assert_all_used()?;
    json.value(value, 0)?;
    Ok(json.text)
}

fn json_error(what: &str) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::BadSerialization, format!("tojson: {what}"))
}

struct Json<'a, 't, 'e> {
    /// The template's state, whose budget of steps every item uses up.
    state: &'a State<'t, 'e>,
    text: String,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<usize>,
    /// Between two items.
    item: String,
    /// Between a key and its value.
    key: String,
}

impl Json<'_, '_, '_> {
    /// Deeper values do not occur, and the stack is not endless.
    const MAX_DEPTH: usize = 100;

    fn value(&mut self, value: &Value, depth: usize) -> std::result::Result<(), minijinja::Error> {
        if depth > Self::MAX_DEPTH {
            return Err(json_error("the value is nested too deeply"));
        }
        // Paid for before it is made: `[x] * 1000000000` is small until somebody goes through it.
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()? {
                    self.state.consume_fuel(1)?;
                    pairs.push((json_key(&key)?, value.get_item(&key)?));
                }
                if self.sort_keys {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.items('{', '}', depth, pairs.len(), |json, index| {
                    json.string(&pairs[index].0)?;
                    let separator = json.key.clone();
                    json.push(&separator)?;
                    json.value(&pairs[index].1, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let mut items = Vec::new();
                for item in value.try_iter()? {
                    self.state.consume_fuel(1)?;
                    items.push(item);
                }
                self.items('[', ']', depth, items.len(), |json, index| {
                    json.value(&items[index], depth + 1)
                })?;
            }
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            _ => self.text.push_str(&json_scalar(value)?),
        }
        Ok(())
    }

    fn items(
        &mut self,
        open: char,
        close: char,
        depth: usize,
        count: usize,
        mut write: impl FnMut(&mut Self, usize) -> std::result::Result<(), minijinja::Error>,
    ) -> std::result::Result<(), minijinja::Error> {
        self.text.push(open);
        for index in 0..count {
            if index > 0 {
                let separator = self.item.clone();
                self.push(&separator)?;
            }
            self.new_line(depth + 1)?;
            write(self, index)?;
        }
        if count > 0 {
            self.new_line(depth)?;
        }
        self.text.push(close);
        Ok(())
    }

    /// Adds `text`, which is paid for first.
    fn push(&mut self, text: &str) -> std::result::Result<(), minijinja::Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        self.text.push_str(text);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) -> std::result::Result<(), minijinja::Error> {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            // A width beyond reason is cut, since a template could ask for the whole memory.
            self.push(&" ".repeat(indent.min(64) * depth))?;
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> std::result::Result<(), minijinja::Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if c < ' ' || self.ensure_ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.text, "\\u{unit:04x}").expect("a String takes all");
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        Ok(())
    }
}

fn json_key(key: &Value) -> std::result::Result<String, minijinja::Error> {
    match key.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => json_scalar(key),
    }
}

fn json_scalar(value: &Value) -> std::result::Result<String, minijinja::Error> {
    match value.kind() {
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number if value.is_integer() => Ok(value.to_string()),
        ValueKind::Number => Ok(python_float(f64::try_from(value.clone())?)),
        other => Err(json_error(&format!("a value of type {other} has no form in JSON"))),
    }
}

/// Python writes the same digits as Rust, and exponents with a sign and two digits.
fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent
                .strip_prefix('-')
                .map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String> {
        ChatTemplate::new(source, Some("<s>"), None)?.render(&[Message::user("Hi"), Message::system("<&'\">")], true)
    }

    #[test]
    fn what_a_template_sees() {
        let all = "{{ bos_token }}{{ eos_token is defined }}{{ tools is none }}{{ documents }}{{ enable_thinking is \
                   defined }}{{ add_generation_prompt }}{{ messages[0] | tojson }}{{ messages[-1].content }}";
        let expected = "<s>FalseTrueNoneFalseTrue{\"role\": \"user\", \"content\": \"Hi\"}<&'\">";
        assert_eq!(render(all).unwrap(), expected);
    }

    #[test]
    fn json_is_pythons() {
        let json = |expression: &str| render(&format!("{{{{ {expression} }}}}")).unwrap();
        assert_eq!(
            json(r#"{"b": [1, 2.5, true, none], "a": "<é\n\x01>"} | tojson"#),
            "{\"b\": [1, 2.5, true, null], \"a\": \"<é\\n\\u0001>\"}"
        );
        assert_eq!(
            json(r#"{"b": {}, "a": [1, []]} | tojson(indent=2, sort_keys=true)"#),
            "{\n  \"a\": [\n    1,\n    []\n  ],\n  \"b\": {}\n}"
        );
        assert_eq!(
            json(r#"["é😀"] | tojson(ensure_ascii=true)"#),
            r#"["\u00e9\ud83d\ude00"]"#
        );
        assert_eq!(
            json(r#"{"a": [1, 2]} | tojson(separators=(",", ":"))"#),
            r#"{"a":[1,2]}"#
        );
        assert_eq!(json("{1: 2, true: 3, none: 4} | tojson"), r#"{"1": 3, "null": 4}"#);
        for (number, python) in [
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (-2.0, "-2.0"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(python_float(number), python);
        }
        assert!(
            render("{{ nothing | tojson }}")
                .unwrap_err()
                .to_string()
                .contains("undefined")
        );
    }

    #[test]
    fn generation_blocks_leave_no_trace() {
        let source =
            "{% for m in messages %}\n  {%- generation -%}\n {{ m.role }}\n  {%+ endgeneration %}\nx{% endfor %}";
        let plain = without_generation_tags(source);
        assert_eq!(
            plain,
            source.replace("endgeneration", "endwith").replace("generation", "with")
        );
        let kept = "{% set generation = 1 %}{{ generation }}{% if generation %}{% endif %}{% generation";
        assert_eq!(without_generation_tags(kept), kept);
        assert_eq!(render(source).unwrap(), "user\n  xsystem\n  x");
    }

    #[test]
    fn failures_are_one_sentence_with_a_line() {
        let says = |source: &str, words: &[&str]| {
            let text = render(source).unwrap_err().to_string();
            assert!(
                words.iter().all(|word| text.contains(word)),
                "{text:?} does not say all of {words:?}"
            );
            assert!(!text.contains('\n'), "{text:?} is more than a line");
        };
        says(
            "a\n{{ raise_exception('roles must alternate') }}",
            &["refuses", "line 2", "roles must alternate"],
        );
        says("a\n\n{% if %}", &["line 3", "syntax error"]);
        says("{{ messages[7].content }}", &["line 1", "undefined"]);
        says("{{ messages | nonsense }}", &["nonsense"]);
        says("{{ strftime_now('%!') }}", &["%!"]);
        says("{{ strftime_now() }}", &["missing argument"]);
        says("{% include 'other' %}", &["other"]);
        says(&" ".repeat(MAX_SOURCE + 1), &["131073 bytes"]);
        says(
            "\n{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
            &["line 2", "1000000"],
        );
        says("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &["recursion"]);
        let deep =
            "{% set n = namespace(x=[]) %}{% for i in range(200) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}";
        says(deep, &["nested"]);
    }

    /// Lists of lists as deep as the budget allows, and the longest chain of operators: minijinja goes through both by
    /// recursion, and would take the process down with it on a stack of usual size.
    #[test]
    fn nesting_does_not_overflow_the_stack() {
        let deep = "{% set n = namespace(x=[]) %}{% for j in range(99) %}{% for i in range(99999) %}{% set n.x = [n.x] %}\
                    {% endfor %}{% endfor %}";
        assert!(render(deep).unwrap_err().to_string().contains("did not come to an end"));
        let chain = format!("{{{{ a{} }}}}", ".b".repeat(MAX_SOURCE / 2 - 8));
        assert!(render(&chain).unwrap_err().to_string().contains("undefined"));
    }

    #[test]
    fn folders() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let rendered = || {
            ChatTemplate::from_folder(folder.path())
                .unwrap()
                .map(|template| template.render(&[], false).unwrap())
        };
        assert_eq!(rendered(), None);
        write("tokenizer_config.json", r#"{"bos_token": null, "chat_template": null}"#);
        assert_eq!(rendered(), None);
        write(
            "tokenizer_config.json",
            r#"{"bos_token": {"content": "<b>"}, "eos_token": "<e>", "chat_template": "{{ bos_token + eos_token }}"}"#,
        );
        assert_eq!(rendered().unwrap(), "<b><e>");
        write(
            "tokenizer_config.json",
            r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
        );
        assert_eq!(rendered().unwrap(), "d");
        write("chat_template.jinja", "file\n");
        assert_eq!(rendered().unwrap(), "file");
        std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
        for (bad, word) in [
            (r#"{"chat_template": [{"name": "rag", "template": "t"}]}"#, "rag"),
            (r#"{"chat_template": "{% for %}"}"#, "line 1"),
            ("{", "JSON"),
        ] {
            write("tokenizer_config.json", bad);
            let text = ChatTemplate::from_folder(folder.path()).unwrap_err().to_string();
            assert!(text.contains(word) && text.contains("tokenizer_config.json"), "{text}");
        }
    }
}
