#!/bin/bash
# The first process of an emulated machine, in namespaces of its own, where it is root. Registers
# the emulator for its programs, mounts the files of the machine, then sleeps.
# Environment: NEW empty folder, USERLAND its Debian, BOARD proc and sys files, PACKAGES folder of
# Python packages, SITES folder that holds the sites, HOME_DIR, DISK size of tmpfs or empty,
# STUBS folder of empty host libraries, QEMU, ARCH, READY file that gets this process's id.
set -e
trap 'echo "machine: failed at line $LINENO" >&2' ERR
# /proc is still that of outside: it knows this process by the id that others need.
read -r outside _ < /proc/self/stat

hostname raspberrypi
mount -t tmpfs machine "$NEW"
cd "$NEW"
mkdir -p proc sys dev tmp run home/pi opt/sites root var/tmp lib64
chmod 1777 tmp var/tmp

mkdir run/binfmt
mount -t binfmt_misc binfmt run/binfmt # stays mounted: what is registered goes with it
# Magic and mask of ELF executables, as binfmt.d of Debian's qemu-user-static registers them. F: the
# emulator is opened now, where it lies outside of the root to come.
tail='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
case $ARCH in
  arm64) magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' ;;
  armhf) magic='\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00' ;;
esac
printf '%s' ":board:M:0:$magic:$tail:$QEMU:F" > run/binfmt/register

bind() { # source, place: read-only where the kernel lets one say so
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2" 2>/dev/null || true
}
for part in usr bin lib etc; do mkdir -p "$part"; bind "$USERLAND/$part" "$part"; done
# The emulator itself is a program of the machine outside and needs that one's libraries.
for folder in /usr/lib/x86_64-linux-gnu; do bind "$folder" lib/x86_64-linux-gnu; done
touch lib64/ld-linux-x86-64.so.2
bind /lib64/ld-linux-x86-64.so.2 lib64/ld-linux-x86-64.so.2
bind "$STUBS" usr/lib/x86_64-linux-gnu/faketime
bind "$PACKAGES" usr/local/lib/python3.11/dist-packages
bind "$SITES" opt/sites
bind "$BOARD/aarch64/vcgencmd" usr/bin/vcgencmd
# QEMU looks absolute paths up there first: Debian's default of -L. So files appear that the true
# /proc does not let one make.
bind "$BOARD" etc/qemu-binfmt

if [ -n "$DISK" ]; then
  mount -t tmpfs -o "size=$DISK" disk home/pi
else
  mount --bind "$HOME_DIR" home/pi
fi
mount --rbind /dev dev
mount -t tmpfs shm dev/shm
mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc
mount --rbind /sys sys

cd home/pi
echo "$outside" > "$READY.part" && mv "$READY.part" "$READY"
exec unshare --user --map-user=1000 --map-group=1000 --root "$NEW" --wd /home/pi /bin/sleep infinity
