#!/bin/sh
# Makes of unpacked packages what a virtual machine boots from. Called with the root's directory.
set -eu
root=$1

# Nobody reads a manual in it.
rm -rf "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info "$root"/usr/share/doc

# The packages are unpacked only: what their scripts would do and is needed here is done here.
cp "$root"/usr/share/base-passwd/passwd.master "$root"/etc/passwd
cp "$root"/usr/share/base-passwd/group.master "$root"/etc/group
chroot "$root" ldconfig
chroot "$root" systemd-sysusers
version=$(ls "$root"/usr/lib/modules)
chroot "$root" depmod "$version"
ln -sf mawk "$root"/usr/bin/awk
rm -rf "$root"/var/run "$root"/var/lock
ln -s /run "$root"/var/run
ln -s /run/lock "$root"/var/lock

echo appliance > "$root"/etc/hostname
echo '127.0.0.1 localhost appliance' > "$root"/etc/hosts
echo 0123456789abcdef0123456789abcdef > "$root"/etc/machine-id
: > "$root"/etc/fstab

# What takes time while it boots, and what nobody asks for here.
units=$root/etc/systemd/system
mkdir -p "$units"
ln -sf /lib/systemd/system/multi-user.target "$units"/default.target
for unit in \
    cryptsetup.target dev-hugepages.mount dev-mqueue.mount e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    getty-static.service getty.target integritysetup.target kmod-static-nodes.service ldconfig.service proc-sys-fs-binfmt_misc.automount \
    remote-cryptsetup.target remote-veritysetup.target sys-fs-fuse-connections.mount sys-kernel-config.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-binfmt.service systemd-firstboot.service systemd-hwdb-update.service systemd-initctl.socket \
    systemd-journal-catalog-update.service systemd-logind.service systemd-update-done.service \
    systemd-machine-id-commit.service systemd-modules-load.service systemd-pcrphase-sysinit.service \
    systemd-pcrphase.service systemd-random-seed.service systemd-remount-fs.service systemd-repart.service \
    systemd-tmpfiles-clean.timer systemd-update-utmp-runlevel.service systemd-update-utmp.service \
    systemd-user-sessions.service veritysetup.target
do
    ln -sf /dev/null "$units/$unit"
done

# It tells the journal of every question that it is asked.
mkdir -p "$units"/qemu-guest-agent.service.d
printf '[Service]\nLogLevelMax=warning\n' > "$units"/qemu-guest-agent.service.d/quiet.conf

# What the kernel needs before it has a disk, in the order in which it is loaded.
early=$root/early
mkdir -p "$early"/bin "$early"/modules "$early"/dev "$early"/disk
cp "$root"/usr/bin/busybox "$early"/bin/
ln -s busybox "$early"/bin/sh
for module in virtio_pci virtio_blk virtio_net virtio_console; do
    chroot "$root" modprobe -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$root"/early.list
number=10
while read -r module; do
    cp "$root$module" "$early/modules/$number-${module##*/}"
    number=$((number + 1))
done < "$root"/early.list
for module in "$early"/modules/*.xz; do
    if [ -e "$module" ]; then chroot "$root" busybox unxz "${module#"$root"}"; fi
done
cat > "$early"/init <<'END'
#!/bin/sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
until [ -e /dev/vda ]; do $b usleep 10000; done
$b ip link set lo up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip link set eth0 up
$b ip route add default via 10.0.2.2
$b mount -t ext4 -o noatime /dev/vda /disk
if [ -d /files ]; then $b cp -a /files/. /disk/; fi
exec $b switch_root /disk /sbin/init
END
chmod 755 "$early"/init
rm "$root"/early.list
