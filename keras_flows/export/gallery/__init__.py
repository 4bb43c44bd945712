"""The gallery: a static site that runs exported flows in the visitor's browser."""

from keras_flows.export.gallery.write import to_gallery as to_gallery
