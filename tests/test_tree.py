import ast
import sys
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
