"""What is wrong with the recordings of a sleep-accel dataset, in words.

Files are looked at as they are stored, before a reader sorts them and drops what it can do
without. An *error* is something that the reader refuses or that makes its result wrong; a
*warning* is something to know before trusting a night.
"""

from sleepstage.io.sleep_accel.check import DatasetReport, check_dataset
from sleepstage.io.sleep_accel.check_files import Facts, Finding, SubjectReport
from sleepstage.io.sleep_accel.check_night import check_subject

__all__ = ["DatasetReport", "Facts", "Finding", "SubjectReport", "check_dataset", "check_subject"]
