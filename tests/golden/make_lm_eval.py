"""Verdicts of EleutherAI's lm-evaluation-harness on responses of this script's making, for `essa judge`.

The harness judges as it does in an evaluation: its own task files, filters, metric and checkers, with these rows in place of the data set
and these responses in place of a model's. `--rows` and `--seed` make more and other rows, elsewhere, for a search for differences.

NLTK is pinned because its words and sentences change: 3.9.3 parts words at dashes, 3.10 has other letters and quotes.

Sentences need NLTK's Punkt model for English, which the harness downloads. `--ifeval-data FOLDER` takes its parameters from
`punkt_english.json` there instead, and then also holds the harness against the verdicts of Google's checker in that folder.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import datasets
import nltk
from langdetect import DetectorFactory

GSM8K_ROWS = 480
IFEVAL_ROWS = 320
# langdetect and what the checkers draw at random: verdicts that hang on it are left out.
SEEDS = range(10)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ifeval-data", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "fixtures")
    parser.add_argument("--rows", type=int, help="of each task, drawn at random")
    parser.add_argument("--seed", type=int, default=20261127)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.ifeval_data:
            install_punkt(arguments.ifeval_data / "punkt_english.json", Path(folder))
        print(f"nltk {nltk.__version__}, datasets {datasets.__version__}")
        rows = gsm8k_rows(random.Random(arguments.seed), arguments.rows or GSM8K_ROWS)
        write(arguments.output / "lm_eval_gsm8k.jsonl", judged_gsm8k(rows))
        rows = ifeval_rows(random.Random(arguments.seed), arguments.rows or IFEVAL_ROWS)
        write(arguments.output / "lm_eval_ifeval.jsonl", judged_ifeval(rows))
        if arguments.ifeval_data:
            compare_with_google(arguments.ifeval_data)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path.name}: {len(rows)} rows, {path.stat().st_size} bytes")


# ---- The harness.


def install_punkt(source, folder):
    """Writes the parameters as NLTK's package `punkt_tab` has them, where NLTK finds them."""
    punkt = json.loads(source.read_text(encoding="utf-8"))
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    tables = {
        "abbrev_types.txt": punkt["abbrev_types"],
        "sent_starters.txt": punkt["sent_starters"],
        "collocations.tab": ["\t".join(pair) for pair in punkt["collocations"]],
        "ortho_context.tab": [f"{word}\t{flags}" for word, flags in punkt["ortho_context"].items()],
    }
    for name, lines in tables.items():
        (english / name).write_text("\n".join(lines), encoding="utf-8")
    nltk.data.path.insert(0, str(folder))


def harness_task(name, rows):
    """The harness's task of this name, on these rows instead of its data set and without examples in the prompt."""
    from lm_eval import tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(Path(tasks.__file__).parent / name / f"{name}.yaml")
    docs = datasets.Dataset.from_list(rows)
    splits = {config[key] for key in ("training_split", "fewshot_split", "test_split") if key in config}
    config |= {"custom_dataset": lambda **_: dict.fromkeys(splits, docs), "num_fewshot": 0}
    return ConfigurableTask(config=config)


def verdicts(task, responses):
    """What the harness's evaluator does with responses: the metrics of each filter, row by row."""
    task.build_all_requests()
    for instance in task.instances:
        instance.resps = [responses[instance.doc_id]]
    task.apply_filters()
    by_id = sorted(task.instances, key=lambda instance: instance.doc_id)
    assert len(by_id) == len(responses)
    return {
        name: [task.process_results(one.doc, [one.filtered_resps[name]]) for one in by_id]
        for name in by_id[0].filtered_resps
    }


def judged_gsm8k(rows):
    task = harness_task("gsm8k", [{"question": "", "answer": row["answer"]} for row in rows])
    found = verdicts(task, [row["response"] for row in rows])
    judged = []
    for row, strict, flexible in zip(rows, found["strict-match"], found["flexible-extract"], strict=True):
        judged.append(row | {"strict": bool(strict["exact_match"]), "flexible": bool(flexible["exact_match"])})
    return judged


def judged_ifeval(rows):
    task = harness_task("ifeval", [{"key": at} | row for at, row in enumerate(rows)])
    responses = [row["response"] for row in rows]
    by_seed = []
    for seed in SEEDS:
        DetectorFactory.seed = seed
        random.seed(seed)
        by_seed.append(verdicts(task, responses)["none"])
    DetectorFactory.seed = 0
    stable = [(row, own[0]) for row, *own in zip(rows, *by_seed, strict=True) if all(one == own[0] for one in own)]
    print(f"{len(rows) - len(stable)} rows whose verdict hangs on the seed are left out")
    return [row | {name: plain(value) for name, value in verdict.items()} for row, verdict in stable]


def plain(verdict):
    return [bool(one) for one in verdict] if isinstance(verdict, list) else bool(verdict)


