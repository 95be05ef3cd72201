#!/bin/sh
# Installs, runs, removes and purges the package $1 on a copy of this machine. The control database goes to the server
# at host $2, port $3, user $4. To be run in a mount and process namespace of its own. Exit 77: it cannot be copied.
set -eu

package=$1 host=$2 port=$3 user=$4

mount --make-rprivate / || exit 77
place=$(dirname "$package")/copy
mkdir "$place"
mount -t tmpfs -o size=2g tmpfs "$place" || exit 77
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" overlay "$place/root" || exit 77
root=$place/root
# Nothing of what is done here may reach the machine itself: neither its files nor a service manager that runs there.
mark=bucardo-package-test.$$
touch "$root/$mark"
[ ! -e "/$mark" ] || { echo "the copy is no copy" >&2; exit 77; }
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || true
for device in null zero urandom; do
    [ -e "$root/dev/$device" ] || touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
cp "$package" "$root/tmp/bucardo.deb"

inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"
}

expect() {
    inside test "$@" || { echo "not so: $*" >&2; exit 1; }
}

until_true() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "not within half a minute: $*" >&2; cat "$root/tmp/log" >&2; exit 1; }
        sleep 0.1
    done
}

inside dpkg --install --force-confnew /tmp/bucardo.deb >&2
echo installed
expect -x /usr/bin/bucardo
inside id bucardo >&2
for folder in /var/lib/bucardo /var/log/bucardo /run/bucardo; do
    expect "$(inside stat -c %U "$folder")" = bucardo
done
inside bucardo --no-bucardorc --version >&2
expect "$(inside bucardo_ctl --no-bucardorc --version | cut -d' ' -f1)" = bucardo_ctl
# What is on disk is a page, and a script that completes both names.
inside gzip -dc /usr/share/man/man1/bucardo_ctl.1.gz | grep -q bucardo_ctl || { echo "no manual page" >&2; exit 1; }
for name in bucardo bucardo_ctl; do
    answer=$(inside bash -c ". /usr/share/bash-completion/completions/$name
        COMP_WORDS=($name sta) COMP_CWORD=1; _bucardo; echo \"\${COMPREPLY[*]}\"")
    [ "$answer" = "start status" ] || { echo "$name sta is completed to: $answer" >&2; exit 1; }
    inside bash -c ". /usr/share/bash-completion/completions/$name; complete -p $name" >&2
done
expect ! -e /etc/init.d/bucardo

# What the unit would run, as the user that it names.
as_bucardo() {
    inside setpriv --reuid bucardo --regid bucardo --clear-groups env HOME=/var/lib/bucardo \
        /usr/bin/bucardo --no-bucardorc --dbhost "$host" --dbport "$port" --dbuser "$user" --dbname packaged_control "$@"
}
as_bucardo install --batch >&2
as_bucardo start --foreground >"$root/tmp/log" 2>&1 &
daemon=$!
until_true as_bucardo ping 1
echo runs
as_bucardo stop >&2
wait "$daemon"
expect ! -e /run/bucardo/bucardo.mcp.pid

inside dpkg --remove bucardo >&2
expect ! -e /usr/bin/bucardo
expect ! -L /usr/bin/bucardo_ctl
expect -e /etc/bucardo/bucardo.toml
echo removed
inside dpkg --purge bucardo >&2
for path in /etc/bucardo /etc/logrotate.d/bucardo /etc/rsyslog.d/30-bucardo.conf /var/lib/bucardo /var/log/bucardo \
    /run/bucardo /usr/share/doc/bucardo /usr/share/man/man1/bucardo.1.gz /usr/share/man/man1/bucardo_ctl.1.gz \
    /usr/share/bash-completion/completions/bucardo_ctl /usr/lib/systemd/system/bucardo.service; do
    expect ! -e "$path"
done
echo purged
