"""Patches of the colour photographs that scikit-image and scikit-learn ship.

| photograph | split | package | licence |
| --- | --- | --- | --- |
| astronaut | train | scikit-image | public domain, NASA |
| chelsea | train | scikit-image | CC0, Stefan van der Walt |
| rocket | train | scikit-image | public domain, SpaceX |
| china.jpg | train | scikit-learn | CC BY 2.0, danielbuechele |
| coffee | test | scikit-image | CC0, Rachel Michetti |
| flower.jpg | test | scikit-learn | CC BY 2.0, vultilion |
"""

import numpy as np

from keras_flows import checks

NAME = "photographs"
# Patches of a photograph that is in one split only, so that no test patch is a neighbour of a
# training patch.
_SPLITS = {
    "train": ("astronaut", "chelsea", "rocket", "china.jpg"),
    "test": ("coffee", "flower.jpg"),
}
SIZES = {f"{NAME}/8x8": 8, f"{NAME}/32x32": 32}


def is_photographs(source: object) -> bool:
    """Whether a source of images is called `"photographs"`, or so with a size of patches."""
    return isinstance(source, str) and source.split("/")[0] == NAME


def patches(source: str, split: str) -> np.ndarray:
    """The patches of a split: the photographs cut along a grid, in raster order.

    What is left at the right and lower edges of a photograph is not in any patch.

    Args:
        source: `"photographs/8x8"` or `"photographs/32x32"`; `"photographs"` is the latter.
        split: `"train"` or `"test"`: of other photographs.

    Returns:
        uint8 array `(n, size, size, 3)`.

    Raises:
        ImportError: If scikit-image or scikit-learn is not installed.
        ValueError: If there is no such size or split.
    """
    size = checks.known(f"{NAME}/32x32" if source == NAME else source, SIZES, "set of photographs")
    names = checks.known(split, _SPLITS, "split of the photographs")
    return np.concatenate([_cut(_photograph(name), size) for name in names])


def _photograph(name):
    try:
        if name.endswith(".jpg"):
            from sklearn.datasets import load_sample_image

            return load_sample_image(name)
        import skimage.data

        return getattr(skimage.data, name)()
    except ImportError as error:
        raise ImportError(
            "The photographs come with scikit-image and scikit-learn: "
            f"pip install 'keras-flows[data]' ({error})"
        ) from error


def _cut(image, size):
    """A photograph as patches `(n, size, size, 3)`."""
    down, across = (side // size for side in image.shape[:2])
    grid = image[: down * size, : across * size].reshape(down, size, across, size, 3)
    return grid.swapaxes(1, 2).reshape(-1, size, size, 3)
