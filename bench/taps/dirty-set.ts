// A large disk of which 1 % is dirty, in single blocks at random places: how long until that is known?
// Its file is sparse, and what dirties it are discards, each an event as a write's is, so that it takes
// no memory.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Figures } from '../support/figures.js'
import type { TapContender } from './contender.js'
import { blockBytes } from './second-copy.js'
import { startFio } from './writers.js'

const idleMs = 4000

export async function readDirtySet (
  tapKind: TapContender, device: string, bytes: number
): Promise<Figures> {
  await using tap = await tapKind.attach(device)
  const discards = Math.floor(bytes / blockBytes / 100)
  await startFio(device, [
    '--rw=randtrim', '--bs=4k', `--size=${bytes}`, `--io_size=${discards * blockBytes}`,
    '--randrepeat=0', '--ioengine=sync'
  ])
  const begin = performance.now()
  tap.track() // what the kernel has marked until now is brought in
  await tap.quiesce()
  const readDirtyMs = performance.now() - begin
  const dirtyShare = tap.dirtyBytes / bytes
  tap.release()
  return { readDirtyMs, dirtyShare, discards, idleCpuShare: await idleCpuShare() }
}

/** Of a processor, by this process, which does nothing but watch. */
async function idleCpuShare (): Promise<number> {
  await sleep(500)
  const [begin, before] = [performance.now(), process.cpuUsage()]
  await sleep(idleMs)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / (performance.now() - begin)
}
