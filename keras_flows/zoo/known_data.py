"""What is known of the data that flows are trained on: licence, and its name on Hugging Face."""

from typing import NamedTuple


class KnownData(NamedTuple):
    """A data set.

    Attributes:
        title: What people call it.
        licence: Its licence, as its authors or its archive state it.
        hugging_face: Its name on Hugging Face, None where it has none.
    """

    title: str
    licence: str
    hugging_face: str | None = None


_SETS = {
    "digits": KnownData(
        "the handwritten digits of the UCI archive, as in scikit-learn", "CC BY 4.0"
    ),
    "mnist": KnownData("MNIST", "CC BY-SA 3.0", "ylecun/mnist"),
    "cifar10": KnownData("CIFAR-10", "none stated by its authors", "uoft-cs/cifar10"),
}


def of(metadata):
    """What is known of the data of a preset.

    Args:
        metadata: A `keras_flows.zoo.metadata.Metadata`.

    Returns:
        A `KnownData`, or None.
    """
    if is_toy(metadata):
        return KnownData(f"the {name(metadata)} density", "not needed: drawn from a formula")
    return _SETS.get(name(metadata))


def name(metadata):
    """The name of the data of a preset, without split and version: "mnist", "two moons"."""
    described = metadata.data or (metadata.test.data if metadata.test else "")
    return described.split(",")[0].split(":")[0].split("/")[0].strip()


def is_toy(metadata):
    """Whether the data are drawn from a toy density."""
    data = metadata.training.get("data")
    return isinstance(data, dict) and "toy" in data
