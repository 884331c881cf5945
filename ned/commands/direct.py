"""Direct: the main job as a composition of the rooms; video in, directed video out."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import Rig, load_rig
from manipulator.directing import direct_performance
from manipulator.director import Directed, Direction
from manipulator.directors import open_director
from manipulator.prototypes import Prototypes, load_prototypes
from ned.core.errors import InputError, NoFaceError
from ned.core.face.performance import Performance
from ned.core.face.track import PLAIN, Track
from ned.core.files.assets import require_asset
from ned.core.files.partial import Partial, output_errors
from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.turned import turned
from ned.core.film.video import VideoWriter, check_output, copying_problem, remux
from ned.core.progress import SILENT, Progress
from ned.core.script.timeline import Timeline
from ned.core.script.timeline_file import load_timeline
from ned.options import DirectOptions, is_still_name
from postprocessing.picture_file import check_picture
from postprocessing.preview import Preview
from postprocessing.provenance import provenance_tags
from postprocessing.record import write_sidecar
from postprocessing.replacing import check_replaceable
from postprocessing.result_sheet import ResultSheet
from renderer.rendering import Renderer, open_renderer, rendered
from renderer.strength import edit_strength, skipped_frames

log = logging.getLogger(__name__)

_STILL_FRAMES = 6  # how often a picture is shown to the tracker


@dataclass(frozen=True)
class DirectResult:
    """What was made.

    Attributes:
        output: the video. performance: source and directed activations, with the track.
        strength: (T,) share of the edit each frame got. summary: lines for people.
    """

    output: Path
    performance: Performance
    strength: NDArray[np.float32]
    summary: list[str]


def direct(options: DirectOptions, progress: Progress = SILENT) -> DirectResult:
    """Direct a clip: track, fit, translate, render, and write it with its sound.

    Raises:
        InputError: the clip, the timeline or a value cannot be used; NoFaceError without a face.
        AssetError: the actor's model holds other networks than its renderer has.
        OutputError: a result cannot be written; nothing is left half-written.
    """
    clip = _open(options)
    _check_results(options, clip)
    rig, renderer = load_rig(), open_renderer(options.renderer, options.actor_model)
    prototypes = load_prototypes(options.emotions, rig)
    timeline = _timeline(options, clip, prototypes) if options.reference is None else None
    reference = None
    if options.reference is not None:
        reference = _reference(options.reference, rig, progress)
    director = open_director(options.director, rig, reference, prototypes)
    performance = _perform(options, clip, rig, progress)
    direction = Direction(
        timeline=timeline,
        intensity=options.intensity,
        regions=options.regions,
        speech_lock=options.speech_lock,
        seed=options.seed,
        variant=options.variant,
    )
    directed = direct_performance(performance, direction, rig, director)
    performance = dataclasses.replace(performance, directed=performance.units + directed.change)
    progress.artefact("directed", performance)
    strength = edit_strength(performance)
    unchanged = not np.any(directed.change)

    saved = options.parameters_path
    tags = provenance_tags(_label(options)) if options.provenance and not unchanged else {}
    copyable = not options.rotate and copying_problem(clip, options.output_path) is None
    copied = unchanged and copyable
    if copied:
        remux(clip, options.output_path, tags, options.sound)
    if not copied or options.preview is not None or options.contact_sheet is not None:
        _render(
            options, clip, performance, directed, strength, rig, renderer, tags, copied, progress
        )
    if saved is not None:
        performance.save(saved)
    progress.artefact("film", options.output_path)
    skipped = skipped_frames(performance, strength)
    if options.sidecar_path is not None:
        write_sidecar(
            options.sidecar_path,
            options,
            clip,
            performance,
            strength,
            skipped,
            saved,
            options.output_path,
        )
    return DirectResult(
        options.output_path,
        performance,
        strength,
        _summary(options, performance, strength, skipped, unchanged),
    )


def run(options: DirectOptions, progress: Progress = SILENT) -> list[str]:
    """`direct`, as lines for people."""
    return direct(options, progress).summary


def _check_results(options: DirectOptions, clip: Clip) -> None:
    """Find out, before any long work, whether every result can be written; raises OutputError."""
    if options.is_folder_wanted:
        with output_errors(options.output_path.parent):
            options.output_path.parent.mkdir(parents=True, exist_ok=True)
    for path in (options.output_path, options.preview):
        if path is not None:
            check_output(options.clip, path)
    if options.contact_sheet is not None:
        check_picture(options.contact_sheet)
    if options.parameters_path is not None:
        Partial(options.parameters_path).discard()
    for path in (
        options.output_path,
        options.sidecar_path,
        options.preview,
        options.contact_sheet,
        options.parameters_path,
    ):
        check_replaceable(path, options.overwrite)
    VideoWriter(options.output_path, clip, _settings(options)).check()
    if options.preview is not None:
        nothing = np.zeros((0, 0), np.float32)
        VideoWriter(options.preview, Preview(clip, nothing, ()).clip, _preview_settings()).check()


def _open(options: DirectOptions) -> Clip:
    if not options.is_still and options.duration is None:
        return turned(Clip.open(options.clip, largest=options.max_megapixels), options.rotate)
    clip = Clip.open(
        options.clip,
        duration=options.duration,
        frame_rate=options.rate,
        largest=options.max_megapixels,
    )
    return turned(clip, options.rotate)


def _settings(options: DirectOptions) -> EncoderSettings:
    return EncoderSettings(
        codec=options.codec,
        quality=options.quality,
        crf=options.crf,
        preset=options.preset,
        pixel_format=options.pixel_format,
        sound=options.sound,
    )


def _preview_settings() -> EncoderSettings:
    return EncoderSettings(quality="draft")


def _timeline(options: DirectOptions, clip: Clip, prototypes: Prototypes) -> Timeline:
    known = tuple(prototypes)
    if options.timeline is not None:
        timeline = load_timeline(options.timeline, known)
        for line in timeline.check_end(clip.duration) if clip.duration else ():
            log.warning("%s; it shows nothing", line)
    else:
        timeline = Timeline.split(options.emotion, clip.duration or 0.0, known)
    return timeline.scaled(options.intensity)


def _perform(options: DirectOptions, clip: Clip, rig: Rig, progress: Progress) -> Performance:
    """The clip's performance, read from a file or tracked and fitted."""
    if options.performance is not None:
        from preprocessing.fingerprint import is_of

        performance = Performance.load(options.performance)
        if performance.unit_names != rig.names:
            raise InputError(
                f"performance '{options.performance}' was made with another rig; "
                "track the clip again without --performance"
            )
        if performance.track.size != clip.size:
            width, height = performance.track.size
            raise InputError(
                f"performance '{options.performance}' belongs to a {width}x{height} clip, "
                f"'{options.clip}' is {clip.size[0]}x{clip.size[1]}"
            )
        if not is_of(performance.track, clip.frames()):
            raise InputError(
                f"performance '{options.performance}' was made from another clip than "
                f"'{options.clip}': the face does not look the same; track the clip again without "
                "--performance"
            )
        return dataclasses.replace(performance, directed=None)
    bundle = require_asset("face-landmarker") if options.tracker == "bundle" else None
    track = track_actor(clip, options.actor, progress, bundle)
    progress.artefact("track", track)
    performance = fit(track, rig, progress=progress)
    progress.artefact("performance", performance)
    return performance


