"""Face models by name: the one table that knows them all."""

from __future__ import annotations

from collections.abc import Callable

from deca.flame_codes import FLAME
from deca.flame_models import DecaModel, FlameFitModel, FlameModel
from deca.rig_model import RigModel
from ned.core.errors import InputError
from ned.core.face.face_model import FaceModel
from ned.core.face.performance import Performance

# Each is made for a device ("auto", "cpu", "cuda"); the rig, which needs no files, comes first.
FACE_MODELS: dict[str, Callable[[str], FaceModel]] = {
    "rig": RigModel,
    "deca": DecaModel,
    "flame-fit": FlameFitModel,
    FLAME: FlameModel,
}


def open_face_model(name: str, device: str = "auto") -> FaceModel:
    """The face model of that name, as `--reconstructor` takes it.

    Raises:
        InputError: There is none. AssetError: A file that it needs is missing.
    """
    if name not in FACE_MODELS:
        known = ", ".join(FACE_MODELS)
        raise InputError(f"face model {name!r} is unknown; --reconstructor takes {known}")
    return FACE_MODELS[name](device)


def drawing_model(performance: Performance) -> FaceModel:
    """The face model that draws a performance: the one that it comes from.

    Imported ones are drawn with what they bring: wrinkles need DECA.

    Raises:
        AssetError: A file that it needs is missing.
    """
    if performance.source in FACE_MODELS:
        return open_face_model(performance.source)
    wrinkled = "detail" in performance.parameters and performance.parameters["detail"].any()
    return open_face_model("deca" if wrinkled else performance.face_model)
