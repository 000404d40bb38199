"""Intervals, quantiles and paired tests from statsmodels and scipy, for src/statistics.rs."""

import json
from pathlib import Path

import numpy as np
from scipy.stats import permutation_test, t, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

wilson = [(0, 128), (1, 20), (64, 128), (375, 512), (200, 200)]
# Ones of 100 after and before, unrelated to each other.
newcombe = [(60, 50), (20, 70), (90, 10)]
discordant = [(0, 0), (5, 0), (9, 7), (3, 12), (40, 22)]
random = np.random.default_rng(20261128)
# The last one is too long to try every sign out in src/statistics.rs, and short enough here.
pairs = [random.normal(loc=[[shift], [0.0]], size=(2, n)).round(3) for n, shift in [(5, 1.0), (9, 0.5), (12, 1.2), (16, 0.4)]]


def sign_flip(after, before):
    done = permutation_test(
        (after, before), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    return done.pvalue


# Scores of one arm and of the other, seed by seed.
paired = [
    ([0.935, 0.910, 0.738, 0.683, 0.794, 0.746], [0.777, 0.960, 0.829, 0.892, 0.985, 0.910]),
    ([0.5, 0.75], [0.25, 0.75]),
    ([1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]),
]


def ends(a, b):
    interval = ttest_rel(a, b).confidence_interval(0.95)
    return [interval.low, interval.high]


reference = {
    "student_95": [[freedom, t.ppf(0.975, freedom)] for freedom in (1, 2, 5, 30, 127, 1000)],
    "wilson": [[ones, n, *proportion_confint(ones, n, method="wilson")] for ones, n in wilson],
    "newcombe": [
        [after, before, *confint_proportions_2indep(after, 100, before, 100, method="newcomb", compare="diff")]
        for after, before in newcombe
    ],
    "mcnemar": [
        [gained, lost, mcnemar([[7, gained], [lost, 0]], exact=True).pvalue if gained + lost else 1.0]
        for gained, lost in discordant
    ],
    "sign_flip": [[sign_flip(after, before), *after, *before] for after, before in pairs],
    # The ends of the interval, and then the scores.
    "paired": [[*ends(a, b), *a, *b] for a, b in paired],
}
path = Path(__file__).parent / "fixtures" / "statistics.json"
path.write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
