"""Model cards: the README.md of a preset, from its metadata."""

from collections.abc import Mapping

import yaml

_MEANING = {
    "exact": "exact log-likelihoods",
    "unbiased": "unbiased estimates of log-likelihoods",
    "lower_bound": "lower bounds on log-likelihoods",
    "biased": "biased estimates of log-likelihoods",
}


def render(metadata, picture=None):
    """The model card as Markdown with the Hugging Face YAML header.

    Args:
        metadata: A `keras_flows.zoo.metadata.Metadata`.
        picture: File name of the picture, or None.

    Returns:
        The text of the card.
    """
    sections = [
        f"---\n{yaml.safe_dump(_header(metadata), sort_keys=False)}---",
        f"# {metadata.name}",
        metadata.summary,
        f"![{metadata.name}]({picture})" if picture else "",
        _use(metadata),
        "## Facts\n\n" + _table(_facts(metadata)),
        "## Training\n\n" + (_table(_flat(metadata.training)) or "Not recorded."),
        "## Versions\n\n" + _table(metadata.versions.items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(metadata):
    header = {
        "library_name": "keras-flows",
        "license": metadata.licence,
        "tags": ["keras", "tensorflow", "normalizing-flow", "density-estimation"],
    }
    if metadata.test is not None:
        result = {
            "task": {"type": "density-estimation"},
            "dataset": {"name": metadata.test.data, "type": metadata.test.data},
            "metrics": [
                {
                    "type": "negative-log-likelihood",
                    "name": f"negative log-likelihood (nats, {metadata.likelihood})",
                    "value": round(metadata.test.nll, 4),
                }
            ],
        }
        header["model-index"] = [{"name": metadata.name, "results": [result]}]
    return header


def _use(metadata):
    context = "" if metadata.context_shape is None else ", context"
    sample_context = "" if metadata.context_shape is None else ", context=context"
    return (
        "## Use\n\n```python\nimport keras_flows as kf\n\n"
        f'flow = kf.zoo.load("{metadata.name}")\n'
        f"flow.log_prob(x{context})  # nats per example\n"
        f"flow.sample(1000, seed=0{sample_context})\n```"
    )


def _facts(metadata):
    yield "Model", f"`{metadata.model}`"
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
    yield "Licence", metadata.licence


def _flat(values, prefix=""):
    """Nested dictionaries as rows, their keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _table(rows):
    rows = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["| | |", "| --- | --- |", *rows]) if rows else ""
