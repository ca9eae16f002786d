"""Every form that a configuration can select has its reference, in one place."""

import re
from pathlib import Path

import pytest

from epithermal_edge.config.schema import TABLES
from epithermal_edge.exports.forms import FORMS
from epithermal_edge.exports.methods import describe, references, site_forms
from epithermal_edge.exports.references import REFERENCES
from epithermal_edge.physics.response_forms import RESPONSES
from epithermal_edge.site import Muons, Site

ROOT = Path(__file__).resolve().parents[3]
NOTHING = {"site.incoming.form=none", "network"}  # nothing is done; the kind has the reference
SELECTABLE = [
    f"{table}.{key.name}={choice}"
    for table, keys in TABLES.items()
    if table.partition(".")[0] == "site"
    for key in keys
    if key.name != "scale_of"  # converted when the file is read: the response in use is cited
    for choice in key.choices or ()
]


@pytest.mark.parametrize("form", SELECTABLE)
def test_every_form_selectable_in_configuration_has_its_reference(form):
    entry = FORMS.get(form) or FORMS[form.partition("=")[0]]
    assert entry.references or form in NOTHING


def test_the_selectable_forms_are_found():
    assert {"site.incoming.form=hawdon2014", "site.water.crop=maize"} <= {*SELECTABLE}


def test_every_reference_is_used_and_every_form_cites_known_ones():
    cited = {key for form in FORMS.values() for key in form.references}
    assert cited == {*REFERENCES}
    assert {name for name, form in FORMS.items() if not form.references} == NOTHING


@pytest.mark.parametrize("key", sorted(REFERENCES))
def test_bibtex_is_balanced_and_has_the_fields_of_its_type(key):
    text = REFERENCES[key].bibtex()
    assert text.count("{") == text.count("}") and text.startswith("@")
    names = set(re.findall(r"^  (\w+) = \{.+\},$", text, re.M))
    place = {"article": "journal", "techreport": "institution"}.get(
        REFERENCES[key].kind, "publisher"
    )
    assert {"author", "title", "year", place} <= names


def test_dois_agree_with_the_sources_of_the_equations():
    page = (ROOT / "docs" / "equations.md").read_text("utf-8")
    listed = set(re.findall(r"doi:(10\.\S+[^\s.,;])", page))
    ours = {entry.doi for entry in REFERENCES.values() if entry.doi}
    formulas = {"Zreda2012", "Rosolem2013", "Hawdon2014", "McJannet2023", "Shuttleworth2013"}
    assert {REFERENCES[key].doi for key in formulas} <= listed & ours


@pytest.mark.parametrize("response", [*RESPONSES])
def test_each_response_cites_its_own_effect_of_humidity(response):
    site = Site(cosmic_n_cph=1000.0, bulk_density_g_cm3=1.4, response=response)
    cited = {reference.key for reference in references(site_forms(site, 0.0, None))}
    assert ("Rosolem2013" in cited) == (not response.startswith("uts"))
    assert ("Koehli2021" in cited) == response.startswith("uts2021")
    assert ("Koehli2026" in cited) == response.startswith("uts2025")


def test_muons_are_cited_in_place_of_a_monitor_with_their_coefficients():
    site = Site(1000.0, 1.4, incoming_form="plain", incoming_ref=7000.0, muons=Muons())
    forms = site_forms(site, 0.0, None)
    assert "site.incoming.source=muons" in forms and "site.incoming.form=plain" not in forms
    assert "- muon_beta_per_hpa: 0.0019 hPa-1" in describe(site)
    assert not [line for line in describe(Site(1000.0, 1.4)) if "muon" in line]
