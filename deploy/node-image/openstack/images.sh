# Sourced by ../build: the same system for instances of Nova. It adds what an instance needs and a container of Incus does not: cloud-init,
# DHCP and the walls around user-data; for a virtual machine also a kernel.
HERE=$RECIPE/openstack
for program in mke2fs qemu-img; do
  command -v "$program" >/dev/null || { echo "build: $program is missing: apt-get install e2fsprogs qemu-utils" >&2; exit 1; }
done

instance() { # ROOT KIND - makes a node an instance of Nova
  local root=$1 kind=$2 wants=$1/etc/systemd/system/multi-user.target.wants unit folder
  node "$root" "$HERE/units-$kind"
  for folder in "$HERE/files" "$HERE/files-$kind"; do
    cp -R --no-preserve=ownership "$folder/." "$root/"
    (cd "$folder" && find . -mindepth 1 -printf '%P\0') | (cd "$root" && xargs -0 chown root:root)
  done
  chmod 0755 "$root/usr/local/sbin/"* "$root"/usr/local/lib/carina/{runc-without-mknod,dhcp-lease}
  : >"$root/etc/resolv.conf"
  # cloud-init is run by carina-first-boot alone, once.
  : >"$root/etc/cloud/cloud-init.disabled"
  rm -f "$root"/etc/cloud/cloud.cfg.d/*
  rm -f "$root/usr/lib/systemd/system-generators/cloud-init-generator" "$root/usr/lib/udev/rules.d/"*cloud-init*
  for unit in carina-host carina-network carina-first-boot carina-seal; do ln -sf "../$unit.service" "$wants/$unit.service"; done
  rm -rf "$root"/usr/lib/python3*/test "$root"/var/lib/cloud
  mkdir -p "$root/var/lib/cloud"
}

disk() { # ROOT NAME - writes the file system as a raw disk without partitions, compressed
  local root=$1 name=$2 content
  content=$(du -sm --apparent-size "$root" | cut -f1)
  truncate -s "$((content * 5 / 4 + 128))M" "$WORK/$name.raw"
  mke2fs -q -t ext4 -L carina-root -m 1 -E lazy_itable_init=1,root_owner=0:0 -d "$root" "$WORK/$name.raw"
  qemu-img convert -c -O qcow2 "$WORK/$name.raw" "$OUT/$name.qcow2"
  rm -rf --one-file-system "$WORK/$name.raw" "$root"
}

debian "$WORK/container" "$PACKAGES,cloud-init"
instance "$WORK/container" container
docker=$(docker_version "$WORK/container")
disk "$WORK/container" container

# The initial RAM disk holds what finds a root disk under QEMU and KVM, and not every driver there is: it is unpacked at every boot.
debian "$WORK/vm" "$PACKAGES,cloud-init,udev,kmod,apparmor,e2fsprogs,systemd-timesyncd,initramfs-tools,linux-image-cloud-amd64" \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
  --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/carina"' \
  --essential-hook='printf "%s\n" virtio_pci virtio_blk virtio_scsi virtio_net sd_mod ahci ata_piix ext4 >"$1/usr/share/initramfs-tools/modules.d/carina"'
cp -L "$WORK/vm"/boot/vmlinuz-* "$OUT/vmlinuz"
cp -L "$WORK/vm"/boot/initrd.img-* "$OUT/initrd"
rm -f "$WORK/vm"/boot/*
instance "$WORK/vm" vm
echo 'LABEL=carina-root / ext4 defaults,noatime 0 1' >"$WORK/vm/etc/fstab"
mkdir -p "$WORK/vm/etc/systemd/system/sysinit.target.wants"
ln -sf /usr/lib/systemd/system/systemd-timesyncd.service "$WORK/vm/etc/systemd/system/sysinit.target.wants/"
disk "$WORK/vm" vm

cat >"$OUT/image.json" <<META
{
  "recipe": "${CARINA_RECIPE:-$(recipe_of_openstack)}",
  "architecture": "$(uname -m)",
  "coe": "swarm",
  "coe_version": "$docker",
  "images": {
    "container": {
      "file": "container.qcow2", "disk_format": "qcow2", "container_format": "bare", "min_disk": 2, "min_ram": 256,
      "properties": {"img_hv_type": "lxc", "hw_vm_mode": "exe"}
    },
    "vm": {
      "file": "vm.qcow2", "disk_format": "qcow2", "container_format": "bare", "min_disk": 2, "min_ram": 512,
      "kernel": "vmlinuz", "ramdisk": "initrd",
      "properties": {"img_hv_type": "qemu", "hw_vm_mode": "hvm", "hw_disk_bus": "virtio", "hw_vif_model": "virtio"}
    }
  }
}
META
echo "node images for OpenStack with Docker $docker: $(cd "$OUT" && du -m container.qcow2 vm.qcow2 vmlinuz initrd | awk '{printf "%s%s %s MB", sep, $2, $1; sep = ", "}')"
