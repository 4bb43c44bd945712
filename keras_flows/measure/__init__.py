"""What a flow is worth: scores on data, round trips, certificates."""

from keras_flows.measure.certificate import Certificate as Certificate
from keras_flows.measure.certificate import certify as certify
from keras_flows.measure.classification import Classification as Classification
from keras_flows.measure.classification import classify as classify
from keras_flows.measure.classification import label_log_probs as label_log_probs
from keras_flows.measure.conditionals import column_order as column_order
from keras_flows.measure.conditionals import conditional_log_probs as conditional_log_probs
from keras_flows.measure.evaluation import Evaluation as Evaluation
from keras_flows.measure.evaluation import evaluate as evaluate
from keras_flows.measure.evaluation import log_probs as log_probs
from keras_flows.measure.inversion import RoundTrip as RoundTrip
from keras_flows.measure.inversion import round_trip as round_trip
