//! LaTeX as plain text: `\frac{1}{2}` is `1/2`, `\sqrt{3}` is `√(3)`, `x^{2}` is `x^2`, `\alpha` is `α`. The grader of
//! PRM800K compares answers in the form that the Python library pylatexenc (2.x, `latex2text` with its defaults) gives
//! them, and this is what of it can matter to an answer, its habits included: a fraction gets no brackets, the index
//! of a root is lost, `\mbox{…}` is lost with all that is in it, a macro that it does not know is lost without its
//! argument, and a stray closing brace is skipped. The source's tables also have Cyrillic letters, currencies and
//! ornaments; here these macros are ones that nobody knows. White space is kept as far as it matters to a comparison
//! without spaces.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::LazyLock;

/// How deep groups, environments and formulas may nest; the source gives up too, somewhat deeper.
const DEPTH: usize = 100;

/// How many tokens may be read. What stands behind a `\frac` that lacks an argument is read twice, and so, where such
/// fractions nest, without end.
const TOKENS: u32 = 100_000;

/// Longest text, in bytes, that gets accents: each of them makes it up to three times as long.
const ACCENTED: usize = 10_000;

/// The text of `latex`; none where the source gives up (a `\sqrt` without an argument, an empty matrix).
pub fn plain_text(latex: &str) -> Option<String> {
    let signs: Vec<char> = latex.chars().collect();
    let reader = Reader {
        signs: &signs,
        tokens: Cell::new(TOKENS),
    };
    let (nodes, _) = reader.nodes(0, &Stop::Never, 0).ok()?;
    if reader.tokens.get() == 0 {
        return None;
    }
    text_of(&nodes, Spacing::Text)
}

/// What a text consists of.
enum Node {
    Signs(String),
    /// A sign or a run of signs with a meaning of its own.
    Special(&'static str),
    Macro(Macro),
    Group(Vec<Node>),
    Environment(String, Vec<Node>),
    /// A formula between `\(` and `\)`, or, displayed, between `\[` and `\]`.
    Formula {
        displayed: bool,
        nodes: Vec<Node>,
    },
}

struct Macro {
    name: String,
    /// The white space behind the name.
    space: String,
    /// Mandatory arguments only; none for a macro whose arguments could not be read or were not looked for.
    arguments: Option<Vec<Node>>,
}

/// What ends a list of nodes, besides the end of the text.
enum Stop {
    Never,
    Brace(char),
    Environment(String),
    Formula(char),
}

impl Stop {
    /// Square brackets are braces only inside of an optional argument.
    fn brackets(&self) -> bool {
        matches!(self, Self::Brace(']'))
    }
}

enum Token {
    Sign(char),
    /// An empty line.
    Paragraph,
    /// `\begin` or `\end` without the name of an environment, which stays as it is.
    Nameless(&'static str),
    Macro {
        name: String,
        space: String,
    },
    Open(char),
    Close(char),
    Begin(String),
    End(String),
    /// The delimiter of a formula, without its backslash.
    Formula(char),
    Special(&'static str),
}

/// A token with the white space before it and where it starts and ends.
struct Found {
    token: Token,
    space: String,
    start: usize,
    end: usize,
}

/// Runs of signs that the source takes together, the longer ones first.
const SPECIALS: [(&str, &str); 8] = [
    ("---", "—"),
    ("--", "–"),
    ("``", "“"),
    ("''", "”"),
    ("!`", "¡"),
    ("?`", "¿"),
    ("&", "   "),
    ("~", "\u{a0}"),
];

/// Groups, environments or formulas nest deeper than [`DEPTH`].
struct TooDeep;

struct Reader<'a> {
    signs: &'a [char],
    /// How many tokens may still be read. After the last one the text is at its end.
    tokens: Cell<u32>,
}

impl Reader<'_> {
    /// The nodes from `at` on and where what ends them ends.
    fn nodes(&self, mut at: usize, stop: &Stop, depth: usize) -> Result<(Vec<Node>, usize), TooDeep> {
        if depth > DEPTH {
            return Err(TooDeep);
        }
        let mut nodes = Vec::new();
        let mut signs = String::new();
        loop {
            let found = match self.token(at, stop.brackets(), true) {
                Ok(found) => found,
                Err(space) => {
                    signs.push_str(&space);
                    push_signs(&mut nodes, &mut signs);
                    return Ok((nodes, self.signs.len()));
                }
            };
            at = found.end;
            signs.push_str(&found.space);
            match found.token {
                Token::Sign(sign) => {
                    signs.push(sign);
                    continue;
                }
                Token::Paragraph => {
                    signs.push_str("\n\n");
                    continue;
                }
                Token::Nameless(name) => {
                    signs.push_str(name);
                    continue;
                }
                _ => push_signs(&mut nodes, &mut signs),
            }
            match (found.token, stop) {
                (Token::Close(brace), Stop::Brace(end)) if brace == *end => return Ok((nodes, at)),
                (Token::End(name), Stop::Environment(open)) if name == *open => return Ok((nodes, at)),
                (Token::Formula(sign), Stop::Formula(end)) if sign == *end => return Ok((nodes, at)),
                // What closes something else is skipped; signs are done with.
                (Token::Close(_) | Token::End(_) | Token::Formula(')' | ']'), _)
                | (Token::Sign(_) | Token::Paragraph | Token::Nameless(_), _) => {}
                (Token::Formula(open), _) => {
                    let close = if open == '(' { ')' } else { ']' };
                    let (inside, end) = self.nodes(at, &Stop::Formula(close), depth + 1)?;
                    at = end;
                    nodes.push(Node::Formula {
                        displayed: open == '[',
                        nodes: inside,
                    });
                }
                (Token::Open(open), _) => {
                    let (inside, end) = self.nodes(at, &Stop::Brace(closing(open)), depth + 1)?;
                    at = end;
                    nodes.push(Node::Group(inside));
                }
                (Token::Begin(name), _) => {
                    let start = match self.arguments(at, environment_arguments(&name), depth)? {
                        Some((_, end)) => end,
                        None => at,
                    };
                    let stop = Stop::Environment(name.clone());
                    let (inside, end) = self.nodes(start, &stop, depth + 1)?;
                    at = end;
                    nodes.push(Node::Environment(name, inside));
                }
                (Token::Macro { name, space }, _) => {
                    let arguments = self.arguments(at, macro_arguments(&name), depth)?;
                    let arguments = arguments.map(|(arguments, end)| {
                        at = end;
                        arguments
                    });
                    nodes.push(Node::Macro(Macro { name, space, arguments }));
                }
                (Token::Special(text), _) => nodes.push(Node::Special(text)),
            }
        }
    }

