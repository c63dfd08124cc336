import os
import subprocess
import sys
import time

from benchmarks.process_memory import PeakMemory, memory_mb

HOLD_64_MB = "x = b'1' * 2**26; print('ready', flush=True); input()"
START_IT = (
    "import subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {HOLD_64_MB!r}]); child.wait()"
)


def start(code):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_memory_of_a_process_is_what_it_holds():
    with start(HOLD_64_MB) as process:
        assert 64 < memory_mb(process.pid) < 128
        process.communicate("over\n")


def test_the_memory_of_its_children_counts():
    with start(START_IT) as process:
        assert 64 < memory_mb(process.pid) < 160
        process.communicate("over\n")


def test_a_process_that_is_gone_has_no_memory():
    with start(HOLD_64_MB) as process:
        process.communicate("over\n")
    assert memory_mb(process.pid) == 0


def test_the_peak_stays_after_the_memory_is_given_back():
    with PeakMemory(os.getpid()) as peak:
        before = memory_mb(os.getpid())
        held = bytearray(b"1") * 2**26
        while peak.mb < before + 60:
            time.sleep(0.01)
        del held
    assert memory_mb(os.getpid()) < before + 30
    assert peak.mb > before + 60
