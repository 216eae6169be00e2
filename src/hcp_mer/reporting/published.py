"""The scores that the paper prints, as it prints them: Tables 1, 2 and 3, and what is odd there.

Typed in from "Learning Holistic-Componential Prompt Groups for Micro-Expression Recognition",
names and spellings included. Nothing here was measured by us, and the tables do not say on which
clips, or with which choice of epoch, the other papers' rows were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

Score = tuple[float | None, float | None]
"""(UF1, UAR) in [0, 1]; None where the paper prints a dash."""


@dataclass(frozen=True)
class PublishedColumn:
    """A pair of columns, UF1 and UAR. `dataset`, `task`: our names; `num_clips`: Tables 4 and 5."""

    title: str
    dataset: str
    task: str
    num_clips: int


@dataclass(frozen=True)
class PublishedTable:
    """One table. `rows`: method → a score for each column, the paper's own ("Ours") last.

    `notes`: (method, index of its column or None for the name itself) → what is to be known.
    `remarks`: what holds for the table as a whole.
    """

    number: int
    caption: str
    columns: tuple[PublishedColumn, ...]
    rows: dict[str, tuple[Score, ...]]
    notes: dict[tuple[str, int | None], str]
    remarks: tuple[str, ...] = ()


_SAME_ROWS = "The rows of Bi-WOOF and ICE-GAN are identical in the paper; one must be wrong."
_OTHER_CLIPS = "MER-CLIP was measured on other clips: 150 of CASME II and 110 of SAMM."
_TWO_UARS = (
    "Section 4.3 of the paper gives the UAR of this model as 0.6247; the gain of 10.33 points that "
    "it claims over MER-CLIP fits 0.6047."
)
_OTHER_COUNT = "Table 5 of the paper sums to {} clips; the authors' annotation of CAS(ME)³ has {}."

TABLE_1 = PublishedTable(
    number=1,
    caption="3-class task on SMIC, CASME II and SAMM",
    columns=(
        PublishedColumn("SMIC", "smic", "3-class", 164),
        PublishedColumn("CASME II", "casme2", "3-class", 147),
        PublishedColumn("SAMM", "samm", "3-class", 133),
    ),
    rows={
        "LBP-TOP (Pfister et al., 2011)": ((0.2000, 0.5280), (0.7026, 0.7429), (0.3957, 0.4102)),
        "Bi-WOOF (Davison et al., 2018)": ((0.5727, 0.5829), (0.7805, 0.8026), (0.5211, 0.5139)),
        "CapsuleNet (Van Quang et al., 2019)": (
            *((0.5820, 0.5877), (0.7068, 0.7018), (0.6209, 0.5989)),
        ),
        "OFF-ApexNet (Gan et al., 2019)": ((0.6817, 0.6950), (0.8764, 0.8681), (0.5409, 0.5392)),
        "RCN (Xia et al., 2020)": ((0.6326, 0.6441), (0.8512, 0.8123), (0.7601, 0.6715)),
        "ICE-GAN (Yu et al., 2021)": ((0.5727, 0.5829), (0.7805, 0.8026), (0.5211, 0.5139)),
        "SLSTT (Zhang et al., 2022)": ((0.7240, 0.7070), (0.9010, 0.8850), (0.7150, 0.6420)),
        "FeatRef (Zhou et al., 2022c)": ((0.7011, 0.7083), (0.8911, 0.8873), (0.7372, 0.7155)),
        "ME-PLAN (Zhao et al., 2022)": ((0.7130, 0.7260), (0.8630, 0.8780), (0.7160, 0.7420)),
        "Micro-BERT (Nguyen et al., 2023)": ((None, None), (0.9034, 0.8914), (None, None)),
        "SelfME (Fan et al., 2023)": ((None, None), (0.9078, 0.9230), (None, None)),
        "HTNet (Wang et al., 2024)": ((0.8049, 0.7905), (0.9532, 0.9516), (0.8131, 0.8124)),
        "EMRNet (Liu et al., 2025a)": ((0.6509, 0.6596), (0.9074, 0.8995), (0.6782, 0.6897)),
        "MER-CLIP (Liu et al., 2025b)": ((None, None), (0.9409, 0.9487), (0.8321, 0.8434)),
        "HCP_MER (the paper's “Ours”)": ((0.8032, 0.8146), (0.9547, 0.9560), (0.8426, 0.8593)),
    },
    notes={
        ("Bi-WOOF (Davison et al., 2018)", None): _SAME_ROWS,
        ("ICE-GAN (Yu et al., 2021)", None): _SAME_ROWS,
        ("MER-CLIP (Liu et al., 2025b)", None): _OTHER_CLIPS,
    },
    remarks=("The paper's CASME II has 147 clips (Table 4), the usual list of MEGC2019 145.",),
)

TABLE_2 = PublishedTable(
    number=2,
    caption="3-class task on CAS(ME)³",
    columns=(PublishedColumn("CAS(ME)³", "casme3", "3-class", 701),),
    rows={
        "AlexNet (Zhang & Zhang, 2022)": ((0.2570, 0.2634),),
        "RCN-A (Xia et al., 2020)": ((0.3928, 0.3893),),
        "FearRef (Zhou et al., 2022c)": ((0.4930, 0.3413),),
        "u-bert (Nguyen et al., 2023)": ((0.5604, 0.6125),),
        "HTNet (Wang et al., 2024)": ((0.5767, 0.5415),),
        "FDP (Shao et al., 2025)": ((0.5978, 0.5784),),
        "MER-CLIP (Liu et al., 2025b)": ((0.7832, 0.7606),),
        "HCP_MER (the paper's “Ours”)": ((0.8052, 0.8012),),
    },
    notes={("FearRef (Zhou et al., 2022c)", None): "So spelt in the paper; in Table 1 FeatRef."},
    remarks=(_OTHER_COUNT.format(701, 699),),
)

TABLE_3 = PublishedTable(
    number=3,
    caption="4-class and 7-class tasks on CAS(ME)³",
    columns=(
        PublishedColumn("4-class", "casme3", "4-class", 862),
        PublishedColumn("7-class", "casme3", "7-class", 862),
    ),
    rows={
        "AlexNet (Zhang & Zhang, 2022)": ((0.2915, 0.2910), (0.1759, 0.1801)),
        "SFAMNet (Liong et al., 2024)": ((0.4462, 0.4797), (0.2365, 0.2373)),
        "u-bert (Nguyen et al., 2023)": ((0.4718, 0.4913), (0.3264, 0.3254)),
        "ATM-GCN (Zhang et al., 2024)": ((0.5423, 0.5330), (0.4308, 0.4283)),
        "MER-CLIP (Liu et al., 2025b)": ((0.6544, 0.6242), (0.4997, 0.5014)),
        "HCP_MER (the paper's “Ours”)": ((0.7168, 0.6996), (0.5955, 0.6047)),
    },
    notes={("HCP_MER (the paper's “Ours”)", 1): _TWO_UARS},
    remarks=(_OTHER_COUNT.format(862, 860),),
)

TABLES = (TABLE_1, TABLE_2, TABLE_3)
