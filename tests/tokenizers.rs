//! Promise: texts become the ids, and conversations the texts, that Hugging Face's libraries make of them. The vectors of
//! the reference data are held against `tokenizer.json` and against the same tokenizer put through GGUF metadata, chats
//! against Jinja (`tests/golden/make_chat_templates.py`). And whatever is in a file, nothing panics.

mod support;

use essa::model::gguf::Gguf;
use essa::text::Message;
use essa::text::chat_template::ChatTemplate;
use essa::text::tokenizer::Tokenizer;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::gguf_writer::GgufWriter;
use support::{Missing, data, real_model, skip};

/// The reference models, and what GGUF calls their rule for words.
const MODELS: [(&str, &str); 3] = [("smollm2", "smollm"), ("qwen2.5", "qwen2"), ("llama3", "llama-bpe")];

#[test]
fn vectors_of_smollm2() {
    through_both_ways("smollm2");
}

#[test]
fn vectors_of_qwen2_5() {
    through_both_ways("qwen2.5");
}

#[test]
fn vectors_of_llama3() {
    through_both_ways("llama3");
}

/// A model's `tokenizer.json` and the same as GGUF metadata: both agree with the vectors, and with each other.
fn through_both_ways(model: &str) {
    let Some(data) = test_data() else { return };
    let file = data.join(model).join("tokenizer.json");
    let original = Tokenizer::from_file(&file).unwrap();
    agree(model, &original, &vectors(&data, model));

    let (_, pre) = MODELS.iter().find(|(name, _)| *name == model).unwrap();
    let tokenizer = Tokenizer::from_gguf(&open(&as_gguf(&json(&file), pre).finish())).unwrap();
    agree(model, &tokenizer, &vectors(&data, model));
    assert_eq!(tokenizer.vocab_size(), original.vocab_size());
    for id in 0..=tokenizer.vocab_size() as u32 {
        assert_eq!(tokenizer.token(id), original.token(id), "{model}: token {id}");
    }
    // What no vector has: special tokens as text, contractions of both cases, digits, line ends, form C.
    for text in [
        "<|im_start|>I'LL we'Ve \r\n\r\n 1234567 \t x\u{308}e\u{301} <|eot_id|>!",
        "½ ١٢٣ ..\n/a  b",
    ] {
        for parse_special in [true, false] {
            let (ours, theirs) = (
                tokenizer.encode(text, parse_special).unwrap(),
                original.encode(text, parse_special).unwrap(),
            );
            assert_eq!(ours, theirs, "{model}: {text:?}");
        }
    }
}

#[test]
fn vectors_through_a_real_gguf() {
    let (Some(data), Some(path)) = (test_data(), real_model()) else {
        return;
    };
    let gguf = Gguf::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let pre = gguf.get_str("tokenizer.ggml.pre").unwrap();
    let Some((model, _)) = MODELS.iter().find(|(_, rule)| *rule == pre) else {
        return skip(
            Missing::Data,
            &format!("no vectors for the tokenizer {pre} of {}", path.display()),
        );
    };
    agree(model, &tokenizer, &vectors(&data, model));
    if *model == "smollm2" {
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)));
        assert!(!tokenizer.add_bos());
        assert_eq!(tokenizer.stop_ids(), [0, 2]);
        let template = ChatTemplate::from_gguf(&gguf).unwrap().unwrap();
        let text = template.render(&[Message::user("Hi")], true).unwrap();
        assert!(
            text.ends_with("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
            "{text}"
        );
        let ids = tokenizer.encode(&text, true).unwrap();
        assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 3);
        assert_eq!(tokenizer.decode(&ids, false), text);
    }
}

