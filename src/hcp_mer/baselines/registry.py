"""The peers by name: what they are, what they need, and where their class is.

A class is imported when it is asked for, so that one whose packages are absent harms no other.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from hcp_mer.baselines.protocol import Peer


@dataclass(frozen=True)
class Entry:
    """One peer. Attributes: `where`, "module:Class"; `paper`; `needs`, what it reads, in words."""

    where: str
    paper: str
    needs: str


_FLOW, _APEX, _BOTH = "flow", "magnified apex", "magnified apex and flow"
_TEXT = "frozen CLIP"

PEERS: Mapping[str, Entry] = {
    "majority": Entry("majority:Majority", "–", "labels"),
    "zero_shot": Entry("zero_shot:ZeroShot", "Radford et al. 2021", f"{_BOTH}, {_TEXT}"),
    "flow_logistic_regression": Entry(
        "flow_logistic_regression:FlowLogisticRegression", "Cox 1958", _FLOW
    ),
    "flow_svm": Entry("flow_svm:FlowSvm", "Cortes & Vapnik 1995", _FLOW),
    "coop": Entry("coop:CoOp", "Zhou et al. 2022", f"{_APEX}, {_TEXT}"),
    "clip_adapter": Entry("clip_adapter:ClipAdapter", "Gao et al. 2024", f"{_APEX}, {_TEXT}"),
    "mer_clip": Entry("mer_clip:MerClip", "after Liu et al. 2025", f"{_FLOW}, {_TEXT}"),
    "lbp_top": Entry("lbp_top:LbpTop", "Pfister et al. 2011", "frames: --corpus_dir"),
    "bi_woof": Entry("bi_woof:BiWoof", "Liong et al. 2018", _FLOW),
    "off_apexnet": Entry("off_apexnet:OffApexNet", "Gan et al. 2019", _FLOW),
    "ststnet": Entry("ststnet:StstNet", "Liong et al. 2019", _FLOW),
    "capsulenet": Entry("capsulenet:CapsuleNet", "Van Quang et al. 2019", _APEX),
    "rcn": Entry("rcn:Rcn", "Xia et al. 2020", _FLOW),
    "alexnet": Entry("alexnet:AlexNet", "Krizhevsky 2014", _FLOW),
    "htnet": Entry("htnet:HtNet", "Wang et al. 2024", _FLOW),
}


def peer_class(name: str) -> type:
    """The class of a registered peer.

    Raises:
        UserError: its module, or a package that it needs, is absent.
    """
    module, _, attribute = PEERS[name].where.partition(":")
    try:
        return getattr(import_module(f"hcp_mer.baselines.{module}"), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{name} cannot be loaded here ({error}). It needs {PEERS[name].needs}."
        ) from error


def make_peer(name: str, **given: Any) -> Peer:
    """A peer that has learnt nothing. `given`: for its constructor, where it takes that."""
    made_of = peer_class(name)
    taken = inspect.signature(made_of).parameters
    return made_of(**{key: value for key, value in given.items() if key in taken})


def is_heavy(name: str) -> bool:
    """Whether a peer runs only when it is asked for; so does one that cannot be loaded."""
    try:
        return peer_class(name).heavy
    except UserError:
        return True


def chosen(methods: Sequence[str] = ()) -> list[str]:
    """Names of peers, in the registry's order: as given, all after the word "all", or the light.

    Raises:
        UserError: an unknown name; says the closest.
    """
    for name in methods:
        if name not in PEERS and name != "all":
            close = difflib.get_close_matches(name, PEERS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            known = ", ".join(PEERS)
            raise UserError(f"unknown method {name!r}.{hint} Known are {known}, and all.")
    if "all" in methods:
        return list(PEERS)
    return [name for name in PEERS if (name in methods if methods else not is_heavy(name))]
