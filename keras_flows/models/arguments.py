"""The arguments of models: written once, in the signature, and kept for the configuration."""

import copy
import functools
import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np

from keras_flows import checks
from keras_flows.flow import Flow
from keras_flows.numerics.configured import Configured

# What every flow has; `Flow` keeps these itself.
_COMMON = ("self", "event_shape", "context_shape", "context_embedding", "dtype")


@dataclass(frozen=True)
class ByEvent:
    """The default of an argument, in the signature, where it depends on what a flow is on.

    Attributes:
        vectors: For a flow on vectors.
        images: For a flow on images.
    """

    vectors: Any
    images: Any


@dataclass(frozen=True)
class OnImages:
    """The default of an argument that only flows on images have.

    Attributes:
        images: The default.
    """

    images: Any


class ModelFlow(Flow):
    """A flow made from arguments, which are its configuration.

    A subclass decorates its `__init__` with `recorded`; `self.arguments` then has every argument of
    the signature but those of all flows, before the body begins. What the body puts in their place
    is what the configuration says.
    """

    arguments = types.SimpleNamespace()

    @classmethod
    def upgrade(cls, config: dict) -> dict:
        """A configuration of an earlier version in the present form; others as they are."""
        return config

    def get_config(self) -> dict:
        recorded = {name: serialized(value) for name, value in vars(self.arguments).items()}
        return {**keras.Model.get_config(self), **recorded, **self._common_config()}

    @classmethod
    def from_config(cls, config: dict) -> Self:
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


def defaults(cls):
    """What the arguments of a model are in its signature, a dictionary."""
    parameters = inspect.signature(cls.__init__).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def settle(model, event_shape):
    """Puts the defaults of such events in place; what is for other events is gone afterwards.

    Args:
        model: A `ModelFlow` whose `arguments` are as they were given.
        event_shape: Its events: a vector, or an image.

    Raises:
        ValueError: If an argument of images was given for a flow on vectors.
    """
    on_images, standards = len(event_shape) == 3, defaults(type(model))
    for name, value in list(vars(model.arguments).items()):
        standard = standards[name]
        given = value is not standard
        if isinstance(standard, ByEvent) and (not given or value is None):
            setattr(model.arguments, name, standard.images if on_images else standard.vectors)
        elif isinstance(standard, OnImages) and not on_images:
            if given:
                raise ValueError(
                    f"{name} is for images; this flow is on vectors, of shape {event_shape}."
                )
            delattr(model.arguments, name)
        elif isinstance(standard, OnImages) and not given:
            setattr(model.arguments, name, standard.images)


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
