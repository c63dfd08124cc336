import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from trainer import schema

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("trainer", "components", "data_collection")
SOURCES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]

SECTIONS = [
    section
    for section in vars(schema).values()
    if isinstance(section, type)
    and issubclass(section, BaseModel)
    and section.__module__ == schema.__name__
]
FIELDS = sorted(
    f"{section.__name__}.{field}"
    for section in SECTIONS
    for field in section.__annotations__
    if field in section.model_fields
)


@pytest.fixture(scope="module")
def names_read():
    """Every attribute that trainer/ reads, except where schema.py declares or checks it."""
    return {
        node.attr
        for file in SOURCES
        if file.is_relative_to(ROOT / "trainer") and file.name != "schema.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_schema_is_read(field, names_read):
    section, name = field.split(".")
    if section == "InterfaceConfig":  # handed over whole, as an Interface
        assert "to_interface" in names_read
    else:
        assert name in names_read


def test_no_module_bears_the_name_of_a_standard_library_module():
    names = {file: file.parent.name if file.stem == "__init__" else file.stem for file in SOURCES}
    assert SOURCES
    assert [str(file) for file, name in names.items() if name in sys.stdlib_module_names] == []


def test_the_readme_lists_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "README.md").read_text().partition("| extra | for |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(
        project["optional-dependencies"]
    )


def test_every_page_is_in_the_navigation_and_the_index():
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    index = (ROOT / "docs" / "index.md").read_text()
    assert set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())) == pages
    assert set(re.findall(r"\(([\w/-]+\.md)\)", index)) == pages - {"index.md"}
