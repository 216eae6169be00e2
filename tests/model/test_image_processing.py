"""From images to tensors: by hand, from every kind of image, as in training, mistakes named."""

import http.server
import json
import threading
import warnings

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor

from hcp_mer.data.builders import prepare_pairs
from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.pairs import load_pairs
from hcp_mer.data.synthetic.corpus import write_corpus
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor, as_rgb
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.motion.pair import PairSettings


@pytest.fixture
def processor():
    return HcpMerImageProcessor(
        image_size=8, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.2, 0.1], motion_size=64
    )


@pytest.fixture(scope="module")
def noise():
    """A colourful image, height 32, width 24."""
    return np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8)


def picture(value, size=16):
    return np.full((size, size, 3), value, np.uint8)


def test_pixels_by_hand(processor):
    pixels = processor(magnified=picture(51), flow=picture(255), return_tensors="np")
    assert pixels["pixel_values"].shape == pixels["flow_pixel_values"].shape == (1, 3, 8, 8)
    # 51 / 255 = 0.2: (0.2 − 0.5) / 0.5, (0.2 − 0.4) / 0.2, (0.2 − 0.3) / 0.1.
    assert np.allclose(pixels["pixel_values"][0, :, 3, 3], [-0.6, -1.0, -1.0], atol=1e-6)
    assert np.allclose(pixels["flow_pixel_values"][0, :, 0, 0], [1.0, 3.0, 7.0], atol=1e-5)
    assert pixels["pixel_values"].dtype == np.float32


def test_onset_and_apex_are_the_pair_they_make(processor):
    rng = np.random.default_rng(0)
    onset, apex = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pair = motion_pair(onset, apex, MotionSettings())
    expected = processor(magnified=pair.magnified, flow=pair.flow_image, return_tensors="np")
    given = processor(onset=[onset], apex=[apex], return_tensors="np")
    for name in ("pixel_values", "flow_pixel_values"):
        assert np.array_equal(given[name], expected[name])


def test_inference_sees_the_very_pixels_that_training_saw(tmp_path):
    """Training: frames → pairs → parquet → to_pixels. Inference: the two frames."""
    settings = PairSettings(image_size=64, motion=MotionSettings(alpha=4.0))
    write_corpus(tmp_path / "c", seed=1, num_subjects=2, clips_per_subject=2, num_proc=1, size=80)
    reading = read_casme2(tmp_path / "c", name="procedural")
    prepare_pairs(reading, tmp_path / "pairs", settings)
    pairs = load_pairs(tmp_path / "pairs")
    processor = HcpMerImageProcessor(
        image_size=32,
        motion_size=pairs.settings["image_size"],
        motion=pairs.settings["motion"],
        estimator=pairs.settings["estimator"],
        magnifier=pairs.settings["magnifier"],
    )
    clips = {(record.subject, record.clip_id): record for record in reading.records}
    ids = list(zip(pairs.column("subject"), pairs.column("clip_id")))
    onsets, apexes = [], []
    for row, clip in enumerate(ids):
        frames = clips[clip].frames
        onsets.append(frames.path(clips[clip].onset))
        apexes.append(frames.path(pairs.table[row]["apex"]))  # annotated or spotted
    at_inference = processor(onset=onsets, apex=apexes, return_tensors="np")
    for name, view in (("pixel_values", "magnified"), ("flow_pixel_values", "flow")):
        in_training = [processor.to_pixels(pairs.image(row, view)) for row in range(len(pairs))]
        assert np.array_equal(at_inference[name], np.stack(in_training))
        assert at_inference[name].std(axis=0).max() > 0.1  # the clips differ


def smooth_flow_image(size, shift=(0, 0)):
    """u and v in levels 60 to 145, a third channel in 0 to 51, from waves; shift: in periods."""
    y, x = (np.mgrid[:size, :size] + 0.5) * 2 * np.pi / size
    u = np.cos(x + shift[0]) * np.sin(y) + 0.4 * np.cos(y)
    v = np.sin(x) * np.cos(y / 2 + shift[1]) - 0.3 * np.sin(y)
    third = np.cos(x / 2 - 1) ** 2 * np.sin(y / 2)
    channels = [(c - c.min()) / (c.max() - c.min()) for c in (u, v, third)]
    levels = np.stack(channels, axis=-1) * (85, 85, 51) + (60, 60, 0)
    return np.rint(levels).astype(np.uint8)


