#!/usr/bin/env python3
"""Makes fixtures/pycma.json: how many evaluations pycma, Hansen's own CMA-ES, needs to reach a target; and pycma_early.json: where it is after sixteen
generations in 480 dimensions.

    python3 -m venv venv && venv/bin/pip install cma==4.4.4 numpy==2.4.6
    OMP_NUM_THREADS=1 venv/bin/python make_pycma.py            # about twenty minutes on one core

tests/strategies.rs runs ours on the same functions from the same start with the same sigma0 and population and compares
the distributions over seeds. The fixture also holds pycma's strategy parameters for a few (n, population), which the
same test compares number by number.

So that the two run the same algorithm: the full Gaussian sampler, no mirrors, no bounds, no restarts, all of them
pycma's defaults at these populations. Its stopping rules are not asked, because the target is. It minimises, and so do
the functions here.
"""

import json
import math
import pathlib
import statistics
import sys
import warnings

import cma
import numpy as np

SEEDS = range(1, 32)
TARGET = 1e-9
EARLY_SEEDS = range(1, 32)
EARLY_GENERATIONS = 16
# An evaluation count that no successful run comes near: what passes it sits in Rosenbrock's local minimum.
CAP = {10: 30_000, 40: 300_000}


def sphere(x):
    return float(np.sum(x**2))


def ellipsoid(x):
    """Condition number 1e6, axes along the coordinates (CMA-ES does not see the difference to a rotated one)."""
    return float(np.sum(10.0 ** (6.0 * np.arange(len(x)) / (len(x) - 1)) * x**2))


def rosenbrock(x):
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


# name, function, every coordinate of the start, sigma0
FUNCTIONS = [
    ("sphere", sphere, 1.0, 0.5),
    ("ellipsoid", ellipsoid, 1.0, 0.5),
    ("rosenbrock", rosenbrock, 0.0, 0.1),
]


def evaluations_to_target(function, n, start, sigma0, active, cmean, seed):
    """Evaluations up to and with the first one at or below the target, None where the cap came first."""
    options = {"seed": seed, "verbose": -9, "CMA_active": active, "CMA_cmean": cmean, "CMA_mirrors": 0,
               "verb_log": 0}
    es = cma.CMAEvolutionStrategy(n * [start], sigma0, options)
    evaluations = 0
    while evaluations < CAP[n]:
        candidates = es.ask()
        values = [function(x) for x in candidates]
        for value in values:
            evaluations += 1
            if value <= TARGET:
                return evaluations
        es.tell(candidates, values)
    return None


def run(name, function, n, start, sigma0, active, cmean=1):
    counts = [evaluations_to_target(function, n, start, sigma0, active, cmean, seed) for seed in SEEDS]
    reached = [count for count in counts if count is not None]
    low, median, high = statistics.quantiles(reached, n=4, method="inclusive")
    print(f"{name:10} n={n:2} active={active!s:5} cmean={cmean} median {median:8.0f} [{low:.0f}, {high:.0f}] "
          f"{len(reached)}/{len(counts)} reached", file=sys.stderr, flush=True)
    return {"function": name, "n": n, "start": start, "sigma0": sigma0, "active": active,
            "population": 4 + math.floor(3 * math.log(n)), "cap": CAP[n], "evaluations": counts,
            **({} if cmean == 1 else {"cmean": cmean})}


def early(name, function, start, sigma0, n, population, cmean):
    """Where pycma is after as many generations as a run on a language model has: the value of the mean, and sigma."""
    values, sigmas = [], []
    for seed in EARLY_SEEDS:
        options = {"seed": seed, "verbose": -9, "CMA_active": False, "CMA_cmean": cmean, "CMA_mirrors": 0, "verb_log": 0,
                   "popsize": population}
        es = cma.CMAEvolutionStrategy(n * [start], sigma0, options)
        for _ in range(EARLY_GENERATIONS):
            candidates = es.ask()
            es.tell(candidates, [function(x) for x in candidates])
        values.append(function(es.mean))
        sigmas.append(es.sigma)
    print(f"{name:10} n={n} lambda={population} cmean={cmean} early: {statistics.median(values):.5g}, sigma {statistics.median(sigmas):.4f}",
          file=sys.stderr, flush=True)
    return {"function": name, "n": n, "start": start, "sigma0": sigma0, "population": population, "cmean": cmean,
            "values": values, "sigmas": sigmas}


def write_early():
    """fixtures/pycma_early.json"""
    runs = [early(*case, 480, population, cmean) for case in FUNCTIONS for population, cmean in ((20, 1), (80, 3))]
    fixture = {"cma": cma.__version__.split()[0], "generations": EARLY_GENERATIONS, "runs": runs}
    with open(pathlib.Path(__file__).parent / "fixtures" / "pycma_early.json", "w") as file:
        json.dump(fixture, file)
        file.write("\n")


def parameters(n, population):
    """The fixed parameters that pycma derives from n and lambda, with the negative weights of the active update."""
    es = cma.CMAEvolutionStrategy(n * [0.0], 1.0, {"popsize": population, "CMA_mirrors": 0, "verbose": -9, "seed": 1})
    rates = es.sm.parameters()
    es.adapt_sigma.initialize(es)
    return {"n": n, "population": population, "mueff": es.sp.weights.mueff, "c1": rates["c1"], "cmu": rates["cmu"],
            "cc": es.sp.cc, "cs": es.adapt_sigma.cs, "damps": es.adapt_sigma.damps,
            "lazy_gap": es.sm.lazy_update_gap, "weights": [float(w) for w in es.sp.weights]}


def main():
    warnings.simplefilter("ignore")
    fixture = {
        "made_by": "tests/golden/make_pycma.py",
        "cma": cma.__version__.split()[0],
        "numpy": np.__version__,
        "target": TARGET,
        "seeds": list(SEEDS),
        "parameters": [parameters(n, population) for n, population in
                       [(2, 6), (10, 10), (40, 15), (40, 100), (480, 20), (480, 22), (1920, 26)]],
        "runs": [run(name, function, n, start, sigma0, active)
                 for active in (False, True)
                 for n in (10, 40)
                 for name, function, start, sigma0 in FUNCTIONS]
                # The learning rate of the mean.
                + [run(name, function, 10, start, sigma0, False, cmean)
                   for cmean in (0.5, 1.5)
                   for name, function, start, sigma0 in FUNCTIONS[:2]],
    }
    with open(pathlib.Path(__file__).parent / "fixtures" / "pycma.json", "w") as file:
        json.dump(fixture, file)
        file.write("\n")
    write_early()


if __name__ == "__main__":
    main()