#[test]
fn special_tokens_are_text_unless_asked_for() {
    let tokenizer = Tokenizer::from_gguf(&open(&small("gpt-2").finish())).unwrap();
    let (begin, think) = (
        tokenizer.token_id("<s>").unwrap(),
        tokenizer.token_id("<think>").unwrap(),
    );
    let text = "<s>a <think>b";
    let parsed = tokenizer.encode(text, true).unwrap();
    assert!(parsed.contains(&begin) && parsed.contains(&think));
    let literal = tokenizer.encode(text, false).unwrap();
    assert!(
        !literal.contains(&begin) && literal.contains(&think),
        "what is not special is always itself"
    );
    assert_eq!(tokenizer.decode(&parsed, false), text);
    assert_eq!(tokenizer.decode(&literal, true), text);
    assert_eq!(
        tokenizer.decode(&parsed, true),
        "a <think>b",
        "only special tokens are skipped"
    );
    assert_eq!(
        tokenizer.decode(&[u32::MAX, begin], false),
        "<s>",
        "ids that are not there are left out"
    );
    assert_eq!(
        tokenizer.decode(&[tokenizer.token_id("Ã").unwrap()], false),
        "\u{fffd}",
        "half of a character"
    );
    assert_eq!(tokenizer.encode("", true).unwrap(), [0; 0]);

    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(begin), Some(begin + 1)));
    assert!(tokenizer.add_bos());
    assert_eq!(tokenizer.token_id("<pad>"), None, "unused tokens are no tokens");
    assert_eq!(tokenizer.vocab_size(), 256 + 6, "and yet they count");
    let texts: Vec<String> = (0..200).map(|i| format!("text {i} <s> ü\n")).collect();
    let one_by_one: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text, true).unwrap()).collect();
    assert_eq!(tokenizer.encode_all(&texts, true).unwrap(), one_by_one);
}

#[test]
fn rules_for_words() {
    // Where every pair of letters up to four in a row merges, a token is a word.
    let letters = ["a", "b", "A", "1", "Ġ", "'", "s", ".", "/", "Ċ"];
    let mut rounds = vec![letters.map(String::from).to_vec()];
    for _ in 1..4 {
        let longer = rounds
            .last()
            .unwrap()
            .iter()
            .flat_map(|word| letters.map(|letter| format!("{word}{letter}")));
        rounds.push(longer.collect());
    }
    let cut = |word: &String| -> Vec<String> {
        let places: Vec<usize> = word.char_indices().map(|(at, _)| at).skip(1).collect();
        places
            .into_iter()
            .map(|at| format!("{} {}", &word[..at], &word[at..]))
            .collect()
    };
    let merges: Vec<String> = rounds[1..].iter().flatten().flat_map(cut).collect();
    let tokens: Vec<String> = byte_letters().into_iter().chain(rounds[1..].concat()).collect();
    let words = |pre: &str, text: &str| -> Vec<String> {
        let mut writer = GgufWriter::default();
        writer
            .string("tokenizer.ggml.model", "gpt2")
            .string("tokenizer.ggml.pre", pre);
        writer
            .strings("tokenizer.ggml.tokens", &tokens)
            .strings("tokenizer.ggml.merges", &merges);
        let tokenizer = Tokenizer::from_gguf(&open(&writer.finish())).unwrap();
        tokenizer
            .encode(text, false)
            .unwrap()
            .into_iter()
            .map(|id| tokenizer.decode(&[id], false))
            .collect()
    };
    let text = "ab 111 aA's .\n/b";
    assert_eq!(words("gpt-2", text), ["ab", " 111", " aA", "'s", " .", "\n", "/", "b"]);
    assert_eq!(
        words("smollm", text),
        ["ab", " ", "1", "1", "1", " aA", "'s", " .", "\n", "/", "b"]
    );
    assert_eq!(words("llama3", text), ["ab", " ", "111", " aA", "'s", " .\n", "/b"]);
    assert_eq!(
        words("qwen2", text),
        ["ab", " ", "1", "1", "1", " aA", "'s", " .\n", "/b"]
    );
    assert_eq!(
        words("tekken", text),
        ["ab", " ", "1", "1", "1", " a", "A", "'s", " .\n/", "b"]
    );
    assert_eq!(
        words("default", text),
        ["ab", " ", "111", " aA", "'", "s", " ", ".", "\n", "/", "b"]
    );
}