    /// The arguments from `at` on that `form` asks for (`*` a star or none, `[` an optional one, `{` a mandatory one)
    /// and their end; none if the text ends before them. Stars and optional ones are read and forgotten.
    fn arguments(&self, at: usize, form: &str, depth: usize) -> Result<Option<(Vec<Node>, usize)>, TooDeep> {
        let mut arguments = Vec::new();
        let mut end = at;
        for kind in form.chars() {
            match (kind, self.token(end, kind == '[', kind == '*')) {
                ('*' | '{', Err(_)) => return Ok(None),
                ('*', Ok(found)) if matches!(found.token, Token::Sign('*')) => end = found.end,
                ('{', Ok(found)) => {
                    let (node, after) = self.expression(found, depth)?;
                    arguments.push(node);
                    end = after;
                }
                // `\\ [` is a new line and a bracket.
                ('[', Ok(found)) if matches!(found.token, Token::Open('[')) && (form != "*[" || found.start == end) => {
                    end = self.nodes(found.end, &Stop::Brace(']'), depth + 1)?.1;
                }
                _ => {}
            }
        }
        Ok(Some((arguments, end)))
    }

    /// One mandatory argument, of which the first token is read, and its end.
    fn expression(&self, found: Found, depth: usize) -> Result<(Node, usize), TooDeep> {
        let empty = |at| Ok((Node::Signs(String::new()), at));
        match found.token {
            Token::Macro { name, .. } if name == "end" => empty(found.start),
            Token::Macro { name, space } => {
                let bare = Macro {
                    name,
                    space,
                    arguments: None,
                };
                Ok((Node::Macro(bare), found.end))
            }
            Token::Open(open) => {
                let (inside, end) = self.nodes(found.end, &Stop::Brace(closing(open)), depth + 1)?;
                Ok((Node::Group(inside), end))
            }
            Token::Close(_) => empty(found.start),
            Token::Special(text) => Ok((Node::Special(text), found.end)),
            Token::Sign(sign) => Ok((Node::Signs(sign.to_string()), found.end)),
            Token::Paragraph => Ok((Node::Signs("\n\n".to_owned()), found.end)),
            Token::Nameless(name) => Ok((Node::Signs(name.to_owned()), found.end)),
            Token::Formula(_) | Token::Begin(_) | Token::End(_) => Ok((Node::Signs(String::new()), found.end)),
        }
    }

