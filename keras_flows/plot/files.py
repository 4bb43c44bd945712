"""Pictures as small files."""

import io
from pathlib import Path

from matplotlib.figure import Figure


def write_png(figure: Figure, path: str | Path, dpi: int, colours: int = 256) -> None:
    """Writes a figure as a PNG of a few colours: half the size of one with all of them, or less.

    Args:
        figure: A figure.
        path: A file.
        dpi: Pixels of an inch.
        colours: At most 256.
    """
    from PIL import Image  # matplotlib needs it

    with io.BytesIO() as file:
        figure.savefig(file, dpi=dpi, format="png")
        picture = Image.open(file).convert("RGB").quantize(colours)
    picture.save(path, optimize=True)
