"""The arguments of models: written once, in the signature, and kept for the configuration."""

import copy
import functools
import inspect
import types
from collections.abc import Mapping

import keras
import numpy as np

from keras_flows import checks
from keras_flows.flow import Flow
from keras_flows.numerics.configured import Configured

# What every flow has; `Flow` keeps these itself.
_COMMON = ("self", "event_shape", "context_shape", "context_embedding", "dtype")


class ModelFlow(Flow):
    """A flow made from arguments, which are its configuration.

    A subclass decorates its `__init__` with `recorded`; `self.arguments` then has every argument of
    the signature but those of all flows, before the body begins. What the body puts in their place
    is what the configuration says.
    """

    arguments = types.SimpleNamespace()

    @classmethod
    def upgrade(cls, config):
        """A configuration of an earlier version in the present form; others as they are."""
        return config

    def get_config(self):
        recorded = {name: serialized(value) for name, value in vars(self.arguments).items()}
        return {**keras.Model.get_config(self), **recorded, **self._common_config()}

    @classmethod
    def from_config(cls, config):
        return super().from_config(cls.upgrade(dict(config)))


def recorded(init):
    """Decorates the `__init__` of a `ModelFlow`, so that its arguments are kept."""
    signature = inspect.signature(init)
    kept = [
        name
        for name, parameter in signature.parameters.items()
        if name not in _COMMON and parameter.kind is not parameter.VAR_KEYWORD
    ]

    @functools.wraps(init)
    def wrapped(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        # Copied: a list that its owner changes later is no argument of this flow.
        own = {name: _own(bound.arguments[name]) for name in kept}
        self.arguments = types.SimpleNamespace(**own)
        init(self, *args, **kwargs)

    return wrapped


def _own(value):
    """Plain data as a copy, an object as it is."""
    return copy.deepcopy(value) if isinstance(value, (list, tuple, dict)) else value


def default(model, name):
    """What an argument of a model is in its signature."""
    return inspect.signature(type(model).__init__).parameters[name].default


def serialized(value):
    """An argument as JSON has it: objects with a configuration as Keras serialises them."""
    if isinstance(value, (tuple, list)):
        return [serialized(one) for one in value]
    if isinstance(value, (keras.layers.Layer, Configured)):
        return keras.saving.serialize_keras_object(value)
    return value.item() if isinstance(value, np.generic) else value


def named(value, kinds, what, dtype, **defaults):
    """An object of its own from what people give for one.

    Args:
        value: A name; a name with arguments, `{"class_name": name, "config": arguments}`, as JSON
            has it; or an object of one of the classes, which is copied, so that no two models
            share it.
        kinds: Dictionary from name to class.
        what: What the names are of, for messages.
        dtype: Dtype policy of what is made, a copy too.
        **defaults: Arguments for a name that does not give them.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, tuple(kinds.values())):
        return type(value).from_config({**value.get_config(), "dtype": dtype})
    arguments = {}
    if isinstance(value, Mapping) and value.keys() == {"class_name", "config"}:
        value, arguments = value["class_name"], value["config"]
    kind = checks.known(value, kinds, what)
    return kind(**{**defaults, **arguments, "dtype": dtype})
