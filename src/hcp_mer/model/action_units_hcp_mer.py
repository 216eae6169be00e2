"""Names of facial action units: Ekman & Friesen (1978); Ekman, Friesen & Hager (2002).

41, 42 and 44 are the first edition's lid codes, which CASME-style annotations still use.
"""

from __future__ import annotations

ACTION_UNIT_NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    8: "lips toward each other",
    9: "nose wrinkler",
    10: "upper lip raiser",
    11: "nasolabial deepener",
    12: "lip corner puller",
    13: "sharp lip puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    19: "tongue show",
    20: "lip stretcher",
    21: "neck tightener",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
    29: "jaw thrust",
    30: "jaw sideways",
    31: "jaw clencher",
    32: "lip bite",
    33: "cheek blow",
    34: "cheek puff",
    35: "cheek suck",
    36: "tongue bulge",
    37: "lip wipe",
    38: "nostril dilator",
    39: "nostril compressor",
    41: "lid droop",
    42: "slit",
    43: "eyes closed",
    44: "squint",
    45: "blink",
    46: "wink",
    51: "head turn left",
    52: "head turn right",
    53: "head up",
    54: "head down",
    55: "head tilt left",
    56: "head tilt right",
    57: "head forward",
    58: "head back",
    61: "eyes turn left",
    62: "eyes turn right",
    63: "eyes up",
    64: "eyes down",
    65: "walleye",
    66: "cross-eye",
}

# What muscles of the face do, without lids, gaze, head and tongue: the manual's main codes.
MAIN_ACTION_UNITS = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18),
    *(20, 22, 23, 24, 25, 26, 27, 28),
)


def action_unit_name(number: int) -> str:
    """FACS name of an action unit, for example 4 → "brow lowerer".

    Raises:
        ValueError: a number that FACS does not have.
    """
    if number not in ACTION_UNIT_NAMES:
        known = ", ".join(map(str, ACTION_UNIT_NAMES))
        raise ValueError(f"AU{number} is unknown to FACS; its numbers are {known}.")
    return ACTION_UNIT_NAMES[number]
