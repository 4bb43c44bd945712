"""The public API: docs/api.md lists it all, it is documented, and old names go on working."""

import importlib
import inspect
import re
import sys
import types
from pathlib import Path

import keras
import pytest

import keras_flows as kf
from keras_flows import _moved

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
LISTED = re.findall(r"^\| `kf\.([\w.]+)` \| \S.* \|$", PAGE.read_text(encoding="utf-8"), re.M)

PACKAGES = (
    "data",
    "detect",
    "export",
    "fitting",
    "layers",
    "measure",
    "models",
    "numerics",
    "plot",
)
PACKAGES += ("stream", "tfp", "training", "transforms", "transforms.columns", "transforms.maps")
PACKAGES += ("transforms.masks", "zoo", "")
# Of these, what they define themselves.
MODULES = ("bases", "noise", "training.recipe")

OF_KERAS = {*dir(keras.Model), *dir(keras.callbacks.Callback)}


def full(name):
    return f"keras_flows.{name}".rstrip(".")


def resolved(name):
    thing = kf
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def public():
    """The names that the packages, the modules and `Flow` have, as the page writes them."""
    for package in PACKAGES:
        module = importlib.import_module(full(package))
        for name in dir(module):
            thing = getattr(module, name)
            own = getattr(thing, "__module__", "keras_flows").partition(".")[0] == "keras_flows"
            if not name.startswith("_") and not inspect.ismodule(thing) and own:
                yield f"{package}.{name}".lstrip(".")
    for name in MODULES:
        module = importlib.import_module(full(name))
        for key, thing in vars(module).items():
            if not key.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
                yield f"{name}.{key}"
    for name in dir(kf.Flow):
        if not name.startswith("_") and not hasattr(keras.Model, name):
            thing = inspect.getattr_static(kf.Flow, name)
            if callable(thing) or isinstance(thing, (property, classmethod)):
                yield f"Flow.{name}"


def members(name):
    """A listed function, or a class with its methods and properties that are this library's."""
    thing = resolved(name)
    if not inspect.isclass(thing):
        return {name: thing} if callable(thing) else {}
    found = {name: thing}
    for parent in reversed(thing.__mro__):
        if parent.__module__.startswith("keras_flows"):
            found.update(
                {
                    f"{name}.{key}": value
                    for key, value in vars(parent).items()
                    if isinstance(value, (types.FunctionType, classmethod, staticmethod, property))
                    and (not key.startswith("_") or key in ("__init__", "__call__"))
                }
            )
    return found


def test_the_page_is_complete():
    assert sorted(set(public()) - set(LISTED)) == []


def test_what_is_on_the_page_exists():
    assert len(LISTED) == len(set(LISTED)) > 100
    for name in LISTED:
        resolved(name)


def test_everything_has_a_docstring():
    missing, seen = [], 0
    for name in LISTED:
        for path, thing in members(name).items():
            key = path.rpartition(".")[2]
            # What __init__ takes is described by the class, and what Keras calls by Keras.
            if key in ("__init__", "__call__") or (path not in LISTED and key in OF_KERAS):
                continue
            if inspect.isclass(thing):
                documented = vars(thing).get("__doc__")
            else:  # a method may have the docstring of the contract that it meets
                documented = inspect.getdoc(resolved(path))
            seen += 1
            if not documented:
                missing.append(path)
    assert missing == []
    assert seen > 300


def test_signatures_are_annotated():
    missing, seen = [], 0
    for name in LISTED:
        for path, thing in members(name).items():
            thing = thing.fget if isinstance(thing, property) else thing
            thing = getattr(thing, "__func__", thing)
            module = f"{thing.__module__}."
            # What TensorFlow Probability puts into its subclasses is its own.
            if inspect.isclass(thing) or not module.startswith("keras_flows."):
                continue
            signature = inspect.signature(thing)
            for parameter in signature.parameters.values():
                if (
                    parameter.name not in ("self", "cls")
                    and parameter.annotation is parameter.empty
                ):
                    missing.append(f"{path}: {parameter.name}")
            if signature.return_annotation is signature.empty and not path.endswith("__init__"):
                missing.append(f"{path}: what it returns")
            seen += 1
    assert missing == []
    assert seen > 200


# Version 0.1 --------------------------------------------------------------------------------------

OLD_MODULES = (
    "added_noise bases checks cli data data.batches data.images data.toy data.toy_distributions "
    "diagnosis elimination errors evaluate export export.cost export.endpoints export.manifest "
    "export.onnx export.parity export.saved_model export.verify files fixed_point flow "
    "image_grid importance inversion layers layers.activations layers.batch_norm "
    "layers.concatenation layers.convolution layers.coupling_network layers.gated_dense_block "
    "layers.lipschitz_layer layers.networks layers.nystrom_attention layers.spectral "
    "layers.spectral_conv lipschitz log_det maximum_likelihood models models.configurations "
    "models.dense_flow models.residual_flows noise plot plot.images plot.noise plot.plane "
    "recipes runner tables tfp training transforms transforms.actnorm transforms.affine "
    "transforms.affine_coupling transforms.base transforms.chain transforms.conv1x1 "
    "transforms.cross_unit_coupling transforms.dequantization transforms.factor_out "
    "transforms.flatten transforms.logit transforms.permutation transforms.residual "
    "transforms.sigmoid transforms.squeeze transforms.squeeze_and_drop transforms.swap_halves "
    "transforms.variational_dequantization zoo zoo.card zoo.checkpoint zoo.checkpoint_denseflow "
    "zoo.checkpoint_images zoo.handles zoo.metadata zoo.preset zoo.weight"
)

