#!/bin/busybox sh
# First process of the guest: mounts the host's root, read-only, under a layer in memory.
B=/bin/busybox
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
for module in /modules/*.ko; do $B insmod "$module"; done
if ! $B mount -t virtiofs -o ro host /host; then
    echo "the host's root cannot be mounted"
    $B poweroff -f
fi
$B mount -t tmpfs -o size=75% tmpfs /layer
$B mkdir /layer/upper /layer/work
$B mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root
for directory in dev proc sys; do $B mount --move /$directory /root/$directory; done
$B mount -t tmpfs -o mode=755 run /root/run
$B mkdir -p /root/run/host /root/run/lock /root/run/netns
$B cp -r /job /root/run/job
$B mount --move /host /root/run/host
exec $B switch_root /root /bin/bash /run/job/guest.sh
