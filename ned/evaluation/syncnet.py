"""SyncNet: two networks that put pictures of a mouth and sound into one space."""

from __future__ import annotations

from torch import Tensor, nn

WINDOW = 5  # pictures at 25 per second
SIDE = 224  # pixels
SOUND_WINDOW = 20  # rows of MFCC at 100 per second
COEFFICIENTS = 13
SIZE = 1024  # of an embedding


class SyncNet(nn.Module):
    """The two-stream network of Chung and Zisserman, "Out of time: automated lip sync in the wild"
    (ACCV workshops 2016), in the form of its published PyTorch weights (syncnet_v2.model, keys
    `netcnnaud`, `netfcaud`, `netcnnlip`, `netfclip`); embeddings are not normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_layer2d(1, 64, 3, 1),
            nn.MaxPool2d(1, 1),
            *_layer2d(64, 192, 3, 1),
            nn.MaxPool2d(3, (1, 2)),
            *_layer2d(192, 384, 3, 1),
            *_layer2d(384, 256, 3, 1),
            *_layer2d(256, 256, 3, 1),
            nn.MaxPool2d(3, 2),
            *_layer2d(256, 512, (5, 4), 0),
        )
        self.netcnnlip = nn.Sequential(
            *_layer3d(3, 96, (WINDOW, 7, 7), (1, 2, 2), 0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_layer3d(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            *_layer3d(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            *_layer3d(256, 256, (1, 3, 3), 1, (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_layer3d(256, 512, (1, 6, 6), 1, 0),
        )
        self.netfcaud = _head()
        self.netfclip = _head()

    def embed_faces(self, pictures: Tensor) -> Tensor:
        """Windows of five pictures, every one that fits.

        Args:
            pictures: (1, 3, T, 224, 224) BGR levels 0 to 255 at 25 pictures per second.

        Returns:
            (T - 4, 1024).
        """
        values = self.netcnnlip(pictures)  # (1, 512, T - 4, 1, 1)
        return self.netfclip(values[0, :, :, 0, 0].T)

    def embed_sounds(self, windows: Tensor) -> Tensor:
        """(N, 1, 13, 20) MFCC of 0.2 s each -> (N, 1024)."""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))


def _layer2d(
    inputs: int, outputs: int, kernel: int | tuple[int, int], padding: int
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def _layer3d(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int, int],
    stride: int | tuple[int, int, int],
    padding: int | tuple[int, int, int],
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(inputs, outputs, kernel, stride, padding)
    return convolution, nn.BatchNorm3d(outputs), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, SIZE))