@pytest.fixture
def standardising():
    """side → a processor that standardises flow; its mean and deviation are for faces alone."""

    def make(side):
        return HcpMerImageProcessor(
            image_size=side,
            image_mean=[0.5, 0.4, 0.3],
            image_std=[0.5, 0.2, 0.1],
            flow_normalisation="standardised",
        )

    return make


def flow_pixels(processor, image):
    return processor(flow=image, return_tensors="np")["flow_pixel_values"][0]


def test_standardised_flow_by_hand(standardising):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 100
    image[:8, :8, 0] = 110  # a quarter: median 100, root mean square √(10² / 4) = 5
    image[..., 1] = 120
    image[:8, :, 1] = 130  # half: median 125, root mean square 5
    image[:, :8, 2] = 10  # half: mean 5, standard deviation 5; weighted 0.6
    u, v, third = flow_pixels(standardising(16), image)
    expected = np.zeros((3, 16, 16))
    expected[0, :8, :8] = 2
    expected[1] = -1
    expected[1, :8] = 1
    expected[2] = -0.6
    expected[2, :, :8] = 0.6
    np.testing.assert_allclose([u, v, third], expected, atol=1e-5)


def test_what_is_far_out_is_cut_off(standardising):
    image = picture(100)
    image[3, 5] = 200, 0, 250  # one pixel of 256: 16 root mean squares out
    image[7, 7, 2] = 0
    pixels = flow_pixels(standardising(16), image)
    assert pixels[0].max() == 4
    assert pixels[1].min() == -4
    assert pixels[2].max() == pytest.approx(0.6 * 4)
    assert pixels[2].min() == pytest.approx(0.6 * -2)


@pytest.mark.parametrize("side", [28, 64])
def test_standardised_flow_knows_no_stretch_and_no_head_motion(standardising, side):
    image = smooth_flow_image(56)
    levels = image.reshape(-1, 3)
    assert levels.min(axis=0).tolist() == [60, 60, 0]
    assert levels.max(axis=0).tolist() == [145, 145, 51]
    stretched = (image - np.uint8([60, 60, 0])) * np.uint8([3, 3, 5])  # each channel's min–max
    assert stretched.reshape(-1, 3).max(axis=0).tolist() == [255, 255, 255]
    head_moves = image + np.uint8([110, 0, 0]) - np.uint8([0, 40, 0])
    processor = standardising(side)
    expected = flow_pixels(processor, image)
    assert expected.std() > 0.5
    for other in (stretched, head_moves):
        np.testing.assert_allclose(flow_pixels(processor, other), expected, atol=1e-3)


def test_standardised_flow_is_nearly_the_same_from_any_size(standardising):
    processor = standardising(28)
    small, large = (flow_pixels(processor, smooth_flow_image(size)) for size in (28, 224))
    # Levels are whole: half a level is 0.03 of the root mean square of the faintest channel.
    np.testing.assert_allclose(small, large, atol=0.1)
    other = flow_pixels(processor, smooth_flow_image(28, shift=(0.5, 0.5)))
    assert np.abs(small - other).max() > 0.5


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flow_image_without_content_becomes_zero(standardising, level):
    pixels = flow_pixels(standardising(28), picture(level, 56))
    assert np.array_equal(pixels, np.zeros((3, 28, 28), np.float32))


def test_rounding_of_a_still_image_stays_small(standardising):
    image = picture(128, 56)
    image[::7, ::5] += 1
    assert np.abs(flow_pixels(standardising(56), image)).max() <= 1


def test_magnified_images_are_not_touched_by_it(processor, standardising, noise):
    expected = processor(magnified=noise, flow=noise, return_tensors="np")
    found = standardising(8)(magnified=noise, flow=noise, return_tensors="np")
    assert np.array_equal(found["pixel_values"], expected["pixel_values"])
    assert not np.allclose(found["flow_pixel_values"], expected["flow_pixel_values"])


