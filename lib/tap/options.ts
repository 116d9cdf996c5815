// The options of openTap().
import type { Holes } from './holes.js'

export interface TapOptions {
  /** A regular file or block device; or memory or null of a size, for tests and benchmarks. */
  source: string | { memory: number | string } | { null: number | string }
  /** The export's name, and the disk's in a migration. Default 'disk'. */
  name?: string
  /** Whose writes it sees. 'nbd': those that an NbdServer brings to it, and nobody else may write.
   * 'bpf': whoever writes to the block device or partition `source`, which is in use and stays
   * so: it is attached by eBPF, which delays writes by some milliseconds, and leaves nothing behind
   * (but see `map`). It can't stop the writers (see quiesce()), and slows them by cgroups (see
   * `cgroup`). It takes `name`, `map` and `cgroup`. Needs root and a kernel with BTF: probe() tells.
   * 'dm': whoever writes to `source`, a device of device-mapper (LVM, dm-crypt) that is in use and
   * stays so: dm-era is put under it, which delays writes by some milliseconds, again for each of its
   * checkpoints (up to ten a second), and is taken out by close(). It knows what was written by 32
   * KiB, slows the writers by cgroups, and stops them itself. Takes `name`, `metadata` and `cgroup`.
   * Needs root, and of the devices those of linear, striped, crypt and thin targets. Default 'nbd'. */
  tap?: TapKind
  /** Of a 'dm' tap, where dm-era keeps what it knows: a folder, in which it makes a file without a
   * name, or a block device of its own, whose content is lost. It takes 12 bytes for each 32 KiB
   * of the disk and 16 MiB. Default: memory. */
  metadata?: string
  /** Bytes, of a file or device: the disk is the first so many of it, a positive multiple of 512, and what
   * lies behind can neither be read nor written: it was moved to larger storage, which LVM and others
   * round up to. TOO_SMALL when there are fewer. Default: all of it. */
  size?: number | string
  /** Open for reading only. Default false. */
  readOnly?: boolean
  /** O_DIRECT: no page cache; requests must be aligned to the logical block size. Default false. */
  direct?: boolean
  /** Create a missing file with this size. Default: a missing file is an error, NOT_FOUND. */
  createSize?: number | string
  /** Take it although another program has it locked or open for writing, else BUSY, and hold what can be
   * held; of processes of other users only root sees what they have open. And take it as a raw disk although
   * it looks like an image in another format (qcow2, QED, VMDK, VHD, VHDX, VDI, Parallels), else UNSUPPORTED.
   * Default false. */
  force?: boolean
  /** Of a file: whether what its file system tells as a hole is taken for zeroes without being read, in
   * every pass, comparison and inventory, and for NBD clients that ask. 'trust': yes; 'read': no, all of it
   * is read, however large it is; 'auto': yes on ext2 to ext4, XFS, Btrfs, F2FS and tmpfs, which answer as
   * they read, no on all others (NFS, SMB, Ceph, FUSE, ZFS, overlays …). No digest shows a hole that was
   * believed and was none. Default 'auto'. */
  holes?: Holes
  /** A map file: what is tracked of the disk outlives the process there, so that a migration that
   * goes on after a crash neither reads nor sends again what has not changed. It takes 0.2 % of what
   * is not zeroes in the disk (where that can't be allocated later, nothing is remembered; on a file
   * system that does not tell holes exactly, of the disk's size at once) and 96 MiB per TiB of its size,
   * at blocks of 4 KiB, NO_SPACE without these. It holds for one boot of the host: a folder in /run is the place
   * for it. Only for the disk and block size (default 4 KiB) that it was made for; made when it is missing. What
   * may have been written past the tap meanwhile is forgotten: any change of a file later than the
   * tap's own last write, any at all of a device whose tap was not closed.
   *
   * A 'bpf' tap with a map file goes on in the kernel when its process is killed: it is pinned below
   * /sys/fs/bpf, which is mounted when it is not, until openTap() with the same map takes it over, or
   * removeLeftoverTap(). Nobody writes past it, so nothing is forgotten. close() takes it out of the kernel,
   * and what the map file remembers is forgotten then. */
  map?: string | { path: string, blockSize?: number | string }
  /** For a tap in the kernel: the folder of the cgroup whose writes throttle() limits. Default: on a host with
   * cgroup version 1 the root, which has the limit of the whole disk; with version 2 those of the
   * processes that have the device open, and of the threads of Xen's blkback that serve it, each with
   * an equal part. Such a thread begins in the root, where nothing is limited: move it to a group first. */
  cgroup?: string
}

export type TapKind = 'nbd' | 'bpf' | 'dm'
