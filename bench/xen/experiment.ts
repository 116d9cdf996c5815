// One move of a guest from a host of Xen to another, both booted for it, while its writers write and a
// client in the other dom0 asks its web server.

import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import { noise } from '../../testbed/support/images.js'
import { XenGuest } from '../../testbed/xen/guest.js'
import { linearDisk } from '../../testbed/xen/linear-disk.js'
import { lostWrites } from '../../testbed/xen/writes.js'
import type { XenHost } from '../../testbed/xen/xen-host.js'
import { XenHosts } from '../../testbed/xen/xen-hosts.js'
import type { Figures } from '../support/figures.js'
import type { Case } from './cases.js'
import { shape, wireBytes } from './link.js'

export const domain = 'web'

export interface Moving {
  readonly from: XenHost
  readonly to: XenHost
  /** Its path, on both. */
  readonly disk: string
  readonly one: Case
}

/** Moves the guest; resolves with what only the mover knows, `downtimeMs` among it. */
export type Move = (moving: Moving) => Promise<Figures>

export async function experiment (one: Case, move: Move): Promise<Figures> {
  const hosts = await XenHosts.boot({ guestsMiB: one.memoryMiB + 96, diskMiB: [one.diskMiB] })
  try {
    return await between(hosts, one, move)
  } finally {
    await hosts.close()
  }
}

async function between ({ a: from, b: to }: XenHosts, one: Case, move: Move): Promise<Figures> {
  fill(from.disk(), one.contentMiB)
  const mebibytes = one.diskMiB
  const [disk] = await Promise.all([from, to].map((host) => linearDisk(host, { name: domain, mebibytes })))
  const { memoryMiB, pauseMicros, spanBlocks } = one
  const guest = await XenGuest.create(from, {
    name: domain, disks: [`phy:${disk}`], memoryMiB, pauseMicros, spanBlocks
  })
  if (one.link !== null) for (const host of [from, to]) await shape(host, one.link)
  const client = await startClient(to, guest.address)
  const [began, sent] = [performance.now(), await wireBytes(from)]
  const told = await move({ from, to, disk: disk!, one })
  const seconds = (performance.now() - began) / 1000
  const figures = { seconds, ...told, wireBytes: await wireBytes(from) - sent }
  await guest.ready(to)
  const { gapMs, answers } = await client.stop()
  await guest.stopWriters(to)
  const writes = (await guest.writes(to))[0]!
  const content = readFileSync(to.disk())
  const lost = writes.flatMap((each) => lostWrites(content, each))
  return {
    ...figures,
    disruptionMs: gapMs,
    answers,
    writes: writes.reduce((sum, { count }) => sum + count, 0),
    writesLost: lost.length,
    equal: told['equal'] !== false && lost.length === 0
  }
}

function fill (path: string, mebibytes: number): void {
  const disk = openSync(path, 'r+')
  writeSync(disk, noise(1, mebibytes * 2 ** 20))
  closeSync(disk)
}

async function startClient (host: XenHost, address: string) {
  const program = host.program('bench/xen/client', `http://${address}/`, '/shared/stop')
  const running = host.start(program)
  while (!running.output.includes('begun')) await new Promise((resolve) => setTimeout(resolve, 100))
  return {
    stop: async (): Promise<{ gapMs: number, answers: number }> => {
      writeFileSync(join(host.folder, 'stop'), '')
      const { output } = await running.ended
      return JSON.parse(output.trim().split('\n').at(-1)!)
    }
  }
}
