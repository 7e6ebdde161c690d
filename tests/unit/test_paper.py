"""The paper kit and the README's published table: figures as in the CSVs, sound TeX, equal bytes."""

import re

import pytest
from refused import refused
from tidy import DISTANCES, row, rows_of, run, two_experiments, write_cell

from etude import config
from etude.config.systems.audiolm import AudioLmPytorch, Network
from etude.config.systems.symbolic_lm import Gpt2, MusicTransformer
from etude.report import latex, published
from etude.report.methods import _measured, _stage
from etude.report.paper import figure, write_paper
from etude.results.leaderboard import number
from etude.results.summary import write_results
from etude.results.systems import rivals, worthless
from etude.storage import read_csv, write_csv

SETTINGS = {
    "corpora": {"c": {"source": "folder", "path": "/home/somebody/music"}},
    "experiments": {n: {"system": "audiolm", "corpus": "c"} for n in "ab"},
    "run": ["a", "b"],
}


@pytest.fixture
def settings():
    return config.read(config.DEFAULT, overrides=SETTINGS)


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    two_experiments(results)
    write_results(run(results), results)
    pieces = [{"piece": str(i), "split": s} for i, s in enumerate(["train"] * 5 + ["test"] * 2)]
    write_csv(results / "corpora" / "c" / "pieces.csv", ["piece", "split"], pieces)
    return results


def well_formed(text):
    """Environments nest, braces balance, and every row has as many cells as there are columns."""
    open_ = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            open_.append(name)
        else:
            assert open_.pop() == name
    assert not open_
    bare = re.sub(r"\\[{}&%$#_]", "", re.sub(r"(?m)^%.*$", "", text))
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"[%$#_^~]", re.sub(r"\\label\{[^}]*\}", "", bare)), "not escaped"
    if columns := re.search(r"\\begin\{tabular\}\{(\w+)\}", text):
        rows = [line for line in bare.splitlines() if line.rstrip().endswith("\\\\")]
        assert {row.count("&") for row in rows} == {len(columns[1]) - 1}
        return rows
    assert "&" not in bare
    return []


def test_tex_is_escaped_letter_for_letter():
    nasty = r"a_b & 50% of {x} $1 #2 ~ ^ \end"
    text = latex.table(["x", nasty], [[[latex.escape(nasty), "1"]]], nasty, "tab:x")
    assert len(well_formed(text)) == 2
    assert r"a\_b \& 50\% of \{x\} \$1 \#2 \textasciitilde{} \textasciicircum{}" in text
    with pytest.raises(AssertionError):
        well_formed(text.replace(r"\end{table}", ""))
    with pytest.raises(AssertionError):
        well_formed(text.replace(r"50\%", "50%"))


@pytest.mark.slow
def test_tables_hold_exactly_the_figures_of_the_csv(results, settings, tmp_path):
    write_paper(results, settings, tmp_path / "paper")
    text = (tmp_path / "paper" / "leaderboard.tex").read_text()
    rows = well_formed(text)
    board = [r for r in read_csv(results / "leaderboard.csv") if r["metric"] == "frechet_distance"]
    expected = [
        [figure(r[k]) for k in ("value", "ci_low", "ci_high")] + [r["n"]]
        for r in board
        if r["value"]
    ]
    found = []
    for line in rows[1:]:
        cells = line.strip().removesuffix("\\\\").split(" & ")
        found.append([*re.findall(r"-?\d+\.\d+", cells[2]), cells[3].strip()])
    assert sorted(found) == sorted(expected)
    assert len(found) == 10
    text = (tmp_path / "paper" / "differences.tex").read_text()
    pairs = {r["metric"]: r for r in read_csv(results / "differences.csv") if r["value"]}
    line = next(row for row in well_formed(text) if "FD" in row)
    first = pairs["frechet_distance"]
    assert re.findall(r"-?\d+\.\d+", line) == [
        figure(first[k]) for k in ("value", "ci_low", "ci_high", "p_adjusted")
    ]
    assert "better" in line


