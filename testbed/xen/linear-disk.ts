// A disk for a guest on a host of Xen: a device of device-mapper, as a volume of LVM is.

import type { XenHost } from './xen-host.js'

export interface LinearDiskOptions {
  /** Default: 'web'. */
  readonly name?: string
  /** Default: 64. */
  readonly mebibytes?: number
  /** The host's disk. Default: /dev/vda. */
  readonly on?: string
  /** Where it begins there, MiB. Default: 0. */
  readonly at?: number
}

/** Answers its path. */
export async function linearDisk (host: XenHost, options: LinearDiskOptions = {}): Promise<string> {
  const { name = 'web', mebibytes = 64, on = '/dev/vda', at = 0 } = options
  const table = `0 ${mebibytes * 2048} linear ${on} ${at * 2048}`
  await host.must(`dmsetup --noudevsync create ${name} --table '${table}' && dmsetup mknodes`)
  return `/dev/mapper/${name}`
}
