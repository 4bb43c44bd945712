"""A scorer that takes no time, for the tests of what reads and writes."""

import numpy as np

from keras_flows.stream import Scorer, Takes, scorer
from keras_flows.stream.manifest import Scored
from keras_flows.stream.row_noise import by_row


class Small(Takes):
    """Rows that are computed four at a time."""

    batch = 4


class Fake(Scorer):
    """`log_prob = -|x|^2 / 2 + e`, with e the number of its row; p-values by the first column.

    Attributes:
        calls: The rows that were scored, in batches: the first one, and how many.
    """

    likelihood = "unbiased"

    def __init__(self, task="score", seed=0, takes=None, sha256="f" * 64, fdr=None):
        super().__init__(task, seed)
        self.takes = Small((2,)) if takes is None else takes
        self.scored_by = Scored(name="fake", runtime="test", sha256=sha256)
        self.columns = {"log_prob": "float32"}
        if task == "encode":
            self.columns = scorer.latent_columns((2, 2), "float32")
        if task == "detect":
            self.columns, self.options = scorer.decision_columns(), {"alpha": 0.1, "fdr": fdr}
        self.calls = []

    def scores(self, x, context, first):
        self.calls.append((first, len(x)))
        x = x.reshape(len(x), -1).astype("float32")
        if self.task == "encode":
            return {"z": np.repeat(x, 2, axis=1).reshape(-1, 2, 2)}
        if self.task == "detect":
            p_value = 1.0 / (1.0 + np.floor(np.abs(x[:, 0])))
            return {"score": x[:, 0], "p_value": p_value, "flag": p_value <= 0.1}
        e = by_row(self.seed, first, len(x), 1)[:, 0]
        given = 0.0 if context is None else context.reshape(len(x), -1).sum(axis=1)
        return {"log_prob": (given + e - 0.5 * np.sum(x * x, axis=1)).astype("float32")}

    def outside(self, rows):
        return scorer.outside(self.task, rows, 0.01)
