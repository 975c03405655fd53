# Runs a script in a bare Debian. Called in new mount and process namespaces, as their first process; see debian.py.
#
# usage: inside.sh BASE SPACE UID online|alone SCRIPT [INSIDE OUTSIDE]…
# SPACE is an empty folder to mount on; variables BARE_NAME are NAME to the script.
base=$1 space=$2 user=$3 network=$4 script=$5
shift 5

# All that is written goes to memory, and with the namespace.
mount -t tmpfs -o mode=755 bare "$space"
mkdir "$space/upper" "$space/work" "$space/root"
mount -t overlay -o "lowerdir=$base,upperdir=$space/upper,workdir=$space/work" bare "$space/root"
root=$space/root

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -m 1777 "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0 1 2; do
    names=(stdin stdout stderr)
    ln -s "/proc/self/fd/$number" "$root/dev/${names[number]}"
done
while [ $# -gt 0 ]; do
    mkdir -p "$root$1"
    mount --bind -o ro "$2" "$root$1"
    shift 2
done

home=/root
if [ "$network" = online ]; then
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    apt-config dump 2>/dev/null | grep '^Acquire::.*";$' >"$root/etc/apt/apt.conf.d/50host" || true
else
    ip link set lo up
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
fi
if [ "$user" -ne 0 ]; then
    home=/home/someone
    chroot "$root" useradd --create-home --uid "$user" --shell /bin/bash someone
fi
variables=(HOME="$home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
while IFS='=' read -r -d '' name value; do
    case $name in BARE_*) variables+=("${name#BARE_}=$value") ;; esac
done </proc/self/environ

status=0
env -i "${variables[@]}" chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups \
    bash -euo pipefail -c "cd; $script" </dev/null || status=$?

# In this namespace there is nobody else. One that ended and was not waited for, a zombie, is no process any more.
for folder in "$root"/proc/[0-9]*; do
    if [ "${folder##*/}" -ne $$ ] && read -r state 2>/dev/null <"$folder/stat" && [[ "${state##*) }" != Z* ]]; then
        words=()
        mapfile -d '' words 2>/dev/null <"$folder/cmdline" || true
        echo "left behind: ${folder##*/} ${words[*]-}"
        status=99
    fi
done
exit "$status"
