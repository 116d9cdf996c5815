// Millions of random writes, while a second copy is kept up to date by what the tap marks: is a block
// missed? And how much does the tap report that has not changed?

import { join } from 'node:path'
import type { Figures } from '../support/figures.js'
import type { TapContender } from './contender.js'
import { blockBytes, differences, DeviceReader, SecondCopy } from './second-copy.js'
import { startFio } from './writers.js'

const random = ['--rw=randwrite', '--bs=4k', '--iodepth=32', '--randrepeat=0', '--norandommap=1']

export async function compareWrites (
  tapKind: TapContender, device: string, folder: string, writes: number
): Promise<Figures> {
  await using tap = await tapKind.attach(device)
  tap.track()
  tap.mark()
  const copy = new SecondCopy(tap, tap.readPath, join(folder, 'copy'))
  const begin = performance.now()
  const before = tap.stats().writes
  let isWriting = true
  const writing = startFio(device, [...random, `--number_ios=${writes}`, `--io_size=${writes * blockBytes}`])
    .finally(() => (isWriting = false))
  let passes = 0
  for (; isWriting; passes++) await copy.pass()
  await writing
  const seconds = (performance.now() - begin) / 1000
  await tap.quiesce()
  await copy.pass()
  const comparedWrites = tap.stats().writes - before
  const missed = copy.differingBlocks()
  copy.close()
  const copiedGiB = copy.copiedBytes / 2 ** 30
  return { missed, comparedWrites, seconds, passes, copiedGiB, equal: missed === 0 }
}

/** Of a device of `bytes`, the blocks that the tap reports over those that changed. */
export async function compareReported (
  tapKind: TapContender, device: string, bytes: number
): Promise<Figures> {
  await using tap = await tapKind.attach(device)
  const before = contentOf(tap.readPath, bytes)
  tap.track()
  await startFio(device, [...random, `--io_size=${Math.floor(bytes / 20)}`])
  await tap.quiesce()
  const reportedBlocks = tap.dirtyBytes / blockBytes
  const after = contentOf(tap.readPath, bytes)
  const changedBlocks = differences(before, after)
  const reported = new Set<number>()
  for (const { offset, length } of tap.round()) {
    for (let at = offset; at < offset + length; at += blockBytes) reported.add(at)
  }
  let unreported = 0
  for (let at = 0; at < bytes; at += blockBytes) {
    if (reported.has(at)) continue
    unreported += differences(before.subarray(at, at + blockBytes), after.subarray(at, at + blockBytes))
  }
  return {
    reportedBlocks, changedBlocks, reportedOverChanged: reportedBlocks / changedBlocks, unreported,
    equal: unreported === 0
  }
}

function contentOf (device: string, bytes: number): Buffer {
  const content = Buffer.alloc(bytes)
  const reader = new DeviceReader(device)
  for (let at = 0; at < bytes; at += 2 ** 20) reader.read(at, Math.min(2 ** 20, bytes - at)).copy(content, at)
  reader.close()
  return content
}
