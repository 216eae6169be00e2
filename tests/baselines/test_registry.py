"""Every name leads to a class that keeps its promises."""

import re

import pytest

from hcp_mer.baselines import registry
from hcp_mer.baselines.registry import PEERS, chosen, make_peer, peer_class
from hcp_mer.errors import UserError


@pytest.mark.parametrize("name", PEERS)
def test_every_registered_peer_is_what_its_entry_says(name):
    found = peer_class(name)
    assert found.name == name
    assert isinstance(found.heavy, bool)
    assert callable(found.fit)
    assert callable(found.predict)
    if name != "majority":
        paper = PEERS[name].paper.removeprefix("after ")
        author, year = re.fullmatch(r"(\w+).* (\d{4})", paper).groups()
        assert author in found.__doc__
        assert year in found.__doc__
    assert make_peer(name, corpus=None).name == name


def test_the_light_ones_run_without_being_named():
    default = chosen()
    assert default[:2] == ["majority", "zero_shot"]
    assert {"flow_svm", "coop", "clip_adapter", "mer_clip"} <= set(default)
    assert not {"ststnet", "htnet", "alexnet"} & set(default)
    assert chosen(["all"]) == list(PEERS)


def test_named_ones_run_in_the_order_of_the_registry_and_once():
    assert chosen(["coop", "majority", "coop"]) == ["majority", "coop"]


@pytest.mark.parametrize(("given", "meant"), [("ststnett", "ststnet"), ("flow-svm", "flow_svm")])
def test_a_misspelt_name_gets_the_closest(given, meant):
    with pytest.raises(UserError, match=f"unknown method '{given}'. Did you mean '{meant}'"):
        chosen(["majority", given])


def test_a_class_whose_module_is_absent_harms_nobody_else(monkeypatch):
    entry = registry.Entry("nowhere:Nothing", "–", "a package of its own")
    monkeypatch.setattr(registry, "PEERS", {"majority": PEERS["majority"], "nothing": entry})
    assert chosen() == ["majority"]
    with pytest.raises(UserError, match=r"nothing cannot be loaded .* a package of its own"):
        make_peer("nothing")
