# The installed system boots with a root that cannot be written; only the door's own folders can.
. /root/lib.sh
if touch /etc/written 2>/dev/null; then echo "/etc can be written" | bad "the root is read-only"; else ok "the root is read-only"; fi
check "the door runs" until_true active
is "at the first attempt" 0 "$(property NRestarts)"
says "ctl status has an idle door" 0 'state +idle' intercomd ctl status
says "the hub serves the page" 0 '<script' page
check "a press rings" intercomd ctl press
check "and is heard" until_true in_state ringing
is "only the journal's and the door's own files were written" "" "$(find /usr /etc /boot -newer /results/which 2>/dev/null | head)"
end
