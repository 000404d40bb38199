//! The table of judges that a config can name. A new one is its file and its line here.

use super::kind::{Context, Kind, Opened};
use super::{answer, command, countdown, gsm8k, ifeval, letter, likelihood, math, preference, reward_model, terms};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A judge that a config can name.
pub struct Listed {
    /// Its name, and the key of its main setting.
    pub name: &'static str,
    /// How its settings are written, where it has some.
    pub settings: &'static str,
    /// Names of its terms, the first of which is the reward unless `[reward]` says otherwise; none where they are only known from its answers.
    pub terms: &'static [&'static str],
    /// What it does.
    pub meaning: &'static str,
    /// Reads its settings, the table in which the config names it.
    open: fn(&toml::Table, &Context) -> Opened,
}

macro_rules! judges {
    ($($name:literal, $settings:literal, $terms:expr, $meaning:literal, $open:expr;)*) => {
        /// All of them.
        pub const JUDGES: &[Listed] = &[
            $(Listed { name: $name, settings: $settings, terms: &$terms, meaning: $meaning, open: $open }),*
        ];
    };
}

judges! {
    "exact", "", ["correct"], "The response is the answer and nothing else.", answer::exact;
    "first_word", "", ["correct"], "The first word of the response is the answer.", answer::first_word;
    "contains", "", ["correct"], "The response mentions the answer as whole words and, where `answer_map` lists all answers, no other one.", answer::contains;
    "number", "", ["correct"], "The last number of the response equals the last number of the answer, in whatever spelling.", answer::number;
    "regex", "regex = \"…(group)…\"", ["correct"], "Group 1 of the first match is the answer, as text or as a number; with `(?s).*` in front, of the last match.", answer::regex;
    "gsm8k", "", ["strict", "flexible"], "As lm-evaluation-harness judges GSM8K: the answer behind `####`, and the last number.", gsm8k::open;
    "math", "", ["correct", "answered"], "As the grader of PRM800K judges MATH: the answer in the last box.", math::open;
    "ifeval", "", ["prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose"], "As Google's checker judges IFEval: all instructions of a prompt are followed; and the share that is.", ifeval::open;
    "countdown", "", ["correct", "valid", "answered"], "The expression in `<answer>` uses each number of column `nums` once and comes to `target`, in exact fractions.", countdown::open;
    "letter", "", ["correct", "answered"], "The option that the response names by its letter is the right one.", letter::open;
    "likelihood", "likelihood = \"probability\" or \"log_probability\"", ["probability", "log_probability"], "How probable the gold answer is, as the data spell it, and the end of the turn after it. Nothing is written. `log_probability` makes certainty of a wrong answer cost the most, though no token more than one of probability 0.001.", likelihood::open;
    "likeliest", "likeliest = \"correct\", \"correct_norm\", \"probability\" or \"log_probability\"", ["correct", "correct_norm", "probability", "log_probability"], "Whether the right option is the most probable one (by its sum of logarithms; by the sum divided by its bytes), and its probability among the options. Nothing is written.", likelihood::open_likeliest;
    "preference", "preference = \"dpo\", \"ln_dpo\", \"mapo\", \"bco\", \"accuracy\" or \"margin\", beta = 0.1, delta = 0.0", ["accuracy", "margin", "chosen", "rejected", "loss"], "How much more probable the chosen text of a pair is to a candidate than it was at the start of the search, and how much less the rejected one: the negative loss of DPO, of DPO with log-probabilities a token, of MaPO's margin without a reference, or of the binary classifier BCO (`delta`, its threshold, instead of a running mean), which also reads labels; or the share of pairs that are ordered right, a tie being half, or the margin. The reward is what the setting names, none of the terms by itself but for `accuracy` and `margin`. Nothing is written.", preference::open;
    "command", "command = [\"python3\", \"reward.py\"], timeout = \"30s\", copies = 1, batch = 1", [], "A program of one's own (docs/judging.md).", command::open;
    "reward_model", "reward_model = \"PATH\", precision = \"int8\", memory_gib = 4.0", ["score"], "What a classifier of one label (LlamaForSequenceClassification, Qwen2ForSequenceClassification) says of the whole conversation, on the CPU beside the policy's model. `precision` is f32, bf16, int8 or int4; in int8 and int4 a score does not depend on which responses are judged together. Its weights and its cache stay within `memory_gib`, in each process.", reward_model::open;
    "matches", "matches = \"pattern\"", ["matches"], "Whether a regular expression matches the response.", terms::matches;
    "length", "length = 200, least = 0, unit = \"characters\" or \"words\"", ["length"], "1 for a response of at least `least` and at most `length` units, and less the further it is from that.", terms::length;
    "repetition", "repetition = 3", ["distinct"], "The share of the response's n-grams of words that are no repetition.", terms::repetition;
    "json_schema", "json_schema = \"FILE\"", ["valid"], "Whether the response is JSON, bare or in one code fence, that is valid under a JSON schema.", terms::json_schema;
}

