"""README: its recipes run as they are pasted, in order, on made-up footage; its links lead on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray
from places import ROOT

from ned.core.film.clip import Clip

README = (ROOT / "README.md").read_text(encoding="utf-8")
# What a test cannot wait for, and what it does instead.
SHORTENED = {"--minutes 20": "--minutes 0.05"}


def recipes() -> list[tuple[str, list[str]]]:
    """Each recipe's heading, and its commands with continued lines joined."""
    section = README.split("## Recipes", 1)[1]
    block = re.search(r"```bash\n(.*?)```", section, re.S)
    assert block is not None
    found: list[tuple[str, list[str]]] = []
    for line in block[1].replace("\\\n", " ").splitlines():
        if re.match(r"# \d+\. ", line):
            found.append((line, []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def test_recipes_run_when_pasted_in_order(
    portrait: NDArray[np.uint8], still_image: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="recipe 8 trains a network")
    write_talking_clip(tmp_path / "clip.mp4", portrait, 1.6, (256, 256))
    write_talking_clip(tmp_path / "other.mp4", portrait, 0.8, (256, 256))
    shutil.copy(still_image, tmp_path / "photo.png")
    for name in ("preprocess.sh", "postprocess.sh", "manipulator"):  # as in the checkout
        (tmp_path / name).symlink_to(ROOT / name)
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    assert [heading.split(".")[0] for heading, _ in recipes()] == [f"# {k}" for k in range(1, 10)]
    for heading, commands in recipes():
        for command in commands:
            words = command
            for long, short in SHORTENED.items():
                words = words.replace(long, short)
            words = words.replace("./p", f"{ROOT}/p").replace(
                "python manipulator/", f"python {ROOT}/manipulator/"
            )
            done = subprocess.run(
                ["bash", "-c", words], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, (heading, command, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr
    films = ("happy", "mixed", "side", "take", "like_other", "sad", "angry", "finished")
    for path in (*(f"{name}.mp4" for name in films), "photo_sad.mp4", "actor/smile/clip.mp4"):
        assert sum(1 for _ in Clip.open(tmp_path / path).frames()) > 10, path
    for path in ("strip.png", "actors.png", "actor.safetensors", "happy_evaluation/report.html"):
        assert (tmp_path / path).stat().st_size > 1000, path


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_it_is_short() -> None:
    assert README.count("\n") <= 150
