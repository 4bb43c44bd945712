"""Images in files: found, decoded, brought to one size. TensorFlow decodes and resizes them."""

from pathlib import Path

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def paths(folder: Path) -> list[Path]:
    """The images of a folder, those in its subfolders too, in the order of their paths.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder} holds no images; they end in {', '.join(SUFFIXES)}.")
    return found


def decoded(name: str | Path, content: bytes) -> np.ndarray:
    """The pixels of an image file, uint8 `(height, width, 1 or 3)`.

    Args:
        name: What to call it in messages.
        content: The file.

    Raises:
        ValueError: If it is no image, or not one of 8 bits in one channel or three.
    """
    import tensorflow as tf

    if content.startswith(b"\x89PNG") and content[24:25] == b"\x10":
        raise ValueError(f"{name} has 16 bits a channel; images of 8 bits are needed.")
    try:
        image = tf.io.decode_image(content, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{name} cannot be read as an image: {error.message}") from error
    if image.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} has {image.shape[-1]} channels; grey or colour images without "
            "transparency are needed."
        )
    return image.numpy()


def resized(x: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The central parts of the aspect ratio of `size`, resized to it; uint8 to uint8.

    Args:
        x: Images `(n, height, width, channels)`.
        size: `(height, width)`; None for images as they are.
    """
    import tensorflow as tf

    if size is None or x.shape[1:3] == size:
        return x
    height, width = x.shape[1:3]
    scale = min(height / size[0], width / size[1])
    inner = [max(1, round(side * scale)) for side in size]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    x = x[:, top : top + inner[0], left : left + inner[1]]
    smooth = tf.image.resize(x, size, method="bilinear", antialias=True).numpy()
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)
