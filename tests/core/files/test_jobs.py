"""Many clips: manifest, resuming, retries; with Ray where it is installed."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from ned.core.errors import InputError
from ned.core.files.jobs import ClusterSettings, Job, SkippedError, read_manifest, run_all


def work(clip: str, folder: Path) -> None:
    """Fails, skips or succeeds as the clip's name says; leaves a trace of every attempt."""
    trace = folder / f"{clip}.attempts"
    attempts = len(trace.read_text()) + 1 if trace.exists() else 1
    trace.write_text("x" * attempts)
    if clip.startswith("bad"):
        raise InputError(f"{clip} is damaged")
    if clip.startswith("none"):
        raise SkippedError("no annotation")
    if clip.startswith("broken") or (clip.startswith("flaky") and attempts < 2):
        raise RuntimeError("the machine went down")
    (folder / f"{clip}.out").write_text("result")


def jobs_for(folder: Path, *clips: str, version: str = "1") -> list[Job]:
    return [
        Job(clip, f"{clip}-{version}", {"clip": clip, "folder": folder}, (folder / f"{clip}.out",))
        for clip in clips
    ]


def attempts(folder: Path, clip: str) -> int:
    return len((folder / f"{clip}.attempts").read_text())


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("without_ray")
def test_every_clip_gets_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = tmp_path / "out" / "manifest.jsonl"
    clips = ("good", "bad", "none", "flaky", "broken")
    with caplog.at_level(logging.WARNING):
        counts = run_all(work, jobs_for(tmp_path, *clips), manifest)
    assert dict(counts) == {"done": 2, "failed": 2, "skipped": 1}
    assert "one after the other" in caplog.text
    assert {clip: attempts(tmp_path, clip) for clip in clips} == {
        "good": 1,
        "bad": 1,
        "none": 1,
        "flaky": 2,
        "broken": 3,
    }
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["clip"] for line in lines] == list(clips)
    assert set(lines[0]) == {"clip", "state", "error", "seconds", "hash"}
    assert lines[1]["error"] == "bad is damaged"
    assert lines[4]["error"] == "RuntimeError: the machine went down"


@pytest.mark.usefixtures("without_ray")
def test_a_second_run_goes_on(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    run_all(work, jobs_for(tmp_path, "a", "none", "bad"), manifest)
    with manifest.open("a") as file:
        file.write('{"clip": "b", "sta')  # a run killed while it wrote
    counts = run_all(work, jobs_for(tmp_path, "a", "none", "bad", "b"), manifest)
    assert dict(counts) == {"unchanged": 2, "failed": 1, "done": 1}
    assert attempts(tmp_path, "a") == 1
    assert set(read_manifest(manifest)) == {"a", "none", "bad", "b"}


@pytest.mark.usefixtures("without_ray")
def test_changed_or_lost_results_are_made_again(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    run_all(work, jobs_for(tmp_path, "a", "b"), manifest)
    (tmp_path / "a.out").unlink()
    assert dict(run_all(work, jobs_for(tmp_path, "a", "b"), manifest)) == {
        "done": 1,
        "unchanged": 1,
    }
    counts = run_all(work, jobs_for(tmp_path, "a", "b", version="2"), manifest)
    assert dict(counts) == {"done": 2}


@pytest.mark.usefixtures("without_ray")
def test_a_cluster_needs_ray(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pip install 'ned\[cluster\]'"):
        run_all(
            work,
            jobs_for(tmp_path, "a"),
            tmp_path / "m.jsonl",
            ClusterSettings(address="head:6379"),
        )


@pytest.mark.parametrize(
    ("address", "said"), [("127.0.0.1:9", "no Ray cluster answers"), ("head", "give auto or HOST")]
)
def test_clusters_that_do_not_answer(tmp_path: Path, address: str, said: str) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'ned[cluster]'")
    settings = ClusterSettings(address=address)
    with pytest.raises(InputError, match=said):
        run_all(work, jobs_for(tmp_path, "a"), tmp_path / "m.jsonl", settings)


def test_other_files_are_no_manifests(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("one\ntwo\n")
    with pytest.raises(InputError, match="is no manifest"):
        read_manifest(tmp_path / "m")


def test_ray_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'ned[cluster]'")
    here = str(Path(__file__).parent)  # the workers have to find `work`
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    manifest = tmp_path / "manifest.jsonl"
    clips = ("good", "bad", "none", "flaky", "broken")
    counts = run_all(work, jobs_for(tmp_path, *clips), manifest)
    assert dict(counts) == {"done": 2, "failed": 2, "skipped": 1}
    assert attempts(tmp_path, "flaky") == 2
    assert attempts(tmp_path, "broken") == 3
    assert dict(run_all(work, jobs_for(tmp_path, "good"), manifest)) == {"unchanged": 1}
