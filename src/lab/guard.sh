# Stands between a throwaway server and the process that wanted it: when its input closes, the server has nobody
# left and ends, and its files go. $1: the server's folder; the rest: the server's command line.
folder=$1
shift
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
order=
read -r order
[ "$order" = leave ] && exit 0
kill -INT "$server" 2>/dev/null
wait "$server"
if [ "$order" != stop ]; then
    cd /
    rm -rf "$folder"
    rmdir "$(dirname "$folder")" 2>/dev/null
fi
exit 0
