"""Scores of PyOD's detectors with their defaults; runs in the environment that has PyOD.

    python pyod_scores.py SPLITS.npz SCORES.npz

For every split `i`, `train_i` and `test_i` are arrays of rows. Written are, for every detector, the
scores of the test rows and the seconds that fitting took, as `NAME_i` and `NAME_seconds_i`.
"""

import sys
import time

import numpy as np
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF

DETECTORS = {
    "ECOD": lambda seed: ECOD(),
    "IForest": lambda seed: IForest(random_state=seed),
    "KNN": lambda seed: KNN(),
    "LOF": lambda seed: LOF(),
    "GMM": lambda seed: GMM(random_state=seed),
}


def main(splits, scores):
    given, made = np.load(splits), {}
    for i in range(len(given.files) // 2):
        for name, make in DETECTORS.items():
            begin = time.perf_counter()
            detector = make(i).fit(given[f"train_{i}"])
            made[f"{name}_seconds_{i}"] = time.perf_counter() - begin
            made[f"{name}_{i}"] = detector.decision_function(given[f"test_{i}"])
    np.savez(scores, **made)


if __name__ == "__main__":
    main(*sys.argv[1:])
