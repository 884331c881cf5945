"""The benchmarks themselves: their footage, their tables, and one result measured on the way."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

# At the end: a benchmark may have the name of the room that it measures.
from benchmarks import evaluate, footage, quality, run, table
from ned.evaluation.region import FaceRegion


def row(clip: str, emotion: str, value: float) -> dict[str, Any]:
    """What quality.py knows of a result, every measure the same."""
    names: list[str] = [*quality.SCORES, "gain", "source", "meant", "meant_closures", "closed"]
    names += ["aperture_moves", "jaw_moves", "face"]
    fixed = {"clip": clip, "emotion": emotion, "exact": True, "seen": 3, "lost": 0}
    every: dict[str, Any] = dict.fromkeys(names, value)
    return every | fixed


def test_quality_scores_directed_clips_with_the_evaluation_room(
    portrait: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "fingerprint", lambda *parts: "key")
    clip = tmp_path / "talking.mp4"
    write_talking_clip(clip, portrait, seconds=0.56, size=(240, 240))
    job = quality.ClipJob(clip, tmp_path, None, ("happy",), 0, "ultrafast", 1.0)
    plain, happy = quality.measure_clip(job)
    assert (plain["emotion"], happy["emotion"]) == (quality.UNEDITED, "happy")
    for found in (plain, happy):
        assert found["seen"] == 14 and found["lost"] == 0 and found["exact"] is True
        assert found["outside"] > 35 and found["aperture"] > 0.9
        assert "gain" not in found  # nobody judged
    assert plain["aperture"] > happy["aperture"] and plain["meant"] == pytest.approx(1)
    assert 0.99 < happy["meant"] < 1
    (tmp_path / "talking_happy.mp4").unlink()
    assert quality.measure_clip(job) == [plain, happy]  # known, not made again
    assert not (tmp_path / "talking_happy.mp4").exists()
    text = quality.report({"machine": "a machine", "rows": [plain, happy]})
    assert "| talking | happy | 14 | 0 |" in text


def test_planes_may_differ_inside_the_face_only() -> None:
    points = np.random.default_rng(0).uniform(100, 140, (1, 478, 2)).astype(np.float32)
    region = FaceRegion([points], (240, 240))
    planes = tuple(np.zeros(shape, np.uint8) for shape in ((240, 240), (120, 120), (120, 120)))
    source = SimpleNamespace(index=0, planes=planes)
    edited = SimpleNamespace(index=0, planes=tuple(plane.copy() for plane in planes))
    edited.planes[0][120, 120] = 1
    edited.planes[1][60, 60] = 1
    assert quality.same_outside(region, source, edited)
    edited.planes[2][2, 2] = 1
    assert not quality.same_outside(region, source, edited)


def test_small_faces_count_in_the_targets() -> None:
    rows = [row("talk_512", "happy", 1.0), row("four_faces", "happy", 0.5)]
    rows += [row("portrait_sad_512", "happy", 0.0), row("four_faces", quality.UNEDITED, 0.0)]
    found = {name: value for name, value, _, _ in quality.targets(rows)}
    assert found["aperture, mean of the talking clips"] == pytest.approx(0.75)
    assert found["aperture, least of the talking clips"] == pytest.approx(0.5)
    assert found["jitter, mean"] == pytest.approx(0.5)
    assert found["judges' gain of happy, mean of the clips"] == pytest.approx(0.5)
    assert np.isnan(found["judges' gain of sad, mean of the clips"])


def test_repeated_footage_is_as_long_as_asked(tmp_path: Path) -> None:
    import av

    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    footage.write_portrait_clip(source, seconds=0.6, size=(160, 120))
    footage.write_length(source, target, seconds=2.0)
    with av.open(str(target)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert 45 <= len(times) <= 50
    assert all(later > sooner for sooner, later in pairwise(times))


def test_tables_show_what_is_missing_as_a_dash() -> None:
    text = table.markdown(["name", "value"], [["a", 0.5], ["b", float("nan")]])
    assert text.splitlines() == ["| name | value |", "|---|---:|", "| a | 0.5 |", "| b | - |"]


def test_every_target_has_a_row_and_a_verdict() -> None:
    steps = [{"step": "fitting", "fps": 10.0, "target": 300}]
    whole = [{"clip": "talk", "crf": 9.0, "ratio": 1.5, "limit": 2.0}]
    row_of = {"name": "with both judges", "seconds": 30.0, "megabytes": 0.2}
    results = {
        "speed": {"whole": whole, "steps": steps},
        "memory": {"runs": [{"seconds": 5}, {"seconds": 120}], "ratio": 1.2},
        "rig_variance": {"rows": [{"rig": 0.95}]},
        "quality": {"rows": [row("talk_512", "happy", 1.0)]},
        "evaluate": {"length": 10, "rows": [row_of]},
        "rasterizer": {
            "size": 224,
            "rows": [{"job": "a batch, 2 threads", "rate": 200.0}],
            "rig_rate": 90.0,
        },
        "staged": {
            "rows": [
                {"road": "rig", "seconds": 0.1, "limit": 0.05},
                {"road": "deca", "seconds": 0.1, "limit": np.nan},
            ]
        },
    }
    results["manipulation"] = {
        "rows": [
            {"kind": "one at a time", "ratio": 1.0, "target": None},
            {"kind": "float32", "ratio": 9.0, "target": 8.0},
        ]
    }
    rows = {name: (wanted, met) for name, _, wanted, met in run.targets(results)}
    assert rows["translation in float32, times the loop over windows"] == (">= 8", "yes")
    assert rows["ned direct / bare encoding, talk, crf 9, wall time"] == ("<= 2", "yes")
    assert rows["fitting, frames/s"] == (">= 300", "**NO**")
    assert rows["peak memory, 120 s / 5 s of clip"] == ("<= 1.05", "**NO**")
    assert rows["expression variance explained by the rig"][1] == "yes"
    assert rows["closures, mean of the talking clips"] == (">= 0.9", "yes")
    assert rows["ned evaluate with both judges, 10 s, seconds"] == ("<= 20", "**NO**")
    assert rows["report of 10 s, megabytes"] == ("<= 3", "yes")
    assert rows["rasterizer, 224 x 224, images/s"] == (">= 150", "yes")
    assert rows["conditioning of the rig, frames/s"] == (">= 100", "**NO**")
    assert rows["preprocessing, rig, seconds per frame"] == ("<= 0.05", "**NO**")
    assert "preprocessing, deca, seconds per frame" not in rows
    short = evaluate.targets({"length": 3, "rows": [row_of]})
    assert [name for name, *_ in short] == ["report of 3 s, megabytes"]


def test_one_failing_benchmark_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NED_CLIPS", str(tmp_path / "nowhere"))
    monkeypatch.setattr(footage, "ROOT", tmp_path)
    package = tmp_path / "benchmarks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "memory.py").write_text("raise SystemExit(3)")
    (package / "rasterizer.py").write_text(
        "import sys\nfrom pathlib import Path\nprint('### Drawn', '--quick' in sys.argv)\n"
        'Path(sys.argv[-1]).write_text(\'{"size": 9, "rows": [], "rig_rate": 1}\')\n'
    )
    output = tmp_path / "page.md"
    code = run.main(
        ["--only", "quality", "memory", "rasterizer", "--quick", "--output", str(output)]
    )
    page = output.read_text(encoding="utf-8")
    assert code == 1 and page in capsys.readouterr().out
    assert "quality was left out: set NED_CLIPS to a folder of real clips." in page
    assert "**memory failed with exit code 3**" in page
    assert "### Drawn True" in page


def test_every_benchmark_is_a_module_that_says_what_it_measures() -> None:
    for name in run.BENCHMARKS:
        words = (footage.ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        assert words.startswith('"""') and '__name__ == "__main__"' in words
        assert f"python -m benchmarks.{name}" in words and '"--json"' in words


@pytest.mark.parametrize("command", [["-m", "benchmarks.memory"], ["benchmarks/memory.py"]])
def test_benchmarks_start_as_modules_and_as_scripts(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=footage.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--json" in done.stdout
