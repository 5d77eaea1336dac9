# The package goes: removing keeps what is the owner's, purging keeps nothing.
. /root/lib.sh
export DEBIAN_FRONTEND=noninteractive
(umask 077; echo pk_live_test >/etc/intercomd/channel.key)
echo 'name = "mine"' >/etc/intercomd/board/mine.toml
check "the door runs before" until_true active
running() { find /proc -maxdepth 2 -name exe -lname '*/intercomd*' 2>/dev/null; }
if [ -n "$(running)" ]; then ok "as a process that is seen"; else echo none | bad "as a process that is seen"; fi
check "apt removes it" apt-get remove -y intercomd
is "it has stopped" "" "$(running)"
check "removing keeps the configuration" test -f /etc/intercomd/config.toml
check "and the key" test -f /etc/intercomd/channel.key
# What apt and dpkg remember of every package, and what the test brought.
left() {
  find / -xdev \( -path /proc -o -path /sys -o -path /results -o -path /root -o -path '/var/log/*' -o -path '/var/cache/apt/*' \) -prune \
    -o \( -iname '*intercomd*' -print \)
  find / -xdev \( -path /proc -o -path /sys -o -path /results \) -prune -o \( -nouser -o -nogroup \) -print
}
says "until then files of it are found" 0 '^/etc/intercomd$' left
check "apt purges it" apt-get purge -y intercomd
is "no file is left" "" "$(left)"
is "no user" "" "$(getent passwd intercomd)"
is "no group of its own" "" "$(getent group intercomd)"
is "and no group gpio, which it had made" "" "$(getent group gpio)"
check "it can be installed again" apt-get install -y --no-install-recommends /root/intercomd.deb
check "and runs" until_true active
groupadd -f others; useradd -M friend 2>/dev/null; usermod -aG gpio friend
check "purged again" apt-get purge -y intercomd
says "a group gpio with somebody else in it stays" 0 'friend' getent group gpio
end
