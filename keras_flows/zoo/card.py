"""Model cards: the README.md of a preset, from its metadata."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from keras_flows.errors import PresetError
from keras_flows.files import read_text
from keras_flows.zoo import handles, known_data, scope

FILE = "README.md"
_MEANING = {
    "exact": "exact log-likelihoods",
    "unbiased": "unbiased estimates of log-likelihoods",
    "lower_bound": "lower bounds on log-likelihoods",
    "biased": "biased estimates of log-likelihoods",
}


def card(handle: str | Path) -> str:
    """The model card of a preset, Markdown; arguments and errors as in `keras_flows.zoo.load`."""
    return read_text(handles.resolve(handle) / FILE, "preset", PresetError)


def render(metadata, picture=None, handle=None):
    """The model card as Markdown with the Hugging Face YAML header.

    Args:
        metadata: A `keras_flows.zoo.metadata.Metadata`.
        picture: File name of the picture, or None.
        handle: What loads the preset wherever the card is read; None for a preset that has no
            address yet.

    Returns:
        The text of the card.
    """
    sections = [
        f"---\n{yaml.safe_dump(_header(metadata), sort_keys=False)}---",
        f"# {_line(metadata.name)}",
        _line(metadata.summary),
        f"![{_line(metadata.name)}]({picture})" if picture else "",
        _use(metadata, handle),
        f"## Intended use\n\n{scope.intended_use(metadata)}",
        f"## Limitations\n\n{scope.limitations(metadata)}",
        f"## Out of distribution\n\n{scope.out_of_distribution(metadata)}",
        _columns(metadata),
        "## Facts\n\n" + _table(_facts(metadata)),
        "## Training\n\n" + (_table(flat(metadata.training)) or "Not recorded."),
        "## Versions\n\n" + _table(metadata.versions.items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(metadata):
    images = len(metadata.event_shape) == 3 and metadata.context_shape is None
    header = {
        "library_name": "keras-flows",
        "license": metadata.licence,
        # Of the tasks that Hugging Face knows none is density estimation.
        "pipeline_tag": "unconditional-image-generation" if images else "other",
        "tags": ["keras", "tensorflow", "normalizing-flow", "density-estimation"],
    }
    known = known_data.of(metadata)
    if known is not None and known.hugging_face is not None:
        header["datasets"] = [known.hugging_face]
    if metadata.test is not None:
        metrics = _metrics(metadata)
        result = {
            "task": {"type": "density-estimation"},
            "dataset": {"name": metadata.test.data, "type": _data_type(metadata, known)},
            "metrics": metrics,
        }
        header["metrics"] = [metric["type"] for metric in metrics]
        header["model-index"] = [{"name": metadata.name, "results": [result]}]
    return header


def _metrics(metadata):
    """The test results; each says what it is: unit, likelihood, draws."""
    test, kind = metadata.test, metadata.likelihood
    if test.importance_samples is not None:
        kind += f", importance-weighted, {test.importance_samples} draws"
    metrics = [
        {
            "type": "negative-log-likelihood",
            "name": f"negative log-likelihood (nats, {kind})",
            "value": round(test.nll, 4),
        }
    ]
    if test.bits_per_dim is not None:
        metrics.append(
            {
                "type": "bits-per-dim",
                "name": f"bits per dimension ({kind})",
                "value": round(test.bits_per_dim, 4),
            }
        )
    return metrics


def _data_type(metadata, known):
    """The identifier of the data: that of Hugging Face, or the name in one word."""
    if known is not None and known.hugging_face is not None:
        return known.hugging_face
    return re.sub(r"\W+", "-", known_data.name(metadata)).strip("-") or "unnamed"


def _use(metadata, handle):
    conditional = metadata.context_shape is not None
    context, sample_context = (", context", ", context=context") if conditional else ("", "")
    decide = ""
    if metadata.columns is not None and metadata.calibration is not None:
        decide = (
            'kf.detect.decide(flow, "new.csv", alpha=0.05)  # score, p-value and flag of rows\n'
        )
    where = f'"{handle}")' if handle else '"path/of/the/folder")  # or "hf://user/repository", …'
    return (
        "## Use\n\n```python\nimport keras_flows as kf\n\n"
        f"flow = kf.zoo.load({where}\n"
        f"flow.log_prob(x{context})  # nats per example\n"
        f"flow.sample(1000, seed=0{sample_context})\n"
        f"{decide}```"
    )


def _columns(metadata):
    """The columns of a table, Markdown; empty for other data."""
    if metadata.columns is None:
        return ""
    rows = [f"| {_cell(c.name)} | {c.part} | {_cell(c.kind)} |" for c in metadata.columns]
    head = "| column | part | kind |\n| --- | --- | --- |"
    return "\n".join([f"## Columns\n\n{head}", *rows])


def _facts(metadata):
    fitted = metadata.training.get("model") if metadata.columns is not None else None
    behind = "" if fitted in (None, metadata.model) else f", with the steps of a `{fitted}`"
    yield "Model", f"`{metadata.model}`{behind}"
    yield "Event shape", f"`{tuple(metadata.event_shape)}`"
    if metadata.context_shape is not None:
        yield "Context shape", f"`{tuple(metadata.context_shape)}`"
    yield "Trainable parameters", f"{metadata.parameters:,}"
    yield "Likelihood", f"{metadata.likelihood}: `log_prob` gives {_MEANING[metadata.likelihood]}"
    if metadata.estimator is not None:
        yield "Log-det estimator", metadata.estimator
    if metadata.data is not None:
        yield "Data", metadata.data
    if metadata.test is not None:
        test = metadata.test
        yield (
            "Test negative log-likelihood",
            f"{test.nll:.4f} ± {test.standard_error:.4f} nats "
            f"(mean ± standard error over {test.examples:,} examples: {test.data})",
        )
        if test.kl_divergence is not None:
            yield (
                "KL divergence from the true density",
                f"{test.kl_divergence:.4f} ± {test.kl_standard_error:.4f} nats, same examples",
            )
        if test.bits_per_dim is not None:
            yield (
                "Test bits per dimension",
                f"{test.bits_per_dim:.4f} ± {test.bits_per_dim_standard_error:.4f}",
            )
        if test.importance_samples is not None:
            yield (
                "Estimator of the test result",
                f"importance-weighted bound of {test.importance_samples:,} draws",
            )
    if metadata.test is not None and metadata.test.accuracy is not None:
        yield (
            "Accuracy as a classifier",
            f"{metadata.test.accuracy:.4f} ± {metadata.test.accuracy_standard_error:.4f}: the "
            "label of the highest `log_prob`, which is Bayes' rule for labels that are equally "
            f"frequent; the first {metadata.test.accuracy_examples:,} examples",
        )
    if metadata.calibration is not None:
        held = metadata.calibration
        yield (
            "Calibration",
            f"{held.scores:,} held-out scores ({held.statistic}) of {held.data}, SHA-256 "
            f"{held.data_sha256[:12]}…: p-values down to 1/{held.scores + 1:,}",
        )
    if metadata.lipschitz:
        yield (
            "Lipschitz certificate",
            f"every residual block has a bound of at most {metadata.largest_bound:.6f}",
        )
    if metadata.inverse is not None:
        inverse = metadata.inverse
        yield (
            "Inverse",
            f"fixed point to {inverse.tolerance:g}, at most {inverse.max_iterations} iterations; "
            f"largest round-trip error {inverse.round_trip_error:.1e} on "
            f"{inverse.round_trip_examples:,} samples"
            + (", from black to white being 1" if len(metadata.event_shape) == 3 else ""),
        )
    yield "Licence of the code and the weights", metadata.licence
    known = known_data.of(metadata)
    yield (
        "Licence of the data",
        metadata.data_licence or (known.licence if known is not None else "not recorded"),
    )


def flat(values, prefix=""):
    """Nested dictionaries as rows, their keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _line(text):
    """A text on one line, as a heading, a sentence or a cell needs it."""
    return " ".join(str(text).split())


def _cell(value):
    return _line(value).replace("|", "\\|")


def _table(rows):
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *rows]) if rows else ""
