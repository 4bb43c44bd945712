"""The table of all families: its page is that of its results, its rows are made as it says."""

import importlib
import json
from pathlib import Path

import pytest

from keras_flows.errors import NonFiniteError
from keras_flows.models import registry

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


def test_the_page_is_that_of_the_results(script):
    table, marked = script("reproduce_table"), script("marked")
    text, rows = table.PAGE.read_text(encoding="utf-8"), table.read(table.RESULTS)
    assert marked.updated(text, table.SCRIPT, table.page(rows)) == text
    assert all(row["parameters"] <= script("table_run").MOST_PARAMETERS for row in rows)
    assert {row["family"] for row in rows} <= set(script("table_families").FAMILIES)


def test_every_family_on_images_is_a_row(script):
    rows = script("table_families").FAMILIES.values()
    models = {name if name in registry.MODELS else "ResidualFlow" for _, name, _ in rows}
    # On vectors.
    others = {
        "AugmentedNormalizingFlow",
        "MaskedAutoregressiveFlow",
        "RealNVP",
        "SplineFlow",
    }
    assert models == set(registry.MODELS) - others
    assert all(set(sizes) == {"mnist", "digits"} for *_, sizes in rows)


def test_the_rate_follows_the_share_of_the_budget(script):
    cosine = script("table_run").cosine
    assert cosine(0.0) == 0.0 and cosine(0.5) == pytest.approx(0.5)
    assert cosine(1.0) == pytest.approx(0.0) == cosine(1.1)
    assert max(map(cosine, (0.01, 0.02, 0.1))) == cosine(0.02) > 0.99


def test_a_better_row_stands_first_and_seeds_share_one(script):
    table = script("reproduce_table")
    row = {
        "family": "glow",
        "data": "digits",
        "seed": 0,
        "minutes": 5.0,
        "parameters": 1234,
        "likelihood": "lower_bound",
        "rate": 0.002,
        "bits_per_dim": 2.0,
        "bits_per_dim_standard_error": 0.02,
        "test_images": 297,
        "images": 1000,
        "trained_seconds": 90.0,
        "images_per_second_training": 10.0,
        "images_per_second_scoring": 20.0,
        "images_per_second_sampling": 30.0,
        "peak_memory_gb": 1.0,
    }
    rows = [row, {**row, "seed": 1, "bits_per_dim": 2.2}, {**row, "family": "jet"}]
    page = table.page([*rows, {**row, "family": "tarflow", "bits_per_dim": 1.5}])
    order = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    assert order[2:] == ["| TarFlow", "| Jet", "| Glow"]
    assert "2.1000 ± 0.0200, 2.0000 to 2.2000" in page and "**5 processor minutes**" in page
    assert "| 1,000 | 1.5 |" in page
    assert "MNIST, 28×28, 8 bits\n\nNot run yet." in page


class Runs:
    """Stands for a `Run` whose results are known: those of a rate after so many seconds."""

    def __init__(self, module, results):
        self.module, self.results, self.asked = module, results, []

    def train(self, rate, seconds, moments):
        self.asked.append((rate, seconds))
        score = self.results[rate][seconds]
        if score is None:
            raise NonFiniteError("It diverged.")
        return self.module.Trained(score, [], rate, 1, seconds)


def test_longer_runs_are_made_as_long_as_they_help(script):
    run = script("table_run")
    low, middle, high = run.RATES
    short = {low: {5.0: 3.0}, high: {5.0: 4.0}}
    best, scores = run.search(Runs(run, {**short, middle: {5.0: 2.0, 25.0: 1.5, 100.0: 1.2}}), 100)
    assert (best.rate, best.seconds, best.bits_per_dim) == (middle, 100.0, 1.2)
    assert scores == {low: 3.0, middle: 2.0, high: 4.0}
    runs = Runs(run, {**short, middle: {5.0: 2.0, 25.0: 2.5, 100.0: 1.0}})
    best, _ = run.search(runs, 100)
    assert (best.seconds, best.bits_per_dim) == (5.0, 2.0) and len(runs.asked) == 4


def test_a_rate_that_diverges_in_a_longer_run_gives_way_to_the_next(script):
    run = script("table_run")
    low, middle, high = run.RATES
    results = {
        low: {5.0: 3.0, 25.0: 2.2, 100.0: 2.1},
        middle: {5.0: 2.5, 25.0: None, 100.0: None},
        high: {5.0: None},
    }
    best, scores = run.search(Runs(run, results), 100)
    assert (best.rate, best.bits_per_dim) == (low, 2.1)
    assert scores == {low: 3.0, middle: 2.5, high: None}
    with pytest.raises(ValueError, match="diverges at every rate"):
        run.search(Runs(run, {rate: {5.0: None} for rate in run.RATES}), 100)


@pytest.mark.slow  # a search and a training
def test_a_row_is_made_in_its_budget(script, tmp_path, monkeypatch):
    run, families = script("table_run"), script("table_families").FAMILIES
    title, model, sizes = families["realnvp"]
    tiny = {"scales": 1, "width": 2, "blocks": 1}
    monkeypatch.setitem(families, "realnvp", (title, model, {**sizes, "digits": tiny}))
    row = run.make_row("realnvp", "digits", 0, 0.05, None)
    json.dumps(row)
    assert row["rate"] in run.RATES and set(row["search"]) == {str(r) for r in run.RATES}
    assert row["test_images"] == 297 and 1.0 < row["bits_per_dim"] < 5.0
    assert row["trained_seconds"] <= 3.0 * 1.2
    rate = row["images"] / row["trained_seconds"]
    assert row["images_per_second_training"] == pytest.approx(rate)
