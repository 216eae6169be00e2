"""The default flow of two frames: exact far below a pixel, calm where nothing moves; no weights.

Gauss–Newton on a coarse grid of displacements, with a smoothness that lets go where movements end.
Sensor noise is what limits such an estimate, so the noise decides how much is smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .frames_hcp_mer import check_trackable, pixel_grid


@dataclass(frozen=True)
class Detail:
    """How finely a flow is measured.

    Attributes:
        node_px: spacing of the grid on which displacements are solved for.
        blur_px: of the frames before, so that differences of pixels are derivatives.
    """

    node_px: int
    blur_px: float


USUAL = Detail(node_px=4, blur_px=0.65)
FINE = Detail(node_px=2, blur_px=0.5)  # pays where there is little noise, at twice the time

HIGH_PASS_PX = 8.0  # light changes slowly across a face, skin and hair do not
LARGEST_SIDE_PX = 448  # larger frames are shrunk: movements there are pixels, and memory is finite
STEPS = {2: 1, 1: 2}  # Gauss–Newton steps by how many times smaller the frames are
SOLVER_STEPS, SOLVED = 24, 1e-9
SMOOTHNESS = 3.2e5  # per (levels)² of noise, of the squared curvature of u over the frame, in px
LEAST_NOISE, MOST_NOISE = 0.36, 3.6  # (levels)²: outside, less is known than the formula says
BEND_PER_PX = 1.9e-4  # curvature of u from which on it is an edge, not noise
RIDGE = 5e-4  # (levels/px)² per pixel: keeps the equations solvable without any texture
NOISE_SCALE_PX = 2.0  # compression leaves noise of this size when it takes the finer one away

DERIVATIVE = np.array([[1, -8, 0, 8, -1]], np.float32) / 12  # of fourth order
CURVATURE = np.array([[1, -2, 1]], np.float32)
TWIST = np.array([[1, -1], [-1, 1]], np.float32) * 2**0.5


def estimate_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """Raw flow from onset to apex, float32 (H, W, 2) in px; head motion is left in.

    Minimises Σ (onset − apex(x + u))² over pixels and colours, plus a Charbonnier penalty of the
    second differences of u (after Brox et al. 2004 and the second-order priors of Trobin et al.
    2008), weighted by the noise that the frames themselves show. Begins on frames of half the
    size: it is meant for movements of a few px on frames about 224 px wide. Frames with a side
    above 448 px are measured at that size.

    Raises ValueError for frames that are not uint8 RGB, of one size and at least 32 px a side.
    """
    check_trackable(onset, apex)
    return flow_of_levels(onset.astype(np.float32), apex.astype(np.float32))


def flow_of_levels(onset: np.ndarray, apex: np.ndarray, detail: Detail = USUAL) -> np.ndarray:
    """`estimate_flow` of frames that need not be whole levels: float32 (H, W, 3), 0…255."""
    height, width = onset.shape[:2]
    shrink = min(1.0, LARGEST_SIDE_PX / max(height, width))
    flow_px = np.zeros((height, width, 2), np.float32)
    for times, steps in STEPS.items():
        size = tuple(max(1, round(side * shrink / times)) for side in (width, height))
        pair = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (onset, apex)]
        flow_px = _improved(*pair, _resized_flow(flow_px, size), steps, detail)
    return _resized_flow(flow_px, (width, height))


def _resized_flow(flow_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same movement, in pixels of frames of another size (width, height)."""
    height, width = flow_px.shape[:2]
    if size == (width, height):
        return flow_px
    return cv2.resize(flow_px, size) * np.float32([size[0] / width, size[1] / height])


def _improved(
    onset: np.ndarray, apex: np.ndarray, flow_px: np.ndarray, steps: int, detail: Detail
) -> np.ndarray:
    """The flow after some Gauss–Newton steps, float32 (H, W, 2)."""
    height, width = onset.shape[:2]
    onset, apex = (without_light(frame, detail.blur_px) for frame in (onset, apex))
    doubled = _Doubled(apex)
    grid = _grid(height, width, detail.node_px)
    nodes_px = cv2.resize(flow_px, grid[::-1], interpolation=cv2.INTER_AREA)
    for _ in range(steps):
        warped, base_px = doubled.at(flow_px)
        equations, right = _linearised(onset, warped, base_px, grid)
        noise = _noise_variance(onset - warped, detail.blur_px)
        nodes_px = _solved(equations, right, SMOOTHNESS * noise, nodes_px, detail.node_px)
        flow_px = cv2.resize(nodes_px, (width, height), interpolation=cv2.INTER_CUBIC)
    return flow_px


