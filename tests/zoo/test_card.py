"""Model cards: what they state, for whom they load, and that the shipped ones are up to date."""

import importlib
from pathlib import Path

import pytest
import yaml

import keras_flows as kf
from keras_flows.zoo.card import render
from keras_flows.zoo.metadata import Metadata

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = [entry.name for entry in kf.zoo.list()]


def header(text):
    return yaml.safe_load(text.split("---\n", 2)[1])


def described(**changes):
    entry = kf.zoo.show("idensenet_lc_two_moons").model_dump()
    return Metadata.model_validate({**entry, **changes})


@pytest.mark.parametrize("name", NAMES)
def test_shipped_cards_are_up_to_date(name, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    script = importlib.import_module("render_cards")
    assert script.outdated(REPOSITORY / "zoo" / name) == {}, "run python scripts/render_cards.py"


@pytest.mark.parametrize("name", NAMES)
def test_every_number_says_what_it_is(name):
    entry, text = kf.zoo.show(name), kf.zoo.card(name)
    top = header(text)
    metrics = top["model-index"][0]["results"][0]["metrics"]
    assert metrics[0]["value"] == round(entry.test.nll, 4) and "nats" in metrics[0]["name"]
    assert [metric["type"] for metric in metrics] == top["metrics"]
    images = len(entry.event_shape) == 3
    assert (len(metrics) == 2) == images == (entry.test.bits_per_dim is not None)
    if images:
        assert metrics[1]["value"] == round(entry.test.bits_per_dim, 4)
    draws = entry.test.importance_samples
    assert all(entry.likelihood in metric["name"] for metric in metrics)
    assert all((f"{draws} draws" in metric["name"]) == (draws is not None) for metric in metrics)
    plain = images and entry.context_shape is None
    assert top["pipeline_tag"] == ("unconditional-image-generation" if plain else "other")
    assert top.get("datasets") == (["ylecun/mnist"] if "mnist" in name else None)
    labelled = images and not plain
    assert ("| Accuracy as a classifier |" in text) == labelled == (entry.test.accuracy is not None)
    assert "| Licence of the data | not recorded |" not in text
    assert f'kf.zoo.load("{name}")' in text
    for section in ("Intended use", "Limitations", "Out of distribution"):
        assert len(text.split(f"## {section}\n\n")[1].split("\n\n##")[0]) > 80


def test_a_preset_without_address_does_not_claim_a_name():
    text = render(described(name="mine"))
    assert 'kf.zoo.load("mine")' not in text and "path/of/the/folder" in text
    assert 'kf.zoo.load("hf://me/mine")' in render(described(name="mine"), handle="hf://me/mine")


def test_bars_and_line_breaks_do_not_break_the_card():
    text = render(described(summary="one | two\n\n---\n# three", data="a|b\nc", name="x\ny"))
    assert "\n\none | two --- # three\n\n" in text
    assert "| Data | a\\|b c |" in text
    assert "\n# x y\n" in text
    assert header(text)["model-index"][0]["name"] == "x\ny"


def test_the_licence_of_other_data_is_what_was_recorded():
    other = {"data": "points.csv", "training": {"data": "points.csv"}}
    assert "| Licence of the data | not recorded |" in render(described(**other))
    text = render(described(**other, data_licence="CC0 1.0"))
    assert "| Licence of the data | CC0 1.0 |" in text
    assert (
        "vectors" in text and "two moons density" not in text.split("## Facts")[0].split("## I")[1]
    )


def test_metadata_without_the_new_field_loads():
    before = kf.zoo.show("idensenet_lc_two_moons").model_dump()
    del before["data_licence"]
    assert Metadata.model_validate(before).data_licence is None
