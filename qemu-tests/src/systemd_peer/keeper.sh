#!/bin/sh
# Keeps one peer: starts it in fresh namespaces and a fresh cgroup, and takes everything away again once
# standard input ends, however the test ended. Arguments: the base tree, a new directory, a new cgroup, the
# script for inside, the capabilities that the peer keeps. Prints the pid of `unshare`, whose only child is the peer's PID 1.
set -eu
tree=$1 room=$2 cgroup=$3 inside=$4 kept=$5

mkdir "$room" "$cgroup"
# The one who starts the peer moves into the cgroup, so that the peer's cgroup namespace is rooted there.
sh -c 'echo $$ >"$0/cgroup.procs" && exec unshare --mount --pid --fork --kill-child=SIGKILL --net --ipc --uts \
    --cgroup /bin/sh "$1" "$2" "$3" "$4"' "$cgroup" "$inside" "$tree" "$room" "$kept" </dev/null >"$room/boot.log" 2>&1 &
peer=$!
echo "$peer"

# Blocks until the test lets go of the pipe: by Drop, by a panic, or by being killed.
while read -r _; do :; done

kill -KILL "$peer" 2>/dev/null || true
wait "$peer" 2>/dev/null || true
echo 1 >"$cgroup/cgroup.kill" 2>/dev/null || true
tries=0
while [ "$(sed -n 's/^populated //p' "$cgroup/cgroup.events")" != 0 ] && [ "$tries" -lt 500 ]; do
    tries=$((tries + 1))
    sleep 0.02
done
find "$cgroup" -depth -type d -exec rmdir {} +
rm -rf "$room"
