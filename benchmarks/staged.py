"""Preprocessing: seconds per 1080p frame of ./preprocess.sh in test mode, on each road.

    python -m benchmarks.staged [--quick] [--frames 100] [--json staged.json]

Everything from opening the video to the last PNG counts, without the start of the interpreter; the
first run of a road, on a few frames, is not counted (compiled code, loaded networks stay out of
it: so do they in the figure that it is compared with). "Processor s" are seconds of all cores
together, which other work on the machine does not change as much.

The baseline is the published pipeline, estimated from its timed parts on the same kind of machine
(two cores, 1920 x 1080, one face): 23.2 and 25.4 seconds per frame in two runs; ratios are to the
smaller one. FLAME, DECA and FSGAN files are made up (formulas, random weights) at their real sizes,
FLAME's topology only where NED_FLAME_SUPPORT (or shared/flame_support) has head_template.obj.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import footage, table

BASELINE = 23.2  # seconds per frame
LIMITS = {"rig": 0.078, "rig, everything kept": None, "deca": None, "deca, FSGAN's masks": 1.2}
_NEURAL_FRAMES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--frames", type=int, default=100, help="of the clip, at most")
    parser.add_argument("--roads", nargs="+", choices=tuple(LIMITS), default=list(LIMITS))
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer frames")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frames = min(options.frames, 32) if options.quick else options.frames
    with tempfile.TemporaryDirectory() as folder:
        data = measure(Path(folder), options.clips_folder, options.roads, frames)
    print(report(data))
    table.save(options.json, data)


def measure(work: Path, clips: Path | None, roads: list[str], frames: int) -> dict[str, Any]:
    """All numbers of this script."""
    whole = footage.full_hd_clip(clips, work)
    rows = []
    topology = "none"
    if any(road.startswith("deca") for road in roads):
        os.environ["NED_ASSETS"] = str(work / "assets")
        topology = write_assets(work / "assets")
    for road in roads:
        wanted = min(frames, _NEURAL_FRAMES) if road.startswith("deca") else frames
        run(work, whole, road, 4)
        used = time.process_time()
        seconds, count, size = run(work, whole, road, wanted)
        used = time.process_time() - used
        rows.append(
            {
                "road": road,
                "frames": count,
                "seconds": seconds / count,
                "processor": used / count,
                "ratio": BASELINE * count / seconds,
                "limit": LIMITS[road],
                "kilobytes": size / count / 1000,
            }
        )
    return {"machine": table.machine(), "clip": whole.name, "topology": topology, "rows": rows}


def run(work: Path, clip: Path, road: str, frames: int) -> tuple[float, int, int]:
    """Seconds, frames and bytes of one preprocessing of the first frames of a clip."""
    from ned.commands.preprocess import preprocess
    from ned.core.files.actor import Actor
    from ned.core.film.clip import Clip
    from ned.options.preprocess import PreprocessOptions

    folder = work / "actor"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "videos").mkdir(parents=True)
    rate = float(Clip.open(clip).frame_rate)
    footage.write_length(clip, folder / "videos" / "clip.mp4", frames / rate, repeated=False)
    name, _, what = road.partition(", ")
    options = PreprocessOptions(
        folder,
        "test",
        reconstructor=name,  # type: ignore[arg-type]
        masks="fsgan" if "FSGAN" in what else "mesh",
        keep_all="kept" in what,
    )
    start = time.perf_counter()
    preprocess(options)
    seconds = time.perf_counter() - start
    results = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".mp4"]
    size = sum(path.stat().st_size for path in results)
    return seconds, len(Actor.open(folder).frames("images")), size


def write_assets(folder: Path) -> str:
    """Made-up files of FLAME, DECA and FSGAN; tells whose topology the head has."""
    import pytest
    import torch
    from flame_files import write_flame_files

    from deca.detail import DetailDecoder
    from deca.encoder import Encoder
    from preprocessing.segmentation_network import SegmentationNetwork

    topology = "FLAME's"
    try:
        write_flame_files(folder, "full")
    except pytest.skip.Exception:
        topology = "a small head's"
        write_flame_files(folder)
    torch.manual_seed(0)
    coarse, detail, decoder = Encoder(236), Encoder(128), DetailDecoder()
    with torch.no_grad():
        coarse.layers[2].weight *= 0.02
        coarse.layers[2].bias.zero_()
        coarse.layers[2].bias[206] = 8.0  # a head that fills the crop
    networks = {"E_flame": coarse, "E_detail": detail, "D_detail": decoder}
    states = {name: network.state_dict() for name, network in networks.items()}
    torch.save(states, folder / "deca_model.tar")
    segmentation = {"state_dict": SegmentationNetwork().state_dict()}
    torch.save(segmentation, folder / "lfw_figaro_unet_256_2_0_segmentation_v1.pth")
    return topology


def report(data: dict[str, Any]) -> str:
    """Markdown of what `measure` returned."""
    rows = [
        [
            row["road"],
            row["frames"],
            f"{row['seconds']:.4f}",
            f"{row['processor']:.4f}",
            f"{row['ratio']:.0f}x",
            f"<= {row['limit']:g} s" if row["limit"] else "-",
            table.verdict(row["seconds"], row["limit"], at_least=False) if row["limit"] else "-",
            f"{row['kilobytes']:.0f}",
        ]
        for row in data["rows"]
    ]
    headings = [
        "road",
        "frames",
        "s per frame",
        f"to {BASELINE} s",
        "target",
        "met",
        "kB per frame",
    ]
    return "\n".join(
        [
            "### Preprocessing, test mode, 1080p",
            f"{data['clip']}, {data['topology']} topology; {data['machine']}",
            "",
            table.markdown(headings, rows),
        ]
    )


if __name__ == "__main__":
    main()
