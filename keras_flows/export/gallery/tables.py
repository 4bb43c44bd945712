"""What the gallery shows of a flow on a table beside its graph."""

import numpy as np

from keras_flows.data.columns import Category

# Rows that a column is replaced from, to see which columns make a row unusual, and their seed.
REPLACEMENTS, SEED = 32, 0
# Rows to begin with, and those that the last of them takes an odd value from.
EXAMPLES, _DRAWN = 6, 500


def describe(flow, metadata, folder, data_dir):
    """Rows to begin with, and rows to replace columns from; see `panels.Panel`.

    They are drawn from the flow, because the table itself need not be at hand. The last row to
    begin with has one column of another, the largest of many.
    """
    schema, context = flow.schema, _context(flow, _DRAWN)
    drawn = _inside(flow, _DRAWN, SEED + 1, context)
    rows = drawn[:EXAMPLES].copy()
    column = int(np.argmax(np.ptp(drawn, axis=0) / np.maximum(np.std(drawn, axis=0), 1e-30)))
    if len(schema.event) > 1:
        rows[-1, column] = drawn[np.argmax(drawn[:, column]), column]
    replacements = None
    if not schema.context:
        replacements = _inside(flow, REPLACEMENTS, SEED, None).tolist()
    return {
        "rows": [
            {**dict(zip((c.name for c in schema.event), map(_short, row), strict=True)), **given}
            for row, given in zip(rows, _words(schema, context, EXAMPLES), strict=True)
        ],
        "replacements": replacements,
        "calibration": calibration(flow),
        "missing": None,
    }


def _inside(flow, n, seed, context):
    """Rows drawn from a flow that are in the ranges of its columns, float32 `(n, columns)`."""
    drawn = flow.sample(n, seed=seed, context=context).numpy()
    outside = list(flow.schema.outside(drawn.astype("float64")))
    kept = np.delete(drawn, outside, axis=0)
    if not len(kept):
        raise ValueError(
            f"All of {n} rows drawn from {flow.name} are out of range, the first because "
            f"{flow.schema.outside(drawn.astype('float64'))[0]}: the gallery has no rows to show."
        )
    return kept[np.arange(n) % len(kept)]


def _context(flow, n):
    """Contexts to draw rows for, float32 `(n, size)`: levels in turn, numbers 0; None without."""
    if flow.context_shape is None:
        return None
    parts = []
    for column in flow.schema.context:
        levels = len(column.levels)
        parts.append(np.eye(levels)[np.arange(n) % levels] if levels else np.zeros((n, 1)))
    return np.concatenate(parts, axis=1).astype("float32")


def _words(schema, context, n):
    """The contexts of the first rows as cells of a table, a dictionary for each."""
    cells = [{} for _ in range(n)]
    for i in range(n):
        for column in schema.context:
            category = isinstance(column.kind, Category)
            cells[i][column.name] = column.levels[i % len(column.levels)] if category else 0.0
    return cells


def _short(value):
    return float(f"{value:.6g}")


def calibration(flow):
    """What p-values are by, a dictionary; None for a flow without calibration."""
    made = flow.calibration
    if made is None:
        return None
    return {
        "scores": len(made),
        "statistic": made.statistic,
        "data": made.data,
        "smallest_p_value": made.smallest_p_value,
    }
