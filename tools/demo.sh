#!/usr/bin/env bash
# The door on this machine: Enter presses the doorbell, the page on localhost answers. Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --quiet
run=${XDG_RUNTIME_DIR:-/tmp}/intercomd-demo-$(id -u)
mkdir -p -m 700 "$run"
board=sim
if [ -e /dev/video0 ]; then board=pc; fi
listen=${INTERCOMD_DEMO_LISTEN:-127.0.0.1:8480}
cat >"$run/config.toml" <<TOML
channel = "front-door"
board = "$board"
state_dir = "$run/state"

[lan]
listen = "$listen"
web_dir = "$PWD/web/dist"
TOML
cat <<TXT

The demo door (board "$board"). Open the address below in a browser on this machine, tap
"Watch this door", then press Enter here: it rings. Ctrl-C ends the demo.

TXT
# Into a pipe the daemon writes the address without its key, as a log may keep it. Whoever reads a demo wants all of it.
address() {
  local told
  for _ in $(seq 100); do
    if told=$(target/debug/intercomd ctl --socket "$run/control.sock" pair --json 2>/dev/null); then
      printf 'the address: %s\n' "$(sed -E 's/.*"address": *"([^"]*)".*/\1/' <<<"$told")"
      return
    fi
    sleep 0.2
  done
}
if [ ! -t 1 ]; then address & fi
exec target/debug/intercomd run --config "$run/config.toml" --socket "$run/control.sock"
