"""Rewrites the zoo tables of README.md from the metadata of the entries."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import marked

from keras_flows import zoo

README = Path(__file__).resolve().parents[1] / "README.md"
SCRIPT = "scripts/update_readme.py"


def tables():
    """The tables of the zoo, Markdown: images, MNIST first, the best first; tables; the plane."""
    entries = zoo.list()
    images = [entry for entry in entries if len(entry.event_shape) == 3]
    images.sort(key=lambda entry: (_data(entry) != "mnist", _data(entry), entry.test.bits_per_dim))
    tables = [entry for entry in entries if entry.columns is not None]
    plane = [entry for entry in entries if entry not in [*images, *tables]]
    return "\n\n".join(
        (
            _table("| on images | parameters | likelihood | test bits/dim |", images),
            _table("| on tables | parameters | columns | test NLL, nats |", tables),
            _table("| on the plane | parameters | test NLL, nats | KL from the truth |", plane),
        )
    )


def _data(entry):
    return entry.training["data"]["images"]


def _table(header, entries):
    rows = [header, "| --- " * 4 + "|"]
    for entry in entries:
        test = entry.test
        card = f"[`{entry.name}`](zoo/{entry.name}/README.md)"
        nll = f"{test.nll:.4f} ± {test.standard_error:.4f}"
        if len(entry.event_shape) == 3:
            numbers = (entry.likelihood, bits_per_dim(test))
        elif entry.columns is not None:
            numbers = (str(len(entry.columns)), f"{nll}, {entry.likelihood.replace('_', ' ')}")
        else:
            numbers = (nll, f"{test.kl_divergence:.4f} ± {test.kl_standard_error:.4f}")
        rows.append(f"| {' | '.join((card, f'{entry.parameters:,}', *numbers))} |")
    return "\n".join(rows)


def bits_per_dim(test):
    """The test result of an entry on images, with its standard error and number of draws."""
    draws = "" if test.importance_samples is None else f", k = {test.importance_samples}"
    return f"{test.bits_per_dim:.4f} ± {test.bits_per_dim_standard_error:.4f}{draws}"


if __name__ == "__main__":
    marked.update(README, SCRIPT, tables())
