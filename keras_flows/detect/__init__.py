"""Anomaly detection: scores, conformal p-values, what they flag, and why.

`FlowDetector` is a detector for tables; it needs scikit-learn: `pip install keras-flows[data]`.
`calibrate` and `scores` are the same for any flow, on images and with a context, too.
"""

from keras_flows.detect.calibration import Calibration as Calibration
from keras_flows.detect.calibration import benjamini_hochberg as benjamini_hochberg
from keras_flows.detect.calibration import fingerprint as fingerprint
from keras_flows.detect.calibration import rows_needed as rows_needed
from keras_flows.detect.decision import Decision as Decision
from keras_flows.detect.decision import decide as decide
from keras_flows.detect.explanation import Conditionals as Conditionals
from keras_flows.detect.explanation import Explanation as Explanation
from keras_flows.detect.explanation import explain as explain
from keras_flows.detect.scoring import calibrate as calibrate
from keras_flows.detect.scoring import scores as scores
from keras_flows.detect.statistics import STATISTICS as STATISTICS
from keras_flows.detect.statistics import Statistic as Statistic
from keras_flows.detect.storage import load_calibration as load_calibration
from keras_flows.detect.storage import save_calibration as save_calibration


def __getattr__(name):
    # Imported when first used: it brings scikit-learn.
    if name == "FlowDetector":
        from keras_flows.detect.detector import FlowDetector

        return FlowDetector
    raise AttributeError(f"module 'keras_flows.detect' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), "FlowDetector"])