OLD_NAMES = {
    "": "ConvergenceError Flow LipschitzError NonFiniteError PresetError __version__ evaluate"
    " inversion",
    "bases": "ChannelNormal StandardNormal",
    "data": "Images ToyDensity images names toy",
    "evaluate": "Evaluation evaluate log_probs summary",
    "export": "to_onnx to_saved_model verify",
    "inversion": "RoundTrip round_trip",
    "layers": "BatchNorm CLipSwish ConditionedDense CouplingNetwork DenseAttentionBlock ELU"
    " GatedConv1x1 GatedDenseBlock LeakyLipSwish LipSwish LipschitzConcatenation"
    " LipschitzDenseLayer LipschitzLayer LipschitzSequential NystromAttention ReLU"
    " ResidualDenseBlock Softplus SpectralConv2D SpectralDense SpectralLayer Tanh"
    " VouchedActivation activation",
    "lipschitz": "Certificate certify",
    "log_det": "Exact PowerSeries Unbiased estimator jacobian power_series",
    "models": "CONFIGURATIONS DenseFlow IDenseNet ResidualFlow from_name",
    "noise": "InputNoise Noise ReplayedNoise ScaledNoise SeededNoise as_seed",
    "plot": "added_noise comparison comparison_of_samples concatenation concatenation_circle"
    " density grid image_grid interpolations reconstructions samples",
    "recipes": "RECIPES Recipe",
    "runner": "build train",
    "tables": "read write",
    "tfp": "FlowBijector FlowDistribution",
    "training": "Cycles SaveState StopOnNonFinite TensorBoardScalars WarmUp averaged",
    "transforms": "ActNorm Affine AffineCoupling Chain Conv1x1 CrossUnitBlock CrossUnitCoupling"
    " FactorOut Flatten Logit Permutation ResidualBlock Reverse Sigmoid Squeeze SqueezeAndDrop"
    " SwapHalves Transform UniformDequantization VariationalDequantization",
    "transforms.base": "LIKELIHOODS Transform event_size sum_event zeros_per_example",
    "zoo": "card import_checkpoint list load save show",
}


@pytest.fixture
def fresh(monkeypatch):
    """Forgets an old name, so that it is imported anew, with its warning."""

    def forget(name):
        package, _, last = full(name).rpartition(".")
        # Not by delattr, which looks first, and so imports it.
        monkeypatch.setitem(vars(importlib.import_module(package)), last, None)
        monkeypatch.delitem(vars(sys.modules[package]), last)
        monkeypatch.delitem(sys.modules, full(name), raising=False)

    return forget


@pytest.mark.parametrize("old", _moved.MODULES)
def test_a_module_that_moved_warns_and_works(fresh, old):
    fresh(old)
    with pytest.warns(
        DeprecationWarning, match=re.escape(f"{full(old)} is {_moved.new_name(old)}")
    ):
        module = importlib.import_module(full(old))
    home = importlib.import_module(_moved.new_name(old))
    assert home.__name__ == _moved.new_name(old)
    names = [name for name in vars(home) if not name.startswith("_")]
    assert names and all(getattr(module, name) is getattr(home, name) for name in names)


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in _moved.NAMES for name in _moved.NAMES[module]]
)
def test_a_name_that_moved_warns_and_works(module, name):
    with pytest.warns(DeprecationWarning):
        thing = getattr(importlib.import_module(full(module)), name)
    assert thing is getattr(importlib.import_module(full(_moved.NAMES[module][name])), name)


def test_what_never_was_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'never'"):
        kf.never  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("keras_flows.never")


def test_what_was_never_in_a_module_that_moved_is_an_error(fresh):
    fresh("recipes")
    with pytest.warns(DeprecationWarning):
        recipes = importlib.import_module("keras_flows.recipes")
    with pytest.raises(AttributeError, match=r"'keras_flows.recipes' has no attribute 'never'"):
        recipes.never  # noqa: B018


@pytest.mark.filterwarnings("ignore:keras_flows:DeprecationWarning")
def test_no_module_vanished():
    for name in OLD_MODULES.split():
        importlib.import_module(full(name))
    assert set(_moved.MODULES) <= set(OLD_MODULES.split())


@pytest.mark.filterwarnings("ignore:keras_flows:DeprecationWarning")
def test_no_name_vanished():
    for module, names in OLD_NAMES.items():
        home = importlib.import_module(full(module))
        assert [name for name in names.split() if not hasattr(home, name)] == [], module
