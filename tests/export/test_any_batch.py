"""What exported graphs do with no examples, with labels out of range, with contexts too few."""

import numpy as np
import pytest
import tensorflow as tf

import keras_flows as kf
from keras_flows.export import manifest

FORMATS = {"onnx": kf.export.to_onnx, "saved_model": kf.export.to_saved_model}


def runners(exported, kind, name):
    """The graphs of an export: functions of dictionaries of arrays by name."""
    from keras_flows.export import onnx, saved_model

    _, folder, _ = exported(FORMATS[kind], name)
    form = onnx.Onnx(17) if kind == "onnx" else saved_model.SavedModel()
    described = manifest.read(folder)
    return described, form.load(folder, described)


def empty(tensor):
    shape = [0 if size == "batch" else size for size in tensor.shape]
    return np.zeros(shape, tensor.dtype)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("conditional", "series", "chain")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "labels", "integers", *SLOW])
@pytest.mark.parametrize("kind", FORMATS)
def test_no_examples(exported, kind, name):
    described, graphs = runners(exported, kind, name)
    for graph, about in described.graphs.items():
        if graph == "sample":
            continue
        made = graphs[graph].run({tensor.name: empty(tensor) for tensor in about.inputs})
        for tensor in about.outputs:
            assert made[tensor.name].shape == empty(tensor).shape, (graph, tensor.name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_labels_out_of_range_are_nan(exported, kind):
    flow, _, _ = exported(FORMATS[kind], "labels")
    _, graphs = runners(exported, kind, "labels")
    x = np.random.default_rng(0).standard_normal((4, 9)).astype("float32")
    labels = np.array([0, -1, 4, 3], "int32")
    got = graphs["log_prob"].run({"x": x, "context": labels})["log_prob"]
    np.testing.assert_array_equal(np.isnan(got), [False, True, True, False])
    np.testing.assert_allclose(got[[0, 3]], flow.log_prob(x[[0, 3]], labels[[0, 3]]), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labels", SLOW[0]])
@pytest.mark.parametrize("kind", FORMATS)
def test_one_context_does_not_serve_for_three_rows(exported, kind, name):
    described, graphs = runners(exported, kind, name)
    for graph in ("log_prob", "decode"):
        inputs = {
            tensor.name: np.zeros(
                [(1 if tensor.name == "context" else 3), *tensor.shape[1:]], tensor.dtype
            )
            for tensor in described.graphs[graph].inputs
        }
        with pytest.raises(Exception, match=r"(?i)reshape|one for each example"):
            graphs[graph].run(inputs)


@pytest.mark.slow
def test_the_manifest_has_the_levels_of_integers(exported):
    for name, levels in (("integers", 32), ("chain", None)):
        described, _ = runners(exported, "saved_model", name)
        assert described.levels == levels and described.integers is (levels is not None)


@pytest.mark.slow
def test_loading_a_saved_model_warns_of_nothing(exported, caplog):
    _, folder, _ = exported(kf.export.to_saved_model, "wide")
    with caplog.at_level("WARNING"):
        tf.saved_model.load(str(folder))
    assert not [record for record in caplog.records if "gradient" in record.getMessage()]
