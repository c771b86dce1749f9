"""The kinds of value a setting can have: how it is read from text and from JSON, and how it is shown.

`read` takes a JSON value, `read_text` what stands in a variable or behind a flag. Both raise `Refused`; the sentence
around it (where it stood, what was found) is the caller's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from anyclaude_lab.settings.model import HostSettings, NodeSettings
from anyclaude_lab.settings.secret import Secret

HOST_NAME = re.compile(r"[A-Za-z0-9_.:@]([A-Za-z0-9_.:@-]*)")  # nothing that ssh would read as an option
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PRINTED_ASCII = re.compile(r"[!-~]+")
IP = re.compile(r"[0-9a-fA-F.:]+")
TRUE_WORDS = ("true", "1", "yes", "on")
NOT_IN_AN_ADDRESS = re.compile(r"[\s\x00-\x1f\x7f\\\\<>\"{}|^`]")  # RFC 3986, appendix A; readers disagree on them
FALSE_WORDS = ("false", "0", "no", "off")


class Refused(ValueError):
    """The value is not of this kind. The message, if any, says more than `allowed` does."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Base: anything at all."""

    @property
    def allowed(self) -> str:
        """What may stand here, for messages and the documentation."""
        return "anything"

    def read(self, value: object) -> Any:
        """The setting's value from a JSON value. Raises `Refused`."""
        return value

    def read_text(self, text: str) -> Any:
        """The setting's value from a word. Raises `Refused`."""
        return self.read(text)

    def remark(self, value: object) -> str | None:
        """A warning about a value that is accepted all the same; `value` as `read` takes it."""
        return None

    def show(self, value: Any) -> str:
        """The value as `settings` prints it."""
        return json.dumps(value, default=str, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A string; the words in `unset` mean that nothing is set (a default that anyclaude-local wrote into its files)."""

    what: str = "a text"
    unset: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        return self.what

    def read(self, value: object) -> str | None:
        if not isinstance(value, str) or not value.strip():
            raise Refused
        return None if value in self.unset else _plain(value.strip())


def _plain(text: str) -> str:
    """The text, where it can be the name of a file too. Raises `Refused`."""
    if CONTROL.search(text):  # some go into headers, all into messages
        raise Refused("It holds a control character.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise Refused("It holds half of a character.") from None
    return text


@dataclass(frozen=True, slots=True)
class Key(Kind):
    """An API key."""

    @property
    def allowed(self) -> str:
        return "a key as text"

    def read(self, value: object) -> Secret:
        if not isinstance(value, str) or not value.strip():
            raise Refused
        if not PRINTED_ASCII.fullmatch(value.strip()):
            raise Refused("A key has no spaces, control characters or letters outside ASCII.")
        return Secret(value.strip())

    def show(self, value: Any) -> str:
        return "***" if value is not None else "null"


@dataclass(frozen=True, slots=True)
class Url(Kind):
    """An http(s) address without its closing slash. A bare `http://host:port` gets `bare_path` behind it."""

    bare_path: str = ""

    @property
    def allowed(self) -> str:
        return f"an address such as http://127.0.0.1:8080{self.bare_path}"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or NOT_IN_AN_ADDRESS.search(value.strip()):
            raise Refused
        try:
            parts = urlsplit(value.strip())
            port_is_a_number = parts.port is None or parts.port > 0
        except ValueError:
            raise Refused from None
        if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_a_number:
            raise Refused
        if parts.query or parts.fragment:
            raise Refused("An address has nothing behind its path here.")
        return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or self.bare_path, "", ""))

    def show(self, value: Any) -> str:
        return json.dumps(without_credentials(value) if value else value)


def without_credentials(url: str) -> str:
    """`http://name:password@host/` as `http://***@host/`."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if host != parts.netloc else url


@dataclass(frozen=True, slots=True)
class Switch(Kind):
    """true or false."""

    @property
    def allowed(self) -> str:
        return "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Refused
        return value

    def read_text(self, text: str) -> bool:
        word = text.strip().lower()
        if word not in TRUE_WORDS + FALSE_WORDS:
            raise Refused
        return word in TRUE_WORDS


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number between two bounds, both included."""

    lowest: int
    highest: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}{self.unit and ' ' + self.unit}"

    def read(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.lowest <= value <= self.highest:
            raise Refused
        return value

    def read_text(self, text: str) -> int:
        try:
            return self.read(int(text))
        except ValueError:
            raise Refused from None


@dataclass(frozen=True, slots=True)
class Share(Kind):
    """A number from 0 to 1."""

    @property
    def allowed(self) -> str:
        return "a number from 0 to 1"

    def read(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise Refused
        return float(value)

    def read_text(self, text: str) -> float:
        try:
            return self.read(float(text))
        except ValueError:
            raise Refused from None


@dataclass(frozen=True, slots=True)
class Milliseconds(Kind):
    """A duration, written in milliseconds as in anyclaude-local, read as seconds.

    The lower bound also catches who meant seconds. Outside of `usual` a value is accepted with a remark.
    """

    lowest: int
    highest: int
    usual: tuple[int, int] | None = None
    zero: bool = False  # 0 is allowed too and switches the thing off

    @property
    def allowed(self) -> str:
        return f"{'0 or ' if self.zero else ''}{self.lowest} to {self.highest} (milliseconds)"

    def read(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused
        if not (self.lowest <= value <= self.highest or (self.zero and value == 0)):
            raise Refused
        return value / 1000

    def read_text(self, text: str) -> float:
        try:
            return self.read(float(text))
        except ValueError:
            raise Refused from None

    def remark(self, value: object) -> str | None:
        seconds = self.read_text(value) if isinstance(value, str) else self.read(value)
        if self.usual is None or self.usual[0] <= seconds * 1000 <= self.usual[1]:
            return None
        return f"is unusual: between {self.usual[0]} and {self.usual[1]} milliseconds is common"

    def show(self, value: Any) -> str:
        return f"{value * 1000:.0f}" if value is not None else "null"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of some words. `legacy` are old names for one of them."""

    values: tuple[str, ...]
    legacy: Mapping[str, str] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        return ", ".join(self.values)

    def read(self, value: object) -> str:
        word = self.legacy.get(value, value) if isinstance(value, str) else None
        if word not in self.values:
            raise Refused
        return str(word)

    def remark(self, value: object) -> str | None:
        if value in self.legacy:
            return f"is deprecated: write {self.legacy[str(value)]}"
        return None


@dataclass(frozen=True, slots=True)
class Names(Kind):
    """A list of names; in a variable separated by commas."""

    example: str = '["Bash", "Read"]'

    @property
    def allowed(self) -> str:
        return f"a list of names such as {self.example}"

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name.strip() for name in value):
            raise Refused
        return tuple(name.strip() for name in value)

    def read_text(self, text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True, slots=True)
