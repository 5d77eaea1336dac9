# The installed door is called: a browser on another machine of the network answers, the network goes and comes, the disk is full.
# What the browser does is in answer.mjs, which leaves word here and waits for ours.
. /root/lib.sh
told() { test -e "/results/$1"; }
log=/var/lib/intercomd/calls.json
calls() { [ "$(grep -o '"outcome"' $log | wc -l)" -ge "$1" ]; }

check "the door runs" until_true active
check "and waits" until_true in_state idle
intercomd ctl pair --json >/results/.pair; mv /results/.pair /results/pair
until_true told armed || { echo "the page does not open" | bad "a phone waits"; end; exit; }
check "a press rings" intercomd ctl press
until_true told pulled || { end; exit; }
check "it talks, after the network was away" in_state talking
is "in the call that began before" 1 "$(intercomd ctl --json status | grep -oE '"calls":[0-9]+' | head -n 1 | cut -d: -f2)"

# Another user's file takes all there is.
head -c 1G /dev/zero >/var/lib/intercomd/filler 2>/dev/null
is "the disk is full" 0 "$(df --output=avail /var/lib/intercomd | tail -n 1 | tr -d ' ')"
check "hanging up ends the call" intercomd ctl hangup
check "and it waits again" until_true in_state idle
check "a press rings with a full disk" intercomd ctl press
until_true told answered || { end; exit; }
check "and it talks" in_state talking
rm /var/lib/intercomd/filler
intercomd ctl hangup
check "it waits again" until_true in_state idle
check "with room again both calls are written down" until_true calls 2
is "it was never started anew" 0 "$(property NRestarts)"
until_true told over || echo "it does not see the end" | bad "the phone sees the end"
says "the log says that the disk was full" 0 'No space left|full' journalctl -u intercomd -o cat --no-pager
end
