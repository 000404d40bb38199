//! Text to token ids and back. The work is done by the `tokenizers` crate, either with the model's own
//! `tokenizer.json`, or with a tokenizer put together from the metadata of a GGUF file. GGUF has the vocabulary, the
//! merges and the kinds of the tokens, but only the *name* of the rule that cuts a text into words, so the rules of the
//! families are written down here as their `tokenizer.json` files have them; a family that is not here is an error,
//! since ids from a wrong rule look fine and make the model worse. Nothing here adds a token by itself: a chat template
//! spells out what it wants, and a caller without one asks [`Tokenizer::add_bos`].

use crate::error::{Error, Result};
use crate::files::{read_at_most, read_config_text};
use crate::model::gguf::Gguf;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    /// Where it came from, for errors.
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    /// A copy that reads special tokens as plain text; made when it is first asked for.
    literal: OnceLock<Box<tokenizers::Tokenizer>>,
    vocab_size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    stops: Vec<u32>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, and what the `tokenizer_config.json` beside it, if there is one, says of the special
    /// tokens.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes = read_at_most(path, TOKENIZER_BYTES)?;
        let wrong = |what: String| Error::file(path, format!("{what}; a tokenizer.json of Hugging Face was expected"));
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| wrong(error.to_string()))?;
        // The crate trusts JSON to be what it expects and panics in places, at merges that contradict the vocabulary
        // for one.
        let opened = catch_unwind(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)?;
            // A file may carry the cutting and padding of its last training batch; prompts here are whole.
            inner.with_padding(None).with_truncation(None)?;
            // What the post-processor puts before a text shows on the empty one. That is all it is asked for.
            let begins_with = inner.encode_fast("", true)?.get_ids().first().copied();
            inner.with_post_processor(None::<PostProcessorWrapper>);
            Ok::<_, tokenizers::Error>((inner, begins_with))
        });
        let (inner, begins_with) = match opened {
            Ok(opened) => opened.map_err(|error| wrong(error.to_string()))?,
            Err(_) => return Err(wrong("its vocabulary and merges contradict each other".into())),
        };
        check_total(inner.get_model()).map_err(wrong)?;

        let folder = path.parent().unwrap_or(Path::new(""));
        let config = read_config(folder)?.unwrap_or_default();
        let id_of = |key: &str| match special_token(&config, key) {
            None => Ok(None),
            Some(token) => inner.token_to_id(token).map(Some).ok_or_else(|| {
                Error::file(
                    path,
                    format!("the {key} `{token}` of tokenizer_config.json is not in the vocabulary"),
                )
            }),
        };
        let (bos, eos) = (id_of("bos_token")?, id_of("eos_token")?);
        let add_bos = config["add_bos_token"].as_bool().unwrap_or(begins_with == bos);
        let largest = inner.get_vocab(true).into_values().max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        Ok(Self::new(path, inner, vocab_size, bos, eos, add_bos, &[]))
    }

    /// Puts a tokenizer together from a GGUF file's metadata.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let wrong = |what: String| Error::file(gguf.path(), what);
        let model = gguf.get_str("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(wrong(format!(
                "its tokenizer is of the kind `{model}`, and only `gpt2` (byte-level BPE) can be read from GGUF; \
                 put the model's tokenizer.json beside the file"
            )));
        }
        let family = Family::of(gguf)?;
        let tokens = gguf.get_strings("tokenizer.ggml.tokens")?;
        let kinds = gguf.find::<Vec<i32>>("tokenizer.ggml.token_type")?;
        let kinds = kinds.unwrap_or_else(|| vec![TokenKind::NORMAL; tokens.len()]);
        if kinds.len() != tokens.len() {
            return Err(wrong(format!(
                "it has {} tokens and {} token types",
                tokens.len(),
                kinds.len()
            )));
        }

        let vocab = vocabulary(&tokens, &kinds).map_err(wrong)?;
        let merges = merges(&gguf.get_strings("tokenizer.ggml.merges")?, &vocab).map_err(wrong)?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(family.ignore_merges);
        let bpe = bpe
            .build()
            .map_err(|error| wrong(format!("its BPE model cannot be built: {error}")))?;

        let mut inner = tokenizers::Tokenizer::new(bpe);
        inner
            .with_normalizer(family.nfc.then_some(NFC))
            .expect("no added token yet that could be normalized");
        inner.with_pre_tokenizer(Some(family.pre_tokenizer()));
        inner.with_decoder(Some(ByteLevel::default()));
        let added = tokens
            .iter()
            .zip(&kinds)
            .filter(|(token, kind)| TokenKind::is_added(**kind) && !token.is_empty());
        let added = added.map(|(token, &kind)| AddedToken::from(*token, kind == TokenKind::CONTROL).normalized(false));
        inner
            .add_tokens(added)
            .map_err(|error| wrong(format!("its special tokens cannot be used: {error}")))?;

        let id_at = |key: &str| -> Result<Option<u32>> {
            let key = format!("tokenizer.ggml.{key}_token_id");
            match gguf.find::<u32>(&key)? {
                Some(id) if id as usize >= tokens.len() => {
                    Err(wrong(format!("`{key}` is {id}, and there are {} tokens", tokens.len())))
                }
                id => Ok(id),
            }
        };
        let (bos, eos) = (id_at("bos")?, id_at("eos")?);
        let add_bos = gguf
            .find::<bool>("tokenizer.ggml.add_bos_token")?
            .unwrap_or(family.add_bos);
        let ends: Vec<u32> = [id_at("eot")?, id_at("eom")?].into_iter().flatten().collect();
        Ok(Self::new(gguf.path(), inner, tokens.len(), bos, eos, add_bos, &ends))
    }

    fn new(
        path: &Path,
        inner: tokenizers::Tokenizer,
        vocab_size: usize,
        bos: Option<u32>,
        eos: Option<u32>,
        add_bos: bool,
        ends: &[u32],
    ) -> Self {
        let added = inner.get_added_vocabulary().get_vocab();
        let known = END_TOKENS.iter().filter_map(|name| added.get(*name).copied());
        let stops: BTreeSet<u32> = known.chain(ends.iter().copied()).chain(eos).collect();
        Self {
            path: path.to_path_buf(),
            stops: stops.into_iter().collect(),
            inner,
            literal: OnceLock::new(),
            vocab_size,
            bos,
            eos,
            add_bos: add_bos && bos.is_some(),
        }
    }

    /// The ids of `text`. With `parse_special`, a special token that is spelled out in the text becomes its id, which is
    /// what a rendered chat needs; without, it is text like any other, which is what text of unknown origin needs.
    /// Tokens that the vocabulary adds without calling them special are always read as themselves.
    ///
    /// An error means that an expression of the tokenizer's own file gave up on the text.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let tokenizer = if parse_special { &self.inner } else { self.literal() };
        let mut ids = Vec::new();
        for piece in pieces(text, PIECE) {
            // Oniguruma counts its steps, and its binding panics when an expression takes too many.
            match catch_unwind(AssertUnwindSafe(|| tokenizer.encode_fast(piece, false))) {
                Ok(Ok(encoding)) => ids.extend_from_slice(encoding.get_ids()),
                _ => {
                    let what = format!(
                        "the tokenizer gave up on a text of {} bytes, expected rules for any",
                        piece.len()
                    );
                    return Err(Error::file(&self.path, what));
                }
            }
        }
        Ok(ids)
    }

    /// The ids of many texts, on all threads of rayon's pool.
    pub fn encode_all<T: AsRef<str> + Sync>(&self, texts: &[T], parse_special: bool) -> Result<Vec<Vec<u32>>> {
        texts
            .par_iter()
            .map(|text| self.encode(text.as_ref(), parse_special))
            .collect()
    }

    /// The text of `ids`. Ids that the vocabulary does not have are left out, as special tokens are with `skip_special`;
    /// bytes that are no UTF-8, such as half of a character, become U+FFFD, and so does all of a text on which a decoder of
    /// the tokenizer's own file gives up.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        // Some decoders of the crate panic on tokens that are shorter than what they cut off.
        match catch_unwind(AssertUnwindSafe(|| self.inner.decode(ids, skip_special))) {
            Ok(Ok(text)) => text,
            _ => char::REPLACEMENT_CHARACTER.into(),
        }
    }

    /// The id of the token that is spelled `token` in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling of the token `id` in the vocabulary, which for most is not its text: spaces are `Ġ` in many.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// One more than the largest id. The rows of a model's head may be more, for padding.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The largest id that text alone can become: tokens that are not special.
    pub fn largest_of_plain_text(&self) -> Option<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let is_special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        self.inner
            .get_vocab(true)
            .into_values()
            .filter(|id| !is_special(id))
            .max()
    }

    /// The token that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, according to the tokenizer; see [`Self::stop_ids`].
    pub fn eos_id(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the model was trained with [`Self::bos_id`] before every text. A chat template that spells it out has
    /// seen to it already.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// All tokens that end an answer, sorted: the declared end of text, the declared ends of a turn, and the
    /// vocabulary's special tokens that are known to mean one of these. Llama 3's config, for one, declares
    /// `<|end_of_text|>` while its chats end with `<|eot_id|>`.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stops
    }

    fn literal(&self) -> &tokenizers::Tokenizer {
        self.literal.get_or_init(|| {
            let mut copy = self.inner.clone();
            copy.set_encode_special_tokens(true);
            Box::new(copy)
        })
    }
}

