#!/usr/bin/env python3
"""Makes fixtures/strategies.json: how many evaluations other people's evolution strategies need to reach a target.

    python3 -m venv venv && venv/bin/pip install cma==4.4.4 pypop7==0.0.82 numpy==2.4.6
    OMP_NUM_THREADS=1 venv/bin/python make_strategies.py            # hours on one core
    OMP_NUM_THREADS=1 venv/bin/python make_strategies.py pycma-sep  # one reference anew, the rest as it was
    OMP_NUM_THREADS=1 venv/bin/python make_strategies.py pycma/rastrigin/10  # or one of its functions, or one case

make_pycma.py holds full CMA-ES in small dimensions; here is what goes beyond:

- `pycma`: full CMA-ES on a rotated ellipsoid, Rastrigin, and 200 numbers.
- `pycma-sep`: pycma's loop with its diagonal sampler and the tutorial's learning rates times (n + 2) / 3, as Ros and
  Hansen have it. pycma's own `CMA_diagonal=True` is another algorithm by now: it adapts the scales in their exponent,
  with other rates, and from 300 numbers on it controls sigma by two-point adaptation.
  SepCMA of the package `cmaes` is another one again: c_mu from the formula before the tutorial's, c_1 not scaled,
  c_c = 4 / (n + 4) (sphere in 40-D: median 4,958 evaluations; here 4,7xx).
- `pypop7-lmma`: LM-MA-ES of pypop7, whose authors hold it against Glasmachers' own.
"""

import importlib.metadata
import json
import math
import pathlib
import statistics
import sys
import time
import warnings

import cma
import numpy as np
from pypop7.optimizers.es.lmmaes import LMMAES

from make_pycma import ellipsoid, rosenbrock, sphere

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "strategies.json"


def rastrigin(x):
    return float(10.0 * len(x) + np.sum(x**2 - 10.0 * np.cos(2.0 * np.pi * x)))


def rotation(n):
    """The discrete cosine transform: a rotation that mixes everything and that any language can write down."""
    rows = np.sqrt(2.0 / n) * np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n)
    rows[0] /= math.sqrt(2.0)
    return rows


def problem(function, n, start):
    """The function and its start; a rotated one begins at the same height as the one that is not rotated."""
    x0 = np.full(n, start)
    if function == "rotated":
        rows = rotation(n)
        return (lambda x: ellipsoid(rows @ x)), rows.T @ x0
    return {"sphere": sphere, "ellipsoid": ellipsoid, "rosenbrock": rosenbrock, "rastrigin": rastrigin}[function], x0


class ScaledDiagonal(cma.sampler.GaussDiagonalSampler):
    """pycma's diagonal sampler with the learning rates of a diagonal."""

    def parameters(self, mueff=None, lam=None):
        if mueff is not None:
            rates = super().parameters(mueff, lam)
            speed = (self.dimension + 2.0) / 3.0
            c1 = speed * rates["c1"]
            self.scaled = {"c1": c1, "cmu": min(1.0 - c1, speed * rates["cmu"])}
        return self.scaled


def first_at(values, target, before):
    for index, value in enumerate(values):
        if value <= target:
            return before + index + 1
    return None


def with_pycma(sampler):
    def run(function, x0, sigma0, population, target, cap, seed):
        options = {"seed": seed, "verbose": -9, "CMA_active": False, "CMA_mirrors": 0, "verb_log": 0, "popsize": population}
        if sampler is not None:
            options["CMA_sampler"] = sampler
        es = cma.CMAEvolutionStrategy(x0, sigma0, options)
        evaluations = 0
        while evaluations < cap:
            candidates = es.ask()
            values = [function(x) for x in candidates]
            found = first_at(values, target, evaluations)
            if found is not None:
                return found
            evaluations += len(values)
            es.tell(candidates, values)
        return None

    return run


def with_pypop7(function, x0, sigma0, population, target, cap, seed):
    problem = {"fitness_function": function, "ndim_problem": len(x0), "lower_boundary": None, "upper_boundary": None}
    options = {"max_function_evaluations": cap, "fitness_threshold": target, "seed_rng": seed, "mean": x0.copy(),
               "sigma": sigma0, "n_individuals": population, "is_restart": False, "verbose": 0, "saving_fitness": 0}
    results = LMMAES(problem, options).optimize()
    return results["n_function_evaluations"] if results["best_so_far_y"] <= target else None


