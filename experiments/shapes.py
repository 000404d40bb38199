"""Draws docs/shapes.svg from records/2026-11-28-shapes.csv: the test score of every seed by shape, with means.

    python experiments/shapes.py
"""

import csv
from pathlib import Path
from statistics import mean, stdev

HERE = Path(__file__).parent
WIDTH, ROW, LEFT, RIGHT, TOP = 720, 44, 190, 130, 40


def main() -> None:
    arms: dict[str, list[float]] = {}
    with open(HERE / "records/2026-11-28-shapes.csv") as file:
        for row in csv.DictReader(file):
            arms.setdefault(row["arm"], []).append(float(row["test"]))
    height = TOP + ROW * len(arms) + 40
    x = lambda score: LEFT + (WIDTH - LEFT - RIGHT) * (score - 0.5) / 0.5
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" role="img">',
        "<title>Test score of each seed by the shape of a run of 3,200 rollouts</title>",
        "<style>text{fill:#222}line{stroke:#999}circle{fill:#3b6ea8;fill-opacity:.55}.mean{stroke:#c0392b;stroke-width:3}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>",
        f'<text x="{LEFT}" y="18">test score, one dot a seed; the bar is the mean</text>',
    ]
    for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        parts.append(f'<line x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{height - 34}" stroke-opacity=".35"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{height - 16}" text-anchor="middle">{tick:.1f}</text>')
    for at, (arm, scores) in enumerate(arms.items()):
        y = TOP + ROW * at + ROW / 2
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{arm}</text>')
        parts.extend(f'<circle cx="{x(score):.1f}" cy="{y:.1f}" r="5"/>' for score in scores)
        middle = x(mean(scores))
        parts.append(f'<line class="mean" x1="{middle:.1f}" y1="{y - 12:.1f}" x2="{middle:.1f}" y2="{y + 12:.1f}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{y + 4:.1f}">{mean(scores):.3f}, SD {stdev(scores):.3f}</text>')
    parts.append("</svg>")
    (HERE.parent / "docs/shapes.svg").write_text("\n".join(parts) + "\n")


main()