def track_actor(
    clip: Clip, actor: int, progress: Progress = SILENT, bundle: Path | None = None
) -> Track:
    """The track of one actor, 0 being the main one; by a Face Landmarker `bundle` if given.

    Raises:
        NoFaceError: there is no face in the clip. InputError: there are fewer actors.
    """
    from preprocessing.track import TrackingOptions, track_faces

    footage = clip
    if clip.is_image:
        footage = dataclasses.replace(clip, duration=_STILL_FRAMES / float(clip.frame_rate))
        footage = dataclasses.replace(footage, frame_count=_STILL_FRAMES)
    tracks = track_faces(footage, progress=progress, options=TrackingOptions(bundle=bundle))
    if actor >= len(tracks):
        raise InputError(
            f"--actor {actor}: '{clip.path.name}' shows {len(tracks)} "
            f"actor{'s' * (len(tracks) != 1)}, give 0 to {len(tracks) - 1} (see `ned info`)"
        )
    track = tracks[actor]
    return _held(track, clip) if clip.is_image else track


def _held(track: Track, clip: Clip) -> Track:
    """The track of a picture's last look, held for the whole clip."""
    count = clip.frame_count or 1
    held = {
        field.name: np.repeat(getattr(track, field.name)[-1:], count, axis=0)
        for field in dataclasses.fields(track)
        if field.name not in (*PLAIN, "times")
    }
    times = np.arange(count) / float(clip.frame_rate)
    return Track(size=track.size, clip=track.clip, times=times, **held)


