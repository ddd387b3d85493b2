"""``python -m jobs.migrate``"""

import os
import sys

from jobs import FAULTS, note

note(f"migrate {os.environ['ADDER_DATABASE_URL']}")
if FAULTS.get("migrate") == "refuses":
    print("adder: the database is newer than this code", file=sys.stderr)
    sys.exit(2)
if FAULTS.get("migrate") == "upgrades":
    print("the database was at revision 1")