/// The most bytes that a tokenizer.json has; the largest in use have some thirty million.
const TOKENIZER_BYTES: u64 = 256 << 20;

/// Special tokens that end an answer wherever they occur.
const END_TOKENS: [&str; 9] = [
    "</s>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
];

/// What a GGUF's `tokenizer.ggml.pre` stands for.
struct Family {
    cut: Cut,
    /// Texts are brought to Unicode's form C first.
    nfc: bool,
    /// A word that is a token as it stands is not built by merges.
    ignore_merges: bool,
    /// What holds where the file does not say.
    add_bos: bool,
}

/// How a text is cut into the words within which merges happen.
enum Cut {
    /// Every digit by itself, then GPT-2's pattern.
    DigitsThenGpt2,
    /// GPT-2's pattern.
    Gpt2,
    /// These patterns one after the other, each cutting what the one before left.
    Patterns(&'static [&'static str]),
}

/// From the `tokenizer.json` of Meta-Llama-3: numbers in groups of up to three digits.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// From the `tokenizer.json` of Qwen2, Qwen2.5 and Qwen3: every digit by itself.
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// From the `tokenizer.json` of Mistral-Nemo: a word also ends where a capital follows a small letter.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What llama.cpp does for `default`, which is all that such a file can mean.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

impl Family {
    fn of(gguf: &Gguf) -> Result<Self> {
        let remedy = "put the model's tokenizer.json beside the file";
        let Some(name) = gguf.find::<&str>("tokenizer.ggml.pre")? else {
            let what =
                "it does not say how its tokenizer cuts words (`tokenizer.ggml.pre`, which older converters left out)";
            return Err(Error::file(gguf.path(), format!("{what}; {remedy}")));
        };
        let plain = Self {
            cut: Cut::Gpt2,
            nfc: false,
            ignore_merges: false,
            add_bos: false,
        };
        Ok(match name {
            "gpt-2" | "phi-2" => plain,
            "smollm" | "starcoder" | "refact" | "codeshell" => Self {
                cut: Cut::DigitsThenGpt2,
                ..plain
            },
            "llama-bpe" | "llama3" | "llama-v3" => Self {
                cut: Cut::Patterns(&[LLAMA_3]),
                ignore_merges: true,
                add_bos: true,
                ..plain
            },
            "qwen2" | "deepseek-r1-qwen" => Self {
                cut: Cut::Patterns(&[QWEN_2]),
                nfc: true,
                ..plain
            },
            "tekken" => Self {
                cut: Cut::Patterns(&[TEKKEN]),
                ignore_merges: true,
                add_bos: true,
                ..plain
            },
            "default" => Self {
                cut: Cut::Patterns(&DEFAULT),
                ..plain
            },
            other => {
                let known = "smollm, starcoder, refact, codeshell, llama-bpe, qwen2, deepseek-r1-qwen, tekken, gpt-2, phi-2, default";
                return Err(Error::file(
                    gguf.path(),
                    format!("its tokenizer cuts words by the rule `{other}`, and known are {known}; {remedy}"),
                ));
            }
        })
    }

