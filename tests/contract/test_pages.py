"""Pages and forms for contributors are complete and agree with the code."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from tests.contract.documented import ROOT

from epithermal_edge import __version__

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PROJECTS = {name: ROOT / name / "pyproject.toml" for name in ("edge", "host")}


def read(*parts):
    return ROOT.joinpath(*parts).read_text("utf-8")


def urls(name):
    return tomllib.loads(PROJECTS[name].read_text("utf-8"))["project"]["urls"]


# The address of the repository


def test_every_page_gives_the_repository_address_of_the_package():
    address = urls("edge")["Repository"]
    assert urls("host") == urls("edge")
    places = [".github/ISSUE_TEMPLATE/config.yml", ".github/ISSUE_TEMPLATE/new-logger.yml"]
    for place in (*places, "CITATION.cff", "SECURITY.md"):
        found = re.findall(r"https://github\.com/epithermal/[a-z-]+", read(place))
        assert found and set(found) == {address}, place


# Continuous integration


def workflow():
    return yaml.safe_load(WORKFLOW.read_text("utf-8"))


def test_the_workflow_runs_the_script_of_ci_and_nothing_else():
    (job,) = workflow()["jobs"].values()
    runs = [step for step in job["steps"] if "run" in step]
    assert [step["run"] for step in runs] == ["bash .ci/run"]
    assert runs[0]["env"]["PYTHON"] == "${{ steps.python.outputs.python-path }}"
    assert 'PYTHON="${PYTHON:-python3}"' in read(".ci", "run")
    assert re.search(r"^PYTHON \?= ", read("Makefile"), re.M)  # the environment may override it


def test_the_workflow_covers_every_python_from_the_oldest_and_an_arm64_machine():
    matrix = workflow()["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert any(job["system"] == "ubuntu-24.04-arm" for job in matrix["include"])
    for path in PROJECTS.values():
        oldest = tomllib.loads(path.read_text("utf-8"))["project"]["requires-python"]
        assert oldest == f">={matrix['python'][0]}"


def test_actions_are_pinned_to_a_major_version():
    used = [step["uses"] for step in workflow()["jobs"]["test"]["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)


# Issue forms


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_shows(path):
    form = yaml.safe_load(path.read_text("utf-8"))
    assert form["name"] and form["description"]
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids))
    for field in form["body"]:
        assert field["type"] in {"markdown", "input", "textarea", "checkboxes", "dropdown"}
        assert field["attributes"].get("value" if field["type"] == "markdown" else "label")


def required(name):
    form = yaml.safe_load(read(".github", "ISSUE_TEMPLATE", f"{name}.yml"))
    return {
        field["id"]: field["attributes"]
        for field in form["body"]
        if field.get("validations", {}).get("required")
    }


def test_the_form_of_a_new_logger_asks_for_twenty_raw_lines_and_the_port():
    fields = required("new-logger")
    assert {"logger", "firmware", "port", "lines", "columns", "time"} == fields.keys()
    assert "20" in fields["lines"]["label"]
    assert fields["lines"]["render"] == "text"  # else GitHub reads the lines as Markdown


def test_the_form_of_a_wrong_theta_asks_for_check_and_export():
    fields = required("theta-looks-wrong")
    assert "epithermal-edge check" in fields["check"]["label"]
    assert "epithermal-edge export" in fields["export"]["label"]
    assert fields["check"]["render"] == fields["export"]["render"] == "text"


def test_a_vulnerability_is_directed_away_from_public_issues():
    links = yaml.safe_load(read(".github", "ISSUE_TEMPLATE", "config.yml"))["contact_links"]
    private = [link["url"] for link in links if link["url"].endswith("/security/advisories/new")]
    assert len(private) == 1
    assert private[0] in read("SECURITY.md")


# Versions


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    author = citation["authors"][0]["name"]
    assert author in read("LICENSE")
    assert author in read("deploy", "debian", "control")


def test_the_changelog_dates_the_release_that_the_citation_names():
    citation = yaml.safe_load(read("CITATION.cff"))
    newest = re.search(r"^## (\d\S*) \((\S+)\)$", read("CHANGELOG.md"), re.M)
    assert newest
    assert newest.groups() == (citation["version"], str(citation["date-released"]))


def test_security_fixes_are_promised_for_the_current_minor_version():
    minor = ".".join(__version__.split(".")[:2])
    assert re.search(rf"^\| {re.escape(minor)} \| yes \|$", read("SECURITY.md"), re.M)


# Pins


def pins():
    lines = re.findall(r"^([\w.-]+)==([\w.]+)", read("constraints.txt"), re.M)
    return {name.lower().replace("_", "-"): Version(version) for name, version in lines}


@pytest.mark.parametrize("kind", ["dev", "docs", "test"])
def test_each_tool_is_pinned_within_what_its_requirement_allows(kind):
    lines = read(f"requirements-{kind}.txt").splitlines()
    wanted = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    assert wanted
    for requirement in wanted:
        assert pins()[requirement.name.lower()] in requirement.specifier, requirement


def test_the_hooks_before_a_commit_run_the_pinned_ruff_and_mypy():
    settings = yaml.safe_load(read(".pre-commit-config.yaml"))
    (repository,) = settings["repos"]
    assert repository["repo"] == "local"  # another would have its own version
    commands = [hook["entry"].split()[:2] for hook in repository["hooks"]]
    makefile = read("Makefile")
    for program, *argument in commands:
        name = program.removeprefix(".venv/bin/")
        assert program != name and {name} <= pins().keys()
        assert f"$(BIN)/{' '.join([name, *argument])}" in makefile  # as `make check` does
    assert {command[0] for command in commands} == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert "BIN := $(VENV)/bin" in makefile and "VENV := .venv" in makefile


# Architecture

SOURCE = {name: ROOT / name / "src" / f"epithermal_{name}" for name in PROJECTS}


def architecture(heading):
    """Return a section of ARCHITECTURE.md."""
    text = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read("ARCHITECTURE.md"), re.M | re.S
    )
    assert text, heading
    return text[1]


def rows(text):
    """List the cells of each row of a section's tables, without headers and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rules = {number for number, line in enumerate(lines) if set(line) <= set("|-")}
    heads = {number - 1 for number in rules}
    body = [line for number, line in enumerate(lines) if number not in rules | heads]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_the_architecture_is_a_ten_minute_read():
    words = [word for word in read("ARCHITECTURE.md").split() if re.search(r"\w", word)]
    assert 1200 <= len(words) <= 1800


