"""Networks without golden numbers: whose score the discriminator gives, where styles end."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from manipulator.networks import Networks, NetworkSettings  # noqa: E402
from manipulator.translation import shared_wishes, window_weights  # noqa: E402

SMALL = NetworkSettings(
    values=5, style=3, latent=2, window=4, emotions=("a", "b", "c"),
    generator_in=(6, 6), generator_hidden=4, generator_out=(6, 6),
    encoder_in=(6, 6), encoder_hidden=4, encoder_out=(6, 6), mapping=4,
)  # fmt: skip


def test_the_discriminator_scores_the_label_of_each_window() -> None:
    networks = Networks(SMALL).initialise(1).eval()
    windows = torch.randn(4, 4, 5, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([2, 0, 1, 2])
    with torch.no_grad():
        scores = networks.discriminator.scores(windows)
        found = networks.discriminator(windows, labels)
    assert scores.shape == (4, 3) and (scores.diff(dim=1).abs() > 1e-6).all()
    for row, label in enumerate(labels.tolist()):
        assert found[row] == scores[row, label]


def test_mapping_heads_belong_to_their_labels() -> None:
    networks = Networks(SMALL).initialise(1).eval()
    noise = torch.ones(3, 2)
    with torch.no_grad():
        styles = networks.mapping_network(noise, torch.tensor([0, 1, 2]))
        again = networks.mapping_network(noise, torch.tensor([2, 1, 0]))
    assert torch.equal(styles.flip(0), again)
    assert not torch.allclose(styles[0], styles[1])


@pytest.mark.parametrize(("frames", "wanted"), [(20, [10, 1]), (19, [10, 0]), (21, [11, 1])])
def test_styles_share_a_clip_and_the_last_one_ends_it(frames: int, wanted: list[int]) -> None:
    styles = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    wishes = shared_wishes(styles, frames, 10, [0.5, 1.5])
    assert len(wishes.styles) == frames - 9
    second = wishes.styles[:, 1].numpy()
    assert [int((second == 0).sum()), int((second == 1).sum())] == wanted
    assert (np.diff(second) >= 0).all()
    np.testing.assert_array_equal(wishes.intensity, np.where(second == 1, 1.5, 0.5))
    assert wishes.ending is not None
    assert torch.equal(wishes.ending.styles, styles[1:])
    assert wishes.ending.intensity.tolist() == [1.5]


@pytest.mark.parametrize("length", [4, 5, 10])
def test_windows_weigh_their_middle_most_and_both_sides_alike(length: int) -> None:
    weights = window_weights(length)
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, weights[::-1])
    assert weights.argmax() in ((length - 1) // 2, length // 2)
    assert (np.diff(weights[: (length + 1) // 2]) > 0).all()
