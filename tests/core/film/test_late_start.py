"""Late start: films whose first picture does not come at zero keep chapters and streams in step."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from made_up_films import assert_same_film, make_video

from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.stream_copies import common_shift, copy_tags
from ned.core.film.video import VideoWriter

MILLISECOND = Fraction(1, 1000)


def test_chapters_move_with_the_film() -> None:
    chapters = [
        {"id": n, "start": start, "end": end, "time_base": MILLISECOND, "metadata": {}}
        for n, (start, end) in enumerate([(4000, 6000), (6000, 7500)])
    ]
    kept: list[Any] = []
    source = SimpleNamespace(metadata={"title": "a"}, chapters=lambda: chapters)
    target = SimpleNamespace(metadata={}, set_chapters=kept.extend)
    copy_tags(source, target, Fraction(5), {"Comment": "b"})
    assert [(one["start"], one["end"]) for one in kept] == [(0, 1000), (1000, 2500)]
    assert target.metadata == {"title": "a", "Comment": "b"}


def test_the_common_shift_rounds_no_time() -> None:
    bases = [Fraction(1, 25), Fraction(1, 48000)]
    assert common_shift([Fraction(5), Fraction(511, 100)], bases) == 5
    shift = common_shift([Fraction(10001, 2000)], bases)
    assert all((shift / base).denominator == 1 for base in bases)
    assert 5 - Fraction(1, 25) < shift <= Fraction(10001, 2000)
    assert common_shift([Fraction(-1), Fraction(3)], bases) == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_streams_of_a_late_film_stay_in_step(tmp_path: Path, suffix: str) -> None:
    late = make_video(
        tmp_path / f"a{suffix}", times=range(125, 145), audio=["aac"], audio_start=Fraction(5)
    )
    clip = Clip.open(late)
    first = next(clip.frames())
    assert first.time == 0 and first.pts == clip.first_pts
    if suffix == ".mkv":
        assert first.pts * clip.time_base == 5
    with VideoWriter(tmp_path / f"b{suffix}", clip, EncoderSettings()) as writer:
        for frame in clip.frames():
            writer.write(frame)
    assert_same_film(clip, Clip.open(tmp_path / f"b{suffix}"), 0.0011)


def test_flags_of_streams_are_kept(tmp_path: Path) -> None:
    source = make_video(tmp_path / "plain.mkv", audio=["aac", "aac"])
    flagged = tmp_path / "a.mkv"
    chosen = [av.stream.Disposition.comment, av.stream.Disposition.default]
    with av.open(str(source)) as given, av.open(str(flagged), "w", format="matroska") as target:
        copies = {
            stream.index: target.add_stream_from_template(stream, opaque=True)
            for stream in given.streams
        }
        for stream, flag in zip(given.streams.audio, chosen, strict=True):
            copies[stream.index].disposition = flag
        for packet in given.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                target.mux_one(packet)
    clip = Clip.open(flagged)
    with VideoWriter(tmp_path / "b.mkv", clip) as writer:
        for frame in clip.frames():
            writer.write(frame)
    found = []
    for path in (flagged, tmp_path / "b.mkv"):
        with av.open(str(path)) as container:
            found.append([int(stream.disposition) for stream in container.streams.audio])
    assert found[0] == found[1] and found[0][0] != found[0][1]