    fn pre_tokenizer(&self) -> Sequence {
        let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, true, use_regex));
        Sequence::new(match self.cut {
            Cut::Gpt2 => vec![bytes(true)],
            Cut::DigitsThenGpt2 => vec![Digits::new(true).into(), bytes(true)],
            Cut::Patterns(patterns) => {
                let split = |pattern: &&str| {
                    let pattern = SplitPattern::Regex((*pattern).into());
                    Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                        .expect("a pattern of ours")
                        .into()
                };
                patterns.iter().map(split).chain([bytes(false)]).collect()
            }
        })
    }
}

/// The kinds of tokens by their numbers in GGUF.
struct TokenKind;

impl TokenKind {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    const USER_DEFINED: i32 = 4;
    const UNUSED: i32 = 5;

    /// Added tokens are found in a text before it is cut into words.
    fn is_added(kind: i32) -> bool {
        kind == Self::CONTROL || kind == Self::USER_DEFINED
    }
}

/// Unused tokens, which pad the vocabulary to the rows of the head, are no part of it: they have no text.
fn vocabulary(tokens: &[&str], kinds: &[i32]) -> std::result::Result<Vocab, String> {
    let mut vocab = Vocab::default();
    for ((id, token), &kind) in (0..).zip(tokens).zip(kinds) {
        if kind == TokenKind::UNUSED || token.is_empty() {
            continue;
        }
        if let Some(first) = vocab.insert((*token).to_owned(), id) {
            return Err(format!("tokens {first} and {id} are both `{token}`"));
        }
    }
    Ok(vocab)
}