def _reference(path: Path, rig: Rig, progress: Progress) -> Performance:
    """The performance of a clip or picture whose style is taken over."""
    still = is_still_name(path)
    clip = Clip.open(path, duration=_STILL_FRAMES / 25 if still else None)
    try:
        track = track_actor(clip, 0, progress)
    except NoFaceError as error:
        raise NoFaceError(
            f"no face was found in the reference '{path}'; give a clip that shows one"
        ) from error
    return fit(track, rig, progress=progress)


def _render(
    options: DirectOptions,
    clip: Clip,
    performance: Performance,
    directed: Directed,
    strength: NDArray[np.float32],
    rig: Rig,
    renderer: Renderer,
    tags: dict[str, str],
    copied: bool,
    progress: Progress,
) -> None:
    """Render every frame and write all that is wanted in one pass; the video if not `copied`."""
    settings, plain = _settings(options), _preview_settings()
    sheet = ResultSheet(len(performance)) if options.contact_sheet is not None else None
    preview = Preview(clip, directed.weights, directed.names) if options.preview else None
    count = 0
    with (
        progress.stage("rendering", len(performance)) as step,
        _writer(None if copied else options.output_path, clip, settings, tags) as writer,
        _writer(options.preview, preview.clip if preview else clip, plain, tags) as preview_writer,
    ):
        pairs = rendered(clip, performance, strength, rig, options.shading, renderer)
        for source, result in pairs:
            if writer is not None:
                writer.write(result)
            if preview is not None and preview_writer is not None:
                preview_writer.write(preview.frame(source, result))
            if sheet is not None:
                sheet.add(source, result)
            count += 1
            step(1)
        if count != len(performance):
            raise InputError(
                f"'{options.clip}' has {count} frames, its performance {len(performance)}; "
                "track the clip again without --performance"
            )
    if sheet is not None and options.contact_sheet is not None:
        sheet.save(options.contact_sheet)


def _writer(
    path: Path | None, clip: Clip, settings: EncoderSettings, tags: dict[str, str]
) -> AbstractContextManager[VideoWriter | None]:
    return nullcontext() if path is None else VideoWriter(path, clip, settings, tags)


def _label(options: DirectOptions) -> str:
    if options.reference is not None:
        return f"in the style of {options.reference.name}"
    return options.timeline or " ".join(options.emotion)


def _summary(
    options: DirectOptions,
    performance: Performance,
    strength: NDArray[np.float32],
    skipped: list[tuple[int, int, str]],
    unchanged: bool,
) -> list[str]:
    edited = int((strength > 1e-3).sum())
    done = f"{edited} of {len(performance)} frames directed"
    if unchanged:
        kept = "shown" if options.is_still else "turned" if options.rotate else "copied"
        done = f"nothing to change, {kept} as it was"
    lines = [f"{options.output_path}: {done}"]
    lines += [f"  frames {a}-{b} untouched: {why}" for a, b, why in skipped[:5]]
    if len(skipped) > 5:
        lines.append(f"  and {len(skipped) - 5} more untouched stretches, see the sidecar")
    for name, path in (
        ("preview", options.preview),
        ("contact sheet", options.contact_sheet),
        ("record", options.sidecar_path),
        ("performance", options.parameters_path),
    ):
        if path is not None:
            lines.append(f"  {name}: {path}")
    return lines
