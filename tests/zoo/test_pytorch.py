"""PyTorch files are read without PyTorch, and nothing in them runs."""

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import keras_flows as kf
from keras_flows.zoo import pytorch
from tests.zoo import torch_files
from tests.zoo.test_checkpoint import PLAIN, plain_state

ExponentialMovingAverage = torch_files.script_class("ExponentialMovingAverage")
ITSELF = torch_files.script_class("ResidualFlow")


def averages(shift, module=None):
    """An object of the training script: averages of the trained weights, beside their model."""
    ema = ExponentialMovingAverage()
    ema.module, ema.decay = module, 0.999
    trained = ("weight", "bias", "beta")
    ema.shadow_params = {
        name: np.asarray(array, "float32") + np.float32(shift)
        for name, array in plain_state().items()
        if name.endswith(trained)
    }
    return ema


def state():
    return OrderedDict((n, np.asarray(a, "float32")) for n, a in plain_state().items())


def script_file(path, legacy=False, **more):
    """What the training script saves."""
    model = ITSELF()
    model.weight = np.ones(3, "float32")
    content = {
        "args": argparse.Namespace(**PLAIN),
        "state_dict": state(),
        "ema": averages(0.25, model),
        "test_bpd": np.float64(3.3),
        **more,
    }
    torch_files.save(content, path, ExponentialMovingAverage, ITSELF, legacy=legacy)


def first_kernel(flow):
    return flow.blocks[1].net.layers[0].dense.kernel.numpy()


@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_of_all_kinds(tmp_path, legacy):
    rng = np.random.default_rng(0)
    content = {
        "transposed": rng.normal(size=(3, 4)).astype("float32").T,
        "double": rng.normal(size=(2, 3)),
        "half": rng.normal(size=5).astype("float16"),
        "integer": np.array(-7),
        "flag": np.array([True, False]),
        "none": np.zeros((0, 3), "float32"),
    }
    torch_files.save(content, tmp_path / "numbers.pt", legacy=legacy)
    made = pytorch.read(tmp_path / "numbers.pt")
    for name, array in content.items():
        assert made[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(made[name].numpy(), array)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    numbers = np.array([1.5, -2.0, 0.15625], "float32")
    halves = (numbers.view("uint32") >> 16).astype("uint16")
    torch_files.save({"x": halves}, tmp_path / "x.pt")
    read = pytorch.read(tmp_path / "x.pt")["x"].numpy()
    assert read.dtype == "float32"
    np.testing.assert_array_equal(read, numbers)


@pytest.mark.parametrize("form", ["state dict", "training script", "before 2020"])
def test_what_the_published_scripts_save(tmp_path, form):
    path = tmp_path / "checkpt.pth"
    if form == "state dict":
        torch_files.save(state(), path)
    else:
        script_file(path, legacy=form == "before 2020")
    flow = kf.zoo.import_checkpoint(path, PLAIN, ema=False)
    np.testing.assert_array_equal(first_kernel(flow), state()["chain.1.nnet.1.weight"].T)


def test_moving_averages_are_read_where_there_are_some(tmp_path):
    script_file(tmp_path / "checkpt.pth")
    flow = kf.zoo.import_checkpoint(tmp_path / "checkpt.pth", PLAIN)
    kernel = state()["chain.1.nnet.1.weight"].T
    np.testing.assert_array_equal(first_kernel(flow), kernel + np.float32(0.25))
    # The singular vectors are those that the published evaluation of the averages left.
    dense = flow.blocks[1].net.layers[0].dense
    np.testing.assert_array_equal(dense.u, state()["chain.1.nnet.1.u"])
    expected = dense.v.numpy() @ (kernel + 0.25) @ dense.u.numpy()
    np.testing.assert_allclose(dense.sigma, expected, rtol=1e-5)


@pytest.mark.parametrize("ema", [averages(0.0).shadow_params, {"chain.9.x": np.zeros(1)}])
def test_averages_in_a_form_that_is_not_known(tmp_path, ema):
    if "chain.9.x" in ema:
        held = ExponentialMovingAverage()
        held.shadow_params = ema
        ema = held
    script_file(tmp_path / "checkpt.pth", ema=ema)
    with pytest.raises(ValueError, match=r"form that is not known.*`shadow_params`.*--no-ema"):
        kf.zoo.import_checkpoint(tmp_path / "checkpt.pth", PLAIN)
    kf.zoo.import_checkpoint(tmp_path / "checkpt.pth", PLAIN, ema=False)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call", [lambda target: (os.mkdir, str(target)), lambda target: (eval, f"open('{target}','w')")]
)
def test_nothing_in_a_file_runs(tmp_path, call):
    target = tmp_path / "made"
    torch_files.save({"state_dict": {}, "extra": Calls(*call(target))}, tmp_path / "code.pt")
    made = pytorch.read(tmp_path / "code.pt")
    assert isinstance(made["extra"], pytorch.StandIn) and not target.exists()
    # It is a pickle that would do it.
    with zipfile.ZipFile(tmp_path / "code.pt") as archive:
        pickle.loads(archive.read("state/data.pkl"))
    assert target.exists()


def test_files_that_cannot_be_read(tmp_path):
    for name, content in (("text.pt", b"no archive"), ("empty.pt", b""), ("zip.pt", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not a readable PyTorch file"):
            kf.zoo.import_checkpoint(tmp_path / name, PLAIN)
    torch_files.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="must hold a state dict"):
        kf.zoo.import_checkpoint(tmp_path / "other.pt", PLAIN)


def test_a_tensor_beyond_its_numbers(tmp_path):
    torch_files.save({"x": np.ones((4, 3), "float32")}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "short.pt", "w") as short,
    ):
        for name in whole.namelist():
            cut = 40 if name.endswith("data/0") else None
            short.writestr(name, whole.read(name)[:cut])
    with pytest.raises(ValueError, match=r"short\.pt .*\(4, 3\) reaches beyond its numbers"):
        kf.zoo.import_checkpoint(tmp_path / "short.pt", PLAIN)


def test_files_of_pytorch_itself(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = {n: torch.tensor(a) for n, a in state().items()}
    for new in (True, False):
        path = tmp_path / f"{new}.pt"
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=new)
        flow = kf.zoo.import_checkpoint(path, PLAIN)
        np.testing.assert_array_equal(first_kernel(flow), state()["chain.1.nnet.1.weight"].T)
