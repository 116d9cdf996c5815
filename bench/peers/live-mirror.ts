// QEMU's blockdev-mirror under a writer: the writer's export and the mirror are in one
// qemu-storage-daemon. When the mirror is ready the writer is frozen, its export removed (that
// drains what is in flight) and the mirror finished; that span is the downtime.

import { join } from 'node:path'
import { type Move, type Outcome, TimedWriter } from '../support/converging.js'
import { diskUri, whenServing } from '../support/fio.js'
import { freePort, whenListening } from '../support/network.js'
import { MeasuredProcess } from '../support/process.js'
import { type MirrorOptions, StorageDaemon } from './mirror.js'
import { qemuNbd } from './servers.js'

/** Moves a disk under its writer with these options of the mirror. */
export function mirrorLive (options: MirrorOptions): (move: Move) => Promise<Outcome> {
  return (move) => moveByMirror(move, options)
}

async function moveByMirror (move: Move, options: MirrorOptions): Promise<Outcome> {
  const { link, folder } = move
  const port = await freePort()
  const command = qemuNbd({ host: link.address, port }, move.destination)
  const receiver = await MeasuredProcess.start(command, link.destination)
  const socket = join(folder, 'nbd')
  const daemon = await StorageDaemon.start(move.source, folder, link.source, exportDisk(socket))
  try {
    await whenListening(port, link.destination)
    await whenServing(diskUri(socket))
    const writer = await TimedWriter.start(socket, move.workload)
    return await mirror(move, daemon, writer, port, options)
  } finally {
    await daemon.stop()
    await receiver.stop()
  }
}

function exportDisk (socket: string): string[] {
  const server = ['--nbd-server', `addr.type=unix,addr.path=${socket}`]
  return [...server, '--export', 'nbd,id=disk,node-name=disk,name=disk,writable=on']
}

async function mirror (
  move: Move,
  daemon: StorageDaemon,
  writer: TimedWriter,
  port: number,
  options: MirrorOptions
): Promise<Outcome> {
  const bytesBefore = await move.link.wireBytes()
  const started = performance.now()
  await daemon.mirrorTo(move.link.address, port, options)
  const isReady = await daemon.isReady(move.limitMs)
  const paused = performance.now()
  writer.freeze()
  if (isReady) await switchOver(daemon)
  const ended = performance.now()
  const wireBytes = (await move.link.wireBytes()) - bytesBefore
  return {
    seconds: isReady ? (ended - started) / 1000 : null,
    downtimeMs: isReady ? ended - paused : null,
    wireBytes,
    throttleDelayMs: null,
    writerShare: await writer.share(),
    reason: isReady ? null : `not ready in ${move.limitMs / 1000} s`
  }
}

async function switchOver (daemon: StorageDaemon): Promise<void> {
  await daemon.qmp.execute('block-export-del', { id: 'disk', mode: 'hard' })
  const deleted = await daemon.qmp.event(['BLOCK_EXPORT_DELETED'], 60_000)
  if (deleted === undefined) throw new Error('the export did not go away')
  await daemon.finishMirror(120_000)
}
