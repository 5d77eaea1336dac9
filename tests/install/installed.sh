# The package comes onto a clean system, is upgraded, provisioned badly, and hung.
. /root/lib.sh
export DEBIAN_FRONTEND=noninteractive
config=/etc/intercomd/config.toml
# What it depends on lies in apt's cache; there is no network.
install_package() { apt-get install -qq -y --no-install-recommends "$@"; }
from_here

says "apt installs it with what it depends on" 0 'ctl pair' install_package /root/intercomd.deb
active || { end; exit; }
ok "it runs by then"
is "it is started at every boot" enabled "$(systemctl is-enabled intercomd)"
is "it has not been started twice" 0 "$(property NRestarts)"
is "it runs as a user of its own" intercomd "$(stat -c %U "/proc/$(property MainPID)")"
says "ctl status has an idle door in the local network" 0 'state +idle' intercomd ctl status
note "$(intercomd ctl status | grep -E '^(page|state|uplink)' | sed -E 's/key=[^& ]*/key=.../' | tr -s ' ' | paste -sd';')"
says "ctl status gives the page's address" 0 '"address":"https://' intercomd ctl --json status
says "the hub serves the page" 0 '<script' page
says "and the SDK" 0 'export' page vendor/metered-realtime.mjs
is "its licence, too" "$(sha256sum </usr/share/intercomd/web/vendor/metered-realtime.LICENSE)" "$(page vendor/metered-realtime.LICENSE | sha256sum)"
says "the board profile is one of those installed" 0 'sim' ls /usr/share/intercomd/board
check "a press rings" intercomd ctl press
check "and is heard" until_true in_state ringing
check "hanging up ends it" sh -c 'intercomd ctl hangup'
check "and it waits again" until_true in_state idle
says "who is not in the group may not use the socket" 4 '.' setpriv --reuid=65534 --regid=65534 --clear-groups intercomd ctl status
is "the configuration can be read by all" 644 "$(stat -c %a $config)"
says "check-config finds the shipped configuration good" 0 'good' intercomd check-config
is "no unit has failed" "" "$(systemctl --failed --no-legend)"
is "systemd has nothing to say about the unit" "" "$(systemd-analyze verify --man=no intercomd.service 2>&1)"
is "a crash writes no memory with keys in it to the disk" "0" "$(property LimitCORE)"
check "the running unit is exposed by 1.5 at most" systemd-analyze security --no-pager --threshold=15 intercomd.service
note "systemd $(systemctl --version | sed -nE '1s/systemd ([0-9]+).*/\1/p'): $(tail -n 1 $out | sed 's/^[^A-Za-z]*//')"
udev=/lib/udev/rules.d/60-intercomd.rules
if udevadm verify --help >/dev/null 2>&1; then check "udev has nothing to say about the rules" udevadm verify $udev; fi

# Upgrades.
sed -i 's/^channel = .*/channel = "back-door"/' $config
pid=$(property MainPID)
check "an upgrade goes through" install_package /root/same.deb
says "an upgrade keeps the edited configuration" 0 '^channel = "back-door"$' cat $config
check "an upgrade starts the new program" until_true active
if [ "$pid" != "$(property MainPID)" ]; then ok "which is another process"; else echo "$pid" | bad "which is another process"; fi
says "an upgrade with another configuration goes through" 0 . install_package -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /root/told.deb
says "and keeps the edited one" 0 '^channel = "back-door"$' cat $config
says "beside the new one" 0 '^channel = "front-door"$' cat $config.dpkg-dist
rm -f $config.dpkg-dist
check "the door runs after it" until_true active

# It hangs. systemd speaks to the console of this container until it is told otherwise.
systemctl log-target journal-or-kmsg
from_here
systemctl restart intercomd
if log | grep 'did not stop in time' >$out; then bad "nothing of it is late when it is stopped" <$out; else ok "nothing of it is late when it is stopped"; fi
pid=$(property MainPID)
kill -STOP "$pid"
check "a daemon that hangs is started again by the watchdog" until_true restarted
says "which systemd says" 0 'Watchdog timeout' journalctl -u intercomd -o cat --no-pager -n 60
check "and its door works" until_true in_state idle
kill -KILL "$(property MainPID)"
killed_again() { [ "$(property NRestarts)" -ge 2 ] && active; }
check "a daemon that is killed is started again" until_true killed_again
says "after its outputs were switched off" 0 'switch off|is off' journalctl -u intercomd -o cat --no-pager -n 40

# Keys and configurations that cannot be right.
refused() { # refused NAME PATTERN
  from_here
  systemctl reset-failed intercomd 2>/dev/null
  systemctl start intercomd
  if until_true is_failed; then ok "$1: it does not run"; else property ActiveState | bad "$1: it does not run"; fi
  is "$1: exit code 78" 78 "$(property ExecMainStatus)"
  is "$1: it is not tried again" 0 "$(property NRestarts)"
  says "$1: a plain line says why" 0 "$2" log
}
cp -p $config /root/good.toml
systemctl stop intercomd
printf '\n[uplink]\n' >>$config
refused "no key" 'not provisioned'
(umask 077; echo sk_live_test >/etc/intercomd/channel.key)
refused "a secret key" 'secret key.*never belongs on a device'
(umask 077; echo 'pk_live_test and more' >/etc/intercomd/channel.key)
refused "no key at all" 'holds spaces'
(umask 077; echo pk_live_test >/etc/intercomd/channel.key)
from_here
systemctl reset-failed intercomd; systemctl start intercomd
check "with a publishable key it starts, service or no service" until_true in_state idle
is "the daemon cannot read the key's file" "" "$(setpriv --reuid=intercomd --regid=intercomd --clear-groups cat /etc/intercomd/channel.key 2>/dev/null)"
if journalctl --no-pager | grep -E 'sk_live_test|pk_live_test' >$out; then bad "no key is in the journal" <$out; else ok "no key is in the journal"; fi
systemctl stop intercomd
printf 'channel = "front-door"\nchanel = "x"\n' >$config
refused "a misspelt word" 'config.toml:2: chanel'
cp -p /root/good.toml $config; rm /etc/intercomd/channel.key
systemctl reset-failed intercomd; systemctl start intercomd
check "put right, it runs again" until_true in_state idle

# Set up by flags, as a script does it.
says "set-up by flags ends well" 0 'Pair a phone' intercomd setup --yes --local-only --channel side-door --no-test
is "it wrote the channel" 'channel = "side-door"' "$(grep '^channel' $config)"
is "for all to read" 644 "$(stat -c %a $config)"
check "the door runs with it" until_true in_state idle
says "in that channel" 0 'side-door' intercomd ctl pair
is "and is started at every boot" enabled "$(systemctl is-enabled intercomd)"
cp -p $config /root/before.toml
says "a key in no file is refused" 1 '/nowhere' intercomd setup --yes --key-file /nowhere --no-test
check "and nothing was changed" cmp $config /root/before.toml
says "a key that nobody can try here is told, and is not the end of it" 1 'does not get in at the service' sh -c 'echo pk_live_test | intercomd setup --yes --key-file -'
is "the key is root's alone" "root 600" "$(stat -c '%U %a' /etc/intercomd/channel.key)"
says "the daemon has it as a credential" 0 'LoadCredential' systemctl show intercomd -p LoadCredential
check "the door runs on in the local network" until_true in_state idle
end
