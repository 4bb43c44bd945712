"""The documentation site builds strictly, is whole, and needs no other host."""

import html.parser
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from keras_flows.zoo import handles

pytest.importorskip("mkdocs", reason="needs the extra docs")
nbformat = pytest.importorskip("nbformat")

REPOSITORY = Path(__file__).resolve().parents[2]
LISTED = re.findall(
    r"^\| `kf\.([\w.]+)` \|", (REPOSITORY / "docs/api.md").read_text(encoding="utf-8"), re.M
)


class Page(html.parser.HTMLParser):
    """What a page refers to, loads from elsewhere, and can be referred to."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loads, self.anchors, self.unnamed = path, [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        if tag in ("img", "script", "iframe", "source") and "src" in attrs:
            self.loads.append(attrs["src"])
        if tag == "link" and attrs.get("rel") != "canonical":
            self.loads.append(attrs["href"])
        if tag == "img" and "alt" not in attrs:
            self.unnamed.append(attrs["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site. Strict: a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return [Page(path) for path in sorted(site.rglob("*.html")) if "app" not in path.parts]


def local(page, address, site):
    """The file of the site that an address of a page leads to, and the anchor in it."""
    path, anchor = urldefrag(address)
    parts = urlsplit(path)
    home = page.path if not parts.path else page.path.parent / unquote(parts.path)
    if parts.path.startswith("/"):
        home = site / unquote(parts.path).lstrip("/")
    return (home / "index.html" if home.is_dir() else home).resolve(), unquote(anchor)


def test_no_link_leads_nowhere(site, pages):
    anchors = {page.path.resolve(): page.anchors for page in pages}
    broken, seen = [], 0
    for page in pages:
        for address in page.links:
            if urlsplit(address).scheme:
                continue
            target, anchor = local(page, address, site)
            seen += 1
            if not target.is_file() or (anchor and anchor not in anchors.get(target, {anchor})):
                broken.append(f"{page.path.relative_to(site)}: {address}")
    assert sorted(set(broken)) == []
    assert seen > 5000


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loads = [(page, address) for page in pages for address in page.loads]
    assert [address for _, address in loads if urlsplit(address).netloc] == []
    gone = [
        a
        for page, a in loads
        if not a.startswith("data:") and not local(page, a, site)[0].is_file()
    ]
    assert gone == [] and len(loads) > 100


def test_pictures_have_words(site, pages):
    assert [(page.path.relative_to(site), page.unnamed) for page in pages if page.unnamed] == []


def test_the_reference_has_all_that_is_public(site):
    from mkdocstrings import Inventory

    with open(site / "objects.inv", "rb") as file:
        known = set(Inventory.parse_sphinx(file))
    overview = (site / "api" / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"[^>]*><code>kf\.([\w.]+)</code>', overview)
    linked = {name: address.partition("#")[2] for address, name in links}
    assert len(LISTED) > 200
    assert [name for name in LISTED if linked.get(name) not in known] == []


def test_every_entry_has_its_page_and_card(site):
    overview = (site / "zoo" / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r'<li class="zoo-card"[^>]*data-words="(\w+) ', overview)
    assert cards == handles.bundled()
    for name in handles.bundled():
        page = (site / "zoo" / name / "index.html").read_text(encoding="utf-8")
        assert f"<h1>{name}</h1>" in re.sub(r"<h1 id[^>]*>(\w+)<.*?</h1>", r"<h1>\1</h1>", page)
        assert "Limitations" in page and "Intended use" in page


def test_the_gallery_is_there_or_is_said_to_be_missing(site):
    page = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    assert ('<iframe class="gallery"' in page) == (site / "gallery" / "app").is_dir()
    assert ("This site was built without it" in page) != ('<iframe class="gallery"' in page)


def test_notebooks_are_downloads(site):
    found = sorted(site.glob("tutorials/*.ipynb"))
    assert len(found) == len(list((REPOSITORY / "docs/tutorials").glob("*.py")))
    for path in found:
        nbformat.validate(nbformat.read(path, as_version=4))
        page = (site / "tutorials" / path.stem / "index.html").read_text(encoding="utf-8")
        assert f'download="{path.name}"' in page and f'download="{path.stem}.py"' in page
        assert (site / "tutorials" / f"{path.stem}.py").is_file()