def compare_with_google(folder):
    """The harness beside the recorded verdicts of Google's checker, but for pairs that hang on a seed there."""

    def read(name):
        with (folder / name).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    kwargs = {row["key"]: row["kwargs"] for row in read("input_data.jsonl")}
    by_chance = {tuple(pair) for pair in json.loads((folder / "seed_dependent.json").read_text())["pairs"]}
    for path in sorted(folder.glob("verdicts_*.jsonl")):
        rows = read(path.name)
        columns = ("key", "prompt", "instruction_id_list")
        asked = [{name: row[name] for name in columns} | {"kwargs": kwargs[row["key"]]} for row in rows]
        found = verdicts(harness_task("ifeval", asked), [row["response"] for row in rows])["none"]
        for level in ("strict", "loose"):
            equal, differ = 0, []
            for row, verdict in zip(rows, found, strict=True):
                own = verdict[f"inst_level_{level}_acc"]
                for kind, ours, theirs in zip(row["instruction_id_list"], own, row[level], strict=True):
                    if (row["key"], kind) not in by_chance:
                        equal += ours == theirs
                        differ += [f"{row['key']} {kind} {theirs}"] if ours != theirs else []
            print(f"{path.name} {level}: {equal} equal, {len(differ)} differ; Google's: {differ}")


# ---- GSM8K.


def gsm8k_rows(rng, count):
    rows = [{"answer": answer, "response": response} for answer, response in GSM8K_EDGES]
    while len(rows) < count:
        number = rng.choice(
            [rng.randint(0, 99), rng.randint(100, 999_999), -rng.randint(1, 999), rng.randint(1, 9999) / 4]
        )
        gold = spelled(number, rng.choice(["{}", "{:,}"]))
        given = rng.choice([*[number] * 6, -number, number + 1, number * 10, number / 10])
        form = rng.choice(NUMBERS)
        value = form(given)
        first, second = rng.randint(2, 40), rng.randint(2, 40)
        response = rng.choice(RESPONSES)
        response = response.replace("{n}", value).replace("{a}", str(first)).replace("{b}", str(second))
        answer = rng.choice(ANSWERS).replace("{n}", gold).replace("{a}", str(first)).replace("{b}", str(second))
        rows.append({"answer": answer, "response": response.replace("{gold}", gold)})
    return rows


def spelled(number, form="{}"):
    return form.format(int(number) if number == int(number) else number)


def with_unit(number):
    units = [" apples", "kg", " m²", "th", " dollars and 5 cents", "°", " hours."]
    return spelled(number) + units[int(abs(number)) % len(units)]


# Ways to write a number.
NUMBERS = [
    *[spelled] * 14,
    lambda number: spelled(number, "{:,}"),
    lambda number: spelled(number, "{:,}"),
    lambda number: "$" + spelled(number, "{:,}"),
    lambda number: "$" + spelled(number, "{:,}") + ".",
    lambda number: spelled(number) + ".",
    lambda number: f"{number:.2f}",
    lambda number: f"${number:,.2f}",
    lambda number: spelled(number) + "%",
    with_unit,
    lambda number: "\N{MINUS SIGN}" + spelled(abs(number)),
    lambda number: "-$" + spelled(abs(number)),
    lambda number: "$-" + spelled(abs(number)),
    lambda number: "- " + spelled(abs(number)),
    lambda number: "+" + spelled(number),
    lambda number: spelled(number).translate({ord("0") + digit: ord("٠") + digit for digit in range(10)}),
    lambda number: spelled(number).translate({ord("0") + digit: ord("０") + digit for digit in range(10)}),
    lambda number: spelled(number).translate({ord("0") + digit: ord("०") + digit for digit in range(10)}),
    lambda number: f"{number:.3e}",
    lambda number: spelled(number, "{:,}").replace(",", " "),
    lambda number: spelled(number, "{:,}").replace(",", "."),
    lambda number: "€" + spelled(number),
    lambda number: f"{int(number * 2)}/2",
]


ANSWERS = [
    "{n}", "{n}", "They have {a} + {b} things.\nSo the answer is {n}.\n#### {n}",
    "First {a}*{b}=<<{a}*{b}=1>>1 coins.\nThen some more.\n#### {n}", "#### {n}", "${n}", "{n}.",
    "One way: #### {a}\nThe other way:\n#### {n}",
]

# fmt: off
RESPONSES = [
    *["{a} + {b} = 12\n#### {n}"] * 12,
    "There are {a} boxes of {b}.\n\n#### {n}\n", "#### {n}", "#### {n} #### {a}", "#### {a}\nNo, that was wrong.\n#### {n}",
    "#### {n}\n\nQuestion: Tom has {a} cats. How many legs?\nAnswer: {b}", "####{n}", "### {n}", "##### {n}", "####  {n}",
    "####\n{n}", "#### **{n}**", "#### $\\boxed{{n}}$", "#### The answer is {n}", "#### = {n}", "\\#\\#\\#\\# {n}",
    "The answer is {n}", "The answer is {n}.", "The answer is {n}!", "**{n}**", "The answer is **{n}**.",
    "So we get \\boxed{{n}}.", "$$\\boxed{{n}}$$", "\\[ {a} \\times {b} = {n} \\]", "{n}", "{n}\n", " {n} ", "({n})", "[{n}]",
    '"{n}"', "x = {n}", "x={n}.", "{a}-{b}={n}", "{n} is the answer, not {a}.", "{n}...",
    "{n}, of which {a} are red and {b} are blue ...", "It costs {n} in all, that is ${a}.{b} for each", "Between {a}-{n}",
    "{a} of {b}: {n}%", "Answer: {n} (see step 2)", "Answer: {n}</s>", "1. {a}\n2. {b}\n3. {n}", "| total | {n} |\n|---|---|",
    "`{n}`", "~{n}", "Die Antwort ist {n}。", "答えは{n}です。", "I cannot tell.", "", "...", "{gold}", "#### {gold}", "#### {gold}.",
    "#### {gold},", "#### -{gold}", "{a}\n#### {gold} apples",
]

