"""Modules that moved: their old names go on working for one version, with a warning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings

# By the old name, without the package's, in version 0.1. To be deleted in version 0.3.
MODULES = {
    "added_noise": "models.denseflow.added_noise",
    "diagnosis": "transforms.diagnosis",
    "elimination": "numerics.elimination",
    "export.parity": "export.compare",
    "evaluate": "measure.evaluation",
    "fixed_point": "numerics.fixed_point",
    "image_grid": "plot.tiles",
    "importance": "numerics.importance",
    "inversion": "measure.inversion",
    "layers.activations": "layers.lipschitz.activations",
    "layers.batch_norm": "layers.coupling.batch_norm",
    "layers.concatenation": "layers.lipschitz.concatenation",
    "layers.convolution": "layers.coupling.convolution",
    "layers.coupling_network": "layers.coupling.network",
    "layers.gated_dense_block": "layers.coupling.gated_dense_block",
    "layers.lipschitz_layer": "layers.lipschitz.layer",
    "layers.networks": "layers.lipschitz.networks",
    "layers.nystrom_attention": "layers.coupling.nystrom_attention",
    "layers.spectral": "layers.lipschitz.spectral",
    "layers.spectral_conv": "layers.lipschitz.spectral_conv",
    "lipschitz": "measure.certificate",
    "log_det": "numerics.log_det",
    "maximum_likelihood": "training.model",
    "models.configurations": "models.registry",
    "models.dense_flow": "models.denseflow",
    "models.residual_flows": "models.residual",
    "recipes": "models.registry",
    "runner": "training.run",
    "tables": "data.tables",
    "transforms.affine_coupling": "transforms.coupling",
    "transforms.cross_unit_coupling": "models.denseflow.cross_unit_coupling",
    "zoo.checkpoint_denseflow": "models.denseflow.checkpoint",
    "zoo.checkpoint_images": "models.residual.checkpoint_images",
    "zoo.weight": "models.weight",
}


# Names inside modules, by the module's name without the package's: where each is now.
NAMES = {
    "recipes": {"Recipe": "training.recipe"},
    "transforms": {
        "CrossUnitBlock": "models.denseflow",
        "CrossUnitCoupling": "models.denseflow",
    },
    "transforms.base": {
        "event_size": "numerics.events",
        "sum_event": "numerics.events",
        "zeros_per_example": "numerics.events",
    },
}


def attribute(module, name):
    """The attribute of a module that has moved to another; for a module's `__getattr__`.

    Raises:
        AttributeError: If there never was one.
    """
    new = NAMES.get(module.partition(".")[2], {}).get(name)
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    message = f"{module}.{name} is keras_flows.{new}.{name} now; the old name goes in version 0.3."
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return getattr(importlib.import_module(f"keras_flows.{new}"), name)


def new_name(old):
    """Where a module is now, None for one that never moved."""
    new = MODULES.get(old)
    return None if new is None else f"keras_flows.{new}"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that moved by their old names."""

    def find_spec(self, fullname, path=None, target=None):
        package, _, old = fullname.partition(".")
        if package == "keras_flows" and old in MODULES:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec):
        new = new_name(spec.name.partition(".")[2])
        message = f"{spec.name} is {new} now; the old name goes in version 0.3."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return _Alias(spec.name, importlib.import_module(new))

    def exec_module(self, module):
        pass


class _Alias(types.ModuleType):
    """A module that has the attributes of another."""

    def __init__(self, name, home):
        super().__init__(name, home.__doc__)
        self._home = home

    def __getattr__(self, name):
        if hasattr(self._home, name):
            return getattr(self._home, name)
        return attribute(self.__name__, name)


def install():
    """Makes the old names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