@pytest.mark.slow
def test_a_table_of_an_earlier_version_is_left_out(results, settings, tmp_path):
    (results / "differences.csv").write_text("metric,embedding,a,b,value,p_holm,verdict\n")
    with (results / "differences.csv").open("a") as file:
        file.write("kad,logmel,a,b,1.0,0.01,better\n")
    write_paper(results, settings, tmp_path / "paper")
    assert not (tmp_path / "paper" / "differences.tex").exists()
    assert "Welch" not in (tmp_path / "paper" / "methods.md").read_text()


@pytest.mark.slow
def test_the_methods_have_the_true_numbers(results, settings, tmp_path):
    write_paper(results, settings, tmp_path / "paper")
    text = (tmp_path / "paper" / "methods.md").read_text()
    assert "a (audiolm) is of the corpus c (pieces: 5 train, 2 test)." in text
    assert "semantic: a transformer of 3 layers, width 192, 130 steps of 32 sequences" in text
    assert "3 training seeds (0, 1, 2) and 2 draws (0, 1) of each; figures are of 32 clips" in text
    assert "Student's t over trainings" in text
    assert "The primary metric is logmel FD, with Holm's correction over 1 test;" in text
    assert "of the others 0 tests are exploratory" in text
    assert "settings c-a, c-b; data d; code k; environment v" in text
    well_formed((tmp_path / "paper" / "methods.tex").read_text())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Network(), "a transformer of 3 layers, width 192"),
        (AudioLmPytorch(backend="audiolm_pytorch"), "of 6 layers, width 1024 (audiolm-pytorch's)"),
        (Gpt2(kind="gpt2"), "a gpt2 of 3 layers, width 128"),
        (MusicTransformer(kind="music_transformer", layers=5), "a music transformer of 5 layers"),
        (config.PluginNetwork(kind="gru:Gru"), "a network of its own (gru:Gru)"),
    ],
)
def test_the_methods_name_each_network_and_its_size(network, said):
    plan = config.StagePlan("s", config.StageSettings(network=network))
    text = _stage(plan)
    assert said in text
    assert ", 200 steps of 16 sequences" in text
    assert ("of its own" in text) == (":" in said)


def test_the_methods_name_the_rivals_that_decide():
    row = dict.fromkeys(("embedding", "reference", "train_seeds", "draws"), "x")
    row |= {"metric": "frechet_distance", "clips": "generated", "value": "1"}
    settings = config.read(config.DEFAULT)
    for system in ("audiolm", "symbolic_lm"):
        said = _measured([row | {"system": system}], settings)[1]
        assert f"nearer to held-out music than each of {rivals([system])}: by the 95 %" in said
        assert "under timbre or harmony, and farther under none, with at least 64 clips" in said


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(results, settings, tmp_path):
    kits = []
    for name in ("one", "two"):
        write_paper(results, settings, tmp_path / name)
        kits.append({p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())})
    assert kits[0] == kits[1]
    assert {"logmel-frechet_distance.pdf", "logmel-frechet_distance.svg"} <= kits[0].keys()
    assert kits[0]["logmel-frechet_distance.pdf"].startswith(b"%PDF")
    assert b"<dc:date>" not in kits[0]["logmel-frechet_distance.svg"]
    assert b"CreationDate" not in kits[0]["logmel-frechet_distance.pdf"]