/// Each merge is two tokens with a space between, and the two together are a token. The crate trusts that, so it is
/// checked here.
fn merges(lines: &[&str], vocab: &Vocab) -> std::result::Result<Vec<(String, String)>, String> {
    let mut merges = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let Some((left, right)) = line.split_once(' ') else {
            return Err(format!(
                "merge {index} is `{line}`; two tokens with a space between were expected"
            ));
        };
        for token in [left, right, &[left, right].concat()] {
            if !vocab.contains_key(token) {
                return Err(format!(
                    "merge {index} is `{line}`, and `{token}` is not in the vocabulary"
                ));
            }
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}

/// Refuses models that give up on some texts, or answer with a different tokenization each time.
fn check_total(model: &ModelWrapper) -> std::result::Result<(), String> {
    match model {
        ModelWrapper::BPE(bpe) => {
            if bpe.dropout.is_some_and(|dropout| dropout > 0.0) {
                return Err("its BPE model has a dropout, which makes every encoding a random one".into());
            }
            match &bpe.unk_token {
                Some(unk) if tokenizers::Model::token_to_id(bpe, unk).is_none() => {
                    Err(format!("its unknown token `{unk}` is not in the vocabulary"))
                }
                _ => Ok(()),
            }
        }
        ModelWrapper::Unigram(unigram) => match serde_json::to_value(unigram) {
            Ok(json) if json["unk_id"].is_u64() => Ok(()),
            _ => Err("its Unigram model has no unknown token".into()),
        },
        ModelWrapper::WordPiece(_) => Err("it is a WordPiece tokenizer, which no causal language model has".into()),
        ModelWrapper::WordLevel(_) => Err("it is a WordLevel tokenizer, which no causal language model has".into()),
    }
}

/// The `tokenizer_config.json` in `folder`, if there is one.
pub(super) fn read_config(folder: &Path) -> Result<Option<serde_json::Value>> {
    let path = folder.join("tokenizer_config.json");
    let text = match read_config_text(&path) {
        Ok(text) => text,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let config = serde_json::from_str(&text).map_err(|error| Error::file(&path, format!("it is not JSON: {error}")))?;
    Ok(Some(config))
}

/// A token that `tokenizer_config.json` names, written as a string or as an object with its `content`.
pub(super) fn special_token<'a>(config: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    let token = &config[key];
    token.as_str().or_else(|| token["content"].as_str())
}

/// The longest text that is cut into words in one go. A run of blanks beyond ten million makes Oniguruma give up, and
/// its binding panics.
const PIECE: usize = 4 << 20;

/// Texts up to `limit` bytes as they are, longer ones in pieces that begin where every rule begins a word: at the blank
/// between something and a letter. Where there is no such place, anywhere.
fn pieces(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let window = &rest[..rest.floor_char_boundary(limit)];
        let begins_word = |&(at, _): &(usize, &str)| {
            !window[..at].ends_with(char::is_whitespace)
                && window[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic())
        };
        let end = match window.len() < rest.len() {
            true => window
                .rmatch_indices(' ')
                .find(begins_word)
                .map_or(window.len(), |(at, _)| at),
            false => window.len(),
        };
        // A word that begins the window is no place to end it.
        let end = if end == 0 { window.len() } else { end };
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_words_begin() {
        let cut = |text, limit| pieces(text, limit).collect::<Vec<&str>>();
        assert_eq!(cut("", 8), [""; 0]);
        assert_eq!(cut("one two three", 100), ["one two three"]);
        assert_eq!(cut("one two three", 10), ["one two", " three"]);
        assert_eq!(cut(" two  three 4 fo", 15), [" two  three 4", " fo"]);
        assert_eq!(cut("          x", 4), ["    ", "    ", "  x"]);
        assert_eq!(cut("ääää", 5), ["ää", "ää"]);
    }
}
