"""Options of `direct`, `demo` and `info`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from ned.core.errors import InputError, OutputError
from ned.core.film.encoder import SUFFIX_THAT_HOLDS_MOST, EncoderSettings, Quality, SoundChoice
from ned.core.film.limits import LARGEST_PICTURE
from ned.core.script.notation import check_intensity

Region = Literal["brows", "eyes", "mouth"]
Rotation = Literal[0, 90, 180, 270]
REGIONS: tuple[Region, ...] = ("brows", "eyes", "mouth")

_LONGEST = 3600  # seconds of a film that is made of a picture
_STILL_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
_KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}  # of sources, for results
_SILENT_SUFFIXES = {*_STILL_SUFFIXES, ".gif"}
_BROADCAST_RATES = {  # the spoken names of rates that are not decimal numbers
    "23.98": Fraction(24000, 1001),
    "23.976": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "47.952": Fraction(48000, 1001),
    "59.94": Fraction(60000, 1001),
    "119.88": Fraction(120000, 1001),
}


def _mixtures(
    emotion: Annotated[
        tuple[tuple[str, ...], ...],
        UseAppendAction,
        arg(
            metavar="MIXTURE",
            help="Emotion to show: happy, happy:0.8 or happy:0.6+surprised:0.4. Several share the "
            "clip equally, one after the other.",
        ),
    ] = (),
) -> tuple[str, ...]:
    """What to show; `--emotion a b` and `--emotion a --emotion b` mean the same."""
    return tuple(mixture for group in emotion for mixture in group)


OptionalPath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]


@dataclass(frozen=True)
class DirectOptions:
    """Show another emotion in a clip: same words, same lips, same head, same shot."""

    clip: Positional[Path]
    """Footage of the actor; a picture becomes a short clip."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="PATH", help_behavior_hint="")] = (
        None
    )
    """File for the result, or a folder, which is made. By default beside the clip, with the
    emotion in its name."""
    emotion: Annotated[tuple[str, ...], arg(constructor=_mixtures)] = ()
    timeline: Annotated[str | None, arg(metavar="KEYS", help_behavior_hint="")] = None
    """Emotions over time: "0:neutral 1.5:happy:0.8 4:angry" in seconds, or a .yaml file."""
    emotions: OptionalPath = None
    """Your own emotions, a .yaml file (docs/emotions.md), for --emotion and --timeline."""
    reference: OptionalPath = None
    """Clip or picture of anyone whose expression the actor takes on."""
    intensity: float = 1.0
    """Multiplies every emotion, 0 to 1.5; 0 returns the footage as it was recorded."""
    actor: int = 0
    """Which face, counted from 0 for the largest."""
    rotate: Rotation = 0
    """Degrees clockwise that make a film upright which lies on its side; the result is upright."""
    tracker: Literal["mesh", "bundle"] = "mesh"
    """What follows faces: MediaPipe's mesh, or its Face Landmarker bundle (`ned assets`)."""
    director: str = "procedural"
    """Who decides what the face does: rules (procedural), or networks that were trained on
    made-up performances (learned; needs torch)."""
    renderer: str = "warp"
    """What draws the face: its own pixels, moved (warp); these, finished by a network of the actor
    (hybrid); or a network alone (neural; `ned train-renderer`)."""
    actor_model: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder of the actor's trained network, for --renderer hybrid and neural."""
    regions: tuple[Region, ...] = REGIONS
    """Parts of the face that may change."""
    speech_lock: float = 1.0
    """How firmly the lips keep to the words, 0 (free) to 1 (closures and openings as recorded)."""
    shading: float = 1.0
    """Strength of the light and shade of new folds, 0 to 1; a neural renderer draws its own."""
    seed: int = 0
    """Seed of everything random: the same seed gives the same take."""
    variant: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None
    """Number of an alternative take of the same emotion; none is the plain one."""
    duration: Annotated[float | None, arg(metavar="SECONDS", help_behavior_hint="")] = None
    """Length of the clip made from a picture."""
    frame_rate: Annotated[str, arg(metavar="FPS")] = "25"
    """Frames per second of the clip made from a picture: 25, 23.976 or 24000/1001."""
    quality: Quality = EncoderSettings.quality
    """How the result is encoded: fast (draft), like the source at about its size (delivery), or
    for further work, large (master)."""
    codec: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Video encoder, such as libx265 or prores_ks; by default the usual one of the container."""
    crf: Annotated[float | None, arg(metavar="CRF", help_behavior_hint="")] = None
    """Constant rate factor of the encoder, 0 (best, largest) to 63 (worst), instead of that of
    --quality."""
    preset: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Speed preset of the encoder, ultrafast to veryslow, instead of that of --quality."""
    sound: SoundChoice = EncoderSettings.sound
    """What becomes of the sound: copied, and converted only where the container cannot hold it
    (auto), copied or refused (copy), converted (aac, opus, flac), or left out (none)."""
    pixel_format: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Pixel format of the result, such as yuv420p; by default that of the source."""
    preview: OptionalPath = None
    """Also write a clip here with the source on the left and the result on the right."""
    contact_sheet: OptionalPath = None
    """Also write a picture here with frames of the source above those of the result."""
    sidecar: Annotated[bool, arg(help_behavior_hint="(default: on)")] = True
    """The record of what was done, and to which frames, in <output>.json."""
    performance: OptionalPath = None
    """Use the tracking saved here instead of tracking the clip again."""
    save_performance: OptionalPath = None
    """Save the tracking here, to direct the clip again without waiting for it."""
    overwrite: bool = False
    """Replace files of these names that this program did not make."""
    max_megapixels: float = LARGEST_PICTURE
    """Larger pictures are refused; a few bytes can hold one that fills the memory."""
    provenance: Annotated[bool, arg(help_behavior_hint="(default: on)")] = True
    """The mark in the result's metadata that says it was edited."""

    def __post_init__(self) -> None:
        """Check every range and combination.

        Raises:
            InputError: A value is out of range, or it is unclear what to show.
            OutputError: A result would overwrite an input or another result.
        """
        wishes = (("--emotion", self.emotion), ("--timeline", self.timeline))
        given = [flag for flag, value in (*wishes, ("--reference", self.reference)) if value]
        if not given:
            raise InputError(
                "nothing to show: give --emotion happy, --timeline '0:neutral 1.5:happy' "
                "or --reference other.mp4"
            )
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other, give one of them")
        check_intensity("--intensity", self.intensity)
        _check_range("--speech-lock", self.speech_lock, 0, 1)
        _check_range("--shading", self.shading, 0, 1)
        if self.crf is not None:
            _check_range("--crf", self.crf, 0, 63)
        _check_range("--max-megapixels", self.max_megapixels, 0.001, 178)
        _check_range("--actor", self.actor, 0)
        if self.actor and self.performance is not None:
            raise InputError(
                f"--actor {self.actor} chooses among the faces that are tracked, and "
                f"--performance '{self.performance}' holds one of them; give one of the two"
            )
        _check_range("--seed", self.seed, 0)
        if self.variant is not None:
            _check_range("--variant", self.variant, 0)
        if self.duration is not None and not 0 < self.duration <= _LONGEST:
            raise InputError(f"--duration is {self.duration:g}, give seconds up to {_LONGEST}")
        if self.emotions is not None and self.director == "learned":
            raise InputError(
                "--emotions and --director learned given; networks do not know your own emotions, "
                "leave out one"
            )
        if not self.regions or not set(self.regions) <= set(REGIONS):
            raise InputError(f"--regions needs one or more of {', '.join(REGIONS)}")
        _ = self.rate
        self._check_paths()

    @property
    def is_still(self) -> bool:
        """True if the clip's name is that of a picture."""
        return is_still_name(self.clip)

    @property
    def rate(self) -> Fraction:
        """`frame_rate` as an exact number; 29.97 and its relatives mean 30000/1001 and so on."""
        return parse_frame_rate(self.frame_rate)

    @property
    def is_folder_wanted(self) -> bool:
        """True if `output` is a folder: one that is there, or a name without a suffix."""
        return self.output is not None and (self.output.is_dir() or not self.output.suffix)

    @property
    def output_path(self) -> Path:
        """Where the result goes: `output`, or a name made from the clip's and what is shown."""
        if self.output is not None and not self.is_folder_wanted:
            return self.output
        folder = self.clip.parent if self.output is None else self.output
        suffix = self.clip.suffix
        if suffix.lower() in _SILENT_SUFFIXES:
            suffix = ".mp4"
        elif suffix.lower() not in _KEPT_SUFFIXES:
            suffix = SUFFIX_THAT_HOLDS_MOST
        return folder / f"{self.clip.stem}_{self._label}{suffix}"

    @property
    def sidecar_path(self) -> Path | None:
        """Where the record of what was done goes; None if it is not wanted."""
        target = self.output_path
        return target.with_name(f"{target.name}.json") if self.sidecar else None

    @property
    def parameters_path(self) -> Path | None:
        """Where the performance goes: as asked, or beside the output with the record."""
        if self.save_performance is not None or not self.sidecar:
            return self.save_performance
        target = self.output_path
        return target.with_name(f"{target.name}.safetensors")

    @property
    def _label(self) -> str:
        if self.reference is not None:
            return f"as_{self.reference.stem}"
        if self.timeline is not None:
            return "directed"
        names = re.findall(r"[a-z][a-z0-9_-]*", " ".join(self.emotion).lower())
        return "_".join(names)[:80] or "directed"

    def _check_paths(self) -> None:
        inputs = {"clip": self.clip, "reference": self.reference, "performance": self.performance}
        if self.timeline is not None and " " not in self.timeline:
            inputs["timeline"] = Path(self.timeline)
        if self.emotions is not None:
            inputs["file of emotions"] = self.emotions
        results = {
            "output": self.output_path,
            "sidecar": self.sidecar_path,
            "preview": self.preview,
            "contact sheet": self.contact_sheet,
            "saved performance": self.parameters_path,
        }
        taken = {os.path.realpath(path): what for what, path in inputs.items() if path is not None}
        for what, path in results.items():
            if path is None:
                continue
            other = taken.setdefault(os.path.realpath(path), what)
            if other != what:
                raise OutputError(f"the {what} {path} is also the {other}, give another name")


