# shellcheck shell=bash
# Sourced by interop: cases with a Linux kernel's ESP and AH behind the peer.