GSM8K_EDGES = [
    ("42", "#### 42.\n"), ("42\n", "#### 42"), ("5.", "#### 5."), ("5.", "#### 5.."), ("5", "#### 5.,"), ("5", "#### 5,."),
    ("5", "#### ,5"), ("5", "#### .5"), (".5", "#### 0.5"), ("5", "5 $"), ("5", "5 $$"), ("5", "5 ,"), ("5", "5 ,,"),
    ("5", "$$5$$"), ("5", "5--5"), ("-5", "5--5"), ("5", "--5"), ("-5", "-5-"), ("1234", "1,2,3,4"), ("1234", "#### 1,2,3,4"),
    ("12", "1$2"), ("", "#### ,"), ("", "#### ."), ("", "..."), ("", "no number"), (".", "#### .."), ("so #### 7", "#### 7"),
    ("so #### 7 #### 8", "#### 7"), ("so #### 7 #### 8", "#### 8"), ("####7", "#### 7"), ("a\n####\u00a07", "#### 7"),
    ("7", "####\u00a07"), ("7", "####\t7"), ("7", "#### \u200b7"), ("7", "#### 7\u200b"), ("7", "#### 7\r\n"), ("7", "7\u2028"),
    ("7", "seven (７)"), ("7", "①②⑦"), ("0", "#### 0"), ("0", "#### -0"), ("-0", "#### -0"), ("007", "#### 007"),
    ("7", "#### 007"), ("1e3", "#### 1e3"), ("1", "#### 1e3"), ("100000000000000000000", "#### 100,000,000,000,000,000,000"),
]

# ---- IFEval.


def ifeval_rows(rng, count):
    rows = []
    for kind, cases in EDGES.items():
        for kwargs, responses in cases:
            rows += [ifeval_row([(kind, kwargs)], response, "Tell me more.") for response in responses]
    for _ in range(count):
        kinds = rng.sample(sorted(KINDS), rng.choice([1, 1, 2, 2, 3, 4]))
        topic = rng.choice(TOPICS)
        text = " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(1, 6)))
        asked = []
        for kind in kinds:
            kwargs, follow = KINDS[kind](rng, topic)
            asked.append((kind, kwargs))
            if rng.random() < 0.65:
                text = follow(text)
        for change in rng.sample(CHANGES, rng.choice([0, 0, 1, 1, 2])):
            text = change(rng, text)
        rows.append(ifeval_row(asked, text, topic))
    return rows


def ifeval_row(asked, response, topic):
    wants = "; ".join(f"{kind.split(':')[1]} {json.dumps(kwargs, ensure_ascii=False)}" for kind, kwargs in asked)
    return {
        "prompt": f"{topic} ({wants})"[:200],
        "instruction_id_list": [kind for kind, _ in asked],
        "kwargs": [kwargs for _, kwargs in asked],
        "response": response,
    }


TOPICS = [
    "Write about a garden in winter.", "Explain how bread is made!", "Why do cats sleep so much?",
    "Describe ÉCLAIRS and  naïve art\nin two parts.",
]

SENTENCES = [
    "The garden is quiet in winter.", "Dr. Smith and Mrs. Jones met at 5 p.m. in Washington D.C. yesterday.",
    'She said "Come in!" and closed the door.', "Is it true? Yes, it is!", "Bread needs flour, water, salt and time...",
    "The U.S. Senate met on Jan. 5. It was a long day.", "Mix 3.5 cups of flour (approx. 440 g) with 1,200 ml of water.",
    "I can't say; don't ask me, won't you?", "NASA and the ESA launched a PROBE in 1997.", "WOW!!! That's GREAT, isn't it?!",
    "See e.g. chapter 4, i.e. the last one, etc. Then go on.", "The cat's whiskers -- all twelve of them -- are white.",
    "Cats sleep for 12-16 hours a day.", "This is *very* important and **must not** be forgotten.",
    "Visit https://www.example.com/cats or write to info@example.org.", "He lives on St. James Ave. near No. 10.",
    "“Curly quotes,” he wrote, ‘are nice’.", "A. B. Clark wrote it. C. D. Evans read it.", "(It rained.) [And it poured.]",
    "First, knead the dough; second: let it rest.", "I WANNA go, CANNOT stay, and GOTTA run.",
    "The café’s naïve façade cost $5.00 – or €4?", "Nobody knows.Nobody asks.",
    "The price fell by 3%. Prices rose & fell @ noon.", "Version 2.0.1 is out; A/B tests show UPPER_CASE and X-ray-ID.",
    "We met at Smith & Co. Inc. was founded later.",
]

