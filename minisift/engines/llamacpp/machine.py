"""What this machine gives to a process."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path


def cores() -> int:
    """Physical cores that this process may use: of its affinity and its container's quota.

    Two threads of one core share its arithmetic, so a second thread a core slows a model down.
    """
    if sys.platform == "darwin":
        # efficiency cores would hold up the others; Intel has one kind only
        for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
            with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
                found = subprocess.run(["sysctl", "-n", name], capture_output=True, timeout=5)
                return max(1, int(found.stdout))
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 2) // 2)
    allowed = os.sched_getaffinity(0)
    return max(1, int(min(len({_siblings(cpu) for cpu in allowed}), _quota())))


def _siblings(cpu: int) -> str:
    """What names the physical core of a Linux processor."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    with contextlib.suppress(OSError):
        return path.read_text()
    return str(cpu)


def _quota(path: str = "/sys/fs/cgroup/cpu.max") -> float:
    """Processors' worth of time that the container has."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path(path).read_text().split()
        return int(quota) / int(period)
    return math.inf