#[test]
fn errors_name_the_file_and_the_trouble() {
    let says = |writer: &GgufWriter, words: &[&str]| {
        let text = Tokenizer::from_gguf(&open(&writer.finish())).unwrap_err().to_string();
        for word in [&["made-up.gguf"], words].concat() {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
    };
    let with = |model: &str, pre: Option<&str>, tokens: &[&str], merges: &[&str]| {
        let mut writer = GgufWriter::default();
        writer.string("tokenizer.ggml.model", model);
        if let Some(pre) = pre {
            writer.string("tokenizer.ggml.pre", pre);
        }
        writer
            .strings("tokenizer.ggml.tokens", tokens)
            .strings("tokenizer.ggml.merges", merges);
        writer
    };
    says(&GgufWriter::default(), &["tokenizer.ggml.model", "missing"]);
    says(&with("llama", None, &[], &[]), &["`llama`", "tokenizer.json beside"]);
    says(
        &with("gpt2", None, &[], &[]),
        &["tokenizer.ggml.pre", "tokenizer.json beside"],
    );
    says(
        &with("gpt2", Some("kimi-k2"), &[], &[]),
        &["kimi-k2", "smollm", "tokenizer.json beside"],
    );
    says(
        &with("gpt2", Some("gpt-2"), &["a", "a"], &[]),
        &["tokens 0 and 1", "`a`"],
    );
    says(
        &with("gpt2", Some("gpt-2"), &["a", "b"], &["ab"]),
        &["merge 0", "space"],
    );
    says(
        &with("gpt2", Some("gpt-2"), &["a", "b"], &["a b"]),
        &["merge 0", "`ab`", "vocabulary"],
    );
    says(
        with("gpt2", Some("gpt-2"), &["a"], &[]).i32s("tokenizer.ggml.token_type", &[1, 1]),
        &["1 tokens", "2 token types"],
    );
    says(
        with("gpt2", Some("gpt-2"), &["a"], &[]).u32("tokenizer.ggml.eos_token_id", 1),
        &["eos_token_id", "is 1"],
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    assert!(
        Tokenizer::from_file(&path)
            .unwrap_err()
            .to_string()
            .contains("tokenizer.json")
    );
    let refused = |text: &str, word: &str| {
        std::fs::write(&path, text).unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("tokenizer.json") && error.contains(word),
            "{error:?} does not say {word:?}"
        );
    };
    let model = |model: &str| format!(r#"{{"version": "1.0", "added_tokens": [], "model": {model}}}"#);
    refused("{", "expected");
    refused(
        &model(r#"{"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "u"}"#),
        "WordLevel",
    );
    refused(
        &model(r#"{"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": null}"#),
        "unknown token",
    );
    refused(
        &model(r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "u"}"#),
        "`u`",
    );
    refused(
        &model(r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.5}"#),
        "dropout",
    );
    // Merges that the crate itself does not survive.
    refused(
        &model(r#"{"type": "BPE", "vocab": {"ab": 0, "cd": 1}, "merges": ["ab cd"]}"#),
        "contradict",
    );
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        r#"{"eos_token": {"content": "x"}}"#,
    )
    .unwrap();
    refused(
        &model(r#"{"type": "BPE", "vocab": {"a": 0}, "merges": []}"#),
        "eos_token `x`",
    );
}

#[test]
fn what_the_files_say_of_the_ends_of_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let read = |config: &str, post_processor: &str| {
        let vocabulary = r#""model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "</s>": 2}, "merges": []}"#;
        let added = r#""added_tokens": [{"id": 2, "content": "</s>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}]"#;
        let cut = r#""truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}"#;
        let text = format!(r#"{{"version": "1.0", {cut}, {added}, "post_processor": {post_processor}, {vocabulary}}}"#);
        std::fs::write(folder.path().join("tokenizer.json"), text).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let tokenizer = Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap();
        assert_eq!(
            tokenizer.encode("ab", true).unwrap(),
            [0, 1],
            "nothing is added and nothing cut"
        );
        (
            tokenizer.bos_id(),
            tokenizer.eos_id(),
            tokenizer.add_bos(),
            tokenizer.stop_ids().to_vec(),
        )
    };
    let begins_with_a = r#"{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]}}}"#;
    assert_eq!(read("{}", "null"), (None, None, false, vec![2]));
    assert_eq!(read("[]", begins_with_a), (None, None, false, vec![2]));
    let both = r#"{"bos_token": "a", "eos_token": {"content": "b"}}"#;
    assert_eq!(read(both, "null"), (Some(0), Some(1), false, vec![1, 2]));
    assert_eq!(read(both, begins_with_a), (Some(0), Some(1), true, vec![1, 2]));
    let said = r#"{"bos_token": "a", "add_bos_token": true}"#;
    assert_eq!(read(said, "null"), (Some(0), None, true, vec![2]));
    let denied = r#"{"bos_token": "a", "add_bos_token": false}"#;
    assert_eq!(read(denied, begins_with_a), (Some(0), None, false, vec![2]));
}

#[test]
fn chats_agree_with_jinja() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures/chat_templates.json");
    let fixture = json(&path);
    let data = test_data();
    let mut templates = BTreeMap::new();
    for (name, template) in fixture["templates"].as_object().unwrap() {
        let source = template["source"].as_str().unwrap();
        let (bos, eos) = (template["bos_token"].as_str(), template["eos_token"].as_str());
        templates.insert(name.clone(), ChatTemplate::new(source, bos, eos).unwrap());
    }
    for (model, _) in MODELS {
        if let Some(data) = &data {
            templates.insert(
                model.into(),
                ChatTemplate::from_folder(&data.join(model)).unwrap().unwrap(),
            );
        }
    }
    let (mut agreed, mut wrong) = (0, Vec::new());
    for case in fixture["cases"].as_array().unwrap() {
        let Some(template) = templates.get(case["template"].as_str().unwrap()) else {
            continue;
        };
        let messages = &fixture["conversations"][case["conversation"].as_str().unwrap()];
        let messages: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
        let rendered = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap());
        let right = match (&rendered, case["text"].as_str(), case["error"].as_str()) {
            (Ok(text), Some(expected), _) => text == expected,
            (Err(error), None, Some(expected)) => error.to_string().contains(expected),
            _ => false,
        };
        match right {
            true => agreed += 1,
            false => wrong.push(format!("{case}\n  {rendered:?}")),
        }
    }
    let all = agreed + wrong.len();
    assert!(
        wrong.is_empty(),
        "{} of {all} chats differ; the first:\n{}",
        wrong.len(),
        wrong[0]
    );
    println!("{agreed} chats agree");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Metadata that is well-formed GGUF and nonsense as a tokenizer.
    #[test]
    fn no_metadata_panics(
        tokens in proptest::collection::vec("[ab ĠÃ<>é]{0,3}", 0..12),
        merges in proptest::collection::vec("[ab Ġ]{0,2} ?[abĠ]{0,2}", 0..6),
        kinds in proptest::collection::vec(0..8_i32, 0..12),
        pre in 0..6_usize,
        ids in (0..16_u32, 0..16_u32),
        text in any::<String>(),
    ) {
        let mut writer = GgufWriter::default();
        writer.string("tokenizer.ggml.model", "gpt2");
        writer.string("tokenizer.ggml.pre", ["smollm", "qwen2", "llama3", "gpt-2", "tekken", "default"][pre]);
        writer.strings("tokenizer.ggml.tokens", &tokens).strings("tokenizer.ggml.merges", &merges);
        if kinds.len() == tokens.len() {
            writer.i32s("tokenizer.ggml.token_type", &kinds);
        }
        writer.u32("tokenizer.ggml.bos_token_id", ids.0).u32("tokenizer.ggml.eot_token_id", ids.1);
        if let Ok(tokenizer) = Tokenizer::from_gguf(&open(&writer.finish())) {
            for text in [text.as_str(), "ab Ġ<é> 12"] {
                let ids = [tokenizer.encode(text, true).unwrap(), tokenizer.encode(text, false).unwrap()].concat();
                tokenizer.decode(&ids, true);
            }
        }
    }

    /// Every text comes back from a vocabulary that has all bytes.
    #[test]
    fn texts_come_back(text in any::<String>(), pre in 0..4_usize) {
        let pre = ["smollm", "llama3", "gpt-2", "default"][pre];
        let tokenizer = Tokenizer::from_gguf(&open(&small(pre).finish())).unwrap();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, true).unwrap(), false), text.clone());
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&text, false).unwrap(), false), text);
    }

    /// A small `tokenizer.json` with a piece cut out or doubled.
    #[test]
    fn no_tokenizer_json_panics(from in 0.0..1.0_f64, length in 0..40_usize, double in any::<bool>()) {
        let good = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}"#;
        let from = (from * good.len() as f64) as usize;
        let to = (from + length).min(good.len());
        let mut text = good.to_owned();
        text.replace_range(from..to, &if double { good[from..to].repeat(2) } else { String::new() });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, text).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_file(&path) {
            tokenizer.decode(&tokenizer.encode("ab <s> é", true).unwrap(), true);
        }
    }

    #[test]
    fn no_template_panics(source in r"(\{[%{#]-? ?|[%}#]\}|generation|for m in messages|if|endif|set x = |messages|m\.role|\[|\]|\||tojson| |'a'|\n|-){0,24}") {
        if let Ok(template) = ChatTemplate::new(&source, Some("<s>"), None) {
            let _ = template.render(&[Message::user("Hi")], true);
        }
    }
}

