"""Schemas and calibrations in presets."""

import numpy as np
import pytest

import keras_flows as kf
from keras_flows.data.columns import Category, Column, Interval, Positive, Real
from keras_flows.detect import calibrate
from keras_flows.files import sha256
from keras_flows.transforms import Affine
from keras_flows.zoo import preset

SCHEMA = kf.data.Schema(
    (Column("age", Real()), Column("dose", Positive()), Column("sex", Category(("f", "m")), True))
)
ON_PLANE = kf.data.Schema((Column("age", Real()), Column("dose", Interval(-9.0, 9.0))))


def flow():
    return kf.Flow(Affine([1.0, 2.0], [2.0, 1.0]), (2,))


def rows(n, seed=0):
    return np.random.default_rng(seed).normal([1.0, 2.0], [2.0, 1.0], size=(n, 2))


def test_they_survive(tmp_path):
    made = flow()
    made.schema, made.calibration = ON_PLANE, calibrate(made, rows(50), "held out")
    metadata = made.save_to_preset(tmp_path / "table")
    loaded = kf.zoo.load(tmp_path / "table")
    assert loaded.schema == ON_PLANE
    np.testing.assert_array_equal(loaded.calibration.scores, made.calibration.scores)
    assert (loaded.calibration.data, len(loaded.calibration)) == ("held out", 50)
    assert [c.model_dump() for c in metadata.columns] == [
        {"name": "age", "part": "event", "kind": "real"},
        {"name": "dose", "part": "event", "kind": "interval (-9, 9)"},
    ]
    assert metadata.calibration.scores == 50
    card = kf.zoo.card(tmp_path / "table")
    assert "| dose | event | interval (-9, 9) |" in card
    assert "50 held-out scores (log_prob) of held out" in card and "down to 1/51" in card


@pytest.mark.slow
def test_the_card_says_what_was_fitted_and_what_speaks_against_it(tmp_path):
    made = flow()
    made.schema, made.calibration = ON_PLANE, calibrate(made, rows(50), "held out")
    training = {"model": "SplineFlow", "warnings": "Few rows: 7."}
    made.save_to_preset(tmp_path / "table", training=training)
    card = kf.zoo.card(tmp_path / "table")
    assert "| Model | `Flow`, with the steps of a `SplineFlow` |" in card
    assert "* The fit said: Few rows: 7." in card
    assert 'kf.detect.decide(flow, "new.csv", alpha=0.05)' in card


def test_a_flow_without_them_has_none(tmp_path):
    metadata = flow().save_to_preset(tmp_path / "plain")
    assert metadata.columns is None and metadata.calibration is None
    assert set(metadata.files) == {"config.json", "model.weights.h5", "README.md"}
    loaded = kf.zoo.load(tmp_path / "plain")
    assert loaded.schema is None and loaded.calibration is None


def test_a_calibration_is_added(tmp_path):
    flow().save_to_preset(tmp_path / "plain", summary="Plain.", training={"seed": 3})
    loaded = kf.zoo.load(tmp_path / "plain")
    calibration = calibrate(loaded, rows(30), "some rows")
    for target in ("plain", "other"):
        preset.add_calibration(tmp_path / "plain", calibration, tmp_path / target)
        again = kf.zoo.load(tmp_path / target)
        np.testing.assert_array_equal(again.calibration.scores, calibration.scores)
        metadata = kf.zoo.show(tmp_path / target)
        assert (metadata.name, metadata.summary) == (target, "Plain.")
        assert metadata.training == {"seed": 3}
        assert "30 held-out scores" in kf.zoo.card(tmp_path / target)
    with pytest.raises(kf.PresetError, match="is not a preset"):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("precious")
        preset.add_calibration(tmp_path / "plain", calibration, tmp_path / "full")


def test_training_forgets_the_calibration():
    made = kf.Flow(kf.transforms.ActNorm(), (2,))
    made.calibration = calibrate(made, rows(20), "held out")
    made.compile("sgd", jit_compile=False, run_eagerly=True)
    made.fit(rows(20).astype("float32"), verbose=0)
    assert made.calibration is None


def test_a_schema_of_other_columns_is_refused(tmp_path):
    made = flow()
    made.schema = SCHEMA
    with pytest.raises(ValueError, match=r"context of 2 numbers; the flow .* context shape None"):
        made.save_to_preset(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def damaged(folder, name, content):
    (folder / name).write_bytes(content)
    path = folder / "metadata.json"
    metadata = preset.read_metadata(folder)
    files = {**metadata.files, name: sha256(folder / name)}
    path.write_text(metadata.model_copy(update={"files": files}).model_dump_json())


def test_damaged_parts(tmp_path):
    made = flow()
    made.schema, made.calibration = ON_PLANE, calibrate(made, rows(50), "held out")
    for name, content, message in (
        ("schema.json", b"{}", "schema.json is damaged"),
        ("schema.json", SCHEMA.to_json().encode(), "schema.json is damaged: The schema has 2"),
        ("calibration.npz", b"no", "no calibration, or damaged"),
    ):
        made.save_to_preset(tmp_path / "table")
        damaged(tmp_path / "table", name, content)
        with pytest.raises(kf.PresetError, match=message):
            kf.zoo.load(tmp_path / "table")