    /// The next token; at the end of the text, the white space that stands there.
    fn token(&self, mut at: usize, brackets: bool, environments: bool) -> Result<Found, String> {
        let mut space = String::new();
        let left = self.tokens.get().saturating_sub(1);
        self.tokens.set(left);
        if left == 0 {
            return Err(space);
        }
        while let Some(&sign) = self.signs.get(at)
            && sign.is_whitespace()
        {
            space.push(sign);
            at += 1;
            if space.ends_with("\n\n") {
                space.truncate(space.len() - 2);
                return Ok(Found {
                    token: Token::Paragraph,
                    space,
                    start: at - 2,
                    end: at,
                });
            }
        }
        let Some(&sign) = self.signs.get(at) else {
            return Err(space);
        };
        let found = |token, length| {
            Ok(Found {
                token,
                space,
                start: at,
                end: at + length,
            })
        };
        match sign {
            '\\' => {
                let Some(&first) = self.signs.get(at + 1) else {
                    return Err(String::new());
                };
                self.macro_token(at, first, environments, found)
            }
            '{' => found(Token::Open(sign), 1),
            '}' => found(Token::Close(sign), 1),
            '[' if brackets => found(Token::Open(sign), 1),
            ']' if brackets => found(Token::Close(sign), 1),
            _ => match SPECIALS.iter().find(|(from, _)| self.stands_at(at, from)) {
                Some((from, to)) => found(Token::Special(to), from.len()),
                None => found(Token::Sign(sign), 1),
            },
        }
    }

    /// The token that starts with the backslash at `at`, behind which `first` stands.
    fn macro_token(
        &self,
        at: usize,
        first: char,
        environments: bool,
        found: impl FnOnce(Token, usize) -> Result<Found, String>,
    ) -> Result<Found, String> {
        if matches!(first, '(' | ')' | '[' | ']') {
            return found(Token::Formula(first), 2);
        }
        let mut name = first.to_string();
        let mut space = String::new();
        let mut length = 2;
        if first.is_alphabetic() {
            let letters = self.signs[at + 2..].iter().take_while(|sign| sign.is_alphabetic());
            name.extend(letters);
            length = 1 + name.chars().count();
            if environments && matches!(name.as_str(), "begin" | "end") {
                return match self.environment_name(at + length) {
                    Some((environment, end)) if name == "begin" => found(Token::Begin(environment), end - at),
                    Some((environment, end)) => found(Token::End(environment), end - at),
                    None if name == "begin" => found(Token::Nameless("\\begin"), length),
                    None => found(Token::Nameless("\\end"), length),
                };
            }
            let blanks = self.signs[at + length..].iter().take_while(|sign| sign.is_whitespace());
            space.extend(blanks);
            if let Some(paragraph) = space.find("\n\n") {
                space.truncate(paragraph);
            }
            length += space.chars().count();
        }
        found(Token::Macro { name, space }, length)
    }

    /// The name in braces of an environment that begins or ends, and the end of it.
    fn environment_name(&self, at: usize) -> Option<(String, usize)> {
        let blanks = self.signs[at..].iter().take_while(|sign| sign.is_whitespace()).count();
        let open = at + blanks;
        if self.signs.get(open) != Some(&'{') {
            return None;
        }
        let allowed = |sign: &char| sign.is_alphanumeric() || matches!(sign, '_' | '*' | ' ' | '.' | '-');
        let name: String = self.signs[open + 1..].iter().take_while(|sign| allowed(sign)).collect();
        let close = open + 1 + name.chars().count();
        (!name.is_empty() && self.signs.get(close) == Some(&'}')).then_some((name, close + 1))
    }