/// Checks the ids of every text, and the text of the ids.
fn agree(model: &str, tokenizer: &Tokenizer, vectors: &[(String, Vec<u32>, String)]) {
    let texts: Vec<&str> = vectors.iter().map(|(text, ..)| text.as_str()).collect();
    for (found, (text, ids, decoded)) in tokenizer.encode_all(&texts, true).unwrap().iter().zip(vectors) {
        assert_eq!(found, ids, "{model}: {text:?}");
        assert_eq!(&tokenizer.decode(ids, false), decoded, "{model}: {text:?}");
    }
    println!("{model}: {} texts agree", vectors.len());
}

fn vectors(data: &Path, model: &str) -> Vec<(String, Vec<u32>, String)> {
    let lines = std::fs::read_to_string(data.join(model).join("vectors.jsonl")).unwrap();
    let vectors = lines.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (
            text("text"),
            serde_json::from_value(row["ids"].clone()).unwrap(),
            text("decoded"),
        )
    });
    vectors.collect()
}

/// The metadata that llama.cpp's converter makes of a `tokenizer.json`.
fn as_gguf(json: &Value, pre: &str) -> GgufWriter {
    let mut tokens = BTreeMap::new();
    for (token, id) in json["model"]["vocab"].as_object().unwrap() {
        tokens.insert(id.as_u64().unwrap(), (token.as_str(), 1));
    }
    for added in json["added_tokens"].as_array().unwrap() {
        let kind = if added["special"].as_bool().unwrap() { 3 } else { 4 };
        tokens.insert(
            added["id"].as_u64().unwrap(),
            (added["content"].as_str().unwrap(), kind),
        );
    }
    assert!(tokens.keys().copied().eq(0..tokens.len() as u64), "the ids have gaps");
    let merges = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|merge| match merge.as_array() {
            Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            None => merge.as_str().unwrap().to_owned(),
        });
    let (texts, kinds): (Vec<&str>, Vec<i32>) = tokens.into_values().unzip();
    let mut writer = GgufWriter::default();
    writer
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", pre);
    writer
        .strings("tokenizer.ggml.tokens", &texts)
        .i32s("tokenizer.ggml.token_type", &kinds);
    writer.strings("tokenizer.ggml.merges", &merges.collect::<Vec<String>>());
    writer
}

