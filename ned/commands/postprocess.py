"""Postprocess: an experiment drawn into the actor's frames, and written as films."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.commands.render import render_faces
from ned.core.errors import InputError, quoted
from ned.core.face.performance import load_performances
from ned.core.files.actor import Actor
from ned.core.files.frame_files import FileWriter, read_numbers
from ned.core.files.records import Record, content_hash, fingerprint, locked, sweep
from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.image_files import read_image, read_mask
from ned.core.film.video import VideoWriter
from ned.core.progress import SILENT, Progress
from ned.options.postprocess import PostprocessOptions
from ned.options.render import device_of
from postprocessing.images2video import frame_of_picture
from postprocessing.provenance import provenance_tags
from renderer.experiment_conditioning import read_boxes

Image = NDArray[np.uint8]

_VERSION = 1  # counts up when the same input gives other pictures
_RESULTS = ("full_frames", "faces", "images")
_CHECKPOINTS = Path("checkpoints")
_CONTAINERS = (".mp4", ".mov", ".m4v", ".mkv")
_TOLD = 5  # untouched stretches of a film


def postprocess(options: PostprocessOptions, progress: Progress = SILENT) -> list[str]:
    """Draw an experiment, and write each of the actor's videos with it as a film; returns lines.

    Warp and hybrid draw into the decoded frames, as `ned direct`. The neural renderer draws aligned
    faces, which are turned back and blended into full frames as pictures, as NED does it; frames
    without a rendered face stay as they were filmed, so that picture and sound stay together.

    Raises:
        InputError: The folder is not preprocessed in test mode, or there is nothing to draw.
        AssetError: A checkpoint is of another layout, or a file that FLAME needs is missing.
        OutputError: A file cannot be written.
    """
    actor = Actor.open(options.celeb_path)
    experiment = actor.experiment(options.exp_name)
    if not experiment.folder.is_dir():
        raise InputError(
            f"{quoted(experiment.folder)} does not exist; make the experiment first: "
            f"manipulator/test.py --celeb {actor.folder} --exp_name {options.exp_name} ..."
        )
    name = _renderer(options, experiment)
    if name == "neural":
        return _blend_faces(options, actor, experiment, progress)
    return _draw_films(options, name, actor, experiment, progress)


def _renderer(options: PostprocessOptions, experiment: Actor) -> str:
    """The renderer that is asked for, or whose networks are there."""
    if options.renderer != "auto":
        return options.renderer
    if options.skip_render or experiment.frames("faces_aligned"):
        return "neural"
    folder = options.checkpoints_dir
    if folder is None:
        return "neural" if _CHECKPOINTS.is_dir() else "warp"
    from renderer.hybrid.renderer import NETWORK

    return "hybrid" if (folder / NETWORK).is_file() else "neural"


def _draw_films(
    options: PostprocessOptions,
    name: str,
    actor: Actor,
    experiment: Actor,
    progress: Progress,
) -> list[str]:
    """Every video of an experiment of the rig, drawn as `ned direct` draws."""
    from deca.rig import load_rig
    from renderer.rendering import open_renderer, rendered
    from renderer.strength import edit_strength, skipped_frames

    performances = load_performances(experiment)
    for path, performance in performances.items():
        if performance.face_model != "rig" or performance.directed is None:
            raise InputError(
                f"{quoted(path)} is no directed performance of the rig, which --renderer {name} "
                "draws; make it with manipulator/test.py, or give --renderer neural"
            )
    videos = {video.stem: video for video in actor.videos}
    unknown = [path for path in performances if path.stem not in videos]
    if unknown:
        raise InputError(f"{quoted(unknown[0])} belongs to no video of {quoted(actor.folder)}")
    renderer = open_renderer(name, options.checkpoints_dir)
    for path in performances:  # before any long work
        clip = Clip.open(videos[path.stem])
        VideoWriter(_film(experiment, clip), clip, _settings(options)).check()
    rig, settings = load_rig(), _settings(options)
    lines = []
    with locked(experiment.lock_file, experiment.folder):
        for path, performance in performances.items():
            clip = Clip.open(videos[path.stem])
            film = _film(experiment, clip)
            strength = edit_strength(performance)
            record = Record.load(experiment.state_file(clip.path, "json"))
            video = record.source_hash(clip.path)
            made = _film_hash(options, name, video, content_hash(path))
            if record.made.get("film") != made or "film" not in record.done or not film.is_file():
                record.begin({"film": made})
                tags = provenance_tags(options.exp_name)
                with (
                    progress.stage("rendering", len(performance)) as step,
                    VideoWriter(film, clip, settings, tags) as writer,
                ):
                    frames = rendered(clip, performance, strength, rig, options.shading, renderer)
                    for _, frame in frames:
                        writer.write(frame)
                        step(1)
                record.finish({"film"})
            edited = int((strength > 1e-3).sum())
            lines.append(f"{film}: {edited} of {len(performance)} frames directed")
            lines += [
                f"  frames {first}-{last} untouched: {why}"
                for first, last, why in skipped_frames(performance, strength)[:_TOLD]
            ]
    return lines


def _settings(options: PostprocessOptions) -> EncoderSettings:
    return EncoderSettings(codec=options.codec, quality=options.quality)


def _film(experiment: Actor, clip: Clip) -> Path:
    """Where the film of a video of an experiment lies."""
    suffix = clip.path.suffix.lower()
    return experiment.folder / f"{clip.path.stem}{suffix if suffix in _CONTAINERS else '.mkv'}"


def _film_hash(options: PostprocessOptions, name: str, video: str, performance: str) -> str:
    folder = options.checkpoints_dir
    networks = []
    if folder is not None and name == "hybrid":
        networks = [content_hash(path) for path in sorted(folder.glob("*.safetensors"))]
    return fingerprint(
        version=_VERSION,
        renderer=name,
        networks=networks,
        shading=options.shading,
        encoder=dataclasses.asdict(_settings(options)),
        source=performance,
        video=video,
    )


def _blend_faces(
    options: PostprocessOptions, actor: Actor, experiment: Actor, progress: Progress
) -> list[str]:
    """Render aligned faces, unalign and blend them, and write films of the full frames."""
    from postprocessing.blend import Blending

    blending = Blending(options.method, options.levels, options.copied_levels)
    if not options.skip_render:
        device = device_of(options.gpu_ids)
        folder = options.checkpoints_dir or _CHECKPOINTS
        render_faces(actor, experiment, folder, progress, options.which_epoch, device)
    faces = experiment.frames("faces_aligned")
    if not faces:
        raise InputError(
            f"{quoted(experiment.folder_of('faces_aligned'))} holds no rendered faces like "
            "000000.png; render them first"
        )
    kinds = _RESULTS if options.keep_all else _RESULTS[:1]
    lines = []
    with locked(experiment.lock_file, experiment.folder):
        for kind in kinds:
            sweep(experiment.folder_of(kind))
        for reel in _reels(actor, faces):
            made = _hash(options, reel)
            record = Record.load(experiment.state_file(reel.video, "json"))
            changed = any(record.made.get(kind) != made for kind in kinds)
            if changed:
                for kind in kinds:
                    for frame in reel.frames:
                        experiment.frame_file(kind, frame).unlink(missing_ok=True)
                record.first, record.count = reel.first, reel.count
                record.begin(dict.fromkeys(kinds, made))
            _blend_reel(reel, experiment, kinds, options, blending, progress)
            record.finish(set(kinds))
            film = _film_of_pictures(reel, experiment, record, made, options, progress)
            lines.append(
                f"{film}: {reel.count} frames, {len(reel.faces)} with a rendered face; as pictures "
                f"in {experiment.folder_of('full_frames')}"
            )
    return lines


def _film_of_pictures(
    reel: _RenderedVideo,
    experiment: Actor,
    record: Record,
    made: str,
    options: PostprocessOptions,
    progress: Progress,
) -> Path:
    """The full frames of one video as a film; frames without a rendered face are the source's."""
    clip = Clip.open(reel.video)
    film = _film(experiment, clip)
    made = fingerprint(pictures=made, encoder=dataclasses.asdict(_settings(options)))
    if record.made.get("film") == made and "film" in record.done and film.is_file():
        return film
    record.begin({"film": made})
    tags, settings = provenance_tags(options.exp_name), _settings(options)
    with (
        progress.stage("writing", reel.count) as step,
        VideoWriter(film, clip, settings, tags) as writer,
    ):
        for frame in clip.frames():
            number = reel.first + frame.index
            if number in reel.faces:
                picture = experiment.frame_file("full_frames", number)
                frame = frame_of_picture(clip, picture, frame.index, frame.pts, frame.duration)
            writer.write(frame)
            step(1)
    record.finish({"film"})
    return film


