"""Door: every way into the program (`ned`, `python -m ned`, the scripts under NED's names)."""

# Only modules that Python has imported already: other folders may still be in front of its own.
import os
import signal
import sys

_OURS = ("ned", "preprocessing", "deca", "manipulator", "renderer", "postprocessing", "configs")
_EXTRAS = {
    "torch": "neural",
    "lightning_fabric": "neural",
    "tensorboardX": "neural",
    "onnxruntime": "evaluation",
    "onnx": "export",
    "ray": "cluster",
    "face_alignment": "landmarks68",
}


def enter(*command: str) -> int:
    """Run the program with some first words and those of this process; returns its exit code.

    No Python file of the current folder is run, and a missing package becomes one line.
    """
    _leave_current_folder()
    # an end from outside is like Ctrl-C: nothing is left half-written
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from ned.cli import main

        return main([*command, *sys.argv[1:]])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in (*_OURS, *getattr(sys, "stdlib_module_names", ())):
            raise
        print(f"ned: error: {_advice(missing)}", file=sys.stderr)
        return 1


def _leave_current_folder() -> None:
    """Take the current folder off the path of modules, unless this package lies in it.

    `python -m`, `python -c` and empty entries of PYTHONPATH put it there, in front of the rest.
    """
    try:
        here = os.path.realpath(os.curdir)
        if here != os.path.realpath(_root()):
            sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    except OSError:  # the current folder was removed
        sys.path[:] = [entry for entry in sys.path if os.path.isabs(entry)]


def _advice(missing: str) -> str:
    if missing in _EXTRAS:
        return f"this needs {missing}; pip install 'ned[{_EXTRAS[missing]}]'"
    root = _root()
    wanted = root if os.path.isfile(os.path.join(root, "pyproject.toml")) else missing
    return (
        f"{missing} is not installed for {sys.executable}; activate the environment that has NED, "
        f"or: {sys.executable} -m pip install {wanted!r}"
    )


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
