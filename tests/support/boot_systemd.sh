#!/bin/sh
# Boots a systemd of its own on a copy of this machine, and has it run the unit that is shipped, as it is shipped:
#
#   sh boot_systemd.sh FOLDER PROGRAM UNIT SETTINGS
#
# What the daemon has to show is asked of systemd itself. Exit 77: no such copy, or no systemd in it, can be had here.
set -eu

folder=$1 program=$2 unit=$3 settings=$4

skip() {
    echo "$*" >&2
    exit 77
}

if [ "${5:-}" != inside ]; then
    [ -x /usr/lib/systemd/systemd ] || skip "systemd is not installed"
    groups=/sys/fs/cgroup
    [ -e "$groups/cgroup.controllers" ] || groups=/sys/fs/cgroup/unified
    [ -e "$groups/cgroup.procs" ] || skip "there are no control groups of version 2"
    group=$groups/bucardo-test.$$
    mkdir "$group" 2>/dev/null || skip "no control group can be made in $groups"
    # It must not see, and cannot touch, any process but its own.
    sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" unshare --mount --pid --fork --kill-child --uts --ipc --cgroup \
        sh "$0" "$folder" "$program" "$unit" "$settings" inside </dev/null >"$folder/boot" 2>&1 &
    outer=$!
    trap 'kill -KILL "$outer" 2>/dev/null || true; while [ -d "$group" ]; do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done' EXIT
    inside() {
        nsenter --target "$init" --mount --pid --uts --ipc --cgroup --root --wd "$@"
    }
    ask() {
        inside systemctl show bucardo.service --value -p "$1"
    }
    until_true() {
        tries=0
        until "$@" 2>/dev/null; do
            tries=$((tries + 1))
            if [ "$tries" -ge 300 ]; then
                echo "not within half a minute: $*" >&2
                cat "$folder/boot" >&2
                inside journalctl --no-pager -u bucardo.service >&2 || true
                exit 1
            fi
            sleep 0.1
        done
    }
    is() { # PROPERTY VALUE
        [ "$(ask "$1")" = "$2" ]
    }
    booted() {
        kill -0 "$outer" 2>/dev/null || skip "$(cat "$folder/boot")"
        init=$(cat "/proc/$outer/task/$outer/children") && init=${init%% *} &&
            [ "$(readlink "/proc/$init/exe")" = "$(readlink -f /usr/lib/systemd/systemd)" ] && inside test -e /mark &&
            is LoadState loaded
    }
    until_true booted

    until_true is ActiveState active
    is NRestarts 0
    case $(ask StatusText) in "Active syncs: 1"*) ;; *) echo "status: $(ask StatusText)" >&2; exit 1 ;; esac
    pid=$(ask MainPID)
    [ "$(inside stat -c %U "/proc/$pid")" = bucardo ]
    for line in "CapEff:	0000000000000000" "NoNewPrivs:	1" "Seccomp:	2"; do
        inside grep -q "^$line" "/proc/$pid/status" || { echo "not so: $line" >&2; exit 1; }
    done
    # It may write where it has to, and nowhere else.
    inside nsenter --target "$pid" --mount sh -c 'touch /var/lib/bucardo/x /var/log/bucardo/x /run/bucardo/x'
    ! inside nsenter --target "$pid" --mount sh -c 'touch /usr/x || touch /etc/bucardo/x' 2>/dev/null
    echo started

    inside systemctl reload bucardo.service
    reloaded() { inside journalctl --no-pager -o cat -u bucardo.service | grep -q "catalog reloaded"; }
    until_true reloaded
    until_true is ActiveState active
    is MainPID "$pid"
    echo reloaded

    inside kill -KILL "$pid"
    again() { [ "$(ask MainPID)" != 0 ] && ! is MainPID "$pid" && is ActiveState active; }
    until_true again
    pid=$(ask MainPID)
    echo "started again after SIGKILL"

    inside kill -STOP "$pid"
    until_true again
    inside journalctl --no-pager -o cat _PID=1 UNIT=bucardo.service | grep -q "Watchdog timeout"
    echo "started again by the watchdog"

    inside systemctl stop bucardo.service
    is ActiveState inactive
    is Result success
    echo stopped
    exit 0
fi

# The new mount namespace: a copy with its upper half in memory, which becomes the root.
mount --make-rprivate / || skip "mounts cannot be made private"
mkdir "$folder/copy"
mount -t tmpfs -o size=1g tmpfs "$folder/copy" || skip "no tmpfs can be mounted"
mkdir "$folder/copy/upper" "$folder/copy/work" "$folder/copy/root"
root=$folder/copy/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/copy/upper,workdir=$folder/copy/work" overlay "$root" ||
    skip "no overlay can be mounted"
touch "$root/mark"
[ ! -e /mark ] || skip "the copy is no copy"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" || skip "no control groups can be mounted"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# Settings of the kernel belong to the machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"

install -m 755 "$program" "$root/usr/bin/bucardo"
install -m 644 "$unit" "$root/usr/lib/systemd/system/bucardo.service"
install -D -m 644 "$settings" "$root/etc/bucardo/bucardo.toml"
rm -f "$root/etc/bucardorc"
chroot "$root" sh -c 'getent passwd bucardo >/dev/null || useradd -r -d /var/lib/bucardo -s /usr/sbin/nologin bucardo'
# Nothing runs there but the unit, and the journal that it talks to. Its times are short, so that the test is.
system=$root/etc/systemd/system
rm -rf "$system"
mkdir -p "$system/bucardo.service.d"
printf '[Service]\nWatchdogSec=2\nRestartSec=1\n' >"$system/bucardo.service.d/test.conf"
printf '[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.service bucardo.service\n' >"$system/test.target"
for unit in "$root"/usr/lib/systemd/system/sysinit.target.wants/*.service "$root"/usr/lib/systemd/system/*.wants/systemd-udev*; do
    case $unit in *journald*) ;; *) ln -sf /dev/null "$system/${unit##*/}" ;; esac
done
for unit in postgresql.service dbus.socket dbus.service systemd-logind.service; do
    ln -sf /dev/null "$system/$unit"
done
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
[ -e /mark ] || skip "the copy did not become the root"
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=test.target --show-status=no
