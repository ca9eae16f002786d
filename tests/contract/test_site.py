"""The documentation site builds without a warning and loads nothing from another host."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from tests.contract.documented import ROOT

if importlib.util.find_spec("mkdocs") is None:
    pytest.skip("MkDocs is not installed: make dev", allow_module_level=True)

API = {
    "records": "epithermal_edge.records.RawRecord",
    "physics": "epithermal_edge.physics.corrections.pressure_factor",
    "loggers": "epithermal_edge.loggers.parser.parse",
    "inference": "epithermal_edge.inference.engine.advance",
    "soil": "epithermal_host.soil.hydraulics.SoilHydraulics",
    "neutrons": "epithermal_host.neutrons.cosmic",
    "field": "epithermal_host.field.calibrate",
}


def build(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder, *arguments],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def text(path):
    """Return the text of a page without tags."""
    return re.sub(r"<[^>]+>", "", path.read_text("utf-8"))


@pytest.mark.parametrize("name", API)
def test_an_api_page_shows_its_package(site, name):
    assert f'id="{API[name]}"' in (site / "api" / name / "index.html").read_text("utf-8")


def test_each_module_of_a_package_is_on_its_page(site):
    for name in API.keys() - {"records"}:
        package = API[name].split(".")[0]
        page = (site / "api" / name / "index.html").read_text("utf-8")
        source = ROOT / package.removeprefix("epithermal_") / "src" / package / name
        for module in source.glob("[a-z]*.py"):
            assert f'id="{package}.{name}.{module.stem}"' in page


def test_shapes_units_and_comments_of_fields_are_shown_as_written(site):
    physics, records = (text(site / "api" / n / "index.html") for n in ("physics", "records"))
    assert "(...) [hPa-1]" in physics
    assert "(...) [g m-3]" in physics
    assert "reference evapotranspiration in the interval" in records


class Loaded(HTMLParser):
    """Collect the addresses that a browser loads with a page."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video"):
            self.addresses.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


def test_no_page_loads_anything_from_another_host(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text("utf-8"))
        assert len(loaded.addresses) > 2
        assert not [a for a in loaded.addresses if re.match(r"(https?:)?//", a)], page
        assert 'data-md-component="source"' not in page.read_text("utf-8")  # asks the forge's API


def test_the_navigation_has_the_sections_of_the_map(site):
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "README.md").read_text("utf-8"), re.M)
    tabs = re.findall(
        r'class="md-tabs__link"[^>]*>\s*(?:<[^>]*>\s*)*([^<]+?)\s*<',
        (site / "index.html").read_text("utf-8"),
    )
    assert tabs == ["Home", *headings]


def test_a_link_out_of_the_docs_points_into_the_repository(site):
    page = (site / "tutorial" / "index.html").read_text("utf-8")
    assert "/blob/main/deploy/station.example.toml" in page


def test_a_broken_link_stops_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("[gone](gone.md)\n")
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    start, end = settings.index("hooks:"), settings.index("theme:")
    plugins, extensions = settings.index("plugins:"), settings.index("markdown_extensions:")
    (tmp_path / "mkdocs.yml").write_text(
        settings[:start] + settings[end:plugins] + settings[extensions:]
    )
    done = build(tmp_path / "out", "--config-file", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert "gone.md" in done.stderr
