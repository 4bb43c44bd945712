"""Many images as one."""

import numpy as np
from numpy.typing import ArrayLike

from keras_flows import checks


def image_grid(images: ArrayLike, columns: int = 8, highest: float | None = None) -> np.ndarray:
    """Tiles images, row by row, with a black edge of one pixel around each.

    Args:
        images: Array `(n, height, width, channels)` of levels, with one channel (grey) or three
            (RGB). Level 0 is black, and so are levels below it.
        columns: Images in a row; black fills the last one.
        highest: The level that is shown as white, and levels above it too; the highest in the
            images by default.

    Returns:
        uint8 array `(rows (height + 2), columns (width + 2), channels)`.

    Raises:
        ValueError: If the images have another shape, or hold NaN.
    """
    images = np.asarray(images, "float64")
    checks.count(columns, "columns")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            "Images are an array (n, height, width, channels) with one channel or three, and n at "
            f"least 1; got the shape {images.shape}."
        )
    if np.isnan(images).any():
        raise ValueError("The images hold NaN, which is no level.")
    if highest is None:
        highest = max(images.max(), 0.0) or 1.0  # where all is black
    if not highest > 0.0:
        raise ValueError(f"highest must be a positive level; got {highest}.")
    shades = np.rint(255.0 * np.clip(images / highest, 0.0, 1.0)).astype("uint8")
    edge = [(0, -len(shades) % columns), (1, 1), (1, 1), (0, 0)]
    tiles = np.pad(shades, edge)
    _, height, width, channels = tiles.shape
    tiles = tiles.reshape(-1, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, columns * width, channels)
