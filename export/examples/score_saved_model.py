"""Scores rows with an exported SavedModel: NumPy and TensorFlow, without Keras.

    python score_saved_model.py served/1 rows.csv > scores.csv

Where log_prob is random, the noise is that of log_prob_fixed, the same for every row; with --draws,
fresh noise is drawn for every row that many times.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read once, when TensorFlow is imported

import exported
import tensorflow as tf


def main():
    """Prints the scores."""
    given = exported.arguments(__doc__)
    with exported.plain_errors():
        manifest = exported.read_manifest(given.folder, "assets.extra", "saved_model")
        module = tf.saved_model.load(str(given.folder))

        def run(graph, inputs):
            signature = module.signatures[manifest["graphs"][graph]["name"]]
            tensors = {name: tf.constant(array) for name, array in inputs.items()}
            return {name: made.numpy() for name, made in signature(**tensors).items()}

        exported.score(manifest, run, given)


if __name__ == "__main__":
    main()
