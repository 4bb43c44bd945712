"""Standard normal numbers that belong to a row, wherever and with whatever rows it is scored."""

import numpy as np

# What the numbers of a row are told apart by from any others of the same seed.
_KEY = 0x6B657261735F666C  # "keras_fl"


def by_row(seed: int, first: int, rows: int, size: int) -> np.ndarray:
    """The numbers of some rows, one after the other.

    Number j of row i depends on the seed, i and j only: Philox counts, and row i has the blocks
    `i b + 1`, …, `(i + 1) b` of it, b the number of blocks that a row needs. Two uniform numbers u
    and v give two normal ones, `sqrt(-2 ln(1 - u)) cos(2 pi v)` and the same with the sine.

    Sources: Salmon et al. 2011, *Parallel Random Numbers: As Easy as 1, 2, 3*; Box and Muller
    1958, *A Note on the Generation of Random Normal Deviates*.

    Args:
        seed: An integer, 0 or more.
        first: The number of the first row, from 0 on.
        rows: How many rows.
        size: How many numbers a row has.

    Returns:
        float32 array `(rows, size)`.
    """
    blocks = -(-size // 4)  # of four words, each a number
    generator = np.random.Philox(key=[seed % 2**64, _KEY], counter=[first * blocks, 0, 0, 0])
    words = generator.random_raw(rows * blocks * 4).reshape(rows, blocks * 2, 2)
    uniform = (words >> np.uint64(11)) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log1p(-uniform[..., 0]))
    angle = 2.0 * np.pi * uniform[..., 1]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return normal.reshape(rows, blocks * 4)[:, :size].astype(np.float32)
