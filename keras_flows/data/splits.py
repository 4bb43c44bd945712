"""Splits of rows in three parts that share no row: equal rows stay together."""

from collections.abc import Sequence

import numpy as np


def equal_rows(values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of equal rows that each row belongs to, and the sizes of the groups.

    Args:
        values: The columns, arrays of numbers `(n,)` or `(n, k)`.

    Returns:
        The indices of the groups, integers `(n,)`, and the sizes of all groups.
    """
    parts = [np.asarray(part, np.float64).reshape(len(part), -1) for part in values]
    # Adding 0 makes -0 the same bytes as 0; bytes are sorted faster than rows.
    rows = np.ascontiguousarray(np.concatenate(parts, axis=1) + 0.0)
    as_bytes = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[:, 0]
    _, groups, sizes = np.unique(as_bytes, return_inverse=True, return_counts=True)
    return groups, sizes


def assign(
    groups: np.ndarray,
    sizes: np.ndarray,
    labels: Sequence[np.ndarray],
    each: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide rows at random into training, validation and test.

    Args:
        groups: The groups of the rows, as `equal_rows` returns them.
        sizes: Their sizes.
        labels: Labels `(n,)`, each value of which must be in training.
        each: How many rows validation and test have at most. They have as many unless that would
            take a group apart.
        generator: Where the permutation comes from.

    Returns:
        The indices of the rows of the three parts, in ascending order.
    """
    order = generator.permutation(len(sizes))
    pinned = _first_of_every_label(order, groups, labels)
    parts = np.zeros(len(sizes), int)
    room = {1: each, 2: each}
    for group in order:
        # A group too large for what is left goes to the next part; training takes any.
        part = next((p for p in (2, 1) if not pinned[group] and sizes[group] <= room[p]), 0)
        if part:
            parts[group] = part
            room[part] -= sizes[group]
    train, validation, test = (np.flatnonzero(parts[groups] == part) for part in range(3))
    return train, validation, test


def _first_of_every_label(order, groups, labels) -> np.ndarray:
    """Whether each group is the first in the order that has some label."""
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    pinned = np.zeros(len(order), bool)
    for values in labels:
        first = np.full(values.max() + 1, len(order))
        np.minimum.at(first, values, rank[groups])
        # A part of a table may lack some labels.
        pinned[order[first[first < len(order)]]] = True
    return pinned
