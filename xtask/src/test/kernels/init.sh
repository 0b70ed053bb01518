#!/bin/busybox sh
# The guest's first program: mounts the machine's root file system, with changes in memory, and goes on there.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/mods/$module" || echo "insmod $module failed"; done < /mods/order
$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /lower
$B mount -t tmpfs tmpfs /rw
$B mkdir -p /rw/upper /rw/work
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /new
script=$($B sed -n 's/.*guest_script=\([^ ]*\).*/\1/p' /proc/cmdline)
for folder in proc sys dev; do $B mount --move /$folder /new/$folder; done
$B mount -t tmpfs tmpfs /new/run
$B mkdir -p /new/dev/pts /new/dev/shm
$B mount -t devpts devpts /new/dev/pts
$B mount -t tmpfs tmpfs /new/dev/shm
exec $B switch_root /new /bin/sh "$script"
