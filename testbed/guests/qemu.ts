// QEMU 10, unpacked privately. The one that Debian bookworm itself has, 7.2, loses pages of the
// guest's memory when it migrates under software emulation.

import { join } from 'node:path'
import { cached } from '../support/cache.js'
import { withPackages } from '../support/packages.js'

const suite = 'bookworm-backports'
const own = ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data', 'seabios']
// What a simulated installation names and no machine of ours uses: firmware, for network boot too, and
// other parts of QEMU, also those that Debian's own QEMU would get on a system that has it installed.
const isUsed = (name: string) => !/^qemu-|-qemu$/.test(name) && !own.includes(name)

/** A QEMU to run: `program` with `args` first, and `environment` on top of this process's. */
export interface Qemu {
  readonly program: string
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

/** Downloads it (14 MB) unless that was done. */
export async function qemu (): Promise<Qemu> {
  const root = await cached('qemu-10', unpack)
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
  return {
    program: join(root, 'usr/bin/qemu-system-x86_64'),
    args: ['-L', join(root, 'usr/share/qemu'), '-L', join(root, 'usr/share/seabios')],
    environment: { LD_LIBRARY_PATH: libraries, QEMU_MODULE_DIR: join(libraries, 'qemu') }
  }
}

async function unpack (root: string): Promise<void> {
  await withPackages(root, async (packages) => {
    await packages.unpack(suite, own, root)
    const missing = await packages.missing(suite, 'qemu-system-x86')
    const libraries = missing.filter(isUsed)
    if (libraries.length > 0) await packages.unpack('bookworm', libraries, root)
  })
}
