import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import keras_flows as kf
from keras_flows.export import shared_weights


def model(weights):
    """A graph whose outputs are its weights, each plus the input x."""
    return make_model(
        make_graph(
            [make_node("Add", [name, "x"], [f"{name}/out"]) for name in weights],
            "weights",
            [make_tensor_value_info("x", TensorProto.FLOAT, [])],
            [
                make_tensor_value_info(f"{name}/out", TensorProto.FLOAT, value.shape)
                for name, value in weights.items()
            ],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[make_opsetid("", 13)],
        ir_version=8,
    )


def outputs(model):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": np.zeros((), "float32")})


def floats(model):
    return [t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]


def test_weights_in_another_order_are_computed_from_those_that_stay():
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((20, 30)).astype("float32")
    kernel = rng.standard_normal((3, 3, 8, 6)).astype("float32")
    kernel[0, 0, 0, :] = np.nan
    weights = {
        "dense": dense,
        "transposed": dense.T.copy(),
        "same": dense.copy(),
        "kernel": kernel,
        "flipped": kernel[::-1, ::-1].transpose(0, 1, 3, 2).copy(),
        "channels_first": kernel.transpose(3, 2, 0, 1).copy(),
        "reversed": kernel[:, ::-1].copy(),
    }
    whole = model(weights)
    shared = model(weights)
    shared_weights.share(shared)
    onnx.checker.check_model(shared)
    assert floats(shared) == ["dense", "kernel"]
    assert shared.ByteSize() < 0.4 * whole.ByteSize()
    for got, expected in zip(outputs(shared), weights.values(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_weights_of_their_own_and_small_ones_stay():
    rng = np.random.default_rng(1)
    weights = {
        "one": rng.standard_normal((20, 30)).astype("float32"),
        "other": rng.standard_normal((20, 30)).astype("float32"),
        "small": np.eye(3, dtype="float32"),
        "small_again": np.eye(3, dtype="float32"),
    }
    # The same numbers, in no order that nodes make.
    weights["shuffled"] = rng.permutation(weights["one"].ravel()).reshape(20, 30)
    shared = model(weights)
    shared_weights.share(shared)
    assert shared == model(weights)


def test_a_pullback_has_the_weights_of_its_map(tmp_path):
    # The exact log-det multiplies by the transposed matrices; each is in the file once.
    flow = kf.models.IDenseNet((6,), blocks=1, depth=2, growth=24)
    kf.export.to_onnx(flow, tmp_path / "export", graphs=["log_prob"])
    graph = onnx.load(tmp_path / "export" / "log_prob.onnx").graph
    kernels = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    numbers = [np.sort(k, axis=None).tobytes() for k in kernels if k.ndim > 1 and k.nbytes > 1024]
    assert numbers and len(set(numbers)) == len(numbers)


@pytest.mark.slow
def test_a_convolution_and_its_pullback_have_one_kernel(tmp_path):
    flow = kf.models.IDenseNet((8, 8, 1), blocks=[1], depth=2, growth=24, fully_connected=None)
    kf.export.to_onnx(flow, tmp_path / "export", graphs=["log_prob"])
    graph = onnx.load(tmp_path / "export" / "log_prob.onnx").graph
    kernels = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    numbers = [np.sort(k, axis=None).tobytes() for k in kernels if k.ndim > 2 and k.nbytes > 1024]
    assert numbers and len(set(numbers)) == len(numbers)
    assert any(node.op_type == "Slice" and "/turned" in node.input[0] for node in graph.node)
