"""The job as files: export.py FOLDER."""

import sys

from job import made

if __name__ == "__main__":
    made("none", "0", 2).export(sys.argv[1])
