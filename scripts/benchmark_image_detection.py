"""Which statistic of a flow on MNIST finds other images: AUROC against eight kinds of them.

    python scripts/benchmark_image_detection.py [FLOW …] --data-dir DIR [--images 500]

Usual are test images of MNIST; what there is to find are those images changed (inverted, shuffled,
blurred), images that are simple (one grey level) or noise, and other data that packages ship:
scikit-learn's 8×8 digits, enlarged; letters in the fonts of matplotlib; patches of scikit-learn's
photographs. Constants of a statistic are of 500 further test images. Results go to
docs/image_detection.json, which keeps those of flows that are not measured again, and as tables to
docs/detection.md.
"""

import json
import string
from pathlib import Path
from typing import Annotated

import marked
import matplotlib
import numpy as np
import rich.console
import scipy.ndimage
import sklearn.datasets
import typer
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

import keras_flows as kf
from keras_flows.detect.statistics import STATISTICS

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, PAGE = DOCS / "image_detection.json", DOCS / "detection.md"
SCRIPT = "scripts/benchmark_image_detection.py"
FLOWS = ("denseflow_mnist", "idensenet_lc_mnist", "residual_flow_mnist")
SIDE = 28
_err = rich.console.Console(stderr=True)


def letters(count, rng):
    """Capital and small letters, white on black, in the fonts of matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    fonts = [file for file in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in file.name]
    made = np.zeros((count, SIDE, SIDE, 1), "uint8")
    for image in made:
        canvas = Image.new("L", (SIDE, SIDE))
        font = ImageFont.truetype(fonts[rng.integers(len(fonts))], int(rng.integers(18, 25)))
        place = (SIDE / 2 + rng.uniform(-1, 1), SIDE / 2 + rng.uniform(-1, 1))
        letter = str(rng.choice(list(string.ascii_letters)))
        ImageDraw.Draw(canvas).text(place, letter, fill=255, font=font, anchor="mm")
        image[..., 0] = canvas
    return made


def photographs(count, rng):
    """Grey patches of scikit-learn's two photographs."""
    grey = [np.asarray(Image.fromarray(x).convert("L")) for x in _photographs()]
    patches = []
    for _ in range(count):
        whole = grey[rng.integers(len(grey))]
        top, left = (rng.integers(side - SIDE) for side in whole.shape)
        patches.append(whole[top : top + SIDE, left : left + SIDE])
    return np.stack(patches)[..., None]


def _photographs():
    return [sklearn.datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


def digits(count, rng):
    """The 8×8 digits, enlarged."""
    pixels = sklearn.datasets.load_digits().images * (255 / 16)
    chosen = pixels[rng.permutation(len(pixels))[:count]]
    enlarged = [Image.fromarray(x.astype("uint8")).resize((SIDE, SIDE)) for x in chosen]
    return np.stack([np.asarray(image) for image in enlarged])[..., None]


def unusual(mnist, rng):
    """What there is to find, uint8 images by name; as many of each as of `mnist`."""
    count = len(mnist)
    order = rng.permuted(np.tile(np.arange(SIDE * SIDE), (count, 1)), axis=1)
    shuffled = np.take_along_axis(mnist.reshape(count, -1), order, axis=1).reshape(mnist.shape)
    return {
        "inverted": 255 - mnist,
        "shuffled": shuffled,
        "blurred": scipy.ndimage.gaussian_filter(mnist, (0, 1.5, 1.5, 0)),
        "constant": np.broadcast_to(
            rng.integers(256, size=(count, 1, 1, 1)).astype("uint8"), mnist.shape
        ),
        "noise": rng.integers(256, size=mnist.shape).astype("uint8"),
        "digits 8×8, enlarged": digits(count, rng),
        "letters": letters(count, rng),
        "photographs": photographs(count, rng),
    }


def auroc(usual, other):
    """The area under the ROC curve, and its standard error.

    Source: DeLong, DeLong and Clarke-Pearson 1988, *Comparing the Areas under Two or More
    Correlated Receiver Operating Characteristic Curves*: the variances of the placements.
    """
    placed = [
        (np.searchsorted(np.sort(b), a, side) + np.searchsorted(np.sort(b), a, "right")) / 2
        for a, b, side in ((usual, other, "left"), (other, usual, "left"))
    ]
    parts = [p / len(b) for p, b in zip(placed, (other, usual), strict=True)]
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    labels = np.repeat([0, 1], [len(usual), len(other)])
    return float(roc_auc_score(labels, np.concatenate([usual, other]))), float(error)


def measure(name, data_dir, count, seed=0):
    """`{statistic: {set: (AUROC, standard error)}}` of a flow."""
    flow = kf.zoo.load(name)
    size = flow.event_shape[:2]
    rng = np.random.default_rng(seed)
    stored = kf.data.images("mnist", "test", data_dir=data_dir).pixels
    chosen = rng.permutation(len(stored))[: 2 * count]
    mnist = np.asarray(stored)[np.sort(chosen)][rng.permutation(2 * count)]
    sets = {"": mnist[:count], "constants": mnist[count:], **unusual(mnist[:count], rng)}
    measured = {}
    for title, images in sets.items():
        x = kf.data.images(np.ascontiguousarray(images), resize=size).pixels
        # Typicality measures what log_prob does.
        measured[title] = {
            key: STATISTICS[key].measure(flow, x, None, seed, 1)
            for key in ("log_prob", "latent_norm", "complexity")
        }
        measured[title]["typicality"] = measured[title]["log_prob"]
        _err.print(f"{name}: {title or 'usual'}")
    found = {}
    for key, statistic in STATISTICS.items():
        constants = statistic.constants(measured["constants"][key]) if statistic.fitted else {}
        scores = {title: statistic.scores(m[key], constants) for title, m in measured.items()}
        found[key] = {
            title: auroc(scores[""], scores[title])
            for title in sets
            if title and title != "constants"
        }
    return found


def table(results):
    """Markdown: a table for every flow, kinds of images by statistics."""
    lines = []
    for name, found in results.items():
        lines += ["", f"`{name}`:", "", f"| usual: MNIST | {' | '.join(found)} |"]
        lines.append("| --- " * (len(found) + 1) + "|")
        for title in next(iter(found.values())):
            cells = " | ".join("{:.3f} ± {:.3f}".format(*found[key][title]) for key in found)
            lines.append(f"| {title} | {cells} |")
        means = " | ".join(f"{np.mean([a for a, _ in row.values()]):.3f}" for row in found.values())
        lines.append(f"| mean | {means} |")
    return "\n".join(lines[1:])


def main(
    flows: Annotated[
        list[str] | None, typer.Argument(help="Entries; all on MNIST by default")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Of TensorFlow Datasets")] = None,
    images: Annotated[int, typer.Option(help="Of every kind", min=50)] = 500,
):
    """Measures the statistics, and writes the results into the documentation."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in flows or FLOWS:
        results[name] = measure(name, data_dir, images)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        marked.update(PAGE, SCRIPT, table(results))


if __name__ == "__main__":
    typer.run(main)
