"""Foreign pairs with action units, and the prompts that follow from them by hand."""

from tests.foreign_pairs import CLASSES, write_foreign_pairs, write_metadata

SUBJECTS = ("006", "007", "a b")
# Two clips of each class: (negative, positive, surprise) per subject.
UNITS = {
    "006": (("4", "4+7"), ("12", "6+12"), ("1+2", "1+2")),
    "007": (("L4", "7+R4"), ("12", "6+12"), ("1+2", "26")),
    "a b": (("4", "9"), ("12", "12"), ("1+2", "")),
}
# Counted by hand on the other two; "a b" alone makes 4+7 and 6+12 frequent, by being held out.
NEGATIVE = {"006": [[4]], "007": [[4]], "a b": [[4], [4, 7]]}
POSITIVE = {"006": [[12]], "007": [[12]], "a b": [[6, 12], [12]]}


def groups_by_hand(subject):
    sets = (NEGATIVE[subject], POSITIVE[subject], [[1, 2]])
    return [
        {"label": name, "emotion": name, "action_units": own} for name, own in zip(CLASSES, sets)
    ]


def write_annotated_pairs(folder, units=UNITS, dataset="pairs", seed=0):
    rows = write_foreign_pairs(folder, SUBJECTS, clips_per_class=2, size=32, seed=seed)
    seen = {}
    for row in rows:
        key = row["subject"], row["emotion"]
        clip = seen[key] = seen.get(key, -1) + 1
        row["action_units"] = units[row["subject"]][CLASSES.index(row["emotion"])][clip]
        row["dataset"] = dataset
    write_metadata(folder, rows)
    return folder