def without_light(frame: np.ndarray, blur_px: float) -> np.ndarray:
    """The frame blurred a little, minus its slow parts."""
    fine = cv2.GaussianBlur(frame, (0, 0), blur_px)
    return fine - cv2.GaussianBlur(fine, (0, 0), HIGH_PASS_PX)


def _grid(height: int, width: int, node_px: int) -> tuple[int, int]:
    """Rows and columns of nodes, even numbers: OpenCV's cosine transform takes no others."""
    rows, columns = (2 * max(1, round(side / node_px / 2)) for side in (height, width))
    return rows, columns


class _Doubled:
    """A frame (H, W, 3) that can be read between its pixels, accurately.

    OpenCV's cubic kernel (a = −0.75) moves a small shift half as far again, its bilinear one a
    fifth too short, which is the error of the flow. So the frame is doubled by a windowed sinc, and
    read there bilinearly minus ½·t(1 − t) times the second difference, which is of third order.
    """

    def __init__(self, frame: np.ndarray) -> None:
        self.frame = frame
        doubled = _doubled(_doubled(frame, axis=1), axis=0)
        across, down = (cv2.filter2D(doubled, -1, kernel) for kernel in (CURVATURE, CURVATURE.T))
        self.planes = doubled, across, down

    def at(self, flow_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frame(x + u), (H, W, 3), and the u (H, W, 2) at which it was read."""
        if not flow_px.any():
            return self.frame, flow_px
        grid = np.stack(pixel_grid(*flow_px.shape[:2]), axis=-1)
        # OpenCV rounds remap's coordinates to 1/32 px; what is read there is reckoned with.
        places = np.round(64 * (grid + flow_px)) / 32
        value, across, down = (
            cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in self.planes
        )
        between = places - np.floor(places)
        weights = between * (1 - between) / 2
        value = value - weights[..., :1] * across - weights[..., 1:] * down
        return value, places / 2 - grid


def _doubled(frame: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many pixels along an axis; pixel 2i is pixel i, those between are interpolated."""
    kernel, before = _halfway_kernel(), len(_halfway_kernel()) // 2 - 1
    kernel, anchor = (kernel[None], (before, 0)) if axis else (kernel[:, None], (0, before))
    between = cv2.filter2D(frame, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    shape = list(frame.shape)
    shape[axis] *= 2
    return np.stack([frame, between], axis=axis + 1).reshape(shape)


@lru_cache(maxsize=1)
def _halfway_kernel() -> np.ndarray:
    """16 weights of a Kaiser-windowed sinc for the place halfway between two pixels."""
    weights = np.sinc(np.arange(-7.5, 8)) * np.kaiser(16, 5.0)
    return (weights / weights.sum()).astype(np.float32)


def _linearised(
    onset: np.ndarray, warped: np.ndarray, base_px: np.ndarray, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The normal equations of ∇I·(u − base) = onset − warped at every node.

    Returns: xx, xy, yy (rows, columns, 3); right-hand sides (rows, columns, 2).
    """
    mean = (onset + warped) / 2  # both frames' gradients: then their noise does not pull to zero
    grad_x, grad_y = (cv2.filter2D(mean, -1, kernel) for kernel in (DERIVATIVE, DERIVATIVE.T))
    residual = onset - warped + grad_x * base_px[..., :1] + grad_y * base_px[..., 1:]
    factors = [(grad_x, grad_x), (grad_x, grad_y), (grad_y, grad_y)]
    factors += [(grad_x, residual), (grad_y, residual)]
    means = np.dstack(
        [
            cv2.resize(one * other, grid[::-1], interpolation=cv2.INTER_AREA).sum(axis=-1)
            for one, other in factors
        ]
    )
    means[..., [0, 2]] += RIDGE
    pixels = np.prod(onset.shape[:2]) / np.prod(grid)
    sums = means * np.float32(pixels)
    return sums[..., :3], sums[..., 3:]


def _noise_variance(difference: np.ndarray, blur_px: float) -> float:
    """Of the difference of two frames that hardly move against each other, robustly.

    Measured as it is and blurred, and the larger one taken: compression takes the finest noise
    away and adds its own, which is coarser.
    """
    fine, coarse = blur_px**2, blur_px**2 + NOISE_SCALE_PX**2
    blurred = cv2.GaussianBlur(difference, (0, 0), NOISE_SCALE_PX)
    spreads = [np.median(np.abs(levels[::2, ::2])) / 0.6745 for levels in (difference, blurred)]
    variance = max(spreads[0] ** 2, spreads[1] ** 2 * coarse / fine)
    return float(np.clip(variance, LEAST_NOISE, MOST_NOISE))


def _solved(
    equations: np.ndarray,
    right: np.ndarray,
    smoothness: float,
    nodes_px: np.ndarray,
    node_px: int,
) -> np.ndarray:
    """Displacements (rows, columns, 2) of the nodes: one reweighted least-squares step."""
    bending = sum((bend**2).sum(axis=-1, keepdims=True) for bend in _bends(nodes_px))
    weight = 1 / np.sqrt(1 + bending / (BEND_PER_PX * node_px**2) ** 2)
    # Second differences between nodes are node_px² times the curvature, and a node is node_px² px.
    return _conjugate_gradients(equations, right, smoothness / node_px**2, weight, nodes_px)


def _conjugate_gradients(
    equations: np.ndarray,
    right: np.ndarray,
    smoothness: float,
    weight: np.ndarray,
    nodes_px: np.ndarray,
) -> np.ndarray:
    """Solve (data + smoothness·Dᵀ weight D) u = right, from a first guess.

    Preconditioned by what both would be if they were the same everywhere: diagonal then, after a
    cosine transform.
    """
    mixed, squared = equations[..., 1:2], equations[..., ::2]
    bending = smoothness * float(weight.mean()) * _bending_spectrum(*weight.shape[:2])
    spectra = [bending + float(mean) for mean in squared.mean(axis=(0, 1))]

    def applied(u: np.ndarray) -> np.ndarray:
        bends = _bends_transposed([weight * bend for bend in _bends(u)])
        return squared * u + mixed * u[..., ::-1] + smoothness * bends

    def preconditioned(rest: np.ndarray) -> np.ndarray:
        waves = [cv2.dct(plane) / spectrum for plane, spectrum in zip(cv2.split(rest), spectra)]
        return cv2.merge([cv2.idct(wave) for wave in waves])

    rest = right - applied(nodes_px)
    direction = step = preconditioned(rest)
    energy = first = float(np.vdot(rest, step))
    for _ in range(SOLVER_STEPS):
        if energy <= SOLVED * first:  # identical frames begin so
            break
        image = applied(direction)
        length = energy / float(np.vdot(direction, image))
        nodes_px, rest = nodes_px + length * direction, rest - length * image
        step = preconditioned(rest)
        before, energy = energy, float(np.vdot(rest, step))
        direction = step + energy / before * direction
    return nodes_px


def _bends(u: np.ndarray) -> list[np.ndarray]:
    """Second differences across, down, and √2 times the mixed one: turning u changes no sum."""
    return [
        cv2.filter2D(u, -1, CURVATURE, borderType=cv2.BORDER_REPLICATE),
        cv2.filter2D(u, -1, CURVATURE.T, borderType=cv2.BORDER_REPLICATE),
        cv2.filter2D(u, -1, TWIST, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE),
    ]


def _bends_transposed(bends: list[np.ndarray]) -> np.ndarray:
    """Σ Dᵀ bend. The first two kinds are their own transposes, thanks to the repeated border."""
    across, down, mixed = bends
    return (
        cv2.filter2D(across, -1, CURVATURE, borderType=cv2.BORDER_REPLICATE)
        + cv2.filter2D(down, -1, CURVATURE.T, borderType=cv2.BORDER_REPLICATE)
        + cv2.filter2D(mixed, -1, TWIST, anchor=(1, 1), borderType=cv2.BORDER_CONSTANT)
    )


@lru_cache(maxsize=4)
def _bending_spectrum(rows: int, columns: int) -> np.ndarray:
    """Squared second differences of the cosine transform's waves, (rows, columns)."""
    along = [2 - 2 * np.cos(np.pi * np.arange(count) / count) for count in (rows, columns)]
    return ((along[0][:, None] + along[1][None]) ** 2).astype(np.float32)