# A few sentences in every language that the harness knows, by its code.
LANGUAGES = {
    "en": "The library opens early in the morning. Many people come to read the newspapers there.",
    "es": "La biblioteca abre temprano por la mañana. Mucha gente viene a leer los periódicos allí.",
    "pt": "A biblioteca abre cedo de manhã. Muitas pessoas vão lá para ler os jornais e não fazem barulho.",
    "ar": "تفتح المكتبة أبوابها في الصباح الباكر. يأتي كثير من الناس إلى هناك لقراءة الصحف.",
    "hi": "पुस्तकालय सुबह जल्दी खुलता है। बहुत से लोग वहाँ अख़बार पढ़ने आते हैं और चुपचाप बैठते हैं।",
    "fr": "La bibliothèque ouvre tôt le matin. Beaucoup de gens y viennent pour lire les journaux.",
    "ru": "Библиотека открывается рано утром. Многие люди приходят туда читать газеты.",
    "de": "Die Bibliothek öffnet früh am Morgen. Viele Leute kommen dorthin, um die Zeitungen zu lesen.",
    "ja": "図書館は朝早く開きます。多くの人がそこへ新聞を読みに来ます。",
    "it": "La biblioteca apre la mattina presto. Molte persone vengono qui per leggere i giornali.",
    "bn": "গ্রন্থাগারটি খুব সকালে খোলে। অনেক মানুষ সেখানে খবরের কাগজ পড়তে আসে।",
    "uk": "Бібліотека відкривається рано вранці. Багато людей приходять туди читати газети, і їм це подобається.",
    "th": "ห้องสมุดเปิดแต่เช้า ผู้คนมากมายมาอ่านหนังสือพิมพ์ที่นั่น",
    "ur": "کتب خانہ صبح سویرے کھلتا ہے۔ بہت سے لوگ وہاں اخبار پڑھنے آتے ہیں۔",
    "ta": "நூலகம் அதிகாலையில் திறக்கிறது. பலர் அங்கு செய்தித்தாள்களைப் படிக்க வருகிறார்கள்.",
    "te": "గ్రంథాలయం ఉదయాన్నే తెరుచుకుంటుంది. చాలా మంది అక్కడ వార్తాపత్రికలు చదవడానికి వస్తారు.",
    "bg": "Библиотеката отваря рано сутринта. Много хора идват там, за да четат вестници и списания.",
    "ko": "도서관은 아침 일찍 문을 엽니다. 많은 사람들이 그곳에 신문을 읽으러 옵니다.",
    "pl": "Biblioteka jest otwierana wcześnie rano. Wielu ludzi przychodzi tam czytać gazety.",
    "he": "הספרייה נפתחת מוקדם בבוקר. אנשים רבים באים לשם כדי לקרוא עיתונים.",
    "fa": "کتابخانه صبح زود باز می‌شود. مردم زیادی برای خواندن روزنامه به آنجا می‌آیند.",
    "vi": "Thư viện mở cửa từ sáng sớm. Nhiều người đến đó để đọc báo và không nói chuyện.",
    "ne": "पुस्तकालय बिहान सबेरै खुल्छ। धेरै मानिसहरू त्यहाँ पत्रिका पढ्न आउँछन्।",
    "sw": "Maktaba hufunguliwa asubuhi na mapema. Watu wengi huja hapo kusoma magazeti.",
    "kn": "ಗ್ರಂಥಾಲಯವು ಬೆಳಿಗ್ಗೆ ಬೇಗ ತೆರೆಯುತ್ತದೆ. ಅನೇಕ ಜನರು ಅಲ್ಲಿ ಪತ್ರಿಕೆಗಳನ್ನು ಓದಲು ಬರುತ್ತಾರೆ.",
    "mr": "ग्रंथालय सकाळी लवकर उघडते. अनेक लोक तिथे वर्तमानपत्रे वाचायला येतात आणि शांत बसतात.",
    "gu": "પુસ્તકાલય સવારે વહેલું ખૂલે છે. ઘણા લોકો ત્યાં છાપાં વાંચવા આવે છે.",
    "pa": "ਲਾਇਬ੍ਰੇਰੀ ਸਵੇਰੇ ਜਲਦੀ ਖੁੱਲ੍ਹਦੀ ਹੈ। ਬਹੁਤ ਸਾਰੇ ਲੋਕ ਉੱਥੇ ਅਖ਼ਬਾਰ ਪੜ੍ਹਨ ਆਉਂਦੇ ਹਨ।",
    "ml": "ഗ്രന്ഥശാല അതിരാവിലെ തുറക്കുന്നു. ധാരാളം ആളുകൾ അവിടെ പത്രം വായിക്കാൻ വരുന്നു.",
    "fi": "Kirjasto aukeaa aikaisin aamulla. Monet ihmiset tulevat sinne lukemaan sanomalehtiä.",
}

RELATIONS = ["at least", "less than"]


def without(sign):
    return lambda text: text.replace(sign, "")


def behind(end):
    return lambda text: f"{text}\n\n{end}"


def before(head):
    return lambda text: f"{head}\n{text}"


