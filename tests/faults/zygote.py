"""Starts daemons by forking from a process that has imported everything: a restart costs no seconds.

Reads lines `LOG CONFIG [BREAKAGE]` and answers each with the pid of a process that runs
`streamgauge run CONFIG`.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    import detector.service.daemon  # noqa: F401  # what takes long, once
    from streamgauge import main as streamgauge
    from tests.faults.breakages import apply

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: the kernel reaps them
    print("ready", flush=True)
    for line in sys.stdin:
        log, config, *breakage = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for name in breakage:
                apply(name)
            os._exit(streamgauge(["run", config]))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
