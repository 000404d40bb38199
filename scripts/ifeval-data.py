#!/usr/bin/env python3
"""Makes the two data files of src/reward/ifeval (punkt.txt, languages.txt) from NLTK's and langdetect's data.

    ifeval-data.py PUNKT OUT    PUNKT: the folder `punkt_tab/english` of nltk_data, or a JSON file with its four tables
                                OUT: the folder of the Rust module

It needs the Python package langdetect 1.0.9. Both sources are under the Apache License 2.0. What no text can ever reach
is left out, so the verdicts are those of the whole data; the header of each file says how it is written, and the Rust
code that reads it says what it means.
"""
import json
import pathlib
import sys
from collections import defaultdict

import langdetect
from langdetect.utils.ngram import NGram

BEG_UC, MID_UC, UNK_UC, BEG_LC, MID_LC, UNK_LC = (1 << bit for bit in range(1, 7))
UC, LC = BEG_UC | MID_UC | UNK_UC, BEG_LC | MID_LC | UNK_LC


def punkt_tables(path):
    if path.is_file():
        tables = json.loads(path.read_text(encoding="utf-8"))
        return (tables["abbrev_types"], tables["sent_starters"], [tuple(pair) for pair in tables["collocations"]],
                tables["ortho_context"])
    lines = {name: [line for line in (path / name).read_text(encoding="utf-8").split("\n") if line]
             for name in ("abbrev_types.txt", "sent_starters.txt", "collocations.tab", "ortho_context.tab")}
    contexts = (line.split("\t") for line in lines["ortho_context.tab"])
    return (lines["abbrev_types.txt"], lines["sent_starters.txt"],
            [tuple(line.split("\t")) for line in lines["collocations.tab"]],
            {word: int(flags) for word, flags in contexts})


def punkt(path):
    """The algorithm asks three questions of a word's contexts; a word that answers them as an unknown one does is left
    out, and so is one without a letter in front, which has no case."""
    abbreviations, starters, collocations, contexts = punkt_tables(path)
    words = defaultdict(list)
    for word, flags in contexts.items():
        small = bool(flags & LC)
        starts = small and not flags & MID_UC
        not_start_if_small = bool(flags & UC) or not flags & BEG_LC
        if not word[0].isalpha() or not small:
            assert not_start_if_small or not word[0].isalpha()
            continue
        name = "small" if not starts else "small, starter" if not_start_if_small else "small, starter in any case"
        assert starts or not_start_if_small
        words[name].append(word)
    sections = {
        "abbreviations": abbreviations,
        "starters": starters,
        "collocations": ["\t".join(pair) for pair in collocations],
        **words,
    }
    out = ["# English parameters of NLTK's Punkt (nltk_data punkt_tab, Apache-2.0), written by ifeval-data.py: a section's",
           "# name in brackets, then one entry a line."]
    for name in ("abbreviations", "starters", "collocations", "small", "small, starter", "small, starter in any case"):
        out += [f"[{name}]", *sorted(sections[name])]
    return out


def reachable(gram):
    """Whether langdetect, after its normalization, can look up the n-gram: every character is its own normal form, a
    space stands only at the ends, and the last two are not both capitals."""
    if any(NGram.normalize(char) != char for char in gram) or gram.strip(" ") == "" or " " in gram.strip(" "):
        return False
    if gram.startswith("  ") or gram.endswith("  "):
        return False
    return not (gram[-1].isupper() and gram[-2:-1].isupper())


def languages():
    folder = pathlib.Path(langdetect.__file__).parent / "profiles"
    out = ["# Profiles and character classes of langdetect 1.0.9 (language-detection by Nakatani Shuyo, Apache-2.0), written",
           "# by ifeval-data.py. A line `=` is a class of Chinese characters, the first standing for all. A line `@` opens a",
           "# language: its name and how many 1-, 2- and 3-grams its corpus has. A line below it: by how much its count",
           "# exceeds that of the line above, then the n-grams that occurred so often, with _ for a space."]
    out += ["=" + group for group in NGram.CJK_CLASS]
    for path in sorted(folder.iterdir()):
        profile = json.loads(path.read_text(encoding="utf-8"))
        out.append("@{} {} {} {}".format(profile["name"], *profile["n_words"]))
        counts = defaultdict(list)
        for gram, count in profile["freq"].items():
            assert "_" not in gram and "\n" not in gram
            if 1 <= len(gram) <= 3 and reachable(gram):
                counts[count].append(gram.replace(" ", "_"))
        ascending = sorted(counts)
        for below, count in zip([0, *ascending], ascending):
            out.append(f"{count - below} " + " ".join(sorted(counts[count])))
    return out


source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for name, lines in (("punkt.txt", punkt(source)), ("languages.txt", languages())):
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(name, (folder / name).stat().st_size, "bytes")
