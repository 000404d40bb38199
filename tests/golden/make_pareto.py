#!/usr/bin/env python3
"""Makes fixtures/pareto.json: fronts, crowding distances and hypervolumes by pymoo.

    python3 -m venv venv && venv/bin/pip install pymoo==0.6.2 moocore==0.3.2 numpy==2.4.6
    venv/bin/python make_pareto.py

pymoo minimises, so it is given the negated terms. Each case has points (rounded to three digits, and in some cases to one,
so that terms tie), the front of each point, the crowding distance of the distinct points of each front, and
the hypervolume of all points above a reference. null stands for infinity.

Where points tie in a term, pymoo's crowding distance depends on the order in which they come. Ours takes the order of all
their terms, so pymoo is given the points in that order (from the greatest down, for it sorts the negated terms).
"""

import json
import math
import pathlib

import numpy as np
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting


def points_of(r, kind, count, terms):
    if kind == "uniform":
        points = r.random((count, terms))
    elif kind == "tied":
        return np.round(r.random((count, terms)), 1)
    elif kind == "sphere":
        points = np.abs(r.normal(size=(count, terms)))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    elif kind == "constant":
        points = r.random((count, terms))
        points[:, -1] = 0.5
    return np.round(points, 3)


def crowding(points):
    if len(points) <= 2:
        return [None] * len(points)
    found = calc_crowding_distance(-points[::-1])[::-1]
    return [None if math.isinf(value) else float(value) for value in found]


def main():
    r = np.random.default_rng(3)
    cases = []
    for kind, count, terms in [
        ("uniform", 1, 2), ("uniform", 2, 2), ("uniform", 3, 2), ("uniform", 40, 2), ("tied", 40, 2), ("sphere", 30, 2),
        ("constant", 12, 2), ("uniform", 40, 3), ("tied", 60, 3), ("sphere", 25, 3), ("constant", 20, 3), ("uniform", 25, 4),
        ("sphere", 15, 4), ("tied", 40, 4), ("sphere", 12, 5), ("uniform", 20, 1),
    ]:
        points = points_of(r, kind, count, terms)
        fronts = NonDominatedSorting().do(-points)
        front_of = np.empty(count, dtype=int)
        rooms = []
        for depth, front in enumerate(fronts):
            front_of[front] = depth
            distinct = np.unique(points[front], axis=0)
            rooms.append({"points": distinct.tolist(), "crowding": crowding(distinct)})
        reference = [0.1] * terms
        volume = float(HV(ref_point=-np.array(reference)).do(-points))
        cases.append({
            "kind": kind, "points": points.tolist(), "front_of": front_of.tolist(), "fronts": rooms,
            "reference": reference, "hypervolume": volume,
        })
    path = pathlib.Path(__file__).parent / "fixtures" / "pareto.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


main()
