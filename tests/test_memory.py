"""How a process of ours treats memory."""

import subprocess
import sys
from textwrap import dedent

import pytest

HEAPS = dedent("""
    import ctypes, sys, tempfile, threading
    if sys.argv[1:]:
        from journeybatch.cli.memory import be_frugal
        be_frugal()
    kept = []
    def work():
        kept.append([bytes(2_000) for _ in range(200)])
        here.wait()  # so that none can take over what another one has done with
    here = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    with tempfile.NamedTemporaryFile() as told:
        file = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
        libc.malloc_info(0, file)
        libc.fclose(file)
        print(told.read().count(b"<heap nr="))
""")


def heaps(*arguments: str) -> int:
    """How many heaps glibc's malloc has made for the threads of a process."""
    done = subprocess.run([sys.executable, "-c", HEAPS, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_all_threads_of_a_process_share_one_heap() -> None:
    assert heaps() > 1, "a library that does so by itself would need no settling"
    assert heaps("settled") == 1
