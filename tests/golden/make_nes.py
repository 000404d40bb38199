#!/usr/bin/env python3
"""Makes fixtures/nes.json: how many evaluations other implementations of SNES, xNES, CEM and OpenAI-ES need to reach a target.

    python3 -m venv venv && venv/bin/pip install evosax==0.3.2 jax==0.10.2 cmaes==0.13.1 numpy==2.4.6
    OMP_NUM_THREADS=1 venv/bin/python make_nes.py            # about half an hour on one core
    OMP_NUM_THREADS=1 venv/bin/python make_nes.py open-es    # one strategy anew, the rest as it was

tests/strategies.rs runs ours on the same functions from the same start with the same sigma0 and population and compares
the distributions over seeds, as with pycma.

- SNES is evosax's, in float64.
- xNES is that of the package cmaes. evosax's is left out: it multiplies B by the exponential of each element where the
  paper has the exponential of the matrix.
- CEM is evosax's SimpleES, which is CEM of a diagonal Gaussian under another name: the elite's mean, and of its standard
  deviation around the old mean a tenth a generation.

- OpenAI-ES is evosax's, with optax's Adam. Its sigma is fixed, so it never comes nearer than the noise of its own members:
  each case has a target of its own, a few times what a member around the minimum costs.

Left out because the references do not get there: SNES on Rosenbrock (5 of 31 within 3,000,000 evaluations in 10-D) and
CEM on Rastrigin (0 of 31 within 400,000 in 10-D, population 400). Left out because it takes hours: xNES on a 40-D
ellipsoid. No mirrors, no bounds, no restarts; stopping rules are not asked, because the target is.
"""

import json
import math
import pathlib
import statistics
import sys
from importlib.metadata import version

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import optax
from evosax.algorithms import SNES, Open_ES, SimpleES

jax.config.update("jax_enable_x64", True)

SEEDS = range(1, 32)
MORE_SEEDS = range(1, 102)  # where all together take seconds
FEWER_SEEDS = range(1, 22)  # where one takes half a minute
TARGET = 1e-9


def sphere(x, xp):
    return xp.sum(x**2, axis=-1)


def ellipsoid(x, xp):
    """Condition number 1e6, axes along the coordinates (xNES does not see the difference to a rotated one)."""
    n = x.shape[-1]
    return xp.sum(10.0 ** (6.0 * xp.arange(n) / (n - 1)) * x**2, axis=-1)


def rosenbrock(x, xp):
    return xp.sum(100.0 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1.0 - x[..., :-1]) ** 2, axis=-1)


def rastrigin(x, xp):
    return xp.sum(10.0 + x**2 - 10.0 * xp.cos(2.0 * math.pi * x), axis=-1)


FUNCTIONS = {"sphere": sphere, "ellipsoid": ellipsoid, "rosenbrock": rosenbrock, "rastrigin": rastrigin}


def usual(n):
    return 4 + math.floor(3 * math.log(n))


# strategy, function, n, every coordinate of the start, sigma0, population, cap
RUNS = [
    ("snes", "sphere", 10, 1.0, 0.5, usual(10), 100_000),
    ("snes", "sphere", 40, 1.0, 0.5, usual(40), 100_000),
    ("snes", "sphere", 200, 1.0, 0.5, usual(200), 300_000),
    ("snes", "ellipsoid", 10, 1.0, 0.5, usual(10), 100_000),
    ("snes", "ellipsoid", 40, 1.0, 0.5, usual(40), 300_000),
    ("snes", "ellipsoid", 200, 1.0, 0.5, usual(200), 1_000_000),
    ("snes", "rastrigin", 10, 3.0, 2.0, 400, 400_000),
    ("snes", "rastrigin", 40, 3.0, 2.0, 800, 1_000_000),
    ("cem", "sphere", 10, 1.0, 0.5, 40, 100_000),
    ("cem", "sphere", 40, 1.0, 0.5, 80, 400_000),
    ("cem", "ellipsoid", 10, 1.0, 0.5, 40, 200_000),
    ("cem", "ellipsoid", 40, 1.0, 0.5, 80, 400_000),
    ("xnes", "sphere", 10, 1.0, 0.5, usual(10), 100_000),
    ("xnes", "ellipsoid", 10, 1.0, 0.5, usual(10), 100_000),
    ("xnes", "rosenbrock", 10, 0.0, 0.1, usual(10), 200_000),
    ("xnes", "rastrigin", 10, 3.0, 2.0, 400, 400_000),
    ("xnes", "sphere", 40, 1.0, 0.5, usual(40), 400_000),
]

# function, n, every coordinate of the start, sigma, learning rate of Adam, population, target, cap
OPEN_ES = [
    ("sphere", 10, 1.0, 0.05, 0.02, 20, 0.05, 100_000),
    ("sphere", 40, 1.0, 0.05, 0.02, 40, 0.2, 100_000),
    ("sphere", 200, 1.0, 0.05, 0.02, 40, 1.0, 100_000),
    ("ellipsoid", 10, 1.0, 0.05, 0.02, 20, 1e4, 100_000),
    ("ellipsoid", 40, 1.0, 0.05, 0.02, 40, 4e4, 100_000),
    ("rosenbrock", 10, 0.0, 0.02, 0.01, 20, 7.5, 200_000),
]


