"""The doctor: is everything here what it should be, before hours are spent on training?"""

from hcp_mer.doctor.examination import examine
from hcp_mer.doctor.findings import Finding

__all__ = ["Finding", "examine"]
