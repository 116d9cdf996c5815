// `npm run demo`: moves an ext4 image from this process to another while a program writes to it,
// and proves that nothing was lost. Needs no root.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { formatBytes, formatTime } from '../lib/cli/format.js'
import { ProgressDisplay } from '../lib/cli/progress-display.js'
import { reportText } from '../lib/cli/report-text.js'
import type { Report } from '../lib/index.js'
import { migrate, NbdServer, openTap } from '../lib/index.js'
import { hasQemuIo } from './disk/clients.js'
import { Destination } from './disk/destination.js'
import type { Image } from './disk/image.js'
import { checkFileSystem, kBlock, makeImage } from './disk/image.js'
import { compareFiles, findRecords } from './disk/proof.js'
import { Writer } from './disk/writer.js'

const kHelp = `Usage: npm run demo -- [--bandwidth RATE|none] [--keep]

  --bandwidth RATE   hold the move to this rate, so that there is something to watch
                     (default 100Mbit/s)
  --keep             leave the images where they are`

const { values } = parseArgs({
  options: {
    bandwidth: { type: 'string', default: '100Mbit/s' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false }
  }
})

const kTree = fileURLToPath(new URL('../../node_modules', import.meta.url))
const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort())

function say (text: string): void {
  console.log(text)
}

let steps = 0
function step (text: string): void {
  say(`\n${++steps}. ${text}`)
}

function proven (text: string): void {
  say(`   ✓ ${text}`)
}

async function demo (folder: string): Promise<void> {
  const at = (name: string) => join(folder, name)
  step('A disk')
  const image = makeImage(at('source.img'), kTree)
  const size = formatBytes(image.bytes)
  say(`   an ext4 image of ${size} with ${image.files} real files (this project's\n` +
    `   node_modules) and a database file of ${formatBytes(image.blocks.length * kBlock)}`)

  step('Its writer')
  await using tap = await openTap({ source: image.path, name: 'disk' })
  await using server = new NbdServer()
  await server.listen(`unix:${at('source.nbd')}`)
  server.add(tap)
  const writer = new Writer(image.blocks, 'disk')
  await writer.start(at('source.nbd'))
  const client = hasQemuIo() ? 'qemu-io' : "the library's client"
  say(`   this process offers the disk over NBD; ${client} writes numbered\n` +
    '   records into the database file through it, all the time')

  step('The destination')
  const destination = await Destination.start('disk', at('destination.img'), at('destination.nbd'))
  try {
    say(`   \`blockferry receive\`, process ${destination.pid}, waits on ${destination.address}`)
    await moveAndProve({ image, writer, tap, destination, at })
  } finally {
    await writer.close()
    await destination.stop()
  }
}

interface Parts {
  image: Image
  writer: Writer
  tap: Awaited<ReturnType<typeof openTap>>
  destination: Destination
  at: (name: string) => string
}

async function moveAndProve ({ image, writer, tap, destination, at }: Parts): Promise<void> {
  const { bandwidth } = values
  const limit = bandwidth === 'none' ? '' : `, held to ${bandwidth} (--bandwidth none lifts it)`
  step(`The move${limit}`)
  const report = await move({ tap, writer, to: destination.address })
  const [copied, longestMs] = [writer.count, writer.longestGapMs]
  const gapMs = await writer.move(at('destination.nbd'))
  say(reportText(report, destination.address).replace(/^/gm, '   '))

  step('What the writer saw')
  say(`   ${copied} records acknowledged by the source, none failed\n` +
    `   its longest wait while the disk was copied: ${formatTime(longestMs)}\n` +
    `   its wait at the switchover, connecting anew included: ${formatTime(gapMs)}`)

  step('The proof')
  const compared = compareFiles(image.path, at('destination.img'))
  proven(`source and destination are equal byte for byte: ${formatBytes(compared)} compared`)
  const blocks = findRecords(at('destination.img'), writer)
  proven(`the last acknowledged record, number ${writer.count}, is at the destination`)
  proven(`so is the last one of each of the ${blocks} blocks that were written`)
  checkFileSystem(at('destination.img'))
  proven("e2fsck finds the destination's file system clean")
  if (!await writer.isRefused(at('source.nbd'))) throw new Error('the source took a write')
  proven('the source refuses writes')

  step('Life goes on at the destination')
  writer.resume()
  await sleep(1000)
  await writer.pause()
  findRecords(at('destination.img'), writer)
  proven(`${writer.count - copied} more records in a second, all there`)
}

/** The writer is stopped for the switchover as a virtual machine would be. */
async function move (
  { tap, writer, to }: { tap: Parts['tap'], writer: Writer, to: string }
): Promise<Report> {
  const { bandwidth } = values
  const migration = migrate({
    disks: [{ source: tap }],
    destination: to,
    machine: { pause: () => writer.pause(), resume: () => writer.resume() },
    budgets: { downtime: '300ms', ...(bandwidth !== 'none' && { bandwidth }) },
    signal: interrupted.signal
  })
  const display = new ProgressDisplay(process.stderr, '   ')
  for await (const event of migration) display.show(event)
  return await migration
}

async function main (): Promise<number> {
  if (values.help) {
    say(kHelp)
    return 0
  }
  const began = performance.now()
  say('blockferry: a disk moves to another process while a program writes to it')
  const folder = mkdtempSync(join(tmpdir(), 'blockferry-demo-'))
  try {
    await demo(folder)
    say(`\nDone in ${formatTime(performance.now() - began)}.`)
    if (values.keep) say(`The images are in ${folder}`)
    return 0
  } catch (error) {
    const isInterrupted = interrupted.signal.aborted
    const outcome = isInterrupted ? 'was interrupted' : `failed: ${(error as Error).message}`
    console.error(`\nThe demo ${outcome}`)
    return isInterrupted ? 130 : 1
  } finally {
    if (!values.keep) rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = await main()
