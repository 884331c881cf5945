"""Datasets: many clips become FLAME codes or face images, each on its own (`ned.cluster`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.face_models import open_face_model
from deca.flame_codes import FlameCodes
from deca.flame_pickles import pickled_state
from manipulator.data.sequences import ExpressionSequence, write_sequences
from ned.core.errors import InputError, NoFaceError, quoted
from ned.core.face.face_model import FaceModel
from ned.core.face.performance import Performance, joined
from ned.core.files.actor import VIDEO_SUFFIXES, Actor, numbered_files
from ned.core.files.frame_files import FileWriter
from ned.core.files.jobs import ClusterSettings, Job, SkippedError, run_all
from ned.core.files.records import Record, content_hash, fingerprint, write_atomically
from ned.core.film.clip import Clip
from ned.core.film.image_files import read_image
from ned.core.progress import SILENT, Progress
from ned.core.script.emotions import CONTEMPT, NEUTRAL
from ned.options.datasets import AffWildOptions, MeadOptions, ReconstructOptions
from preprocessing.actor_video import ActorVideo
from preprocessing.crop_landmarks import MeshLandmarking

_CHUNK = 32  # frames
_RATE = 25.0  # frames per second that face images without times are taken for
_MEAD, _AFF_WILD, _IMAGES = 1, 1, 1  # versions: count up when a clip gives another result
_NEUTRAL, _LEFT_OUT, _LEVEL, _VIEW = NEUTRAL, CONTEMPT, "level_3", "front"
_MANIFEST = "manifest.jsonl"


def reconstruct(options: ReconstructOptions, progress: Progress = SILENT) -> list[str]:
    """FLAME codes of all clips of face images in a folder; returns lines.

    Raises:
        InputError: There are no images. AssetError: A file that is needed is missing.
    """
    clips = _image_clips(options.celeb)
    reconstructor = open_face_model(options.reconstructor, options.device)
    target = options.celeb / "DECA"
    jobs = []
    for name, files in clips.items():
        result = target / f"{name}.safetensors"
        files_hash = fingerprint(
            files=[(number, path.stat().st_size) for number, path in files.items()],
            newest=max(path.stat().st_mtime_ns for path in files.values()),
        )
        made = fingerprint(
            files=files_hash,
            by=reconstructor.fingerprint,
            version=_IMAGES,
            pickles=options.pickles,
        )
        arguments = {
            "files": files,
            "result": result,
            "reconstructor": options.reconstructor,
            "device": options.device,
            "pickles": target / name if options.pickles else None,
        }
        jobs.append(Job(name, made, arguments, (result,)))
    settings = ClusterSettings(address=options.address)
    counts = run_all(reconstruct_images, jobs, target / _MANIFEST, settings, progress)
    return [f"{target}: {_told(counts)}"]


def reconstruct_mead(options: MeadOptions, progress: Progress = SILENT) -> list[str]:
    """FLAME codes of MEAD's frontal clips, and {actor}_deca.pkl of each actor; returns lines.

    Taken are neutral clips and those of level 3, without contempt.

    Raises:
        InputError: An actor has no clip. AssetError: A file that is needed is missing.
    """
    clips = {actor: mead_clips(options.root, actor) for actor in options.actors}
    reconstructor = open_face_model(options.reconstructor, options.device)
    jobs, results = [], {}
    for actor, found in clips.items():
        for clip in found:
            result = options.root / actor / "DECA" / f"{clip.name}.safetensors"
            made = fingerprint(
                video=content_hash(clip.path), by=reconstructor.fingerprint, version=_MEAD
            )
            arguments = {
                "video": clip.path,
                "result": result,
                "reconstructor": options.reconstructor,
                "device": options.device,
            }
            jobs.append(Job(f"{actor}/{clip.name}", made, arguments, (result,)))
            results[clip] = result
    settings = ClusterSettings(address=options.address)
    counts = run_all(reconstruct_video, jobs, options.root / _MANIFEST, settings, progress)
    lines = [f"{options.root}: {_told(counts)}"]
    for actor, found in clips.items():
        done = [clip for clip in found if results[clip].is_file()]
        if not done:
            raise InputError(
                f"none of {actor}'s {len(found)} clips could be used; "
                f"{quoted(options.root / _MANIFEST)} says why"
            )
        path = options.root / f"{actor}_deca.pkl"
        sequences = [
            ExpressionSequence.of(FlameCodes.of(Performance.load(results[c])), c.emotion)
            for c in done
        ]
        write_sequences(path, sequences)
        lines.append(f"wrote {path}: {len(done)} of {len(found)} clips")
    return lines


def detect_affwild2(options: AffWildOptions, progress: Progress = SILENT) -> list[str]:
    """Face images of the frames that have a face and a label; returns lines.

    Raises:
        InputError: There are no videos.
    """
    for folder in (options.videos_path, options.annotations_path):
        if not folder.is_dir():
            raise InputError(f"{quoted(folder)} is not a folder; give one of Aff-Wild2's")
    videos = sorted(
        path for path in options.videos_path.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES
    )
    if not videos:
        raise InputError(f"{quoted(options.videos_path)} holds no videos")
    jobs = []
    for video in videos:
        annotation = options.annotations_path / f"{video.stem}.txt"
        labels = content_hash(annotation) if annotation.is_file() else None
        made = fingerprint(video=content_hash(video), labels=labels, version=_AFF_WILD)
        folder = options.save_dir / "images" / video.stem
        arguments = {"video": video, "annotation": annotation, "folder": folder}
        jobs.append(Job(video.name, made, arguments))
    settings = ClusterSettings(address=options.address)
    counts = run_all(cut_annotated, jobs, options.save_dir / _MANIFEST, settings, progress)
    return [f"{options.save_dir}: {_told(counts)}"]


@dataclass(frozen=True)
class MeadClip:
    """A clip of MEAD: where it is, a name for its results, and its emotion."""

    path: Path
    name: str
    emotion: str


def mead_clips(root: Path, actor: str) -> list[MeadClip]:
    """The clips of an actor that NED learns from, in the order of their paths.

    Raises:
        InputError: There is none.
    """
    folder = root / actor / "video"
    if not folder.is_dir():
        raise InputError(
            f"{quoted(folder)} is not a folder; unpack the actor's video.tar of MEAD there"
        )
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in VIDEO_SUFFIXES or len(parts) < 3 or not path.is_file():
            continue
        emotion, level = parts[-3:-1]
        wanted = emotion == _NEUTRAL or level == _LEVEL
        if any(_VIEW in part for part in parts) and wanted and emotion != _LEFT_OUT:
            found.append(MeadClip(path, "_".join((*parts[:-1], path.stem)), emotion))
    if not found:
        raise InputError(f"{quoted(folder)} holds no clip like front/happy/level_3/001.mp4")
    return found


def reconstruct_video(video: Path, result: Path, reconstructor: str, device: str) -> None:
    """FLAME codes of the main face of a video, in one file."""
    from preprocessing.track import track_faces

    clip = Clip.open(video)
    track = track_faces(clip)[0]
    reel = ActorVideo(Actor(result.parent), clip, Record(result), track, 0, len(track))
    performance = _performed(reel, _loaded(reconstructor, device), clip)
    result.parent.mkdir(parents=True, exist_ok=True)
    performance.save(result)


def reconstruct_images(
    files: Mapping[int, Path], result: Path, reconstructor: str, device: str, pickles: Path | None
) -> None:
    """FLAME codes of numbered face images, in one file, and as NED's .pkl files if asked for."""
    from preprocessing.track import track_faces

    images = _Images(files)
    track = track_faces(images)[0]
    clip = Clip.open(next(iter(files.values())), duration=1.0)
    reel = _ImageVideo(Actor(result.parent), clip, Record(result), track, 0, len(track))
    performance = _performed(reel, _loaded(reconstructor, device), images)
    performance.frames = np.array(list(files), np.int64)
    result.parent.mkdir(parents=True, exist_ok=True)
    performance.save(result)
    if pickles is not None:
        codes = FlameCodes.of(performance)
        for row, number in enumerate(files):
            write_atomically(pickles / f"{number:06d}.pkl", pickled_state(codes, row))


