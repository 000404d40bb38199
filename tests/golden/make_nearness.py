#!/usr/bin/env python3
"""Makes fixtures/nearness.json: nearness by the gzip of Python's standard library (zlib), level 9.

    python3 make_nearness.py

Ten targets about arithmetic; forty sources, half about arithmetic and half about cooking. nearness is the mean over targets
of 1 - NCD as in the authors' code of ZIP-FIT (stair-lab/ZIP-FIT, src/zip_fit/zipfit.py): source + target, no separator.
"""

import gzip
import json
import pathlib
import random

NAMES = ["Natalia", "Weng", "Betty", "James", "Ken", "Julie", "Albert", "Tina", "Marcus", "Olga"]
THINGS = ["apples", "clips", "pages", "cards", "eggs", "pencils", "marbles", "tickets"]
FOODS = ["onions", "carrots", "potatoes", "mushrooms", "tomatoes", "leeks", "peppers", "beans"]
FATS = ["butter", "olive oil", "lard", "sesame oil"]


def arithmetic(r):
    a, b, c = r.randint(3, 60), r.randint(3, 60), r.randint(2, 9)
    name, thing = r.choice(NAMES), r.choice(THINGS)
    return r.choice([
        f"{name} has {a} {thing} and buys {b} more. Then {name} gives {c} of them to a friend. How many {thing} does {name} have left?",
        f"{name} sold {a} {thing} on Monday and {c} times as many {thing} on Tuesday. How many {thing} did {name} sell altogether?",
        f"A box holds {a} {thing}. {name} fills {c} boxes and has {b} {thing} left over. How many {thing} are there in total?",
    ])


def cooking(r):
    food, other, fat, minutes = r.choice(FOODS), r.choice(FOODS), r.choice(FATS), r.randint(5, 45)
    return r.choice([
        f"Chop the {food} finely, fry them gently in {fat} until soft, stir in the {other}, season with salt and simmer for {minutes} minutes.",
        f"Preheat the oven. Toss {food} and {other} with {fat} and thyme, spread on a tray and roast for {minutes} minutes, turning once.",
        f"For a quick soup, boil the {food} with {other} until tender, blend until smooth, whisk in {fat} and serve with bread.",
    ])


def size(text):
    return len(gzip.compress(text.encode(), compresslevel=9))


def nearness(text, targets):
    total = 0
    for target in targets:
        x, y, xy = size(text), size(target), size(text + target)
        total += 1 - (xy - min(x, y)) / max(x, y)
    return total / len(targets)


def main():
    r = random.Random(7)
    targets = [arithmetic(r) for _ in range(10)]
    sources = []
    for _ in range(20):
        for topic, write in (("arithmetic", arithmetic), ("cooking", cooking)):
            text = write(r)
            sources.append({"topic": topic, "text": text, "size": size(text), "nearness": nearness(text, targets)})
    path = pathlib.Path(__file__).parent / "fixtures" / "nearness.json"
    path.write_text(json.dumps({"targets": targets, "sources": sources}, indent=1) + "\n")


main()
