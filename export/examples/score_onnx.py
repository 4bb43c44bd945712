"""Scores rows with an exported ONNX folder: NumPy and onnxruntime, nothing else.

    python score_onnx.py deployed rows.csv > scores.csv

Where log_prob is random, the noise is that of log_prob_fixed, the same for every row; with --draws,
fresh noise is drawn for every row that many times.
"""

import exported
import onnxruntime


def main():
    """Prints the scores."""
    given = exported.arguments(__doc__)
    with exported.plain_errors():
        manifest = exported.read_manifest(given.folder, ".", "onnx")
        sessions = {}

        def run(graph, inputs):
            if graph not in sessions:
                path = given.folder / manifest["graphs"][graph]["name"]
                sessions[graph] = onnxruntime.InferenceSession(
                    str(path), providers=["CPUExecutionProvider"]
                )
            names = [output.name for output in sessions[graph].get_outputs()]
            return dict(zip(names, sessions[graph].run(names, inputs), strict=True))

        exported.score(manifest, run, given)


if __name__ == "__main__":
    main()
