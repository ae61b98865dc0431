# What the guest does with the host's programs: makes itself a machine like another, runs the
# job, and switches itself off. The job's output goes to the first port of the virtio console.
. /run/job/kernel.sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /dev/pts /dev/shm "/lib/modules/$VERSION"
ln -sfn /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mount --bind "/run/host$MODULES" "/lib/modules/$VERSION"
ip link set lo up
hostname vm
until OUT=$(echo /dev/vport*p1) && [ -c "$OUT" ]; do sleep .1; done
exec 3> "$OUT"
# Devices of these kinds do not load their modules themselves.
for module in fou fou6 tun; do modprobe "$module" >&3 2>&1; done
bash /run/job/run.sh < /dev/null >&3 2>&1 3>&-
exec 3>&-
sync
echo o > /proc/sysrq-trigger
# The switch is not at once.
sleep 60
