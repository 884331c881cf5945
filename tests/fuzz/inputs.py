"""Inputs: small valid files of every kind that is read from others, and what reads them."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from acted_faces import acted
from made_up_films import make_video, pattern

from deca.rig import load_rig
from manipulator.prototypes import parse_prototypes
from ned.core.errors import NedError
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.checkpoint import load_weights
from ned.core.files.jobs import read_manifest
from ned.core.files.pickles import load_pickle
from ned.core.files.records import Record
from ned.core.film.clip import Clip
from ned.core.film.image_files import is_marked, read_image, read_mask
from ned.core.script.emotions import EMOTIONS
from ned.core.script.timeline import Timeline
from ned.core.script.timeline_file import read_take
from ned.evaluation.pairs import emotion_of
from ned.evaluation.plugin import describe
from ned.evaluation.questions import ANSWERS_FORMAT, KEY_FORMAT, study_id
from ned.evaluation.study_answers import read_answers, read_key
from postprocessing.replacing import check_replaceable
from preprocessing.fingerprint import is_of

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        suffix: of its name. seeds: valid ones. read: raises NedError, or succeeds.
        words: what its text is made of; bytes are changed where there are none.
        apart: whether each is read in a child process, because native code decodes it.
    """

    suffix: str
    seeds: Sequence[bytes]
    read: Read
    words: Sequence[str] = ()
    apart: bool = False


def kinds(folder: Path) -> dict[str, Kind]:
    """All kinds by name; `folder` is for making the valid files."""
    numbers = ["0", "1", "-1", "1.5", "1e400", "nan", ".inf", "1e-9", "9" * 400, "0x10", "1_0"]
    marks = [":", "-", "+", ",", "[", "]", "{", "}", "\n", "\n  ", " ", "#", "&a", "*a", "!!", "|"]
    marks += ["'", '"', "\t", "\0", "é", "\u2028", "\ud800".encode(errors="replace").decode(), "?"]
    emotions = [*EMOTIONS, "merry", "happy:0.5", "0:happy", "ease", "keys", "at", "emotion"]
    entries = ["file", "inputs", "size", "labels", "mean", "std", "layout", "colour", "name"]
    units = ["emotions:", "variants:", "units:", "name:", "looks_like:", "dynamics:", "onset:"]
    return {
        "timeline": Kind(
            ".txt",
            [b"0:neutral 1.5:happy:0.8 4:angry", b"0:happy:0.6+sad:0.4"],
            lambda path: Timeline.parse(_text(path), EMOTIONS),
            [*emotions, *numbers, *marks],
        ),
        "take": Kind(
            ".yaml",
            [b"keys:\n- {at: 0, emotion: happy}\n- {at: 1.5, emotion: sad, ease: 0.4}\n"],
            lambda path: read_take(path, EMOTIONS),
            [*emotions, *numbers, *marks],
        ),
        "emotions": Kind(
            ".yaml",
            [
                b"emotions:\n  smug:\n    looks_like: happy\n    dynamics: {onset: 0.3}\n"
                b"    variants:\n    - {name: a, units: {corner_pull: 0.5}}\n"
            ],
            lambda path: parse_prototypes(_text(path), load_rig(), "emotions.yaml"),
            [*units, *emotions, *numbers, *marks],
        ),
        "description": Kind(
            ".yaml",
            [b"file: a.onnx\nsize: 224\nlabels: [happy, sad]\nmean: 0.5\nstd: [1, 1, 1]\n"],
            _describe,
            [*entries, *numbers, *marks],
        ),
        "performance": Kind(".safetensors", _performances(folder), _performance),
        "track": Kind(".safetensors", _tracks(folder), Track.load),
        "weights": Kind(".pth", _weights(), load_weights),
        "pickle": Kind(".pkl", _pickles(), load_pickle),
        "record": Kind(".json", _records(folder), _record),
        "study answers": Kind(".json", [_answers()], _study),
        "study key": Kind(".json", [json.dumps(KEY).encode()], read_key),
        "picture": Kind(".png", _pictures(), _picture),
        "film": Kind(".mp4", _films(folder), film, apart=True),
    }


def film(path: str | Path) -> str:
    """Decode a file, as a film or picture, as far as it goes; says how that ended."""
    try:
        clip = Clip.open(Path(path), duration=0.1 if Path(path).suffix == ".png" else None)
        clip.frame_times()
        count = sum(frame.rgb().shape == (*clip.size[::-1], 3) for frame in clip.frames())
        return f"{count} frames"
    except NedError as error:
        return checked(error)


def checked(error: NedError) -> str:
    """What an error says; AssertionError if that is more than a line or far too long."""
    said = str(error)
    assert "\n" not in said, f"more than one line: {said!r}"
    assert len(said) < 2000, f"too long: {said[:80]!r}"
    return said


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _describe(path: Path) -> None:
    known = frozenset({"file", "size", "labels", "mean", "std", "layout", "colour", "name"})
    found = describe(path, "judges", known, {})[0]
    found.picture()


