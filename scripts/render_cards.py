"""Renders the model cards of the zoo anew from their metadata, and nothing else.

In `metadata.json` only the checksum of the card changes. `--check` writes nothing, and fails where
a card is not what its metadata give.
"""

import hashlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from keras_flows.zoo import handles, metadata
from keras_flows.zoo.card import FILE, render


def rendered(folder):
    """The card of an entry and its metadata with the card's checksum, both as text."""
    described = metadata.read(folder)
    picture = next((name for name in described.files if name.endswith(".png")), None)
    text = render(described, picture, handle=folder.name)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    before = (folder / metadata.FILE).read_text(encoding="utf-8")
    return text, before.replace(described.files[FILE], checksum)


def outdated(folder):
    """The files of an entry that rendering changes, by path, with their new text."""
    texts = zip((FILE, metadata.FILE), rendered(folder), strict=True)
    changed = {folder / name: text for name, text in texts}
    return {
        path: text for path, text in changed.items() if path.read_text(encoding="utf-8") != text
    }


def main(check):
    found = False
    for name in handles.bundled():
        for path, text in outdated(handles.entries() / name).items():
            found = True
            print(path)
            if not check:
                path.write_text(text, encoding="utf-8", newline="\n")
    if check and found:
        sys.exit("These files are not what scripts/render_cards.py writes: run it.")


if __name__ == "__main__":
    main(check="--check" in sys.argv[1:])
