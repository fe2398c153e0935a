"""Files that a code host reads: workflows call what exists, citation and recipe say what the project says."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Programs of the runners, and of what the workflows themselves make or install.
PROGRAMS = {"bash", "gh", "mkdir", "locked/bin/python", "sbom/bin/cyclonedx-py", "sbom/bin/python"}


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(workflow):
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                yield shlex.split(line)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_what_exists(path):
    workflow = read(path)
    tasks = re.findall(r"^def (\w+)\(", (ROOT / "tasks.py").read_text(encoding="utf-8"), re.MULTILINE)
    found = [*commands(workflow)]
    assert found or path.stem == "none"
    for words in found:
        if words[0] != "python":
            assert words[0] in PROGRAMS, words
        if words[:2] == ["bash", words[-1]]:
            assert (ROOT / words[1]).is_file(), words
        if words[0] == "python" and words[1] == "-m":
            assert words[2] in ("pip", "venv", "build"), words
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), words
            if words[1] == "tasks.py":
                assert words[2] in tasks, words
        for option, file in pairwise(words):
            if option == "-r":
                assert (ROOT / file).is_file(), words


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_few_rights_and_ends_by_itself(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        needs = job.get("needs", "")
        assert {needs} - {""} <= workflow["jobs"].keys(), name
        if any("run" in step for step in job["steps"]):
            assert "timeout-minutes" in job, name


def test_the_wheel_is_tried_on_every_system_and_python_that_is_promised():
    matrix = read(ROOT / ".github" / "workflows" / "wheels.yml")["jobs"]["use"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    promised = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert matrix["python"] == promised
    environments = (ROOT / ".ci" / "environments.py").read_text(encoding="utf-8")
    listed = re.search(r"^PYTHONS = (.*)$", environments, re.MULTILINE).group(1)
    assert list(ast.literal_eval(listed)) == promised


def test_every_reader_of_files_is_fuzzed_each_week():
    targets = (ROOT / "tests" / "fuzz" / "targets.py").read_text(encoding="utf-8")
    listed = re.search(r"^TARGETS: .*?= \{(.*?)^\}", targets, re.MULTILINE | re.DOTALL).group(1)
    readers = re.findall(r"\b(\w+)(?=[,)])", re.search(r"for function in \((.*)", listed, re.DOTALL).group(1))
    matrix = read(ROOT / ".github" / "workflows" / "weekly.yml")["jobs"]["fuzz"]["strategy"]["matrix"]
    assert sorted(matrix["reader"]) == sorted(readers)


def test_versions_are_the_same_everywhere():
    spec = importlib.util.spec_from_file_location("release_check", ROOT / ".ci" / "release_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len({*module.versions().values()}) == 1, module.versions()


def test_the_recipe_requires_what_the_project_requires():
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    wanted = {re.sub(r"([<>=])", r" \1", d, count=1) for d in PROJECT["dependencies"]}
    said = {str(line).replace("pytorch", "torch") for line in recipe["requirements"]["run"]}
    assert wanted == {line for line in said if not line.startswith("python ")}
    assert recipe["build"]["python"]["entry_points"] == [f"dmg-bmi = {PROJECT['scripts']['dmg-bmi']}"]


def test_the_citation_is_valid():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license", "abstract"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    cffconvert = pytest.importorskip("cffconvert", reason="the schema of CITATION.cff needs cffconvert")
    cffconvert.Citation((ROOT / "CITATION.cff").read_text(encoding="utf-8")).validate()


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.stem
)
def test_issue_templates_are_read_by_the_host(path):
    template = read(path)
    if path.stem != "config":
        assert {"name", "description", "body"} <= template.keys()
        assert all(field["type"] in ("textarea", "input", "markdown") for field in template["body"])