def test_flow_is_standardised_from_onset_and_apex_too_and_it_travels(standardising, tmp_path):
    onset, apex = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    processor = standardising(32)
    processor.save_pretrained(tmp_path)
    for one in (processor, AutoImageProcessor.from_pretrained(tmp_path, trust_remote_code=True)):
        found = one(onset=onset, apex=apex, return_tensors="np")["flow_pixel_values"]
        assert np.abs(np.median(found[0, :2], axis=(1, 2))).max() < 0.01
        # Squares count as far as twice the plain root mean square.
        plain = np.sqrt((found[0, :2] ** 2).mean(axis=(1, 2), keepdims=True))
        capped = found[0, :2].clip(-2 * plain, 2 * plain)
        np.testing.assert_allclose((capped**2).mean(axis=(1, 2)), 1, atol=0.1)


def test_every_kind_of_image_is_read(processor, noise, tmp_path):
    path = tmp_path / "face with space.png"
    Image.fromarray(noise).save(path)
    opaque = np.concatenate([noise, np.full((32, 24, 1), 9, np.uint8)], axis=2)
    upside_down = noise[::-1].copy()[::-1]  # not contiguous
    images = [noise, Image.fromarray(noise), path, str(path), opaque, upside_down]
    pixels = processor(magnified=images, return_tensors="np")["pixel_values"]
    assert pixels.shape == (6, 3, 8, 8)
    assert all(np.array_equal(pixels[0], other) for other in pixels[1:])
    grey = noise[..., 0]
    greys = [grey, grey[..., None], np.repeat(grey[..., None], 3, axis=2), Image.fromarray(grey)]
    pixels = processor(flow=greys, return_tensors="np")["flow_pixel_values"]
    assert all(np.array_equal(pixels[0], other) for other in pixels[1:])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_of_8_bits_are_converted(mode, noise):
    image = Image.fromarray(noise).convert("L" if mode in ("LA", "PA") else "RGB").convert(mode)
    if mode == "P":
        image.info["transparency"] = bytes([0] * 5)  # Pillow warns of these
    shown = np.asarray(image.convert("RGBA" if "A" in mode or mode == "P" else "RGB"))[..., :3]
    assert np.array_equal(as_rgb(image), shown)