    fn stands_at(&self, at: usize, text: &str) -> bool {
        text.chars()
            .zip(at..)
            .all(|(sign, at)| self.signs.get(at) == Some(&sign))
    }
}

fn closing(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

fn push_signs(nodes: &mut Vec<Node>, signs: &mut String) {
    if !signs.is_empty() {
        nodes.push(Node::Signs(std::mem::take(signs)));
    }
}

/// Whether white space is the source's or that of TeX; the former inside of formulas.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Text,
    Formula,
}

fn text_of(nodes: &[Node], spacing: Spacing) -> Option<String> {
    let mut text = String::new();
    let mut blank = "";
    for node in nodes {
        if spacing == Spacing::Formula && matches!(node, Node::Signs(_)) {
            text.push_str(blank);
        }
        blank = match node {
            Node::Macro(call) if call.arguments.as_ref().is_none_or(Vec::is_empty) => &call.space,
            _ => "",
        };
        push_node(&mut text, node, spacing)?;
    }
    Some(text)
}

fn push_node(text: &mut String, node: &Node, spacing: Spacing) -> Option<()> {
    match node {
        Node::Signs(signs) => {
            if spacing == Spacing::Text || !signs.trim().is_empty() {
                text.push_str(signs);
            }
        }
        Node::Special(special) => text.push_str(special),
        Node::Macro(call) => text.push_str(&macro_text(call, spacing)?),
        Node::Group(nodes) => text.push_str(&text_of(nodes, spacing)?),
        Node::Formula { displayed, nodes } => {
            let inside = text_of(nodes, Spacing::Formula)?;
            match displayed {
                true => text.extend(["\n", inside.trim(), "\n"]),
                false => text.push_str(inside.trim()),
            }
        }
        Node::Environment(name, nodes) => match name.as_str() {
            "array" | "pmatrix" | "bmatrix" | "smallmatrix" | "psmallmatrix" | "bsmallmatrix" => {
                text.push_str(&matrix_text(nodes, spacing)?);
            }
            "equation" | "equation*" | "eqnarray" | "eqnarray*" | "align" | "align*" | "multline" | "multline*"
            | "gather" | "gather*" | "dmath" | "dmath*" => {
                text.extend(["\n", text_of(nodes, Spacing::Formula)?.trim(), "\n"]);
            }
            "center" | "flushleft" | "flushright" => text.extend(["\n", &text_of(nodes, spacing)?, "\n"]),
            _ => text.push_str(&text_of(nodes, spacing)?),
        },
    }
    Some(())
}

/// `[ 1 2; 3 4 ]`. A cell without anything between its `&` is left out; a matrix without a cell has no text.
fn matrix_text(nodes: &[Node], spacing: Spacing) -> Option<String> {
    let mut rows = Vec::new();
    let mut any = false;
    for row in nodes.split(|node| matches!(node, Node::Macro(call) if call.name == "\\")) {
        let mut cells = Vec::new();
        for cell in row.split(|node| matches!(node, Node::Special("   "))) {
            if !cell.is_empty() {
                cells.push(text_of(cell, spacing)?.trim().to_owned());
            }
        }
        any |= !cells.is_empty();
        rows.push(cells.join(" "));
    }
    any.then(|| format!("[ {} ]", rows.join("; ")))
}

fn macro_text(call: &Macro, spacing: Spacing) -> Option<String> {
    let arguments = call.arguments.as_deref().unwrap_or_default();
    let argument = |at: usize| match arguments.get(at) {
        Some(Node::Group(nodes)) => text_of(nodes, spacing),
        Some(node) => text_of(std::slice::from_ref(node), spacing),
        None => Some(String::new()),
    };
    let missing = arguments.is_empty();
    let name = call.name.as_str();
    Some(match name {
        // Where arguments are missing, the source shows its template or fails.
        "frac" | "nicefrac" if missing => "%s/%s".to_owned(),
        "frac" | "nicefrac" => format!("{}/{}", argument(0)?, argument(1)?),
        "sqrt" | "textcolor" | "colorbox" if missing => return None,
        "sqrt" => format!("√({})", argument(0)?),
        "ensuremath" if missing => "%s".to_owned(),
        _ if is_line_over(name) && missing => "%s".to_owned(),
        "ensuremath" => argument(0)?,
        _ if is_line_over(name) => argument(0)?,
        "emph" | "textrm" | "textit" | "textbf" | "textsc" | "textsl" | "text" | "mathrm" => argument(0)?,
        "textcolor" | "colorbox" | "texorpdfstring" => argument(1)?,
        "mathbf" => styled(&argument(0)?, 0x1D400),
        "mathit" => styled(&argument(0)?, 0x1D434),
        "mathsf" => styled(&argument(0)?, 0x1D5A0),
        "mathtt" => styled(&argument(0)?, 0x1D670),
        "mathcal" | "mathscr" => styled(&argument(0)?, 0x1D49C),
        "mathfrak" => styled(&argument(0)?, 0x1D504),
        "mathbb" => styled(&argument(0)?, 0x1D538),
        "\\" | "vspace" => "\n".to_owned(),
        "," | ";" | ":" | " " => " ".to_owned(),
        "quad" => "  ".to_owned(),
        "qquad" => "    ".to_owned(),
        "limsup" => "lim sup".to_owned(),
        "liminf" => "lim inf".to_owned(),
        "&" | "{" | "}" | "#" | "_" => name.to_owned(),
        "-" => "\u{ad}".to_owned(),
        "not" if !missing => match argument(0)?.trim() {
            "=" => "≠".to_owned(),
            "∈" => "∉".to_owned(),
            other => accented(other, '\u{338}')?,
        },
        _ => match accent(name) {
            Some(mark) if missing => accented(" ", mark)?,
            Some(mark) => accented(argument(0)?.trim(), mark)?,
            None => SYMBOLS.get(name).copied().unwrap_or_default().to_owned(),
        },
    })
}

/// Letters of the alphabet that begins with the capital at code point `first`, and the signs that are no letters.
fn styled(text: &str, first: u32) -> String {
    let style = |sign: char| {
        let offset = match sign {
            'A'..='Z' => u32::from(sign) - u32::from('A'),
            'a'..='z' => 26 + u32::from(sign) - u32::from('a'),
            _ => return sign,
        };
        char::from_u32(first + offset).unwrap_or(sign)
    };
    text.chars().map(style).collect()
}

fn accented(text: &str, mark: char) -> Option<String> {
    let marked = || text.chars().flat_map(|sign| [sign, mark]).collect();
    (text.len() <= ACCENTED).then(marked)
}

/// The combining mark of an accent.
fn accent(name: &str) -> Option<char> {
    Some(match name {
        "'" | "acute" => '\u{301}',
        "`" | "grave" => '\u{300}',
        "\"" | "ddot" => '\u{308}',
        "c" => '\u{327}',
        "^" | "hat" => '\u{302}',
        "~" | "tilde" => '\u{303}',
        "H" => '\u{30b}',
        "k" => '\u{328}',
        "=" => '\u{304}',
        "b" => '\u{331}',
        "." | "dot" => '\u{307}',
        "d" => '\u{323}',
        "r" => '\u{30a}',
        "u" | "breve" => '\u{306}',
        "v" | "check" => '\u{30c}',
        "vec" => '\u{20d7}',
        "bar" => '\u{305}',
        "not" => '\u{338}',
        _ => return None,
    })
}

fn is_line_over(name: &str) -> bool {
    const OVER: [&str; 8] = [
        "line",
        "brace",
        "group",
        "bracket",
        "leftarrow",
        "rightarrow",
        "leftrightarrow",
        "linesegment",
    ];
    let kind = name.strip_prefix("over").or_else(|| name.strip_prefix("under"));
    kind.is_some_and(|kind| OVER.contains(&kind))
        || matches!(
            name,
            "widehat" | "widetilde" | "wideparen" | "overleftharpoon" | "overrightharpoon"
        )
}

/// The arguments that a macro takes; macros that are not listed take none.
fn macro_arguments(name: &str) -> &'static str {
    match name {
        "frac" | "nicefrac" | "braket" | "ketbra" | "texorpdfstring" => "{{",
        "sqrt" | "footnote" | "hphantom" | "vphantom" | "xleftarrow" | "xrightarrow" | "color" | "includegraphics" => {
            "[{"
        }
        "textcolor" | "colorbox" => "[{{",
        "hspace" | "vspace" => "*{",
        "\\" => "*[",
        "item" => "[",
        "mbox" | "emph" | "textrm" | "textit" | "textbf" | "textmd" | "textsc" | "textsf" | "textsl" | "texttt"
        | "textup" | "text" | "mathrm" | "mathbb" | "mathbf" | "mathit" | "mathsf" | "mathtt" | "mathcal"
        | "mathscr" | "mathfrak" | "label" | "ref" | "url" | "ensuremath" | "ket" | "bra" => "{",
        _ if accent(name).is_some() || is_line_over(name) => "{",
        _ => "",
    }
}

