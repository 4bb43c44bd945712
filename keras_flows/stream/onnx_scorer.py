"""Rows scored by an exported folder, with NumPy and onnxruntime alone."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from keras_flows.data.schema import Schema
from keras_flows.errors import ExportError, NonFiniteError
from keras_flows.export import manifest as exports
from keras_flows.stream import scorer
from keras_flows.stream.manifest import Scored
from keras_flows.stream.row_noise import by_row
from keras_flows.stream.takes import Rows, Takes

# The graph of every task.
_GRAPHS = {"score": "log_prob", "detect": "score", "encode": "encode"}


class OnnxScorer(scorer.Scorer):
    """An exported folder that scores rows.

    Where log_prob takes noise, every row has the same numbers as with a `KerasScorer`; see
    docs/scale.md for what that makes of a flow whose series are cut in an export.

    Args:
        folder: The folder, as `keras_flows.export.to_onnx` writes it.
        task: See `Scorer`.
        seed: See there.
        alpha: Of decisions, the false-positive rate of the flags; that of the export by default.
        fdr: Of decisions, a false-discovery rate, checked and noted; the run finds the discoveries.
        threads: How many batches are computed at a time, each by one thread, so that the bits of a
            score do not depend on it; as many as there are processors by default.
        sha256: The checksum that `scored_by` must have, where it is known.

    Raises:
        ExportError: If it is no such folder, was changed, has no graph for the task, or another
            checksum: then it was replaced.
        ImportError: If onnxruntime is not installed.
        ValueError: If a rate is out of reach.
    """

    def __init__(
        self,
        folder: str | Path,
        task: str,
        seed: int = 0,
        alpha: float | None = None,
        fdr: float | None = None,
        threads: int | None = None,
        sha256: str | None = None,
    ):
        super().__init__(task, seed)
        self._folder = Path(folder)
        self._session: Any = None
        self.threads = available_threads() if threads is None else threads
        described = self._described = exports.read(folder)
        if described.kind != "onnx":
            raise ExportError(f"{folder} is a {described.kind}; export it with --format onnx.")
        self.scored_by = Scored(name=str(folder), runtime="onnx", sha256=described.checksum)
        if sha256 is not None and described.checksum != sha256:
            raise ExportError(
                f"{folder} was replaced: it is {described.checksum[:12]}…, and the run is by "
                f"{sha256[:12]}…. Begin a new run, in another folder."
            )
        self.likelihood = described.likelihood
        self._graph = described.graphs.get(_GRAPHS[task])
        if self._graph is None:
            raise ExportError(
                f"{folder} has no graph {_GRAPHS[task]!r}, which {task} needs: calibrate the flow "
                "by the statistic 'log_prob' or 'typicality', and export it again."
            )
        tensors = {tensor.name: tensor for tensor in self._graph.inputs}
        self._inputs = {name: np.dtype(tensor.dtype) for name, tensor in tensors.items()}
        self.takes = Takes(
            _shape(tensors["x"]),
            _shape(tensors["context"]) if "context" in tensors else None,
            None if described.columns is None else _schema(described.columns),
            None if described.levels is None else described.levels.bit_length() - 1,
        )
        self._loading = threading.Lock()
        self._noise = _shape(tensors["noise"])[0] if "noise" in tensors else 0
        if task == "score":
            self.columns = {"log_prob": self._graph.outputs[0].dtype}
        elif task == "encode":
            z = next(tensor for tensor in self._graph.outputs if tensor.name == "z")
            self.columns = scorer.latent_columns(_shape(z), z.dtype)
        else:
            self.columns = scorer.decision_columns()
            self.options = self._levels(alpha, fdr)

    def _levels(self, alpha, fdr):
        """The rates of decisions, checked."""
        calibration, alpha = self._described.calibration, alpha or self._described.alpha
        assert calibration is not None and alpha is not None  # with the graph they are there
        if calibration.statistic != "log_prob":
            raise ExportError(
                f"{self._folder} has p-values by {calibration.statistic!r}, but not that "
                "statistic itself. Use --runtime keras, or calibrate by 'log_prob'."
            )
        self._smallest = 1.0 / (calibration.scores + 1)
        for level, name in ((alpha, "alpha"), (fdr, "fdr")):
            if level is not None and not self._smallest <= level <= 1.0:
                raise ValueError(
                    f"{name} = {level:g} is out of reach: with {calibration.scores} held-out rows "
                    f"p-values are from {self._smallest:.3g} to 1."
                )
        return {"alpha": alpha, "fdr": fdr}

    def load(self) -> float:
        """Loads the graph, which scoring does otherwise; the seconds that it took.

        Raises:
            ExportError: If a file of the folder differs from its checksum.
            ImportError: If onnxruntime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                f"Scoring with onnxruntime needs it ({error}): pip install onnxruntime"
            ) from error
        began = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # More would cut a batch where vector instructions end, and round some rows otherwise.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Read once, and compared: what is loaded is what the manifest says.
        exports.check_files(self._folder, self._described)
        content = (self._folder / self._graph.name).read_bytes()
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises many kinds
            raise ExportError(f"{self._graph.name} does not load: {error}") from error
        exports.check_files(self._folder, self._described)
        return time.perf_counter() - began

    def scores(
        self, x: np.ndarray, context: np.ndarray | None, first: int
    ) -> dict[str, np.ndarray]:
        with self._loading:  # of several threads, one loads
            if self._session is None:
                self.load()
        if self.takes.schema is None and self._described.levels is not None:
            self._check_integers(x, first)
        given: dict[str, Any] = {"x": x, "context": context}
        if self._noise:
            given["noise"] = by_row(self.seed, first, len(x), self._noise)
        fed = {name: np.asarray(given[name], dtype) for name, dtype in self._inputs.items()}
        names = [tensor.name for tensor in self._graph.outputs]
        made = dict(zip(names, self._session.run(names, fed), strict=True))
        self._check(made, first)
        if self.task == "score":
            return {"log_prob": made["log_prob"]}
        if self.task == "encode":
            return scorer.latent_arrays(made["z"])
        flag = made["p_value"] <= self.options["alpha"]
        return {"score": -made["log_prob"], "p_value": made["p_value"], "flag": flag}

    def outside(self, rows: Rows) -> dict[str, np.ndarray]:
        smallest = self._smallest if self.task == "detect" else None
        return scorer.outside(self.task, rows, smallest)

    def _check_integers(self, x, first):
        wrong = (x != np.floor(x)) | (x < 0) | (x >= self._described.levels)
        bad = np.flatnonzero(wrong.reshape(len(x), -1).any(axis=1))
        if bad.size:
            raise ValueError(
                f"Row {first + bad[0]} (counted from 0) must hold integers from 0 to "
                f"{self._described.levels - 1}."
            )

    def _check(self, made, first):
        for name, values in made.items():
            nan = np.isnan(values.reshape(len(values), -1)).any(axis=1)
            if nan.any():
                raise NonFiniteError(
                    f"{name} of row {first + nan.argmax()} (counted from 0) is NaN. In Python, "
                    "flow.log_prob of the row says which step it comes from."
                )


def available_threads() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shape(tensor):
    """The shape of a tensor without the batch."""
    return tuple(tensor.shape[1:])


def _schema(columns):
    return Schema.from_json(json.dumps({"columns": columns}))
