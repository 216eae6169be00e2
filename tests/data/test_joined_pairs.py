"""Several sources as one: what fits is joined, what one checkpoint could not prepare is refused."""

import shutil
import zlib

import pytest

from hcp_mer.data.composite import corpora_of
from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from tests.foreign_pairs import write_foreign_pairs, write_metadata
from tests.prepared_pairs import SETTINGS, write_prepared_pairs


def foreign(folder, subjects=("s01",), **options):
    options.setdefault("seed", zlib.crc32(folder.name.encode()))  # two corpora are not one
    write_foreign_pairs(folder, subjects, clips_per_class=1, size=32, **options)
    return folder


def test_sources_stand_in_order_of_name_and_keep_their_names(tmp_path):
    names = ("a", "b", "c")
    folders = [foreign(tmp_path / name, ("s01", "s02"), seed=i) for i, name in enumerate(names)]
    pairs = load_pairs(*folders)
    assert pairs.column("dataset") == ["a"] * 6 + ["b"] * 6 + ["c"] * 6
    assert pairs.column("subject") == (["s01"] * 3 + ["s02"] * 3) * 3
    assert pairs.sources == tuple(map(str, folders))
    assert all(str(folder) in pairs.source for folder in folders)
    for offset, folder in zip((0, 6, 12), folders):
        alone = load_pairs(folder)
        assert alone.sources == (str(folder),)
        for view in ("magnified", "flow"):
            assert (pairs.image(offset + 4, view) == alone.image(4, view)).all()


def test_optional_columns_are_empty_where_a_source_lacks_them(tmp_path):
    more = {"apex": [7, 8, 9], "action_units": [["4"], [], ["L12", "6"]], "note": ["x", "y", "z"]}
    one = write_prepared_pairs(tmp_path / "one", "a", ("s01",), columns=more)
    two = write_prepared_pairs(tmp_path / "two", "b", ("s01",))
    for order, rows in (((one, two), (0, 3)), ((two, one), (0, 3))):
        pairs = load_pairs(*order)
        with_them, without = rows
        assert pairs.column("apex")[with_them : with_them + 3] == [7, 8, 9]
        assert pairs.column("apex")[without : without + 3] == [None] * 3
        assert pairs.column("action_units")[with_them : with_them + 3] == more["action_units"]
        assert pairs.column("action_units")[without : without + 3] == [[], [], []]
        assert "note" not in pairs.table.column_names  # not of the contract
        assert pairs.settings == SETTINGS
    assert "note" in load_pairs(one).table.column_names  # a source by itself is as it was


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"estimator": "farneback"}, "estimator is lucas_kanade in {one} and farneback in {two}"),
        ({"image_size": 64}, "image_size is 32 in {one} and 64 in {two}"),
        (
            {"estimator_weights": {"sha256": "02"}},
            "estimator_weights.sha256 is not recorded in {one} and 02 in {two}",
        ),
        (
            {"motion": {"alpha": 4.0, "max_displacement_px": 10.0}},
            "motion.alpha is 8.0 in {one} and 4.0 in {two}",
        ),
        (
            {"motion": {"alpha": 8.0}},
            "motion.max_displacement_px is 10.0 in {one} and not recorded in {two}",
        ),
    ],
)
def test_motion_measured_in_two_ways_is_refused(tmp_path, change, said):
    one = write_prepared_pairs(tmp_path / "one", "a", ("s01",))
    two = write_prepared_pairs(tmp_path / "two", "b", ("s01",), settings={**SETTINGS, **change})
    with pytest.raises(UserError) as error:
        load_pairs(one, two)
    assert said.format(one=one, two=two) in str(error.value)
    assert "\n" not in str(error.value)


def test_faces_may_be_found_in_different_ways(tmp_path):
    found = [{**SETTINGS, "face": {"detector": name}} for name in ("cascade", "none", "cascade")]
    folders = [
        write_prepared_pairs(tmp_path / name, name, ("s01",), settings=settings)
        for name, settings in zip("abc", found)
    ]
    assert load_pairs(folders[0], folders[2]).settings == found[0]
    # Nothing is said of all clips that holds for some.
    assert load_pairs(*folders).settings == SETTINGS


