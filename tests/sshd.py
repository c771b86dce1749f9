"""A real sshd on loopback, with keys of its own in a folder of its own: how other machines are reached, on this one."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import until
from tests.requirements import missing
from tests.standins.http import kept_port

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
PasswordAuthentication no
UsePAM no
"""
CLIENT = """\
Host mac-*
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
"""
# A host named `asleep` never answers.
PROGRAM = """#!/bin/sh
case "$*" in *" asleep "*) exec cat;; esac
exec {ssh} -F {folder}/client "$@"
"""


@contextmanager
def reachable(folder: Path) -> Iterator[Path]:
    """A folder for the PATH whose `ssh` reaches this machine as `mac-1`, `mac-2` ..., until the block is left."""
    where = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    ssh, sshd, keygen = (shutil.which(name, path=where) for name in ("ssh", "sshd", "ssh-keygen"))
    if not (ssh and sshd and keygen):
        missing("sshd (openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # an empty folder that it wants where it is root's
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    kept = ExitStack()
    port = kept.enter_context(kept_port())
    (folder / "server").write_text(SERVER.format(port=port, folder=folder))
    (folder / "client").write_text(CLIENT.format(port=port, folder=folder, user=getpass.getuser()))
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(PROGRAM.format(ssh=ssh, folder=folder))
    (folder / "bin" / "ssh").chmod(0o755)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "server")], stdout=log, stderr=log)
    try:
        until(lambda: "listening on" in (folder / "log").read_text(), "sshd listens")
        yield folder / "bin"
    finally:
        server.terminate()
        server.wait()
        kept.close()
