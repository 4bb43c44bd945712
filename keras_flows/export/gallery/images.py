"""What the gallery shows of a flow on images beside its graphs."""

import numpy as np

from keras_flows import data
from keras_flows.bases import ChannelNormal, StandardLogistic, StandardNormal
from keras_flows.export import manifest, onnx
from keras_flows.export.gallery.tables import calibration

# Pixels on a side: of larger ones a drawing is none.
LARGEST = 64
# Test images whose scores a drawing is compared with, and of those how many can be chosen.
SCORED, SHOWN = 1000, 24
_BATCH = 50


def describe(flow, metadata, folder, data_dir):
    """Levels, test images, and the scores of more of them; see `panels.Panel`.

    The scores are those of the exported graph: what the page computes of the same image.
    """
    made = metadata.training.get("data")
    name = made.get("images") if isinstance(made, dict) else None
    pixels, missing, test = None, None, None
    if name is None:
        missing = "The preset does not say which images it was trained on: none are shown."
    else:
        try:
            test = data.images(
                name,
                split="test",
                data_dir=data_dir,
                bits=flow.bits,
                resize=made.get("resize"),
                labels=labelled(flow),
            )
        except (FileNotFoundError, ImportError) as error:
            missing = f"The test images are not at hand, and there is no percentile: {error}"
    scores, labels = None, None
    if test is not None:
        some = spread(len(test), SCORED)
        pixels = np.asarray(test.pixels[some])
        labels = None if test.labels is None else np.asarray(test.labels[some])
        scores = _scores(folder, pixels, labels)
        shown = spread(len(pixels), SHOWN)
        pixels, labels = pixels[shown], None if labels is None else labels[shown]
    else:
        if labelled(flow):
            labels = np.arange(SHOWN) % flow.labels
        drawn = flow.sample(SHOWN, seed=0, context=labels)
        pixels = np.clip(drawn.numpy(), 0, 2**flow.bits - 1)
    return {
        "size": list(flow.event_shape),
        "levels": 2**flow.bits,
        # The digits of scikit-learn take 17 of 32 levels.
        "highest": int(pixels.max()),
        "base": base(flow),
        "labels": flow.labels if labelled(flow) else None,
        "images": pixels.astype(int).reshape(len(pixels), -1).tolist(),
        "labels_of_images": None if labels is None else labels.tolist(),
        "images_are": "drawn from the flow" if test is None else f"{test.name}",
        "scores": None if scores is None else np.sort(scores).round(4).tolist(),
        "calibration": calibration(flow),
        "missing": missing,
    }


def spread(n, most):
    """At most so many of n indices, evenly: the patches of a photograph lie beside each other."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def labelled(flow):
    """Whether the context of a flow is a label, an integer."""
    return flow.context_shape == () and flow.labels is not None


def _scores(folder, pixels, labels):
    """The log_prob of images, given their labels, by the exported graph that needs no noise."""
    described = manifest.read(folder)
    name = next(n for n in ("score", "log_prob_fixed", "log_prob") if n in described.graphs)
    run = onnx.Onnx().load(folder, described)[name].run
    inputs = {"x": pixels.astype(described.graphs[name].inputs[0].dtype)}
    if labels is not None:
        inputs["context"] = labels.astype("int32")
    made = [
        run({key: value[i : i + _BATCH] for key, value in inputs.items()})["log_prob"]
        for i in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(made).astype("float64")


def base(flow):
    """The base density, which the page draws from at a temperature, and whose mode it walks around.

    Returns:
        A dictionary with its `kind`, `"normal"` or `"logistic"`, and `location` and `scale` for
        every number of a latent, None of the standard one; None where it is of neither kind.
    """
    if isinstance(flow.base, (StandardNormal, StandardLogistic)):
        kind = "normal" if isinstance(flow.base, StandardNormal) else "logistic"
        return {"kind": kind, "location": None, "scale": None}
    if not isinstance(flow.base, ChannelNormal):
        return None
    location, scale = (
        np.broadcast_to(part, flow.latent_shape).ravel().astype("float64").round(6).tolist()
        for part in (flow.base.loc.numpy(), np.exp(flow.base.log_scale.numpy()))
    )
    return {"kind": "normal", "location": location, "scale": scale}
