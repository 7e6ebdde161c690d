"""The comparison of two commits' results: what is equal, permitted, differing."""

from __future__ import annotations

import pytest
import same_results
from same_results import Permitted, compare, told

TABLE = "experiment,value,config_hash,code_hash\na,1.5,{},{}\n"


def results(folder, **changes):
    """A run in small; `changes` are texts by path with / as __, None leaves one out."""
    files = {
        "metrics/a/fad.csv": TABLE.format("a" * 16, "b" * 16),
        "fad.txt": f"generated 1.5\nsettings {'a' * 16}\n",
        "clips/a/clip-0000.wav": b"RIFF\xff\xfe",
        "models/a/timings.csv": "step,seconds\n1,0.1\n",
        "logs/a.log": "took 3 s",
        "packed/c/t/train/state.json": '{"_fingerprint": "12ab", "_split": null}',
        ".snakemake_timestamp": "",
    }
    files |= {path.replace("__", "/"): content for path, content in changes.items()}
    for path, content in files.items():
        if content is not None:
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def kinds(tmp_path, **changes):
    old, new = results(tmp_path / "old"), results(tmp_path / "new", **changes)
    return {v.path: v.kind for v in compare(old, new) if v.kind != "equal"}


def test_a_run_is_equal_to_itself(tmp_path):
    found = compare(*[results(tmp_path / name) for name in ("old", "new")])
    paths = {v.path for v in found}
    assert {v.kind for v in found} == {"equal"}
    assert "clips/a/clip-0000.wav" in paths
    assert not paths & {"logs/a.log", "models/a/timings.csv", ".snakemake_timestamp"}


def test_hashes_may_differ_in_tables_and_wherever_they_are_named(tmp_path):
    table, text = TABLE.format("c" * 16, "d" * 16), f"generated 1.5\nsettings {'c' * 16}\n"
    found = kinds(tmp_path, **{"metrics/a/fad.csv": table, "fad.txt": text})
    assert found == {"metrics/a/fad.csv": "permitted", "fad.txt": "permitted"}


def test_a_figure_beside_a_hash_may_not(tmp_path):
    table = TABLE.format("c" * 16, "d" * 16).replace("1.5", "1.6")
    assert kinds(tmp_path, **{"metrics/a/fad.csv": table}) == {"metrics/a/fad.csv": "differing"}


def test_a_hash_that_no_table_names_may_not(tmp_path):
    found = kinds(tmp_path, **{"fad.txt": f"generated 1.5\nsettings {'e' * 16}\n"})
    assert found == {"fad.txt": "differing"}


def test_a_column_that_is_gone_or_renamed_is_a_difference(tmp_path):
    table = TABLE.format("a" * 16, "b" * 16).replace("value", "distance")
    assert kinds(tmp_path, **{"metrics/a/fad.csv": table}) == {"metrics/a/fad.csv": "differing"}


def test_bytes_of_clips_and_missing_files_are_differences(tmp_path):
    found = kinds(tmp_path, **{"clips/a/clip-0000.wav": b"RIFF\xff\xfd", "fad.txt": None})
    assert found == {"clips/a/clip-0000.wav": "differing", "fad.txt": "differing"}
    assert kinds(tmp_path / "more", extra="more") == {"extra": "differing"}


def test_of_what_is_permitted_the_rest_must_be_the_same(tmp_path):
    state = "packed/c/t/train/state.json"
    fingerprint = '{"_fingerprint": "34cd", "_split": null}'
    assert kinds(tmp_path / "a", **{state: fingerprint}) == {state: "permitted"}
    split = '{"_fingerprint": "34cd", "_split": "train"}'
    assert kinds(tmp_path / "b", **{state: split}) == {state: "differing"}
    assert kinds(tmp_path / "c", **{state: None}) == {state: "differing"}


def test_moved_paths_and_permitted_ones_with_their_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(same_results, "MAP", [(r"^fad\.txt$", "table.txt")])
    monkeypatch.setattr(same_results, "PERMITTED", [Permitted("new.txt", "it was not there")])
    old = results(tmp_path / "old")
    new = results(tmp_path / "new", **{"fad.txt": None, "table.txt": (old / "fad.txt").read_text()})
    (new / "new.txt").write_text("more")
    found = compare(old, new)
    assert [v.path for v in found if v.kind != "equal"] == ["new.txt"]
    lines = told("smoke", found)
    assert "| smoke | 4 | 1 | 0 |" in lines
    assert "- permitted, 1 files: it was not there" in lines


def test_the_first_difference_is_named(tmp_path):
    old = results(tmp_path / "old")
    new = results(tmp_path / "new", **{"fad.txt": f"generated 1.6\nsettings {'a' * 16}\n"})
    lines = told("demo", compare(old, new))
    assert "- differing: fad.txt: line 1: 'generated 1.5' is 'generated 1.6'" in lines


@pytest.mark.slow
def test_the_music_of_a_case_is_made_once_and_the_same(tmp_path):
    for case in ("folder", "external", "prompts"):
        words = [same_results.configs(tmp_path / name, case) for name in ("one", "one", "two")]
        assert words[0] == words[1]
        contents = [
            {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.suffix in (".wav", ".mid")}
            for f in (tmp_path / "one/given" / case, tmp_path / "two/given" / case)
        ]
        assert contents[0] == contents[1]
        assert contents[0]
    assert same_results.configs(tmp_path, "demo") == []