@pytest.mark.parametrize("mode", ["I;16", "I", "I;16B"])
def test_16_bit_grey_is_scaled_and_not_cut_off(mode, tmp_path):
    levels = np.linspace(0, 65535, 32 * 24).reshape(32, 24).astype(np.uint16)
    image = {
        "I;16": Image.fromarray(levels),
        "I": Image.fromarray(levels.astype(np.int32)),  # how Pillow 10 opens a 16-bit PNG
        "I;16B": Image.frombytes("I;16B", (24, 32), levels.astype(">u2").tobytes()),
    }[mode]
    assert image.mode == mode
    expected = np.repeat((levels // 256).astype(np.uint8)[..., None], 3, axis=2)
    assert np.array_equal(as_rgb(image), expected)
    Image.fromarray(levels).save(tmp_path / "16.png")
    assert np.array_equal(as_rgb(tmp_path / "16.png"), expected)


@pytest.mark.parametrize("values", [(0, 4095), (0, 255), (-1, 65535), (0, 70000)])
def test_integers_that_are_not_16_bits_are_refused(values):
    levels = np.full((16, 16), values[0], np.int32)
    levels[0] = values[1]
    with pytest.raises(ValueError, match=f"got {values[0]} to {values[1]}. Bring them to 0–255"):
        as_rgb(Image.fromarray(levels))


def test_exif_rotation_is_honoured_in_files_and_pil_images(tmp_path, noise):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise to show it upright
    Image.fromarray(noise).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(noise, k=-1)
    assert np.array_equal(as_rgb(tmp_path / "turned.png"), upright)
    with Image.open(tmp_path / "turned.png") as image:
        assert np.array_equal(as_rgb(image), upright)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give either onset= and apex=, or magnified= and flow="),
        ({"onset": picture(1)}, "onset and apex belong together"),
        ({"onset": picture(1), "apex": picture(1), "flow": picture(1)}, "give either"),
        ({"images": picture(1)}, "HCP_MER reads two views"),
        ({"magnified": [picture(1)] * 2, "flow": [picture(1)]}, "got 2 magnified, 1 flow"),
        ({"onset": [picture(1)] * 2, "apex": [picture(1)]}, "got 2 onset, 1 apex"),
        ({"onset": [], "apex": []}, "onset is an empty list: give at least one clip"),
        ({"flow": [picture(1), None]}, r"flow\[1\] must be a path, .*; got None"),
        ({"flow": [[picture(1)]]}, r"flow\[0\] must be a path, .*; got list"),
        ({"flow": {"bytes": b"", "path": None}}, r"got dict\. .* datasets.Image\(\)\) decodes it"),
        ({"onset": picture(1, 64), "apex": picture(1, 32)}, "one size; got 64×64 and 32×32 px"),
        ({"onset": picture(1, 64), "apex": picture(1, 64)}, "onset is one flat colour"),
        ({"flow": np.zeros((16, 16, 3))}, "float64 array .* must be uint8: bring its values to 0"),
        ({"flow": np.zeros((16, 16), np.uint16)}, r"uint16 array of shape \(16, 16\), an image mu"),
        ({"flow": picture(1).transpose(2, 0, 1)}, r"put the channels last, .*transpose\(1, 2, 0\)"),
        ({"flow": np.stack([picture(1)])}, r"several clips are a list of images; give list\(array"),
        ({"flow": picture(1)[..., :2]}, r"has \(height, width\) or \(height, width, 3\)"),
        ({"flow": picture(1, 1)}, "flow is 1×1 px and shows no face"),
        ({"flow": [picture(1), picture(1, 15)]}, r"flow\[1\] is 15×15 px and shows no face"),
        ({"flow": Image.new("F", (16, 16))}, "mode F"),
        ({"flow": "/nowhere/at/all.png"}, "flow: cannot read /nowhere/at/all.png .* no such file"),
        ({"flow": "iVBORw0KGgo" * 999}, "cannot read iVBORw0.*… .10989 characters. as an image"),
    ],
)
def test_mistakes_are_named_in_one_line(processor, inputs, message):
    with pytest.raises(ValueError, match=message) as caught:
        processor(**inputs)
    assert "\n" not in str(caught.value)


def damaged_files(folder, noise):
    Image.fromarray(noise).save(folder / "truncated.png")
    Image.fromarray(noise).save(folder / "truncated.jpg")
    for path in list(folder.iterdir()):
        path.write_bytes(path.read_bytes()[:-200])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    return sorted(folder.iterdir())


def test_damaged_files_are_named_in_one_line(processor, noise, tmp_path):
    paths = damaged_files(tmp_path, noise)
    assert len(paths) == 5
    for path in paths:
        with pytest.raises(ValueError, match=f"magnified: cannot read {path} as an image") as error:
            processor(magnified=path)
        assert "\n" not in str(error.value)
    with (
        Image.open(tmp_path / "truncated.jpg") as image,
        pytest.raises(
            ValueError, match="cannot read the PIL image as an image: image file is trun"
        ),
    ):
        processor(magnified=image)