REFERENCES = {"pycma": with_pycma(None), "pycma-sep": with_pycma(ScaledDiagonal), "pypop7-lmma": with_pypop7}

# Reference, function, n, every coordinate of the start, sigma0, population (None: the usual), target, cap, seeds.
# Rastrigin wants a large population to be solved at all. Targets and seeds are fewer where a run takes minutes.
CASES = [
    ("pycma", "rotated", 10, 1.0, 0.5, None, 1e-9, 30_000, 21),
    ("pycma", "rotated", 40, 1.0, 0.5, None, 1e-9, 300_000, 21),
    ("pycma", "rastrigin", 10, 3.0, 2.0, 200, 1e-9, 60_000, 101),  # half of them arrive: 21 seeds would say little
    ("pycma", "sphere", 200, 1.0, 0.5, None, 1e-9, 300_000, 21),
    *((reference, *case) for reference in ("pycma-sep",) for case in (
        ("sphere", 10, 1.0, 0.5, None, 1e-9, 30_000, 21),
        ("sphere", 40, 1.0, 0.5, None, 1e-9, 100_000, 21),
        ("sphere", 200, 1.0, 0.5, None, 1e-9, 300_000, 21),
        ("sphere", 2000, 1.0, 0.5, None, 1e-3, 2_000_000, 21),
        ("ellipsoid", 10, 1.0, 0.5, None, 1e-9, 30_000, 21),
        ("ellipsoid", 40, 1.0, 0.5, None, 1e-9, 300_000, 21),
        ("ellipsoid", 200, 1.0, 0.5, None, 1e-9, 1_000_000, 21),
        ("rastrigin", 10, 3.0, 2.0, 200, 1e-9, 200_000, 21),
        ("rastrigin", 40, 3.0, 2.0, 400, 1e-9, 150_000, 101),
    )),
    # The paper's c_sigma is 2 lambda / n, so n has to be above 2 lambda. In 10 dimensions pypop7 replaces what is undefined by numbers
    # of its own, which let the path of sigma only fade.
    *(("pypop7-lmma", *case) for case in (
        ("sphere", 40, 1.0, 0.5, None, 1e-9, 100_000, 21),
        ("rosenbrock", 40, 0.0, 0.1, None, 1e-9, 300_000, 21),
        ("sphere", 200, 1.0, 0.5, None, 1e-9, 300_000, 21),
        ("sphere", 2000, 1.0, 0.5, None, 1e-3, 1_000_000, 21),
        ("ellipsoid", 40, 1.0, 0.5, None, 1e-9, 2_000_000, 21),
        ("rotated", 40, 1.0, 0.5, None, 1e-9, 2_000_000, 21),
    )),
]


def run(reference, function, n, start, sigma0, population, target, cap, seeds):
    population = population or 4 + math.floor(3 * math.log(n))
    clock = time.monotonic()
    counts = [REFERENCES[reference](*problem(function, n, start), sigma0, population, target, cap, seed)
              for seed in range(1, seeds + 1)]
    reached = sorted(count for count in counts if count is not None)
    quartiles = statistics.quantiles(reached, n=4, method="inclusive") if len(reached) > 1 else reached
    print(f"{reference:11} {function:10} n={n:4} {[round(q) for q in quartiles]} {len(reached)}/{len(counts)} reached"
          f"  {time.monotonic() - clock:.0f} s", file=sys.stderr, flush=True)
    return {"reference": reference, "function": function, "n": n, "start": start, "sigma0": sigma0,
            "population": population, "target": target, "cap": cap, "evaluations": counts}


def main():
    warnings.simplefilter("ignore")
    wanted = sys.argv[1:] or list(REFERENCES)
    kept = json.loads(FIXTURE.read_text())["runs"] if FIXTURE.exists() else []
    versions = {package: importlib.metadata.version(package) for package in ("cma", "pypop7", "numpy")}
    for case in CASES:
        name = "/".join(str(part) for part in case[:3])
        if any(f"{name}/".startswith(f"{want}/") for want in wanted):
            kept = [old for old in kept if (old["reference"], old["function"], old["n"]) != case[:3]] + [run(*case)]
            # After each, because a case may take minutes.
            FIXTURE.write_text(json.dumps({"made_by": "tests/golden/make_strategies.py", "versions": versions, "runs": kept}) + "\n")


if __name__ == "__main__":
    main()
