"""Where the parts of a DAgger experiment lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.files import write_text_atomically
from trainer.yaml_file import to_yaml


@dataclass(frozen=True)
class ExperimentFolder:
    """The folder of one experiment; all of its files are found through this."""

    path: Path

    def data(self, index: int) -> Path:
        """Return the folder of a round's episodes."""
        return self.path / "data" / f"round_{index:03d}"

    def training(self, index: int) -> Path:
        """Return the folder of a round's training."""
        return self.path / "train" / f"round_{index:03d}"

    def videos(self, index: int) -> Path:
        """Return the folder of a round's evaluation videos."""
        return self.path / "videos" / f"round_{index:03d}"

    def yaml(self, name: str) -> Path:
        """Return the file of a generated YAML."""
        return self.path / "configs" / f"{name}.yaml"

    def save_yaml(self, name: str, tree: Mapping[str, object]) -> Path:
        """Write a generated YAML, whole or not at all, and return its file."""
        path = self.yaml(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, to_yaml(tree))
        return path