def test_every_path_that_the_architecture_names_exists():
    text = read("ARCHITECTURE.md")
    paths = set(re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|md|toml|yml))`", text))
    folders = set(re.findall(r"`((?:tests|docs|models|deploy)/[\w/]*)`", text))
    assert len(paths) > 30
    below = (ROOT, *SOURCE.values())
    assert not [p for p in sorted(paths | folders) if not any((b / p).exists() for b in below)]


def test_the_architecture_has_a_row_for_each_folder_with_the_file_to_open_first():
    named = {}
    for cells in rows(architecture("Folders")):
        if match := re.fullmatch(r"`(\w+)/`", cells[0]):
            named.setdefault(match[1], []).append(cells[3].strip("`"))
    folders = [
        path
        for source in SOURCE.values()
        for path in sorted(source.iterdir())
        if (path / "__init__.py").exists()
    ]
    assert sorted(p.name for p in folders) == sorted(n for n in named for _ in named[n])
    for path in folders:
        (first,) = [name for name in named[path.name] if (path / name).exists()][:1]
        docstring = (path / "__init__.py").read_text("utf-8")
        assert re.search(rf"\b{first.removesuffix('.py')}\b", docstring), f"{path.name}: {first}"


def test_what_the_architecture_locates_is_there():
    found = rows(architecture("Where is ...?"))
    assert len(found) > 20
    for _, package, file, name in found:
        text = (SOURCE[package] / file.strip("`")).read_text("utf-8")
        for part in name.strip("`").split("."):
            definition = rf"^\s*(?:def|class) {part}\b|^\s*{part}\b[^=(]*="
            assert re.search(definition, text, re.MULTILINE), f"{file}: no {name}"


def test_each_recipe_ends_with_tests_that_exist():
    found = rows(architecture("Recipes"))
    assert len(found) == 6
    for *_, tests in found:
        folder = None
        for name in re.findall(r"`([^`]+)`", tests):
            folder = (ROOT / name).parent if "/" in name else folder
            assert (folder / name.rpartition("/")[2]).exists(), name


def test_the_glossary_explains_twenty_five_words_in_order():
    words = [cells[0] for cells in rows(architecture("Words"))]
    assert len(words) == 25
    assert words == sorted(words, key=str.lower)
