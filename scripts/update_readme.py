"""Rewrites the zoo table of README.md from the metadata of the entries."""

from pathlib import Path

import marked

from keras_flows import zoo

README = Path(__file__).resolve().parents[1] / "README.md"
SCRIPT = "scripts/update_readme.py"


def table():
    """The table of the zoo, Markdown."""
    rows = [
        "| entry | parameters | likelihood | test NLL, nats | KL from the truth, nats |",
        "| --- " * 5 + "|",
    ]
    for entry in zoo.list():
        test = entry.test
        nll = kl = ""
        if test is not None:
            nll = f"{test.nll:.4f} ± {test.standard_error:.4f}"
        if test is not None and test.kl_divergence is not None:
            kl = f"{test.kl_divergence:.4f} ± {test.kl_standard_error:.4f}"
        card = f"[`{entry.name}`](zoo/entries/{entry.name}/README.md)"
        cells = (card, f"{entry.parameters:,}", entry.likelihood, nll, kl)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    marked.update(README, SCRIPT, table())
