# Runs a program that cannot read the extended processor state of the processes it traces.
#
# User-mode Linux keeps its guests' registers in 2696 bytes; where the CPU has more state (AMX: 11008 bytes) it cannot
# write them back, and dies. Refused, it falls back to the x87 and SSE registers; its guest must not use AVX then.
use strict;

use constant {
    SYS_PRCTL => 157, PR_SET_NO_NEW_PRIVS => 38, PR_SET_SECCOMP => 22, SECCOMP_MODE_FILTER => 2,
    SYS_PTRACE => 101, PTRACE_GETREGSET => 0x4204, NT_X86_XSTATE => 0x202,
    LOAD => 0x20, JUMP_IF_EQUAL => 0x15, RETURN => 0x06,
    ALLOW => 0x7fff0000, FAIL_EINVAL => 0x00050000 | 22,
};

# struct seccomp_data: nr at 0, the low half of argument n at 16 + 8 n.
my $filter = join '', map { pack 'S C C L', @$_ } (
    [LOAD, 0, 0, 0], [JUMP_IF_EQUAL, 0, 5, SYS_PTRACE],
    [LOAD, 0, 0, 16], [JUMP_IF_EQUAL, 0, 3, PTRACE_GETREGSET],
    [LOAD, 0, 0, 32], [JUMP_IF_EQUAL, 0, 1, NT_X86_XSTATE],
    [RETURN, 0, 0, FAIL_EINVAL],
    [RETURN, 0, 0, ALLOW],
);
my $program = pack 'S x6 P', length($filter) / 8, $filter;
syscall(SYS_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall(SYS_PRCTL, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, $program) == 0 or die "seccomp: $!";
exec @ARGV or die "$ARGV[0]: $!";
