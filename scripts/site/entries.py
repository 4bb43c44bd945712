"""The zoo: an overview with filters and a page for every entry, from their metadata."""

import html
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from mkdocs.structure.files import File

from keras_flows.zoo import handles, metadata
from keras_flows.zoo.card import render

_CONTEXT = {True: "conditional", False: "unconditional"}
_CALIBRATED = {True: "calibrated", False: "not calibrated"}
# What the overview can be filtered by: name, question, value of an entry.
FACETS = {
    "data": ("Data", lambda entry: kind(entry)),
    "model": ("Model", lambda entry: entry.training.get("model", entry.model)),
    "likelihood": ("Likelihood", lambda entry: entry.likelihood.replace("_", " ")),
    "context": ("Context", lambda entry: _CONTEXT[entry.context_shape is not None]),
    "calibration": ("P-values", lambda entry: _CALIBRATED[entry.calibration is not None]),
}
_HEAD = """# The zoo

Pretrained flows that come with the package: `kf.zoo.load("NAME")` loads one, `keras-flows show
NAME` prints its card. Each was trained by a recipe that runs anew, and is tested on data that took
no part; every number is a mean ± its standard error, and of the kind of likelihood that is named:
[what that means](../explanation/likelihood.md).
"""


def kind(entry):
    """What data an entry is on, in a word."""
    if entry.columns is not None:
        return "tables"
    return {3: "images", 1: "the plane"}[len(entry.event_shape)]


def on_files(files, config):
    """Adds the pages and pictures of all entries, and the overview."""
    entries = []
    for name in handles.bundled():
        folder = handles.entries() / name
        entry = metadata.read(folder)
        picture = next(file for file in entry.files if file.endswith(".png"))
        entries.append((entry, picture))
        place = f"zoo/{name}/{picture}"
        files.append(File.generated(config, place, abs_src_path=str(folder / picture)))
        files.append(File.generated(config, f"zoo/{name}.md", content=_page(entry, picture)))
    files.append(File.generated(config, "zoo/index.md", content=_overview(entries)))
    return files


def _page(entry, picture):
    """The card of an entry, its long tables folded."""
    text = render(entry, f"{entry.name}/{picture}", handle=entry.name)
    text = text.partition("\n---\n")[2].lstrip()
    above = "---\nhide: [navigation]\n---\n\n[:material-arrow-left: The zoo](index.md)\n\n"
    title = f"# {entry.name}\n"
    text = text.replace(title, f"{above}{title}\n{_chips(entry)}\n", 1)
    main, *folded = re.split(r"^## (?=Training$|Versions$)", text, flags=re.M)
    for part in folded:
        title, _, body = part.partition("\n")
        indented = "\n".join(f"    {line}".rstrip() for line in body.strip().split("\n"))
        main += f'??? note "{title}"\n\n{indented}\n\n'
    return main


def _overview(entries):
    filters = "\n".join(_filter(name, entries) for name in FACETS)
    cards = "\n".join(_card(entry, picture) for entry, picture in entries)
    return (
        f"---\nhide: [navigation, toc]\n---\n\n{_HEAD}\n"
        f'<form class="zoo-filters" aria-label="Filter the entries" hidden>\n'
        f'<label>Search<input type="search" name="words" placeholder="name or data"></label>\n'
        f"{filters}\n"
        f'<button type="reset" class="md-button">Clear</button>\n'
        f'<output class="zoo-count" aria-live="polite">{len(entries)} entries</output>\n</form>\n\n'
        f'<ul class="zoo-cards">\n{cards}\n</ul>\n'
    )


def _filter(name, entries):
    question, value = FACETS[name]
    options = "".join(f"<option>{v}</option>" for v in sorted({value(e) for e, _ in entries}))
    return (
        f'<label>{question}<select name="{name}"><option value="">any</option>{options}'
        "</select></label>"
    )


def _card(entry, picture):
    data = " ".join(f'data-{name}="{html.escape(of(entry))}"' for name, (_, of) in FACETS.items())
    words = html.escape(f"{entry.name} {entry.summary} {entry.data}".lower())
    return (
        f'<li class="zoo-card" {data} data-words="{words}"><a href="{entry.name}/">'
        f'<img src="{entry.name}/{picture}" alt="" loading="lazy">'
        f"<strong>{entry.name}</strong></a>"
        f"<p>{html.escape(entry.summary)}</p><p>{_test(entry)}</p>{_chips(entry)}</li>"
    )


def _chips(entry):
    chips = "".join(
        f"<li>{html.escape(value)}</li>"
        for value in (
            *(
                of(entry)
                for name, (_, of) in FACETS.items()
                if name not in ("context", "calibration")
            ),
            f"{entry.parameters:,} parameters",
            *(["calibrated"] if entry.calibration is not None else []),
            *(["conditional"] if entry.context_shape is not None else []),
        )
    )
    return f'<ul class="zoo-chips">{chips}</ul>'


def _test(entry):
    test = entry.test
    if test is None:
        return "Not tested."
    if test.bits_per_dim is not None:
        return f"{test.bits_per_dim:.4f} ± {test.bits_per_dim_standard_error:.4f} bits/dim"
    text = f"{test.nll:.4f} ± {test.standard_error:.4f} nats"
    if test.kl_divergence is not None:
        text += f", KL from the truth {test.kl_divergence:.4f} ± {test.kl_standard_error:.4f}"
    return text
