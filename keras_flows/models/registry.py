"""The families of flows, one line each, and what is found in them by name."""

from typing import Any

from keras_flows import checks
from keras_flows.models import (
    anf,
    denseflow,
    flowpp,
    glow,
    interlaced,
    jet,
    macow,
    maf,
    pixelcnn,
    realnvp,
    residual,
    spline,
    survae,
    tarflow,
    vflow,
)
from keras_flows.models.arguments import ModelFlow

FAMILIES = (
    residual.FAMILY,
    denseflow.FAMILY,
    spline.FAMILY,
    maf.FAMILY,
    realnvp.FAMILY,
    pixelcnn.FAMILY,
    glow.FAMILY,
    flowpp.FAMILY,
    survae.FAMILY,
    macow.FAMILY,
    tarflow.FAMILY,
    jet.FAMILY,
    vflow.FAMILY,
    anf.FAMILY,
    interlaced.FAMILY,
)

MODELS = {model.__name__: model for family in FAMILIES for model in family.models}
CONFIGURATIONS = {k: v for family in FAMILIES for k, v in family.configurations.items()}
RECIPES = {name: recipe for family in FAMILIES for name, recipe in family.recipes.items()}


def from_name(name: str, **arguments: Any) -> ModelFlow:
    """A flow of a published configuration, with fresh weights.

    >>> flow = kf.models.from_name("idensenet_cifar10_small", seed=3)

    Args:
        name: A key of `CONFIGURATIONS`, such as `"denseflow_cifar10"` or `"residual_flow_mnist"`.
        **arguments: Arguments of its class to change.

    Raises:
        ValueError: If the name is not known.
    """
    model, published = checks.known(name, CONFIGURATIONS, "configuration")
    return model(**{**published, **arguments})


def recipe(name):
    """The training recipe of that name.

    Raises:
        ValueError: If there is none.
    """
    return checks.known(name, RECIPES, "recipe")


def model(name):
    """A function that makes a flow, from the name of a class or of a published configuration.

    Raises:
        ValueError: If there is neither.
    """
    if name in CONFIGURATIONS:
        return lambda **arguments: from_name(name, **arguments)
    return checks.known(name, {**MODELS, **CONFIGURATIONS}, "model")


def upgraded(name, arguments):
    """Arguments of a model, as a recipe of an earlier version has them, in the present form.

    Args:
        name: Of a class or of a published configuration.
        arguments: A dictionary.
    """
    kind = CONFIGURATIONS[name][0] if name in CONFIGURATIONS else MODELS.get(name)
    if not isinstance(kind, type) or not issubclass(kind, ModelFlow):
        return arguments
    return kind.upgrade(dict(arguments))
