"""Breaks one thread of a process for real: its next instruction is at address 0.

    fault.py TID
"""

import ctypes
import os
import sys

PTRACE_POKEUSER, PTRACE_ATTACH, PTRACE_DETACH = 6, 16, 17
RIP = 16 * 8  # in struct user of x86_64

libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, tid, address=0, data=0):
    if libc.ptrace(request, tid, ctypes.c_void_p(address), ctypes.c_void_p(data)) != 0:
        raise OSError(ctypes.get_errno(), "ptrace(%d)" % request)


tid = int(sys.argv[1])
ptrace(PTRACE_ATTACH, tid)
os.waitpid(tid, 0x40000000)  # __WALL: it is a thread
ptrace(PTRACE_POKEUSER, tid, RIP, 0)
ptrace(PTRACE_DETACH, tid)