@dataclass(frozen=True)
class DemoOptions:
    """Direct a portrait that comes with scikit-image, to see what this does."""

    folder: Positional[Path] = Path("demo")
    """Where the clips and pictures go."""
    seconds: float = 16.0
    """Length of the take, shared among its emotions; 1 to 600. A short one is for a quick look."""

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 600:
            raise InputError(f"--seconds is {self.seconds:g}, give a length from 1 to 600")


@dataclass(frozen=True)
class InfoOptions:
    """Tell what a clip is and which faces are in it."""

    clip: Positional[Path]
    """The clip or picture."""
    rotate: Rotation = 0
    """Degrees clockwise that make a film upright which lies on its side."""
    contact_sheet: OptionalPath = None
    """Also write a picture here with the faces found, numbered as --actor counts them."""
    blendshapes: OptionalPath = None
    """Also write a .csv here: ARKit's 52 blendshapes of every actor in every frame; needs the Face
    Landmarker bundle (`ned assets`)."""
    overwrite: bool = False
    """Replace files of these names that this program did not make."""
    max_megapixels: float = LARGEST_PICTURE
    """Larger pictures are refused."""


def is_still_name(path: Path) -> bool:
    """True if a file's name is that of a picture."""
    return path.suffix.lower() in _STILL_SUFFIXES


def parse_frame_rate(text: str) -> Fraction:
    """Read "25", "23.976" or "24000/1001" as frames per second.

    Raises:
        InputError: It is not a number from 1 to 1000.
    """
    try:
        rate = _BROADCAST_RATES.get(text) or Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= 1000:
        raise InputError(f"--frame-rate is {text!r}, give 1 to 1000, such as 25 or 24000/1001")
    return rate


def _check_range(flag: str, value: float, low: float, high: float = float("inf")) -> None:
    if not low <= value <= high:
        accepted = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
        raise InputError(f"{flag} is {value:g}, give {accepted}")
