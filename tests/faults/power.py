"""Model a disk that loses power: replay a traced process and write every possible image.

The model: content is safe once its file has been synced after the write, a name once its folder
has. Of everything else, each 512-byte sector may or may not have been written.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink,rename"
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"^(\d+)<([^>]*)>")


def trace(command, log, **options):
    """Run a command and log its system calls on files."""
    strace = ["strace", "-y", "-xx", "-s", "100000", "-o", str(log), "-e", f"trace={CALLS}"]
    return subprocess.run([*strace, *command], check=False, timeout=600, **options)


@dataclass
class Inode:
    """Content of a file: the safe part and the later writes, in order."""

    safe: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)  # write, or new length

    def all(self):
        return self.some(lambda: True)

    def some(self, keeps):
        """Return the content with those pending sectors for which `keeps()` returns True."""
        content = bytearray(self.safe)
        for step in self.pending:
            if isinstance(step, int):
                if keeps():
                    _resize(content, step)
                continue
            at, data = step
            while data:
                size = SECTOR - at % SECTOR
                if keeps():
                    _resize(content, max(len(content), at + len(data[:size])))
                    content[at : at + len(data[:size])] = data[:size]
                at, data = at + size, data[size:]
        return content


def _resize(content, length):
    del content[length:]
    content.extend(bytes(length - len(content)))


class Disk:
    """State of one folder after the system calls of a log."""

    def __init__(self, folder, files=()):
        """Start with the files that existed before."""
        self._folder = str(folder)
        self.names = {
            p.name: Inode(bytearray(p.read_bytes())) for p in files
        }  # as the process sees them
        self.safe_names = dict(self.names)
        self.synced = 0  # grows with every sync

    def apply(self, call, texts, arguments, result):
        """Apply one call; return the name of the file that it wrote to, if any."""
        name = self._name(call, texts, arguments)
        if name is None:
            return None
        if call == "openat":
            if name not in self.names and "O_CREAT" in arguments and result >= 0:
                self.names[name] = Inode()
            return None
        if call in ("unlink", "rename"):
            return self._rename(call, name, texts)
        if call in ("fsync", "fdatasync"):
            self._sync(name)
            return None
        inode = self.names[name]
        if call == "ftruncate":
            inode.pending.append(int(arguments.rsplit(", ", 1)[1]))
        elif call == "pwrite64":
            inode.pending.append((int(arguments.rsplit(", ", 1)[1]), texts[0][:result]))
        else:
            inode.pending.append((len(inode.all()), texts[0][:result]))
        return name

    def _name(self, call, texts, arguments):
        """Return the path in the folder, "" for the folder itself, None for other paths."""
        if call in ("openat", "unlink", "rename"):
            path = texts[0].decode()
        else:
            path = _FD.match(arguments)
            path = path[2] if path else ""
            if "\\x" in path:
                path = bytes.fromhex(path.replace("\\x", "")).decode()
        path = path.removesuffix(" (deleted)")
        if path == self._folder:
            return ""
        name = path.removeprefix(self._folder + "/")
        if name == path or (name not in self.names and call != "openat"):
            return None
        return name

    def _rename(self, call, name, texts):
        inode = self.names.pop(name)
        if call == "rename":
            self.names[texts[1].decode().removeprefix(self._folder + "/")] = inode
        return name

    def _sync(self, name):
        self.synced += 1
        if name == "":
            self.safe_names = dict(self.names)
        else:
            inode = self.names[name]
            inode.safe, inode.pending = inode.all(), []

    def write_safe(self, folder):
        """Write the image without anything that was not synced."""
        for name, inode in self.safe_names.items():
            (folder / name).write_bytes(inode.safe)

    def write_some(self, folder, rng):
        """Write an image with a random part of what was not synced."""
        share = rng.random()
        names = self.names if rng.random() < 0.5 else self.safe_names
        for name, inode in names.items():
            (folder / name).write_bytes(inode.some(lambda: rng.random() < share))


def calls(log: Path):
    """Yield name, texts, arguments and result of every successful call."""
    with log.open() as lines:
        for line in lines:
            found = _CALL.match(line)
            if found and int(found[3]) >= 0:
                texts = [bytes.fromhex(t.replace("\\x", "")) for t in _TEXT.findall(found[2])]
                yield found[1], texts, _TEXT.sub('""', found[2]), int(found[3])
