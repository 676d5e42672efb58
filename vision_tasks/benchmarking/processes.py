"""Parts of a benchmark as processes: started, watched, and what became of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from vision_tasks.benchmarking.layout import Layout, Part
from vision_tasks.engine.progress import say

_QUIET = 60.0  # seconds after which a part says how it is getting on
_LOOK = 0.2
_ENDING = re.compile(r"^(?:[\w.]+(?:Error|Exception|Interrupt)|error)\b.*")


def run_part(layout: Layout, part: Part, words: Sequence[str], title: str) -> str:
    """Run one to its end, its output into the part's log; returns why it failed, "" if it did not.

    Where this process is interrupted, so is that one; then nothing is recorded, and it can be gone on with.
    """
    part.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "vision_tasks.benchmarking.job", str(layout.path), *words]
    with part.log.open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
        try:
            _watch(process, part, title)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
            if process.stdin:
                process.stdin.close()
    return "" if process.returncode == 0 else _reason(process.returncode, part)


def _watch(process: subprocess.Popen[bytes], part: Part, title: str) -> None:
    """Until it ends; now and then its last line is shown."""
    said, shown = time.monotonic(), ""
    while process.poll() is None:
        time.sleep(_LOOK)
        if time.monotonic() - said > _QUIET:
            said, line = time.monotonic(), _last_line(part)
            if line != shown:
                say(f"{title}: {line}")
            shown = line


def _reason(code: int, part: Part) -> str:
    """The last line that tells of an error, or what ended the process."""
    if code < 0:
        name = signal.Signals(-code).name
        often = "; often that means that memory was too small" if name == "SIGKILL" else ""
        return f"ended by {name}{often}"
    lines = [line.strip() for line in _text(part).splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if _ENDING.match(line)), lines[-1] if lines else "")
    return found.removeprefix("error: ") or f"ended with {code}, see {part.log}"


def _last_line(part: Part) -> str:
    return next((line for line in reversed(_text(part).splitlines()) if line.strip()), "")


def _text(part: Part) -> str:
    return part.log.read_text(encoding="utf-8", errors="replace")[-20_000:]
