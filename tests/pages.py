"""Small trees of results, as runs leave them, for all that tests the report page."""

import mido
import numpy as np
import soundfile
from tidy import beaten, write_rivals

from etude.metrics.score import COLUMNS, SIGNAL_COLUMNS
from etude.report.figures import in_order
from etude.report.page import RunOutputs, build_report
from etude.results.systems import about
from etude.storage import write_csv, write_json, write_text

RATE = 24000
HISTORY = ["step", "train_loss", "valid_loss", "accuracy"]
NASTY = "<script>alert('x')</script> & Été.mid"
DISTANCES = {
    "generated": 9.4, "real": 8.1, "reconstruction": 5.2, "shuffled": 27.1, "untrained": 34.3,
    "noise": 187.0,
}  # fmt: skip
HARMONY = {"real": 0.95, "reconstruction": 0.94, "shuffled": 0.69, "untrained": 0.67, "noise": 0.5}


# ---------------------------------------------------------------------- a small tree of results


def tone(seed, seconds=1.0, level=0.1):
    """A few harmonics, fading."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros_like(time)
    for note in generator.integers(48, 72, 4):
        start = generator.uniform(0, seconds / 2)
        hertz = 440 * 2 ** ((note - 69) / 12)
        fade = np.exp(-2 * (time - start).clip(0)) * (time >= start)
        wave += sum(np.sin(2 * np.pi * hertz * k * time) * fade / k**1.5 for k in range(1, 9))
    return level * wave


def write_set(folder, waves, rows=None, note=""):
    folder.mkdir(parents=True)
    names = [f"clip-{i:04d}" for i in range(len(waves))]
    for name, wave in zip(names, waves, strict=True):
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="PCM_16")
    plain = [{"clip": name, "file": f"{name}.wav"} for name in names]
    rows = [base | extra for base, extra in zip(plain, rows or [{}] * len(names), strict=True)]
    columns = ["clip", "file", "piece", "start_s", "ended", "prime_seconds", "source"]
    write_csv(folder / "clips.csv", columns, rows)
    write_text(folder / "note.txt", note)
    return names


RATES = [  # nothing is copied, and no beginning is continued
    {"clips": "generated", "metric": "memorised_fingerprint", "value": 0, "n": 64},
    *({"clips": f"prefixes_{kind}", "metric": "extracted_exact_after_32", "value": 0, "n": 24}
      for kind in ("train", "held_out")),
]  # fmt: skip


def write_scores(
    results, experiment, system, draw="seed-0/draw-0", distances=DISTANCES, rivals=None,
    rates=RATES, **over
):  # fmt: skip
    seed, number_ = (part.split("-")[1] for part in draw.split("/"))
    common = {
        "experiment": experiment, "system": system, "reference": "mine test", "split": "test",
        "train_seed": seed, "draw": number_, "config_hash": "c0ffee", "data_hash": "da7a" * 16,
    }  # fmt: skip
    rows = []
    for clips, value in distances.items():
        rows += [
            {"clips": clips, "metric": "et_grid", "value": HARMONY.get(clips, 0.91), "n": 64},
            {"clips": clips, "metric": "flatness_db", "value": -27.0, "n": 64},
            {"clips": clips, "metric": "silent", "value": 0, "n": 64},
        ]
        cell = {"note": "n/a: no valid split"} if value is None else {"value": value}
        embedded = {"metric": "frechet_distance", "embedding": "logmel", "n": 64}
        rows.append({"clips": clips} | embedded | cell | over)
    missing = {"clips": "generated", "metric": "frechet_distance", "embedding": "clap-x"}
    rows.append(missing | {"note": "not run: needs weights & patience"})
    rows += rates
    if rivals is None:
        rivals = beaten(about(system).rivals)
    write_rivals(results, experiment, rivals, int(seed), int(number_))
    write_csv(
        results / "metrics" / experiment / draw / "fad.csv", COLUMNS, (common | r for r in rows)
    )


def write_signals(path, kind, names, odd=()):
    rows = [
        {"clips": kind, "clip": n, "et_grid": 0.4 if n in odd else 0.9, "flatness_db": -25,
         "level_db": -80 if n == "clip-0001" else -20}
        for n in names
    ]  # fmt: skip
    write_csv(path, SIGNAL_COLUMNS, rows)


def write_corpus(results):
    pieces = [
        {"piece": f"p{i}", "path": f"a/p{i}.mid", "kind": "midi", "seconds": 60, "status": "kept",
         "tune_group": f"g{i // 2}", "split": ("train", "train", "valid", "test")[i % 4],
         "composer": NASTY if i == 0 else "Clara"}
        for i in range(8)
    ]  # fmt: skip
    bad = {"kind": "midi", "status": "rejected"}
    pieces += [
        bad | {"piece": "x", "path": NASTY, "reason": "corrupt_midi: not a MIDI file"},
        bad | {"piece": "y", "path": "y.mid", "reason": "duplicate_of:p0"},
    ]
    columns = ["piece", "path", "kind", "seconds", "status", "reason", "composer", "tune_group"]
    folder = results / "corpora" / "mine"
    write_csv(folder / "pieces.csv", [*columns, "split"], pieces)
    render = {"fluidsynth": "2.3.4", "settings": {"gain": 0.2}, "soundfont": "TimGM6mb.sf2"}
    write_json(folder / "wav" / "0000" / "render.json", render)
    index = [{"piece": "p7", "status": "rejected", "reason": "silent"}]
    write_csv(folder / "wav" / "0000" / "index.csv", list(index[0]), index)
    write_json(folder / "wav" / "0001" / "render.json", {"rendered": False})
    segments = [{"segment": f"p0_{i}", "seconds": 2, "status": "kept"} for i in range(30)]
    reasons = ["blank_segment:rms=12", "blank_segment:rms=3", "too_short"]
    segments += [{"segment": "z", "status": "rejected", "reason": r} for r in reasons]
    totals = [{"count": "notes_in", "total": 3200}, {"count": "notes_out", "total": 3100},
              {"count": "lost_doubled", "total": 100}]  # fmt: skip
    write_csv(results / "tokens/mine/notes/summary/totals.csv", ["count", "total"], totals)
    columns = ["segment", "seconds", "status", "reason"]
    write_csv(results / "cuts/mine/two_seconds/0000/index.csv", columns, segments)


STAGES = {"semantic": 0.9, "coarse": 2.1, "fine": 2.6, "lm": 0.7}  # in order, and their losses


def write_models(results, experiment, seeds=(0,), stages=None):
    for stage, low in STAGES.items():
        if stage not in (stages or ("semantic", "coarse", "fine")):
            continue
        for seed in seeds:
            folder = results / "models" / experiment / stage / f"seed-{seed}"
            history = [
                {"step": s, "train_loss": low + 3 * np.exp(-s / 60) + 0.05 * int(seed),
                 "valid_loss": low + 0.1 + 3 * np.exp(-s / 55) if s % 50 == 0 else "",
                 "accuracy": 0.5 if s % 50 == 0 else ""}
                for s in range(10, 301, 10)
            ]  # fmt: skip
            write_csv(folder / "history.csv", HISTORY, history)
            timings = [{"step": 300, "seconds": 61.5, "tokens_per_second": 12345.6}]
            write_csv(folder / "timings.csv", list(timings[0]), timings)


def write_results(results, clips=20, draws=("seed-0/draw-0",), seconds=1.0):
    """Everything that a run of one AudioLM experiment leaves behind."""
    root = results / "clips" / "audiolm"
    for number_, draw in enumerate(draws):
        waves = [tone(100 * number_ + i, seconds) for i in range(clips)]
        if clips > 1:
            waves[1] = np.zeros(round(seconds * RATE))
        rows = [
            {"ended": "true" if i == 2 else "false", "prime_seconds": "0"} for i in range(clips)
        ]
        names = write_set(root / draw, waves, rows)
        write_signals(
            results / "metrics/audiolm" / draw / "signals.csv", "generated", names, ["clip-0003"]
        )
        write_scores(results, "audiolm", "audiolm", draw)
    origin = [{"piece": f"p{i}", "start_s": 4.0 * i} for i in range(4)]
    for name, shift in (("real", 0), ("reconstruction", 0), ("shuffled", 50), ("untrained", 80)):
        waves = [tone(900 + shift + i, seconds) for i in range(4)]
        write_set(root / "baselines" / name, waves, origin if shift == 0 else None)
    noise = np.random.default_rng(0).standard_normal((3, round(seconds * RATE))) * 0.1
    write_set(root / "baselines" / "noise", list(noise))
    write_models(results, "audiolm", {draw.split("/")[0].split("-")[1] for draw in draws})
    write_corpus(results)
    head = "s\th:m:s\tmax_rss\n"
    write_text(
        results / "benchmarks/train_stage/audiolm/fine/seed-0.tsv", f"{head}61.5\t0\t900.5\n"
    )
    write_text(results / "benchmarks/train_stage/audiolm/coarse/seed-0.tsv", f"{head}30\t0\tNA\n")
    write_text(results / "benchmarks/render_midi/mine/0000.tsv", f"{head}8.5\t0\t100\n")
    write_text(results / "benchmarks/render_midi/other/0000.tsv", f"{head}9999\t0\t100\n")
    write_text(results / "fad.txt", "experiment <audiolm>\ngate: holds (…)\n")
    splits = {"train": {"items": 30, "pieces": 4}}
    info = {"data_hash": "da7a" * 16, "splits": splits}
    write_json(results / "packed/mine/embedded/info.json", info)


def everything(results, run, **over):
    """All that lies in a folder of results, as if one run had made it."""
    patterns = {
        "tables": [f"metrics/{name}/seed-*/draw-*/fad.csv" for name in run],
        "pieces": ["corpora/*/pieces.csv"],
        "wav": ["corpora/*/wav/*"],
        "cuts": ["cuts/*/*/*"],
        "tokens": ["tokens/*/*/summary"],
        "packed": ["packed/*/*"],
        "leaderboard": ["leaderboard.csv"],
        "differences": ["differences.csv"],
        "memorisation": [f"metrics/{name}/**/memorisation.csv" for name in run],
        "symbolic": [f"metrics/{name}/**/symbolic.csv" for name in run],
        "perplexity": [f"metrics/{name}/**/perplexity.csv" for name in run],
        "rivals": [f"metrics/{name}/seed-*/draw-*/rivals.csv" for name in run],
    }
    found = {
        key: in_order(p for g in globs for p in results.glob(g)) for key, globs in patterns.items()
    }
    found["histories"] = [
        path
        for name in run
        for stage in STAGES
        for path in in_order(results.glob(f"models/{name}/{stage}/seed-*/history.csv"))
    ]
    return RunOutputs(**found | over)


def report(results, run, folder, page=None, threads=1, settings=None, configs=(), **over):
    made = everything(results, run, **over)
    build_report(results, run, folder, made, settings, page=page, configs=configs, threads=threads)


# ------------------------------------------------------- three experiments of several seeds each

BOARD = [
    "experiment", "system", "clips", "metric", "embedding", "reference", "split", "value",
    "ci_low", "ci_high", "n", "unit", "role", "train_seeds", "draws", "cells", "share_train_seed",
    "share_train_seed_low", "share_train_seed_high", "share_draw", "share_sampling", "floor", "ceiling", "config_hash", "data_hash", "code_hash",
    "env_hash", "note",
]  # fmt: skip
DIFFERENCES = ["role", "metric", "embedding", "a", "b", "scale", "value", "ci_low", "ci_high", "n",
               "p", "p_adjusted", "verdict", "note"]  # fmt: skip
COPIES = ["clip", "rung", "score", "null_p99", "flagged", "nearest_piece", "nearest_start_s",
          "nearest_file"]  # fmt: skip
SYSTEMS = {
    "audiolm": ("audiolm", 1.0),
    "audiolm-large": ("audiolm", 0.86),
    "notes": ("symbolic_lm", 0.93),
}
ATTACKS = ("exact", "gain", "offset", "noise 30 dB", "re-encoded", "2 % faster", "1 semitone up",
           "2 s inside 8 s")  # fmt: skip
RUNGS = {"fingerprint": 0.98, "neighbour": 0.9, "tokens": 0.75}


def write_trust(
    results, clips=20, seeds=(0, 1, 2), draws=(0, 1), seconds=2.0, names=tuple(SYSTEMS)
):
    """A run of experiments with leaderboard, differences, copies, per-clip figures, notes."""
    write_corpus(results)
    pieces = results / "corpora/mine/wav/0000"
    for i in range(6):
        soundfile.write(pieces / f"p{i}.wav", tone(700 + i, 12.0), RATE, subtype="PCM_16")
    for position, name in enumerate(names):
        system, _ = SYSTEMS[name]
        write_models(results, name, seeds, ["lm"] if system == "symbolic_lm" else None)
        for seed in seeds:
            for draw in draws:
                where = f"seed-{seed}/draw-{draw}"
                _write_clips(results, name, where, clips, seconds, system, 10 * seed + draw)
                _write_evidence(results, name, where, clips, position)
        _write_baselines(results, name, seconds)
    write_board(results, names, seeds, draws)


def _write_clips(results, name, where, clips, seconds, system, start):
    waves = [tone(1000 * start + i, seconds) for i in range(clips)]
    prime = [{"prime_seconds": "0.5" if i % 2 else "0"} for i in range(clips)]
    folder = results / "clips" / name / where
    clip_names = write_set(folder, waves, prime)
    if system == "symbolic_lm":
        for i, clip in enumerate(clip_names):
            write_notes(folder / f"{clip}.mid", 1000 * start + i, seconds)
    write_signals(results / "metrics" / name / where / "signals.csv", "generated", clip_names)
    write_scores(results, name, system, where)


def write_notes(path, seed, seconds):
    """Four voices of random notes, as a MIDI file of 120 quarter notes a minute."""
    generator = np.random.default_rng(seed)
    file = mido.MidiFile(ticks_per_beat=480)
    for program in (0, 42):
        track = mido.MidiTrack(
            [mido.Message("program_change", channel=program // 42, program=program)]
        )
        pitch = 72 - program // 2
        for _ in range(round(4 * seconds)):
            pitch = int(np.clip(pitch + generator.integers(-4, 5), 40, 84))
            length = int(generator.choice([120, 240, 240, 480]))
            common = {"channel": program // 42, "note": pitch}
            track.append(mido.Message("note_on", velocity=80, time=0, **common))
            track.append(mido.Message("note_off", time=length, **common))
        file.tracks.append(track)
    file.save(path)


def _write_evidence(results, name, where, clips, position):
    folder = results / "metrics" / name / where
    generator = np.random.default_rng(position)
    fad = np.exp(generator.normal(2.3, 0.25, clips))
    fad[clips // 3] = 60.0
    rows = [{"clip": f"clip-{i:04d}", "embedding": e, "fad": f"{f * scale:.4f}"}
            for e, scale in (("logmel", 1), ("chroma", 0.1)) for i, f in enumerate(fad)]  # fmt: skip
    write_csv(folder / "per_clip.csv", ["clip", "embedding", "fad"], rows)
    rows = []
    for i in range(clips):
        for rung in RUNGS:
            near = {} if rung == "tokens" else {
                "nearest_piece": f"p{i % 6}", "nearest_start_s": f"{(i * 0.7) % 8:.2f}",
                "nearest_file": f"corpora/mine/wav/0000/p{i % 6}.wav"}  # fmt: skip
            flagged = i == 5 or (i == 7 and rung == "neighbour")
            rows.append({"clip": f"clip-{i:04d}", "rung": rung, "score": "0.5", "null_p99": "0.4",
                         "flagged": str(flagged).lower()} | near)  # fmt: skip
    write_csv(folder / "memorisation_clips.csv", COPIES, rows)
    seed, draw = (part.split("-")[1] for part in where.split("/"))
    rows = []
    common = {"experiment": name, "train_seed": seed, "draw": draw, "clips": "generated"}
    for rung, recall in RUNGS.items():
        rows.append(common | {"metric": f"memorised_{rung}", "value": 2 / clips,
                              "ci_low": 0.002, "ci_high": 0.2, "n": clips, "unit": "share"})  # fmt: skip
        if where == "seed-0/draw-0":
            for k, attack in enumerate(ATTACKS):
                value = max(recall - 0.03 * k, 0.1)
                rows.append(common | {"metric": f"recall_{rung}_{attack.replace(' ', '_')}", "value": value,
                                      "ci_low": value - 0.05, "ci_high": min(value + 0.03, 1),
                                      "n": 300, "unit": "share"})  # fmt: skip
        rows.append(common | {"metric": f"null_p99_{rung}", "value": 0.412, "n": 300})
    write_csv(folder / "memorisation.csv", COLUMNS, rows)


def _write_baselines(results, name, seconds):
    root = results / "clips" / name / "baselines"
    origin = [{"piece": f"p{i}", "start_s": 4.0 * i} for i in range(4)]
    for kind, shift in (("real", 0), ("reconstruction", 0), ("shuffled", 50), ("untrained", 80)):
        waves = [tone(900 + shift + i, seconds) for i in range(4)]
        write_set(root / kind, waves, origin if shift == 0 else None)


def write_board(results, names, seeds=(0, 1, 2), draws=(0, 1)):
    """leaderboard.csv and differences.csv."""
    rows, generator = [], np.random.default_rng(3)
    scales = {"frechet_distance": 1.0, "fad_infinity": 0.8, "kad": 0.05}
    for metric, scale in scales.items():
        for embedding, factor in (("logmel", 1.0), ("chroma", 0.02)):
            for name in names:
                for clips, value in DISTANCES.items():
                    value *= scale * factor * (SYSTEMS[name][1] if clips == "generated" else 1)
                    width = value * generator.uniform(0.06, 0.16)
                    own = (
                        {
                            "train_seeds": " ".join(map(str, seeds)),
                            "draws": " ".join(map(str, draws)),
                            "share_train_seed": 0.42,
                            "share_train_seed_low": 0.05,
                            "share_train_seed_high": 0.97,
                            "share_draw": 0.08,
                            "share_sampling": 0.5,
                        }
                        if clips == "generated"
                        else {}
                    )
                    rows.append(
                        {
                            "experiment": name,
                            "system": SYSTEMS[name][0],
                            "clips": clips,
                            "metric": metric,
                            "embedding": embedding,
                            "value": value,
                            "ci_low": value - width,
                            "ci_high": value + width,
                            "n": 500,
                        }
                        | own
                    )
    for name in names:
        for clips in DISTANCES:
            for metric, unit in (("et_grid", "share"), ("flatness_db", "dB"), ("silent", "clips")):
                value = {"et_grid": HARMONY.get(clips, 0.91), "flatness_db": -27.0, "silent": 0}
                rows.append(
                    {
                        "experiment": name,
                        "clips": clips,
                        "metric": metric,
                        "unit": unit,
                        "value": value[metric],
                        "n": 500,
                    }
                )
        rows.append(
            {
                "experiment": name,
                "clips": "generated",
                "metric": "frechet_distance",
                "embedding": "clap-laion-audio",
                "note": "not run: needs weights & patience",
            }
        )
    pooled = {"clips": "generated", "value": 0.02, "ci_low": 0.01, "ci_high": 0.035, "n": 3000}
    rows += [
        {"experiment": name, "metric": f"memorised_{rung}"} | pooled
        for name in names
        for rung in RUNGS
    ]
    write_csv(results / "leaderboard.csv", BOARD, rows)
    verdicts = [
        ("better", -1.9, 0.8, 0.004),
        ("inconclusive", 0.4, 1.1, 0.61),
        ("worse", 2.2, 0.9, 0.0004),
    ]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    rows = []
    for metric, scale in reversed(scales.items()):  # the primary one first, as Étude writes them
        for (a, b), (verdict, value, width, p) in zip(pairs, verdicts, strict=False):
            ends = [(value + d) * scale for d in (0, -width, width)]
            ratio = metric == "frechet_distance"
            ends = [float(np.exp(end)) for end in ends] if ratio else ends
            row = dict(zip(("value", "ci_low", "ci_high"), ends, strict=True))
            row |= {"metric": metric, "embedding": "logmel", "a": a, "b": b, "n": 500}
            row |= {"role": "primary" if metric == "kad" else "exploratory", "verdict": verdict}
            rows.append(
                row | {"scale": "ratio" if ratio else "difference", "p": p, "p_adjusted": p}
            )
    write_csv(results / "differences.csv", DIFFERENCES, rows)