def existence(rng, _):
    keywords = rng.sample(["winter", "Bread", "e.g", "cat", "U.S.", "naïve", "dough", "12-16"], rng.randint(1, 3))
    return {"keywords": keywords}, lambda text: f"{text} {' and '.join(keywords).upper()}."


def frequency(rng, _):
    keyword, count = rng.choice(["the", "cat", "bread", "it", "St.", "no"]), rng.randint(1, 4)
    kwargs = {"keyword": keyword, "frequency": count, "relation": rng.choice(RELATIONS)}
    return kwargs, lambda text: f"{text} {keyword} {keyword}, {keyword.upper()}{keyword}!"


def forbidden_words(rng, _):
    words = rng.sample(["it", "cat", "the", "time", "D.C", "S", "bread"], rng.randint(1, 3))
    return {"forbidden_words": words}, lambda text: " ".join(
        word for word in text.split() if not any(own.lower() in word.lower() for own in words)
    )


def letter_frequency(rng, _):
    letter, count = rng.choice("aEikQzs"), rng.randint(1, 12)
    kwargs = {"letter": letter, "let_frequency": count, "let_relation": rng.choice(RELATIONS)}
    return kwargs, lambda text: text + letter * count


def response_language(rng, _):
    language = rng.choice(sorted(LANGUAGES))
    return {"language": language}, lambda _: LANGUAGES[language]


def number_sentences(rng, _):
    return {"num_sentences": rng.randint(1, 9), "relation": rng.choice(RELATIONS)}, lambda text: f"{text} It is so. Or?"


def number_paragraphs(rng, _):
    count = rng.randint(1, 4)
    divider = rng.choice(["***", "\n***\n", "\n\n***\n\n", " *** "])
    return {"num_paragraphs": count}, lambda text: divider.join([text[:80]] * count)


def number_words(rng, _):
    return {"num_words": rng.randint(5, 60), "relation": rng.choice(RELATIONS)}, lambda text: text[
        : rng.randint(20, 200)
    ]


def nth_paragraph_first_word(rng, _):
    count = rng.randint(1, 4)
    nth, word = rng.randint(1, count), rng.choice(["Hello", "garden", "it's", "ÉTÉ"])
    gap = rng.choice(["\n\n", "\n\n", "\n\n\n", "\n\n\n\n", "\n \n"])
    paragraphs = ["Some text here."] * count
    paragraphs[nth - 1] = rng.choice(["{}, you.", '"{}" he said.', "'{}!", "{}", " {} x", "**{}** x"]).format(word)
    return {"num_paragraphs": count, "nth_paragraph": nth, "first_word": word}, lambda _: gap.join(paragraphs)


def number_placeholders(rng, _):
    return {"num_placeholders": rng.randint(1, 4)}, lambda text: f"[name] {text} [date][a\nb] []"


def postscript(rng, _):
    marker = rng.choice(["P.S.", "P.P.S", "PS", "NB:"])
    return {"postscript_marker": marker}, behind(rng.choice([marker, marker.lower(), "P. S. x", "p.p. s."]))


def number_bullet_lists(rng, _):
    count, sign = rng.randint(1, 5), rng.choice(["* ", "- ", "*", "  * ", "• ", "** "])
    return {"num_bullets": count}, behind("\n".join(f"{sign}point {at}" for at in range(count)))


def constrained_response(rng, _):
    return {}, lambda text: rng.choice(
        ["My answer is yes.", "my answer is no.", f"{text} My answer is maybe.", "My answer is no"]
    )


def number_highlighted_sections(rng, _):
    return {"num_highlights": rng.randint(1, 5)}, lambda text: f"*one* {text} **two** and ***three*** * *"


def multiple_sections(rng, _):
    splitter, count = rng.choice(["Section", "SECTION", "Part", "Day"]), rng.randint(1, 4)
    return {"section_spliter": splitter, "num_sections": count}, lambda text: "\n".join(
        f"{splitter}{rng.choice([' ', ' ', '', '  '])}{at + 1}\n{text[:60]}" for at in range(count)
    )


def json_format(rng, _):
    fence = rng.choice(["{}", "```json\n{}\n```", "```\n{}```", "```JSON{}", "```python\n{}\n```", "Here: {}"])
    return {}, lambda text: fence.replace("{}", json.dumps({"text": text, "n": [1, None, 2.5]}))


def title(rng, _):
    return {}, before(rng.choice(["<<A title>>", "<< >>", "<<a>>>>", "<<a\n>>", "<Title>", "<<<b>>>"]))


def two_responses(rng, _):
    return {}, lambda text: rng.choice(
        ["{0}\n******\n{1}", "{0}******{0}", "******{0}******{1}", "{0}***{1}", "{0}\n*******\n{1}"]
    ).format(text[:90], "Another answer.")


def repeat_prompt(rng, topic):
    return {"prompt_to_repeat": topic}, before(rng.choice([topic, topic.upper(), f"Sure! {topic}", f"  {topic}"]))


def end_checker(rng, _):
    phrase = rng.choice(["Is there anything else?", "The END.", "Ça va?"])
    return {"end_phrase": phrase}, behind(
        rng.choice([phrase, phrase.upper() + "\n", f'{phrase}"', phrase + " Bye.", f"**{phrase}**"])
    )


