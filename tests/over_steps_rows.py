"""Rows of over_steps.csv, made up for tests of what is read from them."""

from etude.metrics.over_steps import OVER_STEPS_COLUMNS, written

STEPS = ({"lm": 90}, {"lm": 180}, {"lm": 360})
KEYS = ("at-0.25", "at-0.5", "at-1")


def table(distances, differences, copies=(0, 0, 0), n=500, chance=4, steps=STEPS, split="valid"):
    """Rows of over_steps.csv: distances with half widths, differences (pair: low, high), counts."""
    common = {"experiment": "mine", "embedding": "harmony", "split": split}
    rows = []
    for key, step, (value, half), copied in zip(KEYS, steps, distances, copies, strict=True):
        about = common | {"clips": key, "steps": written(step)}
        ends = {"ci_low": value - half, "ci_high": value + half}
        rows.append(about | {"metric": "kad", "value": value, "n": n} | ends)
        share = {"value": "" if copied is None else copied / n, "n": n}
        note = "n/a: no notes" if copied is None else "by notes"
        rows.append(about | {"metric": "copied", "note": note} | share)
    for (i, j), (low, high) in differences.items():
        about = common | {"clips": KEYS[j], "against": KEYS[i], "steps": written(steps[j])}
        value = {"value": (low + high) / 2, "ci_low": low, "ci_high": high}
        rows.append(about | {"metric": "kad_difference"} | value)
    rows.append(common | {"clips": "real", "metric": "kad", "value": 0.4, "n": 900})
    real = {"value": chance / 320, "n": 320, "ci_low": 0.003, "ci_high": 0.03}
    rows.append(common | {"clips": "real", "metric": "copied_by_chance", "note": "by notes"} | real)
    return [dict.fromkeys(OVER_STEPS_COLUMNS, "") | {k: str(v) for k, v in r.items()} for r in rows]


FALLING = {(0, 1): (-3, -1), (0, 2): (-6, -4), (1, 2): (-4, -2)}
LEVEL = {(0, 1): (-3, -1), (0, 2): (-3.2, -1.1), (1, 2): (-0.4, 0.3)}
LOOSE = {(0, 1): (-3, -1), (0, 2): (-4.5, -2.0), (1, 2): (-3.1, 0.9)}
FLAT = {(0, 1): (-0.5, 0.5), (0, 2): (-0.6, 0.4), (1, 2): (-0.4, 0.5)}
RISING = {(0, 1): (-3, -1), (0, 2): (-1.5, -0.2), (1, 2): (0.5, 1.6)}
THERE_AND_BACK = {(0, 1): (7, 43), (0, 2): (-20, 23), (1, 2): (-46, -0.5)}
DISTANCES = ((6.0, 0.5), (4.0, 0.5), (3.9, 0.5))
