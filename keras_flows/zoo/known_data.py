"""What is known of the data that flows are trained on: licence, and its name on Hugging Face."""

from typing import NamedTuple


class KnownData(NamedTuple):
    """A data set.

    Attributes:
        title: What people call it.
        licence: Its licence, as its authors or its archive state it.
        hugging_face: Its name on Hugging Face, None where it has none.
        not_for: What a flow on it must not be used for, beside decisions about people, and why; a
            clause, empty where there is nothing to add.
    """

    title: str
    licence: str
    hugging_face: str | None = None
    not_for: str = ""


def _uci(title, authors, not_for=""):
    """A table of the UCI archive."""
    return KnownData(
        title, f"CC BY 4.0 (UCI Machine Learning Repository: {authors})", None, not_for
    )


_SETS = {
    "digits": KnownData(
        "the handwritten digits of the UCI archive, as in scikit-learn", "CC BY 4.0"
    ),
    "photographs": KnownData(
        "photographs, as patches",
        "public domain, CC0, and CC BY 2.0 (danielbuechele, vultilion)",
    ),
    "mnist": KnownData("MNIST", "CC BY-SA 3.0", "ylecun/mnist"),
    "cifar10": KnownData("CIFAR-10", "none stated by its authors", "uoft-cs/cifar10"),
    "UCI Iris": _uci("iris flowers", "R. A. Fisher"),
    "UCI Wine": _uci(
        "chemical analyses of wines",
        "S. Aeberhard and M. Forina",
        "to judge whether a wine is safe",
    ),
    "UCI Breast Cancer Wisconsin": _uci(
        "nuclei of breast cells",
        "W. Wolberg, O. Mangasarian, N. Street and W. Street",
        "for diagnosis, triage or any decision about a patient: the rows are of one hospital in "
        "the early 1990s, benign and malignant ones mixed",
    ),
    "UCI MAGIC Gamma Telescope": _uci(
        "simulated telescope images of gamma rays and hadrons",
        "R. Bock",
        "for measurements: the events are simulated, and not in the proportions of the sky",
    ),
    "UCI Page Blocks": _uci("blocks of scanned pages", "D. Malerba"),
    "UCI Pen Digits": _uci(
        "digits written with a pen",
        "E. Alpaydin and F. Alimoglu",
        "to tell writers apart or to judge handwriting: it is of 44 writers",
    ),
    "UCI Landsat Satellite": _uci(
        "neighbourhoods in one satellite image",
        "A. Srinivasan",
        "on other places or sensors: all rows are of one scene",
    ),
    "UCI Red Wine Quality": _uci(
        "analyses of red vinho verde",
        "P. Cortez, A. Cerdeira, F. Almeida, T. Matos and J. Reis",
        "to judge whether a wine is safe",
    ),
    "UCI Vehicle Silhouettes": _uci(
        "silhouettes of four vehicles",
        "P. Mowforth and B. Shepherd",
        "for recognition on roads: the silhouettes are of four toy vehicles in a laboratory",
    ),
    "UCI Abalone": _uci(
        "sizes and weights of abalone, given their sex",
        "W. Nash, T. Sellers, S. Talbot, A. Cawthorn and W. Ford",
        "for fishing quotas: the animals are of one place and time",
    ),
    "UCI Letter Recognition": _uci("features of printed capital letters", "D. Slate"),
    "UCI Vowels": _uci(
        "linear-prediction coefficients of eleven English vowels, given the vowel",
        "D. Deterding, M. Niranjan and T. Robinson",
        "to tell speakers apart or to judge speech: it is of 15 speakers",
    ),
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