@dataclass(frozen=True, eq=False)
class _RenderedVideo:
    """One video with rendered faces.

    Attributes:
        video: the file. boxes: (n, 4) crop boxes of its frames. first: number of its first frame.
        faces: rendered faces by frame number. masks, transforms: the actor's own, likewise.
    """

    video: Path
    boxes: NDArray[np.int64]
    boxes_file: Path
    first: int
    faces: Mapping[int, Path]
    masks: Mapping[int, Path]
    transforms: Mapping[int, Path]
    full_frames: Mapping[int, Path]

    @property
    def count(self) -> int:
        return len(self.boxes)

    @property
    def frames(self) -> range:
        return range(self.first, self.first + self.count)


def _reels(actor: Actor, faces: Mapping[int, Path]) -> list[_RenderedVideo]:
    """The actor's videos that have rendered faces."""
    masks, transforms = actor.frames("masks"), actor.frames("align_transforms")
    full_frames = actor.frames("full_frames")
    found, first = [], 0
    for video in actor.videos:
        path = actor.boxes_file(video)
        boxes = read_boxes(path)
        frames = range(first, first + len(boxes))
        own = {frame: face for frame, face in faces.items() if frame in frames}
        for kind, files in (("masks", masks), ("align_transforms", transforms)):
            lacking = [frame for frame in own if frame not in files]
            if lacking:
                raise InputError(
                    f"{quoted(actor.folder_of(kind))} has nothing for frame {lacking[0]}; "
                    "preprocess the actor in test mode"
                )
        if own:
            found.append(
                _RenderedVideo(video, boxes, path, first, own, masks, transforms, full_frames)
            )
        first += len(boxes)
    beyond = [frame for frame in faces if frame >= first]
    if beyond:
        raise InputError(
            f"frame {beyond[0]} is rendered, but the actor's videos have {first} frames only"
        )
    return found