/// All bytes, one merge, two special tokens, one that is only added, one unused.
fn small(pre: &str) -> GgufWriter {
    let mut tokens = byte_letters();
    tokens.extend(["ab", "<s>", "</s>", "<think>", "<pad>", ""].map(String::from));
    let mut kinds = vec![1; 257];
    kinds.extend([3, 3, 4, 5, 1]);
    let mut writer = GgufWriter::default();
    writer
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", pre);
    writer
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &kinds);
    writer.strings("tokenizer.ggml.merges", &["a b"]);
    writer
        .u32("tokenizer.ggml.bos_token_id", 257)
        .u32("tokenizer.ggml.eos_token_id", 258);
    writer.bool("tokenizer.ggml.add_bos_token", true);
    writer
}

/// GPT-2's letters for the 256 bytes: printable ones are themselves, the others follow from U+0100 on.
fn byte_letters() -> Vec<String> {
    let mut others = 0x100..;
    let letters = (0..=255_u32).map(|byte| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => byte,
        _ => others.next().unwrap(),
    });
    letters
        .map(|letter| char::from_u32(letter).unwrap().to_string())
        .collect()
}

fn open(bytes: &[u8]) -> Gguf {
    Gguf::from_bytes(Path::new("made-up.gguf"), bytes.to_vec()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The reference tokenizers.
fn test_data() -> Option<PathBuf> {
    data("tokenizers")
}