def test_pairs_of_unknown_making_do_not_go_with_prepared_ones(tmp_path):
    prepared = write_prepared_pairs(tmp_path / "prepared", "a", ("s01",))
    unknown = foreign(tmp_path / "unknown")
    for order in ((prepared, unknown), (unknown, prepared)):
        with pytest.raises(UserError) as error:
            load_pairs(*order)
        assert f"{prepared} was made by prepare_dataset.py and {unknown} elsewhere" in str(
            error.value
        )


def test_a_clip_that_stands_in_two_sources_is_named(tmp_path):
    one = foreign(tmp_path / "one", extra_columns={"dataset": "a"})
    two = foreign(tmp_path / "two", extra_columns={"dataset": "a"})
    with pytest.raises(UserError, match=r"clip a/s01/000n stands 2 times in .*one, .*two"):
        load_pairs(one, two)


def test_parts_of_one_corpus_share_their_people(tmp_path):
    one = foreign(tmp_path / "one", extra_columns={"dataset": "a"})
    rows = write_foreign_pairs(tmp_path / "two", ("s01",), clips_per_class=1, size=32)
    write_metadata(
        tmp_path / "two", [{**r, "dataset": "a", "clip_id": f"2-{r['clip_id']}"} for r in rows]
    )
    pairs = load_pairs(one, tmp_path / "two")
    assert len(pairs) == 6
    assert set(zip(pairs.column("dataset"), pairs.column("subject"))) == {("a", "s01")}


def test_a_column_of_another_kind_is_named(tmp_path):
    one = write_prepared_pairs(tmp_path / "one", "a", ("s01",))
    two = write_prepared_pairs(
        tmp_path / "two", "b", ("s01",), columns={"onset": ["first", "second", "third"]}
    )
    with pytest.raises(UserError, match=r"column onset of \S+two cannot be read as int32"):
        load_pairs(one, two)


def test_the_fingerprint_is_that_of_all_sources(tmp_path):
    one, two = foreign(tmp_path / "a"), foreign(tmp_path / "b", seed=1)
    both = load_pairs(one, two).fingerprint()
    assert len({load_pairs(one).fingerprint(), load_pairs(two).fingerprint(), both}) == 3
    (two / "flow" / "s01_000n.png").write_bytes((two / "flow" / "s01_000p.png").read_bytes())
    assert load_pairs(one, two).fingerprint() != both


def test_a_corpus_on_both_sides_is_refused_however_its_name_is_written(tmp_path):
    training = load_pairs(foreign(tmp_path / "a"), foreign(tmp_path / "SAMM"))
    testing = load_pairs(foreign(tmp_path / "samm"), foreign(tmp_path / "c"))
    with pytest.raises(UserError, match=r"corpus samm is on both sides, in .*SAMM and in .*samm"):
        corpora_of(training, testing)
    assert corpora_of(training, load_pairs(tmp_path / "c")) == ("c",)


def test_the_order_of_the_sources_changes_nothing(tmp_path):
    one, two = foreign(tmp_path / "b", ("s2", "s1")), foreign(tmp_path / "a", ("s1",))
    pairs, turned = load_pairs(one, two), load_pairs(two, one)
    clips = list(zip(*(pairs.column(name) for name in ("dataset", "subject", "clip_id"))))
    people = [("a", "s1"), ("b", "s1"), ("b", "s2")]
    assert clips == [(*who, clip) for who in people for clip in ("000n", "000p", "000s")]
    assert turned.fingerprint() == pairs.fingerprint()
    expected = load_pairs(one).image(0, "flow")  # b/s2/000n, the last person's first
    assert (pairs.image(6, "flow") == expected).all()
    assert load_pairs(one).column("subject") == ["s2"] * 3 + ["s1"] * 3  # alone: as it lies


def test_two_spellings_of_one_corpus_are_refused(tmp_path):
    one, two = foreign(tmp_path / "casme2"), foreign(tmp_path / "CASME2")
    with pytest.raises(UserError, match="datasets CASME2 and casme2 differ in case only") as error:
        load_pairs(one, two)
    assert "\n" not in str(error.value)


def test_a_clip_that_is_two_peoples_is_refused_and_both_are_named(tmp_path):
    one, two = foreign(tmp_path / "a"), foreign(tmp_path / "b")
    for view in ("magnified", "flow"):
        shutil.copy(one / view / "s01_000n.png", two / view / "s01_000s.png")
        if view == "magnified":  # a view alone is no clip
            assert len(load_pairs(one, two)) == 6
    with pytest.raises(UserError, match=r"clips a/s01/000n and b/s01/000s in .* same images"):
        load_pairs(one, two)
