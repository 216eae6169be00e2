"""Unseen domains: procedural target corpora that no pretraining here has learnt from."""

from hcp_mer.domains.domains import (
    DOMAINS,
    Domain,
    DomainClip,
    DomainClips,
    domain,
    iterate_domain,
    render_domain,
)
from hcp_mer.domains.folder import write_domain

__all__ = [
    "DOMAINS",
    "Domain",
    "DomainClip",
    "DomainClips",
    "domain",
    "iterate_domain",
    "render_domain",
    "write_domain",
]
