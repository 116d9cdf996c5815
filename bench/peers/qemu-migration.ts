// QEMU moves a guest: its memory alone between hosts that share the disk, or also the disk, with
// blockdev-mirror to an NBD export of the destination's. As libvirt does it, but with less waiting:
// its commands come over Unix sockets, so they cost no round trip of the link, and what can go on
// at the same time does.

import type { Monitors, Mover } from '../paper/plain-site.js'
import { diskNode, fileNode } from '../../testbed/guests/guest.js'
import { givenUp } from '../paper/site.js'
import type { Qmp, QmpEvent } from '../../testbed/support/qmp.js'
import type { MirrorOptions } from './mirror.js'

const ports = { nbd: '10809', memory: '4444' }
/** In the LAN the link is the limit, not QEMU (bytes a second). */
const noLimit = 2 ** 40
/** What an operator allows at last, when memory does not fit into the downtime asked for, in ms. */
const lastDowntimeMs = 3000
const switchoverPatienceMs = 120_000

/** Moves memory and disk. */
export function moveWithMirror (options: MirrorOptions = {}): Mover {
  return async (monitors) => {
    const { limitSeconds } = monitors.ground.setting
    const giveUpAt = performance.now() + limitSeconds * 1000
    await mirrorDisk(monitors, options)
    const outcomes = ['BLOCK_JOB_READY', 'BLOCK_JOB_COMPLETED']
    const outcome = await monitors.source.event(outcomes, limitSeconds * 1000)
    if (outcome === undefined) return givenUp(`the mirror was not ready in ${limitSeconds} s`)
    if (outcome.event === 'BLOCK_JOB_COMPLETED') throw jobError(outcome)
    await migrate(monitors, true)
    if (!(await pausePoint(monitors, giveUpAt))) {
      return givenUp(`memory was not ready in ${limitSeconds} s`)
    }
    await switchOver(monitors)
    return moved(monitors.source)
  }
}

/** Moves memory alone. */
export async function moveMemory (monitors: Monitors): ReturnType<Mover> {
  const { limitSeconds } = monitors.ground.setting
  await migrate(monitors, false)
  if (!(await hasReached(monitors.destination, 'completed', limitSeconds * 1000))) {
    return givenUp(`memory was not ready in ${limitSeconds} s`)
  }
  await monitors.destination.execute('cont')
  return moved(monitors.source)
}

async function mirrorDisk (
  { source, destination, ground }: Monitors,
  options: MirrorOptions
): Promise<void> {
  const address = { host: ground.hosts.b.address, port: ports.nbd }
  await destination.execute('nbd-server-start', { addr: { type: 'inet', data: address } })
  // The file under the disk's node, so that only the guest's own writes pass through the latter.
  const served = { type: 'nbd', id: 'disk', 'node-name': fileNode, name: 'disk', writable: true }
  await destination.execute('block-export-add', served)
  const server = { type: 'inet', ...address }
  const target = { driver: 'nbd', 'node-name': 'target', export: 'disk', discard: 'unmap' }
  await source.execute('blockdev-add', { ...target, server })
  const job = { 'job-id': 'mirror', device: diskNode, target: 'target', sync: 'full' }
  await source.execute('blockdev-mirror', { ...job, ...options })
}

async function migrate (
  { source, destination, ground }: Monitors,
  pauses: boolean
): Promise<void> {
  const { hosts, setting } = ground
  await setCapabilities(source, { events: true, 'pause-before-switchover': pauses })
  await setCapabilities(destination, { events: true, 'late-block-activate': true })
  // Told the link's rate, it fills no queues: its pauses are half as long as without.
  const rate = setting.link?.rateBitsPerSecond
  const bandwidth = rate === undefined ? noLimit : Math.round(rate / 8)
  const limits = { 'max-bandwidth': bandwidth, 'downtime-limit': setting.budgetMs }
  await source.execute('migrate-set-parameters', limits)
  const uri = `tcp:${hosts.b.address}:${ports.memory}`
  await destination.execute('migrate-incoming', { uri })
  await source.execute('migrate', { uri })
}

async function setCapabilities (qmp: Qmp, wanted: Record<string, boolean>): Promise<void> {
  const capabilities = Object.entries(wanted).map(([capability, state]) => ({ capability, state }))
  await qmp.execute('migrate-set-capabilities', { capabilities })
}

// With the downtime asked for, and in the last quarter of the time with what is allowed at last.
async function pausePoint ({ source, ground }: Monitors, giveUpAt: number): Promise<boolean> {
  const leftMs = () => Math.max(0, giveUpAt - performance.now())
  const lastMs = ground.setting.limitSeconds * 250
  if (await hasReached(source, 'pre-switchover', Math.max(0, leftMs() - lastMs))) return true
  await source.execute('migrate-set-parameters', { 'downtime-limit': lastDowntimeMs })
  return hasReached(source, 'pre-switchover', leftMs())
}

// The guest is paused. What is dirty goes over with the end of the mirror job, then the rest of
// memory; meanwhile the destination's disk is freed from its export.
async function switchOver ({ source, destination }: Monitors): Promise<void> {
  await source.execute('block-job-cancel', { device: 'mirror' })
  const ends = ['BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED']
  const end = await source.event(ends, switchoverPatienceMs)
  if (end === undefined) throw new Error('the mirror job did not end')
  if (end.data['error'] !== undefined) throw jobError(end)
  await Promise.all([
    destination.execute('nbd-server-stop'),
    source.execute('migrate-continue', { state: 'pre-switchover' })
  ])
  if (!(await hasReached(destination, 'completed', switchoverPatienceMs))) {
    throw new Error('memory did not arrive')
  }
  await destination.execute('cont')
}

async function moved (source: Qmp): ReturnType<Mover> {
  await hasReached(source, 'completed', switchoverPatienceMs)
  const { downtime } = (await source.execute('query-migrate')) as { downtime?: number }
  const { 'downtime-limit': allowedMs } = (await source.execute('query-migrate-parameters')) as {
    'downtime-limit': number
  }
  const figures = { reportedDowntimeMs: downtime ?? null, reportedEqual: null }
  return { reason: null, throttleMs: null, allowedMs, ...figures }
}

/** Whether the migration gets there in time. Throws when it fails. */
async function hasReached (qmp: Qmp, wanted: string, timeoutMs: number): Promise<boolean> {
  const ends = [wanted, 'failed', 'cancelled', 'completed']
  const isEnd = ({ status }: QmpEvent['data']) => ends.includes(String(status))
  const event = await qmp.event(['MIGRATION'], timeoutMs, isEnd)
  if (event === undefined || event.data['status'] === wanted) return event !== undefined
  const info = (await qmp.execute('query-migrate')) as Record<string, string>
  const words = info['error-desc'] ?? ''
  throw new Error(`the migration ended: ${String(event.data['status'])} ${words}`)
}

function jobError ({ data }: QmpEvent): Error {
  return new Error(`blockdev-mirror: ${String(data['error'] ?? 'it ended early')}`)
}
