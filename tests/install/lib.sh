# Sourced by the scripts that judge the installed door from inside its system.
exec >/results/log 2>&1
verdicts=/results/verdicts
out=/results/out

ok() { printf 'ok      %s\n' "$1" >>$verdicts; }
bad() { { printf 'FAILED  %s\n' "$1"; head -n 40 | sed 's/^/        /'; } >>$verdicts; }
note() { printf '        %s\n' "$1" >>$verdicts; }
end() { echo end >>$verdicts; }

# check NAME COMMAND...: it ends with 0.
check() {
  local name=$1; shift
  if "$@" >$out 2>&1; then ok "$name"; else { tail -n 20 $out; echo "--- journal"; journalctl -u intercomd -o cat --no-pager -n 15; } | bad "$name"; fi
}
# says NAME CODE PATTERN COMMAND...: how it ends, and what it prints.
says() {
  local name=$1 code=$2 pattern=$3 status=0; shift 3
  "$@" >$out 2>&1 || status=$?
  if [ $status -eq "$code" ] && grep -qE -- "$pattern" $out; then ok "$name"
  else { echo "exit code $status for $code; no \"$pattern\" in:"; tail -n 20 $out; echo "--- journal"; journalctl -u intercomd -o cat --no-pager -n 15; } | bad "$name"; fi
}
# is NAME WANTED FOUND
is() { if [ "$2" = "$3" ]; then ok "$1"; else printf 'wanted: %s\nfound:  %s\n' "$2" "$3" | bad "$1"; fi; }

property() { systemctl show intercomd -p "$1" --value; }
# until_true COMMAND...: asks again for two minutes at most.
until_true() {
  local deadline=$((SECONDS + 120))
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $deadline ]; then return 1; fi
    sleep 0.2
  done
}
active() { systemctl is-active --quiet intercomd; }
state() { intercomd ctl --json status | grep -o '"state":"[a-z]*"' | head -n 1 | cut -d'"' -f4; }
in_state() { [ "$(state)" = "$1" ]; }
page() { curl -ksSf --max-time 20 "https://127.0.0.1:8443/$1"; }
is_failed() { [ "$(property ActiveState)" = failed ]; }
restarted() { [ "$(property NRestarts)" -ge 1 ] && active; }
# since NAME...: the journal since the last start that was asked for.
log() { journalctl -u intercomd -o cat --no-pager --since "$mark"; }
from_here() { mark=$(date '+%F %T.%N' | cut -c1-26); }