def cut_annotated(video: Path, annotation: Path, folder: Path) -> None:
    """Write the largest face of every frame that has one and a label, without smoothing."""
    from preprocessing.boxes import crop_box, cut, face_boxes
    from preprocessing.track import track_faces

    if not annotation.is_file():
        raise SkippedError(f"there is no {annotation.name}")
    labels = read_labels(annotation)
    clip = Clip.open(video)
    tracks = track_faces(clip)
    count = len(tracks[0])
    if len(labels) < count:
        raise SkippedError(f"{count} frames have only {len(labels)} labels")
    largest = largest_boxes([face_boxes(track) for track in tracks])
    wanted = (labels[:count] >= 0) & np.isfinite(largest).all(1)
    with FileWriter() as writer:
        for frame in clip.frames():
            if frame.index < count and wanted[frame.index]:
                box = crop_box(largest[frame.index], clip.size)
                writer.png(folder / f"{frame.index:06d}.png", cut(frame.rgb(), box))


def largest_boxes(boxes: list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Per frame the box of the largest face: (T, 4) of boxes (T, 4) per face, NaN without any."""
    stacked = np.stack(boxes)
    sides = stacked[..., 2:] - stacked[..., :2]
    area = np.nan_to_num(sides.prod(-1), nan=-1.0)
    return stacked[area.argmax(0), np.arange(stacked.shape[1])]


def read_labels(path: Path) -> NDArray[np.int64]:
    """Labels of Aff-Wild2's annotation, a line per frame below a heading: -1 is invalid.

    Raises:
        InputError: A line holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")[1:]
        return np.array([int(line) for line in lines if line.strip()], np.int64)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{quoted(path)} is no annotation of expressions: a heading, then a number per line"
        ) from error


