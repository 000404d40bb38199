"""Intervals and quantiles from statsmodels and scipy, for src/statistics.rs."""

import json
from pathlib import Path

from scipy.stats import t
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

wilson = [(0, 128), (1, 20), (64, 128), (375, 512), (200, 200)]
# Ones of 100 after and before, unrelated to each other.
newcombe = [(60, 50), (20, 70), (90, 10)]
reference = {
    "student_95": [[freedom, t.ppf(0.975, freedom)] for freedom in (1, 2, 5, 30, 127, 1000)],
    "wilson": [[ones, n, *proportion_confint(ones, n, method="wilson")] for ones, n in wilson],
    "newcombe": [
        [after, before, *confint_proportions_2indep(after, 100, before, 100, method="newcomb", compare="diff")]
        for after, before in newcombe
    ],
}
path = Path(__file__).parent / "fixtures" / "statistics.json"
path.write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
