"""From a table to a flow: a recipe over `Flow.fit`, its defaults, and what it reports."""

from keras_flows.fitting.defaults import Settings as Settings
from keras_flows.fitting.defaults import settings as settings
from keras_flows.fitting.report import Report as Report
from keras_flows.fitting.run import Fitted as Fitted
from keras_flows.fitting.run import fit as fit
