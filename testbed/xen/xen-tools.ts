// Xen from Debian's packages: the hypervisor, and a layer over this system's files with what a host
// of Xen needs and this system may not have.

import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { cached, keyed } from '../support/cache.js'
import { withPackages, type Packages } from '../support/packages.js'

// bookworm's first Xen 4.17, not its security update: that one has no shadow paging any more, and
// without it guests of the kind PV can't migrate live.
const kSuite = 'bookworm'
const kHypervisor = 'xen-hypervisor-4.17-amd64'
const kTools = ['xen-utils-4.17', 'lvm2', 'thin-provisioning-tools', 'fio'] as const
const kLeftOut = ['usr/share', 'usr/lib/systemd', 'usr/lib/udev', 'boot', 'var', 'etc/lvm'] as const
/** In Debian these are links into usr; a package that has one as a folder would hide the link. */
const kMerged = ['bin', 'sbin', 'lib', 'lib64'] as const

export interface XenTools {
  /** The hypervisor as an ELF file. */
  readonly hypervisor: string
  /** A folder to lay over this system's root. */
  readonly layer: string
}

/** Downloads and unpacks them (12 MB, once). */
export async function xenTools (): Promise<XenTools> {
  const folder = await cached(keyed('xen-tools', kHypervisor, ...kTools, ...kLeftOut), build)
  return { hypervisor: join(folder, 'xen'), layer: join(folder, 'layer') }
}

async function build (folder: string): Promise<void> {
  const [layer, other] = ['layer', 'hypervisor'].map((name) => join(folder, name)) as [string, string]
  await withPackages(folder, async (packages) => {
    await packages.unpack(kSuite, [kHypervisor], other)
    await packages.unpack(kSuite, await allMissing(packages), layer)
  })
  writeFileSync(join(folder, 'xen'), gunzipSync(readFileSync(imageIn(join(other, 'boot')))))
  rmSync(other, { recursive: true })
  mergeUsr(layer)
  for (const name of kLeftOut) rmSync(join(layer, name), { recursive: true, force: true })
  if (!existsSync(join(layer, 'usr/lib/xen-4.17/bin/xl'))) throw new Error('the packages have no xl')
}

function imageIn (folder: string): string {
  const images = readdirSync(folder).filter((name) => /^xen-.*\.gz$/.test(name))
  if (images.length !== 1) throw new Error(`the hypervisor's package has ${images.length} images`)
  return join(folder, images[0]!)
}

function mergeUsr (layer: string): void {
  for (const name of kMerged) {
    const from = join(layer, name)
    if (!existsSync(from)) continue
    cpSync(from, join(layer, 'usr', name), { recursive: true, verbatimSymlinks: true })
    rmSync(from, { recursive: true })
  }
}

async function allMissing (packages: Packages): Promise<string[]> {
  const names = new Set<string>()
  for (const tool of kTools) {
    for (const name of await packages.missing(kSuite, tool)) names.add(name)
  }
  return [...names]
}
