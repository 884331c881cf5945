"""Actor: the folder of one actor (NED's <celeb_path>); the only code that knows what lies where.

```
<folder>/videos/NAME.mp4      footage; NAME.txt holds its crop boxes (test mode)
         images/000000.png    one file per frame and kind, see KINDS; numbers go on from video to
                              video in the order of their names
         DECA/NAME.safetensors  the face's parameters, one file per video
         <experiment>/...     the same folders for a changed performance
         .ned/                what was made from what
```

Footage for training is cut into sequences: images/000003/000150.png is in the fourth one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ned.core.errors import InputError, quoted

# Every kind of frame file, and its suffix.
KINDS = {
    "images": ".png",
    "full_frames": ".png",
    "eye_landmarks": ".txt",
    "eye_landmarks_aligned": ".txt",
    "align_transforms": ".txt",
    "faces": ".png",
    "faces_aligned": ".png",
    "masks": ".png",
    "masks_aligned": ".png",
    "nmfcs": ".png",
    "nmfcs_aligned": ".png",
    "shapes": ".png",
    "shapes_aligned": ".png",
}
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".mxf", ".ogv", ".3gp"),
}
_FRAME_NAME = re.compile(r"\d{6,}")
_RESERVED = {*KINDS, "videos", "DECA", "renderings", ".ned"}


@dataclass(frozen=True)
class Actor:
    """One actor's folder.

    Attributes:
        folder: it, or the folder of an experiment in it.
        split: frames per sequence of footage for training; None where the folders are flat.
    """

    folder: Path
    split: int | None = None

    @classmethod
    def open(cls, folder: Path) -> Actor:
        """The actor in a folder, cut into sequences or not as its images are.

        Raises:
            InputError: It is not a folder.
        """
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise InputError(f"{quoted(folder)} {what}; give the folder of one actor")
        sequences = _sequences(folder / "images")
        if not sequences:
            return cls(folder)
        return cls(folder, max(1, max(len(numbered_files(path, ".png")) for path in sequences)))

    @property
    def videos(self) -> tuple[Path, ...]:
        """The actor's videos in the order of their names.

        Raises:
            InputError: There is none, or two differ in their suffix only.
        """
        folder = self.folder / "videos"
        if not folder.is_dir():
            raise InputError(
                f"{quoted(self.folder)} has no folder 'videos'; make it and put the footage there"
            )
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in VIDEO_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        )
        if not found:
            known = " ".join(sorted(VIDEO_SUFFIXES))
            raise InputError(f"{quoted(folder)} holds no video; put footage there ({known})")
        names: dict[str, Path] = {}
        for path in found:
            other = names.setdefault(path.stem, path)
            if other is not path:
                raise InputError(
                    f"{quoted(other)} and {quoted(path.name)} differ in their suffix only; "
                    "rename one of them"
                )
        return tuple(found)

    def experiment(self, name: str) -> Actor:
        """The folder of a changed performance.

        Raises:
            InputError: The name is empty, leads elsewhere, or is that of a folder of the actor.
        """
        if not name or Path(name).name != name or name.startswith("."):
            raise InputError(f"experiment {name!r} is not a plain folder name; give one like happy")
        if name in _RESERVED:
            raise InputError(f"experiment {name!r} is a folder of the actor's own; choose another")
        return Actor(self.folder / name, self.split)

    def boxes_file(self, video: Path) -> Path:
        """Where the crop boxes of a video are."""
        return self.folder / "videos" / f"{video.stem}.txt"

    @property
    def performances_folder(self) -> Path:
        """Where the parameters of the face are."""
        return self.folder / "DECA"

    def performance_file(self, video: Path) -> Path:
        """Where the parameters of the face in a video are."""
        return self.performances_folder / f"{video.stem}.safetensors"

    def state_file(self, video: Path, what: str) -> Path:
        """Where something is kept about a video that other tools do not know."""
        return self.folder / ".ned" / f"{video.name}.{what}"

    @property
    def lock_file(self) -> Path:
        """The file that a process holds while it writes into this folder."""
        return self.folder / ".ned" / "lock"

    def folder_of(self, kind: str) -> Path:
        """The folder of one of KINDS."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not one of {', '.join(KINDS)}")
        return self.folder / kind

    def frame_file(self, kind: str, frame: int) -> Path:
        """Where the file of a frame (numbered over all videos) is."""
        folder = self.folder_of(kind)
        if self.split is not None:
            folder = folder / f"{frame // self.split:06d}"
        return folder / f"{frame:06d}{KINDS[kind]}"

    def frame_pickle(self, frame: int) -> Path:
        """Where NED keeps the parameters of one frame."""
        folder = self.performances_folder
        if self.split is not None:
            folder = folder / f"{frame // self.split:06d}"
        return folder / f"{frame:06d}.pkl"

    def frames(self, kind: str) -> dict[int, Path]:
        """The files that there are of a kind, by frame number, in order."""
        return numbered_files(self.folder_of(kind), KINDS[kind])

    def frame_pickles(self) -> dict[int, Path]:
        """NED's parameter files, by frame number, in order."""
        return numbered_files(self.performances_folder, ".pkl")

    def kept(self, frame_count: int) -> int:
        """How many of so many frames get files: a last sequence that is too short gets none."""
        return frame_count if self.split is None else frame_count - frame_count % self.split


def numbered_files(folder: Path, suffix: str) -> dict[int, Path]:
    """Files named by a frame number in a folder and its numbered sub-folders, in order."""
    found: dict[int, Path] = {}
    pending = [folder]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                stem = entry.name.removesuffix(suffix)
                if stem == entry.name:
                    if _is_number(stem) and entry.is_dir():
                        pending.append(Path(entry.path))
                elif _is_number(stem):
                    found[int(stem)] = Path(entry.path)
    return dict(sorted(found.items()))


def _sequences(folder: Path) -> list[Path]:
    """The numbered sub-folders of a folder."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _is_number(path.name) and path.is_dir()]


def _is_number(name: str) -> bool:
    return _FRAME_NAME.fullmatch(name) is not None