def test_a_folder_of_something_else_is_left_alone(results, settings, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("mine")
    with refused("folder-not-empty", where="thesis"):
        write_paper(results, settings, tmp_path / "thesis")
    with refused("no-leaderboard"):
        write_paper(tmp_path / "nothing", settings, tmp_path / "paper")


# ------------------------------------------------------------------------------------- published


def test_the_readmes_table_is_what_the_published_run_renders_to():
    """Whatever is published: README, figures, configuration and hashes must be of one run."""
    text = published.README.read_text(encoding="utf-8")
    assert published.with_table(text, published.render()) == text, "run: etude table --readme"
    page = (published.DOCS / "README.md").read_text(encoding="utf-8")
    assert published.with_table(page, published.render_all()) == page, "run: etude table --readme"
    assert published.check_published() == []


def test_a_count_of_notes_is_no_share_of_copies():
    common = {"clips": "generated", "train_seeds": "0", "draws": "0", "experiment": "e"}
    common |= dict.fromkeys(("system", "config_hash", "data_hash", "code_hash", "env_hash"), "")
    found = [("notes", "16", "21.6"), ("memorised_notes", "0.01", "0.02")]
    rows = [common | {"metric": m, "value": v, "ci_high": high} for m, v, high in found]
    assert "flagged as copies: at most 2 % (notes)" in published._experiment(rows)[0]


def test_publishing_takes_figures_configuration_and_hashes(results, settings, tmp_path):
    docs = tmp_path / "docs"
    published.publish(results, settings, docs)
    assert published.check_published(docs) == []
    assert "somebody" not in (docs / "config.json").read_text()
    table = published.render_all(docs)
    row = next(r for r in read_csv(docs / "leaderboard.csv")
               if (r["experiment"], r["clips"]) == ("a", "generated")
               and r["metric"] == "frechet_distance" and r["value"])  # fmt: skip
    value, low, high = (number(row[k]) for k in ("value", "ci_low", "ci_high"))
    assert f"| a | **{value:.3g} [{low:.3g}, {high:.3g}]** |" in table
    assert "- **a** (audiolm): 3 trainings with 2 draws each; " in table
    assert "settings `c-a`" in table
    assert table.splitlines()[-1].startswith("`gate: ")
    short = published.render(docs)
    assert f"| a | **{value:.3g} [{low:.3g}, {high:.3g}]** |" in short
    assert short.splitlines()[-1].startswith("`gate: ")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{published.BEGIN}\nthe one before\n{published.END}\nafter\n")
    published.write_readme(readme, docs)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "the one before" not in text
    (docs / "leaderboard.csv").write_text("changed\n")
    assert published.check_published(docs) == ["leaderboard.csv"]


def test_the_published_table_is_of_the_primary_metric(tmp_path, settings):
    results, docs = tmp_path / "results", tmp_path / "docs"
    kad = [
        row(c, "kad", v, e)
        for c, v in (("generated", 2.0), ("real", 0.2))
        for e in ("logmel", "harmony")
    ]
    write_cell(results, "a", [*rows_of(DISTANCES), *kad])
    write_results(
        run(results, settings=config.Evaluation(embeddings=["logmel", "harmony"])), results
    )
    published.publish(results, settings, docs)
    table = published.render_all(docs)
    assert table.startswith("KAD to held-out real music")
    assert table.index("| harmony |") < table.index("| logmel |")
    assert "| a | **2** | 0.2 |" in table
    short = published.render(docs)
    assert short.startswith("KAD on `harmony`")
    assert "| a | **2** | 0.2 |" in short


def test_ceilings_are_marked_as_the_leaderboard_has_them():
    """A system's own rivals are ceilings as well: its n-gram, its shuffled tokens."""
    sets = ("generated", "real", "copies", "ngram", "shuffled")
    about = {"experiment": "a", "system": "symbolic_lm", "ci_low": "", "ci_high": ""}
    rows = [row(c, "kad", 1.0, "harmony", **about) for c in sets]
    head = published._block(rows, "harmony")[1]
    for name in sets:
        known = name in worthless("symbolic_lm")
        assert (f"| {name} (ceiling) |" in head) == known
    assert "| real (floor) |" in head


def test_what_is_not_fit_to_publish(results, settings, tmp_path):
    with refused("nothing-to-publish"):
        published.publish(tmp_path, settings, tmp_path / "docs")
    write_results(run(results, failed={"c": "train_stage"}), results)
    with refused("run-unfinished"):
        published.publish(results, settings, tmp_path / "docs")
    write_cell(results, "e", rows_of(DISTANCES))
    write_results(run(results), results)
    with refused("config-of-another-run"):
        published.publish(results, settings, tmp_path / "docs")
    with refused("no-place-for-table"):
        published.with_table("no markers", "")
    assert published.render(tmp_path / "docs") == published.NOT_YET
