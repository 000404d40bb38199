"""Intervals and quantiles from statsmodels and scipy, for src/statistics.rs."""

import json
from pathlib import Path

from scipy.stats import t, ttest_rel
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

wilson = [(0, 128), (1, 20), (64, 128), (375, 512), (200, 200)]
# Ones of 100 after and before, unrelated to each other.
newcombe = [(60, 50), (20, 70), (90, 10)]
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
    # The ends of the interval, and then the scores.
    "paired": [[*ends(a, b), *a, *b] for a, b in paired],
}
path = Path(__file__).parent / "fixtures" / "statistics.json"
path.write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