def test_a_file_beyond_pillows_limit_is_refused_in_one_line(noise, tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.fromarray(noise).save(path)  # 768 pixels
    for limit in (700, 300):  # Pillow warns above its limit and refuses above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"cannot read .*huge\.png as an image: .* limit"):
            as_rgb(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="24×32 px is more than Pillow's limit of 700 pixels"):
            as_rgb(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the user's own decision
    assert np.array_equal(as_rgb(path), noise)


def test_an_image_at_a_url_is_read_and_a_bad_url_named(noise, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Image.fromarray(noise).save(tmp_path / "face.png")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert np.array_equal(as_rgb(f"{address}/face.png"), noise)
        with pytest.raises(ValueError, match=f"cannot read {address}/absent.png as an image"):
            as_rgb(f"{address}/absent.png")
        server.shutdown()
    with pytest.raises(ValueError, match=f"cannot read {address}/face.png as an image: .*refused"):
        as_rgb(f"{address}/face.png")


def test_motion_that_does_not_travel_is_refused():
    weights = {"variant": "official", "file": "magnet.pth", "sha256": "0123456789abcdef"}
    processor = HcpMerImageProcessor(image_size=8, magnifier="magnet", magnifier_weights=weights)
    method = r"flow lucas_kanade, magnification magnet \(magnet.pth, sha256 0123456789ab…\)"
    with pytest.raises(ValueError, match=method):
        processor(onset=picture(1, 64), apex=picture(1, 64))
    assert processor(flow=picture(1))["flow_pixel_values"].shape == (1, 3, 8, 8)


def test_a_config_older_than_the_encodings_means_the_one_there_was(tmp_path):
    HcpMerImageProcessor(motion={"flow_encoding": "hsv", "flow_scale_px": 0.5}).save_pretrained(
        tmp_path
    )
    path = tmp_path / "preprocessor_config.json"
    config = json.loads(path.read_text())
    assert (config["motion"]["flow_encoding"], config["motion"]["flow_scale_px"]) == ("hsv", 0.5)
    del config["motion"]["flow_encoding"], config["motion"]["flow_scale_px"]
    path.write_text(json.dumps(config))
    older = HcpMerImageProcessor.from_pretrained(tmp_path).motion
    assert (older["flow_encoding"], older["flow_scale_px"]) == ("uv_strain", None)


def test_settings_travel_in_the_processors_config(noise, tmp_path):
    strong = HcpMerImageProcessor(
        image_size=16, image_mean=[0.1] * 3, image_std=[0.3] * 3, resample=2, motion={"alpha": 3.0}
    )
    strong.save_pretrained(tmp_path)
    inputs = {"onset": noise, "apex": noise[::-1], "return_tensors": "np"}
    expected = strong(**inputs)
    for loaded in (
        HcpMerImageProcessor.from_pretrained(tmp_path),
        AutoImageProcessor.from_pretrained(tmp_path, trust_remote_code=True),
    ):
        assert loaded.motion["alpha"] == 3.0
        for one, other in zip(expected.values(), loaded(**inputs).values()):
            assert np.array_equal(one, other)
        assert loaded.to_json_string() == strong.to_json_string()
    assert HcpMerImageProcessor.from_pretrained(tmp_path, image_size=32).image_size == 32
    with pytest.raises(ValueError, match="image_size must be a whole number of px"):
        HcpMerImageProcessor.from_pretrained(tmp_path, image_size=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size must be a whole number of px, at least 1; got 0"),
        ({"image_size": 224.0}, r"image_size must be a whole number of px, at least 1; got 224\.0"),
        ({"motion_size": 16}, "motion_size must be a whole number of px, at least 32; got 16"),
        ({"motion": {"aplha": 3}}, r"settings alpha, max_displacement_px, .*; got \{'aplha': 3\}"),
        ({"motion": 3}, "motion may have the settings alpha, .*; got 3"),
        ({"motion": {"alpha": "3"}}, "motion's alpha must be a number; got '3'"),
        ({"motion": {"alpha": 0.5}}, "alpha must be at least 1"),
        ({"image_mean": [0.5]}, r"image_mean must be three numbers, .*; got \[0\.5\]"),
        ({"image_std": [0.5, 0.5, 0]}, r"image_std must be positive; got \[0\.5, 0\.5, 0\]"),
        (
            {"flow_normalisation": "median"},
            "flow_normalisation must be image or standardised; got 'median'",
        ),
        ({"resample": 9}, "resample must be a PIL filter, 0 to 5 .*; got 9"),
        ({"image_sise": 224}, "no setting 'image_sise'. Did you mean image_size"),
        (
            {"do_normalize": False},
            "no setting 'do_normalize'. It has estimator, estimator_weights, flow_normalisation",
        ),
    ],
)
def test_wrong_settings_are_named_in_one_line(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        HcpMerImageProcessor(**settings)
    assert "\n" not in str(caught.value)
    HcpMerImageProcessor().save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises(ValueError, match=message):
        HcpMerImageProcessor.from_pretrained(tmp_path)