def capital_word_frequency(rng, _):
    kwargs = {"capital_frequency": rng.randint(1, 6), "capital_relation": rng.choice(RELATIONS)}
    return kwargs, lambda text: f"{text} I DON'T KNOW, A-B C/D É 3D X."


def english_capital(*_):
    return {}, str.upper


def english_lowercase(*_):
    return {}, str.lower


def no_comma(*_):
    return {}, without(",")


def quotation(*_):
    return {}, lambda text: f'"{text}"'


KINDS = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
    "startend:quotation": quotation,
}

# What is done to a response whatever was asked, most of it what the loose verdict forgives.
CHANGES = [
    lambda _, text: f"Sure, here it is:\n{text}",
    lambda _, text: f"{text}\nLet me know, if you need more!",
    lambda _, text: f"Sure, here it is:\n\n{text}\n\nBye, now!",
    lambda _, text: f"**{text}**",
    lambda _, text: f"*{text}*\n",
    lambda _, text: f'"{text}"',
    lambda _, text: f"\n\n{text}\n ",
    lambda _, text: text.replace(". ", ".\n\n"),
    lambda _, text: text.replace(". ", ".\n***\n"),
    lambda _, text: text.replace(" ", "  ").replace("\n", "\r\n"),
    lambda _, text: "\n".join(f"* {line}" for line in text.split("\n")),
    lambda _, text: text.upper(),
    lambda _, text: text.lower(),
    lambda _, text: f"```\n{text}\n```",
    lambda rng, text: f"{text}\n{LANGUAGES[rng.choice(sorted(LANGUAGES))]}",
    lambda rng, text: text[: rng.randint(0, len(text))],
    lambda _, text: text.replace("i", "İ").replace("s", "ſ"),
]

