"""What the kernel would allow a service, without systemd. For the system's Python, which has `seccomp`.

    /usr/bin/python3 confined.py UNIT COMMAND...

System calls and address families as UNIT filters them, no new privileges, the unit's error number; then
COMMAND takes over the process. Namespaces, file system and limits are not the unit's.
"""

import ctypes
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import seccomp

FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
MOST_FAMILIES = 46


def expanded(names: list[str]) -> set[str]:
    """System calls of names and of systemd's groups (@system-service)."""
    found: set[str] = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        listing = subprocess.run(
            ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
        ).stdout
        members = [line.strip() for line in listing.splitlines()[1:]]
        found |= expanded([member for member in members if member and not member.startswith("#")])
    return found


def allowed(unit: str) -> set[str]:
    """The first line of SystemCallFilter allows; those with ~ take away."""
    calls: set[str] = set()
    for value in re.findall(r"^SystemCallFilter=(.+)$", unit, re.MULTILINE):
        names = value.removeprefix("~").split()
        calls = calls - expanded(names) if value.startswith("~") else calls | expanded(names)
    return calls | expanded(["@default"])


def confine(unit: str) -> None:
    number = getattr(errno, re.findall(r"^SystemCallErrorNumber=(\w+)", unit, re.MULTILINE)[0])
    rules = seccomp.SyscallFilter(defaction=seccomp.ERRNO(number))
    families = re.findall(r"^RestrictAddressFamilies=(.+)$", unit, re.MULTILINE)[0].split()
    for name in sorted(allowed(unit) - {"socket"}):
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except (RuntimeError, ValueError, OSError):
            continue  # of another architecture
    for family in families:
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, FAMILIES[family]))
    rules.set_attr(seccomp.Attr.CTL_NNP, 1)
    rules.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    rules.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 1, "no new privileges"
    os.execv(sys.argv[2], sys.argv[2:])