@dataclass(frozen=True)
class _Picture:
    path: Path
    time: float

    def rgb(self) -> NDArray[np.uint8]:
        return read_image(self.path)


class _Images:
    """Numbered images as footage that can be tracked."""

    def __init__(self, files: Mapping[int, Path]) -> None:
        self._files = files
        first = read_image(next(iter(files.values())))
        self.size = (first.shape[1], first.shape[0])
        self.frame_count = len(files)

    def frames(self) -> Iterator[_Picture]:
        for number, path in self._files.items():
            yield _Picture(path, number / _RATE)


class _ImageVideo(ActorVideo):
    """A reel of face images, which are crops already."""

    @property
    def boxes(self) -> NDArray[np.int64]:  # type: ignore[override]
        width, height = self.track.size
        return np.tile(np.array([0, 0, width, height]), (len(self), 1))


def _performed(reel: ActorVideo, model: FaceModel, footage: Clip | _Images) -> Performance:
    from preprocessing.boxes import cut

    if not reel.track.present.any():
        raise NoFaceError("no face was found")
    if not model.of_pixels:
        return model.fit(reel.track, reel.crop_from_frame[reel.seen], reel.kept)
    frames = enumerate(footage.frames())
    crops = (cut(frame.rgb(), reel.boxes[row]) for row, frame in frames)
    landmarking, parts = MeshLandmarking(), []
    for start in range(0, reel.kept, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, reel.kept))
        images = list(islice(crops, len(rows)))
        landmarks = landmarking(reel.mesh(rows)).face
        parts.append(model.encode(images, landmarks, reel.track[rows], rows))
    return joined(parts)


@lru_cache(maxsize=1)
def _loaded(name: str, device: str) -> FaceModel:
    """The face model, loaded once per process."""
    return open_face_model(name, device)


def _image_clips(folder: Path) -> dict[str, dict[int, Path]]:
    images = folder / "images"
    if not images.is_dir():
        raise InputError(f"{quoted(folder)} has no folder 'images'; face images are needed there")
    clips: dict[str, dict[int, Path]] = {}
    own = numbered_files(images, ".png")
    if own:
        clips[folder.resolve().name] = own
    for path in sorted(images.iterdir()):
        found = numbered_files(path, ".png")
        if path.is_dir() and found and not path.name.isdigit():
            clips[path.name] = found
    if not clips:
        raise InputError(f"{quoted(images)} holds no images like <clip>/000000.png")
    return clips


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing"
