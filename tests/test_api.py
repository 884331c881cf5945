"""The Python API: what `import ned` offers works on paths as text, and is imported late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ned
from ned.core.progress import SilentProgress


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, object]]:
    return []


@pytest.fixture(scope="module")
def result(
    talking_clip: Path, tmp_path_factory: pytest.TempPathFactory, seen: list[tuple[str, object]]
) -> ned.DirectResult:
    class Hook(SilentProgress):
        def artefact(self, name: str, value: object) -> None:
            seen.append((name, value))

    output = str(tmp_path_factory.mktemp("api") / "sad.mkv")
    made = ned.direct(
        str(talking_clip), emotion="sad", output=output, codec="ffv1", progress=Hook()
    )
    assert made.output == Path(output) and made.output.is_file()
    return made


def test_a_hook_is_given_what_stages_make(
    result: ned.DirectResult, seen: list[tuple[str, object]]
) -> None:
    names = [name for name, _ in seen]
    assert names == ["track", "performance", "directed", "film"]
    track, performance, directed, film = (value for _, value in seen)
    assert isinstance(track, ned.Track) and isinstance(performance, ned.Performance)
    assert performance.directed is None and isinstance(directed, ned.Performance)
    assert directed.directed is not None and film == result.output


def test_one_frame_is_drawn_as_in_the_film(result: ned.DirectResult, talking_clip: Path) -> None:
    clip = ned.Clip.open(talking_clip)
    film = {frame.index: frame for frame in ned.Clip.open(result.output).frames()}
    for index in (0, 17, len(film) - 1):
        source, drawn = ned.edit_at(clip, result.performance, index)
        for ours, theirs in zip(drawn.planes, film[index].planes, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        apart = [(a != b).any() for a, b in zip(source.planes, drawn.planes, strict=True)]
        assert any(apart)


def test_tracking_and_performing_alone(talking_clip: Path) -> None:
    (track,) = ned.track(str(talking_clip))
    performance = ned.perform(str(talking_clip))
    assert len(track) == len(performance) == 50
    np.testing.assert_array_equal(track.boxes, performance.track.boxes)
    with pytest.raises(ned.InputError, match="give 0 to 0"):
        ned.perform(talking_clip, actor=1)


def test_scores_come_back(result: ned.DirectResult, talking_clip: Path, tmp_path: Path) -> None:
    scores = ned.evaluate(str(talking_clip), str(result.output), tmp_path / "report", emotion="sad")
    (pair,) = scores.pairs
    assert pair.frames == 50 and pair.target == "sad" and pair.scores
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_package_is_light_and_knows_its_names() -> None:
    code = (
        "import sys, ned; assert set(ned.__all__) == set(dir(ned)); "
        "print(*(m for m in ('numpy', 'torch', 'cv2', 'av', 'mediapipe') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    with pytest.raises(AttributeError, match="no attribute 'diret'"):
        _ = ned.diret  # type: ignore[attr-defined]
    for name in ned.__all__:
        assert getattr(ned, name) is not None