fn environment_arguments(name: &str) -> &'static str {
    match name {
        "array" => "[{",
        "tabular" | "alignat" | "alignat*" => "{",
        "enumerate" | "itemize" | "description" | "figure" | "table" | "proof" | "theorem" => "[",
        _ => "",
    }
}

/// Macros that stand for signs.
static SYMBOLS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    TABLE
        .split_whitespace()
        .filter_map(|entry| entry.split_once('='))
        .collect()
});

const TABLE: &str = r"
    backslash=\ hbar=ħ ell=ℓ forall=∀ complement=∁ partial=∂ exists=∃ nexists=∄ varnothing=∅ emptyset=∅ aleph=ℵ
    nabla=∇ in=∈ notin=∉ ni=∋ prod=∏ coprod=∐ sum=∑ setminus=∖ smallsetminus=∖ ast=∗ circ=∘ bullet=∙ propto=∝
    infty=∞ parallel=∥ nparallel=∦ wedge=∧ vee=∨ cap=∩ cup=∪ int=∫ iint=∬ iiint=∭ oint=∮ sim=∼ backsim=∽ simeq=≃
    approx=≈ neq=≠ equiv=≡ le=≤ ge=≥ leq=≤ geq=≥ leqslant=⩽ geqslant=⩾ leqq=≦ geqq=≧ lneqq=≨ gneqq=≩ ll=≪ gg=≫
    nless=≮ ngtr=≯ nleq=≰ ngeq=≱ lesssim=≲ gtrsim=≳ lessgtr=≶ gtrless=≷ prec=≺ succ=≻ preceq=≼ succeq=≽ precsim=≾
    succsim=≿ nprec=⊀ nsucc=⊁ subset=⊂ supset=⊃ subseteq=⊆ supseteq=⊇ nsubseteq=⊈ nsupseteq=⊉ subsetneq=⊊
    supsetneq=⊋ cdot=· times=× otimes=⊗ oplus=⊕ bigotimes=⊗ bigoplus=⊕ cos=cos sin=sin tan=tan arccos=arccos
    arcsin=arcsin arctan=arctan cosh=cosh sinh=sinh tanh=tanh arccosh=arccosh arcsinh=arcsinh arctanh=arctanh ln=ln
    log=log exp=exp max=max min=min sup=sup inf=inf lim=lim prime=' dag=† dagger=† pm=± mp=∓ ldots=… cdots=⋯ ddots=⋱
    iddots=⋰ vdots=⋮ dots=… dotsc=… dotsb=… dotsm=… dotsi=… dotso=… langle=⟨ rangle=⟩ lvert=| rvert=| vert=| lVert=‖
    rVert=‖ Vert=‖ mid=| nmid=∤ uparrow=↑ downarrow=↓ rightarrow=→ to=→ leftarrow=← longrightarrow=⟶ longleftarrow=⟵
    alpha=α Alpha=Α beta=β Beta=Β gamma=γ Gamma=Γ delta=δ Delta=Δ epsilon=ϵ Epsilon=Ε zeta=ζ Zeta=Ζ eta=η Eta=Η
    theta=θ Theta=Θ iota=ι Iota=Ι kappa=κ Kappa=Κ lambda=λ Lambda=Λ mu=μ Mu=Μ nu=ν Nu=Ν xi=ξ Xi=Ξ omicron=ο
    Omicron=Ο pi=π Pi=Π rho=ρ Rho=Ρ sigma=σ Sigma=Σ tau=τ Tau=Τ upsilon=υ phi=ϕ Phi=Φ chi=χ Chi=Χ psi=ψ Psi=Ψ
    omega=ω Omega=Ω varepsilon=ε vartheta=ϑ varpi=ϖ varrho=ϱ varsigma=ς varphi=φ varkappa=ϰ backepsilon=϶
    backprime=‵ wp=℘ beth=ℶ gimel=ℷ daleth=ℸ leftrightarrow=↔ updownarrow=↕ nwarrow=↖ nearrow=↗ searrow=↘ swarrow=↙
    nleftarrow=↚ nrightarrow=↛ arrowwaveleft=↜ arrowwaveright=↝ twoheadleftarrow=↞ twoheadrightarrow=↠
    leftarrowtail=↢ rightarrowtail=↣ mapsto=↦ hookleftarrow=↩ hookrightarrow=↪ looparrowleft=↫ looparrowright=↬
    leftrightsquigarrow=↭ nleftrightarrow=↮ Lsh=↰ Rsh=↱ curvearrowleft=↶ curvearrowright=↷ circlearrowleft=↺
    circlearrowright=↻ leftharpoonup=↼ leftharpoondown=↽ upharpoonright=↾ upharpoonleft=↿ rightharpoonup=⇀
    rightharpoondown=⇁ downharpoonright=⇂ downharpoonleft=⇃ rightleftarrows=⇄ dblarrowupdown=⇅ leftrightarrows=⇆
    leftleftarrows=⇇ upuparrows=⇈ rightrightarrows=⇉ downdownarrows=⇊ leftrightharpoons=⇋ rightleftharpoons=⇌
    nLeftarrow=⇍ nLeftrightarrow=⇎ nRightarrow=⇏ Lleftarrow=⇚ Rrightarrow=⇛ rightsquigarrow=⇝ blacksquare=▪
    dotplus=∔ rightangle=∟ angle=∠ measuredangle=∡ sphericalangle=∢ therefore=∴ because=∵ wr=≀ cong=≅ approxeq=≊
    asymp=≍ Bumpeq=≎ bumpeq=≏ doteq=≐ doteqdot=≑ fallingdotseq=≒ risingdotseq=≓ eqcirc=≖ circeq=≗ triangleq=≜
    between=≬ uplus=⊎ sqsubset=⊏ sqsupset=⊐ sqsubseteq=⊑ sqsupseteq=⊒ sqcap=⊓ sqcup=⊔ ominus=⊖ oslash=⊘ odot=⊙
    circledcirc=⊚ circledast=⊛ circleddash=⊝ boxplus=⊞ boxminus=⊟ boxtimes=⊠ boxdot=⊡ vdash=⊢ dashv=⊣ top=⊤ perp=⊥
    Vdash=⊩ Vvdash=⊪ VDash=⊫ nvdash=⊬ nvDash=⊭ nVdash=⊮ nVDash=⊯ vartriangleleft=⊲ vartriangleright=⊳
    trianglelefteq=⊴ trianglerighteq=⊵ veebar=⊻ bigwedge=⋀ bigvee=⋁ bigcap=⋂ bigcup=⋃ diamond=♢ star=⋆
    divideontimes=⋇ bowtie=⋈ ltimes=⋉ rtimes=⋊ leftthreetimes=⋋ rightthreetimes=⋌ backsimeq=⋍ curlyvee=⋎
    curlywedge=⋏ Subset=⋐ Supset=⋑ Cap=⋒ Cup=⋓ lessdot=⋖ gtrdot=⋗ lesseqgtr=⋚ gtreqless=⋛ lnsim=⋦ gnsim=⋧ succnsim=⋩
    ntriangleleft=⋪ ntriangleright=⋫ ntrianglelefteq=⋬ ntrianglerighteq=⋭ udots=⋰ barwedge=⌅ lceil=⌈ rceil=⌉
    lfloor=⌊ rfloor=⌋ ulcorner=⌜ urcorner=⌝ llcorner=⌞ lrcorner=⌟ square=□ bigtriangleup=△ blacktriangle=▴
    vartriangle=▵ blacktriangleright=▸ triangleright=▹ bigtriangledown=▽ blacktriangledown=▾ triangledown=▿
    blacktriangleleft=◂ triangleleft=◃ lozenge=◊ bigcirc=◯ longleftrightarrow=⟷ Longleftarrow=⟸ Longrightarrow=⟹
    Longleftrightarrow=⟺ longmapsto=⟼ blacklozenge=⧫ amalg=⨿ lessapprox=⪅ gtrapprox=⪆ lneq=⪇ gneq=⪈ lnapprox=⪉
    gnapprox=⪊ lesseqqgtr=⪋ gtreqqless=⪌ eqslantless=⪕ eqslantgtr=⪖ precneqq=⪵ succneqq=⪶ precapprox=⪷ succapprox=⪸
    precnapprox=⪹ succnapprox=⪺ subseteqq=⫅ supseteqq=⫆ subsetneqq=⫋ supsetneqq=⫌ lbrace={ rbrace=} lnot=¬ div=÷
    aa=å AA=Å ae=æ AE=Æ oe=œ OE=Œ o=ø O=Ø ss=ß l=ł L=Ł i=ı j=ȷ
    dddot=⃛ ddddot=⃜ hslash=ℏ mho=℧ surd=√ preccurlyeq=≼ succcurlyeq=≽ diagup=╱ id=𝕀 Ident=𝕀
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_answers() {
        let pairs = [
            ("\\frac{1+x}{2}", "1+x/2"),
            ("\\frac12", "1/2"),
            ("\\frac\\pi 2", "π/2"),
            ("\\sqrt[3]{2}", "√(2)"),
            ("11\\sqrt2", "11√(2)"),
            ("x^{10}", "x^10"),
            ("10{,}000", "10,000"),
            ("\\left( 3, \\infty \\right]", "( 3, ∞]"),
            ("\\pi r^2", "πr^2"),
            ("\\(\\pi r\\)", "π r"),
            ("15\\mbox{ cm}^2", "15^2"),
            ("\\text{ cm}", " cm"),
            ("\\textnormal{a}", "a"),
            ("\\mathbf{x}", "𝐱"),
            ("\\{1,2\\}", "{1,2}"),
            ("a} b", "a b"),
            ("{a", "a"),
            ("a \\foo b", "a b"),
            ("1 -- 2", "1 – 2"),
            (
                "\\begin{pmatrix} 1 & 2 \\\\ 3 & \\frac12 \\end{pmatrix}",
                "[ 1 2; 3 1/2 ]",
            ),
            ("\\begin{array}{cc} 1 & 2 \\\\ [3] & \\end{array}", "[ 1 2; [3]  ]"),
            ("\\begin{cases} 1 \\\\ 2 \\end{cases}", "\u{20}1 \n 2 "),
            ("\\frac", "%s/%s"),
            ("\\frac{1}", "%s/%s1"),
            ("\\not= 3, \\not\\in", "≠ 3, ∉"),
            ("\\vec{v}", "v\u{20d7}"),
            ("a\\", "a"),
            ("\\begin{pmatrix", "\\beginpmatrix"),
            ("1-\\i", "1-ı"),
            ("", ""),
        ];
        for (latex, text) in pairs {
            assert_eq!(plain_text(latex).as_deref(), Some(text), "{latex}");
        }
        for latex in ["\\sqrt", "\\frac\\sqrt32", "\\begin{pmatrix}\\end{pmatrix}"] {
            assert_eq!(plain_text(latex), None, "{latex}");
        }
    }

    #[test]
    fn every_symbol_has_one_entry() {
        assert_eq!(SYMBOLS.len(), TABLE.split_whitespace().count());
        assert_eq!((SYMBOLS["pi"], SYMBOLS["Omega"], SYMBOLS["leq"]), ("π", "Ω", "≤"));
    }

    #[test]
    fn hostile_texts_are_read_soon() {
        for unit in [
            "{",
            "}",
            "\\frac",
            "\\frac{",
            "\\frac{}",
            "\\vec{",
            "\\sqrt",
            "\\sqrt[",
            "\\text{",
            "\\(",
            "\\[",
            "\\begin{a}",
            "\\end{a}",
            "&",
            "\\\\",
        ] {
            let _ = plain_text(&unit.repeat(4096 / unit.len()));
        }
        assert_eq!(plain_text(&"\\frac{".repeat(60)), None);
        assert_eq!(plain_text(&("\\vec{".repeat(60) + "x")), None);
        assert_eq!(plain_text(&"{".repeat(DEPTH + 1)), None);
        assert_eq!(plain_text(&"{".repeat(DEPTH)).as_deref(), Some(""));
    }
}
