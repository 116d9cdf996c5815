// The facts that a figure means nothing without.

import { cpus, release, totalmem } from 'node:os'
import { tryRun } from '../../testbed/support/command.js'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryMiB: number
  readonly kernel: string
  readonly node: string
  /** The versions of the programs compared with; null for one that is not installed. */
  readonly versions: Record<string, string | null>
}

const versionCommands: Record<string, string[]> = {
  fio: ['fio', '--version'],
  nbdcopy: ['nbdcopy', '--version'],
  nbdkit: ['nbdkit', '--version'],
  qemu: ['qemu-nbd', '--version'],
  rsync: ['rsync', '--version']
}

export async function machine (): Promise<Machine> {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    versions: await versions()
  }
}

async function versions (): Promise<Record<string, string | null>> {
  const found: Record<string, string | null> = {}
  for (const [name, [command, ...args]] of Object.entries(versionCommands)) {
    const output = await tryRun(command as string, ...args)
    found[name] = output === undefined ? null : (/\d+\.\d+(\.\d+)?/.exec(output)?.[0] ?? null)
  }
  return found
}