def _performance(path: Path) -> None:
    performance = Performance.load(path)
    assert performance.track.landmarks().shape == (len(performance), 478, 3)
    is_of(performance.track, [])
    if performance.face_model == "rig" and {"rotation", "scale"} <= set(performance.parameters):
        assert len(performance.yaw) == len(performance.pitch) == len(performance)


def _record(path: Path) -> None:
    Record.load(path)
    film = path.with_name("b_sad.mp4")
    film.write_bytes(b"no film")
    film.with_name("b_sad.mp4.json").write_bytes(path.read_bytes())
    emotion_of(film, Path("b.mp4"))
    for read in (lambda: check_replaceable(film, False), lambda: read_manifest(path)):
        try:
            read()
        except NedError as error:
            checked(error)


def _study(path: Path) -> None:
    read_answers(path, KEY)


def _picture(path: Path) -> None:
    is_marked(path)
    read_mask(path, 1.0)
    assert read_image(path, 1.0).dtype == np.uint8


def _small(count: int = 3) -> Performance:
    return acted(np.zeros((count, len(load_rig())), np.float32))


def _performances(folder: Path) -> list[bytes]:
    path = folder / "seed.safetensors"
    _small().save(path)
    return [path.read_bytes()]


def _tracks(folder: Path) -> list[bytes]:
    path = folder / "track.safetensors"
    _small().track.save(path)
    return [path.read_bytes()]


def _weights() -> list[bytes]:
    try:
        import torch
        from safetensors.torch import save
    except ImportError:
        return []
    seeds = [save({"a": torch.ones(2, 2)}, {"format": "pt"})]
    for zipped in (True, False):
        data = io.BytesIO()
        state = {"net": {"a": torch.arange(3)}, "epoch": 4}
        torch.save(state, data, _use_new_zipfile_serialization=zipped)
        seeds.append(data.getvalue())
    return seeds


def _pickles() -> list[bytes]:
    from scipy.sparse import csc_matrix

    value = {"v": np.arange(6.0).reshape(2, 3), "f": [1, (2, "x")], "J": csc_matrix(np.eye(3))}
    npy = io.BytesIO()
    np.save(npy, np.array({"a": np.zeros(2)}, dtype=object), allow_pickle=True)
    return [*(pickle.dumps(value, protocol) for protocol in (0, 2, 4)), npy.getvalue()]


def _records(folder: Path) -> list[bytes]:
    path = folder / "record.json"
    Record(path, {"bytes": 1, "hash": "a"}, 0, 5, None, {"faces": "b"}, {"faces"}).save()
    ours = {"tool": "ned", "settings": {"emotion": ["happy"]}, "result": {"bytes": 7}}
    job = {"clip": "a.mp4", "state": "done", "hash": "x", "seconds": 1.0, "error": ""}
    return [path.read_bytes(), json.dumps(ours).encode(), json.dumps(job).encode() + b"\n"]


_QUESTIONS: list[dict[str, Any]] = [
    {"name": "real", "kind": "scale", "steps": 5},
    {"name": "emotion", "kind": "choice", "choices": ["happy", "sad"]},
]
KEY: dict[str, Any] = {
    "format": KEY_FORMAT,
    "questions": _QUESTIONS,
    "trials": [{"id": "t1", "clips": ["c1"]}, {"id": "t2", "clips": ["c2"]}],
}
KEY["id"] = study_id(KEY)


def _answers() -> bytes:
    answers = [
        {
            "trial": f"t{number}",
            "clips": [f"c{number}"],
            "seconds": 3.5,
            "failed": False,
            "values": {"real": 4, "emotion": "sad"},
        }
        for number in (1, 2)
    ]
    whole = {"format": ANSWERS_FORMAT, "study": KEY["id"], "rater": "me", "answers": answers}
    return json.dumps(whole).encode()


def _pictures() -> list[bytes]:
    from PIL import Image

    seeds = []
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"):
        data = io.BytesIO()
        Image.fromarray(pattern(0, 24, 16)).save(data, kind)
        seeds.append(data.getvalue())
    return seeds


def _films(folder: Path) -> list[bytes]:
    seeds = [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile a.ts\n",
    ]
    for suffix, codec in (
        *((".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4"), (".ts", "mpeg2video")),
        *((".mov", "prores_ks"), (".webm", "libvpx-vp9"), (".y4m", "wrapped_avframe")),
    ):
        chosen = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        try:
            path = make_video(folder / f"seed{suffix}", 3, codec=codec, pixel_format=chosen)
        except (OSError, ValueError):
            continue
        seeds.append(path.read_bytes())
    return seeds
