"""A round of generated images without weight: a pendulum in plain colours."""

from pathlib import Path

from tests.support.toy_round import write_round

# Plain colours. ``build_s`` is how long a generator takes to be built, each of which adds a line to
# ``builds``; a picture takes ``pause_s``; the first that is asked for one sends its process a
# signal when told to. While ``down`` exists render nodes die of being asked; a teacher node that
# draws ends that, takes its time, and says so in a file.
PLAIN = """
import os, time
from pathlib import Path
import numpy as np
from data_collection.rendering.generators import Generator, generators

@generators.register("plain")
class Plain(Generator):
    def __init__(
        self, *, build_s: float = 0.0, builds: str | None = None, pause_s: float = 0.0,
        hit: str | None = None, signal_number: int = 9, down: str | None = None,
    ) -> None:
        time.sleep(build_s)
        self.pause_s = pause_s
        self.hit, self.signal_number = Path(hit) if hit else None, signal_number
        self.down = Path(down) if down else None
        if builds:
            with open(builds, "a") as file:
                file.write(f"{os.getpid()}\\n")

    def generate(self, scenes):
        time.sleep(self.pause_s * len(scenes))
        if self.hit and not self.hit.exists():
            self.hit.touch()
            os.kill(os.getpid(), self.signal_number)
        if self.down:
            self.draw_or_die(Path("/proc/self/cmdline").read_text())
        return [self.picture(scene) for scene in scenes]

    def draw_or_die(self, title):
        if "RenderNode" in title and self.down.exists():
            os.kill(os.getpid(), 9)
        if "TeacherNode" in title:
            self.down.unlink(missing_ok=True)
            time.sleep(0.5)
        with self.down.with_name("drawn").open("a") as file:
            file.write("teacher\\n" if "TeacherNode" in title else "renderer\\n")

    def picture(self, scene):
        colour = np.uint8([scene.seed % 251, len(str(scene.prompt)), 7])
        return np.where(scene.mask_hw[..., None] > 0, colour, colour[::-1])
"""

CAMERA = {"camera": "free", "height": 16, "width": 24, "depth": True, "segmentation": True}


def write_generated(root: Path, generator: dict[str, object], **changes) -> Path:
    """Write a project whose rounds have generated images; return the path of its YAML."""
    (root / "plain.py").write_text(PLAIN)
    return write_round(
        root,
        plugins=[
            "plain.py",
            "data_collection.envs.gymnasium_env",
            "data_collection.teachers.uniform_random",
            "data_collection.rendering.generators.procedural",
        ],
        environment={
            "type": "gymnasium_env",
            "params": {
                "id": "InvertedPendulum-v5",
                "renderer": "raycast",
                "cameras": {"head": CAMERA},
            },
        },
        teacher={"type": "uniform_random"},
        render_mode="generated",
        generated={
            "cameras": ["head"],
            "prompts": str(Path("data_collection/prompts/interiors.jsonl").absolute()),
            "baseline_interval": 3,
            "generator": generator,
        },
        **{"episodes": 4, "keep_failures": True, "max_steps": 10, "workers": 2} | changes,
    )