def seeds_of(strategy, n):
    if strategy == "xnes":
        return SEEDS if n == 10 else FEWER_SEEDS
    return MORE_SEEDS if n == 10 else SEEDS


def with_evosax(algorithm, change, function, n, start, sigma0, population, cap, seeds):
    es = algorithm(population_size=population, solution=jnp.zeros(n))
    params = es.default_params.replace(std_init=sigma0, **change)
    return to_target(es, params, function, n, start, population, TARGET, cap, seeds)


def with_open_es(function, n, start, sigma, rate, population, target, cap, seeds):
    es = Open_ES(population_size=population, solution=jnp.zeros(n), optimizer=optax.adam(rate),
                 std_schedule=optax.constant_schedule(sigma))
    return to_target(es, es.default_params, function, n, start, population, target, cap, seeds)


def to_target(es, params, function, n, start, population, target, cap, seeds):
    """All seeds at once: each runs until it has reached the target or passed the cap."""

    def generation(carry):
        state, key, evaluations, _ = carry
        key, for_ask, for_tell = jax.random.split(key, 3)
        candidates, state = es.ask(for_ask, state, params)
        values = function(candidates, jnp)
        hit = values <= target
        state, _ = es.tell(for_tell, candidates, values, state, params)
        counted = evaluations + jnp.where(hit.any(), jnp.argmax(hit) + 1, population)
        return state, key, counted, hit.any()

    def run(seed):
        key, for_init = jax.random.split(jax.random.key(seed))
        state = es.init(for_init, jnp.full(n, start), params)
        begin = (state, key, jnp.zeros((), jnp.int64), jnp.zeros((), bool))
        _, _, evaluations, reached = jax.lax.while_loop(lambda c: (~c[3]) & (c[2] < cap), generation, begin)
        return evaluations, reached

    evaluations, reached = jax.jit(jax.vmap(run))(jnp.array(list(seeds)))
    return [int(e) if r else None for e, r in zip(evaluations, reached)]


def with_cmaes(function, n, start, sigma0, population, cap, seed):
    es = cmaes.XNES(np.full(n, start), sigma0, seed=seed, population_size=population)
    evaluations = 0
    while evaluations < cap:
        solutions = []
        for _ in range(population):
            x = es.ask()
            value = float(function(x, np))
            solutions.append((x, value))
            evaluations += 1
            if value <= TARGET:
                return evaluations
        es.tell(solutions)
    return None


def run(strategy, name, n, start, sigma0, population, cap):
    function, seeds = FUNCTIONS[name], seeds_of(strategy, n)
    if strategy == "snes":
        counts = with_evosax(SNES, {}, function, n, start, sigma0, population, cap, seeds)
    elif strategy == "cem":
        counts = with_evosax(SimpleES, {"c_std": 0.1}, function, n, start, sigma0, population, cap, seeds)
    else:
        counts = [with_cmaes(function, n, start, sigma0, population, cap, seed) for seed in seeds]
    say(strategy, name, n, counts)
    return {"strategy": strategy, "function": name, "n": n, "start": start, "sigma0": sigma0,
            "population": population, "cap": cap, "evaluations": counts}


def run_open_es(name, n, start, sigma, rate, population, target, cap):
    counts = with_open_es(FUNCTIONS[name], n, start, sigma, rate, population, target, cap, MORE_SEEDS)
    say("open-es", name, n, counts)
    return {"strategy": "open-es", "function": name, "n": n, "start": start, "sigma0": sigma, "learning_rate": rate,
            "population": population, "target": target, "cap": cap, "evaluations": counts}


def say(strategy, name, n, counts):
    reached = [count for count in counts if count is not None]
    low, median, high = statistics.quantiles(reached, n=4, method="inclusive") if len(reached) > 1 else 3 * [math.nan]
    print(f"{strategy:7} {name:10} n={n:3} median {median:8.0f} [{low:.0f}, {high:.0f}] "
          f"{len(reached)}/{len(counts)} reached", file=sys.stderr, flush=True)


def main():
    path = pathlib.Path(__file__).parent / "fixtures" / "nes.json"
    wanted = sys.argv[1:]
    is_wanted = lambda strategy: not wanted or strategy in wanted
    kept = json.loads(path.read_text())["runs"] if wanted else []
    fixture = {
        "made_by": "tests/golden/make_nes.py",
        "evosax": version("evosax"),
        "jax": version("jax"),
        "cmaes": version("cmaes"),
        "numpy": np.__version__,
        "target": TARGET,
        "runs": [run for run in kept if not is_wanted(run["strategy"])]
        + [run(*case) for case in RUNS if is_wanted(case[0])]
        + [run_open_es(*case) for case in OPEN_ES if is_wanted("open-es")],
    }
    path.write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
    main()
