"""Make the virtual environment, or say in one sentence which command mends that. Runs on any Python 3.

    python3 .ci/venv.py FOLDER GOAL

GOAL is what make was asked for, so that the sentence can name the whole command.
"""

import os
import shutil
import subprocess
import sys

NEEDED = (3, 11)
NEWEST_FIRST = ["python3.%d" % minor for minor in range(15, NEEDED[1] - 1, -1)]
CAN_MAKE_ONE = "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] < (3, 11))"
IS_NEW_ENOUGH = "import sys; sys.exit(sys.version_info[:2] < (3, 11))"


def succeeds(python, code):
    """Whether this interpreter runs the code. Version managers leave names on the PATH that start nothing."""
    try:
        with open(os.devnull, "w") as nowhere:
            return subprocess.call([python, "-c", code], stdout=nowhere, stderr=nowhere) == 0
    except OSError:
        return False


def has_pip(python):
    """Whether the environment has pip, or has it now: without, it is half made, or another tool made it."""
    return succeeds(python, "import pip") or subprocess.call([python, "-m", "ensurepip", "--default-pip"]) == 0


def mending(goal):
    """The one command after which the goal is reached."""
    for name in NEWEST_FIRST:
        if succeeds(name, CAN_MAKE_ONE):
            return "make PYTHON=%s %s" % (name, goal)
    if sys.version_info[:2] >= NEEDED:
        name = "python%d.%d" % sys.version_info[:2]
        installed = "%s-venv" % name
    else:
        name = "python3.11"
        installed = "python3.11 python3.11-venv"
    if shutil.which("apt-get"):
        return "sudo apt-get install -y %s && make PYTHON=%s %s" % (installed, name, goal)
    if shutil.which("brew"):
        return "brew install python@3.13 && make PYTHON=python3.13 %s" % goal
    if shutil.which("dnf"):
        return "sudo dnf install -y python3.11 && make PYTHON=python3.11 %s" % goal
    return "make PYTHON=/path/to/python3.11 %s" % goal


def main(folder, goal):
    python = os.path.join(folder, "bin", "python")
    if succeeds(python, IS_NEW_ENOUGH) and has_pip(python):
        return
    found = "%s is Python %d.%d" % (sys.executable, sys.version_info[0], sys.version_info[1])
    if sys.version_info[:2] < NEEDED:
        sys.exit("make: Python 3.11 or newer is needed and %s; run: %s" % (found, mending(goal)))
    if not succeeds(sys.executable, CAN_MAKE_ONE):
        sys.exit("make: %s and cannot make virtual environments; run: %s" % (found, mending(goal)))
    # --clear: what is there does not run, or is of an older Python.
    if subprocess.call([sys.executable, "-m", "venv", "--clear", folder]) != 0:
        sys.exit("make: no virtual environment could be made in %s; the lines above say why" % folder)


if __name__ == "__main__":
    main(sys.argv[1], " ".join(sys.argv[2:]) or "run")