class FolderOrSwitch(Kind):
    """A folder, or true for the usual one, or false for none."""

    @property
    def allowed(self) -> str:
        return "a folder, true (the usual folder) or false"

    def read(self, value: object) -> bool | str:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip():
            return _plain(value)
        raise Refused

    def read_text(self, text: str) -> bool | str:
        word = text.strip().lower()
        return word in TRUE_WORDS if word in TRUE_WORDS + FALSE_WORDS else self.read(text)


@dataclass(frozen=True, slots=True)
class Nodes(Kind):
    """The servers of a cluster: `[{"id": "a", "url": "http://10.0.0.2:8080"}]`; in a variable the same as JSON."""

    @property
    def allowed(self) -> str:
        return 'a list such as [{"id": "mac-1", "url": "http://10.0.0.2:8080/v1"}]'

    def read(self, value: object) -> tuple[NodeSettings, ...]:
        if not isinstance(value, list):
            raise Refused
        nodes = tuple(self._node(position, entry) for position, entry in enumerate(value, 1))
        ids = [node.id for node in nodes]
        if len(set(ids)) != len(ids):
            raise Refused("Two nodes have the same id.")
        return nodes

    def _node(self, position: int, entry: object) -> NodeSettings:
        if not isinstance(entry, dict) or not entry.keys() <= {"id", "nodeId", "url"}:
            raise Refused(f"Node {position} is not an object with the keys id and url.")
        identity = entry.get("id", entry.get("nodeId", f"node-{position}"))
        try:
            url = Url("/v1").read(entry.get("url"))
        except Refused:
            raise Refused(f"The url of node {position} is not an http(s) address.") from None
        if not isinstance(identity, str) or not identity:
            raise Refused(f"The id of node {position} is not a text.")
        return NodeSettings(identity, url)

    def read_text(self, text: str) -> tuple[NodeSettings, ...]:
        return self.read(_json(text))

    def show(self, value: Any) -> str:
        return json.dumps([{"id": node.id, "url": without_credentials(node.url)} for node in value or ()])


@dataclass(frozen=True, slots=True)
class Hosts(Kind):
    """The machines of a distributed model, in the form of mlx's host files; the first is this one."""

    @property
    def allowed(self) -> str:
        return (
            'a list of two or more such as [{"ssh": "127.0.0.1", "ips": ["10.0.0.1"]}, '
            '{"ssh": "mac-2", "ips": ["10.0.0.2"]}]'
        )

    def read(self, value: object) -> tuple[HostSettings, ...]:
        if not isinstance(value, list) or len(value) < 2:
            raise Refused
        return tuple(self._host(position, entry) for position, entry in enumerate(value, 1))

    def _host(self, position: int, entry: object) -> HostSettings:
        if not isinstance(entry, dict) or not {"ssh", "ips"} <= entry.keys() <= {"ssh", "ips", "rdma"}:
            raise Refused(f"Host {position} is not an object with the keys ssh and ips, and rdma where there is one.")
        ssh, ips, rdma = entry["ssh"], entry["ips"], entry.get("rdma") or []
        if not isinstance(ssh, str) or not HOST_NAME.fullmatch(ssh):
            raise Refused(f"The ssh name of host {position} is no host name.")
        if not isinstance(ips, list) or not ips or not all(isinstance(ip, str) and IP.fullmatch(ip) for ip in ips):
            raise Refused(f"The ips of host {position} are not a list of addresses.")
        if not isinstance(rdma, list) or not all(device is None or isinstance(device, str) for device in rdma):
            raise Refused(f"The rdma of host {position} is not a list of device names and nulls.")
        return HostSettings(ssh, tuple(ips), tuple(rdma))

    def read_text(self, text: str) -> tuple[HostSettings, ...]:
        return self.read(_json(text))

    def show(self, value: Any) -> str:
        return json.dumps([{"ssh": host.ssh, "ips": host.ips} for host in value or ()])


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("It is not JSON.") from None
