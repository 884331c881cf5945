"""Everything synthetic that the tests share: a portrait, a talking clip with sound, a picture.

The portrait is the astronaut that comes with scikit-image, so nothing is downloaded and MediaPipe
finds a real face. Each fixture is made once per test process.
"""

# ruff: noqa: E402 - threads are chosen before NumPy is imported

from __future__ import annotations

import os

# Two workers on two cores: further threads of their own would mostly wait for each other. Read
# when NumPy and PyTorch are first imported.
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from golden import Golden, find_golden
from numpy.typing import NDArray
from places import ROOT

RATE = 25
SOUND_RATE = 48000
_SIDE = 512
# The lower lip of the portrait, in its pixels.
_LIP = (244.0, 274.0)  # x, y of the middle of its upper edge
_HALF_WIDTH = 40.0  # from there to a corner of the mouth
_SMILE = 16.0  # how far the corners are above it
_UP, _DOWN = 12.0, 13.0  # how far it moves to close and to open the mouth
_REACH = 130.0  # how far down the skin is pulled along


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A real face looking at the camera: (512, 512, 3) uint8 RGB; do not write into it."""
    import skimage.data

    crop = skimage.data.astronaut()[0:280, 90:370]
    image = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    image.setflags(write=False)
    return image


@pytest.fixture(scope="session")
def still_image(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait as a PNG file."""
    path = tmp_path_factory.mktemp("still") / "portrait.png"
    cv2.imwrite(str(path), portrait[..., ::-1])
    return path


@pytest.fixture(scope="session")
def talking_clip(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the portrait talking: 480 x 480, 25 fps, H.264 with a pulsing AAC tone.

    The mouth opens and closes `mouth_opening(seconds)` while the head moves, turns and grows a
    little; the tone is as loud as the mouth is open.
    """
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    write_talking_clip(path, portrait)
    return path


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """The folder of real footage: NED_CLIPS, or shared/clips beside the repository."""
    root = ROOT
    folder = Path(os.environ.get("NED_CLIPS") or root.parent / "shared" / "clips")
    if not folder.is_dir():
        pytest.skip(f"needs real footage in {folder}; set NED_CLIPS to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def golden() -> Golden:
    """Golden vectors of the published networks: NED_GOLDEN, or shared/golden beside the repo."""
    return find_golden()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch: several wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mouth_opening(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Opening of the talking clip's mouth in [0, 1]: syllables at 2.5 Hz with a rest in between."""
    syllables = np.sin(np.pi * 2.5 * seconds) ** 2
    rest = np.clip(np.abs(seconds - 1.0) / 0.25 - 0.2, 0, 1)
    return syllables * rest


def talking_frame(
    portrait: NDArray[np.uint8],
    seconds: float,
    size: tuple[int, int] = (480, 480),
    opening: float | None = None,
) -> NDArray[np.uint8]:
    """One frame of the talking portrait: (height, width, 3) uint8 RGB for a `size` (w, h).

    The mouth opens as `mouth_opening` says unless an `opening` is given.
    """
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32)
    across = np.clip(1 - ((x - _LIP[0]) / _HALF_WIDTH) ** 2, 0, 1)
    lip = _LIP[1] - _SMILE * (1 - across)  # upper edge of the lower lip, a parabola
    # The portrait smiles with its teeth apart from the lower lip: up closes it, down opens it.
    if opening is None:
        opening = float(mouth_opening(np.array(seconds)))
    drop = (_DOWN * opening - _UP * (1 - opening)) * across
    below = y - lip
    lower = np.clip(below - drop + 0.5, 0, 1)  # 1 where the lower lip and chin now are
    fade = np.clip(1 - np.maximum(below, 0) / _REACH, 0, 1) ** 2
    chin = cv2.remap(
        portrait, x, y - drop * fade, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = (np.clip(below + 0.5, 0, 1) * np.clip(drop, 0, 1))[..., None]  # seen where it opens
    dark = np.array([52, 20, 22], np.float32)
    behind = portrait + inside * (dark - portrait)
    image = behind + lower[..., None] * (chin - behind)

    turn = 3.0 * np.sin(1.7 * seconds)
    growth = (1 + 0.03 * np.sin(2.3 * seconds + 1)) * min(size) / _SIDE
    frame_from_portrait = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), turn, growth)
    frame_from_portrait[:, 2] += np.array(size) / 2 - _SIDE / 2
    frame_from_portrait[:, 2] += [6 * np.sin(2.1 * seconds), 4 * np.sin(3.1 * seconds + 0.5)]
    moved = cv2.warpAffine(
        image.astype(np.float32), frame_from_portrait, size, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.rint(np.clip(moved, 0, 255)).astype(np.uint8)


def write_talking_clip(
    path: Path,
    portrait: NDArray[np.uint8],
    seconds: float = 2.0,
    size: tuple[int, int] = (480, 480),
    rate: Fraction | int = RATE,
    delay: float = 0.0,
    change: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = None,
    opening: float | None = None,
) -> None:
    """Write the talking portrait with its tone as H.264 and AAC.

    Args:
        size: (width, height). delay: seconds by which the tone is late.
        change: of the (height, width, 3) uint8 RGB picture of each frame, given its number.
        opening: of the mouth in every frame; talking if None.
    """
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=rate, options={"crf": "14", "preset": "veryfast"}
        )
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for index in range(round(seconds * rate)):
            image = talking_frame(portrait, float(index / Fraction(rate)), size, opening)
            image = image if change is None else change(image, index)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())

        times = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
        tone = 0.4 * mouth_opening(times - delay) * np.sin(2 * np.pi * 220 * times)
        for start in range(0, len(tone), 1024):
            block = tone[None, start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
