# shellcheck shell=bash
# Sourced by interop: user-mode Linux guests.
