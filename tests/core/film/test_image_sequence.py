"""Image sequence: folders and patterns of pictures lead to a line that can be copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from ned.core.errors import InputError
from ned.core.film.clip import Clip


def test_a_folder_of_pictures_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "my shot"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index:05d}.png").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        Clip.open(folder)
    assert f"ffmpeg -framerate 25 -pattern_type glob -i '{folder}/*.png'" in str(caught.value)


@pytest.mark.parametrize("name", ["shot_%05d.png", "shot_%d.jpg", "shot_####.exr"])
def test_a_pattern_is_explained(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Clip.open(tmp_path / name)
    assert f"-i '{tmp_path}/shot_*{Path(name).suffix}'" in str(caught.value)


def test_other_names_get_no_such_advice(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "100%.mp4"):
        with pytest.raises(InputError) as caught:
            Clip.open(path)
        assert "ffmpeg" not in str(caught.value)
