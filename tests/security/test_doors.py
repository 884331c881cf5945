"""Doors: what reads files of others stands in one guarded place each, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from places import ROOT

PRODUCT = ("ned", "deca", "manipulator", "renderer", "preprocessing", "postprocessing")
OWN_FILES = {"ned/core/files/assets.py", "manipulator/data/speech.py"}  # read what ships with us
RULES: dict[str, tuple[set[str], set[str]]] = {
    # what: (names of calls, modules that may call them)
    "OpenCV reads no pictures": (
        {"cv2.imread", "cv2.imdecode", "cv2.imreadmulti", "cv2.VideoCapture"},
        set(),
    ),
    "Pillow is opened once": ({"Image.open", "PIL.Image.open"}, {"ned/core/film/image_files.py"}),
    "skimage and pyplot read nothing": ({"io.imread", "skimage.io.imread", "plt.imread"}, set()),
    "films are opened once": (
        {"av.open", "av.container.open"},
        {
            "ned/core/film/packets.py",
            "ned/core/film/stream_copies.py",  # for writing
            "manipulator/training_pictures.py",  # for writing
        },
    ),
    "pickles are read once": (
        {"pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load"},
        set(),
    ),
    "torch reads weights once": ({"torch.load"}, {"ned/core/files/checkpoint.py"}),
    "tensors are read once": (
        {"safe_open", "load_file", "safetensors.safe_open"},
        {"ned/core/files/tensor_files.py"},
    ),
    "JSON is read once": ({"json.load", "json.loads"}, {"ned/core/files/json_files.py"}),
    "YAML of others is read once": (
        {"yaml.load", "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load"},
        {
            "ned/core/files/yaml_files.py",
            *OWN_FILES,
            *("deca/rig.py", "deca/calibration.py", "renderer/warp/shading.py"),  # ours too
        },
    ),
    "no shell, no code": (
        {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "marshal.loads"},
        set(),
    ),
    "no foreseeable temporary files": ({"tempfile.mktemp"}, set()),
}


def calls() -> Iterator[tuple[str, int, str, ast.Call]]:
    """(module, line, name) of every call in the product."""
    for room in PRODUCT:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    yield path.relative_to(ROOT).as_posix(), node.lineno, name, node


@pytest.mark.parametrize("rule", RULES)
def test_files_of_others_are_read_in_one_place(rule: str) -> None:
    names, allowed = RULES[rule]
    found = [
        f"{module}:{line} calls {name}"
        for module, line, name, _ in calls()
        if name in names and module not in allowed
    ]
    assert found == []


def test_names_are_not_imported_past_the_rules() -> None:
    """`from cv2 import imread` would be called by another name."""
    forbidden = {name for names, _ in RULES.values() for name in names if "." in name}
    ours = {module for _, allowed in RULES.values() for module in allowed}
    found = []
    for room in PRODUCT:
        for path in sorted((ROOT / room).rglob("*.py")):
            module = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and module not in ours:
                    names = {f"{node.module}.{alias.name}" for alias in node.names}
                    found += [f"{module}: {name}" for name in names & forbidden]
    assert found == []


def test_numpy_and_torch_run_no_code() -> None:
    for module, line, name, node in calls():
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in ("np.load", "numpy.load"):
            assert given.get("allow_pickle") == "False", f"{module}:{line}"
        if name == "torch.load":
            assert given.get("weights_only") == "True", f"{module}:{line}"
        if name.startswith("subprocess."):
            assert "shell" not in given, f"{module}:{line}"


def test_links_are_not_followed_by_whoever_appends() -> None:
    """Logs grow through `append_text`; everything else is written under a hidden name first."""
    for module, line, name, node in calls():
        if not name.endswith(".open") and name != "open":
            continue
        given = (*node.args, *(k.value for k in node.keywords if k.arg == "mode"))
        modes = {a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)}
        assert not modes & {"a", "ab", "a+", "w+", "x"}, f"{module}:{line}"


def test_every_module_is_looked_at() -> None:
    assert len({module for module, *_ in calls()}) > 100