# By kind, arguments with responses that are close to the edge.
EDGES = {
    "keywords:existence": [
        ({"keywords": ["cat", "DOG"]}, ["Concatenated dogma", "cat", "CAT dog", "c*a*t dog", "cat\ndo*g", ""]),
        ({"keywords": ["a.c"]}, ["abc", "a.c", "ac", "a\nc"]),
        ({"keywords": ["Straße"]}, ["STRASSE", "straße", "STRAẞE"]),
        ({"keywords": ["istanbul"]}, ["ISTANBUL", "İstanbul", "ıstanbul"]),
        ({"keywords": ["ılık", "x{2}"]}, ["ILIK XX", "ilik x", "xx ilık"]),
        ({"keywords": ["kelvin", "sun"]}, ["\N{KELVIN SIGN}elvin ſun"]),
        ({"keywords": ["café"]}, ["CAFÉ", "cafe\u0301"]),
        ({"keywords": ["ΟΔΟΣ"]}, ["οδος", "οδοσ", "ΟΔΟΣ"]),
    ],
    "keywords:frequency": [
        (
            {"keyword": "cat ", "frequency": 2, "relation": "at least"},
            ["cat cat", "concatenate the cat", "Cat", "catcat", "c*at cat", "cat\nsome\ncat"],
        ),
        ({"keyword": "aa", "frequency": 2, "relation": "less than"}, ["aaa", "aaaa", "b", "aa aa\nb"]),
    ],
    "keywords:forbidden_words": [
        (
            {"forbidden_words": ["cat", "c-d", "#x"]},
            ["cats", "A cat.", "cat_x", "cat-x", "the c-d", "xc-dx", "#x", "y#x", "y#xy", "dog\ncat", "cat\u0301"],
        ),
        ({"forbidden_words": ["ışık", "I"]}, ["İ", "ISIK", "işıks", "ış"]),
        ({"forbidden_words": ["naïve", "10"]}, ["NAÏVE", "naïves", "10.5", "110", "1٠"]),
        ({"forbidden_words": ["U.S."]}, ["the U.S. is", "U.S.A", "the U.S.", "USSR"]),
    ],
    "keywords:letter_frequency": [
        ({"letter": "E", "let_frequency": 3, "let_relation": "at least"}, ["eEe", "ee", "éee", "e\ne\ne", "ＥＥＥ"]),
        ({"letter": "i", "let_frequency": 2, "let_relation": "less than"}, ["iİ", "i", "x", "ii\nx", "ıI"]),
    ],
    "language:response_language": [
        *[({"language": code}, [text, f"**{text}**"]) for code, text in LANGUAGES.items()],
        ({"language": "en"}, [LANGUAGES["de"], "12345 !!", "🎉🎉", f"Sure!\n{LANGUAGES['en']}", LANGUAGES["fi"]]),
        (
            {"language": "hi"},
            [LANGUAGES["mr"], LANGUAGES["ne"], "Here it is in Hindi, as you asked:\n" + LANGUAGES["hi"] * 2],
        ),
    ],
    "length_constraints:number_sentences": [
        ({"num_sentences": 2, "relation": "less than"}, SENTENCES),
        (
            {"num_sentences": 3, "relation": "at least"},
            [
                "One. Two. Three.", "One.Two.Three.", "1. One\n2. Two\n3. Three", "A! B? C.", "a. b. c.", "。。。",
                "Hi.\n\nHi.\n\nHi", "...", "One... two... three...", '"A." "B." "C."', "(A.) (B.) C", "A.”  B.” C.”",
                "« A. » « B. » C.", "Mr. X. Mrs. Y. Dr. Z.", "Hi!!! Ho!!! Ha", "5. 6. 7. Go",
            ],
        ),
    ],
    "length_constraints:number_paragraphs": [
        (
            {"num_paragraphs": 2},
            [
                "a\n***\nb", "a***b", "***\na\n***\nb\n***", "a\n\n***\n\n***\n\nb", "a\n* * *\nb", "a\n****\nb", "a******b",
                "a\n\nb", "a***", "***a***b***c***", "Hi\na***b\nBye", "***",
            ],
        ),
    ],
    "length_constraints:number_words": [
        (
            {"num_words": 4, "relation": "at least"},
            [
                "don't stop now", "one two three", "a_b c-d e", "café naïve Ⅷ ½", "東京 大阪", "हिन्दी", "3.14 1,000", "x² y₂ z ①",
                "a\u0301b c d", "👍 👍 👍 👍", "one\ntwo\nthree\nfour",
            ],
        ),
        ({"num_words": 3, "relation": "less than"}, ["one two", "one two three", "one\ntwo\nthree", "**", "…"]),
    ],
    "length_constraints:nth_paragraph_first_word": [
        (
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hello"},
            [
                "a\n\nhello", "a\n\nHELLO, you", "a\n\n\n\nHello", "a\n\n\nHello", "a\n\n'Hello'", "a\n\n\"'Hello",
                "a\n\n'\"Hello", "a\n\n*Hello*", "a\n\nHel.lo", "a\n\nHello-you", "Hello\n\na", "x\n\na\n\nHello",
                "a\n\nHello\n\nb", "a\n \nHello", "\n\nHello\n\na", "a\n\n“Hello”", "a\n\nHello\u00a0you",
            ],
        ),
        (
            {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "It"},
            ["It's", "it is", "It", "\n\nIt", "It\n\n", "(It"],
        ),
    ],
    "detectable_content:number_placeholders": [
        (
            {"num_placeholders": 2},
            ["[a] [b]", "[a]", "[] []", "[[a] [b]]", "[a\n] [b]", "[a][b", "[x](y) [z](w)", "［a］［b］", "[[a]]"],
        ),
    ],
    "detectable_content:postscript": [
        (
            {"postscript_marker": "P.S."},
            ["x\nP.S. y", "p.s. y", "P. S. y", "PS y", "P.S y", "P.P.S. y", "x P.S.", "P.\nS.", "P.\u00a0S."],
        ),
        ({"postscript_marker": "P.P.S"}, ["P.P.S", "p. p. s", "P.P.S.", "P.S.", "PPS", "P. P.  S"]),
        ({"postscript_marker": "N.B."}, ["N.B. x", "nxby", "n.b", "NBx"]),
    ],
    "detectable_format:number_bullet_lists": [
        (
            {"num_bullets": 2},
            [
                "* a\n* b", "- a\n- b", "* a\n- b", "*a\n*b", "** a\n** b", "**a**\n* b\n* c", "1. a\n2. b", "  - a\n\t- b",
                "* a\n\n\n* b", "*\n*", "-\n-", "--\n--", "---\n* a", "* a * b", "• a\n• b", "x\n* a\n* b\n* c", "* a\r\n* b",
                "* \n*\n* b", "*\n a\n* b",
            ],
        ),
    ],
    "detectable_format:constrained_response": [
        (
            {},
            [
                "My answer is yes.", "My answer is no.", "My answer is maybe.", "my answer is yes.", "My answer is yes",
                "**My answer is no.**", "My **answer** is no.", "I say: My answer is no. Sorry.", "My answer\nis no.",
            ],
        ),
    ],
    "detectable_format:number_highlighted_sections": [
        (
            {"num_highlights": 2},
            [
                "*a* *b*", "**a**", "**a** **b**", "*a* **b**", "***a***", "* a\n* b", "*a\nb* *c*", "**** ****", "* * *a*",
                "*a*b*", "** a ** *", "***", "*a***b*", "_a_ _b_",
            ],
        ),
        ({"num_highlights": 3}, ["**a** *b*", "**a** **b** c", "***a*** *b*", "*a* *b* c"]),
    ],
    "detectable_format:multiple_sections": [
        (
            {"section_spliter": "Section ", "num_sections": 2},
            [
                "Section 1 a Section 2 b", "Section 1\nSection 2", "Section1Section2", "section 1 section 2",
                "Section  1 Section 2", "Section A Section B", "Section\n1\nSection\n2", "Section 1 Section",
                "**Section 1** **Section 2**", "Section ١ Section ٢", "Section 12",
            ],
        ),
        ({"section_spliter": "PART.", "num_sections": 1}, ["PART. 1", "PARTS 1", "PART 1"]),
    ],
    "detectable_format:json_format": [
        (
            {},
            [
                '{"a": 1}', "[1, 2]", '"a"', "12", "-0", "01", "1.", "NaN", "Infinity", "nan", "null", "None", "{'a': 1}",
                '{"a": 1,}', '```json\n{"a": 1}\n```', '```JSON\n{"a": 1}\n```', '```\n{"a": 1}', '```js\n{"a": 1}\n```',
                '{"a": "x\ny"}', '{"a": "\\u12"}', '{"a": 1} {"b": 2}', 'Here you are:\n{"a": 1}',
                'Here:\n```json\n{"a": 1}\n```\nBye', '{"a": "**b**"}', "*[1]*", '\u00a0{"a": 1}', '{"a":\u00a01}', "1e999",
                '"\\ud800"', "``````", "{}", "[", '{"a": 1, "a": 2}', "\ufeff{}",
            ],
        ),
    ],
    "detectable_format:title": [
        (
            {},
            [
                "<<a>>", "<< >>", "<<>>", "<a>", "<<<a>>>", "<<a\nb>>", "<<>> <<a>>", "<< > >>", "«a»", "<*<a>*>", "<<<>>>",
                "x <<a>> y", "1 << 2 and 3 >> 1",
            ],
        ),
    ],
    "combination:two_responses": [
        (
            {},
            [
                "a\n******\nb", "a******a", "a******A", "******a******b******", "a******b******c", "a************b",
                "a ******* b", "a***b", "a", "******", "a****** ", "a\n******\nb\n******\n", "Sure\na******b\nBye",
            ],
        ),
    ],
    "combination:repeat_prompt": [
        (
            {"prompt_to_repeat": " Say Hi, ÉCLAIR. "},
            [
                "Say hi, éclair. Hi!", "say HI, ÉCLAIR.", "Hi! Say hi, éclair.", "Say hi, eclair.", '"Say hi, éclair."',
                "*Say hi, éclair.*", "Sure:\nSay hi, éclair. Hi", "Say  hi, éclair.",
            ],
        ),
    ],
    "startend:end_checker": [
        (
            {"end_phrase": "The End. "},
            [
                "It is the end.", '"It is the end."', "the end. Bye", "The end", "the end.\n\n", "**The end.**", "The end.\nBye",
                'the end."\n', "the end.'", "“the end.”", "the end.\u200b", '""the end.""',
            ],
        ),
        ({"end_phrase": "İ"}, ["İ", "i", "i̇"]),
    ],
    "change_case:capital_word_frequency": [
        (
            {"capital_frequency": 3, "capital_relation": "at least"},
            [
                *SENTENCES,
                "I AM HERE", "A-B C/D E.F.", "CAN'T", "CANNOT GO", "(NASA) [ESA] {JAXA}", "É Ñ Ü", "ǅ AB CD", "A1 2B 3",
                "U.S.A. U.K. E.U.", "Ⅷ ⅷ Ⓐ", "X\nY\nZ", "*X* **Y** ***Z***", "“A” ‘B’ «C»", "A—B—C", "A – B – C", "A‒B―C–",
                "'TIS GONNA", "I'M I'LL YOU'VE",
            ],
        ),
        (
            {"capital_frequency": 1, "capital_relation": "less than"},
            ["no capitals", "I", "Some Here", "OK\nno", "ß", "ª"],
        ),
    ],
    "change_case:english_capital": [
        (
            {},
            [
                "THE GARDEN IS QUIET IN WINTER AND THE BREAD IS WARM.", "The garden is quiet in winter.",
                "LA BIBLIOTECA ABRE TEMPRANO POR LA MAÑANA Y LA GENTE VIENE A LEER LOS PERIÓDICOS.", "123 !!",
                "THE GARDEN IS QUIET IN WINTER, ß.", "Sure, here:\nTHE GARDEN IS QUIET IN WINTER AND THE BREAD IS WARM.",
                "**THE GARDEN IS QUIET IN WINTER AND THE BREAD IS WARM.**",
                "ǅ THE GARDEN IS QUIET IN WINTER AND THE BREAD IS WARM.",
            ],
        ),
    ],
    "change_case:english_lowercase": [
        (
            {},
            [
                "the garden is quiet in winter and the bread is warm.", "The garden is quiet in winter.",
                "la biblioteca abre temprano por la mañana y la gente viene a leer los periódicos.", "123 !!",
                "Sure, here:\nthe garden is quiet in winter and the bread is warm.",
                "the garden is quiet in winter and the bread is warm. 東京",
                "ª the garden is quiet in winter and the bread is warm.",
                "ⓐ the garden is quiet in winter and the bread is warm ⅷ.",
            ],
        ),
    ],
    "punctuation:no_comma": [
        ({}, ["no comma", "a, b", "a，b", "a、b", "Well, yes\nno comma", "no comma\nBye, bye", "1,000", "a٬b"]),
    ],
    "startend:quotation": [
        (
            {},
            [
                '"a"', '"a', "“a”", "'a'", '"', '""', ' "a"\n', '"a" b "c"', '*"a"*', 'Sure:\n"a"', 'Sure:\n"a"\nBye', '"a".',
                '"\na\n"', '\u00a0"a"\u3000', '\u200b"a"',
            ],
        ),
    ],
}

if __name__ == "__main__":
    main()
