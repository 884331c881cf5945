"""The table of judges: a new one is a class and a line, and sees every face once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from ned.evaluation.estimate import estimate
from ned.evaluation.judge import FaceNetwork, Judgement, Said
from ned.evaluation.judges import KINDS, Judges
from ned.evaluation.metric import Metric

GREY = Metric(
    "picture.grey", "grey level", "", "near zero", (-255, 255), 0.0, "Mean level.", "this test"
)


class GreyJudge:
    """Measures how much lighter the middle of the face has become."""

    title: ClassVar[str] = "light meter"
    metrics: ClassVar[tuple[Metric, ...]] = (GREY,)

    def __init__(self, given: Sequence[Path]) -> None:
        self.given, self.batches = given, []

    @classmethod
    def find(cls, given: Sequence[Path]) -> GreyJudge:
        return cls(given)

    @property
    def names(self) -> Sequence[str]:
        return [path.stem for path in self.given]

    @property
    def networks(self) -> Sequence[FaceNetwork]:
        def crop(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
            x, y = points.mean(0).astype(int)
            return image[y, x].astype(np.float32)

        def run(crops: NDArray[np.float32]) -> NDArray[np.float32]:
            self.batches.append(len(crops))
            return crops.mean(1, keepdims=True)

        return [FaceNetwork(crop, run)]

    def judge(
        self, said: Sequence[Said], target: str | None, paired: bool, block: int
    ) -> Judgement:
        change = (said[0]["result"] - said[0]["source"])[:, 0]
        return Judgement([estimate(GREY.name, change, judge=f"{target} {paired} {block}")])


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Judges:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path))
    monkeypatch.delenv("NED_JUDGE", raising=False)
    monkeypatch.setitem(KINDS, "grey", GreyJudge)
    return Judges.find({"grey": [tmp_path / "meter.onnx"]})


def test_a_judge_of_the_table_is_found_shown_and_heard(judges: Judges) -> None:
    assert judges.header == {
        "emotion classifiers": "none", "face embedding": "none", "light meter": "meter",
    }  # fmt: skip
    judging = judges.begin()
    points = np.full((478, 2), 2, np.float32)
    for index in range(20):
        seen = points if index != 7 else points * np.nan
        judging.show("source", np.full((4, 4, 3), index, np.uint8), seen)
        judging.show("result", np.full((4, 4, 3), 3 * index, np.uint8), points)
    found = judging.finish("happy", True, 5)
    (score,) = found.scores
    assert (score.metric, score.judge, score.count) == (GREY.name, "happy True 5", 19)
    assert score.value == pytest.approx(2 * (sum(range(20)) - 7) / 19)  # the result is lighter
    toy = judges.judges[-1]
    assert isinstance(toy, GreyJudge)
    assert sum(toy.batches) == 39
    assert max(toy.batches) <= 16


def test_judges_without_networks_say_why_nothing_was_measured(judges: Judges) -> None:
    judging = judges.begin()
    found = judging.finish(None, True, 1)
    reasons = {name: skip.reason for skip in found.skips for name in skip.metrics}
    assert "no emotion classifier: give --judge" in reasons["emotion.target"]
    assert "no face embedding: give --embedding" in reasons["identity.cosine"]


def test_every_kind_keeps_the_contract() -> None:
    for kind in KINDS.values():
        assert kind.title
        assert kind.metrics
        assert len({metric.name for metric in kind.metrics}) == len(kind.metrics)
