"""Direct: the main job as a composition of the rooms; video in, directed video out."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import Rig, load_rig
from manipulator.directing import Directed, Direction, direct_performance
from manipulator.prototypes import Prototypes, load_prototypes
from manipulator.styles import Style, style_from
from ned.core.errors import InputError, NoFaceError
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import require_torch
from ned.core.files.partial import Partial
from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.video import VideoWriter, check_output, find_encoder, remux
from ned.core.progress import SILENT, Progress
from ned.core.script.timeline import Timeline
from ned.core.script.timeline_file import load_timeline
from ned.options import DirectOptions, is_still_name
from postprocessing.picture_file import check_picture
from postprocessing.preview import Preview
from postprocessing.provenance import provenance_tags
from postprocessing.record import write_sidecar
from postprocessing.result_sheet import ContactSheet
from renderer.rendering import Renderer, open_renderer, rendered
from renderer.strength import edit_strength, skipped_frames

if TYPE_CHECKING:
    from manipulator.learned import LearnedDirector

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
    _check_results(options)
    rig, renderer = load_rig(), open_renderer(options.renderer, options.actor_model)
    prototypes = load_prototypes(options.emotions, rig)
    timeline = _timeline(options, clip, prototypes) if options.reference is None else None
    director = _director(options, rig, progress)
    style = _style(options, rig, progress) if director is None else None
    performance = _perform(options, clip, rig, progress)
    direction = Direction(
        timeline=timeline,
        style=style,
        intensity=options.intensity,
        regions=options.regions,
        speech_lock=options.speech_lock,
        seed=options.seed,
        variant=options.variant,
        director=director,
        prototypes=prototypes,
    )
    directed = direct_performance(performance, direction, rig)
    performance = dataclasses.replace(performance, directed=performance.units + directed.change)
    strength = edit_strength(performance)
    unchanged = not np.any(directed.change)

    saved = options.parameters_path
    tags = provenance_tags(_label(options)) if options.provenance and not unchanged else {}
    copied = unchanged and not clip.is_image
    if copied:
        remux(clip, options.output_path, tags)
    if not copied or options.preview is not None or options.contact_sheet is not None:
        _render(
            options, clip, performance, directed, strength, rig, renderer, tags, copied, progress
        )
    if saved is not None:
        performance.save(saved)
    skipped = skipped_frames(performance, strength)
    if options.sidecar_path is not None:
        write_sidecar(options.sidecar_path, options, clip, performance, strength, skipped, saved)
    return DirectResult(
        options.output_path,
        performance,
        strength,
        _summary(options, performance, strength, skipped, unchanged),
    )


def run(options: DirectOptions, progress: Progress = SILENT) -> list[str]:
    """`direct`, as lines for people."""
    return direct(options, progress).summary


def _check_results(options: DirectOptions) -> None:
    """Find out, before any long work, whether every result can be written; raises OutputError."""
    for path in (options.output_path, options.preview):
        if path is not None:
            check_output(options.clip, path)
    if options.contact_sheet is not None:
        check_picture(options.contact_sheet)
    if options.parameters_path is not None:
        Partial(options.parameters_path).discard()
    find_encoder(options.codec)


def _open(options: DirectOptions) -> Clip:
    if not options.is_still and options.duration is None:
        return Clip.open(options.clip)
    return Clip.open(options.clip, duration=options.duration, frame_rate=options.rate)


def _timeline(options: DirectOptions, clip: Clip, prototypes: Prototypes) -> Timeline:
    known = tuple(prototypes)
    if options.timeline is not None:
        timeline = load_timeline(options.timeline, known)
    else:
        timeline = Timeline.split(options.emotion, clip.duration or 0.0, known)
    return timeline.scaled(options.intensity)


def _perform(options: DirectOptions, clip: Clip, rig: Rig, progress: Progress) -> Performance:
    """The clip's performance, read from a file or tracked and fitted."""
    if options.performance is not None:
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
        return dataclasses.replace(performance, directed=None)
    bundle = require_asset("face-landmarker") if options.tracker == "bundle" else None
    return fit(track_actor(clip, options.actor, progress, bundle), rig, progress=progress)


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
        if field.name not in ("size", "times")
    }
    times = np.arange(count) / float(clip.frame_rate)
    return Track(size=track.size, times=times, **held)


def _director(options: DirectOptions, rig: Rig, progress: Progress) -> LearnedDirector | None:
    """The networks that direct, with the style of the reference; None if rules direct."""
    if options.director == "procedural":
        return None
    require_torch("the learned director")
    from manipulator.learned import LearnedDirector

    if options.reference is None:
        return LearnedDirector.load(rig)
    return LearnedDirector.load(rig, reference=_reference(options.reference, rig, progress))


def _style(options: DirectOptions, rig: Rig, progress: Progress) -> Style | None:
    if options.reference is None:
        return None
    return style_from(_reference(options.reference, rig, progress), rig)


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
    settings = EncoderSettings(
        codec=options.codec,
        crf=options.crf,
        preset=options.preset,
        pixel_format=options.pixel_format,
    )
    plain = dataclasses.replace(settings, pixel_format=None)
    sheet = ContactSheet(len(performance)) if options.contact_sheet is not None else None
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
        done = f"nothing to change, {'shown' if options.is_still else 'copied'} as it was"
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
