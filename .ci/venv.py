"""Make the virtual environment, or say in one sentence which command is missing. Runs on any Python 3."""

import os
import subprocess
import sys

NEEDED = (3, 11)


def fail(sentence):
    sys.exit("make: " + sentence)


def main(folder):
    found = "%d.%d" % sys.version_info[:2]
    if sys.version_info[:2] < NEEDED:
        fail("Python 3.11 or newer is needed and %s is %s; run: make PYTHON=python3.11 run" % (sys.executable, found))
    if os.path.exists(os.path.join(folder, "bin", "python")):
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail("this Python cannot make virtual environments; run: sudo apt-get install python%s-venv" % found)
    if subprocess.call([sys.executable, "-m", "venv", folder]) != 0:
        fail("the virtual environment could not be made in %s; remove that folder and run the command again" % folder)


main(sys.argv[1])
