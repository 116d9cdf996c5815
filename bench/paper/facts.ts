// What the figures mean nothing without: the machine, and the QEMU that the guests run in.

import { run } from '../../testbed/support/command.js'
import { type Machine, machine } from '../support/machine.js'
import { qemu } from '../../testbed/guests/qemu.js'
import type { Setting } from './cases.js'

/** The machine, with the version of the QEMU that runs guests (not the system's own). */
export async function factsOfMachine (): Promise<Machine> {
  const { program, environment } = await qemu()
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const output = await run('env', ...variables, program, '--version')
  const version = /\d+\.\d+\.\d+/.exec(output)?.[0] ?? null
  const known = await machine()
  return { ...known, versions: { ...known.versions, 'qemu-system': version } }
}

/** A line about a link and its guest. */
export function describe (setting: Setting): string {
  const { name, link, size, budgetMs, limitSeconds } = setting
  const { rateBitsPerSecond = 0, delayMs = 0 } = link ?? {}
  const rate = link ? `${rateBitsPerSecond / 1e6} Mbit/s, ${delayMs} ms each way` : 'no limits'
  const [disk, content] = [size.diskBytes, size.contentBytes].map((bytes) => bytes / 2 ** 20)
  const guest = `disk ${disk} MiB with ${content} MiB of content, memory ${size.memoryMiB} MiB`
  return `${name}: ${rate}; ${guest}; downtime ${budgetMs} ms; given up after ${limitSeconds} s`
}