/// A judge as a config names it: a name, or a table in which the judge's name is a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub struct JudgeConfig {
    name: String,
    settings: toml::Table,
}

impl JudgeConfig {
    /// The judge of this name without settings; a programmer's mistake where there is none.
    pub fn named(name: &str) -> Self {
        Self::try_from(toml::Value::String(name.into())).expect("a judge of the table that needs no settings")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checkpoint of a reward model, where it is one.
    pub fn reward_model(&self) -> Option<&Path> {
        self.settings.get("reward_model")?.as_str().map(Path::new)
    }

    /// Names of its terms; none where they are only known from its answers.
    pub fn terms(&self) -> &'static [&'static str] {
        find(&self.name).map_or(&[], |listed| listed.terms)
    }

    /// The judge. Files that it names are read.
    pub fn open(&self, context: &Context) -> Result<Box<dyn Kind>> {
        let context = Context {
            reads_files: true,
            ..context.clone()
        };
        let listed = find(&self.name).expect("looked up when it was made");
        (listed.open)(&self.settings, &context).map_err(|what| Error::config(format!("judge {}: {what}", self.name)))
    }

    /// Whether it judges by probabilities, so that nothing is written for it.
    pub fn asks_likelihood(&self) -> bool {
        let listed = find(&self.name).expect("looked up when it was made");
        (listed.open)(&self.settings, &Context::default()).is_ok_and(|kind| kind.asks_likelihood())
    }
}

/// The line of this name.
pub fn find(name: &str) -> Option<&'static Listed> {
    JUDGES.iter().find(|listed| listed.name == name)
}

fn names() -> String {
    let names: Vec<String> = JUDGES.iter().map(|listed| format!("`{}`", listed.name)).collect();
    names.join(", ")
}

impl TryFrom<toml::Value> for JudgeConfig {
    type Error = String;

    fn try_from(value: toml::Value) -> std::result::Result<Self, String> {
        let (listed, settings) = match value {
            toml::Value::String(name) => {
                let listed =
                    find(&name).ok_or_else(|| format!("unknown variant `{name}`, expected one of {}", names()))?;
                (listed, toml::Table::new())
            }
            toml::Value::Table(settings) => {
                let mut named = settings.keys().filter_map(|key| find(key));
                let listed = named
                    .next()
                    .ok_or_else(|| format!("the judge's table names none; expected one of the keys {}", names()))?;
                if let Some(other) = named.next() {
                    return Err(format!(
                        "the judge's table names two, `{}` and `{}`; expected one",
                        listed.name, other.name
                    ));
                }
                (listed, settings)
            }
            other => return Err(format!("a judge is {other}, expected a name or a table")),
        };
        (listed.open)(&settings, &Context::default()).map_err(|what| format!("judge {}: {what}", listed.name))?;
        Ok(Self {
            name: listed.name.into(),
            settings,
        })
    }
}

impl From<JudgeConfig> for toml::Value {
    fn from(config: JudgeConfig) -> Self {
        if config.settings.is_empty() {
            Self::String(config.name)
        } else {
            Self::Table(config.settings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<JudgeConfig, String> {
        let mut table: toml::Table = format!("judge = {text}").parse().expect("TOML");
        JudgeConfig::try_from(table.remove("judge").expect("it is there"))
    }

    #[test]
    fn a_judge_is_a_name_or_a_table() {
        for text in [
            "\"number\"",
            r#"{ regex = '(\d+)' }"#,
            "{ likelihood = \"log_probability\" }",
            r#"{ command = ["python3", "r.py"], timeout = "5s", copies = 2 }"#,
            "{ length = 20, unit = \"words\" }",
            "{ repetition = 2 }",
            "{ reward_model = \"m\", precision = \"bf16\", memory_gib = 0.5 }",
        ] {
            let config = read(text).expect(text);
            let written = toml::Value::from(config.clone());
            assert_eq!(
                JudgeConfig::try_from(written).expect("and read again"),
                config,
                "{text}"
            );
        }
        for (text, expected) in [
            ("\"numbr\"", "unknown variant `numbr`"),
            ("3", "expected a name or a table"),
            ("{ timeout = \"5s\" }", "names none"),
            ("{ regex = '(a)', length = 3 }", "names two"),
            ("{ regex = '(' }", "is not valid"),
            ("\"regex\"", "regex"),
            ("{ command = [] }", "command"),
            ("{ command = [\"x\"], timeout = \"soon\" }", "timeout"),
            ("{ command = [\"x\"], copys = 2 }", "copys"),
            ("{ number = 1 }", "number"),
            ("\"reward_model\"", "reward_model"),
            ("{ reward_model = \"m\", precision = \"int3\" }", "int3"),
            ("{ reward_model = \"m\", memory_gib = 0.0 }", "memory_gib is 0"),
            ("{ reward_model = \"m\", cache_gib = 1.0 }", "cache_gib"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