def _hash(options: PostprocessOptions, reel: _RenderedVideo) -> str:
    def state(files: Mapping[int, Path]) -> list[object]:
        found = ((frame, files[frame].stat()) for frame in reel.faces)
        return [(frame, one.st_size, one.st_mtime_ns) for frame, one in found]

    one = reel.boxes_file.stat()
    return fingerprint(
        version=_VERSION,
        method=(options.method, options.levels, options.copied_levels, options.blend_at),
        first=reel.first,
        boxes=(one.st_size, one.st_mtime_ns),
        faces=state(reel.faces),
        masks=state(reel.masks),
        transforms=state(reel.transforms),
    )


def _blend_reel(
    reel: _RenderedVideo,
    experiment: Actor,
    kinds: tuple[str, ...],
    options: PostprocessOptions,
    blending: object,
    progress: Progress,
) -> None:
    present = {kind: experiment.frames(kind) for kind in kinds}
    missing = [
        frame
        for frame in reel.frames
        if frame not in present["full_frames"]
        or (frame in reel.faces and any(frame not in present[kind] for kind in kinds))
    ]
    if not missing:
        return
    with progress.stage("blending", len(missing)) as step, FileWriter() as writer:
        for frame, image in _frames(reel, set(missing)):
            results = {"full_frames": image}
            if frame in reel.faces:
                results = _blend_frame(reel, frame, image, kinds, options, blending)
            for kind, result in results.items():
                writer.png(experiment.frame_file(kind, frame), result)
            step(1)


def _blend_frame(
    reel: _RenderedVideo,
    frame: int,
    image: Image,
    kinds: tuple[str, ...],
    options: PostprocessOptions,
    blending: object,
) -> dict[str, Image]:
    from postprocessing.blend import Blending, blend, blend_at_box, blend_into_frame, paste
    from postprocessing.unalign import unalign

    assert isinstance(blending, Blending)
    aligned = read_image(reel.faces[frame])
    mask = read_mask(reel.masks[frame])
    aligned_from_crop = read_numbers(reel.transforms[frame], 3, 2)
    box = reel.boxes[frame - reel.first]
    results: dict[str, Image] = {}
    if options.blend_at == "frame" and kinds == _RESULTS[:1]:
        whole = blend_into_frame(image, aligned, mask, box, aligned_from_crop, blending)
        return {"full_frames": whole}
    face = unalign(aligned, mask, aligned_from_crop)
    crop = blend(_crop(image, box, mask.shape[0]), face, mask, blending)
    if options.blend_at == "frame":
        whole = blend_into_frame(image, aligned, mask, box, aligned_from_crop, blending)
    elif options.blend_at == "box":
        whole = blend_at_box(image, face, mask, box, blending)
    else:
        whole = paste(image, crop, box)
    results = {"full_frames": whole, "faces": face, "images": crop}
    return {kind: results[kind] for kind in kinds}


def _crop(image: Image, box: NDArray[np.int64], pixels: int) -> Image:
    from preprocessing.boxes import cut

    return cut(image, box, pixels)


def _frames(reel: _RenderedVideo, wanted: set[int]) -> Iterator[tuple[int, Image]]:
    """Original frames, from the actor's full_frames where they are, else from the video."""
    if all(frame in reel.full_frames for frame in wanted):
        for frame in sorted(wanted):
            yield frame, read_image(reel.full_frames[frame])
        return
    clip = Clip.open(reel.video)
    count = 0
    for picture in clip.frames():
        count += 1
        if reel.first + picture.index in wanted:
            yield reel.first + picture.index, picture.rgb()
        if count == reel.count:
            return
    raise InputError(
        f"{quoted(reel.video)} has {count} frames, its crop boxes tell of {reel.count}; "
        "preprocess the actor anew"
    )
