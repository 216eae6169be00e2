"""flow_to_image and flip_flow_image, by hand."""

import numpy as np
import pytest

from hcp_mer.model.flow_image_hcp_mer import ENCODINGS, flip_flow_image, flow_to_image


def uniform(dx_px: float, dy_px: float) -> np.ndarray:
    flow_px = np.empty((40, 50, 2), np.float32)
    flow_px[...] = (dx_px, dy_px)
    return flow_px


@pytest.mark.parametrize(
    ("flow_px", "floor_px", "levels", "scale_px"),
    [
        (uniform(0, 0), 0.25, (128, 128, 0), 0.25),
        (uniform(0.5, 0), 0.25, (255, 128, 0), 0.5),
        (uniform(0, -0.5), 0.25, (128, 1, 0), 0.5),
        (uniform(0.3, -0.4), 0.25, (204, 26, 0), 0.5),  # 128 + 127 · 0.6, 128 − 127 · 0.8
        (uniform(0.3, -0.4), 2.0, (147, 103, 0), 2.0),  # 128 + 127 · 0.15, 128 − 127 · 0.2
    ],
)
def test_levels_of_a_uniform_flow(flow_px, floor_px, levels, scale_px):
    image, found_px = flow_to_image(flow_px, floor_px)
    assert image.dtype == np.uint8
    assert found_px == pytest.approx(scale_px)
    np.testing.assert_array_equal(image, np.broadcast_to(np.uint8(levels), image.shape))


def ramp(size: int) -> np.ndarray:
    """0.01 px per px about the middle: at 224 its 99th percentile is 1.105 px."""
    return (0.01 * (np.arange(size) - (size - 1) / 2)).astype(np.float32)


def test_strain_of_a_stretch_is_its_slope_and_of_a_shear_root_half_of_it():
    stretch, shear = np.zeros((2, 224, 224, 2), np.float32)
    stretch[..., 0] = ramp(224)
    shear[..., 0] = ramp(224)[:, None]
    for flow_px, level in ((stretch, 14), (shear, 10)):  # 255 · 0.01 · 6 / 1.105, and / √2
        image, scale_px = flow_to_image(flow_px, 0.25)
        assert scale_px == pytest.approx(1.105)
        np.testing.assert_array_equal(image[2:-2, 2:-2, 2], level)


def test_strain_looks_alike_at_twice_the_width():
    wide = np.zeros((448, 448, 2), np.float32)
    wide[..., 0] = ramp(448)
    image, scale_px = flow_to_image(wide, 0.5)
    assert scale_px == pytest.approx(2.215, abs=0.01)
    np.testing.assert_array_equal(image[2:-2, 2:-2, 2], 14)  # 255 · 0.01 · 12 / 2.215


def test_one_wild_pixel_saturates_and_does_not_set_the_scale():
    flow_px = np.zeros((40, 50, 2), np.float32)
    flow_px[20, 20] = (-9, 9)
    image, scale_px = flow_to_image(flow_px, 0.25)
    assert scale_px == 0.25
    np.testing.assert_array_equal(image[20, 20, :2], (1, 255))


def test_a_fixed_scale_is_kept_and_what_exceeds_it_saturates():
    image, scale_px = flow_to_image(uniform(0.5, -3.0), 0.25, scale_px=2.0)
    assert scale_px == 2.0
    np.testing.assert_array_equal(image[3, 4], (160, 1, 0))  # 128 + 127 · 0.25, and saturated


@pytest.mark.parametrize(
    ("dx_px", "dy_px", "levels"),
    [(0, 0, (128, 128, 0)), (0.3, -0.4, (204, 26, 255)), (3, 4, (255, 255, 255))],
)
def test_magnitude_stands_in_the_third_channel(dx_px, dy_px, levels):
    image, _ = flow_to_image(uniform(dx_px, dy_px), 0.25, "uv_magnitude", scale_px=0.5)
    np.testing.assert_array_equal(image[3, 4], levels)


@pytest.mark.parametrize("degrees", [0, 60, 90, 200, 315])
def test_in_hsv_the_hue_is_the_direction_and_brightness_the_length(degrees):
    from matplotlib.colors import hsv_to_rgb

    angle = np.deg2rad(degrees)
    flow_px = uniform(0.3 * np.cos(angle), 0.3 * np.sin(angle))
    image, _ = flow_to_image(flow_px, 0.25, "hsv", scale_px=0.5)
    expected = 255 * hsv_to_rgb((degrees / 360, 1.0, 0.6))
    np.testing.assert_allclose(image[3, 4], expected, atol=1)
    still, _ = flow_to_image(uniform(0, 0), 0.25, "hsv")
    np.testing.assert_array_equal(still, 0)


@pytest.fixture
def smooth_flow_px() -> np.ndarray:
    rows, columns = np.mgrid[0:60, 0:70] / 10
    return np.stack([np.sin(columns + rows), np.cos(columns - 2 * rows)], axis=-1).astype(
        np.float32
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_flipping_the_image_is_flipping_the_face(smooth_flow_px, encoding):
    image, _ = flow_to_image(smooth_flow_px, 0.25, encoding)
    mirrored_px = smooth_flow_px[:, ::-1] * np.float32([-1, 1])
    expected, _ = flow_to_image(np.ascontiguousarray(mirrored_px), 0.25, encoding)
    difference = flip_flow_image(image, encoding).astype(int) - expected
    assert np.abs(difference).max() <= 1
    if encoding != "hsv":
        np.testing.assert_array_equal(difference[..., :2], 0)


def test_flipping_twice_changes_nothing(smooth_flow_px):
    image, _ = flow_to_image(smooth_flow_px, 0.25)
    np.testing.assert_array_equal(flip_flow_image(flip_flow_image(image)), image)
    assert (flip_flow_image(image) != image).any()


def test_flipping_negates_u_and_nothing_else():
    image = np.uint8([[[1, 7, 9], [128, 8, 10], [200, 250, 255]]])
    np.testing.assert_array_equal(
        flip_flow_image(image), [[[56, 250, 255], [128, 8, 10], [255, 7, 9]]]
    )


def test_the_level_that_flow_images_never_use_saturates():
    foreign = np.zeros((2, 2, 3), np.uint8)
    np.testing.assert_array_equal(flip_flow_image(foreign)[..., 0], 255)


def test_what_is_no_flow_is_refused():
    with pytest.raises(ValueError, match=r"shape \(H, W, 2\), got \(8, 8, 3\)"):
        flow_to_image(np.zeros((8, 8, 3), np.float32), 0.25)
    with pytest.raises(ValueError, match="must be finite"):
        flow_to_image(np.full((8, 8, 2), np.inf, np.float32), 0.25)
    with pytest.raises(ValueError, match="floor_px must be more than 0 px, got 0"):
        flow_to_image(np.zeros((8, 8, 2), np.float32), 0)
    with pytest.raises(ValueError, match="scale_px must be more than 0 px, got -1"):
        flow_to_image(np.zeros((8, 8, 2), np.float32), 0.25, scale_px=-1)
    with pytest.raises(ValueError, match=r"one of uv_strain, uv_magnitude, hsv.*mean 'uv_strain'"):
        flow_to_image(np.zeros((8, 8, 2), np.float32), 0.25, "uv_strian")
    with pytest.raises(ValueError, match=r"flow_encoding must be one of .*, got 'rgb'"):
        flip_flow_image(np.zeros((8, 8, 3), np.uint8), "rgb")
    with pytest.raises(ValueError, match="image must be a uint8 array, got float64"):
        flip_flow_image(np.zeros((8, 8, 3)))
