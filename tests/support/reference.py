"""What a page of the reference says of a YAML."""

import re
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def documented(page: str, section: str) -> list[str]:
    """Return the keys in the first column of a section's table; '' comes before all sections."""
    text = f"## top\n{(REFERENCE / page).read_text()}"
    parts = re.split(r"^## `?(\w+)`?.*$", text, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    cells = re.findall(r"^\| (`.+?) \|", texts[section or "top"], re.MULTILINE)
    return [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]
